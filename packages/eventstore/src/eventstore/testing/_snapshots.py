"""The contract of a snapshot store, as a suite of tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from eventstore._snapshots import Snapshot, SnapshotStore
from eventstore._store import Bound
from eventstore._values import Position, StreamId, Version
from eventstore.testing._scene import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

_STREAM = StreamId("story", "1")

Body: TypeAlias = "Callable[[Any, SnapshotStore], Coroutine[object, object, None]]"


def _case(body: Body) -> Callable[[SnapshotContract, Path], None]:
    """Make a test for pytest of a coroutine function that works on an open store."""

    async def staged(contract: SnapshotContract, folder: Path) -> None:
        async with contract.snapshots(folder) as store:
            await body(contract, store)

    def test(self: SnapshotContract, tmp_path: Path) -> None:
        run(self, staged(self, tmp_path))

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(test, name, getattr(body, name))
    return test


def _snapshot(version: int, **changes: object) -> Snapshot:
    made = Snapshot(
        _STREAM,
        Version(version),
        Position(version * 10),
        version * 1_000,
        "log",
        "tag",
        f"state {version}".encode(),
        b"ids of commits",
    )
    return msgspec.structs.replace(made, **changes)


async def _load(
    store: SnapshotStore, stream: StreamId = _STREAM, *, log_id: str = "log", tag: str = "tag", **bound: int
) -> Snapshot | None:
    return await store.load(stream, log_id=log_id, tag=tag, bound=Bound(**bound))  # type: ignore[arg-type]


class SnapshotContract:
    """Proves that a store of snapshots keeps what the docstring of ``eventstore.SnapshotStore`` promises.

    Subclass it under a name that pytest collects, and say how to make a store, empty at first and opened as a context::

        class TestMySnapshots(SnapshotContract):
            snapshots = staticmethod(my_snapshots)
    """

    #: As for a ``BackendContract``.
    patience: float = 20.0
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    @staticmethod
    def snapshots(folder: Path, /) -> AbstractAsyncContextManager[SnapshotStore]:
        """Return a store of snapshots, not open."""
        raise NotImplementedError

    @_case
    async def test_none(self, store: SnapshotStore) -> None:
        """Where nothing was saved, nothing is found."""
        assert await _load(store) is None
        await store.save(_snapshot(1))
        assert await _load(store) is not None

    @_case
    async def test_saved(self, store: SnapshotStore) -> None:
        """What was saved is found, all of it as it was."""
        saved = _snapshot(7, state=bytes(range(256)) * 1_000, commits=b"\0\xff", occurred=2**60, position=2**50)
        await store.save(saved)
        assert saved == await _load(store)

    @_case
    async def test_empty_state(self, store: SnapshotStore) -> None:
        """A state of no bytes is a state."""
        await store.save(_snapshot(1, state=b"", commits=b""))
        assert await _load(store) == _snapshot(1, state=b"", commits=b"")

    @_case
    async def test_newest(self, store: SnapshotStore) -> None:
        """Of several the newest version is found, whichever was saved last."""
        await asyncio.gather(*(store.save(_snapshot(version)) for version in (2, 10, 9)))
        assert await _load(store) == _snapshot(10)

    @_case
    async def test_replaced(self, store: SnapshotStore) -> None:
        """One of the same version takes the place of the other."""
        await store.save(_snapshot(3))
        await store.save(_snapshot(3, state=b"better"))
        assert await _load(store) == _snapshot(3, state=b"better")

    @_case
    async def test_other_stream(self, store: SnapshotStore) -> None:
        """A stream's snapshots are its own, whatever stands in its id."""
        odd = [StreamId("story", id) for id in ("2", "A", "a", " a", "a.b", "a/b", "..", "%", "'", "\U0001f642")]
        odd.append(StreamId("tale", "1"))
        for number, stream in enumerate(odd, 1):
            await store.save(_snapshot(number, stream=stream))
        assert await _load(store) is None
        for number, stream in enumerate(odd, 1):
            assert await _load(store, stream) == _snapshot(number, stream=stream)

    @_case
    async def test_other_log(self, store: SnapshotStore) -> None:
        """One of another log is not found, and does not stand before an older one of this log."""
        await store.save(_snapshot(1))
        await store.save(_snapshot(2, log_id="other"))
        assert await _load(store) == _snapshot(1)
        assert await _load(store, log_id="third") is None

    @_case
    async def test_other_tag(self, store: SnapshotStore) -> None:
        """One of another tag is not found, and does not stand before an older one of this tag."""
        await store.save(_snapshot(1))
        await store.save(_snapshot(2, tag="other"))
        assert await _load(store) == _snapshot(1)
        assert await _load(store, tag="third") is None

    @_case
    async def test_until_version(self, store: SnapshotStore) -> None:
        """The newest one up to a version is found, that version included."""
        await self._several(store)
        for version, found in ((4, None), (5, 5), (6, 5), (9, 5), (10, 10), (14, 10), (15, 15), (99, 15)):
            assert await _load(store, version=version) == (found and _snapshot(found))

    @_case
    async def test_until_position(self, store: SnapshotStore) -> None:
        """The newest one up to a position is found, that position included."""
        await self._several(store)
        for position, found in ((0, None), (49, None), (50, 5), (99, 5), (100, 10), (149, 10), (150, 15), (999, 15)):
            assert await _load(store, position=position) == (found and _snapshot(found))

    @_case
    async def test_until_occurred(self, store: SnapshotStore) -> None:
        """The newest one up to an occurred time is found, that time included."""
        await self._several(store)
        for at, found in ((0, None), (4_999, None), (5_000, 5), (9_999, 5), (10_000, 10), (15_000, 15), (10**15, 15)):
            assert await _load(store, occurred=at) == (found and _snapshot(found))

    async def _several(self, store: SnapshotStore) -> None:
        for version in (5, 15, 10):
            await store.save(_snapshot(version))
