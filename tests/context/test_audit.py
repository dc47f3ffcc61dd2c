"""Every call that writes is told in full: who, why, what led to it. No call is forgotten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service.consuming import Handler
from context_service.messages import SUBJECTS, Incoming
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc
from projections.memory import MemoryModel

if TYPE_CHECKING:
    from context_service.stories import Stories
    from google.protobuf.message import Message

    from tests.context.conftest import Client

SERVICE = pb.DESCRIPTOR.services_by_name["ContextService"]
READS = {
    "DiffContext",
    "ExplainDecision",
    "GetContext",
    "GetContextAtTime",
    "GetContextAtVersion",
    "GetGraphRelationships",
    "GetHistory",
    "GetRehydrationBundle",
    "RehydrateSession",
    "ValidateScope",
    "WatchContext",
}
WHY = "as agreed"
# For each call that writes: a request that does, and the events that it yields.
WRITES: dict[str, tuple[Message, list[str]]] = {
    "UpdateContext": (
        pb.UpdateContextRequest(
            story_id="S-1",
            role="qa",
            task_id="T-7",
            changes=[
                pb.ContextChange(
                    operation=operation, entity_type=kind, entity_id=id, payload=json.dumps(payload), reason=WHY
                )
                for operation, kind, id, payload in [
                    ("UPDATE", "CASE", "", {"title": "New"}),
                    ("CREATE", "PLAN", "P-1", {"status": "APPROVED"}),
                    ("UPDATE", "PLAN", "P-1", {"rationale": "R"}),
                    ("CREATE", "PLAN", "P-2", {}),
                    ("DELETE", "PLAN", "P-2", {}),
                    ("CREATE", "SUBTASK", "T-1", {"title": "T"}),
                    ("UPDATE", "SUBTASK", "T-1", {"status": "done"}),
                    ("DELETE", "SUBTASK", "T-1", {}),
                    ("CREATE", "DECISION", "D-1", {"title": "D", "relates_to": ["D-2"]}),
                    ("UPDATE", "DECISION", "D-1", {"title": "E", "status": "APPROVED", "relates_to": []}),
                    ("DELETE", "DECISION", "D-1", {}),
                    ("CREATE", "MILESTONE", "M-1", {"event_type": "human_edit"}),
                    ("DELETE", "MILESTONE", "M-1", {}),
                    ("CREATE", "SUMMARY", "", {"text": "S"}),
                ]
            ],
        ),
        [
            "StoryChangedEvent",
            "PlanVersionAddedEvent",
            "PlanApprovedEvent",
            "PlanVersionChangedEvent",
            "PlanVersionAddedEvent",
            "PlanVersionRemovedEvent",
            "SubtaskAddedEvent",
            "SubtaskUpdatedEvent",
            "SubtaskRemovedEvent",
            "DecisionAddedEvent",
            "DecisionLinkedEvent",
            "DecisionChangedEvent",
            "DecisionStatusChangedEvent",
            "DecisionUnlinkedEvent",
            "DecisionDeletedEvent",
            "MilestoneReachedEvent",
            "MilestoneRemovedEvent",
            "SummaryRecordedEvent",
        ],
    ),
    "CreateStory": (pb.CreateStoryRequest(story_id="S-2", title="T", actor="qa", reason=WHY), ["ContextCreatedEvent"]),
    "CreateTask": (
        pb.CreateTaskRequest(story_id="S-1", task_id="T-1", actor="qa", reason=WHY),
        ["SubtaskAddedEvent"],
    ),
    "AddProjectDecision": (
        pb.AddProjectDecisionRequest(story_id="S-1", title="T", actor="qa", reason=WHY),
        ["DecisionAddedEvent"],
    ),
    "TransitionPhase": (
        pb.TransitionPhaseRequest(story_id="S-1", from_phase="DESIGN", to_phase="BUILD", actor="qa", rationale=WHY),
        ["PhaseTransitionedEvent"],
    ),
}


def test_no_call_is_forgotten() -> None:
    """Each call of the interface is known as one that writes, or as one that does not."""
    assert {method.name for method in SERVICE.methods} == READS | set(WRITES)
    assert not READS & set(WRITES)


@pytest.fixture
async def made(client: Client) -> Client:
    await client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1", title="Old"))
    return client


@pytest.mark.parametrize("call", WRITES)
async def test_told(made: Client, stories: Stories, call: str) -> None:
    """A call that writes yields its events, each with who asked, why and what led to it, in its commit's metadata."""
    request, events = WRITES[call]
    before = await stories.store.head()
    sent = (("x-correlation-id", "C-1"), ("traceparent", "00-1-2-01"))
    await getattr(made.stub, call)(request, metadata=sent)
    [commit] = [commit async for commit in stories.store.log(after=before)]
    messages: list[Any] = [event.message for event in commit.events]
    assert [type(message).__name__ for message in messages] == events
    assert {message.reason for message in messages} == {WHY}
    told = commit.metadata
    assert (told.actor, told.correlation_id, told.traceparent) == ("qa", "C-1", "00-1-2-01")
    assert told.causation_id == ("T-7" if call == "UpdateContext" else call)


