"""The command ``projections``: look after the views of a program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version as version_of
from typing import Annotated, Any, Final, cast

import msgspec
import typer
from eventstore import EventStoreError, StoreUnavailable
from eventstore.terminal import (
    CannotImport,
    Listing,
    Program,
    console,
    imported,
    json_line,
    pairs,
    printable,
    progress,
    write_line,
)
from rich.text import Text

from projections import _operations as operations
from projections._errors import ModelUnavailable, ProjectionError, UnknownProjection
from projections._monitor import Monitor
from projections._operations import Deployed, Status
from projections._rebuild import Difference, Rebuilt, Swap
from projections._rebuild import rebuild as rebuild_view
from projections._record import Passed, Place, Record
from projections._run import run as run_projection
from projections.serving import HEALTH, Telling, serving

_DISTRIBUTION: Final = "foldlog-projections"
_VARIABLE: Final = "PROJECTIONS"
_NARROW: Final = 80
_SHOWN_KEYS: Final = 10


class _Mistake(ProjectionError):
    """Something that whoever typed the command can mend."""


_program: Final = Program("projections", EventStoreError, ProjectionError)

app = typer.Typer(
    help="Look after the views that follow an event log.",
    epilog="MODULE:NAME is an async context manager function of your program that yields Deployed values. Left out, it "
    f"is the value of the variable {_VARIABLE}.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The projection's name.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="These. Left out: all.")]
Position = Annotated[int, typer.Argument(metavar="POSITION", help="Where it has failed, as status shows it.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, with the keys named above.")]


def main() -> None:
    """Run the command."""
    _program.start(app)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(f"projections {version_of(_DISTRIBUTION)}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    projections: Annotated[
        str, typer.Option("--projections", metavar="MODULE:NAME", envvar=_VARIABLE, help="Where the projections are.")
    ] = "",
    version: Annotated[  # noqa: ARG001 (its callback does it)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = projections


# What there is


@asynccontextmanager
async def _fleet(ctx: typer.Context) -> AsyncIterator[dict[str, Deployed]]:
    """Open what the program deploys; yields it by name."""
    where = cast("str", ctx.obj)
    if not where:
        raise _Mistake(f"say where the projections are: --projections MODULE:NAME, or the variable {_VARIABLE}")
    async with AsyncExitStack() as stack:
        try:
            found = await stack.enter_async_context(_made(where))
        except (EventStoreError, ProjectionError):
            raise
        except OSError as error:
            raise _Mistake(f"{where}: {error}") from error
        except Exception as error:
            raise _Mistake(f"{where} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, Sequence) or not all(isinstance(one, Deployed) for one in found):
            raise _Mistake(f"{where}: expected to be given Deployed values, got {found!r:.80}")
        fleet = {one.projection.name: one for one in found}
        if len(fleet) < len(found):
            raise _Mistake(f"{where}: two projections have the same name")
        yield fleet


def _made(where: str) -> AbstractAsyncContextManager[object]:
    try:
        make = imported(where)
    except CannotImport as error:
        raise _Mistake(str(error)) from error
    made = make() if callable(make) and ":" in where else make
    if not isinstance(made, AbstractAsyncContextManager):
        raise _Mistake(f"{where}: expected an async context manager function, got {make!r:.80}")
    return made


def _one(fleet: dict[str, Deployed], name: str) -> Deployed:
    if name not in fleet:
        raise _Mistake(f"there is no projection {name!r}; there are: {', '.join(sorted(fleet)) or 'none'}")
    return fleet[name]


def _chosen(fleet: dict[str, Deployed], names: list[str] | None) -> list[Deployed]:
    return [_one(fleet, name) for name in dict.fromkeys(names or sorted(fleet))]


@asynccontextmanager
async def _opened(ctx: typer.Context, name: str) -> AsyncIterator[Deployed]:
    """Open one projection; what is wrong with it is told with its name."""
    async with _fleet(ctx) as fleet:
        one = _one(fleet, name)
        try:
            yield one
        except (EventStoreError, ProjectionError) as error:
            raise _Mistake(str(error) if str(error).startswith(name) else f"{name}: {error}") from error


# Looking


@app.command()
def status(ctx: typer.Context, names: Names = None, *, as_json: AsJson = False) -> None:
    """Show how far the views are, and what is wrong with them.

    The exit code is 0 when all that are shown are running, else 1. That a runner was killed shows once another one has
    taken over, or by a view that falls behind.

    JSON keys: name, state (running, stopped, paused, failed; new where it has not run, unavailable where that cannot be
    told), position, head, behind (positions), seconds_behind, generation, epoch, dead_letters, skipped (how many),
    failure (null, or position, category, id, version, first_version, type, reason; where no single event is to blame,
    the type is empty, and the versions from first_version on are meant), verdict (what was decided about it and not
    done yet), trouble (why it is unavailable).
    """
    _program.run(_status(ctx, names, as_json=as_json))


async def _status(ctx: typer.Context, names: list[str] | None, *, as_json: bool) -> None:
    async with _fleet(ctx) as fleet:
        rows = [await _row(one) for one in _chosen(fleet, names)]
    if as_json:
        for row in rows:
            write_line(json_line(row))
    else:
        _show_status(rows)
    if any(row["state"] != "running" for row in rows):
        raise typer.Exit(1)


async def _row(one: Deployed) -> dict[str, Any]:
    name = one.projection.name
    try:
        found = await operations.status(one.projection, one.store, one.model)
    except UnknownProjection:
        return _facts(name, "new", Status(Record(log_id=one.store.log_id), (await one.store.head()).position))
    except (ModelUnavailable, StoreUnavailable) as error:
        unknown = Status(Record(log_id=one.store.log_id), 0)
        return _facts(name, "unavailable", unknown, trouble=f"{type(error).__name__}: {error}")
    if found.record.log_id != one.store.log_id:
        trouble = f"the view is of log {found.record.log_id}, not of {one.store.log_id}"
        return _facts(name, "unavailable", found, trouble=trouble)
    return _facts(name, found.state, found)


def _facts(name: str, state: str, found: Status, *, trouble: str = "") -> dict[str, Any]:
    record = found.record
    return {
        "name": name,
        "state": state,
        "position": record.position,
        "head": found.head,
        "behind": found.behind,
        "seconds_behind": round(found.seconds_behind, 3),
        "generation": record.generation,
        "epoch": record.epoch,
        "dead_letters": len(record.dead),
        "skipped": len(record.skipped),
        "failure": None if record.failure is None else msgspec.structs.asdict(record.failure),
        "verdict": record.verdict,
        "trouble": trouble,
    }


def _show_status(rows: list[dict[str, Any]]) -> None:
    out = console()
    columns = {
        "name": "NAME",
        "state": "STATE",
        "position": "POSITION",
        "head": "HEAD",
        "behind": "BEHIND",
        "seconds_behind": "SECONDS",
        "generation": "GENERATION",
        "epoch": "EPOCH",
        "dead_letters": "DEAD",
    }
    if out.width < _NARROW:
        for left_out in ("head", "generation", "epoch"):
            del columns[left_out]
    sides = {heading: "left" if heading in ("NAME", "STATE") else "right" for heading in columns.values()}
    listing = Listing(out, sides)
    for row in rows:
        listing.add(*(_cell(row[key]) for key in columns))
    listing.end()
    for row in rows:
        decided = f" ({row['verdict']} is decided and not done yet)" if row["verdict"] else ""
        failure = f"{Place(**row['failure'])}{decided}" if row["failure"] else ""
        for text in (row["trouble"], failure):
            if text:
                out.print(Text.assemble((row["name"], "bold"), " ", (printable(text), "red")))


def _cell(value: object) -> str:
    match value:
        case float():
            return f"{value:,.1f}"
        case int():
            return f"{value:,}"
        case _:
            return printable(str(value))


@app.command(name="dead-letters")
def dead_letters(ctx: typer.Context, name: Name, *, as_json: AsJson = False) -> None:
    """List the commits that were put aside.

    JSON keys: position, category, id, version, first_version, type, failure (why it could not be applied), reason (why
    it was put aside).
    """
    _program.run(_dead_letters(ctx, name, as_json=as_json))


async def _dead_letters(ctx: typer.Context, name: str, *, as_json: bool) -> None:
    async with _opened(ctx, name) as one:
        found = await operations.dead_letters(one.projection, one.model)
    for dead in found:
        if as_json:
            place = msgspec.structs.asdict(dead.place)
            write_line(json_line({**place, "failure": place["reason"], "reason": dead.reason}))
        else:
            _show_dead(dead)


def _show_dead(dead: Passed) -> None:
    place = dead.place
    out = console()
    version = f"versions {place.first_version} to" if place.first_version else "version"
    where = f"position {place.position}  {place.category} {printable(place.id)}  {version} {place.version}"
    out.print(Text.assemble((where, "bold"), "  ", (printable(place.type), "green")))
    out.print(Text(f"  {printable(place.reason)}"))
    out.print(Text(f"  put aside: {printable(dead.reason)}", "dim"))


# Deciding


def _decide(ctx: typer.Context, name: str, ask: Callable[[Deployed], Awaitable[Record]], done: str) -> None:
    async def decide() -> None:
        async with _opened(ctx, name) as one:
            record = await ask(one)
        place = record.position if record.failure is None else record.failure.position
        console().print(f"{name}: {done} position {place}")

    _program.run(decide())


@app.command()
def pause(ctx: typer.Context, name: Name) -> None:
    """Stop a projection where it is, until resume."""
    _decide(ctx, name, lambda one: operations.pause(one.projection, one.model), "paused after")


@app.command()
def resume(ctx: typer.Context, name: Name) -> None:
    """Let a projection go on that was paused, or try again what has failed."""
    _decide(ctx, name, lambda one: operations.resume(one.projection, one.model), "goes on at")


@app.command()
def skip(ctx: typer.Context, name: Name, position: Position, *, reason: Reason) -> None:
    """Leave behind for good the commit that cannot be applied.

    It is done by whoever runs the projection, at once or when it is next run.
    """
    _decide(
        ctx,
        name,
        lambda one: operations.skip(one.projection, one.model, position=position, reason=reason),
        "to skip",
    )


@app.command(name="dead-letter")
def dead_letter(ctx: typer.Context, name: Name, position: Position, *, reason: Reason) -> None:
    """Put aside the commit that cannot be applied, to be replayed later.

    It is done by whoever runs the projection, at once or when it is next run.
    """
    _decide(
        ctx,
        name,
        lambda one: operations.dead_letter(one.projection, one.model, position=position, reason=reason),
        "to put aside",
    )


@app.command()
def replay(
    ctx: typer.Context,
    name: Name,
    position: Annotated[int, typer.Argument(metavar="POSITION", help="The dead letter's, as dead-letters lists it.")],
) -> None:
    """Apply a dead letter, and what of its stream waits for it."""
    _program.run(_replay(ctx, name, position))


async def _replay(ctx: typer.Context, name: str, position: int) -> None:
    async with _opened(ctx, name) as one:
        try:
            count = await operations.replay(one.projection, one.store, one.model, position=position)
        except (EventStoreError, ProjectionError):
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise _Mistake(f"position {position} stays a dead letter, it cannot be applied: {why}") from error
    done = f"applied {count:,} commits" if count else "it is applied when the projection comes there"
    console().print(f"{name}: {done}")


@app.command()
def reset(
    ctx: typer.Context,
    name: Name,
    *,
    to: Annotated[int, typer.Option("--to", min=0, metavar="POSITION", help="0 empties the view and begins anew.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Move a view's checkpoint back: what comes after it is applied again.

    With 0 the view is emptied first, and dead letters and skipped commits are forgotten. With another position the view
    stays as it is, which is right only where applying a commit twice is as good as once.
    """
    again = f"applies to the view of {name}, as it is, all between position {to} and {{position}} again"
    anew = f"empties the view of {name}, which is at position {{position}}, and makes it anew"
    _confirm(ctx, name, again if to else anew, yes=yes)
    _decide(ctx, name, lambda one: operations.reset(one.projection, one.store, one.model, to=to), "begins again after")


