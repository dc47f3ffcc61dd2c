"""Tests for code around projections: a contract for models, given/then and a trial by fire for projections.

Needs the extra ``testing``: pytest.
"""

import pytest

# The assertions of these modules explain themselves only when pytest knows them before they are imported.
pytest.register_assert_rewrite(*(f"{__name__}._{name}" for name in ("generations", "races", "records", "scene")))

from projections.testing._effect import effect_once  # noqa: E402
from projections.testing._given import given  # noqa: E402
from projections.testing._model import ModelContract  # noqa: E402
from projections.testing._scene import Probe  # noqa: E402

__all__ = [
    "ModelContract",
    "Probe",
    "effect_once",
    "given",
]
