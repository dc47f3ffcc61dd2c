"""Random chains of steps, and random histories of the events that they take.

There are three types with up to four schemas, all with the same two fields. A step from a (type, schema) leads to any
that come after it in the order of types and schemas, so that no chain is a circle, and leaves its mark in the trail.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from eventstore import Codec, Metadata, StreamId
from eventstore.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies as st
from upcasting import Step, Upcasting, renamed, retired, split, step

Name = tuple[int, int]

TYPES: Final = 3
SCHEMAS: Final = 4
STREAMS: Final = [StreamId("story", id) for id in ("a", "b", "c")]


def _classes() -> dict[Name, Any]:
    package = "tests.upcasting.histories"
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/upcasting/histories.proto",
        package=package,
        syntax="proto3",
        dependency=["eventstore/v1/options.proto"],
    )
    field = descriptor_pb2.FieldDescriptorProto
    names = [(type, schema) for type in range(TYPES) for schema in range(1, SCHEMAS + 1)]
    for type, schema in names:
        message = file.message_type.add(name=f"T{type}V{schema}")
        message.field.add(name="value", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
        message.field.add(name="trail", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
        option = options_pb2.EventOptions(type=f"story.t{type}", schema=schema)
        message.options.Extensions[options_pb2.event].CopyFrom(option)  # type: ignore[index]
    pool = descriptor_pool.Default()
    pool.Add(file)
    return {
        (type, schema): message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.T{type}V{schema}"))
        for type, schema in names
    }


CLASSES: Final = _classes()


class Evolution(NamedTuple):
    """How the program has changed: the newest schema of each type, and the steps from all that are older."""

    newest: tuple[int, ...]
    steps: list[Step[Any, Any]]

    @property
    def names(self) -> list[Name]:
        """Every (type, schema) that was ever written."""
        return [(type, schema) for type, newest in enumerate(self.newest) for schema in range(1, newest + 1)]

    @property
    def today(self) -> Codec:
        """The codec of messages that no step takes."""
        return Codec(*(CLASSES[name] for name in enumerate(self.newest)))

    @property
    def ever(self) -> Codec:
        """The codec of all messages."""
        return Codec(*(CLASSES[name] for name in self.names))

    @property
    def lazy(self) -> Upcasting:
        """The codec that reads all as today's."""
        return Upcasting(self.today, self.steps)


def _marked(cls: Any, old: Any, mark: str) -> Any:
    return cls(value=old.value + 1, trail=f"{old.trail}{mark}")


@st.composite
def _steps(draw: st.DrawFn, name: Name, later: list[Name]) -> Step[Any, Any]:
    type, schema = name
    mark = f">{type}.{schema}"
    kind = draw(st.sampled_from(["one", "split", "retired", "renamed"]))
    targets = draw(st.lists(st.sampled_from(later), min_size=1, max_size=3))
    new = [CLASSES[target] for target in targets]
    if kind == "one":
        return step(CLASSES[name], new[0])(lambda old: _marked(new[0], old, mark))
    if kind == "split":
        # Also none, where the value says so.
        return split(CLASSES[name], *new)(
            lambda old: [_marked(cls, old, f"{mark}/{index}") for index, cls in enumerate(new[: old.value % 4])]
        )
    if kind == "renamed":
        return renamed(f"story.t{type}", schema, new[0])
    return retired(f"story.t{type}", schema)


@st.composite
def evolutions(draw: st.DrawFn) -> Evolution:
    """Return how a program may have changed."""
    newest = tuple(draw(st.integers(1, SCHEMAS)) for _ in range(TYPES))
    names = Evolution(newest, []).names
    old = [name for name in names if name[1] < newest[name[0]]]
    return Evolution(newest, [draw(_steps(name, names[names.index(name) + 1 :])) for name in old])


class Written(NamedTuple):
    """A commit as its writer gave it."""

    stream: StreamId
    events: list[tuple[Name, int]]
    metadata: Metadata
    #: Seconds after the epoch.
    occurred: int | None

    @property
    def messages(self) -> list[Any]:
        """The messages."""
        return [CLASSES[name](value=value) for name, value in self.events]


def histories(evolution: Evolution) -> st.SearchStrategy[list[Written]]:
    """Return what may have been written while a program changed."""
    events = st.tuples(st.sampled_from(evolution.names), st.integers(0, 9))
    metadata = st.builds(Metadata, actor=st.sampled_from(["", "ann"]), correlation_id=st.sampled_from(["", "c-1"]))
    commit = st.builds(
        Written,
        st.sampled_from(STREAMS),
        st.lists(events, min_size=1, max_size=4),
        metadata,
        st.none() | st.integers(-(10**9), 10**9),
    )
    return st.lists(commit, max_size=12)
