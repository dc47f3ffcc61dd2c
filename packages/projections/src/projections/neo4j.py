"""Views in Neo4j, of which version 5.26 is the oldest that will do, and snapshots of streams there.

The caller owns the driver. A projection's ``apply`` is async and gets the driver's ``AsyncTransaction``; its ``setup``
gets another one, which may change the schema and nothing else.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
from eventstore import InvalidInput, Position, Snapshot, StoreUnavailable, Version
from neo4j.exceptions import DriverError, Neo4jError

from projections._errors import ModelUnavailable
from projections._model import Stored
from projections._naming import canonical, word_of
from projections._neo4j_server import QUIET, Server, fault_of, quoted, translated
from projections._record import from_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from eventstore import Bound, StreamId
    from neo4j import AsyncDriver, AsyncTransaction

    from projections._model import Changes
    from projections._projection import Name
    from projections._record import Record

T = TypeVar("T")

_SWEEP_TIMES: Final = 60
_PAGE: Final = 1_000
_PAGE_OF_STARTS: Final = 100
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE: Final = re.compile(r"-\[:([A-Za-z_][A-Za-z0-9_]*)\]->")
_GONE: Final = "ProjectionGone"
_NO_LIMIT: Final = 2**63 - 1

# All parameters are in one map: the server plans a statement anew for each size class of a parameter that is a text.
_RECORDS: Final = "CREATE CONSTRAINT IF NOT EXISTS FOR (r:ProjectionRecord) REQUIRE r.key IS UNIQUE"
# A reader takes no lock and may see one property before a change and another one after it, even of one node. What is
# read must therefore be one property, which holds the revision too.
_LOAD: Final = "MATCH (r:ProjectionRecord {key: $p.key}) RETURN r.record"
_HOLD: Final = "MATCH (r:ProjectionRecord {key: $p.key}) SET r.lock = '' RETURN r.record"
_NEW: Final = "MERGE (r:ProjectionRecord {key: $p.key}) ON CREATE SET r.revision = 0"
_OLD: Final = "MATCH (r:ProjectionRecord {key: $p.key})"
# The SET comes before the comparison because it locks the node. The other way round, two compare, then wait for each
# other, and both go on.
_LOCKED: Final = "SET r.lock = randomUUID() WITH r WHERE r.revision = $p.expected"
_REPLACED: Final = "SET r.record = $p.record, r.revision = $p.expected + 1 RETURN true"
_REMOVED: Final = "DELETE r RETURN true"

_SNAPSHOTS: Final = (
    "CREATE CONSTRAINT IF NOT EXISTS FOR (s:ContextSnapshot)"
    " REQUIRE (s.category, s.id, s.log_id, s.tag, s.version) IS UNIQUE"
)
_SAVE: Final = (
    "MERGE (s:ContextSnapshot {category: $p.category, id: $p.id, log_id: $p.log_id, tag: $p.tag, version: $p.version})"
    " SET s += $p.rest WITH s MATCH (old:ContextSnapshot {category: $p.category, id: $p.id})"
    " WHERE old.log_id IS NOT NULL AND old.tag IS NOT NULL AND old.version IS NOT NULL AND old <> s"
    " WITH old ORDER BY old.log_id = $p.log_id AND old.tag = $p.tag DESC, old.version DESC"
    " SKIP $p.keep - 1 DELETE old"
)
_NEWEST: Final = (
    "MATCH (s:ContextSnapshot {category: $p.category, id: $p.id, log_id: $p.log_id, tag: $p.tag})"
    " WHERE s.version <= $p.version AND s.position <= $p.position AND s.occurred <= $p.occurred"
    " WITH s ORDER BY s.version DESC LIMIT 1 RETURN s.version, s.position, s.occurred, s.state, s.commits"
)


class Neo4jModel:
    """Keeps views as nodes and relationships, and a record of each as a node ``(:ProjectionRecord)``.

    A projection ``owns`` labels, written as ``Order``, and relationship types, written as ``-[:CONTAINS]->``. Of a
    node that has several owned labels the first counts in comparisons; it is known by its label and by those of its
    properties that are unique by a constraint, or else by ``id``, or else by all. A constraint or index that ``setup``
    makes has no name, or one that ``name`` has made. Neo4j never forgets the name of a label or type, and each rebuild
    brings new ones.

    Who must see a whole batch or nothing of it uses ``read``, or begins by ``MATCH (r:ProjectionRecord {key: 'orders'})
    SET r.lock = ''`` in a transaction, reads, and rolls back: meanwhile the projection waits.

    Args:
        driver: of whichever address and user; open, and closed by whoever opened it.
        database: its name; None is the user's own.
        transaction_seconds: after which the server takes back a transaction, so that nobody who was paused keeps
            others waiting. No batch may take longer. Emptying and swapping views have sixty times as long.
    """

    def __init__(self, driver: AsyncDriver, *, database: str | None = None, transaction_seconds: float = 5.0) -> None:
        self._server = Server(driver, database, transaction_seconds)
        self._seconds = transaction_seconds
        self._long = transaction_seconds * _SWEEP_TIMES
        self._reading = asyncio.Lock()

    async def load(self, key: str) -> Stored | None:
        """Return a record."""
        with translated():
            rows = await self._server.rows(_LOAD, key=key)
        return _stored(rows[0][0]) if rows else None

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[AsyncTransaction] | None = None
    ) -> bool:
        """Make changes and replace a record."""
        sweep = changes if isinstance(changes, _Sweep) else None
        values: dict[str, Any] = {"key": key, "expected": expected}
        if record is not None:
            # Any bytes are a text in Latin-1, and JSON is still JSON.
            values["record"] = f"{expected + 1} {record.decode('latin-1')}"
        statement = f"{_OLD if expected else _NEW} {_LOCKED} {_REMOVED if record is None else _REPLACED}"
        with translated():
            if not expected:
                # Without it, two could make the same record.
                await self._server.rows(_RECORDS)
            async with self._transaction(sweep) as tx:
                result = await tx.run(statement, p=values)
                if await result.single() is None:
                    return False
                waiting = None if changes is None else changes(tx)
                if waiting is not None:
                    await waiting
                await tx.commit()
            if sweep is not None:
                await self._drop_schema(sweep.gone)
        return True

    async def read(self, projection: str, look: Callable[[AsyncTransaction, Record | None], Awaitable[T]]) -> T:
        """Read a view as it is at one checkpoint, that of its record, None when there is none; it waits meanwhile.

        Args:
            projection: whose view and record.
            look: reads; what it writes is not kept.
        """
        # Many would wait for each other in the server, in no order, and the projection with them.
        with translated():
            async with self._reading, self._server.transaction(self._seconds, **QUIET) as tx:
                row = await (await tx.run(_HOLD, p={"key": projection})).single()
                found = await look(tx, None if row is None else from_bytes(_stored(row[0]).record))
                await tx.rollback()
                return found

    def _transaction(self, sweep: _Sweep | None) -> AbstractAsyncContextManager[AsyncTransaction]:
        return (
            self._server.transaction(self._seconds) if sweep is None else self._server.transaction(self._long, **QUIET)
        )

    async def _drop_schema(self, names: Sequence[str]) -> None:
        """Drop the constraints and indexes of labels and types, which cannot share a transaction with data."""
        for kind, kinds in (("CONSTRAINT", "CONSTRAINTS"), ("INDEX", "INDEXES")) if names else ():
            found = await self._server.rows(
                f"SHOW {kinds} YIELD name, labelsOrTypes WHERE any(word IN labelsOrTypes WHERE word IN $p.names)"
                " RETURN name",
                names=names,
            )
            for [name] in found:
                await self._server.rows(f"DROP {kind} {quoted(name)} IF EXISTS")

    def naming(self, projection: str, generation: int) -> Name:
        """Put the generation behind each label and type."""
        return word_of(projection, generation)

    async def prepare(self, setup: Callable[[AsyncTransaction, Name], Awaitable[None] | None], name: Name) -> None:
        """Let a projection make its constraints and indexes."""
        with translated():
            async with self._server.transaction(self._long) as tx:
                waiting = setup(tx, name)
                if waiting is not None:
                    await waiting
                await tx.commit()

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Yield nodes, and for each type and pair of nodes the relationships between them, as JSON."""
        owned = _Owned.of(owns, name)
        with translated():
            reading = _Reading(owned, await self._identifying(owned))
            # A record costs the driver more than what is in it: each is a page of many.
            async with self._server.session(fetch_size=1, **QUIET) as session:
                for statement in reading.of_nodes():
                    async for record in await session.run(statement):
                        for row in record[0]:
                            yield reading.node(*row)
                for plain, statement in reading.of_relationships():
                    async for record in await session.run(statement):
                        for row in record[0]:
                            yield reading.relationships(plain, *row)

    async def _identifying(self, owned: _Owned) -> list[str]:
        """Return the properties by which nodes are known, those of the live view whichever one is read."""
        rows = await self._server.rows(
            "SHOW CONSTRAINTS YIELD type, entityType, labelsOrTypes, properties WHERE entityType = 'NODE'"
            " AND type IN ['UNIQUENESS', 'NODE_PROPERTY_UNIQUENESS', 'NODE_KEY']"
            " AND any(label IN labelsOrTypes WHERE label IN $p.labels) RETURN properties",
            labels=list(owned.labels.values()),
        )
        return sorted({"id", *(found for [properties] in rows for found in properties)})

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[AsyncTransaction]:
        """Return changes that delete a generation's nodes and relationships, and then what its schema has of them."""
        owned = _Owned.of(owns, name)
        gone = [actual for names in (owned.labels, owned.types) for actual, plain in names.items() if actual != plain]
        return _Sweep(owned.deleting(), gone)

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[AsyncTransaction]:
        """Return changes that put a generation's nodes and relationships in the live ones' place."""
        live, rebuilt = _Owned.of(owns, str), _Owned.of(owns, name)
        return _Sweep([*live.making_way(), *rebuilt.becoming_plain(), f"MATCH (old:{_GONE}) DETACH DELETE old"])


