"""What sessions start from: packs by role, and bundles that can be read again for a while."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_service.app import serving
from context_service.bundles import InMemory, InValkey, open_bundles
from context_service.v1 import context_pb2 as pb
from eventstore import InvalidInput
from valkey.asyncio import Valkey

from tests.context.conftest import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.bundles import Bundles
    from context_service.stories import Stories

Code = grpc.StatusCode


async def told(client: Client) -> None:
    """Tell a story in which each role has something that the others do not."""
    change = client.change
    await client.update(
        "S-1",
        change("CREATE", "CASE", title="Checkout", description="Pay", acceptance_criteria=["fast"]),
        change("CREATE", "PLAN", "P-1", version=2, status="APPROVED"),
        change("CREATE", "SUBTASK", "T-1", title="Form", description="Fields", role="DEV", priority=1, status="DONE"),
        change("CREATE", "SUBTASK", "T-2", title="Cases", role="QA", dependencies=["T-1"], status="blocked"),
        change("CREATE", "SUBTASK", "T-3", title="Model", role="DEV", status="cancelled"),
        change("CREATE", "DECISION", "D-1", title="Invoice", rationale="No card", status="APPROVED", affects=["T-1"]),
        change("CREATE", "DECISION", "D-2", title="Retry", depends_on=["D-1"], affects=["T-2"], decided_by="qa"),
        change("CREATE", "DECISION", "D-3", title="Old", status="REJECTED", affects=["T-1"]),
        change("CREATE", "DECISION", "D-4", title="Gone", affects=["T-1"]),
        change("DELETE", "DECISION", "D-4"),
        *(
            change("CREATE", "MILESTONE", f"M-{n}", event_type="human_edit", description=f"edit {n}", ts_ms=n * 1000)
            for n in range(1, 61)
        ),
        change("CREATE", "SUMMARY", role="DEV", text="form is done"),
        change("CREATE", "SUMMARY", role="QA", text="waiting"),
        role="architect",
        timestamp="2026-01-02T03:04:05Z",
    )


async def rehydrated(client: Client, *roles: str, **fields: Any) -> pb.RehydrateSessionResponse:
    request = pb.RehydrateSessionRequest(case_id="S-1", roles=roles, **fields)
    answer: pb.RehydrateSessionResponse = await client.stub.RehydrateSession(request)
    return answer


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@asynccontextmanager
async def served(stories: Stories, bundles: Bundles | None) -> AsyncIterator[Client]:
    """Serve stories with bundles of one's own."""
    where = serving(stories, "127.0.0.1:0", bundles=bundles)
    async with where as address, grpc.aio.insecure_channel(address) as channel:
        yield Client(channel)


