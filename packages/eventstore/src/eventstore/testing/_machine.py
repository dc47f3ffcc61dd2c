"""Random histories: what a store does on any backend, it does on the memory backend."""

from __future__ import annotations

import asyncio
import tempfile
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from uuid import uuid4

from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from eventstore._codec import Codec
from eventstore._errors import Conflict
from eventstore._events import Commit, Event, seal
from eventstore._store import EventStore
from eventstore._values import (
    ANY,
    EXISTS,
    Appended,
    AtPosition,
    AtVersion,
    NewCommit,
    Occurred,
    Progress,
    Recorded,
    StreamId,
    Until,
    from_micros,
)
from eventstore.memory import MemoryBackend
from eventstore.testing._scene import closing
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from eventstore._backend import Backend

_IDS: Final = st.sampled_from(["1", "a.b", " "])
_COUNTS: Final = st.integers(1, 3)
_VERSIONS: Final = st.integers(0, 12)
_GUARDS: Final = st.sampled_from(["right", "right", "right", "below", "above", "first", EXISTS, ANY])
_DAYS: Final = st.none() | st.integers(0, 6)
_MICROS: Final = st.integers(-1, 1)
#: Picks one of the commits so far, counted from the last.
_PICKS: Final = st.integers(0, 9)
_YEAR: Final = datetime(2020, 1, 1, tzinfo=UTC)

#: What was said about a read, an append or a refusal, in words that mean the same on both sides.
Answer: TypeAlias = "tuple[Any, ...]"


class _Side(NamedTuple):
    store: EventStore
    #: Where each commit of this history stands, in order.
    positions: list[int]

    def number(self, position: int) -> int:
        """Return how many commits of this history stand at or before a position."""
        return bisect_right(self.positions, position)

    def position(self, number: int) -> int:
        """Return a position up to which so many commits of this history stand."""
        return self.positions[number - 1] if number else max(self.positions[0] - 1, 0) if self.positions else 0


