"""The precision policies: their names, their switches, and the operation they install."""

from __future__ import annotations

import copy
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from mace import modules  # before e3nn, whose constants need mace's switch
from mace.data import AtomicData, config_from_atoms
from mace.tools import AtomicNumberTable
from mace.tools.torch_geometric.dataloader import DataLoader

from mace_conformance.errors import ConformanceError
from mace_conformance.subjects.policies import POLICIES, UNIT_ROUNDOFF, Policy, policy
from mace_conformance.subjects.reduced import prepare
from mace_conformance.subjects.reduced_layers import reduce_linears, reduce_radials
from mace_conformance.subjects.reduced_op import Arithmetic, reduced_mm

o3 = pytest.importorskip("e3nn.o3")

BF16 = Arithmetic(torch.bfloat16)
FP16 = Arithmetic(torch.float16)
CONTROL = Arithmetic(torch.float16, torch.float16)
INNER = (16, 64, 256, 1024, 4096)
FP32_U = UNIT_ROUNDOFF["float32"]


@pytest.fixture(autouse=True)
def _one_thread_one_seed_and_fp32():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


# Names and facts


def test_the_catalogue_is_what_the_suite_promises():
    assert list(POLICIES) == [
        "fp64", "fp32", "tf32", "bf16-linear", "fp16-linear", "bf16-linear+radial",
        "fp16-linear+radial", "fp16-edges", "tf32+fp16-edges", "bf16-autocast", "fp16-accumulate",
    ]  # fmt: skip
    assert [name for name, each in POLICIES.items() if each.control] == [
        "bf16-autocast",
        "fp16-accumulate",
    ]
    assert [name for name, each in POLICIES.items() if "cpu" not in each.devices] == [
        "tf32",
        "tf32+fp16-edges",
    ]


@pytest.mark.parametrize(
    ("name", "bits"),
    [("fp64", 53), ("fp32", 24), ("tf32", 11), ("fp16-linear", 11), ("fp16-accumulate", 11),
     ("fp16-edges", 11), ("bf16-linear", 8), ("bf16-linear+radial", 8), ("bf16-autocast", 8)],
)  # fmt: skip
def test_unit_roundoff_is_that_of_the_coarsest_arithmetic(name, bits):
    assert policy(name).unit_roundoff == 2.0**-bits


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16"])
def test_unit_roundoffs_are_those_of_torch(name):
    assert UNIT_ROUNDOFF[name] == torch.finfo(getattr(torch, name)).eps / 2


def test_an_unknown_policy_offers_the_nearest_name():
    with pytest.raises(ConformanceError, match=r"unknown policy 'bf16_linear'.*'bf16-linear'"):
        policy("bf16_linear")


def test_names_and_facts_need_no_torch():
    code = "import sys, mace_conformance.subjects.policies; print('torch' in sys.modules)"
    path = ["-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    done = subprocess.run([sys.executable, *path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Switches


def state() -> dict[str, object]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "matmul": matmul.fp32_precision,
        "conv": cudnn.conv.fp32_precision,
        "rnn": cudnn.rnn.fp32_precision,
        "mkldnn": torch.backends.mkldnn.matmul.fp32_precision,
        "fp16 sum": matmul.allow_fp16_accumulation,
        "fp16": torch._C._get_cublas_allow_fp16_reduced_precision_reduction(),  # noqa: SLF001
        "bf16": torch._C._get_cublas_allow_bf16_reduced_precision_reduction(),  # noqa: SLF001
    }


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
def test_switches_are_set_and_restored(name, before):
    matmul = torch.backends.cuda.matmul
    found = matmul.fp32_precision
    matmul.fp32_precision = before
    try:
        outside = state()
        with suppress(ZeroDivisionError), policy(name).switches():
            inside = state()
            _ = 1 / 0
        assert state() == outside
    finally:
        matmul.fp32_precision = found
    wanted = "tf32" if policy(name).tf32 else "ieee"
    assert (inside["matmul"], inside["conv"], inside["mkldnn"]) == (wanted, wanted, "ieee")
    assert inside["fp16 sum"] is False


