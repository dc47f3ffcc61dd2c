"""The state of a story: a pure fold, dumped and hashed by content."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from context_service.events.v1 import events_pb2 as pb
from context_service.story import _STEPS, EMPTY, Link, Story, content_hash, dump, evolve, load
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

# Values inside events, and the events of entities that are no stories.
PARTS = {"Texts", "TextMap"}
ELSEWHERE = {"ProjectCreatedEvent", "ProjectChangedEvent", "EpicCreatedEvent", "EpicChangedEvent"}

# Few ids, so that events meet the same things.
texts = st.sampled_from(["", "a", "b", "é\n# ü", "\0"])
ids = st.sampled_from(["A", "B", "C"])
moments = st.builds(Timestamp, seconds=st.integers(-1, 2), nanos=st.sampled_from([0, 1000]))
maps = st.dictionaries(texts, texts, max_size=2)


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Return what one value of a field can be."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        parts = {"Texts": st.builds(pb.Texts, values=st.lists(texts, max_size=2)), "Timestamp": moments}
        return {**parts, "TextMap": st.builds(pb.TextMap, values=maps)}[field.message_type.name]
    numbers = {
        FieldDescriptor.TYPE_INT32: st.integers(-2, 2),
        FieldDescriptor.TYPE_UINT32: st.integers(0, 3),
        FieldDescriptor.TYPE_DOUBLE: st.sampled_from([0.0, 0.5]),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
    }
    is_id = field.name.endswith("_id") or field.name == "stated_by"
    return ids if is_id else numbers.get(field.type, texts)


def events_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Return events of a class, each field there or not."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in cls.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            fields[field.name] = maps
        elif field.is_repeated:
            fields[field.name] = st.lists(values_of(field), max_size=2)
        else:
            fields[field.name] = values_of(field)
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: cls(**chosen))


events = st.sampled_from(sorted(_STEPS, key=lambda cls: cls.DESCRIPTOR.name)).flatmap(events_of)
histories = st.lists(events, max_size=30)


def fold(history: Iterable[Message], story: Story = EMPTY) -> Story:
    for event in history:
        story = evolve(story, event)
    return story


def test_every_event_has_a_meaning() -> None:
    """Every message of the events' proto changes a story, or belongs to projects and epics."""
    assert {cls.DESCRIPTOR.name for cls in _STEPS} == set(pb.DESCRIPTOR.message_types_by_name) - PARTS - ELSEWHERE


def test_events_of_other_entities_change_nothing() -> None:
    """Events of projects and epics leave a story as it was."""
    story = fold([pb.ContextCreatedEvent(title="t")])
    assert [story] * len(ELSEWHERE) == [evolve(story, getattr(pb, name)()) for name in sorted(ELSEWHERE)]


@given(histories, events)
def test_evolve_leaves_the_old_state_alone(history: list[Message], event: Message) -> None:
    """A new event makes a new state; the old one stays what it was, and the same again gives the same."""
    story = fold(history)
    before, sent = dump(story), event.SerializeToString(deterministic=True)
    after = evolve(story, event)
    assert (before, sent) == (dump(story), event.SerializeToString(deterministic=True))
    assert dump(after) == dump(evolve(load(before), event))


@given(histories)
def test_a_loaded_story_is_the_dumped_one(history: list[Message]) -> None:
    """Loading a dump gives an equal story, whose dump is the same bytes."""
    story = fold(history)
    assert story == load(dump(story))
    assert dump(story) == dump(load(dump(story)))


@given(histories, histories)
def test_hash_tells_stories_apart(one: list[Message], other: list[Message]) -> None:
    """Two stories have the same hash just when they are equal."""
    assert (fold(one) == fold(other)) == (content_hash(fold(one)) == content_hash(fold(other)))


def linked(source: str, kind: str, target: str, by: str) -> pb.DecisionLinkedEvent:
    return pb.DecisionLinkedEvent(source_id=source, kind=kind, target_id=target, stated_by=by)


def test_hash_does_not_depend_on_the_order_of_links() -> None:
    """However independent statements of links arrive, the story and its hash are the same."""
    statements = [
        linked("A", "DEPENDS_ON", "B", "A"),
        linked("A", "AFFECTS", "T", "A"),
        linked("B", "SUPERSEDES", "A", "A"),
        linked("B", "SUPERSEDES", "A", "B"),
    ]
    hashes = {content_hash(fold(order)) for order in itertools.permutations(statements)}
    assert len(hashes) == 1


@given(st.permutations([("k", "1"), ("l", "2"), ("m", "3")]))
def test_hash_does_not_depend_on_the_order_of_keys(pairs: list[tuple[str, str]]) -> None:
    """Attributes and constraints count by content, not by the order in which they were written."""
    expected = pb.ContextCreatedEvent(attributes={"k": "1", "l": "2", "m": "3"}, constraints={"k": "1", "l": "2"})
    other = pb.ContextCreatedEvent(attributes=dict(pairs), constraints=dict(reversed(sorted(pairs)[:2])))
    assert content_hash(fold([expected])) == content_hash(fold([other]))


@pytest.mark.parametrize("field", Story.__struct_fields__)
def test_hash_covers_every_field(field: str) -> None:
    """A story that differs in any one field has another hash."""
    full = fold(FULL)
    assert getattr(full, field) != getattr(EMPTY, field)
    other = msgspec.structs.replace(full, **{field: getattr(EMPTY, field)})
    assert content_hash(full) != content_hash(other)


