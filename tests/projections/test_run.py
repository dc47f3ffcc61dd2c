"""Running, stopping, deciding and rebuilding, on every target."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from eventstore import ANY, EventStore, StreamId, Token, WrongLog, open_store
from msgspec.structs import replace
from neo4j import AsyncGraphDatabase
from projections import (
    Difference,
    Monitor,
    NothingToDecide,
    Place,
    Projection,
    RebuildRefused,
    UnknownProjection,
    dead_letter,
    dead_letters,
    digest_of_view,
    pause,
    rebuild,
    replay,
    reset,
    resume,
    running,
    skip,
    status,
    wait_for,
)
from projections._keeper import Keeper
from projections.memory import MemoryModel
from projections.neo4j import Neo4jModel
from projections.sqlite import SqliteModel
from projections.valkey import ValkeyModel
from valkey.asyncio import Valkey

from tests.projections.views import (
    CODEC,
    IN_MEMORY,
    IN_SQLITE,
    UNLUCKY,
    View,
    folded,
    in_neo4j,
    in_valkey,
    numbers,
    totals,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

LEASE = 1.0


class Scene(NamedTuple):
    """A projection, its log, its target, and what is seen of it."""

    projection: Projection[Any]
    store: EventStore
    model: Any
    monitor: Monitor
    lease: float = LEASE

    async def append(self, id: str, *values: int, category: str = "n") -> Token:
        answer = await self.store.append(StreamId(category, id), numbers(*values), expected=ANY)
        return Token(answer.log_id, answer.position)

    def running(self, lease: float | None = None) -> AbstractAsyncContextManager[None]:
        return running(self.projection, self.store, self.model, monitor=self.monitor, lease=lease or self.lease)

    async def until(self, position: Token) -> None:
        await wait_for(self.projection, self.model, position, timeout=5)

    async def until_failed(self) -> Place:
        async with asyncio.timeout(5):
            while True:
                with suppress(UnknownProjection):
                    found = await status(self.projection, self.store, self.model)
                    if found.record.failure is not None and self.monitor.health(self.projection.name).state == "failed":
                        return found.record.failure
                await asyncio.sleep(0.005)

    async def view(self) -> View:
        """Return what is in the view."""
        return await totals(self.projection, self.model)

    async def equals_fold(self, *, but: tuple[int, ...] = ()) -> None:
        """The view is what the log says, each commit once."""
        *_, expected = [view async for view in folded(self.store, but=but)]
        assert await self.view() == expected


def _with(projection: Projection[Any], apply: Any, *, independent: bool = False) -> Projection[Any]:
    """Return a projection that applies otherwise."""
    owns, setup, categories = projection.owns, projection.setup, projection.categories
    return Projection(projection.name, apply, owns=owns, setup=setup, categories=categories, independent=independent)


@asynccontextmanager
async def valkey_scene(store: EventStore, url: str) -> AsyncIterator[Scene]:
    space = uuid.uuid4().hex
    async with Valkey.from_url(url) as client:
        yield Scene(in_valkey(space), store, ValkeyModel(client, prefix=f"record:{space}"), Monitor())
        left = [key async for key in client.scan_iter(match=f"*{space}*")]
        await client.unlink("", *left)


SERVERS = ("neo4j_5", "neo4j_2026", "valkey")


@pytest.fixture(params=["memory", "sqlite", *(pytest.param(name, marks=pytest.mark.contract) for name in SERVERS)])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store:
        if request.param == "memory":
            yield Scene(IN_MEMORY, store, MemoryModel(), Monitor())
        elif request.param == "valkey":
            async with valkey_scene(store, request.getfixturevalue("valkey")) as scene:
                yield scene
        elif request.param == "sqlite":
            async with SqliteModel(tmp_path / "view.db") as model:
                yield Scene(IN_SQLITE, store, model, Monitor())
        else:
            async with AsyncGraphDatabase.driver(request.getfixturevalue(request.param)) as driver:
                yield Scene(
                    in_neo4j(uuid.uuid4().hex[:12]), store, Neo4jModel(driver, transaction_seconds=15), Monitor()
                )


async def test_follows(scene: Scene) -> None:
    """What is appended is in the view when waiting for it ends, once."""
    async with scene.running():
        for number in range(100):
            last = await scene.append(f"{number % 7}", number % 5)
        await scene.until(last)
        await scene.equals_fold()
        health = scene.monitor.health(scene.projection.name)
        assert (health.state, health.position, health.epoch) == ("running", 100, 1)
        assert health.ready


async def test_goes_on(scene: Scene) -> None:
    """A second run goes on where the first has ended, at once."""
    last = await scene.append("1", 1)
    for _ in range(3):
        async with scene.running():
            await scene.until(last)
        last = await scene.append("1", 1)
    async with scene.running():
        await scene.until(last)
    await scene.equals_fold()


async def test_other_categories(scene: Scene) -> None:
    """Waiting for a commit that the view does not want ends too."""
    async with scene.running():
        await scene.append("1", 1)
        await scene.until(await scene.append("1", 1, category="other"))
    await scene.equals_fold()


async def test_takes_over(scene: Scene) -> None:
    """Of two runners one writes; when it ends the other goes on."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        async with scene.running():
            await scene.until(await scene.append("1", 2))
        await scene.until(await scene.append("1", 3))
    await scene.equals_fold()


