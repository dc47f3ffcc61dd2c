"""Steps, chains and the codec that they make."""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

import pytest
from eventstore import NO_STREAM, CannotDecode, Codec, EventStore, InvalidInput, Payload, StreamId, Undecodable
from eventstore.memory import MemoryBackend
from eventstore.v1 import envelope_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import Int64Value
from upcasting import InvalidSteps, Newer, Policy, Step, Upcasting, renamed, retired, split, step

from tests.upcasting.messages import (
    Basket,
    Box,
    Line,
    Paid,
    Placed,
    PlacedAgain,
    PlacedLater,
    PlacedV1,
    PlacedV2,
    Unrelated,
)
from tests.upcasting.shop import TODAY, by_line, in_cents, with_currency

STREAM = StreamId("order", "1")


ONLY_FIRST = Codec(Line, Paid)
STEPS = [in_cents, with_currency, by_line, renamed("order.payed", 1, Paid), retired("order.seen", 1)]
UPCASTING = Upcasting(TODAY, STEPS)


def stored(message: Any, type: str, schema: int) -> Payload:
    return Payload(type, schema, message.SerializeToString())


class TestReading:
    """What old events become."""

    def test_chain(self) -> None:
        """An event goes through every step between its schema and today's."""
        assert UPCASTING.decode(stored(PlacedV1(price="4.20"), "order.placed", 1)) == [
            Placed(cents=420, currency="EUR")
        ]
        assert UPCASTING.decode(stored(PlacedV2(cents=7), "order.placed", 2)) == [Placed(cents=7, currency="EUR")]

    def test_today(self) -> None:
        """An event of today is what its codec makes of it."""
        message = Placed(cents=1, currency="CHF")
        assert UPCASTING.decode(UPCASTING.encode(message)) == (message,)
        assert UPCASTING.encode(message) == TODAY.encode(message)

    def test_split(self) -> None:
        """One event becomes several, in the step's order, or none."""
        assert UPCASTING.decode(stored(Basket(lines=3), "order.basket", 1)) == [Line(number=n) for n in (1, 2, 3)]
        assert UPCASTING.decode(stored(Basket(), "order.basket", 1)) == []

    def test_order_within_a_chain(self) -> None:
        """What a later step makes of the first result comes before what it makes of the second."""

        @split(Basket, PlacedV2, Line)
        def first(old: Any) -> list[Any]:
            return [PlacedV2(cents=1), Line(number=2), PlacedV2(cents=3)]

        found = chain(first, in_cents, with_currency).decode(stored(Basket(), "order.basket", 1))
        assert found == [Placed(cents=1, currency="EUR"), Line(number=2), Placed(cents=3, currency="EUR")]

    def test_renamed(self) -> None:
        """Bytes under an old name are read as the message of today; what it does not know stays in it."""
        payload = Paid(by="ann").SerializeToString() + b"\x98\x06\x07"
        [message] = UPCASTING.decode(Payload("order.payed", 1, payload))
        assert message == Paid.FromString(payload)
        assert message.SerializeToString() == payload

    def test_renamed_in_the_middle(self) -> None:
        """A renamed type may lie between two steps."""
        steps = [step(PlacedV1, Unrelated)(lambda old: Unrelated(text=old.price)), renamed("order.unrelated", 1, Paid)]
        found = Upcasting(Codec(Paid), steps).decode(stored(PlacedV1(price="9"), "order.placed", 1))
        assert found == [Paid(by="9")]

    def test_retired(self) -> None:
        """A retired event is none, whatever its bytes; at the end of a chain too."""
        assert UPCASTING.decode(Payload("order.seen", 1, b"\xff\xff")) == ()
        chain = [step(PlacedV1, Unrelated)(lambda old: Unrelated()), retired("order.unrelated", 1)]
        upcasting = Upcasting(TODAY, [*chain, with_currency])
        assert list(upcasting.decode(stored(PlacedV1(), "order.placed", 1))) == []
        assert upcasting.fans_out("order.placed", 1)

    def test_fans_out(self) -> None:
        """Only what may become several or none says so."""
        names = [("order.basket", 1), ("order.seen", 1), ("order.placed", 1), ("order.payed", 1), ("unknown", 1)]
        assert [UPCASTING.fans_out(*name) for name in names] == [True, True, False, False, False]

    def test_readable(self) -> None:
        """What a log may hold is known."""
        placed = {("order.placed", schema) for schema in (1, 2, 3)}
        others = {("order.basket", 1), ("order.line", 1), ("order.paid", 1), ("order.payed", 1), ("order.seen", 1)}
        assert UPCASTING.readable == placed | others

    def test_steps_are_functions(self) -> None:
        """A step is called like the function it is."""
        assert with_currency(PlacedV2(cents=1)) == Placed(cents=1, currency="EUR")
        assert "with_currency" in repr(with_currency)


