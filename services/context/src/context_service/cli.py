"""The command ``context``."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
from context_service.contexts import Contexts, checked_moment, context_message, context_of
from context_service.dead_letters import dead_letters, replay
from context_service.past import ENTITY_TYPES, diff, history
from context_service.peps import ImportFault, import_peps
from context_service.policy import PACKAGED, Policy, PolicyFault
from context_service.reasons import events_behind, explain
from context_service.redaction import RedactingFilter, redact, redacted
from context_service.rehydration import rehydrate
from context_service.relationships import NODE_TYPES, GraphUnavailable, related
from context_service.snapshots import IN_MEMORY
from context_service.stories import DEFAULT_STORE, SNAPSHOT_EVERY, clock_named, open_stories
from context_service.story import CATEGORY
from context_service.text import count_tokens
from context_service.v1 import context_pb2 as pb
from context_service.views import NOWHERE, Logging, all_ready, graph_among, open_views, projecting
from context_service.words import PHASES, ROLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

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
# A call that was sent before its caller could know of the end arrives within this.
_DRAIN_SECONDS = 0.25


_program = Program(
    "context", EventStoreError, Refused, ImportFault, CannotListen, PolicyFault, GraphUnavailable, BusUnavailable
)
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
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="CONTEXT_POLICY",
        help="A YAML file that says which scopes a role is granted in a phase.",
        show_default="the one of this release",
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
    policy: PolicyFile = None,
    nats: NatsUrl = "",
    metrics: Metrics = "",
    log_level: LogLevel = "INFO",
) -> None:
    """Serve the gRPC interface, and keep the read models, until SIGTERM or Ctrl-C.

    With --graph none --cache none another process keeps them: context project.
    """
    _program.run(_serve(store, listen, graph, cache, snapshots, snapshot_every, policy, nats, metrics, log_level))


async def _serve(
    store: str,
    listen: str,
    graph: str,
    cache: str,
    snapshots: str,
    snapshot_every: int,
    policy: Path | None,
    nats: str,
    metrics: str,
    log_level: str,
) -> None:
    level = _logging(log_level)
    contexts = _contexts(policy)
    kept = {
        "snapshots": snapshots,
        "snapshot_every": str(snapshot_every),
        "policy": str(policy or ""),
        "nats": nats or NOWHERE,
    }
    monitor = Logging()
    # Whoever reads that it serves may send the signal at once, so the handlers come first.
    with stop_signals() as stop:
        async with (
            open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories,
            open_bus(nats) as bus,
            open_views(stories, bus, graph=graph, cache=cache) as views,
            open_bundles(cache) as bundles,
            projecting(views, monitor),
            taking_in(bus, stories, _rehydrating(stories, contexts.policy, bundles), monitor) as more,
            serving(
                stories,
                listen,
                contexts=contexts,
                bundles=bundles,
                graph=graph_among(views),
                ready=lambda: all_ready(views, monitor) and all(monitor.health(name).ready for name in more),
                drain=_DRAIN_SECONDS,
            ) as address,
        ):
            with _offered(monitor, views, metrics, more):
                await _tell(stories, store, graph=graph, cache=cache, **kept, listen=listen, log_level=level)
                # The first answer should not have to load the vocabulary and the rules, nor any answer to wait for the
                # garbage collector to look through all that is there now and stays.
                count_tokens(redact(""))
                gc.collect()
                gc.freeze()
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
            open_views(stories, bus, graph=graph, cache=cache) as views,
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


def _contexts(policy: Path | None) -> Contexts:
    return Contexts(Policy.load(policy or PACKAGED))


def _logging(log_level: str) -> str:
    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise InvalidInput("log-level", f"expected DEBUG, INFO, WARNING or ERROR; got {log_level!r}")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, RedactingFilter) for each in handler.filters):
            handler.addFilter(RedactingFilter())
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
                "title": redact(state.title),
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
        {"kind": type(thing).__name__.lower(), "id": thing.id, "status": thing.status, "title": redact(thing.title)}
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
    budget: Annotated[int, typer.Option(help="At most so many tokens; 0 means what suits the role.")] = 0,
    why: Annotated[bool, typer.Option("--why", help="Name the events behind each statement.")] = False,
    policy: PolicyFile = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a story's context, now or at a moment of the past."""
    asked = {"role": role, "phase": phase or "", "subtask_id": subtask, "token_budget": budget}
    _program.run(_show(store, story, (at, clock), policy, asked, why=why, as_json=as_json))


