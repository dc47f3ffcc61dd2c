"""JetStream when answers are lost, leaders change, replicas are behind, and strangers write garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from eventstore import (
    Codec,
    Conflict,
    CorruptCommit,
    EventStore,
    Progress,
    StoreFull,
    StoreUnavailable,
    StreamId,
    jetstream,
)
from eventstore._nats_batches import Frame
from eventstore._nats_errors import NoAnswer
from eventstore._nats_wire import Wire
from eventstore.testing._scene import closing, commit, flat
from google.protobuf.wrappers_pb2 import Int64Value

from tests.eventstore.nats_servers import Admin, administration, fresh, one_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from eventstore import Commit, NewCommit, Position, RawCommit
    from eventstore.jetstream import JetStreamBackend

pytestmark = pytest.mark.contract

STREAM = StreamId("c", "1")
OTHER = StreamId("other", "1")


class Place(NamedTuple):
    servers: list[str]
    copies: int


@pytest.fixture
def one(one_nats: list[str]) -> Place:
    return Place(one_nats, 1)


@pytest.fixture
def three(three_nats: list[str]) -> Place:
    return Place(three_nats, 3)


@pytest.fixture(params=["one", "three"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@contextlib.asynccontextmanager
async def opened(place: Place, **options: Any) -> AsyncIterator[tuple[JetStreamBackend, Admin]]:
    """Open a log of its own, beside an operator."""
    async with (
        administration(*place.servers) as admin,
        fresh(place.servers, replicas=place.copies, **options) as log,
    ):
        try:
            yield log, admin
        finally:
            await admin.api(f"STREAM.DELETE.{log._name}")


def another(log: JetStreamBackend) -> JetStreamBackend:
    """Return a second handle."""
    return type(log)(log._servers, log._name, prefix=log._prefix)


async def everything(log: JetStreamBackend) -> list[RawCommit]:
    return await flat(log.log(after=0))  # type: ignore[arg-type]


class Appends:
    """Gets in the way of the messages that one backend publishes: a trick for each, in turn, then none."""

    def __init__(self, log: JetStreamBackend, *tricks: Callable[..., Any]) -> None:
        self.sent = 0
        self._tricks = list(tricks)
        self._prefix = log._prefix
        wire = log.wire
        self._request = wire.request
        wire.request = self.request  # type: ignore[method-assign]

    async def request(self, subject: str, payload: bytes = b"", **given: Any) -> Frame:
        if not subject.startswith(self._prefix):
            return await self._request(subject, payload, **given)
        self.sent += 1
        if not self._tricks:
            return await self._request(subject, payload, **given)
        answer: Frame = await self._tricks.pop(0)(lambda: self._request(subject, payload, **given))
        return answer


async def ack_lost(publish: Callable[[], Any]) -> Frame:
    """The message arrives, its answer does not."""
    await publish()
    raise NoAnswer("lost on the way back")


async def message_lost(publish: Callable[[], Any]) -> Frame:
    """The message does not arrive."""
    raise NoAnswer("lost on the way")


def answered(code: int, err_code: int) -> Callable[..., Any]:
    """Make a trick of a server that refuses a message."""

    async def refuse(publish: Callable[[], Any]) -> Frame:
        error = {"error": {"code": code, "err_code": err_code, "description": "not read"}, "stream": "S", "seq": 0}
        return Frame(b"", b"", b"", json.dumps(error).encode())

    return refuse


def then(trick: Callable[..., Any], log: JetStreamBackend, *commits: NewCommit) -> Callable[..., Any]:
    """Make a trick of which a rival takes advantage."""

    async def with_rival(publish: Callable[[], Any]) -> Frame:
        try:
            answer: Frame = await trick(publish)
            return answer
        finally:
            for new in commits:
                await log.append(new)

    return with_rival


# ----------------------------------------------------------------------------------------------------------- appends


@pytest.mark.parametrize("losses", [1, 3])
@pytest.mark.parametrize("version", [0, 2])
async def test_lost_acks(place: Place, losses: int, version: int) -> None:
    """An append whose acknowledgement is lost answers where its commit stands, which is there once."""
    async with opened(place) as (log, _):
        if version:
            await log.append(commit(STREAM, 0, version))
        appends = Appends(log, *[ack_lost] * losses)
        answer = await log.append(commit(STREAM, version, 3))
        assert appends.sent == 1  # the second look finds it
        assert (answer.version, answer.position) == (version + 3, 2 if version else 1)
        assert (await everything(log))[-1].position == answer.position
        await log.append(commit(STREAM, version + 3))


async def test_lost_message(place: Place) -> None:
    """A message that is lost is sent again, and stored once."""
    async with opened(place) as (log, _):
        appends = Appends(log, message_lost, message_lost)
        answer = await log.append(commit(STREAM))
        assert appends.sent == 3
        assert [raw.position for raw in await everything(log)] == [answer.position]


async def test_rival_after_lost_message(place: Place) -> None:
    """When a rival gets in before a lost message is sent again, it is refused with the rival's version."""
    async with opened(place) as (log, _), another(log) as rival:
        await log.append(commit(STREAM, 0, 2))
        Appends(log, then(message_lost, rival, commit(STREAM, 2, 3)))
        with pytest.raises(Conflict) as refusal:
            await log.append(commit(STREAM, 2))
        assert refusal.value.actual == 5
        assert len(await everything(log)) == 2


