"""Whether code of today reads what code of before has written, and the other way round, and what bridges the rest."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from upcasting import _buf as buf
from upcasting._chains import describe
from upcasting._golden import differences
from upcasting._pairs import Pairs, Protos, Type
from upcasting._upcasting import Upcasting, messages_in, values_in
from upcasting._written import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from upcasting._chains import Name
    from upcasting._golden import Pins, Reader

#: Our own rules, beside those of buf. What is stored under a (type, schema) has a message.
HAS_MESSAGE: Final = "EVENT_HAS_MESSAGE"
#: Who moves something to another number has not deleted it, though it looks so to whoever reads by number.
SAME_FIELD: Final = "FIELD_SAME_NUMBER"
SAME_VALUE: Final = "ENUM_VALUE_SAME_NUMBER"
#: With or without a sign the same bytes are other numbers, half of the time.
SAME_SIGN: Final = "FIELD_SAME_SIGN"
_UNSIGNED: Final = frozenset(
    {
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
    }
)
_SIGNED: Final = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
# These speak of what is absent.
_OF_ABSENCE: Final = frozenset({"FIELD_SAME_DEFAULT", "MESSAGE_SAME_REQUIRED_FIELDS"})


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
    pairs = Pairs(old, new, stored=filter(proofs.know, old.messages))
    breaks = (*_missing(pairs), *_moved(pairs), *_resigned(pairs), *_broken(pairs, buf.WIRE if wire else buf.WIRE_JSON))
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
        before, after = pairs.members(pair)
        numbers = {name: number for number, name in after.items()}
        what, rule = ("Enum value", SAME_VALUE) if isinstance(pair.old, EnumDescriptor) else ("Field", SAME_FIELD)
        for number, name in before.items():
            if numbers.get(name, number) != number:
                text = f'{what} "{name}" on "{pair.old.name}" moved from number {number} to {numbers[name]}.'
                for direction in Direction:
                    yield _Place(direction, rule, text, pair.old, number, name, pair.events)


def _resigned(pairs: Pairs) -> Iterator[_Place]:
    for pair in pairs:
        after = pairs.new.fields(pair.new)
        for number, field in pairs.old.fields(pair.old).items():
            types = {field.type, after[number].type} if number in after else set()
            if types & _SIGNED and types & _UNSIGNED:
                text = f'Field "{field.name}" on "{pair.old.name}" has a sign on one side alone.'
                for direction in Direction:
                    yield _Place(direction, SAME_SIGN, text, pair.old, number, field.name, pair.events)


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
        self._golden: Final = golden

    def know(self, name: Name) -> bool:
        """Say whether there is reason to believe that something is stored as a (type, schema)."""
        has_step = isinstance(self._codec, Upcasting) and name in self._codec.chains.by_name
        return has_step or name in self._golden

    def of(self, name: Name, one: _Place) -> tuple[bool, str]:
        """Say whether a break in an event is covered, and by what or why not."""
        if one.direction is Direction.FORWARD:
            return False, "no step reaches code that is out already"
        if self._codec is None:
            return False, "no codec was given"
        if not isinstance(self._codec, Upcasting) or (step := self._codec.chains.by_name.get(name)) is None:
            return False, f"no step takes {describe(name)}"
        problem = self._doubt(name, one, self._codec)
        if problem:
            return False, f"step {step.name} takes it, but {problem}"
        return True, f"step {step.name}, proved by golden bytes ({len(self._golden[name])})"

    def _doubt(self, name: Name, one: _Place, codec: Upcasting) -> str:
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
