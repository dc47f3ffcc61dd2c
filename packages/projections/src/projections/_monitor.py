"""What people and machines see of the projections of a process: health, metrics, traces."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from projections._record import Place, seconds_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventstore import Commit

    from projections._record import Record

State = Literal["starting", "standby", "running", "paused", "failed", "unavailable", "rebuilding"]

_LINKS: Final = 64
_tracer = trace.get_tracer("projections")
_propagator = TraceContextTextMapPropagator()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a projection is, as the runner of this process sees it."""

    projection: str
    state: State = "starting"
    #: The last position the view contains, and the log's end when it was last looked at.
    position: int = 0
    head: int = 0
    #: Since the view was known to have all that the log has; 0.0 while it has.
    seconds_behind: float = 0.0
    epoch: int = 0
    dead_letters: int = 0
    failure: Place | None = None
    #: Why the target or the log cannot be used, without addresses or secrets; or why its runner has ended.
    trouble: str = ""

    @property
    def behind(self) -> int:
        """How many positions of the log the view does not contain yet."""
        return max(self.head - self.position, 0)

    @property
    def ready(self) -> bool:
        """Whether the view is kept up to date, by this process or by another."""
        return self.state in {"running", "standby", "rebuilding"}


class Monitor:
    """Collects the health and the metrics of the projections that run in a process.

    Args:
        registry: where the metrics are offered; prometheus-client's own default is ``prometheus_client.REGISTRY``.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self.registry: Final = registry
        self._health: dict[str, Health] = {}
        label = ["projection"]
        self._position = Gauge("projection_position", "Last position of the log in the view", label, registry=registry)
        self._behind = Gauge("projection_behind_positions", "Positions not in the view yet", label, registry=registry)
        self._seconds = Gauge(
            "projection_behind_seconds",
            "Seconds since the view was known to have all that the log has, else 0",
            label,
            registry=registry,
        )
        self._state = Gauge("projection_state", "1 for the state it is in", [*label, "state"], registry=registry)
        self._epoch = Gauge("projection_epoch", "How often another runner has taken over", label, registry=registry)
        self._dead = Gauge("projection_dead_letters", "Dead letters that wait", label, registry=registry)
        self._lease = Gauge("projection_lease", "1 while this process is the one that writes", label, registry=registry)
        self._commits = Counter("projection_commits", "Commits applied", label, registry=registry)
        self._events = Counter("projection_events", "Events applied", label, registry=registry)
        self._retries = Counter("projection_retries", "Faults that were met by trying again", label, registry=registry)
        self._sizes = Histogram(
            "projection_batch_commits",
            "Commits a batch",
            label,
            registry=registry,
            buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
        )
        self._times = Histogram("projection_batch_seconds", "Seconds a batch took", label, registry=registry)

    def health(self, projection: str) -> Health:
        """Return how a projection is."""
        return self._health.get(projection, Health(projection=projection))

    def note(self, projection: str, state: State, *, trouble: str = "") -> None:
        """Keep in which state a projection is, and why."""
        found = msgspec.structs.replace(self.health(projection), state=state, trouble=trouble)
        self._health[projection] = found
        for each in get_args(State):
            self._state.labels(projection, each).set(each == state)
        # What has failed with a trouble has ended.
        self._lease.labels(projection).set(state in {"running", "paused", "failed"} and not trouble)
        for counter in (self._commits, self._events, self._retries):
            counter.labels(projection)  # there from the beginning, with 0

    def note_record(self, projection: str, record: Record, head: int) -> None:
        """Keep how far a view is."""
        seconds = seconds_behind(record, head)
        self._health[projection] = msgspec.structs.replace(
            self.health(projection),
            position=record.position,
            head=max(head, record.position),
            seconds_behind=seconds,
            epoch=record.epoch,
            dead_letters=len(record.dead),
            failure=record.failure,
        )
        self._position.labels(projection).set(record.position)
        self._behind.labels(projection).set(max(head - record.position, 0))
        self._seconds.labels(projection).set(seconds)
        self._epoch.labels(projection).set(record.epoch)
        self._dead.labels(projection).set(len(record.dead))

    def note_retry(self, projection: str) -> None:
        """Count a fault that is met by trying again."""
        self._retries.labels(projection).inc()

    @contextmanager
    def batch(self, projection: str, commits: Sequence[Commit]) -> Iterator[None]:
        """Time and trace the writing of a batch, which counts when it succeeds; an empty one does not count."""
        if not commits:
            yield
            return
        started = time.perf_counter()
        links = [link for commit in commits[:_LINKS] if (link := _link(commit)) is not None]
        attributes: dict[str, str | int] = {"projection": projection, "commits": len(commits)}
        with _tracer.start_as_current_span("projection.batch", links=links, attributes=attributes):
            yield
        self._commits.labels(projection).inc(len(commits))
        self._events.labels(projection).inc(sum(commit.version - commit.first_version + 1 for commit in commits))
        self._sizes.labels(projection).observe(len(commits))
        self._times.labels(projection).observe(time.perf_counter() - started)


def _link(commit: Commit) -> trace.Link | None:
    """Return a link to the trace in which a commit was written."""
    metadata = commit.metadata
    if not metadata.traceparent:
        return None
    carrier = {"traceparent": metadata.traceparent, "tracestate": metadata.tracestate}
    context = trace.get_current_span(_propagator.extract(carrier)).get_span_context()
    return trace.Link(context) if context.is_valid else None
