"""Read models that follow an event log, each commit with its effect once, and are rebuilt beside the live view."""

from projections._errors import (
    ModelRefused,
    ModelUnavailable,
    NothingToDecide,
    ProjectionError,
    RebuildRefused,
    UnknownProjection,
)
from projections._feed import Batching
from projections._model import Changes, Model, Stored
from projections._monitor import Health, Monitor
from projections._operations import (
    Deployed,
    Status,
    dead_letter,
    dead_letters,
    forget,
    pause,
    replay,
    reset,
    resume,
    skip,
    status,
)
from projections._projection import AnyProjection, Batch, Name, Projection
from projections._rebuild import Difference, Rebuilt, Swap, digest_of_view, rebuild
from projections._record import Passed, Place, Record
from projections._run import run, running, wait_for

__all__ = [
    "AnyProjection",
    "Batch",
    "Batching",
    "Changes",
    "Deployed",
    "Difference",
    "Health",
    "Model",
    "ModelRefused",
    "ModelUnavailable",
    "Monitor",
    "Name",
    "NothingToDecide",
    "Passed",
    "Place",
    "Projection",
    "ProjectionError",
    "RebuildRefused",
    "Rebuilt",
    "Record",
    "Status",
    "Stored",
    "Swap",
    "UnknownProjection",
    "dead_letter",
    "dead_letters",
    "digest_of_view",
    "forget",
    "pause",
    "rebuild",
    "replay",
    "reset",
    "resume",
    "run",
    "running",
    "skip",
    "status",
    "wait_for",
]
