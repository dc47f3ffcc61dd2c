"""The contract suite itself: it passes what is sound, and catches every planted fault."""

from __future__ import annotations

import asyncio
import selectors
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventstore.testing import BackendContract, StoreMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.eventstore import broken as faults
from tests.eventstore.broken import BROKEN, DoesNothing, Sound, on_one_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventstore import Backend

CASES = sorted(name for name in dir(BackendContract) if name.startswith("test_"))


class Impatient(selectors.DefaultSelector):
    """Instead of waiting, lets time pass."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passed += timeout or 0
        return super().select(0)


class ImpatientLoop(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: where nobody but its own tasks can do anything, none is lost."""

    def __init__(self) -> None:
        self.selector = Impatient()
        super().__init__(self.selector)

    def time(self) -> float:
        return super().time() + self.selector.passed


def fails(factory: Callable[[Path], Backend], name: str) -> bool:
    """Say whether a case fails on a backend."""

    class Judged(BackendContract):
        loop_factory = ImpatientLoop
        backend = staticmethod(factory)

    with tempfile.TemporaryDirectory() as folder:
        try:
            getattr(Judged(), name)(Path(folder))
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 (a broken backend may raise what it likes)
            return True
    return False


@pytest.mark.parametrize("name", CASES)
def test_sound_passes(name: str) -> None:
    """Every case passes on a backend without a fault."""
    assert not fails(on_one_log(Sound), name)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_is_caught(broken: type[Sound]) -> None:
    """Every broken backend fails at least one case."""
    assert any(fails(on_one_log(broken), name) for name in CASES), broken.__doc__


def test_nothing_is_caught() -> None:
    """A backend that does nothing fails most cases; what it passes asks for no more than plausible answers."""
    passed = [name for name in CASES if not fails(lambda _: DoesNothing(), name)]
    assert len(passed) < len(CASES) / 4, passed


@pytest.mark.parametrize("name", CASES)
def test_case_catches(name: str) -> None:
    """Every case fails on at least one backend with a planted fault."""
    assert any(fails(on_one_log(broken), name) for broken in BROKEN)


def test_no_case_hides_another() -> None:
    """No two groups of cases have a case of the same name, of which only one would run."""
    names = Counter(name for group in BackendContract.__mro__ for name in vars(group) if name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []
    assert sorted(names) == CASES


@pytest.mark.parametrize(
    "broken",
    [
        faults.LosesCommit,
        faults.DoublesCommit,
        faults.IgnoresGuard,
        faults.GuardOneTooHigh,
        faults.GuardInsideCommit,
        faults.WrongActual,
        faults.ForgetsIds,
        faults.IgnoresIds,
        faults.TimeFalls,
        faults.ImportLosesTime,
        faults.PositionAtOffByOne,
        faults.PositionBefore,
        faults.ReadSkipsMiddle,
        faults.LogIncludesAfter,
        faults.FollowFromHead,
        faults.StreamsOfOld,
        faults.TailStale,
    ],
)
def test_machine_catches(broken: type[Sound]) -> None:
    """The state machine finds a difference between a broken backend and memory."""
    with pytest.raises(Exception):  # noqa: B017, PT011 (a broken backend may raise what it likes)
        run_machine(broken)


def test_machine_passes() -> None:
    """It finds none between a sound one and memory."""
    run_machine(Sound)


def run_machine(kind: type[Sound]) -> None:
    """Run the state machine on a backend, quickly, and each time alike."""

    class Machine(StoreMachine):
        loop_factory = ImpatientLoop
        backend = staticmethod(on_one_log(kind))

    quick = settings(
        max_examples=100,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=quick)
