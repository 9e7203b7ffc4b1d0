"""A search draws valid structures of every kind, and shrinks what it finds to a file."""

import shlex
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from user import ROOT, conformance

from mace_conformance.drawing import OVERLAP, PATTERNS, structures
from mace_conformance.instruments.neighbours import brute_force
from mace_conformance.subjects.structures import read

CUTOFF = 4.0
TURNS, IMAGES = "equivariance.turns.energy", "equivariance.images.energy"
FILES = {TURNS: "test_turns.py", IMAGES: "test_places.py"}
ROWS = """
[[limit]]
quantity = "{quantity}"
model = ["pair"]
policy = ["fp64"]
backend = ["e3nn"]
hardware = ["cpu"]
max = 1e-10
source = "measured"
provisional = true
why = "rounding of a pair potential in fp64"
"""
quick = settings(
    max_examples=100, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@quick
@given(structures((1, 6, 8), CUTOFF))
def test_drawn_structures_are_valid(structure):
    assert 1 <= len(structure) <= 8
    assert set(structure.elements) <= {1, 6, 8}
    _, _, _, vectors = brute_force(structure, CUTOFF + 0.1)
    lengths = np.linalg.norm(vectors, axis=1)
    assert (lengths >= OVERLAP).all()
    assert (np.abs(lengths - CUTOFF) > 1e-8).all()


def test_two_hundred_draws_reach_every_corner():
    seen = Counter()

    def look(structure):
        lengths = np.linalg.norm(brute_force(structure, CUTOFF + 0.1)[3], axis=1)
        fractions = structure.positions @ np.linalg.pinv(structure.cell)
        outside = np.abs(fractions[:, list(structure.pbc)] - 0.5) > 1.5
        crystal = all(structure.pbc)
        seen.update(
            {
                structure.pbc: True,
                "right-handed": crystal and np.linalg.det(structure.cell) > 0,
                "left-handed": crystal and np.linalg.det(structure.cell) < 0,
                "own images": crystal and (np.linalg.norm(structure.cell, axis=1) < CUTOFF).any(),
                "near the cutoff": (np.abs(lengths - CUTOFF) < 2e-3).any(),
                "near each other": (lengths < 0.9).any(),
                "unwrapped": outside.any(),
                "idle cell": not any(structure.pbc) and structure.cell.any(),
                "alloy": len(structure.elements) > 2,
            }
        )

    for pbc in PATTERNS:
        settings(quick, max_examples=25)(given(structures((1, 6, 8), CUTOFF, [pbc]))(look))()
    assert len(PATTERNS) == 8
    assert [name for name, count in seen.items() if not count] == []


@pytest.fixture(scope="module")
def tolerances(tmp_path_factory):
    """The suite's own promises, with rows for the toy and a search that is the same each time."""
    text = (ROOT / "tolerances.toml").read_text()
    text = text.replace("derandomize = false", "derandomize = true")
    path = tmp_path_factory.mktemp("promises") / "tolerances.toml"
    path.write_text(text + "".join(ROWS.format(quantity=name) for name in (TURNS, IMAGES)))
    return path


@pytest.fixture
def search(tmp_path, tolerances):
    def run(target, quantity):
        return conformance(
            tmp_path / "run",
            *("--mace-target", target, "--mace-plan", "search", "--mace-quantity", quantity),
            *("--mace-policy", "fp64", "--mace-tolerances", str(tolerances)),
            suites=f"suites/equivariance/{FILES[quantity]}",
        )

    return run


def test_an_exact_potential_passes_with_one_record_for_each_case(search):
    done = search("toy", TURNS)
    assert done.code == 0, done.text[-3000:]
    assert len(done.measurements) == done.run.planned == 1
    assert "drawn" in done.measurements[0].where
    assert not (done.folder / "failures").exists()


@pytest.mark.parametrize(
    ("target", "quantity"), [("odd_slab", TURNS), ("left_handed", IMAGES), ("crash", TURNS)]
)
def test_a_rare_fault_is_found_shrunk_and_replayed(search, tmp_path, target, quantity):
    done = search(f"tests/planted.py:{target}", quantity)
    assert done.code == 1, done.text[-3000:]
    (found,) = done.measurements
    (file,) = (done.folder / "failures").iterdir()
    assert found.verdict == ("error" if target == "crash" else "fail")
    least = read(file)
    assert len(least) <= 2
    if target == "odd_slab":
        assert least.pbc == (True, False, True)
    if target == "left_handed":
        assert np.linalg.det(least.cell) < 0
    again = next(line for line in found.message.splitlines() if line.startswith("  again"))
    pytest_, suite, *words = shlex.split(again.removeprefix("  again"))
    assert pytest_ == "pytest"
    assert str(file) in words
    repeated = conformance(tmp_path / "again", *words, suites=suite)
    assert repeated.code == 1, repeated.text[-3000:]
    (measured,) = repeated.measurements
    assert measured.id == found.id
    assert measured.value == found.value
    assert measured.verdict == found.verdict


def test_a_law_of_named_structures_runs_once_as_in_the_gate(tmp_path):
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "toy", "--mace-plan", "search", "--mace-policy", "fp64"),
        *("--mace-quantity", "equivariance.sites.forces"),
        suites="suites/equivariance",
    )
    assert done.measurements
    assert not any("drawn" in m.where or "drawn" in m.id for m in done.measurements)
