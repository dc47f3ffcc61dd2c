"""How long does an append take, alone and among 128 writers? Against pyeventsourcing and UmaDB.

Every append is guarded by its stream's version, and every side syncs the disk before it acknowledges. Seen with
``strace -f -e trace=fsync,fdatasync,write``: ours one fdatasync of the write-ahead log a transaction, before the
answers of all appends in it; pyeventsourcing 9.5 one fdatasync of the write-ahead log an append; UmaDB 0.7 two
fdatasyncs of its file, one for the pages and one for the header, before it answers a request or a group of them.

An event goes in as the program has it and is encoded within the time measured: by our codec, by pyeventsourcing's
default mapper; UmaDB stores bytes and gets those of our message. Rows with ``-recorder`` leave that out: bytes go in.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventstore import EventStore, StreamId, open_store

from benchmarks import rival_pyeventsourcing, rival_umadb
from benchmarks.facts import CODEC, Fact, draw, message, sealed
from benchmarks.measure import MICROSECONDS, Result, Scale, Side, compare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import umadb

    from benchmarks.rival_pyeventsourcing import Rival

WRITERS: Final = 128
# How many appends a turn has, by the events in each: it takes tenths of a second.
_COUNTS: Final = {1: 400, 10: 200, 100: 50, 1_000: 10}
_COUNT_EACH: Final = 16
_COUNT_IN_MEMORY: Final = 2_000

Calls = Sequence[Callable[[], Any]]
"""One writer's appends, ready to be called one after the other."""

Prepare = Callable[[str, Sequence[Sequence[Fact]]], Calls]
"""Makes a writer's appends to a new stream of this name, each of some facts. The clock does not see it."""

Run = Callable[[Sequence[Calls]], Awaitable[float]]
"""Makes the appends of all writers and returns the seconds it took."""


class Contender(NamedTuple):
    """A side, and what it appends."""

    side: Side
    prepare: Prepare


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about appends."""
    rows = _Rows(scale)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(f"sqlite:///{directory / 'appends.db'}", CODEC))
        sync = str((await store.backend.describe())["durability"])
        pyeventsourcing = stack.enter_context(rival_pyeventsourcing.sqlite(directory / "appends-rival.db"))
        uma = stack.enter_context(rival_umadb.server(directory))
        sides = (
            Side("ours", sync),
            Side(rival_pyeventsourcing.NAME, pyeventsourcing.sync),
            Side(rival_umadb.NAME, rival_umadb.SYNC),
        )
        for suffix, prepared in (
            ("", (our_events(store), their_events(pyeventsourcing), uma_events(uma))),
            ("-recorder", (our_bytes(store), their_bytes(pyeventsourcing), uma_bytes(uma))),
        ):
            contenders = tuple(map(Contender, sides, prepared))
            for size, count in _COUNTS.items():
                # UmaDB is spared the hop to a thread that an asyncio program would have to make for its client.
                taking = list(zip(contenders, (awaited, hopping, bare), strict=True))
                for result in await rows.row(f"sqlite-append-{size}{suffix}", taking, size=size, count=count):
                    yield result
            taking = list(zip(contenders[:2], (awaited, bare), strict=True))
            for result in await rows.row(f"sqlite-append-1-bare{suffix}", taking, count=_COUNTS[1]):
                yield result
            # Threads without asyncio were the rivals' best; a smaller pool for as many writers was no better.
            taking = list(zip(contenders, (awaited, threaded, threaded), strict=True))
            name = f"sqlite-append-1-x{WRITERS}{suffix}"
            for result in await rows.row(name, taking, count=_COUNT_EACH, writers=WRITERS):
                yield result
    async for result in _in_memory(rows):
        yield result


async def _in_memory(rows: _Rows) -> AsyncIterator[Result]:
    async with open_store("memory://", CODEC) as store:
        sync = str((await store.backend.describe())["durability"])
        rival = rival_pyeventsourcing.memory()
        ours = Contender(Side("ours", sync), our_events(store))
        theirs = Contender(Side(rival_pyeventsourcing.NAME, rival.sync), their_events(rival))
        for suffix, run in (("", hopping), ("-bare", bare)):
            taking = [(ours, awaited), (theirs, run)]
            for result in await rows.row(f"memory-append-1{suffix}", taking, count=_COUNT_IN_MEMORY):
                yield result


class _Rows:
    """Measures rows, each turn on streams of its own."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._facts = [draw(scale.rng) for _ in range(1_000)]
        self._names = map("stream-{}".format, itertools.count())

    async def row(
        self, name: str, taking: Sequence[tuple[Contender, Run]], *, size: int = 1, count: int, writers: int = 1
    ) -> list[Result]:
        """Measure a row: all writers append so many times, so many events each time."""
        if not self._scale.wants(name):
            return []
        count = self._scale.count(count)
        turns = [
            (one.side, partial(self._turn, one, run, size=size, count=count, writers=writers)) for one, run in taking
        ]
        appends = count * writers
        return await compare(self._scale, name, MICROSECONDS, turns, operations=appends, events=appends * size)

    async def _turn(self, one: Contender, run: Run, *, size: int, count: int, writers: int) -> float:
        commits = [self._scale.rng.choices(self._facts, k=size) for _ in range(count)]
        return await run([one.prepare(next(self._names), commits) for _ in range(writers)])


