"""What goes out over NATS: one message a commit, in the order of the log, each once, whatever becomes of publishers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from context_service import bus as bus_module
from context_service.bus import CHECKPOINTS, UPDATES, Bus, BusUnavailable, open_bus
from context_service.events.v1 import events_pb2 as pb
from context_service.stories import codec
from context_service.updates import MOST_CHANGES, POSITION, SUBJECT, BusModel, updates
from context_service.views import deployed
from eventstore import ANY, EventStore, Metadata, StreamId, open_store
from projections import Batch, Batching, ModelRefused, ModelUnavailable, reset, run, wait_for

from tests.eventstore.nats_servers import NatsServer, administration, one_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.contract, pytest.mark.timeout(12)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with one_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """A server with nothing on it."""
    async with administration(server.url) as admin:
        for name in (await admin.api("STREAM.NAMES"))["streams"] or ():
            await admin.api(f"STREAM.DELETE.{name}")
    async with open_bus(server.url) as bus:
        assert bus is not None
        yield bus


@pytest.fixture
async def store() -> AsyncIterator[EventStore]:
    async with open_store("memory://", codec) as store:
        yield store


async def write(store: EventStore, count: int, *, seed: int = 0) -> None:
    """Write so many commits of three stories, and one of a project between them."""
    chance = random.Random(seed)
    for number in range(count):
        events = [pb.DecisionAddedEvent(decision_id=f"D-{number}-{each}") for each in range(chance.randint(1, 3))]
        metadata = Metadata(actor="ann", causation_id="T-1", correlation_id=f"c-{number}")
        await store.append(StreamId("story", f"S-{chance.randint(1, 3)}"), events, expected=ANY, metadata=metadata)
        if number == count // 2:
            await store.append(StreamId("project", "PR-1"), [pb.ProjectCreatedEvent(name="x")], expected=ANY)


@asynccontextmanager
async def publishing(store: EventStore, model: BusModel, *, lease: float = 1.0, commits: int = 7) -> AsyncIterator[Any]:
    """Run the projection."""
    task = asyncio.create_task(
        run(updates(store.log_id), store, model, lease=lease, batching=Batching(commits=commits))
    )
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def published(bus: Bus) -> list[dict[str, Any]]:
    """Return all that is in the stream."""
    sequence, found = 0, []
    while message := await bus.message(UPDATES.name, sequence):
        sequence = message.seq or 0
        body = json.loads(message.data or b"")
        assert (message.headers or {})[POSITION] == body["position"]
        found.append(body)
    return found


async def expected(store: EventStore) -> list[tuple[str, str, int, str]]:
    """Return what a complete stream tells, from the log alone."""
    return [
        (commit.commit_id.hex(), commit.stream.id, commit.version, f"{store.log_id}:{commit.position}")
        async for commit in store.log()
        if commit.stream.category == "story"
    ]


def told(found: list[dict[str, Any]]) -> list[tuple[str, str, int, str]]:
    return [(each["event_id"], each["story_id"], each["version"], each["position"]) for each in found]


async def test_each_commit(bus: Bus, store: EventStore) -> None:
    """Each commit of a story is told once, in log order, with what changed, who and when."""
    model = BusModel(bus)
    async with publishing(store, model):
        await write(store, 40)
        await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
    found = await published(bus)
    assert told(found) == await expected(store)
    first = await anext(aiter(store.log()))
    assert found[0] == {
        "event_id": first.commit_id.hex(),
        "story_id": first.stream.id,
        "version": first.version,
        "position": f"{store.log_id}:{first.position}",
        "types": ["DecisionAdded"],
        "changes": [
            {"type": "DecisionAdded", "entity_type": "DECISION", "entity_id": f"D-0-{number}"}
            for number in range(first.version)
        ],
        "changes_left_out": 0,
        "actor": "ann",
        "causation_id": "T-1",
        "correlation_id": "c-0",
        "occurred_at": first.recorded_at.isoformat(),
        "recorded_at": first.recorded_at.isoformat(),
    }


async def test_what_changed(bus: Bus, store: EventStore) -> None:
    """Each kind of event names its entity; of a very large commit the first ones are told, and how many more."""
    news: list[Any] = [
        pb.ContextCreatedEvent(title="x"),
        pb.PlanVersionAddedEvent(plan_id="P-1"),
        pb.SubtaskAddedEvent(subtask_id="T-1", plan_id="P-1"),
        pb.DecisionLinkedEvent(source_id="D-1", kind="AFFECTS", target_id="T-1"),
        pb.MilestoneReachedEvent(milestone_id="M-1"),
        pb.SummaryRecordedEvent(role="qa", text="x"),
    ]
    model = BusModel(bus)
    more = [pb.DecisionAddedEvent(decision_id="D")] * MOST_CHANGES
    await store.append(StreamId("story", "S-1"), [*news, *more], expected=ANY)
    async with publishing(store, model):
        await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
    [only] = await published(bus)
    assert [(each["entity_type"], each["entity_id"]) for each in only["changes"][:6]] == [
        ("CASE", "S-1"),
        ("PLAN", "P-1"),
        ("SUBTASK", "T-1"),
        ("RELATION", "D-1 AFFECTS T-1"),
        ("MILESTONE", "M-1"),
        ("SUMMARY", "qa"),
    ]
    assert (len(only["changes"]), only["changes_left_out"]) == (MOST_CHANGES, 6)


#: 1,000 relations whose ends need as many bytes as they can.
LONG_LINKS: Final = [
    pb.DecisionLinkedEvent(source_id=f"{number:03}".ljust(250, '"'), kind="AFFECTS", target_id='"' * 250)
    for number in range(1_000)
]


async def test_large_commit(bus: Bus, store: EventStore) -> None:
    """Of a commit whose changes have no room the first ones are told, how many more there are, and what comes next."""
    model = BusModel(bus)
    await store.append(StreamId("story", "S-1"), LONG_LINKS, expected=ANY)
    await store.append(StreamId("story", "S-1"), [pb.DecisionAddedEvent(decision_id="D")], expected=ANY)
    async with publishing(store, model):
        await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
    large, small = await published(bus)
    assert 100 < len(large["changes"]) < 300
    assert len(large["changes"]) + large["changes_left_out"] == 1_000
    assert [each["entity_id"][:3] for each in large["changes"]] == [f"{n:03}" for n in range(len(large["changes"]))]
    assert small["changes_left_out"] == 0


async def test_small_server(tmp_path: Path, store: EventStore) -> None:
    """A server that takes little is told no changes of a large commit, but how many there are."""
    await store.append(StreamId("story", "S-1"), LONG_LINKS, expected=ANY)
    with one_server(tmp_path, more="max_payload: 65536") as server:
        async with open_bus(server.url) as bus:
            assert bus is not None
            model = BusModel(bus)
            async with publishing(store, model):
                await wait_for(updates(store.log_id), model, await store.head(), timeout=5)
            [only] = await published(bus)
    assert (only["changes"], only["changes_left_out"], only["version"]) == ([], 1_000, 1_000)


@pytest.mark.parametrize("seed", range(3))
async def test_cut_off(bus: Bus, store: EventStore, seed: int) -> None:
    """Cut off before or after any message or the record, by whoever goes on, each commit is told once and in order."""
    chance = random.Random(seed)
    await write(store, 100, seed=seed)
    commits = [commit async for commit in store.log() if commit.stream.category == "story"]
    projection = updates(store.log_id)
    publish, cuts = bus.publish, 0

    async def cut(*given: Any, **named: Any) -> int:
        nonlocal cuts
        fate = chance.random()
        cuts += fate < 0.2
        if fate < 0.1:
            raise BusUnavailable("cut off before")
        sequence = await publish(*given, **named)
        if fate < 0.2:
            raise BusUnavailable("cut off after")
        return sequence

    bus.publish = cut  # type: ignore[method-assign]
    done = 0
    while done < len(commits):
        model = BusModel(bus)
        stored = await model.load("updates")
        done = int(stored.record) if stored else 0
        batch = Batch(commits[done : done + chance.randint(1, 20)], str)
        with suppress(ModelUnavailable):
            await model.commit(
                "updates",
                str(done + len(batch)).encode(),
                expected=stored.revision if stored else 0,
                changes=functools.partial(_apply, projection, batch),
            )
    assert cuts > 10
    assert told(await published(bus)) == await expected(store)


async def _nothing(tx: Any) -> None:
    pass


def _apply(projection: Any, batch: Batch, tx: Any) -> None:
    projection.apply(tx, batch)


async def test_zombie(server: NatsServer, bus: Bus, store: EventStore) -> None:
    """One that was paused in the middle of a batch, and was taken over, publishes nothing again."""
    await write(store, 30)
    held, go = asyncio.Event(), asyncio.Event()
    publish, count = bus.publish, 0

    async def paused(*given: Any, **named: Any) -> int:
        nonlocal count
        count += given[0] == SUBJECT
        if count == 5 and not held.is_set():
            held.set()
            await go.wait()
        return await publish(*given, **named)

    bus.publish = paused  # type: ignore[method-assign]
    async with publishing(store, BusModel(bus), lease=0.3, commits=100), open_bus(server.url) as other:
        assert other is not None
        await held.wait()
        async with publishing(store, BusModel(other), lease=0.3):
            await wait_for(updates(store.log_id), BusModel(other), await store.head(), timeout=10)
            go.set()
            await write(store, 10, seed=1)
            await wait_for(updates(store.log_id), BusModel(other), await store.head(), timeout=10)
    assert told(await published(bus)) == await expected(store)


async def test_old_messages_gone(bus: Bus, store: EventStore) -> None:
    """That the stream has let go of its messages begins nothing anew: the checkpoint is not among them."""
    model = BusModel(bus)
    async with publishing(store, model):
        await write(store, 10)
        await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
    await bus.purge(SUBJECT)
    before = len(await expected(store))
    async with publishing(store, model):
        await write(store, 5, seed=1)
        await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
    assert told(await published(bus)) == (await expected(store))[before:]


async def test_reset(bus: Bus, store: EventStore) -> None:
    """An operator's reset takes back what is there and tells all anew; a rebuild beside it is refused."""
    model = BusModel(bus)
    await write(store, 10)
    for _ in range(2):
        async with publishing(store, model):
            await wait_for(updates(store.log_id), model, await store.head(), timeout=10)
        assert told(await published(bus)) == await expected(store)
        await reset(updates(store.log_id), store, model)
    assert await published(bus) == []
    with pytest.raises(ModelRefused, match="what was published stays"):
        model.naming("updates", 1)
    with pytest.raises(ModelRefused, match="what was published stays"):
        await model.swapping([SUBJECT], str)
    with pytest.raises(ModelRefused, match="what was published stays"):
        _ = [entry async for entry in model.entries([SUBJECT], str)]
    await model.prepare(lambda _, __: None, str)


