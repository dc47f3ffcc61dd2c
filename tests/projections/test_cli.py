"""The command ``projections``: what people see, what programs read, and how it ends."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unicodedata
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from eventstore import ANY, StreamId
from projections import UnknownProjection, running, status
from projections.cli import app
from typer.testing import CliRunner

from tests.projections.deployed import deployed
from tests.projections.views import UNLUCKY, numbers
from tests.terminals import STYLE, on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections import Status
    from typer.testing import Result

pytestmark = pytest.mark.timeout(60)  # several processes are started one after the other

HERE = "tests.projections.deployed"
EVIL = "later\x1b[31m\u202eevil\x07"
OTHER = "n\u20661"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("DEPLOYED_IN", str(tmp_path))
    monkeypatch.setenv("PROJECTIONS", f"{HERE}:deployed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def call(*arguments: str | int, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def lines(*arguments: str | int, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in call(*arguments, "--json", code=code).stdout.splitlines()]


def append(*values: int, id: str = "1") -> None:
    """Append a commit for each value."""

    async def work() -> None:
        async with deployed() as [one]:
            for value in values:
                await one.store.append(StreamId("n", id), numbers(value), expected=ANY)

    asyncio.run(work())


def settle() -> Status:
    """Run the projection until it is at the log's end, or has failed."""

    async def work() -> Status:
        async with deployed() as [one]:
            async with running(*one), asyncio.timeout(10):
                while True:
                    await asyncio.sleep(0.01)
                    with suppress(UnknownProjection):
                        found = await status(*one)
                        # Whoever takes it over has carried out what was decided before.
                        if found.record.holder and (found.record.failure or not found.behind):
                            break
            return await status(*one)

    return asyncio.run(work())


def sums(folder: Path) -> dict[str, int]:
    """Return what is in the view."""
    with closing(sqlite3.connect(folder / "view.db")) as connection:
        return dict(connection.execute("SELECT id, total FROM sums").fetchall())


def spoil(folder: Path) -> None:
    """Make the view other than the log says, with a key that is not fit for a terminal."""
    with closing(sqlite3.connect(folder / "view.db", isolation_level=None)) as connection:
        connection.execute("UPDATE sums SET total = 1000")
        connection.execute("INSERT INTO sums VALUES (?, 1, 1)", (EVIL,))


# Looking


def test_status_before_it_has_run() -> None:
    """What has never run is new, and not healthy."""
    append(1, 2)
    assert lines("status", code=1) == [
        {
            "name": "sums",
            "state": "new",
            "position": 0,
            "head": 2,
            "behind": 2,
            "seconds_behind": 0.0,
            "generation": 0,
            "epoch": 0,
            "dead_letters": 0,
            "skipped": 0,
            "failure": None,
            "verdict": "",
            "trouble": "",
        }
    ]


def test_status_of_a_failure() -> None:
    """A failure is told with its place, in both forms, and how far the view is behind."""
    append(1, UNLUCKY, 2)
    settle()
    [told] = lines("status", "sums", code=1)
    assert (told["state"], told["position"], told["head"], told["behind"], told["epoch"]) == ("failed", 1, 3, 2, 1)
    assert told["seconds_behind"] > 0
    assert told["failure"] == {
        "position": 2,
        "category": "n",
        "id": "1",
        "version": 2,
        "first_version": 0,
        "type": "google.protobuf.Int64Value",
        "reason": "ValueError: unlucky",
    }
    heading, _, row, failure = call("status", code=1).stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "POSITION", "HEAD", "BEHIND", "SECONDS", "GENERATION", "EPOCH", "DEAD"]
    assert row.split()[:5] == ["sums", "failed", "1", "3", "2"]
    assert failure.startswith("sums position 2, google.protobuf.Int64Value at version 2 of stream n '1': ValueError")


@pytest.mark.parametrize(
    ("where", "trouble"),
    [("gone", "ModelUnavailable: connection refused"), ("of_another_log", "the view is of log ")],
)
def test_status_of_what_cannot_be_told(where: str, trouble: str) -> None:
    """A target that does not answer, or follows another log, is a state and not the end of the list."""
    append(1)
    settle()
    [told] = lines("--projections", f"{HERE}:{where}", "status", code=1)
    assert told["state"] == "unavailable"
    assert told["trouble"].startswith(trouble)
    assert trouble in call("--projections", f"{HERE}:{where}", "status", code=1).stdout


