"""Views and snapshots in real Valkeys, which are cut off, killed, filled up and misconfigured."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from eventstore import Bound, InvalidInput, Position, Snapshot, StoreUnavailable, StreamId, Version, open_store
from eventstore.testing import SnapshotContract
from projections import Batch, ModelRefused, ModelUnavailable, Monitor, Projection, skip
from projections.valkey import CommandFailed, ValkeyModel, ValkeySnapshots, _read
from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as NotConnected
from valkey.exceptions import ResponseError

from tests.projections.cuts import cut_off
from tests.projections.servers import ValkeyServer
from tests.projections.test_run import Scene
from tests.projections.views import CODEC, in_valkey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from valkey.asyncio.client import Pipeline

pytestmark = pytest.mark.contract

PASSWORD: Final = "long-enough"  # noqa: S105 (of a server that lives for one test)
SMALL: Final = 30


@contextmanager
def running(server: ValkeyServer) -> Iterator[str]:
    server.start()
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


@asynccontextmanager
async def scene_on(
    url: str, *, space: str = "sum", projection: Projection[Any] | None = None, **user: Any
) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store, Valkey.from_url(url, **user) as client:
        yield Scene(projection or in_valkey(space), store, ValkeyModel(client, prefix=f"record:{space}"), Monitor())


async def until_trouble(scene: Scene, words: str) -> None:
    """Wait until health says that the projection is not ready, and why."""
    async with asyncio.timeout(10):
        while words not in (health := scene.monitor.health("sums")).trouble:  # noqa: ASYNC110 (health is looked at)
            await asyncio.sleep(0.01)
    assert (health.ready, health.state) == (False, "unavailable")


async def until_ready(scene: Scene) -> None:
    async with asyncio.timeout(10):
        while not scene.monitor.health("sums").ready:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[Valkey]:
    async with Valkey.from_url(valkey) as client:
        yield client


@pytest.fixture
async def space(client: Valkey) -> AsyncIterator[str]:
    """A word with which the keys of one test start."""
    space = uuid4().hex
    yield space
    await client.unlink("", *[key async for key in client.scan_iter(match=f"*{space}*")])


@pytest.fixture
def model(client: Valkey, space: str) -> ValkeyModel:
    return ValkeyModel(client, prefix=f"record:{space}")


# ------------------------------------------------------------------------------------------------------------- records


async def test_one_of_two_wins(valkey: str, space: str) -> None:
    """Of two that expect the same revision exactly one writes, in each of many rounds."""
    async with Valkey.from_url(valkey) as one, Valkey.from_url(valkey) as two:
        models = [ValkeyModel(client, prefix=f"record:{space}") for client in (one, two)]
        for revision in range(300):
            outcomes = await asyncio.gather(
                *(
                    model.commit("v", b"r", expected=revision, changes=lambda tx: tx.incr(f"{space}:n") and None)
                    for model in models
                )
            )
            assert sorted(outcomes) == [False, True]
        assert await one.get(f"{space}:n") == b"300"


async def test_removed_record(model: ValkeyModel) -> None:
    """A record that is removed is not there, and its next revision is the first."""
    assert await model.load("v") is None
    assert await model.commit("v", b"\0\xff", expected=0)
    assert await model.load("v") == (b"\0\xff", 1)
    assert not await model.commit("v", None, expected=0)
    assert await model.commit("v", None, expected=1)
    assert await model.load("v") is None
    assert await model.commit("v", b"", expected=0)
    assert await model.load("v") == (b"", 1)


async def test_paused_writer(client: Valkey, space: str, model: ValkeyModel) -> None:
    """Who is paused between looking and writing writes nothing when another one wrote meanwhile."""
    other = ValkeyModel(client, prefix=f"record:{space}")

    async def changes(tx: Pipeline) -> None:
        tx.set(f"{space}:a", 1)
        assert await other.commit("v", b"other", expected=0)
        tx.set(f"{space}:b", 1)

    assert not await model.commit("v", b"mine", expected=0, changes=changes)
    assert await client.exists(f"{space}:a", f"{space}:b") == 0
    assert await model.load("v") == (b"other", 1)


async def test_revision_that_the_server_lost(client: Valkey, space: str, model: ValkeyModel) -> None:
    """A revision that a server lost in a crash, and counted again for somebody else, is not the one that was seen."""
    other = ValkeyModel(client, prefix=f"record:{space}")
    assert await model.commit("v", b"kept", expected=0)
    kept = await client.dump(f"record:{space}:v")
    assert await model.commit("v", b"lost", expected=1)
    await client.restore(f"record:{space}:v", 0, kept, replace=True)
    assert await other.load("v") == (b"kept", 1)
    assert await other.commit("v", b"other", expected=1)
    assert not await model.commit("v", b"mine", expected=2)
    assert await model.load("v") == (b"other", 2)
    assert await model.commit("v", b"mine", expected=2)


async def test_what_changes_raise(client: Valkey, space: str, model: ValkeyModel) -> None:
    """What the changes raise comes out as it is, though it looks like a fault of the target, and nothing is there."""
    for error in (OSError("mine"), ValueError("mine")):

        def changes(tx: Pipeline, error: Exception = error) -> None:
            tx.set(f"{space}:a", 1)
            raise error

        with pytest.raises(type(error), match="mine"):
            await model.commit("v", b"r", expected=0, changes=changes)
    with pytest.raises(Exception, match="NoneType"):
        await model.commit("v", b"r", expected=0, changes=lambda tx: tx.set(f"{space}:a", None) and None)  # type: ignore[arg-type]
    assert await client.exists(f"{space}:a") == 0
    assert await model.load("v") is None


async def test_changes_only_queue(client: Valkey, space: str, model: ValkeyModel) -> None:
    """Sending the pipeline, or reading in it, is refused: what it holds would not be together with the record."""

    async def sends(tx: Pipeline) -> None:
        tx.set(f"{space}:a", 1)
        await tx.execute()

    async def watches(tx: Pipeline) -> None:
        await tx.watch(f"{space}:a")

    for changes in (sends, watches):
        with pytest.raises(TypeError, match="only queues"):
            await model.commit("v", b"r", expected=0, changes=changes)
    with pytest.raises(InvalidInput, match="at most 7000 words"):
        await model.commit("v", b"r", expected=0, changes=lambda tx: tx.unlink(*["k"] * 8_000) and None)
    assert await client.exists(f"{space}:a") == 0


async def test_commands_of_several_words(client: Valkey, space: str, model: ValkeyModel) -> None:
    """What the driver sends as two words is sent so."""

    def changes(tx: Pipeline) -> None:
        tx.xgroup_create(f"{space}:s", "group", mkstream=True)
        tx.execute_command(b"SET", f"{space}:a", b"\0\xff")

    assert await model.commit("v", b"r", expected=0, changes=changes)
    assert await client.get(f"{space}:a") == b"\0\xff"
    assert await client.type(f"{space}:s") == b"stream"


async def test_refused_command(client: Valkey, space: str, model: ValkeyModel) -> None:
    """A command that is refused as it runs leaves what came before it, writes nothing after it, and no record."""
    await client.set(f"{space}:text", "x")

    def changes(tx: Pipeline) -> None:
        tx.set(f"{space}:a", 1)
        tx.hset(f"{space}:text", "field", "secret")
        tx.set(f"{space}:b", 1)

    with pytest.raises(CommandFailed, match=r"^HSET was answered WRONGTYPE; what came before it") as caught:
        await model.commit("v", b"r", expected=0, changes=changes)
    assert (caught.value.command, caught.value.code) == ("HSET", "WRONGTYPE")
    assert await client.exists(f"{space}:a", f"{space}:b") == 1
    assert await model.load("v") is None


async def test_refused_command_stops_its_projection(valkey: str, space: str) -> None:
    """The event whose command is refused is named; skipped, the rest comes, and writes that set are right."""

    def apply(tx: Pipeline, batch: Batch) -> None:
        for commit in batch:
            value = commit.events[-1].message.value  # type: ignore[attr-defined]
            tx.set(batch.name(f"{space}:last"), value)
            if value == 5:
                tx.incrby(batch.name(f"{space}:text"), 1)

    projection = Projection("sums", apply, owns=[f"{space}:*"])
    async with scene_on(valkey, space=space, projection=projection) as scene, Valkey.from_url(valkey) as client:
        await client.set(f"{space}:text", "x")
        for value in (1, 5, 7):
            last = await scene.append("a", value)
        async with scene.running():
            failure = await scene.until_failed()
            assert (failure.position, failure.version, failure.type) == (2, 2, "google.protobuf.Int64Value")
            assert failure.reason.startswith("CommandFailed: INCRBY was answered ERR")
            assert not scene.monitor.health("sums").ready
            await skip(scene.projection, scene.model, reason="not text")
            await scene.until(last)
        assert await client.get(f"{space}:last") == b"7"


async def test_driver_that_tries_again(space: str, valkey: str) -> None:
    """A script that a driver sends a second time, after the connection was cut in its answer, runs once."""
    async with cut_off(valkey, iter(["after"])) as url, Valkey.from_url(valkey) as client:
        retry = Retry(NoBackoff(), 3)
        async with Valkey.from_url(url, retry=retry, retry_on_error=[NotConnected]) as retrying:
            model = ValkeyModel(retrying, prefix=f"record:{space}")
            assert await model.commit("v", b"r", expected=0, changes=lambda tx: tx.incr(f"{space}:n") and None)
        assert await client.get(f"{space}:n") == b"1"


# --------------------------------------------------------------------------------------------------------------- views


async def test_entries_of_all_types(client: Any, valkey: str, space: str, model: ValkeyModel) -> None:
    """All that is under the owned keys is in the entries, the same whatever the order in which it was written."""
    await client.set(f"{space}:text\xe4", b"\0\xff\\")
    await client.hset(f"{space}:hash", mapping={"b": "2", "a": "1"})
    await client.sadd(f"{space}:set", "b", "a", "c")
    await client.zadd(f"{space}:zset", {"b": 1.5, "a": 2, "c": float("inf")})
    await client.rpush(f"{space}:list", "b", "a")
    await client.xadd(f"{space}:stream", {"b": "2", "a": "1"}, id="1-1")
    await client.set(f"~sums.1~{space}:text", "not live")
    await client.set(f"other:{space}", "not owned")
    found = {key.removeprefix(space): json.loads(value) async for key, value in model.entries([f"{space}:*"], str)}
    assert found == {
        ":text\xe4": ["string", r"\x00\xff\\".replace(r"\x00", "\0")],
        ":hash": ["hash", {"a": "1", "b": "2"}],
        ":set": ["set", ["a", "b", "c"]],
        ":zset": ["zset", [["b", 1.5], ["a", 2.0], ["c", float("inf")]]],
        ":list": ["list", ["b", "a"]],
        ":stream": ["stream", [["1-1", {"a": "1", "b": "2"}]]],
    }
    async with Valkey.from_url(valkey, protocol=3) as newer:
        entries = ValkeyModel(newer).entries([f"{space}:*"], str)
        assert found == {key.removeprefix(space): json.loads(value) async for key, value in entries}


async def test_swap_and_clear(client: Valkey, space: str, model: ValkeyModel) -> None:
    """A swap replaces what the patterns own and leaves all else; clearing removes a generation alone."""
    name = model.naming("sums", 1)
    await client.mset({f"{space}:a": "old", f"{space}:gone": "old", f"bundle:{space}": "not owned"})
    many = {name(f"{space}:{number}"): str(number) for number in range(3_000)}
    await client.mset(many | {name(f"{space}:a"): "new"})
    owns = [f"{space}:*", f"{space}:a*"]
    assert await model.commit("v", b"r", expected=0, changes=await model.swapping(owns, name))
    assert await client.mget(f"{space}:a", f"{space}:gone", f"bundle:{space}") == [b"new", None, b"not owned"]
    assert await model.commit("v", b"r", expected=1, changes=await model.clearing(owns, name))
    assert len([key async for key, _ in model.entries(owns, str)]) == 3_001
    assert await model.commit("v", b"r", expected=2, changes=await model.clearing(["*"], lambda key: f"{space}{key}"))
    assert await client.exists(f"{space}:a", f"bundle:{space}") == 1


async def test_setup(client: Valkey, space: str, model: ValkeyModel) -> None:
    """Setting up writes under the generation's names; a command that is refused says so."""

    async def setup(tx: Pipeline, name: Any) -> None:
        tx.set(name(f"{space}:a"), 1)

    def wrong(tx: Pipeline, name: Any) -> None:
        tx.lpush(name(f"{space}:a"), 1)

    await model.prepare(setup, model.naming("sums", 2))
    assert await client.get(f"~sums.2~{space}:a") == b"1"
    with pytest.raises(CommandFailed, match="LPUSH was answered WRONGTYPE"):
        await model.prepare(wrong, model.naming("sums", 2))


