"""What the symmetry of space conserves, and what that of a site forbids."""

from mace_conformance.instruments.comparison import net_force, net_torque
from mace_conformance.instruments.sites import (
    forbidden_features,
    forbidden_forces,
    nudged,
    sites,
)
from mace_conformance.laws import quantity


@quantity("equivariance.net.force")
def test_forces_add_up_to_nothing(case, potential, measure):
    """Energy does not depend on where the system is, so its forces sum to zero."""

    @measure
    def net():
        yield net_force(potential(case.structure)["forces"])


@quantity("equivariance.net.torque")
def test_torques_add_up_to_nothing(case, potential, measure):
    """Energy does not depend on how the system is turned, so its torques sum to zero."""

    @measure
    def net():
        yield net_torque(case.structure, potential(case.structure)["forces"])


@quantity("equivariance.sites.forces")
def test_site_symmetry_forbids_forces(case, potential, measure):
    """An atom has no force along a direction that the symmetry of its site does not leave alone."""
    forces = potential(case.structure)["forces"]
    off_site = potential(nudged(case.structure))["forces"]

    @measure
    def forbidden():
        yield from forbidden_forces(forces, sites(case.structure, potential.reach), off_site)


@quantity("equivariance.sites.features")
def test_site_symmetry_forbids_features(case, potential, measure):
    """Hidden features that the site's operations would change vanish, as vectors at inversions."""
    found = potential.features(case.structure)
    off_site = potential.features(nudged(case.structure))

    @measure
    def forbidden():
        yield from forbidden_features(found, sites(case.structure, potential.reach), off_site)
