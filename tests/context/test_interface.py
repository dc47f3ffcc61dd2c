"""The interface that must not break: every field by name, number and type, as its callers know it."""

from __future__ import annotations

import pytest
from context_service.v1 import context_pb2
from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf.descriptor import FieldDescriptor

# Name, number and type of every field that callers use; strings unless a type is given, as in the domain's tables.
FIELDS = {
    "GetContextRequest": "story_id 1, role 2, phase 3, subtask_id 4, int32 token_budget 5",
    "GetContextResponse": "context 1, int32 token_count 2, repeated scopes 3, version 4, PromptBlocks blocks 5",
    "UpdateContextRequest": "story_id 1, task_id 2, role 3, repeated ContextChange changes 4, timestamp 5",
    "UpdateContextResponse": "int32 version 1, hash 2, repeated warnings 3",
    "RehydrateSessionRequest": (
        "case_id 1, repeated roles 2, bool include_timeline 3, bool include_summaries 4, int32 timeline_events 5, "
        "bool persist_bundle 6, int32 ttl_seconds 7"
    ),
    "RehydrateSessionResponse": (
        "case_id 1, int64 generated_at_ms 2, map<string, RoleContextPack> packs 3, RehydrationStats stats 4"
    ),
    "ValidateScopeRequest": "role 1, phase 2, repeated provided_scopes 3",
    "ValidateScopeResponse": "bool allowed 1, repeated missing 2, repeated extra 3, reason 4",
    "PromptBlocks": "system 1, context 2, tools 3",
    "ContextChange": "operation 1, entity_type 2, entity_id 3, payload 4, reason 5",
    "RoleContextPack": (
        "role 1, CaseHeader case_header 2, PlanHeader plan_header 3, repeated Subtask subtasks 4, "
        "repeated Decision decisions 5, repeated DecisionRelation decision_deps 6, "
        "repeated ImpactedSubtask impacted 7, repeated Milestone milestones 8, last_summary 9, "
        "int32 token_budget_hint 10"
    ),
    "CaseHeader": "case_id 1, title 2, description 3, status 4, created_at 5, created_by 6",
    "PlanHeader": "plan_id 1, int32 version 2, status 3, int32 total_subtasks 4, int32 completed_subtasks 5",
    "Subtask": "subtask_id 1, title 2, description 3, role 4, status 5, repeated dependencies 6, int32 priority 7",
    "Decision": "id 1, title 2, rationale 3, status 4, decided_by 5, decided_at 6",
    "DecisionRelation": "src_id 1, dst_id 2, relation_type 3",
    "ImpactedSubtask": "decision_id 1, subtask_id 2, title 3",
    "Milestone": "event_type 1, description 2, int64 ts_ms 3, actor 4",
    "RehydrationStats": "int32 decisions 1, int32 decision_edges 2, int32 impacts 3, int32 events 4, repeated roles 5",
    "CreateStoryRequest": "story_id 1, title 2, description 3, initial_phase 4",
    "CreateStoryResponse": "context_id 1, story_id 2, current_phase 3",
    "CreateTaskRequest": (
        "story_id 1, task_id 2, title 3, description 4, role 5, repeated dependencies 6, int32 priority 7, "
        "int32 estimated_hours 8"
    ),
    "CreateTaskResponse": "task_id 1, story_id 2, status 3",
    "AddProjectDecisionRequest": (
        "story_id 1, decision_type 2, title 3, rationale 4, alternatives_considered 5, map<string, string> metadata 6"
    ),
    "AddProjectDecisionResponse": "decision_id 1",
    "TransitionPhaseRequest": "story_id 1, from_phase 2, to_phase 3, rationale 4",
    "TransitionPhaseResponse": "story_id 1, current_phase 2, transitioned_at 3",
    "GetGraphRelationshipsRequest": "node_id 1, node_type 2, int32 depth 3",
    "GetGraphRelationshipsResponse": (
        "GraphNode node 1, repeated GraphNode neighbors 2, repeated GraphRelationship relationships 3, "
        "bool success 4, message 5"
    ),
    "GraphNode": "id 1, repeated labels 2, map<string, string> properties 3, type 4, title 5",
    "GraphRelationship": "from_node_id 1, to_node_id 2, type 3, map<string, string> properties 4",
    "GetContextAtTimeRequest": (
        "story_id 1, timestamp 2, role 3, phase 4, subtask_id 5, int32 token_budget 6, clock 7"
    ),
}
# What this service added; callers may leave it out.
NEW_FIELDS = {
    "GetContextRequest": "min_position 6, bool why 7",
    "GetContextResponse": (
        "position 6, hash 7, repeated empty_scopes 8, repeated withheld_scopes 9, repeated Omission omitted 10, "
        "repeated Statement statements 11, bool final 12"
    ),
    "UpdateContextRequest": "int32 expected_version 6, idempotency_key 7",
    "UpdateContextResponse": "position 4, repeated ChangeResult results 5",
    "GetContextAtTimeRequest": "bool why 8",
    "RehydrateSessionResponse": "int32 version 5, position 6, int64 expires_at_ms 7",
    "CreateStoryRequest": "actor 5, reason 6, int32 expected_version 7, idempotency_key 8",
    "CreateStoryResponse": "int32 version 4, position 5",
    "CreateTaskRequest": "actor 9, reason 10, int32 expected_version 11, idempotency_key 12",
    "CreateTaskResponse": "int32 version 4, position 5",
    "AddProjectDecisionRequest": "actor 7, reason 8, int32 expected_version 9, idempotency_key 10",
    "AddProjectDecisionResponse": "int32 version 2, position 3",
    "TransitionPhaseRequest": "actor 5, int32 expected_version 6, idempotency_key 7",
    "TransitionPhaseResponse": "int32 version 4, position 5",
    "GetGraphRelationshipsRequest": "position 4, min_position 5",
    "GetGraphRelationshipsResponse": "position 6",
    "GraphNode": "since 6",
    "GraphRelationship": "since 5",
}
METHODS = {
    "GetContext": "GetContextResponse",
    "UpdateContext": "UpdateContextResponse",
    "RehydrateSession": "RehydrateSessionResponse",
    "ValidateScope": "ValidateScopeResponse",
    "CreateStory": "CreateStoryResponse",
    "CreateTask": "CreateTaskResponse",
    "AddProjectDecision": "AddProjectDecisionResponse",
    "TransitionPhase": "TransitionPhaseResponse",
    "GetGraphRelationships": "GetGraphRelationshipsResponse",
    "GetContextAtTime": "GetContextResponse",
}
# The calls that this service added.
NEW_METHODS = {
    "GetContextAtVersion": "GetContextResponse",
    "WatchContext": "WatchContextResponse",
    "GetRehydrationBundle": "RehydrateSessionResponse",
    "GetHistory": "GetHistoryResponse",
    "DiffContext": "DiffContextResponse",
    "ExplainDecision": "ExplainDecisionResponse",
}

TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
}
SERVICE = context_pb2.DESCRIPTOR.services_by_name["ContextService"]


def type_of(field: FieldDescriptor) -> str:
    return TYPES[field.type] if field.message_type is None else field.message_type.name


def written(field: FieldDescriptor) -> str:
    """Return a field as the tables above write it."""
    kind = type_of(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return f"map<{type_of(key)}, {type_of(value)}> {field.name} {field.number}"
    words = ["repeated"] * field.is_repeated + [kind] * (kind != "string") + [field.name, str(field.number)]
    return " ".join(words)


def test_package() -> None:
    """The service is where its callers look for it."""
    assert SERVICE.full_name == "fleet.context.v1.ContextService"


@pytest.mark.parametrize("message", FIELDS)
def test_fields(message: str) -> None:
    """A message has the fields that its callers know and those that were added, and no others."""
    found = ", ".join(written(field) for field in context_pb2.DESCRIPTOR.message_types_by_name[message].fields)
    assert found == ", ".join(part for part in (FIELDS[message], NEW_FIELDS.get(message)) if part)


def test_messages() -> None:
    """No message of the interface is missing."""
    assert set(context_pb2.DESCRIPTOR.message_types_by_name) >= set(FIELDS)


def test_presence() -> None:
    """An expected version of 0 differs from none; no other field of these messages has that difference."""
    fields = [field for name in FIELDS for field in context_pb2.DESCRIPTOR.message_types_by_name[name].fields]
    assert {f.name for f in fields if f.message_type is None and f.has_presence} == {"expected_version"}


def test_methods() -> None:
    """Each call takes its own request and gives the answer that is listed, one for one."""
    found = {method.name: (method.input_type.name, method.output_type.name) for method in SERVICE.methods}
    assert found == {name: (f"{name}Request", answer) for name, answer in (METHODS | NEW_METHODS).items()}
    assert not any(method.client_streaming for method in SERVICE.methods)
    assert [method.name for method in SERVICE.methods if method.server_streaming] == ["WatchContext"]


def test_http() -> None:
    """GetContextAtTime, alone, is also a GET over HTTP, whose path names fields of its request."""
    rules = {
        method.name: method.GetOptions().Extensions[annotations_pb2.http]
        for method in SERVICE.methods
        if method.GetOptions().HasExtension(annotations_pb2.http)
    }
    assert {name: rule.get for name, rule in rules.items()} == {
        "GetContextAtTime": "/v1/context/{story_id}/at/{timestamp}"
    }
