"""A conversion to another backend loses nothing, repeats, and brings the kernels it promises."""

from mace_conformance.instruments.acceptance import changed_by_conversion
from mace_conformance.instruments.conversion import (
    changed_by_saving,
    changed_by_wheels,
    lost_facts,
    lost_on_return,
    skipped,
    unrepeated,
    without_call,
    without_kernel,
)
from mace_conformance.laws import quantity


@quantity("backends.conversion.returned")
def test_a_model_comes_back_to_the_bit(case, potential, sibling, measure):
    """A model converted and brought back has every weight and buffer of its e3nn original."""

    @measure
    def differences():
        yield lost_on_return(potential, sibling, case.backend)


@quantity("backends.conversion.carried")
def test_no_weight_is_skipped(case, potential, sibling, measure):
    """Every weight and buffer of the e3nn original is found in the converted model."""

    @measure
    def differences():
        yield skipped(potential, sibling)


@quantity("backends.conversion.metadata")
def test_what_a_model_says_of_itself_survives(case, potential, sibling, measure):
    """Cutoff, heads, E0s, scales, transforms and formats are those of the e3nn original."""

    @measure
    def differences():
        yield lost_facts(potential, sibling)


@quantity("backends.conversion.repeated")
def test_two_conversions_agree(case, potential, sibling, measure):
    """A second conversion of the e3nn original has the first one's state and forces."""

    @measure
    def errors():
        yield from unrepeated(potential, sibling, case.structure, case.backend)


@quantity("backends.conversion.saved")
def test_a_converted_model_survives_saving(case, potential, measure):
    """A converted model that is saved and loaded gives the same forces."""

    @measure
    def errors():
        yield changed_by_saving(potential, case.structure)


@quantity("backends.conversion.wheels")
def test_state_does_not_depend_on_what_is_installed(case, potential, measure):
    """Built or converted, a model has the same state with and without the optional wheels."""

    @measure
    def names():
        yield changed_by_wheels(potential)


@quantity("backends.audit.kernels")
def test_the_promised_kernels_are_there(case, potential, measure):
    """No block of e3nn is left, and no kernel falls back, where the backend promises its own."""

    @measure
    def blocks():
        yield without_kernel(potential, case.backend)


@quantity("backends.audit.dispatch")
def test_the_promised_kernels_are_called(case, potential, measure):
    """Every block that the backend has a kernel for calls it when the model is evaluated."""

    @measure
    def blocks():
        yield without_call(potential, case.structure, case.backend)


@quantity("backends.conversion.accepted", "backends.conversion.cast", "backends.conversion.unknown")
def test_a_model_that_is_taken_is_the_same_model(case, potential, measure):
    """The converter refuses a model in words, or returns one with the same outputs."""

    @measure
    def changes():
        yield from changed_by_conversion(potential, case.structure)
