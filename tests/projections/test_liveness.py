"""Signs of life: of a runner that has nothing to do, of one that may not, and what becomes of those who give none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import StoreUnavailable, open_store
from msgspec.structs import replace
from projections import Monitor, Record, forget, pause, status
from projections._feed import Taken
from projections._keeper import Keeper
from projections._record import now_micros
from projections._run import Runner
from projections.memory import MemoryModel

from tests.projections.test_run import Scene
from tests.projections.views import CODEC, IN_MEMORY, UNLUCKY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

LEASE = 0.3


class Brisk(Scene):
    """Runs with a short lease."""

    def running(self, lease: float | None = None) -> AbstractAsyncContextManager[None]:
        return super().running(lease or LEASE)

    async def keeper(self) -> Keeper[Any]:
        found: Keeper[Any] = Keeper(self.model, self.projection.name)
        await found.known()
        return found

    async def record(self) -> Record:
        return (await status(self.projection, self.store, self.model)).record

    async def record_until(self, true: Callable[[Record], bool]) -> Record:
        async with asyncio.timeout(5):
            while not true(record := await self.record()):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.005)
        return record

    async def until_written(self, times: int) -> None:
        """Wait until the record has been replaced so often."""
        keeper = await self.keeper()
        aim = keeper.revision + times
        async with asyncio.timeout(5):
            while keeper.revision < aim:
                await asyncio.sleep(0.005)
                await keeper.load()


@pytest.fixture
async def scene() -> AsyncIterator[Brisk]:
    async with open_store("memory://", CODEC) as store:
        yield Brisk(IN_MEMORY, store, MemoryModel(), Monitor())


# ------------------------------------------------------------------------------------------------------- signs of life


async def test_idle(scene: Brisk) -> None:
    """A runner without work shows again and again that it lives."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await scene.until_written(3)


async def test_paused(scene: Brisk) -> None:
    """So does one whose projection is paused."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await pause(scene.projection, scene.model)
        await scene.until_written(3)


async def test_failed(scene: Brisk) -> None:
    """So does one whose projection has failed."""
    async with scene.running():
        await scene.append("1", UNLUCKY)
        await scene.until_failed()
        await scene.until_written(3)


async def test_promised_lease(scene: Brisk) -> None:
    """One that stands by waits for as long as the silent one has promised, however long its own lease."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    await (await scene.keeper()).change(lambda record: replace(record, holder="gone", lease=0.1))
    async with scene.running(lease=60):
        await scene.until(await scene.append("1", 2))
    await scene.equals_fold()


async def test_a_rebuild_that_was_killed(scene: Brisk) -> None:
    """A view that was held by a rebuild that shows no life any more goes on."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await (await scene.keeper()).change(lambda record: replace(record, held="gone"))
        await scene.until(await scene.append("1", 2))
    await scene.equals_fold()


async def test_ended_while_it_took_over(scene: Brisk) -> None:
    """A runner that is cancelled while its taking over goes on in the target lets the next one begin at once."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    began = asyncio.Event()
    turn = asyncio.Lock()

    class GoesOn:
        """Commits to the end, as a thread does, and answers nothing else meanwhile."""

        def __getattr__(self, name: str) -> Any:
            return getattr(scene.model, name)

        async def load(self, key: str) -> Any:
            async with turn:
                return await scene.model.load(key)

        async def commit(self, key: str, record: bytes, **options: Any) -> bool:
            self.task = asyncio.create_task(self._commit(key, record, **options))
            return await asyncio.shield(self.task)

        async def _commit(self, key: str, record: bytes, **options: Any) -> bool:
            async with turn:
                began.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                done: bool = await scene.model.commit(key, record, **options)
                return done

    async with scene._replace(model=GoesOn()).running():
        await began.wait()
    record = await scene.record()
    assert (record.holder, record.epoch) == ("", 2)


async def test_forgotten_while_it_runs(scene: Brisk) -> None:
    """A runner whose view and record are removed under it begins anew."""
    async with scene.running():
        await scene.until(last := await scene.append("1", 1))
        await forget(scene.projection, scene.model)
        await scene.until(last)
    assert (await scene.record()).epoch == 1
    await scene.equals_fold()


async def test_unavailable_log(scene: Brisk) -> None:
    """A log that cannot be read is told in health with the reason, until it can."""
    away = True

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(scene.store, name)

        async def follow(self, **options: Any) -> AsyncIterator[Any]:
            if away:
                raise StoreUnavailable("gone")
            async for item in scene.store.follow(**options):
                yield item

    store: Any = Away()
    async with scene._replace(store=store).running():
        last = await scene.append("1", 1)
        async with asyncio.timeout(5):
            while (health := scene.monitor.health("sums")).state != "unavailable":  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.005)
        assert (health.trouble, health.ready) == ("log: gone", False)
        away = False
        await scene.until(last)


# ---------------------------------------------------------------------------------------------------------- how old


async def test_quiet(scene: Brisk) -> None:
    """A view at the end of a quiet log is known to be there, so that the next commit does not find it old."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        now = now_micros()
        await scene.record_until(lambda record: record.as_of > now)
        await pause(scene.projection, scene.model)
        now = now_micros()
        await scene.record_until(lambda record: record.as_of > now)


async def test_behind(scene: Brisk) -> None:
    """A view that is paused before the log's end grows old."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await pause(scene.projection, scene.model)
        await scene.append("1", 2)
        now = now_micros()
        await scene.until_written(2)
        assert 0 < (await scene.record()).as_of <= now
        assert (await status(scene.projection, scene.store, scene.model)).seconds_behind > 0


async def test_other_commits(scene: Brisk) -> None:
    """What a view does not want makes it no older."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await scene.until(await scene.append("1", 1, category="other"))
        last = [commit async for commit in scene.store.log()][-1]
        assert (await scene.record()).as_of >= last.recorded_micros


async def test_checkpoint_of_a_busy_log(scene: Brisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is busy with what a view does not want moves its checkpoint only now and then."""
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    for _ in range(4):
        await scene.append("1", 1, category="other")
    runner = Runner(scene.projection, scene.store, scene.model, monitor=Monitor(), batching=None, lease=LEASE)
    await runner.acquire()
    monkeypatch.setattr("projections._run._PAUSE_SECONDS", 60)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    for position in range(1, 4):
        await runner.apply(Taken([], position, caught_up=False, as_of=0))
    assert (runner.record.position, waits) == (3, [60] * 3)


# ---------------------------------------------------------------------------------------------------- what is to blame


async def test_nothing_fails_by_itself(scene: Brisk) -> None:
    """Where a target refuses what each event could be applied to, the commit is named, and none of its events."""

    class Refuses(MemoryModel):
        """Refuses a view as a whole, when it is sent."""

        async def commit(self, key: str, record: bytes | None, *, expected: int, changes: Any = None) -> bool:
            def sent(tx: Any) -> None:
                changes(tx)
                if tx.get("sum:1", (0, 0))[0] > 3:
                    raise ValueError("refused")

            return await super().commit(key, record, expected=expected, changes=changes and sent)

    async with (refused := scene._replace(model=Refuses())).running():
        await scene.append("1", 1)
        await scene.append("1", 1, 2, 3)
        failure = await refused.until_failed()
    assert (failure.position, failure.first_version, failure.version, failure.type) == (2, 2, 4, "")
    assert str(failure) == "position 2, versions 2 to 4 of stream n '1': ValueError: refused"
