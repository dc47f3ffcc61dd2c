"""What the cases of the contract share: two handles on a target, and words to write to it and read it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from projections._errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from projections._model import Changes, Model, Stored
    from projections._projection import Name

_SCRATCH: Final = 99


class Probe(Protocol):
    """Writes through a target's own transaction, which the contract does not know, as a projection would."""

    @property
    def owns(self) -> Sequence[str]:
        """As a projection's ``owns``: several things where the target knows several, and each written to."""

    def write(self, tx: Any, name: Name, key: str, value: str) -> Awaitable[None] | None:
        """Put a value under a key, in the place of another one, where ``name`` says."""

    def setup(self, tx: Any, name: Name) -> Awaitable[None] | None:
        """Make tables, indexes and constraints, as a projection's ``setup``."""


class Contract:
    """Names the model under test; see ``ModelContract``."""

    #: Whether changes may be async; if not, such changes are refused with a ``TypeError``.
    waits: bool = True
    #: Rounds of a race.
    rounds: int = 25
    #: A case that has not ended after so many seconds has failed.
    patience: float = 20.0

    @staticmethod
    def model(folder: Path, /) -> AbstractAsyncContextManager[Model[Any]]:
        """Return a model, not open. The same folder means the same target."""
        raise NotImplementedError

    @staticmethod
    def probe(space: str, /) -> Probe:
        """Return what writes to a view of its own, by a word of letters and digits that no other case has."""
        raise NotImplementedError


C = TypeVar("C", bound=Contract)

Dump = dict[str, bytes]
"""What a view consists of."""


def case(body: Callable[[C, Scene], Coroutine[object, object, None]]) -> Callable[[C, Path], None]:
    """Make a test for pytest of a coroutine function that works on a scene."""

    async def staged(contract: C, folder: Path) -> None:
        async with AsyncExitStack() as handles:
            scene = Scene(contract, folder, handles)
            await scene.begin()
            await body(contract, scene)
            await scene.end()

    def test(self: C, tmp_path: Path) -> None:
        run(self, staged(self, tmp_path))

    # Not functools.wraps: pytest would follow it and ask for a fixture called scene.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(test, name, getattr(body, name))
    return test


def run(contract: Contract, body: Coroutine[object, object, None]) -> None:
    """Run a case to its end, in a loop of its own, so that no pytest plugin is needed."""

    async def bounded() -> None:
        try:
            async with asyncio.timeout(contract.patience) as limit:
                await body
        except TimeoutError:
            if not limit.expired():
                raise
            raise AssertionError(f"something promised did not come within {contract.patience:g} s") from None

    asyncio.run(bounded())


class Scene:
    """Where one case works: keys and names that nobody else uses, and another's view beside them."""

    def __init__(self, contract: Contract, folder: Path, handles: AsyncExitStack) -> None:
        space = f"c{uuid.uuid4().hex[:12]}"
        self._contract = contract
        self._folder = folder
        self._handles = handles
        #: Of the case's projection, and of its record.
        self.key: Final = space
        self.probe: Final = contract.probe(space)
        #: Of a view that is somebody else's, and has nearly the same name.
        self.foreign: Final = contract.probe(f"{space}x")
        self._written: list[tuple[Probe, Name]] = []

    async def begin(self) -> None:
        """Open two handles."""
        self.model = await self.open()
        self.other = await self.open()

    async def open(self) -> Model[Any]:
        """Return another handle on the target."""
        return await self._handles.enter_async_context(self._contract.model(self._folder))

    async def end(self) -> None:
        """Remove what was written, for targets that outlive the case."""
        for probe, name in self._written:
            await self.clear(name, probe)
        for key in (self.key, self._scratch):
            if (stored := await self.model.load(key)) is not None:
                await self.model.commit(key, None, expected=stored.revision)

    @property
    def _scratch(self) -> str:
        return f"{self.key}-scratch"

    def shadow(self, generation: int = 1) -> Name:
        """Return the names of a generation that is not live."""
        return self.model.naming(self.key, generation)

    def changes(
        self,
        content: Mapping[str, str],
        name: Name = str,
        *,
        probe: Probe | None = None,
        error: Exception | None = None,
    ) -> Changes[Any]:
        """Return changes that write to the view, and then, perhaps, raise; async when the probe is."""
        probe = probe or self.probe

        def changes(tx: Any) -> Awaitable[None] | None:
            writes = iter(content.items())
            for key, value in writes:
                waiting = probe.write(tx, name, key, value)
                if waiting is not None:
                    return wait(tx, waiting, dict(writes))
            if error is not None:
                raise error
            return None

        async def wait(tx: Any, waiting: Awaitable[None], rest: Mapping[str, str]) -> None:
            await waiting
            for key, value in rest.items():
                await written(probe, tx, name, key, value)
            if error is not None:
                raise error

        return changes

    async def prepare(self, name: Name = str, *, probe: Probe | None = None) -> None:
        """Make what a view needs."""
        probe = probe or self.probe
        self._written.append((probe, name))
        await self.model.prepare(probe.setup, name)

    async def put(self, content: Mapping[str, str], name: Name = str, *, probe: Probe | None = None) -> None:
        """Write to a view, together with a record that no case looks at."""
        await self.prepare(name, probe=probe)
        await self._commit(self.changes(content, name, probe=probe))

    async def clear(self, name: Name = str, probe: Probe | None = None) -> None:
        """Remove a generation."""
        await self._commit(await self.model.clearing((probe or self.probe).owns, name))

    async def _commit(self, changes: Changes[Any]) -> None:
        stored = await self.model.load(self._scratch)
        revision = 0 if stored is None else stored.revision
        done = await self.model.commit(self._scratch, b"{}", expected=revision, changes=changes)
        assert done, "a record that nobody else writes was not replaced"

    async def dump(self, name: Name = str, *, probe: Probe | None = None, model: Model[Any] | None = None) -> Dump:
        """Return what a view consists of."""
        found: Dump = {}
        async for key, value in (model or self.model).entries((probe or self.probe).owns, name):
            assert key not in found, "a key came twice"
            found[key] = value
        return found

    async def expected(self, content: Mapping[str, str]) -> Dump:
        """Return what a view of some content consists of, by writing one aside."""
        aside = self.shadow(_SCRATCH)
        await self.put(content, aside)
        found = await self.dump(aside)
        await self.clear(aside)
        assert bool(found) == bool(content), "what was written is not what is read"
        return found

    async def shows(self, content: Mapping[str, str], name: Name = str, *, model: Model[Any] | None = None) -> None:
        """A view consists of this content and nothing else."""
        assert await self.dump(name, model=model) == await self.expected(content)

    async def create(self, record: bytes = b'{"n": 0}', changes: Changes[Any] | None = None) -> int:
        """Create the case's record, and return its revision."""
        assert await self.model.commit(self.key, record, expected=0, changes=changes)
        return (await self.stored()).revision

    async def stored(self, model: Model[Any] | None = None) -> Stored:
        """Return the case's record, which must be there."""
        found = await (model or self.model).load(self.key)
        assert found is not None, "the record is gone"
        return found


async def written(probe: Probe, tx: Any, name: Name, key: str, value: str) -> None:
    """Write through a probe, whether it is async or not."""
    waiting = probe.write(tx, name, key, value)
    if isawaitable(waiting):
        await waiting


async def tried(commit: Awaitable[bool]) -> bool | None:
    """Return what a commit answers; None where only the record can tell."""
    try:
        return await commit
    except ModelUnavailable:
        return None
