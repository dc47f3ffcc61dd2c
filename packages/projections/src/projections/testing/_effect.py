"""A trial by fire for a user's own projection: whatever happens to its runner, its view is the same."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

from eventstore import StreamId, Token

from projections._errors import ModelUnavailable, RebuildRefused
from projections._feed import Batching
from projections._operations import reset
from projections._rebuild import rebuild
from projections._record import to_bytes
from projections._run import running, wait_for
from projections.testing._stage import Stage, staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from eventstore import Commit, EventCodec
    from google.protobuf.message import Message

    from projections._model import Changes, Model, Stored
    from projections._projection import Name, Projection

Tx = TypeVar("Tx")

_NAMED: Final = 5
_SHOWN: Final = 200
_LONGEST: Final = 8
_LEASE_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 30.0


async def effect_once(
    projection: Projection[Tx],
    model: Model[Tx],
    history: Iterable[tuple[StreamId, Sequence[Message]]],
    *,
    codec: EventCodec,
    seed: int | None = None,
) -> None:
    """Run a projection over a history again and again, each time with other trouble, and compare what the view becomes.

    ::

        await effect_once(totals, SqliteModel(tmp_path / "view.db"), [(order, [placed, paid]), (other, [placed])])

    The view must not depend on how the log was cut into batches, on attempts that were rolled back, on runners that
    died or slept, nor on where it was made: beside the live view, as in a rebuild, it is made of the same entries.
    What is done about time, chance, or anything that is kept outside the transaction, shows here.

    Args:
        projection: what to try.
        model: a target that is only for tests, entered. It is left empty.
        history: what the log holds: each commit's stream and messages, in order. What it does not hold is not tried.
        codec: for the messages.
        seed: repeats the random choices of a failed trial, whose message names its seed.

    Raises:
        AssertionError: the view differs; names what had happened and the first keys that differ. Or the projection has
            run on this target before, or leaves nothing of this history.
        Exception: what the projection raises.
    """
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    async with staged(projection, model, history, codec) as stage:
        trial = _Trial(stage, random.Random(seed))  # noqa: S311 (to be repeated, no secret)
        await trial.one_batch()
        expected = await stage.view()
        if not expected:
            raise AssertionError(f"{projection.name} leaves nothing of this history in what it owns: {projection.owns}")
        for scenario in trial.scenarios():
            await stage.empty()
            what = f"{projection.name}, {(scenario.__doc__ or '').rstrip('.')} (seed {seed})"
            try:
                await scenario()
            except Exception as error:
                error.add_note(what)
                raise
            _compare(what, expected, await stage.view())


class _Trial(Generic[Tx]):
    """The ways in which a history reaches a view. Their docstrings complete: the projection, ..."""

    def __init__(self, stage: Stage[Tx], chance: random.Random) -> None:
        self._stage = stage
        self._commits = stage.commits
        self._chance = chance

    def scenarios(self) -> Iterator[Callable[[], Awaitable[None]]]:
        yield self.one_batch
        yield self.commit_by_commit
        for _ in range(3):
            yield self.random_cuts
        yield self.crash_before_commit
        yield self.crash_after_commit
        yield self.answer_lost
        yield self.redelivered
        yield self.late_runner
        yield self.rebuilt
        yield self.run_and_reset

    async def one_batch(self) -> None:
        """applied in one batch."""  # noqa: D403 (the end of a sentence)
        await (await self._stage.writer()).apply(self._commits)

    async def commit_by_commit(self) -> None:
        """applied commit by commit."""  # noqa: D403
        writer = await self._stage.writer()
        for commit in self._commits:
            await writer.apply([commit])

    async def random_cuts(self) -> None:
        """applied in batches that were cut at random."""  # noqa: D403
        writer = await self._stage.writer()
        for part in self._cuts():
            await writer.apply(part)

    async def crash_before_commit(self) -> None:
        """with crashes after changes that were not committed, and new cuts after each."""  # noqa: D403
        rest = self._commits
        while rest:
            with suppress(_Crash):
                await (await self._stage.writer(_CrashesBefore(self._stage.model))).apply(self._cut(rest))
            part = self._cut(rest)
            await (await self._stage.writer()).apply(part)
            rest = rest[len(part) :]

    async def crash_after_commit(self) -> None:
        """with crashes right after commits, whose answer nobody heard."""  # noqa: D403
        rest = self._commits
        while rest:
            with suppress(_Crash):
                await (await self._stage.writer(_CrashesAfter(self._stage.model))).apply(self._cut(rest))
            reached = (await self._stage.writer()).record.position
            rest = [commit for commit in rest if commit.position > reached]

    async def answer_lost(self) -> None:
        """with an answer that was lost, and a runner that lived to ask."""  # noqa: D403
        parts = self._cuts()
        lost = self._chance.randrange(len(parts))
        model = _LosesAnswer(self._stage.model)
        writer = await self._stage.writer(model)
        for number, part in enumerate(parts):
            model.losing = number == lost
            if not await writer.apply(part):
                raise AssertionError("a commit whose answer was lost counts as somebody else's")

    async def redelivered(self) -> None:
        """with every batch delivered twice."""  # noqa: D403
        writer = await self._stage.writer()
        for part in self._cuts():
            before = writer.keeper.revision
            await writer.apply(part)
            again = await self._stage.model.commit(
                writer.keeper.key, to_bytes(writer.record), expected=before, changes=writer.changes(part)
            )
            if again:
                raise AssertionError("the model has taken a batch twice")

    async def late_runner(self) -> None:
        """with runners that slept before they committed, and woke when others had gone on."""  # noqa: D403
        rest = self._commits
        while rest:
            model = _Sleeps(self._stage.model)
            sleeper = await self._stage.writer(model)
            model.sleeping = True
            sleeping = asyncio.create_task(sleeper.apply(self._cut(rest)))
            await model.asleep.wait()
            part = self._cut(rest)
            await (await self._stage.writer()).apply(part)
            model.wake.set()
            if await sleeping:
                raise AssertionError("the model has taken a batch from a runner that woke too late")
            rest = rest[len(part) :]

    async def rebuilt(self) -> None:
        """rebuilt beside the live view, put in its place, and continued."""  # noqa: D403
        stage = self._stage
        middle = len(self._commits) // 2
        if middle:
            await (await stage.writer()).apply(self._commits[:middle])
            await self._rebuild()
        await (await stage.writer()).apply(self._commits[middle:])
        await self._rebuild()

    async def _rebuild(self) -> None:
        stage = self._stage
        try:
            found = await rebuild(stage.projection, stage.store, stage.model, lease=_LEASE_SECONDS)
        except RebuildRefused as error:
            raise AssertionError(f"the rebuild was refused: {error}") from error
        if found.difference:
            of = found.difference
            raise AssertionError(
                f"the rebuilt view differs in {of.count} keys: "
                f"missing {of.missing[:_NAMED]}, added {of.added[:_NAMED]}, changed {of.changed[:_NAMED]}"
            )

    async def run_and_reset(self) -> None:
        """run as it is in production, reset, and run again."""  # noqa: D403
        stage = self._stage
        end = Token(stage.store.log_id, self._commits[-1].position)
        batching = Batching(commits=self._chance.randint(1, _LONGEST))
        async with running(stage.projection, stage.store, stage.model, batching=batching, lease=_LEASE_SECONDS):
            await wait_for(stage.projection, stage.model, end, timeout=_PATIENCE_SECONDS)
            await reset(stage.projection, stage.store, stage.model)
            await wait_for(stage.projection, stage.model, end, timeout=_PATIENCE_SECONDS)

    def _cut(self, rest: Sequence[Commit]) -> Sequence[Commit]:
        return rest[: self._chance.randint(1, _LONGEST)]

    def _cuts(self) -> list[Sequence[Commit]]:
        parts, rest = [], self._commits
        while rest:
            parts.append(self._cut(rest))
            rest = rest[len(parts[-1]) :]
        return parts


def _compare(what: str, expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    keys = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if keys:
        lines = [
            f"\n  {key}: {_shown(found.get(key))}, in one batch {_shown(expected.get(key))}" for key in keys[:_NAMED]
        ]
        raise AssertionError(f"{what}: the view differs in {len(keys)} keys:{''.join(lines)}")


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode(errors="replace")[:_SHOWN]


class _Crash(Exception):
    """A process ends here."""


class _Wrapper(Generic[Tx]):
    """Hands everything to a model."""

    def __init__(self, model: Model[Tx]) -> None:
        self._model = model

    async def load(self, key: str) -> Stored | None:
        return await self._model.load(key)

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        return await self._model.commit(key, record, expected=expected, changes=changes)

    def naming(self, projection: str, generation: int) -> Name:
        return self._model.naming(projection, generation)

    async def prepare(self, setup: Callable[[Tx, Name], Awaitable[None] | None], name: Name) -> None:
        await self._model.prepare(setup, name)

    def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        return self._model.entries(owns, name)

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Tx]:
        return await self._model.clearing(owns, name)

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Tx]:
        return await self._model.swapping(owns, name)


class _CrashesBefore(_Wrapper[Tx]):
    """Ends when changes were made and nothing was committed."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        crashing = None if changes is None else _crashing(changes)
        return await super().commit(key, record, expected=expected, changes=crashing)


