"""What each role sees in each phase: all that its scopes list, and nothing else."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from context_service.commands import Refused
from context_service.contexts import Contexts, context_of
from context_service.events.v1 import events_pb2 as pb
from context_service.policy import Policy
from context_service.selection import SCOPES, select
from context_service.story import EMPTY, Decision, Link, Story, Subtask, Summary, dump, evolve
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from context_service.contexts import Context
    from context_service.stories import Stories
    from google.protobuf.message import Message

#: The policy in force, as its owners wrote it down; not read from the service's file.
POLICY = """
DESIGN architect CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL DEPS_DECISIONS MILESTONES SUMMARY_LAST
DESIGN developer CASE_HEADER PLAN_HEADER DECISIONS_RELEVANT_ROLE DEPS_RELEVANT SUMMARY_LAST
DESIGN devops CASE_HEADER PLAN_HEADER DECISIONS_RELEVANT_ROLE DEPS_RELEVANT MILESTONES
DESIGN qa CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL SUBTASKS_ALL MILESTONES SUMMARY_LAST
DESIGN data CASE_HEADER PLAN_HEADER DECISIONS_RELEVANT_ROLE DEPS_RELEVANT
BUILD architect CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL DEPS_DECISIONS SUBTASKS_ALL MILESTONES
BUILD developer CASE_HEADER PLAN_HEADER SUBTASKS_ROLE DECISIONS_RELEVANT_ROLE DEPS_RELEVANT
BUILD devops CASE_HEADER PLAN_HEADER SUBTASKS_ROLE DECISIONS_RELEVANT_ROLE DEPS_RELEVANT
BUILD qa CASE_HEADER PLAN_HEADER SUBTASKS_ALL_MIN DECISIONS_GLOBAL_MIN MILESTONES
BUILD data CASE_HEADER PLAN_HEADER SUBTASKS_ROLE DECISIONS_RELEVANT_ROLE
TEST architect CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL_MIN SUBTASKS_ALL_MIN
TEST developer CASE_HEADER PLAN_HEADER SUBTASKS_ROLE_MIN
TEST devops CASE_HEADER PLAN_HEADER SUBTASKS_ROLE_MIN
TEST qa CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL SUBTASKS_ALL MILESTONES
DOC architect CASE_HEADER PLAN_HEADER DECISIONS_GLOBAL SUMMARY_LAST
DOC qa CASE_HEADER PLAN_HEADER SUBTASKS_ALL_MIN MILESTONES
"""
CELLS = {(phase, role): scopes for phase, role, *scopes in map(str.split, POLICY.strip().splitlines())}
ROLES = ("architect", "developer", "devops", "qa", "data")
PHASES = ("DESIGN", "BUILD", "TEST", "DOC")
ALL_CELLS = list(itertools.product(PHASES, ROLES))
#: How callers write the roles.
WRITTEN = {"architect": "ARCHITECT", "developer": "DEV", "devops": "DEVOPS", "qa": "QA", "data": "Data"}
NOON = Timestamp(seconds=1_767_268_800)


def word(name: str) -> str:
    """Return a word that stands in no other text."""
    return f"zz{name}zz"


def linked(source: str, kind: Any, target: str) -> pb.DecisionLinkedEvent:
    return pb.DecisionLinkedEvent(source_id=source, kind=kind, target_id=target, stated_by=source)


def decision(id: str, status: str = "APPROVED", **fields: Any) -> pb.DecisionAddedEvent:
    """Return a decision whose title and rationale are words of its own."""
    texts = {"title": word(f"{id}-title"), "rationale": word(f"{id}-why")}
    return pb.DecisionAddedEvent(decision_id=id, status=status, **(texts | fields))


def subtask(id: str, role: str) -> pb.SubtaskAddedEvent:
    title, what, who = (word(f"{id}-{part}") for part in ("title", "what", "who"))
    return pb.SubtaskAddedEvent(subtask_id=id, role=role, status="todo", title=title, description=what, assignee=who)


def of_role(role: str) -> list[Message]:
    """Return what belongs to a role: a subtask, decisions that concern it, and its summary."""
    return [
        subtask(f"T-{role}", WRITTEN[role]),
        decision(f"affects-{role}"),
        linked(f"affects-{role}", pb.AFFECTS, f"T-{role}"),
        decision(f"reached-{role}"),
        linked(f"affects-{role}", pb.DEPENDS_ON, f"reached-{role}"),
        decision(f"far-{role}"),
        linked(f"reached-{role}", pb.RELATES_TO, f"far-{role}"),
        linked(f"far-{role}", pb.RELATES_TO, f"affects-{role}"),
        decision(f"made-{role}", decided_by=WRITTEN[role]),
        linked(f"made-{role}", pb.BLOCKS, "elsewhere"),
        pb.SummaryRecordedEvent(role=role, text=word(f"summary-{role}"), at=NOON),
    ]


FULL: list[Message] = [
    pb.ContextCreatedEvent(
        title=word("title"),
        description=word("description"),
        acceptance_criteria=[word("criterion")],
        constraints={word("constraint"): "1"},
        tags=[word("tag")],
        phase="DESIGN",
    ),
    pb.PlanVersionAddedEvent(plan_id="P-1", version=1, rationale=word("old-plan")),
    pb.PlanVersionAddedEvent(plan_id="P-2", version=2, rationale=word("plan")),
    *itertools.chain.from_iterable(map(of_role, ROLES)),
    subtask("T-nobody", ""),
    decision("free"),
    decision("proposed", "PROPOSED"),
    decision("of-others"),
    linked("of-others", pb.DEPENDS_ON, "elsewhere"),
    decision("rejected", "REJECTED"),
    decision("deprecated", "DEPRECATED"),
    decision("superseded"),
    decision("successor", "IMPLEMENTED"),
    linked("successor", pb.SUPERSEDES, "superseded"),
    decision("deleted"),
    pb.DecisionDeletedEvent(decision_id="deleted"),
    pb.MilestoneReachedEvent(milestone_id="M-1", event_type="human_edit", description=word("milestone"), at=NOON),
    pb.SummaryRecordedEvent(text=word("summary-nobody"), at=NOON),
]
PAST = ("rejected", "deprecated", "superseded")


def expected_words(scopes: list[str], role: str) -> set[str]:
    """Return the words of the full story that a role sees by some scopes."""
    concerning = [f"{why}-{role}" for why in ("affects", "reached", "far", "made")] + ["free", "proposed"]
    everybodys = [f"{why}-{one}" for one in ROLES for why in ("affects", "reached", "far", "made")]
    guiding = [*everybodys, "free", "proposed", "of-others", "successor"]
    all_tasks = [f"T-{one}" for one in (*ROLES, "nobody")]

    def whole_tasks(*ids: str) -> set[str]:
        return {f"{id}-{part}" for id in ids for part in ("title", "what", "who")}

    by_scope = {
        "CASE_HEADER": {"title", "description", "criterion", "constraint", "tag"},
        "PLAN_HEADER": {"plan"},
        "DECISIONS_GLOBAL": {f"{id}-{part}" for id in guiding for part in ("title", "why")}
        | {f"{id}-title" for id in PAST},
        "DECISIONS_GLOBAL_MIN": {f"{id}-title" for id in guiding},
        "DECISIONS_RELEVANT_ROLE": {f"{id}-{part}" for id in concerning for part in ("title", "why")},
        "SUBTASKS_ALL": whole_tasks(*all_tasks),
        "SUBTASKS_ALL_MIN": {f"{id}-title" for id in all_tasks},
        "SUBTASKS_ROLE": whole_tasks(f"T-{role}"),
        "SUBTASKS_ROLE_MIN": {f"T-{role}-title"},
        "MILESTONES": {"milestone"},
        "SUMMARY_LAST": {f"summary-{role}"},
    }
    return {word(name) for scope in scopes for name in by_scope.get(scope, ())}


def expected_relations(scopes: list[str], role: str) -> set[str]:
    """Return the relations of the full story that a role sees by some scopes."""

    def of(role: str) -> set[str]:
        return {
            f"affects-{role}: AFFECTS T-{role}",
            f"affects-{role}: DEPENDS_ON reached-{role}",
            f"reached-{role}: RELATES_TO far-{role}",
            f"far-{role}: RELATES_TO affects-{role}",
            f"made-{role}: BLOCKS elsewhere",
        }

    if "DEPS_DECISIONS" in scopes:
        others = {"of-others: DEPENDS_ON elsewhere", "successor: SUPERSEDES superseded"}
        return others.union(*map(of, ROLES))
    return of(role) if "DEPS_RELEVANT" in scopes else set()


SPARSE: list[Message] = [
    pb.ContextCreatedEvent(title=word("title"), phase="DESIGN"),
    decision("free", "PROPOSED"),
    subtask("T-qa", "qa"),
]
SPARSE_WORDS = {
    "CASE_HEADER": {"title"},
    "DECISIONS_GLOBAL": {"free-title", "free-why"},
    "DECISIONS_RELEVANT_ROLE": {"free-title", "free-why"},
    "DECISIONS_GLOBAL_MIN": {"free-title"},
    "SUBTASKS_ALL": {"T-qa-title", "T-qa-what", "T-qa-who"},
    "SUBTASKS_ALL_MIN": {"T-qa-title"},
}
NOTHING: list[Message] = [pb.ContextCreatedEvent(phase="DESIGN")]


async def told(stories: Stories, events: list[Message], phase: str, role: str, **fields: Any) -> Context:
    """Return a context of a story of some events, from a service with the packaged policy."""
    await stories.store.append(stories.stream("S-1"), events, expected=0)
    return await context_of(
        stories, "S-1", contexts=Contexts(), phase=phase, role=role, **({"token_budget": 100_000} | fields)
    )


def words_in(context: Context) -> set[str]:
    return set(re.findall("zz.*?zz", context.text))


def relations_in(context: Context) -> set[str]:
    return set(re.findall("^- from (.*)$", context.text, re.MULTILINE))


@pytest.mark.parametrize(("phase", "role"), ALL_CELLS)
class TestCells:
    async def test_full(self, stories: Stories, phase: str, role: str) -> None:
        """Of a story that has everything, a role sees what its scopes list, and nothing else."""
        scopes = CELLS.get((phase, role), [])
        context = await told(stories, FULL, phase, role)
        assert words_in(context) == expected_words(scopes, role)
        assert relations_in(context) == expected_relations(scopes, role)
        assert ("### Plan\n\n- P-2: version 2, DRAFT\n" in context.text) == bool(scopes)
        assert ("- 0 of 6 subtasks are finished" in context.text) == bool(scopes)
        assert context.scopes == tuple(scopes)
        assert context.empty == ()
        assert context.withheld == tuple(scope for scope in SCOPES if scope not in scopes)
        assert not context.rendered.omitted

    async def test_sparse(self, stories: Stories, phase: str, role: str) -> None:
        """Of a story that has little, a role sees what there is in its scopes; those with nothing are named."""
        scopes = CELLS.get((phase, role), [])
        context = await told(stories, SPARSE, phase, role)
        assert words_in(context) == {word(name) for scope in scopes for name in SPARSE_WORDS.get(scope, ())}
        nothing = {"DEPS_DECISIONS", "DEPS_RELEVANT", "MILESTONES", "SUMMARY_LAST"}
        if role != "qa":
            nothing |= {"SUBTASKS_ROLE", "SUBTASKS_ROLE_MIN"}
        assert context.empty == tuple(scope for scope in scopes if scope in nothing)

    async def test_empty(self, stories: Stories, phase: str, role: str) -> None:
        """Of a story that was only begun, all scopes but its header are empty, which is no error."""
        scopes = CELLS.get((phase, role), [])
        context = await told(stories, NOTHING, phase, role)
        assert context.empty == tuple(scope for scope in scopes if scope != "CASE_HEADER")
        assert [statement.scope for statement in context.rendered.statements] == ["CASE_HEADER"] * bool(scopes)
        assert not re.search("^- ", context.text, re.MULTILINE)

    async def test_what_is_stated(self, stories: Stories, phase: str, role: str) -> None:
        """Each thing that is shown is named once, with the scope by which it is, which is one of the cell's."""
        context = await told(stories, FULL, phase, role)
        statements = context.rendered.statements
        named = [(statement.entity_type, statement.entity_id) for statement in statements]
        assert len(set(named)) == len(named)
        assert {statement.scope for statement in statements} == set(CELLS.get((phase, role), []))
        stated = {id for kind, id in named if kind in {"DECISION", "SUBTASK"}}
        assert stated == {found.removesuffix("-title").strip("z") for found in map(_cut, words_in(context)) if found}


