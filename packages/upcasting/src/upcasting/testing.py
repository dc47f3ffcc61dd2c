"""Tests for code around old events: golden bytes, recorded once and decoded for ever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eventstore import event_name

from upcasting._chains import describe
from upcasting._golden import differences, file_name, read, record
from upcasting._upcasting import readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from upcasting._upcasting import Reader

__all__ = ["assert_golden", "record"]


def assert_golden(folder: Path | str, codec: Reader, *, only_inside: Iterable[type[Message]] = ()) -> None:
    """Assert that a codec makes of all golden bytes what is pinned, and that none are missing.

    Args:
        folder: what ``record`` has written.
        codec: what reads the log today.
        only_inside: messages that the codec knows and that are no events: they stand inside others alone.

    Raises:
        AssertionError: golden bytes become something else, a (type, schema) that is readable has none, or nothing reads
            those of a file any more.
        GoldenError: a file is no golden bytes.
    """
    pinned = read(Path(folder))
    read_today, inside = readable(codec), set(map(event_name, only_inside))
    missing = sorted(read_today - inside - {name for name, pins in pinned.items() if pins})
    problems = [f"{describe(name)} has no golden bytes: record some" for name in missing]
    for name, pins in pinned.items():
        found = differences(name, pins, codec) if name in read_today else ["nothing reads it any more"]
        problems += [f"{file_name(name)}: {problem}" for problem in found]
    problems += [
        f"{file_name(name)}: it is an event, not only inside others" for name in sorted(inside & pinned.keys())
    ]
    if problems:
        raise AssertionError("\n".join([f"golden bytes in {folder}:", *problems]))
