"""Secrets: found in any place, taken out without touching anything else, on every way out and at the way in."""

from __future__ import annotations

import copy
import io
import json
import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from context_service.commands import parse_changes
from context_service.events.v1 import events_pb2
from context_service.redaction import (
    RedactingFilter,
    UnusableRule,
    load_documents,
    load_rules,
    redact,
    redact_certain,
    redacted,
)
from context_service.v1 import context_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from tests.context.redaction.generate import WITHIN, entries
from tests.context.redaction.measure import abstracts, corpus, lines, ordinary

if TYPE_CHECKING:
    from tests.context.redaction.measure import Entry

CORPUS = corpus()
GITHUB = next(entry for entry in CORPUS if entry.kind == "github token" and entry.place == "alone").text
KEY = next(entry for entry in CORPUS if entry.kind == "rsa key" and entry.place == "alone").text
#: Words that make no key of a secret, nor an end of one.
ORDINARY = st.lists(
    st.sampled_from(["the", "build", "Über", "журнал", "三", "🎉", "(see above)", "42", "—", "D-7", "ok.", "“so”"]),
    max_size=6,
).map(" ".join)


def missed(by: Any = redact) -> set[str]:
    """Return the kinds of which a secret can still be seen."""
    return {entry.kind for entry in CORPUS if entry.left_in(by(entry.text))}


def test_the_corpus_is_what_the_generator_writes() -> None:
    """The corpus comes from its generator, which is seeded, and not from a rule set."""
    assert [entry._asdict() for entry in CORPUS] == entries()


def test_no_secret_is_missed() -> None:
    """No secret of the corpus can be seen, wherever it stands."""
    assert missed() == set()


def test_json_passwords_cloud_keys_bare_jwts_and_pem_blocks() -> None:
    """What the service before missed is found, and plain text is not mangled."""
    for text, expected in {
        '{"user": "ada", "password": "hunter2"}': '{"user": "ada", "password": "[redacted: password]"}',
        "the key AKIAQ4WZ7JKLM2NOPRST, since May": "the key [redacted: aws-access-token], since May",
        "postgres://app:hunter2@db/main": "postgres://app:[redacted: url-password]@db/main",
        "the password policy and the token count": "the password policy and the token count",
    }.items():
        assert redact(text) == expected
    assert redact(f"{KEY}\nend") == "[redacted: private-key]\nend"


def test_ordinary_lines_are_not_touched() -> None:
    """What looks like a secret and is none stays, line by line and as one text."""
    assert [line for line in ordinary() if redact(line) != line] == []
    assert redact("\n".join(ordinary())) == "\n".join(ordinary())


@pytest.mark.parametrize("place", WITHIN)
def test_ordinary_lines_are_not_touched_within_others(place: str) -> None:
    """Nor do they when a program passed them on."""
    passed_on = map(WITHIN[place], [*ordinary(), *lines(abstracts())])
    assert [text for text in passed_on if redact(text) != text] == []


@pytest.mark.parametrize("depth", [100, 600, 990, 100_000])
def test_json_too_deep_to_be_read(depth: int) -> None:
    """JSON of any depth is redacted, read or not."""
    text = "[" * depth + '"password: hunterhunter"' + "]" * depth
    assert redact(text) == "[" * depth + '"password: [redacted: password-unquoted]"' + "]" * depth


def test_false_alarms_in_pep_abstracts() -> None:
    """Under one line in a thousand of ordinary text is touched."""
    found = lines(abstracts())
    touched = [line for line in found if redact(line) != line]
    assert len(touched) * 1000 < len(found), touched


def test_idempotent() -> None:
    """Redacting again changes nothing."""
    for entry in CORPUS:
        once = redact(entry.text)
        assert redact(once) == once


@given(st.sampled_from([entry for entry in CORPUS if entry.place == "alone"]), ORDINARY, ORDINARY)
def test_what_stands_around_stays(entry: Entry, before: str, after: str) -> None:
    """Ordinary text around a secret hides it from nobody and is left byte for byte."""
    found = redact(f"{before}\n{entry.text}\n{after}")
    assert entry.left_in(found) == []
    assert found.startswith(f"{before}\n")
    assert found.endswith(f"\n{after}")


