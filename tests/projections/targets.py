"""Targets by URL, so that what is done to a runner can be done on each: another one is a function and its scheme."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from projections.sqlite import SqliteModel

from tests.projections.views import IN_SQLITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from projections import Projection


class Target(NamedTuple):
    """A model, and a projection for it whose entries say ``id``, ``total`` and ``commits``."""

    projection: Projection[Any]
    model: Any

    async def view(self) -> dict[str, tuple[int, int]]:
        """Return what each stream adds up to in the view, and how many commits that were."""
        rows = [json.loads(value) async for _, value in self.model.entries(self.projection.owns, str)]
        return {row["id"]: (row["total"], row["commits"]) for row in rows}


@asynccontextmanager
async def sqlite(url: str) -> AsyncIterator[Target]:
    """Open ``sqlite:///PATH``."""
    async with SqliteModel(url.removeprefix("sqlite:///")) as model:
        yield Target(IN_SQLITE, model)


SCHEMES: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Target]]]] = {"sqlite": sqlite}


def open_target(url: str) -> AbstractAsyncContextManager[Target]:
    """Return a target, not open."""
    return SCHEMES[url.partition(":")[0]](url)