async def test_client_that_decodes(valkey: str) -> None:
    """A client that decodes is refused: what is kept is not always text."""
    async with Valkey.from_url(valkey, decode_responses=True) as client:
        for made in (ValkeyModel, ValkeySnapshots):
            with pytest.raises(InvalidInput, match="decode_responses"):
                made(client)


# -------------------------------------------------------------------------------------------------------------- faults


async def test_cut_off_in_the_answer(space: str, valkey: str) -> None:
    """Where the connection is cut before the answer, nobody knows the outcome; the record tells."""
    async with cut_off(valkey, iter(["after"])) as url, Valkey.from_url(url) as client:
        model = ValkeyModel(client, prefix=f"record:{space}")
        with pytest.raises(ModelUnavailable, match=r"^Valkey cannot be reached: ConnectionError$"):
            await model.commit("v", b"r", expected=0, changes=lambda tx: tx.incr(f"{space}:n") and None)
        assert await model.load("v") == (b"r", 1)
        assert await client.get(f"{space}:n") == b"1"


async def test_killed_in_mid_run(tmp_path: Path) -> None:
    """A server that is killed again and again while it is written to has each commit once, and is found again."""
    server = ValkeyServer(tmp_path)
    with running(server) as url:
        async with scene_on(url) as scene, scene.running():

            async def append(count: int) -> Any:
                for number in range(count):
                    last = await scene.append(f"{number % 7}", number % 5)
                    await asyncio.sleep(0.001)
                return last

            for _ in range(3):
                appending = asyncio.create_task(append(200))
                await asyncio.sleep(0.1)
                server.kill()
                await until_trouble(scene, "ModelUnavailable: Valkey cannot be reached")
                server.start()
                await asyncio.to_thread(server.wait)
                last = await appending
            await wait_patiently(scene, last)
            await until_ready(scene)
            await scene.equals_fold()


