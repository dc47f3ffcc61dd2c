"""The import of the PEPs against what the file itself says."""

from __future__ import annotations

import asyncio
import json
import random
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import eventstore._store as store_module
import pytest
from context_service.commands import Refused
from context_service.events.v1 import events_pb2
from context_service.peps import ImportFault, Report, import_peps, plan
from context_service.stories import Stories, codec, open_stories
from eventstore import EventStore, MemorySnapshots, Occurred, digest_of
from eventstore.memory import MemoryBackend

from tests.context.conftest import PEPS
from tests.context.oracle import status_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
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
        # Two of three dates are the times of a change or just before it, where an error of one event shows.
        line = rng.choice(LINES)
        pep = line["pep"]
        moment = rng.choice([line["ts"], line["ts"] - 1, rng.randint(LINES[0]["ts"], LINES[-1]["ts"])])
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


async def test_homes(stories: Stories) -> None:
    """A PEP is in the story of the first version that the file ever names for it, else in that of the process."""
    expected: dict[int, str] = {}
    for line in LINES:
        found = re.search(r"\d+\.\d+", line["fields"].get("Python-Version") or "")
        if expected.get(line["pep"], "process") == "process":
            expected[line["pep"]] = f"python-{found.group()}" if found else "process"
    await run(stories)
    kept = {
        int(id.removeprefix("PEP-")): info.stream.id
        async for info in stories.store.streams("story")
        for id in (await stories.ask(info.stream.id)).state.decisions
    }
    assert kept == expected
    assert sum(home == "process" for home in kept.values()) == 212


async def test_a_story_that_exists_is_not_made_again(stories: Stories) -> None:
    """An import into a story that somebody has made leaves what it is called and adds its decisions."""
    made = events_pb2.ContextCreatedEvent(title="Ours", phase="BUILD")
    await stories.store.append(stories.stream("python-3.12"), [made], expected=0)
    assert (await run(stories)).decisions == 741
    state = (await stories.ask("python-3.12")).state
    assert (state.title, state.phase, "PEP-701" in state.decisions) == ("Ours", "BUILD", True)


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
async def test_status_on_a_date(stories: Stories) -> None:
    """On 200 random dates the status is the file's."""
    await run(stories)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    assert await differences(stories, seed) == []


def excluding(self: store_module.Bound, *, version: int, position: int, occurred: int) -> bool:
    del version, position
    return self.occurred is None or occurred < self.occurred


def one_second_more(self: store_module.Bound, *, version: int, position: int, occurred: int) -> bool:
    del version, position
    return self.occurred is None or occurred <= self.occurred + 1_000_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", [excluding, one_second_more])
async def test_an_error_of_one_event_is_found_out(
    stories: Stories, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., bool]
) -> None:
    """A bound that leaves out its own moment, or takes in the next second, turns the check above red."""
    await run(stories)
    monkeypatch.setattr(store_module.Bound, "admits", wrong)
    assert await differences(stories, random.randrange(10**6)) != []


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


async def test_too_large_a_line(stories: Stories, tmp_path: Path) -> None:
    """A line that would not fit into one commit is named before anything is stored."""
    line = LINES[102] | {"abstract": "x" * 1_048_000}
    path = tmp_path / "large.jsonl"
    path.write_text("\n".join(map(json.dumps, [LINES[100], LINES[101], line])), encoding="utf-8")
    with pytest.raises(ImportFault, match=r"line 3: is too large"):
        await run(stories, path)
    assert (await stories.store.head()).position == 0


async def test_first_second(stories: Stories, tmp_path: Path) -> None:
    """A change at the Unix epoch is one like others, and a file of one line is a file."""
    path = tmp_path / "early.jsonl"
    path.write_text(json.dumps(LINES[0] | {"ts": 0}), encoding="utf-8")
    report = await run(stories, path)
    assert (report.changes, report.written) == (1, 1)
    assert (await stories.ask(report_story(path))).state.decisions["PEP-1"].decided_at == "1970-01-01T00:00:00Z"


def report_story(path: Path) -> str:
    [step] = plan(path)[0]
    return step.story_id


