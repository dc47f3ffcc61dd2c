"""A story's past: what each event made different, what differs between two moments, and how callers ask for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from context_service import past
from context_service.commands import Refused
from context_service.events.v1 import events_pb2 as events
from context_service.history import STEPS
from context_service.past import EVENT_TYPES, Subject, concerned, differences, fields_of, subject_of
from context_service.reasons import explain
from context_service.stories import Stories, codec
from context_service.story import EMPTY, Decision, Milestone, Plan, Story, Subtask, Summary, content_hash
from context_service.v1 import context_pb2 as pb
from eventstore import AtVersion, Codec, EventStore, MemorySnapshots, Metadata, Position, Token
from eventstore.memory import MemoryBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from upcasting import Upcasting, split

from tests.context.test_api import Code, create, details, failing
from tests.context.test_story import PARTS, fold, histories

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventstore import EventCodec
    from google.protobuf.message import Message

    from tests.context.conftest import Client, Clock, Serve

KINDS = {"PLAN": Plan, "SUBTASK": Subtask, "DECISION": Decision, "MILESTONE": Milestone, "SUMMARY": Summary}
MAPS = {"PLAN": "plans", "SUBTASK": "subtasks", "DECISION": "decisions", "MILESTONE": "milestones"} | {
    "SUMMARY": "summaries"
}
View = dict[tuple[str, str], dict[str, str]]


def added(id: str, **fields: Any) -> events.DecisionAddedEvent:
    return events.DecisionAddedEvent(decision_id=id, status=events.PROPOSED, **fields)


def linked(source: str, kind: str, target: str) -> events.DecisionLinkedEvent:
    return events.DecisionLinkedEvent(source_id=source, kind=kind, target_id=target, stated_by=source)


# What events are about -----------------------------------------------------------------------------------------------


def test_every_event_is_about_something() -> None:
    """Every event of the proto has a row that says what it is about."""
    for name in set(events.DESCRIPTOR.message_types_by_name) - PARTS:
        kind, id = subject_of(getattr(events, name)(), "S-1")
        assert kind in {*past.ENTITY_TYPES, "PROJECT", "EPIC"}
        assert id == "S-1" or kind not in {"CASE", "PROJECT", "EPIC"}
        assert name.removesuffix("Event") in EVENT_TYPES


def test_ids_of_subjects() -> None:
    """The id of a thing is the field that has it, for every event with such a field."""
    fields = {"plan_id", "subtask_id", "decision_id", "milestone_id"}
    for name in set(events.DESCRIPTOR.message_types_by_name) - PARTS:
        cls = getattr(events, name)
        own = [field for field in cls.DESCRIPTOR.fields_by_name if field in fields]
        if own:
            # A subtask names its plan too, after its own id.
            assert subject_of(cls(**{own[0]: "X-1"}), "S-1").entity_id == "X-1"
    assert subject_of(events.SummaryRecordedEvent(role="qa"), "S-1") == ("SUMMARY", "qa")


def test_a_link_is_of_both_its_ends() -> None:
    """A link is a thing of its own, and concerns the decisions at both ends, or a decision and a subtask."""
    assert concerned(linked("D-1", "BLOCKS", "D-2"), "S-1") == (
        ("RELATION", "D-1 BLOCKS D-2"),
        ("DECISION", "D-1"),
        ("DECISION", "D-2"),
    )
    assert concerned(linked("D-1", "AFFECTS", "T-1"), "S-1")[2] == ("SUBTASK", "T-1")


def test_fields_leave_nothing_out() -> None:
    """What is told of a thing is all that a story knows of it, but for its id and number."""
    for kind, cls in KINDS.items():
        values: dict[str, Any] = {name: f"<{name}>" for name in cls.__struct_fields__} | {"attributes": {"k": "v"}}
        thing = cls(**values)
        story = msgspec.structs.replace(EMPTY, **{MAPS[kind]: getattr(EMPTY, MAPS[kind]).set("X", thing)})
        names = {name for name in cls.__struct_fields__ if name not in {"id", "order", "attributes"}}
        assert set(fields_of(story, Subject(kind, "X"))) == names | {"attributes.k"}
    told = set(fields_of(EMPTY, Subject("CASE", "S-1"))) | {"attributes", *MAPS.values(), "links"}
    assert set(Story.__struct_fields__) - told == {"exists", "things", "transitions", "dispatches"}


# What differs --------------------------------------------------------------------------------------------------------


def view(story: Story) -> View:
    """Return all that is there of a story, as JSON by field; a decision that is DELETED is not."""
    subjects = [Subject(kind, id) for kind, name in MAPS.items() for id in getattr(story, name)]
    alive = [one for one in subjects if fields_of(story, one).get("status") != "DELETED"]
    case = [Subject("CASE", "S-1")] if story.exists else []
    links = {("RELATION", f"{link.source} {link.kind} {link.target}"): dict[str, str]() for link in story.links}
    return {one: told(fields_of(story, one)) for one in case + alive} | links


def told(fields: dict[str, Any]) -> dict[str, str]:
    return {name: msgspec.json.encode(value, order="deterministic").decode() for name, value in fields.items() if value}


def applied(before: View, entities: Iterable[pb.EntityDiff], relations: Iterable[pb.RelationDiff]) -> View:
    """Return a view after a difference, checking that what it says of before is so."""
    after = dict(before)
    for diff in entities:
        subject = (diff.entity_type, diff.entity_id)
        assert (diff.change == "ADDED") == (subject not in before)
        fields = dict(after.pop(subject, {}))
        for change in diff.fields:
            assert fields.pop(change.field, "") == change.before
            fields |= {change.field: change.after} if change.after else {}
        if diff.change != "GONE":
            after[subject] = fields
        assert diff.change != "GONE" or not fields
    for one in relations:
        link = ("RELATION", f"{one.relation.src_id} {one.relation.relation_type} {one.relation.dst_id}")
        assert (one.change == "ADDED") == (link not in before)
        if one.change == "ADDED":
            after[link] = {}
        else:
            del after[link]
    return after


@given(histories)
def test_a_story_does_not_differ_from_itself(history: list[Message]) -> None:
    """Between a state and the same state, or an equal one, nothing differs."""
    story = fold(history)
    assert differences("S-1", story, story) == ([], [])
    assert differences("S-1", story, fold(history)) == ([], [])


@given(histories, histories)
def test_what_differs_is_all_that_does(history: list[Message], more: list[Message]) -> None:
    """What differs, applied to what was, gives what is, of any two stories."""
    created = events.ContextCreatedEvent(title="t")
    before, after = fold([created, *history]), fold([created, *history[:5], *more])
    assert applied(view(before), *differences("S-1", before, after)) == view(after)
    assert applied({}, *differences("S-1", EMPTY, after)) == view(after)


@given(histories, histories)
def test_what_differs_the_other_way_round(history: list[Message], more: list[Message]) -> None:
    """Turned round, what was added is gone, and each before is an after; the order stays."""
    before, after = fold(history), fold([*history[:5], *more])
    entities, relations = differences("S-1", before, after)
    turned = {"ADDED": "GONE", "GONE": "ADDED", "CHANGED": "CHANGED"}
    for one in entities:
        one.change = turned[one.change]
        for change in one.fields:
            change.before, change.after = change.after, change.before
    for related in relations:
        related.change = turned[related.change]
    back, relations_back = differences("S-1", after, before)
    assert [by_name(one) for one in back] == [by_name(one) for one in entities]
    assert relations_back == relations


def by_name(diff: pb.EntityDiff) -> tuple[str, str, str, list[tuple[str, str, str]]]:
    # Fields stand in the order of the earlier state, then what only the later one has.
    fields = sorted((change.field, change.before, change.after) for change in diff.fields)
    return diff.change, diff.entity_type, diff.entity_id, fields


def test_order_of_what_differs() -> None:
    """Things come by kind and then as the story got them, relations by their names."""
    history = [
        events.ContextCreatedEvent(title="t"),
        added("D-9"),
        added("D-10"),
        events.SubtaskAddedEvent(subtask_id="T-1"),
        linked("D-9", "BLOCKS", "D-10"),
        linked("D-10", "DEPENDS_ON", "D-9"),
    ]
    entities, relations = differences("S-1", EMPTY, fold(history))
    assert [one.entity_id for one in entities] == ["S-1", "T-1", "D-9", "D-10"]
    assert [one.relation.src_id for one in relations] == ["D-10", "D-9"]


# History -------------------------------------------------------------------------------------------------------------


async def recorded(backend: MemoryBackend, messages: Sequence[Message], reading: EventCodec = codec) -> Stories:
    """Return stories of which S-1 has these events, a commit each."""
    store = await EventStore(backend, codec).__aenter__()
    stories = Stories(EventStore(store.backend, reading), MemorySnapshots(), every=100)
    for version, message in enumerate(messages):
        await store.append(stories.stream("S-1"), [message], expected=version)
    return stories


async def entries(stories: Stories, **fields: Any) -> list[pb.HistoryEntry]:
    """Return a history, read page by page."""
    request = pb.GetHistoryRequest(story_id="S-1", **fields)
    found: list[pb.HistoryEntry] = []
    while True:
        page = await past.history(stories, request)
        assert len(page.entries) <= (request.page_size or 100)
        found += page.entries
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


@given(histories)
def test_changes_add_up_to_the_state(history: list[Message]) -> None:
    """The last that a history says of each field is what the state holds, and it says of no field that is not there."""
    found: dict[tuple[str, str], dict[str, str]] = {}

    async def run() -> None:
        for entry in await entries(await recorded(MemoryBackend(), history), page_size=7):
            for change in entry.changes:
                case = change.field == "last_dispatch"
                subject = ("CASE", "S-1") if case else (entry.entity_type, entry.entity_id)
                fields = found.setdefault(subject, {})
                assert fields.pop(change.field, "") == change.before
                fields |= {change.field: change.after} if change.after else {}

    if history:
        asyncio.run(run())
    story = fold(history)
    subjects = [
        Subject("CASE", "S-1"),
        *(Subject(kind, id) for kind, name in MAPS.items() for id in getattr(story, name)),
    ]
    expected = {subject: told(fields_of(story, subject)) for subject in subjects}
    expected |= {
        Subject("RELATION", f"{link.source} {link.kind} {link.target}"): told({"stated_by": by})
        for link, by in story.links.items()
    }
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in expected.items() if v}


async def test_a_dispatch_is_a_change() -> None:
    """Handing out a subtask changes the story, which keeps who works on it last."""
    dispatched = events.TaskDispatchedEvent(subtask_id="T-1", agent_id="ann", role="qa")
    [entry] = await entries(await recorded(MemoryBackend(), [dispatched]))
    assert (entry.entity_type, entry.entity_id) == ("SUBTASK", "T-1")
    last = '{"subtask_id":"T-1","agent_id":"ann","role":"qa","at":""}'
    assert list(entry.changes) == [pb.FieldChange(field="last_dispatch", after=last)]


async def test_facts_inside_a_commit(stories: Stories) -> None:
    """Facts after a version inside a commit begin with the next event, and with the story as it was before that."""
    history = [events.ContextCreatedEvent(title="t"), events.StoryChangedEvent(title="u"), added("D-1")]
    await stories.store.append(stories.stream("S-1"), history, expected=0)
    found = [fact async for fact in past.facts(stories, "S-1", after=1, until=3)]
    assert [(fact.event.version, fact.before.title, fact.after.title) for fact in found] == [
        (2, "t", "u"),
        (3, "u", "u"),
    ]


async def test_an_event_that_became_several() -> None:
    """Each message that a stored event has become is an entry, all at its version, and pages may part them."""

    @split(events.MilestoneRemovedEvent, events.DecisionAddedEvent, events.DecisionLinkedEvent)
    def two(old: events.MilestoneRemovedEvent) -> list[Message]:
        return [added(old.milestone_id), linked(old.milestone_id, "BLOCKS", "D-9")]

    known = [message for message in Codec(events).registered.values() if message is not events.MilestoneRemovedEvent]
    history = [events.ContextCreatedEvent(), events.MilestoneRemovedEvent(milestone_id="D-1"), added("D-2")]
    stories = await recorded(MemoryBackend(), history, Upcasting(Codec(*known), [two, *STEPS]))
    for page_size in (0, 1, 2, 3):
        found = await entries(stories, page_size=page_size)
        assert [(entry.version, entry.event_type) for entry in found] == [
            (1, "ContextCreated"),
            (2, "DecisionAdded"),
            (2, "DecisionLinked"),
            (3, "DecisionAdded"),
        ]
        assert [change.after for change in found[2].changes] == ['["D-1"]']


async def test_an_event_that_cannot_be_read() -> None:
    """An event without a meaning is an entry that says so; what came before and after it is told all the same."""
    known = [message for message in Codec(events).registered.values() if message is not events.SummaryRecordedEvent]
    history = [
        events.ContextCreatedEvent(title="t"),
        events.SummaryRecordedEvent(role="qa"),
        events.StoryChangedEvent(title="u"),
    ]
    stories = await recorded(MemoryBackend(), history, Codec(*known))
    first, odd, last = await entries(stories, page_size=1)
    assert (odd.version, odd.event_type, odd.entity_type, odd.entity_id) == (2, "SummaryRecorded", "", "")
    assert (odd.position, list(odd.changes)) == (str(Token(stories.store.log_id, Position(2))), [])
    assert json.loads(odd.payload) == {
        "unreadable": "fleet.context.events.v1.SummaryRecordedEvent schema 1: type and schema are not registered with "
        "the codec"
    }
    assert [change.before for change in last.changes] == ['"t"']
    assert await entries(stories, entity_type="CASE") == [first, last]
    assert await entries(stories, event_types=["SummaryRecorded"]) == [odd]


async def test_long_pages_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose entries are large has fewer of them, and at least one."""
    monkeypatch.setattr(past, "_PAGE_BYTES", 10_000)
    stories = await recorded(MemoryBackend(), [added(f"D-{number}", title="x" * 4_000) for number in range(9)])
    page = await past.history(stories, pb.GetHistoryRequest(story_id="S-1"))
    assert len(page.entries) == 2
    assert [entry.version for entry in await entries(stories)] == list(range(1, 10))


