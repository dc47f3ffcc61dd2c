"""The calls that write, each as a command: what they say in fields of their own becomes changes of a story."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from context_service.changes import summary_role
from context_service.commands import (
    Change,
    DecisionPayload,
    Fault,
    PhasePayload,
    Refused,
    StoryPayload,
    SubtaskPayload,
    UpdateStory,
    Violation,
)
from context_service.history import alternatives_in
from context_service.past import Subject, concerned, event_type_of
from context_service.redaction import redact_certain
from context_service.v1 import context_pb2 as pb
from context_service.words import id_problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from eventstore import Handled

    from context_service.story import Story

# Ids made of a key are of this name space; any fixed one would do.
_DECISIONS: Final = uuid.UUID("6f0d7a4e-3c1b-4f5e-9a57-2f8f1b0c6d21")


class Asking(NamedTuple):
    """Who asks and when."""

    actor: str
    at: datetime


def create_story(request: pb.CreateStoryRequest, asking: Asking) -> UpdateStory:
    """Return the command to create a story."""
    payload = StoryPayload(
        title=redact_certain(request.title),
        description=redact_certain(request.description),
        phase=request.initial_phase,
    )
    return _asked(request.story_id, asking, Change("", "CREATE", "CASE", "", payload, {}, request.reason))


def create_task(request: pb.CreateTaskRequest, asking: Asking) -> UpdateStory:
    """Return the command to create a task."""
    if problem := id_problem(request.task_id):
        raise Refused([Violation(Fault.INVALID, "task_id", problem)])
    payload = SubtaskPayload(
        title=redact_certain(request.title),
        description=redact_certain(request.description),
        role=redact_certain(request.role),
        dependencies=tuple(request.dependencies),
        priority=request.priority,
        estimate=float(request.estimated_hours),
    )
    change = Change("", "CREATE", "SUBTASK", request.task_id, payload, {}, request.reason)
    return _asked(request.story_id, asking, change)


def add_decision(request: pb.AddProjectDecisionRequest, asking: Asking) -> UpdateStory:
    """Return the command to add a decision, whose id comes of the idempotency key where there is one."""
    if not request.title and not request.rationale:
        raise Refused([Violation(Fault.INVALID, "title", "expected a title or a rationale, got neither")])
    payload = DecisionPayload(
        title=redact_certain(request.title),
        rationale=redact_certain(request.rationale),
        kind=redact_certain(request.decision_type),
        alternatives=tuple(alternatives_in(redact_certain(request.alternatives_considered))),
    )
    key = request.idempotency_key
    made = uuid.uuid5(_DECISIONS, f"{request.story_id}\x1f{key}") if key else uuid.uuid4()
    more = {
        redact_certain(name): json.dumps(redact_certain(text), ensure_ascii=False)
        for name, text in request.metadata.items()
    }
    return _asked(
        request.story_id, asking, Change("", "CREATE", "DECISION", f"D-{made}", payload, more, request.reason)
    )


def transition(request: pb.TransitionPhaseRequest, asking: Asking) -> UpdateStory:
    """Return the command to take a story from phase to phase."""
    payload = PhasePayload(
        from_phase=request.from_phase, to_phase=request.to_phase, rationale=redact_certain(request.rationale)
    )
    return _asked(request.story_id, asking, Change("", "TRANSITION", "CASE", "", payload, {}, request.rationale))


def _asked(story_id: str, asking: Asking, change: Change) -> UpdateStory:
    # What is written down stays for ever.
    kept = msgspec.structs.replace(change, reason=redact_certain(change.reason))
    return UpdateStory(story_id, (kept,), redact_certain(asking.actor), asking.at)


def results(command: UpdateStory, done: Handled[Story]) -> list[pb.ChangeResult]:
    """Return what became of each change: the events about its entity that the command recorded."""
    recorded: defaultdict[Subject, list[pb.EventReference]] = defaultdict(list)
    first = done.version - len(done.events) + 1
    for version, message in enumerate(done.events, first):
        type = event_type_of(message.DESCRIPTOR.full_name)
        reference = pb.EventReference(version=version, position=str(done.token), event_type=type)
        for subject in concerned(message, command.story_id):
            recorded[subject].append(reference)
    return [_result(change, _entity(change, command), recorded) for change in command.changes]


def check_repeated(command: UpdateStory, done: Handled[Story]) -> None:
    """Check that what was carried out before under a command's key is this command.

    Raises:
        Refused: nothing of it is about what this one is about.
    """
    if done.repeated and not any(result.changed for result in results(command, done)):
        problem = "expected a key of its own: it was used for another request on this story"
        raise Refused([Violation(Fault.INVALID, "idempotency_key", problem)])


def _entity(change: Change, command: UpdateStory) -> Subject:
    if change.entity_type == "CASE":
        return Subject("CASE", command.story_id)
    if change.entity_type == "SUMMARY":
        return Subject("SUMMARY", summary_role(change, command))
    return Subject(change.entity_type, change.entity_id)


def _result(change: Change, entity: Subject, recorded: Mapping[Subject, list[pb.EventReference]]) -> pb.ChangeResult:
    events = recorded.get(entity, [])
    return pb.ChangeResult(
        operation=change.operation,
        entity_type=entity.entity_type,
        entity_id=entity.entity_id,
        changed=bool(events),
        events=events,
    )


def named_as_in_request(error: Refused, *, entity_id: str = "story_id", **names: str) -> Refused:
    """Return a refusal that names the fields of a request instead of those of a change."""

    def named(field: str) -> str:
        word = field.removeprefix(".").removeprefix("payload.")
        return names.get(word, entity_id if word == "entity_id" else word)

    return Refused([Violation(v.fault, named(v.field), v.description) for v in error.violations])
