"""The fingerprint by which two logs are known to say the same."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

from eventstore._envelope import parse
from eventstore._values import Position

if TYPE_CHECKING:
    from eventstore._segment_file import Report
    from eventstore._store import EventStore
    from eventstore._values import RawCommit
    from eventstore.v1 import envelope_pb2

_NUMBER: Final = struct.Struct(">Q")
_TWO_NUMBERS: Final = struct.Struct(">QQ")
_OCCURRED: Final = struct.Struct(">Qq")
_NOT_OCCURRED: Final = _NUMBER.pack(0)


class Digest:
    """SHA-256 over what the commits of a log say, in log order: equal on every backend and after every import.

    A commit counts with its category, id, first version, commit id and events; an event with its type, schema, payload
    and, where its writer gave one, the time it occurred. Positions, recorded times, the log id and metadata do not
    count.

    The hashed bytes are unambiguous. A number is 8 bytes, the highest first; a text is its length in bytes as a number,
    then its bytes in UTF-8. A commit is::

        text category, text id, number first version, text commit id, number of events, then for each event:
        text type, number schema, text payload, and number 0, or number 1 and the occurred time (signed) in microseconds
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.commits = 0
        self.events = 0

    @property
    def value(self) -> bytes:
        """The 32 bytes for the commits so far."""
        return self._hash.digest()

    @property
    def hexdigest(self) -> str:
        """The value as 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, raw: RawCommit, envelope: envelope_pb2.Envelope) -> None:
        """Count the log's next commit, given as it is stored and parsed."""
        category, name = raw.stream.category.encode(), raw.stream.id.encode()
        commit_id, events = envelope.commit_id, envelope.events
        parts = [
            _NUMBER.pack(len(category)),
            category,
            _NUMBER.pack(len(name)),
            name,
            _TWO_NUMBERS.pack(envelope.first_version, len(commit_id)),
            commit_id,
            _NUMBER.pack(len(events)),
        ]
        for stored in events:
            type_name, payload = stored.type.encode(), stored.payload
            parts += (
                _NUMBER.pack(len(type_name)),
                type_name,
                _TWO_NUMBERS.pack(stored.schema, len(payload)),
                payload,
                _OCCURRED.pack(1, stored.occurred_at) if stored.HasField("occurred_at") else _NOT_OCCURRED,
            )
        self._hash.update(b"".join(parts))
        self.commits += 1
        self.events += len(events)


async def advance(
    digest: Digest, store: EventStore, *, after: int = 0, progress: Report | None = None, step: str = "read"
) -> Position:
    """Add what a log holds after a position to a digest and return the position of the last commit it now covers.

    Raises:
        CorruptCommit: stored bytes are no envelope.
        UnknownPosition: the log has not reached the position.
    """
    position = Position(after)
    head = await store.backend.head()
    async for chunk in store.backend.log(after=position):
        for raw in chunk:
            digest.add(raw, parse(raw))
        position = chunk[-1].position
        if progress is not None:
            progress(step, position, head)
    return position


async def digest_of(store: EventStore) -> Digest:
    """Read a whole log and return its digest.

    Raises:
        CorruptCommit: stored bytes are no envelope.
    """
    digest = Digest()
    await advance(digest, store)
    return digest
