"""What only SQLite has: indexes, and functions that end the transaction they are given."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from eventstore import StreamId, open_store
from projections import ModelRefused, Monitor, Projection, rebuild, reset
from projections.sqlite import SqliteModel

from tests.projections.test_run import Scene
from tests.projections.views import CODEC, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from projections import Batch, Name, Rebuilt, Record

    Setup: TypeAlias = Callable[[sqlite3.Connection, Name], None]
    Apply: TypeAlias = Callable[[sqlite3.Connection, Batch], None]


def table(tx: sqlite3.Connection, name: Name) -> None:
    tx.execute(f"CREATE TABLE IF NOT EXISTS {name('rows')}(id TEXT PRIMARY KEY, n INTEGER)")
    tx.execute(f"CREATE INDEX IF NOT EXISTS {name('rows_by_n')} ON {name('rows')}(n)")


def insert(tx: sqlite3.Connection, batch: Batch) -> None:
    for commit in batch:
        tx.execute(f"INSERT OR REPLACE INTO {batch.name('rows')} VALUES (?, 1)", (commit.stream.id,))  # noqa: S608


def ends(tx: sqlite3.Connection, batch: Batch) -> None:
    tx.executescript(f"INSERT OR REPLACE INTO {batch.name('rows')} VALUES ('x', 1)")  # noqa: S608


async def test_indexes(tmp_path: Path) -> None:
    """After a swap a table has its indexes under their plain names, and no other ones."""
    path = tmp_path / "view.db"
    projection = Projection("sums", insert, owns=["rows"], setup=table)
    async with open_store("memory://", CODEC) as store, SqliteModel(path) as model:
        scene = Scene(projection, store, model, Monitor())
        for number in range(3):
            last = await scene.append(f"{number}", 1)
            async with scene.running():
                await scene.until(last)
            await rebuild(projection, store, model)
    with sqlite3.connect(path) as connection:
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM rows WHERE n = 1").fetchall()
    connection.close()
    assert indexes == [("rows_by_n",)]
    assert "rows_by_n" in str(plan)


async def test_reset_keeps_tables(tmp_path: Path) -> None:
    """Who reads a view that was reset, and that nobody runs, finds it empty, and its tables and indexes there."""
    path = tmp_path / "view.db"
    projection = Projection("sums", insert, owns=["rows", "never_made"], setup=table)
    async with open_store("memory://", CODEC) as store, SqliteModel(path) as model:
        scene = Scene(projection, store, model, Monitor())
        async with scene.running():
            await scene.until(await scene.append("1", 1))
        await reset(projection, store, model)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM rows").fetchall() == []
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'rows_by_n'").fetchone()


class Made:
    """A view of one projection, ``sums``, that has seen one commit, and its file."""

    def __init__(self, path: Path, setup: Setup, apply: Apply, *owns: str) -> None:
        self.path = path / "view.db"
        self.projection = Projection("sums", apply, owns=owns, setup=setup)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Scene]:
        async with open_store("memory://", CODEC) as store, SqliteModel(self.path) as model:
            scene = Scene(self.projection, store, model, Monitor())
            await self.more(scene, "1")
            yield scene

    async def more(self, scene: Scene, id: str) -> None:
        last = await scene.append(id, 1)
        async with scene.running():
            await scene.until(last)

    async def rebuild(self, scene: Scene) -> Rebuilt:
        return await rebuild(self.projection, scene.store, scene.model)

    def run(self, statement: str) -> list[Any]:
        """Run a statement on a connection of its own, as a reader or an operator does."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()


QUOTED = '"a ""b"""'


def words(tx: sqlite3.Connection, name: Name) -> None:
    tx.execute(f'CREATE TABLE IF NOT EXISTS "{name("order")}"("order" TEXT PRIMARY KEY, {QUOTED} INTEGER)')
    tx.execute(f'CREATE INDEX IF NOT EXISTS "{name("group")}" ON "{name("order")}"({QUOTED})')


def insert_words(tx: sqlite3.Connection, batch: Batch) -> None:
    for commit in batch:
        tx.execute(f'INSERT INTO "{batch.name("order")}" VALUES (?, 1)', (commit.stream.id,))  # noqa: S608


