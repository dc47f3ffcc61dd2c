"""The table of changes: what a check says of each, what buf says, and what really happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upcasting.changes import Row, measured, rows

pytestmark = pytest.mark.timeout(60)  # most of a second goes to the first start of buf

PAGE = Path(__file__).parents[2] / "docs/upcasting-changes.md"


@pytest.fixture(scope="module")
def table() -> list[Row]:
    return rows(PAGE)


def test_as_written(table: list[Row]) -> None:
    """Every cell of the page is what is the case."""
    now = [str(row) for row in measured(table)]
    assert [line for line in now if line not in set(map(str, table))] == []
    assert now == list(map(str, table))


def test_size(table: list[Row]) -> None:
    """There are enough changes, each with a name of its own, and enough of them are seen differently."""
    assert len({row.change for row in table}) == len(table) >= 100
    assert sum(row.disagrees for row in table) >= 50


def test_reasons(table: list[Row]) -> None:
    """Where a check, buf and what happens do not say the same, a reason stands beside it, and nowhere else."""
    assert [row.change for row in table if row.disagrees != bool(row.reason)] == []


def test_closer_than_buf(table: list[Row]) -> None:
    """A check says what happens where buf does, and in more cases: what it leaves out and adds costs no verdict."""
    right = {row.change for row in table if row.ours == row.really}
    assert len(right) >= 70
    worse = {row.change for row in table if row.buf == row.really} - right
    # That an old name of a value means nothing in JSON is what buf's rules on deletions say, which are left out.
    assert worse == {"add a value to an enum", "delete a value of an enum"}


HARMED = {"lost", "garbled", "refused"}


def test_safe(table: list[Row]) -> None:
    """Where a check lets a change pass, everything arrives as it was written, but for what is named here."""
    unsafe = {
        row.change
        for row in table
        if (row.ours in {"BACKWARD", "FULL"} and {row.backward, row.backward_json} & HARMED)
        or (row.ours in {"FORWARD", "FULL"} and {row.forward, row.forward_json} & HARMED)
    }
    # The number is stored, and arrives; what JSON has is a name that is not known.
    assert unsafe == {"add a value to an enum", "delete a value of an enum", "delete a value, number and name reserved"}


def test_safe_in_binary(table: list[Row]) -> None:
    """Where a check of the binary form alone lets a change pass, all bytes arrive as they were written."""
    unsafe = {
        row.change
        for row in measured(table, wire=True)
        if (row.ours in {"BACKWARD", "FULL"} and row.backward in HARMED)
        or (row.ours in {"FORWARD", "FULL"} and row.forward in HARMED)
    }
    assert unsafe == set()


STORED = 'option (eventstore.v1.event) = {type: "@.m"};'
LATER = STORED.replace('"}', '" schema: 2}')
KEPT = f"message M {{ {STORED} string f = 1; }}", f"message MV1 {{ {STORED} string f = 1; }} message M {{ {LATER} %s }}"
CLOSED = "proto2; enum E { A = 0; %s } optional E f = 1;"
# How each line of the table of changing events begins, and what is done in it.
DONE = [
    ("a field is added", "int32 f = 1;", "int32 f = 1; string g = 2;"),
    ("an enum value is added", "enum E { A = 0; } E f = 1;", "enum E { A = 0; B = 1; } E f = 1;"),
    ("an enum value is added", CLOSED % "", CLOSED % "B = 1;"),
    ("a field or an enum value is renamed", "int32 f = 1;", "int32 g = 1;"),
    ("a field or an enum value is renamed", "enum E { A = 0; } E f = 1;", "enum E { B = 0; } E f = 1;"),
    ("a field that nobody reads", "int32 f = 1; string g = 2;", 'int32 f = 1; reserved 2; reserved "g";'),
    ("an event type is added", "message M { }", "message M { } message N { }"),
    ("a message or its package is renamed", f"message M {{ {STORED} }}", f"package b; message N {{ {STORED} }}"),
    ("`int32` becomes `int64`", "int32 f = 1;", "int64 f = 1;"),
    ("`int32` becomes `int64`", "uint32 f = 1;", "uint64 f = 1;"),
    ("text or a message becomes a list", "string f = 1;", "repeated string f = 1;"),
    ("text or a message becomes a list", "Sub f = 1;", "repeated Sub f = 1;"),
    ("**the meaning of a field changes**", KEPT[0], KEPT[1] % "string f = 1;"),
    ("a field changes its type otherwise", KEPT[0], KEPT[1] % "repeated string f = 1;"),
    ("the fold needs what old events", KEPT[0], KEPT[1] % "string f = 1; string g = 2;"),
    ("one event becomes several", KEPT[0], KEPT[1] % ""),
    ("a type gets another stored name", f"message M {{ {STORED} }}", f"message M {{ {STORED.replace('@.m', '@.n')} }}"),
    ("events of a type mean nothing", "message M { } message N { }", "message M { }"),
    ("a field number or an enum number is used again", "string f = 1;", "string g = 1;"),
    ("a field or an enum value gets another number", "int32 f = 1;", "int32 f = 2;"),
    ("the message of an old schema is deleted", KEPT[1] % "", f"message M {{ {LATER} }}"),
]


def test_what_a_change_needs() -> None:
    """The page on changing events says of each change what a check answers, by default and with --wire."""
    page = PAGE.with_name("versioning.md").read_text(encoding="utf-8")
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    table = [Row(*done, *[""] * 7) for done in DONE]
    for row, wire in zip(measured(table), measured(table, wire=True), strict=True):
        [said] = [line[2] for line in cells if line[0].startswith(row.change)]
        assert f"{row.ours}, {wire.ours}" in said, row
