"""Messages that could not be handled: kept in a JetStream stream with the reason, until somebody replays them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, Final

import msgspec
from eventstore import InvalidInput

from context_service.bus import DEAD
from context_service.messages import EVENT_ID, durable_of, event_id_of, id_in
from context_service.redaction import redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.js.api import RawStreamMsg

    from context_service.bus import Bus
    from context_service.messages import Incoming

_FACTS: Final = "Context-Dead-Letter"
_LONGEST: Final = 2_000
# Of a letter that is cut.
_SHORT: Final = 500


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be handled; its facts are in one header, its body is the message's own."""

    subject: str
    reason: str
    event_id: str
    #: Where it lay, and how often it came.
    stream: str
    stream_sequence: int
    deliveries: int
    headers: dict[str, str]
    #: Whether the body is kept by gzip, for want of room.
    packed: bool = False
    #: Whether there was no room for its headers and all of its body even so.
    cut: bool = False
    #: In the stream of dead letters.
    sequence: int = 0
    body: bytes = b""


async def bury(bus: Bus, message: Incoming, *, deliveries: int, reason: str) -> None:
    """Keep a message that could not be handled.

    Raises:
        BusUnavailable: it may not be kept.
    """
    letter = DeadLetter(
        subject=message.subject,
        # A reason quotes what came.
        reason=redact(reason)[:_LONGEST],
        event_id=event_id_of(message),
        stream=message.stream,
        stream_sequence=message.sequence,
        deliveries=deliveries,
        headers=dict(message.headers),
    )
    to = f"context.dead.{durable_of(message.subject)}"
    # Whoever stores it and does not come to acknowledge the message stores it again.
    headers = {"Nats-Msg-Id": f"{message.stream}:{message.sequence}"}
    for kept, body in _smaller_and_smaller(letter, message.body):
        headers[_FACTS] = _facts(kept)
        room = await bus.room(headers)
        if kept.cut or len(body) <= room:
            await bus.publish(to, body[:room], headers)
            return


def _smaller_and_smaller(letter: DeadLetter, body: bytes) -> Iterator[tuple[DeadLetter, bytes]]:
    """Yield ways to keep a letter: with its facts, what the server took may be more than it takes."""
    yield letter, body
    yield msgspec.structs.replace(letter, packed=True), gzip.compress(body)
    short: dict[str, Any] = {"event_id": letter.event_id[:_SHORT], "reason": letter.reason[:_SHORT]}
    yield msgspec.structs.replace(letter, cut=True, headers={}, **short), body


def _facts(letter: DeadLetter) -> str:
    """Return the facts as ASCII without line ends, since a header's line ends with the line."""
    facts: dict[str, Any] = msgspec.structs.asdict(letter)
    del facts["sequence"], facts["body"]
    text = msgspec.json.encode(facts).decode()
    return "".join(char if char.isascii() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    pairs = char.encode("utf-16-be").hex()
    return "".join(f"\\u{pairs[at : at + 4]}" for at in range(0, len(pairs), 4))


async def dead_letters(bus: Bus, subject: str = "") -> AsyncIterator[DeadLetter]:
    """Yield all dead letters, or those of a subject, oldest first.

    Raises:
        BusUnavailable: they cannot be read.
    """
    stream, sequence = await bus.carrier(DEAD.subjects[0]), 0
    while stream and (found := await bus.message(stream, sequence)):
        sequence = found.seq or 0
        letter = _letter(found)
        if letter is not None and subject in {"", letter.subject}:
            yield letter


def _letter(found: RawStreamMsg) -> DeadLetter | None:
    """Return the dead letter that a message is; None for what others put into the stream."""
    facts = (found.headers or {}).get(_FACTS)
    if facts is None:
        return None
    letter = msgspec.json.decode(facts, type=DeadLetter)
    body = found.data or b""
    return msgspec.structs.replace(
        letter, sequence=found.seq or 0, body=gzip.decompress(body) if letter.packed else body
    )


async def replay(bus: Bus, letter: DeadLetter) -> None:
    """Send a message again as it was, under the event's id that it had, and let go of the dead letter.

    Raises:
        InvalidInput: it is not whole.
        TooLarge: there is no room for the event's id.
        BusUnavailable: it may not be sent; it may be replayed again.
    """
    if letter.cut:
        place = f"{letter.stream} had it at {letter.stream_sequence}"
        raise InvalidInput("seq", f"only a part of the message was kept, which is not sent; {place}")
    # Those of NATS are of the first sending: under its message id, the second would be taken for the same.
    headers = {key: value for key, value in letter.headers.items() if not key.lower().startswith("nats-")}
    if not id_in(letter.body):
        headers[EVENT_ID] = letter.event_id
    await bus.publish(letter.subject, letter.body, headers)
    await bus.remove(str(await bus.carrier(DEAD.subjects[0])), letter.sequence)
