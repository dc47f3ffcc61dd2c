"""Questions to the graph in a SQLite file, and over gRPC."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service import cli, relationships, terminal
from context_service.app import serving
from context_service.snapshots import IN_MEMORY
from context_service.stories import open_stories
from context_service.v1 import context_pb2, context_pb2_grpc
from context_service.views import graph_among, open_views, projecting
from eventstore.terminal import console
from google.rpc import error_details_pb2, status_pb2
from projections import Monitor, pause, rebuild, resume, status, wait_for

from tests.context.questions import Asked, Questions, compared
from tests.context.test_views import another_log, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from context_service.stories import Stories
    from context_service.v1.context_pb2 import GetGraphRelationshipsResponse
    from projections import Deployed

    from tests.context.conftest import Client, Imported

Code = grpc.StatusCode


class TestOnSqlite(Questions):
    """The embedded default."""

    __test__ = True

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return f"sqlite:///{tmp_path_factory.mktemp('graph')}/graph.db"

    async def test_rebuilt(self, ask: Asked) -> None:
        """After a rebuild has taken the graph's place the answers are the same."""
        asked: Sequence[dict[str, Any]] = [
            {"node_id": id, "node_type": type, "at": at, "depth": 3}
            for id, type in (("D1", "Decision"), ("S-1", "Story"), ("T-2", "Story"))
            for at in ("", "holds", "linked", "cycle")
        ]
        before = [await ask(**question) for question in asked]
        view = ask.graph.view
        generation = (await status(*view)).record.generation
        await rebuild(view.projection, view.store, view.model)
        assert (await status(*view)).record.generation == generation + 1
        assert [await ask(**question) for question in asked] == before


async def test_peps(tmp_path: Path, imported: Imported) -> None:
    """Of 26 years of real decisions the answers at 200 random positions are what a fold up to there tells."""
    async with (
        open_stories(imported.url, snapshots=IN_MEMORY) as stories,
        open_views(stories, graph=f"sqlite:///{tmp_path}/graph.db", cache="none") as [view],
        projecting([view], Monitor()),
    ):
        await wait_for(view.projection, view.model, await stories.store.head(), timeout=15)
        graph = graph_among([view])
        assert graph is not None
        assert await compared(Asked(graph, {}), random.Random(5), 200) > 100


# Over gRPC


class Served:
    """A server that answers questions to a graph."""

    def __init__(self, channel: grpc.aio.Channel, stories: Stories, views: Sequence[Deployed]) -> None:
        self.ask: Any = context_pb2_grpc.ContextServiceStub(channel).GetGraphRelationships
        self.stories = stories
        self.views = views

    async def __call__(self, id: str = "D2", type: str = "Decision", **asked: Any) -> GetGraphRelationshipsResponse:
        timeout = asked.pop("timeout", None)
        request = context_pb2.GetGraphRelationshipsRequest(node_id=id, node_type=type, **asked)
        answer: GetGraphRelationshipsResponse = await self.ask(request, timeout=timeout)
        return answer

    async def failing(self, *names: str, **asked: Any) -> tuple[grpc.StatusCode, str]:
        """Return the code and the words of a refusal."""
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self(*names, **asked)
        return failure.value.code(), failure.value.details() or ""

    async def position(self, more: int = 0) -> str:
        head = await self.stories.store.head()
        return f"{head.log_id}:{head.position + more}"


