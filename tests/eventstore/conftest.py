"""Three nats-servers for the tests that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.eventstore.nats_servers import three_servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def three_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of three nats-servers that form a cluster for all tests."""
    with three_servers(tmp_path_factory.mktemp("cluster")) as servers:
        yield [server.url for server in servers]
