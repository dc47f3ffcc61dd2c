"""What does it cost to read old events as today's, to look at all that a log holds, and to move it to JetStream?

The rival of a codec with steps is the plain codec, reading the same log: of events that no step takes, of events that
are one step or five behind, of events that become two. An event is the fact of the other benchmarks; a step makes a new
message of five fields out of an old one.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from context_service.events.v1 import events_pb2
from eventstore import Codec, EventStore, StreamId
from eventstore.jetstream import JetStreamBackend
from eventstore.memory import MemoryBackend
from eventstore.raw import fill
from eventstore.sqlite import SqliteBackend
from eventstore.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from upcasting import Step, Upcasting, audit, migrate, split, step

from benchmarks.facts import draw, message, sealed, stream_id
from benchmarks.jetstream import server
from benchmarks.measure import MICROSECONDS, Result, Scale, Side, compare, long_run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

    from eventstore import NewCommit

SCHEMAS: Final = 6
"""The newest schema of a milestone; the oldest is five steps behind."""

_MILESTONE: Final = events_pb2.MilestoneReachedEvent
_NONE: Final = "none: in memory"
_TENTH: Final = 10


def _classes() -> list[Any]:
    """Return the messages of all schemas, and of what is split in two, which have the fields of a milestone."""
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmarks/milestones.proto",
        package="benchmarks.upcasting",
        syntax="proto3",
        dependency=["eventstore/v1/options.proto", "google/protobuf/timestamp.proto"],
    )
    for schema in range(SCHEMAS + 1):
        made = file.message_type.add()
        _MILESTONE.DESCRIPTOR.CopyToProto(made)
        made.name = f"MilestoneV{schema}" if schema else "Pair"
        made.ClearField("options")
        option = options_pb2.EventOptions(type="bench.milestone" if schema else "bench.pair", schema=schema or 1)
        made.options.Extensions[options_pb2.event].CopyFrom(option)  # type: ignore[index]
    pool = descriptor_pool.Default()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"benchmarks.upcasting.{made.name}"))
        for made in file.message_type
    ]


PAIR, *VERSIONS = _classes()
TODAY: Final = VERSIONS[-1]
OLD: Final = Codec(PAIR, *VERSIONS)


def _copied(new: Any, old: Any) -> Any:
    return new(
        milestone_id=old.milestone_id,
        event_type=old.event_type,
        description=old.description,
        actor=old.actor,
        at=old.at,
    )


def _copying(old: Any, new: Any) -> Step[Any, Any]:
    return step(old, new)(lambda message: _copied(new, message))


STEPS: Final[list[Step[Any, Any]]] = [
    split(PAIR, TODAY)(lambda old: [_copied(TODAY, old), _copied(TODAY, old)]),
    *itertools.starmap(_copying, itertools.pairwise(VERSIONS)),
]
UPCASTING: Final = Upcasting(Codec(TODAY), STEPS)


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about upcasting."""
    rows = {"none": TODAY, "one": VERSIONS[-2], "five": VERSIONS[0], "split": PAIR}
    for name, cls in rows.items():
        if scale.wants(f"upcasting-{name}"):
            for result in await _reading(scale, f"upcasting-{name}", cls):
                yield result
    if not any(map(scale.wants, ("audit-rate", "migrate-rate"))):
        return
    source = SqliteBackend(directory / "old.db", durability="normal")
    async with EventStore(source, OLD) as store:
        await fill(store, _written(scale, scale.log_events, [TODAY] * (_TENTH - 1) + [VERSIONS[-2]]))
        if scale.wants("audit-rate"):
            for result in await long_run(
                scale, "audit-rate", _audited(store), events=scale.log_events, sync="it only reads"
            ):
                yield result
        if scale.wants("migrate-rate"):
            with server(directory) as (url, monitor):
                target = JetStreamBackend([url], "MOVED", prefix="moved.events", monitors=[monitor])
                async with EventStore(target, OLD) as moved:
                    sync = str((await target.describe())["durability"])
                    migrating = _migrated(store, moved)
                    for result in await long_run(scale, "migrate-rate", migrating, events=scale.log_events, sync=sync):
                        yield result


async def _written(scale: Scale, events: int, classes: Sequence[Any]) -> AsyncGenerator[Sequence[NewCommit], None]:
    """Yield commits of one event each, in streams of about thirty, a thousand at a time."""
    facts = [message(draw(scale.rng)) for _ in range(1_000)]
    versions: dict[StreamId, int] = {}
    chunk: list[NewCommit] = []
    for number in range(events):
        stream = stream_id(scale.rng.randrange(events // 30 + 1))
        expected = versions.get(stream, 0)
        versions[stream] = expected + 1
        cls = classes[number % len(classes)]
        chunk.append(sealed(stream, expected, [_copied(cls, scale.rng.choice(facts))], codec=OLD))
        if len(chunk) == len(facts):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _reading(scale: Scale, name: str, cls: Any) -> list[Result]:
    """Compare reading a log of one kind of event with and without steps."""
    events = scale.count(50_000)
    async with EventStore(MemoryBackend(), OLD) as store:
        await fill(store, _written(scale, events, [cls]))
        ours = partial(_read, EventStore(store.backend, UPCASTING))
        theirs = partial(_read, EventStore(store.backend, Codec(cls)))
        sides = [(Side("ours", _NONE), ours), (Side("the plain codec", _NONE), theirs)]
        return await compare(scale, name, MICROSECONDS, sides, operations=events, events=events)


async def _read(store: EventStore) -> float:
    letters = 0
    started = time.perf_counter()
    async for commit in store.log():
        for event in commit.events:
            letters += len(event.message.description)  # type: ignore[attr-defined]
    assert letters
    return time.perf_counter() - started


async def _audited(store: EventStore) -> float:
    started = time.perf_counter()
    found = await audit(store, UPCASTING)
    assert found.readable
    return time.perf_counter() - started


async def _migrated(source: EventStore, target: EventStore) -> float:
    """Move a log; what it takes to read it back and compare it is a part of that."""
    started = time.perf_counter()
    done = await migrate(source, target, UPCASTING)
    assert done.target.events == done.source.events
    assert sum(carried.events for carried in done.carried) == done.source.events // _TENTH
    return time.perf_counter() - started
