"""What of a story may be seen: each scope and what it selects, the most important first. Pure."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from context_service.story import Decision, Link, Milestone, Plan, Story, Subtask, Summary
from context_service.words import TERMINAL_SUBTASK_STATUSES, role_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IN_FORCE: Final = ("APPROVED", "IMPLEMENTED")
#: The scopes of which only ids and titles are shown.
MIN: Final = frozenset({"DECISIONS_GLOBAL_MIN", "SUBTASKS_ALL_MIN", "SUBTASKS_ROLE_MIN"})
_GUIDANCE: Final = frozenset({*IN_FORCE, "PROPOSED"})
_LAST: Final = 1 << 30


class PlanHeader(NamedTuple):
    """A story's newest plan, where it has one, and how far its subtasks are."""

    plan: Plan | None
    subtasks: int
    finished: int


class Past(NamedTuple):
    """A decision that guides nothing: rejected, deprecated or superseded."""

    decision: Decision
    superseded: bool


Thing = Story | PlanHeader | Decision | Past | Link | Subtask | Milestone | Summary
T = TypeVar("T", bound=Thing)


class Selection(NamedTuple):
    """What may be seen of a story, by the scope that grants it; in a scope the most important thing comes first."""

    scopes: dict[str, tuple[Thing, ...]]
    #: The subtask that the caller works on, where it may be seen; it stands in its scope too.
    current: Subtask | None

    @property
    def empty(self) -> list[str]:
        """Return the scopes for which the story has nothing."""
        return [scope for scope, things in self.scopes.items() if not things]

    @property
    def withheld(self) -> list[str]:
        """Return the scopes that are not granted."""
        return [scope for scope in SCOPES if scope not in self.scopes]

    def of(self, kind: type[T]) -> list[T]:
        """Return all things of a kind. Past decisions are a kind of their own."""
        return [thing for things in self.scopes.values() for thing in things if isinstance(thing, kind)]


def select(story: Story, scopes: Iterable[str], *, role: str, subtask_id: str = "") -> Selection:
    """Return what some scopes let a role see of a story, ranked as seen from a subtask, else from the role's own."""
    view = _View(story, role, subtask_id)
    selected = {scope: tuple(_PRODUCERS[scope](view)) for scope in scopes}
    shown = (thing for things in selected.values() for thing in things if isinstance(thing, Subtask))
    return Selection(selected, next((subtask for subtask in shown if subtask.id == subtask_id), None))


def token_budget_hint(role: str, *, subtasks: int, decisions: int) -> int:
    """Return how many tokens fit a role that sees so many subtasks and decisions."""
    return (8192 if role == "architect" else 4096) + min(4096, 256 * subtasks + 128 * decisions)


def superseded(story: Story) -> set[str]:
    """Return the decisions that a decision in force supersedes; one that has not come to this story counts as such."""
    return {
        link.target
        for link in story.links
        if link.kind == "SUPERSEDES"
        and (link.source not in story.decisions or story.decisions[link.source].status in IN_FORCE)
    }


