"""A long story and its snapshots, wherever they are kept: any moment is near one, and losing them loses nothing."""

from __future__ import annotations

import random
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import pytest
from context_service import snapshots, story
from context_service.commands import CasePayload, Change, DecisionPayload, UpdateStory
from context_service.policy import Policy
from context_service.selection import select
from context_service.snapshots import open_snapshots
from context_service.stories import Stories, codec
from context_service.text import render
from eventstore import AtVersion, EventStore, MemorySnapshots, Metadata, Occurred, Recorded, StreamId
from eventstore.memory import MemoryBackend
from msgspec import structs
from neo4j import AsyncGraphDatabase
from valkey.asyncio import Valkey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eventstore import Folded, SnapshotStore, Until
    from google.protobuf.message import Message

    from tests.context.conftest import Clock

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]

# ------------------------------------------------------------------------------------------------------- a long story

EVENTS: Final = 10_000
DECISIONS: Final = 40
AT_ONCE: Final = 7
#: Facts are told so long after they occurred, give or take some.
LATE: Final = timedelta(days=365)
EVERY: Final = 100

EVOLVE: Final = story.evolve


class Counter:
    """Counts the events that are folded."""

    def __init__(self) -> None:
        self.events = 0

    def evolve(self, state: story.Story, event: Message) -> story.Story:
        self.events += 1
        return EVOLVE(state, event)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """A counter for stories that are opened from now on."""
    counter = Counter()
    monkeypatch.setattr(story, "evolve", counter.evolve)
    return counter


class Answer(NamedTuple):
    """What is told of a story at a moment."""

    version: int
    digest: str
    text: str


class Reached(NamedTuple):
    """A story at the end of one of its commits."""

    version: int
    recorded: datetime
    latest: datetime
    state: story.Story

    def within(self, moment: Until | None) -> bool:
        match moment:
            case AtVersion(version):
                return self.version <= version
            case Recorded(at):
                return self.recorded <= at
            case Occurred(at):
                return self.latest <= at
        return True


