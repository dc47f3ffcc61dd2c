"""A story's past: what each event was about and made different, and what differs between two moments."""

from __future__ import annotations

import base64
import binascii
import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from eventstore import AtPosition, AtVersion, Position, Token, Undecodable, Version
from google.protobuf.json_format import MessageToDict

from context_service.commands import Fault
from context_service.contexts import checked_moment, checked_position, refused
from context_service.events.v1 import events_pb2
from context_service.stories import clock_named
from context_service.story import EMPTY, Decision, Story, evolve, link_of
from context_service.v1 import context_pb2 as pb
from context_service.words import id_problem, role_named

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from eventstore import Event, Until
    from google.protobuf.message import Message
    from immutables import Map

    from context_service.stories import Stories

# What events are about ----------------------------------------------------------------------------------------------


class Subject(NamedTuple):
    """Something of a story, by the words of the interface."""

    entity_type: str
    entity_id: str


# The kind of each event's subject, and the field that has its id. Where none has, it is the stream's own id, except for
# links, whose id is made of three fields.
_SUBJECTS: Final[dict[type[Message], tuple[str, str]]] = {
    events_pb2.ContextCreatedEvent: ("CASE", ""),
    events_pb2.StoryChangedEvent: ("CASE", ""),
    events_pb2.StoryPlacedInEpicEvent: ("CASE", ""),
    events_pb2.PhaseTransitionedEvent: ("CASE", ""),
    events_pb2.PlanVersionAddedEvent: ("PLAN", "plan_id"),
    events_pb2.PlanVersionChangedEvent: ("PLAN", "plan_id"),
    events_pb2.PlanApprovedEvent: ("PLAN", "plan_id"),
    events_pb2.PlanVersionRemovedEvent: ("PLAN", "plan_id"),
    events_pb2.SubtaskAddedEvent: ("SUBTASK", "subtask_id"),
    events_pb2.SubtaskUpdatedEvent: ("SUBTASK", "subtask_id"),
    events_pb2.SubtaskRemovedEvent: ("SUBTASK", "subtask_id"),
    events_pb2.TaskDispatchedEvent: ("SUBTASK", "subtask_id"),
    events_pb2.DecisionAddedEvent: ("DECISION", "decision_id"),
    events_pb2.DecisionChangedEvent: ("DECISION", "decision_id"),
    events_pb2.DecisionStatusChangedEvent: ("DECISION", "decision_id"),
    events_pb2.DecisionDeletedEvent: ("DECISION", "decision_id"),
    events_pb2.DecisionLinkedEvent: ("RELATION", ""),
    events_pb2.DecisionUnlinkedEvent: ("RELATION", ""),
    events_pb2.MilestoneReachedEvent: ("MILESTONE", "milestone_id"),
    events_pb2.MilestoneRemovedEvent: ("MILESTONE", "milestone_id"),
    events_pb2.SummaryRecordedEvent: ("SUMMARY", "role"),
    events_pb2.ProjectCreatedEvent: ("PROJECT", ""),
    events_pb2.ProjectChangedEvent: ("PROJECT", ""),
    events_pb2.EpicCreatedEvent: ("EPIC", ""),
    events_pb2.EpicChangedEvent: ("EPIC", ""),
}
# Where a story keeps each kind of thing, in the order in which differences are told.
_KEPT: Final = {
    "PLAN": "plans",
    "SUBTASK": "subtasks",
    "DECISION": "decisions",
    "MILESTONE": "milestones",
    "SUMMARY": "summaries",
}
ENTITY_TYPES: Final = ("CASE", *_KEPT, "RELATION")


def subject_of(message: Message, stream_id: str) -> Subject:
    """Return what an event is about. The id of a link is its source, kind and target."""
    kind, field = _SUBJECTS[type(message)]
    if isinstance(message, events_pb2.DecisionLinkedEvent | events_pb2.DecisionUnlinkedEvent):
        link = link_of(message)
        return Subject(kind, link.id)
    return Subject(kind, getattr(message, field) if field else stream_id)


def concerned(message: Message, stream_id: str) -> tuple[Subject, ...]:
    """Return what an event is about, and what else it says something of: a link of its two ends."""
    subject = subject_of(message, stream_id)
    if isinstance(message, events_pb2.DecisionLinkedEvent | events_pb2.DecisionUnlinkedEvent):
        link = link_of(message)
        target = Subject("SUBTASK" if link.kind == "AFFECTS" else "DECISION", link.target)
        return subject, Subject("DECISION", link.source), target
    if isinstance(message, events_pb2.TaskDispatchedEvent):
        # The story keeps who works on what.
        return subject, Subject("CASE", stream_id)
    return (subject,)


