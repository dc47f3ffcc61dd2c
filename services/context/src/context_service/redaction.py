"""What is secret in a text is taken out of it, by rules that are data: gitleaks' and our own, run by RE2.

Nothing is normalised: what is not secret stays as it is, byte for byte. Where a text was JSON it stays JSON.
"""

from __future__ import annotations

import json
import logging
import math
import re
import tomllib
from bisect import bisect_left, bisect_right
from collections import Counter
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import re2
from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

M = TypeVar("M", bound=Message)

_FILES: Final = ("gitleaks.toml", "redaction.toml")
_MARK: Final = re.compile(rb"\[redacted: [a-z0-9-]+\]")
# What may follow a token: gitleaks knows source code, where no sentence ends after one.
_ENDS: Final = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
_ENDS_IN_PROSE: Final = r"(?:[^0-9A-Za-z_/+=-]|$)"
# A backslash with what it escapes in JSON or in Python's repr; full-width ASCII; characters that nobody sees.
_ESCAPES: Final = re.compile(
    rb"""\\(?:([nrt"'/\\])|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))"""
    rb"|(\xef\xbc[\x81-\xbf]|\xef\xbd[\x80-\x9e])|\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf"
)
#: From ASCII to full-width.
_WIDENED: Final = 0xFEE0
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
#: JSON is put into JSON so many times, at most.
_DEEPEST: Final = 8
_JSON_STARTS: Final = ("{", "[", '"')
# No secret goes over it.
_BETWEEN: Final = "\n\0\n"
#: Of what a marker left of a find, so many letters or digits are a secret of their own.
_REST: Final = 4
#: One round may bring a secret to light that a find before it hid.
_ROUNDS: Final = 4
#: So many texts up to so long are remembered, which takes no more than some 30 MB for each of the two: a context names
#: thousands of things, most of them again and again.
_REMEMBERED: Final = {256: 32_768, 16_384: 1_024}
# Fields that we fill ourselves and that callers send back to us.
_OURS: Final = frozenset(
    {"hash", "position", "min_position", "version", "page_token", "next_page_token", "timestamp", "transitioned_at"}
)


class UnusableRule(Exception):
    """A rule that RE2 cannot run. The message names it: leaving it out would be a leak that nobody sees."""


class _Allowed(NamedTuple):
    """What a rule finds and is no secret all the same."""

    #: Of ``secret`` or ``match``.
    target: str
    #: Whether all that is given must hold, or one.
    all: bool
    regexes: tuple[Any, ...]
    stopwords: tuple[bytes, ...]

    def holds(self, match: Any, secret: bytes) -> bool:
        """Return whether a find is let through."""
        looked_at = match.group() if self.target in ("match", "line") else secret
        checks = []
        if self.regexes:
            checks.append(any(regex.search(looked_at) for regex in self.regexes))
        if self.stopwords:
            lowered = secret.lower()
            checks.append(any(word in lowered for word in self.stopwords))
        return bool(checks) and (all(checks) if self.all else any(checks))


class _Rule(NamedTuple):
    """One way to find a secret."""

    kind: str
    regex: Any
    #: Which group is the secret; 0 is the first that took part, or else all.
    group: int
    #: A secret has more bits a character than this.
    entropy: float
    allowed: tuple[_Allowed, ...]

    def finds(self, view: bytes) -> Iterator[_Span]:
        """Yield where a text has such secrets."""
        for match in self.regex.finditer(view):
            group = self.group or next((n for n in range(1, self.regex.groups + 1) if match.group(n)), 0)
            start, end = _trimmed(view, *match.span(group))
            secret = view[start:end]
            if not secret or (self.entropy and _entropy(secret) <= self.entropy):
                continue
            if not any(allowed.holds(match, secret) for allowed in self.allowed):
                yield _Span(start, end, self.kind)


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


