"""What the framework needs of a target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from projections._projection import Name

Tx = TypeVar("Tx")

Changes: TypeAlias = Callable[[Tx], Awaitable[None] | None]
"""Writes through a target's transaction."""


class Stored(NamedTuple):
    """A record as it is kept."""

    record: bytes
    #: Rises by one with every change; 0 stands for a record that is not there.
    revision: int


class Model(Protocol[Tx]):
    """A database that holds views and, beside each, one small record. ``projections.testing`` proves what follows.

    **One change, one transaction.** ``commit`` makes the changes and replaces the record together or not at all, and
    only when the record is at the expected revision. Two that expect the same revision cannot both succeed, however
    long one of them was paused, and whether or not anybody believes to hold a lease: that is all the safety there is.

    **Errors.** What passes by itself is ``ModelUnavailable``; then nobody knows whether the commit happened, and a
    later ``load`` tells. A target that is not fit is ``ModelRefused``. Whatever ``changes`` raises comes out as it is,
    and nothing was written.

    **Generations.** A view is called by its plain names while it is live. One that is rebuilt has other names, which
    ``naming`` gives, and which readers of the plain names never see.
    """

    async def load(self, key: str) -> Stored | None:
        """Return the record kept under a key; None when there is none."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        """Make changes and replace a record, or remove it with None; say whether it was at the expected revision."""

    def naming(self, projection: str, generation: int) -> Name:
        """Return how the names of a generation that is not live are made of the plain ones."""

    async def prepare(self, setup: Callable[[Tx, Name], Awaitable[None] | None], name: Name) -> None:
        """Let a projection make its tables, indexes and constraints."""

    def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Yield all that a view consists of as pairs of a key and a canonical value, in any order.

        Keys and values do not show under which names the generation is kept.
        """

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Tx]:
        """Return changes that remove a generation, which need not be there. Nobody writes to it in between."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Tx]:
        """Return changes that put a generation in the live one's place. Nobody writes to the two in between."""
