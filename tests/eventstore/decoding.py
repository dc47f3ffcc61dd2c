"""What a store says of events through a codec that makes none, one or several of each: cases for any backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from eventstore import (
    AtPosition,
    AtVersion,
    Commit,
    Conflict,
    Decider,
    EventStore,
    MemorySnapshots,
    Payload,
    Progress,
    Snapshots,
    StreamId,
    Undecodable,
    fold,
    handle,
)
from eventstore._envelope import new_commit_id, seal
from eventstore.testing._scene import closing
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from eventstore import Backend, Event, EventCodec
    from google.protobuf.message import Message

#: A stored event, and what it becomes; None where it does not decode.
Example: TypeAlias = "tuple[Payload, Sequence[Message] | None]"

STREAM = StreamId("decoded", "1")


class Decoding:
    """Name a codec, and what it makes of what; give the backends as a fixture, each with a log of its own."""

    codec: EventCodec
    examples: Sequence[Example]
    #: One of those it encodes.
    message: Message

    @pytest.fixture
    async def store(self, backend: Backend) -> AsyncIterator[EventStore]:
        async with EventStore(backend, self.codec) as store:
            yield store

    @property
    def readable(self) -> list[Example]:
        """The examples that decode."""
        return [example for example in self.examples if example[1] is not None]

    async def test_events(self, store: EventStore) -> None:
        """Reading never fails; each message knows its version and index, and each event its bytes."""
        told = await write(store, self.examples)
        found = await store.read(STREAM)
        assert list(map(said, found.events)) == told
        assert [told for commit in [c async for c in store.log()] for told in map(said, commit.events)] == told
        assert [
            told for commit in [c async for c in store.commits(STREAM)] for told in map(said, commit.events)
        ] == told
        assert [told for commit in await followed(store) for told in map(said, commit.events)] == told

    async def test_undecodable(self, store: EventStore) -> None:
        """What does not decode is named by stream, version, position, type and schema, wherever it is asked for."""
        await write(store, self.examples)
        broken = [(number, one) for number, (one, becomes) in enumerate(self.examples, 1) if becomes is None]
        events = {int(event.version): event for event in (await store.read(STREAM)).events}
        for version, payload in broken:
            for _ in range(2):
                with pytest.raises(Undecodable) as failure:
                    _ = events[version].message
                error = failure.value
                assert (error.stream, error.version, error.position) == (STREAM, version, events[version].position)
                assert (error.type, error.schema) == (payload.type, payload.schema)
        assert broken

    async def test_version(self, store: EventStore) -> None:
        """Versions count what is stored, whatever became of it; so does what an append expects."""
        await write(store, self.examples)
        found = await store.read(STREAM)
        stored = 2 * len(self.examples)
        assert (found.version, (await store.tail(STREAM)).version) == (stored, stored)
        assert len(found.events) != stored
        with pytest.raises(Conflict) as conflict:
            await store.append(STREAM, [self.message], expected=len(found.events))
        assert conflict.value.actual == stored
        assert (await store.append(STREAM, [self.message], expected=found.version)).version == stored + 1

    async def test_bounds(self, store: EventStore) -> None:
        """A read after a version, up to one, or up to a position gives what became of just those events.

        A version inside a commit gives what was before it.
        """
        told = await write(store, self.examples)
        positions = [event.position for event in (await store.read(STREAM)).events]
        count = len(self.examples)
        for version in range(2 * count + 1):
            later = await store.read(STREAM, after=version)
            assert list(map(said, later.events)) == [one for one in told if one[0] > version]
            assert later.version == 2 * count
            until = await store.read(STREAM, until=AtVersion(version))
            end = version if version >= count else 0
            assert until.version == end
            assert list(map(said, until.events)) == [one for one in told if one[0] <= end]
        for position in set(positions):
            until = await store.read(STREAM, until=AtPosition(position))
            assert list(map(said, until.events)) == [
                one for one, at in zip(told, positions, strict=True) if at <= position
            ]

    async def test_fold(self, store: EventStore) -> None:
        """A state is folded of all messages in order, now, then, and on from a snapshot; a command sees the same."""
        await write(store, self.readable)
        count = len(self.readable)
        messages = tuple(message for _, becomes in self.readable for message in becomes or ())
        decider = remembering(self.message)
        for _ in range(2):
            then = await fold(store, decider, STREAM.id, until=AtVersion(count))
            assert (then.state, then.version) == (messages, count)
            now = await fold(store, decider, STREAM.id)
            assert (now.state, now.version) == (messages * 2, 2 * count)
        done = await handle(store, decider, STREAM.id, None)
        assert (done.state, done.version) == ((*messages, *messages, self.message), 2 * count + 1)


def remembering(news: Message) -> Decider[None, tuple[Message, ...], Message]:
    """Return a decider whose state is all messages, kept as a snapshot at every commit."""
    kept: dict[bytes, tuple[Message, ...]] = {}

    def dump(state: tuple[Message, ...]) -> bytes:
        name = f"{len(kept)}".encode()
        kept[name] = state
        return name

    snapshots = Snapshots(MemorySnapshots(), dump=dump, load=kept.__getitem__, format="all", every=1)
    return Decider(
        STREAM.category,
        initial=(),
        decide=lambda command, state: [news],
        evolve=lambda state, event: (*state, event),
        snapshots=snapshots,
    )


async def write(store: EventStore, examples: Iterable[Example]) -> list[Any]:
    """Store all examples as one commit, then each as one; return what is to be said of them."""
    examples = list(examples)
    version = 0
    for commit in [examples, *([example] for example in examples)]:
        envelope = envelope_pb2.Envelope(commit_id=new_commit_id())
        for stored, _ in commit:
            envelope.events.add(type=stored.type, schema=stored.schema, payload=stored.payload)
        version = (await store.backend.append(seal(STREAM, version, envelope))).version
    return [
        (version, index, stored, message)
        for version, (stored, becomes) in enumerate([*examples, *examples], 1)
        for index, message in enumerate([None] if becomes is None else becomes)
    ]


def said(event: Event) -> Any:
    """Return what an event says of itself: None for a message that it has not."""
    try:
        message: Message | None = event.message
    except Undecodable:
        message = None
    return event.version, event.index, event.raw, message


async def followed(store: EventStore) -> list[Commit]:
    """Follow the log to its end."""
    found: list[Commit] = []
    async with closing(store.follow()) as items:
        async for item in items:
            if isinstance(item, Progress):
                if item.caught_up:
                    break
            else:
                found.append(item)
    return found
