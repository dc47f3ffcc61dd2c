"""The command ``upcasting check``: what it compares, what it finds, what covers that, and what it cannot read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import Codec, Payload
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from typer.testing import CliRunner
from upcasting import CannotCompare, Upcasting, renamed, retired
from upcasting._buf import Broken
from upcasting._check import Direction, Verdict, check
from upcasting._golden import read
from upcasting._pairs import Protos
from upcasting._protos import load
from upcasting.cli import app
from upcasting.testing import record

from tests.terminals import STYLE, on_terminal
from tests.upcasting.messages import _FILE, Paid, Placed, PlacedV1
from tests.upcasting.shop import TODAY as CODEC
from tests.upcasting.test_steps import STEPS, UPCASTING

if TYPE_CHECKING:
    from typer.testing import Result
    from upcasting._check import Checked

pytestmark = pytest.mark.timeout(60)  # buf takes its time when many tests start it

BACKWARD, FORWARD = Direction
BUF = shutil.which("buf", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
TYPE = "FIELD_WIRE_JSON_COMPATIBLE_TYPE"
HAS_MESSAGE = "EVENT_HAS_MESSAGE"
PLACED = 'message Placed { option (eventstore.v1.event) = {type: "order.placed"}; %s }'
SEEN = 'message Seen { option (eventstore.v1.event) = {type: "order.seen"}; string by = 1; }'
# Where the steps lead.
ENDS = "".join(
    f"message {name} {{ option (eventstore.v1.event) = {{type: {stored}}}; }}"
    for name, stored in (("Today", '"order.placed" schema: 3'), ("Bill", '"order.paid"'))
)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def write(folder: str | Path, text: str, *, syntax: str = 'syntax = "proto3"', name: str = "shop/orders.proto") -> str:
    """Write a tree of one file."""
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    imported = 'import "eventstore/v1/options.proto";' if "eventstore.v1" in text else ""
    path.write_text(f"{syntax};\npackage shop;\n{imported}\n{text}\n", encoding="utf-8")
    return str(folder)


def compared(old: str, new: str, **options: Any) -> Checked:
    """Check two protos that are given as text."""
    with ThreadPoolExecutor() as pool:
        before, now = pool.map(protos, [write("old", old), write("new", new)])
    return check(before, now, **options)


def protos(source: str) -> Protos:
    return Protos(source, *load(source))


def breaks(report: Checked) -> list[tuple[str, int, str, str, str]]:
    """Return what breaks backwards."""
    return [
        (one.type, one.schema, one.message, one.field, one.rule) for one in report.findings if one.direction is BACKWARD
    ]


class TestVerdict:
    """In which directions all is read."""

    def test_full(self) -> None:
        """Fields that come and go keep nobody from reading the rest."""
        report = compared("message M { int32 a = 1; int32 b = 2; }", "message M { int32 a = 1; int32 c = 3; }")
        assert (report.verdict, report.events, report.findings) == (Verdict.FULL, 1, [])

    def test_none(self) -> None:
        """A field of another type breaks both directions; each has its own words."""
        report = compared("message M { int32 a = 1; }", "message M { string a = 1; }")
        assert report.verdict is Verdict.NONE
        assert [(one.direction, one.rule, one.message, one.field) for one in report.findings] == [
            (direction, TYPE, "shop.M", "a") for direction in Direction
        ]
        assert [one.text.partition("changed ")[2] for one in report.findings] == [
            'type from "int32" to "string".',
            'type from "string" to "int32".',
        ]

    def test_backward(self) -> None:
        """New code reads old data where an event was added: old code does not know it."""
        report = compared("message M { }", "message M { } message N { }")
        assert report.verdict is Verdict.BACKWARD
        assert [(one.type, one.rule, one.direction) for one in report.findings] == [("shop.N", HAS_MESSAGE, FORWARD)]

    def test_forward(self) -> None:
        """Old code reads new data where an event was deleted: new code does not know it."""
        report = compared("message M { } message N { }", "message M { }")
        assert report.verdict is Verdict.FORWARD
        assert breaks(report) == [("shop.N", 1, "shop.N", "", HAS_MESSAGE)]


class TestPairs:
    """What is compared with what."""

    def test_stored_name(self) -> None:
        """A message is compared with the one that is stored under its name, whatever both are called."""
        kept = SEEN.replace("Seen", "SeenOnce")
        assert compared(SEEN, f"{kept} message Seen {{ int32 by = 1; }}").verdict is Verdict.BACKWARD
        changed = kept.replace("string by", "int32 by")
        assert breaks(compared(SEEN, changed)) == [("order.seen", 1, "shop.Seen", "by", TYPE)]

    def test_default_name(self) -> None:
        """Without the option the full name is stored, with schema 1; the option may say that name."""
        named = 'message M2 { option (eventstore.v1.event) = {type: "shop.M" schema: 1}; int32 a = 1; }'
        assert compared("message M { int32 a = 1; }", named).verdict is Verdict.FULL
        assert compared("message M { int32 a = 1; }", named.replace("1}", "2}")).verdict is Verdict.NONE

    def test_inside(self) -> None:
        """What fields hold is compared by their numbers, under whatever names, and named with all events it is in."""
        old = "message A { Money m = 1; } message B { map<string, Money> m = 1; } message Money { int32 cents = 1; }"
        assert compared(old, old.replace("Money", "Amount")).verdict is Verdict.FULL
        assert breaks(compared(old, old.replace("Money", "Amount").replace("int32 cents", "string cents"))) == [
            (event, 1, "shop.Money", "cents", TYPE) for event in ("shop.A", "shop.B")
        ]

    def test_kept_beside(self) -> None:
        """The old shape of an event is kept with the old shape of what is inside; the new ones may be anything."""
        old = PLACED % "Money price = 1;" + " message Money { int32 cents = 1; }"
        kept = old.replace("Money", "MoneyV1").replace("Placed", "PlacedV1")
        new = (PLACED % "Money price = 1;").replace('"}', '" schema: 2}') + " message Money { string cents = 1; }"
        report = compared(old, kept + new)
        assert (report.verdict, breaks(report)) == (Verdict.BACKWARD, [])

    def test_enums(self) -> None:
        """Enums are compared where fields of one number hold them, wherever they are declared."""
        old = "message M { State s = 1; } enum State { NONE = 0; DONE = 1; }"
        moved = "message M { enum Phase { NONE = 0; DONE = 1; } Phase s = 1; }"
        assert compared(old, moved).verdict is Verdict.FULL
        assert breaks(compared(old, moved.replace("DONE", "OVER"))) == [
            ("shop.M", 1, "shop.State", "DONE", "ENUM_VALUE_SAME_NAME")
        ]

    def test_circles(self) -> None:
        """Messages that hold each other are compared, also where nothing else holds them."""
        old = "message A { B b = 1; int32 x = 2; } message B { A a = 1; M m = 2; } message M { M m = 1; }"
        assert compared(old, old).verdict is Verdict.FULL
        report = compared(old, old.replace("int32 x", "string x"))
        assert {one[2:] for one in breaks(report)} == {("shop.A", "x", TYPE)}

    def test_moved(self) -> None:
        """What keeps its name and goes to another number has not been deleted."""
        report = compared(
            "message M { int32 a = 1; E e = 2; } enum E { NONE = 0; DONE = 1; }",
            "message M { int32 a = 3; E e = 2; } enum E { NONE = 0; DONE = 4; }",
        )
        assert breaks(report) == [
            ("shop.M", 1, "shop.E", "DONE", "ENUM_VALUE_SAME_NUMBER"),
            ("shop.M", 1, "shop.M", "a", "FIELD_SAME_NUMBER"),
        ]
        assert report.findings[-1].text == 'Field "a" on "M" moved from number 1 to 3.'

    def test_swapped(self) -> None:
        """Two fields or values that change places have moved both, also where names do not count."""
        report = compared(
            "message M { int32 a = 1; int32 b = 2; E e = 3; } enum E { NONE = 0; X = 1; Y = 2; }",
            "message M { int32 b = 1; int32 a = 2; E e = 3; } enum E { NONE = 0; Y = 1; X = 2; }",
            wire=True,
        )
        assert [one[3] for one in breaks(report)] == ["X", "Y", "a", "b"]
        assert report.verdict is Verdict.NONE

    def test_aliases(self) -> None:
        """Each name of a value is looked for, the first of a number and the others."""
        enum = "message M { E e = 1; } enum E { option allow_alias = true; NO = 0; NIL = 0; A = 1; B = 1; %s }"
        old = enum % ""
        for name in "AB":
            moved = old.replace(f"{name} = 1", f"{name} = 2")
            assert [one[3:] for one in breaks(compared(old, moved, wire=True))] == [(name, "ENUM_VALUE_SAME_NUMBER")]
        assert compared(old, old.replace("A = 1; B = 1;", "B = 1; A = 1;"), wire=True).verdict is Verdict.FULL
        assert compared(old, enum % "C = 1;", wire=True).verdict is Verdict.FULL

    @pytest.mark.parametrize("field", ["%s", "repeated %s", "map<string, %s>"])
    @pytest.mark.parametrize(
        ("before", "now", "verdict"),
        [
            ("int32", "uint32", Verdict.NONE),
            ("fixed64", "sfixed64", Verdict.NONE),
            ("uint32", "int64", Verdict.BACKWARD),
            ("int64", "int32", Verdict.FORWARD),
            ("bool", "int32", Verdict.BACKWARD),
        ],
    )
    def test_ranges(self, before: str, now: str, verdict: Verdict, field: str) -> None:
        """A type with another sign or fewer bits reads other numbers out of the same bytes, in maps too."""
        report = compared(*(f"message M {{ {field % kind} a = 1; }}" for kind in (before, now)), wire=True)
        assert report.verdict is verdict
        assert {(one.field, one.rule) for one in report.findings} == {("a", "FIELD_SAME_RANGE")}

    def test_closed_enums(self) -> None:
        """A value that a closed enum has not is lost on whoever reads with it."""
        text = "message M { optional E e = 1; } enum E { NONE = 0; DONE = 1; %s }"
        fewer, more = (
            write(name, text % value, syntax='syntax = "proto2"') for name, value in (("a", ""), ("b", "X = 2;"))
        )
        assert [
            (one.direction, one.message, one.field, one.rule) for one in check(protos(fewer), protos(more)).findings
        ] == [(FORWARD, "shop.E", "X", "ENUM_CLOSED_SAME_VALUES")]
        assert breaks(check(protos(more), protos(fewer), wire=True)) == [
            ("shop.M", 1, "shop.E", "X", "ENUM_CLOSED_SAME_VALUES")
        ]

    def test_parts(self) -> None:
        """Each finding is of the field that it says, of whatever part of it the rule speaks, inside a map too."""
        old = "message M { %s }"
        fields = {
            "a": ("int32 a = 7;", "string a = 7;"),
            "b": ("repeated int32 b = 5;", "int32 b = 5;"),
            "c": ("int32 c = 3;", 'int32 c = 3 [json_name = "cc"];'),
            "d": ("map<string, int32> d = 11;", "map<string, string> d = 11;"),
            "e": ("int32 e = 9;", "int32 ee = 9;"),
            "f": ("int32 f = 200;", "oneof o { int32 f = 200; }"),
        }
        report = compared(*(old % " ".join(pair[side] for pair in fields.values()) for side in (0, 1)))
        assert {one[3] for one in breaks(report)} == set(fields)
        assert [one[4] for one in breaks(report)] == [
            TYPE,
            "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY",
            "FIELD_SAME_JSON_NAME",
            TYPE,
            "FIELD_SAME_JSON_NAME",
            "FIELD_SAME_NAME",
            "FIELD_SAME_ONEOF",
        ]

    def test_names_in_texts(self) -> None:
        """A text names types as the protos do."""
        old = "message M { A a = 1; map<string, A> m = 2; } message A { int32 x = 1; }"
        new = (
            "import 'google/protobuf/timestamp.proto'; message M { google.protobuf.Timestamp a = 1; repeated A m = 2; }"
        )
        report = compared(old, f"{new} message A {{ int32 x = 1; }}")
        assert [one.text.partition("changed ")[2] for one in report.findings if one.direction is BACKWARD] == [
            'type from "shop.A" to "google.protobuf.Timestamp".',
            'cardinality from "map" to "repeated".',
            'type from "shop.M.MEntry" to "shop.A".',
        ]

    def test_extensions(self) -> None:
        """Fields that others add to a message are compared like its own, under the names that they have in JSON."""
        outside, inside = (f"extend M {{ optional int32 {one}; }}" for one in ("a = 1", "b = 2"))
        text = f"message M {{ extensions 1 to 9; }} {outside} message X {{ {inside} }}"
        old, new = (
            protos(write(name, text.replace("int32", kind), syntax='syntax = "proto2"'))
            for name, kind in (("old", "int32"), ("new", "string"))
        )
        assert breaks(check(old, new)) == [
            ("shop.M", 1, "shop.M", "shop.X.b", TYPE),
            ("shop.M", 1, "shop.M", "shop.a", TYPE),
        ]

    def test_message_sets(self) -> None:
        """A message set has nothing but extensions; they are compared like those of any message."""
        text = (
            "message M { option message_set_wire_format = true; extensions 4 to max; } message X { extend M { %s } %s }"
        )
        held = "optional X x = 1000;"
        old, new = (
            protos(write(name, text % (held, field), syntax='syntax = "proto2"'))
            for name, field in (("old", "optional int32 a = 1;"), ("new", "optional string a = 1;"))
        )
        assert breaks(check(old, new)) == [("shop.M", 1, "shop.X", "a", TYPE)]

    def test_services(self) -> None:
        """What only a service speaks of may go; as long as it is there it is compared like the rest."""
        service = "service S { rpc Ask(Question) returns (Answer); } message Answer { }"
        old = f"message M {{ }} {service} message Question {{ string text = 1; }}"
        report = compared(old, "message M { }")
        assert (report.verdict, report.events) == (Verdict.FULL, 1)
        assert breaks(compared(old, old.replace("string", "int32"))) == [
            ("shop.Question", 1, "shop.Question", "text", TYPE)
        ]

    def test_other_files(self) -> None:
        """What an event holds of other files is compared with it, what is published with protobuf too."""
        write("old", "message A { int32 x = 1; }", name="shop/a.proto")
        write("new", "message A { string x = 1; }", name="shop/a.proto")
        imports = 'import "shop/a.proto"; import "google/protobuf/timestamp.proto";'
        text = f"{imports} message M {{ A a = 1; google.protobuf.Timestamp t = 2; }}"
        assert breaks(compared(text, text)) == [("shop.M", 1, "shop.A", "x", TYPE)]

    def test_imports_are_no_events(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a tree merely imports comes and goes unnoticed."""
        monkeypatch.syspath_prepend(write(tmp_path / "published", "message Thing { }", name="other/thing.proto"))
        report = compared('import "other/thing.proto"; message M { }', f"message M {{ }} {SEEN}")
        assert (report.verdict, report.events) == (Verdict.BACKWARD, 2)

    @pytest.mark.parametrize(
        ("file", "outer", "inner", "broken"),
        [
            ("LEGACY_BEST_EFFORT", "", "", ["E", "M", "M.In", "M.In.Deep", "M.In.Deep.F"]),
            ("", "LEGACY_BEST_EFFORT", "", ["M", "M.In", "M.In.Deep", "M.In.Deep.F"]),
            ("", "LEGACY_BEST_EFFORT", "ALLOW", ["M"]),
            ("", "", "LEGACY_BEST_EFFORT", ["M.In", "M.In.Deep", "M.In.Deep.F"]),
            ("LEGACY_BEST_EFFORT", "ALLOW", "", ["E"]),
        ],
    )
    def test_features(self, file: str, outer: str, inner: str, broken: list[str]) -> None:
        """A message and an enum have the features of what they stand in, where they do not say otherwise."""
        option = "option features.json_format = %s;"
        options = [option % feature if feature else "" for feature in (file, outer, inner)]
        inside = "Deep d = 1; message Deep { F f = 1; enum F { NO = 0; } }"
        fields = "In i = 1; E e = 2; map<string, In> m = 3; %s t = 4;"
        text = f"%s message M {{ %s {fields} message In {{ %s {inside} }} }} enum E {{ NONE = 0; }}"
        imported = 'import "google/protobuf/timestamp.proto"; '
        before = imported + text % ("", "", "google.protobuf.Timestamp", "")
        after = text % (*options[:2], "E", options[2])
        old, new = (
            protos(write(name, text, syntax='edition = "2023"')) for name, text in (("old", before), ("new", after))
        )
        found = [one.message for one in check(old, new).findings if one.rule.endswith("SAME_JSON_FORMAT")]
        assert found == [f"shop.{name}" for name in broken]

    def test_twice(self) -> None:
        """Two messages that are stored under one name are an error, as they are in a codec."""
        with pytest.raises(
            CannotCompare, match=r"new: shop.Seen2 and shop.Seen are both stored as order.seen schema 1"
        ):
            compared(SEEN, SEEN + SEEN.replace("Seen", "Seen2"))


