"""Runners that are killed, stopped, cut off and started at once, and servers that are killed.

The view is what the log says, each commit once. Nothing in the runners knows of what is done to them. A position of the
log is drawn, and when the view has reached it the runner or the server is killed, from outside, wherever it is then.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
from eventstore import ANY, EventStore, StreamId, Token, open_store
from projections import ModelUnavailable, UnknownProjection, status, wait_for

from tests.projections.cuts import COMMITS, CUTS, Cut, cut_off
from tests.projections.servers import NEO4J_5, NEO4J_2026, Neo4jServer, Server, ValkeyServer
from tests.projections.targets import Target, open_target
from tests.projections.views import CODEC, folded, numbers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from projections import Record

ROOT: Final = Path(__file__).parents[2]
LEASE: Final = 0.6
BURST: Final = 400
PATIENCE: Final = 30.0


class Trouble:
    """Makes trouble for the runners of one view."""

    def __init__(self, store: EventStore, log: str, target: Target, url: str, chance: random.Random) -> None:
        self._store = store
        self._log = log
        self._target = target
        self._url = url
        self._chance = chance
        self._processes: list[subprocess.Popen[bytes]] = []
        self.done: Counter[str] = Counter()

    def start(self, url: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.projections.runner", self._log, url or self._url, f"{LEASE}"]
        process = subprocess.Popen(command, cwd=ROOT)
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

    async def work(self) -> tuple[int, int]:
        """Append some more; return where the log ends, and a position well inside of what there is to do."""
        head = await self.burst()
        return head, self._chance.randint(await self.position() + 1, head - BURST // 4)

    async def record(self) -> Record | None:
        with suppress(UnknownProjection, ModelUnavailable):
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
        head, aim = await self.work()
        self.start()
        assert await self.until(lambda record: record.position >= aim)
        self.kill_all()
        reached = await self.position()
        self.done["kills"] += 1
        self.done["kills inside"] += reached < head
        print(f"killed at {reached}, aimed at {aim}, of {head}")

    async def stop(self) -> None:
        """Stop the one that writes until another one has taken over, and gone on; then let it go on too."""
        head, aim = await self.work()
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
        _, aim = await self.work()
        self.start()
        self.start()
        assert await self.until(lambda record: record.position >= aim)
        self.kill_all()
        self.done["pairs"] += 1

    async def cut(self) -> None:
        """Cut a runner off in mid-commit, in each way once; it goes on by itself."""
        head = await self.burst()
        cuts = self._cuts()
        async with cut_off(self._url, cuts) as url:
            self.start(url)
            assert await self.until(lambda record: record.position >= head)
            self.kill_all()
        assert not [cut for cut in cuts if cut], "there were too few commits"

    def _cuts(self) -> Iterator[Cut | None]:
        for cut in self._chance.sample(CUTS, len(CUTS)):
            yield from [None] * self._chance.randint(1, BURST // 20)
            self.done[f"cuts {cut}"] += 1
            yield cut

    async def kill_server(self, server: Server) -> None:
        """Kill the server that a runner writes to; the runner goes on by itself when it is there again."""
        head, aim = await self.work()
        self.start()
        assert await self.until(lambda record: record.position >= aim)
        server.kill()
        server.start()
        await asyncio.to_thread(server.wait)
        reached = await self.position()
        self.done["server kills"] += 1
        self.done["server kills inside"] += reached < head
        print(f"server killed, back at {reached}, aimed at {aim}, of {head}")
        assert await self.until(lambda record: record.position >= head)
        self.kill_all()

    async def finish(self) -> None:
        """Let a last one catch up, and compare the view with the log."""
        head = Token(self._store.log_id, (await self._store.head()).position)
        self.start()
        await wait_for(self._target.projection, self._target.model, head, timeout=PATIENCE)
        self.kill_all()
        *earlier, expected = [view async for view in folded(self._store)]
        assert await self._target.view() == expected
        record = await self.record()
        assert record
        assert (record.commits, record.failure) == (len(earlier), None)


async def make_trouble(folder: Path, url: str, seconds: float, server: Server | None = None) -> Counter[str]:
    """Make trouble for so long, each kind once at least: of a server that is our own, or else of runners."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    log = f"sqlite:///{folder / 'log.db'}?durability=normal"
    async with open_store(log, CODEC) as store, open_target(url) as target:
        trouble = Trouble(store, log, target, url, chance)
        kinds: list[Callable[[], Awaitable[None]]] = [trouble.kill, trouble.stop, trouble.both]
        if server is not None:
            kinds = [partial(trouble.kill_server, server)]
        elif urlsplit(url).scheme in COMMITS:
            kinds.append(trouble.cut)
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


@pytest.fixture(
    params=[
        pytest.param(partial(ValkeyServer, more="appendfsync always"), id="valkey"),
        pytest.param(partial(Neo4jServer, NEO4J_5), id="neo4j_5"),
        pytest.param(partial(Neo4jServer, NEO4J_2026), id="neo4j_2026"),
    ]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, which keeps what it has acknowledged."""
    made: Server = request.param(tmp_path / "server")
    made.start()
    made.wait()
    yield made
    made.stop()


@pytest.mark.contract
@pytest.mark.timeout(120)
async def test_trouble(tmp_path: Path, url: str) -> None:
    """After a few seconds of it the view is what the log says."""
    done = await make_trouble(tmp_path, url, 3)
    assert min(done["kills"], done["stops"], done["pairs"]) >= 1


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_long_trouble(tmp_path: Path, url: str, fault_seconds: float) -> None:
    """So it is after as many seconds as FAULT_SECONDS says, 20 if it says nothing; most kills were inside the work."""
    done = await make_trouble(tmp_path, url, fault_seconds)
    assert done["kills inside"] > done["kills"] / 2
    assert done["take-overs"] >= 1


@pytest.mark.contract
@pytest.mark.timeout(120)
async def test_server_killed(tmp_path: Path, server: Server) -> None:
    """A runner lives through the death of its server, and the view is what the log says."""
    done = await make_trouble(tmp_path, f"{server.url}#own", 1, server)
    assert done["server kills inside"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_server_killed_for_long(tmp_path: Path, server: Server, fault_seconds: float) -> None:
    """So it is however often the server is killed."""
    done = await make_trouble(tmp_path, f"{server.url}#own", fault_seconds, server)
    assert done["server kills inside"] > done["server kills"] / 2
