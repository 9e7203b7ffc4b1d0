"""Proposed rows on trial: round, inside the window, and readable by the loader."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from promise_example import EXAMPLE, FORCES, SPEED, Edit, load_edited

from mace_conformance.errors import ConformanceError
from mace_conformance.promises.propose import propose, round_limit
from mace_conformance.promises.tolerances import headroom, load


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Load an edited example from the working directory, so that messages name it shortly."""
    monkeypatch.chdir(tmp_path)
    return partial(load_edited, tmp_path)


def records(backend: str, worst: float, seeds: int = 20, **more: Any) -> list[dict[str, Any]]:
    common = {"quantity": FORCES, "policy": "fp32", "backend": backend, "hardware": "cpu"}
    return [
        {**common, "value": worst * (seed + 1) / seeds, "seed": seed, "run": "r-0009", **more}
        for seed in range(seeds)
    ]


DAY = datetime.date(2026, 11, 21)


def test_a_proposal_reads_as_a_row() -> None:
    text = propose(records("e3nn", 3.1e-7), load(EXAMPLE), on=DAY)
    assert text == (
        "[[limit]]\n"
        'quantity = "equivariance.forces"\n'
        'policy = ["fp32"]\n'
        'backend = ["e3nn"]\n'
        'hardware = ["cpu"]\n'
        "max = 1.5e-6\n"
        'source = "measured"\n'
        'measured = { value = 3.1e-7, cases = 20, hardware = "cpu", run = "r-0009", '
        "on = 2026-11-21, seeds = 20 }\n"
        "catches = []\n"
        'why = ""\n'
    )


def test_backends_of_one_magnitude_share_a_row(edited: Edit) -> None:
    measured = records("e3nn", 3.1e-7) + records("cueq", 1.2e-7) + records("oeq", 5.0e-9, seeds=3)
    text = propose(measured, edited(), on=DAY)
    rows = edited(more="\n" + text).limits[-2:]
    assert [row.backend for row in rows] == [("cueq", "e3nn"), ("oeq",)]
    assert [row.max for row in rows] == [1.5e-6, 2.0e-8]
    assert [row.provisional for row in rows] == [False, True]
    assert [row.measured.cases for row in rows if row.measured] == [40, 3]
    assert all(2 <= (headroom(row) or 0) <= 16 for row in rows)


def test_a_lower_bound_is_proposed_below_the_worst(edited: Edit) -> None:
    measured = [{**record, "value": 9.0} for record in records("cueq", 1.0, quantity=SPEED)]
    row = edited(more="\n" + propose(measured, edited(), on=DAY)).limits[-1]
    assert (row.min, row.max) == (2.0, None)


def test_a_measured_zero_proposes_no_number() -> None:
    assert propose(records("e3nn", 0.0), load(EXAMPLE), on=DAY) == (
        "# equivariance.forces, policy fp32, backend e3nn: "
        "the worst of 20 is exactly 0; derive a limit\n"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, None])
def test_nothing_is_proposed_from_a_broken_value(value: float | None) -> None:
    (record,) = records("e3nn", 1.0, seeds=1)
    with pytest.raises(ConformanceError) as refused:
        propose([{**record, "value": value}], load(EXAMPLE))
    assert str(refused.value) == (
        f"equivariance.forces = {value} in run r-0009, seed 0: no limit can be proposed from it; "
        "mend the code or leave the record out"
    )


def test_a_proposal_for_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ConformanceError, match=r"^unknown quantity 'equivariance\.force':"):
        propose(records("e3nn", 1.0, quantity="equivariance.force"), load(EXAMPLE))


@pytest.mark.parametrize(
    ("worst", "bound", "window", "limit"),
    [
        (2.0e-7, "max", (2.0, 16.0), 8.0e-7),
        (2.1e-7, "max", (2.0, 16.0), 1.0e-6),
        (9.9e-15, "max", (2.0, 16.0), 4.0e-14),
        (1.0, "max", (2.0, 4.0), 4.0),
        (1.1, "max", (2.0, 4.0), 4.0),
        (1.1, "max", (4.0, 4.3), 4.4),
        (1.0, "max", (6.0, 16.0), 6.0),
        (9.0, "min", (2.0, 16.0), 2.0),
        (1.0e-3, "min", (2.0, 16.0), 2.0e-4),
        (0.0, "max", (2.0, 16.0), 0.0),
    ],
)
def test_limits_are_round_and_inside_the_window(
    worst: float, bound: str, window: tuple[float, float], limit: float
) -> None:
    assert round_limit(worst, bound, window) == limit
