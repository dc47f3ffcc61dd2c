"""From a command to events, and from events to a state, with and without snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import (
    ANY,
    Appended,
    AtPosition,
    AtVersion,
    Bound,
    Codec,
    Conflict,
    CorruptCommit,
    Decider,
    EventStore,
    InvalidInput,
    MemorySnapshots,
    Metadata,
    NewCommit,
    Occurred,
    Payload,
    RawCommit,
    Recorded,
    Snapshot,
    Snapshots,
    StoreUnavailable,
    StreamId,
    Token,
    Undecodable,
    Version,
    commit_id_of,
    fold,
    handle,
    open_store,
)
from eventstore._snapshots import CommitIds
from eventstore._values import BEGINNING
from eventstore.memory import MemoryBackend
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

    from eventstore import Position, SnapshotStore, Until
    from google.protobuf.message import Message

START = datetime(2024, 5, 17, 12, tzinfo=UTC)
STREAM = StreamId("account", "1")
CODEC = Codec(Int64Value)


class Overdrawn(Exception):
    """The account does not hold so much."""


def decide(command: int, state: tuple[int, ...]) -> list[Int64Value]:
    """Deposit or withdraw; 0 changes nothing."""
    if sum(state) + command < 0:
        raise Overdrawn
    return [Int64Value(value=command)] if command else []


def evolve(state: tuple[int, ...], event: Int64Value) -> tuple[int, ...]:
    """Remember every amount, so that a state tells which events made it."""
    return (*state, event.value)


Account = Decider[int, tuple[int, ...], Int64Value]
ACCOUNT: Account = Decider("account", initial=(), decide=decide, evolve=evolve)


def dump(state: tuple[int, ...]) -> bytes:
    return ",".join(map(str, state)).encode()


def load(state: bytes) -> tuple[int, ...]:
    return tuple(map(int, state.decode().split(","))) if state else ()


def kept_in(store: SnapshotStore, *, every: int = 10, live: int = 0, format: str = "1") -> Account:
    """Return the decider, its states kept in a store of snapshots."""
    snapshots = Snapshots(store, dump=dump, load=load, format=format, every=every, live=live)
    return Decider("account", initial=(), decide=decide, evolve=evolve, snapshots=snapshots)


class Backend(MemoryBackend):
    """Memory with a clock that moves a second an append, that counts what is read and lets rivals in first."""

    def __init__(self) -> None:
        self.seconds = 0
        self.read_commits = 0
        self.rivals = 0
        self.lose_answers = 0
        super().__init__(clock=lambda: round(START.timestamp() + self.seconds) * 1_000_000)

    async def append(self, commit: NewCommit) -> Appended:
        if self.rivals:
            self.rivals -= 1
            await super().append(await self._rival(commit.stream))
        self.seconds += 1
        answer = await super().append(commit)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailable("the answer was lost")
        return answer

    async def _rival(self, stream: StreamId) -> NewCommit:
        async with EventStore(MemoryBackend(), CODEC) as other:
            for value in range((await self.tail(stream)).version + 1):
                await other.append(stream, [Int64Value(value=value)], expected=value)
            [*_, raw] = [raw async for chunk in other.backend.read(stream, after=Version(0)) for raw in chunk]
        return NewCommit(stream, (await self.tail(stream)).version, 1, b"", raw.envelope)

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            for raw in chunk:
                self.read_commits += 1
                yield [raw]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend() as backend:
        yield backend


@pytest.fixture
def store(backend: Backend) -> EventStore:
    return EventStore(backend, CODEC)


async def fill(store: EventStore, commits: int, count: int = 1) -> None:
    """Append commits of so many events, valued by their versions."""
    for expected in range(0, commits * count, count):
        events = [Int64Value(value=expected + number) for number in range(1, count + 1)]
        await store.append(STREAM, events, expected=expected)


class TestHandle:
    """Carrying out commands."""

    async def test_first(self, store: EventStore) -> None:
        """A command begins a stream; the answer has the state after it, the events and the token."""
        done = await handle(store, ACCOUNT, "1", 5)
        assert (done.state, done.version, done.events, done.repeated) == ((5,), 1, (Int64Value(value=5),), False)
        assert done.token == Token(store.log_id, done.position) == await store.head()

    async def test_next(self, store: EventStore) -> None:
        """The next one is decided on what came before."""
        await handle(store, ACCOUNT, "1", 5)
        assert (await handle(store, ACCOUNT, "1", -3)).state == (5, -3)
        with pytest.raises(Overdrawn):
            await handle(store, ACCOUNT, "1", -3)
        assert (await store.tail(STREAM)).version == 2

    async def test_nothing(self, store: EventStore) -> None:
        """A command that causes nothing leaves everything as it was."""
        before = await handle(store, ACCOUNT, "1", 5)
        after = await handle(store, ACCOUNT, "1", 0, command_id="nothing")
        assert (after.state, after.version, after.position, after.events) == ((5,), 1, before.position, ())
        assert await store.head() == before.token

    async def test_facts(self, store: EventStore) -> None:
        """Metadata and occurred time go with the events."""
        await handle(store, ACCOUNT, "1", 5, metadata=Metadata(actor="ann"), occurred_at=START)
        [event] = (await store.read(STREAM)).events
        assert (event.commit.metadata.actor, event.occurred_at) == ("ann", START)

    @pytest.mark.parametrize("live", [0, 10])
    async def test_read_back(self, store: EventStore, live: int) -> None:
        """The state answered is what a fold finds."""
        decider = kept_in(MemorySnapshots(), every=2, live=live)
        for number in range(1, 8):
            done = await handle(store, decider, "1", number)
            assert done.state == tuple(range(1, number + 1)) == (await fold(store, ACCOUNT, "1")).state

    async def test_events_as_stored(self, backend: Backend) -> None:
        """The events answered are what the codec makes of what was stored, the first time and every other."""

        class Doubling(Codec):
            def decode(self, stored: Payload) -> Sequence[Message]:
                return [Int64Value(value=2 * message.value) for message in super().decode(stored)]  # type: ignore[attr-defined]

        store = EventStore(backend, Doubling(Int64Value))
        for _ in range(2):
            done = await handle(store, ACCOUNT, "1", 7, command_id="request")
            assert (done.events, done.state) == ((Int64Value(value=14),), (14,))

    async def test_damaged_snapshot(self, store: EventStore) -> None:
        """A snapshot that cannot be loaded costs time, not the answer."""
        kept = MemorySnapshots()
        decider = kept_in(kept, every=2, live=0)
        for number in range(1, 5):
            await handle(store, decider, "1", number)
        snapshot = await kept.load(STREAM, log_id=store.log_id, tag="1|plain", bound=Bound())
        found = snapshot or next(iter(kept._kept[STREAM].values()))
        for version in kept._kept[STREAM]:
            await kept.save(structs.replace(found, version=Version(version), state=b"\xc1"))
        assert (await fold(store, decider, "1")).state == (1, 2, 3, 4)

    async def test_another_process_is_ahead(self, store: EventStore, backend: Backend) -> None:
        """Who has an old state in memory goes on from a snapshot that another process has left since."""
        kept = MemorySnapshots()
        ours, theirs = (kept_in(kept, every=10, live=1) for _ in "12")
        await handle(store, ours, "1", 1)
        for number in range(2, 996):
            await handle(store, theirs, "1", number)
        for until in (AtVersion(906), None):
            backend.read_commits = 0
            expected = await fold(store, ACCOUNT, "1", until=until)
            replayed, backend.read_commits = backend.read_commits, 0
            assert await fold(store, ours, "1", until=until) == expected
            assert backend.read_commits < 20 < replayed

    async def test_many_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tasks of a process that handle commands of one stream at once take turns: none meets a conflict."""
        async with open_store(f"sqlite:///{tmp_path}/log.db?durability=normal", CODEC) as sqlite:
            tries: list[NewCommit] = []
            append = sqlite.backend.append

            async def counted(new: NewCommit) -> Appended:
                tries.append(new)
                return await append(new)

            monkeypatch.setattr(sqlite.backend, "append", counted)
            done = await asyncio.gather(*(handle(sqlite, ACCOUNT, "1", number) for number in range(1, 101)))
        assert sorted(each.version for each in done) == list(range(1, 101))
        assert len(tries) == 100


