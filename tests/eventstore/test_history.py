"""The checker of histories rejects what no correct store can have told its readers."""

from __future__ import annotations

import pytest

from tests.eventstore.history import (
    Acknowledged,
    Attempt,
    Follow,
    History,
    Read,
    Reads,
    Stored,
    Unknown,
    faults,
    seen_in_lines,
    to_line,
)

# A true history of one writer, and of readers beside it. Position 4 is a gap.
WRITER: History = [
    (Attempt("1", 0, 2, "a"), Acknowledged(2, 1)),
    (Attempt("2", 0, 1, "b"), Acknowledged(1, 2)),
    (Attempt("1", 2, 1, "c"), Acknowledged(3, 3)),
    (Attempt("2", 1, 1, "d"), Unknown()),
    (Attempt("2", 1, 1, "d"), Acknowledged(2, 5)),
]
STORED = [
    Stored("1", 1, 2, "a", 1),
    Stored("2", 1, 1, "b", 2),
    Stored("1", 3, 1, "c", 3),
    Stored("2", 2, 1, "d", 5),
]
READS: Reads = [Read("1", 0), Read("1", 2), Read("2", 1), Read("1", 2), Read("1", 3), Read("2", 2)]


def found(*, history: History = WRITER, follow: Follow = STORED, reads: Reads = READS) -> set[str]:
    """Return the kinds of faults."""
    return {fault.split(":")[0] for fault in faults([history], STORED, follows=[STORED, follow], reads=[READS, reads])}


def test_true_history() -> None:
    """It finds nothing in a true history."""
    assert found() == set()


@pytest.mark.parametrize(
    ("follow", "fault"),
    [
        ([], "lost in a follow"),
        (STORED[:-1], "lost in a follow"),
        (STORED[1:], "lost in a follow"),
        ([*STORED[:1], *STORED[2:]], "lost in a follow"),
        ([*STORED, STORED[-1]], "repeated in a follow"),
        ([STORED[0], *STORED], "repeated in a follow"),
        ([*STORED, STORED[0]], "reordered in a follow"),
        ([STORED[0], STORED[2], STORED[1], STORED[3]], "reordered in a follow"),
        ([*STORED, Stored("3", 1, 1, "e", 6)], "not stored, but in a follow"),
        ([*STORED[:-1], STORED[-1]._replace(commit_id="e")], "not stored, but in a follow"),
        ([*STORED[:-1], STORED[-1]._replace(position=4)], "lost in a follow"),
    ],
)
def test_false_follow(follow: Follow, fault: str) -> None:
    """It names what is wrong with a follow that skips, repeats, turns round or makes up."""
    assert fault in found(follow=follow)


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        ([Read("1", 3), Read("1", 2)], "read back"),
        ([Read("2", 1), Read("1", 3), Read("2", 0)], "read back"),
        ([Read("1", 1)], "never so"),
        ([Read("1", 4)], "never so"),
        ([Read("3", 1)], "never so"),
    ],
)
def test_false_reads(reads: Reads, fault: str) -> None:
    """It names what is wrong with reads that go back, or that show what never was."""
    assert found(reads=reads) == {fault}


def test_false_order() -> None:
    """It names an acknowledgement that stands before one that was given earlier."""
    one, two, three, *_ = WRITER
    assert found(history=[two, one, three, *WRITER[3:]]) == {"reordered"}
    assert found(history=[*WRITER, WRITER[-1]]) == {"reordered", "late"}


def test_lines() -> None:
    """What a reader saw survives its file; a line that was cut off was not seen."""
    facts: list[Stored | Read] = [*STORED, *READS]
    lines = [to_line(fact) for fact in facts]
    assert seen_in_lines(lines) == facts
    assert seen_in_lines([*lines, lines[0][:-1]]) == facts
