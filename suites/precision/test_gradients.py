"""Second derivatives: the gradient of a force loss in every parameter, paired by name."""

from mace_conformance.instruments.gradients import by_parameter, force_weights, slope_errors
from mace_conformance.laws import quantity


@quantity("precision.gradients.parameters", "precision.gradients.converted")
def test_force_losses_have_the_gradients_of_fp64(case, potential, reference, measure):
    """d(sum w . F)/d(parameter) is near fp64 for each parameter, and no parameter is missing."""

    @measure
    def parameters():
        weights = force_weights(case.structure, case.generator)
        exact = reference.gradients(case.structure, weights)
        expected = potential.carried(reference.potential, exact)
        yield from by_parameter(potential.gradients(case.structure, weights), expected)


@quantity("precision.gradients.slope")
def test_gradients_are_slopes_of_the_loss(case, potential, measure):
    """In fp64 the gradient along random directions is a five-point difference of the loss."""

    @measure
    def slopes():
        yield from slope_errors(potential, case.structure, case.generator)
