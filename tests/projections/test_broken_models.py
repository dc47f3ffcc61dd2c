"""The contract of models itself: it passes what is sound, and catches every planted fault."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from projections.testing import ModelContract

from tests.projections.broken_models import BROKEN, Steps
from tests.projections.probes import MemoryProbe, kept

CASES = sorted(name for name in dir(ModelContract) if name.startswith("test_"))


def fails(kind: type[Steps], name: str) -> bool:
    """Say whether a case fails on a model."""

    class Judged(ModelContract):
        model = staticmethod(kept(kind))
        probe = staticmethod(MemoryProbe)

    with tempfile.TemporaryDirectory() as folder:
        try:
            getattr(Judged(), name)(Path(folder))
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 (a broken model may raise what it likes)
            return True
    return False


@pytest.mark.parametrize("name", CASES)
def test_sound_passes(name: str) -> None:
    """Every case passes on a model without a fault."""
    assert not fails(Steps, name)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_is_caught(broken: type[Steps]) -> None:
    """Every broken model fails at least one case."""
    assert any(fails(broken, name) for name in CASES), broken.__doc__


@pytest.mark.parametrize("name", CASES)
def test_case_catches(name: str) -> None:
    """Every case fails on at least one model with a planted fault."""
    assert any(fails(broken, name) for broken in BROKEN)


def test_no_case_hides_another() -> None:
    """No two groups of cases have a case of the same name, of which only one would run."""
    names = Counter(name for group in ModelContract.__mro__ for name in vars(group) if name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []
    assert sorted(names) == CASES


def test_impatient() -> None:
    """A case that does not end has failed, and says so."""

    class Hangs(Steps):
        async def load(self, key: str) -> Any:
            await asyncio.sleep(60)

    class Judged(ModelContract):
        patience = 0.05
        model = staticmethod(kept(Hangs))
        probe = staticmethod(MemoryProbe)

    with tempfile.TemporaryDirectory() as folder, pytest.raises(AssertionError, match=r"within 0\.05 s"):
        Judged().test_nothing(Path(folder))
