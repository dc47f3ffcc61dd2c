"""The command ``context``."""

from __future__ import annotations

import gc
import logging
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from eventstore import InvalidInput
from eventstore.terminal import progress
from projections.serving import HEALTH
from projections.serving import serving as offering

from context_service import cli_dead_letters, cli_reading, terminal
from context_service.app import serving, stop_signals, without_secrets
from context_service.bundles import open_bundles
from context_service.bus import open_bus
from context_service.consuming import taking_in
from context_service.peps import import_peps
from context_service.policy import Policy
from context_service.redaction import RedactingFilter, redact
from context_service.rehydration import rehydrate
from context_service.servers import NOWHERE
from context_service.stories import DEFAULT_STORE, SNAPSHOT_EVERY, open_stories
from context_service.terminal import AsJson, GraphUrl, PolicyFile, StoreUrl
from context_service.text import count_tokens
from context_service.v1 import context_pb2 as pb
from context_service.views import Logging, all_ready, graph_among, open_views, projecting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from projections import Deployed, Monitor

    from context_service.bundles import Bundles
    from context_service.consuming import Rehydrate
    from context_service.stories import Stories

app = typer.Typer(
    help="The context of stories for AI agents: what is known and decided, now and at any moment of the past.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
importing = typer.Typer(help="Bring in decision logs from elsewhere.", no_args_is_help=True)
app.add_typer(importing, name="import")
app.add_typer(cli_reading.app)
app.add_typer(cli_dead_letters.app, name="dead-letters")

# A call that was sent before its caller could know of the end arrives within this.
_DRAIN_SECONDS = 0.25


def main() -> None:
    """Run the command."""
    terminal.program.start(app)


CacheUrl = Annotated[
    str,
    typer.Option(
        "--cache",
        envvar="CONTEXT_CACHE",
        help="Where the planning cache lives: valkey://HOST:6379/0, memory:// or none.",
        show_default="memory",
    ),
]
SnapshotsUrl = Annotated[
    str,
    typer.Option(
        "--snapshots",
        envvar="CONTEXT_SNAPSHOTS",
        help="Where snapshots of stories live: neo4j://USER:PASSWORD@HOST:7687, valkey://HOST:6379/0, sqlite:///FILE "
        "or memory://.",
        show_default="a SQLite file beside a SQLite log, else memory",
    ),
]
SnapshotEvery = Annotated[
    int,
    typer.Option(
        "--snapshot-every",
        envvar="CONTEXT_SNAPSHOT_EVERY",
        min=100,
        max=1_000,
        help="So many events lie between two snapshots of a story.",
    ),
]
NatsUrl = Annotated[
    str,
    typer.Option(
        "--nats",
        envvar="CONTEXT_NATS",
        help="Take in messages and publish updates there: nats://HOST:4222.",
        show_default="nowhere",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        envvar="CONTEXT_METRICS",
        metavar="HOST:PORT",
        help=f"Serve metrics of the read models there, for Prometheus, and their health as JSON on {HEALTH}.",
        show_default="nowhere",
    ),
]
LogLevel = Annotated[str, typer.Option(envvar="CONTEXT_LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR.")]


@app.command()
def serve(
    store: StoreUrl = DEFAULT_STORE,
    listen: Annotated[
        str, typer.Option(envvar="CONTEXT_LISTEN", help="HOST:PORT to serve gRPC on; port 0 takes a free one.")
    ] = "127.0.0.1:50054",
    graph: GraphUrl = "",
    cache: CacheUrl = "",
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    policy: PolicyFile = None,
    nats: NatsUrl = "",
    metrics: Metrics = "",
    log_level: LogLevel = "INFO",
) -> None:
    """Serve the gRPC interface, and keep the read models, until SIGTERM or Ctrl-C.

    With --graph none --cache none another process keeps them: context project.
    """
    terminal.program.run(
        _serve(store, listen, graph, cache, snapshots, snapshot_every, policy, nats, metrics, log_level)
    )


async def _serve(
    store: str,
    listen: str,
    graph: str,
    cache: str,
    snapshots: str,
    snapshot_every: int,
    policy: Path | None,
    nats: str,
    metrics: str,
    log_level: str,
) -> None:
    level = _logging(log_level)
    contexts = terminal.contexts_by(policy)
    kept = {
        "snapshots": snapshots,
        "snapshot_every": str(snapshot_every),
        "policy": str(policy or ""),
        "nats": nats or NOWHERE,
    }
    monitor = Logging()
    # Whoever reads that it serves may send the signal at once, so the handlers come first.
    with stop_signals() as stop:
        async with (
            open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories,
            open_bus(nats) as bus,
            open_views(stories, bus, graph=graph, cache=cache) as views,
            open_bundles(cache) as bundles,
            projecting(views, monitor),
            taking_in(bus, stories, _rehydrating(stories, contexts.policy, bundles), monitor) as more,
            serving(
                stories,
                listen,
                contexts=contexts,
                bundles=bundles,
                graph=graph_among(views),
                ready=lambda: all_ready(views, monitor) and all(monitor.health(name).ready for name in more),
                drain=_DRAIN_SECONDS,
            ) as address,
        ):
            with _offered(monitor, views, metrics, more):
                await _tell(stories, store, graph=graph, cache=cache, **kept, listen=listen, log_level=level)
                # The first answer should not have to load the vocabulary and the rules, nor any answer to wait for the
                # garbage collector to look through all that is there now and stays.
                count_tokens(redact(""))
                gc.collect()
                gc.freeze()
                terminal.out.print(f"serving on {address}")
                sys.stdout.flush()
                await stop.wait()
                terminal.out.print("stopping")


@app.command()
def project(
    store: StoreUrl = DEFAULT_STORE,
    graph: GraphUrl = "",
    cache: CacheUrl = NOWHERE,
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    nats: NatsUrl = "",
    metrics: Metrics = "",
    log_level: LogLevel = "INFO",
) -> None:
    """Keep the read models up to date, and nothing else, until SIGTERM or Ctrl-C."""
    terminal.program.run(_project(store, graph, cache, snapshots, snapshot_every, nats, metrics, log_level))


async def _project(
    store: str, graph: str, cache: str, snapshots: str, snapshot_every: int, nats: str, metrics: str, log_level: str
) -> None:
    level = _logging(log_level)
    kept = {"snapshots": snapshots, "snapshot_every": str(snapshot_every), "nats": nats or NOWHERE}
    monitor = Logging()
    with stop_signals() as stop:
        async with (
            open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories,
            open_bus(nats) as bus,
            open_views(stories, bus, graph=graph, cache=cache) as views,
            projecting(views, monitor),
        ):
            with _offered(monitor, views, metrics):
                await _tell(stories, store, graph=graph, cache=cache, **kept, log_level=level)
                terminal.out.print(f"projecting {', '.join(view.projection.name for view in views) or 'nothing'}")
                sys.stdout.flush()
                await stop.wait()
                terminal.out.print("stopping")


def _rehydrating(stories: Stories, policy: Policy, bundles: Bundles | None) -> Rehydrate:
    async def answer(request: pb.RehydrateSessionRequest) -> pb.RehydrateSessionResponse:
        return await rehydrate(stories, policy, bundles, request, now_ms=time.time_ns() // 1_000_000)

    return answer


@contextmanager
def _offered(monitor: Monitor, views: Sequence[Deployed], address: str, more: Sequence[str] = ()) -> Iterator[None]:
    """Serve metrics and health of the read models while the block runs, where an address is given."""
    if not address:
        yield
        return
    names = [*(view.projection.name for view in views), *more]
    with offering(monitor, names, address=address) as port:
        terminal.out.print(f"metrics and {HEALTH} on {address.rpartition(':')[0]}:{port}")
        yield


def _logging(log_level: str) -> str:
    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise InvalidInput("log-level", f"expected DEBUG, INFO, WARNING or ERROR; got {log_level!r}")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, RedactingFilter) for each in handler.filters):
            handler.addFilter(RedactingFilter())
    if level != "DEBUG":
        # One repeats with every try what read models and snapshots tell once; the other says of our own queries, each
        # time, that a label or type is not used yet.
        for name in ("neo4j.pool", "neo4j.notifications"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return level


async def _tell(stories: Stories, store: str, **settings: str) -> None:
    """Print the settings in force."""
    terminal.out.print(f"store: {without_secrets(store)}")
    terminal.out.print(f"log: {stories.store.log_id}")
    terminal.out.print(f"durability: {(await stories.store.backend.describe())['durability']}")
    for name, value in settings.items():
        terminal.out.print(f"{name.replace('_', '-')}: {without_secrets(value) or 'default'}")


@importing.command("peps")
def import_peps_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, one change of one PEP each.")],
    store: StoreUrl = DEFAULT_STORE,
    snapshots: SnapshotsUrl = "",
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY,
    as_json: AsJson = False,
) -> None:
    """Import the history of the PEPs' headers. May be stopped and repeated: every line is written once."""
    terminal.program.run(_import(store, file, snapshots, snapshot_every, as_json=as_json))