class TestPacks:
    async def test_whole(self, client: Client, stories: Stories) -> None:
        """A pack has every field of what its role is to know."""
        await told(client)
        answer = await rehydrated(client, "DEV", include_timeline=True, include_summaries=True, timeline_events=2)
        pack = answer.packs["DEV"]
        assert pack == pb.RoleContextPack(
            role="developer",
            case_header=pb.CaseHeader(
                case_id="S-1",
                title="Checkout",
                description="Pay",
                status="DRAFT",
                created_at="2026-01-02T03:04:05Z",
                created_by="architect",
            ),
            plan_header=pb.PlanHeader(
                plan_id="P-1", version=2, status="APPROVED", total_subtasks=3, completed_subtasks=1
            ),
            subtasks=[
                pb.Subtask(
                    subtask_id="T-1", title="Form", description="Fields", role="developer", status="done", priority=1
                ),
                pb.Subtask(subtask_id="T-3", title="Model", role="developer", status="cancelled"),
            ],
            decisions=[
                pb.Decision(
                    id="D-1",
                    title="Invoice",
                    rationale="No card",
                    status="APPROVED",
                    decided_by="architect",
                    decided_at="2026-01-02T03:04:05Z",
                )
            ],
            decision_deps=[pb.DecisionRelation(src_id="D-2", dst_id="D-1", relation_type="DEPENDS_ON")],
            impacted=[pb.ImpactedSubtask(decision_id="D-1", subtask_id="T-1", title="Form")],
            milestones=[
                pb.Milestone(event_type="human_edit", description=f"edit {n}", ts_ms=n * 1000, actor="architect")
                for n in (59, 60)
            ],
            last_summary="form is done",
            token_budget_hint=4096 + 2 * 256 + 128,
        )
        assert answer.stats == pb.RehydrationStats(decisions=3, decision_edges=1, impacts=3, events=2, roles=["DEV"])
        folded = await stories.ask("S-1")
        assert (answer.version, answer.position) == (folded.version, str(folded.token))

    async def test_dependencies(self, client: Client) -> None:
        """A subtask comes with its status and with what it depends on, a decision with what it rests on."""
        await told(client)
        pack = (await rehydrated(client, "qa")).packs["qa"]
        assert [(task.subtask_id, task.status, list(task.dependencies)) for task in pack.subtasks] == [
            ("T-2", "blocked", ["T-1"]),
            ("T-1", "done", []),
            ("T-3", "cancelled", []),
        ]
        assert {decision.id for decision in pack.decisions} == {"D-1", "D-2"}

    async def test_wide_where_granted(self, client: Client) -> None:
        """A role that the policy lets see all of a story in its phase gets all of it that guides."""
        await told(client)
        packs = (await rehydrated(client, "architect", "developer")).packs
        assert {decision.id for decision in packs["architect"].decisions} == {"D-1", "D-2"}
        assert {decision.id for decision in packs["developer"].decisions} == {"D-1"}
        assert packs["architect"].token_budget_hint == 8192 + 2 * 128

    async def test_keys(self, client: Client) -> None:
        """Packs are keyed as the caller wrote the roles; the role in a pack is in one spelling."""
        await told(client)
        answer = await rehydrated(client, "DEV", "Developer", "QA")
        assert {key: pack.role for key, pack in answer.packs.items()} == {
            "DEV": "developer",
            "Developer": "developer",
            "QA": "qa",
        }
        assert list(answer.stats.roles) == ["DEV", "Developer", "QA"]

    async def test_no_roles(self, client: Client) -> None:
        """Without roles there are no packs, and the numbers all the same."""
        await told(client)
        answer = await rehydrated(client)
        assert (dict(answer.packs), answer.stats.decisions) == ({}, 3)

    async def test_left_out(self, client: Client) -> None:
        """The timeline and the summary come where they are asked for."""
        await told(client)
        answer = await rehydrated(client, "DEV")
        assert (list(answer.packs["DEV"].milestones), answer.packs["DEV"].last_summary) == ([], "")
        assert answer.stats.events == 0

    @pytest.mark.parametrize("events", [0, -3])
    async def test_timeline(self, client: Client, events: int) -> None:
        """A timeline of no length is the last 50 events, the oldest first."""
        await told(client)
        answer = await rehydrated(client, "DEV", include_timeline=True, timeline_events=events)
        assert [one.ts_ms for one in answer.packs["DEV"].milestones] == [n * 1000 for n in range(11, 61)]
        assert answer.stats.events == 50

    @pytest.mark.parametrize(
        ("fields", "code", "named"),
        [
            ({"roles": ["DEV", "boss"]}, Code.INVALID_ARGUMENT, "roles[1]: expected one of architect"),
            ({"case_id": ""}, Code.INVALID_ARGUMENT, "case_id: "),
            ({"case_id": "S-2"}, Code.NOT_FOUND, "story_id: "),
        ],
    )
    async def test_refused(self, client: Client, fields: dict[str, Any], code: grpc.StatusCode, named: str) -> None:
        """What cannot be answered is refused by name."""
        await told(client)
        request = pb.RehydrateSessionRequest(**({"case_id": "S-1"} | fields))
        found, text = await refused(client.stub.RehydrateSession(request))
        assert (found, text.startswith(named)) == (code, True), text