class Rules:
    """Rules, and the words without which none of them finds anything.

    Raises:
        UnusableRule: RE2 cannot run one.
    """

    def __init__(self, rules: Iterable[tuple[_Rule, Iterable[str]]]) -> None:
        self._always: list[_Rule] = []
        by_word: dict[str, list[_Rule]] = {}
        for rule, words in rules:
            found = [word.lower() for word in words]
            for word in found:
                by_word.setdefault(word, []).append(rule)
            if not found:
                self._always.append(rule)
        self._of_word = list(by_word.values())
        self._words = re2.Set.SearchSet(_options(case_sensitive=False, literal=True))
        for word in by_word:
            self._words.Add(word)
        self._words.Compile()

    def spans(self, view: bytes) -> list[_Span]:
        """Return where a text has secrets."""
        # A dict keeps the order of the rules and each but once.
        rules = dict.fromkeys(self._always)
        for number in sorted(self._words.Match(view) or ()):
            rules.update(dict.fromkeys(self._of_word[number]))
        return [span for rule in rules for span in rule.finds(view)]


def load_rules(*documents: Mapping[str, Any], only_certain: bool = False) -> Rules:
    """Return the rules of documents in gitleaks' format.

    A document may list under ``certain`` the rules, of any document, whose finds are secrets whatever stands around.

    Raises:
        UnusableRule: RE2 cannot run one.
    """
    certain = {kind for document in documents for kind in document.get("certain", ())}
    return Rules(
        (_rule(rule, document), rule.get("keywords", ()))
        for document in documents
        for rule in document["rules"]
        # Those that are about files of certain names say nothing about a text.
        if "regex" in rule and "path" not in rule and (rule["id"] in certain or not only_certain)
    )


def _rule(rule: Mapping[str, Any], document: Mapping[str, Any]) -> _Rule:
    tables = [*document.get("allowlists", [document.get("allowlist", {})]), *rule.get("allowlists", ())]
    # One that is about paths or commits too allows no text, which has neither.
    tables = [t for t in tables if t.get("condition", "OR") == "OR" or not (t.get("paths") or t.get("commits"))]
    allowed = tuple(
        _Allowed(
            table.get("regexTarget", "secret"),
            table.get("condition", "OR") == "AND",
            tuple(_compiled(rule["id"], regex) for regex in table.get("regexes", ())),
            tuple(word.lower().encode() for word in table.get("stopwords", ())),
        )
        for table in tables
    )
    regex = _compiled(rule["id"], rule["regex"].replace(_ENDS, _ENDS_IN_PROSE))
    return _Rule(rule["id"], regex, rule.get("secretGroup", 0), rule.get("entropy", 0.0), allowed)


def _compiled(kind: str, regex: str) -> Any:
    try:
        return re2.compile(regex, _options())
    except re2.error as error:
        raise UnusableRule(f"{kind}: {error}") from None


def _options(**chosen: Any) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    for name, value in chosen.items():
        setattr(options, name, value)
    return options


@cache
def load_documents() -> tuple[dict[str, Any], ...]:
    """Return the rules that come with the service: gitleaks' and ours."""
    data = files("context_service") / "data"
    return tuple(tomllib.loads((data / name).read_text(encoding="utf-8")) for name in _FILES)


@cache
def _every_rule() -> Rules:
    return load_rules(*load_documents())


@cache
def _certain_rules() -> Rules:
    return load_rules(*load_documents(), only_certain=True)


def redact(text: str) -> str:
    """Return a text with ``[redacted: KIND]`` in place of each secret. Doing it again changes nothing."""
    return _once(text, _every_rule())


def redact_certain(text: str) -> str:
    """Return a text without private keys and tokens of known formats, for what is kept for ever."""
    return _once(text, _certain_rules())


def _redacted(text: str, rules: Rules) -> str:
    # Who reads JSON sees each string by itself and through escapes: its end is an end, and its escapes hide nothing.
    is_json, value = _parsed(text) if text.lstrip().startswith(_JSON_STARTS) else (False, None)
    if not is_json:
        return _replaced(text, rules)
    try:
        if not isinstance(value, str) and not _has_any(value, rules):
            return text
        each = _each_string(value, rules)
    except RecursionError:
        return _replaced(text, rules)
    if each == value:
        return text
    found = _replaced(text, rules)
    return found if _parsed(found) == (True, each) else json.dumps(each, ensure_ascii=False)


