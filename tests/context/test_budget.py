"""The budget of tokens: it holds, and what it leaves out is told."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import bpe_openai
import pytest
from context_service import text
from context_service.commands import Fault, Refused
from context_service.contexts import Contexts, context_of
from context_service.events.v1 import events_pb2 as pb
from context_service.policy import Policy
from context_service.selection import PlanHeader, Selection, select, token_budget_hint
from context_service.stories import Stories
from context_service.story import Decision, Link, Story, Subtask
from context_service.text import Rendered, count_tokens, render
from eventstore import AtVersion, Version
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.context.test_scopes import ALL_CELLS, FULL, story_of, subtask

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

POLICY = Policy.load()
TOKENIZER = bpe_openai.get_encoding("o200k_base")
texts = st.text(st.sampled_from("ab é漢🙂.-=>#`\n\r\t\x00\u2028"), max_size=60) | st.integers(0, 3000).map(
    "word ".__mul__
)
names = st.sampled_from([f"X-{number}" for number in range(12)])
events = st.lists(
    st.builds(
        pb.DecisionAddedEvent,
        decision_id=names,
        title=texts,
        rationale=texts,
        status=st.sampled_from(["PROPOSED", "APPROVED", "IMPLEMENTED", "REJECTED", "DEPRECATED", "DELETED"]),
        alternatives=st.lists(texts, max_size=2),
        decided_by=st.sampled_from(["", "DEV", "qa", "ann"]),
    )
    | st.builds(
        pb.SubtaskAddedEvent,
        subtask_id=names,
        title=texts,
        description=texts,
        status=st.sampled_from(["todo", "done"]),
        role=st.sampled_from(["", "DEV", "qa"]),
    )
    | st.builds(
        pb.DecisionLinkedEvent,
        source_id=names,
        kind=st.sampled_from(["DEPENDS_ON", "SUPERSEDES", "AFFECTS"]),
        target_id=names,
        stated_by=st.just("x"),
    )
    | st.builds(pb.MilestoneReachedEvent, milestone_id=names, event_type=texts, description=texts)
    | st.builds(pb.PlanVersionAddedEvent, plan_id=names, rationale=texts)
    | st.builds(pb.SummaryRecordedEvent, role=st.sampled_from(["", "DEV", "qa"]), text=texts)
    | st.builds(pb.StoryChangedEvent, title=texts, description=texts),
    max_size=40,
)


def things_of(selection: Selection) -> set[tuple[str, str]]:
    """Return what can be seen, worked out from the domain's values."""
    found = set()
    for thing in (thing for things in selection.scopes.values() for thing in things):
        match thing:
            case Story():
                found.add(("CASE", "S-1"))
            case PlanHeader(plan):
                found.add(("PLAN", plan.id if plan else ""))
            case Decision(id=id) | (Decision(id=id), _):
                found.add(("DECISION", id))
            case Link(source, kind, target):
                found.add(("RELATION", f"{source} {kind} {target}"))
            case Subtask(id=id):
                found.add(("SUBTASK", id))
            case _:
                named = getattr(thing, "id", None) or getattr(thing, "role", "")
                found.add((type(thing).__name__.upper(), str(named)))
    return found


def check(selection: Selection, rendered: Rendered, budget: int) -> None:
    """Check that a budget holds and that nothing got lost."""
    assert rendered.tokens == len(TOKENIZER.encode_ordinary(rendered.text)) <= budget
    assert rendered.text == rendered.blocks.joined()
    stated = {(one.entity_type, one.entity_id): one.form for one in rendered.statements}
    omitted = {(one.entity_type, one.entity_id): one.left for one in rendered.omitted}
    assert (len(stated), len(omitted)) == (len(rendered.statements), len(rendered.omitted))
    assert stated.keys() | omitted.keys() == things_of(selection)
    # What is shortened is stated in the form that is left of it; the rest is in one of the two alone.
    assert {thing: left for thing, left in omitted.items() if left != "nothing"}.items() <= stated.items()
    assert stated.keys().isdisjoint(thing for thing, left in omitted.items() if left == "nothing")
    assert ("Not shown: " in rendered.blocks.context) == ("nothing" in omitted.values())
    assert all(one.reason for one in rendered.omitted)


