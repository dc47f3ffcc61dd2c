"""How long does GetContextAtTime take, for a moment never asked for before? Against a full replay.

The service runs in a process of its own and is asked through gRPC, on both clocks, in the log of the PEPs and in one
with a story of 10,000 events. The rival is what needs no snapshots and no streams: it reads the log from its beginning,
folds what is the story's, and writes the same text, in this process, without gRPC. Their answers are compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from context_service import story
from context_service.events.v1 import events_pb2 as pb
from context_service.peps import import_peps
from context_service.policy import Policy
from context_service.selection import select
from context_service.stories import open_stories
from context_service.text import render
from context_service.v1 import context_pb2, context_pb2_grpc
from eventstore import EventStore, NewCommit, StreamId, open_store

from benchmarks.facts import CODEC, STORY, log_of, message, sealed, stream_id
from benchmarks.measure import MILLISECONDS, Result, Scale, Side, percentile

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from benchmarks.facts import Line

STORY_EVENTS: Final = 10_000
# Questions to the service in a turn, and how many of them the rival is asked, which is slow.
_ASKED: Final = 100
_REPLAYED: Final = 2
_ROLE: Final = "architect"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(minutes=5)
_DECISIONS: Final = 60
_SUBTASKS: Final = 100


class Span(NamedTuple):
    """When a story's commits happened, on one of the clocks."""

    story_id: str
    clock: str
    first: datetime
    last: datetime


class Question(NamedTuple):
    """What a story's context was at a moment."""

    story_id: str
    clock: str
    moment: datetime


class Answer(NamedTuple):
    """What both sides must agree on."""

    version: str
    context: str
    hash: str


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about the past."""
    name = "context-at-time-peps"
    if scale.wants(name):
        url = f"sqlite:///{directory / 'peps.db'}"
        await _import_peps(url)
        async for result in _rows(scale, name, url):
            yield result
    name = f"context-at-time-{STORY_EVENTS}"
    if scale.wants(name):
        url = f"sqlite:///{directory / 'story.db'}"
        await _store_story(url, log_of(scale.rng, scale.log_events, STORY_EVENTS), scale.rng)
        async for result in _rows(scale, name, url):
            yield result


async def _rows(scale: Scale, name: str, url: str) -> AsyncIterator[Result]:
    async with open_store(url, CODEC, create=False) as store:
        spans, events = await _spans(store)
        async with service(url) as (stub, sync):
            for story_id in {span.story_id for span in spans}:
                # Whoever wrote the story left snapshots behind; where nobody did, the first question does.
                await stub.GetContext(context_pb2.GetContextRequest(story_id=story_id, role=_ROLE))
            asked: list[float] = []
            replayed: list[float] = []
            for _ in range(scale.rounds):
                questions = [_draw(scale.rng, spans) for _ in range(scale.count(_ASKED))]
                gc.collect()
                answers = [await _timed(ask(stub, question), asked) for question in questions]
                gc.collect()
                for question, answer in list(zip(questions, answers, strict=True))[:_REPLAYED]:
                    assert answer == await _timed(replay(store, question), replayed), question
        for percent in (50, 99):
            ours, theirs = (MILLISECONDS.value(percentile(times, percent), 1) for times in (asked, replayed))
            yield scale.result(
                f"{name}-p{percent}",
                MILLISECONDS,
                events=events,
                ours=(Side("ours", sync), ours),
                rival=(Side("full replay", "reads only"), theirs),
            )


async def _timed(answering: Awaitable[Answer], times: list[float]) -> Answer:
    started = time.perf_counter()
    given = await answering
    times.append(time.perf_counter() - started)
    return given


def _draw(rng: random.Random, spans: Sequence[Span]) -> Question:
    span = rng.choice(spans)
    return Question(span.story_id, span.clock, span.first + (span.last - span.first) * rng.random())


async def ask(stub: context_pb2_grpc.ContextServiceStub, question: Question) -> Answer:
    """Ask the service."""
    given = await stub.GetContextAtTime(
        context_pb2.GetContextAtTimeRequest(
            story_id=question.story_id, timestamp=question.moment.isoformat(), role=_ROLE, clock=question.clock
        )
    )
    return Answer(given.version, given.context, given.hash)


async def replay(store: EventStore, question: Question) -> Answer:
    """Read the log from its beginning up to the moment, and fold what is the story's."""
    stream, state, version = StreamId(story.CATEGORY, question.story_id), story.EMPTY, 0
    recorded = question.clock == "recorded"
    async for commit in store.log():
        if recorded and commit.recorded_at > question.moment:
            break
        if commit.stream != stream:
            continue
        events = commit.events
        if not recorded and any(event.occurred_at > question.moment for event in events):
            break
        for event in events:
            state = story.evolve(state, event.message)
        version = commit.version
    scopes = Policy.load().scopes(state.phase, _ROLE)
    told = render(question.story_id, select(state, scopes, role=_ROLE), role=_ROLE, phase=state.phase)
    return Answer(str(version), told.text, story.content_hash(state))


