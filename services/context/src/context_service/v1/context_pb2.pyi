from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetContextRequest(_message.Message):
    __slots__ = ("story_id", "role", "phase", "subtask_id", "token_budget", "min_position", "why")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    role: str
    phase: str
    subtask_id: str
    token_budget: int
    min_position: str
    why: bool
    def __init__(self, story_id: _Optional[str] = ..., role: _Optional[str] = ..., phase: _Optional[str] = ..., subtask_id: _Optional[str] = ..., token_budget: _Optional[int] = ..., min_position: _Optional[str] = ..., why: bool = ...) -> None: ...

class GetContextResponse(_message.Message):
    __slots__ = ("context", "token_count", "scopes", "version", "blocks", "position", "hash", "empty_scopes", "withheld_scopes", "omitted", "statements", "final")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    EMPTY_SCOPES_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_SCOPES_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    context: str
    token_count: int
    scopes: _containers.RepeatedScalarFieldContainer[str]
    version: str
    blocks: PromptBlocks
    position: str
    hash: str
    empty_scopes: _containers.RepeatedScalarFieldContainer[str]
    withheld_scopes: _containers.RepeatedScalarFieldContainer[str]
    omitted: _containers.RepeatedCompositeFieldContainer[Omission]
    statements: _containers.RepeatedCompositeFieldContainer[Statement]
    final: bool
    def __init__(self, context: _Optional[str] = ..., token_count: _Optional[int] = ..., scopes: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., blocks: _Optional[_Union[PromptBlocks, _Mapping]] = ..., position: _Optional[str] = ..., hash: _Optional[str] = ..., empty_scopes: _Optional[_Iterable[str]] = ..., withheld_scopes: _Optional[_Iterable[str]] = ..., omitted: _Optional[_Iterable[_Union[Omission, _Mapping]]] = ..., statements: _Optional[_Iterable[_Union[Statement, _Mapping]]] = ..., final: bool = ...) -> None: ...

