"""Whatever comes over the wire, a call ends with a status that the documents name, and leaves the service well."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service.app import serving
from context_service.bundles import InMemory
from context_service.v1 import context_pb2 as pb
from context_service.views import graph_among, open_views, projecting
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from projections import Monitor

from tests.context.conftest import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.stories import Stories
    from google.protobuf.message import Message

SERVICE = pb.DESCRIPTOR.services_by_name["ContextService"]
Code = grpc.StatusCode
# What services/context/README.md lists for what a caller may send, whatever it is.
ANSWERS = {
    Code.OK,
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
}
INT32 = st.one_of(st.sampled_from([0, 1, 2, 3, -1, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
# Mostly what means something somewhere, so that more is reached than the first check.
MEANING = """S-1 S-2 D-1 T-1 P-1 M-1 DEV architect qa DESIGN build CREATE UPDATE DELETE DECISION SUBTASK MILESTONE CASE
PLAN SUMMARY Story Task Decision Project recorded occurred 2026-01-01 9999-12-31T23:59:59Z 0001-01-01 {} {"title":"T"}
null"""
ODD = ["", " ", "\x00", "ä", "\u2028", "x" * 300, "0" * 40 + ":1", "00000000-0000-0000-0000-000000000000:1"]
WORDS = st.one_of(
    st.sampled_from(MEANING.split()),
    st.sampled_from(ODD),
    st.text(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=5,
    ).map(str),
)
NUMBERS = {FieldDescriptor.TYPE_BOOL: st.booleans(), FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1)}


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Return any message of a kind, each field there or not."""
    kind = GetMessageClass(descriptor)
    fields = {field.name: values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(WORDS, WORDS, max_size=3)
    one: st.SearchStrategy[Any]
    if field.message_type is not None:
        one = messages(field.message_type)
    else:
        one = {**NUMBERS, FieldDescriptor.TYPE_STRING: WORDS, FieldDescriptor.TYPE_INT32: INT32}[field.type]
    return st.lists(one, max_size=3) if field.is_repeated else one


async def answered(client: Client, name: str, request: Message) -> grpc.StatusCode:
    """Return how a call ends; one that streams is left after its first answer."""
    call = getattr(client.stub, name)(request)
    try:
        async with asyncio.timeout(10):
            await (call.read() if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        call.cancel()
    return Code.OK


@pytest.fixture
async def told(stories: Stories) -> AsyncIterator[Client]:
    """A client of a service with all it can have, and a story in it."""
    async with AsyncExitStack() as stack:
        views = await stack.enter_async_context(open_views(stories))
        await stack.enter_async_context(projecting(views, Monitor()))
        where = serving(stories, "127.0.0.1:0", bundles=InMemory(), graph=graph_among(views))
        channel = grpc.aio.insecure_channel(await stack.enter_async_context(where))
        client = Client(await stack.enter_async_context(channel))
        change = client.change
        await client.update(
            "S-1",
            change("CREATE", "CASE", title="Checkout"),
            change("CREATE", "PLAN", "P-1"),
            change("CREATE", "SUBTASK", "T-1", title="Form", role="DEV"),
            change("CREATE", "DECISION", "D-1", title="Invoice", affects=["T-1"]),
            change("CREATE", "MILESTONE", "M-1", event_type="human_edit"),
        )
        yield client


@pytest.mark.parametrize("name", [method.name for method in SERVICE.methods])
@pytest.mark.timeout(60)
async def test_statuses(told: Client, name: str) -> None:
    """Any request at all is answered with a documented status, and the next question with the story."""
    loop = asyncio.get_running_loop()
    done: list[grpc.StatusCode] = []

    @given(messages(SERVICE.methods_by_name[name].input_type))
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(request: Message) -> None:
        code = asyncio.run_coroutine_threadsafe(answered(told, name, request), loop).result(15)
        assert code in ANSWERS, code
        done.append(code)

    # Hypothesis is not async: it asks from a thread, and the loop of the service answers.
    await asyncio.to_thread(ask)
    assert done
    assert (await told.get("S-1")).context
