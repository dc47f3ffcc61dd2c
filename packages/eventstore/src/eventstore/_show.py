"""What the command ``eventstore`` shows of events: text for people and JSON for programs."""

from __future__ import annotations

import base64
import json
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from google.protobuf.json_format import MessageToDict
from rich.padding import Padding
from rich.text import Text

from eventstore._errors import Undecodable
from eventstore._events import occurred_micros
from eventstore.terminal import console, iso, json_line, printable, short_time, write_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

    from eventstore._codec import EventCodec
    from eventstore._events import Commit, Event

_SHOWN_FIELDS: Final = 20
_SHOWN_CHARACTERS: Final = 200
_INDENT: Final = 5
_MAX_INDENT: Final = 20
MAX_FIELDS: Final = 1_000
"""Of a payload of 1 MiB with two bytes a field, nobody reads the rest."""

_VARINT, _I64, _LEN, _SGROUP, _EGROUP, _I32 = range(6)
_WIRE_NAMES: Final = ("varint", "i64", "len", "sgroup", "egroup", "i32")
_FIXED: Final = {_I64: 8, _I32: 4}
_MAX_VARINT_BYTES: Final = 10
_MORE: Final = 0x80
_BITS_64: Final = 2**64 - 1


class Field(NamedTuple):
    """A field of a protobuf message whose schema is not known."""

    number: int
    wire: int
    #: An integer without sign, or bytes; 0 for the ends of a group.
    value: int | bytes


class Fields(NamedTuple):
    """The fields of a payload, and from which byte on it was not read as fields (its length: all was)."""

    found: list[Field]
    end: int


def wire_fields(payload: bytes) -> Fields:
    """Read a payload as protobuf fields as far as it can be read as such, and at most ``MAX_FIELDS`` of them."""
    found: list[Field] = []
    at = 0
    while at < len(payload) and len(found) < MAX_FIELDS:
        read = _field(payload, at)
        if read is None:
            break
        field, at = read
        found.append(field)
    return Fields(found, at)


def _field(payload: bytes, at: int) -> tuple[Field, int] | None:
    """Read one field and return it with where it ends; None where there is none."""
    key = _varint(payload, at)
    if key is None or not key[0] >> 3 or key[0] & 7 >= len(_WIRE_NAMES):
        return None
    number, wire, at = key[0] >> 3, key[0] & 7, key[1]
    if wire in (_SGROUP, _EGROUP):
        return Field(number, wire, 0), at
    if size := _FIXED.get(wire):
        end = at + size
        return (Field(number, wire, int.from_bytes(payload[at:end], "little")), end) if end <= len(payload) else None
    value = _varint(payload, at)
    if value is None or wire == _VARINT:
        return value and (Field(number, wire, value[0]), value[1])
    length, start = value
    end = start + length
    return (Field(number, wire, payload[start:end]), end) if end <= len(payload) else None


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & ~_MORE) << 7 * index
        if not byte & _MORE:
            return value & _BITS_64, at + index + 1
    return None


def _text_of(data: bytes) -> str | None:
    """Return bytes as text when they are text: UTF-8 without control characters but line ends and tabs."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if any(unicodedata.category(char) == "Cc" and char not in "\n\r\t" for char in text) else text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _field_json(field: Field) -> dict[str, Any]:
    told: dict[str, Any] = {"number": field.number, "wire": _WIRE_NAMES[field.wire]}
    if isinstance(field.value, int):
        return told | {"value": field.value}
    text = _text_of(field.value)
    return told | ({"base64": _base64(field.value)} if text is None else {"text": text})


def event_json(event: Event, *, decoded: bool) -> dict[str, Any]:
    """Return an event for programs; ``decoded`` says whether the store has a codec to decode with."""
    commit, stored = event.commit, event.raw
    fields = wire_fields(stored.payload)
    told: dict[str, Any] = {
        "category": event.stream.category,
        "id": event.stream.id,
        "version": event.version,
        "index": event.index,
        "position": commit.position,
        "commit_id": commit.commit_id.hex(),
        "recorded_at": iso(commit.recorded_micros),
        "occurred_at": iso(_occurred(event)),
        "metadata": _metadata(commit),
        "type": stored.type,
        "schema": stored.schema,
        "size": len(stored.payload),
        "payload": _base64(stored.payload),
        "fields": [_field_json(field) for field in fields.found],
        "fields_end": fields.end,
    }
    if decoded:
        message, error = _message(event)
        told |= {"message": message, "error": error}
    return told


def _occurred(event: Event) -> int:
    # Not ``event.occurred_at``, which is a datetime: what is shown must be shown even when no calendar has it.
    return occurred_micros(event._stored, event.commit.recorded_micros)  # noqa: SLF001 (one package)


def _metadata(commit: Commit) -> dict[str, str]:
    metadata = commit.metadata
    return {name: value for name in metadata.__struct_fields__ if (value := getattr(metadata, name))}


def _message(event: Event) -> tuple[dict[str, Any] | None, str | None]:
    """Return an event's message as JSON, or why there is none."""
    try:
        return _message_json(event.message), None
    except Undecodable as error:
        return None, error.reason


