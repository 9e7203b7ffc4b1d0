"""Blocks of one backend in a model of another: safe between adapters, noticed without them."""

from mace_conformance.instruments.mixing import (
    adapted_errors,
    bare_errors,
    blind_errors,
    force_errors,
    gradient_errors,
    linear_errors,
)
from mace_conformance.laws import quantity


@quantity(
    "backends.mixing.adapted.linear_up",
    "backends.mixing.adapted.linear",
    "backends.mixing.adapted.conv_tp",
    "backends.mixing.adapted.skip_tp",
    "backends.mixing.adapted.contraction",
    "backends.mixing.adapted.product_linear",
    "backends.mixing.adapted.readout",
)
def test_a_block_between_adapters_agrees(case, potential, sibling, measure):
    """The converted block between adapters returns what e3nn's block does, at every depth."""

    @measure
    def errors():
        yield from adapted_errors(sibling, potential, case.structure, case.observable)


@quantity("backends.mixing.adapted.forces")
def test_a_mixed_model_gives_the_same_forces(case, potential, sibling, measure):
    """With any one block exchanged between adapters, the model's forces are e3nn's."""

    @measure
    def errors():
        yield from force_errors(sibling, potential, case.structure, adapted=True)


@quantity("backends.mixing.adapted.gradients")
def test_a_mixed_model_gives_the_same_parameter_gradients(case, potential, sibling, measure):
    """With all blocks exchanged between adapters, a force loss has e3nn's parameter gradients."""

    @measure
    def errors():
        yield from gradient_errors(sibling, potential, case.structure, case.generator)


@quantity(
    "backends.mixing.bare.linear_up",
    "backends.mixing.bare.linear",
    "backends.mixing.bare.conv_tp",
    "backends.mixing.bare.skip_tp",
    "backends.mixing.bare.contraction",
    "backends.mixing.bare.product_linear",
)
def test_a_block_without_adapters_is_noticed(case, potential, sibling, measure):
    """A converted block that is handed raw e3nn data is far off, at every depth with l > 0."""

    @measure
    def mismatches():
        yield from bare_errors(sibling, potential, case.structure, case.observable)


@quantity("backends.mixing.bare.forces")
def test_a_model_mixed_without_adapters_is_noticed(case, potential, sibling, measure):
    """With any one block exchanged as it is, the model's forces are far off."""

    @measure
    def mismatches():
        yield from force_errors(sibling, potential, case.structure, adapted=False)


@quantity("backends.mixing.blind.scalars")
def test_scalars_cannot_notice_a_layout(case, potential, sibling, measure):
    """Where a block joins scalars alone, a missing adapter changes nothing."""

    @measure
    def errors():
        yield from blind_errors(sibling, potential, case.structure)


@quantity(
    "backends.mixing.linear.adapted.l0",
    "backends.mixing.linear.adapted.l1",
    "backends.mixing.linear.adapted.l2",
    "backends.mixing.linear.adapted.l3",
)
def test_a_linear_layer_between_adapters_agrees(case, sibling, measure):
    """Both backends' linear layers agree on features of degree l between adapters."""

    @measure
    def errors():
        yield from linear_errors(sibling, case.observable, case.generator, adapted=True)


@quantity(
    "backends.mixing.linear.bare.l1",
    "backends.mixing.linear.bare.l2",
    "backends.mixing.linear.bare.l3",
)
def test_a_linear_layer_without_adapters_is_noticed(case, sibling, measure):
    """The other backend's linear layer is far off when it is handed raw features of degree l."""

    @measure
    def mismatches():
        yield from linear_errors(sibling, case.observable, case.generator, adapted=False)


@quantity("backends.mixing.linear.blind.l0")
def test_a_linear_layer_on_scalars_cannot_notice_a_layout(case, sibling, measure):
    """On scalars alone the other backend's linear layer agrees without any adapter."""

    @measure
    def errors():
        yield from linear_errors(sibling, case.observable, case.generator, adapted=False)