def _cut(found: str) -> str:
    name = found.removeprefix("zz").removesuffix("zz")
    return name if name.endswith("-title") else ""


async def test_scopes_are_not_guessed(stories: Stories) -> None:
    """The scopes of an answer are those of the policy, whatever words the text holds."""
    events: list[Message] = [pb.ContextCreatedEvent(title="Milestones, decisions and subtasks", phase="TEST")]
    context = await told(stories, events, "TEST", "developer")
    assert context.scopes == ("CASE_HEADER", "PLAN_HEADER", "SUBTASKS_ROLE_MIN")


async def test_a_policy_of_ones_own(stories: Stories) -> None:
    """Where a policy lists a thing twice it is shown once, in full."""
    await stories.store.append(stories.stream("S-1"), FULL, expected=0)
    scopes = ("DECISIONS_GLOBAL_MIN", "DECISIONS_GLOBAL", "SUBTASKS_ALL_MIN", "SUBTASKS_ROLE")
    policy = Policy({("DESIGN", "qa"): scopes})
    context = await context_of(stories, "S-1", role="qa", contexts=Contexts(policy), token_budget=100_000)
    named = [(statement.entity_type, statement.entity_id) for statement in context.rendered.statements]
    assert len(set(named)) == len(named)
    by_id = {statement.entity_id: statement.scope for statement in context.rendered.statements}
    assert by_id["free"] == "DECISIONS_GLOBAL"
    assert (by_id["T-qa"], by_id["T-data"]) == ("SUBTASKS_ROLE", "SUBTASKS_ALL_MIN")
    assert context.text.count("### Subtasks") == 1


