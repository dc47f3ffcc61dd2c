"""Bundles of packs, kept in the cache alone until they expire. Nothing else is made of them, so they may be lost."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

from eventstore import EventStoreError

from context_service.servers import cache_at, valkey_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from valkey.asyncio import Valkey


class BundlesUnavailable(EventStoreError):
    """The cache cannot be reached, or does not do what it is asked. The message is for callers."""


class Bundles(Protocol):
    """Where bundles are kept until they expire."""

    async def keep(self, key: str, text: str, *, seconds: int) -> bool:
        """Keep a text under a key; False when the key is taken.

        Raises:
            BundlesUnavailable: it cannot be kept now.
        """

    async def find(self, key: str) -> str | None:
        """Return what is kept under a key, None for what never was or has expired.

        Raises:
            BundlesUnavailable: that cannot be found out now.
        """


class InMemory:
    """Bundles of this process alone."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: dict[str, tuple[str, float]] = {}

    async def keep(self, key: str, text: str, *, seconds: int) -> bool:
        """Keep a text under a key; False when the key is taken."""
        now = self._now()
        self._kept = {key: (text, until) for key, (text, until) in self._kept.items() if until > now}
        if key in self._kept:
            return False
        self._kept[key] = (text, now + seconds)
        return True

    async def find(self, key: str) -> str | None:
        """Return what is kept under a key."""
        text, until = self._kept.get(key, (None, 0.0))
        return text if until > self._now() else None


class InValkey:
    """Bundles in a Valkey, which lets go of them by itself."""

    def __init__(self, client: Valkey) -> None:
        self._client = client

    async def keep(self, key: str, text: str, *, seconds: int) -> bool:
        """Keep a text under a key; False when the key is taken."""
        with _translated():
            return bool(await self._client.set(key, text, ex=seconds, nx=True))

    async def find(self, key: str) -> str | None:
        """Return what is kept under a key."""
        with _translated():
            found: bytes | None = await self._client.get(key)
        return None if found is None else found.decode()


@contextmanager
def _translated() -> Iterator[None]:
    """Tell faults of the server without its address and what it answered."""
    from valkey.exceptions import ValkeyError  # noqa: PLC0415 (an extra installs it)

    try:
        yield
    except (ValkeyError, OSError) as error:
        raise BundlesUnavailable(f"the cache is not available ({type(error).__name__}); try again") from error


@asynccontextmanager
async def open_bundles(url: str) -> AsyncIterator[Bundles | None]:
    """Open the place where bundles are kept, which is that of the planning cache; None for ``none``.

    Raises:
        InvalidInput: the URL is none of a cache.
    """
    kind = cache_at(url)
    if kind == "valkey":
        async with valkey_at(url, "cache") as client:
            yield InValkey(client)
    else:
        yield InMemory() if kind == "memory" else None
