"""Neo4j as a target and as a place for snapshots, on both versions that are supported."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from eventstore import ANY, EventStore, InvalidInput, StoreUnavailable, StreamId, Token, open_store
from eventstore.testing import SnapshotContract
from eventstore.testing._snapshots import _snapshot
from neo4j import AsyncGraphDatabase
from neo4j.exceptions import ClientError, ConstraintError, Neo4jError, ServiceUnavailable, UnsupportedServerProduct
from projections import ModelRefused, ModelUnavailable, Monitor, Projection, rebuild, running, wait_for
from projections._neo4j_server import fault_of
from projections.neo4j import Neo4jModel, Neo4jSnapshots
from projections.testing import ModelContract, effect_once

from tests.projections.servers import NEO4J_5, NEO4J_2026, Neo4jServer
from tests.projections.views import CODEC, in_neo4j, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from eventstore import Snapshot, SnapshotStore
    from neo4j import AsyncDriver, AsyncTransaction
    from projections import Name, Record

# Far above what anything takes, also where many tests share a machine: nothing here is about these two.
LEASE: Final = 5.0
SECONDS: Final = 30.0

PASSWORD: Final = "correct-horse"  # noqa: S105 (of a server that lives for one test)

#: Where the server of the running test is; set by fixtures, since a contract's model is made of a folder.
SERVER: Final[list[str]] = []


class Probe:
    """Owns two labels and a relationship type, which leads from one node to all others."""

    def __init__(self, space: str) -> None:
        self.labels = [f"A{space}", f"B{space}"]
        self.link = f"LINK{space}"
        self.owns = [*self.labels, f"-[:{self.link}]->"]

    async def setup(self, tx: AsyncTransaction, name: Name) -> None:
        for label in self.labels:
            await tx.run(f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{name(label)}) REQUIRE n.key IS UNIQUE")

    async def write(self, tx: AsyncTransaction, name: Name, key: str, value: str) -> None:
        label = self.labels[len(key) % 2]
        await tx.run(
            f"MERGE (n:{name(label)} {{key: $key}}) SET n.value = $value MERGE (hub:{name(self.labels[0])} {{key: ''}})"
            f" MERGE (hub)-[r:{name(self.link)}]->(n) SET r.length = size($value)",
            key=key,
            value=value,
        )


@asynccontextmanager
async def model_of(folder: Path) -> AsyncIterator[Neo4jModel]:
    async with AsyncGraphDatabase.driver(SERVER[0]) as driver:
        yield Neo4jModel(driver, transaction_seconds=SECONDS)


class OwnStreams:
    """Snapshots whose streams nobody else has, on a server that many use."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._space = uuid.uuid4().hex[:12]

    async def save(self, snapshot: Snapshot) -> None:
        await self._store.save(msgspec.structs.replace(snapshot, stream=self._own(snapshot.stream)))

    async def load(self, stream: StreamId, **asked: Any) -> Snapshot | None:
        found = await self._store.load(self._own(stream), **asked)
        return None if found is None else msgspec.structs.replace(found, stream=stream)

    def _own(self, stream: StreamId) -> StreamId:
        return StreamId(f"{stream.category}{self._space}", stream.id)


@asynccontextmanager
async def snapshots_of(folder: Path) -> AsyncIterator[SnapshotStore]:
    async with AsyncGraphDatabase.driver(SERVER[0]) as driver:
        yield OwnStreams(Neo4jSnapshots(driver, seconds=SECONDS))


@pytest.fixture
def on_5(neo4j_5: str) -> None:
    SERVER[:] = [neo4j_5]


@pytest.fixture
def on_2026(neo4j_2026: str) -> None:
    SERVER[:] = [neo4j_2026]


# Each case makes labels of its own, so the server plans each statement anew and makes constraints again and again.
class Model(ModelContract):
    """A model against its contract, with the patience that this needs."""

    __test__ = False
    patience = 90
    rounds = 20
    model = staticmethod(model_of)
    probe = staticmethod(Probe)


@pytest.mark.contract
@pytest.mark.timeout(100)
@pytest.mark.usefixtures("on_5")
class TestOn5(Model):
    """The oldest version."""

    __test__ = True


