from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetContextRequest(_message.Message):
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

class GetContextResponse(_message.Message):
    __slots__ = ("context", "token_count", "scopes", "version", "blocks", "position", "hash")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    context: str
    token_count: int
    scopes: _containers.RepeatedScalarFieldContainer[str]
    version: str
    blocks: PromptBlocks
    position: str
    hash: str
    def __init__(self, context: _Optional[str] = ..., token_count: _Optional[int] = ..., scopes: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., blocks: _Optional[_Union[PromptBlocks, _Mapping]] = ..., position: _Optional[str] = ..., hash: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("version", "hash", "warnings", "position")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    version: int
    hash: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    position: str
    def __init__(self, version: _Optional[int] = ..., hash: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., position: _Optional[str] = ...) -> None: ...

class GetContextAtTimeRequest(_message.Message):
    __slots__ = ("story_id", "timestamp", "role", "phase", "subtask_id", "token_budget", "clock")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SUBTASK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    timestamp: str
    role: str
    phase: str
    subtask_id: str
    token_budget: int
    clock: str
    def __init__(self, story_id: _Optional[str] = ..., timestamp: _Optional[str] = ..., role: _Optional[str] = ..., phase: _Optional[str] = ..., subtask_id: _Optional[str] = ..., token_budget: _Optional[int] = ..., clock: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("case_id", "generated_at_ms", "packs", "stats")
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
    case_id: str
    generated_at_ms: int
    packs: _containers.MessageMap[str, RoleContextPack]
    stats: RehydrationStats
    def __init__(self, case_id: _Optional[str] = ..., generated_at_ms: _Optional[int] = ..., packs: _Optional[_Mapping[str, RoleContextPack]] = ..., stats: _Optional[_Union[RehydrationStats, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("story_id", "title", "description", "initial_phase")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INITIAL_PHASE_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    title: str
    description: str
    initial_phase: str
    def __init__(self, story_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., initial_phase: _Optional[str] = ...) -> None: ...

class CreateStoryResponse(_message.Message):
    __slots__ = ("context_id", "story_id", "current_phase")
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PHASE_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    story_id: str
    current_phase: str
    def __init__(self, context_id: _Optional[str] = ..., story_id: _Optional[str] = ..., current_phase: _Optional[str] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("story_id", "task_id", "title", "description", "role", "dependencies", "priority", "estimated_hours")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_HOURS_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    task_id: str
    title: str
    description: str
    role: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    estimated_hours: int
    def __init__(self, story_id: _Optional[str] = ..., task_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., role: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ..., estimated_hours: _Optional[int] = ...) -> None: ...

class CreateTaskResponse(_message.Message):
    __slots__ = ("task_id", "story_id", "status")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    story_id: str
    status: str
    def __init__(self, task_id: _Optional[str] = ..., story_id: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class AddProjectDecisionRequest(_message.Message):
    __slots__ = ("story_id", "decision_type", "title", "rationale", "alternatives_considered", "metadata")
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
    story_id: str
    decision_type: str
    title: str
    rationale: str
    alternatives_considered: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, story_id: _Optional[str] = ..., decision_type: _Optional[str] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., alternatives_considered: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AddProjectDecisionResponse(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class TransitionPhaseRequest(_message.Message):
    __slots__ = ("story_id", "from_phase", "to_phase", "rationale")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_PHASE_FIELD_NUMBER: _ClassVar[int]
    TO_PHASE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    from_phase: str
    to_phase: str
    rationale: str
    def __init__(self, story_id: _Optional[str] = ..., from_phase: _Optional[str] = ..., to_phase: _Optional[str] = ..., rationale: _Optional[str] = ...) -> None: ...

class TransitionPhaseResponse(_message.Message):
    __slots__ = ("story_id", "current_phase", "transitioned_at")
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PHASE_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONED_AT_FIELD_NUMBER: _ClassVar[int]
    story_id: str
    current_phase: str
    transitioned_at: str
    def __init__(self, story_id: _Optional[str] = ..., current_phase: _Optional[str] = ..., transitioned_at: _Optional[str] = ...) -> None: ...

class GetGraphRelationshipsRequest(_message.Message):
    __slots__ = ("node_id", "node_type", "depth")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    node_type: str
    depth: int
    def __init__(self, node_id: _Optional[str] = ..., node_type: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class GetGraphRelationshipsResponse(_message.Message):
    __slots__ = ("node", "neighbors", "relationships", "success", "message")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIPS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    node: GraphNode
    neighbors: _containers.RepeatedCompositeFieldContainer[GraphNode]
    relationships: _containers.RepeatedCompositeFieldContainer[GraphRelationship]
    success: bool
    message: str
    def __init__(self, node: _Optional[_Union[GraphNode, _Mapping]] = ..., neighbors: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ..., relationships: _Optional[_Iterable[_Union[GraphRelationship, _Mapping]]] = ..., success: bool = ..., message: _Optional[str] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ("id", "labels", "properties", "type", "title")
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
    id: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    properties: _containers.ScalarMap[str, str]
    type: str
    title: str
    def __init__(self, id: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., properties: _Optional[_Mapping[str, str]] = ..., type: _Optional[str] = ..., title: _Optional[str] = ...) -> None: ...

class GraphRelationship(_message.Message):
    __slots__ = ("from_node_id", "to_node_id", "type", "properties")
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
    from_node_id: str
    to_node_id: str
    type: str
    properties: _containers.ScalarMap[str, str]
    def __init__(self, from_node_id: _Optional[str] = ..., to_node_id: _Optional[str] = ..., type: _Optional[str] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...
