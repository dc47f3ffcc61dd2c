"""The library ``eventsourcing`` of PyPI: its recorders, its default mapper."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import (
    ApplicationRecorder,
    DatetimeAsISO,
    DecimalAsStr,
    EventStore,
    JSONTranscoder,
    Mapper,
    Notification,
    StoredEvent,
    UUIDAsHex,
)
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.facts import Fact, Line

NAME: Final = "pyeventsourcing"
_NAMESPACE: Final = UUID("8a0b3fca-6d07-4c3f-8f0a-1a6f0c9ad2f1")
# Pages of 100 and of 10,000 notifications were slower.
_PAGE: Final = 1_000


@dataclass(frozen=True)
class Milestone(DomainEvent):
    """The fact in its form; the time is the ``timestamp`` that each of its domain events has."""

    milestone_id: str
    event_type: str
    description: str
    actor: str


def originator(stream: int | str) -> UUID:
    """Return its name for a stream."""
    return uuid.uuid5(_NAMESPACE, str(stream))


def domain_event(of: UUID, version: int, fact: Fact) -> Milestone:
    """Return a fact as its domain event."""
    return Milestone(of, version, fact.at, fact.milestone_id, fact.event_type, fact.description, fact.actor)


def domain_events(stream: str, commits: Iterable[Sequence[Fact]]) -> Iterator[list[Milestone]]:
    """Yield the facts of a new stream as its domain events, commit by commit."""
    of, version = originator(stream), 0
    for facts in commits:
        yield [domain_event(of, number, fact) for number, fact in enumerate(facts, version + 1)]
        version += len(facts)


class Rival:
    """A recorder with the mapper that its ``Application`` makes by default."""

    def __init__(self, recorder: ApplicationRecorder, sync: str) -> None:
        transcoder = JSONTranscoder()
        for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
            transcoder.register(transcoding)
        self.mapper: Final = Mapper[UUID](transcoder)
        self.recorder: Final = recorder
        self.store: Final = EventStore[UUID](self.mapper, recorder)
        #: What it says of itself.
        self.sync: Final = sync

    def stored(self, events: Sequence[Milestone]) -> list[StoredEvent]:
        """Return events as bytes, for the rows that leave encoding out."""
        return [self.mapper.to_stored_event(event) for event in events]

    def store_log(self, lines: Sequence[Line]) -> None:
        """Append a log, in transactions of a thousand."""
        names = {line.stream: originator(line.stream) for line in lines}
        for start in range(0, len(lines), 1_000):
            page = lines[start : start + 1_000]
            self.store.put([domain_event(names[line.stream], line.version, line.fact) for line in page])

    def read(self, of: UUID) -> Iterator[Milestone]:
        """Return the domain events of a stream, decoded one by one."""
        return cast("Iterator[Milestone]", self.store.get(of))

    def page(self, after: int) -> Sequence[Notification]:
        """Return the next notifications of its log, as bytes."""
        return self.recorder.select_notifications(after, _PAGE, inclusive_of_start=False)

    def decoded_page(self, after: int) -> tuple[int, list[Milestone]] | None:
        """Return the next domain events of its log, and the number of the last; None at the end."""
        page = self.page(after)
        events = [self.mapper.to_domain_event(notification) for notification in page]
        return (page[-1].id, events) if page else None  # type: ignore[return-value]  # the class stands in the topic


@contextlib.contextmanager
def sqlite(path: Path) -> Iterator[Rival]:
    """Open its SQLite recorder on a new file."""
    datastore = SQLiteDatastore(str(path))
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()
    with datastore.transaction(commit=False) as cursor:
        read_back = []
        for pragma in ("synchronous", "journal_mode"):
            cursor.execute(f"PRAGMA {pragma}")
            read_back.append(f"{pragma}={cursor.fetchone()[0]}")
    try:
        yield Rival(recorder, f"PRAGMA {', '.join(read_back)}")
    finally:
        datastore.close()


def memory() -> Rival:
    """Return its recorder in memory."""
    return Rival(POPOApplicationRecorder(), "memory")