class Omission(_message.Message):
    __slots__ = ("entity_type", "entity_id", "left", "reason")
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    entity_type: str
    entity_id: str
    left: str
    reason: str
    def __init__(self, entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., left: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("entity_type", "entity_id", "scope", "form", "events")
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    entity_type: str
    entity_id: str
    scope: str
    form: str
    events: _containers.RepeatedCompositeFieldContainer[EventReference]
    def __init__(self, entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., scope: _Optional[str] = ..., form: _Optional[str] = ..., events: _Optional[_Iterable[_Union[EventReference, _Mapping]]] = ...) -> None: ...

class EventReference(_message.Message):
    __slots__ = ("version", "position", "event_type")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    version: int
    position: str
    event_type: str
    def __init__(self, version: _Optional[int] = ..., position: _Optional[str] = ..., event_type: _Optional[str] = ...) -> None: ...

class PromptBlocks(_message.Message):
    __slots__ = ("system", "context", "tools")
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    system: str
    context: str
    tools: str
    def __init__(self, system: _Optional[str] = ..., context: _Optional[str] = ..., tools: _Optional[str] = ...) -> None: ...

class UpdateContextRequest(_message.Message):
    __slots__ = ("story_id", "task_id", "role", "changes", "timestamp", "expected_version", "idempotency_key")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    task_id: str
    role: str
    changes: _containers.RepeatedCompositeFieldContainer[ContextChange]
    timestamp: str
    expected_version: int
    idempotency_key: str
    def __init__(self, story_id: _Optional[str] = ..., task_id: _Optional[str] = ..., role: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[ContextChange, _Mapping]]] = ..., timestamp: _Optional[str] = ..., expected_version: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ContextChange(_message.Message):
    __slots__ = ("operation", "entity_type", "entity_id", "payload", "reason")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    operation: str
    entity_type: str
    entity_id: str
    payload: str
    reason: str
    def __init__(self, operation: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., payload: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class UpdateContextResponse(_message.Message):
    __slots__ = ("version", "hash", "warnings", "position", "results")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    hash: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    position: str
    results: _containers.RepeatedCompositeFieldContainer[ChangeResult]
    def __init__(self, version: _Optional[int] = ..., hash: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., position: _Optional[str] = ..., results: _Optional[_Iterable[_Union[ChangeResult, _Mapping]]] = ...) -> None: ...

class ChangeResult(_message.Message):
    __slots__ = ("operation", "entity_type", "entity_id", "changed", "events")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    operation: str
    entity_type: str
    entity_id: str
    changed: bool
    events: _containers.RepeatedCompositeFieldContainer[EventReference]
    def __init__(self, operation: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., changed: bool = ..., events: _Optional[_Iterable[_Union[EventReference, _Mapping]]] = ...) -> None: ...

class GetContextAtTimeRequest(_message.Message):
    __slots__ = ("story_id", "timestamp", "role", "phase", "subtask_id", "token_budget", "clock", "why")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    timestamp: str
    role: str
    phase: str
    subtask_id: str
    token_budget: int
    clock: str
    why: bool
    def __init__(self, story_id: _Optional[str] = ..., timestamp: _Optional[str] = ..., role: _Optional[str] = ..., phase: _Optional[str] = ..., subtask_id: _Optional[str] = ..., token_budget: _Optional[int] = ..., clock: _Optional[str] = ..., why: bool = ...) -> None: ...

class GetContextAtVersionRequest(_message.Message):
    __slots__ = ("story_id", "version", "role", "phase", "subtask_id", "token_budget", "why")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    version: int
    role: str
    phase: str
    subtask_id: str
    token_budget: int
    why: bool
    def __init__(self, story_id: _Optional[str] = ..., version: _Optional[int] = ..., role: _Optional[str] = ..., phase: _Optional[str] = ..., subtask_id: _Optional[str] = ..., token_budget: _Optional[int] = ..., why: bool = ...) -> None: ...

class WatchContextRequest(_message.Message):
    __slots__ = ("story_id", "role", "phase", "subtask_id", "token_budget")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    role: str
    phase: str
    subtask_id: str
    token_budget: int
    def __init__(self, story_id: _Optional[str] = ..., role: _Optional[str] = ..., phase: _Optional[str] = ..., subtask_id: _Optional[str] = ..., token_budget: _Optional[int] = ...) -> None: ...

class WatchContextResponse(_message.Message):
    __slots__ = ("context", "change")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    context: GetContextResponse
    change: HistoryEntry
    def __init__(self, context: _Optional[_Union[GetContextResponse, _Mapping]] = ..., change: _Optional[_Union[HistoryEntry, _Mapping]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("version", "position", "event_type", "entity_type", "entity_id", "actor", "reason", "cause", "correlation_id", "occurred_at", "recorded_at", "payload", "changes", "commit_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    version: int
    position: str
    event_type: str
    entity_type: str
    entity_id: str
    actor: str
    reason: str
    cause: str
    correlation_id: str
    occurred_at: str
    recorded_at: str
    payload: str
    changes: _containers.RepeatedCompositeFieldContainer[FieldChange]
    commit_id: str
    def __init__(self, version: _Optional[int] = ..., position: _Optional[str] = ..., event_type: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., cause: _Optional[str] = ..., correlation_id: _Optional[str] = ..., occurred_at: _Optional[str] = ..., recorded_at: _Optional[str] = ..., payload: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[FieldChange, _Mapping]]] = ..., commit_id: _Optional[str] = ...) -> None: ...

class FieldChange(_message.Message):
    __slots__ = ("field", "before", "after")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    field: str
    before: str
    after: str
    def __init__(self, field: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("story_id", "event_types", "actor", "entity_type", "entity_id", "after", "until", "page_size", "page_token")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    actor: str
    entity_type: str
    entity_id: str
    after: Moment
    until: Moment
    page_size: int
    page_token: str
    def __init__(self, story_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., actor: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., after: _Optional[_Union[Moment, _Mapping]] = ..., until: _Optional[_Union[Moment, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "version", "position")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    next_page_token: str
    version: int
    position: str
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class Moment(_message.Message):
    __slots__ = ("version", "timestamp", "position", "clock")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    version: int
    timestamp: str
    position: str
    clock: str
    def __init__(self, version: _Optional[int] = ..., timestamp: _Optional[str] = ..., position: _Optional[str] = ..., clock: _Optional[str] = ...) -> None: ...

class DiffContextRequest(_message.Message):
    __slots__ = ("story_id", "earlier", "later")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FIELD_NUMBER: _ClassVar[int]
    LATER_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    earlier: Moment
    later: Moment
    def __init__(self, story_id: _Optional[str] = ..., earlier: _Optional[_Union[Moment, _Mapping]] = ..., later: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class DiffContextResponse(_message.Message):
    __slots__ = ("earlier_version", "earlier_position", "later_version", "later_position", "entities", "relations")
    EARLIER_VERSION_FIELD_NUMBER: _ClassVar[int]
    EARLIER_POSITION_FIELD_NUMBER: _ClassVar[int]
    LATER_VERSION_FIELD_NUMBER: _ClassVar[int]
    LATER_POSITION_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    earlier_version: int
    earlier_position: str
    later_version: int
    later_position: str
    entities: _containers.RepeatedCompositeFieldContainer[EntityDiff]
    relations: _containers.RepeatedCompositeFieldContainer[RelationDiff]
    def __init__(self, earlier_version: _Optional[int] = ..., earlier_position: _Optional[str] = ..., later_version: _Optional[int] = ..., later_position: _Optional[str] = ..., entities: _Optional[_Iterable[_Union[EntityDiff, _Mapping]]] = ..., relations: _Optional[_Iterable[_Union[RelationDiff, _Mapping]]] = ...) -> None: ...

class EntityDiff(_message.Message):
    __slots__ = ("change", "entity_type", "entity_id", "fields")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    change: str
    entity_type: str
    entity_id: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldChange]
    def __init__(self, change: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldChange, _Mapping]]] = ...) -> None: ...

class RelationDiff(_message.Message):
    __slots__ = ("change", "relation")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    change: str
    relation: DecisionRelation
    def __init__(self, change: _Optional[str] = ..., relation: _Optional[_Union[DecisionRelation, _Mapping]] = ...) -> None: ...

class ExplainDecisionRequest(_message.Message):
    __slots__ = ("story_id", "decision_id", "at")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    decision_id: str
    at: Moment
    def __init__(self, story_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class ExplainDecisionResponse(_message.Message):
    __slots__ = ("decision", "events", "causes", "dependencies", "dependents", "version", "position")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    DEPENDENTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    events: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    causes: _containers.RepeatedCompositeFieldContainer[Cause]
    dependencies: _containers.RepeatedCompositeFieldContainer[Dependency]
    dependents: _containers.RepeatedCompositeFieldContainer[Dependency]
    version: int
    position: str
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., events: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ..., causes: _Optional[_Iterable[_Union[Cause, _Mapping]]] = ..., dependencies: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., dependents: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("entity_type", "entity_id", "events")
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    entity_type: str
    entity_id: str
    events: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    def __init__(self, entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("decision", "distance", "relation", "events", "missing")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    distance: int
    relation: DecisionRelation
    events: _containers.RepeatedCompositeFieldContainer[EventReference]
    missing: bool
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., distance: _Optional[int] = ..., relation: _Optional[_Union[DecisionRelation, _Mapping]] = ..., events: _Optional[_Iterable[_Union[EventReference, _Mapping]]] = ..., missing: bool = ...) -> None: ...

class RehydrateSessionRequest(_message.Message):
    __slots__ = ("case_id", "roles", "include_timeline", "include_summaries", "timeline_events", "persist_bundle", "ttl_seconds")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TIMELINE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    PERSIST_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    include_timeline: bool
    include_summaries: bool
    timeline_events: int
    persist_bundle: bool
    ttl_seconds: int
    def __init__(self, case_id: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., include_timeline: bool = ..., include_summaries: bool = ..., timeline_events: _Optional[int] = ..., persist_bundle: bool = ..., ttl_seconds: _Optional[int] = ...) -> None: ...

class RehydrateSessionResponse(_message.Message):
    __slots__ = ("case_id", "generated_at_ms", "packs", "stats", "version", "position", "expires_at_ms")
    class PacksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RoleContextPack
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RoleContextPack, _Mapping]] = ...) -> None: ...
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    generated_at_ms: int
    packs: _containers.MessageMap[str, RoleContextPack]
    stats: RehydrationStats
    version: int
    position: str
    expires_at_ms: int
    def __init__(self, case_id: _Optional[str] = ..., generated_at_ms: _Optional[int] = ..., packs: _Optional[_Mapping[str, RoleContextPack]] = ..., stats: _Optional[_Union[RehydrationStats, _Mapping]] = ..., version: _Optional[int] = ..., position: _Optional[str] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class GetRehydrationBundleRequest(_message.Message):
    __slots__ = ("case_id", "generated_at_ms")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    generated_at_ms: int
    def __init__(self, case_id: _Optional[str] = ..., generated_at_ms: _Optional[int] = ...) -> None: ...

class RoleContextPack(_message.Message):
    __slots__ = ("role", "case_header", "plan_header", "subtasks", "decisions", "decision_deps", "impacted", "milestones", "last_summary", "token_budget_hint")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CASE_HEADER_FIELD_NUMBER: _ClassVar[int]
    PLAN_HEADER_FIELD_NUMBER: _ClassVar[int]
    SUBTASKS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    DECISION_DEPS_FIELD_NUMBER: _ClassVar[int]
    IMPACTED_FIELD_NUMBER: _ClassVar[int]
    MILESTONES_FIELD_NUMBER: _ClassVar[int]
    LAST_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_HINT_FIELD_NUMBER: _ClassVar[int]
    role: str
    case_header: CaseHeader
    plan_header: PlanHeader
    subtasks: _containers.RepeatedCompositeFieldContainer[Subtask]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    decision_deps: _containers.RepeatedCompositeFieldContainer[DecisionRelation]
    impacted: _containers.RepeatedCompositeFieldContainer[ImpactedSubtask]
    milestones: _containers.RepeatedCompositeFieldContainer[Milestone]
    last_summary: str
    token_budget_hint: int
    def __init__(self, role: _Optional[str] = ..., case_header: _Optional[_Union[CaseHeader, _Mapping]] = ..., plan_header: _Optional[_Union[PlanHeader, _Mapping]] = ..., subtasks: _Optional[_Iterable[_Union[Subtask, _Mapping]]] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., decision_deps: _Optional[_Iterable[_Union[DecisionRelation, _Mapping]]] = ..., impacted: _Optional[_Iterable[_Union[ImpactedSubtask, _Mapping]]] = ..., milestones: _Optional[_Iterable[_Union[Milestone, _Mapping]]] = ..., last_summary: _Optional[str] = ..., token_budget_hint: _Optional[int] = ...) -> None: ...

class CaseHeader(_message.Message):
    __slots__ = ("case_id", "title", "description", "status", "created_at", "created_by")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    title: str
    description: str
    status: str
    created_at: str
    created_by: str
    def __init__(self, case_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., status: _Optional[str] = ..., created_at: _Optional[str] = ..., created_by: _Optional[str] = ...) -> None: ...

class PlanHeader(_message.Message):
    __slots__ = ("plan_id", "version", "status", "total_subtasks", "completed_subtasks")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SUBTASKS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_SUBTASKS_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    version: int
    status: str
    total_subtasks: int
    completed_subtasks: int
    def __init__(self, plan_id: _Optional[str] = ..., version: _Optional[int] = ..., status: _Optional[str] = ..., total_subtasks: _Optional[int] = ..., completed_subtasks: _Optional[int] = ...) -> None: ...

class Subtask(_message.Message):
    __slots__ = ("subtask_id", "title", "description", "role", "status", "dependencies", "priority")
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    subtask_id: str
    title: str
    description: str
    role: str
    status: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    def __init__(self, subtask_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., role: _Optional[str] = ..., status: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("id", "title", "rationale", "status", "decided_by", "decided_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    rationale: str
    status: str
    decided_by: str
    decided_at: str
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., status: _Optional[str] = ..., decided_by: _Optional[str] = ..., decided_at: _Optional[str] = ...) -> None: ...

class DecisionRelation(_message.Message):
    __slots__ = ("src_id", "dst_id", "relation_type")
    SRC_ID_FIELD_NUMBER: _ClassVar[int]
    DST_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    src_id: str
    dst_id: str
    relation_type: str
    def __init__(self, src_id: _Optional[str] = ..., dst_id: _Optional[str] = ..., relation_type: _Optional[str] = ...) -> None: ...

class ImpactedSubtask(_message.Message):
    __slots__ = ("decision_id", "subtask_id", "title")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    subtask_id: str
    title: str
    def __init__(self, decision_id: _Optional[str] = ..., subtask_id: _Optional[str] = ..., title: _Optional[str] = ...) -> None: ...

class Milestone(_message.Message):
    __slots__ = ("event_type", "description", "ts_ms", "actor")
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TS_MS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    event_type: str
    description: str
    ts_ms: int
    actor: str
    def __init__(self, event_type: _Optional[str] = ..., description: _Optional[str] = ..., ts_ms: _Optional[int] = ..., actor: _Optional[str] = ...) -> None: ...

class RehydrationStats(_message.Message):
    __slots__ = ("decisions", "decision_edges", "impacts", "events", "roles")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    DECISION_EDGES_FIELD_NUMBER: _ClassVar[int]
    IMPACTS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    decisions: int
    decision_edges: int
    impacts: int
    events: int
    roles: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, decisions: _Optional[int] = ..., decision_edges: _Optional[int] = ..., impacts: _Optional[int] = ..., events: _Optional[int] = ..., roles: _Optional[_Iterable[str]] = ...) -> None: ...

class ValidateScopeRequest(_message.Message):
    __slots__ = ("role", "phase", "provided_scopes")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PROVIDED_SCOPES_FIELD_NUMBER: _ClassVar[int]
    role: str
    phase: str
    provided_scopes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, role: _Optional[str] = ..., phase: _Optional[str] = ..., provided_scopes: _Optional[_Iterable[str]] = ...) -> None: ...

