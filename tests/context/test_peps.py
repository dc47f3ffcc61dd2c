"""The import of the PEPs against what the file itself says."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import eventstore._store as store_module
import pytest
from context_service.commands import Refused
from context_service.events.v1 import events_pb2
from context_service.peps import ImportFault, Report, import_peps, plan
from context_service.stories import Stories, codec
from eventstore import EventStore, MemorySnapshots, Occurred, digest_of
from eventstore.memory import MemoryBackend

from tests.context.conftest import PEPS
from tests.context.oracle import status_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LINES = [json.loads(line) for line in PEPS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
async def stories() -> AsyncIterator[Stories]:
    async with EventStore(MemoryBackend(), codec) as store:
        yield Stories(store, MemorySnapshots())


async def run(stories: Stories, path: Path = PEPS) -> Report:
    return await import_peps(stories.store, stories.snapshots, path, progress=lambda done, total: None)


def homes() -> dict[int, str]:
    steps, _ = plan(PEPS)
    found: dict[int, str] = {}
    for step in steps:
        for event in step.events:
            if hasattr(event, "decision_id"):
                found[int(event.decision_id.removeprefix("PEP-"))] = step.story_id
    return found


async def told(stories: Stories, home: str, pep: int, moment: int) -> str | None:
    """Return the status text of a PEP at a moment, as the service knows it; None before it came."""
    try:
        state = (await stories.ask(home, Occurred(datetime.fromtimestamp(moment, UTC)))).state
    except Refused:
        return None
    decision = state.decisions.get(f"PEP-{pep}")
    return None if decision is None else decision.status_text


async def differences(stories: Stories, seed: int, pairs: int = 200) -> list[tuple[int, int]]:
    """Return the random (PEP, date) pairs for which the service and the file disagree."""
    rng = random.Random(seed)
    where = homes()
    wrong: list[tuple[int, int]] = []
    for _ in range(pairs):
        # Half of the dates are exact times of a change, where an error of one event shows.
        line = rng.choice(LINES)
        pep = line["pep"]
        moment = rng.choice([line["ts"], rng.randint(LINES[0]["ts"], LINES[-1]["ts"])])
        if await told(stories, where[pep], pep, moment) != status_on(LINES, pep, moment):
            wrong.append((pep, moment))
    return wrong


async def test_counts(stories: Stories) -> None:
    """741 decisions in 29 stories come of 3,406 changes, and a second import changes nothing."""
    first = await run(stories)
    assert (first.changes, first.decisions, first.stories, first.written) == (3_406, 741, 29, 3_406)
    second = await run(stories)
    assert (second.written, second.already_there) == (0, 3_406)
    assert (second.head, second.digest) == (first.head, first.digest)


async def test_last_status(stories: Stories) -> None:
    """Every PEP ends with the last status text that the file gives it."""
    await run(stories)
    last = {line["pep"]: line["fields"]["Status"] or "" for line in LINES if "Status" in line["fields"]}
    assert len(last) == 741
    found: dict[int, str] = {}
    for home in set(homes().values()):
        for decision in (await stories.ask(home)).state.decisions.values():
            found[int(decision.id.removeprefix("PEP-"))] = decision.status_text
    assert found == last


@pytest.mark.timeout(60)
async def test_status_on_a_date(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 200 random dates the status is the file's, and a bound that is off by one event is found out."""
    await run(stories)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    assert await differences(stories, seed) == []

    def off_by_one(self: store_module.Bound, *, version: int, position: int, occurred: int) -> bool:
        return self.occurred is None or occurred < self.occurred

    monkeypatch.setattr(store_module.Bound, "admits", off_by_one)
    assert await differences(stories, seed) != []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"ts": 1', "line 2"),
        ("[]", "line 2"),
        ('{"ts":"x","commit":"c","pep":1,"kind":"changed","fields":{}}', "line 2.*ts"),
        ('{"ts":99999999999,"commit":"c","pep":1,"kind":"gone","fields":{}}', "line 2.*kind"),
        ('{"ts":2000000000,"commit":"c","pep":1,"kind":"changed","fields":{"Stat":"x"}}', "line 2.*Stat"),
        ('{"ts":2000000000,"commit":"c","pep":1,"kind":"changed","fields":{"Requires":["x"]}}', "line 2.*Requires"),
        ('{"ts":1,"commit":"c","pep":1,"kind":"changed","fields":{}}', "line 2.*older"),
        ('{"ts":2000000000,"commit":"c","pep":-1,"kind":"changed","fields":{}}', "line 2.*range"),
        ("\x00\x01", "line 2"),
        ("", "line 2"),
    ],
)
async def test_corrupt_line(stories: Stories, tmp_path: Path, text: str, problem: str) -> None:
    """A line that is not what it must be is named by its number, and nothing of the file is stored."""
    good = PEPS.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([good[100], text, good[101], ""]), encoding="utf-8")
    with pytest.raises(ImportFault, match=problem):
        await run(stories, path)
    assert (await stories.store.head()).position == 0


@pytest.mark.parametrize("content", [None, b""])
async def test_no_file(stories: Stories, tmp_path: Path, content: bytes | None) -> None:
    """A file that is not there, or holds nothing, is refused."""
    path = tmp_path / "none.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImportFault, match=r"none\.jsonl"):
        await run(stories, path)


async def test_import_after_a_change_by_hand(stories: Stories) -> None:
    """What somebody wrote between a stopped import and its repetition stays, and the import is completed."""

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == total // 7:
            raise Stopped

    with pytest.raises(Stopped):
        await import_peps(stories.store, stories.snapshots, PEPS, progress=stop)
    stream = stories.stream("process")
    tail = await stories.store.tail(stream)
    mine = events_pb2.MilestoneReachedEvent(milestone_id="M-1", event_type="human_edit")
    await stories.store.append(stream, [mine], expected=tail.version)
    assert (await run(stories)).written == 3_406 - 3_406 // 7
    assert (await run(stories)).written == 0
    assert "M-1" in (await stories.ask("process")).state.milestones
    assert sum([len((await stories.ask(home)).state.decisions) for home in set(homes().values())]) == 741


async def test_digest_is_of_content(stories: Stories) -> None:
    """Two imports into two stores have one digest, whatever their times and log ids."""
    first = await run(stories)
    async with EventStore(MemoryBackend(), codec) as other:
        await import_peps(other, Stories(other, MemorySnapshots()).snapshots, PEPS, progress=lambda done, total: None)
        assert (await digest_of(other)).hexdigest == first.digest
