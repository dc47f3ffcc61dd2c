"""The state of a story, folded from its events. Everything here is pure; nothing here refuses an event."""

from __future__ import annotations

import hashlib
import json
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import msgspec
from immutables import Map

from context_service.events.v1 import events_pb2 as pb
from context_service.words import STATUS_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

CATEGORY: Final = "story"

# What a story is made of holds texts and numbers, never itself: there is nothing for the garbage collector to find in
# it, which would look through tens of thousands of these after each story that is loaded.


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Something decided, or proposed."""

    id: str
    #: Counts the things of a story in the order in which they came.
    order: int
    title: str
    rationale: str
    #: One of the states of a decision.
    status: str
    #: The status in its source's words, where they are others.
    status_text: str
    kind: str
    decided_by: str
    #: ISO 8601.
    decided_at: str
    alternatives: tuple[str, ...]
    attributes: dict[str, str]
    #: The subtask it was made for, where its writer named one.
    task_id: str = ""


class Subtask(msgspec.Struct, frozen=True, gc=False):
    """A piece of work."""

    id: str
    order: int
    plan_id: str
    title: str
    description: str
    type: str
    role: str
    status: str
    depends_on: tuple[str, ...]
    priority: int
    estimate: float
    assignee: str
    attributes: dict[str, str]


class Plan(msgspec.Struct, frozen=True, gc=False):
    """A version of a story's plan."""

    id: str
    order: int
    version: int
    status: str
    author: str
    rationale: str
    created_at: str
    approved_by: str
    approved_at: str
    attributes: dict[str, str]


class Milestone(msgspec.Struct, frozen=True, gc=False):
    """Something that happened on the way."""

    id: str
    order: int
    event_type: str
    description: str
    actor: str
    at: str
    attributes: dict[str, str]


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of phase."""

    from_phase: str
    to_phase: str
    rationale: str
    at: str


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """A subtask handed to an agent."""

    subtask_id: str
    agent_id: str
    role: str
    at: str


class Summary(msgspec.Struct, frozen=True, gc=False):
    """The last summary of a role's session."""

    role: str
    text: str
    at: str
    attributes: dict[str, str]


class Link(msgspec.Struct, frozen=True, order=True, gc=False):
    """A link from a decision to another one, or with AFFECTS to a subtask."""

    source: str
    kind: str
    target: str

    @property
    def id(self) -> str:
        """What names it among all links of a story: its parts, those with a space in quotes, as JSON has them."""
        return f"{_quoted(self.source)} {self.kind} {_quoted(self.target)}"


def _quoted(id: str) -> str:
    return json.dumps(id, ensure_ascii=False) if " " in id or id.startswith('"') else id


class Story(msgspec.Struct, frozen=True):
    """Everything known of a story at a version. Its maps are persistent: a new state shares them with the old."""

    exists: bool = False
    title: str = ""
    description: str = ""
    status: str = ""
    phase: str = ""
    epic_id: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    constraints: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    created_by: str = ""
    created_at: str = ""
    attributes: dict[str, str] = {}
    #: How many things have come so far; the next one's ``order``.
    things: int = 0
    plans: Map[str, Plan] = Map()
    subtasks: Map[str, Subtask] = Map()
    decisions: Map[str, Decision] = Map()
    #: Who states each link, sorted. A link that nobody states any more is gone.
    links: Map[Link, tuple[str, ...]] = Map()
    milestones: Map[str, Milestone] = Map()
    summaries: Map[str, Summary] = Map()
    transitions: tuple[Transition, ...] = ()
    dispatches: tuple[Dispatch, ...] = ()


EMPTY: Final = Story()


def evolve(story: Story, event: Message) -> Story:
    """Return the story after an event. Events of other entities leave it as it was."""
    step = _STEPS.get(type(event))
    return story if step is None else step(story, event)


def _created(story: Story, event: pb.ContextCreatedEvent) -> Story:
    return msgspec.structs.replace(
        story,
        exists=True,
        title=event.title,
        description=event.description,
        status="DRAFT",
        phase=event.phase,
        epic_id=event.epic_id,
        acceptance_criteria=tuple(event.acceptance_criteria),
        constraints=dict(event.constraints),
        tags=tuple(event.tags),
        created_by=event.created_by,
        created_at=iso(event, "created_at"),
        attributes=dict(event.attributes),
    )


def _story_changed(story: Story, event: pb.StoryChangedEvent) -> Story:
    changed = _present(event, "title", "description", "status")
    if event.HasField("acceptance_criteria"):
        changed["acceptance_criteria"] = tuple(event.acceptance_criteria.values)
    if event.HasField("constraints"):
        changed["constraints"] = dict(event.constraints.values)
    if event.HasField("tags"):
        changed["tags"] = tuple(event.tags.values)
    return msgspec.structs.replace(story, **changed, attributes=story.attributes | dict(event.attributes))


def _placed(story: Story, event: pb.StoryPlacedInEpicEvent) -> Story:
    return msgspec.structs.replace(story, epic_id=event.epic_id)