# Over gRPC -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def told_story(client: Client, stories: Stories, clock: Clock) -> Stories:
    """S-1, as four calls made it: versions 1, 2 to 4, 5, and 6 to 7."""
    await create(client, role="architect", timestamp="2020-01-01")
    clock.now += 10**6
    await client.update(
        "S-1",
        client.change("CREATE", "DECISION", "D-1", title="Use OIDC", depends_on=["D-2"]),
        client.change("CREATE", "SUBTASK", "T-1", role="DEV", reason_="so that somebody does it"),
        role="architect",
        timestamp="2020-01-02",
    )
    clock.now += 10**6
    request = pb.UpdateContextRequest(
        story_id="S-1",
        role="DEV",
        task_id="T-1",
        timestamp="2020-01-03",
        changes=[client.change("UPDATE", "DECISION", "D-1", status="APPROVED", reason_="agreed")],
    )
    await client.stub.UpdateContext(request, metadata=(("x-correlation-id", "C-1"),))
    clock.now += 10**6
    await client.update(
        "S-1",
        client.change("DELETE", "DECISION", "D-1"),
        client.change("UPDATE", "CASE", title="Log in"),
        role="qa",
        timestamp="2020-01-04",
    )
    return stories


@pytest.mark.contract
class TestGetContextAtVersion:
    async def test_every_version(self, client: Client, told_story: Stories) -> None:
        """The context at a version is that of then; one inside a commit is that of the version before the commit."""
        versions = []
        for version in range(1, 8):
            answer = await client.stub.GetContextAtVersion(
                pb.GetContextAtVersionRequest(story_id="S-1", version=version, role="architect")
            )
            versions.append(int(answer.version))
            assert answer.hash == content_hash((await told_story.ask("S-1", AtVersion(version))).state)
        assert versions == [1, 1, 1, 4, 5, 5, 7]

    @pytest.mark.parametrize(
        ("fields", "code", "field"),
        [
            ({"version": -1}, Code.INVALID_ARGUMENT, "version"),
            ({"version": 0}, Code.NOT_FOUND, "story_id"),
            ({"version": 8}, Code.NOT_FOUND, "version"),
            ({"version": 2**31 - 1}, Code.NOT_FOUND, "version"),
            ({"version": 1, "story_id": "S-2"}, Code.NOT_FOUND, "story_id"),
            ({"version": 1, "story_id": ""}, Code.INVALID_ARGUMENT, "story_id"),
            ({"version": 1, "role": "ceo"}, Code.INVALID_ARGUMENT, "role"),
            ({"version": 1, "subtask_id": "T-1"}, Code.NOT_FOUND, "subtask_id"),
            ({"version": 1, "token_budget": -1}, Code.INVALID_ARGUMENT, "token_budget"),
        ],
    )
    @pytest.mark.usefixtures("told_story")
    async def test_refusals(self, client: Client, fields: dict[str, Any], code: Any, field: str) -> None:
        """A version that the story does not have, or never can, is refused by name."""
        request = pb.GetContextAtVersionRequest(**{"story_id": "S-1", "role": "architect"} | fields)
        error = await failing(client.stub.GetContextAtVersion(request))
        assert (error.code(), details(error)) == (code, [field])
        if fields["version"] > 7:
            assert error.details() == "version: the story is at version 7"