# Deciding


def test_pause_and_resume() -> None:
    """A projection is paused and goes on, also while nobody runs it."""
    append(1)
    settle()
    assert call("pause", "sums").stdout == "sums: paused after position 1\n"
    assert lines("status", code=1)[0]["state"] == "paused"
    assert call("resume", "sums").stdout == "sums: goes on at position 1\n"
    assert lines("status", code=1)[0]["state"] == "stopped"


def test_skip_while_nobody_runs(tmp_path: Path) -> None:
    """What is decided while nobody runs is done by the next run."""
    append(1, UNLUCKY, 2)
    settle()
    assert call("skip", "sums", 2, "--reason", "bad luck").stdout == "sums: to skip position 2\n"
    [told] = lines("status", code=1)
    assert (told["state"], told["verdict"]) == ("failed", "skip")
    assert "(skip is decided and not done yet)" in call("status", code=1).stdout
    assert settle().record.position == 3
    assert sums(tmp_path) == {"1": 3}
    assert lines("status", code=1)[0]["skipped"] == 1


def test_dead_letters() -> None:
    """A commit is put aside and listed; replayed in vain it stays, with the reason in one line."""
    append(1)
    append(UNLUCKY, id=OTHER)
    settle()
    assert call("dead-letter", "sums", 2, "--reason", EVIL).stdout == "sums: to put aside position 2\n"
    settle()
    assert lines("dead-letters", "sums") == [
        {
            "position": 2,
            "category": "n",
            "id": OTHER,
            "version": 1,
            "first_version": 0,
            "type": "google.protobuf.Int64Value",
            "reason": EVIL,
            "failure": "ValueError: unlucky",
        }
    ]
    assert "position 2  n n\\u20661  version 1" in call("dead-letters", "sums").stdout
    error = call("replay", "sums", 2, code=1).stderr
    stays = "sums: position 2 stays a dead letter, it cannot be applied: ValueError: unlucky"
    assert error == f"projections: {stays}\n"
    assert len(lines("dead-letters", "sums")) == 1