# ---------------------------------------------------------------------------------------------------------- relevance


def story_of(*events: Message) -> Story:
    story = evolve(EMPTY, pb.ContextCreatedEvent(phase="BUILD"))
    for event in events:
        story = evolve(story, event)
    return story


def seen(story: Story, scope: str, role: str = "developer", subtask_id: str = "") -> list[Any]:
    """Return what a scope selects."""
    return list(select(story, [scope], role=role, subtask_id=subtask_id).scopes[scope])


def ids(story: Story, scope: str, role: str = "developer", subtask_id: str = "") -> list[str]:
    return [thing.id for thing in seen(story, scope, role, subtask_id)]


def test_ids_are_never_matched_by_substring() -> None:
    """What concerns T-10, D-10 or dev-ops does not concern T-1, D-1 or dev, nor the other way round."""
    story = story_of(
        subtask("T-1", "developer"),
        subtask("T-10", "qa"),
        decision("D-10", decided_by="developers"),
        linked("D-10", pb.AFFECTS, "T-10"),
        decision("D-1", decided_by="dev-ops"),
        linked("D-1", pb.DEPENDS_ON, "D-10"),
        decision("D-100"),
        linked("D-100", pb.DEPENDS_ON, "D"),
    )
    assert ids(story, "DECISIONS_RELEVANT_ROLE") == []
    assert ids(story, "DECISIONS_RELEVANT_ROLE", "devops") == []
    assert ids(story, "DECISIONS_RELEVANT_ROLE", "qa") == ["D-10"]
    assert ids(story, "SUBTASKS_ROLE") == ["T-1"]


