"""Integrators, ensembles and statistics on systems whose answers are known, and bad input."""

from dataclasses import replace

import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments import dynamics, dynamics_statistics
from mace_conformance.instruments.dynamics import BOLTZMANN, Batched, Exploded, Fields, State
from mace_conformance.instruments.dynamics_campaign import run_apart, run_here
from mace_conformance.instruments.dynamics_controls import Scaled, Stale
from mace_conformance.instruments.dynamics_ensembles import BAR, Bath, langevin, volumes
from mace_conformance.instruments.dynamics_findings import rows
from mace_conformance.instruments.dynamics_journal import Journal, notes
from mace_conformance.instruments.dynamics_legs import Leg, Setting, read_checkpoint
from mace_conformance.instruments.dynamics_observables import bonds, broken
from mace_conformance.instruments.dynamics_page import page
from mace_conformance.instruments.dynamics_plan import Plan, demand_known, demand_subjects
from mace_conformance.instruments.dynamics_records import write
from mace_conformance.instruments.dynamics_systems import SOLVATED, system
from mace_conformance.instruments.dynamics_worker import by_another_list
from mace_conformance.subjects import structures
from mace_conformance.subjects.target_loading import load_target
from mace_conformance.subjects.targets import Subject
from mace_conformance.subjects.toy import ToyPotential

TEMPERATURE = 300.0


def harmonic(positions, cells):
    """Every atom on a spring of its own, 5 eV/angstrom^2."""
    del cells
    return Fields(2.5 * np.sum(positions**2, axis=(1, 2)), -5 * positions)


def nothing(positions, cells):
    """An ideal gas."""
    del cells
    return Fields(
        np.zeros(len(positions)), np.zeros_like(positions), np.zeros((len(positions), 3, 3))
    )


def at_rest(surface, replicas=24, atoms=4, length=20.0):
    positions = np.zeros((replicas, atoms, 3))
    cells = np.repeat(length * np.eye(3)[None], replicas, axis=0)
    masses = np.linspace(2.0, 16.0, atoms)
    velocities = dynamics.thermal(masses, TEMPERATURE, replicas, np.random.default_rng(1))
    return State(positions, velocities, cells, masses, surface(positions, cells))


def kept_warm(surface, bath, steps, seed=0, step=2.0, **start):
    """Samples (t, r) of temperature and volume."""
    state, random = at_rest(surface, **start), np.random.default_rng(seed)
    time = np.full(len(state.positions), step)
    heat, volume = [], []
    for _ in range(steps):
        state, kinetic = langevin(state, surface, time, bath, random)
        heat.append(2 * kinetic / (3 * state.masses.size * BOLTZMANN))
        volume.append(volumes(state))
    return np.array(heat), np.array(volume)


def toy_start(replicas=3):
    structure = structures.load("rocksalt")
    surface = Batched(Subject(ToyPotential(), "toy"), structure)
    positions = np.repeat(structure.positions[None], replicas, axis=0)
    masses = dynamics.masses_of(structure)
    velocities = dynamics.thermal(masses, 150.0, replicas, np.random.default_rng(0))
    return structure, surface, dynamics.started(surface, structure, positions, velocities)


def leg(folder, name="toy", ensemble="nvt", surface=None, **bath):
    structure, own, start = toy_start()
    setting = Setting(name=name, ensemble=ensemble, step=1.0, stride=2,
                      bath=Bath(**(bath or {"temperature": 150.0, "friction": 0.02})))  # fmt: skip
    return Leg(setting, surface or own, structure, start, folder)


def hushed(_):
    pass


def test_verlet_is_of_second_order_and_reverses():
    errors = []
    for step in (1.0, 0.5):
        state = at_rest(harmonic)
        time, first = np.full(len(state.positions), step), state
        for _ in range(round(20 / step)):
            state = dynamics.verlet(state, harmonic, time)
        errors.append(np.abs(state.total - first.total).max())
        back = state
        for _ in range(round(20 / step)):
            back = dynamics.verlet(back, harmonic, -time)
        np.testing.assert_allclose(back.positions, first.positions, atol=1e-12)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_the_middle_of_a_langevin_step_has_the_baths_temperature():
    heat, _ = kept_warm(harmonic, Bath(temperature=TEMPERATURE, friction=0.05), 500)
    found = dynamics_statistics.against("temperature", heat[100:].mean(axis=0), TEMPERATURE)
    assert found.verdict != "fail"
    assert found.resolved < 0.1 * TEMPERATURE


