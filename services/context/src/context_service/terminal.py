"""What all commands share: where they print, how they tell of errors, and the options that several of them have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from eventstore import EventStoreError
from eventstore.terminal import Program, console
from rich.table import Table
from rich.text import Text

from context_service.app import CannotListen
from context_service.bus import BusUnavailable, TooLarge
from context_service.commands import Refused
from context_service.contexts import Contexts
from context_service.peps import ImportFault
from context_service.policy import PACKAGED, Policy, PolicyFault
from context_service.relationships import GraphUnavailable

program = Program(
    "context",
    *(EventStoreError, Refused, ImportFault, CannotListen, PolicyFault, GraphUnavailable, BusUnavailable, TooLarge),
)
out = console(soft_wrap=True)
err = console(stderr=True, soft_wrap=True)

StoreUrl = Annotated[
    str, typer.Option("--store", envvar="CONTEXT_STORE", help="Where the log is, for example sqlite:///context.db.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
GraphUrl = Annotated[
    str,
    typer.Option(
        "--graph",
        envvar="CONTEXT_GRAPH",
        help="Where the decision graph lives: neo4j://USER:PASSWORD@HOST:7687, sqlite:///FILE or none.",
        show_default="a SQLite file beside a SQLite log, else memory",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="CONTEXT_POLICY",
        help="A YAML file that says which scopes a role is granted in a phase.",
        show_default="the one of this release",
    ),
]


def contexts_by(policy: Path | None) -> Contexts:
    """Return what a process answers with by a policy file, or by the one that comes with the service."""
    return Contexts(Policy.load(policy or PACKAGED))


def table(*columns: str) -> Table:
    """Return a table without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def clean(text: str) -> str:
    """Return stored text without what a terminal would take as a command."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def safe(value: object) -> Text:
    """Return a stored value as it may be printed."""
    return Text(clean(str(value)))


def print_json(row: object) -> None:
    """Print a line for programs."""
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def brief(value: Any, room: int) -> str:
    """Return the beginning of a value, on one line, in so many characters."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = clean(" ".join(shown.split()))
    return shown if len(shown) <= room else shown[: max(room - 1, 0)] + "…"
