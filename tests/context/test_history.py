"""Old events among new ones: what they mean, and that nothing of what they say is lost."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from context_service.contexts import Contexts, context_of
from context_service.demo import FIRST_PROGRAMS, FirstPrograms, import_old_and_new
from context_service.events.v1 import events_pb2 as pb
from context_service.events.v1 import history_pb2
from context_service.history import alternatives_in, decision_with_list_and_state, subtask_in_states
from context_service.stories import Stories, codec
from context_service.story import content_hash
from context_service.views import open_views, projecting
from context_service.words import DECISION_STATUSES, SUBTASK_STATUSES
from eventstore import (
    Codec,
    EventStore,
    InvalidInput,
    MemorySnapshots,
    Occurred,
    Payload,
    StreamId,
    event_name,
    open_store,
)
from eventstore.memory import MemoryBackend
from hypothesis import given
from hypothesis import strategies as st
from projections import Monitor

from tests.context.conftest import PEPS
from tests.context.test_graph import write_history
from tests.context.test_peps import LINES, differences
from tests.context.test_views import settled

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from google.protobuf.message import Message

    from tests.context.conftest import Imported

DECISION = "fleet.context.events.v1.DecisionAddedEvent"
SUBTASK = "fleet.context.events.v1.SubtaskUpdatedEvent"
ACCEPTED = pb.DecisionAddedEvent(
    decision_id="D-1",
    title="Keep Redis",
    rationale="r",
    status=pb.APPROVED,
    status_text="Accepted",
    kind="k",
    decided_by="ann",
    decided_at={"seconds": 5},
    alternatives=["drop it", "; keep\nboth"],
    attributes={"a": "1"},
    reason="why",
)
STARTED = pb.SubtaskUpdatedEvent(
    subtask_id="T-1",
    status="in_progress",
    title="",
    depends_on=pb.Texts(values=["T-0"]),
    attributes={"a": "1"},
    reason="why",
)
AS_DEVELOPED = (
    "0a03442d31120a4b6565702052656469731a017220022a08416363657074656432016b3a03616e6e420208054a0764726f702069744a0b3b20"
    "6b6565700a626f746872060a01611201317a03776879"
)
AT_FIRST = (
    "0a03442d31120a4b6565702052656469731a01722a08416363657074656432016b3a03616e6e420208055219312e2064726f702069740a322e"
    "203b206b6565700a626f746872060a01611201317a03776879"
)
STARTED_TODAY = "0a03542d311a003a0b696e5f70726f677265737342050a03542d3072060a01611201317a03776879"
STARTED_AT_FIRST = "0a03542d311a003a0b494e5f50524f475245535342050a03542d3072060a01611201317a03776879"


class TestStored:
    """What logs hold, byte for byte."""

    @pytest.mark.parametrize(
        ("schema", "payload"), [(2, AS_DEVELOPED), (1, AS_DEVELOPED), (1, AT_FIRST)], ids=["2", "1", "1 at first"]
    )
    def test_decision(self, schema: int, payload: str) -> None:
        """A decision of schema 2, and of 1 as the development versions and the first writers stored it, is the same."""
        assert list(codec.decode(Payload(DECISION, schema, bytes.fromhex(payload)))) == [ACCEPTED]

    @pytest.mark.parametrize(
        ("schema", "payload"),
        [(2, STARTED_TODAY), (1, STARTED_TODAY), (1, STARTED_AT_FIRST)],
        ids=["2", "1", "1 at first"],
    )
    def test_subtask(self, schema: int, payload: str) -> None:
        """So is what changed of a subtask."""
        assert list(codec.decode(Payload(SUBTASK, schema, bytes.fromhex(payload)))) == [STARTED]

    def test_written(self) -> None:
        """Today's program writes schema 2 alone, under the names of ever; the demo's first programs wrote schema 1."""
        assert codec.encode(ACCEPTED) == Payload(DECISION, 2, bytes.fromhex(AS_DEVELOPED))
        assert codec.encode(STARTED) == Payload(SUBTASK, 2, bytes.fromhex(STARTED_TODAY))
        assert FirstPrograms().encode(ACCEPTED) == Payload(DECISION, 1, bytes.fromhex(AT_FIRST))
        assert FirstPrograms().encode(STARTED) == Payload(SUBTASK, 1, bytes.fromhex(STARTED_AT_FIRST))
        for old in (history_pb2.DecisionAddedV1(), history_pb2.SubtaskUpdatedV1()):
            with pytest.raises(InvalidInput):
                codec.encode(old)

    @pytest.mark.parametrize(
        ("old", "new", "other", "later"),
        [
            (history_pb2.DecisionAddedV1, pb.DecisionAddedEvent, {("alternatives_text", 10)}, {("task_id", 11)}),
            (history_pb2.SubtaskUpdatedV1, pb.SubtaskUpdatedEvent, set(), set()),
        ],
    )
    def test_same_fields(
        self, old: type[Message], new: type[Message], other: set[tuple[str, int]], later: set[tuple[str, int]]
    ) -> None:
        """Beside what a step translates, the old message has the new one's fields, so that their bytes carry over.

        What came later has a number that the old message never had.
        """
        before = {(field.name, field.number, field.type) for field in old.DESCRIPTOR.fields}
        after = {(field.name, field.number, field.type) for field in new.DESCRIPTOR.fields}
        assert {(name, number) for name, number, _ in before - after} == other
        assert {(name, number) for name, number, _ in after - before} == later
        assert not {number for _, number in later} & {number for _, number, _ in before}
        assert event_name(old) == (event_name(new)[0], 1)


class TestAlternatives:
    """One text becomes a list."""

    @pytest.mark.parametrize(
        ("text", "alternatives"),
        [
            ("", []),
            ("  \n ", []),
            ("Redis", ["Redis"]),
            ("Redis, or Valkey and a cache", ["Redis, or Valkey and a cache"]),
            ("Redis; Valkey ;; a dict;", ["Redis", "Valkey", "a dict"]),
            ("Redis\nValkey; with TLS\n\n  a dict\n", ["Redis", "Valkey; with TLS", "a dict"]),
            ("- Redis\n- Valkey\n  with TLS\n* a dict", ["Redis", "Valkey\n  with TLS", "a dict"]),
            ("• Redis\n• Valkey", ["Redis", "Valkey"]),
            ("1. Redis\n2. Valkey,\n   from 1. to 9.\n3. a dict", ["Redis", "Valkey,\n   from 1. to 9.", "a dict"]),
            ("1) Redis; 2) Valkey", ["Redis", "Valkey"]),
            ("(1) Redis (2) Valkey", ["Redis", "Valkey"]),
            ("1. Redis 2. Valkey", ["Redis", "Valkey"]),
            ("3. Redis\n4. Valkey", ["3. Redis", "4. Valkey"]),
            ("1. Redis\n1. Valkey", ["1. Redis", "1. Valkey"]),
            ("Python 2. or 3.", ["Python 2. or 3."]),
            ("We looked at\n- Redis\n- Valkey", ["We looked at", "- Redis", "- Valkey"]),
            ("-1 degree", ["-1 degree"]),
        ],
    )
    def test_examples(self, text: str, alternatives: list[str]) -> None:
        """By bullets, by numbers that count from 1, by lines, by semicolons; else it stays one."""
        assert alternatives_in(text) == alternatives

    @given(st.text(st.sampled_from("ab 12.)(;-*•\n\t\r")))
    def test_nothing_is_lost(self, text: str) -> None:
        """Every letter of the text is in one alternative, in its place."""
        told = "".join("".join(alternatives_in(text)).split())
        letters = iter(told)
        assert all(letter in letters for letter in text if letter.isalpha())
        assert all(alternatives_in(text))

    @given(st.lists(st.text(st.characters(exclude_categories=["C", "Z", "N"], exclude_characters=";"), min_size=1)))
    def test_numbered(self, alternatives: list[str]) -> None:
        """A list that was numbered, one a line, is the list again."""
        numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(alternatives, 1))
        assert alternatives_in(numbered) == alternatives


class TestStatus:
    """Any word becomes a state."""

    @pytest.mark.parametrize(
        ("text", "status", "kept"),
        [
            *((status, status, "") for status in DECISION_STATUSES),
            ("approved", "APPROVED", "approved"),
            (" Final ", "IMPLEMENTED", " Final "),
            ("April Fool!", "REJECTED", "April Fool!"),
            ("to be seen", "PROPOSED", "to be seen"),
            ("", "PROPOSED", ""),
        ],
    )
    def test_decision(self, text: str, status: str, kept: str) -> None:
        """The nearest state stands for free text, which stays where it says anything else."""
        new = decision_with_list_and_state(history_pb2.DecisionAddedV1(status_text=text))
        assert (pb.DecisionStatus.Name(new.status), new.status_text) == (status, kept)

    @pytest.mark.parametrize("text", ["", "Draft", "APPROVED"])
    def test_decision_as_developed(self, text: str) -> None:
        """The state that a development version stored stays, and so do the words beside it."""
        new = decision_with_list_and_state(history_pb2.DecisionAddedV1(status=pb.REJECTED, status_text=text))
        assert new == pb.DecisionAddedEvent(status=pb.REJECTED, status_text=text)

    @pytest.mark.parametrize("status", SUBTASK_STATUSES)
    def test_subtask(self, status: str) -> None:
        """Every state is known in upper case, with blanks and with hyphens."""
        for word in (status, status.upper(), status.title().replace("_", " "), f" {status.replace('_', '-')}\n"):
            new = subtask_in_states(history_pb2.SubtaskUpdatedV1(subtask_id="T", status=word))
            assert new == pb.SubtaskUpdatedEvent(subtask_id="T", status=status)

    def test_no_state(self) -> None:
        """A word that is no state leaves the state as it was, and is kept."""
        new = subtask_in_states(history_pb2.SubtaskUpdatedV1(subtask_id="T", status='"parked"', title="t"))
        assert new == pb.SubtaskUpdatedEvent(subtask_id="T", title="t", attributes={"status_text": '"\\"parked\\""'})

    def test_own_attribute(self) -> None:
        """What the event itself says under the attribute's name is not overwritten by the word."""
        old = history_pb2.SubtaskUpdatedV1(subtask_id="T", status="parked", attributes={"status_text": '"mine"'})
        assert subtask_in_states(old) == pb.SubtaskUpdatedEvent(subtask_id="T", attributes={"status_text": '"mine"'})

    def test_no_status(self) -> None:
        """What says nothing of the status leaves it."""
        assert not subtask_in_states(history_pb2.SubtaskUpdatedV1(title="t")).HasField("status")


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize(
    ("then", "kept"),
    [
        ({"status": "done"}, {"a": "1"}),
        ({"status": "done", "attributes": {"status_text": '"Ann: ok"'}}, {"a": "1", "status_text": '"Ann: ok"'}),
        ({"title": "t"}, {"a": "1", "status_text": '"parked"'}),
    ],
)
async def test_a_word_goes_with_its_status(schema: int, then: dict[str, Any], kept: dict[str, str]) -> None:
    """A later status that is understood, of whichever schema, takes the word for the earlier one away; nothing else."""
    story = StreamId("story", "S-1")
    parked = history_pb2.SubtaskUpdatedV1(subtask_id="T", status="parked", attributes={"a": "1"})
    later = (history_pb2.SubtaskUpdatedV1 if schema == 1 else pb.SubtaskUpdatedEvent)(subtask_id="T", **then)
    async with EventStore(MemoryBackend(), Codec(pb, history_pb2)) as store:
        begun = [pb.ContextCreatedEvent(title="Login"), pb.SubtaskAddedEvent(subtask_id="T", status="todo")]
        await store.append(story, [*begun, parked, later], expected=0)
        subtask = (await Stories(EventStore(store.backend, codec), MemorySnapshots()).ask("S-1")).state.subtasks["T"]
    assert (subtask.status, subtask.attributes) == (then.get("status", "todo"), kept)


