"""Imports the history of the headers of all PEPs: a decision log of 26 years.

One decision a PEP. Its story is ``python-3.12`` for the first such number in any Python-Version that the file ever
gives it, else ``process``. Everything is worked out from the file before the first write, so an import stopped anywhere
goes on where it was, and a second one changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from eventstore import MAX_ENVELOPE_BYTES, Decider, Metadata, StreamId, commit_id_of, digest_of, handle
from google.protobuf.message import Message

from context_service.changes import restated, timestamp
from context_service.events.v1 import events_pb2 as pb
from context_service.story import CATEGORY, EMPTY, Link, Story, evolve
from context_service.words import DECISION_STEPS, decision_status_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from eventstore import EventStore, Snapshots

SOURCE: Final = "python/peps"
PROCESS: Final = "process"

_VERSION = re.compile(r"\d+\.\d+")
# What an envelope adds to each event and around them all, amply.
_EVENT_ROOM: Final = 96
_COMMIT_ROOM: Final = 1_024


class ImportFault(Exception):
    """A file that cannot be imported; nothing of it was. The message names the line."""


class Headers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Header fields with their new value; None for one that was removed."""

    status: str | msgspec.UnsetType | None = msgspec.field(name="Status", default=msgspec.UNSET)
    title: str | msgspec.UnsetType | None = msgspec.field(name="Title", default=msgspec.UNSET)
    type: str | msgspec.UnsetType | None = msgspec.field(name="Type", default=msgspec.UNSET)
    topic: str | msgspec.UnsetType | None = msgspec.field(name="Topic", default=msgspec.UNSET)
    created: str | msgspec.UnsetType | None = msgspec.field(name="Created", default=msgspec.UNSET)
    python_version: str | msgspec.UnsetType | None = msgspec.field(name="Python-Version", default=msgspec.UNSET)
    resolution: str | msgspec.UnsetType | None = msgspec.field(name="Resolution", default=msgspec.UNSET)
    authors: list[str] | msgspec.UnsetType | None = msgspec.field(name="Author", default=msgspec.UNSET)
    requires: list[int] | msgspec.UnsetType | None = msgspec.field(name="Requires", default=msgspec.UNSET)
    replaces: list[int] | msgspec.UnsetType | None = msgspec.field(name="Replaces", default=msgspec.UNSET)
    superseded_by: list[int] | msgspec.UnsetType | None = msgspec.field(name="Superseded-By", default=msgspec.UNSET)


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change of one PEP."""

    ts: int
    commit: Annotated[str, msgspec.Meta(max_length=64)]
    pep: int
    kind: Literal["created", "changed"]
    fields: Headers
    abstract: str | msgspec.UnsetType = msgspec.UNSET
    references: list[int] | msgspec.UnsetType = msgspec.UNSET


class Step(msgspec.Struct, frozen=True):
    """What one line writes."""

    story_id: str
    command_id: str
    commit: str
    occurred_at: datetime
    events: list[Message]


class Report(msgspec.Struct, kw_only=True):
    """What an import found and did."""

    changes: int
    decisions: int
    stories: int
    #: Commits written now.
    written: int = 0
    #: Commits that an earlier import had written.
    already_there: int = 0
    events_written: int = 0
    seconds: float = 0.0
    changes_per_second: float = 0.0
    #: Things that are not as the domain would have them, by name, with how often.
    odd: dict[str, int]
    head: str = ""
    digest: str = ""


async def import_peps(
    store: EventStore,
    snapshots: Snapshots[Story],
    path: Path,
    *,
    progress: Callable[[int, int], None],
    until: datetime | None = None,
) -> Report:
    """Import a file, or what it has before a moment; ``progress`` is called with the lines done and all.

    Raises:
        ImportFault: a line is not what it must be. Nothing was written.
    """
    started = time.perf_counter()
    steps, report = plan(path)
    stored = {commit.commit_id async for commit in store.log(categories={CATEGORY})}
    observer = Decider(CATEGORY, initial=EMPTY, decide=_observe, evolve=evolve, snapshots=snapshots)
    for number, step in enumerate(steps, 1):
        if until is not None and step.occurred_at >= until:
            break
        if commit_id_of(StreamId(CATEGORY, step.story_id), step.command_id) in stored:
            report.already_there += 1
        else:
            done = await handle(
                store,
                observer,
                step.story_id,
                step.events,
                command_id=step.command_id,
                metadata=Metadata(actor=SOURCE, causation_id=step.commit),
                occurred_at=step.occurred_at,
            )
            if done.repeated:  # another import got in first
                report.already_there += 1
            else:
                report.written += 1
                report.events_written += len(done.events)
        progress(number, len(steps))
    seconds = time.perf_counter() - started
    report.seconds = round(seconds, 3)
    report.changes_per_second = round(report.changes / seconds, 1)
    report.head = str(await store.head())
    report.digest = (await digest_of(store)).hexdigest
    return report


def _observe(events: list[Message], story: Story) -> list[Message]:
    """Record what was observed; a story that somebody made already is not made again."""
    return [event for event in events if not (story.exists and isinstance(event, pb.ContextCreatedEvent))]


def plan(path: Path) -> tuple[list[Step], Report]:
    """Return what the lines of a file write, in order, from the file alone.

    Raises:
        ImportFault: a line is not what it must be.
    """
    lines = list(_lines(path))
    if not lines:
        raise ImportFault(f"{path}: holds no lines")
    homes = _homes(line for _, line in lines)
    decisions = {line.pep for _, line in lines}
    odd: Counter[str] = Counter()
    reader = _Reader(homes, odd)
    steps: list[Step] = []
    for number, (text, line) in enumerate(lines, 1):
        events = reader.read(line)
        if not events:
            odd["changes without effect"] += 1
            continue
        if sum(event.ByteSize() + _EVENT_ROOM for event in events) > MAX_ENVELOPE_BYTES - _COMMIT_ROOM:
            raise ImportFault(f"{path}, line {number}: is too large for one commit")
        command_id = f"{SOURCE}:{hashlib.sha256(text).hexdigest()}"
        at = datetime.fromtimestamp(line.ts, UTC)
        steps.append(Step(homes[line.pep], command_id, line.commit, at, events))
    odd["links to decisions that never came"] = len(reader.awaited - decisions)
    odd["decisions without a version"] = sum(home == PROCESS for home in homes.values())
    report = Report(
        changes=len(lines),
        decisions=len(decisions),
        stories=len(set(homes.values())),
        odd={name: count for name, count in sorted(odd.items()) if count},
    )
    return steps, report


def _lines(path: Path) -> Iterator[tuple[bytes, Line]]:
    decoder = msgspec.json.Decoder(Line)
    previous = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = decoder.decode(text)
                except (msgspec.DecodeError, UnicodeError) as error:
                    raise ImportFault(f"{path}, line {number}: {error}") from None
                if not 0 <= line.ts < _END_OF_TIME or line.pep < 0:
                    raise ImportFault(f"{path}, line {number}: ts or pep is out of range")
                if line.ts < previous:
                    raise ImportFault(f"{path}, line {number}: is older than the line before it")
                previous = line.ts
                yield text.strip(), line
    except OSError as error:
        raise ImportFault(f"{path}: {error.strerror}") from None


_END_OF_TIME: Final = 253_402_300_800  # year 10000


def _homes(lines: Iterator[Line]) -> dict[int, str]:
    """Return the story of each PEP, which the whole file decides."""
    homes: dict[int, str] = {}
    for line in lines:
        version = line.fields.python_version
        found = _VERSION.search(version) if isinstance(version, str) else None
        if homes.get(line.pep, PROCESS) == PROCESS:
            homes[line.pep] = f"python-{found.group()}" if found else PROCESS
    return homes


def decision_id(pep: int) -> str:
    """Return the id of a PEP's decision."""
    return f"PEP-{pep}"


