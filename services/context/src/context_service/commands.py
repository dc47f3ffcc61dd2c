"""What callers ask for, checked as far as that goes without knowing the story."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from context_service.redaction import redact, redact_certain
from context_service.words import id_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from context_service.v1 import context_pb2


class Fault(Enum):
    """Why a change is refused, in the order in which it decides what the whole request is answered with."""

    INVALID = "invalid"
    NOT_FOUND = "not found"
    PRECONDITION = "precondition"
    LATE = "late"


_CODES: Final = {
    Fault.INVALID: "INVALID_ARGUMENT",
    Fault.NOT_FOUND: "NOT_FOUND",
    Fault.PRECONDITION: "FAILED_PRECONDITION",
    Fault.LATE: "DEADLINE_EXCEEDED",
}


class Violation(msgspec.Struct, frozen=True):
    """One thing wrong with a request."""

    fault: Fault
    #: For example ``changes[2].payload.status``.
    field: str
    #: What was expected and what came.
    description: str


class Refused(Exception):
    """A request that is not carried out, with everything wrong with it."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


def code_of(refused: Refused) -> str:
    """Return gRPC's name of what a request is answered with."""
    faults = {violation.fault for violation in refused.violations}
    return next(_CODES[fault] for fault in Fault if fault in faults)


class DecisionPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a DECISION; links are by id."""

    title: str | None = None
    rationale: str | None = None
    status: str | None = None
    kind: str | None = None
    decided_by: str | None = None
    decided_at: str | None = None
    alternatives: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] | None = None
    supersedes: tuple[str, ...] | None = None
    relates_to: tuple[str, ...] | None = None
    blocks: tuple[str, ...] | None = None
    governs: tuple[str, ...] | None = None
    affects: tuple[str, ...] | None = None


class SubtaskPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a SUBTASK."""

    title: str | None = None
    description: str | None = None
    type: str | None = None
    role: str | None = None
    status: str | None = None
    dependencies: tuple[str, ...] | None = None
    priority: int | None = None
    estimate: float | None = None
    assignee: str | None = None
    plan_id: str | None = None


class MilestonePayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a MILESTONE."""

    event_type: str | None = None
    description: str | None = None
    actor: str | None = None
    ts_ms: int | None = None


class CasePayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a CASE."""

    title: str | None = None
    description: str | None = None
    status: str | None = None
    acceptance_criteria: tuple[str, ...] | None = None
    constraints: dict[str, str] | None = None
    tags: tuple[str, ...] | None = None


class StoryPayload(CasePayload, frozen=True, kw_only=True):
    """What a call of its own says of a new story, beyond a CASE."""

    phase: str = ""
    epic_id: str = ""


class EpicPayload(msgspec.Struct, frozen=True, kw_only=True):
    """That a story, which need not be there yet, is of an epic."""

    epic_id: str
    #: Of a new story.
    title: str = ""


class PhasePayload(msgspec.Struct, frozen=True, kw_only=True):
    """A step from phase to phase."""

    from_phase: str
    to_phase: str
    rationale: str = ""


class ApprovalPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The approval of a plan, which need not be there yet."""

    approved_by: str


class DispatchPayload(msgspec.Struct, frozen=True, kw_only=True):
    """A subtask that is handed to an agent."""

    agent_id: str
    role: str = ""


class PlanPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a PLAN."""

    version: int | None = None
    status: str | None = None
    author_id: str | None = None
    rationale: str | None = None


class SummaryPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a SUMMARY."""

    role: str | None = None
    text: str | None = None


#: What UpdateContext takes; the other payloads above are those of calls and subjects of their own.
PAYLOADS: Final[dict[str, type[msgspec.Struct]]] = {
    "DECISION": DecisionPayload,
    "SUBTASK": SubtaskPayload,
    "MILESTONE": MilestonePayload,
    "CASE": CasePayload,
    "PLAN": PlanPayload,
    "SUMMARY": SummaryPayload,
}
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE")
# Identity is never taken from a payload.
_IDENTITY_KEYS: Final = frozenset({"id", "story_id", "case_id"})
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
# For these the story says which one is meant.
_NAMELESS: Final = frozenset({"CASE", "SUMMARY"})


class Change(msgspec.Struct, frozen=True):
    """One change, its payload checked for types."""

    #: Where it stands in the request, for example ``changes[2]``.
    field: str
    operation: str
    entity_type: str
    entity_id: str
    payload: Any
    #: Keys beyond those of the payload, as JSON text.
    attributes: dict[str, str]
    reason: str


class UpdateStory(msgspec.Struct, frozen=True):
    """The command: changes of one story."""

    story_id: str
    changes: tuple[Change, ...]
    #: Who asks.
    actor: str
    #: When it happened.
    at: datetime
    #: The subtask it is done for.
    task_id: str = ""


def parse_changes(changes: Iterable[context_pb2.ContextChange]) -> tuple[tuple[Change, ...], list[str]]:
    """Return the changes of a request with their payloads checked, and warnings about what was not understood.

    Raises:
        Refused: with everything wrong in any of them.
    """
    parsed: list[Change] = []
    warnings: list[str] = []
    violations: list[Violation] = []
    for number, change in enumerate(changes):
        try:
            parsed.append(_parse(f"changes[{number}]", change, warnings))
        except Refused as refused:
            violations.extend(refused.violations)
    if not parsed and not violations:
        violations.append(Violation(Fault.INVALID, "changes", "expected at least one change, got none"))
    if violations:
        raise Refused(violations)
    return tuple(parsed), warnings


def _parse(field: str, change: context_pb2.ContextChange, warnings: list[str]) -> Change:
    operation, entity_type = change.operation.strip().upper(), change.entity_type.strip().upper()
    problems: list[Violation] = []
    if operation not in OPERATIONS:
        problems.append(_invalid(f"{field}.operation", f"expected {_listed(OPERATIONS)}; got {change.operation!r}"))
    if entity_type not in PAYLOADS:
        problems.append(_invalid(f"{field}.entity_type", f"expected {_listed(PAYLOADS)}; got {change.entity_type!r}"))
    if change.entity_id or entity_type not in _NAMELESS:
        problem = id_problem(change.entity_id)
        if problem:
            problems.append(_invalid(f"{field}.entity_id", problem))
    payload: Any = None
    attributes: dict[str, str] = {}
    # What is recorded stays for ever.
    reason = _kept(f"{field}.reason", change.reason, warnings)
    if entity_type in PAYLOADS and operation != "DELETE":
        try:
            text = _kept(f"{field}.payload", change.payload, warnings)
            payload, attributes = _parse_payload(field, PAYLOADS[entity_type], text, warnings)
        except Refused as refused:
            problems.extend(refused.violations)
    elif change.payload.strip():
        warnings.append(f"{field}.payload: ignored, a DELETE needs none")
    if problems:
        raise Refused(problems)
    return Change(field, operation, entity_type, change.entity_id, payload, attributes, reason)


def _kept(field: str, text: str, warnings: list[str]) -> str:
    kept = redact_certain(text)
    if kept != text:
        warnings.append(f"{field}: a secret was removed")
    return kept


def _parse_payload(
    field: str, kind: type[msgspec.Struct], text: str, warnings: list[str]
) -> tuple[msgspec.Struct, dict[str, str]]:
    try:
        found = msgspec.json.decode(text or "{}", type=dict[str, msgspec.Raw])
        payload = msgspec.json.decode(text or "{}", type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The library writes where it is as $.title or $.tags[0].
        place, problem = ("", "is nested too deep") if isinstance(error, RecursionError) else _place(str(error))
        if _SURROGATE.search(text):
            problem += "; half of a surrogate pair is no text"
        raise Refused([_invalid(f"{field}.payload{place}", problem)]) from None
    attributes: dict[str, str] = {}
    for key, raw in found.items():
        if key in _IDENTITY_KEYS:
            warnings.append(f"{field}.payload.{redact(key)}: ignored, identity is not taken from a payload")
        elif key not in kind.__struct_fields__:
            attributes[key] = bytes(raw).decode()
            warnings.append(f"{field}.payload.{redact(key)}: not a known key, kept as an attribute")
    return payload, attributes


def _place(message: str) -> tuple[str, str]:
    problem, _, place = message.partition(" - at `$")
    return place.rstrip("`"), problem


def _invalid(field: str, description: str) -> Violation:
    return Violation(Fault.INVALID, field, description)


def _listed(words: Iterable[str]) -> str:
    return "one of " + ", ".join(words)
