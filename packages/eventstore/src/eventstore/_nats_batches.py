"""Reads a NATS connection in batches: as many messages as a read of the socket brought, instead of one at a time.

nats-py hands each message to a callback through several coroutines, which bounds a replay to about a hundred thousand
messages a second. Its parser is one object with one coroutine, ``parse(data)``; the subclass below takes its place in a
connection with a single subscription, splits what was read into frames itself, and leaves all other lines to its
parent. Everything else stays nats-py's: TLS, credentials, the choice of a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A message as it came over the wire."""

    subject: bytes
    #: Empty when nobody waits for an answer.
    reply: bytes
    #: Empty, or from ``NATS/1.0`` to the empty line.
    header: bytes
    payload: bytes


_CRLF: Final = b"\r\n"
_MSG_WORDS: Final = 4
_HMSG_WORDS: Final = 5


class BatchParser(Parser):
    """Gives all messages of a connection to a sink, as many at a time as one read brought.

    While the sink is awaited nothing more is read from the socket: that is the back-pressure.
    """

    def __init__(self, client: Client, sink: Callable[[list[Frame]], Awaitable[None]]) -> None:
        super().__init__(client)
        self._sink = sink

    def reset(self) -> None:
        """Forget what was read, as a new connection does."""
        super().reset()
        # So many bytes the buffer must have before another look is worth it; saves looking at a large message's head
        # each time a piece of it comes.
        self._awaited = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take what was read from the socket."""
        self.buf.extend(data)
        while len(self.buf) > self._awaited:
            if frames := self._take():
                await self._sink(frames)
            end = self.buf.find(_CRLF) + len(_CRLF)
            if not self.buf or self.buf[0] in b"MH" or end < len(_CRLF):
                return
            # A ping, an error, news of the cluster: rare, and the parent's.
            line, rest = bytes(self.buf[:end]), self.buf[end:]
            self.buf = bytearray()
            await super().parse(line)
            self.buf = rest

    def _take(self) -> list[Frame]:
        """Cut the complete messages off the front of the buffer."""
        frames: list[Frame] = []
        view = bytes(self.buf)
        at, size, crlf = 0, len(view), len(_CRLF)
        self._awaited = 0
        while at < size and view[at] in b"MH":
            end = view.find(_CRLF, at)
            if end < 0:
                break
            words = view[at:end].split()
            header = words[0] == b"HMSG"
            start = end + crlf
            done = start + int(words[-1])
            if done + crlf > size:
                self._awaited = done + crlf - at - 1
                break
            split = start + int(words[-2]) if header else start
            reply = words[3] if len(words) > (_HMSG_WORDS if header else _MSG_WORDS) else b""
            frames.append(Frame(words[1], reply, view[start:split], view[split:done]))
            at = done + crlf
        del self.buf[:at]
        return frames


async def receive_in_batches(client: Client, subject: str, sink: Callable[[list[Frame]], Awaitable[None]]) -> None:
    """Subscribe a connected client to one subject, the only one it will ever have.

    Where nats-py's parser is not the one this module knows, each message goes to the sink by itself, through an
    ordinary subscription.
    """
    if type(getattr(client, "_ps", None)) is Parser:
        client._ps = BatchParser(client, sink)  # noqa: SLF001 (pinned by a test)
        await client.subscribe(subject)
    else:

        async def take(message: Msg) -> None:
            await sink([_frame_of(message)])

        # Without limits, over which nats-py would drop messages: what the server sends ahead is bounded.
        await client.subscribe(subject, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)


def _frame_of(message: Msg) -> Frame:
    """Return a message that nats-py has parsed as it would have come over the wire."""
    headers = {str(getattr(key, "value", key)): value for key, value in (message.headers or {}).items()}
    status = " ".join(filter(None, (headers.pop("Status", ""), headers.pop("Description", ""))))
    lines = [f"NATS/1.0 {status}".rstrip(), *(f"{key}: {value}" for key, value in headers.items())]
    header = "\r\n".join([*lines, "", ""]).encode() if message.headers else b""
    return Frame(message.subject.encode(), message.reply.encode(), header, message.data)


def header_value(header: bytes, name: bytes) -> bytes:
    """Return a header's value, empty when it is not there.

    The last one counts: what a server adds stands after what the message brought.
    """
    at = header.rfind(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return header[start : header.find(_CRLF, start)].strip()


def status_of(header: bytes) -> int:
    """Return the status a message carries in its first header line, 0 for a message that is none."""
    code = header[9:12]
    return int(code) if header.startswith(b"NATS/1.0 ") and code.isdigit() else 0
