"""The ways out: what was recorded with secrets in every field leaves the service without them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
import re2
from context_service import cli, updates
from context_service.app import serving
from context_service.bundles import InMemory
from context_service.commands import UpdateStory, parse_changes
from context_service.dead_letters import bury
from context_service.events.v1 import events_pb2
from context_service.messages import Incoming
from context_service.redaction import RedactingFilter
from context_service.stories import open_stories
from context_service.v1 import context_pb2 as pb
from eventstore import ANY, Metadata
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2
from typer.testing import CliRunner

from tests.context.conftest import Client
from tests.context.redaction.generate import WITHIN
from tests.context.redaction.measure import corpus, readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from context_service.bus import Bus
    from context_service.stories import Stories
    from google.protobuf.message import Message

    from tests.context.redaction.measure import Entry

#: What a program makes of a text is made of it here by the service.
CORPUS = [entry for entry in corpus() if entry.place not in WITHIN]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def left_in(text: str) -> set[str]:
    """Return the kinds of which a secret can be seen."""
    # All of them in one pass, since one by one takes a second for the text of a test.
    if not any_secret().search(readings(text)):
        return set()
    return {entry.kind for entry in CORPUS if entry.left_in(text)}


@cache
def any_secret() -> Any:
    options = re2.Options()
    options.max_mem = 256 << 20
    return re2.compile("|".join({re2.escape(secret) for entry in CORPUS for secret in entry.secrets}), options)


def strings(message: Message) -> str:
    """Return every string of a message as its reader gets it."""

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, each in value.items():
                yield key
                yield from found(each)
        elif isinstance(value, list):
            for each in value:
                yield from found(each)
        else:
            yield str(value)

    return "\n".join(found(MessageToDict(message)))


def change(
    operation: str, entity_type: str, entity_id: str = "", /, reason: str = "", **payload: Any
) -> pb.ContextChange:
    return pb.ContextChange(
        operation=operation,
        entity_type=entity_type,
        entity_id=entity_id,
        payload=json.dumps(payload, ensure_ascii=False),
        reason=reason,
    )


def planted(entries: Sequence[Entry]) -> list[pb.ContextChange]:
    """Return changes that have each text in all the fields of one thing, as attributes and reason too."""
    changes = [change("CREATE", "CASE", title="The story")]
    for number, entry in enumerate(entries):
        text = entry.text
        fields: dict[str, Any]
        rest: dict[str, Any] = {"reason": text, "note": text}
        if not entry.kind.startswith(("letters after", "password in", "full-width", "zero-width")):
            # A warning that names a key goes on after it, and then no letter says where a password ends.
            rest[f"key {text[:200]}"] = 1
        match number % 6:
            case 0:
                fields = {"title": text, "rationale": text, "kind": text, "decided_by": text, "alternatives": [text]}
                made = change("CREATE", "DECISION", f"D-{number}", **rest, **fields)
            case 1:
                fields = {"title": text, "description": text, "type": text, "assignee": text}
                made = change("CREATE", "SUBTASK", f"T-{number}", **rest, **fields)
            case 2:
                fields = {"event_type": text, "description": text, "actor": text}
                made = change("CREATE", "MILESTONE", f"M-{number}", **rest, **fields)
            case 3:
                fields = {"author_id": text, "rationale": text}
                made = change("CREATE", "PLAN", f"P-{number}", **rest, **fields, version=1)
            case 4:
                made = change("UPDATE", "SUMMARY", **rest, role="developer", text=text)
            case _:
                fields = {"title": text, "description": text, "acceptance_criteria": [text], "tags": [text]}
                made = change("UPDATE", "CASE", **rest, **fields, constraints={"limit": text, text[:100]: "a"})
        changes.append(made)
    return changes


async def test_no_reply_shows_a_secret(client: Client) -> None:
    """Neither a context of now or then nor a warning shows a secret of any field."""
    seen = ""
    # A story has one title and one summary of a role, so each of these has one of each kind.
    for at in range(0, len(CORPUS), 6):
        story_id = f"S-{at}"
        seen += strings(await client.update(story_id, *planted(CORPUS[at : at + 6])))
        seen += strings(await client.get(story_id))
        seen += strings(await client.get_at(story_id, "2100-01-01T00:00:00Z"))
    assert "[redacted: password]" in seen
    assert left_in(seen) == set()


async def test_no_other_reply_shows_a_secret(stories: Stories) -> None:
    """Nor does what tells of the past, of reasons, of changes as they come, of sessions, or a bundle that is kept."""
    bundles, seen = InMemory(), ""
    where = serving(stories, "127.0.0.1:0", bundles=bundles)
    async with where as address, grpc.aio.insecure_channel(address) as channel:
        client = Client(channel)
        for at in range(0, len(CORPUS), 24):
            story_id = f"S-{at}"
            await client.update(story_id, change("CREATE", "CASE"), change("CREATE", "DECISION", "D-X", title="T"))
            watch = client.stub.WatchContext(pb.WatchContextRequest(story_id=story_id, role="architect"))
            await watch.read()
            changes = planted(CORPUS[at : at + 6])[1:]
            await client.update(story_id, *changes)
            history = pb.GetHistoryRequest(story_id=story_id)
            explain = pb.ExplainDecisionRequest(story_id=story_id, decision_id="D-0")
            rehydrate = pb.RehydrateSessionRequest(
                case_id=story_id,
                roles=["architect", "DEV"],
                include_timeline=True,
                include_summaries=True,
                persist_bundle=True,
            )
            answers = [await watch.read() for _ in changes]
            watch.cancel()
            answers += [
                await client.stub.GetHistory(history),
                await client.stub.DiffContext(pb.DiffContextRequest(story_id=story_id)),
                await client.stub.ExplainDecision(explain),
                await client.stub.RehydrateSession(rehydrate),
            ]
            seen += "".join(map(strings, answers))
    kept = "".join(text for text, _ in bundles._kept.values())
    assert (seen.count("[redacted: ") > 1_000, kept.count("[redacted: ") > 100) == (True, True)
    assert (left_in(seen), left_in(kept)) == (set(), set())


async def test_no_id_shows_a_secret(client: Client, stories: Stories) -> None:
    """What a context states, shortens or leaves out is not named by a secret, with its events neither."""
    ids = [entry.text for entry in CORPUS if len(entry.text) < 200 and entry.left_in(entry.text)][::10]
    events = [events_pb2.DecisionAddedEvent(decision_id=id, status="APPROVED") for id in ids]
    await stories.store.append(
        stories.stream("S-1"), [events_pb2.ContextCreatedEvent(phase="BUILD"), *events], expected=0
    )
    answers = [await client.get("S-1", **fields) for fields in ({}, {"token_budget": 500}, {"why": True})]
    seen = "".join(map(strings, answers))
    assert (len(answers[0].statements), len(answers[1].omitted) > 0) == (len(ids) + 1, True)
    assert all(statement.events for statement in answers[2].statements)
    assert (seen.count("[redacted: ") > len(ids), left_in(seen)) == (True, set())


async def test_an_attribute_is_told_without_its_secret(client: Client) -> None:
    """A field that changed is redacted by its name too."""
    words = {"password": "hunter2hunter2"}
    await client.update("S-1", change("CREATE", "CASE", title="T", **words))
    answer = await client.stub.GetHistory(pb.GetHistoryRequest(story_id="S-1"))
    assert "hunter2" not in strings(answer)
    [one] = [one for one in answer.entries[0].changes if one.field == "attributes.password"]
    assert one.after == '"[redacted: password]"'


async def test_no_refusal_shows_a_secret(client: Client) -> None:
    """What is refused is quoted without secrets, in the message and in the details."""
    for entry in CORPUS[::4]:
        text = entry.text[:3000]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.update("S-1", pb.ContextChange(operation=text, entity_type=text, entity_id=text, payload="{"))
        assert entry.left_in(caught.value.details() or "") == []
        trailing = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        details = error_details_pb2.BadRequest()
        status.details[0].Unpack(details)
        assert entry.left_in(strings(details) + status.message) == []


async def test_no_log_record_shows_a_secret(
    client: Client, stories: Stories, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the service logs of a failure has no secrets once a handler filters it."""
    caplog.handler.addFilter(RedactingFilter())
    failing = iter(CORPUS[::4])

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError(next(failing).text)

    monkeypatch.setattr(stories, "ask", fail)
    for _ in CORPUS[::4]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.get("S-1")
        assert caught.value.details() == "the service failed; its log says why"
    assert caplog.text.count("RuntimeError") >= len(CORPUS[::4])
    assert left_in(caplog.text) == set()


