"""The command ``upcasting``: checks before a deploy, a look at what a log really holds, and moving logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from enum import StrEnum
from importlib.metadata import version as version_of
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from eventstore import Codec, EventStoreError, open_store
from eventstore.segments import Report
from eventstore.terminal import (
    CannotImport,
    Listing,
    Program,
    console,
    first_signal,
    imported,
    json_line,
    pairs,
    printable,
    progress,
    write_line,
)
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from upcasting._audit import NAMED, Audit, Corrupt, Finding
from upcasting._audit import audit as audit_log
from upcasting._chains import AnyStep, describe
from upcasting._check import Break, Checked, Direction
from upcasting._check import check as compare
from upcasting._errors import UpcastingError
from upcasting._golden import read
from upcasting._migrate import Carried, Migrated
from upcasting._migrate import migrate as migrate_log
from upcasting._pairs import Protos
from upcasting._protos import load, tagged
from upcasting._steps import Step
from upcasting._upcasting import Reader, Upcasting

_DISTRIBUTION: Final = "foldlog-upcasting"
_NARROW: Final = 80


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

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, with the keys named above.")]


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
    wire: Annotated[
        bool, typer.Option("--wire", help="Count the binary form alone, which has no names: rules WIRE of buf.")
    ] = False,
    require: Annotated[Demand, typer.Option(help="What must hold for exit code 0.")] = Demand.backward,
    as_json: AsJson = False,
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
    _program.run(_check(old, new, tags, codec, golden, require, wire=wire, as_json=as_json))


async def _check(
    old: str,
    new: str,
    tags: str | None,
    codec: str | None,
    golden: Path | None,
    require: Demand,
    *,
    wire: bool,
    as_json: bool,
) -> None:
    reader = None if codec is None else _codec(codec)
    pins = None if golden is None else read(golden)
    sources = [old] if tags is None else tagged(tags, old)
    reports: dict[str, Checked] = {}
    with progress(show=len(sources) > 1) as tell:
        today = await asyncio.to_thread(_protos, new)
        for source in sources:
            tell("checking", len(reports), len(sources))
            before = await asyncio.to_thread(_protos, source)
            reports[source] = await asyncio.to_thread(compare, before, today, codec=reader, golden=pins, wire=wire)
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


def _show_report(report: Checked, title: str, *, passes: bool) -> None:
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


def _show_break(out: Console, where: str, rule: str, same: Sequence[Break]) -> None:
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


# What a log really holds


@app.command()
def audit(
    url: Annotated[str, typer.Argument(metavar="URL", help="The store.")],
    *,
    codec: Annotated[
        str,
        typer.Option("--codec", metavar="MODULE:NAME", help="What the program reads with: an Upcasting or a Codec."),
    ],
    sample: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Decode one in N of each type and schema, the first and the last always."
        ),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Show every type and schema that a log holds, and what of it a program cannot read.

    Each must have a path to today's messages, and its events are decoded as a program with the codec does. What fails
    is named, and the audit goes on. The exit code is 0 when all is readable, else 1.

    JSON keys: kind, and with it, as they are found, for each event that fails (kind unreadable) category, id, version,
    position, type, schema, reason; for each commit that is none (corrupt) category, id, position, reason; then for each
    type and schema (held) type, schema, events, first, last, readable, decoded, failed; last for all (audit) log_id,
    position, commits, events, decoded, failed, corrupt, readable, seconds, events_per_second.
    """
    _program.run(_audit(url, _codec(codec), sample, as_json=as_json))


async def _audit(url: str, codec: Reader, sample: int, *, as_json: bool) -> None:
    began = time.perf_counter()
    async with open_store(url, create=False) as store:
        with progress() as report:
            tell = _tell_finding if as_json else None
            done = await audit_log(store, codec, sample=sample, found=tell, progress=report)
    seconds = time.perf_counter() - began
    (_tell_audit if as_json else _show_audit)(done, seconds)
    if not done.readable:
        raise typer.Exit(1)


def _tell_finding(finding: Finding) -> None:
    place = msgspec.structs.asdict(finding)
    stream = place.pop("stream")
    kind = "corrupt" if isinstance(finding, Corrupt) else "unreadable"
    write_line(json_line({"kind": kind, "category": stream.category, "id": stream.id, **place}))


def _tell_audit(done: Audit, seconds: float) -> None:
    for held in done.held:
        write_line(json_line({"kind": "held", **msgspec.structs.asdict(held)}))
    names = ("log_id", "position", "commits", "events", "decoded", "failed", "corrupt", "readable")
    told = {name: getattr(done, name) for name in names}
    rate = round(done.events / seconds)
    write_line(json_line({"kind": "audit", **told, "seconds": round(seconds, 3), "events_per_second": rate}))


def _show_audit(done: Audit, seconds: float) -> None:
    out = console()
    columns = {"TYPE": "left", **dict.fromkeys(("SCHEMA", "EVENTS", "FIRST", "LAST", "DECODED", "FAILED"), "right")}
    if out.width < _NARROW:
        del columns["DECODED"]
    listing = Listing(out, columns)
    for held in done.held:
        decoded = () if out.width < _NARROW else (f"{held.decoded:,}",)
        failed = f"{held.failed:,}" if held.readable else "no path"
        places = (f"{held.events:,}", f"{held.first:,}", f"{held.last:,}")
        listing.add(printable(held.type), str(held.schema), *places, *decoded, failed)
    listing.end()
    out.print()
    for finding in done.findings:
        out.print(_finding(finding))
    if (more := done.failed + done.corrupt - len(done.findings)) > 0:
        out.print(Text(f"and {more:,} more: of each type and schema {NAMED} are named, by --json all"))
    counts = f"{done.commits:,} commits with {done.events:,} events, {done.decoded:,} decoded"
    shown = {
        "audited": f"{counts}, in {seconds:.1f} s",
        "log id": done.log_id,
        "verdict": _verdict(done),
    }
    out.print(pairs(shown))


