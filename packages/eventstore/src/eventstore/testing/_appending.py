"""Cases about appending: atomicity, order, numbering, visibility, idempotency, and what handles do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import pytest

from eventstore._envelope import MAX_ENVELOPE_BYTES
from eventstore._errors import Conflict, StoreClosed
from eventstore._values import Appended, Position, StreamId, StreamInfo, Tail, Version
from eventstore.testing._contract import Contract, case
from eventstore.testing._scene import Scene, commit, flat, next_commit, next_progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from eventstore._backend import Backend


async def _refused(
    scene: Scene, stream: StreamId, *, expected: int, actual: int, commit_id: bytes | None = None
) -> None:
    """Append at a wrong version and see the right refusal."""
    with pytest.raises(Conflict) as refusal:
        await scene.log.append(commit(stream, expected, commit_id=commit_id))
    found = refusal.value
    assert (stream, expected, actual) == (found.stream, found.expected, found.actual)


class Numbering(Contract):
    """A stream's version is the number of its events; positions rise."""

    @case
    async def test_first_append(self, scene: Scene) -> None:
        """The first commit makes its stream's version the number of its events."""
        answer = await scene.log.append(commit(scene.stream(), count=3))
        assert Appended(scene.log.log_id, Version(3), answer.position) == answer

    @case
    async def test_versions_add_up(self, scene: Scene) -> None:
        """A commit of n events expected at v makes the version v + n, in each stream by itself."""
        one, two = scene.stream("1"), scene.stream("2")
        answers = [
            await scene.log.append(commit(one, 0, 2)),
            await scene.log.append(commit(two, 0, 5)),
            await scene.log.append(commit(one, 2, 1)),
            await scene.log.append(commit(two, 5, 2)),
        ]
        assert [answer.version for answer in answers] == [2, 5, 3, 7]

    @case
    async def test_positions_rise(self, scene: Scene) -> None:
        """Positions start at 1 or later and rise strictly, whichever the stream."""
        answers = [await scene.log.append(commit(scene.stream(f"{number}"), count=2)) for number in range(5)]
        positions = [answer.position for answer in answers]
        assert sorted(set(positions)) == positions
        assert scene.start < positions[0]
        assert positions[0] >= 1

    @case
    async def test_tail(self, scene: Scene) -> None:
        """The tail of a stream is its version and the position of its last commit."""
        stream = scene.stream()
        for expected, count in ((0, 2), (2, 3), (5, 1)):
            answer = await scene.log.append(commit(stream, expected, count))
            assert Tail(answer.version, answer.position) == await scene.log.tail(stream)

    @case
    async def test_no_stream(self, scene: Scene) -> None:
        """A stream without events has version 0 and position 0."""
        await scene.log.append(commit(scene.stream("1")))
        assert Tail(Version(0), Position(0)) == await scene.log.tail(scene.stream("2"))

    @case
    async def test_expected_past(self, scene: Scene) -> None:
        """A commit expected at an earlier version is refused with the actual one."""
        stream = scene.stream()
        await scene.fill(stream, 3)
        await _refused(scene, stream, expected=2, actual=3)
        await _refused(scene, stream, expected=0, actual=3)

    @case
    async def test_expected_future(self, scene: Scene) -> None:
        """A commit expected at a later version is refused with the actual one."""
        stream = scene.stream()
        await scene.fill(stream, 3)
        await _refused(scene, stream, expected=4, actual=3)
        await _refused(scene, stream, expected=1_000_000, actual=3)

    @case
    async def test_expected_but_missing(self, scene: Scene) -> None:
        """A commit that expects a stream which does not exist is refused with version 0."""
        await _refused(scene, scene.stream(), expected=1, actual=0)

    @case
    async def test_expected_inside(self, scene: Scene) -> None:
        """A commit expected at a version inside another commit is refused with the actual one."""
        stream = scene.stream()
        await scene.log.append(commit(stream, 0, 3))
        await _refused(scene, stream, expected=1, actual=3)
        await _refused(scene, stream, expected=2, actual=3)


