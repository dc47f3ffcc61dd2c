"""The cache of states beside the log may be damaged or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from context_service.events.v1 import events_pb2
from context_service.stories import open_stories

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    """Where the snapshots' file is something else, the service goes on without it and leaves it alone."""
    beside = tmp_path / "log.db-snapshots"
    beside.write_bytes(b"garbage" * 1_000)
    async with open_stories(f"sqlite:///{tmp_path}/log.db") as stories:
        created = events_pb2.ContextCreatedEvent(title="Login", phase="DESIGN")
        await stories.store.append(stories.stream("S-1"), [created], expected=0)
        assert (await stories.ask("S-1")).state.title == "Login"
    assert beside.read_bytes() == b"garbage" * 1_000
