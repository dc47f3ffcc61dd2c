"""The bytes of a commit: composed, sealed for a backend, parsed. The format is ``v1/envelope.proto``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.message import DecodeError, Message

from eventstore._errors import CorruptCommit, InvalidInput, TooLarge
from eventstore._values import COMMIT_ID_BYTES, NewCommit, RawCommit, StreamId, Version, to_micros
from eventstore.v1 import envelope_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from eventstore._codec import EventCodec

MAX_ENVELOPE_BYTES: Final = 1_048_064
"""1 MiB less room for headers: what every backend can store, so that any log can move to any of them."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Who and what led to a commit. Empty text means unknown."""

    actor: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    #: W3C Trace Context.
    traceparent: str = ""
    tracestate: str = ""


NO_METADATA: Final = Metadata()


def new_commit_id() -> bytes:
    """Return a commit id that nobody else will make."""
    return os.urandom(COMMIT_ID_BYTES)


def compose(
    codec: EventCodec,
    events: Sequence[Message],
    *,
    commit_id: bytes | None = None,
    metadata: Metadata = NO_METADATA,
    occurred_at: datetime | None = None,
) -> envelope_pb2.Envelope:
    """Return the envelope of a commit whose place in its stream is not settled yet.

    Raises:
        InvalidInput: a message is not registered or cannot be serialised, a text cannot be encoded, or the time has no
            zone.
    """
    if commit_id is None:
        commit_id = new_commit_id()
    for value, kind, field in ((commit_id, bytes, "commit_id"), (metadata, Metadata, "metadata")):
        if not isinstance(value, kind):
            raise InvalidInput(field, f"expected {kind.__name__}, got {value!r:.80}")
    if isinstance(events, Message):
        raise InvalidInput("events", "expected a sequence of messages, got a single one")
    envelope = envelope_pb2.Envelope(commit_id=commit_id)
    occurred = None if occurred_at is None else to_micros(occurred_at, "occurred_at")
    for message in events:
        stored = envelope.events.add()
        stored.type, stored.schema, stored.payload = codec.encode(message)
        if occurred is not None:
            stored.occurred_at = occurred
    if metadata is not NO_METADATA:
        for field in metadata.__struct_fields__:
            try:
                setattr(envelope.metadata, field, getattr(metadata, field))
            except (TypeError, ValueError):
                raise InvalidInput(f"metadata.{field}", "expected text that UTF-8 can encode") from None
    return envelope


def seal(stream: StreamId, expected: int, envelope: envelope_pb2.Envelope) -> NewCommit:
    """Return a commit ready for a backend, its envelope completed for the version it expects.

    Raises:
        InvalidInput: no events, a commit id that is not 16 bytes, or text that UTF-8 cannot encode.
        TooLarge: the envelope is over the limit of all backends.
    """
    if not isinstance(stream, StreamId):
        raise InvalidInput("stream", f"expected a StreamId, got {stream!r:.80}")
    count, commit_id = len(envelope.events), envelope.commit_id
    if not count:
        raise InvalidInput("events", "expected at least one event, got none")
    if len(commit_id) != COMMIT_ID_BYTES:
        raise InvalidInput("commit_id", f"expected {COMMIT_ID_BYTES} bytes, got {len(commit_id)}")
    envelope.first_version = expected + 1
    encoded = envelope.SerializeToString(deterministic=True)
    if len(encoded) > MAX_ENVELOPE_BYTES:
        raise TooLarge(len(encoded), MAX_ENVELOPE_BYTES)
    return NewCommit(
        stream,
        Version(expected),
        count,
        commit_id,
        encoded,
        envelope.recorded_at if envelope.HasField("recorded_at") else None,
    )


def parse(raw: RawCommit) -> envelope_pb2.Envelope:
    """Parse a stored commit's envelope.

    Raises:
        CorruptCommit: the bytes are no envelope.
    """
    try:
        envelope = envelope_pb2.Envelope.FromString(raw.envelope)
    except DecodeError as error:
        raise CorruptCommit(raw.stream, raw.position, str(error)) from None
    if len(envelope.commit_id) != COMMIT_ID_BYTES or not envelope.first_version or not envelope.events:
        raise CorruptCommit(raw.stream, raw.position, "commit id, first version or events are missing")
    return envelope
