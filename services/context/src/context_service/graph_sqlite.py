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
from context_service.story import CATEGORY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from projections import Batch, Name

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
    for end in ("source", "target"):
        index = f"{name('graph_edges')}_by_{end}"
        tx.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {name('graph_edges')}({end})")


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
