"""The format of a segment file, which ``v1/segment.proto`` describes: its one writer and its one reader.

Compressed blocks are checked before anything in them is believed, and memory is bounded whatever a file claims.
"""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, TypeAlias

from google.protobuf import proto
from google.protobuf.message import DecodeError

from eventstore._digest import Digest
from eventstore._envelope import MAX_ENVELOPE_BYTES, parse
from eventstore._errors import CorruptCommit, InvalidInput, SegmentError
from eventstore._values import Position, RawCommit, StreamId, to_micros
from eventstore.v1 import segment_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

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
# What a datetime can tell: the years 1 to 9999.
_FIRST_MOMENT: Final = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST_MOMENT: Final = to_micros(datetime.max.replace(tzinfo=UTC))


def silent(step: str, done: int, total: int) -> None:
    """Report to nobody."""


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a SegmentError that names the file."""
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


class Reading:
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
        with file_errors(self.path), self.path.open("rb") as file:
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
        # Not ``proto.parse_length_prefixed``: it takes any varint of up to ten bytes for a length and hands what is cut
        # off to the parser, so that damage ends in one of several errors, none of which says what was expected where.
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


# Writing


class Writing:
    """Appends to an unfinished segment, of which it may have found a part."""

    def __init__(self, file: BinaryIO, found: Reading) -> None:
        self._file = file
        self._block = io.BytesIO()
        # Without the lengths before the records.
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
        proto.serialize_length_prefixed(record, self._block)
        self._bytes += record.ByteSize()

    def _flush(self) -> None:
        if self._bytes:
            self._file.write(zlib.compress(self._block.getvalue(), _LEVEL, _GZIP))
            self._file.flush()
            self._block = io.BytesIO()
            self._bytes = 0


def _stored(raw: RawCommit) -> segment_pb2.SegmentCommit:
    return segment_pb2.SegmentCommit(
        category=raw.stream.category,
        id=raw.stream.id,
        position=raw.position,
        recorded_at=raw.recorded_at,
        envelope=raw.envelope,
    )


# Going on with an unfinished file


def salvaged(file: BinaryIO, path: Path, log_id: str, report: Report) -> Reading:
    """Read what an interrupted export has left and cut off what came after its last complete block.

    Raises:
        SegmentError: the file is not what an export of this log has left; it is as it was.
    """
    reading = Reading(path)
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
