"""What is seen of projections: health, metrics, traces."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, get_args

import projections
import pytest
from eventstore import ANY, Metadata, StreamId, Token, open_store
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from projections import Health, ModelUnavailable, Monitor, Projection, dead_letter, pause, rebuild, resume, wait_for
from projections._monitor import State
from projections.memory import MemoryModel
from prometheus_client import CollectorRegistry, generate_latest

from tests.projections.views import CODEC, IN_MEMORY, UNLUCKY, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from eventstore import EventStore
    from opentelemetry.sdk.trace import ReadableSpan
    from projections import Stored

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NAMES = """
projection_position projection_behind_positions projection_behind_seconds projection_epoch projection_dead_letters
projection_lease projection_commits_total projection_events_total projection_retries_total
projection_batch_commits_count projection_batch_commits_sum projection_batch_seconds_count projection_batch_seconds_sum
"""


def scraped(monitor: Monitor) -> str:
    return generate_latest(monitor.registry).decode()


class Recorder(Monitor):
    """Keeps every state a projection has been in, once in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[str] = []
        self.troubles: list[str] = []
        self._changed = asyncio.Event()

    def note(self, projection: str, state: State, *, trouble: str = "") -> None:
        super().note(projection, state, trouble=trouble)
        if self.states[-1:] != [state]:
            self.states.append(state)
        if trouble:
            self.troubles.append(trouble)
        self._changed.set()

    async def until(self, state: str) -> Health:
        await self._until(lambda health: health.state == state)
        return self.health("sums")

    async def until_behind(self, positions: int) -> None:
        await self._until(lambda health: health.behind == positions)

    async def _until(self, true: Callable[[Health], bool]) -> None:
        async with asyncio.timeout(5):
            while not true(self.health("sums")):
                self._changed.clear()
                await self._changed.wait()

    def metrics(self) -> dict[str, float]:
        """Return what a scrape gets, of this projection."""
        found = re.findall(r'^(\w+)\{projection="sums"\} (\S+)$', scraped(self), re.MULTILINE)
        return {name: float(value) for name, value in found}


