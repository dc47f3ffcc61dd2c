"""Makes the table of ``docs/benchmarks.md`` of a run's lines: ``python -m benchmarks.table FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

_DIGITS: Final = 3


def table(lines: str) -> str:
    """Return lines of JSON as a table in Markdown."""
    rows = [json.loads(line) for line in lines.splitlines()]
    head = ["| row | ours | theirs | unit | against | ratio |", "| --- | ---: | ---: | --- | --- | ---: |"]
    return "\n".join([*head, *map(_row, rows)])


def _row(row: dict[str, Any]) -> str:
    ours, theirs = (_number(row[side]) for side in ("ours", "theirs"))
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return f"| {row['name']} | {ours} | {theirs} | {row['unit']} | {row['against'] or ''} | {ratio} |"


def _number(value: float | None) -> str:
    """Return three significant digits, never in scientific form; nothing where there is no rival."""
    if value is None:
        return ""
    rounded = float(f"{value:.{_DIGITS}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (_DIGITS - 1) else f"{rounded:g}"


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text(encoding="utf-8")))