@app.command()
def forget(
    ctx: typer.Context,
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Empty a view, and remove all that is recorded of it.

    That is for a projection that gets another name, or is taken out of the program: before that, and when it runs
    nowhere any more. One that still runs begins anew.
    """
    _confirm(ctx, name, f"empties the view of {name}, which is at position {{position}}, for good", yes=yes)
    _program.run(_forget(ctx, name))


async def _forget(ctx: typer.Context, name: str) -> None:
    async with _opened(ctx, name) as one:
        await operations.forget(one.projection, one.model)
    console().print(f"{name}: forgotten")


def _confirm(ctx: typer.Context, name: str, what: str, *, yes: bool) -> None:
    """Say what a command does to a view, and ask."""
    found: list[Record] = []

    async def look() -> None:
        async with _opened(ctx, name) as one:
            found.append((await operations.status(one.projection, one.store, one.model)).record)

    _program.run(look())
    told = what.format(position=found[0].position)
    if not yes:
        if not sys.stdin.isatty():
            _program.fail(f"this {told}: say --yes, as there is no terminal to ask on")
        typer.confirm(f"This {told}. Go on?", abort=True, err=True)


# Rebuilding


@app.command()
def rebuild(
    ctx: typer.Context,
    name: Name,
    *,
    swap: Annotated[Swap, typer.Option(help="When the new view takes the live one's place.")] = "always",
    as_json: AsJson = False,
) -> None:
    """Make a view anew beside the live one, compare the two, and swap them.

    The live view serves and goes on meanwhile. The exit code is 1 when the two differ and were not swapped.

    JSON keys: position (where they were compared), commits, live and rebuilt (digests), difference (an object of
    missing, added, changed, each with the first hundred keys, and count), swapped, seconds, commits_per_second.
    """
    _program.run(_rebuild(ctx, name, swap, as_json=as_json))


async def _rebuild(ctx: typer.Context, name: str, swap: Swap, *, as_json: bool) -> None:
    async with _opened(ctx, name) as one:
        with progress() as report:
            done = await rebuild_view(one.projection, one.store, one.model, swap=swap, report=report)
    rate = round(done.commits / done.seconds)
    if as_json:
        write_line(json_line({**msgspec.to_builtins(done), "commits_per_second": rate}))
    else:
        _show_rebuilt(done, rate)
    if done.difference and not done.swapped:
        raise typer.Exit(1)


def _show_rebuilt(done: Rebuilt, rate: int) -> None:
    out = console()
    shown = {
        "rebuilt": f"{done.commits:,} commits in {done.seconds:.1f} s, {rate:,} a second",
        "compared at": f"position {done.position:,}",
        "live view": done.live,
        "new view": done.rebuilt,
        "difference": f"{done.difference.count:,} entries" if done.difference else "none",
        "swapped": "yes" if done.swapped else "no",
    }
    out.print(pairs(shown))
    for line in _difference(done.difference):
        out.print(Text(line))


def _difference(difference: Difference) -> Iterator[str]:
    """Yield what differs: ``-`` where the new view lacks it, ``+`` where it has more, ``~`` where it is another."""
    shown = 0
    for sign, keys in (("-", difference.missing), ("+", difference.added), ("~", difference.changed)):
        for key in keys[:_SHOWN_KEYS]:
            shown += 1
            yield f"  {sign} {printable(key)}"
    if difference.count > shown:
        yield f"  and {difference.count - shown:,} more"


# Running


@app.command()
def run(
    ctx: typer.Context,
    names: Names = None,
    *,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help=f"Serve Prometheus metrics there, and health as JSON on {HEALTH}; port 0 takes a free one.",
        ),
    ] = None,
) -> None:
    """Run projections until SIGTERM or Ctrl-C.

    Where others run them already these wait, and take over when those end. States are told on standard error. One that
    cannot be run, as when its view is of another log, is told as failed, and keeps no other one from running; the exit
    code is 1 in the end.

    JSON keys of /health, a list with an object each: projection, state, position, head, behind, seconds_behind, epoch,
    dead_letters, failure, trouble, ready. Its code is 200 when all are ready, else 503.
    """
    # Whoever stops a service with SIGTERM has not failed.
    _program.run(_run(ctx, names, metrics), terminated=0)


async def _run(ctx: typer.Context, names: list[str] | None, metrics: str | None) -> None:
    monitor = Telling(lambda projection, text: _tell(f"{projection}: {text}"))
    async with _fleet(ctx) as fleet:
        chosen = _chosen(fleet, names)
        with _served(monitor, [one.projection.name for one in chosen], metrics):
            ended: list[str] = []
            try:
                await asyncio.gather(*(_run_one(one, monitor, ended) for one in chosen))
            finally:
                # Also where a signal has ended the others.
                if ended:
                    raise _Mistake("; ".join(ended))


async def _run_one(one: Deployed, monitor: Monitor, ended: list[str]) -> None:
    """Run one until something is wrong that does not pass, and let the others go on."""
    try:
        await run_projection(one.projection, one.store, one.model, monitor=monitor)
    except Exception as error:  # noqa: BLE001 (a projection may raise anything)
        ended.append(f"{one.projection.name}: {type(error).__name__}: {error}")


@contextmanager
def _served(monitor: Monitor, names: list[str], address: str | None) -> Iterator[None]:
    """Serve metrics and health, where an address is given."""
    if address is None:
        yield
        return
    with serving(monitor, names, address=address) as port:
        _tell(f"metrics and {HEALTH} on {address.rpartition(':')[0].strip('[]')}:{port}")
        yield


def _tell(text: str) -> None:
    console(stderr=True, soft_wrap=True).print(printable(text))
