"""What was found by looking for it: decisions, resets, rebuilds and take-overs that meet."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, EventStore, StreamId, Token, WrongLog, open_store
from msgspec.structs import replace
from projections import (
    Batch,
    Batching,
    ModelUnavailable,
    Monitor,
    Passed,
    Place,
    Projection,
    RebuildRefused,
    dead_letter,
    digest_of_view,
    pause,
    rebuild,
    replay,
    reset,
    resume,
    running,
    skip,
    status,
)
from projections._keeper import Keeper
from projections.memory import MemoryModel
from projections.sqlite import SqliteModel

from tests.projections.test_run import LEASE, Scene
from tests.projections.views import CODEC, IN_MEMORY, IN_SQLITE, UNLUCKY, numbers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from projections import Swap


@pytest.fixture(params=["memory", "sqlite"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store:
        if request.param == "memory":
            yield Scene(IN_MEMORY, store, MemoryModel(), Monitor())
        else:
            async with SqliteModel(tmp_path / "view.db") as model:
                yield Scene(IN_SQLITE, store, model, Monitor())


async def keeper(scene: Scene, key: str = "sums") -> Keeper[Any]:
    found: Keeper[Any] = Keeper(scene.model, key)
    await found.load()
    return found


def corrupt(store: EventStore, position: int) -> None:
    backend: Any = store.backend
    backend._commits[position - 1] = replace(backend._commits[position - 1], envelope=b"\xff\xff")


# -------------------------------------------------------------------------------------------------------- decisions


async def test_decided_while_nobody_runs(scene: Scene) -> None:
    """What was decided about a failure while nobody ran is what the next runner does."""
    async with scene.running():
        bad = await scene.append("1", UNLUCKY)
        await scene.until_failed()
    await skip(scene.projection, scene.model, position=bad.position, reason="x")
    async with scene.running():
        await scene.until(await scene.append("1", 2))
    record = (await status(scene.projection, scene.store, scene.model)).record
    assert [passed.place.position for passed in record.skipped] == [bad.position]
    await scene.equals_fold(but=(bad.position,))


async def test_failed_is_not_running(scene: Scene) -> None:
    """From when a failure is recorded, health says so."""
    said = []
    monitor = scene.monitor
    noted = monitor.note

    def note(projection: str, state: Any, *, trouble: str = "") -> None:
        said.append(state)
        noted(projection, state, trouble=trouble)

    monitor.note = note  # type: ignore[method-assign]
    async with scene.running():
        await scene.append("1", UNLUCKY)
        await scene.until_failed()
        await asyncio.sleep(0.1)
        assert set(said[said.index("failed") :]) == {"failed"}


async def test_replay_leaves_out_skipped(scene: Scene) -> None:
    """What was skipped stays skipped when a dead letter before it in its stream is replayed."""
    patient = Projection(
        "sums",
        scene.projection.apply,
        owns=scene.projection.owns,
        setup=scene.projection.setup,
        categories=["n"],
        independent=True,
    )
    scene = scene._replace(projection=patient)
    async with scene.running():
        first = await scene.append("1", 1)
        bad = await scene.append("1", UNLUCKY)
        await scene.until_failed()
        await skip(patient, scene.model, position=bad.position, reason="x")
        await scene.until(await scene.append("1", 3))
    # As it is when the first one had failed later, after a reset to before it, and was put aside.
    await reset(patient, scene.store, scene.model)
    one = await keeper(scene)
    assert one.record
    dead = Passed(place=Place(position=first.position, category="n", id="1"), reason="x", parks=True)
    skipped = Passed(place=Place(position=bad.position, category="n", id="1"), reason="x")
    assert await one.write(replace(one.record, dead=(dead,), skipped=(skipped,)))
    async with scene.running():
        await scene.until(await scene.append("2", 4))
        assert await replay(patient, scene.store, scene.model, position=first.position) == 2
    await scene.equals_fold(but=(bad.position,))


async def test_skipped_bytes(scene: Scene) -> None:
    """Bytes that are no commit stop a view; skipped, they stop neither a rebuild nor a second pass."""
    async with scene.running():
        first = await scene.append("1", 1)
        await scene.until(first)
    bad = await scene.append("1", 2)
    last = await scene.append("2", 3)
    corrupt(scene.store, bad.position)
    expected = {"1": (1, 1), "2": (3, 1)}
    async with scene.running():
        await scene.until_failed()
        # The live view stands before the bytes, and so far the rebuilt one can go.
        assert not (await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)).difference
        await skip(scene.projection, scene.model, position=bad.position, reason="x")
        await scene.until(last)
        assert await scene.view() == expected
        assert not (await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)).difference
        assert await scene.view() == expected
        # Applied a second time from there, which is a mistake with this view, it passes the bytes again.
        assert (await reset(scene.projection, scene.store, scene.model, to=1)).skipped
        await scene.until(last)
        one = await keeper(scene)
        await one.change(lambda record: replace(record, skipped=()))
        with pytest.raises(RebuildRefused, match="cannot go on"):
            await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)


async def test_large_commit(scene: Scene) -> None:
    """Which event of a large commit cannot be applied is found in a few tries."""
    tries = 0

    def apply(tx: Any, batch: Batch) -> None:
        nonlocal tries
        tries += 1
        scene.projection.apply(tx, batch)

    counting = Projection("sums", apply, owns=scene.projection.owns, setup=scene.projection.setup, categories=["n"])
    async with scene._replace(projection=counting).running():
        await scene.append("1", *([1] * 700), UNLUCKY, *([2] * 300))
        assert (await scene.until_failed()).version == 701
    assert tries < 15


# ------------------------------------------------------------------------------------------------------------ reset


@pytest.mark.parametrize("paused", [False, True])
async def test_reset_while_it_stands_still(scene: Scene, paused: bool) -> None:  # noqa: FBT001 (a parameter)
    """A view that is reset while it is paused, or failed at the log's very beginning, is made anew."""
    async with scene.running():
        await scene.until(first := await scene.append("1", 1))
        if paused:
            await pause(scene.projection, scene.model)
            async with asyncio.timeout(5):
                while scene.monitor.health("sums").state != "paused":  # noqa: ASYNC110 (nothing tells)
                    await asyncio.sleep(0.005)
        await reset(scene.projection, scene.store, scene.model)
        await asyncio.sleep(0.3)
        await resume(scene.projection, scene.model)
        await scene.until(first)
    await scene.equals_fold()


