"""Runners that are killed, stopped and started at once: the view is what the log says, each commit once.

Nothing in the runners knows of it. A position of the log is drawn, and when the view has reached it the runner is
killed, from outside, wherever it is then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from eventstore import ANY, EventStore, StreamId, Token, open_store
from projections import UnknownProjection, status, wait_for

from tests.projections.targets import Target, open_target
from tests.projections.views import CODEC, numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from projections import Record

ROOT: Final = Path(__file__).parents[2]
LEASE: Final = 0.6
BURST: Final = 400
PATIENCE: Final = 20.0


class Trouble:
    """Makes trouble for the runners of one view."""

    def __init__(self, store: EventStore, log: str, target: Target, url: str, chance: random.Random) -> None:
        self._store = store
        self._command = [sys.executable, "-m", "tests.projections.runner", log, url, f"{LEASE}"]
        self._target = target
        self._chance = chance
        self._processes: list[subprocess.Popen[bytes]] = []
        self.done: Counter[str] = Counter()

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, cwd=ROOT)
        self._processes.append(process)
        return process

    def kill_all(self) -> None:
        """Kill whoever is there, without a warning."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    async def burst(self) -> int:
        """Append some more, and return where the log ends."""
        streams = [StreamId("n", f"{number}") for number in range(7)]
        for _ in range(BURST):
            await self._store.append(
                self._chance.choice(streams),
                numbers(*(self._chance.randrange(10) for _ in range(self._chance.randint(1, 3)))),
                expected=ANY,
            )
        return (await self._store.head()).position

    async def record(self) -> Record | None:
        with suppress(UnknownProjection):
            return (await status(self._target.projection, self._store, self._target.model)).record
        return None

    async def position(self) -> int:
        record = await self.record()
        return record.position if record else 0

    async def until(self, reached: Callable[[Record], bool], patience: float = PATIENCE) -> bool:
        """Watch the record until something is true of it; say False when that does not come."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            record = await self.record()
            if record is not None and reached(record):
                return True
            for process in self._processes:
                assert process.poll() is None, "a runner has ended by itself"
            await asyncio.sleep(0.001)
        return False

    async def kill(self) -> None:
        """Kill a runner at a position inside what it has to do."""
        head = await self.burst()
        aim = self._chance.randint(await self.position() + 1, head - BURST // 4)
        self.start()
        assert await self.until(lambda record: record.position >= aim)
        self.kill_all()
        reached = await self.position()
        self.done["kills"] += 1
        self.done["kills inside"] += reached < head
        print(f"killed at {reached}, aimed at {aim}, of {head}")

    async def stop(self) -> None:
        """Stop the one that writes until another one has taken over, and gone on; then let it go on too."""
        head = await self.burst()
        aim = self._chance.randint(await self.position() + 1, head - BURST // 4)
        first = self.start()
        assert await self.until(lambda record: record.position >= aim)
        first.send_signal(signal.SIGSTOP)
        record = await self.record()
        assert record
        epoch = record.epoch
        self.start()
        # One that was stopped inside its transaction keeps a file locked, and nobody takes over.
        taken_over = await self.until(lambda record: record.epoch > epoch and record.position > aim, LEASE * 8)
        self.done["stops"] += 1
        self.done["stops inside"] += record.position < head
        self.done["take-overs"] += taken_over
        print(f"stopped at {record.position} of {head}, {'' if taken_over else 'not '}taken over")
        first.send_signal(signal.SIGCONT)
        end = await self.burst()
        assert await self.until(lambda record: record.position >= end)
        self.kill_all()

    async def both(self) -> None:
        """Start two at once, and kill both inside what they have to do."""
        head = await self.burst()
        aim = self._chance.randint(await self.position() + 1, head - BURST // 4)
        self.start()
        self.start()
        assert await self.until(lambda record: record.position >= aim)
        self.kill_all()
        self.done["pairs"] += 1

    async def finish(self) -> None:
        """Let a last one catch up, and compare the view with the log."""
        head = Token(self._store.log_id, (await self._store.head()).position)
        self.start()
        await wait_for(self._target.projection, self._target.model, head, timeout=PATIENCE)
        self.kill_all()
        expected: dict[str, tuple[int, int]] = {}
        commits = 0
        async for commit in self._store.log():
            total, count = expected.get(commit.stream.id, (0, 0))
            added = sum(event.message.value for event in commit.events)  # type: ignore[attr-defined]
            expected[commit.stream.id] = (total + added, count + 1)
            commits += 1
        assert await self._target.view() == expected
        record = await self.record()
        assert record
        assert (record.commits, record.failure) == (commits, None)


async def make_trouble(folder: Path, url: str, seconds: float) -> Counter[str]:
    """Kill and stop runners for so long, each kind of trouble once at least."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    log = f"sqlite:///{folder / 'log.db'}?durability=normal"
    async with open_store(log, CODEC) as store, open_target(url) as target:
        trouble = Trouble(store, log, target, url, chance)
        kinds = [trouble.kill, trouble.stop, trouble.both]
        end = time.monotonic() + seconds
        try:
            for kind in chance.sample(kinds, len(kinds)):
                await kind()
            while time.monotonic() < end:
                await chance.choice(kinds)()
            await trouble.finish()
        finally:
            trouble.kill_all()
    print(f"done {dict(trouble.done)}")
    return trouble.done


@pytest.fixture(params=["sqlite", "valkey", "neo4j_5", "neo4j_2026"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the view is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'view.db'}"
    return f"{request.getfixturevalue(request.param)}#{uuid.uuid4().hex[:12]}"


@pytest.mark.contract
@pytest.mark.timeout(120)
async def test_trouble(tmp_path: Path, url: str) -> None:
    """After a few seconds of it the view is what the log says."""
    done = await make_trouble(tmp_path, url, 3)
    assert min(done["kills"], done["stops"], done["pairs"]) >= 1


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_long_trouble(tmp_path: Path, url: str) -> None:
    """So it is after as many seconds as FAULT_SECONDS says, 20 if it says nothing; most kills were inside the work."""
    done = await make_trouble(tmp_path, url, float(os.environ.get("FAULT_SECONDS", "20")))
    assert done["kills inside"] > done["kills"] / 2
    assert done["take-overs"] >= 1
