"""What settings name by URLs, for read models and for snapshots: files and servers. Drivers are chosen here alone."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from eventstore import InvalidInput
from eventstore.sqlite import SqliteBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Backend
    from neo4j import AsyncDriver
    from valkey.asyncio import Valkey

NEO4J_SCHEMES: Final = frozenset({"neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"})
VALKEY_SCHEMES: Final = frozenset({"valkey", "valkeys"})
#: What settings say for what is not wanted.
NOWHERE: Final = "none"


class Neo4j(NamedTuple):
    """A server, and which of its databases."""

    driver: AsyncDriver
    database: str | None


def parsed(url: str, setting: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        InvalidInput: it is none. What it says of a password is not repeated.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        problem = "expected SCHEME://USER:PASSWORD@HOST:PORT, with percent signs for what is special in a password"
        raise InvalidInput(setting, problem) from None
    return parts


def sqlite_file(url: str, setting: str) -> str:
    """Return the file that ``sqlite:///FILE`` names, nothing for other URLs.

    Raises:
        InvalidInput: it is no URL.
    """
    parts = parsed(url, setting)
    return unquote(parts.path.removeprefix("/")) if parts.scheme == "sqlite" and parts.path.strip("/") else ""


def file_beside(log: Backend, ending: str) -> str:
    """Return the file of that ending beside the file of a log, nothing for logs that are no file."""
    return str(log.path.with_name(f"{log.path.name}-{ending}")) if isinstance(log, SqliteBackend) else ""


def cache_at(url: str) -> Literal["valkey", "memory", "none"]:
    """Return where the URL of a cache says that it lives; by default in memory.

    Raises:
        InvalidInput: it is none of a cache.
    """
    scheme = parsed(url, "cache").scheme
    if scheme in VALKEY_SCHEMES:
        return "valkey"
    if url in {"", "memory://"}:
        return "memory"
    if url == NOWHERE:
        return "none"
    got = "memory:// in another form" if scheme == "memory" else f"{scheme}://"
    raise InvalidInput("cache", f"expected valkey://, memory:// or {NOWHERE}; got {got}")


@asynccontextmanager
async def neo4j_at(url: str, setting: str) -> AsyncIterator[Neo4j]:
    """Use the Neo4j of a setting, which need not be up.

    Raises:
        InvalidInput: the driver is not installed, or the URL names no host, or options, of which there are none.
    """
    try:
        from neo4j import AsyncGraphDatabase  # noqa: PLC0415 (an extra installs it)
    except ModuleNotFoundError as error:
        raise _missing(setting, "Neo4j", error, extra="neo4j") from None
    parts = parsed(url, setting)
    if not parts.hostname or parts.query or parts.fragment:
        raise InvalidInput(
            setting, "expected neo4j://USER:PASSWORD@HOST:7687 or neo4j://USER:PASSWORD@HOST:7687/DATABASE"
        )
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    async with AsyncGraphDatabase.driver(address, auth=auth) as driver:
        yield Neo4j(driver, parts.path.strip("/") or None)


@asynccontextmanager
async def valkey_at(url: str, setting: str) -> AsyncIterator[Valkey]:
    """Use the Valkey of a setting, which need not be up.

    Raises:
        InvalidInput: the driver is not installed, or does not take the URL.
    """
    try:
        from valkey.asyncio import Valkey  # noqa: PLC0415 (an extra installs it)
    except ModuleNotFoundError as error:
        raise _missing(setting, "Valkey", error, extra="valkey") from None
    parsed(url, setting)
    try:
        client = Valkey.from_url(url)
        # Else it would look at its options when it connects.
        client.connection_pool.make_connection()
    except Exception:  # noqa: BLE001 (an option may fail anywhere)
        raise InvalidInput(setting, "expected valkey://HOST:6379/0 and options that valkey-py knows") from None
    try:
        yield client
    finally:
        await client.aclose()


def _missing(setting: str, server: str, error: ModuleNotFoundError, *, extra: str) -> InvalidInput:
    problem = f"{server} needs the package {error.name}: install foldlog-context[{extra}]"
    return InvalidInput(setting, problem)