async def wait_patiently(scene: Scene, position: Any) -> None:
    """Wait as a reader does that asks again when the target cannot be asked."""
    async with asyncio.timeout(15):
        while True:
            with suppress(ModelUnavailable):
                return await scene.until(position)
            await asyncio.sleep(0.05)


async def test_killed_and_emptied(tmp_path: Path) -> None:
    """A server without a file that is killed has lost view and record alike; the view is made anew."""
    server = ValkeyServer(tmp_path, more="appendonly no")
    with running(server) as url:
        async with scene_on(url) as scene, scene.running():
            for number in range(SMALL):
                last = await scene.append(f"{number % 3}", 1)
            await scene.until(last)
            server.kill()
            server.start()
            await asyncio.to_thread(server.wait)
            last = await scene.append("0", 1)
            await wait_patiently(scene, last)
            await scene.equals_fold()


async def test_down_at_the_start(tmp_path: Path) -> None:
    """A projection whose target is not there yet waits for it."""
    server = ValkeyServer(tmp_path)
    async with scene_on(server.url) as scene, scene.running():
        last = await scene.append("a", 1)
        await until_trouble(scene, "ModelUnavailable: Valkey cannot be reached: ConnectionError")
        with running(server):
            await until_ready(scene)
            await scene.until(last)
            await scene.equals_fold()


