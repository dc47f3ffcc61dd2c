"""Events for tests, made without a compiler: the second has a name and a schema of its own."""

from __future__ import annotations

from typing import Any, Final

from eventstore.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FILE: Final = descriptor_pb2.FileDescriptorProto(
    name="tests/eventstore/messages.proto",
    package="tests.eventstore",
    syntax="proto3",
    dependency=["eventstore/v1/options.proto"],
)


def _message(name: str, *, type: str = "", schema: int = 0) -> None:
    message = _FILE.message_type.add(name=name)
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="text", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(name="number", number=2, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    if type or schema:
        option = options_pb2.EventOptions(type=type, schema=schema)
        message.options.Extensions[options_pb2.event].CopyFrom(option)  # type: ignore[index]


_message("Opened")
_message("Renamed", type="account.renamed", schema=3)
_message("Alias", type="account.renamed", schema=3)
_message("Older", type="account.renamed", schema=2)
_message("OnlySchema", schema=7)
descriptor_pool.Default().Add(_FILE)


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"tests.eventstore.{name}"))


Opened: Final = _class("Opened")
Renamed: Final = _class("Renamed")
Alias: Final = _class("Alias")
Older: Final = _class("Older")
OnlySchema: Final = _class("OnlySchema")
