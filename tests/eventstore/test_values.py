"""Streams, tokens, times, and the public surface."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from types import ModuleType

import eventstore
import pytest
from eventstore import Appended, EventStoreError, InvalidInput, Position, StreamId, Token, Version
from eventstore import _errors as errors
from eventstore._values import from_micros, to_micros
from hypothesis import given
from hypothesis import strategies as st


class TestStreamId:
    """Names of streams."""

    @pytest.mark.parametrize("category", ["a", "order", "order_line2", "a" * 64])
    def test_good_category(self, category: str) -> None:
        """A category is a token of small letters, digits and underscores."""
        assert StreamId(category, "1").category == category

    @pytest.mark.parametrize(
        "category", ["", "A", "1a", "_a", "a-b", "a.b", "a b", "a\n", "\u00e9", "a" * 65, ">", "*", None, 1, b"a"]
    )
    def test_bad_category(self, category: str) -> None:
        """Anything else is refused, and the error says which part it was."""
        with pytest.raises(InvalidInput, match="category") as refusal:
            StreamId(category, "1")
        assert refusal.value.field == "category"

    @pytest.mark.parametrize(
        "id", ["1", "a.b", "a b", " ", "a/b", "..", ">", "*", "%", "'", "\U0001f642", "x" * 255, "\u00e9" * 127]
    )
    def test_good_id(self, id: str) -> None:
        """An id is any text of up to 255 bytes of UTF-8."""
        assert StreamId("order", id).id == id

    @pytest.mark.parametrize(
        "id",
        ["", "x" * 256, "\u00e9" * 128, "a\0b", "\n", "\t", "a\x7f", "\x9f", "\ud800", "a\udfff", None, 7, b"a"],
    )
    def test_bad_id(self, id: str) -> None:
        """An empty, over-long or unprintable id is refused, and what UTF-8 cannot encode."""
        with pytest.raises(InvalidInput, match="id") as refusal:
            StreamId("order", id)
        assert refusal.value.field == "id"

    @given(st.text())
    def test_any_text(self, id: str) -> None:
        """Whatever is accepted is kept, and whatever is refused is refused with InvalidInput."""
        with contextlib.suppress(InvalidInput):
            assert StreamId("order", id).id == id

    def test_as_text(self) -> None:
        """As text it shows where the id begins and ends."""
        assert str(StreamId("order", " 1")) == "order ' 1'"


class TestToken:
    """Positions that know their log."""

    def test_text(self) -> None:
        """A token survives its text, whatever the log's id."""
        token = Token("log:1", Position(42))
        assert str(token) == "log:1:42"
        assert Token.parse(str(token)) == token

    @pytest.mark.parametrize(
        "text", ["", "42", ":42", "log:", "log:-1", "log:x", "log:1.5", "log: 1", "log:" + "9" * 20]
    )
    def test_no_token(self, text: str) -> None:
        """Text that is no token is refused."""
        with pytest.raises(InvalidInput, match="token"):
            Token.parse(text)

    def test_of_an_append(self) -> None:
        """The answer to an append is a token."""
        assert Appended("log", Version(2), Position(7)).token == Token("log", Position(7))


class TestTimes:
    """Microseconds since the epoch."""

    @given(st.datetimes(timezones=st.timezones()))
    def test_round_trip(self, moment: datetime) -> None:
        """A moment survives, to the microsecond, in whatever zone it is given."""
        assert from_micros(to_micros(moment)) == moment.astimezone(UTC)

    def test_zone(self) -> None:
        """The zone counts."""
        assert to_micros(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0

    def test_naive(self) -> None:
        """A moment without a zone is refused."""
        with pytest.raises(InvalidInput, match="time zone"):
            to_micros(datetime(2024, 1, 1))  # noqa: DTZ001 (what is refused)


NAMES = """
ANY Appended AtPosition AtVersion Backend BackendFactory Bound CannotDecode Codec Commit Conflict CorruptCommit Decider
Digest EXISTS Event EventCodec EventStore EventStoreError Expected Folded Handled InvalidInput MAX_ENVELOPE_BYTES
MemorySnapshots Metadata Moment NO_STREAM NewCommit NotAStore Occurred Payload Position Progress RawCommit ReadOnly
Recorded SegmentError Slice Snapshot SnapshotStore Snapshots StoreClosed StoreFull StoreNotFound StoreUnavailable
StreamId StreamInfo Tail Token TooLarge Undecodable UnknownPosition Until Version WrongLog commit_id_of digest_of
event_name fold handle open_store
"""


class TestSurface:
    """What the package offers."""

    def test_names(self) -> None:
        """The public names are these and no others."""
        assert sorted(eventstore.__all__) == sorted(NAMES.split())

    def test_all_there(self) -> None:
        """What is named is there, and what is there is named, but for submodules."""
        there = {
            name
            for name, value in vars(eventstore).items()
            if not name.startswith("_") and not isinstance(value, ModuleType)
        }
        assert there == set(eventstore.__all__)

    def test_errors_are_public(self) -> None:
        """Every error can be caught by its name, and all by their root."""
        found = {name for name, value in vars(errors).items() if isinstance(value, type)}
        found = {name for name in found if name.endswith(tuple(NAMES.split()))}
        assert "Conflict" in found
        assert all(issubclass(getattr(eventstore, name), EventStoreError) for name in found)

    def test_tests_are_extra(self) -> None:
        """The package imports nothing that only tests need, and no driver before it is asked for."""
        code = "import sys, eventstore; print({'pytest', 'hypothesis', 'sqlite3'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"
