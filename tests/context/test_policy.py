"""The policy file: what it grants, and that a wrong one grants nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from context_service.policy import Policy, PolicyFault

from tests.context.test_scopes import ALL_CELLS, CELLS

if TYPE_CHECKING:
    from pathlib import Path


def test_values_in_force() -> None:
    """The policy of this release grants what its owners wrote down, to nobody else anything."""
    policy = Policy.load()
    assert {cell: list(policy.scopes(*cell)) for cell in ALL_CELLS} == {cell: CELLS.get(cell, []) for cell in ALL_CELLS}


@pytest.mark.parametrize("written", ["docs: {QA: [MILESTONES]}", "DOC: {qa: [MILESTONES]}", "Docs: {Qa: [MILESTONES]}"])
def test_spellings(tmp_path: Path, written: str) -> None:
    """A file may write phases and roles as callers do."""
    file = tmp_path / "policy.yaml"
    file.write_text(f"phases: {{{written}}}")
    assert Policy.load(file).scopes("DOC", "qa") == ("MILESTONES",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected one key, phases; got None"),
        ("[]", "expected one key, phases; got []"),
        ("phases: {}\nroles: {}", "expected one key, phases; got {"),
        ("phases:", "phases: expected a mapping from a phase, got None"),
        ("phases: [DESIGN]", "phases: expected a mapping from a phase, got ['DESIGN']"),
        ("phases: {1: {}}", "phases: expected a mapping from a phase, got {1: {}}"),
        ("phases: {PARTY: {}}", "phases.PARTY: expected one of DESIGN, BUILD, TEST, DOC"),
        ("phases: {DOC: }", "phases.DOC: expected a mapping from a role, got None"),
        ("phases: {DOC: {ceo: []}}", "phases.DOC.ceo: expected one of architect, developer, devops, qa, data"),
        ("phases: {DOC: {qa: }}", "phases.DOC.qa: expected a list of scopes, got None"),
        ("phases: {DOC: {qa: MILESTONES}}", "phases.DOC.qa: expected a list of scopes, got 'MILESTONES'"),
        ("phases: {DOC: {qa: [milestones]}}", "phases.DOC.qa: expected one of CASE_HEADER, "),
        ("phases: {DOC: {qa: [{a: 1}]}}", "SUMMARY_LAST; got {'a': 1}"),
        ("phases: {DOC: {qa: [MILESTONES, MILESTONES]}}", "phases.DOC.qa: expected MILESTONES once, found it again"),
        ("phases: {DOC: {qa: [], QA: []}}", "phases.DOC.QA: expected once, but another spelling of it stands before"),
        ("phases: {DOC: {}, DOCS: {qa: []}, doc: {qa: []}}", "phases.doc.qa: expected once, but another spelling"),
        ("phases:\n  DOC: {qa: []}\n  DOC: {}", "phases.DOC: expected once, found again in line 3"),
        ("phases:\n  DOC:\n    qa: []\n    qa: []", "phases.DOC.qa: expected once, found again in line 4"),
        ("phases: {", "expected a policy in YAML: while parsing"),
        ("phases: !!python/object:os.system {}", "expected a policy in YAML: could not determine a constructor"),
        ("\x00", "expected a policy in YAML: unacceptable character"),
    ],
)
def test_a_wrong_file_grants_nothing(tmp_path: Path, text: str, problem: str) -> None:
    """What the file says wrong is named, with the place, and nothing is granted instead."""
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyFault) as caught:
        Policy.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert problem in str(caught.value)


def test_a_missing_file_grants_nothing(tmp_path: Path) -> None:
    """Without its file there is no policy, and so nobody to grant anything."""
    with pytest.raises(PolicyFault, match=r"no\.yaml: expected a policy in YAML: "):
        Policy.load(tmp_path / "no.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A file that is no text is refused like one that is no YAML."""
    (tmp_path / "policy.yaml").write_bytes(b"\xff")
    with pytest.raises(PolicyFault, match="expected a policy in YAML: "):
        Policy.load(tmp_path / "policy.yaml")
