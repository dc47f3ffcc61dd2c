"""The service through gRPC: a real server, a real channel, and every answer a caller can get."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
import msgspec
import pytest
from context_service import app
from context_service.app import serving
from context_service.stories import Stories, codec, open_stories
from context_service.text import count_tokens
from context_service.v1 import context_pb2 as pb
from eventstore import (
    AtVersion,
    EventStore,
    MemorySnapshots,
    Position,
    ReadOnly,
    StoreFull,
    StoreUnavailable,
    StreamId,
    Token,
    WrongLog,
)
from eventstore._values import BEGINNING
from eventstore.memory import MemoryBackend
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from eventstore import Commit

    from tests.context.conftest import Client, Clock, Serve

Code = grpc.StatusCode


async def failing(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


def details(error: grpc.aio.AioRpcError) -> list[str]:
    """Return the fields that an error's details name, after checking that details and status agree."""
    [(_, packed)] = [item for item in error.trailing_metadata() if item[0] == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(packed)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    [detail] = status.details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    assert all(violation.description for violation in bad.field_violations)
    return [violation.field for violation in bad.field_violations]


async def log_of(stories: Stories, story_id: str = "S-1") -> list[Commit]:
    return [commit async for commit in stories.store.commits(stories.stream(story_id))]


async def create(client: Client, story_id: str = "S-1", **fields: Any) -> pb.UpdateContextResponse:
    """Make a story at version 1."""
    return await client.update(story_id, client.change("CREATE", "CASE", title="Login"), **fields)


class TestReadYourWrites:
    async def test_what_is_written_is_read(self, client: Client) -> None:
        """A decision written through UpdateContext is in the next GetContext."""
        await create(client)
        await client.update("S-1", client.change("CREATE", "DECISION", "D-1", title="Use OIDC"))
        assert "- D-1 [PROPOSED] Use OIDC" in (await client.get("S-1")).context

    async def test_versions_agree(self, client: Client, stories: Stories) -> None:
        """The version is the same number in UpdateContext, GetContext and the log, and so are hash and position."""
        await create(client)
        written = await client.update(
            "S-1",
            client.change("CREATE", "DECISION", "D-1", affects=["T-1"]),
            client.change("CREATE", "SUBTASK", "T-1"),
        )
        read = await client.get("S-1")
        commits = await log_of(stories)
        assert written.version == 4
        assert (str(written.version), written.hash, written.position) == (read.version, read.hash, read.position)
        assert [(commit.first_version, commit.version) for commit in commits] == [(1, 1), (2, 4)]
        assert Token.parse(written.position) == Token(stories.store.log_id, commits[-1].position)

    async def test_no_change(self, client: Client, stories: Stories) -> None:
        """A change that changes nothing is accepted, and version, hash, position and log stay."""
        first = await create(client)
        again = await create(client)
        assert (again.version, again.hash, again.position) == (first.version, first.hash, first.position)
        assert [one.changed for one in (*first.results, *again.results)] == [True, False]
        assert len(await log_of(stories)) == 1

    async def test_stories_apart(self, client: Client) -> None:
        """What S-10 holds is never in S-1, although the one id begins with the other."""
        await create(client, "S-1")
        await create(client, "S-10")
        await client.update("S-10", client.change("CREATE", "DECISION", "D-1", title="of the tenth"))
        assert "of the tenth" not in (await client.get("S-1")).context
        assert (await client.get("S-1")).version == "1"

    async def test_whole_or_not_at_all(self, client: Client, stories: Stories) -> None:
        """A request with one bad change writes nothing of the good ones, and names the bad one."""
        await create(client)
        error = await failing(
            client.update(
                "S-1", client.change("CREATE", "DECISION", "D-1"), client.change("UPDATE", "DECISION", "D-2", title="x")
            )
        )
        assert (error.code(), details(error)) == (Code.NOT_FOUND, ["changes[1].entity_id"])
        assert len(await log_of(stories)) == 1

    async def test_warnings(self, client: Client) -> None:
        """What was not understood is said, and who owns a thing is not taken from its payload."""
        await create(client)
        answer = await client.update(
            "S-1", client.change("CREATE", "DECISION", "D-1", title="t", id="D-9", story_id="S-9", mood="good")
        )
        assert list(answer.warnings) == [
            "changes[0].payload.id: ignored, identity is not taken from a payload",
            "changes[0].payload.story_id: ignored, identity is not taken from a payload",
            "changes[0].payload.mood: not a known key, kept as an attribute",
        ]
        assert "- D-1 [PROPOSED] t" in (await client.get("S-1")).context

    async def test_who_and_why(self, client: Client, stories: Stories) -> None:
        """The log says who asked, for which task, in which trace, when it occurred and why."""
        request = pb.UpdateContextRequest(
            story_id="S-1",
            role="DEV",
            task_id="T-7",
            timestamp="2020-02-02T03:00:00+01:00",
            changes=[client.change("CREATE", "CASE", title="t", reason_="the board said so")],
        )
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        headers = (("traceparent", trace), ("tracestate", "a=b"), ("x-correlation-id", "C-1"), ("k-bin", b"\xff"))
        await client.stub.UpdateContext(request, metadata=headers)
        [commit] = await log_of(stories)
        [event] = commit.events
        found = commit.metadata
        assert (found.actor, found.causation_id, found.correlation_id) == ("developer", "T-7", "C-1")
        assert (found.traceparent, found.tracestate) == (trace, "a=b")
        assert event.occurred_at == datetime(2020, 2, 2, 2, tzinfo=UTC)
        assert event.message.reason == "the board said so"  # type: ignore[attr-defined]

    async def test_another_process(self, tmp_path: Path, serve: Serve) -> None:
        """Two services on one SQLite file read each other's writes at once."""
        url = f"sqlite:///{tmp_path}/context.db"
        async with open_stories(url) as one, open_stories(url) as two, serve(one) as here, serve(two) as there:
            await create(here)
            assert (await there.get("S-1")).version == "1"
            written = await there.update("S-1", there.change("UPDATE", "CASE", title="Log in"))
            assert (await here.get("S-1")).hash == written.hash


class TestExpectedVersion:
    async def test_met(self, client: Client) -> None:
        """A change on the version that its caller saw is carried out; 0 means no story yet."""
        assert (await create(client, expected_version=0)).version == 1
        change = client.change("UPDATE", "CASE", title="Log in")
        assert (await client.update("S-1", change, expected_version=1)).version == 2

    @pytest.mark.parametrize("expected", [0, 2, 2**31 - 1])
    async def test_not_met(self, client: Client, stories: Stories, expected: int) -> None:
        """A change on another version is ABORTED with the actual one, and nothing is written."""
        await create(client)
        error = await failing(
            client.update("S-1", client.change("UPDATE", "CASE", title="x"), expected_version=expected)
        )
        assert error.code() == Code.ABORTED
        assert error.details() == f"the story is at version 1, not {expected}; read it again, or try again"
        assert len(await log_of(stories)) == 1

    async def test_negative(self, client: Client) -> None:
        """A negative version is no version."""
        error = await failing(create(client, expected_version=-1))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["expected_version"])

    async def test_one_of_many(self, client: Client, stories: Stories) -> None:
        """Of many who change what they saw at once, one gets through and the others are told."""
        await create(client)
        answers = await asyncio.gather(
            *(
                client.update("S-1", client.change("CREATE", "DECISION", f"D-{number}"), expected_version=1)
                for number in range(10)
            ),
            return_exceptions=True,
        )
        assert sorted(
            "ok" if isinstance(a, pb.UpdateContextResponse) else cast("grpc.aio.AioRpcError", a).code().name
            for a in answers
        ) == [
            *["ABORTED"] * 9,
            "ok",
        ]
        assert len(await log_of(stories)) == 2

    async def test_without(self, client: Client, stories: Stories) -> None:
        """Writers who expect nothing all get through, one after the other."""
        await create(client)
        answers = await asyncio.gather(
            *(client.update("S-1", client.change("CREATE", "DECISION", f"D-{number}")) for number in range(10))
        )
        assert sorted(answer.version for answer in answers) == list(range(2, 12))
        assert len(await log_of(stories)) == 11


