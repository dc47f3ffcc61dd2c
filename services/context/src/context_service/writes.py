"""The calls that write, each as a command: what they say in fields of their own becomes changes of a story."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

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
from context_service.words import id_problem

if TYPE_CHECKING:
    from datetime import datetime

    from context_service.v1 import context_pb2 as pb

# Ids made of a key are of this name space; any fixed one would do.
_DECISIONS: Final = uuid.UUID("6f0d7a4e-3c1b-4f5e-9a57-2f8f1b0c6d21")


class Asking(NamedTuple):
    """Who asks and when."""

    actor: str
    at: datetime


def create_story(request: pb.CreateStoryRequest, asking: Asking) -> UpdateStory:
    """Return the command to create a story."""
    payload = StoryPayload(title=request.title, description=request.description, phase=request.initial_phase)
    return _asked(request.story_id, asking, Change("", "CREATE", "CASE", "", payload, {}, request.reason))


def create_task(request: pb.CreateTaskRequest, asking: Asking) -> UpdateStory:
    """Return the command to create a task."""
    if problem := id_problem(request.task_id):
        raise Refused([Violation(Fault.INVALID, "task_id", problem)])
    payload = SubtaskPayload(
        title=request.title,
        description=request.description,
        role=request.role,
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
        title=request.title,
        rationale=request.rationale,
        kind=request.decision_type,
        alternatives=tuple(alternatives_in(request.alternatives_considered)),
    )
    key = request.idempotency_key
    made = uuid.uuid5(_DECISIONS, f"{request.story_id}\x1f{key}") if key else uuid.uuid4()
    more = {name: json.dumps(text, ensure_ascii=False) for name, text in request.metadata.items()}
    return _asked(
        request.story_id, asking, Change("", "CREATE", "DECISION", f"D-{made}", payload, more, request.reason)
    )


def transition(request: pb.TransitionPhaseRequest, asking: Asking) -> UpdateStory:
    """Return the command to take a story from phase to phase."""
    payload = PhasePayload(from_phase=request.from_phase, to_phase=request.to_phase, rationale=request.rationale)
    return _asked(request.story_id, asking, Change("", "TRANSITION", "CASE", "", payload, {}, request.rationale))


def _asked(story_id: str, asking: Asking, change: Change) -> UpdateStory:
    return UpdateStory(story_id, (change,), asking.actor, asking.at)


def named_as_in_request(error: Refused, *, entity_id: str = "story_id", **names: str) -> Refused:
    """Return a refusal that names the fields of a request instead of those of a change."""

    def named(field: str) -> str:
        word = field.removeprefix(".").removeprefix("payload.")
        return names.get(word, entity_id if word == "entity_id" else word)

    return Refused([Violation(v.fault, named(v.field), v.description) for v in error.violations])
