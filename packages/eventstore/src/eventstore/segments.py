"""Logs as files: the one writer and the one reader of the segment format that ``v1/segment.proto`` describes.

Export, import, backup and archive all go through here. A segment keeps every commit as its log held it: positions,
commit ids, recorded and occurred times, metadata. Compressed blocks are checked before anything in them is believed,
and memory is bounded whatever a file claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, TypeAlias

import msgspec
from google.protobuf.message import DecodeError

from eventstore._digest import Digest, advance
from eventstore._errors import Conflict, CorruptCommit, InvalidInput, SegmentError, UnknownPosition
from eventstore._events import MAX_ENVELOPE_BYTES, parse
from eventstore._values import NewCommit, Position, RawCommit, StreamId, Version, to_micros
from eventstore.v1 import segment_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    from eventstore._store import EventStore
    from eventstore._values import Token
    from eventstore.v1 import envelope_pb2

Report: TypeAlias = Callable[[str, int, int], None]
"""Called as work goes on: what is being done, how far it is, and where it ends, in a unit of the step's own.

It may be called from another thread, one call at a time.
"""

FORMAT: Final = 1
_BLOCK_BYTES: Final = 1024 * 1024
_MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
# An import adds the recorded time to an envelope that may be at the limit: a byte for the tag, ten for the number.
_MAX_ENVELOPE: Final = MAX_ENVELOPE_BYTES + 11
_READ_BYTES: Final = 64 * 1024
_GZIP: Final = 31
_GZIP_MAGIC: Final = b"\x1f\x8b"
_LEVEL: Final = 6
# No header is longer, so a longer file without one was never ours to cut.
_MAX_HEADER_BYTES: Final = 1024
_MAX_VARINT_BYTES: Final = 5
_MORE: Final = 0x80
_MAX_POSITION: Final = 2**63 - 1
_CACHED_STREAMS: Final = 65_536
# As many as one transaction of the SQLite backend takes, so that a window is stored whole or not at all.
_WINDOW_COMMITS: Final = 1_000
_WINDOW_BYTES: Final = 4 * 1024 * 1024


# What a datetime can tell: the years 1 to 9999.
_FIRST_MOMENT: Final = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST_MOMENT: Final = to_micros(datetime.max.replace(tzinfo=UTC))


class Segment(msgspec.Struct, frozen=True):
    """What a whole, undamaged segment file holds."""

    path: Path
    #: The log it was read from.
    log_id: str
    commits: int
    events: int
    #: Position of the last commit, 0 when there is none.
    position: int
    #: The hexadecimal digits of its ``Digest``.
    digest: str
    #: A stream whose first commit is not in the file: it holds a later piece of a log, not its beginning.
    lacks_start_of: StreamId | None = None


class Transfer(msgspec.Struct, frozen=True):
    """What an export or import did."""

    #: The log that was exported, or written to.
    log_id: str
    #: Commits and events in the file.
    commits: int
    events: int
    #: How many of the commits were there already when it began: left by an earlier run that was interrupted.
    already: int
    #: Position of the file's last commit in the log, 0 when there is none.
    position: int
    #: The hexadecimal digits of the file's ``Digest``.
    digest: str


def _silent(step: str, done: int, total: int) -> None:
    """Report to nobody."""


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SegmentError(f"{path}: {error.strerror or error}") from error


# Reading


class _Block(NamedTuple):
    """The content of one gzip member, and where in the file that stands."""

    start: int
    end: int
    data: bytes


class _Blocks:
    """Decompresses a file member by member; each comes whole, with its checksum verified."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._pending = b""
        self._at = 0
        self.size = os.fstat(file.fileno()).st_size

    def __iter__(self) -> Iterator[_Block]:
        while self.more():
            start = self._at
            data = self._inflate(start)
            yield _Block(start, self._at, data)

    def more(self) -> bool:
        """Say whether the file goes on."""
        if not self._pending:
            self._pending = self._file.read(_READ_BYTES)
        return bool(self._pending)

    def _inflate(self, start: int) -> bytes:
        inflate = zlib.decompressobj(_GZIP)
        parts: list[bytes] = []
        room = _MAX_BLOCK_BYTES + 1
        while not inflate.eof:
            if not self.more():
                raise SegmentError(f"{self._path}: byte {self._at}: the file ends within a gzip member: it is cut off")
            compressed = self._pending
            try:
                data = inflate.decompress(compressed, room)
            except zlib.error as error:
                raise self._damaged(start, error) from None
            self._pending = inflate.unused_data or inflate.unconsumed_tail
            self._at += len(compressed) - len(self._pending)
            room -= len(data)
            if not room:
                raise SegmentError(
                    f"{self._path}: byte {start}: expected a gzip member of at most {_MAX_BLOCK_BYTES:,} bytes"
                )
            parts.append(data)
        return b"".join(parts)

    def _damaged(self, start: int, error: zlib.error) -> SegmentError:
        expected = "the gzip member that begins here is damaged" if start else "expected a segment, which is gzip data"
        return SegmentError(f"{self._path}: byte {start}: {expected} ({str(error).rpartition(': ')[2]})")