def _finding(finding: Finding) -> Text:
    stream = finding.stream
    where = f"position {finding.position}  {printable(stream.category)} {printable(stream.id)}"
    if isinstance(finding, Corrupt):
        what = "no commit"
    else:
        where += f"  version {finding.version}"
        what = f"{printable(finding.type)} schema {finding.schema}"
    return Text.assemble((where, "bold"), "  ", (what, "green"), "\n  ", (printable(finding.reason), "red"))


def _verdict(done: Audit) -> str:
    if done.readable:
        return "readable" if done.decoded == done.events else "readable, as far as the sample tells"
    counts = {
        "types and schemas without a path": sum(not held.readable for held in done.held),
        "events that fail": done.failed,
        "corrupt commits": done.corrupt,
    }
    return f"not readable; {', '.join(f'{what}: {count:,}' for what, count in counts.items() if count)}"


def _codec(name: str) -> Reader:
    found = _named(name, "--codec")
    if not isinstance(found, Upcasting | Codec):
        raise typer.BadParameter(f"{name}: expected an Upcasting or a Codec, got {found!r:.80}", param_hint="--codec")
    return found


# Moving a log


@app.command()
def migrate(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The store to read; it is never written to.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The store to make.")],
    *,
    steps: Annotated[str, typer.Option("--steps", metavar="MODULE:NAME", help="A sequence of steps, or an Upcasting.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on following SRC until Ctrl-C or SIGTERM, which is the cut-over.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a log into a new one, its old events carried over for good.

    Events that a step takes become what it makes of them; all others keep their bytes. Commits keep their order, ids,
    times and metadata. At the end the new log is read back and compared. Interrupted, the same command goes on where it
    was. With --follow, the first Ctrl-C copies up to the head that SRC has then; a second one aborts.

    JSON keys: source and target (objects of log_id, position, commits, events, digest), already (commits there when it
    began), left_out (commits without an event left), carried (a list of type, schema, how (upcast, renamed, dropped),
    events, became (a list of type, schema, events)), seconds, commits_per_second.
    """
    _program.run(_migrate(source, target, _steps(steps), follow=follow, as_json=as_json))


async def _migrate(
    source_url: str, target_url: str, steps: Sequence[AnyStep] | Upcasting, *, follow: bool, as_json: bool
) -> None:
    began = time.perf_counter()
    # First the source: a wrong address must not leave an empty store behind.
    async with open_store(source_url, create=False) as source, open_store(target_url) as target:
        with first_signal() if follow else nullcontext() as cut_over, progress() as report:
            done = await migrate_log(
                source, target, steps, cut_over=cut_over, progress=_telling(report) if follow else report
            )
    seconds = time.perf_counter() - began
    rate = round((done.target.commits - done.already) / seconds)
    if as_json:
        write_line(json_line({**msgspec.to_builtins(done), "seconds": round(seconds, 3), "commits_per_second": rate}))
    else:
        _show_migrated(done, seconds, rate)


def _telling(report: Report) -> Report:
    """Return a report that tells once when the source is being followed."""
    told: list[int] = []

    def tell(step: str, done: int, total: int) -> None:
        if step == "follow" and not told:
            told.append(done)
            console(stderr=True, soft_wrap=True).print(
                f"caught up at position {done:,}; following until Ctrl-C or SIGTERM"
            )
        report(step, done, total)

    return tell


def _show_migrated(done: Migrated, seconds: float, rate: int) -> None:
    out = console()
    listing = Listing(out, {"TYPE": "left", "SCHEMA": "right", "EVENTS": "right", "BECAME": "left"})
    for carried in done.carried:
        for cells in _rows(carried):
            listing.add(*cells)
    listing.end()
    out.print()
    before = f", {done.already:,} of them before" if done.already else ""
    source, target = done.source, done.target
    shown = {
        "migrated": f"{target.commits:,} commits with {target.events:,} events{before}",
        "took": f"{seconds:.1f} s, {rate:,} commits a second",
        "of": f"{source.commits:,} commits with {source.events:,} events, up to position {source.position:,}",
        "left out": f"{done.left_out:,} commits without an event left" if done.left_out else "none",
        "old log id": source.log_id,
        "old digest": source.digest,
        "new log id": target.log_id,
        "new digest": f"{target.digest}, as read back",
    }
    out.print(pairs(shown))


def _rows(carried: Carried) -> Iterator[tuple[str, ...]]:
    """Yield a row for each thing that the events became."""
    cells = (printable(carried.type), str(carried.schema), f"{carried.events:,}")
    became = [f"{one.events:,} {printable(one.type)} schema {one.schema}" for one in carried.became]
    for number, text in enumerate(became or ["nothing"]):
        yield (*(cells if not number else ("", "", "")), f"{carried.how}: {text}" if not number else text)


def _steps(name: str) -> Sequence[AnyStep] | Upcasting:
    found = _named(name, "--steps")
    if isinstance(found, Upcasting):
        return found
    if not isinstance(found, Sequence) or not all(isinstance(one, Step) for one in found):
        raise typer.BadParameter(f"{name}: expected steps or an Upcasting, got {found!r:.80}", param_hint="--steps")
    return found


def _named(name: str, option: str) -> object:
    """Return what a name names in the program.

    Raises:
        BadParameter: there is no such thing, or it cannot be made.
    """
    try:
        return imported(name)
    except CannotImport as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