async def test_rival_after_lost_ack(place: Place) -> None:
    """When rivals build on a commit whose acknowledgement is lost, its append still answers where it stands."""
    async with opened(place) as (log, _), another(log) as rival:
        await log.append(commit(STREAM, 0, 2))
        Appends(log, then(ack_lost, rival, commit(STREAM, 3), commit(STREAM, 4)))
        answer = await log.append(commit(STREAM, 2))
        assert (answer.version, answer.position) == (3, 2)
        assert len(await everything(log)) == 4


@pytest.mark.parametrize(
    ("code", "err_code"), [(400, 10164), (400, 10158), (503, 10163), (503, 10008), (503, 10009), (503, 10118)]
)
async def test_try_again(one: Place, code: int, err_code: int) -> None:
    """Errors that pass are met by sending the same message again."""
    async with opened(one) as (log, _):
        appends = Appends(log, answered(code, err_code), answered(code, err_code))
        await log.append(commit(STREAM))
        assert appends.sent == 3
        assert len(await everything(log)) == 1


@pytest.mark.parametrize(
    ("code", "err_code", "error"),
    [(503, 10077, StoreFull), (500, 10047, StoreFull), (503, 10023, StoreFull), (400, 10054, StoreUnavailable)],
)
async def test_do_not_try_again(one: Place, code: int, err_code: int, error: type[Exception]) -> None:
    """Errors that stay are told at once."""
    async with opened(one) as (log, _):
        appends = Appends(log, answered(code, err_code))
        with pytest.raises(error):
            await log.append(commit(STREAM))
        assert appends.sent == 1


async def test_wrong_hint(place: Place) -> None:
    """What a handle remembers of a stream is a hint: wrong ones cost a look, and change nothing."""
    async with opened(place) as (log, _), another(log) as rival:
        for version in range(0, 10, 2):
            await log.append(commit(STREAM, version))
            await rival.append(commit(STREAM, version + 1))
        assert await log.tail(STREAM) == await rival.tail(STREAM)
        assert len(await everything(log)) == 10


