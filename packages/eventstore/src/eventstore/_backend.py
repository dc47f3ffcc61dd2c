"""The contract between the store and what keeps its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, Self

from eventstore._values import BEGINNING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from eventstore._values import (
        Appended,
        Moment,
        NewCommit,
        Position,
        Progress,
        RawCommit,
        StreamId,
        StreamInfo,
        Tail,
        Version,
    )

#: So many appends that come at once are stored whole or not at all by a backend with transactions. Who fills a log
#: sends no more at once, so that what is there after a failure is a beginning.
AT_ONCE: Final = 1_000


class Backend(Protocol):
    """Keeps commits as bytes. ``EventStore`` does everything else, so a backend is these few verbs.

    What follows holds for every backend; ``eventstore.testing.BackendContract`` proves it.

    Atomicity
        A commit is stored and seen whole or not at all, whatever fails. A refused commit leaves no trace.
    Order
        All commits stand in one order, that of their positions, which every reader sees. Appends called on one handle
        one after the other are stored in the order of the calls, also when they are not awaited in between, as far as
        they are not refused and a network does not make a backend send one again.
    Numbering
        A stream's version is the number of events it holds. A commit with ``expected`` v and ``count`` n is stored only
        when the version is v, and makes it v + n. Positions start at 1 or later, rise strictly and may have gaps.
    Visibility
        Once ``append`` has returned, every later ``tail``, ``read``, ``log`` and ``head`` through any handle sees the
        commit. A reader that has seen a position never later finds a new commit at or before it.
    Idempotency
        When the version is not v, but the commit stored after version v has this ``commit_id``, the append answers what
        the first one answered. Otherwise it raises ``Conflict`` with the actual version.
    Time
        ``recorded_at`` is the backend's clock at the append, or the time the commit brings when it comes from another
        log. Memory and SQLite never let it fall along the log: max(that time, the last one).
    Errors
        ``Conflict`` for a wrong version; ``StoreUnavailable`` or a child when the commit could not be stored or its
        fate is unknown; ``UnknownPosition`` from ``log`` and ``follow`` when ``after`` lies beyond the head. No error
        of a driver gets out. A call that is cancelled may still take effect.

    Entering the context opens the log and does all first I/O; leaving it waits for appends under way, then closes.
    """

    @property
    def log_id(self) -> str:
        """The log's name for ever: made when the log is created, kept by byte copies only."""

    async def append(self, commit: NewCommit) -> Appended:
        """Store a commit under its guard."""

    async def tail(self, stream: StreamId) -> Tail:
        """Return where the stream ends."""

    def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        """Yield the stream's commits that hold an event after a version, in order, in chunks of bounded size.

        ``position`` is where the commit that made that version stands, when the caller knows: it saves a backend that
        finds commits by position the search.
        """

    def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        """Yield the log's commits after a position up to the head of this moment or later, in chunks; then stop."""

    def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        """Yield the log's commits after a position as they are stored, without end.

        When nothing is left a ``Progress`` says so, and again at least every second while nothing comes. A reader that
        does not take what came holds up nothing but itself.
        """

    async def head(self) -> Position:
        """Return the position of the log's last commit, 0 when it has none."""

    async def position_at(self, recorded_at: int) -> Moment:
        """Return the last position before the first commit recorded after a time (microseconds since the epoch)."""

    def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        """Yield the streams, of one category or all, sorted by category and id, in chunks."""

    async def describe(self) -> Mapping[str, str | int]:
        """Return facts for people: where the log lives and what an acknowledgement means."""

    async def __aenter__(self) -> Self:
        """Open the log."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log."""
