"""A compiled model runs its backward, is captured whole, and is not compiled anew for each size."""

from mace_conformance.instruments.metrics import per_atom, rms
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


@quantity(
    "backends.compiled.breaks",
    "backends.compiled.graphs",
    "backends.compiled.calculator.breaks",
    "backends.compiled.calculator.graphs",
)
def test_a_compiled_step_is_captured_once_for_all_sizes(case, potential, measure):
    """Over structures of several sizes the compiler counts few graphs, and no break in any."""

    @measure
    def counts():
        for structure in sizes(case.structure):
            potential.fresh(structure)
        yield number_of(potential.counted(case.observable))


@quantity("backends.compiled.calculator.energy")
def test_a_compiled_calculator_gives_the_energy_of_its_model(case, potential, eager, measure):
    """Asked about structures of several sizes, a calculator that compiles gives their energy."""

    @measure
    def calls():
        for structure in sizes(case.structure):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield per_atom(rms(*both), len(structure)), structure.name


@quantity(
    "backends.compiled.calculator.forces",
    "backends.compiled.calculator.stress",
    "backends.compiled.calculator.node_energy",
    "backends.compiled.prepared.forces",
    "backends.compiled.prepared.stress",
)
def test_a_compiled_calculator_gives_what_its_model_does(case, potential, eager, measure):
    """Asked about structures of several sizes, which it pads, such a calculator is its model."""

    @measure
    def calls():
        for structure in sizes(case.structure):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield rms(*both), structure.name