async def test_reset_at_the_beginning(scene: Scene) -> None:
    """A view that stands at the beginning still, and is reset, finds what it needs."""
    async with scene.running():
        async with asyncio.timeout(5):
            while await scene.model.load("sums") is None:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.005)
        await reset(scene.projection, scene.store, scene.model)
        await scene.until(await scene.append("1", 1))
    await scene.equals_fold()


async def test_reset_and_die(scene: Scene) -> None:
    """One that waited makes what the view needs when it takes over, whatever became of it meanwhile."""
    async with AsyncExitStack() as second:
        async with scene.running():
            await scene.until(first := await scene.append("1", 1))
            await second.enter_async_context(scene.running())
            await asyncio.sleep(0.1)
        await reset(scene.projection, scene.store, scene.model)
        await scene.until(first)
    await scene.equals_fold()


async def test_reset_to_elsewhere_in_another_log(scene: Scene) -> None:
    """A position of another log means nothing."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    async with open_store("memory://", CODEC) as other:
        await other.append(StreamId("n", "1"), numbers(1), expected=ANY)
        with pytest.raises(WrongLog):
            await reset(scene.projection, other, scene.model, to=1)
        with pytest.raises(WrongLog):
            await rebuild(scene.projection, other, scene.model, lease=LEASE)
        await reset(scene.projection, other, scene.model)
        moved = scene._replace(store=other)
        async with moved.running():
            await moved.until(Token(other.log_id, (await other.head()).position))
            await rebuild(scene.projection, other, scene.model, lease=LEASE)
        await moved.equals_fold()


# ---------------------------------------------------------------------------------------------------------- rebuild


class Beside:
    """Does something in the midst of a rebuild: while it compares, and holds the live view."""

    def __init__(self, scene: Scene, what: Callable[[], Any]) -> None:
        self._what = what
        self._model = scene.model
        self.done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def entries(self, owns: Any, name: Any) -> AsyncIterator[tuple[str, bytes]]:
        if not self.done and name is str:
            self.done = True
            await self._what()
        async for entry in self._model.entries(owns, name):
            yield entry


async def rebuilt_while(scene: Scene, what: Callable[[], Any], **options: Any) -> Any:
    model: Any = Beside(scene, what)
    try:
        return await rebuild(scene.projection, scene.store, model, lease=LEASE, **options)
    finally:
        assert model.done


async def test_reset_while_compared(scene: Scene) -> None:
    """A view that is reset while a rebuild holds it is not swapped: it would have the log twice."""
    async with scene.running():
        for number in range(5):
            last = await scene.append(f"{number % 2}", 1)
        await scene.until(last)
        with pytest.raises(RebuildRefused, match="taken away"):
            await rebuilt_while(scene, lambda: reset(scene.projection, scene.store, scene.model))
        await scene.until(last)
    await scene.equals_fold()


@pytest.mark.parametrize("swap", ["always", "equal", "never"])
async def test_replay_while_rebuilt(scene: Scene, swap: Swap) -> None:
    """A dead letter that is replayed while a rebuild leaves it out is not lost by its swap, and no difference."""
    lucky = False

    def apply(tx: Any, batch: Batch) -> None:
        if not lucky and any(event.message.value == 8 for commit in batch for event in commit.events):  # type: ignore[attr-defined]
            raise ValueError("not yet")
        scene.projection.apply(tx, batch)

    mended = Projection("sums", apply, owns=scene.projection.owns, setup=scene.projection.setup, categories=["n"])
    async with scene._replace(projection=mended).running():
        await scene.append("1", 1)
        bad = await scene.append("1", 8)
        last = await scene.append("1", 2)
        await scene.until_failed()
        await dead_letter(mended, scene.model, position=bad.position, reason="later")
        await scene.until(last)
        lucky = True
        with pytest.raises(RebuildRefused, match="put aside"):
            await rebuilt_while(
                scene, lambda: replay(mended, scene.store, scene.model, position=bad.position), swap=swap
            )
        await scene.equals_fold()
        assert (await rebuild(mended, scene.store, scene.model, lease=LEASE)).swapped
    await scene.equals_fold()


async def test_restart_while_rebuilt(scene: Scene) -> None:
    """A runner that ends, or begins, does not let go of what a rebuild holds."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))

    async def restart() -> None:
        async with scene.running():
            await asyncio.sleep(0.1)

    assert (await rebuilt_while(scene, restart)).swapped
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    await scene.equals_fold()


