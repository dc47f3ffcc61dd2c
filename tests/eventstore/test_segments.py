"""Logs as files: what comes out goes in again, and nothing damaged does."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import gzip
import hashlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import (
    MAX_ENVELOPE_BYTES,
    Appended,
    Codec,
    CorruptCommit,
    Digest,
    EventStore,
    EventStoreError,
    Metadata,
    NewCommit,
    RawCommit,
    SegmentError,
    StoreFull,
    StreamId,
    UnknownPosition,
    Version,
    WrongLog,
    digest_of,
    open_store,
)
from eventstore._values import Position, Token
from eventstore.memory import MemoryBackend
from eventstore.segments import check_segment, export_log, import_log, read_segment
from eventstore.v1 import envelope_pb2, segment_pb2
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

CODEC = Codec(StringValue, BytesValue)
ONE = StreamId("order", "1")
TWO = StreamId("order", "zwei/2 🙂")
COMMIT_ID = bytes(range(16))


def memory() -> EventStore:
    return EventStore(MemoryBackend(), CODEC)


@pytest.fixture
async def store() -> AsyncIterator[EventStore]:
    """A log of four commits in two streams, with all that a commit can have."""
    async with memory() as store:
        moment = datetime(2001, 2, 3, tzinfo=UTC)
        one, two = StringValue(value="one"), StringValue(value="two")
        await store.append(ONE, [one, two], expected=0, occurred_at=moment, metadata=Metadata(actor="ann"))
        await store.append(TWO, [one], expected=0, commit_id=COMMIT_ID)
        await store.append(ONE, [two], expected=2)
        await store.append(TWO, [StringValue()], expected=1)
        yield store


async def grow(store: EventStore, count: int, *, seed: int = 1, size: int = 50) -> None:
    """Append commits of random bytes, which do not compress, to twenty streams."""
    rng = random.Random(seed)
    versions = {info.stream: info.version async for info in store.streams()}
    for start in range(0, count, 1_000):
        appends = []
        for _ in range(min(1_000, count - start)):
            stream = StreamId("item", str(rng.randrange(20)))
            version = versions.get(stream, Version(0))
            versions[stream] = Version(version + 1)
            appends.append(store.append(stream, [BytesValue(value=rng.randbytes(size))], expected=version))
        await asyncio.gather(*appends)


async def commits_of(store: EventStore) -> list[RawCommit]:
    return [raw async for chunk in store.backend.log(after=Position(0)) for raw in chunk]


# The digest


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def text(value: bytes) -> bytes:
    return number(len(value)) + value


async def test_digest_is_what_its_docstring_says(store: EventStore) -> None:
    """Whoever reads the docstring can compute the digest."""
    hashed = b""
    for raw in await commits_of(store):
        envelope = envelope_pb2.Envelope.FromString(raw.envelope)
        hashed += text(raw.stream.category.encode()) + text(raw.stream.id.encode())
        hashed += number(envelope.first_version) + text(envelope.commit_id) + number(len(envelope.events))
        for event in envelope.events:
            hashed += text(event.type.encode()) + number(event.schema) + text(event.payload)
            occurred = event.HasField("occurred_at")
            hashed += number(1) + struct.pack(">q", event.occurred_at) if occurred else number(0)
    digest = await digest_of(store)
    assert digest.hexdigest == hashlib.sha256(hashed).hexdigest()
    assert (digest.commits, digest.events) == (4, 5)


def stored_event(
    type: str = "a", schema: int = 1, payload: bytes = b"c", at: int | None = None
) -> envelope_pb2.StoredEvent:
    return envelope_pb2.StoredEvent(type=type, schema=schema, payload=payload, occurred_at=at)


@dataclasses.dataclass(frozen=True)
class Given:
    """One commit, of which a test changes one thing."""

    stream: StreamId = ONE
    position: int = 1
    recorded_at: int = 5
    first: int = 1
    commit_id: bytes = COMMIT_ID
    events: tuple[envelope_pb2.StoredEvent, ...] = dataclasses.field(default=(stored_event(),))
    actor: str = ""

    def digest(self) -> str:
        envelope = envelope_pb2.Envelope(
            commit_id=self.commit_id,
            first_version=self.first,
            events=self.events,
            metadata=envelope_pb2.Metadata(actor=self.actor),
        )
        raw = RawCommit(self.stream, Position(self.position), self.recorded_at, envelope.SerializeToString())
        digest = Digest()
        digest.add(raw, envelope)
        return digest.hexdigest


def test_digest_of_a_known_commit() -> None:
    """The digest is the same for ever: files and other programs rely on it."""
    assert Given().digest() == "2120c689e4b65d89fa4287eae8af49c588daae12775ef434400b13598d89e132"


@pytest.mark.parametrize(
    "given",
    [
        Given(stream=StreamId("orders", "1")),
        Given(stream=StreamId("order", "2")),
        Given(first=2),
        Given(commit_id=bytes(16)),
        Given(events=(stored_event("b"),)),
        Given(events=(stored_event("ac", payload=b""),)),
        Given(events=(stored_event(schema=2),)),
        Given(events=(stored_event(payload=b"d"),)),
        Given(events=(stored_event(at=0),)),
        Given(events=(stored_event(at=-1),)),
        Given(events=(stored_event(), stored_event())),
    ],
)
def test_digest_sees(given: Given) -> None:
    """Each thing that a commit says changes the digest."""
    assert given.digest() != Given().digest()


@pytest.mark.parametrize("given", [Given(position=9), Given(recorded_at=9), Given(actor="ann")])
def test_digest_does_not_see(given: Given) -> None:
    """Where and when a log holds a commit, and its metadata, do not change the digest."""
    assert given.digest() == Given().digest()


# There and back


async def test_round_trip(store: EventStore, tmp_path: Path) -> None:
    """An imported log says the same and keeps ids, times and metadata."""
    exported = await export_log(store, tmp_path / "log.segment")
    async with memory() as copy:
        imported = await import_log(copy, tmp_path / "log.segment")
        assert (imported.commits, imported.events, imported.already) == (4, 5, 0)
        assert exported.digest == imported.digest == (await digest_of(copy)).hexdigest
        assert copy.log_id != store.log_id
        before = [commit async for commit in store.log()]
        after = [commit async for commit in copy.log()]
    for old, new in zip(before, after, strict=True):
        assert (new.stream, new.version, new.commit_id) == (old.stream, old.version, old.commit_id)
        assert (new.recorded_at, new.metadata) == (old.recorded_at, old.metadata)
        assert [event.occurred_at for event in new.events] == [event.occurred_at for event in old.events]
        assert [event.message for event in new.events] == [event.message for event in old.events]


async def test_imported_envelope_names_its_first_recording(store: EventStore, tmp_path: Path) -> None:
    """An imported envelope carries the recorded time, for backends whose clock is not ours to set."""
    await export_log(store, tmp_path / "log.segment")
    async with memory() as copy:
        await import_log(copy, tmp_path / "log.segment")
        for raw in await commits_of(copy):
            assert envelope_pb2.Envelope.FromString(raw.envelope).recorded_at == raw.recorded_at


async def test_a_second_generation_is_the_same(store: EventStore, tmp_path: Path) -> None:
    """A copy of a copy has the same digest and times."""
    await export_log(store, tmp_path / "1.segment")
    async with memory() as first, memory() as second:
        await import_log(first, tmp_path / "1.segment")
        await export_log(first, tmp_path / "2.segment")
        await import_log(second, tmp_path / "2.segment")
        assert await commits_of(second) == await commits_of(first)


async def test_read_with_the_standard_library(store: EventStore, tmp_path: Path) -> None:
    """gzip, a loop over varints and the published protos are all it takes to read a segment."""
    await export_log(store, tmp_path / "log.segment")
    with gzip.open(tmp_path / "log.segment") as file:
        data = file.read()
    records, at = [], 0
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        records.append(segment_pb2.Record.FromString(data[at : at + length]))
        at += length
    header, *commits, footer = records
    assert (header.header.format, header.header.log_id) == (1, store.log_id)
    assert (footer.footer.commits, footer.footer.events, footer.footer.last_position) == (4, 5, 4)
    assert footer.footer.digest == (await digest_of(store)).value
    assert [(r.commit.category, r.commit.id, r.commit.position, r.commit.envelope) for r in commits] == [
        (raw.stream.category, raw.stream.id, raw.position, raw.envelope) for raw in await commits_of(store)
    ]


async def test_read_segment_gives_what_the_log_holds(store: EventStore, tmp_path: Path) -> None:
    """A segment keeps commits byte for byte, with their positions."""
    await export_log(store, tmp_path / "log.segment")
    assert list(read_segment(tmp_path / "log.segment")) == await commits_of(store)
    checked = check_segment(tmp_path / "log.segment")
    assert (checked.log_id, checked.commits, checked.events, checked.position) == (store.log_id, 4, 5, 4)


async def test_empty_log(tmp_path: Path) -> None:
    """A log without commits makes a segment without commits."""
    async with memory() as empty, memory() as copy:
        await export_log(empty, tmp_path / "log.segment")
        imported = await import_log(copy, tmp_path / "log.segment")
    assert (imported.commits, imported.digest) == (0, hashlib.sha256().hexdigest())


async def test_export_ends_at_the_head_of_its_call(tmp_path: Path) -> None:
    """A writer that goes on does not keep an export from ending."""
    async with memory() as store:
        await grow(store, 250)
        late: list[asyncio.Task[object]] = []

        def write_more(step: str, done: int, total: int) -> None:
            events = [StringValue(value="late")]
            late.append(asyncio.create_task(store.append(ONE, events, expected="any")))

        exported = await export_log(store, tmp_path / "log.segment", progress=write_more)
        await asyncio.gather(*late)
    assert exported.commits == 250
    assert late


async def test_export_of_a_later_piece(store: EventStore, tmp_path: Path) -> None:
    """An export after a position holds the rest, and no log can be built from it alone."""
    exported = await export_log(store, tmp_path / "rest.segment", after=2)
    assert list(read_segment(tmp_path / "rest.segment")) == (await commits_of(store))[2:]
    assert exported.commits == 2
    async with memory() as copy:
        with pytest.raises(SegmentError, match="began before"):
            await import_log(copy, tmp_path / "rest.segment")
        assert not await commits_of(copy)


async def test_after_must_be_of_this_log(store: EventStore, tmp_path: Path) -> None:
    """A token of another log, or a position that does not exist, starts no export."""
    with pytest.raises(WrongLog):
        await export_log(store, tmp_path / "log.segment", after=Token("other", Position(1)))
    with pytest.raises(UnknownPosition):
        await export_log(store, tmp_path / "log.segment", after=5)
    assert not (tmp_path / "log.segment").exists()


async def test_commits_at_the_limit(tmp_path: Path) -> None:
    """The largest commit there may be can be exported, imported, and exported again."""
    async with memory() as store, memory() as copy:
        overhead = 62
        await store.append(ONE, [BytesValue(value=os.urandom(MAX_ENVELOPE_BYTES - overhead))], expected=0)
        [raw] = await commits_of(store)
        assert len(raw.envelope) == MAX_ENVELOPE_BYTES
        await export_log(store, tmp_path / "1.segment")
        await import_log(copy, tmp_path / "1.segment")
        await export_log(copy, tmp_path / "2.segment")
        assert check_segment(tmp_path / "2.segment").digest == (await digest_of(store)).hexdigest


# Names and places


async def test_export_does_not_overwrite(store: EventStore, tmp_path: Path) -> None:
    """A finished file is replaced only when that is asked for."""
    path = tmp_path / "log.segment"
    path.write_bytes(b"precious")
    with pytest.raises(SegmentError, match="exists"):
        await export_log(store, path)
    assert path.read_bytes() == b"precious"
    await export_log(store, path, overwrite=True)
    assert check_segment(path).commits == 4


async def test_export_to_no_folder(store: EventStore, tmp_path: Path) -> None:
    """A folder that does not exist is an error of ours that names the file."""
    with pytest.raises(SegmentError, match=r"none/log\.segment\.partial: No such file"):
        await export_log(store, tmp_path / "none" / "log.segment")
    with pytest.raises(SegmentError, match="got a folder"):
        await export_log(store, tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    """A file that does not exist is an error of ours."""
    with pytest.raises(SegmentError, match="No such file"):
        check_segment(tmp_path / "none")


async def test_one_export_at_a_time(store: EventStore, tmp_path: Path) -> None:
    """Two exports do not write into one file."""
    with (tmp_path / "log.segment.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SegmentError, match="another export"):
            await export_log(store, tmp_path / "log.segment")


async def test_corrupt_commit_ends_an_export(tmp_path: Path) -> None:
    """Bytes in the log that are no envelope are named by their position, and no file is made."""
    async with memory() as store:
        await store.append(ONE, [StringValue()], expected=0)
        await store.backend.append(NewCommit(TWO, Version(0), 1, COMMIT_ID, b"garbage"))
        with pytest.raises(CorruptCommit, match="position 2"):
            await export_log(store, tmp_path / "log.segment")
    assert not (tmp_path / "log.segment").exists()


# Going on after an interruption


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 10,000 commits and 10 MB that do not compress, and beside it an undisturbed export."""
    folder = tmp_path_factory.mktemp("source")

    async def make() -> None:
        async with open_store(f"sqlite:///{folder}/log.db?durability=normal", CODEC) as store:
            await grow(store, 10_000, size=1_000)
            await export_log(store, folder / "log.segment")

    asyncio.run(make())
    return folder


