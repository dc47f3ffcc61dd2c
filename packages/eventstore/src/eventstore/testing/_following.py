"""Cases about following the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eventstore.testing._contract import Contract, case
from eventstore.testing._scene import Scene, closing, commit, next_commit, next_progress

if TYPE_CHECKING:
    from eventstore._values import Progress

#: More than any chunk of a few hundred.
_MANY: Final = 350
_ROUNDS: Final = 5


class Following(Contract):
    """A follow gives every commit once, in order, and says when there is nothing."""

    @case
    async def test_follow_what_is_there(self, scene: Scene) -> None:
        """A follow gives what the log holds after its position, then says that it is caught up there."""
        await scene.fill(scene.stream("1"), 3, count=2)
        await scene.fill(scene.stream("2"), 2)
        mine = await scene.mine()
        for number, raw in enumerate(mine):
            last: list[Progress] = []

            def reached(progress: Progress, last: list[Progress] = last) -> bool:
                last.append(progress)
                return progress.caught_up

            assert mine[number + 1 :] == await scene.follow_until(reached, after=raw.position)
            assert last[-1].position >= mine[-1].position

    @case
    async def test_follow_what_comes(self, scene: Scene) -> None:
        """A follow gives each later commit as it is stored, through whichever handle."""
        stream, other = scene.stream(), await scene.other()
        async with closing(scene.follow()) as following:
            await next_progress(following)
            for expected in range(6):
                answer = await (scene.log, other)[expected % 2].append(commit(stream, expected))
                assert answer.position == (await next_commit(following)).position
        assert len(await scene.mine()) == 6

    @case
    async def test_follow_many(self, scene: Scene) -> None:
        """A follow neither skips nor repeats a commit where its chunks meet."""
        positions = [answer.position for answer in await scene.fill(scene.stream(), _MANY)]
        assert positions == [
            raw.position for raw in await scene.follow_until(lambda progress: progress.position >= positions[-1])
        ]

    @case
    async def test_follow_while_written(self, scene: Scene) -> None:
        """A follow gives exactly the log, in its order, while others write."""
        writers = [scene.log, await scene.other()]

        async def write(number: int) -> None:
            for expected in range(10):
                await writers[number % 2].append(commit(scene.stream(f"{number}"), expected))

        async def write_all() -> int:
            await asyncio.gather(*(write(number) for number in range(8)))
            return await scene.log.head()

        head = asyncio.ensure_future(write_all())
        found = await scene.follow_until(lambda progress: head.done() and progress.position >= head.result())
        assert found == await scene.mine()
        assert len(found) == 80

    @case
    async def test_follow_several(self, scene: Scene) -> None:
        """Several followers get everything each, wherever they began."""
        positions = [answer.position for answer in await scene.fill(scene.stream(), 20)]
        other = await scene.other()
        found = await asyncio.gather(
            *(
                scene.follow_until(lambda progress: progress.position >= positions[-1], log, after=after)
                for log in (scene.log, other)
                for after in (scene.start, positions[9])
            )
        )
        assert 2 * [positions, positions[10:]] == [[raw.position for raw in commits] for commits in found]

    @case
    async def test_follow_all_are_woken(self, scene: Scene) -> None:
        """Every one of several waiting followers gets what comes."""
        async with (
            closing(scene.follow()) as one,
            closing(scene.follow()) as two,
            closing(scene.follow(await scene.other())) as three,
        ):
            followers = (one, two, three)
            for expected in range(_ROUNDS):
                for following in followers:
                    await next_progress(following)
                waiting = asyncio.gather(*map(next_commit, followers))
                await asyncio.sleep(0)
                answer = await scene.log.append(commit(scene.stream(), expected))
                assert 3 * [answer.position] == [raw.position for raw in await waiting]

    @case
    async def test_follow_woken_at_once(self, scene: Scene) -> None:
        """A waiting follower gets a commit when it is stored, not when it would have looked again."""
        waited: list[float] = []
        time = asyncio.get_running_loop().time
        other = await scene.other()
        async with closing(scene.follow()) as following:
            for expected in range(_ROUNDS):
                await next_progress(following)
                waiting = asyncio.ensure_future(next_commit(following))
                await asyncio.sleep(0)
                await other.append(commit(scene.stream(), expected))
                stored = time()
                await waiting
                waited.append(time() - stored)
        # The best of a few: that the machine was busy proves nothing.
        assert min(waited) <= self.wakes_within

    @case
    async def test_follow_idle(self, scene: Scene) -> None:
        """While nothing comes, a follow says so at least every second, at the position it has reached."""
        time = asyncio.get_running_loop().time
        answer = await scene.log.append(commit(scene.stream()))
        gaps: list[float] = []
        async with closing(scene.follow()) as following:
            await next_commit(following)
            for _ in range(3):
                asked = time()
                progress = await next_progress(following)
                gaps.append(time() - asked)
                assert progress.position >= answer.position
        assert min(gaps[1:]) <= 1

    @case
    async def test_follow_not_taken(self, scene: Scene) -> None:
        """A follower that does not take what came holds up neither appends nor others, and misses nothing."""
        async with closing(scene.follow()) as slow, closing(scene.follow()) as quick:
            await next_progress(slow)
            await next_progress(quick)
            positions = []
            for expected in range(_MANY):
                answer = await scene.log.append(commit(scene.stream(), expected))
                assert answer.position == (await next_commit(quick)).position
                positions.append(answer.position)
            assert positions == [(await next_commit(slow)).position for _ in positions]

    @case
    async def test_follow_given_up(self, scene: Scene) -> None:
        """A follow that is given up, also while it waits, leaves the log and other follows as they are."""
        async with closing(scene.follow()) as staying:
            for expected in range(_ROUNDS):
                async with closing(scene.follow()) as going:
                    await next_progress(going)
                    waiting = asyncio.ensure_future(next_commit(going))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    await asyncio.wait([waiting])
                answer = await scene.log.append(commit(scene.stream(), expected))
                assert answer.position == (await next_commit(staying)).position
        assert len(await scene.mine()) == _ROUNDS
