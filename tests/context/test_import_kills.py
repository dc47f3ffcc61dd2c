"""An import that is killed, again and again, ends as one that was left alone."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from context_service.peps import import_peps
from context_service.snapshots import IN_MEMORY
from context_service.stories import open_stories
from eventstore import digest_of

from tests.context.conftest import PEPS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.context.conftest import Imported

_PATIENCE_SECONDS = 60.0
# An import writes about one change in this time; polling without a pause would take the processor from it.
_POLL_SECONDS = 0.0005


def _importing(store: Path, durability: str = "full") -> subprocess.Popen[bytes]:
    url = f"sqlite:///{store}?durability={durability}"
    command = [sys.executable, "-m", "context_service", "import", "peps", str(PEPS), "--store", url]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _head(store: Path) -> int:
    """Read the store from outside; 0 as long as there is none."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        (head,) = connection.execute("SELECT coalesce(max(pos), 0) FROM commits").fetchone()
        return int(head)
    return 0


def _kill_at(store: Path, position: int, durability: str = "full") -> int:
    """Start an import, kill it once it has come as far as a position, and return how far it really came."""
    importing = _importing(store, durability)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _head(store) < position and importing.poll() is None:
        assert time.monotonic() < deadline, f"the import never reached position {position}"
        time.sleep(_POLL_SECONDS)
    importing.send_signal(signal.SIGKILL)
    importing.wait()
    return _head(store)


async def _digest(store: Path) -> tuple[str, int]:
    async with open_stories(f"sqlite:///{store}", create=False, snapshots=IN_MEMORY) as stories:
        return (await digest_of(stories.store)).hexdigest, (await stories.store.head()).position


async def _check(folder: Path, kills: int, seed: int) -> int:
    """Kill an import so many times, each at a seeded position of a fresh store; return how many hit strictly inside."""
    undisturbed = folder / "undisturbed.db"
    assert _importing(undisturbed).wait() == 0
    digest, last = await _digest(undisturbed)
    inside = 0
    for number, wanted in enumerate(sorted(random.Random(seed).sample(range(2, last - 100), kills))):
        store = folder / f"{number}.db"
        reached = _kill_at(store, wanted)
        inside += 0 < reached < last
        print(f"seed {seed}: wanted {wanted}, killed at {reached} of {last}")
        assert _importing(store).wait() == 0
        assert (await _digest(store)) == (digest, last)
    return inside


@pytest.mark.timeout(120)
async def test_killed_twice(tmp_path: Path, imported: Imported) -> None:
    """An import that is killed twice on its way, and goes on each time, ends as one that was left alone."""
    store, last = tmp_path / "context.db", 3_406
    seed = random.randrange(10**6)
    inside = 0
    for half, offset in enumerate(random.Random(seed).choices(range(1, 1_200), k=2)):
        wanted = half * 1_500 + offset
        reached = _kill_at(store, wanted, "normal")
        inside += 0 < reached < last
        print(f"seed {seed}: wanted {wanted}, killed at {reached} of {last}")
    assert inside >= 1
    async with open_stories(f"sqlite:///{store}?durability=normal") as stories:
        report = await import_peps(stories.store, stories.snapshots, PEPS, progress=lambda *_: None)
    assert (report.digest, report.already_there) == (imported.report.digest, reached)
    assert await _digest(store) == (imported.report.digest, last)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_killed_twenty_times(tmp_path: Path) -> None:
    """At twenty seeded positions, nearly all of them strictly inside, the outcome is the same."""
    assert await _check(tmp_path, kills=20, seed=random.randrange(10**6)) >= 18
