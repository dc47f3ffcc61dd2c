"""Plants each trap in a copy of the product's code: the trap's own test is green without it and must be red with it.

Run as ``python -m tests.context.traps.planting``; numbers after it choose some of the traps.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).parents[3]
TESTS: Final = "tests/context/test_traps.py"
SOURCES: Final = tuple(sorted(path.relative_to(ROOT) for path in ROOT.glob("[ps]*/*/src")))
_PRODUCT: Final = re.compile(r"(?:packages|services)/\w+/src/.+\.py")
# How an assertion begins in a report; any other exception is no answer of the test.
_ASSERTION: Final = ("AssertionError", "assert ")
_AT_ONCE: Final = 2
#: So much of what an assertion says is shown.
_MOST_CHARS: Final = 120


class Trap(NamedTuple):
    """A trap: the patch that brings it back, and the test that shows that it is gone."""

    number: str
    patch: Path
    test: str

    @property
    def name(self) -> str:
        """What the trap is, in words."""
        return self.patch.stem.partition("-")[2].replace("-", " ")


class Unusable(Exception):
    """A patch does not do what it is for. The message says what it does."""


def traps() -> list[Trap]:
    """Return all traps: the patches and the tests with the same numbers.

    Raises:
        Unusable: a patch has no test, or a test no patch.
    """
    tests = dict(re.findall(r"def test_trap_(\d+)(_\w+)", (ROOT / TESTS).read_text(encoding="utf-8")))
    patches = {path.name.partition("-")[0]: path for path in sorted(Path(__file__).parent.glob("*.patch"))}
    if unpaired := tests.keys() ^ patches.keys():
        raise Unusable(f"only a test or only a patch has the numbers {', '.join(sorted(unpaired))}")
    return [Trap(number, path, f"test_trap_{number}{tests[number]}") for number, path in patches.items()]


def apply(patch: Path, folder: Path, *, check: bool = False) -> None:
    """Apply a patch to the code in a folder, or only see whether that could be done.

    Raises:
        Unusable: it does not apply, or touches something else than the product's code.
    """
    # Within a repository git would look for the files of that one.
    env = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    git = partial(subprocess.run, cwd=folder, env=env, capture_output=True, text=True, check=False)
    touched = [line.split("\t")[2] for line in git(["git", "apply", "--numstat", str(patch)]).stdout.splitlines()]
    if not touched or not all(map(_PRODUCT.fullmatch, touched)):
        raise Unusable(f"{patch.name} touches {', '.join(touched) or 'nothing'}")
    done = git(["git", "apply", *(["--check"] if check else []), str(patch)])
    if done.returncode:
        raise Unusable(f"{patch.name} does not apply: {done.stderr.strip()}")


def copied(folder: Path) -> Path:
    """Copy the product's code into a folder."""
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def ran(folder: Path, *tests: str) -> dict[str, str]:
    """Run tests against the code of a folder; return what each said, nothing when it passed.

    Raises:
        Unusable: other code would run, or none.
    """
    paths = os.pathsep.join(str(folder / source) for source in SOURCES)
    run = partial(subprocess.run, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    where = run([sys.executable, "-c", "import context_service; print(context_service.__file__)"], check=False)
    if not where.stdout.startswith(str(folder)):
        raise Unusable(f"the code that runs is {where.stdout or where.stderr}")
    report = folder / "report.xml"
    options = ("-p", "no:randomly", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}", f"--junitxml={report}")
    done = run([sys.executable, "-m", "pytest", *options, *(f"{TESTS}::{test}" for test in tests)], check=False)
    if not report.exists():
        raise Unusable(done.stdout + done.stderr)
    # Our own tests wrote it.
    return {str(case.get("name")): _said(case) for case in ET.parse(report).iter("testcase")}  # noqa: S314


def _said(case: ET.Element) -> str:
    found = case.find("failure")
    error = case.find("error")
    if error is not None or found is None:
        return "" if error is None else f"error: {error.get('message')}"
    return (found.get("message") or "no message").splitlines()[0][:_MOST_CHARS]


def planted(trap: Trap) -> str:
    """Return by which assertion a trap's test fails on code with the trap.

    Raises:
        Unusable: it does not, or fails in another way.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = copied(Path(temporary).resolve())
        apply(trap.patch, folder)
        said = ran(folder, trap.test).get(trap.test, "it was not run")
    if not said:
        raise Unusable("green with it")
    if not said.startswith(_ASSERTION):
        raise Unusable(f"fails with it, but by no assertion: {said}")
    return said


def _tell(trap: Trap, without: str, planting: futures.Future[str]) -> bool:
    """Print what became of a trap; return whether that is as it must be."""
    try:
        told, red = f"red with it: {planting.result()}", True
    except Unusable as error:
        told, red = f"WRONG: {error}", False
    print(f"{trap.number} {trap.name}: {f'RED ({without})' if without else 'green'} without it, {told}", flush=True)
    return red and not without


def main(numbers: list[str]) -> int:
    """Plant the traps of some numbers, or all of them."""
    wanted = {number.zfill(2) for number in numbers}
    chosen = [trap for trap in traps() if not wanted or trap.number in wanted]
    if unknown := wanted - {trap.number for trap in chosen}:
        print(f"no trap has the number {', '.join(sorted(unknown))}")
        return 1
    with tempfile.TemporaryDirectory() as temporary, futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        green = pool.submit(ran, copied(Path(temporary).resolve()), *(trap.test for trap in chosen))
        plantings = [pool.submit(planted, trap) for trap in chosen]
        without = green.result()
        well = [
            _tell(trap, without.get(trap.test, "it was not run"), planting)
            for trap, planting in zip(chosen, plantings, strict=True)
        ]
    print(f"{sum(well)} of {len(well)} traps: green without, red with")
    return 0 if all(well) and well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
