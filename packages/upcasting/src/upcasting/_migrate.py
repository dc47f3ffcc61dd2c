"""A log copied into a new one, on any backend, its events carried over for good by steps."""

from __future__ import annotations

import functools
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from eventstore import (
    MAX_ENVELOPE_BYTES,
    CannotDecode,
    Conflict,
    CorruptCommit,
    Digest,
    Payload,
    Position,
    Progress,
    Undecodable,
    event_name,
)
from eventstore.raw import advance, brought, fill, parse
from eventstore.segments import silent
from eventstore.v1 import envelope_pb2
from google.protobuf.message import EncodeError

from upcasting._chains import Chains
from upcasting._errors import Outgrown, TargetDiffers
from upcasting._steps import full_name
from upcasting._upcasting import Upcasting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from eventstore import EventStore, NewCommit, RawCommit, StreamId
    from eventstore.segments import Report
    from google.protobuf.message import Message

    from upcasting._chains import AnyStep, Name

How: TypeAlias = Literal["upcast", "renamed", "dropped"]

_name_of: Final[Callable[[Any], Name]] = functools.cache(event_name)


class Contents(msgspec.Struct, frozen=True):
    """What a log holds."""

    log_id: str
    #: Of the last commit.
    position: int
    commits: int
    events: int
    #: The hexadecimal digits of its ``Digest``.
    digest: str


class Became(msgspec.Struct, frozen=True):
    """So many events of a type and schema."""

    type: str
    schema: int
    events: int


class Carried(msgspec.Struct, frozen=True):
    """What became of the events of one type and schema that a step took."""

    type: str
    schema: int
    how: How
    events: int
    became: tuple[Became, ...]


class Migrated(msgspec.Struct, frozen=True):
    """What a migration has done, as a whole: with what earlier runs of it did."""

    source: Contents
    target: Contents
    #: How many of the target's commits were there already when it began.
    already: int
    #: Commits of the source of whose events none is left.
    left_out: int
    #: By type and schema.
    carried: tuple[Carried, ...]


async def migrate(
    source: EventStore,
    target: EventStore,
    steps: Iterable[AnyStep] | Upcasting,
    *,
    cut_over: asyncio.Event | None = None,
    progress: Report = silent,
) -> Migrated:
    """Copy a log into a new one. Events that a step takes are carried over for good; all others keep their bytes.

    Commits keep their order, ids, times and metadata. Versions are those of the new log: an event that becomes several
    or none moves the later ones of its stream. A commit of whose events none is left is left out. The source is only
    read.

    The target must be empty or hold the beginning of what the migration makes, which is what an interrupted one leaves:
    calling again goes on from there. At the end it is read back and compared. Nobody else may write to it meanwhile.

    Memory grows with the number of streams whose versions have moved, by some 300 bytes each.

    Args:
        source: the log to read; its codec is not needed.
        target: the log to write to; its codec is not needed.
        steps: what becomes of old events. The policy of an ``Upcasting`` for newer ones holds for those a step takes.
        cut_over: follow the source until this is set, then to its head of that moment. Without it, to its head of now.
        progress: called as work goes on.

    Raises:
        InvalidSteps: the steps do not make chains.
        Undecodable: a step failed; with the event's place and the step's name. What comes before may be in the target.
        Outgrown: what the steps made of a commit is too large for any log.
        TargetDiffers: the target holds something else, or something else has written to it.
        CorruptCommit: stored bytes are no envelope; with their position.
    """
    if source.log_id == target.log_id:
        raise TargetDiffers("source and target are the same log")
    held = Digest()
    try:
        position = await advance(held, target, progress=progress, step="compare")
    except CorruptCommit as error:
        raise TargetDiffers(f"the target: {error}") from error
    already = held.commits
    moving = _Moving(steps, held)
    try:
        await fill(target, _made(source, moving, cut_over, progress))
    except Conflict as conflict:
        problem = f"{conflict}: the source lacks the stream's beginning, or something else has written to the target"
        raise TargetDiffers(problem) from conflict
    position = await advance(held, target, after=position, progress=progress, step="verify")
    if held.value != moving.made.value:
        raise TargetDiffers(
            f"the target holds {held.commits:,} commits with digest {held.hexdigest}, expected"
            f" {moving.made.commits:,} with {moving.made.hexdigest}: something else has written to it"
        )
    return Migrated(
        _contents(source, moving.position, moving.read),
        _contents(target, position, held),
        already,
        moving.left_out,
        moving.carried(),
    )


