"""The metrics and the health of a process's projections over HTTP, and their states as they change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
from eventstore import InvalidInput
from prometheus_client import make_wsgi_app, start_http_server

from projections._monitor import Health, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import CollectorRegistry

    from projections._monitor import State

__all__ = ["HEALTH", "Telling", "serving"]

HEALTH: Final = "/health"


class Telling(Monitor):
    """A monitor that tells each new state with its reason, as for a terminal or a log; a retry is nothing new.

    Args:
        tell: gets a projection's name, and what is new of it.
        registry: as for every monitor.
    """

    def __init__(self, tell: Callable[[str, str], None], registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self._tell = tell
        self._told: dict[str, str] = {}

    def note(self, projection: str, state: State, *, trouble: str = "") -> None:
        """Tell a new state."""
        super().note(projection, state, trouble=trouble)
        failure = self.health(projection).failure if state == "failed" else None
        reason = trouble or (str(failure) if failure else "")
        text = f"{state}: {reason}" if reason else state
        if self._told.get(projection) != text:
            self._told[projection] = text
            self._tell(projection, text)


@contextmanager
def serving(monitor: Monitor, projections: Sequence[str], *, address: str) -> Iterator[int]:
    """Serve while the block runs; yields the port.

    ``/health`` is a JSON list with an object for each projection, with the code 200 when all are ready, else 503. Every
    other path is the metrics, as Prometheus reads them.

    Args:
        monitor: whose registry and health.
        projections: the names of those whose health is served.
        address: ``HOST:PORT``; port 0 takes a free one.

    Raises:
        InvalidInput: that is no address, or nothing can be served there.
    """
    host, port = _parsed(address)
    try:
        server, thread = start_http_server(port, host, monitor.registry)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInput("address", f"cannot serve on {address}: {why}") from error
    metrics = make_wsgi_app(monitor.registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != HEALTH:
            return metrics(environ, start_response)
        found = [monitor.health(name) for name in projections]
        code = "200 OK" if all(health.ready for health in found) else "503 Service Unavailable"
        start_response(code, [("Content-Type", "application/json")])
        return [msgspec.json.encode([_facts(health) for health in found])]

    server.set_app(answer)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _facts(health: Health) -> dict[str, Any]:
    return msgspec.structs.asdict(health) | {"behind": health.behind, "ready": health.ready}


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise InvalidInput("address", f"cannot serve on {address!r}: expected HOST:PORT")
    return host.strip("[]"), int(port)
