"""Requests to a NATS server over one connection, and how to make such a connection."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from eventstore._errors import StoreClosed, StoreUnavailable
from eventstore._nats_batches import Frame, receive_in_batches, status_of
from eventstore._nats_errors import NO_RESPONDERS, NoAnswer, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

T = TypeVar("T")

_log = logging.getLogger("eventstore")

_FIRST_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.05
_DENIED: Final = "permissions violation"
# A server that has gone without a word is missed after two or three of these.
_PING_SECONDS: Final = 2


async def connect(
    servers: list[str],
    options: Mapping[str, Any],
    *,
    seconds: float,
    told: Callable[[str], None] | None = None,
) -> Client:
    """Return a connected client, which ends when its connection does.

    nats-py's own reconnecting is not used: it ends for good when a server does not let it in, and does not close the
    connections that it gives up. ``told`` is called with what the server says that this user may not do, which nats-py
    knows as a text alone.

    Raises:
        StoreUnavailable: no server can be reached in time, or one does not let us in.
    """
    where = ", ".join(server.rpartition("//")[2].rpartition("@")[2] for server in servers)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        client = _Client()
        refusals: list[Exception] = []
        try:
            async with asyncio.timeout_at(end):
                await _connect_once(client, servers, options, refusals, told)
        except BaseException as error:
            with suppress(Exception):
                await client.close()
            if not isinstance(error, Exception):
                raise
            if isinstance(error, _NoTls):
                raise StoreUnavailable(f"{where}: TLS is asked for, and the server offers none") from None
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) and error.filename:
                raise StoreUnavailable(f"{where}: {error.filename}: {error.strerror}") from None
            if not isinstance(error, nats.errors.Error | OSError | TimeoutError):
                # Such as a seed that is none.
                raise StoreUnavailable(f"{where}: cannot connect: {type(error).__name__}") from None
            refusals.append(error)
        else:
            return client
        # nats-py keeps no more of what the server says while a connection is made than its text.
        if any("authorization" in str(told).lower() for told in refusals):
            raise StoreUnavailable(f"{where}: the server does not accept these credentials")
        if loop.time() >= end:
            # The last is that time is over.
            last = refusals[-2:][0]
            reason = "unknown host" if isinstance(last, socket.gaierror) else type(last).__name__
            raise StoreUnavailable(f"{where}: no server answers within {seconds:g} s ({reason})")
        await asyncio.sleep(_PAUSE_SECONDS)


class _NoTls(Exception):
    """A server offers no TLS to who asks for it."""


class _Client(Client):
    """nats-py's, which never sends credentials in clear text to a server that was to speak TLS."""

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise _NoTls
        return super()._connect_command()


async def _connect_once(
    client: Client,
    servers: list[str],
    options: Mapping[str, Any],
    refusals: list[Exception],
    told: Callable[[str], None] | None,
) -> None:
    """Connect to the first server that takes connections, and note why others do not."""

    async def note(error: Exception) -> None:
        if not client.is_connected:
            refusals.append(error)
        elif told is not None and _DENIED in str(error).lower():
            told(str(error).removeprefix("nats: "))
        _log.debug("nats: %s", type(error).__name__)

    given = {
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.2,
        "ping_interval": _PING_SECONDS,
        "max_outstanding_pings": 1,
        **options,
        "error_cb": note,
        "allow_reconnect": False,
    }
    await client.connect(servers, **given)


def _answered(frame: Frame) -> Frame:
    """Return an answer that is one."""
    if status_of(frame.header) == NO_RESPONDERS:
        raise NoAnswer("nobody is there to answer: JetStream is off, or the stream has no leader")
    return frame


async def persistently(ask: Callable[[float], Awaitable[T]], seconds: float, *, first: float = _FIRST_SECONDS) -> T:
    """Ask what may be asked twice until there is an answer, each time with more patience than the first.

    While a leader is being elected nobody answers, and what was asked then is not answered later.

    Raises:
        NoAnswer: there was none in time.
    """
    loop = asyncio.get_running_loop()
    end, wait = loop.time() + seconds, first
    while True:
        try:
            return await ask(min(wait, max(end - loop.time(), _PAUSE_SECONDS)))
        except NoAnswer:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)
        wait *= 2


