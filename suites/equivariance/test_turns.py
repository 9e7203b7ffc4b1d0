"""Turning the world turns what a potential says of it, mirrors included."""

from mace_conformance.instruments.comparison import compared, turned_or_refused
from mace_conformance.instruments.transforms import cycles, rotations
from mace_conformance.laws import quantity


@quantity(
    "equivariance.turns.energy",
    "equivariance.turns.interaction_energy",
    "equivariance.turns.node_energy",
    "equivariance.turns.forces",
    "equivariance.turns.stress",
    "equivariance.turns.virials",
    "equivariance.turns.dipole",
    "equivariance.turns.polarizability",
    "equivariance.fused.forces",
)
def test_observables_turn_with_the_structure(case, potential, measure):
    """Turning the atoms turns the forces, F(Rx) = R F(x), and leaves the energy as it was."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        for turn, turned in potential.under(case.turns, case.structure):
            yield compared(turned[case.observable], turn @ at_rest, case.structure), turn


@quantity(
    "equivariance.rotations.energy",
    "equivariance.rotations.forces",
    "equivariance.rotations.stress",
)
def test_observables_rotate_where_mirrors_are_given_up(case, potential, measure):
    """A model without parity still obeys every proper rotation: F(Rx) = R F(x)."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        for turn, turned in potential.under(rotations(case.turns), case.structure):
            yield compared(turned[case.observable], turn @ at_rest, case.structure), turn


@quantity("equivariance.slabs.forces")
def test_a_slab_may_lie_in_any_plane(case, potential, measure):
    """Exchanging the axes turns the forces of slabs and wires, whichever plane they end up in."""

    @measure
    def forces():
        for turn in cycles():
            yield turned_or_refused(potential, turn, case.structure, case.observable), turn