class StoreMachine(RuleBasedStateMachine):
    """Runs a store on a backend beside one on the memory backend, and compares all they say.

    Subclass it, say how to make the backend, and let pytest run its test case::

        class MyMachine(StoreMachine):
            backend = staticmethod(my_backend)

        TestMyMachine = MyMachine.TestCase

    ``backend``, ``lasting``, ``times_fall`` and ``loop_factory`` mean what they mean for ``BackendContract``.
    """

    lasting: bool = True
    times_fall: bool = False
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    @staticmethod
    def backend(folder: Path, /) -> Backend:
        """Return a backend, not open. The same folder, empty at first, means the same log."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner(loop_factory=self.loop_factory)
        self._folder = tempfile.TemporaryDirectory()
        self._category = f"c{uuid4().hex}"
        self._codec = Codec(StringValue, Int64Value)
        self._now = 0
        self._times: list[int] = []
        self._sent: list[NewCommit] = []
        self._model = _Side(EventStore(MemoryBackend(clock=lambda: self._now), self._codec), [])
        self._runner.run(self._model.store.__aenter__())
        self._open()

    def _open(self, positions: list[int] | None = None) -> None:
        self._real = _Side(EventStore(self.backend(Path(self._folder.name)), self._codec), positions or [])
        self._runner.run(self._real.store.__aenter__())

    def _close(self) -> None:
        self._runner.run(self._real.store.__aexit__(None, None, None))

    def teardown(self) -> None:
        """Compare the two logs a last time and close everything."""
        try:
            self._same(self._logged(0))
        finally:
            self._close()
            self._runner.close()
            self._folder.cleanup()

    def _stream(self, id: str) -> StreamId:
        return StreamId(self._category, id)

    def _same(self, ask: Callable[[_Side], Awaitable[Answer]]) -> None:
        real, model = self._runner.run(_answer(ask, self._real)), self._runner.run(_answer(ask, self._model))
        assert model == real

    def _append(self, ask: Callable[[EventStore], Awaitable[Appended]]) -> None:
        """Append to the backend, then to the model at the same time, and compare the answers."""
        real = self._runner.run(_outcome(ask(self._real.store)))
        if isinstance(real, Appended) and real.position not in self._real.positions:
            assert not self._real.positions or real.position > self._real.positions[-1]
            self._real.positions.append(real.position)
            self._now = self._runner.run(self._recorded_at(real.position))
            self._times.append(self._now)
        model = self._runner.run(_outcome(ask(self._model.store)))
        if isinstance(model, Appended) and model.position not in self._model.positions:
            self._model.positions.append(model.position)
        assert _said(self._model, model) == _said(self._real, real)

    async def _recorded_at(self, position: int) -> int:
        async with closing(self._real.store.log(after=position - 1)) as commits:
            async for commit in commits:
                return commit.recorded_micros
        raise AssertionError(f"nothing at position {position}")

    def _messages(self, version: int, count: int) -> list[Message]:
        return [
            StringValue(value=f"{number}") if number % 2 else Int64Value(value=number)
            for number in range(version, version + count)
        ]

    def _version(self, id: str) -> int:
        return self._runner.run(self._model.store.tail(self._stream(id))).version

    def _pick(self, pick: int) -> int:
        """Return how many commits stand up to the picked one; 0 is none."""
        return max(len(self._times) - pick, 0)

    @rule(id=_IDS, count=_COUNTS, guard=_GUARDS, day=_DAYS)
    def append(self, id: str, count: int, guard: str, day: int | None) -> None:
        """Append under every kind of guard."""
        version = self._version(id)
        numbers = {"right": version, "below": max(version - 1, 0), "above": version + 1, "first": 0}
        expected: Any = numbers.get(guard, guard)
        occurred_at = None if day is None else _YEAR + timedelta(days=day)
        messages = self._messages(version, count)
        self._append(lambda store: store.append(self._stream(id), messages, expected=expected, occurred_at=occurred_at))

    @rule(id=_IDS, count=_COUNTS, later=st.integers(-3, 3))
    def append_imported(self, id: str, count: int, later: int) -> None:
        """Append as an import does, with a recorded time around the last one, to be sent again later."""
        if not self._times or self.times_fall:
            later = max(later, 0)
        version = self._version(id)
        last = self._times[-1] if self._times else 1_600_000_000_000_000
        envelope = envelope_pb2.Envelope(commit_id=uuid4().bytes, recorded_at=last + later)
        for message in self._messages(version, count):
            name, schema, payload = self._codec.encode(message)
            envelope.events.add(type=name, schema=schema, payload=payload)
        new = seal(self._stream(id), version, envelope)
        self._sent.append(new)
        self._append(lambda store: store.backend.append(new))

    @rule(pick=_PICKS, other_id=st.booleans())
    def append_again(self, pick: int, other_id: bool) -> None:  # noqa: FBT001 (Hypothesis calls by keyword)
        """Append once more what was appended before, under its id or another."""
        if not self._sent:
            return
        old = self._sent[-1 - pick % len(self._sent)]
        envelope = envelope_pb2.Envelope.FromString(old.envelope)
        if other_id:
            envelope.commit_id = uuid4().bytes
        new = seal(old.stream, old.expected, envelope)
        self._append(lambda store: store.backend.append(new))

    @rule(id=_IDS, after=_VERSIONS)
    def read(self, id: str, after: int) -> None:
        """Read a stream after a version."""
        self._same(_reading(self._stream(id), after, lambda _: None))

    @rule(id=_IDS, after=_VERSIONS, version=_VERSIONS)
    def read_until_version(self, id: str, after: int, version: int) -> None:
        """Read a stream up to a version, also one inside a commit."""
        self._same(_reading(self._stream(id), after, lambda _: AtVersion(version)))

    @rule(id=_IDS, after=_VERSIONS, pick=_PICKS)
    def read_until_position(self, id: str, after: int, pick: int) -> None:
        """Read a stream up to the position of a commit."""
        number = self._pick(pick)
        self._same(_reading(self._stream(id), after, lambda side: AtPosition(side.position(number))))

    @rule(id=_IDS, after=_VERSIONS, pick=_PICKS, later=_MICROS)
    def read_until_recorded(self, id: str, after: int, pick: int, later: int) -> None:
        """Read a stream up to the recorded time of a commit, and just around it."""
        if number := self._pick(pick):
            moment = from_micros(self._times[number - 1] + later)
            self._same(_reading(self._stream(id), after, lambda _: Recorded(moment)))

    @rule(id=_IDS, after=_VERSIONS, day=st.integers(0, 6), later=_MICROS)
    def read_until_occurred(self, id: str, after: int, day: int, later: int) -> None:
        """Read a stream up to the time at which events occurred, and just around it."""
        moment = _YEAR + timedelta(days=day, microseconds=later)
        self._same(_reading(self._stream(id), after, lambda _: Occurred(moment)))

    @rule(pick=_PICKS, later=_MICROS)
    def position_at(self, pick: int, later: int) -> None:
        """Look up the position of a recorded time."""
        if number := self._pick(pick):
            at = self._times[number - 1] + later

            async def ask(side: _Side) -> Answer:
                return (side.number((await side.store.backend.position_at(at)).position),)

            self._same(ask)

    @rule(id=_IDS)
    def tail(self, id: str) -> None:
        """Ask for a stream's end."""

        async def ask(side: _Side) -> Answer:
            tail = await side.store.tail(self._stream(id))
            return tail.version, side.number(tail.position)

        self._same(ask)

    @rule(pick=_PICKS)
    def log(self, pick: int) -> None:
        """Read the log after a commit."""
        self._same(self._logged(self._pick(pick)))

    def _logged(self, number: int) -> Callable[[_Side], Awaitable[Answer]]:
        async def ask(side: _Side) -> Answer:
            found = side.store.log(after=side.position(number), categories=[self._category])
            return tuple([_commit(side, commit) async for commit in found])

        return ask

    @rule(pick=_PICKS)
    def follow(self, pick: int) -> None:
        """Follow the log after a commit to its end."""
        number = self._pick(pick)

        async def ask(side: _Side) -> Answer:
            found = []
            following = side.store.follow(after=side.position(number), categories=[self._category])
            async with closing(following) as items:
                async for item in items:
                    if not isinstance(item, Progress):
                        found.append(_commit(side, item))
                    elif item.caught_up:
                        break
            return tuple(found)

        self._same(ask)

    @rule()
    def streams(self) -> None:
        """List the streams."""

        async def ask(side: _Side) -> Answer:
            return tuple(
                [
                    (info.stream, info.version, side.number(info.position), info.recorded_at)
                    async for info in side.store.streams(self._category)
                ]
            )

        self._same(ask)

    @rule()
    def open_again(self) -> None:
        """Close the backend and open it again, where its log outlives it."""
        if self.lasting:
            self._close()
            self._open(self._real.positions)


