import datetime

from eventstore.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_STATUS_UNSPECIFIED: _ClassVar[DecisionStatus]
    PROPOSED: _ClassVar[DecisionStatus]
    APPROVED: _ClassVar[DecisionStatus]
    REJECTED: _ClassVar[DecisionStatus]
    IMPLEMENTED: _ClassVar[DecisionStatus]
    DEPRECATED: _ClassVar[DecisionStatus]
    DELETED: _ClassVar[DecisionStatus]

class LinkKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_KIND_UNSPECIFIED: _ClassVar[LinkKind]
    DEPENDS_ON: _ClassVar[LinkKind]
    GOVERNS: _ClassVar[LinkKind]
    SUPERSEDES: _ClassVar[LinkKind]
    RELATES_TO: _ClassVar[LinkKind]
    BLOCKS: _ClassVar[LinkKind]
    AFFECTS: _ClassVar[LinkKind]
DECISION_STATUS_UNSPECIFIED: DecisionStatus
PROPOSED: DecisionStatus
APPROVED: DecisionStatus
REJECTED: DecisionStatus
IMPLEMENTED: DecisionStatus
DEPRECATED: DecisionStatus
DELETED: DecisionStatus
LINK_KIND_UNSPECIFIED: LinkKind
DEPENDS_ON: LinkKind
GOVERNS: LinkKind
SUPERSEDES: LinkKind
RELATES_TO: LinkKind
BLOCKS: LinkKind
AFFECTS: LinkKind