class TestWriting:
    """What is stored from now on."""

    def test_old(self) -> None:
        """An old message is not written any more, though the codec has it."""
        with pytest.raises(InvalidInput, match=r"event: order.placed schema 2 is only read any more, by .*with_curr"):
            Upcasting(Codec(Placed, PlacedV2), [in_cents, with_currency]).encode(PlacedV2())

    def test_unknown(self) -> None:
        """A message that the codec does not have is refused by it."""
        with pytest.raises(InvalidInput, match="expected a message registered"):
            UPCASTING.encode(Int64Value())

    def test_target_of_a_rename(self) -> None:
        """A message that an old name leads to is written under its own name."""
        assert UPCASTING.encode(Paid()).type == "order.paid"


def chain(*steps: Step[Any, Any], codec: Codec = TODAY) -> Upcasting:
    return Upcasting(codec, steps)


def to(old: Any, *new: Any, many: bool = False) -> Step[Any, Any]:
    def made(message: Any) -> Any:
        raise AssertionError

    return split(old, *new)(made) if many else step(old, new[0])(made)


class TestChecks:
    """Steps that cannot be joined are refused when the codec is made, each by its name."""

    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            (
                [to(PlacedV1, PlacedV2)],
                r"made: leads to order.placed schema 2, which is neither in the codec nor taken",
            ),
            ([to(PlacedV2, Placed)], r"steps: order.placed schema 1 has no step, and order.placed schema 2 is known"),
            ([to(PlacedV1, Placed)], r"steps: order.placed schema 2 has no step"),
            ([in_cents, with_currency, with_currency], r"with_currency takes order.placed schema 2 already"),
            ([in_cents, to(PlacedV2, PlacedV1)], r"leads from schema 2 of order.placed back to schema 1"),
            (
                [to(Basket, Unrelated), to(Unrelated, Basket)],
                r"in a circle: order.basket schema 1 -> order.unrelated schema 1 -> order.basket schema 1",
            ),
            ([renamed("order.basket", 1, Basket)], r"a circle: order.basket schema 1 -> order.basket schema 1"),
            ([in_cents, with_currency, to(PlacedLater, Placed)], r"leads from schema 4 of order.placed back to"),
            (
                [in_cents, with_currency, to(PlacedLater, Paid)],
                r"never reached: the newest schema of order.placed .* 3",
            ),
            (
                [in_cents, to(PlacedAgain, Placed)],
                r"takes .*PlacedAgain as order.placed schema 2, where .*PlacedV2",
            ),
            (["no step"], r"steps: expected steps, got 'no step'"),
        ],
    )
    def test_refused(self, steps: list[Any], problem: str) -> None:
        """Gaps, doubles, circles, ways back and wrong classes have their own words."""
        with pytest.raises(InvalidSteps, match=problem):
            chain(*steps)

    def test_other_class(self) -> None:
        """A step that ends in another class than the codec's for the same name is refused."""
        with pytest.raises(InvalidSteps, match=r"returns .*PlacedV2, where the codec has .*PlacedAgain as order.pl"):
            chain(to(PlacedV1, PlacedV2), codec=Codec(PlacedAgain))

    def test_diamond(self) -> None:
        """Two ways to the same schema are no circle."""
        chain(to(Basket, Unrelated, Paid, many=True), to(Unrelated, Paid), codec=ONLY_FIRST)

    def test_no_steps(self) -> None:
        """Without steps there is nothing to check, and nothing changes."""
        assert chain(codec=ONLY_FIRST).tag == ONLY_FIRST.tag

    @pytest.mark.parametrize("classes", [(int, Paid), (Paid, "Paid"), (Paid, None)])
    def test_no_messages(self, classes: tuple[Any, Any]) -> None:
        """Steps are between message classes."""
        with pytest.raises(InvalidSteps, match="expected message classes"):
            step(*classes)(lambda old: old)

    def test_nothing_returned(self) -> None:
        """A split names what it returns."""
        with pytest.raises(InvalidSteps, match=r"retired\(\) needs no function"):
            split(Basket)(lambda old: [])

    def test_any_callable(self) -> None:
        """A step is made of anything that can be called."""
        assert "partial" in step(PlacedV1, PlacedV2)(functools.partial(PlacedV2)).name

    def test_coroutine(self) -> None:
        """A step does not wait for anything."""
        with pytest.raises(InvalidSteps, match="expected a plain function"):

            @step(PlacedV1, PlacedV2)
            async def waits(old: Any) -> Any:
                return PlacedV2()

    def test_annotation(self) -> None:
        """A function that says it returns something else than it is declared to is refused."""

        def wrong(old: Any) -> Int64Value:
            return Int64Value()

        with pytest.raises(InvalidSteps, match=r"wrong: it returns Int64Value, expected tests.upcasting.PlacedV2"):
            step(PlacedV1, PlacedV2)(wrong)


