"""The command ``upcasting``: checks before a deploy, a look at what a log really holds, and moving logs."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Annotated, Final

import typer
from eventstore import EventStoreError
from eventstore.terminal import Program

from upcasting._errors import UpcastingError

_DISTRIBUTION: Final = "foldlog-upcasting"

_program: Final = Program("upcasting", EventStoreError, UpcastingError)

app = typer.Typer(
    help="Keep events of every schema readable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command."""
    _program.start(app)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(f"upcasting {version_of(_DISTRIBUTION)}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing but the options of the command itself."""