class TestMemorySnapshots:
    """A cache that does not grow without end."""

    async def test_bounded(self) -> None:
        """The snapshots of the streams used last are kept."""
        kept = MemorySnapshots(streams=2)
        one, two, three = (Snapshot(StreamId("account", id), 1, 1, 0, "log", "tag", b"", b"") for id in "123")  # type: ignore[arg-type]
        for snapshot in (one, two):
            await kept.save(snapshot)
        assert await kept.load(one.stream, log_id="log", tag="tag", bound=Bound()) == one
        await kept.save(three)
        found = [await kept.load(s.stream, log_id="log", tag="tag", bound=Bound()) for s in (one, two, three)]
        assert found == [one, None, three]


class TestConflicts:
    """Rivals."""

    async def test_decided_again(self, store: EventStore, backend: Backend) -> None:
        """When a rival gets in first, the command is decided again on what the rival did."""
        seen: list[tuple[int, ...]] = []

        def watch(command: int, state: tuple[int, ...]) -> list[Int64Value]:
            seen.append(state)
            return decide(command, state)

        decider: Account = Decider("account", initial=(), decide=watch, evolve=evolve)
        backend.rivals = 3
        done = await handle(store, decider, "1", 100)
        assert seen == [(), (0,), (0, 1), (0, 1, 2)]
        assert (done.state, done.version, done.repeated) == ((0, 1, 2, 100), 4, False)

    async def test_in_the_end(self, store: EventStore, backend: Backend) -> None:
        """Who always loses is told so after 50 rounds."""
        backend.rivals = 99
        with pytest.raises(Conflict):
            await handle(store, ACCOUNT, "1", 100)
        assert backend.rivals == 49

    async def test_expected(self, store: EventStore) -> None:
        """A caller who says what it expects is served there and nowhere else, undecided."""
        assert (await handle(store, ACCOUNT, "1", 5, expected=0)).version == 1
        assert (await handle(store, ACCOUNT, "1", 5, expected=1)).version == 2
        with pytest.raises(Conflict) as refusal:
            await handle(store, ACCOUNT, "1", -99, expected=1)
        assert (refusal.value.stream, refusal.value.expected, refusal.value.actual) == (STREAM, 1, 2)

    async def test_expected_and_rival(self, store: EventStore, backend: Backend) -> None:
        """For it nothing is retried when a rival gets in first."""
        backend.rivals = 1
        with pytest.raises(Conflict) as refusal:
            await handle(store, ACCOUNT, "1", 5, expected=0)
        assert (refusal.value.actual, (await store.tail(STREAM)).version) == (1, 1)