@pytest.mark.parametrize("seed", range(4))
async def test_export_resumes_a_file_cut_anywhere(source: Path, tmp_path: Path, seed: int) -> None:
    """What is left of an export, cut at any byte, becomes the same file as an undisturbed one."""
    whole = (source / "log.segment").read_bytes()
    cut = random.Random(seed).randrange(len(whole))
    path = tmp_path / "log.segment"
    path.with_name("log.segment.partial").write_bytes(whole[:cut])
    async with open_store(f"sqlite:///{source}/log.db", create=False) as store:
        exported = await export_log(store, path)
    assert exported.already <= 10_000
    assert path.read_bytes() == whole


@pytest.mark.parametrize("cut", [0, 1, 10, 60, -40, -1, None])
async def test_export_resumes_at_the_edges(source: Path, tmp_path: Path, cut: int | None) -> None:
    """Also cut within the header, within the footer, and not cut at all but for the name."""
    whole = (source / "log.segment").read_bytes()
    path = tmp_path / "log.segment"
    path.with_name("log.segment.partial").write_bytes(whole[:cut])
    async with open_store(f"sqlite:///{source}/log.db", create=False) as store:
        exported = await export_log(store, path)
    assert exported.already == (0 if cut in (0, 1, 10, 60) else 10_000)
    assert path.read_bytes() == whole


