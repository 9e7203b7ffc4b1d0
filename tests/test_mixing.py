"""Exchanged blocks: what is noticed, what is refused, and which planted faults are caught."""

import numpy as np
import pytest
import torch
from user import ROOT

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments import mixing
from mace_conformance.instruments.adapters import costs, feature_differences, second_derivatives
from mace_conformance.promises import tolerances
from mace_conformance.subjects import layout_adapter, structures
from mace_conformance.subjects.building import copied
from mace_conformance.subjects.faults import mixing as faults
from mace_conformance.subjects.layout_adapter import LayoutAdapter
from mace_conformance.subjects.linear_twins import Twins, linear_twins
from mace_conformance.subjects.mace_target import MaceTarget
from mace_conformance.subjects.mixing import PATHS, Mixture, sites
from mace_conformance.subjects.targets import Subject

STRUCTURE = structures.load("ethanol-boxed")
LIMIT, FAR = 1e-12, 0.05


@pytest.fixture(scope="module")
def pair():
    target = MaceTarget()
    names = ("residual", "Default", "fp64")
    return [Subject(target.potential(*names, way, "cpu"), way) for way in ("e3nn", "cueq")]


def values(samples, floor=1e-3):
    return [deviation.relative(floor) for deviation, _ in samples]


@pytest.mark.parametrize("kind", PATHS)
def test_between_adapters_every_block_agrees(pair, kind):
    assert max(values(mixing.adapted_errors(*pair, STRUCTURE, kind))) < LIMIT


@pytest.mark.parametrize("kind", ["linear_up", "linear", "conv_tp", "contraction"])
def test_without_adapters_every_block_is_far_off(pair, kind):
    assert min(values(mixing.bare_errors(*pair, STRUCTURE, kind))) > FAR


def test_forces_and_gradients_hold_between_adapters_and_not_without(pair):
    assert max(values(mixing.force_errors(*pair, STRUCTURE, adapted=True))) < LIMIT
    assert min(values(mixing.force_errors(*pair, STRUCTURE, adapted=False))) > FAR
    generator = np.random.default_rng(0)
    assert max(values(mixing.gradient_errors(*pair, STRUCTURE, generator))) < LIMIT


def test_scalars_are_blind(pair):
    assert max(values(mixing.blind_errors(*pair, STRUCTURE))) < LIMIT


@pytest.mark.parametrize("degree", mixing.DEGREES)
def test_a_linear_layer_on_each_degree(pair, degree):
    host, rng = pair[0], np.random.default_rng
    assert max(values(mixing.linear_errors(host, degree, rng(0), adapted=True))) < LIMIT
    bare = values(mixing.linear_errors(host, degree, rng(0), adapted=False))
    assert max(bare) < LIMIT if degree == "l0" else min(bare) > FAR


def test_the_host_is_left_as_it_was(pair):
    mixture = Mixture(pair[0].module, pair[1].module, "ir_mul")
    before = [type(module) for module in mixture.host.modules()]
    with mixture.swapped(*mixture.sites, adapted=True) as mixed:
        assert [type(module) for module in mixed.modules()] != before
    assert [type(module) for module in mixture.host.modules()] == before
    assert mixture.host is not pair[0].module


def test_what_is_no_number_notices_nothing():
    error = mixing.noticed(mixing.rms(np.array([np.nan]), np.array([1.0])))
    assert error.relative(1e-3) == 0


def test_a_bare_exchange_is_asked_to_be_a_hundred_limits_off():
    rows = tolerances.load(ROOT / "tolerances.toml").rows
    for name, limits in rows.items():
        if name.startswith("backends.mixing") and ".bare." in name:
            adapted = rows[name.replace(".bare.", ".adapted.")]
            assert min(row.min for row in limits) > 100 * max(row.max for row in adapted), name


def test_models_of_two_dtypes_are_refused(pair):
    said = r"torch.float64 on cpu cannot be mixed with one in torch.float32 on cpu: bring both"
    with pytest.raises(ConformanceError, match=said):
        Mixture(pair[0].module, copied(pair[1].module).float(), "ir_mul")


def test_models_of_two_devices_are_refused(pair):
    with pytest.raises(ConformanceError, match=r"on cpu cannot be mixed with one in .* on meta"):
        Mixture(pair[0].module, copied(pair[1].module).to("meta"), "ir_mul")


