"""Cases about reading: one stream, and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from eventstore._errors import UnknownPosition
from eventstore._values import Position, RawCommit, Version
from eventstore.testing._contract import Contract, case
from eventstore.testing._scene import Scene, commit, flat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

#: More than any chunk of a few hundred, and more than four megabytes.
_MANY: Final = 350
_LARGE: Final = 900_000


class Streams(Contract):
    """Reading one stream."""

    @case
    async def test_stream_missing(self, scene: Scene) -> None:
        """Reading a stream that does not exist gives nothing."""
        await scene.log.append(commit(scene.stream("1")))
        assert await scene.read(scene.stream("2")) == []

    @case
    async def test_stream_after_each_version(self, scene: Scene) -> None:
        """Reading after a version gives the commits that hold a later event, the one around it included."""
        stream, ends = scene.stream(), [3, 4, 6, 10]
        for expected, end in zip([0, *ends], ends, strict=False):
            await scene.log.append(commit(stream, expected, end - expected))
        everything = await scene.read(stream)
        assert len(everything) == 4
        for after in range(12):
            first = sum(end <= after for end in ends)
            assert everything[first:] == await scene.read(stream, after)

    @case
    async def test_stream_of_many_commits(self, scene: Scene) -> None:
        """A long stream is read whole from any version, nothing skipped or repeated where chunks meet."""
        stream = scene.stream()
        positions = [answer.position for answer in await scene.fill(stream, _MANY, count=2)]
        for after in (0, 1, 99, 199, 200, 201, 256, 399, 400, 512, 699, 700):
            assert positions[after // 2 :] == [raw.position for raw in await scene.read(stream, after)]

    @case
    async def test_stream_of_many_bytes(self, scene: Scene) -> None:
        """A stream of large commits is read whole."""
        stream = scene.stream()
        positions = [answer.position for answer in await scene.fill(stream, 12, padding=_LARGE)]
        found = await scene.read(stream)
        assert positions == [raw.position for raw in found]
        assert all(len(raw.envelope) > _LARGE for raw in found)

    @case
    async def test_stream_grows_while_read(self, scene: Scene) -> None:
        """A stream that grows while it is read is read without a gap."""
        stream = scene.stream()
        await scene.fill(stream, _MANY)
        found: list[RawCommit] = []
        async for chunk in scene.log.read(stream, after=Version(0)):
            if not found:
                await scene.log.append(commit(stream, _MANY))
            found += chunk
        assert len(found) in (_MANY, _MANY + 1)
        assert (await scene.read(stream))[: len(found)] == found


class Log(Contract):
    """Reading the log."""

    @case
    async def test_log_after_each_position(self, scene: Scene) -> None:
        """Reading after a position gives what comes after it, then stops."""
        await scene.fill(scene.stream("1"), 3, count=2)
        await scene.fill(scene.stream("2"), 2)
        mine = await scene.mine()
        assert len(mine) == 5
        for number, raw in enumerate(mine, 1):
            later = await flat(scene.log.log(after=raw.position))
            assert mine[number:] == [found for found in later if scene.is_mine(found)]

    @case
    async def test_log_of_many_commits(self, scene: Scene) -> None:
        """A long log is read whole, nothing skipped or repeated where chunks meet."""
        positions = [answer.position for answer in await scene.fill(scene.stream(), _MANY)]
        assert positions == [raw.position for raw in await scene.mine()]

    @case
    async def test_log_of_many_bytes(self, scene: Scene) -> None:
        """A log of large commits is read whole."""
        positions = [answer.position for answer in await scene.fill(scene.stream(), 12, padding=_LARGE)]
        found = await scene.mine()
        assert positions == [raw.position for raw in found]
        assert all(len(raw.envelope) > _LARGE for raw in found)

    @case
    async def test_chunks_are_bounded(self, scene: Scene) -> None:
        """However long the log and the stream, a chunk is not."""
        await scene.fill(scene.stream(), self.chunk_commits + 100)
        assert self.chunk_commits >= await _largest(scene.log.log(after=scene.start))
        assert self.chunk_commits >= await _largest(scene.log.read(scene.stream(), after=Version(0)))

    @case
    async def test_head(self, scene: Scene) -> None:
        """The head is the position of the last commit, so nothing comes after it."""
        for expected in range(3):
            answer = await scene.log.append(commit(scene.stream(), expected))
            head = await scene.log.head()
            assert answer.position <= head
            assert head in [raw.position for raw in await scene.everything()]
            assert [raw for raw in await flat(scene.log.log(after=head)) if scene.is_mine(raw)] == []

    @case
    async def test_unknown_position(self, scene: Scene) -> None:
        """A position beyond the head is refused with UnknownPosition, by the log and by following it."""
        await scene.log.append(commit(scene.stream()))
        beyond = Position(await scene.log.head() + 1_000_000)
        with pytest.raises(UnknownPosition) as unknown:
            await flat(scene.log.log(after=beyond))
        assert beyond == unknown.value.position
        assert scene.start < unknown.value.head < beyond
        with pytest.raises(UnknownPosition):
            await scene.follow_until(lambda _: True, after=beyond)


async def _largest(chunks: AsyncIterator[Sequence[RawCommit]]) -> int:
    return max([len(chunk) async for chunk in chunks])
