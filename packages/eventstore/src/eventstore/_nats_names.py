"""How streams are named in JetStream: one literal subject each, ``<prefix>.<category>.<escaped id>``."""

from __future__ import annotations

from urllib.parse import quote, unquote

from eventstore._errors import InvalidInput
from eventstore._values import StreamId


def escape(id: str) -> str:
    """Return an id as one token of a subject: letters, digits, ``_``, ``-`` and ``~`` stay, other bytes become %XX."""
    return quote(id, safe="").replace(".", "%2E")


def subject_of(prefix: str, stream: StreamId) -> str:
    """Return the subject of a stream."""
    return f"{prefix}.{stream.category}.{escape(stream.id)}"


def stream_of(prefix: str, subject: str) -> StreamId | None:
    """Return the stream of a subject; None for one that no stream has."""
    category, dot, token = subject.removeprefix(f"{prefix}.").partition(".")
    if not dot or not subject.startswith(f"{prefix}."):
        return None
    try:
        stream = StreamId(category, unquote(token, errors="strict"))
    except (InvalidInput, UnicodeDecodeError):
        return None
    # Another spelling of the same bytes would be a second stream of the same name.
    return stream if escape(stream.id) == token else None
