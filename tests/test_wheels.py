"""What a user installs: the built wheels, in an environment that has never seen this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = {
    "eventstore": ROOT / "packages/eventstore",
    "projections": ROOT / "packages/projections",
    "upcasting": ROOT / "packages/upcasting",
    "context_service": ROOT / "services/context",
}

pytestmark = [
    pytest.mark.contract,  # builds and installs in seconds, not milliseconds
    pytest.mark.timeout(300),
]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build each wheel as an index would: out of the source distribution, away from the checkout."""
    built = {}
    for name, member in MEMBERS.items():
        dist = tmp_path_factory.mktemp(name)
        run(sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", dist, member)
        [built[name]] = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with all wheels; its folder of programs."""
    env = tmp_path_factory.mktemp("clean") / "env"
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, env)
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", env, *wheels.values())
    return env / "bin"


@pytest.mark.parametrize("name", MEMBERS)
def test_ships_sources(name: str, wheels: dict[str, Path]) -> None:
    """A wheel holds the marker for type checkers, the licence, and every source file, protos where it has some."""
    source = MEMBERS[name] / "src"
    expected = {path.relative_to(source).as_posix() for path in (source / name).rglob("*") if path.is_file()}
    expected = {path for path in expected if "__pycache__" not in path}
    shipped = ZipFile(wheels[name]).namelist()
    assert f"{name}/py.typed" in expected
    assert any(path.endswith(".proto") for path in expected) == (name not in {"projections", "upcasting"})
    assert expected == {path for path in shipped if ".dist-info/" not in path}
    assert [path for path in shipped if path.endswith(".dist-info/licenses/LICENSE")]


def test_one_version(wheels: dict[str, Path]) -> None:
    """All wheels carry the version of the file VERSION."""
    version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    assert {version} == {wheel.name.split("-")[1] for wheel in wheels.values()}


@pytest.mark.parametrize("name", MEMBERS)
def test_imports(name: str, installed: Path, tmp_path: Path) -> None:
    """An installed wheel imports with nothing but what it requires."""
    where = run(installed / "python", "-c", f"import {name}; print({name}.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed.parent)


@pytest.mark.parametrize("command", ["eventstore", "projections", "upcasting", "context"])
def test_command(command: str, installed: Path, tmp_path: Path) -> None:
    """Each wheel brings its command."""
    assert command in run(installed / command, "--help", cwd=tmp_path)