@settings(max_examples=150, deadline=None)
@given(events, st.sampled_from(ALL_CELLS), st.integers(1, 3000), st.sampled_from(["", "X-1", "X-2"]))
def test_a_budget_holds(happened: list[Message], cell: tuple[str, str], budget: int, subtask_id: str) -> None:
    """Whatever a story is, the text has no more tokens than it may; each thing is stated, or named as left out."""
    phase, role = cell
    story = story_of(*happened)
    subtask_id = subtask_id if subtask_id in story.subtasks else ""
    selection = select(story, POLICY.scopes(*cell), role=role, subtask_id=subtask_id)
    try:
        rendered = render("S-1", selection, role=role, phase=phase, budget=budget)
    except Refused as refused:
        [violation] = refused.violations
        assert (violation.fault, violation.field) == (Fault.INVALID, "token_budget")
        least = int(violation.description.split()[3].rstrip(","))
        assert budget < least < 60
        rendered = render("S-1", selection, role=role, phase=phase, budget=least)
        check(selection, rendered, least)
    else:
        check(selection, rendered, budget)


def full_selection(phase: str = "BUILD", role: str = "architect", subtask_id: str = "") -> Selection:
    return select(story_of(*FULL[1:]), POLICY.scopes(phase, role), role=role, subtask_id=subtask_id)


@pytest.mark.parametrize("cell", ALL_CELLS)
def test_what_fits_is_not_cut(cell: tuple[str, str]) -> None:
    """A budget of just the tokens of the whole text is enough for it, and one token less costs the tools alone."""
    phase, role = cell
    selection = full_selection(phase, role)
    whole = render("S-1", selection, role=role, phase=phase, budget=100_000)
    assert whole.blocks.tools
    assert render("S-1", selection, role=role, phase=phase, budget=whole.tokens) == whole
    without_tools = render("S-1", selection, role=role, phase=phase, budget=whole.tokens - 1)
    assert without_tools.blocks == whole.blocks._replace(tools="")
    assert not without_tools.omitted
    assert not render("S-1", selection, role=role, phase=phase, budget=without_tools.tokens).omitted


def test_steps() -> None:
    """As a budget falls, decisions go from full to a line, to their id, to nothing."""
    selection = full_selection()
    in_force = [decision.id for decision in selection.of(Decision) if decision.status != "PROPOSED"]
    order = ["full", "short", "id", "nothing"]
    before = 0
    seen = []
    for budget in (2_000, 1_200, 800, 400, 200):
        rendered = render("S-1", selection, role="architect", phase="BUILD", budget=budget)
        left = dict.fromkeys(in_force, "full") | {one.entity_id: one.left for one in rendered.omitted}
        forms = [order.index(left[id]) for id in in_force]
        # The better a decision is ranked, the more is left of it.
        assert forms == sorted(forms)
        assert sum(forms) > before or budget == 2_000
        before = sum(forms)
        seen.append(set(forms))
    assert seen == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3}]


@pytest.mark.parametrize(("budget", "first"), [(60, 1), (80, 2), (150, 2), (1_000, 2)])
def test_the_most_important_stay(budget: int, first: int) -> None:
    """The story and the current task are shown however small the budget is; of the decisions those ranked first."""
    selection = full_selection(subtask_id="T-qa")
    rendered = render("S-1", selection, role="architect", phase="BUILD", budget=budget)
    stated = [(one.entity_type, one.entity_id) for one in rendered.statements if one.entity_type != "PLAN"]
    assert stated[:first] == [("CASE", "S-1"), ("SUBTASK", "T-qa")][:first]
    ranked = [decision.id for decision in selection.of(Decision) if decision.status != "PROPOSED"]
    shown = [id for kind, id in stated if kind == "DECISION" and id in ranked]
    assert shown == ranked[: len(shown)]
    assert shown or budget == 60