@pytest.mark.contract
class TestGetHistory:
    async def ask(self, client: Client, **fields: Any) -> pb.GetHistoryResponse:
        answer: pb.GetHistoryResponse = await client.stub.GetHistory(
            pb.GetHistoryRequest(**{"story_id": "S-1"} | fields)
        )
        return answer

    async def test_who_why_what(self, client: Client, told_story: Stories) -> None:
        """An entry says who, why and when, what led to it, what was said and what became different."""
        answer = await self.ask(client)
        assert [entry.version for entry in answer.entries] == [1, 2, 3, 4, 5, 6, 7]
        commits = [commit async for commit in told_story.store.commits(told_story.stream("S-1"))]
        assert answer.entries[4] == pb.HistoryEntry(
            version=5,
            position=str(Token(told_story.store.log_id, commits[2].position)),
            event_type="DecisionStatusChanged",
            entity_type="DECISION",
            entity_id="D-1",
            actor="developer",
            reason="agreed",
            cause="T-1",
            correlation_id="C-1",
            occurred_at="2020-01-03T00:00:00Z",
            recorded_at="2023-11-14T22:13:22Z",
            payload='{"decision_id":"D-1","status":"APPROVED"}',
            changes=[pb.FieldChange(field="status", before='"PROPOSED"', after='"APPROVED"')],
            commit_id=commits[2].commit_id.hex(),
        )
        assert len({entry.commit_id for entry in answer.entries}) == 4
        assert (answer.version, answer.position) == (7, answer.entries[-1].position)

    async def test_why_a_phase_changed(self, client: Client, stories: Stories) -> None:
        """A change of phase says why in its rationale."""
        await create(client)
        moved = events.PhaseTransitionedEvent(from_phase="DESIGN", to_phase="BUILD", rationale="all is drawn")
        await stories.store.append(stories.stream("S-1"), [moved], expected=1, metadata=Metadata(actor="po"))
        entry = (await self.ask(client)).entries[1]
        assert (entry.entity_type, entry.entity_id, entry.reason, entry.actor) == ("CASE", "S-1", "all is drawn", "po")
        assert [change.field for change in entry.changes] == ["phase", "last_transition"]

    @pytest.mark.parametrize(
        ("fields", "versions"),
        [
            ({"event_types": ["DecisionAdded", "SubtaskAddedEvent"]}, [2, 4]),
            ({"event_types": ["fleet.context.events.v1.DecisionAddedEvent"]}, [2]),
            ({"actor": "developer"}, [5]),
            ({"actor": "DEV"}, [5]),
            ({"actor": "nobody"}, []),
            ({"entity_type": "decision"}, [2, 3, 5, 6]),
            ({"entity_type": "DECISION", "entity_id": "D-2"}, [3]),
            ({"entity_type": "RELATION"}, [3]),
            ({"entity_id": "T-1"}, [4]),
            ({"entity_type": "CASE", "entity_id": "S-1"}, [1, 7]),
            ({"after": pb.Moment(version=4), "until": pb.Moment(version=6)}, [5]),
            ({"after": pb.Moment(version=0)}, [1, 2, 3, 4, 5, 6, 7]),
            ({"after": pb.Moment(version=7)}, []),
            ({"after": pb.Moment(version=5), "until": pb.Moment(version=4)}, []),
            ({"until": pb.Moment(timestamp="2020-01-03T23:59:59", clock="occurred")}, [1, 2, 3, 4, 5]),
            ({"after": pb.Moment(timestamp="2023-11-14T22:13:21Z")}, [5, 6, 7]),
        ],
    )
    @pytest.mark.usefixtures("told_story")
    async def test_filters(self, client: Client, fields: dict[str, Any], versions: list[int]) -> None:
        """Filters by event, actor, thing and moment are each a condition, on both clocks."""
        assert [entry.version for entry in (await self.ask(client, **fields)).entries] == versions

    async def test_positions(self, client: Client, told_story: Stories) -> None:
        """A position of an answer is a moment too."""
        position = (await self.ask(client, until=pb.Moment(version=5))).position
        assert [entry.version for entry in (await self.ask(client, after=pb.Moment(position=position))).entries] == [
            6,
            7,
        ]
        assert (await self.ask(client, until=pb.Moment(position=position))).version == 5
        assert position.startswith(told_story.store.log_id)

    async def test_pages(self, client: Client, told_story: Stories) -> None:
        """Pages hold each entry once, and look up to the same version while the story grows."""
        first = await self.ask(client, page_size=3)
        await client.update("S-1", client.change("UPDATE", "CASE", title="Sign in"))
        second = await self.ask(client, page_size=3, page_token=first.next_page_token)
        third = await self.ask(client, page_size=1_000, page_token=second.next_page_token)
        pages = [first, second, third]
        assert [[entry.version for entry in page.entries] for page in pages] == [[1, 2, 3], [4, 5, 6], [7]]
        assert {(page.version, page.position) for page in pages} == {(7, first.position)}
        assert third.next_page_token == ""
        # An event inside a commit was not the beginning of its page's fold.
        assert [change.before for change in third.entries[0].changes] == ['"Login"']
        assert (await told_story.ask("S-1")).version == 8

    async def test_the_last_page_is_full(self, client: Client, told_story: Stories) -> None:
        """A page that ends where the history does has no page after it, also when later events do not fit a filter."""
        del told_story
        assert (await self.ask(client, page_size=7)).next_page_token == ""
        assert (await self.ask(client, page_size=1, actor="DEV")).next_page_token == ""

    @pytest.mark.parametrize(
        ("fields", "code", "field"),
        [
            ({"story_id": "S-2"}, Code.NOT_FOUND, "story_id"),
            ({"story_id": "a\nb"}, Code.INVALID_ARGUMENT, "story_id"),
            ({"event_types": ["DecisionAdded", "PartyHeld"]}, Code.INVALID_ARGUMENT, "event_types"),
            ({"entity_type": "TABLE"}, Code.INVALID_ARGUMENT, "entity_type"),
            ({"page_size": -1}, Code.INVALID_ARGUMENT, "page_size"),
            ({"page_size": 1_001}, Code.INVALID_ARGUMENT, "page_size"),
            ({"page_token": "x"}, Code.INVALID_ARGUMENT, "page_token"),
            ({"page_token": "AAAA"}, Code.INVALID_ARGUMENT, "page_token"),
            ({"page_token": "é"}, Code.INVALID_ARGUMENT, "page_token"),
            ({"until": pb.Moment()}, Code.INVALID_ARGUMENT, "until"),
            ({"until": pb.Moment(version=-1)}, Code.INVALID_ARGUMENT, "until.version"),
            ({"until": pb.Moment(version=8)}, Code.NOT_FOUND, "until.version"),
            ({"until": pb.Moment(version=0)}, Code.NOT_FOUND, "story_id"),
            ({"until": pb.Moment(timestamp="2019-01-01")}, Code.NOT_FOUND, "story_id"),
            ({"after": pb.Moment(timestamp="soon")}, Code.INVALID_ARGUMENT, "after.timestamp"),
            ({"after": pb.Moment(version=1, clock="wall")}, Code.INVALID_ARGUMENT, "clock"),
            ({"after": pb.Moment(position="1")}, Code.INVALID_ARGUMENT, "after.position"),
            ({"after": pb.Moment(position="other:1")}, Code.INVALID_ARGUMENT, "after.position"),
        ],
    )
    @pytest.mark.usefixtures("told_story")
    async def test_refusals(self, client: Client, fields: dict[str, Any], code: Any, field: str) -> None:
        """What cannot be asked for is refused by name."""
        error = await failing(self.ask(client, **fields))
        assert (error.code(), details(error)) == (code, [field])

    async def test_a_position_that_has_not_come(self, client: Client, told_story: Stories) -> None:
        """A position after the log's head is NOT_FOUND."""
        moment = pb.Moment(position=str(Token(told_story.store.log_id, Position(2**62))))
        error = await failing(self.ask(client, until=moment))
        assert (error.code(), details(error)) == (Code.NOT_FOUND, ["until.position"])

    async def test_a_token_of_another_question(self, client: Client, told_story: Stories) -> None:
        """A page's token goes with its own story and filters alone; how many a page holds may change."""
        del told_story
        await create(client, "S-2")
        token = (await self.ask(client, page_size=1)).next_page_token
        assert (await self.ask(client, page_token=token, page_size=2)).entries[0].version == 2
        for other in ({"story_id": "S-2"}, {"actor": "qa"}, {"until": pb.Moment(version=7)}):
            error = await failing(self.ask(client, page_token=token, **other))
            assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["page_token"])

    async def test_a_token_of_another_log(self, client: Client, serve: Serve) -> None:
        """A page's token means nothing in another log, whose story of that name is another one."""
        await create(client)
        await client.update("S-1", client.change("UPDATE", "CASE", title="u"))
        token = (await self.ask(client, page_size=1)).next_page_token
        async with EventStore(MemoryBackend(), codec) as store, serve(Stories(store, MemorySnapshots())) as elsewhere:
            await create(elsewhere)
            error = await failing(self.ask(elsewhere, page_token=token))
            assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["page_token"])


