"""Every error of this package, in one tree.

::

    ProjectionError
    ├── ModelUnavailable        the target cannot be reached now, or a fault passes; tried again, with patience
    │   └── ModelRefused        the target is reached and is not fit: credentials, version, settings; tried again too
    ├── UnknownProjection       nothing is known of it where it was looked for
    ├── NothingToDecide         there is no such failure to skip, or no such dead letter to replay
    └── RebuildRefused          another rebuild is under way, or the two views differ and were not to be swapped
"""

from __future__ import annotations


class ProjectionError(Exception):
    """Root of all errors of this package."""


class ModelUnavailable(ProjectionError):
    """The target cannot be reached or written now. Whether a change was made is unknown; the record tells."""


class ModelRefused(ModelUnavailable):
    """The target is there and not fit to be written: wrong credentials, an old version, settings that lose data."""


class UnknownProjection(ProjectionError):
    """Nothing is recorded of this projection: it has not run on this target yet."""


class NothingToDecide(ProjectionError):
    """There is no failure to decide on, or it is another one, or there is no such dead letter."""


class RebuildRefused(ProjectionError):
    """A rebuild does not begin, or does not swap."""
