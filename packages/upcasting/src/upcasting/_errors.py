"""Every error of this package, in one tree.

::

    UpcastingError
    └── InvalidSteps            steps that cannot be joined to chains: a gap, a loop, two for one schema, a wrong type

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