async def test_wrong_password(tmp_path: Path) -> None:
    """A wrong password, or none, is said without showing it; set right on the server, the projection runs."""
    with running(ValkeyServer(tmp_path, more=f"requirepass {PASSWORD}")) as url:
        async with Valkey.from_url(url, password=PASSWORD) as operator:
            for password in (None, "another-secret"):
                async with scene_on(url, password=password) as scene:
                    with pytest.raises(ModelRefused) as caught:
                        await scene.model.load("v")
                    assert str(caught.value) == "Valkey does not accept the user or password of the client"
                    last = await scene.append("a", 1)
                    async with scene.running():
                        await until_trouble(scene, "ModelRefused: Valkey does not accept")
                        await operator.config_set("requirepass", password or "")
                        await wait_patiently(scene, last)
                    await operator.flushdb()
                    await operator.config_set("requirepass", PASSWORD)


async def test_user_without_rights(tmp_path: Path) -> None:
    """A user who may not run scripts is told what is needed; given the right, the projection runs."""
    with running(ValkeyServer(tmp_path, more=f"user view on >{PASSWORD} ~* +@all -eval")) as url:
        async with (
            scene_on(url, username="view", password=PASSWORD) as scene,
            Valkey.from_url(url) as operator,
            scene.running(),
        ):
            last = await scene.append("a", 1)
            await until_trouble(scene, "ModelRefused: Valkey cannot be used: its user may not do what a view needs")
            await operator.execute_command("ACL", "SETUSER", "view", "+eval")
            await scene.until(last)


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        (
            ("maxmemory-policy", "allkeys-lru"),
            ("maxmemory-policy", "noeviction"),
            "it may evict views: set maxmemory-policy to noeviction, it is allkeys-lru",
        ),
        (("maxmemory", "1"), ("maxmemory", "0"), "its memory is full: raise maxmemory"),
        (("replicaof", "127.0.0.1 1"), ("replicaof", "no one"), "it is a read-only replica: name the primary"),
    ],
    ids=["evicts", "full", "replica"],
)
async def test_set_wrong(tmp_path: Path, wrong: tuple[str, str], right: tuple[str, str], words: str) -> None:
    """What is set wrong at the start, or becomes so, is said; set right, the projection runs without a restart."""

    async def set_to(setting: tuple[str, str]) -> None:
        name, value = setting
        await (operator.replicaof(*value.split()) if name == "replicaof" else operator.config_set(name, value))

    with running(ValkeyServer(tmp_path, more=" ".join(wrong))) as url:
        async with scene_on(url) as scene, Valkey.from_url(url) as operator:
            last = await scene.append("a", 1)
            async with scene.running():
                for _ in range(2):
                    await until_trouble(scene, f"ModelRefused: Valkey cannot be used: {words}")
                    await set_to(right)
                    await scene.until(last)
                    await until_ready(scene)
                    await scene.equals_fold()
                    await set_to(wrong)
                    scene.model._fit_until = 0.0
                    last = await scene.append("a", 1)
                await set_to(right)


