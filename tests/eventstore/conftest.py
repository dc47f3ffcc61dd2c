"""Lets the tests import what stands beside them, under the names by which the type checker knows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = str(Path(__file__).parents[2])

if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

# How long an example takes is the machine's business; how to repeat one that fails is ours.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def one_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The address of one nats-server for all tests: the one of EVENTSTORE_TEST_NATS, or a new one."""
    from tests.eventstore.nats_servers import one_server  # noqa: PLC0415 (only found once the path is set)

    if given := os.environ.get("EVENTSTORE_TEST_NATS"):
        yield [given]
        return
    with one_server(tmp_path_factory.mktemp("nats")) as server:
        yield [server.url]


@pytest.fixture(scope="session")
def three_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of three nats-servers that form a cluster for all tests."""
    from tests.eventstore.nats_servers import three_servers  # noqa: PLC0415

    with three_servers(tmp_path_factory.mktemp("cluster")) as servers:
        yield [server.url for server in servers]
