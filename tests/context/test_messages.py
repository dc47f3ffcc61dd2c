"""What messages mean, subject by subject, without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from context_service.commands import (
    ApprovalPayload,
    Change,
    DecisionPayload,
    DispatchPayload,
    EpicPayload,
    PhasePayload,
    Refused,
    SubtaskPayload,
    UpdateStory,
)
from context_service.messages import (
    EVENT_ID,
    SUBJECTS,
    Announcement,
    Incoming,
    OfPlan,
    Wanted,
    durable_of,
    event_id_of,
    wanted,
)
from context_service.portfolio import Announced
from context_service.v1 import context_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

STORED: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
THEN: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)

#: What each subject's messages have at least, and what they may have, of which none may be of another type.
FULL: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "context.update.request": (
        {"story_id": "S-1", "changes": [{"operation": "CREATE", "entity_type": "DECISION", "entity_id": "D-1"}]},
        {"task_id": "T-1", "role": "DEV", "timestamp": "2025-06-01T12:00:00Z"},
    ),
    "context.rehydrate.request": (
        {"case_id": "S-1"},
        {"roles": ["DEV"], "include_timeline": True, "include_summaries": True, "timeline_events": 9},
    ),
    "planning.story.transitioned": (
        {"story_id": "S-1", "from_phase": "DESIGN", "to_phase": "BUILD"},
        {"timestamp": "2025-06-01T12:00:00Z"},
    ),
    "planning.plan.approved": (
        {"story_id": "S-1", "plan_id": "P-1", "approved_by": "ann"},
        {"timestamp": "2025-06-01T12:00:00Z"},
    ),
    "planning.project.created": (
        {"project_id": "PR-1", "name": "Shöp"},
        {"description": "d", "status": "active", "owner": "ann", "created_at_ms": 1_748_779_200_000},
    ),
    "planning.epic.created": (
        {"epic_id": "E-1", "project_id": "PR-1", "title": "Üsers"},
        {"description": "d", "status": "planning", "created_at_ms": 1_748_779_200_000},
    ),
    "planning.story.created": ({"story_id": "S-1", "epic_id": "E-1", "name": "Log in 🔑"}, {}),
    "planning.task.created": (
        {"task_id": "T-1", "plan_id": "P-1", "title": "Form"},
        {"type": "feature", "status": "TODO"},
    ),
    "orchestration.deliberation.completed": (
        {"story_id": "S-1", "decisions": [{"rationale": "simple"}]},
        {"task_id": "T-1", "timestamp": "2025-06-01T12:00:00Z"},
    ),
    "orchestration.task.dispatched": (
        {"story_id": "S-1", "task_id": "T-1", "agent_id": "a-1"},
        {"role": "DEV", "timestamp": "2025-06-01T12:00:00Z"},
    ),
}


def incoming(subject: str, body: Any, **headers: str) -> Incoming:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Incoming(subject, data, headers, "STREAM", 7, STORED)


def said(subject: str, **more: Any) -> Wanted:
    """Return what a message with all there may be wants."""
    least, rest = FULL[subject]
    return wanted(incoming(subject, {"event_id": "e-1", **least, **rest, **more}))


def change(subject: str, operation: str, entity_type: str, entity_id: str, payload: Any, **more: Any) -> Change:
    given = {"field": "body", "attributes": {}, "reason": f"{subject} e-1", **more}
    return Change(operation=operation, entity_type=entity_type, entity_id=entity_id, payload=payload, **given)


def test_all_subjects() -> None:
    """There is a row for each of the ten subjects, each with a durable name of its own."""
    assert FULL.keys() == SUBJECTS.keys()
    assert len({durable_of(subject) for subject in SUBJECTS}) == 10
    assert durable_of("planning.story.created") == "context-planning-story-created"
    assert durable_of("context.update.request") == "context-update-request"


MEANS: Final[dict[str, Any]] = {
    "planning.story.transitioned": UpdateStory(
        "S-1",
        (
            change(
                "planning.story.transitioned",
                *("TRANSITION", "CASE", ""),
                PhasePayload(from_phase="DESIGN", to_phase="BUILD"),
            ),
        ),
        "planning",
        THEN,
    ),
    "planning.plan.approved": UpdateStory(
        "S-1",
        (change("planning.plan.approved", "APPROVE", "PLAN", "P-1", ApprovalPayload(approved_by="ann")),),
        "ann",
        THEN,
    ),
    "planning.project.created": Announcement(
        "project",
        "PR-1",
        Announced(
            fields={"name": "Shöp", "description": "d", "status": "active", "owner": "ann"},
            at=THEN,
            reason="planning.project.created e-1",
        ),
    ),
    "planning.epic.created": Announcement(
        "epic",
        "E-1",
        Announced(
            fields={"project_id": "PR-1", "title": "Üsers", "description": "d", "status": "planning"},
            at=THEN,
            reason="planning.epic.created e-1",
        ),
    ),
    "planning.story.created": UpdateStory(
        "S-1",
        (change("planning.story.created", "PLACE", "CASE", "", EpicPayload(epic_id="E-1", title="Log in 🔑")),),
        "planning",
        STORED,
    ),
    "planning.task.created": OfPlan(
        "P-1",
        UpdateStory(
            "",
            (
                change(
                    "planning.task.created",
                    *("CREATE", "SUBTASK", "T-1"),
                    SubtaskPayload(title="Form", type="feature", status="TODO", plan_id="P-1"),
                ),
            ),
            "planning",
            STORED,
        ),
    ),
    "orchestration.task.dispatched": UpdateStory(
        "S-1",
        (
            change(
                "orchestration.task.dispatched",
                *("DISPATCH", "SUBTASK", "T-1"),
                DispatchPayload(agent_id="a-1", role="DEV"),
            ),
        ),
        "a-1",
        THEN,
    ),
    "context.rehydrate.request": pb.RehydrateSessionRequest(
        case_id="S-1", roles=["DEV"], include_timeline=True, include_summaries=True, timeline_events=9
    ),
    "context.update.request": UpdateStory(
        "S-1",
        (Change("changes[0]", "CREATE", "DECISION", "D-1", DecisionPayload(), {}, ""),),
        "developer",
        THEN,
        "T-1",
    ),
}


@pytest.mark.parametrize("subject", MEANS)
def test_means(subject: str) -> None:
    """A message means what its subject's row says."""
    want = said(subject)
    assert want.command == MEANS[subject]
    assert want.idempotency_key == f"{subject}:e-1"
    assert want.warnings == ()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_who_and_why(subject: str) -> None:
    """Each message names who, a cause and a correlation, and when it says so the time at which it happened."""
    want = said(subject)
    assert want.metadata.actor
    assert want.metadata.causation_id == (getattr(want.command, "task_id", "") or "e-1")
    assert want.metadata.correlation_id == "e-1"
    speaks = {"timestamp", "created_at_ms"} & FULL[subject][1].keys()
    assert want.occurred_at == (THEN if speaks else None)
    assert said(subject, correlation_id="c-1").metadata.correlation_id == "c-1"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_least(subject: str) -> None:
    """What a message must have is enough, and null says as little as nothing."""
    least, rest = FULL[subject]
    assert wanted(incoming(subject, least)).occurred_at is None
    optional = {key: None for key in rest if key not in {"roles", "include_timeline", "include_summaries"}}
    optional.pop("timeline_events", None)
    assert wanted(incoming(subject, least | optional)) == wanted(incoming(subject, least))