def test_decisions_for_a_task() -> None:
    """A decision that was made for a subtask of the role is relevant to it, and near to that subtask."""
    story = story_of(
        subtask("T-1", "developer"),
        subtask("T-2", "qa"),
        decision("D-1", task_id="T-1"),
        decision("D-2", task_id="T-2"),
        decision("D-3", task_id="T"),
        *(linked(f"D-{number}", pb.DEPENDS_ON, "elsewhere") for number in (1, 2, 3)),
    )
    assert ids(story, "DECISIONS_RELEVANT_ROLE") == ["D-1"]
    assert ids(story, "DECISIONS_GLOBAL")[0] == "D-1"
    assert ids(story, "DECISIONS_GLOBAL", subtask_id="T-2")[0] == "D-2"


def test_relations_in_circles() -> None:
    """Decisions that rest on each other in a circle are each selected once."""
    story = story_of(
        subtask("T-1", "developer"),
        *(decision(f"D-{number}") for number in range(3)),
        *(linked(f"D-{number}", pb.DEPENDS_ON, f"D-{(number + 1) % 3}") for number in range(3)),
        linked("D-0", pb.DEPENDS_ON, "D-0"),
        linked("D-1", pb.AFFECTS, "T-1"),
    )
    assert sorted(ids(story, "DECISIONS_RELEVANT_ROLE")) == ["D-0", "D-1", "D-2"]
    assert len(seen(story, "DEPS_RELEVANT")) == 5


