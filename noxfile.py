#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2026.10", "uv>=0.9"]
# ///
"""The sessions of the project. `./dev` runs them where there is only Python; with uv, this file runs itself.

Each session installs with one call of uv into an environment that is kept, so that a second run starts in a
fraction of a second. Arguments after `--` go to the session's tool.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "protos-check", "types", "unit", "contract", "docs"]

ROOT = Path(__file__).parent
EVENTSTORE = "packages/eventstore"
JETSTREAM = f"{EVENTSTORE}[jetstream]"
PROJECTIONS = "packages/projections"
UPCASTING = "packages/upcasting"
CONTEXT = "services/context"
SOURCES = [f"{EVENTSTORE}/src", f"{PROJECTIONS}/src", f"{UPCASTING}/src", f"{CONTEXT}/src"]
EXAMPLES = "docs/examples"


def install(session: nox.Session, *groups: str) -> None:
    """Install all our distributions, editable, and some of the root's dependency groups."""
    chosen = [word for group in groups for word in ("--group", group)]
    ours = (JETSTREAM, f"{PROJECTIONS}[neo4j,valkey]", UPCASTING, CONTEXT)
    session.install(*(word for one in ours for word in ("-e", one)), *chosen)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and the direction of imports. `-- --fix` repairs what can be repaired."""
    session.install("--group", "lint")
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check"]))
    # It reads the source without running it, so that nothing needs to be installed.
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join(str(ROOT / source) for source in SOURCES)})


@nox.session
def types(session: nox.Session) -> None:
    """Check all types, strictly."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Tests that need no server, in under three minutes. Try `-- --cov`, `-- -k NAME`."""
    install(session, "test")
    session.run("pytest", "-m", "not contract and not slow", "-n", "2", *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """Tests of every backend against its contract, with real servers."""
    install(session, "test")
    # Most of it waits for servers, so that two processes take half the time; the servers are shared.
    session.run("pytest", "-m", "contract and not slow", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every example of the pages and docstrings; `conftest.py` says how."""
    install(session, "test")
    pages = [
        name for name in ("README.md", "docs", EVENTSTORE, PROJECTIONS, UPCASTING, CONTEXT) if (ROOT / name).exists()
    ]
    # The examples of a page build on each other, so their order is theirs.
    env = {"PYTHONPATH": str(ROOT / EXAMPLES)}
    session.run("pytest", "-p", "no:randomly", *pages, *session.posargs, env=env)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Minutes of kills and races; each test prints its seed."""
    install(session, "test")
    session.run("pytest", "-m", "slow", "-s", *session.posargs)


@nox.session(default=False)
def traps(session: nox.Session) -> None:
    """Plant each known trap in the product's code, and see its test turn red: `-- 07` plants one of them."""
    install(session, "test")
    session.run("python", "-m", "tests.context.traps.planting", *session.posargs)


@nox.session(default=False)
def interop(session: nox.Session) -> None:
    """Another language reads what we write; `contract` has this too."""
    install(session, "test")
    session.run("pytest", "tests/interop", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against rivals, one JSON object a line: `-- NAME`."""
    install(session, "bench")
    # Results and progress are kept apart, so that the results can be piped.
    session.run("python", "-m", "benchmarks", *session.posargs, stderr=None)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Import a real log, serve it, ask about its past: `-- --once` ends after the answers."""
    install(session)
    # Ctrl-C reaches the service too: give it time to end by itself.
    session.run("context", "demo", *session.posargs, interrupt_timeout=10, terminate_timeout=5)


@nox.session(default=False)
def protos(session: nox.Session) -> None:
    """Generate Python from every `.proto`, beside it. Generated code is committed."""
    session.install("--group", "protos")
    for source in (*SOURCES, EXAMPLES):
        compile_protos(session, source, ROOT / source)


@nox.session(name="protos-check")
def protos_check(session: nox.Session) -> None:
    """Fail where the committed code is not what its `.proto` generates."""
    session.install("--group", "protos")
    stale = []
    for source in (*SOURCES, EXAMPLES):
        out = Path(session.create_tmp()) / source
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        compile_protos(session, source, out)
        stale += [ROOT / source / name for name in differences(ROOT / source, out)]
    if stale:
        session.error("run ./dev protos and commit:", *stale)


def compile_protos(session: nox.Session, source: str, out: Path) -> None:
    """Run protoc over one source folder: messages and their types, and the gRPC code of services."""
    [packages] = Path(session.virtualenv.location).glob("lib/python*/site-packages")
    includes = [f"-I{path}" for path in (*SOURCES, EXAMPLES, packages)]
    for proto in sorted((ROOT / source).rglob("*.proto")):
        outs = [f"--python_out={out}", f"--pyi_out={out}"]
        if re.search(r"^service\s", proto.read_text(encoding="utf-8"), re.MULTILINE):
            outs.append(f"--grpc_python_out={out}")
        session.run("python", "-m", "grpc_tools.protoc", *includes, *outs, str(proto.relative_to(ROOT)))


def differences(committed: Path, fresh: Path) -> list[Path]:
    """Return the generated files that are missing, changed, or no longer generated."""
    found = [path.relative_to(root) for root in (committed, fresh) for path in root.rglob("*_pb2*.py*")]
    names = {path for path in found if "__pycache__" not in path.parts}
    return sorted(
        name
        for name in names
        if not ((committed / name).exists() and (fresh / name).exists())
        or not filecmp.cmp(committed / name, fresh / name, shallow=False)
    )


if __name__ == "__main__":
    nox.main()
