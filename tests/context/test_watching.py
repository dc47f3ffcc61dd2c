"""Stories as they change, over gRPC."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service import contexts
from context_service.app import serving
from context_service.selection import select
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc

from tests.context.conftest import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.stories import Stories

Code = grpc.StatusCode


@pytest.fixture
async def made(client: Client) -> Client:
    await client.update("S-1", client.change("CREATE", "CASE", title="Checkout"))
    return client


@asynccontextmanager
async def watched(client: Client, role: str = "architect", **fields: Any) -> AsyncIterator[Any]:
    """Watch a story; yields the call after its first answer."""
    call = client.stub.WatchContext(pb.WatchContextRequest(story_id="S-1", role=role, **fields))
    first = await call.read()
    assert first == pb.WatchContextResponse(context=await client.get("S-1", role, **fields))
    try:
        yield call
    finally:
        call.cancel()


async def next_change(call: Any) -> pb.HistoryEntry:
    async with asyncio.timeout(5):
        answer: pb.WatchContextResponse = await call.read()
    assert answer.WhichOneof("update") == "change"
    return answer.change


async def history(client: Client) -> list[pb.HistoryEntry]:
    answer: pb.GetHistoryResponse = await client.stub.GetHistory(pb.GetHistoryRequest(story_id="S-1"))
    return list(answer.entries)


async def test_each_change(made: Client) -> None:
    """After the story as it is comes each event as it is recorded, once, in order, as its history has it."""
    change = made.change
    async with watched(made) as call:
        await made.update(
            "S-1", change("CREATE", "DECISION", "D-1", title="T"), change("CREATE", "DECISION", "D-2", title="U")
        )
        await made.update("S-1", change("UPDATE", "DECISION", "D-1", status="APPROVED"))
        found = [await next_change(call) for _ in range(3)]
    assert found == (await history(made))[1:]
    assert [entry.event_type for entry in found] == ["DecisionAdded", "DecisionAdded", "DecisionStatusChanged"]


async def test_other_stories(made: Client) -> None:
    """What is recorded of other stories is not told."""
    async with watched(made) as call:
        await made.update("S-10", made.change("CREATE", "CASE", title="Other"))
        await made.update("S-1", made.change("UPDATE", "CASE", title="Mine"))
        assert (await next_change(call)).version == 2


async def test_nothing_twice_or_never(made: Client) -> None:
    """Whatever is written while a watch begins is in its context, or comes after it, and never both."""
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await made.update("S-1", made.change("UPDATE", "CASE", title=f"title {number}"))

    writing = asyncio.create_task(write())
    try:
        for _ in range(20):
            call = made.stub.WatchContext(pb.WatchContextRequest(story_id="S-1", role="architect"))
            first = await call.read()
            versions = [(await next_change(call)).version for _ in range(3)]
            start = int(first.context.version)
            assert versions == [start + 1, start + 2, start + 3]
            call.cancel()
    finally:
        stop.set()
        await writing


class TestScopes:
    async def test_withheld(self, made: Client) -> None:
        """A change of what the role may not see says that there was one, and nothing of what it was."""
        async with watched(made, "devops", phase="TEST") as call:
            await made.update("S-1", made.change("CREATE", "DECISION", "D-1", title="hidden", reason_="hidden"))
            entry = await next_change(call)
        assert entry == pb.HistoryEntry(
            version=2, position=entry.position, occurred_at=entry.occurred_at, recorded_at=entry.recorded_at
        )
        assert entry.recorded_at

    async def test_titles_alone(self, made: Client) -> None:
        """Of what a role sees by id and title alone, it is told no more."""
        change = made.change
        async with watched(made, "developer", phase="TEST") as call:
            await made.update("S-1", change("CREATE", "SUBTASK", "T-1", title="Form", role="DEV", description="hidden"))
            await made.update("S-1", change("CREATE", "SUBTASK", "T-2", title="Other", role="QA"))
            mine, other = await next_change(call), await next_change(call)
        assert (mine.entity_type, mine.entity_id, mine.event_type) == ("SUBTASK", "T-1", "SubtaskAdded")
        assert [(one.field, one.after) for one in mine.changes] == [("title", '"Form"')]
        assert (mine.payload, other.entity_id, other.event_type) == ("", "", "")

    async def test_what_leaves(self, made: Client) -> None:
        """Of what a role may not see any more after a request, it is told what took it away, and nothing new."""
        change = made.change
        await made.update("S-1", change("CREATE", "SUBTASK", "T-1", title="Form", role="DEV"))
        async with watched(made, "developer", phase="BUILD") as call:
            await made.update(
                "S-1",
                change("UPDATE", "SUBTASK", "T-1", role="QA"),
                change("UPDATE", "SUBTASK", "T-1", title="hidden", description="hidden"),
            )
            leaving, hidden = await next_change(call), await next_change(call)
        assert (leaving.entity_id, leaving.event_type, leaving.payload) == ("T-1", "SubtaskUpdated", "")
        assert [(one.field, one.after) for one in leaving.changes] == [("role", '"qa"')]
        assert "hidden" not in str(hidden)

    async def test_never_seen(self, made: Client) -> None:
        """What a role sees neither before a request nor after it is not told to it, whatever it was in between."""
        change = made.change
        async with watched(made, "developer", phase="BUILD") as call:
            await made.update(
                "S-1",
                change("CREATE", "SUBTASK", "T-1", title="hidden", role="DEV"),
                change("UPDATE", "SUBTASK", "T-1", role="QA"),
            )
            entries = [await next_change(call) for _ in range(2)]
        assert {(entry.entity_id, entry.event_type, entry.payload, len(entry.changes)) for entry in entries} == {
            ("", "", "", 0)
        }

    async def test_no_longer_in_force(self, made: Client) -> None:
        """Of a decision that guides nothing, which the context only names, it is told that it was changed."""
        change = made.change
        await made.update("S-1", change("CREATE", "DECISION", "D-1", title="T"))
        async with watched(made) as call:
            await made.update("S-1", change("UPDATE", "DECISION", "D-1", status="REJECTED"))
            await made.update("S-1", change("UPDATE", "DECISION", "D-1", title="U", rationale="hidden"))
            rejected, changed = await next_change(call), await next_change(call)
        assert [(one.field, one.after) for one in rejected.changes] == [("status", '"REJECTED"')]
        assert (changed.entity_id, changed.payload, changed.reason) == ("D-1", "", "")
        assert [(one.field, one.after) for one in changed.changes] == [("title", '"U"')]

    async def test_gone(self, made: Client) -> None:
        """That something is gone is told to those who saw it."""
        await made.update("S-1", made.change("CREATE", "DECISION", "D-1", title="T"))
        async with watched(made) as call:
            await made.update("S-1", made.change("DELETE", "DECISION", "D-1"))
            assert (await next_change(call)).entity_id == "D-1"

    async def test_phase_of_the_story(self, made: Client) -> None:
        """Without a phase of its own a watch goes by the story's, and so sees less when that moves on."""
        async with watched(made, "developer") as call:
            step = pb.TransitionPhaseRequest(story_id="S-1", from_phase="DESIGN", to_phase="TEST")
            await made.stub.TransitionPhase(step)
            await made.update("S-1", made.change("CREATE", "DECISION", "D-1", title="T"))
            assert (await next_change(call)).event_type == "PhaseTransitioned"
            assert (await next_change(call)).event_type == ""


