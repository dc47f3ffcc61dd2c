"""Cases about several that write at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from projections.testing._scene import Contract, Scene, case, tried, written

if TYPE_CHECKING:
    from projections._model import Changes

_CROWD: Final = 10
_SLOW_SECONDS: Final = 0.2


class Races(Contract):
    """Of those who expect the same revision one wins, and the view shows what that one wrote."""

    @case
    async def test_create_race(self, scene: Scene) -> None:
        """Of many who create one record at once, exactly one does."""
        await scene.prepare()
        await self._race(scene, 0, _CROWD)

    @case
    async def test_race(self, scene: Scene) -> None:
        """Of two handles that expect the same revision, exactly one replaces the record, round after round."""
        await scene.prepare()
        for expected in range(self.rounds):
            await self._race(scene, expected, 2)

    @case
    async def test_crowded_race(self, scene: Scene) -> None:
        """So it is among many on two handles."""
        await scene.prepare()
        for expected in range(3):
            await self._race(scene, expected, _CROWD)

    async def _race(self, scene: Scene, expected: int, writers: int) -> None:
        """Let several write the same key, and each one of its own besides."""
        before = await scene.dump()

        def commit(number: int) -> asyncio.Task[bool | None]:
            handle = (scene.model, scene.other)[number % 2]
            changes = scene.changes({"last": f"{number} at {expected}", f"{expected} {number}": "x"})
            record = f"{number} at {expected}".encode()
            return asyncio.create_task(tried(handle.commit(scene.key, record, expected=expected, changes=changes)))

        answers = await asyncio.gather(*(commit(number) for number in range(writers)))
        stored = await scene.stored()
        assert stored.revision == expected + 1
        winner = int(stored.record.split()[0])
        assert stored.record == f"{winner} at {expected}".encode()
        assert answers[winner] is not False, "the winner was told that it lost"
        assert True not in answers[:winner] + answers[winner + 1 :], "a loser was told that it won"
        added = await scene.expected({"last": f"{winner} at {expected}", f"{expected} {winner}": "x"})
        assert await scene.dump() == before | added

    @case
    async def test_slow_changes(self, scene: Scene) -> None:
        """While one makes slow changes another commits: either the slow one writes nothing, or the other waits."""
        await scene.put({"a": "1"})
        revision = await scene.create(b"{}")
        started = asyncio.Event()
        changes = self._slow(scene, started)
        slow = asyncio.create_task(tried(scene.model.commit(scene.key, b"slow", expected=revision, changes=changes)))
        await asyncio.wait([slow, waiting := asyncio.create_task(started.wait())], return_when="FIRST_COMPLETED")
        waiting.cancel()
        quick = await tried(
            scene.other.commit(scene.key, b"quick", expected=revision, changes=scene.changes({"a": "3", "quick": "3"}))
        )
        answers = {b"slow": await slow, b"quick": quick}
        stored = await scene.stored()
        assert stored.revision == revision + 1
        assert answers.pop(stored.record) is not False, "the winner was told that it lost"
        assert True not in answers.values(), "the loser was told that it won"
        content = {b"slow": {"a": "2", "slow": "2"}, b"quick": {"a": "3", "quick": "3"}}
        await scene.shows(content[stored.record])

    def _slow(self, scene: Scene, started: asyncio.Event) -> Changes[Any]:
        loop = asyncio.get_running_loop()

        async def wait(tx: Any) -> None:
            await written(scene.probe, tx, str, "a", "2")
            started.set()
            await asyncio.sleep(_SLOW_SECONDS)
            await written(scene.probe, tx, str, "slow", "2")

        def block(tx: Any) -> None:
            scene.probe.write(tx, str, "a", "2")
            loop.call_soon_threadsafe(started.set)
            time.sleep(_SLOW_SECONDS)
            scene.probe.write(tx, str, "slow", "2")

        return wait if self.waits else block

    @case
    async def test_late(self, scene: Scene) -> None:
        """One that wakes after others have gone on writes nothing, however often it tries."""
        await scene.put({"a": "1"})
        revision = await scene.create(b"{}")
        for number in range(3):
            changes = scene.changes({"a": f"{number}"})
            assert await scene.other.commit(scene.key, b"{}", expected=revision + number, changes=changes) is True
        for _ in range(3):
            late = scene.changes({"a": "late", "late": "x"})
            assert await scene.model.commit(scene.key, b"late", expected=revision, changes=late) is False
        assert (await scene.stored()).record == b"{}"
        await scene.shows({"a": "2"})

    @case
    async def test_beside(self, scene: Scene) -> None:
        """Who writes under one key does not stand in the way of who writes under another."""
        await scene.prepare()
        other = f"{scene.key}-other"
        for number in range(5):
            mine, theirs = scene.changes({f"mine {number}": "x"}), scene.changes({f"theirs {number}": "x"})
            assert await scene.model.commit(scene.key, b"{}", expected=number, changes=mine) is True
            assert await scene.other.commit(other, b"[]", expected=number, changes=theirs) is True
        assert await scene.other.commit(other, None, expected=5) is True
        await scene.shows({f"{who} {number}": "x" for number in range(5) for who in ("mine", "theirs")})