def _stored(text: str) -> Stored:
    revision, _, record = text.partition(" ")
    return Stored(record.encode("latin-1"), int(revision))


class _Sweep:
    """Changes to a whole view; the labels and types that are ``gone`` afterwards need no schema."""

    def __init__(self, statements: Sequence[str], gone: Sequence[str] = ()) -> None:
        self.statements: Final = statements
        self.gone: Final = gone

    async def __call__(self, tx: AsyncTransaction) -> None:
        for statement in self.statements:
            result = await tx.run(statement)
            await result.consume()


class _Owned(NamedTuple):
    """What a view owns in one generation: plain labels and types by the actual ones."""

    labels: dict[str, str]
    types: dict[str, str]

    @classmethod
    def of(cls, owns: Sequence[str], name: Name) -> _Owned:
        """Tell labels from types. They become part of statements, so what is no name is refused."""
        labels = [word for word in owns if _LABEL.fullmatch(word)]
        types = [found[1] for found in map(_TYPE.fullmatch, owns) if found is not None]
        if len(labels) + len(types) < len(owns):
            raise InvalidInput("owns", f"expected labels as Order and types as -[:CONTAINS]->, got {owns!r:.200}")
        return cls({name(label): label for label in labels}, {name(word): word for word in types})

    def deleting(self) -> list[str]:
        """Return statements that delete all of it."""
        return [
            *(f"MATCH ()-[old:{quoted(actual)}]->() DELETE old" for actual in self.types),
            *(f"MATCH (old:{quoted(actual)}) DETACH DELETE old" for actual in self.labels),
        ]

    def making_way(self) -> list[str]:
        """Return statements that take its labels from nodes that are deleted later.

        Version 5.26 compares each node that comes under a uniqueness constraint with all that the transaction has
        deleted: were they deleted at once, a swap of 20,000 nodes would take eight seconds instead of one.
        """
        return [
            *(f"MATCH ()-[old:{quoted(actual)}]->() DELETE old" for actual in self.types),
            *(f"MATCH (old:{quoted(actual)}) SET old:{_GONE} REMOVE old:{quoted(actual)}" for actual in self.labels),
        ]

    def becoming_plain(self) -> list[str]:
        """Return statements that make it the live one. A relationship has its type for life, so it is made anew."""
        return [
            *(
                f"MATCH (a)-[old:{quoted(actual)}]->(b) CREATE (a)-[new:{quoted(plain)}]->(b)"
                " SET new = properties(old) DELETE old"
                for actual, plain in self.types.items()
            ),
            *(
                f"MATCH (n:{quoted(actual)}) SET n:{quoted(plain)} REMOVE n:{quoted(actual)}"
                for actual, plain in self.labels.items()
            ),
        ]


