"""The one kind of fact that all sides store: a milestone of a story, 200 bytes as a protobuf message."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec
from context_service.events.v1 import events_pb2
from eventstore import Codec, Decider, EventStore, NewCommit, StreamId
from eventstore._envelope import new_commit_id, seal
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

CODEC: Final = Codec(events_pb2)
PAYLOAD_BYTES: Final = 200
_WORDS: Final = ("plan", "review", "merge", "deploy", "measure", "decide", "revert", "document", "release", "index")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Fact(NamedTuple):
    """What happened, in no side's form."""

    milestone_id: str
    event_type: str
    description: str
    actor: str
    at: datetime


def draw(rng: random.Random) -> Fact:
    """Return a random fact whose message has exactly 200 bytes."""
    fact = Fact(
        f"M-{rng.randrange(10**6):06}",
        rng.choice(("feature_completed", "tests_passed", "review_closed")),
        "",
        f"agent-{rng.randrange(100):02}",
        _START + timedelta(seconds=rng.randrange(10**7)),
    )
    text = " ".join(rng.choices(_WORDS, k=40))
    # A length of 128 and more takes two bytes, so the text is cut to what a first cut leaves.
    for _ in range(3):
        room = PAYLOAD_BYTES - message(fact).ByteSize() + len(fact.description)
        fact = fact._replace(description=text[:room])
    missing = PAYLOAD_BYTES - message(fact).ByteSize()
    return fact._replace(milestone_id=fact.milestone_id + "0" * missing)


def message(fact: Fact) -> events_pb2.MilestoneReachedEvent:
    """Return the fact in our form."""
    made = events_pb2.MilestoneReachedEvent(
        milestone_id=fact.milestone_id,
        event_type=fact.event_type,
        description=fact.description,
        actor=fact.actor,
    )
    made.at.FromDatetime(fact.at)
    return made


def sealed(
    stream: StreamId,
    expected: int,
    messages: Iterable[Message],
    *,
    codec: Codec = CODEC,
    recorded_at: int | None = None,
    occurred_at: int | None = None,
) -> NewCommit:
    """Return a commit as bytes: for the rows that leave encoding out, and for a past that has its own times."""
    envelope = envelope_pb2.Envelope(commit_id=new_commit_id(), recorded_at=recorded_at)
    for each in messages:
        name, schema, payload = codec.encode(each)
        envelope.events.add(type=name, schema=schema, payload=payload, occurred_at=occurred_at)
    return seal(stream, expected, envelope)


class Progressed(msgspec.Struct, frozen=True):
    """A state to fold into: how much happened, and the last of it."""

    count: int = 0
    letters: int = 0
    last: str = ""


class Happened(Protocol):
    """An event of any side: both name the field so."""

    @property
    def description(self) -> str: ...


def evolve(state: Progressed, event: Happened) -> Progressed:
    """Fold an event of any side."""
    return Progressed(state.count + 1, state.letters + len(event.description), event.description)


DECIDER: Final = Decider[object, Progressed, events_pb2.MilestoneReachedEvent](
    "story", initial=Progressed(), decide=lambda _command, _state: (), evolve=evolve
)


class Line(NamedTuple):
    """One commit of one event in a log to read."""

    stream: int
    version: int
    fact: Fact


STORY: Final = 0
"""The stream with a long story."""


def log_of(rng: random.Random, events: int, story: int) -> list[Line]:
    """Return a log: a story scattered evenly among the events of streams of about 30 events each."""
    others = (events - story) // 30 or 1
    places = set(rng.sample(range(events), story))
    versions: dict[int, int] = {}
    facts = [draw(rng) for _ in range(1_000)]
    lines = []
    for place in range(events):
        stream = STORY if place in places else rng.randrange(others) + 1
        versions[stream] = versions.get(stream, 0) + 1
        lines.append(Line(stream, versions[stream], rng.choice(facts)))
    return lines


@functools.cache
def stream_id(stream: int) -> StreamId:
    """Return the name of a stream of such a log."""
    return StreamId("story", f"S-{stream}")


async def store_log(store: EventStore, lines: Sequence[Line]) -> None:
    """Append a log, a thousand commits at a time."""
    for start in range(0, len(lines), 1_000):
        await asyncio.gather(
            *(
                store.append(stream_id(line.stream), [message(line.fact)], expected=line.version - 1)
                for line in lines[start : start + 1_000]
            )
        )
