"""A log in one SQLite file: the embedded default. Several processes may share the file.

One thread writes: all appends that wait when it is free go into one transaction, each under its own guard. Another one
reads, in chunks found by key, so that no read transaction outlives a chunk. Followers look at ``PRAGMA data_version``,
which costs microseconds and sees the commits of all processes.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from eventstore._backend import AT_ONCE
from eventstore._envelope import parse
from eventstore._errors import (
    Conflict,
    CorruptCommit,
    InvalidInput,
    NotAStore,
    StoreClosed,
    StoreNotFound,
    UnknownPosition,
)
from eventstore._snapshots import Snapshot
from eventstore._sqlite_file import claim, connect, translate
from eventstore._values import (
    BEGINNING,
    Appended,
    Moment,
    NewCommit,
    Position,
    Progress,
    RawCommit,
    StreamId,
    StreamInfo,
    Tail,
    Version,
)
from eventstore.memory import now_micros

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from eventstore._store import Bound

Durability = Literal["full", "normal"]
"""``full``: an acknowledged commit survives power loss. ``normal``: it survives a killed process, not power loss."""

_APPLICATION_ID: Final = 0x46_4C_4F_47  # "FLOG"
_SCHEMA: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE streams(id INTEGER PRIMARY KEY, category TEXT NOT NULL, name TEXT NOT NULL, UNIQUE(category, name));
CREATE TABLE commits(
  pos INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, ver INTEGER NOT NULL, n INTEGER NOT NULL,
  at INTEGER NOT NULL, env BLOB NOT NULL, UNIQUE(stream, ver));
INSERT INTO meta VALUES ('log_id', lower(hex(randomblob(16))));
"""

# What a caller gets at once: 100 rows decode within a millisecond, so the loop stays responsive.
_CHUNK_ROWS: Final = 100
# What the reading thread is sent for, within the bytes: a trip costs as much as decoding 15 rows.
_FETCH_ROWS: Final = 800
_FETCH_BYTES: Final = 4 * 1024 * 1024
# How much of the file the reader maps: the rows of a long stream lie scattered in it, and copying pages was a third of
# fetching them.
_MAPPED_BYTES: Final = 1024 * 1024 * 1024
# Polling every 5 ms saw commits of other processes within 5.1 ms at p99 for 1 to 2 % of a core.
_POLL_SECONDS: Final = 0.005
_IDLE_SECONDS: Final = 0.5
_CACHED_STREAMS: Final = 65_536

T = TypeVar("T")


_Answer: TypeAlias = Appended | Conflict | CorruptCommit


class _Waiting(NamedTuple):
    commit: NewCommit
    answer: asyncio.Future[Appended]


class _Head(NamedTuple):
    #: Row of the stream; 0 when it has none yet.
    stream: int
    version: int


