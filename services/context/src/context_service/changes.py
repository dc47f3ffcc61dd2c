"""What UpdateContext means: changes of a story's things, decided in order, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from context_service.commands import (
    ApprovalPayload,
    CasePayload,
    Change,
    DecisionPayload,
    DispatchPayload,
    EpicPayload,
    Fault,
    MilestonePayload,
    PhasePayload,
    PlanPayload,
    Refused,
    StoryPayload,
    SubtaskPayload,
    SummaryPayload,
    UpdateStory,
    Violation,
)
from context_service.events.v1 import events_pb2 as pb
from context_service.story import EMPTY, Decision, Link, Plan, Story, Subtask, evolve
from context_service.times import EPOCH, parse_moment
from context_service.words import (
    DECISION_STATUSES,
    DECISION_STEPS,
    PHASES,
    PLAN_STATUSES,
    STORY_STATUSES,
    SUBTASK_STATUSES,
    TERMINAL_SUBTASK_STATUSES,
    id_problem,
    phase_named,
    role_named,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from google.protobuf.message import Message


_LINK_KEYS: Final = {
    "depends_on": "DEPENDS_ON",
    "supersedes": "SUPERSEDES",
    "relates_to": "RELATES_TO",
    "blocks": "BLOCKS",
    "governs": "GOVERNS",
    "affects": "AFFECTS",
}


def decide(command: UpdateStory, story: Story) -> list[Message]:
    """Return the events that the changes cause, each decided on the state the ones before it leave.

    Raises:
        Refused: something is wrong with at least one change.
    """
    if not story.exists and not any((c.entity_type, c.operation) in _FIRST for c in command.changes):
        raise Refused([Violation(Fault.NOT_FOUND, "story_id", f"there is no story {command.story_id!r}")])
    events: list[Message] = []
    violations: list[Violation] = []
    for change in command.changes:
        try:
            caused = _DECIDERS[change.entity_type, change.operation](change, story, command)
        except Refused as refused:
            violations.extend(refused.violations)
            continue
        for event in caused:
            story = evolve(story, event)
            events.append(event)
    if violations:
        raise Refused(violations)
    return events


def timestamp(moment: datetime) -> Timestamp:
    """Return a protobuf time."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _refuse(fault: Fault, change: Change, field: str, description: str) -> Refused:
    return Refused([Violation(fault, f"{change.field}.{field}", description)])


def _known(change: Change, things: Any, what: str) -> Any:
    thing = things.get(change.entity_id)
    if thing is None:
        raise _refuse(Fault.NOT_FOUND, change, "entity_id", f"the story has no {what} {change.entity_id!r}")
    return thing


def _exists_already(change: Change, what: str) -> Refused:
    return _refuse(
        Fault.PRECONDITION,
        change,
        "entity_id",
        f"the story has {what} {change.entity_id!r} that differs; UPDATE changes it"
        if change.entity_id
        else f"the story is there and differs; UPDATE of its {what} changes it",
    )


def _one_of(change: Change, field: str, text: str | None, allowed: Sequence[str], default: str) -> str:
    """Return a status in the spelling of the vocabulary."""
    if text is None:
        return default
    for word in allowed:
        if word.lower() == text.strip().lower():
            return word
    raise _refuse(Fault.INVALID, change, f"payload.{field}", f"expected one of {', '.join(allowed)}; got {text!r}")


def _moment(change: Change, field: str, text: str | None, default: datetime) -> Timestamp:
    if text is None:
        return timestamp(default)
    try:
        return timestamp(parse_moment(text))
    except ValueError as error:
        raise _refuse(Fault.INVALID, change, f"payload.{field}", str(error)) from None