async def test_record(bus: Bus, store: EventStore) -> None:
    """Of two that expect the same revision of the record one succeeds; one that was removed may be made again."""
    one, two = BusModel(bus), BusModel(bus)
    assert await one.load("x") is None
    assert await one.commit("x", b"1", expected=0)
    assert not await two.commit("x", b"2", expected=0)
    assert await two.commit("x", b"2", expected=1)
    assert await one.load("x") == (b"2", 2)
    assert await one.commit("x", None, expected=2)
    assert await one.load("x") is None
    assert await one.commit("x", b"3", expected=0, changes=_nothing)
    assert await two.load("x") == (b"3", 1)
    assert await bus.carrier(CHECKPOINTS.subjects[0]) == CHECKPOINTS.name


async def test_two_write_the_record(server: NatsServer, bus: Bus) -> None:
    """Of two that have seen the same record the second is refused, however late it is."""
    async with open_bus(server.url) as other:
        assert other is not None
        one, two = BusModel(bus), BusModel(other)
        for model in (one, two):
            assert await model.load("x") is None
        publish = bus.publish

        async def late(*given: Any, **named: Any) -> int:
            assert await two.commit("x", b"2", expected=0)
            return await publish(*given, **named)

        bus.publish = late  # type: ignore[method-assign]
        assert not await one.commit("x", b"1", expected=0)
        assert await two.load("x") == (b"2", 1)


async def test_log_among_the_subjects(server: NatsServer, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that takes in the subject of the updates is refused as a target; a server that is away is waited for."""
    async with administration(server.url) as admin:
        config = {"name": "LOG", "subjects": ["context.>"], "metadata": {"eventstore.log_id": "x"}}
        await admin.api("STREAM.CREATE.LOG", config)
        with pytest.raises(ModelRefused, match=r"context.events.updated lies in the event log LOG"):
            await BusModel(bus).load("updates")
    monkeypatch.setattr(bus_module, "_CONNECT_SECONDS", 0.1)
    async with open_bus("nats://127.0.0.1:1") as away:
        assert away is not None
        with pytest.raises(ModelUnavailable, match="no server answers"):
            await BusModel(away).commit("updates", b"", expected=0)


async def test_deployed(server: NatsServer, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command `projections` knows the updates, by the service's own setting."""
    store = f"sqlite:///{tmp_path}/context.db"
    async with open_store(store, codec):
        pass
    for name in [name for name in os.environ if name.startswith("CONTEXT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONTEXT_STORE", store)
    monkeypatch.setenv("CONTEXT_NATS", server.url)
    async with deployed() as views:
        assert [view.projection.name for view in views] == ["graph", "updates"]