def test_incoming_relations() -> None:
    """What rests on a relevant decision, over any number of steps, is among the relations, and not relevant itself."""
    story = story_of(
        subtask("T-1", "developer"),
        subtask("T-2", "qa"),
        *(decision(f"D-{number}") for number in range(5)),
        linked("D-0", pb.AFFECTS, "T-1"),
        linked("D-0", pb.AFFECTS, "T-2"),
        linked("D-1", pb.DEPENDS_ON, "D-0"),
        linked("D-2", pb.DEPENDS_ON, "D-1"),
        linked("D-2", pb.AFFECTS, "T-2"),
        linked("D-1", pb.DEPENDS_ON, "D-3"),
        linked("D-4", pb.DEPENDS_ON, "D-3"),
    )
    assert ids(story, "DECISIONS_RELEVANT_ROLE") == ["D-0"]
    expected = [Link("D-0", "AFFECTS", "T-1"), Link("D-1", "DEPENDS_ON", "D-0"), Link("D-2", "DEPENDS_ON", "D-1")]
    assert seen(story, "DEPS_RELEVANT") == expected


def test_relations_to_what_guides_nothing() -> None:
    """A deleted decision is in no relation, a rejected or superseded one in none for a role that may not see it."""
    story = story_of(
        decision("D-0"),
        decision("gone"),
        decision("old"),
        decision("no", "REJECTED"),
        *(linked("D-0", pb.DEPENDS_ON, id) for id in ("gone", "no")),
        *(linked(id, pb.DEPENDS_ON, "D-0") for id in ("gone", "no")),
        linked("D-0", pb.SUPERSEDES, "old"),
        linked("D-0", pb.AFFECTS, "T-missing"),
        pb.DecisionDeletedEvent(decision_id="gone"),
        decision("alone"),
        linked("alone", pb.DEPENDS_ON, "gone"),
    )
    assert {(link.source, link.target) for link in seen(story, "DEPS_DECISIONS")} == {
        ("D-0", "no"),
        ("no", "D-0"),
        ("D-0", "old"),
        ("D-0", "T-missing"),
    }
    assert seen(story, "DEPS_RELEVANT", "qa") == []
    # What was linked to a deleted decision alone is linked to nothing.
    assert ids(story, "DECISIONS_RELEVANT_ROLE") == ["alone"]


