"""How a command speaks to people on a terminal and to programs in a pipe, and how it ends.

Stored text was written by anybody. No control or direction character of it reaches a terminal: they are shown as
escapes.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import signal
import sys
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from eventstore import loops
from eventstore._values import from_micros

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from eventstore._segment_file import Report

# Control, format and direction characters, surrogates, line and paragraph separators, private use.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ZERO_WIDTH_JOINER: Final = "\u200d"  # inside emoji and some scripts, and without harm
_PAGE_ROWS: Final = 500
# Where a row does not fit, ids and what is longer than this go on in the next line.
_FOLDED_WIDTH: Final = 24
# A pipe has no width: nothing may be cut or folded in it.
_PIPE_WIDTH: Final = 100_000
# What a shell shows for a program that a signal has ended.
_INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE


class Program:
    """A command: how it starts, and how it ends.

    Args:
        name: what people call it.
        *errors: what a person can mend: it is one line on standard error, and exit code 1.
    """

    def __init__(self, name: str, *errors: type[Exception]) -> None:
        self.name: Final = name
        self._errors = errors

    def start(self, app: typer.Typer) -> None:
        """Do what the command line says; an output that cannot be written is one line too."""
        if sys.stdout is None:  # the caller closed it
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for as long as the process)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # What the output's encoding lacks is shown as an escape.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            try:
                app(prog_name=self.name)
            finally:
                sys.stdout.flush()
        except OSError as error:
            _forget_output()
            sys.exit(f"{self.name}: cannot write: {error.strerror}")

    def run(self, work: Coroutine[Any, Any, None], *, terminated: int = _TERMINATED) -> None:
        """Run a command to its exit code. Ctrl-C and SIGTERM cancel it, so that it can close what is open.

        Args:
            work: the command.
            terminated: the exit code after SIGTERM.
        """
        try:
            loops.run(_until_terminated(work))
            sys.stdout.flush()
        except self._errors as error:
            self.fail(str(error))
        except asyncio.CancelledError:
            _leave(terminated)
        except KeyboardInterrupt:
            _leave(_INTERRUPTED)
        except BrokenPipeError:
            _leave(_BROKEN_PIPE)

    def fail(self, problem: str) -> NoReturn:
        """End with one line and exit code 1."""
        print(f"{self.name}: {printable(problem)}", file=sys.stderr)  # noqa: T201
        _leave(1)


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    if task is None:  # pragma: no cover
        raise AssertionError("a coroutine runs in a task")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def first_signal() -> Iterator[asyncio.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, once; the next one ends the command as it ends any other."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:  # pragma: no cover
        raise AssertionError("a coroutine runs in a task")
    told = asyncio.Event()
    interrupt = signal.getsignal(signal.SIGINT)

    def restore() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, interrupt)
        loop.add_signal_handler(signal.SIGTERM, task.cancel)

    def take() -> None:
        told.set()
        restore()

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, take)
    try:
        yield told
    finally:
        restore()


def _leave(code: int) -> NoReturn:
    """End with an exit code, and without complaint about a pipe whose reader has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    raise typer.Exit(code)


def _forget_output() -> None:
    """Drop what cannot be written: Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CannotImport(Exception):
    """What was named on a command line is not there, or its module fails."""


def imported(name: str) -> object:
    """Return what ``module`` or ``module:attribute`` names, found as Python would from the current folder.

    Raises:
        CannotImport: there is no such module or attribute, or running the module has failed, in whatever way.
    """
    module, _, attribute = name.partition(":")
    if not module or module.startswith("."):
        raise CannotImport(f"{name}: expected module or module:attribute, as Python imports it")
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError) as error:
        raise CannotImport(f"{name}: {error}") from error
    except (Exception, SystemExit) as error:
        raise CannotImport(f"{name}: importing it raised {type(error).__name__}: {error}") from error


# Text


def printable(text: str) -> str:
    """Return text on one line with nothing in it that a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if unicodedata.category(char) not in _UNPRINTABLE or char == _ZERO_WIDTH_JOINER:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_line(values: dict[str, Any]) -> str:
    """Return JSON on one line, in ASCII."""
    return json.dumps(values, separators=(",", ":")).replace("\x7f", "\\u007f")


def iso(micros: int) -> str:
    """Return a time as RFC 3339 with microseconds, or the number where no calendar has it."""
    try:
        return from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return str(micros)


def short_time(micros: int) -> str:
    """Return a time for people, to the second, in UTC."""
    return iso(micros).partition(".")[0].replace("T", " ")


# Printing


class _Console(Console):
    """Leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return where to print: as wide as its terminal, or in a pipe as it takes, unless COLUMNS says how wide.

    With ``soft_wrap`` a line that is too long is left to the terminal.
    """
    stream = sys.stderr if stderr else sys.stdout
    bounded = "COLUMNS" in os.environ or (stream is not None and stream.isatty())
    width = None if bounded else _PIPE_WIDTH
    return _Console(stderr=stderr, width=width, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def write_line(line: str) -> None:
    """Print a line as it is."""
    sys.stdout.write(f"{line}\n")


def pairs(shown: dict[str, str]) -> Table:
    """Return names and values side by side."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in shown.items():
        table.add_row(name, Text(printable(value)))
    return table


class Listing:
    """A table that is printed page by page, so that it may be longer than memory."""

    def __init__(self, out: Console, columns: dict[str, str]) -> None:
        self._out = out
        self._columns = columns
        self._widths = [len(name) for name in columns]
        self._rows: list[tuple[str, ...]] = []
        self._began = False

    def add(self, *row: str) -> None:
        """Add a row of printable text."""
        self._rows.append(row)
        if len(self._rows) == _PAGE_ROWS:
            self.end()

    def end(self) -> None:
        """Print what has not been printed; nothing at all when there was no row."""
        if not self._rows:
            return
        self._widths = [
            max(old, *map(len, cells)) for old, cells in zip(self._widths, zip(*self._rows, strict=True), strict=True)
        ]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=not self._began)
        for column, width in zip(self._columns.items(), self._widths, strict=True):
            table.add_column(
                self._cell(column, column[0], width), overflow="fold", no_wrap=not self._folds(column[0], width)
            )
        for row in self._rows:
            table.add_row(*map(self._cell, self._columns.items(), row, self._widths))
        self._out.print(table)
        self._rows.clear()
        self._began = True

    def _cell(self, column: tuple[str, str], text: str, width: int) -> Text:
        name, side = column
        if self._folds(name, width):
            return Text(text)
        return Text(text.ljust(width) if side == "left" else text.rjust(width))

    @staticmethod
    def _folds(name: str, width: int) -> bool:
        return name == "ID" or width > _FOLDED_WIDTH


# Progress


class _Rate(ProgressColumn):
    """How much is done in a second."""

    def render(self, task: Task) -> Text:
        """Return it."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="dim")


@contextmanager
def progress(*, show: bool = True) -> Iterator[Report]:
    """Show a bar for each step, on a terminal only: how far it is, how fast, and how long it still takes."""
    err = console(stderr=True)
    if not (show and err.is_terminal):
        yield lambda _step, _done, _total: None
        return
    share = TextColumn("{task.percentage:>3.0f}%")
    columns = (TextColumn("{task.description}"), BarColumn(), share, _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step)
            bars.update(tasks[step], completed=done, total=total)

        yield report
