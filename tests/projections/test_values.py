"""The public surface, and what a projection may be."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import projections
import pytest
from eventstore import InvalidInput
from projections import Projection, ProjectionError, serving
from projections import _errors as errors

NAMES = """
AnyProjection Batch Batching Changes Deployed Difference Health Model ModelRefused ModelUnavailable Monitor Name
NothingToDecide Passed Place Projection ProjectionError RebuildRefused Rebuilt Record Status Stored Swap
UnknownProjection dead_letter dead_letters digest_of_view forget pause rebuild replay reset resume run running skip
status wait_for
"""


class TestSurface:
    """What the package offers."""

    def test_names(self) -> None:
        """The public names are these and no others."""
        assert sorted(projections.__all__) == sorted(NAMES.split())

    def test_all_there(self) -> None:
        """What is named is there, and what is there is named, but for submodules."""
        there = {
            name
            for name, value in vars(projections).items()
            if not name.startswith("_") and not isinstance(value, ModuleType)
        }
        assert there == set(projections.__all__)

    def test_serving(self) -> None:
        """What a service is served with is these, and imports nothing of a terminal."""
        assert serving.__all__ == ["HEALTH", "Telling", "serving"]
        assert all(hasattr(serving, name) for name in serving.__all__)

    def test_errors_are_public(self) -> None:
        """Every error can be caught by its name, and all by their root."""
        found = {name for name, value in vars(errors).items() if isinstance(value, type)}
        assert "ModelRefused" in found
        assert all(issubclass(getattr(projections, name), ProjectionError) for name in found)

    def test_tests_are_extra(self) -> None:
        """The package imports nothing that only tests need, and no driver before it is asked for."""
        drivers = "{'pytest', 'hypothesis', 'sqlite3', 'neo4j', 'valkey', 'typer'}"
        code = f"import sys, projections; print({drivers} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"


class TestProjection:
    """What a projection may be."""

    @pytest.mark.parametrize("name", ["a", "order-totals", "a1", "a" * 63])
    def test_good_name(self, name: str) -> None:
        """A name is a token of small letters, digits and dashes."""
        assert Projection(name, print, owns=["t"]).name == name

    @pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a_b", "a b", "a~rebuild", "a" * 64, "é"])
    def test_bad_name(self, name: str) -> None:
        """Anything else is refused."""
        with pytest.raises(InvalidInput, match="name"):
            Projection(name, print, owns=["t"])

    @pytest.mark.parametrize(
        ("field", "options"),
        [
            ("owns", {"owns": []}),
            ("owns", {"owns": "orders"}),
            ("categories", {"owns": ["t"], "categories": "order"}),
            ("types", {"owns": ["t"], "types": "order.paid"}),
        ],
    )
    def test_mistakes(self, field: str, options: dict[str, Any]) -> None:
        """What is easily mistaken is refused: a text for a list of texts, and a view that owns nothing."""
        with pytest.raises(InvalidInput, match=field) as refusal:
            Projection("a", print, **options)
        assert refusal.value.field == field
