"""The reasons of what a story states: the events behind it, and what a decision comes from and rests on."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from eventstore import AtVersion

from context_service.commands import Fault
from context_service.contexts import refused
from context_service.events.v1 import events_pb2
from context_service.past import Subject, checked_until, concerned, entry_of, facts, reference_to
from context_service.v1 import context_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from context_service.past import Fact
    from context_service.stories import Stories
    from context_service.story import Decision, Link, Story


async def events_behind(
    stories: Stories, story_id: str, version: int
) -> Mapping[tuple[str, str], tuple[pb.EventReference, ...]]:
    """Return, by entity type and id, the events up to a version that say what is stated of it, in their order.

    The story itself is a CASE by its own id, a summary is known by its role, and a link is a RELATION whose id is
    ``SOURCE KIND TARGET``. A link's events are also behind both its ends. Where there is no plan, what is said of one
    counts the subtasks: a PLAN without an id has their events.

    Raises:
        EventStoreError: the log cannot be read.
    """
    found: defaultdict[tuple[str, str], list[pb.EventReference]] = defaultdict(list)
    async for commit in stories.store.commits(stories.stream(story_id), until=AtVersion(version)):
        for event in commit.events:
            message = event.message
            reference = reference_to(event, message, stories.store.log_id)
            subjects = concerned(message, story_id)
            for subject in subjects:
                found[subject].append(reference)
            if subjects[0].entity_type == "SUBTASK":
                found["PLAN", ""].append(reference)
    return {subject: tuple(references) for subject, references in found.items()}


# What a decision rests on, by the kind of a relation: those it points to, or those that point to it. What it replaced
# is part of why it came to be; the replaced one does not rest on its successor.
_RESTS_ON: Final = {"DEPENDS_ON": True, "BLOCKS": False, "GOVERNS": False, "SUPERSEDES": True}
# What rests on a decision: the same turned round, without that.
_RESTING: Final = {"DEPENDS_ON": False, "BLOCKS": True, "GOVERNS": True}
# An association says what a decision was made in view of. What that in turn was made in view of says nothing of it.
_ASSOCIATION: Final = "RELATES_TO"
_STATUS_EVENTS: Final = (
    events_pb2.DecisionAddedEvent,
    events_pb2.DecisionStatusChangedEvent,
    events_pb2.DecisionDeletedEvent,
)
# As what an id that caused something is looked up, first match first.
_CAUSES: Final = ("SUBTASK", "DECISION", "PLAN", "MILESTONE", "CASE")


class Reached(NamedTuple):
    """A decision at the far end of relations."""

    id: str
    #: How many relations lie between.
    distance: int
    #: The last of them.
    link: Link


def rests_on(story: Story, decision_id: str) -> list[Reached]:
    """Return what a decision rests on, nearest first.

    That is what it depends on, what blocks it, what governs it and what it supersedes, and so on from there. What it
    relates to itself comes with the nearest.
    """
    associated = [link for link in story.links if link.kind == _ASSOCIATION and link.source == decision_id]
    return _reached(story, decision_id, _RESTS_ON, also=associated)


def resting_on(story: Story, decision_id: str) -> list[Reached]:
    """Return what rests on a decision, nearest first: what depends on it, what it blocks and governs, and so on."""
    return _reached(story, decision_id, _RESTING, also=())


def _reached(story: Story, start: str, kinds: Mapping[str, bool], *, also: Iterable[Link]) -> list[Reached]:
    steps: defaultdict[str, list[tuple[str, Link]]] = defaultdict(list)
    for link in story.links:
        if (forward := kinds.get(link.kind)) is not None:
            near, far = (link.source, link.target) if forward else (link.target, link.source)
            steps[near].append((far, link))
    found: dict[str, Reached] = {}
    level = [start]
    while level:
        distance = 1 + (found[level[0]].distance if level[0] in found else 0)
        # By kind and ids, so that equal stories give equal answers.
        onward = sorted((link, far) for near in level for far, link in steps[near])
        if distance == 1:
            onward += sorted((link, link.target) for link in also)
        level = []
        for link, far in onward:
            if far != start and far not in found:
                found[far] = Reached(far, distance, link)
                if link.kind != _ASSOCIATION:
                    level.append(far)
    return list(found.values())


async def explain(stories: Stories, request: pb.ExplainDecisionRequest) -> pb.ExplainDecisionResponse:
    """Return the events, causes and dependencies behind a decision.

    Raises:
        Refused: the moment is none or has not come, or there was no such story or decision.
        EventStoreError: the log cannot be read.
    """
    story_id, id = request.story_id, request.decision_id
    until = await checked_until(stories, story_id, "at", request.at) if request.HasField("at") else None
    folded = await stories.ask(story_id, until)
    story = folded.state
    if id not in story.decisions:
        raise refused(Fault.NOT_FOUND, "decision_id", f"the story has no decision {id!r}")
    recorded = _Recorded([fact async for fact in facts(stories, story_id, after=0, until=folded.version)])
    events = recorded.about(Subject("DECISION", id))
    return pb.ExplainDecisionResponse(
        decision=decision_message(story.decisions[id]),
        events=map(entry_of, events),
        causes=recorded.causes(events),
        dependencies=(_dependency(story, one, recorded) for one in rests_on(story, id)),
        dependents=(_dependency(story, one, recorded) for one in resting_on(story, id)),
        version=folded.version,
        position=str(folded.token),
    )


class _Recorded:
    """What was recorded of a story, by what it concerns."""

    def __init__(self, recorded: Iterable[Fact]) -> None:
        self._facts: defaultdict[Subject, list[Fact]] = defaultdict(list)
        self._subjects: set[Subject] = set()
        for fact in recorded:
            subjects = fact.concerned
            self._subjects.update(subjects[:1])
            for subject in subjects:
                self._facts[subject].append(fact)

    def about(self, subject: Subject) -> list[Fact]:
        """Return what concerns something."""
        return self._facts.get(subject, [])

    def causes(self, events: Iterable[Fact]) -> Iterator[pb.Cause]:
        """Yield what led to some events, each once."""
        for id in dict.fromkeys(fact.event.commit.metadata.causation_id for fact in events):
            if id:
                named = (Subject(kind, id) for kind in _CAUSES)
                cause = next((subject for subject in named if subject in self._subjects), Subject("COMMAND", id))
                entries = map(entry_of, self.about(cause))
                yield pb.Cause(entity_type=cause.entity_type, entity_id=id, events=entries)

    def behind(self, reached: Reached) -> list[pb.EventReference]:
        """Return the events that state a relation and the status of the decision at its far end."""
        link = reached.link
        stating = self.about(Subject("RELATION", link.id))
        changing = [fact for fact in self.about(Subject("DECISION", reached.id)) if _sets_status(fact)]
        places = {fact.place: fact for fact in (*stating, *changing[-1:])}
        return [
            reference_to(fact.event, fact.message, fact.log_id)
            for _, fact in sorted(places.items())
            if fact.message is not None
        ]


def _sets_status(fact: Fact) -> bool:
    return isinstance(fact.message, _STATUS_EVENTS)


def _dependency(story: Story, reached: Reached, recorded: _Recorded) -> pb.Dependency:
    decision, link = story.decisions.get(reached.id), reached.link
    return pb.Dependency(
        decision=pb.Decision(id=reached.id) if decision is None else decision_message(decision),
        distance=reached.distance,
        relation=pb.DecisionRelation(src_id=link.source, dst_id=link.target, relation_type=link.kind),
        events=recorded.behind(reached),
        missing=decision is None,
    )


def decision_message(decision: Decision) -> pb.Decision:
    """Return a decision as callers get it."""
    names = ("id", "title", "rationale", "status", "decided_by", "decided_at")
    return pb.Decision(**{name: getattr(decision, name) for name in names})
