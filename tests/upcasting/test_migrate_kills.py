"""A migration that is killed, while its source is written to, ends as one that was left alone."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from eventstore import EventStore, StreamId, open_store
from eventstore.memory import MemoryBackend
from upcasting import migrate

from tests.eventstore.nats_servers import new_name
from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2, Unrelated
from tests.upcasting.shop import OLD, STEPS, TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upcasting import Migrated

_ROOT: Final = Path(__file__).parents[2]
_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.001
_STREAMS: Final = 200
_STEPS: Final = "tests.upcasting.shop:STEPS"


class Shop:
    """The source, and who writes to it."""

    def __init__(self, store: EventStore, url: str, chance: random.Random) -> None:
        self.store = store
        self.url = url
        self._chance = chance
        self._versions: dict[StreamId, int] = {}

    async def write(self, commits: int) -> None:
        """Append at random, to random streams, what steps take and what they do not."""
        await asyncio.gather(*(self._append() for _ in range(commits)))

    async def _append(self) -> None:
        stream = StreamId("order", str(self._chance.randrange(_STREAMS)))
        events = [self._drawn() for _ in range(self._chance.randint(1, 3))]
        expected = self._versions.get(stream, 0)
        self._versions[stream] = expected + len(events)
        await self.store.append(stream, events, expected=expected)

    def _drawn(self) -> Any:
        number = self._chance.randrange(5)
        return self._chance.choice(
            [
                PlacedV1(price=str(number)),
                PlacedV2(cents=number),
                Placed(cents=number, currency="CHF"),
                Basket(lines=number),
                Line(number=number),
                Paid(by="ann"),
                Unrelated(),
            ]
        )


@asynccontextmanager
async def _shop(folder: Path, commits: int, seed: int) -> AsyncIterator[Shop]:
    url = f"sqlite:///{folder}/shop.db?durability=normal"
    async with open_store(url, OLD) as store:
        shop = Shop(store, url, random.Random(seed))
        for _ in range(commits // 1_000):
            await shop.write(1_000)
        yield shop


def _migrating(source: str, target: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "upcasting", "migrate", source, target, "--steps", _STEPS, "--follow", "--json"]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def _kill_at(shop: Shop, url: str, target: EventStore, position: int) -> int:
    """Kill a migration once it has come as far as a position, and return how far it really came."""
    migrating = _migrating(shop.url, url)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while await target.backend.head() < position and migrating.poll() is None:
            await shop.write(1)
            await asyncio.sleep(_POLL_SECONDS)
    migrating.send_signal(signal.SIGKILL)
    migrating.communicate()
    return await target.backend.head()


async def _cut_over(shop: Shop, url: str) -> dict[str, Any]:
    """Go on with a migration until it has caught up, write some more, and tell it to end there."""
    migrating = _migrating(shop.url, url)
    assert migrating.stderr is not None
    told = asyncio.create_task(asyncio.to_thread(migrating.stderr.readline))
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not told.done():
            await shop.write(1)
            await asyncio.sleep(_POLL_SECONDS)
    assert "caught up at position" in await told, await told + migrating.stderr.read()
    await shop.write(50)
    migrating.terminate()
    out, problem = await asyncio.to_thread(migrating.communicate)
    assert migrating.returncode == 0, problem
    report: dict[str, Any] = json.loads(out)
    return report


async def _undisturbed(shop: Shop) -> Migrated:
    async with EventStore(MemoryBackend(), TODAY) as target:
        return await migrate(shop.store, target, STEPS)


async def _check_end(shop: Shop, url: str, reached: int) -> None:
    """Check that the next run goes on from where the last one was killed, and ends as one that was left alone."""
    report = await _cut_over(shop, url)
    expected = await _undisturbed(shop)
    # SIGTERM came when the last append had been answered: not one of them is missing, or there twice.
    assert report["source"]["digest"] == expected.source.digest
    assert report["target"]["digest"] == expected.target.digest
    # What a killed process had sent may reach a server a moment later.
    assert reached <= report["already"] < expected.target.commits
    assert report["left_out"] == expected.left_out
    assert reached


def _url(kind: str, folder: Path, nats: str) -> str:
    name = new_name()
    return f"{nats}/{name}?prefix={name}.events" if kind == "nats" else f"sqlite:///{folder}/{name}.db"


async def _a_few_times(folder: Path, url: str) -> None:
    seed = random.randrange(10**6)
    async with _shop(folder, 9_000, seed) as shop, open_store(url) as target:
        reached = 0
        for third in range(3):
            wanted = third * 2_000 + random.Random(seed + third).randrange(1, 1_500)
            reached = await _kill_at(shop, url, target, wanted)
            print(f"seed {seed}: wanted {wanted}, killed at {reached}")
        await _check_end(shop, url, reached)


@pytest.mark.timeout(120)
async def test_killed_a_few_times(tmp_path: Path) -> None:
    """Killed three times on its way, into a file, and gone on with each time, it makes the log it would have made."""
    await _a_few_times(tmp_path, _url("sqlite", tmp_path, ""))


@pytest.mark.contract
@pytest.mark.timeout(120)
async def test_killed_a_few_times_on_its_way_to_a_server(tmp_path: Path, nats: str) -> None:
    """So it is where the new log is in JetStream."""
    await _a_few_times(tmp_path, _url("nats", tmp_path, nats))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "nats"])
async def test_killed_twenty_times(tmp_path: Path, nats: str, kind: str) -> None:
    """At twenty seeded positions, each of a new target, the outcome is the same."""
    seed = random.randrange(10**6)
    async with _shop(tmp_path, 20_000, seed) as shop:
        for wanted in sorted(random.Random(seed).sample(range(1, 15_000), 20)):
            url = _url(kind, tmp_path, nats)
            async with open_store(url) as target:
                reached = await _kill_at(shop, url, target, wanted)
                print(f"seed {seed}: wanted {wanted}, killed at {reached}")
                await _check_end(shop, url, reached)