class _Writer:
    """The writer thread's side: one connection, one transaction a batch."""

    def __init__(self, connection: sqlite3.Connection, log_id: str, clock: Callable[[], int]) -> None:
        self._connection = connection
        self._log_id = log_id
        self._clock = clock
        # What is known of the file, true as long as nobody else has written; None is unknown.
        self._data_version: int | None = None
        self._heads: dict[StreamId, _Head] = {}
        self._position = 0
        self._recorded_at = 0

    def write(self, commits: Sequence[NewCommit]) -> list[_Answer]:
        """Store a batch in one transaction; a refused commit fails alone."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._refresh()
            answers = self._decide(commits)
            connection.execute("COMMIT")
        except BaseException:
            self._data_version = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answers

    def _refresh(self) -> None:
        (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if data_version == self._data_version and len(self._heads) < _CACHED_STREAMS:
            return
        self._data_version = data_version
        self._heads.clear()
        last = self._connection.execute("SELECT pos, at FROM commits ORDER BY pos DESC LIMIT 1").fetchone()
        self._position, self._recorded_at = last or (0, 0)

    def _decide(self, commits: Sequence[NewCommit]) -> list[_Answer]:
        now = self._clock()
        answers: list[_Answer] = []
        rows: list[tuple[int, int, int, int, int, bytes]] = []
        for commit in commits:
            head = self._heads.get(commit.stream) or self._look_up(commit.stream)
            if head.version != commit.expected:
                self._insert(rows)
                answers.append(self._appended_before(commit, head))
                continue
            stream = head.stream or self._add_stream(commit.stream)
            self._position += 1
            self._recorded_at = max(self._recorded_at, now if commit.recorded_at is None else commit.recorded_at)
            rows.append(
                (
                    self._position,
                    stream,
                    commit.expected + 1,
                    commit.count,
                    self._recorded_at,
                    commit.envelope,
                )
            )
            version = Version(commit.expected + commit.count)
            self._heads[commit.stream] = _Head(stream, version)
            answers.append(Appended(self._log_id, version, Position(self._position)))
        self._insert(rows)
        return answers

    def _insert(self, rows: list[tuple[int, int, int, int, int, bytes]]) -> None:
        self._connection.executemany(
            "INSERT INTO commits(pos, stream, ver, n, at, env) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        rows.clear()

    def _look_up(self, stream: StreamId) -> _Head:
        found = self._connection.execute(
            "SELECT id, (SELECT ver + n - 1 FROM commits WHERE stream = id ORDER BY ver DESC LIMIT 1)"
            " FROM streams WHERE category = ? AND name = ?",
            (stream.category, stream.id),
        ).fetchone()
        head = self._heads[stream] = _Head(found[0], found[1] or 0) if found else _Head(0, 0)
        return head

    def _add_stream(self, stream: StreamId) -> int:
        (added,) = self._connection.execute(
            "INSERT INTO streams(category, name) VALUES (?, ?) RETURNING id", (stream.category, stream.id)
        ).fetchone()
        return int(added)

    def _appended_before(self, commit: NewCommit, head: _Head) -> Appended | Conflict | CorruptCommit:
        found = self._connection.execute(
            "SELECT pos, at, env, ver + n - 1 FROM commits WHERE stream = ? AND ver = ?",
            (head.stream, commit.expected + 1),
        ).fetchone()
        if found is not None:
            position, recorded_at, envelope, version = found
            raw = RawCommit(commit.stream, Position(position), recorded_at, envelope)
            try:
                if parse(raw).commit_id == commit.commit_id:
                    return Appended(self._log_id, version, raw.position)
            except CorruptCommit as error:  # which is this append's alone
                return error
        return Conflict(commit.stream, commit.expected, Version(head.version))


class SqliteBackend:
    """Keeps a log in one SQLite file in WAL mode, under its own name and beside it ``-wal`` and ``-shm``.

    Args:
        path: the file. Its folder must exist, on a local disk.
        durability: what an acknowledgement means. ``full`` syncs the disk before each; ``normal`` does not.
        create: make the log when the file does not exist or is empty.
        clock: returns microseconds since the Unix epoch.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = "full",
        create: bool = True,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        if durability not in ("full", "normal"):
            raise InvalidInput("durability", f"expected full or normal, got {durability!r}")
        self.path = Path(path).absolute()
        self._durability = durability
        self._create = create
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._batch: asyncio.Future[list[_Answer]] | None = None
        #: By their rows; used by the reading thread alone.
        self._streams: dict[int, StreamId] = {}
        self._open: _Open | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        writing = ThreadPoolExecutor(1, "eventstore-writer")
        try:
            self._open = await loop.run_in_executor(writing, self._connect, writing)
        except sqlite3.Error as error:
            writing.shutdown()
            raise translate(error, self.path) from error
        except BaseException:
            writing.shutdown()
            raise
        return self

    def _connect(self, writing: ThreadPoolExecutor) -> _Open:
        if self.path.is_dir():
            raise NotAStore(f"{self.path}: a folder, not a file")
        if not self.path.parent.is_dir():
            raise StoreNotFound(f"{self.path}: its folder does not exist")
        if not self._create and not self.path.exists():
            raise StoreNotFound(f"{self.path}: no such file")
        connections: list[sqlite3.Connection] = []
        try:
            connections.extend(connect(self.path, create=self._create) for _ in range(3))
            writer, reader, watcher = connections
            log_id = _open_log(writer, self.path, create=self._create)
            writer.execute(f"PRAGMA synchronous = {self._durability}")
            (synchronous,) = writer.execute("PRAGMA synchronous").fetchone()
            reader.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
            for connection in (reader, watcher):
                connection.execute("PRAGMA query_only = on")
                connection.execute("PRAGMA data_version")
        except BaseException:
            for connection in connections:
                connection.close()
            raise
        return _Open(
            log_id,
            synchronous,
            _Writer(writer, log_id, self._clock),
            writing,
            reader,
            ThreadPoolExecutor(1, "eventstore-reader"),
            watcher,
            tuple(connections),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._open = self._now_open, None
        while self._waiting or self._batch is not None:
            await (asyncio.wait([self._batch]) if self._batch is not None else asyncio.sleep(0))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(opened.reading, opened.close)
        opened.writing.shutdown()
        opened.reading.shutdown()

    @property
    def _now_open(self) -> _Open:
        if self._open is None:
            raise StoreClosed(f"{self.path}: the store is not open: use it inside its async with block")
        return self._open

    @property
    def log_id(self) -> str:
        return self._now_open.log_id

    async def append(self, commit: NewCommit) -> Appended:
        opened = self._now_open
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Appended] = loop.create_future()
        self._waiting.append(_Waiting(commit, answer))
        if self._batch is None and len(self._waiting) == 1:
            # Appends of the same turn of the loop go along; later ones go when the thread is free again.
            loop.call_soon(self._send, opened)
        return await answer

    def _send(self, opened: _Open) -> None:
        batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        loop = asyncio.get_running_loop()
        self._batch = loop.run_in_executor(opened.writing, opened.writer.write, [w.commit for w in batch])
        self._batch.add_done_callback(functools.partial(self._settle, opened, batch))

    def _settle(self, opened: _Open, batch: list[_Waiting], done: asyncio.Future[list[_Answer]]) -> None:
        self._batch = None
        failed = done.exception()
        answers: Sequence[Appended | BaseException] = (
            [self._failure(failed) for _ in batch] if failed is not None else done.result()
        )
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # its caller was cancelled
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if self._waiting:
            self._send(opened)

    def _failure(self, error: BaseException) -> BaseException:
        return translate(error, self.path) if isinstance(error, sqlite3.Error) else error

    async def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        opened = self._now_open
        try:
            return await asyncio.get_running_loop().run_in_executor(opened.reading, query, opened.reader)
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    async def tail(self, stream: StreamId) -> Tail:
        found = await self._query(functools.partial(_tail, stream))
        return Tail(*found) if found else Tail(Version(0), Position(0))

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        ended: int = after
        # Who folds from a snapshot to a bound needs few.
        limit, more = _CHUNK_ROWS, True
        while more:
            rows, more = await self._query(functools.partial(_read_rows, stream, ended, limit))
            for chunk in _chunks(rows):
                yield [RawCommit(stream, position, at, envelope) for position, at, envelope, _ in chunk]
                ended = chunk[-1][3]
                await asyncio.sleep(0)
            limit = _FETCH_ROWS

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        await self._check_reached(after)
        more = True
        while more:
            commits, more = await self._query(functools.partial(self._log_commits, after))
            for chunk in _chunks(commits):
                yield chunk
                after = chunk[-1].position
                await asyncio.sleep(0)

    async def _check_reached(self, after: Position) -> None:
        if after and after > (head := await self.head()):
            raise UnknownPosition(after, head)

    def _log_commits(self, after: Position, db: sqlite3.Connection) -> tuple[list[RawCommit], bool]:
        known = self._streams
        rows, more = _log_rows(after, db)
        commits = [
            RawCommit(known.get(stream) or self._stream(stream, db), Position(position), at, envelope)
            for position, stream, at, envelope in rows
        ]
        return commits, more

    def _stream(self, row: int, db: sqlite3.Connection) -> StreamId:
        if len(self._streams) >= _CACHED_STREAMS:
            self._streams.clear()
        found = db.execute("SELECT category, name FROM streams WHERE id = ?", (row,)).fetchone()
        stream = self._streams[row] = StreamId(*found)
        return stream

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        await self._check_reached(after)
        loop = asyncio.get_running_loop()
        while True:
            seen = self._data_version()
            commits, more = await self._query(functools.partial(self._log_commits, after))
            for chunk in _chunks(commits):
                yield chunk
                after = chunk[-1].position
                await asyncio.sleep(0)
            if more:
                continue
            while self._data_version() == seen:
                yield Progress(after, caught_up=True)
                idle_until = loop.time() + _IDLE_SECONDS
                # Another process sets no asyncio.Event.
                while self._data_version() == seen and loop.time() < idle_until:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)

    def _data_version(self) -> int:
        """Return a number that changes with every commit of any process, within microseconds, so on the loop."""
        try:
            (version,) = self._now_open.watcher.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        return int(version)

    async def head(self) -> Position:
        return await self._query(_head)

    async def position_at(self, recorded_at: int) -> Moment:
        position, is_last = await self._query(functools.partial(_position_at, recorded_at))
        return Moment(Position(position), final=not is_last)

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        after = (category or "", "")
        while rows := await self._query(functools.partial(_stream_rows, category, after)):
            yield [StreamInfo(StreamId(of, name), *where) for of, name, *where in rows]
            after = rows[-1][:2]

    async def describe(self) -> Mapping[str, str | int]:
        return {
            "backend": "sqlite",
            "path": str(self.path),
            "durability": _MEANINGS.get(self._now_open.synchronous, "unknown"),
        }


