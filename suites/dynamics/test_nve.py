"""Trajectories at constant energy: what is conserved, and how exactly."""

from mace_conformance.instruments.dynamics_nve import (
    centre,
    drift,
    excess,
    momentum,
    order,
    path,
    reversal,
)
from mace_conformance.laws import quantity


@quantity("dynamics.nve.drift", "dynamics.nve.drift_over_spread")
def test_the_energy_does_not_drift(case, potential, reference, measure):
    """Beyond what the time step explains, the total energy has no slope in time."""

    @measure
    def slopes():
        yield from drift(path(case, potential, reference))


@quantity("dynamics.nve.excess")
def test_energy_does_not_come_and_go(case, potential, reference, measure):
    """Without the integrator's part, total energy is constant: forces are its slope."""

    @measure
    def starts():
        yield from excess(path(case, potential, reference))


@quantity("dynamics.nve.order")
def test_the_energy_fluctuates_with_the_square_of_the_time_step(
    case, potential, reference, measure
):
    """Fluctuations of the total energy fall as h^2: what does not is an error of the forces."""

    @measure
    def exponents():
        yield from order(path(case, potential, reference))


@quantity("dynamics.nve.momentum")
def test_momentum_is_conserved(case, potential, reference, measure):
    """A system that starts at rest keeps a total momentum of zero."""

    @measure
    def steps():
        yield from momentum(path(case, potential, reference))


@quantity("dynamics.nve.centre")
def test_the_centre_of_mass_stays(case, potential, reference, measure):
    """A system that starts at rest keeps its centre of mass where it is."""

    @measure
    def steps():
        yield from centre(path(case, potential, reference))


@quantity("dynamics.nve.reversal")
def test_time_can_be_reversed(case, potential, reference, measure):
    """With velocities turned round the atoms go back to where they came from."""

    @measure
    def returns():
        yield from reversal(path(case, potential, reference))
