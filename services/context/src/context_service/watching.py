"""Stories as they change: a context, then each change as it is recorded, as far as its role may see it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from eventstore import Commit

from context_service.contexts import checked_role, context_message, context_of
from context_service.past import entry_of, facts
from context_service.story import CATEGORY
from context_service.v1 import context_pb2 as pb
from context_service.words import phase_named

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator, Sequence

    from context_service.contexts import Contexts
    from context_service.past import Fact
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
    seen = _Seen(request, contexts)
    version = found.version
    async with aclosing(stories.store.follow(after=head, categories=[CATEGORY])) as following:
        async for item in following:
            if not isinstance(item, Commit):
                yield None
            elif item.stream.id == request.story_id and item.version > version:
                async with aclosing(facts(stories, request.story_id, after=version, until=item.version)) as recorded:
                    commit = [fact async for fact in recorded]
                for entry in seen.entries(commit):
                    yield pb.WatchContextResponse(change=entry)
                    # A commit may have thousands of events, and others want to be answered.
                    await asyncio.sleep(0)
                version = item.version


#: What takes a thing out of a role's sight.
_LEAVING: Final = frozenset({"status", "role"})


class _Seen:
    """What a role sees of the changes of a story."""

    def __init__(self, request: pb.WatchContextRequest, contexts: Contexts) -> None:
        self._request = request
        self._contexts = contexts
        self._role = checked_role(request.role)
        self._phase = phase_named(request.phase) or ""

    def entries(self, commit: Sequence[Fact]) -> Iterator[pb.HistoryEntry]:
        """Yield what is told of each event of a commit, as far as the story after all of them lets its thing be seen.

        What lies between the events was never there for anybody, so it decides nothing. Of what was seen in full before
        the commit and is not any more, it is told what took it away; its new content is not.
        """
        first, last = commit[0], commit[-1]
        before = self._forms(first, first.before, first.event.version - 1)
        after = self._forms(last, last.after, last.event.version)
        for fact in commit:
            entry = entry_of(fact)
            subject = entry.entity_type, entry.entity_id
            then, now = before.get(subject), after.get(subject)
            if now == "full":
                yield entry
            else:
                fields = {"title"} if now else set()
                yield _part_of(entry, fields | _LEAVING if then == "full" else fields, named=bool(then or now))

    def _forms(self, fact: Fact, story: Story, version: int) -> dict[tuple[str, str], str]:
        return self._contexts.forms(
            story,
            self._request.story_id,
            version,
            log_id=fact.log_id,
            role=self._role,
            phase=self._phase,
            subtask_id=self._request.subtask_id,
        )


def _part_of(entry: pb.HistoryEntry, fields: Collection[str], *, named: bool) -> pb.HistoryEntry:
    """Return that there was a change and, where it is named, of what, with the changes of some fields."""
    told = pb.HistoryEntry(
        version=entry.version,
        position=entry.position,
        occurred_at=entry.occurred_at,
        recorded_at=entry.recorded_at,
    )
    if named:
        told.entity_type, told.entity_id, told.event_type = entry.entity_type, entry.entity_id, entry.event_type
        told.changes.extend(change for change in entry.changes if change.field in fields)
    return told
