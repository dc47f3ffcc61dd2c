"""The calls that write in words of their own, over gRPC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service.commands import (
    ApprovalPayload,
    Change,
    DispatchPayload,
    EpicPayload,
    Refused,
    SubtaskPayload,
    UpdateStory,
)
from context_service.graph import EPIC, PROJECT
from context_service.portfolio import Announced
from context_service.v1 import context_pb2 as pb
from eventstore import Metadata, Position, StreamId

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import msgspec
    from context_service.stories import Stories
    from context_service.story import Story

    from tests.context.conftest import Client

Code = grpc.StatusCode
AT = datetime(2026, 1, 2, tzinfo=UTC)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def facts(stories: Stories, story_id: str = "S-1") -> list[tuple[str, str, str, str]]:
    """Return the name, reason, actor and cause of each event of a story."""
    commits = [commit async for commit in stories.store.commits(stories.stream(story_id))]
    stored: list[tuple[Any, Metadata]] = [(event.message, one.metadata) for one in commits for event in one.events]
    return [(type(what).__name__, what.reason, told.actor, told.causation_id) for what, told in stored]


async def story_of(stories: Stories) -> Story:
    return (await stories.ask("S-1")).state


@pytest.fixture
async def made(client: Client) -> Client:
    await client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1", title="Checkout"))
    return client


class TestStory:
    async def test_created(self, client: Client, stories: Stories) -> None:
        """A story is there with what the call says, in the phase it says, and the answer names it."""
        answer = await client.stub.CreateStory(
            pb.CreateStoryRequest(
                story_id="S-1", title="T", description="D", initial_phase="build", actor="ann", reason="why not"
            )
        )
        assert (answer.context_id, answer.story_id, answer.current_phase) == ("ctx-S-1", "S-1", "BUILD")
        assert answer.version == 1
        assert answer.position == str(await stories.store.head())
        story = await story_of(stories)
        assert (story.title, story.description, story.phase, story.created_by) == ("T", "D", "BUILD", "ann")
        assert await facts(stories) == [("ContextCreatedEvent", "why not", "ann", "CreateStory")]

    async def test_default_phase(self, client: Client) -> None:
        """A story begins in DESIGN where nothing else is said."""
        answer = await client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1"))
        assert answer.current_phase == "DESIGN"

    async def test_again(self, made: Client, stories: Stories) -> None:
        """The same story again changes nothing; another one under its id is refused, by the field of the call."""
        again = await made.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1", title="Checkout"))
        assert again.version == 1
        code, text = await refused(made.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1", title="Other")))
        assert code == Code.FAILED_PRECONDITION
        assert text.startswith("story_id: ")
        assert len(await facts(stories)) == 1

    async def test_no_phase(self, client: Client) -> None:
        """A phase that is none is refused under the name the call has for it."""
        code, text = await refused(client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1", initial_phase="NOW")))
        assert code == Code.INVALID_ARGUMENT
        assert text == "initial_phase: expected one of DESIGN, BUILD, TEST, DOC; got 'NOW'"

    async def test_who_else_asks(self, client: Client, stories: Stories) -> None:
        """Who asks is told by the call's metadata where the request says nothing, and is never empty."""
        await client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-1"), metadata=(("x-actor", "bob"),))
        await client.stub.CreateStory(pb.CreateStoryRequest(story_id="S-2"), metadata=(("x-causation-id", "E-7"),))
        assert [fact[2:] for fact in await facts(stories)] == [("bob", "CreateStory")]
        assert [fact[2:] for fact in await facts(stories, "S-2")] == [("anonymous", "E-7")]