async def test_export_resumes_before_a_damaged_block(source: Path, tmp_path: Path) -> None:
    """What a crash has left as zeros is written again."""
    whole = bytearray((source / "log.segment").read_bytes())
    path = tmp_path / "log.segment"
    damaged = bytes(whole[:3_000_000]) + bytes(100_000)
    path.with_name("log.segment.partial").write_bytes(damaged)
    async with open_store(f"sqlite:///{source}/log.db", create=False) as store:
        assert (await export_log(store, path)).already > 0
    assert path.read_bytes() == whole


async def test_export_goes_on_with_what_came_since(store: EventStore, tmp_path: Path) -> None:
    """A resumed export holds what was appended after the interruption, too."""
    path = tmp_path / "log.segment"
    await export_log(store, path)
    path.rename(tmp_path / "log.segment.partial")
    await store.append(ONE, [StringValue(value="later")], expected=3)
    exported = await export_log(store, path)
    assert (exported.already, exported.commits) == (4, 5)
    assert exported.digest == (await digest_of(store)).hexdigest


@pytest.mark.parametrize(
    ("left", "problem"),
    [
        (b"my own notes", "another file"),
        (b"\x1f\x8b" + bytes(2_000), "damaged at its start"),
        (gzip.compress(b"\x03abc", mtime=0), "record 1"),
    ],
    ids=["notes", "zeros", "gzip"],
)
async def test_export_leaves_foreign_files_alone(store: EventStore, tmp_path: Path, left: bytes, problem: str) -> None:
    """A file of the unfinished export's name that is none is not cut."""
    partial = tmp_path / "log.segment.partial"
    partial.write_bytes(left)
    with pytest.raises(SegmentError, match=problem):
        await export_log(store, tmp_path / "log.segment")
    assert partial.read_bytes() == left


