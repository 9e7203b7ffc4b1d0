"""What is generated once, and what copies share, computes what it computed before, to the bit."""

import contextlib
from unittest import mock

import numpy as np
import pytest
import torch

from mace_conformance.subjects import building, code_generation, process_state, structures
from mace_conformance.subjects.mace_graph import copied
from mace_conformance.subjects.mace_target import MaceTarget
from mace_conformance.subjects.models import MODELS
from mace_conformance.subjects.sharing import sharing

MODEL = "residual"
WARM_UPS = 4


@pytest.fixture(scope="module")
def target():
    return MaceTarget()


def answer(potential):
    """The forces of a subject that TorchScript has optimised already."""
    ethanol = structures.load("ethanol-lone")
    for _ in range(WARM_UPS):
        outputs = potential.evaluate([ethanol])
    return outputs[0]["forces"].values


def parts(module):
    return [(name, type(part).__name__) for name, part in module.named_modules()]


def test_a_model_is_the_same_without_repetition(target):
    graphs = target.potential(MODEL, "Default", "fp64", "e3nn", "cpu").graphs
    with process_state.restored():  # it leaves the dtype of the graphs as the default
        batch = graphs.batch([structures.load("ethanol-lone")])
    with mock.patch.object(building, "without_repetition", contextlib.nullcontext):
        plain = building.build(MODELS[MODEL])
    quick = building.build(MODELS[MODEL])
    assert parts(quick) == parts(plain)
    ours, theirs = quick.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with process_state.restored():
        torch.set_default_dtype(torch.float64)
        forces = [[m(copied(batch))["forces"] for _ in range(WARM_UPS)] for m in (quick, plain)]
    assert torch.equal(forces[0][-1], forces[1][-1])


class Product(torch.nn.Module):
    def __init__(self, size, factor):
        super().__init__()
        self.register_buffer("c", torch.full((size, size), factor))

    def forward(self, x):
        return torch.einsum("ij,zj->zi", self.c, x)


def test_graphs_of_other_constants_or_shapes_are_not_confused():
    import opt_einsum_fx

    with code_generation.without_repetition():
        for size, factor in ((2, 1.0), (2, 3.0), (4, 1.0)):
            x = torch.ones(5, size)
            graph = torch.fx.symbolic_trace(Product(size, factor))
            found = opt_einsum_fx.optimize_einsums_full(graph, (x,))
            assert torch.equal(found(x), torch.full((5, size), size * factor))


@pytest.mark.parametrize("backend", ["e3nn", "cueq"])
def test_policies_of_one_format_share_code_and_nothing_else(target, backend):
    if backend not in target.backends:
        pytest.skip(f"{backend} is not installed")
    plain = target.potential(MODEL, "Default", "fp32", backend, "cpu")
    reduced = target.potential(MODEL, "Default", "bf16-linear", backend, "cpu")
    alone = MaceTarget().potential(MODEL, "Default", "bf16-linear", backend, "cpu")
    before = answer(plain)
    assert np.array_equal(answer(reduced), answer(alone))
    assert not np.array_equal(answer(reduced), before)
    assert np.array_equal(answer(plain), before)
    ours, theirs = dict(plain.module.named_parameters()), dict(reduced.module.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name].data_ptr() != theirs[name].data_ptr() for name in ours if len(ours[name]))


def test_a_copy_that_shares_leaves_the_original_whole(target):
    original = target.potential(MODEL, "Default", "fp32", "e3nn", "cpu").module
    names = [name for name, _ in original.named_modules()]
    twin = sharing(original)
    assert [name for name, _ in twin.named_modules()] == names
    assert [name for name, _ in original.named_modules()] == names
    assert [name for name, _ in sharing(twin).named_modules()] == names