@asynccontextmanager
async def served(stories: Stories, graph: str, *, kept: bool = True) -> AsyncIterator[Served]:
    async with (
        open_views(stories, graph=graph, cache="none") as views,
        projecting(views if kept else [], Monitor()),
        serving(stories, "127.0.0.1:0", graph=graph_among(views)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield Served(channel, stories, views)


@pytest.fixture
async def service(stories: Stories) -> AsyncIterator[Served]:
    """A graph in memory, of two decisions of which the second depends on the first."""
    async with served(stories, "") as service:
        await write(stories, "D1", "D2")
        await wait_for(service.views[0].projection, service.views[0].model, await stories.store.head(), timeout=15)
        yield service


@pytest.mark.parametrize("type", ["Decision", "decision", "DECISION"])
async def test_answer(service: Served, type: str) -> None:
    """The answer has the node, its neighbours and the relations between them."""
    answer = await service("D2", type, depth=1)
    assert answer.success
    assert (answer.node.id, answer.node.type, answer.node.title) == ("D2", "Decision", "D2")
    assert [(node.id, node.type) for node in answer.neighbors] == [("S-1", "Story"), ("D1", "Decision")]
    assert [(edge.type, edge.from_node_id, edge.to_node_id) for edge in answer.relationships] == [
        ("DEPENDS_ON", "D2", "D1"),
        ("HAS_DECISION", "S-1", "D1"),
        ("HAS_DECISION", "S-1", "D2"),
    ]
    assert answer.position == await service.position()


@pytest.mark.parametrize("type", ["Story", "case"])
async def test_two_words(service: Served, type: str) -> None:
    """A story is found by either of its names."""
    assert (await service("S-1", type)).node.type == "Story"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"type": ""}, "node_type"),
        ({"type": "Milestone"}, "node_type"),
        ({"id": ""}, "node_id"),
        ({"id": "a\nb"}, "node_id"),
        ({"depth": -1}, "depth"),
        ({"depth": 4}, "depth"),
        ({"position": "7"}, "position"),
        ({"position": "here:now"}, "position"),
        ({"position": "another:1"}, "position"),
        ({"min_position": "x"}, "min_position"),
        ({"min_position": "another:1"}, "min_position"),
    ],
)
async def test_no_meaning(service: Served, asked: dict[str, Any], field: str) -> None:
    """What means nothing is INVALID_ARGUMENT, with the field that it is about."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await service(**asked)
    assert failure.value.code() == Code.INVALID_ARGUMENT
    sent = dict(failure.value.trailing_metadata() or ())["grpc-status-details-bin"]
    details = error_details_pb2.BadRequest()
    assert isinstance(sent, bytes)
    status_pb2.Status.FromString(sent).details[0].Unpack(details)
    assert [violation.field for violation in details.field_violations] == [field]


async def test_never_both(service: Served) -> None:
    """Nothing is of a position and of a later one."""
    asked = {"position": await service.position(-1), "min_position": await service.position()}
    assert (await service.failing(**asked))[0] == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(("id", "type"), [("D9", "Decision"), ("D1", "Task"), ("P", "Project"), ("E", "Epic")])
async def test_not_there(service: Served, id: str, type: str) -> None:
    """A node that is not there, or is of another type, is NOT_FOUND."""
    assert await service.failing(id, type) == (Code.NOT_FOUND, f"node_id: there is no {type} {id!r}")


async def test_not_there_then(service: Served) -> None:
    """A node that was not there yet is NOT_FOUND too."""
    token = (await service.position()).rpartition(":")[0] + ":0"
    problem = "node_id: there is no Decision 'D1' at that position"
    assert await service.failing("D1", position=token) == (Code.NOT_FOUND, problem)


async def test_no_graph(client: Client) -> None:
    """A process that keeps no graph says so."""
    request = context_pb2.GetGraphRelationshipsRequest(node_id="D1", node_type="Decision")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await client.stub.GetGraphRelationships(request)
    assert (failure.value.code(), failure.value.details()) == (
        Code.FAILED_PRECONDITION,
        "graph: this process keeps no graph",
    )


async def test_most(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many neighbours the nearest are told, with the relations between these, and of how many."""
    whole = await service(depth=3)
    assert whole.message == ""
    monkeypatch.setattr(relationships, "MOST", 1)
    some = await service(depth=3)
    assert some.neighbors == whole.neighbors[:1]
    told = {some.node.id, *(node.id for node in some.neighbors)}
    assert [(one.from_node_id, one.to_node_id) for one in some.relationships] == [
        ends for one in whole.relationships if told >= {*(ends := (one.from_node_id, one.to_node_id))}
    ]
    assert some.message == f"the nearest 1 of {len(whole.neighbors)} neighbours"


async def test_waits(service: Served) -> None:
    """An answer of a position or later waits until the graph is there."""
    [view] = service.views
    await pause(view.projection, view.model)
    await write(service.stories, "D3")
    asked = asyncio.create_task(service("D3", min_position=await service.position()))
    then = asyncio.create_task(service("D3", position=await service.position()))
    assert (await service.failing("D3"))[0] == Code.NOT_FOUND
    await resume(view.projection, view.model)
    assert (await asked).node.id == (await then).node.id == "D3"
    assert (await asked).position == await service.position()


