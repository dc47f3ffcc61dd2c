"""Given what happened, when a command comes, then this happens: tests of a decider without a store."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventstore._handle import Decider

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Message)
X = TypeVar("X", bound=Exception)


def given(decider: Decider[C, S, E], *history: E) -> Given[C, S, E]:
    """Begin a test of a decider with what happened before; with no events, nothing has.

    ::

        given(orders, OrderPlaced(total=9)).when(Pay(by="ann")).then(OrderPaid(by="ann"))
        given(orders).when(Pay(by="ann")).raises(NoSuchOrder)
    """
    return Given(decider, history)


class Given(Generic[C, S, E]):
    """A decider and its history."""

    def __init__(self, decider: Decider[C, S, E], history: Iterable[E]) -> None:
        self._decider = decider
        self.state = reduce(decider.evolve, history, decider.initial)

    def when(self, command: C) -> When[E]:
        """Let the decider decide."""
        try:
            events = list(self._decider.decide(command, self.state))
        except Exception as error:  # noqa: BLE001 (whatever a decider refuses with)
            return When(command, [], error)
        # What was decided becomes history: a state that cannot take it is a mistake that shows here.
        reduce(self._decider.evolve, events, self.state)
        return When(command, events, None)


class When(Generic[E]):
    """What a decider made of a command."""

    def __init__(self, command: object, events: list[E], error: Exception | None) -> None:
        self._command = command
        self._events = events
        self._error = error

    def then(self, *expected: E) -> None:
        """Expect exactly these events in this order; without any, that nothing happens."""
        if self._error is not None:
            raise AssertionError(
                f"{self._command!r} was refused with {self._error!r}, expected {_listed(expected)}"
            ) from self._error
        if list(expected) != self._events:
            raise AssertionError(f"{self._command!r} caused {_listed(self._events)}, expected {_listed(expected)}")

    def raises(self, expected: type[X]) -> X:
        """Expect a refusal, and return it for a closer look."""
        if self._error is None:
            raise AssertionError(f"{self._command!r} caused {_listed(self._events)}, expected {expected.__name__}")
        if not isinstance(self._error, expected):
            raise AssertionError(  # noqa: TRY004 (the test fails, no type is wrong)
                f"{self._command!r} was refused with {self._error!r}, expected {expected.__name__}"
            ) from self._error
        return self._error


def _listed(events: Iterable[Message]) -> str:
    lines = [f"\n  {number}. {_shown(event)}" for number, event in enumerate(events, 1)]
    return "".join(lines) or "nothing"


def _shown(event: Message) -> str:
    fields = " ".join(f"{event}".split())
    return f"{event.DESCRIPTOR.name}({fields})"
