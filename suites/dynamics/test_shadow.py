"""Errors along a path that exact forces made, the cheapest honest predictor of drift."""

from mace_conformance.instruments.dynamics_shadow import (
    bias,
    energy_errors,
    force_errors,
    growth,
    memory,
    net_force,
    shadow,
    work,
)
from mace_conformance.laws import quantity


@quantity("dynamics.shadow.forces")
def test_forces_stay_near_fp64_along_a_path(case, potential, reference, measure):
    """At every step of a path the forces are as near fp64 as they are at rest."""

    @measure
    def steps():
        yield from force_errors(shadow(case, potential, reference))


@quantity("dynamics.shadow.energy")
def test_the_energy_error_does_not_wander(case, potential, reference, measure):
    """Along a path the error of the energy stays what it is: no step makes it jump."""

    @measure
    def steps():
        yield from energy_errors(shadow(case, potential, reference))


@quantity("dynamics.shadow.growth")
def test_the_force_error_does_not_grow(case, potential, reference, measure):
    """Later steps of a path are no worse than earlier ones: nothing accumulates."""

    @measure
    def halves():
        yield from growth(shadow(case, potential, reference))


@quantity("dynamics.shadow.bias")
def test_forces_are_not_stronger_than_exact_ones(case, potential, reference, measure):
    """The force error has no part along the force, which would heat or cool."""

    @measure
    def starts():
        yield from bias(shadow(case, potential, reference))


@quantity("dynamics.shadow.net")
def test_the_force_error_does_not_push_the_whole(case, potential, reference, measure):
    """Force errors add up to no force on the centre of mass."""

    @measure
    def starts():
        yield from net_force(shadow(case, potential, reference))


@quantity("dynamics.shadow.work")
def test_the_force_error_does_no_work(case, potential, reference, measure):
    """Work of the force error and change of the energy error cancel along a path."""

    @measure
    def starts():
        yield from work(shadow(case, potential, reference))


@quantity("dynamics.shadow.memory")
def test_rounding_errors_are_forgotten(case, potential, reference, measure):
    """Where only sums are rounded, the force error of one time says little of a later one's."""

    @measure
    def lags():
        yield from memory(shadow(case, potential, reference))
