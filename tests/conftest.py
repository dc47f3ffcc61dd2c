"""What all tests share: imports of what stands beside them, and real servers for those that name them.

Each server is started once for all processes of a run of pytest.
"""

from __future__ import annotations

import contextlib
import os
import sys
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

ROOT = str(Path(__file__).parents[1])

if ROOT not in sys.path:
    # The names by which the type checker knows them too.
    sys.path.insert(0, ROOT)

from tests.eventstore.nats_servers import one_server  # noqa: E402 (found once the path is set)
from tests.projections.servers import (  # noqa: E402 (found once the path is set)
    NEO4J_5,
    NEO4J_2026,
    Neo4jServer,
    Server,
    ValkeyServer,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

# How long an example takes is the machine's business; how to repeat one that fails is ours.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")

# By the name of its fixture; a running one's address may be given, as EVENTSTORE_TEST_ and that name.
SERVERS: Final[dict[str, Callable[[Path], Server]]] = {
    "valkey": ValkeyServer,
    "neo4j_5": partial(Neo4jServer, NEO4J_5),
    "neo4j_2026": partial(Neo4jServer, NEO4J_2026),
}


class Servers:
    """The servers that this process uses. Each starts in a thread of its own, beside other tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts = futures.ThreadPoolExecutor(len(SERVERS))
        self._open = contextlib.ExitStack()
        self._addresses: dict[str, futures.Future[str]] = {}

    def address(self, name: str) -> futures.Future[str]:
        """Return a server's address, which is known once the server can be used."""
        if name not in self._addresses:
            self._addresses[name] = self._starts.submit(self._start, name)
        return self._addresses[name]

    def _start(self, name: str) -> str:
        given = os.environ.get(f"EVENTSTORE_TEST_{name.upper()}")
        return given or self._open.enter_context(shared(self._folder / name, SERVERS[name]))

    def close(self) -> None:
        """Leave the servers; those that were started here end."""
        self._starts.shutdown()
        self._open.close()


SERVERS_OF_RUN: Final = pytest.StashKey[Servers]()


def _names(items: Iterable[pytest.Item]) -> set[str]:
    """Return the servers that tests name."""
    return {name for item in items for name in _words(item) if name in SERVERS}


def _words(item: pytest.Item) -> set[object]:
    """Return the fixtures of a test, and its parameters, which may be names of fixtures that it asks for later."""
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return {*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))}


def _folder(config: pytest.Config) -> Path:
    """Return the run's temporary folder: that of pytest-xdist is above those of its workers."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return (own.parent if hasattr(config, "workerinput") else own) / "servers"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start all servers that will be needed."""
    session.config.stash[SERVERS_OF_RUN] = servers = Servers(_folder(session.config))
    if not session.config.option.collectonly:
        for name in _names(session.items):
            servers.address(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for a server before the time of a test that names it begins."""
    futures.wait(item.config.stash[SERVERS_OF_RUN].address(name) for name in _names([item]))
    return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the servers; no test's time covers that other processes may still use them."""
    if servers := session.config.stash.get(SERVERS_OF_RUN, None):
        servers.close()


@pytest.fixture(scope="session")
def valkey(pytestconfig: pytest.Config) -> str:
    """The address of a Valkey for all tests."""
    return pytestconfig.stash[SERVERS_OF_RUN].address("valkey").result()


@pytest.fixture(scope="session")
def neo4j_5(pytestconfig: pytest.Config) -> str:
    """The address of a Neo4j 5 for all tests, without a password."""
    return pytestconfig.stash[SERVERS_OF_RUN].address("neo4j_5").result()


@pytest.fixture(scope="session")
def neo4j_2026(pytestconfig: pytest.Config) -> str:
    """The address of a Neo4j 2026 for all tests, without a password."""
    return pytestconfig.stash[SERVERS_OF_RUN].address("neo4j_2026").result()


@pytest.fixture(scope="session")
def one_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The address of one nats-server for all tests: the one of EVENTSTORE_TEST_NATS, or a new one."""
    if given := os.environ.get("EVENTSTORE_TEST_NATS"):
        yield [given]
        return
    with one_server(tmp_path_factory.mktemp("nats")) as server:
        yield [server.url]