async def test_export_resumes_only_its_own_log(store: EventStore, tmp_path: Path) -> None:
    """What is left of another log's export is refused."""
    path = tmp_path / "log.segment"
    await export_log(store, path)
    path.rename(tmp_path / "log.segment.partial")
    async with memory() as other:
        with pytest.raises(SegmentError, match=f"of log {store.log_id}"):
            await export_log(other, path)


async def test_export_resumes_only_the_same_piece(store: EventStore, tmp_path: Path) -> None:
    """What is left of an export after another position is refused."""
    path = tmp_path / "log.segment"
    await export_log(store, path, after=1)
    path.rename(tmp_path / "log.segment.partial")
    with pytest.raises(SegmentError, match="other commits"):
        await export_log(store, path)
    assert (await export_log(store, path, after=1)).already == 3


async def test_export_resumes_only_the_same_history(store: EventStore, tmp_path: Path) -> None:
    """A log that was set back to an older copy and went another way is noticed."""
    path = tmp_path / "log.segment"
    await export_log(store, path)
    path.rename(tmp_path / "log.segment.partial")
    assert isinstance(store.backend, MemoryBackend)
    last = store.backend._commits[-1]
    store.backend._commits[-1] = RawCommit(last.stream, last.position, last.recorded_at + 1, last.envelope)
    with pytest.raises(SegmentError, match="other commits"):
        await export_log(store, path)
    del store.backend._commits[2:]
    with pytest.raises(SegmentError, match="other commits"):
        await export_log(store, path)


