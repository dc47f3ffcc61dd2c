"""Migrations: what a new log says, on every backend, with any chain, and after any interruption."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from eventstore import (
    ANY,
    MAX_ENVELOPE_BYTES,
    NO_STREAM,
    Codec,
    CorruptCommit,
    EventStore,
    Metadata,
    NewCommit,
    Position,
    StreamId,
    Undecodable,
    digest_of,
    open_store,
)
from eventstore.memory import MemoryBackend
from eventstore.raw import brought, fill, parse
from google.protobuf.descriptor_pb2 import UninterpretedOption
from hypothesis import given, settings
from hypothesis import strategies as st
from upcasting import (
    Became,
    Carried,
    InvalidSteps,
    Newer,
    Outgrown,
    Policy,
    TargetDiffers,
    Upcasting,
    migrate,
    renamed,
    retired,
    split,
    step,
)

from tests.eventstore.nats_servers import new_name
from tests.upcasting.histories import CLASSES, STREAMS, Evolution, Written, evolutions, histories
from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2, Unrelated
from tests.upcasting.shop import OLD, STEPS, TODAY, UPCASTING, by_line, in_cents, with_currency

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from eventstore import Appended, Event, RawCommit
    from upcasting import Migrated, Step

ONE, TWO = StreamId("order", "1"), StreamId("order", "2")


def memory(codec: Codec = OLD) -> EventStore:
    """Return an empty log whose clock moves on by a second an append."""
    seconds = itertools.count(1_000)
    return EventStore(MemoryBackend(clock=lambda: next(seconds) * 1_000_000), codec)


async def raw(store: EventStore) -> list[RawCommit]:
    return [commit async for chunk in store.backend.log(after=Position(0)) for commit in chunk]


class Seen(NamedTuple):
    """An event as a reader sees it, but for its version."""

    message: Any
    occurred_at: datetime
    recorded_at: datetime
    commit_id: bytes
    metadata: Metadata


def seen(event: Event) -> Seen:
    commit = event.commit
    return Seen(event.message, event.occurred_at, event.recorded_at, commit.commit_id, commit.metadata)


async def all_seen(store: EventStore) -> list[tuple[StreamId, Seen]]:
    return [(event.stream, seen(event)) async for commit in store.log() for event in commit.events]


# ------------------------------------------------------------------------------------------- lazily as eagerly


async def write(store: EventStore, history: Sequence[Written]) -> None:
    for number, commit in enumerate(history):
        occurred = None if commit.occurred is None else datetime.fromtimestamp(commit.occurred, UTC)
        await store.append(
            commit.stream,
            commit.messages,
            expected=(await store.tail(commit.stream)).version,
            commit_id=number.to_bytes(16),
            metadata=commit.metadata,
            occurred_at=occurred,
        )


@settings(max_examples=300)
@given(data=st.data(), evolution=evolutions())
def test_reading_lazily_is_migrating_eagerly(data: st.DataObject, evolution: Evolution) -> None:
    """For any chains and any history, an upcasting codec sees in the old log what today's codec sees in the new one."""
    history = data.draw(histories(evolution))
    asyncio.run(_lazy_is_eager(evolution, history, data.draw(st.integers(0, len(history)))))


async def _lazy_is_eager(evolution: Evolution, history: list[Written], kept: int) -> None:
    async with memory(evolution.ever) as source, memory(evolution.today) as target, memory(evolution.ever) as resumed:
        await write(source, history)
        before = await raw(source)
        done = await migrate(source, target, evolution.steps)
        assert await raw(source) == before
        lazy = EventStore(source.backend, evolution.lazy)
        assert await all_seen(target) == await all_seen(lazy)
        for stream in STREAMS:
            await _same_stream(stream, lazy, target)
        assert done.source.commits == len(history)
        assert done.target.commits == len(history) - done.left_out
        # What an interrupted run has left is gone on with.
        await begin_with(resumed, (await raw(target))[:kept])
        again = await migrate(source, resumed, evolution.lazy)
        assert again.already == min(kept, done.target.commits)
        assert (again.target.digest, again.left_out, again.carried) == (done.target.digest, done.left_out, done.carried)
        for stream in STREAMS:
            await _writable(stream, lazy, target, CLASSES[0, evolution.newest[0]]())


