"""The table of changes: what a check says of each, what buf says, and what really happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.upcasting.changes import measured, rows

if TYPE_CHECKING:
    from tests.upcasting.changes import Row

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
