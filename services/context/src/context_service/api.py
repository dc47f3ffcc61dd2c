"""The gRPC interface: requests to commands and questions, answers to messages, errors to status codes."""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
from eventstore import Conflict, EventStoreError, InvalidInput, Metadata, StoreFull, StoreUnavailable
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from context_service import past, reasons, rehydration, watching, writes
from context_service.bundles import BundlesUnavailable
from context_service.changes import timestamp
from context_service.commands import Fault, Refused, UpdateStory, Violation, code_of, parse_changes
from context_service.contexts import (
    Contexts,
    bound_at,
    checked_moment,
    checked_phase,
    checked_role,
    context_message,
    context_of,
    refused,
    wait_for_position,
)
from context_service.redaction import redact, redact_certain, redacted
from context_service.relationships import GraphUnavailable, related
from context_service.story import content_hash
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from eventstore import Handled, Until

    from context_service.bundles import Bundles
    from context_service.relationships import Graph
    from context_service.stories import Stories
    from context_service.story import Story

_log = logging.getLogger("context_service")

#: Who asks, in the record of every call, where nobody said.
ANONYMOUS: Final = "anonymous"

Request = TypeVar("Request")
Answer = TypeVar("Answer", bound=Message)
Write: TypeAlias = (
    pb.UpdateContextRequest
    | pb.CreateStoryRequest
    | pb.CreateTaskRequest
    | pb.AddProjectDecisionRequest
    | pb.TransitionPhaseRequest
)
R = TypeVar("R", pb.CreateStoryRequest, pb.CreateTaskRequest, pb.AddProjectDecisionRequest, pb.TransitionPhaseRequest)


def answered(
    method: Callable[[Any, Request, Any], Awaitable[Answer]],
) -> Callable[[Any, Request, Any], Awaitable[Answer]]:
    """Answer without secrets, and errors of a method with the status code and the words that callers may see."""

    @functools.wraps(method)
    async def answering(self: Any, request: Request, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        async with self.under_way(), _translated(context):
            answer = await method(self, request, context)
            # A context was made without secrets, once for all who ask.
            return answer if isinstance(answer, pb.GetContextResponse) else redacted(answer)
        raise AssertionError("abort always raises")

    return answering


@asynccontextmanager
async def _translated(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Refused as error:
        await _refuse(context, error)
    except InvalidInput as error:
        # What is too large for a commit came as a request.
        field = "request" if error.field == "commit" else error.field
        await _refuse(context, Refused([Violation(Fault.INVALID, field, error.problem)]))
    except Conflict as error:
        message = f"the story is at version {error.actual}, not {error.expected}; read it again, or try again"
        await context.abort(grpc.StatusCode.ABORTED, message)
    except (GraphUnavailable, BundlesUnavailable) as error:
        _log.warning("a call cannot be answered: %s", error, exc_info=error.__cause__)
        await context.abort(grpc.StatusCode.UNAVAILABLE, redact(str(error)))
    except StoreFull:
        _log.exception("the store is full")
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the store has no room left; nothing was written")
    except StoreUnavailable:
        _log.exception("the store is not available")
        await context.abort(
            grpc.StatusCode.UNAVAILABLE, "the store is not available; try again with the same idempotency key"
        )
    except EventStoreError:
        _log.exception("the store cannot answer")
        await context.abort(grpc.StatusCode.DATA_LOSS, "the story's record cannot be read")
    except Exception:  # noqa: BLE001 (whatever it is, it has been logged and is not for callers)
        _log.exception("the service failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: Refused) -> NoReturn:
    code = grpc.StatusCode[code_of(error)]
    # A refusal quotes what came.
    message = redact(str(error))
    status = status_pb2.Status(code=getattr(code_pb2, code.name), message=message)
    status.details.add().Pack(
        redacted(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in error.violations
                ]
            )
        )
    )
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))


