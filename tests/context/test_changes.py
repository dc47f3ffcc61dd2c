"""What UpdateContext means: which events each change causes, and what is refused with which words."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from context_service.changes import decide
from context_service.commands import OPERATIONS, PAYLOADS, Fault, Refused, UpdateStory, parse_changes
from context_service.events.v1 import events_pb2 as pb
from context_service.story import EMPTY, Story, evolve
from context_service.v1 import context_pb2
from context_service.words import DECISION_STATUSES, SUBTASK_STATUSES, TERMINAL_SUBTASK_STATUSES
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.message import Message

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = Timestamp(seconds=int(NOON.timestamp()))


def change(operation: str, entity_type: str, id: str, payload: dict[str, Any] | str | None = None) -> Any:
    text = payload if isinstance(payload, str) else json.dumps(payload) if payload is not None else ""
    return context_pb2.ContextChange(
        operation=operation, entity_type=entity_type, entity_id=id, payload=text, reason="why"
    )


def when(story: Story, *changes: Any) -> list[Message]:
    """Return the events that changes cause, decided by a developer at noon."""
    parsed, _ = parse_changes(changes)
    return decide(UpdateStory("S-1", parsed, "developer", NOON), story)


def after(story: Story, *changes: Any) -> Story:
    """Return the story after changes."""
    for event in when(story, *changes):
        story = evolve(story, event)
    return story


def refusals(story: Story, *changes: Any) -> list[tuple[str, str]]:
    """Return how and where changes are refused."""
    with pytest.raises(Refused) as refused:
        when(story, *changes)
    return [(violation.fault.name, violation.field) for violation in refused.value.violations]


CREATED = after(EMPTY, change("CREATE", "CASE", "S-1", {"title": "t"}))
# Of each entity: its id, what creates it, what changes it, and the events of the three operations.
ENTITIES: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[Message], list[Message], list[Message]]] = {
    "PLAN": (
        "P-1",
        {"version": 3, "author_id": "ann", "rationale": "r"},
        {"version": 4, "rationale": ""},
        [pb.PlanVersionAddedEvent(plan_id="P-1", version=3, author="ann", rationale="r", created_at=AT, reason="why")],
        [pb.PlanVersionChangedEvent(plan_id="P-1", version=4, rationale="", reason="why")],
        [pb.PlanVersionRemovedEvent(plan_id="P-1", reason="why")],
    ),
    "SUBTASK": (
        "T-1",
        {
            "title": "t",
            "description": "d",
            "type": "code",
            "role": "DEV",
            "status": "In_Progress",
            "dependencies": ["T-0"],
            "priority": 2,
            "estimate": 1.5,
            "assignee": "bob",
            "plan_id": "P-1",
        },
        {"status": "DONE", "dependencies": [], "priority": 0},
        [
            pb.SubtaskAddedEvent(
                subtask_id="T-1",
                title="t",
                description="d",
                type="code",
                role="developer",
                status="in_progress",
                depends_on=["T-0"],
                priority=2,
                estimate=1.5,
                assignee="bob",
                plan_id="P-1",
                reason="why",
            )
        ],
        [pb.SubtaskUpdatedEvent(subtask_id="T-1", status="done", depends_on=pb.Texts(), priority=0, reason="why")],
        [pb.SubtaskRemovedEvent(subtask_id="T-1", reason="why")],
    ),
    "DECISION": (
        "D-1",
        {
            "title": "t",
            "rationale": "r",
            "status": "approved",
            "kind": "tech",
            "decided_by": "ann",
            "decided_at": "2025-05-05T10:00:00+02:00",
            "alternatives": ["x"],
            "supersedes": ["D-0"],
            "affects": ["T-1"],
        },
        {"title": "u", "status": "IMPLEMENTED", "alternatives": [], "decided_at": "1970-01-01", "supersedes": []},
        [
            pb.DecisionAddedEvent(
                decision_id="D-1",
                title="t",
                rationale="r",
                status=pb.APPROVED,
                kind="tech",
                decided_by="ann",
                decided_at=Timestamp(seconds=1_746_432_000),
                alternatives=["x"],
                reason="why",
            ),
            pb.DecisionLinkedEvent(source_id="D-1", kind=pb.SUPERSEDES, target_id="D-0", stated_by="D-1", reason="why"),
            pb.DecisionLinkedEvent(source_id="D-1", kind=pb.AFFECTS, target_id="T-1", stated_by="D-1", reason="why"),
        ],
        [
            pb.DecisionChangedEvent(
                decision_id="D-1", title="u", alternatives=pb.Texts(), decided_at=Timestamp(), reason="why"
            ),
            pb.DecisionStatusChangedEvent(decision_id="D-1", status=pb.IMPLEMENTED, reason="why"),
            pb.DecisionUnlinkedEvent(
                source_id="D-1", kind=pb.SUPERSEDES, target_id="D-0", stated_by="D-1", reason="why"
            ),
        ],
        [pb.DecisionDeletedEvent(decision_id="D-1", reason="why")],
    ),
    "MILESTONE": (
        "M-1",
        {"event_type": "human_edit", "description": "d", "actor": "ann", "ts_ms": 1500},
        {"description": "", "ts_ms": 0},
        [
            pb.MilestoneReachedEvent(
                milestone_id="M-1",
                event_type="human_edit",
                description="d",
                actor="ann",
                at=Timestamp(seconds=1, nanos=500_000_000),
                reason="why",
            )
        ],
        [
            pb.MilestoneReachedEvent(
                milestone_id="M-1", event_type="human_edit", actor="ann", at=Timestamp(), reason="why"
            )
        ],
        [pb.MilestoneRemovedEvent(milestone_id="M-1", reason="why")],
    ),
}
KINDS = sorted(ENTITIES)


@pytest.mark.parametrize("kind", KINDS)
class TestEachEntity:
    def test_create(self, kind: str) -> None:
        """CREATE records the thing with all that was said of it."""
        id, new, _, expected, _, _ = ENTITIES[kind]
        assert expected == when(CREATED, change("CREATE", kind, id, new))

    def test_update(self, kind: str) -> None:
        """UPDATE records what differs, and nothing of what was not said."""
        id, new, other, _, expected, _ = ENTITIES[kind]
        assert expected == when(after(CREATED, change("CREATE", kind, id, new)), change("UPDATE", kind, id, other))

    def test_delete(self, kind: str) -> None:
        """DELETE records that the thing is gone."""
        id, new, _, _, _, expected = ENTITIES[kind]
        assert expected == when(after(CREATED, change("CREATE", kind, id, new)), change("DELETE", kind, id))

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
    def test_the_same_again(self, kind: str, operation: str) -> None:
        """What is already so is accepted and causes nothing, whether as CREATE or as UPDATE."""
        id, new, other, *_ = ENTITIES[kind]
        story = after(CREATED, change("CREATE", kind, id, new))
        assert when(story, change(operation, kind, id, new)) == []
        story = after(story, change("UPDATE", kind, id, other))
        assert when(story, change(operation, kind, id, other)) == []

    def test_create_of_another(self, kind: str) -> None:
        """CREATE of an id that is taken by something else is refused, not taken for an UPDATE."""
        id, new, other, *_ = ENTITIES[kind]
        story = after(CREATED, change("CREATE", kind, id, new))
        assert refusals(story, change("CREATE", kind, id, other)) == [("PRECONDITION", "changes[0].entity_id")]

    @pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
    def test_unknown(self, kind: str, operation: str) -> None:
        """What is not there can be neither changed nor deleted; ids are matched whole."""
        id, new, other, *_ = ENTITIES[kind]
        story = after(CREATED, change("CREATE", kind, id, new))
        expected = [("NOT_FOUND", "changes[0].entity_id")]
        assert expected == refusals(story, change(operation, kind, id + "0", other))
        assert expected == refusals(story, change(operation, kind, id[:-1], other))

    def test_deleted_twice(self, kind: str) -> None:
        """Deleting again is no change for a decision, whose record stays, and not found for the others."""
        id, new, *_ = ENTITIES[kind]
        story = after(CREATED, change("CREATE", kind, id, new), change("DELETE", kind, id))
        if kind == "DECISION":
            assert when(story, change("DELETE", kind, id)) == []
        else:
            assert refusals(story, change("DELETE", kind, id)) == [("NOT_FOUND", "changes[0].entity_id")]

    def test_identity_in_the_payload(self, kind: str) -> None:
        """Ids in a payload change nothing and are warned of; whose thing it is stands outside of it."""
        id, new, _, expected, _, _ = ENTITIES[kind]
        stolen = new | {"id": "X", "story_id": "S-2", "case_id": "S-2"}
        _, warnings = parse_changes([change("CREATE", kind, id, stolen)])
        assert expected == when(CREATED, change("CREATE", kind, id, stolen))
        assert [
            f"changes[0].payload.{key}: ignored, identity is not taken from a payload"
            for key in ("id", "story_id", "case_id")
        ] == warnings

    def test_unknown_keys(self, kind: str) -> None:
        """A key beyond those of the interface is kept as an attribute, as JSON text, and warned of."""
        id, new, *_ = ENTITIES[kind]
        asked = change("CREATE", kind, id, new | {"extra": {"n": [1, None]}})
        _, warnings = parse_changes([asked])
        event: Any = when(CREATED, asked)[0]
        assert {key: json.loads(value) for key, value in event.attributes.items()} == {"extra": {"n": [1, None]}}
        assert warnings == ["changes[0].payload.extra: not a known key, kept as an attribute"]
        story = after(CREATED, asked)
        assert when(story, asked) == []
        [changed] = when(story, change("UPDATE", kind, id, {"extra": 2}))
        assert dict(changed.attributes) == {"extra": "2"}  # type: ignore[attr-defined]

    def test_no_story(self, kind: str) -> None:
        """Nothing can be recorded in a story that does not exist."""
        id, new, *_ = ENTITIES[kind]
        assert refusals(EMPTY, change("CREATE", kind, id, new)) == [("NOT_FOUND", "story_id")]


class TestCase:
    PAYLOAD: ClassVar[dict[str, Any]] = {
        "title": "t",
        "description": "d",
        "acceptance_criteria": ["a", "b"],
        "constraints": {"k": "v"},
        "tags": ["x"],
    }

    def test_create(self) -> None:
        """A new story begins in DESIGN, and says who made it and when."""
        expected = pb.ContextCreatedEvent(
            **self.PAYLOAD, created_by="developer", created_at=AT, phase="DESIGN", reason="why"
        )
        assert [expected] == when(EMPTY, change("CREATE", "CASE", "", self.PAYLOAD))
        assert [expected] == when(EMPTY, change("CREATE", "CASE", "S-1", self.PAYLOAD))

    def test_update(self) -> None:
        """An UPDATE records what differs; an empty list or map empties it."""
        story = after(EMPTY, change("CREATE", "CASE", "", self.PAYLOAD))
        expected = pb.StoryChangedEvent(
            title="u",
            acceptance_criteria=pb.Texts(),
            constraints=pb.TextMap(),
            tags=pb.Texts(values=["y"]),
            reason="why",
        )
        asked = {"title": "u", "description": "d", "acceptance_criteria": [], "constraints": {}, "tags": ["y"]}
        assert [expected] == when(story, change("UPDATE", "CASE", "", asked))

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
    def test_the_same_again(self, operation: str) -> None:
        """What is already so causes nothing."""
        story = after(EMPTY, change("CREATE", "CASE", "", self.PAYLOAD))
        assert when(story, change(operation, "CASE", "", self.PAYLOAD)) == []

    def test_create_of_another(self) -> None:
        """A story that exists is not made again as another one."""
        asked = change("CREATE", "CASE", "S-1", {"title": "u"})
        assert refusals(CREATED, asked) == [("PRECONDITION", "changes[0].entity_id")]

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
    def test_id_of_another_story(self, operation: str) -> None:
        """A request for one story cannot reach into another one by the entity's id."""
        asked = change(operation, "CASE", "S-2", {"title": "u"})
        assert refusals(CREATED, asked) == [("INVALID", "changes[0].entity_id")]

    def test_status(self) -> None:
        """A story begins as DRAFT or as its CREATE says; an UPDATE sets its status; other words are refused."""
        assert after(EMPTY, change("CREATE", "CASE", "", {})).status == "DRAFT"
        story = after(EMPTY, change("CREATE", "CASE", "", {"status": "active"}))
        assert story.status == "ACTIVE"
        expected = pb.StoryChangedEvent(status="DONE", reason="why")
        assert [expected] == when(story, change("UPDATE", "CASE", "", {"status": "Done"}))
        asked = change("UPDATE", "CASE", "", {"status": "open"})
        assert refusals(story, asked) == [("INVALID", "changes[0].payload.status")]

    def test_delete(self) -> None:
        """A story cannot be deleted."""
        assert refusals(CREATED, change("DELETE", "CASE", "S-1")) == [("INVALID", "changes[0].operation")]

    def test_things_of_a_new_story(self) -> None:
        """One request may make a story and what is in it, in any order."""
        asked = [change("CREATE", "DECISION", "D-1", {"title": "d"}), change("CREATE", "CASE", "", {"title": "t"})]
        story = after(EMPTY, *asked)
        assert (story.exists, story.title, list(story.decisions)) == (True, "t", ["D-1"])


