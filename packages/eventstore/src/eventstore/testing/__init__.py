"""Tests for code around an event store: contracts for backends and snapshot stores, given/when/then for deciders.

Needs the extra ``testing``: pytest and Hypothesis.
"""

import pytest

# The assertions of these modules explain themselves only when pytest knows them before they are imported.
pytest.register_assert_rewrite(
    *(f"{__name__}._{name}" for name in ("appending", "following", "reading", "scene", "timing"))
)

from eventstore.testing._backend import BackendContract  # noqa: E402

__all__ = [
    "BackendContract",
]
