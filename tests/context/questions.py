"""Questions to the graph, the same wherever it lives: the cases, and another telling of their answers."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from context_service import story
from context_service.commands import Fault, Refused
from context_service.events.v1 import events_pb2 as pb
from context_service.relationships import Graph, related
from context_service.snapshots import IN_MEMORY
from context_service.stories import open_stories
from context_service.views import graph_among, open_views, projecting
from eventstore import ANY, Position, StreamId, Token
from projections import Monitor, wait_for

from tests.context.test_graph import ends, told, write_history

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from context_service.v1.context_pb2 import GetGraphRelationshipsResponse
    from eventstore import EventStore
    from google.protobuf.message import Message

    from tests.context.test_graph import Graph as Told

TYPES = {"Case": "Story", "Subtask": "Task", "Decision": "Decision"}


class Asked(NamedTuple):
    """A log and its graph, and what was written of which the cases ask."""

    graph: Graph
    #: Positions by the words of ``write_cases``.
    positions: dict[str, int]

    @property
    def store(self) -> EventStore:
        return self.graph.view.store

    async def __call__(
        self, node_id: str, node_type: str = "Task", *, at: str | int = "", **asked: Any
    ) -> GetGraphRelationshipsResponse:
        """Ask as of now, or at a position or a word for one."""
        position = self.positions.get(at, 0) if isinstance(at, str) else at
        token = f"{self.store.log_id}:{position}" if at != "" else ""
        return await related(self.graph, node_id, node_type, position=token, **asked)


async def write_cases(store: EventStore) -> dict[str, int]:
    """Write what the cases ask about, in stories of its own; return positions by words for what came before."""
    positions: dict[str, int] = {}

    async def write(word: str, id: str, *news: Message) -> None:
        positions[word] = (await store.append(StreamId("story", id), news, expected=ANY)).position

    link: dict[str, Any] = {"source_id": "D1", "kind": pb.DEPENDS_ON, "target_id": "E1", "stated_by": "x"}
    added = [pb.SubtaskAddedEvent(subtask_id=f"t{n}", status="todo", depends_on=[f"t{n + 1}"]) for n in range(1, 7)]
    await write("begin", "T-1", pb.ContextCreatedEvent(title="One", phase="DESIGN"))
    await write("D1", "T-1", pb.DecisionAddedEvent(decision_id="D1", title="first", status=pb.PROPOSED))
    await write("waits", "T-1", pb.DecisionLinkedEvent(**link))
    await write("T-2", "T-2", pb.ContextCreatedEvent(title="Two", phase="DESIGN"))
    await write("holds", "T-2", pb.DecisionAddedEvent(decision_id="E1", title="other", status=pb.APPROVED))
    await write("unlinked", "T-1", pb.DecisionUnlinkedEvent(**link))
    await write("renamed", "T-1", pb.DecisionChangedEvent(decision_id="D1", title="second"))
    await write("linked", "T-1", pb.DecisionLinkedEvent(**link))
    await write("deleted", "T-2", pb.DecisionDeletedEvent(decision_id="E1"))
    await write("chain", "T-1", *added)
    cycle = [pb.SubtaskAddedEvent(subtask_id=f"c{n}", depends_on=[f"c{(n + 1) % 4}"]) for n in range(4)]
    await write("cycle", "T-1", *cycle)
    lone = ("lone", "lone@1")
    await write("lone", "T-1", *[pb.SubtaskAddedEvent(subtask_id=id, title="alone") for id in lone])
    await write("gone", "T-1", *[pb.SubtaskRemovedEvent(subtask_id=id) for id in lone])
    twins = ("same", "twin")
    decisions = [pb.DecisionAddedEvent(decision_id=id, status=pb.PROPOSED) for id in twins]
    subtasks = [pb.SubtaskAddedEvent(subtask_id=id, depends_on=["t1", "twin"]) for id in twins]
    case = pb.ContextCreatedEvent(title="Three", phase="DESIGN")
    await write("same", "T-3", case, *decisions, *subtasks)
    return positions


async def folds(store: EventStore, positions: set[int]) -> dict[int, Told]:
    """Tell the graph from the stories' states at some positions."""
    state: dict[str, story.Story] = {}
    found: dict[int, Told] = {}
    async for commit in store.log():
        for event in commit.events:
            state[commit.stream.id] = story.evolve(state.get(commit.stream.id, story.EMPTY), event.message)
        if commit.position in positions:
            found[commit.position] = told(state)
    return found


def around(graph: Told, start: tuple[str, str], depth: int) -> Told | None:
    """Tell what is around a node, None where it is not there."""
    nodes, held = graph
    found = {start}
    for _ in range(depth):
        found |= {end for edge in held if found.intersection(ends(edge)) for end in ends(edge)}
    near = {node for node in nodes if node[:2] in found}
    return (near, {edge for edge in held if found.issuperset(ends(edge))}) if start in {n[:2] for n in near} else None


