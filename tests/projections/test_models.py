"""Every model against the contract that ships with the package."""

from __future__ import annotations

from projections.testing import ModelContract

from tests.projections.probes import MemoryProbe, SqliteProbe, memory, sqlite


class TestMemory(ModelContract):
    """The reference."""

    model = staticmethod(memory)
    probe = staticmethod(MemoryProbe)


class TestSqlite(ModelContract):
    """A file; its driver does not wait."""

    waits = False
    model = staticmethod(sqlite)
    probe = staticmethod(SqliteProbe)
