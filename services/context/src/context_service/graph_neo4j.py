"""The decision graph in Neo4j, under the labels, types and properties that its readers rely on.

Everything that was ever mentioned is a node with the label ``GraphNode`` and a key; while it is there it has the label
of its kind besides, and its properties. What it was before is told by nodes of another label, ``PastDecision``, which
name the key and from which position to which. A relation that waits for an end has another type,
``WAITING_DEPENDS_ON``, and one that has ended ``PAST_DEPENDS_ON``, again with positions; so readers of the plain labels
and types see what holds now, and nothing else.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from projections import Projection

from context_service.graph import (
    EPIC,
    KINDS,
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
    touched,
)
from context_service.relationships import Neighbourhood
from context_service.story import CATEGORY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from neo4j import AsyncTransaction
    from projections import Batch, Name, Record
    from projections.neo4j import Neo4jModel

NODE: Final = "GraphNode"
# Of ours beside those that readers know.
_OURS: Final = ("key", "since", "until", "of", "past_id")


async def create(tx: AsyncTransaction, name: Name) -> None:
    """Make the constraints."""
    unique = [(NODE, "key"), *KINDS.items(), *((f"Past{kind}", "past_id") for kind in KINDS)]
    for label, field in unique:
        constraint = f"{name(label)}_{field}".lower()
        wanted = f"FOR (n:`{name(label)}`) REQUIRE n.{field} IS UNIQUE"
        await tx.run(_text(f"CREATE CONSTRAINT `{constraint}` IF NOT EXISTS {wanted}"))


async def draw(tx: AsyncTransaction, batch: Batch) -> None:
    """Apply a batch: one query reads what it touches, one writes what it changes."""
    queries = _queries(tuple((word, batch.name(word)) for word in (*_LABELS, *_TYPES)))
    known = await _known(tx, queries, touched(batch))
    rows = _rows(known, apply(known, batch))
    # A statement for each kind of change that there is: planning one for all that there may be takes seconds.
    for part, statement in queries.writes.items():
        if part in rows:
            await tx.run(_text(statement), p={"rows": rows[part]})
    # What nothing refers to any more is as if it had never been mentioned.
    left = [row["key"] for part in rows if part.startswith("end_") for row in rows[part]]
    dropped = [row for part in rows if part.startswith("drop_") for row in rows[part]]
    left += [row[end] for row in dropped for end in ("source", "target")]
    if left:
        await tx.run(_text(queries.sweep), p={"keys": sorted(set(left))})


_LABELS: Final = (NODE, *KINDS, *(f"Past{kind}" for kind in KINDS))
_TYPES: Final = tuple(f"{state}{type}" for type in TYPES for state in ("", "WAITING_", "PAST_"))
_OWNS: Final = (*_LABELS, *(f"-[:{type}]->" for type in _TYPES))
GRAPH: Final = Projection("graph", draw, owns=_OWNS, setup=create, categories=[CATEGORY, PROJECT, EPIC])


class _Queries(NamedTuple):
    read: str
    #: In their order, by the kind of change.
    writes: dict[str, str]
    sweep: str
    #: The word that each type is in this generation.
    words: dict[str, str]


async def _known(tx: AsyncTransaction, queries: _Queries, wanted: Touched) -> Known:
    keys = {_key(key) for key in wanted.nodes} | {_key(key) for key in wanted.around}
    parameters = {
        "nodes": sorted(keys),
        "edges": sorted([_key(end) for end in edge.ends] for edge in wanted.edges),
        "around": sorted(_key(key) for key in wanted.around),
    }
    record = await (await tx.run(_text(queries.read), p=parameters)).single(strict=True)
    known = Known({}, {})
    for properties in record["nodes"]:
        known.nodes[_node_key(properties["key"])] = _node(properties)
    for type, source, target, stated_by, since in record["edges"]:
        word = queries.words[type].removeprefix("WAITING_")
        key = EdgeKey(word, _node_key(source).id, _node_key(target).id)
        if key in wanted.edges or wanted.around.intersection(key.ends):
            known.edges[key] = Edge(tuple(stated_by), since)
    for properties in record["ends"]:
        known.nodes.setdefault(_node_key(properties["key"]), _node(properties))
    return known


def _node(properties: dict[str, Any]) -> Node:
    return Node({name: value for name, value in properties.items() if name not in _OURS}, properties["since"])


def _rows(known: Known, changed: Changed) -> dict[str, list[dict[str, Any]]]:
    """Return what the writing query gets, a list for each of its parts."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for key, node in changed.nodes.items():
        if isinstance(node, Node):
            here = {**node.properties, "key": _key(key), "since": node.since}
            _add(rows, f"set_{key.kind}", {"key": _key(key), "properties": here})
        elif key in known.nodes:
            _add(rows, f"end_{key.kind}", {"key": _key(key)})
    for past in changed.past:
        if isinstance(past.key, EdgeKey):
            source, target = past.key.ends
            then = {"since": past.since, "until": past.until}
            ends = {"source": _key(source), "target": _key(target)}
            _add(rows, f"past_{past.key.type}", {**ends, "properties": then})
        else:
            of = _key(past.key)
            before = {**past.properties, "of": of, "since": past.since, "until": past.until}
            before["past_id"] = f"{of}@{past.since}"
            _add(rows, f"past_{past.key.kind}", {"properties": before})
    for edge_key, edge in changed.edges.items():
        source, target = edge_key.ends
        ends = {"source": _key(source), "target": _key(target)}
        if edge_key in known.edges:
            _add(rows, f"drop_{edge_key.type}", ends)
        if edge is not None:
            what = f"hold_{edge_key.type}" if edge.since else f"wait_{edge_key.type}"
            _add(rows, what, {**ends, "properties": {"stated_by": list(edge.stated_by), "since": edge.since}})
    return rows