def test_every_handler_of_the_command_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's logging has the filter on each handler, once."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler(), logging.NullHandler()])
    level = logging.getLogger().level
    cli._logging("INFO")
    cli._logging("INFO")
    logging.getLogger().setLevel(level)
    for handler in logging.getLogger().handlers:
        assert [type(each) for each in handler.filters] == [RedactingFilter]


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """A log with every secret in it, recorded as an earlier version did: with nothing removed."""
    found = f"sqlite:///{tmp_path / 'context.db'}?durability=normal"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("context_service.commands.redact_certain", lambda text: text)
        changes, _ = parse_changes(planted(CORPUS[::5]))
    who = Metadata(actor=CORPUS[0].text, causation_id=CORPUS[1].text, correlation_id=CORPUS[2].text)
    async with open_stories(found) as stories:
        for at in range(0, len(changes), 100):
            command = UpdateStory("S-1", changes[at : at + 100], "developer", NOON)
            await stories.update(command, expected_version=None, idempotency_key="", metadata=who, occurred_at=None)
    return found


def test_the_command_shows_no_secret(url: str) -> None:
    """Nothing that ls, show and log print has a secret, for people or as JSON."""
    for words in (["ls"], ["ls", "S-1"], ["show", "S-1"], ["log", "S-1"]):
        for form in ([], ["--json"]):
            result = CliRunner().invoke(cli.app, [*words, "--store", url, *form])
            assert result.exit_code == 0, result.output
            shown = result.stdout
            if form:
                shown += "\n".join(map(str, map(json.loads, result.stdout.splitlines())))
            assert left_in(shown) == set(), words


