"""Events of every schema ever written, read as today's messages."""

from upcasting._errors import CannotCompare, GoldenError, InvalidSteps, UpcastingError
from upcasting._steps import Step, renamed, retired, split, step
from upcasting._upcasting import Newer, Policy, Upcasting

__all__ = [
    "CannotCompare",
    "GoldenError",
    "InvalidSteps",
    "Newer",
    "Policy",
    "Step",
    "Upcasting",
    "UpcastingError",
    "renamed",
    "retired",
    "split",
    "step",
]
