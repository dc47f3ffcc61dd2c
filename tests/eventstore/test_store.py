"""The store over any backend: appending, bounds, filters, tokens, and what it says when something is wrong."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import (
    ANY,
    EXISTS,
    MAX_ENVELOPE_BYTES,
    NO_STREAM,
    Appended,
    AtPosition,
    AtVersion,
    CannotDecode,
    Codec,
    Commit,
    Conflict,
    CorruptCommit,
    EventStore,
    InvalidInput,
    Metadata,
    NewCommit,
    Occurred,
    Payload,
    Position,
    Progress,
    Recorded,
    Slice,
    StoreClosed,
    StreamId,
    Tail,
    Token,
    TooLarge,
    UnknownPosition,
    Version,
    WrongLog,
    open_store,
)
from eventstore.memory import MemoryBackend
from eventstore.sqlite import SqliteBackend
from eventstore.testing._scene import commit as new_commit
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from tests.eventstore.decoding import Decoding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from eventstore import Expected, Until
    from google.protobuf.message import Message

START = datetime(2024, 5, 17, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
STREAM = StreamId("order", "1")
CODEC = Codec(Int64Value, StringValue)


@dataclasses.dataclass
class Clock:
    """A clock that stands until it is set."""

    now: datetime = START

    def __call__(self) -> int:
        return round(self.now.timestamp() * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[EventStore]:
    async with EventStore(MemoryBackend(clock=clock), CODEC) as store:
        yield store


def numbers(*values: int) -> list[Int64Value]:
    return [Int64Value(value=value) for value in values]


def values(found: Slice | Commit) -> list[Any]:
    return [event.message.value for event in found.events]  # type: ignore[attr-defined]


async def corrupt(store: EventStore, stream: StreamId = STREAM, envelope: bytes = b"no envelope") -> Position:
    """Store bytes that are no envelope; return where."""
    version = (await store.tail(stream)).version
    return (await store.backend.append(NewCommit(stream, version, 1, b"", envelope))).position


class TestAppend:
    """Appending."""

    async def test_golden(self, store: EventStore) -> None:
        """The bytes of an envelope are these, for ever: type, schema, payload, times, metadata, commit id, version."""
        metadata = Metadata(
            actor="ann", correlation_id="c", causation_id="e", traceparent="00-0a-0b-01", tracestate="x=y"
        )
        await store.append(
            STREAM,
            [Int64Value(value=5), StringValue(value="a")],
            expected=NO_STREAM,
            commit_id=bytes(range(16)),
            metadata=metadata,
            occurred_at=START,
        )
        [[raw]] = [chunk async for chunk in store.backend.read(STREAM, after=Version(0))]
        assert raw.envelope.hex() == (
            "0a10000102030405060708090a0b0c0d0e0f10011a2b0a1a676f6f676c652e70726f746f6275662e496e74363456616c7565"
            "10011a0208052080e0bcbad19486031a2d0a1b676f6f676c652e70726f746f6275662e537472696e6756616c756510011a03"
            "0a01612080e0bcbad1948603221d0a03616e6e1201631a0165220b30302d30612d30622d30312a03783d79"
        )

    async def test_metadata(self, store: EventStore) -> None:
        """Metadata comes back as it went in, and empty where none did."""
        metadata = Metadata(actor="ann", correlation_id="c", causation_id="e", traceparent="t", tracestate="s")
        await store.append(STREAM, numbers(1), expected=0, metadata=metadata)
        await store.append(STREAM, numbers(2), expected=1)
        found = await store.read(STREAM)
        assert [event.commit.metadata for event in found.events] == [metadata, Metadata()]

    async def test_event(self, store: EventStore, clock: Clock) -> None:
        """An event knows its place, its times, its bytes and its message."""
        done = await store.append(STREAM, numbers(1, 2), expected=0, occurred_at=START - SECOND, commit_id=bytes(16))
        clock.now += SECOND
        await store.append(STREAM, numbers(3), expected=2)
        one, two, three = (await store.read(STREAM)).events
        assert (one.stream, one.version, one.index, one.position) == (STREAM, 1, 0, done.position)
        assert (two.version, two.commit.first_version, two.commit.version) == (2, 1, 2)
        assert (two.commit.commit_id, two.recorded_at, two.occurred_at) == (bytes(16), START, START - SECOND)
        assert three.occurred_at == three.recorded_at == START + SECOND
        assert three.raw == Payload("google.protobuf.Int64Value", 1, b"\x08\x03")
        assert three.message == Int64Value(value=3)

    async def test_any(self, store: EventStore) -> None:
        """Under ANY a stream is begun or continued."""
        assert (await store.append(STREAM, numbers(1), expected=ANY)).version == 1
        assert (await store.append(STREAM, numbers(2, 3), expected=ANY)).version == 3

    async def test_exists(self, store: EventStore) -> None:
        """Under EXISTS a stream is continued, not begun."""
        with pytest.raises(Conflict) as refusal:
            await store.append(STREAM, numbers(1), expected=EXISTS)
        assert (refusal.value.expected, refusal.value.actual) == (EXISTS, 0)
        await store.append(STREAM, numbers(1), expected=NO_STREAM)
        assert (await store.append(STREAM, numbers(2), expected=EXISTS)).version == 2

    @pytest.mark.parametrize("expected", [ANY, EXISTS])
    async def test_any_meets_rivals(self, expected: Expected) -> None:
        """Under ANY and EXISTS rivals that get in first are no conflict."""

        class Rivals(MemoryBackend):
            rounds = 5

            async def append(self, commit: NewCommit) -> Appended:
                if self.rounds:
                    self.rounds -= 1
                    version = (await self.tail(commit.stream)).version
                    await super().append(new_commit(commit.stream, version))
                return await super().append(commit)

        async with EventStore(Rivals(), CODEC) as store:
            await MemoryBackend.append(store.backend, new_commit(STREAM))  # type: ignore[arg-type]
            assert (await store.append(STREAM, numbers(1), expected=expected)).version == 7

    async def test_any_ends(self) -> None:
        """A log in which rivals always get in first ends in a conflict, not in a loop."""

        class Full(MemoryBackend):
            async def append(self, commit: NewCommit) -> Appended:
                raise Conflict(commit.stream, commit.expected, Version(commit.expected + 1))

        async with EventStore(Full(), CODEC) as store:
            with pytest.raises(Conflict) as refusal:
                await store.append(STREAM, numbers(1), expected=ANY)
            assert refusal.value.expected == ANY

    async def test_again(self, store: EventStore) -> None:
        """With a commit id an append is repeated without harm; without one it is not."""
        first = await store.append(STREAM, numbers(1), expected=0, commit_id=bytes(16))
        assert await store.append(STREAM, numbers(1), expected=0, commit_id=bytes(16)) == first
        with pytest.raises(Conflict):
            await store.append(STREAM, numbers(1), expected=0)

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("events", {"events": []}),
            ("event", {"events": [b"bytes"]}),
            ("expected", {"expected": -1}),
            ("expected", {"expected": 2**63}),
            ("expected", {"expected": 1.0}),
            ("expected", {"expected": True}),
            ("expected", {"expected": None}),
            ("expected", {"expected": "first"}),
            ("commit_id", {"commit_id": b""}),
            ("commit_id", {"commit_id": bytes(15)}),
            ("commit_id", {"commit_id": bytes(17)}),
            ("commit_id", {"commit_id": bytes(16), "expected": ANY}),
            ("commit_id", {"commit_id": bytes(16), "expected": EXISTS}),
            ("occurred_at", {"occurred_at": datetime(2024, 1, 1)}),  # noqa: DTZ001 (what is refused)
            ("metadata.actor", {"metadata": Metadata(actor="\ud800")}),
            ("metadata.tracestate", {"metadata": Metadata(tracestate="\ud800")}),
        ],
        ids=repr,
    )
    async def test_refused(self, store: EventStore, field: str, changes: dict[str, Any]) -> None:
        """What cannot be stored is refused by name, and nothing is stored."""
        arguments: dict[str, Any] = {"events": numbers(1), "expected": 0} | changes
        with pytest.raises(InvalidInput) as refusal:
            await store.append(STREAM, **arguments)
        assert refusal.value.field == field
        assert await store.head() == Token(store.log_id, Position(0))

    async def test_largest(self, store: EventStore) -> None:
        """A commit up to the limit is stored, one byte more is refused with its size."""
        await store.append(STREAM, [StringValue(value="x" * (MAX_ENVELOPE_BYTES - 100))], expected=0)
        [[raw]] = [chunk async for chunk in store.backend.read(STREAM, after=Version(0))]
        room = MAX_ENVELOPE_BYTES - len(raw.envelope)
        text = "x" * (MAX_ENVELOPE_BYTES - 100 + room)
        other = StreamId("order", "2")
        with pytest.raises(TooLarge, match="1,048,064") as refusal:
            await store.append(other, [StringValue(value=text + "x")], expected=0)
        assert (refusal.value.size, refusal.value.limit) == (MAX_ENVELOPE_BYTES + 1, MAX_ENVELOPE_BYTES)
        assert await store.tail(other) == Tail(Version(0), Position(0))
        assert (await store.append(other, [StringValue(value=text)], expected=0)).version == 1


class TestRead:
    """Reading a stream, now and then."""

    @pytest.fixture(autouse=True)
    async def story(self, store: EventStore, clock: Clock) -> None:
        """Three commits a second apart, told later than they occurred, with another stream's between them."""
        for at, (expected, events, occurred) in enumerate([(0, (1, 2), 30), (2, (3,), 10), (3, (4, 5, 6), 40)]):
            clock.now = START + at * SECOND
            await store.append(
                STREAM, numbers(*events), expected=expected, occurred_at=START + timedelta(days=occurred)
            )
            await store.append(StreamId("order", "2"), numbers(9), expected=ANY)
        clock.now += SECOND

    @pytest.mark.parametrize(
        ("until", "version", "position", "final"),
        [
            (None, 6, 5, False),
            (AtVersion(6), 6, 5, True),
            (AtVersion(9), 6, 5, False),
            (AtVersion(5), 3, 3, True),
            (AtVersion(4), 3, 3, True),
            (AtVersion(3), 3, 3, True),
            (AtVersion(2), 2, 1, True),
            (AtVersion(1), 0, 0, True),
            (AtVersion(0), 0, 0, True),
            (AtPosition(0), 0, 0, True),
            (AtPosition(1), 2, 1, True),
            (AtPosition(2), 2, 1, True),
            (AtPosition(4), 3, 3, True),
            (AtPosition(5), 6, 5, False),
            (AtPosition(99), 6, 5, False),
            (Recorded(START - SECOND), 0, 0, True),
            (Recorded(START), 2, 1, True),
            (Recorded(START + 0.5 * SECOND), 2, 1, True),
            (Recorded(START + SECOND), 3, 3, True),
            (Recorded(START + 2 * SECOND), 6, 5, False),
            (Recorded(START + 3 * SECOND), 6, 5, False),
            (Recorded(START + 9 * SECOND), 6, 5, False),
            (Occurred(START), 0, 0, True),
            (Occurred(START + timedelta(days=29)), 0, 0, True),
            (Occurred(START + timedelta(days=30)), 3, 3, True),
            (Occurred(START + timedelta(days=39)), 3, 3, True),
            (Occurred(START + timedelta(days=40)), 6, 5, False),
        ],
        ids=str,
    )
    async def test_until(
        self,
        store: EventStore,
        until: Until | None,
        version: int,
        position: int,
        final: bool,  # noqa: FBT001 (parameters)
    ) -> None:
        """A bound gives the stream as it was there; one inside a commit, as it was before that commit."""
        found = await store.read(STREAM, until=until)
        assert values(found) == [1, 2, 3, 4, 5, 6][:version]
        assert (found.version, found.position, found.final) == (version, position, final)
        assert found.token == Token(store.log_id, Position(position))
        commits = [commit async for commit in store.commits(STREAM, until=until)]
        assert [value for commit in commits for value in values(commit)] == values(found)

    @pytest.mark.parametrize("after", range(9))
    @pytest.mark.parametrize("until", [None, AtVersion(3), AtPosition(1)], ids=str)
    async def test_after(self, store: EventStore, until: Until | None, after: int) -> None:
        """Reading after a version gives the later events, and the same version and position as from the start."""
        everything, found = await store.read(STREAM, until=until), await store.read(STREAM, after=after, until=until)
        assert values(found) == values(everything)[after:]
        assert (found.version, found.position, found.log_id) == (
            everything.version,
            everything.position,
            store.log_id,
        )

    async def test_missing(self, store: EventStore) -> None:
        """A stream that does not exist has no events, version 0 and position 0."""
        assert await store.read(StreamId("order", "3")) == Slice((), store.log_id, Version(0), Position(0), final=False)

    @pytest.mark.parametrize("after", [-1, 2**63, "1", None, True], ids=repr)
    async def test_bad_after(self, store: EventStore, after: Any) -> None:
        """What is no version is refused."""
        with pytest.raises(InvalidInput, match="after"):
            await store.read(STREAM, after=after)

    @pytest.mark.parametrize("clock_of", [Recorded, Occurred])
    async def test_naive(self, store: EventStore, clock_of: type[Recorded | Occurred]) -> None:
        """A moment without a zone is refused."""
        with pytest.raises(InvalidInput, match="until"):
            await store.read(STREAM, until=clock_of(datetime(2024, 1, 1)))  # noqa: DTZ001 (what is refused)