class TestIdempotencyKey:
    async def test_again(self, client: Client, stories: Stories) -> None:
        """The same key is answered as the first time, also when the story has moved on, and does nothing twice."""
        await create(client)
        request = {"idempotency_key": "K", "timestamp": "2020-01-01"}
        change = client.change("CREATE", "DECISION", "D-1", title="one", extra=1)
        first = await client.update("S-1", change, **request)
        await client.update("S-1", client.change("UPDATE", "DECISION", "D-1", title="two"))
        again = await client.update("S-1", change, **request)
        assert again == first
        assert (again.version, len(await log_of(stories))) == (2, 3)

    async def test_with_expected_version(self, client: Client, stories: Stories) -> None:
        """A retry with the version it once expected is answered as the first time, not ABORTED."""
        await create(client)
        change = client.change("UPDATE", "CASE", title="Log in")
        first = await client.update("S-1", change, idempotency_key="K", expected_version=1)
        assert await client.update("S-1", change, idempotency_key="K", expected_version=1) == first
        error = await failing(client.update("S-1", change, idempotency_key="L", expected_version=1))
        assert error.code() == Code.ABORTED
        assert len(await log_of(stories)) == 2

    @pytest.mark.parametrize("fields", [{}, {"expected_version": 1}])
    async def test_at_once(self, tmp_path: Path, serve: Serve, fields: dict[str, int]) -> None:
        """Duplicates that arrive at once, at two services on one log, are carried out once and answered alike."""
        url = f"sqlite:///{tmp_path}/context.db"
        async with open_stories(url) as one, open_stories(url) as two, serve(one) as here, serve(two) as there:
            await create(here)
            for number in range(1, 11):
                change = here.change("CREATE", "MILESTONE", f"M-{number}", event_type="x")
                moving = dict.fromkeys(fields, number)
                answers = await asyncio.gather(
                    *(
                        client.update("S-1", change, idempotency_key=f"K-{number}", **moving)
                        for client in (here, there) * 5
                    )
                )
                assert answers == [answers[0]] * 10
                assert answers[0].version == number + 1
            assert len(await log_of(one)) == 11

    async def test_key_of_another_story(self, client: Client) -> None:
        """A key belongs to its story: in another one it means another request."""
        assert (await create(client, "S-1", idempotency_key="K")).version == 1
        assert (await create(client, "S-2", idempotency_key="K")).version == 1
        assert (await client.get("S-2")).version == "1"

    async def test_a_refused_request_is_not_remembered(self, client: Client) -> None:
        """A key whose request was refused can be used again once the request is mended."""
        await create(client)
        error = await failing(
            client.update("S-1", client.change("UPDATE", "DECISION", "D-1", title="x"), idempotency_key="K")
        )
        assert error.code() == Code.NOT_FOUND
        change = client.change("CREATE", "DECISION", "D-1", title="x")
        assert (await client.update("S-1", change, idempotency_key="K")).version == 2


