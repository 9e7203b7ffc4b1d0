"""Each plan's size and coverage at seed 0: judging less is a visible change."""

import functools
from pathlib import Path

import pytest
from user import ROOT

from mace_conformance.options import Options
from mace_conformance.promises.known_issues import matching
from mace_conformance.promises.reach import reaches
from mace_conformance.session import Session
from mace_conformance.subjects.hardware import Hardware

PINNED = Path(__file__).parent / "data"


@functools.cache
def planned(plan):
    return Session(Options(root=ROOT, plan=plan, device="cpu"), Hardware("cpu", "cpu"))


def table(plan):
    session = planned(plan)
    lines = [f"{kind}: {count}" for kind, count in session.matrix.coverage().items()]
    counts = [f"{name}: {len(cases)}" for name, cases in sorted(session.matrix.cases.items())]
    return "\n".join([f"cases: {len(session.matrix)}", *lines, *counts]) + "\n"


@pytest.mark.parametrize("plan", ["smoke", "gate"])
def test_a_plan_covers_what_it_covered(plan):
    pinned = PINNED / f"coverage_{plan}.txt"
    assert table(plan) == pinned.read_text(), f"if this is meant, write the new table to {pinned}"


def test_the_gate_plans_a_case_of_each_known_issue():
    """Or the whole run would ask for the row's removal, and fail."""
    session = planned("gate")
    given = (session.tolerances.quantities, session.plan, session.catalogue, session.offer.kind)
    wanted = {issue.id for issue in session.issues if reaches(issue, *given)}
    cases = [case for drawn in session.matrix.cases.values() for case in drawn]
    met = {issue.id for case in cases for issue in matching(case, session.issues)}
    assert wanted
    assert sorted(wanted - met) == []


def test_each_case_of_the_gate_has_a_limit():
    session = planned("gate")
    cases = [case for drawn in session.matrix.cases.values() for case in drawn]
    assert [(case.quantity, case.id) for case in cases if session.limit(case) is None] == []
