"""The fixed vocabularies of the interface, in all spellings callers use, and the state machines between them."""

from __future__ import annotations

import re
from typing import Final

from eventstore import InvalidInput, StreamId

PHASES: Final = ("DESIGN", "BUILD", "TEST", "DOC")
ROLES: Final = ("architect", "developer", "devops", "qa", "data")

_PHASE_SPELLINGS: Final = {**{phase.lower(): phase for phase in PHASES}, "docs": "DOC"}
_ROLE_SPELLINGS: Final = {**{role: role for role in ROLES}, "dev": "developer"}

STORY_STATUSES: Final = ("DRAFT", "ACTIVE", "IN_PROGRESS", "DONE")
PLAN_STATUSES: Final = ("DRAFT", "APPROVED")

SUBTASK_STATUSES: Final = (
    "todo",
    "pending",
    "queued",
    "in_progress",
    "implementing",
    "testing",
    "in_review",
    "changes_requested",
    "blocked",
    "failed",
    "done",
    "completed",
    "cancelled",
)
#: The attribute of a subtask that says its status in a word that is none of these.
STATUS_TEXT: Final = "status_text"
TERMINAL_SUBTASK_STATUSES: Final = frozenset({"done", "completed", "cancelled", "failed"})

DECISION_STATUSES: Final = ("PROPOSED", "APPROVED", "REJECTED", "IMPLEMENTED", "DEPRECATED", "DELETED")
DECISION_STEPS: Final = {
    "PROPOSED": frozenset({"APPROVED", "REJECTED"}),
    "APPROVED": frozenset({"IMPLEMENTED", "DEPRECATED"}),
    "IMPLEMENTED": frozenset({"DEPRECATED"}),
    "REJECTED": frozenset[str](),
    "DEPRECATED": frozenset[str](),
    "DELETED": frozenset[str](),
}

# What other sources call the states of a decision.
_DECISION_STATUS_SPELLINGS: Final = {
    **{status.lower(): status for status in DECISION_STATUSES},
    "draft": "PROPOSED",
    "draught": "PROPOSED",
    "incomplete": "PROPOSED",
    "deferred": "PROPOSED",
    "postponed": "PROPOSED",
    "accepted": "APPROVED",
    "provisional": "APPROVED",
    "active": "APPROVED",
    "final": "IMPLEMENTED",
    "finished": "IMPLEMENTED",
    "complete": "IMPLEMENTED",
    "withdrawn": "REJECTED",
    "withdrawal": "REJECTED",
    "april fool!": "REJECTED",
    "superseded": "DEPRECATED",
    "replaced": "DEPRECATED",
}
_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")


def phase_named(text: str) -> str | None:
    """Return the phase a caller's word means, in upper case; None when it means none."""
    return _PHASE_SPELLINGS.get(text.strip().lower())


def role_named(text: str) -> str | None:
    """Return the role a caller's word means, in lower case; None when it means none."""
    return _ROLE_SPELLINGS.get(text.strip().lower())


def decision_status_named(text: str) -> str | None:
    """Return the state of a decision that is nearest to a source's word, in upper case; None when none is."""
    return _DECISION_STATUS_SPELLINGS.get(text.strip().lower())


def subtask_status_named(text: str) -> str | None:
    """Return the state of a subtask that a word means, in lower case; None when it means none."""
    word = _BETWEEN_WORDS.sub("_", text.strip().lower())
    return word if word in SUBTASK_STATUSES else None


def id_problem(id: str) -> str | None:
    """Return what is wrong with the id of a thing, None when nothing is. All ids follow the rule of stream ids."""
    try:
        StreamId("thing", id)
    except InvalidInput as error:
        return error.problem
    return None
