"""How fast do views follow a log in JetStream, beside the same work without the framework? In Neo4j and Valkey.

The log is Python's 26 years of decisions, repeated under other ids until there are as many events as asked for. Rivals
are a transaction an event, which is what one writes first, and a bare loop of the best batched shape: the batch folded
to the last state of each node and the set of its links, all of it in one statement or pipeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Final

from context_service.events.v1 import events_pb2 as pb
from context_service.peps import plan
from eventstore import EventStore, StreamId, open_store
from eventstore.jetstream import JetStreamBackend
from neo4j import AsyncGraphDatabase
from projections import Batch, Batching, Projection, Stored, run, wait_for
from projections.neo4j import Neo4jModel
from projections.sqlite import SqliteModel
from projections.valkey import ValkeyModel
from valkey.asyncio import Valkey

from benchmarks.facts import CODEC, sealed
from benchmarks.jetstream import server
from benchmarks.measure import MICROSECONDS, MILLISECONDS, Result, Scale, Side, compare, long_run
from tests.projections.servers import NEO4J_2026, Neo4jServer, ValkeyServer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from eventstore import Commit
    from google.protobuf.message import Message
    from neo4j import AsyncDriver, AsyncTransaction
    from projections import AnyProjection, Changes, Name
    from valkey.asyncio.client import Pipeline

EVENTS: Final = 10_000
BATCH: Final = Batching(commits=1_000)
#: So many events of the slow rival are timed; their seconds count for all.
SAMPLE: Final = 250
KINDS: Final = [name for name in pb.LinkKind.keys() if name != "LINK_KIND_UNSPECIFIED"]  # noqa: SIM118 (an enum)
_names = itertools.count(1)


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about projections."""
    async for result in _overhead(scale):
        yield result
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(server(directory))
        neo4j, valkey = Neo4jServer(NEO4J_2026, directory / "neo4j"), ValkeyServer(directory / "valkey")
        for each in (neo4j, valkey):
            each.start()
            stack.callback(each.stop)
        log = JetStreamBackend([url], "PEPS", prefix="peps.events")
        async with EventStore(log, CODEC) as store:
            events = await fill(store, scale.count(EVENTS))
            valkey.wait()
            async with Valkey.from_url(valkey.url) as client:
                async for result in _to_valkey(scale, store, client, events):
                    yield result
            neo4j.wait()
            async with AsyncGraphDatabase.driver(neo4j.url) as driver:
                async for result in _to_neo4j(scale, store, driver, events):
                    yield result
        long = JetStreamBackend([url], "LONG", prefix="long.events")
        async with EventStore(long, CODEC) as store:
            events = await fill(store, scale.log_events)
            async with Valkey.from_url(valkey.url) as client, SqliteModel(directory / "long.db") as model:
                for name, long_one, target in (
                    ("valkey-log", to_valkey("long"), ValkeyModel(client)),
                    ("sqlite-log", to_sqlite("long"), model),
                ):
                    if scale.wants(name):
                        for result in await long_run(
                            scale, name, followed(long_one, store, target), events=events, sync="the model's own"
                        ):
                            yield result


def history(events: int) -> Iterator[tuple[StreamId, list[Message]]]:
    """Yield commits of the decisions of Python, again and again under other ids."""
    with as_file(files("context_service") / "data" / "peps.jsonl") as path:
        steps, _ = plan(path)
    count = 0
    for turn in itertools.count():
        begun: set[str] = set()
        for step in steps:
            messages = [_renamed(event, turn) for event in step.events if _first(event, step.story_id, begun)]
            if messages:
                yield StreamId("story", f"{step.story_id}-{turn}"), messages
                count += len(messages)
            if count >= events:
                return


def _first(event: Message, story: str, begun: set[str]) -> bool:
    if not isinstance(event, pb.ContextCreatedEvent):
        return True
    new = story not in begun
    begun.add(story)
    return new


def _renamed(event: Message, turn: int) -> Message:
    made = type(event)()
    made.CopyFrom(event)
    for field in ("decision_id", "source_id", "target_id", "stated_by"):
        if value := getattr(made, field, ""):
            setattr(made, field, f"{value}-{turn}")
    return made


async def fill(store: EventStore, events: int) -> int:
    """Store a history; returns how many events it has."""
    versions: dict[StreamId, int] = {}
    window: set[asyncio.Task[Any]] = set()
    count = 0
    for stream, messages in history(events):
        expected = versions.get(stream, 0)
        versions[stream] = expected + len(messages)
        count += len(messages)
        window.add(asyncio.create_task(store.backend.append(sealed(stream, expected, messages))))
        if len(window) >= 256:
            await asyncio.gather(*window)
            window.clear()
    await asyncio.gather(*window)
    return count


# ------------------------------------------------------------------------------------------------------------- shapes