@pytest.mark.contract
@pytest.mark.timeout(100)
@pytest.mark.usefixtures("on_2026")
class TestOn2026(Model):
    """The newest version."""

    __test__ = True


@pytest.mark.contract
@pytest.mark.usefixtures("on_5")
class TestSnapshotsOn5(SnapshotContract):
    """The oldest version."""

    snapshots = staticmethod(snapshots_of)


@pytest.mark.contract
@pytest.mark.usefixtures("on_2026")
class TestSnapshotsOn2026(SnapshotContract):
    """The newest version."""

    snapshots = staticmethod(snapshots_of)


class Scene(NamedTuple):
    """A projection with labels of its own, its log, and a database."""

    projection: Projection[AsyncTransaction]
    store: EventStore
    driver: AsyncDriver
    model: Neo4jModel

    @property
    def labels(self) -> tuple[str, str]:
        sums, added, _ = self.projection.owns
        return sums, added

    @property
    def type(self) -> str:
        return self.projection.owns[2].removeprefix("-[:").removesuffix("]->")

    async def query(self, statement: str, **values: Any) -> list[list[Any]]:
        return [record.values() for record in (await self.driver.execute_query(statement, values)).records]

    async def append(self, id: str, *values: int) -> Token:
        answer = await self.store.append(StreamId("n", id), numbers(*values), expected=ANY)
        return Token(answer.log_id, answer.position)

    def running(
        self, model: Neo4jModel | None = None, monitor: Monitor | None = None
    ) -> AbstractAsyncContextManager[None]:
        return running(self.projection, self.store, model or self.model, monitor=monitor, lease=LEASE)

    async def until(self, position: Token, model: Neo4jModel | None = None, *, seconds: float = 15) -> None:
        await wait_for(self.projection, model or self.model, position, timeout=seconds)

    async def commits(self) -> int:
        """Return how many commits are in the view."""
        [[found]] = await self.query(f"MATCH (n:{self.labels[0]}) RETURN coalesce(sum(n.commits), 0)")
        return int(found)

    async def edges(self) -> list[list[Any]]:
        pattern = f"(s:{self.labels[0]})-[r:{self.type}]->(n:{self.labels[1]})"
        return await self.query(f"MATCH {pattern} RETURN s.id, n.id, r.times ORDER BY s.id, n.id")


@asynccontextmanager
async def scene_at(url: str, **driver: Any) -> AsyncIterator[Scene]:
    async with open_store("memory://", CODEC) as store, AsyncGraphDatabase.driver(url, **driver) as opened:
        yield Scene(in_neo4j(uuid.uuid4().hex[:12]), store, opened, Neo4jModel(opened, transaction_seconds=SECONDS))


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.contract) for name in ("neo4j_5", "neo4j_2026")])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with scene_at(request.getfixturevalue(request.param)) as made:
        yield made