def event_type_of(type: str) -> str:
    """Return what callers call an event, for example DecisionAdded, by its full name."""
    return type.rpartition(".")[2].removesuffix("Event")


EVENT_TYPES: Final = frozenset(event_type_of(message.DESCRIPTOR.full_name) for message in _SUBJECTS)

# Moments ------------------------------------------------------------------------------------------------------------


def until_of(field: str, moment: pb.Moment, log_id: str) -> Until:
    """Return the bound that a moment is; ``field`` is where the request has it, empty for the request itself.

    Raises:
        Refused: it is none, or of another log.
    """
    kind, clock = moment.WhichOneof("kind"), clock_named(moment.clock)
    place = f"{field}.{kind}".lstrip(".")
    if kind == "version":
        if moment.version < 0:
            raise refused(Fault.INVALID, place, f"expected 0 or more, got {moment.version}")
        return AtVersion(moment.version)
    if kind == "timestamp":
        return clock(checked_moment(place, moment.timestamp))
    if kind is None:
        raise refused(Fault.INVALID, field, "expected a version, a timestamp or a position, got none of them")
    return AtPosition(checked_position(place, moment.position, log_id))


async def checked_until(stories: Stories, story_id: str, field: str, moment: pb.Moment) -> Until:
    """Return the bound that a moment is, after checking that the story or the log has come so far.

    Raises:
        Refused: the moment is none, or has not come.
    """
    if problem := id_problem(story_id):
        raise refused(Fault.INVALID, "story_id", problem)
    until = until_of(field, moment, stories.store.log_id)
    place = f"{field}.{moment.WhichOneof('kind')}".lstrip(".")
    if isinstance(until, AtVersion):
        version = (await stories.store.tail(stories.stream(story_id))).version
        # Of a story that is not there, whoever asks for it says so.
        if 0 < version < until.version:
            raise refused(Fault.NOT_FOUND, place, f"the story is at version {version}")
    if isinstance(until, AtPosition) and until.position > (head := (await stories.store.head()).position):
        raise refused(Fault.NOT_FOUND, place, f"the log is at position {head}")
    return until


