"""The command ``upcasting``: checks before a deploy, a look at what a log really holds, and moving logs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version as version_of
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from eventstore import Codec, EventStoreError
from eventstore.terminal import Program, console, imported, json_line, printable, progress, write_line
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from upcasting._chains import describe
from upcasting._check import Direction, Finding, Report
from upcasting._check import check as compare
from upcasting._errors import UpcastingError
from upcasting._golden import Reader, read
from upcasting._pairs import Protos
from upcasting._protos import load, tagged
from upcasting._upcasting import Upcasting

_DISTRIBUTION: Final = "foldlog-upcasting"


class _Mistake(UpcastingError):
    """Something that whoever typed the command can mend."""


class Demand(StrEnum):
    """What a change must keep."""

    backward = "backward"
    forward = "forward"
    full = "full"
    nothing = "nothing"


_DEMANDED: Final = {
    Demand.backward: (Direction.BACKWARD,),
    Demand.forward: (Direction.FORWARD,),
    Demand.full: tuple(Direction),
    Demand.nothing: (),
}
_SENTENCES: Final = {Direction.BACKWARD: "new code reads old data", Direction.FORWARD: "old code reads new data"}

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


# Checking a change


@app.command()
def check(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The protos of before.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The protos of today, in the same notation.")],
    *,
    tags: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Check against each git tag that matches; OLD is a folder in them."),
    ] = None,
    codec: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="The Upcasting of today, whose steps may cover a break.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Golden bytes, which prove that they do. Needs --codec.")
    ] = None,
    require: Annotated[Demand, typer.Option(help="What must hold for exit code 0.")] = Demand.backward,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the keys named above.")] = False,
) -> None:
    """Tell whether a change of protos keeps stored events readable.

    OLD and NEW are folders that imports start from, git:REVISION:FOLDER, or files with descriptor sets. Messages are
    compared that are stored under the same type and schema, whatever they are called, by the rules of buf (WIRE_JSON
    without deletions and reservations). BACKWARD: new code reads old data. FORWARD: old code reads new data. FULL:
    both. NONE: neither. A break counts no more where a step takes the event and golden bytes hold what breaks.

    The exit code is 0 when what is required holds against each OLD, else 1.

    JSON keys, an object for each OLD: old, new, verdict, passes, events (how many), findings (a list of objects with
    type and schema of the event, message, field, rule, direction, text, covered, by).
    """
    if golden is not None and codec is None:
        raise typer.BadParameter("golden bytes prove what a codec does: say --codec too", param_hint="--golden")
    _program.run(_check(old, new, tags, codec, golden, require, as_json=as_json))


async def _check(
    old: str, new: str, tags: str | None, codec: str | None, golden: Path | None, require: Demand, *, as_json: bool
) -> None:
    reader = None if codec is None else _reader(codec)
    pins = None if golden is None else read(golden)
    sources = [old] if tags is None else tagged(tags, old)
    reports: dict[str, Report] = {}
    with progress(show=len(sources) > 1) as tell:
        today = await asyncio.to_thread(_protos, new)
        for source in sources:
            tell("checking", len(reports), len(sources))
            before = await asyncio.to_thread(_protos, source)
            reports[source] = await asyncio.to_thread(compare, before, today, codec=reader, golden=pins)
    passed = [all(map(report.holds, _DEMANDED[require])) for report in reports.values()]
    for (source, report), passes in zip(reports.items(), passed, strict=True):
        if as_json:
            facts = {"old": source, "new": new, "verdict": report.verdict, "passes": passes}
            write_line(json_line(facts | msgspec.to_builtins(report)))
        else:
            _show_report(report, f"{source} -> {new}", passes=passes)
    if not all(passed):
        raise typer.Exit(1)


def _protos(source: str) -> Protos:
    return Protos(source, *load(source))


def _reader(name: str) -> Reader:
    try:
        found = imported(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _Mistake(f"{name}: {error}") from error
    if not isinstance(found, Codec | Upcasting):
        raise _Mistake(f"{name}: expected an Upcasting or a Codec, got {found!r:.80}")
    return found


def _show_report(report: Report, title: str, *, passes: bool) -> None:
    out = console()
    for name, findings in groupby(report.findings, key=lambda finding: (finding.type, finding.schema)):
        out.print(Text(printable(describe(name)), "bold"))
        for (message, field, rule), same in groupby(findings, key=lambda one: (one.message, one.field, one.rule)):
            _show_break(out, field or message, rule, list(same))
    out.print(Text.assemble((printable(title), "bold"), ": ", (report.verdict, "green" if passes else "red")))
    for direction, sentence in _SENTENCES.items():
        covered = [finding for finding in report.findings if finding.direction is direction and finding.covered]
        answer = "no" if not report.holds(direction) else "yes, by steps" if covered else "yes"
        out.print(Text(f"  {sentence}: {answer}"))
    out.print(Text(f"  events compared: {report.events:,}"))


def _show_break(out: Console, where: str, rule: str, same: Sequence[Finding]) -> None:
    """Show what breaks a rule, in one direction or in both; then its text is as it looks from today."""
    first = same[0]
    directions = " and ".join(one.direction.lower() for one in same)
    color = "green" if first.covered else "red" if first.direction is Direction.BACKWARD else "yellow"
    _print_indented(out, 2, Text.assemble(printable(where), f", {directions}: ", (rule, color)))
    _print_indented(out, 4, Text(printable(first.text)))
    if first.direction is Direction.BACKWARD:
        _print_indented(out, 4, Text(f"{'covered' if first.covered else 'not covered'}: {printable(first.by)}"))


def _print_indented(out: Console, columns: int, line: Text) -> None:
    out.print(Padding(line, (0, 0, 0, columns), expand=False))
