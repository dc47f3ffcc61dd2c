"""A Neo4j server as views and snapshots meet it: sessions, its version, and what its errors mean."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from neo4j import Query
from neo4j.exceptions import (
    ConnectionPoolError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    UnsupportedServerProduct,
)

from projections._errors import ModelRefused, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from neo4j import AsyncDriver, AsyncSession, AsyncTransaction

_OLDEST: Final = (5, 26)
#: A session that gets no hints on statements, such as that there is no such label yet.
QUIET: Final = {"notifications_min_severity": "OFF"}

_OUT_OF_MEMORY: Final = "Neo.TransientError.General.MemoryPoolOutOfMemoryError"
_PASSING: Final = (
    "Neo.TransientError.",
    "Neo.DatabaseError.Transaction.",
    "Neo.ClientError.Cluster.NotALeader",
    "Neo.ClientError.Security.AuthorizationExpired",
    "Neo.ClientError.Transaction.LockClientStopped",
    "Neo.ClientError.Transaction.Terminated",
    "Neo.ClientError.Transaction.TransactionNotFound",
)
_TIMED_OUT: Final = "Neo.ClientError.Transaction.TransactionTimedOut"
_READ_ONLY: Final = "the database is read-only: allow writing, or name another one"
_REFUSED: Final = {
    "Neo.ClientError.Security.Unauthorized": "wrong user or password: give the driver the right ones",
    "Neo.ClientError.Security.AuthenticationRateLimit": "too many wrong passwords: give the driver the right one",
    "Neo.ClientError.Security.CredentialsExpired": "the password has expired: change it",
    "Neo.ClientError.Security.TokenExpired": "the token has expired: give the driver another one",
    "Neo.ClientError.Security.Forbidden": "the user lacks a permission: grant reading, writing, names and constraints",
    "Neo.ClientError.Security.": "the user is not let in: check how the driver authenticates",
    "Neo.ClientError.Database.DatabaseNotFound": "there is no such database: create it, or name another one",
    "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase": _READ_ONLY,
    "Neo.ClientError.General.WriteOnReadOnlyAccessDatabase": _READ_ONLY,
    "Neo.ClientError.General.ReadOnly": _READ_ONLY,
}


class Server:
    """A database as models and snapshots use it."""

    def __init__(self, driver: AsyncDriver, database: str | None, seconds: float) -> None:
        self._driver = driver
        self._database = database
        self._seconds = seconds
        self._fit = False

    async def check(self) -> None:
        """See, the first time, that the server is not too old."""
        if not self._fit:
            agent = (await self._driver.get_server_info()).agent
            found = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
            if found is None or (int(found[1]), int(found[2])) < _OLDEST:
                wanted = ".".join(map(str, _OLDEST))
                raise ModelRefused(f"needs Neo4j {wanted} or later, found {agent:.40}: upgrade the server")
            self._fit = True

    @asynccontextmanager
    async def session(self, **settings: Any) -> AsyncIterator[AsyncSession]:
        """Open a session; what is not set is as the driver's owner wants it."""
        await self.check()
        async with self._driver.session(database=self._database, **settings) as session:
            yield session

    @asynccontextmanager
    async def transaction(self, seconds: float, **settings: Any) -> AsyncIterator[AsyncTransaction]:
        """Begin a transaction that the server takes back after so many seconds; without a commit, nothing was done."""
        async with (
            self.session(**settings) as session,
            await session.begin_transaction(timeout=seconds) as tx,
        ):
            yield tx

    async def rows(self, statement: str, **values: object) -> list[list[Any]]:
        """Run one statement by itself."""
        async with self.session(**QUIET) as session:
            result = await session.run(Query(statement, timeout=self._seconds), p=values)
            return [record.values() async for record in result]


@contextmanager
def translated() -> Iterator[None]:
    """Tell faults that pass, and databases that are not fit, from mistakes of whoever wrote a statement."""
    try:
        yield
    except (Neo4jError, DriverError) as error:
        if (fault := fault_of(error)) is None:
            raise
        raise fault from error


def fault_of(error: Neo4jError | DriverError) -> ModelUnavailable | None:
    """Return what an error means, without the addresses and statements that its text may show."""
    if isinstance(error, UnsupportedServerProduct):
        return ModelRefused("this server and this driver have no protocol in common: upgrade the older one")
    if isinstance(error, (ServiceUnavailable, SessionExpired, ConnectionPoolError)):
        return ModelUnavailable(f"Neo4j does not answer: {type(error).__name__}")
    code = getattr(error, "code", None) or ""
    if code.startswith(_TIMED_OUT):
        return ModelUnavailable("a transaction took too long: if this stays so, give it more time, or less to do")
    # It calls itself transient, and the same batch will not fit the next time either.
    if code != _OUT_OF_MEMORY and code.startswith(_PASSING):
        return ModelUnavailable(f"Neo4j cannot do it now: {code}")
    for start, problem in _REFUSED.items():
        if code.startswith(start):
            return ModelRefused(f"{problem} ({code})")
    return None


def quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
