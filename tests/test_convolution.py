"""The convolution summed node by node against cuEquivariance's own polynomial."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mace_conformance.bench import convolution
from mace_conformance.bench.convolution import Incoming, Terms, convolve, numbered
from mace_conformance.bench.convolution_source import source

cue = pytest.importorskip("cuequivariance")
cuet = pytest.importorskip("cuequivariance_torch")
NODES, EDGES, CHANNELS = 5, 23, 4


@pytest.fixture(params=["1x0e", "1x0e+1x1o"])
def problem(request):
    """The polynomial of a layer, its terms' number, and inputs of a graph with a lonely node."""
    node, edge = (cue.Irreps("O3", text) for text in (request.param, "0e+1o+2e+3o"))
    out = cue.Irreps("O3", "0e+1o+2e+3o")
    wide = cue.Irreps("O3", [(CHANNELS, ir) for _, ir in node])
    product = cue.descriptors.channelwise_tensor_product(wide, edge, out)
    polynomial = product.flatten_coefficient_modes().squeeze_modes().polynomial
    ((_, paths),) = polynomial.operations
    fused = SimpleNamespace(
        path_indices=[index for path in paths.paths for index in path.indices],
        path_coefficients=[float(path.coefficients) for path in paths.paths],
        buffer_num_segments=[len(operand.segments) for operand in polynomial.operands],
        operand_extent=CHANNELS,
    )
    terms = Terms.of(fused)
    draw = torch.Generator().manual_seed(1)
    shapes = ((EDGES, terms.weights * CHANNELS), (NODES, terms.features * CHANNELS),
              (EDGES, terms.harmonics))  # fmt: skip
    inputs = [torch.randn(s, generator=draw, dtype=torch.float64) for s in shapes]
    edge_index = torch.randint(0, NODES - 1, (2, EDGES), generator=draw)
    return polynomial, numbered(terms), inputs, edge_index


def theirs(polynomial, inputs, edge_index):
    evaluate = cuet.SegmentedPolynomial(polynomial, method="naive", math_dtype=torch.float64)
    return evaluate(inputs, {1: edge_index[0]}, {0: inputs[1]}, {0: edge_index[1]})[0]


def test_sums_and_derivatives_are_those_of_the_polynomial(problem):
    polynomial, which, inputs, edge_index = problem
    edges = (edge_index[0], *Incoming()(edge_index, NODES))
    inputs = [each.requires_grad_() for each in inputs]
    ours = convolve(*inputs, *edges, which)
    expected = theirs(polynomial, inputs, edge_index)
    torch.testing.assert_close(ours, expected)
    g = torch.randn_like(ours)
    found = torch.autograd.grad(ours, inputs, g, retain_graph=True)
    wanted = torch.autograd.grad(expected, inputs, g, retain_graph=True)
    torch.testing.assert_close(found, wanted)
    twice = []
    for out in (ours, expected):
        once = torch.autograd.grad(out, inputs, g, create_graph=True)
        twice.append(torch.autograd.grad(sum((each**2).sum() for each in once), inputs))
    torch.testing.assert_close(*twice)


def test_sixteen_bit_weights_have_sixteen_bit_derivatives(problem):
    _, which, inputs, edge_index = problem
    w, x, y = (each.float() for each in inputs)
    w = w.bfloat16().requires_grad_()
    out = convolve(w, x, y, edge_index[0], *Incoming()(edge_index, NODES), which)
    (found,) = torch.autograd.grad(out.sum(), w)
    assert (out.dtype, found.dtype) == (torch.float32, torch.bfloat16)


def test_a_node_without_edges_gets_nothing(problem):
    _, which, inputs, edge_index = problem
    out = convolve(*inputs, edge_index[0], *Incoming()(edge_index, NODES), which)
    assert not out[NODES - 1].any()


def test_every_term_is_in_the_kernels_source(problem):
    terms = convolution.TABLE[problem[1]]
    text = source(terms)
    compile(text, "convolution", "exec")
    forward, backward = text.split("def backward")
    assert sum(line.strip().startswith("o") for line in forward.splitlines()) == (
        terms.outputs + len(terms.rows) + forward.count("out_at = ")
    )
    assert backward.count("tl.sum(") == terms.harmonics
