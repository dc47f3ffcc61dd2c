"""The question of the service, the same for gRPC and the command: a story's context for a role, now or then."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from eventstore import InvalidInput, Position, Token

from context_service.commands import Fault, Refused, Violation
from context_service.policy import Policy
from context_service.redaction import redact, redacted
from context_service.selection import select
from context_service.stories import clock_named
from context_service.story import content_hash
from context_service.text import longest_forms, render
from context_service.times import parse_moment
from context_service.v1 import context_pb2 as pb
from context_service.words import PHASES, ROLES, phase_named, role_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from eventstore import Until

    from context_service.stories import Stories
    from context_service.story import Story
    from context_service.text import Omission, Rendered, Statement

MOST_BYTES: Final = 64 * 1024 * 1024
PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
# What a statement or an omission takes besides its words, which are mostly the story's own.
_ENTRY_BYTES: Final = 160
#: So many questions are remembered, with which answer they led to.
_SETTLED: Final = 10_000
#: Of so many versions it is remembered what may be seen of them.
_SEEN: Final = 64


class Context(NamedTuple):
    """A story's context as it was at a version."""

    rendered: Rendered
    version: int
    token: Token
    #: Over all of the story's content.
    hash: str
    #: What the policy grants, those of it for which the story has nothing, and what it does not grant.
    scopes: tuple[str, ...]
    empty: tuple[str, ...]
    withheld: tuple[str, ...]
    #: The message for callers, without secrets: made once for all who ask.
    message: bytes
    #: False while a commit may still be recorded before the moment that was asked for.
    final: bool = False

    @property
    def text(self) -> str:
        """The blocks under their headings."""
        return self.rendered.text


