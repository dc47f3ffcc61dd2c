"""SQLite files of ours: opened, recognised by their application id, in WAL mode, and their errors by code."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from eventstore._errors import EventStoreError, NotAStore, ReadOnly, StoreFull, StoreNotFound, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT: Final = 1
_BUSY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.005


def translate(error: sqlite3.Error, path: Path) -> EventStoreError:
    """Return the error of this package for one of the driver's, by its code."""
    # Extended codes carry the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"{path}: no room is left for the store")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return ReadOnly(
                f"{path}: cannot be written by this process, which even reading needs: copy it, with its -wal"
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return NotAStore(f"{path}: not an SQLite database, or a damaged one")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(f"{path}: another process kept the file locked for {_BUSY_SECONDS:g} s")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(f"{path}: the file cannot be opened or made; check its folder and permissions")
        case _:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            return StoreUnavailable(f"{path}: the database failed with {name}")


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Return a connection in autocommit mode, usable from any thread, that makes the file only when told to."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def claim(connection: sqlite3.Connection, path: Path, *, application_id: int, schema: str, create: bool) -> None:
    """Make sure that the file is a database of ours, making its tables when it is empty.

    Raises:
        NotAStore: it is a database of somebody else's, or of a format this version does not know.
        StoreNotFound: it is empty and nothing is to be made.
    """
    # In one transaction: another process may be making the tables between one question and the next.
    connection.execute("BEGIN")
    claimed = _claimed(connection, path, application_id)
    connection.execute("COMMIT")
    if not claimed:
        if not create:
            raise StoreNotFound(f"{path}: the file is empty")
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been first.
        if not _claimed(connection, path, application_id):
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
    _use_wal(connection)


def _claimed(connection: sqlite3.Connection, path: Path, application_id: int) -> bool:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found == application_id:
        if version != _FORMAT:
            raise NotAStore(f"{path}: has format {version}; this version knows {_FORMAT}")
        return True
    if found or tables:
        raise NotAStore(f"{path}: a database, but not of this kind")
    return False


def _use_wal(connection: sqlite3.Connection) -> None:
    # Changing the mode needs the file for itself and does not wait for it, unlike everything else here.
    deadline = time.monotonic() + _BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
