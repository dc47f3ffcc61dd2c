"""The command ``eventstore``: what people see, what programs read, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import ANY, Codec, Metadata, NewCommit, StreamId, Version, digest_of, open_store
from eventstore._show import MAX_FIELDS, wire_fields
from eventstore.cli import app
from eventstore.segments import export_log
from eventstore.terminal import printable
from eventstore.v1 import envelope_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.terminals import STYLE, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

codec = Codec(StringValue, BytesValue, AnyMessage)
"""For ``--codec test_cli:codec``. A Struct it does not know."""

EVIL = "milk\x1b[31m\u202eevil\u2066\x9b\x07\n\x7f"
BIG_ID = "long/" + "0123456789" * 20
MOMENT = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four commits in three streams."""
    path = tmp_path_factory.mktemp("cli") / "log.db"
    struct_ = Struct()
    struct_.update({"name": "Ann"})

    async def make() -> None:
        async with open_store(f"sqlite:///{path}", Codec(StringValue, BytesValue, AnyMessage, Struct)) as store:
            who = Metadata(actor=EVIL, correlation_id="request-1")
            evil = [StringValue(value=EVIL), StringValue(value="two")]
            await store.append(StreamId("order", "42"), evil, expected=0, metadata=who, occurred_at=MOMENT)
            await store.append(StreamId("order", "42"), [struct_], expected=2)
            await store.append(StreamId("item", BIG_ID), [BytesValue(value=bytes(range(256)))], expected=0)
            await store.append(StreamId("order", "a\u202eb"), [AnyMessage(type_url="x.y/Z", value=b"z")], expected=0)

    asyncio.run(make())
    return path


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVENTSTORE_URL", "COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setitem(sys.modules, "test_cli", sys.modules[__name__])


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def lines(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


# For people


def test_info(url: str, path: Path) -> None:
    """Info tells where the log is, how far it goes and what it holds."""
    out = run("info", url).stdout
    for fact in (r"backend +sqlite", rf"path +{path}", r"head +4", r"streams +3", r"events +5"):
        assert re.search(fact, out)
    assert re.search(r"order +2 +4\n", out)


def test_ls(url: str) -> None:
    """A list of streams has a line for each, with ids whole in a pipe and nothing to deceive the eye."""
    out = run("ls", url).stdout
    assert len(out.splitlines()) == 2 + 3
    assert f" {BIG_ID}" in out
    assert "a\\u202eb" in out
    assert "item" not in run("ls", url, "--category", "order").stdout


def test_ls_of_many_pages(tmp_path: Path) -> None:
    """A list longer than a page has one heading and the same columns throughout."""

    async def make() -> None:
        async with open_store(f"sqlite:///{tmp_path}/log.db", codec) as store:
            streams = [StreamId("item", f"{number:05}") for number in range(1_200)]
            await asyncio.gather(*(store.append(stream, [StringValue()], expected=0) for stream in streams))

    asyncio.run(make())
    heading, _, *rows = run("ls", f"sqlite:///{tmp_path}/log.db").stdout.splitlines()
    assert len(rows) == 1_200
    assert {row.index("0", heading.index("ID")) for row in rows} == {heading.index("ID")}


def test_cat_raw(url: str) -> None:
    """Without classes an event is shown as the fields of its bytes, nested where they nest."""
    out = run("cat", url, "order", "42").stdout
    assert "1  google.protobuf.StringValue  schema 1, " in out
    assert "occurred 2001-02-03 04:05:06" in out
    assert '1: len "two"' in out
    assert '3: len "Ann"' in out
    assert "correlation request-1" in out


def test_cat_decoded(url: str) -> None:
    """With a codec an event is shown as JSON, and one it does not know as fields with the reason."""
    out = run("cat", url, "order", "42", "--codec", "test_cli:codec").stdout
    assert '"two"' in out
    assert "cannot decode: type and schema are not registered" in out
    assert '3: len "Ann"' in out


def test_cat_with_a_generated_module(url: str) -> None:
    """The module that protoc made does for a codec."""
    out = run("cat", url, "order", "42", "--codec", "google.protobuf.struct_pb2").stdout
    assert '"name": "Ann"' in out


def test_tail(url: str) -> None:
    """The end of the log names the stream of each commit."""
    out = run("tail", url, "--after", "2").stdout
    assert out.startswith(f"item {BIG_ID}  position 3  ")
    assert "order a\\u202eb  position 4" in out
    assert "position 2" not in out


@pytest.mark.parametrize(
    "extra", [[], ["--codec", "test_cli:codec"], ["--json"], ["--json", "--codec", "test_cli:codec"]]
)
@pytest.mark.parametrize("command", [["ls"], ["cat", "order", "42"], ["tail"]])
def test_nothing_stored_commands_the_terminal(url: str, command: list[str], extra: list[str]) -> None:
    """No control, format or direction character of stored text is written, in no format."""
    if command == ["ls"] and "--codec" in extra:
        extra = ["--category", "order"]
    out = run(command[0], url, *command[1:], *extra).stdout
    assert {char for char in out if unicodedata.category(char) in ("Cc", "Cf")} <= {"\n"}


# For programs


def test_info_json(url: str, path: Path) -> None:
    """The keys are those of the help text; what costs a pass over the log is null until it is asked for."""
    [told] = lines("info", url)
    log_id = told["log_id"]
    assert told == {
        "log_id": log_id,
        "head": 4,
        "token": f"{log_id}:4",
        "streams": 3,
        "events": 5,
        "categories": [
            {"category": "item", "streams": 1, "events": 1},
            {"category": "order", "streams": 2, "events": 4},
        ],
        "first_recorded_at": told["first_recorded_at"],
        "last_recorded_at": told["last_recorded_at"],
        "backend": {"backend": "sqlite", "path": str(path), "durability": told["backend"]["durability"]},
        "commits": None,
        "digest": None,
    }
    assert told["first_recorded_at"] <= told["last_recorded_at"]
    [told] = lines("info", url, "--digest")
    assert (told["commits"], len(told["digest"])) == (4, 64)


def test_ls_json(url: str) -> None:
    """One object a stream."""
    found = lines("ls", url)
    assert [(each["category"], each["id"]) for each in found] == [
        ("item", BIG_ID),
        ("order", "42"),
        ("order", "a\u202eb"),
    ]
    assert found[1].keys() == {"category", "id", "version", "position", "recorded_at"}
    assert (found[1]["version"], found[1]["position"]) == (3, 2)


def test_cat_json(url: str) -> None:
    """One object an event, with its bytes and what can be read of them without classes."""
    first, second, third = lines("cat", url, "order", "42")
    assert first["fields"] == [{"number": 1, "wire": "len", "base64": base64.b64encode(EVIL.encode()).decode()}]
    assert second == {
        "category": "order",
        "id": "42",
        "version": 2,
        "index": 0,
        "position": 1,
        "commit_id": second["commit_id"],
        "recorded_at": second["recorded_at"],
        "occurred_at": "2001-02-03T04:05:06.000000Z",
        "metadata": {"actor": EVIL, "correlation_id": "request-1"},
        "type": "google.protobuf.StringValue",
        "schema": 1,
        "size": 5,
        "payload": base64.b64encode(b"\n\x03two").decode(),
        "fields": [{"number": 1, "wire": "len", "text": "two"}],
        "fields_end": 5,
    }
    assert third["occurred_at"] == third["recorded_at"]


def test_cat_json_decoded(url: str) -> None:
    """With a codec each object says the message, or why there is none."""
    _, second, third = lines("cat", url, "order", "42", "--codec", "test_cli:codec")
    assert (second["message"], second["error"]) == ("two", None)
    assert (third["message"], third["error"]) == (None, "type and schema are not registered with the codec")
    [unknown] = lines("cat", url, "order", "a\u202eb", "--codec", "test_cli:codec")
    assert "@not_json" in unknown["message"]


def test_cat_bounds(url: str) -> None:
    """A part of a stream is a part on both sides, by version or by time on either clock."""

    def versions(*arguments: str) -> list[int]:
        return [event["version"] for event in lines("cat", url, "order", "42", *arguments)]

    assert versions("--after", "1") == [2, 3]
    assert versions("--until-version", "2") == [1, 2]
    assert versions("--at", "2001-02-03") == []
    assert versions("--at", "2001-02-03", "--clock", "occurred") == []
    assert versions("--at", "2001-02-03T04:05:06", "--clock", "occurred") == [1, 2]
    assert versions("--at", "2001-02-03T05:05:06+01:00", "--clock", "occurred") == [1, 2]
    assert versions("--at", "9000-01-01") == [1, 2, 3]


def test_tail_json(url: str) -> None:
    """The end of the log, all of it when that is asked for, and of some categories."""
    assert [event["position"] for event in lines("tail", url)] == [1, 1, 2, 3, 4]
    assert [event["position"] for event in lines("tail", url, "--after", "2")] == [3, 4]
    assert [event["position"] for event in lines("tail", url, "--category", "item")] == [3]
    assert len(lines("tail", url, "--category", "item", "--category", "order", "--after", "0")) == 5
    [told] = lines("info", url)
    assert [event["position"] for event in lines("tail", url, "--after", told["token"].replace(":4", ":3"))] == [4]
    assert "log" in run("tail", url, "--after", "other:3", code=1).stderr


def test_tail_is_the_end(tmp_path: Path) -> None:
    """Without a position the last ten are shown."""

    async def make() -> None:
        async with open_store(f"sqlite:///{tmp_path}/log.db", codec) as store:
            for _ in range(15):
                await store.append(StreamId("item", "1"), [StringValue()], expected=ANY)

    asyncio.run(make())
    assert [event["position"] for event in lines("tail", f"sqlite:///{tmp_path}/log.db")] == [*range(6, 16)]


def test_export_and_import(url: str, tmp_path: Path) -> None:
    """A log goes through a file into another store; both say what they did."""
    target = f"sqlite:///{tmp_path}/copy.db"
    file = tmp_path / "log.segment"
    [exported] = lines("export", url, file)
    [imported] = lines("import", target, file)
    keys = "file bytes log_id commits events already position digest seconds commits_per_second"
    assert list(exported) == list(imported) == keys.split()
    for told in (exported, imported):
        assert (told["file"], told["bytes"]) == (str(file), file.stat().st_size)
        assert (told["commits"], told["events"], told["already"], told["position"]) == (4, 5, 0, 4)
    assert exported["digest"] == imported["digest"] == lines("info", target, "--digest")[0]["digest"]
    assert exported["log_id"] != imported["log_id"]
    assert lines("import", target, file)[0]["already"] == 4
    assert "exported  4 commits with 5 events, in" in run("export", url, file, "--force").stdout
    assert "imported  4 commits with 5 events, 4 of them before, in" in run("import", target, file).stdout


def test_no_progress_in_a_pipe(url: str, tmp_path: Path) -> None:
    """A bar is for terminals."""
    assert not run("export", url, tmp_path / "log.segment").stderr


# Without a schema


@given(st.binary(max_size=200))
def test_wire_fields_of_garbage(payload: bytes) -> None:
    """Any bytes are read as fields as far as they go, never further, and never fail."""
    fields = wire_fields(payload)
    assert 0 <= fields.end <= len(payload)
    assert all(field.number > 0 for field in fields.found)


@given(st.binary(max_size=60))
def test_wire_fields_agree_with_protobuf(payload: bytes) -> None:
    """What protobuf parses, we read to the end."""
    try:
        StringValue.FromString(payload)
    except DecodeError:
        return
    assert wire_fields(payload).end == len(payload)


def test_wire_fields_of_each_type() -> None:
    """All six wire types of protobuf."""
    payload = bytes.fromhex("0896 01 11 0200000000000000 1a 02 6869 23 24 2d 03000000")
    fields = wire_fields(payload)
    assert [tuple(field) for field in fields.found] == [
        (1, 0, 150),
        (2, 1, 2),
        (3, 2, b"hi"),
        (4, 3, 0),
        (4, 4, 0),
        (5, 5, 3),
    ]
    assert fields.end == len(payload)


def test_wire_fields_are_bounded() -> None:
    """A payload of nothing but tiny fields does not fill the screen."""
    fields = wire_fields(b"\x08\x01" * 500_000)
    assert (len(fields.found), fields.end) == (MAX_FIELDS, 2 * MAX_FIELDS)


@given(st.text())
def test_printable(text: str) -> None:
    """Printable text is one line with no character a terminal obeys, but the joiner inside emoji."""
    shown = printable(text)
    assert not [
        char for char in shown if unicodedata.category(char)[0] == "C" and char != "\u200d" and char.isprintable()
    ]
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or any(not char.isprintable() for char in text)


def strange_store(path: Path, *envelopes: bytes) -> str:
    async def make() -> None:
        async with open_store(f"sqlite:///{path}") as store:
            for number, envelope in enumerate(envelopes):
                commit = NewCommit(StreamId("odd", str(number)), Version(0), 1, bytes(16), envelope)
                await store.backend.append(commit)

    asyncio.run(make())
    return f"sqlite:///{path}"


def odd_envelope(payload: bytes, *, type: str = "a.B", at: int | None = None) -> bytes:
    event = envelope_pb2.StoredEvent(type=type, schema=7, payload=payload, occurred_at=at)
    return envelope_pb2.Envelope(commit_id=bytes(16), first_version=1, events=[event]).SerializeToString()


def test_odd_payloads(tmp_path: Path) -> None:
    """Bytes that are no message, many fields, long text and times no calendar has are shown all the same."""
    odd = strange_store(
        tmp_path / "log.db",
        odd_envelope(b"\x08\x01\xff\xff", type="a\x1b[0mB"),
        odd_envelope(b"\x08\x01" * 30),
        odd_envelope(BytesValue(value=b"x" * 5_000).SerializeToString()),
        odd_envelope(b"", at=2**62),
    )
    out = run("tail", odd).stdout
    assert "a\\x1b[0mB  schema 7, 4 bytes" in out
    assert "2 bytes that are no field: ff ff" in out
    assert "10 more fields" in out
    assert "… 4,800 more characters" in out
    assert f"occurred {2**62}" in out
    assert lines("tail", odd)[0]["fields_end"] == 2


def test_corrupt_commit(tmp_path: Path) -> None:
    """Bytes that are no envelope are named, with the way to go on behind them."""
    odd = strange_store(tmp_path / "log.db", b"garbage", odd_envelope(b""))
    error = run("tail", odd, code=1).stderr
    assert error.startswith("eventstore: position 1, stream odd '0': not an envelope")
    assert error.endswith("--after 1 goes on behind it\n")
    assert len(lines("tail", odd, "--after", "1")) == 1
    assert run("cat", odd, "odd", "0", code=1).stderr.startswith("eventstore: position 1")


# How it is called and how it ends


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["ls"], ["cat", "order", "42"], ["cat", "--after", "1", "order", "42"], ["tail", "--after", "2"]],
)
def test_url_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """The URL may be left out where the environment has it, and wins where it is given."""
    monkeypatch.setenv("EVENTSTORE_URL", url)
    from_environment = lines(*arguments)
    monkeypatch.setenv("EVENTSTORE_URL", "sqlite:////none.db")
    assert lines(arguments[0], url, *arguments[1:]) == from_environment


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["nonsense"],
        ["cat", "sqlite:///x.db", "order"],
        ["tail", "sqlite:///x.db", "--nonsense"],
        ["cat", "sqlite:///x.db", "order", "42", "--at", "yesterday"],
        ["cat", "sqlite:///x.db", "order", "42", "--at", "2001-01-01", "--until-version", "1"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", "no_such_module:codec"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", "json:no_such_name"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", "..x:y"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", "json:dumps"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", "json"],
        ["cat", "sqlite:///x.db", "order", "42", "--codec", ":"],
    ],
)
def test_usage_errors(arguments: list[str]) -> None:
    """A command that cannot be understood ends with 2."""
    assert "Traceback" not in run(*arguments, code=2).output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["info", "sqlite:///{tmp}/none.db"], "none.db: no such file"),
        (["ls", "sqlite:///{tmp}/none.db"], "none.db: no such file"),
        (["tail", "sqlite:///{tmp}/none.db"], "none.db: no such file"),
        (["cat", "sqlite:///{tmp}/none.db", "order", "1"], "none.db: no such file"),
        (["export", "sqlite:///{tmp}/none.db", "{tmp}/out"], "none.db: no such file"),
        (["info", "nonsense://x"], "url: expected one of"),
        (["info", "memory://"], "memory:// is always a new log"),
        (["info", "sqlite:///{tmp}"], "a folder, not a file"),
        (["cat", "{url}", "order", "43"], "stream order '43': there is none"),
        (["cat", "{url}", "Order", "42"], "category: expected a token"),
        (["ls", "{url}", "--category", "Order"], "category: expected a token"),
        (["tail", "{url}", "--after", "5"], "position 5 is after the head 4"),
        (["tail", "{url}", "--after", "-1"], "after: expected a number"),
        (["export", "{url}", "{tmp}/none/out"], "No such file or directory"),
        (["export", "{url}", "{tmp}"], "got a folder"),
        (["import", "sqlite:///{tmp}/new.db", "{tmp}/none"], "No such file or directory"),
        (["import", "sqlite:///{tmp}/new.db", "{bad}"], "byte 0: expected a segment"),
        (["import", "{url}", "{other}"], "expected a log that is empty"),
    ],
)
def test_errors(url: str, tmp_path: Path, arguments: list[str], problem: str) -> None:
    """What a person can mend is one line and ends with 1; nothing is made."""
    bad = tmp_path / "bad.segment"
    bad.write_bytes(b"no segment")
    other = tmp_path / "other.segment"
    asyncio.run(one_commit_segment(other))
    before = sorted(tmp_path.iterdir())
    result = run(*[word.format(url=url, tmp=tmp_path, bad=bad, other=other) for word in arguments], code=1)
    assert not result.stdout
    [line] = result.stderr.splitlines()
    assert line.startswith("eventstore: ")
    assert problem in line
    assert sorted(tmp_path.iterdir()) == before


