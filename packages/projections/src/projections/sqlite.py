"""Views in a SQLite file, which may be the log's own or another.

One thread writes, and calls a projection's ``apply`` there: it is not async, and gets the ``sqlite3.Connection``.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from eventstore import InvalidInput

from projections._errors import ModelRefused, ModelUnavailable
from projections._model import Stored
from projections._naming import canonical, word_of
from projections._record import from_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from projections._model import Changes
    from projections._projection import Name
    from projections._record import Record

T = TypeVar("T")

_RECORDS: Final = "projection_records"
_BUSY_MILLISECONDS: Final = 5_000
_PAGE: Final = 1_000
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})
_UNFIT: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_PERM,
    }
)


class SqliteModel:
    """Keeps views as tables of a SQLite file, which is made when there is none. Used inside its ``async with`` block.

    Args:
        path: of the file.
        durability: ``full`` syncs the disk at each commit; ``normal`` may lose the last batches with the power, which
            are then applied again.
    """

    def __init__(self, path: str | Path, *, durability: str = "normal") -> None:
        if durability not in ("full", "normal"):
            raise InvalidInput("durability", f"expected full or normal, got {durability!r}")
        self._path = path
        self._durability = durability
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projections-sqlite")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something on the writer thread."""
        if self._thread is None:
            raise ModelUnavailable("the model is not open: use it inside its async with block")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _translated(self._path):
            if self._connection is None:
                self._connection = self._connected()
            return work(self._connection)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._durability}")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_RECORDS}"
                "(key TEXT PRIMARY KEY, record BLOB NOT NULL, revision INTEGER NOT NULL)"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    async def load(self, key: str) -> Stored | None:
        """Return a record."""
        return await self._do(lambda connection: _load(connection, key))

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[sqlite3.Connection] | None = None
    ) -> bool:
        """Make changes and replace a record."""
        return await self._do(lambda connection: _commit(connection, key, record, expected, changes))

    async def read(self, projection: str, look: Callable[[sqlite3.Connection, Record | None], T]) -> T:
        """Read views as they are at one moment: the record of one, None when there is none, is of the same moment.

        Args:
            projection: whose record.
            look: reads, on the writer thread; what it writes is not kept.
        """

        def work(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                found = _load(connection, projection)
                return look(connection, None if found is None else from_bytes(found.record))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        return await self._do(work)

    def naming(self, projection: str, generation: int) -> Name:
        """Put the generation behind each table's name."""
        return word_of(projection, generation)

    async def prepare(self, setup: Callable[[sqlite3.Connection, Name], Awaitable[None] | None], name: Name) -> None:
        """Let a projection make its tables."""

        def work(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                _refuse_waiting(setup(connection, name))

        await self._do(work)

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the rows of each table: its name and primary key, and the row as JSON."""
        for table in owns:
            reading = _Reading(table, _checked(name(table)))
            while entries := await self._do(reading.page):
                for entry in entries:
                    yield entry

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[sqlite3.Connection]:
        """Return changes that drop a generation's tables, or empty those of the live one: its readers need them."""
        tables = [(_checked(table), _checked(name(table))) for table in owns]

        def clear(connection: sqlite3.Connection) -> None:
            if end := name(""):
                _drop(connection, _of_generation(_made(connection), tables, end=end))
            for plain, table in tables:
                if plain != table:
                    connection.execute(f"DROP TABLE IF EXISTS {_quoted(table)}")
                elif _exists(connection, table):
                    connection.execute(f"DELETE FROM {_quoted(table)}")  # noqa: S608 (quoted)

        return clear

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[sqlite3.Connection]:
        """Return changes that put a generation's tables in the live ones' place."""
        tables = [(_checked(table), _checked(name(table))) for table in owns]

        def swap(connection: sqlite3.Connection) -> None:
            made = _made(connection)
            fresh = _of_generation(made, tables, end=name(""))
            _drop(connection, made)
            for plain, _ in tables:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(plain)}")
            for plain, rebuilt in tables:
                # A projection may make a table only when it has a row for it.
                if _exists(connection, rebuilt):
                    connection.execute(f"ALTER TABLE {_quoted(rebuilt)} RENAME TO {_quoted(plain)}")
                    _rename_indexes(connection, plain, end=name(""))
            renamed = [each.renamed(name("")) for each in fresh]
            replaced = {plain.lower() for plain, _ in tables} | {each.name.lower() for each in renamed}
            # The triggers of a table went with it, and those of a view with the view: what is new has its own.
            kept = [each for each in made if each not in fresh and not replaced & each.names]
            for each in sorted([*kept, *renamed], key=lambda each: each.kind, reverse=True):
                connection.execute(each.statement)

        return swap


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchone() is not None


class _Made(NamedTuple):
    """A view or a trigger, which SQLite does not rename with the tables it reads and writes."""

    kind: str
    name: str
    #: The table or view that a trigger is of; a view's own name.
    table: str
    statement: str

    @property
    def names(self) -> set[str]:
        """Return its name, and that of what it is of."""
        return {self.name.lower(), self.table.lower()}

    def renamed(self, end: str) -> _Made:
        """Return what it is once its generation is the live one: SQL without the end of names."""
        plain = re.compile(re.escape(end) + r"(?![A-Za-z0-9_])")
        return _Made(self.kind, *(plain.sub("", text) for text in (self.name, self.table, self.statement)))


def _made(connection: sqlite3.Connection) -> list[_Made]:
    """Return the views and triggers of the file, in an order in which they can be made."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')"
    return [_Made(*row) for row in connection.execute(f"{query} ORDER BY type DESC, rowid")]


def _of_generation(made: list[_Made], tables: list[tuple[str, str]], *, end: str) -> list[_Made]:
    """Return the views and triggers of a generation: those of its tables, and those called so that speak of them.

    The end alone does not tell: another projection's may end in the same way.
    """
    known = {table for _, table in tables}
    found = []
    for each in made:
        if each.table in known or (each.name.endswith(end) and known & set(_NAME.findall(each.statement))):
            known.add(each.name)
            found.append(each)
    return found


def _drop(connection: sqlite3.Connection, made: list[_Made]) -> None:
    """Drop views and triggers: SQLite renames no table while one reads a table that is not there."""
    for each in reversed(made):
        connection.execute(f"DROP {each.kind} {_quoted(each.name)}")


def _rename_indexes(connection: sqlite3.Connection, table: str, *, end: str) -> None:
    """Make a table's indexes anew without the end of their names: SQLite renames none."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    for index, statement in connection.execute(query, (table,)).fetchall():
        if end in index:
            connection.execute(f"DROP INDEX {_quoted(index)}")
            connection.execute(statement.replace(index, index.replace(end, ""), 1))


def _load(connection: sqlite3.Connection, key: str) -> Stored | None:
    row = connection.execute(f"SELECT record, revision FROM {_RECORDS} WHERE key = ?", (key,)).fetchone()  # noqa: S608
    return None if row is None else Stored(*row)


def _commit(
    connection: sqlite3.Connection,
    key: str,
    record: bytes | None,
    expected: int,
    changes: Changes[sqlite3.Connection] | None,
) -> bool:
    with _transaction(connection):
        found = _load(connection, key)
        if (0 if found is None else found.revision) != expected:
            return False
        if changes is not None:
            _refuse_waiting(changes(connection))
            if not connection.in_transaction:
                raise TypeError("a projection must not end its transaction, as commit and executescript do")
        if record is None:
            connection.execute(f"DELETE FROM {_RECORDS} WHERE key = ?", (key,))  # noqa: S608
        else:
            row = (key, record, expected + 1)
            connection.execute(f"INSERT OR REPLACE INTO {_RECORDS} VALUES (?, ?, ?)", row)  # noqa: S608
    return True


def _refuse_waiting(answer: object) -> None:
    """Refuse what an async function returns, of which nothing has run: the checkpoint would move on without it."""
    if isawaitable(answer):
        if isinstance(answer, Coroutine):
            answer.close()
        raise TypeError("a projection on SQLite is a plain function, not an async one")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep all that is done inside, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: str | Path) -> Iterator[None]:
    """Tell faults that pass, and files that are not fit, from mistakes of whoever wrote the statement."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            raise ModelUnavailable(f"SQLite cannot write now: {error.sqlite_errorname}") from error
        if code in _UNFIT:
            raise ModelRefused(f"the SQLite file {path} cannot be used: {error.sqlite_errorname}") from error
        raise


class _Reading:
    """Reads a table by pages, in an order in which no row has NULL: nothing comes after NULL."""

    def __init__(self, plain: str, actual: str) -> None:
        self._plain = plain
        self._actual = actual
        self._after: tuple[Any, ...] = ()
        self._seen: Counter[str] = Counter()

    def page(self, connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
        """Return the next entries, none at the end."""
        keys, columns = self._shape(connection)
        if not columns:
            return []  # there is no such table
        order = _order(connection, self._actual, keys, columns)
        # Two keys that a column's own collation calls the same would be lost between two pages.
        by = ", ".join(f"{_quoted(name)} COLLATE BINARY" for name in order)
        keys = keys or order
        chosen = ", ".join(map(_quoted, [*order, *keys, *columns]))
        where = f"WHERE ({by}) > ({', '.join('?' * len(order))})" if self._after else ""
        rows = connection.execute(
            f"SELECT {chosen} FROM {_quoted(self._actual)} {where} ORDER BY {by} LIMIT {_PAGE}",  # noqa: S608 (quoted)
            self._after,
        ).fetchall()
        if rows:
            self._after = rows[-1][: len(order)]
        start, cut = len(order), len(order) + len(keys)
        return [
            (self._key(row[start:cut]), canonical(dict(zip(columns, row[cut:], strict=True))).encode()) for row in rows
        ]

    def _key(self, values: tuple[Any, ...]) -> str:
        """Return what a row is known by; those with the same key, which SQLite lets have NULL, are counted."""
        key = canonical([self._plain, *values])
        if None not in values:
            return key
        self._seen[key] += 1
        return key if self._seen[key] == 1 else canonical([self._plain, *values, self._seen[key]])

    def _shape(self, connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        """Return the columns of the primary key, and all columns."""
        rows = connection.execute(f"PRAGMA table_info({_quoted(self._actual)})").fetchall()
        keys = [name for _, name, _, _, _, place in sorted(rows, key=lambda row: row[5]) if place]
        return keys, [name for _, name, *_ in rows]


def _order(connection: sqlite3.Connection, table: str, keys: list[str], columns: list[str]) -> list[str]:
    """Return columns that tell rows apart and are never NULL: the rowid, or the key of a table WITHOUT ROWID."""
    taken = {column.lower() for column in columns}
    rowid = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
    if rowid is None:
        raise ModelRefused(f"the rows of {table} cannot be told apart: its columns hide rowid, _rowid_ and oid")
    try:
        connection.execute(f"SELECT {rowid} FROM {_quoted(table)} LIMIT 0")  # noqa: S608 (quoted)
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return keys
    return [rowid]


def _quoted(name: str) -> str:
    """Return a name as statements hold it, whatever it is: also a word of SQL, such as order."""
    return '"' + name.replace('"', '""') + '"'


def _checked(table: str) -> str:
    if not _NAME.fullmatch(table):
        raise InvalidInput("owns", f"expected names of tables, letters, digits and _, got {table!r:.80}")
    return table
