"""UmaDB, a server written in Rust, with the client of its wheel ``umadb``."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import umadb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

NAME: Final = "umadb"
SYNC: Final = "fdatasync twice before each answer (seen with strace; the server has no setting for it)"
_START_SECONDS: Final = 20


@contextlib.contextmanager
def server(directory: Path) -> Iterator[umadb.Client]:
    """Run its server on a free port, and return a client for any number of threads.

    Reading by mmap was its best setting, by some percent; the page cache and the pipelined writer made appends slower,
    and so did more clients than one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    run = "import sys, umadb; umadb.run_server_from_args(sys.argv)"
    options = ["--listen", address, "--db-path", str(directory / "uma.db"), "--read-method", "mmap"]
    with (directory / "umadb.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", run, *options], stdout=log, stderr=log)
        try:
            yield _connect(f"http://{address}", process)
        finally:
            process.terminate()
            process.wait(_START_SECONDS)


def _connect(url: str, process: subprocess.Popen[bytes]) -> umadb.Client:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client = umadb.Client(url)
            client.head()
        except umadb.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return client


class Stream:
    """Appends to one stream, which for it is a tag, as long as nobody else does: the guard that the others have too."""

    def __init__(self, client: umadb.Client, name: str) -> None:
        self._client = client
        self._tags = [name]
        self._query = umadb.Query(items=[umadb.QueryItem(tags=self._tags)])
        self._last: int | None = None

    def event(self, message: Message) -> umadb.Event:
        """Return a message as the event its client sends."""
        return umadb.Event(message.DESCRIPTOR.full_name, message.SerializeToString(), tags=self._tags)

    def append(self, events: Sequence[umadb.Event]) -> None:
        """Append events under the guard."""
        self._last = self._client.append(events, umadb.AppendCondition(self._query, self._last))

    def append_messages(self, messages: Sequence[Message]) -> None:
        """Append messages under the guard."""
        self.append([self.event(message) for message in messages])
