"""The reference models: data that does not move, weights made again by anyone, live forces."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import msgspec
import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.subjects.models import MODELS, expected_parameters, model
from mace_conformance.subjects.seeding import Recipe, fill, normal, raw_bits, stock_names, unscaled

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

import mace.calculators  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from e3nn import o3  # noqa: E402
from mace import data  # noqa: E402
from mace.tools import AtomicNumberTable, torch_geometric  # noqa: E402

from mace_conformance.subjects import building, process_state  # noqa: E402

REQUIRED = {
    "class:ScaleShiftMACE", "class:MACE", "class:AtomicDipolesMACE", "class:AtomicDielectricMACE",
    "class:EnergyDipolesMACE",
    *(f"interaction:RealAgnostic{kind}" for kind in
      ("", "Residual", "AttResidual", "Density", "DensityResidual", "ResidualNonLinear")),
    "L:0", "L:1", "L:2", "max_ell:1", "max_ell:2", "max_ell:3", "correlation:2", "correlation:3",
    "correlation:4", "layers:1", "layers:2", "layers:3", "radial:bessel", "radial:gaussian",
    "radial:chebyshev", "transform:none", "transform:agnesi", "transform:soft", "zbl",
    "heads:1", "heads:2", "heads:3",
    "elements:1", "elements:4", "elements:11", "reduced-cg", "full-cg", "cutoff-on", "cutoff-off",
    "odd-channels", "non-integer-neighbours", "so3", "agnostic-product", "last-readout-only",
    "keep-last-irreps", "edge-irreps", "edge-irreps-first", "embedding-specs", "embedding-readout",
    "readout-cls", "gate-none", "old-checkpoint", "pseudoscalars", "correlation-per-layer",
    "negative-beta",
}  # fmt: skip
JUDGED = ("residual", "density-heads2", "heads3-l2", "nonlinear")


@cache
def built(name):
    return building.build(model(name))


@cache
def ethanol():
    atoms = molecule("CH3CH2OH")
    noise = normal("ethanol", atoms.positions.shape)
    return atoms.numbers, atoms.positions + 0.08 * noise


def batch(name, head):
    spec = model(name)
    numbers, positions = ethanol()
    with process_state.restored():
        torch.set_default_dtype(torch.float64)
        keys = data.KeySpecification()
        config = data.config_from_atoms(Atoms(numbers, positions), keys, head_name=head)
        table = AtomicNumberTable(list(spec.elements))
        graph = data.AtomicData.from_config(config, table, spec.r_max, heads=list(spec.heads))
        loader = torch_geometric.dataloader.DataLoader([graph], batch_size=1)
        return next(iter(loader)).to_dict()


def forces(name, head="Default", module=None):
    head = head if head in model(name).heads else model(name).heads[0]
    return (module or built(name))(batch(name, head))["forces"].detach().numpy()


def relative_rms(values, reference):
    return np.linalg.norm(values - reference) / np.linalg.norm(reference)


# ---- the table


def test_every_feature_is_in_some_gate_model():
    gate = [spec for spec in MODELS.values() if spec.plan in {"smoke", "gate"}]
    missing = REQUIRED - set().union(*(spec.features for spec in gate))
    assert not missing
    plans = Counter(spec.plan for spec in MODELS.values())
    assert plans["smoke"] <= 5
    assert len(gate) <= 30


def test_names_are_slugs_and_contents_differ():
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in MODELS)
    assert len({spec.sha256 for spec in MODELS.values()}) == len(MODELS)


def test_checksums_do_not_move():
    assert model("residual").sha256[:16] == "e836d1638efb4d8a"


def test_checksum_follows_the_numbers_only():
    spec = model("residual")
    assert msgspec.structs.replace(spec, plan="qualify", cost=9.0).sha256 == spec.sha256
    assert msgspec.structs.replace(spec, scale={"*": 2.0}).sha256 != spec.sha256


def test_an_unknown_model_is_answered_with_the_nearest_name():
    with pytest.raises(ConformanceError, match="did you mean 'residual'"):
        model("residul")


def test_the_table_imports_no_torch():
    code = (
        "import sys, mace_conformance.subjects.models; "
        "sys.exit(bool({'torch', 'ase', 'mace', 'e3nn', 'scipy'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
    )


def test_the_cutoff_pair_differs_in_one_option():
    on, off = dict(model("residual").options), dict(model("cutoff-off").options)
    assert off.pop("apply_cutoff") is False
    assert on == off
    assert model("residual").scale == model("cutoff-off").scale


# ---- seeding


def test_weights_do_not_move():
    bits = raw_bits("0:readouts.0.linear.weight", 2)
    assert bits.tolist() == [13999436384342867862, 1042944641858356301]
    values = fill({"readouts.0.linear.weight": (3,)})["readouts.0.linear.weight"]
    assert values.tolist() == [-1.46343994140625, -1.9618072509765625, 0.029144287109375]
    shapes = expected_parameters(model("nonlinear"))
    filled = fill(shapes, Recipe(model("nonlinear").scale))
    digest = hashlib.sha256(b"".join(filled[name].tobytes() for name in sorted(filled)))
    assert digest.hexdigest()[:16] == "5ac8de4cf8cc9fb0"


def test_deviates_are_normal():
    sample = normal("key", (200_000,))
    assert abs(sample.mean()) < 0.01
    assert sample.std() == pytest.approx(1.0, abs=0.01)
    assert (np.abs(sample) < 1.0).mean() == pytest.approx(0.683, abs=0.01)
    other = normal("another key", (200_000,))
    assert abs(np.corrcoef(sample, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 0.01


def test_order_and_neighbours_of_a_parameter_do_not_matter():
    one = fill({"a.weight": (4,), "b.weight": (2, 3)})
    two = fill({"b.weight": (2, 3), "c.weight": (1,), "a.weight": (4,)})
    assert all((one[name] == two[name]).all() for name in one)
    assert (fill({"a.weight": (4,)}, Recipe(seed=1))["a.weight"] != one["a.weight"]).all()


def test_every_kind_of_parameter_has_its_rule():
    assert unscaled("interactions.0.alpha", ()) == 20.0
    assert unscaled("interactions.0.beta", ()) == 0.0
    norm = unscaled("interactions.0.conv_tp_weights.net.1.weight", (1000,))
    assert norm.mean() == pytest.approx(1.0, abs=0.02)
    assert norm.std() == pytest.approx(0.1, abs=0.01)
    linear = unscaled("interactions.0.conv_tp_weights.net.0.weight", (100, 25))
    assert linear.std() == pytest.approx(0.2, abs=0.01)
    bias = unscaled("interactions.0.conv_tp_weights.net.0.bias", (1000,))
    assert bias.std() == pytest.approx(0.1, abs=0.01)
    weight = "products.0.symmetric_contractions.contractions.0.weights.0"
    assert unscaled(weight, (10, 4, 100)).std() == pytest.approx(0.5, abs=0.02)


def test_constants_act_by_pattern():
    recipe = Recipe(scale={"a.*": 2.0, "*.weight": 4.0}, values={"*.alpha": 6.0})
    filled = fill({"a.weight": (5,), "a.alpha": ()}, recipe)
    assert (filled["a.weight"] == 8.0 * fill({"a.weight": (5,)})["a.weight"]).all()
    assert filled["a.alpha"] == 6.0


def test_a_renamed_parameter_is_named_with_the_remedy():
    expected = {"inner.linear_up.weight": (3,)}
    found = {"inner.lin_up.weight": (3,)}
    with pytest.raises(ConformanceError) as caught:
        fill(found, expected=expected)
    message = str(caught.value)
    assert "no parameter 'inner.linear_up.weight'" in message
    assert "nearest is 'inner.lin_up.weight'" in message
    assert "--mace-name-map inner.linear_up.weight=NEW" in message
    mapped = fill(found, name_map={"linear_up": "lin_up"}, expected=expected)
    assert (mapped["inner.lin_up.weight"] == fill(expected)["inner.linear_up.weight"]).all()


def test_a_surplus_or_reshaped_parameter_is_an_error():
    expected = {"a.weight": (3,)}
    with pytest.raises(ConformanceError, match=r"'b\.weight' of shape \(2,\)"):
        fill({"a.weight": (3,), "b.weight": (2,)}, expected=expected)
    with pytest.raises(ConformanceError, match=r"shape \(4,\), the reference model's has \(3,\)"):
        fill({"a.weight": (4,)}, expected=expected)


def test_a_name_map_that_matches_nothing_is_an_error():
    with pytest.raises(ConformanceError, match="no parameter of the model has 'lin_upp'"):
        stock_names(["inner.lin_up.weight"], {"linear_up": "lin_upp"})


# ---- building


def test_building_leaves_the_process_as_it_was():
    torch.set_default_dtype(torch.float32)
    before = process_state.snapshot()
    python, library = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    building.construct(model("one-layer-gaussian"))
    assert process_state.changed(before) == []
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == library  # noqa: NPY002


def test_built_models_are_fp64_with_fp32_values():
    module = built("nonlinear")
    assert not module.training
    for tensor in module.state_dict().values():
        assert tensor.dtype is not torch.float32
    for parameter in module.parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, parameter.float().double())


def test_buffers_that_carry_energies_are_fp32_values():
    module = built("density-heads2")
    for buffer in (module.atomic_energies_fn.atomic_energies, module.scale_shift.scale):
        assert torch.equal(buffer, buffer.float().double())


@pytest.mark.parametrize("name", JUDGED)
def test_forces_are_of_order_one(name):
    for head in model(name).heads:
        size = np.sqrt((forces(name, head) ** 2).mean())
        assert 0.3 < size < 3.0


@pytest.mark.parametrize("name", JUDGED)
def test_every_l_of_the_hidden_features_moves_the_forces(name):
    module, reference = built(name), forces(name)
    for product in module.products[:-1]:
        irreps = o3.Irreps(str(product.linear.irreps_out))
        for where in irreps.slices():

            def silence(_, __, output, where=where):
                output = output.clone()
                output[:, where] = 0
                return output

            handle = product.register_forward_hook(silence)
            share = relative_rms(forces(name), reference)
            handle.remove()
            assert share > 0.2


@pytest.mark.parametrize("name", JUDGED)
def test_every_layer_and_every_l_of_the_edges_moves_the_forces(name):
    module, reference = built(name), forces(name)
    blocks = [(block, lambda _, __, out: (0 * out[0], out[1])) for block in module.interactions]
    for degree in range(1, model(name).options["max_ell"] + 1):
        where = slice(degree**2, (degree + 1) ** 2)

        def silence(_, __, output, where=where):
            output = output.clone()
            output[:, where] = 0
            return output

        blocks.append((module.spherical_harmonics, silence))
    for block, hook in blocks:
        handle = block.register_forward_hook(hook)
        share = relative_rms(forces(name), reference)
        handle.remove()
        assert share > 0.1


@pytest.mark.parametrize("name", ["density-heads2", "heads3-l2"])
def test_heads_differ_in_energy_and_forces(name):
    heads = model(name).heads
    first = forces(name, heads[0])
    for head in heads[1:]:
        assert relative_rms(forces(name, head), first) > 0.2
    energies = [built(name)(batch(name, head))["energy"].item() for head in heads]
    assert np.ptp(energies) > 1.0


def test_an_old_checkpoint_lacks_attributes_and_evaluates():
    module = built("old-checkpoint")
    assert not hasattr(module, "heads")
    assert not hasattr(module, "use_reduced_cg")
    assert not hasattr(module.radial_embedding, "apply_cutoff")
    assert not hasattr(module.products[0], "use_agnostic_product")
    assert not hasattr(module.interactions[1], "edge_irreps")
    assert np.isfinite(forces("old-checkpoint")).all()


def test_a_model_with_forbidden_paths_can_be_copied():
    module = built("both-parities")
    twin = building.copied(module)
    state, copy = module.state_dict(), twin.state_dict()
    assert all(torch.equal(state[name], copy[name]) for name in state)
    assert (forces("both-parities", module=twin) == forces("both-parities")).all()


def test_every_removed_attribute_exists_in_the_stock_module():
    spec = model("old-checkpoint")
    module = building.construct(msgspec.structs.replace(spec, removed=()))
    paths = dict(module.named_modules())
    for pattern in spec.removed:
        where, attribute = pattern.replace("*", "0").split(":")
        where = where.replace("readouts.0", "readouts.1")
        assert hasattr(paths[where], attribute), pattern


def test_a_package_without_the_class_or_option_is_told():
    spec = model("one-layer-gaussian")
    with pytest.raises(ConformanceError, match="ScaleShiftMACE"):
        building.construct(msgspec.structs.replace(spec, cls="ScaleShiftMACES"))
    strange = msgspec.structs.replace(spec, options=dict(spec.options) | {"use_magic": True})
    with pytest.raises(ConformanceError, match="use_magic"):
        building.construct(strange)


# ---- files and names


def test_a_saved_model_is_loaded(tmp_path):
    path = tmp_path / "mine.model"
    torch.save(built("nonlinear"), path)
    loaded = building.load_model_file(path)
    assert (forces("nonlinear", module=loaded) == forces("nonlinear")).all()


def test_bad_model_files_are_told_apart(tmp_path):
    with pytest.raises(ConformanceError, match="no such file"):
        building.load_model_file(tmp_path / "none.model")
    whole = tmp_path / "whole.model"
    torch.save(built("nonlinear"), whole)
    short = tmp_path / "short.model"
    short.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ConformanceError, match=r"short\.model \(5000 bytes\) cannot be read"):
        building.load_model_file(short)
    other = tmp_path / "other.model"
    torch.save({"weights": torch.ones(2)}, other)
    with pytest.raises(ConformanceError, match="holds a dict, not a MACE model"):
        building.load_model_file(other)
    plain = tmp_path / "plain.model"
    plain.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ConformanceError, match=r"plain\.model"):
        building.load_model_file(plain)


def test_named_models_fail_in_one_paragraph(monkeypatch):
    with pytest.raises(ConformanceError, match="unknown mace loader 'mace_of'"):
        building.load_named("mace_of:medium")

    def unreachable(**_):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(mace.calculators, "mace_off", unreachable)
    with pytest.raises(ConformanceError, match="no route to host; without a network"):
        building.load_named("mace_off:medium")
