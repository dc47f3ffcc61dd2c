"""Messages over a real nats-server: each has its effect once and is answered, or is a dead letter to be replayed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import string
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from context_service import bus as bus_module
from context_service import cli, cli_dead_letters, terminal
from context_service import consuming as consuming_module
from context_service.bundles import BundlesUnavailable
from context_service.bus import (
    ANSWERS,
    CHECKPOINTS,
    DEAD,
    REQUESTS,
    UPDATES,
    Bus,
    BusUnavailable,
    Misfit,
    open_bus,
)
from context_service.commands import Change, Fault, PhasePayload, Refused, UpdateStory, Violation, code_of
from context_service.consuming import BACKOFF, NAME, Handler, consuming, taking_in
from context_service.dead_letters import DeadLetter, dead_letters, replay
from context_service.events.v1 import events_pb2
from context_service.messages import EVENT_ID, SUBJECTS, Incoming, durable_of
from context_service.plans import PLANS, story_of_plan
from context_service.v1 import context_pb2 as pb
from eventstore import ANY, EventStore, InvalidInput, Metadata, StoreUnavailable, StreamId, commit_id_of
from eventstore.terminal import console
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig
from projections import Monitor, running, wait_for
from projections.memory import MemoryModel

from tests.eventstore.nats_servers import Admin, NatsServer, administration, one_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from context_service.stories import Stories

pytestmark = [pytest.mark.contract, pytest.mark.timeout(12)]

#: What others make.
OTHERS: Final = {"PLANNING": ["planning.>"], "ORCHESTRATION": ["orchestration.>"]}
QUICK: Final = (0.01, 0.01)
STORY: Final = {
    "story_id": "S-1",
    "event_id": "e-story",
    "changes": [
        {"operation": "CREATE", "entity_type": "CASE", "payload": {"title": "Log in"}},
        {"operation": "CREATE", "entity_type": "PLAN", "entity_id": "P-1"},
        {"operation": "CREATE", "entity_type": "SUBTASK", "entity_id": "T-1", "payload": '{"title": "Form"}'},
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server whose subjects are ours alone: the service's streams have fixed names."""
    with one_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def admin(server: NatsServer) -> AsyncIterator[Admin]:
    """An operator, on a server without any streams but those of others."""
    async with administration(server.url) as admin:
        for name in (await admin.api("STREAM.NAMES"))["streams"] or ():
            await admin.api(f"STREAM.DELETE.{name}")
        for name, subjects in OTHERS.items():
            await make(admin, name, subjects)
        yield admin


@pytest.fixture
async def bus(server: NatsServer, admin: Admin) -> AsyncIterator[Bus]:
    async with open_bus(server.url) as bus:
        assert bus is not None
        yield bus


async def make(admin: Admin, name: str, subjects: Sequence[str], **config: Any) -> None:
    assert "error" not in await admin.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": subjects, **config})


