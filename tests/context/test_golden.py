"""Every schema that the service has ever written reads as it is pinned; new code is checked against what is kept here.

``python -m tests.context.test_golden`` records what has none yet: a message of each schema with all its fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from context_service.events.v1 import events_pb2, history_pb2
from context_service.stories import codec
from google.protobuf.descriptor import FieldDescriptor
from upcasting.testing import assert_golden, record

if TYPE_CHECKING:
    from google.protobuf.message import Message

GOLDEN: Final = Path(__file__).with_name("golden")
ONLY_INSIDE: Final = (events_pb2.Texts, events_pb2.TextMap)
EVENTS: Final = [
    getattr(module, name)
    for module in (events_pb2, history_pb2)
    for name in module.DESCRIPTOR.message_types_by_name
    if getattr(module, name) not in ONLY_INSIDE
]

# What the first writers wrote, in their words.
AS_WRITTEN: Final = [
    history_pb2.DecisionAddedV1(decision_id="D1", status_text="accepted", alternatives_text="1. now\n2. later"),
    history_pb2.DecisionAddedV1(decision_id="D2", status_text="as Ann said", alternatives_text="none, really"),
    history_pb2.SubtaskUpdatedV1(subtask_id="T1", status="IN_PROGRESS"),
    history_pb2.SubtaskUpdatedV1(subtask_id="T1", status="nearly there"),
]


def filled(cls: type[Message]) -> Message:
    """Return a message whose fields all hold something, each its own."""
    message = cls()
    for field in message.DESCRIPTOR.fields:
        _fill(message, field)
    return message


def _fill(message: Any, field: Any) -> None:
    held = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        held["key"] = f"value of {field.name}"
    elif field.message_type is not None:
        for inner in held.DESCRIPTOR.fields:
            _fill(held, inner)
    elif field.is_repeated:
        held.extend([f"first of {field.name}", f"second of {field.name}"])
    elif field.type == FieldDescriptor.TYPE_STRING:
        setattr(message, field.name, f"some {field.name}")
    else:
        setattr(message, field.name, 1)


def test_golden() -> None:
    """What was stored under each (type, schema) becomes what is pinned, and none is missing."""
    assert_golden(GOLDEN, codec, only_inside=ONLY_INSIDE)


if __name__ == "__main__":
    record(GOLDEN, codec, *map(filled, EVENTS), *AS_WRITTEN)
