"""A log in NATS JetStream: one JetStream stream, one literal subject a stream, one message a commit.

The leader alone says where a stream ends. Direct gets, which any replica answers, and any mirror that somebody has made
of the JetStream stream, bring the messages up to there; each names the one before it, so that what they leave out is
noticed and asked of the leader.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from eventstore._envelope import parse
from eventstore._errors import (
    CorruptCommit,
    NotAStore,
    StoreClosed,
    StoreNotFound,
    StoreUnavailable,
    UnknownPosition,
    WrongLog,
)
from eventstore._nats_appends import Appender, End
from eventstore._nats_batches import Frame, status_of
from eventstore._nats_commits import Commits, direct_recorded_at, sequence_of
from eventstore._nats_delivery import Delivery, Lost
from eventstore._nats_durability import Durability
from eventstore._nats_errors import (
    END_OF_BATCH,
    MESSAGE_NOT_FOUND,
    NOT_FOUND,
    NoAnswer,
    Refused,
    translated,
)
from eventstore._nats_names import stream_of, subject_of
from eventstore._nats_stream import LogStream, log_id_of
from eventstore._nats_url import Servers, arguments_of, replicas_of, servers_of
from eventstore._nats_wire import Wire, connect, persistently
from eventstore._values import (
    BEGINNING,
    Appended,
    Moment,
    NewCommit,
    Position,
    Progress,
    RawCommit,
    StreamId,
    StreamInfo,
    Tail,
    Version,
)
from eventstore.memory import now_micros

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from nats.aio.client import Client

OLDEST_SERVER: Final = (2, 12, 4)

_log = logging.getLogger("eventstore")

_START_SECONDS: Final = 10.0
# Of those to take up a delivery again, which are told.
_TOLD_ATTEMPTS: Final = frozenset({3, 10, 100})
_API_SECONDS: Final = 5.0
# A server that looks for a stream's next commit may be silent while it looks through all the log: 0.5 s for a million.
_SEARCH_SECONDS: Final = 2.0
_APPEND_SECONDS: Final = 10.0
_BATCH: Final = 500
_BATCH_BYTES: Final = 8 * 1024 * 1024
_LISTED: Final = 100
# By so much the clocks of the servers that may become leader are allowed to differ.
_SKEW_MICROS: Final = 1_000_000
_MIN_PAYLOAD: Final = 1024 * 1024


__all__ = ["OLDEST_SERVER", "JetStreamBackend", "Servers", "connected", "from_url", "replicas_of", "servers_of"]


async def connected(servers: Servers, *, seconds: float = _START_SECONDS) -> Client:
    """Return a connected client of nats-py, which ends when its connection does, for other uses than a log.

    Raises:
        StoreUnavailable: no server can be reached in time, or one does not let us in.
    """
    return await connect(servers.urls, servers.options, seconds=seconds)


class JetStreamBackend:
    """Keeps a log in a JetStream stream of nats-server 2.12.4 or later.

    Appends under way at once are stored in the order of the calls while the servers answer; one that must be sent
    again, because a leader was lost, may come after later ones on other streams.

    Args:
        servers: URLs, ``nats://host:4222`` or ``tls://host:4222``, with ``user:password@`` where that is wanted.
        stream: name of the JetStream stream.
        prefix: of its subjects, ``<prefix>.<category>.<id>``.
        replicas: how many servers keep the stream; None takes what is there, and 1 for a new one.
        create: make the JetStream stream when there is none.
        monitors: addresses of the servers' monitoring ports, ``http://host:8222``, which tell when they sync.
        strict: refuse servers that acknowledge before they sync, or that do not tell.
        options: goes to nats-py's ``connect`` as it is: credentials, nkeys, TLS.
        append_seconds: how long an append tries before it gives up.
        start_seconds: how long opening waits for a server.
    """

    def __init__(
        self,
        servers: Sequence[str],
        stream: str,
        *,
        prefix: str,
        replicas: int | None = None,
        create: bool = True,
        monitors: Sequence[str] = (),
        strict: bool = False,
        options: Mapping[str, Any] | None = None,
        append_seconds: float = _APPEND_SECONDS,
        start_seconds: float = _START_SECONDS,
    ) -> None:
        self._servers = list(servers)
        self._name = stream
        self._prefix = prefix
        self._create = create
        self._stream = LogStream(stream, prefix, replicas)
        self._durability = Durability(monitors)
        self._commits = Commits(prefix)
        self._strict = strict
        self._options = dict(options or {})
        self._start_seconds = start_seconds
        self._open: Wire | None = None
        self._told = ""
        self._log_id = ""
        # The highest sequence that is known to be stored: a new leader may need a moment until it knows it too.
        self._seen = 0
        self._appender = Appender(self, prefix, append_seconds)
        self._deliveries: set[Delivery] = set()

    # ---------------------------------------------------------------------------------------------- open and close

    async def __aenter__(self) -> Self:
        wire = Wire(self._connect)
        await wire.open()
        try:
            self._check_server(wire.client)
            info = await self._stream.find_or_make(wire, create=self._create, seconds=self._start_seconds)
            self._log_id = log_id_of(info)
            if self._strict:
                await self._durability.check_strict(info, _server_id(wire.client))
        except Refused as error:
            await wire.close()
            raise translated(error) from None
        except BaseException:
            await wire.close()
            raise
        self._open = wire
        return self

    async def _connect(self) -> Client:
        return await connect(self._servers, self._options, seconds=self._start_seconds, told=self._be_told)

    def _be_told(self, text: str) -> None:
        self._told = text

    @property
    def told(self) -> str:
        """What the server has said that this user may not do, as the end of a message."""
        return f"; the server says: {self._told}" if self._told else ""

    def _check_server(self, client: Client) -> None:
        if _server_version(client) < OLDEST_SERVER:
            found, wanted = (".".join(map(str, version)) for version in (_server_version(client), OLDEST_SERVER))
            raise NotAStore(f"the server is nats-server {found}; {wanted} or later is needed")
        if client.max_payload < _MIN_PAYLOAD:
            raise NotAStore(f"the server takes messages of {client.max_payload:,} bytes; {_MIN_PAYLOAD:,} are needed")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wire = self.wire
        try:
            await self._appender.close()
        finally:
            self._open = None
            for delivery in list(self._deliveries):
                await delivery.close()
            await wire.close()

    @property
    def wire(self) -> Wire:
        """The connection for requests.

        Raises:
            StoreClosed: it is not open.
        """
        if self._open is None:
            raise StoreClosed("the store is not open: use it inside its async with block")
        return self._open

    @property
    def log_id(self) -> str:
        return self._log_id

    async def _state(self) -> dict[str, Any]:
        """Return the state of the JetStream stream.

        Raises:
            WrongLog: it is another log's by now.
        """
        return dict((await self._info())["state"])

    async def _info(self, body: object = None) -> dict[str, Any]:
        try:
            info = await self.wire.ask(f"STREAM.INFO.{self._name}", body, seconds=_API_SECONDS)
        except Refused as error:
            raise translated(error) from None
        except NoAnswer as error:
            raise NoAnswer(f"{error}{self.told}") from None
        if (found := log_id_of(info)) != self._log_id:
            raise WrongLog(self._log_id, found)
        return info

    # ------------------------------------------------------------------------------------------------------ append

    async def append(self, commit: NewCommit) -> Appended:
        self.wire  # noqa: B018 (raises when it is closed)
        answer = await self._appender.append(commit)
        self._seen = max(self._seen, answer.position)
        return answer

    # -------------------------------------------------------------------------------------------------- one stream

    async def tail(self, stream: StreamId) -> Tail:
        end = await persistently(lambda _: self.end_of(stream), _API_SECONDS)
        return Tail(Version(end.version), Position(end.sequence))

    async def end_of(self, stream: StreamId) -> End:
        """Return where a stream ends, as its leader says.

        Raises:
            NoAnswer: the leader has not caught up with what was acknowledged before.
            CorruptCommit: it ends with something that is no commit.
        """
        raw = await self._last(stream)
        if raw is None:
            return End(0, 0)
        end = End(_end(raw), raw.position)
        self._appender.learn(stream, *end)
        return end

    async def _last(self, stream: StreamId) -> RawCommit | None:
        """Return a stream's last message, as its leader says."""
        raw = await self._leader_get({"last_by_subj": subject_of(self._prefix, stream)})
        known = self._appender.known(stream)
        if known is not None and (raw is None or raw.position < known.sequence):
            # The newest commit was removed, or a new leader has not caught up with what the old one acknowledged.
            if (await self._state())["last_seq"] < known.sequence:
                raise NoAnswer("the server has not caught up with what was acknowledged")
            self._appender.forget(stream)
        return raw

    async def _leader_get(self, body: dict[str, Any]) -> RawCommit | None:
        try:
            answer = await self.wire.ask(f"STREAM.MSG.GET.{self._name}", body, seconds=_API_SECONDS)
        except Refused as error:
            if error.err_code == MESSAGE_NOT_FOUND:
                return None
            raise translated(error) from None
        return self._commits.of_leader_get(answer["message"])

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        self.wire  # noqa: B018 (raises when it is closed)
        last = await persistently(lambda _: self._last(stream), _API_SECONDS)
        if last is None:
            return
        with suppress(CorruptCommit):
            # What stands there is told when it is reached.
            self._appender.learn(stream, _end(last), last.position)
        async for chunk in self.messages(stream, position, last.position):
            wanted = chunk if position or not after else [raw for raw in chunk if _end(raw) > after]
            if wanted:
                yield wanted

    async def messages(self, stream: StreamId, after: int, last: int) -> AsyncGenerator[list[RawCommit], None]:
        """Yield a stream's commits after a sequence that is one of its own, or 0, up to one that the leader has."""
        subject = subject_of(self._prefix, stream)
        while after < last:
            where = {"seq": after + 1, "next_by_subj": subject}
            frames = await self._direct_get({**where, "batch": _BATCH, "max_bytes": _BATCH_BYTES})
            chunk: list[RawCommit] = []
            for frame in frames:
                if not self._commits.follows(frame, after):
                    break
                chunk.append(self._commits.of_direct_get(frame))
                after = chunk[-1].position
            if not frames or len(chunk) < len(frames):
                # Something was left out, or what stood there is gone: the leader knows.
                raw = await self._leader_get({**where, "seq": after + 1})
                if raw is None:
                    last = 0
                else:
                    chunk.append(raw)
                    after = raw.position
            if chunk:
                yield chunk

    async def _direct_get(self, body: dict[str, Any]) -> list[Frame]:
        """Return messages as any replica has them."""
        address, payload, wire = f"$JS.API.DIRECT.GET.{self._name}", msgspec.json.encode(body), self.wire
        frames, end = await persistently(
            lambda wait: wire.gather(address, payload, seconds=wait), _API_SECONDS, first=_SEARCH_SECONDS
        )
        status = status_of(end.header)
        if status not in (END_OF_BATCH, NOT_FOUND):
            raise StoreUnavailable(f"JetStream answered a read with status {status}")
        return frames

    # ----------------------------------------------------------------------------------------------------- the log

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        head = await self._reached(after)
        if after >= head:
            return
        async with aclosing(self._tailing(after, for_ever=False)) as items:
            async for item in items:
                if not isinstance(item, Progress):
                    yield item
                    if item[-1].position >= head:
                        return
                elif item.caught_up and item.position >= head:
                    return

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        await self._reached(after)
        async with aclosing(self._tailing(after, for_ever=True)) as items:
            async for item in items:
                yield item

    async def _reached(self, after: Position) -> Position:
        """Return the head, which a position must not be after."""
        head = await self.head()
        if after > head:
            raise UnknownPosition(after, head)
        return head

    async def _tailing(
        self, after: Position, *, for_ever: bool
    ) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        """Yield what a delivery brings; when it is lost, begin another one after the last commit that was yielded."""
        loop = asyncio.get_running_loop()
        position, attempt, lost_at = after, 0, 0.0
        while True:
            wire = self.wire
            try:
                if attempt:
                    await self._check_same(position)
                delivery = Delivery(
                    self._connect, wire, self._name, self._commits, after=position, head=self._last_sequence
                )
                self._deliveries.add(delivery)
                try:
                    async with delivery, aclosing(delivery.items()) as items:
                        async for item in items:
                            position = item.position if isinstance(item, Progress) else item[-1].position
                            self._seen = max(self._seen, position)
                            attempt = 0
                            yield item
                finally:
                    self._deliveries.discard(delivery)
            except StoreClosed:
                raise
            except (Lost, StoreUnavailable, UnknownPosition) as error:
                attempt += 1
                lost_at = lost_at if attempt > 1 else loop.time()
                # Servers that have just come up may not know yet all that they have.
                patient = loop.time() < lost_at + self._start_seconds
                for_good = isinstance(error, StoreNotFound | NotAStore | UnknownPosition)
                if not patient and (for_good or not for_ever):
                    if isinstance(error, Lost | NoAnswer):
                        raise StoreUnavailable(f"the log is not delivered: no server answers{self.told}") from None
                    raise
                level = logging.WARNING if attempt in _TOLD_ATTEMPTS else logging.DEBUG
                _log.log(level, "the delivery of %s is taken up again: %s%s", self._name, error, self.told)
                await asyncio.sleep(random.uniform(0.01, min(0.05 * 2 ** min(attempt, 6), 2.0)))  # noqa: S311 (jitter)

    async def _check_same(self, position: Position) -> None:
        """Refuse to go on where another log, or an older copy of this one, has come in its place."""
        last = await self._last_sequence()
        if position > last:
            raise UnknownPosition(position, last)

    async def _last_sequence(self) -> int:
        return int((await self._state())["last_seq"])

    async def head(self) -> Position:
        return await persistently(lambda _: self._head(), _API_SECONDS)

    async def _head(self) -> Position:
        last = await self._last_sequence()
        if last < self._seen:
            raise NoAnswer("the server has not caught up with what was acknowledged")
        self._seen = last
        return Position(last)

    async def position_at(self, recorded_at: int) -> Moment:
        # Times may fall by the skew between leaders, so that only what is older by more is found by bisection; from
        # there on commit by commit.
        position = await self._last_recorded_until(recorded_at - _SKEW_MICROS)
        async with aclosing(self.log(after=position)) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    if raw.recorded_at > recorded_at:
                        # The one found may be ahead of others by the skew.
                        return Moment(position, final=recorded_at + _SKEW_MICROS < now_micros())
                    position = raw.position
        return Moment(position, final=False)

    async def _last_recorded_until(self, recorded_at: int) -> Position:
        state = await self._state()
        low, high = max(state["first_seq"] - 1, 0), state["last_seq"]
        while low < high:
            middle = (low + high + 1) // 2
            body = {"seq": middle, "batch": 1, "next_by_subj": f"{self._prefix}.*.*"}
            frames = await self._direct_get(body)
            if frames and direct_recorded_at(frames[0]) <= recorded_at:
                low = sequence_of(frames[0].header)
            else:
                high = middle - 1
        return Position(low)

    async def streams(self, category: str | None = None) -> AsyncGenerator[Sequence[StreamInfo], None]:
        found: list[StreamId] = []
        offset, total = 0, 1
        while offset < total:
            # The filter's tokens are ours, never a caller's text: a category is a checked token.
            body = {"subjects_filter": f"{self._prefix}.{category or '*'}.*", "offset": offset}
            info = await self._info(body)
            page = info["state"].get("subjects") or {}
            total = info.get("total", 0)
            offset += len(page) or total
            found.extend(stream for subject in page if (stream := stream_of(self._prefix, subject)) is not None)
        found.sort()
        corrupt: CorruptCommit | None = None
        for start in range(0, len(found), _LISTED):
            page = found[start : start + _LISTED]
            answers = await asyncio.gather(*map(self._info_of, page), return_exceptions=True)
            listed = []
            for answer in answers:
                if isinstance(answer, CorruptCommit):
                    corrupt = corrupt or answer
                elif isinstance(answer, BaseException):
                    raise answer
                elif answer.version:  # else it was removed meanwhile
                    listed.append(answer)
            yield listed
        if corrupt is not None:
            # Told last, so that one stream's garbage hides no other stream.
            raise corrupt

    async def _info_of(self, stream: StreamId) -> StreamInfo:
        raw = await self._leader_get({"last_by_subj": subject_of(self._prefix, stream)})
        if raw is None:
            return StreamInfo(stream, Version(0), Position(0), 0)
        return StreamInfo(stream, Version(_end(raw)), raw.position, raw.recorded_at)

    # -------------------------------------------------------------------------------------------------- durability

    async def describe(self) -> Mapping[str, str | int]:
        info = await self._info()
        cluster = info.get("cluster") or {}
        return {
            "backend": "jetstream",
            "server": f"nats-server {'.'.join(map(str, _server_version(self.wire.client)))}",
            "stream": self._name,
            "subjects": ", ".join(info["config"]["subjects"]),
            "replicas": info["config"]["num_replicas"],
            "leader": cluster.get("leader", ""),
            "bytes": info["state"]["bytes"],
            "durability": await self._durability.words(info, _server_id(self.wire.client)),
        }


def _server_id(client: Client) -> str:
    # nats-py keeps what the server has said of itself, and offers parts of it.
    return str(client._server_info.get("server_id", ""))  # noqa: SLF001 (as the parser: pinned by a test)


def _server_version(client: Client) -> tuple[int, int, int]:
    version = client.connected_server_version
    return version.major, version.minor, version.patch


def _end(raw: RawCommit) -> int:
    envelope = parse(raw)
    return envelope.first_version + len(envelope.events) - 1


def _refused_read(status: int) -> StoreUnavailable:
    return StoreUnavailable(f"JetStream answered a read with status {status}")


def from_url(url: str, *, create: bool) -> JetStreamBackend:
    """Return a backend for ``nats://host:4222,host:4222/STREAM?prefix=context.events``, or ``tls://…``.

    Options: ``prefix`` (of the subjects; needed), ``replicas``, ``monitor`` (addresses of monitoring ports, joined by
    commas), ``durability=strict``, ``creds`` (a credentials file), ``nkey`` (a seed file), ``ca``, ``cert`` and ``key``
    (files for TLS).

    Raises:
        InvalidInput: the address says what is not understood.
    """
    return JetStreamBackend(**arguments_of(url), create=create)