class TestLog:
    """Reading and following the log."""

    @pytest.fixture(autouse=True)
    async def story(self, store: EventStore) -> None:
        """A few commits of three categories."""
        for number, category in enumerate(["a", "b", "a", "c", "b"], 1):
            event = StringValue(value="x") if number == 3 else Int64Value(value=number)
            await store.append(StreamId(category, f"{number}"), [event], expected=0)

    async def test_categories(self, store: EventStore) -> None:
        """Categories let pass what is of them; none lets pass all."""
        assert [commit.position async for commit in store.log()] == [1, 2, 3, 4, 5]
        assert [commit.position async for commit in store.log(categories=["b", "c"])] == [2, 4, 5]
        assert [commit.position async for commit in store.log(after=2, categories={"b"})] == [5]

    async def test_token(self, store: EventStore) -> None:
        """A token of the log is a place to begin, one of another log is refused."""
        token = Token(store.log_id, Position(4))
        assert [commit.position async for commit in store.log(after=token)] == [5]
        with pytest.raises(WrongLog) as refusal:
            await anext(store.log(after=Token("other", Position(4))))
        assert (refusal.value.expected, refusal.value.actual) == (store.log_id, "other")
        with pytest.raises(WrongLog):
            await anext(store.follow(after=Token("other", Position(4))))

    @pytest.mark.parametrize("after", [-1, 2**63, 1.0, True])
    async def test_bad_after(self, store: EventStore, after: Any) -> None:
        """What is no position is refused."""
        with pytest.raises(InvalidInput, match="after"):
            await anext(store.log(after=after))

    async def test_unknown_position(self, store: EventStore) -> None:
        """A position that the log has not reached is refused."""
        with pytest.raises(UnknownPosition) as refusal:
            await anext(store.log(after=6))
        assert (refusal.value.position, refusal.value.head) == (6, 5)

    async def test_follow(self, store: EventStore) -> None:
        """A follow lets pass categories and types, and says how far it has come while nothing passes."""

        async def followed(**filters: Any) -> list[int | str]:
            found: list[int | str] = []
            async for item in store.follow(**filters):
                if isinstance(item, Commit):
                    found.append(item.position)
                    continue
                found.append(f"{item.position} {item.caught_up}")
                if item.caught_up:
                    return found
            raise AssertionError

        text = "google.protobuf.StringValue"
        assert await followed() == [1, 2, 3, 4, 5, "5 True"]
        assert await followed(after=3) == [4, 5, "5 True"]
        assert await followed(categories=["b"]) == [2, 5, "5 True"]
        assert await followed(types=[text]) == [3, "5 True"]
        assert await followed(types=[text, "google.protobuf.Int64Value"], categories=["c"]) == [4, "5 True"]
        assert await followed(types=[text], categories=["b"]) == ["5 False", "5 True"]

    async def test_follow_what_is_filtered_out(self, store: EventStore) -> None:
        """How far a follow has come while nothing passes is told with when that was recorded."""
        *_, last = [commit async for commit in store.log()]
        async for item in store.follow(categories=["nobody-s"]):
            assert item == Progress(last.position, caught_up=False, recorded_micros=last.recorded_micros)
            break

    async def test_streams(self, store: EventStore) -> None:
        """Streams are listed, of one category or all."""
        assert [info.stream.id async for info in store.streams()] == ["1", "3", "2", "5", "4"]
        assert [info.stream.id async for info in store.streams("b")] == ["2", "5"]

    async def test_head(self, store: EventStore) -> None:
        """The head is a token."""
        assert await store.head() == Token(store.log_id, Position(5))


