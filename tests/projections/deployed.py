"""What the command is given in the tests: one projection in the folder that the environment names, and mistakes."""

from __future__ import annotations

import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventstore import open_store
from projections import Deployed, ModelUnavailable, Projection
from projections.sqlite import SqliteModel

from tests.projections.views import CODEC, IN_SQLITE, table, to_sqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Sequence

    from projections import Batch, Name, Stored


def folder() -> Path:
    return Path(os.environ["DEPLOYED_IN"])


@asynccontextmanager
async def deployed() -> AsyncIterator[Sequence[Deployed]]:
    url = f"sqlite:///{folder()}/log.db?durability=normal"
    async with open_store(url, CODEC) as store, SqliteModel(folder() / "view.db") as model:
        yield [Deployed(IN_SQLITE, store, model)]


def slowly(tx: sqlite3.Connection, batch: Batch) -> None:
    """Rebuild no faster than the test allows."""
    if batch.name("sums") != "sums":
        print("rebuilding", file=sys.stderr)
        deadline = time.monotonic() + 10
        while not (folder() / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    to_sqlite(tx, batch)


@asynccontextmanager
async def slow() -> AsyncIterator[Sequence[Deployed]]:
    async with deployed() as [one]:
        yield [one._replace(projection=Projection("sums", slowly, owns=["sums"], setup=table, categories=["n"]))]


def spoil(tx: sqlite3.Connection, name: Name) -> None:
    raise ValueError("no tables")


@asynccontextmanager
async def spoiled() -> AsyncIterator[Sequence[Deployed]]:
    async with deployed() as [one]:
        projection = Projection("spoiled", to_sqlite, owns=["others"], setup=spoil)
        yield [one, one._replace(projection=projection)]


@asynccontextmanager
async def twice() -> AsyncIterator[Sequence[Deployed]]:
    async with deployed() as [one]:
        yield [one, one]


class Gone(SqliteModel):
    """A target that cannot be reached."""

    async def load(self, key: str) -> Stored | None:
        raise ModelUnavailable("connection refused")


@asynccontextmanager
async def gone() -> AsyncIterator[Sequence[Deployed]]:
    async with deployed() as [one]:
        yield [one._replace(model=Gone("never.db"))]


@asynccontextmanager
async def of_another_log() -> AsyncIterator[Sequence[Deployed]]:
    async with deployed() as [one], open_store(f"sqlite:///{folder()}/other.db", CODEC) as store:
        yield [one._replace(store=store)]


@asynccontextmanager
async def without_a_store() -> AsyncIterator[Sequence[Deployed]]:
    async with open_store("sqlite:////none/log.db", CODEC) as store, SqliteModel("never.db") as model:
        yield [Deployed(IN_SQLITE, store, model)]


@asynccontextmanager
async def refused() -> AsyncIterator[Sequence[Deployed]]:
    raise ConnectionRefusedError(111, "Connection refused")
    yield


@asynccontextmanager
async def words() -> AsyncIterator[Any]:
    yield ["sums"]


async def no_manager() -> None:
    pass


@asynccontextmanager
async def unset() -> AsyncIterator[list[Deployed]]:
    """Needs a variable that is not there."""
    os.environ["SHOP_DATABASE"]
    yield []
