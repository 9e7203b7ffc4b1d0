"""Executions: static buffers, padding and replays, on the CPU where the step is simply called."""

from dataclasses import replace

import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.subjects import structures
from mace_conformance.subjects.mace_target import MaceTarget


@pytest.fixture(scope="module")
def eager():
    return MaceTarget().potential("residual", "Default", "fp64", "e3nn", "cpu")


@pytest.fixture
def replayed(eager):
    from mace_conformance.subjects.recordings import GraphPotential, called

    words = (eager.module, eager.graphs, eager.policy, eager.layout, eager.layers)
    return GraphPotential(*words).playing(called)


def moved(structure, seed, size=0.05):
    step = np.random.default_rng(seed).normal(size=structure.positions.shape)
    return replace(structure, positions=structure.positions + size * step)


def farthest(found, expected):
    return max(
        float(np.max(np.abs(found[name].values - expected[name].values)))
        for name in ("energy", "forces", "stress")
    )


def some(tag):
    return structures.load(tag)


@pytest.mark.parametrize("name", ["water8", "dimer-carbon"])
def test_replays_follow_positions_and_edge_counts(eager, replayed, name):
    structure = some(name)
    for seed in range(3):
        there = moved(structure, seed)
        found, expected = replayed.evaluate([there])[0], eager.evaluate([there])[0]
        assert farthest(found, expected) < 1e-10
        assert np.isfinite(found["forces"].values).all()
    assert replayed.recordings == 1


def test_unknown_executions_and_devices_are_refused_in_one_line(eager):
    from mace_conformance.subjects.executions import executed

    with pytest.raises(ConformanceError, match="execution"):
        executed(eager, "cuda-graph")
    with pytest.raises(ConformanceError, match="cuda_graph: runs on cuda, not on cpu"):
        executed(eager, "cuda_graph")
    assert executed(eager, "eager") is eager


def test_recorded_steps_refuse_further_arguments(eager, replayed):
    batch = eager.graphs.batch([some("dimer-carbon")])
    with pytest.raises(ConformanceError, match="no further arguments: training"):
        replayed.call(batch, training=True)


def test_padding_is_beyond_the_cutoff_and_more_edges_are_recorded_anew(eager, replayed):
    import torch

    from mace_conformance.subjects.static_buffers import StaticBuffers, edge_count, padded

    batch = eager.graphs.batch([some("dimer-carbon")])
    more = padded(batch, edge_count(batch) + 4, eager.cutoff)
    assert torch.linalg.norm(more["shifts"][-4:], dim=1).min() > eager.cutoff
    torch.testing.assert_close(
        more["unit_shifts"][-4:].to(batch["cell"]) @ batch["cell"], more["shifts"][-4:]
    )
    with pytest.raises(ConformanceError, match="does not fit buffers for"):
        padded(more, edge_count(batch), eager.cutoff)
    replayed.call(batch)
    expected, found = eager.call(batch), replayed.call(more)
    assert replayed.recordings == 2
    torch.testing.assert_close(found["forces"], expected["forces"], rtol=0, atol=1e-10)
    buffers = StaticBuffers(batch, 8, eager.cutoff)
    with pytest.raises(ConformanceError, match="other names, shapes or dtypes"):
        buffers.load({name: batch[name] for name in batch if name != "positions"})


@pytest.mark.parametrize("name", ["stale-positions", "stale-edges"])
def test_what_a_recording_does_not_take_in_shows(eager, replayed, monkeypatch, name):
    import numpy as np

    from mace_conformance.instruments.metrics import rms
    from mace_conformance.instruments.replays import moved
    from mace_conformance.subjects.faults import FAULTS
    from mace_conformance.subjects.static_buffers import StaticBuffers

    first, *others = (
        structure
        for structure, _ in zip(
            moved(some("water8"), np.random.default_rng(1)), "abc", strict=False
        )
    )
    replayed.evaluate([first])
    monkeypatch.setattr(StaticBuffers, "load", FAULTS[name].around(StaticBuffers.load, 1.0))
    for structure in others:
        found, expected = (each.evaluate([structure])[0]["forces"] for each in (replayed, eager))
        assert rms(found, expected).relative(0.05) > 1e-6


def test_a_compiled_calculator_answers_for_every_size(monkeypatch):
    """The compiler is left out: what is tried is the calculator's own preparation and padding."""
    import torch

    from mace_conformance.instruments.replays import SIZES, sizes

    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    target = MaceTarget()
    words = ("residual", "Default", "fp32", "e3nn", "cpu")
    asked, plain = target.potential(*words, "calculator"), target.potential(*words)
    given = [*sizes(some("water8"))]
    assert len(given) == len(SIZES)
    for found, structure in zip(asked.evaluate(given), given, strict=True):
        expected = plain.evaluate([structure])[0]
        for name in ("forces", "stress", "node_energy"):
            error = np.abs(found[name].values - expected[name].values).max()
            assert error < 1e-4 * max(np.abs(expected[name].values).max(), 1e-3)
    assert asked.path.calculator.pad_num_edges > 0
    assert asked.counts() == {"graphs": 0, "breaks": 0}