class LongStory:
    """A story and its clocks, which move a second a commit."""

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self.id = f"S-{uuid.uuid4()}"
        self.store = store
        self.clock = clock
        self.written = 0

    async def grow(self, stories: Stories, events: int) -> None:
        """Carry out commands until there are so many events more."""
        wanted = (await self.store.tail(stories.stream(self.id))).version + events
        while await self._command(stories) < wanted:
            pass

    async def _command(self, stories: Stories) -> int:
        self.clock.now += 1_000_000
        changes = [self._change() for _ in range(AT_ONCE)]
        if self.written == AT_ONCE:
            changes.insert(0, _change("CREATE", "CASE", self.id, CasePayload(title="Long")))
        # Every third fact occurred before one that is known already.
        occurred = self.now - LATE - timedelta(seconds=5 * (self.written % 3))
        done = await stories.update(
            UpdateStory(self.id, tuple(changes), "ann", self.now),
            expected_version=None,
            idempotency_key=f"request {self.written}",
            metadata=Metadata(),
            occurred_at=occurred,
        )
        return done.version

    def _change(self) -> Change:
        number, self.written = self.written, self.written + 1
        payload = DecisionPayload(title=f"Decision {number}")
        return _change("CREATE" if number < DECISIONS else "UPDATE", "DECISION", f"D-{number % DECISIONS}", payload)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now / 1_000_000, UTC)

    async def moments(self, chance: random.Random) -> list[Until | None]:
        """Return now and moments of the past: the middle and some more, on each clock."""
        version = (await self.store.tail(StreamId(story.CATEGORY, self.id))).version
        span = timedelta(seconds=self.written // AT_ONCE)
        parts = [0.5, *(chance.uniform(0.01, 1.0) for _ in range(5))]
        return [
            None,
            *(AtVersion(round(version * part)) for part in parts),
            *(Recorded(self.now - span * part) for part in parts),
            *(Occurred(self.now - LATE - span * part) for part in parts),
        ]

    async def replayed(self, moments: Sequence[Until | None]) -> list[Answer]:
        """Return what is to be told of moments, worked out from all events one by one."""
        reached: list[Reached] = []
        known = story.EMPTY
        async for commit in self.store.commits(StreamId(story.CATEGORY, self.id)):
            for event in commit.events:
                known = EVOLVE(known, event.message)
                latest = max(event.occurred_at, reached[-1].latest if reached else event.occurred_at)
            reached.append(Reached(commit.version, commit.recorded_at, latest, known))
        return [_told(self.id, [step for step in reached if step.within(moment)][-1]) for moment in moments]

    async def told(self, stories: Stories, until: Until | None) -> Answer:
        """Return what stories tell."""
        found = await stories.ask(self.id, until)
        return _told(self.id, found)


def _told(story_id: str, found: Reached | Folded[story.Story]) -> Answer:
    selection = select(found.state, Policy.load().scopes("DESIGN", "architect"), role="architect")
    text = render(story_id, selection, role="architect", phase="DESIGN", budget=100_000).text
    return Answer(found.version, story.content_hash(found.state), text)


def _change(operation: str, kind: str, id: str, payload: Any) -> Change:
    return Change("changes", operation, kind, id, payload, {}, "because")


@pytest.fixture
async def long_story(clock: Clock) -> AsyncIterator[LongStory]:
    async with EventStore(MemoryBackend(clock=clock), codec) as store:
        yield LongStory(store, clock)


# ------------------------------------------------------------------------------------------------------------- places


class Place(Protocol):
    """Where snapshots are kept, and ways around the service to those of a story."""

    async def wipe(self, story_id: str) -> None: ...

    async def damage(self, story_id: str) -> None: ...


class InMemory:
    """Memory."""

    def __init__(self, store: SnapshotStore) -> None:
        assert isinstance(store, MemorySnapshots)
        self._kept = store._kept

    async def wipe(self, story_id: str) -> None:
        self._kept.clear()

    async def damage(self, story_id: str) -> None:
        for kept in self._kept.values():
            kept.update({version: structs.replace(found, state=b"\xc1") for version, found in kept.items()})


class InSqlite:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def wipe(self, story_id: str) -> None:
        self._change("DELETE FROM snapshots")

    async def damage(self, story_id: str) -> None:
        self._change("UPDATE snapshots SET state = x'c1'")

    def _change(self, statement: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            assert connection.execute(statement).rowcount > 0


class InValkey:
    """A database of a Valkey."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def wipe(self, story_id: str) -> None:
        async with Valkey.from_url(self._url) as client:
            await client.flushdb()

    async def damage(self, story_id: str) -> None:
        async with Valkey.from_url(self._url) as client:
            async for key in client.scan_iter(match="snapshot:*"):
                await client.hset(key, mapping=dict.fromkeys(await client.hkeys(key), b"\xc1"))


class InNeo4j:
    """A Neo4j that others use too."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def wipe(self, story_id: str) -> None:
        await self._change("MATCH (s:ContextSnapshot {id: $id}) DELETE s", story_id)

    async def damage(self, story_id: str) -> None:
        await self._change("MATCH (s:ContextSnapshot {id: $id}) SET s.state = 'alien' REMOVE s.commits", story_id)

    async def _change(self, statement: str, story_id: str) -> None:
        async with AsyncGraphDatabase.driver(self._url) as driver:
            await driver.execute_query(statement, id=story_id)


PLACES: Final = ("memory", "sqlite", "valkey", "neo4j_5", "neo4j_2026")


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting."""
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{tmp_path}/snapshots.db"
        case "valkey":
            return f"{request.getfixturevalue('valkey')}/8"
        case name:
            found: str = request.getfixturevalue(name)
            return found


@pytest.fixture
async def kept(url: str, long_story: LongStory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SnapshotStore]:
    """The place, as the service opens it; on a busy machine it may take its time."""
    monkeypatch.setattr(snapshots, "PATIENCE_SECONDS", 60.0)
    async with open_snapshots(url, long_story.store.backend) as store:
        yield store


@pytest.fixture
async def place(url: str, kept: SnapshotStore, long_story: LongStory) -> AsyncIterator[Place]:
    """Ways around the service; nothing is left behind."""
    place: Place
    match url.partition(":")[0]:
        case "memory":
            place = InMemory(kept)
        case "sqlite":
            place = InSqlite(Path(url.removeprefix("sqlite:///")))
        case "valkey":
            place = InValkey(url)
        case _:
            place = InNeo4j(url)
    yield place
    await place.wipe(long_story.id)


# -------------------------------------------------------------------------------------------------------------- tests


async def ask(
    long_story: LongStory, moments: Sequence[Until | None], store: SnapshotStore, folded: Counter
) -> tuple[list[Answer], int]:
    """Ask of each moment a process that has just started; return the answers, and the most events folded for one."""
    answers, most = [], 0
    for moment in moments:
        before = folded.events
        answers.append(await long_story.told(Stories(long_story.store, store, every=EVERY), moment))
        most = max(most, folded.events - before)
    return answers, most


async def test_few_are_folded(long_story: LongStory, kept: SnapshotStore, place: Place, folded: Counter) -> None:
    """For any moment fewer events are folded than lie between two snapshots, and the answer is that of a replay.

    So it stays as commands go on, and after all snapshots were lost.
    """
    chance = random.Random(1)
    for events in (EVENTS, 3 * EVERY):
        await long_story.grow(Stories(long_story.store, kept, every=EVERY), events)
        moments = await long_story.moments(chance)
        expected = await long_story.replayed(moments)
        found, most = await ask(long_story, moments, kept, folded)
        assert found == expected
        assert most < EVERY

    await place.wipe(long_story.id)
    found, most = await ask(long_story, moments, kept, folded)
    assert found == expected
    assert most >= EVENTS
    found, most = await ask(long_story, moments, kept, folded)
    assert found == expected
    assert most < EVERY


async def test_damaged(long_story: LongStory, kept: SnapshotStore, place: Place, folded: Counter) -> None:
    """Damaged snapshots are not believed, and are replaced by those who fold past them."""
    await long_story.grow(Stories(long_story.store, kept, every=EVERY), 1_000)
    moments = await long_story.moments(random.Random(1))
    expected = await long_story.replayed(moments)
    await place.damage(long_story.id)
    found, most = await ask(long_story, moments, kept, folded)
    assert found == expected
    assert most >= 1_000
    found, most = await ask(long_story, moments, kept, folded)
    assert found == expected
    assert most < EVERY


async def test_of_another_log(long_story: LongStory, kept: SnapshotStore, place: Place, clock: Clock) -> None:
    """A story of the same name in another log has snapshots of its own in the same place."""
    del place
    await long_story.grow(Stories(long_story.store, kept), 300)
    async with EventStore(MemoryBackend(clock=clock), codec) as store:
        other = LongStory(store, clock)
        other.id = long_story.id
        await other.grow(Stories(store, kept), 200)
        for each in (long_story, other):
            assert [await each.told(Stories(each.store, kept), None)] == await each.replayed([None])