class ContextService(context_pb2_grpc.ContextServiceServicer):
    """Serves stories. RPCs without a method here answer UNIMPLEMENTED."""

    def __init__(
        self,
        stories: Stories,
        *,
        contexts: Contexts | None = None,
        bundles: Bundles | None = None,
        graph: Graph | None = None,
        stopping: Callable[[], bool] = lambda: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stories = stories
        self._contexts = contexts or Contexts()
        self._bundles = bundles
        self._graph = graph
        self._stopping = stopping
        self._now = now
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Count a call while the block runs."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def finish(self, seconds: float) -> None:
        """Return when no call is under way any more, or so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    @answered
    async def UpdateContext(  # noqa: N802 (the interface's name)
        self, request: pb.UpdateContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.UpdateContextResponse:
        """Record changes of a story, all of them or none."""
        changes, warnings = parse_changes(request.changes)
        occurred_at = checked_moment("timestamp", request.timestamp) if request.timestamp else None
        actor = checked_role(request.role) if request.role else _actor(request, context)
        command = UpdateStory(request.story_id, changes, actor, occurred_at or self._now(), request.task_id)
        done = await self._stories.update(
            command,
            expected_version=_expected(request),
            idempotency_key=request.idempotency_key,
            metadata=_metadata(request, context, actor, cause=request.task_id),
            occurred_at=occurred_at,
        )
        writes.check_repeated(command, done)
        return pb.UpdateContextResponse(
            version=done.version,
            hash=content_hash(done.state),
            warnings=warnings,
            position=str(done.token),
            results=writes.results(command, done),
        )

    @answered
    async def CreateStory(  # noqa: N802 (the interface's name)
        self, request: pb.CreateStoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateStoryResponse:
        """Create a story."""
        done, _ = await self._write(request, context, writes.create_story, phase="initial_phase")
        return pb.CreateStoryResponse(
            context_id=f"ctx-{request.story_id}",
            story_id=request.story_id,
            current_phase=done.state.phase,
            version=done.version,
            position=str(done.token),
        )

    @answered
    async def CreateTask(  # noqa: N802 (the interface's name)
        self, request: pb.CreateTaskRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateTaskResponse:
        """Create a task of a story."""
        done, _ = await self._write(request, context, writes.create_task, entity_id="task_id")
        return pb.CreateTaskResponse(
            task_id=request.task_id,
            story_id=request.story_id,
            status=done.state.subtasks[request.task_id].status.upper(),
            version=done.version,
            position=str(done.token),
        )

    @answered
    async def AddProjectDecision(  # noqa: N802 (the interface's name)
        self, request: pb.AddProjectDecisionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AddProjectDecisionResponse:
        """Add a decision to a story."""
        done, command = await self._write(request, context, writes.add_decision)
        return pb.AddProjectDecisionResponse(
            decision_id=command.changes[0].entity_id, version=done.version, position=str(done.token)
        )

    @answered
    async def TransitionPhase(  # noqa: N802 (the interface's name)
        self, request: pb.TransitionPhaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.TransitionPhaseResponse:
        """Take a story from phase to phase."""
        done, command = await self._write(request, context, writes.transition)
        at = done.state.transitions[-1].at if done.events else timestamp(command.at).ToJsonString()
        return pb.TransitionPhaseResponse(
            story_id=request.story_id,
            current_phase=done.state.phase,
            transitioned_at=at,
            version=done.version,
            position=str(done.token),
        )

    async def _write(
        self,
        request: R,
        context: grpc.aio.ServicerContext[Any, Any],
        translate: Callable[[R, writes.Asking], UpdateStory],
        **names: str,
    ) -> tuple[Handled[Story], UpdateStory]:
        """Carry out a call that writes; ``names`` are what it calls fields of a change."""
        actor = _actor(request, context)
        command = translate(request, writes.Asking(actor, self._now()))
        try:
            done = await self._stories.update(
                command,
                expected_version=_expected(request),
                # The same key in another call is another command.
                idempotency_key=f"{_call(request)}:{request.idempotency_key}" if request.idempotency_key else "",
                metadata=_metadata(request, context, actor),
                occurred_at=None,
            )
            writes.check_repeated(command, done)
        except Refused as error:
            raise writes.named_as_in_request(error, **names) from None
        return done, command

    @answered
    async def RehydrateSession(  # noqa: N802 (the interface's name)
        self, request: pb.RehydrateSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RehydrateSessionResponse:
        """Answer with what sessions of some roles start from."""
        now_ms = int(self._now().timestamp() * 1_000)
        return await rehydration.rehydrate(self._stories, self._contexts.policy, self._bundles, request, now_ms=now_ms)

    @answered
    async def GetRehydrationBundle(  # noqa: N802 (the interface's name)
        self, request: pb.GetRehydrationBundleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RehydrateSessionResponse:
        """Answer with a bundle that was kept."""
        return await rehydration.bundle(self._bundles, request)

    @answered
    async def GetContext(  # noqa: N802 (the interface's name)
        self, request: pb.GetContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextResponse:
        """Answer with a story as of now."""
        await wait_for_position(self._stories, request.min_position)
        return await self._context(request)

    @answered
    async def GetContextAtTime(  # noqa: N802 (the interface's name)
        self, request: pb.GetContextAtTimeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextResponse:
        """Answer with a story as it was at a moment."""
        return await self._context(request, bound_at(request.timestamp, request.clock))

    @answered
    async def ValidateScope(  # noqa: N802 (the interface's name)
        self, request: pb.ValidateScopeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ValidateScopeResponse:
        """Answer whether scopes are those that the policy grants a role in a phase."""
        role, phase = checked_role(request.role), checked_phase(request.phase)
        verdict = self._contexts.policy.verdict(phase, role, request.provided_scopes)
        return pb.ValidateScopeResponse(
            allowed=verdict.allowed, missing=verdict.missing, extra=verdict.extra, reason=verdict.reason
        )

    async def _context(
        self,
        request: pb.GetContextRequest | pb.GetContextAtTimeRequest | pb.GetContextAtVersionRequest,
        until: Until | None = None,
    ) -> pb.GetContextResponse:
        found = await context_of(
            self._stories,
            request.story_id,
            until,
            contexts=self._contexts,
            role=request.role,
            phase=request.phase,
            subtask_id=request.subtask_id,
            token_budget=request.token_budget,
        )
        events = await reasons.events_behind(self._stories, request.story_id, found.version) if request.why else {}
        return context_message(found, events)

    @answered
    async def GetContextAtVersion(  # noqa: N802 (the interface's name)
        self, request: pb.GetContextAtVersionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextResponse:
        """Answer with a story as it was at a version."""
        moment = pb.Moment(version=request.version)
        return await self._context(request, await past.checked_until(self._stories, request.story_id, "", moment))

    async def WatchContext(  # noqa: N802 (the interface's name)
        self, request: pb.WatchContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchContextResponse]:
        """Answer with a story as of now, then with each of its changes."""
        watched = watching.watch(self._stories, self._contexts, request)
        async with self.under_way(), _translated(context), aclosing(watched) as updates:
            async for update in updates:
                if self._stopping():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "this process is stopping; watch again")
                if update is not None:
                    yield redacted(update)

    @answered
    async def GetHistory(  # noqa: N802 (the interface's name)
        self, request: pb.GetHistoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetHistoryResponse:
        """Answer with a story's events: who, why, what changed."""
        return await past.history(self._stories, request)

    @answered
    async def DiffContext(  # noqa: N802 (the interface's name)
        self, request: pb.DiffContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DiffContextResponse:
        """Answer with what is different in a story between two moments."""
        return await past.diff(self._stories, request)

    @answered
    async def ExplainDecision(  # noqa: N802 (the interface's name)
        self, request: pb.ExplainDecisionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExplainDecisionResponse:
        """Answer with the events, causes and dependencies behind a decision."""
        return await reasons.explain(self._stories, request)

    @answered
    async def GetGraphRelationships(  # noqa: N802 (the interface's name)
        self, request: pb.GetGraphRelationshipsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetGraphRelationshipsResponse:
        """Answer with what is around a node of the graph, now or at a position."""
        return await related(
            self._graph,
            request.node_id,
            request.node_type,
            depth=request.depth,
            position=request.position,
            min_position=request.min_position,
        )


def _expected(request: Write) -> int | None:
    if not request.HasField("expected_version"):
        return None
    if request.expected_version < 0:
        raise refused(Fault.INVALID, "expected_version", f"expected 0 or more, got {request.expected_version}")
    return request.expected_version


def _sent(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _call(request: Write) -> str:
    return type(request).DESCRIPTOR.name.removesuffix("Request")


def _actor(request: Write, context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return who asks, as far as anybody said."""
    said = "" if isinstance(request, pb.UpdateContextRequest) else request.actor
    return said or _sent(context).get("x-actor", "")


def _metadata(request: Write, context: grpc.aio.ServicerContext[Any, Any], actor: str, *, cause: str = "") -> Metadata:
    """Return who and what led to a request: a task, an event or, when none is named, the call itself."""
    sent = _sent(context)
    # What is written down stays for ever.
    return Metadata(
        actor=redact_certain(actor) or ANONYMOUS,
        correlation_id=redact_certain(sent.get("x-correlation-id", "")),
        causation_id=redact_certain(cause or sent.get("x-causation-id", "")) or _call(request),
        traceparent=sent.get("traceparent", ""),
        tracestate=sent.get("tracestate", ""),
    )