async def test_words_of_sql(tmp_path: Path) -> None:
    """Tables, columns and indexes may be called by words of SQL."""
    made = Made(tmp_path, words, insert_words, "order")
    async with made.open() as scene:
        for id in ("2", "3"):
            assert not (await made.rebuild(scene)).difference
            await made.more(scene, id)
        made.run(f'UPDATE "order" SET {QUOTED} = 2 WHERE "order" = 2')  # noqa: S608 (our own name)
        assert (await made.rebuild(scene)).difference.changed == ('["order", "2"]',)
        await reset(made.projection, scene.store, scene.model)
    assert made.run('SELECT * FROM "order"') == []
    assert made.run("SELECT name FROM sqlite_master WHERE sql NOT NULL AND type = 'index'") == [("group",)]


MANY = 2_500
"""More than two pages."""

LAST = f"DELETE FROM rows WHERE _rowid_ = {MANY}"  # noqa: S608
BY_N = f"DELETE FROM rows WHERE n = {MANY - 1}"  # noqa: S608


def keyed(key: str, *, end: str = "") -> Setup:
    """Return what makes a table with a row for each of many numbers."""

    def setup(tx: sqlite3.Connection, name: Name) -> None:
        tx.execute(f"CREATE TABLE IF NOT EXISTS {name('rows')}(n INTEGER, word TEXT COLLATE NOCASE{key}){end}")

    return setup


def many(word: Callable[[int], tuple[int | None, str]]) -> Apply:
    def apply(tx: sqlite3.Connection, batch: Batch) -> None:
        statement = f"INSERT INTO {batch.name('rows')}(n, word) VALUES (?, ?)"  # noqa: S608
        tx.executemany(statement, map(word, range(MANY)))

    return apply


@pytest.mark.parametrize(
    ("setup", "apply", "delete", "last"),
    [
        (keyed(", PRIMARY KEY (n, word)"), many(lambda n: (None, f"{n:04}")), LAST, '["rows", null, "2499"]'),
        (keyed(", PRIMARY KEY (n, word)"), many(lambda n: (None, "a")), LAST, '["rows", null, "a", 2500]'),
        (
            keyed(", rowid INT, PRIMARY KEY (n, word)"),
            many(lambda n: (None, f"{n:04}")),
            LAST,
            '["rows", null, "2499"]',
        ),
        (keyed(""), many(lambda n: (None, f"{n:04}")), LAST, '["rows", 2500]'),
        (keyed(", PRIMARY KEY (n, word)", end="WITHOUT ROWID"), many(lambda n: (n, "a")), BY_N, '["rows", 2499, "a"]'),
        (
            keyed(", PRIMARY KEY (word COLLATE BINARY)", end="WITHOUT ROWID"),
            many(lambda n: (n, "".join("aA"[n >> bit & 1] for bit in range(12)))),
            BY_N,
            '["rows", "AAaaaaAAAaaA"]',
        ),
    ],
    ids=["null", "same", "rowid", "no-key", "without-rowid", "collated"],
)
async def test_many_rows(tmp_path: Path, setup: Setup, apply: Apply, delete: str, last: str) -> None:
    """Two views that differ only in a row behind the first pages differ, whatever a table's primary key."""
    made = Made(tmp_path, setup, apply, "rows")
    async with made.open() as scene:
        assert not (await made.rebuild(scene)).difference
        made.run(delete)
        difference = (await made.rebuild(scene)).difference
    assert (difference.missing, difference.added, difference.changed) == ((), (last,), ())


async def test_views(tmp_path: Path) -> None:
    """Views over a table, and triggers elsewhere that read it, outlive a swap and read the table that is swapped in."""
    made = Made(tmp_path, table, insert, "rows")
    async with made.open() as scene:
        made.run("CREATE VIEW top AS SELECT id FROM rows")
        made.run("CREATE VIEW topmost AS SELECT id FROM top")
        made.run("CREATE TABLE other(n)")
        made.run("CREATE TABLE seen(id)")
        made.run("CREATE TRIGGER see AFTER INSERT ON other BEGIN INSERT INTO seen SELECT id FROM rows; END")
        made.run("CREATE TRIGGER put INSTEAD OF INSERT ON top BEGIN INSERT INTO other VALUES (1); END")
        before = made.run("SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name")
        made.run("DELETE FROM rows")
        assert (await made.rebuild(scene)).swapped
        await made.more(scene, "2")
        assert made.run("SELECT * FROM topmost") == [("1",), ("2",)]
        made.run("INSERT INTO top VALUES (1)")
        assert made.run("SELECT * FROM seen") == [("1",), ("2",)]
    after = made.run("SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name")
    assert after == before


