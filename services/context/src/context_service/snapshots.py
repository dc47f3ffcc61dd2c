"""Where snapshots of stories are kept, by its URL, and how the service does without them while that place fails."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from eventstore import InvalidInput, MemorySnapshots, StoreUnavailable
from eventstore.sqlite import SqliteSnapshots

from context_service.servers import (
    NEO4J_SCHEMES,
    VALKEY_SCHEMES,
    file_beside,
    neo4j_at,
    parsed,
    sqlite_file,
    valkey_at,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from eventstore import Backend, Bound, Snapshot, SnapshotStore, StreamId

_log = logging.getLogger("context_service")
T = TypeVar("T")

IN_MEMORY: Final = "memory://"
#: So long an answer may take before a fold goes on without it, and so long nothing is asked for after that.
PATIENCE_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 10.0


@asynccontextmanager
async def open_snapshots(url: str, log: Backend) -> AsyncIterator[SnapshotStore]:
    """Open the place where snapshots are kept. One that cannot be used now costs time only.

    Args:
        url: ``neo4j://user:password@host:7687``, ``valkey://host:6379/0``, ``sqlite:///snapshots.db`` or ``memory://``.
            When empty, a file beside a SQLite log, named like it with ``-snapshots``, else memory.
        log: of which the snapshots are.

    Raises:
        InvalidInput: the URL is none of these, or needs a driver that is not installed.
    """
    async with AsyncExitStack() as stack:
        yield await _opened(stack, url, log)


async def _opened(stack: AsyncExitStack, url: str, log: Backend) -> SnapshotStore:
    scheme = parsed(url, "snapshots").scheme
    if scheme in NEO4J_SCHEMES:
        server = await stack.enter_async_context(neo4j_at(url, "snapshots"))
        from projections.neo4j import Neo4jSnapshots  # noqa: PLC0415 (the driver is there)

        return SparedSnapshots(Neo4jSnapshots(server.driver, database=server.database))
    if scheme in VALKEY_SCHEMES:
        client = await stack.enter_async_context(valkey_at(url, "snapshots"))
        from projections.valkey import ValkeySnapshots  # noqa: PLC0415 (the driver is there)

        return SparedSnapshots(ValkeySnapshots(client))
    path = sqlite_file(url, "snapshots") if url else file_beside(log, "snapshots")
    if url and url != IN_MEMORY and not path:
        problem = f"expected neo4j://, bolt://, valkey://, sqlite:///FILE or {IN_MEMORY}; got {scheme}://"
        raise InvalidInput("snapshots", problem)
    try:
        return await stack.enter_async_context(SqliteSnapshots(path)) if path else MemorySnapshots()
    except StoreUnavailable as error:
        _log.warning("snapshots are kept in memory only: %s", error)
        return MemorySnapshots()


class SparedSnapshots:
    """Snapshots on a server that may be down, which costs a few seconds at most and is told once.

    Stories are read and written without snapshots meanwhile; those that are missing are left behind by later reads.
    """

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        # A full server can still be read.
        self._saving = _Attempts("saved")
        self._loading = _Attempts("loaded")

    async def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot if that is possible now."""
        await self._saving.make(partial(self._store.save, snapshot))

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        """Return the newest one within a bound, None when there is none or it cannot be had now."""
        return await self._loading.make(partial(self._store.load, stream, log_id=log_id, tag=tag, bound=bound))


class _Attempts:
    """Attempts at something that may fail for a while."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._failing = False
        self._next = 0.0

    async def make(self, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """Make one attempt, unless one has failed lately; None when it fails or is not made."""
        if self._failing:
            if time.monotonic() < self._next:
                return None
            # One finds out whether it is over; the others do not wait for that.
            self._pause()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await attempt()
        except TimeoutError:
            self._failed(f"no answer within {PATIENCE_SECONDS:g} s")
            return None
        except StoreUnavailable as error:
            self._failed(str(error))
            return None
        self._succeeded()
        return answer

    def _pause(self) -> None:
        self._next = time.monotonic() + PAUSE_SECONDS

    def _failed(self, problem: str) -> None:
        if not self._failing:
            _log.warning("snapshots are not %s until this is over: %s", self._done, problem)
        self._failing = True
        self._pause()

    def _succeeded(self) -> None:
        if self._failing:
            _log.info("snapshots are %s again", self._done)
        self._failing = False
