"""Cases about what a view is called, how it is read, emptied and put in another one's place."""

from __future__ import annotations

from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import pytest

from projections.testing._scene import Contract, Scene, case

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from projections._model import Changes

_OLD: Final = {"a": "1", "b": "2", "gone": "3"}
_NEW: Final = {"a": "1", "b": "changed", "new": "4"}
_PIECE: Final = 200
#: Keys of a view that is larger than whatever a model reads at once.
_MANY: Final = 1_100
_OTHERS: Final = {"a": "theirs", "z": "theirs"}


class _Cut(Exception):
    """What comes between."""


def _cut_short(changes: Changes[Any]) -> Changes[Any]:
    """Return changes that are made, and then taken back."""

    async def wait(waiting: Awaitable[None]) -> None:
        await waiting
        raise _Cut

    def cut(tx: Any) -> Awaitable[None] | None:
        waiting = changes(tx)
        if isawaitable(waiting):
            return wait(waiting)
        raise _Cut

    return cut


class Names(Contract):
    """A generation that is not live has names of its own, which do not show in what is read."""

    @case
    async def test_names(self, scene: Scene) -> None:
        """Each generation of each projection has other names than the plain ones, every time the same."""
        names = {
            scene.model.naming(projection, generation)(word)
            for projection in (scene.key, f"{scene.key}-a", f"{scene.key}-a-1", f"{scene.key}-1")
            for generation in (1, 2, 11)
            for word in ("a", "b")
        }
        assert len(names) == 24
        assert not {"a", "b"} & names
        assert scene.model.naming(scene.key, 1)("a") == scene.other.naming(scene.key, 1)("a")

    @case
    async def test_unseen(self, scene: Scene) -> None:
        """What is written to one generation is not seen in the live view, nor in another generation."""
        await scene.put(_OLD)
        await scene.put(_NEW, scene.shadow(1))
        await scene.put({"only": "5"}, scene.shadow(2))
        await scene.shows(_OLD)
        await scene.shows(_NEW, scene.shadow(1))
        await scene.shows({"only": "5"}, scene.shadow(2))

    @case
    async def test_unseen_when_live_is_empty(self, scene: Scene) -> None:
        """Nor is it when the live view is empty."""
        await scene.prepare()
        await scene.put(_NEW, scene.shadow(1))
        assert await scene.dump() == {}

    @case
    async def test_nothing_to_read(self, scene: Scene) -> None:
        """A view that is not there consists of nothing, live or not."""
        assert await scene.dump() == {}
        assert await scene.dump(scene.shadow(3)) == {}

    @case
    async def test_same_content(self, scene: Scene) -> None:
        """Equal content reads equal, whatever the generation and the way it was written."""
        await scene.put({"a": "1", "b": "2", "c": "3"})
        for key, value in (("c", "3"), ("a", "0"), ("b", "2"), ("a", "1")):
            await scene.put({key: value}, scene.shadow(1))
        await scene.put({"c": "0", "b": "0", "a": "0"}, scene.shadow(22))
        await scene.put({"b": "2", "a": "1", "c": "3"}, scene.shadow(22))
        dumps = [await scene.dump(name) for name in (str, scene.shadow(1), scene.shadow(22))]
        assert dumps[0] == dumps[1] == dumps[2] == await scene.dump(model=scene.other)

    @case
    async def test_other_content(self, scene: Scene) -> None:
        """Another value, another key, one more or one less: each reads different."""
        contents: list[dict[str, str]] = [
            {"a": "1", "b": "2"},
            {"a": "1", "b": "3"},
            {"a": "2", "b": "1"},
            {"a": "1", "c": "2"},
            {"a": "1"},
            {"a": "1", "b": ""},
            {"a": "1", "b": "2", "c": "3"},
            {},
        ]
        dumps = [await scene.expected(content) for content in contents]
        assert [dumps.index(dump) for dump in dumps] == list(range(len(contents)))

    @case
    async def test_odd_values(self, scene: Scene) -> None:
        """Keys and values come back whatever letters stand in them."""
        odd = [*"aA'\"\\%*?:~é\U0001f6420", "[a]", "a b", "null", "x" * 500]
        dumps = [await scene.expected({key: "1"}) for key in odd] + [await scene.expected({"k": text}) for text in odd]
        assert [dumps.index(dump) for dump in dumps] == list(range(2 * len(odd)))
        everything = {key: key[::-1] for key in odd}
        await scene.put(everything)
        await scene.shows(everything)

    @case
    async def test_many(self, scene: Scene) -> None:
        """A view that is large is read whole, emptied whole and put in place whole."""
        content = {f"{number:05}": f"{number % 7}" for number in range(_MANY)}
        await scene.put(content)
        await scene.put(content, scene.shadow())
        large = await scene.dump()
        assert large == await scene.dump(scene.shadow())
        pieces = [dict(list(content.items())[start : start + _PIECE]) for start in range(0, _MANY, _PIECE)]
        assert large == {key: value for piece in pieces for key, value in (await scene.expected(piece)).items()}
        await scene.clear()
        assert await scene.dump() == {}
        await scene.create(b"{}", await scene.model.swapping(scene.probe.owns, scene.shadow()))
        assert large == await scene.dump()
        assert await scene.dump(scene.shadow()) == {}

    @case
    async def test_prepared_again(self, scene: Scene) -> None:
        """Making what a view needs, again and for another generation, leaves what is there."""
        await scene.put(_OLD)
        await scene.put(_NEW, scene.shadow())
        for name in (str, scene.shadow(), scene.shadow(2)):
            await scene.prepare(name)
            await scene.other.prepare(scene.probe.setup, name)
        await scene.shows(_OLD)
        await scene.shows(_NEW, scene.shadow())


