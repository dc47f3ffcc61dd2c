"""The command ``context``."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from eventstore import EventStoreError, InvalidInput
from eventstore.terminal import Program, console, progress
from google.protobuf.json_format import MessageToDict
from projections.serving import HEALTH
from projections.serving import serving as offering
from rich.table import Table
from rich.text import Text

from context_service.app import CannotListen, serving, stop_signals, without_secrets
from context_service.bundles import open_bundles
from context_service.bus import BusUnavailable, open_bus
from context_service.commands import Refused
from context_service.consuming import taking_in
from context_service.contexts import context_of
from context_service.dead_letters import dead_letters, replay
from context_service.peps import ImportFault, import_peps
from context_service.policy import Policy
from context_service.rehydration import rehydrate
from context_service.snapshots import IN_MEMORY
from context_service.stories import DEFAULT_STORE, SNAPSHOT_EVERY, open_stories
from context_service.story import CATEGORY
from context_service.views import NOWHERE, Logging, all_ready, open_views, projecting
from context_service.words import PHASES, ROLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from eventstore import Event
    from projections import Deployed, Monitor

    from context_service.bundles import Bundles
    from context_service.bus import Bus
    from context_service.consuming import Rehydrate
    from context_service.dead_letters import DeadLetter
    from context_service.stories import Stories
    from context_service.v1 import context_pb2 as pb

app = typer.Typer(
    help="The context of stories for AI agents: what is known and decided, now and at any moment of the past.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
importing = typer.Typer(help="Bring in decision logs from elsewhere.", no_args_is_help=True)
app.add_typer(importing, name="import")
burying = typer.Typer(help="Messages that could not be handled: look at them, send them again.", no_args_is_help=True)
app.add_typer(burying, name="dead-letters")

StoreUrl = Annotated[
    str, typer.Option("--store", envvar="CONTEXT_STORE", help="Where the log is, for example sqlite:///context.db.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
_BRIEF = 60


_program = Program("context", EventStoreError, Refused, ImportFault, CannotListen, BusUnavailable)
_out = console(soft_wrap=True)
_err = console(stderr=True, soft_wrap=True)


def main() -> None:
    """Run the command."""
    _program.start(app)


GraphUrl = Annotated[
    str,
    typer.Option(
        "--graph",
        envvar="CONTEXT_GRAPH",
        help="Where the decision graph lives: neo4j://USER:PASSWORD@HOST:7687, sqlite:///FILE or none.",
        show_default="a SQLite file beside a SQLite log, else memory",
    ),
]
CacheUrl = Annotated[
    str,
    typer.Option(
        "--cache",
        envvar="CONTEXT_CACHE",
        help="Where the planning cache lives: valkey://HOST:6379/0, memory:// or none.",
        show_default="memory",
    ),
]
SnapshotsUrl = Annotated[
    str,
    typer.Option(
        "--snapshots",
        envvar="CONTEXT_SNAPSHOTS",
        help="Where snapshots of stories live: neo4j://USER:PASSWORD@HOST:7687, valkey://HOST:6379/0, sqlite:///FILE "
        "or memory://.",
        show_default="a SQLite file beside a SQLite log, else memory",
    ),
]
SnapshotEvery = Annotated[
    int,
    typer.Option(
        "--snapshot-every",
        envvar="CONTEXT_SNAPSHOT_EVERY",
        min=100,
        max=1_000,
        help="So many events lie between two snapshots of a story.",
    ),
]
NatsUrl = Annotated[
    str,
    typer.Option(
        "--nats",
        envvar="CONTEXT_NATS",
        help="Take in messages and publish updates there: nats://HOST:4222.",
        show_default="nowhere",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        envvar="CONTEXT_METRICS",
        metavar="HOST:PORT",
        help=f"Serve metrics of the read models there, for Prometheus, and their health as JSON on {HEALTH}.",
        show_default="nowhere",
    ),
]
LogLevel = Annotated[str, typer.Option(envvar="CONTEXT_LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR.")]


@app.command()
def serve(
    store: StoreUrl = DEFAULT_STORE,
    listen: Annotated[
        str, typer.Option(envvar="CONTEXT_LISTEN", help="HOST:PORT to serve gRPC on; port 0 takes a free one.")
    ] = "127.0.0.1:50054",
    graph: GraphUrl = "",
    cache: CacheUrl = "",
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    nats: NatsUrl = "",
    metrics: Metrics = "",
    log_level: LogLevel = "INFO",
) -> None:
    """Serve the gRPC interface, and keep the read models, until SIGTERM or Ctrl-C.

    With --graph none --cache none another process keeps them: context project.
    """
    _program.run(_serve(store, listen, graph, cache, snapshots, snapshot_every, nats, metrics, log_level))


async def _serve(
    store: str,
    listen: str,
    graph: str,
    cache: str,
    snapshots: str,
    snapshot_every: int,
    nats: str,
    metrics: str,
    log_level: str,
) -> None:
    level = _logging(log_level)
    kept = {"snapshots": snapshots, "snapshot_every": str(snapshot_every), "nats": nats or NOWHERE}
    monitor, policy = Logging(), Policy.load()
    # Whoever reads that it serves may send the signal at once, so the handlers come first.
    with stop_signals() as stop:
        async with (
            open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories,
            open_bus(nats) as bus,
            open_views(stories, graph=graph, cache=cache, bus=bus) as views,
            open_bundles(cache) as bundles,
            projecting(views, monitor),
            taking_in(bus, stories, _rehydrating(stories, policy, bundles), monitor) as more,
            serving(
                stories,
                listen,
                policy=policy,
                bundles=bundles,
                ready=lambda: all_ready(views, monitor) and all(monitor.health(name).ready for name in more),
            ) as address,
        ):
            with _offered(monitor, views, metrics, more):
                await _tell(stories, store, graph=graph, cache=cache, **kept, listen=listen, log_level=level)
                _out.print(f"serving on {address}")
                sys.stdout.flush()
                await stop.wait()
                _out.print("stopping")


@app.command()
def project(
    store: StoreUrl = DEFAULT_STORE,
    graph: GraphUrl = "",
    cache: CacheUrl = NOWHERE,
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    nats: NatsUrl = "",
    metrics: Metrics = "",
    log_level: LogLevel = "INFO",
) -> None:
    """Keep the read models up to date, and nothing else, until SIGTERM or Ctrl-C."""
    _program.run(_project(store, graph, cache, snapshots, snapshot_every, nats, metrics, log_level))


async def _project(
    store: str, graph: str, cache: str, snapshots: str, snapshot_every: int, nats: str, metrics: str, log_level: str
) -> None:
    level = _logging(log_level)
    kept = {"snapshots": snapshots, "snapshot_every": str(snapshot_every), "nats": nats or NOWHERE}
    monitor = Logging()
    with stop_signals() as stop:
        async with (
            open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories,
            open_bus(nats) as bus,
            open_views(stories, graph=graph, cache=cache, bus=bus) as views,
            projecting(views, monitor),
        ):
            with _offered(monitor, views, metrics):
                await _tell(stories, store, graph=graph, cache=cache, **kept, log_level=level)
                _out.print(f"projecting {', '.join(view.projection.name for view in views) or 'nothing'}")
                sys.stdout.flush()
                await stop.wait()
                _out.print("stopping")


def _rehydrating(stories: Stories, policy: Policy, bundles: Bundles | None) -> Rehydrate:
    async def answer(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
        return await rehydrate(stories, policy, bundles, request, now_ms=time.time_ns() // 1_000_000)

    return answer


@contextmanager
def _offered(monitor: Monitor, views: Sequence[Deployed], address: str, more: Sequence[str] = ()) -> Iterator[None]:
    """Serve metrics and health of the read models while the block runs, where an address is given."""
    if not address:
        yield
        return
    names = [*(view.projection.name for view in views), *more]
    with offering(monitor, names, address=address) as port:
        _out.print(f"metrics and {HEALTH} on {address.rpartition(':')[0]}:{port}")
        yield


def _logging(log_level: str) -> str:
    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise InvalidInput("log-level", f"expected DEBUG, INFO, WARNING or ERROR; got {log_level!r}")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if level != "DEBUG":
        # One repeats with every try what read models and snapshots tell once; the other says of our own queries, each
        # time, that a label or type is not used yet.
        for name in ("neo4j.pool", "neo4j.notifications"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return level


async def _tell(stories: Stories, store: str, **settings: str) -> None:
    """Print the settings in force."""
    _out.print(f"store: {without_secrets(store)}")
    _out.print(f"log: {stories.store.log_id}")
    _out.print(f"durability: {(await stories.store.backend.describe())['durability']}")
    for name, value in settings.items():
        _out.print(f"{name.replace('_', '-')}: {without_secrets(value) or 'default'}")


@app.command("ls")
def list_things(
    story: Annotated[str | None, typer.Argument(help="List this story's decisions and subtasks.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List the stories, or the decisions and subtasks of one."""
    _program.run(_list_stories(store, as_json=as_json) if story is None else _list_story(store, story, as_json=as_json))


