"""Orders of four schemas, made without a compiler.

``Placed`` had schemas 1 (a price as text) and 2 (cents), and has 3 (cents and a currency). ``Moved`` is what became of
by a split; ``Line`` of what an order was split into; ``Legacy`` goes under another name in old logs.
"""

from __future__ import annotations

from typing import Any, Final

from eventstore.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_PACKAGE: Final = "tests.upcasting"
_FIELD = descriptor_pb2.FieldDescriptorProto
_FILE: Final = descriptor_pb2.FileDescriptorProto(
    name="tests/upcasting/messages.proto",
    package=_PACKAGE,
    syntax="proto3",
    dependency=["eventstore/v1/options.proto"],
)
_KINDS: Final = {"text": _FIELD.TYPE_STRING, "number": _FIELD.TYPE_INT64, "real": _FIELD.TYPE_DOUBLE}


def _message(name: str, fields: dict[str, str], *, type: str = "", schema: int = 0) -> None:
    message = _FILE.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        message.field.add(name=field, number=number, type=_KINDS[kind], label=_FIELD.LABEL_OPTIONAL)
    option = options_pb2.EventOptions(type=type, schema=schema)
    message.options.Extensions[options_pb2.event].CopyFrom(option)  # type: ignore[index]


_message("PlacedV1", {"price": "text"}, type="order.placed", schema=1)
_message("PlacedV2", {"cents": "number"}, type="order.placed", schema=2)
_message("Placed", {"cents": "number", "currency": "text"}, type="order.placed", schema=3)
_message("Basket", {"lines": "number"}, type="order.basket", schema=1)
_message("Line", {"number": "number"}, type="order.line", schema=1)
_message("Paid", {"by": "text", "weight": "real"}, type="order.paid", schema=1)
_message("Unrelated", {"text": "text"}, type="order.unrelated", schema=1)
_message("PlacedAgain", {"cents": "number"}, type="order.placed", schema=2)
_message("PlacedLater", {"cents": "number"}, type="order.placed", schema=4)
descriptor_pool.Default().Add(_FILE)
# In proto2 enums are closed: a number without a name is no value of theirs.
_CLOSED: Final = descriptor_pb2.FileDescriptorProto(name="tests/closed/box.proto", package="tests.closed")
text_format.Parse(
    """
    enum_type { name: "Kind" value { name: "NONE" number: 0 } }
    message_type {
      name: "Box"
      field { name: "kinds" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "Box.KindsEntry" }
      nested_type {
        name: "KindsEntry"
        field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
        field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".tests.closed.Kind" }
        options { map_entry: true }
      }
    }
    """,
    _CLOSED,
)
descriptor_pool.Default().Add(_CLOSED)


def _class(name: str, package: str = _PACKAGE) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{package}.{name}"))


PlacedV1: Final = _class("PlacedV1")
PlacedV2: Final = _class("PlacedV2")
Placed: Final = _class("Placed")
Basket: Final = _class("Basket")
Line: Final = _class("Line")
Paid: Final = _class("Paid")
Unrelated: Final = _class("Unrelated")
PlacedAgain: Final = _class("PlacedAgain")
PlacedLater: Final = _class("PlacedLater")
Box: Final = _class("Box", "tests.closed")