@pytest.mark.parametrize("status", ["REJECTED", "DEPRECATED", "DELETED", "superseded"])
async def test_what_is_over_is_no_guidance(stories: Stories, status: str) -> None:
    """A deleted decision is nowhere; rejected, deprecated and superseded ones stand apart, for who sees all."""
    events: list[Message] = [
        pb.ContextCreatedEvent(phase="DESIGN"),
        decision("D-1", "APPROVED" if status == "superseded" else status),
        decision("D-2", rationale=""),
        linked("D-2", pb.SUPERSEDES, "D-1") if status == "superseded" else pb.StoryChangedEvent(),
    ]
    context = await told(stories, events, "DESIGN", "qa")
    guidance, _, past = context.text.partition("### Decisions no longer in force, which guide nothing\n\n")
    assert "D-1" not in guidance
    assert (word("D-1-title") in past) == (status != "DELETED")
    assert word("D-1-why") not in context.text
    contexts = Contexts()
    for phase, role in (("DESIGN", "developer"), ("BUILD", "qa"), ("TEST", "architect")):
        other = await context_of(stories, "S-1", role=role, phase=phase, contexts=contexts)
        assert "D-1" not in other.text


@pytest.mark.parametrize(
    ("recorded", "role", "expected"),
    [
        (["qa", "developer", ""], "developer", "developer"),
        (["DEV", "", "qa"], "developer", "DEV"),
        (["qa", ""], "developer", ""),
        (["qa", "ann"], "developer", "ann"),
        (["qa"], "developer", None),
    ],
)
def test_last_summary(recorded: list[str], role: str, expected: str | None) -> None:
    """A role's last summary is its own in any spelling, else that of who is in no role; never another role's."""
    story = story_of(*(pb.SummaryRecordedEvent(role=one, text=one, at=NOON) for one in recorded))
    found = select(story, ["SUMMARY_LAST"], role=role).of(Summary)
    assert [summary.role for summary in found] == ([] if expected is None else [expected])


# ------------------------------------------------------------------------------------------------------- current task

TASKS = [subtask("mine", "DEV"), subtask("yours", "qa"), subtask("nobodys", "")]


@pytest.mark.parametrize(
    ("phase", "role", "subtask_id", "shown"),
    [
        ("BUILD", "developer", "mine", "full"),
        ("BUILD", "developer", "nobodys", "full"),
        ("BUILD", "developer", "yours", ""),
        ("BUILD", "architect", "yours", "full"),
        ("BUILD", "qa", "mine", "short"),
        ("TEST", "developer", "mine", "short"),
        ("TEST", "developer", "nobodys", "short"),
        ("TEST", "developer", "yours", ""),
        ("DESIGN", "developer", "mine", ""),
        ("DOC", "developer", "mine", ""),
    ],
)
async def test_current_task(stories: Stories, phase: str, role: str, subtask_id: str, shown: str) -> None:
    """The subtask that a caller works on is shown where the cell shows it: as fully, and not another role's."""
    context = await told(stories, [pb.ContextCreatedEvent(), *TASKS], phase, role, subtask_id=subtask_id)
    lines = {
        "full": f"### Current task\n\n- {subtask_id} [todo",
        "short": f"### Current task\n\n- {subtask_id} {word(f'{subtask_id}-title')}\n\n",
    }
    assert [form for form, line in lines.items() if line in context.text] == [shown] * bool(shown)
    assert context.text.count(f"- {subtask_id} ") == bool(shown)


async def test_unknown_subtask(stories: Stories) -> None:
    """A subtask that the story does not have is not found, whatever the policy says."""
    with pytest.raises(Refused, match="subtask_id"):
        await told(stories, FULL, "DOC", "developer", subtask_id="T-9")


# ------------------------------------------------------------------------------------------------------------ ranking


def at(day: int) -> Timestamp:
    return Timestamp(seconds=NOON.seconds + 86_400 * day)


def test_rank_by_distance() -> None:
    """Decisions stand by how far they are from the current subtask, over relations in either direction."""
    story = story_of(
        *(subtask(id, "developer") for id in ("T-1", "T-2")),
        *(decision(f"D-{number}") for number in range(6)),
        linked("D-3", pb.AFFECTS, "T-1"),
        linked("D-3", pb.DEPENDS_ON, "D-1"),
        linked("D-4", pb.DEPENDS_ON, "D-1"),
        linked("D-4", pb.BLOCKS, "D-0"),
        linked("D-5", pb.AFFECTS, "T-2"),
    )
    # D-2 and D-5 cannot be reached; D-5 has more impact.
    assert ids(story, "DECISIONS_GLOBAL", subtask_id="T-1") == ["D-3", "D-1", "D-4", "D-0", "D-5", "D-2"]


