"""Moments as callers write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """Return the moment an ISO 8601 text names. Without an offset it is UTC; a date alone is its first moment.

    Raises:
        ValueError: it is no such text; the message says what was expected.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # an offset can push the first and the last year over the edge
        raise ValueError(f"expected ISO 8601, for example 2014-03-01T12:00:00Z; got {text[:80]!r}") from None


def millis(text: str) -> int:
    """Return a moment, as a story keeps it, in milliseconds since the epoch; 0 for none."""
    moment = Timestamp()
    if text:
        moment.FromJsonString(text)
    return moment.ToMilliseconds()
