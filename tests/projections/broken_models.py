"""Models with one planted fault each, made of the memory model: what the contract must catch."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from projections import ModelUnavailable, Stored
from projections.memory import Draft, MemoryModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from projections import Changes, Name


class Steps(MemoryModel):
    """A memory model whose commit is made of steps, without a fault."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        if not self._at(key, expected):
            return False
        draft = Draft(self.view)
        if changes is not None:
            await self._change(draft, changes)
            if not self._still(key, expected):
                return False
        draft.keep()
        self._store(key, record, expected)
        return True

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        waiting = changes(draft)
        if isawaitable(waiting):
            await waiting

    def _still(self, key: str, expected: int) -> bool:
        return self._at(key, expected)

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        if record is None:
            self._records.pop(key, None)
        else:
            self._records[key] = Stored(record, expected + 1)

    def _revision(self, key: str) -> int:
        return self._records[key].revision if key in self._records else 0


class DoesNothing(Steps):
    """Says yes and keeps nothing."""

    async def commit(self, *_: Any, **__: Any) -> bool:
        return True


# Comparing


class IgnoresExpected(Steps):
    """Every commit succeeds."""

    def _at(self, key: str, expected: int) -> bool:
        return True


class CreatesTwice(Steps):
    """A record that is there is created again."""

    def _at(self, key: str, expected: int) -> bool:
        return not expected or super()._at(key, expected)


class TakesOlder(Steps):
    """One who has missed the last change may write."""

    def _at(self, key: str, expected: int) -> bool:
        return expected in {self._revision(key), self._revision(key) - 1}


class TakesNewer(Steps):
    """One who expects what has not been may write."""

    def _at(self, key: str, expected: int) -> bool:
        return expected >= self._revision(key)


class ReplacesNothing(Steps):
    """A record that is not there is replaced."""

    def _at(self, key: str, expected: int) -> bool:
        return key not in self._records or super()._at(key, expected)


class RemovesAnyway(Steps):
    """A record is removed whatever its revision."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        expected = self._revision(key) if record is None else expected
        return await super().commit(key, record, expected=expected, changes=changes)


class ComparesBefore(Steps):
    """It compares before changes are made, and not again: two win."""

    def _still(self, key: str, expected: int) -> bool:
        return True


class BothAreTold(Steps):
    """A loser that came in time is told that it won."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        before = self._revision(key)
        await super().commit(key, record, expected=expected, changes=changes)
        return before == expected or (expected > 0 and before == expected + 1)


class WinnerIsNotTold(Steps):
    """Every fifth success is told as a defeat."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        return await super().commit(key, record, expected=expected, changes=changes) and expected % 5 != 4


class RefusesWithError(Steps):
    """A defeat is an error."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        if not await super().commit(key, record, expected=expected, changes=changes):
            raise ModelUnavailable("another revision")
        return True


# The record


class OneRevisionForAll(Steps):
    """All records count together."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record, expected)
        self._records = {one: Stored(stored.record, expected + 1) for one, stored in self._records.items()}


class RevisionOnlyWithNews(Steps):
    """A record that is replaced by the same bytes keeps its revision."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        stored = self._records.get(key)
        if stored is None or stored.record != record:
            super()._store(key, record, expected)


class CountsByTwo(Steps):
    """A change makes the revision two more."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record, expected + 1)


class ReadsText(Steps):
    """A record is kept as text of the wrong kind."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record and record.decode("ascii", "replace").encode(), expected)


class StripsRecord(Steps):
    """White space around a record is lost."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record and record.strip(), expected)


class RemovesByPrefix(Steps):
    """With a record go those whose keys begin alike."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record, expected)
        if record is None:
            self._records = {one: stored for one, stored in self._records.items() if not one.startswith(key)}


