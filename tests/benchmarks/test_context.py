"""The log that the context service is asked about, and that everybody is asked everything. No number means anything."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from context_service.events.v1 import events_pb2 as pb
from context_service.story import EMPTY, evolve, link_of

from benchmarks.context import NO_CACHE, NO_SNAPSHOTS, NO_WORK, REPLAY, bench
from benchmarks.facts import STORY, Line, log_of
from benchmarks.measure import Scale
from benchmarks.stories import event

if TYPE_CHECKING:
    from pathlib import Path

PAST = {"context-at-time-cold", "context-at-version", "diff"}


def test_events_are_about_what_is_there() -> None:
    """What an event changes, links or takes back is in its story by then, and there is some of each kind."""
    rng = random.Random(3)
    state, kinds = EMPTY, set()
    for line in log_of(rng, 2_000, 600):
        if line.stream == STORY:
            message = event(line, rng)
            kinds.add(type(message).__name__.removesuffix("Event"))
            match message:
                case pb.DecisionChangedEvent() | pb.DecisionStatusChangedEvent():
                    assert message.decision_id in state.decisions
                case pb.SubtaskUpdatedEvent():
                    assert message.subtask_id in state.subtasks
                case pb.DecisionLinkedEvent():
                    assert message.source_id in state.decisions
                    assert message.target_id in {**state.decisions, **state.subtasks}
                case pb.DecisionUnlinkedEvent():
                    assert link_of(message) in state.links
            state = evolve(state, message)
    assert (len(state.decisions), len(state.subtasks), len(state.milestones)) == (60, 60, 30)
    assert kinds == {
        *("ContextCreated", "DecisionAdded", "DecisionChanged", "DecisionStatusChanged", "DecisionLinked"),
        *("DecisionUnlinked", "SubtaskAdded", "SubtaskUpdated", "MilestoneReached"),
    }


def test_an_event_is_the_same_for_the_same_seed() -> None:
    """A run can be repeated."""
    lines = log_of(random.Random(5), 300, 100)

    def told(lines: list[Line]) -> list[bytes]:
        rng = random.Random(7)
        return [event(line, rng).SerializeToString(deterministic=True) for line in lines]

    assert told(lines) == told(lines)


@pytest.mark.contract
@pytest.mark.timeout(180)
async def test_everybody_is_asked(tmp_path: Path) -> None:
    """There is a row for each question, number of clients, percentile and rival."""
    scale = Scale(rng=random.Random(11), seed=11, log_events=400, quick=True)
    rows = {(row.name, row.against) async for row in bench(scale, tmp_path)}
    expected = set()
    for clients, percent in ((clients, percent) for clients in ("", "-x32") for percent in (50, 99)):
        for kind in PAST | {"get-context", "context-at-time-warm", "graph-at", "history"}:
            rivals = {NO_WORK}
            if kind in ({"get-context", "context-at-time-cold"} if clients else PAST | {"get-context", "history"}):
                rivals.add(NO_SNAPSHOTS)
            if kind in {"get-context", "context-at-time-warm"}:
                rivals.add(NO_CACHE)
            if kind in PAST | {"get-context", "graph-at"} and not clients:
                rivals.add(REPLAY)
            expected |= {(f"{kind}{clients}-p{percent}", rival) for rival in rivals}
    assert rows - expected == {(f"context-at-time-first-p{percent}", NO_WORK) for percent in (50, 99)}
    assert expected <= rows