async def test_import_goes_on_where_it_was(store: EventStore, tmp_path: Path) -> None:
    """A log that holds the file's beginning gets the rest; one that holds all of it gets nothing."""
    async with memory() as copy:
        await export_log(store, tmp_path / "begin.segment")
        await import_log(copy, tmp_path / "begin.segment")
        await grow(store, 2_500)
        await export_log(store, tmp_path / "log.segment")
        assert (await import_log(copy, tmp_path / "log.segment")).already == 4
        assert (await import_log(copy, tmp_path / "log.segment")).already == 2_504
        assert (await digest_of(copy)).value == (await digest_of(store)).value
        with pytest.raises(SegmentError, match="it holds 2,504"):
            await import_log(copy, tmp_path / "begin.segment")


@pytest.mark.parametrize("count", [1, 4])
async def test_import_refuses_another_history(store: EventStore, tmp_path: Path, count: int) -> None:
    """A log that holds something else stays as it was, however long it is."""
    await export_log(store, tmp_path / "log.segment")
    async with memory() as other:
        await grow(other, count)
        held = await commits_of(other)
        with pytest.raises(SegmentError, match=r"log\.segment: expected a log that is empty or holds the beginning"):
            await import_log(other, tmp_path / "log.segment")
        assert await commits_of(other) == held


async def test_import_takes_what_was_checked(store: EventStore, tmp_path: Path) -> None:
    """A checked segment is not checked again, and a file that changes afterwards is noticed."""
    await export_log(store, tmp_path / "log.segment")
    checked = check_segment(tmp_path / "log.segment")
    steps = []
    async with memory() as copy:
        await import_log(copy, checked, progress=lambda step, *_: steps.append(step))
    assert "check file" not in steps
    await grow(store, 1)
    await export_log(store, tmp_path / "log.segment", overwrite=True)
    async with memory() as copy:
        with pytest.raises(SegmentError, match="expected 4"):
            await import_log(copy, checked)


class Rival(MemoryBackend):
    """A log to which somebody else writes at its second append."""

    def __init__(self, stream: StreamId) -> None:
        super().__init__()
        self._stream: StreamId | None = stream

    async def append(self, commit: NewCommit) -> Appended:
        if self._commits and (stream := self._stream):
            self._stream = None
            envelope = envelope_pb2.Envelope(commit_id=COMMIT_ID, first_version=1, events=[stored_event()])
            encoded = envelope.SerializeToString()
            version = self._streams[stream].ends[-1] if stream in self._streams else 0
            await super().append(NewCommit(stream, Version(version), 1, COMMIT_ID, encoded))
        return await super().append(commit)


@pytest.mark.parametrize(
    ("stream", "problem"), [(ONE, "meanwhile: stream order '1'"), (StreamId("rival", "1"), "something else")]
)
async def test_import_notices_another_writer(store: EventStore, tmp_path: Path, stream: StreamId, problem: str) -> None:
    """A log that somebody else writes to during an import is no copy, and the import says so."""
    await export_log(store, tmp_path / "log.segment")
    async with EventStore(Rival(stream), CODEC) as copy:
        with pytest.raises(SegmentError, match=problem):
            await import_log(copy, tmp_path / "log.segment")


