"""Two processes of the service on real NATS, Neo4j and Valkey: each message once, whatever is killed."""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from context_service.bus import DEAD, UPDATES, Bus, open_bus
from context_service.messages import SUBJECTS
from context_service.stories import codec
from eventstore import StreamId, commit_id_of, open_store
from valkey.asyncio import Valkey

from tests.context.test_graph_neo4j import emptied
from tests.eventstore.nats_servers import Admin, administration, free_ports, one_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EACH: Final = int(os.environ.get("MESSAGES", "1000"))
CALM: Final = EACH * 6 // 10
VALKEY_DB: Final = 9


class Service:
    """One process of the service."""

    def __init__(self, folder: Path, name: str, env: dict[str, str]) -> None:
        self._folder, self._name, self._env = folder, name, env
        self.port, self.metrics = free_ports(2)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves."""
        words = ("serve", "--listen", f"127.0.0.1:{self.port}", "--metrics", f"127.0.0.1:{self.metrics}")
        with (self._folder / f"{self._name}.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "context_service", *words],
                env={**os.environ, **self._env},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        assert any(line.startswith("serving on") for line in self.process.stdout)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """End it as an operator would."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def count(self, outcome: str) -> int:
        """Return of how many messages this process says that this became of them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        pattern = rf'^context_messages_total{{outcome="{outcome}",subject="[^"]*"}} (\S+)$'
        return sum(int(float(number)) for number in re.findall(pattern, text, re.MULTILINE))


@contextmanager
def two(folder: Path, env: dict[str, str]) -> Iterator[tuple[Service, Service]]:
    services = Service(folder, "one", env), Service(folder, "two", env)
    try:
        for service in services:
            service.start()
        yield services
    finally:
        for service in services:
            if service.process and service.process.poll() is None:
                service.kill()


def bodies(number: int) -> dict[str, dict[str, Any]]:
    """Return a message for each subject about one story, most of which need others to come first."""
    story, plan, task = f"S-{number}", f"P-{number}", f"T-{number}"
    return {
        "context.update.request": {
            "story_id": story,
            "changes": [
                {"operation": "CREATE", "entity_type": "CASE"},
                {"operation": "CREATE", "entity_type": "PLAN", "entity_id": plan},
                {"operation": "CREATE", "entity_type": "SUBTASK", "entity_id": task, "payload": {"title": "Ä"}},
            ],
        },
        "context.rehydrate.request": {"case_id": story, "roles": ["DEV"], "include_timeline": True},
        "planning.story.transitioned": {"story_id": story, "from_phase": "DESIGN", "to_phase": "BUILD"},
        "planning.plan.approved": {"story_id": story, "plan_id": plan, "approved_by": "ann"},
        "planning.project.created": {"project_id": f"PR-{number}", "name": "Shop"},
        "planning.epic.created": {"epic_id": f"E-{number}", "project_id": f"PR-{number}", "title": "Users"},
        "planning.story.created": {"story_id": story, "epic_id": f"E-{number}", "name": "Log in"},
        "planning.task.created": {"task_id": f"{task}-b", "plan_id": plan, "title": "Table"},
        "orchestration.deliberation.completed": {
            "story_id": story,
            "task_id": task,
            "decisions": [{"type": "design", "rationale": "simple", "affected_subtask": task}],
        },
        "orchestration.task.dispatched": {"story_id": story, "task_id": task, "agent_id": "a-1", "role": "DEV"},
    }


def stream_of(subject: str, body: dict[str, Any], number: int) -> StreamId:
    if subject in {"planning.project.created", "planning.epic.created"}:
        category = subject.split(".")[1]
        return StreamId(category, body[f"{category}_id"])
    return StreamId("story", body.get("story_id", f"S-{number}"))


async def publish(admin: Admin, numbers: range, chance: random.Random) -> None:
    """Send a message for each subject and number in any order, one in ten of them twice."""
    letters = [
        (subject, json.dumps({**body, "event_id": f"e-{number}"}).encode())
        for number in numbers
        for subject, body in bodies(number).items()
        for _ in range(1 + (chance.random() < 0.1))
    ]
    chance.shuffle(letters)
    for at in range(0, len(letters), 200):
        await asyncio.gather(*(admin.publish(*letter) for letter in letters[at : at + 200]))


async def idle(admin: Admin, seconds: float) -> None:
    """Wait until no consumer has anything left."""
    end = time.monotonic() + seconds
    while True:
        left = 0
        for stream in ("PLANNING", "ORCHESTRATION", "CONTEXT_REQUESTS"):
            for info in (await admin.api(f"CONSUMER.LIST.{stream}"))["consumers"] or ():
                left += info["num_pending"] + info["num_ack_pending"]
        if not left:
            return
        assert time.monotonic() < end, f"{left} messages left"
        await asyncio.sleep(0.2)


async def stored(bus: Bus, stream: str) -> list[tuple[str, dict[str, Any]]]:
    sequence, found = 0, []
    while message := await bus.message(stream, sequence):
        sequence = message.seq or 0
        found.append((message.subject or "", json.loads(message.data or b"")))
    return found


async def dead(bus: Bus) -> int:
    stream, sequence, count = await bus.carrier(DEAD.subjects[0]), 0, 0
    while message := await bus.message(str(stream), sequence):
        sequence, count = message.seq or 0, count + 1
    return count


def shares(services: tuple[Service, Service]) -> list[int]:
    return [service.count("done") for service in services]


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_each_message_once(tmp_path: Path, neo4j_2026: str, valkey: str) -> None:
    """A thousand messages on each of ten subjects, poison among them, and a kill in mid-run: each has its effect once.

    Each process handles at least a third, poison is a dead letter and is handled when it is replayed after a fix, and
    the updates are the commits of the log, all of them and in its order.
    """
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}, {EACH} messages a subject")
    chance = random.Random(seed)
    cache = re.sub(r"/\d*$", "", valkey) + f"/{VALKEY_DB}"
    with one_server(tmp_path) as server:
        store = f"{server.url}/CONTEXT?prefix=context.events"
        env = {
            "CONTEXT_STORE": store,
            "CONTEXT_NATS": server.url,
            "CONTEXT_GRAPH": neo4j_2026,
            "CONTEXT_CACHE": cache,
            "CONTEXT_SNAPSHOTS": "memory://",
        }
        async with (
            administration(server.url) as admin,
            open_bus(server.url) as bus,
            emptied(neo4j_2026) as graph,
            Valkey.from_url(cache) as client,
        ):
            assert bus is not None
            await client.flushdb()
            for name in ("planning", "orchestration"):
                await admin.api(f"STREAM.CREATE.{name.upper()}", {"name": name.upper(), "subjects": [f"{name}.>"]})
            with two(tmp_path, env) as services:
                # ----- both in peace: they share
                began = time.monotonic()
                await publish(admin, range(CALM), chance)
                await idle(admin, 300)
                one, other = shares(services)
                print(f"{one} and {other} messages handled, in {time.monotonic() - began:.1f} s")
                assert min(one, other) >= (one + other) / 3

                # ----- poison, and a kill in the middle
                orphans = [f"orphan-{number}" for number in range(10)]
                for number, subject in enumerate(SUBJECTS):
                    await admin.publish(subject, b'{"poison": ')
                    task = {"task_id": "T", "plan_id": f"P-{orphans[number]}", "title": "x", "event_id": "o"}
                    await admin.publish("planning.task.created", json.dumps(task).encode())
                sending = asyncio.create_task(publish(admin, range(CALM, EACH), chance))
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                services[0].kill()
                print("killed, with", services[1].count("done"), "handled by the other")
                await asyncio.to_thread(services[0].start)
                await sending
                await idle(admin, 600)
                assert await dead(bus) == 20

                # ----- the fix: stories with those plans; what is no JSON stays dead
                for orphan in orphans:
                    fix = {
                        "story_id": orphan,
                        "event_id": "fix",
                        "changes": [
                            {"operation": "CREATE", "entity_type": "CASE"},
                            {"operation": "CREATE", "entity_type": "PLAN", "entity_id": f"P-{orphan}"},
                        ],
                    }
                    await admin.publish("context.update.request", json.dumps(fix).encode())
                await idle(admin, 60)
                words = (sys.executable, "-m", "context_service", "dead-letters", "replay", "--all")
                replayed = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=True)
                assert replayed.stdout == "20 replayed\n"
                await idle(admin, 300)
                assert await dead(bus) == 10

                await check(store, bus, orphans)
                await settled(graph, client, store)
                assert [service.stop() for service in services] == [0, 0]


async def check(store: str, bus: Bus, orphans: list[str]) -> None:
    """See that each message is in the log once, was answered, and that the updates tell all of it in order."""
    async with open_store(store, codec, create=False) as log:
        commits = [commit async for commit in log.log()]
        head = (await log.head()).position
    found = collections.Counter(commit.commit_id for commit in commits)
    wanted = {
        commit_id_of(stream_of(subject, body, number), f"{subject}:e-{number}"): (subject, number)
        for number in range(EACH)
        for subject, body in bodies(number).items()
        if subject != "context.rehydrate.request"
    }
    for orphan in orphans:
        wanted[commit_id_of(StreamId("story", orphan), "context.update.request:fix")] = ("fix", 0)
        wanted[commit_id_of(StreamId("story", orphan), "planning.task.created:o")] = ("orphan", 0)
    assert [wanted[id] for id in wanted.keys() - found.keys()] == []
    assert found.keys() - wanted.keys() == set()
    assert set(found.values()) == {1}

    answers = await stored(bus, "CONTEXT_ANSWERS")
    for subject in ("context.update.response", "context.rehydrate.response"):
        said = {body["event_id"] for told, body in answers if told == subject and "error" not in body}
        assert said - {"fix"} == {f"e-{number}" for number in range(EACH)}

    while True:
        updates = [body for _, body in await stored(bus, UPDATES.name)]
        stories = [commit for commit in commits if commit.stream.category == "story"]
        if len(updates) >= len(stories):
            break
        await asyncio.sleep(0.5)
    assert [(each["event_id"], each["story_id"], each["version"]) for each in updates] == [
        (commit.commit_id.hex(), commit.stream.id, commit.version) for commit in stories
    ]
    positions = [int(each["position"].rpartition(":")[2]) for each in updates]
    assert all(one < two for one, two in itertools.pairwise(positions))
    print(f"{len(commits)} commits, {len(updates)} updates, head {head}")


async def settled(graph: Any, client: Any, store: str) -> None:
    """Wait until the read models have all stories."""
    async with open_store(store, codec, create=False) as log:
        stories = {info.stream.id async for info in log.streams("story")}
    while True:
        cases = await graph.execute_query("MATCH (c:Case) RETURN count(c) AS n")
        specs = [key async for key in client.scan_iter("swe:case:*:spec", count=1_000)]
        if cases.records[0]["n"] == len(specs) == len(stories):
            return
        await asyncio.sleep(0.5)