async def test_links(stories: Stories, tmp_path: Path) -> None:
    """Requires, Replaces, Superseded-By and mentions are links, also to what is not there; a change restates them."""
    fields = {"Title": "t", "Status": "Draft"}
    lines = [
        {"pep": 1, "kind": "created", "fields": fields | {"Requires": [2], "Replaces": [3]}, "references": [1, 9]},
        {"pep": 2, "kind": "created", "fields": fields | {"Superseded-By": [1]}},
        {"pep": 1, "kind": "changed", "fields": {"Requires": None, "Replaces": [2]}, "references": [9]},
        {"pep": 2, "kind": "changed", "fields": {"Superseded-By": []}},
    ]
    path = tmp_path / "links.jsonl"
    for many, expected in (
        (2, {"DEPENDS_ON PEP-2", "SUPERSEDES PEP-3", "SUPERSEDES PEP-2", "RELATES_TO PEP-9"}),
        (3, {"SUPERSEDES PEP-2", "RELATES_TO PEP-9"}),
        (4, {"SUPERSEDES PEP-2", "RELATES_TO PEP-9"}),
    ):
        text = [json.dumps({"ts": number, "commit": "c"} | line) for number, line in enumerate(lines[:many])]
        path.write_text("\n".join(text), encoding="utf-8")
        report = await run(stories, path)
        links = (await stories.ask("process")).state.links
        assert {link.source for link in links} == {"PEP-1"}
        assert {f"{link.kind} {link.target}" for link in links} == expected
        assert report.odd["links to decisions that never came"] == (2 if many < 5 else 0)


async def test_two_imports_at_once(tmp_path: Path) -> None:
    """Two imports into one log at once write each change once; the log is that of one import alone."""
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(PEPS.read_text(encoding="utf-8").splitlines()[:500]), encoding="utf-8")
    url = f"sqlite:///{tmp_path}/context.db?durability=normal"
    async with open_stories(url) as one, open_stories(url) as two:
        reports = await asyncio.gather(run(one, path), run(two, path))
        assert (await one.store.head()).position == 500
        together = (await digest_of(one.store)).hexdigest
    assert [report.written + report.already_there for report in reports] == [500, 500]
    async with EventStore(MemoryBackend(), codec) as alone:
        assert (await run(Stories(alone, MemorySnapshots()), path)).digest == together


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


async def test_last_links(stories: Stories) -> None:
    """Every decision ends with the links that the file states last, each of its kind and in its direction."""
    await run(stories)
    stated: dict[tuple[int, str], list[int]] = {}
    for line in LINES:
        for name in ("Requires", "Replaces", "Superseded-By"):
            if name in line["fields"]:
                stated[line["pep"], name] = line["fields"][name] or []
        if "references" in line:
            stated[line["pep"], "references"] = line["references"]
    wanted: set[tuple[str, str, str]] = set()
    for (pep, name), others in stated.items():
        kind = {"Requires": "DEPENDS_ON", "references": "RELATES_TO"}.get(name, "SUPERSEDES")
        for other in others:
            source, target = (other, pep) if name == "Superseded-By" else (pep, other)
            if source != target:
                wanted.add((f"PEP-{source}", kind, f"PEP-{target}"))
    found: set[tuple[str, str, str]] = set()
    for home in set(homes().values()):
        found |= {(link.source, link.kind, link.target) for link in (await stories.ask(home)).state.links}
    assert found == wanted


async def test_irregular_steps_are_counted(stories: Stories, tmp_path: Path) -> None:
    """Steps that the state machine would not allow are recorded as observed, and counted."""
    path = tmp_path / "steps.jsonl"
    statuses = ["Draft", "Final", "Draft", "Accepted", "Final", "Final"]  # three regular steps, two irregular, one none
    line = {"commit": "c", "pep": 1, "kind": "changed"}
    rows = [line | {"ts": number, "fields": {"Status": status}} for number, status in enumerate(statuses, 1)]
    path.write_text("\n".join(map(json.dumps, [rows[0] | {"kind": "created"}, *rows[1:]])) + "\n", encoding="utf-8")
    report = await run(stories, path)
    assert report.odd["irregular steps of status"] == 2
    assert (await stories.ask("process")).state.decisions["PEP-1"].status_text == "Final"