async def test_progress_reaches_its_end(store: EventStore, tmp_path: Path) -> None:
    """Each step reports up to its end."""
    reports: dict[str, list[tuple[int, int]]] = {}

    def note(step: str, done: int, total: int) -> None:
        reports.setdefault(step, []).append((done, total))

    await export_log(store, tmp_path / "log.segment", progress=note)
    async with memory() as copy:
        await import_log(copy, tmp_path / "log.segment", progress=note)
    assert list(reports) == ["export", "check file", "import", "verify"]
    assert all(steps[-1][0] == steps[-1][1] for steps in reports.values())


class Filling(MemoryBackend):
    """A log with room for a few commits."""

    room = 2

    async def append(self, commit: NewCommit) -> Appended:
        if len(self._commits) >= self.room:
            raise StoreFull("no room is left")
        return await super().append(commit)


async def test_import_into_a_full_store(store: EventStore, tmp_path: Path) -> None:
    """A store's failure is raised as it is; when the store can be written again, the import goes on."""
    await export_log(store, tmp_path / "log.segment")
    backend = Filling()
    async with EventStore(backend, CODEC) as copy:
        with pytest.raises(StoreFull):
            await import_log(copy, tmp_path / "log.segment")
        backend.room = 100
        assert (await import_log(copy, tmp_path / "log.segment")).already == 2


