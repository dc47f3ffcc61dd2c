"""Steps joined to chains: from each old (type, schema) to today's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from eventstore import CannotDecode, Payload, event_name
from google.protobuf.message import DecodeError, Message

from upcasting._errors import InvalidSteps
from upcasting._steps import Step, full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Name: TypeAlias = tuple[str, int]
AnyStep: TypeAlias = Step[Any, Any]


class Chains:
    """What a set of steps makes of every event that one of them takes.

    Raises:
        InvalidSteps: two steps take the same events, steps lead round in a circle or to an older schema, or a message
            of one class would be taken as one of another.
    """

    def __init__(self, steps: Iterable[AnyStep]) -> None:
        taken: dict[Name, AnyStep] = {}
        for step in steps:
            if not isinstance(step, Step):
                raise InvalidSteps("steps", f"expected steps, got {step!r:.80}")
            name = (step.type, step.schema)
            if name in taken:
                raise InvalidSteps(step.name, f"{taken[name].name} takes {describe(name)} already")
            taken[name] = step
        #: The step that takes events of each type and schema, in the order in which they were given.
        self.by_name: Final[Mapping[Name, AnyStep]] = taken
        # The step after each class of message that a step returns.
        self._next: Final = {cls: taken.get(event_name(cls)) for step in taken.values() for cls in step.new}
        self._check()
        #: Every type and schema of which an event may become several or none.
        self.many: Final = frozenset(name for name in self.by_name if self._becomes_many(name))

    @property
    def fingerprint(self) -> str:
        """A text that is another one as soon as the chains make something else of an event."""
        lines = sorted(
            f"{step.type} {step.schema} {step.revision} {step.many} {[event_name(cls) for cls in step.new]}"
            for step in self.by_name.values()
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""

    def upcast(self, stored: Payload) -> Sequence[Message]:
        """Return what a stored event becomes that a step takes.

        Raises:
            CannotDecode: the payload does not parse, or a step fails.
        """
        step = self.by_name[stored.type, stored.schema]
        return () if step.old is None else self.carry(step, parsed(step.old, stored.payload))

    def carry(self, step: AnyStep, message: Message) -> Sequence[Message]:
        """Return what a message becomes, beginning with the step that takes it."""
        done: list[Message] = []
        waiting: list[tuple[AnyStep | None, Message]] = [(step, message)]
        while waiting:
            following, message = waiting.pop()
            if following is None:
                done.append(message)
                continue
            if following.old is None:
                continue
            results = following.results(_as(following.old, message))
            # The last one is taken up next, so that what becomes of the first comes first.
            waiting += [(self._next[type(result)], result) for result in reversed(results)]
        return done

    # What is wrong with steps

    def _check(self) -> None:
        for step in self.by_name.values():
            for cls in step.new:
                self._check_link(step, cls)
        done: set[Name] = set()
        for name in self.by_name:
            self._check_circle(name, done)

    def _check_link(self, step: AnyStep, cls: type[Message]) -> None:
        name = event_name(cls)
        if name[0] == step.type and name[1] < step.schema:
            raise InvalidSteps(step.name, f"leads from schema {step.schema} of {step.type} back to schema {name[1]}")
        following = self._next[cls]
        if following is None or following.old is None or following.old is cls:
            return
        if event_name(following.old) == name:
            raise InvalidSteps(
                following.name,
                f"takes {full_name(following.old)} as {describe(name)}, where {step.name} returns {full_name(cls)}",
            )

    def _check_circle(self, start: Name, done: set[Name]) -> None:
        """Go along all ways from a start; a way that meets itself is a circle."""
        path: dict[Name, None] = {}
        waiting: list[tuple[Name, bool]] = [(start, False)]
        while waiting:
            name, left = waiting.pop()
            if left:
                path.pop(name)
                done.add(name)
                continue
            if name in path:
                way = [*list(path)[list(path).index(name) :], name]
                raise InvalidSteps(self.by_name[name].name, f"leads in a circle: {' -> '.join(map(describe, way))}")
            if name in done or name not in self.by_name:
                continue
            path[name] = None
            waiting.append((name, True))
            waiting += ((event_name(cls), False) for cls in self.by_name[name].new)

    def _becomes_many(self, name: Name) -> bool:
        waiting, seen = [name], set[Name]()
        while waiting:
            name = waiting.pop()
            step = self.by_name.get(name)
            if step is None or name in seen:
                continue
            if step.many:
                return True
            seen.add(name)
            waiting += map(event_name, step.new)
        return False


def check_against(chains: Chains, today: dict[Name, type[Message]]) -> None:
    """Check that every step leads on to today's messages, and that no schema is left out.

    Raises:
        InvalidSteps: it is not so; the error names the step.
    """
    known = {*today, *chains.by_name}
    newest: dict[str, int] = {}
    for type, schema in today:
        newest[type] = max(newest.get(type, 0), schema)
    for step in chains.by_name.values():
        if step.schema > newest.get(step.type, step.schema):
            problem = f"never reached: the newest schema of {step.type} in the codec is {newest[step.type]}"
            raise InvalidSteps(step.name, problem)
        for cls in step.new:
            _check_end(step, cls, chains, today)
    for type, schema in sorted(known):
        for older in range(1, schema):
            if (type, older) not in known:
                raise InvalidSteps(
                    "steps",
                    f"{describe((type, older))} has no step, and {describe((type, schema))} is known: write one, or say"
                    f" retired({type!r}, {older}) where none was ever stored",
                )


def _check_end(step: AnyStep, cls: type[Message], chains: Chains, today: dict[Name, type[Message]]) -> None:
    name = event_name(cls)
    if name in chains.by_name:
        return
    if name not in today:
        raise InvalidSteps(step.name, f"leads to {describe(name)}, which is neither in the codec nor taken by a step")
    if today[name] is not cls:
        raise InvalidSteps(
            step.name,
            f"returns {full_name(cls)}, where the codec has {full_name(today[name])} as {describe(name)}",
        )


def describe(name: Name) -> str:
    """Return a type and schema for people."""
    return f"{name[0]} schema {name[1]}"


def parsed(cls: type[Message], payload: bytes) -> Message:
    """Return a payload as a message of a class.

    Raises:
        CannotDecode: it is none.
    """
    try:
        return cls.FromString(payload)
    except DecodeError as error:
        raise CannotDecode(f"payload is not a {full_name(cls)}: {error}") from None


def _as(cls: type[Message], message: Message) -> Message:
    """Return a message as one of a class, which is another one after a rename alone."""
    return message if type(message) is cls else parsed(cls, message.SerializeToString())
