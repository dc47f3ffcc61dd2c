"""A log in NATS JetStream: one JetStream stream, one literal subject a stream, one message a commit.

The guard is the only header: the sequence of the subject's last message. What an append believes is a version, so the
backend keeps a bounded map from streams to (version, sequence), a hint that saves the look-up. After an answer that
leaves the fate of a message open, the commit after the expected version is read and its id compared: nothing is stored
twice, and nothing acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec

from eventstore._envelope import parse
from eventstore._errors import (
    Conflict,
    CorruptCommit,
    NotAStore,
    StoreClosed,
    StoreFull,
    StoreNotFound,
    StoreUnavailable,
    UnknownPosition,
    WrongLog,
)
from eventstore._nats_batches import Frame, header_value, status_of
from eventstore._nats_commits import RECORDED_AT, Commits, direct_recorded_at, sequence_of
from eventstore._nats_delivery import Delivery, Lost
from eventstore._nats_names import stream_of, subject_of
from eventstore._nats_stream import Durability, LogStream, log_id_of, translated
from eventstore._nats_url import arguments_of
from eventstore._nats_wire import UNAVAILABLE, NoAnswer, Refused, Wire, connect, persistently
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

# Error codes of JetStream's interface.
_WRONG_LAST_SEQUENCE: Final = 10071
_IN_FLIGHT: Final = frozenset({10164, 10163, 10158})  # another write of the subject is under way; ask again
_LIMIT_REACHED: Final = frozenset({10077, 10047, 10023})  # messages, bytes or storage
_MESSAGE_NOT_FOUND: Final = 10037
# Of a direct get.
_END_OF_BATCH: Final = 204
_NOT_FOUND: Final = 404

_GUARD: Final = "Nats-Expected-Last-Subject-Sequence"

_START_SECONDS: Final = 10.0
_API_SECONDS: Final = 5.0
# A server that looks for a stream's next commit may be silent while it looks through all the log: 0.5 s for a million.
_SEARCH_SECONDS: Final = 2.0
_PUBLISH_SECONDS: Final = 2.0
_APPEND_SECONDS: Final = 10.0
_BATCH: Final = 500
_BATCH_BYTES: Final = 8 * 1024 * 1024
_LISTED: Final = 100
_KNOWN_STREAMS: Final = 65_536
# By so much the clocks of the servers that may become leader are allowed to differ.
_SKEW_MICROS: Final = 1_000_000
_MIN_PAYLOAD: Final = 1024 * 1024


class _Known(NamedTuple):
    version: int
    #: Of the stream's last message.
    sequence: int


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
        self._append_seconds = append_seconds
        self._start_seconds = start_seconds
        self._open: Wire | None = None
        self._log_id = ""
        self._copies = 1
        self._known: OrderedDict[StreamId, _Known] = OrderedDict()
        # The last append of each stream that is under way, and the last one of all that is not sent yet.
        self._under_way: dict[StreamId, asyncio.Future[None]] = {}
        self._last_turn: asyncio.Future[None] | None = None
        self._appends: set[asyncio.Future[None]] = set()

    # ---------------------------------------------------------------------------------------------- open and close

    async def __aenter__(self) -> Self:
        wire = Wire(self._connect)
        await wire.open()
        try:
            self._check_server(wire.client)
            info = await self._stream.find_or_make(wire, create=self._create, seconds=self._start_seconds)
            self._copies = info["config"]["num_replicas"]
            self._log_id = log_id_of(info)
            if self._strict:
                await self._durability.check_strict(self._copies)
        except Refused as error:
            await wire.close()
            raise translated(error) from None
        except BaseException:
            await wire.close()
            raise
        self._open = wire
        return self

    async def _connect(self) -> Client:
        return await connect(self._servers, self._options, seconds=self._start_seconds)

    def _check_server(self, client: Client) -> None:
        if _server_version(client) < OLDEST_SERVER:
            found, wanted = (".".join(map(str, version)) for version in (_server_version(client), OLDEST_SERVER))
            raise NotAStore(f"the server is nats-server {found}; {wanted} or later is needed")
        if client.max_payload < _MIN_PAYLOAD:
            raise NotAStore(f"the server takes messages of {client.max_payload:,} bytes; {_MIN_PAYLOAD:,} are needed")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wire, self._open = self._now_open, None
        while self._appends:
            await asyncio.wait(list(self._appends))
        await wire.close()

    @property
    def _now_open(self) -> Wire:
        if self._open is None:
            raise StoreClosed("the store is not open: use it inside its async with block")
        return self._open

    @property
    def log_id(self) -> str:
        return self._log_id

    async def _api(self, verb: str, body: object = None) -> dict[str, Any]:
        try:
            return await self._now_open.ask(verb, body, seconds=_API_SECONDS)
        except Refused as error:
            raise translated(error) from None

    # ------------------------------------------------------------------------------------------------------ append

    async def append(self, commit: NewCommit) -> Appended:
        wire = self._now_open
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._appends.add(done)
        turn, before = loop.create_future(), self._last_turn
        self._last_turn = turn
        earlier = self._under_way.get(commit.stream)
        self._under_way[commit.stream] = done
        try:
            if earlier is not None:
                # It gives up in time, and so does the one that is to be sent before this.
                await asyncio.wait([earlier])
            return await self._append(wire, commit, before, turn)
        except Refused as error:
            raise translated(error) from None
        finally:
            _settle(turn)
            _settle(done)
            self._appends.discard(done)
            if self._under_way.get(commit.stream) is done:
                del self._under_way[commit.stream]

    async def _append(
        self, wire: Wire, commit: NewCommit, before: asyncio.Future[None] | None, turn: asyncio.Future[None]
    ) -> Appended:
        subject = subject_of(self._prefix, commit.stream)
        headers = {} if commit.recorded_at is None else {RECORDED_AT: str(commit.recorded_at)}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._append_seconds
        attempt = -1
        while loop.time() < deadline:
            attempt += 1
            if attempt:
                # The guard makes it safe to send the same bytes again: they are stored once.
                await asyncio.sleep(random.uniform(0.002, min(0.01 * 2**attempt, 0.5)))  # noqa: S311 (jitter)
            try:
                guard: int | Appended | None = None if attempt else self._believed(commit)
                if guard is None:
                    guard = await asyncio.wait_for(self._looked_up(commit), deadline - loop.time())
                if isinstance(guard, Appended):
                    return guard
                if before is not None and not before.done():
                    await asyncio.wait([before])
                answer = await wire.request(
                    subject,
                    commit.envelope,
                    seconds=min(_PUBLISH_SECONDS, self._append_seconds),
                    headers={_GUARD: str(guard), **headers},
                    sent=lambda: _settle(turn),
                )
            except (NoAnswer, TimeoutError):
                continue
            ack = msgspec.json.decode(answer.payload, type=_Ack)
            if ack.error is None:
                version = Version(commit.expected + commit.count)
                self._remember(commit.stream, version, ack.seq)
                return Appended(self._log_id, version, Position(ack.seq))
            if ack.error.err_code in _LIMIT_REACHED:
                raise StoreFull(f"the JetStream stream {self._name} takes no more")
            known_code = ack.error.err_code == _WRONG_LAST_SEQUENCE or ack.error.err_code in _IN_FLIGHT
            if not known_code and ack.error.code != UNAVAILABLE:
                raise Refused("an append", ack.error.code, ack.error.err_code)
        raise StoreUnavailable(f"an append was not answered within {self._append_seconds:g} s")

    def _believed(self, commit: NewCommit) -> int | None:
        """Return the sequence that the subject's last message has as far as is known here."""
        known = self._known.get(commit.stream)
        if known is None:
            return None if commit.expected else 0
        return known.sequence if known.version == commit.expected else None

    async def _looked_up(self, commit: NewCommit) -> int | Appended:
        """Return the sequence that the subject's last message must have, or what a commit stored before was answered.

        Raises:
            Conflict: the stream is at another version.
        """
        known = self._known.get(commit.stream)
        tail = await self._leader_tail(commit.stream)
        if tail.version == commit.expected:
            return tail.sequence
        if tail.version > commit.expected:
            after = known.sequence if known is not None and known.version == commit.expected else 0
            stored = await self._commit_after(commit, after, tail.sequence)
            if stored is not None:
                return stored
        raise Conflict(commit.stream, commit.expected, Version(tail.version))

    async def _commit_after(self, commit: NewCommit, sequence: int, last: int) -> Appended | None:
        """Return where a commit stands when it is the one stored after its expected version."""
        async with aclosing(self._read(commit.stream, sequence + 1, last)) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    envelope = parse(raw)
                    if envelope.first_version > commit.expected + 1:
                        return None
                    if envelope.first_version == commit.expected + 1:
                        version = Version(commit.expected + len(envelope.events))
                        same = envelope.commit_id == commit.commit_id
                        return Appended(self._log_id, version, raw.position) if same else None
        return None

    def _remember(self, stream: StreamId, version: int, sequence: int) -> None:
        known = self._known.get(stream)
        if known is None or known.sequence < sequence:
            self._known[stream] = _Known(version, sequence)
        self._known.move_to_end(stream)
        if len(self._known) > _KNOWN_STREAMS:
            self._known.popitem(last=False)

    # -------------------------------------------------------------------------------------------------- one stream

    async def tail(self, stream: StreamId) -> Tail:
        known = await self._leader_tail(stream)
        return Tail(Version(known.version), Position(known.sequence))

    async def _leader_tail(self, stream: StreamId) -> _Known:
        """Return where a stream ends, from a server that cannot be behind."""
        subject = subject_of(self._prefix, stream)
        if self._copies == 1:
            address, wire = f"$JS.API.DIRECT.GET.{self._name}.{subject}", self._now_open
            frame = await persistently(lambda wait: wire.request(address, seconds=wait), _API_SECONDS)
            status = status_of(frame.header)
            if status not in (0, _NOT_FOUND):
                raise _refused_read(status)
            raw = None if status else self._commits.of_direct_get(frame)
        else:
            raw = await self._leader_get({"last_by_subj": subject})
        found = _Known(0, 0) if raw is None else _Known(_end(raw), raw.position)
        known = self._known.get(stream)
        if known is not None and known.sequence > found.sequence:
            # The newest commit was removed, or a new leader has not caught up with what the old one acknowledged.
            if await self.head() < known.sequence:
                raise NoAnswer("the server has not caught up with what was acknowledged")
            self._known.pop(stream, None)
        if found.sequence:
            self._remember(stream, *found)
        return found

    async def _leader_get(self, body: dict[str, Any]) -> RawCommit | None:
        try:
            answer = await self._now_open.ask(f"STREAM.MSG.GET.{self._name}", body, seconds=_API_SECONDS)
        except Refused as error:
            if error.err_code == _MESSAGE_NOT_FOUND:
                return None
            raise translated(error) from None
        return self._commits.of_leader_get(answer["message"])

    async def read(
        self, stream: StreamId, *, after: Version, position: Position = BEGINNING
    ) -> AsyncGenerator[Sequence[RawCommit], None]:
        self._now_open  # noqa: B018 (raises when it is closed)
        # A replica that answers may be behind what the leader has acknowledged.
        last = (await self._leader_tail(stream)).sequence if self._copies > 1 else 0
        end: RawCommit | None = None
        async for chunk in self._read(stream, position + 1, last):
            wanted = chunk if position or not after else [raw for raw in chunk if _end(raw) > after]
            if wanted:
                yield wanted
            end = chunk[-1]
        if end is not None:
            with suppress(CorruptCommit):
                self._remember(stream, _end(end), end.position)

    async def _read(self, stream: StreamId, sequence: int, last: int = 0) -> AsyncGenerator[list[RawCommit], None]:
        """Yield a stream's commits from a sequence on, at least to the last one that is known to be there."""
        subject = subject_of(self._prefix, stream)
        more = True
        while more:
            body = {"seq": sequence, "batch": _BATCH, "max_bytes": _BATCH_BYTES, "next_by_subj": subject}
            frames, more = await self._direct_get(body)
            if frames:
                chunk = [self._commits.of_direct_get(frame) for frame in frames]
                yield chunk
                sequence = chunk[-1].position + 1
        while sequence <= last:
            raw = await self._leader_get({"seq": sequence, "next_by_subj": subject})
            if raw is None:
                return
            yield [raw]
            sequence = raw.position + 1

    async def _direct_get(self, body: dict[str, Any]) -> tuple[list[Frame], bool]:
        """Return messages as any replica has them, and whether it has more."""
        address, payload, wire = f"$JS.API.DIRECT.GET.{self._name}", msgspec.json.encode(body), self._now_open
        frames, end = await persistently(
            lambda wait: wire.gather(address, payload, seconds=wait), _API_SECONDS, first=_SEARCH_SECONDS
        )
        status = status_of(end.header)
        if status not in (_END_OF_BATCH, _NOT_FOUND):
            raise _refused_read(status)
        return frames, status == _END_OF_BATCH and header_value(end.header, b"Nats-Num-Pending") != b"0"

    # ----------------------------------------------------------------------------------------------------- the log

    async def log(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit], None]:
        head = await self._reached(after)
        if after >= head:
            return
        async with aclosing(self._tailing(after)) as items:
            async for item in items:
                if not isinstance(item, Progress):
                    yield item
                    if item[-1].position >= head:
                        return
                elif item.caught_up and item.position >= head:
                    return

    async def follow(self, *, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        await self._reached(after)
        async with aclosing(self._tailing(after)) as items:
            async for item in items:
                yield item

    async def _reached(self, after: Position) -> Position:
        head = await self.head()
        if after > head:
            raise UnknownPosition(after, head)
        return head

    async def _tailing(self, after: Position) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        """Yield what a delivery brings; when it is lost, begin another one after the last commit that was yielded."""
        loop = asyncio.get_running_loop()
        position, attempt, lost_at = after, 0, 0.0
        while True:
            wire = self._now_open
            try:
                if attempt:
                    await self._check_same(position)
                delivery = Delivery(self._connect, wire, self._name, self._commits, after=position)
                async with delivery, aclosing(delivery.items()) as items:
                    async for item in items:
                        position = item.position if isinstance(item, Progress) else item[-1].position
                        attempt = 0
                        yield item
            except StoreClosed:
                raise
            except (Lost, StoreUnavailable, UnknownPosition) as error:
                attempt += 1
                lost_at = lost_at if attempt > 1 else loop.time()
                # Servers that have just come up may not know yet all that they have.
                patient = loop.time() < lost_at + self._start_seconds
                if isinstance(error, StoreNotFound | NotAStore | UnknownPosition) and not patient:
                    raise
                await asyncio.sleep(random.uniform(0.01, min(0.05 * 2 ** min(attempt, 6), 2.0)))  # noqa: S311 (jitter)

    async def _check_same(self, position: Position) -> None:
        """Refuse to go on where another log, or an older copy of this one, has come in its place."""
        info = await self._api(f"STREAM.INFO.{self._name}")
        found = log_id_of(info)
        if found != self._log_id:
            raise WrongLog(self._log_id, found)
        if position > info["state"]["last_seq"]:
            raise UnknownPosition(position, info["state"]["last_seq"])

    async def head(self) -> Position:
        info = await self._api(f"STREAM.INFO.{self._name}")
        return Position(info["state"]["last_seq"])

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
        state = (await self._api(f"STREAM.INFO.{self._name}"))["state"]
        low, high = max(state["first_seq"] - 1, 0), state["last_seq"]
        while low < high:
            middle = (low + high + 1) // 2
            body = {"seq": middle, "batch": 1, "next_by_subj": f"{self._prefix}.*.*"}
            frames, _ = await self._direct_get(body)
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
            info = await self._api(f"STREAM.INFO.{self._name}", body)
            page = info["state"].get("subjects") or {}
            total = info.get("total", 0)
            offset += len(page) or total
            found.extend(stream for subject in page if (stream := stream_of(self._prefix, subject)) is not None)
        found.sort()
        corrupt: CorruptCommit | None = None
        for start in range(0, len(found), _LISTED):
            listed = []
            for stream in found[start : start + _LISTED]:
                try:
                    listed.append(await self._info(stream))
                except CorruptCommit as error:
                    corrupt = corrupt or error
            yield listed
        if corrupt is not None:
            # Told last, so that one stream's garbage hides no other stream.
            raise corrupt

    async def _info(self, stream: StreamId) -> StreamInfo:
        raw = await self._leader_get({"last_by_subj": subject_of(self._prefix, stream)})
        if raw is None:
            return StreamInfo(stream, Version(0), Position(0), 0)
        envelope = parse(raw)
        version = Version(envelope.first_version + len(envelope.events) - 1)
        return StreamInfo(stream, version, raw.position, raw.recorded_at)

    # -------------------------------------------------------------------------------------------------- durability

    async def describe(self) -> Mapping[str, str | int]:
        info = await self._api(f"STREAM.INFO.{self._name}")
        cluster = info.get("cluster") or {}
        return {
            "backend": "jetstream",
            "server": f"nats-server {'.'.join(map(str, _server_version(self._now_open.client)))}",
            "stream": self._name,
            "subjects": ", ".join(info["config"]["subjects"]),
            "replicas": info["config"]["num_replicas"],
            "leader": cluster.get("leader", ""),
            "bytes": info["state"]["bytes"],
            "durability": await self._durability.words(self._copies),
        }


class _AckError(msgspec.Struct):
    code: int = 0
    err_code: int = 0


class _Ack(msgspec.Struct):
    seq: int = 0
    error: _AckError | None = None


def _server_version(client: Client) -> tuple[int, int, int]:
    version = client.connected_server_version
    return version.major, version.minor, version.patch


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


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
