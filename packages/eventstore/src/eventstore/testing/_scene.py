"""What the cases of the contracts are made of: a log to work on, commits to put into it, and a way to run."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from eventstore._envelope import new_commit_id, seal
from eventstore._values import Appended, NewCommit, Position, Progress, RawCommit, StreamId, Version
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from eventstore._backend import Backend

T = TypeVar("T")


class Runs(Protocol):
    """What a contract says about how its cases run."""

    #: A case that has not ended after so many seconds has failed: something promised never came.
    patience: float
    #: Makes the event loop of each case; None is asyncio's own.
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None


def run(contract: Runs, body: Coroutine[object, object, None]) -> None:
    """Run a case to its end, in a loop of its own, so that no pytest plugin is needed."""

    async def bounded() -> None:
        try:
            async with asyncio.timeout(contract.patience) as limit:
                await body
        except TimeoutError:
            if not limit.expired():
                raise
            raise AssertionError(f"something promised did not come within {contract.patience:g} s") from None

    with asyncio.Runner(loop_factory=contract.loop_factory) as runner:
        runner.run(bounded())


def commit(
    stream: StreamId,
    expected: int = 0,
    count: int = 1,
    *,
    commit_id: bytes | None = None,
    recorded_at: int | None = None,
    padding: int = 0,
) -> NewCommit:
    """Return a commit of so many events, whose payloads say which version each makes."""
    envelope = envelope_pb2.Envelope(commit_id=commit_id or new_commit_id(), recorded_at=recorded_at)
    for version in range(expected + 1, expected + count + 1):
        payload = f"{version}".encode() + bytes(padding)
        envelope.events.add(type="eventstore.testing.Fact", schema=1, payload=payload)
    return seal(stream, expected, envelope)


async def flat(chunks: AsyncIterator[Sequence[T]]) -> list[T]:
    """Return everything that comes in chunks, none of which may be empty."""
    found: list[T] = []
    async for chunk in chunks:
        assert chunk, "an empty chunk"
        found.extend(chunk)
    return found


@contextlib.asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an iterator at the end where it can be closed."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


#: When the first commits of an empty log were recorded elsewhere.
_LONG_AGO: Final = 1_600_000_000_000_000


class Scene:
    """Where one case works: a log that others may use at the same time, and streams that nobody else uses."""

    def __init__(self, make: Callable[[], Backend], handles: contextlib.AsyncExitStack, *, lasting: bool) -> None:
        self._make = make
        self._handles = handles
        self._lasting = lasting
        self.category: Final = f"c{uuid.uuid4().hex}"

    async def begin(self) -> None:
        """Open the first handle and see where the log ends."""
        #: The handle that most cases need.
        self.log = await self._handles.enter_async_context(self._make())
        #: The head when the case began.
        self.start = await self.log.head()
        last = await flat(self.log.log(after=Position(self.start - 1))) if self.start else []
        #: No commit before the case was recorded after this.
        self.start_time = last[0].recorded_at if last else _LONG_AGO

    def make(self) -> Backend:
        """Return a backend that is not open."""
        return self._make()

    async def other(self) -> Backend:
        """Return another handle on the log; the first one where a log lives in its handle."""
        if not self._lasting:
            return self.log
        return await self._handles.enter_async_context(self._make())

    def stream(self, id: str = "1") -> StreamId:
        """Return a stream of this case."""
        return StreamId(self.category, id)

    async def fill(self, stream: StreamId, commits: int, *, count: int = 1, padding: int = 0) -> list[Appended]:
        """Append commits of equal size to a stream that does not exist yet, without awaiting each."""
        news = [commit(stream, number * count, count, padding=padding) for number in range(commits)]
        return await asyncio.gather(*(self.log.append(new) for new in news))

    async def everything(self, log: Backend | None = None) -> list[RawCommit]:
        """Return what the log has got since the case began, by whomever."""
        return await flat((log or self.log).log(after=self.start))

    async def mine(self, log: Backend | None = None) -> list[RawCommit]:
        """Return what this case has put into the log."""
        return [raw for raw in await self.everything(log) if self.is_mine(raw)]

    def is_mine(self, raw: RawCommit) -> bool:
        """Say whether this case made a commit."""
        return raw.stream.category == self.category

    async def read(self, stream: StreamId, after: int = 0, log: Backend | None = None) -> list[RawCommit]:
        """Return a stream's commits."""
        return await flat((log or self.log).read(stream, after=Version(after)))

    async def follow(
        self, log: Backend | None = None, *, after: int | None = None
    ) -> AsyncIterator[RawCommit | Progress]:
        """Follow the log from where the case began, giving this case's commits and all progress.

        Fails as soon as the follow falls back behind what it has already given.
        """
        seen: int = self.start if after is None else after
        async with closing((log or self.log).follow(after=Position(seen))) as following:
            async for found in following:
                if isinstance(found, Progress):
                    assert found.position >= seen, "progress fell back"
                    seen = found.position
                    yield found
                    continue
                assert found, "an empty chunk"
                for raw in found:
                    assert raw.position > seen, "a commit at or before a position that was already reached"
                    seen = raw.position
                    if self.is_mine(raw):
                        yield raw

    async def follow_until(
        self, reached: Callable[[Progress], bool], log: Backend | None = None, *, after: int | None = None
    ) -> list[RawCommit]:
        """Return this case's commits that a follow gives before a progress of which something is true."""
        found: list[RawCommit] = []
        async with closing(self.follow(log, after=after)) as following:
            async for item in following:
                if isinstance(item, RawCommit):
                    found.append(item)
                elif reached(item):
                    break
        return found


async def next_commit(following: AsyncIterator[RawCommit | Progress]) -> RawCommit:
    """Return the next commit of a follow."""
    async for item in following:
        if isinstance(item, RawCommit):
            return item
    raise AssertionError("the follow ended")


async def next_progress(following: AsyncIterator[RawCommit | Progress]) -> Progress:
    """Return the next progress of a follow that has reached the end."""
    async for item in following:
        if isinstance(item, Progress) and item.caught_up:
            return item
    raise AssertionError("the follow ended")
