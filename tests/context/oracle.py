"""What the file itself says of a PEP's status on a date, worked out without anything of the project."""

from __future__ import annotations

from typing import Any


def status_on(lines: list[dict[str, Any]], pep: int, moment: int) -> str | None:
    """Return the status text of a PEP at a moment (Unix seconds) by the file's parsed lines, None before it came."""
    until = [line for line in lines if line["pep"] == pep and line["ts"] <= moment]
    told = [line["fields"]["Status"] or "" for line in until if "Status" in line["fields"]]
    if not until:
        return None
    return told[-1] if told else ""