async def _outcome(appending: Awaitable[Appended]) -> Appended | Conflict:
    try:
        return await appending
    except Conflict as conflict:
        return conflict


def _said(side: _Side, outcome: Appended | Conflict) -> Answer:
    if isinstance(outcome, Conflict):
        return "conflict", outcome.stream, outcome.expected, outcome.actual
    return "appended", outcome.version, side.number(outcome.position), outcome.log_id == side.store.log_id


async def _answer(ask: Callable[[_Side], Awaitable[Answer]], side: _Side) -> Answer:
    return await ask(side)


def _event(event: Event) -> Answer:
    return event.version, event.index, event.raw, event.message, event.occurred_at


def _commit(side: _Side, commit: Commit) -> Answer:
    events = tuple(map(_event, commit.events))
    return commit.stream, side.number(commit.position), commit.version, commit.recorded_at, events


def _reading(
    stream: StreamId, after: int, until: Callable[[_Side], Until | None]
) -> Callable[[_Side], Awaitable[Answer]]:
    async def ask(side: _Side) -> Answer:
        bound = until(side)
        found = await side.store.read(stream, after=after, until=bound)
        # On a log that others use, what they have put behind a time may have made it final.
        final = None if isinstance(bound, Recorded) else found.final
        return tuple(map(_event, found.events)), found.version, side.number(found.position), final

    return ask