async def one_commit_segment(path: Path) -> None:
    async with open_store("memory://", codec) as store:
        await store.append(StreamId("order", "1"), [StringValue()], expected=0)
        await export_log(store, path)


def test_errors_are_printable(url: str) -> None:
    """An error shows what was given without letting it command the terminal."""
    error = run("cat", url, "order", "\u202eevil", code=1).stderr
    assert "\u202e" not in error
    assert "evil" in error


def test_version_and_help() -> None:
    """The version is the distribution's; help has a line for each command."""
    version = importlib.metadata.version("foldlog-eventstore")
    assert run("--version").stdout == f"eventstore {version}\n"
    out = run("--help").stdout
    for command in ("info", "ls", "cat", "tail", "export", "import"):
        assert re.search(rf"^ +{command} +[A-Z].*\.$", out, re.MULTILINE)


def process(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eventstore", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_follow_until_a_signal(path: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A follower shows at once what another process appends, and ends quietly on Ctrl-C and SIGTERM."""
    copy = tmp_path / "log.db"
    copy.write_bytes(path.read_bytes())

    async def append() -> str:
        async with open_store(f"sqlite:///{copy}", codec) as store:
            await store.append(StreamId("order", "43"), [StringValue(value="new")], expected=0)
            return (await digest_of(store)).hexdigest

    with process("tail", f"sqlite:///{copy}", "-f", "--json") as follower:
        assert follower.stdout
        assert [json.loads(follower.stdout.readline())["position"] for _ in range(5)] == [1, 1, 2, 3, 4]
        asyncio.run(append())
        assert json.loads(follower.stdout.readline())["fields"][0]["text"] == "new"
        follower.send_signal(number)
        out, err = follower.communicate()
        assert (out, err, follower.returncode) == (b"", b"", code)


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_broken_pipe(tmp_path: Path, arguments: list[str]) -> None:
    """A reader that has had enough is no error."""

    async def make() -> None:
        async with open_store(f"sqlite:///{tmp_path}/log.db", codec) as store:
            for _ in range(5):
                await store.append(StreamId("item", "1"), [StringValue(value="x")] * 1_000, expected=ANY)

    asyncio.run(make())
    with process("cat", f"sqlite:///{tmp_path}/log.db", "item", "1", *arguments) as writer:
        assert writer.stdout
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr
        assert writer.stderr.read() == b""
        assert writer.wait() == 141


def test_output_without_unicode(url: str) -> None:
    """An output that cannot hold a character gets an escape for it, not a traceback."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with process("ls", url, env=environment) as lister:
        out, err = lister.communicate()
        assert (err, lister.returncode) == (b"", 0)
        assert BIG_ID.encode() in out


@pytest.mark.parametrize("command", [["info"], ["ls"], ["cat", "order", "42"], ["tail"]])
def test_narrow_terminal(url: str, command: list[str]) -> None:
    """On 60 columns no line is longer, and no character of an id is lost."""
    out = STYLE.sub("", on_terminal("eventstore", command[0], url, *command[1:]))
    assert max(map(len, out.splitlines())) <= 60
    assert not [char for char in out if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    if command[0] in ("ls", "tail"):
        assert BIG_ID in re.sub(r"\s", "", out)


def test_progress_on_a_terminal(url: str, tmp_path: Path) -> None:
    """On a terminal a bar shows how far it is, and leaves only the result behind."""
    out = on_terminal("eventstore", "export", url, tmp_path / "log.segment")
    assert "100%" in out
    assert "exported" in STYLE.sub("", out).rpartition("100%")[2]
