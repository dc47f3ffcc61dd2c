"""One view's record in the hands of who changes it: compared, replaced, settled after a fault."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from msgspec.structs import replace
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_never, wait_exponential, wait_random

from projections._errors import ModelUnavailable, UnknownProjection
from projections._record import Record, from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from projections._model import Changes, Model
    from projections._projection import Name

Tx = TypeVar("Tx")
T = TypeVar("T")

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 5.0
_JITTER: Final = 1.0


def attempts(passes: Callable[[BaseException], bool], most: int | None = None) -> AsyncRetrying:
    """Return attempts at something, one after another as long as it fails with what passes by itself.

    They log nothing: whoever makes them tells of a fault what a reader needs to know, and once.
    """
    return AsyncRetrying(
        retry=retry_if_exception(passes),
        stop=stop_never if most is None else stop_after_attempt(most),
        wait=wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT - _JITTER) + wait_random(0, _JITTER),
        reraise=True,
    )


class Keeper(Generic[Tx]):
    """Loads and replaces the record under a key.

    Args:
        model: the target.
        key: of the record.
        patient: with what passes by itself, for as long as it takes. If not, it is raised at once; only a change that
            may have happened is looked for, and tried once more.
        note: is told about each fault that is met by trying again.
    """

    def __init__(
        self,
        model: Model[Tx],
        key: str,
        *,
        patient: bool = True,
        note: Callable[[Exception], None] | None = None,
    ) -> None:
        self.model: Final = model
        self.key: Final = key
        self.record: Record | None = None
        self.revision = 0
        self._patient = patient
        self._note = note

    async def load(self) -> Record | None:
        """Look at the record."""
        return await self.patiently(self._load)

    async def known(self) -> Record:
        """Look at the record of a projection that has run.

        Raises:
            UnknownProjection: it has not.
        """
        record = await self.load()
        if record is None:
            raise UnknownProjection(f"{self.key} has not run on this target yet: run it")
        return record

    async def write(self, record: Record, changes: Changes[Tx] | None = None) -> bool:
        """Replace the record that was last seen, together with changes to the view.

        Says False, with the record looked at again, when somebody else has replaced it.

        Raises:
            Exception: what the changes raise; nothing was written.
        """
        data = to_bytes(record)

        async def once() -> bool:
            return await self.model.commit(self.key, data, expected=self.revision, changes=changes)

        expected = self.revision
        async for attempt in self._attempts(2):
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    # The last attempt's fate is open: nobody else writes this very record.
                    await self._noted(self._load)
                    if self.revision != expected:
                        return self.revision == expected + 1 and self.record == record
                done = await self._noted(once)
                if done:
                    self.record, self.revision = record, expected + 1
                else:
                    await self._noted(self._load)
                return done
        raise AssertionError("there is no last attempt")  # pragma: no cover

    async def change(self, changed: Callable[[Record], Record]) -> Record:
        """Replace the record by what a function makes of it, however often others do so meanwhile."""
        while True:
            record = self.record or await self.known()
            wanted = changed(record)
            if wanted == record or await self.write(wanted):
                return wanted

    async def change_view(self, plan: Callable[[Record], Awaitable[tuple[Record, Changes[Tx] | None]]]) -> Record:
        """Replace the record and change the view as a function plans it, asked anew whenever others were first.

        The change has a name, which stays in the record: so it is not made twice where its answer was lost and others
        have written since.
        """
        name = uuid.uuid4().hex
        while True:
            record = await self.known()
            if record.change == name:
                return record
            wanted, changes = await plan(record)
            wanted = replace(wanted, change=name)
            if await self.write(wanted, changes):
                return wanted

    async def remove(self, owns: Sequence[str], naming: Callable[[Record], Name]) -> None:
        """Remove the record, together with a generation of the view."""
        while (record := await self.load()) is not None:
            clear = await self.model.clearing(owns, naming(record))
            if await self.model.commit(self.key, None, expected=self.revision, changes=clear):
                return

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until the target answers."""
        async for attempt in self._attempts(1):
            with attempt:
                return await self._noted(ask)
        raise AssertionError("there is no last attempt")  # pragma: no cover

    def _attempts(self, without_patience: int) -> AsyncRetrying:
        return attempts(lambda error: isinstance(error, ModelUnavailable), None if self._patient else without_patience)

    async def _noted(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except ModelUnavailable as error:
            if self._note is not None:
                self._note(error)
            raise

    async def _load(self) -> Record | None:
        stored = await self.model.load(self.key)
        self.record = None if stored is None else from_bytes(stored.record)
        self.revision = 0 if stored is None else stored.revision
        return self.record


def released(record: Record) -> Record:
    """Return a record whose view nobody writes. A rebuild that holds it goes on holding it."""
    return replace(record, holder="")
