"""The record beside each view: how far it is, who writes it, what went wrong and what was decided about that."""

from __future__ import annotations

import time

import msgspec
from eventstore import Position, StreamId, Token


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which event failed, and why; or which commit, where each of its events could be applied by itself."""

    position: int
    #: Empty where the bytes at the position are no commit at all.
    category: str = ""
    id: str = ""
    version: int = 0
    #: Of the commit whose last event has that version, where no single event is to blame; else 0.
    first_version: int = 0
    #: Empty where no single event is to blame.
    type: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"position {self.position}, {self._what()}: {self.reason}"

    def _what(self) -> str:
        if not self.category:
            return "no commit"
        stream = f"of stream {self.category} {self.id!r}"
        if self.first_version:
            return f"versions {self.first_version} to {self.version} {stream}"
        return f"{self.type} at version {self.version} {stream}"

    @property
    def stream(self) -> StreamId:
        """The stream of the event."""
        return StreamId(self.category, self.id)


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that somebody decided to leave behind."""

    place: Place
    #: What they said.
    reason: str
    #: Of a dead letter: what comes later in its stream waits for it.
    parks: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one view.

    It changes only together with the view, by comparison with the revision that its writer has seen.
    """

    log_id: str
    #: The last position that the view contains.
    position: int = 0
    #: Up to when the view is known to have all that the log has, in microseconds since the epoch: when it was last seen
    #: to be at the log's end, or when the commit at its position was recorded; while it is at the end, at most a third
    #: of a lease ago.
    as_of: int = 0
    #: How many were applied, ever.
    commits: int = 0
    #: Another one whenever the view becomes another: a rebuild took its place, or a reset emptied it.
    generation: int = 0
    #: The last change of the view that was no batch, a replay, a reset or a swap, by a name that no other one has.
    change: str = ""
    #: Who writes now, a name nobody else has; empty when nobody does.
    holder: str = ""
    #: How often another one has taken over.
    epoch: int = 0
    #: Seconds between two signs of life of the holder, at most a third of what others wait before they take over.
    lease: float = 0.0
    paused: bool = False
    #: Written by a rebuild that compares or swaps: so long nobody else writes.
    held: str = ""
    failure: Place | None = None
    #: What is to be done about the failure: ``retry``, ``skip`` or ``dead-letter``; empty while nobody has said.
    verdict: str = ""
    verdict_reason: str = ""
    skipped: tuple[Passed, ...] = ()
    dead: tuple[Passed, ...] = ()

    @property
    def checkpoint(self) -> Token:
        """The last position that the view contains, as a token."""
        return Token(self.log_id, Position(self.position))


def key_of_rebuild(projection: str) -> str:
    """Return the key of the record of a projection's rebuilds, which no projection can have as its name."""
    return f"{projection}~rebuild"


def seconds_behind(record: Record, head: int) -> float:
    """Return how long ago a view was known to have all that the log has, 0 where it has, by this machine's clock."""
    # A view that was never there has nothing to count from.
    if head <= record.position or not record.as_of:
        return 0.0
    return max(now_micros() - record.as_of, 0) / 1e6


def now_micros() -> int:
    """Return this machine's time in microseconds since the epoch."""
    return time.time_ns() // 1_000


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Record).decode


def to_bytes(record: Record) -> bytes:
    """Return a record as it is kept: JSON, so that people can read it where it lies."""
    return _encode(record)


def from_bytes(data: bytes) -> Record:
    """Return a kept record."""
    return _decode(data)
