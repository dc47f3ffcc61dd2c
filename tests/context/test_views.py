"""The service's read models by their URLs: kept, reported, and back after everything was lost."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service import app
from context_service.app import serving
from context_service.bundles import open_bundles
from context_service.events.v1 import events_pb2 as pb
from context_service.stories import open_stories
from context_service.views import Logging, all_ready, deployed, open_views, projecting
from eventstore import ANY, EventStoreError, InvalidInput, StreamId
from grpc_health.v1 import health_pb2, health_pb2_grpc
from projections import Monitor, UnknownProjection, digest_of_view, rebuild, skip, status, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from context_service.stories import Stories
    from projections import Deployed

S1 = StreamId("story", "S-1")


async def write(stories: Stories, *decisions: str) -> None:
    """Record decisions, each of which depends on the one before."""
    news: list[Any] = []
    if not (await stories.store.tail(S1)).version:
        news.append(pb.ContextCreatedEvent(title="Log in", phase="DESIGN"))
    for number, id in enumerate(decisions):
        news.append(pb.DecisionAddedEvent(decision_id=id, title=id, status=pb.APPROVED))
        if number:
            before = decisions[number - 1]
            news.append(pb.DecisionLinkedEvent(source_id=id, target_id=before, kind=pb.DEPENDS_ON, stated_by=id))
    await stories.store.append(S1, news, expected=ANY)


async def settled(stories: Stories, views: Sequence[Deployed]) -> list[str]:
    """Wait until all views have everything; return their digests."""
    head = await stories.store.head()
    for view in views:
        await wait_for(view.projection, view.model, head, timeout=30)
    return [await digest_of_view(view.projection, view.model) for view in views]


async def test_defaults(stories: Stories) -> None:
    """By default there are two read models, and each follows the stories."""
    monitor = Monitor()
    async with open_views(stories) as views, projecting(views, monitor):
        assert [view.projection.name for view in views] == ["graph", "planning-cache"]
        await write(stories, "D1", "D2")
        before = await settled(stories, views)
        await write(stories, "D3")
        assert await settled(stories, views) != before
        assert all_ready(views, monitor)
    async with open_views(stories, graph="none", cache="none") as views:
        assert views == []


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"graph": "postgres://x"}, "graph"),
        ({"graph": "sqlite://"}, "graph"),
        ({"graph": "graph.db"}, "graph"),
        ({"cache": "redis"}, "cache"),
        ({"cache": "http://x"}, "cache"),
    ],
)
async def test_wrong_urls(stories: Stories, settings: dict[str, str], field: str) -> None:
    """A URL that means nothing is refused with what was expected."""
    with pytest.raises(InvalidInput) as refusal:
        async with open_views(stories, **settings):
            pass
    assert refusal.value.field == field
    assert "expected" in refusal.value.problem


# One that cannot be kept


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], list[str]]]:
    """What the log was told of a read model."""

    def of(name: str) -> list[str]:
        found = [record for record in caplog.records if record.getMessage().startswith(f"read model {name}: ")]
        return [f"{record.levelname} {record.getMessage().removeprefix(f'read model {name}: ')}" for record in found]

    with caplog.at_level(logging.INFO):
        yield of


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 (a monitor has no event)
            await asyncio.sleep(0.005)


async def other_nodes(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE graph_nodes(x)")


async def other_edges(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE graph_edges(x)")


async def another_log(file: Path) -> None:
    async with open_stories("memory://") as stories:
        await write(stories, "D1")
        graph = f"sqlite:///{file}"
        async with open_views(stories, graph=graph, cache="none") as views, projecting(views, Monitor()):
            await settled(stories, views)


async def no_database(file: Path) -> None:
    file.write_bytes(b"no database" * 1_000)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (other_nodes, r"ERROR failed: position 1, .* at version 1 of stream story 'S-1': OperationalError: no such .*"),
        (other_edges, "ERROR failed: OperationalError: no such column: source"),
        (another_log, "ERROR failed: WrongLog: .*"),
        (no_database, "WARNING unavailable: ModelRefused: .* SQLITE_NOTADB"),
    ],
)
async def test_one_that_cannot_be_kept(stories: Stories, tmp_path: Path, told: Any, spoil: Any, problem: str) -> None:
    """A read model that cannot be kept is told on the log with its reason, and the other one is kept all the same."""
    await spoil(tmp_path / "graph.db")
    await write(stories, "D1")
    monitor = Logging()
    async with open_views(stories, graph=f"sqlite:///{tmp_path}/graph.db") as views, projecting(views, monitor):
        await until(lambda: monitor.health("graph").state != "starting")
        await write(stories, "D2")
        await settled(stories, views[1:])
        await until(lambda: monitor.health("planning-cache").ready)
        assert not all_ready(views, monitor)
    [line] = told("graph")
    assert re.fullmatch(problem, line)
    assert told("planning-cache") == ["INFO running"]


async def test_one_that_cannot_be_reached(stories: Stories, told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A target that cannot be reached is told once, however often it is tried."""
    monitor = Logging()
    retries = partial(monitor.registry.get_sample_value, "projection_retries_total", {"projection": "planning-cache"})
    cache = "valkey://ann:secret@127.0.0.1:1"
    async with open_views(stories, graph="none", cache=cache) as views, projecting(views, monitor):
        await until(lambda: (retries() or 0) >= 3)
        assert not all_ready(views, monitor)
    problem = "ModelUnavailable: Valkey cannot be reached: ConnectionError"
    assert told("planning-cache") == [f"WARNING unavailable: {problem}"]
    assert len(caplog.messages) == 1


