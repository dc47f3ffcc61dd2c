"""What comes in over NATS: from a subject and a JSON body to what is wanted, without looking at any story."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from uuid import NAMESPACE_URL, uuid5

import msgspec
from eventstore import Metadata

from context_service.commands import (
    ApprovalPayload,
    Change,
    DecisionPayload,
    DispatchPayload,
    EpicPayload,
    Fault,
    PhasePayload,
    Refused,
    SubtaskPayload,
    UpdateStory,
    Violation,
    parse_changes,
)
from context_service.graph import EPIC, PROJECT
from context_service.portfolio import Announced
from context_service.redaction import redact_certain
from context_service.times import EPOCH, parse_moment
from context_service.v1 import context_pb2
from context_service.words import ROLES, id_problem, role_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Carries the event's id where the body has none; a replayed dead letter has it.
EVENT_ID: Final = "Context-Event-Id"
_ID_HEADERS: Final = (EVENT_ID, "ce-id", "Nats-Msg-Id")
# Identity is never taken from what is kept as an attribute.
_NO_ATTRIBUTES: Final = frozenset({"event_id", "id", "story_id", "case_id", "event_type", "timestamp"})
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Incoming(NamedTuple):
    """A message as it lies in its JetStream stream."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    stream: str
    sequence: int
    #: When the stream took it.
    stored_at: datetime


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a body may have whatever its subject."""

    event_id: str | None = None
    timestamp: str | None = None
    correlation_id: str | None = None


class ChangeAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A change as in the RPC, whose payload may be an object too."""

    operation: str
    entity_type: str
    entity_id: str = ""
    payload: str | dict[str, Any] | None = None
    reason: str = ""


class UpdateAsked(Shape, frozen=True, kw_only=True):
    """Of ``context.update.request``."""

    story_id: str
    task_id: str | None = None
    role: str | None = None
    changes: tuple[ChangeAsked, ...]


class RehydrateAsked(Shape, frozen=True, kw_only=True):
    """Of ``context.rehydrate.request``."""

    case_id: str
    roles: tuple[str, ...] = ()
    include_timeline: bool = False
    include_summaries: bool = False
    timeline_events: int = 0
    persist_bundle: bool = False
    ttl_seconds: int = 0


class DecisionMade(msgspec.Struct, frozen=True, kw_only=True):
    """One of a deliberation."""

    id: str | None = None
    type: str | None = None
    rationale: str | None = None
    affected_subtask: str | None = None


class DeliberationCompleted(Shape, frozen=True, kw_only=True):
    """Of ``orchestration.deliberation.completed``."""

    story_id: str
    task_id: str | None = None
    decisions: tuple[DecisionMade, ...]


class TaskDispatched(Shape, frozen=True, kw_only=True):
    """Of ``orchestration.task.dispatched``."""

    story_id: str
    task_id: str
    agent_id: str
    role: str | None = None


class StoryTransitioned(Shape, frozen=True, kw_only=True):
    """Of ``planning.story.transitioned``."""

    story_id: str
    from_phase: str
    to_phase: str


class PlanApproved(Shape, frozen=True, kw_only=True):
    """Of ``planning.plan.approved``."""

    story_id: str
    plan_id: str
    approved_by: str


class ProjectCreated(Shape, frozen=True, kw_only=True):
    """Of ``planning.project.created``."""

    project_id: str
    name: str
    description: str | None = None
    status: str | None = None
    owner: str | None = None
    created_at_ms: int | None = None


class EpicCreated(Shape, frozen=True, kw_only=True):
    """Of ``planning.epic.created``."""

    epic_id: str
    project_id: str
    title: str
    description: str | None = None
    status: str | None = None
    created_at_ms: int | None = None


class StoryCreated(Shape, frozen=True, kw_only=True):
    """Of ``planning.story.created``."""

    story_id: str
    epic_id: str
    name: str


class TaskCreated(Shape, frozen=True, kw_only=True):
    """Of ``planning.task.created``."""

    task_id: str
    plan_id: str
    title: str
    type: str | None = None
    status: str | None = None


class Said(NamedTuple):
    """What a translation knows beside the body."""

    subject: str
    #: Of the event; messages with one id are one.
    event_id: str
    #: Who says so, where nobody is named.
    sender: str
    #: When it happened.
    at: datetime
    #: Why it is recorded.
    reason: str
    #: Keys beyond those of the shape, as JSON text.
    attributes: dict[str, str]
    warnings: list[str]


class OfPlan(NamedTuple):
    """Changes of the story that a plan belongs to."""

    plan_id: str
    command: UpdateStory


class Announcement(NamedTuple):
    """What is said of a project or an epic."""

    category: str
    id: str
    announced: Announced


Command: TypeAlias = UpdateStory | OfPlan | Announcement | context_pb2.RehydrateSessionRequest


class Wanted(NamedTuple):
    """What a message wants, and under which name it is carried out once."""

    command: Command
    event_id: str
    idempotency_key: str
    metadata: Metadata
    #: None where the message does not say.
    occurred_at: datetime | None
    warnings: tuple[str, ...]


