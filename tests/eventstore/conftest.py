"""Real nats-servers for the tests that ask for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.eventstore.nats_servers import one_server, three_servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def one_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The address of one nats-server for all tests: the one of EVENTSTORE_TEST_NATS, or a new one."""
    if given := os.environ.get("EVENTSTORE_TEST_NATS"):
        yield [given]
        return
    with one_server(tmp_path_factory.mktemp("nats")) as server:
        yield [server.url]


@pytest.fixture(scope="session")
def three_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of three nats-servers that form a cluster for all tests."""
    with three_servers(tmp_path_factory.mktemp("cluster")) as servers:
        yield [server.url for server in servers]