BAD_STORY_IDS = ["", "x" * 256, "a\0b", "a\nb"]


class TestRefusals:
    @pytest.mark.parametrize("story_id", BAD_STORY_IDS)
    async def test_bad_story_ids(self, client: Client, story_id: str) -> None:
        """An id that no story can have is INVALID_ARGUMENT in every call, and named."""
        for call in (create(client, story_id), client.get(story_id), client.get_at(story_id, "2020-01-01")):
            error = await failing(call)
            assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["story_id"])

    @pytest.mark.parametrize("story_id", ["a.b", "a b", "a/b", "a>b", "\N{GRINNING FACE}", "x" * 255, "../../etc"])
    async def test_good_story_ids(self, client: Client, story_id: str) -> None:
        """Dots, spaces, slashes and emoji are letters like others."""
        await create(client, story_id)
        assert (await client.get(story_id)).version == "1"

    async def test_unknown_story(self, client: Client) -> None:
        """A story that does not exist is NOT_FOUND in every call."""
        for call in (
            client.get("S-1"),
            client.get_at("S-1", "2100-01-01"),
            client.update("S-1", client.change("UPDATE", "CASE", title="x")),
        ):
            error = await failing(call)
            assert (error.code(), details(error)) == (Code.NOT_FOUND, ["story_id"])

    @pytest.mark.parametrize(
        ("fields", "field", "code"),
        [
            ({"role": ""}, "role", Code.INVALID_ARGUMENT),
            ({"role": "ceo"}, "role", Code.INVALID_ARGUMENT),
            ({"phase": "PARTY"}, "phase", Code.INVALID_ARGUMENT),
            ({"token_budget": -1}, "token_budget", Code.INVALID_ARGUMENT),
            ({"subtask_id": "T-9"}, "subtask_id", Code.NOT_FOUND),
        ],
    )
    async def test_bad_questions(
        self, client: Client, fields: dict[str, Any], field: str, code: grpc.StatusCode
    ) -> None:
        """A word the service does not know is named, now and at a moment of the past."""
        await create(client)
        for call in (client.get("S-1", **fields), client.get_at("S-1", "2100-01-01", **fields)):
            error = await failing(call)
            assert (error.code(), details(error)) == (code, [field])

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"timestamp": ""}, "timestamp"),
            ({"timestamp": "yesterday"}, "timestamp"),
            ({"timestamp": "2020-02-30"}, "timestamp"),
            ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
            ({"timestamp": "2020-01-01", "clock": "wall"}, "clock"),
        ],
    )
    async def test_bad_moments(self, client: Client, fields: dict[str, str], field: str) -> None:
        """A moment that is none, or on an unknown clock, is named."""
        await create(client)
        error = await failing(client.get_at("S-1", **fields))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, [field])

    @pytest.mark.parametrize(("fields", "field"), [({"timestamp": "x"}, "timestamp"), ({"role": "ceo"}, "role")])
    async def test_bad_updates(self, client: Client, fields: dict[str, str], field: str) -> None:
        """What is wrong around the changes is named too."""
        error = await failing(create(client, **fields))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, [field])

    async def test_every_bad_change(self, client: Client) -> None:
        """An error names every bad change, in its details and in its message."""
        error = await failing(
            client.update(
                "S-1",
                pb.ContextChange(operation="CREATE", entity_type="CASE", payload='{"title": 5}'),
                pb.ContextChange(operation="CREATE", entity_type="DECISION", entity_id="D-1", payload="{"),
                pb.ContextChange(operation="DROP", entity_type="TABLE", entity_id="x"),
            )
        )
        assert error.code() == Code.INVALID_ARGUMENT
        fields = ["changes[0].payload.title", "changes[1].payload", "changes[2].operation", "changes[2].entity_type"]
        assert details(error) == fields
        assert all(field in str(error.details()) for field in fields)

    async def test_state_machines(self, client: Client) -> None:
        """A step that a thing's state does not allow is FAILED_PRECONDITION."""
        await create(client)
        await client.update("S-1", client.change("CREATE", "DECISION", "D-1", status="REJECTED"))
        error = await failing(client.update("S-1", client.change("UPDATE", "DECISION", "D-1", status="APPROVED")))
        assert (error.code(), details(error)) == (Code.FAILED_PRECONDITION, ["changes[0].payload.status"])

    async def test_too_large(self, client: Client, stories: Stories) -> None:
        """A commit over the limit of all stores is refused, and nothing of it is written."""
        await create(client)
        error = await failing(client.update("S-1", client.change("CREATE", "DECISION", "D-1", title="x" * 2**20)))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["request"])
        assert len(await log_of(stories)) == 1