@pytest.mark.contract
class TestDiffContext:
    async def ask(self, client: Client, **fields: Any) -> pb.DiffContextResponse:
        answer: pb.DiffContextResponse = await client.stub.DiffContext(
            pb.DiffContextRequest(**{"story_id": "S-1"} | fields)
        )
        return answer

    async def test_between_versions(self, client: Client, told_story: Stories) -> None:
        """What differs is told by thing and field; a decision that was deleted is gone."""
        answer = await self.ask(client, earlier=pb.Moment(version=4), later=pb.Moment(version=7))
        log_id, [_, second, _, fourth] = told_story.store.log_id, [c async for c in told_story.store.log()]
        assert (answer.earlier_version, answer.earlier_position) == (4, str(Token(log_id, second.position)))
        assert (answer.later_version, answer.later_position) == (7, str(Token(log_id, fourth.position)))
        found = [(diff.change, diff.entity_type, diff.entity_id) for diff in answer.entities]
        assert found == [("CHANGED", "CASE", "S-1"), ("GONE", "DECISION", "D-1")]
        assert list(answer.entities[0].fields) == [pb.FieldChange(field="title", before='"Login"', after='"Log in"')]
        assert pb.FieldChange(field="title", before='"Use OIDC"') in answer.entities[1].fields

    async def test_from_the_beginning_to_now(self, client: Client, told_story: Stories) -> None:
        """Without moments everything there is has been added."""
        del told_story
        answer = await self.ask(client)
        assert (answer.earlier_version, answer.later_version) == (0, 7)
        assert [(diff.change, diff.entity_id) for diff in answer.entities] == [("ADDED", "S-1"), ("ADDED", "T-1")]
        assert [one.change for one in answer.relations] == ["ADDED"]
        assert answer == await self.ask(client, earlier=pb.Moment(timestamp="1999-01-01", clock="occurred"))
        assert answer == await self.ask(client, earlier=pb.Moment(version=0), later=pb.Moment(version=7))

    async def test_relations(self, client: Client, told_story: Stories) -> None:
        """A relation that was stated and taken back is gone."""
        await told_story.store.append(
            told_story.stream("S-1"),
            [events.DecisionUnlinkedEvent(source_id="D-1", kind="DEPENDS_ON", target_id="D-2", stated_by="D-1")],
            expected=7,
        )
        answer = await self.ask(client, earlier=pb.Moment(version=7))
        relation = pb.DecisionRelation(src_id="D-1", dst_id="D-2", relation_type="DEPENDS_ON")
        assert list(answer.relations) == [pb.RelationDiff(change="GONE", relation=relation)]
        assert not answer.entities

    @pytest.mark.parametrize(
        ("fields", "code", "field"),
        [
            ({"story_id": "S-2"}, Code.NOT_FOUND, "story_id"),
            ({"story_id": "", "later": pb.Moment(version=1)}, Code.INVALID_ARGUMENT, "story_id"),
            ({"later": pb.Moment(version=0)}, Code.NOT_FOUND, "story_id"),
            ({"later": pb.Moment(timestamp="1999-01-01")}, Code.NOT_FOUND, "story_id"),
            ({"earlier": pb.Moment(version=8)}, Code.NOT_FOUND, "earlier.version"),
            ({"earlier": pb.Moment(version=5), "later": pb.Moment(version=4)}, Code.INVALID_ARGUMENT, "earlier"),
            ({"later": pb.Moment(position="?")}, Code.INVALID_ARGUMENT, "later.position"),
            ({"later": pb.Moment(clock="occurred")}, Code.INVALID_ARGUMENT, "later"),
        ],
    )
    @pytest.mark.usefixtures("told_story")
    async def test_refusals(self, client: Client, fields: dict[str, Any], code: Any, field: str) -> None:
        """Moments that are none, have not come or stand the wrong way round are refused by name."""
        error = await failing(self.ask(client, **fields))
        assert (error.code(), details(error)) == (code, [field])