async def test_fails_and_skips(scene: Scene) -> None:
    """An event that cannot be applied is named, and everything before it is there; skipped, the rest comes."""
    async with scene.running():
        await scene.append("1", 1)
        await scene.append("2", 5)
        bad = await scene.append("1", 2, UNLUCKY, 3)
        last = await scene.append("2", 7)
        failure = await scene.until_failed()
        assert failure == Place(
            position=bad.position,
            category="n",
            id="1",
            version=3,
            type="google.protobuf.Int64Value",
            reason="ValueError: unlucky",
        )
        assert scene.monitor.health(scene.projection.name).state == "failed"
        assert not scene.monitor.health(scene.projection.name).ready
        with pytest.raises(TimeoutError, match="position 2, not at 4"):
            await wait_for(scene.projection, scene.model, last, timeout=0.05)
        await skip(scene.projection, scene.model, position=bad.position, reason="bad luck")
        await scene.until(last)
        await scene.equals_fold(but=(bad.position,))
        record = (await status(scene.projection, scene.store, scene.model)).record
        assert [(passed.place, passed.reason) for passed in record.skipped] == [(failure, "bad luck")]


async def test_decides_while_nobody_runs(scene: Scene) -> None:
    """What is decided about a failure while nobody runs is done by the next run."""
    async with scene.running():
        bad = await scene.append("1", UNLUCKY)
        last = await scene.append("1", 2)
        await scene.until_failed()
    with pytest.raises(TimeoutError, match=f"it has failed at position {bad.position}"):
        await wait_for(scene.projection, scene.model, last, timeout=0)
    await skip(scene.projection, scene.model, position=bad.position, reason="bad luck")
    async with scene.running():
        await scene.until(last)
    await scene.equals_fold(but=(bad.position,))


async def test_resumes(scene: Scene) -> None:
    """After a fix, an event that had failed is tried again."""
    lucky = False

    def apply(tx: Any, batch: Any) -> Any:
        if not lucky and any(event.message.value == 8 for commit in batch for event in commit.events):
            raise ValueError("not yet")
        return scene.projection.apply(tx, batch)

    mended = _with(scene.projection, apply)
    async with scene._replace(projection=mended).running():
        last = await scene.append("1", 8)
        await scene.until_failed()
        lucky = True
        await resume(scene.projection, scene.model)
        await scene.until(last)
    await scene.equals_fold()


async def test_dead_letters(scene: Scene) -> None:
    """Where streams are independent, a dead letter's stream waits for it, and others go on."""
    lucky = False

    def apply(tx: Any, batch: Any) -> Any:
        if not lucky and any(event.message.value == 8 for commit in batch for event in commit.events):
            raise ValueError("not yet")
        return scene.projection.apply(tx, batch)

    patient = _with(scene.projection, apply, independent=True)
    async with scene._replace(projection=patient).running():
        await scene.append("1", 1)
        bad = await scene.append("1", 8)
        await scene.until_failed()
        await dead_letter(patient, scene.model, position=bad.position, reason="later")
        waiting = [await scene.append("1", number) for number in range(3)]
        last = await scene.append("2", 2)
        await scene.until(last)
        await scene.equals_fold(but=(bad.position, *(token.position for token in waiting)))
        [letter] = await dead_letters(patient, scene.model)
        assert (letter.place.position, letter.reason) == (bad.position, "later")
        with pytest.raises(ValueError, match="not yet"):
            await replay(patient, scene.store, scene.model, position=bad.position)
        lucky = True
        assert await replay(patient, scene.store, scene.model, position=bad.position) == 4
        assert await dead_letters(patient, scene.model) == ()
        await scene.until(await scene.append("1", 9))
    await scene.equals_fold()