def _add(rows: dict[str, list[dict[str, Any]]], part: str, row: dict[str, Any]) -> None:
    rows.setdefault(part, []).append(row)


@cache
def _queries(names: tuple[tuple[str, str], ...]) -> _Queries:
    """Return the queries, of the same text for all batches of a generation: planning one costs more than running it."""
    named = {word: f"`{actual}`" for word, actual in names}
    words = {actual: word for word, actual in names}
    name = named.__getitem__
    alive = "|".join(map(name, KINDS))
    sweep = f"UNWIND $p.keys AS key MATCH (n:{name(NODE)} {{key: key}}) WHERE NOT n:{alive} AND NOT (n)--() DELETE n"
    return _Queries(_reading(name), _writing(name), sweep, words)


def _reading(name: Callable[[str], str]) -> str:
    node = name(NODE)
    alive = "|".join(name(kind) for kind in KINDS)
    held = "|".join(name(f"{state}{type}") for type in TYPES for state in ("", "WAITING_"))
    edge = "[type(r), a.key, b.key, r.stated_by, r.since]"
    return f"""
        CALL () {{ UNWIND $p.nodes AS key MATCH (n:{node} {{key: key}}) WHERE n:{alive}
               RETURN collect(properties(n)) AS nodes }}
        CALL () {{ UNWIND $p.edges AS ends
               MATCH (a:{node} {{key: ends[0]}})-[r:{held}]->(b:{node} {{key: ends[1]}})
               RETURN collect({edge}) AS between }}
        CALL () {{ UNWIND $p.around AS key MATCH (n:{node} {{key: key}})-[r:{held}]-(m)
               WITH DISTINCT r, startNode(r) AS a, endNode(r) AS b, m
               RETURN collect({edge}) AS about, [m IN collect(DISTINCT m) WHERE m:{alive} | properties(m)] AS ends }}
        CALL () {{ UNWIND $p.nodes AS key MATCH (c:{name("Case")}&{node} {{key: key}})
               MATCH (n:{node} {{key: "PlanVersion:" + c.plan_id}}) WHERE n:{alive}
               RETURN collect(properties(n)) AS plans }}
        RETURN nodes, between + about AS edges, ends + plans AS ends
    """


