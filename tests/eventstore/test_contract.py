"""Every backend and snapshot store against the contracts that ship with the package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from eventstore import MemorySnapshots
from eventstore.memory import MemoryBackend
from eventstore.sqlite import SqliteBackend, SqliteSnapshots
from eventstore.testing import BackendContract, SnapshotContract, StoreMachine
from hypothesis import settings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from eventstore import SnapshotStore

pytestmark = pytest.mark.contract


def memory_backend(folder: Path) -> MemoryBackend:
    return MemoryBackend()


def sqlite_backend(folder: Path) -> SqliteBackend:
    return SqliteBackend(folder / "log.db")


class TestMemory(BackendContract):
    """The reference, whose log is gone with its handle."""

    lasting = False
    backend = staticmethod(memory_backend)


class TestSqlite(BackendContract):
    """The embedded default."""

    backend = staticmethod(sqlite_backend)


def memory_snapshots(folder: Path) -> AbstractAsyncContextManager[SnapshotStore]:
    return contextlib.nullcontext(MemorySnapshots())


def sqlite_snapshots(folder: Path) -> AbstractAsyncContextManager[SnapshotStore]:
    return SqliteSnapshots(folder / "snapshots.db")


class TestMemorySnapshots(SnapshotContract):
    """The reference."""

    snapshots = staticmethod(memory_snapshots)


class TestSqliteSnapshots(SnapshotContract):
    """Kept in a file."""

    snapshots = staticmethod(sqlite_snapshots)


class MemoryMachine(StoreMachine):
    """The memory backend beside itself: whatever differs is the machine's fault."""

    lasting = False
    backend = staticmethod(memory_backend)


class SqliteMachine(StoreMachine):
    """SQLite beside memory."""

    @staticmethod
    def backend(folder: Path) -> SqliteBackend:
        # Nobody pulls the plug here, and thousands of syncs take their time on a busy disk.
        return SqliteBackend(folder / "log.db", durability="normal")


# A hundred histories take seconds, on a busy machine a minute.
TestMemoryMachine = pytest.mark.timeout(120)(MemoryMachine.TestCase)
TestMemoryMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None, print_blob=True)

TestSqliteMachine = pytest.mark.timeout(120)(SqliteMachine.TestCase)
TestSqliteMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, print_blob=True)