async def _list_stories(store: str, *, as_json: bool) -> None:
    table = _table("story", "title", "phase", "decisions", "subtasks", "version")
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        async for info in stories.store.streams(CATEGORY):
            folded = await stories.ask(info.stream.id)
            state = folded.state
            row = {
                "story_id": info.stream.id,
                "title": state.title,
                "phase": state.phase,
                "decisions": len(state.decisions),
                "subtasks": len(state.subtasks),
                "version": folded.version,
            }
            if as_json:
                _print_json(row)
            else:
                table.add_row(*(_safe(value) for value in row.values()))
    if not as_json:
        _out.print(table)


async def _list_story(store: str, story_id: str, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        state = (await stories.ask(story_id)).state
    things = sorted([*state.decisions.values(), *state.subtasks.values()], key=lambda thing: thing.order)
    rows = [
        {"kind": type(thing).__name__.lower(), "id": thing.id, "status": thing.status, "title": thing.title}
        for thing in things
    ]
    table = _table("kind", "id", "status", "title")
    for row in rows:
        if as_json:
            _print_json(row)
        else:
            table.add_row(*(_safe(value) for value in row.values()))
    if not as_json:
        _out.print(table)


@app.command()
def show(
    story: Annotated[str, typer.Argument(help="The story's id.")],
    at: Annotated[
        str | None, typer.Option(help="As it was at this moment: ISO 8601, UTC unless it says otherwise.")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="Which clock --at is of: recorded (when the log learned it) or occurred.")
    ] = "recorded",
    role: Annotated[str, typer.Option(help=f"For whom: {', '.join(ROLES)}.")] = "architect",
    phase: Annotated[str | None, typer.Option(help=f"{', '.join(PHASES)}; the story's own by default.")] = None,
    subtask: Annotated[str, typer.Option(help="The current subtask.")] = "",
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a story's context, now or at a moment of the past."""
    _program.run(_show(store, story, at, clock, role, phase or "", subtask, as_json=as_json))


async def _show(
    store: str, story_id: str, at: str | None, clock: str, role: str, phase: str, subtask: str, *, as_json: bool
) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = await context_of(
            stories, story_id, role=role, phase=phase, subtask_id=subtask, timestamp=at, clock=clock
        )
    if as_json:
        _print_json(
            {
                "story_id": story_id,
                "version": found.version,
                "position": str(found.token),
                "hash": found.hash,
                "token_count": found.tokens,
                "context": found.text,
            }
        )
        return
    _out.print(_safe(found.text))
    _err.print(f"version {found.version}, position {found.token}", style="dim")


@app.command("log")
def show_log(
    story: Annotated[str, typer.Argument(help="The story's id.")],
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a story's events: who, what, when and why."""
    _program.run(_show_log(store, story, as_json=as_json))


async def _show_log(store: str, story_id: str, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        await stories.ask(story_id)
        async for commit in stories.store.commits(stories.stream(story_id)):
            for event in commit.events:
                row = _log_row(event)
                if as_json:
                    _print_json(row)
                else:
                    _out.print(_log_text(row))


def _log_row(event: Event) -> dict[str, Any]:
    what = MessageToDict(event.message, preserving_proto_field_name=True)
    why = what.pop("reason", "")
    return {
        "version": event.version,
        "position": event.position,
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "who": event.commit.metadata.actor,
        "event": event.raw.type.rpartition(".")[2].removesuffix("Event"),
        "what": what,
        "why": why,
        "cause": event.commit.metadata.causation_id,
        "correlation": event.commit.metadata.correlation_id,
    }


def _log_text(row: dict[str, Any]) -> Text:
    text = Text(f"{row['version']:>5} ", style="bold")
    text.append(f"{row['occurred_at'][:19]}Z ", style="cyan")
    text.append(f"{row['event']} ", style="bold")
    text.append("  ".join(f"{key}={_brief(value)}" for key, value in row["what"].items()))
    text.append(f"\n      by {_clean(row['who']) or 'unknown'}", style="dim")
    if row["why"]:
        text.append(f", because {_clean(row['why'])}", style="dim")
    return text


def _brief(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = _clean(" ".join(shown.split()))
    return shown if len(shown) <= _BRIEF else shown[: _BRIEF - 1] + "…"


NatsServer = Annotated[
    str, typer.Option("--nats", envvar="CONTEXT_NATS", help="Where the dead letters are: nats://HOST:4222.")
]
OfSubject = Annotated[str, typer.Option("--subject", help="Only those of this subject.", show_default="all")]


@burying.command("list")
def list_dead_letters(nats: NatsServer, subject: OfSubject = "", as_json: AsJson = False) -> None:
    """List the messages that could not be handled, oldest first."""
    _program.run(_list_dead_letters(nats, subject, as_json=as_json))


async def _list_dead_letters(nats: str, subject: str, *, as_json: bool) -> None:
    table = _table("seq", "subject", "event", "deliveries", "reason")
    async with open_bus(nats) as bus:
        async for letter in dead_letters(_given(bus), subject):
            if as_json:
                _print_json(_letter_row(letter))
            else:
                row = (letter.sequence, letter.subject, letter.event_id, letter.deliveries, _brief(letter.reason))
                table.add_row(*(_safe(value) for value in row))
    if not as_json:
        _out.print(table)


@burying.command("show")
def show_dead_letter(
    sequence: Annotated[int, typer.Argument(metavar="SEQ", help="Its number in the list.")], nats: NatsServer
) -> None:
    """Show one with its body, as JSON."""
    _program.run(_show_dead_letter(nats, sequence))


async def _show_dead_letter(nats: str, sequence: int) -> None:
    async with open_bus(nats) as bus:
        async for letter in _chosen(_given(bus), "", sequence):
            _print_json(_letter_row(letter) | {"body": letter.body.decode(errors="replace")})


@burying.command("replay")
def replay_dead_letters(
    nats: NatsServer,
    sequence: Annotated[int | None, typer.Argument(metavar="SEQ", help="Only this one.")] = None,
    subject: OfSubject = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them, or all of the subject.")] = False,
) -> None:
    """Send messages again on their subjects, as they were, and let go of the dead letters."""
    if (sequence is None) != everything:
        raise typer.BadParameter("name one by its number, or --all")
    _program.run(_replay_dead_letters(nats, subject, sequence))


async def _replay_dead_letters(nats: str, subject: str, sequence: int | None) -> None:
    async with open_bus(nats) as bus:
        # First looked at, then sent: what dies again meanwhile is not sent twice.
        letters = [letter async for letter in _chosen(_given(bus), subject, sequence)]
        for letter in letters:
            await replay(_given(bus), letter)
    _out.print(f"{len(letters)} replayed")


async def _chosen(bus: Bus, subject: str, sequence: int | None) -> AsyncIterator[DeadLetter]:
    found = False
    async for letter in dead_letters(bus, subject):
        if sequence in {None, letter.sequence}:
            found = True
            yield letter
    if sequence is not None and not found:
        raise InvalidInput("seq", f"there is no dead letter {sequence}")


def _given(bus: Bus | None) -> Bus:
    if bus is None:
        raise InvalidInput("nats", "expected nats://HOST:4222, got nothing")
    return bus


def _letter_row(letter: DeadLetter) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(letter)
    return {name: row[name] for name in row if name not in {"body", "packed"}}


@importing.command("peps")
def import_peps_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, one change of one PEP each.")],
    store: StoreUrl = DEFAULT_STORE,
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    as_json: AsJson = False,
) -> None:
    """Import the history of the PEPs' headers. May be stopped and repeated: every line is written once."""
    _program.run(_import(store, file, snapshots, snapshot_every, as_json=as_json))


async def _import(store: str, file: Path, snapshots: str, snapshot_every: int, *, as_json: bool) -> None:
    async with open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories:
        with _progress("importing", show=not as_json) as done:
            report = await import_peps(stories.store, stories.snapshots, file, progress=done)
    if as_json:
        _print_json(msgspec.to_builtins(report))
        return
    _out.print(
        f"{report.decisions} decisions of {report.stories} stories from {report.changes} changes: "
        f"{report.written} written, {report.already_there} there already, in {report.seconds:.2f} s "
        f"({report.changes_per_second:,.0f} changes a second)"
    )
    for name, count in report.odd.items():
        _out.print(f"  {count:>5} {name}")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the answers instead of serving on.")] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="CONTEXT_DEMO_STORE", help="A fresh file in a new folder by default."),
    ] = None,
    listen: Annotated[str, typer.Option(envvar="CONTEXT_LISTEN", help="HOST:PORT to serve on.")] = "127.0.0.1:50054",
) -> None:
    """Import 26 years of Python's decisions, serve them, and ask what was known then."""
    from context_service.demo import run_demo  # noqa: PLC0415 (only here is the client needed)

    _program.run(run_demo(_out, _progress, store=store, listen=listen, once=once))


@contextmanager
def _progress(what: str, *, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes what is done and what there is to do; a terminal shows it as a bar."""
    with progress(show=show) as report:
        yield lambda done, total: report(what, done, total)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _clean(text: str) -> str:
    """Return stored text without what a terminal would take as a command."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _safe(value: object) -> Text:
    return Text(_clean(str(value)))


def _print_json(row: object) -> None:
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
