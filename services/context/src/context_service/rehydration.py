"""What the sessions of agents start from: a pack for each role, and bundles of packs to be read again for a while."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict

from context_service.commands import Fault
from context_service.contexts import refused
from context_service.reasons import decision_message
from context_service.redaction import redacted
from context_service.selection import PlanHeader, select, token_budget_hint
from context_service.story import Decision, Link, Milestone, Story, Subtask, Summary
from context_service.times import millis
from context_service.v1 import context_pb2 as pb
from context_service.words import ROLES, id_problem, role_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from context_service.bundles import Bundles
    from context_service.policy import Policy
    from context_service.selection import Selection
    from context_service.stories import Stories

_TIMELINE: Final = 50
_SECONDS: Final = 3_600
_MAX_INT32: Final = 2**31 - 1
_COMPLETED: Final = frozenset({"done", "completed"})
# What a pack is made of, by scope. A wide one that the policy grants in the story's phase takes a narrow one's place.
_ALWAYS: Final = ("CASE_HEADER", "PLAN_HEADER", "MILESTONES", "SUMMARY_LAST")
_WIDER: Final = {
    "SUBTASKS_ROLE": "SUBTASKS_ALL",
    "DECISIONS_RELEVANT_ROLE": "DECISIONS_GLOBAL",
    "DEPS_RELEVANT": "DEPS_DECISIONS",
}


async def rehydrate(
    stories: Stories, policy: Policy, bundles: Bundles | None, request: pb.RehydrateSessionRequest, *, now_ms: int
) -> pb.RehydrateSessionResponse:
    """Return what sessions of some roles start from, and keep it as a bundle where that is asked for.

    Raises:
        Refused: a role is none, there is no such story, or this process keeps no bundles.
        BundlesUnavailable: the bundle cannot be kept.
        EventStoreError: the log cannot be read.
    """
    roles = [(text, _role(number, text)) for number, text in enumerate(request.roles)]
    if request.persist_bundle and bundles is None:
        raise refused(Fault.PRECONDITION, "persist_bundle", "this process keeps no bundles: it has no cache")
    if problem := id_problem(request.case_id):
        raise refused(Fault.INVALID, "case_id", problem)
    folded = await stories.ask(request.case_id)
    story, timeline = folded.state, request.timeline_events if request.timeline_events > 0 else _TIMELINE
    milestones = timeline if request.include_timeline else 0
    packs = {
        text: _pack(request.case_id, story, policy, role, milestones=milestones, summary=request.include_summaries)
        for text, role in roles
    }
    answer = pb.RehydrateSessionResponse(
        case_id=request.case_id,
        generated_at_ms=now_ms,
        packs=packs,
        stats=_stats(story, milestones, request.roles),
        version=folded.version,
        position=str(folded.token),
    )
    if request.persist_bundle and bundles is not None:
        await _keep(bundles, redacted(answer), seconds=request.ttl_seconds if request.ttl_seconds > 0 else _SECONDS)
    return answer


async def bundle(bundles: Bundles | None, request: pb.GetRehydrationBundleRequest) -> pb.RehydrateSessionResponse:
    """Return a bundle that was kept.

    Raises:
        Refused: there is none, or it has expired.
        BundlesUnavailable: the cache cannot be read.
    """
    found = None if bundles is None else await bundles.find(_key(request.case_id, request.generated_at_ms))
    if found is None:
        raise refused(Fault.NOT_FOUND, "generated_at_ms", "there is no such bundle, or it has expired")
    return ParseDict(json.loads(found), pb.RehydrateSessionResponse(), ignore_unknown_fields=True)


async def _keep(bundles: Bundles, answer: pb.RehydrateSessionResponse, *, seconds: int) -> None:
    # Two of one moment are two bundles, and the time tells them apart.
    while True:
        answer.expires_at_ms = answer.generated_at_ms + 1_000 * seconds
        key = _key(answer.case_id, answer.generated_at_ms)
        if await bundles.keep(key, json.dumps(plain(answer), ensure_ascii=False), seconds=seconds):
            return
        answer.generated_at_ms += 1


def _key(case_id: str, generated_at_ms: int) -> str:
    return f"swe:case:{case_id}:handoff:{generated_at_ms}"


def plain(answer: pb.RehydrateSessionResponse) -> dict[str, Any]:
    """Return an answer as JSON has it in the cache and over NATS: every field by its name, times as numbers."""
    told: dict[str, Any] = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for name in ("generated_at_ms", "expires_at_ms"):
        told[name] = int(told[name])
    for pack in told["packs"].values():
        for milestone in pack["milestones"]:
            milestone["ts_ms"] = int(milestone["ts_ms"])
    return told


def _role(number: int, text: str) -> str:
    role = role_named(text)
    if role is None:
        raise refused(Fault.INVALID, f"roles[{number}]", f"expected one of {', '.join(ROLES)}; got {text!r}")
    return role


def _pack(
    case_id: str, story: Story, policy: Policy, role: str, *, milestones: int, summary: bool
) -> pb.RoleContextPack:
    selected = select(story, _scopes(policy.scopes(story.phase, role)), role=role)
    decisions, subtasks = selected.of(Decision), selected.of(Subtask)
    links = selected.of(Link)
    timeline = selected.of(Milestone)[:milestones]
    return pb.RoleContextPack(
        role=role,
        case_header=pb.CaseHeader(
            case_id=case_id,
            title=story.title,
            description=story.description,
            status=story.status,
            created_at=story.created_at,
            created_by=story.created_by,
        ),
        plan_header=_plan_header(story, selected),
        subtasks=map(_subtask, subtasks),
        decisions=map(decision_message, decisions),
        decision_deps=[
            pb.DecisionRelation(src_id=link.source, dst_id=link.target, relation_type=link.kind)
            for link in links
            if link.kind != "AFFECTS"
        ],
        impacted=_impacted(links, {d.id for d in decisions}, {subtask.id: subtask for subtask in subtasks}),
        milestones=[
            pb.Milestone(event_type=one.event_type, description=one.description, ts_ms=millis(one.at), actor=one.actor)
            for one in reversed(timeline)
        ],
        last_summary=next((one.text for one in selected.of(Summary)), "") if summary else "",
        token_budget_hint=token_budget_hint(role, subtasks=len(subtasks), decisions=len(decisions)),
    )


def _scopes(granted: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes of a pack: a role's own part of a story, or all of it where the policy grants that."""
    return (*_ALWAYS, *(wide if wide in granted else narrow for narrow, wide in _WIDER.items()))


