"""The log as a runner takes it: read ahead while the last batch is being written, cut into batches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec
from eventstore import Commit, Progress, Token

from projections._record import now_micros

if TYPE_CHECKING:
    from types import TracebackType

    from eventstore import EventStore

    from projections._projection import AnyProjection


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How large a batch may become, and how long it may wait for more commits to come.

    A target that is slow gets large batches by itself, since commits gather while it writes.
    """

    commits: int = 1_000
    #: Of the events' payloads.
    bytes: int = 4 * 1024 * 1024
    #: Between the first commit of a batch and its being written, while the log has more.
    seconds: float = 0.05


class Taken(msgspec.Struct, frozen=True):
    """What a reader has taken: commits, the position they reach to, and whether that was the log's end."""

    commits: list[Commit]
    position: int
    caught_up: bool
    #: The log has nothing after the position that was recorded before this time, in microseconds since the epoch.
    as_of: int


class Feed:
    """Follows the log for one projection, at most two batches ahead."""

    def __init__(self, store: EventStore, projection: AnyProjection, batching: Batching, after: Token) -> None:
        self._store = store
        self._projection = projection
        self._batching = batching
        self._after: Final = after
        self._items: list[tuple[Commit, int]] = []
        self._bytes = 0
        self._position: int = after.position
        self._taken: int = after.position
        self._caught_up = False
        self._as_of = 0
        self._since = 0.0
        self._error: Exception | None = None
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self) -> None:
        wanted = self._projection
        loop = asyncio.get_running_loop()
        following = self._store.follow(after=self._after, categories=wanted.categories, types=wanted.types)
        try:
            async for item in following:
                self._position = item.position
                if isinstance(item, Progress):
                    self._caught_up = item.caught_up
                    self._as_of = now_micros() if item.caught_up else item.recorded_micros or self._as_of
                else:
                    size = sum(len(event.raw.payload) for event in item.events)
                    self._since = self._since if self._items else loop.time()
                    self._items.append((item, size))
                    self._bytes += size
                    self._caught_up = False
                    self._as_of = item.recorded_micros
                self._some.set()
                while self._full(2):
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 (whoever takes gets it)
            self._error = error
            self._some.set()
        finally:
            await following.aclose()

    def _full(self, times: int) -> bool:
        return len(self._items) >= times * self._batching.commits or self._bytes >= times * self._batching.bytes

    async def take(self, seconds: float) -> Taken:
        """Return the next batch, or what there is of it when it has waited long enough; nothing after so many seconds.

        Raises:
            Exception: what following the log has raised, after all that came before it.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._ripe() and (left := self._patience(end) - loop.time()) > 0:
            self._some.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._some.wait()
        if self._error is not None and not self._items:
            raise self._error
        return self._cut()

    def _ripe(self) -> bool:
        news = bool(self._items) or self._position > self._taken
        return self._full(1) or (self._caught_up and news) or self._error is not None

    def _patience(self, end: float) -> float:
        return min(end, self._since + self._batching.seconds) if self._items else end

    def _cut(self) -> Taken:
        commits: list[Commit] = []
        size = 0
        for commit, weight in self._items[: self._batching.commits]:
            if commits and size + weight > self._batching.bytes:
                break
            commits.append(commit)
            size += weight
        del self._items[: len(commits)]
        self._bytes -= size
        self._room.set()
        more = bool(self._items)
        self._taken = commits[-1].position if more else self._position
        as_of = commits[-1].recorded_micros if more else self._as_of
        return Taken(commits, self._taken, caught_up=self._caught_up and not more, as_of=as_of)
