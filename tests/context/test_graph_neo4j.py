"""The decision graph in a real Neo4j: the same as the stories tell, and all of it back after it was emptied."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from context_service import graph_neo4j, relationships
from context_service.graph import KINDS, TYPES
from context_service.stories import codec
from context_service.views import all_ready, open_views, projecting
from eventstore import EventStore, open_store
from neo4j import AsyncDriver, AsyncGraphDatabase
from projections import Batching, Deployed, Monitor, rebuild, run, wait_for
from projections.neo4j import Neo4jModel
from valkey.asyncio import Valkey

from tests.context.questions import Asked, Questions, compared
from tests.context.test_graph import as_of, states, told, write_history
from tests.context.test_views import settled, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.stories import Stories

    from tests.context.conftest import Imported
    from tests.context.test_graph import Graph

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]


async def empty(driver: AsyncDriver) -> None:
    """Remove all of the graph, and what is recorded of it; others use the server too."""
    for label in graph_neo4j.GRAPH.owns:
        if not label.startswith("-"):
            await driver.execute_query(f"MATCH (n:{label}) DETACH DELETE n")
    await driver.execute_query("MATCH (r:ProjectionRecord) WHERE r.key STARTS WITH 'graph' DELETE r")


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[AsyncDriver]:
    """Use a server with nothing of the graph in it."""
    async with AsyncGraphDatabase.driver(url) as driver:
        await empty(driver)
        yield driver


@pytest.fixture
async def driver_5(neo4j_5: str) -> AsyncIterator[AsyncDriver]:
    async with emptied(neo4j_5) as driver:
        yield driver


@pytest.fixture
async def driver_2026(neo4j_2026: str) -> AsyncIterator[AsyncDriver]:
    async with emptied(neo4j_2026) as driver:
        yield driver


@pytest.fixture(params=["driver_5", "driver_2026"])
def driver(request: pytest.FixtureRequest) -> AsyncDriver:
    found: AsyncDriver = request.getfixturevalue(request.param)
    return found


@asynccontextmanager
async def drawing(store: EventStore, driver: AsyncDriver, batching: Batching) -> AsyncIterator[None]:
    task = asyncio.create_task(run(graph_neo4j.GRAPH, store, Neo4jModel(driver), batching=batching))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def drawn(driver: AsyncDriver, position: int | None = None) -> Graph:
    """Read the graph, now by its plain labels and types alone, or as of a position."""
    nodes: list[Any] = []
    edges: list[Any] = []
    kinds = [(kind, kind) for kind in KINDS] + [(kind, f"Past{kind}") for kind in KINDS if position is not None]
    for kind, label in kinds:
        query = f"MATCH (n:{label}) RETURN properties(n) AS p"
        for record in (await driver.execute_query(query)).records:
            found = record["p"]
            id = found.get("key", found.get("of")).partition(":")[2]
            nodes.append((kind, id, found, found["since"], found.get("until")))
    types = [(type, type) for type in TYPES] + [(type, f"PAST_{type}") for type in TYPES if position is not None]
    for type, actual in types:
        query = f"MATCH (a)-[r:{actual}]->(b) RETURN a.key AS a, b.key AS b, r.since AS since, r.until AS until"
        for record in (await driver.execute_query(query)).records:
            ends = [record[end].partition(":")[2] for end in "ab"]
            edges.append((type, *ends, record["since"], record["until"]))
    return as_of(nodes, edges, position)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_random_histories(driver: AsyncDriver, seed: int) -> None:
    """Whatever comes in whatever order and batches, the graph is what the stories tell, also of the past."""
    chance = random.Random(seed)
    async with open_store("memory://", codec) as store:
        state = await write_history(store, chance, 120)
        async with drawing(store, driver, Batching(commits=chance.randint(1, 40))):
            await wait_for(graph_neo4j.GRAPH, Neo4jModel(driver), await store.head(), timeout=60)
        assert await drawn(driver) == told(state)
        head = (await store.head()).position
        for position in chance.sample(range(1, head), 5):
            assert await drawn(driver, position) == told(await states(store, position)), position
        found = await rebuild(graph_neo4j.GRAPH, store, Neo4jModel(driver))
        assert not found.difference
        assert await drawn(driver) == told(state)
        view = Deployed(graph_neo4j.GRAPH, store, Neo4jModel(driver))
        asked = Asked(relationships.Graph(view, graph_neo4j.around), {})
        assert await compared(asked, chance, 20) > 10


async def test_emptied(driver: AsyncDriver, imported: Imported) -> None:
    """A Neo4j that is emptied while its projection runs has everything back, and 200 random positions of the past."""
    async with open_store(imported.url, codec) as store:
        expected = told(await states(store))
        async with drawing(store, driver, Batching()):
            await wait_for(graph_neo4j.GRAPH, Neo4jModel(driver), await store.head(), timeout=60)
            assert await drawn(driver) == expected
            await empty(driver)
            await wait_for(graph_neo4j.GRAPH, Neo4jModel(driver), await store.head(), timeout=60)
        assert await drawn(driver) == expected
        view = Deployed(graph_neo4j.GRAPH, store, Neo4jModel(driver))
        asked = Asked(relationships.Graph(view, graph_neo4j.around), {})
        assert await compared(asked, random.Random(5), 200) > 100


async def test_both_emptied(stories: Stories, neo4j_2026: str, valkey: str) -> None:
    """A Neo4j and a Valkey that are emptied have everything back, and readers find it under the names they know."""
    async with emptied(neo4j_2026) as driver, Valkey.from_url(valkey, db=7) as client:
        await client.flushdb()
        monitor = Monitor()
        settings = {"graph": neo4j_2026, "cache": f"{valkey}/7"}
        async with open_views(stories, **settings) as views, projecting(views, monitor):
            await write(stories, "D1", "D2", "D3")
            before = await settled(stories, views)
            await empty(driver)
            await client.flushdb()
            assert await settled(stories, views) == before
            found = await driver.execute_query(
                "MATCH (a:Decision)-[:DEPENDS_ON]->(b:Decision) RETURN a.id AS a, b.id AS b ORDER BY a"
            )
            assert [(row["a"], row["b"]) for row in found.records] == [("D2", "D1"), ("D3", "D2")]
            assert json.loads(await client.get("swe:case:S-1:spec"))["title"] == "Log in"
            assert all_ready(views, monitor)


class QuestionsInNeo4j(Questions):
    """A server of which nobody else uses the graph meanwhile."""

    server = ""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue(cls.server)

        async def clear() -> None:
            async with emptied(url):
                pass

        asyncio.run(clear())
        return url


@pytest.mark.usefixtures("neo4j_5")
class TestQuestionsOn5(QuestionsInNeo4j):
    """The oldest version."""

    __test__ = True
    server = "neo4j_5"


@pytest.mark.usefixtures("neo4j_2026")
class TestQuestionsOn2026(QuestionsInNeo4j):
    """The newest version."""

    __test__ = True
    server = "neo4j_2026"
