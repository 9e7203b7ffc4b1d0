"""Replicas of a cold crystal in a bath.

They begin as samples of the canonical ensemble of the crystal that fp64 has relaxed. The reference
is theory: equipartition, the canonical spread and Boltzmann's factor, exact since the crystal is
harmonic. A harmonic twin with the same start and noise takes the chance out of the averages.
"""

from mace_conformance.instruments.dynamics_baths import (
    SQUEEZE,
    density,
    pair,
    shared,
    spread,
    warm,
)
from mace_conformance.instruments.dynamics_crystal import crystal
from mace_conformance.instruments.dynamics_survival import survival
from mace_conformance.laws import quantity


@quantity("dynamics.nvt.temperature")
def test_atoms_take_the_temperature_of_their_bath(case, potential, reference, measure):
    """The mean kinetic energy is half a kT for each degree of freedom, of whatever model."""

    @measure
    def averages():
        yield from shared(warm(case, potential, reference), "temperature")


@quantity("dynamics.nvt.kinetic")
def test_kinetic_energies_are_canonical(case, potential, reference, measure):
    """Kinetic energies are spread as the canonical ensemble has them."""

    @measure
    def widths():
        yield from spread(warm(case, potential, reference))


@quantity("dynamics.nvt.potential")
def test_modes_share_the_potential_energy(case, potential, reference, measure):
    """The mean potential energy over its minimum is half a kT for each mode of a cold crystal."""

    @measure
    def averages():
        yield from shared(warm(case, potential, reference), "potential")


@quantity("dynamics.nvt.virial")
def test_forces_do_the_work_of_equipartition(case, potential, reference, measure):
    """The mean of forces times displacements is minus a kT for each mode, of whatever model."""

    @measure
    def averages():
        yield from shared(warm(case, potential, reference), "virial")


@quantity("dynamics.nvt.force_variance")
def test_forces_fluctuate_as_the_crystal_is_stiff(case, potential, reference, measure):
    """The forces' mean square is a kT times the trace of the Hessian of fp64."""

    @measure
    def averages():
        yield from shared(warm(case, potential, reference), "force_variance")


@quantity("dynamics.npt.volume")
def test_the_density_is_that_of_fp64(case, potential, reference, measure):
    """The mean volume, and with it the density, at constant pressure is that of fp64."""

    @measure
    def averages():
        run = warm(case, potential, reference, 0)
        yield from density(run, crystal(reference, case.structure, 0))


@quantity("dynamics.npt.pair")
def test_volumes_at_two_pressures_are_one_ensemble(case, potential, reference, measure):
    """Volumes at two pressures differ by the Boltzmann factor of the pressure's work."""

    @measure
    def pressures():
        low, high = (warm(case, potential, reference, each) for each in (0, SQUEEZE))
        yield from pair(low, high)


@quantity("dynamics.survival.bonds")
def test_molecules_hold_in_a_hot_bath(case, potential, reference, measure):
    """From room temperature to twice that no bond of the molecules breaks."""

    @measure
    def replicas():
        yield from survival(case, potential, reference)