def _writing(name: Callable[[str], str]) -> dict[str, str]:
    node = name(NODE)
    parts = {}
    for kind in KINDS:
        plain, past = name(kind), name(f"Past{kind}")
        parts[f"end_{kind}"] = f"MATCH (n:{node} {{key: row.key}}) SET n = row REMOVE n:{plain}"
        parts[f"set_{kind}"] = f"MERGE (n:{node} {{key: row.key}}) SET n = row.properties, n:{plain}"
        parts[f"past_{kind}"] = f"CREATE (n:{past}) SET n = row.properties"
    for type in TYPES:
        held, waiting = name(type), name(f"WAITING_{type}")
        parts[f"drop_{type}"] = (
            f"MATCH (:{node} {{key: row.source}})-[r:{held}|{waiting}]->(:{node} {{key: row.target}}) DELETE r"
        )
        for what, actual in (("hold", held), ("wait", waiting), ("past", name(f"PAST_{type}"))):
            parts[f"{what}_{type}"] = (
                f"MERGE (a:{node} {{key: row.source}}) MERGE (b:{node} {{key: row.target}}) "
                f"CREATE (a)-[r:{actual}]->(b) SET r = row.properties"
            )
    return {part: f"UNWIND $p.rows AS row {statement}" for part, statement in parts.items()}


async def around(model: Neo4jModel, node: NodeKey, *, depth: int, at: int | None) -> Neighbourhood:
    """Return what is around a node at a position, or at the checkpoint."""

    async def look(tx: AsyncTransaction, record: Record | None) -> Neighbourhood:
        if record is None:
            return Neighbourhood(None, 0, {}, {})
        position = record.position if at is None else min(at, record.position)
        parameters = {"key": _key(node), "at": position}
        row = await (await tx.run(_text(_around(depth)), p=parameters)).single(strict=True)
        nodes = {_node_key(key): _node(properties) for key, properties in row["nodes"] if properties is not None}
        # Nothing is left of a node that was never related to anything, but what it was.
        keys = {node, *(_node_key(key) for key, _ in row["nodes"])}
        nodes |= await _before(tx, keys - nodes.keys(), position)
        edges = {
            EdgeKey(type.removeprefix("PAST_"), _node_key(source).id, _node_key(target).id): since
            for type, source, target, since in row["edges"]
        }
        return Neighbourhood(record, position, nodes, edges)

    return await model.read(GRAPH.name, look)


async def _before(tx: AsyncTransaction, keys: Collection[NodeKey], at: int) -> dict[NodeKey, Node]:
    """Return nodes as they were at a position and are not any more."""
    found = {}
    for kind in sorted({key.kind for key in keys}):
        of = [_key(key) for key in keys if key.kind == kind]
        async for row in await tx.run(_text(_PAST.format(kind=kind)), p={"keys": of, "at": at}):
            found[_node_key(row["p"]["of"])] = _node(row["p"])
    return found


# The unique id of what is past begins with its key, which so finds it.
_PAST: Final = """
    UNWIND $p.keys AS key
    MATCH (n:Past{kind}) WHERE n.past_id STARTS WITH key + "@" AND n.of = key AND n.since <= $p.at AND $p.at < n.until
    RETURN properties(n) AS p
"""


@cache
def _around(depth: int) -> str:
    """Return the query for what is around a node. Of two ways to a node the server goes one: no way is a result."""
    alive, types = "|".join(KINDS), "|".join(f"{state}{type}" for type in TYPES for state in ("", "PAST_"))
    held = "r.since <= $p.at AND (r.until IS NULL OR $p.at < r.until)"
    return f"""
        MATCH (:{NODE} {{key: $p.key}}) (()-[r:{types} WHERE {held}]-()){{0,{depth}}} (n)
        WITH collect(DISTINCT n) AS near
        CALL (near) {{ UNWIND near AS a MATCH (a)-[r:{types} WHERE {held}]->(b) WHERE b IN near
               RETURN collect([type(r), a.key, b.key, r.since]) AS edges }}
        RETURN edges, [n IN near | [n.key, CASE WHEN n:{alive} AND n.since <= $p.at THEN properties(n) END]] AS nodes
    """


def _text(query: str) -> Any:
    # The driver wants literals, so that nobody puts together a query of what users write; ours are of our own words.
    return query


def _key(key: NodeKey) -> str:
    return f"{key.kind}:{key.id}"


def _node_key(text: str) -> NodeKey:
    return NodeKey(*text.split(":", 1))