class _Reading:
    """One pass over a segment, which knows afterwards, or in between, what it has read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_id = ""
        self.digest = Digest()
        self.first: RawCommit | None = None
        self.last: RawCommit | None = None
        self.finished = False
        self._records = 0
        self._streams: dict[tuple[str, str], StreamId] = {}

    def through(self, report: Report, step: str) -> Iterator[tuple[RawCommit, envelope_pb2.Envelope]]:
        """Yield the commits of a finished segment, each with its envelope parsed.

        Raises:
            SegmentError: the file is no segment, or not a whole and undamaged one.
        """
        with _file_errors(self.path), self.path.open("rb") as file:
            blocks = _Blocks(file, self.path)
            for block in blocks:
                yield from self.feed(block)
                report(step, block.end, blocks.size)
                if self.finished and blocks.more():
                    raise SegmentError(f"{self.path}: byte {block.end}: expected nothing after the footer")
            if not blocks.size:
                raise SegmentError(f"{self.path}: the file is empty")
            if not self.finished:
                raise SegmentError(f"{self.path}: byte {blocks.size}: expected a footer: the file is cut off")

    def feed(self, block: _Block) -> Iterator[tuple[RawCommit, envelope_pb2.Envelope]]:
        """Take the next block and yield its commits."""
        at = 0
        while at < len(block.data):
            self._records += 1
            start, end = self._bounds(block.data, at)
            alone = at == 0 and end == len(block.data)
            try:
                record = segment_pb2.Record.FromString(block.data[start:end])
            except DecodeError:
                raise self._error("expected a Record, got other bytes") from None
            kind = record.WhichOneof("kind")
            if (kind == "header") != (self._records == 1):
                raise self._error(f"expected {'the header first' if self._records == 1 else 'no second header'}")
            if kind == "commit":
                yield self._commit(record.commit)
            elif kind is None:
                raise self._error("expected a header, a commit or a footer, got none of them")
            elif not alone:
                raise self._error(f"expected the {kind} in a gzip member of its own")
            elif kind == "header":
                self._check_header(record.header)
            else:
                self._check_footer(record.footer)
            at = end

    def _error(self, problem: str) -> SegmentError:
        return SegmentError(f"{self.path}: record {self._records}: {problem}")

    def _bounds(self, data: bytes, at: int) -> tuple[int, int]:
        """Read the length that precedes a record and return where the record begins and ends."""
        length = 0
        for index, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
            length |= (byte & ~_MORE) << 7 * index
            if not byte & _MORE:
                start = at + index + 1
                if start + length > len(data):
                    raise self._error(f"expected {length:,} bytes, the gzip member has {len(data) - start:,} left")
                return start, start + length
        raise self._error("expected its length, a varint")

    def _check_header(self, header: segment_pb2.SegmentHeader) -> None:
        if header.format != FORMAT:
            raise self._error(f"expected format {FORMAT}, got {header.format}")
        if not header.log_id:
            raise self._error("expected a header that names its log")
        self.log_id = header.log_id

    def _commit(self, stored: segment_pb2.SegmentCommit) -> tuple[RawCommit, envelope_pb2.Envelope]:
        before = self.last.position if self.last else 0
        if not before < stored.position <= _MAX_POSITION:
            raise self._error(f"expected a position after {before}, got {stored.position}")
        self._check_moment(stored.recorded_at)
        if len(stored.envelope) > _MAX_ENVELOPE:
            raise self._error(f"expected an envelope of at most {_MAX_ENVELOPE:,} bytes, got {len(stored.envelope):,}")
        raw = RawCommit(
            self._stream(stored.category, stored.id), Position(stored.position), stored.recorded_at, stored.envelope
        )
        try:
            envelope = parse(raw)
        except CorruptCommit as error:
            raise self._error(str(error)) from None
        self.digest.add(raw, envelope)
        self.first, self.last = self.first or raw, raw
        return raw, envelope

    def _stream(self, category: str, name: str) -> StreamId:
        found = self._streams.get((category, name))
        if found is None:
            if len(self._streams) >= _CACHED_STREAMS:
                self._streams.clear()
            try:
                found = self._streams[category, name] = StreamId(category, name)
            except InvalidInput as error:
                raise self._error(str(error)) from None
        return found

    def _check_moment(self, micros: int) -> None:
        if not _FIRST_MOMENT <= micros <= _LAST_MOMENT:
            raise self._error(f"expected a time of the years 1 to 9999 in microseconds since 1970, got {micros}")

    def check_events(self, envelope: envelope_pb2.Envelope) -> None:
        """Check what a log never refuses but a reader would stumble over."""
        for stored in envelope.events:
            if stored.HasField("occurred_at"):
                self._check_moment(stored.occurred_at)

    def check_version(self, versions: dict[StreamId, int], raw: RawCommit, envelope: envelope_pb2.Envelope) -> None:
        """Check that a commit goes on where its stream ended, and move that end."""
        expected = versions.get(raw.stream)
        first = envelope.first_version
        if expected is not None and first != expected + 1:
            raise self._error(f"expected stream {raw.stream} to go on with version {expected + 1}, got {first}")
        versions[raw.stream] = first - 1 + len(envelope.events)

    def _check_footer(self, footer: segment_pb2.SegmentFooter) -> None:
        digest = self.digest
        found = {
            "commits": (footer.commits, digest.commits),
            "events": (footer.events, digest.events),
            "the last position": (footer.last_position, self.last.position if self.last else 0),
            "the digest": (footer.digest.hex(), digest.hexdigest),
        }
        for what, (expected, actual) in found.items():
            if expected != actual:
                raise self._error(f"the footer says {what}: {expected}; the file holds {actual}")
        self.finished = True


def read_segment(path: str | PathLike[str]) -> Iterator[RawCommit]:
    """Yield the commits of a segment file in log order, with the positions of the log it was read from.

    Each block is checked before its commits are yielded; that the file is whole is known when the iteration has ended
    without an error.

    Raises:
        SegmentError: the file is no segment, damaged, or cut off; with the place and what was expected there.
    """
    for raw, _ in _Reading(Path(path)).through(_silent, ""):
        yield raw


def check_segment(path: str | PathLike[str], *, progress: Report = _silent) -> Segment:
    """Read a whole segment file and return what it holds.

    Memory grows with the number of streams, by some 200 bytes each.

    Raises:
        SegmentError: the file is no segment, damaged, cut off, or has gaps in the versions of a stream.
    """
    reading = _Reading(Path(path))
    versions: dict[StreamId, int] = {}
    lacking: StreamId | None = None
    for raw, envelope in reading.through(progress, "check file"):
        if lacking is None and envelope.first_version != 1 and raw.stream not in versions:
            lacking = raw.stream
        reading.check_version(versions, raw, envelope)
        reading.check_events(envelope)
    digest = reading.digest
    last = reading.last.position if reading.last else 0
    return Segment(reading.path, reading.log_id, digest.commits, digest.events, last, digest.hexdigest, lacking)


# Writing


class _Writing:
    """Appends to an unfinished segment, of which it may have found a part."""

    def __init__(self, file: BinaryIO, found: _Reading) -> None:
        self._file = file
        self._records: list[bytes] = []
        self._bytes = 0
        self.digest = found.digest
        self.position = found.last.position if found.last else Position(0)

    def add(self, commits: Iterable[RawCommit]) -> None:
        """Write commits, now or when a block is full.

        Raises:
            CorruptCommit: stored bytes are no envelope.
        """
        for raw in commits:
            self.digest.add(raw, parse(raw))
            self._put(segment_pb2.Record(commit=_stored(raw)))
            self.position = raw.position
            if self._bytes >= _BLOCK_BYTES:
                self._flush()

    def start(self, log_id: str) -> None:
        """Write the header."""
        self._put(segment_pb2.Record(header=segment_pb2.SegmentHeader(format=FORMAT, log_id=log_id)))
        self._flush()

    def finish(self) -> None:
        """Write what is left and the footer, and make the disk keep it."""
        self._flush()
        footer = segment_pb2.SegmentFooter(
            commits=self.digest.commits,
            events=self.digest.events,
            last_position=self.position,
            digest=self.digest.value,
        )
        self._put(segment_pb2.Record(footer=footer))
        self._flush()
        os.fsync(self._file.fileno())

    def _put(self, record: segment_pb2.Record) -> None:
        encoded = record.SerializeToString(deterministic=True)
        self._records += (_varint(len(encoded)), encoded)
        self._bytes += len(encoded)

    def _flush(self) -> None:
        if self._records:
            self._file.write(zlib.compress(b"".join(self._records), _LEVEL, _GZIP))
            self._file.flush()
            self._records.clear()
            self._bytes = 0


def _stored(raw: RawCommit) -> segment_pb2.SegmentCommit:
    return segment_pb2.SegmentCommit(
        category=raw.stream.category,
        id=raw.stream.id,
        position=raw.position,
        recorded_at=raw.recorded_at,
        envelope=raw.envelope,
    )


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= _MORE:
        encoded.append(number & 0xFF | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[BinaryIO]:
    """Open an unfinished segment, or make one, for this process alone."""
    with _file_errors(path), path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held the lock before may have finished the file and renamed it.
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise SegmentError(f"{path}: another export is writing this file")
        yield file


def _found(file: BinaryIO, path: Path, log_id: str, report: Report) -> _Reading:
    """Read what an interrupted export has left and cut off what came after its last complete block.

    Raises:
        SegmentError: the file is not what an export of this log has left; it is as it was.
    """
    reading = _Reading(path)
    _refuse_foreign(file, path)
    blocks = _Blocks(file, path)
    end = 0
    for block in _complete(blocks):
        for _ in reading.feed(block):
            pass
        report("check what is there", block.end, blocks.size)
        if reading.finished:
            break
        end = block.end
    if reading.log_id not in ("", log_id):
        raise SegmentError(f"{path}: an unfinished export of log {reading.log_id}, not of {log_id}; remove it first")
    if not reading.log_id and blocks.size > _MAX_HEADER_BYTES:
        raise SegmentError(f"{path}: expected an unfinished export, got one that is damaged at its start; remove it")
    file.truncate(end)
    return reading


def _refuse_foreign(file: BinaryIO, path: Path) -> None:
    """Refuse a file that was never ours to cut."""
    file.seek(0)
    if not _GZIP_MAGIC.startswith(file.read(len(_GZIP_MAGIC))):
        raise SegmentError(f"{path}: expected an unfinished export, got another file: move it out of the way")
    file.seek(0)


def _complete(blocks: _Blocks) -> Iterator[_Block]:
    """Yield blocks up to the first that is incomplete or damaged."""
    with contextlib.suppress(SegmentError):
        yield from blocks


async def export_log(
    store: EventStore,
    path: str | PathLike[str],
    *,
    after: int | Token = 0,
    overwrite: bool = False,
    progress: Report = _silent,
) -> Transfer:
    """Write a log to a segment file, up to the head that it has at the call.

    The work is done in ``<path>.partial``, which takes the name at the end, synced to the disk. When it is interrupted,
    the next call with the same arguments goes on where it was.

    Args:
        store: the store to read.
        path: the file to make.
        after: only the commits after this position. A log can be built only from a file of its beginning.
        overwrite: replace a finished file of this name.
        progress: called as work goes on.

    Raises:
        SegmentError: the file exists, cannot be written, or what is left of an earlier export is of another log.
        CorruptCommit: stored bytes are no envelope; with their position.
        WrongLog: ``after`` is a token of another log.
        UnknownPosition: the log has not reached ``after``.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.partial")
    start = store.checked(after)
    _refuse_existing(target, overwrite=overwrite)
    with _unfinished(partial) as file:
        found = await asyncio.to_thread(_found, file, partial, store.log_id, progress)
        await _check_found(store, found, start)
        already = found.digest.commits
        writing = _Writing(file, found)
        if not found.log_id:
            writing.start(store.log_id)
        await _write(store, writing, after=max(start, writing.position), progress=progress)
        await asyncio.to_thread(writing.finish)
        _refuse_existing(target, overwrite=overwrite)
        await asyncio.to_thread(_rename, partial, target)
    digest = writing.digest
    return Transfer(store.log_id, digest.commits, digest.events, already, writing.position, digest.hexdigest)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise SegmentError(f"{path}: expected the name of a file, got a folder")
    if path.exists() and not overwrite:
        raise SegmentError(f"{path}: the file exists already")