def fold(commits: Sequence[Commit]) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str, str], bool]]:
    """Return the last state of each decision and link that commits touch."""
    nodes: dict[str, dict[str, Any]] = {}
    links: dict[tuple[str, str, str], bool] = {}
    for commit in commits:
        for event in commit.events:
            match event.message:
                case pb.DecisionAddedEvent() as added:
                    fields = {"title": added.title, "status": added.status, "kind": added.kind}
                    nodes.setdefault(added.decision_id, {}).update(fields)
                case pb.DecisionChangedEvent() as changed:
                    given = nodes.setdefault(changed.decision_id, {})
                    given.update({name: getattr(changed, name) for name in ("title", "kind") if changed.HasField(name)})
                case pb.DecisionStatusChangedEvent() as stepped:
                    nodes.setdefault(stepped.decision_id, {})["status"] = stepped.status
                case pb.DecisionLinkedEvent() as link:
                    links[pb.LinkKind.Name(link.kind), link.source_id, link.target_id] = True
                case pb.DecisionUnlinkedEvent() as link:
                    links[pb.LinkKind.Name(link.kind), link.source_id, link.target_id] = False
    return nodes, links


def _statement(name: Name) -> Any:
    node = name("BenchDecision")
    parts = [f"UNWIND $p.nodes AS row MERGE (d:{node} {{id: row.id}}) SET d += row.set"]
    for kind in KINDS:
        ends = f"MERGE (a:{node} {{id: row[0]}}) MERGE (b:{node} {{id: row[1]}})"
        parts += [
            f"UNWIND $p.on_{kind} AS row {ends} MERGE (a)-[:BENCH_{kind}]->(b)",
            f"UNWIND $p.off_{kind} AS row {ends} WITH a, b MATCH (a)-[r:BENCH_{kind}]->(b) DELETE r",
        ]
    return "\n".join(f"CALL () {{ {part} }}" for part in parts)


async def draw(tx: AsyncTransaction, commits: Sequence[Commit], statement: Any) -> None:
    """Write commits to Neo4j: one statement, one map of parameters."""
    nodes, links = fold(commits)
    rows: dict[str, Any] = {"nodes": [{"id": id, "set": fields} for id, fields in sorted(nodes.items())]}
    rows |= {f"{state}_{kind}": [] for state in ("on", "off") for kind in KINDS}
    for (kind, source, target), holds in sorted(links.items()):
        rows[f"{'on' if holds else 'off'}_{kind}"].append([source, target])
    await (await tx.run(statement, p=rows)).consume()


def queue(pipe: Pipeline, commits: Sequence[Commit], prefix: str) -> None:
    """Write commits to Valkey: a hash a decision, a set of links each."""
    nodes, links = fold(commits)
    for id, fields in nodes.items():
        if fields:
            pipe.hset(f"{prefix}{id}", mapping=fields)
    for (kind, source, target), holds in links.items():
        (pipe.sadd if holds else pipe.srem)(f"{prefix}{source}:{kind}", target)


def to_neo4j(name: str) -> Projection[AsyncTransaction]:
    async def apply(tx: AsyncTransaction, batch: Batch) -> None:
        await draw(tx, batch, _statement(batch.name))

    owns = ["BenchDecision", *(f"-[:BENCH_{kind}]->" for kind in KINDS)]
    return Projection(name, apply, owns=owns, categories=["story"])


def to_valkey(name: str) -> Projection[Pipeline]:
    def apply(pipe: Pipeline, batch: Batch) -> None:
        queue(pipe, batch, batch.name("bench:"))

    return Projection(name, apply, owns=["bench:*"], categories=["story"])


def to_sqlite(name: str) -> Projection[sqlite3.Connection]:
    def setup(tx: sqlite3.Connection, name: Name) -> None:
        tx.execute(f"CREATE TABLE IF NOT EXISTS {name('bench')}(id TEXT PRIMARY KEY, fields TEXT) WITHOUT ROWID")

    def apply(tx: sqlite3.Connection, batch: Batch) -> None:
        nodes, _ = fold(batch)
        rows = [(id, repr(fields)) for id, fields in nodes.items()]
        tx.executemany(f"INSERT OR REPLACE INTO {batch.name('bench')} VALUES (?, ?)", rows)  # noqa: S608 (our name)

    return Projection(name, apply, owns=["bench"], setup=setup, categories=["story"])


# --------------------------------------------------------------------------------------------------------------- rows


async def followed(projection: AnyProjection, store: EventStore, model: Any, batching: Batching = BATCH) -> float:
    """Return the seconds that a projection needs for all of a log."""
    head = await store.head()
    started = time.perf_counter()
    task = asyncio.create_task(run(projection, store, model, batching=batching))
    try:
        await wait_for(projection, model, head)
        return time.perf_counter() - started
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def batches(store: EventStore, size: int) -> AsyncIterator[list[Commit]]:
    found: list[Commit] = []
    async for commit in store.log(categories=["story"]):
        found.append(commit)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