async def test_streams_become_independent(scene: Scene) -> None:
    """A dead letter holds up its stream, or not, as it was when it was put aside; nothing is applied twice."""
    lucky = False

    def apply(tx: Any, batch: Any) -> Any:
        if not lucky and any(event.message.value == 8 for commit in batch for event in commit.events):
            raise ValueError("not yet")
        return scene.projection.apply(tx, batch)

    letters = []
    for independent in (False, True):
        patient = _with(scene.projection, apply, independent=independent)
        async with scene._replace(projection=patient).running():
            letters.append(await scene.append("1", 8))
            await scene.until_failed()
            await dead_letter(patient, scene.model, position=letters[-1].position, reason="later")
            await scene.until(await scene.append("1", 1))
    lucky = True
    assert [await replay(patient, scene.store, scene.model, position=one.position) for one in letters] == [1, 2]
    await scene.equals_fold()


async def test_pause(scene: Scene) -> None:
    """A paused projection stands still until it is resumed."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
        await pause(scene.projection, scene.model)
        last = await scene.append("1", 2)
        with pytest.raises(TimeoutError, match="it is paused"):
            await wait_for(scene.projection, scene.model, last, timeout=0.1)
        await resume(scene.projection, scene.model)
        await scene.until(last)
    await scene.equals_fold()


async def test_reset(scene: Scene) -> None:
    """A view that is reset to the beginning is emptied and made anew, while it runs."""
    async with scene.running():
        for number in range(20):
            last = await scene.append(f"{number % 3}", number % 5)
        await scene.until(last)
        assert (await reset(scene.projection, scene.store, scene.model)).position == 0
        await scene.until(last)
    await scene.equals_fold()


async def test_rebuild_while_running(scene: Scene) -> None:
    """A rebuild is equal to the live view, takes its place, and the live one goes on."""
    async with scene.running():
        for number in range(50):
            await scene.append(f"{number % 3}", number % 5)
        await scene.until(await scene.append("1", 1))
        before = await digest_of_view(scene.projection, scene.model)
        found = await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)
        assert (found.position, found.commits, found.swapped) == (51, 51, True)
        assert (found.live, found.rebuilt) == (before, before)
        assert not found.difference
        await scene.until(await scene.append("1", 1))
    await scene.equals_fold()


async def plant(scene: Scene) -> Difference:
    """Change stream 0 in the live view, take away stream 1, add stream 9; return what a rebuild must say of that."""
    owned = scene.projection.owns[0]
    added = []
    if isinstance(scene.model, MemoryModel):
        key = "sum:{}".format
        scene.model.view |= {key(0): (7, 7), key(9): (1, 1)}
        del scene.model.view[key(1)]
    elif isinstance(scene.model, Neo4jModel):
        key = f'["{owned}", {{{{"id": "{{}}"}}}}]'.format
        await scene.model._server.rows(f"MATCH (n:{owned} {{id: '0'}}) SET n.total = 7")
        await scene.model._server.rows(f"MATCH (n:{owned} {{id: '1'}}) DETACH DELETE n")
        await scene.model._server.rows(f"CREATE (:{owned} {{id: '9', total: 1, commits: 1}})")
        _, other, type = scene.projection.owns
        added.append(f'["{type[3:-3]}", {key(1)}, ["{other}", {{"id": 1}}]]')
    elif isinstance(scene.model, ValkeyModel):
        key = owned.replace("*", "{}").format
        await scene.model._client.hset(key(0), "total", 7)
        await scene.model._client.unlink(key(1))
        await scene.model._client.hset(key(9), mapping={"total": 1, "commits": 1})
    else:
        key = '["sums", "{}"]'.format
        script = """
            UPDATE sums SET total = 7 WHERE id = '0';
            DELETE FROM sums WHERE id = '1';
            INSERT INTO sums VALUES ('9', 1, 1);
        """
        await scene.model._do(lambda connection: connection.executescript(script))
    added = sorted([*added, key(1)])
    return Difference(changed=(key(0),), missing=(key(9),), added=tuple(added), count=2 + len(added))


async def test_rebuild_finds_a_difference(scene: Scene) -> None:
    """Keys that were changed, taken away and added are named; where all must be equal, nothing is swapped."""
    async with scene.running():
        for number in range(3):
            last = await scene.append(f"{number}", 1)
        await scene.until(last)
    difference = await plant(scene)
    view = await scene.view()
    for swap in ("never", "equal"):
        found = await rebuild(scene.projection, scene.store, scene.model, swap=swap, lease=LEASE)
        assert (found.difference, found.swapped) == (difference, False)
        assert await scene.view() == view
    found = await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)
    assert (found.difference, found.swapped) == (difference, True)
    await scene.equals_fold()


async def test_rebuild_keeps_decisions(scene: Scene) -> None:
    """What was skipped is skipped by a rebuild too; what was not stops it, and the live view stays."""
    async with scene.running():
        await scene.append("1", 1)
        bad = await scene.append("1", UNLUCKY)
        await scene.until_failed()
        await skip(scene.projection, scene.model, position=bad.position, reason="x")
        await scene.until(await scene.append("1", 2))
    found = await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)
    assert not found.difference
    await scene.equals_fold(but=(bad.position,))


async def test_two_rebuilds(scene: Scene) -> None:
    """A second rebuild at the same time is refused."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))

    async def second(step: str, done: int, total: int) -> None:
        with pytest.raises(RebuildRefused):
            await rebuild(scene.projection, scene.store, scene.model, lease=0.2)

    tasks: list[asyncio.Task[None]] = []

    def report(step: str, done: int, total: int) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(second(step, done, total)))

    await rebuild(scene.projection, scene.store, scene.model, lease=LEASE, report=report)
    tasks[0].cancel()
    await asyncio.wait(tasks)