class Fan(Codec):
    """A codec under which a number becomes so many texts."""

    tag = "fan"

    def fans_out(self, type: str, schema: int) -> bool:
        return type == "google.protobuf.Int64Value"

    def decode(self, stored: Payload) -> Sequence[Message]:
        [message] = super().decode(stored)
        if not isinstance(message, Int64Value):
            return (message,)
        if message.value < 0:
            raise CannotDecode("negative")
        return [StringValue(value=f"{number}") for number in range(message.value)]


def stored(message: Message) -> Payload:
    return CODEC.encode(message)


class TestDecoding(Decoding):
    """Lazy, and without harm when it fails."""

    codec = Fan(Int64Value, StringValue)
    message = StringValue(value="new")
    examples = (
        (stored(Int64Value(value=2)), [StringValue(value="0"), StringValue(value="1")]),
        (stored(Int64Value(value=0)), []),
        (stored(StringValue(value="a")), [StringValue(value="a")]),
        (stored(Int64Value(value=-1)), None),
        (Payload("unknown", 1, b"a"), None),
        (Payload("google.protobuf.StringValue", 2, b""), None),
        (Payload("google.protobuf.StringValue", 1, b"\xff"), None),
        (stored(Int64Value(value=3)), [StringValue(value=f"{number}") for number in range(3)]),
        (stored(Int64Value(value=0)), []),
    )

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()