class TestSummary:
    def test_recorded(self) -> None:
        """A summary is the last one of its role; without a role it is the asker's."""
        story = after(CREATED, change("CREATE", "SUMMARY", "", {"role": "QA", "text": "one"}))
        story = after(story, change("UPDATE", "SUMMARY", "", {"role": "qa", "text": "two"}))
        story = after(story, change("CREATE", "SUMMARY", "", {"text": "mine"}))
        assert {role: each.text for role, each in story.summaries.items()} == {"qa": "two", "developer": "mine"}

    def test_the_same_again(self) -> None:
        """The same text again is no change."""
        story = after(CREATED, change("CREATE", "SUMMARY", "", {"role": "qa", "text": "one"}))
        assert when(story, change("CREATE", "SUMMARY", "", {"role": "QA", "text": "one"})) == []

    def test_empty(self) -> None:
        """A summary without text is refused."""
        asked = change("CREATE", "SUMMARY", "", {"role": "qa"})
        assert refusals(CREATED, asked) == [("INVALID", "changes[0].payload.text")]

    def test_delete(self) -> None:
        """A summary cannot be deleted."""
        assert refusals(CREATED, change("DELETE", "SUMMARY", "")) == [("INVALID", "changes[0].operation")]


class TestPlan:
    def test_defaults(self) -> None:
        """A plan that says little is the next version, by the asker, a draft."""
        story = after(CREATED, change("CREATE", "PLAN", "P-1"), change("CREATE", "PLAN", "P-2"))
        plan = story.plans["P-2"]
        assert (plan.version, plan.status, plan.author) == (2, "DRAFT", "developer")

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
    def test_approved(self, operation: str) -> None:
        """A plan that is created or becomes APPROVED says who approved it and when."""
        story = CREATED if operation == "CREATE" else after(CREATED, change("CREATE", "PLAN", "P-1"))
        plan = after(story, change(operation, "PLAN", "P-1", {"status": "approved"})).plans["P-1"]
        assert (plan.status, plan.approved_by, plan.approved_at) == ("APPROVED", "developer", "2026-01-01T12:00:00Z")

    def test_approved_is_final(self) -> None:
        """An approved plan becomes no draft again and is not deleted."""
        story = after(CREATED, change("CREATE", "PLAN", "P-1", {"status": "APPROVED"}))
        back = change("UPDATE", "PLAN", "P-1", {"status": "DRAFT"})
        assert refusals(story, back) == [("PRECONDITION", "changes[0].payload.status")]
        assert refusals(story, change("DELETE", "PLAN", "P-1")) == [("PRECONDITION", "changes[0].entity_id")]


