"""Backends and their variants: where they run, what converters are told, what a verdict says."""

import sys
import types
from types import SimpleNamespace

import pytest
from user import ROOT

from mace_conformance.findings.outcome import kernels
from mace_conformance.offer import Offer
from mace_conformance.options import Options
from mace_conformance.promises.catalogue import Way
from mace_conformance.session import Session
from mace_conformance.subjects.backends import BACKENDS
from mace_conformance.subjects.execution_names import EXECUTIONS
from mace_conformance.subjects.hardware import NAIVE, Hardware


class Module:
    """Stands in for a model: it says where it was sent."""

    def to(self, device):
        self.device = device
        return self


@pytest.fixture
def told(monkeypatch):
    """What a converter is told, by keyword."""
    found = {}

    def run(module, **named):
        found.update(named)
        return module

    for name in ("fork", "fork.cli"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    converter = types.ModuleType("fork.cli.convert_e3nn_cueq")
    converter.run = run
    monkeypatch.setitem(sys.modules, converter.__name__, converter)
    return found


@pytest.mark.parametrize(
    ("name", "device", "word"),
    [
        ("cueq", "cpu", "cpu"),
        ("cueq", "cuda", "cuda"),
        ("cueq", "cuda:1", "cuda"),
        ("cueq-unfused", "cuda", "cuda:0"),
        ("cueq-unfused", "cuda:1", "cuda:1"),
    ],
)
def test_converters_fuse_for_one_word_only(told, name, device, word):
    module = BACKENDS[name].convert(Module(), "fork", device)
    assert told["device"] == word
    assert module.device == device
    assert "layout" not in told


def test_a_variant_asks_for_its_layout(told):
    BACKENDS["cueq-mul_ir"].convert(Module(), "fork", "cpu")
    assert told["layout"] == BACKENDS["cueq-mul_ir"].layout == "mul_ir"


def test_variants_belong_to_a_backend_and_only_quantities_that_name_them_judge_them():
    session = Session(Options(root=ROOT, plan="gate", device="cpu"), Hardware("cpu", "cpu"))
    assert "cueq-mul_ir" in session.catalogue.backends
    assert "cueq-unfused" not in session.catalogue.backends
    assert Way("fp64", "cueq-mul_ir").family == "cueq"
    for name, cases in session.matrix.cases.items():
        if ".variants." not in name:
            assert not any("-" in case.backend for case in cases), name


def test_a_backend_that_this_project_does_not_know_runs_where_its_target_does():
    offer = SimpleNamespace(kind="cpu")
    assert Offer._runs(offer, "of-a-fork")  # noqa: SLF001
    assert not Offer._runs(offer, "oeq")  # noqa: SLF001


def test_every_execution_of_the_target_can_be_prepared():
    from mace_conformance.subjects.executions import PREPARED

    assert set(PREPARED) == set(EXECUTIONS)


@pytest.mark.parametrize(
    ("fact", "backend", "text"),
    [
        (NAIVE, "cueq", f"cueq ({NAIVE})"),
        (NAIVE, "cueq-mul_ir", f"cueq ({NAIVE})"),
        (NAIVE, "e3nn", ""),
        ("kernels", "cueq", ""),
    ],
)
def test_a_verdict_says_that_no_kernels_ran(fact, backend, text):
    run = SimpleNamespace(hardware={"cueq": fact})
    assert kernels(run, [SimpleNamespace(case=SimpleNamespace(backend=backend))]) == text


def test_a_quantity_may_ask_for_a_cell_of_every_model():
    session = Session(Options(root=ROOT, plan="qualify", device="cpu"), Hardware("cpu", "cpu"))
    cases = session.matrix.cases["backends.conversion.accepted"]
    models = {m.name for m in session.offer.models.values() if "class:ScaleShiftMACE" in m.features}
    elements = {m.name: set(m.elements) for m in session.offer.models.values()}
    assert {case.model for case in cases} == {name for name in models if 6 in elements[name]}
