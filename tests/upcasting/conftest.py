"""A real nats-server for the tests that ask for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.eventstore.nats_servers import one_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one nats-server for all tests: the one of EVENTSTORE_TEST_NATS, or a new one."""
    if given := os.environ.get("EVENTSTORE_TEST_NATS"):
        yield given
        return
    with one_server(tmp_path_factory.mktemp("nats")) as server:
        yield server.url
