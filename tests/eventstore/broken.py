"""Backends with one planted fault each, made of the memory backend: what the contract suite must catch."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec
from eventstore import (
    Appended,
    Conflict,
    EventStoreError,
    Moment,
    NewCommit,
    Position,
    Progress,
    RawCommit,
    StoreClosed,
    StreamId,
    StreamInfo,
    Tail,
    UnknownPosition,
    Version,
)
from eventstore._envelope import parse
from eventstore._values import BEGINNING
from eventstore.memory import MemoryBackend, now_micros

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType


class Sound(MemoryBackend):
    """A handle on a log in memory that outlives it and may have several, without a fault."""

    __slots__ = ("entered",)

    def __init__(self) -> None:
        super().__init__()
        self.entered = False

    async def __aenter__(self) -> Self:
        self.entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.entered = False
        self._wake()

    def _check_open(self) -> None:
        if not self.entered:
            raise StoreClosed("not open")

    def _version(self, stream: StreamId) -> int:
        found = self._streams.get(stream)
        return found.ends[-1] if found else 0

    def _rename(self, number: int, **changes: object) -> None:
        """Change facts of a stored commit, in the log and in its stream."""
        old = self._commits[number]
        new = msgspec.structs.replace(old, **changes)
        self._commits[number] = new
        commits = self._streams[old.stream].commits
        commits[commits.index(old)] = new


B = TypeVar("B", bound=Sound)


def on_one_log(kind: type[B]) -> Callable[[Path], B]:
    """Return a factory whose backends for one folder share everything but whether they are open."""
    logs: dict[Path, dict[str, object]] = {}

    def backend(folder: Path) -> B:
        handle = kind()
        handle.__dict__ = logs.setdefault(folder, handle.__dict__)
        return handle

    return backend


class DoesNothing:
    """Answers everything, keeps nothing."""

    log_id = "log"

    async def append(self, commit: NewCommit) -> Appended:
        return Appended(self.log_id, Version(commit.expected + commit.count), Position(1))

    async def tail(self, stream: StreamId) -> Tail:
        return Tail(Version(0), Position(0))

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        return
        yield

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        return
        yield

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        while True:
            yield Progress(after, caught_up=True)
            await asyncio.sleep(1)

    async def head(self) -> Position:
        return Position(0)

    async def position_at(self, recorded_at: int) -> Moment:
        return Moment(Position(0), final=False)

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        return
        yield

    async def describe(self) -> Mapping[str, str | int]:
        return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


# What is stored


class LosesCommit(Sound):
    """Every third commit is acknowledged and not stored."""

    _count = 0

    async def append(self, commit: NewCommit) -> Appended:
        self._count += 1
        if self._count % 3 == 0 and self._version(commit.stream) == commit.expected:
            version = Version(commit.expected + commit.count)
            return Appended(self.log_id, version, Position(len(self._commits) + 1))
        return await super().append(commit)


class DoublesCommit(Sound):
    """A commit stands in the log twice."""

    async def append(self, commit: NewCommit) -> Appended:
        before = len(self._commits)
        answer = await super().append(commit)
        if len(self._commits) > before:
            again = msgspec.structs.replace(self._commits[-1], position=Position(before + 2))
            self._commits.append(again)
        return answer


class ShowsHalf(Sound):
    """The first event of a commit is counted before the rest is stored."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        ends = self._streams[commit.stream].ends
        if commit.count > 1 and ends[-1] == answer.version:
            ends[-1] = answer.version - commit.count + 1
            try:
                await asyncio.sleep(0)
            finally:
                ends[-1] = answer.version
        return answer


class RefusesButStores(Sound):
    """A refused commit stays in the log."""

    async def append(self, commit: NewCommit) -> Appended:
        try:
            return await super().append(commit)
        except Conflict:
            self._commits.append(RawCommit(commit.stream, Position(len(self._commits) + 1), 0, commit.envelope))
            raise