class Moves(Contract):
    """A generation is removed, or put in the live one's place, together with a record or not at all."""

    @case
    async def test_clear_nothing(self, scene: Scene) -> None:
        """What is not there can be cleared, with and without what it needs."""
        await scene.create(b"{}", await scene.model.clearing(scene.probe.owns, scene.shadow()))
        changes = await scene.model.clearing(scene.probe.owns, str)
        assert await scene.model.commit(scene.key, b"[]", expected=1, changes=changes) is True
        await scene.prepare(scene.shadow())
        await scene.clear(scene.shadow())
        assert await scene.dump(scene.shadow()) == {}

    @case
    async def test_clear(self, scene: Scene) -> None:
        """A cleared generation is empty; the live one, other generations and other views are as they were."""
        await self._everything(scene)
        await scene.clear(scene.shadow(1))
        assert await scene.dump(scene.shadow(1)) == {}
        await scene.shows(_OLD)
        await scene.shows({"two": "2"}, scene.shadow(2))
        await self._others_untouched(scene)

    @case
    async def test_clear_live(self, scene: Scene) -> None:
        """A cleared live view is empty, can be filled again, and its generations are as they were."""
        await self._everything(scene)
        await scene.clear()
        assert await scene.dump() == {}
        await scene.shows(_NEW, scene.shadow(1))
        await scene.shows({"two": "2"}, scene.shadow(2))
        await self._others_untouched(scene)
        await scene.put({"again": "1"})
        await scene.shows({"again": "1"})

    @case
    async def test_clear_or_not(self, scene: Scene) -> None:
        """Clearing is undone with the commit that it is part of, and not done where the revision is another."""
        await scene.put(_OLD)
        await scene.put(_NEW, scene.shadow())
        revision = await scene.create(b"{}")
        for name in (str, scene.shadow()):
            await self._not_done(scene, revision, await scene.model.clearing(scene.probe.owns, name))
        await scene.shows(_OLD)
        await scene.shows(_NEW, scene.shadow())

    @case
    async def test_swap(self, scene: Scene) -> None:
        """After a swap the plain names hold the rebuilt content alone, and its generation is empty."""
        await self._everything(scene)
        await scene.create(b"{}", await scene.model.swapping(scene.probe.owns, scene.shadow(1)))
        await scene.shows(_NEW)
        await scene.shows(_NEW, model=scene.other)
        assert await scene.dump(scene.shadow(1)) == {}
        await scene.shows({"two": "2"}, scene.shadow(2))
        await self._others_untouched(scene)

    @case
    async def test_swap_or_not(self, scene: Scene) -> None:
        """A swap is undone with the commit that it is part of, and not done where the revision is another."""
        await scene.put(_OLD)
        await scene.put(_NEW, scene.shadow())
        revision = await scene.create(b"{}")
        await self._not_done(scene, revision, await scene.model.swapping(scene.probe.owns, scene.shadow()))
        await scene.shows(_OLD)
        await scene.shows(_NEW, scene.shadow())

    @case
    async def test_swap_into_nothing(self, scene: Scene) -> None:
        """A generation takes the place of a live view that is empty or not there."""
        await scene.put(_NEW, scene.shadow())
        await scene.create(b"{}", await scene.model.swapping(scene.probe.owns, scene.shadow()))
        await scene.shows(_NEW)

    @case
    async def test_swap_nothing(self, scene: Scene) -> None:
        """After a swap with an empty generation the view is empty."""
        await scene.put(_OLD)
        await scene.prepare(scene.shadow())
        await scene.create(b"{}", await scene.model.swapping(scene.probe.owns, scene.shadow()))
        assert await scene.dump() == {}

    @case
    async def test_swap_again(self, scene: Scene) -> None:
        """A view that was swapped is written to, and swapped again."""
        await scene.put(_OLD)
        for generation in (1, 2, 3):
            shadow = scene.shadow(generation)
            await scene.put({f"{generation}": "rebuilt"}, shadow)
            changes = await scene.model.swapping(scene.probe.owns, shadow)
            assert await scene.model.commit(scene.key, b"{}", expected=generation - 1, changes=changes) is True
            await scene.shows({f"{generation}": "rebuilt"})
            await scene.put({"later": f"{generation}"})
            await scene.shows({f"{generation}": "rebuilt", "later": f"{generation}"})
            assert await scene.dump(shadow) == {}

    async def _everything(self, scene: Scene) -> None:
        """Fill a live view and two generations, and beside each of them somebody else's."""
        await scene.put(_OLD)
        await scene.put(_NEW, scene.shadow(1))
        await scene.put({"two": "2"}, scene.shadow(2))
        for name in self._others(scene):
            await scene.put(_OTHERS, name, probe=scene.foreign)

    def _others(self, scene: Scene) -> list[Any]:
        return [str, scene.shadow(1), scene.model.naming(f"{scene.key}-x", 1), scene.model.naming(f"{scene.key}x", 1)]

    async def _others_untouched(self, scene: Scene) -> None:
        dumps = [await scene.dump(name, probe=scene.foreign) for name in self._others(scene)]
        assert dumps[0], "another view was emptied"
        assert dumps == [dumps[0]] * len(dumps), "another view was changed"

    async def _not_done(self, scene: Scene, revision: int, changes: Changes[Any]) -> None:
        """Try changes in a commit that is undone, and in one that comes too late."""
        with pytest.raises(_Cut):
            await scene.model.commit(scene.key, b"[]", expected=revision, changes=_cut_short(changes))
        with suppress(_Cut):
            assert not await scene.other.commit(scene.key, b"[]", expected=revision + 1, changes=_cut_short(changes))
        assert not await scene.model.commit(scene.key, b"[]", expected=revision + 1, changes=changes)
        assert (await scene.stored()).record == b"{}"