async def test_reading_saves_the_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has read a stream, or appended to it, appends with one message."""
    async with opened(place) as (log, _), another(log) as reader:
        for version in range(3):
            await log.append(commit(STREAM, version))
        await flat(reader.read(STREAM, after=0))  # type: ignore[arg-type]
        send, sent = Wire.send, 0

        async def count(*arguments: Any) -> bytes:
            nonlocal sent
            sent += 1
            return await send(*arguments)

        monkeypatch.setattr(Wire, "send", count)
        for version in range(3, 6):
            await reader.append(commit(STREAM, version))
        assert sent == 3


async def test_in_flight(three: Place) -> None:
    """Of many appends under way at once each is stored once, those of one stream in the order of the calls."""
    async with opened(three) as (log, _):
        news = [commit(StreamId("c", f"{n % 50}"), n // 50) for n in range(1_000)]
        answers = await asyncio.gather(*map(log.append, news))
        positions = [answer.position for answer in answers]
        assert sorted(positions) == list(range(1, 1_001))
        assert all(positions[stream::50] == sorted(positions[stream::50]) for stream in range(50))


async def test_order(one: Place) -> None:
    """Appends are stored in the order of the calls, also where some must ask first, are refused or are cancelled."""
    async with opened(one) as (log, _), another(log) as rival:
        ids = [f"{number}" for number in range(60)]
        for id in ids:
            await rival.append(commit(StreamId("c", id)))
            if int(id) % 2:  # the others' ends are not known, and must be asked for
                await log.tail(StreamId("c", id))
        calls = []
        for number, id in enumerate(ids):
            calls.append(asyncio.ensure_future(log.append(commit(StreamId("c", id), 1))))
            if number % 5 == 2:
                calls.append(asyncio.ensure_future(log.append(commit(StreamId("c", id), 7))))
            if number % 7 == 3:
                await asyncio.sleep(0)
                asyncio.ensure_future(log.append(commit(StreamId("d", id)))).cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        positions = [answer.position for answer in answers if not isinstance(answer, BaseException)]
        assert len(positions) == len(ids)
        assert positions == sorted(positions)
        assert sum(isinstance(answer, Conflict) for answer in answers) == 12


async def test_cancelled_between_two(one: Place) -> None:
    """Of three appends to a stream the middle one is cancelled: the last one is refused by what the first stored."""
    async with opened(one) as (log, _):
        await log.append(commit(STREAM))
        first, middle, last = (asyncio.ensure_future(log.append(commit(STREAM, version))) for version in (1, 2, 2))
        await asyncio.sleep(0)
        middle.cancel()
        assert (await first).version == 2
        assert (await last).version == 3


async def test_closing_waits_for_those_that_ask(one: Place) -> None:
    """A store that is left waits for appends under way, those too whose stream it must ask for."""
    async with opened(one) as (log, _):
        await log.append(commit(STREAM))
        async with another(log) as leaving:
            Appends(leaving, ack_lost)
            appending = asyncio.ensure_future(leaving.append(commit(STREAM, 1)))
            await asyncio.sleep(0)
        assert (await appending).version == 2


async def test_time_is_bounded(one: Place) -> None:
    """However many appends queue for one stream, each gives up in its time, counted from its call."""
    async with opened(one, append_seconds=0.5) as (log, _):
        Appends(log, *[message_lost] * 10_000)
        began = asyncio.get_running_loop().time()
        appends = [log.append(commit(STREAM)) for _ in range(20)]
        answers = await asyncio.gather(*appends, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 2
        assert {type(answer) for answer in answers} == {StoreUnavailable}


@pytest.mark.timeout(60)
async def test_step_downs(three: Place) -> None:
    """While leaders step down, every append is answered, and stored once, after the one before it."""
    async with opened(three, append_seconds=30) as (log, admin):
        chains: dict[str, list[Position]] = {}

        async def write(id: str) -> None:
            chain = chains[id] = []
            while not done.is_set():
                answer = await log.append(commit(StreamId("c", id), len(chain)))
                assert answer.version == len(chain) + 1
                chain.append(answer.position)
                stored.release()

        stored = asyncio.Semaphore(0)
        done = asyncio.Event()
        leaders = set()
        async with asyncio.TaskGroup() as writers:
            for number in range(8):
                writers.create_task(write(f"{number}"))
            for _ in range(4):
                for _ in range(100):
                    await stored.acquire()
                leaders.add((await log.describe())["leader"])
                await admin.step_down(log._name)
            done.set()
        assert len(leaders) > 1
        found = await everything(log)
        for id, chain in chains.items():
            assert [raw.position for raw in found if raw.stream.id == id] == chain


# ----------------------------------------------------------------------------------------- replicas and leaders behind


def behind(log: JetStreamBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every direct get be answered by a replica that has nothing yet."""

    async def nothing(subject: str, payload: bytes, *, seconds: float) -> tuple[list[Frame], Frame]:
        return [], Frame(b"", b"", b"NATS/1.0 404 Message Not Found\r\n\r\n", b"")

    monkeypatch.setattr(log.wire, "gather", nothing)