class RefusedMakesStream(Sound):
    """A refused commit leaves an empty stream behind in the list."""

    async def append(self, commit: NewCommit) -> Appended:
        try:
            return await super().append(commit)
        except Conflict:
            self._names().add(commit.stream)
            raise

    def _names(self) -> set[StreamId]:
        names: set[StreamId] = self.__dict__.setdefault("names", set())
        return names

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        async for chunk in super().streams(category):
            yield chunk
        for name in sorted(self._names() - set(self._streams)):
            if category in (None, name.category):
                yield [StreamInfo(name, Version(0), Position(0), 0)]


class RefusesNeighbours(Sound):
    """An append that comes in the same turn as a refused one is refused as well."""

    _refusing = False

    async def append(self, commit: NewCommit) -> Appended:
        if self._refusing:
            raise Conflict(commit.stream, commit.expected, Version(self._version(commit.stream)))
        try:
            return await super().append(commit)
        except Conflict:
            self._refusing = True
            asyncio.get_running_loop().call_soon(self._refuse_no_more)
            raise

    def _refuse_no_more(self) -> None:
        self._refusing = False


class TrimsBytes(Sound):
    """Zero bytes at the end of an envelope are lost."""

    async def append(self, commit: NewCommit) -> Appended:
        return await super().append(msgspec.structs.replace(commit, envelope=commit.envelope.rstrip(b"\0")))


class CutsLargeOnes(Sound):
    """An envelope keeps its first megabyte at most, counted in thousands."""

    async def append(self, commit: NewCommit) -> Appended:
        return await super().append(msgspec.structs.replace(commit, envelope=commit.envelope[:1_000_000]))


class TornByCancelling(Sound):
    """An append cancelled while it waits is stored twice when it comes again."""

    async def append(self, commit: NewCommit) -> Appended:
        before = len(self._commits)
        answer = await super().append(commit)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if len(self._commits) > before:
                stream = self._streams[commit.stream]
                stream.commits.append(stream.commits[-1])
                stream.ends.append(stream.ends[-1] + 1)
            raise
        return answer


# Guards and versions


class IgnoresGuard(Sound):
    """Every append is stored, whatever it expects."""

    async def append(self, commit: NewCommit) -> Appended:
        return await super().append(msgspec.structs.replace(commit, expected=Version(self._version(commit.stream))))


class GuardOneTooHigh(Sound):
    """An append that expects one version too many is stored."""

    async def append(self, commit: NewCommit) -> Appended:
        if self._version(commit.stream) == commit.expected - 1:
            commit = msgspec.structs.replace(commit, expected=Version(commit.expected - 1))
        return await super().append(commit)


class GuardInsideCommit(Sound):
    """An append that expects a version inside the last commit is stored."""

    async def append(self, commit: NewCommit) -> Appended:
        if found := self._streams.get(commit.stream):
            before = found.ends[-2] if len(found.ends) > 1 else 0
            if before < commit.expected < found.ends[-1]:
                commit = msgspec.structs.replace(commit, expected=Version(found.ends[-1]))
        return await super().append(commit)


class GuardHoldsFromStart(Sound):
    """An append that expects any version of a stream that does not exist is stored."""

    async def append(self, commit: NewCommit) -> Appended:
        if not self._version(commit.stream):
            commit = msgspec.structs.replace(commit, expected=Version(0))
        return await super().append(commit)


class GuardFromCache(Sound):
    """A handle guards by what it appended itself."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[StreamId, Version] = {}

    async def append(self, commit: NewCommit) -> Appended:
        known = self.known.get(commit.stream, Version(self._version(commit.stream)))
        if known != commit.expected:
            return self._appended_before(commit, known)
        stored = msgspec.structs.replace(commit, expected=Version(self._version(commit.stream)))
        answer = await super().append(stored)
        self.known[commit.stream] = answer.version
        return answer


class WrongActual(Sound):
    """A refusal names the expected version as the actual one."""

    async def append(self, commit: NewCommit) -> Appended:
        try:
            return await super().append(commit)
        except Conflict:
            raise Conflict(commit.stream, commit.expected, commit.expected) from None


class CountsCommits(Sound):
    """An append answers with the number of the stream's commits."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        return msgspec.structs.replace(answer, version=Version(len(self._streams[commit.stream].commits)))


