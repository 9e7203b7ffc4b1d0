"""Several steps: optimizer, moving average, checkpoints, and the errors that a training reports."""

from mace_conformance.instruments.training_steps import (
    average_errors,
    curve_errors,
    error_errors,
    optimizer_errors,
    resumption_errors,
)
from mace_conformance.laws import quantity


@quantity("training.steps.optimizer")
def test_steps_are_those_of_adam(case, potential, reference, measure):
    """Clipped, decayed steps on several batches are Adam's and AdamW's recursion in float64."""

    @measure
    def errors():
        yield from optimizer_errors(potential, reference, case.structure, case.generator)


@quantity("training.steps.curve")
def test_losses_fall_as_in_fp64(case, potential, reference, measure):
    """The losses of a training of several steps are near those of the same training in fp64."""

    @measure
    def errors():
        yield from curve_errors(potential, reference, case.structure, case.generator)


@quantity("training.steps.average")
def test_the_moving_average_is_its_recursion(case, potential, reference, measure):
    """The exponential moving average of the parameters follows each step by its recursion."""

    @measure
    def errors():
        yield from average_errors(potential, reference, case.structure, case.generator)


@quantity("training.steps.resumed")
def test_a_resumed_training_goes_on(case, potential, reference, measure):
    """A training that a checkpoint restores ends where the one that went on ends."""

    @measure
    def errors():
        yield from resumption_errors(potential, reference, case.structure, case.generator)


@quantity("training.errors.reported")
def test_reported_errors_are_their_definitions(case, potential, reference, measure):
    """Mean absolute, root mean square and relative errors do not depend on the batch size."""

    @measure
    def errors():
        yield from error_errors(potential, reference, case.structure, case.generator)
