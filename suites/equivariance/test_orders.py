"""In which order atoms and edges are written down carries no meaning."""

from mace_conformance.instruments.comparison import compared
from mace_conformance.instruments.lattices import edge_orders, orders
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
        for name, order in orders(case.structure, case.generator).items():
            found = potential(permute(case.structure, order))[case.observable]
            yield compared(found, at_rest.reordered(order), case.structure), name


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
        for seed in edge_orders(case.generator):
            found = potential.with_edge_order(case.structure, seed)[case.observable]
            yield compared(found, at_rest, case.structure), f"edge order {seed}"
