"""The whole log from a position on, as fast as it is taken."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import nats.errors

from eventstore._nats_batches import Frame, header_value, receive_in_batches, status_of
from eventstore._nats_errors import CONTROL, NoAnswer, Refused, translated
from eventstore._values import Position, Progress, RawCommit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from types import TracebackType

    from nats.aio.client import Client

    from eventstore._nats_commits import Commits
    from eventstore._nats_wire import Wire

_CREATE_SECONDS: Final = 5.0
_HEARTBEAT_SECONDS: Final = 0.5
_SILENCE_SECONDS: Final = 6 * _HEARTBEAT_SECONDS
_CHECK_SECONDS: Final = 0.02
_ACK_WORDS: Final = 9


class Lost(Exception):
    """A delivery has a gap or has ended; it is taken up again after the last message that came."""


class Delivery:
    """One consumer of the whole log on a connection of its own, from a position on.

    The connection is read only as fast as its commits are taken, and the server sends on only when what it sent was
    taken, so that memory stays bounded whatever the reader's speed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Client]],
        wire: Wire,
        stream: str,
        commits: Commits,
        *,
        after: Position,
        head: Callable[[], Awaitable[int]],
    ) -> None:
        self._connect = connect
        self._wire = wire
        self._stream = stream
        self._commits = commits
        self._position = after
        self._delivered = 0
        self._head = head
        self._nothing_there = False
        self._checked_at = 0.0
        self._frames: asyncio.Queue[list[Frame]] = asyncio.Queue(maxsize=1)
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        client = self._client = await self._connect()
        try:
            inbox = client.new_inbox()
            await receive_in_batches(client, inbox, self._frames.put)
            await client.flush(int(_CREATE_SECONDS))
            config = {
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self._position + 1,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "mem_storage": True,
                "num_replicas": 1,
                "flow_control": True,
                "idle_heartbeat": int(_HEARTBEAT_SECONDS * 1e9),
            }
            body = {"stream_name": self._stream, "config": config}
            # Once: two consumers would send everything twice.
            made = await self._wire.api(f"CONSUMER.CREATE.{self._stream}", body, seconds=_CREATE_SECONDS)
            self._nothing_there = not made["num_pending"]
        except BaseException as error:
            await self.close()
            if isinstance(error, Refused):
                raise translated(error) from None
            if isinstance(error, nats.errors.Error | OSError):
                raise NoAnswer(f"the connection to the server is down ({type(error).__name__})") from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; the server removes the consumer when nobody listens any more."""
        if self._client is not None:
            with suppress(Exception):
                await self._client.close()

    async def items(self) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        """Yield what comes, until it is lost.

        The server that delivers may be a replica that is behind, and says that nothing is left when it has no more. So
        the leader is asked before that is believed, not more often than makes sense.
        """
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        check_at = heard_at if self._nothing_there else math.inf
        wait = _CHECK_SECONDS
        while True:
            frames = await self._next(min(heard_at + _SILENCE_SECONDS, check_at) - loop.time())
            self._wire.check_open()
            if frames:
                heard_at = loop.time()
                commits, replies, nothing_left = self._sorted(frames)
                if commits:
                    yield commits
                for reply in replies:
                    await self._answer(reply)
                check_at = min(check_at, self._checked_at + _CHECK_SECONDS) if nothing_left else math.inf
            elif loop.time() >= heard_at + _SILENCE_SECONDS:
                raise Lost
            if loop.time() >= check_at:
                caught_up = await self._has_all()
                self._checked_at = loop.time()
                yield Progress(self._position, caught_up=caught_up)
                wait = _CHECK_SECONDS if caught_up else min(2 * wait, _HEARTBEAT_SECONDS)
                check_at = math.inf if caught_up else self._checked_at + wait

    async def _next(self, seconds: float) -> list[Frame]:
        """Return what has come, nothing when nothing comes in time."""
        if not self._frames.empty():
            return self._frames.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await self._frames.get()
        except TimeoutError:
            return []

    async def _has_all(self) -> bool:
        with suppress(NoAnswer):
            return self._position >= await self._head()
        return False

    def _sorted(self, frames: list[Frame]) -> tuple[list[RawCommit], list[bytes], bool]:
        """Return the commits, what wants to be answered when they are taken, and whether nothing is left."""
        commits: list[RawCommit] = []
        replies: list[bytes] = []
        caught_up = False
        for frame in frames:
            if frame.reply.startswith(b"$JS.ACK."):
                commits.append(self._taken(frame))
                # How many more the server has.
                caught_up = frame.reply.endswith(b".0")
            elif status_of(frame.header) == CONTROL:
                wanted, idle = self._control(frame)
                replies += wanted
                caught_up = caught_up or idle
        return commits, replies, caught_up

    def _taken(self, frame: Frame) -> RawCommit:
        """Return the commit of the next message."""
        words = frame.reply.split(b".")
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<time>.<pending>, or with a domain and a hash of
        # the account before the stream.
        first = 5 if len(words) == _ACK_WORDS else 7
        if int(words[first + 1]) != self._delivered + 1:
            raise Lost
        self._delivered += 1
        sequence, stored_at = int(words[first]), int(words[first + 2]) // 1_000
        raw = self._commits.of_message(frame.subject, sequence, stored_at, frame.header, frame.payload)
        self._position = raw.position
        return raw

    def _control(self, frame: Frame) -> tuple[list[bytes], bool]:
        """Return what a message about the delivery wants to be answered, and whether it says that nothing is left."""
        last = header_value(frame.header, b"Nats-Last-Consumer")
        if last and int(last) > self._delivered:
            raise Lost
        stalled = header_value(frame.header, b"Nats-Consumer-Stalled")
        replies = [reply for reply in (frame.reply, stalled) if reply]
        if last and not replies:
            # What was removed from the log's end never comes, but the server has been there.
            self._position = max(self._position, Position(int(header_value(frame.header, b"Nats-Last-Stream"))))
        return replies, not replies

    async def _answer(self, reply: bytes) -> None:
        if self._client is not None:
            with suppress(nats.errors.Error):
                await self._client.publish(reply.decode())
