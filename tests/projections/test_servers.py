"""The servers of these tests do what the tests rely on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import neo4j
import pytest
from valkey import Valkey
from valkey.exceptions import AuthenticationError
from valkey.exceptions import ConnectionError as NotConnected

from tests.projections.servers import NEO4J_2026, Neo4jServer, ValkeyServer, shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.projections.servers import Server

pytestmark = pytest.mark.contract

PASSWORD = "long-enough"  # noqa: S105 (of a server that lives for one test)


@contextmanager
def running(server: Server) -> Iterator[None]:
    server.start()
    try:
        server.wait()
        yield
    finally:
        server.stop()


def restart_after_kill(server: Server) -> None:
    server.kill()
    server.start()
    server.wait()


def query(url: str, cypher: str, auth: tuple[str, str] | None = None) -> list[Any]:
    with neo4j.GraphDatabase.driver(url, auth=auth) as driver:
        return driver.execute_query(cypher).records


def test_both_versions_of_neo4j_answer(neo4j_5: str, neo4j_2026: str) -> None:
    """Each Neo4j runs queries, and is of the version that its fixture says."""
    components = "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"
    [[old]], [[new]] = query(neo4j_5, components), query(neo4j_2026, components)
    assert (old.startswith("5.26."), new.startswith("2026.08.")) == (True, True)
    assert query(neo4j_5, "RETURN 1") == query(neo4j_2026, "RETURN 1") == [(1,)]


@pytest.mark.timeout(180)
def test_neo4j_keeps_its_data_and_its_password_when_killed(tmp_path: Path) -> None:
    """A Neo4j that is killed and started again has its address, its password and all that was committed."""
    server = Neo4jServer(NEO4J_2026, tmp_path, auth=PASSWORD)
    with running(server):
        url = server.url
        query(url, "CREATE (:Kept)", ("neo4j", PASSWORD))
        restart_after_kill(server)
        assert query(url, "MATCH (kept:Kept) RETURN count(kept)", ("neo4j", PASSWORD)) == [(1,)]


def test_valkey_answers(valkey: str) -> None:
    """A Valkey answers."""
    with Valkey.from_url(valkey) as client:
        assert client.ping()


def test_valkey_keeps_its_data_when_killed(tmp_path: Path) -> None:
    """A Valkey that is killed and started again has its address and all that it acknowledged."""
    server = ValkeyServer(tmp_path)
    with running(server):
        url = server.url
        with Valkey.from_url(url) as client:
            client.set("kept", "yes")
        restart_after_kill(server)
        with Valkey.from_url(url) as client:
            assert client.get("kept") == b"yes"


def test_valkey_takes_more_configuration(tmp_path: Path) -> None:
    """A Valkey with a password starts, and wants it."""
    server = ValkeyServer(tmp_path, more=f"requirepass {PASSWORD}")
    with running(server):
        with Valkey.from_url(server.url, password=PASSWORD) as client:
            assert client.ping()
        with Valkey.from_url(server.url) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()


def test_a_shared_server_ends_after_all_have_left_it(tmp_path: Path) -> None:
    """Whoever comes later gets the same server, and the first stops it only when the others are gone."""
    first, second = shared(tmp_path, ValkeyServer), shared(tmp_path, ValkeyServer)
    with ThreadPoolExecutor() as threads, Valkey.from_url(first.__enter__()) as client:
        with second as url:
            leaving = threads.submit(first.__exit__, None, None, None)
            assert (url, client.ping()) == (url, True)
            assert not leaving.done()
        leaving.result()
        with pytest.raises(NotConnected):
            client.ping()