async def awaited(writers: Sequence[Calls]) -> float:
    """Let each writer be a task that awaits one append after the other."""

    async def writer(calls: Calls) -> None:
        for call in calls:
            await call()

    started = time.perf_counter()
    await asyncio.gather(*map(writer, writers))
    return time.perf_counter() - started


async def hopping(writers: Sequence[Calls]) -> float:
    """Call a synchronous library as an asyncio program must: from a thread, so that the loop goes on."""
    return await awaited([[partial(asyncio.to_thread, call) for call in calls] for calls in writers])


async def bare(writers: Sequence[Calls]) -> float:
    """Call a synchronous library as if there were no loop to keep free."""
    started = time.perf_counter()
    for calls in writers:
        for call in calls:
            call()
    return time.perf_counter() - started


async def threaded(writers: Sequence[Calls]) -> float:
    """Let each writer be a thread."""
    start = threading.Barrier(len(writers) + 1)

    def writer(calls: Calls) -> None:
        start.wait()
        for call in calls:
            call()

    with ThreadPoolExecutor(len(writers)) as pool:
        done = [pool.submit(writer, calls) for calls in writers]
        start.wait()
        started = time.perf_counter()
        for each in done:
            each.result()
        return time.perf_counter() - started


def our_events(store: EventStore) -> Prepare:
    """Messages to the store."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        stream = StreamId("story", name)
        return [
            partial(store.append, stream, [message(fact) for fact in facts], expected=number * len(facts))
            for number, facts in enumerate(commits)
        ]

    return prepare


def our_bytes(store: EventStore) -> Prepare:
    """Sealed commits to the backend."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        stream = StreamId("story", name)
        return [
            partial(store.backend.append, sealed(stream, number * len(facts), [message(fact) for fact in facts]))
            for number, facts in enumerate(commits)
        ]

    return prepare


def their_events(rival: Rival) -> Prepare:
    """Domain events to the library's event store."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        return [partial(rival.store.put, events) for events in rival_pyeventsourcing.domain_events(name, commits)]

    return prepare


def their_bytes(rival: Rival) -> Prepare:
    """Stored events to the library's recorder."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        return [
            partial(rival.recorder.insert_events, rival.stored(events))
            for events in rival_pyeventsourcing.domain_events(name, commits)
        ]

    return prepare


def uma_events(client: umadb.Client) -> Prepare:
    """Messages, made to its events as they are sent."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        stream = rival_umadb.Stream(client, name)
        return [partial(stream.append_messages, [message(fact) for fact in facts]) for facts in commits]

    return prepare


def uma_bytes(client: umadb.Client) -> Prepare:
    """Its events, made before."""

    def prepare(name: str, commits: Sequence[Sequence[Fact]]) -> Calls:
        stream = rival_umadb.Stream(client, name)
        return [partial(stream.append, [stream.event(message(fact)) for fact in facts]) for facts in commits]

    return prepare