class KeepsRemoved(Steps):
    """A removed record is an empty one."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, b"" if record is None else record, expected)


class LoadsOld(Steps):
    """What was loaded once is loaded again."""

    def __init__(self) -> None:
        super().__init__()
        self._loaded: dict[str, Stored] = {}

    async def load(self, key: str) -> Stored | None:
        found = await super().load(key)
        return None if found is None else self._loaded.setdefault(key, found)


class LoadsSomething(Steps):
    """Where no record is an empty one is found."""

    async def load(self, key: str) -> Stored | None:
        return await super().load(key) or Stored(b"", 0)


class RecordIsEntry(Steps):
    """The record stands in the view."""

    def _store(self, key: str, record: bytes | None, expected: int) -> None:
        super()._store(key, record, expected)
        self.view[f"{key}:record"] = expected


# Changes


class ComparesLate(Steps):
    """Changes are made to the view, and compared afterwards."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        if changes is not None:
            draft = Draft(self.view)
            await self._change(draft, changes)
            draft.keep()
        return await super().commit(key, record, expected=expected)


class ForgetsRollback(Steps):
    """What changes have written before they raised stays."""

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        try:
            await super()._change(draft, changes)
        except Exception:
            draft.keep()
            raise


class ForgetsOneRollback(Steps):
    """What failed changes have written is written by the next ones."""

    _left: dict[str, Any] | None = None

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        draft._changed.update(self._left or {})
        try:
            await super()._change(draft, changes)
        except Exception:
            self._left = draft._changed
            raise
        self._left = None


class ForgetsAsyncRollback(Steps):
    """Changes that waited before they raised stay."""

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        waiting = changes(draft)
        if isawaitable(waiting):
            try:
                await waiting
            except Exception:
                draft.keep()
                raise


class RecordGoesAhead(Steps):
    """The record moves before the changes, and stays when they raise."""

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        before = dict(self._records)
        for key, stored in before.items():
            self._records[key] = Stored(stored.record, stored.revision + 1)
        await super()._change(draft, changes)
        self._records = before


class RecordAlone(Steps):
    """The record moves without the changes when it is removed."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        changes = None if record is None else changes
        return await super().commit(key, record, expected=expected, changes=changes)


class NothingWithoutWrites(Steps):
    """The record stays where changes have written nothing."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        if changes is not None and self._at(key, expected):
            draft = Draft(self.view)
            await self._change(draft, changes)
            if not draft._changed:
                return True
        return await super().commit(key, record, expected=expected, changes=changes)


class SwallowsErrors(Steps):
    """Changes that raise are a defeat."""

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        try:
            return await super().commit(key, record, expected=expected, changes=changes)
        except Exception:  # noqa: BLE001 (the fault)
            return False


class WrapsErrors(Steps):
    """What changes raise comes out as a fault of the target."""

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        try:
            await super()._change(draft, changes)
        except Exception as error:
            raise ModelUnavailable(str(error)) from error


class DoesNotWait(Steps):
    """Async changes are not awaited."""

    async def _change(self, draft: Draft, changes: Changes[Draft]) -> None:
        waiting: Any = changes(draft)
        if isawaitable(waiting):
            waiting.close()  # type: ignore[attr-defined]


# Names


class NamesPlain(Steps):
    """All generations have the plain names."""

    def naming(self, projection: str, generation: int) -> Name:
        return str


class NamesOneGeneration(Steps):
    """All generations of a projection but the live one have the same names."""

    def naming(self, projection: str, generation: int) -> Name:
        return super().naming(projection, 1)


class NamesOneProjection(Steps):
    """All projections have the same names."""

    def naming(self, projection: str, generation: int) -> Name:
        return super().naming("x", generation)


class NamesRunTogether(Steps):
    """Name and number of a projection are written in one."""

    def naming(self, projection: str, generation: int) -> Name:
        return super().naming("x", int(f"{len(projection)}{generation}"))


# Reading


class ShowsNames(Steps):
    """Keys show in which generation they are."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        async for key, value in super().entries(owns, name):
            yield name(key), value


class ShowsOrder(Steps):
    """Values show when they were written."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        keys = list(self.view)
        async for key, value in super().entries(owns, name):
            yield key, value + f"{keys.index(name(key))}".encode()


class ShowsKeysAlone(Steps):
    """Values are left out."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        async for key, _ in super().entries(owns, name):
            yield key, b""


class ShowsShadows(Steps):
    """The plain names show other generations too."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        async for entry in super().entries(owns, name):
            yield entry
        if not name(""):
            async for entry in super().entries([f"~*~{own}" for own in owns], lambda plain: plain or ""):
                yield entry
            for key in self.view:
                if key.startswith("~") and any(own.removesuffix("*") in key for own in owns):
                    yield key, b""


