"""Tests for code around an event store: contracts for backends and snapshot stores, given/when/then for deciders.

Needs the extra ``testing``: pytest and Hypothesis.
"""

import pytest

# The assertions of these modules explain themselves only when pytest knows them before they are imported.
pytest.register_assert_rewrite(
    *(
        f"{__name__}._{name}"
        for name in ("appending", "following", "machine", "reading", "scene", "snapshots", "timing")
    )
)

from eventstore.testing._backend import BackendContract  # noqa: E402
from eventstore.testing._decider import given  # noqa: E402
from eventstore.testing._machine import StoreMachine  # noqa: E402
from eventstore.testing._snapshots import SnapshotContract  # noqa: E402

__all__ = [
    "BackendContract",
    "SnapshotContract",
    "StoreMachine",
    "given",
]