class Atomicity(Contract):
    """A commit is stored and seen whole or not at all."""

    @case
    async def test_bytes(self, scene: Scene) -> None:
        """The envelope's bytes are kept as they are."""
        stream = scene.stream()
        news = [commit(stream, 0, 1), commit(stream, 1, 3, padding=7), commit(stream, 4, 1, padding=70_000)]
        for new in news:
            await scene.log.append(new)
        expected = [new.envelope for new in news]
        assert expected == [raw.envelope for raw in await scene.read(stream)]
        assert expected == [raw.envelope for raw in await scene.mine()]

    @case
    async def test_largest(self, scene: Scene) -> None:
        """An envelope of the largest size is kept as it is."""
        frame = len(commit(scene.stream(), padding=MAX_ENVELOPE_BYTES - 1_000).envelope) - MAX_ENVELOPE_BYTES + 1_000
        new = commit(scene.stream(), padding=MAX_ENVELOPE_BYTES - frame)
        assert len(new.envelope) == MAX_ENVELOPE_BYTES
        await scene.log.append(new)
        [raw] = await scene.read(scene.stream())
        assert new.envelope == raw.envelope

    @case
    async def test_never_half(self, scene: Scene) -> None:
        """While commits of three events are being stored, no reader sees a version between them."""
        stream, reader = scene.stream(), await scene.other()
        storing = asyncio.ensure_future(scene.fill(stream, 20, count=3))
        seen = set()
        while not storing.done():
            seen.add((await reader.tail(stream)).version)
            seen.add(Version(3 * len(await scene.read(stream, log=reader))))
            await asyncio.sleep(0)
        assert (await storing)[-1].version == 60
        assert not {version for version in seen if version % 3}

    @case
    async def test_refused(self, scene: Scene) -> None:
        """A refused commit leaves no trace."""
        kept, never = scene.stream("kept"), scene.stream("never")
        answer = await scene.log.append(commit(kept))
        await _refused(scene, kept, expected=0, actual=1)
        await _refused(scene, kept, expected=2, actual=1)
        await _refused(scene, never, expected=1, actual=0)
        assert [answer.position] == [raw.position for raw in await scene.mine()]
        assert [answer.position] == [raw.position for raw in await scene.read(kept)]
        assert Tail(answer.version, answer.position) == await scene.log.tail(kept)
        assert await scene.read(never) == []
        assert [kept] == [info.stream for info in await flat(scene.log.streams(scene.category))]

    @case
    async def test_refused_among_others(self, scene: Scene) -> None:
        """A refused commit takes nothing with it of what is appended at the same time."""
        one, two = scene.stream("1"), scene.stream("2")
        news = [commit(one, 0), commit(two, 9), commit(one, 1), commit(one, 7), commit(two, 0), commit(one, 2)]
        answers = await asyncio.gather(*(scene.log.append(new) for new in news), return_exceptions=True)
        assert [1, Conflict, 2, Conflict, 1, 3] == [
            answer.version if isinstance(answer, Appended) else type(answer) for answer in answers
        ]
        stored = [news[number].envelope for number in (0, 2, 4, 5)]
        assert stored == [raw.envelope for raw in await scene.mine()]

    @case
    async def test_cancelled(self, scene: Scene) -> None:
        """A cancelled append is stored whole or not at all; appended again, it is stored once."""
        stream = scene.stream()
        for expected in range(0, 30, 3):
            new = commit(stream, expected, 3)
            first = asyncio.ensure_future(scene.log.append(new))
            await asyncio.sleep(0)
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await first
            assert (await scene.log.tail(stream)).version in (expected, expected + 3)
            assert expected + 3 == (await scene.log.append(new)).version
        assert len(await scene.read(stream)) == 10