class TestTask:
    async def test_created(self, made: Client, stories: Stories) -> None:
        """A task is there with what the call says, pending."""
        answer = await made.stub.CreateTask(
            pb.CreateTaskRequest(
                story_id="S-1",
                task_id="T-1",
                title="Form",
                description="Fields",
                role="DEV",
                dependencies=["T-0"],
                priority=1,
                estimated_hours=8,
                actor="ann",
                reason="planned",
            )
        )
        assert (answer.task_id, answer.story_id, answer.status, answer.version) == ("T-1", "S-1", "PENDING", 2)
        task = (await story_of(stories)).subtasks["T-1"]
        assert (task.title, task.description, task.role, task.depends_on) == ("Form", "Fields", "developer", ("T-0",))
        assert (task.priority, task.estimate, task.status) == (1, 8.0, "pending")
        assert (await facts(stories))[1:] == [("SubtaskAddedEvent", "planned", "ann", "CreateTask")]

    @pytest.mark.parametrize(
        ("fields", "code", "named"),
        [
            ({"task_id": ""}, Code.INVALID_ARGUMENT, "task_id: "),
            ({"story_id": "S-2"}, Code.NOT_FOUND, "story_id: "),
            ({"dependencies": ["T-0", ""]}, Code.INVALID_ARGUMENT, "dependencies[1]: "),
            ({"expected_version": 7}, Code.ABORTED, "the story is at version 1"),
        ],
    )
    async def test_refused(self, made: Client, fields: dict[str, Any], code: grpc.StatusCode, named: str) -> None:
        """What is wrong is named as the call names it."""
        request = pb.CreateTaskRequest(**({"story_id": "S-1", "task_id": "T-1"} | fields))
        found, text = await refused(made.stub.CreateTask(request))
        assert (found, text.startswith(named)) == (code, True), text

    async def test_known_by_another_title(self, made: Client) -> None:
        """A task that is there and differs is not made over."""
        await made.stub.CreateTask(pb.CreateTaskRequest(story_id="S-1", task_id="T-1", title="A"))
        code, text = await refused(made.stub.CreateTask(pb.CreateTaskRequest(story_id="S-1", task_id="T-1", title="B")))
        assert (code, text.startswith("task_id: ")) == (Code.FAILED_PRECONDITION, True)


class TestDecision:
    async def test_added(self, made: Client, stories: Stories) -> None:
        """A decision is there under a new id, with its alternatives as a list and its metadata as attributes."""
        answer = await made.stub.AddProjectDecision(
            pb.AddProjectDecisionRequest(
                story_id="S-1",
                decision_type="architecture",
                title="Use events",
                rationale="Audit",
                alternatives_considered="1. tables 2. files",
                metadata={"ticket": "X-1"},
                actor="architect",
                reason="agreed",
            )
        )
        decision = (await story_of(stories)).decisions[answer.decision_id]
        assert (decision.title, decision.rationale, decision.kind) == ("Use events", "Audit", "architecture")
        assert (decision.alternatives, decision.attributes) == (("tables", "files"), {"ticket": '"X-1"'})
        assert (decision.status, decision.decided_by) == ("PROPOSED", "architect")
        assert (await facts(stories))[1:] == [("DecisionAddedEvent", "agreed", "architect", "AddProjectDecision")]

    async def test_ids(self, made: Client) -> None:
        """Each call makes an id of its own; the same key gives the same id, within its story."""
        await made.stub.CreateStory(pb.CreateStoryRequest(story_id="S-2"))

        async def id(story_id: str, key: str = "") -> str:
            request = pb.AddProjectDecisionRequest(story_id=story_id, title="T", idempotency_key=key)
            answer: pb.AddProjectDecisionResponse = await made.stub.AddProjectDecision(request)
            return answer.decision_id

        keyed = await id("S-1", "k")
        assert len({await id("S-1"), await id("S-1"), keyed, await id("S-2", "k"), await id("S-1", "l")}) == 5
        assert await id("S-1", "k") == keyed

    async def test_empty(self, made: Client) -> None:
        """A decision that says nothing is refused."""
        code, text = await refused(made.stub.AddProjectDecision(pb.AddProjectDecisionRequest(story_id="S-1")))
        assert (code, text.startswith("title: ")) == (Code.INVALID_ARGUMENT, True)

    async def test_for_a_task(self, made: Client, stories: Stories) -> None:
        """A decision knows the task that the request of its change was made for."""
        await made.update("S-1", made.change("CREATE", "DECISION", "D-1", title="T"), task_id="T-9", role="qa")
        assert (await story_of(stories)).decisions["D-1"].task_id == "T-9"
        assert (await facts(stories))[-1] == ("DecisionAddedEvent", "", "qa", "T-9")


