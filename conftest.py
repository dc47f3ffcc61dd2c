"""Makes every example a test: the pages (`*.md`) and the docstrings of the packages; `./dev docs` runs them.

The blocks of one page share their names and an empty working directory, so a page may build on itself:

- `python` is run, and may `await` and `async with` at its top, as a reader's notebook does. A block that begins with
  `# shop.py` is also written to the file of that name, for the commands that follow.
- `console` is run where a line starts with `$` and one of our commands; it must succeed, and what the page prints below
  must come out, `...` standing for anything.
- `text`, and any other language, is only read.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.evaluators.python import pad
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from sybil import Example

# A shell's background job ignores Ctrl-C, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND = re.compile(r"^\$ ((?:eventstore|context|projections|upcasting) .*)$\n?((?:(?!\$ ).*\n?)*)", re.MULTILINE)

FILE = re.compile(r"# (\w+\.py)\n")


def run_python(example: Example) -> None:
    """Run a block whose top level may await."""
    if name := FILE.match(example.parsed):
        Path(name[1]).write_text(example.parsed, encoding="utf-8")
    source = pad(example.parsed, example.line + example.parsed.line_offset)
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace)  # noqa: S307 - our own pages
    if inspect.iscoroutine(result):
        asyncio.run(result)


def run_console(example: Example) -> str | None:
    """Run the commands of a block, each with the output that the page shows below it."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": scripts, "COLUMNS": "110", "NO_COLOR": "1"}
    for command, expected in COMMAND.findall(example.parsed):
        done = subprocess.run(command, shell=True, env=env, capture_output=True, text=True, check=False)  # noqa: S602
        got = done.stdout + done.stderr
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if done.returncode or not doctest.OutputChecker().check_output(expected, got, flags):
            return f"$ {command}\nexpected:\n{expected}\ngot (exit code {done.returncode}):\n{got}"
    return None


def enter_empty_directory(namespace: dict[str, Any]) -> None:
    """Let a page write its files where nobody looks."""
    namespace["_home"], namespace["_here"] = Path.cwd(), tempfile.TemporaryDirectory()
    os.chdir(namespace["_here"].name)


def leave_directory(namespace: dict[str, Any]) -> None:
    """Return to where pytest was, and clean up."""
    os.chdir(namespace["_home"])
    namespace["_here"].cleanup()


PAGES = Sybil(
    parsers=[CodeBlockParser("python", run_python), CodeBlockParser("console", run_console), SkipParser()],
    pattern="*.md",
    setup=enter_empty_directory,
    teardown=leave_directory,
)
DOCSTRINGS = Sybil(
    parsers=[DocTestParser(doctest.ELLIPSIS)],
    patterns=["src/*/*.py", "src/*/*/*.py"],
    document_types={".py": PythonDocStringDocument},
)

pytest_collect_file = (PAGES + DOCSTRINGS).pytest()