class TestCommandIds:
    """Idempotent for ever."""

    def test_golden(self) -> None:
        """A command id gives this commit id in this stream, for ever."""
        assert commit_id_of(STREAM, "pay-7").hex() == "7a5403d0c9214fab33a6fca24090d356"

    def test_no_confusion(self) -> None:
        """Where one part ends and the next begins makes a difference."""
        parts = [("a", "b", "c"), ("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("a", "b", "d")]
        assert len({commit_id_of(StreamId(category, id), command) for category, id, command in parts}) == len(parts)

    @pytest.mark.parametrize("command_id", ["", "\ud800"])
    async def test_refused(self, store: EventStore, command_id: str) -> None:
        """An empty command id and one that UTF-8 cannot encode are refused."""
        with pytest.raises(InvalidInput, match="command_id"):
            await handle(store, ACCOUNT, "1", 5, command_id=command_id)

    @pytest.mark.parametrize("snapshots", [False, True])
    async def test_again(self, store: EventStore, backend: Backend, *, snapshots: bool) -> None:
        """The same command id is carried out once and answered as it was then, however much came after."""
        decider = kept_in(MemorySnapshots()) if snapshots else ACCOUNT
        await handle(store, decider, "1", 1)
        first = await handle(store, decider, "1", 5, command_id="pay")
        for number in range(50):
            await handle(store, decider, "1", number + 1, command_id=f"pay-{number}")
        backend.read_commits = 0
        again = await handle(store, decider, "1", 5, command_id="pay")
        assert again.repeated
        assert not first.repeated
        assert (again.state, again.version, again.position) == ((1, 5), 2, first.position)
        assert (again.events, again.token) == (first.events, first.token)
        assert (await store.tail(STREAM)).version == 52
        assert not snapshots or backend.read_commits < 20

    async def test_again_with_expected(self, store: EventStore) -> None:
        """It is answered also when the version it expected is long past."""
        first = await handle(store, ACCOUNT, "1", 5, command_id="pay", expected=0)
        again = await handle(store, ACCOUNT, "1", 5, command_id="pay", expected=0)
        assert (again.repeated, again.version) == (True, first.version)

    async def test_answer_lost(self, store: EventStore, backend: Backend) -> None:
        """A command whose answer was lost is carried out once when it comes again."""
        backend.lose_answers = 1
        with pytest.raises(StoreUnavailable):
            await handle(store, ACCOUNT, "1", 5, command_id="pay")
        done = await handle(store, ACCOUNT, "1", 5, command_id="pay")
        assert (done.repeated, done.state, done.version) == (True, (5,), 1)

    async def test_other_stream(self, store: EventStore) -> None:
        """In another stream the same command id is another command."""
        await handle(store, ACCOUNT, "1", 5, command_id="pay")
        assert not (await handle(store, ACCOUNT, "2", 5, command_id="pay")).repeated

    async def test_no_events(self, store: EventStore) -> None:
        """A command that caused nothing is not remembered."""
        await handle(store, ACCOUNT, "1", 0, command_id="pay")
        assert not (await handle(store, ACCOUNT, "1", 5, command_id="pay")).repeated

    async def test_half_equal(self, store: EventStore) -> None:
        """A commit whose id begins alike is not taken for it."""
        alike = commit_id_of(STREAM, "pay")[:8] + bytes(8)
        await store.append(STREAM, [Int64Value(value=1)], expected=0, commit_id=alike)
        assert not (await handle(store, ACCOUNT, "1", 5, command_id="pay")).repeated
        assert (await handle(store, ACCOUNT, "1", 5, command_id="pay")).repeated

    def test_entries(self) -> None:
        """Ids are found where an entry begins, each time, and not across two."""
        one, two = bytes(range(16)), bytes(8) + b"\x07" * 8
        entries = CommitIds.entry(one, 1) + CommitIds.entry(two, 2) + CommitIds.entry(one, 2**40)
        assert CommitIds(entries).candidates(one) == [1, 2**40]
        assert CommitIds(entries).candidates(two) == [2]
        assert CommitIds(entries).candidates(bytes(range(1, 17))) == []
        assert CommitIds().candidates(one) == []


class TestFold:
    """The state now and then."""

    async def test_missing(self, store: EventStore) -> None:
        """A stream that does not exist is in the initial state."""
        found = await fold(store, ACCOUNT, "1")
        assert (found.state, found.version, found.position, found.log_id) == ((), 0, 0, store.log_id)

    @pytest.mark.parametrize(
        ("until", "version"),
        [
            (None, 12),
            (AtVersion(12), 12),
            (AtVersion(11), 9),
            (AtVersion(10), 9),
            (AtVersion(9), 9),
            (AtVersion(2), 0),
            (AtPosition(3), 9),
            (AtPosition(0), 0),
            (Recorded(START + timedelta(seconds=2)), 6),
            (Recorded(START), 0),
            (Occurred(START + timedelta(seconds=3)), 9),
            (Occurred(START), 0),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("every", [1, 4, 100])
    @pytest.mark.parametrize("live", [0, 1])
    async def test_until(self, store: EventStore, until: Until | None, version: int, every: int, live: int) -> None:
        """A bound gives the state as it was there; one inside a commit, as it was before that commit."""
        await fill(store, 4, count=3)
        decider = kept_in(MemorySnapshots(), every=every, live=live)
        for _ in range(2):
            found = await fold(store, decider, "1", until=until)
            assert (found.state, found.version) == (tuple(range(1, version + 1)), version)
            assert found.position == version // 3
            read = await store.read(STREAM, until=until)
            assert found.final == read.final == (until is not None)
            await fold(store, decider, "1")

    async def test_occurred_out_of_order(self, store: EventStore) -> None:
        """On the occurred clock a stream ends before its first event that occurred later, with snapshots too."""
        decider = kept_in(MemorySnapshots(), every=1)
        for expected, day in enumerate([1, 3, 2, 5, 4]):
            at = START + timedelta(days=day)
            await store.append(STREAM, [Int64Value(value=day)], expected=expected, occurred_at=at)
        await fold(store, decider, "1")
        for day, state in ((0, ()), (1, (1,)), (2, (1,)), (3, (1, 3, 2)), (4, (1, 3, 2)), (5, (1, 3, 2, 5, 4))):
            until = Occurred(START + timedelta(days=day))
            assert (await fold(store, decider, "1", until=until)).state == state
            assert (await fold(store, ACCOUNT, "1", until=until)).state == state

    @pytest.mark.parametrize("snapshots", [False, True])
    async def test_occurred_before_1970(self, store: EventStore, *, snapshots: bool) -> None:
        """What occurred before the epoch is as much there as what occurred after it."""
        decider = kept_in(MemorySnapshots(), every=1) if snapshots else ACCOUNT
        for expected, year in enumerate([1950, 1960, 1980]):
            at = datetime(year, 1, 1, tzinfo=UTC)
            await store.append(STREAM, [Int64Value(value=year)], expected=expected, occurred_at=at)
        await fold(store, decider, "1")
        until = Occurred(datetime(1965, 1, 1, tzinfo=UTC))
        assert (await fold(store, decider, "1", until=until)).state == (1950, 1960)
        assert (await store.read(STREAM, until=until)).version == 2

    @given(
        commits=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=12),
        every=st.integers(1, 6),
        live=st.integers(0, 1),
        asked=st.lists(st.tuples(st.sampled_from("vpro"), st.integers(0, 30)), max_size=8),
    )
    async def test_snapshots_make_no_difference(
        self, commits: list[tuple[int, int]], every: int, live: int, asked: list[tuple[str, int]]
    ) -> None:
        """Whatever was asked before, a fold from snapshots is the fold from the start."""

        def bound(kind: str, number: int) -> Until:
            moment = START + timedelta(seconds=number)
            kinds: dict[str, Until] = {
                "v": AtVersion(number),
                "p": AtPosition(number),
                "r": Recorded(moment),
                "o": Occurred(moment),
            }
            return kinds[kind]

        decider = kept_in(MemorySnapshots(), every=every, live=live)
        async with EventStore(Backend(), CODEC) as store:
            version = 0
            for count, occurred in commits:
                events = [Int64Value(value=version + number) for number in range(count)]
                at = START + timedelta(seconds=occurred) if occurred else None
                version = (await store.append(STREAM, events, expected=version, occurred_at=at)).version
                await store.append(StreamId("account", "2"), [Int64Value(value=0)], expected=ANY)
            for kind, number in asked:
                until = bound(kind, number)
                assert await fold(store, decider, "1", until=until) == await fold(store, ACCOUNT, "1", until=until)
            assert await fold(store, decider, "1") == await fold(store, ACCOUNT, "1")

    async def test_undecodable(self, store: EventStore) -> None:
        """An event that means nothing to the codec stops the fold, and is named."""
        await fill(store, 2)
        with pytest.raises(Undecodable) as failure:
            await fold(EventStore(store.backend, Codec(StringValue)), ACCOUNT, "1")
        assert (failure.value.version, failure.value.type) == (1, "google.protobuf.Int64Value")

    async def test_corrupt(self, store: EventStore) -> None:
        """So do bytes that are no envelope."""
        await store.backend.append(NewCommit(STREAM, Version(0), 1, b"", b"\xff"))
        with pytest.raises(CorruptCommit):
            await fold(store, ACCOUNT, "1")


class Failing(MemorySnapshots):
    """Snapshots that cannot be reached."""

    async def save(self, snapshot: Snapshot) -> None:
        raise StoreUnavailable("no disk")

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        raise StoreUnavailable("no disk")


class Tagged(Codec):
    """A codec that makes something else of old events."""

    tag = "chain 2"

    def decode(self, stored: Any) -> Sequence[Message]:
        [message] = super().decode(stored)
        return [Int64Value(value=-message.value)]  # type: ignore[attr-defined]


class TestSnapshots:
    """How states are kept."""

    async def test_used(self, store: EventStore, backend: Backend) -> None:
        """From the nearest snapshot only what came after it is read."""
        snapshots = MemorySnapshots()
        await fill(store, 105)
        expected = await fold(store, kept_in(snapshots), "1")
        backend.read_commits = 0
        assert await fold(store, kept_in(snapshots), "1") == expected
        assert backend.read_commits == 5

    async def test_several(self, store: EventStore, backend: Backend) -> None:
        """Several are kept, so that the past is near as well."""
        snapshots = MemorySnapshots()
        await fill(store, 105)
        await fold(store, kept_in(snapshots), "1")
        for until in (AtVersion(53), AtPosition(53), Recorded(START + timedelta(seconds=53))):
            backend.read_commits = 0
            assert (await fold(store, kept_in(snapshots), "1", until=until)).version == 53
            assert backend.read_commits == 4
        assert {kept.version for kept in snapshots._kept[STREAM].values()} == set(range(10, 101, 10))

    async def test_at_ends_of_commits(self, store: EventStore) -> None:
        """They stand at the ends of commits."""
        snapshots = MemorySnapshots()
        await fill(store, 10, count=4)
        await fold(store, kept_in(snapshots), "1")
        assert sorted(kept.version for kept in snapshots._kept[STREAM].values()) == [12, 20, 32, 40]

    async def test_other_format(self, store: EventStore, backend: Backend) -> None:
        """One of another format is not used."""
        snapshots = MemorySnapshots()
        await fill(store, 20)
        await fold(store, kept_in(snapshots, format="1"), "1")
        backend.read_commits = 0
        await fold(store, kept_in(snapshots, format="2"), "1")
        assert backend.read_commits == 20

    async def test_other_codec(self, store: EventStore) -> None:
        """One made under a codec of another tag is not used, from memory either."""
        decider = kept_in(MemorySnapshots(), live=10)
        await fill(store, 20)
        assert (await fold(store, decider, "1")).state == tuple(range(1, 21))
        other = EventStore(store.backend, Tagged(Int64Value))
        assert (await fold(other, decider, "1")).state == tuple(range(-1, -21, -1))
        assert (await fold(store, decider, "1")).state == tuple(range(1, 21))

    async def test_other_log(self, store: EventStore) -> None:
        """One of another log is not used, though the stream has the same name."""
        decider = kept_in(MemorySnapshots(), live=10)
        await fill(store, 20)
        await fold(store, decider, "1")
        async with EventStore(MemoryBackend(), CODEC) as other:
            assert (await fold(other, decider, "1")).state == ()

    async def test_live(self, store: EventStore, backend: Backend) -> None:
        """The newest states of the streams used last stay in memory."""
        decider = kept_in(MemorySnapshots(), every=1_000, live=2)
        for name in ("1", "2", "3"):
            await handle(store, decider, name, 5)
            await handle(store, decider, name, 6)
        backend.read_commits = 0
        assert (await fold(store, decider, "2")).state == (await fold(store, decider, "3")).state == (5, 6)
        assert backend.read_commits == 0
        assert (await fold(store, decider, "1")).state == (5, 6)
        assert backend.read_commits == 2

    async def test_live_past(self, store: EventStore, backend: Backend) -> None:
        """Looking into the past does not push the newest state out."""
        decider = kept_in(MemorySnapshots(), every=1_000, live=1)
        await fill(store, 10)
        await fold(store, decider, "1")
        await fold(store, decider, "1", until=AtVersion(5))
        backend.read_commits = 0
        assert (await fold(store, decider, "1")).version == 10
        assert backend.read_commits == 0

    async def test_unavailable(self, store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
        """Snapshots that cannot be reached are done without, and that is logged."""
        await fill(store, 20)
        with caplog.at_level(logging.WARNING, "eventstore"):
            assert (await fold(store, kept_in(Failing()), "1")).state == tuple(range(1, 21))
        assert [record.message.split(":")[0] for record in caplog.records] == [
            "snapshots of account '1' are not available",
            "no snapshot of account '1' at version 10",
            "no snapshot of account '1' at version 20",
        ]

    @pytest.mark.parametrize("every", [0, -1])
    def test_every(self, every: int) -> None:
        """At least one event lies between two of them."""
        with pytest.raises(InvalidInput, match="every"):
            kept_in(MemorySnapshots(), every=every)

    async def test_mistakes_are_not_hidden(self, store: EventStore) -> None:
        """What fails otherwise than by being unavailable is a mistake, and is raised."""

        class Wrong(MemorySnapshots):
            async def save(self, snapshot: Snapshot) -> None:
                raise TypeError(snapshot)

        await fill(store, 20)
        with contextlib.suppress(TypeError):
            await fold(store, kept_in(Wrong()), "1")
            raise AssertionError("hidden")