class ValidateScopeResponse(_message.Message):
    __slots__ = ("allowed", "missing", "extra", "reason")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    missing: _containers.RepeatedScalarFieldContainer[str]
    extra: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, allowed: bool = ..., missing: _Optional[_Iterable[str]] = ..., extra: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class CreateStoryRequest(_message.Message):
    __slots__ = ("story_id", "title", "description", "initial_phase", "actor", "reason", "expected_version", "idempotency_key")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INITIAL_PHASE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    title: str
    description: str
    initial_phase: str
    actor: str
    reason: str
    expected_version: int
    idempotency_key: str
    def __init__(self, story_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., initial_phase: _Optional[str] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., expected_version: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CreateStoryResponse(_message.Message):
    __slots__ = ("context_id", "story_id", "current_phase", "version", "position")
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PHASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    story_id: str
    current_phase: str
    version: int
    position: str
    def __init__(self, context_id: _Optional[str] = ..., story_id: _Optional[str] = ..., current_phase: _Optional[str] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("story_id", "task_id", "title", "description", "role", "dependencies", "priority", "estimated_hours", "actor", "reason", "expected_version", "idempotency_key")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_HOURS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    task_id: str
    title: str
    description: str
    role: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    estimated_hours: int
    actor: str
    reason: str
    expected_version: int
    idempotency_key: str
    def __init__(self, story_id: _Optional[str] = ..., task_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., role: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ..., estimated_hours: _Optional[int] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., expected_version: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CreateTaskResponse(_message.Message):
    __slots__ = ("task_id", "story_id", "status", "version", "position")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    story_id: str
    status: str
    version: int
    position: str
    def __init__(self, task_id: _Optional[str] = ..., story_id: _Optional[str] = ..., status: _Optional[str] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class AddProjectDecisionRequest(_message.Message):
    __slots__ = ("story_id", "decision_type", "title", "rationale", "alternatives_considered", "metadata", "actor", "reason", "expected_version", "idempotency_key")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_CONSIDERED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    decision_type: str
    title: str
    rationale: str
    alternatives_considered: str
    metadata: _containers.ScalarMap[str, str]
    actor: str
    reason: str
    expected_version: int
    idempotency_key: str
    def __init__(self, story_id: _Optional[str] = ..., decision_type: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., alternatives_considered: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., expected_version: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class AddProjectDecisionResponse(_message.Message):
    __slots__ = ("decision_id", "version", "position")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    version: int
    position: str
    def __init__(self, decision_id: _Optional[str] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class TransitionPhaseRequest(_message.Message):
    __slots__ = ("story_id", "from_phase", "to_phase", "rationale", "actor", "expected_version", "idempotency_key")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_PHASE_FIELD_NUMBER: _ClassVar[int]
    TO_PHASE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    from_phase: str
    to_phase: str
    rationale: str
    actor: str
    expected_version: int
    idempotency_key: str
    def __init__(self, story_id: _Optional[str] = ..., from_phase: _Optional[str] = ..., to_phase: _Optional[str] = ..., rationale: _Optional[str] = ..., actor: _Optional[str] = ..., expected_version: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class TransitionPhaseResponse(_message.Message):
    __slots__ = ("story_id", "current_phase", "transitioned_at", "version", "position")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PHASE_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    current_phase: str
    transitioned_at: str
    version: int
    position: str
    def __init__(self, story_id: _Optional[str] = ..., current_phase: _Optional[str] = ..., transitioned_at: _Optional[str] = ..., version: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class GetGraphRelationshipsRequest(_message.Message):
    __slots__ = ("node_id", "node_type", "depth", "position", "min_position")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    node_type: str
    depth: int
    position: str
    min_position: str
    def __init__(self, node_id: _Optional[str] = ..., node_type: _Optional[str] = ..., depth: _Optional[int] = ..., position: _Optional[str] = ..., min_position: _Optional[str] = ...) -> None: ...

class GetGraphRelationshipsResponse(_message.Message):
    __slots__ = ("node", "neighbors", "relationships", "success", "message", "position")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIPS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    node: GraphNode
    neighbors: _containers.RepeatedCompositeFieldContainer[GraphNode]
    relationships: _containers.RepeatedCompositeFieldContainer[GraphRelationship]
    success: bool
    message: str
    position: str
    def __init__(self, node: _Optional[_Union[GraphNode, _Mapping]] = ..., neighbors: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ..., relationships: _Optional[_Iterable[_Union[GraphRelationship, _Mapping]]] = ..., success: bool = ..., message: _Optional[str] = ..., position: _Optional[str] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ("id", "labels", "properties", "type", "title", "since")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    properties: _containers.ScalarMap[str, str]
    type: str
    title: str
    since: str
    def __init__(self, id: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., properties: _Optional[_Mapping[str, str]] = ..., type: _Optional[str] = ..., title: _Optional[str] = ..., since: _Optional[str] = ...) -> None: ...

class GraphRelationship(_message.Message):
    __slots__ = ("from_node_id", "to_node_id", "type", "properties", "since")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FROM_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TO_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    from_node_id: str
    to_node_id: str
    type: str
    properties: _containers.ScalarMap[str, str]
    since: str
    def __init__(self, from_node_id: _Optional[str] = ..., to_node_id: _Optional[str] = ..., type: _Optional[str] = ..., properties: _Optional[_Mapping[str, str]] = ..., since: _Optional[str] = ...) -> None: ...
