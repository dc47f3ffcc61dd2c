"""Two processes append to the same streams of one SQLite file, and nothing is lost, doubled or misplaced."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from eventstore import open_store

from tests.eventstore.history import (
    Acknowledged,
    Attempt,
    History,
    Refused,
    Stored,
    Unknown,
    faults,
    from_lines,
    to_line,
)

ROOT = Path(__file__).parents[2]


def run_writers(folder: Path, seconds: float, seed: int, writers: int = 2) -> list[History]:
    """Let some processes append at once and return their histories."""
    files = [folder / f"history-{number}" for number in range(writers)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                *("-m", "tests.eventstore.appender", folder / "log.db", file, f"{seconds}", f"{seed}-{file.name}"),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for file in files
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.communicate(timeout=seconds + 30)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [from_lines(file.read_text(encoding="utf-8").splitlines(keepends=True)) for file in files]


async def content(path: Path) -> list[Stored]:
    """Return what a store holds, in log order."""
    async with open_store(f"sqlite:///{path}", create=False) as store:
        return [
            Stored(
                commit.stream.id,
                commit.first_version,
                commit.version - commit.first_version + 1,
                commit.commit_id.hex(),
                commit.position,
            )
            async for commit in store.log()
        ]


async def race(folder: Path, seconds: float) -> None:
    """Run the writers and check everything."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    histories = run_writers(folder, seconds, seed)
    stored = await content(folder / "log.db")
    assert faults(histories, stored) == []
    # The race was one: both wrote, both were refused, and their commits lie between each other's.
    for history in histories:
        assert sum(isinstance(answer, Acknowledged) for _, answer in history) > 20 * seconds
        assert sum(isinstance(answer, Refused) for _, answer in history) > 10 * seconds
    first = {attempt.commit_id for attempt, _ in histories[0]}
    owners = [commit.commit_id in first for commit in stored]
    assert sum(one != two for one, two in pairwise(owners)) > 10 * seconds


@pytest.mark.timeout(60)
async def test_race(tmp_path: Path) -> None:
    """After two seconds every answer was true."""
    await race(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_long_race(tmp_path: Path) -> None:
    """So it is after as many seconds as FAULT_SECONDS says, 20 if it says nothing."""
    await race(tmp_path, float(os.environ.get("FAULT_SECONDS", "20")))


# A true history, of two writers on two streams, with an answer that never came for a commit that is there and one that
# is not.
ONE: History = [
    (Attempt("1", 0, 2, "a"), Acknowledged(2, 1)),
    (Attempt("2", 0, 1, "b"), Refused(3)),
    (Attempt("2", 3, 1, "c"), Acknowledged(4, 3)),
    (Attempt("1", 2, 1, "d"), Unknown()),
]
TWO: History = [
    (Attempt("2", 0, 3, "e"), Acknowledged(3, 2)),
    (Attempt("1", 0, 1, "f"), Refused(2)),
    (Attempt("1", 2, 2, "g"), Refused(3)),
    (Attempt("1", 3, 2, "h"), Acknowledged(5, 6)),
    (Attempt("2", 4, 1, "i"), Unknown()),
]
STORED = [
    Stored("1", 1, 2, "a", 1),
    Stored("2", 1, 3, "e", 2),
    Stored("2", 4, 1, "c", 3),
    Stored("1", 3, 1, "d", 5),
    Stored("1", 4, 2, "h", 6),
]


def test_true_history() -> None:
    """The checker finds nothing in a true history."""
    assert faults([ONE, TWO], STORED) == []


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        ("lost", STORED[:-1]),
        ("lost", STORED[1:]),
        ("doubled", [*STORED, STORED[-1]._replace(position=7, first_version=6)]),
        ("doubled", [*STORED, STORED[3]._replace(position=7, first_version=6)]),
        ("gap", [*STORED[:3], *STORED[4:]]),
        ("gap", [*STORED[:-1], STORED[-1]._replace(first_version=5)]),
        ("gap", [*STORED[:-1], STORED[-1]._replace(first_version=3)]),
        ("disorder", [STORED[1], STORED[0], *STORED[2:]]),
        ("disorder", [*STORED[:-1], STORED[-1]._replace(position=5)]),
        ("misplaced", [STORED[1]._replace(position=1), STORED[0]._replace(position=2), *STORED[2:]]),
        ("misplaced", [*STORED[:-1], STORED[-1]._replace(events=1)]),
        ("refused but present", [*STORED, Stored("2", 5, 1, "b", 7)]),
        ("refused but present", [*STORED, Stored("1", 6, 2, "g", 7)]),
        ("unasked", [*STORED, Stored("2", 5, 1, "z", 7)]),
        ("unasked", [*STORED, Stored("3", 1, 1, "i", 7)]),
        ("unasked", [*STORED[:3], STORED[3]._replace(events=2), STORED[4]]),
        ("doubled", [*STORED, Stored("2", 5, 1, "i", 7), Stored("2", 6, 1, "i", 8)]),
    ],
)
def test_false_content(fault: str, stored: list[Stored]) -> None:
    """It names what is wrong with a content that the history does not allow."""
    assert fault in {found.split(":")[0] for found in faults([ONE, TWO], stored)}


def test_unknown_may_be_there() -> None:
    """What was never answered may be there, once, at its place."""
    assert faults([ONE, TWO], [*STORED, Stored("2", 5, 1, "i", 7)]) == []


@pytest.mark.parametrize(
    ("fault", "number", "answer"),
    [
        ("wrong actual", 1, Refused(1)),
        ("wrong actual", 1, Refused(0)),
        ("wrong actual", 2, Refused(4)),
        ("wrong actual", 2, Refused(2)),
        ("wrong actual", 2, Refused(99)),
        ("old actual", 2, Refused(0)),
        ("late", 0, Refused(4)),
        ("misplaced", 3, Acknowledged(4, 6)),
        ("misplaced", 3, Acknowledged(5, 7)),
        ("lost", 1, Acknowledged(1, 4)),
        ("refused but present", 3, Refused(3)),
    ],
)
def test_false_answer(fault: str, number: int, answer: Acknowledged | Refused) -> None:
    """It names what is wrong with an answer that the content does not allow."""
    history = list(TWO)
    history[number] = (history[number][0], answer)
    if fault == "late":
        history[number] = (Attempt("2", 0, 3, "x"), answer)
        history.append((Attempt("2", 0, 3, "e"), Acknowledged(3, 2)))
    assert fault in {found.split(":")[0] for found in faults([ONE, history], STORED)}


def test_lines() -> None:
    """A history survives its file; what was cut off by a kill is unknown."""
    lines = [to_line(fact) for pair in TWO for fact in pair]
    assert from_lines(lines) == TWO
    assert from_lines(lines[:-1]) == TWO
    assert from_lines([*lines[:7], lines[7][:5]]) == [*TWO[:3], (TWO[3][0], Unknown())]
