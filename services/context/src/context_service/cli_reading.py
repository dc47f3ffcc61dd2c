"""The commands that read: stories, their past and their graph."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from google.protobuf.json_format import MessageToDict
from rich.table import Table
from rich.text import Text

from context_service import terminal
from context_service.commands import Fault
from context_service.contexts import checked_moment, context_message, context_of, refused
from context_service.past import ENTITY_TYPES, diff, history
from context_service.reasons import events_behind, explain
from context_service.redaction import redact, redacted
from context_service.relationships import NODE_TYPES, related
from context_service.servers import NOWHERE
from context_service.snapshots import IN_MEMORY
from context_service.stories import DEFAULT_STORE, clock_named, open_stories
from context_service.story import CATEGORY
from context_service.terminal import AsJson, GraphUrl, PolicyFile, StoreUrl
from context_service.v1 import context_pb2 as pb
from context_service.views import graph_among, graph_file, open_views
from context_service.words import PHASES, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer()


@app.command("ls")
def list_things(
    story: Annotated[str | None, typer.Argument(help="List this story's decisions and subtasks.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List the stories, or the decisions and subtasks of one."""
    terminal.program.run(
        _list_stories(store, as_json=as_json) if story is None else _list_story(store, story, as_json=as_json)
    )


async def _list_stories(store: str, *, as_json: bool) -> None:
    table = terminal.table("story", "title", "phase", "decisions", "subtasks", "version")
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
                terminal.print_json(row)
            else:
                table.add_row(*(terminal.safe(value) for value in row.values()))
    if not as_json:
        terminal.out.print(table)


