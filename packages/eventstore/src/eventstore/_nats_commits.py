"""How a message that JetStream has stored becomes a commit."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from eventstore._nats_batches import header_value
from eventstore._nats_names import stream_of
from eventstore._values import Position, RawCommit, StreamId

if TYPE_CHECKING:
    from eventstore._nats_batches import Frame

# Only on commits that come from another log: when that one recorded them, in microseconds since the epoch.
RECORDED_AT: Final = "Recorded-At"
# The sequence of the last message that the stream's subject had when a commit was stored; 0 for none.
GUARD: Final = "Nats-Expected-Last-Subject-Sequence"
_GUARD: Final = GUARD.encode()
_RECORDED_AT: Final = RECORDED_AT.encode()
_KNOWN_SUBJECTS: Final = 65_536
# So many no time has: what a stranger writes there is none.
_DIGITS: Final = 18


class _NoStream(StreamId, frozen=True):
    """What stands in a subject that no stream has."""

    def __post_init__(self) -> None:
        pass


class Commits:
    """Makes commits of the messages under one prefix, and remembers which stream a subject names."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[bytes, StreamId] = {}

    def of_message(self, subject: bytes, sequence: int, stored_at: int, header: bytes, payload: bytes) -> RawCommit:
        """Return the commit of a message that was stored at a time, in microseconds since the epoch."""
        stream = self._names.get(subject) or self._name_of(subject)
        if stream is None:
            # Whatever the bytes are, they are no commit: a reader that wants this category finds no envelope here.
            words = subject.decode(errors="replace").removeprefix(f"{self._prefix}.")
            stream, payload = _NoStream(*words.split(".", 1)), b""
        recorded_at = recorded_at_of(header, stored_at) if _RECORDED_AT in header else stored_at
        return RawCommit(stream, Position(sequence), recorded_at, payload)

    def of_direct_get(self, frame: Frame) -> RawCommit:
        """Return the commit of an answer to a direct get."""
        header = frame.header
        subject = header_value(header, b"Nats-Subject")
        return self.of_message(subject, sequence_of(header), _stored_at(header), header, frame.payload)

    @staticmethod
    def follows(frame: Frame, sequence: int) -> bool:
        """Say whether a message that came by a direct get is the next of its stream after a sequence, 0 for none.

        A message that no event store has written tells nothing, and so does not.
        """
        return header_value(frame.header, _GUARD) == b"%d" % sequence

    def of_leader_get(self, message: dict[str, Any]) -> RawCommit:
        """Return the commit of what the leader answers, JSON of base64."""
        payload = base64.b64decode(message.get("data") or "")
        header = base64.b64decode(message.get("hdrs") or "")
        subject, stored_at = message["subject"].encode(), _micros_of_text(message["time"])
        return self.of_message(subject, message["seq"], stored_at, header, payload)

    def _name_of(self, subject: bytes) -> StreamId | None:
        # Unescaping and checking a name costs more than all the rest of a replayed commit.
        stream = stream_of(self._prefix, subject.decode(errors="replace"))
        if stream is not None:
            if len(self._names) >= _KNOWN_SUBJECTS:
                self._names.clear()
            self._names[subject] = stream
        return stream


def sequence_of(header: bytes) -> int:
    """Return the sequence of a message that came by a direct get."""
    return int(header_value(header, b"Nats-Sequence"))


def direct_recorded_at(frame: Frame) -> int:
    """Return when a commit that came by a direct get was recorded."""
    return recorded_at_of(frame.header, _stored_at(frame.header))


def recorded_at_of(header: bytes, stored_at: int) -> int:
    """Return when a commit was recorded: when it was stored, unless it comes from another log and says so."""
    value = header_value(header, _RECORDED_AT)
    try:
        recorded_at = int(value) if len(value) < _DIGITS else 0
    except ValueError:
        return stored_at
    return recorded_at or stored_at


def _stored_at(header: bytes) -> int:
    return _micros_of_text(header_value(header, b"Nats-Time-Stamp").decode())


def _micros_of_text(text: str) -> int:
    """Return microseconds since the epoch of a time as the server writes it, whose nanoseconds Python cannot read."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000 + int(f"{fraction:0<6}"[:6])