class _Open(NamedTuple):
    """What an open backend holds: a connection each for writing, reading and watching, and the first two's threads."""

    log_id: str
    #: As the writing connection reports it.
    synchronous: int
    writer: _Writer
    writing: ThreadPoolExecutor
    reader: sqlite3.Connection
    reading: ThreadPoolExecutor
    watcher: sqlite3.Connection
    connections: Sequence[sqlite3.Connection]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


_MEANINGS: Final = {
    0: "off: an acknowledged commit may be lost with the process",
    1: "normal: an acknowledged commit survives a killed process, not power loss",
    2: "full: the disk is synced before a commit is acknowledged",
    3: "extra: the disk is synced before a commit is acknowledged",
}


def _open_log(connection: sqlite3.Connection, path: Path, *, create: bool) -> str:
    claim(connection, path, application_id=_APPLICATION_ID, schema=_SCHEMA, create=create)
    (log_id,) = connection.execute("SELECT value FROM meta WHERE key = 'log_id'").fetchone()
    return str(log_id)


_STREAM: Final = "(SELECT id FROM streams WHERE category = :category AND name = :name)"
_SELECT_TAIL: Final = f"SELECT ver + n - 1, pos FROM commits WHERE stream = {_STREAM} ORDER BY ver DESC LIMIT 1"  # noqa: S608
# The commit that holds the version after ``after`` may have begun before it.
_SELECT_STREAM: Final = f"""
SELECT pos, at, env, ver + n - 1 FROM commits
WHERE stream = {_STREAM} AND ver + n - 1 > :after
  AND ver >= coalesce((SELECT max(ver) FROM commits WHERE stream = {_STREAM} AND ver <= :after + 1), 1)
ORDER BY ver LIMIT :rows
"""  # noqa: S608


