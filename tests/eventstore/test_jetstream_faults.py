"""Sixteen writers and four readers on three servers whose leaders step down, which are killed, and who are killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventstore import Progress, StoreUnavailable, StreamId
from eventstore._values import BEGINNING
from eventstore.testing._scene import commit

from tests.eventstore.history import Follow, History, Read, Reads, Stored, faults, from_lines, seen_in_lines
from tests.eventstore.nats_servers import NatsServer, administration, fresh, new_name, one_server, three_servers
from tests.eventstore.nats_worker import open_log, told

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("FAULT_SECONDS", "20"))
WRITING_PROCESSES = 4


class Workers:
    """The processes of writers and readers."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self._url = url
        self._seed = seed
        self.folder = folder
        self._started = 0
        self.writing: list[subprocess.Popen[str]] = []
        self.reading: list[subprocess.Popen[str]] = []

    def start(self, kind: str) -> None:
        self._started += 1
        arguments = [kind, self._url, str(self.folder), f"{self._started}", f"{self._seed}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.eventstore.nats_worker", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        (self.writing if kind == "write" else self.reading).append(process)

    def kill_one(self, chance: random.Random) -> None:
        """Kill a process of writers and start another one in its place."""
        process = self.writing.pop(chance.randrange(len(self.writing)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.start("write")

    def end(self, processes: list[subprocess.Popen[str]], position: int = 0) -> None:
        """Let processes come to their end."""
        for process in processes:
            assert process.stdin
            process.stdin.write(f"{position}\n")
            process.stdin.flush()
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0

    def lines(self, kind: str) -> Iterator[list[str]]:
        """Return what the files of one kind hold."""
        for path in sorted(self.folder.glob(f"{kind}-*")):
            yield path.read_text(encoding="utf-8").splitlines(keepends=True)

    def close(self) -> None:
        for process in [*self.writing, *self.reading]:
            process.kill()
            process.communicate()


def kill_and_restart(server: NatsServer, away: float) -> None:
    server.kill()
    time.sleep(away)
    server.start()
    server.wait()


async def test_faults(tmp_path: Path) -> None:
    """What was acknowledged is there once and in order, what was refused is not, and readers saw just that."""
    seed = int(os.environ.get("FAULT_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"seed {seed}, {SECONDS:g} s")
    chance = random.Random(seed)
    name = new_name()
    with three_servers(tmp_path) as servers, contextlib.ExitStack() as stack:
        addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        url = f"nats://{addresses}/{name}?prefix={name}.events&replicas=3"
        store = open_log(url, create=True)
        async with store, administration(*(server.url for server in servers)) as admin:
            folder = tmp_path / "histories"
            folder.mkdir()
            workers = Workers(url, folder, seed)
            stack.callback(workers.close)
            for kind in ["write"] * WRITING_PROCESSES + ["read"]:
                workers.start(kind)

            done: Counter[str] = Counter()
            start = time.monotonic()
            # A third of the time each: leaders step down; servers are killed; servers and writers are killed.
            while (share := (time.monotonic() - start) / SECONDS) < 1:
                await admin.step_down(name)
                done["step-downs"] += 1
                await asyncio.sleep(1)
                if share > 1 / 3:
                    server = chance.choice(servers)
                    await asyncio.to_thread(kill_and_restart, server, chance.uniform(0.1, 2))
                    done["killed servers"] += 1
                if share > 2 / 3:
                    workers.kill_one(chance)
                    done["killed processes of writers"] += 1
            await asyncio.to_thread(workers.end, workers.writing)
            head = (await store.head()).position
            await asyncio.to_thread(workers.end, workers.reading, head)
            stored = [told(commit) async for commit in store.log()]
    check(workers, stored, done)


def check(workers: Workers, stored: list[Stored], done: Counter[str]) -> None:
    """Judge what everybody was told."""
    histories: list[History] = [from_lines(lines) for lines in workers.lines("write")]
    follows: list[Follow] = [
        [fact for fact in seen_in_lines(lines) if isinstance(fact, Stored)] for lines in workers.lines("follow")
    ]
    reads: list[Reads] = [
        [fact for fact in seen_in_lines(lines) if isinstance(fact, Read)] for lines in workers.lines("read")
    ]
    answers = Counter(type(answer).__name__ for history in histories for _, answer in history)
    print(dict(done), dict(answers), f"{len(stored)} stored,", f"{[len(told) for told in reads]} reads")
    found = faults(histories, stored, follows=follows, reads=reads)
    assert found == [], found[:20]
    # The session was one: commits came, rivals met, and the faults were felt.
    assert len(follows) == len(reads) == 2
    assert all(len(told) > SECONDS for told in reads)
    assert answers["Acknowledged"] > 20 * SECONDS
    assert answers["Refused"] > 5 * SECONDS
    assert done["step-downs"] > SECONDS / 8


async def test_away(tmp_path: Path) -> None:
    """With the server away for a minute appends fail in their time by name; then they go on, and so do follows."""
    seconds = float(os.environ.get("AWAY_SECONDS", "60"))
    failures: list[tuple[str, float]] = []
    acknowledged, seen = [0], [0]
    last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with one_server(tmp_path) as server:
        async with fresh([server.url], append_seconds=2) as log, asyncio.TaskGroup() as tasks:

            async def follow() -> None:
                async with contextlib.aclosing(log.follow(after=BEGINNING)) as items:
                    async for item in items:
                        if not isinstance(item, Progress):
                            seen.extend(raw.position for raw in item)
                        if last.done() and seen[-1] >= last.result():
                            return

            tasks.create_task(follow())
            new = commit(StreamId("c", "1"))
            start = time.monotonic()
            while (elapsed := time.monotonic() - start) < seconds + 10:
                if server.alive and 2 < elapsed < seconds + 2:
                    server.kill()
                elif not server.alive and elapsed > seconds + 2:
                    server.start()
                asked = time.monotonic()
                try:
                    done = await log.append(new)
                except StoreUnavailable as error:
                    failures.append((str(error), time.monotonic() - asked))
                else:
                    acknowledged.append(done.position)
                    new = commit(StreamId("c", "1"), done.version)
            last.set_result(acknowledged[-1])
    print(f"away for {seconds:g} s: {len(failures)} appends failed, {len(acknowledged) - 1} were acknowledged")
    assert len(failures) >= seconds / 3
    assert {words for words, _ in failures} == {"an append was not answered within 2 s"}
    assert max(waited for _, waited in failures) < 3
    assert acknowledged == seen == list(range(len(seen)))