def test_a_hot_thermostat_is_told_from_the_real_one():
    bath = Bath(temperature=1.2 * TEMPERATURE, friction=0.05)
    heat, _ = kept_warm(harmonic, bath, 500)
    found = dynamics_statistics.against("temperature", heat[100:].mean(axis=0), TEMPERATURE)
    assert found.verdict == "fail"


def gas(pressure, seed, steps=600):
    bath = Bath(temperature=TEMPERATURE, friction=0.1, pressure=pressure,
                compressibility=1 / pressure, relaxation=40.0)  # fmt: skip
    count = 8
    length = ((count + 1) * BOLTZMANN * TEMPERATURE / (pressure * BAR)) ** (1 / 3)
    return kept_warm(nothing, bath, steps, seed, atoms=count, length=length)[1][100:]


def pair_slope(low, high):
    """The slope of log(p_high / p_low) in x by maximum likelihood, from samples of both, (s,).

    Two volumes' distributions at pressures P and P + D and one temperature differ by
    exp(-D V / kT), whatever the system (Shirts 2013, J. Chem. Theory Comput. 9, 909).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    pooled = np.concatenate([low, high])
    x = (pooled - pooled.mean()) / pooled.std()
    label = np.concatenate([np.zeros(len(low)), np.ones(len(high))])

    def cost(line):
        logit = line[0] + line[1] * x
        miss = expit(logit) - label
        total = float(np.sum(np.logaddexp(0, logit) - label * logit))
        return total, np.array([miss.sum(), (miss * x).sum()])

    found = minimize(cost, np.zeros(2), jac=True, method="BFGS")
    return float(found.x[1] / pooled.std())


def pair_ensemble(low, high, expected):
    """The slope of two sets of samples (t, r) against theory; its error by leaving out replicas."""
    count = low.shape[1]
    whole = pair_slope(low.ravel(), high.ravel())
    kept = [np.delete(np.arange(count), i) for i in range(count)]
    parts = np.array([pair_slope(low[:, k].ravel(), high[:, k].ravel()) for k in kept])
    pseudo = count * whole - (count - 1) * parts
    return dynamics_statistics.against("pair_ensemble", pseudo, expected)


def test_an_ideal_gas_has_the_volumes_of_its_pressures():
    low, high = gas(1000.0, 1), gas(1300.0, 2)
    mean = 9 * BOLTZMANN * TEMPERATURE / (1000.0 * BAR)
    assert dynamics_statistics.against("volume", low.mean(axis=0), mean).verdict != "fail"
    expected = -300.0 * BAR / (BOLTZMANN * TEMPERATURE)
    found = pair_ensemble(low, high, expected)
    assert found.verdict != "fail"
    assert found.resolved < abs(expected)
    assert pair_ensemble(high, low, expected).verdict == "fail"


def test_a_barostat_of_the_wrong_sign_is_noticed(monkeypatch):
    from mace_conformance.instruments import dynamics_ensembles

    right = dynamics_ensembles.strain_rate
    monkeypatch.setattr(dynamics_ensembles, "strain_rate", lambda *words: -right(*words))
    mean = 9 * BOLTZMANN * TEMPERATURE / (1000.0 * BAR)
    with np.errstate(all="ignore"):
        found = gas(1000.0, 1, 150).mean(axis=0)
    assert dynamics_statistics.against("volume", found, mean).verdict == "fail"


def test_the_shift_called_resolvable_fails_as_often_as_it_says():
    random = np.random.default_rng(3)
    shift = dynamics_statistics.compared("x", *random.standard_normal((2, 16))).resolved
    shifts = [
        dynamics_statistics.compared("x", *random.standard_normal((2, 16))).resolved
        for _ in range(200)
    ]
    typical = float(np.median([shift, *shifts]))
    failed = [
        dynamics_statistics.compared(
            "x", random.standard_normal(16) + typical, random.standard_normal(16)
        ).verdict == "fail"
        for _ in range(400)
    ]  # fmt: skip
    assert 0.65 < np.mean(failed) < 0.95


def test_blocks_see_correlations_that_single_samples_hide():
    random = np.random.default_rng(0)
    values = np.zeros(4000)
    for i in range(1, 4000):
        values[i] = 0.98 * values[i - 1] + random.standard_normal()
    naive = float(np.std(values) / np.sqrt(len(values)))
    assert dynamics_statistics.block_error(values, 16) > 3 * naive


def test_not_a_number_fails_a_comparison():
    values = np.array([1.0, np.nan, 1.0, 1.0])
    assert dynamics_statistics.compared("x", values, np.ones(4)).verdict == "fail"
    assert dynamics_statistics.compared("x", np.ones(2), np.ones(2)).verdict == "fail"


@pytest.mark.parametrize(("ensemble", "pressure"), [("nvt", None), ("npt", 1.0)])
def test_a_leg_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, ensemble, pressure):
    bath = {"temperature": 150.0, "friction": 0.02, "pressure": pressure}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = leg(tmp_path / "a", ensemble=ensemble, **bath)
    whole.advance(60, 20, hushed)
    leg(tmp_path / "b", ensemble=ensemble, **bath).advance(60, 8, hushed)
    resumed = leg(tmp_path / "b", ensemble=ensemble, **bath)
    assert resumed.steps == 8
    resumed.advance(60, 20, hushed)
    np.testing.assert_array_equal(resumed.state.positions, whole.state.positions)
    np.testing.assert_array_equal(resumed.state.cells, whole.state.cells)
    np.testing.assert_array_equal(resumed.series("potential"), whole.series("potential"))


def test_progress_says_how_far_and_how_the_energy_drifts(tmp_path):
    said = []
    leg(tmp_path, ensemble="nve", temperature=None).advance(60, 8, said.append)
    assert "0.008 ps of each of 3 replicas, drift" in said[-1]
    assert "s left" in said[-1]


def test_an_explosion_is_one_message_with_its_step_and_keeps_what_came_before(tmp_path):
    _, surface, _ = toy_start()
    calls = []

    def breaks(positions, cells):
        calls.append(1)
        found = surface(positions, cells)
        return found if len(calls) < 6 else Fields(found.energy * np.nan, found.forces)

    with pytest.raises(Exploded, match="toy: the trajectory exploded at step 6: a value of energy"):
        leg(tmp_path, surface=breaks).advance(60, 20, hushed)
    assert leg(tmp_path).steps == 5


@pytest.mark.parametrize(
    ("ensemble", "bath", "said"),
    [
        ("nvt", {"temperature": 300.0}, "the thermostat has friction = None"),
        ("nvt", {"friction": 0.1}, "the thermostat has temperature = None"),
        ("nvt", {"temperature": -1.0, "friction": 0.1}, "temperature = -1.0: give a positive"),
        ("npt", {"temperature": 300.0, "friction": 0.1}, "the barostat has pressure = None"),
        ("survival", {"temperature": 300.0, "friction": 0.1}, "the thermostat has hottest = None"),
        ("nph", {"temperature": 300.0}, "unknown ensemble 'nph': nve, nvt, npt, survival"),
    ],
)
def test_what_an_ensemble_lacks_is_said_before_it_runs(tmp_path, ensemble, bath, said):
    with pytest.raises(ConformanceError, match=said):
        leg(tmp_path, ensemble=ensemble, **bath)


def test_a_checkpoint_that_cannot_be_read_is_one_message(tmp_path):
    leg(tmp_path).advance(60, 4, hushed)
    path = tmp_path / "toy.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConformanceError, match="no checkpoint that can be read"):
        leg(tmp_path)
    path.write_bytes(whole)
    with pytest.raises(ConformanceError, match="checkpoint of other settings"):
        leg(tmp_path, temperature=400.0, friction=0.02)
    assert read_checkpoint(path)[1]["steps"] == 4


def small(**changes):
    words = {
        "target": "toy", "model": "pair", "structure": "rocksalt", "replicas": 4, "device": "cpu",
        "subjects": ("fp64-e3nn", "fp32-e3nn"), "seconds": 60, "settle": 5, "steps": 48,
        "stride": 4,
    }  # fmt: skip
    return Plan(**(words | changes))


def test_a_campaign_runs_every_leg_and_its_page_compares_them(tmp_path):
    assert run_here(small(), tmp_path, load_target("toy"), hushed)
    assert {note["verdict"] for note in notes(tmp_path)} == {"ran"}
    found = {(row.leg, row.observable): row for row in rows(tmp_path)}
    strong = found["force-scale.nve", "coupling"]
    assert strong.difference == pytest.approx(-1e-3, rel=0.05)
    assert strong.verdict == "fail"
    assert found["fp32-e3nn.nve", "coupling"].verdict != "fail"
    assert abs(found["fp32-e3nn.nve", "coupling"].difference) < 2e-4
    text = "\n".join(page(write(tmp_path)))
    assert "| force-scale | yes | force-scale.nve coupling" in text
    assert "## Errors along a path of the reference" in text
    assert {"fp64-e3nn.survival", "fp32-e3nn.npt"} <= {row.leg for row in rows(tmp_path)}


def test_a_campaign_goes_on_where_it_was(tmp_path):
    plan = small(controls=(), ensembles=("nvt",), steps=8)
    run_here(plan, tmp_path, load_target("toy"), hushed)
    run_here(replace(plan, steps=12), tmp_path, load_target("toy"), hushed)
    assert [note["steps"] for note in notes(tmp_path)] == [8, 8, 12, 12]
    (tmp_path / "fp64-e3nn.nvt.npz").write_bytes(b"PK")
    with pytest.raises(ConformanceError, match=r"fp64-e3nn\.nvt\.npz is no checkpoint"):
        run_here(plan, tmp_path, load_target("toy"), hushed)


def test_subjects_run_side_by_side_and_what_is_killed_is_kept(tmp_path):
    plan = small(
        controls=("hot-thermostat",), ensembles=("nve", "npt"), seconds=12, steps=10**9, settle=2
    )
    assert run_apart(plan, tmp_path, hushed)
    legs = {note["leg"] for note in notes(tmp_path)}
    assert {"fp64-e3nn.nve", "fp32-e3nn.npt", "hot-thermostat.nvt"} <= legs
    assert write(tmp_path)["shadow"][0]["subject"] == "fp32-e3nn"


def test_a_subject_that_breaks_is_noted_and_the_others_run(tmp_path):
    class Target(type(load_target("toy"))):
        def potential(self, model, head, policy, backend, device):
            if policy == "fp16-linear":
                message = "no kernel image is available"
                raise RuntimeError(message)
            return super().potential(model, head, policy, backend, device)

    plan = small(subjects=("fp64-e3nn", "fp32-e3nn", "fp16-linear-e3nn"), controls=(), steps=8)
    assert not run_here(plan, tmp_path, Target(), hushed)
    failed = [note for note in notes(tmp_path) if note["verdict"] == "error"]
    assert [note["leg"] for note in failed] == ["fp16-linear-e3nn"]
    assert "no kernel image" in "\n".join(page(write(tmp_path)))


def test_an_explosion_ends_its_leg_alone_and_is_recorded_with_its_step(tmp_path):
    class Broken(ToyPotential):
        calls = 0

        def along(self, *words):
            Broken.calls += 1
            found = super().along(*words)
            lost = np.nan if Broken.calls > 400 else 1.0
            return type(found)({name: lost * found[name].values for name in found})

    class Target(type(load_target("toy"))):
        def potential(self, model, head, policy, backend, device):
            if policy == "fp16-linear":
                return Broken()
            return super().potential(model, head, policy, backend, device)

    plan = small(subjects=("fp64-e3nn", "fp32-e3nn", "fp16-linear-e3nn"), controls=(), steps=600,
                 ensembles=("nvt",), replicas=1)  # fmt: skip
    assert not run_here(plan, tmp_path, Target(), hushed)
    last = list(notes(tmp_path))[-1]
    assert last["verdict"] == "error"
    assert (
        f"exploded at step {last['steps'] + 1}: a value of energy of replica 0" in last["problem"]
    )


def test_replicas_may_have_temperatures_of_their_own():
    bath = Bath(temperature=100.0, hottest=400.0, friction=0.05)
    heat, _ = kept_warm(harmonic, bath, 600)
    means = heat[100:].mean(axis=0)
    low, high = means[:6].mean(), means[-6:].mean()
    assert low == pytest.approx(132.6, rel=0.2)
    assert high == pytest.approx(367.4, rel=0.2)


def test_a_bond_counts_as_broken_once_it_is_long():
    structure = system(SOLVATED)
    known = bonds(structure)
    waters = (len(structure) - 22) // 3
    assert len(known[0]) == 2 * waters + 21
    positions = structure.positions[None].copy()
    cells = structure.cell[None]
    fields = Fields(np.zeros(1), np.zeros_like(positions))
    masses = dynamics.masses_of(structure)
    state = State(positions, 0 * positions, cells, masses, fields)
    assert broken(state, known)["broken"] == [0]
    positions[0, -1] += [0.0, 1.5, 0.0]
    assert broken(state, known)["broken"] == [1]


def test_subjects_are_checked_before_anything_runs():
    with pytest.raises(ConformanceError, match="write POLICY-BACKEND"):
        demand_subjects(["fp23-e3nn"], load_target("toy"))
    with pytest.raises(ConformanceError, match="known are nve, nvt"):
        demand_known("--ensembles", ["nph"], ("nve", "nvt"))
    assert demand_subjects(["fp32-e3nn"], load_target("toy")) == ("fp64-e3nn", "fp32-e3nn")


def test_replicas_in_one_list_are_those_evaluated_apart():
    pytest.importorskip("mace")
    potential = load_target("mace").potential("residual", "Default", "fp64", "e3nn", "cpu")
    structure = structures.load("water64")
    surface = potential.replicas(structure, 1, record=True)
    apart = Batched(Subject(potential, "apart"), structure)
    random = np.random.default_rng(0)
    positions = structure.positions[None] + [7.0, -30.0, 3.0]
    cells = structure.cell[None]
    for _ in range(2):
        positions = positions + 0.1 * random.standard_normal(positions.shape)
        found, expected = (each(positions, cells) for each in (surface, apart))
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-11)
        np.testing.assert_allclose(found.energy, expected.energy, atol=1e-10)
        np.testing.assert_allclose(found.virials, expected.virials, atol=1e-10)
    with pytest.raises(ConformanceError, match="less than twice the list's reach"):
        potential.replicas(structures.load("rocksalt"), 1)


def test_scaled_forces_are_what_the_control_says():
    state = at_rest(harmonic)
    found = Scaled(harmonic, 0.5)(state.positions + 1, state.cells)
    np.testing.assert_array_equal(found.forces, -7.5 * np.ones_like(state.positions))


class Remembering:
    """A surface with springs to where atoms were when its list was made."""

    frozen, home = False, None

    def __call__(self, positions, cells):
        del cells
        if self.home is None or not self.frozen:
            self.home = np.round(positions, 1)
        return Fields(np.zeros(len(positions)), self.home - positions - 1)

    def forget(self):
        self.frozen, self.home = False, None


def test_a_list_that_was_kept_too_long_is_told_from_one_made_anew():
    state = at_rest(harmonic)
    moved = state.positions + 0.3
    stale, fresh = Stale(Remembering()), Remembering()
    stale(state.positions, state.cells)
    for surface, expected in ((stale, 0.3), (fresh, 0.0)):
        there = replace(state, positions=moved, fields=surface(moved, state.cells))
        found = list(by_another_list(there, fresh))
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert list(by_another_list(state, harmonic)) == []


def test_a_page_says_whose_list_was_kept_too_long(tmp_path):
    assert run_here(small(controls=(), ensembles=("nvt",)), tmp_path, load_target("toy"), hushed)
    for name, apart in (("fp64-e3nn", 2e-2), ("fp32-e3nn", 2e-6)):
        noise = apart * np.linspace(0.9, 1.1, 4)
        Journal(tmp_path).note(leg=f"{name}.nvt", verdict="ran", list=noise.tolist())
    found = {row.leg: row.verdict for row in rows(tmp_path) if row.observable == "list"}
    assert found == {"fp64-e3nn.nvt": "fail", "fp32-e3nn.nvt": "pass"}


def test_a_campaign_notices_its_stale_list_beside_other_controls(tmp_path):
    plan = small(
        controls=("hot-thermostat", "stale-list"), ensembles=("nvt",), temperature=600.0, step=2.0,
        steps=150, settle=2, turn=1.0,
    )  # fmt: skip
    assert run_here(plan, tmp_path, load_target("toy"), hushed)
    found = {row.leg: row for row in rows(tmp_path) if row.observable == "list"}
    assert found["stale-list.nvt"].verdict == "fail"
    assert {found[f"{name}.nvt"].verdict for name in plan.subjects} == {"pass"}
    assert "| stale-list | yes | stale-list.nvt list" in "\n".join(page(write(tmp_path)))


def test_lists_of_the_toy_are_made_anew_in_time():
    structure, surface, start = toy_start()
    kept = ToyPotential().replicas(structure, 3)
    random = np.random.default_rng(0)
    positions, cells = start.positions, start.cells
    for _ in range(12):
        found, expected = kept(positions, cells), surface(positions, cells)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-12)
        np.testing.assert_allclose(found.virials, expected.virials, atol=1e-12)
        positions = positions + 0.05 * random.standard_normal(positions.shape)
        cells = cells * (1 + 0.01 * random.standard_normal((3, 1, 1)))
