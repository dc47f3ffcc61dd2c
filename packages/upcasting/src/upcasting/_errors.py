"""Every error of this package, in one tree.

::

    UpcastingError
    ├── CannotCompare           what a check was given to compare cannot be read
    ├── GoldenError             golden bytes that cannot be written, or that are no golden bytes
    ├── InvalidSteps            steps that cannot be joined to chains: a gap, a loop, two for one schema, a wrong type
    ├── Outgrown                what steps made of a commit is too large for any log
    └── TargetDiffers           the target of a migration holds something else than what the migration makes

A step that fails on an event is ``eventstore.Undecodable``, which names the event, as any event that does not decode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventstore import MAX_ENVELOPE_BYTES

if TYPE_CHECKING:
    from eventstore import StreamId


class UpcastingError(Exception):
    """Root of all errors of this package."""


class InvalidSteps(UpcastingError, ValueError):
    """Steps do not make chains. Mend the program: nothing was read or written.

    Attributes:
        step: the step at fault.
        problem: what is wrong with it.
    """

    def __init__(self, step: str, problem: str) -> None:
        super().__init__(f"{step}: {problem}")
        self.step = step
        self.problem = problem


class Outgrown(UpcastingError):
    """What steps made of a commit is over the limit of all logs. Let the step return less: no commit can be split.

    Attributes:
        stream: the commit's.
        version: of the event that has grown most; of the first where no step took any.
        position: the commit's.
        step: the first that took that event; the one that moved the versions of the stream where none did.
        size: of the envelope, in bytes.
    """

    def __init__(self, stream: StreamId, *, version: int, position: int, step: str, size: int) -> None:
        super().__init__(
            f"stream {stream}, version {version}, position {position}: step {step} lets the commit grow to {size:,}"
            f" bytes, {MAX_ENVELOPE_BYTES:,} are allowed"
        )
        self.stream = stream
        self.version = version
        self.position = position
        self.step = step
        self.size = size


class TargetDiffers(UpcastingError):
    """The target of a migration holds something else than what the migration makes. Begin again with a new log."""


class CannotCompare(UpcastingError):
    """Protos to compare cannot be read. Mend what is named.

    Attributes:
        source: the folder, revision, file or program at fault.
        problem: what is wrong with it.
    """

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem


class GoldenError(UpcastingError):
    """Golden bytes cannot be recorded or read. Look at the file with the change that led to it.

    Attributes:
        path: the file.
        problem: what is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem
