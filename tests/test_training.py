"""The instruments of training: formulas, recursions, studies and what they say of the claim."""

import json

import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments.training import by_group, whole_error
from mace_conformance.instruments.training_losses import loss_value
from mace_conformance.instruments.training_steps import _Adam
from mace_conformance.subjects.lessons import Labelled, LossRules, StepRules
from mace_conformance.subjects.outputs import Outputs
from mace_conformance.subjects.structures import Structure
from mace_conformance.training import claim, curves, study
from mace_conformance.training.dataset import write_toy
from mace_conformance.training.recipes import RECIPES, recipe
from mace_conformance.training.structure import distance

PROPERTIES = ("energy", "forces", "stress", "virials")


def labelled(atoms, label=0.0, *, weight=1.0, **weights):
    positions = np.arange(3.0 * atoms).reshape(atoms, 3)
    structure = Structure("some", np.ones(atoms), positions, 9 * np.eye(3), (True, True, True))
    own = dict.fromkeys(PROPERTIES, 1.0) | weights
    zero = np.zeros((3, 3))
    return Labelled(structure, label, np.zeros((atoms, 3)), zero, zero, weight, own)


def found(atoms, *, energy=0.0, force=0.0, stress=0.0):
    values = {"energy": energy, "forces": np.full((atoms, 3), force)}
    return Outputs(values | {name: np.full((3, 3), stress) for name in ("stress", "virials")})


def test_an_energy_counts_for_each_atom_and_with_its_weights():
    rules = LossRules("stress", energy=4.0, forces=0.0, stress=0.0)
    lesson = [labelled(2, 0.0, weight=3.0, energy=0.5), labelled(1, 0.0)]
    value = loss_value(rules, lesson, [found(2, energy=6.0), found(1)])
    assert value == pytest.approx(4 * (1.5 * 3.0**2) / 2)


def test_forces_are_a_mean_over_atoms_and_stress_over_structures():
    lesson = [labelled(3, 0.0), labelled(1, 0.0)]
    outputs = [found(3), found(1, force=2.0, stress=0.5)]
    forces = LossRules("stress", energy=0.0, stress=0.0)
    stress = LossRules("stress", energy=0.0, forces=0.0)
    assert loss_value(forces, lesson, outputs) == pytest.approx(2.0**2 / 4)
    assert loss_value(stress, lesson, outputs) == pytest.approx(0.5**2 / 2)


def test_hubers_loss_is_linear_beyond_delta():
    rules = LossRules("huber", energy=0.0, stress=0.0, delta=0.1)
    assert loss_value(rules, [labelled(1, 0.0)], [found(1, force=0.05)]) == pytest.approx(0.00125)
    assert loss_value(rules, [labelled(1, 0.0)], [found(1, force=2.0)]) == pytest.approx(0.195)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_recursion_is_that_of_torch(name):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    start = {"products.w": generator.standard_normal(4), "readouts.w": np.ones(3)}
    rules, mine = StepRules(optimizer=name, clip=1.0), None
    mine = _Adam(start, rules)
    tensors = {n: torch.tensor(v, requires_grad=True) for n, v in start.items()}
    decays = {"products.w": rules.decay, "readouts.w": 0.0}
    groups = [{"params": [t], "weight_decay": decays[n]} for n, t in tensors.items()]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    theirs = kind(groups, lr=rules.rate, betas=(rules.beta, 0.999), amsgrad=True)
    for size in (5.0, 0.1, 2.0):
        gradients = {n: size * generator.standard_normal(v.shape) for n, v in start.items()}
        for n, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[n])
        torch.nn.utils.clip_grad_norm_(list(tensors.values()), 1.0)
        theirs.step()
        mine.step(gradients)
    for n, tensor in tensors.items():
        np.testing.assert_allclose(mine.values[n], tensor.detach().numpy(), rtol=1e-14)


def test_a_gradient_that_lacks_a_name_or_a_group_is_infinitely_wrong():
    whole = {"a": np.ones(2), "b": np.ones(2)}
    samples = list(by_group({"a": np.ones(2)}, whole, dict.fromkeys(whole, "g")))
    assert max(d.absolute for d, _ in samples) == np.inf
    assert whole_error({"a": np.ones(2)}, whole).absolute == np.inf
    samples = {w: d.relative(0) for d, w in by_group(whole, whole, {"a": "g", "b": "h"})}
    assert samples == {"g": 0.0, "h": 0.0, "descent": 0.0}


def test_nan_gradients_and_zeros_fail():
    whole, groups = {"a": np.ones(2)}, {"a": "g"}
    for bad in (np.full(2, np.nan), np.zeros(2), np.full(2, 5.0)):
        assert max(d.relative(0) for d, _ in by_group({"a": bad}, whole, groups)) >= 1


def test_the_toys_data_set_is_the_same_each_time(tmp_path):
    one, other = write_toy(tmp_path / "a"), write_toy(tmp_path / "b")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
    assert one[0].read_bytes() != one[1].read_bytes()


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(ConformanceError, match="bf16-weights"):
        recipe("bf16-weight")
    assert {"cpu", "cuda"} >= {d for each in RECIPES.values() for d in each.devices}


def by_seed(values):
    return dict(enumerate(values, start=1))


