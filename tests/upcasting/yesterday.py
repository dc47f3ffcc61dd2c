"""A program of yesterday: all it knows of orders is ``shop_pb2``, which was generated for it then.

``python yesterday.py URL POLICY`` prints what it gets of order 1, a line an event. ``python yesterday.py URL SEGMENT``
copies what it gets of order 1 to order 2, and exports the log.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from typing import Any

import shop_pb2  # type: ignore[import-not-found]
from eventstore import NO_STREAM, Codec, Event, StreamId, Undecodable, open_store
from eventstore.segments import export_log
from eventstore.v1.envelope_pb2 import StoredEvent
from google.protobuf.json_format import MessageToDict
from upcasting import Newer, Policy, Upcasting

POLICIES = {policy.value for policy in Policy}


def told(event: Event) -> Any:
    """Say what a program gets of an event."""
    try:
        message = event.message
    except Undecodable as error:
        return {"undecodable": [str(error.stream), error.version, error.type, error.schema], "reason": error.reason}
    if isinstance(message, StoredEvent):
        return {"raw": [message.type, message.schema, message.payload.hex()]}
    fields = MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)
    return {message.DESCRIPTOR.name: fields, "bytes": message.SerializeToString().hex()}


async def read(url: str, policy: Policy) -> None:
    codec = Upcasting(Codec(shop_pb2), [], newer=Newer(types=policy, fields=policy, values=policy))
    async with open_store(url, codec, create=False) as store:
        found = await store.read(StreamId("order", "1"))
        for event in found.events:
            print(json.dumps([event.version, told(event)]))
        print(json.dumps([found.version, "is the version"]))


async def copied(url: str, segment: str) -> None:
    codec = Upcasting(Codec(shop_pb2), [], newer=Newer(types=Policy.IGNORE))
    async with open_store(url, codec, create=False) as store:
        messages = [event.message for event in (await store.read(StreamId("order", "1"))).events]
        news: list[Any] = [copy.deepcopy(message) for message in messages]
        for message in messages:
            new = type(message)()
            new.CopyFrom(message)
            news.append(new)
        await store.append(StreamId("order", "2"), news, expected=NO_STREAM)
        await export_log(store, segment)


if __name__ == "__main__":
    log, what = sys.argv[1:]
    asyncio.run(read(log, Policy(what)) if what in POLICIES else copied(log, what))