class TestWords:
    @pytest.mark.parametrize(
        ("spelling", "role"),
        [
            ("DEV", "developer"),
            ("developer", "developer"),
            (" Dev ", "developer"),
            ("QA", "qa"),
            ("ARCHITECT", "architect"),
            ("DevOps", "devops"),
            ("DATA", "data"),
        ],
    )
    async def test_roles(self, client: Client, spelling: str, role: str) -> None:
        """A role is the same in all its spellings, for readers and writers."""
        await create(client, role=spelling)
        answer = await client.get("S-1", role=spelling)
        assert f"You work as {role} on story" in answer.blocks.system
        assert f"by {role}." in answer.blocks.context

    @pytest.mark.parametrize(
        ("spelling", "phase"),
        [("", "DESIGN"), ("build", "BUILD"), ("TEST", "TEST"), ("DOC", "DOC"), ("Docs", "DOC"), ("DOCS", "DOC")],
    )
    async def test_phases(self, client: Client, spelling: str, phase: str) -> None:
        """A phase is the same in all its spellings; without one it is the story's own."""
        await create(client)
        assert f"in phase {phase}." in (await client.get("S-1", phase=spelling)).blocks.system

    async def test_current_task(self, client: Client) -> None:
        """The subtask a caller works on is shown on its own."""
        await create(client)
        await client.update("S-1", client.change("CREATE", "SUBTASK", "T-1", title="Form"))
        answer = await client.get("S-1", phase="BUILD", subtask_id="T-1")
        assert "### Current task\n\n- T-1 [pending] Form" in answer.context
        assert "### Current task" not in (await client.get("S-1", phase="BUILD")).context

    async def test_token_count(self, client: Client) -> None:
        """Tokens are counted over the whole text that is sent."""
        await create(client)
        answer = await client.get("S-1")
        assert 20 < answer.token_count < len(answer.context) // 2
        assert answer.token_count == count_tokens(answer.context)
        blocks = answer.blocks
        assert answer.context == (
            f"# System\n\n{blocks.system}\n\n# Context\n\n{blocks.context}\n\n# Tools\n\n{blocks.tools}"
        )


