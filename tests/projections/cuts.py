"""Stands between a client and a server, and hangs up in mid-commit."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

Cut = Literal["before", "amid", "after"]
"""Where a commit is cut off: it does not arrive; nobody waits for its answer; its answer has come, and is lost."""

CUTS: Final[tuple[Cut, ...]] = get_args(Cut)

#: What clients send to commit: a script, and the message COMMIT of Bolt with its length and its end.
COMMITS: Final = {"valkey": b"EVAL", "neo4j": b"\x00\x02\xb0\x12\x00\x00"}

_SIZE: Final = 1 << 20


@asynccontextmanager
async def cut_off(url: str, cuts: Iterator[Cut | None]) -> AsyncIterator[str]:
    """Give another address for a server, where each commit is cut off as the next of ``cuts`` says, if it does."""
    server = urlsplit(url)
    word = COMMITS[server.scheme]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, out = await asyncio.open_connection(server.hostname, server.port)
        answering = asyncio.create_task(_pass_on(answers, writer))
        with suppress(ConnectionError):
            while data := await reader.read(_SIZE):
                cut = next(cuts, None) if word in data else None
                if cut == "before":
                    break
                if cut is not None:
                    answering.cancel()
                    await asyncio.wait([answering])
                out.write(data)
                if cut == "after":
                    await answers.read(_SIZE)
                if cut is not None:
                    break
        answering.cancel()
        out.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield server._replace(netloc=f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}").geturl()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write what is read, to its end."""
    with suppress(ConnectionError):
        while data := await reader.read(_SIZE):
            writer.write(data)
    writer.close()