class _View:
    """A story as a role sees it. Each part is worked out when a scope asks for it, in time that its size bounds.

    A map's order is that of its hashes, so nothing here may depend on it: all that leaves is sorted.
    """

    def __init__(self, story: Story, role: str, subtask_id: str) -> None:
        self.story = story
        self.role = role
        self.subtask_id = subtask_id
        #: The role's subtasks.
        self.mine = {id for id, subtask in story.subtasks.items() if _is(subtask.role, role)}

    @cached_property
    def decisions(self) -> dict[str, Decision]:
        """All decisions but the deleted ones."""
        return {id: decision for id, decision in self.story.decisions.items() if decision.status != "DELETED"}

    @cached_property
    def _edges(self) -> _Edges:
        deleted = self.story.decisions.keys() - self.decisions.keys()
        edges = _Edges([], defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list))
        for link in self.story.links:
            source, target = link.source, link.target
            if source in deleted:
                continue
            if link.kind == "AFFECTS":
                edges.affects[source].append(target)
                edges.affecting[target].append(source)
            elif target in deleted:
                continue
            else:
                edges.out[source].append(target)
                edges.into[target].append(source)
            edges.links.append(link)
        return edges

    @cached_property
    def _superseded(self) -> set[str]:
        return superseded(self.story)

    @cached_property
    def guidance(self) -> list[Decision]:
        """The decisions in force and those proposed, ranked."""
        gone = self._superseded
        found = [d for d in self.decisions.values() if d.status in _GUIDANCE and d.id not in gone]
        distances, edges = self._distances(), self._edges

        def rank(decision: Decision) -> tuple[int, int, bool]:
            id = decision.id
            impact = len(set(edges.into.get(id, ()))) + len(edges.affects.get(id, ()))
            return distances.get(id, _LAST), -impact, decision.status == "PROPOSED"

        found.sort(key=lambda decision: (decision.decided_at.rstrip("Z"), decision.order), reverse=True)
        found.sort(key=rank)
        return found

    @cached_property
    def past(self) -> list[Past]:
        """The decisions that guide nothing any more, the newest first."""
        gone = self._superseded
        over = [d for d in self.decisions.values() if d.status not in _GUIDANCE or d.id in gone]
        over.sort(key=lambda decision: decision.order, reverse=True)
        return [Past(decision, decision.status in _GUIDANCE) for decision in over]

    def _distances(self) -> dict[str, int]:
        """Return how far decisions are from the current subtask, else from the role's open ones."""
        starts = {self.subtask_id} if self.subtask_id else {id for id in self.mine if _open(self.story.subtasks[id])}
        edges = self._edges
        near = {source for start in starts for source in edges.affecting.get(start, ())}
        near |= {id for id, decision in self.decisions.items() if decision.task_id in starts}
        return _reached(near, edges.out, edges.into)

    @cached_property
    def relevant(self) -> set[str]:
        """The ids of the decisions that are relevant to the role."""
        edges, mine = self._edges, self.mine
        seeds = {
            id
            for id, decision in self.decisions.items()
            if (id not in edges.out and id not in edges.into and id not in edges.affects)
            or not mine.isdisjoint(edges.affects.get(id, ()))
            or decision.task_id in mine
            or _is(decision.decided_by, self.role)
        }
        # What another story decided is named, but nothing is known of it.
        return _reached(seeds, edges.out).keys() & self.decisions.keys()

    def all_relations(self) -> list[Link]:
        """Return all relations between decisions, and what decisions affect."""
        return self._by_rank(self._edges.links)

    def relevant_relations(self) -> list[Link]:
        """Return what relevant decisions rest on and what rests on them, over any number of relations.

        Past decisions are left out, and so are subtasks of other roles.
        """
        relevant = self.relevant
        resting = _reached(relevant, self._edges.into)
        past = {decision.id for decision, _ in self.past}
        subtasks, mine = self.story.subtasks, self.mine

        def around(link: Link) -> bool:
            if link.kind == "AFFECTS":
                target = link.target
                return link.source in relevant and (
                    target in mine or target not in subtasks or not subtasks[target].role
                )
            return link.target not in past and (link.source in relevant or link.target in resting)

        return self._by_rank(link for link in self._edges.links if link.source not in past and around(link))

    def _by_rank(self, links: Iterable[Link]) -> list[Link]:
        """Sort links by the better ranked of their ends."""
        ranks = {decision.id: rank for rank, decision in enumerate(self.guidance)}

        def rank(link: Link) -> tuple[int, str, str, str]:
            best = min(ranks.get(link.source, _LAST), ranks.get(link.target, _LAST))
            return best, link.source, link.kind, link.target

        return sorted(links, key=rank)

    def subtasks(self, *, all_roles: bool) -> list[Subtask]:
        """Return subtasks, the current one first, then those to be done, the role's own, and by priority."""

        def rank(subtask: Subtask) -> tuple[bool, bool, bool, int, int]:
            return (
                subtask.id != self.subtask_id,
                not _open(subtask),
                subtask.id not in self.mine,
                subtask.priority or _LAST,
                subtask.order,
            )

        return sorted((s for id, s in self.story.subtasks.items() if all_roles or self._own(id, s)), key=rank)

    def _own(self, id: str, subtask: Subtask) -> bool:
        # The current one of nobody is the caller's.
        return id in self.mine or (id == self.subtask_id and not subtask.role)

    def plan_header(self) -> list[PlanHeader]:
        """Return the newest plan, and how many subtasks there are."""
        plans, subtasks = self.story.plans.values(), self.story.subtasks.values()
        if not plans and not subtasks:
            return []
        newest = max(plans, key=lambda plan: (plan.version, plan.order), default=None)
        return [PlanHeader(newest, len(subtasks), sum(not _open(subtask) for subtask in subtasks))]

    def milestones(self) -> list[Milestone]:
        """Return the milestones, the newest first."""
        return sorted(self.story.milestones.values(), key=lambda m: (m.at.rstrip("Z"), m.order), reverse=True)

    def last_summary(self) -> list[Summary]:
        """Return the role's own last summary, else the last of who is in no role."""
        summaries = self.story.summaries.values()
        found = [s for s in summaries if _is(s.role, self.role)] or [s for s in summaries if role_named(s.role) is None]
        return [max(found, key=lambda s: (s.at.rstrip("Z"), s.role))] if found else []