def shown(answer: GetGraphRelationshipsResponse) -> Told:
    """Return an answer in the words of the other telling."""
    nodes = [answer.node, *answer.neighbors]
    edges = [(edge.type, edge.from_node_id, edge.to_node_id) for edge in answer.relationships]
    assert len(edges) == len(set(edges))
    assert edges == sorted(edges)
    assert len(nodes) == len({(node.labels[0], node.id) for node in nodes})
    return {
        (node.labels[0], node.id, node.properties["current_phase" if node.type == "Story" else "status"])
        for node in nodes
    }, set(edges)


async def compared(ask: Asked, chance: random.Random, count: int) -> int:
    """Compare answers to random questions with what a fold tells; return how many were about nodes that were there."""
    positions = [chance.randint(1, (await ask.store.head()).position) for _ in range(count)]
    graphs = await folds(ask.store, {*positions})
    there = 0
    for position in positions:
        # One that is there at that position, or was or will be.
        others = graphs[chance.choice([position, chance.choice(positions)])][0]
        depth, (kind, id) = (
            chance.randint(1, 3),
            chance.choice(sorted({node[:2] for node in others if node[0] in TYPES})),
        )
        expected = around(graphs[position], (kind, id), depth)
        try:
            found: Told | None = shown(await ask(id, TYPES[kind], at=position, depth=depth))
        except Refused:
            found = None
        assert found == expected, (position, kind, id, depth)
        there += found is not None
    return there


def ids(answer: GetGraphRelationshipsResponse) -> list[str]:
    return [node.id for node in answer.neighbors]


