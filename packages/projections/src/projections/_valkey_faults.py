"""What a Valkey answers that is no answer, told apart by the driver's classes and the server's codes."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from eventstore import InvalidInput
from valkey.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from valkey.exceptions import ConnectionError as NotConnected
from valkey.exceptions import TimeoutError as TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator

# An error reply begins with a code. These pass by themselves.
_PASSING: Final = frozenset({"BUSY", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN"})
UNFIT: Final = {
    "CLUSTERDOWN": "it is a cluster; a view needs a server that is none",
    "MISCONF": "it cannot write to its disk, and so takes no changes; its log says why",
    "MOVED": "it is a cluster; a view needs a server that is none",
    "NOPERM": "its user may not do what a view needs: EVAL, INFO, SCAN, and the commands of the projection on its keys",
    "OOM": "its memory is full: raise maxmemory, or remove what is not needed",
    "READONLY": "it is a read-only replica: name the primary",
    "WRONGTYPE": "something else is kept under the key of the record: choose another prefix",
}
# The driver makes classes of these, without the code.
_CODES: Final = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", NoPermissionError: "NOPERM"}


@contextmanager
def translated(unavailable: type[Exception], refused: type[Exception]) -> Iterator[None]:
    """Tell faults that pass from servers that are not fit, without their addresses and what they answered."""
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise refused("Valkey does not accept the user or password of the client") from error
    except InvalidResponse as error:
        raise refused("what answers is not a Valkey") from error
    except (NotConnected, TimedOut, OSError) as error:
        raise unavailable(f"Valkey cannot be reached: {type(error).__name__}") from error
    except ResponseError as error:
        code = code_of(error)
        if code in _PASSING:
            raise unavailable(f"Valkey cannot be used now: {code}") from error
        raise refused(f"Valkey cannot be used: {UNFIT.get(code, f'it answers {code}')}") from error
    finally:
        # The driver sends through wait_for, which before Python 3.12 may lose that its task was cancelled.
        if task and task.cancelling() > cancelled:
            raise asyncio.CancelledError


def code_of(error: ResponseError) -> str:
    """Return the code with which an error reply begins."""
    return _CODES.get(type(error)) or str(error).split(" ", 1)[0]


def binary(client: Any) -> Any:
    """Return a client that answers in bytes; the driver's annotations know nothing of these, hence no type."""
    if client.connection_pool.get_encoder().decode_responses:
        raise InvalidInput("client", "expected one without decode_responses: what is kept is not always text")
    return client
