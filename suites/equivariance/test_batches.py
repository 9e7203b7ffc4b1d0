"""What shares a batch does not meet."""

from mace_conformance.instruments.comparison import compared
from mace_conformance.instruments.lattices import crowds
from mace_conformance.laws import quantity


@quantity(
    "equivariance.batch.energy",
    "equivariance.batch.interaction_energy",
    "equivariance.batch.node_energy",
    "equivariance.batch.forces",
    "equivariance.batch.stress",
    "equivariance.batch.virials",
    "equivariance.batch.dipole",
    "equivariance.batch.polarizability",
)
def test_company_in_a_batch_changes_nothing(case, potential, measure):
    """First, in the middle or last, among others of other size and pbc: the same as alone."""
    alone = potential(case.structure)[case.observable]
    crowded = crowds(case.structure, case.generator)

    @measure
    def observables():
        for batch, places in crowded:
            together = potential.together(batch)
            for place in places:
                deviation = compared(together[place][case.observable], alone, case.structure)
                yield deviation, f"place {place} of {len(batch)}"


@quantity(
    "equivariance.heads.energy",
    "equivariance.heads.node_energy",
    "equivariance.heads.forces",
    "equivariance.heads.stress",
)
def test_every_structure_keeps_its_own_head(case, potential, measure):
    """In a batch of several heads each structure is judged by its own, as it is alone."""
    asked = [case.structure.replace(head=head) for head in potential.heads]

    @measure
    def observables():
        for batch in (asked, asked[::-1]):
            for structure, found in zip(batch, potential.together(batch), strict=True):
                alone = potential(structure)[case.observable]
                yield compared(found[case.observable], alone, structure), structure.head
