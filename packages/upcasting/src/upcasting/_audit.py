"""What a log really holds, and whether a program can read all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from eventstore import CannotDecode, CorruptCommit, Payload, Position, StreamId, Version
from eventstore.raw import parse
from eventstore.segments import silent

from upcasting._upcasting import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventstore import EventStore, RawCommit
    from eventstore.segments import Report
    from eventstore.v1 import envelope_pb2

    from upcasting._chains import Name
    from upcasting._upcasting import Reader

#: So many events of each type and schema that fail, and so many corrupt commits, are named in the result.
NAMED: Final = 5
_NO_PATH: Final = "no path to today: neither the codec nor a step knows it"


class Held(msgspec.Struct, frozen=True):
    """What a log holds of one type and schema."""

    type: str
    schema: int
    events: int
    #: Of the first and the last commit that holds one.
    first: Position
    last: Position
    #: Whether the codec or a step knows it.
    readable: bool
    #: How many were decoded, and how many of these failed.
    decoded: int
    failed: int


class Unreadable(msgspec.Struct, frozen=True):
    """An event that does not become today's message."""

    stream: StreamId
    version: Version
    position: Position
    type: str
    schema: int
    reason: str


class Corrupt(msgspec.Struct, frozen=True):
    """Bytes in the log that are no commit."""

    stream: StreamId
    position: Position
    reason: str


Finding: TypeAlias = Unreadable | Corrupt
Found = TypeVar("Found", Unreadable, Corrupt)


class Audit(msgspec.Struct, frozen=True):
    """What an audit has found."""

    log_id: str
    #: Of the last commit.
    position: Position
    #: Whole ones.
    commits: int
    events: int
    #: By type and schema.
    held: tuple[Held, ...]
    #: How many commits are none.
    corrupt: int
    #: The first few of each type and schema, then the first few corrupt commits.
    findings: tuple[Finding, ...]

    @property
    def decoded(self) -> int:
        """How many events were decoded."""
        return sum(held.decoded for held in self.held)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(held.failed for held in self.held)

    @property
    def readable(self) -> bool:
        """Whether there is nothing that a program with this codec could not read, as far as was looked."""
        return not self.corrupt and not self.failed and all(held.readable for held in self.held)


async def audit(
    store: EventStore,
    codec: Reader,
    *,
    sample: int = 1,
    found: Callable[[Finding], None] | None = None,
    progress: Report = silent,
) -> Audit:
    """Read a whole log, count what it holds, and decode its events as a program with a codec does.

    Memory grows with the number of types and schemas alone.

    Args:
        store: the store to read; its own codec is not needed.
        codec: what the program will read with.
        sample: decode one in so many events of each type and schema, the first and the last always.
        found: called for each event that fails and each commit that is none; the result names the first few.
        progress: called as work goes on.

    Raises:
        ValueError: the sample is not 1 or more.
    """
    if sample < 1:
        raise ValueError(f"sample: expected 1 or more, got {sample}")
    auditing = _Auditing(codec, sample, found)
    head = await store.backend.head()
    async for chunk in store.backend.log(after=Position(0)):
        for raw in chunk:
            auditing.take(raw)
        progress("audit", chunk[-1].position, head)
    return auditing.end(store.log_id)


class _Place(NamedTuple):
    """An event and where it stands."""

    raw: RawCommit
    version: int
    stored: envelope_pb2.StoredEvent


class _Kind:
    """What is known so far of one type and schema."""

    __slots__ = ("decoded", "events", "failed", "first", "last", "named", "readable")

    def __init__(self, first: Position, *, readable: bool) -> None:
        self.first = first
        self.last: _Place
        self.readable = readable
        self.events = self.decoded = self.failed = 0
        self.named: list[Unreadable] = []


class _Auditing:
    """An audit on its way through a log."""

    def __init__(self, codec: Reader, sample: int, found: Callable[[Finding], None] | None) -> None:
        self._decode = codec.decode
        self._readable: Final = readable(codec)
        self._sample = sample
        self._found = found
        self._kinds: dict[Name, _Kind] = {}
        self._position = Position(0)
        self._commits = 0
        self._corrupt = 0
        self._named: list[Corrupt] = []

    def take(self, raw: RawCommit) -> None:
        """Look at the next commit."""
        self._position = raw.position
        try:
            envelope = parse(raw)
        except CorruptCommit as error:
            self._corrupt += 1
            self._tell(Corrupt(error.stream, error.position, error.reason), self._named)
            return
        self._commits += 1
        for version, stored in enumerate(envelope.events, envelope.first_version):
            self._look(_Place(raw, version, stored))

    def _look(self, place: _Place) -> None:
        name = (place.stored.type, place.stored.schema)
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = _Kind(place.raw.position, readable=name in self._readable)
        kind.events += 1
        kind.last = place
        if not self._passed_over(kind):
            self._try(kind)

    def _passed_over(self, kind: _Kind) -> bool:
        """Say whether the last event so far is not in the sample."""
        return (kind.events - 1) % self._sample != 0

    def _try(self, kind: _Kind) -> None:
        """Decode the last event so far."""
        raw, version, stored = kind.last
        kind.decoded += 1
        problem = self._problem(Payload(stored.type, stored.schema, stored.payload)) if kind.readable else _NO_PATH
        if problem:
            kind.failed += 1
            where = (raw.stream, Version(version), raw.position)
            self._tell(Unreadable(*where, stored.type, stored.schema, problem), kind.named)

    def _problem(self, stored: Payload) -> str:
        try:
            self._decode(stored)
        except CannotDecode as error:
            return str(error)
        return ""

    def _tell(self, finding: Found, named: list[Found]) -> None:
        if len(named) < NAMED:
            named.append(finding)
        if self._found is not None:
            self._found(finding)

    def end(self, log_id: str) -> Audit:
        """Look at the last of each, and sum up."""
        for kind in self._kinds.values():
            if self._passed_over(kind):
                self._try(kind)
        held = tuple(_summed_up(*name, kind) for name, kind in sorted(self._kinds.items()))
        named: list[Finding] = [one for _, kind in sorted(self._kinds.items()) for one in kind.named]
        return Audit(
            log_id,
            self._position,
            self._commits,
            sum(one.events for one in held),
            held,
            self._corrupt,
            (*named, *self._named),
        )


def _summed_up(type: str, schema: int, kind: _Kind) -> Held:
    last = kind.last.raw.position
    return Held(type, schema, kind.events, kind.first, last, kind.readable, kind.decoded, kind.failed)