# The operation


@pytest.mark.parametrize("arithmetic", [BF16, FP16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_products_are_summed_in_fp32(arithmetic, inner, mean):
    a, b = normal(16, inner) + mean, normal(inner, 16, seed=1) + mean
    exact_a, exact_b = (each.to(arithmetic.operand).double() for each in (a, b))
    product = reduced_mm(a, b, arithmetic)
    assert product.dtype == torch.float32
    error = (product.double() - exact_a @ exact_b).abs() / (exact_a.abs() @ exact_b.abs())
    assert float(error.max()) <= 16 * FP32_U
    assert relative(product, a.double() @ b.double()) > 32 * FP32_U


def accumulation_errors(arithmetic: Arithmetic) -> list[float]:
    errors = []
    for inner in INNER:
        a, b = normal(16, inner) + 1.0, normal(inner, 16, seed=1) + 1.0
        errors.append(relative(reduced_mm(a, b, arithmetic), a.double() @ b.double()))
    return errors


def test_the_error_grows_with_the_inner_dimension_only_in_the_control():
    for arithmetic in (BF16, FP16):
        errors = accumulation_errors(arithmetic)
        assert all(late <= 1.2 * early for early, late in pairwise(errors))
    control = accumulation_errors(CONTROL)
    assert all(late > 1.2 * early for early, late in pairwise(control))
    assert control[-1] > 10 * control[0]


def second_derivatives(product, x, w, v):
    """Value, first derivative in x, and derivatives of (v * that) in x and both weights."""
    x, w = x.clone().requires_grad_(), [each.clone().requires_grad_() for each in w]
    value = product(product(x, w[0]).tanh(), w[1]).tanh().sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    return [value.detach(), first.detach(), *torch.autograd.grad((first * v).sum(), [x, *w])]


@pytest.mark.parametrize("name", ["bf16-linear", "fp16-linear"])
def test_first_and_second_derivatives_are_right_to_a_few_unit_roundoffs(name):
    arithmetic = Arithmetic.of(policy(name))
    x, v, w = normal(12, 24), normal(12, 24, seed=1), [normal(24, 16) / 5, normal(16, 8) / 4]
    found = second_derivatives(lambda a, b: reduced_mm(a, b, arithmetic), x, w, v)
    exact = second_derivatives(torch.mm, x.double(), [each.double() for each in w], v.double())
    errors = [
        relative(a, b) / policy(name).unit_roundoff for a, b in zip(found, exact, strict=True)
    ]
    assert max(errors) <= 6.0
    assert min(errors[1:]) > 0.05


def test_each_backward_product_rounds_its_own_operands():
    a, b, grad = normal(4, 8), normal(8, 4, seed=1), normal(4, 4, seed=2)
    a.requires_grad_(), b.requires_grad_()
    found = torch.autograd.grad(reduced_mm(a, b, BF16), [a, b], grad)
    r = [each.detach().bfloat16().float() for each in (a, b, grad)]
    torch.testing.assert_close(found[0], r[2] @ r[1].t(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[1], r[0].t() @ r[2], rtol=1e-6, atol=1e-6)


def test_the_operation_maps_over_a_batch_of_cotangents():
    x, w = normal(4, 8).requires_grad_(), normal(8, 3, seed=1)
    y = reduced_mm(x, w, BF16).flatten()

    def pull(cotangent):
        return torch.autograd.grad(y, x, cotangent, retain_graph=True)[0]

    rows = torch.stack([pull(each) for each in torch.eye(12)])
    torch.testing.assert_close(torch.vmap(pull)(torch.eye(12)), rows)


# Layers


def reduced_pair(layer: torch.nn.Module, arithmetic: Arithmetic = BF16) -> torch.nn.Module:
    holder = torch.nn.ModuleDict({"layer": copy.deepcopy(layer)})
    assert reduce_linears(holder, arithmetic) + reduce_radials(holder, arithmetic) >= 1
    return holder["layer"]


def test_e3nn_linear_with_biases_and_unreached_blocks():
    linear = o3.Linear("4x0e+3x1o+2x0e", "5x0e+2x1o+1x2e+3x0e", biases=True)
    torch.nn.init.normal_(linear.bias)
    reduced = reduced_pair(linear)
    x = normal(7, 2, linear.irreps_in.dim)
    assert isinstance(reduced, o3.Linear)
    assert list(reduced.state_dict()) == list(linear.state_dict())
    assert 1e-4 < relative(reduced(x), linear(x)) < 8e-3
    assert reduced(x[:0]).shape == linear(x[:0]).shape
    linear.weight.data = linear.weight.data.bfloat16().float()
    x = x.bfloat16().float()
    assert relative(reduced(x), linear(x)) < 1e-6


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_cueq_linear_rounds_the_same_numbers_as_e3nn(layout):
    cue, cuet = pytest.importorskip("cuequivariance"), pytest.importorskip("cuequivariance_torch")
    irreps = "16x0e+8x1o+4x0e", "8x0e+8x1o+1x2e+3x0e"
    e3nn = o3.Linear(*irreps)
    groups = [cue.Irreps("O3", each) for each in irreps]
    cueq = cuet.Linear(*groups, layout=getattr(cue, layout), method="naive", dtype=torch.float32)
    cueq.weight.data = e3nn.weight.data.clone()[None]
    turn = [
        cuet.TransposeIrrepsLayout(each, source=source, target=target)
        for each, source, target in (
            (groups[0], cue.mul_ir, getattr(cue, layout)),
            (groups[1], getattr(cue, layout), cue.mul_ir),
        )
    ]
    x = normal(9, e3nn.irreps_in.dim)
    expected = reduced_pair(e3nn)(x)
    reduced = reduced_pair(cueq)
    assert list(reduced.state_dict()) == list(cueq.state_dict())
    assert relative(turn[1](reduced(turn[0](x))), expected) <= 1e-6
    assert relative(expected, e3nn(x)) > 1e-3


@pytest.mark.parametrize("kind", ["e3nn", "mace"])
def test_radial_networks(kind):
    nn = pytest.importorskip("e3nn.nn")
    network = (
        nn.FullyConnectedNet([8, 32, 32, 12], torch.nn.functional.silu)
        if kind == "e3nn"
        else modules.radial.RadialMLP([8, 32, 32, 12])
    )
    reduced = reduced_pair(network)
    x = normal(20, 8)
    assert list(reduced.state_dict()) == list(network.state_dict())
    assert 5e-4 < relative(reduced(x), network(x)) < 2e-2
    assert reduced(x[:0]).shape == (0, 12)


def test_a_linear_layer_without_its_own_weight_is_refused():
    holder = torch.nn.ModuleDict({"mixing": o3.Linear("4x0e", "4x0e", internal_weights=False)})
    with pytest.raises(ConformanceError, match=r"mixing: .* owns one weight of shape \(16,\)"):
        reduce_linears(holder, BF16)


# A whole model


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    made = modules.ScaleShiftMACE(
        r_max=4.0, num_bessel=6, num_polynomial_cutoff=5, max_ell=2, num_interactions=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_elements=2, hidden_irreps=o3.Irreps("8x0e+8x1o"), MLP_irreps=o3.Irreps("8x0e"),
        gate=torch.nn.functional.silu, atomic_energies=np.array([-13.6, -400.0]),
        avg_num_neighbors=8.0, atomic_numbers=[1, 8], correlation=2, radial_MLP=[16, 16],
        atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )  # fmt: skip
    torch.set_default_dtype(torch.float32)
    return made


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    ase = pytest.importorskip("ase")
    torch.set_default_dtype(torch.float64)
    positions = np.random.default_rng(1).uniform(0.0, 5.5, (12, 3))
    atoms = ase.Atoms("OH2" * 4, positions=positions, cell=[5.5] * 3, pbc=True)
    table = AtomicNumberTable([1, 8])
    data = AtomicData.from_config(config_from_atoms(atoms), z_table=table, cutoff=4.0)
    made = next(iter(DataLoader([data], batch_size=1, shuffle=False))).to_dict()
    torch.set_default_dtype(torch.float32)
    return made


def evaluate(model, batch, name):
    """Energy, forces and the parameter gradients of a force loss, under a policy."""
    dtype = getattr(torch, policy(name).storage)
    inputs = {
        key: value.clone().to(dtype if value.is_floating_point() else value.dtype)
        for key, value in batch.items()
        if isinstance(value, torch.Tensor)
    }
    with policy(name).switches():
        out = model(inputs, training=True)
        loss = (out["forces"] * normal(*out["forces"].shape).to(dtype)).sum()
        names, parameters = zip(*model.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return out["energy"].detach(), out["forces"].detach(), dict(zip(names, grads, strict=True))


@pytest.fixture(scope="module")
def exact(model, batch):
    return evaluate(prepare(model, policy("fp64")), batch, "fp64")


@pytest.mark.parametrize("name", [name for name, each in POLICIES.items() if not each.tf32])
def test_a_policy_keeps_the_names_and_leaves_the_original(model, name):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    types = [type(each) for each in model.modules()]
    prepared = prepare(model, policy(name))
    assert list(prepared.state_dict()) == list(before)
    assert {each.dtype for each in prepared.parameters()} == {getattr(torch, policy(name).storage)}
    assert types == [type(each) for each in model.modules()]
    assert "forward" not in vars(model)
    for key, value in model.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("name", "low_high"),
    [("fp32", (1e-7, 1e-5)), ("bf16-linear", (1e-3, 5e-2)), ("bf16-linear+radial", (1e-3, 5e-2)),
     ("fp16-edges", (1e-4, 5e-3)), ("fp16-linear", (1e-4, 5e-3)),
     ("fp16-linear+radial", (1e-4, 5e-3)),
     ("fp16-accumulate", (1e-4, 1e-2)), ("bf16-autocast", (1e-3, 1e-1))],
)  # fmt: skip
def test_forces_and_gradients_err_as_the_policy_says(model, batch, exact, name, low_high):
    low, high = low_high
    energy, forces, gradients = evaluate(prepare(model, policy(name)), batch, name)
    assert low < relative(forces, exact[1]) < high
    assert forces.dtype == getattr(torch, policy(name).storage)
    moved = abs(float(energy.double() - exact[0])) / len(forces)
    assert moved > 0.1 if name == "bf16-autocast" else moved < 1e-3
    for key, reference in exact[2].items():
        assert (gradients[key] is None) == (reference is None), key
        if reference is not None and reference.norm() > 0:
            error = relative(gradients[key], reference)
            assert error <= 16 * policy(name).unit_roundoff or name == "fp32", key
            assert error < high * 5, key


@pytest.mark.parametrize(
    ("layout", "name"),
    [("ir_mul", "bf16-linear+radial"), ("mul_ir", "bf16-linear"), ("ir_mul", "fp16-edges")],
)
def test_backends_agree_far_below_the_error_of_their_policy(model, batch, layout, name):
    pytest.importorskip("cuequivariance_torch")
    from mace.cli.convert_e3nn_cueq import run

    converted = run(copy.deepcopy(model).float(), device="cpu", layout=layout)
    one, other = (
        evaluate(prepare(each, policy(name)), batch, name)[1] for each in (model, converted)
    )
    assert relative(other, one) < 2e-4
    with pytest.raises(ConformanceError, match=r"cast the e3nn model to torch\.float64 first"):
        prepare(converted, policy("fp64"))


def test_a_policy_that_would_change_nothing_is_refused():
    with pytest.raises(ConformanceError, match="changes nothing in Linear"):
        prepare(torch.nn.Linear(2, 2), policy("bf16-linear"))


def test_policies_are_frozen():
    with pytest.raises(AttributeError):
        Policy("mine").name = "other"  # type: ignore[misc]