async def _list_story(store: str, story_id: str, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        state = (await stories.ask(story_id)).state
    things = sorted([*state.decisions.values(), *state.subtasks.values()], key=lambda thing: thing.order)
    rows = [
        {"kind": type(thing).__name__.lower(), "id": thing.id, "status": thing.status, "title": redact(thing.title)}
        for thing in things
    ]
    table = terminal.table("kind", "id", "status", "title")
    for row in rows:
        if as_json:
            terminal.print_json(row)
        else:
            table.add_row(*(terminal.safe(value) for value in row.values()))
    if not as_json:
        terminal.out.print(table)


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
    terminal.program.run(_show(store, story, (at, clock), policy, asked, why=why, as_json=as_json))


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
    contexts, (at, clock) = terminal.contexts_by(policy), moment
    kind = clock_named(clock)
    until = None if at is None else kind(checked_moment("timestamp", at))
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = await context_of(stories, story_id, until, contexts=contexts, **asked)
        behind = await events_behind(stories, story_id, found.version) if why else {}
    answer = redacted(context_message(found, behind))
    if as_json:
        answer.ClearField("blocks")
        row = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        terminal.print_json({"story_id": story_id, **row, "version": found.version})
        return
    terminal.out.print(terminal.safe(answer.context))
    if why:
        terminal.out.print(_why(answer))
    for name in ("scopes", "empty_scopes", "withheld_scopes"):
        terminal.err.print(f"{name.removesuffix('_scopes')}: {', '.join(getattr(answer, name)) or 'none'}", style="dim")
    terminal.err.print(f"tokens: {answer.token_count}", style="dim")
    for omission in answer.omitted:
        left = "left out" if omission.left == "nothing" else f"cut to {omission.left}"
        terminal.err.print(
            terminal.safe(f"{omission.entity_type} {omission.entity_id}: {left}, {omission.reason}"), style="dim"
        )
    terminal.err.print(f"version {answer.version}, position {answer.position}", style="dim")


def _why(answer: pb.GetContextResponse) -> Table:
    """Return which events say what is stated."""
    table = terminal.table("stated", "id", "by", "events")
    for one in answer.statements:
        events = ", ".join(f"{event.version} {event.event_type}" for event in one.events)
        table.add_row(*(terminal.safe(value) for value in (one.entity_type, one.entity_id, one.scope, events)))
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
    terminal.program.run(_show_graph(store, graph, node_type, node_id, depth, at_position, as_json=as_json))


async def _show_graph(
    store: str, url: str, node_type: str, node_id: str, depth: int, position: str, *, as_json: bool
) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        file = graph_file(stories, url)
        # Who only asks makes no file.
        if file and not Path(file).exists():  # noqa: ASYNC240 (the command does nothing else meanwhile)
            problem = f"expected a graph that context serve or context project has made; there is none in {file}"
            raise refused(Fault.PRECONDITION, "graph", problem)
        async with open_views(stories, graph=url, cache=NOWHERE) as views:
            found = redacted(await related(graph_among(views), node_id, node_type, depth=depth, position=position))
    if as_json:
        terminal.print_json(MessageToDict(found, preserving_proto_field_name=True))
        return
    for node in (found.node, *found.neighbors):
        terminal.out.print(terminal.safe(f"{node.type} {node.id}  {node.title}"))
    for edge in found.relationships:
        terminal.out.print(terminal.safe(f"  {edge.from_node_id} {edge.type} {edge.to_node_id}"))
    terminal.err.print(f"position {found.position}", style="dim")


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
    terminal.program.run(_show_history(store, request, as_json=as_json))


async def _show_history(store: str, request: pb.GetHistoryRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        while True:
            page = redacted(await history(stories, request))
            for entry in page.entries:
                if as_json:
                    terminal.print_json(_entry_row(entry))
                else:
                    terminal.out.print(_entry_text(entry))
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
        (f"{terminal.clean(entry.event_type)} ", "bold"),
        terminal.brief(entry.entity_id, 79 - 28 - len(entry.event_type)),
    )
    if not entry.entity_type:
        text.append(
            f"\n      cannot be read: {terminal.brief(json.loads(entry.payload)['unreadable'], 57)}", style="red"
        )
    text.append(_changes_text(entry.changes))
    text.append(f"\n      by {terminal.clean(entry.actor) or 'unknown'}", style="dim")
    if entry.reason:
        text.append(f", because {terminal.clean(' '.join(entry.reason.split()))}", style="dim")
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
            left = terminal.brief(before, max(half, room - 3 - len(terminal.brief(after, room))))
            shown = f"{left} → {terminal.brief(after, max(half, room - 3 - len(left)))}"
        else:
            shown = terminal.brief(after, room) if change.after else f"{terminal.brief(before, room - 7)} → none"
        text.append(f"\n      {terminal.clean(change.field)}: ", style="dim").append(shown)
    return text


def _from_where_they_differ(before: Any, after: Any, room: int) -> tuple[Any, Any]:
    """Return two long texts from shortly before where they part, so that what is shown of them is different."""
    if not isinstance(before, str) or not isinstance(after, str) or len(before) + len(after) < room:
        return before, after
    start = len(os.path.commonprefix([before, after])) - 10  # noqa: RUF071 (of letters, not of paths)
    return ("…" + before[start:], "…" + after[start:]) if start > 0 else (before, after)


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
    terminal.program.run(_show_diff(store, request, as_json=as_json))


async def _show_diff(store: str, request: pb.DiffContextRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = redacted(await diff(stories, request))
    if as_json:
        terminal.print_json(_diff_row(found))
        return
    for entity in found.entities:
        text = Text(f"{_SIGNS[entity.change]} ", style="bold")
        text.append(f"{entity.entity_type} ").append(terminal.clean(entity.entity_id), style="bold")
        # What is gone is told by its name; the past still has the rest.
        text.append(_changes_text(entity.fields if entity.change != "GONE" else ()))
        terminal.out.print(text)
    for one in found.relations:
        terminal.out.print(Text(f"{_SIGNS[one.change]} ", style="bold").append(_relation_text(one.relation)))
    counts = Counter(entity.change for entity in found.entities)
    told = ", ".join(f"{counts[change]} {change.lower()}" for change in _SIGNS)
    relations = Counter(related.change for related in found.relations)
    told += f"\nrelations: {relations['ADDED']} added, {relations['GONE']} gone"
    terminal.out.print(f"version {found.earlier_version} to {found.later_version}: {told}", style="dim")


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
    return terminal.clean(" ".join(_relation_row(relation)))


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
    terminal.program.run(_show_why(store, request, as_json=as_json))


async def _show_why(store: str, request: pb.ExplainDecisionRequest, *, as_json: bool) -> None:
    async with open_stories(store, create=False, snapshots=IN_MEMORY) as stories:
        found = redacted(await explain(stories, request))
    if as_json:
        terminal.print_json(_why_row(found))
        return
    terminal.out.print(terminal.safe(_decision_text(found.decision)), style="bold")
    if found.decision.decided_by:
        terminal.out.print(terminal.safe(f"decided by {found.decision.decided_by}, {found.decision.decided_at}"))
    terminal.out.print("\nWhat was recorded of it", style="bold")
    for entry in found.events:
        terminal.out.print(_entry_text(entry))
    _listed("What caused it", map(_cause_text, found.causes))
    _listed("What it rests on", map(_dependency_text, found.dependencies))
    _listed("What rests on it", map(_dependency_text, found.dependents))
    terminal.err.print(f"version {found.version}, position {found.position}", style="dim")


def _listed(heading: str, lines: Iterable[str]) -> None:
    terminal.out.print(f"\n{heading}", style="bold")
    for line in list(lines) or ["  nothing"]:
        terminal.out.print(terminal.safe(line))


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
