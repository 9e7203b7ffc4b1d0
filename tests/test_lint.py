"""The lint of tolerances.toml on trial: plans, faults, noise and origins."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
from promise_example import EXAMPLE, FORCES, MEASURED, ROW, SPEED, Cell, Edit, load_edited

from mace_conformance.promises.catches import catches_patch
from mace_conformance.promises.lint import Finding, lint
from mace_conformance.promises.terms import EXACT
from mace_conformance.promises.tolerances import load

FAULTS = {
    "layout-swap": {FORCES, "equivariance.features.scalar"},
    "tf32-leak": {FORCES},
    "fallback": {SPEED},
}
PLANNED = {
    "gate": [
        Cell(),
        Cell(backend="oeq"),
        Cell(structure="slab_al"),
        Cell(quantity="equivariance.features.scalar"),
    ],
    "qualify": [Cell(quantity=SPEED, backend="cueq", hardware="hopper", execution="cuda_graph")],
}
PROVISIONAL = Finding("warning", 100, "latency.speed_up: provisional; measure it")


def test_a_sound_file_has_only_its_provisional_rows() -> None:
    assert lint(load(EXAMPLE), PLANNED, FAULTS) == [PROVISIONAL]


def test_provisional_rows_come_first_and_errors_before_warnings(edited: Edit) -> None:
    found = lint(edited(), {**PLANNED, "qualify": []}, FAULTS)
    assert found[0] == PROVISIONAL
    planned = {"gate": PLANNED["gate"], "qualify": [Cell(policy="fp64")]}
    severities = [finding.severity for finding in lint(edited(), planned, FAULTS)]
    assert severities == ["warning", "error", "warning"]


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Load an edited example from the working directory, so that messages name it shortly."""
    monkeypatch.chdir(tmp_path)
    return partial(load_edited, tmp_path)


def only(found: list[Finding]) -> Finding:
    """The one finding beside the provisional row."""
    assert found[0] == PROVISIONAL
    (finding,) = found[1:]
    return finding


def test_a_quantity_without_rows(edited: Edit) -> None:
    extra = '\n[quantity."goldens.energy"]\nlaw = "As stored."\nunit = "eV"\nbound = "max"\n'
    finding = only(lint(edited(more=extra), PLANNED, FAULTS))
    assert finding == Finding("error", 111, "goldens.energy: no row; add a [[limit]] or remove it")


def test_a_row_that_no_plan_uses() -> None:
    planned = {**PLANNED, "qualify": []}
    assert only(lint(load(EXAMPLE), planned, FAULTS)) == Finding(
        "error", 100, "latency.speed_up: no planned case uses this row; correct or remove it"
    )


def test_a_row_that_always_loses_is_not_used() -> None:
    planned = {**PLANNED, "gate": [c for c in PLANNED["gate"] if c.backend != "oeq"]}
    assert only(lint(load(EXAMPLE), planned, FAULTS)).line == 60


@pytest.mark.parametrize(("plan", "severity"), [("gate", "error"), ("search", "warning")])
def test_planned_cases_without_a_row(plan: str, severity: str) -> None:
    gaps = [Cell(policy="fp64"), Cell(policy="fp64", model="wide")]
    planned = {**PLANNED, plan: [*PLANNED.get(plan, []), *gaps]}
    finding = only(lint(load(EXAMPLE), planned, FAULTS))
    assert (finding.severity, finding.line) == (severity, None)
    assert finding.text.startswith(f"{plan}: cases without a row: 2, first ")
    assert "equivariance.forces has no row for policy fp64" in finding.text


def test_ties_are_listed_once(edited: Edit) -> None:
    tolerances = edited(
        more=ROW.replace('["e3nn", "cueq"]', '["e3nn"]') + 'catches = ["tf32-leak"]'
    )
    planned = {**PLANNED, "smoke": [Cell(), Cell(model="wide")]}
    finding = only(lint(tolerances, planned, FAULTS))
    assert (finding.severity, finding.line) == ("error", 111)
    assert finding.text.startswith("tolerances.toml:72 and tolerances.toml:111 fit")


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (
            'catches = ["layout-swap", "tf32-leak"]',
            'catches = ["layout-swap", "tf32-leek"]',
            Finding(
                "error",
                72,
                "equivariance.forces: catches the unknown fault 'tf32-leek'; "
                "did you mean 'tf32-leak'?",
            ),
        ),
        (
            'catches = ["layout-swap", "tf32-leak"]',
            'catches = ["layout-swap", "zzz"]',
            Finding(
                "error",
                72,
                "equivariance.forces: catches the unknown fault 'zzz'; correct or remove it",
            ),
        ),
        (
            'catches = ["layout-swap", "tf32-leak"]',
            'catches = ["layout-swap", "fallback"]',
            Finding(
                "error",
                72,
                f"{FORCES}: catches 'fallback', which only latency.speed_up should notice",
            ),
        ),
        (
            'catches = ["layout-swap", "tf32-leak"]',
            "catches = []",
            Finding(
                "error",
                72,
                "equivariance.forces: catches nothing; name a fault that breaks this limit",
            ),
        ),
        (
            "value = 3.1e-7",
            "value = 1.0e-7",
            Finding(
                "error",
                72,
                "equivariance.forces: headroom 20 is outside [2, 16]; lower the limit",
            ),
        ),
        (
            "value = 3.1e-7",
            "value = 1.6e-6",
            Finding(
                "error",
                72,
                "equivariance.forces: headroom 1.25 is outside [2, 16]; raise the limit",
            ),
        ),
        (
            '432, hardware = "hopper", run = "r-0007", on = 2026-11-20, seeds = 20',
            '432, hardware = "hopper", run = "r-0007", on = 2026-11-20',
            Finding(
                "error",
                72,
                "equivariance.forces: measured over 1 seeds; measure over at least 20",
            ),
        ),
        (
            '432, hardware = "hopper", run = "r-0007", on = 2026-11-20, seeds = 20',
            '432, hardware = "hopper", run = "r-0007", on = 2026-11-20, seeds = 19',
            Finding(
                "error",
                72,
                "equivariance.forces: measured over 19 seeds; measure over at least 20",
            ),
        ),
        (
            'why = "the vendor\'s own figure is 3"',
            'why = " "',
            Finding(
                "error",
                100,
                "latency.speed_up: source is published; say in why where the number is from",
            ),
        ),
    ],
)
def test_rows_are_linted(edited: Edit, old: str, new: str, finding: Finding) -> None:
    assert lint(edited(old, new), PLANNED, FAULTS) == [PROVISIONAL, finding]


