"""The commands ``upcasting audit`` and ``upcasting migrate``: what people see, what programs read, how they end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, NO_STREAM, NewCommit, StreamId, open_store
from typer.testing import CliRunner
from upcasting.cli import app

from tests.terminals import STYLE, on_terminal
from tests.upcasting.messages import Basket, Paid, PlacedV1, PlacedV2, Unrelated
from tests.upcasting.shop import OLD, in_cents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

pytestmark = pytest.mark.timeout(60)  # several processes are started one after the other

ROOT = Path(__file__).parents[2]
SHOP = "tests.upcasting.shop"
ONE = StreamId("order", "1")
EVIL = StreamId("order", "a\u202eb")
# What a terminal is told beside text: moves, erasures, and the cursor.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


def url(name: str = "old") -> str:
    return f"sqlite:///{name}.db?durability=normal"


def append(*messages: Message, stream: StreamId = ONE, name: str = "old") -> None:
    """Append a commit for each message."""

    async def work() -> None:
        async with open_store(url(name), OLD) as store:
            for message in messages:
                await store.append(stream, [message], expected=ANY)

    asyncio.run(work())


def append_garbage() -> None:
    async def work() -> None:
        async with open_store(url()) as store:
            await store.backend.append(NewCommit(EVIL, NO_STREAM, 1, bytes(16), b"\xff"))

    asyncio.run(work())


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def lines(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json", code=code).splitlines()]


def told_keys(command: str, start: str, end: str) -> list[str]:
    """Return the keys that the help of a command names between two words."""
    text = " ".join(run(command, "--help").split())
    return text.partition(start)[2].partition(end)[0].replace(",", " ").split()


class TestAudit:
    """``upcasting audit``."""

    ARGUMENTS = ("audit", url(), "--codec", f"{SHOP}:UPCASTING")

    def test_readable(self) -> None:
        """A log that can be read is shown by type and schema, with exit code 0."""
        append(PlacedV1(price="1"), PlacedV2(cents=1), PlacedV1(price="2"), Basket(lines=1))
        out = run(*self.ARGUMENTS)
        rows = [line.split() for line in out.splitlines()]
        assert ["order.placed", "1", "2", "1", "3", "2", "0"] in rows
        assert ["order.basket", "1", "1", "4", "4", "1", "0"] in rows
        assert "audited  4 commits with 4 events, 4 decoded, in" in out
        assert re.search(r"verdict +readable", out)

    def test_not_readable(self) -> None:
        """What fails is named, what is written in the log obeyed by no terminal, and the exit code is 1."""
        append(PlacedV1(price="x\x1b[31m"), stream=StreamId("order", "fine"))
        append_garbage()
        append(*[Unrelated()] * 7)
        out = run("audit", url(), "--codec", f"{SHOP}:TODAY", code=1)
        assert "position 2  order a\\u202eb  no commit" in out
        assert "no path" in out
        assert "and 2 more: of each type and schema 5 are named, by --json all" in out
        verdict = "not readable; types and schemas without a path: 2, events that fail: 8, corrupt commits: 1"
        assert f"verdict  {verdict}" in out
        out = run(*self.ARGUMENTS, code=1)
        assert f"step {in_cents.name} raised ValueError: could not convert string to float: 'x\\x1b[31m'" in out
        assert "position 1  order fine  version 1  order.placed schema 1" in out

    def test_json(self) -> None:
        """The lines have the keys that the help names; all that fails is there."""
        append(*[PlacedV1(price="x")] * 12)
        append_garbage()
        found = lines(*self.ARGUMENTS, code=1)
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for line in found:
            by_kind.setdefault(line.pop("kind"), []).append(line)
        assert {kind: len(those) for kind, those in by_kind.items()} == {
            "unreadable": 12,
            "corrupt": 1,
            "held": 1,
            "audit": 1,
        }
        for kind, start, end in (
            ("unreadable", "(kind unreadable)", ";"),
            ("corrupt", "(corrupt)", ";"),
            ("held", "(held)", ";"),
            ("audit", "(audit)", ". "),
        ):
            assert list(by_kind[kind][0]) == told_keys("audit", start, end)
        assert by_kind["unreadable"][11]["position"] == 12
        assert by_kind["audit"][0]["failed"] == 12

    def test_sample(self) -> None:
        """A sample decodes fewer."""
        append(*[PlacedV1(price="1")] * 10)
        [held, told] = lines(*self.ARGUMENTS, "--sample", "4")
        assert (held["decoded"], held["events"], told["decoded"]) == (4, 10, 4)
        assert "readable, as far as the sample tells" in run(*self.ARGUMENTS, "--sample", "4")

    @pytest.mark.parametrize("columns", [60, 120])
    def test_on_a_terminal(self, columns: int) -> None:
        """It fits, and the bar is gone at the end."""
        append(PlacedV1(price="x"), Basket(lines=1), Paid(by="ann"))
        append_garbage()
        out = on_terminal("upcasting", *self.ARGUMENTS, columns=columns)
        shown = STYLE.sub("", out).rpartition("\x1b[2K")[2]
        assert "TYPE" in shown
        assert "audit " not in shown
        assert max(map(len, shown.splitlines())) <= columns
        assert ("DECODED" in shown) == (columns > 80)

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("nothing.there", "No module named 'nothing'"),
            (f"{SHOP}:nothing", "has no attribute 'nothing'"),
            (f"{SHOP}:STEPS", "expected an Upcasting or a Codec, got [<step"),
            (":", "expected module or module:attribute"),
        ],
    )
    def test_no_codec(self, name: str, problem: str) -> None:
        """A codec that is none is a mistake of who typed the command."""
        assert problem in run("audit", url(), "--codec", name, code=2)

    def test_no_store(self) -> None:
        """A store that is not there is not made."""
        assert "old.db: no such file" in run(*self.ARGUMENTS, code=1)
        assert not Path("old.db").exists()


class TestMigrate:
    """``upcasting migrate``."""

    ARGUMENTS = ("migrate", url(), url("new"), "--steps", f"{SHOP}:STEPS")

    def test_report(self) -> None:
        """People see what became of what, and both logs."""
        append(PlacedV1(price="1"), Basket(lines=3), Basket(), Unrelated(), Paid(by="ann"))
        out = run(*self.ARGUMENTS)
        rows = [" ".join(line.split()) for line in out.splitlines()]
        assert "order.basket 1 2 upcast: 3 order.line schema 1" in rows
        assert "order.placed 1 1 upcast: 1 order.placed schema 3" in rows
        assert "order.unrelated 1 1 dropped: nothing" in rows
        assert "migrated 3 commits with 5 events" in rows
        assert "of 5 commits with 5 events, up to position 5" in rows
        assert "left out 2 commits without an event left" in rows
        assert "migrated 3 commits with 5 events, 3 of them before" in " ".join(run(*self.ARGUMENTS).split())

    def test_json(self) -> None:
        """Its keys are those that the help names, and the old log is as it was."""
        append(PlacedV1(price="1"), Basket(lines=3))
        before = Path("old.db").read_bytes()
        [told] = lines(*self.ARGUMENTS)
        assert Path("old.db").read_bytes() == before
        text = run("migrate", "--help").partition("JSON keys:")[2]
        assert all(re.search(rf"\b{key}\b", text) for key in told)
        assert list(told["source"]) == list(told["target"]) == told_keys("migrate", "(objects of", ")")
        assert told["carried"][0] == {
            "type": "order.basket",
            "schema": 1,
            "how": "upcast",
            "events": 1,
            "became": [{"type": "order.line", "schema": 1, "events": 3}],
        }
        assert (told["already"], told["left_out"], told["source"]["commits"]) == (0, 0, 2)

    def test_an_upcasting(self) -> None:
        """Steps may be given as the codec that has them."""
        append(PlacedV1(price="1"))
        [told] = lines("migrate", url(), url("new"), "--steps", f"{SHOP}:UPCASTING")
        assert told["carried"][0]["became"][0]["schema"] == 3

    def test_a_step_that_fails(self) -> None:
        """It is one line that names the event and the step."""
        append(PlacedV1(price="x"))
        out = run(*self.ARGUMENTS, code=1)
        assert out.startswith(
            "upcasting: stream order '1', version 1, position 1: cannot decode order.placed schema 1:"
        )
        assert in_cents.name in out

    def test_another_target(self) -> None:
        """A target that holds something else is refused."""
        append(PlacedV1(price="1"))
        append(Paid(by="ann"), name="new")
        assert "upcasting: the target holds 1 commits" in run(*self.ARGUMENTS, code=1)

    def test_no_source(self) -> None:
        """A source that is not there leaves no target behind."""
        assert "old.db: no such file" in run(*self.ARGUMENTS, code=1)
        assert not list(Path().iterdir())

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            (f"{SHOP}:TODAY", "expected steps or an Upcasting, got"),
            (f"{SHOP}:nothing", "has no attribute"),
            ("tests.upcasting.broken_steps:STEPS", "leads in a circle"),
        ],
    )
    def test_no_steps(self, name: str, problem: str) -> None:
        """Steps that are none, or cannot be made, are a mistake of who typed the command."""
        append(PlacedV1(price="1"))
        assert problem in run("migrate", url(), url("new"), "--steps", name, code=2)
        assert not Path("new.db").exists()

    @pytest.mark.parametrize("columns", [60, 120])
    def test_on_a_terminal(self, columns: int) -> None:
        """It fits, and the bars are gone at the end."""
        append(PlacedV1(price="1"), Basket(lines=1), Unrelated())
        out = on_terminal("upcasting", *self.ARGUMENTS, columns=columns)
        shown = STYLE.sub("", out).rpartition("\x1b[2K")[2]
        assert "BECAME" in shown
        assert "verify" not in shown
        assert max(map(len, CONTROL.sub("", shown).splitlines())) <= columns


class TestFollow:
    """``upcasting migrate --follow``."""

    @pytest.fixture
    def following(self) -> Iterator[subprocess.Popen[str]]:
        append(PlacedV1(price="1"))
        command = [sys.executable, "-m", "upcasting", *TestMigrate.ARGUMENTS, "--follow", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            told = process.stderr.readline()
            assert told == "caught up at position 1; following until Ctrl-C or SIGTERM\n", told + process.stderr.read()
            yield process
            process.kill()

    @pytest.mark.parametrize("cut_over", [signal.SIGINT, signal.SIGTERM])
    def test_cut_over(self, following: subprocess.Popen[str], cut_over: signal.Signals) -> None:
        """The first signal ends it at the source's head of then, with exit code 0."""
        append(*[Basket(lines=2)] * 5)
        following.send_signal(cut_over)
        out, problem = following.communicate(timeout=20)
        assert (following.returncode, problem) == (0, "")
        told = json.loads(out)
        assert (told["source"]["commits"], told["target"]["events"]) == (6, 11)

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    @pytest.mark.parametrize(
        ("first", "second", "code"), [("SIGINT", "SIGTERM", 143), ("SIGTERM", "SIGINT", 130), ("SIGINT", "SIGINT", 130)]
    )
    def test_the_second_signal_ends_it(self, loop: str, first: str, second: str, code: int) -> None:
        """Once the first signal was taken, the next one ends a command as it ends any other."""
        done = subprocess.run(
            [sys.executable, "-c", SIGNALLED, loop, first, second], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, f"{loop}\n", "")


SIGNALLED = """
import asyncio, os, signal, sys

_, loop, *signals = sys.argv
first, second = (getattr(signal, name) for name in signals)
if loop == "asyncio":
    sys.modules["uvloop"] = None
del sys.argv[1:]

import typer
from eventstore.terminal import Program, first_signal

async def work():
    with first_signal() as told:
        print(type(asyncio.get_running_loop()).__module__.partition(".")[0], flush=True)
        os.kill(os.getpid(), first)
        await told.wait()
        os.kill(os.getpid(), second)
        await asyncio.sleep(30)

program = Program("test", ValueError)
app = typer.Typer()
app.command()(lambda: program.run(work()))
program.start(app)
"""