def _has_any(value: Any, rules: Rules) -> bool:
    """Return whether a value of JSON has a secret: as a whole, which is ten times faster than one by one."""
    strings, members = _taken_apart(value)
    whole = _BETWEEN.join((json.dumps(value, ensure_ascii=False, separators=(",\n", ": ")), *members, *strings))
    if _spans(whole.encode("utf-8", "surrogatepass"), rules):
        return True
    return any(_once(each, rules) != each for each in strings if each.lstrip().startswith(_JSON_STARTS))


def _taken_apart(value: Any) -> tuple[list[str], list[str]]:
    """Return every string and key in a value of JSON, and each number with its key."""
    strings, members, rest = [], [], [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            strings.append(each)
        elif isinstance(each, list):
            rest += each
        elif isinstance(each, dict):
            strings += each
            rest += each.values()
            members += [_member(key, of) for key, of in each.items() if type(of) in (int, float)]
    return strings, members


def _member(key: str, value: Any) -> str:
    return json.dumps({key: str(value)}, ensure_ascii=False)


_memories: Final = [(chars, lru_cache(maxsize=texts)(_redacted)) for chars, texts in _REMEMBERED.items()]


def _once(text: str, rules: Rules) -> str:
    for chars, remembered in _memories:
        if len(text) <= chars:
            return remembered(text, rules)
    return _redacted(text, rules)


def _parsed(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _each_string(value: Any, rules: Rules) -> Any:
    if isinstance(value, str):
        return _once(value, rules)
    if isinstance(value, list):
        return [_each_string(each, rules) for each in value]
    if isinstance(value, dict):
        return dict(_each_member(key, each, rules) for key, each in value.items())
    return value


def _each_member(key: str, value: Any, rules: Rules) -> tuple[str, Any]:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        # The key may be what makes a secret of the value.
        member = _member(key, value)
        found = _replaced(member, rules)
        is_json, entry = _parsed(found)
        if found != member and is_json:
            ((key, value),) = entry.items()
    return _replaced(key, rules), _each_string(value, rules)


def _replaced(text: str, rules: Rules) -> str:
    # Half of a surrogate pair is no text, but may be on its way into a log.
    found = text.encode("utf-8", "surrogatepass")
    for _ in range(_ROUNDS):
        before, found = found, _round(found, rules)
        if found == before:
            break
    return found.decode("utf-8", "surrogatepass")


def _round(text: bytes, rules: Rules) -> bytes:
    spans = _spans(text, rules)
    if not spans:
        return text
    marks = [match.span() for match in _MARK.finditer(text)]
    parts, done = [], 0
    for start, end, kind in _merged(rest for span in spans for rest in _without(text, span, marks)):
        parts += [text[done:start], b"[redacted: %s]" % kind.encode()]
        done = end
    return b"".join((*parts, text[done:]))


def _spans(text: bytes, rules: Rules) -> list[_Span]:
    """Return where a text has secrets, for those too who undo its escapes, however often, and see no difference."""
    spans, views = rules.spans(text), [text]
    edges: list[list[int]] = []
    while len(views) <= _DEEPEST and (view := _plain(views[-1])) != views[-1]:
        if found := rules.spans(view):
            edges += map(_edges, views[len(edges) :])
            spans += [_Span(_traced(edges, start), _traced(edges, end), kind) for start, end, kind in found]
        views.append(view)
    return spans


def _plain(text: bytes) -> bytes:
    return text if text.isascii() and b"\\" not in text else _ESCAPES.sub(_unescaped, text)


def _unescaped(match: re.Match[bytes]) -> bytes:
    char, four, two, wide = match.groups()
    if char:
        return _ESCAPED.get(char, char)
    if wide:
        return bytes([ord(wide.decode()) - _WIDENED])
    code = four or two
    return chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else b""


def _edges(text: bytes) -> list[int]:
    """Return where in a text each byte starts that is left with its escapes undone, and where the last one ends."""
    edges, done = [0], 0
    for match in _ESCAPES.finditer(text):
        start, end = match.span()
        edges += range(done + 1, start + 1)
        edges += [end] * len(_unescaped(match))
        done = end
    return [*edges, *range(done + 1, len(text) + 1)]


def _traced(edges: list[list[int]], place: int) -> int:
    for each in reversed(edges):
        place = each[place]
    return place


def _without(text: bytes, span: _Span, marks: list[tuple[int, int]]) -> Iterator[_Span]:
    """Yield what of a find is no marker of ours."""
    first = bisect_right(marks, span.start, key=lambda mark: mark[1])
    touched = marks[first : bisect_left(marks, span.end, key=lambda mark: mark[0])]
    start = span.start
    for mark_start, mark_end in (*touched, (span.end, span.end)):
        rest = text[start:mark_start]
        if rest and (not touched or sum(chr(byte).isalnum() for byte in rest) >= _REST):
            yield _Span(start, mark_start, span.kind)
        start = mark_end


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """Return spans in order, those that overlap as one, which has the kind of the first."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if merged and span.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _trimmed(view: bytes, start: int, end: int) -> tuple[int, int]:
    """Return a span without the space at its ends, which may be what an escape was."""
    secret = view[start:end]
    return end - len(secret.lstrip()), start + len(secret.rstrip())


def _entropy(secret: bytes) -> float:
    """Return Shannon's entropy in bits a character."""
    length = len(secret)
    return -sum(count / length * math.log2(count / length) for count in Counter(secret).values())


def redacted(message: M) -> M:
    """Redact every string in a message, keys and values of maps too; returns the same message, changed."""
    if message.DESCRIPTOR.name == "FieldChange":
        _redact_change(message)
    for field, value in message.ListFields():
        if field.name in _OURS:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            _redact_map(value, holds_messages=field.message_type.fields_by_name["value"].message_type is not None)
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else (value,):
                redacted(each)
        elif field.type == field.TYPE_STRING:
            if field.is_repeated:
                value[:] = [redact(each) for each in value]
            elif (found := redact(value)) != value:
                setattr(message, field.name, found)
    return message


def _redact_change(change: Any) -> None:
    """Redact what a field was and became, of which its name may make a secret."""
    name = change.field.rpartition(".")[2]
    for side in ("before", "after"):
        if value := getattr(change, side):
            setattr(change, side, _entry_once(name, value)[1])


def _redact_map(entries: Any, *, holds_messages: bool) -> None:
    for key, value in list(entries.items()):
        if holds_messages:
            redacted(value)
            if isinstance(key, str) and redact(key) != key:
                entries[redact(key)].CopyFrom(value)
                del entries[key]
        elif isinstance(value, str):
            found, told = _entry_once(str(key), value)
            if told != value:
                entries[key] = told
            if found != str(key):
                entries[found] = entries.pop(key)


def _redacted_entry(key: str, value: str) -> tuple[str, str]:
    """Return an entry of a map, whose value may be JSON text; its key may be what makes a secret of it."""
    if not _parsed(value)[0]:
        return _each_member(key, value, _every_rule())
    member = f"{{{json.dumps(key, ensure_ascii=False)}: {value}}}"
    found = redact(member)
    if found == member:
        return key, value
    ((key, plain),) = json.loads(found).items()
    return key, json.dumps(plain, ensure_ascii=False)


_remembered_entry: Final = lru_cache(maxsize=max(_REMEMBERED.values()))(_redacted_entry)


def _entry_once(key: str, value: str) -> tuple[str, str]:
    short = len(key) + len(value) <= min(_REMEMBERED)
    return _remembered_entry(key, value) if short else _redacted_entry(key, value)


class RedactingFilter(logging.Filter):
    """Redacts what a record says, its exception and stack too. For handlers, since a logger's does not see children."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without secrets."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMATTER.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        # The text says it all; a formatter of another kind would write the exception itself.
        record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


_FORMATTER: Final = logging.Formatter()
