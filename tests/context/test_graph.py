"""The decision graph: equal to a second telling of it from the stories' states, now and at every past position."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from context_service import graph_sqlite, story
from context_service.changes import timestamp
from context_service.events.v1 import events_pb2 as pb
from context_service.stories import codec
from context_service.times import EPOCH
from eventstore import ANY, StreamId, open_store
from projections import Batching, rebuild, run, wait_for
from projections.sqlite import SqliteModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from context_service.story import Story
    from eventstore import EventStore
    from google.protobuf.message import Message

    from tests.context.conftest import Imported

Graph = tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]


ENDS = {
    "HAS_PLAN": ("Case", "PlanVersion"),
    "HAS_SUBTASK": ("PlanVersion", "Subtask"),
    "HAS_DECISION": ("Case", "Decision"),
    "CONTAINS_DECISION": ("PlanVersion", "Decision"),
    "REQUIRES": ("Subtask", "Subtask"),
    "AFFECTS": ("Decision", "Subtask"),
}


def ends(edge: tuple[str, str, str]) -> list[tuple[str, str]]:
    """Return the kinds and ids of what a relation relates."""
    type, *ids = edge
    return list(zip(ENDS.get(type, ("Decision", "Decision")), ids, strict=True))


def told(stories: dict[str, Story]) -> Graph:
    """Tell the graph of some stories: nodes by kind, id and status or phase; relations by type and ends."""
    nodes: dict[tuple[str, str], str] = {}
    edges: set[tuple[str, str, str]] = set()
    for case, state in stories.items():
        if not state.exists:
            continue
        nodes["Case", case] = state.phase
        for plan in state.plans.values():
            nodes["PlanVersion", plan.id] = plan.status
            edges.add(("HAS_PLAN", case, plan.id))
        for subtask in state.subtasks.values():
            nodes["Subtask", subtask.id] = subtask.status
            edges.update(("REQUIRES", subtask.id, other) for other in subtask.depends_on)
            if subtask.plan_id:
                edges.add(("HAS_SUBTASK", subtask.plan_id, subtask.id))
        for decision in state.decisions.values():
            if decision.status != "DELETED":
                nodes["Decision", decision.id] = decision.status
                edges.add(("HAS_DECISION", case, decision.id))
                before = [plan for plan in state.plans.values() if plan.order < decision.order]
                if before:
                    edges.add(("CONTAINS_DECISION", max(before, key=lambda plan: plan.order).id, decision.id))
        edges.update((link.kind, link.source, link.target) for link in state.links)
    held = {edge for edge in edges if all(end in nodes for end in ends(edge))}
    return {(kind, id, status) for (kind, id), status in nodes.items()}, held


TOLD = ("Case", "PlanVersion", "Subtask", "Decision")


def drawn(path: Path, position: int | None = None) -> Graph:
    """Read the graph of a file, now or as of a position."""
    with sqlite3.connect(path) as tx:
        found = [(*row, None) for row in tx.execute("SELECT kind, id, properties, since FROM graph_nodes")]
        held = [(*row, None) for row in tx.execute("SELECT type, source, target, since FROM graph_edges WHERE since")]
        if position is not None:
            found += tx.execute("SELECT kind, id, properties, since, until FROM graph_past_nodes").fetchall()
            held += tx.execute("SELECT type, source, target, since, until FROM graph_past_edges").fetchall()
    tx.close()

    return as_of([(kind, id, json.loads(text), *held) for kind, id, text, *held in found], held, position)


def as_of(nodes: Iterable[Any], edges: Iterable[Any], position: int | None) -> Graph:
    """Return what of nodes and relations held at a position, in the words of the other telling."""

    def holds(since: int, until: int | None) -> bool:
        return position is None or (since <= position and (until is None or position < until))

    return {
        (kind, id, properties["current_phase" if kind == "Case" else "status"])
        for kind, id, properties, since, until in nodes
        if kind in TOLD and holds(since, until)
    }, {tuple(row[:3]) for row in edges if holds(*row[3:])}


async def states(store: EventStore, position: int | None = None) -> dict[str, Story]:
    """Fold all stories, as far as a position."""
    found: dict[str, Story] = {}
    async for commit in store.log(categories=["story"]):
        if position is not None and commit.position > position:
            break
        for event in commit.events:
            found[commit.stream.id] = story.evolve(found.get(commit.stream.id, story.EMPTY), event.message)
    return found


async def project(store: EventStore, path: Path, batching: Batching | None = None) -> None:
    """Bring the graph in a file up to the end of the log."""
    async with SqliteModel(path) as model:
        task = asyncio.create_task(run(graph_sqlite.GRAPH, store, model, batching=batching))
        try:
            await wait_for(graph_sqlite.GRAPH, model, await store.head(), timeout=15)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_peps(tmp_path: Path, imported: Imported) -> None:
    """Of 26 years of real decisions the graph is what the stories tell, now and at ten positions."""
    path = tmp_path / "graph.db"
    async with open_store(imported.url, codec) as store:
        await project(store, path)
        assert drawn(path) == told(await states(store))
        head = (await store.head()).position
        for position in random.Random(1).sample(range(1, head), 10):
            assert drawn(path, position) == told(await states(store, position)), position


CASES = ("S-1", "S-10")
IDS = [f"{number}" for number in range(5)]


def random_events(chance: random.Random, case: str) -> Sequence[Message]:
    """Return what somebody may have said of a story, sensible or not; ids of things are unique across stories."""

    def id(kind: str) -> str:
        return f"{case}/{kind}{chance.choice(IDS)}"

    def anywhere(kind: str) -> str:
        return f"{chance.choice(CASES)}/{kind}{chance.choice(IDS)}"

    status = chance.choice([pb.PROPOSED, pb.APPROVED, pb.REJECTED])
    kind = chance.choice([pb.DEPENDS_ON, pb.SUPERSEDES, pb.AFFECTS])
    link: dict[str, Any] = {
        "source_id": anywhere("d"),
        "kind": kind,
        "target_id": anywhere("t" if kind == pb.AFFECTS else "d"),
        "stated_by": chance.choice(["x", "y"]),
    }
    needs = pb.Texts(values=[anywhere("t") for _ in range(chance.randrange(3))])
    options: Iterable[Any] = (
        pb.PhaseTransitionedEvent(from_phase="DESIGN", to_phase=chance.choice(["BUILD", "TEST"])),
        pb.PlanVersionAddedEvent(plan_id=id("p"), version=1),
        pb.PlanApprovedEvent(plan_id=id("p")),
        pb.SubtaskAddedEvent(subtask_id=id("t"), plan_id=id("p"), status="todo", depends_on=needs.values),
        pb.SubtaskUpdatedEvent(subtask_id=id("t"), status=chance.choice(["done", "todo"])),
        pb.SubtaskUpdatedEvent(subtask_id=id("t"), depends_on=needs),
        pb.SubtaskUpdatedEvent(subtask_id=id("t"), plan_id=chance.choice(["", id("p")])),
        pb.SubtaskRemovedEvent(subtask_id=id("t")),
        pb.DecisionAddedEvent(decision_id=id("d"), status=status, decided_at=timestamp(EPOCH)),
        pb.DecisionStatusChangedEvent(decision_id=id("d"), status=status),
        pb.DecisionChangedEvent(decision_id=id("d"), title=chance.choice("abc")),
        pb.DecisionLinkedEvent(**link),
        pb.DecisionLinkedEvent(**link),
        pb.DecisionUnlinkedEvent(**link),
        pb.PlanVersionChangedEvent(plan_id=id("p"), rationale=chance.choice("abc")),
        pb.DecisionDeletedEvent(decision_id=id("d")),
        pb.StoryPlacedInEpicEvent(epic_id=chance.choice(["", "E1", "E2"])),
        pb.TaskDispatchedEvent(subtask_id=id("t"), agent_id="a"),
        pb.MilestoneReachedEvent(milestone_id=id("m"), description=chance.choice("abc")),
        pb.MilestoneRemovedEvent(milestone_id=id("m")),
    )
    return chance.choices(list(options), k=chance.randint(1, 4))


def valid(state: Story, event: Message) -> bool:
    """Say whether a decider would have let an event be: nothing is added twice, nothing is there before its case."""
    if not state.exists:
        return False
    match event:
        case pb.PlanVersionAddedEvent():
            return event.plan_id not in state.plans
        case pb.SubtaskAddedEvent():
            return event.subtask_id not in state.subtasks
        case pb.DecisionAddedEvent():
            return event.decision_id not in state.decisions
        case pb.DecisionStatusChangedEvent():
            known = state.decisions.get(event.decision_id)
            return known is None or known.status != "DELETED"
    return True


async def write_history(store: EventStore, chance: random.Random, commits: int) -> dict[str, Story]:
    """Append random commits; return what the stories are then."""
    state: dict[str, Story] = {}
    for number in range(commits):
        case = CASES[number] if number < len(CASES) else chance.choice(CASES)
        known = state.get(case, story.EMPTY)
        news: list[Message] = []
        wanted = [pb.ContextCreatedEvent(phase="DESIGN")] if not known.exists else random_events(chance, case)
        for event in wanted:
            if not known.exists or valid(known, event):
                known = story.evolve(known, event)
                news.append(event)
        state[case] = known
        if news:
            await store.append(StreamId("story", case), news, expected=ANY)
    return state


@pytest.mark.parametrize("seed", range(8))
async def test_random_histories(tmp_path: Path, seed: int) -> None:
    """Whatever comes in whatever order and batches, the graph is what the stories tell, at each position."""
    chance = random.Random(seed)
    async with open_store("memory://", codec) as store:
        state = await write_history(store, chance, 150)
        path = tmp_path / "graph.db"
        await project(store, path, Batching(commits=chance.randint(1, 40)))
        assert drawn(path) == told(state)
        head = (await store.head()).position
        for position in range(1, head + 1):
            assert drawn(path, position) == told(await states(store, position)), position
        async with SqliteModel(path) as model:
            assert not (await rebuild(graph_sqlite.GRAPH, store, model)).difference


async def test_everything_once(tmp_path: Path) -> None:
    """Each kind of node and relation that the log speaks of is there, with its properties; what ended is past."""
    at = timestamp(EPOCH)
    story: list[Message] = [
        pb.ContextCreatedEvent(title="s", phase="DESIGN", epic_id="E1", created_at=at),
        pb.StoryChangedEvent(title="t", status="ACTIVE"),
        pb.PlanVersionAddedEvent(plan_id="p1", version=1, author="ann"),
        pb.PlanVersionChangedEvent(plan_id="p1", rationale="why"),
        pb.PlanApprovedEvent(plan_id="p1", approved_by="bob", at=at),
        pb.SubtaskAddedEvent(subtask_id="t1", plan_id="p1", status="todo", title="x"),
        pb.SubtaskUpdatedEvent(subtask_id="t1", plan_id="", priority=3),
        pb.TaskDispatchedEvent(subtask_id="t1", agent_id="a", role="qa", at=at),
        pb.PhaseTransitionedEvent(from_phase="DESIGN", to_phase="BUILD", at=at),
        pb.DecisionAddedEvent(decision_id="d1", title="d", status=pb.PROPOSED),
        pb.DecisionAddedEvent(decision_id="d2", status=pb.PROPOSED),
        pb.DecisionChangedEvent(decision_id="d1", decided_by="eve", decided_at=at),
        pb.MilestoneReachedEvent(milestone_id="m1", event_type="k", description="m", at=at),
        pb.MilestoneReachedEvent(milestone_id="m2"),
    ]
    later: list[Message] = [
        pb.MilestoneRemovedEvent(milestone_id="m2"),
        pb.DecisionDeletedEvent(decision_id="d2"),
        pb.StoryPlacedInEpicEvent(epic_id="E2"),
        pb.PlanVersionRemovedEvent(plan_id="p1"),
        pb.DecisionAddedEvent(decision_id="d3", status=pb.PROPOSED),
        pb.SubtaskRemovedEvent(subtask_id="t1"),
    ]
    others: list[tuple[str, str, list[Message]]] = [
        ("project", "P", [pb.ProjectCreatedEvent(name="p", status="on"), pb.ProjectChangedEvent(name="q")]),
        ("epic", "E1", [pb.EpicCreatedEvent(title="e", project_id="P"), pb.EpicChangedEvent(status="done")]),
        ("epic", "E2", [pb.EpicCreatedEvent(title="f")]),
    ]
    async with open_store("memory://", codec) as store:
        for category, id, news in others:
            await store.append(StreamId(category, id), news, expected=0)
        await store.append(StreamId("story", "S"), story, expected=0)
        await project(store, tmp_path / "graph.db")
        nodes, edges, _ = read_all(tmp_path / "graph.db")
        assert edges == {
            ("HAS_EPIC", "P", "E1"),
            ("HAS_STORY", "E1", "S"),
            ("HAS_PLAN", "S", "p1"),
            ("HAS_DECISION", "S", "d1"),
            ("HAS_DECISION", "S", "d2"),
            ("CONTAINS_DECISION", "p1", "d1"),
            ("CONTAINS_DECISION", "p1", "d2"),
        }
        wanted: dict[tuple[str, str], dict[str, Any]] = {
            ("Project", "P"): {"name": "q", "status": "on"},
            ("Epic", "E1"): {"title": "e", "status": "done"},
            ("Epic", "E2"): {"title": "f"},
            ("Case", "S"): {"title": "t", "status": "ACTIVE", "current_phase": "BUILD", "plan_id": "p1"},
            ("PlanVersion", "p1"): {"case_id": "S", "version": 1, "status": "APPROVED", "rationale": "why"},
            ("PlanApproval", "S@5"): {"plan_id": "p1", "story_id": "S", "approved_by": "bob"},
            ("Subtask", "t1"): {"plan_id": "", "status": "todo", "title": "x", "priority": 3},
            ("TaskDispatch", "S@8"): {"task_id": "t1", "agent_id": "a", "role": "qa"},
            ("PhaseTransition", "S@9"): {"from_phase": "DESIGN", "to_phase": "BUILD"},
            ("Decision", "d1"): {"title": "d", "status": "PROPOSED", "author_id": "eve", "case_id": "S"},
            ("Decision", "d2"): {"title": "", "status": "PROPOSED"},
            ("Event", "m1"): {"event_type": "k", "description": "m", "case_id": "S"},
            ("Event", "m2"): {"event_type": ""},
        }
        assert {key: {name: nodes[key][name] for name in some} for key, some in wanted.items()} == wanted
        assert nodes.keys() == wanted.keys()
        await store.append(StreamId("story", "S"), later, expected=len(story))
        await project(store, tmp_path / "graph.db")
        nodes, edges, past = read_all(tmp_path / "graph.db")
        # The newest plan was taken away, so that what is decided afterwards is in none.
        assert edges == {
            ("HAS_EPIC", "P", "E1"),
            ("HAS_STORY", "E2", "S"),
            ("HAS_DECISION", "S", "d1"),
            ("HAS_DECISION", "S", "d3"),
        }
        gone = {("PlanVersion", "p1"), ("Subtask", "t1"), ("Decision", "d2"), ("Event", "m2")}
        assert nodes.keys() == (wanted.keys() - gone) | {("Decision", "d3")}
        assert past >= gone | {("HAS_STORY", "E1", "S"), ("HAS_PLAN", "S", "p1"), ("CONTAINS_DECISION", "p1", "d1")}


def read_all(path: Path) -> tuple[dict[tuple[str, str], dict[str, Any]], set[Any], set[Any]]:
    """Return all nodes of a file with their properties, all relations that hold, and the keys of what is past."""
    with sqlite3.connect(path) as tx:
        nodes = {
            (kind, id): json.loads(text)
            for kind, id, text in tx.execute("SELECT kind, id, properties FROM graph_nodes")
        }
        edges = set(tx.execute("SELECT type, source, target FROM graph_edges WHERE since"))
        past = {
            *tx.execute("SELECT kind, id FROM graph_past_nodes"),
            *tx.execute("SELECT type, source, target FROM graph_past_edges"),
        }
    tx.close()
    return nodes, edges, past


async def test_one_id_of_two_stories(tmp_path: Path) -> None:
    """A decision that a second story claims stays the first one's, and the view says who claims it."""
    async with open_store("memory://", codec) as store:
        for case in CASES:
            news = [
                pb.ContextCreatedEvent(phase="DESIGN"),
                pb.DecisionAddedEvent(decision_id="D1", title=case, status=pb.APPROVED),
                pb.DecisionChangedEvent(decision_id="D1", rationale=case),
            ]
            await store.append(StreamId("story", case), news, expected=0)
        path = tmp_path / "graph.db"
        await project(store, path)
        with sqlite3.connect(path) as tx:
            [(text,)] = tx.execute("SELECT properties FROM graph_nodes WHERE kind = 'Decision'").fetchall()
        tx.close()
        found = json.loads(text)
        assert (found["title"], found["rationale"], found["case_id"]) == ("S-1", "S-1", "S-1")
        assert found["also_claimed_by"] == ["S-10"]
