"""What every group of a backend's cases shares: the backend under test, and how its log differs from others."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, TypeVar

from eventstore.testing._scene import Scene, run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from eventstore._backend import Backend


class Contract:
    """Names the backend under test; see ``BackendContract``."""

    #: Whether a log outlives its handles and may have several, all made by ``backend`` with the same folder; if not,
    #: it lives and dies with the one handle.
    lasting: bool = True
    #: Whether a commit imported with a recorded time before the last one's keeps it; if not, it gets the last one's.
    times_fall: bool = False
    #: Within so many seconds a waiting follower gets a commit, on an idle machine.
    wakes_within: float = 0.1
    #: No chunk holds more commits.
    chunk_commits: int = 1_000
    #: A case that has not ended after so many seconds has failed: something promised never came.
    patience: float = 20.0
    #: Makes the event loop of each case; None is asyncio's own.
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    @staticmethod
    def backend(folder: Path, /) -> Backend:
        """Return a backend, not open. The same folder, empty at first, means the same log."""
        raise NotImplementedError


C = TypeVar("C", bound=Contract)


def case(body: Callable[[C, Scene], Coroutine[object, object, None]]) -> Callable[[C, Path], None]:
    """Make a test for pytest of a coroutine function that works on a scene."""

    async def staged(contract: C, folder: Path) -> None:
        async with contextlib.AsyncExitStack() as handles:
            scene = Scene(functools.partial(contract.backend, folder), handles, lasting=contract.lasting)
            await scene.begin()
            await body(contract, scene)

    def test(self: C, tmp_path: Path) -> None:
        run(self, staged(self, tmp_path))

    # Not functools.wraps: pytest would follow it and ask for a fixture called scene.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(test, name, getattr(body, name))
    return test