class TestSubtaskStates:
    @pytest.mark.parametrize("to", SUBTASK_STATUSES)
    @pytest.mark.parametrize("before", SUBTASK_STATUSES)
    def test_every_step(self, before: str, to: str) -> None:
        """A subtask moves freely until it is done, completed, cancelled or failed, which it then stays."""
        story = after(CREATED, change("CREATE", "SUBTASK", "T-1", {"status": before}))
        asked = change("UPDATE", "SUBTASK", "T-1", {"status": to.upper()})
        if before != to and before in {"done", "completed", "cancelled", "failed"}:
            assert refusals(story, asked) == [("PRECONDITION", "changes[0].payload.status")]
        else:
            assert to == after(story, asked).subtasks["T-1"].status

    def test_terminal_ones(self) -> None:
        """The states that end a subtask are the domain's four."""
        assert {"done", "completed", "cancelled", "failed"} == TERMINAL_SUBTASK_STATUSES

    def test_other_fields_of_an_ended_one(self) -> None:
        """What is not its status can still be corrected in a subtask that has ended."""
        story = after(CREATED, change("CREATE", "SUBTASK", "T-1", {"status": "done"}))
        asked = change("UPDATE", "SUBTASK", "T-1", {"title": "better", "status": "DONE"})
        assert after(story, asked).subtasks["T-1"].title == "better"

    def test_first_state(self) -> None:
        """A subtask that says nothing of its state is pending."""
        assert after(CREATED, change("CREATE", "SUBTASK", "T-1")).subtasks["T-1"].status == "pending"


