"""Where protos come from: a folder, a git revision, a file with a descriptor set."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from upcasting._buf import compiled, on_disk
from upcasting._errors import CannotCompare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GIT: Final = "git:"
_REGULAR_FILE: Final = b"100"


def load(source: str) -> tuple[FileDescriptorSet, frozenset[str]]:
    """Return a descriptor set with all it imports, and the names of the files that are its own.

    Args:
        source: a folder that imports start from, ``git:REVISION:FOLDER``, or a file with a descriptor set.

    Raises:
        CannotCompare: there is no such thing, or it is none of these, or a proto has an error.
    """
    try:
        return _load(source)
    except OSError as error:
        raise CannotCompare(str(error.filename or source), f"cannot be read: {error.strerror}") from None


def _load(source: str) -> tuple[FileDescriptorSet, frozenset[str]]:
    if source.startswith(_GIT):
        return _from_git(source)
    path = Path(source)
    if path.is_dir():
        return _built(source, _from_folder(path))
    if path.is_file():
        return _from_file(source)
    raise CannotCompare(
        source, "this is neither a file nor a folder" if path.exists() else "there is no such file or folder"
    )


def tagged(pattern: str, folder: str) -> Sequence[str]:
    """Return a source for each tag that matches a pattern and has the folder, oldest version first.

    Raises:
        CannotCompare: there is none.
    """
    label = f"tags {pattern}"
    tags = _git(label, "tag", "--list", "--sort=version:refname", pattern).decode().split()
    if not tags:
        raise CannotCompare(label, "no tag matches")
    sources = {tag: f"{_GIT}{tag}:{folder}" for tag in tags}
    found = [source for tag, source in sources.items() if _tree(tag, folder) is not None]
    if not found:
        raise CannotCompare(label, f"none of {len(tags)} has a folder {folder}")
    return found


def _built(
    source: str, protos: Mapping[str, bytes], read: Callable[[Path], bytes | None] = on_disk
) -> tuple[FileDescriptorSet, frozenset[str]]:
    if not protos:
        raise CannotCompare(source, "there is no .proto in it")
    return compiled(source, protos, read=read), frozenset(protos)


def _from_folder(root: Path) -> dict[str, bytes]:
    found = {}
    for folder, folders, names in os.walk(root, onerror=_fail):
        # Hidden ones hold environments and histories.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(".proto") and path.is_file():
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def _fail(error: OSError) -> NoReturn:
    raise error


def _from_git(source: str) -> tuple[FileDescriptorSet, frozenset[str]]:
    """Read a folder out of git's own store: no checkout is touched, no hook or filter runs."""
    revision, _, folder = source.removeprefix(_GIT).partition(":")
    if not revision:
        raise CannotCompare(source, "expected git:REVISION:FOLDER")
    if _resolved(f"{revision}^{{commit}}") is None:
        _git(source, "rev-parse", "--git-dir")
        raise CannotCompare(source, f"git knows no revision {revision}")
    if (tree := _tree(revision, folder)) is None:
        raise CannotCompare(source, f"there is no folder {folder} in {revision}")
    entries = _git(source, "ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")
    blobs = {}
    for entry in entries:
        facts, _, name = entry.partition(b"\t")
        if name.endswith(b".proto") and facts.startswith(_REGULAR_FILE):
            blobs[os.fsdecode(name)] = facts.split()[2]
    protos = dict(zip(blobs, _contents(source, list(blobs.values())), strict=True))
    return _built(source, protos, _as_of(revision))


def _as_of(revision: str) -> Callable[[Path], bytes | None]:
    """Return what reads published protos as they were in a revision, where they lie in the working tree themselves.

    A package may be installed from there, and today's protos of it are none that the old ones were compiled with.
    """
    tree = Path(os.fsdecode(_git(revision, "rev-parse", "--show-toplevel")).removesuffix("\n"))
    # An environment may stand in the working tree and is no part of it.
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]

    def read(path: Path) -> bytes | None:
        real = path.resolve()
        if not real.is_relative_to(tree) or any(map(real.is_relative_to, installed)):
            return on_disk(path)
        blob = _resolved(f"{revision}:{real.relative_to(tree).as_posix()}")
        return None if blob is None else _git(revision, "cat-file", "blob", blob)

    return read


def _tree(revision: str, folder: str) -> str | None:
    """Return the id of a folder in a revision. It is named as from the current folder, as on a command line."""
    found = _resolved(f"{revision}:./{folder}")
    return found if found and _git(found, "cat-file", "-t", found).strip() == b"tree" else None


def _resolved(name: str) -> str | None:
    try:
        return _git(name, "rev-parse", "--verify", "--quiet", "--end-of-options", name).decode().strip()
    except CannotCompare:
        return None


def _contents(source: str, blobs: Sequence[bytes]) -> Sequence[bytes]:
    out = _git(source, "cat-file", "--batch", given=b"".join(blob + b"\n" for blob in blobs))
    found = []
    for _ in blobs:
        header, _, rest = out.partition(b"\n")
        size = int(header.split()[2])
        found.append(rest[:size])
        out = rest[size + 1 :]
    return found


def _git(source: str, *words: str, given: bytes = b"") -> bytes:
    try:
        env = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(["git", *words], input=given, env=env, capture_output=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise CannotCompare(source, "git is not installed") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines() or ["git failed without a word"]
        raise CannotCompare(source, lines[0].removeprefix("fatal: "))
    return done.stdout


def _from_file(source: str) -> tuple[FileDescriptorSet, frozenset[str]]:
    try:
        files = FileDescriptorSet.FromString(Path(source).read_bytes())
    except DecodeError:
        files = FileDescriptorSet()
    if not files.file or not all(file.name for file in files.file):
        hint = "name the folder that its imports start from" if source.endswith(".proto") else "buf build -o makes one"
        raise CannotCompare(source, f"this is no descriptor set; {hint}")
    own = frozenset(file.name for file in files.file)
    _complete(source, files)
    return files, own


def _complete(source: str, files: FileDescriptorSet) -> None:
    """Add what protoc leaves out without ``--include_imports``, as far as Python knows it."""
    names = {file.name for file in files.file}
    for file in files.file:  # it grows meanwhile
        for name in file.dependency:
            if name in names:
                continue
            names.add(name)
            try:
                descriptor_pool.Default().FindFileByName(name).CopyToProto(files.file.add())
            except KeyError:
                raise CannotCompare(
                    source, f"{file.name} imports {name}, which is not in it; protoc --include_imports puts it there"
                ) from None
