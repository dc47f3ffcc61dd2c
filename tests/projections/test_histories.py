"""Random histories: the live view, a rebuilt one and a plain fold say the same."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventstore import ANY, StreamId, Token, open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from projections import Batching, Monitor, rebuild, running, wait_for
from projections.memory import MemoryModel
from projections.sqlite import SqliteModel

from tests.projections.test_run import Scene
from tests.projections.views import CODEC, IN_MEMORY, IN_SQLITE, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LUCKY = st.integers(-5, 12)
COMMITS = st.tuples(
    st.sampled_from([("n", "1"), ("n", "2"), ("n", "é'"), ("other", "1")]), st.lists(LUCKY, min_size=1, max_size=4)
)
HISTORIES = st.lists(st.tuples(st.lists(COMMITS, max_size=6), st.integers(1, 5)), min_size=1, max_size=4)


@asynccontextmanager
async def opened(target: str) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store:
        if target == "memory":
            yield Scene(IN_MEMORY, store, MemoryModel(), Monitor())
            return
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteModel(Path(folder) / "view.db") as model:
                yield Scene(IN_SQLITE, store, model, Monitor())


async def dump(scene: Scene) -> dict[str, bytes]:
    return {key: value async for key, value in scene.model.entries(scene.projection.owns, str)}


async def runs(scene: Scene, commits: int) -> None:
    """Run to the log's end in batches of so many commits."""
    end = Token(scene.store.log_id, (await scene.store.head()).position)
    async with running(scene.projection, scene.store, scene.model, batching=Batching(commits=commits), lease=1):
        # Position 0 is reached by a view that is not there.
        await wait_for(scene.projection, scene.model, end, timeout=5)
        while await scene.model.load("sums") is None:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.001)


async def lives_through(target: str, history: list[tuple[list[tuple[tuple[str, str], list[int]]], int]]) -> None:
    async with opened(target) as scene:
        for commits, batch in history:
            for (category, id), values in commits:
                await scene.store.append(StreamId(category, id), numbers(*values), expected=ANY)
            await runs(scene, batch)
        await scene.equals_fold()
        live = await dump(scene)
        found = await rebuild(scene.projection, scene.store, scene.model, batching=Batching(commits=2), lease=1)
        assert (found.difference.count, found.swapped) == (0, True)
        assert await dump(scene) == live


@pytest.mark.parametrize("target", ["memory", "sqlite"])
@given(history=HISTORIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_three_ways(target: str, history: list[tuple[list[tuple[tuple[str, str], list[int]]], int]]) -> None:
    """A view that was made step by step, one that was rebuilt, and a fold of the log are equal."""
    asyncio.run(lives_through(target, history))
