"""The reference backend: a log in memory, gone with the process. For tests, and for reading this contract as code."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Self

from eventstore._envelope import parse
from eventstore._errors import Conflict, InvalidInput, StoreClosed, UnknownPosition
from eventstore._values import (
    BEGINNING,
    Appended,
    Moment,
    NewCommit,
    Position,
    Progress,
    RawCommit,
    StreamId,
    StreamInfo,
    Tail,
    Version,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from types import TracebackType

_CHUNK: Final = 100
_IDLE_SECONDS: Final = 0.5


class _Stream:
    """The commits of one stream; ``ends`` holds the version after each, so that a version is found by bisection."""

    __slots__ = ("commits", "ends")

    def __init__(self) -> None:
        self.commits: list[RawCommit] = []
        self.ends: list[int] = []


def now_micros() -> int:
    """Return the system clock in microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


class MemoryBackend:
    """Keeps a log in memory. ``clock`` returns microseconds since the Unix epoch."""

    def __init__(self, *, clock: Callable[[], int] = now_micros) -> None:
        self.log_id: Final = uuid.uuid4().hex
        self._clock = clock
        self._commits: list[RawCommit] = []
        self._streams: dict[StreamId, _Stream] = {}
        self._grown = asyncio.Event()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._wake()

    def _wake(self) -> None:
        # A new event each time: one that followers shared and cleared could swallow the wake-up of another follower.
        self._grown.set()
        self._grown = asyncio.Event()

    def _check_open(self) -> None:
        if not self._open:
            raise StoreClosed("the store is not open: use it inside its async with block")

    async def append(self, commit: NewCommit) -> Appended:
        self._check_open()
        found = self._streams.get(commit.stream)
        version = found.ends[-1] if found else 0
        if version != commit.expected:
            return self._appended_before(commit, Version(version))
        at = self._clock() if commit.recorded_at is None else commit.recorded_at
        if self._commits:
            at = max(at, self._commits[-1].recorded_at)
        raw = RawCommit(commit.stream, Position(len(self._commits) + 1), at, commit.envelope)
        stream = found or self._streams.setdefault(commit.stream, _Stream())
        stream.commits.append(raw)
        stream.ends.append(version + commit.count)
        self._commits.append(raw)
        self._wake()
        return Appended(self.log_id, Version(version + commit.count), raw.position)

    def _appended_before(self, commit: NewCommit, actual: Version) -> Appended:
        if actual > commit.expected:
            stream = self._streams[commit.stream]
            at = bisect_right(stream.ends, commit.expected)
            envelope = parse(stream.commits[at])
            if envelope.commit_id == commit.commit_id and envelope.first_version == commit.expected + 1:
                return Appended(self.log_id, Version(stream.ends[at]), stream.commits[at].position)
        raise Conflict(commit.stream, commit.expected, actual)

    async def tail(self, stream: StreamId) -> Tail:
        self._check_open()
        found = self._streams.get(stream)
        if found is None:
            return Tail(Version(0), Position(0))
        return Tail(Version(found.ends[-1]), found.commits[-1].position)

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        self._check_open()
        found = self._streams.get(stream)
        if found is None:
            return
        start = bisect_right(found.ends, after)
        while chunk := found.commits[start : start + _CHUNK]:
            yield chunk
            start += len(chunk)

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        self._check_reached(after)
        start: int = after
        while chunk := self._commits[start : start + _CHUNK]:
            yield chunk
            start += len(chunk)

    def _check_reached(self, after: Position) -> None:
        self._check_open()
        if after > len(self._commits):
            raise UnknownPosition(after, len(self._commits))

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        self._check_reached(after)
        start: int = after
        while True:
            self._check_open()
            grown = self._grown
            if chunk := self._commits[start : start + _CHUNK]:
                yield chunk
                start += len(chunk)
                continue
            yield Progress(Position(start), caught_up=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_SECONDS):
                    await grown.wait()

    async def head(self) -> Position:
        self._check_open()
        return Position(len(self._commits))

    async def position_at(self, recorded_at: int) -> Moment:
        self._check_open()
        position = bisect_right(self._commits, recorded_at, key=lambda raw: raw.recorded_at)
        return Moment(Position(position), final=position < len(self._commits))

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        self._check_open()
        names = sorted(stream for stream in self._streams if category in (None, stream.category))
        for start in range(0, len(names), _CHUNK):
            yield [self._info(stream) for stream in names[start : start + _CHUNK]]

    def _info(self, stream: StreamId) -> StreamInfo:
        found = self._streams[stream]
        last = found.commits[-1]
        return StreamInfo(stream, Version(found.ends[-1]), last.position, last.recorded_at)

    async def describe(self) -> Mapping[str, str | int]:
        self._check_open()
        return {"backend": "memory", "durability": "none: the log is gone with the process"}


def from_url(url: str, *, create: bool) -> MemoryBackend:
    """Return a new empty log; the URL is just ``memory://``, and there is never one to be found."""
    if url != "memory://":
        raise InvalidInput("url", f"expected memory://, got {url!r}")
    if not create:
        raise InvalidInput("url", "memory:// is always a new log: there is none to open")
    return MemoryBackend()
