"""Given what happened, then the view is this: tests of a projection over a few events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from eventstore import Codec, StreamId
from google.protobuf.message import Message

from projections.testing._stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventstore import EventCodec

    from projections._model import Model
    from projections._projection import Projection

Tx = TypeVar("Tx")

Happened: TypeAlias = "Message | tuple[StreamId, Sequence[Message]]"


def given(
    projection: Projection[Tx], *happened: Happened, model: Model[Tx], codec: EventCodec | None = None
) -> Given[Tx]:
    """Begin a test of a projection with what happened.

    ::

        await given(totals, OrderPlaced(total=9), model=MemoryModel()).then({"total:1": 9})
        await given(totals, (StreamId("order", "7"), [OrderPlaced(total=9)]), model=model).then({"total:7": 9})

    Args:
        projection: what to test.
        happened: each a commit: the messages of a stream, or one message alone, which is then of a stream with id ``1``
            in the first category that the projection wants.
        model: a target that is only for tests, entered. It is left empty.
        codec: for the messages, where it is more than a codec of their types.
    """
    return Given(projection, happened, model, codec)


class Given(Generic[Tx]):
    """A projection and what happened."""

    def __init__(
        self, projection: Projection[Tx], happened: Sequence[Happened], model: Model[Tx], codec: EventCodec | None
    ) -> None:
        self._projection = projection
        self._history = list(_history(projection, happened))
        self._model = model
        types = dict.fromkeys(type(message) for _, messages in self._history for message in messages)
        self._codec = codec or Codec(*types)

    async def then(self, expected: Mapping[str, object]) -> None:
        """Expect exactly these entries in the view: each value as bytes, or what its JSON says."""
        async with staged(self._projection, self._model, self._history, self._codec) as stage:
            await (await stage.writer()).apply(stage.commits)
            found = await stage.view()
        raw = {key for key, value in expected.items() if isinstance(value, bytes)}
        shown = {key: value if key in raw else json.loads(value) for key, value in found.items()}
        wanted = {key: value if isinstance(value, bytes) else _plain(value) for key, value in expected.items()}
        if shown != wanted:
            raise AssertionError(f"{self._projection.name} shows {_listed(shown)}\nexpected {_listed(wanted)}")


def _history(projection: Projection[Tx], happened: Sequence[Happened]) -> Iterator[tuple[StreamId, Sequence[Message]]]:
    alone = StreamId(min(projection.categories, default="given"), "1")
    for item in happened:
        yield (alone, [item]) if isinstance(item, Message) else item


def _plain(value: object) -> Any:
    """Return a value as it comes back from JSON, which knows no tuples."""
    return json.loads(json.dumps(value))


def _listed(entries: Mapping[str, object]) -> str:
    return "".join(f"\n  {key}: {entries[key]!r}" for key in sorted(entries)) or "nothing"
