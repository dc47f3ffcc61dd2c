"""The benchmarks are run from the checkout and never installed, so their tests say where they are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
