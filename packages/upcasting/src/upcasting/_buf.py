"""The program ``buf``: it compiles protos, and it knows what may change in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from upcasting._errors import CannotCompare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Whether what was written can be read as what was meant, in binary alone, or in binary and in JSON.
WIRE: Final = "WIRE"
WIRE_JSON: Final = "WIRE_JSON"
# A field, a value or a reservation that goes away keeps nobody from reading the rest.
_LEFT_OUT: Final = (
    "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED",
    "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED",
    "FIELD_NO_DELETE_UNLESS_NAME_RESERVED",
    "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
    "RESERVED_ENUM_NO_DELETE",
    "RESERVED_MESSAGE_NO_DELETE",
)
_FOUND: Final = 100
_IMPORT: Final = re.compile(rb"""\bimport\s+(?:public\s+|weak\s+|option\s+)?["']([^"'\n]+)["']\s*;""")
_BUILT_IN: Final = "google/protobuf/"
_HINT: Final = re.compile(r" See https?://.*")


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that a change breaks, and where: a file and a line of the newer side."""

    rule: str
    path: str
    line: int
    text: str


def breaking(
    new: FileDescriptorSet, *, against: FileDescriptorSet, rules: str = WIRE_JSON, left_out: Sequence[str] = _LEFT_OUT
) -> Sequence[Broken]:
    """Return what code of ``new`` does not read of what code of ``against`` has written."""
    with tempfile.TemporaryDirectory() as folder:
        for name, files in (("new", new), ("old", against)):
            Path(folder, f"{name}.binpb").write_bytes(files.SerializeToString())
        config = json.dumps({"version": "v2", "breaking": {"use": [rules], "except": list(left_out)}})
        words = ("breaking", "new.binpb", "--against", "old.binpb", "--config", config, "--error-format", "json")
        done = _run(folder, *words)
    if done.returncode not in (0, _FOUND):
        raise CannotCompare("buf breaking", _first_line(done.stderr))
    return [
        Broken(
            rule=found["type"],
            path=found.get("path", ""),
            line=found.get("start_line", 0),
            text=_HINT.sub("", found["message"]),
        )
        for found in map(json.loads, done.stdout.splitlines())
    ]


def on_disk(path: Path) -> bytes | None:
    """Return what a file holds, if it is one."""
    return path.read_bytes() if path.is_file() else None


def compiled(
    source: str, protos: Mapping[str, bytes], *, read: Callable[[Path], bytes | None] = on_disk
) -> FileDescriptorSet:
    """Compile a tree of protos, with the published ones that they import.

    Args:
        source: what errors call the tree.
        protos: the text of each file by its path, as others import it.
        read: what gives a published file, or None where there is none.

    Raises:
        CannotCompare: a proto has an error.
    """
    for name, text in protos.items():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise CannotCompare(source, f"{name} is not UTF-8") from None
    published, missing = _imports(protos, read)
    with tempfile.TemporaryDirectory() as folder:
        for root, files in (("tree", protos), ("published", published)):
            for name, text in files.items():
                path = Path(folder, root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)
        modules = [{"path": root} for root, files in (("tree", protos), ("published", published)) if files]
        Path(folder, "buf.yaml").write_text(json.dumps({"version": "v2", "modules": modules}), encoding="utf-8")
        words = ("build", "--as-file-descriptor-set", "--exclude-source-info", "--error-format", "json")
        done = _run(folder, *words, "-o", "built.binpb")
        if done.returncode:
            raise CannotCompare(source, _compile_error(done.stderr, missing))
        return FileDescriptorSet.FromString(Path(folder, "built.binpb").read_bytes())


def _imports(
    protos: Mapping[str, bytes], read: Callable[[Path], bytes | None]
) -> tuple[dict[str, bytes], Sequence[str]]:
    """Return what a tree imports and does not hold, from where Python finds packages, and the names of the rest."""
    # The current folder is there because of how the command was called, not because a package is installed in it.
    roots = [root for root in sys.path if Path(root).resolve() != Path.cwd()]
    found: dict[str, bytes] = {}
    missing: list[str] = []
    waiting = list(protos.values())
    while waiting:
        for match in _IMPORT.findall(waiting.pop()):
            name = match.decode(errors="replace")
            if name in protos or name in found or name in missing or name.startswith(_BUILT_IN):
                continue
            # No proto makes us read or write where it points to.
            places = (Path(root, name) for root in roots if ".." not in name and not name.startswith("/"))
            if (text := next((text for text in map(read, places) if text is not None), None)) is None:
                missing.append(name)
            else:
                found[name] = text
                waiting.append(text)
    return found, missing


def _compile_error(stderr: str, missing: Sequence[str]) -> str:
    """Return the first error with its place, as an editor understands it."""
    lines = stderr.splitlines()
    try:
        first = json.loads(lines[0])
        path = first["path"].removeprefix("tree/")
        problem = f"{path}:{first['start_line']}:{first['start_column']}: {first['message']}"
    except (IndexError, KeyError, ValueError):
        return _first_line(stderr)
    if missing:
        problem += f" (imported and found nowhere: {', '.join(missing)})"
    elif len(lines) > 1:
        problem += f" (and {len(lines) - 1} more)"
    return problem


def _run(folder: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = _program()
    # It makes a cache whether it needs one or not, and fails where a home is read-only, as in many containers.
    env = os.environ | {"BUF_CACHE_DIR": folder}
    return subprocess.run(  # noqa: S603 (words are ours)
        [program, *words], cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )


def _program() -> str:
    """Return where buf is: beside this Python, or on the PATH."""
    places = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if (found := shutil.which("buf", path=places)) is None:
        raise CannotCompare("buf", "not installed: pip install 'foldlog-upcasting[check]'")
    return found


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "it failed without a word")