async def test_slow_comparing(scene: Scene) -> None:
    """However long a rebuild compares, no other one takes over, and the live view is held."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))

        async def wait() -> None:
            with pytest.raises(RebuildRefused, match="under way"):
                await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)
            record = (await status(scene.projection, scene.store, scene.model)).record
            assert record.held

        assert (await rebuilt_while(scene, wait)).swapped
        await scene.until(await scene.append("1", 1))
    await scene.equals_fold()


@pytest.mark.parametrize("ended", [False, True])
async def test_rebuild_wakes_late(scene: Scene, ended: bool) -> None:  # noqa: FBT001 (a parameter)
    """A rebuild that slept while it held the view, and was taken over, neither swaps nor clears the other's."""
    async with scene.running():
        for number in range(5):
            last = await scene.append(f"{number % 2}", 1)
        await scene.until(last)
    other: Any = None
    halfway = asyncio.Event()
    go_on = asyncio.Event()

    async def wait() -> None:
        halfway.set()
        await go_on.wait()

    async def take_over() -> None:
        nonlocal other
        # As it is when a lease is over: nobody shows life any more.
        for key in ("sums~rebuild", "sums"):
            one = await keeper(scene, key)
            await one.change(lambda record: replace(record, holder=""))
        other = asyncio.create_task(rebuild(scene.projection, scene.store, Beside(scene, wait), lease=LEASE))
        await halfway.wait()
        if ended:
            go_on.set()
            await other

    with pytest.raises(RebuildRefused):
        await rebuilt_while(scene, take_over)
    go_on.set()
    assert (await other).swapped
    await scene.equals_fold()
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    await scene.equals_fold()


