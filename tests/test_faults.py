"""Every planted fault is noticed by what it breaks, and leaves alone what it must not touch."""

import fnmatch
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from user import ROOT, conformance

from mace_conformance.errors import ConformanceError
from mace_conformance.findings.records import number
from mace_conformance.subjects import structures
from mace_conformance.subjects.faults import FAULTS, inject, parse
from mace_conformance.subjects.toy import ToyPotential

QUANTITIES = tomllib.loads((ROOT / "tolerances.toml").read_text())["quantity"]
TOY = {name: fault for name, fault in FAULTS.items() if fault.target == "toy"}
MACE = {name: fault for name, fault in FAULTS.items() if fault.target == "mace"}
STRUCTURES = "atom,cell-two,dimer,ethanol,ethanol-lone,fragments,triclinic-left"
ROUNDING = 1e-11
MARGIN = 100

# What each fault of the toy must not disturb.
SPARED = {
    "toy-long-z": "equivariance.atoms.energy",
    "toy-vectors-in-single": "equivariance.atoms.node_energy",
    "toy-own-image-missing": "equivariance.net.force",
    "toy-heavy-force-scale": "equivariance.turns.forces",
    "toy-cutoff-left-open": "smoothness.apart.energy",
    "toy-cutoff-kink": "smoothness.cutoff.energy",
    "toy-origin": "equivariance.turns.forces",
    "toy-first-atom": "equivariance.turns.energy",
    "toy-lonely-atom": "smoothness.cutoff.energy",
    "toy-crowded": "smoothness.cutoff.energy",
    "toy-node-energy-scale": "precision.strain.virials",
    "toy-force-scale": "precision.parts.energy",
    "toy-forces-no-gradient": "precision.parts.energy",
    "toy-signed-volume": "equivariance.cell.energy",
    "toy-shear-scale": "equivariance.atoms.energy",
    "toy-virials-sign": "precision.parts.energy",
    "toy-wear": "precision.volume.stress",
    "toy-batch-leak": "equivariance.net.force",
}

# Whole conversions, adapters, recordings, interactions, exports, calculators and steps of a
# training, which faults enter to change different things inside.
SEAMS = (
    "cli.convert_e3nn_cueq:",
    "subjects.",
    "tools.train:take_step",
    "tools.finetuning_utils:load_foundations_elements",
    "modules.blocks:RealAgnostic",
    "calculators.lammps_mace:LAMMPS_MACE.__init__",
    "calculators.mace:MACECalculator.calculate",
)

# Eight faults on the installed mace: the quantity that notices, the narrowest run that has it, and
# a value that stock mace stays a hundred times below.
PLANTED = {
    "long-z": ("equivariance.turns.forces", "ethanol", "fp64", 1e-6),
    "batch-leak": ("equivariance.batch.energy", "ethanol", "fp64", 1e-6),
    "signed-volume": ("equivariance.cell.stress", "triclinic-left", "fp64", 1e-6),
    "own-image-missing": ("equivariance.supercell.energy", "cell-two", "fp64", 1e-6),
    "force-scale": ("precision.difference.forces", "ethanol", "fp64", 1e-5),
    "readout-detached": ("precision.gradients.slope", "ethanol", "fp64", 1e-5),
    "linear-in-tf32": ("precision.policy.forces", "ethanol", "fp32", 1e-4),
    "stale-cell": ("precision.calculator.follows.cell", "triclinic-left", "fp64", 1e-6),
}


def worst(done):
    """The worst value of each quantity of a run, errors as infinity."""
    assert done.measurements, done.text[-3000:]
    found = {}
    for m in done.measurements:
        found[m.case.quantity] = max(number(m.value), found.get(m.case.quantity, 0))
    return found


def broken(name):
    """The quantities that a fault says it breaks."""
    return {q for pattern in FAULTS[name].breaks for q in fnmatch.filter(QUANTITIES, pattern)}


def suites(quantities):
    """The one suite that has the quantities, else all of them."""
    found = {quantity.split(".")[0] for quantity in quantities}
    return f"suites/{found.pop()}" if len(found) == 1 else "suites/"


