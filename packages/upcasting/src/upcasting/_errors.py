"""Every error of this package, in one tree.

::

    UpcastingError
    ├── InvalidSteps            steps that cannot be joined to chains: a gap, a loop, two for one schema, a wrong type
    ├── CannotCompare           what a check was given to compare cannot be read
    └── GoldenError             golden bytes that cannot be written, or that are no golden bytes

A step that fails on an event is ``eventstore.Undecodable``, which names the event, as any event that does not decode.
"""

from __future__ import annotations


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
