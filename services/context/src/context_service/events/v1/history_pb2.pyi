import datetime

from context_service.events.v1 import events_pb2 as _events_pb2
from eventstore.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionAddedV1(_message.Message):
    __slots__ = ("decision_id", "title", "rationale", "status", "status_text", "kind", "decided_by", "decided_at", "alternatives", "alternatives_text", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    title: str
    rationale: str
    status: _events_pb2.DecisionStatus
    status_text: str
    kind: str
    decided_by: str
    decided_at: _timestamp_pb2.Timestamp
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    alternatives_text: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., status: _Optional[_Union[_events_pb2.DecisionStatus, str]] = ..., status_text: _Optional[str] = ..., kind: _Optional[str] = ..., decided_by: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., alternatives: _Optional[_Iterable[str]] = ..., alternatives_text: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SubtaskUpdatedV1(_message.Message):
    __slots__ = ("subtask_id", "plan_id", "title", "description", "type", "role", "status", "depends_on", "priority", "estimate", "assignee", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    ASSIGNEE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    subtask_id: str
    plan_id: str
    title: str
    description: str
    type: str
    role: str
    status: str
    depends_on: _events_pb2.Texts
    priority: int
    estimate: float
    assignee: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, subtask_id: _Optional[str] = ..., plan_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., type: _Optional[str] = ..., role: _Optional[str] = ..., status: _Optional[str] = ..., depends_on: _Optional[_Union[_events_pb2.Texts, _Mapping]] = ..., priority: _Optional[int] = ..., estimate: _Optional[float] = ..., assignee: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...