class TestTransition:
    async def test_moved(self, made: Client, stories: Stories) -> None:
        """A story moves to the phase that the call says, and why is kept."""
        answer = await made.stub.TransitionPhase(
            pb.TransitionPhaseRequest(
                story_id="S-1", from_phase="design", to_phase="Build", rationale="done", actor="ann"
            )
        )
        assert (answer.story_id, answer.current_phase, answer.version) == ("S-1", "BUILD", 2)
        [step] = (await story_of(stories)).transitions
        assert (step.from_phase, step.to_phase, step.rationale, step.at) == (
            "DESIGN",
            "BUILD",
            "done",
            answer.transitioned_at,
        )
        assert (await facts(stories))[1:] == [("PhaseTransitionedEvent", "done", "ann", "TransitionPhase")]

    @pytest.mark.parametrize(
        ("source", "target", "code", "named"),
        [
            ("BUILD", "TEST", Code.FAILED_PRECONDITION, "from_phase: the story is in DESIGN, not BUILD"),
            ("", "TEST", Code.INVALID_ARGUMENT, "from_phase: "),
            ("DESIGN", "LATER", Code.INVALID_ARGUMENT, "to_phase: "),
        ],
    )
    async def test_refused(self, made: Client, source: str, target: str, code: grpc.StatusCode, named: str) -> None:
        """A step from elsewhere, or to no phase, is refused."""
        request = pb.TransitionPhaseRequest(story_id="S-1", from_phase=source, to_phase=target)
        found, text = await refused(made.stub.TransitionPhase(request))
        assert (found, text.startswith(named)) == (code, True), text

    async def test_again(self, made: Client, stories: Stories) -> None:
        """A step that is asked for again under its key is carried out once and answered as the first time."""
        request = pb.TransitionPhaseRequest(story_id="S-1", from_phase="DESIGN", to_phase="BUILD", idempotency_key="k")
        first = await made.stub.TransitionPhase(request)
        assert await made.stub.TransitionPhase(request) == first
        assert len(await facts(stories)) == 2


async def told(stories: Stories, operation: str, entity_type: str, id: str, payload: msgspec.Struct) -> list[str]:
    """Carry out a change that no call of gRPC makes, and return the names of its events."""
    change = Change("", operation, entity_type, id, payload, {}, "told")
    done = await stories.update(
        UpdateStory("S-1", (change,), "planner", AT),
        expected_version=None,
        idempotency_key="",
        metadata=Metadata(),
        occurred_at=None,
    )
    return [type(event).__name__ for event in done.events]


class TestTold:
    async def test_new_in_epic(self, stories: Stories) -> None:
        """A story that is placed in an epic before anybody made it begins with that."""
        assert await told(stories, "PLACE", "CASE", "", EpicPayload(epic_id="E-1", title="T")) == [
            "ContextCreatedEvent"
        ]
        story = await story_of(stories)
        assert (story.epic_id, story.title, story.phase) == ("E-1", "T", "DESIGN")

    async def test_moved_to_epic(self, made: Client, stories: Stories) -> None:
        """A story that is there keeps its title when it is placed in an epic, once."""
        payload = EpicPayload(epic_id="E-1", title="Other")
        assert await told(stories, "PLACE", "CASE", "", payload) == ["StoryPlacedInEpicEvent"]
        assert await told(stories, "PLACE", "CASE", "", payload) == []
        story = await story_of(stories)
        assert (story.epic_id, story.title) == ("E-1", "Checkout")

    async def test_approved(self, made: Client, stories: Stories) -> None:
        """A plan that was announced as approved is there and approved, once, by who did it."""
        payload = ApprovalPayload(approved_by="lead")
        assert await told(stories, "APPROVE", "PLAN", "P-1", payload) == ["PlanVersionAddedEvent", "PlanApprovedEvent"]
        assert await told(stories, "APPROVE", "PLAN", "P-1", payload) == []
        plan = (await story_of(stories)).plans["P-1"]
        assert (plan.version, plan.status, plan.approved_by) == (1, "APPROVED", "lead")

    async def test_draft_approved(self, made: Client, stories: Stories) -> None:
        """A draft is approved as it is."""
        await made.update("S-1", made.change("CREATE", "PLAN", "P-1", version=3, author_id="ann"))
        assert await told(stories, "APPROVE", "PLAN", "P-1", ApprovalPayload(approved_by="lead")) == [
            "PlanApprovedEvent"
        ]
        plan = (await story_of(stories)).plans["P-1"]
        assert (plan.version, plan.author, plan.status) == (3, "ann", "APPROVED")

    async def test_dispatched(self, made: Client, stories: Stories) -> None:
        """A dispatched subtask is in progress, and who got it is kept."""
        await told(stories, "CREATE", "SUBTASK", "T-1", SubtaskPayload(title="T"))
        payload = DispatchPayload(agent_id="agent-7", role="DEV")
        assert await told(stories, "DISPATCH", "SUBTASK", "T-1", payload) == [
            "SubtaskUpdatedEvent",
            "TaskDispatchedEvent",
        ]
        story = await story_of(stories)
        assert story.subtasks["T-1"].status == "in_progress"
        assert [(d.subtask_id, d.agent_id, d.role) for d in story.dispatches] == [("T-1", "agent-7", "developer")]

    @pytest.mark.parametrize(("status", "field"), [("", "entity_id"), ("done", "payload.status")])
    async def test_not_dispatched(self, made: Client, stories: Stories, status: str, field: str) -> None:
        """A subtask that is not there, or over, is not dispatched."""
        if status:
            await told(stories, "CREATE", "SUBTASK", "T-1", SubtaskPayload(status=status))
        with pytest.raises(Refused) as caught:
            await told(stories, "DISPATCH", "SUBTASK", "T-1", DispatchPayload(agent_id="a"))
        assert [violation.field for violation in caught.value.violations] == [f".{field}"]

    async def test_not_for_callers(self, made: Client) -> None:
        """What is told on subjects of its own cannot be asked for as a change."""
        for operation, entity_type in (("PLACE", "CASE"), ("APPROVE", "PLAN"), ("DISPATCH", "SUBTASK")):
            code, text = await refused(made.update("S-1", made.change(operation, entity_type, "X-1")))
            assert (code, text.startswith("changes[0].operation: ")) == (Code.INVALID_ARGUMENT, True)

    async def test_phase_is_no_payload(self, made: Client, stories: Stories) -> None:
        """A phase in the payload of a CASE is an attribute, as any key beyond the known ones."""
        answer = await made.update("S-1", made.change("UPDATE", "CASE", phase="TEST", epic_id="E-1"))
        assert len(answer.warnings) == 2
        story = await story_of(stories)
        assert (story.phase, story.epic_id) == ("DESIGN", "")