class ContextCreatedEvent(_message.Message):
    __slots__ = ("title", "description", "acceptance_criteria", "constraints", "tags", "created_by", "created_at", "phase", "epic_id", "attributes", "reason")
    class ConstraintsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_CRITERIA_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    EPIC_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    acceptance_criteria: _containers.RepeatedScalarFieldContainer[str]
    constraints: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    created_by: str
    created_at: _timestamp_pb2.Timestamp
    phase: str
    epic_id: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., acceptance_criteria: _Optional[_Iterable[str]] = ..., constraints: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., phase: _Optional[str] = ..., epic_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StoryChangedEvent(_message.Message):
    __slots__ = ("title", "description", "acceptance_criteria", "constraints", "tags", "status", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_CRITERIA_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    acceptance_criteria: Texts
    constraints: TextMap
    tags: Texts
    status: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., acceptance_criteria: _Optional[_Union[Texts, _Mapping]] = ..., constraints: _Optional[_Union[TextMap, _Mapping]] = ..., tags: _Optional[_Union[Texts, _Mapping]] = ..., status: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StoryPlacedInEpicEvent(_message.Message):
    __slots__ = ("epic_id", "reason")
    EPIC_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    epic_id: str
    reason: str
    def __init__(self, epic_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PhaseTransitionedEvent(_message.Message):
    __slots__ = ("from_phase", "to_phase", "rationale", "at", "reason")
    FROM_PHASE_FIELD_NUMBER: _ClassVar[int]
    TO_PHASE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    from_phase: str
    to_phase: str
    rationale: str
    at: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, from_phase: _Optional[str] = ..., to_phase: _Optional[str] = ..., rationale: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class TextMap(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, str]
    def __init__(self, values: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PlanVersionAddedEvent(_message.Message):
    __slots__ = ("plan_id", "version", "author", "rationale", "created_at", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    version: int
    author: str
    rationale: str
    created_at: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, plan_id: _Optional[str] = ..., version: _Optional[int] = ..., author: _Optional[str] = ..., rationale: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanVersionChangedEvent(_message.Message):
    __slots__ = ("plan_id", "version", "author", "rationale", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    version: int
    author: str
    rationale: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, plan_id: _Optional[str] = ..., version: _Optional[int] = ..., author: _Optional[str] = ..., rationale: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanApprovedEvent(_message.Message):
    __slots__ = ("plan_id", "approved_by", "at", "reason")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    APPROVED_BY_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    approved_by: str
    at: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, plan_id: _Optional[str] = ..., approved_by: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanVersionRemovedEvent(_message.Message):
    __slots__ = ("plan_id", "reason")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    reason: str
    def __init__(self, plan_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SubtaskAddedEvent(_message.Message):
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
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    estimate: float
    assignee: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, subtask_id: _Optional[str] = ..., plan_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., type: _Optional[str] = ..., role: _Optional[str] = ..., status: _Optional[str] = ..., depends_on: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ..., estimate: _Optional[float] = ..., assignee: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SubtaskUpdatedEvent(_message.Message):
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
    depends_on: Texts
    priority: int
    estimate: float
    assignee: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, subtask_id: _Optional[str] = ..., plan_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., type: _Optional[str] = ..., role: _Optional[str] = ..., status: _Optional[str] = ..., depends_on: _Optional[_Union[Texts, _Mapping]] = ..., priority: _Optional[int] = ..., estimate: _Optional[float] = ..., assignee: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SubtaskRemovedEvent(_message.Message):
    __slots__ = ("subtask_id", "reason")
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    subtask_id: str
    reason: str
    def __init__(self, subtask_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TaskDispatchedEvent(_message.Message):
    __slots__ = ("subtask_id", "agent_id", "role", "at", "reason")
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    subtask_id: str
    agent_id: str
    role: str
    at: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, subtask_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., role: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionAddedEvent(_message.Message):
    __slots__ = ("decision_id", "title", "rationale", "status", "status_text", "kind", "decided_by", "decided_at", "alternatives", "task_id", "attributes", "reason")
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
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    title: str
    rationale: str
    status: DecisionStatus
    status_text: str
    kind: str
    decided_by: str
    decided_at: _timestamp_pb2.Timestamp
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    task_id: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., status: _Optional[_Union[DecisionStatus, str]] = ..., status_text: _Optional[str] = ..., kind: _Optional[str] = ..., decided_by: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., alternatives: _Optional[_Iterable[str]] = ..., task_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionChangedEvent(_message.Message):
    __slots__ = ("decision_id", "title", "rationale", "kind", "decided_by", "decided_at", "alternatives", "removed_attributes", "attributes", "reason")
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
    KIND_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    title: str
    rationale: str
    kind: str
    decided_by: str
    decided_at: _timestamp_pb2.Timestamp
    alternatives: Texts
    removed_attributes: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., kind: _Optional[str] = ..., decided_by: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., alternatives: _Optional[_Union[Texts, _Mapping]] = ..., removed_attributes: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionStatusChangedEvent(_message.Message):
    __slots__ = ("decision_id", "status", "status_text", "observed", "reason")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_TEXT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    status: DecisionStatus
    status_text: str
    observed: bool
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., status: _Optional[_Union[DecisionStatus, str]] = ..., status_text: _Optional[str] = ..., observed: bool = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionDeletedEvent(_message.Message):
    __slots__ = ("decision_id", "reason")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionLinkedEvent(_message.Message):
    __slots__ = ("source_id", "kind", "target_id", "stated_by", "reason")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    STATED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    kind: LinkKind
    target_id: str
    stated_by: str
    reason: str
    def __init__(self, source_id: _Optional[str] = ..., kind: _Optional[_Union[LinkKind, str]] = ..., target_id: _Optional[str] = ..., stated_by: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionUnlinkedEvent(_message.Message):
    __slots__ = ("source_id", "kind", "target_id", "stated_by", "reason")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    STATED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    kind: LinkKind
    target_id: str
    stated_by: str
    reason: str
    def __init__(self, source_id: _Optional[str] = ..., kind: _Optional[_Union[LinkKind, str]] = ..., target_id: _Optional[str] = ..., stated_by: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class MilestoneReachedEvent(_message.Message):
    __slots__ = ("milestone_id", "event_type", "description", "actor", "at", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MILESTONE_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    milestone_id: str
    event_type: str
    description: str
    actor: str
    at: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, milestone_id: _Optional[str] = ..., event_type: _Optional[str] = ..., description: _Optional[str] = ..., actor: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class MilestoneRemovedEvent(_message.Message):
    __slots__ = ("milestone_id", "reason")
    MILESTONE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    milestone_id: str
    reason: str
    def __init__(self, milestone_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SummaryRecordedEvent(_message.Message):
    __slots__ = ("role", "text", "at", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    role: str
    text: str
    at: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, role: _Optional[str] = ..., text: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ProjectCreatedEvent(_message.Message):
    __slots__ = ("name", "description", "status", "owner", "created_at", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    status: str
    owner: str
    created_at: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., status: _Optional[str] = ..., owner: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ProjectChangedEvent(_message.Message):
    __slots__ = ("name", "description", "status", "owner", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    status: str
    owner: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., status: _Optional[str] = ..., owner: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class EpicCreatedEvent(_message.Message):
    __slots__ = ("project_id", "title", "description", "status", "created_at", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    title: str
    description: str
    status: str
    created_at: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, project_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., status: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class EpicChangedEvent(_message.Message):
    __slots__ = ("title", "description", "status", "attributes", "reason")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    status: str
    attributes: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., status: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...
