"""The service's read models: where they live by their URLs, and how they are kept up to date."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventstore import EventStoreError, InvalidInput
from projections import Monitor, run
from projections.memory import MemoryModel
from projections.sqlite import SqliteModel
from prometheus_client import start_http_server

from context_service import graph_sqlite
from context_service.cache import ToMemory, ToValkey, planning_cache
from context_service.servers import (
    NEO4J_SCHEMES,
    VALKEY_SCHEMES,
    file_beside,
    neo4j_at,
    parsed,
    sqlite_file,
    valkey_at,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from projections import Model, Projection

    from context_service.stories import Stories

_log = logging.getLogger("context_service")

NOWHERE: Final = "none"


class View(NamedTuple):
    """A read model and where it lives."""

    projection: Projection[Any]
    model: Model[Any]


@asynccontextmanager
async def open_views(stories: Stories, *, graph: str = "", cache: str = "") -> AsyncIterator[list[View]]:
    """Open the read models of some stories.

    Args:
        stories: of which log.
        graph: where the decision graph lives: ``neo4j://user:password@host:7687``, ``sqlite:///graph.db``, or ``none``.
            When empty, a SQLite file beside a SQLite log, else memory.
        cache: where the planning cache lives: ``valkey://host:6379/0``, ``memory://``, or ``none``. When empty, memory.

    Raises:
        InvalidInput: a URL is none of these, or needs a driver that is not installed.
    """
    async with AsyncExitStack() as stack:
        views = [await _graph(stack, stories, graph), await _cache(stack, stories, cache)]
        yield [view for view in views if view is not None]


async def _graph(stack: AsyncExitStack, stories: Stories, url: str) -> View | None:
    if url == NOWHERE:
        return None
    scheme = parsed(url, "graph").scheme
    if scheme in NEO4J_SCHEMES:
        server = await stack.enter_async_context(neo4j_at(url, "graph"))
        from projections.neo4j import Neo4jModel  # noqa: PLC0415 (the driver is there)

        from context_service import graph_neo4j  # noqa: PLC0415

        return View(graph_neo4j.GRAPH, Neo4jModel(server.driver, database=server.database))
    path = sqlite_file(url, "graph") if url else file_beside(stories.store.backend, "graph") or ":memory:"
    if not path:
        raise InvalidInput("graph", f"expected neo4j://, bolt://, sqlite:///FILE or {NOWHERE}; got {scheme}://")
    return View(graph_sqlite.GRAPH, await stack.enter_async_context(SqliteModel(path)))


async def _cache(stack: AsyncExitStack, stories: Stories, url: str) -> View | None:
    if url == NOWHERE:
        return None
    scheme = parsed(url, "cache").scheme
    if scheme in VALKEY_SCHEMES:
        client = await stack.enter_async_context(valkey_at(url, "cache"))
        from projections.valkey import ValkeyModel  # noqa: PLC0415 (the driver is there)

        return View(planning_cache(stories, ToValkey), ValkeyModel(client))
    if url and scheme != "memory":
        raise InvalidInput("cache", f"expected valkey://, memory:// or {NOWHERE}; got {scheme}://")
    return View(planning_cache(stories, ToMemory), MemoryModel())


@asynccontextmanager
async def projecting(stories: Stories, views: Sequence[View], monitor: Monitor) -> AsyncIterator[None]:
    """Keep read models up to date while the block runs."""
    tasks = [asyncio.create_task(_keep(stories, view, monitor)) for view in views]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(stories: Stories, view: View, monitor: Monitor) -> None:
    name = view.projection.name
    try:
        await run(view.projection, stories.store, view.model, monitor=monitor)
    except EventStoreError as error:
        # It is of another log, or of a newer copy of this one: what to do about that is not the service's to decide.
        _log.error("the projection %s has ended: %s", name, error)
        monitor.note(name, "failed", trouble=str(error))


def all_ready(views: Sequence[View], monitor: Monitor) -> bool:
    """Say whether all read models are kept up to date."""
    return all(monitor.health(view.projection.name).ready for view in views)


@contextmanager
def offering(monitor: Monitor, address: str) -> Iterator[int]:
    """Offer metrics over HTTP at HOST:PORT while the block runs, nowhere when that is empty; yields the port.

    Raises:
        InvalidInput: the address cannot be listened on.
    """
    if not address:
        yield 0
        return
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), addr=host, registry=monitor.registry)
    except (OSError, ValueError, OverflowError):
        raise InvalidInput("metrics", f"expected HOST:PORT that is free, got {address!r}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
