"""Forces, stress and virials are the derivatives of the energy that is returned with them."""

from mace_conformance.instruments.derivatives import (
    SCANNED,
    curvature_asymmetry,
    directions,
    excess_slope,
    force_error,
    lowest_point,
    step_scan,
    strain_error,
    strains,
    stress_error,
    work_error,
)
from mace_conformance.instruments.metrics import rms
from mace_conformance.instruments.parts import lattice_volume
from mace_conformance.laws import quantity


@quantity("precision.difference.forces")
def test_forces_are_the_slope_of_the_energy(case, potential, measure):
    """F . d = -dE/dd, the slope by five-point differences of the energy."""

    @measure
    def slopes():
        for along in directions(case):
            yield force_error(potential, case.structure, along)


@quantity("precision.curve.slope")
def test_the_difference_quotient_converges_at_second_order(case, potential, policy, measure):
    """The error of a three-point quotient falls as h^2, so only the quotient is inexact."""
    ways = directions(case, SCANNED)

    @measure
    def slopes():
        yield excess_slope(step_scan(potential, case.structure, along, policy) for along in ways)


@quantity("precision.curve.minimum")
def test_the_difference_quotient_comes_close(case, potential, policy, measure):
    """At the best step, where truncation meets rounding, quotient and forces agree."""
    along, *_ = directions(case)

    @measure
    def minima():
        yield lowest_point(step_scan(potential, case.structure, along, policy))


@quantity("precision.path.work")
def test_the_work_of_the_forces_is_the_change_in_energy(case, potential, measure):
    """E(b) - E(a) is minus the integral of F . dx from a to b, under every policy."""

    @measure
    def paths():
        for along in directions(case):
            yield work_error(potential, case.structure, along)


@quantity("precision.jacobian.asymmetry")
def test_the_jacobian_of_the_forces_is_symmetric(case, potential, measure):
    """v . H w = w . H v: the forces are the gradient of some energy."""

    @measure
    def pairs():
        yield curvature_asymmetry(potential, case.structure, *directions(case))


@quantity("precision.strain.virials")
def test_virials_are_the_slope_under_strain(case, potential, measure):
    """W : e = -dE/de for any strain e, and turning along with it changes nothing."""

    @measure
    def slopes():
        for strain in strains(case):
            yield strain_error(potential, case.structure, strain)


@quantity("precision.strain.stress")
def test_stress_is_the_slope_under_strain_per_volume(case, potential, measure):
    """s : e = dE/de / V for any strain e of a periodic cell of volume V."""

    @measure
    def slopes():
        for strain in strains(case):
            yield stress_error(potential, case.structure, strain)


@quantity("precision.volume.stress", "precision.slab.stress")
def test_stress_times_volume_is_minus_the_virials(case, potential, measure):
    """s V = -W, with the volume of the cell that the caller gave."""

    @measure
    def products():
        stress, virials = (potential(case.structure)[name] for name in ("stress", "virials"))
        yield rms(-stress.values * lattice_volume(case.structure), virials.values)
