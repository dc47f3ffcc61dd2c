"""The values that every part of the event store speaks in. All are frozen; times are aware datetimes in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NewType, TypeAlias

import msgspec

from eventstore._errors import InvalidInput

Version = NewType("Version", int)
"""How many events a stream holds; 0 is a stream that does not exist."""

Position = NewType("Position", int)
"""Where a commit stands in its log. Rises strictly along the log, may have gaps; 0 is before the first commit."""

BEGINNING: Final = Position(0)
"""Before the first commit of a log."""

NO_STREAM: Final = Version(0)
"""Expect the stream not to exist."""

EXISTS: Final = "exists"
"""Expect the stream to hold at least one event, whichever its version."""

ANY: Final = "any"
"""Expect nothing. Two appends under ANY never conflict; their order is the log's business."""

Expected: TypeAlias = "Version | int | Literal['exists', 'any']"
"""What an appender believes the stream's version to be."""

MAX_ID_BYTES: Final = 255
MAX_CATEGORY_BYTES: Final = 64
COMMIT_ID_BYTES: Final = 16

_CATEGORY = re.compile(r"[a-z][a-z0-9_]*")
# C0, DEL and C1: no id of a person or a program holds one by intent, and each breaks a log line or a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_MAX_NUMBER: Final = 2**63 - 1
NEVER: Final = -(2**63)
"""Before every time, in microseconds since the epoch."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime, field: str = "moment") -> int:
    """Return microseconds since the Unix epoch.

    Raises:
        InvalidInput: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise InvalidInput(field, f"expected a datetime with a time zone, got {moment!r}")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment that lies so many microseconds after the Unix epoch, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def checked_text(value: object, field: str) -> str:
    """Return a value that is text.

    Raises:
        InvalidInput: it is something else, which the type checker of an untyped caller did not see.
    """
    if not isinstance(value, str):
        raise InvalidInput(field, f"expected text, got {value!r:.80}")
    return value


def checked_number(value: object, field: str) -> int:
    """Return a value that can be a version or a position.

    Raises:
        InvalidInput: it is no integer from 0 to 2**63 - 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
        raise InvalidInput(field, f"expected a number from 0 to 2**63 - 1, got {value!r:.80}")
    return value


class StreamId(msgspec.Struct, frozen=True, order=True):
    """Names the stream of one entity.

    The category is one token ``[a-z][a-z0-9_]*`` of at most 64 bytes. The id is any text of 1 to 255 bytes of UTF-8
    without control characters: dots, spaces, slashes and emoji are as good as letters on every backend.

    Raises:
        InvalidInput: one of the two is not such a text; the error names it.
    """

    category: str
    id: str

    def __post_init__(self) -> None:
        if not _CATEGORY.fullmatch(checked_text(self.category, "category")):
            raise InvalidInput("category", f"expected a token [a-z][a-z0-9_]*, got {self.category!r}")
        if len(self.category) > MAX_CATEGORY_BYTES:
            raise InvalidInput("category", f"expected at most {MAX_CATEGORY_BYTES} bytes, got {len(self.category)}")
        if not checked_text(self.id, "id"):
            raise InvalidInput("id", "expected a text that is not empty")
        if found := _CONTROL.search(self.id):
            raise InvalidInput("id", f"expected no control characters, got {found.group()!r} in {self.id[:80]!r}")
        try:
            size = len(self.id.encode())
        except UnicodeEncodeError:
            raise InvalidInput("id", f"expected text that UTF-8 can encode, got {self.id[:80]!r}") from None
        if size > MAX_ID_BYTES:
            raise InvalidInput("id", f"expected at most {MAX_ID_BYTES} bytes of UTF-8, got {size}")

    def __str__(self) -> str:
        return f"{self.category} {self.id!r}"


class Token(msgspec.Struct, frozen=True):
    """A position that knows its log: a checkpoint, or what a reader waits for. Its text is ``<log id>:<position>``."""

    log_id: str
    position: Position

    def __str__(self) -> str:
        return f"{self.log_id}:{self.position}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token from its text.

        Raises:
            InvalidInput: the text is no token.
        """
        log_id, _, position = text.rpartition(":")
        if not log_id or not re.fullmatch(r"[0-9]{1,19}", position):
            raise InvalidInput("token", f"expected <log id>:<position>, got {text[:80]!r}")
        return cls(log_id, Position(int(position)))


class Appended(msgspec.Struct, frozen=True):
    """What an append answers: the stream's version after it, and where in which log it stands."""

    log_id: str
    version: Version
    position: Position

    @property
    def token(self) -> Token:
        """The position as a wait token."""
        return Token(self.log_id, self.position)


class NewCommit(msgspec.Struct, frozen=True):
    """A commit on its way to a backend: the envelope's bytes, and the facts a backend needs without parsing them."""

    stream: StreamId
    #: The version the stream must have for the commit to be stored.
    expected: Version
    #: How many events the envelope holds; at least 1.
    count: int
    commit_id: bytes
    envelope: bytes
    #: Microseconds since the epoch; present in a commit that comes from another log.
    recorded_at: int | None = None


class RawCommit(msgspec.Struct, frozen=True):
    """A stored commit as a backend gives it."""

    stream: StreamId
    position: Position
    #: Microseconds since the Unix epoch.
    recorded_at: int
    envelope: bytes


class Tail(msgspec.Struct, frozen=True):
    """The end of a stream: its version and the position of its last commit, both 0 when there is no stream."""

    version: Version
    position: Position


class Progress(msgspec.Struct, frozen=True):
    """Yielded by a follow: everything up to ``position`` has been yielded or filtered out."""

    position: Position
    #: True when there was nothing after the position a moment ago.
    caught_up: bool
    #: When the commit at the position was recorded, in microseconds since the epoch, where it was filtered out; else 0.
    recorded_micros: int = 0


class AtVersion(msgspec.Struct, frozen=True):
    """The state a stream had when it held at most so many events."""

    version: int


class AtPosition(msgspec.Struct, frozen=True):
    """The state a stream had when the log reached so far."""

    position: int


class Recorded(msgspec.Struct, frozen=True):
    """The state recorded until the moment: before the first commit of the log that was recorded after it."""

    moment: datetime


class Occurred(msgspec.Struct, frozen=True):
    """The state before the stream's first event that occurred after the moment.

    An event without an occurred time of its own occurred when it was recorded.
    """

    moment: datetime


Until: TypeAlias = "AtVersion | AtPosition | Recorded | Occurred"
"""A bound on reading a stream. A bound inside a commit gives the state before that commit."""


class StreamInfo(msgspec.Struct, frozen=True):
    """One line of a list of streams."""

    stream: StreamId
    version: Version
    #: Position of the stream's last commit.
    position: Position
    #: Microseconds since the Unix epoch, of the stream's last commit.
    recorded_at: int


class Moment(msgspec.Struct, frozen=True):
    """Where a recorded time falls in the log: the last position recorded at or before it."""

    position: Position
    #: True when a commit recorded later stands behind it. Until then one may still come in at or before the time: from
    #: a writer that has read its clock, or from another log.
    final: bool