class _Reader:
    """Turns lines into events, following the stories as the file tells them."""

    def __init__(self, homes: dict[int, str], odd: Counter[str]) -> None:
        self._homes = homes
        self._odd = odd
        self._stories: dict[str, Story] = {}
        self._seen: set[int] = set()
        #: PEPs that were linked to before they came.
        self.awaited: set[int] = set()

    def read(self, line: Line) -> list[Message]:
        """Return the events of the next line."""
        home = self._homes[line.pep]
        story = self._stories.get(home, EMPTY)
        reason = f"{SOURCE} commit {line.commit}"
        events: list[Message] = [] if story.exists else [_opening(home, line, reason)]
        known = line.pep in self._seen
        if known == (line.kind == "created"):
            self._odd["created again" if known else "changed before it was created"] += 1
        events += self._changed(story, line, reason) if known else [self._added(line, reason)]
        self._seen.add(line.pep)
        for event in events:
            story = evolve(story, event)
        for event in self._links(story, line, reason):
            story = evolve(story, event)
            events.append(event)
        self._stories[home] = story
        return events

    def _added(self, line: Line, reason: str) -> Message:
        fields = line.fields
        return pb.DecisionAddedEvent(
            decision_id=decision_id(line.pep),
            title=_text(fields.title),
            rationale=_text(line.abstract),
            status=self._nearest(_text(fields.status)),
            status_text=_text(fields.status),
            kind=_text(fields.type),
            decided_by=_joined(fields.authors),
            decided_at=timestamp(datetime.fromtimestamp(line.ts, UTC)),
            attributes={name: value for name, value in _attributes(fields).items() if value is not None},
            reason=reason,
        )

    def _changed(self, story: Story, line: Line, reason: str) -> list[Message]:
        fields = line.fields
        decision = story.decisions[decision_id(line.pep)]
        event = pb.DecisionChangedEvent(decision_id=decision.id, reason=reason)
        unchanged = pb.DecisionChangedEvent(decision_id=decision.id, reason=reason)
        given = {"title": fields.title, "rationale": line.abstract, "kind": fields.type}
        texts = {name: _text(value) for name, value in given.items() if value is not msgspec.UNSET}
        if fields.authors is not msgspec.UNSET:
            texts["decided_by"] = _joined(fields.authors)
        for name, value in texts.items():
            if value != getattr(decision, name):
                setattr(event, name, value)
        for name, attribute in _attributes(fields).items():
            if attribute is None and name in decision.attributes:
                event.removed_attributes.append(name)
            elif attribute is not None and decision.attributes.get(name) != attribute:
                event.attributes[name] = attribute
        events: list[Message] = [] if event == unchanged else [event]
        if fields.status is not msgspec.UNSET and _text(fields.status) != decision.status_text:
            events.append(self._status_changed(decision.id, decision.status, _text(fields.status), reason))
        return events

    def _status_changed(self, id: str, before: str, text: str, reason: str) -> Message:
        status = self._nearest(text)
        if status != before and status not in DECISION_STEPS[before]:
            self._odd["irregular steps of status"] += 1
        return pb.DecisionStatusChangedEvent(
            decision_id=id,
            status=status,
            status_text=text,
            observed=True,
            reason=reason,
        )

    def _nearest(self, text: str) -> str:
        status = decision_status_named(text)
        if status is None:
            self._odd["statuses of no known meaning" if text else "no status"] += 1
        return status or "PROPOSED"

    def _links(self, story: Story, line: Line, reason: str) -> Iterator[Message]:
        me = decision_id(line.pep)
        fields = line.fields
        if fields.requires is not msgspec.UNSET:
            wanted = [Link(me, "DEPENDS_ON", other) for other in self._others(line.pep, fields.requires)]
            yield from restated(story, wanted, "DEPENDS_ON", by=me, reason=reason)
        if line.references is not msgspec.UNSET:
            wanted = [Link(me, "RELATES_TO", other) for other in self._others(line.pep, line.references)]
            yield from restated(story, wanted, "RELATES_TO", by=me, reason=reason)
        if fields.replaces is not msgspec.UNSET or fields.superseded_by is not msgspec.UNSET:
            stated = [link for link, by in story.links.items() if link.kind == "SUPERSEDES" and me in by]
            replaces = [link for link in stated if link.source == me]
            if fields.replaces is not msgspec.UNSET:
                replaces = [Link(me, "SUPERSEDES", other) for other in self._others(line.pep, fields.replaces)]
            superseded = [link for link in stated if link.target == me]
            if fields.superseded_by is not msgspec.UNSET:
                # The same relation, told from its other end.
                others = self._others(line.pep, fields.superseded_by)
                superseded = [Link(other, "SUPERSEDES", me) for other in others]
            yield from restated(story, [*replaces, *superseded], "SUPERSEDES", by=me, reason=reason)

    def _others(self, pep: int, peps: list[int] | msgspec.UnsetType | None) -> list[str]:
        found: list[str] = []
        for other in peps or []:
            if other == pep:
                self._odd["links to itself"] += 1
                continue
            if other not in self._seen:
                self._odd["links to decisions that had not come yet"] += 1
                self.awaited.add(other)
            found.append(decision_id(other))
        return found


def _opening(home: str, line: Line, reason: str) -> Message:
    return pb.ContextCreatedEvent(
        title="Process and proposals without a version" if home == PROCESS else home.replace("python-", "Python "),
        created_by=SOURCE,
        created_at=timestamp(datetime.fromtimestamp(line.ts, UTC)),
        phase="DESIGN",
        reason=reason,
    )


def _text(value: str | msgspec.UnsetType | None) -> str:
    return value if isinstance(value, str) else ""


def _joined(values: list[str] | msgspec.UnsetType | None) -> str:
    return ", ".join(values) if isinstance(values, list) else ""


def _attributes(fields: Headers) -> dict[str, str | None]:
    """Return the header fields that have no field of their own in a decision, as JSON text; None for a removed one."""
    given = {
        "topic": fields.topic,
        "created": fields.created,
        "python_version": fields.python_version,
        "resolution": fields.resolution,
    }
    return {
        name: None if value is None else msgspec.json.encode(value).decode()
        for name, value in given.items()
        if value is not msgspec.UNSET
    }
