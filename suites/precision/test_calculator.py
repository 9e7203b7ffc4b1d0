"""Whoever goes through mace's calculator or its command gets what the model says."""

from mace_conformance.instruments.comparison import compared
from mace_conformance.instruments.derivatives import directions
from mace_conformance.instruments.edits import STEPS, companions, edit, unfollowed
from mace_conformance.instruments.hessians import asymmetry, product_error, slope_error
from mace_conformance.instruments.metrics import rms
from mace_conformance.laws import quantity
from mace_conformance.subjects.units import PARTS, other_units


@quantity(
    "precision.calculator.energy",
    "precision.calculator.node_energy",
    "precision.calculator.forces",
    "precision.calculator.stress",
    "precision.calculator.dipole",
    "precision.calculator.polarizability",
)
def test_the_calculator_is_the_model(case, potential, measure):
    """MACECalculator returns what the model returns for the same atoms."""

    @measure
    def observables():
        expected = potential(case.structure)[case.observable]
        yield rms(potential.calculator()(case.structure)[case.observable], expected)


@quantity("precision.calculator.interaction_energy")
def test_node_energies_without_atoms_add_up(case, potential, measure):
    """The calculator's `node_energy` has no isolated atoms in it: it adds up to the interaction."""

    @measure
    def total():
        expected = potential(case.structure)["interaction_energy"]
        nodes = potential.calculator().interaction(case.structure)
        yield compared(expected.of(nodes.sum()), expected, case.structure)


@quantity("precision.calculator.free_energy")
def test_the_free_energy_is_the_energy(case, potential, measure):
    """There is no entropy in a force field: `free_energy`, which ASE optimises, is the energy."""

    @measure
    def both():
        found = potential.calculator().result(case.structure, "free_energy")
        yield rms(found, potential(case.structure)["energy"])


@quantity("precision.calculator.unknown.energy")
def test_an_unknown_head_is_refused_or_the_last(case, potential, measure):
    """Asked for a head that the model lacks, a calculator refuses, or takes the last and warns."""

    @measure
    def answers():
        last = case.structure.replace(head=potential.heads[-1])
        expected = potential(last)[case.observable]
        yield rms(potential.with_unknown_head(case.structure)[case.observable], expected)


@quantity("precision.calculator.padded.forces", "precision.calculator.padded.stress")
def test_padding_changes_nothing(case, potential, measure):
    """Atoms and edges that pad a batch to a fixed size have no part in any result."""

    @measure
    def paddings():
        expected = potential(case.structure)[case.observable]
        atoms = potential.calculator().again(pad_num_atoms=len(case.structure) + 1)
        edges = potential.calculator().again(pad_num_edges=1)
        yield rms(atoms(case.structure)[case.observable], expected), "atoms"
        yield rms(edges(case.structure)[case.observable], expected), "edges"


@quantity(
    "precision.calculator.asked.energy",
    "precision.calculator.asked.forces",
    "precision.calculator.asked.stress",
)
def test_the_order_of_questions_does_not_matter(case, potential, measure):
    """A property is the same whatever was asked for with it, before it or after it."""

    @measure
    def questions():
        expected = potential(case.structure)[case.observable]
        for words in (("stress", "forces"), ("forces", "energy", "stress"), ("energy", "stress")):
            path = potential.calculator().again()
            found = path.asked(case.structure, *words, case.observable)
            yield rms(found[case.observable], expected), " then ".join(words)


@quantity("precision.calculator.converted.energy", "precision.calculator.converted.forces")
def test_the_calculator_converts_its_model(case, potential, reference, measure):
    """A calculator asked for fp32 turns an fp64 model into what the fp32 model is."""

    @measure
    def conversion():
        expected = potential(case.structure)[case.observable]
        path = reference.calculator(default_dtype=potential.policy.storage)
        yield rms(path(case.structure)[case.observable], expected)


@quantity(
    "precision.calculator.follows.positions",
    "precision.calculator.follows.cell",
    "precision.calculator.follows.pbc",
    "precision.calculator.follows.numbers",
    "precision.calculator.follows.charge",
    "precision.calculator.follows.spin",
    "precision.calculator.follows.charge_array",
)
def test_the_calculator_follows_its_inputs(case, potential, measure):
    """After one input of the same Atoms has changed, results are those of a fresh calculator."""

    @measure
    def changes():
        for step in STEPS:
            path = potential.calculator().again()
            atoms = path.atoms(case.structure)
            before = path.read(atoms)["forces"]
            edit(atoms, case.observable, step, path.elements)
            fresh = path.again().read(atoms.copy())["forces"]
            yield unfollowed(path.read(atoms)["forces"], fresh, before), step


@quantity("precision.calculator.beside.forces")
def test_calculators_do_not_disturb_each_other(case, potential, reference, measure):
    """A calculator of another precision, built and used in between, changes no result."""

    @measure
    def between():
        ours, other = potential.calculator(), reference.calculator()
        before = ours(case.structure)["forces"]
        other(case.structure)
        yield rms(ours(case.structure)["forces"], before)


