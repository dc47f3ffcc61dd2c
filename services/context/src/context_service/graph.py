"""The decision graph over all stories: what the events of a batch make of its nodes and relations. Pure.

A node or relation holds from a position of the log on, up to another one when it ends. What has ended stays, apart from
what holds now. A relation is stated by somebody, and holds while somebody states it and both its ends are there: an end
that has not come yet, or is gone, makes it wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from context_service.events.v1 import events_pb2 as pb
from context_service.story import CATEGORY, iso, link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from eventstore import Commit
    from google.protobuf.message import Message

PROJECT: Final = "project"
EPIC: Final = "epic"

#: Each kind of node, and which property identifies it.
KINDS: Final = {
    "Case": "case_id",
    "PlanVersion": "plan_id",
    "Subtask": "sub_id",
    "Decision": "id",
    "Event": "id",
    "PhaseTransition": "id",
    "PlanApproval": "id",
    "TaskDispatch": "id",
    "Project": "project_id",
    "Epic": "epic_id",
}
#: Each type of relation, with the kinds of its ends.
TYPES: Final = {
    "HAS_EPIC": ("Project", "Epic"),
    "HAS_STORY": ("Epic", "Case"),
    "HAS_PLAN": ("Case", "PlanVersion"),
    "HAS_SUBTASK": ("PlanVersion", "Subtask"),
    "HAS_DECISION": ("Case", "Decision"),
    "CONTAINS_DECISION": ("PlanVersion", "Decision"),
    "REQUIRES": ("Subtask", "Subtask"),
    "AFFECTS": ("Decision", "Subtask"),
    "DEPENDS_ON": ("Decision", "Decision"),
    "GOVERNS": ("Decision", "Decision"),
    "SUPERSEDES": ("Decision", "Decision"),
    "RELATES_TO": ("Decision", "Decision"),
    "BLOCKS": ("Decision", "Decision"),
}


class NodeKey(NamedTuple):
    """Which node."""

    kind: str
    id: str


class EdgeKey(NamedTuple):
    """Which relation, by the ids of its ends; the type tells their kinds."""

    type: str
    source: str
    target: str

    @property
    def ends(self) -> tuple[NodeKey, NodeKey]:
        """The nodes it relates."""
        source, target = TYPES[self.type]
        return NodeKey(source, self.source), NodeKey(target, self.target)


class Node(msgspec.Struct, frozen=True):
    """A node's properties, and since which position it has them."""

    properties: dict[str, Any]
    since: int


class Edge(msgspec.Struct, frozen=True):
    """Who states a relation, sorted, and since which position it holds; 0 while it waits for an end."""

    stated_by: tuple[str, ...]
    since: int


class Past(msgspec.Struct, frozen=True):
    """Properties that a node had, or a relation that held, from a position up to before another one."""

    key: NodeKey | EdgeKey
    properties: dict[str, Any]
    since: int
    until: int


class Known(msgspec.Struct):
    """What a view has of what a batch may touch."""

    nodes: dict[NodeKey, Node]
    edges: dict[EdgeKey, Edge]


class Changed(msgspec.Struct):
    """What a batch makes of it: None for what is there no more."""

    nodes: dict[NodeKey, Node | None]
    edges: dict[EdgeKey, Edge | None]
    past: list[Past]


class Touched(msgspec.Struct):
    """What a view must tell before a batch can be applied."""

    nodes: set[NodeKey]
    edges: set[EdgeKey]
    #: Nodes that come or go: all their relations.
    around: set[NodeKey]


class _Step(msgspec.Struct, frozen=True):
    """What one event does."""

    #: A node gets these properties; None lets it go.
    node: NodeKey | None = None
    properties: dict[str, Any] | None = None
    #: Only a node that is there is changed; otherwise one that is not there comes.
    change: bool = False
    #: The story whose node it must be.
    home: str = ""
    #: Relations that are stated, or not any more.
    stated: tuple[EdgeKey, ...] = ()
    taken_back: tuple[EdgeKey, ...] = ()
    #: Who says so.
    by: str = ""
    #: Of this type, this end of a relation has these relations only.
    only: tuple[str, NodeKey] | None = None
    #: A decision goes into the newest plan of its case; a case whose newest plan this was has none.
    decision_of: NodeKey | None = None
    no_plan_of: NodeKey | None = None


