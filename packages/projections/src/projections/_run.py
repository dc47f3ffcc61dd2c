"""Follows the log and keeps a view: one that writes, others that wait to take over."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

from eventstore import (
    Appended,
    Commit,
    CorruptCommit,
    StoreClosed,
    StoreUnavailable,
    Token,
    Undecodable,
    WrongLog,
)
from msgspec.structs import replace

from projections._feed import Batching, Feed, Taken
from projections._keeper import Keeper, attempts, released
from projections._monitor import Monitor
from projections._projection import Batch
from projections._record import Passed, Place, Record, from_bytes, now_micros

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from eventstore import EventStore

    from projections._model import Changes, Model
    from projections._monitor import State
    from projections._projection import Name, Projection

Tx = TypeVar("Tx")

LEASE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.25
_IDLE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.02
_RELEASE_SECONDS: Final = 2.0
_FIRST_LOOK: Final = 0.002
_LAST_LOOK: Final = 0.05
_REASON: Final = 500


class Deposed(Exception):
    """Another runner has taken over."""


class MovedAway(Exception):
    """The view stands elsewhere than the reading of the log, or is another one: it was reset, or swapped."""


async def run(
    projection: Projection[Tx],
    store: EventStore,
    model: Model[Tx],
    *,
    monitor: Monitor | None = None,
    batching: Batching | None = None,
    lease: float = LEASE_SECONDS,
) -> NoReturn:
    """Keep a projection's view up to date until cancelled.

    Of several runners of a projection one writes and the others wait. Each commit has its effect once, whatever is
    killed, paused or cut off: changes and checkpoint are committed together, and only on top of what was there before.

    A fault that passes is met by trying again. An event that cannot be applied stops the projection there until
    somebody decides, with ``resume``, ``skip`` or ``dead_letter``; health says so. A runner that starts tries it again.

    Args:
        projection: what to run.
        store: the log, entered.
        model: the target.
        monitor: is told about health and metrics.
        batching: how large batches may become.
        lease: seconds that the writing runner may be silent before another one takes over. No batch may take longer.

    Raises:
        WrongLog: the view is of another log; ``reset`` it.
        UnknownPosition: the log was restored from an older copy than the view has seen.
        StoreClosed: the store was closed.
        Exception: what ``setup`` raises. Health says ``failed`` and why, of this and of all that ends a run.
    """
    runner = Runner(projection, store, model, monitor=monitor or Monitor(), batching=batching, lease=lease)
    await runner.run()


@asynccontextmanager
async def running(
    projection: Projection[Tx],
    store: EventStore,
    model: Model[Tx],
    *,
    monitor: Monitor | None = None,
    batching: Batching | None = None,
    lease: float = LEASE_SECONDS,
) -> AsyncIterator[None]:
    """Keep a projection's view up to date while the block runs; the arguments are those of ``run``.

    Raises:
        Exception: what ``run`` has raised, when the block ends.
    """
    task = asyncio.create_task(run(projection, store, model, monitor=monitor, batching=batching, lease=lease))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def wait_for(
    projection: Projection[Tx],
    model: Model[Tx],
    token: Token | Appended,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 (its end names what was waited for)
) -> None:
    """Return when a view contains a position, such as the one an append has answered.

    Args:
        projection: whose view.
        model: where it is.
        token: the position.
        timeout: seconds after which to give up; None waits for ever.

    Raises:
        TimeoutError: it does not contain it yet; with the failure at which it stands still, or that it is paused.
        WrongLog: the view is of another log.
        ModelUnavailable: the target cannot be asked.
    """
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    wait = _FIRST_LOOK
    while True:
        stored = await model.load(projection.name)
        position, why = 0, ""
        if stored is not None:
            record = from_bytes(stored.record)
            if record.log_id != token.log_id:
                raise WrongLog(record.log_id, token.log_id)
            position = record.position
            if position >= token.position:
                return
            why = (
                f": it has failed at {record.failure}" if record.failure else ": it is paused" if record.paused else ""
            )
        if end is not None and loop.time() >= end:
            where = f"position {position}, not at {token.position}"
            raise TimeoutError(f"{projection.name} is after {timeout:g} s at {where}{why}")
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LAST_LOOK)


class Runner(Generic[Tx]):
    """Writes one generation of one view, for as long as nobody else does."""

    def __init__(
        self,
        projection: Projection[Tx],
        store: EventStore,
        model: Model[Tx],
        *,
        monitor: Monitor,
        batching: Batching | None,
        lease: float,
        key: str = "",
        state: State = "running",
    ) -> None:
        self.holder: Final = uuid.uuid4().hex
        self.keeper: Final = Keeper(model, key or projection.name, note=self._note_fault)
        self._projection = projection
        self._store = store
        self._model = model
        self._monitor = monitor
        self._batching = batching or Batching()
        self.lease: Final = lease
        self._name: Name = str
        self._state: State = state
        self._head = 0
        self._looked_at = 0.0
        self._written_at = 0.0
        # Up to where this runner has read the log and written the view, and which one that was.
        self._position = 0
        self._generation = 0

    @property
    def record(self) -> Record:
        record = self.keeper.record
        if record is None:
            raise Deposed  # somebody has removed it
        return record

    async def run(self) -> NoReturn:
        """Take turns with others, until something is wrong that does not pass."""
        try:
            await self._run()
        except Exception as error:
            self._monitor.note(self._projection.name, "failed", trouble=f"{type(error).__name__}: {error}")
            raise

    async def _run(self) -> NoReturn:
        async for attempt in attempts(_passes):
            with attempt:
                try:
                    await self._take_turns()
                except StoreUnavailable as error:
                    self._monitor.note(self._projection.name, "unavailable", trouble=f"log: {error}")
                    raise
        raise AssertionError("there is no last attempt")  # pragma: no cover

    async def _take_turns(self) -> NoReturn:
        # What takes long is done before others wait for it.
        await self.begin()
        while True:
            try:
                await self.acquire()
                while True:
                    # The view was emptied, perhaps, and what it needs is gone.
                    await self.begin()
                    with suppress(MovedAway):
                        await self._lead()
            except Deposed:
                continue
            finally:
                await self._release()

    def _note_fault(self, error: Exception) -> None:
        self._monitor.note_retry(self._projection.name)
        self._monitor.note(self._projection.name, "unavailable", trouble=f"{type(error).__name__}: {error}")

    def _note(self, state: State) -> None:
        if self.keeper.record is not None:
            self._monitor.note_record(self._projection.name, self.keeper.record, self._head)
        self._monitor.note(self._projection.name, state)

    # ------------------------------------------------------------------------------------------------- taking turns

    def writes(self, name: Name) -> None:
        """Be told what the view is called."""
        self._name = name

    async def show_life(self) -> None:
        """Let others see that this runner lives, and see itself that it is still the one who writes.

        Raises:
            Deposed: it is not.
        """
        while not await self._write(self.record):
            pass

    def starts_from(self, position: int) -> None:
        """Be told up to where the view is written and the log read."""
        self._position = position

    async def begin(self) -> None:
        """Make what the view needs to be there."""
        if self.keeper.record is not None:
            self._generation = self.keeper.record.generation
        setup = self._projection.setup
        if setup is not None:
            await self.keeper.patiently(lambda: self._model.prepare(setup, self._name))

    async def acquire(self) -> None:
        """Wait until nobody writes, and become the one who does.

        Whether the writing one lives is judged by this process's own clock: its record must change within a lease.
        """
        loop = asyncio.get_running_loop()
        seen, since = -1, loop.time()
        while True:
            record = await self.keeper.load()
            if record is not None and record.log_id != self._store.log_id and self._state != "rebuilding":
                raise WrongLog(record.log_id, self._store.log_id)
            if record is None:
                wanted = Record(log_id=self._store.log_id)
            elif record.holder in {"", self.holder} or (
                self.keeper.revision == seen and loop.time() >= since + record.lease
            ):
                wanted = released(record)
            else:
                if self.keeper.revision != seen:
                    seen, since = self.keeper.revision, loop.time()
                await self._look_ahead()
                self._note("standby")
                await asyncio.sleep(min(_POLL_SECONDS, record.lease / 4))
                continue
            # A fault that nobody has decided about is tried again by whoever begins: what mends it is often a new
            # version of the program.
            wanted = self._decided(wanted)
            wanted = replace(wanted, holder=self.holder, epoch=wanted.epoch + 1, lease=self.lease)
            if await self._write(wanted, owned=False):
                return

    async def _release(self) -> None:
        """Let the next one take over at once."""
        # What this runner has seen last may be old: a commit goes on in the target when its caller is cancelled.
        keeper = Keeper(self._model, self.keeper.key, patient=False)
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await keeper.change(lambda record: released(record) if record.holder == self.holder else record)

    async def _write(self, record: Record, changes: Changes[Tx] | None = None, *, owned: bool = True) -> bool:
        """Replace the record; False means that others have said something to its holder meanwhile.

        Raises:
            Deposed: this runner is not the holder any more.
        """
        done = await self.keeper.write(record, changes)
        if done:
            self._written_at = asyncio.get_running_loop().time()
        elif owned and self.record.holder != self.holder:
            raise Deposed
        return done

    # ------------------------------------------------------------------------------------------------------ writing

    async def _lead(self) -> NoReturn:
        while True:
            await self._wait_until_allowed()
            self.starts_from(self.record.position)
            async with Feed(self._store, self._projection, self._batching, self.record.checkpoint) as feed:
                await self._consume(feed)

    async def _consume(self, feed: Feed) -> None:
        """Apply what comes until others have a say."""
        while self._allowed:
            try:
                taken = await feed.take(min(_IDLE_SECONDS, self.lease / 3))
            except CorruptCommit as error:
                if self.decided(error.position):
                    await self.move(error.position)
                    return
                place = Place(position=error.position, reason=error.reason[:_REASON])
                await self._stop(place)
                return
            await self.apply(taken)
            if taken.caught_up:
                self._head = max(self._head, taken.position)
            elif asyncio.get_running_loop().time() > self._looked_at + _IDLE_SECONDS:
                await self._look_ahead()
            if self._allowed:
                self._note(self._state)

    async def _look_ahead(self) -> int | None:
        """See how far the log is, for the lag; None when it does not say."""
        self._looked_at = asyncio.get_running_loop().time()
        with suppress(StoreUnavailable):
            self._head = (await self._store.head()).position
            return self._head
        return None

    @property
    def _allowed(self) -> bool:
        record = self.record
        return not (record.paused or record.held or record.failure)

    async def _wait_until_allowed(self) -> None:
        """Wait, with signs of life, while the projection is paused, held by a rebuild, or failed and undecided."""
        loop = asyncio.get_running_loop()
        seen, since = self.keeper.revision, loop.time()
        while not self._allowed:
            record = self.record
            if record.failure is not None and record.verdict and not record.held:
                await self._write(self._decided(record))
                continue
            if record.held and loop.time() > since + self.lease:
                # Who held it is gone.
                await self._write(replace(record, held=""))
                continue
            as_of = now_micros() if await self._look_ahead() == record.position else 0
            self._note("failed" if record.failure else "paused" if record.paused else self._state)
            if not record.held and loop.time() > self._written_at + self.lease / 3:
                await self._write(_as_of(record, as_of))
            await asyncio.sleep(min(_POLL_SECONDS, self.lease / 4))
            await self.keeper.load()
            if self.record.holder != self.holder:
                raise Deposed
            if self.keeper.revision != seen:
                seen, since = self.keeper.revision, loop.time()

    async def apply(self, taken: Taken) -> None:
        """Write a batch; when it cannot be, commit by commit until the one is found that cannot."""
        since = asyncio.get_running_loop().time() - self._written_at
        if not taken.commits and taken.position <= self._position:
            await self._look()
            if since > self.lease / 3:
                await self._write(_as_of(self.record, taken.as_of))
            return
        if not taken.commits and since < _PAUSE_SECONDS:
            # A log that is busy with what this view does not want moves its checkpoint now and then.
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            await self._write_batch(taken.commits, taken.position, taken.as_of)
        except (Deposed, MovedAway, StoreUnavailable):
            raise
        except Exception:  # noqa: BLE001 (a projection may raise anything)
            for commit in taken.commits:
                try:
                    await self._write_batch([commit], commit.position, commit.recorded_micros)
                except (Deposed, MovedAway, StoreUnavailable):
                    raise
                except Exception as error:  # noqa: BLE001
                    await self._stop(await self._named(commit, error))
                    return

    def decided(self, position: int) -> bool:
        """Say whether somebody has decided to leave out what stands at a position."""
        return any(passed.place.position == position for passed in (*self.record.skipped, *self.record.dead))

    def _decided(self, record: Record) -> Record:
        """Return the record after what was decided about its failure."""
        failure, verdict, reason = record.failure, record.verdict, record.verdict_reason
        record = replace(record, failure=None, verdict="", verdict_reason="")
        if failure is None or verdict == "retry":
            return record
        record = replace(record, position=failure.position)
        if verdict == "skip":
            return replace(record, skipped=(*record.skipped, Passed(place=failure, reason=reason)))
        # What has no stream holds up none.
        parks = self._projection.independent and bool(failure.category)
        return replace(record, dead=(*record.dead, Passed(place=failure, reason=reason, parks=parks)))

    async def move(self, position: int) -> None:
        """Move the checkpoint over what is left out."""
        await self._write_batch([], position, 0)

    def _wanted(self, commits: Sequence[Commit]) -> Sequence[Commit]:
        """Leave out what somebody has decided about, and streams that wait for a dead letter."""
        record = self.record
        if not (record.skipped or record.dead):
            return commits
        decided = {passed.place.position for passed in (*record.skipped, *record.dead)}
        parked = {dead.place.stream: dead.place.position for dead in record.dead if dead.parks}
        return [
            commit
            for commit in commits
            if commit.position not in decided and commit.position < parked.get(commit.stream, commit.position + 1)
        ]

    async def _look(self) -> None:
        """See whether others have said something.

        Raises:
            Deposed: another runner has taken over.
            MovedAway: the view was reset, or swapped.
        """
        await self.keeper.load()
        if self.record.holder != self.holder:
            raise Deposed
        self._check_place(self.record)

    def _check_place(self, record: Record) -> None:
        if (record.position, record.generation) != (self._position, self._generation):
            raise MovedAway

    async def _write_batch(self, read: Sequence[Commit], position: int, as_of: int) -> None:
        """Write commits and move the checkpoint, as soon as nobody else has a say, unless it was moved by others."""
        while self._allowed:
            record = self.record
            self._check_place(record)
            commits = self._wanted(read)
            changes = self._changes(commits) if commits else None
            wanted = replace(_as_of(record, as_of), position=position, commits=record.commits + len(commits))
            with self._monitor.batch(self._projection.name, commits):
                done = await self._write(wanted, changes)
            if done:
                self._position = position
                return

    def _changes(self, commits: Sequence[Commit]) -> Changes[Tx]:
        batch = Batch(commits, self._name)

        def changes(tx: Tx) -> Awaitable[None] | None:
            return self._projection.apply(tx, batch)

        return changes

    async def _stop(self, place: Place) -> None:
        while not await self._write(replace(self.record, failure=place, verdict="", verdict_reason="")):
            pass
        await self._look_ahead()
        self._note("failed")

    async def _named(self, commit: Commit, error: Exception) -> Place:
        """Find which event of a commit cannot be applied: the last one of the shortest part that cannot."""
        version = error.version if isinstance(error, Undecodable) else await self._first_failing(commit)
        types = {event.version: event.raw.type for event in commit.events}
        return Place(
            position=commit.position,
            category=commit.stream.category,
            id=commit.stream.id,
            version=version or commit.version,
            first_version=0 if version else commit.first_version,
            type=types.get(version, ""),  # type: ignore[call-overload]
            reason=f"{type(error).__name__}: {error}"[:_REASON],
        )

    async def _first_failing(self, commit: Commit) -> int:
        """Return the version of the event; 0 when even the whole commit can be applied, and only not be kept."""
        first: int = commit.first_version
        last: int = commit.version
        if first < last and not await self._fails(commit):
            return 0
        # By halves: a lease may be over before all parts of a large commit have been tried.
        while first < last:
            middle = (first + last) // 2
            if await self._fails(commit.until(middle)):
                last = middle
            else:
                first = middle + 1
        return last

    async def _fails(self, part: Commit) -> bool:
        try:
            await self.keeper.patiently(lambda: self._try_out(part))
        except Exception:  # noqa: BLE001 (this is what was looked for)
            return True
        return False

    async def _try_out(self, part: Commit) -> None:
        """Apply a commit's part, and take it back."""
        changes = self._changes([part])

        def and_back(tx: Tx) -> Awaitable[None]:
            waiting = changes(tx)
            if waiting is None:
                raise _Tried
            return _and_back(waiting)

        with suppress(_Tried):
            await self._model.commit(self.keeper.key, None, expected=self.keeper.revision, changes=and_back)


class _Tried(Exception):
    """What was tried out could be applied."""


async def _and_back(waiting: Awaitable[None]) -> NoReturn:
    await waiting
    raise _Tried


def _passes(error: BaseException) -> bool:
    return isinstance(error, StoreUnavailable) and not isinstance(error, StoreClosed)


def _as_of(record: Record, as_of: int) -> Record:
    """Return a record whose view is known to have all up to a time. Clocks differ, and it is never known less."""
    return replace(record, as_of=max(record.as_of, as_of))