class Shaky(MemoryModel):
    """Cannot be reached as often as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = 0

    async def load(self, key: str) -> Stored | None:
        self._shake()
        return await super().load(key)

    async def commit(self, key: str, record: bytes | None, *, expected: int, changes: Any = None) -> bool:
        self._shake()
        return await super().commit(key, record, expected=expected, changes=changes)

    def _shake(self) -> None:
        if self.faults:
            self.faults -= 1
            raise ModelUnavailable("connection refused")


@pytest.fixture
def monitor() -> Recorder:
    return Recorder()


@pytest.fixture
def model() -> Shaky:
    return Shaky()


@pytest.fixture
async def store() -> AsyncIterator[EventStore]:
    async with open_store("memory://", CODEC) as store:
        yield store


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Spans of this process; OpenTelemetry takes one provider for good."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


async def append(store: EventStore, *values: int, metadata: Metadata | None = None) -> Token:
    metadata = metadata or Metadata()
    return (await store.append(StreamId("n", "1"), numbers(*values), expected=ANY, metadata=metadata)).token


def running(store: EventStore, model: MemoryModel, monitor: Monitor) -> AbstractAsyncContextManager[None]:
    return projections.running(IN_MEMORY, store, model, monitor=monitor, lease=1.0)


def batches(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == "projection.batch"]


# Metrics


async def test_metrics_after_a_run(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """The metrics have the names that the page tells, and count commits, events and batches."""
    await append(store, 1, 2)
    last = await append(store, 3)
    async with running(store, model, monitor):
        await wait_for(IN_MEMORY, model, last, timeout=5)
        await monitor.until("running")
        found = monitor.metrics()
    assert {name for name in found if not name.endswith("_created")} == set(NAMES.split())
    assert found["projection_position"] == last.position
    assert (found["projection_commits_total"], found["projection_events_total"]) == (2, 3)
    assert found["projection_batch_commits_sum"] == 2
    assert found["projection_batch_seconds_count"] == found["projection_batch_commits_count"] >= 1
    assert (found["projection_behind_positions"], found["projection_behind_seconds"]) == (0, 0)
    assert (found["projection_epoch"], found["projection_lease"], found["projection_retries_total"]) == (1, 1, 0)


async def test_metrics_of_a_failure(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """A failed projection is behind, in positions and in seconds, and what it could not apply is not counted."""
    await append(store, 1)
    await append(store, UNLUCKY)
    async with running(store, model, monitor):
        health = await monitor.until("failed")
        found = monitor.metrics()
    assert (found["projection_position"], found["projection_behind_positions"]) == (1, 1)
    assert found["projection_behind_seconds"] > 0
    assert (found["projection_commits_total"], found["projection_lease"]) == (1, 1)
    assert health.failure is not None
    assert health.failure.position == 2
    assert (health.behind, health.ready) == (1, False)
    assert "running" not in monitor.states[monitor.states.index("failed") :]


async def test_metrics_of_a_dead_letter(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """Dead letters are counted while they wait."""
    bad = await append(store, UNLUCKY)
    last = await append(store, 2)
    async with running(store, model, monitor):
        await monitor.until("failed")
        await dead_letter(IN_MEMORY, model, position=bad.position, reason="later")
        await wait_for(IN_MEMORY, model, last, timeout=5)
        health = await monitor.until("running")
        assert (monitor.metrics()["projection_dead_letters"], health.dead_letters, health.failure) == (1, 1, None)


async def test_metrics_of_standing_by(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """Who stands by is ready, and does not hold the lease; the one that took over has the next epoch."""
    last = await append(store, 1)
    waiting = Recorder()
    async with running(store, model, monitor):
        await wait_for(IN_MEMORY, model, last, timeout=5)
        async with running(store, model, waiting):
            assert (await waiting.until("standby")).ready
            assert waiting.metrics()["projection_lease"] == 0
    async with running(store, model, waiting):
        await waiting.until("running")
        assert (waiting.metrics()["projection_epoch"], waiting.metrics()["projection_lease"]) == (2, 1)


def test_a_given_registry() -> None:
    """Metrics can be offered in a registry of the program's own."""
    mine = CollectorRegistry()
    Monitor(mine).note("sums", "running")
    assert b'projection_lease{projection="sums"} 1.0' in generate_latest(mine)


# Health