@given(st.text(), st.text())
def test_any_text(before: str, after: str) -> None:
    """Any text can be redacted, twice with the same result, and a token in it is gone."""
    found = redact(f"{before} {GITHUB} {after}")
    assert GITHUB not in found
    assert redact(found) == found


def test_one_find_hides_no_other() -> None:
    """What a rule finds first does not hide what it would find next."""
    found = redact("Cookie: sid=Zk3vQ8wLr2; lang=en; auth=Pq7xTn4bYs")
    assert found == "Cookie: sid=[redacted: cookie]; lang=en; auth=[redacted: cookie]"


def test_half_of_a_surrogate_pair() -> None:
    """What is no Unicode text, as a log may have, hides nothing and stays."""
    token = next(entry for entry in CORPUS if entry.kind == "npm token").secrets[0]
    assert redact(f"\ud800{token}\udfff") == "\ud800[redacted: npm-access-token]\udfff"


#: No scanner takes these for secrets, since people could guess them; and what is left of a key whose start was cut off.
WEAK = (
    "https://h/cb?token=let-me-in",
    "Ocp-Apim-Subscription-Key: let-me-in",
    "<password>letmein</password>",
    KEY.split("\n", 3)[3],
)
OURS = [rule["id"] for rule in load_documents()[1]["rules"]]


@pytest.mark.parametrize("family", ["gitleaks", *OURS])
def test_each_rule_is_needed(family: str) -> None:
    """Without a rule of ours, or without gitleaks', something is missed or has another name."""
    theirs, ours = copy.deepcopy(load_documents())
    if family == "gitleaks":
        theirs["rules"] = []
    else:
        ours["rules"] = [rule for rule in ours["rules"] if rule["id"] != family]
    less = load_rules(theirs, ours)
    assert any(
        covered(spans) != covered(less.spans(text))
        for text, spans in spans_of_corpus().items()
        if family == "gitleaks" or family in {span.kind for span in spans}
    )


@cache
def spans_of_corpus() -> dict[bytes, Any]:
    rules = load_rules(*load_documents())
    return {text.encode(): rules.spans(text.encode()) for text in (*(entry.text for entry in CORPUS), *WEAK)}


def covered(spans: Any) -> set[int]:
    return {place for start, end, _ in spans for place in range(start, end)}


def test_a_rule_that_re2_cannot_run_is_told() -> None:
    """A rule that cannot be run is an error that names it, not a leak that nobody sees."""
    with pytest.raises(UnusableRule, match=r"^ahead: "):
        load_rules({"rules": [{"id": "ahead", "regex": "(?=x)y"}]})


def test_an_allowlist_with_and_needs_all() -> None:
    """An allowlist with the condition AND lets through what meets all of it, one about paths too nothing."""
    both = {"condition": "AND", "regexes": ["^x"], "stopwords": ["demo"]}
    rule = {
        "id": "x",
        "regex": "x[a-z]+",
        "allowlists": [both, both | {"paths": ["a"], "stopwords": [], "regexes": ["q"]}],
    }
    rules = load_rules({"rules": [rule]})
    assert [len(rules.spans(text)) for text in (b"xdemo", b"xother", b"xq")] == [0, 1, 1]


def test_certain_is_certain() -> None:
    """On the way in private keys and tokens of known formats go, and nothing ordinary does."""
    for text in [*ordinary(), *lines(abstracts()), '{"password": "hunter2"}']:
        assert redact_certain(text) == text
    assert {"github token", "rsa key", "pem cut short", "pem in json in json", "gcp service account", "jwt"}.isdisjoint(
        missed(redact_certain)
    )


@pytest.mark.parametrize("by", [redact, redact_certain])
def test_json_stays_json(by: Any) -> None:
    """A text that is JSON is JSON afterwards, with the same keys."""
    for entry in CORPUS[::4]:
        found = json.loads(by(json.dumps([{"note": entry.text, "password": 'a"b\\'}, 1])))
        assert (set(found[0]), found[1]) == ({"note", "password"}, 1)
        assert by is redact_certain or entry.left_in(found[0]["note"]) == []


