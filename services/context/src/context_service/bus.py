"""NATS beside the log: a connection that is made anew when it has ended, and the streams that carry the subjects."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from eventstore import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from eventstore.jetstream import Servers
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig, RawStreamMsg

T = TypeVar("T")

_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 5.0
_WEEK: Final = 7 * 24 * 3600.0
#: JetStream's errors by their codes.
_WRONG_SEQUENCE: Final = frozenset({10071, 10164})
#: Of an event log's JetStream stream, in its metadata.
_LOG_ID: Final = "eventstore.log_id"


class Owned(NamedTuple):
    """A JetStream stream that is the service's own, unless others carry its subjects already."""

    name: str
    subjects: tuple[str, ...]
    #: What is declared of it, in nats-py's words.
    limits: dict[str, Any]


#: A request that is handled is not kept.
REQUESTS: Final = Owned(
    "CONTEXT_REQUESTS", ("context.update.request", "context.rehydrate.request"), {"retention": "workqueue"}
)
ANSWERS: Final = Owned("CONTEXT_ANSWERS", ("context.update.response", "context.rehydrate.response"), {"max_age": _WEEK})
UPDATES: Final = Owned("CONTEXT_UPDATES", ("context.events.updated",), {"max_age": _WEEK})
#: Kept until somebody decides.
DEAD: Final = Owned("CONTEXT_DEAD", ("context.dead.*",), {})
CHECKPOINTS: Final = Owned("CONTEXT_CHECKPOINTS", ("context.checkpoints.*",), {"max_msgs_per_subject": 1})

# What the others begin from. Every limit is sent, and compared with what the server has made of it.
_LIMITS: Final[dict[str, Any]] = {
    "retention": "limits",
    "storage": "file",
    "discard": "new",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msgs_per_subject": -1,
    "max_age": 0.0,
    "duplicate_window": 120.0,
}


class BusUnavailable(Exception):
    """NATS cannot be reached, or does not answer. Whether something was published is unknown."""


class Misfit(BusUnavailable):
    """A stream or consumer is there and is not what the service needs. The message says what an operator must mend."""


class TooLarge(Exception):
    """A message is larger than the server takes."""


class WrongSequence(Exception):
    """Something else was published on the subject meanwhile."""