def _crashing(changes: Changes[Tx]) -> Changes[Tx]:
    async def wait(waiting: Awaitable[None]) -> NoReturn:
        await waiting
        raise _Crash

    def crash(tx: Tx) -> Awaitable[None]:
        waiting = changes(tx)
        if isawaitable(waiting):
            return wait(waiting)
        raise _Crash

    return crash


class _CrashesAfter(_Wrapper[Tx]):
    """Ends when changes were committed."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        done = await super().commit(key, record, expected=expected, changes=changes)
        if changes is not None:
            raise _Crash
        return done


class _LosesAnswer(_Wrapper[Tx]):
    """Commits, and does not say so, once."""

    losing = False

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        done = await super().commit(key, record, expected=expected, changes=changes)
        if self.losing:
            self.losing = False
            raise ModelUnavailable("the answer was lost")
        return done


class _Sleeps(_Wrapper[Tx]):
    """Comes to the commit, and waits there."""

    def __init__(self, model: Model[Tx]) -> None:
        super().__init__(model)
        self.sleeping = False
        self.asleep: Final = asyncio.Event()
        self.wake: Final = asyncio.Event()

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Tx] | None = None
    ) -> bool:
        if self.sleeping:
            self.asleep.set()
            await self.wake.wait()
        return await super().commit(key, record, expected=expected, changes=changes)