class CountsFromZero(Sound):
    """The tail says the number of the last event, counted from zero."""

    async def tail(self, stream: StreamId) -> Tail:
        found = await super().tail(stream)
        return Tail(Version(max(found.version - 1, 0)), found.position)


class NothingHasAHead(Sound):
    """A stream that does not exist is said to be at the head of the log."""

    async def tail(self, stream: StreamId) -> Tail:
        found = await super().tail(stream)
        return found if found.version else Tail(found.version, await self.head())


class RaisesKeyError(Sound):
    """An append to a stream that does not exist fails as the driver does."""

    async def append(self, commit: NewCommit) -> Appended:
        if commit.expected and not self._version(commit.stream):
            raise KeyError(commit.stream)
        return await super().append(commit)


# Positions and order


class PositionReused(Sound):
    """Each stream counts its own positions."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        return msgspec.structs.replace(answer, position=Position(len(self._streams[commit.stream].commits)))


class PositionZero(Sound):
    """Positions are given from zero."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        return msgspec.structs.replace(answer, position=Position(answer.position - 1))


class LastComesFirst(Sound):
    """Of appends that are not awaited in between, the last one is stored first."""

    async def append(self, commit: NewCommit) -> Appended:
        self._check_open()
        loop = asyncio.get_running_loop()
        waiting: list[tuple[NewCommit, asyncio.Future[Appended]]] = self.__dict__.setdefault("waiting", [])
        waiting.append((commit, loop.create_future()))
        if len(waiting) == 1:
            self.__dict__["task"] = loop.create_task(self._store(waiting))
        return await waiting[-1][1]

    async def _store(self, waiting: list[tuple[NewCommit, asyncio.Future[Appended]]]) -> None:
        while waiting:
            commit, answer = waiting.pop()
            try:
                found = await super().append(commit)
            except EventStoreError as error:
                answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(found)


class StreamsInTurn(Sound):
    """Appends that are not awaited in between are stored stream by stream, by name."""

    async def append(self, commit: NewCommit) -> Appended:
        self._check_open()
        for _ in range(sum(commit.stream.id.encode()) % 3):
            await asyncio.sleep(0)
        return await super().append(commit)


class StreamNewestFirst(Sound):
    """A stream is read from its end."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            yield chunk[::-1]


class ComesLate(Sound):
    """A commit is given its position before others, and is seen after them."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        if answer.position % 5 == 0:
            late: set[int] = self.__dict__.setdefault("late", set())
            late.add(answer.position)
            for _ in range(4):
                await asyncio.sleep(0)
            late.discard(answer.position)
        return answer

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        late = self.__dict__.get("late", set())
        async for chunk in super().log(after=after):
            if seen := [raw for raw in chunk if raw.position not in late]:
                yield seen


# Visibility


class LogStale(Sound):
    """The log is read without its newest commit when that is younger than the last look."""

    _looked = 0

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        self._check_reached(after)
        looked, self._looked = self._looked, len(self._commits)
        async for chunk in super().log(after=after):
            if seen := [raw for raw in chunk if raw.position <= looked]:
                yield seen


class TailStale(Sound):
    """The tail of a stream is looked up once and then remembered."""

    async def tail(self, stream: StreamId) -> Tail:
        self._check_open()
        known: dict[StreamId, Tail] = self.__dict__.setdefault("tails", {})
        if stream not in known:
            known[stream] = await super().tail(stream)
        return known[stream]


class HeadStale(Sound):
    """The head lags behind by one commit."""

    async def head(self) -> Position:
        return Position(max(await super().head() - 1, 0))


class HeadAhead(Sound):
    """The head is where the next commit will be."""

    async def head(self) -> Position:
        head = await super().head()
        return Position(head + 1) if head else head


