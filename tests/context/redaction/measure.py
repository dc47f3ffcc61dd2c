"""Prints what redaction misses, what it takes for a secret and is none, and how fast it is.

python -m tests.context.redaction.measure
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import context_service
from context_service.redaction import load_documents, load_rules, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PEPS = Path(context_service.__file__).parent / "data" / "peps.jsonl"


class Entry(NamedTuple):
    """A text with secrets."""

    kind: str
    source: str
    place: str
    text: str
    secrets: list[str]

    def left_in(self, text: str) -> list[str]:
        """Return the secrets that can still be seen in a text, by those too who undo its escapes."""
        seen = readings(text)
        return [secret for secret in self.secrets if secret in seen]


@lru_cache(maxsize=8)
def readings(text: str) -> str:
    """Return a text as it is, without its backslashes, and with what it says as JSON, however often it was that."""
    found = [text]
    if "\\" in text:
        found.append(text.replace("\\", ""))
    if text.startswith(("{", "[", '"')):
        with suppress(ValueError):
            found += map(readings, _strings(json.loads(text)))
    return "\n".join(found)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in (part for item in value.items() for part in item) if isinstance(value, dict) else value:
            yield from _strings(each)


def corpus() -> list[Entry]:
    """Return the texts with secrets."""
    return [Entry(**json.loads(line)) for line in (HERE / "secrets.jsonl").read_text(encoding="utf-8").splitlines()]


def ordinary() -> list[str]:
    """Return lines that look like secrets and are none."""
    return (HERE / "ordinary.txt").read_text(encoding="utf-8").splitlines()


def abstracts() -> list[str]:
    """Return the abstracts of the PEPs, each once."""
    lines = PEPS.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(found for line in lines if (found := json.loads(line).get("abstract"))))


def lines(texts: list[str]) -> list[str]:
    """Return the lines of texts that are not empty."""
    return [line for text in texts for line in text.splitlines() if line.strip()]


def main() -> None:
    """Print the numbers."""
    entries = corpus()
    missed = [entry for entry in entries if entry.left_in(redact(entry.text))]
    secrets = sum(len(entry.secrets) for entry in entries)
    kinds = len({entry.kind for entry in entries})
    for place in dict.fromkeys(entry.place for entry in missed):
        print(f"  missed {place}: {', '.join(sorted({entry.kind for entry in missed if entry.place == place}))}")
    print(f"{len(missed)} of {len(entries)} texts with {secrets} secrets of {kinds} kinds missed")
    for name, of in (("ordinary lines", ordinary()), ("lines of PEP abstracts", lines(abstracts()))):
        print(f"{sum(redact(line) != line for line in of)} of {len(of)} {name} touched")
    rules, texts = load_rules(*load_documents()), [text.encode() for text in abstracts()]
    rules.spans(texts[0])
    start = time.perf_counter()
    for text in texts:
        rules.spans(text)
    print(f"{sum(map(len, texts)) / (time.perf_counter() - start) / 1e6:.1f} MB/s of PEP abstracts")


if __name__ == "__main__":
    main()