def test_ratios_recover_what_is_put_in():
    generator = np.random.default_rng(1)
    base = 7.5 * np.exp(0.02 * generator.standard_normal(6))
    worse = 9.6 * np.exp(0.02 * generator.standard_normal(6))
    found_ratio = claim.ratio("bf16-weights", by_seed(worse), by_seed(base))
    assert found_ratio.low < 9.6 / 7.5 < found_ratio.high
    assert claim.on_forces(found_ratio) == "confirmed"
    assert claim.on_energies(found_ratio) == "refuted"
    same = claim.ratio("fp64", by_seed(base * 1.001), by_seed(base))
    assert (claim.on_forces(same), claim.on_energies(same)) == ("refuted", "confirmed")
    wide = claim.ratio("fp64", by_seed([5.0, 12.0]), by_seed([6.0, 9.0]))
    assert (claim.on_forces(wide), claim.on_energies(wide)) == ("bounded", "bounded")


def test_errors_of_one_seed_are_a_pair_where_they_start_alike():
    base = by_seed([5.0, 9.0, 14.0])
    worse = {seed: 1.1 * error for seed, error in base.items()}
    assert claim.ratio("bf16-weights", worse, base).low > 1
    assert claim.ratio("fp64", worse, base).low < 1
    missing = {seed: error for seed, error in worse.items() if seed > 1}
    assert claim.ratio("bf16-weights", missing, base).seeds == (2, 2)


def test_one_seed_makes_no_interval():
    for name in ("fp64", "fp32"):
        with pytest.raises(ConformanceError, match="two seeds"):
            claim.ratio(name, {1: 1.0}, {1: 1.0, 2: 2.0})


def written(folder, rows):
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    (folder / study.JOURNAL).write_text("\n".join(lines) + '\n{"recipe": "fp')


def row(name, seed, force, energy):
    return {"recipe": name, "seed": seed, "last": {"rel_rmse_f": force, "rmse_e_per_atom": energy}}


def test_a_page_names_each_recipe_and_what_failed(tmp_path):
    rows = [row("fp32", s, 7.5 + 0.01 * s, 0.001 + 1e-6 * s) for s in range(3)]
    rows += [row("bf16-weights", s, 9.6 + 0.01 * s, 0.001 + 1e-6 * s) for s in range(3)]
    rows.append({"recipe": "fp16-weights", "seed": 1, "error": "the errors are not finite"})
    written(tmp_path, rows)
    text = "\n".join(claim.page(tmp_path))
    assert "| bf16-weights | 3 | 9.61 +- 0.01 |" in text
    assert "confirmed" in text
    assert "fp16-weights, seed 1: the errors are not finite" in text


def test_a_page_compares_structures_with_those_of_the_same_seed_in_fp64(tmp_path):
    rows = []
    for name, moved in (("fp64", 0), ("fp32", 2), ("bf16-weights", 20)):
        for seed in range(3):
            counts = {"1-8": [100 - moved - seed, moved + seed]}
            rows.append(
                row(name, seed, 7.5 + 0.01 * seed, 0.001) | {"structure": {"pairs": counts}}
            )
    rows.append(row("fp16-weights", 0, 9.0, 0.001) | {"structure": {"error": "it exploded"}})
    written(tmp_path, rows)
    text = "\n".join(claim.page(tmp_path))
    assert "| fp32 | 3 | 7.51 +- 0.01 | 1 +- 0 | 2 +- " in text
    assert "fp16-weights, seed 0: it exploded" in text
    assert distance({"pairs": {"1-8": [3, 0]}}, {"pairs": {"1-8": [0, 1]}}) == 1
    assert distance({"pairs": {"1-8": [3, 6]}}, {"pairs": {"1-8": [1, 2]}}) == 0


def test_a_picture_has_a_line_for_each_recipe_that_ended(tmp_path):
    assert curves.draw(tmp_path) is None
    points = [{"epoch": float(e), "rel_rmse_f": 50.0 / (e + 1)} for e in range(4)]
    rows = [row(name, 1, 7.5, 0.001) | {"curve": points} for name in ("fp32", "tf32")]
    written(tmp_path, rows)
    text = curves.draw(tmp_path).read_text()
    assert "fp32" in text
    assert "tf32" in text
    assert "fp64" not in text


def planned(tmp_path, **changes):
    data = tmp_path / "none.xyz"
    words = {"out": tmp_path / "out", "recipes": [RECIPES["fp32"]], "seeds": 2, "train": data,
             "valid": data, "isolated": "average", "device": "cpu", "epochs": 1, "jobs": 2,
             "seconds": 60.0}  # fmt: skip
    return study.Study(**words | changes)


def test_data_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ConformanceError, match=r"none\.xyz: there is no such file"):
        study.conduct(planned(tmp_path))


def test_what_is_done_is_not_done_again(tmp_path):
    (tmp_path / "none.xyz").write_text("")
    written(tmp_path / "out", [row("fp32", 1, 7.5, 0.001), row("fp32", 2, 7.5, 0.001)])
    assert study.conduct(planned(tmp_path)) == 0
    assert len(study.journal(tmp_path / "out")) == 2


def test_a_training_that_fails_is_a_row_with_its_words(tmp_path, monkeypatch):
    (tmp_path / "none.xyz").write_text("")
    monkeypatch.setattr(study, "_command", lambda *_: ["sh", "-c", "echo the loss exploded; false"])
    assert study.conduct(planned(tmp_path)) == 0
    assert [r["error"] for r in study.journal(tmp_path / "out")] == ["the loss exploded"] * 2


def test_a_study_that_is_cut_short_says_what_is_left(tmp_path, monkeypatch):
    (tmp_path / "none.xyz").write_text("")
    monkeypatch.setattr(study, "_command", lambda *_: ["sleep", "60"])
    assert study.conduct(planned(tmp_path, seconds=1.0)) == 2
    assert study.journal(tmp_path / "out") == []