@st.composite
def requests(draw: st.DrawFn) -> pb.GetHistoryRequest:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "version": st.integers(-(2**31), 2**31 - 1),
        "timestamp": st.text(max_size=5) | st.datetimes().map(str),
        "position": st.text(max_size=5),
    }
    kind = draw(st.sampled_from(sorted(kinds)))
    moment: dict[str, Any] = {kind: draw(kinds[kind])}
    return pb.GetHistoryRequest(
        story_id=draw(st.sampled_from(["S-1", "S-2"])),
        until=pb.Moment(**moment),
        page_size=draw(st.integers(-1, 3)),
        page_token=draw(st.sampled_from(["", ""]) | st.text(max_size=9)),
        event_types=draw(st.lists(st.sampled_from(sorted(EVENT_TYPES)) | st.text(max_size=3), max_size=2)),
    )


@settings(max_examples=20)
@given(st.lists(requests(), min_size=20, max_size=20))
def test_only_refusals(asked: list[pb.GetHistoryRequest]) -> None:
    """Whatever is asked for is answered or refused."""

    async def run() -> None:
        stories = await recorded(MemoryBackend(), [events.ContextCreatedEvent(), added("D-1")])
        for request in asked:
            id, moment = request.story_id, request.until
            for asking in (
                past.history(stories, request),
                past.diff(stories, pb.DiffContextRequest(story_id=id, earlier=moment, later=asked[0].until)),
                explain(stories, pb.ExplainDecisionRequest(story_id=id, decision_id="D-1", at=moment)),
            ):
                with suppress(Refused):
                    await asking

    asyncio.run(run())