class _Edges(NamedTuple):
    """The links of a story without its deleted decisions: all, then by their ends."""

    links: list[Link]
    #: From a decision to those it is related to, and back.
    out: dict[str, list[str]]
    into: dict[str, list[str]]
    #: From a decision to the subtasks it affects, and back.
    affects: dict[str, list[str]]
    affecting: dict[str, list[str]]


_PRODUCERS: Final[dict[str, Callable[[_View], Iterable[Thing]]]] = {
    "CASE_HEADER": lambda view: [view.story],
    "PLAN_HEADER": _View.plan_header,
    "DECISIONS_GLOBAL": lambda view: [*view.guidance, *view.past],
    "DECISIONS_RELEVANT_ROLE": lambda view: [d for d in view.guidance if d.id in view.relevant],
    "DECISIONS_GLOBAL_MIN": lambda view: view.guidance,
    "DEPS_DECISIONS": _View.all_relations,
    "DEPS_RELEVANT": _View.relevant_relations,
    "SUBTASKS_ALL": lambda view: view.subtasks(all_roles=True),
    "SUBTASKS_ROLE": lambda view: view.subtasks(all_roles=False),
    "SUBTASKS_ALL_MIN": lambda view: view.subtasks(all_roles=True),
    "SUBTASKS_ROLE_MIN": lambda view: view.subtasks(all_roles=False),
    "MILESTONES": _View.milestones,
    "SUMMARY_LAST": _View.last_summary,
}
SCOPES: Final = tuple(_PRODUCERS)
"""All scopes. What is none of these cannot be granted."""


def _is(text: str, role: str) -> bool:
    return text == role or role_named(text) == role


def _open(subtask: Subtask) -> bool:
    return subtask.status not in TERMINAL_SUBTASK_STATUSES


def _reached(starts: Iterable[str], *ways: dict[str, list[str]]) -> dict[str, int]:
    """Return what can be reached from some ids, each with its distance; the ids themselves have 1."""
    found = dict.fromkeys(starts, 1)
    front = list(found)
    while front:
        news = []
        for id in front:
            for way in ways:
                for other in way.get(id, ()):
                    if other not in found:
                        found[other] = found[id] + 1
                        news.append(other)
        front = news
    return found