async def test_full_refuses_a_batch_as_a_whole(tmp_path: Path) -> None:
    """Where memory is full not even those commands of a batch run that need none."""
    with running(ValkeyServer(tmp_path)) as url:
        async with Valkey.from_url(url) as client:
            model = ValkeyModel(client)
            await client.rpush("list", "a", "b")
            assert await model.commit("v", b"1", expected=0)
            await client.config_set("maxmemory", 1)

            def changes(tx: Pipeline) -> None:
                tx.lpop("list")
                tx.set("b", 1)

            with pytest.raises(ModelRefused, match="memory is full"):
                await model.commit("v", b"2", expected=1, changes=changes)
            assert await client.llen("list") == 2
            assert await model.load("v") == (b"1", 1)


async def test_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """A server that cannot save refuses changes; when it can again they are made."""
    more = "appendonly no\nstop-writes-on-bgsave-error yes\nsave 3600 1"
    with running(ValkeyServer(tmp_path, more=more)) as url:
        async with Valkey.from_url(url) as client:
            model = ValkeyModel(client)
            tmp_path.joinpath("dump.rdb").mkdir()
            await client.bgsave()
            async with asyncio.timeout(5):
                while (await client.info("persistence"))["rdb_last_bgsave_status"] != "err":  # noqa: ASYNC110 (as above)
                    await asyncio.sleep(0.01)
            with pytest.raises(ModelRefused, match="cannot write to its disk"):
                await model.commit("v", b"1", expected=0)
            await client.config_set("stop-writes-on-bgsave-error", "no")
            assert await model.commit("v", b"1", expected=0)
            # It would not end without having saved.
            await client.config_set("save", "")


