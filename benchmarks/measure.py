"""How all of them measure: ours and the rivals take turns within one run, and the median of the turns counts."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import math
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Coroutine, Sequence


@dataclass(frozen=True, kw_only=True)
class Result:
    """A line of the output."""

    name: str
    ours: float
    #: None where there is no rival.
    theirs: float | None
    #: Above 1 means ours is better.
    ratio: float | None
    unit: str
    against: str | None
    #: How many events one turn wrote, or the log that was read holds.
    events: int
    seed: int
    #: What an acknowledgement waits for, as each side itself reports it.
    ours_sync: str
    theirs_sync: str | None
    #: How many turns each side had.
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a run is."""

    rng: random.Random
    seed: int
    log_events: int
    quick: bool
    only: str = ""

    def wants(self, name: str) -> bool:
        """Say whether the row is to be measured."""
        return self.only in name

    def count(self, full: int) -> int:
        """Return how often to do something."""
        return max(2, full // 50) if self.quick else full

    @property
    def rounds(self) -> int:
        """How many turns each side has."""
        return 1 if self.quick else 9

    def result(
        self, name: str, unit: Unit, *, events: int, ours: tuple[Side, float], rival: tuple[Side, float]
    ) -> Result:
        """Return a line of the output from two sides and their values."""
        return Result(
            name=name,
            ours=ours[1],
            theirs=rival[1],
            ratio=ratio(ours[1], rival[1], more_is_better=unit.more_is_better),
            unit=unit.name,
            against=rival[0].name,
            events=events,
            seed=self.seed,
            ours_sync=ours[0].sync,
            theirs_sync=rival[0].sync,
            rounds=self.rounds,
        )


class Unit(NamedTuple):
    """What a number means: ``value`` makes it of the seconds that a turn took and the number of its operations."""

    name: str
    value: Callable[[float, int], float]
    more_is_better: bool = False


MICROSECONDS: Final = Unit("us", lambda seconds, operations: seconds / operations * 1e6)
MILLISECONDS: Final = Unit("ms", lambda seconds, operations: seconds / operations * 1e3)
MEGABYTES: Final = Unit("MB", lambda seconds, operations: seconds)  # noqa: ARG005 (a weight takes no time)
RATE: Final = Unit("events/s", lambda seconds, operations: operations / seconds, more_is_better=True)


class Side(NamedTuple):
    """Ours or a rival, and what an acknowledgement of it waits for."""

    name: str
    sync: str


Turn = Callable[[], Awaitable[float]]
"""Does the work of one turn and returns the seconds it took, preparations left out."""


class Bench(Protocol):
    """A file's question."""

    def __call__(self, scale: Scale, directory: Path) -> AsyncIterator[Result]:
        """Yield the rows as they are measured."""


def ratio(ours: float, theirs: float, *, more_is_better: bool) -> float:
    """Return how many times better ours is: below 1 it is worse."""
    return ours / theirs if more_is_better else theirs / ours


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def as_json(result: Result) -> str:
    """Return the result as one line; four significant digits are more than a run can repeat."""
    fields = dataclasses.asdict(result)
    for name in ("ours", "theirs", "ratio"):
        if fields[name] is not None:
            fields[name] = float(f"{fields[name]:.4g}")
    return json.dumps(fields)


async def compare(
    scale: Scale, name: str, unit: Unit, sides: Sequence[tuple[Side, Turn]], *, operations: int, events: int
) -> list[Result]:
    """Measure a row, ours first among the sides: after a turn each to warm up, all take turns, in changing order."""
    seconds: dict[Side, list[float]] = {side: [] for side, _ in sides}
    for number in range(scale.rounds + 1):
        for side, turn in scale.rng.sample(sides, len(sides)):
            # Nobody pays for what another one left behind.
            gc.collect()
            taken = await turn()
            if number:
                seconds[side].append(taken)
    ours, *rivals = ((side, unit.value(statistics.median(seconds[side]), operations)) for side, _ in sides)
    return [scale.result(name, unit, events=events, ours=ours, rival=rival) for rival in rivals]


async def long_run(
    scale: Scale, name: str, work: Coroutine[object, object, float], *, events: int, sync: str
) -> list[Result]:
    """Do something long once: how fast, and how much more the process weighs later than after a tenth.

    Args:
        scale: of the run.
        name: of the row with the rate; that of the weight has ``-memory`` behind it.
        work: returns the seconds it took.
        events: how many there were.
        sync: what an acknowledgement waits for.
    """
    sizes: list[float] = []
    done = asyncio.ensure_future(work)
    while not done.done():
        await asyncio.wait([done], timeout=0.2)
        sizes.append(_weight())
    early = sizes[len(sizes) // 10]
    rows = ((name, RATE, events / await done), (f"{name}-memory", MEGABYTES, max(sizes) - early))
    return [
        Result(
            name=row,
            ours=value,
            theirs=None,
            ratio=None,
            unit=unit.name,
            against=None,
            events=events,
            seed=scale.seed,
            ours_sync=sync,
            theirs_sync=None,
            rounds=1,
        )
        for row, unit, value in rows
    ]


def _weight() -> float:
    # Not all that is resident: pages of a file that SQLite maps are the system's cache.
    return int(Path("/proc/self/status").read_text(encoding="utf-8").partition("RssAnon:")[2].split()[0]) / 1024


def fsync_micros(directory: Path) -> float:
    """Return what one fsync costs here, so that a run on a disk that does not sync is seen for what it is."""
    times = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6