class TestBundles:
    async def test_again(self, client: Client) -> None:
        """A bundle is read again as it was, whatever has become of the story."""
        await told(client)
        kept = await rehydrated(client, "DEV", "qa", persist_bundle=True, include_timeline=True)
        assert kept.expires_at_ms == kept.generated_at_ms + 3_600_000
        await client.update("S-1", client.change("UPDATE", "CASE", title="Later"))
        request = pb.GetRehydrationBundleRequest(case_id="S-1", generated_at_ms=kept.generated_at_ms)
        assert await client.stub.GetRehydrationBundle(request) == kept

    async def test_not_kept(self, client: Client) -> None:
        """What was not to be kept cannot be read again, nor can a bundle of another story."""
        await told(client)
        for case_id, persist in (("S-1", False), ("S-2", True)):
            answer = await rehydrated(client, "DEV", persist_bundle=persist)
            request = pb.GetRehydrationBundleRequest(case_id=case_id, generated_at_ms=answer.generated_at_ms)
            code, text = await refused(client.stub.GetRehydrationBundle(request))
            assert (code, text.startswith("generated_at_ms: ")) == (Code.NOT_FOUND, True)

    async def test_at_once(self, stories: Stories) -> None:
        """Two bundles of one moment are two, and each is read by the time that its answer names."""
        async with served(stories, InMemory()) as client:
            await told(client)
            answers = [await rehydrated(client, role, persist_bundle=True) for role in ("DEV", "QA", "DEVOPS")]
            assert len({answer.generated_at_ms for answer in answers}) == 3
            for answer in answers:
                request = pb.GetRehydrationBundleRequest(case_id="S-1", generated_at_ms=answer.generated_at_ms)
                assert await client.stub.GetRehydrationBundle(request) == answer

    async def test_nowhere(self, stories: Stories) -> None:
        """A process without a cache says that it keeps none, and answers all else."""
        async with served(stories, None) as client:
            await told(client)
            assert (await rehydrated(client, "DEV")).packs
            code, text = await refused(rehydrated(client, "DEV", persist_bundle=True))
            assert (code, text.startswith("persist_bundle: ")) == (Code.FAILED_PRECONDITION, True)

    async def test_unavailable(self, stories: Stories) -> None:
        """Success is not answered when the bundle was not kept; the answer names the cache, and not where it is."""
        client = Valkey(host="127.0.0.1", port=1)
        async with served(stories, InValkey(client)) as caller:
            await told(caller)
            code, text = await refused(rehydrated(caller, "DEV", persist_bundle=True))
            assert (code, text) == (Code.UNAVAILABLE, "the cache is not available (ConnectionError); try again")
            request = pb.GetRehydrationBundleRequest(case_id="S-1", generated_at_ms=1)
            assert await refused(caller.stub.GetRehydrationBundle(request)) == (code, text)
        await client.aclose()

    async def test_expires(self) -> None:
        """In memory a bundle is gone when its time has come, and its key is free again."""
        now = 100.0
        bundles = InMemory(now=lambda: now)
        assert await bundles.keep("k", "one", seconds=10)
        assert not await bundles.keep("k", "two", seconds=10)
        now = 109.9
        assert await bundles.find("k") == "one"
        now = 110.0
        assert await bundles.find("k") is None
        assert await bundles.keep("k", "two", seconds=10)

    async def test_settings(self) -> None:
        """Bundles are where the planning cache is."""
        async with open_bundles("") as one, open_bundles("memory://") as two, open_bundles("none") as three:
            assert (type(one), type(two), three) == (InMemory, InMemory, None)
        async with open_bundles("valkey://127.0.0.1:1/0") as four:
            assert isinstance(four, InValkey)
        with pytest.raises(InvalidInput, match="cache: expected valkey"):
            async with open_bundles("redis://127.0.0.1"):
                pass


@pytest.mark.contract
class TestValkey:
    async def test_shape(self, stories: Stories, valkey: str) -> None:
        """A bundle is JSON that others can read, under the key they know, and goes by itself."""
        async with open_bundles(valkey) as bundles, served(stories, bundles) as client:
            await told(client)
            kept = await rehydrated(client, "DEV", persist_bundle=True, ttl_seconds=100, include_timeline=True)
            request = pb.GetRehydrationBundleRequest(case_id="S-1", generated_at_ms=kept.generated_at_ms)
            assert await client.stub.GetRehydrationBundle(request) == kept
        key = f"swe:case:S-1:handoff:{kept.generated_at_ms}"
        async with Valkey.from_url(valkey) as reader:
            bundle = json.loads(await reader.get(key))
            assert 0 < await reader.ttl(key) <= 100
            await reader.delete(key)
        assert (bundle["case_id"], bundle["generated_at_ms"]) == ("S-1", kept.generated_at_ms)
        assert bundle["stats"] == {
            "decisions": 3,
            "decision_edges": 1,
            "impacts": 3,
            "events": 50,
            "roles": ["DEV"],
        }
        pack = bundle["packs"]["DEV"]
        assert pack["milestones"][0] == {
            "event_type": "human_edit",
            "description": "edit 11",
            "ts_ms": 11_000,
            "actor": "architect",
        }
        assert [task["status"] for task in pack["subtasks"]] == ["done", "cancelled"]