# Facts --------------------------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """An event of a story, with the story before and after it."""

    log_id: str
    event: Event
    #: None for an event that cannot be read, which leaves the story as it was.
    message: Message | None
    #: Why it cannot be read.
    problem: str
    before: Story
    after: Story

    @property
    def concerned(self) -> tuple[Subject, ...]:
        """What it says something of, what it is about first; nothing for one that cannot be read."""
        return () if self.message is None else concerned(self.message, self.event.stream.id)

    @property
    def event_type(self) -> str:
        """Its name."""
        return event_type_of(self.event.raw.type if self.message is None else self.message.DESCRIPTOR.full_name)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in its story: the version, and which of the messages that one event became."""
        return self.event.version, self.event.index


async def facts(stories: Stories, story_id: str, *, after: int, until: int) -> AsyncGenerator[Fact]:
    """Yield what was recorded of a story after a version and up to one, those included that cannot be read."""
    start = await _past(stories, story_id, AtVersion(after))
    story, log_id = start.state, stories.store.log_id
    stream = stories.stream(story_id)
    async for commit in stories.store.commits(stream, after=start.version, until=AtVersion(until)):
        for event in commit.events:
            message, problem = _read(event)
            before, story = story, story if message is None else evolve(story, message)
            if event.version > after:
                yield Fact(log_id, event, message, problem, before, story)


def _read(event: Event) -> tuple[Message | None, str]:
    try:
        return event.message, ""
    except Undecodable as error:
        return None, f"{error.type} schema {error.schema}: {error.reason}"


class _Then(NamedTuple):
    state: Story
    version: Version
    position: Position


async def _past(stories: Stories, story_id: str, until: Until | None) -> _Then:
    """Return a story as of a bound. What cannot be read is passed over: it must not hide the rest of the past."""
    try:
        folded = await stories.fold(story_id, until)
        return _Then(folded.state, folded.version, folded.position)
    except Undecodable:
        then = _Then(EMPTY, Version(0), Position(0))
        async for commit in stories.store.commits(stories.stream(story_id), until=until):
            state = then.state
            for event in commit.events:
                message, _ = _read(event)
                state = state if message is None else evolve(state, message)
            then = _Then(state, commit.version, commit.position)
        return then


def reference_to(event: Event, message: Message, log_id: str) -> pb.EventReference:
    """Return where an event of a log stands."""
    return pb.EventReference(
        version=event.version,
        position=str(Token(log_id, event.position)),
        event_type=event_type_of(message.DESCRIPTOR.full_name),
    )


def entry_of(fact: Fact) -> pb.HistoryEntry:
    """Return what callers are told of a fact."""
    event, message, metadata = fact.event, fact.message, fact.event.commit.metadata
    entry = pb.HistoryEntry(
        version=event.version,
        position=str(Token(fact.log_id, event.position)),
        event_type=fact.event_type,
        actor=metadata.actor,
        cause=metadata.causation_id,
        correlation_id=metadata.correlation_id,
        occurred_at=_utc(event.occurred_at.isoformat()),
        recorded_at=_utc(event.recorded_at.isoformat()),
        commit_id=event.commit.commit_id.hex(),
        changes=_changes(fact),
    )
    if message is None:
        entry.payload = _json({"unreadable": fact.problem})
        return entry
    entry.entity_type, entry.entity_id = fact.concerned[0]
    payload = MessageToDict(message, preserving_proto_field_name=True)
    entry.reason = payload.pop("reason", "")
    if isinstance(message, events_pb2.PhaseTransitionedEvent):
        entry.reason = entry.reason or message.rationale
    entry.payload = _json(payload)
    return entry


def _utc(text: str) -> str:
    return text.replace("+00:00", "Z")


# What differs -------------------------------------------------------------------------------------------------------

_Fields: TypeAlias = dict[str, Any]
_CASE_FIELDS: Final = tuple(
    name
    for name in Story.__struct_fields__
    if name not in {"exists", "things", "links", "transitions", "dispatches", *_KEPT.values()}
)
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


def _json(value: object) -> str:
    return _ENCODER.encode(value).decode()


def fields_of(story: Story, subject: Subject) -> _Fields:
    """Return the fields of something as a story has it, nothing when it has no such thing.

    The story's own ``last_transition`` and ``last_dispatch`` stand for lists that grow without end.
    """
    kind, id = subject
    if kind == "CASE":
        lists = {"last_transition": story.transitions, "last_dispatch": story.dispatches}
        return _fields(story, _CASE_FIELDS) | {name: values[-1] for name, values in lists.items() if values}
    return _thing_fields(getattr(story, _KEPT[kind]).get(id)) if kind in _KEPT else {}


def _thing_fields(thing: msgspec.Struct | None) -> _Fields:
    if thing is None:
        return {}
    return _fields(thing, tuple(name for name in thing.__struct_fields__ if name not in {"id", "order"}))


def _fields(thing: Any, names: tuple[str, ...]) -> _Fields:
    """Return fields by name, each attribute being one."""
    found = {name: getattr(thing, name) for name in names}
    attributes = found.pop("attributes", {})
    return found | {f"attributes.{name}": attributes[name] for name in sorted(attributes)}


def _changes(fact: Fact) -> Iterator[pb.FieldChange]:
    """Yield what an event made different."""
    if isinstance(fact.message, events_pb2.DecisionLinkedEvent | events_pb2.DecisionUnlinkedEvent):
        link = link_of(fact.message)
        states = ({"stated_by": story.links.get(link, ())} for story in (fact.before, fact.after))
        yield from _different(*states)
        return
    for subject in fact.concerned:
        yield from _different(fields_of(fact.before, subject), fields_of(fact.after, subject))


def _different(before: _Fields, after: _Fields) -> Iterator[pb.FieldChange]:
    """Yield the fields that differ. One that is empty says nothing, and so is as good as one that is not there."""
    for name in before | after:
        then, now = before.get(name) or None, after.get(name) or None
        if then != now:
            told = ["" if value is None else _json(value) for value in (then, now)]
            yield pb.FieldChange(field=name, before=told[0], after=told[1])


def differences(story_id: str, before: Story, after: Story) -> tuple[list[pb.EntityDiff], list[pb.RelationDiff]]:
    """Return what differs between two states of a story, in a stable order. A decision that is DELETED is gone."""
    entities = list(_case_difference(story_id, before, after))
    for kind, name in _KEPT.items():
        entities += _differences(kind, getattr(before, name), getattr(after, name))
    return entities, list(_relation_differences(before, after))


def _relation_differences(before: Story, after: Story) -> Iterator[pb.RelationDiff]:
    if before.links is after.links:
        return
    # Tuples, whose hash costs a tenth of what a link's does.
    then, now = ({msgspec.structs.astuple(link) for link in story.links} for story in (before, after))
    for source, kind, target in sorted(then ^ now):
        relation = pb.DecisionRelation(src_id=source, dst_id=target, relation_type=kind)
        yield pb.RelationDiff(change="ADDED" if (source, kind, target) in now else "GONE", relation=relation)


def _case_difference(story_id: str, before: Story, after: Story) -> Iterator[pb.EntityDiff]:
    subject = Subject("CASE", story_id)
    fields = list(_different(fields_of(before, subject), fields_of(after, subject)))
    if fields or before.exists != after.exists:
        yield _difference(subject, fields, was=before.exists, is_=after.exists)


def _differences(kind: str, before: Map[str, Any], after: Map[str, Any]) -> list[pb.EntityDiff]:
    if before is after:
        return []
    found: list[tuple[int, pb.EntityDiff]] = []
    for id in dict.fromkeys([*before, *after]):
        then, now = before.get(id), after.get(id)
        if then is now or then == now:
            continue
        order = max(getattr(thing, "order", 0) for thing in (then, now) if thing is not None)
        then, now = _there(then), _there(now)
        fields = list(_different(_thing_fields(then), _thing_fields(now)))
        if fields or (then is None) != (now is None):
            subject = Subject(kind, id)
            found.append((order, _difference(subject, fields, was=then is not None, is_=now is not None)))
    return [diff for _, diff in sorted(found, key=lambda one: (one[0], one[1].entity_id))]


def _there(thing: msgspec.Struct | None) -> msgspec.Struct | None:
    return None if isinstance(thing, Decision) and thing.status == "DELETED" else thing


def _difference(subject: Subject, fields: list[pb.FieldChange], *, was: bool, is_: bool) -> pb.EntityDiff:
    change = "CHANGED" if was == is_ else "ADDED" if is_ else "GONE"
    return pb.EntityDiff(change=change, entity_type=subject.entity_type, entity_id=subject.entity_id, fields=fields)


async def diff(stories: Stories, request: pb.DiffContextRequest) -> pb.DiffContextResponse:
    """Return what differs in a story between two moments.

    Raises:
        Refused: a moment is none or has not come, the earlier one is the later, or there was no story at the later.
        EventStoreError: the log cannot be read.
    """
    until = {
        field: await checked_until(stories, request.story_id, field, getattr(request, field))
        for field in ("earlier", "later")
        if request.HasField(field)
    }
    later = await stories.ask(request.story_id, until.get("later"))
    # Before its first event a story is empty, and everything is new.
    earlier = await stories.fold(request.story_id, until.get("earlier", AtVersion(0)))
    if earlier.version > later.version:
        problem = f"expected a moment before the later one, which is version {later.version}; got {earlier.version}"
        raise refused(Fault.INVALID, "earlier", problem)
    entities, relations = differences(request.story_id, earlier.state, later.state)
    return pb.DiffContextResponse(
        earlier_version=earlier.version,
        earlier_position=str(earlier.token),
        later_version=later.version,
        later_position=str(later.token),
        entities=entities,
        relations=relations,
    )


# History ------------------------------------------------------------------------------------------------------------

_PAGE: Final = 100
_MAX_PAGE: Final = 1_000
# Clients take answers of 4 MiB as a rule; the entry that goes over this may have a whole commit, and be told thrice.
_PAGE_BYTES: Final = 1_000_000

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins."""

    #: Of the question, so that the token of another one is told from its own.
    asked: bytes
    version: _Count
    index: _Count
    #: The version up to which all pages look.
    end: _Count