def touched(commits: Sequence[Commit]) -> Touched:
    """Return what must be known to apply commits."""
    found = Touched(set(), set(), set())
    for step, _ in _steps(commits):
        if step.node is not None:
            found.nodes.add(step.node)
            if not step.change:
                found.around.add(step.node)
        for edge in (*step.stated, *step.taken_back):
            found.edges.add(edge)
            found.nodes.update(edge.ends)
        if step.only is not None:
            found.around.add(step.only[1])
        found.nodes.update(case for case in (step.decision_of, step.no_plan_of) if case is not None)
    return found


def further(known: Known) -> set[NodeKey]:
    """Return the nodes that must be known besides, on which it depends whether a relation holds.

    These are the other ends of the relations found around a node, and the newest plan of each case.
    """
    ends = {end for edge in known.edges for end in edge.ends}
    plans = {node.properties.get("plan_id", "") for key, node in known.nodes.items() if key.kind == "Case"}
    return (ends | {NodeKey("PlanVersion", plan) for plan in plans if plan}) - known.nodes.keys()


def apply(known: Known, commits: Sequence[Commit]) -> Changed:
    """Return what commits change, given what is known of all that they touch."""
    drawing = _Drawing(known)
    for step, position in _steps(commits):
        drawing.draw(step, position)
    return drawing.changed


class _Drawing:
    """What is known, changed step by step."""

    def __init__(self, known: Known) -> None:
        self._nodes: dict[NodeKey, Node | None] = dict(known.nodes)
        self._edges: dict[EdgeKey, Edge | None] = dict(known.edges)
        self._around: dict[NodeKey, set[EdgeKey]] = {}
        for edge in known.edges:
            self._join(edge)
        self.changed = Changed({}, {}, [])

    def draw(self, step: _Step, position: int) -> None:
        """Do what one event says."""
        if step.node is not None:
            node = self._nodes.get(step.node)
            if step.properties is None:
                self._end(step.node, node, step, position)
            elif node is not None:
                self._change(step.node, node, step, position)
            elif not step.change:
                self._set(step.node, Node(step.properties, position))
                self._settle_around(step.node, position)
        for edge in (*step.taken_back, *self._others(step)):
            self._restate(edge, position, without=step.by)
        for edge in step.stated:
            self._restate(edge, position, by=step.by)
        if step.node is not None and step.decision_of is not None:
            self._contain(step.node, step.decision_of, position)
        if step.node is not None and step.no_plan_of is not None:
            self._forget_plan(step.node, step.no_plan_of, position)

    def _contain(self, decision: NodeKey, case: NodeKey, position: int) -> None:
        """Relate a decision to the newest plan of its case."""
        known = self._nodes.get(case)
        plan = known.properties.get("plan_id", "") if known is not None else ""
        if plan:
            self._restate(EdgeKey("CONTAINS_DECISION", plan, decision.id), position, by="")

    def _forget_plan(self, plan: NodeKey, case: NodeKey, position: int) -> None:
        known = self._nodes.get(case)
        if known is not None and known.properties.get("plan_id") == plan.id:
            self._change(case, known, _changes(case, plan_id=""), position)

    def _others(self, step: _Step) -> list[EdgeKey]:
        """Return the relations that are not among the only ones there are to be."""
        if step.only is None:
            return []
        type, end = step.only
        return sorted(
            key
            for key in self._around.get(end, ())
            if key.type == type and key not in step.stated and (edge := self._edges[key]) and step.by in edge.stated_by
        )

    def _change(self, key: NodeKey, node: Node, step: _Step, position: int) -> None:
        given = step.properties or {}
        if self._of_another(node, step):
            # The first story keeps what two use one id for, and the view says so.
            claims = sorted({*node.properties.get("also_claimed_by", ()), step.home})
            given = {} if step.change else {"also_claimed_by": claims}
        properties = {**node.properties, **given}
        if properties != node.properties:
            self._keep_past(key, node.properties, node.since, position)
            self._set(key, Node(properties, position))

    @staticmethod
    def _of_another(node: Node, step: _Step) -> bool:
        return bool(step.home) and node.properties.get("case_id", step.home) != step.home

    def _end(self, key: NodeKey, node: Node | None, step: _Step, position: int) -> None:
        if node is not None and not self._of_another(node, step):
            self._keep_past(key, node.properties, node.since, position)
            self._set(key, None)
            self._settle_around(key, position)

    def _restate(self, key: EdgeKey, position: int, *, by: str | None = None, without: str | None = None) -> None:
        edge = self._edges.get(key)
        before = () if edge is None else edge.stated_by
        stated_by = tuple(sorted({*before, *([] if by is None else [by])} - {without}))
        if stated_by != before:
            self._edges[key] = Edge(stated_by, 0 if edge is None else edge.since)
            self._join(key)
            self._settle(key, position)

    def _settle_around(self, key: NodeKey, position: int) -> None:
        for edge in sorted(self._around.get(key, ())):
            self._settle(edge, position)

    def _settle(self, key: EdgeKey, position: int) -> None:
        """Let a relation hold, wait or end, as its ends and those who state it have it."""
        edge = self._edges.get(key)
        if edge is None:
            return
        holds = bool(edge.stated_by) and all(self._nodes.get(end) is not None for end in key.ends)
        settled: Edge | None = edge
        if edge.since and not holds:
            self._keep_past(key, {}, edge.since, position)
            settled = Edge(edge.stated_by, 0)
        elif holds and not edge.since:
            settled = Edge(edge.stated_by, position)
        if not edge.stated_by:
            settled = None
        self._edges[key] = self.changed.edges[key] = settled

    def _set(self, key: NodeKey, node: Node | None) -> None:
        self._nodes[key] = self.changed.nodes[key] = node

    def _keep_past(self, key: NodeKey | EdgeKey, properties: dict[str, Any], since: int, until: int) -> None:
        # What came and went within one commit was never seen.
        if since < until:
            self.changed.past.append(Past(key, properties, since, until))

    def _join(self, edge: EdgeKey) -> None:
        for end in edge.ends:
            self._around.setdefault(end, set()).add(edge)


