"""Makes a view anew beside the live one, compares the two at the same position, and swaps them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from eventstore import CorruptCommit, WrongLog
from msgspec.structs import replace

from projections._errors import RebuildRefused
from projections._feed import Batching, Feed
from projections._keeper import Keeper
from projections._monitor import Monitor
from projections._record import Record, key_of_rebuild
from projections._run import LEASE_SECONDS, Deposed, Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import EventStore

    from projections._model import Changes, Model
    from projections._projection import Name, Projection

Tx = TypeVar("Tx")

Swap = Literal["always", "equal", "never"]
Report: TypeAlias = Callable[[str, int, int], None]
"""Is told how far a rebuild is: which step, how much of it is done, and of how much."""

_BATCHING: Final = Batching(commits=5_000, bytes=16 * 1024 * 1024)
_NAMED: Final = 100
_DIGEST_BYTES: Final = 32
_RELEASE_SECONDS: Final = 2.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How the rebuilt view differs from the live one: the first hundred keys of each kind, and how many there are."""

    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild has found and done."""

    #: Where the two were compared.
    position: int
    commits: int
    #: Of all keys and values, whatever their order.
    live: str
    rebuilt: str
    difference: Difference
    swapped: bool
    seconds: float


async def rebuild(
    projection: Projection[Tx],
    store: EventStore,
    model: Model[Tx],
    *,
    swap: Swap = "always",
    monitor: Monitor | None = None,
    batching: Batching = _BATCHING,
    lease: float = LEASE_SECONDS,
    report: Report | None = None,
) -> Rebuilt:
    """Make a view anew from the log while the live one serves and goes on; compare; put it in the live one's place.

    While the two are compared and swapped the live one stands still. What was skipped or put aside stays so.

    Args:
        projection: what to rebuild, with today's code.
        store: the log.
        model: the target.
        swap: ``always``; only when both are ``equal``; or ``never``, to compare alone.
        monitor: is told about metrics.
        batching: how large batches may become.
        lease: as for ``run``.
        report: is told how far it is.

    Raises:
        UnknownProjection: there is no live view.
        RebuildRefused: another rebuild is under way, ``setup`` fails, an event cannot be applied, or the live view was
            taken away, reset, or decided about meanwhile.
        WrongLog: the live view is of another log.
        ModelUnavailable: the target cannot be reached when it begins; later it tries again.
    """
    await Keeper(model, projection.name, patient=False).known()
    runner = Runner(
        projection,
        store,
        model,
        monitor=monitor or Monitor(),
        batching=batching,
        lease=lease,
        key=key_of_rebuild(projection.name),
        state="rebuilding",
    )
    job = _Rebuild(projection, store, model, runner, batching, report or _silent)
    return await job.run(swap)


def _silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""


class _Rebuild(Generic[Tx]):
    """One rebuild, by a runner of its own."""

    def __init__(  # noqa: PLR0917 (one caller, above)
        self,
        projection: Projection[Tx],
        store: EventStore,
        model: Model[Tx],
        runner: Runner[Tx],
        batching: Batching,
        report: Report,
    ) -> None:
        self._projection = projection
        self._store = store
        self._model = model
        self._live: Final = Keeper(model, projection.name)
        self._runner = runner
        # Nothing is known of it before this rebuild is the only one.
        self._name: Name | None = None
        self._batching = batching
        self._report = report

    async def run(self, swap: Swap) -> Rebuilt:
        """Do it."""
        started = time.monotonic()
        runner = self._runner
        try:
            await self._acquire()
            await self._start_over()
            # Near enough to the live one that what is left is done while that one stands still.
            while (target := (await self._load()).position) - runner.record.position > self._batching.commits:
                await self._catch_up(target)
            async with self._held() as position:
                await self._catch_up(position)
                live, rebuilt, difference = await self._compared()
                # What others have done to the live view meanwhile is no difference.
                self._check(await self._load(), position)
                commits = runner.record.commits
                swapped = swap == "always" or (swap == "equal" and not difference)
                if swapped:
                    await self._swap(position)
        except Deposed:
            raise RebuildRefused(f"another rebuild of {self._projection.name} has taken over") from None
        finally:
            await self._clean_up()
        return Rebuilt(
            position=position,
            commits=commits,
            live=live,
            rebuilt=rebuilt,
            difference=difference,
            swapped=swapped,
            seconds=time.monotonic() - started,
        )

    async def _acquire(self) -> None:
        record = await self._runner.keeper.load()
        lease = max(self._runner.lease, 0.0 if record is None else record.lease)
        try:
            async with asyncio.timeout(lease * 1.5):
                await self._runner.acquire()
        except TimeoutError:
            raise RebuildRefused(f"another rebuild of {self._projection.name} is under way") from None

    async def _start_over(self) -> None:
        """Begin with an empty view, with nothing of an earlier attempt left."""
        runner = self._runner
        await self._load()
        # An earlier rebuild that only sleeps must not swap what is made here; who does not hold the view cannot.
        live = await self._live.change(lambda record: replace(record, held=""))
        self._name = self._model.naming(self._projection.name, live.generation + 1)
        runner.writes(self._name)
        old = self._model.naming(self._projection.name, runner.record.generation)
        clear_old = await self._model.clearing(self._projection.owns, old)
        clear_new = await self._model.clearing(self._projection.owns, self._name)
        fresh = Record(
            log_id=self._store.log_id,
            generation=live.generation + 1,
            holder=runner.holder,
            epoch=runner.record.epoch,
            lease=runner.lease,
            skipped=live.skipped,
            dead=live.dead,
        )
        for clear in (clear_old, clear_new):
            if not await runner.keeper.write(fresh, clear):
                raise Deposed
        try:
            await runner.begin()
        except Exception as error:
            raise RebuildRefused(f"the rebuilt view cannot be set up: {type(error).__name__}: {error}") from error

    async def _catch_up(self, target: int) -> None:
        """Apply the log up to a position and no further."""
        runner = self._runner
        head = (await self._store.head()).position
        if head < target:
            raise RebuildRefused(f"the log ends at {head}, before the live view, which is at {target}")
        while runner.record.position < target:
            runner.starts_from(runner.record.position)
            async with Feed(self._store, self._projection, self._batching, runner.record.checkpoint) as feed:
                try:
                    await self._consume(feed, target)
                except CorruptCommit as error:
                    if error.position <= target and not runner.decided(error.position):
                        raise RebuildRefused(f"the rebuilt view cannot go on: {error}") from error
                    await runner.move(min(error.position, target))

    async def _consume(self, feed: Feed, target: int) -> None:
        runner = self._runner
        while runner.record.position < target:
            taken = await feed.take(runner.lease / 3)
            commits = [commit for commit in taken.commits if commit.position <= target]
            await runner.apply(replace(taken, commits=commits, position=min(taken.position, target)))
            if runner.record.failure is not None:
                raise RebuildRefused(f"the rebuilt view cannot go on: {runner.record.failure}")
            self._report("applying", runner.record.position, target)

    async def _load(self) -> Record:
        record = await self._live.load()
        if record is None:
            raise RebuildRefused("the live view's record was removed")
        if record.log_id != self._store.log_id:
            raise WrongLog(record.log_id, self._store.log_id)
        return record

    def _check(self, record: Record, position: int) -> None:
        """See that the live view is what it was when the rebuild began, but for what the log has added."""
        runner = self._runner.record
        if record.held != self._runner.holder or record.position != position:
            raise RebuildRefused("the live view was taken away while it was compared")
        if record.generation != runner.generation - 1:
            raise RebuildRefused("the live view has become another one meanwhile: it was reset, or swapped")
        if (record.skipped, record.dead) != (runner.skipped, runner.dead):
            raise RebuildRefused("what is skipped or put aside has changed meanwhile")

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[int]:
        """Let nobody write to the live view meanwhile; yields where it stands."""
        live, holder = self._live, self._runner.holder
        record = await live.change(lambda record: replace(record, held=holder))
        alive = asyncio.create_task(self._show_life(record.lease))
        try:
            # Another rebuild takes over first and lets go of the live view then: whoever holds it, and still is the
            # one who rebuilds, will swap what it has made, or be refused.
            await self._runner.show_life()
            self._check(record, record.position)
            yield record.position
        finally:
            alive.cancel()
            await asyncio.wait([alive])
            await live.load()
            await live.change(lambda record: replace(record, held="") if record.held == holder else record)

    async def _show_life(self, lease: float) -> None:
        """Let neither a runner believe that the live view is held by nobody, nor another rebuild that this one died."""
        # Keepers of their own: the other ones write meanwhile.
        live, runner = Keeper(self._model, self._projection.name), Keeper(self._model, self._runner.keeper.key)
        while True:
            await asyncio.sleep(min(self._runner.lease, lease or self._runner.lease) / 4)
            record = await live.load()
            if record is not None and record.held == self._runner.holder:
                await live.write(record)
            record = await runner.load()
            if record is not None and record.holder == self._runner.holder:
                await runner.write(record)

    async def _swap(self, position: int) -> None:
        async def swapped(record: Record) -> tuple[Record, Changes[Tx] | None]:
            self._check(record, position)
            changes = await self._model.swapping(self._projection.owns, self._shadow)
            return replace(record, held="", generation=record.generation + 1), changes

        await self._live.change_view(swapped)

    async def _clean_up(self) -> None:
        keeper = self._runner.keeper
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_SECONDS):
                record = await keeper.load()
            if record is None or record.holder != self._runner.holder:
                return  # what is there is another one's
            clear = None if self._name is None else await self._model.clearing(self._projection.owns, self._name)
            # The record stays: the revisions of one that is removed begin anew, and who slept would find its own again.
            await keeper.write(replace(record, holder="", position=0), clear)

    @property
    def _shadow(self) -> Name:
        if self._name is None:  # pragma: no cover
            raise AssertionError("the rebuild has not begun")
        return self._name

    async def _compared(self) -> tuple[str, str, Difference]:
        """Return the digests of both views, and the keys in which they differ."""
        rebuilt: dict[str, bytes] = {}
        total = 0
        async for key, value in self._model.entries(self._projection.owns, self._shadow):
            rebuilt[key] = digest = _digest(key, value)
            total = _added(total, digest)
        live, seen, expected = 0, 0, len(rebuilt)
        missing: list[str] = []
        changed: list[str] = []
        async for key, value in self._model.entries(self._projection.owns, str):
            digest = _digest(key, value)
            live = _added(live, digest)
            seen += 1
            match rebuilt.pop(key, None):
                case None:
                    missing.append(key)
                case other if other != digest:
                    changed.append(key)
            self._report("comparing", seen, max(expected, seen))
        difference = Difference(
            missing=tuple(sorted(missing)[:_NAMED]),
            added=tuple(sorted(rebuilt)[:_NAMED]),
            changed=tuple(sorted(changed)[:_NAMED]),
            count=len(missing) + len(rebuilt) + len(changed),
        )
        return _hex(live), _hex(total), difference


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(f"{len(key)}:{key}".encode() + value).digest()


def _added(total: int, digest: bytes) -> int:
    """Add to a digest of many that does not depend on their order."""
    return (total + int.from_bytes(digest, "big")) % (1 << 8 * _DIGEST_BYTES)


def _hex(total: int) -> str:
    return total.to_bytes(_DIGEST_BYTES, "big").hex()


async def digest_of_view(projection: Projection[Tx], model: Model[Tx], name: Name = str) -> str:
    """Return the digest of all keys and values of a view, whatever their order."""
    total = 0
    async for key, value in model.entries(projection.owns, name):
        total = _added(total, _digest(key, value))
    return _hex(total)