class OtherHandleStale(Sound):
    """A handle reads what the log held when it was opened and what it appended itself."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.known = set(range(1, len(self._commits) + 1))
        return self

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        self.known.add(answer.position)
        return answer

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            if seen := [raw for raw in chunk if raw.position in self.known]:
                yield seen


# Idempotency


class ForgetsIds(Sound):
    """A commit that comes again is refused."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        raise Conflict(commit.stream, commit.expected, actual)


class IgnoresIds(Sound):
    """Any commit that comes where another stands is taken for that one."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        stream = self._streams.get(commit.stream)
        for raw in stream.commits if stream else ():
            if parse(raw).first_version == commit.expected + 1:
                return super()._appended_before(msgspec.structs.replace(commit, commit_id=parse(raw).commit_id), actual)
        return super()._appended_before(commit, actual)


class ComparesBytes(Sound):
    """A commit that comes again is known by its bytes, not by its id."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        answer = super()._appended_before(commit, actual)
        if self._commits[answer.position - 1].envelope != commit.envelope:
            raise Conflict(commit.stream, commit.expected, actual)
        return answer


class KnowsLastOnly(Sound):
    """Only a stream's last commit is known when it comes again."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        answer = super()._appended_before(commit, actual)
        if answer.version != actual:
            raise Conflict(commit.stream, commit.expected, actual)
        return answer


class AnswersToday(Sound):
    """A commit that comes again is answered with the stream's end of today."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        super()._appended_before(commit, actual)
        return Appended(self.log_id, actual, self._streams[commit.stream].commits[-1].position)


class KnowsIdAnywhere(Sound):
    """A commit that comes again is known by its id alone, whatever version it expects."""

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        stream = self._streams.get(commit.stream)
        for number, raw in enumerate(stream.commits if stream else ()):
            if stream and parse(raw).commit_id == commit.commit_id:
                return Appended(self.log_id, Version(stream.ends[number]), raw.position)
        return super()._appended_before(commit, actual)


class KnowsIdFirst(Sound):
    """An id that the stream has seen is looked up before the guard."""

    async def append(self, commit: NewCommit) -> Appended:
        stream = self._streams.get(commit.stream)
        for number, raw in enumerate(stream.commits if stream else ()):
            first = parse(raw)
            if stream and first.commit_id == commit.commit_id and commit.expected == stream.ends[-1]:
                return Appended(self.log_id, Version(stream.ends[number]), raw.position)
        return await super().append(commit)


class KnowsIdInEveryStream(Sound):
    """An id that any stream has seen is not stored in another."""

    async def append(self, commit: NewCommit) -> Appended:
        for raw in self._commits:
            if raw.stream != commit.stream and parse(raw).commit_id == commit.commit_id:
                return Appended(self.log_id, Version(commit.expected + commit.count), raw.position)
        return await super().append(commit)


# Times


class TimeFalls(Sound):
    """A recorded time that lies before the last one is stored as it comes."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        if answer.position == len(self._commits):
            self._rename(-1, recorded_at=self._clock() if commit.recorded_at is None else commit.recorded_at)
        return answer


class ImportLosesTime(Sound):
    """A commit from another log is recorded now."""

    async def append(self, commit: NewCommit) -> Appended:
        return await super().append(msgspec.structs.replace(commit, recorded_at=None))


class Milliseconds(Sound):
    """Times are kept in milliseconds."""

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        if answer.position == len(self._commits):
            self._rename(-1, recorded_at=self._commits[-1].recorded_at // 1_000)
        return answer


class TimeStands(Sound):
    """The clock is read once."""

    _first: int | None = None

    async def append(self, commit: NewCommit) -> Appended:
        if commit.recorded_at is None:
            self._first = self._first or self._clock()
            commit = msgspec.structs.replace(commit, recorded_at=self._first)
        return await super().append(commit)


class PositionAtOffByOne(Sound):
    """A time leads to the first commit recorded after it."""

    async def position_at(self, recorded_at: int) -> Moment:
        found = await super().position_at(recorded_at)
        return Moment(Position(min(found.position + 1, len(self._commits))), found.final)


class PositionBefore(Sound):
    """A time leads to the last commit recorded before it, without those recorded at it."""

    async def position_at(self, recorded_at: int) -> Moment:
        return Moment((await super().position_at(recorded_at - 1)).position, final=True)


class AlwaysFinal(Sound):
    """What a time leads to is said to be final."""

    async def position_at(self, recorded_at: int) -> Moment:
        return Moment((await super().position_at(recorded_at)).position, final=True)


class FinalWhenPast(Sound):
    """What the end of the log's time leads to is said to be final as soon as the clock has moved on."""

    async def position_at(self, recorded_at: int) -> Moment:
        found = await super().position_at(recorded_at)
        return Moment(found.position, final=found.final or recorded_at < now_micros())


