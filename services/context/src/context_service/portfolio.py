"""Projects and epics: what is above stories. Each is a stream of its own, told by those who plan."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from eventstore import Decider

from context_service.changes import timestamp
from context_service.events.v1 import events_pb2 as pb
from context_service.graph import EPIC, PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """That a project or an epic is there, in the words of those who made it; absent fields say nothing."""

    fields: dict[str, str]
    at: datetime
    reason: str = ""


class Known(msgspec.Struct, frozen=True):
    """What is known of one."""

    exists: bool = False
    fields: dict[str, str] = {}


_CREATED: Final[dict[str, Any]] = {PROJECT: pb.ProjectCreatedEvent, EPIC: pb.EpicCreatedEvent}
_CHANGED: Final[dict[str, Any]] = {PROJECT: pb.ProjectChangedEvent, EPIC: pb.EpicChangedEvent}


def _evolve(known: Known, event: Message) -> Known:
    """Return what is known after an event."""
    created = isinstance(event, tuple(_CREATED.values()))
    texts = {field.name: value for field, value in event.ListFields() if isinstance(value, str)}
    texts.pop("reason", None)
    return Known(exists=True, fields=texts if created else known.fields | texts)


def _decide(category: str) -> Callable[[Announced, Known], list[Message]]:
    def decide(command: Announced, known: Known) -> list[Message]:
        if not known.exists:
            at = timestamp(command.at)
            return [_CREATED[category](**command.fields, created_at=at, reason=command.reason)]
        fields = _CHANGED[category].DESCRIPTOR.fields_by_name
        new = {name: text for name, text in command.fields.items() if name in fields and known.fields.get(name) != text}
        return [_CHANGED[category](**new, reason=command.reason)] if new else []

    return decide


PORTFOLIO: Final[dict[str, Decider[Announced, Known, Message]]] = {
    category: Decider(category, initial=Known(), decide=_decide(category), evolve=_evolve)
    for category in (PROJECT, EPIC)
}
"""How projects and epics are decided, by category."""
