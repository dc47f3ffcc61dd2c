"""The codec that makes today's messages of every event ever written, and knows what to do with tomorrow's."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from eventstore import CannotDecode, Codec, InvalidInput, Payload
from eventstore.v1 import envelope_pb2
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from upcasting._chains import AnyStep, Chains, Name, check_against, describe, parsed
from upcasting._steps import full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.descriptor import FieldDescriptor

# How protobuf writes the number of an enum.
_VARINT: Final = 0


class Policy(Enum):
    """What a reader does with what a newer program has written."""

    #: Go on with what is understood of it.
    IGNORE = "ignore"
    #: An ``eventstore.v1.StoredEvent`` with the type, schema and bytes stands for the event.
    RAW = "raw"
    #: The event does not decode: ``Undecodable``, by which a projection stops.
    STOP = "stop"


class Newer(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a reader for each way in which an event can be newer than the program."""

    #: A type, or a schema of a known type, that is not known. IGNORE passes the event over.
    types: Policy = Policy.STOP
    #: A known message that holds fields that are not known, in it or inside it. IGNORE leaves them where they are.
    fields: Policy = Policy.IGNORE
    #: A known message with a number in an enum field that has no name yet. IGNORE gives the number.
    values: Policy = Policy.IGNORE


class Upcasting:
    """A codec that reads old events as today's messages. It encodes today's alone.

    Args:
        codec: today's messages. Old ones may be among them, as where a whole module is registered: their steps win.
        steps: from old to new, each from one (type, schema) to the next.
        newer: what to do with events that a newer program has written.

    Raises:
        InvalidSteps: the steps do not lead from every older schema to today's; the error names the step.
    """

    def __init__(self, codec: Codec, steps: Iterable[AnyStep], *, newer: Newer | None = None) -> None:
        self._codec: Final = codec
        #: The steps, joined.
        self.chains: Final = Chains(steps)
        self._newer: Final = Newer() if newer is None else newer
        taken = self.chains.by_name
        self._old: Final = {step.old: step for step in taken.values() if step.old is not None and not step.renames}
        today = codec.registered
        check_against(self.chains, today)
        # The class as which each (type, schema) is decoded, None where nobody looks at it, and the step that follows.
        self._known: Final[dict[Name, tuple[type[Message] | None, AnyStep | None]]] = {
            **{name: (cls, None) for name, cls in today.items()},
            **{name: (step.old, step) for name, step in taken.items()},
        }
        # Asked for each event that is read, so that each is one look-up away.
        self._many: Final = self.chains.many
        self._passes_over: Final = self._newer.types is Policy.IGNORE
        self.tag: Final = self._tag()
        # Most readers take a message as it is, and pay for no look at its parts.
        self._looks: Final = {self._newer.fields, self._newer.values} != {Policy.IGNORE}

    @property
    def readable(self) -> frozenset[Name]:
        """Every (type, schema) that has a way to today's messages, or is known to mean nothing any more."""
        return frozenset(self._known)

    def encode(self, message: Message) -> Payload:
        """Return what to store for one of today's messages.

        Raises:
            InvalidInput: the message is an old one, is not registered, or cannot be serialised.
        """
        if (step := self._old.get(type(message))) is not None:
            raise InvalidInput(
                "event",
                f"{describe((step.type, step.schema))} is only read any more, by {step.name}: write a newer one",
            )
        return self._codec.encode(message)

    def decode(self, stored: Payload) -> Sequence[Message]:
        """Return today's messages for a stored event: one, or with a step that says so several or none.

        Raises:
            CannotDecode: the type and schema have no way to today, the bytes do not parse, a step fails, or the policy
                for what is newer says to stop.
        """
        type, schema, payload = stored
        known = self._known.get((type, schema))
        if known is None:
            return self._unknown(stored)
        cls, step = known
        if cls is None:
            return ()
        message = parsed(cls, payload)
        if self._looks and (found := self._newer_parts(message)) is not None:
            return _stand_in(*found, stored)
        return (message,) if step is None else self.chains.carry(step, message)

    def fans_out(self, type: str, schema: int) -> bool:
        """Say whether an event of this type and schema may become several messages or none."""
        name = (type, schema)
        return name in self._many or (self._passes_over and name not in self._known)

    # What newer programs have written

    def _unknown(self, stored: Payload) -> Sequence[Message]:
        newest = max((schema for type, schema in self._known if type == stored.type), default=None)
        problem = "neither the codec nor a step knows the "
        problem += "type" if newest is None else f"schema; the newest one known is {newest}"
        return _stand_in(self._newer.types, problem, stored)

    def _newer_parts(self, message: Message) -> tuple[Policy, str] | None:
        for policy, found in ((self._newer.fields, _unknown_fields), (self._newer.values, _unnamed_values)):
            if policy is not Policy.IGNORE and (what := next(found(message), None)) is not None:
                return policy, f"{what}, which this program does not know"
        return None

    def _tag(self) -> str:
        """Name what old events become: the codec's own tag as long as there is nothing to add to it."""
        parts = [self.chains.fingerprint]
        if self._newer.types is not Policy.STOP:
            # A state that was folded without events that were not known is stale as soon as they are.
            parts += sorted(map(describe, self.readable))
        if self._newer != Newer():
            parts.append(repr(self._newer))
        if parts == [""]:
            return self._codec.tag
        return f"{self._codec.tag}+{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


