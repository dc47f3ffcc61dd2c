"""Every error the event store raises, in one tree.

::

    EventStoreError
    ├── InvalidInput            the caller passed something that cannot be stored; nothing was
    │   └── TooLarge            a commit over the limit
    ├── Conflict                the stream is not where the appender believed; read again and decide again
    ├── Undecodable             an event's bytes or type mean nothing to this codec; its raw form is still there
    ├── CorruptCommit           stored bytes that are no envelope; read on after its position, or restore
    ├── WrongLog                a checkpoint, token or snapshot of another log
    ├── UnknownPosition         a position this log has not reached: it was restored from an older copy
    ├── SegmentError            a file that is no segment, is damaged, or does not belong to the log it is read into
    └── StoreUnavailable        the store cannot be reached or written now; the append may be retried with its commit id
        ├── StoreNotFound       there is none at this address and it was not to be created
        ├── NotAStore           something else lives at this address
        ├── ReadOnly            the store can be read, not written
        ├── StoreFull           no room is left
        └── StoreClosed         used before it was opened or after it was closed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventstore._values import Position, StreamId, Version


class EventStoreError(Exception):
    """Root of all errors of this package."""


class InvalidInput(EventStoreError, ValueError):
    """The caller passed something that cannot be stored or understood; nothing was stored.

    Attributes:
        field: which argument, in words a caller knows.
        problem: what was expected and what came.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class TooLarge(InvalidInput):
    """A commit's envelope is over the limit that holds on every backend. Split the commit or store a reference."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__("commit", f"expected an envelope of at most {limit:,} bytes, got {size:,}")
        self.size = size
        self.limit = limit


class Conflict(EventStoreError):
    """The stream's version is not the expected one: somebody else wrote. Read again and decide again."""

    def __init__(self, stream: StreamId, expected: object, actual: Version) -> None:
        super().__init__(f"stream {stream}: expected version {expected}, found {actual}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class Undecodable(EventStoreError):
    """A stored event's type is not registered or its payload does not parse. ``event.raw`` still gives its bytes."""

    def __init__(self, stream: StreamId, *, version: int, position: int, type: str, schema: int, reason: str) -> None:
        super().__init__(
            f"stream {stream}, version {version}, position {position}: cannot decode {type} schema {schema}: {reason}"
        )
        self.stream = stream
        self.version = version
        self.position = position
        self.type = type
        self.schema = schema
        self.reason = reason


class CorruptCommit(EventStoreError):
    """The bytes stored at a position are no envelope. Reading may go on in a new call after that position."""

    def __init__(self, stream: StreamId, position: Position, reason: str) -> None:
        super().__init__(f"position {position}, stream {stream}: not an envelope: {reason}")
        self.stream = stream
        self.position = position
        self.reason = reason


class WrongLog(EventStoreError):
    """A token, checkpoint or snapshot belongs to another log; its position means nothing here."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"position of log {actual} used with log {expected}")
        self.expected = expected
        self.actual = actual


class UnknownPosition(EventStoreError):
    """The log has not reached this position: it is a restored copy that lacks what the reader has already seen."""

    def __init__(self, position: int, head: int) -> None:
        super().__init__(f"position {position} is after the head {head} of the log")
        self.position = position
        self.head = head


class SegmentError(EventStoreError):
    """A file is no segment, is damaged, or holds another history than the log it is read into."""


class StoreUnavailable(EventStoreError):
    """The store cannot be reached or written now.

    Whether an append that met this error was stored is unknown; appended again with the same commit id and expected
    version it is stored once.
    """


class StoreNotFound(StoreUnavailable):
    """There is no store at this address, and it was not to be created."""


class NotAStore(StoreUnavailable):
    """What lives at this address is not an event store, or one of a format this version does not know."""


class ReadOnly(StoreUnavailable):
    """The store can be read but not written by this process."""


class StoreFull(StoreUnavailable):
    """No room is left where the store lives."""


class StoreClosed(StoreUnavailable):
    """The store was used before it was opened or after it was closed."""
