from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("commit_id", "first_version", "events", "metadata", "recorded_at")
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    commit_id: bytes
    first_version: int
    events: _containers.RepeatedCompositeFieldContainer[StoredEvent]
    metadata: Metadata
    recorded_at: int
    def __init__(self, commit_id: _Optional[bytes] = ..., first_version: _Optional[int] = ..., events: _Optional[_Iterable[_Union[StoredEvent, _Mapping]]] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ..., recorded_at: _Optional[int] = ...) -> None: ...

class StoredEvent(_message.Message):
    __slots__ = ("type", "schema", "payload", "occurred_at")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    type: str
    schema: int
    payload: bytes
    occurred_at: int
    def __init__(self, type: _Optional[str] = ..., schema: _Optional[int] = ..., payload: _Optional[bytes] = ..., occurred_at: _Optional[int] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("actor", "correlation_id", "causation_id", "traceparent", "tracestate")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    actor: str
    correlation_id: str
    causation_id: str
    traceparent: str
    tracestate: str
    def __init__(self, actor: _Optional[str] = ..., correlation_id: _Optional[str] = ..., causation_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...
