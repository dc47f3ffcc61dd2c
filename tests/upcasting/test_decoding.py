"""What a store says of old events through steps, on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eventstore import Payload
from eventstore.memory import MemoryBackend
from eventstore.sqlite import SqliteBackend

from tests.eventstore.decoding import Decoding
from tests.eventstore.nats_servers import fresh
from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2
from tests.upcasting.test_steps import UPCASTING

if TYPE_CHECKING:
    from pathlib import Path

    from eventstore import Backend


def stored(type: str, schema: int, payload: bytes) -> Payload:
    return Payload(f"order.{type}", schema, payload)


@pytest.mark.parametrize(
    "name", ["memory", *(pytest.param(name, marks=pytest.mark.contract) for name in ("sqlite", "jetstream"))]
)
class TestUpcasting(Decoding):
    """Events of every schema, several and none, and what has no way to today."""

    codec = UPCASTING
    message = Placed(cents=5, currency="EUR")
    examples = (
        (stored("basket", 1, Basket().SerializeToString()), []),
        (stored("placed", 1, PlacedV1(price="4.20").SerializeToString()), [Placed(cents=420, currency="EUR")]),
        (stored("placed", 2, PlacedV2(cents=7).SerializeToString()), [Placed(cents=7, currency="EUR")]),
        (stored("placed", 3, Placed(cents=7, currency="CHF").SerializeToString()), [Placed(cents=7, currency="CHF")]),
        (stored("basket", 1, Basket(lines=4).SerializeToString()), [Line(number=number) for number in (1, 2, 3, 4)]),
        (stored("payed", 1, Paid(by="ann").SerializeToString()), [Paid(by="ann")]),
        (stored("placed", 1, PlacedV1(price="dear").SerializeToString()), None),
        (stored("placed", 1, b"\xff"), None),
        (stored("placed", 4, b""), None),
        (stored("basket", 1, b"\xff"), None),
        (stored("unheard", 1, b""), None),
        (stored("seen", 1, b"\xff"), []),
    )

    @pytest.fixture
    def backend(self, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
        if name == "jetstream":
            return fresh(request.getfixturevalue("one_nats"))
        return MemoryBackend() if name == "memory" else SqliteBackend(tmp_path / "log.db")