def mutates(old: Any) -> Any:
    old.price = "0"
    return PlacedV2()


async def _waits() -> Any: ...


class TestFailing:
    """A step that fails names itself and the event, and the log is as it was."""

    @pytest.mark.parametrize(
        ("function", "problem"),
        [
            (lambda old: 1 / 0, r"raised ZeroDivisionError: division by zero"),
            (lambda old: sys.exit(3), r"raised SystemExit: 3"),
            (lambda old: Paid(), r"returned tests.upcasting.Paid, expected tests.upcasting.PlacedV2"),
            (lambda old: None, r"returned NoneType, expected"),
            (lambda old: [PlacedV2()], r"returned list, expected"),
            (lambda old: old, r"returned tests.upcasting.PlacedV1, expected"),
            (lambda old: _waits(), r"returned coroutine, expected"),
            (mutates, r"changed the message it was given"),
        ],
    )
    async def test_one(self, function: Any, problem: str) -> None:
        """Whatever the function does, reading says which event of which stream, and by which step."""
        failing = step(PlacedV1, PlacedV2)(function)
        async with EventStore(MemoryBackend(), Codec(PlacedV1, Paid)) as store:
            await store.append(STREAM, [Paid(by="ann")], expected=NO_STREAM)
            await store.append(STREAM, [PlacedV1(price="1"), Paid(by="bob")], expected=1)
            before = [raw async for chunk in store.backend.log(after=0) for raw in chunk]  # type: ignore[arg-type]
            events = (await EventStore(store.backend, chain(failing, with_currency)).read(STREAM)).events
            with pytest.raises(Undecodable, match=problem) as caught:
                _ = events[1].message
            assert (caught.value.stream, caught.value.version, caught.value.schema) == (STREAM, 2, 1)
            assert failing.name in caught.value.reason
            assert events[1].raw.payload == PlacedV1(price="1").SerializeToString()
            assert [events[0].message, events[2].message] == [Paid(by="ann"), Paid(by="bob")]
            assert [raw async for chunk in store.backend.log(after=0) for raw in chunk] == before  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "returned", [Line(), [Line(), Paid()], (Line() for _ in range(2)), None, {Basket: 1}, [[Line()]], "ab"]
    )
    def test_many(self, returned: Any) -> None:
        """What a split returns is a list of what it declares, nothing else."""
        upcasting = chain(split(Basket, Line)(lambda old: returned), codec=ONLY_FIRST)
        with pytest.raises(CannotDecode, match=r"returned .*, expected a list of tests.upcasting.Line"):
            upcasting.decode(stored(Basket(), "order.basket", 1))

    def test_bytes(self) -> None:
        """A payload that does not parse never reaches a step."""
        with pytest.raises(CannotDecode, match=r"payload is not a tests.upcasting.PlacedV1"):
            UPCASTING.decode(Payload("order.placed", 1, b"\xff"))

    def test_not_a_number(self) -> None:
        """A value that equals nothing, not even itself, is no change."""
        weighed = step(Paid, Unrelated)(lambda old: Unrelated(text=old.by))
        assert chain(weighed, codec=Codec(Unrelated)).decode(stored(Paid(weight=math.nan), "order.paid", 1)) == [
            Unrelated()
        ]


