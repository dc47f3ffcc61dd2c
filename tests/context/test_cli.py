"""The command ``context``, as people and programs call it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from context_service import cli, terminal
from context_service.app import CannotListen, serving, without_secrets
from context_service.stories import open_stories
from context_service.text import count_tokens
from context_service.v1 import context_pb2 as pb
from context_service.v1 import context_pb2_grpc
from eventstore.terminal import console
from grpc_health.v1 import health_pb2, health_pb2_grpc
from projections import cli as projections_cli
from typer.testing import CliRunner

from tests.context.conftest import PEPS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from context_service.stories import Stories
    from typer.testing import Result

    from tests.context.conftest import Imported

CONTEXT = (sys.executable, "-m", "context_service")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to be in, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CONTEXT_")] + ["COLUMNS", "PROJECTIONS"]:
        monkeypatch.delenv(name, raising=False)
    # Made when the module was imported, in whatever surroundings that was.
    monkeypatch.setattr(terminal, "out", console(soft_wrap=True))
    monkeypatch.setattr(terminal, "err", console(stderr=True, soft_wrap=True))


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def context(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, run within this process."""

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["context", *map(str, words)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        said = capsys.readouterr()
        return Said(exited.value.code or 0, said.out, said.err)

    return run


def shell(command: str, **env: str) -> Said:
    """Run a line of a shell in which ``context`` is the command."""
    program = f'context() {{ "{sys.executable}" -m context_service "$@"; }}; '
    done = subprocess.run(
        ["/bin/bash", "-c", program + command], env=os.environ | env, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


class TestReading:
    def test_ls(self, context: Any, imported: Imported) -> None:
        """`ls` lists the stories, one a line under a heading."""
        said = context("ls", "--store", imported.url)
        assert (said.code, said.err) == (0, "")
        assert len(said.out.splitlines()) == 30
        assert said.out.split()[:6] == ["story", "title", "phase", "decisions", "subtasks", "version"]
        assert re.search(r"^python-3\.12 +Python 3\.12 +DESIGN +\d+ +0 +158 *$", said.out, re.MULTILINE)

    def test_ls_json(self, context: Any, imported: Imported) -> None:
        """`ls --json` gives an object a line, whose numbers add up to the import's."""
        rows = context("ls", "--store", imported.url, "--json").rows()
        assert len(rows) == 29
        assert sum(row["decisions"] for row in rows) == 741
        assert sum(row["version"] for row in rows) == imported.report.events_written
        assert set(rows[0]) == {"story_id", "title", "phase", "decisions", "subtasks", "version"}

    def test_ls_of_a_story(self, context: Any, imported: Imported) -> None:
        """`ls STORY` lists what is in it; both forms say the same."""
        rows = context("ls", "python-3.12", "--store", imported.url, "--json").rows()
        assert {"kind": "decision", "id": "PEP-690", "status": "REJECTED", "title": "Lazy Imports"} in rows
        lines = context("ls", "python-3.12", "--store", imported.url).out.splitlines()
        assert [re.split(r"  +", line.rstrip()) for line in lines[1:]] == [list(row.values()) for row in rows]

    def test_show(self, context: Any, imported: Imported) -> None:
        """`show` prints the context on standard output; on the other, what the policy lets be seen, and the version."""
        said = context("show", "python-3.12", "--store", imported.url)
        assert said.out.startswith("# System\n\nYou work as architect on story python-3.12 in phase DESIGN.\n")
        scopes, empty, withheld, tokens, version = said.err.splitlines()
        granted = "CASE_HEADER, PLAN_HEADER, DECISIONS_GLOBAL, DEPS_DECISIONS, MILESTONES, SUMMARY_LAST"
        assert scopes == f"scopes: {granted}"
        assert empty == "empty: PLAN_HEADER, MILESTONES, SUMMARY_LAST"
        assert "SUBTASKS_ALL" in withheld
        assert re.fullmatch(r"tokens: \d+", tokens)
        assert re.fullmatch(r"version 158, position [0-9a-f]{32}:\d+", version)

    def test_show_within_a_budget(self, context: Any, imported: Imported) -> None:
        """`show --budget` cuts to so many tokens, and tells what was left out."""
        said = context("show", "python-3.12", "--budget", "500", "--store", imported.url)
        assert count_tokens(said.out) <= 501
        assert re.search(r"^DECISION PEP-\d+: left out, the token budget$", said.err, re.MULTILINE)
        assert re.search(r"^DECISION PEP-\d+: cut to short, the token budget$", said.err, re.MULTILINE)

    def test_show_by_another_policy(self, context: Any, imported: Imported, tmp_path: Path) -> None:
        """`show --policy` shows what that file grants; one that is wrong ends the command with what is wrong."""
        (tmp_path / "policy.yaml").write_text("phases: {DESIGN: {architect: [CASE_HEADER]}}")
        words = ["show", "python-3.12", "--store", imported.url, "--policy", "policy.yaml"]
        assert "PEP-" not in context(*words).out
        (tmp_path / "policy.yaml").write_text("phases: {DESIGN: {architect: [EVERYTHING]}}")
        said = context(*words)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("context: policy.yaml: phases.DESIGN.architect: expected one of CASE_HEADER, ")
        assert context(*words[:-1], "no.yaml").err.startswith("context: no.yaml: expected a policy in YAML: ")

    def test_show_json(self, context: Any, imported: Imported) -> None:
        """`show --json` holds the same text and all that a program wants to know of it."""
        [row] = context("show", "python-3.12", "--store", imported.url, "--json").rows()
        assert row["context"] + "\n" == context("show", "python-3.12", "--store", imported.url).out
        assert (row["story_id"], row["version"]) == ("python-3.12", 158)
        assert set(row) == {
            *("story_id", "version", "position", "hash", "token_count", "context"),
            *("scopes", "empty_scopes", "withheld_scopes", "omitted", "statements", "final"),
        }

    def test_show_why(self, context: Any, imported: Imported) -> None:
        """What is stated names the events behind it where that is asked for, and nothing does otherwise."""
        words = ("show", "python-3.5", "--store", imported.url)
        assert "DecisionAdded" not in context(*words).out
        said = context(*words, "--why").out
        assert re.search(
            r"^DECISION +PEP-484 +DECISIONS_GLOBAL +\d+ DecisionAdded, .*\d+ DecisionStatusChanged", said, re.MULTILINE
        )
        [row] = context(*words, "--why", "--json").rows()
        [stated] = [one for one in row["statements"] if one["entity_id"] == "PEP-484"]
        assert {event["event_type"] for event in stated["events"]} >= {"DecisionAdded", "DecisionStatusChanged"}
        assert not any(one["events"] for one in context(*words, "--json").rows()[0]["statements"])

    def test_show_for_whom(self, context: Any, imported: Imported) -> None:
        """Role and phase are understood in all their spellings."""
        said = context("show", "python-3.12", "--role", "DEV", "--phase", "docs", "--store", imported.url)
        assert "You work as developer on story python-3.12 in phase DOC." in said.out

    def test_show_at(self, context: Any, imported: Imported) -> None:
        """`show --at` tells what was known then, on the clock that was asked for."""
        words = ["show", "python-3.12", "--store", imported.url, "--at", "2023-06-01"]
        then = context(*words, "--clock", "occurred")
        assert "- PEP-703 [PROPOSED (Draft)]" in then.out
        assert "- PEP-703 [APPROVED (Accepted)]" in context(*words[:-1], "2024-01-01", "--clock", "occurred").out
        assert "- PEP-690 [REJECTED" in then.out
        before = context(*words)
        assert (before.code, before.err) == (
            1,
            "context: story_id: there is no story 'python-3.12' yet at that moment\n",
        )

    def test_log(self, context: Any, imported: Imported) -> None:
        """`log` tells who did what, when and why, an event after the other."""
        said = context("log", "python-3.12", "--store", imported.url)
        assert said.code == 0
        assert "by python/peps, because python/peps commit " in said.out
        rows = context("log", "python-3.12", "--store", imported.url, "--json").rows()
        assert [row["version"] for row in rows] == list(range(1, 159))
        assert rows[0]["event"] == "ContextCreated"
        assert rows[0]["what"]["title"] == "Python 3.12"
        assert rows[0]["why"] == f"python/peps commit {rows[0]['cause']}"
        assert rows[0]["occurred_at"] < "2023" < rows[0]["recorded_at"]

    def test_history(self, context: Any, imported: Imported) -> None:
        """`history` tells what each event made different, of all or some; `log` is its older name."""
        words = ["--store", imported.url, "--kind", "decision", "--id", "PEP-703", "--event", "DecisionStatusChanged"]
        said = context("history", "python-3.12", *words)
        assert re.sub(r"[0-9a-f]{12}", "<commit>", said.out) == (
            "  131 2023-10-28T23:23:10Z DecisionStatusChanged PEP-703\n"
            "      status: PROPOSED → APPROVED\n"
            "      status_text: Draft → Accepted\n"
            "      by python/peps, because python/peps commit <commit>\n"
            "  158 2026-06-15T17:28:27Z DecisionStatusChanged PEP-703\n"
            "      status: APPROVED → IMPLEMENTED\n"
            "      status_text: Accepted → Final\n"
            "      by python/peps, because python/peps commit <commit>\n"
        )
        assert context("log", "python-3.12", *words).out == said.out
        [row] = context("history", "python-3.12", *words, "--after", "131", "--json").rows()
        assert row["changes"][0] == {"field": "status", "before": "APPROVED", "after": "IMPLEMENTED"}
        assert (row["kind"], row["id"], row["who"]) == ("DECISION", "PEP-703", "python/peps")

    def test_history_of_many_pages(self, context: Any, imported: Imported) -> None:
        """`history` tells all of a story that is longer than a page."""
        rows = context("history", "process", "--store", imported.url, "--json").rows()
        assert [row["version"] for row in rows] == list(range(1, 1727))

    def test_diff(self, context: Any, imported: Imported) -> None:
        """`diff` tells what was added, changed or gone between two moments on a clock, or two versions."""
        words = ["diff", "python-3.12", "--store", imported.url]
        dates = ["--earlier", "2023-07-15", "--later", "2024-01-01", "--clock", "occurred"]
        said = context(*words, *dates)
        shown = "~ DECISION PEP-703\n      rationale: …tion (``--without-gil``) to… → …tion (``--disable-gil``)"
        assert shown in said.out
        assert "+ DECISION PEP-720\n      title: Cross-compiling Python packages\n" in said.out
        assert "- PEP-705 RELATES_TO PEP-483\n+ PEP-705 RELATES_TO PEP-591\n" in said.out
        assert said.out.endswith("1 added, 6 changed, 0 gone\nrelations: 5 added, 1 gone\n")
        versions = re.search(r"^version (\d+) to (\d+):", said.out, re.MULTILINE)
        assert versions
        assert context(*words, "--earlier", versions[1], "--later", versions[2]).out == said.out
        [row] = context(*words, *dates, "--json").rows()
        found = [(diff["change"], diff["id"]) for diff in row["entities"]]
        assert ("ADDED", "PEP-720") in found
        assert {"change": "GONE", "relation": ["PEP-705", "RELATES_TO", "PEP-483"]} in row["relations"]
        position = row["later"]["position"]
        assert context(*words, "--earlier", versions[1], "--later", position).out == said.out

    def test_why(self, context: Any, imported: Imported) -> None:
        """`why` tells the events of a decision, what caused them, what it rests on and what rests on it."""
        said = context("why", "python-3.12", "PEP-721", "--store", imported.url)
        heading = "PEP-721 [IMPLEMENTED] Using tarfile.data_filter for source distribution extraction\n"
        assert said.out.startswith(heading + "decided by Petr Viktorin, 2023-07-13T10:01:17Z\n")
        parts = ["What was recorded of it", "What caused it", "What it rests on", "What rests on it"]
        assert [line for line in said.out.splitlines() if line in parts] == parts
        assert (
            "What it rests on\n  PEP-706 [IMPLEMENTED] Filter for tarfile.extractall\n    PEP-721 DEPENDS_ON"
            in said.out
        )
        assert said.out.endswith("What rests on it\n  nothing\n")
        assert re.fullmatch(r"version 158, position [0-9a-f]{32}:\d+\n", said.err)
        [row] = context("why", "python-3.12", "PEP-706", "--store", imported.url, "--json").rows()
        [dependent] = row["dependents"]
        assert (dependent["decision"]["id"], dependent["relation"]) == ("PEP-721", ["PEP-721", "DEPENDS_ON", "PEP-706"])
        before = context("why", "python-3.12", "PEP-721", "--store", imported.url, "--at", "100")
        assert before.err == "context: decision_id: the story has no decision 'PEP-721'\n"

    def test_eighty_columns(self, context: Any, imported: Imported) -> None:
        """What each event or difference is told with keeps within 80 columns, but for ids, names and reasons."""
        for words in (["history", "process"], ["diff", "process", "--earlier", "1300"]):
            out = context(*words, "--store", imported.url).out
            assert "…" in out
            assert max(len(line) for line in out.splitlines()) < 80

    @pytest.mark.parametrize(
        "words",
        ["", "ls", "show", "history", "diff", "why", "log", "import", "import peps", "serve", "demo", "dead-letters"],
    )
    def test_help(self, context: Any, words: str) -> None:
        """Every command explains itself."""
        said = context(*words.split(), "--help")
        assert (said.code, said.err) == (0, "")
        assert f"context {words}".strip() in said.out

    def test_terminal_commands_in_texts(self, context: Any, tmp_path: Path) -> None:
        """What stands in a log cannot command the terminal, nor be taken for markup or emoji."""
        title = "\x1b[31m[bold]red[/bold] :smile: \x07"
        line = {"ts": 1, "commit": "c", "pep": 1, "kind": "created", "fields": {"Title": title, "Status": title}}
        (tmp_path / "one.jsonl").write_text(json.dumps(line), encoding="utf-8")
        assert context("import", "peps", "one.jsonl").code == 0
        for words in (
            ["ls", "process"],
            ["show", "process"],
            ["log", "process"],
            ["diff", "process"],
            ["why", "process", "PEP-1"],
        ):
            said = context(*words)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said.out)
            assert "[31m[bold]red[/bold] :smile:" in said.out


class TestWidth:
    def test_sixty_columns(self, context: Any, imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a narrow terminal tables and help keep within it, and lose nothing."""
        wide = context("ls", "python-3.12", "--store", imported.url).out
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(terminal, "out", console(soft_wrap=True))
        narrow = context("ls", "python-3.12", "--store", imported.url).out
        assert max(len(line) for line in wide.splitlines()) > 60
        assert sorted("".join(wide.split())) == sorted("".join(narrow.split()))
        for shown in (narrow, *(context(*words, "--help").out for words in ([], ["show"], ["serve"]))):
            assert max(len(line) for line in shown.splitlines()) <= 60

    def test_pipe(self, imported: Imported) -> None:
        """In a pipe a row is a line, however long it is, so that it can be searched."""
        said = shell(
            f"context ls python-3.12 --store {shlex_quote(imported.url)} | grep -c 'Using TypedDict .* typing'"
        )
        assert said.out == "1\n"


def shlex_quote(text: str) -> str:
    return "'" + text + "'"


class TestStreams:
    def test_a_reader_that_has_had_enough(self, imported: Imported) -> None:
        """A pipe whose reader is gone ends the command without a word."""
        command = f"context log python-3.12 --json --store {shlex_quote(imported.url)}"
        said = shell(f"{command} | true; echo ${{PIPESTATUS[0]}}")
        assert (said.out, said.err) == ("141\n", "")

    def test_a_full_disk(self, imported: Imported) -> None:
        """An output that cannot be written is one line and exit code 1."""
        said = shell(f"context ls --store {shlex_quote(imported.url)} > /dev/full")
        assert (said.code, said.err) == (1, "context: cannot write: No space left on device\n")

    def test_a_closed_output(self, imported: Imported) -> None:
        """With a closed standard output the command does its work all the same."""
        said = shell(f"context show python-3.12 --json --store {shlex_quote(imported.url)} >&-")
        assert (said.code, said.out, said.err) == (0, "", "")


URL = "expected SCHEME://USER:PASSWORD@HOST:PORT, .*"
#: Options of the read models, the field that is told, and what is told of it.
MISTAKEN = (
    ("--cache valkey://h:abc", "cache", URL),
    ("--cache valkey://h:99999", "cache", URL),
    ("--cache valkey://[::1", "cache", URL),
    ("--cache valkeys://h?ssl_cert_reqs=x", "cache", "expected valkey://HOST:6379/0 .*"),
    ("--cache valkey://h?protocol=9", "cache", "expected valkey://HOST:6379/0 .*"),
    ("--cache redis://h", "cache", "expected valkey://, memory:// or none; got redis://"),
    ("--graph neo4j://h:abc", "graph", URL),
    ("--graph neo4j://h:99999", "graph", URL),
    ("--graph bolt://[::1", "graph", URL),
    ("--graph neo4j:h", "graph", "expected neo4j://USER:PASSWORD@HOST:7687 .*"),
    ("--graph postgres://h", "graph", "expected neo4j://, .*; got postgres://"),
    ("--snapshots valkey://h:abc", "snapshots", URL),
    ("--snapshots neo4j://[::1", "snapshots", URL),
    ("--snapshots postgres://h", "snapshots", "expected neo4j://, .*; got postgres://"),
    ("--store nats://h:abc/x", "url", "expected nats://.*"),
    ("--store nats://[::1/x", "url", "expected a URL, got .*"),
    ("--metrics x", "address", "cannot serve on 'x': expected HOST:PORT"),
    ("--metrics h:99999", "address", "cannot serve on 'h:99999': expected HOST:PORT"),
    ("--metrics [::1", "address", "cannot serve on .*"),
    ("--metrics ..:80", "address", "cannot serve on .*"),
    ("--metrics 192.0.2.1:80", "address", "cannot serve on 192.0.2.1:80: .*"),
)


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("ls --store nowhere://x", "context: url: expected one of .*; got 'nowhere://'"),
            ("ls --store context.db", "context: url: expected one of .*; got 'context.db'"),
            ("ls", "context: .*context.db: no such file"),
            ("ls --store sqlite:///gone/x.db", "context: .*gone/x.db: its folder does not exist"),
            ("ls --store sqlite:///[red]/:x:.db", r"context: .*\[red\]/:x:.db: its folder does not exist"),
            ("ls --store sqlite:///text", "context: .*text: not an SQLite database, or a damaged one"),
            ("ls --store sqlite:///other.db", "context: .*other.db: a database, but not of this kind"),
            ("ls --store sqlite:///", "context: .*"),
            ("serve --store sqlite:///text --listen 127.0.0.1:0", "context: .*text: not an SQLite .*"),
            ("import peps peps.jsonl --store sqlite:///text", "context: .*text: not an SQLite .*"),
            ("ls nosuch {store}", "context: story_id: there is no story 'nosuch'"),
            ("show nosuch {store}", "context: story_id: there is no story 'nosuch'"),
            ("log nosuch {store}", "context: story_id: there is no story 'nosuch'"),
            ("why python-3.12 X {store}", "context: decision_id: the story has no decision 'X'"),
            ("diff nosuch {store}", "context: story_id: there is no story 'nosuch'"),
            ("diff python-3.12 --later 159 {store}", "context: later.version: the story is at version 158"),
            ("diff python-3.12 --later 99999999999 {store}", "context: later.version: the story is at version 158"),
            ("diff python-3.12 --later soon {store}", "context: later.timestamp: expected ISO 8601, .*; got 'soon'"),
            ("history python-3.12 --kind x {store}", "context: entity_type: expected one of CASE, .*; got 'x'"),
            ("history python-3.12 --event x {store}", "context: event_types: expected names such as .*; got 'x'"),
            ("log python-3.1x {store}", "context: story_id: there is no story 'python-3.1x'"),
            ("show '' {store}", "context: story_id: expected a text that is not empty"),
            (
                "show python-3.12 --at yesterday {store}",
                "context: timestamp: expected ISO 8601, for example .*; got 'yesterday'",
            ),
            ("show python-3.12 --at '' {store}", "context: timestamp: expected ISO 8601, for example .*; got ''"),
            (
                "show python-3.12 --at 2020-01-01 --clock wall {store}",
                "context: clock: expected one of recorded, occurred; got 'wall'",
            ),
            ("show python-3.12 --clock wall {store}", "context: clock: expected one of recorded, occurred; got 'wall'"),
            ("show python-3.12 --role ceo {store}", "context: role: expected one of architect, .*; got 'ceo'"),
            ("show python-3.12 --phase x {store}", "context: phase: expected one of DESIGN, .*; got 'x'"),
            ("show python-3.12 --subtask x {store}", "context: subtask_id: the story has no subtask 'x'"),
            ("serve --log-level loud", "context: log-level: expected DEBUG, .*; got 'loud'"),
            ("serve --listen nonsense", "context: cannot listen on 'nonsense': expected HOST:PORT"),
            ("serve --listen 127.0.0.1", "context: cannot listen on '127.0.0.1': expected HOST:PORT"),
            ("serve --listen 127.0.0.1:1x", "context: cannot listen on '127.0.0.1:1x': expected HOST:PORT"),
            ("serve --listen 127.0.0.1:65536", "context: cannot listen on '127.0.0.1:65536': expected HOST:PORT"),
            ("serve --listen [::1:0", r"context: cannot listen on '\[::1:0': expected HOST:PORT"),
            ("serve --listen ::1:0", "context: cannot listen on '::1:0': expected HOST:PORT"),
            ("serve --listen 256.0.0.1:0", "context: cannot listen on 256.0.0.1:0: .*"),
            ("serve --listen 192.0.2.1:0", "context: cannot listen on 192.0.2.1:0: Cannot assign requested address.*"),
            *((f"project {option}", f"context: {field}: {told}") for option, field, told in MISTAKEN),
            ("import peps gone.jsonl", "context: gone.jsonl: No such file or directory"),
            ("import peps .", r"context: \.: Is a directory"),
            ("import peps text", "context: text, line 1: .*"),
        ],
    )
    def test_one_line(self, context: Any, imported: Imported, tmp_path: Path, words: str, said: str) -> None:
        """What a person can mend is told in one line on standard error, with exit code 1."""
        (tmp_path / "text").write_text("no database\n" * 200, encoding="utf-8")
        with closing(sqlite3.connect(tmp_path / "other.db")) as other:
            other.execute("CREATE TABLE t(x)")
        found = context(*[w.strip("'") for w in words.replace("{store}", f"--store {imported.url}").split()])
        assert (found.code, found.out) == (1, "")
        assert re.fullmatch(f"{said}\n", found.err)

    @pytest.mark.parametrize(
        "words", ["shw", "show", "show a b", "ls --colour", "import", "import pops x", "serve --listen"]
    )
    def test_usage(self, context: Any, words: str) -> None:
        """A call that is none is exit code 2."""
        found = context(*words.split())
        assert found.code == 2
        assert "Traceback" not in found.err

    def test_no_command(self, context: Any) -> None:
        """Without a word the command shows its help."""
        found = context()
        assert found.code == 2
        assert "Commands" in found.out + found.err

    def test_reading_makes_no_store(self, context: Any, tmp_path: Path) -> None:
        """A command that reads never makes a file."""
        for words in (["ls"], ["ls", "x"], ["show", "x"], ["log", "x"], ["diff", "x"], ["why", "x", "y"]):
            assert context(*words).code == 1
        assert list(tmp_path.iterdir()) == []


class TestImport:
    def test_counts(self, imported: Imported, context: Any, tmp_path: Path) -> None:
        """A repeated import says in both forms that everything was there already."""
        shutil.copy(imported.path, tmp_path / "context.db")
        [row] = context("import", "peps", PEPS, "--json").rows()
        assert (row["changes"], row["decisions"], row["stories"]) == (3_406, 741, 29)
        assert (row["written"], row["already_there"]) == (0, 3_406)
        assert (row["head"], row["digest"]) == (imported.report.head, imported.report.digest)
        said = context("import", "peps", PEPS)
        assert said.out.startswith("741 decisions of 29 stories from 3406 changes: 0 written, 3406 there already, in ")
        assert re.search(r"^ +212 decisions without a version$", said.out, re.MULTILINE)
        assert said.err == ""

    def test_ctrl_c(self, context: Any, tmp_path: Path) -> None:
        """Ctrl-C stops an import at once, without a traceback; the next one goes on from there."""
        path, store = tmp_path / "most.jsonl", tmp_path / "context.db"
        path.write_text("\n".join(PEPS.read_text(encoding="utf-8").splitlines()[:2_000]), encoding="utf-8")
        words = ["import", "peps", str(path), "--store", "sqlite:///context.db?durability=normal"]
        with started(*words) as importing:
            wait_until(lambda: head(store) >= 50, importing)
            importing.send_signal(signal.SIGINT)
            out, err = importing.communicate()
        assert (importing.returncode, out, err) == (130, "", "")
        stopped = head(store)
        assert 50 <= stopped < 2_000
        assert context(*words, "--json").rows()[0]["already_there"] == stopped
        assert head(store) == 2_000


def head(store: Path) -> int:
    """Return how far a log in a file has come; 0 while it is not there."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        (found,) = connection.execute("SELECT coalesce(max(pos), 0) FROM commits").fetchone()
        return int(found)
    return 0


def wait_until(true: Any, process: subprocess.Popen[str]) -> None:
    """Wait for a condition that a process brings about."""
    deadline = time.monotonic() + 15
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def started(*words: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in the background; whatever happens, it is gone afterwards."""
    # A shell that runs the tests in its background makes its children ignore Ctrl-C, unless somebody handles it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*CONTEXT, *words], env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def address_of(serving: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Return where a starting service listens, and what it printed before."""
    assert serving.stdout is not None
    lines: list[str] = []
    for line in serving.stdout:
        if line.startswith("serving on "):
            return line.split()[2], lines
        lines.append(line.rstrip("\n"))
    raise AssertionError(serving.communicate())


def line_of(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read what a process prints until a line matches."""
    assert process.stdout
    for line in process.stdout:
        if found := re.fullmatch(pattern, line.rstrip("\n")):
            return found
    raise AssertionError(process.communicate())


def get(address: str) -> tuple[int, str]:
    """Return the code and the body that HTTP gives."""
    try:
        with urlopen(address) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class TestServe:
    @pytest.mark.parametrize("text", [None, "phases: {DOC: {qa: [EVERYTHING]}}"])
    def test_no_start_without_a_policy(self, context: Any, tmp_path: Path, text: str | None) -> None:
        """A policy file that is missing or wrong ends `serve` before it serves anything."""
        if text is not None:
            (tmp_path / "policy.yaml").write_text(text)
        said = context("serve", "--policy", "policy.yaml", "--listen", "127.0.0.1:0")
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("context: policy.yaml: ")
        assert not (tmp_path / "context.db").exists()

    def test_settings(self, tmp_path: Path) -> None:
        """The service prints its settings at the start: its flags and, where it has none, the environment's."""
        store = f"sqlite:///{tmp_path}/from-env.db?durability=normal"
        env = {
            "CONTEXT_STORE": store,
            "CONTEXT_LISTEN": "nonsense",
            "CONTEXT_LOG_LEVEL": "warning",
            "CONTEXT_GRAPH": "none",
            "CONTEXT_SNAPSHOTS": "valkey://ann:secret@127.0.0.1:1/0",
            "CONTEXT_SNAPSHOT_EVERY": "250",
        }
        with started("serve", "--listen", "127.0.0.1:0", **env) as serving:
            address, lines = address_of(serving)
            serving.send_signal(signal.SIGTERM)
            serving.communicate()
        settings = dict(line.split(": ", 1) for line in lines)
        assert settings.pop("durability").startswith("normal: ")
        assert re.fullmatch("[0-9a-f]{32}", settings.pop("log"))
        assert settings == {
            "store": store,
            "graph": "none",
            "cache": "default",
            "snapshots": "valkey://***@127.0.0.1:1/0",
            "snapshot-every": "250",
            "policy": "default",
            "nats": "none",
            "listen": "127.0.0.1:0",
            "log-level": "WARNING",
        }
        assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", address)
        assert serving.returncode == 0
        assert (tmp_path / "from-env.db").exists()

    @pytest.mark.parametrize("number", [99, 1_001])
    def test_snapshots_too_far_apart(self, context: Any, number: int) -> None:
        """An interval between snapshots that does not make sense is refused by the setting's name."""
        said = context("serve", "--snapshot-every", number)
        assert said.code == 2
        told = " ".join(said.err.replace("│", "").split())
        assert "Invalid value for '--snapshot-every'" in told
        assert re.search("(greater|less) than or equal to (100|1000)", told)

    def test_metrics(self) -> None:
        """With --metrics there are metrics and health of the read models, also of one that cannot be kept."""
        with closing(sqlite3.connect("other.db")) as other:
            other.execute("CREATE TABLE graph_edges(x)")
        views = ("--graph", "sqlite:///other.db", "--cache", "memory://")
        with started("serve", "--listen", "127.0.0.1:0", *views, CONTEXT_METRICS="127.0.0.1:0") as process:
            address = "http://" + line_of(process, "metrics and /health on (.*)")[1]
            assert process.stderr
            told = "".join(process.stderr.readline() for _ in range(2))
            code, body = get(f"{address}/health")
            trouble = "OperationalError: no such column: source"
            assert (code, [(view["projection"], view["state"], view["trouble"]) for view in json.loads(body)]) == (
                503,
                [("graph", "failed", trouble), ("planning-cache", "running", "")],
            )
            assert 'projection_state{projection="graph",state="failed"} 1.0' in get(f"{address}/metrics")[1]
            assert f" ERROR context_service read model graph: failed: {trouble}\n" in told
            assert " INFO context_service read model planning-cache: running\n" in told
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate()
        assert (process.returncode, err) == (0, "")

    def test_a_server_that_is_down(self) -> None:
        """Of a server that is down the log has a line for each read model, with the reason, and none for a retry.

        A process that only keeps read models has metrics too, and stops cleanly.
        """
        views = ("--graph", "neo4j://127.0.0.1:1", "--cache", "valkey://127.0.0.1:1", "--metrics", "127.0.0.1:0")
        with started("project", *views) as projecting:
            address = "http://" + line_of(projecting, "metrics and /health on (.*)")[1]
            line_of(projecting, "projecting graph, planning-cache")

            def tried(name: str) -> bool:
                pattern = rf'^projection_retries_total{{projection="{name}"}} ([2-9]|\d\d+)'
                return re.search(pattern, get(f"{address}/metrics")[1], re.MULTILINE) is not None

            wait_until(lambda: tried("graph") and tried("planning-cache"), projecting)
            projecting.send_signal(signal.SIGTERM)
            out, err = projecting.communicate()
        assert (projecting.returncode, out) == (0, "stopping\n")
        graph, cache = sorted(line.partition(" WARNING context_service read model ")[2] for line in err.splitlines())
        assert graph == "graph: unavailable: ModelUnavailable: Neo4j does not answer: ServiceUnavailable"
        assert cache == "planning-cache: unavailable: ModelUnavailable: Valkey cannot be reached: ConnectionError"

    def test_decided_by_the_command_projections(self, context: Any, tmp_path: Path) -> None:
        """The command `projections` shows, by the service's settings, what has failed, and lets it be decided."""
        line = {"ts": 1, "commit": "c", "pep": 1, "kind": "created", "fields": {"Title": "t", "Status": "Draft"}}
        (tmp_path / "one.jsonl").write_text(json.dumps(line), encoding="utf-8")
        assert context("import", "peps", "one.jsonl").code == 0
        with closing(sqlite3.connect("other.db")) as other:
            other.execute("CREATE TABLE graph_nodes(x)")
        env = {"CONTEXT_GRAPH": "sqlite:///other.db", "PROJECTIONS": "context_service.views:deployed"}

        def projections(*words: str) -> Result:
            return CliRunner().invoke(projections_cli.app, words, env=env)

        with started("project", **env) as projecting:
            assert projecting.stderr
            assert "read model graph: failed: position 1, " in projecting.stderr.readline()
            said = projections("status", "--json")
            row = json.loads(said.stdout)
            assert (said.exit_code, row["name"], row["state"], row["failure"]["position"]) == (1, "graph", "failed", 1)
            said = projections("dead-letter", "graph", "1", "--reason", "ticket 7")
            assert said.output == "graph: to put aside position 1\n"
            assert "read model graph: running" in projecting.stderr.readline()
            assert "put aside: ticket 7" in projections("dead-letters", "graph").output
            assert projections("pause", "graph").output == "graph: paused after position 1\n"
            assert "read model graph: paused" in projecting.stderr.readline()
            projecting.send_signal(signal.SIGTERM)
            projecting.communicate()

    def test_ctrl_c_stops_cleanly(self, tmp_path: Path) -> None:
        """Ctrl-C stops the service with exit code 0, after the call that was under way has got its answer."""
        with started("serve", "--listen", "127.0.0.1:0", "--log-level", "warning") as serving:
            address, _ = address_of(serving)
            assert serving.stdout is not None
            with grpc.insecure_channel(address) as channel, closing(sqlite3.connect(tmp_path / "context.db")) as rival:
                stub: Any = context_pb2_grpc.ContextServiceStub(channel)
                change = pb.ContextChange(operation="CREATE", entity_type="CASE", payload='{"title": "t"}')
                # The write waits for the file as long as somebody else writes.
                rival.execute("BEGIN IMMEDIATE")
                call = stub.UpdateContext.future(pb.UpdateContextRequest(story_id="S-1", changes=[change]))
                # An answer to a later call on the same connection says that the earlier one has arrived.
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
                serving.send_signal(signal.SIGINT)
                assert serving.stdout.readline() == "stopping\n"
                assert not call.done()
                rival.rollback()
                assert call.result().version == 1
            out, err = serving.communicate()
        assert (serving.returncode, out, err) == (0, "", "")
        assert head(tmp_path / "context.db") == 1

    async def test_stops_under_load(self, tmp_path: Path) -> None:
        """A signal amid many calls loses none that was accepted: what was stored was answered, and nothing else."""
        with started("serve", "--listen", "127.0.0.1:0", "--log-level", "warning") as serving:
            address, _ = address_of(serving)
            async with grpc.aio.insecure_channel(address) as channel:
                stub: Any = context_pb2_grpc.ContextServiceStub(channel)
                stored: list[str] = []
                enough = asyncio.Event()

                async def write(writer: int) -> grpc.StatusCode:
                    for number in itertools.count():
                        id = f"S-{writer}-{number}"
                        try:
                            await stub.CreateStory(pb.CreateStoryRequest(story_id=id))
                        except grpc.aio.AioRpcError as error:
                            return error.code()
                        stored.append(id)
                        if len(stored) > 200:
                            enough.set()
                    raise AssertionError("the count does not end")

                writers = asyncio.gather(*(write(writer) for writer in range(16)))
                await enough.wait()
                serving.send_signal(signal.SIGTERM)
                assert set(await writers) == {grpc.StatusCode.UNAVAILABLE}
            out, err = serving.communicate()
        assert (serving.returncode, out, err) == (0, "stopping\n", "")
        async with open_stories(f"sqlite:///{tmp_path}/context.db") as stories:
            assert sorted(stored) == [info.stream.id async for info in stories.store.streams()]

    def test_port_in_use(self, context: Any) -> None:
        """A port that somebody listens on is not shared."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            said = context("serve", "--listen", address)
        assert (said.code, said.out) == (1, "")
        assert re.fullmatch(rf"context: cannot listen on {address}: Address already in use.*\n", said.err)

    async def test_two_services(self, stories: Stories) -> None:
        """Two services do not share a port, so that no caller is answered by the wrong one."""
        async with serving(stories, "127.0.0.1:0") as address:
            with pytest.raises(CannotListen, match=f"cannot listen on {address}: Address already in use"):
                await serving(stories, address).__aenter__()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///context.db", "sqlite:///context.db"),
        ("sqlite:////a/b@c/x.db?durability=full", "sqlite:////a/b@c/x.db?durability=full"),
        ("memory://", "memory://"),
        ("nats://host:4222/stream", "nats://host:4222/stream"),
        ("nats://ann@host", "nats://***@host"),
        ("nats://ann:pa:ss@host:4222/s", "nats://***@host:4222/s"),
        ("nats://ann:p@ss@host", "nats://***@host"),
        ("nats://host?password=x&replicas=3", "nats://host?password=***&replicas=3"),
        ("nats://host?replicas=3&PASSWORD=x", "nats://host?replicas=3&PASSWORD=***"),
        ("nats://host?token=x", "nats://host?token=***"),
        ("nats://host?nkey_seed=x", "nats://host?nkey_seed=***"),
        ("nats://host?credentials=/a/b", "nats://host?credentials=***"),
        ("nats://host?api_key=a=b", "nats://host?api_key=***"),
        ("nats://host?auth=x&client_secret=y", "nats://host?auth=***&client_secret=***"),
        ("nats://host?passphrase=", "nats://host?passphrase=***"),
    ],
)
def test_without_secrets(url: str, shown: str) -> None:
    """A URL is shown without its user, password and secret options, and else as it is."""
    assert without_secrets(url) == shown


class TestDemo:
    @pytest.mark.timeout(60)
    def test_once(self, context: Any, tmp_path: Path) -> None:
        """The demo ends with three questions, each with two answers that differ, and commands that give them too."""
        said = shell(f"context demo --once --store sqlite:///{tmp_path}/demo.db")
        assert (said.code, said.err) == (0, "")
        summary, *questions = said.out.strip().split("\n\n")
        assert summary.startswith("741 decisions of 29 stories from 3406 changes in ")
        assert summary.endswith("DecisionAddedEvent: 263 in schema 1, 478 in schema 2; all read as today's")
        assert len(questions) == 3
        for question in questions:
            asked, *rest = question.splitlines()
            assert asked.endswith("?")
            (then, before), (later, after) = (rest[0:2], rest[2:4])
            assert before != after
            assert then.split()[0] < later.split()[0]
            for line, command in zip((before, after), rest[4:], strict=True):
                program, *words = command.split()[1:]
                assert program
                assert line.strip() in context(*words).out.splitlines()

    @pytest.mark.timeout(60)
    def test_goes_on(self, imported: Imported, tmp_path: Path) -> None:
        """Without --once the demo goes on serving until Ctrl-C, which ends it cleanly."""
        shutil.copy(imported.path, tmp_path / "demo.db")
        with started("demo", "--store", "sqlite:///demo.db", "--listen", "127.0.0.1:0") as demo:
            address, _ = address_of(demo)
            with grpc.insecure_channel(address) as channel:
                stub: Any = context_pb2_grpc.ContextServiceStub(channel)
                answer = stub.GetContext(pb.GetContextRequest(story_id="python-3.12", role="architect"))
            assert answer.version == "158"
            demo.send_signal(signal.SIGINT)
            _, err = demo.communicate()
        assert (demo.returncode, err) == (0, "")
