"""Golden bytes: recorded once, decoded for ever."""

from __future__ import annotations

import errno
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import upcasting
from eventstore import Codec, Payload
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from upcasting import GoldenError, Upcasting, renamed, retired, step, testing
from upcasting.testing import assert_golden, record

from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2
from tests.upcasting.shop import by_line, in_cents, with_currency
from tests.upcasting.test_steps import STEPS, UPCASTING

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = (
    PlacedV1(price="4.20"),
    PlacedV2(cents=7),
    Placed(cents=1, currency="CHF"),
    Basket(lines=2),
    Line(number=1),
    Paid(by="ann", weight=0.1),
    Payload("order.payed", 1, b"\n\x03bob"),
    Payload("order.seen", 1, b"\xff"),
)
FIRST = """\
{
  "events": [
    {
      "becomes": [
        {
          "message": {
            "cents": "420",
            "currency": "EUR"
          },
          "schema": 3,
          "type": "order.placed"
        }
      ],
      "payload": "CgQ0LjIw"
    }
  ],
  "schema": 1,
  "type": "order.placed"
}
"""


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    record(tmp_path / "golden", UPCASTING, *EVERYTHING)
    return tmp_path / "golden"


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="ascii") for path in folder.iterdir()}


def problems(folder: Path, codec: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_golden(folder, codec, **options)
    return str(caught.value)


class TestRecording:
    """What is written, and what never is."""

    def test_file(self, golden: Path) -> None:
        """A file is text that a review can read: the stored bytes, and what they become."""
        assert (golden / "order.placed.1.json").read_text(encoding="utf-8") == FIRST

    def test_names(self, golden: Path) -> None:
        """There is one file for each type and schema."""
        placed = {f"order.placed.{schema}.json" for schema in (1, 2, 3)}
        others = {f"order.{name}.1.json" for name in ("basket", "line", "paid", "payed", "seen")}
        assert set(files(golden)) == placed | others

    def test_several_and_none(self, golden: Path) -> None:
        """What one event becomes is a list, in its order, or an empty one."""
        found = {name: json.loads(text)["events"][0]["becomes"] for name, text in files(golden).items()}
        assert [one["message"] for one in found["order.basket.1.json"]] == [{"number": "1"}, {"number": "2"}]
        assert found["order.seen.1.json"] == []

    def test_again(self, golden: Path) -> None:
        """Recording the same again changes nothing, in whatever order."""
        before = files(golden)
        record(golden, UPCASTING, *reversed(EVERYTHING))
        assert files(golden) == before

    @pytest.mark.parametrize(
        "message",
        [
            Value(number_value=math.inf),
            Timestamp(seconds=10**15),
            AnyMessage(type_url="type.googleapis.com/no.such"),
            AnyMessage(type_url="type.googleapis.com/google.protobuf.Timestamp", value=b"\xff"),
        ],
        ids=["infinite", "out of range", "unknown", "torn"],
    )
    def test_not_json(self, message: Any, tmp_path: Path) -> None:
        """What protobuf has no JSON for cannot be recorded."""
        with pytest.raises(GoldenError, match="what it becomes cannot be written as JSON"):
            record(tmp_path / "golden", Codec(type(message)), message)
        assert not (tmp_path / "golden").exists()

    def test_whole_or_not_at_all(self, golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that cannot be written to its end stays as it was."""
        before = files(golden)

        def tear(path: Path, text: str, **_options: Any) -> None:
            path.write_bytes(text[:9].encode())
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("pathlib.Path.write_text", tear)
        with pytest.raises(GoldenError, match=r"order.placed.1.json: cannot be written: No space left"):
            record(golden, UPCASTING, PlacedV1(price="9"))
        assert before.items() <= files(golden).items()
        assert_golden(golden, UPCASTING)

    def test_emptied(self, golden: Path) -> None:
        """A file without events is as good as none."""
        path = golden / "order.placed.1.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"events": []}), encoding="utf-8")
        with pytest.raises(AssertionError, match=r"order.placed schema 1 has no golden bytes"):
            assert_golden(golden, UPCASTING)

    def test_added(self, golden: Path) -> None:
        """Other bytes come after those that are there."""
        record(golden, UPCASTING, PlacedV1(price="9"), PlacedV1(price="4.20"), PlacedV1(price="8"))
        events = json.loads((golden / "order.placed.1.json").read_text(encoding="utf-8"))["events"]
        assert [event["payload"] for event in events] == ["CgQ0LjIw", "CgE5", "CgE4"]

    def test_changed(self, golden: Path) -> None:
        """What becomes something else is not written, nor is anything that was recorded with it."""
        before = files(golden)
        dearer = Upcasting(Codec(Placed, Line, Paid), [in_cents, dear, *STEPS[2:]])
        with pytest.raises(GoldenError, match=r"order.placed.1.json: .*\"EUR\".* is pinned, .*\"USD\".*replace=True"):
            record(golden, dearer, Paid(by="new"), PlacedV1(price="4.20"))
        assert files(golden) == before

    def test_replaced(self, golden: Path) -> None:
        """Where it is asked for, all that the folder holds is pinned anew, and no bytes are lost."""
        dearer = Upcasting(Codec(Placed, Line, Paid), [in_cents, dear, *STEPS[2:]])
        record(golden, dearer, replace=True)
        assert (golden / "order.placed.1.json").read_text(encoding="utf-8") == FIRST.replace("EUR", "USD")
        assert "USD" in files(golden)["order.placed.2.json"]
        assert_golden(golden, dearer)

    def test_maps(self, tmp_path: Path) -> None:
        """What has no order is written in one."""
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder, keys in zip(folders, ("abcdefgh", "hgfedcba"), strict=True):
            struct = Struct()
            for key in keys:
                struct[key] = key
            record(folder, Codec(Struct), struct)
        assert files(folders[0]) == files(folders[1])

    def test_hostile_names(self, tmp_path: Path) -> None:
        """A type may be called anything: its file is one in the folder, and shows every character."""
        evil = "../\x1b[31m/\u202e%2E"
        codec = Upcasting(Codec(Paid), [renamed(evil, 1, Paid)])
        record(tmp_path, codec, Payload(evil, 1, b""), Paid(by="\u202e"))
        assert sorted(files(tmp_path)) == ["..%2F%1B%5B31m%2F%E2%80%AE%252E.1.json", "order.paid.1.json"]
        assert_golden(tmp_path, codec)

    def test_too_long(self, tmp_path: Path) -> None:
        """A file that the system does not take is named, and what is wrong with it."""
        with pytest.raises(GoldenError, match=r"cannot be written: File name too long"):
            record(tmp_path, Upcasting(Codec(Paid), [renamed("n" * 255, 1, Paid)]), Payload("n" * 255, 1, b""))

    @pytest.mark.parametrize("event", [Payload("order.unheard", 1, b""), Payload("order.paid", 1, b"\xff")])
    def test_not_decoded(self, event: Payload, tmp_path: Path) -> None:
        """What does not decode is no golden event."""
        with pytest.raises(GoldenError, match=r"what is to be recorded does not decode"):
            record(tmp_path / "new", UPCASTING, event)
        assert not (tmp_path / "new").exists()


@step(PlacedV2, Placed)
def dear(old: Any) -> Any:
    return Placed(cents=old.cents, currency="USD")


class TestAssertion:
    """What a test of golden bytes finds."""

    def test_all_well(self, golden: Path) -> None:
        """Nothing, when all is as it is pinned; with a codec that has no steps too."""
        assert_golden(golden, UPCASTING)
        record(golden.with_name("plain"), Codec(Paid), Paid(by="ann"))
        assert_golden(str(golden.with_name("plain")), Codec(Paid))

    def test_missing(self, golden: Path) -> None:
        """A type and schema without golden bytes."""
        (golden / "order.placed.2.json").unlink()
        (golden / "order.seen.1.json").unlink()
        assert problems(golden, UPCASTING).splitlines()[1:] == [
            "order.placed schema 2 has no golden bytes: record some",
            "order.seen schema 1 has no golden bytes: record some",
        ]

    def test_unread(self, golden: Path) -> None:
        """Golden bytes that nothing reads any more."""
        fewer = Upcasting(Codec(Placed, Line, Paid), [in_cents, with_currency, by_line, retired("order.seen", 1)])
        assert problems(golden, fewer).splitlines()[1:] == ["order.payed.1.json: nothing reads it any more"]

    def test_other(self, golden: Path) -> None:
        """Events that become something else, each of them."""
        dearer = Upcasting(Codec(Placed, Line, Paid), [in_cents, dear, *STEPS[2:]])
        first, second = problems(golden, dearer).splitlines()[1:]
        assert first == (
            'order.placed.1.json: event 1 becomes order.placed schema 3 {"cents": "420", "currency": "USD"}, '
            'where order.placed schema 3 {"cents": "420", "currency": "EUR"} is pinned'
        )
        assert second.startswith("order.placed.2.json: event 1 becomes")

    def test_failing(self, golden: Path) -> None:
        """Events that do not decode any more, and why."""
        broken = step(PlacedV1, PlacedV2)(lambda old: 1 / 0)
        upcasting = Upcasting(Codec(Placed, Line, Paid), [broken, *STEPS[1:]])
        assert "order.placed.1.json: event 1 does not decode: step" in problems(golden, upcasting)
        assert "division by zero" in problems(golden, upcasting)

    def test_retired_by_mistake(self, golden: Path) -> None:
        """Events that become none, where they became some."""
        upcasting = Upcasting(Codec(Placed, Line, Paid), [retired("order.placed", 1), *STEPS[1:]])
        assert "order.placed.1.json: event 1 becomes nothing, where" in problems(golden, upcasting)

    def test_only_inside(self, tmp_path: Path) -> None:
        """Messages that stand inside others alone need none; an event that was named as such does not."""
        codec = Codec(Paid, FieldDescriptorProto)
        record(tmp_path, codec, Paid(by="ann"))
        assert "FieldDescriptorProto schema 1 has no golden bytes" in problems(tmp_path, codec)
        assert_golden(tmp_path, codec, only_inside=[FieldDescriptorProto])
        assert "order.paid.1.json: it is an event, not only inside others" in problems(
            tmp_path, codec, only_inside=[FieldDescriptorProto, Paid]
        )

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("order.paid.1.json", "", r"order.paid.1.json: these are no golden bytes: Input data was truncated"),
            ("order.paid.1.json", "[]", r"order.paid.1.json: these are no golden bytes: Expected `object`"),
            ("order.paid.1.json", FIRST.replace("CgQ0LjIw", "?"), r"no golden bytes: Invalid base64"),
            ("order.paid.1.json", FIRST, r"order.paid.1.json: order.placed schema 1 belongs in order.placed.1.json"),
            ("order.placed.1.json", FIRST.replace('"schema": 1', '"shema": 1'), r"no golden bytes: .*unknown field"),
        ],
    )
    def test_bad_file(self, name: str, text: str, problem: str, golden: Path) -> None:
        """A file that was written by hand, and badly, is named."""
        (golden / name).write_text(text, encoding="utf-8")
        with pytest.raises(GoldenError, match=problem):
            assert_golden(golden, UPCASTING)

    def test_no_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is no folder in which all is well."""
        with pytest.raises(GoldenError, match="nowhere: there is no such folder"):
            assert_golden(tmp_path / "nowhere", UPCASTING)


def test_surface() -> None:
    """The public names are these and no others, and errors can be caught by theirs."""
    assert sorted(testing.__all__) == ["assert_golden", "record"]
    assert {"CannotCompare", "GoldenError"} < set(upcasting.__all__)
    assert all(hasattr(module, name) for module in (testing, upcasting) for name in module.__all__)
