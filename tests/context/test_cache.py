"""The planning cache: the shapes that others read, equal to the stories, whatever was there before."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from context_service.cache import ToMemory, planning_cache
from context_service.events.v1 import events_pb2 as pb
from eventstore import ANY, StreamId
from projections import Batching, rebuild, reset, run, wait_for
from projections.memory import MemoryModel

if TYPE_CHECKING:
    from context_service.stories import Stories
    from google.protobuf.message import Message

S1 = StreamId("story", "S-1")


def at(seconds: int) -> Any:
    return pb.MilestoneReachedEvent(at={"seconds": seconds}).at


NEWS: list[list[Message]] = [
    [
        pb.ContextCreatedEvent(
            title="Log in",
            description="With a password",
            acceptance_criteria=["fast"],
            constraints={"db": "none"},
            tags=["auth"],
            created_by="ann",
            created_at=at(1),
            phase="DESIGN",
        )
    ],
    [pb.PlanVersionAddedEvent(plan_id="P1", version=1, author="ann", rationale="first", created_at=at(2))],
    [
        pb.SubtaskAddedEvent(
            subtask_id="T1",
            plan_id="P1",
            title="Form",
            role="developer",
            status="todo",
            priority=1,
            estimate=3.0,
            attributes={"suggested_tech": '["html"]', "risk_score": "0.5", "notes": '"easy"'},
        ),
        pb.SubtaskAddedEvent(subtask_id="T2", plan_id="P1", title="Table", depends_on=["T1"], status="todo"),
    ],
    [pb.MilestoneReachedEvent(milestone_id="M1", event_type="approve_plan", description="ok", actor="bob", at=at(3))],
    [pb.MilestoneReachedEvent(milestone_id="M2", event_type="human_edit", actor="ann", at=at(2))],
    [pb.SummaryRecordedEvent(role="qa", text="all green", at=at(4))],
    [pb.StoryChangedEvent(title="Log in twice")],
]


async def cached(stories: Stories, model: MemoryModel, *, commits: int = 1_000) -> dict[str, Any]:
    projection = planning_cache(stories, ToMemory)
    task = asyncio.create_task(run(projection, stories.store, model, batching=Batching(commits=commits)))
    try:
        await wait_for(projection, model, await stories.store.head(), timeout=5)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return dict(model.view)


async def test_shapes(stories: Stories) -> None:
    """Each key has the shape that its readers rely on."""
    for news in NEWS:
        await stories.store.append(S1, news, expected=ANY)
    view = await cached(stories, MemoryModel())
    assert json.loads(view["swe:case:S-1:spec"]) == {
        "case_id": "S-1",
        "title": "Log in twice",
        "description": "With a password",
        "acceptance_criteria": ["fast"],
        "constraints": {"db": "none"},
        "requester_id": "ann",
        "tags": ["auth"],
        "created_at_ms": 1_000,
    }
    draft = json.loads(view["swe:case:S-1:planning:draft"])
    subtasks = draft.pop("subtasks")
    assert draft == {
        "plan_id": "P1",
        "case_id": "S-1",
        "version": 1,
        "status": "DRAFT",
        "author_id": "ann",
        "rationale": "first",
        "created_at_ms": 2_000,
    }
    assert subtasks[0] == {
        "subtask_id": "T1",
        "title": "Form",
        "role": "developer",
        "description": "",
        "suggested_tech": ["html"],
        "depends_on": [],
        "estimate_points": 3.0,
        "priority": 1,
        "risk_score": 0.5,
        "notes": "easy",
    }
    assert [(task["subtask_id"], task["depends_on"]) for task in subtasks] == [("T1", []), ("T2", ["T1"])]
    assert view["swe:case:S-1:summaries:last"] == "all green"
    entries = view["swe:case:S-1:planning:stream"]
    assert [(fields["event"], fields["actor"], fields["ts"]) for _, fields in entries] == [
        ("approve_plan", "bob", "3000"),
        ("human_edit", "ann", "2000"),
    ]
    assert len(view) == 4


async def test_batches(stories: Stories) -> None:
    """The cache does not depend on how the log is cut, and a rebuild and an emptied cache bring all of it back."""
    for news in NEWS:
        await stories.store.append(S1, news, expected=ANY)
    model = MemoryModel()
    view = await cached(stories, model)
    assert await cached(stories, MemoryModel(), commits=1) == view
    projection = planning_cache(stories, ToMemory)
    assert not (await rebuild(projection, stories.store, model)).difference
    model.view.clear()
    await reset(projection, stories.store, model)
    assert await cached(stories, model, commits=2) == view
