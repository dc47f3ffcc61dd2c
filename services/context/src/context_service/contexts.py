"""The question of the service, the same for gRPC and the command: a story's context for a role, now or then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from context_service.commands import Fault, Refused, Violation
from context_service.stories import clock_named
from context_service.story import content_hash
from context_service.text import Blocks, count_tokens, render
from context_service.times import parse_moment
from context_service.words import PHASES, ROLES, phase_named, role_named

if TYPE_CHECKING:
    from datetime import datetime

    from eventstore import Token, Until

    from context_service.stories import Stories


class Context(NamedTuple):
    """A story's context as it was at a version."""

    blocks: Blocks
    #: The blocks under their headings.
    text: str
    tokens: int
    version: int
    token: Token
    #: Over all of the story's content.
    hash: str


async def context_of(
    stories: Stories,
    story_id: str,
    *,
    role: str,
    phase: str = "",
    subtask_id: str = "",
    timestamp: str | None = None,
    clock: str = "",
    until: Until | None = None,
) -> Context:
    """Return a story's context, now, at a moment (ISO 8601) on a clock, or as of a bound.

    Raises:
        Refused: a word means nothing, or there was no such story or subtask.
        EventStoreError: the log cannot be read.
    """
    role, phase = checked_role(role), _checked_phase(phase)
    kind = clock_named(clock)
    if timestamp is not None:
        until = kind(checked_moment("timestamp", timestamp))
    folded = await stories.ask(story_id, until)
    story = folded.state
    if subtask_id and subtask_id not in story.subtasks:
        raise refused(Fault.NOT_FOUND, "subtask_id", f"the story has no subtask {subtask_id!r}")
    blocks = render(story_id, story, role=role, phase=phase or story.phase, subtask_id=subtask_id)
    text = blocks.joined()
    return Context(blocks, text, count_tokens(text), folded.version, folded.token, content_hash(story))


def refused(fault: Fault, field: str, description: str) -> Refused:
    """Return the refusal of a request for one reason."""
    return Refused([Violation(fault, field, description)])


def checked_role(text: str) -> str:
    """Return the role that a caller's word means.

    Raises:
        Refused: it means none.
    """
    role = role_named(text)
    if role is None:
        raise refused(Fault.INVALID, "role", f"expected one of {', '.join(ROLES)}; got {text!r}")
    return role


def _checked_phase(text: str) -> str:
    phase = phase_named(text) if text else ""
    if phase is None:
        raise refused(Fault.INVALID, "phase", f"expected one of {', '.join(PHASES)}; got {text!r}")
    return phase


def checked_moment(field: str, text: str) -> datetime:
    """Return the moment that a text names.

    Raises:
        Refused: it names none.
    """
    try:
        return parse_moment(text)
    except ValueError as error:
        raise refused(Fault.INVALID, field, str(error)) from None
