"""A checker of histories: what writers tried and were told, and readers saw, against what the store holds in the end.

Pure, and knows nothing of the event store: facts come as JSON lines, faults go out as sentences.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Attempt(NamedTuple):
    """What a writer is about to append."""

    stream: str
    expected: int
    events: int
    commit_id: str


class Acknowledged(NamedTuple):
    """It was told that the commit is stored."""

    version: int
    position: int


class Refused(NamedTuple):
    """It was told that the stream is at another version."""

    actual: int


class Unknown(NamedTuple):
    """It was told that the commit may or may not be stored, or nothing at all."""


class Stored(NamedTuple):
    """A commit that the store holds in the end."""

    stream: str
    first_version: int
    events: int
    commit_id: str
    position: int

    @property
    def version(self) -> int:
        """Version of the stream after it."""
        return self.first_version + self.events - 1


class Read(NamedTuple):
    """A reader was told that a stream is at a version."""

    stream: str
    version: int


Answer = Acknowledged | Refused | Unknown
History = list[tuple[Attempt, Answer]]
"""What one writer tried, one after the other, and what it was told."""
Reads = list[Read]
"""What one reader was told, one after the other."""
Follow = list[Stored]
"""What one follow gave, from the beginning of the log to its end."""

_KINDS = {kind.__name__: kind for kind in (Attempt, Acknowledged, Refused, Unknown)}
_SEEN = {kind.__name__: kind for kind in (Stored, Read)}


def to_line(fact: Attempt | Answer | Stored | Read) -> str:
    """Return a fact as a line for a file."""
    return json.dumps([type(fact).__name__, *fact]) + "\n"


def from_lines(lines: Iterable[str]) -> History:
    """Return the history of a file. An attempt without an answer is unknown; so is one whose answer was cut off."""
    history: History = []
    for line in lines:
        if not line.endswith("\n"):
            break
        name, *fields = json.loads(line)
        fact = _KINDS[name](*fields)
        if isinstance(fact, Attempt):
            history.append((fact, Unknown()))
        else:
            history[-1] = (history[-1][0], fact)
    return history


def seen_in_lines(lines: Iterable[str]) -> list[Stored | Read]:
    """Return what a reader's file says that it was given."""
    facts = [json.loads(line) for line in lines if line.endswith("\n")]
    return [_SEEN[name](*fields) for name, *fields in facts]


def faults(
    histories: Sequence[History],
    stored: Sequence[Stored],
    *,
    follows: Sequence[Follow] = (),
    reads: Sequence[Reads] = (),
) -> list[str]:
    """Return what is wrong with a store's content in log order, given all that its writers and readers were told."""
    return [
        *_disorder(stored),
        *_unasked(histories, stored),
        *(fault for history in histories for fault in _broken_promises(history, stored)),
        *(fault for history in histories for fault in _wrong_versions(history, stored)),
        *(fault for history in histories for fault in _wrong_order(history)),
        *(fault for follow in follows for fault in _wrong_follow(follow, stored)),
        *(fault for told in reads for fault in _wrong_reads(told, stored)),
    ]


def _disorder(stored: Sequence[Stored]) -> Iterator[str]:
    """Positions rise; each stream's versions follow each other without a gap; no commit is there twice."""
    position = 0
    versions: dict[str, int] = defaultdict(int)
    for commit in stored:
        if commit.position <= position:
            yield f"disorder: position {commit.position} comes after {position}"
        if commit.first_version != versions[commit.stream] + 1:
            yield f"gap: {commit} follows version {versions[commit.stream]}"
        position, versions[commit.stream] = commit.position, commit.version
    for name, count in Counter((commit.stream, commit.commit_id) for commit in stored).items():
        if count > 1:
            yield f"doubled: {name} is there {count} times"


def _unasked(histories: Sequence[History], stored: Sequence[Stored]) -> Iterator[str]:
    """Nothing is there that nobody tried to append there."""
    tried = {attempt for history in histories for attempt, _ in history}
    for commit in stored:
        if Attempt(commit.stream, commit.first_version - 1, commit.events, commit.commit_id) not in tried:
            yield f"unasked: nobody tried {commit}"


def _broken_promises(history: History, stored: Sequence[Stored]) -> Iterator[str]:
    """What was acknowledged is there, where it was said to be; what was refused is not there."""
    places = {(commit.stream, commit.commit_id): commit for commit in stored}
    kept = {(attempt.stream, attempt.commit_id) for attempt, answer in history if not isinstance(answer, Refused)}
    for attempt, answer in history:
        name = (attempt.stream, attempt.commit_id)
        commit = places.get(name)
        if isinstance(answer, Acknowledged):
            if commit is None:
                yield f"lost: {attempt} was acknowledged as {answer}"
            elif (commit.version, commit.position) != answer or commit.version != attempt.expected + attempt.events:
                yield f"misplaced: {attempt} was acknowledged as {answer}, stored as {commit}"
        elif isinstance(answer, Refused) and commit and name not in kept:
            yield f"refused but present: {attempt} was answered {answer}, stored as {commit}"


def _wrong_versions(history: History, stored: Sequence[Stored]) -> Iterator[str]:
    """The actual version of a refusal is one the stream had, not the expected one, and what a writer knows grows."""
    ends: dict[str, set[int]] = defaultdict(lambda: {0})
    for commit in stored:
        ends[commit.stream].add(commit.version)
    known: dict[str, int] = defaultdict(int)
    for attempt, answer in history:
        stream = attempt.stream
        if isinstance(answer, Refused):
            if answer.actual == attempt.expected or answer.actual not in ends[stream]:
                yield f"wrong actual: {attempt} was answered {answer}"
            if answer.actual < known[stream]:
                yield f"old actual: {attempt} was answered {answer} after version {known[stream]} was known"
            known[stream] = max(known[stream], answer.actual)
        elif isinstance(answer, Acknowledged):
            if attempt.expected < known[stream]:
                yield f"late: {attempt} was acknowledged after version {known[stream]} was known"
            known[stream] = max(known[stream], answer.version)


def _wrong_order(history: History) -> Iterator[str]:
    """What was acknowledged before another attempt was made stands before it in the log."""
    last = 0
    for attempt, answer in history:
        if isinstance(answer, Acknowledged):
            if answer.position <= last:
                yield f"reordered: {attempt} was acknowledged as {answer} after position {last} was"
            last = max(last, answer.position)


def _wrong_follow(follow: Follow, stored: Sequence[Stored]) -> Iterator[str]:
    """A follow gives every commit that is stored, once, in order, and nothing else."""
    last = 0
    for commit in follow:
        if commit.position == last:
            yield f"repeated in a follow: {commit}"
        elif commit.position < last:
            yield f"reordered in a follow: {commit} came after position {last}"
        last = max(last, commit.position)
    given, there = set(follow), set(stored)
    yield from (f"lost in a follow: {commit}" for commit in stored if commit not in given)
    yield from (f"not stored, but in a follow: {commit}" for commit in follow if commit not in there)


def _wrong_reads(reads: Reads, stored: Sequence[Stored]) -> Iterator[str]:
    """What a reader is told of a stream is a version that it had, never an earlier one than before."""
    ends: dict[str, set[int]] = defaultdict(lambda: {0})
    for commit in stored:
        ends[commit.stream].add(commit.version)
    known: dict[str, int] = defaultdict(int)
    for stream, version in reads:
        if version not in ends[stream]:
            yield f"never so: stream {stream} was read at version {version}"
        if version < known[stream]:
            yield f"read back: stream {stream} was read at version {version} after {known[stream]}"
        known[stream] = max(known[stream], version)