class Order(Contract):
    """All commits stand in one order, which every reader sees."""

    @case
    async def test_one_order(self, scene: Scene) -> None:
        """The log gives every commit once, in the order of the appends and of their positions."""
        names = 4 * ["1", "2", "3"]
        news = [commit(scene.stream(name), number // 3) for number, name in enumerate(names)]
        answers = [await scene.log.append(new) for new in news]
        assert [answer.position for answer in answers] == [raw.position for raw in await scene.mine()]
        assert names == [raw.stream.id for raw in await scene.mine()]

    @case
    async def test_streams_in_log_order(self, scene: Scene) -> None:
        """A stream's commits are the log's, in the same order, at the same positions and times."""
        for expected in range(4):
            for name in ("1", "2"):
                await scene.log.append(commit(scene.stream(name), expected))
        for name in ("1", "2"):
            stream = scene.stream(name)
            assert [raw for raw in await scene.mine() if raw.stream == stream] == await scene.read(stream)

    @case
    async def test_not_awaited(self, scene: Scene) -> None:
        """Appends that are not awaited in between are stored in the order of the calls."""
        answers = await scene.fill(scene.stream(), 50)
        assert list(range(1, 51)) == [answer.version for answer in answers]

    @case
    async def test_not_awaited_on_many_streams(self, scene: Scene) -> None:
        """That order holds from one stream to the next."""
        streams = [scene.stream(f"{number}") for number in range(50)]
        answers = await asyncio.gather(*(scene.log.append(commit(stream)) for stream in streams))
        positions = [answer.position for answer in answers]
        assert sorted(set(positions)) == positions
        assert streams == [raw.stream for raw in await scene.mine()]

    @case
    async def test_nothing_comes_late(self, scene: Scene) -> None:
        """A reader that has seen a position never finds a new commit before it."""
        writers = [scene.log, await scene.other()]
        reader = await scene.other()

        async def write(number: int) -> None:
            for expected in range(10):
                await writers[number % 2].append(commit(scene.stream(f"{number}"), expected))

        writing = asyncio.gather(*(write(number) for number in range(8)))
        seen, after, done = [], scene.start, False
        while not done:
            done = writing.done()
            found = await flat(reader.log(after=after))
            seen += found
            after = found[-1].position if found else after
            await asyncio.sleep(0)
        await writing
        assert seen == await scene.everything(reader)
        assert sum(map(scene.is_mine, seen)) == 80


class Visibility(Contract):
    """Whoever looks after an append has returned sees it."""

    @case
    async def test_own_append(self, scene: Scene) -> None:
        """An append that has returned is seen by every verb of its handle."""
        await self._seen(scene, scene.log)

    @case
    async def test_append_of_another(self, scene: Scene) -> None:
        """An append that has returned is seen by every verb of another handle."""
        await self._seen(scene, await scene.other())

    async def _seen(self, scene: Scene, log: Backend) -> None:
        stream = scene.stream()
        for expected in range(3):
            before = Position(await log.head())
            answer = await scene.log.append(commit(stream, expected))
            assert answer.position in [raw.position for raw in await flat(log.log(after=before))]
            assert answer.position in [raw.position for raw in await scene.mine(log)]
            assert answer.position <= await log.head()
            assert answer.position == (await scene.read(stream, log=log))[-1].position
            assert Tail(answer.version, answer.position) == await log.tail(stream)

    @case
    async def test_guard_sees_others(self, scene: Scene) -> None:
        """The guard of an append knows what was appended through another handle."""
        stream, other = scene.stream(), await scene.other()
        for expected in range(0, 6, 2):
            await scene.log.append(commit(stream, expected))
            assert expected + 2 == (await other.append(commit(stream, expected + 1))).version

    @case
    async def test_race(self, scene: Scene) -> None:
        """Of rivals that expect the same version one wins, and the others are told the version it made."""
        handles = [scene.log, await scene.other()]
        stream = scene.stream()
        for expected in range(0, 20, 2):
            rivals = [handles[number % 2].append(commit(stream, expected, 2)) for number in range(6)]
            answers = await asyncio.gather(*rivals, return_exceptions=True)
            assert [expected + 2] == [answer.version for answer in answers if isinstance(answer, Appended)]
            assert 5 * [expected + 2] == [answer.actual for answer in answers if isinstance(answer, Conflict)]
        assert len(await scene.read(stream)) == 10


class Idempotency(Contract):
    """A commit appended again under its id is stored once."""

    @case
    async def test_again(self, scene: Scene) -> None:
        """The same commit appended again gets the first answer and is stored once."""
        new = commit(scene.stream(), count=2)
        first = await scene.log.append(new)
        assert first == await scene.log.append(new)
        assert [first.position] == [raw.position for raw in await scene.mine()]

    @case
    async def test_again_later(self, scene: Scene) -> None:
        """It gets the first answer also when others have come after it."""
        stream = scene.stream()
        news = [commit(stream, expected, 2) for expected in range(0, 8, 2)]
        answers = [await scene.log.append(new) for new in news]
        assert answers == [await scene.log.append(new) for new in news]
        assert len(await scene.mine()) == 4

    @case
    async def test_again_elsewhere(self, scene: Scene) -> None:
        """It gets the first answer also through another handle."""
        new, other = commit(scene.stream()), await scene.other()
        first = await scene.log.append(new)
        await other.append(commit(scene.stream(), 1))
        assert first == await other.append(new)
        assert len(await scene.mine(other)) == 2

    @case
    async def test_again_at_once(self, scene: Scene) -> None:
        """It gets the first answer also when the first one is still under way."""
        new = commit(scene.stream(), count=2)
        first, *others = await asyncio.gather(*(scene.log.append(new) for _ in range(5)))
        assert 4 * [first] == others
        assert [first.position] == [raw.position for raw in await scene.mine()]

    @case
    async def test_same_id_other_commit(self, scene: Scene) -> None:
        """What counts is the id: other bytes under the same id and version are not stored."""
        new = commit(scene.stream())
        first = await scene.log.append(new)
        again = commit(scene.stream(), count=2, padding=9, commit_id=new.commit_id)
        assert first == await scene.log.append(again)
        assert [new.envelope] == [raw.envelope for raw in await scene.mine()]

    @case
    async def test_other_id(self, scene: Scene) -> None:
        """An equal commit under another id is refused."""
        await scene.log.append(commit(scene.stream()))
        await _refused(scene, scene.stream(), expected=0, actual=1)

    @case
    async def test_same_id_inside(self, scene: Scene) -> None:
        """A commit's id does not help at a version inside it."""
        new = commit(scene.stream(), count=3)
        await scene.log.append(new)
        await _refused(scene, scene.stream(), expected=1, actual=3, commit_id=new.commit_id)

    @case
    async def test_same_id_beyond(self, scene: Scene) -> None:
        """A commit's id does not help at a version that the stream has not reached."""
        new = commit(scene.stream(), count=3)
        await scene.log.append(new)
        await _refused(scene, scene.stream(), expected=4, actual=3, commit_id=new.commit_id)

    @case
    async def test_same_id_next(self, scene: Scene) -> None:
        """At the right version a commit is stored, whether its id was used before or not."""
        new = commit(scene.stream())
        await scene.log.append(new)
        assert (await scene.log.append(commit(scene.stream(), 1, commit_id=new.commit_id))).version == 2

    @case
    async def test_same_id_other_stream(self, scene: Scene) -> None:
        """An id names a commit within its stream: in another one the same id is stored anew."""
        new = commit(scene.stream("1"))
        first = await scene.log.append(new)
        second = await scene.log.append(commit(scene.stream("2"), commit_id=new.commit_id))
        assert [first.position, second.position] == [raw.position for raw in await scene.mine()]


class Handles(Contract):
    """Opening, closing, and what a log says of itself."""

    @case
    async def test_log_id(self, scene: Scene) -> None:
        """A log has one id, which every answer and every handle repeats."""
        answer = await scene.log.append(commit(scene.stream()))
        assert answer.log_id
        assert {answer.log_id} == {scene.log.log_id, (await scene.other()).log_id}

    @case
    async def test_opened_again(self, scene: Scene) -> None:
        """A lasting log is there when it is opened again; one that lives in its handle is another one, and empty."""
        stream = scene.stream()
        log_id, stored = scene.log.log_id, []
        async with scene.make() as first:
            answer = await first.append(commit(stream))
            stored = await scene.read(stream, log=first)
        async with scene.make() as second:
            assert self.lasting == (second.log_id == log_id)
            assert await scene.read(stream, log=second) == (stored if self.lasting else [])
            head = await second.head()
            assert head >= answer.position if self.lasting else head == 0

    @case
    async def test_closed(self, scene: Scene) -> None:
        """Before it is opened and after it is closed, every verb raises StoreClosed."""
        backend = scene.make()
        await self._all_closed(scene, backend)
        async with backend:
            await backend.head()
        await self._all_closed(scene, backend)

    async def _all_closed(self, scene: Scene, backend: Backend) -> None:
        stream = scene.stream()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: backend.append(commit(stream)),
            lambda: backend.tail(stream),
            lambda: flat(backend.read(stream, after=Version(0))),
            lambda: flat(backend.log(after=Position(0))),
            lambda: scene.follow_until(lambda _: True, backend),
            backend.head,
            lambda: backend.position_at(0),
            lambda: flat(backend.streams()),
            backend.describe,
        ]
        for call in calls:
            with pytest.raises(StoreClosed):
                await call()

    @case
    async def test_closing_waits(self, scene: Scene) -> None:
        """Closing a handle waits for the appends under way."""
        stream, backend = scene.stream(), scene.make()
        async with backend:
            news = [commit(stream, expected) for expected in range(5)]
            appending = asyncio.gather(*(backend.append(new) for new in news))
            await asyncio.sleep(0)
        assert [answer.version for answer in await appending] == [1, 2, 3, 4, 5]

    @case
    async def test_closing_ends_follows(self, scene: Scene) -> None:
        """A follow whose handle is closed ends with StoreClosed."""
        async with scene.make() as backend:
            following = scene.follow(backend, after=await backend.head())
            await next_progress(following)
            waiting = asyncio.ensure_future(next_commit(following))
            await asyncio.sleep(0)
        with pytest.raises(StoreClosed):
            await waiting

    @case
    async def test_describe(self, scene: Scene) -> None:
        """A log says what an acknowledgement means, and everything in text or numbers."""
        facts = await scene.log.describe()
        assert facts["backend"]
        assert facts["durability"]
        assert {str} == set(map(type, facts))
        assert {str, int} >= set(map(type, facts.values()))


# What can stand in an id: each of these is a stream of its own.
ODD_IDS: Final = (
    "a", "A", " a", "a ", "a.", ".a", "a.b", "a/b", "a\\b", "a b", "a:b", "a,b", "a|b", "a@b", "a#b", "a?b=c&d",
    ".", "..", "/", "\\", ">", "*", "a.*", "a.>", "%", "%61", "a%2Eb", "_", "-", "--", "'", '"', "''", "`", "$", "{}",
    "null", "None", "0", "00", "1", "01", "1e0", "1.0", "\u00e9", "e\u0301", "\u00df", "ss", "\u0130", "i", "I",
    "\u00a0", "\u200b", "\u2028", "\ufeff", "\uffff", "\U0001f642", "\U0001f469\u200d\U0001f680", "\U0010ffff",
    "x" * 255, "\U0001f642" * 63 + "xyz", "=?utf-8?q?a?=", "'; DROP TABLE commits; --",
)  # fmt: skip


class Ids(Contract):
    """Ids are kept as they are, and the streams are listed in order."""

    @case
    async def test_odd_ids(self, scene: Scene) -> None:
        """Each odd id is a stream of its own, which is read, logged and listed under exactly that id."""
        streams = [scene.stream(id) for id in ODD_IDS]
        answers = [await scene.log.append(commit(stream, count=2)) for stream in streams]
        assert len(streams) * [2] == [answer.version for answer in answers]
        assert streams == [raw.stream for raw in await scene.mine()]
        for stream, answer in zip(streams, answers, strict=True):
            assert [(stream, answer.position)] == [(raw.stream, raw.position) for raw in await scene.read(stream)]
            assert Tail(answer.version, answer.position) == await scene.log.tail(stream)

    @case
    async def test_sorted(self, scene: Scene) -> None:
        """The streams of a category are listed by the code points of their ids."""
        streams = [scene.stream(id) for id in ODD_IDS]
        for stream in streams:
            await scene.log.append(commit(stream))
        assert sorted(streams) == [info.stream for info in await flat(scene.log.streams(scene.category))]

    @case
    async def test_many_streams(self, scene: Scene) -> None:
        """The list neither skips nor repeats a stream where its chunks meet."""
        names = [f"{number}" for number in range(350)]
        await asyncio.gather(*(scene.log.append(commit(scene.stream(name))) for name in names))
        assert sorted(names) == [info.stream.id for info in await flat(scene.log.streams(scene.category))]

    @case
    async def test_facts_of_streams(self, scene: Scene) -> None:
        """A stream is listed with its version and the position and time of its last commit."""
        for name, commits in (("1", 3), ("2", 1)):
            await scene.fill(scene.stream(name), commits, count=2)
        expected = []
        for name, version in (("1", 6), ("2", 2)):
            last = (await scene.read(scene.stream(name)))[-1]
            expected.append(StreamInfo(last.stream, Version(version), last.position, last.recorded_at))
        assert expected == await flat(scene.log.streams(scene.category))

    @case
    async def test_categories(self, scene: Scene) -> None:
        """A category is listed without those whose names begin alike, and no category means all of them, sorted."""
        longer = StreamId(f"{scene.category}_x", "1")
        before = StreamId(f"b{scene.category}", "2")
        for stream in (longer, scene.stream("2"), before, scene.stream("1")):
            await scene.log.append(commit(stream))
        assert [info.stream.id for info in await flat(scene.log.streams(scene.category))] == ["1", "2"]
        assert [longer] == [info.stream for info in await flat(scene.log.streams(longer.category))]
        assert await flat(scene.log.streams(f"{scene.category}_y")) == []
        everything = [info.stream for info in await flat(scene.log.streams())]
        assert sorted(everything) == everything
        ours = {longer, before, scene.stream("1"), scene.stream("2")}
        assert ours <= set(everything)
        assert len(set(everything)) == len(everything)
