"""What stock mace returned, stored as numbers: physics that changed without breaking a law."""

from mace_conformance.instruments.metrics import worst
from mace_conformance.instruments.references import golden
from mace_conformance.laws import quantity


@quantity(
    "goldens.energy",
    "goldens.interaction_energy",
    "goldens.node_energy",
    "goldens.forces",
    "goldens.stress",
    "goldens.dipole",
    "goldens.polarizability",
)
def test_values_are_those_of_stock_mace(case, potential, measure):
    """The same weights and the same atoms give what stock mace gave, in fp64 on a CPU."""
    expected = golden(case)

    @measure
    def errors():
        yield worst(potential(case.structure)[case.observable], expected)
