"""Cases about the times at which commits are recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eventstore._values import Moment, Position
from eventstore.memory import now_micros
from eventstore.testing._contract import Contract, case
from eventstore.testing._scene import Scene, commit

if TYPE_CHECKING:
    from eventstore._values import RawCommit

_MINUTE: Final = 60_000_000
_DAY: Final = 86_400_000_000


class Timing(Contract):
    """Recorded times are the log's, and lead back to positions."""

    @case
    async def test_clock(self, scene: Scene) -> None:
        """A commit is recorded at the time of the append, in microseconds since the epoch, within a minute of ours."""
        await scene.fill(scene.stream(), 3)
        assert all(abs(raw.recorded_at - now_micros()) < _MINUTE for raw in await scene.mine())

    @case
    async def test_clock_moves(self, scene: Scene) -> None:
        """Commits that follow each other are recorded at times that follow each other."""
        for expected in range(3):
            await scene.log.append(commit(scene.stream(), expected))
            last = (await scene.mine())[-1].recorded_at
            while now_micros() <= last:  # noqa: ASYNC110 (nothing tells when a clock moves)
                await asyncio.sleep(0)
        times = [raw.recorded_at for raw in await scene.mine()]
        assert sorted(set(times)) == times

    @case
    async def test_imported(self, scene: Scene) -> None:
        """A commit from another log keeps the time at which that one recorded it."""
        for expected, later in enumerate((10, 10, 30)):
            await scene.log.append(commit(scene.stream(), expected, recorded_at=scene.start_time + later))
        assert self._kept(scene, await scene.everything(), (10, 10, 30))

    @case
    async def test_imported_falling(self, scene: Scene) -> None:
        """One that was recorded before the last commit keeps its time only where times may fall."""
        laters = (30, 10, 20, 40)
        for expected, later in enumerate(laters):
            await scene.log.append(commit(scene.stream(), expected, recorded_at=scene.start_time + later))
        assert self._kept(scene, await scene.everything(), laters)

    def _kept(self, scene: Scene, log: list[RawCommit], laters: tuple[int, ...]) -> bool:
        imported = iter(laters)
        last = scene.start_time
        for raw in log:
            if scene.is_mine(raw):
                brought = scene.start_time + next(imported)
                if raw.recorded_at != (brought if self.times_fall else max(brought, last)):
                    return False
            last = raw.recorded_at
        return next(imported, None) is None

    @case
    async def test_never_falls(self, scene: Scene) -> None:
        """The clock of the log does not go back behind an imported time, unless times may fall."""
        ahead = max(scene.start_time, now_micros()) + 1_000_000
        await scene.log.append(commit(scene.stream(), 0, recorded_at=ahead))
        await scene.log.append(commit(scene.stream(), 1))
        first, second = [raw.recorded_at for raw in await scene.mine()]
        assert ahead <= first
        assert (second < first) if self.times_fall else (first <= second)

    @case
    async def test_position_at(self, scene: Scene) -> None:
        """A time leads to the last position before the first commit that was recorded after it."""
        for expected, later in enumerate((10, 10, 30, 31)):
            await scene.log.append(commit(scene.stream(), expected, recorded_at=scene.start_time + later))
        log = await scene.everything()
        for later in (0, 9, 10, 11, 29, 30, 31):
            position = Position(scene.start)
            for raw in log:
                if raw.recorded_at > scene.start_time + later:
                    break
                position = raw.position
            found = await scene.log.position_at(scene.start_time + later)
            assert position == found.position
            assert found.final or position == log[-1].position

    @case
    async def test_before_everything(self, scene: Scene) -> None:
        """A time before the first commit of all leads to position 0, for ever."""
        await scene.log.append(commit(scene.stream()))
        assert Moment(Position(0), final=True) == await scene.log.position_at(0)

    @case
    async def test_in_the_future(self, scene: Scene) -> None:
        """A time to come leads to the head of today, which is not final."""
        await scene.log.append(commit(scene.stream()))
        found = await scene.log.position_at(now_micros() + _DAY)
        assert found.position in [raw.position for raw in await scene.everything()]
        assert found.position >= (await scene.mine())[-1].position
        assert not found.final

    @case
    async def test_end_is_not_final(self, scene: Scene) -> None:
        """While nothing recorded later stands behind it a time is not final: an older commit may still come in."""
        at = scene.start_time + 10
        await scene.log.append(commit(scene.stream(), recorded_at=at))
        found = await scene.log.position_at(at)
        assert not found.final or any(raw.recorded_at > at for raw in await scene.everything())