@pytest.mark.parametrize("by", [redact, redact_certain])
def test_a_key_cut_short_swallows_nothing(by: Any) -> None:
    """What has a beginning in one string of JSON and an end in another is nothing that was between them."""
    cut = "\n".join(KEY.splitlines()[:5])
    found = json.loads(by(json.dumps({"note": cut, "title": "kept", "text": cut})))
    assert (list(found), found["title"]) == (["note", "title", "text"], "kept")
    assert cut.splitlines()[1] not in found["text"]


def test_weak_secrets() -> None:
    """What stands where secrets stand is one, however weak."""
    assert [redact(text) for text in WEAK[:3]] == [
        "https://h/cb?token=[redacted: url-query]",
        "Ocp-Apim-Subscription-Key: [redacted: key-header]",
        "<password>[redacted: element]</password>",
    ]


def test_escapes_hide_nothing() -> None:
    """A secret written with escapes of JSON is found, since its reader undoes them."""
    hidden = '{"note": "' + "".join(f"\\u{ord(char):04x}" for char in GITHUB) + '"}'
    assert json.loads(redact(hidden)) == {"note": "[redacted: github-pat]"}


def test_messages() -> None:
    """Every string of a message is redacted: nested, repeated, in maps; what we fill ourselves is not looked at."""
    pack = pb.RoleContextPack(role="developer", decisions=[pb.Decision(id="D-1", title=GITHUB)])
    answer = pb.RehydrateSessionResponse(case_id="S-1", packs={"developer": pack, GITHUB: pack})
    assert redacted(answer) is answer
    assert answer.packs["developer"].decisions[0].title == "[redacted: github-pat]"
    assert set(answer.packs) == {"developer", "[redacted: github-pat]"}
    node = pb.GraphNode(
        id="D-1", labels=[GITHUB], properties={"password": "letmein", "n": '{"api_key": "x1y2"}', GITHUB: "a"}
    )
    assert redacted(node) == pb.GraphNode(
        id="D-1",
        labels=["[redacted: github-pat]"],
        properties={
            "password": "[redacted: password]",
            "n": '{"api_key": "[redacted: secret]"}',
            "[redacted: github-pat]": "a",
        },
    )
    place = pb.GetContextResponse(position=GITHUB, hash=GITHUB)
    assert redacted(place) == pb.GetContextResponse(position=GITHUB, hash=GITHUB)


def test_attributes_stay_json() -> None:
    """An attribute is JSON text, and stays so where its key makes a secret of it."""
    event = events_pb2.DecisionAddedEvent(
        decision_id="D-1", attributes={"password": '"letmein"', "pin_password": "1234567"}
    )
    assert dict(redacted(event).attributes) == {
        "password": '"[redacted: password]"',
        "pin_password": '"[redacted: password]"',
    }


def fail(log: logging.Logger, text: str) -> None:
    try:
        int(text)
    except ValueError:
        log.exception("failed with %s", text, stack_info=True)


def test_log_records() -> None:
    """What a handler writes has no secrets: not in the message, its arguments, the exception or the stack."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RedactingFilter())
    log = logging.Logger("apart")  # noqa: LOG001 (no handler of another test shall hear of it)
    log.addHandler(handler)
    for entry in CORPUS[::4]:
        fail(log, entry.text)
        assert entry.left_in(out.getvalue()) == []
        out.seek(0)
        out.truncate()
    log.warning("%d of %s", 3, "four")
    assert out.getvalue() == "3 of four\n"


def test_the_way_in() -> None:
    """A private key or token never reaches the log: a warning names the field, and the payload is JSON still."""
    change = pb.ContextChange(
        operation="CREATE",
        entity_type="DECISION",
        entity_id="D-1",
        payload=json.dumps({"title": f"Use {GITHUB}", "rationale": KEY, "alternatives": ["password: hunter2"]}),
        reason=f"because of {GITHUB}",
    )
    (parsed,), warnings = parse_changes([change])
    assert parsed.payload.title == "Use [redacted: github-pat]"
    assert parsed.payload.rationale == "[redacted: private-key]"
    # What is not certain stays in the log; every way out takes it away.
    assert parsed.payload.alternatives == ("password: hunter2",)
    assert parsed.reason == "because of [redacted: github-pat]"
    assert warnings == ["changes[0].reason: a secret was removed", "changes[0].payload: a secret was removed"]
