"""A log of stories to ask about: one long among many short ones, told by what happens to decisions and subtasks.

Of twenty events of a story two decide something, two plan a subtask, one is a milestone, five link decisions to others
or to subtasks, and ten change what is there, among them the links that are taken back. Python's own history has a few
more decisions and links.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from context_service.events.v1 import events_pb2 as pb
from context_service.words import ROLES
from eventstore import open_store

from benchmarks.facts import CODEC, STORY, log_of, sealed, stream_id

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from benchmarks.facts import Line

#: So many events make a decision and a subtask; a thing's number follows from that of the event that made it.
_A_THING: Final = 10
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(minutes=5)
_KINDS: Final = ("DEPENDS_ON", "RELATES_TO", "GOVERNS", "BLOCKS", "SUPERSEDES", "AFFECTS", "AFFECTS")


class Told(NamedTuple):
    """When a commit of the long story was recorded and what it told of occurred, and where it stands in the log."""

    position: int
    recorded: datetime
    occurred: datetime


class Log(NamedTuple):
    """A log."""

    id: str
    #: Each is a commit of one event; its position is its place, counted from 1.
    lines: Sequence[Line]
    #: The commits of the long story.
    told: Sequence[Told]
    durability: str

    @property
    def events(self) -> int:
        """How many there are."""
        return len(self.lines)


async def store_stories(url: str, rng: random.Random, events: int, story: int) -> Log:
    """Store a log in which something was recorded every five minutes, up to a day after it had occurred."""
    lines, told = log_of(rng, events, story), []
    async with open_store(url, CODEC) as store:
        for start in range(0, len(lines), 1_000):
            commits = []
            for place, line in enumerate(lines[start : start + 1_000], start + 1):
                recorded = _START + place * _STEP
                occurred = recorded - timedelta(seconds=rng.randrange(86_400))
                if line.stream == STORY:
                    told.append(Told(place, recorded, occurred))
                commits.append(
                    sealed(
                        stream_id(line.stream),
                        line.version - 1,
                        [event(line, rng)],
                        recorded_at=_micros(recorded),
                        occurred_at=_micros(occurred),
                    )
                )
            await asyncio.gather(*map(store.backend.append, commits))
        assert (await store.head()).position == len(lines)
        return Log(store.log_id, lines, told, str((await store.backend.describe())["durability"]))


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def event(line: Line, rng: random.Random) -> Message:  # noqa: PLR0911 (one for each kind of event)
    """Return what an event of a story tells."""
    number, text = line.version - 2, line.fact.description
    if number < 0:
        return pb.ContextCreatedEvent(title=text[:40], description=text, phase="BUILD")
    match number % _A_THING:
        case 0:
            return pb.DecisionAddedEvent(
                decision_id=decision(line.stream, number),
                title=text[:40],
                rationale=text,
                status="PROPOSED",
                decided_by=rng.choice(ROLES),
            )
        case 1:
            return pb.SubtaskAddedEvent(
                subtask_id=_subtask(line.stream, number), title=text[:40], status="pending", role=rng.choice(ROLES)
            )
        case 2 if number % 20 == 2:
            return pb.MilestoneReachedEvent(
                milestone_id=f"M-{line.stream}-{number}", event_type="reviewed", description=text[:80]
            )
        case 3 | 6 | 8 if number % 20 != 18:
            return _link(line.stream, number)
        case 9 if number % 60 == 59:
            link = _link(line.stream, number - 3)
            return pb.DecisionUnlinkedEvent(
                source_id=link.source_id, kind=link.kind, target_id=link.target_id, stated_by=link.stated_by
            )
    return _change(line.stream, rng.randrange(number + 1), text, rng)


def decision(stream: int, number: int) -> str:
    """Return the decision that is the newest of a story at an event of this number, counted from 0 after the first."""
    return f"D-{stream}-{number // _A_THING}"


def _subtask(stream: int, number: int) -> str:
    return f"T-{stream}-{max(0, number - 1) // _A_THING}"


def _link(stream: int, number: int) -> pb.DecisionLinkedEvent:
    """Return how the newest decision is linked to one before it, or to a subtask; the same for the same number."""
    source, other = decision(stream, number), number * 31 % max(1, number - _A_THING + 1)
    kind = _KINDS[number // 2 % len(_KINDS)] if number >= _A_THING else "AFFECTS"
    target = _subtask(stream, other) if kind == "AFFECTS" else decision(stream, other)
    return pb.DecisionLinkedEvent(source_id=source, kind=kind, target_id=target, stated_by=source)


def _change(stream: int, number: int, text: str, rng: random.Random) -> Message:
    match rng.randrange(3):
        case 0:
            status = rng.choice(("in_progress", "blocked", "done"))
            return pb.SubtaskUpdatedEvent(subtask_id=_subtask(stream, number), status=status, reason=text[:40])
        case 1:
            return pb.DecisionChangedEvent(decision_id=decision(stream, number), rationale=text)
    status = rng.choice(("APPROVED", "APPROVED", "REJECTED"))
    return pb.DecisionStatusChangedEvent(decision_id=decision(stream, number), status=status)
