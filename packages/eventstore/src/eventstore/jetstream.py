"""A log in NATS JetStream: one JetStream stream, one literal subject a stream, one message a commit.

The guard is the only header: the sequence of the subject's last message. What an append believes is a version, so the
backend keeps a bounded map from streams to (version, sequence), a hint that saves the look-up. After an answer that
leaves the fate of a message open, the commit after the expected version is read and its id compared: nothing is stored
twice, and nothing acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import urllib.request
import uuid
from collections import OrderedDict
from contextlib import aclosing, suppress
from datetime import datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec
import nats.errors

from eventstore._envelope import parse
from eventstore._errors import (
    Conflict,
    CorruptCommit,
    EventStoreError,
    InvalidInput,
    NotAStore,
    StoreClosed,
    StoreFull,
    StoreNotFound,
    StoreUnavailable,
    UnknownPosition,
)
from eventstore._nats_batches import Frame, header_value, receive_in_batches, status_of
from eventstore._nats_names import stream_of, subject_of
from eventstore._nats_wire import NOT_ENABLED, UNAVAILABLE, NoAnswer, Refused, Wire, connect, persistently
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
_STREAM_NOT_FOUND: Final = 10059
_STREAM_EXISTS: Final = 10058
_MESSAGE_NOT_FOUND: Final = 10037
_SUBJECTS_OVERLAP: Final = 10065

_GUARD: Final = "Nats-Expected-Last-Subject-Sequence"
# Only on commits that come from another log: when that one recorded them, in microseconds since the epoch.
_RECORDED_AT: Final = "Recorded-At"
_LOG_ID: Final = "eventstore.log_id"
_FORMAT: Final = "eventstore.format"

_START_SECONDS: Final = 10.0
_API_SECONDS: Final = 5.0
_PUBLISH_SECONDS: Final = 2.0
_APPEND_SECONDS: Final = 10.0
_HEARTBEAT_SECONDS: Final = 0.5
_BATCH: Final = 500
_BATCH_BYTES: Final = 8 * 1024 * 1024
_KNOWN_STREAMS: Final = 65_536
# By so much the clocks of the servers that may become leader are allowed to differ.
_SKEW_MICROS: Final = 1_000_000
_MIN_PAYLOAD: Final = 1024 * 1024


class _Known(NamedTuple):
    version: int
    #: Of the stream's last message.
    sequence: int


class _NoStream(StreamId, frozen=True):
    """What stands in a subject that no stream has."""

    def __post_init__(self) -> None:
        pass


class _Lost(Exception):
    """A delivery has a gap or has ended; it is taken up again after the last message that came."""


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
        self._replicas = replicas
        self._create = create
        self._monitors = tuple(monitors)
        self._strict = strict
        self._options = dict(options or {})
        self._append_seconds = append_seconds
        self._start_seconds = start_seconds
        self._open: Wire | None = None
        self._log_id = ""
        self._copies = 1
        self._known: OrderedDict[StreamId, _Known] = OrderedDict()
        self._names: dict[str, StreamId] = {}
        # The last append of each stream that is under way, and the last one of all that is not sent yet.
        self._under_way: dict[StreamId, asyncio.Future[None]] = {}
        self._last_turn: asyncio.Future[None] | None = None
        self._appends: set[asyncio.Future[None]] = set()

    # ---------------------------------------------------------------------------------------------- open and close

    async def __aenter__(self) -> Self:
        client = await self._connect(reconnect=True)
        wire = Wire(client)
        try:
            await wire.open()
            self._check_server(client)
            info = await self._find_or_make(wire)
            self._copies = info["config"]["num_replicas"]
            self._log_id = info["config"]["metadata"][_LOG_ID]
            if self._strict:
                await self._check_durability()
        except Refused as error:
            await wire.close()
            raise _translated(error) from None
        except BaseException:
            await wire.close()
            raise
        self._open = wire
        return self

    async def _connect(self, *, reconnect: bool) -> Client:
        return await connect(self._servers, self._options, seconds=self._start_seconds, reconnect=reconnect)

    def _check_server(self, client: Client) -> None:
        if _server_version(client) < OLDEST_SERVER:
            found, wanted = (".".join(map(str, version)) for version in (_server_version(client), OLDEST_SERVER))
            raise NotAStore(f"the server is nats-server {found}; {wanted} or later is needed")
        if client.max_payload < _MIN_PAYLOAD:
            raise NotAStore(f"the server takes messages of {client.max_payload:,} bytes; {_MIN_PAYLOAD:,} are needed")

    async def _find_or_make(self, wire: Wire) -> dict[str, Any]:
        try:
            return await self._reconciled(wire)
        except Refused as error:
            if error.err_code != _STREAM_NOT_FOUND:
                raise
        if not self._create:
            raise StoreNotFound(f"there is no JetStream stream {self._name}")
        config = {
            "name": self._name,
            **self._declared,
            "num_replicas": self._replicas or 1,
            "metadata": {_LOG_ID: uuid.uuid4().hex, _FORMAT: "1"},
        }
        try:
            return await wire.ask(f"STREAM.CREATE.{self._name}", config, seconds=self._start_seconds)
        except Refused as error:
            if error.err_code != _STREAM_EXISTS:
                raise
        # Somebody else was first.
        return await self._reconciled(wire)

    @property
    def _declared(self) -> dict[str, Any]:
        """What the stream must be, beside its name, replicas and metadata."""
        return {
            "subjects": [f"{self._prefix}.*.*"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "compression": "s2",
            "allow_direct": True,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msgs_per_subject": -1,
            "max_age": 0,
            "max_msg_size": -1,
        }

    async def _reconciled(self, wire: Wire) -> dict[str, Any]:
        """Change what can be changed without harm; refuse a stream that differs otherwise."""
        info = await wire.ask(f"STREAM.INFO.{self._name}", seconds=self._start_seconds)
        config = info["config"]
        declared = self._declared
        if self._replicas is not None:
            declared["num_replicas"] = self._replicas
        if _LOG_ID not in (config.get("metadata") or {}):
            raise NotAStore(f"JetStream stream {self._name} is not an event store: its metadata name no log")
        # The server leaves out what is false or zero, and a limit on bytes or messages is the operator's to set.
        found = {key: config.get(key, type(value)()) for key, value in declared.items()}
        different = {key for key, value in declared.items() if found[key] != value}
        different -= {"max_bytes", "max_msgs", "max_msg_size"}
        fatal = different - {"compression", "allow_direct", "num_replicas", "discard"}
        if fatal:
            words = "; ".join(f"{key} is {found[key]!r}, expected {declared[key]!r}" for key in sorted(fatal))
            raise NotAStore(f"JetStream stream {self._name} is not as this store needs it: {words}")
        if not different:
            return info
        changed = {**config, **{key: declared[key] for key in different}}
        return await wire.ask(f"STREAM.UPDATE.{self._name}", changed, seconds=self._start_seconds)

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
            raise _translated(error) from None

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
            raise _translated(error) from None
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
        headers = {} if commit.recorded_at is None else {_RECORDED_AT: str(commit.recorded_at)}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._append_seconds
        attempt = -1
        while loop.time() < deadline:
            attempt += 1
            if attempt:
                # The guard makes it safe to send the same bytes again: they are stored once.
                await asyncio.sleep(random.uniform(0.002, min(0.01 * 2**attempt, 0.5)))  # noqa: S311 (jitter)
            try:
                guard = await self._guard(commit, fresh=attempt > 0)
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
            except NoAnswer:
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

    async def _guard(self, commit: NewCommit, *, fresh: bool) -> int | Appended:
        """Return the sequence that the subject's last message must have, or what a commit stored before was answered.

        Raises:
            Conflict: the stream is at another version.
        """
        known = self._known.get(commit.stream)
        if not fresh:
            if known is not None and known.version == commit.expected:
                return known.sequence
            if known is None and not commit.expected:
                return 0
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
            raw = None if status else self._raw_of_direct(frame)
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
            raise _translated(error) from None
        message = answer["message"]
        payload = base64.b64decode(message.get("data") or "")
        header = base64.b64decode(message.get("hdrs") or "")
        return self._raw(message["subject"], message["seq"], _micros_of_text(message["time"]), header, payload)

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
                chunk = [self._raw_of_direct(frame) for frame in frames]
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
        frames, end = await persistently(lambda wait: wire.gather(address, payload, seconds=wait), _API_SECONDS)
        status = status_of(end.header)
        if status not in (_END_OF_BATCH, _NOT_FOUND):
            raise _refused_read(status)
        return frames, status == _END_OF_BATCH and header_value(end.header, b"Nats-Num-Pending") != b"0"

    def _raw_of_direct(self, frame: Frame) -> RawCommit:
        header = frame.header
        return self._raw(
            header_value(header, b"Nats-Subject").decode(errors="replace"),
            _sequence(header),
            _stored_at(header),
            header,
            frame.payload,
        )

    def _raw(self, subject: str, sequence: int, stored_at: int, header: bytes, payload: bytes) -> RawCommit:
        stream = self._names.get(subject) or self._name_of(subject)
        if stream is None:
            # Whatever the bytes are, they are no commit: a reader that wants this category finds no envelope here.
            stream, payload = _NoStream(*subject.removeprefix(f"{self._prefix}.").split(".", 1)), b""
        return RawCommit(stream, Position(sequence), _recorded_at(header, stored_at), payload)

    def _name_of(self, subject: str) -> StreamId | None:
        # Unescaping and checking a name costs more than all the rest of a replayed commit.
        stream = stream_of(self._prefix, subject)
        if stream is not None:
            if len(self._names) >= _KNOWN_STREAMS:
                self._names.clear()
            self._names[subject] = stream
        return stream

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
        position, attempt = after, 0
        while True:
            self._now_open  # noqa: B018 (raises when it is closed)
            try:
                async with _Delivery(self, position) as delivery, aclosing(delivery.items()) as items:
                    async for item in items:
                        position = item.position if isinstance(item, Progress) else item[-1].position
                        attempt = 0
                        yield item
            except (_Lost, NoAnswer, StoreUnavailable) as error:
                if isinstance(error, StoreClosed):
                    raise
                attempt += 1
                await asyncio.sleep(random.uniform(0.01, min(0.05 * 2 ** min(attempt, 6), 2.0)))  # noqa: S311 (jitter)

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
            if frames and _recorded_at(frames[0].header, _stored_at(frames[0].header)) <= recorded_at:
                low = _sequence(frames[0].header)
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
        for start in range(0, len(found), _LISTED):
            yield [await self._info(stream) for stream in found[start : start + _LISTED]]

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
            "durability": await self._durability(),
        }

    async def _durability(self) -> str:
        copies = f"{self._copies} {'copies' if self._copies > 1 else 'copy'}"
        syncs = await self._syncs_always()
        if syncs is None:
            return f"unknown: {copies}; no monitoring port tells when the servers sync"
        if syncs:
            return f"full: {copies}, and the disk is synced before a commit is acknowledged"
        return f"normal: {copies}; an acknowledged commit survives killed processes, not power loss everywhere"

    async def _check_durability(self) -> None:
        syncs = await self._syncs_always()
        if syncs is None:
            raise StoreUnavailable("strict: no monitoring port tells when the servers sync; name one with monitor=")
        if not syncs:
            raise StoreUnavailable("strict: a server acknowledges before it syncs; set sync_interval: always")

    async def _syncs_always(self) -> bool | None:
        """Say whether all servers sync before they acknowledge; None when one does not tell."""
        if len(self._monitors) < self._copies:
            return None
        answers = await asyncio.gather(*(asyncio.to_thread(_sync_always, address) for address in self._monitors))
        return None if None in answers else all(answers)


class _Delivery:
    """One consumer of the whole log on a connection of its own, from a position on.

    The connection is read only as fast as its commits are taken, and the server sends on only when what it sent was
    taken, so that memory stays bounded whatever the reader's speed.
    """

    def __init__(self, backend: JetStreamBackend, after: Position) -> None:
        self._backend = backend
        self._position = after
        self._delivered = 0
        self._nothing_there = False
        self._frames: asyncio.Queue[list[Frame]] = asyncio.Queue(maxsize=1)
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        backend = self._backend
        client = self._client = await backend._connect(reconnect=False)  # noqa: SLF001 (one module)
        try:
            inbox = client.new_inbox()
            await receive_in_batches(client, inbox, self._frames.put)
            await client.flush()
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
            body = {"stream_name": backend._name, "config": config}  # noqa: SLF001
            # Once: two consumers would send everything twice.
            wire = backend._now_open  # noqa: SLF001
            made = await wire.api(f"CONSUMER.CREATE.{backend._name}", body, seconds=_API_SECONDS)  # noqa: SLF001
            self._nothing_there = not made["num_pending"]
        except Refused as error:
            await client.close()
            raise _translated(error) from None
        except BaseException:
            await client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            # The consumer is ephemeral: the server removes it when nobody listens any more.
            with suppress(Exception):
                await self._client.close()

    async def items(self) -> AsyncGenerator[Sequence[RawCommit] | Progress, None]:
        """Yield what comes, until it is lost."""
        if self._nothing_there:
            yield Progress(self._position, caught_up=True)
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT_SECONDS * 6):
                    frames = await self._frames.get()
            except TimeoutError:
                raise _Lost from None
            self._backend._now_open  # noqa: B018, SLF001 (raises when it is closed)
            commits, replies, caught_up = self._sorted(frames)
            if commits:
                yield commits
            for reply in replies:
                await self._answer(reply)
            if caught_up:
                yield Progress(self._position, caught_up=True)

    def _sorted(self, frames: list[Frame]) -> tuple[list[RawCommit], list[bytes], bool]:
        """Return the commits, what wants to be answered when they are taken, and whether nothing is left."""
        commits: list[RawCommit] = []
        replies: list[bytes] = []
        caught_up = False
        for frame in frames:
            if frame.reply.startswith(b"$JS.ACK."):
                raw, pending = self._take(frame)
                commits.append(raw)
                caught_up = not pending
            elif status_of(frame.header) == _CONTROL:
                wanted, idle = self._control(frame)
                replies += wanted
                caught_up = caught_up or idle
        return commits, replies, caught_up

    def _take(self, frame: Frame) -> tuple[RawCommit, int]:
        """Return the commit of a message, and how many more the server has."""
        tokens = frame.reply.split(b".")
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<time>.<pending>, or with a domain and a hash of
        # the account before the stream.
        first = 5 if len(tokens) == _ACK_TOKENS else 7
        sequence, number, time, pending = map(int, tokens[first : first + 4])
        if number != self._delivered + 1:
            raise _Lost
        self._delivered = number
        subject = frame.subject.decode(errors="replace")
        raw = self._backend._raw(subject, sequence, time // 1_000, frame.header, frame.payload)  # noqa: SLF001
        self._position = raw.position
        return raw, pending

    def _control(self, frame: Frame) -> tuple[list[bytes], bool]:
        """Return what a message about the delivery wants to be answered, and whether it says that nothing is left."""
        last = header_value(frame.header, b"Nats-Last-Consumer")
        if last and int(last) > self._delivered:
            raise _Lost
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


class _AckError(msgspec.Struct):
    code: int = 0
    err_code: int = 0


class _Ack(msgspec.Struct):
    seq: int = 0
    error: _AckError | None = None


class _JszConfig(msgspec.Struct):
    sync_always: bool = False


class _Jsz(msgspec.Struct):
    """What a monitoring port tells; a server without JetStream tells no configuration."""

    config: _JszConfig


_END_OF_BATCH: Final = 204
_CONTROL: Final = 100
_NOT_FOUND: Final = 404
_ACK_TOKENS: Final = 9
_LISTED: Final = 100


def _server_version(client: Client) -> tuple[int, int, int]:
    version = client.connected_server_version
    return version.major, version.minor, version.patch


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _translated(error: Refused) -> EventStoreError:
    """Return the error of this package for one of JetStream's, by its code."""
    if error.err_code in NOT_ENABLED:
        return StoreUnavailable("JetStream is not enabled on the server, or not for this account")
    if error.err_code == _SUBJECTS_OVERLAP:
        return NotAStore("another JetStream stream stores subjects with this prefix")
    if error.err_code == _STREAM_NOT_FOUND:
        return StoreNotFound("the JetStream stream is gone")
    return StoreUnavailable(str(error))


