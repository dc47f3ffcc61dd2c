"""What was known then, at random moments on both clocks, against the file that the log was made of."""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_right
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import eventstore._store as store_module
import grpc
import pytest
from context_service.peps import import_peps
from context_service.stories import CLOCKS, Stories, codec
from eventstore import EventStore, MemorySnapshots
from eventstore.memory import MemoryBackend

from tests.context.conftest import PEPS, Clock
from tests.context.peps_oracle import Then, homes, story_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.v1 import context_pb2 as pb

    from tests.context.conftest import Client, Serve

LINES: list[dict[str, Any]] = [json.loads(line) for line in PEPS.read_text(encoding="utf-8").splitlines()]
HOMES = homes(LINES)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A decision in the text of a context: its id, its state and, where it has others, its source's words for that.
DECISION = re.compile(r"^- (PEP-\d+) \[([A-Z]+)(?: \((.*?)\))?\]", re.MULTILINE)


class Log(NamedTuple):
    """A log of the PEPs."""

    stories: Stories
    client: Client
    #: When each line occurred and was recorded, in microseconds since the epoch, by the name of the clock.
    times: dict[str, list[int]]


@asynccontextmanager
async def logged(serve: Serve, rng: random.Random) -> AsyncIterator[Log]:
    """Import the file with a clock that stands still between some lines and leaps between others."""
    clock = Clock()
    recorded = [clock.now]
    for _ in LINES[1:]:
        recorded.append(recorded[-1] + rng.choice([0, 1, 1_000_000, rng.randrange(10**11)]))

    def tick(number: int, _: int) -> None:
        clock.now = recorded[min(number, len(recorded) - 1)]

    async with EventStore(MemoryBackend(clock=clock), codec) as store:
        stories = Stories(store, MemorySnapshots())
        report = await import_peps(store, stories.snapshots, PEPS, progress=tick)
        assert report.written == len(LINES)
        async with serve(stories) as client:
            yield Log(stories, client, {"recorded": recorded, "occurred": [line["ts"] * 10**6 for line in LINES]})


class Triple(NamedTuple):
    """A question."""

    story: str
    micros: int
    clock: str

    def moment(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.micros)


def some_triple(rng: random.Random, times: dict[str, list[int]]) -> Triple:
    """Return a question; most moments are those of a change of the story, or one microsecond beside them."""
    number, clock = rng.randrange(len(LINES)), rng.choice(list(CLOCKS))
    at = times[clock][number]
    anywhere = rng.randint(times[clock][0] - 10**12, times[clock][-1] + 10**12)
    story = rng.choice([HOMES[LINES[number]["pep"]]] * 4 + sorted(set(HOMES.values())))
    return Triple(story, rng.choice([at, at - 1, at + 1, anywhere]), clock)


async def found(log: Log, triple: Triple, rng: random.Random) -> Then | None:
    """Return what the service answers; None where it has no such story."""
    moment = triple.moment().astimezone(timezone(timedelta(hours=rng.randint(-12, 12))))
    try:
        answer = await log.client.get_at(
            triple.story, moment.isoformat(), triple.clock, phase="DESIGN", token_budget=100_000_000
        )
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND  # noqa: PT017 (any other code is an error of the test's)
        return None
    return Then(decisions_in(answer), relations_in(answer))


def decisions_in(answer: pb.GetContextResponse) -> dict[str, tuple[str, str]]:
    """Return the decisions that a context states. A source's word for a state that is the state's is not there."""
    return {id: (state, text) for id, state, text in DECISION.findall(answer.context)}


def relations_in(answer: pb.GetContextResponse) -> set[tuple[str, str, str]]:
    """Return the relations that a context states."""
    stated = [one.entity_id.split(" ") for one in answer.statements if one.entity_type == "RELATION"]
    return {(source, kind, target) for source, kind, target in stated}


def expected(triple: Triple, times: dict[str, list[int]]) -> Then | None:
    """Return what the file says; where the words of a status are those of the state, the text does not repeat them."""
    then = story_after(LINES, triple.story, bisect_right(times[triple.clock], triple.micros))
    if then is None:
        return None
    return then._replace(
        decisions={
            id: (state, "" if text.upper() == state else " ".join(text.split()))
            for id, (state, text) in then.decisions.items()
        }
    )


async def wrong(log: Log, rng: random.Random, count: int) -> list[Triple]:
    """Return those of so many random questions on which service and file disagree; most are of stories there are."""
    triples = [some_triple(rng, log.times) for _ in range(count)]
    assert sum(expected(one, log.times) is not None for one in triples) > count // 2
    return [one for one in triples if await found(log, one, rng) != expected(one, log.times)]


@pytest.mark.contract
@pytest.mark.timeout(60)
async def test_random_moments(serve: Serve) -> None:
    """At 200 random moments on both clocks the decisions, their states and their relations are the file's."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with logged(serve, rng) as log:
        assert await wrong(log, rng, 200) == []


def excluding(self: store_module.Bound, *, version: int, position: int, occurred: int) -> bool:
    """Leave out the bound's own moment."""
    del version
    if self.position is not None:
        return position < self.position
    return self.occurred is None or occurred < self.occurred


def one_microsecond_more(self: store_module.Bound, *, version: int, position: int, occurred: int) -> bool:
    """Take in the next microsecond, and the next commit."""
    del version
    if self.position is not None:
        return position <= self.position + 1
    return self.occurred is None or occurred <= self.occurred + 1


@pytest.mark.contract
@pytest.mark.timeout(60)
async def test_an_error_of_one_microsecond_is_found_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that leaves out its own moment, or takes in the next one, turns the check above red on both clocks."""
    rng = random.Random(7)
    async with logged(serve, rng) as log:
        for planted in (excluding, one_microsecond_more):
            with monkeypatch.context() as patch:
                patch.setattr(store_module.Bound, "admits", planted)
                assert {one.clock for one in await wrong(log, rng, 100)} == set(CLOCKS)
