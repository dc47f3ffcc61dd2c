"""The planning cache: each story's spec, plan draft, planning stream and last summary, under the keys that others read.

It holds nothing of its own: each batch writes the stories it touches as they were at its end, folded from the log.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from eventstore import AtVersion
from projections import Projection

from context_service.events.v1 import events_pb2 as pb
from context_service.story import CATEGORY
from context_service.times import millis

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventstore import Commit
    from projections import Batch
    from projections.memory import Draft
    from valkey.asyncio.client import Pipeline

    from context_service.stories import Stories
    from context_service.story import Plan, Story

OWNS: Final = (
    "swe:case:*:spec",
    "swe:case:*:planning:draft",
    "swe:case:*:planning:stream",
    "swe:case:*:summaries:last",
)


class Writes(Protocol):
    """What a story's cache needs of a target."""

    def text(self, key: str, value: str | None) -> None:
        """Set a key, or remove it."""

    def entry(self, key: str, id: str, fields: dict[str, str]) -> None:
        """Add an entry to a stream."""


class ToValkey:
    """Queues writes in a pipeline."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe

    def text(self, key: str, value: str | None) -> None:
        """Set a key, or remove it."""
        if value is None:
            self._pipe.delete(key)
        else:
            self._pipe.set(key, value)

    def entry(self, key: str, id: str, fields: dict[str, str]) -> None:
        """Add an entry to a stream."""
        self._pipe.xadd(key, fields, id=id)


class ToMemory:
    """Writes into a dictionary."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def text(self, key: str, value: str | None) -> None:
        """Set a key, or remove it."""
        if value is None:
            self._draft.pop(key, None)
        else:
            self._draft[key] = value

    def entry(self, key: str, id: str, fields: dict[str, str]) -> None:
        """Add an entry to a stream."""
        self._draft[key] = (*self._draft.get(key, ()), (id, fields))


def planning_cache(stories: Stories, writes: Callable[[Any], Writes]) -> Projection[Any]:
    """Return the projection that keeps the cache of some stories up to date."""

    async def cache(tx: Any, batch: Batch) -> None:
        target = writes(tx)
        last = {commit.stream.id: commit.version for commit in batch}
        for story_id, version in last.items():
            folded = await stories.fold(story_id, AtVersion(version))
            _write_story(target, batch, story_id, folded.state)
        for commit in batch:
            _write_milestones(target, batch, commit)

    return Projection("planning-cache", cache, owns=OWNS, categories=[CATEGORY])


def _write_story(target: Writes, batch: Batch, story_id: str, story: Story) -> None:
    def key(what: str) -> str:
        return batch.name(f"swe:case:{story_id}:{what}")

    plan = max(story.plans.values(), key=lambda plan: plan.order, default=None)
    summary = max(story.summaries.values(), key=lambda summary: (summary.at, summary.role), default=None)
    target.text(key("spec"), _json(_spec(story_id, story)) if story.exists else None)
    target.text(key("planning:draft"), None if plan is None else _json(_draft(story_id, story, plan)))
    target.text(key("summaries:last"), None if summary is None else summary.text)


def _spec(story_id: str, story: Story) -> dict[str, Any]:
    return {
        "case_id": story_id,
        "title": story.title,
        "description": story.description,
        "acceptance_criteria": list(story.acceptance_criteria),
        "constraints": story.constraints,
        "requester_id": story.created_by,
        "tags": list(story.tags),
        "created_at_ms": millis(story.created_at),
    }


def _draft(story_id: str, story: Story, plan: Plan) -> dict[str, Any]:
    subtasks = sorted(story.subtasks.values(), key=lambda subtask: subtask.order)
    return {
        "plan_id": plan.id,
        "case_id": story_id,
        "version": plan.version,
        "status": plan.status,
        "author_id": plan.author,
        "rationale": plan.rationale,
        "created_at_ms": millis(plan.created_at),
        "subtasks": [
            {
                "subtask_id": subtask.id,
                "title": subtask.title,
                "role": subtask.role,
                "description": subtask.description,
                "suggested_tech": _attribute(subtask.attributes, "suggested_tech", []),
                "depends_on": list(subtask.depends_on),
                "estimate_points": subtask.estimate,
                "priority": subtask.priority,
                "risk_score": _attribute(subtask.attributes, "risk_score", 0.0),
                "notes": _attribute(subtask.attributes, "notes", ""),
            }
            for subtask in subtasks
            if subtask.plan_id in {"", plan.id}
        ],
    }


def _write_milestones(target: Writes, batch: Batch, commit: Commit) -> None:
    for event in commit.events:
        message = event.message
        if isinstance(message, pb.MilestoneReachedEvent):
            # The id says where in the log it stands, so that the order is the log's.
            target.entry(
                batch.name(f"swe:case:{commit.stream.id}:planning:stream"),
                f"{commit.position}-{event.version}",
                {
                    "event": message.event_type,
                    "actor": message.actor,
                    "ts": str(message.at.ToMilliseconds()),
                    "payload": _json({"id": message.milestone_id, "description": message.description}),
                },
            )


def _attribute(attributes: dict[str, str], name: str, default: Any) -> Any:
    return json.loads(attributes[name]) if name in attributes else default


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