def _bounded(cursor: sqlite3.Cursor, envelope: int, limit: int) -> tuple[list[Any], bool]:
    """Fetch rows of a cursor up to the bytes that may be held at once, and whether there may be more."""
    rows: list[Any] = []
    room = _FETCH_BYTES
    for row in cursor:
        rows.append(row)
        room -= len(row[envelope])
        if room <= 0:
            break
    cursor.close()
    return rows, room <= 0 or len(rows) == limit


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield rows in chunks. Whoever passes them on lets the loop do what else there is to do after each."""
    return (rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS))


def _tail(stream: StreamId, db: sqlite3.Connection) -> tuple[Version, Position] | None:
    found: tuple[Version, Position] | None = db.execute(
        _SELECT_TAIL,
        {"category": stream.category, "name": stream.id},
    ).fetchone()
    return found


def _read_rows(stream: StreamId, after: int, limit: int, db: sqlite3.Connection) -> tuple[list[Any], bool]:
    wanted = {"category": stream.category, "name": stream.id, "after": after, "rows": limit}
    return _bounded(db.execute(_SELECT_STREAM, wanted), 2, limit)


def _log_rows(after: int, db: sqlite3.Connection) -> tuple[list[Any], bool]:
    statement = "SELECT pos, stream, at, env FROM commits WHERE pos > ? ORDER BY pos LIMIT ?"
    return _bounded(db.execute(statement, (after, _FETCH_ROWS)), 3, _FETCH_ROWS)


def _head(db: sqlite3.Connection) -> Position:
    (position,) = db.execute("SELECT coalesce(max(pos), 0) FROM commits").fetchone()
    return Position(position)


def _position_at(recorded_at: int, db: sqlite3.Connection) -> tuple[int, bool]:
    """Return the last position recorded at or before a time, and whether the log ends there."""
    # Bisection needs no index on the time, which would cost every append: times never fall along the log.
    head = _head(db)
    low, high = 0, int(head)
    while low < high:
        middle = (low + high + 1) // 2
        position, at = db.execute(
            "SELECT pos, at FROM commits WHERE pos >= ? ORDER BY pos LIMIT 1", (middle,)
        ).fetchone()
        if at <= recorded_at:
            low = position
        else:
            high = middle - 1
    return low, low == head


def _stream_rows(category: str | None, after: tuple[str, str], db: sqlite3.Connection) -> list[Any]:
    return db.execute(
        "SELECT category, name, ver + n - 1, pos, at FROM streams JOIN commits ON stream = id"
        " WHERE ver = (SELECT max(ver) FROM commits WHERE stream = id) AND (category, name) > (:after, :name)"
        " AND (:category IS NULL OR category = :category) ORDER BY category, name LIMIT :rows",
        {"after": after[0], "name": after[1], "category": category, "rows": _CHUNK_ROWS},
    ).fetchall()


_SNAPSHOTS_ID: Final = 0x46_4C_53_4E  # "FLSN"
_SNAPSHOTS_SCHEMA: Final = """
CREATE TABLE snapshots(
  category TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL,
  occurred INTEGER NOT NULL, log_id TEXT NOT NULL, tag TEXT NOT NULL, state BLOB NOT NULL, commits BLOB NOT NULL,
  PRIMARY KEY(category, name, version))