async def test_reset_in_another_log(scene: Scene) -> None:
    """A view of another log begins anew, or not at all."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    async with open_store("memory://", CODEC) as store:
        moved = scene._replace(store=store)
        await moved.append("2", 2)
        with pytest.raises(WrongLog):
            await reset(scene.projection, store, scene.model, to=1)
        await reset(scene.projection, store, scene.model)
        async with moved.running():
            await moved.until(await moved.append("2", 3))
        await moved.equals_fold()


async def test_a_rebuild_that_was_replaced_leaves_the_other_alone(scene: Scene) -> None:
    """A rebuild that another one has taken over from does not clean up the other's work."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))

    class TakenOver:
        def __getattr__(self, name: str) -> Any:
            return getattr(scene.model, name)

        async def entries(self, owns: Any, name: Any) -> AsyncIterator[tuple[str, bytes]]:
            await other.change(lambda record: replace(record, holder="another"))
            async for entry in scene.model.entries(owns, name):
                yield entry

    other: Keeper[Any] = Keeper(scene.model, f"{scene.projection.name}~rebuild")
    await rebuild(scene.projection, scene.store, TakenOver(), swap="never", lease=LEASE)
    record = await other.load()
    assert record is not None
    assert record.holder == "another"


async def test_nothing_known(scene: Scene) -> None:
    """Of a projection that has not run nothing can be asked or said."""
    for asking in (
        status(scene.projection, scene.store, scene.model),
        pause(scene.projection, scene.model),
        skip(scene.projection, scene.model, position=1, reason="x"),
        dead_letters(scene.projection, scene.model),
        rebuild(scene.projection, scene.store, scene.model),
        reset(scene.projection, scene.store, scene.model),
    ):
        with pytest.raises(UnknownProjection):
            await asking


async def test_nothing_to_decide(scene: Scene) -> None:
    """Without a failure there is nothing to skip, and without a dead letter nothing to replay."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    with pytest.raises(NothingToDecide):
        await skip(scene.projection, scene.model, position=1, reason="x")
    with pytest.raises(NothingToDecide):
        await replay(scene.projection, scene.store, scene.model, position=1)
