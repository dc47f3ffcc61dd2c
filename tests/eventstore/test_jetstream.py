"""JetStream as the log, on real servers: one alone, and three that keep three copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import uvloop
from eventstore import StreamId, _nats_batches
from eventstore.jetstream import JetStreamBackend
from eventstore.testing import BackendContract, StoreMachine
from eventstore.testing._following import Following
from eventstore.testing._reading import Log
from eventstore.testing._scene import commit
from hypothesis import settings

from tests.eventstore.nats_servers import administration, fresh, one_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.contract

#: Where the servers of the running test are; set by the fixtures below, since a contract's backend is made of a folder.
SERVERS: Final[list[str]] = []


def single(folder: Path) -> JetStreamBackend:
    """Return a backend with a JetStream stream for each folder."""
    return backend_of(folder, replicas=1)


def triple(folder: Path) -> JetStreamBackend:
    """Return the same, kept by three servers."""
    return backend_of(folder, replicas=3)


def backend_of(folder: Path, *, replicas: int) -> JetStreamBackend:
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{folder}")
    return JetStreamBackend(SERVERS, name, prefix=f"{name}.events", replicas=replicas)


@pytest.fixture
def on_one(one_nats: list[str]) -> None:
    SERVERS[:] = one_nats


@pytest.fixture
def on_three(three_nats: list[str]) -> None:
    SERVERS[:] = three_nats


@pytest.mark.usefixtures("on_one")
class TestOneServer(BackendContract):
    """One server, one copy."""

    backend = staticmethod(single)
    times_fall = True


@pytest.mark.usefixtures("on_three")
class TestThreeServers(BackendContract):
    """Three servers, three copies."""

    backend = staticmethod(triple)
    times_fall = True


class Machine(StoreMachine):
    """JetStream beside memory."""

    backend = staticmethod(single)
    times_fall = True


TestMachine = pytest.mark.usefixtures("on_one")(Machine.TestCase)
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, print_blob=True)


@pytest.mark.usefixtures("on_one")
class TestOrdinarySubscriptions(Following, Log):
    """Where nats-py's parser is another one than this package knows, everything goes through its subscriptions."""

    backend = staticmethod(single)
    times_fall = True

    @pytest.fixture(autouse=True)
    def another_parser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Another:
            pass

        monkeypatch.setattr(_nats_batches, "Parser", Another)


@pytest.mark.usefixtures("on_one")
class TestUvloop(Following, Log):
    """The faster event loop, on which the commands run where it is installed."""

    backend = staticmethod(single)
    times_fall = True
    loop_factory = staticmethod(uvloop.new_event_loop)


@pytest.fixture(scope="session")
def new_acks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    more = "feature_flags { js_ack_fc_v2: true }"
    with one_server(tmp_path_factory.mktemp("acks"), more=more) as server:
        yield [server.url]


class TestNewAckSubjects(Following, Log):
    """A server that names the account in the subjects of its acknowledgements."""

    backend = staticmethod(single)
    times_fall = True

    @pytest.fixture(autouse=True)
    def on_new(self, new_acks: list[str]) -> None:
        SERVERS[:] = new_acks

    async def test_they_are_new(self, new_acks: list[str]) -> None:
        """The server really does so: eleven tokens instead of nine."""
        async with administration(*new_acks) as admin, fresh(new_acks) as log:
            await log.append(commit(StreamId("c", "1")))
            inbox = admin.client.new_inbox()
            messages = await admin.client.subscribe(inbox)
            config = {"deliver_subject": inbox, "ack_policy": "none"}
            name = log._name
            await admin.api(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": config})
            assert len((await messages.next_msg(5)).reply.split(".")) == 11
