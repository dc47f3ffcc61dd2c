"""The reasons of what a story states: events behind it, causes, and what decisions rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from context_service.events.v1 import events_pb2 as events
from context_service.reasons import Reached, events_behind, resting_on, rests_on
from context_service.story import EMPTY, Link, Story
from context_service.v1 import context_pb2 as pb
from context_service.words import PHASES, ROLES
from eventstore import Metadata, Position, Token
from hypothesis import given
from hypothesis import strategies as st
from immutables import Map
from msgspec import structs

from tests.context.test_api import Code, create, details, failing
from tests.context.test_past import added, linked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from context_service.stories import Stories
    from google.protobuf.message import Message

    from tests.context.conftest import Client

# What rests on what --------------------------------------------------------------------------------------------------


def story_with(*links: str) -> Story:
    """Return a story with links written as ``A DEPENDS_ON B``."""
    return structs.replace(EMPTY, links=Map({link_of(text): ("x",) for text in links}))


def link_of(text: str) -> Link:
    source, kind, target = text.split()
    return Link(source, kind, target)


@pytest.mark.parametrize(
    ("link", "forward", "back"),
    [
        ("A DEPENDS_ON B", True, False),
        ("B DEPENDS_ON A", False, True),
        ("A BLOCKS B", False, True),
        ("B BLOCKS A", True, False),
        ("A GOVERNS B", False, True),
        ("B GOVERNS A", True, False),
        ("A SUPERSEDES B", True, False),
        ("B SUPERSEDES A", False, False),
        ("A RELATES_TO B", True, False),
        ("B RELATES_TO A", False, False),
        ("A AFFECTS B", False, False),
    ],
)
def test_directions(link: str, *, forward: bool, back: bool) -> None:
    """A rests on what it depends on, is blocked or governed by, replaced, or was made in view of; the rest is apart."""
    story = story_with(link)
    reached = [Reached("B", 1, link_of(link))]
    assert (rests_on(story, "A"), resting_on(story, "A")) == (reached * forward, reached * back)


def test_nearest_first() -> None:
    """What is nearer comes first, each once with the relation that reached it first, and cycles end."""
    story = story_with(
        "A DEPENDS_ON B", "B DEPENDS_ON C", "C DEPENDS_ON A", "A DEPENDS_ON D", "D BLOCKS C", "E BLOCKS D"
    )
    assert [(one.id, one.distance, one.link.source) for one in rests_on(story, "A")] == [
        ("B", 1, "A"),
        ("D", 1, "A"),
        ("C", 2, "B"),
        ("E", 2, "E"),
    ]
    assert [(one.id, one.distance) for one in resting_on(story, "A")] == [("C", 1), ("B", 2)]


def test_associations_go_no_further() -> None:
    """What a decision was made in view of is named; what that rests on, or was made in view of, is not."""
    story = story_with("A RELATES_TO B", "B RELATES_TO C", "B DEPENDS_ON D", "A DEPENDS_ON E", "E RELATES_TO F")
    assert [one.id for one in rests_on(story, "A")] == ["E", "B"]


IDS = "ABCDEF"
KINDS = ["DEPENDS_ON", "BLOCKS", "GOVERNS", "SUPERSEDES"]
links = st.lists(st.builds(Link, st.sampled_from(IDS), st.sampled_from(KINDS), st.sampled_from(IDS)), max_size=12)


@given(links)
def test_distances(some: list[Link]) -> None:
    """Everything that can be reached is, as far away as it is, by a relation that leads there from one step nearer."""
    story = structs.replace(EMPTY, links=Map(dict.fromkeys(some, ("x",))))
    forward = {(one.source, one.target) for one in some if one.kind in {"DEPENDS_ON", "SUPERSEDES"}}
    steps = forward | {(one.target, one.source) for one in some if one.kind in {"BLOCKS", "GOVERNS"}}
    expected = {"A": 0}
    for distance in range(1, len(IDS)):
        for near, far in steps:
            if expected.get(near) == distance - 1:
                expected.setdefault(far, distance)
    found = rests_on(story, "A")
    assert {"A": 0} | {one.id: one.distance for one in found} == expected
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    for one in found:
        ends = {one.link.source, one.link.target} - {one.id}
        assert any(expected[near] == one.distance - 1 for near in ends)


# Over gRPC -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def explained(client: Client, stories: Stories) -> Stories:
    """S-1 with D-1, which depends on D-2 and, over it, on D-3 of elsewhere; D-4 depends on D-1. T-1 caused D-1."""
    await create(client)

    async def call(cause: str, *messages: Message) -> None:
        stream = stories.stream("S-1")
        version = (await stories.store.tail(stream)).version
        metadata = Metadata(actor="ann", causation_id=cause)
        await stories.store.append(stream, messages, expected=version, metadata=metadata)

    await call("c-1", events.SubtaskAddedEvent(subtask_id="T-1", title="Look", status="pending"))
    await call("T-1", added("D-1", title="Use OIDC"), linked("D-1", "DEPENDS_ON", "D-2"))
    await call("c-2", added("D-2", title="Have accounts"), linked("D-2", "DEPENDS_ON", "D-3"))
    await call("T-1", events.DecisionStatusChangedEvent(decision_id="D-2", status="APPROVED"))
    await call("D-2", events.DecisionStatusChangedEvent(decision_id="D-1", status="APPROVED"))
    await call("", added("D-4"), linked("D-4", "DEPENDS_ON", "D-1"))
    return stories


def versions(found: Iterable[Any]) -> list[int]:
    return [one.version for one in found]


@pytest.mark.contract
class TestExplainDecision:
    async def ask(self, client: Client, **fields: Any) -> pb.ExplainDecisionResponse:
        answer: pb.ExplainDecisionResponse = await client.stub.ExplainDecision(
            pb.ExplainDecisionRequest(**{"story_id": "S-1", "decision_id": "D-1"} | fields)
        )
        return answer

    async def test_all_of_it(self, client: Client, explained: Stories) -> None:
        """The answer has the decision, its events and links, what caused them, what it rests on and what on it."""
        log_id, commits = explained.store.log_id, [commit async for commit in explained.store.log()]
        answer = await self.ask(client)
        assert (answer.decision.id, answer.decision.title, answer.decision.status) == ("D-1", "Use OIDC", "APPROVED")
        assert versions(answer.events) == [3, 4, 8, 10]
        assert [(one.field, one.before) for one in answer.events[2].changes] == [("status", '"PROPOSED"')]
        causes = [(cause.entity_type, cause.entity_id, versions(cause.events)) for cause in answer.causes]
        assert causes == [("SUBTASK", "T-1", [2]), ("DECISION", "D-2", [4, 5, 6, 7])]
        [near, far] = answer.dependencies
        assert (near.decision.id, near.decision.status, near.distance, near.missing) == ("D-2", "APPROVED", 1, False)
        assert near.relation == pb.DecisionRelation(src_id="D-1", dst_id="D-2", relation_type="DEPENDS_ON")
        assert list(near.events) == [
            pb.EventReference(version=4, position=str(Token(log_id, commits[2].position)), event_type="DecisionLinked"),
            pb.EventReference(
                version=7, position=str(Token(log_id, commits[4].position)), event_type="DecisionStatusChanged"
            ),
        ]
        assert far.decision == pb.Decision(id="D-3")
        assert (far.distance, far.missing, versions(far.events)) == (2, True, [6])
        [dependent] = answer.dependents
        assert (dependent.decision.id, dependent.distance, versions(dependent.events)) == ("D-4", 1, [9, 10])
        assert (answer.version, answer.position) == (10, str(Token(log_id, commits[-1].position)))

    @pytest.mark.usefixtures("explained")
    async def test_then(self, client: Client) -> None:
        """As of a moment nothing later is known: neither a status, nor what depends on it since."""
        answer = await self.ask(client, at=pb.Moment(version=4))
        assert (answer.decision.status, versions(answer.events), answer.version) == ("PROPOSED", [3, 4], 4)
        assert [(one.decision.id, one.missing) for one in answer.dependencies] == [("D-2", True)]
        assert not answer.dependents

    async def test_other_causes(self, client: Client, explained: Stories) -> None:
        """What caused an event and is nothing of the story is a COMMAND; no cause is none."""
        answer = await self.ask(client, decision_id="D-2")
        causes = [(cause.entity_type, cause.entity_id, len(cause.events)) for cause in answer.causes]
        assert causes == [("SUBTASK", "T-1", 1), ("COMMAND", "c-2", 0)]
        assert not (await self.ask(client, decision_id="D-4")).causes
        # A decision that is linked to, and has not come, has caused nothing as a decision.
        await explained.store.append(
            explained.stream("S-1"), [added("D-5")], expected=10, metadata=Metadata(causation_id="D-3")
        )
        assert [one.entity_type for one in (await self.ask(client, decision_id="D-5")).causes] == ["COMMAND"]

    async def test_a_deleted_decision(self, client: Client, explained: Stories) -> None:
        """A decision that was deleted can be explained, and is what others rest on, as DELETED."""
        gone = events.DecisionDeletedEvent(decision_id="D-2")
        await explained.store.append(explained.stream("S-1"), [gone], expected=10)
        assert (await self.ask(client, decision_id="D-2")).decision.status == "DELETED"
        near = (await self.ask(client)).dependencies[0]
        assert (near.decision.status, versions(near.events)) == ("DELETED", [4, 11])

    @pytest.mark.parametrize(
        ("fields", "code", "field"),
        [
            ({"story_id": "S-2"}, Code.NOT_FOUND, "story_id"),
            ({"story_id": ""}, Code.INVALID_ARGUMENT, "story_id"),
            ({"decision_id": "D-9"}, Code.NOT_FOUND, "decision_id"),
            ({"decision_id": ""}, Code.NOT_FOUND, "decision_id"),
            ({"decision_id": "D-3"}, Code.NOT_FOUND, "decision_id"),
            ({"at": pb.Moment(version=1)}, Code.NOT_FOUND, "decision_id"),
            ({"at": pb.Moment(version=11)}, Code.NOT_FOUND, "at.version"),
            ({"at": pb.Moment()}, Code.INVALID_ARGUMENT, "at"),
        ],
    )
    @pytest.mark.usefixtures("explained")
    async def test_refusals(self, client: Client, fields: dict[str, Any], code: Any, field: str) -> None:
        """A decision that the story does not have, or did not have then, is NOT_FOUND."""
        error = await failing(self.ask(client, **fields))
        assert (error.code(), details(error)) == (code, [field])


@pytest.mark.contract
async def test_events_behind(explained: Stories) -> None:
    """Everything that a story states can name its events, as of a version: a thing its own and those of its links."""
    behind = await events_behind(explained, "S-1", 10)
    assert {subject: versions(found) for subject, found in behind.items()} == {
        ("CASE", "S-1"): [1],
        ("SUBTASK", "T-1"): [2],
        ("PLAN", ""): [2],
        ("DECISION", "D-1"): [3, 4, 8, 10],
        ("DECISION", "D-2"): [4, 5, 6, 7],
        ("DECISION", "D-3"): [6],
        ("DECISION", "D-4"): [9, 10],
        ("RELATION", "D-1 DEPENDS_ON D-2"): [4],
        ("RELATION", "D-2 DEPENDS_ON D-3"): [6],
        ("RELATION", "D-4 DEPENDS_ON D-1"): [10],
    }
    assert versions((await events_behind(explained, "S-1", 7))["DECISION", "D-1"]) == [3, 4]
    [reference] = behind["SUBTASK", "T-1"]
    position = str(Token(explained.store.log_id, Position(2)))
    assert reference == pb.EventReference(version=2, position=position, event_type="SubtaskAdded")


CELLS = [(phase, role) for phase in PHASES for role in ROLES]


@pytest.mark.contract
@pytest.mark.parametrize(("phase", "role"), CELLS)
async def test_a_sparse_story_names_its_events(client: Client, role: str, phase: str) -> None:
    """So does a story with nothing but a subtask, whose plan is a count of those."""
    await create(client)
    await client.update("S-1", client.change("CREATE", "SUBTASK", "T-1", role=role))
    answer = await client.get("S-1", role, phase=phase, why=True)
    assert [(one.entity_type, one.entity_id) for one in answer.statements if not one.events] == []


@pytest.mark.contract
@pytest.mark.parametrize(("phase", "role"), CELLS)
async def test_every_statement_names_its_events(client: Client, stories: Stories, role: str, phase: str) -> None:
    """Whatever a context states, of whatever kind, names the events that say so, when it is asked why."""
    await create(client, timestamp="2020-01-01")
    change = client.change
    await client.update(
        "S-1",
        change("CREATE", "PLAN", "P-1", version=1, author_id="ann"),
        change("CREATE", "SUBTASK", "T-1", role=role, plan_id="P-1"),
        change("CREATE", "DECISION", "D-1", status="APPROVED", affects=["T-1"], depends_on=["D-2"]),
        change("CREATE", "DECISION", "D-2", status="APPROVED", supersedes=["D-9"]),
        change("CREATE", "MILESTONE", "M-1", event_type="human_edit"),
        change("CREATE", "SUMMARY", role=role, text="done so far"),
    )
    await client.update("S-1", change("UPDATE", "DECISION", "D-1", status="IMPLEMENTED"))
    answer = await client.get("S-1", role, phase=phase, why=True)
    seen = {event.version: event for one in answer.statements for event in one.events}
    commits = [commit async for commit in stories.store.commits(stories.stream("S-1"))]
    assert {version: event.event_type + "Event" for version, event in seen.items()} == {
        event.version: event.raw.type.rpartition(".")[2]
        for commit in commits
        for event in commit.events
        if event.version in seen
    }
    assert [(one.entity_type, one.entity_id) for one in answer.statements if not one.events] == []
    assert all(not one.events for one in (await client.get("S-1", role, phase=phase)).statements)
