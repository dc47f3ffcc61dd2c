"""What does a process weigh that reads a whole log, or writes one? Run as ``python -m benchmarks.weigh WHO URL COUNT``.

Prints the peak of its memory in MB, of which what the imports weigh is a part.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import nats
from eventstore import EventStore
from eventstore.jetstream import JetStreamBackend

from benchmarks.facts import CODEC, draw, message
from benchmarks.jetstream import (
    NAME,
    PREFIX,
    append_together,
    replay_bytes,
    their_append_together,
    their_replay,
)

WRITERS = 128


async def weigh(who: str, url: str, count: int) -> None:
    """Do one job once."""
    fact = message(draw(random.Random(1)))
    client = await nats.connect(url)
    async with EventStore(JetStreamBackend([url], NAME, prefix=PREFIX), CODEC) as store:
        match who:
            case "our-reader":
                await replay_bytes(store)
            case "their-reader":
                await their_replay(client, NAME)
            case "our-writer":
                await append_together(store.backend, fact, WRITERS, count // WRITERS, "our")
            case "their-writer":
                await their_append_together(client, fact, WRITERS, count // WRITERS, "their")
    await client.close()


if __name__ == "__main__":
    asyncio.run(weigh(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    # Not getrusage, whose peak counts what the parent weighed before this program was loaded.
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024)