class Subject(NamedTuple):
    """What one subject's messages look like, and what they mean."""

    shape: type[Shape]
    #: Whose words they are, where nobody is named.
    sender: str
    translate: Callable[[Any, Said], Command]
    #: Where the outcome is answered.
    answer: str = ""


def durable_of(subject: str) -> str:
    """Return the name of a subject's consumer, which no other subject has."""
    return f"context-{subject.removeprefix('context.').replace('.', '-')}"


def wanted(message: Incoming) -> Wanted:
    """Return what a message wants.

    Raises:
        Refused: its body is not as its subject's shape says.
    """
    subject = SUBJECTS[message.subject]
    kept = _without_secrets(message.body)
    body, extra = _decoded(kept, subject.shape)
    event_id = event_id_of(message)
    shown_id = redact_certain(event_id)
    occurred_at = _moment_of(body)
    attributes = {key: bytes(raw).decode() for key, raw in extra.items() if key not in _NO_ATTRIBUTES}
    said = Said(
        message.subject,
        event_id,
        subject.sender,
        occurred_at or message.stored_at,
        f"{message.subject} {shown_id}",
        attributes,
        [f"{key}: not a known key" for key in attributes],
    )
    if kept != message.body:
        said.warnings.append("body: a secret was removed")
    command = subject.translate(body, said)
    return Wanted(
        command,
        event_id,
        f"{message.subject}:{event_id}",
        Metadata(
            actor=_actor(command, subject.sender),
            causation_id=(command.task_id if isinstance(command, UpdateStory) else "") or shown_id,
            correlation_id=body.correlation_id or redact_certain(_header(message, "x-correlation-id")) or shown_id,
            traceparent=_header(message, "traceparent"),
            tracestate=_header(message, "tracestate"),
        ),
        occurred_at,
        tuple(said.warnings),
    )


def event_id_of(message: Incoming) -> str:
    """Return the id under which a message is handled once: what it says, else where it lies."""
    headers = (_header(message, name) for name in _ID_HEADERS)
    return id_in(message.body) or next(filter(None, headers), "") or f"{message.stream}:{message.sequence}"


def id_in(body: bytes) -> str:
    """Return the event's id that a body says, nothing when it says none."""
    try:
        return msgspec.json.decode(body, type=Shape).event_id or ""
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


def _without_secrets(body: bytes) -> bytes:
    """Return a body as it may be recorded, for ever."""
    try:
        return redact_certain(body.decode()).encode()
    except UnicodeDecodeError:
        return body  # and is refused


def _header(message: Incoming, name: str) -> str:
    # NATS keeps the case in which a header is written, people do not.
    return next((value for key, value in message.headers.items() if key.lower() == name.lower()), "")


def _decoded(body: bytes, shape: type[Shape]) -> tuple[Shape, dict[str, msgspec.Raw]]:
    try:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        decoded = msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        problem, _, place = str(error).partition(" - at `$")
        if _SURROGATE.search(body):
            problem += "; half of a surrogate pair is no text"
        raise Refused([Violation(Fault.INVALID, f"body{place.rstrip('`')}", problem)]) from None
    return decoded, {key: raw for key, raw in found.items() if key not in shape.__struct_fields__}


def _moment_of(body: Any) -> datetime | None:
    created_at_ms = getattr(body, "created_at_ms", None)
    try:
        if created_at_ms is not None:
            return EPOCH + timedelta(milliseconds=created_at_ms)
        return parse_moment(body.timestamp) if body.timestamp else None
    except OverflowError:
        raise _invalid("created_at_ms", f"expected milliseconds since 1970, got {created_at_ms}") from None
    except ValueError as error:
        raise _invalid("timestamp", str(error)) from None


def _actor(command: Command, sender: str) -> str:
    return command.actor if isinstance(command, UpdateStory) else sender


def _invalid(field: str, description: str) -> Refused:
    return Refused([Violation(Fault.INVALID, f"body.{field}", description)])


def _checked(field: str, id: str) -> str:
    if problem := id_problem(id):
        raise _invalid(field, problem)
    return id


def _role(text: str | None) -> str:
    role = role_named(text) if text else ""
    if role is None:
        raise _invalid("role", f"expected one of {', '.join(ROLES)}; got {text!r}")
    return role


def _change(
    said: Said,
    operation: str,
    entity_type: str,
    entity_id: str,
    payload: Any,
    *,
    field: str = "body",
    attributes: dict[str, str] | None = None,
) -> Change:
    return Change(field, operation, entity_type, entity_id, payload, attributes or {}, said.reason)


# ------------------------------------------------------------------------------------------- one function a subject


def _update(body: UpdateAsked, said: Said) -> UpdateStory:
    changes, warnings = parse_changes(
        context_pb2.ContextChange(
            operation=change.operation,
            entity_type=change.entity_type,
            entity_id=change.entity_id,
            payload=_payload_text(change.payload),
            reason=change.reason,
        )
        for change in body.changes
    )
    said.warnings.extend(warnings)
    return UpdateStory(body.story_id, changes, _role(body.role) or said.sender, said.at, body.task_id or "")