async def _show(
    store: str,
    story_id: str,
    moment: tuple[str | None, str],
    policy: Path | None,
    asked: dict[str, Any],
    *,
    why: bool,
    as_json: bool,
) -> None:
    contexts, (at, clock) = _contexts(policy), moment
    kind = clock_named(clock)
    until = None if at is None else kind(checked_moment("timestamp", at))
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = await context_of(stories, story_id, until, contexts=contexts, **asked)
        behind = await events_behind(stories, story_id, found.version) if why else {}
    answer = context_message(found, behind)
    if as_json:
        answer.ClearField("blocks")
        row = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        _print_json({"story_id": story_id, **row, "version": found.version})
        return
    _out.print(_safe(answer.context))
    if why:
        _out.print(_why(answer))
    for name in ("scopes", "empty_scopes", "withheld_scopes"):
        _err.print(f"{name.removesuffix('_scopes')}: {', '.join(getattr(answer, name)) or 'none'}", style="dim")
    _err.print(f"tokens: {answer.token_count}", style="dim")
    for omission in answer.omitted:
        left = "left out" if omission.left == "nothing" else f"cut to {omission.left}"
        _err.print(_safe(f"{omission.entity_type} {omission.entity_id}: {left}, {omission.reason}"), style="dim")
    _err.print(f"version {answer.version}, position {answer.position}", style="dim")


def _why(answer: pb.GetContextResponse) -> Table:
    """Return which events say what is stated."""
    table = _table("stated", "id", "by", "events")
    for one in answer.statements:
        events = ", ".join(f"{event.version} {event.event_type}" for event in one.events)
        table.add_row(*(_safe(value) for value in (one.entity_type, one.entity_id, one.scope, events)))
    return table


@app.command("graph")
def show_graph(
    node_type: Annotated[str, typer.Argument(help=f"{', '.join(NODE_TYPES)}.")],
    node_id: Annotated[str, typer.Argument(help="The node's id.")],
    depth: Annotated[int, typer.Option(help="How many relations lie between at most: 1 to 3.")] = 2,
    at_position: Annotated[str, typer.Option(help="As it was at this position of the log: LOG:NUMBER.")] = "",
    store: StoreUrl = DEFAULT_STORE,
    graph: GraphUrl = "",
    as_json: AsJson = False,
) -> None:
    """Show what is around a node of the graph that context serve or context project keeps."""
    _program.run(_show_graph(store, graph, node_type, node_id, depth, at_position, as_json=as_json))


async def _show_graph(
    store: str, url: str, node_type: str, node_id: str, depth: int, position: str, *, as_json: bool
) -> None:
    async with (
        open_stories(store, create=False, snapshots=IN_MEMORY) as stories,
        open_views(stories, graph=url, cache=NOWHERE) as views,
    ):
        found = redacted(await related(graph_among(views), node_id, node_type, depth=depth, position=position))
    if as_json:
        _print_json(MessageToDict(found, preserving_proto_field_name=True))
        return
    for node in (found.node, *found.neighbors):
        _out.print(_safe(f"{node.type} {node.id}  {node.title}"))
    for edge in found.relationships:
        _out.print(_safe(f"  {edge.from_node_id} {edge.type} {edge.to_node_id}"))
    _err.print(f"position {found.position}", style="dim")


Clock = Annotated[
    str, typer.Option(help="Which clock timestamps are of: recorded (when the log learned it) or occurred.")
]
_MOMENT = "a version, a timestamp in ISO 8601, or a position"
_POSITION = re.compile(r"[0-9a-f]{32}:\d+")


