"""What ships for testing deciders and snapshot stores."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from eventstore import Decider, MemorySnapshots, Snapshot
from eventstore._store import Bound
from eventstore.testing import SnapshotContract, given
from google.protobuf.wrappers_pb2 import Int64Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from eventstore import SnapshotStore, StreamId


class Overdrawn(Exception):
    """The account does not hold so much."""


def decide(command: int, balance: int) -> list[Int64Value]:
    if balance + command < 0:
        raise Overdrawn(balance)
    return [Int64Value(value=command)] if command else []


def evolve(balance: int, event: Int64Value) -> int:
    return balance + event.value


ACCOUNT: Decider[int, int, Int64Value] = Decider("account", initial=0, decide=decide, evolve=evolve)


class TestGiven:
    """given / when / then."""

    def test_then(self) -> None:
        """The events a command causes in a history are what is expected."""
        given(ACCOUNT, Int64Value(value=5)).when(-3).then(Int64Value(value=-3))

    def test_nothing(self) -> None:
        """A command that changes nothing is expected to cause nothing."""
        given(ACCOUNT).when(0).then()

    def test_raises(self) -> None:
        """A refusal is expected by its type, and returned."""
        assert given(ACCOUNT, Int64Value(value=5)).when(-6).raises(Overdrawn).args == (5,)

    def test_other_events(self) -> None:
        """Other events than expected fail, and both are named."""
        with pytest.raises(AssertionError) as failure:
            given(ACCOUNT).when(7).then(Int64Value(value=8))
        assert str(failure.value) == ("7 caused \n  1. Int64Value(value: 7), expected \n  1. Int64Value(value: 8)")

    @pytest.mark.parametrize("expected", [[], [Int64Value(value=7), Int64Value(value=7)]])
    def test_other_number(self, expected: list[Int64Value]) -> None:
        """More or fewer events than expected fail."""
        with pytest.raises(AssertionError):
            given(ACCOUNT).when(7).then(*expected)

    def test_refused_unexpectedly(self) -> None:
        """A refusal where events are expected fails, and is the cause."""
        with pytest.raises(AssertionError, match=r"-1 was refused with Overdrawn\(0\), expected nothing") as failure:
            given(ACCOUNT).when(-1).then()
        assert isinstance(failure.value.__cause__, Overdrawn)

    def test_not_refused(self) -> None:
        """Events where a refusal is expected fail."""
        with pytest.raises(AssertionError, match="expected Overdrawn"):
            given(ACCOUNT).when(1).raises(Overdrawn)

    def test_other_refusal(self) -> None:
        """Another refusal than the expected one fails."""
        with pytest.raises(AssertionError, match=r"refused with Overdrawn\(0\), expected KeyError"):
            given(ACCOUNT).when(-1).raises(KeyError)

    def test_cannot_evolve(self) -> None:
        """Events that the decider's own state cannot take are a mistake, whatever is expected."""

        def refuse(balance: int, event: Int64Value) -> int:
            raise ValueError(balance, event)

        broken: Decider[int, int, Int64Value] = Decider("account", initial=0, decide=decide, evolve=refuse)
        with pytest.raises(ValueError, match="0"):
            given(broken).when(1)


class Forgets(MemorySnapshots):
    """Keeps nothing."""

    async def save(self, snapshot: Snapshot) -> None:
        pass


class KeepsFirst(MemorySnapshots):
    """Does not replace one of the same version."""

    async def save(self, snapshot: Snapshot) -> None:
        if snapshot.version not in self._kept.get(snapshot.stream, {}):
            await super().save(snapshot)


class KeepsOne(MemorySnapshots):
    """Keeps the last one saved of each stream."""

    async def save(self, snapshot: Snapshot) -> None:
        self._kept.pop(snapshot.stream, None)
        await super().save(snapshot)