def test_replay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What can be applied in the end is applied, and listed no more."""
    append(1, UNLUCKY, 2)
    settle()
    call("dead-letter", "sums", 2, "--reason", "later")
    settle()
    monkeypatch.setattr("tests.projections.views.UNLUCKY", -1)
    assert call("replay", "sums", 2).stdout == "sums: applied 1 commits\n"
    assert lines("dead-letters", "sums") == []
    assert sums(tmp_path) == {"1": 1 + UNLUCKY + 2}


def test_reset(tmp_path: Path) -> None:
    """Reset moves back, empties the view only for 0, and does nothing before somebody has said yes."""
    append(1, 2, 3)
    settle()
    error = call("reset", "sums", "--to", 2, code=1).stderr
    assert "applies to the view of sums, as it is, all between position 2 and 3 again: say --yes" in error
    assert lines("status", code=1)[0]["position"] == 3
    assert call("reset", "sums", "--to", 2, "--yes").stdout == "sums: begins again after position 2\n"
    assert lines("status", code=1)[0]["position"] == 2
    settle()
    assert sums(tmp_path) == {"1": 9}
    call("reset", "sums", "--to", 0, "--yes")
    settle()
    assert sums(tmp_path) == {"1": 6}


@pytest.mark.parametrize(("answer", "position"), [(b"n\n", 1), (b"y\n", 0)])
def test_reset_asks_on_a_terminal(answer: bytes, position: int) -> None:
    """On a terminal it says what it will do, and asks."""
    append(1)
    settle()
    out = on_terminal("projections", "reset", "sums", "--to", "0", typed=answer)
    assert "This empties the view of sums, which is at position 1, and makes it anew. Go on?" in out
    assert lines("status", code=1)[0]["position"] == position


def test_reset_in_another_log() -> None:
    """A view of another log can only begin anew."""
    append(1)
    settle()
    there = ("--projections", f"{HERE}:of_another_log")
    assert "log" in call(*there, "reset", "sums", "--to", 1, "--yes", code=1).stderr
    call(*there, "reset", "sums", "--to", 0, "--yes")
    assert lines(*there, "status", code=1)[0]["state"] == "stopped"


def test_forget(tmp_path: Path) -> None:
    """What is forgotten is as if it had never run."""
    append(1, 2)
    settle()
    call("rebuild", "sums")
    error = call("forget", "sums", code=1).stderr
    assert "empties the view of sums, which is at position 2, for good: say --yes" in error
    assert call("forget", "sums", "--yes").stdout == "sums: forgotten\n"
    assert lines("status", code=1)[0]["state"] == "new"
    assert sums(tmp_path) == {}
    settle()
    assert sums(tmp_path) == {"1": 3}


# Rebuilding


def test_rebuild(tmp_path: Path) -> None:
    """A rebuild tells what it has found and done, in both forms."""
    append(1, 2)
    settle()
    [told] = lines("rebuild", "sums")
    keys = "position commits live rebuilt difference swapped seconds commits_per_second"
    assert list(told) == keys.split()
    assert (told["position"], told["commits"], told["swapped"], told["difference"]["count"]) == (2, 2, True, 0)
    assert told["live"] == told["rebuilt"]
    out = call("rebuild", "sums").stdout
    for fact in (r"rebuilt +2 commits in", r"compared at +position 2", r"difference +none", r"swapped +yes"):
        assert re.search(fact, out)
    assert lines("status", code=1)[0]["generation"] == 2
    assert sums(tmp_path) == {"1": 3}


@pytest.mark.parametrize("swap", ["never", "equal"])
def test_rebuild_of_what_differs(tmp_path: Path, swap: str) -> None:
    """Where the two differ and were not swapped the code is 1, and the keys are named without harm."""
    append(1, 2)
    settle()
    spoil(tmp_path)
    result = call("rebuild", "sums", "--swap", swap, code=1)
    assert re.search(r"swapped +no", result.stdout)
    assert '  ~ ["sums", "1"]' in result.stdout
    assert "  - [" in result.stdout
    assert not result.stderr
    assert sums(tmp_path)["1"] == 1_000
    [told] = lines("rebuild", "sums", "--swap", "always")
    assert (told["swapped"], told["difference"]["count"]) == (True, 2)
    assert sums(tmp_path) == {"1": 3}


def test_rebuild_of_much_that_differs(tmp_path: Path) -> None:
    """Of many keys the first are named, and the rest is counted."""
    append(1)
    settle()
    with closing(sqlite3.connect(tmp_path / "view.db", isolation_level=None)) as connection:
        connection.executemany("INSERT INTO sums VALUES (?, 1, 1)", [(f"x{number}",) for number in range(30)])
    assert "  and 20 more\n" in call("rebuild", "sums").stdout


# On a terminal


def test_progress_on_a_terminal() -> None:
    """On a terminal a bar shows step, rate and time left, and leaves only the result behind."""
    append(*range(10))
    settle()
    out = STYLE.sub("", on_terminal("projections", "rebuild", "sums", columns=100))
    assert re.search(r"applying .*100%", out)
    assert re.search(r"comparing .*100% .*0:00:00", out)
    assert "rebuilt" in out.rpartition("100%")[2]


def test_narrow_terminal() -> None:
    """On 60 columns no line is longer, and nothing stored commands the terminal."""
    append(1)
    append(UNLUCKY, id=OTHER)
    settle()
    seen = on_terminal("projections", "status")
    call("dead-letter", "sums", 2, "--reason", EVIL * 5)
    settle()
    seen += on_terminal("projections", "status") + on_terminal("projections", "dead-letters", "sums")
    seen = STYLE.sub("", seen)
    assert max(map(len, seen.splitlines())) <= 60
    assert not [char for char in seen if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    assert "failed" in seen
    assert "put aside" in seen


# How it is called and how it ends


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("", "say where the projections are: --projections MODULE:NAME, or the variable PROJECTIONS"),
        ("no_such_module:x", "no_such_module:x: No module named 'no_such_module'"),
        (":", ":: expected module or module:attribute"),
        (f"{HERE}:nothing", f"module '{HERE}' has no attribute 'nothing'"),
        (HERE, "expected an async context manager function, got <module"),
        (f"{HERE}:folder", "expected an async context manager function, got <function folder"),
        (f"{HERE}:words", "expected to be given Deployed values, got ['sums']"),
        (f"{HERE}:twice", "two projections have the same name"),
        (f"{HERE}:refused", f"{HERE}:refused: [Errno 111] Connection refused"),
        (f"{HERE}:unset", f"{HERE}:unset raised KeyError: 'SHOP_DATABASE'"),
        (f"{HERE}:without_a_store", "its folder does not exist"),
    ],
)
def test_nothing_to_look_after(where: str, problem: str) -> None:
    """What cannot be opened is one line that says why, and ends with 1."""
    result = call("--projections", where, "status", code=1)
    [line] = result.stderr.splitlines()
    assert line.startswith("projections: ")
    assert problem in line
    assert not result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["status", "x"], "there is no projection 'x'; there are: sums"),
        (["run", "x"], "there is no projection 'x'; there are: sums"),
        (["pause", "\u202eevil"], "there is no projection '\\u202eevil'; there are: sums"),
        (["skip", "sums", "1", "--reason", "x"], "sums: the projection has not failed"),
        (["skip", "sums", "1", "--reason", " "], "sums: reason: expected why, got nothing"),
        (["dead-letter", "sums", "1", "--reason", "x"], "sums: the projection has not failed"),
        (["replay", "sums", "1"], "sums has no dead letter of position 1"),
        (["reset", "sums", "--to", "2", "--yes"], "sums: to: expected a position from 0 to 1, got 2"),
        (["--projections", f"{HERE}:gone", "pause", "sums"], "sums: connection refused"),
        (["--projections", f"{HERE}:of_another_log", "run"], "sums: "),
        (["run", "--metrics", "nonsense"], "address: cannot serve on 'nonsense': expected HOST:PORT"),
        (["run", "--metrics", "localhost:65536"], "expected HOST:PORT"),
        (["run", "--metrics", "192.0.2.1:0"], "address: cannot serve on 192.0.2.1:0: "),
    ],
)
def test_errors(arguments: list[str], problem: str) -> None:
    """What a person can mend is one line and ends with 1."""
    append(1)
    settle()
    result = call(*arguments, code=1)
    *told, line = result.stderr.splitlines()
    assert line.startswith("projections: ")
    assert problem in line
    assert not told or arguments[-1] == "run"
    assert not result.stdout


@pytest.mark.parametrize("command", ["pause", "resume", "dead-letters", "rebuild", "forget"])
def test_what_has_not_run(command: str) -> None:
    """What has not run yet says so, once with its name."""
    assert call(command, "sums", code=1).stderr.startswith("projections: sums has not run on this target yet")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["pause"],
        ["skip", "sums", "--reason", "x"],
        ["replay", "sums", "x"],
        ["reset", "sums", "--to", "-1"],
    ],
)
def test_usage_errors(arguments: list[str]) -> None:
    """A command that cannot be understood ends with 2."""
    assert "Traceback" not in call(*arguments, code=2).output


def test_version_and_help() -> None:
    """The version is the distribution's; help has a line for each command, and needs no projections."""
    assert call("--version").stdout == f"projections {importlib.metadata.version('foldlog-projections')}\n"
    deciding = ["pause", "resume", "skip", "dead-letter", "dead-letters", "replay"]
    commands = ["status", *deciding, "rebuild", "reset", "forget", "run"]
    out = call("--help").stdout
    for command in commands:
        assert re.search(rf"^ +{command} +[A-Z].*\.$", out, re.MULTILINE)
        assert call("--projections", "", command, "--help").stdout