def test_a_lower_bound_outside_the_window_moves_the_other_way(edited: Edit) -> None:
    measured = MEASURED.replace("3.1e-7", "3.0")
    new = f'min = 2.0\nsource = "measured"\n{measured}\n'
    finding = only(lint(edited('min = 2.0\nsource = "published"\n', new), PLANNED, FAULTS))
    assert finding == Finding(
        "warning", 100, "latency.speed_up: headroom 1.5 is outside [2, 16]; lower the limit"
    )


def test_a_fault_that_nobody_catches() -> None:
    finding = only(lint(load(EXAMPLE), PLANNED, {**FAULTS, "odd-parity-dropped": {FORCES}}))
    assert finding == Finding(
        "error", None, "fault 'odd-parity-dropped': no row catches it; name it in a row's catches"
    )


def test_a_fault_that_makes_a_law_raise_needs_no_row() -> None:
    faults = {**FAULTS, "odd-parity-dropped": {FORCES}}
    assert lint(load(EXAMPLE), PLANNED, faults, None, {"odd-parity-dropped"}) == [PROVISIONAL]


DETECTED = {
    (row.quantity, row.name): records
    for row, records in zip(
        load(EXAMPLE).limits,
        (
            [("layout-swap", 1.0, 3.0)],
            [("layout-swap", 1.0, 900.0), ("tf32-leak", 0.5, 2.5), ("fallback", 1.0, 1.1)],
            [("tf32-leak", 1.0, 4.0)],
            [("layout-swap", 1.0, 2.0)],
            [("fallback", 1.0, 3.0)],
        ),
        strict=True,
    )
}
SHARP = list(DETECTED)[1]


def test_detections_between_margin_and_reach_are_sound() -> None:
    assert lint(load(EXAMPLE), PLANNED, FAULTS, DETECTED) == [PROVISIONAL]


@pytest.mark.parametrize(
    ("records", "text"),
    [
        (
            [("layout-swap", 1.0, 1.9), ("tf32-leak", 0.5, 3.0)],
            (
                "its weakest fault, layout-swap at size 1, is 1.9 x the limit, under the margin 2; "
                "tighten the limit"
            ),
        ),
        (
            [("layout-swap", 1.0, 900.0), ("tf32-leak", 0.5, 4.1)],
            (
                "its weakest fault, tf32-leak at size 0.5, is 4.1 x the limit, over 4; "
                "add a weaker fault or size"
            ),
        ),
        ([("layout-swap", 1.0, 3.0)], "no record of detecting 'tf32-leak'; run detect"),
    ],
)
def test_detections_out_of_range(records: list[tuple[str, float, float]], text: str) -> None:
    found = lint(load(EXAMPLE), PLANNED, FAULTS, {**DETECTED, SHARP: records})
    assert only(found) == Finding("error", 72, f"{FORCES}: {text}")


def test_a_size_that_hardly_passes_says_nothing_against_one_that_does() -> None:
    records = [("layout-swap", 0.1, 1.2), ("layout-swap", 0.3, 3.0), ("layout-swap", 1.0, 40.0)]
    named = [*records, ("tf32-leak", 0.5, 2.5), ("fallback", 1.0, 1.1)]
    assert lint(load(EXAMPLE), PLANNED, FAULTS, {**DETECTED, SHARP: named}) == [PROVISIONAL]


def test_a_row_that_asks_for_zero_may_be_caught_grossly() -> None:
    tolerances = load(EXAMPLE)
    row = next(row for row in tolerances.limits if (row.quantity, row.name) == SHARP)
    assert not row.exact
    exact = msgspec.structs.replace(row, max=EXACT, measured=None, source="derived", why="exact")
    limits = tuple(exact if each is row else each for each in tolerances.limits)
    records = [("layout-swap", 1.0, 1e28), ("tf32-leak", 0.5, 1e30)]
    found = lint(replace(tolerances, limits=limits), PLANNED, FAULTS, {**DETECTED, SHARP: records})
    assert found == [PROVISIONAL]


def patched(**detections: list[tuple[str, float, float]]) -> list[str]:
    """The lines that a patch of the example adds, by what its sharp row was seen to catch."""
    text = catches_patch(load(EXAMPLE), {SHARP: detections["seen"]}, FAULTS, {*FAULTS})
    return [line for line in text.splitlines() if line.startswith("+catches")]


def test_a_patch_names_the_weakest_fault_that_passes_and_drops_what_does_not() -> None:
    far, near = ("layout-swap", 1.0, 900.0), ("tf32-leak", 0.5, 2.5)
    assert patched(seen=[far]) == ['+catches = ["layout-swap"]']
    assert patched(seen=[far, ("tf32-leak", 0.5, 1.1)]) == ['+catches = ["layout-swap"]']
    assert patched(seen=[far, near]) == []
    assert patched(seen=[]) == []
