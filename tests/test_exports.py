"""Exports: ghosts and pairs by hand, one of each kind on real mace, and faults that must show."""

import numpy as np
import pytest
from user import ROOT

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments.metrics import rms
from mace_conformance.promises import tolerances
from mace_conformance.subjects import structures
from mace_conformance.subjects.faults import exports as faults
from mace_conformance.subjects.ghosts import surroundings
from mace_conformance.subjects.mace_target import MaceTarget

FLOOR = 0.05
ROUNDING = 1e-12
STRUCTURE = structures.load("diamond-skewed")


@pytest.fixture(scope="module")
def target():
    return MaceTarget()


@pytest.fixture(scope="module")
def eager(target):
    return target.potential("density-heads2", "pbe", "fp64", "e3nn", "cpu")


@pytest.fixture(scope="module")
def mliap(target):
    return target.potential("density-heads2", "pbe", "fp64", "e3nn", "cpu", "mliap")


def error(found, expected, name, structure=STRUCTURE):
    both = (each.evaluate([structure])[0][name] for each in (found, expected))
    return rms(*both).relative(FLOOR)


def planted(fault, monkeypatch, place, size=None):
    """The fault at the attribute of `place`, a class, for the rest of the test."""
    name = fault.place.rpartition(".")[2]
    made = fault.around(getattr(place, name), fault.size if size is None else size)
    monkeypatch.setattr(place, name, made if name == "__init__" else wrapped(place, name, made))


def wrapped(place, name, made):
    return staticmethod(made) if isinstance(vars(place)[name], staticmethod) else made


def test_ghosts_are_images_whose_pairs_need_no_shift(eager):
    around = surroundings(eager.graphs, STRUCTURE, 1)
    batch = eager.graphs.batch([STRUCTURE])
    assert around.local == len(STRUCTURE)
    assert len(around.senders) == batch["edge_index"].shape[1]
    lengths = np.linalg.norm(around.vectors, axis=1)
    assert lengths.max() < eager.cutoff
    assert (around.receivers < around.local).all()
    images = around.positions - STRUCTURE.positions[around.owners]
    np.testing.assert_allclose(images[: around.local], 0)
    cells = images @ np.linalg.inv(STRUCTURE.cell)
    np.testing.assert_allclose(cells, cells.round(), atol=1e-10)
    assert around.folded(np.ones((len(around.owners), 3))).sum() == 3 * len(around.owners)


def test_a_second_shell_gives_ghosts_their_neighbours(eager):
    one, two = (surroundings(eager.graphs, STRUCTURE, shells) for shells in (1, 2))
    assert len(two.owners) > len(one.owners)
    assert two.receivers.max() >= one.local
    assert np.linalg.norm(two.vectors, axis=1).max() < eager.cutoff


@pytest.mark.parametrize("name", ["energy", "node_energy", "forces", "virials"])
def test_mliap_is_the_model(eager, mliap, name):
    assert error(mliap, eager, name) < ROUNDING


def test_the_module_that_is_exported_stays_as_it_is(eager, mliap):
    assert mliap.module is eager.module
    assert any(parameter.requires_grad for parameter in eager.module.parameters())
    assert mliap.exported.model.model is not eager.module


@pytest.mark.parametrize("execution", ["torchscript", "lammps"])
def test_scripts_are_the_model(target, eager, execution):
    export = target.potential("density-heads2", "pbe", "fp64", "e3nn", "cpu", execution)
    small = structures.load("dimer-carbon")
    for name in ("node_energy", "forces", "virials"):
        assert error(export, eager, name, small) < ROUNDING


def test_a_structure_of_another_head_is_refused(mliap):
    with pytest.raises(ConformanceError, match="has one head, pbe"):
        mliap.evaluate([STRUCTURE.replace(head="ccsd")])


def test_another_head_shows(target, eager, monkeypatch):
    from mace.calculators.lammps_mliap_mace import MACEEdgeForcesWrapper

    planted(faults.mliap_head_swapped, monkeypatch, MACEEdgeForcesWrapper)
    export = target.potential("density-heads2", "pbe", "fp64", "e3nn", "cpu", "mliap")
    assert error(export, eager, "node_energy") > row("node_energy")


def test_ghosts_that_get_or_give_nothing_show(eager, mliap, monkeypatch):
    from mace.tools.utils import LAMMPS_MP

    with monkeypatch.context() as patch:
        planted(faults.ghost_gradients_dropped, patch, LAMMPS_MP)
        assert error(mliap, eager, "forces") > row("forces")
        assert error(mliap, eager, "node_energy") < row("node_energy")
    with monkeypatch.context() as patch:
        planted(faults.ghost_features_missing, patch, LAMMPS_MP)
        assert error(mliap, eager, "node_energy") > row("node_energy")


def test_a_small_error_of_pair_forces_shows(eager, mliap, monkeypatch):
    from mace.calculators.lammps_mliap_mace import LAMMPS_MLIAP_MACE

    for fault in (faults.pair_forces_scaled, faults.pair_forces_in_fp32):
        with monkeypatch.context() as patch:
            planted(fault, patch, LAMMPS_MLIAP_MACE)
            assert error(mliap, eager, "forces") > row("forces")
    planted(faults.pair_forces_scaled, monkeypatch, LAMMPS_MLIAP_MACE, 0.0)
    assert error(mliap, eager, "forces") < row("forces")


def row(name):
    rows = tolerances.load(ROOT / "tolerances.toml").rows[f"backends.exports.{name}"]
    return next(each.max for each in rows if "fp64" in each.policy)
