"""A writer that appends at random for a while and writes down what it tries and what it is told.

``python -m tests.eventstore.appender FILE HISTORY SECONDS SEED`` prints a line when it is ready and begins when it is
given one.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventstore import Codec, Conflict, EventStore, StoreUnavailable, StreamId
from eventstore.sqlite import SqliteBackend
from google.protobuf.wrappers_pb2 import Int64Value

from tests.eventstore.history import Acknowledged, Answer, Attempt, Refused, Unknown, to_line

if TYPE_CHECKING:
    from typing import TextIO

STREAMS: Final = ("1", "2", "3")
CODEC: Final = Codec(Int64Value)


async def tell(store: EventStore, attempt: Attempt) -> Answer:
    """Make an attempt."""
    events = [Int64Value(value=number) for number in range(attempt.events)]
    commit_id = bytes.fromhex(attempt.commit_id)
    try:
        done = await store.append(
            StreamId("race", attempt.stream), events, expected=attempt.expected, commit_id=commit_id
        )
    except Conflict as conflict:
        return Refused(conflict.actual)
    except StoreUnavailable:
        return Unknown()
    return Acknowledged(done.version, done.position)


async def append(path: Path, history: TextIO, seconds: float, chance: random.Random) -> None:
    """Append until the time is over, mostly where the stream is believed to be."""
    versions = dict.fromkeys(STREAMS, 0)
    async with EventStore(SqliteBackend(path, durability="normal"), CODEC) as store:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stream = chance.choice(STREAMS)
            expected = max(versions[stream] + chance.choice([0, 0, 0, 0, 0, -1, 1]), 0)
            attempt = Attempt(stream, expected, chance.randint(1, 3), chance.randbytes(16).hex())
            history.write(to_line(attempt))
            history.flush()
            answer = await tell(store, attempt)
            history.write(to_line(answer))
            history.flush()
            if isinstance(answer, Acknowledged):
                versions[stream] = answer.version
            elif isinstance(answer, Refused):
                versions[stream] = answer.actual


def main() -> None:
    """Read the arguments and append."""
    path, history, seconds, seed = sys.argv[1:]
    with Path(history).open("w", encoding="utf-8") as file:
        asyncio.run(append(Path(path), file, float(seconds), random.Random(seed)))


if __name__ == "__main__":
    main()