class TestCorrupt:
    """Bytes in the store that are no envelope."""

    @pytest.mark.parametrize(
        "envelope", [b"no envelope", b"", b"\x0a\x10" + bytes(16), b"\x0a\x10" + bytes(16) + b"\x10\x01"], ids=repr
    )
    async def test_read(self, store: EventStore, envelope: bytes) -> None:
        """They raise CorruptCommit with their place wherever they are read."""
        position = await corrupt(store, envelope=envelope)
        with pytest.raises(CorruptCommit) as failure:
            await store.read(STREAM)
        assert (failure.value.stream, failure.value.position) == (STREAM, position)
        with pytest.raises(CorruptCommit):
            await anext(store.log())
        with pytest.raises(CorruptCommit):
            await anext(store.follow())

    async def test_goes_on(self, store: EventStore) -> None:
        """Reading goes on after them in a new call, and other streams are not touched."""
        position = await corrupt(store)
        other = StreamId("order", "2")
        await store.append(other, numbers(7), expected=0)
        assert values(await store.read(other)) == [7]
        assert [values(commit) async for commit in store.log(after=position)] == [[7]]
        following = store.follow(after=position)
        assert isinstance(await anext(following), Commit)
        assert isinstance(await anext(following), Progress)


class TestOpen:
    """Stores by URL."""

    def test_driver_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A scheme whose driver is not installed is refused by name."""
        for module in [name for name in sys.modules if name.startswith(("eventstore.jetstream", "eventstore._nats"))]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "nats", None)
        monkeypatch.setitem(sys.modules, "nats.errors", None)
        with pytest.raises(InvalidInput, match="nats:// needs the package nats"):
            open_store("nats://127.0.0.1:4222/LOG?prefix=log")

    async def test_memory(self) -> None:
        """memory:// is a new log each time."""
        async with open_store("memory://", CODEC) as one, open_store("memory://", CODEC) as two:
            await one.append(STREAM, numbers(1), expected=0)
            assert one.log_id != two.log_id
            assert await two.tail(STREAM) == Tail(Version(0), Position(0))

    async def test_without_codec(self, tmp_path: Path) -> None:
        """Without a codec everything can be read raw and nothing appended."""
        url = f"sqlite:///{tmp_path}/a%20b.db"
        async with open_store(url, CODEC) as store:
            await store.append(STREAM, numbers(1), expected=0)
        assert (tmp_path / "a b.db").exists()
        async with open_store(url, create=False) as store:
            [event] = (await store.read(STREAM)).events
            assert event.raw.payload == b"\x08\x01"
            with pytest.raises(InvalidInput):
                await store.append(STREAM, numbers(1), expected=1)

    def test_no_io(self, tmp_path: Path) -> None:
        """Nothing is touched before the store is entered."""
        open_store(f"sqlite:///{tmp_path}/log.db")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("durability", ["full", "normal"])
    async def test_durability(self, tmp_path: Path, durability: str) -> None:
        """The URL says the durability, and the store reads it back."""
        async with open_store(f"sqlite:///{tmp_path}/log.db?durability={durability}") as store:
            facts = await store.backend.describe()
            assert str(facts["durability"]).startswith(durability)

    def test_default_durability(self) -> None:
        """It is full where nothing is said."""
        backend = open_store("sqlite:///log.db").backend
        assert isinstance(backend, SqliteBackend)
        assert backend._durability == "full"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "log.db",
            "postgres://host/db",
            "memory",
            "memory:///x",
            "memory://x",
            "sqlite:",
            "sqlite://",
            "sqlite:///",
            "sqlite://host/log.db",
            "sqlite:///log.db#part",
            "sqlite:///log.db?durability=some",
            "sqlite:///log.db?durability",
            "sqlite:///log.db?speed=1",
            "sqlite:///log.db?durability=full&durability=normal&x=1",
            "sqlite:///a%00b",
            "sqlite://[",
        ],
    )
    def test_bad_url(self, url: str) -> None:
        """A URL that no backend knows, or that its backend does not understand, is refused."""
        with pytest.raises(InvalidInput):
            open_store(url)

    def test_nothing_to_open(self) -> None:
        """There is never a memory log to be found."""
        with pytest.raises(InvalidInput):
            open_store("memory://", create=False)

    async def test_closed(self) -> None:
        """Outside its block a store is closed."""
        store = open_store("memory://", CODEC)
        with pytest.raises(StoreClosed):
            await store.tail(STREAM)
        async with store:
            await store.tail(STREAM)
        with pytest.raises(StoreClosed):
            await store.append(STREAM, numbers(1), expected=0)
