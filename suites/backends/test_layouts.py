"""Layout adapters are exact, free where nothing moves, and differentiable as often as wanted."""

from mace_conformance.instruments.adapters import (
    costs,
    feature_differences,
    round_trips,
    scripted_differences,
    second_derivatives,
)
from mace_conformance.laws import quantity


@quantity("backends.layouts.round_trip")
def test_there_and_back_is_exact(case, potential, sibling, measure):
    """Features come back from the other layout with the same bits, for all of a model's irreps."""

    @measure
    def differences():
        yield from round_trips(sibling, potential, case.generator)


@quantity("backends.layouts.script")
def test_a_scripted_adapter_gives_the_same_bits(case, potential, sibling, measure):
    """TorchScript makes the same permutation of the adapter, for all of a model's irreps."""

    @measure
    def differences():
        yield from scripted_differences(sibling, potential, case.generator)


@quantity("backends.layouts.features")
def test_the_adapter_turns_real_features_as_numpy_does(case, potential, sibling, measure):
    """Every block's features in the backend's layout become those that numpy's axes give."""

    @measure
    def differences():
        yield from feature_differences(sibling, potential, case.structure)


@quantity("backends.layouts.derivatives")
def test_the_adapter_differentiates_twice(case, potential, sibling, measure):
    """The second derivative of a cubic through the adapter is what algebra says."""

    @measure
    def errors():
        yield from second_derivatives(sibling, potential, case.generator)


@quantity("backends.layouts.costs")
def test_the_adapter_is_free_where_nothing_moves(case, measure):
    """Scalars are handed on without a copy, and no adapter adds to a state dict."""

    @measure
    def copies():
        yield from costs(case.generator)
