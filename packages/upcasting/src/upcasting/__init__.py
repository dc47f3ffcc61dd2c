"""Events of every schema ever written, read as today's messages."""

from upcasting._errors import InvalidSteps, UpcastingError
from upcasting._steps import Step, renamed, retired, split, step
from upcasting._upcasting import Newer, Policy, Upcasting

__all__ = [
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