class Questions:
    """Each method is a case; a subclass says by the fixture ``url`` where the graph lives."""

    __test__ = False

    @pytest.fixture(scope="class")
    @classmethod
    def log(cls, tmp_path_factory: pytest.TempPathFactory, url: str) -> tuple[Path, dict[str, int]]:
        """A log that is written and drawn once for all cases."""
        path = tmp_path_factory.mktemp("questions") / "context.db"

        async def write() -> dict[str, int]:
            async with open_stories(f"sqlite:///{path}?durability=normal", snapshots=IN_MEMORY) as stories:
                await write_history(stories.store, random.Random(7), 250)
                positions = await write_cases(stories.store)
                async with open_views(stories, graph=url, cache="none") as [view], projecting([view], Monitor()):
                    await wait_for(view.projection, view.model, await stories.store.head(), timeout=60)
            return positions

        return path, asyncio.run(write())

    @pytest.fixture
    async def ask(self, log: tuple[Path, dict[str, int]], url: str) -> AsyncIterator[Asked]:
        """The graph of the log, which nobody writes to."""
        async with self.opened(log, url) as asked:
            yield asked

    @asynccontextmanager
    async def opened(self, log: tuple[Path, dict[str, int]], url: str) -> AsyncIterator[Asked]:
        async with (
            open_stories(f"sqlite:///{log[0]}?durability=normal", snapshots=IN_MEMORY) as stories,
            open_views(stories, graph=url, cache="none") as views,
        ):
            graph = graph_among(views)
            assert graph is not None
            yield Asked(graph, log[1])

    async def test_now(self, ask: Asked) -> None:
        """An answer has the node, what is around it and the relations, each since when, and says up to where."""
        answer = await ask("D1", "decision")
        log_id = ask.store.log_id
        assert answer.success
        assert answer.position == f"{log_id}:{(await ask.store.head()).position}"
        assert (answer.node.id, answer.node.type, list(answer.node.labels)) == ("D1", "Decision", ["Decision"])
        assert answer.node.title == answer.node.properties["title"] == "second"
        assert answer.node.properties["case_id"] == "T-1"
        assert answer.node.properties["created_at_ms"] == "0"
        assert answer.node.properties["status"] == "PROPOSED"
        assert not {"key", "since", "stated_by"} & answer.node.properties.keys()
        assert answer.node.since == f"{log_id}:{ask.positions['renamed']}"
        [case] = answer.neighbors
        assert (case.id, case.type, list(case.labels), case.title) == ("T-1", "Story", ["Case"], "One")
        [relation] = answer.relationships
        assert (relation.from_node_id, relation.to_node_id, relation.type) == ("T-1", "D1", "HAS_DECISION")
        assert relation.since == f"{log_id}:{ask.positions['D1']}"
        assert not relation.properties

    async def test_then(self, ask: Asked) -> None:
        """At a position of the past everything is as it was then, and the answer says of which position it is."""
        answer = await ask("D1", "Decision", at="unlinked", depth=1)
        assert answer.node.title == "first"
        assert answer.node.since == f"{ask.store.log_id}:{ask.positions['D1']}"
        assert answer.position == f"{ask.store.log_id}:{ask.positions['unlinked']}"

    @pytest.mark.parametrize(("depth", "rings"), [(1, 1), (2, 2), (3, 3), (0, 2)])
    async def test_depth(self, ask: Asked, depth: int, rings: int) -> None:
        """Relations are followed both ways, nearest first, as far as was asked; nothing said means two."""
        answer = await ask("t4", depth=depth)
        assert ids(answer) == ["t3", "t5", "t2", "t6", "t1"][: 2 * rings]
        pairs = [(edge.from_node_id, edge.to_node_id) for edge in answer.relationships]
        assert pairs == [(f"t{n}", f"t{n + 1}") for n in range(4 - rings, 4 + rings) if n < 6 and n > 0]

    async def test_cycle(self, ask: Asked) -> None:
        """In a circle each node and relation is there once."""
        answer = await ask("c0", depth=3)
        assert ids(answer) == ["c1", "c3", "c2"]
        pairs = [(edge.from_node_id, edge.to_node_id) for edge in answer.relationships]
        assert pairs == [("c0", "c1"), ("c1", "c2"), ("c2", "c3"), ("c3", "c0")]
        # One relation between two that are found is not on the way to either.
        assert len((await ask("c0", depth=1)).relationships) == 2

    @pytest.mark.parametrize(
        ("word", "found"),
        [
            ("waits", ["T-1"]),
            ("T-2", ["T-1"]),
            ("holds", ["T-1", "E1"]),
            ("unlinked", ["T-1"]),
            ("linked", ["T-1", "E1"]),
            ("deleted", ["T-1"]),
        ],
    )
    async def test_comes_and_goes(self, ask: Asked, word: str, found: list[str]) -> None:
        """A relation is there from when its far end has come, also from another story, until one of them goes."""
        answer = await ask("D1", "Decision", at=word, depth=1)
        assert ids(answer) == found
        if "E1" in found:
            [edge] = [edge for edge in answer.relationships if edge.type == "DEPENDS_ON"]
            assert (edge.from_node_id, edge.to_node_id) == ("D1", "E1")
            assert edge.since == f"{ask.store.log_id}:{ask.positions[word]}"
            assert answer.neighbors[1].properties["case_id"] == "T-2"

    async def test_deleted(self, ask: Asked) -> None:
        """A deleted decision is not there, but at the positions at which it was."""
        with pytest.raises(Refused) as refusal:
            await ask("E1", "Decision")
        assert refusal.value.violations[0].fault is Fault.NOT_FOUND
        for word in ("T-2", "deleted"):
            with pytest.raises(Refused):
                await ask("E1", "Decision", at=word)
        answer = await ask("E1", "Decision", at="linked", depth=3)
        assert ids(answer) == ["T-2", "D1", "T-1"]

    async def test_never_related(self, ask: Asked) -> None:
        """What was never related to anything is found where it was."""
        answer = await ask("lone", at="lone", depth=3)
        assert (answer.node.title, len(answer.neighbors)) == ("alone", 0)
        for at in ("gone", "cycle"):
            with pytest.raises(Refused):
                await ask("lone", at=at)

    async def test_one_id_of_two_kinds(self, ask: Asked) -> None:
        """Two nodes of one id are two."""
        answer = await ask("same", "Decision", depth=3)
        assert ids(answer) == ["T-3", "twin"]
        assert {edge.type for edge in answer.relationships} == {"HAS_DECISION"}
        assert ids(await ask("same", "Task", depth=1)) == ["t1", "twin"]

    async def test_nothing_yet(self, ask: Asked) -> None:
        """Before the first event nothing is there."""
        with pytest.raises(Refused):
            await ask("D1", "Decision", at=0)

    async def test_behind(self, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
        """A least position that the graph does not reach in time is told so."""
        monkeypatch.setattr("context_service.relationships.WAIT_SECONDS", 0.05)
        head = await ask.store.head()
        least = str(Token(head.log_id, Position(head.position + 1)))
        with pytest.raises(Refused, match=f"at position {head.position}, not at {head.position + 1}"):
            await related(ask.graph, "D1", "Decision", min_position=least)

    async def test_equals_the_fold(self, ask: Asked) -> None:
        """At 200 random positions, around random nodes, the answer is what a fold up to there tells."""
        there = await compared(ask, random.Random(3), 200)
        assert 100 < there < 200

    async def test_at_one_checkpoint(self, ask: Asked) -> None:
        """While the graph is written, each answer is of one state, that of its position."""
        view, stream = ask.graph.view, StreamId("story", "T-1")
        titles: dict[str, str] = {}

        async def write(title: str, *news: Message) -> None:
            written = await view.store.append(stream, news, expected=ANY)
            titles[str(written.token)] = title
            await wait_for(view.projection, view.model, written, timeout=30)

        async def turn() -> None:
            for number in range(100):
                other = f"turn{number % 2}"
                needs = pb.Texts(values=[other])
                await write(other, pb.SubtaskUpdatedEvent(subtask_id="turns", depends_on=needs, title=other))

        async with projecting([view], Monitor()):
            added = [pb.SubtaskAddedEvent(subtask_id=f"turn{number}") for number in range(2)]
            await write("turn1", *added, pb.SubtaskAddedEvent(subtask_id="turns", depends_on=["turn1"], title="turn1"))
            turning = asyncio.create_task(turn())
            answers = []
            while not turning.done():
                answer = await ask("turns", depth=1)
                answers.append((answer.position, answer.node.title, ids(answer)))
            await turning
        assert len({position for position, _, _ in answers}) > 10
        for position, title, near in answers:
            assert (title, near) == (titles[position], [titles[position]])
