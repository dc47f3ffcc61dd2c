"""What is SQLite's own: files, processes, disks, threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventstore import (
    Codec,
    Commit,
    Conflict,
    CorruptCommit,
    EventStore,
    InvalidInput,
    Moment,
    NotAStore,
    Position,
    Progress,
    ReadOnly,
    Snapshot,
    StoreClosed,
    StoreFull,
    StoreNotFound,
    StoreUnavailable,
    StreamId,
    Version,
)
from eventstore._sqlite_file import translate
from eventstore._store import Bound
from eventstore.sqlite import SqliteBackend, SqliteSnapshots
from eventstore.testing._scene import commit, flat
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]
CODEC = Codec(Int64Value, BytesValue)
STREAM = StreamId("order", "1")
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[EventStore]:
    async with EventStore(SqliteBackend(path), CODEC) as store:
        yield store


def numbers(*values: int) -> list[Int64Value]:
    return [Int64Value(value=value) for value in values]


def writing(store: EventStore) -> sqlite3.Connection:
    """Return the connection of the writer thread; SQLite lets another thread use it while that one is idle."""
    backend = store.backend
    assert isinstance(backend, SqliteBackend)
    return backend._now_open.writer._connection


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Start another Python on some code, in which what this module imports is at hand."""
    prelude = """
        import asyncio, os, sys
        from google.protobuf.wrappers_pb2 import Int64Value
        from eventstore import *
        from eventstore.sqlite import SqliteBackend
        CODEC = Codec(Int64Value)
        STREAM = StreamId("order", "1")
    """
    started: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    return started


def answer(process: subprocess.Popen[str]) -> str:
    """Return what a process printed to its end."""
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0, printed
    return printed.strip()


class TestFiles:
    """What a path may hold."""

    @pytest.mark.parametrize(
        "content", [b"text", b"x" * 5000, b"SQLite format 3\0" + b"x" * 5000, b"\0" * 4096], ids=["a", "b", "c", "d"]
    )
    async def test_no_database(self, path: Path, content: bytes) -> None:
        """A file that is no database is refused and left as it is."""
        path.write_bytes(content)
        with pytest.raises(NotAStore, match=r"log\.db"):
            await EventStore(SqliteBackend(path), CODEC).__aenter__()
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        "statement",
        ["CREATE TABLE events(id)", "PRAGMA application_id = 7", "PRAGMA user_version = 9; CREATE TABLE meta(a)"],
    )
    async def test_other_database(self, path: Path, statement: str) -> None:
        """A database of somebody else is refused and left as it is."""
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(statement)
        content = path.read_bytes()
        with pytest.raises(NotAStore):
            await EventStore(SqliteBackend(path), CODEC).__aenter__()
        assert path.read_bytes() == content

    async def test_snapshots_are_no_log(self, path: Path) -> None:
        """A file of snapshots is no log, and a log is no file of snapshots."""
        async with SqliteSnapshots(path):
            pass
        with pytest.raises(NotAStore):
            await SqliteBackend(path).__aenter__()
        async with SqliteBackend(path.with_name("other.db")):
            pass
        with pytest.raises(NotAStore):
            await SqliteSnapshots(path.with_name("other.db")).__aenter__()

    async def test_later_format(self, path: Path, store: EventStore) -> None:
        """A log of a later format is refused, and the error says which."""
        writing(store).execute("PRAGMA user_version = 2")
        with pytest.raises(NotAStore, match="format 2"):
            await SqliteBackend(path).__aenter__()

    async def test_folder(self, tmp_path: Path) -> None:
        """A folder is no log, and a log needs a folder that exists."""
        with pytest.raises(NotAStore):
            await SqliteBackend(tmp_path).__aenter__()
        with pytest.raises(StoreNotFound):
            await SqliteBackend(tmp_path / "missing" / "log.db").__aenter__()

    async def test_not_created(self, path: Path) -> None:
        """Without create, neither a missing file nor an empty one becomes a log."""
        with pytest.raises(StoreNotFound):
            await SqliteBackend(path, create=False).__aenter__()
        assert not path.exists()
        path.touch()
        with pytest.raises(StoreNotFound):
            await SqliteBackend(path, create=False).__aenter__()
        assert path.read_bytes() == b""

    async def test_empty_file(self, path: Path) -> None:
        """With create, an empty file becomes one."""
        path.touch()
        async with EventStore(SqliteBackend(path), CODEC) as store:
            assert (await store.append(STREAM, numbers(1), expected=0)).version == 1

    async def test_created_once(self, path: Path) -> None:
        """Of many who open a new log at once one makes it, and all have it."""
        async with contextlib.AsyncExitStack() as stack:
            opening = (stack.enter_async_context(SqliteBackend(path)) for _ in range(8))
            backends = await asyncio.gather(*opening)
            assert len({backend.log_id for backend in backends}) == 1

    async def test_odd_path(self, tmp_path: Path) -> None:
        """A path is taken as it is, whatever it would mean in a URL."""
        path = tmp_path / "a?mode=ro&b#c %41 \u00e9.db"
        async with SqliteBackend(path):
            pass
        assert path.exists()

    async def test_copy(self, path: Path, store: EventStore) -> None:
        """A byte copy keeps the log's id and all that is in it."""
        await store.append(STREAM, numbers(1), expected=0)
        other = path.with_name("copy.db")
        with contextlib.closing(sqlite3.connect(other)) as target:
            writing(store).backup(target)
        async with EventStore(SqliteBackend(other), CODEC) as copy:
            assert copy.log_id == store.log_id
            assert await copy.read(STREAM) == await store.read(STREAM)

    def test_bad_durability(self, path: Path) -> None:
        """A durability that there is not is refused."""
        with pytest.raises(InvalidInput, match="durability"):
            SqliteBackend(path, durability="some")  # type: ignore[arg-type]

    @pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
    async def test_durability(self, path: Path, durability: str, synchronous: int) -> None:
        """The durability is read back from the connection that writes."""
        async with EventStore(SqliteBackend(path, durability=durability), CODEC) as store:  # type: ignore[arg-type]
            assert writing(store).execute("PRAGMA synchronous").fetchone() == (synchronous,)
            facts = await store.backend.describe()
            assert str(facts["durability"]).startswith(f"{durability}:")
            assert facts["path"] == str(path)
            assert writing(store).execute("PRAGMA journal_mode").fetchone() == ("wal",)

    async def test_threads_end(self, path: Path) -> None:
        """A closed log leaves no thread and, being the last one, nothing but its file."""
        before = set(threading.enumerate())
        async with EventStore(SqliteBackend(path), CODEC) as store:
            await store.append(STREAM, numbers(1), expected=0)
            await store.tail(STREAM)
        with pytest.raises(NotAStore):
            await SqliteBackend(path.parent).__aenter__()
        assert set(threading.enumerate()) <= before
        assert [path] == list(path.parent.iterdir())