async def test_cluster(tmp_path: Path) -> None:
    """A cluster is refused, by what it answers or by what it says of itself."""
    with running(ValkeyServer(tmp_path, more="appendonly no\ncluster-enabled yes")) as url:
        async with scene_on(url) as scene:
            async with scene.running():
                await until_trouble(scene, "ModelRefused: Valkey cannot be used: it is a cluster")
            with pytest.raises(ModelRefused, match="it is a cluster"):
                await scene.model.commit("v", b"r", expected=0)


async def test_too_old(model: ValkeyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server before 7.2 is refused with its version."""

    async def info(*sections: str) -> dict[str, Any]:
        return {"redis_version": "7.0.15", "cluster_enabled": 0, "role": "master", "maxmemory_policy": "noeviction"}

    monkeypatch.setattr(model._client, "info", info)
    with pytest.raises(ModelRefused, match=r"it is of version 7.0.15; 7.2 or later is needed"):
        await model.commit("v", b"r", expected=0)


async def test_not_a_valkey() -> None:
    """Something else behind the address is said to be so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Valkey(port=port) as client:
            with pytest.raises(ModelRefused, match=r"^what answers is not a Valkey$"):
                await ValkeyModel(client).load("v")


async def test_blocked_by_a_script(tmp_path: Path) -> None:
    """That a server is busy with somebody's script passes by itself."""
    with running(ValkeyServer(tmp_path, more="busy-reply-threshold 10")) as url:
        async with Valkey.from_url(url) as client, Valkey.from_url(url) as other:
            endless = asyncio.create_task(other.execute_command("EVAL", "while true do end", 0))
            await asyncio.sleep(0.1)
            with pytest.raises(ModelUnavailable, match=r"^Valkey cannot be used now: BUSY$"):
                await ValkeyModel(client).commit("v", b"r", expected=0)
            await client.execute_command("SCRIPT", "KILL")
            with pytest.raises(ResponseError):
                await endless
            assert await ValkeyModel(client).commit("v", b"r", expected=0)


# ----------------------------------------------------------------------------------------------------------- snapshots


@asynccontextmanager
async def snapshots(url: str) -> AsyncIterator[ValkeySnapshots]:
    space = uuid4().hex
    async with Valkey.from_url(url) as client:
        yield ValkeySnapshots(client, prefix=space, keep=50)
        await client.unlink("", *[key async for key in client.scan_iter(match=f"{space}*")])


class TestValkeySnapshots(SnapshotContract):
    @pytest.fixture(autouse=True)
    def on(self, valkey: str) -> None:
        self.snapshots = lambda folder: snapshots(valkey)  # type: ignore[method-assign]


def snapshot(version: int) -> Snapshot:
    state = f"state {version}".encode()
    return Snapshot(
        StreamId("n", "1"), Version(version), Position(version * 2), version * 1_000, "log", "tag", state, b"ids"
    )


async def test_thinned_snapshots(valkey: str) -> None:
    """Of many snapshots as many as wanted stay, and what lies back is never far from one, for its age."""
    async with snapshots(valkey) as store:
        last = 20_000
        for version in range(100, last + 1, 100):
            await store.save(snapshot(version))
        [key] = [key async for key in store._client.scan_iter(match=f"{store._prefix}*")]
        assert await store._client.hlen(key) == 50
        for asked in range(100, last + 1, 37):
            found = await store.load(StreamId("n", "1"), log_id="log", tag="tag", bound=Bound(version=Version(asked)))
            assert found == snapshot(found.version if found else 0)
            assert asked - found.version <= max(100, (last - asked) * 0.3)


async def test_snapshots_without_a_server(tmp_path: Path) -> None:
    """Without a server, or with a full one, an error of the event store says so, without the address."""
    server = ValkeyServer(tmp_path, more="maxmemory 1")
    async with Valkey.from_url(server.url) as client:
        store = ValkeySnapshots(client)
        with pytest.raises(StoreUnavailable, match=r"^Valkey cannot be reached: ConnectionError$"):
            await store.save(snapshot(1))
        with running(server), pytest.raises(StoreUnavailable, match="its memory is full"):
            await store.save(snapshot(1))
    with pytest.raises(InvalidInput, match="at least 2 snapshots"):
        ValkeySnapshots(client, keep=1)


async def test_cancelled_at_any_time(model: ValkeyModel) -> None:
    """A commit that is cancelled ends so, whatever it was doing, and later ones are not disturbed."""
    for revision in range(200):
        task = asyncio.create_task(model.commit("v", b"r", expected=-1))
        for _ in range(revision % 10):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
            assert not task.cancelling()
    assert await model.load("v") is None
    assert await model.commit("v", b"r", expected=0)


async def test_snapshot_let_go_meanwhile(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is let go while it is looked for gives way to the one before it."""
    async with snapshots(valkey) as store:
        await store.save(snapshot(1))
        await store.save(snapshot(2))

        async def places(key: bytes) -> list[tuple[int, int, int]]:
            return [(version, version * 2, version * 1_000) for version in (1, 2, 3)]

        monkeypatch.setattr(store, "_places", places)
        assert await store.load(StreamId("n", "1"), log_id="log", tag="tag", bound=Bound()) == snapshot(2)


async def test_alien_fields(valkey: str) -> None:
    """What somebody else has put between the snapshots of a stream is left alone."""
    async with snapshots(valkey) as store:
        await store.save(snapshot(1))
        [key] = [key async for key in store._client.scan_iter(match=f"{store._prefix}*")]
        await store._client.hset(key, "9 9", "alien")
        await store.save(snapshot(2))
        assert await store.load(StreamId("n", "1"), log_id="log", tag="tag", bound=Bound()) == snapshot(2)
        assert await store._client.hget(key, "9 9") == b"alien"


async def test_entries_of_a_module(client: Valkey) -> None:
    """What a module keeps is compared as the server dumps it."""
    pipe = client.pipeline()
    _read(pipe, b"key", b"ReJSON-RL")
    assert [command for command, _ in pipe.command_stack] == [("DUMP", b"key")]