async def test_replica_behind_a_read(three: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose replica is behind gets the rest from the leader."""
    async with opened(three) as (log, _):
        answers = [await log.append(commit(STREAM, version)) for version in range(5)]
        behind(log, monkeypatch)
        found = [raw.position for raw in await flat(log.read(STREAM, after=0))]  # type: ignore[arg-type]
        assert found == [answer.position for answer in answers]


async def test_replica_behind_a_retry(three: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append whose acknowledgement is lost finds its commit also when its replica is behind."""
    async with opened(three) as (log, _):
        await log.append(commit(STREAM))
        behind(log, monkeypatch)
        Appends(log, ack_lost)
        assert (await log.append(commit(STREAM, 1))).position == 2


async def test_leader_behind(three: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new leader that has not caught up with what the old one acknowledged does not make a conflict."""
    async with opened(three) as (log, _):
        await log.append(commit(STREAM))
        await log.append(commit(STREAM, 1))
        wire = log.wire
        api, old = wire.api, [3]  # so many answers are of the past

        async def past(verb: str, body: object = None, *, seconds: float) -> dict[str, Any]:
            if not old[0]:
                return await api(verb, body, seconds=seconds)
            old[0] -= verb.startswith("STREAM.INFO")
            if verb.startswith("STREAM.INFO"):
                answer: dict[str, Any] = await api(verb, body, seconds=seconds)
                return answer | {"state": {"last_seq": 1}}
            return await api(verb, {"seq": 1}, seconds=seconds)

        monkeypatch.setattr(wire, "api", past)
        Appends(log, answered(400, 10071))
        assert (await log.append(commit(STREAM, 2))).position == 3


async def test_nobody_answers_a_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that nobody answers, or that a server refuses, fails; it does not look like an empty stream."""
    async with opened(place) as (log, _):
        await log.append(commit(STREAM))
        prefix = "$JS.API.DIRECT.GET"
        send = Wire.send

        async def elsewhere(self: Wire, subject: str, payload: bytes, *more: Any) -> bytes:
            return await send(self, subject.replace(prefix, "nobody.home"), payload, *more)

        async def malformed(self: Wire, subject: str, payload: bytes, *more: Any) -> bytes:
            return await send(self, subject, b"{}" if subject.startswith(prefix) else payload, *more)

        monkeypatch.setattr(jetstream, "_API_SECONDS", 0.5)
        for wrong in (elsewhere, malformed):
            monkeypatch.setattr(Wire, "send", wrong)
            with pytest.raises(StoreUnavailable):
                await flat(log.read(STREAM, after=0))  # type: ignore[arg-type]


@pytest.mark.parametrize("upset", ["shortened", "purged"])
async def test_mirror(place: Place, upset: str) -> None:
    """A mirror that somebody has made answers direct gets too, and lacks what it likes: nobody is told its lies."""
    async with opened(place) as (log, admin), another(log) as newcomer:
        name = f"{log._name}-mirror"
        config = {"name": name, "mirror": {"name": log._name}, "storage": "file", "num_replicas": place.copies}
        await admin.api(f"STREAM.CREATE.{name}", config | ({"max_msgs": 1} if upset == "shortened" else {}))
        try:
            for version in range(5):
                await log.append(commit(STREAM, version))
            while (await admin.api(f"STREAM.INFO.{name}"))["state"]["last_seq"] < 5:
                pass
            await admin.api(f"STREAM.PURGE.{name}", {} if upset == "purged" else None)
            positions = [1, 2, 3, 4, 5]
            for _ in range(15):
                found = [raw.position for raw in await flat(log.read(STREAM, after=0))]  # type: ignore[arg-type]
                assert found == positions
                newcomer._appender.forget(STREAM)
                version = len(positions)
                Appends(newcomer, then(ack_lost, log, commit(STREAM, version + 1)))
                assert (await newcomer.append(commit(STREAM, version))).position == version + 1
                positions += [version + 1, version + 2]
        finally:
            await admin.api(f"STREAM.DELETE.{name}")


async def test_caught_up_means_all(three: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follow whose server has no more, but is behind, is not caught up until it has all that the leader has."""
    async with opened(three) as (log, _):
        for version in range(3):
            await log.append(commit(STREAM, version))
        last, ahead = log._last_sequence, 10

        async def further() -> int:
            return await last() + ahead

        monkeypatch.setattr(log, "_last_sequence", further)
        said = []
        async with closing(log.follow(after=0)) as items:  # type: ignore[arg-type]
            async for item in items:
                if isinstance(item, Progress):
                    said.append(item.caught_up)
                    if item.caught_up:
                        break
                    if len(said) == 3:
                        ahead = 0
        assert said[:3] == [False] * 3
        assert said[-1]


async def test_slow_reader(roomy: Place) -> None:
    """Nothing more is asked for than what was taken: a reader that stops taking stops the server."""
    async with opened(roomy) as (log, admin):
        for version in range(60):
            await log.append(commit(STREAM, version, padding=1_000_000))
        async with closing(log.follow(after=0)) as items:  # type: ignore[arg-type]
            first = await anext(items)
            assert not isinstance(first, Progress)
            left: list[int] = []
            while len(left) < 5 or left[-1] != left[-5]:
                await asyncio.sleep(0.1)
                consumers = await admin.api(f"CONSUMER.LIST.{log._name}")
                left.append(consumers["consumers"][0]["num_pending"])
            assert left[-1] > 20
            taken = len(first)
            async for item in items:
                taken += 0 if isinstance(item, Progress) else len(item)
                if taken == 60:
                    break


# ----------------------------------------------------------------------------------------------------- what is removed


async def test_end_removed(place: Place) -> None:
    """Where the log's last message was removed, a reader ends and a follower goes on."""
    async with opened(place) as (log, admin):
        for id in ("1", "2", "3"):
            await log.append(commit(StreamId("c", id)))
        for sequence in (3, 2):
            await admin.api(f"STREAM.MSG.DELETE.{log._name}", {"seq": sequence})
        assert [raw.position for raw in await everything(log)] == [1]
        assert await flat(log.log(after=2)) == []  # type: ignore[arg-type]
        async with closing(log.follow(after=0)) as items:  # type: ignore[arg-type]
            async for item in items:
                if isinstance(item, Progress) and item.position == 3:
                    break
        assert (await log.append(commit(StreamId("c", "4")))).position == 4
        assert [raw.position for raw in await everything(log)] == [1, 4]


async def test_stream_removed(place: Place) -> None:
    """A stream whose messages were all removed is new again, also for who remembers it."""
    async with opened(place) as (log, admin):
        await log.append(commit(STREAM))
        await admin.api(f"STREAM.PURGE.{log._name}", {"filter": f"{log._prefix}.c.1"})
        with pytest.raises(Conflict) as refusal:
            await log.append(commit(STREAM, 1))
        assert refusal.value.actual == 0
        assert (await log.append(commit(STREAM))).version == 1


# ------------------------------------------------------------------------------------------------------------- garbage

MAX_PAYLOAD = 9 * 1024 * 1024


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that takes messages of nine MiB."""
    with one_server(tmp_path_factory.mktemp("roomy"), more=f"max_payload: {MAX_PAYLOAD}") as server:
        yield Place([server.url], 1)


ENVELOPE = commit(STREAM).envelope
GARBAGE = {
    "nothing": ("c.1", b"", None),
    "no envelope": ("c.1", b"\xff\xff\xff", None),
    "cut bytes": ("c.1", ENVELOPE[:-3], None),
    "empty envelope": ("c.1", b"\x12\x00", None),
    "large": ("c.1", b"\xff" * 8 * 1024 * 1024, None),
    "headers": ("c.1", b"\xff", {"Recorded-At": "soon", "Nats-Sequence": "99", "Nats-Subject": "x.y.z"}),
    "not an escape": ("c.%zz", ENVELOPE, None),
    "not UTF-8": ("c.%C3%28", ENVELOPE, None),
    "another spelling": ("c.%31", ENVELOPE, None),
    "raw UTF-8": ("c.é", ENVELOPE, None),
    "no category": ("Bad-One.1", ENVELOPE, None),
}


async def collect(items: AsyncIterator[Commit | Progress], found: list[int]) -> None:
    """Add the positions of the commits that come, to the end of the log."""
    async with closing(items):
        async for item in items:
            if not isinstance(item, Progress):
                found.append(item.position)
            elif item.position >= 5:
                return


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage(roomy: Place, name: str) -> None:
    """What is no commit is named with its sequence; a reader may go on after it, others are not disturbed."""
    place, payload, headers = GARBAGE[name]
    async with opened(roomy) as (log, admin):
        store = EventStore(log, Codec(Int64Value))
        for id in ("0", "1"):
            await store.append(StreamId("other", id), [Int64Value()], expected=0)
        bad = await admin.publish(f"{log._prefix}.{place}", payload, headers)
        for id in ("2", "3"):
            await store.append(StreamId("other", id), [Int64Value()], expected=0)

        category = place.split(".")[0]
        for reading in (store.log, store.follow):
            found: list[int] = []
            with pytest.raises(CorruptCommit) as error:
                await collect(reading(), found)
            assert error.value.position == bad == 3
            assert f"position {bad}, stream {category} " in str(error.value)
            # All that comes before it came, and reading goes on after it.
            assert found == [1, 2]
            await collect(reading(after=bad), found)
            assert found == [1, 2, 4, 5]
        # Who wants other streams is not disturbed.
        undisturbed = [commit.position async for commit in store.log(categories=["other"])]
        assert undisturbed == [1, 2, 4, 5]
        for id in ("0", "2"):
            assert (await store.read(StreamId("other", id))).version == 1
        assert (await log.position_at(2**60)).position == 5


@pytest.mark.parametrize("name", [name for name, (place, _, _) in GARBAGE.items() if place == "c.1"])
async def test_garbage_in_a_stream(roomy: Place, name: str) -> None:
    """Garbage on a stream's own subject is named to all who read the stream, ask for its end or append to it."""
    _, payload, headers = GARBAGE[name]
    async with opened(roomy) as (log, admin), another(log) as newcomer:
        store = EventStore(log, Codec(Int64Value))
        await store.append(STREAM, [Int64Value()], expected=0)
        bad = await admin.publish(f"{log._prefix}.c.1", payload, headers)
        for failing in (
            lambda: store.read(STREAM),
            lambda: store.tail(STREAM),
            lambda: newcomer.append(commit(STREAM, 1)),
            lambda: log.append(commit(STREAM, 1)),
        ):
            with pytest.raises(CorruptCommit) as error:
                await failing()
            assert (error.value.stream, error.value.position) == (STREAM, bad)


async def test_garbage_in_a_listing(one: Place) -> None:
    """Streams that end in garbage are named when all others have been listed."""
    async with opened(one) as (log, admin):
        for number in range(250):
            await log.append(commit(StreamId("c", f"{number:03}")))
        bad = await admin.publish(f"{log._prefix}.c.007", b"\xff")
        await admin.publish(f"{log._prefix}.c.100", b"\xff")
        found: list[str] = []

        async def listing() -> None:
            async for infos in log.streams():
                found.extend(info.stream.id for info in infos)

        with pytest.raises(CorruptCommit) as error:
            await listing()
        assert error.value.position == bad
        assert found == [f"{number:03}" for number in range(250) if number not in {7, 100}]


async def test_version_that_does_not_fit(one: Place) -> None:
    """A commit that a stranger put at a wrong version is named with its sequence."""
    async with opened(one) as (log, admin):
        store = EventStore(log, Codec(Int64Value))
        await store.append(STREAM, [Int64Value()], expected=0)
        bad = await admin.publish(f"{log._prefix}.c.1", commit(STREAM, 7).envelope)
        with pytest.raises(CorruptCommit, match="its first version is 8, expected 2") as error:
            await store.read(STREAM)
        assert error.value.position == bad