async def begin_with(store: EventStore, commits: Sequence[RawCommit]) -> None:
    """Store the beginning of another log."""

    async def chunks() -> AsyncGenerator[Sequence[NewCommit], None]:
        yield [brought(commit, parse(commit)) for commit in commits]

    await fill(store, chunks())


async def _same_stream(stream: StreamId, lazy: EventStore, eager: EventStore) -> None:
    """Compare a stream as a reader sees it; its version is that of each log."""
    old, new = await lazy.read(stream), await eager.read(stream)
    assert [seen(event) for event in new.events] == [seen(event) for event in old.events]
    assert old.version == (await lazy.tail(stream)).version
    assert [event.version for event in new.events] == list(range(1, new.version + 1))


async def _writable(stream: StreamId, lazy: EventStore, eager: EventStore, message: Any) -> None:
    """What a read says is what an append expects, in each log its own version."""
    for store in (lazy, eager):
        version = (await store.read(stream)).version
        assert (await store.append(stream, [message], expected=version)).version == version + 1


# ----------------------------------------------------------------------------------------------- every backend


MOMENT = datetime(2020, 5, 1, 12, tzinfo=UTC)


async def fill_old(store: EventStore) -> None:
    """Write what every kind of step takes, and what none does."""
    await store.append(ONE, [PlacedV1(price="4.20"), Basket(lines=3)], expected=NO_STREAM, occurred_at=MOMENT)
    await store.append(TWO, [Basket()], expected=NO_STREAM, metadata=Metadata(actor="ann"))
    await store.append(ONE, [Paid(by="ann")], expected=2, metadata=Metadata(actor="ann", correlation_id="c"))
    await store.append(ONE, [Unrelated(), PlacedV2(cents=5)], expected=3)
    await store.append(TWO, [Placed(cents=1, currency="CHF")], expected=1, occurred_at=MOMENT)
    for number in range(250):
        await store.append(StreamId("order", f"n{number}"), [Line(number=number)], expected=NO_STREAM)


def opened(kind: str, folder: Path, nats: str | None, codec: Any) -> EventStore:
    if kind == "memory":
        return memory(codec)
    if kind == "sqlite":
        return open_store(f"sqlite:///{folder}/{new_name()}.db?durability=normal", codec)
    name = new_name()
    return open_store(f"{nats}/{name}?prefix={name}.events", codec)


async def _between(source_kind: str, target_kind: str, folder: Path, nats: str | None = None) -> None:
    async with opened(source_kind, folder, nats, OLD) as source, opened(target_kind, folder, nats, TODAY) as target:
        await fill_old(source)
        before = await digest_of(source)
        done = await migrate(source, target, UPCASTING)
        assert await all_seen(target) == await all_seen(EventStore(source.backend, UPCASTING))
        assert (await digest_of(source)).hexdigest == before.hexdigest == done.source.digest
        assert (await digest_of(target)).hexdigest == done.target.digest
        assert (done.source.log_id, done.target.log_id) == (source.log_id, target.log_id)
        assert source.log_id != target.log_id
        assert (done.source.commits, done.target.commits, done.left_out, done.already) == (255, 254, 1, 0)
        assert (done.source.events, done.target.events) == (257, 257)
        assert done.carried == (
            Carried("order.basket", 1, "upcast", 2, (Became("order.line", 1, 3),)),
            Carried("order.placed", 1, "upcast", 1, (Became("order.placed", 3, 1),)),
            Carried("order.placed", 2, "upcast", 1, (Became("order.placed", 3, 1),)),
            Carried("order.unrelated", 1, "dropped", 1, ()),
        )
        again = await migrate(source, target, STEPS)
        assert (again.already, again.target) == (254, done.target)


