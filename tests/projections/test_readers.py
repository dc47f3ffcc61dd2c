"""Readers who look while a view is written to and rebuilt: they see what the log says up to its checkpoint."""

from __future__ import annotations

import random
import time
from asyncio import TaskGroup, sleep
from contextlib import asynccontextmanager
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import pytest
from eventstore import Token, open_store
from projections import Batching, Monitor, rebuild, wait_for

from tests.projections.targets import open_target
from tests.projections.test_run import Scene
from tests.projections.views import CODEC, folded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from eventstore import EventStore

    from tests.projections.targets import Target
    from tests.projections.views import View

PATIENCE: Final = 15.0
READERS: Final = 2
REBUILDS: Final = 2
LOOKS: Final = 30


@asynccontextmanager
async def meanwhile(*doing: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do each of that again and again until the block ends; what fails in it fails here."""
    over = False

    async def repeat(what: Callable[[], Awaitable[None]]) -> None:
        while not over:
            await what()

    async with TaskGroup() as group:
        for what in doing:
            group.create_task(repeat(what))
        try:
            yield
        finally:
            over = True


class Watched:
    """A view, what is appended to its log, and what its readers have seen of it."""

    def __init__(self, store: EventStore, target: Target, chance: random.Random) -> None:
        self.scene = Scene(target.projection, store, target.model, Monitor(), lease=PATIENCE)
        self._read = target.read
        self._chance = chance
        self.seen: list[list[tuple[int, View]]] = [[] for _ in range(READERS)]

    @property
    def looks(self) -> int:
        return sum(map(len, self.seen))

    async def append(self) -> None:
        values = [self._chance.randrange(10) for _ in range(self._chance.randint(1, 3))]
        await self.scene.append(f"{self._chance.randrange(7)}", *values)
        await sleep(0.01)

    def reading(self) -> list[Callable[[], Awaitable[None]]]:
        """Return readers, each of whom keeps what it sees."""

        async def look(seen: list[tuple[int, View]]) -> None:
            seen.append(await self._read())

        return [partial(look, seen) for seen in self.seen]

    async def catch_up(self) -> None:
        store = self.scene.store
        head = Token(store.log_id, (await store.head()).position)
        await wait_for(self.scene.projection, self.scene.model, head, timeout=PATIENCE)

    async def rebuild(self) -> int:
        """Put a view that is equal in this one's place; return how often readers have looked meanwhile."""
        before = self.looks
        scene = self.scene
        done = await rebuild(scene.projection, scene.store, scene.model, batching=Batching(commits=50))
        assert (done.difference.count, done.swapped) == (0, True)
        return self.looks - before

    async def compare(self) -> None:
        """Compare what was seen, and what is there now, with the log."""
        prefixes = [dict(view) async for view in folded(self.scene.store)]
        assert await self._read() == (len(prefixes) - 1, prefixes[-1])
        for seen in self.seen:
            assert [view for _, view in seen] == [prefixes[position] for position, _ in seen]
            assert seen == sorted(seen, key=itemgetter(0))


async def rebuild_under_readers(url: str, seconds: float) -> None:
    """Rebuild for so long, and until there were many looks meanwhile."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    rebuilds, looks, end = 0, 0, time.monotonic() + seconds
    async with open_store("memory://", CODEC) as store, open_target(url, seconds=PATIENCE) as target:
        watched = Watched(store, target, random.Random(seed))
        await watched.append()
        async with watched.scene.running():
            await watched.catch_up()
            async with meanwhile(watched.append, *watched.reading()):
                while rebuilds < REBUILDS or looks < LOOKS or time.monotonic() < end:
                    await watched.catch_up()
                    looks += await watched.rebuild()
                    rebuilds += 1
            await watched.catch_up()
        await watched.compare()
    print(f"{rebuilds} rebuilds, {looks} looks meanwhile of {watched.looks}")


@pytest.mark.contract
@pytest.mark.timeout(60)
async def test_rebuilt_under_readers(url: str) -> None:
    """Whatever is appended and rebuilt, each look shows the log up to the checkpoint, which never goes back."""
    await rebuild_under_readers(url, 1)


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_rebuilt_under_readers_for_long(url: str, fault_seconds: float) -> None:
    """So it is for as many seconds as FAULT_SECONDS says."""
    await rebuild_under_readers(url, fault_seconds)
