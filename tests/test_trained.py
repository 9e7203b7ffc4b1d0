"""Trained models: what is saved comes back, variants agree, damaged files are refused clearly."""

import hashlib
import shutil
import tarfile

import msgspec
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write

from mace_conformance.data.models.making import pipeline, train
from mace_conformance.data.models.making.batches import Room, batched, graph_of
from mace_conformance.data.models.making.jobs import asked, planned
from mace_conformance.data.models.making.shapes import ISOLATED, SHAPES, Course, spec_of, trial
from mace_conformance.data.models.making.ship import ship
from mace_conformance.data.models.making.sources import SOURCES
from mace_conformance.data.models.making.training import RAMP, WEIGHTS, Trainer
from mace_conformance.errors import ConformanceError
from mace_conformance.subjects import process_state, trained, trained_specs
from mace_conformance.subjects.building import construct

ENERGIES = {1: -10.75, 8: -102.5}
SMALL = {"hidden_irreps": "4x0e+4x1o", "MLP_irreps": "3x0e", "radial_MLP": [8], "num_bessel": 4}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with a small untrained `water`, shipped as a trained one is."""
    work, folder = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("shipped")
    spec = spec_of("water", ENERGIES, 4.5, 1.25, -4.5)
    spec = msgspec.structs.replace(spec, options={**spec.options, **SMALL})
    torch.manual_seed(0)
    module = construct(spec)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.float())
    trained.save_model(work, spec, module, {"script": "a test"})
    with tarfile.open(work / "models.tar", "w") as archive:
        for path in (work / "water.json", work / "water.safetensors"):
            archive.add(path, path.name)
    ship(work / "models.tar", ["water"], folder)
    return folder, module


def graphs_of(*names):
    frames = [molecule(name) for name in names]
    for turn, frame in enumerate(frames):
        frame.rattle(0.1, seed=turn)
    return [graph_of(frame, SHAPES["water"].elements, 4.5) for frame in frames]


def evaluated(module, head=0):
    shape = msgspec.structs.replace(SHAPES["water"], nodes=12, edges=40, graphs=3)
    with process_state.restored():
        torch.set_default_dtype(torch.float64)
        room = Room(shape, "cpu")
        room.load(graphs_of("H2O", "H2O2"))
        view = {k: v.double() if v.is_floating_point() else v for k, v in room.view().items()}
        view["head"] = torch.full_like(view["head"], head)
        returned = module(view, compute_force=True, compute_virials=True)
    return {k: returned[k].detach().numpy() for k in ("energy", "forces", "interaction_energy")}


def filled(spec, folder):
    module = construct(spec)
    trained.fill_trained(module, spec, folder=folder)
    return module


def test_saved_weights_come_back_exactly(shipped):
    folder, module = shipped
    again = evaluated(trained.load_model(folder, "water"))
    for name, value in evaluated(module).items():
        assert np.array_equal(again[name], value), name


def test_variants_share_the_weights(shipped):
    folder, _ = shipped
    specs = {spec.name: spec for spec in trained_specs.shipped(folder)}
    assert set(specs) == {"water", "water-e0", "water-heads2"}
    assert len({spec.sha256 for spec in specs.values()}) == 3
    plain = evaluated(filled(specs["water"], folder))
    electrons = evaluated(filled(specs["water-e0"], folder))
    assert np.array_equal(electrons["forces"], plain["forces"])
    assert electrons["energy"][0] < plain["energy"][0] - 1900
    two = filled(specs["water-heads2"], folder)
    first, second = evaluated(two, 0), evaluated(two, 1)
    for name in plain:
        assert np.allclose(first[name], plain[name], rtol=1e-6, atol=1e-7), name
    scaled = trained_specs.SECOND_SCALE * plain["forces"]
    assert np.allclose(second["forces"], scaled, rtol=1e-5, atol=1e-7)


def test_another_model_joins_those_that_are_shipped(shipped, tmp_path):
    folder, _ = shipped
    shutil.copytree(folder, tmp_path / "both")
    with tarfile.open(tmp_path / "models.tar", "w") as archive:
        for suffix in ("json", "safetensors"):
            archive.add(folder / f"water.{suffix}", f"organic.{suffix}")
    ship(tmp_path / "models.tar", ["organic"], tmp_path / "both")
    assert list(trained_specs.manifest(tmp_path / "both")) == ["water", "organic"]


def test_nothing_is_shipped_without_a_manifest(tmp_path):
    assert trained_specs.shipped(tmp_path) == ()


@pytest.mark.parametrize(
    ("suffix", "damage", "says"),
    [
        ("safetensors", lambda raw: raw[:-7], "changed or cut off"),
        ("safetensors", lambda _: None, "no such file"),
        ("json", lambda raw: raw[:100], "changed or cut off"),
        ("json", lambda raw: raw.replace(b"4x0e+4x1o", b"5x0e+5x1o"), "changed or cut off"),
    ],
    ids=["cut-weights", "no-weights", "cut-json", "edited-json"],
)
def test_damaged_files_are_refused(shipped, tmp_path, suffix, damage, says):
    folder, _ = shipped
    for path in folder.iterdir():
        raw = path.read_bytes()
        raw = damage(raw) if path.suffix == f".{suffix}" else raw
        if raw is not None:
            (tmp_path / path.name).write_bytes(raw)
    with pytest.raises(ConformanceError, match=says):
        filled(trained_specs.shipped(tmp_path)[0], tmp_path)


def test_weights_of_another_shape_or_name_are_refused(shipped):
    folder, _ = shipped
    spec = trained_specs.shipped(folder)[0]
    wider = msgspec.structs.replace(spec, options={**spec.options, "MLP_irreps": "5x0e"})
    with pytest.raises(ConformanceError, match="has shape"):
        filled(wider, folder)
    longer = msgspec.structs.replace(spec, options={**spec.options, "num_interactions": 1})
    with pytest.raises(ConformanceError, match="does not fit the installed mace"):
        filled(longer, folder)


def test_garbage_with_the_right_checksum_is_refused(shipped, tmp_path):
    folder, _ = shipped
    (tmp_path / "water.safetensors").write_bytes(b"not a file of weights")
    digest = hashlib.sha256(b"not a file of weights").hexdigest()
    spec = msgspec.structs.replace(trained_specs.shipped(folder)[0], weights=digest)
    with pytest.raises(ConformanceError, match="no safetensors file"):
        filled(spec, tmp_path)


def test_what_fills_a_batch_changes_nothing(shipped):
    _, module = shipped
    alone = evaluated(module)
    assert np.isfinite(alone["forces"]).all()
    assert not alone["forces"][7:].any()
    assert np.abs(alone["forces"][:7]).max() > 1e-3


def test_every_frame_is_in_one_batch():
    graphs = graphs_of(*["H2O"] * 7)
    shape = msgspec.structs.replace(SHAPES["water"], nodes=10, edges=40, graphs=4)
    batches = list(batched(graphs, shape, np.random.default_rng(0)))
    assert sorted(id(g) for batch in batches for g in batch) == sorted(map(id, graphs))
    assert all(sum(map(len, batch)) < shape.nodes for batch in batches)


def test_trajectories_have_names_of_their_own_and_are_held_out_whole():
    jobs = planned()
    assert len({job.name for job in jobs}) == len(jobs)
    assert {job.split for job in jobs} == {"train", "valid", "test"}


def course_of(archive, **other):
    return Course(device="cpu", least=1, start=archive, **other)


def test_going_on_keeps_energies_and_forces_over_other_isolated_atoms(shipped, tmp_path):
    folder, _ = shipped
    archive = tmp_path / "models.tar"
    with tarfile.open(archive, "w") as packed:
        for path in folder.glob("water.*"):
            packed.add(path, path.name)
    spec, module = train.first_model("water", graphs_of("H2O"), course_of(archive), tmp_path)
    assert np.ravel(spec.options["atomic_energies"]).tolist() == [ISOLATED[1], ISOLATED[8]]
    before = evaluated(trained.load_model(folder, "water"))
    after = evaluated(module)
    assert np.array_equal(after["forces"], before["forces"])
    assert abs(after["energy"][0] - before["energy"][0]) < 1e-4


@pytest.mark.parametrize("content", [None, b"no archive"], ids=["missing", "garbage"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "data.tar.xz"
    if content:
        path.write_bytes(content)
    with pytest.raises(ConformanceError, match="no folder and no tar archive"):
        pipeline.take(path, tmp_path / "data", {".extxyz"})


def test_files_are_taken_from_folders_and_archives_alike(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.extxyz").write_text("1")
    with tarfile.open(tmp_path / "given.tar.xz", "w:xz") as packed:
        packed.add(tmp_path / "given", ".")
    for source in ("given", "given.tar.xz"):
        taken = pipeline.take(tmp_path / source, tmp_path / f"from-{source}", {".extxyz"})
        assert [path.name for path in taken] == ["a.extxyz"]
        assert taken[0].read_text() == "1"
    with pytest.raises(ConformanceError, match=r"holds no \.json file"):
        pipeline.take(tmp_path / "given", tmp_path / "none", {".json"})


def test_frames_that_were_asked_for_are_read_by_content(tmp_path):
    path = tmp_path / "water-replica01-400K-001-train-003.taken"
    write(path, molecule("H2O"), format="extxyz")
    frames = list(SOURCES["given"](np.random.default_rng(0), **asked(path).arguments))
    assert [str(frame.symbols) for frame in frames] == ["OH2"]


def test_the_learning_rate_grows_then_falls_and_stage_two_begins_when_told():
    model = torch.nn.Linear(2, 2)
    shape = trial("water", 40, rate=0.5, stage_two=0.25)
    trainer = Trainer(model, torch.nn.Linear(2, 2), shape, "cpu")
    rates, energies = [], []
    for fraction in (0.0, RAMP / 2, RAMP, 0.24, 0.25, 1.0):
        trainer.set_time(fraction)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        energies.append(float(trainer.weights["energy"]))
    assert rates[0] == 0.0
    assert rates[1] < rates[2]
    assert rates[2] > rates[3] > rates[4] > rates[5] > 0.0
    first, second = WEIGHTS["energy"]
    assert energies == [first] * 4 + [second] * 2