class TestCovered:
    """What bridges a break: a step, proved by golden bytes that old code has written and that hold what breaks."""

    OLD = PLACED % "string price = 1; int32 count = 2;" + ENDS
    NEW = PLACED % "bytes price = 1; int32 count = 2;" + ENDS

    def by(self, new: str = NEW, codec: Any = UPCASTING, **options: Any) -> tuple[bool, str]:
        report = compared(self.OLD, new, codec=codec, **options)
        [finding] = [one for one in report.findings if one.direction is BACKWARD]
        assert (report.verdict is Verdict.BACKWARD) == finding.covered
        return finding.covered, finding.by

    def golden(self, *events: Any, codec: Any = UPCASTING) -> dict[str, Any]:
        record("golden", codec, *events)
        return {"golden": read(Path("golden"))}

    def test_covered(self) -> None:
        """A step takes the event, and golden bytes hold the field."""
        covered, by = self.by(**self.golden(PlacedV1(price="4.20"), PlacedV1(price="9")))
        assert (covered, by) == (True, "step tests.upcasting.shop.in_cents, proved by golden bytes (2)")

    def test_deleted(self) -> None:
        """A message that is not among the protos of today any more is covered like any other break."""
        golden = self.golden(PlacedV1(price="4.20"), Payload("order.seen", 1, b""))
        assert self.by(f"message M {{ }} {ENDS}", **golden)[0]
        report = compared(SEEN, "message M { }", codec=UPCASTING, **golden)
        assert report.findings[0].by == "step retired('order.seen', 1), proved by golden bytes (1)"

    def test_absence(self) -> None:
        """What a field means where it is absent is proved by an event that lacks it."""
        text = 'message Placed { option (eventstore.v1.event) = {type: "order.placed"}; optional int32 n = 1 %s; }'
        old, new = (
            protos(write(name, text % f"[default = {n}]" + ENDS, syntax='syntax = "proto2"'))
            for name, n in (("old", 5), ("new", 7))
        )
        free = Upcasting(CODEC, [renamed("order.placed", 1, Paid), *STEPS[1:]])
        report = check(old, new, codec=free, **self.golden(Payload("order.placed", 1, b""), codec=free))
        assert [(one.rule, one.covered) for one in report.findings if one.direction is BACKWARD] == [
            ("FIELD_SAME_DEFAULT", True)
        ]

    def test_ends_elsewhere(self) -> None:
        """A step that leads to what the new protos lack is of another program than they are."""
        golden = self.golden(PlacedV1(price="4.20"))
        report = compared(PLACED % "string price = 1;", PLACED % "bytes price = 1;", codec=UPCASTING, **golden)
        [backward] = [one for one in report.findings if one.direction is BACKWARD]
        assert not backward.covered
        assert backward.by.endswith("but it leads to order.placed schema 3, which is not in new")

    def test_known_by_golden_bytes(self) -> None:
        """What golden bytes were recorded of is an event, also where another message holds it."""
        old = "message Placed { } message View { Placed p = 1; }"
        golden: dict[Any, Any] = {("shop.Placed", 1): {b"": []}}
        assert breaks(compared(old, "message View { }")) == []
        found = compared(old, "message View { }", golden=golden)
        assert breaks(found) == [("shop.Placed", 1, "shop.Placed", "", HAS_MESSAGE)]

    def test_known_by_its_step(self) -> None:
        """What a step takes is an event, also where the protos do not say so."""
        old = "message Box { Lid lid = 1; } message Lid { string by = 1; }"
        new = "message Box { Top lid = 1; } message Top { string by = 1; }"
        assert breaks(compared(old, new)) == []
        lid = Upcasting(Codec(Paid), [renamed("shop.Lid", 1, Paid)])
        assert breaks(compared(old, new, codec=lid)) == [("shop.Lid", 1, "shop.Lid", "", HAS_MESSAGE)]

    def test_forward(self) -> None:
        """Nothing covers what old code does not read."""
        report = compared(self.OLD, self.NEW, codec=UPCASTING, **self.golden(PlacedV1(price="1")))
        [forward] = [one for one in report.findings if one.direction is FORWARD]
        assert (forward.covered, forward.by) == (False, "no step reaches code that is out already")

    @pytest.mark.parametrize("codec", [CODEC, Upcasting(Codec(Paid), [])])
    def test_no_step(self, codec: Any) -> None:
        """Without a step nothing is covered, whatever the golden bytes hold."""
        golden = self.golden(PlacedV1(price="1"), codec=Codec(PlacedV1))
        assert self.by(codec=codec, **golden) == (False, "no step takes order.placed schema 1")
        assert self.by(codec=None, **golden) == (False, "no codec was given")

    @pytest.mark.parametrize(
        ("events", "doubt"),
        [
            ([Paid(by="ann")], "there are no golden bytes"),
            (
                [Payload("order.placed", 1, b"\n\x011\x10\x01"), Payload("order.placed", 1, b"\x1a\x00\n\x011")],
                "nothing",
            ),
            ([Payload("order.placed", 1, b"\n\x011\x08\x01")], "golden event 1 is nothing that old has written"),
        ],
    )
    def test_no_proof(self, events: list[Any], doubt: str) -> None:
        """A step without golden bytes of old code proves nothing."""
        covered, by = self.by(**self.golden(*events))
        assert not covered
        assert by.startswith("step tests.upcasting.shop.in_cents takes it, but ")
        assert doubt in by

    def test_not_decoded(self) -> None:
        """Nor do bytes that old code does not even decode."""
        free = Upcasting(CODEC, [retired("order.placed", 1), *STEPS[1:]])
        golden = self.golden(Payload("order.placed", 1, b"\n\x01\xff"), codec=free)
        assert self.by(codec=free, **golden)[1].endswith("but golden event 1 is nothing that old has written")

    def test_not_held(self) -> None:
        """Golden bytes that lack what breaks prove nothing about it."""
        free = Upcasting(CODEC, [renamed("order.placed", 1, Placed), *STEPS[1:]])
        golden = self.golden(Payload("order.placed", 1, b"\x10\x01"), codec=free)
        assert self.by(codec=free, **golden)[1].endswith("but no golden event holds price")

    def test_other_meaning(self) -> None:
        """Golden bytes that become something else than is pinned speak against a step."""
        golden = self.golden(PlacedV1(price="1"))
        changed = Upcasting(CODEC, [renamed("order.placed", 1, Paid), *STEPS[1:]])
        assert self.by(codec=changed, **golden)[1].startswith(
            "step renamed('order.placed', 1) takes it, but golden event 1 becomes order.paid schema 1"
        )

    def test_enum_values(self) -> None:
        """For a value of an enum, golden bytes must hold that value; a zero is never written."""
        old = PLACED % "State s = 1;" + "enum State { NONE = 0; DONE = 1; GONE = 2; }" + ENDS
        free = Upcasting(CODEC, [renamed("order.placed", 1, Paid), *STEPS[1:]])
        golden = self.golden(Payload("order.placed", 1, b"\x08\x01"), codec=free)
        for name, covered in (("NONE", True), ("DONE", True), ("GONE", False)):
            report = compared(old, old.replace(name, "OTHER"), codec=free, **golden)
            assert [one.covered for one in report.findings if one.direction is BACKWARD] == [covered], name


