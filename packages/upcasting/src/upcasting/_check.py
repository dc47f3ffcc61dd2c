"""Whether code of today reads what code of before has written, and the other way round, and what bridges the rest."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from upcasting import _buf as buf
from upcasting._chains import describe
from upcasting._golden import differences
from upcasting._pairs import Pairs, Protos, Type, is_entry, members
from upcasting._upcasting import Upcasting, messages_in, values_in
from upcasting._written import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from upcasting._chains import Name
    from upcasting._golden import Pins
    from upcasting._upcasting import Reader

#: Our own rules, beside those of buf. What is stored under a (type, schema) has a message.
HAS_MESSAGE: Final = "EVENT_HAS_MESSAGE"
#: Who moves something to another number has not deleted it, though it looks so to whoever reads by number.
SAME_FIELD: Final = "FIELD_SAME_NUMBER"
SAME_VALUE: Final = "ENUM_VALUE_SAME_NUMBER"
#: The same bytes are other numbers where their type has another sign or fewer bits.
SAME_RANGE: Final = "FIELD_SAME_RANGE"
_RANGES: Final = {
    FieldDescriptor.TYPE_BOOL: range(2),
    FieldDescriptor.TYPE_ENUM: range(-(2**31), 2**31),
    FieldDescriptor.TYPE_INT32: range(-(2**31), 2**31),
    FieldDescriptor.TYPE_SINT32: range(-(2**31), 2**31),
    FieldDescriptor.TYPE_SFIXED32: range(-(2**31), 2**31),
    FieldDescriptor.TYPE_UINT32: range(2**32),
    FieldDescriptor.TYPE_FIXED32: range(2**32),
    FieldDescriptor.TYPE_INT64: range(-(2**63), 2**63),
    FieldDescriptor.TYPE_SINT64: range(-(2**63), 2**63),
    FieldDescriptor.TYPE_SFIXED64: range(-(2**63), 2**63),
    FieldDescriptor.TYPE_UINT64: range(2**64),
    FieldDescriptor.TYPE_FIXED64: range(2**64),
}
#: A closed enum hides a number that it has no name for: its field looks as if nothing had been said.
CLOSED_VALUES: Final = "ENUM_CLOSED_SAME_VALUES"
# These are broken where a field is absent, so that an event that holds it would prove nothing.
_OF_ABSENCE: Final = frozenset({"FIELD_SAME_DEFAULT", "MESSAGE_SAME_REQUIRED_FIELDS"})


_T = TypeVar("_T")


class Direction(StrEnum):
    """Who reads what."""

    #: New code reads old data.
    BACKWARD = "BACKWARD"
    #: Old code reads new data.
    FORWARD = "FORWARD"


class Verdict(StrEnum):
    """In which directions all is read."""

    BACKWARD = "BACKWARD"
    FORWARD = "FORWARD"
    FULL = "FULL"
    NONE = "NONE"


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Something in an event that is not read as it was written, unless it is covered."""

    #: The event: its stored name.
    type: str
    schema: int
    #: The message or enum in it, by its full name, and the field or value, or nothing where it is the whole.
    message: str
    field: str
    rule: str
    #: In which direction it breaks.
    direction: Direction
    text: str
    #: Whether steps bridge it and golden bytes prove that, and which; or what is missing.
    covered: bool
    by: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check has found."""

    #: How many events were compared.
    events: int
    findings: Sequence[Break]

    def holds(self, direction: Direction) -> bool:
        """Say whether all is read in a direction."""
        return all(finding.covered for finding in self.findings if finding.direction is direction)

    @property
    def verdict(self) -> Verdict:
        """In which directions all is read."""
        backward, forward = map(self.holds, Direction)
        if backward and forward:
            return Verdict.FULL
        if backward:
            return Verdict.BACKWARD
        return Verdict.FORWARD if forward else Verdict.NONE


def check(
    old: Protos,
    new: Protos,
    *,
    codec: Reader | None = None,
    golden: Mapping[Name, Pins] | None = None,
    wire: bool = False,
) -> Checked:
    """Compare all that is stored.

    Args:
        old: the protos of before.
        new: the protos of today.
        codec: what reads the log today; its steps may bridge what breaks.
        golden: what was stored, to prove that they do.
        wire: only the binary form counts, in which names are not stored.

    Raises:
        CannotCompare: buf is missing or fails.
    """
    proofs = _Proofs(old, new, codec, golden or {})
    pairs = Pairs(old, new, stored=proofs.stored)
    ours = (*_missing(pairs), *_moved(pairs), *_cut(pairs), *_hidden(pairs))
    breaks = (*ours, *_broken(pairs, buf.WIRE if wire else buf.WIRE_JSON))
    found = [_break_of(name, one, proofs) for one in breaks for name in one.events]
    # What breaks in both directions stands together.
    found.sort(key=lambda one: (one.type, one.schema, one.message, one.field, one.rule, one.direction))
    return Checked(events=len(pairs.events), findings=found)


class _Place(NamedTuple):
    """What is not read as it was written, in whatever events hold it."""

    direction: Direction
    rule: str
    text: str
    #: The message or enum, and the number and name of the field or value.
    held: Type
    number: int | None
    field: str
    events: Iterable[Name]


def _missing(pairs: Pairs) -> Iterator[_Place]:
    for name, message in pairs.unread.items():
        text = f"Nothing is stored as {describe(name)} any more, as message {message.full_name} was."
        yield _Place(Direction.BACKWARD, HAS_MESSAGE, text, message, None, "", [name])
    for name, message in pairs.unheard.items():
        text = f"Nothing was stored as {describe(name)} before, as message {message.full_name} is."
        yield _Place(Direction.FORWARD, HAS_MESSAGE, text, message, None, "", [name])


def _broken(pairs: Pairs, rules: str) -> Iterator[_Place]:
    written = Written(pairs)
    if written.old == written.new:
        return
    with ThreadPoolExecutor() as pool:
        backward = pool.submit(buf.breaking, written.new, against=written.old, rules=rules)
        forward = pool.submit(buf.breaking, written.old, against=written.new, rules=rules)
    for direction, future in ((Direction.BACKWARD, backward), (Direction.FORWARD, forward)):
        for one in future.result():
            if (place := written.place(one)) is None:
                continue
            pair, number = place
            before, after = pairs.members(pair)
            field = "" if number is None else before.get(number) or after[number]
            yield _Place(direction, one.rule, written.original(one.text), pair.old, number, field, pair.events)


def _moved(pairs: Pairs) -> Iterator[_Place]:
    for pair in pairs:
        numbers = dict(_numbers(pairs.new, pair.new))
        what, rule = ("Enum value", SAME_VALUE) if isinstance(pair.old, EnumDescriptor) else ("Field", SAME_FIELD)
        for name, number in _numbers(pairs.old, pair.old):
            if numbers.get(name, number) != number:
                text = f'{what} "{name}" on "{pair.old.name}" moved from number {number} to {numbers[name]}.'
                for direction in Direction:
                    yield _Place(direction, rule, text, pair.old, number, name, pair.events)


def _numbers(protos: Protos, type: Type) -> Iterator[tuple[str, int]]:
    """Yield each name of a field or value with its number; with aliases, a number has several."""
    if isinstance(type, EnumDescriptor):
        yield from ((value.name, value.number) for value in type.values)
    else:
        yield from ((name, number) for number, name in members(protos, type).items())


def _cut(pairs: Pairs) -> Iterator[_Place]:
    for pair in pairs:
        names, after = members(pairs.old, pair.old), pairs.new.fields(pair.new)
        for number, field in pairs.old.fields(pair.old).items():
            for before, now in zip(_parts(field), _parts(after.get(number)), strict=False):
                for direction, written, read in _both_ways(before, now):
                    if not _fits(written, read):
                        text = f'Field "{names[number]}" on "{pair.old.name}" reads some numbers as others.'
                        yield _Place(direction, SAME_RANGE, text, pair.old, number, names[number], pair.events)


def _parts(field: FieldDescriptor | None) -> Sequence[FieldDescriptor]:
    """Return what holds the values of a field: itself, or key and value of a map."""
    if field is None:
        return ()
    return field.message_type.fields if is_entry(field.message_type) else (field,)


def _fits(written: FieldDescriptor, read: FieldDescriptor) -> bool:
    """Say whether each number of a type is one of another; what is no number is not asked here."""
    if written.type not in _RANGES or read.type not in _RANGES:
        return True
    numbers, known = _RANGES[written.type], _RANGES[read.type]
    return known.start <= numbers.start and numbers.stop <= known.stop


def _hidden(pairs: Pairs) -> Iterator[_Place]:
    for pair in pairs:
        for direction, written, read in _both_ways((pairs.old, pair.old), (pairs.new, pair.new)):
            enum = read[1]
            if isinstance(enum, EnumDescriptor) and enum.is_closed:
                names, known = members(*written), members(*read)
                for number in names.keys() - known.keys():
                    text = f'Closed enum "{pair.old.name}" hides value "{names[number]}", which it does not have.'
                    yield _Place(direction, CLOSED_VALUES, text, pair.old, number, names[number], pair.events)


def _both_ways(before: _T, now: _T) -> Iterator[tuple[Direction, _T, _T]]:
    """Yield each direction with what is written and what reads it."""
    yield Direction.BACKWARD, before, now
    yield Direction.FORWARD, now, before


def _break_of(name: Name, one: _Place, proofs: _Proofs) -> Break:
    covered, by = proofs.of(name, one)
    return Break(
        type=name[0],
        schema=name[1],
        message=one.held.full_name,
        field=one.field,
        rule=one.rule,
        direction=one.direction,
        text=one.text,
        covered=covered,
        by=by,
    )


class _Proofs:
    """What steps and golden bytes say about breaks."""

    def __init__(self, old: Protos, new: Protos, codec: Reader | None, golden: Mapping[Name, Pins]) -> None:
        self._old: Final = old
        self._new: Final = new
        self._codec: Final = codec
        self._steps: Final = codec.chains.by_name if isinstance(codec, Upcasting) else {}
        self._golden: Final = golden

    @property
    def stored(self) -> set[Name]:
        """Every (type, schema) that is known to be in a log, whatever the protos say.

        What the codec can read besides says nothing: as a whole module it has messages too that stand inside others.
        """
        return {*self._steps, *self._golden}

    def of(self, name: Name, one: _Place) -> tuple[bool, str]:
        """Say whether a break in an event is covered, and by what or why not."""
        if one.direction is Direction.FORWARD:
            return False, "no step reaches code that is out already"
        if self._codec is None:
            return False, "no codec was given"
        if (step := self._steps.get(name)) is None:
            return False, f"no step takes {describe(name)}"
        problem = self._doubt(name, one, self._codec)
        if problem:
            return False, f"step {step.name} takes it, but {problem}"
        return True, f"step {step.name}, proved by golden bytes ({len(self._golden[name])})"

    def _doubt(self, name: Name, one: _Place, codec: Reader) -> str:
        """Return why golden bytes do not prove that a step covers a break."""
        pins = self._golden.get(name)
        if not pins:
            return "there are no golden bytes"
        if (problem := next(differences(name, pins, codec), "")) != "":
            return f"golden {problem}"
        ends = {(end.type, end.schema) for becomes in pins.values() for end in becomes}
        if lacking := sorted(ends - self._new.messages.keys()):
            return f"it leads to {describe(lacking[0])}, which is not in {self._new.source}"
        events = [_written_by(self._old.messages[name], payload) for payload in pins]
        if not all(events):
            return f"golden event {events.index(None) + 1} is nothing that {self._old.source} has written"
        number = None if one.rule in _OF_ABSENCE else one.number
        if not any(_holds(event, one.held, number) for event in events if event is not None):
            return f"no golden event holds {one.field or one.held.full_name}"
        return ""


def _written_by(message: Descriptor, payload: bytes) -> Message | None:
    """Return a payload as what it was written as, or None where it holds something else."""
    try:
        event = message_factory.GetMessageClass(message).FromString(payload)
    except DecodeError:
        return None
    size = event.ByteSize()
    event.DiscardUnknownFields()
    return event if event.ByteSize() == size else None


def _holds(event: Message, held: Type, number: int | None) -> bool:
    """Say whether an event holds a message, a field of it, or a value of an enum."""
    if isinstance(held, EnumDescriptor):
        # A zero is not written.
        return number in (None, 0) or any(
            field.enum_type is not None and field.enum_type.full_name == held.full_name and value == number
            for one in messages_in(event)
            for field, value in values_in(one)
        )
    return any(
        number is None or number in (field.number for field, _ in one.ListFields())
        for one in messages_in(event)
        if one.DESCRIPTOR.full_name == held.full_name
    )