async def test_rebuild_wakes_in_a_batch(scene: Scene) -> None:
    """A rebuild that slept over a batch, and was taken over, leaves alone what the other one has made."""
    async with scene.running():
        for number in range(5):
            await scene.append(f"{number % 2}", 1)
        await scene.until(await scene.append("1", 1))
    halfway, go_on = asyncio.Event(), asyncio.Event()
    others: list[asyncio.Task[Any]] = []

    async def wait() -> None:
        halfway.set()
        await go_on.wait()

    class Sleeps:
        clears_and_batches = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(scene.model, name)

        async def commit(self, key: str, record: bytes, *, expected: int, changes: Any = None) -> Any:
            self.clears_and_batches += changes is not None
            if self.clears_and_batches == 3 and not others:
                await (await keeper(scene, "sums~rebuild")).change(lambda record: replace(record, holder=""))
                beside: Any = Beside(scene, wait)
                others.append(asyncio.create_task(rebuild(scene.projection, scene.store, beside, lease=LEASE)))
                await halfway.wait()
            return await scene.model.commit(key, record, expected=expected, changes=changes)

    sleeping: Any = Sleeps()
    with pytest.raises(RebuildRefused, match="taken over"):
        await rebuild(scene.projection, scene.store, sleeping, lease=LEASE)
    go_on.set()
    assert (await others[0]).swapped
    await scene.equals_fold()


class Sleeps:
    """Sleeps before the first commit of which something is true, until it is woken."""

    def __init__(self, scene: Scene, when: Callable[[str, bytes, Any], bool]) -> None:
        self._model = scene.model
        self._when = when
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def commit(self, key: str, record: bytes, *, expected: int, changes: Any = None) -> Any:
        if not self.asleep.is_set() and self._when(key, record, changes):
            self.asleep.set()
            await self.wake.wait()
        return await self._model.commit(key, record, expected=expected, changes=changes)


def rebuilding(scene: Scene, model: Any) -> asyncio.Task[Any]:
    small = Batching(commits=2)
    return asyncio.create_task(rebuild(scene.projection, scene.store, model, batching=small, lease=LEASE))


async def taken_over(scene: Scene, sleeper: Sleeps) -> tuple[asyncio.Task[Any], Sleeps]:
    """Return a rebuild that has taken over from one that sleeps, and has itself fallen asleep in its second batch."""
    batches = 0

    def second_batch(key: str, record: bytes, changes: Any) -> bool:
        nonlocal batches
        batches += key == "sums~rebuild" and changes is not None and b'"position":' in record
        return batches > 1

    await sleeper.asleep.wait()
    # As it is when a lease is over: nobody shows life any more.
    await (await keeper(scene, "sums~rebuild")).change(lambda record: replace(record, holder=""))
    other = Sleeps(scene, second_batch)
    task = rebuilding(scene, other)
    await other.asleep.wait()
    return task, other


@pytest.mark.parametrize("holds", [False, True])
async def test_rebuild_wakes_in_the_midst_of_another(scene: Scene, holds: bool) -> None:  # noqa: FBT001 (a parameter)
    """A rebuild that slept before it held the view, or before it swapped, does not swap what another one has half made.

    Nobody runs the projection meanwhile, who would let go of what is held.
    """
    async with scene.running():
        for number in range(7):
            last = await scene.append(f"{number % 2}", 1)
        await scene.until(last)

    def holds_or_swaps(key: str, record: bytes, changes: Any) -> bool:
        return key == "sums" and (changes is not None if holds else b'"held":' in record)

    first = Sleeps(scene, holds_or_swaps)
    late = rebuilding(scene, first)
    task, other = await taken_over(scene, first)
    first.wake.set()
    with pytest.raises(RebuildRefused):
        await late
    await scene.equals_fold()
    other.wake.set()
    assert (await task).swapped
    await scene.equals_fold()


async def test_setup_of_a_rebuild_fails(scene: Scene) -> None:
    """A rebuild whose view cannot be set up is refused, and says why."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))

    def setup(tx: Any, name: Any) -> None:
        raise ValueError("no tables")

    spoiled = Projection("sums", scene.projection.apply, owns=scene.projection.owns, setup=setup)
    with pytest.raises(RebuildRefused, match="cannot be set up: ValueError: no tables"):
        await rebuild(spoiled, scene.store, scene.model, lease=LEASE)


async def test_rebuild_of_a_shorter_log(scene: Scene) -> None:
    """Where the log ends before the view, as a restored one may, a rebuild is refused at once."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    one = await keeper(scene)
    await one.change(lambda record: replace(record, position=7))
    with pytest.raises(RebuildRefused, match="ends at 1"):
        await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)