LOCAL = [("memory", "sqlite"), ("sqlite", "memory"), ("sqlite", "sqlite")]
SERVED = [("sqlite", "nats"), ("nats", "sqlite"), ("memory", "nats"), ("nats", "nats")]


@pytest.mark.parametrize(("source", "target"), LOCAL)
async def test_between_local_backends(source: str, target: str, tmp_path: Path) -> None:
    """A log moves between memory and files: order, commit ids, both times and metadata stay."""
    await _between(source, target, tmp_path)


@pytest.mark.contract
@pytest.mark.parametrize(("source", "target"), SERVED)
async def test_between_servers(source: str, target: str, tmp_path: Path, nats: str) -> None:
    """A log moves from files to a server, back, and from one JetStream stream to another."""
    await _between(source, target, tmp_path, nats)


async def test_no_step_keeps_all_bytes() -> None:
    """Events that no step takes keep their bytes, whatever these are; a log without any is the same by its digest."""
    async with memory() as source, memory() as target:
        await fill_old(source)
        odd = Paid(by="ann").SerializeToString() + b"\x98\x06\x07"
        envelope = parse((await raw(source))[0])
        envelope.events[0].payload = odd
        envelope.events[1].payload = b"\xff\xff no message"
        envelope.first_version, envelope.commit_id = 1, bytes(16)
        commit = NewCommit(StreamId("odd", "1"), 0, 2, bytes(16), envelope.SerializeToString())  # type: ignore[arg-type]
        await source.backend.append(commit)
        done = await migrate(source, target, [retired("order.never", 1)])
        assert done.source.digest == done.target.digest
        assert [parse(commit).events for commit in await raw(target)] == [
            parse(commit).events for commit in await raw(source)
        ]
        assert done.carried == ()


async def test_empty() -> None:
    """An empty log becomes an empty log."""
    async with memory() as source, memory() as target:
        done = await migrate(source, target, STEPS)
        assert (done.target.commits, done.target.position, done.source.digest) == (0, 0, done.target.digest)


async def test_renamed_counts_as_renamed() -> None:
    """A type may be renamed for good; its events say so in the report."""
    async with memory(Codec(Unrelated)) as source, memory() as target:
        await source.append(ONE, [Unrelated(text="ann")], expected=NO_STREAM)
        done = await migrate(source, target, [renamed("order.unrelated", 1, Paid)])
        assert done.carried == (Carried("order.unrelated", 1, "renamed", 1, (Became("order.paid", 1, 1),)),)
        assert (await target.read(ONE)).events[0].message == Paid(by="ann")


async def test_steps_for_some_schemas() -> None:
    """A migration may carry over one schema and leave an older one as it is."""
    async with memory() as source, memory() as target:
        await source.append(ONE, [PlacedV1(price="1"), PlacedV2(cents=2)], expected=NO_STREAM)
        await migrate(source, target, [with_currency])
        messages = [event.message for event in (await target.read(ONE)).events]
        assert messages == [PlacedV1(price="1"), Placed(cents=2, currency="EUR")]


async def test_policy_for_newer_events() -> None:
    """Where an Upcasting keeps newer events raw, a migration keeps their bytes; where it stops, it stops."""
    newer = PlacedV1.FromString(PlacedV1(price="1").SerializeToString() + b"\x98\x06\x07")
    async with memory() as source, memory() as target, memory() as other:
        await source.append(ONE, [newer], expected=NO_STREAM, occurred_at=MOMENT)
        await migrate(source, target, Upcasting(TODAY, STEPS, newer=Newer(fields=Policy.RAW)))
        [event] = (await target.read(ONE)).events
        assert (event.message, event.occurred_at) == (newer, MOMENT)
        with pytest.raises(Undecodable, match="has a field 99"):
            await migrate(source, other, Upcasting(TODAY, STEPS, newer=Newer(fields=Policy.STOP)))


# --------------------------------------------------------------------------------------------------- what fails