async def history(stories: Stories, request: pb.GetHistoryRequest) -> pb.GetHistoryResponse:
    """Return a page of what was recorded of a story: who, why, and what it made different.

    Raises:
        Refused: a filter, a moment or the page is none, or there was no such story.
        EventStoreError: the log cannot be read. An event that cannot be read is an entry that says so.
    """
    size, wanted = _page_size(request), _Wanted.of(request)
    asked = _asked(stories.store.log_id, request)
    cursor = _parsed(request.page_token, asked) if request.page_token else await _first(stories, request, asked)
    end = await _past(stories, request.story_id, AtVersion(cursor.end))
    answer = pb.GetHistoryResponse(version=end.version, position=str(Token(stories.store.log_id, end.position)))
    room = _PAGE_BYTES
    found = facts(stories, request.story_id, after=cursor.version - 1, until=end.version)
    async with aclosing(found):
        async for fact in found:
            if fact.place < (cursor.version, cursor.index) or not wanted.has(fact):
                continue
            if len(answer.entries) == size or room <= 0:
                answer.next_page_token = _token(_Cursor(asked, *fact.place, end.version))
                break
            entry = entry_of(fact)
            room -= entry.ByteSize()
            answer.entries.append(entry)
    return answer


def _page_size(request: pb.GetHistoryRequest) -> int:
    if not 0 <= request.page_size <= _MAX_PAGE:
        raise refused(Fault.INVALID, "page_size", f"expected 0 to {_MAX_PAGE:,}, got {request.page_size}")
    return request.page_size or _PAGE


