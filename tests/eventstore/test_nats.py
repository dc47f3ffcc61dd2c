"""What the JetStream backend is made of, without a server: names, frames, addresses."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pytest
from eventstore import InvalidInput, StreamId
from eventstore._nats_appends import Appender, Turns
from eventstore._nats_batches import BatchParser, Frame, header_value, status_of
from eventstore._nats_commits import Commits, recorded_at_of
from eventstore._nats_delivery import Delivery, Lost
from eventstore._nats_names import stream_of, subject_of
from eventstore._nats_url import arguments_of
from eventstore._values import BEGINNING, MAX_ID_BYTES
from eventstore.jetstream import from_url
from hypothesis import assume, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# ------------------------------------------------------------------------------------------------------------- names


def is_id(text: str) -> bool:
    try:
        StreamId("c", text)
    except InvalidInput:
        return False
    return True


IDS = st.text(min_size=1, max_size=MAX_ID_BYTES).filter(is_id)
CATEGORIES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
TRICKY = [
    ".",
    "..",
    "*",
    ">",
    " ",
    "%",
    "%2E",
    "%2e",
    "a.b",
    "a b",
    "/",
    "~",
    "_",
    "-",
    "é",
    "🦄",
    "$JS",
    "+",
    "\u2028",
]


@given(CATEGORIES, IDS)
def test_names_are_reversible(category: str, id: str) -> None:
    """A stream's subject gives the stream back."""
    stream = StreamId(category, id)
    assert stream_of("some.prefix", subject_of("some.prefix", stream)) == stream


@pytest.mark.parametrize("id", TRICKY)
def test_tricky_names_are_reversible(id: str) -> None:
    """So it does where the id looks like something else."""
    assert stream_of("p", subject_of("p", StreamId("c", id))) == StreamId("c", id)


@given(st.one_of(IDS, st.sampled_from(TRICKY)))
def test_names_are_tokens(id: str) -> None:
    """An id becomes one token of visible ASCII letters, none of which means anything to a server."""
    prefix, category, token = subject_of("p", StreamId("c", id)).split(".")
    assert (prefix, category) == ("p", "c")
    assert token.isascii()
    assert token.isprintable()
    assert not set(token) & set(".*> ")


@given(IDS, IDS)
def test_names_differ(one: str, two: str) -> None:
    """Two ids never share a subject."""
    assume(one != two)
    assert subject_of("p", StreamId("c", one)) != subject_of("p", StreamId("c", two))


@given(st.text(st.sampled_from("%2eE.aA1~_ é"), max_size=8))
def test_one_spelling(token: str) -> None:
    """A token that is not the one spelling of an id is no stream's."""
    stream = stream_of("p", f"p.c.{token}")
    assert stream is None or subject_of("p", stream) == f"p.c.{token}"


@pytest.mark.parametrize(
    "subject",
    [
        *("", "p", "p.", "p.c", "p.c.", "p..1", "p.C.1", "p.1c.1", "p.c.1.2", "q.c.1", "pp.c.1", "q.p.c.1"),
        *("p.c.%", "p.c.%2", "p.c.%zz", "p.c.%61", "p.c.%2e", "p.c.%C3", "p.c.%C3%28", "p.c.%00", "p.c.é", "p.c.a b"),
        *("p.c.a+b", "p.c.%ED%A0%80", f"p.c.{'a' * 256}", f"p.{'c' * 65}.1"),
    ],
)
def test_no_streams(subject: str) -> None:
    """These subjects are no stream's."""
    assert stream_of("p", subject) is None


# ------------------------------------------------------------------------------------------------------------ frames

Seen: TypeAlias = "Frame | tuple[object, ...]"


