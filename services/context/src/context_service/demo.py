"""The demo: a real decision log goes in, and three questions get the answers of then and of later."""

from __future__ import annotations

import shlex
import sys
import tempfile
from contextlib import AsyncExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from rich.text import Text

from context_service.app import serving, stop_signals
from context_service.peps import import_peps
from context_service.stories import open_stories
from context_service.v1 import context_pb2, context_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

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


async def run_demo(out: Console, progress: Progress, *, store: str | None, listen: str, once: bool) -> None:
    """Import, serve, ask; go on serving until stopped unless ``once``."""
    async with AsyncExitStack() as stack:
        if store is None:
            # It stays, so that the commands below work afterwards too.
            store = f"sqlite:///{tempfile.mkdtemp(prefix='context-demo-')}/demo.db"
        stories = await stack.enter_async_context(open_stories(store))
        with progress("importing 26 years of Python's decisions") as done, _data() as path:
            report = await import_peps(stories.store, stories.snapshots, path, progress=done)
        out.print(
            f"{report.decisions} decisions of {report.stories} stories from {report.changes} changes "
            f"in {report.seconds:.1f} s"
        )
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