async def test_a_step_that_fails() -> None:
    """It stops the migration with the event's place and the step's name; mended, the migration goes on."""
    failing = step(PlacedV1, PlacedV2)(lambda old: 1 / 0)
    async with memory() as source, memory() as target:
        await source.append(TWO, [Paid(by="ann")], expected=NO_STREAM)
        await source.append(ONE, [Paid(by="ann"), PlacedV1(price="1")], expected=NO_STREAM)
        before = await raw(source)
        with pytest.raises(Undecodable, match="raised ZeroDivisionError: division by zero") as caught:
            await migrate(source, target, [failing, with_currency])
        error = caught.value
        assert (error.stream, error.version, error.position) == (ONE, 2, 2)
        assert (error.type, error.schema) == ("order.placed", 1)
        assert failing.name in error.reason
        assert await raw(source) == before
        done = await migrate(source, target, [in_cents, with_currency])
        assert done.target.commits == 2


async def test_a_loop() -> None:
    """Steps that lead round in a circle are refused before anything is read or written."""
    circle = [
        split(Basket, Unrelated)(lambda old: [Unrelated()]),
        split(Unrelated, Basket)(lambda old: [Basket()]),
    ]
    async with memory() as source, memory() as target:
        await fill_old(source)
        with pytest.raises(InvalidSteps, match="circle"):
            await migrate(source, target, circle)
        assert not await target.backend.head()


async def test_what_cannot_be_serialised() -> None:
    """A message that protobuf does not serialise names the step's event too."""
    part = UninterpretedOption.NamePart
    failing = step(PlacedV1, part)(lambda old: part())
    async with memory() as source, memory() as target:
        await source.append(ONE, [PlacedV1()], expected=NO_STREAM)
        with pytest.raises(Undecodable, match="NamePart cannot be serialised") as caught:
            await migrate(source, target, [failing])
        assert caught.value.version == 1


async def test_too_large() -> None:
    """A commit that grows over the limit of all logs stops the migration, which names the step that did it."""

    @step(PlacedV1, Paid)
    def fat(old: Any) -> Any:
        return Paid(by="x" * MAX_ENVELOPE_BYTES)

    async with memory() as source, memory() as target:
        events = [PlacedV2(cents=1), PlacedV1(), Line(number=1)]
        await source.append(ONE, events, expected=NO_STREAM)
        with pytest.raises(
            Outgrown, match=r"order '1', version 2, position 1: step .*fat lets the commit grow"
        ) as caught:
            await migrate(source, target, [fat, with_currency])
        error = caught.value
        assert (error.stream, error.version, error.position, error.step) == (ONE, 2, 1, fat.name)
        assert error.size > MAX_ENVELOPE_BYTES
        assert not await target.backend.head()


async def fat_for(source: EventStore) -> Step[Any, Any]:
    """Return a step that makes the commit of a PlacedV1 as large as any may be."""

    @step(PlacedV1, Paid)
    def fat(old: Any) -> Any:
        return Paid(by="x" * room)

    room = MAX_ENVELOPE_BYTES
    async with memory() as target:
        with pytest.raises(Outgrown) as caught:
            await migrate(source, target, [fat])
    room -= caught.value.size - MAX_ENVELOPE_BYTES
    return fat


async def test_the_largest_commit() -> None:
    """A commit of the largest size moves, although its recorded time comes on top; so does the copy, steps or none."""
    async with memory() as source, memory() as first:
        await source.append(ONE, [PlacedV1(), Unrelated()], expected=NO_STREAM)
        await migrate(source, first, [await fat_for(source)])
        [commit] = await raw(first)
        assert len(commit.envelope) > MAX_ENVELOPE_BYTES
        for again in (retired("order.never", 1), step(Unrelated, Line)(lambda old: Line(number=1_000))):
            async with memory() as second:
                await migrate(first, second, [again])
                [copied] = await raw(second)
                assert len(copied.envelope) == len(commit.envelope)


