"""Single changes of a proto: compiled, checked, and really decoded, each schema with the other."""

from __future__ import annotations

import re
from collections import defaultdict
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from upcasting._buf import breaking, compiled
from upcasting._check import Verdict, check
from upcasting._pairs import Protos, is_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message


class Row(NamedTuple):
    """A line of the table."""

    change: str
    old: str
    new: str
    #: What happens to bytes and JSON of the old schema with the new one, and to those of the new with the old one.
    backward: str
    backward_json: str
    forward: str
    forward_json: str
    ours: str
    buf: str
    #: Why one of the three says something else.
    reason: str

    def __str__(self) -> str:
        cells = [self.change, f"`{self.old}`", f"`{self.new}`", *self[3:]]
        return f"| {' | '.join(cells)} |"

    @property
    def disagrees(self) -> bool:
        """Whether the three do not say the same."""
        return len({self.ours, self.buf, self.really}) > 1

    @property
    def really(self) -> str:
        """The verdict of what happens."""
        outcomes = {"BACKWARD": {self.backward, self.backward_json}, "FORWARD": {self.forward, self.forward_json}}
        return _verdict({direction for direction, got in outcomes.items() if not got <= {"same", "skipped"}})


def rows(page: Path) -> list[Row]:
    """Return the table of a page."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip().strip("`") for cell in line.strip("| ").split(" | ")] for line in lines[2:]]
    return [Row(*line, *[""] * (len(Row._fields) - len(line))) for line in cells]


def measured(table: Sequence[Row], *, wire: bool = False) -> list[Row]:
    """Return a table with what is the case; ours is what a check says, of the binary form alone if so asked."""
    before, now = ({f"row{n}.proto": _proto(n, row[side]) for n, row in enumerate(table)} for side in (1, 2))
    old_set, new_set = compiled("old", before), compiled("new", now)
    old, new = Protos("old", old_set, before), Protos("new", new_set, now)
    ours = defaultdict(set)
    for finding in check(old, new, wire=wire).findings:
        ours[finding.message.partition(".")[0]].add(finding.direction.value)
    plain = defaultdict(set)
    for direction, newer, older in (("BACKWARD", new_set, old_set), ("FORWARD", old_set, new_set)):
        for broken in breaking(newer, against=older, left_out=()):
            plain[broken.path.removesuffix(".proto")].add(direction)
    return [
        row._replace(**_outcomes(f"row{n}", old, new), ours=_verdict(ours[f"row{n}"]), buf=_verdict(plain[f"row{n}"]))
        for n, row in enumerate(table)
    ]


def _verdict(breaks: set[str]) -> str:
    return {0: Verdict.FULL, 2: Verdict.NONE}.get(len(breaks)) or ("FORWARD" if "BACKWARD" in breaks else "BACKWARD")


# From a cell to a proto

_SYNTAX: Final = {"proto2": 'syntax = "proto2";', "2023": 'edition = "2023";', "2024": 'edition = "2024";'}
_IMPORTS: Final = {
    "eventstore.v1": "eventstore/v1/options.proto",
    "Timestamp": "google/protobuf/timestamp.proto",
    "Int32Value": "google/protobuf/wrappers.proto",
}
_COMMON: Final = {
    "Kind": "enum Kind { KIND_NONE = 0; KIND_A = 1; }",
    "Sub": "message Sub { int32 x = 1; string y = 2; }",
    "Twin": "message Twin { int32 x = 1; string y = 2; }",
    "Wider": "message Wider { int32 x = 1; string y = 2; bool z = 3; }",
}


def _proto(number: int, cell: str) -> bytes:
    """Return the file of a cell: fields of a message M, or messages, after what is said about the file."""
    text = cell.replace("@", f"row{number}")
    syntax, package = 'syntax = "proto3";', f"row{number}"
    if match := re.match(r"(proto2|2023|2024); ", text):
        syntax, text = _SYNTAX[match[1]], text[match.end() :]
    if match := re.match(r"package (\w+); ", text):
        package, text = f"{package}.{match[1]}", text[match.end() :]
    if not re.match(r"message (M|N|MV1) ", text):
        text = f"message M {{ {text} }}"
    common = [lines for word, lines in _COMMON.items() if re.search(rf"(?<!message )(?<!enum )\b{word} (?!{{)", text)]
    if "proto2" in syntax:
        common = [re.sub(r"(?<=[{;] )(?=int32|string|bool)", "optional ", lines) for lines in common]
    common = [lines for lines in common if lines.split(" {")[0] not in text]
    imports = [f'import "{path}";' for word, path in _IMPORTS.items() if word in text]
    return "\n".join([syntax, f"package {package};", *imports, text, *common]).encode()


# What really happens


class _Outcome(IntEnum):
    same = 0
    skipped = 1  # the reader has no such field
    lost = 2
    garbled = 3
    refused = 4


def _outcomes(package: str, old: Protos, new: Protos) -> dict[str, str]:
    found: dict[str, str] = {}
    for direction, writer, reader in (("backward", old, new), ("forward", new, old)):
        worst = [_Outcome.same, _Outcome.same]
        for name, message in writer.messages.items():
            if message.full_name.startswith(f"{package}.") and _is_root(message):
                got = _decoded_with(message, reader.messages.get(name), writer, reader)
                worst = list(map(max, worst, got))
        found |= {direction: worst[0].name, f"{direction}_json": worst[1].name}
    return found


def _is_root(message: Descriptor) -> bool:
    return message.containing_type is None and message.name not in _COMMON


def _decoded_with(
    written: Descriptor, known: Descriptor | None, writer: Protos, reader: Protos
) -> tuple[_Outcome, _Outcome]:
    """Return the worst that happens to values of a message in bytes and in JSON."""
    if known is None:
        return _Outcome.refused, _Outcome.refused
    comparison = _Comparison(writer, reader)
    binary, json = [_Outcome.same], [_Outcome.same]
    for message in _samples(written, writer):
        for outcomes, decode in ((binary, _binary), (json, _json)):
            try:
                got = decode(message, message_factory.GetMessageClass(known))
            except (DecodeError, json_format.ParseError):
                outcomes.append(_Outcome.refused)
            else:
                outcomes.append(comparison.messages(message, got) if got.IsInitialized() else _Outcome.refused)
    return max(binary), max(json)


def _binary(message: Message, cls: type[Message]) -> Message:
    return cls.FromString(message.SerializeToString())


def _json(message: Message, cls: type[Message]) -> Message:
    return json_format.Parse(json_format.MessageToJson(message), cls(), ignore_unknown_fields=True)


class _Comparison:
    """What of a written message has arrived."""

    def __init__(self, writer: Protos, reader: Protos) -> None:
        self._writer, self._reader = writer, reader

    def messages(self, written: Any, got: Any) -> _Outcome:
        """Return the worst of all fields."""
        fields, known = self._writer.fields(written.DESCRIPTOR), self._reader.fields(got.DESCRIPTOR)
        outcomes = [self._field(written, field, got, known.get(number)) for number, field in fields.items()]
        out_of_nothing = (_is_set(got, field) for number, field in known.items() if number not in fields)
        return max([_Outcome.same, *outcomes, _Outcome.garbled if any(out_of_nothing) else _Outcome.same])

    def _field(self, written: Message, field: FieldDescriptor, got: Message, known: FieldDescriptor | None) -> _Outcome:
        if not _is_set(written, field):
            before, now = _absent(field), _absent(known)
            same = before == now or type(before) is not type(now)
            return _Outcome.same if same and not _is_set(got, known) else _Outcome.garbled
        if known is None:
            return _Outcome.skipped
        values, arrived = _values(written, field), _values(got, known)
        if not _is_set(got, known):
            return _Outcome.same if [*map(_plain, values)] == [_absent(known)] else _Outcome.lost
        if len(arrived) < len(values):
            return _Outcome.lost
        return max(map(self._value, values, arrived))

    def _value(self, written: Any, got: Any) -> _Outcome:
        if hasattr(written, "DESCRIPTOR") and hasattr(got, "DESCRIPTOR"):
            return self.messages(written, got)
        return _Outcome.same if _plain(written) == _plain(got) else _Outcome.garbled


def _get(message: Message, field: FieldDescriptor) -> Any:
    return message.Extensions[field] if field.is_extension else getattr(message, field.name)  # type: ignore[index]


def _is_set(message: Message, field: FieldDescriptor | None) -> bool:
    return field is not None and any(one.number == field.number for one, _ in message.ListFields())


def _absent(field: FieldDescriptor | None) -> Any:
    """Return what a field has that is not set; nothing for lists and messages."""
    if field is None or field.is_repeated or field.message_type is not None:
        return None
    return _plain(field.default_value)


def _values(message: Message, field: FieldDescriptor) -> list[Any]:
    value = _get(message, field)
    if is_entry(field.message_type):
        entry = message_factory.GetMessageClass(field.message_type)
        return [entry(key=key, value=value[key]) for key in sorted(value)]
    return list(value) if field.is_repeated else [value]


def _plain(value: Any) -> Any:
    """Return a value without its type: text as its bytes, a message as its own."""
    if hasattr(value, "DESCRIPTOR"):
        return value.SerializeToString(deterministic=True)
    return value.encode() if isinstance(value, str) else value


# What to write

_NUMBERS: Final[dict[int, Sequence[Any]]] = {
    FieldDescriptor.CPPTYPE_INT32: [1, -1, 2**31 - 1, -(2**31)],
    FieldDescriptor.CPPTYPE_INT64: [1, -1, 2**40, -(2**63)],
    FieldDescriptor.CPPTYPE_UINT32: [1, 2**32 - 1],
    FieldDescriptor.CPPTYPE_UINT64: [1, 2**64 - 1],
    FieldDescriptor.CPPTYPE_BOOL: [True],
    FieldDescriptor.CPPTYPE_FLOAT: [1.5, -2.0],
    FieldDescriptor.CPPTYPE_DOUBLE: [1.5, 1e300],
}


def _samples(descriptor: Descriptor, protos: Protos) -> Iterator[Message]:
    """Yield a message with nothing set, with each value of each field, and with all fields set."""
    fields = protos.fields(descriptor).values()
    yield _message(descriptor, protos, [])
    for field in fields:
        for value in _written(field, protos):
            yield _message(descriptor, protos, [(field, value)])
    yield _message(descriptor, protos, [(field, _written(field, protos)[0]) for field in fields])


def _message(descriptor: Descriptor, protos: Protos, values: Sequence[tuple[FieldDescriptor, Any]]) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    required = [(field, _written(field, protos)[0]) for field in descriptor.fields if field.is_required]
    for field, value in (*required, *values):
        if is_entry(field.message_type):
            for entry in value:
                _set_entry(_get(message, field), entry)
        elif field.is_repeated:
            del _get(message, field)[:]
            _get(message, field).extend(value)
        elif field.message_type is not None:
            _get(message, field).CopyFrom(value)
        elif field.is_extension:
            message.Extensions[field] = value  # type: ignore[index]
        else:
            setattr(message, field.name, value)
    return message


def _written(field: FieldDescriptor, protos: Protos) -> list[Any]:
    """Return values worth writing in a field."""
    one = list(_singular(field, protos))
    if is_entry(field.message_type):
        return [[one[0]], [*reversed(one)][:2]]
    return [one[:1], [*one, *one][:2]] if field.is_repeated else one


def _singular(field: FieldDescriptor, protos: Protos) -> Sequence[Any]:
    if field.enum_type is not None:
        return sorted(field.enum_type.values_by_number, reverse=True)
    if field.message_type is not None:
        every = list(filter(_has_json, _samples(field.message_type, protos)))
        return [every[-1], *every[:-1]]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [b"abc", b"\xff"]
    if field.type == FieldDescriptor.TYPE_STRING:
        return ["abc", "\u00e9", "7"]
    return _NUMBERS[field.cpp_type]


def _has_json(message: Message) -> bool:
    """Say whether a message is one that may be written: not a time that no calendar has."""
    try:
        return bool(json_format.MessageToJson(message))
    except ValueError:
        return False


def _set_entry(held: Any, entry: Any) -> None:
    if hasattr(entry.value, "DESCRIPTOR"):
        held[entry.key].CopyFrom(entry.value)
    else:
        held[entry.key] = entry.value