def _contents(store: EventStore, position: int, digest: Digest) -> Contents:
    return Contents(store.log_id, position, digest.commits, digest.events, digest.hexdigest)


async def _made(
    source: EventStore, moving: _Moving, cut_over: asyncio.Event | None, progress: Report
) -> AsyncGenerator[Sequence[NewCommit], None]:
    """Yield what the target lacks; nothing, when the source has no more for now."""
    head = await source.backend.head()
    async with aclosing(_read(source, cut_over, head)) as items:
        async for item in items:
            if not isinstance(item, Progress):
                if made := [new for raw in item if (new := moving.take(raw)) is not None]:
                    yield made
                progress("migrate", moving.position, max(head, moving.position))
            elif item.caught_up:
                moving.check_end()
                yield ()
                progress("follow", item.position, item.position)
    moving.check_end()


async def _read(
    source: EventStore, cut_over: asyncio.Event | None, head: int
) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
    """Yield the source's commits up to its head of now, or of the cut-over, whoever goes on writing."""
    log = source.backend
    end = head if cut_over is None else None
    async with aclosing((log.log if cut_over is None else log.follow)(after=Position(0))) as items:
        async for item in items:
            position = item.position if isinstance(item, Progress) else item[-1].position
            yield item if end is None or position <= end else _cut(item, end)
            if end is None and cut_over is not None and cut_over.is_set():
                end = await log.head()
            if end is not None and position >= end:
                return


def _cut(item: Sequence[RawCommit] | Progress, end: int) -> Sequence[RawCommit]:
    return () if isinstance(item, Progress) else [raw for raw in item if raw.position <= end]


class _Change(NamedTuple):
    """What a step has made of an event."""

    version: int
    step: AnyStep
    growth: int


class _Shift(NamedTuple):
    """By how much the versions of a stream have moved."""

    versions: int
    #: Of those that moved them last, the one that makes the most of an event.
    step: AnyStep


