"""Views and snapshots in a Valkey, or a Redis of 7.2 or later. The caller makes and closes the client."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import contextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from eventstore import InvalidInput
from valkey.asyncio.client import Pipeline
from valkey.exceptions import ResponseError

from projections._errors import ModelRefused, ModelUnavailable, ProjectionError
from projections._model import Stored
from projections._naming import key_of
from projections._valkey_faults import UNFIT, binary, code_of, translated
from projections._valkey_snapshots import ValkeySnapshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from valkey.asyncio import Valkey

    from projections._model import Changes
    from projections._projection import Name

__all__ = ["CommandFailed", "ValkeyModel", "ValkeySnapshots", "Writes"]

_OLDEST: Final = "7.2"
_FIT_SECONDS: Final = 10.0
_PAGE: Final = 1_000
#: Lua cannot pass on more.
_WORDS: Final = 7_000

# Begun with "#!lua" it is refused as a whole, and not half-way, where memory, disk or the role forbid writing.
_COMMIT: Final = """#!lua
local expected, seen, by, revision, record = unpack(ARGV, 1, 5)
local found = redis.call('HMGET', KEYS[1], 'revision', 'by')
if found[2] == by then return {'done'} end
if (found[1] or '0') ~= expected or (seen ~= '' and found[2] ~= seen) then return {'moved'} end
local at = 6
while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    local answer = redis.pcall(unpack(ARGV, at + 1, last))
    if type(answer) == 'table' and answer.err then return {'failed', ARGV[at + 1], answer.err} end
    at = last + 1
end
if revision == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('HSET', KEYS[1], 'record', record, 'revision', revision, 'by', by)
end
return {'done'}
"""


class CommandFailed(ProjectionError):
    """A command that a projection has queued was refused by the server, for example on a key of another type.

    What was queued before it stays written, and the record stands before the batch. See ``ValkeyModel``.
    """

    def __init__(self, command: str, code: str) -> None:
        super().__init__(f"{command} was answered {code}; what came before it in its batch stays written")
        self.command = command
        self.code = code


class Writes(Pipeline):
    """What a projection gets: a pipeline that takes commands, and leaves it to the model to send them."""

    async def execute(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: sent alone, commands would not be together with the record."""
        raise TypeError("a projection only queues commands; they are sent together with its record")

    #: WATCH, and reading after it.
    immediate_execute_command = execute


