"""Every backend against the contract that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eventstore.memory import MemoryBackend
from eventstore.sqlite import SqliteBackend
from eventstore.testing import BackendContract

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.contract


class TestMemory(BackendContract):
    """The reference, whose log is gone with its handle."""

    lasting = False

    @staticmethod
    def backend(folder: Path) -> MemoryBackend:  # noqa: ARG004 (a log in memory has no address)
        return MemoryBackend()


class TestSqlite(BackendContract):
    """The embedded default."""

    @staticmethod
    def backend(folder: Path) -> SqliteBackend:
        return SqliteBackend(folder / "log.db")
