"""The service's read models have each commit's effect once, whatever happens to their runners."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from context_service import graph_neo4j, graph_sqlite
from context_service.cache import ToMemory, ToValkey, planning_cache
from context_service.events.v1 import events_pb2 as pb
from context_service.stories import Stories, codec
from eventstore import MemorySnapshots, StreamId, open_store
from projections import rebuild, run, wait_for
from projections.memory import MemoryModel
from projections.neo4j import Neo4jModel
from projections.sqlite import SqliteModel
from projections.testing import effect_once
from projections.valkey import ValkeyModel
from valkey.asyncio import Valkey

from tests.context.test_graph import CASES, random_events, write_history
from tests.context.test_graph_neo4j import emptied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.context.conftest import Imported


async def history(seed: int, commits: int) -> list[tuple[StreamId, list[Any]]]:
    """Return random commits as a trial takes them."""
    async with open_store("memory://", codec) as store:
        await write_history(store, random.Random(seed), commits)
        return [(commit.stream, [event.message for event in commit.events]) async for commit in store.log()]


async def test_graph_in_sqlite(tmp_path: Path) -> None:
    """The graph in SQLite."""
    async with SqliteModel(tmp_path / "graph.db") as model:
        await effect_once(graph_sqlite.GRAPH, model, await history(1, 60), codec=codec)


def shared(seed: int, commits: int) -> list[tuple[StreamId, list[Any]]]:
    """Return random commits of two stories that claim each other's ids, valid or not."""
    chance = random.Random(seed)
    found: list[tuple[StreamId, list[Any]]] = [
        (StreamId("story", case), [pb.ContextCreatedEvent(phase="DESIGN")]) for case in CASES
    ]
    for _ in range(commits):
        case, number = chance.choice(CASES), chance.choice("012")
        common: list[Any] = [
            pb.PlanVersionAddedEvent(plan_id=f"p{number}"),
            pb.PlanVersionRemovedEvent(plan_id=f"p{number}"),
            pb.DecisionAddedEvent(decision_id=f"d{number}"),
            pb.DecisionDeletedEvent(decision_id=f"d{number}"),
            pb.SubtaskAddedEvent(subtask_id=f"t{number}", plan_id=f"p{chance.choice('012')}"),
            pb.SubtaskRemovedEvent(subtask_id=f"t{number}"),
        ]
        news = [chance.choice(common)] if chance.random() < 0.7 else random_events(chance, case)
        found.append((StreamId("story", case), list(news)))
    return found


def plan_taken_away() -> list[tuple[StreamId, list[Any]]]:
    """Return commits where the newest plan of a case is another one's, which takes it away."""
    one, two = (StreamId("story", case) for case in CASES)
    plan = pb.PlanVersionAddedEvent(plan_id="p")
    return [
        (one, [pb.ContextCreatedEvent()]),
        (two, [pb.ContextCreatedEvent()]),
        (one, [plan]),
        (two, [plan]),
        (one, [pb.PlanVersionRemovedEvent(plan_id="p")]),
        (two, [pb.DecisionAddedEvent(decision_id="d")]),
    ]


async def test_graph_of_a_plan_taken_away(tmp_path: Path) -> None:
    """That the plan which a decision would go into is there is looked up where its batch does not speak of it."""
    async with SqliteModel(tmp_path / "graph.db") as model:
        await effect_once(graph_sqlite.GRAPH, model, plan_taken_away(), codec=codec, seed=1)


@pytest.mark.parametrize("seed", range(4))
async def test_graph_of_shared_ids(tmp_path: Path, seed: int) -> None:
    """How the log is cut into batches does not show, also where two stories use one id."""
    async with SqliteModel(tmp_path / "graph.db") as model:
        await effect_once(graph_sqlite.GRAPH, model, shared(seed, 60), codec=codec, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_graph_in_neo4j(neo4j_2026: str) -> None:
    """The graph in Neo4j."""
    async with emptied(neo4j_2026) as driver:
        model = Neo4jModel(driver)
        await effect_once(graph_neo4j.GRAPH, model, [*plan_taken_away(), *await history(2, 40)], codec=codec)


@pytest.mark.contract
@pytest.mark.timeout(120)
async def test_cache_of_the_peps(imported: Imported, valkey: str) -> None:
    """The planning cache of 26 years is the same in Valkey as in memory, followed and rebuilt."""
    async with open_store(imported.url, codec) as store, Valkey.from_url(valkey, db=6) as client:
        await client.flushdb()
        stories = Stories(store, MemorySnapshots())
        memory = MemoryModel()
        for projection, model in (
            (planning_cache(stories, ToMemory), memory),
            (planning_cache(stories, ToValkey), ValkeyModel(client)),
        ):
            task = asyncio.create_task(run(projection, store, model))
            try:
                await wait_for(projection, model, await store.head(), timeout=60)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert not (await rebuild(projection, store, model)).difference
        texts = {key: value for key, value in memory.view.items() if isinstance(value, str)}
        assert len(texts) >= 29
        assert {key: (await client.get(key)).decode() for key in texts} == texts
