"""Targets by URL, so that what is done to a runner can be done on each: another one is a function and its scheme."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from neo4j import AsyncGraphDatabase
from projections.neo4j import Neo4jModel
from projections.sqlite import SqliteModel
from projections.valkey import ValkeyModel
from valkey.asyncio import Valkey

from tests.projections.views import IN_SQLITE, in_neo4j, in_valkey, totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from projections import Projection


class Target(NamedTuple):
    """A model, and a projection for it whose entries say ``id``, ``total`` and ``commits``."""

    projection: Projection[Any]
    model: Any

    async def view(self) -> dict[str, tuple[int, int]]:
        """Return what each stream adds up to in the view, and how many commits that were."""
        return await totals(self.projection, self.model)


@asynccontextmanager
async def sqlite(url: str) -> AsyncIterator[Target]:
    """Open ``sqlite:///PATH``."""
    async with SqliteModel(url.removeprefix("sqlite:///")) as model:
        yield Target(IN_SQLITE, model)


@asynccontextmanager
async def valkey(url: str) -> AsyncIterator[Target]:
    """Open ``valkey://HOST:PORT#SPACE``, where a space is one test's own."""
    address, _, space = url.partition("#")
    async with Valkey.from_url(address) as client:
        yield Target(in_valkey(space), ValkeyModel(client, prefix=f"record:{space}"))


@asynccontextmanager
async def neo4j(url: str) -> AsyncIterator[Target]:
    """Open ``neo4j://HOST:PORT#SPACE``."""
    address, _, space = url.partition("#")
    async with AsyncGraphDatabase.driver(address) as driver:
        yield Target(in_neo4j(space), Neo4jModel(driver, transaction_seconds=1.0))


SCHEMES: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Target]]]] = {
    "sqlite": sqlite,
    "valkey": valkey,
    "neo4j": neo4j,
}


def open_target(url: str) -> AbstractAsyncContextManager[Target]:
    """Return a target, not open."""
    return SCHEMES[url.partition(":")[0]](url)