async def test_snapshots() -> None:
    """What a program without the steps has folded and kept is not read by one that has them."""
    snapshots = MemorySnapshots()
    async with EventStore(MemoryBackend(), FirstPrograms()) as store:
        story = StreamId("story", "S-1")
        await store.append(story, [pb.ContextCreatedEvent(title="Login"), ACCEPTED], expected=0)
        without = Stories(EventStore(store.backend, Codec(pb, history_pb2)), snapshots, every=1)
        assert not (await without.ask("S-1")).state.decisions
        today = Stories(EventStore(store.backend, codec), snapshots, every=1)
        assert set((await today.ask("S-1")).state.decisions) == {"D-1"}


async def told(stories: Stories, moments: Iterable[datetime] = ()) -> dict[str, Any]:
    """Return what is told of every story, now and at the moments that knew it."""
    found: dict[str, Any] = {}
    contexts = Contexts()
    async for info in stories.store.streams("story"):
        id = info.stream.id
        folded = await stories.ask(id)
        found[id] = (content_hash(folded.state), folded.version, folded.position)
        for at in moments:
            if (await stories.fold(id, Occurred(at))).state.exists:
                context = await context_of(stories, id, Occurred(at), contexts=contexts, role="architect")
                found[f"{id} at {at}"] = (context.text, context.version, context.hash)
    return found


