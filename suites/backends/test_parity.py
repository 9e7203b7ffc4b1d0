"""A converted model computes what e3nn computes under the same policy, block by block."""

from mace_conformance.instruments.blocks import block_errors
from mace_conformance.instruments.gradients import by_parameter, force_weights
from mace_conformance.instruments.localise import localise
from mace_conformance.instruments.metrics import per_atom, rms
from mace_conformance.laws import quantity


@quantity("backends.parity.energy", "backends.parity.interaction_energy")
def test_energies_are_those_of_e3nn(case, potential, sibling, measure):
    """The energy of each atom is e3nn's under the same policy, to rounding."""
    measure.on_failure(lambda: localise(potential, sibling, case.structure))

    @measure
    def errors():
        found, expected = (each(case.structure)[case.observable] for each in (potential, sibling))
        yield per_atom(rms(found, expected), len(case.structure))


@quantity(
    "backends.parity.forces",
    "backends.parity.stress",
    "backends.parity.node_energy",
    "backends.parity.variants.forces",
)
def test_observables_are_those_of_e3nn(case, potential, sibling, measure):
    """Forces, stress and the energies of atoms are e3nn's under the same policy, to rounding."""
    measure.on_failure(lambda: localise(potential, sibling, case.structure))

    @measure
    def errors():
        yield rms(*(each(case.structure)[case.observable] for each in (potential, sibling)))


@quantity(
    "backends.parity.features.l0", "backends.parity.features.l1", "backends.parity.features.l2"
)
def test_features_of_every_block_are_those_of_e3nn(case, potential, sibling, measure):
    """Every block that e3nn runs hands on e3nn's features, for each degree and parity."""
    measure.on_failure(lambda: localise(potential, sibling, case.structure))

    @measure
    def errors():
        yield from block_errors(potential, sibling, case.structure, case.observable)


@quantity("backends.parity.hessian_vector")
def test_second_derivatives_are_those_of_e3nn(case, potential, sibling, measure):
    """The Hessian times a random displacement is e3nn's under the same policy."""
    measure.on_failure(lambda: localise(potential, sibling, case.structure))

    @measure
    def errors():
        along = force_weights(case.structure, case.generator)
        yield rms(*(each.hessian_vector(case.structure, along) for each in (potential, sibling)))


@quantity("backends.parity.gradients", "backends.parity.variants.gradients")
def test_parameter_gradients_are_those_of_e3nn(case, potential, sibling, measure):
    """A force loss has e3nn's gradient in every parameter, mapped, and in no other."""
    measure.on_failure(lambda: localise(potential, sibling, case.structure))

    @measure
    def errors():
        weights = force_weights(case.structure, case.generator)
        exact = sibling.gradients(case.structure, weights)
        expected = potential.carried(sibling.potential, exact)
        yield from by_parameter(potential.gradients(case.structure, weights), expected)
