"""Where the atoms lie, in which image and in which cell, is a choice of the writer's."""

from mace_conformance.instruments.comparison import compared, repeated
from mace_conformance.instruments.lattices import (
    displacements,
    moved_to_images,
    repeats,
    same_crystal,
)
from mace_conformance.laws import quantity
from mace_conformance.subjects.arrangements import supercell, translate


@quantity(
    "equivariance.translation.energy",
    "equivariance.translation.forces",
    "equivariance.translation.stress",
    "equivariance.translation.virials",
    "equivariance.translation.dipole",
    "equivariance.slabs.stress",
)
def test_moving_everything_changes_nothing(case, potential, measure):
    """Moving all atoms by one vector, the cell left alone, leaves every observable as it was."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        vectors = displacements(case.generator)
        moved = potential.each([translate(case.structure, vector) for vector in vectors])
        for vector, found in zip(vectors, moved, strict=True):
            deviation = compared(found[case.observable], at_rest, case.structure)
            yield deviation, f"moved by {vector.round(1)}"


@quantity(
    "equivariance.images.energy",
    "equivariance.images.forces",
    "equivariance.images.stress",
    "equivariance.images.node_energy",
)
def test_any_image_of_an_atom_serves(case, potential, measure):
    """Moving single atoms by whole lattice vectors, far outside their cell, changes nothing."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        moved = potential(moved_to_images(case.structure, case.generator))[case.observable]
        yield compared(moved, at_rest, case.structure)


@quantity("equivariance.cell.energy", "equivariance.cell.forces", "equivariance.cell.stress")
def test_any_cell_of_the_lattice_serves(case, potential, measure):
    """Another choice of lattice vectors, of either handedness, describes the same crystal."""
    at_rest = potential(case.structure)[case.observable]

    @measure
    def observables():
        cells = same_crystal(case.structure, case.generator)
        for chosen, found in zip(cells, potential.each(cells), strict=True):
            deviation = compared(found[case.observable], at_rest, case.structure)
            yield deviation, f"cell {chosen.cell.round(1).tolist()}"


@quantity(
    "equivariance.supercell.energy",
    "equivariance.supercell.node_energy",
    "equivariance.supercell.forces",
    "equivariance.supercell.stress",
)
def test_a_supercell_repeats_its_cell(case, potential, measure):
    """Energy grows with the copies, each copy has the same forces, the stress stays."""
    one = potential(case.structure)[case.observable]

    @measure
    def observables():
        for counts in repeats(case.structure):
            larger = supercell(case.structure, counts)
            expected = repeated(one, len(larger) // len(case.structure))
            yield compared(potential.fresh(larger)[case.observable], expected, larger), counts