def _message_json(message: Message) -> dict[str, Any]:
    try:
        told: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    except (TypeError, ValueError) as error:  # an Any of an unknown type, a Timestamp out of range
        return {"@not_json": str(error)}
    return told


def commit_text(commit: Commit, events: list[Event], *, decoded: bool, with_stream: bool) -> Iterator[tuple[int, Text]]:
    """Yield the lines that show a commit's events to people, each with how far it is indented."""
    head = Text()
    if with_stream:
        head.append(f"{commit.stream.category} {printable(commit.stream.id)}", "bold cyan")
        head.append("  ")
    head.append(f"position {commit.position}  {short_time(commit.recorded_micros)}", "bold")
    for name, value in _metadata(commit).items():
        if name in ("actor", "correlation_id", "causation_id"):
            head.append(f"  {name.removesuffix('_id')} {_clipped(value)}", "dim")
    yield 0, head
    for event in events:
        yield from _event_text(event, decoded=decoded)


def _event_text(event: Event, *, decoded: bool) -> Iterator[tuple[int, Text]]:
    stored = event.raw
    index = f".{event.index}" if event.index else ""
    line = Text.assemble((f"{event.version}{index}", "bold"), "  ", (printable(stored.type), "green"))
    line.append(f"  schema {stored.schema}, {len(stored.payload):,} bytes", "dim")
    if (occurred := _occurred(event)) != event.commit.recorded_micros:
        line.append(f", occurred {short_time(occurred)}", "dim")
    yield 2, line
    if decoded:
        message, error = _message(event)
        if error is None:
            yield from _json_text(message)
            return
        yield _INDENT, Text(f"cannot decode: {printable(error)}", "red")
    yield from _fields_text(stored.payload)


def _json_text(message: dict[str, Any] | None) -> Iterator[tuple[int, Text]]:
    for line in json.dumps(message, indent=2, ensure_ascii=False).splitlines():
        text = line.lstrip()
        yield _INDENT + len(line) - len(text), Text(_clipped(text))


def _fields_text(payload: bytes, indent: int = _INDENT) -> Iterator[tuple[int, Text]]:
    fields = wire_fields(payload)
    for field in fields.found[:_SHOWN_FIELDS]:
        name = Text.assemble(f"{field.number}: ", (_WIRE_NAMES[field.wire], "dim"))
        if _is_message(field.value) and indent <= _MAX_INDENT:
            yield indent, name
            yield from _fields_text(field.value, indent + 2)
        else:
            yield indent, Text.assemble(name, " ", _value_text(field.value))
    if (more := len(fields.found) - _SHOWN_FIELDS) > 0:
        yield indent, Text(f"{more:,} more fields", "dim")
    elif fields.end < len(payload):
        rest = payload[fields.end :]
        yield indent, Text.assemble((f"{len(rest):,} bytes that are no field: ", "red"), _hex(rest))


def _is_message(value: int | bytes) -> TypeGuard[bytes]:
    """Guess whether a field's bytes are a message: they are no text, and read as fields to the end."""
    if isinstance(value, int) or not value or _text_of(value) is not None:
        return False
    return wire_fields(value).end == len(value)


def _value_text(value: int | bytes) -> str:
    if isinstance(value, int):
        return str(value)
    text = _text_of(value)
    return _hex(value) if text is None else f'"{_clipped(text)}"'


def _hex(data: bytes) -> str:
    shown = data[: _SHOWN_CHARACTERS // 4]
    return shown.hex(" ") + (f" … {len(data):,} bytes" if len(shown) < len(data) else "")


def _clipped(text: str) -> str:
    more = len(text) - _SHOWN_CHARACTERS
    return printable(text) if more <= 0 else f"{printable(text[:_SHOWN_CHARACTERS])} … {more:,} more characters"


class Printer:
    """Shows commits, as text or as JSON."""

    def __init__(self, codec: EventCodec | None, *, as_json: bool, with_stream: bool = False) -> None:
        self.codec = codec
        self._as_json = as_json
        self._with_stream = with_stream
        self._out = console()

    def show(self, commit: Commit, *, after: int = 0) -> None:
        """Show the events of a commit after a version."""
        events = [event for event in commit.events if event.version > after]
        if self._as_json:
            self._show_json(events)
            return
        decoded = self.codec is not None
        for indent, line in commit_text(commit, events, decoded=decoded, with_stream=self._with_stream):
            self._out.print(Padding(line, (0, 0, 0, indent), expand=False))

    def _show_json(self, events: Iterable[Event]) -> None:
        for event in events:
            write_line(json_line(event_json(event, decoded=self.codec is not None)))