def _transitioned(story: Story, event: pb.PhaseTransitionedEvent) -> Story:
    transition = Transition(event.from_phase, event.to_phase, event.rationale, iso(event, "at"))
    return msgspec.structs.replace(story, phase=event.to_phase, transitions=(*story.transitions, transition))


def _plan_added(story: Story, event: pb.PlanVersionAddedEvent) -> Story:
    plan = Plan(
        event.plan_id,
        story.things,
        event.version,
        "DRAFT",
        event.author,
        event.rationale,
        iso(event, "created_at"),
        "",
        "",
        dict(event.attributes),
    )
    return _added(story, "plans", plan)


def _plan_changed(story: Story, event: pb.PlanVersionChangedEvent) -> Story:
    return _changed(story, "plans", event.plan_id, event, **_present(event, "version", "author", "rationale"))


def _plan_approved(story: Story, event: pb.PlanApprovedEvent) -> Story:
    return _changed(
        story,
        "plans",
        event.plan_id,
        None,
        status="APPROVED",
        approved_by=event.approved_by,
        approved_at=iso(event, "at"),
    )


def _plan_removed(story: Story, event: pb.PlanVersionRemovedEvent) -> Story:
    return _removed(story, "plans", event.plan_id)


def _subtask_added(story: Story, event: pb.SubtaskAddedEvent) -> Story:
    subtask = Subtask(
        event.subtask_id,
        story.things,
        event.plan_id,
        event.title,
        event.description,
        event.type,
        event.role,
        event.status,
        tuple(event.depends_on),
        event.priority,
        event.estimate,
        event.assignee,
        dict(event.attributes),
    )
    return _added(story, "subtasks", subtask)


def _subtask_updated(story: Story, event: pb.SubtaskUpdatedEvent) -> Story:
    changed = _present(
        event, "plan_id", "title", "description", "type", "role", "status", "priority", "estimate", "assignee"
    )
    if event.HasField("depends_on"):
        changed["depends_on"] = tuple(event.depends_on.values)
    if event.HasField("status") and (subtask := story.subtasks.get(event.subtask_id)) is not None:
        # A status that is understood takes away the word for one that was not.
        changed["attributes"] = {key: value for key, value in subtask.attributes.items() if key != STATUS_TEXT}
    return _changed(story, "subtasks", event.subtask_id, event, **changed)


def _subtask_removed(story: Story, event: pb.SubtaskRemovedEvent) -> Story:
    return _removed(story, "subtasks", event.subtask_id)


def _dispatched(story: Story, event: pb.TaskDispatchedEvent) -> Story:
    dispatch = Dispatch(event.subtask_id, event.agent_id, event.role, iso(event, "at"))
    return msgspec.structs.replace(story, dispatches=(*story.dispatches, dispatch))


def _decision_added(story: Story, event: pb.DecisionAddedEvent) -> Story:
    decision = Decision(
        event.decision_id,
        story.things,
        event.title,
        event.rationale,
        _DECISION_STATUS[event.status],
        event.status_text,
        event.kind,
        event.decided_by,
        iso(event, "decided_at"),
        tuple(event.alternatives),
        dict(event.attributes),
        event.task_id,
    )
    return _added(story, "decisions", decision)


def _decision_changed(story: Story, event: pb.DecisionChangedEvent) -> Story:
    changed = _present(event, "title", "rationale", "kind", "decided_by")
    if event.HasField("decided_at"):
        changed["decided_at"] = iso(event, "decided_at")
    if event.HasField("alternatives"):
        changed["alternatives"] = tuple(event.alternatives.values)
    story = _changed(story, "decisions", event.decision_id, event, **changed)
    if not event.removed_attributes or event.decision_id not in story.decisions:
        return story
    kept = dict(story.decisions[event.decision_id].attributes)
    for key in event.removed_attributes:
        kept.pop(key, None)
    return _changed(story, "decisions", event.decision_id, None, attributes=kept)


def _decision_status_changed(story: Story, event: pb.DecisionStatusChangedEvent) -> Story:
    return _changed(
        story,
        "decisions",
        event.decision_id,
        None,
        status=_DECISION_STATUS[event.status],
        status_text=event.status_text,
    )


def _decision_deleted(story: Story, event: pb.DecisionDeletedEvent) -> Story:
    return _changed(story, "decisions", event.decision_id, None, status="DELETED", status_text="")


def _linked(story: Story, event: pb.DecisionLinkedEvent) -> Story:
    link = link_of(event)
    stated = story.links.get(link, ())
    if event.stated_by in stated:
        return story
    return msgspec.structs.replace(story, links=story.links.set(link, tuple(sorted((*stated, event.stated_by)))))


def _unlinked(story: Story, event: pb.DecisionUnlinkedEvent) -> Story:
    link = link_of(event)
    if link not in story.links:
        return story
    stated = tuple(by for by in story.links[link] if by != event.stated_by)
    return msgspec.structs.replace(story, links=story.links.set(link, stated) if stated else story.links.delete(link))


def _milestone_reached(story: Story, event: pb.MilestoneReachedEvent) -> Story:
    known = story.milestones.get(event.milestone_id)
    milestone = Milestone(
        event.milestone_id,
        known.order if known else story.things,
        event.event_type,
        event.description,
        event.actor,
        iso(event, "at"),
        dict(event.attributes),
    )
    return _added(story, "milestones", milestone)