# Running


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "projections", *arguments]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read standard error until a line matches."""
    assert process.stderr
    for line in process.stderr:
        if found := re.fullmatch(pattern, line.rstrip("\n")):
            return found
    raise AssertionError(f"ended without {pattern}")


def get(address: str) -> tuple[int, str]:
    try:
        with urlopen(address) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_run(number: signal.Signals, code: int) -> None:
    """It runs until a signal, tells its states, and lets the next one take over at once."""
    append(1, 2)
    with program("run") as process:
        until(process, "sums: running")
        assert lines("status")[0]["state"] == "running"
        process.send_signal(number)
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == ("", code)
    [told] = lines("status", code=1)
    assert (told["state"], told["behind"]) == ("stopped", 0)


def test_run_serves_metrics_and_health() -> None:
    """Metrics are Prometheus's; health is JSON, with 503 for what needs a person."""
    append(1, 2)
    with program("run", "sums", "--metrics", "127.0.0.1:0") as process:
        address = "http://" + until(process, "metrics and /health on (.*)")[1]
        until(process, "sums: running")
        code, body = get(f"{address}/health")
        [told] = json.loads(body)
        assert (code, told["projection"], told["state"], told["position"]) == (200, "sums", "running", 2)
        assert (told["ready"], told["behind"], told["failure"]) == (True, 0, None)
        assert 'projection_commits_total{projection="sums"} 2.0' in get(f"{address}/metrics")[1]
        append(UNLUCKY)
        until(process, "sums: failed: position 3, .* at version 3 of stream n '1': ValueError: unlucky")
        code, body = get(f"{address}/health")
        [told] = json.loads(body)
        assert (code, told["state"], told["ready"], told["failure"]["position"]) == (503, "failed", False, 3)
        call("skip", "sums", 3, "--reason", "bad luck")
        until(process, "sums: running")
        assert get(f"{address}/health")[0] == 200


