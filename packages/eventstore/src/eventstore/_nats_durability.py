"""What an acknowledgement is worth: how many copies, and whether each is on disk by then."""

from __future__ import annotations

import asyncio
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from eventstore._errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_MONITOR_SECONDS: Final = 5.0


class Durability:
    """Asks the monitoring ports: they alone tell whether a server syncs before it acknowledges.

    Every server that keeps the log must be among those that answer, by its name; else nothing is known.
    """

    def __init__(self, monitors: Sequence[str]) -> None:
        self._monitors = tuple(monitors)

    async def words(self, info: dict[str, Any], connected: str) -> str:
        """Say it, for people, of the stream that a server describes; ``connected`` is its id."""
        copies = info["config"]["num_replicas"]
        kept = f"{copies} {'copies' if copies > 1 else 'copy'}"
        syncs = await self._syncs_always(_keepers(info, connected))
        if syncs is None:
            return f"unknown: {kept}; no monitoring port tells when the servers sync"
        if syncs:
            return f"full: {kept}, and the disk is synced before a commit is acknowledged"
        return f"normal: {kept}; an acknowledged commit survives killed processes, not power loss everywhere"

    async def check_strict(self, info: dict[str, Any], connected: str) -> None:
        """Refuse servers that acknowledge before they sync, and those that do not tell.

        Raises:
            StoreUnavailable: there is such a server.
        """
        syncs = await self._syncs_always(_keepers(info, connected))
        if syncs is None:
            raise StoreUnavailable(
                "strict: no monitoring port tells when the servers sync; name those of all that keep the log: monitor="
            )
        if not syncs:
            raise StoreUnavailable("strict: a server acknowledges before it syncs; set sync_interval: always")

    async def _syncs_always(self, keepers: set[str]) -> bool | None:
        """Say whether all servers that keep the log sync before they acknowledge; None when one does not tell."""
        answers = await asyncio.gather(*(asyncio.to_thread(_ask, address) for address in self._monitors))
        known = {server: syncs for answer in answers for server, syncs in answer.items()}
        told = [known.get(keeper) for keeper in keepers]
        return None if None in told else all(told)


def _keepers(info: dict[str, Any], connected: str) -> set[str]:
    """Return the names of the servers that keep the stream; in no cluster, the id of the one that is connected."""
    cluster = info.get("cluster") or {}
    if not cluster.get("name"):
        return {connected}
    return {cluster.get("leader", ""), *(replica["name"] for replica in cluster.get("replicas") or ())}


class _JszConfig(msgspec.Struct):
    sync_always: bool = False


class _Jsz(msgspec.Struct):
    """What a monitoring port tells of JetStream; a server without it tells no configuration."""

    config: _JszConfig


class _Varz(msgspec.Struct):
    server_id: str
    server_name: str


def _ask(address: str) -> dict[str, bool | None]:
    """Ask a monitoring port whether its server, by id and by name, syncs before it acknowledges."""
    varz, jsz = _read(address, "varz", _Varz), _read(address, "jsz?config=true", _Jsz)
    if varz is None or jsz is None:
        return {}
    return dict.fromkeys((varz.server_id, varz.server_name), jsz.config.sync_always)


def _read(address: str, path: str, type: type[T]) -> T | None:
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/{path}", timeout=_MONITOR_SECONDS) as answer:  # noqa: S310 (the operator's own address)
            return msgspec.json.decode(answer.read(), type=type)
    except (OSError, ValueError, HTTPException, msgspec.DecodeError):
        return None
