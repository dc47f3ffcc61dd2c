"""A program whose events have changed: its old codec, its codec of today, and the steps between."""

from __future__ import annotations

from typing import Any, Final

from eventstore import Codec
from upcasting import Upcasting, retired, split, step

from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2, Unrelated

OLD: Final = Codec(PlacedV1, PlacedV2, Placed, Basket, Line, Paid, Unrelated)
TODAY: Final = Codec(Placed, Line, Paid)


@step(PlacedV1, PlacedV2)
def in_cents(old: Any) -> Any:
    return PlacedV2(cents=round(float(old.price) * 100))


@step(PlacedV2, Placed)
def with_currency(old: Any) -> Any:
    return Placed(cents=old.cents, currency="EUR")


@split(Basket, Line)
def by_line(old: Any) -> list[Any]:
    return [Line(number=number + 1) for number in range(old.lines)]


STEPS: Final = [in_cents, with_currency, by_line, retired("order.seen", 1), retired("order.unrelated", 1)]
UPCASTING: Final = Upcasting(TODAY, STEPS)