def test_run_of_what_cannot_be() -> None:
    """One that cannot be run is told with the reason, others go on, and the code is 1 in the end, whatever ends it."""
    append(1)
    there = ("--projections", f"{HERE}:spoiled", "run")
    with program(*there, "--metrics", "127.0.0.1:0") as process:
        address = "http://" + until(process, "metrics and /health on (.*)")[1]
        for _ in range(2):
            until(process, "spoiled: failed: ValueError: no tables|sums: running")
        code, body = get(f"{address}/health")
        assert (code, [(told["state"], told["trouble"]) for told in json.loads(body)]) == (
            503,
            [("failed", "ValueError: no tables"), ("running", "")],
        )
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == ("projections: spoiled: ValueError: no tables\n", 1)
    told, line = call(*there, "spoiled", code=1).stderr.splitlines()
    assert (told, line) == ("spoiled: failed: ValueError: no tables", "projections: spoiled: ValueError: no tables")


def test_run_without_its_target() -> None:
    """A target that cannot be reached is told once, with the view's name and the reason, however often it is tried."""
    append(1)
    with program("--projections", f"{HERE}:gone", "run", "--metrics", "127.0.0.1:0") as process:
        address = "http://" + until(process, "metrics and /health on (.*)")[1]
        until(process, "sums: unavailable: ModelUnavailable: the model is not open.*")
        while not re.search(r'projection_retries_total\{projection="sums"\} [2-9]', get(f"{address}/metrics")[1]):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == ("", 0)


def test_port_is_taken() -> None:
    """A port that another one serves on is one line."""
    with program("run", "--metrics", "127.0.0.1:0") as process:
        address = until(process, "metrics and /health on (.*)")[1]
        assert "Address already in use" in call("run", "--metrics", address, code=1).stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_rebuild_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A rebuild that is stopped while it writes takes away what it has begun; the next one begins at once."""
    append(1)
    settle()
    with program("--projections", f"{HERE}:slow", "rebuild", "sums") as process:
        until(process, "rebuilding")
        process.send_signal(number)
        (tmp_path / "go").touch()
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == ("", code)
    with closing(sqlite3.connect(tmp_path / "view.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'sums_%'").fetchall() == []
        # The rebuild's record stays, so that its revisions never begin anew, but nobody holds it.
        records = dict(connection.execute("SELECT key, record FROM projection_records").fetchall())
        assert set(records) == {"sums", "sums~rebuild"}
        assert "holder" not in json.loads(records["sums~rebuild"])
    assert lines("rebuild", "sums")[0]["swapped"]
