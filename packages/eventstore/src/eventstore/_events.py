"""Commits and events as a reader gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from google.protobuf.message import Message

from eventstore._codec import CannotDecode, EventCodec, Payload
from eventstore._envelope import Metadata
from eventstore._errors import Undecodable
from eventstore._values import Position, RawCommit, StreamId, Version, from_micros
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Commit(msgspec.Struct, frozen=True):
    """The events of one append, which were stored and are seen whole."""

    stream: StreamId
    position: Position
    #: Version of the stream after the first event.
    first_version: Version
    #: Version of the stream after the last event.
    version: Version
    commit_id: bytes
    #: Microseconds since the Unix epoch; ``recorded_at`` has it as a datetime.
    recorded_micros: int
    _envelope: envelope_pb2.Envelope
    #: The envelope's events: a list is iterated in a third of the time that their container takes.
    _stored: list[envelope_pb2.StoredEvent]
    _codec: EventCodec

    @property
    def recorded_at(self) -> datetime:
        """When the log recorded the commit."""
        return from_micros(self.recorded_micros)

    @property
    def metadata(self) -> Metadata:
        """Who and what led to it."""
        stored = self._envelope.metadata
        return Metadata(
            actor=stored.actor,
            correlation_id=stored.correlation_id,
            causation_id=stored.causation_id,
            traceparent=stored.traceparent,
            tracestate=stored.tracestate,
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """The events in order. Never raises: an event that does not decode raises when its message is asked for."""
        fans_out = self._codec.fans_out
        found: list[Event] = []
        for version, stored in enumerate(self._stored, self.first_version):
            if fans_out(stored.type, stored.schema):
                found.extend(self._fan_out(version, stored))
            else:
                found.append(Event(self, Version(version), 0, stored))
        return tuple(found)

    def until(self, version: int) -> Commit:
        """Return the commit as it would be if it ended with one of its versions, to find which event is at fault."""
        stored = self._stored[: version - self.first_version + 1]
        return msgspec.structs.replace(self, version=Version(version), _stored=stored)

    def _fan_out(self, version: int, stored: envelope_pb2.StoredEvent) -> list[Event]:
        single = Event(self, Version(version), 0, stored)
        try:
            messages = single.decode()
        except Undecodable:
            return [single]
        return [Event(self, Version(version), index, stored, message) for index, message in enumerate(messages)]


class Event(msgspec.Struct, frozen=True):
    """A fact. Its identity is (stream, version, index)."""

    commit: Commit
    #: Version of the stream after this event.
    version: Version
    #: Counts the messages that one stored event has become under the codec; 0 as a rule.
    index: int
    _stored: envelope_pb2.StoredEvent
    _message: Message | None = None

    @property
    def stream(self) -> StreamId:
        """The stream it belongs to."""
        return self.commit.stream

    @property
    def position(self) -> Position:
        """Where its commit stands in the log."""
        return self.commit.position

    @property
    def recorded_at(self) -> datetime:
        """When the log recorded it."""
        return self.commit.recorded_at

    @property
    def occurred_at(self) -> datetime:
        """When the fact occurred: as its writer said, else when it was recorded."""
        return from_micros(occurred_micros(self._stored, self.commit.recorded_micros))

    @property
    def raw(self) -> Payload:
        """The stored type, schema and bytes. Always there."""
        stored = self._stored
        return Payload(stored.type, stored.schema, stored.payload)

    @property
    def message(self) -> Message:
        """The event as today's protobuf message, decoded anew at each call.

        Raises:
            Undecodable: the codec does not know the type and schema, or the bytes do not parse.
        """
        return self._message if self._message is not None else self.decode()[0]

    def decode(self) -> Sequence[Message]:
        """Return every message the stored event has become; ``message`` is the one at ``index``."""
        return decode(self.commit, self._stored, self.version)


def occurred_micros(stored: envelope_pb2.StoredEvent, recorded_micros: int) -> int:
    """Return when a stored event occurred, in microseconds since the epoch."""
    return stored.occurred_at if stored.HasField("occurred_at") else recorded_micros


def latest_occurred(commit: Commit, so_far: int) -> int:
    """Return the latest time at which an event of a commit occurred, or the one so far when that is later."""
    for stored in commit._stored:  # noqa: SLF001 (one module)
        at = occurred_micros(stored, commit.recorded_micros)
        if at > so_far:  # noqa: PLR1730 (half the time of max() in the hottest loop of all)
            so_far = at
    return so_far


def messages(commit: Commit) -> list[Message]:
    """Decode all events of a commit.

    Raises:
        Undecodable: an event means nothing to the codec.
    """
    found: list[Message] = []
    for version, stored in enumerate(commit._stored, commit.first_version):  # noqa: SLF001 (one module)
        found += decode(commit, stored, version)
    return found


def decode(commit: Commit, stored: envelope_pb2.StoredEvent, version: int) -> Sequence[Message]:
    """Decode a stored event of a commit.

    Raises:
        Undecodable: with the place of the event.
    """
    type, schema = stored.type, stored.schema
    try:
        return commit._codec.decode(Payload(type, schema, stored.payload))  # noqa: SLF001 (one module)
    except CannotDecode as error:
        raise Undecodable(
            commit.stream, version=version, position=commit.position, type=type, schema=schema, reason=str(error)
        ) from None


def to_commit(raw: RawCommit, envelope: envelope_pb2.Envelope, codec: EventCodec) -> Commit:
    """Return a parsed commit as a reader gets it."""
    first, stored = envelope.first_version, envelope.events[:]
    return Commit(
        raw.stream,
        raw.position,
        Version(first),
        Version(first + len(stored) - 1),
        envelope.commit_id,
        raw.recorded_at,
        envelope,
        stored,
        codec,
    )