# Reading


class ReadSkipsMiddle(Sound):
    """The commit around the version to read after is left out."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            if seen := [raw for raw in chunk if parse(raw).first_version > after]:
                yield seen


class ReadOneTooMany(Sound):
    """The commit that ends at the version to read after is read again."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=Version(max(after - 1, 0))):
            yield chunk


class ReadMakesUp(Sound):
    """A stream that does not exist is read as one without commits, in one empty chunk."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        if not self._version(stream):
            self._check_open()
            yield []
        async for chunk in super().read(stream, after=after):
            yield chunk


def _without_ends(chunk: Sequence[RawCommit]) -> Sequence[RawCommit]:
    return chunk[:-1] if len(chunk) == 100 else chunk


class ReadSkipsAtChunk(Sound):
    """The last commit of every full chunk of a stream is skipped."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            yield _without_ends(chunk)


class LogSkipsAtChunk(Sound):
    """The last commit of every full chunk of the log is skipped."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().log(after=after):
            yield _without_ends(chunk)


def _up_to_bytes(chunk: Sequence[RawCommit]) -> Iterator[RawCommit]:
    room = 4_000_000
    for raw in chunk:
        room -= len(raw.envelope)
        if room > 0:
            yield raw


class ReadDropsBytes(Sound):
    """What does not fit into the bytes of a chunk of a stream is dropped."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(stream, after=after):
            yield list(_up_to_bytes(chunk))


class LogDropsBytes(Sound):
    """What does not fit into the bytes of a chunk of the log is dropped."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().log(after=after):
            yield list(_up_to_bytes(chunk))


class OneChunk(Sound):
    """The whole log is one chunk."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        if found := [raw async for chunk in super().log(after=after) for raw in chunk]:
            yield found


class LogIncludesAfter(Sound):
    """The log is read from its position on, that commit included."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        self._check_reached(after)
        async for chunk in super().log(after=Position(max(after - 1, 0))):
            yield chunk


class LogDoesNotStop(Sound):
    """The log waits for more at its end."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for found in super().follow(after=after):
            if not isinstance(found, Progress):
                yield found


class LogSwapsStreams(Sound):
    """Of two neighbouring commits in one chunk the log gives the bytes of the other."""

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().log(after=after):
            swapped = list(chunk)
            if len(swapped) == 2:
                one, two = swapped
                swapped = [
                    msgspec.structs.replace(one, envelope=two.envelope),
                    msgspec.structs.replace(two, envelope=one.envelope),
                ]
            yield swapped


class ReadBreaksOff(Sound):
    """A stream that grows while it is read is read again from its beginning."""

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        before = self._version(stream)
        async for chunk in super().read(stream, after=after):
            yield chunk
            if self._version(stream) > before:
                before = self._version(stream)
                async for again in super().read(stream, after=after):
                    yield again


class UnknownPositionIsEmpty(Sound):
    """Nothing is said about a position that the log has not reached."""

    def _check_reached(self, after: Position) -> None:
        with contextlib.suppress(UnknownPosition):
            super()._check_reached(after)


# Following


class FollowSkipsAtChunk(Sound):
    """The last commit of every full chunk of a follow is skipped."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            yield found if isinstance(found, Progress) else _without_ends(found)


class FollowRepeats(Sound):
    """The last commit of every full chunk of a follow comes again."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            yield found
            if not isinstance(found, Progress) and len(found) == 100:
                yield found[-1:]