def _different(thing: msgspec.Struct, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are given and not what the thing has already."""
    return {name: value for name, value in fields.items() if value is not None and value != getattr(thing, name)}


def _new_attributes(change: Change, known: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in change.attributes.items() if known.get(key) != value}


def _filled(event: Any, fields: dict[str, Any]) -> Message:
    """Set an event's optional fields."""
    for name, value in fields.items():
        setattr(event, name, value)
    return event  # type: ignore[no-any-return]


def _check_range(change: Change, field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _refuse(Fault.INVALID, change, f"payload.{field}", f"expected {low} to {high}, got {value}")


def _check_ids(change: Change, field: str, ids: Sequence[str] | None) -> None:
    for number, id in enumerate(ids or ()):
        if problem := id_problem(id):
            raise _refuse(Fault.INVALID, change, f"payload.{field}[{number}]", problem)


def _set_lists(event: Any, fields: dict[str, Any], *names: str) -> None:
    for name in names:
        if name in fields:
            getattr(event, name).values.extend(fields.pop(name))
            getattr(event, name).SetInParent()


# ------------------------------------------------------------------------------------------------------------- case


def _create_case(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: CasePayload = change.payload
    _check_case_id(change, command)
    if story.exists:
        if _case_changes(change, story):
            raise _exists_already(change, "case")
        return []
    more = payload if isinstance(payload, StoryPayload) else StoryPayload()
    status = _one_of(change, "status", payload.status, STORY_STATUSES, "DRAFT")
    events: list[Message] = [
        pb.ContextCreatedEvent(
            title=payload.title or "",
            description=payload.description or "",
            acceptance_criteria=payload.acceptance_criteria or (),
            constraints=payload.constraints or {},
            tags=payload.tags or (),
            created_by=command.actor,
            created_at=timestamp(command.at),
            phase=_phase(change, "phase", more.phase or "DESIGN"),
            epic_id=more.epic_id,
            attributes=change.attributes,
            reason=change.reason,
        )
    ]
    return events + ([] if status == "DRAFT" else [pb.StoryChangedEvent(status=status, reason=change.reason)])


def _update_case(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    _check_case_id(change, command)
    if not story.exists:
        raise _refuse(Fault.NOT_FOUND, change, "entity_id", f"there is no story {command.story_id!r}")
    return _case_changes(change, story)


def _case_changes(change: Change, story: Story) -> list[Message]:
    payload = {name: getattr(change.payload, name) for name in CasePayload.__struct_fields__}
    payload["status"] = _one_of(change, "status", change.payload.status, STORY_STATUSES, story.status)
    fields = _different(story, payload)
    attributes = _new_attributes(change, story.attributes)
    if not fields and not attributes:
        return []
    event = pb.StoryChangedEvent(attributes=attributes, reason=change.reason)
    if "constraints" in fields:
        event.constraints.values.update(fields.pop("constraints"))
        event.constraints.SetInParent()
    _set_lists(event, fields, "acceptance_criteria", "tags")
    return [_filled(event, fields)]


def _check_case_id(change: Change, command: UpdateStory) -> None:
    if change.entity_id not in ("", command.story_id):
        raise _refuse(
            Fault.INVALID,
            change,
            "entity_id",
            f"expected the story's own id {command.story_id!r} or nothing, got {change.entity_id!r}",
        )


def _delete_case(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    raise _refuse(Fault.INVALID, change, "operation", "a CASE cannot be deleted; its history stays for ever")


def _place_in_epic(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    """Place a story in an epic; one that is not there yet begins with that."""
    payload: EpicPayload = change.payload
    if not story.exists:
        first = StoryPayload(title=payload.title, epic_id=payload.epic_id)
        return _create_case(msgspec.structs.replace(change, payload=first), story, command)
    if story.epic_id == payload.epic_id:
        return []
    return [pb.StoryPlacedInEpicEvent(epic_id=payload.epic_id, reason=change.reason)]


def _transition(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: PhasePayload = change.payload
    source, target = _phase(change, "from_phase", payload.from_phase), _phase(change, "to_phase", payload.to_phase)
    if source != story.phase:
        raise _refuse(Fault.PRECONDITION, change, "payload.from_phase", f"the story is in {story.phase}, not {source}")
    if source == target:
        return []
    return [
        pb.PhaseTransitionedEvent(
            from_phase=source,
            to_phase=target,
            rationale=payload.rationale,
            at=timestamp(command.at),
            reason=change.reason,
        )
    ]


def _phase(change: Change, field: str, text: str) -> str:
    phase = phase_named(text)
    if phase is None:
        raise _refuse(Fault.INVALID, change, f"payload.{field}", f"expected one of {', '.join(PHASES)}; got {text!r}")
    return phase


# ------------------------------------------------------------------------------------------------------------- plan


def _create_plan(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: PlanPayload = change.payload
    status = _one_of(change, "status", payload.status, PLAN_STATUSES, "DRAFT")
    known = story.plans.get(change.entity_id)
    if known is not None:
        if _plan_changes(change, known, command):
            raise _exists_already(change, "plan")
        return []
    version = payload.version if payload.version is not None else len(story.plans) + 1
    _check_range(change, "version", version, 1, 2**32 - 1)
    events: list[Message] = [
        pb.PlanVersionAddedEvent(
            plan_id=change.entity_id,
            version=version,
            author=payload.author_id or command.actor,
            rationale=payload.rationale or "",
            created_at=timestamp(command.at),
            attributes=change.attributes,
            reason=change.reason,
        )
    ]
    return events + (_approval(change, command, by=command.actor) if status == "APPROVED" else [])


def _update_plan(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    return _plan_changes(change, _known(change, story.plans, "plan"), command)


def _plan_changes(change: Change, plan: Plan, command: UpdateStory) -> list[Message]:
    payload: PlanPayload = change.payload
    if payload.version is not None:
        _check_range(change, "version", payload.version, 1, 2**32 - 1)
    fields = _different(plan, {"version": payload.version, "author": payload.author_id, "rationale": payload.rationale})
    attributes = _new_attributes(change, plan.attributes)
    events: list[Message] = []
    if fields or attributes:
        event = pb.PlanVersionChangedEvent(plan_id=plan.id, attributes=attributes, reason=change.reason)
        events.append(_filled(event, fields))
    status = _one_of(change, "status", payload.status, PLAN_STATUSES, plan.status)
    if status == "APPROVED" and plan.status == "DRAFT":
        return events + _approval(change, command, by=command.actor)
    if status != plan.status:
        raise _refuse(Fault.PRECONDITION, change, "payload.status", f"plan {plan.id!r} is APPROVED, which is final")
    return events


def _approve_plan(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    """Approve a plan as was announced; one that is not there yet is the story's newest version."""
    payload: ApprovalPayload = change.payload
    known = story.plans.get(change.entity_id)
    if known is not None and known.status == "APPROVED":
        return []
    first = msgspec.structs.replace(change, payload=PlanPayload(author_id=payload.approved_by))
    added = _create_plan(first, story, command) if known is None else []
    return added + _approval(change, command, by=payload.approved_by)


def _approval(change: Change, command: UpdateStory, *, by: str) -> list[Message]:
    return [
        pb.PlanApprovedEvent(
            plan_id=change.entity_id,
            approved_by=by,
            at=timestamp(command.at),
            reason=change.reason,
        )
    ]


def _delete_plan(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    plan: Plan = _known(change, story.plans, "plan")
    if plan.status != "DRAFT":
        raise _refuse(Fault.PRECONDITION, change, "entity_id", f"plan {plan.id!r} is {plan.status}; only a DRAFT goes")
    return [pb.PlanVersionRemovedEvent(plan_id=plan.id, reason=change.reason)]


# ---------------------------------------------------------------------------------------------------------- subtask


def _create_subtask(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    known = story.subtasks.get(change.entity_id)
    if known is not None:
        if _subtask_changes(change, known):
            raise _exists_already(change, "subtask")
        return []
    fields = _subtask_fields(change, Subtask("", 0, "", "", "", "", "", "pending", (), 0, 0.0, "", {}))
    return [
        pb.SubtaskAddedEvent(
            subtask_id=change.entity_id,
            attributes=change.attributes,
            reason=change.reason,
            **{"status": "pending", **{name: value for name, value in fields.items() if value is not None}},
        )
    ]


def _update_subtask(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    return _subtask_changes(change, _known(change, story.subtasks, "subtask"))


def _subtask_changes(change: Change, subtask: Subtask) -> list[Message]:
    fields = _different(subtask, _subtask_fields(change, subtask))
    if "status" in fields and subtask.status in TERMINAL_SUBTASK_STATUSES:
        raise _refuse(
            Fault.PRECONDITION,
            change,
            "payload.status",
            f"subtask {subtask.id!r} is {subtask.status}, which is final; it cannot become {fields['status']}",
        )
    attributes = _new_attributes(change, subtask.attributes)
    if not fields and not attributes:
        return []
    event = pb.SubtaskUpdatedEvent(subtask_id=subtask.id, attributes=attributes, reason=change.reason)
    _set_lists(event, fields, "depends_on")
    return [_filled(event, fields)]


def _subtask_fields(change: Change, subtask: Subtask) -> dict[str, Any]:
    """Return the payload's fields in the story's words."""
    payload: SubtaskPayload = change.payload
    fields = msgspec.structs.asdict(payload)
    fields["depends_on"] = fields.pop("dependencies")
    if payload.status is not None:
        fields["status"] = _one_of(change, "status", payload.status, SUBTASK_STATUSES, subtask.status)
    if payload.role:
        fields["role"] = role_named(payload.role) or payload.role
    if payload.priority is not None:
        _check_range(change, "priority", payload.priority, -(2**31), 2**31 - 1)
    if payload.plan_id and (problem := id_problem(payload.plan_id)):
        raise _refuse(Fault.INVALID, change, "payload.plan_id", problem)
    _check_ids(change, "dependencies", payload.dependencies)
    return fields


def _delete_subtask(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    subtask: Subtask = _known(change, story.subtasks, "subtask")
    return [pb.SubtaskRemovedEvent(subtask_id=subtask.id, reason=change.reason)]


def _dispatch(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: DispatchPayload = change.payload
    subtask: Subtask = _known(change, story.subtasks, "subtask")
    begun = msgspec.structs.replace(change, payload=SubtaskPayload(status="in_progress"))
    return [
        *_subtask_changes(begun, subtask),
        pb.TaskDispatchedEvent(
            subtask_id=subtask.id,
            agent_id=payload.agent_id,
            role=role_named(payload.role) or payload.role,
            at=timestamp(command.at),
            reason=change.reason,
        ),
    ]


# --------------------------------------------------------------------------------------------------------- decision


def _create_decision(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: DecisionPayload = change.payload
    known = story.decisions.get(change.entity_id)
    if known is not None:
        if _decision_changes(change, known, story):
            raise _exists_already(change, "decision")
        return []
    status = _one_of(change, "status", payload.status, DECISION_STATUSES[:-1], "PROPOSED")
    added = pb.DecisionAddedEvent(
        decision_id=change.entity_id,
        title=payload.title or "",
        rationale=payload.rationale or "",
        status=status,
        kind=payload.kind or "",
        decided_by=payload.decided_by or command.actor,
        decided_at=_moment(change, "decided_at", payload.decided_at, command.at),
        alternatives=payload.alternatives or (),
        task_id=command.task_id,
        attributes=change.attributes,
        reason=change.reason,
    )
    return [added, *_link_changes(change, story)]


def _update_decision(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    return _decision_changes(change, _known(change, story.decisions, "decision"), story)


def _decision_changes(change: Change, decision: Decision, story: Story) -> list[Message]:
    payload: DecisionPayload = change.payload
    if decision.status == "DELETED":
        raise _refuse(Fault.PRECONDITION, change, "entity_id", f"decision {decision.id!r} is DELETED")
    fields = _different(
        decision,
        {name: getattr(payload, name) for name in ("title", "rationale", "kind", "decided_by", "alternatives")},
    )
    attributes = _new_attributes(change, decision.attributes)
    event = pb.DecisionChangedEvent(decision_id=decision.id, attributes=attributes, reason=change.reason)
    if payload.decided_at is not None:
        at = _moment(change, "decided_at", payload.decided_at, EPOCH)
        if at.ToJsonString() != decision.decided_at:
            event.decided_at.CopyFrom(at)
    _set_lists(event, fields, "alternatives")
    _filled(event, fields)
    unchanged = pb.DecisionChangedEvent(decision_id=decision.id, reason=change.reason)
    events: list[Message] = [] if event == unchanged else [event]
    return events + _status_changes(change, decision) + _link_changes(change, story)


def _status_changes(change: Change, decision: Decision) -> list[Message]:
    status = _one_of(change, "status", change.payload.status, DECISION_STATUSES[:-1], decision.status)
    if status == decision.status:
        return []
    if status not in DECISION_STEPS[decision.status]:
        allowed = ", ".join(sorted(DECISION_STEPS[decision.status])) or "nothing"
        raise _refuse(
            Fault.PRECONDITION,
            change,
            "payload.status",
            f"decision {decision.id!r} is {decision.status}, from which it can become {allowed}; got {status}",
        )
    return [pb.DecisionStatusChangedEvent(decision_id=decision.id, status=status, reason=change.reason)]


def _link_changes(change: Change, story: Story) -> list[Message]:
    """Return what makes a decision's lists of links as stated; a list that is not given stays."""
    events: list[Message] = []
    for key, kind in _LINK_KEYS.items():
        targets: tuple[str, ...] | None = getattr(change.payload, key)
        if targets is None:
            continue
        _check_ids(change, key, targets)
        if change.entity_id in targets and kind != "AFFECTS":
            raise _refuse(Fault.INVALID, change, f"payload.{key}", "a decision cannot be linked to itself")
        wanted = [Link(change.entity_id, kind, target) for target in targets]
        events.extend(restated(story, wanted, kind, by=change.entity_id, reason=change.reason))
    return events


def restated(story: Story, wanted: Iterable[Link], kind: str, *, by: str, reason: str) -> list[Message]:
    """Return the events after which ``by`` states just these links of a kind."""
    before = {link for link, stated in story.links.items() if link.kind == kind and by in stated}
    wanted = dict.fromkeys(wanted)
    gone, new = sorted(before - wanted.keys()), [link for link in wanted if link not in before]
    return [
        cls(
            source_id=link.source,
            kind=kind,
            target_id=link.target,
            stated_by=by,
            reason=reason,
        )
        for cls, links in ((pb.DecisionUnlinkedEvent, gone), (pb.DecisionLinkedEvent, new))
        for link in links
    ]


def _delete_decision(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    decision: Decision = _known(change, story.decisions, "decision")
    if decision.status == "DELETED":
        return []
    return [pb.DecisionDeletedEvent(decision_id=decision.id, reason=change.reason)]


# ------------------------------------------------------------------------------------------- milestone and summary


def _reach_milestone(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: MilestonePayload = change.payload
    known = story.milestones.get(change.entity_id)
    if change.operation == "UPDATE":
        known = _known(change, story.milestones, "milestone")
    event = pb.MilestoneReachedEvent(
        milestone_id=change.entity_id,
        event_type=payload.event_type or (known.event_type if known else ""),
        description=payload.description if payload.description is not None else known.description if known else "",
        actor=payload.actor or (known.actor if known else command.actor),
        at=_milestone_time(change, command, known.at if known else ""),
        attributes={**(known.attributes if known else {}), **change.attributes},
        reason=change.reason,
    )
    if not event.event_type:
        raise _refuse(Fault.INVALID, change, "payload.event_type", "expected a text that is not empty")
    if known and evolve(EMPTY, event).milestones[change.entity_id] == msgspec.structs.replace(known, order=0):
        return []
    if known and change.operation == "CREATE":
        raise _exists_already(change, "milestone")
    return [event]


def _milestone_time(change: Change, command: UpdateStory, known: str) -> Timestamp:
    stamp = Timestamp()
    if change.payload.ts_ms is not None:
        _check_range(change, "ts_ms", change.payload.ts_ms, 0, 253_402_300_799_999)
        stamp.FromMilliseconds(change.payload.ts_ms)
    elif known:
        stamp.FromJsonString(known)
    else:
        stamp.FromDatetime(command.at)
    return stamp


def _delete_milestone(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    milestone = _known(change, story.milestones, "milestone")
    return [pb.MilestoneRemovedEvent(milestone_id=milestone.id, reason=change.reason)]


def _record_summary(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    payload: SummaryPayload = change.payload
    if not payload.text:
        raise _refuse(Fault.INVALID, change, "payload.text", "expected a text that is not empty")
    role = summary_role(change, command)
    known = story.summaries.get(role)
    if known and known.text == payload.text and not _new_attributes(change, known.attributes):
        return []
    return [
        pb.SummaryRecordedEvent(
            role=role,
            text=payload.text,
            at=timestamp(command.at),
            attributes=change.attributes,
            reason=change.reason,
        )
    ]


def summary_role(change: Change, command: UpdateStory) -> str:
    """Return the role whose summary a change records: the one it names, else the caller's."""
    role = change.payload.role or command.actor
    return role_named(role) or role


def _delete_summary(change: Change, story: Story, command: UpdateStory) -> list[Message]:
    raise _refuse(Fault.INVALID, change, "operation", "a SUMMARY cannot be deleted; a newer one takes its place")


_DECIDERS: Final[dict[tuple[str, str], Callable[[Change, Story, UpdateStory], list[Message]]]] = {
    ("CASE", "CREATE"): _create_case,
    ("CASE", "UPDATE"): _update_case,
    ("CASE", "DELETE"): _delete_case,
    ("CASE", "PLACE"): _place_in_epic,
    ("CASE", "TRANSITION"): _transition,
    ("PLAN", "CREATE"): _create_plan,
    ("PLAN", "UPDATE"): _update_plan,
    ("PLAN", "DELETE"): _delete_plan,
    ("PLAN", "APPROVE"): _approve_plan,
    ("SUBTASK", "CREATE"): _create_subtask,
    ("SUBTASK", "UPDATE"): _update_subtask,
    ("SUBTASK", "DELETE"): _delete_subtask,
    ("SUBTASK", "DISPATCH"): _dispatch,
    ("DECISION", "CREATE"): _create_decision,
    ("DECISION", "UPDATE"): _update_decision,
    ("DECISION", "DELETE"): _delete_decision,
    ("MILESTONE", "CREATE"): _reach_milestone,
    ("MILESTONE", "UPDATE"): _reach_milestone,
    ("MILESTONE", "DELETE"): _delete_milestone,
    ("SUMMARY", "CREATE"): _record_summary,
    ("SUMMARY", "UPDATE"): _record_summary,
    ("SUMMARY", "DELETE"): _delete_summary,
}
# With these a story may begin.
_FIRST: Final = frozenset({("CASE", "CREATE"), ("CASE", "PLACE")})
