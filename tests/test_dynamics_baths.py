"""The laws of baths on crystals that are harmonic, where every answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments import dynamics_ensembles
from mace_conformance.instruments.dynamics import BOLTZMANN, Batched, Fields
from mace_conformance.instruments.dynamics_baths import (
    BATH,
    SQUEEZE,
    STEP,
    TEMPERATURE,
    beside_its_twin,
    density,
    pair,
    shared,
    spread,
    under_pressure,
)
from mace_conformance.instruments.dynamics_crystal import RIGID, Crystal, crystal
from mace_conformance.instruments.dynamics_ensembles import BAR
from mace_conformance.instruments.dynamics_twin import followed
from mace_conformance.subjects import structures
from mace_conformance.subjects.faults import FAULTS
from mace_conformance.subjects.targets import Subject
from mace_conformance.subjects.toy import ToyPotential

MASSES = np.linspace(10.0, 16.0, 8)


def lattice(squeeze=None, soft=1.0):
    """Eight atoms in a box of 45 cubic angstrom, modes from 2 to 18 eV/angstrom^2."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(
        np.hstack([np.kron(np.ones((8, 1)), np.eye(3)), random.normal(size=(24, 21))])
    )[0]
    modes = basis[:, 3:]
    stiffness = (modes * np.linspace(2.0, 18.0, 21)) @ modes.T
    length = 45.0 ** (1 / 3)
    positions = length * random.random((8, 3))
    if squeeze is None:
        return Crystal(positions, length * np.eye(3), 0.0, stiffness, 0.0)
    whole = np.zeros((25, 25))
    whole[:24, :24], whole[24, 24] = stiffness, 70.0 * soft
    scale = np.exp(-squeeze * BAR * 45.0 / 70.0 / 3)
    return Crystal(scale * positions, scale * length * np.eye(3), 0.0, whole, squeeze * BAR)


class Parabola:
    """The surface of a crystal itself; `pressed`, eV, is a trace of virials that is not its own."""

    def __init__(self, rest, pressed=0.0):
        self.rest, self.pressed = rest, pressed

    def __call__(self, positions, cells):
        rest, volume = self.rest, np.linalg.det(cells)
        log = np.log(volume / rest.volume)
        scale = np.exp(log / 3)[:, None, None]
        z = (positions / scale - rest.positions).reshape(len(positions), -1)
        constant = len(rest.stiffness) == z.shape[1]
        z = z if constant else np.column_stack([z, log])
        slopes = z @ rest.stiffness
        forces = -slopes[:, : positions[0].size].reshape(positions.shape) / scale
        work = 0.0 if constant else slopes[:, -1]
        virial = rest.pressure * volume - work + self.pressed
        return Fields(np.sum(z * slopes, axis=1) / 2, forces, virial[:, None, None] * np.eye(3))


def run(squeeze=None, surface=None, **changes):
    rest = lattice(squeeze)
    bath = replace(BATH if squeeze is None else under_pressure(rest), **changes)
    surface = surface or Parabola(rest)
    return beside_its_twin("parabola", surface, rest, MASSES, bath, np.random.SeedSequence(1))


def value(found):
    return max(each.relative(0.0) for each, _ in found)


def planted(name, size, monkeypatch):
    """Plant a fault of the integrators for the rest of a test."""
    place = FAULTS[name].place.rpartition(":")[2]
    faulty = FAULTS[name].around(getattr(dynamics_ensembles, place), size)
    monkeypatch.setattr(dynamics_ensembles, place, faulty)


def test_a_twin_has_the_averages_of_theory():
    rest, random = lattice(0.0), np.random.default_rng(2)
    bath, heat = under_pressure(rest), BOLTZMANN * TEMPERATURE
    z = rest.samples(TEMPERATURE, 4000, random)
    velocities = np.zeros((4000, 8, 3))
    steps = followed(rest, z, velocities, MASSES, bath, STEP, random)
    for _ in range(60):
        there = next(steps)
    assert np.mean(there.kinetic) == pytest.approx(12 * heat, rel=0.02)
    assert np.mean(there.energy) == pytest.approx((24 - RIGID + 1) / 2 * heat, rel=0.02)
    assert np.var(there.z[:, -1]) == pytest.approx(heat / rest.stiffness[-1, -1], rel=0.08)


def test_a_harmonic_crystal_is_its_own_twin():
    still, low, high = run(), run(0.0), run(SQUEEZE)
    for name in ("temperature", "potential", "virial", "force_variance"):
        assert value(shared(still, name)) < 1e-9, name
    assert value(spread(still)) < 1e-9
    assert value(density(low, lattice(0.0))) < 1e-6
    assert value(pair(low, high)) < 2e-3


def test_the_slope_between_two_pressures_is_theorys(monkeypatch):
    monkeypatch.setattr("mace_conformance.instruments.dynamics_baths.REPLICAS", 400)
    low, high = run(0.0), run(SQUEEZE)
    means = [each.twin.volume.mean() for each in (low, high)]
    spread = np.mean([each.twin.volume.var() for each in (low, high)])
    expected = -SQUEEZE * BAR / (BOLTZMANN * TEMPERATURE)
    assert (means[1] - means[0]) / spread == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("fault", "size", "law"),
    [
        ("hot-thermostat", 0.03, lambda: value(shared(run(), "temperature")) / 0.01),
        ("kinetic-energies-alike", 0.1, lambda: value(spread(run())) / 0.03),
        ("hot-barostat", 0.4, lambda: value(pair(run(0.0), run(SQUEEZE))) / 0.1),
    ],
)
def test_a_small_fault_of_a_bath_is_seen(monkeypatch, fault, size, law):
    assert law() < 0.1
    planted(fault, size, monkeypatch)
    assert law() > 2


def test_a_pressure_that_is_not_there_moves_the_volume():
    rest = lattice(0.0)
    assert value(density(run(0.0, Parabola(rest, 0.03)), rest)) > 2.5e-4


def test_a_crystal_is_relaxed_and_drawn_in_equilibrium():
    structure = structures.load("rocksalt")
    subject = Subject(ToyPotential(), "toy")
    found = crystal(subject, structure)
    forces = Batched(subject, structure)(found.positions[None], found.cell[None]).forces
    assert np.abs(forces).max() < 1e-3
    z = found.samples(TEMPERATURE, 2000, np.random.default_rng(0))
    energies = np.einsum("ri,ij,rj->r", z, found.stiffness, z) / 2
    modes = z.shape[1] - RIGID
    assert energies.mean() == pytest.approx(modes / 2 * BOLTZMANN * TEMPERATURE, rel=0.03)


@pytest.mark.parametrize("name", ["water-dimer", "cell-one"])
def test_what_is_no_crystal_is_one_message(name):
    with pytest.raises(ConformanceError, match="is no crystal whose atoms could swing"):
        crystal(Subject(ToyPotential(), "toy"), structures.load(name))


def test_what_keeps_no_place_is_one_message():
    class Loose(ToyPotential):
        def evaluate(self, structures):
            found = super().evaluate(structures)
            for out in found:
                out["forces"].values[:] = 0.0
            return found

    with pytest.raises(ConformanceError, match="no crystal that keeps its place"):
        crystal(Subject(Loose(), "loose"), structures.load("rocksalt"))


def test_a_cell_that_collapses_is_one_message():
    structure = structures.load("rocksalt")
    surface = Batched(Subject(ToyPotential(), "toy"), structure)
    with pytest.raises(ConformanceError, match="toy: a cell has shrunk or grown out of numbers"):
        surface(structure.positions[None], np.zeros((1, 3, 3)))
