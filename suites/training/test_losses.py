"""One step of mace's training: its loss, the loss's gradient, and what weights and batches do."""

from mace_conformance.instruments.training import (
    HUBER,
    SQUARED,
    gradient_errors,
    loss_errors,
    order_errors,
    slope_errors,
    sum_errors,
    weight_errors,
)
from mace_conformance.laws import quantity


@quantity("training.loss.value")
def test_losses_are_their_formulas(case, potential, reference, measure):
    """Each loss is its formula in float64 for predictions that are made one by one."""

    @measure
    def errors():
        yield from loss_errors(potential, reference, case.structure, case.generator)


@quantity("training.gradients.groups", "training.gradients.converted")
def test_steps_have_the_gradients_of_fp64(case, potential, reference, measure):
    """Energy, forces and stress give each group of the optimizer nearly the gradient of fp64."""

    @measure
    def groups():
        yield from gradient_errors(potential, reference, case.structure, case.generator)


@quantity("training.gradients.slope")
def test_gradients_are_slopes_of_the_formula(case, potential, reference, measure):
    """In fp64 the gradient of a step is a five-point difference of the loss's formula."""

    @measure
    def slopes():
        yield from slope_errors(potential, reference, case.structure, case.generator)


@quantity("training.batches.order")
def test_the_order_in_a_batch_does_not_matter(case, potential, reference, measure):
    """The gradient of a batch is that of the same structures in the opposite order."""

    @measure
    def errors():
        yield from order_errors(potential, reference, case.structure, case.generator)


@quantity("training.batches.sum")
def test_a_batch_is_the_mean_of_its_structures(case, potential, reference, measure):
    """The gradient of a batch is the mean of the gradients of its structures."""

    @measure
    def errors():
        yield from sum_errors(potential, reference, case.structure, case.generator)


@quantity("training.weights.squared")
def test_what_weighs_nothing_teaches_nothing(case, potential, reference, measure):
    """Labels of a structure of weight zero leave the gradient of a squared loss as it was."""

    @measure
    def errors():
        yield from weight_errors(potential, reference, case.structure, case.generator, SQUARED)


@quantity("training.weights.huber")
def test_what_weighs_nothing_teaches_nothing_by_huber(case, potential, reference, measure):
    """Labels of a structure of weight zero leave the gradient of a Huber loss as it was."""

    @measure
    def errors():
        yield from weight_errors(potential, reference, case.structure, case.generator, HUBER)
