"""Events of every schema ever written, read as today's messages."""

from upcasting._audit import Audit, Corrupt, Held, Unreadable, audit
from upcasting._errors import CannotCompare, GoldenError, InvalidSteps, Outgrown, TargetDiffers, UpcastingError
from upcasting._migrate import Became, Carried, Contents, Migrated, migrate
from upcasting._steps import Step, renamed, retired, split, step
from upcasting._upcasting import Newer, Policy, Upcasting

__all__ = [
    "Audit",
    "Became",
    "CannotCompare",
    "Carried",
    "Contents",
    "Corrupt",
    "GoldenError",
    "Held",
    "InvalidSteps",
    "Migrated",
    "Newer",
    "Outgrown",
    "Policy",
    "Step",
    "TargetDiffers",
    "Unreadable",
    "Upcasting",
    "UpcastingError",
    "audit",
    "migrate",
    "renamed",
    "retired",
    "split",
    "step",
]
