"""What goes out over NATS: ``context.events.updated``, one message a commit of a story, in the order of the log.

The view is the JetStream stream itself. A message is published only on top of the one that its publisher saw last, and
each says the position of its commit; so however often a batch is tried, and by whomever, each commit is there once.
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from eventstore import Token
from projections import ModelRefused, ModelUnavailable, Projection, Stored

from context_service.bus import CHECKPOINTS, UPDATES, Bus, BusUnavailable, Misfit, TooLarge, WrongSequence
from context_service.past import event_type_of, subject_of
from context_service.redaction import redact
from context_service.story import CATEGORY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from eventstore import Commit, Event
    from projections import Batch, Changes, Name

SUBJECT: Final = UPDATES.subjects[0]
POSITION: Final = "Context-Position"
_REVISION: Final = "Context-Revision"
#: Of a commit with more events, the first so many are told.
MOST_CHANGES: Final = 1_000
#: And of these no more than have room in so many bytes; the server takes a message of 1 MiB.
_MOST_BYTES: Final = 256 * 1024
_LONGEST: Final = 1_000


class Update(NamedTuple):
    """A message that is to go out."""

    token: Token
    body: bytes


class Outbox:
    """What a batch publishes."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        #: Whether all that was published is to be taken back first.
        self.purge = False


def updates(log_id: str) -> Projection[Outbox]:
    """Return the projection that publishes what a log's stories have become."""

    def publish(tx: Outbox, batch: Batch) -> None:
        tx.updates += [Update(Token(log_id, commit.position), _body(log_id, commit)) for commit in batch]

    return Projection("updates", publish, owns=(SUBJECT,), categories=[CATEGORY])


def _body(log_id: str, commit: Commit) -> bytes:
    events = commit.events
    changes = _changes(events)
    told = {
        "event_id": commit.commit_id.hex(),
        "story_id": commit.stream.id,
        "version": commit.version,
        "position": str(Token(log_id, commit.position)),
        "types": sorted({event_type_of(event.raw.type) for event in events}),
        "changes": changes,
        "changes_left_out": len(events) - len(changes),
        "actor": redact(commit.metadata.actor)[:_LONGEST],
        "causation_id": redact(commit.metadata.causation_id)[:_LONGEST],
        "correlation_id": redact(commit.metadata.correlation_id)[:_LONGEST],
        "occurred_at": max(event.occurred_at for event in events).isoformat(),
        "recorded_at": commit.recorded_at.isoformat(),
    }
    return redact(msgspec.json.encode(told).decode()).encode()


def _changes(events: Sequence[Event]) -> list[dict[str, str]]:
    changes, room = [], _MOST_BYTES
    for change in map(_change, events[:MOST_CHANGES]):
        room -= len(msgspec.json.encode(change))
        if room < 0:
            break
        changes.append(change)
    return changes


def _without_changes(body: bytes) -> bytes:
    told = msgspec.json.decode(body)
    return msgspec.json.encode(
        told | {"changes": [], "changes_left_out": told["changes_left_out"] + len(told["changes"])}
    )


def _change(event: Event) -> dict[str, str]:
    entity_type, entity_id = subject_of(event.message, event.stream.id)
    return {"type": event_type_of(event.raw.type), "entity_type": entity_type, "entity_id": entity_id}


class BusModel:
    """What was published, with its record in a stream of checkpoints: a ``projections.Model``."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._made = False

    async def load(self, key: str) -> Stored | None:
        """Return the record."""
        try:
            if not self._made:
                for owned in (UPDATES, CHECKPOINTS):
                    await self._bus.make(owned)
                self._made = True
            return (await self._record(key))[0]
        except BusUnavailable as error:
            raise _unavailable(error) from None

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Outbox] | None = None
    ) -> bool:
        """Publish, then replace the record."""
        outbox = Outbox()
        if changes is not None:
            waiting = changes(outbox)
            if isawaitable(waiting):
                await waiting
        try:
            stored, sequence = await self._record(key)
            if (stored.revision if stored else 0) != expected:
                return False
            await self._publish(outbox)
            headers = {_REVISION: str(expected + 1 if record else 0)}
            await self._bus.publish(_subject(key), record or b"", headers, after=sequence)
        except WrongSequence:
            return False
        except BusUnavailable as error:
            raise _unavailable(error) from None
        return True

    async def _record(self, key: str) -> tuple[Stored | None, int]:
        """Return a record and the sequence of its message."""
        kept = await self._bus.last(CHECKPOINTS.name, _subject(key))
        if kept is None:
            return None, 0
        revision = int((kept.headers or {})[_REVISION])
        return (Stored(kept.data or b"", revision) if revision else None), kept.seq or 0

    async def _publish(self, outbox: Outbox) -> None:
        if outbox.purge:
            await self._bus.purge(SUBJECT)
        if not outbox.updates:
            return
        stream = await self._bus.carrier(SUBJECT)
        last = await self._bus.last(str(stream), SUBJECT)
        sequence = (last.seq or 0) if last else 0
        # A try that was cut off, or whoever wrote before, may have come further than the record says.
        log_id, _, position = ((last and last.headers) or {}).get(POSITION, "").partition(":")
        for update in outbox.updates:
            if log_id != update.token.log_id or int(position) < update.token.position:
                sequence = await self._tell(update, after=sequence)

    async def _tell(self, update: Update, *, after: int) -> int:
        headers = {POSITION: str(update.token)}
        try:
            return await self._bus.publish(SUBJECT, update.body, headers, after=after)
        except TooLarge:
            return await self._bus.publish(SUBJECT, _without_changes(update.body), headers, after=after)

    def naming(self, projection: str, generation: int) -> Name:
        """Refuse: nobody can publish beside what was published."""
        raise _not_rebuilt()

    async def prepare(self, setup: Callable[[Outbox, Name], Awaitable[None] | None], name: Name) -> None:
        """Do nothing: streams are made when the record is first looked at."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Refuse, as ``naming`` does."""
        raise _not_rebuilt()
        yield

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Outbox]:
        """Return changes that take back what the stream still has."""

        def clear(outbox: Outbox) -> None:
            outbox.purge = True

        return clear

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Outbox]:
        """Refuse, as ``naming`` does."""
        raise _not_rebuilt()


def _subject(key: str) -> str:
    return CHECKPOINTS.subjects[0].replace("*", key)


def _unavailable(error: BusUnavailable) -> ModelUnavailable:
    return ModelRefused(str(error)) if isinstance(error, Misfit) else ModelUnavailable(str(error))


def _not_rebuilt() -> ModelRefused:
    return ModelRefused("what was published stays; reset --to 0 takes it back and publishes all anew")