async def test_no_update_shows_a_secret(stories: Stories) -> None:
    """What goes out over NATS names nobody, no cause and no entity by a secret."""
    entries = [entry for entry in CORPUS[::5] if len(entry.text) < 900]
    for entry in entries:
        metadata = Metadata(actor=entry.text, causation_id=entry.text, correlation_id=entry.text)
        event = events_pb2.DecisionAddedEvent(decision_id=entry.text)
        await stories.store.append(stories.stream("S-1"), [event], expected=ANY, metadata=metadata)
    bodies = [updates._body("log", commit).decode() async for commit in stories.store.log()]
    assert [entry.kind for entry, body in zip(entries, bodies, strict=True) if entry.left_in(body)] == []
    assert "".join(bodies).count("[redacted: ") > 3 * len(entries)


class Burying:
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []

    async def room(self, headers: dict[str, str]) -> int:
        return 1_000_000

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        assert (subject, body) == ("context.dead.context-planning-story-created", b"{")
        self.facts.append(json.loads(headers["Context-Dead-Letter"]))


async def reason_kept(reason: str) -> str:
    bus = Burying()
    message = Incoming("planning.story.created", b"{", {}, "PLANNING", 7, NOON)
    await bury(cast("Bus", bus), message, deliveries=3, reason=reason)
    return str(bus.facts[0]["reason"])


async def test_no_dead_letter_tells_a_secret_in_its_reason() -> None:
    """Why a message could not be handled is kept without what it quotes."""
    for entry in CORPUS[::5]:
        assert entry.left_in(await reason_kept(f"story_id: got {entry.text!r}")) == []


async def test_a_reason_is_redacted_before_it_is_cut() -> None:
    """A secret that the end of a long reason would cut is not kept in part, where nobody would find it."""
    token = next(entry.text for entry in CORPUS if entry.kind == "github token" and entry.place == "alone")
    kept = await reason_kept("no story " * 221 + token)
    assert "[redac" in kept
    assert token[:10] not in kept


async def test_a_warning_names_a_key_without_its_secret(client: Client) -> None:
    """A key that is itself a secret is named without it in the warning that it is not known."""
    asked = pb.ContextChange(operation="CREATE", entity_type="CASE", payload='{"password: correct-horse": 1}')
    [warning] = (await client.update("S-1", asked)).warnings
    assert warning.startswith("changes[0].payload.password: [redacted: ")
    assert "correct-horse" not in warning