async def views_of(stories: Stories, graph: str = "") -> list[str]:
    """Return the digests of the graph and the cache."""
    async with open_views(stories, graph=graph) as views, projecting(views, Monitor()):
        return await settled(stories, views)


async def stored(store: EventStore, type: str) -> list[int]:
    """Return the schemas in which events of a type are stored, in order."""
    raw = [event.raw async for commit in store.log() for event in commit.events]
    return [one.schema for one in raw if one.type == type]


@pytest.mark.timeout(60)
async def test_peps(imported: Imported, tmp_path: Path) -> None:
    """A log that the first programs began tells all that one of today alone tells: states, contexts, graph, cache."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = [datetime.fromtimestamp(random.Random(seed).choice(LINES)["ts"], UTC) for _ in range(8)]
    async with EventStore(MemoryBackend(), codec) as store, open_store(imported.url, codec) as other:
        stories, today = Stories(store, MemorySnapshots()), Stories(other, MemorySnapshots())
        begun, rest = await import_old_and_new(stories, PEPS, progress=lambda done, total: None)
        assert (begun.written + rest.written, rest.already_there) == (3_406, begun.written)
        before = {line["pep"] for line in LINES if line["ts"] < FIRST_PROGRAMS.timestamp()}
        assert await stored(store, DECISION) == [1] * len(before) + [2] * (741 - len(before))
        assert set(await stored(other, DECISION)) == {2}
        assert await differences(stories, seed) == []
        assert await told(stories, moments) == await told(today, moments)
        assert await views_of(stories) == await views_of(today, f"sqlite:///{tmp_path}/graph.db")


WORDS = {
    pb.PROPOSED: ["", "Draft", "on the table"],
    pb.APPROVED: ["", "Accepted", "approved"],
    pb.REJECTED: ["", "Withdrawn"],
}
ALTERNATIVES = ["Redis", "a dict; a list", "nothing,\nfor now", "2 of them"]


def richer(chance: random.Random, event: Message) -> Message:
    """Give a decision a status in words and alternatives."""
    if isinstance(event, pb.DecisionAddedEvent):
        event.status_text = chance.choice(WORDS[event.status])
        event.alternatives.extend(chance.sample(ALTERNATIVES, chance.randint(0, 3)))
    return event


@pytest.mark.parametrize("seed", range(4))
async def test_random_histories(seed: int) -> None:
    """So does any log that old and new programs write in turns, with the subtasks and alternatives that PEPs lack."""
    chance = random.Random(seed)
    async with (
        open_store("memory://", codec) as made,
        EventStore(MemoryBackend(clock=lambda: 0), codec) as mixed,
        EventStore(MemoryBackend(clock=lambda: 0), codec) as today,
    ):
        await write_history(made, chance, 150)
        old = EventStore(mixed.backend, FirstPrograms())
        async for commit in made.log():
            news = [richer(chance, event.message) for event in commit.events]
            for store in (today, chance.choice([old, mixed])):
                await store.append(commit.stream, news, expected=commit.first_version - 1)
        for type in (DECISION, SUBTASK):
            assert set(await stored(mixed, type)) == {1, 2}
        stories = [Stories(store, MemorySnapshots()) for store in (mixed, today)]
        assert await told(stories[0]) == await told(stories[1])
        assert await views_of(stories[0]) == await views_of(stories[1])
