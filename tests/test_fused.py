"""Steps traced through their derivative: what tracing and folding keep, uncompiled on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mace_conformance.errors import ConformanceError
from mace_conformance.subjects import fused, structures
from mace_conformance.subjects.building import copied
from mace_conformance.subjects.faults.executions import harmonics_folded
from mace_conformance.subjects.folding import fold
from mace_conformance.subjects.fused import FusedPotential, traced, traced_only
from mace_conformance.subjects.mace_target import MaceTarget


@pytest.fixture(scope="module")
def target():
    return MaceTarget()


def eager(target, policy):
    return target.potential("residual", "Default", policy, "e3nn", "cpu")


def moved(structure, seed):
    step = np.random.default_rng(seed).normal(size=structure.positions.shape)
    return replace(structure, positions=structure.positions + 0.05 * step)


def farthest(found, expected):
    names = ("energy", "interaction_energy", "node_energy", "forces", "stress", "virials")
    return max(float(np.max(np.abs(found[n].values - expected[n].values))) for n in names)


@pytest.mark.parametrize(
    ("policy", "by"), [("fp64", 1e-11), ("fp16-linear", 3e-5), ("fp16-edges", 3e-5)]
)
def test_a_traced_step_follows_positions(target, policy, by):
    plain = eager(target, policy)
    made = FusedPotential.of(plain, traced_only)
    for seed in range(2):
        there = moved(structures.load("dimer-carbon"), seed)
        assert farthest(made.evaluate([there])[0], plain.evaluate([there])[0]) < by
    assert len(made.programs) == made.recordings == 1


def test_a_prepared_step_is_traced_for_forces_alone(target):
    plain = eager(target, "fp64")
    made = FusedPotential.of(plain, traced_only)
    structure = structures.load("dimer-carbon")
    steps = [each.prepared(structure) for each in (plain, made)]
    for step in steps:
        step.place(moved(structure, 1).positions)
        with step.ready():
            step.run()
    found, expected = (step.forces() for step in steps)
    assert np.max(np.abs(found - expected)) < 1e-11
    (names,) = (returned for _, returned, _ in made.programs.values())
    assert "forces" in names
    assert "stress" not in names


def test_changed_weights_are_compiled_anew(target):
    plain = eager(target, "fp64")
    made = FusedPotential.of(plain, traced_only)
    structure = structures.load("dimer-carbon")
    before = made.prepared(structure)
    with before.ready():
        before.run()
    first = before.forces()
    by = {name: np.ones_like(value) for name, value in plain.parameters().items()}
    with plain.nudged(by, 1e-3), before.ready():
        before.run()
        assert np.max(np.abs(before.forces() - first)) > 1e-6
    with before.ready():
        before.run()
    assert np.max(np.abs(before.forces() - first)) < 1e-11


def test_parameters_ask_for_gradients_as_before(target):
    plain = eager(target, "fp64")
    flags = [parameter.requires_grad for parameter in plain.module.parameters()]
    FusedPotential.of(plain, traced_only).evaluate([structures.load("dimer-carbon")])
    assert [parameter.requires_grad for parameter in plain.module.parameters()] == flags
    assert any(flags)


def test_what_depends_on_weights_alone_is_folded_and_what_is_written_into_is_not():
    single = torch.float32
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=single)
    start = torch.ones(2, dtype=single)

    def step(x):
        total = start.clone()
        total.add_(x @ (weight.t() * 3).half().float())
        return [total]

    graph = traced(step, [torch.tensor([1.0, 1.0], dtype=single)])
    names = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if "mul" in name or "_to_copy" in name]
    assert "aten.clone.default" in names
    for _ in range(2):
        assert graph(torch.tensor([1.0, 0.0], dtype=single))[0].tolist() == [4.0, 10.0]
    assert fold(graph) == 0


@pytest.fixture
def kernels_of_torchscript():
    """TorchScript generates kernels on the CPU too, as it always does on CUDA."""
    switches = {"_jit_override_can_fuse_on_cpu": True, "_jit_set_te_must_use_llvm_cpu": False}
    for name, value in switches.items():
        getattr(torch._C, name)(value)  # noqa: SLF001
    yield
    for name, value in switches.items():
        getattr(torch._C, name)(not value)  # noqa: SLF001


@pytest.mark.usefixtures("kernels_of_torchscript")
def test_what_torchscript_has_optimised_is_traced_line_by_line(target, monkeypatch):
    plain, structure = eager(target, "fp64"), structures.load("dimer-carbon")
    plain = plain.around(copied(plain.module))
    for seed in range(8):
        expected = plain.evaluate([moved(structure, seed)])[0]
    monkeypatch.setattr(fused, "forget_plans", lambda _: None)
    with pytest.raises(ConformanceError, match="nothing it recorded writes"):
        FusedPotential.of(plain, traced_only).evaluate([structure])
    monkeypatch.undo()
    made = FusedPotential.of(plain, traced_only)
    made.evaluate([structure])
    assert farthest(made.evaluate([moved(structure, 7)])[0], expected) < 1e-11


def test_a_folded_part_of_the_harmonics_is_noticed_in_proportion(target, monkeypatch):
    plain, structure = eager(target, "fp64"), structures.load("water8")
    errors = []
    for size in (1e-10, 1e-2):
        monkeypatch.setattr(fused, "traced", harmonics_folded.around(traced, size))
        made = FusedPotential.of(plain, traced_only)
        made.evaluate([structure])
        there = moved(structure, 1)
        errors.append(farthest(made.evaluate([there])[0], plain.evaluate([there])[0]) / size)
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    assert errors[0] > 0.1


def test_totals_are_summed_in_an_operation_of_their_own(target):
    graphs = []

    def kept(graph, examples):
        graphs.append(graph)
        return traced_only(graph, examples)

    made = FusedPotential.of(eager(target, "fp64"), kept)
    made.evaluate([structures.load("dimer-carbon")])
    targets = [node.target for node in graphs[0].graph.nodes]
    assert targets.count(torch.ops.mace_conformance.total.default) == 2
    index, values = torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 4.0])
    found = torch.ops.mace_conformance.total(torch.zeros(2), 0, index, values)
    assert found.tolist() == [3.0, 4.0]
