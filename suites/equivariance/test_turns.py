"""Turning the world turns what a potential says of it, mirrors included."""

from mace_conformance.instruments.metrics import rms
from mace_conformance.laws import quantity


@quantity("equivariance.turns.energy", "equivariance.turns.forces", "equivariance.turns.stress")
def test_observables_turn_with_the_structure(case, potential, measure):
    """Turning the atoms turns the forces, F(Rx) = R F(x), and leaves the energy as it was."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        for turn, turned in potential.under(case.turns, case.structure):
            yield rms(turned[case.observable], turn @ at_rest), turn