def counting(tx: sqlite3.Connection, name: Name) -> None:
    """Make a table whose trigger counts in another, a view, and a view over that with a trigger."""
    table(tx, name)
    rows, top, topmost = name("rows"), name("top"), name("topmost")
    tx.execute(f"CREATE TABLE IF NOT EXISTS {name('counts')}(id TEXT PRIMARY KEY, n INTEGER)")
    tx.execute(
        f"CREATE TRIGGER IF NOT EXISTS {name('count_rows')} AFTER INSERT ON {rows} BEGIN "  # noqa: S608
        f"INSERT INTO {name('counts')} VALUES (new.id, 1) ON CONFLICT DO UPDATE SET n = n + 1; END"
    )
    tx.execute(f"CREATE VIEW IF NOT EXISTS {top} AS SELECT id, n FROM {rows}")  # noqa: S608
    tx.execute(f"CREATE VIEW IF NOT EXISTS {topmost} AS SELECT id, n FROM {top}")  # noqa: S608
    tx.execute(
        f"CREATE TRIGGER IF NOT EXISTS {name('put')} INSTEAD OF INSERT ON {topmost} BEGIN "  # noqa: S608
        f"INSERT INTO {rows} VALUES (new.id, new.n); END"
    )


def put(tx: sqlite3.Connection, batch: Batch) -> None:
    for commit in batch:
        tx.execute(f"INSERT INTO {batch.name('topmost')} VALUES (?, 1)", (commit.stream.id,))  # noqa: S608


MADE = "SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name"


async def test_triggers(tmp_path: Path) -> None:
    """After a swap a view has the triggers and views its setup makes under their plain names, and each works once."""
    made = Made(tmp_path, counting, put, "rows", "counts")
    async with made.open() as scene:
        for id in ("2", "3"):
            assert not (await made.rebuild(scene)).difference
            assert made.run(MADE) == [("count_rows",), ("put",), ("top",), ("topmost",)]
            await made.more(scene, id)
            assert made.run(MADE) == [("count_rows",), ("put",), ("top",), ("topmost",)]
    assert made.run("SELECT * FROM counts") == [("1", 1), ("2", 1), ("3", 1)]
    assert made.run("SELECT * FROM topmost") == [("1", 1), ("2", 1), ("3", 1)]


async def test_triggers_compared(tmp_path: Path) -> None:
    """A rebuild that does not swap leaves nothing of its own behind, and another's as it is."""
    made = Made(tmp_path, counting, put, "rows", "counts")
    async with made.open() as scene:
        made.run("CREATE VIEW another__b__sums_1 AS SELECT id FROM rows")
        await rebuild(made.projection, scene.store, scene.model, swap="never")
    assert made.run(MADE) == [("another__b__sums_1",), ("count_rows",), ("put",), ("top",), ("topmost",)]


async def test_read(tmp_path: Path) -> None:
    """What is read is of one moment, with the record of that moment, and what is written meanwhile is not kept."""
    made = Made(tmp_path, table, insert, "rows")

    def look(tx: sqlite3.Connection, record: Record | None) -> tuple[int, list[Any]]:
        made.run("INSERT INTO rows VALUES ('other', 1)")
        tx_rows = tx.execute("SELECT id FROM rows ORDER BY id").fetchall()
        return 0 if record is None else record.position, tx_rows

    def spoil(tx: sqlite3.Connection, record: Record | None) -> None:
        tx.execute("DELETE FROM rows")

    async with made.open() as scene:
        assert await scene.model.read("sums", look) == (1, [("1",)])
        await scene.model.read("sums", spoil)
        assert await scene.model.read("nobody", lambda tx, record: record) is None
    assert made.run("SELECT id FROM rows ORDER BY id") == [("1",), ("other",)]


async def test_no_database(tmp_path: Path) -> None:
    """A file that is none of SQLite's is named."""
    path = tmp_path / "view.db"
    path.write_text("This is not a database, but a text that is long enough to be taken for one by its length." * 9)
    async with SqliteModel(path) as model:
        with pytest.raises(ModelRefused) as refused:
            await model.load("sums")
    assert str(refused.value) == f"the SQLite file {path} cannot be used: SQLITE_NOTADB"


async def test_ended_transaction(tmp_path: Path) -> None:
    """A function that ends its transaction stops the projection, and is named as the reason."""
    projection = Projection("sums", ends, owns=["rows"], setup=table)
    async with open_store("memory://", CODEC) as store, SqliteModel(tmp_path / "view.db") as model:
        await store.append(StreamId("n", "1"), numbers(1), expected=0)
        scene = Scene(projection, store, model, Monitor())
        async with scene.running():
            failure = await scene.until_failed()
        assert "must not end its transaction" in failure.reason