class FoldsIds(MemorySnapshots):
    """Ids that differ in case share their snapshots."""

    async def save(self, snapshot: Snapshot) -> None:
        stream = msgspec.structs.replace(snapshot.stream, id=snapshot.stream.id.lower())
        self._kept.setdefault(stream, {})[snapshot.version] = snapshot

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        stream = msgspec.structs.replace(stream, id=stream.id.lower())
        return await super().load(stream, log_id=log_id, tag=tag, bound=bound)


class IgnoresBound(MemorySnapshots):
    """Gives the newest one, whatever the bound."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        return await super().load(stream, log_id=log_id, tag=tag, bound=Bound())


class NewestOrNone(MemorySnapshots):
    """Gives the newest one of all or none, when that one does not fit."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        found = max(self._kept.get(stream, {}).values(), key=lambda kept: kept.version, default=None)
        fits = await super().load(stream, log_id=log_id, tag=tag, bound=bound)
        return fits if fits == found else None


class _Alters(MemorySnapshots):
    def altered(self, found: Snapshot) -> Snapshot | None:
        return found

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        found = await super().load(stream, log_id=log_id, tag=tag, bound=bound)
        return found and self.altered(found)


class LosesCommits(_Alters):
    """Forgets the ids of the commits."""

    def altered(self, found: Snapshot) -> Snapshot:
        return msgspec.structs.replace(found, commits=b"")


class EmptyIsNone(_Alters):
    """Takes a state of no bytes for none."""

    def altered(self, found: Snapshot) -> Snapshot | None:
        return found if found.state else None


class IgnoresLog(MemorySnapshots):
    """Gives those of another log."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        logs = [log_id, *(kept.log_id for kept in self._kept.get(stream, {}).values())]
        found = [await super(IgnoresLog, self).load(stream, log_id=log, tag=tag, bound=bound) for log in logs]
        return max(filter(None, found), key=lambda kept: kept.version, default=None)


class IgnoresTag(MemorySnapshots):
    """Gives those of another tag."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        tags = [tag, *(kept.tag for kept in self._kept.get(stream, {}).values())]
        found = [await super(IgnoresTag, self).load(stream, log_id=log_id, tag=tag, bound=bound) for tag in tags]
        return max(filter(None, found), key=lambda kept: kept.version, default=None)


class BoundExclusive(MemorySnapshots):
    """Leaves out what lies right at the bound."""

    async def load(self, stream: StreamId, *, log_id: str, tag: str, bound: Bound) -> Snapshot | None:
        lower = {
            field: at - 1
            for field, at in msgspec.structs.asdict(bound).items()
            if at is not None and not isinstance(at, bool)
        }
        return await super().load(stream, log_id=log_id, tag=tag, bound=msgspec.structs.replace(bound, **lower))


BROKEN = [
    Forgets,
    KeepsFirst,
    KeepsOne,
    FoldsIds,
    IgnoresBound,
    NewestOrNone,
    LosesCommits,
    EmptyIsNone,
    IgnoresLog,
    IgnoresTag,
    BoundExclusive,
]
CASES = sorted(name for name in dir(SnapshotContract) if name.startswith("test_"))


def fails(kind: Callable[[], SnapshotStore], name: str) -> bool:
    """Say whether a case fails on a store."""

    def snapshots(folder: Path) -> AbstractAsyncContextManager[SnapshotStore]:
        return contextlib.nullcontext(kind())

    class Judged(SnapshotContract):
        pass

    Judged.snapshots = staticmethod(snapshots)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        try:
            getattr(Judged(), name)(Path(folder))
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_snapshots_are_caught(broken: type[MemorySnapshots]) -> None:
    """Every broken store of snapshots fails at least one case."""
    assert any(fails(broken, name) for name in CASES), broken.__doc__


@pytest.mark.parametrize("name", CASES)
def test_snapshot_case_catches(name: str) -> None:
    """Every case fails on at least one broken store of snapshots, and passes on the sound one."""
    assert any(fails(broken, name) for broken in BROKEN)
    assert not fails(MemorySnapshots, name)