def _payload_text(payload: str | dict[str, Any] | None) -> str:
    return payload or "" if isinstance(payload, str | None) else msgspec.json.encode(payload).decode()


def _rehydrate(body: RehydrateAsked, said: Said) -> context_pb2.RehydrateSessionRequest:
    given = {
        name: getattr(body, name) for name in RehydrateAsked.__struct_fields__ if name not in Shape.__struct_fields__
    }
    try:
        return context_pb2.RehydrateSessionRequest(**given)
    except ValueError as error:  # a number that is no int32
        raise _invalid("timeline_events", str(error)) from None


def _deliberated(body: DeliberationCompleted, said: Said) -> UpdateStory:
    if not body.decisions:
        raise _invalid("decisions", "expected at least one decision, got none")
    changes = [_decision(made, said, f"decisions[{number}]", number) for number, made in enumerate(body.decisions)]
    return UpdateStory(body.story_id, tuple(changes), said.sender, said.at, body.task_id or "")


def _decision(made: DecisionMade, said: Said, field: str, number: int) -> Change:
    # The same one whenever the message comes again.
    id = made.id or f"D-{uuid5(NAMESPACE_URL, f'{said.subject}:{said.event_id}:{number}')}"
    affects = (made.affected_subtask,) if made.affected_subtask else None
    payload = DecisionPayload(kind=made.type, rationale=made.rationale, affects=affects)
    return _change(said, "CREATE", "DECISION", _checked(f"{field}.id", id), payload, field=f"body.{field}")


def _dispatched(body: TaskDispatched, said: Said) -> UpdateStory:
    payload = DispatchPayload(agent_id=body.agent_id, role=body.role or "")
    change = _change(said, "DISPATCH", "SUBTASK", _checked("task_id", body.task_id), payload)
    return UpdateStory(body.story_id, (change,), body.agent_id, said.at)


def _transitioned(body: StoryTransitioned, said: Said) -> UpdateStory:
    payload = PhasePayload(from_phase=body.from_phase, to_phase=body.to_phase)
    return UpdateStory(body.story_id, (_change(said, "TRANSITION", "CASE", "", payload),), said.sender, said.at)


def _approved(body: PlanApproved, said: Said) -> UpdateStory:
    payload = ApprovalPayload(approved_by=body.approved_by)
    change = _change(said, "APPROVE", "PLAN", _checked("plan_id", body.plan_id), payload)
    return UpdateStory(body.story_id, (change,), body.approved_by, said.at)


def _project(body: ProjectCreated, said: Said) -> Announcement:
    fields = _given(name=body.name, description=body.description, status=body.status, owner=body.owner)
    return Announcement(PROJECT, body.project_id, Announced(fields=fields, at=said.at, reason=said.reason))


def _epic(body: EpicCreated, said: Said) -> Announcement:
    fields = _given(
        project_id=_checked("project_id", body.project_id),
        title=body.title,
        description=body.description,
        status=body.status,
    )
    return Announcement(EPIC, body.epic_id, Announced(fields=fields, at=said.at, reason=said.reason))


def _given(**fields: str | None) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text is not None}


def _story(body: StoryCreated, said: Said) -> UpdateStory:
    payload = EpicPayload(epic_id=_checked("epic_id", body.epic_id), title=body.name)
    change = _change(said, "PLACE", "CASE", "", payload, attributes=said.attributes)
    return UpdateStory(body.story_id, (change,), said.sender, said.at)


def _task(body: TaskCreated, said: Said) -> OfPlan:
    payload = SubtaskPayload(title=body.title, type=body.type, status=body.status, plan_id=body.plan_id)
    id = _checked("task_id", body.task_id)
    change = _change(said, "CREATE", "SUBTASK", id, payload, attributes=said.attributes)
    return OfPlan(_checked("plan_id", body.plan_id), UpdateStory("", (change,), said.sender, said.at))


SUBJECTS: Final[dict[str, Subject]] = {
    "context.update.request": Subject(UpdateAsked, "anonymous", _update, answer="context.update.response"),
    "context.rehydrate.request": Subject(RehydrateAsked, "anonymous", _rehydrate, answer="context.rehydrate.response"),
    "planning.story.transitioned": Subject(StoryTransitioned, "planning", _transitioned),
    "planning.plan.approved": Subject(PlanApproved, "planning", _approved),
    "planning.project.created": Subject(ProjectCreated, "planning", _project),
    "planning.epic.created": Subject(EpicCreated, "planning", _epic),
    "planning.story.created": Subject(StoryCreated, "planning", _story),
    "planning.task.created": Subject(TaskCreated, "planning", _task),
    "orchestration.deliberation.completed": Subject(DeliberationCompleted, "orchestration", _deliberated),
    "orchestration.task.dispatched": Subject(TaskDispatched, "orchestration", _dispatched),
}