@pytest.fixture(params=[pytest.param(version, marks=pytest.mark.contract) for version in (NEO4J_5, NEO4J_2026)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Neo4jServer]:
    """A server of the test's own, with a password, not started."""
    made = Neo4jServer(request.param, tmp_path, auth=PASSWORD)
    yield made
    made.stop()


# ------------------------------------------------------------------------------------------------------------- fencing


async def nothing(tx: AsyncTransaction) -> None:
    """Change nothing."""


async def test_paused_holder(scene: Scene) -> None:
    """One that falls asleep in its transaction keeps others waiting only so long, and writes nothing when it wakes."""
    label = scene.labels[0]
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def create(tx: AsyncTransaction) -> None:
        await (await tx.run(f"CREATE (:{label} {{commits: 1}})")).consume()

    async def fall_asleep(tx: AsyncTransaction) -> None:
        await create(tx)
        asleep.set()
        await wake.wait()

    sleeper = Neo4jModel(scene.driver, transaction_seconds=1.0)
    key = scene.projection.name
    assert await scene.model.commit(key, b"0", expected=0, changes=nothing)
    sleeping = asyncio.create_task(sleeper.commit(key, b"asleep", expected=1, changes=fall_asleep))
    await asleep.wait()
    assert await scene.model.commit(key, b"awake", expected=1, changes=create)
    wake.set()
    with pytest.raises(ModelUnavailable, match="took too long"):
        await sleeping
    assert not await sleeper.commit(key, b"late", expected=1, changes=create)
    assert await scene.model.load(key) == (b"awake", 2)
    assert await scene.commits() == 1


async def test_waiting_ends(scene: Scene) -> None:
    """One that waits for another's transaction gives up after its time, to try again."""
    key = scene.projection.name
    assert await scene.model.commit(key, b"0", expected=0)
    async with scene.driver.session() as session, await session.begin_transaction() as tx:
        await tx.run("MATCH (r:ProjectionRecord {key: $key}) SET r.lock = ''", key=key)
        hasty = Neo4jModel(scene.driver, transaction_seconds=0.5)
        with pytest.raises(ModelUnavailable):
            await hasty.commit(key, b"1", expected=1)
    assert await hasty.commit(key, b"1", expected=1)


async def test_read(scene: Scene) -> None:
    """While a view is read nobody writes it, and its record says where it is; what is written so is not kept."""
    key = scene.projection.name
    hasty = Neo4jModel(scene.driver, transaction_seconds=0.5)

    async def look(tx: AsyncTransaction, record: Record | None) -> int:
        await tx.run(f"MATCH (n:{scene.labels[0]}) DETACH DELETE n")
        with pytest.raises(ModelUnavailable):
            await hasty.commit(key, None, expected=(await hasty.load(key) or (b"", 0))[1])
        return 0 if record is None else record.position

    async def none(tx: AsyncTransaction, record: Record | None) -> bool:
        return record is None

    assert await scene.model.read(key, none)
    last = await scene.append("1", 1)
    async with scene.running():
        await scene.until(last)
    assert await scene.model.read(key, look) == 1
    assert await scene.commits() == 1


async def test_record_is_read_whole(scene: Scene) -> None:
    """What is read while others write is one record and its own revision."""
    key = scene.projection.name
    writing = True

    async def write() -> None:
        nonlocal writing
        for number in range(200):
            assert await scene.model.commit(key, f"{number + 1}".encode() * 100, expected=number)
        writing = False

    async def read() -> None:
        while writing:
            if (found := await scene.model.load(key)) is not None:
                assert found.record == f"{found.revision}".encode() * 100

    await asyncio.gather(write(), read(), read(), read())


async def test_prepared_by_many(scene: Scene) -> None:
    """Many that set up and create the record at once end with one view and one record."""
    async with scene.running(), scene.running(), scene.running(), scene.running():
        await scene.until(await scene.append("1", 1))
    assert await scene.commits() == 1
    [[found]] = await scene.query("MATCH (r:ProjectionRecord {key: $key}) RETURN count(r)", key=scene.projection.name)
    assert found == 1


@pytest.mark.timeout(120)
async def test_effect_once(scene: Scene) -> None:
    """Whatever happens to its runner, the view is the same."""
    history = [(StreamId("n", f"{number % 3}"), numbers(*range(number % 4 + 1))) for number in range(11)]
    await effect_once(scene.projection, scene.model, history, codec=CODEC)


# ------------------------------------------------------------------------------------------------------------- reading


async def test_nothing_is_left_of_a_rebuild(scene: Scene) -> None:
    """After a rebuild its names have neither nodes nor relationships, nor constraints and indexes."""
    async with scene.running():
        await scene.until(await scene.append("1", 1, 2, 2))
    assert (await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)).swapped
    name = scene.model.naming(scene.projection.name, 1)
    names = [name(word) for word in (*scene.labels, scene.type)]
    assert await scene.query("MATCH (n) WHERE any(l IN labels(n) WHERE l IN $names) RETURN n", names=names) == []
    assert await scene.query("MATCH ()-[r]->() WHERE type(r) IN $names RETURN r", names=names) == []
    for what in ("CONSTRAINTS", "INDEXES"):
        found = await scene.query(
            f"SHOW {what} YIELD labelsOrTypes WHERE any(w IN labelsOrTypes WHERE w IN $names)", names=names
        )
        assert found == []
    assert await scene.edges() == [["1", 1, 1], ["1", 2, 2]]
    [[left]] = await scene.query(
        "SHOW CONSTRAINTS YIELD labelsOrTypes WHERE any(w IN labelsOrTypes WHERE w IN $names) RETURN count(*)",
        names=list(scene.labels),
    )
    assert left == 2