@pytest.mark.parametrize("budget", [200, 400, 800])
def test_too_much_is_taken_away_again(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """Were more taken than there is room for, the least important goes until the budget holds, and that is told."""
    monkeypatch.setattr(text._Frame, "reserve", -150)
    scopes = [scope for scope in POLICY.scopes("BUILD", "architect") if scope != "PLAN_HEADER"]
    selection = select(story_of(*FULL[1:]), scopes, role="architect", subtask_id="T-qa")
    rendered = render("S-1", selection, role="architect", phase="BUILD", budget=budget)
    check(selection, rendered, budget)
    assert rendered.statements[0].entity_type == "CASE"
    assert rendered.statements[1].entity_id == "T-qa"


def test_what_a_section_leaves_goes_to_others() -> None:
    """A story with one kind of things has the whole budget for it."""
    story = story_of(
        *(pb.DecisionAddedEvent(decision_id=f"D-{n}", title="a b c", status="APPROVED") for n in range(500))
    )
    selection = select(story, POLICY.scopes("BUILD", "architect"), role="architect")
    rendered = render("S-1", selection, role="architect", phase="BUILD", budget=2_000)
    assert 1_850 < rendered.tokens <= 2_000


def test_one_line_tells_what_is_missing() -> None:
    """The text itself says how many things of which kind are not shown, and how many are shortened."""
    story = story_of(
        *(pb.DecisionAddedEvent(decision_id=f"D-{n}", status="APPROVED", rationale="a " * 90) for n in range(50)),
        subtask("T-1", "qa"),
    )
    selection = select(story, POLICY.scopes("BUILD", "architect"), role="architect")
    rendered = render("S-1", selection, role="architect", phase="BUILD", budget=400)
    gone = sum(one.left == "nothing" for one in rendered.omitted)
    cut = len(rendered.omitted) - gone
    line = rendered.blocks.context.splitlines()[-1]
    assert line == f"Not shown: {gone} decisions. Shortened: {cut} decisions. The token budget has no room for more."


@pytest.mark.parametrize(
    ("role", "subtasks", "decisions", "hint"),
    [
        ("architect", 0, 0, 8192),
        ("qa", 0, 0, 4096),
        ("qa", 1, 1, 4096 + 256 + 128),
        ("architect", 12, 8, 8192 + 4096),
        ("data", 1000, 1000, 8192),
    ],
)
def test_hint(role: str, subtasks: int, decisions: int, hint: int) -> None:
    """Without a budget a role has what its hint says, which grows with what it sees, up to a bound."""
    assert token_budget_hint(role, subtasks=subtasks, decisions=decisions) == hint


def test_no_budget_is_the_hint() -> None:
    """A budget of 0 is the hint of the role for what it sees."""
    story = story_of(
        *(pb.DecisionAddedEvent(decision_id=f"D-{n}", rationale="a b " * 500, status="APPROVED") for n in range(9))
    )
    selection = select(story, POLICY.scopes("BUILD", "qa"), role="qa")
    many = select(story, POLICY.scopes("BUILD", "developer"), role="developer")
    for role, each in (("qa", selection), ("developer", many)):
        hint = 4096 + 9 * 128
        expected = render("S-1", each, role=role, phase="BUILD", budget=hint)
        assert render("S-1", each, role=role, phase="BUILD") == expected
        assert expected.tokens <= hint
    assert render("S-1", many, role="developer", phase="BUILD").omitted


# -------------------------------------------------------------------------------------------------------- many things


def long_story(decisions: int) -> Story:
    chance = random.Random(1)
    happened: list[Message] = [subtask(f"T-{number}", chance.choice(["DEV", "qa"])) for number in range(decisions // 4)]
    for number in range(decisions):
        happened.append(
            pb.DecisionAddedEvent(
                decision_id=f"D-{number}", title="a title", rationale="some words " * 9, status="APPROVED"
            )
        )
        kind, target = chance.choice([("AFFECTS", f"T-{number // 4}"), ("DEPENDS_ON", f"D-{number // 2}")])
        happened.append(
            pb.DecisionLinkedEvent(source_id=f"D-{number}", kind=kind, target_id=target, stated_by=f"D-{number}")
        )
    return story_of(*happened)


def fastest(what: Callable[[], Any]) -> float:
    """Return how many seconds a call takes when nothing is in its way."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        what()
        took.append(time.perf_counter() - started)
    return min(took)


def test_work_grows_with_the_budget_and_not_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a story far larger than the budget, no more is counted than a few times the budget."""
    counted = 0

    def counting(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return count_tokens(text)

    monkeypatch.setattr("context_service.text.count_tokens", counting)
    story = long_story(4_000)
    selection = select(story, POLICY.scopes("BUILD", "architect"), role="architect")
    render("S-1", selection, role="architect", phase="BUILD", budget=4_000)
    assert counted < 4_000 * 8 * 4


def test_time_grows_with_the_story_evenly() -> None:
    """Selecting and rendering eight times as much takes not much more than eight times as long."""

    def answer(story: Story) -> None:
        selection = select(story, POLICY.scopes("BUILD", "developer"), role="developer", subtask_id="T-0")
        render("S-1", selection, role="developer", phase="BUILD")

    few, many = long_story(500), long_story(4_000)
    answer(few)
    assert fastest(lambda: answer(many)) < 24 * fastest(lambda: answer(few))


# -------------------------------------------------------------------------------------------------------------- cache


async def test_finished_contexts_are_kept(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered is answered again without rendering; a new version and any other question are rendered."""
    rendering: list[int] = []

    def counted(*args: Any, **fields: Any) -> Rendered:
        rendering.append(fields["budget"])
        return render(*args, **fields)

    monkeypatch.setattr("context_service.contexts.render", counted)
    contexts = Contexts()
    story = stories.stream("S-1")
    await stories.store.append(story, FULL, expected=0)
    questions: list[dict[str, Any]] = [
        {"role": "qa"},
        {"role": "developer"},
        {"role": "qa", "phase": "BUILD"},
        {"role": "qa", "subtask_id": "T-qa"},
        {"role": "qa", "subtask_id": "T-data"},
        {"role": "qa", "token_budget": 500},
    ]
    first = [await context_of(stories, "S-1", contexts=contexts, **question) for question in questions]
    assert len(rendering) == len(questions)
    again = [await context_of(stories, "S-1", contexts=contexts, **question) for question in questions]
    assert len(rendering) == len(questions)
    assert again == first
    await stories.store.append(story, [pb.StoryChangedEvent(title="another")], expected=len(FULL))
    changed = await context_of(stories, "S-1", contexts=contexts, role="qa")
    assert len(rendering) == len(questions) + 1
    assert "another" in changed.text
    assert (changed.version, changed.hash != first[0].hash) == (len(FULL) + 1, True)


async def test_an_answer_about_the_past_is_found_again(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """The past is not read again for a question that nothing can change any more; one about now is asked anew."""
    story, contexts = stories.stream("S-1"), Contexts()
    await stories.store.append(story, FULL, expected=0)
    then = AtVersion(Version(len(FULL)))
    first = await context_of(stories, "S-1", then, contexts=contexts, role="qa")
    assert not (await context_of(stories, "S-1", contexts=contexts, role="qa")).text.count("another")
    await stories.store.append(story, [pb.StoryChangedEvent(title="another")], expected=len(FULL))
    assert (await context_of(stories, "S-1", contexts=contexts, role="qa")).text.count("another")
    monkeypatch.setattr(Stories, "ask", None)
    assert await context_of(stories, "S-1", then, contexts=contexts, role="qa") == first
    with pytest.raises(TypeError):
        await context_of(stories, "S-1", contexts=contexts, role="qa")


async def test_the_cache_is_bounded(stories: Stories) -> None:
    """So many bytes of contexts are kept, those used last."""
    await stories.store.append(stories.stream("S-1"), FULL, expected=0)
    contexts = Contexts(most_bytes=60_000)
    for budget in range(1_000, 3_000, 100):
        await context_of(stories, "S-1", contexts=contexts, role="qa", token_budget=budget)
    assert 0 < len(contexts._made) < 20
    assert 0 < contexts._bytes <= 60_000
    assert [key.budget for key in contexts._made] == list(range(3_000 - 100 * len(contexts._made), 3_000, 100))