async def test_nothing_left_of_a_rebuild(scene: Scene) -> None:
    """After a rebuild that did not swap nothing is kept of what it made."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    await rebuild(scene.projection, scene.store, scene.model, lease=LEASE, swap="never")
    record = (await keeper(scene, "sums~rebuild")).record
    assert record
    name = scene.model.naming("sums", record.generation)
    assert await digest_of_view(scene.projection, scene.model, name) == "0" * 64
    assert not record.holder


async def test_rebuild_after_one_that_died(scene: Scene) -> None:
    """A rebuild waits for as long as one that died had said that it may be silent."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    await rebuild(scene.projection, scene.store, scene.model, lease=LEASE, swap="never")
    one = await keeper(scene, "sums~rebuild")
    await one.change(lambda record: replace(record, holder="gone", lease=0.8))
    assert (await rebuild(scene.projection, scene.store, scene.model, lease=0.1)).swapped
    await scene.equals_fold()


# -------------------------------------------------------------------------------------------------------- take-over


async def test_answer_to_taking_over_is_lost(scene: Scene) -> None:
    """A runner whose answer was lost, and whose record was written by an operator since, knows that it is the one."""
    operator, losing = scene.model, True

    class Loses:
        def __getattr__(self, name: str) -> Any:
            return getattr(operator, name)

        async def commit(self, key: str, record: bytes, **options: Any) -> bool:
            nonlocal losing
            done: bool = await operator.commit(key, record, **options)
            if losing:
                losing = False
                await pause(scene.projection, operator)
                await resume(scene.projection, operator)
                raise ModelUnavailable("the answer was lost")
            return done

    first = await scene.append("1", 1)
    async with scene._replace(model=Loses()).running(lease=30):
        await scene.until(first)
    await scene.equals_fold()


async def test_released_though_a_commit_was_under_way(tmp_path: Path) -> None:
    """A runner that is cancelled while its commit goes on in the target lets the next one begin at once."""
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: sqlite3.Connection, batch: Batch) -> None:
        loop.call_soon_threadsafe(began.set)
        time.sleep(0.2)
        IN_SQLITE.apply(tx, batch)

    projection = Projection("sums", slow, owns=["sums"], setup=IN_SQLITE.setup)
    async with open_store("memory://", CODEC) as store, SqliteModel(tmp_path / "view.db") as model:
        await store.append(StreamId("n", "1"), numbers(1), expected=ANY)
        async with running(projection, store, model, lease=30):
            await began.wait()
        record = (await status(projection, store, model)).record
        assert (record.position, record.holder) == (1, "")


# ----------------------------------------------------------------------------------------------------------- models


async def test_async_on_sqlite(tmp_path: Path) -> None:
    """An async function is refused on SQLite, and named in health, instead of being passed over."""

    async def apply(tx: sqlite3.Connection, batch: Batch) -> None:
        IN_SQLITE.apply(tx, batch)

    async def setup(tx: sqlite3.Connection, name: Any) -> None:
        """Nothing."""

    async with open_store("memory://", CODEC) as store, SqliteModel(tmp_path / "view.db") as model:
        scene = Scene(Projection("sums", apply, owns=["sums"]), store, model, Monitor())
        async with scene.running():
            await scene.append("1", 1)
            assert "not an async one" in (await scene.until_failed()).reason
        with pytest.raises(TypeError):
            await model.prepare(setup, str)


async def test_wide_pattern() -> None:
    """A pattern that begins with a star finds nothing of other generations."""
    model = MemoryModel()
    model.view = {"a": 1, model.naming("x", 1)("a"): 2}
    assert [entry async for entry in model.entries(["*"], str)] == [("a", b"1")]
    assert [entry async for entry in model.entries(["*"], model.naming("x", 1))] == [("a", b"2")]


async def test_table_made_late(tmp_path: Path) -> None:
    """A table that is made with its first row may be missing in either view when they are swapped."""

    def apply(tx: sqlite3.Connection, batch: Batch) -> None:
        for commit in batch:
            table = batch.name(f"sums_{commit.stream.id}")
            tx.execute(f"CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY)")
            tx.execute(f"INSERT INTO {table} VALUES (?)", (commit.position,))  # noqa: S608

    projection = Projection("sums", apply, owns=["sums_1", "sums_2"])
    async with open_store("memory://", CODEC) as store, SqliteModel(tmp_path / "view.db") as model:
        scene = Scene(projection, store, model, Monitor())
        async with scene.running():
            await scene.until(await scene.append("1", 1))
            assert not (await rebuild(projection, store, model, lease=LEASE)).difference
        assert [json.loads(value) async for _, value in model.entries(projection.owns, str)] == [{"id": 1}]