@app.command("log", hidden=True)
@app.command("history")
def show_history(
    story: Annotated[str, typer.Argument(help="The story's id.")],
    event_types: Annotated[
        list[str] | None, typer.Option("--event", help="Only events of this name, for example DecisionAdded.")
    ] = None,
    actor: Annotated[str, typer.Option(help="Only what this one did.")] = "",
    kind: Annotated[str, typer.Option(help=f"Only events of a kind of thing: {', '.join(ENTITY_TYPES)}.")] = "",
    id: Annotated[str, typer.Option(help="Only events of the thing with this id.")] = "",
    after: Annotated[str, typer.Option(help=f"Only what came after {_MOMENT}.")] = "",
    until: Annotated[str, typer.Option(help=f"Only what came until {_MOMENT}.")] = "",
    clock: Clock = "recorded",
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a story's events: who, when, why, and what each made different."""
    request = pb.GetHistoryRequest(
        story_id=story,
        event_types=event_types or (),
        actor=actor,
        entity_type=kind,
        entity_id=id,
        after=_moment(after, clock),
        until=_moment(until, clock),
        page_size=1_000,
    )
    _program.run(_show_history(store, request, as_json=as_json))


async def _show_history(store: str, request: pb.GetHistoryRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        while True:
            page = redacted(await history(stories, request))
            for entry in page.entries:
                if as_json:
                    _print_json(_entry_row(entry))
                else:
                    _out.print(_entry_text(entry))
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _moment(text: str, clock: str) -> pb.Moment | None:
    """Return the moment that a word names; no word names none."""
    if not text:
        return None
    if text.isdecimal() and text.isascii():
        # What is over the field's range is over every story's version too.
        return pb.Moment(version=min(int(text), 2**31 - 1), clock=clock)
    return pb.Moment(position=text) if _POSITION.fullmatch(text) else pb.Moment(timestamp=text, clock=clock)


def _entry_row(entry: pb.HistoryEntry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "position": int(entry.position.rpartition(":")[2]),
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
        "who": entry.actor,
        "event": entry.event_type,
        "kind": entry.entity_type,
        "id": entry.entity_id,
        "what": json.loads(entry.payload),
        "changes": _change_rows(entry.changes),
        "why": entry.reason,
        "cause": entry.cause,
        "correlation": entry.correlation_id,
        "commit": entry.commit_id,
    }


def _change_rows(changes: Iterable[pb.FieldChange]) -> list[dict[str, Any]]:
    return [
        {"field": change.field, "before": _value(change.before), "after": _value(change.after)} for change in changes
    ]


def _value(text: str) -> Any:
    return json.loads(text) if text else None


def _entry_text(entry: pb.HistoryEntry) -> Text:
    text = Text.assemble(
        (f"{entry.version:>5} ", "bold"),
        (f"{entry.occurred_at[:19]}Z ", "cyan"),
        (f"{_clean(entry.event_type)} ", "bold"),
        _brief(entry.entity_id, 79 - 28 - len(entry.event_type)),
    )
    if not entry.entity_type:
        text.append(f"\n      cannot be read: {_brief(json.loads(entry.payload)['unreadable'], 57)}", style="red")
    text.append(_changes_text(entry.changes))
    text.append(f"\n      by {_clean(entry.actor) or 'unknown'}", style="dim")
    if entry.reason:
        text.append(f", because {_clean(' '.join(entry.reason.split()))}", style="dim")
    return text


def _changes_text(changes: Iterable[pb.FieldChange]) -> Text:
    """Return a line for each change, as much of it as fits into 80 columns."""
    text = Text()
    for change in changes:
        before, after = _value(change.before), _value(change.after)
        room = 79 - len(f"      {change.field}: ")
        if change.before and change.after:
            before, after = _from_where_they_differ(before, after, room)
            half = max((room - len(" → ")) // 2, 10)
            # What is short leaves its room to the other.
            left = _brief(before, max(half, room - 3 - len(_brief(after, room))))
            shown = f"{left} → {_brief(after, max(half, room - 3 - len(left)))}"
        else:
            shown = _brief(after, room) if change.after else f"{_brief(before, room - 7)} → none"
        text.append(f"\n      {_clean(change.field)}: ", style="dim").append(shown)
    return text


def _from_where_they_differ(before: Any, after: Any, room: int) -> tuple[Any, Any]:
    """Return two long texts from shortly before where they part, so that what is shown of them is different."""
    if not isinstance(before, str) or not isinstance(after, str) or len(before) + len(after) < room:
        return before, after
    start = len(os.path.commonprefix([before, after])) - 10  # noqa: RUF071 (of texts, which are no paths)
    return ("…" + before[start:], "…" + after[start:]) if start > 0 else (before, after)


def _brief(value: Any, room: int) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = _clean(" ".join(shown.split()))
    return shown if len(shown) <= room else shown[: max(room - 1, 0)] + "…"


@app.command("diff")
def show_diff(
    story: Annotated[str, typer.Argument(help="The story's id.")],
    earlier: Annotated[
        str, typer.Option(help=f"Since when: {_MOMENT}.", show_default="before the story's first event")
    ] = "",
    later: Annotated[str, typer.Option(help=f"Until when: {_MOMENT}.", show_default="now")] = "",
    clock: Clock = "recorded",
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what is different in a story between two moments."""
    request = pb.DiffContextRequest(story_id=story, earlier=_moment(earlier, clock), later=_moment(later, clock))
    _program.run(_show_diff(store, request, as_json=as_json))


async def _show_diff(store: str, request: pb.DiffContextRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = redacted(await diff(stories, request))
    if as_json:
        _print_json(_diff_row(found))
        return
    for entity in found.entities:
        text = Text(f"{_SIGNS[entity.change]} ", style="bold")
        text.append(f"{entity.entity_type} ").append(_clean(entity.entity_id), style="bold")
        # What is gone is told by its name; the past still has the rest.
        text.append(_changes_text(entity.fields if entity.change != "GONE" else ()))
        _out.print(text)
    for one in found.relations:
        _out.print(Text(f"{_SIGNS[one.change]} ", style="bold").append(_relation_text(one.relation)))
    counts = Counter(entity.change for entity in found.entities)
    told = ", ".join(f"{counts[change]} {change.lower()}" for change in _SIGNS)
    relations = Counter(related.change for related in found.relations)
    told += f"\nrelations: {relations['ADDED']} added, {relations['GONE']} gone"
    _out.print(f"version {found.earlier_version} to {found.later_version}: {told}", style="dim")


_SIGNS: Final = {"ADDED": "+", "CHANGED": "~", "GONE": "-"}


def _diff_row(found: pb.DiffContextResponse) -> dict[str, Any]:
    return {
        "earlier": {"version": found.earlier_version, "position": found.earlier_position},
        "later": {"version": found.later_version, "position": found.later_position},
        "entities": [
            {
                "change": entity.change,
                "kind": entity.entity_type,
                "id": entity.entity_id,
                "fields": _change_rows(entity.fields),
            }
            for entity in found.entities
        ],
        "relations": [{"change": one.change, "relation": _relation_row(one.relation)} for one in found.relations],
    }


def _relation_row(relation: pb.DecisionRelation) -> list[str]:
    return [relation.src_id, relation.relation_type, relation.dst_id]


def _relation_text(relation: pb.DecisionRelation) -> str:
    return _clean(" ".join(_relation_row(relation)))


@app.command("why")
def show_why(
    story: Annotated[str, typer.Argument(help="The story's id.")],
    decision: Annotated[str, typer.Argument(help="The decision's id.")],
    at: Annotated[str, typer.Option(help=f"As of when: {_MOMENT}.", show_default="now")] = "",
    clock: Clock = "recorded",
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show why a decision is as it is: its events, what caused them, what it rests on and what rests on it."""
    request = pb.ExplainDecisionRequest(story_id=story, decision_id=decision, at=_moment(at, clock))
    _program.run(_show_why(store, request, as_json=as_json))


async def _show_why(store: str, request: pb.ExplainDecisionRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = redacted(await explain(stories, request))
    if as_json:
        _print_json(_why_row(found))
        return
    _out.print(_safe(_decision_text(found.decision)), style="bold")
    if found.decision.decided_by:
        _out.print(_safe(f"decided by {found.decision.decided_by}, {found.decision.decided_at}"))
    _out.print("\nWhat was recorded of it", style="bold")
    for entry in found.events:
        _out.print(_entry_text(entry))
    _listed("What caused it", map(_cause_text, found.causes))
    _listed("What it rests on", map(_dependency_text, found.dependencies))
    _listed("What rests on it", map(_dependency_text, found.dependents))
    _err.print(f"version {found.version}, position {found.position}", style="dim")


def _listed(heading: str, lines: Iterable[str]) -> None:
    _out.print(f"\n{heading}", style="bold")
    for line in list(lines) or ["  nothing"]:
        _out.print(_safe(line))


def _decision_text(decision: pb.Decision) -> str:
    return f"{decision.id} [{decision.status}] {' '.join(decision.title.split())}".rstrip()


def _cause_text(cause: pb.Cause) -> str:
    if not cause.events:
        return f"  {cause.entity_type} {cause.entity_id}"
    versions = ", ".join(str(entry.version) for entry in cause.events)
    return f"  {cause.entity_type} {cause.entity_id}, of which tell the versions {versions}"


def _dependency_text(found: pb.Dependency) -> str:
    told = f"{found.decision.id}, which the story does not have" if found.missing else _decision_text(found.decision)
    versions = ", ".join(str(event.version) for event in found.events)
    start = "  " * found.distance
    return f"{start}{told}\n{start}  {_relation_text(found.relation)}; versions {versions}"


def _why_row(found: pb.ExplainDecisionResponse) -> dict[str, Any]:
    return {
        "decision": _decision_row(found.decision),
        "events": [_entry_row(entry) for entry in found.events],
        "causes": [
            {"kind": cause.entity_type, "id": cause.entity_id, "events": [_entry_row(entry) for entry in cause.events]}
            for cause in found.causes
        ],
        "dependencies": [_dependency_row(one) for one in found.dependencies],
        "dependents": [_dependency_row(one) for one in found.dependents],
        "version": found.version,
        "position": found.position,
    }


def _decision_row(decision: pb.Decision) -> dict[str, str]:
    return {field.name: getattr(decision, field.name) for field in pb.Decision.DESCRIPTOR.fields}


def _dependency_row(found: pb.Dependency) -> dict[str, Any]:
    return {
        "decision": _decision_row(found.decision),
        "distance": found.distance,
        "relation": _relation_row(found.relation),
        "versions": [event.version for event in found.events],
        "missing": found.missing,
    }


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
                reason = _brief(letter.reason, 60)
                row = (letter.sequence, letter.subject, letter.event_id, letter.deliveries, reason)
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
            _print_json(_letter_row(letter) | {"body": redact(letter.body.decode(errors="replace"))})


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
    row["headers"] = {name: redact(value) for name, value in letter.headers.items()}
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
