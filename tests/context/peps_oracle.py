"""What the file of the PEPs itself says was true at a moment, worked out without anything of the project."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, NamedTuple

STATES = {
    "PROPOSED": "draft draught incomplete deferred postponed proposed",
    "APPROVED": "accepted provisional active approved",
    "IMPLEMENTED": "final finished complete implemented",
    "REJECTED": "rejected withdrawn withdrawal",
    "DEPRECATED": "superseded replaced deprecated",
}
STATE_OF = {word: state for state, words in STATES.items() for word in words.split()} | {"april fool!": "REJECTED"}


class Then(NamedTuple):
    """A story at a moment."""

    #: The state of each decision, and its status in the words of the file.
    decisions: dict[str, tuple[str, str]]
    #: What held: source, kind, target.
    relations: set[tuple[str, str, str]]


def homes(lines: list[dict[str, Any]]) -> dict[int, str]:
    """Return the story of each PEP: that of the first version which any of its lines names, else the process's."""
    found: dict[int, str] = {}
    for line in lines:
        version = re.search(r"[0-9]+\.[0-9]+", line["fields"].get("Python-Version") or "")
        if version and line["pep"] not in found:
            found[line["pep"]] = "python-" + version[0]
    return {line["pep"]: found.get(line["pep"], "process") for line in lines}


def story_after(lines: list[dict[str, Any]], story: str, count: int) -> Then | None:
    """Return a story after so many lines of the file; None where it has not begun."""
    where = homes(lines)
    told = [line for line in lines[:count] if where[line["pep"]] == story]
    if not told:
        return None
    words: dict[str, str] = {}
    # Who states what; a relation holds while anybody does.
    stated: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for line in told:
        me, fields = f"PEP-{line['pep']}", line["fields"]
        words.setdefault(me, "")
        if "Status" in fields:
            words[me] = fields["Status"] or ""
        if "Requires" in fields:
            said = {(me, "DEPENDS_ON", other) for other in _others(line["pep"], fields["Requires"])}
            stated[me] = {link for link in stated[me] if link[1] != "DEPENDS_ON"} | said
        if "references" in line:
            said = {(me, "RELATES_TO", other) for other in _others(line["pep"], line["references"])}
            stated[me] = {link for link in stated[me] if link[1] != "RELATES_TO"} | said
        if "Replaces" in fields:
            said = {(me, "SUPERSEDES", other) for other in _others(line["pep"], fields["Replaces"])}
            stated[me] = {link for link in stated[me] if link[:2] != (me, "SUPERSEDES")} | said
        if "Superseded-By" in fields:
            said = {(other, "SUPERSEDES", me) for other in _others(line["pep"], fields["Superseded-By"])}
            stated[me] = {link for link in stated[me] if link[1:] != ("SUPERSEDES", me)} | said
    decisions = {id: (STATE_OF.get(text.strip().lower(), "PROPOSED"), text) for id, text in words.items()}
    return Then(decisions, set().union(*stated.values()))


def _others(pep: int, peps: list[int] | None) -> set[str]:
    return {f"PEP-{other}" for other in peps or () if other != pep}
