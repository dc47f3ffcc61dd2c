"""The one store over any backend."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol, Self
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec

from eventstore._codec import Codec, EventCodec
from eventstore._envelope import NO_METADATA, Metadata, compose, parse, seal
from eventstore._errors import Conflict, CorruptCommit, InvalidInput, WrongLog
from eventstore._events import Commit, Event, latest_occurred, to_commit
from eventstore._values import (
    ANY,
    EXISTS,
    NEVER,
    Appended,
    AtPosition,
    AtVersion,
    Expected,
    Occurred,
    Position,
    Progress,
    Recorded,
    StreamId,
    StreamInfo,
    Tail,
    Token,
    Until,
    Version,
    checked_number,
    to_micros,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
    from datetime import datetime
    from types import TracebackType

    from google.protobuf.message import Message

    from eventstore._backend import Backend
    from eventstore.v1 import envelope_pb2

# An append under ANY or EXISTS loses a round to each rival that gets in first. As many rivals on one stream at once are
# a design that wants another stream, so the bound is there to end a livelock, not to be met.
_GUARD_ROUNDS: Final = 1_000


class Slice(msgspec.Struct, frozen=True):
    """What a read of a stream gives."""

    events: tuple[Event, ...]
    log_id: str
    #: Version the stream had at the bound, whatever the events have become under the codec: the next ``expected``.
    version: Version
    #: Position of the last commit within the bound; 0 when there is none.
    position: Position
    #: True when no later append can change this answer.
    final: bool

    @property
    def token(self) -> Token:
        """The position as a wait token."""
        return Token(self.log_id, self.position)


class EventStore:
    """Appends and reads protobuf events; what keeps their bytes is the backend, what they mean is the codec's.

    Use it as an async context manager: entering opens the backend, leaving closes it. One store serves any number of
    tasks of one event loop.
    """

    def __init__(self, backend: Backend, codec: EventCodec) -> None:
        self.backend: Final = backend
        self.codec: Final = codec
        self._turns: WeakValueDictionary[StreamId, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        await self.backend.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.backend.__aexit__(kind, error, trace)

    @property
    def log_id(self) -> str:
        """The log's name for ever."""
        return self.backend.log_id

    async def append(
        self,
        stream: StreamId,
        events: Sequence[Message],
        *,
        expected: Expected,
        commit_id: bytes | None = None,
        metadata: Metadata = NO_METADATA,
        occurred_at: datetime | None = None,
    ) -> Appended:
        """Store events as one commit, whole or not at all.

        Args:
            stream: the stream to append to.
            events: one or more messages known to the codec.
            expected: what the stream's version must be: a number, ``NO_STREAM``, ``EXISTS`` or ``ANY``.
            commit_id: 16 bytes. The same id appended again with the same ``expected`` number is stored once and
                answered as the first time. Not with ``EXISTS`` or ``ANY``, which look for another place each time.
            metadata: who and what led to it.
            occurred_at: when the facts occurred, where that is not now; with a time zone.

        Raises:
            Conflict: the version is another. Read again and decide again, or let ``handle`` do both.
            InvalidInput: the arguments cannot be stored; nothing was.
            TooLarge: the commit is over the limit; nothing was stored.
            StoreUnavailable: whether it was stored is unknown; append again with the same commit id.
        """
        envelope = compose(self.codec, events, commit_id=commit_id, metadata=metadata, occurred_at=occurred_at)
        if isinstance(expected, str):
            return await self._append_anywhere(stream, envelope, expected, commit_id)
        return await self.backend.append(seal(stream, checked_number(expected, "expected"), envelope))

    async def _append_anywhere(
        self, stream: StreamId, envelope: envelope_pb2.Envelope, expected: str, commit_id: bytes | None
    ) -> Appended:
        if expected not in (EXISTS, ANY):
            raise InvalidInput("expected", f"expected a version from 0, NO_STREAM, EXISTS or ANY, got {expected!r}")
        if commit_id is not None:
            raise InvalidInput(
                "commit_id", f"expected none with {expected}: it makes only a numbered append idempotent"
            )
        version = (await self.backend.tail(stream)).version
        for _ in range(_GUARD_ROUNDS):
            if expected == EXISTS and not version:
                raise Conflict(stream, expected, version)
            try:
                return await self.backend.append(seal(stream, version, envelope))
            except Conflict as conflict:
                version = conflict.actual
        raise Conflict(stream, expected, version)

    async def read(self, stream: StreamId, *, after: int = 0, until: Until | None = None) -> Slice:
        """Read a stream's events after a version, up to a bound or its end.

        Raises:
            CorruptCommit: stored bytes are no envelope. Events that do not decode raise only when their message is
                asked for.
        """
        bound = await self.resolve(until)
        reading = StreamReading(self, stream, after, bound)
        events: list[Event] = []
        async for commit in reading:
            events.extend(commit.events)
        if after and not reading.position:
            # Nothing lies between the version and the bound, so what the stream looked like there is still unknown.
            reading = StreamReading(self, stream, 0, bound)
            async for _ in reading:
                pass
        if events and events[0].version <= after:
            events = [event for event in events if event.version > after]
        return Slice(tuple(events), self.log_id, reading.version, reading.position, reading.final)

    async def commits(self, stream: StreamId, *, after: int = 0, until: Until | None = None) -> AsyncIterator[Commit]:
        """Yield a stream's commits that hold an event after a version, up to a bound or its end."""
        async for commit in StreamReading(self, stream, after, await self.resolve(until)):
            yield commit

    async def log(self, *, after: int | Token = 0, categories: Collection[str] = ()) -> AsyncIterator[Commit]:
        """Yield the log's commits after a position, in order, up to the head of this moment or later; then stop.

        Raises:
            WrongLog: the token is another log's.
            UnknownPosition: the log has not reached the position.
            CorruptCommit: with its position; going on is a new call after it.
        """
        async with aclosing(self.backend.log(after=self.checked(after))) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    if not categories or raw.stream.category in categories:
                        yield to_commit(raw, parse(raw), self.codec)

    async def follow(
        self, *, after: int | Token = 0, categories: Collection[str] = (), types: Collection[str] = ()
    ) -> AsyncGenerator[Commit | Progress]:
        """Yield the log's commits after a position as they come, without end, none skipped or repeated.

        A ``Progress`` comes when everything has been read, and at least every second while nothing passes the filters.

        Args:
            after: a position, or a token of this log.
            categories: only commits of these; empty means all.
            types: only commits that hold an event stored under one of these type names; empty means all.

        Raises:
            WrongLog: the token is another log's.
            UnknownPosition: the log has not reached the position.
            CorruptCommit: with its position; going on is a new call after it.
        """
        async with aclosing(self.backend.follow(after=self.checked(after))) as chunks:
            async for found in chunks:
                if isinstance(found, Progress):
                    yield found
                    continue
                yielded = False
                for raw in found:
                    if categories and raw.stream.category not in categories:
                        continue
                    envelope = parse(raw)
                    if types and not any(stored.type in types for stored in envelope.events):
                        continue
                    yield to_commit(raw, envelope, self.codec)
                    yielded = True
                if not yielded:
                    yield Progress(raw.position, caught_up=False, recorded_micros=raw.recorded_at)

    def turn(self, stream: StreamId) -> asyncio.Lock:
        """Return what the tasks of this process that read a stream in order to write to it hold meanwhile."""
        return self._turns.setdefault(stream, asyncio.Lock())

    async def tail(self, stream: StreamId) -> Tail:
        """Return the stream's version and the position of its last commit; both 0 when there is no stream."""
        return await self.backend.tail(stream)

    async def head(self) -> Token:
        """Return where the log ends."""
        return Token(self.log_id, await self.backend.head())

    async def streams(self, category: str | None = None) -> AsyncIterator[StreamInfo]:
        """Yield the streams, of one category or all, sorted by category and id."""
        async for chunk in self.backend.streams(category):
            for info in chunk:
                yield info

    def checked(self, after: int | Token) -> Position:
        """Return the position of a token of this log.

        Raises:
            WrongLog: the token is another log's.
            InvalidInput: the number cannot be a position.
        """
        if isinstance(after, Token):
            if after.log_id != self.log_id:
                raise WrongLog(self.log_id, after.log_id)
            return after.position
        return Position(checked_number(after, "after"))

    async def resolve(self, until: Until | None) -> Bound:
        """Turn a bound into one that needs no more look-ups: recorded times become positions."""
        if isinstance(until, Recorded):
            moment = await self.backend.position_at(to_micros(until.moment, "until"))
            return Bound(position=moment.position, final=moment.final)
        if isinstance(until, Occurred):
            return Bound(occurred=to_micros(until.moment, "until"))
        if isinstance(until, AtVersion):
            return Bound(version=until.version)
        if isinstance(until, AtPosition):
            return Bound(position=until.position)
        return Bound()


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved bound on a stream: at most one of the first three is set."""

    version: int | None = None
    position: int | None = None
    #: Microseconds since the Unix epoch.
    occurred: int | None = None
    #: True when no later commit can fall within the bound.
    final: bool = False

    def admits(self, *, version: int, position: int, occurred: int) -> bool:
        """Say whether a commit lies within the bound, given its last version, position and latest occurred time."""
        if self.version is not None:
            return version <= self.version
        if self.position is not None:
            return position <= self.position
        return self.occurred is None or occurred <= self.occurred


class StreamReading:
    """One pass over a stream up to a bound, which knows afterwards where it ended.

    ``version``, ``position`` and ``occurred`` (the latest occurred time so far) start where the caller says: at the
    stream's beginning, or where a snapshot was taken.
    """

    def __init__(
        self,
        store: EventStore,
        stream: StreamId,
        after: int,
        bound: Bound,
        *,
        position: int = 0,
        occurred: int = NEVER,
    ) -> None:
        self._store = store
        self._stream = stream
        self._after = checked_number(after, "after")
        self._bound = bound
        self.version = Version(after)
        self.position = Position(position)
        self.occurred = occurred
        #: True when no later append can change where it ended.
        self.final = bound.final

    async def __aiter__(self) -> AsyncIterator[Commit]:
        bound, codec = self._bound, self._store.codec
        # The first commit may have begun before the version to read after; from then on each follows the one before.
        first: int = 1
        reading = self._store.backend.read(self._stream, after=Version(self._after), position=self.position)
        async with aclosing(reading) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    commit = to_commit(raw, parse(raw), codec)
                    if not first <= commit.first_version <= self.version + 1:
                        problem = f"its first version is {commit.first_version}, expected {self.version + 1}"
                        raise CorruptCommit(self._stream, raw.position, problem)
                    occurred = latest_occurred(commit, self.occurred)
                    if not bound.admits(version=commit.version, position=commit.position, occurred=occurred):
                        self.final = True
                        return
                    self.version, self.position, self.occurred = commit.version, commit.position, occurred
                    first = commit.version + 1
                    yield commit
        if self.version == bound.version:
            self.final = True


class BackendFactory(Protocol):
    """What an entry point of the group ``eventstore.backends`` names: its name is the URL's scheme."""

    def __call__(self, url: str, *, create: bool) -> Backend:
        """Return a backend for the URL without doing any I/O.

        Raises:
            InvalidInput: the URL does not fit the scheme.
        """


def open_store(url: str, codec: EventCodec | None = None, *, create: bool = True) -> EventStore:
    """Return a store for a URL; no I/O happens before it is entered.

    Args:
        url: ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute.db?durability=full``, or any scheme that an
            installed package offers by an entry point of the group ``eventstore.backends``.
        codec: what the events mean. Without one every event can be read raw and none can be appended.
        create: make the log when there is none at the address; else entering the store raises ``StoreNotFound``.

    Raises:
        InvalidInput: no backend for the scheme, or the URL does not fit it.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise InvalidInput("url", f"expected a URL, got {url!r}: {error}") from None
    found = entry_points(group="eventstore.backends")
    if scheme not in found.names:
        known = ", ".join(sorted(f"{name}://" for name in found.names))
        raise InvalidInput("url", f"expected one of {known}; got {scheme + '://' if scheme else url!r}")
    try:
        factory: BackendFactory = found[scheme].load()
    except ModuleNotFoundError as error:
        problem = f"{scheme}:// needs the package {error.name}, which an extra of its distribution installs"
        raise InvalidInput("url", problem) from None
    return EventStore(factory(url, create=create), Codec() if codec is None else codec)
