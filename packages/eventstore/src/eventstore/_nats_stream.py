"""The JetStream stream that holds a log: what it must be, how it is made and put right."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from eventstore._errors import NotAStore, StoreNotFound
from eventstore._nats_errors import STREAM_EXISTS, STREAM_NOT_FOUND, Refused

if TYPE_CHECKING:
    from eventstore._nats_wire import Wire

_LOG_ID: Final = "eventstore.log_id"
_FORMAT: Final = "eventstore.format"
_KNOWN_FORMAT: Final = "1"

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
    "allow_msg_counter": False,
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
            return await self._reconciled(wire, seconds, mend=create)
        except Refused as error:
            if error.err_code != STREAM_NOT_FOUND:
                raise
        if not create:
            raise StoreNotFound(f"there is no JetStream stream {self.name}")
        metadata = {_LOG_ID: uuid.uuid4().hex, _FORMAT: _KNOWN_FORMAT}
        config = {"name": self.name, **self._declared, "num_replicas": self._replicas or 1, "metadata": metadata}
        try:
            return await wire.ask(f"STREAM.CREATE.{self.name}", config, seconds=seconds)
        except Refused as error:
            if error.err_code != STREAM_EXISTS:
                raise
        # Somebody else was first.
        return await self._reconciled(wire, seconds, mend=True)

    async def _reconciled(self, wire: Wire, seconds: float, *, mend: bool) -> dict[str, Any]:
        """Change what can be changed without harm; refuse a stream that differs otherwise.

        Who only looks, and would not make one, changes nothing.
        """
        info = await wire.ask(f"STREAM.INFO.{self.name}", seconds=seconds)
        config = info["config"]
        log_id_of(info)
        declared = {**self._declared, **_NEVER, "num_replicas": self._replicas or config["num_replicas"]}
        # The server leaves out what is false, zero or not set.
        found = {key: config.get(key, value if value is None else type(value)()) for key, value in declared.items()}
        different = {key for key, value in declared.items() if found[key] != value} - _OPERATORS
        # Fewer copies are an operator's decision.
        kept = {"num_replicas"} if found["num_replicas"] > declared["num_replicas"] else set()
        if fatal := different - (_MENDED - kept):
            words = "; ".join(f"{key} is {found[key]!r}, expected {declared[key]!r}" for key in sorted(fatal))
            raise NotAStore(f"JetStream stream {self.name} is not as this store needs it: {words}")
        if not different or not mend:
            return info
        changed = {**config, **{key: declared[key] for key in different}}
        return await wire.ask(f"STREAM.UPDATE.{self.name}", changed, seconds=seconds)


def log_id_of(info: dict[str, Any]) -> str:
    """Return the id of the log that a stream holds.

    Raises:
        NotAStore: the stream holds none, or one of a format that is not known here.
    """
    config = info["config"]
    metadata = config.get("metadata") or {}
    if not metadata.get(_LOG_ID):
        raise NotAStore(f"JetStream stream {config['name']} is not an event store: its metadata name no log")
    if (format := metadata.get(_FORMAT, _KNOWN_FORMAT)) != _KNOWN_FORMAT:
        raise NotAStore(f"JetStream stream {config['name']} is a log of format {format}, expected {_KNOWN_FORMAT}")
    return str(metadata[_LOG_ID])