class ShowsFirstPage(Steps):
    """Only the first thousand entries are read."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        number = 0
        async for entry in super().entries(owns, name):
            number += 1
            if number <= 1_000:
                yield entry


class ShowsTwice(Steps):
    """What begins a second page comes twice."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        number = 0
        async for entry in super().entries(owns, name):
            number += 1
            yield entry
            if number == 1_000:
                yield entry


class ShowsFirstOwned(Steps):
    """Of what a view owns the first is read."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        async for entry in super().entries(owns[:1], name):
            yield entry


class ShowsOnlyWhatWas(Steps):
    """A generation that was never written to cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    async def prepare(self, setup: Any, name: Name) -> None:
        self._known.add(name(""))

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        if name("") not in self._known:
            raise KeyError(name(""))
        async for entry in super().entries(owns, name):
            yield entry


class FoldsCase(Steps):
    """Keys are read in small letters."""

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        async for key, value in super().entries(owns, name):
            yield key.lower(), value


# Clearing and swapping


class ClearsAtOnce(Steps):
    """A generation is gone as soon as changes are asked for."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        changes = await super().clearing(owns, name)
        draft = Draft(self.view)
        changes(draft)
        draft.keep()
        return changes


class ClearsForeign(Steps):
    """What begins alike is cleared too."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        return await super().clearing([own.removesuffix(":*") + "*" for own in owns], name)


class ClearsGenerations(Steps):
    """With one generation go the others."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        def clear(draft: Draft) -> None:
            for key in list(draft):
                if any(own.removesuffix("*") in key for own in owns):
                    del draft[key]

        return clear


class ClearsSome(Steps):
    """What it owns first is cleared."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        return await super().clearing(owns[:1], name)


class ClearsOnlyWhatIs(Steps):
    """Nothing cannot be cleared."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        if not [entry async for entry in self.entries(owns, name)]:
            raise KeyError(name(""))
        return await super().clearing(owns, name)


class ClearsPlain(Steps):
    """Whatever generation is to be cleared, it is the live one."""

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        return await super().clearing(owns, str)


class SwapsLeavingOld(Steps):
    """Keys of the old view that the new one lacks stay."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        swap = await super().swapping(owns, name)

        def keeping(draft: Draft) -> None:
            old = dict(draft)
            swap(draft)
            for key, value in old.items():
                if key not in draft and not key.startswith("~"):
                    draft[key] = value

        return keeping


class SwapsByCopy(Steps):
    """The generation stays where it was."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        swap = await super().swapping(owns, name)

        def copying(draft: Draft) -> None:
            old = dict(draft)
            swap(draft)
            for key, value in old.items():
                if key.startswith(name("")):
                    draft[key] = value

        return copying


class SwapsOutside(Steps):
    """The swap is made at once, beside the transaction."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        swap = await super().swapping(owns, name)

        def outside(draft: Draft) -> None:
            beside = Draft(self.view)
            swap(beside)
            beside.keep()

        return outside


class SwapsHalf(Steps):
    """The old view goes with the transaction, the new one comes beside it."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        clear = await self.clearing(owns, str)

        def half(draft: Draft) -> None:
            clear(draft)
            start = name("")
            for key in list(self.view):
                if key.startswith(start):
                    self.view[key.removeprefix(start)] = draft[key.removeprefix(start)] = self.view.pop(key)

        return half


class SwapsOnlySomething(Steps):
    """An empty generation does not take the place of another."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        if [entry async for entry in self.entries(owns, name)]:
            return await super().swapping(owns, name)
        return lambda draft: None


class SwapsWithForeign(Steps):
    """Whatever is of the generation takes part, whoever owns it."""

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        return await super().swapping(["*"] if name("") else owns, name)


class SwapsOnce(Steps):
    """A second swap is not made."""

    _swapped = False

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        if self._swapped:
            return lambda draft: None
        self._swapped = True
        return await super().swapping(owns, name)


class PreparesAnew(Steps):
    """To prepare is to begin anew."""

    async def prepare(self, setup: Any, name: Name) -> None:
        for key in [key for key in self.view if key.startswith(name("") or "c")]:
            del self.view[key]


BROKEN = [kind for kind in list(globals().values()) if isinstance(kind, type) and issubclass(kind, Steps)][1:]
