"""Logs as files: export and import, and what a file holds.

Export, import, backup and archive all go through here. A segment keeps every commit as its log held it: positions,
commit ids, recorded and occurred times, metadata. The format is in ``_segment_file``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from eventstore._digest import Digest
from eventstore._errors import Conflict, SegmentError, UnknownPosition
from eventstore._segment_file import FORMAT, Reading, Report, Writing, file_errors, salvaged, silent
from eventstore._values import Position, RawCommit, StreamId
from eventstore.raw import advance, brought, fill

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from os import PathLike

    from eventstore._store import EventStore
    from eventstore._values import NewCommit, Token

__all__ = [
    "FORMAT",
    "Report",
    "Segment",
    "Transfer",
    "check_segment",
    "export_log",
    "import_log",
    "read_segment",
    "silent",
]

# So many a thread reads at once.
_CHUNK_COMMITS: Final = 1_000
_CHUNK_BYTES: Final = 4 * 1024 * 1024


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


# Reading


def read_segment(path: str | PathLike[str]) -> Iterator[RawCommit]:
    """Yield the commits of a segment file in log order, with the positions of the log it was read from.

    Each block is checked before its commits are yielded; that the file is whole is known when the iteration has ended
    without an error.

    Raises:
        SegmentError: the file is no segment, damaged, or cut off; with the place and what was expected there.
    """
    for raw, _ in Reading(Path(path)).through(silent, ""):
        yield raw


def check_segment(path: str | PathLike[str], *, progress: Report = silent) -> Segment:
    """Read a whole segment file and return what it holds.

    Memory grows with the number of streams, by some 200 bytes each.

    Raises:
        SegmentError: the file is no segment, damaged, cut off, or has gaps in the versions of a stream.
    """
    reading = Reading(Path(path))
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


# Exporting


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[BinaryIO]:
    """Open an unfinished segment, or make one, for this process alone."""
    with file_errors(path), path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held the lock before may have finished the file and renamed it.
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise SegmentError(f"{path}: another export is writing this file")
        yield file


async def export_log(
    store: EventStore,
    path: str | PathLike[str],
    *,
    after: int | Token = 0,
    overwrite: bool = False,
    progress: Report = silent,
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
        found = await asyncio.to_thread(salvaged, file, partial, store.log_id, progress)
        await _check_found(store, found, start)
        already = found.digest.commits
        writing = Writing(file, found)
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


async def _check_found(store: EventStore, found: Reading, after: Position) -> None:
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


async def _write(store: EventStore, writing: Writing, *, after: Position, progress: Report) -> None:
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
    store: EventStore, source: str | PathLike[str] | Segment, *, progress: Report = silent
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
    position = await advance(held, store, progress=progress, step="compare")
    already = held.commits
    if already > segment.commits or (already == segment.commits and held.hexdigest != segment.digest):
        raise _other_history(segment, held)
    if already < segment.commits:
        await _append_rest(store, segment, held, progress)
        position = await advance(held, store, after=position, progress=progress, step="verify")
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


async def _append_rest(store: EventStore, segment: Segment, held: Digest, progress: Report) -> None:
    try:
        await fill(store, _lacking(segment, held, progress))
    except Conflict as conflict:
        problem = f"something else has written to the log meanwhile: {conflict}"
        raise SegmentError(f"{segment.path}: {problem}") from conflict


async def _lacking(segment: Segment, held: Digest, progress: Report) -> AsyncGenerator[Sequence[NewCommit], None]:
    chunks = _chunks(segment, held)
    done = held.commits
    while chunk := await asyncio.to_thread(next, chunks, None):
        yield chunk
        done += len(chunk)
        progress("import", done, segment.commits)


def _chunks(segment: Segment, held: Digest) -> Iterator[Sequence[NewCommit]]:
    """Yield what a log that holds the beginning of a file lacks."""
    reading = Reading(segment.path)
    chunk: list[NewCommit] = []
    size = 0
    for raw, envelope in reading.through(silent, ""):
        count = reading.digest.commits
        if count <= held.commits:
            if count == held.commits and reading.digest.value != held.value:
                raise _other_history(segment, held)
            continue
        chunk.append(brought(raw, envelope))
        size += len(raw.envelope)
        if len(chunk) == _CHUNK_COMMITS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
