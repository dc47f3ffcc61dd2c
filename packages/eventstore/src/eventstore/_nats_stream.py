"""The JetStream stream that holds a log: what it must be, how it is made and put right, what its promises are worth."""

from __future__ import annotations

import asyncio
import urllib.request
import uuid
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

import msgspec

from eventstore._errors import EventStoreError, NotAStore, StoreNotFound, StoreUnavailable
from eventstore._nats_wire import NOT_ENABLED, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore._nats_wire import Wire

_STREAM_NOT_FOUND: Final = 10059
_STREAM_EXISTS: Final = 10058
_SUBJECTS_OVERLAP: Final = 10065

_LOG_ID: Final = "eventstore.log_id"
_FORMAT: Final = "eventstore.format"
_MONITOR_SECONDS: Final = 5.0

# What a new stream is, beside its subjects, replicas and metadata.
_DECLARED: Final[dict[str, Any]] = {
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
# What no log may be: it would lose commits, take none, or acknowledge what is not stored.
_NEVER: Final[dict[str, Any]] = {
    "sealed": False,
    "no_ack": False,
    "persist_mode": "",
    "allow_rollup_hdrs": False,
    "allow_msg_ttl": False,
    "mirror": None,
    "sources": None,
    "subject_transform": None,
}
# What an operator may set: the store says so when the limit is met.
_OPERATORS: Final = frozenset({"max_bytes", "max_msgs", "max_msg_size"})
_MENDED: Final = frozenset({"compression", "allow_direct", "num_replicas", "discard"})


class LogStream:
    """One JetStream stream by its name, which must be the log of one prefix."""

    def __init__(self, name: str, prefix: str, replicas: int | None) -> None:
        self.name: Final = name
        self._replicas = replicas
        self._declared = {"subjects": [f"{prefix}.*.*"], **_DECLARED}

    async def find_or_make(self, wire: Wire, *, create: bool, seconds: float) -> dict[str, Any]:
        """Return the server's description of the stream, made or put right where that does no harm.

        Raises:
            StoreNotFound: there is none, and none is to be made.
            NotAStore: it is no log, or not one that keeps what it acknowledges.
            Refused: the server does not let it be made.
        """
        try:
            return await self._reconciled(wire, seconds)
        except Refused as error:
            if error.err_code != _STREAM_NOT_FOUND:
                raise
        if not create:
            raise StoreNotFound(f"there is no JetStream stream {self.name}")
        metadata = {_LOG_ID: uuid.uuid4().hex, _FORMAT: "1"}
        config = {"name": self.name, **self._declared, "num_replicas": self._replicas or 1, "metadata": metadata}
        try:
            return await wire.ask(f"STREAM.CREATE.{self.name}", config, seconds=seconds)
        except Refused as error:
            if error.err_code != _STREAM_EXISTS:
                raise
        # Somebody else was first.
        return await self._reconciled(wire, seconds)

    async def _reconciled(self, wire: Wire, seconds: float) -> dict[str, Any]:
        """Change what can be changed without harm; refuse a stream that differs otherwise."""
        info = await wire.ask(f"STREAM.INFO.{self.name}", seconds=seconds)
        config = info["config"]
        log_id_of(info)
        declared = {**self._declared, **_NEVER, "num_replicas": self._replicas or config["num_replicas"]}
        # The server leaves out what is false, zero or not set.
        found = {key: config.get(key, value if value is None else type(value)()) for key, value in declared.items()}
        different = {key for key, value in declared.items() if found[key] != value} - _OPERATORS
        if fatal := different - _MENDED:
            words = "; ".join(f"{key} is {found[key]!r}, expected {declared[key]!r}" for key in sorted(fatal))
            raise NotAStore(f"JetStream stream {self.name} is not as this store needs it: {words}")
        if not different:
            return info
        changed = {**config, **{key: declared[key] for key in different}}
        return await wire.ask(f"STREAM.UPDATE.{self.name}", changed, seconds=seconds)


def log_id_of(info: dict[str, Any]) -> str:
    """Return the id of the log that a stream holds.

    Raises:
        NotAStore: the stream holds none.
    """
    config = info["config"]
    found = (config.get("metadata") or {}).get(_LOG_ID)
    if not found:
        raise NotAStore(f"JetStream stream {config['name']} is not an event store: its metadata name no log")
    return str(found)


def translated(error: Refused) -> EventStoreError:
    """Return the error of this package for one of JetStream's, by its code."""
    if error.err_code in NOT_ENABLED:
        return StoreUnavailable("JetStream is not enabled on the server, or not for this account")
    if error.err_code == _SUBJECTS_OVERLAP:
        return NotAStore("another JetStream stream stores subjects with this prefix")
    if error.err_code == _STREAM_NOT_FOUND:
        return StoreNotFound("the JetStream stream is gone")
    return StoreUnavailable(str(error))


class Durability:
    """What an acknowledgement is worth: how many copies, and whether each is on disk by then.

    Only a server's monitoring port tells whether it syncs before it acknowledges.
    """

    def __init__(self, monitors: Sequence[str]) -> None:
        self._monitors = tuple(monitors)

    async def words(self, copies: int) -> str:
        """Say it, for people."""
        kept = f"{copies} {'copies' if copies > 1 else 'copy'}"
        syncs = await self._syncs_always(copies)
        if syncs is None:
            return f"unknown: {kept}; no monitoring port tells when the servers sync"
        if syncs:
            return f"full: {kept}, and the disk is synced before a commit is acknowledged"
        return f"normal: {kept}; an acknowledged commit survives killed processes, not power loss everywhere"

    async def check_strict(self, copies: int) -> None:
        """Refuse servers that acknowledge before they sync, and those that do not tell.

        Raises:
            StoreUnavailable: there is such a server.
        """
        syncs = await self._syncs_always(copies)
        if syncs is None:
            raise StoreUnavailable("strict: no monitoring port tells when the servers sync; name one with monitor=")
        if not syncs:
            raise StoreUnavailable("strict: a server acknowledges before it syncs; set sync_interval: always")

    async def _syncs_always(self, copies: int) -> bool | None:
        """Say whether all servers sync before they acknowledge; None when one does not tell."""
        if len(self._monitors) < copies:
            return None
        answers = await asyncio.gather(*(asyncio.to_thread(_sync_always, address) for address in self._monitors))
        return None if None in answers else all(answers)


class _JszConfig(msgspec.Struct):
    sync_always: bool = False


class _Jsz(msgspec.Struct):
    """What a monitoring port tells; a server without JetStream tells no configuration."""

    config: _JszConfig


def _sync_always(address: str) -> bool | None:
    """Ask a monitoring port whether its server syncs before it acknowledges; None when it does not tell."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/jsz?config=true", timeout=_MONITOR_SECONDS) as answer:  # noqa: S310 (the operator's own address)
            return msgspec.json.decode(answer.read(), type=_Jsz).config.sync_always
    except (OSError, ValueError, HTTPException, msgspec.DecodeError):
        return None