class _Reading:
    """Statements that read a view by pages, and what is made of their rows."""

    def __init__(self, owned: _Owned, identifying: Sequence[str]) -> None:
        self._owned = owned
        self._identifying = identifying
        self._twins: Counter[str] = Counter()

    def of_nodes(self) -> Iterator[str]:
        """Read each node once, by the first of its labels."""
        earlier: list[str] = []
        for label in map(quoted, self._owned.labels):
            where = f" WHERE NOT n:{'|'.join(earlier)}" if earlier else ""
            earlier.append(label)
            yield (
                f"MATCH (n:{label}){where} WITH collect(n) AS nodes UNWIND range(0, size(nodes) - 1, {_PAGE}) AS at"
                f" RETURN [n IN nodes[at..at + {_PAGE}] | [labels(n), properties(n)]]"
            )

    def of_relationships(self) -> Iterator[tuple[str, str]]:
        """Read relationships by the nodes from which they go, so that the server need not hold all."""
        for actual, plain in self._owned.types.items():
            statement = (
                f"MATCH (a)-[:{quoted(actual)}]->() WITH collect(DISTINCT a) AS starts"
                f" UNWIND range(0, size(starts) - 1, {_PAGE_OF_STARTS}) AS at CALL (starts, at) {{"
                f" UNWIND starts[at..at + {_PAGE_OF_STARTS}] AS a MATCH (a)-[r:{quoted(actual)}]->(b)"
                " WITH a, b, collect(properties(r)) AS found WITH collect([a, b, found]) AS pairs"
                f" UNWIND range(0, size(pairs) - 1, {_PAGE}) AS pair RETURN pairs[pair..pair + {_PAGE}] AS page }}"
                f" RETURN [row IN page | [labels(row[0]), {self._known_by('row[0]')},"
                f" labels(row[1]), {self._known_by('row[1]')}, row[2]]]"
            )
            yield plain, statement

    def _known_by(self, node: str) -> str:
        """Read what identifies a node, and spare the rest, which may be long."""
        names = [quoted(name) for name in self._identifying]
        none = " AND ".join(f"{node}.{name} IS NULL" for name in names)
        some = ", ".join(f"{name}: {node}.{name}" for name in names)
        return f"CASE WHEN {none} THEN properties({node}) ELSE {{{some}}} END"

    def node(self, labels: Sequence[str], properties: dict[str, Any]) -> tuple[str, bytes]:
        """Return a node's key and value."""
        known, certain = self._known(labels, properties)
        plain = sorted(self._owned.labels.get(label, label) for label in labels)
        return self._entry(known, {"labels": plain, "properties": properties}, certain=certain)

    def relationships(  # noqa: PLR0917 (a row of its statement)
        self,
        plain: str,
        labels: Sequence[str],
        properties: dict[str, Any],
        other_labels: Sequence[str],
        other_properties: dict[str, Any],
        found: Sequence[dict[str, Any]],
    ) -> tuple[str, bytes]:
        """Return key and value of all relationships of a type from one node to another."""
        start, certain = self._known(labels, properties)
        end, as_certain = self._known(other_labels, other_properties)
        return self._entry([plain, start, end], sorted(found, key=canonical), certain=certain and as_certain)

    def _known(self, labels: Sequence[str], properties: dict[str, Any]) -> tuple[list[Any], bool]:
        """Return the name of a node, and whether no other one can have the same."""
        owned = [plain for actual, plain in self._owned.labels.items() if actual in labels]
        known = {name: properties[name] for name in self._identifying if properties.get(name) is not None}
        return [*(owned[:1] or sorted(labels)), known or properties], bool(known)

    def _entry(self, key: list[Any], value: object, *, certain: bool) -> tuple[str, bytes]:
        """Number those that nothing tells apart."""
        if not certain:
            same = canonical([key, value])
            self._twins[same] += 1
            key = [*key, value, self._twins[same]]
        return canonical(key), canonical(value).encode()