# For each subject: a body, who is told as the actor and what as the cause, and the events that it yields.
MESSAGES: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    "context.update.request": (
        {
            "story_id": "S-1",
            "task_id": "T-7",
            "role": "qa",
            "changes": [{"operation": "CREATE", "entity_type": "SUMMARY", "payload": {"text": "S"}, "reason": WHY}],
        },
        "qa",
        "T-7",
        ["SummaryRecordedEvent"],
    ),
    # It only reads.
    "context.rehydrate.request": ({"case_id": "S-1"}, "", "", []),
    "planning.story.transitioned": (
        {"story_id": "S-1", "from_phase": "DESIGN", "to_phase": "BUILD"},
        "planning",
        "E-1",
        ["PhaseTransitionedEvent"],
    ),
    "planning.plan.approved": (
        {"story_id": "S-1", "plan_id": "P-2", "approved_by": "lead"},
        "lead",
        "E-1",
        ["PlanVersionAddedEvent", "PlanApprovedEvent"],
    ),
    "planning.project.created": ({"project_id": "R-1", "name": "R"}, "planning", "E-1", ["ProjectCreatedEvent"]),
    "planning.epic.created": (
        {"epic_id": "C-1", "project_id": "R-1", "title": "C"},
        "planning",
        "E-1",
        ["EpicCreatedEvent"],
    ),
    "planning.story.created": (
        {"story_id": "S-2", "epic_id": "C-1", "name": "N"},
        "planning",
        "E-1",
        ["ContextCreatedEvent"],
    ),
    "planning.task.created": (
        {"task_id": "T-2", "plan_id": "P-1", "title": "T"},
        "planning",
        "E-1",
        ["SubtaskAddedEvent"],
    ),
    "orchestration.deliberation.completed": (
        {"story_id": "S-1", "task_id": "T-1", "decisions": [{"rationale": "R", "affected_subtask": "T-1"}]},
        "orchestration",
        "T-1",
        ["DecisionAddedEvent", "DecisionLinkedEvent"],
    ),
    "orchestration.task.dispatched": (
        {"story_id": "S-1", "task_id": "T-1", "agent_id": "agent-7"},
        "agent-7",
        "E-1",
        ["SubtaskUpdatedEvent", "TaskDispatchedEvent"],
    ),
}


def test_no_subject_is_forgotten() -> None:
    """Each subject that is taken in is known here."""
    assert set(MESSAGES) == set(SUBJECTS)


@pytest.mark.parametrize("subject", MESSAGES)
async def test_messages_are_told(made: Client, stories: Stories, subject: str) -> None:
    """A message yields its events, each with who said so, why and what led to it, or, where it only asks, none."""
    await made.stub.CreateTask(pb.CreateTaskRequest(story_id="S-1", task_id="T-1"))
    before = await stories.store.head()
    body, actor, cause, events = MESSAGES[subject]
    plans = MemoryModel()
    plans.view["plan:P-1"] = "S-1"

    async def rehydrate(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
        return pb.RehydrateSessionResponse(case_id=request.case_id)

    text = json.dumps(body | {"event_id": "E-1", "correlation_id": "C-1"}).encode()
    message = Incoming(subject, text, {"traceparent": "00-1-2-01"}, "PLANNING", 1, datetime.now(UTC))
    await Handler(stories, plans, rehydrate).handle(message)
    commits = [commit async for commit in stories.store.log(after=before)]
    messages: list[Any] = [event.message for commit in commits for event in commit.events]
    assert [type(message).__name__ for message in messages] == events
    assert {message.reason for message in messages} <= {WHY, f"{subject} E-1"}
    for told in (commit.metadata for commit in commits):
        assert (told.actor, told.causation_id, told.correlation_id) == (actor, cause, "C-1")
        assert told.traceparent == "00-1-2-01"


def test_retries() -> None:
    """The retry policy for callers has each call that only reads, and none that writes: those need a key first."""
    config = json.loads((files("context_service") / "data" / "service_config.json").read_text(encoding="utf-8"))
    [methods] = config["methodConfig"]
    assert {name["service"] for name in methods["name"]} == {SERVICE.full_name}
    assert {name["method"] for name in methods["name"]} == READS


class Flaky(context_pb2_grpc.ContextServiceServicer):
    """Answers at the third attempt."""

    def __init__(self) -> None:
        self.attempts = 0

    async def _answer(self, context: grpc.aio.ServicerContext[Any, Any], answer: Any) -> Any:
        self.attempts += 1
        if self.attempts % 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return answer

    async def GetContext(self, request: Any, context: Any) -> Any:  # noqa: N802 (the interface's name)
        return await self._answer(context, pb.GetContextResponse(version="7"))

    async def UpdateContext(self, request: Any, context: Any) -> Any:  # noqa: N802 (the interface's name)
        return await self._answer(context, pb.UpdateContextResponse(version=7))


async def test_retried() -> None:
    """A caller with the retry policy need not ask a question again itself; a write it must, with its key."""
    config = (files("context_service") / "data" / "service_config.json").read_text(encoding="utf-8")
    flaky = Flaky()
    server = grpc.aio.server()
    context_pb2_grpc.add_ContextServiceServicer_to_server(flaky, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with grpc.aio.insecure_channel(address, options=(("grpc.service_config", config),)) as channel:
        stub: Any = context_pb2_grpc.ContextServiceStub(channel)
        assert (await stub.GetContext(pb.GetContextRequest())).version == "7"
        assert flaky.attempts == 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.UpdateContext(pb.UpdateContextRequest())
        assert (caught.value.code(), flaky.attempts) == (grpc.StatusCode.UNAVAILABLE, 4)
    await server.stop(None)
