"""How long does the context service take to answer? Beside a call with no work, and without what makes it fast.

The service runs in a process of its own and is asked through gRPC about a story of 10,000 events in a log of stories,
by one client and by 32 at once. Rivals are the same service without snapshots or without its cache of contexts, a call
with no work, and a full replay without gRPC in this process: a fold of all of the story up to the moment, for the graph
of all of the log. What is answered is compared with replays.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
from context_service.contexts import Contexts, context_of
from context_service.graph import Known, NodeKey, _Drawing, _steps
from context_service.past import differences
from context_service.stories import Stories, codec
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc
from context_service.words import ROLES
from eventstore import AtVersion, MemorySnapshots, Occurred, Position, Recorded, Token, open_store

from benchmarks.facts import STORY, stream_id
from benchmarks.measure import MILLISECONDS, Result, Scale, Side, percentile
from benchmarks.stories import decision, store_stories

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.stories import Log

STORY_EVENTS: Final = 10_000
_STORY_ID: Final = stream_id(STORY).id
_CLIENTS: Final = 32
# Questions of a kind in a turn: of one client, of all clients at once, and to whoever is slow.
_ASKED: Final = 50
_AT_ONCE: Final = 64
_SLOW: Final = 4
_REPLAYED: Final = 2
#: Of the log, in all.
_LOG_REPLAYS: Final = 3
_PAST: Final = ("context-at-time-cold", "context-at-version", "diff")


class Question(NamedTuple):
    """What may be asked: the method, the request and, where a replay can answer it too, how."""

    method: str
    request: Any
    replay: Callable[[Stories], Awaitable[Any]] | None = None


class Server(NamedTuple):
    """A running service: a stub for each client."""

    stubs: Sequence[context_pb2_grpc.ContextServiceStub]


Times = dict[tuple[str, str, int], list[float]]
"""The seconds of all answers to questions of a kind, by who gave them, to so many clients."""
OURS: Final = "ours"
NO_WORK: Final = "a call with no work"
NO_SNAPSHOTS: Final = "without snapshots"
NO_CACHE: Final = "without the cache of contexts"
REPLAY: Final = "full replay"
_RIVALS: Final = (NO_WORK, NO_SNAPSHOTS, NO_CACHE, REPLAY)

# What a service starts with, to be without something. Nothing else differs.
_WITHOUT: Final = {
    OURS: "",
    NO_CACHE: "from context_service.contexts import Contexts; Contexts.keep = lambda *_: None",
    NO_SNAPSHOTS: """
