"""Views in memory: for tests, and for views that are cheap to make anew at each start."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from fnmatch import fnmatchcase
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from projections._model import Stored
from projections._naming import key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from projections._model import Changes
    from projections._projection import Name

_GONE = object()
_SHADOW = "~"


class Draft(MutableMapping[str, Any]):
    """A dictionary over another one, which changes nothing until it is kept. Values are replaced, not changed."""

    def __init__(self, below: dict[str, Any]) -> None:
        self._below = below
        self._changed: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        found = self._changed.get(key, self._below.get(key, _GONE))
        if found is _GONE:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, value: Any) -> None:
        self._changed[key] = value

    def __delitem__(self, key: str) -> None:
        self[key]
        self._changed[key] = _GONE

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self._below if key not in self._changed)
        yield from (key for key, value in self._changed.items() if value is not _GONE)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keep(self) -> None:
        """Make the changes."""
        for key, value in self._changed.items():
            if value is _GONE:
                self._below.pop(key, None)
            else:
                self._below[key] = value


class MemoryModel:
    """Keeps views in one dictionary, whose keys start with words that a projection owns as patterns: ``order:*``.

    Keys that begin with ``~`` are those of generations that are not live. A projection's transaction is a ``Draft`` of
    the dictionary.
    """

    def __init__(self) -> None:
        self.view: dict[str, Any] = {}
        self._records: dict[str, Stored] = {}

    async def load(self, key: str) -> Stored | None:
        """Return a record."""
        return self._records.get(key)

    async def commit(
        self, key: str, record: bytes | None, *, expected: int, changes: Changes[Draft] | None = None
    ) -> bool:
        """Make changes and replace a record."""
        if not self._at(key, expected):
            return False
        draft = Draft(self.view)
        if changes is not None:
            waiting = changes(draft)
            if isawaitable(waiting):
                await waiting
                if not self._at(key, expected):
                    return False
        draft.keep()
        if record is None:
            self._records.pop(key, None)
        else:
            self._records[key] = Stored(record, expected + 1)
        return True

    def _at(self, key: str, expected: int) -> bool:
        return (self._records[key].revision if key in self._records else 0) == expected

    def naming(self, projection: str, generation: int) -> Name:
        """Put the generation before each key."""
        return key_of(projection, generation)

    async def prepare(self, setup: Callable[[Draft, Name], Awaitable[None] | None], name: Name) -> None:
        """Let a projection set up."""
        draft = Draft(self.view)
        waiting = setup(draft, name)
        if waiting is not None:
            await waiting
        draft.keep()

    async def entries(self, owns: Sequence[str], name: Name) -> AsyncIterator[tuple[str, bytes]]:
        """Yield keys and values as JSON."""
        start = len(name(""))
        for key in sorted(_keys(self.view, owns, name)):
            yield key[start:], json.dumps(self.view[key], sort_keys=True, default=repr).encode()

    async def clearing(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        """Return changes that remove a generation."""

        def clear(draft: Draft) -> None:
            for key in _keys(draft, owns, name):
                del draft[key]

        return clear

    async def swapping(self, owns: Sequence[str], name: Name) -> Changes[Draft]:
        """Return changes that put a generation in the live one's place."""
        clear = await self.clearing(owns, str)

        def swap(draft: Draft) -> None:
            clear(draft)
            start = len(name(""))
            for key in _keys(draft, owns, name):
                draft[key[start:]] = draft[key]
                del draft[key]

        return swap


def _keys(view: MutableMapping[str, Any], owns: Sequence[str], name: Name) -> list[str]:
    start = name("")
    return [
        key
        for key in view
        if key.startswith(start)
        # A pattern may begin with *, which must not find what is kept for other generations.
        and (start or not key.startswith(_SHADOW))
        and any(fnmatchcase(key[len(start) :], pattern) for pattern in owns)
    ]