class TestScopes:
    async def test_what_was_applied(self, client: Client) -> None:
        """An answer names the scopes that were applied, those that were empty, and those withheld."""
        await create(client)
        for answer in (
            await client.get("S-1", "DEV", phase="test"),
            await client.get_at("S-1", "2100-01-01", role="DEV", phase="TEST"),
        ):
            assert answer.scopes == ["CASE_HEADER", "PLAN_HEADER", "SUBTASKS_ROLE_MIN"]
            assert answer.empty_scopes == ["PLAN_HEADER", "SUBTASKS_ROLE_MIN"]
            assert len(answer.withheld_scopes) == 10
            assert "MILESTONES" in answer.withheld_scopes

    async def test_no_field_is_lost(self, client: Client) -> None:
        """What was written of a story is shown: its status, criteria and constraints, relations, a subtask's state."""
        await client.update(
            "S-1",
            client.change(
                "CREATE", "CASE", title="Login", acceptance_criteria=["is fast"], constraints={"region": "EU"}
            ),
            client.change("CREATE", "SUBTASK", "T-1", title="Form", status="done", role="DEV", priority=1),
            client.change("CREATE", "SUBTASK", "T-2", status="IN_PROGRESS", dependencies=["T-1"], assignee="ann"),
            client.change("CREATE", "DECISION", "D-1", status="APPROVED", alternatives=["SAML"], decided_by="eve"),
            client.change("CREATE", "DECISION", "D-2", depends_on=["D-1"], affects=["T-2"], decided_by="bob"),
        )
        await client.update("S-1", client.change("UPDATE", "DECISION", "D-1", status="IMPLEMENTED"))
        answer = await client.get("S-1", "architect", phase="BUILD")
        for line in (
            "- is fast",
            "- region: EU",
            "- T-1 [done, developer, priority 1] Form",
            "- T-2 [in_progress, assigned to ann]",
            "  depends on T-1",
            "- D-1 [IMPLEMENTED], by eve",
            "  instead of: SAML",
            "- D-2 [PROPOSED], by bob",
            "- from D-2: DEPENDS_ON D-1",
            "- from D-2: AFFECTS T-2",
            "- 1 of 2 subtasks are finished",
        ):
            assert line in answer.blocks.context.splitlines()

    async def test_a_cell_that_the_policy_lacks(self, client: Client) -> None:
        """Where the policy says nothing, nothing of the story is told, and that is no error."""
        await create(client)
        answer = await client.get("S-1", "developer", phase="DOC")
        assert answer.blocks.context == "The policy grants developer nothing in phase DOC."
        assert "Login" not in answer.context
        assert (list(answer.scopes), list(answer.statements), len(answer.withheld_scopes)) == ([], [], 13)

    async def test_what_is_stated_and_omitted(self, client: Client) -> None:
        """An answer names what its text states and what the budget left out."""
        await create(client)
        many = [
            client.change("CREATE", "DECISION", f"D-{n}", status="APPROVED", rationale="so it is " * 50)
            for n in range(20)
        ]
        await client.update("S-1", *many)
        whole = await client.get("S-1")
        assert [(s.entity_type, s.entity_id, s.scope, s.form) for s in whole.statements][:2] == [
            ("CASE", "S-1", "CASE_HEADER", "full"),
            ("DECISION", "D-19", "DECISIONS_GLOBAL", "full"),
        ]
        assert not whole.omitted
        cut = await client.get("S-1", token_budget=250)
        assert cut.token_count == count_tokens(cut.context) <= 250
        assert {o.left for o in cut.omitted} == {"short", "id", "nothing"}
        assert {(o.entity_type, o.reason) for o in cut.omitted} == {("DECISION", "the token budget")}

    async def test_a_budget_too_small(self, client: Client) -> None:
        """A budget in which not even the words around a story fit is INVALID_ARGUMENT, and says how many would do."""
        await create(client)
        error = await failing(client.get("S-1", token_budget=5))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["token_budget"])
        [least] = re.findall(r"expected at least (\d+), got 5", str(error.details()))
        assert (await client.get("S-1", token_budget=int(least))).token_count <= int(least)

    @pytest.mark.parametrize(
        ("provided", "missing", "extra", "reason"),
        [
            (
                ["SUBTASKS_ROLE_MIN", "PLAN_HEADER", "CASE_HEADER", "CASE_HEADER"],
                [],
                [],
                "developer in phase TEST: the 3 scopes are those of the policy.",
            ),
            (
                ["MILESTONES", "PLAN_HEADER", "EVERYTHING"],
                ["CASE_HEADER", "SUBTASKS_ROLE_MIN"],
                ["EVERYTHING", "MILESTONES"],
                "developer in phase TEST: missing: CASE_HEADER, SUBTASKS_ROLE_MIN; extra: EVERYTHING, MILESTONES.",
            ),
            (["CASE_HEADER", "PLAN_HEADER"], ["SUBTASKS_ROLE_MIN"], [], "missing: SUBTASKS_ROLE_MIN."),
            (
                ["CASE_HEADER", "PLAN_HEADER", "SUBTASKS_ROLE_MIN", "SUBTASKS_ROLE"],
                [],
                ["SUBTASKS_ROLE"],
                "developer in phase TEST: extra: SUBTASKS_ROLE.",
            ),
        ],
    )
    async def test_validate(
        self, client: Client, provided: list[str], missing: list[str], extra: list[str], reason: str
    ) -> None:
        """Scopes are allowed when they are just those of the policy; else what lacks and what is too much is named."""
        request = pb.ValidateScopeRequest(role="DEV", phase="test", provided_scopes=provided)
        answer = await client.stub.ValidateScope(request)
        assert (list(answer.missing), list(answer.extra)) == (missing, extra)
        assert answer.allowed == (not missing and not extra)
        assert answer.reason.endswith(reason)

    async def test_validate_where_nothing_is_granted(self, client: Client) -> None:
        """Where the policy says nothing, no scope is allowed, and none at all is."""
        request = pb.ValidateScopeRequest(role="data", phase="DOCS", provided_scopes=["CASE_HEADER"])
        assert list((await client.stub.ValidateScope(request)).extra) == ["CASE_HEADER"]
        assert (await client.stub.ValidateScope(pb.ValidateScopeRequest(role="data", phase="DOC"))).allowed

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"phase": "TEST"}, "role"),
            ({"role": "ceo", "phase": "TEST"}, "role"),
            ({"role": "qa"}, "phase"),
            ({"role": "qa", "phase": "PARTY"}, "phase"),
        ],
    )
    async def test_validate_unknown_words(self, client: Client, fields: dict[str, str], field: str) -> None:
        """An unknown role or phase, or none, is named."""
        error = await failing(client.stub.ValidateScope(pb.ValidateScopeRequest(**fields)))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, [field])