class TestTag:
    """Snapshots made of old events are not read after their meaning has changed."""

    def test_changes_with_the_chain(self) -> None:
        """A step more, another revision, another target, another policy: each is another tag."""
        revised = step(PlacedV2, Placed, revision=2)(lambda old: Placed())
        several = split(PlacedV2, Placed)(lambda old: [])
        made = [
            chain(codec=ONLY_FIRST),
            chain(in_cents, with_currency),
            chain(in_cents, revised),
            chain(in_cents, several),
            chain(retired("order.placed", 1), with_currency),
            Upcasting(TODAY, [in_cents, with_currency], newer=Newer(types=Policy.IGNORE)),
            Upcasting(Codec(Placed), [in_cents, with_currency], newer=Newer(types=Policy.IGNORE)),
            Upcasting(TODAY, [in_cents, with_currency], newer=Newer(values=Policy.STOP)),
        ]
        assert len({upcasting.tag for upcasting in made}) == len(made)

    def test_stays(self) -> None:
        """The order of the steps and what a message holds do not count."""
        assert chain(in_cents, with_currency).tag == chain(with_currency, in_cents, codec=Codec(Placed)).tag


RAW, STOP, IGNORE = Policy.RAW, Policy.STOP, Policy.IGNORE
UNKNOWN_FIELD = b"\x98\x06\x07"


def reader(**policies: Policy) -> Upcasting:
    steps = [renamed("order.old_field", 1, FieldDescriptorProto)]
    return Upcasting(Codec(Paid, FieldDescriptorProto, Struct), steps, newer=Newer(**policies))