async def test_relationships_differ(scene: Scene) -> None:
    """A rebuild names relationships that are missing, too many, or changed, and puts them right."""
    sums, added = scene.labels
    async with scene.running():
        await scene.until(await scene.append("1", 1, 2, 3))
    await scene.query(f"MATCH (:{sums})-[r:{scene.type}]->(:{added} {{id: 1}}) DELETE r")
    await scene.query(f"MATCH (:{sums})-[r:{scene.type}]->(:{added} {{id: 2}}) SET r.times = 9")
    await scene.query(f"MATCH (s:{sums}), (n:{added} {{id: 3}}) CREATE (n)-[:{scene.type}]->(s)")
    found = (await rebuild(scene.projection, scene.store, scene.model, lease=LEASE)).difference

    def key(start: object, end: object) -> str:
        return json.dumps([scene.type, start, end])

    start = [sums, {"id": "1"}]
    assert found.added == (key(start, [added, {"id": 1}]),)
    assert found.changed == (key(start, [added, {"id": 2}]),)
    assert found.missing == (key([added, {"id": 3}], start),)
    assert await scene.edges() == [["1", 1, 1], ["1", 2, 1], ["1", 3, 1]]


async def entries(scene: Scene, owns: Sequence[str], name: Name = str) -> list[tuple[str, bytes]]:
    return sorted([entry async for entry in scene.model.entries(owns, name)])


async def test_entries(scene: Scene) -> None:
    """Each node comes once, by its first label; twins and parallel relationships count; values of all types do."""
    a, b = scene.labels
    owns = [a, b, f"-[:{scene.type}]->"]
    name = scene.model.naming(scene.projection.name, 1)
    for of in (str, name):
        await scene.query(
            f"CREATE (n:{of(a)}:{of(b)} {{id: 1, at: datetime('2026-01-02T03:04:05Z'), data: $data}}),"
            f" (:{of(b)} {{text: 'twin'}}), (:{of(b)} {{text: 'twin'}}), (m:{of(b)} {{id: 2}}),"
            f" (n)-[:{of(scene.type)} {{x: 1}}]->(m), (n)-[:{of(scene.type)} {{x: 2}}]->(m),"
            f" (n)-[:{of(scene.type)}]->(:Foreign {{text: 'else'}})",
            data=b"\0\1",
        )
    found = await entries(scene, owns)
    assert found == await entries(scene, owns, name)
    assert len({key for key, _ in found}) == len(found) == 6
    values = dict(found)
    of_node = json.loads(values[f'["{a}", {{"id": 1}}]'])
    assert (of_node["labels"], of_node["properties"]["data"]) == (sorted([a, b]), "0001")
    assert json.loads(values[json.dumps([scene.type, [a, {"id": 1}], [b, {"id": 2}]])]) == [{"x": 1}, {"x": 2}]
    await scene.query(f"MATCH (n:{a}) SET n.at = datetime('2026-01-02T03:04:06Z')")
    assert found != await entries(scene, owns)


# -------------------------------------------------------------------------------------------------------------- faults


async def test_mistakes(scene: Scene) -> None:
    """A mistake in a statement comes out as the driver's error, and nothing was written."""

    async def unreadable(tx: AsyncTransaction) -> None:
        await tx.run("CREATE NODE")

    async def twice(tx: AsyncTransaction) -> None:
        await tx.run("MATCH (r:ProjectionRecord {key: $key}) CREATE (:ProjectionRecord {key: r.key})", key=key)

    key = scene.projection.name
    assert await scene.model.commit(key, b"0", expected=0)
    with pytest.raises(ClientError, match="SyntaxError"):
        await scene.model.commit(key, b"1", expected=1, changes=unreadable)
    with pytest.raises(ConstraintError):
        await scene.model.commit(key, b"1", expected=1, changes=twice)
    assert await scene.model.load(key) == (b"0", 1)


