"""Snapshots: states kept beside the log so that a long stream need not be replayed. A cache, never the truth."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

from eventstore._errors import InvalidInput
from eventstore._values import Position, StreamId, Token, Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventstore._store import Bound

S = TypeVar("S")


class Snapshot(msgspec.Struct, frozen=True):
    """The state of a stream at the end of one of its commits."""

    stream: StreamId
    version: Version
    position: Position
    #: The latest occurred time up to here, in microseconds since the epoch. Like version and position it never falls
    #: along a stream, so that the newest snapshot within a bound is found on either clock.
    occurred: int
    log_id: str
    #: Names the format of the state and what the codec makes of old events; under another tag it is not read.
    tag: str
    state: bytes
    #: The commit ids up to here, as ``CommitIds`` keeps them.
    commits: bytes


class SnapshotStore(Protocol):
    """Keeps several snapshots of a stream. ``eventstore.testing.SnapshotContract`` proves what follows.

    A snapshot saved is found by every later ``load`` until it is replaced by one of the same stream and version.
    Losing snapshots costs time only. Errors are ``StoreUnavailable`` or its children.
    """

    async def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, in place of one of the same stream and version."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        """Return the newest snapshot of this log and tag within a bound, None when there is none."""


class MemorySnapshots:
    """Keeps snapshots in memory, those of the streams used last: ``streams`` says of how many."""

    def __init__(self, *, streams: int = 1_000) -> None:
        self._kept: OrderedDict[StreamId, dict[int, Snapshot]] = OrderedDict()
        self._streams = streams

    async def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self._kept.setdefault(snapshot.stream, {})[snapshot.version] = snapshot
        self._kept.move_to_end(snapshot.stream)
        if len(self._kept) > self._streams:
            self._kept.popitem(last=False)

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        """Return the newest one within a bound."""
        if stream in self._kept:
            self._kept.move_to_end(stream)
        fitting = (
            kept
            for kept in self._kept.get(stream, {}).values()
            if kept.log_id == log_id
            and kept.tag == tag
            and bound.admits(version=kept.version, position=kept.position, occurred=kept.occurred)
        )
        return max(fitting, key=lambda kept: kept.version, default=None)


class CommitIds(msgspec.Struct, frozen=True):
    """The ids of a stream's commits, 8 bytes of each, so that a command that was carried out is recognised for ever.

    Each entry is those 8 bytes and the commit's first version; a hit is confirmed by reading that commit.
    """

    entries: bytes = b""

    @staticmethod
    def entry(commit_id: bytes, first_version: int) -> bytes:
        """Return the entry of one commit."""
        return commit_id[:8] + first_version.to_bytes(8, "big")

    def candidates(self, commit_id: bytes) -> list[Version]:
        """Return the first versions of the commits that may have this id, as a rule none or one."""
        found: list[Version] = []
        at = self.entries.find(commit_id[:8])
        while at >= 0:
            if at % 16 == 0:
                found.append(Version(int.from_bytes(self.entries[at + 8 : at + 16], "big")))
            at = self.entries.find(commit_id[:8], at + 1)
        return found


class Folded(msgspec.Struct, Generic[S], frozen=True):
    """The state of a stream at a version."""

    state: S
    log_id: str
    version: Version
    position: Position
    #: The latest occurred time so far, in microseconds since the epoch.
    occurred: int
    commit_ids: CommitIds
    #: True when no later append can change this answer to what was asked.
    final: bool = False

    @property
    def token(self) -> Token:
        """The position as a wait token."""
        return Token(self.log_id, self.position)


class Snapshots(Generic[S]):
    """How a decider's states are kept: where, how often, and as which bytes.

    Besides, the newest state of the streams used last stays in memory as it is, which is safe as long as ``evolve``
    returns new states instead of changing old ones.

    Args:
        store: where snapshots go.
        dump: turns a state into bytes.
        load: turns them back.
        format: names the form of the state; change it whenever ``dump`` or the meaning of the state changes.
        every: so many events lie between two snapshots of a stream; 100 to 1,000 is sensible.
        live: so many newest states are kept in memory; 0 keeps none.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        dump: Callable[[S], bytes],
        load: Callable[[bytes], S],
        format: str,
        every: int = 500,
        live: int = 256,
    ) -> None:
        if every < 1:
            raise InvalidInput("every", f"expected at least 1 event between snapshots, got {every}")
        self.store: Final = store
        self.dump: Final = dump
        self.load: Final = load
        self.format: Final = format
        self.every: Final = every
        self._live: Final = live
        self._newest: OrderedDict[tuple[str, str, StreamId], Folded[S]] = OrderedDict()

    def newest(self, log_id: str, tag: str, stream: StreamId) -> Folded[S] | None:
        """Return the state kept in memory."""
        return self._newest.get((log_id, tag, stream))

    def keep(self, log_id: str, tag: str, stream: StreamId, folded: Folded[S]) -> None:
        """Keep a state in memory unless a newer one is there."""
        key = (log_id, tag, stream)
        known = self._newest.get(key)
        if known is None or known.version < folded.version:
            self._newest[key] = folded
        if key in self._newest:
            self._newest.move_to_end(key)
        while len(self._newest) > self._live:
            self._newest.popitem(last=False)