async def _check_found(store: EventStore, found: _Reading, after: Position) -> None:
    """Check that what an earlier export has left begins and ends as the log does after a position."""
    if found.first is None or found.last is None:
        return
    try:
        first = await _first_after(store, after)
        last = await _first_after(store, Position(found.last.position - 1))
    except UnknownPosition:
        last = None
    if first != found.first or last != found.last:
        raise SegmentError(
            f"{found.path}: an unfinished export of other commits than those after position {after}; remove it first"
        )


async def _first_after(store: EventStore, position: Position) -> RawCommit | None:
    async for chunk in store.backend.log(after=position):
        return chunk[0]
    return None


async def _write(store: EventStore, writing: _Writing, *, after: Position, progress: Report) -> None:
    head = await store.backend.head()
    async for chunk in store.backend.log(after=after):
        wanted = chunk if chunk[-1].position <= head else [raw for raw in chunk if raw.position <= head]
        await asyncio.to_thread(writing.add, wanted)
        progress("export", writing.position, head)
        if len(wanted) < len(chunk):
            return


def _rename(source: Path, target: Path) -> None:
    source.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# Importing


async def import_log(
    store: EventStore, source: str | PathLike[str] | Segment, *, progress: Report = _silent
) -> Transfer:
    """Append to a log what a segment file holds, so that the two say the same.

    The file is checked as a whole first. The log must be empty or hold the file's beginning, which is what an
    interrupted import leaves: calling again goes on from there. Commits keep their ids, times and metadata; the log's
    positions are its own. At the end the log is read back and compared.

    Nobody else may write to the log meanwhile. When an append fails in a backend that may have stored a later one, the
    log is not the file's beginning any more, and the next call says so: begin again with a new log.

    Args:
        store: the store to write to; its codec is not needed.
        source: the file, or what ``check_segment`` has found in it, which spares a second check.
        progress: called as work goes on.

    Raises:
        SegmentError: the file is no segment, damaged, or not from a log's beginning; or the log holds something else
            than the file's beginning. Nothing was written. Or another writer came between.
        StoreUnavailable: the store could not be written; call again.
    """
    if isinstance(source, Segment):
        segment = source
    else:
        segment = await asyncio.to_thread(check_segment, source, progress=progress)
    if segment.lacks_start_of is not None:
        raise SegmentError(
            f"{segment.path}: expected a log from its beginning; stream {segment.lacks_start_of} began before"
        )
    held = Digest()
    position = await _advance(held, store, Position(0), progress, "compare")
    already = held.commits
    if already > segment.commits or (already == segment.commits and held.hexdigest != segment.digest):
        raise _other_history(segment, held)
    if already < segment.commits:
        await _append_rest(store, segment, held, progress)
        position = await _advance(held, store, position, progress, "verify")
    if (held.commits, held.hexdigest) != (segment.commits, segment.digest):
        raise SegmentError(
            f"{segment.path}: after the import the log holds {held.commits:,} commits with digest {held.hexdigest},"
            f" expected {segment.commits:,} with {segment.digest}: something else has written to it"
        )
    return Transfer(store.log_id, segment.commits, segment.events, already, position, segment.digest)


