"""Where snapshots of stories are kept may be damaged, lost, down or slow, which costs time only."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from context_service import snapshots
from context_service.events.v1 import events_pb2
from context_service.snapshots import SparedSnapshots, open_snapshots
from context_service.stories import Stories, open_stories
from context_service.views import open_views
from eventstore import Bound, InvalidInput, StoreUnavailable, StreamId

from tests.projections.servers import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventstore import Snapshot

DONE = ("loaded", "saved")
NEWS = [events_pb2.ContextCreatedEvent(title="Login", phase="DESIGN")]


async def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    """Where the snapshots' file is something else, the service goes on without it and leaves it alone."""
    beside = tmp_path / "log.db-snapshots"
    beside.write_bytes(b"garbage" * 1_000)
    async with open_stories(f"sqlite:///{tmp_path}/log.db") as stories:
        await stories.store.append(stories.stream("S-1"), NEWS, expected=0)
        assert (await stories.ask("S-1")).state.title == "Login"
    assert beside.read_bytes() == b"garbage" * 1_000


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ann:secret@x",
        "snapshots.db",
        "memory",
        "sqlite://",
        "sqlite:///",
        "neo4j://ann:secret@h:port",
        "neo4j://ann:sec/ret@h",
        "valkey://[ann:secret",
        "valkey://ann:secret@h/0?no_such_option=1",
        "valkey://ann:secret@h/0?db=first",
        "valkey://ann:secret@h/0?protocol=9",
        "valkey://ann:secret@h/0?retry=1",
        "valkeys://ann:secret@h/0?ssl_cert_reqs=x",
        "valkey://ann:secret@h:65536",
        "neo4j://ann:secret@h:65536",
        "neo4j://ann:secret@[h",
        "neo4j://ann:secret@",
        "neo4j:secret",
        "neo4j://ann:secret@h?database=x",
    ],
)
async def test_wrong_urls(stories: Stories, url: str) -> None:
    """A URL that means nothing is refused with what was expected, and without its password."""
    with pytest.raises(InvalidInput, match="snapshots: expected") as refusal:
        async with open_snapshots(url, stories.store.backend):
            pass
    assert "sec" not in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "scheme", "driver"),
    [
        ("snapshots", "neo4j", "neo4j"),
        ("snapshots", "valkey", "valkey.asyncio"),
        ("graph", "bolt+s", "neo4j"),
        ("cache", "valkeys", "valkey.asyncio"),
    ],
)
async def test_no_driver(
    stories: Stories, setting: str, scheme: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a driver is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, driver, None)
    url, log = f"{scheme}://h", stories.store.backend
    opening: Any = open_snapshots(url, log) if setting == "snapshots" else open_views(stories, **{setting: url})
    with pytest.raises(InvalidInput) as refusal:
        await opening.__aenter__()
    assert refusal.value.field == setting
    extra = driver.partition(".")[0]
    assert refusal.value.problem.endswith(f" needs the package {driver}: install foldlog-context[{extra}]")


# ------------------------------------------------------------------------------------------------------------- faults


class Writing:
    """A story that grows, told by a process that keeps nothing in memory."""

    def __init__(self, stories: Stories) -> None:
        self._store = stories.store
        self._version = 0

    async def goes_on(self, kept: Any) -> None:
        """Write and read past a snapshot."""
        stories = Stories(self._store, kept, every=1)
        title = f"after {self._version}"
        changed = events_pb2.StoryChangedEvent(title=title)
        await self._store.append(
            stories.stream("S-1"), [changed] if self._version else [*NEWS, changed], expected=self._version
        )
        found = await stories.ask("S-1")
        self._version = found.version
        assert found.state.title == title


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What was logged since it was asked for last."""

    def since() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "context_service"]
        caplog.clear()
        return messages

    with caplog.at_level(logging.INFO, "context_service"):
        yield since


@pytest.mark.parametrize("url", ["neo4j://ann:secret@127.0.0.1:1", "valkey://ann:secret@127.0.0.1:1"])
async def test_down(stories: Stories, url: str, told: Any) -> None:
    """Without the server stories are read and written; it is told once, without the address."""
    writing = Writing(stories)
    async with open_snapshots(url, stories.store.backend) as kept:
        for _ in range(3):
            await writing.goes_on(kept)
    messages = told()
    assert len(messages) == 2
    for message, done in zip(messages, DONE, strict=True):
        assert message.startswith(f"snapshots are not {done} until this is over: ")
        assert "secret" not in message
        assert "127.0.0.1" not in message


@pytest.mark.contract
async def test_down_for_a_while(stories: Stories, tmp_path: Path, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that comes back, or wakes up, is used again without a restart."""
    monkeypatch.setattr(snapshots, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "PATIENCE_SECONDS", 0.5)
    server, writing = ValkeyServer(tmp_path), Writing(stories)
    server.start()
    try:
        server.wait()
        async with open_snapshots(server.url, stories.store.backend) as kept:
            await writing.goes_on(kept)
            assert told() == []

            server.kill()
            for _ in range(3):
                await writing.goes_on(kept)
            problem = "Valkey cannot be reached: ConnectionError"
            assert told() == [f"snapshots are not {done} until this is over: {problem}" for done in DONE]
            server.start()
            server.wait()
            await writing.goes_on(kept)
            assert told() == [f"snapshots are {done} again" for done in DONE]

            os.kill(server.pid, signal.SIGSTOP)
            await writing.goes_on(kept)
            problem = "no answer within 0.5 s"
            assert told() == [f"snapshots are not {done} until this is over: {problem}" for done in DONE]
            os.kill(server.pid, signal.SIGCONT)
            await writing.goes_on(kept)
            assert told() == [f"snapshots are {done} again" for done in DONE]
    finally:
        server.kill()


class Down:
    """A server that does not do what it should, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def save(self, snapshot: Snapshot) -> None:
        raise AssertionError("nothing is saved")

    async def load(self, stream: StreamId, **_: Any) -> Snapshot | None:
        self.asked += 1
        await asyncio.sleep(0)
        raise StoreUnavailable("down")


async def test_asked_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is down, one question in ten seconds finds out about it; the others do not wait."""
    seconds, down = 100.0, Down()
    monkeypatch.setattr(snapshots, "time", SimpleNamespace(monotonic=lambda: seconds))
    kept = SparedSnapshots(down)
    for _ in range(3):
        for _ in range(5):
            many = (kept.load(StreamId("story", "1"), log_id="", tag="", bound=Bound()) for _ in range(5))
            assert await asyncio.gather(*many) == [None] * 5
            # The first five were on their way together.
            seconds += 1.0 if down.asked > 5 else 0.0
        seconds += 10.0
    assert down.asked == 5 + 2
