"""The demo: a real decision log goes in, and three questions get the answers of then and of later.

The first part of the log is written as the first programs did, so that old and new events lie in one log.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from eventstore import Codec, EventStore, event_name
from rich.text import Text

from context_service.app import serving, stop_signals
from context_service.events.v1 import events_pb2 as pb
from context_service.events.v1 import history_pb2
from context_service.peps import import_peps
from context_service.stories import codec, open_stories
from context_service.v1 import context_pb2, context_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from eventstore import Payload
    from google.protobuf.message import Message
    from rich.console import Console

    from context_service.peps import Report
    from context_service.stories import Stories

    Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


class Question(NamedTuple):
    """Something to ask of a story at two moments."""

    text: str
    story_id: str
    decision_id: str
    moments: tuple[str, str]


QUESTIONS: Final = (
    Question("Do we write type hints?", "python-3.5", "PEP-484", ("2015-02-01", "2015-06-01")),
    Question("Does the global interpreter lock stay?", "python-3.12", "PEP-703", ("2023-06-01", "2024-01-01")),
    Question("Is the evaluation of annotations postponed?", "python-3.7", "PEP-563", ("2018-01-01", "2025-06-01")),
)

#: Until then the demo's decisions are written as the first programs did.
FIRST_PROGRAMS: Final = datetime(2010, 1, 1, tzinfo=UTC)


class FirstPrograms:
    """A codec that writes what has older schemas in the first one, as the first programs did, and reads as today's."""

    tag: Final = codec.tag
    decode = staticmethod(codec.decode)
    fans_out = staticmethod(codec.fans_out)
    _codec: Final = Codec(pb, history_pb2)

    def encode(self, message: Message) -> Payload:
        """Return what the first programs would have stored."""
        if isinstance(message, pb.DecisionAddedEvent):
            return self._codec.encode(_first_decision(message))
        if isinstance(message, pb.SubtaskUpdatedEvent):
            return self._codec.encode(_first_subtask(message))
        return self._codec.encode(message)


def _first_decision(message: pb.DecisionAddedEvent) -> Message:
    old = history_pb2.DecisionAddedV1.FromString(message.SerializeToString())
    old.status_text = message.status_text or pb.DecisionStatus.Name(message.status)
    old.alternatives_text = "\n".join(f"{number}. {text}" for number, text in enumerate(message.alternatives, 1))
    old.ClearField("status")
    old.ClearField("alternatives")
    return old


def _first_subtask(message: pb.SubtaskUpdatedEvent) -> Message:
    old = history_pb2.SubtaskUpdatedV1.FromString(message.SerializeToString())
    if old.HasField("status"):
        old.status = old.status.upper()
    return old


async def run_demo(out: Console, progress: Progress, *, store: str | None, listen: str, once: bool) -> None:
    """Import, serve, ask; go on serving until stopped unless ``once``."""
    async with AsyncExitStack() as stack:
        if store is None:
            # It stays, so that the commands below work afterwards too.
            store = f"sqlite:///{tempfile.mkdtemp(prefix='context-demo-')}/demo.db"
        stories = await stack.enter_async_context(open_stories(store))
        with progress("importing 26 years of Python's decisions") as done, _data() as path:
            first, rest = await import_old_and_new(stories, path, progress=done)
        out.print(
            f"{rest.decisions} decisions of {rest.stories} stories from {rest.changes} changes "
            f"in {first.seconds + rest.seconds:.1f} s"
        )
        out.print(await _schemas(stories))
        address = await stack.enter_async_context(serving(stories, "127.0.0.1:0" if once else listen))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        stub = context_pb2_grpc.ContextServiceStub(channel)
        for question in QUESTIONS:
            out.print(f"\n{question.text}", style="bold")
            for moment in question.moments:
                await _ask(out, stub, question, moment)
            for moment in question.moments:
                command = f"{_program()} show {question.story_id} --at {moment} --clock occurred --store {store}"
                out.print(f"  $ {command}", style="dim")
        if not once:
            with stop_signals() as stop:
                out.print(f"\nserving on {address} until Ctrl-C", style="bold")
                await stop.wait()


async def import_old_and_new(
    stories: Stories, path: Path, *, progress: Callable[[int, int], None]
) -> tuple[Report, Report]:
    """Import the PEPs as it would have come about: the first programs began it, today's goes on."""
    first = EventStore(stories.store.backend, FirstPrograms())
    begun = await import_peps(first, stories.snapshots, path, progress=progress, until=FIRST_PROGRAMS)
    return begun, await import_peps(stories.store, stories.snapshots, path, progress=progress)


async def _schemas(stories: Stories) -> str:
    type, _ = event_name(pb.DecisionAddedEvent)
    stored = [event.raw async for commit in stories.store.log() for event in commit.events]
    counts = Counter(raw.schema for raw in stored if raw.type == type)
    told = ", ".join(f"{count} in schema {schema}" for schema, count in sorted(counts.items()))
    return f"{type.rpartition('.')[2]}: {told}; all read as today's"


async def _ask(out: Console, stub: context_pb2_grpc.ContextServiceStub, question: Question, moment: str) -> None:
    request = context_pb2.GetContextAtTimeRequest(
        story_id=question.story_id, timestamp=moment, role="architect", clock="occurred"
    )
    answer: context_pb2.GetContextResponse = await stub.GetContextAtTime(request)
    heading = ""
    for line in answer.context.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        if line.startswith(f"- {question.decision_id} "):
            out.print(Text.assemble("  ", (moment, "cyan"), f"  {heading}, of version {answer.version}\n    {line}"))


def _data() -> AbstractContextManager[Path]:
    return as_file(files("context_service") / "data" / "peps.jsonl")


def _program() -> str:
    """Return how this shell can call the command ``context``: by its path where it is not installed for good."""
    program = Path(sys.argv[0]).absolute()
    return shlex.quote(str(program.relative_to(Path.cwd()))) if program.is_relative_to(Path.cwd()) else "context"