@contextlib.asynccontextmanager
async def service(url: str) -> AsyncIterator[tuple[context_pb2_grpc.ContextServiceStub, str]]:
    """Run the service in a process of its own; yields a client, and what it says an acknowledgement means."""
    run = "from context_service.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", run, "serve", "--store", url, "--listen", "127.0.0.1:0", "--log-level", "WARNING"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        said = [line.decode().strip() async for line in _until(process.stdout, b"serving on ")]
        [durability] = [line.partition(": ")[2] for line in said if line.startswith("durability")]
        async with grpc.aio.insecure_channel(said[-1].rpartition(" ")[2]) as channel:
            yield context_pb2_grpc.ContextServiceStub(channel), durability
    finally:
        process.terminate()
        await process.communicate()


async def _until(lines: asyncio.StreamReader, start: bytes) -> AsyncIterator[bytes]:
    async for line in lines:
        yield line
        if line.startswith(start):
            return


async def _spans(store: EventStore) -> tuple[list[Span], int]:
    """Return when each story that was created happened, on each clock, and how many events the log holds."""
    found: dict[tuple[str, str], Span] = {}
    events = 0
    async for commit in store.log(categories=[story.CATEGORY]):
        events += commit.version - commit.first_version + 1
        story_id = commit.stream.id
        created = commit.events[0].raw.type == pb.ContextCreatedEvent.DESCRIPTOR.full_name
        times = {"recorded": commit.recorded_at, "occurred": max(event.occurred_at for event in commit.events)}
        for clock, at in times.items():
            span = found.get((story_id, clock)) or (Span(story_id, clock, at, at) if created else None)
            if span:
                found[story_id, clock] = span._replace(last=max(at, span.last))
    return list(found.values()), events


async def _import_peps(url: str) -> None:
    async with open_stories(url) as stories:
        with resources.as_file(resources.files("context_service") / "data" / "peps.jsonl") as file:
            await import_peps(stories.store, stories.snapshots, file, progress=lambda _done, _all: None)


async def _store_story(url: str, lines: Sequence[Line], rng: random.Random) -> None:
    """Store a log in which something was recorded every five minutes, up to a day after it had occurred."""
    async with open_store(url, CODEC) as store:
        for start in range(0, len(lines), 1_000):
            await asyncio.gather(
                *(
                    store.backend.append(_commit(line, _START + number * _STEP, rng))
                    for number, line in enumerate(lines[start : start + 1_000], start)
                )
            )


def _commit(line: Line, at: datetime, rng: random.Random) -> NewCommit:
    event = _story_event(line, rng) if line.stream == STORY else message(line.fact)
    recorded_at = int(at.timestamp() * 1e6)
    return sealed(
        stream_id(line.stream),
        line.version - 1,
        [event],
        recorded_at=recorded_at,
        occurred_at=recorded_at - rng.randrange(86_400_000_000),
    )


def _story_event(line: Line, rng: random.Random) -> Message:
    """Return an event of a story in which decisions and subtasks are made once and then changed again and again."""
    text, number = line.fact.description, line.version - 2
    if number < 0:
        return pb.ContextCreatedEvent(title="A long story", description=text, phase="BUILD")
    if number < _DECISIONS:
        return pb.DecisionAddedEvent(decision_id=f"D-{number}", title=text[:60], rationale=text, status="PROPOSED")
    if number < _DECISIONS + _SUBTASKS:
        return pb.SubtaskAddedEvent(subtask_id=f"T-{number - _DECISIONS}", title=text[:60], status="pending")
    decision, subtask = f"D-{rng.randrange(_DECISIONS)}", f"T-{rng.randrange(_SUBTASKS)}"
    return rng.choice(
        (
            pb.SubtaskUpdatedEvent(subtask_id=subtask, status=rng.choice(("in_progress", "blocked")), reason=text),
            pb.DecisionChangedEvent(decision_id=decision, rationale=text),
            pb.DecisionStatusChangedEvent(decision_id=decision, status=rng.choice(("APPROVED", "REJECTED"))),
        )
    )