def _milestone_removed(story: Story, event: pb.MilestoneRemovedEvent) -> Story:
    return _removed(story, "milestones", event.milestone_id)


def _summarised(story: Story, event: pb.SummaryRecordedEvent) -> Story:
    summary = Summary(event.role, event.text, iso(event, "at"), dict(event.attributes))
    return msgspec.structs.replace(story, summaries=story.summaries.set(event.role, summary))


_STEPS: Final[dict[type[Message], Callable[[Story, Any], Story]]] = {
    pb.ContextCreatedEvent: _created,
    pb.StoryChangedEvent: _story_changed,
    pb.StoryPlacedInEpicEvent: _placed,
    pb.PhaseTransitionedEvent: _transitioned,
    pb.PlanVersionAddedEvent: _plan_added,
    pb.PlanVersionChangedEvent: _plan_changed,
    pb.PlanApprovedEvent: _plan_approved,
    pb.PlanVersionRemovedEvent: _plan_removed,
    pb.SubtaskAddedEvent: _subtask_added,
    pb.SubtaskUpdatedEvent: _subtask_updated,
    pb.SubtaskRemovedEvent: _subtask_removed,
    pb.TaskDispatchedEvent: _dispatched,
    pb.DecisionAddedEvent: _decision_added,
    pb.DecisionChangedEvent: _decision_changed,
    pb.DecisionStatusChangedEvent: _decision_status_changed,
    pb.DecisionDeletedEvent: _decision_deleted,
    pb.DecisionLinkedEvent: _linked,
    pb.DecisionUnlinkedEvent: _unlinked,
    pb.MilestoneReachedEvent: _milestone_reached,
    pb.MilestoneRemovedEvent: _milestone_removed,
    pb.SummaryRecordedEvent: _summarised,
}

_DECISION_STATUS: Final = {value: name for name, value in pb.DecisionStatus.items()}
_LINK_KIND: Final = {value: name for name, value in pb.LinkKind.items()}


def link_of(event: pb.DecisionLinkedEvent | pb.DecisionUnlinkedEvent) -> Link:
    """Return the link an event states or takes back."""
    return Link(event.source_id, _LINK_KIND[event.kind], event.target_id)


def iso(event: Message, field: str) -> str:
    """Return a time of an event as ISO 8601 in UTC; empty for one that was not set."""
    moment: Timestamp = getattr(event, field)
    return moment.ToJsonString() if event.HasField(field) else ""


def _present(event: Message, *fields: str) -> dict[str, Any]:
    """Return the optional fields of an event that are there."""
    return {field: getattr(event, field) for field in fields if event.HasField(field)}


def _added(story: Story, kind: str, thing: Any) -> Story:
    things = getattr(story, kind).set(thing.id, thing)
    return msgspec.structs.replace(story, **{kind: things, "things": story.things + 1})


def _changed(story: Story, kind: str, id: str, event: Any, /, **changed: Any) -> Story:
    """Change a thing's fields, and add an event's attributes to its own. A thing that is not there is left alone."""
    things = getattr(story, kind)
    thing = things.get(id)
    if thing is None:
        return story
    if event is not None and event.attributes:
        changed["attributes"] = changed.get("attributes", thing.attributes) | dict(event.attributes)
    return msgspec.structs.replace(story, **{kind: things.set(id, msgspec.structs.replace(thing, **changed))})


def _removed(story: Story, kind: str, id: str) -> Story:
    things = getattr(story, kind)
    return msgspec.structs.replace(story, **{kind: things.delete(id)}) if id in things else story


#: Changes whenever ``dump`` or the meaning of the state does.
FORMAT: Final = "story-3"


def _encode_map(value: Any) -> Any:
    if isinstance(value, Map):
        return sorted(value.items(), key=lambda item: item[0])
    raise TypeError(f"cannot dump a {type(value).__name__}")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_encode_map, order="deterministic")
_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(Story)}
_MAPS: Final = {name: get_args(kind) for name, kind in _FIELDS.items() if get_origin(kind) is Map}
# A story as it is dumped, each map a list of pairs. Read as such, everything in it has its type at once.
_DECODER: Final = msgspec.msgpack.Decoder(
    msgspec.defstruct(
        "Dumped",
        [
            (name, GenericAlias(list, GenericAlias(tuple, _MAPS[name])) if name in _MAPS else kind)
            for name, kind in _FIELDS.items()
        ],
    )
)


def dump(story: Story) -> bytes:
    """Return a story as bytes, the same for equal stories."""
    return _ENCODER.encode(story)


def load(data: bytes) -> Story:
    """Return the story that was dumped."""
    dumped = msgspec.structs.asdict(_DECODER.decode(data))
    return Story(**dumped | {name: Map(dumped[name]) for name in _MAPS})


def content_hash(story: Story) -> str:
    """Return a hash over all of a story's content: SHA-256 of ``dump``, as hexadecimal text."""
    return hashlib.sha256(dump(story)).hexdigest()
