"""The arithmetic and the format of the benchmarks. Nothing is timed here."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.facts import PAYLOAD_BYTES, STORY, draw, log_of, message
from benchmarks.measure import MICROSECONDS, MILLISECONDS, RATE, Scale, Side, as_json, compare, percentile, ratio
from benchmarks.table import table

if TYPE_CHECKING:
    from benchmarks.measure import Turn

OURS = Side("ours", "full")
RIVAL = Side("rival", "PRAGMA synchronous=2")


def scale(*, quick: bool = False) -> Scale:
    return Scale(rng=random.Random(7), seed=7, log_events=100, quick=quick)


def taking(*seconds: float) -> Turn:
    turns = iter(seconds)

    async def turn() -> float:
        return next(turns)

    return turn


def test_ratio_above_one_means_ours_is_better() -> None:
    """A time is better when it is shorter, a rate when it is higher."""
    assert ratio(2.0, 6.0, more_is_better=False) == 3.0
    assert ratio(2.0, 6.0, more_is_better=True) == pytest.approx(1 / 3)


def test_units() -> None:
    """A unit makes its number of the seconds of a turn and its operations."""
    assert MICROSECONDS.value(0.5, 1_000) == pytest.approx(500)
    assert MILLISECONDS.value(0.5, 10) == pytest.approx(50)
    assert RATE.value(0.5, 1_000) == pytest.approx(2_000)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_percentile(percent: float, expected: float) -> None:
    """A percentile is a value that was measured."""
    assert percentile(list(range(100, 0, -1)), percent) == expected


async def test_a_row_is_a_median_of_turns_after_one_to_warm_up() -> None:
    """The first turn of each side and a single bad turn count for nothing."""
    one = scale()
    ours = taking(100.0, *[0.002] * (one.rounds - 1), 50.0)
    rival = taking(100.0, *[0.006] * one.rounds)
    [result] = await compare(one, "row", MILLISECONDS, [(OURS, ours), (RIVAL, rival)], operations=2, events=2)
    assert (result.ours, result.theirs, result.ratio) == pytest.approx((1.0, 3.0, 3.0))


async def test_a_line_holds_what_is_needed_to_judge_it() -> None:
    """A result is one line of JSON with the fields the README names."""
    turns = [taking(1.0, 0.00123456), taking(1.0, 0.0024)]
    [result] = await compare(
        scale(quick=True), "row", MICROSECONDS, list(zip((OURS, RIVAL), turns, strict=True)), operations=10, events=100
    )
    line = as_json(result)
    assert "\n" not in line
    assert json.loads(line) == {
        "name": "row",
        "ours": 123.5,
        "theirs": 240.0,
        "ratio": 1.944,
        "unit": "us",
        "against": "rival",
        "events": 100,
        "seed": 7,
        "ours_sync": "full",
        "theirs_sync": "PRAGMA synchronous=2",
        "rounds": 1,
    }


def test_facts_have_the_size_that_is_said() -> None:
    """Every fact's message has 200 bytes."""
    rng = random.Random(3)
    assert {message(draw(rng)).ByteSize() for _ in range(500)} == {PAYLOAD_BYTES}


def test_a_log_holds_its_story_scattered_and_every_stream_without_gaps() -> None:
    """Versions of each stream rise by one, and the story has the events that were asked for."""
    lines = log_of(random.Random(5), 1_000, 100)
    versions: dict[int, list[int]] = {}
    for line in lines:
        versions.setdefault(line.stream, []).append(line.version)
    assert len(lines) == 1_000
    assert len(versions[STORY]) == 100
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert [line.stream for line in lines[:100]] != [STORY] * 100


@pytest.mark.parametrize("name", ["store", "jetstream", "projections", "upcasting", "context"])
def test_the_page_shows_the_run_that_is_kept(name: str) -> None:
    """The table of the page is made of the kept lines, number for number."""
    root = Path(__file__).parents[2]
    kept = (root / "benchmarks" / "results" / f"{name}.jsonl").read_text(encoding="utf-8")
    assert table(kept) in (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_table_shows_three_digits() -> None:
    """A row of the table is short enough to read, and its numbers are not scientific."""
    line = {"name": "row", "ours": 238402.1, "theirs": 12.345, "unit": "us", "against": "rival", "ratio": 1.2345}
    assert table(json.dumps(line)).splitlines()[-1] == "| row | 238,000 | 12.3 | us | rival | 1.23 |"