class Recorder:
    """Stands for nats-py's client, and writes down what its parser finds."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, payload: bytes, header: bytes | None) -> None:
        self.seen.append(Frame(bytes(subject), bytes(reply), header or b"", payload))

    async def take(self, frames: list[Frame]) -> None:
        assert frames, "nothing came, and it was said"
        self.seen += frames

    async def _process_ping(self) -> None:
        self.seen.append(("ping",))

    async def _process_pong(self) -> None:
        self.seen.append(("pong",))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.seen.append(("info", str(info)))

    async def _process_err(self, error: str) -> None:
        self.seen.append(("error", error))


def at_once(body: Coroutine[object, object, T]) -> T:
    """Run what waits for nothing."""
    try:
        body.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


def message(subject: bytes, reply: bytes, header: bytes, payload: bytes) -> bytes:
    words = [b"HMSG" if header else b"MSG", subject, b"7", *([reply] if reply else [])]
    sizes = [b"%d" % len(header)] if header else []
    return b" ".join([*words, *sizes, b"%d" % len(header + payload)]) + b"\r\n" + header + payload + b"\r\n"


TOKENS = st.from_regex(rb"[!-~]{1,20}", fullmatch=True)
HEADERS = st.binary(max_size=30).map(lambda more: b"NATS/1.0" + more + b"\r\n\r\n")
PAYLOADS = st.one_of(
    st.binary(max_size=50), st.sampled_from([b"", b"\r\n", b"MSG a 7 3\r\n", b"PING\r\n", b"x" * 5_000, b"\r" * 9])
)
MESSAGES = st.builds(message, TOKENS, st.just(b"") | TOKENS, st.just(b"") | HEADERS, PAYLOADS)
LINES = st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"INFO {}\r\n", b"-ERR 'Stale Connection'\r\n"])


@given(st.lists(MESSAGES | LINES), st.data())
def test_as_nats_parses(lines: list[bytes], data: st.DataObject) -> None:
    """However the stream of bytes is cut, the batches hold what nats-py's own parser finds, in its order."""
    stream = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    theirs, ours = Recorder(), Recorder()
    parsers = Parser(theirs), BatchParser(ours, ours.take)  # type: ignore[arg-type]
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for parser in parsers:
            at_once(parser.parse(stream[start:end]))
    assert ours.seen == theirs.seen
    assert not parsers[1].buf


def test_a_batch_is_a_read() -> None:
    """All messages of one read come in one call."""
    calls: list[int] = []

    async def count(frames: list[Frame]) -> None:
        calls.append(len(frames))

    parser = BatchParser(Recorder(), count)  # type: ignore[arg-type]
    line = message(b"a", b"", b"", b"payload")
    at_once(parser.parse(line * 100 + line[:5]))
    at_once(parser.parse(line[5:] + line * 9))
    assert calls == [100, 10]


def test_a_large_message_is_cut_once() -> None:
    """The pieces of a large message are only counted until the last one is there."""
    ours = Recorder()
    parser = BatchParser(ours, ours.take)  # type: ignore[arg-type]
    looked = 0
    take = parser._take

    def counted() -> list[Frame]:
        nonlocal looked
        looked += 1
        return take()

    parser._take = counted  # type: ignore[method-assign]
    stream = message(b"a", b"", b"", b"x" * 8_388_608)
    for start in range(0, len(stream), 32_768):
        at_once(parser.parse(stream[start : start + 32_768]))
    assert [len(frame.payload) for frame in ours.seen if isinstance(frame, Frame)] == [8_388_608]
    assert looked <= 3


def test_where_the_parser_hangs() -> None:
    """nats-py keeps its parser where we replace it and calls it as ours is called; a change needs a look at both."""
    client = Client()
    assert type(client._ps) is Parser
    assert str(inspect.signature(Parser.parse)) == "(self, data: 'bytes' = b'')"
    assert str(inspect.signature(Parser.reset)) == "(self) -> 'None'"
    assert vars(Parser(client)).keys() == {"nc", "buf", "state", "needed", "header_needed", "msg_arg"}
    assert "await self._ps.parse(b)" in inspect.getsource(Client._read_loop)
    others = inspect.getsource(Client).replace("self._ps.parse(b)", "").replace("self._ps.reset()", "")
    assert others.count("_ps") == 1