# The arrows of the domain, written out.
STEPS = {
    ("PROPOSED", "APPROVED"),
    ("PROPOSED", "REJECTED"),
    ("APPROVED", "IMPLEMENTED"),
    ("APPROVED", "DEPRECATED"),
    ("IMPLEMENTED", "DEPRECATED"),
}


class TestDecisionStates:
    @pytest.mark.parametrize("to", DECISION_STATUSES[:-1])
    @pytest.mark.parametrize("before", DECISION_STATUSES[:-1])
    def test_every_step(self, before: str, to: str) -> None:
        """A decision takes the steps of the domain and no others; staying is no step."""
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"status": before}))
        asked = change("UPDATE", "DECISION", "D-1", {"status": to.lower()})
        if before == to:
            assert when(story, asked) == []
        elif (before, to) in STEPS:
            assert to == after(story, asked).decisions["D-1"].status
        else:
            assert refusals(story, asked) == [("PRECONDITION", "changes[0].payload.status")]

    @pytest.mark.parametrize("before", DECISION_STATUSES[:-1])
    def test_deleted_from_anywhere(self, before: str) -> None:
        """Any decision can be deleted, after which nothing changes it, not even a CREATE."""
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"status": before}))
        story = after(story, change("DELETE", "DECISION", "D-1"))
        assert story.decisions["D-1"].status == "DELETED"
        expected = [("PRECONDITION", "changes[0].entity_id")]
        for operation in ("CREATE", "UPDATE"):
            for to in DECISION_STATUSES[:-1]:
                assert expected == refusals(story, change(operation, "DECISION", "D-1", {"status": to}))

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
    def test_deleted_is_no_status_to_set(self, operation: str) -> None:
        """DELETED is reached by DELETE alone."""
        story = CREATED if operation == "CREATE" else after(CREATED, change("CREATE", "DECISION", "D-1"))
        asked = change(operation, "DECISION", "D-1", {"status": "DELETED"})
        assert refusals(story, asked) == [("INVALID", "changes[0].payload.status")]

    def test_defaults(self) -> None:
        """A decision that says little is proposed, by the asker, now."""
        decision = after(CREATED, change("CREATE", "DECISION", "D-1")).decisions["D-1"]
        expected = ("PROPOSED", "developer", "2026-01-01T12:00:00Z")
        assert expected == (decision.status, decision.decided_by, decision.decided_at)


