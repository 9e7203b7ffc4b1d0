"""The orthogonal group acts as a group, in float64, on structures and fields alike."""

import numpy as np
import pytest

from mace_conformance.instruments.transforms import Turn, aligning, draw_turns, uniform
from mace_conformance.subjects import structures
from mace_conformance.subjects.outputs import OBSERVABLES, Field

EPS = 1e-14


@pytest.fixture
def generator():
    return np.random.default_rng(7)


@pytest.mark.parametrize("proper", [True, False])
def test_a_uniform_turn_is_orthogonal_with_the_determinant_asked_for(generator, proper):
    for _ in range(50):
        matrix = uniform(generator, proper=proper)
        assert np.abs(matrix @ matrix.T - np.eye(3)).max() < EPS
        assert np.linalg.det(matrix) == pytest.approx(1 if proper else -1)


def test_uniform_turns_have_the_moments_of_the_haar_measure(generator):
    """Over SO(3) each entry averages 0 and its square 1/3, Haar."""
    matrices = np.array([uniform(generator, proper=True) for _ in range(4000)])
    assert np.abs(matrices.mean(0)).max() < 0.05
    assert np.abs((matrices**2).mean(0) - 1 / 3).max() < 0.03


@pytest.mark.parametrize("axis", range(3))
def test_aligning_brings_a_vector_onto_an_axis(generator, axis):
    vector = generator.standard_normal(3)
    matrix = aligning(vector, np.eye(3)[axis])
    assert np.abs(matrix @ vector - np.linalg.norm(vector) * np.eye(3)[axis]).max() < EPS
    assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_a_turn_and_its_inverse_leave_a_field_as_it_was(generator, name):
    shape = {"energy": (), "forces": (4, 3), "stress": (3, 3)}[name]
    field = Field(OBSERVABLES[name], generator.standard_normal(shape))
    turn = Turn(uniform(generator, proper=False), "any")
    assert np.abs((turn.inverse @ (turn @ field)).values - field.values).max() < EPS


def test_a_structure_turns_with_its_cell_and_keeps_its_distances(generator):
    structure = structures.load("triclinic-left")
    turned = Turn(uniform(generator, proper=False), "any") @ structure
    assert turned.volume == pytest.approx(structure.volume, rel=1e-13)
    before = np.linalg.norm(structure.positions[0] - structure.positions[1])
    after = np.linalg.norm(turned.positions[0] - turned.positions[1])
    assert after == pytest.approx(before, rel=1e-13)


def test_draws_hold_a_mirror_and_a_bond_on_an_axis_and_follow_the_seed():
    structure = structures.load("ethanol")
    names = [turn.name for turn in draw_turns(structure, 6, (0, 1))]
    assert names[0] == "improper 0"
    assert names[1].startswith("bond on ")
    assert len(names) == len(set(names)) == 6
    again = draw_turns(structure, 6, (0, 1))
    other = draw_turns(structure, 6, (1, 1))
    assert np.array_equal(draw_turns(structure, 6, (0, 1))[3].matrix, again[3].matrix)
    assert not np.array_equal(other[3].matrix, again[3].matrix)
