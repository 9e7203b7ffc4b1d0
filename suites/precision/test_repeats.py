"""Asking again gives the same answer, whatever was asked in between."""

from mace_conformance.instruments.accuracy import differing
from mace_conformance.instruments.metrics import rms
from mace_conformance.instruments.residue import growth, number_of, or_nothing, repeats, warmed
from mace_conformance.laws import quantity


@quantity("precision.bitwise.energy", "precision.bitwise.forces")
def test_repeats_agree_to_the_last_bit(case, potential, measure):
    """The same call in the same process gives the same bits, once code is compiled."""
    warm = warmed(potential, case.structure)

    @measure
    def differences():
        first, *others = (out[case.observable] for out in repeats(warm, case.structure))
        for other in others:
            yield differing(other, first)


@quantity("precision.repeats.energy", "precision.repeats.forces")
def test_repeats_agree(case, potential, measure):
    """Where sums run in any order, repeats differ by rounding alone."""
    warm = warmed(potential, case.structure)

    @measure
    def differences():
        first, *others = (out[case.observable] for out in repeats(warm, case.structure))
        for other in others:
            yield rms(other, first)


@quantity("precision.processes.forces")
def test_another_process_agrees(case, potential, elsewhere, measure):
    """A process of its own gives the same forces: nothing depends on what ran before."""
    warm = warmed(potential, case.structure)

    @measure
    def processes():
        here, there = (each(case.structure)["forces"] for each in (warm.fresh, elsewhere))
        yield rms(there, here)


@quantity("precision.history.forces")
def test_a_subject_does_not_depend_on_those_built_before(case, reference, latecomer, measure):
    """A model built after another precision of itself is as exact as one built alone."""

    @measure
    def processes():
        yield rms(*(each(case.structure)["forces"] for each in (latecomer, reference)))


@quantity("precision.company.forces")
def test_policies_do_not_disturb_each_other(case, potential, reference, measure):
    """Subjects of two precisions live in one process: each answers as it did before the other."""
    one, other = (warmed(each, case.structure) for each in (potential, reference))
    order = (one, other, one, other)

    @measure
    def turns():
        first, second, third, fourth = (each.fresh(case.structure)["forces"] for each in order)
        yield differing(third, first), one.name
        yield differing(fourth, second), other.name


@quantity("precision.ambient.forces", "precision.ambient.repulsion.forces")
def test_the_default_dtype_of_the_process_does_not_matter(case, potential, measure):
    """A model answers in its own precision, whatever the default dtype of its caller."""
    warm = warmed(potential, case.structure)

    @measure
    def outputs():
        found, _ = warm.bare(case.structure)
        yield rms(or_nothing(found, "forces"), warm.fresh(case.structure)["forces"])


@quantity("precision.poison.forces", "precision.poison.stress")
def test_unwritten_memory_is_not_read(case, potential, measure):
    """Memory that holds NaN before the call changes nothing."""
    warm = warmed(potential, case.structure)

    @measure
    def outputs():
        expected = warm.fresh(case.structure)[case.observable]
        yield rms(warm.poisoned(case.structure)[case.observable], expected)


@quantity("precision.kept.tensors")
def test_nothing_is_kept_between_calls(case, potential, measure):
    """After more calls the process reaches as many tensors as before them."""
    warm = warmed(potential, case.structure)

    @measure
    def tensors():
        yield growth(warm, case.structure)


@quantity("precision.state.evaluation")
def test_a_call_leaves_the_process_as_it_was(case, potential, measure):
    """Default dtype, TF32, grad mode, random numbers and threads are as before the model's call."""
    warm = warmed(potential, case.structure)

    @measure
    def switches():
        _, left = warm.bare(case.structure)
        yield number_of(left)


@quantity("precision.state.conversion")
def test_a_conversion_leaves_the_process_as_it_was(potential, measure):
    """The converter to another backend puts back what it sets."""

    @measure
    def switches():
        yield number_of(potential.left_by_conversion)