def _end(raw: RawCommit) -> int:
    envelope = parse(raw)
    return envelope.first_version + len(envelope.events) - 1


def _refused_read(status: int) -> StoreUnavailable:
    return StoreUnavailable(f"JetStream answered a read with status {status}")


def _sequence(header: bytes) -> int:
    """Return the sequence of a message that came by a direct get."""
    return int(header_value(header, b"Nats-Sequence"))


def _stored_at(header: bytes) -> int:
    """Return when a message that came by a direct get was stored."""
    return _micros_of_text(header_value(header, b"Nats-Time-Stamp").decode())


def _recorded_at(header: bytes, stored_at: int) -> int:
    """Return when a commit was recorded: when it was stored, unless it comes from another log and says so."""
    value = header_value(header, _RECORDED_AT.encode())
    try:
        return int(value) if value else stored_at
    except ValueError:
        return stored_at


def _micros_of_text(text: str) -> int:
    """Return microseconds since the epoch of a time as the server writes it, whose nanoseconds Python cannot read."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000 + int(f"{fraction:0<6}"[:6])


def _sync_always(address: str) -> bool | None:
    """Ask a monitoring port whether its server syncs before it acknowledges; None when it does not tell."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/jsz?config=true", timeout=_API_SECONDS) as answer:  # noqa: S310 (the operator's own address)
            return msgspec.json.decode(answer.read(), type=_Jsz).config.sync_always
    except (OSError, ValueError, HTTPException, msgspec.DecodeError):
        return None


