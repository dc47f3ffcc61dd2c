"""What older events mean today: the steps from every schema that a log may hold to the messages of now. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from google.protobuf.message import Message
from upcasting import step

from context_service.events.v1 import events_pb2 as pb
from context_service.events.v1 import history_pb2 as then
from context_service.words import STATUS_TEXT, decision_status_named, subtask_status_named

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=Message)


@step(then.DecisionAddedV1, pb.DecisionAddedEvent)
def decision_with_list_and_state(old: then.DecisionAddedV1) -> pb.DecisionAddedEvent:
    """Make a list of the alternatives and a state of the status, whose own words stay where they differ."""
    new = _same_fields(old, pb.DecisionAddedEvent, but="alternatives_text")
    new.alternatives.extend(alternatives_in(old.alternatives_text))
    if old.status == pb.DECISION_STATUS_UNSPECIFIED:
        state = decision_status_named(old.status_text) or "PROPOSED"
        new.MergeFrom(pb.DecisionAddedEvent(status=state))
        new.status_text = "" if old.status_text == state else old.status_text
    return new


@step(then.SubtaskUpdatedV1, pb.SubtaskUpdatedEvent)
def subtask_in_states(old: then.SubtaskUpdatedV1) -> pb.SubtaskUpdatedEvent:
    """Make a state of the status; a word that is none leaves the state as it was and is kept as an attribute.

    An attribute of that name that the event has already says what it said: the writer's own words win.
    """
    new = _same_fields(old, pb.SubtaskUpdatedEvent, but="status")
    if not old.HasField("status"):
        return new
    if (state := subtask_status_named(old.status)) is not None:
        new.status = state
    elif STATUS_TEXT not in new.attributes:
        new.attributes[STATUS_TEXT] = msgspec.json.encode(old.status).decode()
    return new


STEPS: Final = (decision_with_list_and_state, subtask_in_states)

# How a list is marked within a text: by bullets before lines, by numbers anywhere, by numbers before lines alone.
_MARKS: Final = (
    re.compile(r"^[ \t]*[-*•][ \t]+", re.MULTILINE),
    re.compile(r"(?<!\S)\(?(\d{1,3})[.)][ \t]+"),
    re.compile(r"^[ \t]*\(?(\d{1,3})[.)][ \t]+", re.MULTILINE),
)


def alternatives_in(text: str) -> list[str]:
    """Return the alternatives that one text names; what cannot be told apart stays one.

    A text that begins with a bullet, or with number 1 and counts on, has one after each mark, lines between them
    included. Any other text of several lines has one a line, and a single line one between semicolons. What is taken
    away is those marks, semicolons at the end, and blanks around: nothing that was said.
    """
    for mark in _MARKS:
        if items := _marked(text, mark):
            return items
    return _filled(text.splitlines()) if "\n" in text.strip() else _filled(text.split(";"))


def _marked(text: str, mark: re.Pattern[str]) -> list[str]:
    """Return what follows each mark of a text that begins with one; nothing where marks are missing or miscounted."""
    found = list(mark.finditer(text))
    if not found or text[: found[0].start()].strip():
        return []
    if mark.groups and [int(one[1]) for one in found] != list(range(1, len(found) + 1)):
        return []
    ends = [*(one.start() for one in found[1:]), len(text)]
    return _filled([text[one.end() : end] for one, end in zip(found, ends, strict=True)])


def _filled(parts: Sequence[str]) -> list[str]:
    stripped = (part.strip().removesuffix(";").rstrip() for part in parts)
    return [part for part in stripped if part]


def _same_fields(old: Message, new: type[M], *, but: str) -> M:
    """Return a message of another class with the same fields, all but one of them."""
    kept = type(old)()
    kept.CopyFrom(old)
    kept.ClearField(but)
    return new.FromString(kept.SerializeToString())