def _other_history(segment: Segment, held: Digest) -> SegmentError:
    return SegmentError(
        f"{segment.path}: expected a log that is empty or holds the beginning of this file's {segment.commits:,}"
        f" commits; it holds {held.commits:,}, with digest {held.hexdigest}"
    )


async def _advance(digest: Digest, store: EventStore, after: Position, progress: Report, step: str) -> Position:
    head = await store.backend.head()
    return await advance(digest, store, after=after, report=lambda position: progress(step, position, head))


async def _append_rest(store: EventStore, segment: Segment, held: Digest, progress: Report) -> None:
    windows = _windows(segment, held)
    done = held.commits
    while window := await asyncio.to_thread(next, windows, None):
        await _append(store, segment, window)
        done += len(window)
        progress("import", done, segment.commits)


def _windows(segment: Segment, held: Digest) -> Iterator[Sequence[NewCommit]]:
    """Yield what a log that holds the beginning of a file lacks."""
    reading = _Reading(segment.path)
    window: list[NewCommit] = []
    size = 0
    for raw, envelope in reading.through(_silent, ""):
        count = reading.digest.commits
        if count <= held.commits:
            if count == held.commits and reading.digest.value != held.value:
                raise _other_history(segment, held)
            continue
        window.append(_imported(raw, envelope))
        size += len(raw.envelope)
        if len(window) == _WINDOW_COMMITS or size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _imported(raw: RawCommit, envelope: envelope_pb2.Envelope) -> NewCommit:
    envelope.recorded_at = raw.recorded_at
    return NewCommit(
        raw.stream,
        Version(envelope.first_version - 1),
        len(envelope.events),
        envelope.commit_id,
        envelope.SerializeToString(deterministic=True),
        raw.recorded_at,
    )


async def _append(store: EventStore, segment: Segment, window: Sequence[NewCommit]) -> None:
    answers = await asyncio.gather(*map(store.backend.append, window), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, Conflict):
            raise SegmentError(f"{segment.path}: something else has written to the log meanwhile: {answer}") from answer
        if isinstance(answer, BaseException):
            raise answer