def test_header_values() -> None:
    """A header's value and a status are found in the bytes."""
    header = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\nNats-Last: 8\r\nEmpty:\r\n\r\n"
    assert status_of(header) == 100
    assert header_value(header, b"Nats-Last-Consumer") == b"7"
    assert header_value(header, b"Nats-Last") == b"8"
    assert header_value(header, b"Empty") == header_value(header, b"Missing") == b""
    assert status_of(b"NATS/1.0\r\n\r\n") == status_of(b"") == 0


# --------------------------------------------------------------------------------------------------------- addresses


def test_url() -> None:
    """A URL names servers, JetStream stream, prefix and options."""
    assert arguments_of(
        "nats://me:sec%2Fret@a:4222,b:4223/EVENTS?prefix=context.events&replicas=3&durability=strict"
        "&monitor=http://a:8222,http://b:8222&creds=/a/file"
    ) == {
        "servers": ["nats://a:4222", "nats://b:4223"],
        "stream": "EVENTS",
        "prefix": "context.events",
        "replicas": 3,
        "monitors": ["http://a:8222", "http://b:8222"],
        "strict": True,
        "options": {"user": "me", "password": "sec/ret", "user_credentials": "/a/file"},
    }


def test_plain_url() -> None:
    """What a URL leaves out is taken as it is found."""
    assert arguments_of("nats://localhost/E?prefix=e") == {
        "servers": ["nats://localhost"],
        "stream": "E",
        "prefix": "e",
        "replicas": None,
        "monitors": [],
        "strict": False,
        "options": {},
    }


def test_token_url() -> None:
    """A name without a password is a token."""
    assert arguments_of("nats://t%40ken@localhost/E?prefix=e")["options"] == {"token": "t@ken"}


def test_tls_url() -> None:
    """``tls://`` asks for TLS with the system's authorities."""
    assert arguments_of("tls://localhost/E?prefix=e")["options"].keys() == {"tls"}


@pytest.mark.parametrize(
    "url",
    [
        "nats://",
        "nats:///E?prefix=e",
        "nats://a",
        "nats://a/?prefix=e",
        "nats://a/E",
        "nats://a/E?prefix=",
        "nats://a/E?prefix=a..b",
        "nats://a/E?prefix=a.",
        "nats://a/E?prefix=a.*",
        "nats://a/E?prefix=%3E",
        "nats://a/E?prefix=a%20b",
        "nats://a/E?prefix=%C3%A9",
        "nats://a/E?prefix=$JS",
        "nats://a/E/F?prefix=e",
        "nats://a/E.F?prefix=e",
        "nats://a/*?prefix=e",
        "nats://a/E%20F?prefix=e",
        "nats://a/E?prefix=e#f",
        "nats://a:port/E?prefix=e",
        "nats://a:99999/E?prefix=e",
        "nats://a,/E?prefix=e",
        "nats://a/E?prefix=e&replicas=2",
        "nats://a/E?prefix=e&replicas=",
        "nats://a/E?prefix=e&durability=full",
        "nats://a/E?prefix=e&what=else",
        "tls://a/E?prefix=e&ca=/no/such/file",
    ],
)
def test_wrong_urls(url: str) -> None:
    """A URL that does not fit is refused before anything is opened, without its password."""
    url = url.replace("//a", "//me:secret@a")
    with pytest.raises(InvalidInput) as refusal:
        from_url(url, create=True)
    assert "secret" not in str(refusal.value)


# ---------------------------------------------------------------------------------------------------------- deliveries


def delivered(*frames: Frame) -> list[int]:
    """Return the positions of the commits that frames bring to a delivery that has seen nothing yet."""
    nobody: Any = None
    delivery = Delivery(nobody, nobody, "S", Commits("p"), after=BEGINNING, head=nobody)
    commits, _, _ = delivery._sorted(list(frames))
    return [raw.position for raw in commits]


def nth(number: int, sequence: int) -> Frame:
    return Frame(b"p.c.1", f"$JS.ACK.S.C.1.{sequence}.{number}.1000.0".encode(), b"", b"x")


def heartbeat(number: int, sequence: int) -> Frame:
    header = f"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {number}\r\nNats-Last-Stream: {sequence}\r\n\r\n"
    return Frame(b"inbox", b"", header.encode(), b"")