def test_a_class_without_blocks_is_refused():
    with pytest.raises(ConformanceError, match="a Linear has no interactions"):
        sites(torch.nn.Linear(2, 2))


def test_models_that_are_no_twins_are_refused(pair):
    with pytest.raises(ConformanceError, match="no twins: only one of them has interactions"):
        Mixture(pair[0].module, torch.nn.Linear(2, 2).double(), "ir_mul")


def test_irreps_of_a_layer_that_do_not_parse_are_refused():
    with pytest.raises(ConformanceError, match="'8q' is not of the form 8x1o"):
        linear_twins("8x0e+8q", torch.zeros(()), np.random.default_rng(0))


def test_scalar_hidden_irreps_are_refused(pair, monkeypatch):
    monkeypatch.setattr(pair[0].module.interactions[0], "hidden_irreps", "8x0e")
    for law in (
        lambda: list(mixing.bare_errors(*pair, STRUCTURE, "linear")),
        lambda: list(mixing.force_errors(*pair, STRUCTURE, adapted=False)),
        lambda: list(feature_differences(*pair, STRUCTURE)),
    ):
        with pytest.raises(ConformanceError, match="hidden irreps 8x0e are scalars"):
            law()


def test_a_kind_that_joins_scalars_alone_is_refused(pair):
    with pytest.raises(ConformanceError, match="layouts of readout cannot be certified"):
        list(mixing.bare_errors(*pair, STRUCTURE, "readout"))


def plant(monkeypatch, planted, size=None):
    size = planted.size if size is None else size
    owners = {
        faults.ORDER: (layout_adapter, "permutation"),
        faults.FORWARD: (LayoutAdapter, "forward"),
        faults.BLOCK: (Mixture, "guest_block"),
        "subjects.mixing:Mixture.foreign": (Mixture, "foreign"),
        "subjects.linear_twins:Twins.outputs": (Twins, "outputs"),
    }
    owner, name = owners[planted.place]
    monkeypatch.setattr(owner, name, planted.around(getattr(owner, name), size))


@pytest.mark.parametrize(
    "planted",
    [faults.adapter_one_sided, faults.adapter_vectors_left, faults.adapter_degree_2_only,
     faults.adapter_odd_inverted, faults.adapter_wrong_term, faults.adapter_twice],
    ids=lambda each: each.name,
)  # fmt: skip
def test_a_wrong_adapter_is_caught_at_a_block(pair, monkeypatch, planted):
    plant(monkeypatch, planted)
    found = values(mixing.adapted_errors(*pair, STRUCTURE, "linear"))
    assert max(found) > FAR


@pytest.mark.parametrize(
    "planted", [faults.adapter_rounds, faults.swapped_weights_rounded], ids=lambda each: each.name
)
def test_a_graded_fault_grows_from_none(pair, monkeypatch, planted):
    clean = max(values(mixing.adapted_errors(*pair, STRUCTURE, "linear")))
    for size, least in ((0.0, 0.0), (1e-9, 3e-13), (1e-6, 3e-10)):
        with monkeypatch.context() as patch:
            plant(patch, planted, size)
            found = max(values(mixing.adapted_errors(*pair, STRUCTURE, "linear")))
            assert found >= least
            assert size or found == clean


def test_a_lost_second_derivative_is_caught(pair, monkeypatch):
    plant(monkeypatch, faults.adapter_differentiates_once)
    generator = np.random.default_rng(0)
    assert max(values(mixing.gradient_errors(*pair, STRUCTURE, generator))) > FAR
    assert not np.isfinite(max(values(second_derivatives(*pair, generator))))


def test_features_cut_off_are_caught(pair, monkeypatch):
    plant(monkeypatch, faults.adapter_detached)
    assert max(values(mixing.force_errors(*pair, STRUCTURE, adapted=True))) > FAR


def test_a_copy_is_caught(monkeypatch):
    plant(monkeypatch, faults.adapter_copies)
    assert max(deviation.absolute for deviation, _ in costs(np.random.default_rng(0))) == 1


def test_a_negative_control_that_is_none_is_caught(pair, monkeypatch):
    plant(monkeypatch, faults.bare_half_adapted, 1.0)
    plant(monkeypatch, faults.bare_linear_half_adapted, 1.0)
    assert max(values(mixing.bare_errors(*pair, STRUCTURE, "linear"))) < LIMIT
    rng = np.random.default_rng(0)
    assert max(values(mixing.linear_errors(pair[0], "l1", rng, adapted=False))) < LIMIT
