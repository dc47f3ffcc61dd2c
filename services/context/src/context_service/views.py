"""The service's read models: where they live by their URLs, and how they are kept up to date."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from eventstore import InvalidInput
from projections import Deployed, run
from projections.memory import MemoryModel
from projections.serving import Telling
from projections.sqlite import SqliteModel

from context_service import graph_sqlite
from context_service.bus import Bus, open_bus
from context_service.cache import ToMemory, ToValkey, planning_cache
from context_service.relationships import Graph
from context_service.servers import (
    NEO4J_SCHEMES,
    NOWHERE,
    cache_at,
    file_beside,
    neo4j_at,
    parsed,
    sqlite_file,
    valkey_at,
)
from context_service.stories import DEFAULT_STORE, SNAPSHOT_EVERY, open_stories
from context_service.updates import BusModel, updates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from projections import Monitor

    from context_service.stories import Stories

_log = logging.getLogger("context_service")


@asynccontextmanager
async def open_views(
    stories: Stories, bus: Bus | None = None, /, *, graph: str = "", cache: str = ""
) -> AsyncIterator[list[Deployed]]:
    """Open the read models of some stories.

    Args:
        stories: of which log.
        bus: where updates of stories are published; None publishes none.
        graph: where the decision graph lives: ``neo4j://user:password@host:7687``, ``sqlite:///graph.db``, or ``none``.
            When empty, a SQLite file beside a SQLite log, else memory.
        cache: where the planning cache lives: ``valkey://host:6379/0``, ``memory://``, or ``none``. When empty, memory.

    Raises:
        InvalidInput: a URL is none of these, or needs a driver that is not installed.
    """
    async with AsyncExitStack() as stack:
        views = [await _graph(stack, stories, graph), await _cache(stack, stories, cache), _updates(stories, bus)]
        yield [view for view in views if view is not None]


def graph_among(views: Sequence[Deployed]) -> Graph | None:
    """Return the graph among some read models, ready to be asked; None where there is none."""
    for view in views:
        if view.projection is graph_sqlite.GRAPH:
            return Graph(view, graph_sqlite.around)
        if view.projection.name == graph_sqlite.GRAPH.name:
            from context_service import graph_neo4j  # noqa: PLC0415 (the driver is there)

            return Graph(view, graph_neo4j.around)
    return None


def graph_file(stories: Stories, url: str) -> str:
    """Return the SQLite file of a graph, ``:memory:`` for none; nothing for URLs that name no file.

    Raises:
        InvalidInput: it is no URL.
    """
    return sqlite_file(url, "graph") if url else file_beside(stories.store.backend, "graph") or ":memory:"


async def _graph(stack: AsyncExitStack, stories: Stories, url: str) -> Deployed | None:
    if url == NOWHERE:
        return None
    scheme = parsed(url, "graph").scheme
    if scheme in NEO4J_SCHEMES:
        server = await stack.enter_async_context(neo4j_at(url, "graph"))
        from projections.neo4j import Neo4jModel  # noqa: PLC0415 (the driver is there)

        from context_service import graph_neo4j  # noqa: PLC0415

        return Deployed(graph_neo4j.GRAPH, stories.store, Neo4jModel(server.driver, database=server.database))
    path = graph_file(stories, url)
    if not path:
        raise InvalidInput("graph", f"expected neo4j://, bolt://, sqlite:///FILE or {NOWHERE}; got {scheme}://")
    return Deployed(graph_sqlite.GRAPH, stories.store, await stack.enter_async_context(SqliteModel(path)))


async def _cache(stack: AsyncExitStack, stories: Stories, url: str) -> Deployed | None:
    kind = cache_at(url)
    if kind == "none":
        return None
    if kind == "memory":
        return Deployed(planning_cache(stories, ToMemory), stories.store, MemoryModel())
    client = await stack.enter_async_context(valkey_at(url, "cache"))
    from projections.valkey import ValkeyModel  # noqa: PLC0415 (the driver is there)

    return Deployed(planning_cache(stories, ToValkey), stories.store, ValkeyModel(client))


def _updates(stories: Stories, bus: Bus | None) -> Deployed | None:
    return None if bus is None else Deployed(updates(stories.store.log_id), stories.store, BusModel(bus))


@asynccontextmanager
async def deployed() -> AsyncIterator[list[Deployed]]:
    """Open the read models of the service's settings in the environment.

    They are for the command ``projections``, and the variables are those of ``context serve``. The log must be there.
    What lives in memory is left out: no other process sees it.

    Raises:
        EventStoreError: a setting is wrong, or the log cannot be opened.
    """
    setting = os.environ.get
    every = setting("CONTEXT_SNAPSHOT_EVERY") or str(SNAPSHOT_EVERY)
    if not every.isdecimal():
        raise InvalidInput("snapshot-every", f"expected a number of events, got {every!r}")
    store, snapshots = setting("CONTEXT_STORE") or DEFAULT_STORE, setting("CONTEXT_SNAPSHOTS", "")
    async with (
        open_stories(store, create=False, snapshots=snapshots, snapshot_every=int(every)) as stories,
        open_bus(setting("CONTEXT_NATS", "")) as bus,
    ):
        by_default = "" if file_beside(stories.store.backend, "graph") else NOWHERE
        graph, cache = setting("CONTEXT_GRAPH") or by_default, setting("CONTEXT_CACHE", "")
        async with open_views(stories, bus, graph=graph, cache=cache) as views:
            yield [view for view in views if not isinstance(view.model, MemoryModel)]


class Logging(Telling):
    """A monitor that tells the service's log each new state of a read model, once, with its name and the reason."""

    def __init__(self) -> None:
        super().__init__(self._write)

    def _write(self, name: str, state: str) -> None:
        health = self.health(name)
        level = logging.ERROR if health.state == "failed" else logging.INFO if health.ready else logging.WARNING
        _log.log(level, "read model %s: %s", name, state)


@asynccontextmanager
async def projecting(views: Sequence[Deployed], monitor: Monitor) -> AsyncIterator[None]:
    """Keep read models up to date while the block runs. One that cannot be kept leaves the others alone."""
    tasks = [asyncio.create_task(run(*view, monitor=monitor)) for view in views]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        # What has ended one before was told by the monitor when it did.
        await asyncio.gather(*tasks, return_exceptions=True)


def all_ready(views: Sequence[Deployed], monitor: Monitor) -> bool:
    """Say whether all read models are kept up to date."""
    return all(monitor.health(view.projection.name).ready for view in views)