class FollowSilent(Sound):
    """A follow never says that it is caught up."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            if not isinstance(found, Progress):
                yield found


class FollowSilentWhenIdle(Sound):
    """A follow says that it is caught up once, and no more while nothing comes."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        said = None
        async for found in super().follow(after=after):
            if found != said:
                yield found
            said = found if isinstance(found, Progress) else None


class FollowSlow(Sound):
    """A follow looks for commits now and then."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            yield found
            if isinstance(found, Progress):
                await asyncio.sleep(0.5)


class FollowProgressBehind(Sound):
    """A follow says that it is caught up where it began."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            yield Progress(after, found.caught_up) if isinstance(found, Progress) else found


class FollowFromHead(Sound):
    """A follow gives only what comes after it was begun."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        self._check_reached(after)
        async for found in super().follow(after=await self.head()):
            yield found


class FollowIncludesAfter(Sound):
    """A follow begins with the commit at its position."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        self._check_reached(after)
        async for found in super().follow(after=Position(max(after - 1, 0))):
            yield found


class FollowEnds(Sound):
    """A follow ends where the log ends."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            yield found
            if isinstance(found, Progress):
                return


class FollowWakesOne(Sound):
    """What comes wakes one follower; the others sleep until they would look again."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        taken: set[int] = self.__dict__.setdefault("taken", set())
        waited = False
        async for found in super().follow(after=after):
            if isinstance(found, Progress):
                waited = True
                yield found
                continue
            if waited and found[-1].position in taken:
                await asyncio.sleep(1_000)
            taken.update(raw.position for raw in found)
            yield found


class FollowShares(Sound):
    """Followers share what comes: each commit goes to one of them."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        taken: set[int] = self.__dict__.setdefault("given", set())
        async for found in super().follow(after=after):
            if isinstance(found, Progress):
                yield found
                continue
            if mine := [raw for raw in found if raw.position not in taken]:
                taken.update(raw.position for raw in mine)
                yield mine


class FollowHoldsUp(Sound):
    """An append waits until every follower has taken the one before."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        cursors: dict[object, int] = self.__dict__.setdefault("cursors", {})
        me = object()
        try:
            async for found in super().follow(after=after):
                cursors[me] = found.position if isinstance(found, Progress) else found[-1].position
                yield found
        finally:
            cursors.pop(me, None)

    async def append(self, commit: NewCommit) -> Appended:
        cursors: dict[object, int] = self.__dict__.setdefault("cursors", {})
        while any(cursor < len(self._commits) - 10 for cursor in cursors.values()):  # noqa: ASYNC110 (a planted fault)
            await asyncio.sleep(0.1)
        return await super().append(commit)


class FollowOwnHandle(Sound):
    """A waiting follower is told of its own handle's appends only."""

    __slots__ = ("mine",)

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[int] = set()

    async def append(self, commit: NewCommit) -> Appended:
        answer = await super().append(commit)
        self.mine.add(answer.position)
        return answer

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        waited = False
        async for found in super().follow(after=after):
            if waited and not isinstance(found, Progress) and found[0].position not in self.mine:
                await asyncio.sleep(0.5)
            waited = isinstance(found, Progress)
            yield found


class FollowLosesWhileWriting(Sound):
    """A follower that is behind when an append comes in jumps over it."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        async for found in super().follow(after=after):
            if isinstance(found, Progress) or len(found) in (1, 100):
                yield found
            else:
                yield found[: len(found) // 2]


class FollowGivenUpStops(Sound):
    """A follow that is given up while it waits takes the wake-ups of the others with it."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        try:
            async for found in super().follow(after=after):
                if self.__dict__.get("stopped") and not isinstance(found, Progress):
                    await asyncio.sleep(1_000)
                yield found
        except asyncio.CancelledError:
            self.__dict__["stopped"] = True
            raise


class FollowOutlivesHandle(Sound):
    """A follow goes on waiting after its handle was closed."""

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        self._check_open()
        following = super().follow(after=after)
        while True:
            try:
                yield await anext(following)
            except StoreClosed:
                await asyncio.sleep(1_000)


