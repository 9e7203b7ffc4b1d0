"""An atom that leaves another's reach takes nothing with it."""

from mace_conformance.instruments.curves import limits
from mace_conformance.instruments.metrics import worst
from mace_conformance.laws import quantity


@quantity(
    "smoothness.cutoff.energy",
    "smoothness.cutoff.node_energy",
    "smoothness.cutoff.multiplied.forces",
    "smoothness.cutoff.forces",
    "smoothness.cutoff.dipole",
)
def test_nothing_jumps_at_the_cutoff(case, potential, measure):
    """An observable has one limit at the cutoff, from inside and from outside."""

    @measure
    def jumps():
        for walk, inside, outside in limits(potential, case):
            yield worst(inside.value, outside.value), walk


@quantity("smoothness.cutoff_slope.forces", "smoothness.cutoff_slope.dipole")
def test_nothing_bends_sharply_at_the_cutoff(case, potential, measure):
    """An observable's slope along the way has one limit at the cutoff as well."""

    @measure
    def bends():
        for walk, inside, outside in limits(potential, case):
            yield worst(inside.slope, outside.slope), walk