NOON = Timestamp(seconds=43_200)
FULL: list[Message] = [
    pb.ContextCreatedEvent(
        title="t",
        description="d",
        acceptance_criteria=["a"],
        constraints={"k": "v"},
        tags=["x"],
        created_by="architect",
        created_at=NOON,
        attributes={"k": "1"},
    ),
    pb.StoryPlacedInEpicEvent(epic_id="E"),
    pb.PhaseTransitionedEvent(from_phase="DESIGN", to_phase="BUILD", at=NOON),
    pb.PlanVersionAddedEvent(plan_id="P", version=1),
    pb.SubtaskAddedEvent(subtask_id="T", status="pending"),
    pb.DecisionAddedEvent(decision_id="D", status=pb.PROPOSED),
    linked("D", "AFFECTS", "T", "D"),
    pb.MilestoneReachedEvent(milestone_id="M", event_type="human_edit", at=NOON),
    pb.SummaryRecordedEvent(role="qa", text="s", at=NOON),
    pb.TaskDispatchedEvent(subtask_id="T", agent_id="agent", role="qa", at=NOON),
]


def test_a_link_holds_while_anybody_states_it() -> None:
    """A link stated twice is still there when one of the two takes it back, and gone when both have."""
    link = {"source_id": "B", "kind": "SUPERSEDES", "target_id": "A"}
    stated = fold([linked("B", "SUPERSEDES", "A", by) for by in ("A", "B")])
    once = evolve(stated, pb.DecisionUnlinkedEvent(**link, stated_by="A"))
    twice = evolve(once, pb.DecisionUnlinkedEvent(**link, stated_by="B"))
    assert (list(stated.links.values()), list(once.links.values())) == ([("A", "B")], [("B",)])
    assert twice == EMPTY


def test_a_statement_made_twice_is_one() -> None:
    """Whoever states a link again states nothing new."""
    once = fold([linked("B", "SUPERSEDES", "A", "B")])
    assert evolve(once, linked("B", "SUPERSEDES", "A", "B")) == once


def test_hash_is_the_same_in_every_process() -> None:
    """The hash does not depend on how a process happens to hash its keys."""
    program = """if True:
        from context_service.events.v1 import events_pb2 as pb
        from context_service.story import EMPTY, content_hash, evolve
        story = EMPTY
        for n in range(20):
            story = evolve(story, pb.DecisionAddedEvent(decision_id=f"D-{n}", attributes={"a": "1", "b": "2"}))
            story = evolve(story, pb.DecisionLinkedEvent(source_id=f"D-{n}", kind="BLOCKS", target_id="X"))
        print(content_hash(story))"""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hashes) == 1


def test_the_epoch_is_a_time() -> None:
    """A time that was set to 1970 is kept; one that was not set is empty."""
    at_epoch = evolve(EMPTY, pb.SummaryRecordedEvent(role="qa", at=Timestamp()))
    without = evolve(EMPTY, pb.SummaryRecordedEvent(role="qa"))
    assert (at_epoch.summaries["qa"].at, without.summaries["qa"].at) == ("1970-01-01T00:00:00Z", "")


def test_a_removed_attribute_is_gone() -> None:
    """An attribute that an event names as removed is gone, the others stay."""
    story = fold(
        [
            pb.DecisionAddedEvent(decision_id="D", attributes={"k": "1", "l": "2"}),
            pb.DecisionChangedEvent(decision_id="D", removed_attributes=["k", "never"]),
        ]
    )
    assert story.decisions["D"].attributes == {"l": "2"}


def test_things_are_numbered_as_they_come() -> None:
    """Things of all kinds share one count, and a removed one's number is not given again."""
    rng = random.Random(1)
    kinds = {"plans": pb.PlanVersionAddedEvent, "subtasks": pb.SubtaskAddedEvent, "decisions": pb.DecisionAddedEvent}
    fields = {"plans": "plan_id", "subtasks": "subtask_id", "decisions": "decision_id"}
    story, expected = EMPTY, []
    for number in range(20):
        kind = rng.choice(sorted(kinds))
        story = evolve(story, kinds[kind](**{fields[kind]: f"X-{number}"}))
        expected.append((number, f"X-{number}"))
    story = evolve(evolve(story, pb.SubtaskAddedEvent(subtask_id="gone")), pb.SubtaskRemovedEvent(subtask_id="gone"))
    story = evolve(story, pb.SubtaskAddedEvent(subtask_id="last"))
    found = [(thing.order, thing.id) for kind in kinds for thing in getattr(story, kind).values()]
    assert [*expected, (21, "last")] == sorted(found)


def test_links_have_ids_of_their_own() -> None:
    """Whatever spaces and quotes are in ids, two links never have one id; those of plain ids are plain."""
    ids = ["a", "a b", "b", '"a', '"a b"', "a DEPENDS_ON b", "b DEPENDS_ON c", "c"]
    links = {Link(source, "DEPENDS_ON", target) for source in ids for target in ids}
    assert len({link.id for link in links}) == len(links)
    assert Link("a", "BLOCKS", "b-1").id == "a BLOCKS b-1"
    assert Link("a b", "BLOCKS", "c").id == '"a b" BLOCKS c'
