"""What ships for testing projections: it passes what is sound, and catches what is wrong on purpose."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import Codec, StreamId
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from projections import Batch, Projection, testing
from projections.memory import MemoryModel
from projections.sqlite import SqliteModel
from projections.testing import effect_once, given

from tests.projections.views import CODEC, IN_MEMORY, IN_SQLITE, UNLUCKY, numbers, table, to_memory, to_sqlite, values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from eventstore import Commit
    from projections.memory import Draft

HISTORY = [(StreamId("n", f"{number % 3}"), numbers(*range(number % 4 + 1))) for number in range(23)]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteModel]:
    async with SqliteModel(tmp_path / "view.db") as model:
        yield model


async def test_sound_in_memory() -> None:
    """A sound projection passes, and leaves nothing behind, so that it may be tried again."""
    model = MemoryModel()
    for seed in (None, 7):
        await effect_once(IN_MEMORY, model, HISTORY, codec=CODEC, seed=seed)
        assert (model.view, model._records) == ({}, {})


async def test_sound_on_sqlite(file: SqliteModel) -> None:
    """So it is on a target whose driver does not wait."""
    await effect_once(IN_SQLITE, file, HISTORY, codec=CODEC)
    assert await file.load("sums") is None


async def test_sound_async() -> None:
    """So it is where the projection waits."""

    async def apply(tx: Draft, batch: Batch) -> None:
        to_memory(tx, batch)

    await effect_once(Projection("sums", apply, owns=["sum:*"], categories=["n"]), MemoryModel(), HISTORY, codec=CODEC)


async def test_one_commit() -> None:
    """A history of one commit is enough."""
    await effect_once(IN_MEMORY, MemoryModel(), HISTORY[:1], codec=CODEC)


# ------------------------------------------------------------------------------------------------ wrong on purpose


def add(tx: Draft, commit: Commit, key: str, extra: Any = 0) -> None:
    tx[key] = [tx.get(key, [0])[0] + sum(values(commit)), extra]


def counts_batches() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        to_memory(tx, batch)
        tx[batch.name("sum:batches")] = tx.get(batch.name("sum:batches"), 0) + 1

    return apply


def uses_clock() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            add(tx, commit, batch.name(f"sum:{commit.stream.id}"), time.time())

    return apply


def uses_chance() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            add(tx, commit, batch.name(f"sum:{commit.stream.id}"))
            tx[batch.name(f"sum:{uuid.uuid4()}")] = commit.position

    return apply


def writes_plain_names() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            add(tx, commit, f"sum:{commit.stream.id}")

    return apply


def repeats_plain_names() -> Callable[[Draft, Batch], None]:
    """Unlike adding, this leaves the live view as it is when a rebuild writes there."""

    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            tx[f"sum:{commit.stream.id}"] = commit.version

    return apply


def reads_plain_names() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            before = tx.get(f"sum:{commit.stream.id}", 0)
            tx[batch.name(f"sum:{commit.stream.id}")] = before + sum(values(commit))

    return apply


def keeps_state() -> Callable[[Draft, Batch], None]:
    totals: dict[str, int] = {}

    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            key = batch.name(f"sum:{commit.stream.id}")
            totals[key] = tx[key] = totals.get(key, 0) + sum(values(commit))

    return apply


def keeps_state_from_the_start() -> Callable[[Draft, Batch], None]:
    """Forgets it where the log begins, so that only what goes wrong later shows."""
    totals: dict[str, int] = {}

    def apply(tx: Draft, batch: Batch) -> None:
        if batch[0].position == 1:
            totals.clear()
        for commit in batch:
            key = f"sum:{commit.stream.id}"
            totals[key] = tx[batch.name(key)] = totals.get(key, 0) + sum(values(commit))

    return apply


def counts_calls() -> Callable[[Draft, Batch], None]:
    calls = itertools.count()

    def apply(tx: Draft, batch: Batch) -> None:
        for commit in batch:
            add(tx, commit, batch.name(f"sum:{commit.stream.id}"), next(calls))

    return apply


def sees_last_of_batch() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in {commit.stream.id: commit for commit in batch}.values():
            add(tx, commit, batch.name(f"sum:{commit.stream.id}"))

    return apply


def sorts_batch() -> Callable[[Draft, Batch], None]:
    def apply(tx: Draft, batch: Batch) -> None:
        for commit in sorted(batch, key=lambda commit: commit.stream.id):
            tx[batch.name("sum:last")] = commit.stream.id

    return apply


def keeps_tx() -> Callable[[Draft, Batch], None]:
    """Writes to the transaction of the first batch, which is over."""
    first: list[Draft] = []

    def apply(tx: Draft, batch: Batch) -> None:
        first.append(tx)
        to_memory(first[0], batch)

    return apply


WRONG = [
    counts_batches,
    uses_clock,
    uses_chance,
    writes_plain_names,
    repeats_plain_names,
    reads_plain_names,
    keeps_state,
    keeps_state_from_the_start,
    counts_calls,
    sees_last_of_batch,
    sorts_batch,
    keeps_tx,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
async def test_wrong_is_caught(wrong: Callable[[], Callable[[Draft, Batch], None]]) -> None:
    """A projection whose view depends on anything but the log is caught, and what had happened is named."""
    projection = Projection("wrong", wrong(), owns=["sum:*"], categories=["n"])
    with pytest.raises(AssertionError) as found:
        await effect_once(projection, MemoryModel(), HISTORY, codec=CODEC, seed=1)
    assert "wrong, " in "\n".join([str(found.value), *getattr(found.value, "__notes__", ())])


async def test_names_what_differs() -> None:
    """The message says in which scenario which keys differ, and how."""
    projection = Projection("wrong", counts_batches(), owns=["sum:*"])
    with pytest.raises(AssertionError) as found:
        await effect_once(projection, MemoryModel(), HISTORY, codec=CODEC, seed=1)
    assert str(found.value) == (
        "wrong, applied commit by commit (seed 1): the view differs in 1 keys:\n  sum:batches: 23, in one batch 1"
    )


@pytest.mark.parametrize("commits_itself", [False, True])
async def test_wrong_on_sqlite(file: SqliteModel, commits_itself: bool) -> None:  # noqa: FBT001 (a parameter)
    """A projection that commits by itself, or keeps numbers of its own, is caught on SQLite."""
    numbers = itertools.count()

    def apply(tx: sqlite3.Connection, batch: Batch) -> None:
        to_sqlite(tx, batch)
        if commits_itself:
            tx.execute("COMMIT")
            tx.execute("BEGIN")
        else:
            tx.execute(f"UPDATE {batch.name('sums')} SET commits = commits + ?", (next(numbers),))  # noqa: S608

    with pytest.raises(AssertionError):
        await effect_once(Projection("sums", apply, owns=["sums"], setup=table), file, HISTORY, codec=CODEC)


async def test_its_own_error() -> None:
    """What a projection raises comes out, and is noted with what was going on."""
    with pytest.raises(ValueError, match="unlucky"):
        await effect_once(IN_MEMORY, MemoryModel(), [(StreamId("n", "1"), numbers(UNLUCKY))], codec=CODEC)
    calls = itertools.count()

    def apply(tx: Draft, batch: Batch) -> None:
        if next(calls) > 3:
            raise ValueError("tired")
        to_memory(tx, batch)

    with pytest.raises(ValueError, match="tired") as found:
        await effect_once(Projection("sums", apply, owns=["sum:*"]), MemoryModel(), HISTORY, codec=CODEC)
    assert "commit by commit" in found.value.__notes__[0]


async def test_nothing_to_try() -> None:
    """A history that leaves nothing proves nothing."""
    for history in ([], [(StreamId("other", "1"), numbers(1))]):
        with pytest.raises(AssertionError, match="wants nothing"):
            await effect_once(IN_MEMORY, MemoryModel(), history, codec=CODEC)
    with pytest.raises(AssertionError, match="leaves nothing"):
        await effect_once(
            Projection("sums", lambda tx, batch: None, owns=["sum:*"]), MemoryModel(), HISTORY, codec=CODEC
        )


async def test_not_on_a_view_in_use() -> None:
    """A view that is in use is not emptied."""
    model = MemoryModel()
    await model.commit("sums", b"{}", expected=0)
    with pytest.raises(AssertionError, match="already run"):
        await effect_once(IN_MEMORY, model, HISTORY, codec=CODEC)
    with pytest.raises(AssertionError, match="already run"):
        await given(IN_MEMORY, Int64Value(value=1), model=model).then({})


class Zombie(MemoryModel):
    """A model that takes what comes too late."""

    def _at(self, key: str, expected: int) -> bool:
        return True


class Confused(MemoryModel):
    """A model that has somebody else write its record."""

    async def commit(self, key: str, record: bytes | None, *, expected: int, changes: Any = None) -> bool:
        return not expected and await super().commit(key, record, expected=expected, changes=changes)


@pytest.mark.parametrize("kind", [Zombie, Confused])
async def test_broken_model(kind: type[MemoryModel]) -> None:
    """A model that breaks its promises is caught too."""
    with pytest.raises(AssertionError):
        await effect_once(IN_MEMORY, kind(), HISTORY, codec=CODEC)


# ----------------------------------------------------------------------------------------------------- given / then


async def test_given() -> None:
    """The view of a few events is what is expected; a tuple and a list are the same."""
    model = MemoryModel()
    for _ in range(2):
        await given(IN_MEMORY, Int64Value(value=2), Int64Value(value=3), model=model).then({"sum:1": (5, 2)})


async def test_given_streams(file: SqliteModel) -> None:
    """Streams are named where there are several; values may be bytes."""
    one, two = StreamId("n", "1"), StreamId("n", "2")
    await given(IN_SQLITE, (one, numbers(1, 2)), (two, numbers(4)), model=file, codec=CODEC).then(
        {
            '["sums", "1"]': {"id": "1", "total": 3, "commits": 1},
            '["sums", "2"]': b'{"commits": 1, "id": "2", "total": 4}',
        }
    )


async def test_given_otherwise() -> None:
    """Another view than the expected one fails, and both are shown."""
    with pytest.raises(AssertionError) as found:
        await given(IN_MEMORY, Int64Value(value=2), model=MemoryModel()).then({"sum:1": [2, 1], "sum:2": [0, 0]})
    assert str(found.value) == ("sums shows \n  sum:1: [2, 1]\nexpected \n  sum:1: [2, 1]\n  sum:2: [0, 0]")
    with pytest.raises(AssertionError, match="expected nothing"):
        await given(IN_MEMORY, Int64Value(value=2), model=MemoryModel()).then({})


async def test_given_other_codec() -> None:
    """A codec may know more than the messages say."""
    await given(IN_MEMORY, Int64Value(value=2), model=MemoryModel(), codec=Codec(Int64Value, StringValue)).then(
        {"sum:1": [2, 1]}
    )


# ---------------------------------------------------------------------------------------------------------- surface


def test_names() -> None:
    """The public names are these and no others."""
    assert sorted(testing.__all__) == ["ModelContract", "Probe", "effect_once", "given"]
    assert all(hasattr(testing, name) for name in testing.__all__)
