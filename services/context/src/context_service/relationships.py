"""The question to the graph: what is around a node, over all stories, now or at a position of the past."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from eventstore import Position, Token, WrongLog
from projections import ModelUnavailable, wait_for

from context_service.commands import Fault
from context_service.contexts import checked_position, refused
from context_service.graph import EdgeKey, Node, NodeKey
from context_service.v1 import context_pb2 as pb
from context_service.words import id_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from projections import Deployed, Record

#: The nodes that may be asked about, in the words of callers: a case is a story, a subtask a task.
NODE_TYPES: Final = {
    "Project": "Project",
    "Epic": "Epic",
    "Story": "Case",
    "Task": "Subtask",
    "Decision": "Decision",
    "Case": "Case",
    "Subtask": "Subtask",
}
_KINDS: Final = {type.lower(): kind for type, kind in NODE_TYPES.items()}
_TYPES: Final = {"Case": "Story", "Subtask": "Task"}
_DEPTH: Final = 2
_DEEPEST: Final = 3
#: So many neighbours are told, the nearest: an answer of more is larger than clients take.
MOST: Final = 1_000
#: How long a question waits for the graph. The caller's own deadline may be earlier.
WAIT_SECONDS: Final = 5.0


class GraphUnavailable(Exception):
    """The graph cannot answer now. The message is for callers."""


class Neighbourhood(NamedTuple):
    """What a view has around a node, and the node itself; nothing where that was not there."""

    #: Of the view, as of the same moment; None while it has not begun.
    record: Record | None
    #: At which the nodes were so and the relations held.
    position: int
    nodes: dict[NodeKey, Node]
    #: All relations between these nodes, and since when each holds.
    edges: dict[EdgeKey, int]

    @property
    def checkpoint(self) -> int:
        """The last position that the view contains."""
        return 0 if self.record is None else self.record.position

    @property
    def failed(self) -> bool:
        """Whether the view cannot go on."""
        return self.record is not None and self.record.failure is not None


class Around(Protocol):
    """How a view is read."""

    async def __call__(self, model: Any, node: NodeKey, *, depth: int, at: int | None) -> Neighbourhood:
        """Return what is at most so many relations away, in either direction, at a position or at the checkpoint.

        Raises:
            ModelUnavailable: the view cannot be read now.
        """


class Graph(NamedTuple):
    """A graph that can be asked."""

    view: Deployed
    around: Around


async def related(
    graph: Graph | None, node_id: str, node_type: str, *, depth: int = 0, position: str = "", min_position: str = ""
) -> pb.GetGraphRelationshipsResponse:
    """Return a node, what is around it and the relations between them, at a position or now.

    Raises:
        Refused: a word means nothing, there was no such node, no graph is kept, or it is not at the position in time.
        GraphUnavailable: the graph cannot be reached, is of another log, or has failed and does not know of now.
    """
    node = _node(node_id, node_type)
    if not 0 <= depth <= _DEEPEST:
        raise refused(Fault.INVALID, "depth", f"expected 1 to {_DEEPEST}, or 0 for {_DEPTH}; got {depth}")
    if graph is None:
        raise refused(Fault.PRECONDITION, "graph", "this process keeps no graph")
    log_id = graph.view.store.log_id
    at = checked_position("position", position, log_id) if position else None
    least = checked_position("min_position", min_position, log_id) if min_position else 0
    if at is not None and at > (head := (await graph.view.store.head()).position):
        raise refused(Fault.NOT_FOUND, "position", f"the log is at position {head}")
    if at is not None and at < least:
        raise refused(Fault.INVALID, "min_position", f"expected at most the position asked for, {at}; got {least}")
    try:
        found = await _found(graph, node, depth=depth or _DEPTH, at=at, least=max(at or 0, least))
    except ModelUnavailable as error:
        raise GraphUnavailable("the graph cannot be reached; try again") from error
    if node not in found.nodes:
        then = "" if at is None else " at that position"
        raise refused(Fault.NOT_FOUND, "node_id", f"there is no {_type(node)} {node_id!r}{then}")
    return _answer(node, found, log_id)


def _node(node_id: str, node_type: str) -> NodeKey:
    kind = _KINDS.get(node_type.lower())
    if kind is None:
        raise refused(Fault.INVALID, "node_type", f"expected one of {', '.join(NODE_TYPES)}; got {node_type!r:.80}")
    if problem := id_problem(node_id):
        raise refused(Fault.INVALID, "node_id", problem)
    return NodeKey(kind, node_id)


async def _found(graph: Graph, node: NodeKey, *, depth: int, at: int | None, least: int) -> Neighbourhood:
    """Return what is around a node once the graph is at a position; one that has failed is not waited for."""
    view = graph.view
    found = await graph.around(view.model, node, depth=depth, at=at)
    if found.checkpoint < least and not found.failed:
        with suppress(TimeoutError, WrongLog):
            token = Token(view.store.log_id, Position(least))
            await wait_for(view.projection, view.model, token, timeout=WAIT_SECONDS)
        found = await graph.around(view.model, node, depth=depth, at=at)
    if found.record is not None and found.record.log_id != view.store.log_id:
        raise GraphUnavailable("the graph is of another log")
    if found.failed and (at is None or found.checkpoint < least):
        raise GraphUnavailable(f"the graph has failed after position {found.checkpoint}; an operator must mend it")
    if found.record is None:
        raise refused(Fault.LATE, "min_position" if least else "graph", "the graph has not begun yet; try again")
    if found.checkpoint < least:
        problem = f"the graph is at position {found.checkpoint}, not at {least}; try again"
        raise refused(Fault.LATE, "min_position", problem)
    return found


def _answer(start: NodeKey, found: Neighbourhood, log_id: str) -> pb.GetGraphRelationshipsResponse:
    """Return what was found, nearest first, in an order that only depends on it."""

    def node(key: NodeKey) -> pb.GraphNode:
        properties = {name: _text(value) for name, value in found.nodes[key].properties.items()}
        return pb.GraphNode(
            id=key.id,
            labels=[key.kind],
            properties=properties,
            type=_type(key),
            title=properties.get("title") or properties.get("name", ""),
            since=f"{log_id}:{found.nodes[key].since}",
        )

    def relation(key: EdgeKey) -> pb.GraphRelationship:
        since = f"{log_id}:{found.edges[key]}"
        return pb.GraphRelationship(from_node_id=key.source, to_node_id=key.target, type=key.type, since=since)

    distances = _distances(start, found.edges)
    nearest = sorted(found.nodes.keys() - {start}, key=lambda key: (distances[key], key))
    told = {start, *nearest[:MOST]}
    return pb.GetGraphRelationshipsResponse(
        node=node(start),
        neighbors=map(node, nearest[:MOST]),
        relationships=[relation(edge) for edge in sorted(found.edges) if told.issuperset(edge.ends)],
        success=True,
        message="" if len(nearest) <= MOST else f"the nearest {MOST:,} of {len(nearest):,} neighbours",
        position=f"{log_id}:{found.position}",
    )


def _distances(start: NodeKey, edges: Iterable[EdgeKey]) -> dict[NodeKey, int]:
    """Return how many relations lie between a node and each other one."""
    beside: dict[NodeKey, set[NodeKey]] = {}
    for edge in edges:
        source, target = edge.ends
        beside.setdefault(source, set()).add(target)
        beside.setdefault(target, set()).add(source)
    distances, ring = {start: 0}, {start}
    while ring:
        ring = {other for node in ring for other in beside.get(node, ())} - distances.keys()
        distances.update(dict.fromkeys(ring, max(distances.values()) + 1))
    return distances


def _type(key: NodeKey) -> str:
    return _TYPES.get(key.kind, key.kind)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