async def test_mended(stories: Stories, tmp_path: Path, told: Any) -> None:
    """What somebody decides about a failure is told as well, as the read model goes on."""
    await other_nodes(tmp_path / "graph.db")
    await write(stories, "D1")
    monitor = Logging()
    graph = f"sqlite:///{tmp_path}/graph.db"
    async with open_views(stories, graph=graph, cache="none") as views, projecting(views, monitor):
        await until(lambda: monitor.health("graph").state == "failed")
        await skip(views[0].projection, views[0].model, position=1, reason="of no matter")
        await until(lambda: all_ready(views, monitor))
    assert [line.split(":")[0] for line in told("graph")] == ["ERROR failed", "INFO running"]


# As the command ``projections`` is given them


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The service's settings: a log in a file, and nothing else."""
    for name in ("GRAPH", "CACHE", "SNAPSHOTS", "SNAPSHOT_EVERY"):
        monkeypatch.delenv(f"CONTEXT_{name}", raising=False)
    monkeypatch.setenv("CONTEXT_STORE", f"sqlite:///{tmp_path}/context.db")
    return monkeypatch


async def test_deployed(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the environment's settings the read models are what the service keeps, of its log and where it keeps them."""
    url = f"sqlite:///{tmp_path}/context.db"
    async with open_stories(url) as stories, open_views(stories) as views, projecting(views, Monitor()):
        await write(stories, "D1", "D2")
        digests = await settled(stories, views)
        log_id = stories.store.log_id
    environment.setenv("CONTEXT_CACHE", "valkey://127.0.0.1:1")
    async with deployed() as [graph, cache]:
        assert graph.store.log_id == cache.store.log_id == log_id
        assert await digest_of_view(graph.projection, graph.model) == digests[0]
        assert (await rebuild(graph.projection, graph.store, graph.model, swap="equal")).swapped
        assert cache.projection.name == "planning-cache"
    environment.setenv("CONTEXT_GRAPH", f"sqlite:///{tmp_path}/other.db")
    async with deployed() as [graph, cache]:
        with pytest.raises(UnknownProjection):
            await status(graph.projection, graph.store, graph.model)


async def test_deployed_without_memory(environment: pytest.MonkeyPatch, stories: Stories, tmp_path: Path) -> None:
    """What another process keeps in its memory is not there."""
    async with open_stories(f"sqlite:///{tmp_path}/context.db"), deployed() as views:
        assert [view.projection.name for view in views] == ["graph"]
    # Beside a log on servers there is no file.
    environment.setattr("context_service.views.open_stories", lambda *_, **__: nullcontext(stories))
    async with deployed() as views:
        assert views == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("CONTEXT_STORE", "sqlite:///gone.db", "no such file"),
        ("CONTEXT_STORE", "memory://", "there is none to open"),
        ("CONTEXT_GRAPH", "postgres://x", "graph: expected .*; got postgres://"),
        ("CONTEXT_CACHE", "valkey://h:port", "cache: expected .*"),
        ("CONTEXT_SNAPSHOTS", "postgres://x", "snapshots: expected .*"),
        ("CONTEXT_SNAPSHOT_EVERY", "often", "snapshot-every: expected a number of events, got 'often'"),
    ],
)
async def test_deployed_by_mistake(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, problem: str
) -> None:
    """A variable that means nothing is refused by its setting's name, and no log is made."""
    async with open_stories(f"sqlite:///{tmp_path}/context.db"):
        pass
    environment.chdir(tmp_path)
    environment.setenv(name, value)
    with pytest.raises(EventStoreError, match=problem):
        async with deployed():
            pass
    assert not (tmp_path / "gone.db").exists()


# Health


async def test_readiness(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's health says that it does not serve while a read model is not kept."""
    monkeypatch.setattr(app, "_READINESS_SECONDS", 0.02)
    ready = False
    async with (
        serving(stories, "127.0.0.1:0", ready=lambda: ready) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watching = health.Watch(health_pb2.HealthCheckRequest())
        states = []
        async for answer in watching:
            states.append(answer.status)
            ready = True
            if len(states) == 2:
                break
        watching.cancel()
        status = health_pb2.HealthCheckResponse.ServingStatus
        assert states == [status.Value("NOT_SERVING"), status.Value("SERVING")]


@pytest.mark.parametrize(
    "url", ["memory://x", "memory:", "MEMORY://", "redis://u:secret@h", "redis", "none://", "None"]
)
async def test_a_cache_is_named_the_same_everywhere(stories: Stories, url: str) -> None:
    """What is no URL of a cache is refused in the same words by all who keep something there."""
    said = set()
    openings: list[Any] = [open_views(stories, graph="none", cache=url), open_bundles(url)]
    for opening in openings:
        with pytest.raises(InvalidInput, match=r"^cache: expected ") as refusal:
            await opening.__aenter__()
        said.add(str(refusal.value))
    assert len(said) == 1
    assert "secret" not in said.pop()