def judged_on_the_toy(folder, quantities, *words):
    asked = ("--mace-target", "toy", "--mace-policy", "fp64", "--mace-structure", STRUCTURES)
    narrowed = ("--mace-quantity", ",".join(quantities), "-q")
    return worst(conformance(folder, *asked, *narrowed, *words, suites=suites(quantities)))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    every = {FAULTS[name].breaks[0] for name in TOY} | set(SPARED.values())
    return judged_on_the_toy(tmp_path_factory.mktemp("toy") / "run", every)


@pytest.mark.parametrize("name", TOY)
def test_a_fault_of_the_toy_is_noticed_where_it_says_and_only_there(tmp_path, toy, name):
    asked = {FAULTS[name].breaks[0], SPARED[name]}
    found = judged_on_the_toy(tmp_path / "run", asked, "--mace-inject", name)
    noticed = [q for q in broken(name) & set(found) if found[q] > MARGIN * max(toy[q], ROUNDING)]
    assert noticed, found
    spared = SPARED[name]
    assert found[spared] <= MARGIN * max(toy[spared], ROUNDING / MARGIN)


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_of_the_installed_mace_is_noticed(tmp_path, name):
    pytest.importorskip("mace")
    quantity, structure, policy, least = PLANTED[name]
    assert quantity in broken(name)
    done = conformance(
        tmp_path / "run",
        *("--mace-inject", name, "--mace-quantity", quantity, "--mace-structure", structure),
        *("--mace-model", "residual", "--mace-policy", policy, "--mace-backend", "e3nn", "-q"),
        suites=suites([quantity]),
    )
    assert worst(done)[quantity] > least


def test_what_a_fault_breaks_exists():
    unknown = {
        name: pattern
        for name, fault in FAULTS.items()
        for pattern in fault.breaks
        if not fnmatch.filter(QUANTITIES, pattern)
    }
    assert unknown == {}


def test_there_are_enough_faults_and_no_two_are_the_same():
    assert len(MACE) >= 45
    assert len(TOY) >= 12
    assert set(SPARED) == set(TOY)
    lines = [fault for fault in FAULTS.values() if not fault.place.startswith(SEAMS)]
    assert len({(fault.place, fault.breaks[0]) for fault in lines}) == len(lines)
    assert len({(fault.target, fault.what) for fault in FAULTS.values()}) == len(FAULTS)
    assert all(fault.what.endswith(".") for fault in FAULTS.values())


def test_the_catalogue_imports_no_torch_and_every_place_exists():
    pytest.importorskip("mace")
    program = (
        "import sys\n"
        "from mace_conformance.subjects.faults import FAULTS, PACKAGES\n"
        "assert not {'torch', 'mace', 'e3nn', 'scipy', 'ase'} & set(sys.modules)\n"
        "for fault in FAULTS.values():\n"
        "    fault.install(PACKAGES[fault.target], fault.size)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=False, env={"PYTHONPATH": str(ROOT / "fixtures")})  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name, fault in TOY.items() if fault.graded])
def test_a_graded_fault_of_size_zero_is_none(monkeypatch, name):
    structure = structures.load("triclinic-left")
    clean = ToyPotential().evaluate([structure, structure])
    method = TOY[name].place.rpartition(".")[2]
    monkeypatch.setattr(ToyPotential, method, TOY[name].around(getattr(ToyPotential, method), 0.0))
    for found, expected in zip(ToyPotential().evaluate([structure, structure]), clean, strict=True):
        for field in expected:
            np.testing.assert_array_equal(found[field].values, expected[field].values)


def test_a_size_is_read():
    assert parse("force-scale=1e-5")[1] == 1e-5
    assert parse("force-scale")[1] == FAULTS["force-scale"].size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("force-scael", "did you mean 'force-scale'?"),
        ("force-scale=large", "'large' is no finite number; the default is force-scale=0.001"),
        ("force-scale=nan", "no finite number"),
        ("signed-volume=2", "has no size; write signed-volume alone"),
        ("toy-origin", "add --mace-target toy"),
    ],
)
def test_what_cannot_be_planted_is_refused(text, said):
    with pytest.raises(ConformanceError, match="--mace-inject") as refusal:
        inject(text)
    assert said in str(refusal.value)


def test_a_refusal_reaches_the_user_without_a_traceback(tmp_path):
    done = conformance(tmp_path / "run", "--mace-target", "toy", "--mace-inject", "toy-orign")
    assert done.code == 4
    assert "did you mean 'toy-origin'?" in done.text
    assert "Traceback" not in done.text
