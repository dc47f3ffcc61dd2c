"""Stories as they change: a context, then each change as it is recorded, as far as its role may see it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from eventstore import Commit

from context_service.contexts import checked_role, context_message, context_of
from context_service.past import entry_of, facts
from context_service.selection import MIN, select
from context_service.story import CATEGORY
from context_service.text import subjects
from context_service.v1 import context_pb2 as pb
from context_service.words import phase_named

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from context_service.contexts import Contexts
    from context_service.past import Fact
    from context_service.policy import Policy
    from context_service.stories import Stories
    from context_service.story import Story


async def watch(
    stories: Stories, contexts: Contexts, request: pb.WatchContextRequest
) -> AsyncGenerator[pb.WatchContextResponse | None]:
    """Yield a story's context, then each of its changes, without end; None at least every second between them.

    Raises:
        Refused: as for ``context_of``.
        EventStoreError: the log cannot be read.
    """
    # What is recorded from here on is either in the context or comes after it.
    head = await stories.store.head()
    found = await context_of(
        stories,
        request.story_id,
        contexts=contexts,
        role=request.role,
        phase=request.phase,
        subtask_id=request.subtask_id,
        token_budget=request.token_budget,
    )
    yield pb.WatchContextResponse(context=context_message(found, {}))
    seen = _Seen(request, contexts.policy)
    version = found.version
    async with aclosing(stories.store.follow(after=head, categories=[CATEGORY])) as following:
        async for item in following:
            if not isinstance(item, Commit):
                yield None
            elif item.stream.id == request.story_id and item.version > version:
                async with aclosing(facts(stories, request.story_id, after=version, until=item.version)) as recorded:
                    async for fact in recorded:
                        yield pb.WatchContextResponse(change=seen.entry(fact))
                version = item.version


class _Seen:
    """What a role sees of the changes of a story."""

    def __init__(self, request: pb.WatchContextRequest, policy: Policy) -> None:
        self._request = request
        self._policy = policy
        self._role = checked_role(request.role)

    def entry(self, fact: Fact) -> pb.HistoryEntry:
        """Return what is told of a change: all, its title alone, or only that there was one."""
        entry = entry_of(fact)
        told = pb.HistoryEntry(
            version=entry.version,
            position=entry.position,
            occurred_at=entry.occurred_at,
            recorded_at=entry.recorded_at,
        )
        subject = entry.entity_type, entry.entity_id
        # What is gone is not there any more, what is new was not there before.
        forms = [self._forms(story).get(subject) for story in (fact.before, fact.after)]
        if "full" in forms:
            return entry
        if "brief" in forms:
            told.entity_type, told.entity_id = subject
            told.event_type = entry.event_type
            told.changes.extend(change for change in entry.changes if change.field == "title")
        return told

    def _forms(self, story: Story) -> dict[tuple[str, str], str]:
        """Return whether each thing that may be seen of a story is seen in full or by its title alone."""
        phase = phase_named(self._request.phase) or story.phase
        scopes = self._policy.scopes(phase, self._role)
        selection = select(story, scopes, role=self._role, subtask_id=self._request.subtask_id)
        forms: dict[tuple[str, str], str] = {}
        for scope, things in selection.scopes.items():
            for subject in subjects(self._request.story_id, things):
                if forms.get(subject) != "full":
                    forms[subject] = "brief" if scope in MIN else "full"
        return forms
