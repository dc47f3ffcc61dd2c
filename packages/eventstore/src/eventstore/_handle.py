"""From a command to the events it causes, and from events to a state: the same fold for now and for any past moment."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
from google.protobuf.message import Message

from eventstore._envelope import NO_METADATA, Metadata, new_commit_id
from eventstore._errors import Conflict, InvalidInput, StoreUnavailable
from eventstore._events import Commit, messages
from eventstore._snapshots import CommitIds, Folded, Snapshot, Snapshots
from eventstore._store import Bound, EventStore, StreamReading
from eventstore._values import NEVER, Position, StreamId, Token, Until, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Message)

_log = logging.getLogger("eventstore")

# On one stream each round has a winner, so so many rivals at once are served; more want another stream.
ROUNDS: Final = 50


class Decider(Generic[C, S, E]):
    """The domain logic of one category of streams, in two pure functions.

    Args:
        category: of its streams.
        initial: the state before the first event.
        decide: returns the events a command causes in a state, none when it changes nothing; raises what it likes to
            refuse. It must depend on nothing else: generated ids and the time belong into the command.
        evolve: returns the state after an event, leaving the old one as it was.
        snapshots: how states are kept; without it every use replays the stream.
    """

    def __init__(
        self,
        category: str,
        *,
        initial: S,
        decide: Callable[[C, S], Sequence[E]],
        evolve: Callable[[S, E], S],
        snapshots: Snapshots[S] | None = None,
    ) -> None:
        self.category: Final = category
        self.initial: Final = initial
        self.decide: Final = decide
        self.evolve: Final = evolve
        self.snapshots: Final = snapshots


class Handled(msgspec.Struct, Generic[S], frozen=True):
    """What became of a command."""

    #: The state after it.
    state: S
    log_id: str
    #: Of the stream after it. A command without events leaves both as they were.
    version: Version
    position: Position
    #: The messages it caused, as they are stored.
    events: tuple[Message, ...]
    #: True when the command had been carried out before, so that nothing was done now.
    repeated: bool

    @property
    def token(self) -> Token:
        """The position as a wait token."""
        return Token(self.log_id, self.position)


async def fold(
    store: EventStore,
    decider: Decider[C, S, E],
    id: str,
    *,
    until: Until | None = None,
) -> Folded[S]:
    """Return the state of a stream, now or as of a bound, starting from the nearest snapshot.

    A stream that does not exist within the bound gives the initial state and version 0.

    Raises:
        Undecodable: an event on the way means nothing to the codec.
        CorruptCommit: stored bytes on the way are no envelope.
        StoreUnavailable: the log cannot be read. Failing snapshots are logged and done without.
    """
    stream = StreamId(decider.category, id)
    bound = await store.resolve(until)
    folding = _Folding(store, decider, stream)
    return await folding.run(await folding.start(bound), bound)


class _Folding(Generic[C, S, E]):
    """The fold of one stream, with its snapshots."""

    def __init__(self, store: EventStore, decider: Decider[C, S, E], stream: StreamId) -> None:
        self._store = store
        self._decider = decider
        self._stream = stream
        self._snapshots = decider.snapshots
        #: Whether snapshots were looked at since the last start.
        self._looked = False
        #: The messages of the last commit that was folded.
        self.last: list[Message] = []
        self._tag = f"{decider.snapshots.format}|{store.codec.tag}" if decider.snapshots else ""

    async def start(self, bound: Bound) -> Folded[S]:
        """Return the state to fold on from: the one in memory if it is within a bound, else the newest snapshot."""
        live = self._snapshots.newest(self._store.log_id, self._tag, self._stream) if self._snapshots else None
        if live and bound.admits(version=live.version, position=live.position, occurred=live.occurred):
            # Other processes may be far ahead of it, and have left snapshots on their way.
            self._looked = False
            return live
        return await self._kept(bound)

    async def _kept(self, bound: Bound) -> Folded[S]:
        """Return the newest snapshot within a bound; the initial state where there is none that can be used."""
        self._looked = True
        nothing = Folded(self._decider.initial, self._store.log_id, Version(0), Position(0), NEVER, CommitIds())
        if self._snapshots is None:
            return nothing
        try:
            kept = await self._snapshots.store.load(self._stream, log_id=self._store.log_id, tag=self._tag, bound=bound)
            if kept is None:
                return nothing
            state = self._snapshots.load(kept.state)
        except StoreUnavailable as error:
            _log.warning("snapshots of %s are not available: %s", self._stream, error)
            return nothing
        except Exception:  # noqa: BLE001 (whatever a damaged cache makes it raise, the log has the truth)
            _log.warning("the newest snapshot of %s cannot be loaded", self._stream, exc_info=True)
            return nothing
        return Folded(
            state,
            kept.log_id,
            kept.version,
            kept.position,
            kept.occurred,
            CommitIds(kept.commits),
        )

    async def run(self, base: Folded[S], bound: Bound) -> Folded[S]:
        """Fold what lies between a known state and a bound, leaving snapshots behind."""
        evolve = self._decider.evolve
        every = self._snapshots.every if self._snapshots else 0
        state, ids, mark = base.state, bytearray(base.commit_ids.entries), base.version
        reading = StreamReading(
            self._store, self._stream, base.version, bound, position=base.position, occurred=base.occurred
        )
        async for commit in reading:
            self.last = messages(commit)
            for message in self.last:
                state = evolve(state, message)  # type: ignore[arg-type]  # the codec's messages are the decider's
            ids += CommitIds.entry(commit.commit_id, commit.first_version)
            if every and reading.version // every > mark // every:
                if not self._looked and (kept := await self._kept(bound)).version > reading.version:
                    self._keep(kept)
                    return await self.run(kept, bound)
                mark = reading.version
                await self._save(self._folded(state, reading, ids))
        folded = base
        if reading.version != base.version:
            folded = self._folded(state, reading, ids)
            self._keep(folded)
        return msgspec.structs.replace(folded, final=True) if reading.final else folded

    def _folded(self, state: S, reading: StreamReading, ids: bytearray) -> Folded[S]:
        return Folded(
            state,
            self._store.log_id,
            reading.version,
            reading.position,
            reading.occurred,
            CommitIds(bytes(ids)),
        )

    def _keep(self, folded: Folded[S]) -> None:
        if self._snapshots is not None:
            self._snapshots.keep(self._store.log_id, self._tag, self._stream, folded)

    async def _save(self, folded: Folded[S]) -> None:
        snapshots = self._snapshots
        if snapshots is None:
            return
        try:
            await snapshots.store.save(
                Snapshot(
                    self._stream,
                    folded.version,
                    folded.position,
                    folded.occurred,
                    folded.log_id,
                    self._tag,
                    snapshots.dump(folded.state),
                    folded.commit_ids.entries,
                )
            )
        except StoreUnavailable as error:
            _log.warning("no snapshot of %s at version %d: %s", self._stream, folded.version, error)


def commit_id_of(stream: StreamId, command_id: str) -> bytes:
    """Return the commit id that a command id gives in a stream: 16 bytes of SHA-256 over both, each with its length.

    Raises:
        InvalidInput: the command id is empty, or no text that UTF-8 can encode.
    """
    if not command_id:
        raise InvalidInput("command_id", "expected a text that is not empty")
    hashed = hashlib.sha256()
    for part in (stream.category, stream.id, command_id):
        try:
            encoded = part.encode()
        except UnicodeEncodeError:
            raise InvalidInput("command_id", f"expected text that UTF-8 can encode, got {part[:80]!r}") from None
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return hashed.digest()[:16]


async def handle(
    store: EventStore,
    decider: Decider[C, S, E],
    id: str,
    command: C,
    *,
    command_id: str | None = None,
    expected: int | None = None,
    metadata: Metadata = NO_METADATA,
    occurred_at: datetime | None = None,
) -> Handled[S]:
    """Carry out a command: read the state, decide, append the events. Only here is a conflict decided again.

    Args:
        store: where the stream is.
        decider: what the command means.
        id: of the stream, within the decider's category.
        command: goes to ``decide`` as it is.
        command_id: makes the command idempotent for ever: the same id on the same stream is carried out once, and
            answered with what it did then. A command that caused no events is not remembered.
        expected: the version the stream must have, for callers who decided on what they saw; then nothing is retried.
        metadata: who and what led to it.
        occurred_at: when the facts occurred, where that is not now.

    Raises:
        Conflict: the version is not ``expected``, or rivals got in first for 50 rounds.
        InvalidInput: something cannot be stored; nothing was.
        StoreUnavailable: whether it was carried out is unknown; handle it again with the same command id.
    """
    stream = StreamId(decider.category, id)
    commit_id = new_commit_id() if command_id is None else commit_id_of(stream, command_id)
    folding = _Folding(store, decider, stream)
    # Within a process the commands of a stream take turns; only rivals elsewhere make a conflict.
    async with store.turn(stream):
        for _ in range(ROUNDS):
            now = await folding.run(await folding.start(Bound()), Bound())
            if command_id is not None and (commit := await _find(store, stream, now.commit_ids, commit_id)):
                then = Bound(version=commit.version)
                return _handled(await folding.run(await folding.start(then), then), _messages(commit), repeated=True)
            if expected is not None and expected != now.version:
                raise Conflict(stream, expected, now.version)
            events = tuple(decider.decide(command, now.state))
            if not events:
                return _handled(now, (), repeated=False)
            try:
                appended = await store.append(
                    stream,
                    events,
                    expected=now.version,
                    commit_id=commit_id,
                    metadata=metadata,
                    occurred_at=occurred_at,
                )
            except Conflict as conflict:
                lost = conflict
                continue
            # Read back what was stored: the codec may make something else of it than what was decided.
            done = await folding.run(now, Bound(version=appended.version))
            return _handled(done, tuple(folding.last), repeated=False)
        raise lost


def _handled(folded: Folded[S], events: tuple[Message, ...], *, repeated: bool) -> Handled[S]:
    return Handled(folded.state, folded.log_id, folded.version, folded.position, events, repeated)


def _messages(commit: Commit) -> tuple[Message, ...]:
    return tuple(event.message for event in commit.events)


async def _find(store: EventStore, stream: StreamId, ids: CommitIds, commit_id: bytes) -> Commit | None:
    """Return the commit of a stream with this id, given what the fold remembers of its ids."""
    for first_version in ids.candidates(commit_id):
        async for commit in store.commits(stream, after=first_version - 1):
            if commit.commit_id == commit_id:
                return commit
            break
    return None
