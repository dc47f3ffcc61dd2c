"""Runs a command as a person does: on a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(module: str, *arguments: str | Path, columns: int = 60, typed: bytes = b"") -> str:
    """Run a command on a terminal of its own, type something, and return what is seen there."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(parent, typed)
    # Not the environment as C knows it, into which readline, imported by pytest, writes a size of its own.
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=dict(os.environ)):
        os.close(child)
        out = b""
        try:
            while read := os.read(parent, 65_536):
                out += read
        except OSError as error:  # how Linux tells that the other side has closed
            assert error.errno == errno.EIO  # noqa: PT017
        finally:
            os.close(parent)
    return out.decode().replace("\r\n", "\n")
