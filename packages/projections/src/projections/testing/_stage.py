"""A projection on its target beside a log that holds a history, and a runner whose every step is told."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from eventstore import ANY, EventStore, Position, StreamId, Token, open_store
from msgspec.structs import replace

from projections._feed import Batching, Feed
from projections._keeper import Keeper
from projections._projection import Batch
from projections._record import Record, key_of_rebuild

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence

    from eventstore import Commit, EventCodec
    from google.protobuf.message import Message

    from projections._model import Changes, Model
    from projections._projection import AnyProjection, Projection

Tx = TypeVar("Tx")

_EVERYTHING: Final = Batching(commits=2**40, bytes=2**40, seconds=60)


@asynccontextmanager
async def staged(
    projection: Projection[Tx],
    model: Model[Tx],
    history: Iterable[tuple[StreamId, Sequence[Message]]],
    codec: EventCodec,
) -> AsyncIterator[Stage[Tx]]:
    """Put a history into a log of its own; at the end, leave nothing on the target.

    Raises:
        AssertionError: the projection has run on this target, whose view would be lost, or the history has nothing
            that it wants.
    """
    if await model.load(projection.name) is not None:
        raise AssertionError(
            f"{projection.name} has already run on this target, and its view would be emptied: "
            "give a target that is only for tests"
        )
    async with open_store("memory://", codec) as store:
        for stream, messages in history:
            await store.append(stream, messages, expected=ANY)
        commits = await _wanted(store, projection)
        if not commits:
            raise AssertionError(f"{projection.name} wants nothing of this history")
        stage = Stage(projection, model, store, commits)
        try:
            yield stage
        finally:
            await stage.empty()


async def _wanted(store: EventStore, projection: AnyProjection) -> list[Commit]:
    """Return what a runner would hand to the projection."""
    if not (await store.head()).position:
        return []
    async with Feed(store, projection, _EVERYTHING, Token(store.log_id, Position(0))) as feed:
        return (await feed.take(_EVERYTHING.seconds)).commits


class Stage(Generic[Tx]):
    """Where one trial of a projection takes place."""

    def __init__(
        self, projection: Projection[Tx], model: Model[Tx], store: EventStore, commits: Sequence[Commit]
    ) -> None:
        self.projection: Final = projection
        self.model: Final = model
        self.store: Final = store
        #: What the projection wants of the log.
        self.commits: Final = commits

    async def writer(self, model: Model[Tx] | None = None) -> Writer[Tx]:
        """Return a runner that has taken over."""
        writer = Writer(self.projection, model or self.model, self.store.log_id)
        await writer.take_over()
        return writer

    async def view(self) -> dict[str, bytes]:
        """Return all that the view consists of."""
        return {key: value async for key, value in self.model.entries(self.projection.owns, str)}

    async def empty(self) -> None:
        """Remove the view and its records."""
        clear = await self.model.clearing(self.projection.owns, str)
        await self._remove(self.projection.name, clear)
        await self._remove(key_of_rebuild(self.projection.name), None)

    async def _remove(self, key: str, changes: Changes[Tx] | None) -> None:
        stored = await self.model.load(key)
        if stored is not None:
            await self.model.commit(key, None, expected=stored.revision, changes=changes)


class Writer(Generic[Tx]):
    """What a runner is to its target: one that takes over and commits batches, each when it is told."""

    def __init__(self, projection: Projection[Tx], model: Model[Tx], log_id: str) -> None:
        self._projection = projection
        self._log_id = log_id
        self.keeper: Final = Keeper(model, projection.name)

    @property
    def record(self) -> Record:
        """The record as this one has last seen it."""
        return self.keeper.record or Record(log_id=self._log_id)

    async def take_over(self) -> None:
        """Become the one who writes."""
        await self.keeper.load()
        if self._projection.setup is not None:
            await self.keeper.model.prepare(self._projection.setup, str)
        wanted = replace(self.record, holder=uuid.uuid4().hex, epoch=self.record.epoch + 1)
        if not await self.keeper.write(wanted):
            raise AssertionError(f"somebody else is writing the record of {self._projection.name}")

    def changes(self, commits: Sequence[Commit]) -> Changes[Tx]:
        """Return what a batch changes."""
        batch = Batch(commits, str)

        def changes(tx: Tx) -> Awaitable[None] | None:
            return self._projection.apply(tx, batch)

        return changes

    async def apply(self, commits: Sequence[Commit]) -> bool:
        """Commit a batch; says False when another one has taken over."""
        wanted = replace(
            self.record,
            position=commits[-1].position,
            commits=self.record.commits + len(commits),
        )
        return await self.keeper.write(wanted, self.changes(commits))