class Wire:
    """A connection for requests and their answers, of which one request may have many.

    When it has ended, the next request begins another one.
    """

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        self._connect = connect
        self._closed = False
        self._reopening: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._waiting: dict[bytes, Callable[[Frame], None]] = {}

    async def open(self) -> None:
        """Connect, and begin to receive answers.

        Raises:
            StoreUnavailable: no server can be reached, or none lets us in.
        """
        client = await self._connect()
        inbox = client.new_inbox()
        try:
            await receive_in_batches(client, f"{inbox}.*", self._dispatch)
        except BaseException as error:
            with suppress(nats.errors.Error, OSError):
                await client.close()
            if isinstance(error, nats.errors.Error | OSError):
                raise NoAnswer(f"the connection to the server is down ({type(error).__name__})") from None
            raise
        self.client, self._inbox = client, inbox

    async def close(self) -> None:
        """End the connection."""
        self._closed = True
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
        with suppress(nats.errors.Error, OSError):
            await self.client.close()

    def check_open(self) -> None:
        """Raise an error when it was closed.

        Raises:
            StoreClosed: it was.
        """
        if self._closed:
            raise StoreClosed("the store was closed")

    async def _reopen(self) -> None:
        # Who asked has been told that there is no answer, and who asks next tries again.
        try:
            await self.open()
        except StoreUnavailable as error:
            _log.info("%s", error)
        except Exception:  # noqa: BLE001 (a file of credentials that is half written, for one)
            _log.exception("cannot connect")
        finally:
            self._reopening = None

    async def _dispatch(self, frames: list[Frame]) -> None:
        for frame in frames:
            take = self._waiting.get(frame.subject)
            if take is not None:
                take(frame)

    async def send(
        self, subject: str, payload: bytes, take: Callable[[Frame], None], headers: dict[str, str] | None = None
    ) -> bytes:
        """Publish a request whose answers go to ``take`` until ``forget`` is called with what this returns.

        Raises:
            NoAnswer: the connection is down, and as much is waiting for it as may.
        """
        self.check_open()
        if self.client.is_closed:
            if self._reopening is None:
                self._reopening = asyncio.ensure_future(self._reopen())
            raise NoAnswer("the connection to the server is down")
        reply = f"{self._inbox}.{next(self._numbers)}"
        key = reply.encode()
        self._waiting[key] = take
        try:
            await self.client.publish(subject, payload, reply=reply, headers=headers)
        except BaseException as error:
            self.forget(key)
            if isinstance(error, nats.errors.Error):
                raise NoAnswer(f"the connection to the server is down ({type(error).__name__})") from None
            raise
        return key

    def forget(self, key: bytes) -> None:
        """Take no more answers to a request."""
        self._waiting.pop(key, None)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        seconds: float,
        headers: dict[str, str] | None = None,
        sent: Callable[[], None] | None = None,
    ) -> Frame:
        """Return the one answer to a request; ``sent`` is called when it is on its way.

        Raises:
            NoAnswer: none came in time, or nobody is there to give one.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Frame] = loop.create_future()

        def take(frame: Frame) -> None:
            if not answer.done():
                answer.set_result(frame)

        def expire() -> None:
            if not answer.done():
                answer.set_exception(NoAnswer(f"no answer within {seconds:g} s"))

        key = await self.send(subject, payload, take, headers)
        if sent is not None:
            sent()
        # A bare timer: asyncio.timeout costs a tenth of an append.
        timer = loop.call_later(seconds, expire)
        try:
            return _answered(await answer)
        finally:
            timer.cancel()
            self.forget(key)

    async def ask(self, verb: str, body: object = None, *, seconds: float) -> dict[str, Any]:
        """Do as ``api`` does, again and again until there is an answer: for what may be done twice.

        Raises:
            Refused: it answers with an error.
            NoAnswer: it does not answer in time.
        """
        try:
            return await persistently(lambda wait: self.api(verb, body, seconds=wait), seconds)
        except NoAnswer as error:
            raise NoAnswer(f"JetStream did not answer {verb} within {seconds:g} s ({error})") from None

    async def gather(self, subject: str, payload: bytes, *, seconds: float) -> tuple[list[Frame], Frame]:
        """Return the answers to a request, and the status message that ended them.

        Raises:
            NoAnswer: nothing came for so many seconds, or nobody is there to answer.
        """
        loop = asyncio.get_running_loop()
        frames: list[Frame] = []
        ended: asyncio.Future[Frame] = loop.create_future()
        heard_at = loop.time()

        def take(frame: Frame) -> None:
            nonlocal heard_at
            heard_at = loop.time()
            if not frame.header.startswith(b"NATS/1.0 "):
                frames.append(frame)
            elif not ended.done():
                ended.set_result(frame)

        key = await self.send(subject, payload, take)
        try:
            # What is found by looking through many blocks comes slowly: only silence means that nobody answers.
            while not ended.done():
                left = heard_at + seconds - loop.time()
                if left <= 0:
                    raise NoAnswer(f"no answer within {seconds:g} s")
                await asyncio.wait([ended], timeout=left)
            return frames, _answered(ended.result())
        finally:
            self.forget(key)

    async def api(self, verb: str, body: object = None, *, seconds: float) -> dict[str, Any]:
        """Return what JetStream's interface answers.

        Raises:
            Refused: it answers with an error.
            NoAnswer: it does not answer, or says that it cannot now.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        frame = await self.request(f"$JS.API.{verb}", payload, seconds=seconds)
        answer: dict[str, Any] = msgspec.json.decode(frame.payload)
        if error := answer.get("error"):
            refused = Refused(verb, error.get("code", 0), error.get("err_code", 0))
            if refused.passes:
                raise NoAnswer(f"JetStream cannot answer {verb} now: error {refused.err_code}")
            raise refused
        return answer