def test_no_gap() -> None:
    """Messages that are numbered one after the other are taken, whatever their sequences."""
    assert delivered(nth(1, 1), nth(2, 5), heartbeat(2, 9)) == [1, 5]


@pytest.mark.parametrize(
    "frames",
    [
        (nth(2, 2),),
        (nth(1, 1), nth(3, 3)),
        (nth(1, 1), nth(1, 1)),
        (nth(1, 1), heartbeat(2, 2)),
        (heartbeat(1, 1),),
    ],
)
def test_gaps(frames: tuple[Frame, ...]) -> None:
    """A number left out, or come twice, or only told by a heartbeat, loses the delivery."""
    with pytest.raises(Lost):
        delivered(*frames)


def test_hints() -> None:
    """What is known of a stream's end only goes forward, and of so many streams alone."""
    appender = Appender(None, "p", 1)  # type: ignore[arg-type]
    stream = StreamId("c", "1")
    appender.learn(stream, 5, 50)
    appender.learn(stream, 3, 30)
    assert appender.known(stream) == (5, 50)
    for number in range(70_000):
        appender.learn(StreamId("d", f"{number}"), 1, number)
    assert appender.known(stream) is None
    assert len(appender._ends) == 65_536


@pytest.mark.parametrize("value", ["soon", "9" * 30, "1" * 18, "", "-"])
def test_times_that_are_none(value: str) -> None:
    """What a stranger says about when something was recorded is not believed when it is no time."""
    header = f"NATS/1.0\r\nRecorded-At: {value}\r\n\r\n".encode()
    assert recorded_at_of(header, 7) == 7


# ------------------------------------------------------------------------------------------------------------- turns

HOLD, CANCEL, EXPIRE = range(1, 4)


@given(st.lists(st.tuples(st.sampled_from([0, 0, 0, HOLD, CANCEL, EXPIRE]), st.integers(0, 3)), max_size=200))
def test_turns(plan: list[tuple[int, int]]) -> None:
    """Turns come one at a time and in the order of the calls, whoever is held up, cancelled or out of time."""
    asyncio.run(_turns(plan))


async def _turns(plan: list[tuple[int, int]]) -> None:
    turns, had, holder = Turns(), list[int](), list[int]()

    async def take(number: int, kind: int, pauses: int) -> None:
        turn = await turns.take(0 if kind == EXPIRE else 10)
        assert not holder
        holder.append(number)
        had.append(number)
        for _ in range(pauses if kind == HOLD else 0):
            await asyncio.sleep(0)
        holder.clear()
        turn.end()
        turn.end()

    tasks = [asyncio.create_task(take(number, kind, pauses)) for number, (kind, pauses) in enumerate(plan)]
    for task, (kind, pauses) in zip(tasks, plan, strict=True):
        if kind == CANCEL:
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert had == sorted(had)
    for number, ((kind, _), end) in enumerate(zip(plan, ends, strict=True)):
        assert end is None or isinstance(end, {CANCEL: asyncio.CancelledError, EXPIRE: TimeoutError}.get(kind, int))
        assert (number in had) or end is not None
    turn = await turns.take(0)
    turn.end()


@pytest.mark.parametrize(("waiting", "together"), [(50, [50]), (64, [64]), (200, [64, 64, 64, 8])])
async def test_turns_in_one_turn_of_the_loop(waiting: int, together: list[int]) -> None:
    """Where nothing holds one up, many have their turns at once, 64 at a time: their messages leave together."""
    turns, loop = Turns(), asyncio.get_running_loop()
    first = await turns.take(10)
    times = 0
    had: list[tuple[int, int]] = []

    async def take(number: int) -> None:
        turn = await turns.take(10)
        had.append((times, number))
        turn.end()

    tasks = [loop.create_task(take(number)) for number in range(waiting)]
    await asyncio.sleep(0)
    first.end()
    async with asyncio.timeout(5):
        while len(had) < len(tasks):
            times += 1
            await asyncio.sleep(0)
    assert [number for _, number in had] == list(range(waiting))
    assert list(Counter(turn for turn, _ in had).values()) == together