class Neo4jSnapshots:
    """Keeps snapshots as nodes ``(:ContextSnapshot)``. It only costs time when they are deleted.

    Args:
        driver: as for the model.
        database: its name; None is the user's own.
        keep: so many of a stream; those of other logs and tags are deleted first, then the lowest versions. 200 are
            enough for the newest 20,000 events where 100 lie between two.
        seconds: after which the server gives up.
    """

    def __init__(
        self, driver: AsyncDriver, *, database: str | None = None, keep: int = 200, seconds: float = 5.0
    ) -> None:
        if keep < 1:
            raise InvalidInput("keep", f"expected at least 1 snapshot of a stream, got {keep}")
        self._server = Server(driver, database, seconds)
        self._keep = keep
        self._constrained = False

    async def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        if not self._constrained:
            await self._rows(_SNAPSHOTS)
            self._constrained = True
        stream = snapshot.stream
        key = {"category": stream.category, "id": stream.id, "log_id": snapshot.log_id, "tag": snapshot.tag}
        rest = {name: getattr(snapshot, name) for name in ("position", "occurred", "state", "commits")}
        await self._rows(_SAVE, **key, version=snapshot.version, rest=rest, keep=self._keep)

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        """Return the newest one within a bound."""
        limits = {
            name: _NO_LIMIT if (limit := getattr(bound, name)) is None else limit
            for name in ("version", "position", "occurred")
        }
        rows = await self._rows(_NEWEST, category=stream.category, id=stream.id, log_id=log_id, tag=tag, **limits)
        if not rows:
            return None
        version, position, occurred, state, commits = msgspec.convert(rows[0], tuple[int, int, int, bytes, bytes])
        return Snapshot(stream, Version(version), Position(position), occurred, log_id, tag, state, commits)

    async def _rows(self, statement: str, **values: object) -> list[list[Any]]:
        try:
            return await self._server.rows(statement, **values)
        except (Neo4jError, DriverError, ModelUnavailable) as error:
            fault = error if isinstance(error, ModelUnavailable) else fault_of(error)
            raise StoreUnavailable(str(fault or f"Neo4j: {type(error).__name__}")) from error