class TestPositions:
    async def test_reached(self, client: Client) -> None:
        """A position that the log has reached is not waited for."""
        done = await create(client)
        assert (await client.get("S-1", min_position=done.position)).position == done.position

    async def test_waits(self, client: Client, stories: Stories) -> None:
        """The answer to a position that is still to come waits for it."""
        done = await create(client)
        log_id, _, position = done.position.rpartition(":")
        waiting = asyncio.create_task(client.get("S-1", min_position=f"{log_id}:{int(position) + 1}"))
        assert (await client.get("S-1")).version == "1"
        assert not waiting.done()
        await client.update("S-1", client.change("CREATE", "DECISION", "D-1"))
        assert (await waiting).version == "2"

    async def test_never_reached(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """A position that does not come in time is DEADLINE_EXCEEDED."""
        monkeypatch.setattr("context_service.contexts.PATIENCE_SECONDS", 0.05)
        log_id = (await create(client)).position.rpartition(":")[0]
        error = await failing(client.get("S-1", min_position=f"{log_id}:999"))
        assert (error.code(), details(error)) == (Code.DEADLINE_EXCEEDED, ["min_position"])

    @pytest.mark.parametrize("position", ["7", "x", f"{'0' * 32}:1", ":"])
    async def test_of_another_log(self, client: Client, position: str) -> None:
        """What is no position of this log is INVALID_ARGUMENT."""
        await create(client)
        error = await failing(client.get("S-1", min_position=position))
        assert (error.code(), details(error)) == (Code.INVALID_ARGUMENT, ["min_position"])


SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


class TestAtTime:
    @pytest.fixture
    async def moments(self, client: Client, clock: Clock) -> list[datetime]:
        """Three commits of S-1, recorded a minute apart: one event, then two, then one; returns when."""
        found = []
        for changes in (
            [client.change("CREATE", "CASE", title="one")],
            [client.change("CREATE", "DECISION", "D-1"), client.change("CREATE", "DECISION", "D-2")],
            [client.change("UPDATE", "CASE", title="three")],
        ):
            clock.now += 60_000_000
            found.append(datetime.fromtimestamp(clock.now / 1_000_000, UTC))
            # Twenty years before it was recorded, a day apart.
            occurred = datetime(2003, 1, len(found), tzinfo=UTC)
            await client.update("S-1", *changes, timestamp=occurred.isoformat())
        clock.now += 60_000_000
        return found

    async def test_final(self, client: Client, clock: Clock, moments: list[datetime]) -> None:
        """An answer of a moment is final once nothing can be recorded before it any more."""
        assert (await client.get_at("S-1", moments[1].isoformat())).final
        clock.now -= 60_000_000
        assert not (await client.get_at("S-1", moments[2].isoformat())).final

    @pytest.mark.parametrize("spelling", ["", "recorded", "RECORDED"])
    async def test_recorded(self, client: Client, moments: list[datetime], spelling: str) -> None:
        """On the clock of the log, a story is what had been recorded until just that microsecond."""
        for moment, before, at in zip(moments, ["", "1", "3"], ["1", "3", "4"], strict=True):
            if before:
                assert (await client.get_at("S-1", (moment - MICROSECOND).isoformat(), spelling)).version == before
            assert (await client.get_at("S-1", moment.isoformat(), spelling)).version == at
            assert (await client.get_at("S-1", (moment + SECOND).isoformat(), spelling)).version == at

    async def test_occurred(self, client: Client, moments: list[datetime]) -> None:
        """On the clock of the facts, a story is what had happened until then, whenever it was recorded."""
        del moments
        for moment, version in {
            "2003-01-01": "1",
            "2003-01-01T23:59:59.999999Z": "1",
            "2003-01-02": "3",
            "2003-01-02T12:00:00+00:00": "3",
            "2003-01-03T00:59:59+01:00": "3",
            "2003-01-03T01:00:00+01:00": "4",
            "2010-01-01": "4",
        }.items():
            assert (await client.get_at("S-1", moment, "occurred")).version == version

    async def test_before_the_story(self, client: Client, moments: list[datetime]) -> None:
        """Before its first event a story is NOT_FOUND, on either clock."""
        for moment, clock in (((moments[0] - MICROSECOND).isoformat(), "recorded"), ("2002-12-31", "occurred")):
            error = await failing(client.get_at("S-1", moment, clock))
            assert (error.code(), details(error)) == (Code.NOT_FOUND, ["story_id"])
            assert error.details() == "story_id: there is no story 'S-1' yet at that moment"

    async def test_then_is_what_was_answered_then(
        self, client: Client, stories: Stories, moments: list[datetime]
    ) -> None:
        """The answer for a moment of the past is word for word that of a story which ends there."""
        for moment, version in zip(moments, (1, 3, 4), strict=True):
            folded = await stories.ask("S-1", AtVersion(version))
            answer = await client.get_at("S-1", moment.isoformat())
            assert (answer.version, answer.position) == (str(version), f"{folded.log_id}:{folded.position}")
            assert ("D-2" in answer.context, "three" in answer.context) == (version > 1, version > 3)
        now = await client.get("S-1")
        assert answer == now

    async def test_inside_a_commit(self, stories: Stories, moments: list[datetime]) -> None:
        """A bound inside a commit gives the state before it: what was written as one is seen as one."""
        del moments
        assert (await stories.ask("S-1", AtVersion(2))).version == 1
        assert (await stories.ask("S-1", AtVersion(3))).version == 3

    async def test_without_an_occurred_time(self, client: Client, clock: Clock) -> None:
        """What was written without a time of its own occurred when it was recorded."""
        await create(client)
        moment = datetime.fromtimestamp(clock.now / 1_000_000, UTC)
        assert (await client.get_at("S-1", moment.isoformat(), "occurred")).version == "1"
        error = await failing(client.get_at("S-1", (moment - MICROSECOND).isoformat(), "occurred"))
        assert error.code() == Code.NOT_FOUND

    async def test_out_of_order(self, client: Client) -> None:
        """What is told late about the past is not in a moment before a fact that was known first."""
        await create(client, timestamp="2020-01-01")
        await client.update("S-1", client.change("UPDATE", "CASE", title="late"), timestamp="2022-01-01")
        await client.update("S-1", client.change("CREATE", "DECISION", "D-1"), timestamp="2021-01-01")
        versions = [(await client.get_at("S-1", f"{year}-06-01", "occurred")).version for year in (2020, 2021, 2022)]
        assert versions == ["1", "1", "3"]

    async def test_with_snapshots(self, client: Client, stories: Stories, clock: Clock) -> None:
        """In a story of hundreds of events every moment gives what a replay from the start gives."""
        await create(client)
        moments = [clock.now]
        for number in range(250):
            clock.now += 1_000_000
            await client.update("S-1", client.change("UPDATE", "CASE", title=f"title {number}"))
            moments.append(clock.now)
        fresh = Stories(stories.store, MemorySnapshots(), every=10_000)
        for number in (0, 1, 98, 99, 100, 101, 150, 199, 200, 249, 250):
            moment = datetime.fromtimestamp(moments[number] / 1_000_000, UTC)
            answer = await client.get_at("S-1", moment.isoformat())
            replayed = await fresh.ask("S-1", AtVersion(number + 1))
            assert (answer.version, f": title {number - 1}\n" in answer.context) == (str(number + 1), number > 0)
            assert replayed.version == number + 1


class Failing(MemoryBackend):
    """A store that fails as it is told, with words that no caller should see."""

    error: Exception | None = None
    heads = 0

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    async def append(self, commit: Any) -> Any:
        """Fail, or append."""
        self._fail()
        return await super().append(commit)

    async def head(self) -> Any:
        """Fail, or answer."""
        self.heads += 1
        self._fail()
        return await super().head()

    async def read(self, stream: StreamId, *, after: Any, position: Position = BEGINNING) -> AsyncGenerator[Any, None]:
        """Fail, or read."""
        self._fail()
        async for chunk in super().read(stream, after=after):
            yield chunk


FORBIDDEN = "/var/lib/secret/context.db: SELECT * FROM passwords"
FAILURES: list[tuple[Exception, grpc.StatusCode]] = [
    (StoreUnavailable(FORBIDDEN), Code.UNAVAILABLE),
    (ReadOnly(FORBIDDEN), Code.UNAVAILABLE),
    (StoreFull(FORBIDDEN), Code.RESOURCE_EXHAUSTED),
    (RuntimeError(FORBIDDEN), Code.INTERNAL),
    (KeyError(FORBIDDEN), Code.INTERNAL),
]


class TestFailingStore:
    @pytest.fixture
    async def backend(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Failing]:
        """A store that works until it is told not to, and is asked often."""
        monkeypatch.setattr(app, "_READINESS_SECONDS", 0.02)
        async with Failing() as backend:
            yield backend

    @pytest.fixture
    def stories(self, backend: Failing) -> Stories:
        """Stories without live states, so that every question reads the log."""
        return Stories(EventStore(backend, codec), MemorySnapshots())

    @pytest.mark.parametrize(("failure", "code"), FAILURES)
    async def test_codes(self, client: Client, backend: Failing, failure: Exception, code: grpc.StatusCode) -> None:
        """A failing store is answered with its code, without a word of where or what it is, and the service goes on."""
        await create(client)
        backend.error = failure
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.update("S-1", client.change("UPDATE", "CASE", title="x")),
            lambda: client.get("S-1"),
            lambda: client.get_at("S-1", "2100-01-01"),
        ]
        for call in calls:
            error = await failing(call())
            assert error.code() == code
            told = f"{error.details()} {error.trailing_metadata()}"
            assert not re.search(r"secret|SELECT|/|Error", told)
        backend.error = None
        assert (await client.get("S-1")).version == "1"

    async def test_bytes_that_mean_nothing(self, client: Client, stories: Stories, backend: Failing) -> None:
        """A story whose record cannot be read is DATA_LOSS, without a word of its bytes; others are not touched."""
        await create(client, "S-1")
        await create(client, "S-2")
        commits = backend._streams[stories.stream("S-1")].commits
        commits[0] = msgspec.structs.replace(commits[0], envelope=FORBIDDEN.encode())
        stories.snapshots._newest.clear()
        error = await failing(client.get("S-1"))
        assert (error.code(), error.details()) == (Code.DATA_LOSS, "the story's record cannot be read")
        assert (await client.get("S-2")).version == "1"

    async def test_health(self, client: Client, backend: Failing) -> None:
        """Health is SERVING, of the whole and of the service; NOT_SERVING while the store fails, then SERVING again."""
        stub: Any = health_pb2_grpc.HealthStub(client.channel)
        services = ("", "fleet.context.v1.ContextService")
        for service in services:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        backend.error = StoreUnavailable(FORBIDDEN)
        for service in services:
            await health_becomes(client.channel, service, health_pb2.HealthCheckResponse.NOT_SERVING)
        backend.error = None
        for service in services:
            await health_becomes(client.channel, service, health_pb2.HealthCheckResponse.SERVING)

    async def test_health_of_a_store_with_any_fault(
        self, client: Client, backend: Failing, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever the store fails with, health is NOT_SERVING for that long, and the log has it once."""
        for error in (WrongLog("one", "another"), RuntimeError("a bug")):
            backend.error = error
            await health_becomes(client.channel, "", health_pb2.HealthCheckResponse.NOT_SERVING)
            seen = backend.heads
            while backend.heads < seen + 2:  # noqa: ASYNC110 (the service asks by its clock)
                await asyncio.sleep(0.01)
            backend.error = None
            await health_becomes(client.channel, "", health_pb2.HealthCheckResponse.SERVING)
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
            "the store cannot be asked: WrongLog",
            "the store cannot be asked: RuntimeError",
        ]


async def health_becomes(channel: grpc.aio.Channel, service: str, status: int) -> None:
    """Wait until health says this of a service."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
    async for answer in call:
        if answer.status == status:
            break
    call.cancel()


async def test_reflection(client: Client) -> None:
    """A tool that knows nothing of the service can ask which services there are."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", client.channel))
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    [answer] = [found async for found in call]
    assert {service.name for service in answer.list_services_response.service} == {
        "fleet.context.v1.ContextService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_stopping_server_finishes_its_calls(client: Client, stories: Stories) -> None:
    """A service that stops says so in its health, and a call that is under way still gets its answer."""
    entered, stopping = asyncio.Event(), asyncio.Event()
    ask = stories.ask

    async def slow(story_id: str, until: Any = None) -> Any:
        entered.set()
        await stopping.wait()
        return await ask(story_id, until)

    async def watch(channel: grpc.aio.Channel) -> None:
        await health_becomes(channel, "", health_pb2.HealthCheckResponse.NOT_SERVING)
        stopping.set()

    async with AsyncExitStack() as stack:
        server = AsyncExitStack()
        address = await server.enter_async_context(serving(stories, "127.0.0.1:0"))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        await create(client)
        stories.ask = slow  # type: ignore[method-assign]
        call = asyncio.ensure_future(type(client)(channel).get("S-1"))
        watching = asyncio.create_task(watch(channel))
        await entered.wait()
        await server.aclose()
        assert (await call).version == "1"
        await watching