def _plan_header(story: Story, selected: Selection) -> pb.PlanHeader:
    plan = next((header.plan for header in selected.of(PlanHeader)), None)
    header = pb.PlanHeader(
        total_subtasks=len(story.subtasks),
        completed_subtasks=sum(subtask.status in _COMPLETED for subtask in story.subtasks.values()),
    )
    if plan is not None:
        header.plan_id, header.version, header.status = plan.id, min(plan.version, _MAX_INT32), plan.status
    return header


def _subtask(subtask: Subtask) -> pb.Subtask:
    return pb.Subtask(
        subtask_id=subtask.id,
        title=subtask.title,
        description=subtask.description,
        role=subtask.role,
        status=subtask.status,
        dependencies=subtask.depends_on,
        priority=subtask.priority,
    )


def _impacted(links: Iterable[Link], decisions: set[str], subtasks: dict[str, Subtask]) -> list[pb.ImpactedSubtask]:
    return [
        pb.ImpactedSubtask(decision_id=link.source, subtask_id=link.target, title=subtasks[link.target].title)
        for link in links
        if link.kind == "AFFECTS" and link.source in decisions and link.target in subtasks
    ]


def _stats(story: Story, milestones: int, roles: Sequence[str]) -> pb.RehydrationStats:
    """Return how much there is in the story, and in its timeline as it was asked for."""
    there = {id for id, decision in story.decisions.items() if decision.status != "DELETED"}
    links = [link for link in story.links if link.source in there]
    impacts = sum(link.kind == "AFFECTS" for link in links)
    return pb.RehydrationStats(
        decisions=len(there),
        decision_edges=len(links) - impacts,
        impacts=impacts,
        events=min(milestones, len(story.milestones)),
        roles=roles,
    )
