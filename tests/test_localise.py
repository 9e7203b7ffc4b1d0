"""Faults planted in one block of a converted model are traced to that block, and explained."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from mace_conformance.instruments.blocks import block_errors
from mace_conformance.instruments.localise import localise
from mace_conformance.subjects import structures
from mace_conformance.subjects.faults.backends import (
    altered,
    halved,
    lastless,
    mirrored,
    misdirected,
    misled,
    relaid,
    scaled,
    shifted,
)
from mace_conformance.subjects.mace_blocks import _Recorder
from mace_conformance.subjects.mace_target import MaceTarget
from mace_conformance.subjects.targets import Subject

STRUCTURE = structures.load("ethanol")
BLOCKS = [
    "interactions.0.linear_up", "interactions.0.linear", "products.0.linear",
    "interactions.1.linear_up", "interactions.1.linear", "products.1.linear",
]  # fmt: skip
KERNELS = [
    "interactions.0.conv_tp", "interactions.0.skip_tp", "products.0.symmetric_contractions",
    "interactions.1.conv_tp", "interactions.1.skip_tp", "products.1.symmetric_contractions",
    "readouts.0", "readouts.1",
]  # fmt: skip
VECTORS = [
    "interactions.0.conv_tp", "interactions.0.linear", "products.0.symmetric_contractions",
    "interactions.1.linear_up", "interactions.1.conv_tp", "interactions.1.linear",
]  # fmt: skip
WEIGHTS = [*BLOCKS, "node_embedding.linear", "readouts.0.linear", "readouts.1.linear_1"]


@pytest.fixture(scope="module")
def pair():
    target = MaceTarget()
    names = ("residual", "Default", "fp64")
    return [Subject(target.potential(*names, way, "cpu"), way) for way in ("cueq", "e3nn")]


@contextmanager
def planted(handle):
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def moved(tensor, change):
    kept = tensor.detach().clone()
    try:
        with torch.no_grad():
            tensor.copy_(change(tensor))
        yield
    finally:
        with torch.no_grad():
            tensor.copy_(kept)


def block(subject, name):
    return subject.potential.module.get_submodule(name)


def verdict(pair):
    place, _, diagnosis = localise(*pair, STRUCTURE).text.partition(": ")
    return place.split(",")[0], diagnosis


def first_rounded(weight):
    found = weight.clone()
    found.view(-1)[0] = halved(found.view(-1)[0])
    return found


def test_no_block_is_blamed_where_all_agree(pair):
    assert localise(*pair, STRUCTURE).text.startswith("no block: features agree to ")


@pytest.mark.parametrize("size", [1e-10, 1e-6, 1e-2])
@pytest.mark.parametrize("name", [*BLOCKS, *KERNELS])
def test_another_normalisation(pair, name, size):
    with planted(altered(block(pair[0], name), scaled(size))):
        place, diagnosis = verdict(pair)
    assert place == name
    assert diagnosis.startswith("normalisation (found = 1")


@pytest.mark.parametrize("name", [*BLOCKS, *KERNELS])
def test_half_precision(pair, name):
    with planted(altered(block(pair[0], name), halved)):
        assert verdict(pair) == (name, "dtype (as rounding to fp16 or tf32)")


@pytest.mark.parametrize("name", VECTORS)
def test_a_layout(pair, name):
    irreps = str(block(pair[1], name).irreps_out)
    with planted(altered(block(pair[0], name), relaid(irreps))):
        assert verdict(pair) == (name, "layout")


@pytest.mark.parametrize("name", WEIGHTS)
def test_one_weight_in_half_precision(pair, name):
    with moved(block(pair[0], name).weight, first_rounded):
        assert verdict(pair) == (name, f"weights ({name}.weight)")


def test_reference_energies(pair):
    with moved(block(pair[0], "atomic_energies_fn").atomic_energies, halved):
        place, diagnosis = verdict(pair)
    assert (place, diagnosis) == (
        "atomic_energies_fn", "weights (atomic_energies_fn.atomic_energies)",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["products.0", "products.1"])
def test_the_species_of_another_atom(pair, name):
    with planted(misled(block(pair[0], name), "node_attrs", shifted)):
        place, _ = verdict(pair)
    assert place.removeprefix("into ").startswith(name)


def test_values_that_are_not_numbers_are_found_and_never_pass(pair):
    name = "interactions.1.linear"
    with planted(altered(block(pair[0], name), lambda x: x * np.nan)):
        place, _ = verdict(pair)
        errors = [miss.relative(1e-12) for miss, _ in block_errors(*pair, STRUCTURE, "l1")]
    assert place == name
    assert max(errors) == np.inf


class _Convolution(torch.nn.Module):
    """Sends each sender's feature along an edge; `fused` also sums them at the receivers."""

    irreps_out = "2x0e"

    def forward(self, features, *fused):
        if not fused:
            return features
        sender, receiver = fused[0]
        return torch.zeros_like(features).index_add(0, receiver, features[sender])


def test_a_dimers_fused_convolution_is_not_summed_twice():
    """Two atoms and two edges: only being told the edges shows that a block has summed them."""
    edges = torch.tensor([[0, 1], [1, 0]])
    features = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    found = []
    for words in ((features[edges[0]],), (features, edges)):
        steps = []
        convolution = _Convolution()
        recorder = _Recorder(steps, "mul_ir", edges, atoms=2)
        convolution.register_forward_hook(recorder.hook("conv_tp", convolution), with_kwargs=True)
        convolution(*words)
        found += steps
    unfused, fused = (step.output.values for step in found)
    assert unfused.tolist() == fused.tolist() == [[3.0, 5.0], [1.0, 2.0]]


@pytest.mark.parametrize("number", [0, 1])
def test_one_coupling_by_another_convention(pair, number):
    name = f"interactions.{number}.conv_tp"
    irreps = str(block(pair[1], name).irreps_out)
    with planted(altered(block(pair[0], name), mirrored(irreps))):
        place, _ = verdict(pair)
    assert place == name


@pytest.mark.parametrize("number", [0, 1])
def test_the_last_edge_left_out(pair, number):
    name = f"interactions.{number}.conv_tp"
    with planted(misdirected(block(pair[0], name), 2, lastless)):
        place, _ = verdict(pair)
    assert place.removeprefix("into ") == name


def test_another_head_at_the_last_readout():
    target = MaceTarget()
    words = ("density-heads2", "pbe", "fp64")
    heads = [Subject(target.potential(*words, way, "cpu"), way) for way in ("cueq", "e3nn")]
    readout = block(heads[0], "readouts.1")
    with planted(misdirected(readout, 1, lambda index: (index + 1) % 2)):
        place, _ = verdict(heads)
    assert place.removeprefix("into ").startswith("readouts.1")
