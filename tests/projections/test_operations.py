"""What operators say to a projection: while its target is away, while answers are lost, and between its runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, Codec, StreamId, open_store
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from projections import (
    ModelUnavailable,
    Monitor,
    NothingToDecide,
    Projection,
    dead_letter,
    dead_letters,
    digest_of_view,
    forget,
    pause,
    rebuild,
    replay,
    reset,
    resume,
    skip,
    status,
)
from projections.memory import MemoryModel
from projections.sqlite import SqliteModel

from tests.projections.test_run import LEASE, Scene
from tests.projections.views import CODEC, IN_MEMORY, IN_SQLITE, UNLUCKY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from projections import Stored


@pytest.fixture(params=["memory", "sqlite"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store:
        if request.param == "memory":
            yield Scene(IN_MEMORY, store, MemoryModel(), Monitor())
        else:
            async with SqliteModel(tmp_path / "view.db") as model:
                yield Scene(IN_SQLITE, store, model, Monitor())


async def put_aside(scene: Scene) -> int:
    """Let a projection stand after a dead letter, which nothing prevents from being applied later."""
    async with scene.running():
        await scene.append("1", 1)
        bad = await scene.append("2", UNLUCKY)
        await scene.until_failed()
        await dead_letter(scene.projection, scene.model, position=bad.position, reason="later")
        await scene.until(bad)
    return bad.position


# ------------------------------------------------------------------------------------------------ a target that is away


class Away(MemoryModel):
    """Cannot be reached."""

    async def load(self, key: str) -> Stored | None:
        raise ModelUnavailable("connection refused")


ASKED: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "status": lambda scene: status(scene.projection, scene.store, scene.model),
    "pause": lambda scene: pause(scene.projection, scene.model),
    "resume": lambda scene: resume(scene.projection, scene.model),
    "skip": lambda scene: skip(scene.projection, scene.model, position=1, reason="x"),
    "dead_letter": lambda scene: dead_letter(scene.projection, scene.model, position=1, reason="x"),
    "dead_letters": lambda scene: dead_letters(scene.projection, scene.model),
    "replay": lambda scene: replay(scene.projection, scene.store, scene.model, position=1),
    "reset": lambda scene: reset(scene.projection, scene.store, scene.model),
    "forget": lambda scene: forget(scene.projection, scene.model),
    "rebuild": lambda scene: rebuild(scene.projection, scene.store, scene.model),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_away(asked: str) -> None:
    """Whoever asks about a view whose target is away is told so, and does not wait."""
    async with open_store("memory://", CODEC) as store, asyncio.timeout(5):
        with pytest.raises(ModelUnavailable, match="refused"):
            await ASKED[asked](Scene(IN_MEMORY, store, Away(), Monitor()))


# ---------------------------------------------------------------------------------------------------- answers are lost


class Loses:
    """Does not answer to the first change of the live view, made or not; and an operator is first to write after it."""

    def __init__(self, scene: Scene, *, made: bool) -> None:
        self._scene = scene
        self._made = made
        self._losing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scene.model, name)

    async def commit(self, key: str, record: bytes, *, expected: int, changes: Any = None) -> bool:
        losing = self._losing and key == self._scene.projection.name and changes is not None
        if losing and not self._made:
            await self._lose()
        done: bool = await self._scene.model.commit(key, record, expected=expected, changes=changes)
        if losing:
            await self._lose()
        return done

    async def _lose(self) -> None:
        self._losing = False
        await pause(self._scene.projection, self._scene.model)
        raise ModelUnavailable("the answer was lost")


@pytest.mark.parametrize("made", [False, True])
async def test_answer_to_a_replay_is_lost(
    scene: Scene,
    made: bool,  # noqa: FBT001 (a parameter)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replay whose answer was lost has applied its commit, once, and says so, whoever has written since."""
    position = await put_aside(scene)
    monkeypatch.setattr("tests.projections.views.UNLUCKY", -1)
    losing: Any = Loses(scene, made=made)
    assert await replay(scene.projection, scene.store, losing, position=position) == 1
    assert await dead_letters(scene.projection, scene.model) == ()
    await scene.equals_fold()


@pytest.mark.parametrize("made", [False, True])
async def test_answer_to_a_swap_is_lost(scene: Scene, made: bool) -> None:  # noqa: FBT001 (a parameter)
    """A rebuild whose swap's answer was lost has swapped, once, and says so, whoever has written since."""
    async with scene.running():
        await scene.until(await scene.append("1", 1))
    losing: Any = Loses(scene, made=made)
    found = await rebuild(scene.projection, scene.store, losing, lease=LEASE)
    record = (await status(scene.projection, scene.store, scene.model)).record
    assert (found.swapped, record.generation, record.held) == (True, 1, "")
    await scene.equals_fold()


