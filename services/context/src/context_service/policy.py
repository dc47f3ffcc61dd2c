"""The policy: which scopes a role is granted in a phase. What its file does not grant is withheld."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from context_service.selection import SCOPES
from context_service.words import PHASES, ROLES, phase_named, role_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

PACKAGED: Final = files("context_service") / "data" / "prompt_scopes.yaml"


class PolicyFault(Exception):
    """The policy cannot be used. The message names the file, the place in it and what was expected there."""


class Verdict(NamedTuple):
    """How the scopes that somebody provides differ from those granted."""

    missing: list[str]
    extra: list[str]
    reason: str

    @property
    def allowed(self) -> bool:
        """Say whether they are the same."""
        return not self.missing and not self.extra


class Policy:
    """The scopes granted, by phase and role."""

    def __init__(self, cells: Mapping[tuple[str, str], tuple[str, ...]]) -> None:
        self._cells: Final = dict(cells)

    @classmethod
    def load(cls, path: Traversable = PACKAGED) -> Policy:
        """Read a policy from a YAML file: ``phases``, then phase, role and a list of scopes.

        Raises:
            PolicyFault: the file cannot be read, or grants what does not exist.
        """
        try:
            text = path.read_text(encoding="utf-8")
            cells = _cells(yaml.safe_load(text))
            # Of a key that stands twice the parser has kept the last, in silence.
            _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), "")
            return cls(cells)
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise PolicyFault(f"{path}: expected a policy in YAML: {error}") from None
        except _Wrong as error:
            raise PolicyFault(f"{path}: {error}") from None

    def scopes(self, phase: str, role: str) -> tuple[str, ...]:
        """Return what a role is granted in a phase, in the file's order; nothing where the file has no such cell."""
        return self._cells.get((phase, role), ())

    def verdict(self, phase: str, role: str, provided: Iterable[str]) -> Verdict:
        """Compare the scopes that somebody provides with those granted."""
        granted, given = set(self.scopes(phase, role)), set(provided)
        missing, extra = sorted(granted - given), sorted(given - granted)
        problems = [
            f"{what}: {', '.join(scopes)}" for what, scopes in (("missing", missing), ("extra", extra)) if scopes
        ]
        found = "; ".join(problems) or f"the {len(granted)} scopes are those of the policy"
        return Verdict(missing, extra, f"{role} in phase {phase}: {found}.")


class _Wrong(Exception):
    """Something is wrong in the file."""


def _check_keys(node: Any, place: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        where = f"{place}.{key.value}".lstrip(".")
        if key.value in seen:
            raise _Wrong(f"{where}: expected once, found again in line {key.start_mark.line + 1}")
        seen.add(key.value)
        _check_keys(value, where)


def _cells(content: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    if not isinstance(content, dict) or set(content) != {"phases"}:
        raise _Wrong(f"expected one key, phases; got {_told(content)}")
    cells: dict[tuple[str, str], tuple[str, ...]] = {}
    for phase_text, roles in _entries("phases", content["phases"], "a phase"):
        phase = phase_named(phase_text)
        if phase is None:
            raise _Wrong(f"phases.{phase_text}: expected one of {', '.join(PHASES)}")
        for role_text, scopes in _entries(f"phases.{phase_text}", roles, "a role"):
            place = f"phases.{phase_text}.{role_text}"
            role = role_named(role_text)
            if role is None:
                raise _Wrong(f"{place}: expected one of {', '.join(ROLES)}")
            if (phase, role) in cells:
                raise _Wrong(f"{place}: expected once, but another spelling of it stands before")
            cells[phase, role] = _scopes(place, scopes)
    return cells


def _entries(place: str, value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise _Wrong(f"{place}: expected a mapping from {key}, got {_told(value)}")
    yield from value.items()


def _scopes(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Wrong(f"{place}: expected a list of scopes, got {_told(value)}")
    for number, scope in enumerate(value):
        if scope not in SCOPES:
            raise _Wrong(f"{place}: expected one of {', '.join(SCOPES)}; got {_told(scope)}")
        if scope in value[:number]:
            raise _Wrong(f"{place}: expected {scope} once, found it again")
    return tuple(value)


def _told(value: Any) -> str:
    return repr(value)[:80]
