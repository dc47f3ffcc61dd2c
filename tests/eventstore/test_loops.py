"""Programs run with and without uvloop."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop
from eventstore import loops


async def kind() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def test_with_uvloop() -> None:
    """Where uvloop is installed it is used."""
    assert loops.run(kind()) is uvloop.Loop


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not, asyncio's own loop runs the program."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert not issubclass(loops.run(kind()), uvloop.Loop)


def test_errors_pass() -> None:
    """What the program raises comes out."""

    async def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        loops.run(fail())