async def test_one_look_for_all(made: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be seen of a version is worked out once, for all its events and for all who watch alike."""
    looks = []

    def counted(*args: Any, **fields: Any) -> Any:
        looks.append(fields["role"])
        return select(*args, **fields)

    monkeypatch.setattr(contexts, "select", counted)
    async with watched(made) as one, watched(made) as two, watched(made, "qa") as three:
        looks.clear()
        for _ in range(2):
            await made.update("S-1", *(made.change("UPDATE", "CASE", title=f"title {number}") for number in range(20)))
            for call in (one, two, three):
                assert [(await next_change(call)).entity_type for _ in range(20)] == ["CASE"] * 20
    # Before the first request, after it, and after the second.
    assert sorted(looks) == ["architect"] * 3 + ["qa"] * 3


class TestEnds:
    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"story_id": "S-2"}, Code.NOT_FOUND),
            ({"role": "boss"}, Code.INVALID_ARGUMENT),
            ({"phase": "LATER"}, Code.INVALID_ARGUMENT),
            ({"token_budget": -1}, Code.INVALID_ARGUMENT),
            ({"subtask_id": "T-9"}, Code.NOT_FOUND),
        ],
    )
    async def test_refused(self, made: Client, fields: dict[str, Any], code: grpc.StatusCode) -> None:
        """A watch of what is not there, or by words that mean nothing, ends at once."""
        call = made.stub.WatchContext(pb.WatchContextRequest(**({"story_id": "S-1", "role": "qa"} | fields)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() == code

    async def test_stopping(self, stories: Stories) -> None:
        """A watch does not hold up the end of the service, and its caller is told to watch again."""
        server = serving(stories, "127.0.0.1:0")
        address = await server.__aenter__()
        async with grpc.aio.insecure_channel(address) as channel:
            client = Client(channel)
            await client.update("S-1", client.change("CREATE", "CASE", title="Checkout"))
            call = context_pb2_grpc.ContextServiceStub(channel).WatchContext(
                pb.WatchContextRequest(story_id="S-1", role="qa")
            )
            await call.read()
            async with asyncio.timeout(4):
                await server.__aexit__(None, None, None)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() == Code.UNAVAILABLE
