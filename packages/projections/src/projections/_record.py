"""The record beside each view: how far it is, who writes it, what went wrong and what was decided about that."""

from __future__ import annotations

import time

import msgspec
from eventstore import Position, StreamId, Token


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which event failed, and why."""

    position: int
    #: Empty where the bytes at the position are no commit at all.
    category: str = ""
    id: str = ""
    version: int = 0
    type: str = ""
    reason: str = ""

    def __str__(self) -> str:
        event = f"{self.type or 'no event'} at version {self.version} of stream {self.category} {self.id!r}"
        return f"position {self.position}, {event}: {self.reason}"

    @property
    def stream(self) -> StreamId:
        """The stream of the event."""
        return StreamId(self.category, self.id)


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that somebody decided to leave behind."""

    place: Place
    #: What they said.
    reason: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one view.

    It changes only together with the view, by comparison with the revision that its writer has seen.
    """

    log_id: str
    #: The last position that the view contains.
    position: int = 0
    #: When the commit there was recorded, in microseconds since the epoch.
    recorded_at: int = 0
    #: Commits and batches that were applied, ever.
    commits: int = 0
    batches: int = 0
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


def seconds_behind(record: Record, head: int) -> float:
    """Return the age of a view's newest commit while the log has newer ones, by this machine's clock."""
    # A view without commits has nothing to count from.
    if head <= record.position or not record.recorded_at:
        return 0.0
    return max(time.time() - record.recorded_at / 1e6, 0.0)


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Record).decode


def to_bytes(record: Record) -> bytes:
    """Return a record as it is kept: JSON, so that people can read it where it lies."""
    return _encode(record)


def from_bytes(data: bytes) -> Record:
    """Return a kept record."""
    return _decode(data)