async def _first(stories: Stories, request: pb.GetHistoryRequest, asked: bytes) -> _Cursor:
    """Return where the first page begins, and where the last one ends."""
    story_id = request.story_id
    if problem := id_problem(story_id):
        raise refused(Fault.INVALID, "story_id", problem)
    until = await checked_until(stories, story_id, "until", request.until) if request.HasField("until") else None
    after = await checked_until(stories, story_id, "after", request.after) if request.HasField("after") else None
    end = (await _past(stories, story_id, until)).version
    if not end:
        then = "" if until is None else " yet at that moment"
        raise refused(Fault.NOT_FOUND, "story_id", f"there is no story {story_id!r}{then}")
    start = 0 if after is None else (await _past(stories, story_id, after)).version
    return _Cursor(asked, start + 1, 0, end)


class _Wanted(NamedTuple):
    """Which facts are asked for; what is empty is no condition."""

    event_types: frozenset[str]
    actors: frozenset[str | None]
    entity_type: str
    entity_id: str

    @classmethod
    def of(cls, request: pb.GetHistoryRequest) -> _Wanted:
        event_types = frozenset(map(event_type_of, request.event_types))
        if unknown := sorted(event_types - EVENT_TYPES):
            problem = f"expected names such as {', '.join(sorted(EVENT_TYPES))}; got {', '.join(unknown)[:80]!r}"
            raise refused(Fault.INVALID, "event_types", problem)
        entity_type = request.entity_type.strip().upper()
        if entity_type and entity_type not in ENTITY_TYPES:
            problem = f"expected one of {', '.join(ENTITY_TYPES)}; got {request.entity_type!r}"
            raise refused(Fault.INVALID, "entity_type", problem)
        # A role is recorded in one spelling, and asked for in any.
        actors = frozenset({request.actor, role_named(request.actor)} if request.actor else ())
        return cls(event_types, actors, entity_type, request.entity_id)

    def has(self, fact: Fact) -> bool:
        """Say whether a fact is asked for. A link is of both its ends."""
        if self.event_types and fact.event_type not in self.event_types:
            return False
        if self.actors and fact.event.commit.metadata.actor not in self.actors:
            return False
        if not self.entity_type and not self.entity_id:
            return True
        return any(self.entity_type in {"", kind} and self.entity_id in {"", id} for kind, id in fact.concerned)


def _asked(log_id: str, request: pb.GetHistoryRequest) -> bytes:
    """Return what tells one question from another, whichever its page."""
    question = pb.GetHistoryRequest()
    question.CopyFrom(request)
    question.ClearField("page_size")
    question.ClearField("page_token")
    return hashlib.sha256(log_id.encode() + question.SerializeToString(deterministic=True)).digest()[:12]


def _token(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode()


def _parsed(token: str, asked: bytes) -> _Cursor:
    try:
        cursor = msgspec.msgpack.decode(base64.urlsafe_b64decode(token.encode()), type=_Cursor)
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        cursor = None
    if cursor is None or cursor.asked != asked or not cursor.version:
        raise refused(Fault.INVALID, "page_token", "expected next_page_token of the same question's page before")
    return cursor
