"""A program that has only yesterday's generated code, before a log that today's program has written to."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import Codec, StreamId, open_store
from eventstore.segments import import_log
from eventstore.v1 import options_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from upcasting import Upcasting, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eventstore import EventStore

ORDER = StreamId("order", "1")
PROGRAM = Path(__file__).with_name("yesterday.py")
KINDS = {"text": FieldDescriptorProto.TYPE_STRING, "number": FieldDescriptorProto.TYPE_INT64}


def generated(folder: Path, sizes: Sequence[str], messages: dict[tuple[str, str, int], dict[str, str]]) -> Path:
    """Write ``shop_pb2.py`` as protoc would: of an enum, and messages with the type and schema of their events."""
    file = FileDescriptorProto(
        name="shop.proto", package="shop", syntax="proto3", dependency=["eventstore/v1/options.proto"]
    )
    size = file.enum_type.add(name="Size")
    for number, name in enumerate(sizes):
        size.value.add(name=name, number=number)
    for (message_name, type, schema), fields in messages.items():
        message = file.message_type.add(name=message_name)
        option = options_pb2.EventOptions(type=type, schema=schema)
        message.options.Extensions[options_pb2.event].CopyFrom(option)  # type: ignore[index]
        for number, (name, kind) in enumerate(fields.items(), 1):
            field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            field.type = KINDS.get(kind, FieldDescriptorProto.TYPE_ENUM)
            if kind not in KINDS:
                field.type_name = f".shop.{kind}"
    folder.mkdir()
    path = folder / "shop_pb2.py"
    path.write_text(
        "from eventstore.v1 import options_pb2\n"
        "from google.protobuf import descriptor_pool\n"
        "from google.protobuf.internal import builder\n"
        f"DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({file.SerializeToString()!r})\n"
        "builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())\n"
        "builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'shop_pb2', globals())\n"
    )
    return path


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of yesterday's generated code."""
    messages = {
        ("Ordered", "shop.ordered", 1): {"what": "text", "size": "Size"},
        ("Paid", "shop.paid", 1): {"euros": "text"},
    }
    return generated(tmp_path_factory.mktemp("code") / "yesterday", ["SMALL", "LARGE"], messages).parent


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Today's generated code: a field more, an enum value more, a schema more, a type more."""
    messages = {
        ("Ordered", "shop.ordered", 1): {"what": "text", "size": "Size", "note": "text"},
        ("PaidV1", "shop.paid", 1): {"euros": "text"},
        ("Paid", "shop.paid", 2): {"cents": "number"},
        ("Returned", "shop.returned", 1): {"why": "text"},
    }
    path = generated(tmp_path_factory.mktemp("code") / "today", ["SMALL", "LARGE", "HUGE"], messages)
    spec = importlib.util.spec_from_file_location("tests.upcasting.shop_of_today", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the log is."""
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def today(shop: Any) -> Upcasting:
    """Today's codec."""

    @step(shop.PaidV1, shop.Paid)
    def in_cents(old: Any) -> Any:
        return shop.Paid(cents=round(float(old.euros) * 100))

    return Upcasting(Codec(shop.Ordered, shop.Paid, shop.Returned), [in_cents])


@pytest.fixture
async def store(url: str, shop: Any, today: Upcasting) -> AsyncIterator[EventStore]:
    """A log of order 1 to which today's program has written what yesterday's knows and what it does not."""
    news = [
        shop.Ordered(what="tea"),
        shop.Ordered(what="tea", note="for two"),
        shop.Ordered(what="tea", size=shop.HUGE),
        shop.Paid(cents=420),
        shop.Returned(why="cold"),
        shop.Ordered(what="tea", size=shop.LARGE),
    ]
    async with open_store(url, today) as store:
        await store.append(ORDER, news, expected=0)
        yield store


def run(yesterday: Path, url: str, what: str) -> list[Any]:
    """Run yesterday's program; return its lines."""
    env = os.environ | {"PYTHONPATH": str(yesterday)}
    done = subprocess.run([sys.executable, PROGRAM, url, what], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


TEA = "0a03746561"
WITH_NOTE = f"{TEA}1a07666f722074776f"
HUGE, LARGE = f"{TEA}1002", f"{TEA}1001"
PLAIN = [1, {"Ordered": {"what": "tea"}, "bytes": TEA}]
LAST = [[6, {"Ordered": {"what": "tea", "size": 1}, "bytes": LARGE}], [6, "is the version"]]


def undecodable(version: int, type: str, schema: int, reason: str) -> list[Any]:
    return [version, {"undecodable": ["order '1'", version, type, schema], "reason": reason}]


def raw(version: int, type: str, schema: int, payload: str) -> list[Any]:
    return [version, {"raw": [type, schema, payload]}]


GETS = {
    "ignore": [
        [2, {"Ordered": {"what": "tea"}, "bytes": WITH_NOTE}],
        [3, {"Ordered": {"what": "tea", "size": 2}, "bytes": HUGE}],
    ],
    "raw": [
        raw(2, "shop.ordered", 1, WITH_NOTE),
        raw(3, "shop.ordered", 1, HUGE),
        raw(4, "shop.paid", 2, "08a403"),
        raw(5, "shop.returned", 1, "0a04636f6c64"),
    ],
    "stop": [
        undecodable(2, "shop.ordered", 1, "shop.Ordered has a field 3, which this program does not know"),
        undecodable(3, "shop.ordered", 1, "shop.Ordered.size has the value 2, which this program does not know"),
        undecodable(4, "shop.paid", 2, "neither the codec nor a step knows the schema; the newest one known is 1"),
        undecodable(5, "shop.returned", 1, "neither the codec nor a step knows the type"),
    ],
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("policy", GETS)
def test_policies(yesterday: Path, url: str, policy: str) -> None:
    """Of an added field, an added enum value, a newer schema and an unknown type it gets what its policy says.

    Before and after them it gets all it knows, and the version is the log's.
    """
    assert run(yesterday, url, policy) == [PLAIN, *GETS[policy], *LAST]


async def test_nothing_is_lost(yesterday: Path, url: str, store: EventStore, shop: Any, tmp_path: Path) -> None:
    """What yesterday's program reads, copies, writes again and exports still holds what only today's knows."""
    run(yesterday, url, str(tmp_path / "shop.segment"))
    expected = [
        shop.Ordered(what="tea"),
        shop.Ordered(what="tea", note="for two"),
        shop.Ordered(what="tea", size=shop.HUGE),
        shop.Ordered(what="tea", size=shop.LARGE),
    ]
    async with open_store(f"sqlite:///{tmp_path}/imported.db", store.codec) as other:
        await import_log(other, tmp_path / "shop.segment")
        for log in (store, other):
            assert [event.message for event in (await log.read(StreamId("order", "2"))).events] == expected * 2
        first = [event.raw for event in (await other.read(ORDER)).events]
    assert first == [event.raw for event in (await store.read(ORDER)).events]


async def test_both_write(yesterday: Path, url: str, store: EventStore, shop: Any) -> None:
    """While both programs run, today's reads what yesterday's goes on to write."""
    before = (await store.read(ORDER)).version
    async with open_store(url, Codec(shop.PaidV1)) as old:
        await old.append(ORDER, [shop.PaidV1(euros="4.20")], expected=before)
    assert (await store.read(ORDER)).events[-1].message == shop.Paid(cents=420)
    assert run(yesterday, url, "stop")[-2] == [7, {"Paid": {"euros": "4.20"}, "bytes": "0a04342e3230"}]