async def _to_neo4j(  # noqa: C901 (three turns and a way to clear)
    scale: Scale, store: EventStore, driver: AsyncDriver, events: int
) -> AsyncIterator[Result]:
    statement = _statement(str)
    await driver.execute_query("CREATE CONSTRAINT IF NOT EXISTS FOR (d:BenchDecision) REQUIRE d.id IS UNIQUE")

    async def clear() -> None:
        await driver.execute_query("MATCH (d:BenchDecision) DETACH DELETE d")

    async def ours() -> float:
        await clear()
        return await followed(to_neo4j(f"neo4j-{next(_names)}"), store, Neo4jModel(driver, transaction_seconds=60))

    async def bare() -> float:
        await clear()
        started = time.perf_counter()
        async with driver.session() as session:
            async for commits in batches(store, BATCH.commits):
                async with await session.begin_transaction() as tx:
                    await draw(tx, commits, statement)
                    await tx.commit()
        return time.perf_counter() - started

    async def one_by_one() -> float:
        await clear()
        seen, started = 0, time.perf_counter()
        async with driver.session() as session:
            async for commits in batches(store, 1):
                async with await session.begin_transaction() as tx:
                    await draw(tx, commits, statement)
                    await tx.commit()
                seen += len(commits[0].events)
                if seen >= SAMPLE:
                    break
        return (time.perf_counter() - started) * events / seen

    side = Side("ours", "a transaction a batch")
    for name, rival, turn in (
        ("neo4j-vs-bare", "a bare loop of the same shape", bare),
        ("neo4j-10000", f"a transaction a commit, of {SAMPLE} events", one_by_one),
    ):
        if scale.wants(name):
            sides = [(side, ours), (Side(rival, side.sync), turn)]
            for result in await compare(scale, name, MILLISECONDS, sides, operations=1, events=events):
                yield result


async def _to_valkey(scale: Scale, store: EventStore, client: Valkey, events: int) -> AsyncIterator[Result]:
    async def ours() -> float:
        await client.flushall()
        return await followed(to_valkey(f"valkey-{next(_names)}"), store, ValkeyModel(client))

    async def bare() -> float:
        await client.flushall()
        started = time.perf_counter()
        async for commits in batches(store, BATCH.commits):
            async with client.pipeline(transaction=True) as pipe:
                queue(pipe, commits, "bench:")
                await pipe.execute()
        return time.perf_counter() - started

    async def one_by_one() -> float:
        await client.flushall()
        started = time.perf_counter()
        async for commits in batches(store, 1):
            async with client.pipeline(transaction=True) as pipe:
                queue(pipe, commits, "bench:")
                await pipe.execute()
        return time.perf_counter() - started

    side = Side("ours", "append-only file, every second")
    for name, rival, turn in (
        ("valkey-vs-bare", "a bare loop of the same shape", bare),
        ("valkey-10000", "a transaction a commit", one_by_one),
    ):
        if scale.wants(name):
            sides = [(side, ours), (Side(rival, side.sync), turn)]
            for result in await compare(scale, name, MILLISECONDS, sides, operations=1, events=events):
                yield result


class Nothing:
    """A target that keeps a record and no view."""

    def __init__(self) -> None:
        self._stored: Stored | None = None

    async def load(self, key: str) -> Stored | None:  # noqa: ARG002 (there is one record)
        return self._stored

    async def commit(
        self,
        key: str,  # noqa: ARG002 (there is one record)
        record: bytes | None,
        *,
        expected: int,
        changes: Changes[None] | None = None,
    ) -> bool:
        if changes is not None:
            changes(None)
        self._stored = None if record is None else Stored(record, expected + 1)
        return True


async def _overhead(scale: Scale) -> AsyncIterator[Result]:
    """Compare following the log by itself with a projection that does nothing."""
    if not scale.wants("projection-overhead"):
        return
    nothing: AnyProjection = Projection("nothing", lambda tx, batch: None, owns=["nothing"])  # noqa: ARG005
    async with open_store("memory://", CODEC) as store:
        events = await fill(store, scale.count(100_000))
        head = (await store.head()).position

        async def ours() -> float:
            return await followed(nothing, store, Nothing())

        async def bare() -> float:
            started = time.perf_counter()
            async for item in store.follow():
                if item.position >= head:
                    break
            return time.perf_counter() - started

        sides = [(Side("ours", "none"), ours), (Side("following alone", "none"), bare)]
        for result in await compare(
            scale, "projection-overhead", MICROSECONDS, sides, operations=events, events=events
        ):
            yield result
