"""The service as a process: the server with health and reflection, started and stopped cleanly."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
from eventstore import StoreUnavailable
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from context_service.api import ContextService
from context_service.v1 import context_pb2, context_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from context_service.bundles import Bundles
    from context_service.contexts import Contexts
    from context_service.relationships import Graph
    from context_service.stories import Stories

_log = logging.getLogger("context_service")

SERVICE: Final = context_pb2.DESCRIPTOR.services_by_name["ContextService"].full_name
#: So long calls under way may take when the service stops; streams that have no end get one second more.
_GRACE_SECONDS: Final = 20.0
_LAST_SECONDS: Final = 1.0
_READINESS_SECONDS: Final = 1.0
_MAX_PORT: Final = 65_535
#: Colons stand in brackets alone.
_HOST: Final = re.compile(r"\[[^\[\]]+\]|[^\[\]:]+")
_SECRET_WORDS: Final = ("pass", "secret", "token", "cred", "key", "seed", "auth")


class CannotListen(Exception):
    """The address cannot be listened on. The message names it."""


@asynccontextmanager
async def serving(
    stories: Stories,
    listen: str,
    *,
    contexts: Contexts | None = None,
    bundles: Bundles | None = None,
    graph: Graph | None = None,
    ready: Callable[[], bool] = lambda: True,
    drain: float = 0.0,
) -> AsyncIterator[str]:
    """Serve stories, and their graph, while the block runs; yields the address, with the port chosen for port 0.

    Health says that it serves while the store answers and ``ready`` says so. The packaged policy is in force unless
    another one is given. At the end, calls under way get their answers, and new ones are UNAVAILABLE, for ``drain``
    seconds before the port closes: a call that arrives at a closing port is only CANCELLED.

    Raises:
        CannotListen: the address is not free, or none of this machine.
    """
    # Without the option a second server could share the port, and calls would go to either.
    stopping = _Stopping()
    server = grpc.aio.server(interceptors=(stopping,), options=(("grpc.so_reuseport", 0),))
    service = ContextService(stories, contexts=contexts, bundles=bundles, graph=graph, stopping=lambda: stopping.begun)
    context_pb2_grpc.add_ContextServiceServicer_to_server(service, server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    _check_free(listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        raise CannotListen(f"cannot listen on {listen}: expected HOST:PORT, free and of this machine") from None
    await _tell_readiness(stories, ready, checks)
    await server.start()
    watching = asyncio.create_task(_watch_readiness(stories, ready, checks))
    try:
        yield f"{listen.rpartition(':')[0]}:{port}"
    finally:
        watching.cancel()
        stopping.begun = True
        await checks.enter_graceful_shutdown()
        await asyncio.sleep(drain)
        await service.finish(_GRACE_SECONDS)
        await server.stop(_LAST_SECONDS)


class _Stopping(grpc.aio.ServerInterceptor):
    """Refuses calls once the service stops, but for those to its health."""

    def __init__(self) -> None:
        self.begun = False

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return who answers a call."""
        if self.begun and not handler_call_details.method.startswith(f"/{health.SERVICE_NAME}/"):
            return grpc.unary_unary_rpc_method_handler(_refuse)
        return await continuation(handler_call_details)


async def _refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "this process is stopping; try again")


def _check_free(listen: str) -> None:
    """Find out why an address cannot be listened on, which gRPC only writes into its own log."""
    host, _, port = listen.rpartition(":")
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _MAX_PORT:
        raise CannotListen(f"cannot listen on {listen!r}: expected HOST:PORT")
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}") from None


async def _watch_readiness(stories: Stories, ready: Callable[[], bool], checks: health.aio.HealthServicer) -> None:
    fault = ""
    while True:
        await asyncio.sleep(_READINESS_SECONDS)
        before, fault = fault, await _tell_readiness(stories, ready, checks)
        if fault not in {"", before}:
            _log.error("the store cannot be asked: %s", fault)


async def _tell_readiness(stories: Stories, ready: Callable[[], bool], checks: health.aio.HealthServicer) -> str:
    """Let health say what the store and the read models say; return the fault that neither should have."""
    status, fault = "NOT_SERVING", ""
    try:
        await stories.store.head()
        status = "SERVING" if ready() else "NOT_SERVING"
    except StoreUnavailable:
        pass
    except Exception as error:  # noqa: BLE001 (whoever asks health must not be told what was so before)
        fault = type(error).__name__
    for name in ("", SERVICE):
        await checks.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    return fault


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set an event on SIGTERM and SIGINT instead of ending the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def without_secrets(url: str) -> str:
    """Return a URL fit for a log: user, password and secret options are starred."""
    url = re.sub(r"(?<=//)[^/?#]*@", "***@", url)
    return re.sub(rf"([?&][^=&]*(?:{'|'.join(_SECRET_WORDS)})[^=&]*=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
