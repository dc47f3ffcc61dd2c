"""Stories to write to, and a real server in front of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import context_service
import grpc
import pytest
from context_service.bundles import InMemory
from context_service.peps import Report, import_peps
from context_service.stories import Stories, codec, open_stories
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc
from eventstore import EventStore, MemorySnapshots
from eventstore.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    Serve = Callable[[Stories], AbstractAsyncContextManager["Client"]]


PEPS = Path(context_service.__file__).parent / "data" / "peps.jsonl"


class Client:
    """Calls the service, in as few words as a test needs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: Any = context_pb2_grpc.ContextServiceStub(channel)

    async def update(self, story_id: str, *changes: pb.ContextChange, **fields: Any) -> pb.UpdateContextResponse:
        """Ask for changes of a story."""
        request = pb.UpdateContextRequest(story_id=story_id, changes=changes, **fields)
        answer: pb.UpdateContextResponse = await self.stub.UpdateContext(request)
        return answer

    async def get(self, story_id: str, role: str = "architect", **fields: Any) -> pb.GetContextResponse:
        """Ask for a context of now."""
        request = pb.GetContextRequest(story_id=story_id, role=role, **fields)
        answer: pb.GetContextResponse = await self.stub.GetContext(request)
        return answer

    async def get_at(
        self, story_id: str, timestamp: str, clock: str = "", role: str = "architect", **fields: Any
    ) -> pb.GetContextResponse:
        """Ask for a context of then."""
        request = pb.GetContextAtTimeRequest(story_id=story_id, timestamp=timestamp, clock=clock, role=role, **fields)
        answer: pb.GetContextResponse = await self.stub.GetContextAtTime(request)
        return answer

    @staticmethod
    def change(operation: str, entity_type: str, entity_id: str = "", /, **payload: Any) -> pb.ContextChange:
        """Return a change with its payload as JSON; a reason is written as ``reason_``."""
        reason = payload.pop("reason_", "")
        text = json.dumps(payload) if payload else ""
        return pb.ContextChange(
            operation=operation, entity_type=entity_type, entity_id=entity_id, payload=text, reason=reason
        )


class Clock:
    """Tells the time a test sets, in microseconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def _serve(stories: Stories) -> AsyncIterator[Client]:
    from context_service.app import serving  # noqa: PLC0415 (only then does the filter above hold)

    async with (
        serving(stories, "127.0.0.1:0", bundles=InMemory()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield Client(channel)


@pytest.fixture
def serve() -> Serve:
    """A way to serve stories of one's own."""
    return _serve


@pytest.fixture
def clock() -> Clock:
    """The clock of the log under ``stories``."""
    return Clock()


@pytest.fixture
async def stories(clock: Clock) -> AsyncIterator[Stories]:
    """No stories yet."""
    async with EventStore(MemoryBackend(clock=clock), codec) as store:
        yield Stories(store, MemorySnapshots())


@pytest.fixture
async def client(stories: Stories) -> AsyncIterator[Client]:
    """A client of a server with no stories yet."""
    async with _serve(stories) as served:
        yield served


class Imported(NamedTuple):
    """A log with all the PEPs."""

    #: Of the store; a test that writes copies the file first.
    path: Path
    report: Report

    @property
    def url(self) -> str:
        """Where it is."""
        return f"sqlite:///{self.path}?durability=normal"


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """A log with all the PEPs, for reading only."""
    path = tmp_path_factory.mktemp("imported") / "context.db"

    async def run() -> Report:
        async with open_stories(f"sqlite:///{path}?durability=normal") as stories:
            return await import_peps(stories.store, stories.snapshots, PEPS, progress=lambda *_: None)

    return Imported(path, asyncio.run(run()))
