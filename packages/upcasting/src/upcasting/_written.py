"""Pairs as two descriptor sets, in which both sides of a pair have one name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from upcasting._errors import CannotCompare
from upcasting._pairs import Pair, Pairs, Type, comparable, inner, is_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor_pb2 import EnumOptions, MessageOptions

    from upcasting._buf import Broken

_WRITTEN_NAME: Final = re.compile(r"pair\d+(?:\.\w+)+")
_MESSAGES: Final = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_NESTED: Final = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
_ENUMS: Final = DescriptorProto.ENUM_TYPE_FIELD_NUMBER
_FIELDS: Final = DescriptorProto.FIELD_FIELD_NUMBER
_VALUES: Final = EnumDescriptorProto.VALUE_FIELD_NUMBER
# The line of all that is written around pairs: what buf says of it is about nothing that is stored, and is dropped. It
# is not the first line, where buf puts what has no place: that is an error, or a rule of tomorrow would go unnoticed.
_SCAFFOLD: Final = 2
# What breaks a rule is a declaration or a part of it, such as its type.
_PARTS: Final = [(), *((number,) for number in FieldDescriptorProto.DESCRIPTOR.fields_by_number)]
# What lies in a message beside its fields is written elsewhere, or is nothing that is stored.
_LEFT_OUT: Final = ("field", "nested_type", "enum_type", "extension", "extension_range", "reserved_range")


class Written:
    """All pairs as they were and as they are.

    Attributes:
        old: as they were.
        new: as they are.
    """

    def __init__(self, pairs: Pairs) -> None:
        # What stands at each line: a pair, and the number of a field or value of it, or None.
        self._places: Final[list[tuple[Pair, int | None]]] = []
        for pair in pairs:
            before, after = pairs.members(pair)
            self._places.extend((pair, number) for number in (None, *sorted(before.keys() | after.keys())))
        lines = {(pair.key, number): line for line, (pair, number) in enumerate(self._places, _SCAFFOLD + 1)}
        old, new = _Side(pairs, lines, new=False), _Side(pairs, lines, new=True)
        self._names: Final = old.names | new.names
        self.old: Final = FileDescriptorSet(file=old.files.values())
        self.new: Final = FileDescriptorSet(file=new.files.values())

    def place(self, broken: Broken) -> tuple[Pair, int | None] | None:
        """Return where a rule is broken: a pair, and the number of a field or value of it, or nothing that is stored.

        Raises:
            CannotCompare: the rule does not say.
        """
        if broken.line < _SCAFFOLD:
            raise CannotCompare("buf breaking", f"{broken.rule} names no place: {broken.text}")
        return None if broken.line == _SCAFFOLD else self._places[broken.line - _SCAFFOLD - 1]

    def original(self, text: str) -> str:
        """Return a text about one of the sets with the names that messages really have."""
        return _WRITTEN_NAME.sub(lambda match: self._names.get(match[0], match[0]), text)


class _Scope(NamedTuple):
    """Where a message is written: inside which one, for which pair, in which file."""

    pair: Pair
    file: FileDescriptorProto
    outer: DescriptorProto


class _Side:
    """One of the two sets. Each pair is a message with the original in it, so that names never meet.

    A file holds the pairs of one old and one new file. A circle of messages lies within one file, before and after, so
    that these files form none either.

    Attributes:
        files: the files of the set.
        names: what is written, by its full name, and what it really is called.
    """

    def __init__(self, pairs: Pairs, lines: dict[tuple[str, int | None], int], *, new: bool) -> None:
        self._pairs: Final = {(pair.old.full_name, pair.new.full_name): pair for pair in pairs}
        self._lines: Final = lines
        self._new: Final = new
        self._protos: Final = pairs.new if new else pairs.old
        self._others: Final = pairs.old if new else pairs.new
        self.files: Final[dict[str, FileDescriptorProto]] = {}
        self.names: Final[dict[str, str]] = {}
        for pair in pairs:
            self._write(pair)

    def _write(self, pair: Pair) -> None:
        mine, theirs = (pair.new, pair.old) if self._new else (pair.old, pair.new)
        file = self._file(_file_name(pair), mine)
        path = (_MESSAGES, len(file.message_type))
        outer = file.message_type.add(name=pair.key)
        self.names[f"{pair.key}.{pair.old.name}"] = pair.old.name
        if isinstance(mine, EnumDescriptor):
            place = (*path, _ENUMS, 0)
            enum = outer.enum_type.add()
            mine.CopyToProto(enum)
            enum.name = pair.old.name
            _inherit(mine, enum.options)
            self._locate(file, pair, (*place, _VALUES), [value.number for value in enum.value])
        else:
            place = (*path, _NESTED, 0)
            message = outer.nested_type.add()
            self._write_message(_Scope(pair, file, outer), message, mine, self._others.fields(theirs))
            message.name = pair.old.name
            self._locate(file, pair, (*place, _FIELDS), [field.number for field in message.field])
        _locate_scaffold(file, outer, path, place)

    def _file(self, name: str, mine: Type) -> FileDescriptorProto:
        if name not in self.files:
            origin = FileDescriptorProto()
            mine.file.CopyToProto(origin)
            file = self.files[name] = FileDescriptorProto(name=name, syntax=origin.syntax)
            if origin.HasField("edition"):
                file.edition = origin.edition
            if origin.options.HasField("features"):
                file.options.features.CopyFrom(origin.options.features)
        return self.files[name]

    def _locate(self, file: FileDescriptorProto, pair: Pair, path: tuple[int, ...], numbers: Sequence[int]) -> None:
        """Say at which line a declaration and its members stand."""
        _locate(file, path[:-1], self._lines[pair.key, None])
        for index, number in enumerate(numbers):
            for part in _PARTS:
                _locate(file, (*path, index, *part), self._lines[pair.key, number])

    # Messages

    def _write_message(
        self, scope: _Scope, written: DescriptorProto, mine: Descriptor, others: Mapping[int, FieldDescriptor]
    ) -> None:
        mine.CopyToProto(written)
        declared = {field.number: field for field in [*written.field]}
        for left_out in _LEFT_OUT:
            written.ClearField(left_out)
        # Its extensions are written as fields, and a message set may have none.
        written.options.ClearField("message_set_wire_format")
        _inherit(mine, written.options)
        for number, field in self._protos.fields(mine).items():
            declaration = written.field.add()
            declaration.CopyFrom(_as_field(field) if field.is_extension else declared[number])
            if (type := inner(field)) is not None:
                declaration.type_name = self._type_name(scope, written, declaration, type, inner(others.get(number)))

    def _type_name(
        self, scope: _Scope, message: DescriptorProto, field: FieldDescriptorProto, mine: Type, theirs: Type | None
    ) -> str:
        """Return the name for what a field holds; what is no pair is written without anything in it."""
        here = f"{scope.pair.key}.{scope.pair.old.name}.{mine.name}"
        if is_entry(mine):
            others = self._others.fields(theirs) if is_entry(theirs) else {}
            self._write_message(scope, message.nested_type.add(), mine, others)
        elif field.type == FieldDescriptorProto.TYPE_GROUP:
            # It is declared where it is used.
            message.nested_type.add(name=mine.name)
        elif theirs is not None and comparable(mine, theirs):
            names = (theirs.full_name, mine.full_name) if self._new else (mine.full_name, theirs.full_name)
            here = self._import(scope.file, self._pairs[names])
        else:
            here = _declare(scope.outer, mine)
        self.names[here] = mine.full_name
        return f".{here}"

    def _import(self, file: FileDescriptorProto, pair: Pair) -> str:
        if (name := _file_name(pair)) not in (file.name, *file.dependency):
            file.dependency.append(name)
        return f"{pair.key}.{pair.old.name}"


def _locate(file: FileDescriptorProto, path: Sequence[int], line: int) -> None:
    file.source_code_info.location.add(path=path, span=(line - 1, 0, 0))


def _locate_scaffold(
    file: FileDescriptorProto, message: DescriptorProto, path: tuple[int, ...], real: tuple[int, ...]
) -> None:
    """Say of a message and those in it, but for the one that is real, that they are not stored."""
    if path != real:
        _locate(file, path, _SCAFFOLD)
    for index, nested in enumerate(message.nested_type):
        _locate_scaffold(file, nested, (*path, _NESTED, index), real)


def _file_name(pair: Pair) -> str:
    return f"{pair.old.file.name} {pair.new.file.name}"


def _as_field(extension: FieldDescriptor) -> FieldDescriptorProto:
    """Return an extension as a field of what it extends, which it is to whoever decodes."""
    file, message = FileDescriptorProto(), DescriptorProto()
    if (scope := extension.extension_scope) is None:
        extension.file.CopyToProto(file)  # type: ignore[attr-defined] # types-protobuf lacks it
    else:
        scope.CopyToProto(message)
    declared: list[FieldDescriptorProto] = [*file.extension, *message.extension]
    field = next(one for one in declared if one.name == extension.name)
    field.ClearField("extendee")
    field.name = extension.full_name.replace(".", "_")
    field.json_name = f"[{extension.full_name}]"
    return field


def _declare(outer: DescriptorProto, type: Type) -> str:
    """Write a message or enum of which nothing but its kind counts."""
    name = f"held_{type.full_name.replace('.', '_')}"
    if name not in {*(one.name for one in outer.nested_type), *(one.name for one in outer.enum_type)}:
        if isinstance(type, EnumDescriptor):
            outer.enum_type.add(name=name).value.add(name=f"{name}_value", number=0)
        else:
            outer.nested_type.add(name=name)
    return f"{outer.name}.{name}"


def _inherit(type: Type, options: MessageOptions | EnumOptions) -> None:
    """Give options the features of what a type is declared in, which it loses where it stands."""
    parent = type.containing_type
    if parent is None:
        return
    outer = DescriptorProto()
    parent.CopyToProto(outer)
    _inherit(parent, outer.options)
    features = FeatureSet()
    features.CopyFrom(outer.options.features)
    features.MergeFrom(options.features)
    if features.ListFields():
        options.features.CopyFrom(features)
