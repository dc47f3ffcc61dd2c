"""The stories of a log: one function answers for now and for any moment, one writes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from eventstore import (
    Codec,
    Decider,
    Handled,
    Metadata,
    Occurred,
    Recorded,
    Snapshots,
    StreamId,
    fold,
    handle,
    open_store,
)
from upcasting import Upcasting

from context_service import changes, story
from context_service.commands import Fault, Refused, UpdateStory, Violation
from context_service.events.v1 import events_pb2
from context_service.history import STEPS
from context_service.portfolio import PORTFOLIO
from context_service.snapshots import open_snapshots
from context_service.story import Story
from context_service.words import id_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from eventstore import EventStore, Folded, SnapshotStore, Until
    from google.protobuf.message import Message

    from context_service.portfolio import Announced, Known

CLOCKS: Final[dict[str, type[Recorded | Occurred]]] = {"recorded": Recorded, "occurred": Occurred}

codec: Final = Upcasting(Codec(events_pb2), STEPS)
"""What the log's events mean, old ones too; for ``eventstore cat --codec context_service.stories:codec``."""

DEFAULT_STORE: Final = "sqlite:///context.db"
SNAPSHOT_EVERY: Final = 100


class Stories:
    """The stories in a store."""

    def __init__(self, store: EventStore, snapshots: SnapshotStore, *, every: int = SNAPSHOT_EVERY) -> None:
        self.store: Final = store
        self.snapshots: Final = Snapshots[Story](
            snapshots, dump=story.dump, load=story.load, format=story.FORMAT, every=every
        )
        self._decider: Final[Decider[UpdateStory, Story, Message]] = Decider(
            story.CATEGORY,
            initial=story.EMPTY,
            decide=changes.decide,
            evolve=story.evolve,
            snapshots=self.snapshots,
        )

    def stream(self, story_id: str) -> StreamId:
        """Return the stream of a story."""
        return StreamId(story.CATEGORY, story_id)

    async def ask(self, story_id: str, until: Until | None = None) -> Folded[Story]:
        """Return a story, now or as of a bound.

        Raises:
            Refused: the id is none, or there was no such story.
            EventStoreError: the log cannot be read.
        """
        _check_story_id(story_id)
        folded = await self.fold(story_id, until)
        if not folded.state.exists:
            then = "" if until is None else " yet at that moment"
            raise Refused([Violation(Fault.NOT_FOUND, "story_id", f"there is no story {story_id!r}{then}")])
        return folded

    async def fold(self, story_id: str, until: Until | None = None) -> Folded[Story]:
        """Return a story that need not be there, now or as of a bound."""
        return await fold(self.store, self._decider, story_id, until=until)

    async def update(
        self,
        command: UpdateStory,
        *,
        expected_version: int | None,
        idempotency_key: str,
        metadata: Metadata,
        occurred_at: datetime | None,
    ) -> Handled[Story]:
        """Carry out changes of a story, all of them or none.

        Raises:
            Refused: something is wrong with the changes.
            Conflict: the story is not at the expected version.
            EventStoreError: they cannot be stored.
        """
        _check_story_id(command.story_id)
        return await handle(
            self.store,
            self._decider,
            command.story_id,
            command,
            command_id=idempotency_key or None,
            expected=expected_version,
            metadata=metadata,
            occurred_at=occurred_at,
        )

    async def announce(
        self,
        category: str,
        id: str,
        announced: Announced,
        *,
        idempotency_key: str,
        metadata: Metadata,
        occurred_at: datetime | None,
    ) -> Handled[Known]:
        """Record what is known of a project or an epic.

        Raises:
            Refused: the id is none.
            EventStoreError: it cannot be stored.
        """
        if problem := id_problem(id):
            raise Refused([Violation(Fault.INVALID, f"{category}_id", problem)])
        return await handle(
            self.store,
            PORTFOLIO[category],
            id,
            announced,
            command_id=idempotency_key or None,
            metadata=metadata,
            occurred_at=occurred_at,
        )


def clock_named(text: str) -> type[Recorded | Occurred]:
    """Return the kind of bound that moments on a clock are.

    Raises:
        Refused: there is no such clock.
    """
    kind = CLOCKS.get(text.strip().lower() or "recorded")
    if kind is None:
        raise Refused([Violation(Fault.INVALID, "clock", f"expected one of {', '.join(CLOCKS)}; got {text!r}")])
    return kind


def _check_story_id(story_id: str) -> None:
    if problem := id_problem(story_id):
        raise Refused([Violation(Fault.INVALID, "story_id", problem)])


@asynccontextmanager
async def open_stories(
    url: str, *, create: bool = True, snapshots: str = "", snapshot_every: int = SNAPSHOT_EVERY
) -> AsyncIterator[Stories]:
    """Open the stories of a store by its URL.

    Args:
        url: of the store.
        create: make the log when there is none.
        snapshots: where snapshots are kept, as for ``open_snapshots``.
        snapshot_every: so many events lie between two snapshots of a story.

    Raises:
        EventStoreError: a URL is wrong, or the store cannot be opened.
    """
    async with open_store(url, codec, create=create) as store, open_snapshots(snapshots, store.backend) as kept:
        yield Stories(store, kept, every=snapshot_every)