async def test_no_such_database(scene: Scene) -> None:
    """A database that is not there is refused, with what to do."""
    model = Neo4jModel(scene.driver, database="elsewhere")
    with pytest.raises(ModelRefused, match="no such database: create it"):
        await model.load("x")
    with pytest.raises(StoreUnavailable, match="no such database"):
        await Neo4jSnapshots(scene.driver, database="elsewhere").save(_snapshot(1))


@pytest.mark.timeout(120)
async def test_wrong_password(server: Neo4jServer) -> None:
    """A wrong password is refused without showing it, and health says so."""
    server.start()
    await asyncio.to_thread(server.wait)
    wrong = "wrong-horse"
    async with scene_at(server.url, auth=("neo4j", wrong)) as scene:
        with pytest.raises(ModelRefused, match="wrong user or password") as found:
            await scene.model.load("x")
        for word in (wrong, f"{server.port}", "127.0.0.1"):
            assert word not in f"{found.value}"
        monitor = Monitor()
        async with scene.running(monitor=monitor):
            await until_unavailable(scene, monitor)
        assert "wrong user or password" in monitor.health(scene.projection.name).trouble


async def until_unavailable(scene: Scene, monitor: Monitor) -> None:
    async with asyncio.timeout(10):
        while True:
            if monitor.health(scene.projection.name).state == "unavailable":
                return
            await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
async def test_server_goes_and_comes(server: Neo4jServer) -> None:
    """A runner that begins before its server goes on when the server is there, and again after it was killed."""
    monitor = Monitor()
    async with scene_at(server.url, auth=("neo4j", PASSWORD)) as scene, scene.running(monitor=monitor):
        first = await scene.append("1", 1)
        await until_unavailable(scene, monitor)
        server.start()
        await asyncio.to_thread(server.wait)
        await scene.until(first, seconds=30)
        server.kill()
        second = await scene.append("1", 2)
        await until_unavailable(scene, monitor)
        server.start()
        await asyncio.to_thread(server.wait)
        await scene.until(second, seconds=30)
        assert await scene.commits() == 2
        assert monitor.health(scene.projection.name).state == "running"


class Agent(NamedTuple):
    agent: str