class ValkeyModel:
    """Keeps views as the keys that a projection owns by patterns as SCAN takes them: ``order:*``.

    A projection's transaction is a pipeline of the driver. It queues writes and can read nothing, so it folds a batch
    to the last state of each key first, or writes what adds up, such as HINCRBY. One script then compares the record,
    runs what was queued and replaces the record; so a batch is there once, whoever is killed, paused or cut off.

    **What no server takes back.** A full memory, a disk that cannot be written or a replica refuse a batch as a whole.
    But where one command is refused as it runs, such as HSET on a text, those before it stay written: neither a script
    nor MULTI rolls back. The script stops there and leaves the record where it was, and ``CommandFailed`` stops the
    projection at that commit. Writes that set are made good by the next try. Writes that add may then be there more
    than once: rebuild the view after the repair.

    Scripts and blocking commands cannot be queued. A command has at most 7,000 words.

    A swap is one script too, which the server answers nobody during: 0.3 s where 100,000 keys are replaced.

    Needs Valkey or Redis 7.2, no cluster, ``maxmemory-policy noeviction``, and ``appendonly yes`` if views are to
    outlive the server. What a server loses in a crash it loses of view and record alike, and it is applied again.

    Args:
        client: without ``decode_responses``; the caller closes it.
        prefix: of the records' keys.
    """

    def __init__(self, client: Valkey, *, prefix: str = "projection") -> None:
        self._client = binary(client)
        self._prefix = prefix
        self._fit_until = 0.0
        # Who wrote the revision that was seen last. A server that crashes, or a replica that takes over, may have lost
        # the last changes, and counts the same revisions again for others.
        self._seen: dict[str, tuple[int, bytes]] = {}

    async def load(self, key: str) -> Stored | None:
        """Return a record."""
        with self._asking():
            record, revision, by = await self._client.execute_command(
                "HMGET", self._record(key), "record", "revision", "by"
            )
        if revision is None:
            self._seen.pop(key, None)
            return None
        self._seen[key] = (int(revision), by)
        return Stored(record, int(revision))

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Pipeline] | None = None
    ) -> bool:
        """Make changes and replace a record."""
        words = await self._queued(changes)
        revision, by = 0 if record is None else expected + 1, uuid.uuid4().bytes
        seen_at, seen = self._seen.get(key, (0, b""))
        if seen_at != expected:
            seen = b""
        await self._check()
        with self._asking():
            outcome, *failed = await self._client.execute_command(
                "EVAL", _COMMIT, 1, self._record(key), expected, seen, by, revision, record or b"", *words
            )
        if outcome == b"failed":
            command, answer = (text.decode(errors="replace") for text in failed)
            raise CommandFailed(command, code_of(ResponseError(answer))) from ResponseError(answer)
        if outcome == b"done":
            self._seen[key] = (revision, by)
        return bool(outcome == b"done")

    async def _queued(self, changes: Changes[Pipeline] | None) -> list[Any]:
        """Return the commands that changes consist of, each after the number of its words."""
        if changes is None:
            return []
        queue = Writes(self._client.connection_pool, self._client.response_callbacks, transaction=True, shard_hint=None)
        waiting = changes(queue)
        if isawaitable(waiting):
            await waiting
        words: list[Any] = []
        for (name, *rest), _ in queue.command_stack:
            command = [*name.split(), *rest]
            if len(command) > _WORDS:
                raise InvalidInput("changes", f"expected commands of at most {_WORDS} words, got {len(command)}")
            words += (len(command), *command)
        return words

    def _record(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with translated(ModelUnavailable, ModelRefused):
                yield
        except ModelUnavailable:
            # What answers next may be another server.
            self._fit_until = 0.0
            raise

    async def _check(self) -> None:
        """See now and then whether the server keeps what it is given."""
        if time.monotonic() < self._fit_until:
            return
        with self._asking():
            info = await self._client.info("server", "memory", "replication", "cluster")
        version, policy = str(info["redis_version"]), info["maxmemory_policy"]
        if info["cluster_enabled"]:
            raise ModelRefused(f"Valkey cannot be used: {UNFIT['CLUSTERDOWN']}")
        if info["role"] != "master":
            raise ModelRefused(f"Valkey cannot be used: {UNFIT['READONLY']}")
        if _numbers(version) < _numbers(_OLDEST):
            raise ModelRefused(f"Valkey cannot be used: it is of version {version}; {_OLDEST} or later is needed")
        if policy != "noeviction":
            raise ModelRefused(
                f"Valkey cannot be used: it may evict views: set maxmemory-policy to noeviction, it is {policy}"
            )
        self._fit_until = time.monotonic() + _FIT_SECONDS

    def naming(self, projection: str, generation: int) -> Name:
        """Put the generation before each key."""
        return key_of(projection, generation)

    async def prepare(self, setup: Callable[[Pipeline, Name], Awaitable[None] | None], name: Name) -> None:
        """Let a projection set up; each command is for itself."""
        pipe = self._client.pipeline(transaction=False)
        waiting = setup(pipe, name)
        if isawaitable(waiting):
            await waiting
        await self._check()
        commands = [command for command, _ in pipe.command_stack]
        with self._asking():
            answers = await pipe.execute(raise_on_error=False)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ResponseError):
                raise CommandFailed(str(command[0]), code_of(answer)) from answer

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Yield keys, and their type and content as JSON; what cannot be ordered otherwise is sorted."""
        start = len(name("").encode())
        keys = await self._keys(owns, name)
        for at in range(0, len(keys), _PAGE):
            page = keys[at : at + _PAGE]
            with self._asking():
                types = self._client.pipeline(transaction=False)
                for key in page:
                    types.type(key)
                found = [(key, type) for key, type in zip(page, await types.execute(), strict=True) if type != b"none"]
                contents = self._client.pipeline(transaction=False)
                for key, type in found:
                    _read(contents, key, type)
                answers = await contents.execute()
            for (key, type), answer in zip(found, answers, strict=True):
                yield _text(key[start:]), _canonical(type, answer)

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Pipeline]:
        """Return changes that remove a generation."""
        keys = await self._keys(owns, name)

        def clear(pipe: Pipeline) -> None:
            for at in range(0, len(keys), _PAGE):
                pipe.unlink(*keys[at : at + _PAGE])

        return clear

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Pipeline]:
        """Return changes that put a generation in the live one's place."""
        clear = await self.clearing(owns, str)
        rebuilt, start = await self._keys(owns, name), len(name("").encode())

        async def swap(pipe: Pipeline) -> None:
            clear(pipe)
            for key in rebuilt:
                pipe.rename(key, key[start:])

        return swap

    async def _keys(self, owns: Sequence[str], name: Name) -> list[bytes]:
        start = name("")
        found: set[bytes] = set()
        with self._asking():
            for pattern in owns:
                found.update([key async for key in self._client.scan_iter(match=start + pattern, count=_PAGE)])
        # Records and generations are in no view, however wide its patterns.
        others = () if start else (b"~", self._record("").encode())
        return sorted(key for key in found if not key.startswith(others))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _read(pipe: Any, key: bytes, type: bytes) -> None:
    """Queue the reading of all that is under a key."""
    match type:
        case b"string":
            pipe.get(key)
        case b"hash":
            pipe.hgetall(key)
        case b"set":
            pipe.smembers(key)
        case b"zset":
            pipe.zrange(key, 0, -1, withscores=True)
        case b"list":
            pipe.lrange(key, 0, -1)
        case b"stream":
            pipe.xrange(key)
        case _:
            pipe.dump(key)


def _canonical(type: bytes, content: Any) -> bytes:
    if type == b"set":
        content = set(content)
    return json.dumps([type.decode(), _plain(content)], sort_keys=True).encode()


def _plain(content: Any) -> Any:
    """Return content as JSON can hold it."""
    match content:
        case bytes():
            return _text(content)
        case dict():
            return {_text(key): _plain(value) for key, value in content.items()}
        case set():
            return sorted(map(_plain, content))
        case list() | tuple():
            return [_plain(value) for value in content]
        case _:
            return content


def _text(data: bytes) -> str:
    r"""Return bytes as text, no two alike: ``\xff`` for what is none."""
    return data.replace(b"\\", rb"\\").decode(errors="backslashreplace")