def git(*words: str) -> None:
    options = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *options, *words], check=True, capture_output=True)  # noqa: S607


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tags, of which the first has no protos; after them a change that is not committed."""
    root = tmp_path_factory.mktemp("repository")
    with contextlib.chdir(root):
        git("init", "--quiet")
        for tag, field in (("v0.8", ""), ("v0.9", "int32 a = 1;"), ("v0.10", "string a = 1;"), ("w1", "bytes a = 1;")):
            Path("README").write_text(tag, encoding="utf-8")
            if field:
                write("protos", f"message M {{ {field} }}")
            git("add", ".")
            git("commit", "--quiet", "--message", tag)
            git("tag", tag)
        write("protos", "message M { string a = 1; }")
    return root


@pytest.fixture
def repository(committed: Path, tmp_path: Path) -> None:
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)


class TestSources:
    """Where protos come from, and what is wrong where they cannot be read."""

    def verdict(self, old: str, new: str) -> Verdict:
        return check(protos(old), protos(new)).verdict

    def test_imports_of_today(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What lies in the current folder is no published proto, though Python looks there."""
        monkeypatch.syspath_prepend("")
        write(".", "message Money { }", name="common/money.proto")
        write("tree", 'import "common/money.proto"; message A { Money b = 1; }')
        with pytest.raises(CannotCompare, match=r"found nowhere: common/money.proto"):
            protos("tree")

    def test_imports_of_a_revision(self, repository: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is installed from the working tree itself is read as it was in the revision, or not at all."""
        source = tmp_path / "src"
        monkeypatch.syspath_prepend(str(source))
        write("orders", 'import "common/money.proto"; message M { Money m = 1; }')
        git("add", ".")
        git("commit", "--quiet", "--message", "nothing to import")
        write(source, "message Money { int32 cents = 1; }", name="common/money.proto")
        with pytest.raises(CannotCompare, match=r"git:HEAD:orders: .*found nowhere: common/money.proto"):
            protos("git:HEAD:orders")
        git("add", ".")
        git("commit", "--quiet", "--message", "something")
        write(source, "message Money { string cents = 1; }", name="common/money.proto")
        assert breaks(check(protos("git:HEAD:orders"), protos("orders"))) == [
            ("shop.M", 1, "shop.Money", "cents", TYPE)
        ]

    def test_imports_of_an_environment(self, repository: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An environment in the working tree is no part of it: what is installed there is read."""
        write("orders", 'import "other/thing.proto"; message M { Thing t = 1; }')
        git("add", "orders")
        git("commit", "--quiet", "--message", "orders")
        packages = write(tmp_path / "env/site-packages", "message Thing { }", name="other/thing.proto")
        monkeypatch.syspath_prepend(packages)
        monkeypatch.setattr("upcasting._protos.sysconfig.get_path", lambda _: packages)
        monkeypatch.setattr("upcasting._buf.shutil.which", lambda *_, **__: BUF)
        assert self.verdict("git:HEAD:orders", "orders") is Verdict.FULL

    def test_no_text(self, tmp_path: Path) -> None:
        """A proto that is no text is not taken for an empty one."""
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad/x.proto").write_bytes(b"\xff\xfe")
        with pytest.raises(CannotCompare, match=r"x.proto is not UTF-8"):
            protos("bad")

    def test_imports(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Published protos are found where Python finds packages, with what they import; a tree's own come first."""
        published = tmp_path / "published"
        monkeypatch.syspath_prepend(str(published))
        write(published, 'import "other/b.proto"; message A { B b = 1; }', name="other/a.proto")
        write(published, "message B { }", name="other/b.proto")
        write(published, "message Wrong { }", name="shop/more/seen.proto")
        write("tree", SEEN, name="shop/more/seen.proto")
        write(
            "tree", 'import "shop/more/seen.proto"; import public "other/a.proto"; message M { Seen s = 1; A a = 2; }'
        )
        files, own = load("tree")
        assert own == {"shop/orders.proto", "shop/more/seen.proto"}
        imported = {"google/protobuf/descriptor.proto", "eventstore/v1/options.proto", "other/a.proto", "other/b.proto"}
        assert {file.name for file in files.file} == own | imported

    def test_hidden_folders(self) -> None:
        """Environments and histories are passed over."""
        write("tree", "message M { }")
        write("tree", "no proto at all", name=".venv/lib/bad.proto")
        assert load("tree")[1] == {"shop/orders.proto"}

    def test_descriptor_set(self) -> None:
        """A file with a descriptor set is as good as the tree, also one that lacks what it imports."""
        write("tree", SEEN)
        files, _ = load("tree")
        Path("whole.binpb").write_bytes(files.SerializeToString())
        Path("bare.binpb").write_bytes(FileDescriptorSet(file=files.file[-1:]).SerializeToString())
        assert [self.verdict(source, "tree") for source in ("whole.binpb", "bare.binpb")] == [Verdict.FULL] * 2
        Path("generated.binpb").write_bytes(FileDescriptorSet(file=[_FILE]).SerializeToString())
        with pytest.raises(CannotCompare, match=r"PlacedAgain and tests.upcasting.PlacedV2 are both stored as"):
            self.verdict("generated.binpb", "tree")

    def test_revision(self, repository: None) -> None:
        """A folder of any revision is read, seen from the current folder; no checkout is touched."""
        status = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True).stdout  # noqa: S607
        assert self.verdict("git:v0.9:protos", "protos") is Verdict.NONE
        assert self.verdict("git:v0.10:protos", "protos") is Verdict.FULL
        assert self.verdict("git:HEAD~1:protos", "git:v0.10:protos/") is Verdict.FULL
        os.chdir("protos")
        assert self.verdict("git:v0.10:", "git:v0.10:../protos") is Verdict.FULL
        assert (
            subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True).stdout == status  # noqa: S607
        )

    def test_attributes(self, repository: None) -> None:
        """What git leaves out of archives is there, and nothing runs over it."""
        Path(".gitattributes").write_text("*.proto export-ignore text eol=crlf\n", encoding="utf-8")
        git("add", ".")
        git("commit", "--quiet", "--message", "attributes")
        assert self.verdict("git:HEAD:protos", "protos") is Verdict.FULL

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("nowhere", "nowhere: there is no such file or folder"),
            ("empty", "empty: there is no .proto in it"),
            ("protos/shop/orders.proto", "this is no descriptor set; name the folder that its imports start from"),
            ("README", "README: this is no descriptor set; buf build -o makes one"),
            ("nothing.binpb", "nothing.binpb: this is no descriptor set"),
            ("lacking.binpb", "lacking.binpb: a.proto imports b.proto, which is not in it; protoc --include_imports"),
            ("torn.binpb", "torn.binpb: its descriptors do not fit together: "),
            ("syntax", r"syntax: shop/orders.proto:5:12: unexpected `=`.*\(and 1 more\)"),
            ("slip", "slip: shop/orders.proto:4:13: cannot find `No` in this scope$"),
            ("/proc/self/mem", "/proc/self/mem: cannot be read: Input/output error"),
            ("n" * 256, "n{256}: cannot be read: File name too long"),
            ("far", "n{256}.proto: cannot be read: File name too long"),
            ("imports", r"imports: shop/orders.proto:4:1: .* \(imported and found nowhere: no/such.proto\)"),
            ("outside", r"outside: .*found nowhere: \.\./published.proto, .*/published.proto\)"),
            ("git:", "git:: expected git:REVISION:FOLDER"),
            ("git:v7:protos", "git:v7:protos: git knows no revision v7"),
            ("git:--all:protos", "git:--all:protos: git knows no revision --all"),
            ("git:v0.8:protos", "git:v0.8:protos: there is no folder protos in v0.8"),
            ("git:v0.9:README", "git:v0.9:README: there is no folder README in v0.9"),
            ("git:v0.8:", "git:v0.8:: there is no .proto in it"),
        ],
    )
    def test_refused(self, source: str, problem: str, repository: None, monkeypatch: pytest.MonkeyPatch) -> None:
        """What cannot be read is named, and what is wrong with it."""
        Path("empty/deeper").mkdir(parents=True)
        Path("empty/deeper/proto").touch()
        Path("nothing.binpb").touch()
        lacking = FileDescriptorSet()
        lacking.file.add(name="a.proto", dependency=["b.proto"])
        Path("lacking.binpb").write_bytes(lacking.SerializeToString())
        torn = FileDescriptorSet()
        torn.file.add(name="a.proto").message_type.add(name="M").field.add(name="f", number=1, type_name=".No")
        Path("torn.binpb").write_bytes(torn.SerializeToString())
        write("syntax", "message M {\n  int32 a == 1;\n  int32 b == 2; }")
        write("slip", "message M { No n = 1; }")
        write("imports", 'import "no/such.proto"; message M { }')
        write("far", f'import "{"n" * 256}.proto"; message M {{ }}')
        Path("published.proto").touch()
        monkeypatch.syspath_prepend("empty")
        write("outside", f'import "../published.proto"; import "{Path.cwd()}/published.proto"; message M {{ }}')
        with pytest.raises(CannotCompare, match=problem):
            self.verdict(source, "protos")

    def test_no_repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outside of a repository, and without git, that is said."""
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        with pytest.raises(CannotCompare, match="git:v1:protos: not a git repository"):
            load("git:v1:protos")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(CannotCompare, match="git:v1:protos: git is not installed"):
            load("git:v1:protos")

    def test_no_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is kept: no home is needed that can be written to."""
        write("tree", "message M { }")
        Path("full").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(Path("full").absolute()))
        assert load("tree")[1] == {"shop/orders.proto"}

    def test_no_buf(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where buf is missing, the way to get it is said."""
        write("tree", "message M { }")
        monkeypatch.setattr("upcasting._buf.shutil.which", lambda *_, **__: None)
        with pytest.raises(CannotCompare, match=r"buf: not installed: pip install 'foldlog-upcasting\[check\]'"):
            load("tree")

    @pytest.mark.parametrize(
        ("script", "problem"),
        [
            ("exit 3", "tree: it failed without a word"),
            ("echo {} >&2; exit 3", "tree: {}"),
            ("echo Failure: no room >&2; exit 3", "tree: Failure: no room"),
        ],
    )
    def test_broken_buf(self, script: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where buf fails in a way of its own, its words are passed on."""
        write("tree", "message M { }")
        write("other", "message M { int32 a = 1; }")
        before, now = map(protos, ("tree", "other"))
        Path("buf").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        Path("buf").chmod(0o755)
        monkeypatch.setattr("upcasting._buf.shutil.which", lambda *_, **__: str(Path("buf").absolute()))
        with pytest.raises(CannotCompare, match=re.escape(problem)):
            load("tree")
        with pytest.raises(CannotCompare, match=re.escape(problem.replace("tree", "buf breaking"))):
            check(before, now)

    def test_new_rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rule that buf has not had before, and that is about nothing that was given to it, is not passed over."""
        broken = Broken(rule="FILE_SAME_MOOD", path="", line=1, text="The mood changed.")
        monkeypatch.setattr("upcasting._buf.breaking", lambda new, against, rules: [broken])
        with pytest.raises(CannotCompare, match=r"buf breaking: FILE_SAME_MOOD names no place: The mood changed\."):
            compared("message M { }", "message M { int32 a = 1; }")

    def test_closed_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that cannot be listed is not passed over."""
        write("tree", "message M { }")

        def refuse(path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(CannotCompare, match="tree: cannot be read: Permission denied"):
            protos("tree")


def call(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["check", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def changed() -> tuple[str, str]:
    """Two trees: a break in a field, a deleted event, an added one."""
    old = TestCovered.OLD + SEEN.replace("order.seen", "order.watched")
    new = TestCovered.NEW + SEEN.replace("order.seen", "order.noticed").replace("Seen", "Noticed")
    return write("old", old), write("new", new)


SHOWN = """\
order.noticed schema 1
  shop.Noticed, forward: EVENT_HAS_MESSAGE
    Nothing was stored as order.noticed schema 1 before, as message shop.Noticed is.
order.placed schema 1
  price, backward and forward: FIELD_WIRE_JSON_COMPATIBLE_TYPE
    Field "1" with name "price" on message "Placed" changed type from "string" to "bytes".
    not covered: no codec was given
order.watched schema 1
  shop.Seen, backward: EVENT_HAS_MESSAGE
    Nothing is stored as order.watched schema 1 any more, as message shop.Seen was.
    not covered: no codec was given
old -> new: NONE
  new code reads old data: no
  old code reads new data: no
  events compared: 5
"""
COVERED = ("--codec", "tests.upcasting.test_steps:UPCASTING", "--golden", "golden")


class TestCommand:
    """What people see, what programs read, and how it ends."""

    def test_people(self, changed: tuple[str, str]) -> None:
        """In a pipe nothing is folded, and no line ends in blanks."""
        assert call(*changed, code=1).stdout == SHOWN

    @pytest.mark.parametrize("columns", [60, 120])
    def test_terminal(self, columns: int, changed: tuple[str, str]) -> None:
        """On a terminal lines fit, and what is folded stays under what it belongs to."""
        seen = STYLE.sub("", on_terminal("upcasting", "check", *changed, columns=columns))
        assert max(map(len, seen.splitlines())) <= columns
        assert [*re.sub(r"\s+", " ", seen)] == [*re.sub(r"\s+", " ", SHOWN)]
        folded = '    Field "1" with name "price" on message "Placed" changed\n    type from "string" to "bytes".'
        assert (folded in re.sub(r" +\n", "\n", seen)) == (columns == 60)

    def test_json(self, changed: tuple[str, str]) -> None:
        """A program reads an object a line, with the keys that the help names."""
        [report] = map(json.loads, call(*changed, "--json", code=1).stdout.splitlines())
        [named] = re.findall(r"JSON keys, an object for each OLD: (.*?)\.", " ".join(call("--help").stdout.split()))
        keys, inner = re.fullmatch(r"(.*) \(a list of objects with (.*)\)", named).groups()  # type: ignore[union-attr]
        assert list(report) == re.sub(r" \(how many\)", "", keys).split(", ")
        assert [list(finding) for finding in report["findings"]] == [
            inner.replace(" of the event", "").replace(" and ", ", ").split(", ")
        ] * 4
        assert {key: report[key] for key in ("old", "new", "verdict", "passes", "events")} == {
            "old": "old",
            "new": "new",
            "verdict": "NONE",
            "passes": False,
            "events": 5,
        }

    def test_covered(self) -> None:
        """What steps cover does not count, and is shown with what covers it."""
        record("golden", UPCASTING, PlacedV1(price="4.20"))
        out = call(write("old", TestCovered.OLD), write("new", TestCovered.NEW), *COVERED).stdout
        assert "    covered: step tests.upcasting.shop.in_cents, proved by golden bytes (1)\n" in out
        assert out.endswith(
            "old -> new: BACKWARD\n"
            "  new code reads old data: yes, by steps\n"
            "  old code reads new data: no\n"
            "  events compared: 3\n"
        )

    @pytest.mark.parametrize(
        ("require", "codes"),
        [("backward", (0, 0, 1)), ("forward", (0, 1, 0)), ("full", (0, 1, 1)), ("nothing", (0, 0, 0))],
    )
    def test_require(self, require: str, codes: tuple[int, int, int]) -> None:
        """The exit code is 1 where what is required does not hold, by default that new code reads old data."""
        less, more = write("less", "message M { }"), write("more", "message M { } message N { }")
        for pair, code in zip([(less, less), (less, more), (more, less)], codes, strict=True):
            call(*pair, "--require", require, code=code)
            if require == "backward":
                call(*pair, code=code)

    def test_wire(self) -> None:
        """Where the binary form alone counts, names may change and integers get wider; field numbers still may not."""
        old = write("old", "message M { int32 a = 1; E e = 2; int32 n = 3; } enum E { NONE = 0; DONE = 1; }")
        new = write("new", "message M { int32 b = 1; E e = 2; int64 n = 3; } enum E { NONE = 0; OVER = 1; }")
        call(old, new, code=1)
        call(old, new, "--wire")
        call(old, new, "--wire", "--require", "full", code=1)
        call(
            old, write("moved", "message M { int32 a = 9; E e = 2; } enum E { NONE = 0; DONE = 1; }"), "--wire", code=1
        )

    def test_tags(self, repository: None) -> None:
        """Each tag that has the folder is checked, oldest first; the exit code counts all."""
        found = [
            json.loads(line) for line in call("protos", "protos", "--tags", "v*", "--json", code=1).stdout.splitlines()
        ]
        assert [(one["old"], one["verdict"]) for one in found] == [
            ("git:v0.9:protos", "NONE"),
            ("git:v0.10:protos", "FULL"),
        ]
        call("protos", "protos", "--tags", "v0.10")

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("nowhere", "new"), "upcasting: nowhere: there is no such file or folder\n"),
            (("old", "new", *COVERED), "upcasting: golden: there is no such folder\n"),
            (("protos", "protos", "--tags", "x*"), "upcasting: tags x*: no tag matches\n"),
            (("nothing", "protos", "--tags", "v*"), "upcasting: tags v*: none of 3 has a folder nothing\n"),
        ],
    )
    def test_mistakes(
        self, arguments: tuple[str, ...], problem: str, changed: tuple[str, str], repository: None
    ) -> None:
        """What whoever typed it can mend is one line, and exit code 1."""
        result = call(*arguments, code=1)
        assert result.stderr.startswith(problem)
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""

    def test_usage(self, changed: tuple[str, str]) -> None:
        """A command line that means nothing has exit code 2, and one may ask which version this is."""
        assert "say --codec too" in call(*changed, "--golden", "golden", code=2).stderr
        call("old", code=2)
        for codec, problem in (
            ("nothing_here:codec", "No module named 'nothing_here'"),
            ("json:dumps", "expected an Upcasting or a Codec"),
        ):
            assert problem in " ".join(call(*changed, "--codec", codec, code=2).stderr.split())
        assert CliRunner().invoke(app, ["--version"]).stdout == f"upcasting {version('foldlog-upcasting')}\n"
        call(*changed, "--require", "luck", code=2)

    def test_hostile_names(self) -> None:
        """No character of a name reaches a terminal as anything but itself."""
        evil = SEEN.replace("order.seen", r"\x1b[31m\xe2\x80\xae\n").replace("Seen", "Evil")
        folder = "old\x1b[32m\u202e"
        seen = on_terminal("upcasting", "check", write(folder, evil), write("new", "message M { }"), columns=120)
        shown = STYLE.sub("", seen)
        assert not {"\x1b", "\u202e"} & set(shown)
        assert r"\x1b[31m\u202e\n schema 1" in shown
        assert r"old\x1b[32m\u202e -> new" in shown
        lines = call(folder, "new", "--json", code=1).stdout
        assert lines.isascii()
        assert json.loads(lines)["findings"][0]["type"] == "\x1b[31m\u202e\n"

    def test_module(self, changed: tuple[str, str]) -> None:
        """The command runs as a module too, and may be cut off by its reader."""
        command = f"{sys.executable} -m upcasting check old new | head -n 1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
        assert (done.stdout, done.stderr) == ("order.noticed schema 1\n", "")