class TestNewer:
    """What a reader of yesterday does with an event of today is what it declares."""

    @pytest.mark.parametrize(
        ("event", "kind", "reason"),
        [
            (Payload("order.unheard", 1, b"\xff"), "types", "neither the codec nor a step knows the type"),
            (Payload("order.paid", 2, b""), "types", "knows the schema; the newest one known is 1"),
            (Payload("order.paid", 1, UNKNOWN_FIELD), "fields", "tests.upcasting.Paid has a field 99, which"),
            (
                Payload("google.protobuf.FieldDescriptorProto", 1, b"\x42\x03" + UNKNOWN_FIELD),
                "fields",
                "google.protobuf.FieldOptions has a field 99",
            ),
            (
                Payload("order.old_field", 1, b"\x42\x03" + UNKNOWN_FIELD),
                "fields",
                "google.protobuf.FieldOptions has a field 99",
            ),
        ],
    )
    def test_types_and_fields(self, event: Payload, kind: str, reason: str) -> None:
        """An unknown type, schema or field, also one deep inside or in an old event, meets its policy."""
        with pytest.raises(CannotDecode, match=reason):
            reader(**{kind: STOP}).decode(event)
        raw = reader(**{kind: RAW})
        assert raw.decode(event) == (
            envelope_pb2.StoredEvent(type=event.type, schema=event.schema, payload=event.payload),
        )
        ignoring = reader(**{kind: IGNORE})
        assert len(ignoring.decode(event)) == (kind == "fields")
        assert ignoring.fans_out(event.type, event.schema) == (kind == "types")
        assert not raw.fans_out(event.type, event.schema)

    def test_values(self) -> None:
        """A number that an enum has no name for meets its policy, in lists, maps and inner messages too."""
        known = FieldDescriptorProto(type=FieldDescriptorProto.TYPE_INT32)
        assert reader(values=STOP).decode(CODEC_OF_FIELDS.encode(known)) == (known,)
        entry = Struct()
        entry.update({"a": None, "b": [None, {"c": None}]})
        event = CODEC_OF_STRUCTS.encode(entry)
        assert reader(values=STOP).decode(event) == (entry,)
        newer = Payload(event.type, event.schema, event.payload.replace(b"\x08\x00", b"\x08\x07"))
        assert newer != event
        with pytest.raises(CannotDecode, match=r"google.protobuf.Value.null_value has the value 7, which"):
            reader(values=STOP).decode(newer)
        assert len(reader(values=IGNORE).decode(newer)) == 1
        assert isinstance(reader(values=RAW).decode(newer)[0], envelope_pb2.StoredEvent)

    @pytest.mark.parametrize(
        ("payload", "value"),
        [
            (b"\x28\x63", "FieldDescriptorProto.type has the value 99"),
            (b"\x42\x03\x98\x01\x63", "FieldOptions.targets has the value 99"),
            (b"\x42\x04\x9a\x01\x01\x63", "FieldOptions.targets has the value 99"),
        ],
    )
    def test_values_of_closed_enums(self, payload: bytes, value: str) -> None:
        """A number that a closed enum has no name for is a value too, alone and in lists, though protobuf hides it."""
        event = Payload("google.protobuf.FieldDescriptorProto", 1, payload)
        with pytest.raises(CannotDecode, match=value):
            reader(values=STOP).decode(event)
        assert isinstance(reader(values=RAW).decode(event)[0], envelope_pb2.StoredEvent)
        assert len(reader(fields=STOP).decode(event)) == 1

    def test_values_of_closed_enums_in_maps(self) -> None:
        """In a map an unknown value of a closed enum hides its whole entry."""
        event = Payload("tests.closed.Box", 1, b"\x0a\x05\x0a\x01a\x10\x07")
        with pytest.raises(CannotDecode, match=r"tests.closed.Box.kinds has a value, which"):
            Upcasting(Codec(Box), [], newer=Newer(values=STOP)).decode(event)

    def test_another_type(self) -> None:
        """What an enum's field holds that is no number is an unknown field."""
        event = Payload("google.protobuf.FieldDescriptorProto", 1, b"\x2a\x02\xff\xff")
        with pytest.raises(CannotDecode, match=r"FieldDescriptorProto has a field 5, which"):
            reader(fields=STOP).decode(event)

    def test_the_rest(self) -> None:
        """With a policy declared, what is known is read as ever."""
        upcasting = Upcasting(TODAY, STEPS, newer=Newer(types=STOP, fields=STOP, values=STOP))
        for event in (
            stored(PlacedV1(price="1"), "order.placed", 1),
            stored(Basket(lines=2), "order.basket", 1),
            stored(Paid(by="ann"), "order.paid", 1),
            Payload("order.seen", 1, UNKNOWN_FIELD),
        ):
            assert list(upcasting.decode(event)) == list(UPCASTING.decode(event))
        with pytest.raises(CannotDecode, match="payload is not a"):
            upcasting.decode(Payload("order.paid", 1, b"\xff"))


CODEC_OF_FIELDS = Codec(FieldDescriptorProto)
CODEC_OF_STRUCTS = Codec(Struct)
