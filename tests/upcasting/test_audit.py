"""Audits: what a log really holds, and what of it a program cannot read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, NO_STREAM, Codec, EventStore, NewCommit, Payload, Position, StreamId, open_store
from eventstore.memory import MemoryBackend
from eventstore.v1 import envelope_pb2
from upcasting import Audit, Corrupt, Held, Newer, Policy, Unreadable, Upcasting, audit

from tests.eventstore.nats_servers import new_name
from tests.upcasting.messages import Basket, Line, Paid, Placed, PlacedV1, PlacedV2, Unrelated
from tests.upcasting.shop import OLD, STEPS, TODAY, UPCASTING

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

ONE, TWO = StreamId("order", "1"), StreamId("order", "2")
NO_PATH = "no path to today: neither the codec nor a step knows it"


def memory() -> EventStore:
    return EventStore(MemoryBackend(), OLD)


async def write(store: EventStore, *messages: Message, stream: StreamId = ONE) -> None:
    """Append a commit for each message."""
    for message in messages:
        await store.append(stream, [message], expected=ANY)


async def write_garbage(store: EventStore, stream: StreamId, garbage: bytes = b"\xff") -> None:
    """Store a commit that is none."""
    version = (await store.tail(stream)).version
    await store.backend.append(NewCommit(stream, version, 1, bytes(16), garbage))


def by_name(found: Audit) -> dict[tuple[str, int], Held]:
    return {(held.type, held.schema): held for held in found.held}


async def test_all_is_readable() -> None:
    """Every type and schema is listed, with how many there are and where the first and the last stand."""
    async with memory() as store:
        await store.append(ONE, [PlacedV1(price="1"), PlacedV1(price="2"), Basket(lines=2)], expected=NO_STREAM)
        await write(store, Paid(by="ann"), PlacedV2(cents=1), Placed(cents=1), PlacedV1(price="3"), Basket())
        found = await audit(store, UPCASTING)
        assert found == Audit(
            store.log_id,
            Position(6),
            6,
            8,
            (
                Held("order.basket", 1, 2, Position(1), Position(6), readable=True, decoded=2, failed=0),
                Held("order.paid", 1, 1, Position(2), Position(2), readable=True, decoded=1, failed=0),
                Held("order.placed", 1, 3, Position(1), Position(5), readable=True, decoded=3, failed=0),
                Held("order.placed", 2, 1, Position(3), Position(3), readable=True, decoded=1, failed=0),
                Held("order.placed", 3, 1, Position(4), Position(4), readable=True, decoded=1, failed=0),
            ),
            0,
            (),
        )
        assert (found.readable, found.decoded, found.failed) == (True, 8, 0)


async def test_an_empty_log() -> None:
    """An empty log is readable."""
    async with memory() as store:
        found = await audit(store, TODAY)
        assert (found.readable, found.held, found.position) == (True, (), 0)


async def test_a_plain_codec() -> None:
    """What a codec without steps does not know has no path; what it knows is decoded."""
    async with memory() as store:
        await write(store, PlacedV1(price="1"), Paid(by="ann"))
        found = await audit(store, TODAY)
        assert not found.readable
        assert found.findings == (
            Unreadable(ONE, 1, Position(1), "order.placed", 1, NO_PATH),  # type: ignore[arg-type]
        )
        assert not by_name(found)["order.placed", 1].readable
        assert by_name(found)["order.paid", 1].readable
        assert (await audit(store, OLD)).readable


async def test_events_that_fail() -> None:
    """An event whose step or parser fails is named by its place and the reason, and the audit goes on."""
    async with memory() as store:
        await store.append(ONE, [Paid(), PlacedV1(price="dear"), PlacedV1(price="1")], expected=NO_STREAM)
        envelope = envelope_pb2.Envelope(commit_id=bytes(16), first_version=1)
        envelope.events.add(type="order.paid", schema=1, payload=b"\xff")
        await store.backend.append(NewCommit(TWO, 0, 1, bytes(16), envelope.SerializeToString()))  # type: ignore[arg-type]
        await write(store, PlacedV1(price="2"))
        found = await audit(store, UPCASTING)
        placed, paid = by_name(found)["order.placed", 1], by_name(found)["order.paid", 1]
        assert (placed.events, placed.decoded, placed.failed) == (3, 3, 1)
        assert (paid.events, paid.decoded, paid.failed) == (2, 2, 1)
        places = [(one.stream, one.version, one.position) for one in found.findings if isinstance(one, Unreadable)]
        assert places == [(TWO, 1, 2), (ONE, 2, 1)]
        assert "payload is not a tests.upcasting.Paid" in found.findings[0].reason
        assert "in_cents raised ValueError: could not convert string to float: 'dear'" in found.findings[1].reason
        assert not found.readable


async def test_commits_that_are_none() -> None:
    """Bytes that are no commit are named, and what comes after them is looked at."""
    async with memory() as store:
        await write(store, Paid())
        await write_garbage(store, TWO)
        await write_garbage(store, StreamId("order", "3"), b"")
        await write(store, Paid())
        found = await audit(store, UPCASTING)
        assert (found.commits, found.events, found.corrupt, found.position) == (2, 2, 2, 4)
        assert [(type(one), one.position) for one in found.findings] == [(Corrupt, 2), (Corrupt, 3)]
        assert not found.readable


async def test_a_policy_makes_no_path() -> None:
    """That a reader passes over types it does not know does not make them readable."""
    async with memory() as store:
        await write(store, Unrelated())
        for policy in Policy:
            lenient = Upcasting(TODAY, STEPS[:-1], newer=Newer(types=policy))
            assert not (await audit(store, lenient)).readable
        assert (await audit(store, UPCASTING)).readable  # retired


async def test_many_failures_are_counted_and_few_named() -> None:
    """The result names the first few of each type and schema; all are told as they are found, and all are counted."""
    told: list[Any] = []
    async with memory() as store:
        for number in range(20):
            await write(store, PlacedV1(price="x"), Unrelated(), stream=StreamId("order", str(number)))
            await write_garbage(store, StreamId("none", str(number)))
        found = await audit(store, Upcasting(TODAY, STEPS[:-1]), found=told.append)
        assert (found.failed, found.corrupt, len(told)) == (40, 20, 60)
        assert [one.position for one in found.findings] == [
            *(1, 4, 7, 10, 13),  # order.placed
            *(2, 5, 8, 11, 14),  # order.unrelated
            *(3, 6, 9, 12, 15),
        ]
        assert [one.position for one in told] == list(range(1, 61))


@pytest.mark.parametrize(("sample", "decoded"), [(1, 10), (2, 6), (3, 4), (4, 4), (9, 2), (10, 2), (100, 2)])
async def test_sample(sample: int, decoded: int) -> None:
    """A sample holds one in so many of each type and schema, the first and the last always, each once."""
    async with memory() as store:
        messages = [PlacedV1(price=str(number)) for number in range(10)]
        for message in messages:
            await write(store, message, Paid())
        seen: list[Payload] = []

        class Watched(Codec):
            def decode(self, stored: Payload) -> Any:
                seen.append(stored)
                return super().decode(stored)

        found = await audit(store, Watched(PlacedV1, Paid), sample=sample)
        assert [held.decoded for held in found.held] == [decoded, decoded]
        assert [held.events for held in found.held] == [10, 10]
        placed = [PlacedV1.FromString(one.payload).price for one in seen if one.type == "order.placed"]
        assert len(placed) == len(set(placed)) == decoded
        assert {"0", "9"} <= set(placed)


async def test_sample_finds_the_last() -> None:
    """The last one of a type and schema is looked at, however long the log."""
    async with memory() as store:
        await write(store, *itertools.repeat(PlacedV1(price="1"), 30), PlacedV1(price="x"), Paid())
        found = await audit(store, UPCASTING, sample=1_000)
        [finding] = found.findings
        assert (finding.position, found.failed) == (31, 1)


async def test_no_sample() -> None:
    """A sample is of something."""
    async with memory() as store:
        with pytest.raises(ValueError, match="expected 1 or more, got 0"):
            await audit(store, UPCASTING, sample=0)


async def test_progress() -> None:
    """It reports up to the log's end."""
    reports: list[tuple[str, int, int]] = []
    async with memory() as store:
        await write(store, *itertools.repeat(Line(), 250))
        await audit(store, UPCASTING, progress=lambda *report: reports.append(report))
        assert [done for _, done, _ in reports] == [100, 200, 250]
        assert {(step, total) for step, _, total in reports} == {("audit", 250)}


async def _audited(store: EventStore) -> None:
    await write(store, PlacedV1(price="1"), PlacedV1(price="x"), Basket(lines=2))
    await write_garbage(store, TWO)
    await write(store, Line(), stream=StreamId("order", "3"))
    found = await audit(store, UPCASTING)
    assert (found.commits, found.events, found.failed, found.corrupt) == (4, 4, 1, 1)
    assert [one.position for one in found.findings] == [2, 4]


async def test_in_a_file(tmp_path: Path) -> None:
    """A file is audited as memory is."""
    async with open_store(f"sqlite:///{tmp_path}/log.db", OLD) as store:
        await _audited(store)


@pytest.mark.contract
async def test_on_a_server(nats: str) -> None:
    """So is a server."""
    name = new_name()
    async with open_store(f"{nats}/{name}?prefix={name}.events", OLD) as store:
        await _audited(store)