class _Moving:
    """A migration on its way through the source, told what its target held when it began."""

    def __init__(self, steps: Iterable[AnyStep] | Upcasting, held: Digest) -> None:
        chains = steps.chains if isinstance(steps, Upcasting) else Chains(steps)
        self._steps: Final = chains.by_name
        self._upcast: Final = steps.decode if isinstance(steps, Upcasting) else chains.upcast
        self._held: Final = (held.commits, held.value)
        #: Of all that was read of the source.
        self.read: Final = Digest()
        #: Of all that came of it.
        self.made: Final = Digest()
        self.position = 0
        self.left_out = 0
        # In streams where versions have moved.
        self._shifts: Final[dict[StreamId, _Shift]] = {}
        self._became: Final[dict[Name, Counter[Name]]] = {}
        self._taken: Final[Counter[Name]] = Counter()

    def take(self, raw: RawCommit) -> NewCommit | None:
        """Return what the source's next commit becomes; None where that is nothing, or is in the target."""
        self.position = raw.position
        envelope = parse(raw)
        self.read.add(raw, envelope)
        version = envelope.first_version
        if (shift := self._shifts.get(raw.stream)) is not None:
            # Before the look at the size, of which it is a part.
            envelope.first_version += shift.versions
        if any((stored.type, stored.schema) in self._steps for stored in envelope.events):
            self._carry(raw, version, envelope)
        elif shift is not None:
            self._check_size(raw, envelope, version, shift.step)
        if not envelope.events:
            self.left_out += 1
            return None
        self.made.add(raw, envelope)
        return brought(raw, envelope) if self._lacked() else None

    def _lacked(self) -> bool:
        """Say whether the target lacks what was made last."""
        commits, value = self._held
        if self.made.commits == commits and self.made.value != value:
            raise self._differs()
        return self.made.commits > commits

    def check_end(self) -> None:
        """Check that the target holds no more than was made."""
        if self.made.commits < self._held[0]:
            raise self._differs()

    def _differs(self) -> TargetDiffers:
        commits, value = self._held
        return TargetDiffers(
            f"the target holds {commits:,} commits with digest {value.hex()}, which is not the beginning of what these"
            " steps make of the source: begin with a new log"
        )

    def _carry(self, raw: RawCommit, first_version: int, envelope: envelope_pb2.Envelope) -> None:
        """Put what the steps make of a commit's events in their place; the source has them from a version on."""
        events: list[envelope_pb2.StoredEvent] = []
        changes: list[_Change] = []
        for version, stored in enumerate(envelope.events, first_version):
            step = self._steps.get((stored.type, stored.schema))
            if step is None:
                events.append(stored)
                continue
            became = self._results(raw, version, stored)
            events += became
            changes.append(_Change(version, step, sum(one.ByteSize() for one in became) - stored.ByteSize()))
        largest = max(changes, key=lambda change: change.growth)
        self._move(raw.stream, len(events) - len(envelope.events), largest.step)
        carried = envelope_pb2.Envelope(events=events)
        envelope.ClearField("events")
        envelope.MergeFrom(carried)
        self._check_size(raw, envelope, largest.version, largest.step)

    def _results(
        self, raw: RawCommit, version: int, stored: envelope_pb2.StoredEvent
    ) -> list[envelope_pb2.StoredEvent]:
        name = (stored.type, stored.schema)
        try:
            results = [_stored(message, stored) for message in self._upcast(Payload(*name, stored.payload))]
        except CannotDecode as error:
            raise Undecodable(
                raw.stream, version=version, position=raw.position, type=name[0], schema=name[1], reason=str(error)
            ) from error
        self._taken[name] += 1
        self._became.setdefault(name, Counter()).update((one.type, one.schema) for one in results)
        return results

    @staticmethod
    def _check_size(raw: RawCommit, envelope: envelope_pb2.Envelope, version: int, step: AnyStep) -> None:
        # The time at which it was recorded is set anew, and has room beyond the limit.
        envelope.ClearField("recorded_at")
        if (size := envelope.ByteSize()) > MAX_ENVELOPE_BYTES:
            raise Outgrown(raw.stream, version=version, position=raw.position, step=step.name, size=size)

    def _move(self, stream: StreamId, events: int, step: AnyStep) -> None:
        before = self._shifts.pop(stream, None)
        versions = events if before is None else before.versions + events
        if versions:
            self._shifts[stream] = _Shift(versions, step if events or before is None else before.step)

    def carried(self) -> tuple[Carried, ...]:
        """Return what became of all that steps took."""
        return tuple(
            Carried(
                *name,
                _how(self._steps[name]),
                taken,
                tuple(Became(*to, events) for to, events in sorted(self._became[name].items())),
            )
            for name, taken in sorted(self._taken.items())
        )


def _how(step: AnyStep) -> How:
    if step.old is None:
        return "dropped"
    return "renamed" if step.renames else "upcast"


def _stored(message: Message, before: envelope_pb2.StoredEvent) -> envelope_pb2.StoredEvent:
    """Return what to store for a message that an event became; all but the message itself stays as it was."""
    if isinstance(message, envelope_pb2.StoredEvent):
        # A policy keeps raw what a newer program has written.
        return before
    made = envelope_pb2.StoredEvent()
    made.CopyFrom(before)
    made.type, made.schema = _name_of(type(message))
    try:
        made.payload = message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise CannotDecode(f"{full_name(type(message))} cannot be serialised: {error}") from None
    return made