# ------------------------------------------------------------------------------------------------- what events mean


def _steps(commits: Iterable[Commit]) -> Iterator[tuple[_Step, int]]:
    for commit in commits:
        meanings = _MEANINGS.get(commit.stream.category)
        for event in commit.events if meanings else ():
            message = event.message
            meaning = meanings.get(type(message)) if meanings else None
            if meaning is not None:
                for step in meaning(commit.stream.id, event.version, message):
                    yield step, commit.position


def _node(key: NodeKey, **properties: Any) -> _Step:
    return _Step(key, {KINDS[key.kind]: key.id, **properties}, home=properties.get("case_id", ""))


def _changes(key: NodeKey, home: str = "", **properties: Any) -> _Step:
    return _Step(key, properties, change=True, home=home)


def _gone(key: NodeKey, home: str) -> _Step:
    return _Step(key, None, home=home, no_plan_of=NodeKey("Case", home) if key.kind == "PlanVersion" else None)


def _edge(type: str, source: str, target: str) -> _Step:
    return _Step(stated=(EdgeKey(type, source, target),))


def _moved(type: str, source: str, target: str) -> _Step:
    """Return what relates a node to one other, instead of to the one before."""
    key = EdgeKey(type, source, target)
    return _Step(stated=(key,) if source else (), only=(type, key.ends[1]))


def _said(story: str, by: str) -> str:
    """Return who states something: the same name in two stories is two."""
    return f"{story}\x1f{by}"  # ids have no control characters


def _needs(subtask: str, others: Iterable[str]) -> _Step:
    keys = tuple(EdgeKey("REQUIRES", subtask, other) for other in others)
    return _Step(stated=keys, by=subtask, only=("REQUIRES", NodeKey("Subtask", subtask)))


def _present(event: Any, **names: str) -> dict[str, Any]:
    """Return the fields of an event that are there, under the names of properties."""
    return {name: getattr(event, field) for field, name in names.items() if event.HasField(field)}


def _millis(event: Message, field: str) -> int:
    return int(getattr(event, field).ToMilliseconds()) if event.HasField(field) else 0


def _case(story: str, version: int, event: pb.ContextCreatedEvent) -> list[_Step]:
    steps = [
        _node(
            NodeKey("Case", story),
            title=event.title,
            description=event.description,
            status="DRAFT",
            current_phase=event.phase,
            created_at=iso(event, "created_at"),
        )
    ]
    return [*steps, _moved("HAS_STORY", event.epic_id, story)] if event.epic_id else steps