async def test_an_unavailable_target(
    store: EventStore, model: Shaky, monitor: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A target that cannot be reached is unavailable with the reason, each retry is counted, and it comes back.

    All that is for the monitor to tell: nothing else is logged.
    """
    await append(store, 1)
    model.faults = 3
    async with running(store, model, monitor):
        health = await monitor.until("unavailable")
        assert (health.trouble, health.ready) == ("ModelUnavailable: connection refused", False)
        assert monitor.metrics()["projection_lease"] == 0
        health = await monitor.until("running")
        assert (health.trouble, health.ready) == ("", True)
        assert monitor.metrics()["projection_retries_total"] == 3
        model.faults = 2
        last = await append(store, 2)
        await monitor.until("unavailable")
        await monitor.until("running")
        await wait_for(IN_MEMORY, model, last, timeout=5)
        await monitor.until("running")
    assert monitor.states[:4] == ["unavailable", "running", "unavailable", "running"]
    assert monitor.metrics()["projection_retries_total"] == 3 + 2
    assert monitor.metrics()["projection_commits_total"] == 2
    assert model.view == {"sum:1": (3, 2)}
    assert caplog.messages == []


async def test_failure_and_recovery(
    store: EventStore, model: Shaky, monitor: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed projection sees the log grow, and is ready again once its event can be applied."""
    await append(store, UNLUCKY)
    async with running(store, model, monitor):
        assert (await monitor.until("failed")).behind == 1
        last = await append(store, 1)
        await monitor.until_behind(2)
        monkeypatch.setattr("tests.projections.views.UNLUCKY", -1)
        await resume(IN_MEMORY, model)
        await wait_for(IN_MEMORY, model, last, timeout=5)
        health = await monitor.until("running")
        assert (health.behind, health.failure, health.ready) == (0, None, True)


async def test_paused(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """A paused projection holds the lease, is not ready, and sees the log grow."""
    last = await append(store, 1)
    async with running(store, model, monitor):
        await wait_for(IN_MEMORY, model, last, timeout=5)
        await pause(IN_MEMORY, model)
        assert not (await monitor.until("paused")).ready
        await append(store, 2)
        await monitor.until_behind(1)
        assert monitor.metrics()["projection_lease"] == 1


async def test_a_run_that_ends(store: EventStore, model: Shaky, monitor: Recorder) -> None:
    """What ends a run is told in health, and comes out where the projection was run."""

    def setup(tx: Any, name: Any) -> None:
        raise ValueError("no tables")

    spoiled = Projection("sums", IN_MEMORY.apply, owns=["sum:*"], setup=setup)
    with pytest.raises(ValueError, match="no tables"):
        async with projections.running(spoiled, store, model, monitor=monitor):
            health = await monitor.until("failed")
    assert (health.trouble, health.ready) == ("ValueError: no tables", False)
    assert monitor.metrics()["projection_lease"] == 0


async def test_rebuild_is_a_state(store: EventStore, model: Shaky) -> None:
    """A rebuild is a state of its own to the monitor it is given, and what it applies is counted there."""
    last = await append(store, 1)
    async with running(store, model, Monitor()):
        await wait_for(IN_MEMORY, model, last, timeout=5)
    monitor = Recorder()
    await rebuild(IN_MEMORY, store, model, monitor=monitor, lease=1.0)
    assert monitor.metrics()["projection_commits_total"] == 1


def test_health_of_what_is_not_known() -> None:
    """What nobody has heard of is starting, and not ready."""
    assert Monitor().health("x") == Health(projection="x")
    assert not Monitor().health("x").ready


def test_metric_of_the_state() -> None:
    """Of all states the metric of the one that a projection is in is 1, so that an alert can name it."""
    monitor = Monitor()
    pattern = r'^projection_state\{projection="sums",state="(\w+)"\} (\S+)$'
    for state in ("running", "failed"):
        monitor.note("sums", state)
        found = re.findall(pattern, scraped(monitor), re.MULTILINE)
        assert {name: float(value) for name, value in found} == {name: name == state for name in get_args(State)}


# Traces


async def test_spans_are_linked(
    store: EventStore, model: Shaky, monitor: Recorder, spans: InMemorySpanExporter
) -> None:
    """A batch is a span, linked to the traces in which its commits were written."""
    linked = Metadata(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="vendor=1")
    await append(store, 1, metadata=linked)
    await append(store, 2)
    last = await append(store, 3, metadata=Metadata(traceparent="nonsense"))
    async with running(store, model, monitor):
        await wait_for(IN_MEMORY, model, last, timeout=5)
        await monitor.until("running")
    [span] = batches(spans)
    assert span.attributes == {"projection": "sums", "commits": 3}
    [link] = span.links
    assert format(link.context.trace_id, "032x") == TRACE
    assert format(link.context.span_id, "016x") == SPAN
    assert link.context.trace_state.get("vendor") == "1"


async def test_links_are_bounded(
    store: EventStore, model: Shaky, monitor: Recorder, spans: InMemorySpanExporter
) -> None:
    """A large batch has the links of its first commits."""
    for number in range(1, 101):
        last = await append(store, 1, metadata=Metadata(traceparent=f"00-{TRACE}-{number:016x}-01"))
    async with running(store, model, monitor):
        await wait_for(IN_MEMORY, model, last, timeout=5)
        await monitor.until("running")
    assert [len(span.links) for span in batches(spans)] == [64]


async def test_a_failed_batch_is_a_failed_span(
    store: EventStore, model: Shaky, monitor: Recorder, spans: InMemorySpanExporter
) -> None:
    """A batch that fails is a span with the error."""
    await append(store, UNLUCKY)
    async with running(store, model, monitor):
        await monitor.until("failed")
    span, *_ = batches(spans)
    assert not span.status.is_ok
    assert span.events[0].attributes is not None
    assert span.events[0].attributes["exception.message"] == "unlucky"