async def _import(store: str, file: Path, snapshots: str, snapshot_every: int, *, as_json: bool) -> None:
    async with open_stories(store, snapshots=snapshots, snapshot_every=snapshot_every) as stories:
        with _progress("importing", show=not as_json) as done:
            report = await import_peps(stories.store, stories.snapshots, file, progress=done)
    if as_json:
        terminal.print_json(msgspec.to_builtins(report))
        return
    terminal.out.print(
        f"{report.decisions} decisions of {report.stories} stories from {report.changes} changes: "
        f"{report.written} written, {report.already_there} there already, in {report.seconds:.2f} s "
        f"({report.changes_per_second:,.0f} changes a second)"
    )
    for name, count in report.odd.items():
        terminal.out.print(f"  {count:>5} {name}")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the answers instead of serving on.")] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="CONTEXT_DEMO_STORE", help="A fresh file in a new folder by default."),
    ] = None,
    listen: Annotated[str, typer.Option(envvar="CONTEXT_LISTEN", help="HOST:PORT to serve on.")] = "127.0.0.1:50054",
) -> None:
    """Import 26 years of Python's decisions, serve them, and ask what was known then."""
    from context_service.demo import run_demo  # noqa: PLC0415 (only here is the client needed)

    terminal.program.run(run_demo(terminal.out, _progress, store=store, listen=listen, once=once))


@contextmanager
def _progress(what: str, *, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes what is done and what there is to do; a terminal shows it as a bar."""
    with progress(show=show) as report:
        yield lambda done, total: report(what, done, total)