def _case_changed(story: str, version: int, event: pb.StoryChangedEvent) -> list[_Step]:
    return [
        _changes(NodeKey("Case", story), **_present(event, title="title", description="description", status="status"))
    ]


def _placed(story: str, version: int, event: pb.StoryPlacedInEpicEvent) -> list[_Step]:
    return [_moved("HAS_STORY", event.epic_id, story)]


def _transition(story: str, version: int, event: pb.PhaseTransitionedEvent) -> list[_Step]:
    return [
        _changes(NodeKey("Case", story), current_phase=event.to_phase),
        _node(
            NodeKey("PhaseTransition", f"{story}@{version}"),
            story_id=story,
            from_phase=event.from_phase,
            to_phase=event.to_phase,
            timestamp=iso(event, "at"),
        ),
    ]


def _plan(story: str, version: int, event: pb.PlanVersionAddedEvent) -> list[_Step]:
    return [
        _node(
            NodeKey("PlanVersion", event.plan_id),
            case_id=story,
            version=event.version,
            status="DRAFT",
            author_id=event.author,
            rationale=event.rationale,
            created_at_ms=_millis(event, "created_at"),
        ),
        _edge("HAS_PLAN", story, event.plan_id),
        _changes(NodeKey("Case", story), plan_id=event.plan_id),
    ]


def _plan_changed(story: str, version: int, event: pb.PlanVersionChangedEvent) -> list[_Step]:
    given = _present(event, version="version", author="author_id", rationale="rationale")
    return [_changes(NodeKey("PlanVersion", event.plan_id), story, **given)]


def _plan_approved(story: str, version: int, event: pb.PlanApprovedEvent) -> list[_Step]:
    return [
        _changes(NodeKey("PlanVersion", event.plan_id), story, status="APPROVED"),
        _node(
            NodeKey("PlanApproval", f"{story}@{version}"),
            plan_id=event.plan_id,
            story_id=story,
            approved_by=event.approved_by,
            timestamp=iso(event, "at"),
        ),
    ]


def _plan_removed(story: str, version: int, event: pb.PlanVersionRemovedEvent) -> list[_Step]:
    return [_gone(NodeKey("PlanVersion", event.plan_id), story)]


def _subtask(story: str, version: int, event: pb.SubtaskAddedEvent) -> list[_Step]:
    id = event.subtask_id
    step = _node(
        NodeKey("Subtask", id),
        case_id=story,
        plan_id=event.plan_id,
        title=event.title,
        description=event.description,
        type=event.type,
        role=event.role,
        status=event.status,
        priority=event.priority,
        assignee=event.assignee,
    )
    return [step, _needs(id, event.depends_on), _moved("HAS_SUBTASK", event.plan_id, id)]


def _subtask_changed(story: str, version: int, event: pb.SubtaskUpdatedEvent) -> list[_Step]:
    fields = ("plan_id", "title", "description", "type", "role", "status", "priority", "assignee")
    id = event.subtask_id
    steps = [_changes(NodeKey("Subtask", id), story, **_present(event, **{field: field for field in fields}))]
    if event.HasField("plan_id"):
        steps.append(_moved("HAS_SUBTASK", event.plan_id, id))
    if event.HasField("depends_on"):
        steps.append(_needs(id, event.depends_on.values))
    return steps


def _subtask_removed(story: str, version: int, event: pb.SubtaskRemovedEvent) -> list[_Step]:
    return [_gone(NodeKey("Subtask", event.subtask_id), story)]


def _dispatched(story: str, version: int, event: pb.TaskDispatchedEvent) -> list[_Step]:
    return [
        _node(
            NodeKey("TaskDispatch", f"{story}@{version}"),
            story_id=story,
            task_id=event.subtask_id,
            agent_id=event.agent_id,
            role=event.role,
            timestamp=iso(event, "at"),
        )
    ]


def _decision(story: str, version: int, event: pb.DecisionAddedEvent) -> list[_Step]:
    return [
        _node(
            NodeKey("Decision", event.decision_id),
            case_id=story,
            title=event.title,
            rationale=event.rationale,
            status=pb.DecisionStatus.Name(event.status),
            kind=event.kind,
            author_id=event.decided_by,
            created_at_ms=_millis(event, "decided_at"),
        ),
        _edge("HAS_DECISION", story, event.decision_id),
        _Step(NodeKey("Decision", event.decision_id), {}, change=True, decision_of=NodeKey("Case", story)),
    ]


