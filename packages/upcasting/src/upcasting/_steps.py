"""Steps: what becomes of an event of one (type, schema) in the next."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, get_type_hints

from eventstore import CannotDecode, event_name
from google.protobuf.message import Message

from upcasting._errors import InvalidSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Old = TypeVar("Old", bound=Message)
New = TypeVar("New", bound=Message)
Result = TypeVar("Result")


class Step(Generic[Old, Result]):
    """One step. Called with a message it does what its function does, so that it can be tested like one.

    Attributes:
        type: the type of the events it takes.
        schema: their schema.
        old: the class as which they are decoded; None where nobody looks at them any more.
        new: the classes of what it returns.
        many: it may return several messages or none.
        revision: raised by its author when it returns something else than before for the same event.
        name: what errors call it.
    """

    def __init__(
        self,
        type: str,
        schema: int,
        *,
        old: type[Message] | None,
        new: tuple[type[Message], ...],
        many: bool,
        function: Callable[[Old], Result],
        name: str,
        revision: int = 1,
    ) -> None:
        self.type: Final = type
        self.schema: Final = schema
        self.old: Final = old
        self.new: Final = new
        self.many: Final = many
        self.revision: Final = revision
        self.name: Final = name
        self._function = function

    @property
    def renames(self) -> bool:
        """Whether it leaves the message as it is and gives it another name."""
        return self.old in self.new

    def __call__(self, message: Old) -> Result:
        """Do the step for one message, without any check."""
        return self._function(message)

    def __repr__(self) -> str:
        return f"<step {self.name}: {self.type} schema {self.schema}>"

    def results(self, message: Any) -> Sequence[Message]:
        """Return what a message becomes, after a look at what the function did.

        Raises:
            CannotDecode: the function raised, returned something else than it promised, or changed its input.
        """
        # Bytes are compared, not messages: one that holds a NaN is not even equal to itself.
        before = message.SerializeToString(deterministic=True)
        try:
            returned: Any = self._function(message)
        except (Exception, SystemExit) as error:
            raise CannotDecode(f"step {self.name} raised {type(error).__name__}: {error}") from error
        if message.SerializeToString(deterministic=True) != before:
            raise CannotDecode(f"step {self.name} changed the message it was given; steps return new ones")
        if not self.many:
            if type(returned) is not self.new[0]:
                self._refuse(returned)
            return (returned,)
        if not isinstance(returned, list | tuple):
            self._refuse(returned)
        for one in returned:
            if type(one) not in self.new:
                self._refuse(one)
        return tuple(returned)

    def _refuse(self, returned: object) -> NoReturn:
        if inspect.iscoroutine(returned):
            returned.close()
        expected = " or ".join(full_name(cls) for cls in self.new)
        if self.many:
            expected = f"a list of {expected}"
        raise CannotDecode(f"step {self.name} returned {_kind(returned)}, expected {expected}")


def step(old: type[Old], new: type[New], *, revision: int = 1) -> Callable[[Callable[[Old], New]], Step[Old, New]]:
    """Declare a function to be the step from one schema to the next: one event becomes one.

    The function is pure: it returns a new message and leaves its input alone.

    Args:
        old: the message as it was stored; its ``.proto`` gives it the type and schema of then.
        new: the message of the next schema, of the same type or another.
        revision: raise it when the function's meaning changes, so that snapshots made with the old one are not read.

    Raises:
        InvalidSteps: one of the two is no message class, or the function is annotated to return something else.
    """

    def declare(function: Callable[[Old], New]) -> Step[Old, New]:
        declared = _declared(old, (new,), function, many=False, revision=revision)
        returned = _returned(function)
        if isinstance(returned, type) and issubclass(returned, Message) and returned not in (new, Message):
            raise InvalidSteps(declared.name, f"it returns {returned.__name__}, expected {full_name(new)}")
        return declared

    return declare


def split(
    old: type[Old], *new: type[Message], revision: int = 1
) -> Callable[[Callable[[Old], Sequence[Message]]], Step[Old, Sequence[Message]]]:
    """Declare a function to be a step that makes several events of one, or none: it returns a list.

    Args:
        old: the message as it was stored.
        *new: the classes of all messages that the list may hold.
        revision: as of ``step``.

    Raises:
        InvalidSteps: there is no class or something that is no message class.
    """

    def declare(function: Callable[[Old], Sequence[Message]]) -> Step[Old, Sequence[Message]]:
        return _declared(old, new, function, many=True, revision=revision)

    return declare


def renamed(type: str, schema: int, new: type[New]) -> Step[New, New]:
    """Return the step for events whose bytes are those of a message under another type name or schema number."""
    name = f"renamed({type!r}, {schema})"
    _check_classes(name, (new,))
    return Step(type, schema, old=new, new=(new,), many=False, function=lambda message: message, name=name)


def retired(type: str, schema: int) -> Step[Message, Sequence[Message]]:
    """Return the step for events that mean nothing any more: they become none, and no class is needed."""
    return Step(type, schema, old=None, new=(), many=True, function=lambda _: (), name=f"retired({type!r}, {schema})")


def full_name(cls: type[Message]) -> str:
    """Return what protobuf calls a message class."""
    return cls.DESCRIPTOR.full_name


def _declared(
    old: type[Message],
    new: tuple[type[Message], ...],
    function: Callable[[Any], Result],
    *,
    many: bool,
    revision: int,
) -> Step[Any, Result]:
    name = f"{function.__module__}.{function.__qualname__}" if hasattr(function, "__qualname__") else repr(function)
    _check_classes(name, (old, *new))
    if not new:
        raise InvalidSteps(name, "expected the classes of what it returns; retired() needs no function")
    if inspect.iscoroutinefunction(function):
        raise InvalidSteps(name, "expected a plain function, got a coroutine function")
    type, schema = event_name(old)
    return Step(type, schema, old=old, new=new, many=many, function=function, name=name, revision=revision)


def _check_classes(name: str, classes: Sequence[object]) -> None:
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Message)):
            raise InvalidSteps(name, f"expected message classes, got {cls!r:.80}")


def _returned(function: Callable[..., object]) -> object:
    """Return what a function is annotated to return; None where that is not known at run time."""
    try:
        return get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        return None


def _kind(value: object) -> str:
    return full_name(type(value)) if isinstance(value, Message) else type(value).__name__
