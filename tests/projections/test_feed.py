"""How the log is taken: in batches that are bounded, not far ahead, and up to when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, Commit, EventStore, Position, Progress, StreamId, Token, open_store
from projections import Batching
from projections._feed import Feed, Taken
from projections._record import now_micros

from tests.projections.views import CODEC, IN_MEMORY, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMITS = 40
LARGE = 1 << 40
SECONDS = 5.0


@pytest.fixture
async def store() -> AsyncIterator[EventStore]:
    async with open_store("memory://", CODEC) as store:
        for _ in range(COMMITS):
            await store.append(StreamId("n", "1"), numbers(*[LARGE] * 10), expected=ANY)
        yield store


def size(commit: Commit) -> int:
    return sum(len(event.raw.payload) for event in commit.events)


class Counted:
    """A log that counts what has been read of it, and can be one of made-up items."""

    def __init__(self, store: EventStore, items: list[Commit | Progress] | None = None) -> None:
        self._store = store
        self._items = items
        self.read = 0

    def feed(self, batching: Batching) -> Feed:
        log: Any = self
        return Feed(log, IN_MEMORY, batching, Token(self._store.log_id, Position(0)))

    async def follow(self, **options: Any) -> AsyncIterator[Commit | Progress]:
        if self._items is not None:
            for item in self._items:
                yield item
            await asyncio.Event().wait()
        async for item in self._store.follow(**options):
            self.read += isinstance(item, Commit)
            yield item


async def all_of(feed: Feed) -> list[list[Commit]]:
    batches: list[list[Commit]] = []
    while sum(map(len, batches)) < COMMITS:
        batches.append((await feed.take(SECONDS)).commits)
    return batches


async def test_bytes(store: EventStore) -> None:
    """A batch has no more bytes than were asked for."""
    first = await anext(aiter(store.log()))
    async with Counted(store).feed(Batching(bytes=3 * size(first))) as feed:
        assert {len(batch) for batch in await all_of(feed)} == {3, COMMITS % 3}


async def test_large_commit(store: EventStore) -> None:
    """A commit that is larger than a batch is one."""
    async with Counted(store).feed(Batching(bytes=1)) as feed:
        assert {len(batch) for batch in await all_of(feed)} == {1}


@pytest.mark.parametrize("unit", ["commits", "bytes"])
async def test_ahead(store: EventStore, unit: str) -> None:
    """No more than two batches are read before somebody takes them, and the rest follows."""
    first = await anext(aiter(store.log()))
    counted = Counted(store)
    async with counted.feed(Batching(commits=3) if unit == "commits" else Batching(bytes=3 * size(first))) as feed:
        taken = 0
        while taken < COMMITS:
            batch = (await feed.take(SECONDS)).commits
            assert counted.read <= taken + 2 * 3
            taken += len(batch)


async def test_as_of(store: EventStore) -> None:
    """A batch reaches up to when its last commit was recorded, or what came after it and was not wanted; or to now."""
    commits = [commit async for commit in store.log()]
    unwanted = Progress(Position(COMMITS + 1), caught_up=False, recorded_micros=commits[-1].recorded_micros + 7)
    started = now_micros()

    async def taken(*items: Commit | Progress) -> Taken:
        async with Counted(store, list(items)).feed(Batching(commits=1, seconds=60)) as feed:
            return await feed.take(SECONDS)

    assert (await taken(*commits[:2])).as_of == commits[0].recorded_micros
    assert (await taken(commits[0], unwanted)).as_of == unwanted.recorded_micros
    end = Progress(commits[0].position, caught_up=True)
    assert started <= (await taken(commits[0], end)).as_of <= now_micros()
