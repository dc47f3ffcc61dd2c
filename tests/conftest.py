"""Lets the tests import what stands beside them, under the names by which the type checker knows it."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

ROOT = str(Path(__file__).parents[1])

if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

# How long an example takes is the machine's business; how to repeat one that fails is ours.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")