class Contexts:
    """What a process answers with: its policy, and the contexts it has made, those used last, within so many bytes.

    A context follows from its key, so that none of them is ever wrong: a version of a story is the same for ever. So is
    the version that a question about the past has led to, once nothing can be recorded before its moment any more.
    """

    def __init__(self, policy: Policy | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self.policy: Final = policy or Policy.load()
        self._most: Final = most_bytes
        self._made: OrderedDict[_Key, Context] = OrderedDict()
        self._bytes = 0
        self._settled: OrderedDict[_Key, _Key] = OrderedDict()
        self._seen: OrderedDict[_Key, dict[tuple[str, str], str]] = OrderedDict()

    def get(self, key: _Key) -> Context | None:
        """Return a context made before."""
        found = self._made.get(key)
        if found is not None:
            self._made.move_to_end(key)
        return found

    def keep(self, key: _Key, context: Context) -> None:
        """Keep a context, at the cost of those not used for the longest time."""
        self._bytes += _size(context)
        self._made[key] = context
        while self._bytes > self._most:
            self._bytes -= _size(self._made.popitem(last=False)[1])

    def settled(self, asked: _Key) -> Context | None:
        """Return the context that is the answer to a question for ever."""
        key = self._settled.get(asked)
        found = None if key is None else self.get(key)
        return None if found is None else found._replace(final=True)

    def settle(self, asked: _Key, key: _Key) -> None:
        """Remember that a context is the answer to a question for ever."""
        self._settled[asked] = key
        if len(self._settled) > _SETTLED:
            self._settled.popitem(last=False)

    def forms(
        self, story: Story, story_id: str, version: int, *, log_id: str, role: str, phase: str, subtask_id: str
    ) -> dict[tuple[str, str], str]:
        """Return what a role may see of a story at a version, each thing in its longest form; shared, so only read."""
        phase = phase or story.phase
        key = _Key(log_id, story_id, version, role, phase, subtask_id, 0)
        found = self._seen.get(key)
        if found is None:
            selection = select(story, self.policy.scopes(phase, role), role=role, subtask_id=subtask_id)
            found = self._seen[key] = longest_forms(story_id, selection)
            if len(self._seen) > _SEEN:
                self._seen.popitem(last=False)
        return found


class _Key(NamedTuple):
    """All that a context depends on within a policy; in a question, a moment stands for the version."""

    log_id: str
    story_id: str
    version: int | Until | None
    role: str
    phase: str
    subtask_id: str
    budget: int


def _size(context: Context) -> int:
    rendered = context.rendered
    entries = len(rendered.statements) + len(rendered.omitted)
    return 2 * sys.getsizeof(rendered.text) + _ENTRY_BYTES * entries + len(context.message)


async def context_of(
    stories: Stories,
    story_id: str,
    until: Until | None = None,
    *,
    role: str,
    contexts: Contexts,
    phase: str = "",
    subtask_id: str = "",
    token_budget: int = 0,
) -> Context:
    """Return a story's context, now or as of a bound.

    Its statements do not name their events.

    Raises:
        Refused: a word means nothing, the budget is too small, or there was no such story or subtask.
        EventStoreError: the log cannot be read.
    """
    role, phase = checked_role(role), checked_phase(phase) if phase else ""
    if token_budget < 0:
        raise refused(Fault.INVALID, "token_budget", f"expected 0 or more, got {token_budget}")
    asked = _Key(stories.store.log_id, story_id, until, role, phase, subtask_id, token_budget)
    if settled := contexts.settled(asked):
        return settled
    folded = await stories.ask(story_id, until)
    story = folded.state
    if subtask_id and subtask_id not in story.subtasks:
        raise refused(Fault.NOT_FOUND, "subtask_id", f"the story has no subtask {subtask_id!r}")
    key = asked._replace(version=folded.version, phase=phase or story.phase)
    context = contexts.get(key)
    if context is None:
        scopes = contexts.policy.scopes(key.phase, role)
        context = _made(key, folded.version, story, scopes, folded.token)
        contexts.keep(key, context)
    if folded.final:
        contexts.settle(asked, key)
    return context._replace(final=folded.final)


def bound_at(timestamp: str, clock: str) -> Until:
    """Return the bound that a moment (ISO 8601) on a clock is.

    Raises:
        Refused: there is no such clock, or the text names no moment.
    """
    return clock_named(clock)(checked_moment("timestamp", timestamp))


def context_message(
    found: Context, behind: Mapping[tuple[str, str], Sequence[pb.EventReference]]
) -> pb.GetContextResponse:
    """Return a context as the message for callers, without secrets, its statements with the events behind them."""
    message = pb.GetContextResponse.FromString(found.message)
    message.final = found.final
    if behind:
        for told, statement in zip(message.statements, found.rendered.statements, strict=True):
            told.events.extend(behind.get(statement.subject, ()))
    return message


def _made(key: _Key, version: int, story: Story, scopes: tuple[str, ...], token: Token) -> Context:
    selection = select(story, scopes, role=key.role, subtask_id=key.subtask_id)
    rendered = render(key.story_id, selection, role=key.role, phase=key.phase, budget=key.budget)
    content, empty, withheld = content_hash(story), tuple(selection.empty), tuple(selection.withheld)
    blocks = rendered.blocks
    message = pb.GetContextResponse(
        context=rendered.text,
        token_count=rendered.tokens,
        version=str(version),
        blocks=pb.PromptBlocks(system=blocks.system, context=blocks.context, tools=blocks.tools),
        position=str(token),
        hash=content,
        scopes=scopes,
        empty_scopes=empty,
        withheld_scopes=withheld,
    )
    # Of thousands of entries, messages of their own would take three times as long; all but their ids is our words.
    entries = pb.GetContextResponse(omitted=_entries(rendered.omitted), statements=_entries(rendered.statements))
    told = redacted(message).SerializeToString() + entries.SerializeToString()
    return Context(rendered, version, token, content, scopes, empty, withheld, told)


def _entries(of: Sequence[Statement | Omission]) -> list[dict[str, str]]:
    return [entry | {"entity_id": redact(entry["entity_id"])} for entry in msgspec.to_builtins(of)]


async def wait_for_position(stories: Stories, position: str) -> None:
    """Return when the log has reached a position (``<log id>:<position>``); an empty one is reached.

    Raises:
        Refused: it is no position of this log, or was not reached in time.
        EventStoreError: the log cannot be read.
    """
    if not position:
        return
    wanted = checked_position("min_position", position, stories.store.log_id)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await stories.store.head()).position < wanted:  # noqa: ASYNC110 (other processes write to the log)
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        problem = f"the log has not come so far within {PATIENCE_SECONDS:g} s"
        raise refused(Fault.LATE, "min_position", problem) from None


def checked_position(field: str, text: str, log_id: str) -> Position:
    """Return the position of a log that a text (``<log id>:<position>``) names.

    Raises:
        Refused: it names none, or one of another log.
    """
    try:
        token = Token.parse(text)
    except InvalidInput as error:
        raise refused(Fault.INVALID, field, error.problem) from None
    if token.log_id != log_id:
        raise refused(Fault.INVALID, field, f"expected a position of log {log_id}, got one of log {token.log_id}")
    return token.position


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


def checked_phase(text: str) -> str:
    """Return the phase that a caller's word means.

    Raises:
        Refused: it means none.
    """
    phase = phase_named(text)
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
