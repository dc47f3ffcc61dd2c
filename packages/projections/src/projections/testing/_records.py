"""Cases about the record, and about the changes that are made together with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from projections._model import Stored
from projections.testing._scene import Contract, Scene, case, written

if TYPE_CHECKING:
    from collections.abc import Awaitable

#: As a record is, though longer, with all that stores and encodings may trip over.
_RECORD: Final = '{"text": "a\\u0000b \U0001f642 é \\" \\\\ \' %s {} $x", "n": 9007199254740993}\n'.encode() * 300


class _Planned(Exception):
    """What a projection raises, which no model knows."""


class Records(Contract):
    """A record is kept as it is, and replaced by comparison."""

    @case
    async def test_nothing(self, scene: Scene) -> None:
        """Where nothing is kept, nothing is found."""
        assert await scene.model.load(scene.key) is None

    @case
    async def test_created(self, scene: Scene) -> None:
        """A record is created by expecting none, and is found as it was, through each handle, at revision 1."""
        assert await scene.model.commit(scene.key, _RECORD, expected=0) is True
        assert Stored(_RECORD, 1) == await scene.model.load(scene.key)
        assert Stored(_RECORD, 1) == await scene.other.load(scene.key)

    @case
    async def test_created_once(self, scene: Scene) -> None:
        """A record that is there is not created again."""
        await scene.create(b"{}")
        assert await scene.model.commit(scene.key, b"[]", expected=0) is False
        assert await scene.other.commit(scene.key, b"[]", expected=0) is False
        assert Stored(b"{}", 1) == await scene.stored()

    @case
    async def test_replaced(self, scene: Scene) -> None:
        """Each change, through whichever handle, makes the revision one more, also one to the same bytes."""
        for expected, record in enumerate((b"{}", b'{"n": 1}', b'{"n": 1}', b"{}")):
            handle = (scene.model, scene.other)[expected % 2]
            assert await handle.commit(scene.key, record, expected=expected) is True
            assert Stored(record, expected + 1) == await scene.stored()

    @case
    async def test_refused(self, scene: Scene) -> None:
        """A record at another revision than the expected one stays as it is, older or newer."""
        for expected in range(3):
            await scene.model.commit(scene.key, f"{expected}".encode(), expected=expected)
        for expected in (0, 1, 2, 4, 5):
            assert await scene.model.commit(scene.key, b"{}", expected=expected) is False
            assert await scene.other.commit(scene.key, None, expected=expected) is False
        assert Stored(b"2", 3) == await scene.stored()

    @case
    async def test_refused_nothing(self, scene: Scene) -> None:
        """A record that is not there is not replaced, and not removed."""
        assert await scene.model.commit(scene.key, b"{}", expected=1) is False
        assert await scene.model.commit(scene.key, None, expected=1) is False
        assert await scene.model.load(scene.key) is None

    @case
    async def test_removed(self, scene: Scene) -> None:
        """A removed record is gone, and may be created anew."""
        revision = await scene.create()
        assert await scene.model.commit(scene.key, None, expected=revision) is True
        assert await scene.other.load(scene.key) is None
        assert await scene.model.commit(scene.key, b"{}", expected=revision) is False
        assert await scene.other.commit(scene.key, b"[]", expected=0) is True
        assert Stored(b"[]", 1) == await scene.stored()

    @case
    async def test_other_keys(self, scene: Scene) -> None:
        """Records under other keys stay as they are, however alike the keys."""
        keys = [f"{scene.key}{end}" for end in ("~rebuild", "-a", "-a-b", "-b", "0")]
        for number, key in enumerate(keys):
            assert await scene.model.commit(key, f"{number}".encode(), expected=0)
        revision = await scene.create(b"{}")
        assert await scene.model.commit(scene.key, b"[]", expected=revision)
        assert await scene.model.commit(scene.key, None, expected=revision + 1)
        for number, key in enumerate(keys):
            assert Stored(f"{number}".encode(), 1) == await scene.model.load(key)
            assert await scene.model.commit(key, None, expected=1)
        assert [await scene.model.load(key) for key in keys] == [None] * len(keys)

    @case
    async def test_not_an_entry(self, scene: Scene) -> None:
        """A record is no part of any view."""
        await scene.prepare()
        await scene.create()
        assert await scene.dump() == {}

    @case
    async def test_reopened(self, scene: Scene) -> None:
        """A handle that is opened later finds record and view."""
        await scene.prepare()
        revision = await scene.create(b"{}", scene.changes({"a": "1"}))
        handle = await scene.open()
        assert Stored(b"{}", revision) == await handle.load(scene.key)
        await scene.shows({"a": "1"}, model=handle)


class Together(Contract):
    """Changes are made together with the record, or not at all."""

    @case
    async def test_together(self, scene: Scene) -> None:
        """Changes are made with the record that says so, and each handle sees both."""
        await scene.prepare()
        revision = await scene.create(b"{}", scene.changes({"a": "1", "b": "2"}))
        await scene.shows({"a": "1", "b": "2"})
        changes = scene.changes({"b": "3", "c": "4"})
        assert await scene.model.commit(scene.key, b"[]", expected=revision, changes=changes) is True
        assert Stored(b"[]", revision + 1) == await scene.stored(scene.other)
        await scene.shows({"a": "1", "b": "3", "c": "4"}, model=scene.other)

    @case
    async def test_no_changes(self, scene: Scene) -> None:
        """Changes that write nothing move the record nevertheless."""
        await scene.prepare()
        revision = await scene.create(b"{}", scene.changes({}))
        assert await scene.model.commit(scene.key, b"[]", expected=revision, changes=scene.changes({}))
        assert Stored(b"[]", revision + 1) == await scene.stored()

    @case
    async def test_removed_together(self, scene: Scene) -> None:
        """Changes are made together with the removal of a record."""
        await scene.put({"a": "1"})
        revision = await scene.create()
        assert await scene.model.commit(scene.key, None, expected=revision, changes=scene.changes({"b": "2"})) is True
        assert await scene.model.load(scene.key) is None
        await scene.shows({"a": "1", "b": "2"})

    @case
    async def test_refused_together(self, scene: Scene) -> None:
        """Changes for another revision than the record has are not made."""
        await scene.put({"a": "1"})
        await scene.model.commit(scene.key, b"{}", expected=0)
        await scene.model.commit(scene.key, b"[]", expected=1)
        for expected in (0, 1, 3):
            for record in (b"{}", None):
                changes = scene.changes({"a": "2", "b": "2"})
                assert await scene.model.commit(scene.key, record, expected=expected, changes=changes) is False
                assert await scene.other.commit(scene.key, record, expected=expected, changes=changes) is False
        assert Stored(b"[]", 2) == await scene.stored()
        await scene.shows({"a": "1"})

    @case
    async def test_changes_raise(self, scene: Scene) -> None:
        """What changes raise after they have written comes out as it is; neither view nor record has changed."""
        await scene.put({"a": "1"})
        error = _Planned("after writing")
        changes = scene.changes({"a": "2", "b": "2"}, error=error)
        with pytest.raises(_Planned) as first:
            await scene.model.commit(scene.key, b"{}", expected=0, changes=changes)
        assert first.value is error
        assert await scene.other.load(scene.key) is None
        await scene.shows({"a": "1"})
        revision = await scene.create()
        for record in (b"[]", None):
            with pytest.raises(_Planned) as later:
                await scene.model.commit(scene.key, record, expected=revision, changes=changes)
            assert later.value is error
            assert Stored(b'{"n": 0}', revision) == await scene.stored(scene.other)
        await scene.shows({"a": "1"}, model=scene.other)

    @case
    async def test_changes_raise_at_once(self, scene: Scene) -> None:
        """What changes raise before they write, or wait, comes out as it is."""
        await scene.prepare()
        revision = await scene.create(b"{}")
        error = _Planned("at once")

        def changes(tx: Any) -> None:  # noqa: ARG001 (nothing is written)
            raise error

        with pytest.raises(_Planned) as found:
            await scene.model.commit(scene.key, b"[]", expected=revision, changes=changes)
        assert found.value is error
        assert Stored(b"{}", revision) == await scene.stored()

    @case
    async def test_async_changes(self, scene: Scene) -> None:
        """Async changes are made before the commit, or refused where the target's driver cannot wait."""
        await scene.prepare()

        async def changes(tx: Any) -> None:
            await written(scene.probe, tx, str, "a", "1")

        if not self.waits:
            with pytest.raises(TypeError):
                await scene.model.commit(scene.key, b"{}", expected=0, changes=changes)
            assert await scene.model.load(scene.key) is None
            return
        await scene.create(b"{}", changes)
        await scene.shows({"a": "1"})

    @case
    async def test_async_changes_raise(self, scene: Scene) -> None:
        """What async changes raise comes out as it is, and nothing was written; or they are refused."""
        await scene.put({"a": "1"})
        error = _Planned("after writing")

        async def changes(tx: Any) -> None:
            await written(scene.probe, tx, str, "a", "2")
            raise error

        with pytest.raises(_Planned if self.waits else TypeError) as found:
            await scene.model.commit(scene.key, b"{}", expected=0, changes=changes)
        assert not self.waits or found.value is error
        assert await scene.model.load(scene.key) is None
        await scene.shows({"a": "1"})

    @case
    async def test_goes_on_after_error(self, scene: Scene) -> None:
        """After changes that raised, the same handle makes the next ones, and nothing of the old ones comes along."""
        await scene.prepare()
        for number in range(3):
            changes = scene.changes({"lost": f"{number}"}, error=_Planned())
            with pytest.raises(_Planned):
                await scene.model.commit(scene.key, b"[]", expected=number, changes=changes)
            changes = scene.changes({f"{number}": "kept"})
            assert await scene.model.commit(scene.key, b"{}", expected=number, changes=changes) is True
        await scene.shows({"0": "kept", "1": "kept", "2": "kept"})

    @case
    async def test_runs_again(self, scene: Scene) -> None:
        """Changes that were rolled back may run again, and count once."""
        await scene.prepare()
        tries = 0

        def changes(tx: Any) -> Awaitable[None] | None:
            nonlocal tries
            tries += 1
            failing = _Planned() if tries == 1 else None
            return scene.changes({f"try {tries}": "x"}, error=failing)(tx)

        with pytest.raises(_Planned):
            await scene.model.commit(scene.key, b"{}", expected=0, changes=changes)
        assert await scene.model.commit(scene.key, b"{}", expected=0, changes=changes) is True
        await scene.shows({f"try {tries}": "x"})