@pytest.mark.parametrize(("subject", "key"), [(subject, key) for subject in FULL for key in FULL[subject][0]])
def test_missing(subject: str, key: str) -> None:
    """A message without something it must have is refused, and the key named."""
    least, _ = FULL[subject]
    with pytest.raises(Refused) as refused:
        wanted(incoming(subject, {name: value for name, value in least.items() if name != key}))
    assert key in str(refused.value)


@pytest.mark.parametrize(
    ("subject", "key"), [(subject, key) for subject in FULL for key in FULL[subject][0] | FULL[subject][1]]
)
def test_wrong_type(subject: str, key: str) -> None:
    """A value of another type is refused, and named."""
    least, rest = FULL[subject]
    for wrong in ({"a": 1}, [1], 1.5):
        with pytest.raises(Refused, match=rf"^body\.{key}"):
            wanted(incoming(subject, least | rest | {key: wrong}))


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"story_id": "\\ud800"}', b"[" * 100_000, b'{"a": NaN}']
)
def test_no_json(subject: str, body: bytes) -> None:
    """What is no JSON object of text is refused, whatever the subject; where it lies is its id."""
    with pytest.raises(Refused, match=r"^body"):
        wanted(incoming(subject, body))
    assert event_id_of(incoming(subject, body)) == "STREAM:7"


@given(
    st.sampled_from(sorted(SUBJECTS)),
    st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode),
)
def test_anything(subject: str, body: bytes) -> None:
    """Whatever comes, it is understood or refused."""
    with pytest.raises(Refused):
        wanted(incoming(subject, body))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_unknown_keys(subject: str) -> None:
    """Keys that mean nothing are named in warnings; ids among them are not even that, and change nothing."""
    want = said(subject, colour={"a": ["b"]}, id="other", event_type="x")
    assert want.warnings == ("colour: not a known key",)
    command = want.command.command if isinstance(want.command, OfPlan) else want.command
    if subject in {"planning.story.created", "planning.task.created"}:
        assert isinstance(command, UpdateStory)
        assert command.changes[0].attributes == {"colour": '{"a": ["b"]}'}
    else:
        assert want.command == said(subject).command


