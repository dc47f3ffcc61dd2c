"""What the names and entries of views are made of, where several targets make them alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projections._projection import Name


def word_of(projection: str, generation: int) -> Name:
    """Put a generation behind words of letters, digits and underscores: tables, labels, types."""
    end = f"__{projection.replace('-', '_')}_{generation}"
    return lambda name: f"{name}{end}"


def key_of(projection: str, generation: int) -> Name:
    """Put a generation before keys, which are found by how they begin."""
    start = f"~{projection}.{generation}~"
    return lambda name: f"{start}{name}"


def canonical(value: object) -> str:
    """Return JSON that is the same for equal values, also of bytes and of what JSON does not know."""
    return json.dumps(value, sort_keys=True, default=lambda data: data.hex() if isinstance(data, bytes) else repr(data))