class TestPortfolio:
    @staticmethod
    async def announce(stories: Stories, category: str, key: str = "", /, **fields: str) -> list[str]:
        done = await stories.announce(
            category,
            "X-1",
            Announced(fields=fields, at=AT, reason="told"),
            idempotency_key=key,
            metadata=Metadata(actor="planner"),
            occurred_at=None,
        )
        return [type(event).__name__ for event in done.events]

    @pytest.mark.parametrize(("category", "name", "title"), [(PROJECT, "Project", "name"), (EPIC, "Epic", "title")])
    async def test_once(self, stories: Stories, category: str, name: str, title: str) -> None:
        """What is announced is recorded; again, only what differs is."""
        first = {title: "T", "description": "D", "status": "active"}
        assert await self.announce(stories, category, **first) == [f"{name}CreatedEvent"]
        assert await self.announce(stories, category, **first) == []
        assert await self.announce(stories, category, **{title: "U"}) == [f"{name}ChangedEvent"]
        assert await self.announce(stories, category, **{title: "U"}) == []
        events = [
            event.message
            async for commit in stories.store.commits(StreamId(category, "X-1"))
            for event in commit.events
        ]
        assert [event.reason for event in events] == ["told", "told"]  # type: ignore[attr-defined]  # all have one
        assert not events[1].HasField("description")

    async def test_no_id(self, stories: Stories) -> None:
        """An id that is none is refused by its name."""
        with pytest.raises(Refused, match="epic_id: "):
            await stories.announce(
                EPIC, "", Announced(fields={}, at=AT), idempotency_key="", metadata=Metadata(), occurred_at=None
            )