def _decision_changed(story: str, version: int, event: pb.DecisionChangedEvent) -> list[_Step]:
    given = _present(event, title="title", rationale="rationale", kind="kind", decided_by="author_id")
    if event.HasField("decided_at"):
        given["created_at_ms"] = _millis(event, "decided_at")
    return [_changes(NodeKey("Decision", event.decision_id), story, **given)]


def _decision_status(story: str, version: int, event: pb.DecisionStatusChangedEvent) -> list[_Step]:
    return [_changes(NodeKey("Decision", event.decision_id), story, status=pb.DecisionStatus.Name(event.status))]


def _decision_deleted(story: str, version: int, event: pb.DecisionDeletedEvent) -> list[_Step]:
    return [_gone(NodeKey("Decision", event.decision_id), story)]


def _linked(story: str, version: int, event: pb.DecisionLinkedEvent) -> list[_Step]:
    link = link_of(event)
    return [_Step(stated=(EdgeKey(link.kind, link.source, link.target),), by=_said(story, event.stated_by))]


def _unlinked(story: str, version: int, event: pb.DecisionUnlinkedEvent) -> list[_Step]:
    link = link_of(event)
    return [_Step(taken_back=(EdgeKey(link.kind, link.source, link.target),), by=_said(story, event.stated_by))]


def _milestone(story: str, version: int, event: pb.MilestoneReachedEvent) -> list[_Step]:
    return [
        _node(
            NodeKey("Event", event.milestone_id),
            case_id=story,
            event_type=event.event_type,
            description=event.description,
            timestamp_ms=_millis(event, "at"),
        )
    ]


def _milestone_removed(story: str, version: int, event: pb.MilestoneRemovedEvent) -> list[_Step]:
    return [_gone(NodeKey("Event", event.milestone_id), story)]


def _project(id: str, version: int, event: pb.ProjectCreatedEvent) -> list[_Step]:
    return [_node(NodeKey("Project", id), name=event.name, description=event.description, status=event.status)]


def _project_changed(id: str, version: int, event: pb.ProjectChangedEvent) -> list[_Step]:
    return [
        _changes(NodeKey("Project", id), **_present(event, name="name", description="description", status="status"))
    ]


def _epic(id: str, version: int, event: pb.EpicCreatedEvent) -> list[_Step]:
    step = _node(NodeKey("Epic", id), title=event.title, description=event.description, status=event.status)
    return [step, *([_edge("HAS_EPIC", event.project_id, id)] if event.project_id else [])]


def _epic_changed(id: str, version: int, event: pb.EpicChangedEvent) -> list[_Step]:
    return [_changes(NodeKey("Epic", id), **_present(event, title="title", description="description", status="status"))]


_MEANINGS: Final[dict[str, dict[type[Message], Callable[[str, int, Any], list[_Step]]]]] = {
    CATEGORY: {
        pb.ContextCreatedEvent: _case,
        pb.StoryChangedEvent: _case_changed,
        pb.StoryPlacedInEpicEvent: _placed,
        pb.PhaseTransitionedEvent: _transition,
        pb.PlanVersionAddedEvent: _plan,
        pb.PlanVersionChangedEvent: _plan_changed,
        pb.PlanApprovedEvent: _plan_approved,
        pb.PlanVersionRemovedEvent: _plan_removed,
        pb.SubtaskAddedEvent: _subtask,
        pb.SubtaskUpdatedEvent: _subtask_changed,
        pb.SubtaskRemovedEvent: _subtask_removed,
        pb.TaskDispatchedEvent: _dispatched,
        pb.DecisionAddedEvent: _decision,
        pb.DecisionChangedEvent: _decision_changed,
        pb.DecisionStatusChangedEvent: _decision_status,
        pb.DecisionDeletedEvent: _decision_deleted,
        pb.DecisionLinkedEvent: _linked,
        pb.DecisionUnlinkedEvent: _unlinked,
        pb.MilestoneReachedEvent: _milestone,
        pb.MilestoneRemovedEvent: _milestone_removed,
    },
    PROJECT: {pb.ProjectCreatedEvent: _project, pb.ProjectChangedEvent: _project_changed},
    EPIC: {pb.EpicCreatedEvent: _epic, pb.EpicChangedEvent: _epic_changed},
}