"""


class SqliteSnapshots:
    """Keeps snapshots in an SQLite file of its own: it may be deleted whenever nobody has it open.

    Used as an async context manager.

    Args:
        path: the file, made when it does not exist. Not the log's: the log's writers should not wait for a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "eventstore-snapshots")
        try:
            self._connection = await self._run(self._connect)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, create=True)
        try:
            claim(connection, self.path, application_id=_SNAPSHOTS_ID, schema=_SNAPSHOTS_SCHEMA, create=True)
            # A snapshot lost with the power is made again.
            connection.execute("PRAGMA synchronous = normal")
        except BaseException:
            connection.close()
            raise
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, thread = self._connection, self._thread
        self._connection = self._thread = None
        if connection is not None and thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreClosed(f"{self.path}: the snapshots are not open: use them inside their async with block")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def _execute(self, statement: str, values: Mapping[str, object]) -> list[Any]:
        if self._connection is None:
            raise StoreClosed(f"{self.path}: the snapshots are not open")
        return self._connection.execute(statement, values).fetchall()

    async def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        stream = snapshot.stream
        values = msgspec.structs.asdict(snapshot) | {"category": stream.category, "name": stream.id}
        values.pop("stream")
        statement = (
            "INSERT OR REPLACE INTO snapshots VALUES"
            " (:category, :name, :version, :position, :occurred, :log_id, :tag, :state, :commits)"
        )
        await self._run(functools.partial(self._execute, statement, values))

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        """Return the newest one within a bound."""
        statement = (
            "SELECT version, position, occurred, log_id, tag, state, commits FROM snapshots"
            " WHERE category = :category AND name = :name AND log_id = :log_id AND tag = :tag"
            " AND version <= coalesce(:at_version, version) AND position <= coalesce(:at_position, position)"
            " AND occurred <= coalesce(:at_occurred, occurred) ORDER BY version DESC LIMIT 1"
        )
        values = {
            "category": stream.category,
            "name": stream.id,
            "log_id": log_id,
            "tag": tag,
            "at_version": bound.version,
            "at_position": bound.position,
            "at_occurred": bound.occurred,
        }
        rows = await self._run(functools.partial(self._execute, statement, values))
        return Snapshot(stream, *rows[0]) if rows else None


def from_url(url: str, *, create: bool) -> SqliteBackend:
    """Return a backend for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``, with ``?durability=full``."""
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path or "\0" in path or parts.fragment:
        raise InvalidInput("url", f"expected sqlite:///relative.db or sqlite:////absolute.db, got {url!r}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    durability = options.pop("durability", "full")
    if options:
        raise InvalidInput("url", f"expected no option but durability, got {', '.join(sorted(options))}")
    return SqliteBackend(path, durability=cast("Durability", durability), create=create)