async def test_in_time(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A least position that does not come in time is DEADLINE_EXCEEDED, after the service's time or the caller's."""
    asked = {"min_position": await service.position(1)}
    assert (await service.failing(**asked, timeout=0.1))[0] == Code.DEADLINE_EXCEEDED
    monkeypatch.setattr("context_service.relationships.WAIT_SECONDS", 0.05)
    head = (await service.stories.store.head()).position
    problem = f"min_position: the graph is at position {head}, not at {head + 1}; try again"
    assert await service.failing(**asked) == (Code.DEADLINE_EXCEEDED, problem)
    huge = {"min_position": f"{service.stories.store.log_id}:{'9' * 19}"}
    assert (await service.failing(**huge))[0] == Code.DEADLINE_EXCEEDED


async def test_not_come(service: Served) -> None:
    """How the graph is at a position that the log has not come to is not known, and is not waited for."""
    head = (await service.stories.store.head()).position
    asked = {"position": await service.position(1)}
    assert await service.failing(**asked) == (Code.NOT_FOUND, f"position: the log is at position {head}")


async def test_not_begun(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that nobody has begun is not there in time either."""
    monkeypatch.setattr("context_service.relationships.WAIT_SECONDS", 0.05)
    await write(stories, "D1")
    async with served(stories, "", kept=False) as service:
        assert await service.failing() == (
            Code.DEADLINE_EXCEEDED,
            "graph: the graph has not begun yet; try again",
        )
        least = await service.position()
        assert (await service.failing(min_position=least, timeout=7))[1].startswith("min_position: the graph has not")


async def test_down(stories: Stories) -> None:
    """A graph that cannot be reached is UNAVAILABLE, and where it is is not told."""
    async with served(stories, "bolt://127.0.0.1:1", kept=False) as service:
        assert await service.failing() == (Code.UNAVAILABLE, "the graph cannot be reached; try again")


async def test_of_another_log(stories: Stories, tmp_path: Path) -> None:
    """A graph of another log does not answer, whatever is asked."""
    await another_log(tmp_path / "graph.db")
    await write(stories, "D1")
    async with served(stories, f"sqlite:///{tmp_path}/graph.db", kept=False) as service:
        for asked in ({}, {"min_position": await service.position(100)}, {"position": await service.position()}):
            assert await service.failing("D1", **asked) == (Code.UNAVAILABLE, "the graph is of another log")


async def test_failed(stories: Stories, tmp_path: Path) -> None:
    """A graph that has failed says so, without waiting, and still knows the past."""
    async with served(stories, f"sqlite:///{tmp_path}/graph.db") as service:
        [view] = service.views
        await write(stories, "D1")
        before = await service.position()
        await wait_for(view.projection, view.model, await stories.store.head(), timeout=15)
        poison = "BEFORE INSERT ON graph_nodes WHEN new.id = 'D2' BEGIN SELECT RAISE(ABORT, 'no'); END"
        with closing(sqlite3.connect(tmp_path / "graph.db")) as other:
            other.execute(f"CREATE TRIGGER poison {poison}")
        await write(stories, "D2")
        async with asyncio.timeout(15):
            while not (await status(*view)).record.failure:  # noqa: ASYNC110 (a record has no event)
                await asyncio.sleep(0.005)
        problem = f"the graph has failed after position {before.rpartition(':')[2]}; an operator must mend it"
        assert await service.failing("D1") == (Code.UNAVAILABLE, problem)
        asked = {"min_position": await service.position(), "timeout": 3}
        assert await service.failing("D1", **asked) == (Code.UNAVAILABLE, problem)
        assert (await service("D1", position=before)).position == before
        now = {"position": await service.position(), "timeout": 3}
        assert await service.failing("D1", **now) == (Code.UNAVAILABLE, problem)


# On the command line


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`graph` shows what is around a node, to people and to programs, and why when it cannot."""
    log = f"sqlite:///{tmp_path}/context.db"

    def say(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["context", "graph", *words, "--store", log])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        said = capsys.readouterr()
        return exited.value.code or 0, said.out, said.err

    async def draw(id: str) -> str:
        async with (
            open_stories(log) as stories,
            open_views(stories, cache="none") as [view],
            projecting([view], Monitor()),
        ):
            await write(stories, *id.split())
            await wait_for(view.projection, view.model, await stories.store.head(), timeout=15)
            return str(await stories.store.head())

    monkeypatch.setattr(terminal, "out", console(soft_wrap=True))
    monkeypatch.setattr(terminal, "err", console(stderr=True, soft_wrap=True))
    before = asyncio.run(draw("D1 D2"))
    asyncio.run(draw("D3"))
    assert say("Decision", "D2", "--depth", "1") == (
        0,
        (
            "Decision D2  D2\nStory S-1  Log in\nDecision D1  D1\n"
            "  D2 DEPENDS_ON D1\n  S-1 HAS_DECISION D1\n  S-1 HAS_DECISION D2\n"
        ),
        f"position {before[:-1]}2\n",
    )
    code, out, _ = say("story", "S-1", "--json", "--at-position", before)
    assert code == 0
    assert [node["id"] for node in json.loads(out)["neighbors"]] == ["D1", "D2"]
    code, _, err = say("Decision", "D9")
    assert (code != 0, "there is no Decision 'D9'" in err) == (True, True)
    code, _, err = say("Decision", "D1", "--graph", f"sqlite:///{tmp_path}/other.db")
    expected = "expected a graph that context serve or context project has made"
    assert (code, err) == (1, f"context: graph: {expected}; there is none in {tmp_path}/other.db\n")
    assert not (tmp_path / "other.db").exists()
