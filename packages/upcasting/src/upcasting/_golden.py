"""Golden bytes: what was stored under each (type, schema), and what it becomes today, pinned in files.

A file holds the events of one (type, schema) as JSON: the payload of each as it was stored, and the messages that it
becomes. A change of a file is a change of what old events mean, to be seen in a review.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

import msgspec
from eventstore import CannotDecode, Payload, event_name
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from upcasting._chains import describe
from upcasting._errors import GoldenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from upcasting._chains import Name
    from upcasting._upcasting import Reader


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that an event becomes, in protobuf's JSON."""

    type: str
    schema: int
    message: dict[str, Any]


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes
    becomes: list[Outcome]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    schema: int
    events: list[_Event]


#: What each payload of one (type, schema) becomes.
Pins: TypeAlias = dict[bytes, list[Outcome]]

_SHOWN: Final = 300


def read(folder: Path) -> dict[Name, Pins]:
    """Return the golden bytes of a folder.

    Raises:
        GoldenError: there is no such folder, or a file in it is not what ``record`` writes.
    """
    if not folder.is_dir():
        raise GoldenError(str(folder), "there is no such folder")
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError) as error:
            raise GoldenError(str(path), f"these are no golden bytes: {error}") from None
        name = (file.type, file.schema)
        if path.name != file_name(name):
            raise GoldenError(str(path), f"{describe(name)} belongs in {file_name(name)}")
        found[name] = {event.payload: event.becomes for event in file.events}
    return found


def differences(name: Name, pins: Pins, codec: Reader) -> Iterator[str]:
    """Yield what a codec does not make of golden bytes as it is pinned."""
    for number, (payload, pinned) in enumerate(pins.items(), 1):
        try:
            now = _becomes(codec, Payload(*name, payload))
        except CannotDecode as error:
            yield f"event {number} does not decode: {error}"
            continue
        if now != pinned:
            yield f"event {number} becomes {_shown(now)}, where {_shown(pinned)} is pinned"


def record(folder: Path | str, codec: Reader, *events: Message | Payload, replace: bool = False) -> None:
    """Write golden bytes, a file for each (type, schema).

    Bytes that are there stay for ever: what is new comes after them, and what is there already is not written again.

    Args:
        folder: where the files are.
        codec: what decodes them, now and in the test.
        *events: messages of any schema, or payloads out of a log.
        replace: pin anew what all bytes of the folder become, where that was meant to change.

    Raises:
        GoldenError: an event does not decode, or becomes something else than is pinned. Then nothing is written.
    """
    folder = Path(folder)
    pinned = read(folder) if folder.exists() else {}
    given = [event if isinstance(event, Payload) else _stored(event) for event in events]
    again = [Payload(*name, payload) for name, pins in pinned.items() for payload in pins] if replace else []
    changed = set()
    for event in (*again, *given):
        name = (event.type, event.schema)
        pins = pinned.setdefault(name, {})
        path = folder / file_name(name)
        try:
            now = _becomes(codec, event)
        except CannotDecode as error:
            raise GoldenError(str(path), f"what is to be recorded does not decode: {error}") from error
        before = pins.get(event.payload, now)
        if before != now and not replace:
            problem = f"{_shown(before)} is pinned, and it becomes {_shown(now)}; replace=True pins that"
            raise GoldenError(str(path), problem)
        if before != now or event.payload not in pins:
            changed.add(name)
        pins[event.payload] = now
    for name in changed:
        _write(folder, name, pinned[name])


def file_name(name: Name) -> str:
    """Return the name of the file for a (type, schema), one that every file system takes."""
    return f"{quote(name[0], safe='')}.{name[1]}.json"


def _stored(message: Message) -> Payload:
    return Payload(*event_name(type(message)), message.SerializeToString(deterministic=True))


def _becomes(codec: Reader, event: Payload) -> list[Outcome]:
    try:
        return [
            Outcome(*event_name(type(message)), MessageToDict(message, preserving_proto_field_name=True))
            for message in codec.decode(event)
        ]
    except (DecodeError, TypeError, ValueError) as error:
        raise CannotDecode(f"what it becomes cannot be written as JSON: {error}") from error


def _write(folder: Path, name: Name, pins: Mapping[bytes, Sequence[Outcome]]) -> None:
    """Write a file, whole or not at all. In ASCII: no character hides from who reviews it."""
    events = [
        {"payload": base64.b64encode(payload).decode(), "becomes": list(map(msgspec.structs.asdict, becomes))}
        for payload, becomes in pins.items()
    ]
    text = json.dumps({"type": name[0], "schema": name[1], "events": events}, indent=2, sort_keys=True)
    path = folder / file_name(name)
    fresh = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_text(f"{text}\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise GoldenError(str(path), f"cannot be written: {error.strerror}") from error


def _shown(becomes: Sequence[Outcome]) -> str:
    messages = [f"{describe((one.type, one.schema))} {json.dumps(one.message, sort_keys=True)}" for one in becomes]
    text = ", ".join(messages) or "nothing"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