@pytest.mark.parametrize("made", [False, True])
async def test_answer_to_a_reset_is_lost(scene: Scene, made: bool) -> None:  # noqa: FBT001 (a parameter)
    """A view whose reset's answer was lost is emptied once, whoever has written since."""
    async with scene.running():
        await scene.until(last := await scene.append("1", 1))
    losing: Any = Loses(scene, made=made)
    record = await reset(scene.projection, scene.store, losing)
    assert (record.position, record.generation) == (0, 1)
    await resume(scene.projection, scene.model)
    async with scene.running():
        await scene.until(last)
    await scene.equals_fold()


# ----------------------------------------------------------------------------------------------------------- forgetting


async def test_forget(scene: Scene) -> None:
    """Nothing is left of a view that is forgotten, nor of a rebuild of it that was killed."""
    async with scene.running():
        await scene.until(last := await scene.append("1", 1))

    class Killed:
        """Does not let a rebuild compare, nor clean up."""

        killed = False

        def __getattr__(self, name: str) -> Any:
            return getattr(scene.model, name)

        async def entries(self, owns: Any, name: Any) -> AsyncIterator[Any]:
            self.killed = True
            raise ValueError("killed")
            yield

        async def clearing(self, owns: Any, name: Any) -> Any:
            if self.killed:
                raise ValueError("killed")
            return await scene.model.clearing(owns, name)

    killed: Any = Killed()
    with pytest.raises(ValueError, match="killed"):
        await rebuild(scene.projection, scene.store, killed, lease=LEASE)
    shadow = scene.model.naming("sums", 1)
    assert await digest_of_view(scene.projection, scene.model, shadow) != "0" * 64
    await forget(scene.projection, scene.model)
    for name in (str, shadow):
        assert await digest_of_view(scene.projection, scene.model, name) == "0" * 64
    for key in ("sums", "sums~rebuild"):
        assert await scene.model.load(key) is None
    async with scene.running():
        await scene.until(last)
    await scene.equals_fold()


# ----------------------------------------------------------------------------------------------------------- decisions


async def test_another_failure(scene: Scene) -> None:
    """What is said of one failure is not done to another one that has come meanwhile."""
    async with scene.running():
        seen = await scene.append("1", UNLUCKY)
        await scene.until_failed()
        await skip(scene.projection, scene.model, position=seen.position, reason="bad luck")
        newer = await scene.append("1", UNLUCKY)
        await scene.until(seen)
        await scene.until_failed()
        for decide in (skip, dead_letter):
            with pytest.raises(NothingToDecide, match=f"at position {newer.position}, not at {seen.position}"):
                await decide(scene.projection, scene.model, position=seen.position, reason="bad luck")
        record = (await status(scene.projection, scene.store, scene.model)).record
        assert (record.verdict, [passed.place.position for passed in record.skipped]) == ("", [seen.position])


async def test_replay_after_a_reset(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead letter that the checkpoint was moved back before is applied by the next run, and not by its replay too."""
    position = await put_aside(scene)
    monkeypatch.setattr("tests.projections.views.UNLUCKY", -1)
    await reset(scene.projection, scene.store, scene.model, to=position - 1)
    assert await replay(scene.projection, scene.store, scene.model, position=position) == 0
    assert await dead_letters(scene.projection, scene.model) == ()
    async with scene.running():
        await scene.until(await scene.append("3", 1))
    await scene.equals_fold()


async def test_replay_leaves_out_other_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a dead letter and is of no type that the projection wants is not applied with it."""
    projection = Projection(
        "sums", IN_MEMORY.apply, owns=["sum:*"], types=["google.protobuf.Int64Value"], independent=True
    )
    async with open_store("memory://", Codec(Int64Value, StringValue)) as store:
        scene = Scene(projection, store, MemoryModel(), Monitor())
        async with scene.running():
            bad = await scene.append("1", UNLUCKY)
            await scene.until_failed()
            await dead_letter(projection, scene.model, position=bad.position, reason="later")
            await store.append(StreamId("n", "1"), [StringValue(value="a word")], expected=ANY)
            await scene.until(await scene.append("1", 2))
        monkeypatch.setattr("tests.projections.views.UNLUCKY", -1)
        assert await replay(projection, store, scene.model, position=bad.position) == 2
        assert await scene.view() == {"1": (UNLUCKY + 2, 2)}