async def until(true: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    while True:
        if found := await true():
            return found
        await asyncio.sleep(0.01)


async def send(admin: Admin, subject: str, body: Any, **headers: str) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await admin.publish(subject, data, headers or None)


async def messages(bus: Bus, subject: str) -> list[dict[str, Any]]:
    """Return all that was published on a subject."""
    stream, sequence, found = await bus.carrier(subject), 0, []
    while stream and (message := await bus.message(stream, sequence)):
        sequence = message.seq or 0
        if message.subject == subject:
            found.append(json.loads(message.data or b""))
    return found


async def answer(bus: Bus, event_id: str, subject: str = "context.update.response") -> dict[str, Any]:
    """Wait for an answer."""

    async def find() -> dict[str, Any] | None:
        return next((said for said in await messages(bus, subject) if said["event_id"] == event_id), None)

    found: dict[str, Any] = await until(find)
    return found


async def letters(bus: Bus, count: int = 1) -> list[DeadLetter]:
    """Wait for so many dead letters."""

    async def find() -> list[DeadLetter] | None:
        found = [letter async for letter in dead_letters(bus)]
        return found if len(found) >= count else None

    found: list[DeadLetter] = await until(find)
    return found


async def acknowledged(admin: Admin, subject: str, stream: str, count: int) -> None:
    """Wait until a consumer has nothing more to deliver and nothing in hand, after so many messages."""

    async def find() -> bool:
        info = await admin.api(f"CONSUMER.INFO.{stream}.{durable_of(subject)}")
        if "error" in info or info["num_pending"] or info["num_ack_pending"]:
            return False
        return bool(info["delivered"]["stream_seq"] >= count)

    await until(find)


async def rehydrated(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
    return pb.RehydrateSessionResponse(case_id=request.case_id, generated_at_ms=7, version=3)


@asynccontextmanager
async def service(bus: Bus, stories: Stories, backoff: Sequence[float] = QUICK) -> AsyncIterator[Monitor]:
    """Run the consumers, ready."""
    monitor = Monitor()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consuming_module, "_FETCH_SECONDS", 0.1)
        patch.setattr(consuming_module, "consuming", lambda *given: consuming(*given, backoff=backoff))
        async with taking_in(bus, stories, rehydrated, monitor):
            await until(lambda: ready(monitor))
            yield monitor


async def ready(monitor: Monitor) -> bool:
    return monitor.health(NAME).ready


async def events(store: EventStore) -> list[str]:
    """Return what is in the log, each event as its type's name."""
    return [
        event.raw.type.rpartition(".")[2].removesuffix("Event")
        async for commit in store.log()
        for event in commit.events
    ]


BODIES: Final[dict[str, dict[str, Any]]] = {
    "context.update.request": STORY,
    "context.rehydrate.request": {"case_id": "S-1", "roles": ["DEV"], "event_id": "e-rehydrate"},
    "planning.story.transitioned": {"story_id": "S-1", "from_phase": "DESIGN", "to_phase": "build"},
    "planning.plan.approved": {"story_id": "S-1", "plan_id": "P-1", "approved_by": "ann"},
    "planning.project.created": {"project_id": "PR-1", "name": "Shop"},
    "planning.epic.created": {"epic_id": "E-1", "project_id": "PR-1", "title": "Users"},
    "planning.story.created": {"story_id": "S-2", "epic_id": "E-1", "name": "Log out"},
    "planning.task.created": {"task_id": "T-2", "plan_id": "P-1", "title": "Table"},
    "orchestration.deliberation.completed": {
        "story_id": "S-1",
        "task_id": "T-1",
        "decisions": [{"type": "architecture", "rationale": "simple", "affected_subtask": "T-1"}],
    },
    "orchestration.task.dispatched": {"story_id": "S-1", "task_id": "T-1", "agent_id": "a-1", "role": "DEV"},
}
EFFECTS: Final = {
    "context.update.request": ["ContextCreated", "PlanVersionAdded", "SubtaskAdded"],
    "context.rehydrate.request": [],
    "planning.story.transitioned": ["PhaseTransitioned"],
    "planning.plan.approved": ["PlanApproved"],
    "planning.project.created": ["ProjectCreated"],
    "planning.epic.created": ["EpicCreated"],
    "planning.story.created": ["ContextCreated"],
    "planning.task.created": ["SubtaskAdded"],
    "orchestration.deliberation.completed": ["DecisionAdded", "DecisionLinked"],
    "orchestration.task.dispatched": ["SubtaskUpdated", "TaskDispatched"],
}


async def test_each_subject(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A message on each subject has its effect once, however often it comes, and says who, why and of what cause."""
    assert BODIES.keys() == EFFECTS.keys() == SUBJECTS.keys()
    async with service(bus, stories):
        for subject, body in BODIES.items():
            before = len(await events(stories.store))
            for _ in range(2):
                await send(admin, subject, {"event_id": f"e-{subject}", **body})
            stream = await bus.carrier(subject)
            last = (await admin.api(f"STREAM.INFO.{stream}"))["state"]["last_seq"]
            await acknowledged(admin, subject, str(stream), last)
            assert (await events(stories.store))[before:] == EFFECTS[subject], subject
    assert [letter async for letter in dead_letters(bus)] == []
    async for commit in stories.store.log():
        assert commit.metadata.actor
        assert commit.metadata.causation_id
        for event in commit.events:
            assert event.message.reason or commit.metadata.causation_id == "e-story"  # type: ignore[attr-defined]
    story = (await stories.ask("S-1")).state
    assert (story.phase, story.plans["P-1"].approved_by) == ("BUILD", "ann")


async def test_answers(bus: Bus, admin: Admin, stories: Stories) -> None:
    """An update is answered with what the call answers, a rehydration of the same event with the fields of the call."""
    async with service(bus, stories):
        await send(admin, "context.update.request", STORY)
        said = await answer(bus, "e-story")
        folded = await stories.ask("S-1")
        assert (said["story_id"], said["version"], said["position"]) == ("S-1", 3, str(folded.token))
        assert said["warnings"] == []
        await send(admin, "context.rehydrate.request", {"case_id": "S-1", "event_id": "e-story"})
        said = await answer(bus, "e-story", "context.rehydrate.response")
        assert (said["case_id"], said["generated_at_ms"], said["packs"], said["version"]) == ("S-1", 7, {}, 3)


async def test_poison(bus: Bus, admin: Admin, stories: Stories) -> None:
    """Trap 14: what can never be handled is a dead letter at once, whole, is answered, and holds up nothing."""
    async with service(bus, stories, backoff=BACKOFF):
        sequence = await send(admin, "context.update.request", b'{"story_id": 1, "event_id": "bad"}', Colour="r\u00f6t")
        await send(admin, "context.update.request", STORY)
        assert (await answer(bus, "e-story"))["version"] == 3
        [letter] = await letters(bus)
        assert (letter.subject, letter.stream, letter.stream_sequence, letter.deliveries) == (
            "context.update.request",
            "CONTEXT_REQUESTS",
            sequence,
            1,
        )
        assert letter.body == b'{"story_id": 1, "event_id": "bad"}'
        assert letter.headers == {"Colour": "r\u00f6t"}
        assert letter.reason.startswith("body.story_id: Expected `str`")
        error = (await answer(bus, "bad"))["error"]
        assert error["code"] == "INVALID_ARGUMENT"
        assert error["violations"] == [{"field": "body.story_id", "description": "Expected `str`, got `int`"}]
        await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", 2)


async def test_replay(bus: Bus, admin: Admin, stories: Stories) -> None:
    """Trap 14: what was refused comes again a bounded number of times; replayed after a fix it is handled, once."""
    dispatched = {"story_id": "S-1", "task_id": "T-1", "agent_id": "a-1"}
    async with service(bus, stories):
        # The id of a message without one in its body survives the replay, which NATS must not take for the same.
        await send(admin, "orchestration.task.dispatched", dispatched, **{"Nats-Msg-Id": "m-1"})
        [letter] = await letters(bus)
        assert (letter.deliveries, letter.event_id) == (len(QUICK) + 1, "m-1")
        assert "there is no story 'S-1'" in letter.reason
        await send(admin, "context.update.request", STORY)
        await answer(bus, "e-story")
        for _ in range(2):
            await replay(bus, letter)
        await acknowledged(admin, "orchestration.task.dispatched", "ORCHESTRATION", 3)
        assert (await events(stories.store)).count("TaskDispatched") == 1
        assert [letter async for letter in dead_letters(bus)] == []
    commits = [commit.commit_id async for commit in stories.store.log()]
    assert commits[-1] == commit_id_of(stories.stream("S-1"), "orchestration.task.dispatched:m-1")


async def test_plan_comes_later(bus: Bus, admin: Admin, stories: Stories) -> None:
    """Trap 17: a task whose plan is not known yet waits for it instead of being lost."""
    async with service(bus, stories, backoff=(0.05,) * 100):
        await send(admin, "planning.task.created", {"task_id": "T-9", "plan_id": "P-1", "title": "Early"})

        async def twice() -> bool:
            info = await admin.api(f"CONSUMER.INFO.PLANNING.{durable_of('planning.task.created')}")
            return bool(info["num_redelivered"])

        await until(twice)
        await send(admin, "context.update.request", STORY)
        await acknowledged(admin, "planning.task.created", "PLANNING", 1)
    story = (await stories.ask("S-1")).state
    assert (story.subtasks["T-9"].title, story.subtasks["T-9"].plan_id) == ("Early", "P-1")
    assert [letter async for letter in dead_letters(bus)] == []


async def test_unknown_plan(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A task whose plan does not come is a dead letter after the last try, and is handled when it is replayed then."""
    async with service(bus, stories):
        await send(admin, "planning.task.created", {"task_id": "T", "plan_id": "P-1", "title": "x", "event_id": "e"})
        [letter] = await letters(bus)
        assert letter.reason == "body.plan_id: no story is known to have a plan 'P-1'"
        await send(admin, "context.update.request", STORY)
        await answer(bus, "e-story")
        await replay(bus, letter)
        await acknowledged(admin, "planning.task.created", "PLANNING", 2)
    assert "T" in (await stories.ask("S-1")).state.subtasks


async def test_killed_after_the_commit(bus: Bus, admin: Admin, stories: Stories) -> None:
    """What was committed and not acknowledged comes again, is not done again, and is answered the same again."""
    handler = Handler(stories, MemoryModel(), rehydrated)
    sent = Incoming("context.update.request", json.dumps(STORY).encode(), {}, "X", 9, datetime.now(UTC))
    first = await handler.handle(sent)
    step = PhasePayload(from_phase="DESIGN", to_phase="TEST")
    moved = UpdateStory("S-1", (Change("", "TRANSITION", "CASE", "", step, {}, ""),), "", datetime.now(UTC))
    await stories.update(moved, expected_version=None, idempotency_key="", metadata=Metadata(), occurred_at=None)
    await bus.make(REQUESTS)
    await send(admin, "context.update.request", STORY)
    async with service(bus, stories):
        assert await answer(bus, "e-story") == json.loads(json.dumps(first))
        assert await events(stories.store) == [*EFFECTS["context.update.request"], "PhaseTransitioned"]


async def test_lost_acknowledgement(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose acknowledgement is lost is delivered again by the server, and changes nothing again."""
    monkeypatch.setattr(consuming_module, "_ACK_SECONDS", 0.1)
    lost: list[Msg] = []
    acknowledge = Msg.ack

    async def ack(message: Msg) -> None:
        if lost:
            await acknowledge(message)
        else:
            lost.append(message)
            raise OSError

    monkeypatch.setattr(Msg, "ack", ack)
    async with service(bus, stories):
        await send(admin, "context.update.request", STORY)
        await until(lambda: _redelivered(admin))
        await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", 1)
        assert await events(stories.store) == EFFECTS["context.update.request"]
        # The same answer within the window is not stored twice.
        assert len(await messages(bus, "context.update.response")) == 1


async def _redelivered(admin: Admin) -> bool:
    info = await admin.api(f"CONSUMER.INFO.CONTEXT_REQUESTS.{durable_of('context.update.request')}")
    return bool(info["num_ack_pending"] == 0 and info["delivered"]["consumer_seq"] >= 2)


async def test_store_away(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 2: nothing is acknowledged before it is written: messages wait in hand, and not one delivery counts."""
    monkeypatch.setattr(consuming_module, "_PAUSES", (0.001,))
    tries = 0
    update = stories.update

    async def failing(*given: Any, **named: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 50:
            raise StoreUnavailable("away")
        return await update(*given, **named)

    monkeypatch.setattr(stories, "update", failing)
    async with service(bus, stories):
        sequence = await send(admin, "context.update.request", STORY)
        await answer(bus, "e-story")
        await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", sequence)
        info = await admin.api(f"CONSUMER.INFO.CONTEXT_REQUESTS.{durable_of('context.update.request')}")
    assert tries == 50
    assert info["delivered"]["consumer_seq"] == 1
    assert [letter async for letter in dead_letters(bus)] == []


async def test_crashes(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that ends its process each time it comes is a dead letter in the end, without being handled."""
    monkeypatch.setattr(consuming_module, "_CRASHES", -3)
    async with service(bus, stories):
        await send(admin, "context.update.request", STORY)
        [letter] = await letters(bus)
    assert letter.reason == "it came 1 times and was never finished"
    assert await events(stories.store) == []


async def test_two_share(server: NatsServer, bus: Bus, admin: Admin, stories: Stories) -> None:
    """Two services share the consumer of a subject: each handles some of the messages, together each once."""
    async with open_bus(server.url) as other, service(bus, stories):
        assert other is not None
        async with service(other, stories):
            await send(admin, "context.update.request", STORY)
            await answer(bus, "e-story")
            for number in range(100):
                body = {"story_id": "S-1", "task_id": "T-1", "agent_id": f"a-{number}"}
                await send(admin, "orchestration.task.dispatched", {**body, "event_id": f"e-{number}"})
            await acknowledged(admin, "orchestration.task.dispatched", "ORCHESTRATION", 100)
            names = (await admin.api("CONSUMER.NAMES.ORCHESTRATION"))["consumers"]
    assert sorted(names) == sorted(durable_of(subject) for subject in SUBJECTS if subject.startswith("orchestration"))
    assert (await events(stories.store)).count("TaskDispatched") == 100


def test_one_durable_a_subject() -> None:
    """Trap 15: no two subjects share a durable name, nor does a stream of ours overlap another or the log."""
    assert len({durable_of(subject) for subject in SUBJECTS}) == len(SUBJECTS) == 10
    subjects = [subject for owned in (REQUESTS, ANSWERS, UPDATES, DEAD, CHECKPOINTS) for subject in owned.subjects]
    log = "context.events.*.*"
    for one, two in itertools.combinations([*subjects, log], 2):
        pairs = itertools.zip_longest(one.split("."), two.split("."))
        assert not all(("*" in {a, b} and None not in {a, b}) or a == b for a, b in pairs), (one, two)


async def test_declared(bus: Bus, admin: Admin, stories: Stories) -> None:
    """Trap 15: what is declared is what the server has; a difference is put right."""
    async with service(bus, stories):
        pass
    assert (await bus.carrier("context.events.updated")) is None
    await bus.make(UPDATES)
    changed = (await admin.api("STREAM.INFO.CONTEXT_UPDATES"))["config"] | {"max_age": 10**12, "max_msgs": 5}
    await admin.api("STREAM.UPDATE.CONTEXT_UPDATES", changed)
    await admin.api(
        f"CONSUMER.CREATE.PLANNING.{durable_of('planning.epic.created')}.planning.epic.created",
        {
            "stream_name": "PLANNING",
            "config": {
                "durable_name": durable_of("planning.epic.created"),
                "filter_subject": "planning.epic.created",
                "ack_policy": "explicit",
                "max_deliver": 2,
                "max_ack_pending": 1,
            },
        },
    )
    await bus.make(UPDATES)
    async with service(bus, stories):
        pass
    found = (await admin.api("STREAM.INFO.CONTEXT_UPDATES"))["config"]
    assert (found["max_age"], found["max_msgs"], found["discard"]) == (7 * 24 * 3600 * 10**9, -1, "new")
    for subject in SUBJECTS:
        stream = await bus.carrier(subject)
        found = (await admin.api(f"CONSUMER.INFO.{stream}.{durable_of(subject)}"))["config"]
        assert (found["filter_subject"], found["ack_policy"], found["ack_wait"], found["max_ack_pending"]) == (
            subject,
            "explicit",
            30 * 10**9,
            1_000,
        )
        assert found["max_deliver"] == -1


async def test_durable_of_another(bus: Bus, admin: Admin) -> None:
    """Trap 15: a durable name that is another subject's is refused, and not taken away from it."""
    config = ConsumerConfig(durable_name="context-planning-epic-created", filter_subject="planning.story.created")
    await bus.consumer("PLANNING", config)
    with pytest.raises(Misfit, match=r"is of 'planning.story.created', not of 'planning.epic.created'"):
        await bus.consumer("PLANNING", consuming_module._config("planning.epic.created"))


async def test_subjects_in_the_log(bus: Bus, admin: Admin) -> None:
    """A log whose prefix takes in a subject of ours is refused: what goes there would be no commit."""
    await make(admin, "LOG", ["context.*.*"], metadata={"eventstore.log_id": "x"})
    with pytest.raises(Misfit, match=r"context.update.request lies in the event log LOG"):
        await bus.make(REQUESTS)
    await admin.api("STREAM.DELETE.LOG")
    await make(admin, "MORE", ["context.dead.context-x"])
    await bus.make(DEAD)  # whoever carries some of them is taken for the carrier
    assert await bus.carrier(DEAD.subjects[0]) == "MORE"


async def test_streams_of_others(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A stream that others make is waited for and bound when it comes; health names it, and it is not made."""
    await admin.api("STREAM.DELETE.PLANNING")
    async with service(bus, stories) as monitor:
        assert "no stream carries planning.epic.created, planning.plan.approved" in monitor.health(NAME).trouble
        assert sorted((await admin.api("STREAM.NAMES"))["streams"]) == [
            *("CONTEXT_ANSWERS", "CONTEXT_DEAD", "CONTEXT_REQUESTS", "ORCHESTRATION")
        ]
        await make(admin, "PLANNING", OTHERS["PLANNING"])
        await send(admin, "planning.project.created", {"project_id": "PR-1", "name": "Shop"})

        async def told() -> bool:
            return await events(stories.store) == ["ProjectCreated"]

        async def missed() -> bool:
            return "planning.epic.created" in monitor.health(NAME).trouble

        await until(told)
        await admin.api("STREAM.DELETE.PLANNING")
        await until(missed)


async def test_bound_requests(server: NatsServer, admin: Admin, stories: Stories) -> None:
    """Where the setting says so, that of the requests is waited for too; other carriers are used as they are."""
    await make(admin, "BUS", ["context.update.*"])
    async with open_bus(f"{server.url}?requests=bound") as bus:
        assert bus is not None
        async with service(bus, stories) as monitor:
            assert monitor.health(NAME).trouble == "no stream carries context.rehydrate.request yet"
            await send(admin, "context.update.request", STORY)
            assert (await answer(bus, "e-story"))["version"] == 3
    assert "CONTEXT_REQUESTS" not in (await admin.api("STREAM.NAMES"))["streams"]


async def test_replayed_id_in_a_header(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A message says who it is in its body, else in a header, else by where it lies."""
    async with service(bus, stories):
        body = {"project_id": "PR-1", "name": "Shop"}
        await send(admin, "planning.project.created", {**body, "event_id": "in-body"}, **{"ce-id": "in-header"})
        await send(admin, "planning.project.created", {**body, "name": "b"}, **{EVENT_ID: "in-header", "ce-id": "no"})
        await send(admin, "planning.project.created", {**body, "name": "c"})
        await acknowledged(admin, "planning.project.created", "PLANNING", 3)
    ids = [commit.metadata.causation_id async for commit in stories.store.log()]
    assert sorted(ids) == ["PLANNING:3", "in-body", "in-header"]


async def test_large_dead_letter(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A message as large as may be becomes a dead letter too, and comes back whole."""
    body = b'{"story_id": "S-1", "text": "' + b"a" * (1024 * 1024 - 100) + b'"}'
    async with service(bus, stories):
        await send(admin, "context.update.request", body)
        [letter] = await letters(bus)
        assert letter.body == body
        await replay(bus, letter)
        [again] = await letters(bus)
        assert (again.body, again.event_id) == (body, letter.event_id)


async def test_dead_letter_that_does_not_fit(
    server: NatsServer, bus: Bus, admin: Admin, stories: Stories, printed: Callable[[], str]
) -> None:
    """What has no room beside its facts, packed or not, is cut, and holds up nothing; nobody can replay it."""
    body = os.urandom(1024 * 1024 - 200)
    async with service(bus, stories):
        await send(admin, "planning.task.created", body, Colour="red")
        await send(admin, "planning.epic.created", b"\xff")
        [cut, other] = sorted(await letters(bus, 2), key=lambda letter: letter.stream_sequence)
        await acknowledged(admin, "planning.task.created", "PLANNING", 1)
    assert (cut.subject, cut.stream_sequence, cut.cut, cut.headers) == ("planning.task.created", 1, True, {})
    assert len(body) > len(cut.body) > len(body) - 1_000
    assert body.startswith(cut.body)
    assert not other.cut
    with pytest.raises(InvalidInput, match="only a part of the message was kept"):
        await replay(bus, cut)
    printed()
    await cli_dead_letters._replay_dead_letters(server.url, "", None)
    skipped, replayed = printed().splitlines()
    assert skipped.startswith(f"{cut.sequence} stays: seq: only a part of the message was kept")
    assert replayed == "1 replayed"
    assert [letter.sequence async for letter in dead_letters(bus)] == [cut.sequence]


async def test_id_that_does_not_fit(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A message that is nearly all id is a dead letter too, and is answered under the beginning of its id."""
    body = {"story_id": "S-1", "event_id": random.Random(1).randbytes(512 * 1024 - 100).hex()}
    async with service(bus, stories):
        await send(admin, "context.update.request", body)
        [letter] = await letters(bus)
        await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", 1)
    [said] = await messages(bus, "context.update.response")
    assert body["event_id"].startswith(said["event_id"])
    assert said["error"]["code"] == "RESOURCE_EXHAUSTED"
    assert body["event_id"].startswith(letter.event_id)


async def test_replay_that_does_not_fit(server: NatsServer, bus: Bus, admin: Admin, stories: Stories) -> None:
    """A message that has no room for the id under which it comes again stays a dead letter, and the command says so."""
    body = b'{"story_id": "' + b"a" * (1024 * 1024 - 40) + b'"}'
    async with service(bus, stories):
        await send(admin, "context.update.request", body)
        [letter] = await letters(bus)
    words = ("-m", "context_service", "dead-letters", "replay", str(letter.sequence), "--nats", server.url)
    command = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.PIPE)
    _, said = await command.communicate()
    assert (command.returncode, said.decode().count("\n")) == (1, 1), said.decode()
    assert said.startswith(b"context: a message of 1,048,")


async def test_readiness(tmp_path: Path, stories: Stories) -> None:
    """Trap 18: after NATS was away messages are taken in again; until then health says so."""
    with one_server(tmp_path) as server:
        async with open_bus(server.url) as bus:
            assert bus is not None
            async with service(bus, stories) as monitor:
                server.kill()
                await until(lambda: _not_ready(monitor))
                server.start()
                await asyncio.to_thread(server.wait)
                await until(lambda: ready(monitor))
                async with administration(server.url) as admin:
                    await send(admin, "context.update.request", STORY)
                    assert (await answer(bus, "e-story"))["version"] == 3


async def _not_ready(monitor: Monitor) -> bool:
    return not monitor.health(NAME).ready


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What commands have printed since it was asked for."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(terminal, "out", console(soft_wrap=True))
    return lambda: capsys.readouterr().out


async def test_command(
    server: NatsServer, bus: Bus, admin: Admin, stories: Stories, printed: Callable[[], str]
) -> None:
    """`dead-letters` lists, shows and replays: all of them, those of a subject, or one."""
    async with service(bus, stories):
        await send(admin, "planning.epic.created", {"title": "Üsers"})
        await letters(bus)
        await send(admin, "planning.project.created", b"\xff")
        first, second = await letters(bus, 2)
    printed()
    await cli_dead_letters._list_dead_letters(server.url, "", as_json=False)
    heading, line, _ = printed().splitlines()
    assert heading.split() == ["seq", "subject", "event", "deliveries", "reason"]
    assert line.rstrip().split(maxsplit=4) == [
        *("1", "planning.epic.created", "PLANNING:1", "1"),
        "body: Object missing required field `epic_id`",
    ]
    await cli_dead_letters._list_dead_letters(server.url, "planning.project.created", as_json=True)
    assert json.loads(printed())["sequence"] == second.sequence
    await cli_dead_letters._show_dead_letter(server.url, first.sequence)
    assert json.loads(printed()) == {
        "subject": "planning.epic.created",
        "reason": "body: Object missing required field `epic_id`",
        "event_id": "PLANNING:1",
        "stream": "PLANNING",
        "stream_sequence": 1,
        "deliveries": 1,
        "headers": {},
        "cut": False,
        "sequence": first.sequence,
        "body": '{"title": "\\u00dcsers"}',
    }
    with pytest.raises(InvalidInput, match="there is no dead letter 99"):
        await cli_dead_letters._replay_dead_letters(server.url, "", 99)
    with pytest.raises(InvalidInput, match="got nothing"):
        await cli_dead_letters._replay_dead_letters("", "", 1)
    await cli_dead_letters._replay_dead_letters(server.url, "", second.sequence)
    await cli_dead_letters._replay_dead_letters(server.url, "planning.story.created", None)
    await cli_dead_letters._replay_dead_letters(server.url, "planning.epic.created", None)
    assert printed() == "1 replayed\n0 replayed\n1 replayed\n"
    assert [letter async for letter in dead_letters(bus)] == []
    assert (await admin.api("STREAM.INFO.PLANNING"))["state"]["messages"] == 4


def test_command_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`dead-letters replay` wants to be told which."""
    monkeypatch.setattr(sys, "argv", ["context", "dead-letters", "replay", "--nats", "nats://127.0.0.1:1"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 2
    assert "name one by its number, or --all" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        *("http://h:1", "nats://", "nats://h:1/STREAM", "nats://h:1?replicas=2", "nats://h:1?colour=red"),
        "nats://me:secret@h:1?requests=made",
    ],
)
async def test_wrong_urls(url: str) -> None:
    """A URL that is not understood is refused with what was expected, and without its password."""
    with pytest.raises(InvalidInput, match="expected") as refused:
        async with open_bus(url):
            pass
    assert refused.value.field == "nats"
    assert "secret" not in str(refused.value)


@asynccontextmanager
async def stopped_midway(
    bus: Bus, stories: Stories, monkeypatch: pytest.MonkeyPatch, update: Callable[..., Any]
) -> AsyncIterator[asyncio.Task[None]]:
    """Run the service, ask it to stop while it carries out a message, and yield its ending."""
    monkeypatch.setattr(stories, "update", update)
    ended = asyncio.Event()

    async def run() -> None:
        async with service(bus, stories):
            await ended.wait()

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        ended.set()
        await task


async def test_stop(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 18: a service that is stopped finishes what it has in hand, acknowledges it, and takes no more."""
    begun, go = asyncio.Event(), asyncio.Event()
    update = stories.update

    async def slow(*given: Any, **named: Any) -> Any:
        begun.set()
        await go.wait()
        return await update(*given, **named)

    async with stopped_midway(bus, stories, monkeypatch, slow):
        await bus.make(REQUESTS)
        await send(admin, "context.update.request", STORY)
        await begun.wait()
        asyncio.get_running_loop().call_later(0.3, go.set)
    assert (await answer(bus, "e-story"))["version"] == 3
    await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", 1)


async def test_stopped_while_the_log_is_away(
    bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the log when the service is stopped goes to the next one at once."""
    tried = asyncio.Event()
    update = stories.update

    async def away(*given: Any, **named: Any) -> Any:
        tried.set()
        raise StoreUnavailable("away")

    async with stopped_midway(bus, stories, monkeypatch, away):
        await bus.make(REQUESTS)
        await send(admin, "context.update.request", STORY)
        await tried.wait()
    monkeypatch.setattr(stories, "update", update)
    async with service(bus, stories):
        assert (await answer(bus, "e-story"))["version"] == 3


@pytest.mark.parametrize(
    ("error", "deliveries", "reason"),
    [
        (RuntimeError("secret"), len(QUICK) + 1, "body: the service failed: RuntimeError"),
        (InvalidInput("events", "expected fewer"), 1, "events: expected fewer"),
        (Refused([Violation(Fault.LATE, "min_position", "not there")]), len(QUICK) + 1, "min_position: not there"),
    ],
)
async def test_failures(  # noqa: PLR0917 (fixtures)
    bus: Bus,
    admin: Admin,
    stories: Stories,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    deliveries: int,
    reason: str,
) -> None:
    """What the service fails at comes again and dies with the kind of error alone; what no log takes dies at once."""

    async def fail(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(stories, "update", fail)
    async with service(bus, stories):
        await send(admin, "context.update.request", STORY)
        [letter] = await letters(bus)
    assert (letter.deliveries, letter.reason) == (deliveries, reason)
    assert (await answer(bus, "e-story"))["error"]["message"] == reason


def test_codes() -> None:
    """Each fault has a status code of gRPC, and that of the most important one is a refusal's."""
    found = [code_of(Refused([Violation(fault, "", "")])) for fault in Fault]
    assert found == ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED"]
    assert all(code in grpc.StatusCode.__members__ for code in found)
    assert code_of(Refused([Violation(fault, "", "") for fault in reversed(Fault)])) == "INVALID_ARGUMENT"


async def test_answer_too_large(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that NATS does not take is answered with that."""
    large = pb.RehydrateSessionResponse(case_id="x" * 1024 * 1024)

    async def answered(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
        return large

    monkeypatch.setitem(globals(), "rehydrated", answered)
    async with service(bus, stories):
        await send(admin, "context.rehydrate.request", {"case_id": "S-1", "event_id": "e-1"})
        said = await answer(bus, "e-1", "context.rehydrate.response")
    assert said["error"]["code"] == "RESOURCE_EXHAUSTED"


async def test_cache_away(
    bus: Bus,
    admin: Admin,
    stories: Stories,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A rehydration whose bundle cannot be kept waits for the cache, and the log says for what it waits."""
    monkeypatch.setattr(consuming_module, "_PAUSES", (0.001,))
    faults = iter([BundlesUnavailable("the cache cannot be used: ConnectionError")] * 3)
    keep = rehydrated

    async def failing(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
        for fault in faults:
            raise fault
        return await keep(request)

    monkeypatch.setitem(globals(), "rehydrated", failing)
    async with service(bus, stories):
        await send(admin, "context.rehydrate.request", {"case_id": "S-1", "event_id": "e-1", "persist_bundle": True})
        assert (await answer(bus, "e-1", "context.rehydrate.response"))["version"] == 3
    said = [record.getMessage() for record in caplog.records if "messages wait" in record.getMessage()]
    assert said == ["messages wait for the cache: the cache cannot be used: ConnectionError"] * 3


@pytest.mark.parametrize(
    "what", ["CONSUMER.DELETE.CONTEXT_REQUESTS.context-update-request", "STREAM.DELETE.CONTEXT_ANSWERS"]
)
async def test_removed_by_hand(bus: Bus, admin: Admin, stories: Stories, what: str) -> None:
    """A consumer or a stream that somebody removes is made again, and what comes then is handled and answered."""
    async with service(bus, stories):
        await admin.api(what)
        await send(admin, "context.update.request", STORY)
        assert (await answer(bus, "e-story"))["version"] == 3


async def test_consumer_that_is_gone(bus: Bus, admin: Admin) -> None:
    """A consumer that is gone is noticed at once, and not asked again and again."""
    pulling = await bus.consumer("PLANNING", consuming_module._config("planning.epic.created"))
    await admin.api("CONSUMER.DELETE.PLANNING.context-planning-epic-created")
    with pytest.raises(BusUnavailable, match="does not answer"):
        await consuming_module._next(pulling)


async def test_plans(stories: Stories) -> None:
    """A plan is the story's that had it first, for as long as that has it."""
    index = MemoryModel()
    steps: list[tuple[str, Any, str | None]] = [
        ("S-1", events_pb2.PlanVersionAddedEvent(plan_id="P"), "S-1"),
        ("S-2", events_pb2.PlanVersionAddedEvent(plan_id="P"), "S-1"),
        ("S-2", events_pb2.PlanVersionRemovedEvent(plan_id="P"), "S-1"),
        ("S-1", events_pb2.PlanVersionRemovedEvent(plan_id="P"), None),
    ]
    async with running(PLANS, stories.store, index):
        for story, event, found in steps:
            done = await stories.store.append(StreamId("story", story), [event], expected=ANY)
            await wait_for(PLANS, index, done, timeout=5)
            assert story_of_plan(index, "P") == found


async def test_without_nats(stories: Stories) -> None:
    """Without a bus nothing is taken in, and health knows of nothing more."""
    async with taking_in(None, stories, rehydrated, Monitor()) as names:
        assert names == ()


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is named without the password."""
    monkeypatch.setattr(bus_module, "_CONNECT_SECONDS", 0.1)
    async with open_bus("nats://me:secret@127.0.0.1:1") as bus:
        assert bus is not None
        with pytest.raises(BusUnavailable, match=r"no server answers within 0.1 s") as error:
            await bus.publish("x", b"")
    assert "secret" not in str(error.value)


async def test_strangers_letters(bus: Bus, admin: Admin) -> None:
    """What others put among the dead letters is left alone."""
    await bus.make(DEAD)
    await send(admin, "context.dead.x", {"a": 1})
    assert [letter async for letter in dead_letters(bus)] == []


async def test_long_in_hand(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that takes longer than the server waits for an acknowledgement is not given to others meanwhile."""
    monkeypatch.setattr(consuming_module, "_ACK_SECONDS", 0.3)
    update = stories.update

    async def slow(*given: Any, **named: Any) -> Any:
        await asyncio.sleep(2)  # what is shown is that time passes
        return await update(*given, **named)

    monkeypatch.setattr(stories, "update", slow)
    async with service(bus, stories):
        await send(admin, "context.update.request", STORY)
        await answer(bus, "e-story")
        await acknowledged(admin, "context.update.request", "CONTEXT_REQUESTS", 1)
        info = await admin.api(f"CONSUMER.INFO.CONTEXT_REQUESTS.{durable_of('context.update.request')}")
    assert info["delivered"]["consumer_seq"] == 1


async def test_one_subject_in_trouble(
    bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the service at one subject is told, leaves the others alone, and is tried again."""
    faults = iter([RuntimeError("x")])
    consumer = bus.consumer

    async def failing(stream: str, config: ConsumerConfig) -> Any:
        if config.filter_subject == "planning.epic.created":
            for fault in faults:
                raise fault
        return await consumer(stream, config)

    monkeypatch.setattr(bus, "consumer", failing)
    async with service(bus, stories):
        await send(admin, "planning.epic.created", {"epic_id": "E-1", "project_id": "PR-1", "title": "x"})
        await acknowledged(admin, "planning.epic.created", "PLANNING", 1)
    assert await events(stories.store) == ["EpicCreated"]


async def test_lasting_trouble(bus: Bus, admin: Admin, stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that stays somebody else's is one trouble for as long as it does: health does not say otherwise."""
    durable = durable_of("planning.epic.created")
    await bus.consumer("PLANNING", ConsumerConfig(durable_name=durable, filter_subject="planning.story.created"))
    monkeypatch.setattr(consuming_module, "_PAUSES", (0.01,))
    tries, noted, monitor = 0, list[tuple[str, str]](), Monitor()
    consumer, note = bus.consumer, monitor.note

    async def counted(stream: str, config: ConsumerConfig) -> Any:
        nonlocal tries
        tries += config.durable_name == durable
        return await consumer(stream, config)

    def watched(name: str, state: Any, *, trouble: str = "") -> None:
        noted.append((state, trouble))
        note(name, state, trouble=trouble)

    async def tried() -> bool:
        return tries > 5

    monkeypatch.setattr(bus, "consumer", counted)
    monkeypatch.setattr(monitor, "note", watched)
    async with consuming(bus, Handler(stories, MemoryModel(), rehydrated), monitor):
        await until(tried)
    first = next(number for number, (state, _) in enumerate(noted) if state == "unavailable")
    assert {state for state, _ in noted[first:]} == {"unavailable"}
    assert f"the consumer {durable} of PLANNING is of 'planning.story.created'" in noted[-1][1]


async def test_not_as_declared(bus: Bus, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 15: a server that makes something else of what is declared is not believed."""
    monkeypatch.setattr(bus_module, "_different", lambda *_: "max_age is 1, not 2")
    with pytest.raises(Misfit, match="CONTEXT_DEAD is not as declared: max_age is 1, not 2"):
        await bus.make(DEAD)
    with pytest.raises(Misfit, match="of PLANNING is not as declared"):
        await bus.consumer("PLANNING", consuming_module._config("planning.epic.created"))


async def test_refused_by_the_server(bus: Bus, admin: Admin) -> None:
    """An error of JetStream is told by its code."""
    await make(admin, "SMALL", ["small.x"], max_msg_size=1)
    with pytest.raises(BusUnavailable, match="JetStream answered with error 10054"):
        await bus.publish("small.x", b"12")


async def test_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting there is no bus; without the driver the extra is named."""
    async with open_bus("") as bus:
        assert bus is None
    monkeypatch.setitem(sys.modules, "eventstore.jetstream", None)
    with pytest.raises(InvalidInput, match=r"install foldlog-context\[jetstream\]"):
        async with open_bus("nats://h:1"):
            pass


async def test_secrets(bus: Bus, admin: Admin, stories: Stories) -> None:
    """A token of a known format comes neither into the log nor out of it, nor into the reason of a dead letter."""
    token = "ghp_" + "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=36))
    change = {"operation": "CREATE", "entity_type": "CASE", "payload": {"title": f"use {token}"}}
    async with service(bus, stories):
        await send(admin, "context.update.request", {"story_id": "S-1", "event_id": "e-1", "changes": [change]})
        assert "body: a secret was removed" in (await answer(bus, "e-1"))["warnings"]
        await send(admin, "planning.epic.created", {"epic_id": "E", "project_id": token * 9, "title": token})
        bad = {"story_id": "S-1", "event_id": "e-2", "role": token, "changes": []}
        await send(admin, "context.update.request", bad)
        [letter, *_] = await letters(bus)
        error = (await answer(bus, "e-2"))["error"]
    assert token not in letter.reason + json.dumps(error)
    async for commit in stories.store.log():
        assert all(token.encode() not in event.raw.payload for event in commit.events)
    assert (await stories.ask("S-1")).state.title.startswith("use [redacted")
