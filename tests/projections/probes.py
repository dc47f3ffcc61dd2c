"""How the contract of models writes to our targets, and how each is made."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from projections.memory import MemoryModel
from projections.sqlite import SqliteModel

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from projections import Name
    from projections.memory import Draft

M = TypeVar("M")


class MemoryProbe:
    """Owns the keys that begin with one of two words."""

    def __init__(self, space: str) -> None:
        self.owns = [f"{space}:*", f"{space}_2:*"]

    def setup(self, tx: Draft, name: Name) -> None:
        """Nothing is needed."""

    def write(self, tx: Draft, name: Name, key: str, value: str) -> None:
        start = self.owns[len(key) % 2].removesuffix("*")
        tx[name(f"{start}{key}")] = value


class SqliteProbe:
    """Owns two tables, one of them with an index."""

    def __init__(self, space: str) -> None:
        self.owns = [space, f"{space}_2"]

    def setup(self, tx: sqlite3.Connection, name: Name) -> None:
        for table in self.owns:
            tx.execute(f"CREATE TABLE IF NOT EXISTS {name(table)}(key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        index, table = name(f"{self.owns[0]}_by_value"), name(self.owns[0])
        tx.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {table}(value)")

    def write(self, tx: sqlite3.Connection, name: Name, key: str, value: str) -> None:
        table = name(self.owns[len(key) % 2])
        tx.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (key, value))  # noqa: S608 (our own name)


def kept(kind: Callable[[], M]) -> Callable[[Path], AbstractAsyncContextManager[M]]:
    """Return a factory of models that stay in memory, one for each folder, so that handles share it."""
    models: dict[Path, M] = {}

    @asynccontextmanager
    async def factory(folder: Path) -> AsyncIterator[M]:
        yield models.setdefault(folder, kind())

    return factory


memory: Any = kept(MemoryModel)


def sqlite(folder: Path) -> SqliteModel:
    return SqliteModel(folder / "views.db")