@pytest.mark.parametrize("lines", [126, 127])
async def test_the_largest_commit_after_a_split(lines: int) -> None:
    """A version that an earlier split has moved counts among the bytes, whether or not a step takes the commit."""
    async with memory() as source:
        await source.append(ONE, [Paid()], expected=NO_STREAM)
        await source.append(ONE, [PlacedV1()], expected=1)
        fat = await fat_for(source)
    async with memory() as source, memory() as copy, memory() as target, memory() as other:
        await source.append(ONE, [Basket(lines=lines)], expected=NO_STREAM)
        await source.append(ONE, [PlacedV1()], expected=1)
        await migrate(source, copy, [fat])
        for log, into, steps, blamed in ((source, target, [fat, by_line], fat), (copy, other, [by_line], by_line)):
            if lines < 127:  # the second commit begins at version 127, which takes one byte as version 2 does
                assert (await migrate(log, into, steps)).target.events == 127
                continue
            with pytest.raises(Outgrown, match=rf"version 2, position 2: step {blamed.name} .* to 1,048,065 bytes"):
                await migrate(log, into, steps)


async def test_the_same_log() -> None:
    """A log is not migrated into itself."""
    async with memory() as source:
        await fill_old(source)
        with pytest.raises(TargetDiffers, match="the same log"):
            await migrate(source, source, STEPS)


@pytest.mark.parametrize("commits", [1, 300])
async def test_another_history(commits: int) -> None:
    """A target that holds something else is refused, also one that holds more; nothing is added to it."""
    async with memory() as source, memory() as target:
        await fill_old(source)
        for number in range(commits):
            await target.append(StreamId("other", str(number)), [Paid()], expected=NO_STREAM)
        with pytest.raises(TargetDiffers, match=rf"the target holds {commits} commits .*begin with a new log"):
            await migrate(source, target, STEPS)
        assert await target.backend.head() == commits


async def test_other_steps_than_before() -> None:
    """What other steps have begun is not gone on with."""
    async with memory() as source, memory() as target:
        await fill_old(source)
        await migrate(source, target, [with_currency])
        with pytest.raises(TargetDiffers, match="not the beginning of what these steps make"):
            await migrate(source, target, STEPS)


class Rival(MemoryBackend):
    """A log to which somebody else writes before its third append."""

    def __init__(self, stream: StreamId) -> None:
        super().__init__()
        self._stream: StreamId | None = stream

    async def append(self, commit: NewCommit) -> Appended:
        if len(self._commits) == 2 and (stream := self._stream):
            self._stream = None
            await EventStore(self, OLD).append(stream, [Paid()], expected=ANY)
        return await super().append(commit)


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (StreamId("order", "n7"), "order 'n7': expected version 0, found 1: .* has written to the target"),
        (StreamId("rival", "1"), "holds 255 commits with digest .* something else has written to it"),
    ],
)
async def test_another_writer(stream: StreamId, problem: str) -> None:
    """A target that somebody else writes to meanwhile is no copy, and the migration says so."""
    async with memory() as source, EventStore(Rival(stream), OLD) as target:
        await fill_old(source)
        with pytest.raises(TargetDiffers, match=problem):
            await migrate(source, target, STEPS)


async def test_corrupt_source() -> None:
    """Bytes of the source that are no commit stop the migration, with their position."""
    async with memory() as source, memory() as target:
        await source.append(ONE, [Paid()], expected=NO_STREAM)
        await source.backend.append(NewCommit(TWO, 0, 1, bytes(16), b"\xff"))  # type: ignore[arg-type]
        with pytest.raises(CorruptCommit, match="position 2"):
            await migrate(source, target, STEPS)


async def test_corrupt_target() -> None:
    """Bytes of the target that are no commit are told to be the target's."""
    async with memory() as source, memory() as target:
        await target.backend.append(NewCommit(TWO, 0, 1, bytes(16), b"\xff"))  # type: ignore[arg-type]
        with pytest.raises(TargetDiffers, match="the target: position 1"):
            await migrate(source, target, STEPS)


# -------------------------------------------------------------------------------------------------- on its way