class OldServer:
    """A driver as it is with a server that says it is another one."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    async def get_server_info(self) -> Agent:
        return Agent(self._agent)


@pytest.mark.parametrize("agent", ["Neo4j/5.25.1", "Neo4j/4.4.0", "Neo4j/dev", "Memgraph/3"])
async def test_too_old(agent: str) -> None:
    """A server that is too old, or another one, is refused."""
    driver: Any = OldServer(agent)
    with pytest.raises(ModelRefused, match=f"needs Neo4j 5.26 or later, found {agent}: upgrade"):
        await Neo4jModel(driver).load("x")
    with pytest.raises(StoreUnavailable, match=r"needs Neo4j 5\.26"):
        await Neo4jSnapshots(driver).save(_snapshot(1))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Neo.TransientError.Transaction.DeadlockDetected", ModelUnavailable),
        ("Neo.TransientError.General.DatabaseUnavailable", ModelUnavailable),
        ("Neo.TransientError.General.MemoryPoolOutOfMemoryError", None),
        ("Neo.DatabaseError.Transaction.TransactionCommitFailed", ModelUnavailable),
        ("Neo.DatabaseError.General.UnknownError", None),
        ("Neo.ClientError.Cluster.NotALeader", ModelUnavailable),
        ("Neo.ClientError.Transaction.TransactionTimedOut", ModelUnavailable),
        ("Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", ModelUnavailable),
        ("Neo.ClientError.Transaction.LockClientStopped", ModelUnavailable),
        ("Neo.ClientError.Transaction.ForbiddenDueToTransactionType", None),
        ("Neo.ClientError.Security.AuthorizationExpired", ModelUnavailable),
        ("Neo.ClientError.Security.Unauthorized", ModelRefused),
        ("Neo.ClientError.Security.CredentialsExpired", ModelRefused),
        ("Neo.ClientError.Security.Forbidden", ModelRefused),
        ("Neo.ClientError.Security.Another", ModelRefused),
        ("Neo.ClientError.Database.DatabaseNotFound", ModelRefused),
        ("Neo.ClientError.General.ForbiddenOnReadOnlyDatabase", ModelRefused),
        ("Neo.ClientError.Statement.SyntaxError", None),
        ("Neo.ClientError.Schema.ConstraintValidationFailed", None),
    ],
)
def test_codes(code: str, kind: type[Exception] | None) -> None:
    """Errors are told apart by their codes, and what the server says is not repeated."""
    fault = fault_of(Neo4jError._hydrate_neo4j(code=code, message="MATCH (secret) at 10.0.0.1"))
    assert type(fault) is (kind or type(None))
    assert "secret" not in f"{fault}"


def test_driver_errors() -> None:
    """A server that does not answer may come back; one without a common protocol is refused."""
    assert type(fault_of(ServiceUnavailable("10.0.0.1"))) is ModelUnavailable
    assert type(fault_of(UnsupportedServerProduct("10.0.0.1"))) is ModelRefused
    assert "10.0.0.1" not in f"{fault_of(ServiceUnavailable('10.0.0.1'))}"


@pytest.mark.parametrize("owned", ["a b", "", "-[:A]-", ":A", "-[:A]->(x)", "A`", "*"])
async def test_owned_names(owned: str) -> None:
    """What is neither a label nor a relationship type is refused."""
    driver: Any = OldServer("")
    with pytest.raises(InvalidInput, match="labels as Order and types as"):
        await Neo4jModel(driver).clearing(["Fine", owned], str)


# ----------------------------------------------------------------------------------------------------------- snapshots


async def test_snapshots_kept(scene: Scene) -> None:
    """So many snapshots of a stream are kept, of the newest versions; other streams lose nothing."""
    stream, other = (StreamId("kept", f"{uuid.uuid4()}") for _ in range(2))
    store = Neo4jSnapshots(scene.driver, keep=3, seconds=SECONDS)
    await store.save(_snapshot(1, stream=other))
    for version in (1, 5, 2, 9, 7, 8):
        await store.save(_snapshot(version, stream=stream))
    found = await scene.query("MATCH (s:ContextSnapshot {id: $id}) RETURN s.version ORDER BY s.version", id=stream.id)
    assert found == [[7], [8], [9]]
    assert len(await scene.query("MATCH (s:ContextSnapshot {id: $id}) RETURN s", id=other.id)) == 1


async def test_an_old_snapshot_is_kept_once(scene: Scene) -> None:
    """A snapshot of an old version is found until the next one is saved."""
    stream = StreamId("kept", f"{uuid.uuid4()}")
    store = Neo4jSnapshots(scene.driver, keep=2, seconds=SECONDS)
    for version in (8, 9, 1):
        await store.save(_snapshot(version, stream=stream))
    found = await scene.query("MATCH (s:ContextSnapshot {id: $id}) RETURN s.version ORDER BY s.version", id=stream.id)
    assert found == [[1], [9]]


@pytest.mark.parametrize("other", [{"log_id": "other"}, {"tag": "other"}])
async def test_snapshots_of_others(scene: Scene, other: dict[str, str]) -> None:
    """What is left of another log or tag makes room, however high its versions are."""
    stream = StreamId("kept", f"{uuid.uuid4()}")
    store = Neo4jSnapshots(scene.driver, keep=3, seconds=SECONDS)
    for version in (7, 8, 9):
        await store.save(_snapshot(version, stream=stream, **other))
    for version in (1, 2, 3):
        await store.save(_snapshot(version, stream=stream))
    found = await scene.query("MATCH (s:ContextSnapshot {id: $id}) RETURN s.version ORDER BY s.version", id=stream.id)
    assert found == [[1], [2], [3]]


def test_keeps_none() -> None:
    """To keep no snapshot is refused."""
    driver: Any = OldServer("")
    with pytest.raises(InvalidInput, match="keep"):
        Neo4jSnapshots(driver, keep=0)
