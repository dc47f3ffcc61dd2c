"""What is done on each target, for a while, asks for its URL and for how long."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sqlite", "valkey", "neo4j_5", "neo4j_2026"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the view is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'view.db'}"
    return f"{request.getfixturevalue(request.param)}#{uuid.uuid4().hex[:12]}"


@pytest.fixture
def fault_seconds() -> float:
    """How long the long form of a test takes."""
    return float(os.environ.get("FAULT_SECONDS", "20"))