@quantity("precision.calculator.descriptors", "precision.calculator.kept.descriptors")
def test_descriptors_are_the_node_features(case, potential, measure):
    """Descriptors are the features that the model's layers hand on, or their invariant part."""

    @measure
    def requests():
        path = potential.calculator()
        for request, found, expected in path.described(case.structure):
            yield rms(found, expected), request


@quantity(
    "precision.calculator.committee.energy",
    "precision.calculator.committee.forces",
    "precision.calculator.committee.stress",
)
def test_committees_give_mean_and_spread(case, potential, measure):
    """A committee returns each member's result, their mean and their population variance."""

    @measure
    def statements():
        committee = potential.committee()
        for what, found, expected in committee.statements(case.structure, case.observable):
            yield rms(found, expected), what
        yield rms(*committee.spread(case.structure, case.observable)), "variance"


@quantity(
    "precision.calculator.units.energy",
    "precision.calculator.units.forces",
    "precision.calculator.units.stress",
)
def test_units_are_converted(case, potential, measure):
    """A model in u eV and l angstrom gives energies times u, forces u/l, stresses u/l^3."""

    @measure
    def statements():
        units, committee = other_units(case.structure), potential.committee()
        for what, found, expected in committee.statements(case.structure, case.observable, units):
            yield rms(found, expected), what


@quantity("precision.calculator.units.parts.stress", "precision.calculator.units.parts.virials")
def test_units_of_atomic_stresses_are_those_of_the_whole(case, potential, measure):
    """Stresses of atoms are converted as the stress is, their virials as the energy is."""

    @measure
    def parts():
        name, units = PARTS[case.observable], other_units(case.structure)
        path = potential.calculator(compute_atomic_stresses=True)
        found = path.again(**units.keywords).result(case.structure, name)
        yield rms(found, units.of(name) * path.result(case.structure, name))


@quantity("precision.calculator.units.spread.energy", "precision.calculator.units.spread.forces")
def test_units_of_a_spread_are_those_of_its_square(case, potential, measure):
    """A committee's variances are converted by the square of what its values are."""

    @measure
    def variances():
        units = other_units(case.structure)
        yield rms(*potential.committee().spread(case.structure, case.observable, units))


@quantity("precision.calculator.hessian.product", "precision.calculator.hessian.wide.product")
def test_the_hessian_is_the_slope_of_the_forces(case, potential, measure):
    """The Hessian times a displacement is minus the change of the forces along it."""

    @measure
    def products():
        hessian = potential.calculator().hessian(case.structure)
        for along in directions(case):
            yield product_error(hessian, potential, case.structure, along)


@quantity("precision.calculator.slopes.dipole", "precision.calculator.slopes.polarizability")
def test_dielectric_derivatives_are_slopes(case, potential, measure):
    """Derivatives of dipole and polarizability times a displacement are their change."""

    @measure
    def products():
        found = potential.calculator().dielectric(case.structure)[case.observable]
        for along in directions(case):
            yield slope_error(found, potential, case.structure, along, case.observable)


@quantity("precision.calculator.hessian.symmetry")
def test_the_hessian_is_symmetric(case, potential, measure):
    """Second derivatives do not depend on their order."""

    @measure
    def symmetry():
        yield asymmetry(potential.calculator().hessian(case.structure))


@quantity(
    "precision.files.energy",
    "precision.files.forces",
    "precision.files.stress",
    "precision.files.embedded.energy",
)
def test_files_are_evaluated_as_the_model_does(case, potential, measure):
    """`mace_eval_configs` writes for each structure of a file what the model says of it."""

    @measure
    def frames():
        structures = list(companions(case.structure, case.generator))
        found = potential.from_files(structures, batch_size=len(structures) - 1)
        for structure, outputs in zip(structures, found, strict=True):
            yield rms(outputs[case.observable], potential(structure)[case.observable])


@quantity("precision.files.node_energy")
def test_node_energies_of_files_are_the_models(case, potential, measure):
    """It writes each atom's energy too, for structures of one size."""

    @measure
    def frames():
        *structures, _ = companions(case.structure, case.generator)
        found = potential.from_files(structures, batch_size=1)
        for structure, outputs in zip(structures, found, strict=True):
            yield rms(outputs["node_energy"], potential(structure)["node_energy"])


@quantity("precision.files.descriptors")
def test_descriptors_of_files_are_the_node_features(case, potential, measure):
    """It writes each atom's descriptors too: the features that the model's layers hand on."""

    @measure
    def requests():
        structures = list(companions(case.structure, case.generator))
        described = potential.described_by_files(structures, batch_size=len(structures) - 1)
        for request, found, expected in described:
            yield rms(found, expected), request
