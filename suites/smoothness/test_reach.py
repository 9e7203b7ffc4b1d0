"""An atom acts on all that its messages reach, and on nothing else."""

from mace_conformance.instruments.locality import (
    apart,
    declared_energies,
    lone_atoms,
    responses,
)
from mace_conformance.instruments.metrics import size, worst
from mace_conformance.laws import quantity


@quantity("smoothness.beyond.node_energy", "smoothness.beyond.forces")
def test_nothing_beyond_the_receptive_field_acts(case, potential, measure):
    """What no chain of messages joins to a moved atom does not change."""

    @measure
    def changes():
        for response in responses(potential, case, within=False):
            yield worst(response.moved, response.at_rest), response


@quantity("smoothness.within.node_energy", "smoothness.within.forces")
def test_everything_within_the_receptive_field_acts(case, potential, measure):
    """What messages join to a moved atom changes, however many hops away."""

    @measure
    def changes():
        for response in responses(potential, case, within=True):
            yield worst(response.moved, response.at_rest), response


@quantity(
    "smoothness.apart.energy",
    "smoothness.apart.interaction_energy",
    "smoothness.apart.node_energy",
    "smoothness.apart.forces",
    "smoothness.apart.dipole",
)
def test_fragments_out_of_reach_add_up(case, potential, measure):
    """Two fragments a cutoff apart are together what they are alone."""

    @measure
    def sums():
        yield worst(*apart(potential, case))


@quantity("smoothness.alone.energy")
def test_an_atom_alone_has_its_declared_energy(case, potential, measure):
    """Without neighbours and without a self-connection, E0 and the shift are all there is."""

    @measure
    def energies():
        atoms = lone_atoms(case)
        for atom, declared in zip(atoms, declared_energies(case), strict=True):
            yield worst(potential(atom)[case.observable], declared), atom.name


@quantity("smoothness.alone.forces", "smoothness.alone.virials", "smoothness.alone.dipole")
def test_nothing_acts_on_an_atom_alone(case, potential, measure):
    """Without neighbours nothing pushes, pulls or polarises an atom."""

    @measure
    def remains():
        for atom in lone_atoms(case):
            yield size(potential(atom)[case.observable]), atom.name