class Bus:
    """A connection to NATS, made anew when it has ended, for whoever uses it next."""

    def __init__(self, servers: Servers, *, replicas: int | None, makes_requests: bool) -> None:
        self._servers = servers
        self._replicas = replicas
        self._makes_requests = makes_requests
        self._connecting = asyncio.Lock()
        self._client: Client | None = None

    async def client(self) -> Client:
        """Return a client that is connected.

        Raises:
            BusUnavailable: no server can be reached.
        """
        from eventstore.jetstream import connected  # noqa: PLC0415 (an extra installs the driver)

        async with self._connecting:
            if self._client is None or self._client.is_closed:
                try:
                    self._client = await connected(self._servers, seconds=_CONNECT_SECONDS)
                except StoreUnavailable as error:
                    raise BusUnavailable(str(error)) from None
            return self._client

    async def close(self) -> None:
        """End the connection, with all said that was to be said."""
        if self._client is not None:
            with suppress(Exception):
                await self._client.flush(1)
            with suppress(Exception):
                await self._client.close()

    async def publish(
        self, subject: str, body: bytes, headers: dict[str, str] | None = None, *, after: int | None = None
    ) -> int:
        """Store a message and return its sequence; only if ``after`` is the subject's last one, where that is given.

        Raises:
            WrongSequence: it is not.
            TooLarge: the server would end the connection.
            BusUnavailable: it may not be stored.
        """
        headers = dict(headers or {})
        if after is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(after)
        # nats-py looks at the body alone.
        size = len(body) + _size(headers)
        if size > (most := (await self.client()).max_payload):
            raise TooLarge(f"a message of {size:,} bytes on {subject}: the server takes {most:,}")
        async with self._asking() as js:
            return (await js.publish(subject, body, timeout=_ANSWER_SECONDS, headers=headers or None)).seq

    async def room(self, headers: dict[str, str]) -> int:
        """Return how many bytes of a body the server takes with some headers.

        Raises:
            BusUnavailable: no server can be reached.
        """
        return max((await self.client()).max_payload - _size(headers), 0)

    async def last(self, stream: str, subject: str) -> RawStreamMsg | None:
        """Return the last message of a subject, as the stream's leader knows it.

        Raises:
            BusUnavailable: it cannot be asked.
        """
        async with self._asking() as js:
            return await _found(js.get_last_msg(stream, subject))

    async def message(self, stream: str, after: int) -> RawStreamMsg | None:
        """Return the first message of a stream after a sequence.

        Raises:
            BusUnavailable: it cannot be asked.
        """
        async with self._asking() as js:
            return await _found(js.get_msg(stream, after + 1, subject=">", next=True))

    async def remove(self, stream: str, sequence: int) -> None:
        """Remove a message from a stream.

        Raises:
            BusUnavailable: it may still be there.
        """
        async with self._asking() as js:
            if await _found(js.get_msg(stream, sequence)) is not None:
                await js.delete_msg(stream, sequence)

    async def purge(self, subject: str) -> None:
        """Remove all messages of a subject from its stream.

        Raises:
            BusUnavailable: they may still be there.
        """
        stream = await self.carrier(subject)
        async with self._asking() as js:
            await _found(js.purge_stream(str(stream), subject=subject))

    async def carrier(self, subject: str) -> str | None:
        """Return the JetStream stream that carries a subject, whoever made it; None when there is none.

        Raises:
            Misfit: it is an event log, which must hold nothing else.
            BusUnavailable: nobody says.
        """
        async with self._asking() as js:
            name = await _found(js.find_stream_name_by_subject(subject))
            if name is None:
                return None
            if _LOG_ID in ((await js.stream_info(name)).config.metadata or {}):
                raise Misfit(f"{subject} lies in the event log {name}: give the log another prefix")
            return name

    async def make(self, owned: Owned) -> None:
        """Make a stream for those of its subjects that no other stream carries, or put it right.

        Raises:
            Misfit: the server does not let it be what it must be.
            BusUnavailable: it may not be there.
        """
        if owned is REQUESTS and not self._makes_requests:
            return
        carriers = {subject: await self.carrier(subject) for subject in owned.subjects}
        subjects = [subject for subject, name in carriers.items() if name in {None, owned.name}]
        if subjects:
            await self._declare(owned, subjects)

    async def _declare(self, owned: Owned, subjects: list[str]) -> None:
        from nats.js.api import StreamConfig  # noqa: PLC0415 (an extra installs the driver)

        declared = {**_LIMITS, **owned.limits, "subjects": subjects}
        async with self._asking() as js:
            there = await _found(js.stream_info(owned.name))
            replicas = self._replicas or (there.config.num_replicas if there else 1)
            declared["num_replicas"] = replicas
            if there is None:
                info = await js.add_stream(StreamConfig(name=owned.name, **declared))
            elif _different(declared, there.config):
                info = await js.update_stream(there.config.evolve(**declared))
            else:
                return
        if wrong := _different(declared, info.config):
            raise Misfit(f"the JetStream stream {owned.name} is not as declared: {wrong}")

    async def consumer(self, stream: str, config: ConsumerConfig) -> JetStreamContext.PullSubscription:
        """Return the durable consumer of a stream, shared by all who name it, made or put right.

        Raises:
            Misfit: the name is somebody else's, or the server does not let it be what it must be.
            BusUnavailable: it may not be there.
        """
        durable = str(config.durable_name)
        declared = {key: value for key, value in vars(config).items() if value is not None}
        async with self._asking() as js:
            there = await _found(js.consumer_info(stream, durable))
            if there is not None and there.config.filter_subject != config.filter_subject:
                # The server would hand it over, and its subject would be handled by nobody.
                other = there.config.filter_subject
                raise Misfit(f"the consumer {durable} of {stream} is of {other!r}, not of {config.filter_subject!r}")
            info = await js.add_consumer(stream, config)
            if wrong := _different(declared, info.config):
                raise Misfit(f"the consumer {durable} of {stream} is not as declared: {wrong}")
            return await js.pull_subscribe_bind(durable, stream=stream)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[JetStreamContext]:
        """Translate what nats-py raises, by its codes."""
        client = await self.client()
        import nats.errors  # noqa: PLC0415 (an extra installs the driver)
        from nats.js.errors import APIError  # noqa: PLC0415

        try:
            yield client.jetstream(timeout=_ANSWER_SECONDS)
        except APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                raise WrongSequence from None
            raise BusUnavailable(f"JetStream answered with error {error.err_code} (status {error.code})") from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BusUnavailable(f"NATS does not answer ({type(error).__name__})") from None


def _size(headers: dict[str, str]) -> int:
    return sum(len(key) + len(value.encode()) + 4 for key, value in headers.items()) + 16


async def _found(asked: Awaitable[T]) -> T | None:
    """Return what is asked for, None when there is no such thing."""
    from nats.js.errors import NotFoundError  # noqa: PLC0415 (an extra installs the driver)

    try:
        return await asked
    except NotFoundError:
        return None


def _different(declared: dict[str, Any], config: Any) -> str:
    """Say what the server has made otherwise than it was declared."""
    found = {key: getattr(config, key) for key in declared}
    return ", ".join(
        f"{key} is {found[key]!r}, not {value!r}" for key, value in declared.items() if found[key] != value
    )


@asynccontextmanager
async def open_bus(url: str) -> AsyncIterator[Bus | None]:
    """Use the NATS of the setting ``nats``, which need not be up; none where the setting is empty.

    Args:
        url: ``nats://host:4222,host:4222``, with the options of a log's URL for who connects and how, and
            ``replicas=3`` for the service's own streams, ``requests=bound`` when others make that of the requests.

    Raises:
        InvalidInput: it is none, or the driver is not installed.
    """
    if not url:
        yield None
        return
    bus = _bus(url)
    try:
        yield bus
    finally:
        await bus.close()


def _bus(url: str) -> Bus:
    try:
        from eventstore.jetstream import replicas_of, servers_of  # noqa: PLC0415 (an extra installs the driver)
    except ModuleNotFoundError as error:
        problem = f"NATS needs the package {error.name}: install foldlog-context[jetstream]"
        raise InvalidInput("nats", problem) from None
    try:
        servers = servers_of(url)
        replicas = replicas_of(servers.rest)
    except InvalidInput as error:
        raise InvalidInput("nats", error.problem) from None
    requests = servers.rest.pop("requests", "")
    if servers.path or servers.rest or requests not in ("", "bound"):
        problem = "expected nats://HOST:4222, and of options replicas, requests=bound, creds, nkey, ca, cert, key"
        raise InvalidInput("nats", problem)
    return Bus(servers, replicas=replicas, makes_requests=not requests)
