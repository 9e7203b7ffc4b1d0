"""A model handed to TorchScript or to LAMMPS is the same model: heads, ghosts and formats kept."""

from mace_conformance.instruments.metrics import per_atom, rms
from mace_conformance.instruments.replays import called, misdeclared
from mace_conformance.laws import quantity


@quantity("backends.exports.energy")
def test_an_export_gives_the_energy_of_its_model(case, potential, eager, measure):
    """Called again and again, an export gives its model's energy of each atom."""

    @measure
    def calls():
        for structure in called(case.structure, case.generator):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield per_atom(rms(*both), len(structure)), structure.name


@quantity(
    "backends.exports.node_energy",
    "backends.exports.forces",
    "backends.exports.virials",
    "backends.exports.converted.node_energy",
    "backends.exports.converted.forces",
    "backends.exports.converted.virials",
    "backends.exports.rare.torchscript.forces",
    "backends.exports.rare.lammps.forces",
    "backends.exports.rare.mliap.forces",
)
def test_an_export_gives_what_its_model_does(case, potential, eager, measure):
    """Called again and again, with ghosts where LAMMPS has them, an export is its model."""

    @measure
    def calls():
        for structure in called(case.structure, case.generator):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield rms(*both), structure.name


@quantity("backends.exports.declared")
def test_an_export_says_what_its_model_is(case, potential, measure):
    """LAMMPS is told the model's elements in their order and its cutoff."""

    @measure
    def facts():
        yield misdeclared(potential)