async def test_progress_reaches_its_end() -> None:
    """Each step reports up to its end."""
    reports: dict[str, tuple[int, int]] = {}
    async with memory() as source, memory() as target:
        await fill_old(source)
        await migrate(source, target, STEPS, progress=lambda name, done, total: reports.update({name: (done, total)}))
        assert reports == {"migrate": (255, 255), "verify": (254, 254)}
        await migrate(source, target, STEPS, progress=lambda name, done, total: reports.update({name: (done, total)}))
        assert reports["compare"] == (254, 254)


class Counting(MemoryBackend):
    """A log that counts the appends that are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.now = 0

    async def append(self, commit: NewCommit) -> Appended:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await super().append(commit)


async def test_appends_are_many_at_once() -> None:
    """A window of appends is under way at once, and never two."""
    backend = Counting()
    async with memory() as source, EventStore(backend, OLD) as target:
        for start in range(0, 3_000, 500):
            names = [StreamId("order", str(start + number)) for number in range(500)]
            await asyncio.gather(*(source.append(name, [PlacedV1(price="1")], expected=NO_STREAM) for name in names))
        await migrate(source, target, STEPS)
        assert backend.most == 1_000


async def test_large_appends_are_fewer_at_once() -> None:
    """A window holds some 4 MiB: large commits do not pile up in memory."""
    backend = Counting()
    async with memory() as source, EventStore(backend, OLD) as target:
        for number in range(20):
            await source.append(StreamId("order", f"{number}"), [Paid(by="x" * 600_000)], expected=NO_STREAM)
        await migrate(source, target, STEPS)
        assert backend.most == 7


class Slow(MemoryBackend):
    """A log whose appends do not end, from the fourth on."""

    async def append(self, commit: NewCommit) -> Appended:
        if len(self._commits) == 3:
            await asyncio.Event().wait()
        return await super().append(commit)


async def test_cancelled_with_a_window_on_its_way() -> None:
    """A migration that is cancelled leaves nothing behind that runs, and the beginning of the new log."""
    backend = Slow()
    async with memory() as source, EventStore(backend, OLD) as target, memory() as mended:
        await fill_old(source)
        task = asyncio.create_task(migrate(source, target, STEPS, cut_over=asyncio.Event()))
        await until(lambda: len(backend._commits) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await begin_with(mended, await raw(target))
        assert (await migrate(source, mended, STEPS)).already == 3


async def test_fails_with_a_window_on_its_way() -> None:
    """A step that fails while a window is on its way leaves nothing behind that runs, either."""
    async with memory() as source, EventStore(Slow(), OLD) as target:
        for start in range(0, 1_100, 100):
            names = [StreamId("order", str(start + number)) for number in range(100)]
            await asyncio.gather(*(source.append(name, [Line()], expected=NO_STREAM) for name in names))
        await source.append(ONE, [PlacedV1(price="x")], expected=ANY)
        with pytest.raises(Undecodable, match="in_cents raised ValueError"):
            await migrate(source, target, STEPS)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a fact of another task)
            await asyncio.sleep(0.005)


async def _follow(source: EventStore, target: EventStore) -> Migrated:
    """Migrate while the source is written to, until the cut-over."""
    cut_over, reports = asyncio.Event(), set[str]()
    task = asyncio.create_task(
        migrate(source, target, STEPS, cut_over=cut_over, progress=lambda name, done, total: reports.add(name))
    )
    for number in range(200):
        await source.append(ONE, [PlacedV1(price=f"{number}"), Basket(lines=2)], expected=ANY)
        if number == 100:
            await until(lambda: "follow" in reports)
    cut_over.set()
    async with asyncio.timeout(15):
        return await task


async def _check_followed(source: EventStore, target: EventStore) -> None:
    await fill_old(source)
    done = await _follow(source, target)
    async with memory() as undisturbed:
        expected = await migrate(source, undisturbed, STEPS)
    assert (done.target.digest, done.source) == (expected.target.digest, expected.source)
    assert done.already == 0


async def test_follow_until_the_cut_over() -> None:
    """What is appended to the source until the cut-over is in the target, once."""
    async with memory() as source, memory() as target:
        await _check_followed(source, target)


async def test_the_target_follows() -> None:
    """When it is told that the source was caught up with, the target has all of it, and soon what comes after."""
    reports = set[str]()
    backend = MemoryBackend()
    async with memory() as source, EventStore(backend, TODAY) as target:
        await fill_old(source)
        cut_over = asyncio.Event()
        moving = migrate(source, target, STEPS, cut_over=cut_over, progress=lambda name, done, total: reports.add(name))
        task = asyncio.create_task(moving)
        await until(lambda: "follow" in reports)
        assert await target.backend.head() == 254
        await source.append(ONE, [Paid()], expected=ANY)
        await until(lambda: len(backend._commits) == 255)
        assert not task.done()
        cut_over.set()
        async with asyncio.timeout(15):
            assert (await task).target.commits == 255


async def test_a_cut_over_at_once() -> None:
    """Where the cut-over is set already, the source is copied to its head, however far that is."""
    async with memory() as source, memory() as target:
        await fill_old(source)
        cut_over = asyncio.Event()
        cut_over.set()
        assert (await migrate(source, target, STEPS, cut_over=cut_over)).source.commits == 255


class Busy(MemoryBackend):
    """A log to which somebody writes each time when it has told where it ends."""

    async def head(self) -> Position:
        head = await super().head()
        await EventStore(self, OLD).append(TWO, [Paid()], expected=ANY)
        return head


@pytest.mark.parametrize("follow", [False, True])
async def test_writers_that_go_on(*, follow: bool) -> None:
    """What is written after the call, or after the cut-over, is not in the target, and does not keep it running."""
    cut_over = asyncio.Event() if follow else None
    async with EventStore(Busy(), OLD) as source, memory() as target, memory() as undisturbed:
        await fill_old(source)
        expected = await migrate(source, undisturbed, STEPS)
        assert expected.source.commits == 255
        if cut_over is not None:
            cut_over.set()
        async with asyncio.timeout(5):
            done = await migrate(source, target, STEPS, cut_over=cut_over)
        # A commit came with the first migration; with the second, one at its call and one at the cut-over.
        assert done.source.commits == (257 if follow else 256)
        assert len(await raw(source)) == done.source.commits + 1


@pytest.mark.contract
@pytest.mark.parametrize(("source", "target"), [("sqlite", "nats"), ("nats", "sqlite")])
async def test_follow_between_servers(source: str, target: str, tmp_path: Path, nats: str) -> None:
    """So it is where both are real."""
    async with opened(source, tmp_path, nats, OLD) as one, opened(target, tmp_path, nats, OLD) as other:
        await _check_followed(one, other)


async def test_follow_notices_a_target_that_holds_more() -> None:
    """A target that holds more than the source is refused when the source is caught up with, not at the cut-over."""
    async with memory() as source, memory() as target, memory() as longer:
        await fill_old(longer)
        await migrate(longer, target, STEPS)
        await begin_with(source, (await raw(longer))[:9])
        async with asyncio.timeout(5):
            with pytest.raises(TargetDiffers, match="holds 254 commits"):
                await migrate(source, target, STEPS, cut_over=asyncio.Event())


async def test_interrupted_at_every_commit() -> None:
    """Whatever the first run has left, the second ends as one that was left alone."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        source, whole = await enter(memory()), await enter(memory())
        await write_some(source)
        done = await migrate(source, whole, STEPS)
        made = await raw(whole)
        for kept in range(len(made) + 1):
            target = await enter(memory())
            await begin_with(target, made[:kept])
            again = await migrate(source, target, STEPS)
            assert (again.already, again.target.digest) == (kept, done.target.digest)
            assert [one.recorded_at for one in await raw(target)] == [one.recorded_at for one in made]


async def write_some(store: EventStore) -> None:
    for number in range(12):
        events = [PlacedV1(price="1"), Basket(lines=number % 4), Unrelated(), Paid()][: number % 4 + 1]
        moment = MOMENT + timedelta(seconds=number) if number % 2 else None
        await store.append((ONE, TWO)[number % 2], events, expected=ANY, occurred_at=moment)
