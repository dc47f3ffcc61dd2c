"""What an operator does to a projection, whether it runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from eventstore import InvalidInput, WrongLog
from msgspec.structs import replace

from projections._errors import NothingToDecide
from projections._keeper import Keeper
from projections._projection import Batch
from projections._record import Passed, Record, key_of_rebuild, seconds_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventstore import Commit, EventStore

    from projections._model import Changes, Model
    from projections._projection import AnyProjection, Projection

Tx = TypeVar("Tx")


class Deployed(NamedTuple):
    """A projection with its log and its target: what the command ``projections`` is given."""

    projection: AnyProjection
    store: EventStore
    model: Model[Any]


class Status(msgspec.Struct, frozen=True):
    """How far a view is, and how far its log."""

    record: Record
    head: int

    @property
    def state(self) -> str:
        """``failed``, ``paused``, ``running`` or ``stopped``, as far as the record tells."""
        if self.record.failure is not None:
            return "failed"
        if self.record.paused:
            return "paused"
        return "running" if self.record.holder else "stopped"

    @property
    def behind(self) -> int:
        """How many positions of the log the view does not contain yet."""
        return max(self.head - self.record.position, 0)

    @property
    def seconds_behind(self) -> float:
        """Since the view was known to have all that the log has; 0.0 while it has."""
        return seconds_behind(self.record, self.head)


async def status(projection: Projection[Tx], store: EventStore, model: Model[Tx]) -> Status:
    """Return how a projection is.

    Raises:
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    record = await _keeper(projection, model).known()
    return Status(record, (await store.head()).position)


async def pause(projection: Projection[Tx], model: Model[Tx]) -> Record:
    """Stop a projection where it is, until ``resume``.

    Raises:
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    return await _keeper(projection, model).change(lambda record: replace(record, paused=True))


async def resume(projection: Projection[Tx], model: Model[Tx]) -> Record:
    """Let a projection go on that was paused, or try again the event at which it has failed.

    Raises:
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """

    def resumed(record: Record) -> Record:
        record = replace(record, paused=False)
        return record if record.failure is None else replace(record, verdict="retry")

    return await _keeper(projection, model).change(resumed)


async def skip(projection: Projection[Tx], model: Model[Tx], *, position: int, reason: str) -> Record:
    """Leave the commit behind at which a projection has failed, for good; the record keeps it with the reason.

    Raises:
        NothingToDecide: it has not failed, or elsewhere.
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    return await _keeper(projection, model).change(_verdict("skip", position, reason))


async def dead_letter(projection: Projection[Tx], model: Model[Tx], *, position: int, reason: str) -> Record:
    """Put the commit aside at which a projection has failed, to be replayed later.

    The record keeps where it stands in the log. When the projection's streams are independent, what comes later in the
    same stream waits for it; else only the commit itself is left out.

    Raises:
        NothingToDecide: it has not failed, or elsewhere.
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    return await _keeper(projection, model).change(_verdict("dead-letter", position, reason))


async def dead_letters(projection: Projection[Tx], model: Model[Tx]) -> tuple[Passed, ...]:
    """Return what was put aside.

    Raises:
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    return (await _keeper(projection, model).known()).dead


async def replay(projection: Projection[Tx], store: EventStore, model: Model[Tx], *, position: int) -> int:
    """Apply a dead letter, and what of its stream waits for it; return how many commits that were.

    Where the view was reset to before it, that is none: a runner applies it when it comes there.

    Raises:
        NothingToDecide: there is no dead letter of this position, or its bytes are no commit.
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
        Exception: what applying it raises; then it stays where it is.
    """
    count = 0

    async def replayed(record: Record) -> tuple[Record, Changes[Tx] | None]:
        nonlocal count
        commits = await _waiting(projection, store, record, position)
        count = len(commits)
        left = tuple(dead for dead in record.dead if dead.place.position != position)
        batch = Batch(commits, str)
        return replace(record, dead=left), (lambda tx: projection.apply(tx, batch)) if commits else None

    await _keeper(projection, model).change_view(replayed)
    return count


async def _waiting(projection: Projection[Tx], store: EventStore, record: Record, position: int) -> list[Commit]:
    """Return a dead letter's commit, and what was left out because of it, as far as the view is."""
    letters = [dead for dead in record.dead if dead.place.position == position and dead.place.category]
    if not letters:
        raise NothingToDecide(f"{projection.name} has no dead letter of position {position} that can be replayed")
    last = record.position if letters[0].parks else min(position, record.position)
    skipped = {passed.place.position for passed in record.skipped}
    return [
        commit
        async for commit in store.commits(letters[0].place.stream)
        if position <= commit.position <= last and commit.position not in skipped and _wants(projection, commit)
    ]


def _wants(projection: AnyProjection, commit: Commit) -> bool:
    return not projection.types or any(event.raw.type in projection.types for event in commit.events)


async def reset(projection: Projection[Tx], store: EventStore, model: Model[Tx], *, to: int = 0) -> Record:
    """Move a view's checkpoint back; to 0, empty the view and begin anew.

    To another position the view stays as it is, and what comes after the position is applied to it again: that is for
    views whose changes may be repeated.

    Raises:
        InvalidInput: the view is not as far as the position.
        WrongLog: the view is of another log; only to 0 can it be moved.
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """

    async def begun(record: Record) -> tuple[Record, Changes[Tx] | None]:
        if not 0 <= to <= record.position:
            raise InvalidInput("to", f"expected a position from 0 to {record.position}, got {to}")
        if to and record.log_id != store.log_id:
            raise WrongLog(record.log_id, store.log_id)
        record = replace(record, log_id=store.log_id, position=to, as_of=0, failure=None, verdict="")
        if to:
            return record, None
        record = replace(record, generation=record.generation + 1, skipped=(), dead=())
        return record, await model.clearing(projection.owns, str)

    return await _keeper(projection, model).change_view(begun)


async def forget(projection: Projection[Tx], model: Model[Tx]) -> None:
    """Empty a view, and remove all that is recorded of it, also of its rebuilds.

    That is for a projection that gets another name, or is taken out of the program. Before that, end its runners: one
    that goes on begins anew, and two that never heard of each other are not kept apart.

    Raises:
        UnknownProjection: it has not run on this target.
        ModelUnavailable: the target cannot be reached.
    """
    live = _keeper(projection, model)
    await live.known()
    rebuilding = Keeper(model, key_of_rebuild(projection.name), patient=False)
    await rebuilding.remove(projection.owns, lambda record: model.naming(projection.name, record.generation))
    await live.remove(projection.owns, lambda _: str)


def _verdict(verdict: str, position: int, reason: str) -> Callable[[Record], Record]:
    if not reason.strip():
        raise InvalidInput("reason", "expected why, got nothing")

    def decided(record: Record) -> Record:
        if record.failure is None:
            raise NothingToDecide("the projection has not failed")
        if record.failure.position != position:
            where = f"position {record.failure.position}, not at {position}"
            raise NothingToDecide(f"the projection has failed at {where}")
        return replace(record, verdict=verdict, verdict_reason=reason)

    return decided


def _keeper(projection: Projection[Tx], model: Model[Tx]) -> Keeper[Tx]:
    return Keeper(model, projection.name, patient=False)
