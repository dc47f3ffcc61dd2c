"""The service's read models by their URLs: kept, reported, and back after everything was lost."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service.app import serving
from context_service.events.v1 import events_pb2 as pb
from context_service.views import all_ready, offering, open_views, projecting
from eventstore import ANY, InvalidInput, StreamId
from grpc_health.v1 import health_pb2, health_pb2_grpc
from projections import Monitor, digest_of_view, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from context_service.stories import Stories
    from context_service.views import View

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


async def settled(stories: Stories, views: Sequence[View]) -> list[str]:
    """Wait until all views have everything; return their digests."""
    head = await stories.store.head()
    for view in views:
        await wait_for(view.projection, view.model, head, timeout=30)
    return [await digest_of_view(view.projection, view.model) for view in views]


async def test_defaults(stories: Stories) -> None:
    """By default there are two read models, and each follows the stories."""
    monitor = Monitor()
    async with open_views(stories) as views, projecting(stories, views, monitor):
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


async def test_metrics(stories: Stories) -> None:
    """Metrics are offered over HTTP; an address that cannot be had is refused."""
    monitor = Monitor()
    async with open_views(stories) as views, projecting(stories, views, monitor):
        await write(stories, "D1")
        await settled(stories, views)
        with offering(monitor, "127.0.0.1:0") as port:

            def get() -> str:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    return str(answer.read().decode())

            assert 'projection_position{projection="graph"}' in await asyncio.to_thread(get)
            with pytest.raises(InvalidInput, match="metrics"), offering(monitor, f"127.0.0.1:{port}"):
                pass
    with pytest.raises(InvalidInput, match="metrics"), offering(monitor, "nowhere"):
        pass


async def test_readiness(stories: Stories) -> None:
    """The service's health says that it does not serve while a read model is not kept."""
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