LISTS = {
    "depends_on": "DEPENDS_ON",
    "supersedes": "SUPERSEDES",
    "relates_to": "RELATES_TO",
    "blocks": "BLOCKS",
    "governs": "GOVERNS",
    "affects": "AFFECTS",
}


class TestLinks:
    @pytest.mark.parametrize("key", LISTS)
    def test_a_list_is_restated(self, key: str) -> None:
        """A list of links replaces the one before, of its kind alone; what stays causes nothing."""
        others = {other: ["O"] for other in LISTS if other != key}
        story = after(CREATED, change("CREATE", "DECISION", "D-1", others | {key: ["A", "B", "B"]}))
        events: list[Any] = when(story, change("UPDATE", "DECISION", "D-1", {key: ["C", "B"]}))
        found = [(type(event).__name__, event.target_id, pb.LinkKind.Name(event.kind)) for event in events]
        assert [("DecisionUnlinkedEvent", "A", LISTS[key]), ("DecisionLinkedEvent", "C", LISTS[key])] == found
        assert when(story, change("UPDATE", "DECISION", "D-1", {key: ["B", "A"]})) == []

    def test_a_list_that_is_not_given_stays(self) -> None:
        """A list that a change does not mention stays as it is, an empty one empties it."""
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"blocks": ["A"], "governs": ["B"]}))
        story = after(story, change("UPDATE", "DECISION", "D-1", {"title": "t", "blocks": []}))
        assert [(link.kind, link.target) for link in story.links] == [("GOVERNS", "B")]

    def test_a_link_that_another_one_states_stays(self) -> None:
        """Restating takes back one's own statement only."""
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"supersedes": ["D-0"]}))
        told = pb.DecisionLinkedEvent(source_id="D-1", kind=pb.SUPERSEDES, target_id="D-0", stated_by="D-0")
        story = after(evolve(story, told), change("UPDATE", "DECISION", "D-1", {"supersedes": []}))
        assert list(story.links.values()) == [("D-0",)]

    @pytest.mark.parametrize("key", sorted(set(LISTS) - {"affects"}))
    def test_to_itself(self, key: str) -> None:
        """A decision is not linked to itself; it may affect a subtask of the same id."""
        asked = change("CREATE", "DECISION", "D-1", {key: ["D-1"]})
        assert [("INVALID", f"changes[0].payload.{key}")] == refusals(CREATED, asked)
        assert "D-1" in after(CREATED, change("CREATE", "DECISION", "D-1", {"affects": ["D-1"]})).decisions

    @pytest.mark.parametrize("id", ["", "a\0b", "x" * 256, "a\nb"])
    def test_ids(self, id: str) -> None:
        """An id in a list of links or dependencies that can be nobody's is named with its place."""
        decision = change("CREATE", "DECISION", "D-1", {"blocks": ["A", id]})
        assert refusals(CREATED, decision) == [("INVALID", "changes[0].payload.blocks[1]")]
        subtask = change("CREATE", "SUBTASK", "T-1", {"dependencies": [id]})
        assert refusals(CREATED, subtask) == [("INVALID", "changes[0].payload.dependencies[0]")]