class TestResults:
    async def test_each_change(self, made: Client, stories: Stories) -> None:
        """Each change is answered with what it became: the events about its entity, or that nothing was to be done."""
        change = made.change
        answer = await made.update(
            "S-1",
            change("create", "DECISION", "D-1", title="T", depends_on=["D-0"]),
            change("UPDATE", "CASE", title="Checkout"),
            change("CREATE", "SUMMARY", text="done"),
            change("CREATE", "SUBTASK", "T-1", title="Form"),
            role="QA",
        )
        told = [
            (one.operation, one.entity_type, one.entity_id, one.changed, [e.event_type for e in one.events])
            for one in answer.results
        ]
        assert told == [
            ("CREATE", "DECISION", "D-1", True, ["DecisionAdded", "DecisionLinked"]),
            ("UPDATE", "CASE", "S-1", False, []),
            ("CREATE", "SUMMARY", "qa", True, ["SummaryRecorded"]),
            ("CREATE", "SUBTASK", "T-1", True, ["SubtaskAdded"]),
        ]
        places = [(event.version, event.position) for one in answer.results for event in one.events]
        assert [version for version, _ in places] == [2, 3, 4, 5]
        assert {position for _, position in places} == {answer.position}

    async def test_again(self, made: Client) -> None:
        """The same request under the same key has the same results, though nothing is done then."""
        change = made.change("CREATE", "DECISION", "D-1", title="T")
        first = await made.update("S-1", change, idempotency_key="k")
        await made.update("S-1", made.change("UPDATE", "DECISION", "D-1", title="U"))
        assert await made.update("S-1", change, idempotency_key="k") == first
        assert first.results[0].changed


async def test_no_known_token_is_recorded(made: Client, stories: Stories) -> None:
    """What is certainly a secret does not come into the log, by whichever call."""
    token = "ghp_" + "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX"
    ids = {"story_id", "task_id", "idempotency_key", "initial_phase", "from_phase", "to_phase"}
    more = {"metadata": {token: token}}
    calls: dict[str, dict[str, Any]] = {
        "CreateStory": {"story_id": "S-2"},
        "CreateTask": {"story_id": "S-1", "task_id": "T-1"},
        "AddProjectDecision": {"story_id": "S-1", **more},
        "TransitionPhase": {"story_id": "S-1", "from_phase": "DESIGN", "to_phase": "BUILD"},
    }
    for call, fields in calls.items():
        kind = getattr(pb, f"{call}Request")
        texts = {
            field.name: f"see {token}"
            for field in kind.DESCRIPTOR.fields
            if field.type == field.TYPE_STRING and not field.is_repeated and field.name not in ids
        }
        sent = (("x-correlation-id", token), ("x-causation-id", token))
        await getattr(made.stub, call)(kind(**fields, **texts), metadata=sent)
    stored = b"".join([raw.envelope async for chunk in stories.store.backend.log(after=Position(0)) for raw in chunk])
    assert b"[redacted: " in stored
    assert token.encode() not in stored


@pytest.mark.parametrize(
    "first", ["CreateStory", "CreateTask", "AddProjectDecision", "TransitionPhase", "UpdateContext"]
)
async def test_one_key_in_two_calls(made: Client, stories: Stories, first: str) -> None:
    """A key that another call has used is another key, so that each call does what it says."""
    change = made.change("CREATE", "DECISION", "D-1", title="T")
    requests: dict[str, Any] = {
        "CreateStory": pb.CreateStoryRequest(story_id="S-1", title="Checkout", idempotency_key="k"),
        "CreateTask": pb.CreateTaskRequest(story_id="S-1", task_id="T-1", idempotency_key="k"),
        "AddProjectDecision": pb.AddProjectDecisionRequest(story_id="S-1", title="T", idempotency_key="k"),
        "TransitionPhase": pb.TransitionPhaseRequest(
            story_id="S-1", from_phase="DESIGN", to_phase="BUILD", idempotency_key="k"
        ),
        "UpdateContext": pb.UpdateContextRequest(story_id="S-1", changes=[change], idempotency_key="k"),
    }
    for call in (first, *(other for other in requests if other != first)):
        await getattr(made.stub, call)(requests[call])
    story = await story_of(stories)
    assert (set(story.subtasks), story.phase, len(story.decisions)) == ({"T-1"}, "BUILD", 2)


async def test_a_key_of_another_request(made: Client) -> None:
    """A key that was used for something else is refused, and not answered as if this had been done."""
    await made.stub.CreateTask(pb.CreateTaskRequest(story_id="S-1", task_id="T-1", idempotency_key="k"))
    await made.update("S-1", made.change("CREATE", "DECISION", "D-1", title="T"), idempotency_key="k")
    for call in (
        made.stub.CreateTask(pb.CreateTaskRequest(story_id="S-1", task_id="T-2", idempotency_key="k")),
        made.update("S-1", made.change("CREATE", "DECISION", "D-2", title="T"), idempotency_key="k"),
    ):
        code, text = await refused(call)
        assert (code, text.startswith("idempotency_key: ")) == (Code.INVALID_ARGUMENT, True)