# Ids and the list of streams


class _Renames(Sound):
    """Keeps a stream under another id."""

    @staticmethod
    def other(id: str) -> str:
        return id

    def _other(self, stream: StreamId) -> StreamId:
        return StreamId(stream.category, self.other(stream.id) or "empty")

    async def append(self, commit: NewCommit) -> Appended:
        return await super().append(msgspec.structs.replace(commit, stream=self._other(commit.stream)))

    async def tail(self, stream: StreamId) -> Tail:
        return await super().tail(self._other(stream))

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        async for chunk in super().read(self._other(stream), after=after):
            yield [msgspec.structs.replace(raw, stream=stream) for raw in chunk]


class IdsFolded(_Renames):
    """Ids that differ in case are one stream."""

    @staticmethod
    def other(id: str) -> str:
        return id.casefold()


class IdsStripped(_Renames):
    """Spaces around an id are lost."""

    @staticmethod
    def other(id: str) -> str:
        return id.strip()


class IdsNormalised(_Renames):
    """Ids that look alike are one stream."""

    @staticmethod
    def other(id: str) -> str:
        return unicodedata.normalize("NFC", id)


class IdsAreSubjects(_Renames):
    """A dot and a slash in an id are the same."""

    @staticmethod
    def other(id: str) -> str:
        return id.replace("/", ".")


class IdsCut(_Renames):
    """Ids are kept up to 64 characters in the log."""

    @staticmethod
    def other(id: str) -> str:
        return id[:64]


class StreamsUnsorted(Sound):
    """Streams are listed in the order of their first commits."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        found = [info async for chunk in super().streams(category) for info in chunk]
        order = list(self._streams)
        if found:
            yield sorted(found, key=lambda info: order.index(info.stream))


class StreamsByUtf16(Sound):
    """Streams are sorted as UTF-16."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        found = [info async for chunk in super().streams(category) for info in chunk]
        if found:
            yield sorted(found, key=lambda info: (info.stream.category, info.stream.id.encode("utf-16-be")))


class StreamsCutShort(Sound):
    """The list of streams ends after its first chunk."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        async for chunk in super().streams(category):
            yield chunk
            return


class StreamsByPrefix(Sound):
    """A category is listed with those that begin alike."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        async for chunk in super().streams():
            if found := [info for info in chunk if info.stream.category.startswith(category or "")]:
                yield found


class StreamsOfOneCategory(Sound):
    """Without a category the list ends with the first one."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        self._check_open()
        async for chunk in super().streams(category or min(self._streams, default=StreamId("none", "1")).category):
            yield chunk


class StreamsOfOld(Sound):
    """A stream is listed with the facts of its first commit."""

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        async for chunk in super().streams(category):
            firsts = [(info, self._streams[info.stream].commits[0]) for info in chunk]
            yield [
                msgspec.structs.replace(info, position=raw.position, recorded_at=raw.recorded_at)
                for info, raw in firsts
            ]


# Handles


class NeverCloses(Sound):
    """A handle works before it is opened and after it is closed."""

    def _check_open(self) -> None:
        pass


class ClosingDropsAppends(Sound):
    """Appends under way are given up when the handle is closed."""

    async def append(self, commit: NewCommit) -> Appended:
        self._check_open()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await super().append(commit)


class ForgetsOnClose(Sound):
    """The log is empty when it is opened again."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        self._commits.clear()
        self._streams.clear()


class AnswersWithoutLog(Sound):
    """An append's answer names no log."""

    async def append(self, commit: NewCommit) -> Appended:
        return msgspec.structs.replace(await super().append(commit), log_id="")


class SaysNothing(Sound):
    """The log does not say what an acknowledgement means."""

    async def describe(self) -> Mapping[str, str | int]:
        return {"backend": "memory"}


BROKEN: list[type[Sound]] = [
    kind for base in (Sound, _Renames) for kind in base.__subclasses__() if not kind.__name__.startswith("_")
]
"""All of them but the one that does nothing."""