class TestErrors:
    """The driver's errors, by code."""

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (sqlite3.SQLITE_FULL, StoreFull),
            (sqlite3.SQLITE_READONLY, ReadOnly),
            (sqlite3.SQLITE_READONLY | 8 << 8, ReadOnly),
            (sqlite3.SQLITE_PERM, ReadOnly),
            (sqlite3.SQLITE_NOTADB, NotAStore),
            (sqlite3.SQLITE_CORRUPT, NotAStore),
            (sqlite3.SQLITE_BUSY, StoreUnavailable),
            (sqlite3.SQLITE_CANTOPEN, StoreUnavailable),
            (sqlite3.SQLITE_IOERR | 10 << 8, StoreUnavailable),
            (None, StoreUnavailable),
        ],
    )
    def test_translated(self, path: Path, code: int | None, expected: type[StoreUnavailable]) -> None:
        """Each becomes the error that tells the caller what to do, and names the file."""
        error = sqlite3.OperationalError("text")
        if code is not None:
            error.sqlite_errorcode = code
        found = translate(error, path)
        assert type(found) is expected
        assert str(path) in str(found)

    async def test_locked(self, path: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that another process keeps locked is unavailable, and is again available afterwards."""
        monkeypatch.setattr("eventstore._sqlite_file._BUSY_SECONDS", 0.01)
        async with EventStore(SqliteBackend(path), CODEC) as other:
            writing(store).execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await other.append(STREAM, numbers(1), expected=0)
            writing(store).execute("ROLLBACK")
            assert (await other.append(STREAM, numbers(1), expected=0)).version == 1

    async def test_corrupt_neighbour(self, store: EventStore) -> None:
        """Bytes that are no envelope stop a repeated append where they stand, and no other append."""
        broken = StreamId("order", "2")
        await store.append(broken, numbers(1), expected=0)
        writing(store).execute("UPDATE commits SET env = x'ff'")
        answers = await asyncio.gather(
            store.append(STREAM, numbers(1), expected=0),
            store.append(broken, numbers(1), expected=0),
            store.append(STREAM, numbers(2), expected=1),
            return_exceptions=True,
        )
        assert isinstance(answers[1], (CorruptCommit, Conflict))
        assert [getattr(answers[number], "version", answers[number]) for number in (0, 2)] == [1, 2]


class TestFullDisk:
    """No room left."""

    @staticmethod
    async def _fill(store: EventStore, stream: StreamId) -> int:
        """Append until there is no room; return the version reached."""
        version = 0
        try:
            while version < 1_000:
                await store.append(stream, [BytesValue(value=bytes(50_000))], expected=version)
                version += 1
        except StoreFull:
            return version
        raise AssertionError("the disk never became full")

    async def test_page_count(self, store: EventStore) -> None:
        """A database that may not grow refuses, keeps what it has, and goes on when it may grow again."""
        await store.append(STREAM, numbers(1), expected=0)
        (pages,) = writing(store).execute("PRAGMA page_count").fetchone()
        writing(store).execute(f"PRAGMA max_page_count = {pages + 100}")
        other = StreamId("order", "2")
        version = await self._fill(store, other)
        assert 0 < version < 20
        assert (await store.tail(other)).version == version
        assert [commit.version async for commit in store.log()] == [1, *range(1, version + 1)]
        writing(store).execute("PRAGMA max_page_count = 100000")
        assert (await store.append(other, [BytesValue(value=bytes(50_000))], expected=version)).version == version + 1

    async def test_together(self, store: EventStore) -> None:
        """Appends that share a transaction with one that has no room are told so, and stored when tried again."""
        await store.append(STREAM, numbers(1), expected=0)
        (pages,) = writing(store).execute("PRAGMA page_count").fetchone()
        writing(store).execute(f"PRAGMA max_page_count = {pages + 10}")
        ids = [bytes([number]) * 16 for number in range(3)]
        other = StreamId("order", "2")

        async def both() -> tuple[object, ...]:
            return await asyncio.gather(
                store.append(STREAM, numbers(2), expected=1, commit_id=ids[0]),
                store.append(other, [BytesValue(value=bytes(500_000))], expected=0, commit_id=ids[1]),
                store.append(STREAM, numbers(3), expected=2, commit_id=ids[2]),
                return_exceptions=True,
            )

        assert [type(found) for found in await both()] == 3 * [StoreFull]
        assert (await store.tail(STREAM)).version == 1
        writing(store).execute("PRAGMA max_page_count = 100000")
        assert [getattr(found, "version", found) for found in await both()] == [2, 1, 3]

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of two megabytes where one can be mounted; else a folder whose user may write no larger file."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk],  # noqa: S607 (wherever it is)
            capture_output=True,
            check=False,
        )
        yield disk
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", disk], check=True)  # noqa: S607 (as above)

    async def test_disk(self, small_disk: Path) -> None:
        """A full disk refuses, loses nothing, and is written again when there is room."""
        ballast = small_disk / "ballast"
        mounted = os.path.ismount(small_disk)
        if mounted:
            ballast.write_bytes(bytes(1_000_000))
        async with EventStore(SqliteBackend(small_disk / "log.db"), CODEC) as store:
            if not mounted:  # the same answer from the other limit
                writing(store).execute("PRAGMA max_page_count = 200")
            version = await self._fill(store, STREAM)
            assert version > 0
            if mounted:
                ballast.unlink()
            else:
                writing(store).execute("PRAGMA max_page_count = 100000")
            assert (await store.append(STREAM, numbers(1), expected=version)).version == version + 1
        async with EventStore(SqliteBackend(small_disk / "log.db"), CODEC) as store:
            assert (await store.tail(STREAM)).version == version + 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READER = """
async def main():
    os.umask(0)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        async with EventStore(SqliteBackend(sys.argv[1], create=False), CODEC) as store:
            print("read", (await store.tail(STREAM)).version, sum([1 async for _ in store.log()]))
            try:
                await store.append(STREAM, [Int64Value(value=1)], expected=(await store.tail(STREAM)).version)
                print("appended")
            except StoreUnavailable as error:
                print(type(error).__name__)
    except StoreUnavailable as error:
        print(type(error).__name__)

asyncio.run(main())
"""

KILLED = """
async def main():
    async with EventStore(SqliteBackend(sys.argv[1]), CODEC) as store:
        for expected in range(50):
            await store.append(STREAM, [Int64Value(value=expected)], expected=expected)
        print("ready", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


class TestReadOnly:
    """Files that may only be read, by a process that is not root."""

    @staticmethod
    async def _make(path: Path) -> None:
        async with EventStore(SqliteBackend(path), CODEC) as store:
            for expected in range(50):
                await store.append(STREAM, numbers(expected), expected=expected)

    @staticmethod
    def _read(path: Path) -> list[str]:
        return answer(python(READER, path)).splitlines()

    async def test_file(self, open_folder: Path) -> None:
        """A file that may only be read, in a folder that may be written, is read whole; appending says ReadOnly."""
        path = open_folder / "log.db"
        await self._make(path)
        open_folder.chmod(0o777)
        path.chmod(0o444)
        assert self._read(path) == ["read 50 50", "ReadOnly"]

    async def test_folder(self, open_folder: Path) -> None:
        """A log in a folder that may only be read is read whole or refused."""
        path = open_folder / "log.db"
        await self._make(path)
        path.chmod(0o444)
        open_folder.chmod(0o555)
        assert self._read(path) in (["read 50 50", "ReadOnly"], ["ReadOnly"], ["StoreUnavailable"])

    async def test_killed_writer(self, open_folder: Path) -> None:
        """What a killed writer left in a folder that may only be read is read whole or refused, never in part."""
        path = open_folder / "log.db"
        writer = python(KILLED, path)
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        # What it wrote is in the log beside the file: without that, the file alone would show less.
        assert path.with_name("log.db-wal").stat().st_size > 0
        for file in open_folder.iterdir():
            file.chmod(0o444)
        open_folder.chmod(0o555)
        assert self._read(path) in (["read 50 50", "ReadOnly"], ["ReadOnly"], ["StoreUnavailable"])
        open_folder.chmod(0o755)
        path.chmod(0o644)
        async with EventStore(SqliteBackend(path), CODEC) as store:
            assert (await store.tail(STREAM)).version == 50


WRITER = """
async def main():
    async with EventStore(SqliteBackend(sys.argv[1]), CODEC) as store:
        print("ready", flush=True)
        while line := sys.stdin.readline().strip():
            done = await store.append(STREAM, [Int64Value(value=1)], expected=int(line))
            print(done.position, flush=True)

asyncio.run(main())
"""


class TestProcesses:
    """Several processes on one file."""

    @pytest.fixture
    def other(self, path: Path, store: EventStore) -> Iterator[subprocess.Popen[str]]:
        """A process that appends where it is told to."""
        process = python(WRITER, path)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate(timeout=10)

    @staticmethod
    async def _append(other: subprocess.Popen[str], expected: int) -> int:
        assert other.stdin
        assert other.stdout
        other.stdin.write(f"{expected}\n")
        other.stdin.flush()
        return int(await asyncio.to_thread(other.stdout.readline))

    async def test_follow(self, store: EventStore, other: subprocess.Popen[str]) -> None:
        """A follower sees a commit of another process within 20 ms."""
        waited = []
        following = store.follow()
        for expected in range(5):
            async for item in following:
                if isinstance(item, Progress) and item.caught_up:
                    break
            waiting = asyncio.ensure_future(_commit_and_time(following))
            position = await self._append(other, expected)
            told = time.perf_counter()
            commit, seen = await waiting
            assert commit.position == position
            waited.append(seen - told)
        # The best of a few: that the machine was busy proves nothing.
        assert min(waited) < 0.02

    async def test_guard(self, store: EventStore, other: subprocess.Popen[str]) -> None:
        """What one process appends the other's next append knows of, at each turn."""
        for expected in range(0, 10, 2):
            assert (await store.append(STREAM, numbers(1), expected=expected)).position == expected + 1
            assert await self._append(other, expected + 1) == expected + 2
        with pytest.raises(Conflict) as refusal:
            await store.append(STREAM, numbers(1), expected=9)
        assert refusal.value.actual == 10

    async def test_idle_follow_is_cheap(self, store: EventStore) -> None:
        """A follower that waits uses little of a core."""
        following = store.follow()
        await anext(following)
        used, begun = time.process_time(), time.perf_counter()
        await anext(following)
        assert time.process_time() - used < 0.25 * (time.perf_counter() - begun)


async def _commit_and_time(following: AsyncIterator[Commit | Progress]) -> tuple[Commit, float]:
    async for item in following:
        if isinstance(item, Commit):
            return item, time.perf_counter()
    raise AssertionError


class Gate:
    """A clock that waits to be read until it is let go."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.asked = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> int:
        now = self.now
        self.asked.set()
        assert self.go.wait(10)
        return now


class TestWriter:
    """Appends that share a transaction."""

    async def test_cancelled(self, path: Path) -> None:
        """A cancelled append is stored or not; those beside it are not touched."""
        gate = Gate(1_000)
        async with EventStore(SqliteBackend(path, clock=gate), CODEC) as store:
            await store.append(STREAM, numbers(0), expected=0)
            gate.go.clear()
            gate.asked.clear()
            first = asyncio.ensure_future(store.append(STREAM, numbers(1), expected=1))
            await asyncio.to_thread(gate.asked.wait)
            later = [
                asyncio.ensure_future(store.append(STREAM, numbers(number), expected=number)) for number in (2, 3, 4)
            ]
            await asyncio.sleep(0)
            first.cancel()
            later[1].cancel()
            gate.go.set()
            assert (await later[2]).version == 5
            assert (await later[0]).version == 3
            assert first.cancelled()
            assert later[1].cancelled()

    async def test_final_means_final(self, path: Path) -> None:
        """What is said to be final stays, also when another writer has read its clock and not yet committed."""
        slow = Gate(1_000)
        async with (
            EventStore(SqliteBackend(path, clock=slow), CODEC) as writer,
            SqliteBackend(path, clock=lambda: 2_000) as reader,
        ):
            slow.go.clear()
            writing = asyncio.ensure_future(writer.append(STREAM, numbers(1), expected=0))
            await asyncio.to_thread(slow.asked.wait)
            early = await reader.position_at(1_500)
            slow.go.set()
            await writing
            late = await reader.position_at(1_500)
            assert late.position == 1
            assert early == late or not early.final

    async def test_final_despite_import(self, path: Path) -> None:
        """What is said to be final stays, also when a commit comes in that another log recorded earlier."""
        async with SqliteBackend(path, clock=lambda: 5_000) as log:
            await log.append(commit(STREAM, recorded_at=1_000))
            early = await log.position_at(2_000)
            await log.append(commit(STREAM, 1, recorded_at=1_500))
            late = await log.position_at(2_000)
            assert early == late or not early.final

    async def test_clock_of_the_batch(self, path: Path) -> None:
        """Times never fall, whatever the clock does, from one process to the next either."""
        times = iter([5_000, 3_000, 7_000])
        async with SqliteBackend(path, clock=lambda: next(times)) as one:
            for expected in range(3):
                await one.append(commit(STREAM, expected))
        async with SqliteBackend(path, clock=lambda: 6_000) as two:
            await two.append(commit(STREAM, 3))
            found = await flat(two.read(STREAM, after=Version(0)))
            assert [raw.recorded_at for raw in found] == [5_000, 5_000, 7_000, 7_000]
            assert await two.position_at(5_000) == Moment(Position(2), final=True)

    async def test_many(self, store: EventStore) -> None:
        """More appends than fit into one transaction are all stored, in order."""
        news = [store.append(StreamId("order", f"{number}"), numbers(number), expected=0) for number in range(2_500)]
        assert [done.position for done in await asyncio.gather(*news)] == list(range(1, 2_501))

    async def test_closed_twice(self, path: Path) -> None:
        """Closing what is not open says so."""
        backend = SqliteBackend(path)
        with pytest.raises(StoreClosed):
            await backend.__aexit__(None, None, None)


class TestSqliteSnapshots:
    """Snapshots in a file."""

    async def test_kept(self, path: Path) -> None:
        """They outlive the process that made them."""
        kept = Snapshot(STREAM, Version(3), Position(7), 5, "log", "tag", b"state", b"ids")
        async with SqliteSnapshots(path) as snapshots:
            await snapshots.save(kept)
        async with SqliteSnapshots(path) as snapshots:
            assert await snapshots.load(STREAM, log_id="log", tag="tag", bound=Bound()) == kept

    async def test_closed(self, path: Path) -> None:
        """Outside their block they are closed; closing them twice does no harm."""
        snapshots = SqliteSnapshots(path)
        with pytest.raises(StoreClosed):
            await snapshots.load(STREAM, log_id="log", tag="tag", bound=Bound())
        async with snapshots:
            pass
        with pytest.raises(StoreClosed):
            await snapshots.load(STREAM, log_id="log", tag="tag", bound=Bound())
        await snapshots.__aexit__(None, None, None)

    async def test_no_folder(self, path: Path) -> None:
        """Where they cannot be kept, they are unavailable."""
        with pytest.raises(StoreUnavailable):
            await SqliteSnapshots(path / "missing" / "snapshots.db").__aenter__()

    async def test_full(self, path: Path) -> None:
        """A driver's error does not get out."""
        kept = Snapshot(STREAM, Version(3), Position(7), 5, "log", "tag", bytes(1_000_000), b"ids")
        async with SqliteSnapshots(path) as snapshots:
            assert snapshots._connection
            snapshots._connection.execute("PRAGMA max_page_count = 20")
            with pytest.raises(StoreFull):
                await snapshots.save(kept)
