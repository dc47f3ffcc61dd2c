"""Two sets of protos, brought to where a tool that compares by name compares what is stored.

The log knows an event by its (type, schema), whatever its message is called today, and what lies inside a message by
nothing but field numbers. So an old message and a new one are a pair when they are stored under one name, and then each
two messages or enums that fields of one number hold in both. Every pair is written twice under a name of its own, as it
was and as it is; what those two differ in is what a reader meets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeGuard

from eventstore import event_name
from google.protobuf import descriptor_database, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from upcasting._errors import CannotCompare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from upcasting._chains import Name

Type: TypeAlias = Descriptor | EnumDescriptor

# They have one shape everywhere, and often a form of their own in JSON.
_WELL_KNOWN: Final = "google.protobuf."
_OPTION: Final = "eventstore.v1.event"
_NO_EVENTS: Final = (_WELL_KNOWN, "eventstore.v1.")


class Protos:
    """The messages of a descriptor set, by the name under which they are stored.

    Args:
        source: what errors call it.
        files: what it holds.
        own: the files of which messages may be events; the rest is there because these import it.
    """

    def __init__(self, source: str, files: FileDescriptorSet, own: Iterable[str]) -> None:
        self.source: Final = source
        self.messages: Final[dict[Name, Descriptor]] = {}
        self._own: Final = frozenset(own)
        database = descriptor_database.DescriptorDatabase()
        self._pool: Final = descriptor_pool.DescriptorPool(database)
        try:
            for file in files.file:
                database.Add(file)
            built = [self._pool.FindFileByName(file.name) for file in files.file]
        except (TypeError, KeyError, descriptor_database.Error) as error:
            raise CannotCompare(source, f"its descriptors do not fit together: {error}") from None
        for message in _with_nested(one for file in built for one in file.message_types_by_name.values()):
            self._add(message)
        methods = [method for file in built for one in file.services_by_name.values() for method in one.methods]
        # What a service is called with, and what it answers.
        self._called: Final = {type.full_name for one in methods for type in (one.input_type, one.output_type)}

    @property
    def own(self) -> dict[Name, Descriptor]:
        """The messages of its own files."""
        return {name: message for name, message in self.messages.items() if self._owns(message)}

    @property
    def events(self) -> dict[Name, Descriptor]:
        """What may stand in a log: messages with the option, and those at the top level that nothing else holds."""
        held = {inner.full_name for one in self.messages.values() for inner in self._held(one) if inner is not one}
        held |= self._called
        return {
            name: message
            for name, message in self.own.items()
            if _declared(message) or (message.containing_type is None and message.full_name not in held)
        }

    def _owns(self, message: Descriptor) -> bool:
        return message.file.name in self._own and not message.full_name.startswith(_NO_EVENTS)

    def fields(self, type: Type) -> dict[int, FieldDescriptor]:
        """Return all fields of a message by number, those that extend it too. An enum has none."""
        if isinstance(type, EnumDescriptor):
            return {}
        return {field.number: field for field in (*type.fields, *self._pool.FindAllExtensions(type))}

    def _held(self, message: Descriptor) -> Iterator[Descriptor]:
        for field in self.fields(message).values():
            if (inner := field.message_type) is not None:
                yield from self._held(inner) if is_entry(inner) else (inner,)

    def _add(self, message: Descriptor) -> None:
        name = event_name(message_factory.GetMessageClass(message))
        if (other := self.messages.setdefault(name, message)) is not message:
            raise CannotCompare(
                self.source, f"{message.full_name} and {other.full_name} are both stored as {name[0]} schema {name[1]}"
            )


class Pair(NamedTuple):
    """A message or enum as it was and as it is."""

    key: str
    old: Type
    new: Type
    #: The events that hold it, each by its name.
    events: set[Name]


class Pairs:
    """All pairs of two sets of protos.

    Args:
        old: the protos as they were.
        new: the protos as they are.
        stored: names that are known to be events, whatever the protos say.

    Attributes:
        old: as given.
        new: as given.
        events: the names of all that may stand in a log.
        unread: events of the old ones that the new ones have no message for.
        unheard: events of the new ones that the old ones have no message for.
    """

    def __init__(self, old: Protos, new: Protos, *, stored: Iterable[Name] = ()) -> None:
        self.old: Final = old
        self.new: Final = new
        self._pairs: Final[dict[tuple[str, str], Pair]] = {}
        before, now = old.events, new.events
        before |= {name: old.messages[name] for name in stored if name in old.messages}
        self.unread: Final = {name: message for name, message in before.items() if name not in new.messages}
        self.unheard: Final = {name: message for name, message in now.items() if name not in old.messages}
        self.events: Final = before.keys() | now.keys()
        for name in sorted(self.events):
            self._follow(name)
        # What no event holds: the messages of a service, or those that hold nothing but each other.
        reached = {pair.old.full_name for pair in self._pairs.values()}
        for name, message in old.own.items():
            if message.full_name not in reached:
                self._follow(name)

    def __iter__(self) -> Iterator[Pair]:
        """Yield each pair."""
        return iter(self._pairs.values())

    def members(self, pair: Pair) -> tuple[dict[int, str], dict[int, str]]:
        """Return the names of the fields or values of a pair by number, as they were and as they are."""
        return members(self.old, pair.old), members(self.new, pair.new)

    def _follow(self, name: Name) -> None:
        """Pair the messages of one name, and all that both hold."""
        if name not in self.old.messages or name not in self.new.messages:
            return
        waiting: list[tuple[Type, Type]] = [(self.old.messages[name], self.new.messages[name])]
        while waiting:
            old, new = waiting.pop()
            names = (old.full_name, new.full_name)
            pair = self._pairs.setdefault(names, Pair(f"pair{len(self._pairs)}", old, new, set()))
            if name not in pair.events:
                pair.events.add(name)
                waiting += self._inside(old, new)

    def _inside(self, old: Type, new: Type) -> Iterator[tuple[Type, Type]]:
        now = self.new.fields(new)
        for number, field in self.old.fields(old).items():
            before, after = inner(field), inner(now.get(number))
            if before is None or after is None or not comparable(before, after):
                continue
            if is_entry(before):
                yield from self._inside(before, after)
            else:
                yield before, after


def members(protos: Protos, type: Type) -> dict[int, str]:
    """Return the names of fields or values by number."""
    if isinstance(type, EnumDescriptor):
        return {number: value.name for number, value in type.values_by_number.items()}
    return {
        number: field.full_name if field.is_extension else field.name for number, field in protos.fields(type).items()
    }


def inner(field: FieldDescriptor | None) -> Type | None:
    """Return the message or enum that a field holds."""
    return None if field is None else field.message_type or field.enum_type


def is_entry(type: Type | None) -> TypeGuard[Descriptor]:
    """Say whether this is what a map is made of."""
    return isinstance(type, Descriptor) and bool(type.GetOptions().map_entry)


def comparable(old: Type, new: Type) -> bool:
    """Say whether two types can differ in what is in them alone, and not in what they are."""
    if isinstance(old, EnumDescriptor) or isinstance(new, EnumDescriptor):
        return isinstance(old, EnumDescriptor) and isinstance(new, EnumDescriptor)
    if _WELL_KNOWN in (old.full_name[: len(_WELL_KNOWN)], new.full_name[: len(_WELL_KNOWN)]):
        return old.full_name == new.full_name
    return is_entry(old) == is_entry(new)


def _with_nested(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        if not is_entry(message):
            yield message
            yield from _with_nested(message.nested_types)


def _declared(message: Descriptor) -> bool:
    return any(field.full_name == _OPTION for field, _ in message.GetOptions().ListFields())
