"""In which order atoms and edges are written down carries no meaning."""

from mace_conformance.instruments.comparison import compared
from mace_conformance.instruments.lattices import orders
from mace_conformance.laws import quantity
from mace_conformance.subjects.arrangements import permute


@quantity(
    "equivariance.atoms.energy",
    "equivariance.atoms.node_energy",
    "equivariance.atoms.forces",
    "equivariance.atoms.dipole",
)
def test_atoms_may_come_in_any_order(case, potential, measure):
    """Reordering the atoms, by element or at random, reorders what belongs to atoms."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        ways = orders(case.structure, case.generator)
        permuted = potential.each([permute(case.structure, order) for order in ways.values()])
        for (name, order), found in zip(ways.items(), permuted, strict=True):
            deviation = compared(found[case.observable], at_rest.reordered(order), case.structure)
            yield deviation, name


@quantity(
    "equivariance.edges.energy",
    "equivariance.edges.forces",
    "equivariance.edges.stress",
    "equivariance.edges.dipole",
)
def test_edges_may_come_in_any_order(case, potential, measure):
    """A neighbour list in another order gives the same sums."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        found = potential.with_edge_order(case.structure, case.case.seed)[case.observable]
        yield compared(found, at_rest, case.structure)
