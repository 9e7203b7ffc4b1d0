"""Each plan's size and coverage at seed 0: judging less is a visible change."""

from pathlib import Path

import pytest
from user import ROOT

from mace_conformance.options import Options
from mace_conformance.session import Session
from mace_conformance.subjects.hardware import Hardware

PINNED = Path(__file__).parent / "data"


def table(plan):
    session = Session(Options(root=ROOT, plan=plan, device="cpu"), Hardware("cpu", "cpu"))
    lines = [f"{kind}: {count}" for kind, count in session.matrix.coverage().items()]
    counts = [f"{name}: {len(cases)}" for name, cases in sorted(session.matrix.cases.items())]
    return "\n".join([f"cases: {len(session.matrix)}", *lines, *counts]) + "\n"


@pytest.mark.parametrize("plan", ["smoke", "gate"])
def test_a_plan_covers_what_it_covered(plan):
    pinned = PINNED / f"coverage_{plan}.txt"
    assert table(plan) == pinned.read_text(), f"if this is meant, write the new table to {pinned}"