def from_url(url: str, *, create: bool) -> JetStreamBackend:
    """Return a backend for ``nats://host:4222,host:4222/STREAM?prefix=context.events``, or ``tls://…``.

    Options: ``prefix`` (of the subjects; needed), ``replicas``, ``monitor`` (addresses of monitoring ports, joined by
    commas), ``durability=strict``, ``creds`` (a credentials file), ``nkey`` (a seed file), ``ca``, ``cert`` and ``key``
    (files for TLS).
    """
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    user, at, hosts = parts.netloc.rpartition("@")
    servers = [f"{parts.scheme}://{user}{at}{host}" for host in hosts.split(",")]
    if not _is_token(name) or not all(map(_is_server, servers)) or parts.fragment:
        raise InvalidInput("url", "expected nats://host:4222/STREAM?prefix=some.prefix, STREAM without . * > or space")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = options.pop("prefix", "")
    if not all(map(_is_token, prefix.split("."))):
        raise InvalidInput("url", f"expected prefix=tokens.joined.by.dots, got {prefix!r}")
    replicas = options.pop("replicas", None)
    if replicas is not None and replicas not in ("1", "3", "5"):
        raise InvalidInput("url", f"expected replicas=1, 3 or 5, got {replicas!r}")
    durability = options.pop("durability", "any")
    if durability not in ("any", "strict"):
        raise InvalidInput("url", f"expected durability=any or strict, got {durability!r}")
    monitors = [address for address in options.pop("monitor", "").split(",") if address]
    backend = JetStreamBackend(
        servers,
        name,
        prefix=prefix,
        replicas=None if replicas is None else int(replicas),
        create=create,
        monitors=monitors,
        strict=durability == "strict",
        options=_connect_options(options, tls=parts.scheme == "tls"),
    )
    if options:
        raise InvalidInput("url", f"unknown options: {', '.join(sorted(options))}")
    return backend


def _is_token(text: str) -> bool:
    return text.isascii() and text.replace("_", "a").replace("-", "a").isalnum()


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _connect_options(options: dict[str, str], *, tls: bool) -> dict[str, Any]:
    """Take the options that are nats-py's out of a URL's."""
    given: dict[str, Any] = {}
    if creds := options.pop("creds", ""):
        given["user_credentials"] = creds
    if nkey := options.pop("nkey", ""):
        given["nkeys_seed"] = nkey
    ca, cert, key = (options.pop(name, "") for name in ("ca", "cert", "key"))
    if tls or ca or cert:
        try:
            context = ssl.create_default_context(cafile=ca or None)
            if cert:
                context.load_cert_chain(cert, key or None)
        except OSError as error:
            raise InvalidInput("url", f"the files for TLS cannot be read: {error.strerror}") from None
        given["tls"] = context
    return given
