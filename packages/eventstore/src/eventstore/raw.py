"""Whole logs as bytes, for what needs no codec: counting them, and filling one with the commits of another.

Commits that are brought from one log into another keep their ids, times and metadata. The log that is filled holds the
beginning of what it is filled with, at whatever point that stops.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from eventstore._backend import AT_ONCE
from eventstore._digest import advance
from eventstore._envelope import parse
from eventstore._values import NewCommit, RawCommit, Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from eventstore._backend import Backend
    from eventstore._store import EventStore
    from eventstore._values import Appended
    from eventstore.v1 import envelope_pb2

__all__ = ["advance", "brought", "fill", "parse"]

_WINDOW_BYTES: Final = 4 * 1024 * 1024


def brought(raw: RawCommit, envelope: envelope_pb2.Envelope) -> NewCommit:
    """Return a commit of another log on its way into this one, recorded when that one recorded it.

    Args:
        raw: the commit as the other log gives it.
        envelope: what it is to say here. Its first version must be the next of the stream.
    """
    envelope.recorded_at = raw.recorded_at
    return NewCommit(
        raw.stream,
        Version(envelope.first_version - 1),
        len(envelope.events),
        envelope.commit_id,
        envelope.SerializeToString(deterministic=True),
        raw.recorded_at,
    )


async def fill(store: EventStore, chunks: AsyncGenerator[Sequence[NewCommit], None]) -> None:
    """Append commits in order: a window of them is on its way while the next one is made.

    When an append fails in a backend that may have stored a later one of its window, what is there is not the beginning
    of the commits any more.

    Args:
        store: the store to write to; nobody else may do so meanwhile.
        chunks: the commits. An empty chunk says that there are no more for now: all before it are stored first.

    Raises:
        Conflict: a stream is not where a commit goes on.
        StoreUnavailable: a commit could not be stored.
    """
    filling = _Filling(store.backend)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                for commit in chunk:
                    if filling.add(commit):
                        await filling.send()
                if not chunk:
                    await filling.settle()
        await filling.settle()
    finally:
        await filling.abandon()


class _Filling:
    """The window that is being made, and the one that is on its way."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._window: list[NewCommit] = []
        self._bytes = 0
        self._under_way: asyncio.Future[list[Appended | BaseException]] | None = None

    def add(self, commit: NewCommit) -> bool:
        """Take a commit; say whether the window is full."""
        self._window.append(commit)
        self._bytes += len(commit.envelope)
        return len(self._window) == AT_ONCE or self._bytes >= _WINDOW_BYTES

    async def send(self) -> None:
        """Send the window once the one before it is stored."""
        await self._answered()
        window, self._window, self._bytes = self._window, [], 0
        self._under_way = asyncio.gather(*map(self._backend.append, window), return_exceptions=True)

    async def settle(self) -> None:
        """Have all stored that was taken."""
        await self.send()
        await self._answered()

    async def _answered(self) -> None:
        if self._under_way is None:
            return
        answers = await self._under_way
        self._under_way = None
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def abandon(self) -> None:
        """Leave nothing behind that runs."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])