#: What reads a log.
Reader: TypeAlias = Codec | Upcasting


def readable(codec: Reader) -> frozenset[Name]:
    """Return every (type, schema) that a codec reads."""
    return codec.readable if isinstance(codec, Upcasting) else frozenset(codec.registered)


def _stand_in(policy: Policy, problem: str, stored: Payload) -> Sequence[Message]:
    """Return what a policy lets stand for an event that is not understood as it was meant."""
    if policy is Policy.STOP:
        raise CannotDecode(problem)
    if policy is Policy.IGNORE:
        return ()
    return (envelope_pb2.StoredEvent(type=stored.type, schema=stored.schema, payload=stored.payload),)


def _unknown_fields(message: Message) -> Iterator[str]:
    """Yield what a message holds, in it or inside it, that its class has no field for."""
    for one in messages_in(message):
        for unknown in UnknownFieldSet(one):  # type: ignore[attr-defined] # by __getitem__, which types-protobuf lacks
            if _hidden_value(one, unknown) is None:
                yield f"{full_name(type(one))} has a field {unknown.field_number}"


def _unnamed_values(message: Message) -> Iterator[str]:
    """Yield the numbers in enum fields, in a message or inside it, that have no name."""
    for one in messages_in(message):
        for field, value in values_in(one):
            if field.enum_type is not None and value not in field.enum_type.values_by_number:
                yield f"{field.full_name} has the value {value}"
        for unknown in UnknownFieldSet(one):  # type: ignore[attr-defined] # by __getitem__, which types-protobuf lacks
            if (hidden := _hidden_value(one, unknown)) is not None:
                yield hidden


def _hidden_value(message: Message, unknown: Any) -> str | None:
    """Return what an unknown field says of a known one: protobuf puts there what a closed enum has no name for.

    In a map it is the whole entry that goes there.
    """
    field = message.DESCRIPTOR.fields_by_number.get(unknown.field_number)
    if field is None:
        return None
    if field.enum_type is not None and unknown.wire_type == _VARINT:
        return f"{field.full_name} has the value {unknown.data}"
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry and entry.fields_by_name["value"].enum_type is not None:
        return f"{field.full_name} has a value"
    return None


def messages_in(message: Message) -> Iterator[Message]:
    """Yield a message and all inside it."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += (value for _, value in values_in(one) if isinstance(value, Message))


def values_in(message: Message) -> Iterator[tuple[FieldDescriptor, object]]:
    """Yield the enum values and messages that a message's fields hold, those in lists and maps one by one."""
    for field, value in message.ListFields():
        if field.enum_type is None and field.message_type is None:
            continue
        if isinstance(value, int | Message):
            yield field, value
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            yield from ((inner, one) for one in value.values())
        else:
            yield from ((field, one) for one in value)
