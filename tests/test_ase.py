"""Any ASE calculator is judged as a black box: sound ones pass, what is wrong with others shows."""

from functools import cache

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.morse import MorsePotential
from calculators import SHAPE, morse
from user import ROOT, conformance

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments.metrics import rms
from mace_conformance.options import Options
from mace_conformance.session import Session
from mace_conformance.subjects import structures
from mace_conformance.subjects.ase_potential import AsePotential, in_vacuum
from mace_conformance.subjects.ase_target import AseTarget
from mace_conformance.subjects.hardware import Hardware
from mace_conformance.subjects.target_loading import load_target

MORSE = "ase:tests/calculators.py:morse"
NARROW = ("--mace-plan", "smoke", "--mace-structure", "ethanol,ethanol-boxed,rocksalt")


@cache
def session(target=MORSE, **fields):
    options = Options(root=ROOT, target=target, plan="smoke", device="cpu", **fields)
    return Session(options, Hardware("cpu", "cpu"))


def test_a_sound_calculator_passes_every_law_that_a_black_box_can_have(tmp_path):
    done = conformance(tmp_path / "run", "--mace-target", MORSE, *NARROW)
    assert done.code == 0, done.text[-3000:]
    assert set(done.run.counts) == {"pass"}
    suites = {"dynamics", "equivariance", "precision", "smoothness"}
    assert {m.case.suite for m in done.measurements} - {"latency"} == suites


@pytest.mark.parametrize(
    ("name", "quantity", "structures"),
    [
        ("scaled", "precision.difference.forces", "ethanol-lone,ethanol-boxed"),
        ("cut_lennard_jones", "smoothness.cutoff.forces", "ethanol-lone,ethanol-boxed"),
        ("scaled", "dynamics.nve.excess", "rocksalt"),
    ],
)
def test_a_fault_is_found(tmp_path, name, quantity, structures):
    target = f"ase:tests/calculators.py:{name}"
    words = ("--mace-plan", "smoke", "--mace-structure", structures)
    done = conformance(
        tmp_path / "run", "--mace-target", target, *words, "--mace-quantity", quantity
    )
    assert done.code == 1
    assert {m.verdict for m in done.measurements} == {"fail"}


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [
        ("ase-forces-scaled=1e-5", "precision.difference.forces"),
        ("ase-signed-volume", "equivariance.turns.stress"),
    ],
)
def test_a_planted_fault_shows_that_the_laws_are_awake(tmp_path, fault, quantity):
    words = ("--mace-inject", fault, "--mace-quantity", quantity, "--mace-plan", "smoke")
    structure = ("--mace-structure", "rocksalt,ethanol-boxed,triclinic-left")
    done = conformance(tmp_path / "run", "--mace-target", MORSE, *words, *structure)
    assert done.code == 1, done.text[-3000:]
    assert "fail" in {m.verdict for m in done.measurements}


def test_a_fault_of_black_boxes_names_the_target_that_it_needs(tmp_path):
    done = conformance(tmp_path / "run", "--mace-inject", "ase-signed-volume")
    assert done.code == 4
    assert "add --mace-target ase:module:factory" in done.text


def test_precision_is_found_out():
    assert list(session().target.policies) == ["fp64"]
    assert list(session("ase:tests/calculators.py:single").target.policies) == ["fp32"]


def test_the_cutoff_is_found_out():
    assert session().target.findings.cutoff == pytest.approx(SHAPE["r0"] * SHAPE["rcut2"], abs=1e-9)


def test_what_it_cannot_do_is_counted_as_capability():
    found = session()
    elements = {z for cases in found.matrix.cases.values() for c in cases
                for z in structures.load(c.structure).elements}  # fmt: skip
    assert elements <= {1, 6, 7, 8}
    assert found.matrix.not_run["capability"] > 50


def test_no_issue_of_mace_excuses_it():
    assert not session().issues


class Periodic(MorsePotential):
    """Wants a lattice, as most codes for crystals do."""

    def calculate(self, atoms=None, *words):
        if not all(atoms.pbc):
            message = "Singular matrix"
            raise ValueError(message)
        super().calculate(atoms, *words)


def test_molecules_go_in_boxes_where_a_calculator_wants_a_lattice():
    def periodic():
        return Periodic(**SHAPE)

    periodic.conformance = morse.conformance
    target = AseTarget("x:periodic", periodic)
    assert target.findings.boxed
    boxed = target.potential("periodic", "Default", "fp64", "ase", "cpu")
    free = AsePotential(morse(), boxed=False)
    for name in ("ethanol", "slab-tilted", "wire"):
        structure = structures.load(name)
        assert all(in_vacuum(structure, 5.0).pbc)
        found, expected = (each.single(structure)["forces"] for each in (boxed, free))
        assert rms(found, expected).relative(0.05) < 1e-13


class NoForces(Calculator):
    implemented_properties = ("energy",)

    def calculate(self, *words):
        super().calculate(*words)
        self.results["energy"] = 0.0
        self.results["forces"] = np.zeros((len(self.atoms), 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ase:tests/calculators.py:silent", "answers for no pair of atoms; it says RuntimeError"),
        ("ase:tests/calculators.py:stale", "does not respond: H-O"),
        ("ase:tests/calculators.py:no_calculator", "a object is no ASE calculator"),
        ("ase:tests/calculators.py:nothing", "has no 'nothing'"),
        ("ase:nowhere.at_all:EMT", "no such module in this environment; install it, put its"),
        ("ase:ase.calculators.nowhere:EMT", "No module named 'ase.calculators.nowhere'"),
        ("ase:EMT", "unknown --mace-target 'ase:EMT'"),
        ("ase:tests/calculators.py:__doc__", "cannot be called"),
    ],
)
def test_what_is_no_calculator_is_refused_in_a_sentence(text, message):
    with pytest.raises(ConformanceError) as refused:
        load_target(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_calculator_without_forces_is_refused():
    with pytest.raises(ConformanceError, match="answers for no pair of atoms"):
        AseTarget("x:no_forces", NoForces)


def test_a_wrong_declaration_is_refused():
    def factory():
        return morse()

    factory.conformance = {"element": ["H"]}
    with pytest.raises(ConformanceError, match="must be a dict with keys of cutoff, elements"):
        AseTarget("x:factory", factory)


def test_the_speed_of_a_black_box_is_timed(tmp_path):
    words = ("--mace-quantity", "latency.drift.step")
    done = conformance(tmp_path / "run", "--mace-target", MORSE, *words)
    (found,) = done.measurements
    assert found.case.backend == "ase"
    assert found.timing["median_ms"][0] > 0
    assert 0 < found.value < 100
