"""Targets by URL, so that what is done to a runner can be done on each: another one is a function and its scheme."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from neo4j import AsyncGraphDatabase
from projections._record import from_bytes
from projections.neo4j import Neo4jModel
from projections.sqlite import SqliteModel
from projections.valkey import ValkeyModel
from valkey.asyncio import Valkey

from tests.projections.views import IN_SQLITE, in_neo4j, in_valkey, totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from neo4j import AsyncDriver
    from projections import Projection

    from tests.projections.views import View


class Target(NamedTuple):
    """A model, and a projection for it whose entries say ``id``, ``total`` and ``commits``."""

    projection: Projection[Any]
    model: Any
    #: Reads the view as its readers do, through the plain names, and its checkpoint, in one transaction.
    read: Callable[[], Awaitable[tuple[int, View]]]

    async def view(self) -> View:
        """Return what is in the view."""
        return await totals(self.projection, self.model)


@asynccontextmanager
async def sqlite(url: str, seconds: float) -> AsyncIterator[Target]:
    """Open ``sqlite:///PATH``."""
    path = url.removeprefix("sqlite:///")

    def read() -> tuple[int, View]:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN")
            [[record]] = connection.execute("SELECT record FROM projection_records WHERE key = 'sums'")
            rows = connection.execute("SELECT id, total, commits FROM sums")
            return from_bytes(record).position, {id: (total, commits) for id, total, commits in rows}

    async with SqliteModel(path) as model:
        yield Target(IN_SQLITE, model, lambda: asyncio.to_thread(read))


@asynccontextmanager
async def valkey(url: str, seconds: float) -> AsyncIterator[Target]:
    """Open ``valkey://HOST:PORT#SPACE``, where a space is one test's own."""
    address, _, space = url.partition("#")
    script = """
        local found = {redis.call('HGET', ARGV[2], 'record')}
        for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
            table.insert(found, {key, unpack(redis.call('HMGET', key, 'total', 'commits'))})
        end
        return found
    """
    async with Valkey.from_url(address) as client:

        async def read() -> tuple[int, View]:
            record, *rows = await client.execute_command("EVAL", script, 0, f"{space}:*", f"record:{space}:sums")
            view = {key.decode().rpartition(":")[2]: (int(total), int(commits)) for key, total, commits in rows}
            return from_bytes(record).position, view

        yield Target(in_valkey(space), ValkeyModel(client, prefix=f"record:{space}"), read)


@asynccontextmanager
async def neo4j(url: str, seconds: float) -> AsyncIterator[Target]:
    """Open ``neo4j://HOST:PORT#SPACE``."""
    address, _, space = url.partition("#")
    projection = in_neo4j(space)
    async with AsyncGraphDatabase.driver(address) as driver:
        yield Target(
            projection, Neo4jModel(driver, transaction_seconds=seconds), lambda: read_locked(driver, projection)
        )


async def read_locked(driver: AsyncDriver, projection: Projection[Any]) -> tuple[int, View]:
    """Read a graph that stands still meanwhile, and see that its nodes and its relationships say the same."""
    sums, _, added = projection.owns
    locked = "MATCH (r:ProjectionRecord {key: $key}) SET r.lock = '' RETURN r.record"
    view = f"MATCH (s:{sums}){added.replace(':', 'r:')}(n) RETURN s.id, s.total, s.commits, sum(n.id * r.times)"
    async with driver.session() as session, await session.begin_transaction() as tx:
        [record] = await (await tx.run(locked, key=projection.name)).single(strict=True)
        rows = [record.values() async for record in await tx.run(view)]
        await tx.rollback()
    for _, total, _, sum_of_added in rows:
        assert total == sum_of_added
    position = from_bytes(record.partition(" ")[2].encode()).position
    return position, {id: (total, commits) for id, total, commits, _ in rows}


SCHEMES: Final[dict[str, Callable[[str, float], AbstractAsyncContextManager[Target]]]] = {
    "sqlite": sqlite,
    "valkey": valkey,
    "neo4j": neo4j,
}


def open_target(url: str, *, seconds: float = 1.0) -> AbstractAsyncContextManager[Target]:
    """Return a target, not open; Neo4j takes back what takes longer than so many seconds."""
    return SCHEMES[url.partition(":")[0]](url, seconds)
