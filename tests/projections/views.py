"""A small projection for each target: how much each stream of numbers adds up to, and how often it was written to.

Adding is not repeatable, so a commit applied twice shows. The number 13 cannot be applied.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from eventstore import Codec
from google.protobuf.wrappers_pb2 import Int64Value
from projections import Projection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Container, Iterator

    from eventstore import Commit, EventStore
    from neo4j import AsyncTransaction
    from projections import Batch, Name
    from projections.memory import Draft
    from valkey.asyncio.client import Pipeline

CODEC: Final = Codec(Int64Value)
UNLUCKY: Final = 13

View: TypeAlias = dict[str, tuple[int, int]]
"""What each stream adds up to, and how many commits that were."""


def numbers(*values: int) -> list[Int64Value]:
    return [Int64Value(value=value) for value in values]


def values(commit: Commit) -> Iterator[int]:
    for event in commit.events:
        message = event.message
        assert isinstance(message, Int64Value)
        if message.value == UNLUCKY:
            raise ValueError("unlucky")
        yield message.value


def to_memory(tx: Draft, batch: Batch) -> None:
    for commit in batch:
        key = batch.name(f"sum:{commit.stream.id}")
        total, commits = tx.get(key, (0, 0))
        tx[key] = (total + sum(values(commit)), commits + 1)


def table(tx: sqlite3.Connection, name: Name) -> None:
    columns = "id TEXT PRIMARY KEY, total INTEGER NOT NULL, commits INTEGER NOT NULL"
    tx.execute(f"CREATE TABLE IF NOT EXISTS {name('sums')}({columns})")


def to_sqlite(tx: sqlite3.Connection, batch: Batch) -> None:
    for commit in batch:
        tx.execute(
            f"INSERT INTO {batch.name('sums')} VALUES (?, ?, 1) "  # noqa: S608 (our own name)
            "ON CONFLICT DO UPDATE SET total = total + excluded.total, commits = commits + 1",
            (commit.stream.id, sum(values(commit))),
        )


def in_valkey(space: str) -> Projection[Pipeline]:
    """Return the projection to keys that start with a word of the caller's, since tests share a server."""

    def to_valkey(tx: Pipeline, batch: Batch) -> None:
        folded: dict[str, tuple[int, int]] = {}
        for commit in batch:
            total, commits = folded.get(commit.stream.id, (0, 0))
            folded[commit.stream.id] = (total + sum(values(commit)), commits + 1)
        for id, (total, commits) in folded.items():
            key = batch.name(f"{space}:{id}")
            tx.hincrby(key, "total", total)
            tx.hincrby(key, "commits", commits)

    return Projection("sums", to_valkey, owns=[f"{space}:*"], categories=["n"])


IN_MEMORY: Final = Projection("sums", to_memory, owns=["sum:*"], categories=["n"])
IN_SQLITE: Final = Projection("sums", to_sqlite, owns=["sums"], setup=table, categories=["n"])


def in_neo4j(space: str) -> Projection[AsyncTransaction]:
    """The view as nodes (:Sum) and relationships to the numbers that were added, all with names of their own."""
    sums, numbers, added = f"Sum{space}", f"Number{space}", f"ADDED{space}"

    async def constraints(tx: AsyncTransaction, name: Name) -> None:
        for label in (sums, numbers):
            await tx.run(f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{name(label)}) REQUIRE n.id IS UNIQUE")
        await tx.run(f"CREATE INDEX IF NOT EXISTS FOR ()-[r:{name(added)}]-() ON (r.times)")

    async def apply(tx: AsyncTransaction, batch: Batch) -> None:
        rows = []
        for commit in batch:
            found = list(values(commit))
            rows.append({"id": commit.stream.id, "total": sum(found), "found": found})
        name = batch.name
        await tx.run(
            f"UNWIND $rows AS row MERGE (s:{name(sums)} {{id: row.id}}) ON CREATE SET s.total = 0, s.commits = 0"
            " SET s.total = s.total + row.total, s.commits = s.commits + 1 WITH s, row UNWIND row.found AS value"
            f" MERGE (n:{name(numbers)} {{id: value}}) MERGE (s)-[r:{name(added)}]->(n)"
            " SET r.times = coalesce(r.times, 0) + 1",
            rows=rows,
        )

    owns = [sums, numbers, f"-[:{added}]->"]
    return Projection(f"sums-{space}", apply, owns=owns, setup=constraints, categories=["n"])


async def folded(store: EventStore, *, but: Container[int] = ()) -> AsyncIterator[View]:
    """Fold the log; yield one view again and again, as it is at first and after each commit but those."""
    view: View = {}
    yield view
    async for commit in store.log(categories=["n"]):
        if commit.position not in but:
            total, commits = view.get(commit.stream.id, (0, 0))
            added = sum(event.message.value for event in commit.events)  # type: ignore[attr-defined]
            view[commit.stream.id] = (total + added, commits + 1)
            yield view


async def totals(projection: Projection[Any], model: Any) -> View:
    """Return a view, whatever the target."""
    found = {}
    async for key, value in model.entries(projection.owns, str):
        match json.loads(value):
            case {"properties": {"id": id, "total": total, "commits": commits}}:
                found[id] = (total, commits)
            case {"id": id, "total": total, "commits": commits}:
                found[id] = (total, commits)
            case ["hash", {"total": total, "commits": commits}]:
                found[key.rpartition(":")[2]] = (int(total), int(commits))
            case [total, commits]:
                found[key.removeprefix("sum:")] = (total, commits)
    return found