from eventstore import Snapshots
from eventstore._handle import _Folding
async def nothing(*_): return None
Snapshots.keep, _Folding._save = lambda *_: None, nothing
""",
}


async def bench(scale: Scale, directory: Path) -> AsyncIterator[Result]:
    """Yield all rows about answers."""
    url = f"sqlite:///{directory / 'log.db'}"
    log = await store_stories(url, scale.rng, scale.log_events, min(STORY_EVENTS, scale.log_events // 2))
    async with open_store(url, codec, create=False) as store:
        run = _Run(scale, log, Stories(store, MemorySnapshots(), every=10**9), defaultdict(list))
        async with service(url) as server:
            # Whoever wrote the story would have left snapshots.
            await answer(server, _get_context(log, scale.rng))
            await _graph_is_there(server, log)
            for question in run.draw("graph-at", _LOG_REPLAYS):
                await run.replay_graph(question, await answer(server, question))
        async with (
            service(url, NO_CACHE, "--graph", "none") as uncached,
            service(url, NO_SNAPSHOTS, "--graph", "none", "--snapshots", "memory://") as forgetful,
        ):
            for number in range(scale.rounds):
                async with service(url) as ours:
                    await run.ask_all(ours, uncached, forgetful)
                print(f"turn {number + 1} of {scale.rounds}", file=sys.stderr)
    for result in run.rows():
        yield result


class _Run(NamedTuple):
    """A run: whom to ask what, and what came of it."""

    scale: Scale
    log: Log
    #: Without snapshots, in this process.
    stories: Stories
    times: Times

    def draw(self, kind: str, count: int) -> list[Question]:
        """Return questions."""
        return [_QUESTIONS[kind](self.log, self.scale.rng) for _ in range(self.scale.count(count))]

    async def ask(self, kind: str, server: Server, questions: Sequence[Question], *, who: str, clients: int) -> None:
        """Ask and note the times."""
        gc.collect()
        self.times[kind, who, clients] += await asked(server, questions, clients)

    async def ask_all(self, ours: Server, uncached: Server, forgetful: Server) -> None:
        """Ask all of them everything, of ours a process that has just started."""
        await self.ask("context-at-time-first", ours, self.draw("context-at-time", 1)[:1], who=OURS, clients=1)
        for clients, count, slow in ((1, _ASKED, _SLOW), (_CLIENTS, _AT_ONCE, _CLIENTS)):
            now, cold = self.draw("get-context", count), self.draw("context-at-time", count)
            await self.ask("context-at-time-cold", ours, cold, who=OURS, clients=clients)
            again = self.scale.rng.sample(cold, len(cold))
            await asked(ours, now, 1)
            for kind, questions in (("context-at-time-warm", again), ("get-context", now)):
                await self.ask(kind, ours, questions, who=OURS, clients=clients)
                await self.ask(kind, uncached, questions, who=NO_CACHE, clients=clients)
            for kind in ("context-at-version", "diff", "graph-at", "history"):
                await self.ask(kind, ours, self.draw(kind, count), who=OURS, clients=clients)
            await self.ask("", ours, self.draw("no-work", count), who=NO_WORK, clients=clients)
            for kind in ("get-context", "context-at-time-cold") if clients > 1 else ("get-context", *_PAST, "history"):
                questions = self.draw(kind.removesuffix("-cold"), slow)
                await self.ask(kind, forgetful, questions, who=NO_SNAPSHOTS, clients=clients)
        for kind in ("get-context", *_PAST):
            for question in self.draw(kind.removesuffix("-cold"), _REPLAYED):
                await self.replay(kind, question, await answer(ours, question))

    async def replay(self, kind: str, question: Question, given: Any) -> None:
        """Fold all of the story up to the moment, and compare."""
        assert question.replay is not None
        # A state that is kept would be a snapshot.
        self.stories.snapshots._newest.clear()  # noqa: SLF001 (nobody else forgets)
        gc.collect()
        started = time.perf_counter()
        found = await question.replay(self.stories)
        self.times[kind, REPLAY, 1].append(time.perf_counter() - started)
        if isinstance(given, pb.DiffContextResponse):
            assert found == (list(given.entities), list(given.relations))
        else:
            assert (given.version, given.hash, given.context) == (str(found.version), found.hash, found.text)

    async def replay_graph(self, question: Question, given: Any) -> None:
        """Draw the graph of all of the log up to the position, and compare."""
        gc.collect()
        started = time.perf_counter()
        at = Token.parse(question.request.position).position
        # What a view does with a batch, for all of the log at once.
        drawing = _Drawing(Known({}, {}))
        async for commit in self.stories.store.log():
            if commit.position > at:
                break
            for step, position in _steps([commit]):
                drawing.draw(step, position)
        edges = {key: edge.since for key, edge in drawing._edges.items() if edge and edge.since}  # noqa: SLF001 (as above)
        near = {NodeKey("Decision", question.request.node_id)}
        for _ in range(question.request.depth):
            near |= {end for key in edges if not near.isdisjoint(key.ends) for end in key.ends}
        self.times["graph-at", REPLAY, 1].append(time.perf_counter() - started)
        expected = {(*key, f"{self.log.id}:{since}") for key, since in edges.items() if near >= {*key.ends}}
        found = {(edge.type, edge.from_node_id, edge.to_node_id, edge.since) for edge in given.relationships}
        assert found == expected

    def rows(self) -> Iterator[Result]:
        """Yield a row for each question, number of clients, percentile and rival."""
        for (kind, who, clients), ours in self.times.items():
            name = f"{kind}-x{clients}" if clients > 1 else kind
            if who != OURS or not self.scale.wants(name):
                continue
            for percent, rival in itertools.product((50, 99), _RIVALS):
                theirs = self.times.get(("" if rival == NO_WORK else kind, rival, clients))
                if theirs:
                    values = [MILLISECONDS.value(percentile(side, percent), 1) for side in (ours, theirs)]
                    yield self.scale.result(
                        f"{name}-p{percent}",
                        MILLISECONDS,
                        events=self.log.events,
                        ours=(Side(OURS, self.log.durability), values[0]),
                        rival=(Side(rival, "reads only"), values[1]),
                    )


# ---------------------------------------------------------------------------------------------------------- questions


def _get_context(_: Log, rng: random.Random) -> Question:
    role = rng.choice(ROLES)
    return Question("GetContext", pb.GetContextRequest(story_id=_STORY_ID, role=role), _context_replay(role, None))


def _at_time(log: Log, rng: random.Random) -> Question:
    """Ask for a random moment on a random clock."""
    clock, role = rng.choice(("recorded", "occurred")), rng.choice(ROLES)
    first, last = log.told[0].recorded, log.told[-1].recorded
    moment = first + (last - first) * rng.random()
    request = pb.GetContextAtTimeRequest(story_id=_STORY_ID, timestamp=moment.isoformat(), role=role, clock=clock)
    bound = Recorded(moment) if clock == "recorded" else Occurred(moment)
    return Question("GetContextAtTime", request, _context_replay(role, bound))


def _at_version(log: Log, rng: random.Random) -> Question:
    version, role = rng.randint(1, len(log.told)), rng.choice(ROLES)
    request = pb.GetContextAtVersionRequest(story_id=_STORY_ID, version=version, role=role)
    return Question("GetContextAtVersion", request, _context_replay(role, AtVersion(version)))


def _diff(log: Log, rng: random.Random) -> Question:
    earlier, later = sorted(rng.randint(1, len(log.told)) for _ in range(2))
    request = pb.DiffContextRequest(
        story_id=_STORY_ID, earlier=pb.Moment(version=earlier), later=pb.Moment(version=later)
    )

    async def replay(stories: Stories) -> Any:
        then = await stories.fold(_STORY_ID, AtVersion(earlier))
        now = await stories.fold(_STORY_ID, AtVersion(later))
        return differences(_STORY_ID, then.state, now.state)

    return Question("DiffContext", request, replay)


def _graph_at(log: Log, rng: random.Random) -> Question:
    """Ask for a decision, of the long story or of any one, at a random position since it was made."""
    place = 0
    while log.lines[place].version == 1:
        place = rng.choice(log.told).position - 1 if rng.random() < 0.5 else rng.randrange(log.events)
    line = log.lines[place]
    return Question(
        "GetGraphRelationships",
        pb.GetGraphRelationshipsRequest(
            node_id=decision(line.stream, rng.randrange(line.version - 1)),
            node_type="Decision",
            depth=2,
            position=str(Token(log.id, Position(rng.randint(place + 1, log.events)))),
        ),
    )


def _history(log: Log, rng: random.Random) -> Question:
    after = pb.Moment(version=rng.randrange(len(log.told)))
    return Question("GetHistory", pb.GetHistoryRequest(story_id=_STORY_ID, after=after))


def _no_work(_: Log, __: random.Random) -> Question:
    return Question("ValidateScope", pb.ValidateScopeRequest(role="qa", phase="BUILD"))


_QUESTIONS: Final[dict[str, Callable[[Log, random.Random], Question]]] = {
    "get-context": _get_context,
    "context-at-time": _at_time,
    "context-at-version": _at_version,
    "diff": _diff,
    "graph-at": _graph_at,
    "history": _history,
    "no-work": _no_work,
}

# ------------------------------------------------------------------------------------------------------------- asking


@contextlib.asynccontextmanager
async def service(url: str, without: str = OURS, *words: str) -> AsyncIterator[Server]:
    """Run the service in a process of its own."""
    run = f"{_WITHOUT[without]}\nfrom context_service.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", run, "serve", "--store", url, "--listen", "127.0.0.1:0"),
        *("--cache", "none", "--log-level", "WARNING", *words),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        address = ""
        while not address.startswith("serving on "):
            address = (await process.stdout.readline()).decode()
        async with contextlib.AsyncExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(address.split()[-1], options=options))
                for _ in range(_CLIENTS)
            ]
            yield Server([context_pb2_grpc.ContextServiceStub(channel) for channel in channels])
    finally:
        process.terminate()
        await process.communicate()


async def _graph_is_there(server: Server, log: Log) -> None:
    """Wait until the graph has been drawn of all of the log."""
    head = str(Token(log.id, Position(log.events)))
    while True:
        try:
            await server.stubs[0].GetGraphRelationships(
                pb.GetGraphRelationshipsRequest(node_id=_STORY_ID, node_type="Story", depth=1, min_position=head)
            )
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        else:
            return


async def answer(server: Server, question: Question, client: int = 0) -> Any:
    """Ask one question."""
    return await getattr(server.stubs[client], question.method)(question.request)


async def asked(server: Server, questions: Sequence[Question], clients: int) -> list[float]:
    """Let clients ask, each its next question when it has the answer to the one before; return what each one took."""
    waiting = iter(questions)
    taken: list[float] = []
    for client in range(clients):
        # A connection is made by the first call.
        await answer(server, Question("ValidateScope", pb.ValidateScopeRequest(role="qa", phase="BUILD")), client)

    async def ask(client: int) -> None:
        for question in waiting:
            started = time.perf_counter()
            await answer(server, question, client)
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*map(ask, range(clients)))
    return taken


# ------------------------------------------------------------------------------------------------------------ replays


def _context_replay(role: str, until: Any) -> Callable[[Stories], Awaitable[Any]]:
    async def replay(stories: Stories) -> Any:
        return await context_of(stories, _STORY_ID, until, role=role, contexts=Contexts())

    return replay