def killed(arguments: Iterable[str | Path], *, when: Iterator[bool]) -> None:
    """Run the command and kill it at the first true answer."""
    command = [sys.executable, "-m", "eventstore", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 15
        while not next(when):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
        process.kill()
        assert process.wait() == -signal.SIGKILL


def member_end(whole: bytes, count: int) -> int:
    """Return where so many gzip members of a file end."""
    rest = whole
    for _ in range(count):
        member = zlib.decompressobj(wbits=31)
        member.decompress(rest)
        rest = member.unused_data
    return len(whole) - len(rest)


@pytest.mark.parametrize("seed", range(4))
async def test_export_killed(source: Path, tmp_path: Path, seed: int) -> None:
    """An export that was killed and called again makes the same file as an undisturbed one."""
    whole = (source / "log.segment").read_bytes()
    # Past the first member that holds commits, so that something is there to go on from.
    wanted = random.Random(seed).randrange(member_end(whole, 2), len(whole) * 3 // 4)
    partial = tmp_path / "log.segment.partial"

    def grown() -> Iterator[bool]:
        while True:
            yield partial.exists() and partial.stat().st_size >= wanted

    killed(["export", f"sqlite:///{source}/log.db", tmp_path / "log.segment"], when=grown())
    assert wanted <= partial.stat().st_size < len(whole)
    async with open_store(f"sqlite:///{source}/log.db", create=False) as store:
        exported = await export_log(store, tmp_path / "log.segment")
    assert exported.already > 0
    assert (tmp_path / "log.segment").read_bytes() == whole
    assert not partial.exists()


async def position_of(path: Path) -> int:
    """Return how far a log goes that another process is making."""
    try:
        async with open_store(f"sqlite:///{path}", create=False) as store:
            return (await store.head()).position
    except EventStoreError:
        return 0


@pytest.mark.parametrize("seed", range(4))
def test_import_killed(source: Path, tmp_path: Path, seed: int) -> None:
    """An import that was killed and called again makes a log of the same digest."""
    wanted = random.Random(seed).randrange(1, 5_000)
    path = tmp_path / "log.db"

    def grown() -> Iterator[bool]:
        while True:
            yield path.exists() and asyncio.run(position_of(path)) >= wanted

    killed(["import", f"sqlite:///{path}", source / "log.segment"], when=grown())

    async def resume() -> None:
        async with open_store(f"sqlite:///{path}", create=False) as store:
            assert wanted <= (await store.head()).position < 10_000
            imported = await import_log(store, source / "log.segment")
            assert imported.already >= wanted
            assert imported.digest == (await digest_of(store)).hexdigest
            assert imported.digest == check_segment(source / "log.segment").digest

    asyncio.run(resume())


# Damaged files


async def small_segment(path: Path) -> None:
    async with memory() as store:
        await store.append(ONE, [StringValue(value="one")], expected=0, commit_id=COMMIT_ID)
        await export_log(store, path)


async def test_cut_at_every_byte(tmp_path: Path) -> None:
    """A segment that lacks its end, be it a byte, is refused."""
    path = tmp_path / "log.segment"
    await small_segment(path)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(SegmentError, match=r"log\.segment: (byte \d+|the file is empty)"):
            check_segment(path)


async def test_every_bit_flipped(tmp_path: Path) -> None:
    """A flipped bit is noticed, or was one that says nothing, such as the file system in gzip's header."""
    path = tmp_path / "log.segment"
    await small_segment(path)
    whole = path.read_bytes()
    commits = list(read_segment(path))
    harmless = 0
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert list(read_segment(path)) == commits
            harmless += 1
        except SegmentError as error:
            assert str(path) in str(error)  # noqa: PT017 (either is right)
    # Three members, each with a modification time, extra flags, operating system, the flag for text, and padding.
    assert harmless <= 3 * (32 + 8 + 8 + 1 + 7)


def member(*records: segment_pb2.Record | bytes) -> bytes:
    data = io.BytesIO()
    for record in records:
        encoded = record if isinstance(record, bytes) else record.SerializeToString()
        length = len(encoded)
        while length >= 128:
            data.write(bytes([length % 128 + 128]))
            length //= 128
        data.write(bytes([length]) + encoded)
    return gzip.compress(data.getvalue())


def header(format: int = 1, log_id: str = "log") -> segment_pb2.Record:
    return segment_pb2.Record(header=segment_pb2.SegmentHeader(format=format, log_id=log_id))


def commit(position: int = 1, **changed: Any) -> segment_pb2.Record:
    envelope = envelope_pb2.Envelope(
        commit_id=COMMIT_ID, first_version=changed.pop("first", 1), events=[stored_event(at=changed.pop("at", None))]
    )
    values: dict[str, Any] = {
        "category": "order",
        "id": "1",
        "recorded_at": 5,
        "envelope": envelope.SerializeToString(),
    }
    return segment_pb2.Record(commit=segment_pb2.SegmentCommit(position=position, **values | changed))


def footer(*commits: segment_pb2.Record, **changed: Any) -> segment_pb2.Record:
    digest = Digest()
    for record in commits:
        envelope = envelope_pb2.Envelope.FromString(record.commit.envelope)
        stream = StreamId(record.commit.category, record.commit.id)
        digest.add(RawCommit(stream, Position(1), 0, b""), envelope)
    values: dict[str, Any] = {
        "commits": digest.commits,
        "events": digest.events,
        "last_position": commits[-1].commit.position if commits else 0,
        "digest": digest.value,
    }
    return segment_pb2.Record(footer=segment_pb2.SegmentFooter(**values | changed))


GOOD = member(header()) + member(commit()) + member(footer(commit()))
EMPTY = member(header()) + member(footer())


def test_a_segment_by_hand(tmp_path: Path) -> None:
    """The files below differ from good ones in the one thing they show."""
    (tmp_path / "log.segment").write_bytes(GOOD)
    assert check_segment(tmp_path / "log.segment").commits == 1
    (tmp_path / "log.segment").write_bytes(EMPTY)
    assert check_segment(tmp_path / "log.segment").commits == 0


def segment_of(*commits: segment_pb2.Record) -> bytes:
    return member(header()) + member(*commits) + member(footer(*commits))


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "text": (b"not a segment\n" * 100, "byte 0: expected a segment, which is gzip data"),
    "database": (b"SQLite format 3\0" * 100, "byte 0: expected a segment"),
    "gzipped text": (gzip.compress(b"hello"), "record 1: expected 104 bytes, the gzip member has 4 left"),
    "format": (member(header(format=2)), "record 1: expected format 1, got 2"),
    "no log id": (member(header(log_id="")), "record 1: expected a header that names its log"),
    "no header": (member(commit()), "record 1: expected the header first"),
    "only footer": (member(footer()), "record 1: expected the header first"),
    "two headers": (member(header()) + member(header()), "record 2: expected no second header"),
    "shared header": (member(header(), commit()), "record 1: expected the header in a gzip member of its own"),
    "shared footer": (
        member(header()) + member(commit(), footer(commit())),
        "record 3: expected the footer in a gzip member of its own",
    ),
    "no footer": (member(header()) + member(commit()), "expected a footer: the file is cut off"),
    "trailing text": (GOOD + b"more", f"byte {len(GOOD)}: expected nothing after the footer"),
    "trailing zeros": (GOOD + bytes(512), "expected nothing after the footer"),
    "two segments": (GOOD + GOOD, "expected nothing after the footer"),
    "garbage within": (member(header()) + b"garbage", "the gzip member that begins here is damaged"),
    "empty record": (member(header()) + member(b""), "record 2: expected a header, a commit or a footer"),
    "unknown record": (member(header()) + member(b"\x22\x00"), "record 2: expected a header, a commit or a footer"),
    "no protobuf": (member(header()) + member(b"\xff\xff"), "record 2: expected a Record"),
    "record across members": (
        member(header()) + gzip.compress(b"\x50" + bytes(10)) + gzip.compress(bytes(70)),
        "record 2: expected 80 bytes, the gzip member has 10 left",
    ),
    "huge length": (member(header()) + gzip.compress(b"\xff\xff\xff\xff\x0fabc"), "expected 4,294,967,295 bytes"),
    "endless length": (member(header()) + gzip.compress(b"\xff" * 20), "record 2: expected its length"),
    "cut length": (member(header()) + gzip.compress(b"\xff"), "record 2: expected its length"),
    "zero position": (segment_of(commit(0)), "record 2: expected a position after 0, got 0"),
    "same position": (segment_of(commit(1), commit(1, id="2")), "record 3: expected a position after 1, got 1"),
    "huge position": (segment_of(commit(2**63)), "expected a position after 0"),
    "category": (member(header()) + member(commit(category="Ö")), "record 2: category: expected a token"),
    "id": (member(header()) + member(commit(id="a\nb")), "record 2: id: expected no control characters"),
    "envelope": (member(header()) + member(commit(envelope=b"garbage")), "record 2: position 1, stream order '1'"),
    "large envelope": (
        member(header()) + member(commit(envelope=bytes(MAX_ENVELOPE_BYTES + 100))),
        "record 2: expected an envelope of at most",
    ),
    "recorded time": (segment_of(commit(recorded_at=2**62)), "record 2: expected a time of the years 1 to 9999"),
    "occurred time": (segment_of(commit(at=-(2**62))), "record 2: expected a time of the years 1 to 9999"),
    "version gap": (segment_of(commit(1), commit(2, first=3)), "go on with version 2, got 3"),
    "version again": (segment_of(commit(1), commit(2)), "go on with version 2, got 1"),
    "count": (member(header()) + member(footer(commits=1)), "record 2: the footer says commits: 1; the file holds 0"),
    "events": (member(header()) + member(footer(events=1)), "the footer says events: 1"),
    "position": (member(header()) + member(footer(last_position=1)), "the footer says the last position: 1"),
    "digest": (
        member(header()) + member(commit()) + member(footer(commit(), digest=b"x")),
        "the footer says the digest",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_file(tmp_path: Path, name: str) -> None:
    """Whatever is wrong with a file is said with its place, and nothing of it is imported."""
    path = tmp_path / "log.segment"
    data, problem = BAD[name]
    path.write_bytes(data)
    async with memory() as store:
        with pytest.raises(SegmentError) as caught:
            await import_log(store, path)
        assert not await commits_of(store)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["one member", "many records", "garbage"])
def test_bombs_take_no_memory(tmp_path: Path, kind: str) -> None:
    """A file that promises gigabytes is refused in little memory."""
    path = tmp_path / "log.segment"
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    filler = {"one member": bytes(1_000_000), "many records": b"\x02\x22\x00" * 300_000, "garbage": b"\xff" * 1_000_000}
    with path.open("wb") as file:
        file.write(member(header()))
        for _ in range(200):
            file.write(compress.compress(filler[kind]))
        file.write(compress.flush())
    tracemalloc.start()
    try:
        with pytest.raises(SegmentError, match="expected a gzip member of at most"):
            check_segment(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000


def test_incremental_reading_stays_small(source: Path) -> None:
    """Reading a segment takes the memory of a few blocks, not of the file."""
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_segment(source / "log.segment")) == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000