def test_rank_without_a_current_subtask() -> None:
    """Without a current subtask it is the role's open ones that count."""
    done = subtask("T-2", "DEV")
    done.status = "done"
    story = story_of(
        subtask("T-1", "DEV"),
        done,
        subtask("T-3", "qa"),
        *(decision(f"D-{number}") for number in (1, 2, 3)),
        *(linked(f"D-{number}", pb.AFFECTS, f"T-{number}") for number in (1, 2, 3)),
    )
    assert ids(story, "DECISIONS_GLOBAL") == ["D-1", "D-3", "D-2"]


def test_rank_by_impact_status_and_recency() -> None:
    """At the same distance come those with more impact, then those that are made, then the newest."""
    story = story_of(
        decision("proposed", "PROPOSED", decided_at=at(9)),
        decision("older", decided_at=at(1)),
        decision("newer", decided_at=at(2)),
        decision("newest", decided_at=Timestamp(seconds=at(2).seconds, nanos=500_000_000)),
        decision("undated"),
        decision("undated, later"),
        decision("with impact", decided_at=at(0)),
        linked("older", pb.DEPENDS_ON, "with impact"),
        linked("newer", pb.DEPENDS_ON, "with impact"),
        linked("with impact", pb.AFFECTS, "T-9"),
    )
    assert ids(story, "DECISIONS_GLOBAL") == [
        "with impact",
        "newest",
        "newer",
        "older",
        "undated, later",
        "undated",
        "proposed",
    ]


def test_rank_of_subtasks() -> None:
    """The current subtask comes first, then those to be done, the role's own, and by priority."""
    story = story_of(
        *(
            pb.SubtaskAddedEvent(subtask_id=id, role=role, status=status, priority=priority)
            for id, role, status, priority in (
                ("qa", "qa", "todo", 1),
                ("done", "developer", "done", 1),
                ("some day", "developer", "todo", 0),
                ("second", "developer", "todo", 2),
                ("first", "developer", "todo", 1),
                ("current", "qa", "todo", 9),
            )
        )
    )
    expected = ["current", "first", "second", "some day", "qa", "done"]
    assert ids(story, "SUBTASKS_ALL", subtask_id="current") == expected


RENDERING = """
import sys
from pathlib import Path
from context_service.policy import Policy
from context_service.selection import select
from context_service.story import load
from context_service.text import render

story, policy = load(Path(sys.argv[1]).read_bytes()), Policy.load()
for phase in ("DESIGN", "BUILD", "TEST", "DOC"):
    for role in ("architect", "developer", "devops", "qa", "data"):
        for budget in (0, 300):
            selection = select(story, policy.scopes(phase, role), role=role, subtask_id="T-qa")
            print(render("S-1", selection, role=role, phase=phase, budget=budget).text)
"""


def test_output_is_stable(tmp_path: Path) -> None:
    """Equal states give the same text in all processes, though each has an order of its own for sets and maps."""
    (tmp_path / "story").write_bytes(dump(story_of(*FULL[1:])))
    texts = {
        subprocess.run(
            [sys.executable, "-c", RENDERING, str(tmp_path / "story")],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(texts) == 1


def test_kinds() -> None:
    """What was selected can be asked for by kind, past decisions apart."""
    selection = select(story_of(*FULL[1:]), ["DECISIONS_GLOBAL", "SUBTASKS_ROLE", "DEPS_RELEVANT"], role="qa")
    assert {decision.id for decision in selection.of(Decision)}.isdisjoint(PAST)
    assert [subtask.id for subtask in selection.of(Subtask)] == ["T-qa"]
    assert len(selection.of(Link)) == 5
    assert selection.of(Summary) == []
