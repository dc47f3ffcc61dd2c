"""Which story a plan belongs to: an index over all stories, made anew in memory at each start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projections import Projection

from context_service.events.v1 import events_pb2 as pb
from context_service.story import CATEGORY

if TYPE_CHECKING:
    from projections import Batch
    from projections.memory import Draft, MemoryModel


def _index(tx: Draft, batch: Batch) -> None:
    for commit in batch:
        for event in commit.events:
            message = event.message
            if isinstance(message, pb.PlanVersionAddedEvent):
                # A plan is the story's that had it first, as in the graph.
                tx.setdefault(batch.name(f"plan:{message.plan_id}"), commit.stream.id)
            elif isinstance(message, pb.PlanVersionRemovedEvent):
                key = batch.name(f"plan:{message.plan_id}")
                if tx.get(key) == commit.stream.id:
                    del tx[key]


PLANS: Final = Projection(
    "plans",
    _index,
    owns=("plan:*",),
    categories=[CATEGORY],
    # The rest of a log is not even decoded.
    types=[cls.DESCRIPTOR.full_name for cls in (pb.PlanVersionAddedEvent, pb.PlanVersionRemovedEvent)],
)


def story_of_plan(model: MemoryModel, plan_id: str) -> str | None:
    """Return the story of a plan, None while none is known."""
    found: str | None = model.view.get(f"plan:{plan_id}")
    return found
