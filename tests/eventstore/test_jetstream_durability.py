"""What the durability report says is what the server does: its calls of the system are watched."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from eventstore import StoreUnavailable, StreamId
from eventstore.testing._scene import commit

from tests.eventstore.nats_servers import fresh, one_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventstore.jetstream import JetStreamBackend

    from tests.eventstore.nats_servers import NatsServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

APPENDS = 50
_BEGUN = re.compile(r"^(\d+) +f(?:data)?sync\(\d+<(.*)> <unfinished")
_DONE = re.compile(r"^\d+ +f(?:data)?sync\(\d+<(.*)>\) += 0")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. f(?:data)?sync resumed>.* = 0")
_ACKNOWLEDGEMENT = re.compile(r'^\d+ +writev?\(.*"MSG _INBOX.*\\"seq\\":')


@contextlib.contextmanager
def watched(server: NatsServer, trace: Path) -> Iterator[None]:
    """Write down what a server writes to sockets and files, and when it syncs."""
    program = shutil.which("strace")
    assert program, "strace is missing: apt-get install strace"
    calls = "trace=fsync,fdatasync,write,writev"
    arguments = [program, "-f", "-y", "-s", "400", "-e", calls, "-o", str(trace), "-p", str(server.pid)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "attached" in line:
                break
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def syncs_before_each(lines: list[str]) -> list[int]:
    """Return how many syncs of messages ended before each acknowledgement, and after the one before it."""
    counts, now, begun = [], 0, {}
    for line in lines:
        if found := _BEGUN.match(line):
            begun[found[1]] = found[2]
        elif found := _RESUMED.match(line):
            now += begun.pop(found[1]).endswith(".blk")
        elif found := _DONE.match(line):
            now += found[1].endswith(".blk")
        elif _ACKNOWLEDGEMENT.match(line):
            counts.append(now)
            now = 0
    return counts


async def opens(log: JetStreamBackend) -> None:
    async with log:
        pass


@pytest.mark.parametrize(
    ("jetstream", "words"),
    [("sync_interval: always", "full: 1 copy"), ("", "normal: 1 copy")],
    ids=["strict", "lax"],
)
async def test_the_report_is_true(tmp_path: Path, jetstream: str, words: str) -> None:
    """A server that is said to sync before each acknowledgement does; one that is not, does not."""
    trace = tmp_path / "trace"
    with one_server(tmp_path, jetstream=jetstream) as server:
        async with fresh([server.url], monitors=[server.monitor]) as log:
            await log.append(commit(StreamId("c", "1")))
            with watched(server, trace):
                for version in range(1, APPENDS + 1):
                    await log.append(commit(StreamId("c", "1"), version))
            report = str((await log.describe())["durability"])
        strict = fresh([server.url], monitors=[server.monitor], strict=True)
        with pytest.raises(StoreUnavailable, match="strict: no monitoring port"):
            await opens(fresh([server.url], strict=True))
        with contextlib.nullcontext() if jetstream else pytest.raises(StoreUnavailable, match="before it syncs"):
            await opens(strict)
    syncs = syncs_before_each(trace.read_text(encoding="utf-8").splitlines())
    print(f"{report}: {len(syncs)} acknowledgements, at least {min(syncs)} and at most {max(syncs)} syncs before each")
    assert report.startswith(words)
    assert len(syncs) == APPENDS
    assert min(syncs) >= 1 if jetstream else max(syncs) == 0