class TestAllOrNothing:
    def test_every_bad_change_is_named(self) -> None:
        """A request with several bad changes is refused with each of them named, the good ones not."""
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"status": "REJECTED"}))
        assert refusals(
            story,
            change("UPDATE", "DECISION", "D-1", {"status": "APPROVED"}),
            change("CREATE", "DECISION", "D-2", {"title": "good"}),
            change("CREATE", "DECISION", "D-3", {"decided_at": "yesterday"}),
            change("DELETE", "SUBTASK", "T-1"),
        ) == [
            ("PRECONDITION", "changes[0].payload.status"),
            ("INVALID", "changes[2].payload.decided_at"),
            ("NOT_FOUND", "changes[3].entity_id"),
        ]

    def test_every_unreadable_change_is_named(self) -> None:
        """All changes that cannot be read are named at once, with all that is wrong in each."""
        assert refusals(
            CREATED,
            change("MERGE", "EPOS", ""),
            change("CREATE", "DECISION", "D-1"),
            change("CREATE", "DECISION", "D-1", "{"),
            change("UPDATE", "SUBTASK", "", {"title": 5}),
        ) == [
            ("INVALID", "changes[0].operation"),
            ("INVALID", "changes[0].entity_type"),
            ("INVALID", "changes[0].entity_id"),
            ("INVALID", "changes[2].payload"),
            ("INVALID", "changes[3].entity_id"),
            ("INVALID", "changes[3].payload.title"),
        ]

    def test_each_is_decided_on_what_the_ones_before_leave(self) -> None:
        """A later change of a request sees the earlier ones."""
        story = after(
            CREATED,
            change("CREATE", "DECISION", "D-1"),
            change("UPDATE", "DECISION", "D-1", {"status": "APPROVED"}),
            change("UPDATE", "DECISION", "D-1", {"status": "IMPLEMENTED"}),
        )
        assert story.decisions["D-1"].status == "IMPLEMENTED"

    def test_nothing_asked(self) -> None:
        """A request without changes is refused."""
        assert refusals(CREATED) == [("INVALID", "changes")]


