"""The neighbour list holds every edge within the cutoff, and each of them once."""

from mace_conformance.instruments.edges import drawn, missing_and_extra, renamed, vector_error
from mace_conformance.laws import quantity


@quantity("precision.neighbours.edges")
def test_no_edge_is_missing_or_extra(case, potential, measure):
    """The edges are those that brute force finds over all images, shifts included."""

    @measure
    def edges():
        found = potential.edges(case.structure)
        yield missing_and_extra(found, case.structure, potential.cutoff)


@quantity("precision.neighbours.drawn")
def test_no_edge_is_missing_in_odd_cells(case, potential, measure):
    """So it is in small cells of either handedness, with atoms outside, for any pbc."""

    @measure
    def edges():
        for structure in drawn(case.structure, case.generator):
            found = potential.edges(structure)
            yield missing_and_extra(found, structure, potential.cutoff), structure.name


@quantity("precision.neighbours.renamed")
def test_no_edge_is_missing_under_other_names(case, potential, measure):
    """So it is whichever lattice vector is called the first, the second and the third."""

    @measure
    def edges():
        for structure in renamed(case.structure):
            found = potential.edges(structure)
            yield missing_and_extra(found, structure, potential.cutoff), structure.name


@quantity("precision.neighbours.vectors")
def test_edge_vectors_are_those_of_the_callers_cell(case, potential, measure):
    """Shifts times cell carry one atom to the other's image, to rounding."""

    @measure
    def vectors():
        yield vector_error(potential.edges(case.structure), case.structure)
