"""Readers who look while a view is written to and rebuilt: they see it at one place of the log after the other."""

from __future__ import annotations

import random
import time
from asyncio import TaskGroup, sleep
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from eventstore import Token, open_store
from projections import Batching, Monitor, rebuild, wait_for

from tests.projections.targets import open_target
from tests.projections.test_run import Scene
from tests.projections.views import CODEC, folded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.projections.views import View

PATIENCE: Final = 15.0
READERS: Final = 2
REBUILDS: Final = 2
LOOKS: Final = 30

Look: TypeAlias = frozenset[tuple[str, tuple[int, int]]]


def look(view: View) -> Look:
    return frozenset(view.items())


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


async def rebuild_under_readers(url: str, seconds: float) -> None:
    """Rebuild for so long, and until there were many looks meanwhile; compare all that was seen with the log."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seen: list[list[Look]] = [[] for _ in range(READERS)]
    looks, rebuilds, end = 0, 0, time.monotonic() + seconds
    async with open_store("memory://", CODEC) as store, open_target(url, seconds=PATIENCE) as target:
        scene = Scene(target.projection, store, target.model, Monitor(), lease=PATIENCE)

        async def append() -> None:
            await scene.append(f"{chance.randrange(7)}", *(chance.randrange(10) for _ in range(chance.randint(1, 3))))
            await sleep(0.01)

        async def read(found: list[Look]) -> None:
            found.append(look(await target.read()))

        async def catch_up() -> None:
            head = Token(store.log_id, (await store.head()).position)
            await wait_for(target.projection, target.model, head, timeout=PATIENCE)

        await append()
        async with scene.running():
            await catch_up()
            async with meanwhile(append, *(lambda found=found: read(found) for found in seen)):
                while rebuilds < REBUILDS or looks < LOOKS or time.monotonic() < end:
                    await catch_up()
                    before = sum(map(len, seen))
                    done = await rebuild(target.projection, store, target.model, batching=Batching(commits=50))
                    assert not done.difference
                    looks += sum(map(len, seen)) - before
                    rebuilds += 1
            await catch_up()
        prefixes = [look(view) async for view in folded(store)]
        assert look(await target.read()) == prefixes[-1]
    places = {prefix: place for place, prefix in enumerate(prefixes)}
    for found in seen:
        found_at = [places[each] for each in found]
        assert found_at == sorted(found_at)
    print(f"{len(prefixes) - 1} commits, {rebuilds} rebuilds, {looks} looks meanwhile of {sum(map(len, seen))}")


@pytest.mark.contract
@pytest.mark.timeout(60)
async def test_rebuilt_under_readers(url: str) -> None:
    """Whatever is appended and rebuilt, each look shows the fold of a prefix of the log, never a shorter one again."""
    await rebuild_under_readers(url, 1)


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_rebuilt_under_readers_for_long(url: str, fault_seconds: float) -> None:
    """So it is for as many seconds as FAULT_SECONDS says."""
    await rebuild_under_readers(url, fault_seconds)
