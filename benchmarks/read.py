"""How fast is a log read whole, and a long story folded? Against pyeventsourcing.

The log holds a story of 10,000 events, each a commit of its own, scattered among the events of other streams. All
events are decoded and a field of each is read: by our codec, by pyeventsourcing's default mapper. Rows with
``-recorder`` stop at the bytes.
"""

from __future__ import annotations

import asyncio
import functools
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from eventstore import EventStore, Position, fold, open_store

from benchmarks import rival_pyeventsourcing
from benchmarks.facts import CODEC, DECIDER, STORY, Progressed, evolve, log_of, store_log, stream_id
from benchmarks.measure import MILLISECONDS, RATE, Result, Scale, Side, compare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from benchmarks.facts import Line
    from benchmarks.rival_pyeventsourcing import Rival

STORY_EVENTS: Final = 10_000


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about reading."""
    lines = log_of(scale.rng, scale.log_events, STORY_EVENTS)
    with rival_pyeventsourcing.sqlite(directory / "reads-rival.db") as rival:
        async with open_store(f"sqlite:///{directory / 'reads.db'}", CODEC) as store:
            async for result in _rows(scale, "sqlite", store, rival, lines):
                yield result
    async with open_store("memory://", CODEC) as store:
        async for result in _rows(scale, "memory", store, rival_pyeventsourcing.memory(), lines):
            yield result


async def _rows(
    scale: Scale, backend: str, store: EventStore, rival: Rival, lines: Sequence[Line]
) -> AsyncIterator[Result]:
    names = {
        f"{backend}-read-all": (RATE, read_all, their_read_all, len(lines)),
        "sqlite-read-all-recorder": (RATE, read_bytes, their_read_bytes, len(lines)),
        f"{backend}-fold-{STORY_EVENTS}": (MILLISECONDS, fold_story, their_fold_story, 1),
    }
    names = {name: row for name, row in names.items() if name.startswith(backend) and scale.wants(name)}
    if not names:
        return
    await store_log(store, lines)
    rival.store_log(lines)
    sync = str((await store.backend.describe())["durability"])
    for name, (unit, ours, theirs, operations) in names.items():
        for result in await compare(
            scale,
            name,
            unit,
            [
                (Side("ours", sync), partial(ours, store, lines)),
                (Side(rival_pyeventsourcing.NAME, rival.sync), partial(theirs, rival, lines)),
            ],
            operations=operations,
            events=len(lines),
        ):
            yield result


async def read_all(store: EventStore, lines: Sequence[Line]) -> float:
    """Read the log's events, decoded."""
    letters = 0
    started = time.perf_counter()
    async for commit in store.log():
        for event in commit.events:
            letters += len(event.message.description)  # type: ignore[attr-defined]  # the codec's messages have it
    seconds = time.perf_counter() - started
    assert letters == sum(len(line.fact.description) for line in lines)
    return seconds


async def their_read_all(rival: Rival, lines: Sequence[Line]) -> float:
    """Read the log's domain events: each page is fetched and decoded within one call in a thread."""
    letters, after = 0, 0
    started = time.perf_counter()
    while page := await asyncio.to_thread(rival.decoded_page, after):
        after, events = page
        letters += sum(len(event.description) for event in events)
    seconds = time.perf_counter() - started
    assert letters == sum(len(line.fact.description) for line in lines)
    return seconds


async def read_bytes(store: EventStore, lines: Sequence[Line]) -> float:
    """Read the log's commits as bytes."""
    count = 0
    started = time.perf_counter()
    async for chunk in store.backend.log(after=Position(0)):
        count += len(chunk)
    seconds = time.perf_counter() - started
    assert count == len(lines)
    return seconds


async def their_read_bytes(rival: Rival, lines: Sequence[Line]) -> float:
    """Read the log's notifications."""
    count, after = 0, 0
    started = time.perf_counter()
    while page := await asyncio.to_thread(rival.page, after):
        after = page[-1].id
        count += len(page)
    seconds = time.perf_counter() - started
    assert count == len(lines)
    return seconds


async def fold_story(store: EventStore, lines: Sequence[Line]) -> float:
    """Fold the long story."""
    started = time.perf_counter()
    folded = await fold(store, DECIDER, stream_id(STORY).id)
    seconds = time.perf_counter() - started
    _check(folded.state, lines)
    return seconds


async def their_fold_story(rival: Rival, lines: Sequence[Line]) -> float:
    """Fold the long story, all of it within one call in a thread."""
    story = rival_pyeventsourcing.originator(STORY)

    def run() -> Progressed:
        return functools.reduce(evolve, rival.read(story), Progressed())

    started = time.perf_counter()
    state = await asyncio.to_thread(run)
    seconds = time.perf_counter() - started
    _check(state, lines)
    return seconds


def _check(state: Progressed, lines: Sequence[Line]) -> None:
    """Stop where something else was measured than said."""
    texts = [line.fact.description for line in lines if line.stream == STORY]
    assert state == Progressed(len(texts), sum(map(len, texts)), texts[-1])
