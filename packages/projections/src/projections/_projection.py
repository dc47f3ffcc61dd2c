"""What a projection is: a name, a function that applies commits, and what it owns."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, overload

from eventstore import Commit, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection

Tx = TypeVar("Tx")

Name: TypeAlias = Callable[[str], str]
"""Says what a table, label or key of a view is called in one of its generations."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Batch(Sequence[Commit]):
    """Whole commits in the order of the log, and what the view's tables, labels or keys are called this time."""

    __slots__ = ("_commits", "name")

    def __init__(self, commits: Sequence[Commit], name: Name) -> None:
        self._commits = tuple(commits)
        #: ``batch.name("orders")`` is ``orders`` in the live view, and another name in one that is being rebuilt.
        self.name: Final = name

    @overload
    def __getitem__(self, index: int) -> Commit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Commit, ...]: ...

    def __getitem__(self, index: int | slice) -> Commit | tuple[Commit, ...]:
        return self._commits[index]

    def __len__(self) -> int:
        return len(self._commits)


class Projection(Generic[Tx]):
    """Turns a log into a view.

    Args:
        name: its identity, ``[a-z][a-z0-9-]*``. Its checkpoint is kept under the name, so another name begins anew at
            the start of the log, and leaves the old view behind.
        apply: gets the target's own transaction and a batch, and writes what the batch changes; async, or not where
            the target's driver is not. It must be repeatable: it may run again from the start with the same commits
            when its transaction was not committed. Everything it writes is called as ``batch.name`` says.
        owns: what the view consists of, in words of the target: tables, labels and relationship types, patterns of
            keys. Nobody else writes there. A rebuild compares and swaps it.
        setup: makes tables, indexes and constraints, called as ``name`` says. Runs before the first batch and whenever
            a runner starts, so it must be repeatable.
        categories: only commits of these; empty means all.
        types: only commits that hold an event stored under one of these type names; empty means all.
        independent: no event of one stream needs one of another. Then, after a dead letter, only its stream waits.
    """

    def __init__(
        self,
        name: str,
        apply: Callable[[Tx, Batch], Awaitable[None] | None],
        *,
        owns: Sequence[str],
        setup: Callable[[Tx, Name], Awaitable[None] | None] | None = None,
        categories: Collection[str] = (),
        types: Collection[str] = (),
        independent: bool = False,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput("name", f"expected [a-z][a-z0-9-]*, at most 63 letters, got {name!r:.80}")
        for field, value in (("owns", owns), ("categories", categories), ("types", types)):
            if isinstance(value, str):
                raise InvalidInput(field, f"expected several texts, got one: {value!r:.80}")
        if not owns:
            raise InvalidInput("owns", "expected what the view consists of, got nothing")
        self.name: Final = name
        self.apply: Final = apply
        self.owns: Final = tuple(owns)
        self.setup: Final = setup
        self.categories: Final = frozenset(categories)
        self.types: Final = frozenset(types)
        self.independent: Final = independent

    def __repr__(self) -> str:
        return f"Projection({self.name!r})"


AnyProjection: TypeAlias = Projection[Any]