@pytest.mark.parametrize(
    ("subject", "key", "value", "field"),
    [
        ("planning.plan.approved", "timestamp", "yesterday", "timestamp"),
        ("planning.plan.approved", "plan_id", "", "plan_id"),
        ("planning.task.created", "plan_id", "x" * 256, "plan_id"),
        ("planning.task.created", "task_id", "a\x00b", "task_id"),
        ("planning.story.created", "epic_id", "", "epic_id"),
        ("planning.epic.created", "project_id", "", "project_id"),
        ("planning.project.created", "created_at_ms", 10**18, "created_at_ms"),
        ("orchestration.task.dispatched", "task_id", "", "task_id"),
        ("orchestration.deliberation.completed", "decisions", [], "decisions"),
        ("orchestration.deliberation.completed", "decisions", [{"id": "x" * 300}], "decisions[0].id"),
        ("context.update.request", "role", "boss", "role"),
        ("context.rehydrate.request", "ttl_seconds", 2**40, "timeline_events"),
    ],
)
def test_wrong_values(subject: str, key: str, value: Any, field: str) -> None:
    """A value that nothing can be made of is refused, and named."""
    with pytest.raises(Refused) as refused:
        said(subject, **{key: value})
    assert [violation.field for violation in refused.value.violations] == [f"body.{field}"]


def test_payloads() -> None:
    """The payload of a change may be an object, or JSON as in the call; both mean the same, and errors are alike."""
    asked = {"operation": "create", "entity_type": "decision", "entity_id": "D-1"}
    one, two = (
        said("context.update.request", changes=[{**asked, "payload": payload}])
        for payload in ({"title": "Tïtle", "more": 1}, '{"title": "Tïtle", "more": 1}')
    )
    assert isinstance(one.command, UpdateStory)
    assert one.command.changes[0].payload == DecisionPayload(title="Tïtle")
    assert one.command == two.command
    assert one.warnings == ("changes[0].payload.more: not a known key, kept as an attribute",)
    with pytest.raises(Refused, match=r"changes\[0\]\.payload\.title: Expected `str \| null`, got `int`"):
        said("context.update.request", changes=[{**asked, "payload": {"title": 1}}])


def test_deliberation() -> None:
    """Each decision has its kind, its rationale and its subtask; one without an id has the same whenever it comes."""
    decisions = [
        {"id": "D-1", "type": "architecture", "rationale": "r", "affected_subtask": "T-9"},
        {},
        {"affected_subtask": ""},
    ]
    command = said("orchestration.deliberation.completed", decisions=decisions).command
    assert isinstance(command, UpdateStory)
    assert (command.actor, command.task_id, command.at) == ("orchestration", "T-1", THEN)
    assert command.changes[0] == change(
        "orchestration.deliberation.completed",
        *("CREATE", "DECISION", "D-1"),
        DecisionPayload(kind="architecture", rationale="r", affects=("T-9",)),
        field="body.decisions[0]",
    )
    assert command.changes[1].payload == command.changes[2].payload == DecisionPayload()
    made = [change.entity_id for change in command.changes[1:]]
    again = said("orchestration.deliberation.completed", decisions=decisions).command
    other = said("orchestration.deliberation.completed", decisions=decisions, event_id="e-2").command
    assert isinstance(again, UpdateStory)
    assert isinstance(other, UpdateStory)
    assert made == [change.entity_id for change in again.changes[1:]]
    assert len({*made, *(change.entity_id for change in other.changes[1:])}) == 4


def test_ids() -> None:
    """The id is the body's, else that of a replay, of CloudEvents or of NATS, however the headers are spelled."""
    subject = "planning.story.created"
    everywhere = {"Nats-Msg-Id": "n", "Ce-Id": "c", EVENT_ID.lower(): "r"}
    assert event_id_of(incoming(subject, {"event_id": "b"}, **everywhere)) == "b"
    assert event_id_of(incoming(subject, {}, **everywhere)) == "r"
    assert event_id_of(incoming(subject, {"event_id": ""}, **{"Ce-Id": "c", "Nats-Msg-Id": "n"})) == "c"
    assert event_id_of(incoming(subject, {"event_id": None}, **{"Nats-Msg-Id": "n"})) == "n"
    assert event_id_of(incoming(subject, {"event_id": 5})) == "STREAM:7"


def test_traces() -> None:
    """A message's trace and correlation go into the log."""
    headers = {"traceparent": "00-1", "tracestate": "a=b", "X-Correlation-Id": "c-9"}
    found = wanted(incoming("planning.story.created", FULL["planning.story.created"][0], **headers)).metadata
    assert (found.traceparent, found.tracestate, found.correlation_id) == ("00-1", "a=b", "c-9")
