"""The decision graph in tables of a SQLite file: the embedded default."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from projections import Projection

from context_service.graph import (
    EPIC,
    PROJECT,
    TYPES,
    Changed,
    Edge,
    EdgeKey,
    Known,
    Node,
    NodeKey,
    Touched,
    apply,
    further,
    touched,
)
from context_service.relationships import Neighbourhood
from context_service.story import CATEGORY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from projections import Batch, Name, Record
    from projections.sqlite import SqliteModel

_TABLES: Final = {
    "graph_nodes": "kind TEXT, id TEXT, properties TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (kind, id)",
    # A relation that waits for an end holds since 0.
    "graph_edges": "type TEXT, source TEXT, target TEXT, stated_by TEXT NOT NULL, since INTEGER NOT NULL, "
    "PRIMARY KEY (type, source, target)",
    "graph_past_nodes": "kind TEXT, id TEXT, properties TEXT NOT NULL, since INTEGER, until INTEGER NOT NULL, "
    "PRIMARY KEY (kind, id, since)",
    "graph_past_edges": "type TEXT, source TEXT, target TEXT, since INTEGER, until INTEGER NOT NULL, "
    "PRIMARY KEY (type, source, target, since)",
}


def create(tx: sqlite3.Connection, name: Name) -> None:
    """Make the tables."""
    for table, columns in _TABLES.items():
        tx.execute(f"CREATE TABLE IF NOT EXISTS {name(table)}({columns}) WITHOUT ROWID")
    for table in ("graph_edges", "graph_past_edges"):
        for end in ("source", "target"):
            index = f"{name(table)}_by_{end}"
            tx.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {name(table)}({end})")


def draw(tx: sqlite3.Connection, batch: Batch) -> None:
    """Apply a batch."""
    _write(tx, batch.name, apply(_known(tx, batch.name, touched(batch)), batch))


GRAPH: Final = Projection("graph", draw, owns=tuple(_TABLES), setup=create, categories=[CATEGORY, PROJECT, EPIC])


def _known(tx: sqlite3.Connection, name: Name, wanted: Touched) -> Known:
    known = Known({}, {})
    nodes = f"SELECT properties, since FROM {name('graph_nodes')} WHERE kind = ? AND id = ?"  # noqa: S608 (our names)
    for key in wanted.nodes:
        for properties, since in tx.execute(nodes, key):
            known.nodes[key] = Node(json.loads(properties), since)
    columns = f"SELECT type, source, target, stated_by, since FROM {name('graph_edges')}"  # noqa: S608
    for edge in wanted.edges:
        _learn(known, tx.execute(f"{columns} WHERE type = ? AND source = ? AND target = ?", edge))
    for around in wanted.around:
        _learn(known, _around(tx, columns, around))
    for key in further(known):
        for properties, since in tx.execute(nodes, key):
            known.nodes[key] = Node(json.loads(properties), since)
    return known


def _around(tx: sqlite3.Connection, columns: str, node: NodeKey) -> Iterator[tuple[Any, ...]]:
    for end, place in (("source", 0), ("target", 1)):
        for row in tx.execute(f"{columns} WHERE {end} = ?", (node.id,)):
            if TYPES[row[0]][place] == node.kind:
                yield row


def _learn(known: Known, rows: Iterable[tuple[Any, ...]]) -> None:
    for type, source, target, stated_by, since in rows:
        known.edges[EdgeKey(type, source, target)] = Edge(tuple(json.loads(stated_by)), since)


def _write(tx: sqlite3.Connection, name: Name, changed: Changed) -> None:
    nodes, edges = name("graph_nodes"), name("graph_edges")
    tx.executemany(
        f"INSERT OR REPLACE INTO {nodes} VALUES (?, ?, ?, ?)",  # noqa: S608 (our names, here and below)
        [(*key, _json(node.properties), node.since) for key, node in changed.nodes.items() if node is not None],
    )
    tx.executemany(
        f"DELETE FROM {nodes} WHERE kind = ? AND id = ?",  # noqa: S608
        [key for key, node in changed.nodes.items() if node is None],
    )
    tx.executemany(
        f"INSERT OR REPLACE INTO {edges} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(*key, _json(edge.stated_by), edge.since) for key, edge in changed.edges.items() if edge is not None],
    )
    tx.executemany(
        f"DELETE FROM {edges} WHERE type = ? AND source = ? AND target = ?",  # noqa: S608
        [key for key, edge in changed.edges.items() if edge is None],
    )
    tx.executemany(
        f"INSERT OR REPLACE INTO {name('graph_past_nodes')} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [
            (*past.key, _json(past.properties), past.since, past.until)
            for past in changed.past
            if isinstance(past.key, NodeKey)
        ],
    )
    tx.executemany(
        f"INSERT OR REPLACE INTO {name('graph_past_edges')} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(*past.key, past.since, past.until) for past in changed.past if isinstance(past.key, EdgeKey)],
    )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------- questions

# An id may be that of several kinds, which the type of a relation tells apart.
_OF: Final = "SELECT value FROM json_each(:ids)"


async def around(model: SqliteModel, node: NodeKey, *, depth: int, at: int | None) -> Neighbourhood:
    """Return what is around a node at a position, or at the checkpoint."""

    def look(tx: sqlite3.Connection, record: Record | None) -> Neighbourhood:
        if record is None:
            return Neighbourhood(None, 0, {}, {})
        position = record.position if at is None else min(at, record.position)
        keys = _near(tx, node, depth, position)
        nodes = {key: found for key in keys if (found := _node_at(tx, key, position)) is not None}
        edges = _edges_at(tx, f"source IN ({_OF}) AND target IN ({_OF})", nodes.keys(), position)
        return Neighbourhood(
            record, position, nodes, {key: since for key, since in edges if nodes.keys() >= {*key.ends}}
        )

    return await model.read(GRAPH.name, look)


def _near(tx: sqlite3.Connection, start: NodeKey, depth: int, at: int) -> set[NodeKey]:
    found, ring = {start}, {start}
    for _ in range(depth):
        edges = _edges_at(tx, f"source IN ({_OF}) OR target IN ({_OF})", ring, at)
        ring = {end for key, _ in edges if not ring.isdisjoint(key.ends) for end in key.ends} - found
        found |= ring
    return found


def _node_at(tx: sqlite3.Connection, key: NodeKey, at: int) -> Node | None:
    of = "WHERE kind = :kind AND id = :id AND since <= :at"
    row = tx.execute(
        f"SELECT properties, since FROM graph_nodes {of} UNION ALL "  # noqa: S608 (our words, here and below)
        f"SELECT properties, since FROM graph_past_nodes {of} AND :at < until",
        {**key._asdict(), "at": at},
    ).fetchone()
    return None if row is None else Node(json.loads(row[0]), row[1])


def _edges_at(tx: sqlite3.Connection, where: str, of: Iterable[NodeKey], at: int) -> list[tuple[EdgeKey, int]]:
    columns = "SELECT type, source, target, since FROM"
    rows = tx.execute(
        f"{columns} graph_edges WHERE ({where}) AND since BETWEEN 1 AND :at UNION ALL "
        f"{columns} graph_past_edges WHERE ({where}) AND since <= :at AND :at < until",
        {"ids": _json([key.id for key in of]), "at": at},
    )
    return [(EdgeKey(*key), since) for *key, since in rows]
