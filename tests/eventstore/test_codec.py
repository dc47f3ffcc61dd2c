"""Between messages and bytes: the names events are stored under, for ever."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import CannotDecode, Codec, InvalidInput, Payload
from google.protobuf import wrappers_pb2
from google.protobuf.descriptor_pb2 import UninterpretedOption
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from tests.eventstore.messages import Alias, Older, OnlySchema, Opened, Renamed

if TYPE_CHECKING:
    from google.protobuf.message import Message


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        (StringValue(value="a"), Payload("google.protobuf.StringValue", 1, b"\x0a\x01a")),
        (Opened(text="a", number=5), Payload("tests.eventstore.Opened", 1, b"\x0a\x01a\x10\x05")),
        (Opened(), Payload("tests.eventstore.Opened", 1, b"")),
        (Renamed(text="b"), Payload("account.renamed", 3, b"\x0a\x01b")),
        (Older(text="b"), Payload("account.renamed", 2, b"\x0a\x01b")),
        (OnlySchema(number=1), Payload("tests.eventstore.OnlySchema", 7, b"\x10\x01")),
    ],
)
def test_stored(message: Message, stored: Payload) -> None:
    """A message is stored under its full name and schema 1, or as its option says, and comes back equal."""
    codec = Codec(StringValue, Opened, Renamed, Older, OnlySchema)
    assert codec.encode(message) == stored
    assert codec.decode(stored) == (message,)
    assert not codec.fans_out(stored.type, stored.schema)


def test_module() -> None:
    """A generated module registers every message of its top level."""
    codec = Codec(wrappers_pb2)
    assert codec.registered["google.protobuf.Int64Value", 1] is Int64Value
    assert len(codec.registered) == len(wrappers_pb2.DESCRIPTOR.message_types_by_name)


def test_again() -> None:
    """A message may be registered twice, by itself and with its module."""
    assert Codec(Int64Value, wrappers_pb2, Int64Value).encode(Int64Value()).type == "google.protobuf.Int64Value"


def test_duplicate() -> None:
    """Two messages under one name and schema are refused, and both are named."""
    with pytest.raises(
        InvalidInput, match=r"Alias and tests\.eventstore\.Renamed both claim account\.renamed schema 3"
    ):
        Codec(Renamed, Alias)


@pytest.mark.parametrize("registered", [int, Int64Value(value=1), "text", None, ModuleType("empty"), pytest])
def test_no_message(registered: Any) -> None:
    """What is no message class and no generated module is refused."""
    with pytest.raises(InvalidInput, match="codec: expected"):
        Codec(registered)


@pytest.mark.parametrize("message", [StringValue(value="a"), "text", None, Int64Value])
def test_not_registered(message: Any) -> None:
    """What is not registered is not encoded."""
    with pytest.raises(InvalidInput, match="registered"):
        Codec(Int64Value).encode(message)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (Payload("google.protobuf.StringValue", 1, b""), "not registered"),
        (Payload("account.renamed", 1, b""), "not registered"),
        (Payload("account.renamed", 3, b"\xff"), "not a tests.eventstore.Renamed"),
        (Payload("account.renamed", 3, b"\x0a\x01\xff"), "not a tests.eventstore.Renamed"),
    ],
)
def test_cannot_decode(stored: Payload, reason: str) -> None:
    """An unknown type or schema, and bytes that do not parse, cannot be decoded, and the error says why."""
    with pytest.raises(CannotDecode, match=reason):
        Codec(Renamed).decode(stored)


def test_not_serialisable() -> None:
    """A message that lacks what it requires is refused by the codec."""
    part = UninterpretedOption.NamePart
    with pytest.raises(InvalidInput, match="cannot be serialised"):
        Codec(part).encode(part())