class TestReading:
    def test_spellings(self) -> None:
        """Operation and entity type are read in any case and with spaces around them."""
        [parsed], _ = parse_changes([change(" create ", "Decision", "D-1")])
        assert (parsed.operation, parsed.entity_type) == ("CREATE", "DECISION")

    def test_payload_of_a_delete(self) -> None:
        """A DELETE needs no payload; one that comes is warned of and not read."""
        [parsed], warnings = parse_changes([change("DELETE", "DECISION", "D-1", "{ no json")])
        assert (parsed.payload, warnings) == (None, ["changes[0].payload: ignored, a DELETE needs none"])

    @pytest.mark.parametrize("kind", PAYLOADS)
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_every_pair_has_a_decider(self, operation: str, kind: str) -> None:
        """Each operation on each entity type is decided: with events, with none, or with a refusal."""
        with contextlib.suppress(Refused):
            when(CREATED, change(operation, kind, "" if kind in ("CASE", "SUMMARY") else "X"))

    @pytest.mark.parametrize(
        ("payload", "field"),
        [
            ("{", ""),
            ("[]", ""),
            ("null", ""),
            ('"text"', ""),
            ("{} {}", ""),
            ("   ", ""),
            ('{"title": "\x01"}', ""),
            (r'{"title": "\ud800"}', ""),
            (r'{"title": "\ud800 and more after it"}', ""),
            (r'{"title": "\udc00\ud800 turned round"}', ""),
            (r'{"extra": "\ud800"}', ""),
            (r'{"\ud800": 1}', ""),
            ('{"title": 5}', ".title"),
            ('{"title": {}}', ".title"),
            ('{"alternatives": "x"}', ".alternatives"),
            ('{"alternatives": ["x", 1]}', ".alternatives[1]"),
            ('{"blocks": [null]}', ".blocks[0]"),
            ('{"extra": ' + "[" * 100_000 + "]" * 100_000 + "}", ""),
            ('{"extra": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}", ""),
            ('{"title": ' + "[" * 1_000_000, ""),
        ],
        ids=range(20),
    )
    def test_bad_payloads(self, payload: str, field: str) -> None:
        """A payload that is no JSON object of the right types is refused, naming the key where there is one."""
        asked = change("CREATE", "DECISION", "D-1", payload)
        assert [("INVALID", f"changes[0].payload{field}")] == refusals(CREATED, asked)

    def test_surrogates_are_called_by_their_name(self) -> None:
        """Half a surrogate pair is refused as what it is; a whole pair is a character."""
        with pytest.raises(Refused, match="half of a surrogate pair is no text"):
            when(CREATED, change("CREATE", "DECISION", "D-1", r'{"title": "\ud83d"}'))
        story = after(CREATED, change("CREATE", "DECISION", "D-1", r'{"title": "\ud83d\ude00"}'))
        assert story.decisions["D-1"].title == "\N{GRINNING FACE}"

    @pytest.mark.parametrize(
        ("kind", "payload", "field"),
        [
            ("SUBTASK", '{"priority": 2147483648}', "priority"),
            ("SUBTASK", '{"priority": -99999999999999999999999999999}', "priority"),
            ("SUBTASK", '{"priority": 1e400}', "priority"),
            ("SUBTASK", '{"priority": 1.5}', "priority"),
            ("SUBTASK", '{"estimate": 1e400}', "estimate"),
            ("SUBTASK", '{"plan_id": "a\\u0000"}', "plan_id"),
            ("SUBTASK", '{"status": "paused"}', "status"),
            ("PLAN", '{"version": 0}', "version"),
            ("PLAN", '{"version": 4294967296}', "version"),
            ("PLAN", '{"status": "REJECTED"}', "status"),
            ("MILESTONE", '{"event_type": "x", "ts_ms": -1}', "ts_ms"),
            ("MILESTONE", '{"event_type": "x", "ts_ms": 253402300800000}', "ts_ms"),
            ("MILESTONE", '{"description": "x"}', "event_type"),
            ("DECISION", '{"status": "MAYBE"}', "status"),
            ("DECISION", '{"decided_at": "2025-02-30"}', "decided_at"),
            ("DECISION", '{"decided_at": "0001-01-01T00:00:00+14:00"}', "decided_at"),
            ("DECISION", '{"decided_at": "9999-12-31T23:59:59-14:00"}', "decided_at"),
        ],
    )
    def test_bad_values(self, kind: str, payload: str, field: str) -> None:
        """A value that its field cannot hold is refused with the field's name, in CREATE and in UPDATE."""
        expected = [("INVALID", f"changes[0].payload.{field}")]
        assert expected == refusals(CREATED, change("CREATE", kind, "X-1", payload))
        if field != "event_type":  # which only a new milestone must say
            new = {"event_type": "x"} if kind == "MILESTONE" else {}
            story = after(CREATED, change("CREATE", kind, "X-1", new))
            assert expected == refusals(story, change("UPDATE", kind, "X-1", payload))

    @pytest.mark.parametrize("id", ["", "x" * 256, "é" * 128, "a\0b", "tab\tbed", "line\nbreak", "\x7f", "\x85"])
    def test_bad_ids(self, id: str) -> None:
        """An id that is empty, over 255 bytes or has control characters is refused."""
        assert refusals(CREATED, change("CREATE", "DECISION", id)) == [("INVALID", "changes[0].entity_id")]

    @pytest.mark.parametrize("id", ["a.b", "a b", "a/b", "a>b", "*", "\N{GRINNING FACE}", "é" * 127, "x" * 255, "' --"])
    def test_good_ids(self, id: str) -> None:
        """Dots, spaces, slashes, wildcards and emoji are as good as letters."""
        assert [id] == list(after(CREATED, change("CREATE", "DECISION", id)).decisions)

    def test_texts_are_kept_as_they_came(self) -> None:
        """Text in a payload is stored as it is, whatever characters it holds."""
        text = "a\0b\n\N{GRINNING FACE}\u2028 \\ \x1b[31m"
        story = after(CREATED, change("CREATE", "DECISION", "D-1", {"title": text}))
        assert text == story.decisions["D-1"].title

    def test_faults_in_order(self) -> None:
        """What is wrong with the request as such comes before what is wrong with the moment."""
        assert list(Fault) == [Fault.INVALID, Fault.NOT_FOUND, Fault.PRECONDITION, Fault.LATE]
