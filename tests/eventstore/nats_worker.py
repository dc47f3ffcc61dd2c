"""A process of writers or readers on a JetStream log, who write down what they try, are told and see.

``python -m tests.eventstore.nats_worker write|read URL FOLDER NAME SEED`` begins at once. A line on standard input ends
it: writers after the attempt under way, readers when they have seen the log up to the position that the line holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventstore import EventStore, Progress, StoreUnavailable, StreamId
from eventstore._nats_url import arguments_of
from eventstore.jetstream import JetStreamBackend

from tests.eventstore.appender import CODEC, tell
from tests.eventstore.history import Acknowledged, Attempt, Read, Refused, Stored, Unknown, to_line

if TYPE_CHECKING:
    from typing import TextIO

    from eventstore import Commit

STREAMS: Final = [f"{number}" for number in range(8)]
EACH: Final = 4
"""So many writers in a process of writers."""
APPEND_SECONDS: Final = 5.0


def open_log(url: str, *, create: bool = False) -> EventStore:
    backend = JetStreamBackend(**arguments_of(url), create=create, append_seconds=APPEND_SECONDS)
    return EventStore(backend, CODEC)


async def patiently_opened(stack: contextlib.AsyncExitStack, url: str) -> EventStore:
    """Open the log as soon as the servers let it be opened."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            return await stack.enter_async_context(open_log(url))


def told(commit: Commit) -> Stored:
    events = commit.version - commit.first_version + 1
    return Stored(commit.stream.id, commit.first_version, events, commit.commit_id.hex(), commit.position)


async def write(url: str, file: TextIO, chance: random.Random, end: asyncio.Future[int]) -> None:
    """Append mostly where the stream is believed to be; what has no answer is tried again, as often as not."""
    versions = dict.fromkeys(STREAMS, 0)
    async with contextlib.AsyncExitStack() as stack:
        store = await patiently_opened(stack, url)
        attempt, answer = None, None
        while not end.done():
            if attempt is None or not isinstance(answer, Unknown) or chance.random() < 0.5:
                stream = chance.choice(STREAMS)
                expected = max(versions[stream] + chance.choice([0, 0, 0, 0, 0, 0, 0, -1, 1]), 0)
                attempt = Attempt(stream, expected, chance.randint(1, 3), chance.randbytes(16).hex())
            note(file, attempt)
            answer = await tell(store, attempt)
            note(file, answer)
            if isinstance(answer, Acknowledged):
                versions[attempt.stream] = answer.version
            elif isinstance(answer, Refused):
                versions[attempt.stream] = answer.actual


async def follow(url: str, file: TextIO, chance: random.Random, end: asyncio.Future[int]) -> None:
    """Follow the log from its beginning, at times slowly."""
    async with contextlib.AsyncExitStack() as stack:
        store = await patiently_opened(stack, url)
        async for item in store.follow():
            if not isinstance(item, Progress):
                note(file, told(item))
            if chance.random() < 0.001:
                await asyncio.sleep(chance.random())
            if end.done() and item.position >= end.result():
                return


async def read(url: str, file: TextIO, chance: random.Random, end: asyncio.Future[int]) -> None:
    """Read one stream after the other, in turn from its beginning or from what is known."""
    versions = dict.fromkeys(STREAMS, 0)
    async with contextlib.AsyncExitStack() as stack:
        store = await patiently_opened(stack, url)
        while not end.done():
            stream = chance.choice(STREAMS)
            after = chance.choice([0, versions[stream]])
            with contextlib.suppress(StoreUnavailable):
                found = await store.read(StreamId("race", stream), after=after)
                versions[stream] = found.version
                note(file, Read(stream, found.version))


def note(file: TextIO, fact: Attempt | Acknowledged | Refused | Unknown | Stored | Read) -> None:
    file.write(to_line(fact))
    file.flush()


async def main(kind: str, url: str, folder: str, name: str, seed: str) -> None:
    """Do it."""
    end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    workers = [write] * EACH if kind == "write" else [follow, follow, read, read]
    with contextlib.ExitStack() as files:
        async with asyncio.TaskGroup() as tasks:
            for number, work in enumerate(workers):
                path = Path(folder, f"{work.__name__}-{name}-{number}")
                file = files.enter_context(path.open("w", encoding="utf-8"))
                tasks.create_task(work(url, file, random.Random(f"{seed}-{name}-{number}"), end))
            end.set_result(int(await asyncio.to_thread(sys.stdin.readline)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
