"""A compiled model runs its backward, is captured whole, and is not compiled anew for each size."""

from mace_conformance.instruments.metrics import rms
from mace_conformance.instruments.replays import called, sizes
from mace_conformance.instruments.residue import number_of
from mace_conformance.laws import quantity


@quantity("backends.compiled.forces", "backends.compiled.stress")
def test_a_compiled_step_gives_what_the_eager_one_does(case, potential, eager, measure):
    """Called on other positions, cells and edges, a compiled step is the eager one."""

    @measure
    def calls():
        for structure in called(case.structure, case.generator):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield rms(*both), structure.name


@quantity("backends.compiled.breaks", "backends.compiled.graphs")
def test_a_compiled_step_is_captured_once_for_all_sizes(case, potential, measure):
    """Over structures of several sizes the compiler counts few graphs, and no break in any."""

    @measure
    def counts():
        for structure in sizes(case.structure):
            potential.fresh(structure)
        yield number_of(potential.counted(case.observable))
