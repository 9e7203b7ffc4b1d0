"""A fork in each of the ways it may come, judged by the user's own command."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sample_fork
from user import ROOT, Done

if importlib.util.find_spec("mace") is None:  # looked for only: importing it takes seconds
    pytest.skip("mace is not installed", allow_module_level=True)

LAWS = ("equivariance.turns.forces", "smoothness.cutoff.forces", "goldens.energy")
NARROW = ("--mace-plan", "smoke", "--mace-structure", "ethanol,ethanol-boxed")
SAVE = """
import msgspec, runpy, sys, torch
from mace_conformance.subjects.building import construct
from mace_conformance.subjects.models import model
spec = model("residual")
for path, irreps in ((sys.argv.pop(1), "8x0e+8x1o"), (sys.argv.pop(1), "8x0e")):
    other = msgspec.structs.replace(spec, options=spec.options | {"hidden_irreps": irreps})
    torch.manual_seed(0)
    torch.save(construct(other, "acme_mace"), path)
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""
"""Saves a model with vectors and one of scalars alone as the fork's trainer does, then judges.

In one process, because four fifths of a short one are spent on importing the fork.
"""


def begin(folder, place, *words, python=(sys.executable, "-m", "pytest"), laws=LAWS):
    """The command as a fork's maintainer types it, begun with the fork's folder on the path."""
    quantities = [word for name in laws for word in ("--mace-quantity", name)]
    suites = sorted({f"suites/{name.split('.')[0]}" for name in laws})
    process = subprocess.Popen(
        [*python, *suites, "--benchmark-only", "-p", "no:cacheprovider",
         "--mace-report", str(folder), *words, *quantities],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env=os.environ | sample_fork.environment(place, ROOT),
    )  # fmt: skip

    def ended():
        text = process.communicate()[0]
        return Done(process.returncode, text, folder)

    return ended


@pytest.fixture(scope="module")
def renamed(tmp_path_factory):
    return sample_fork.make(tmp_path_factory.mktemp("fork"))


@pytest.fixture(scope="module")
def interpreter(renamed, tmp_path_factory):
    """A venv of its own, which sees this one's libraries, and the fork by a .pth file alone."""
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python*")) / "site-packages"
    libraries = Path(importlib.util.find_spec("numpy").origin).parents[1]
    (site / "fork.pth").write_text(f"{renamed}\n{libraries}\n")
    return venv / "bin" / "python"


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A fork installed as mace with a fault, and its judgement, which runs beside the others."""
    folder = tmp_path_factory.mktemp("broken")
    place = sample_fork.make(folder / "fork", sample_fork.BROKEN, "mace")
    words = ("--mace-model", "residual", "--mace-backend", "e3nn", *NARROW)
    return place, begin(folder / "run", place, *words, laws=LAWS[1:])


@pytest.fixture(scope="module")
def runs(broken, renamed, interpreter, tmp_path_factory):
    """The renamed fork: a checkpoint of scalars alone, and one judged in the other interpreter."""
    folder = tmp_path_factory.mktemp("judged")
    vectors, scalars = map(str, (folder / "my.model", folder / "scalars.model"))
    named = ("--mace-target", "mace:acme_mace")
    layouts = begin(
        folder / "layouts", renamed, *named, "--mace-plan", "qualify",
        "--mace-structure", "ethanol-boxed", "--mace-policy", "fp64",
        "--mace-backend", "cueq", "--mace-model", scalars,
        laws=["backends.mixing.bare.linear"], python=(sys.executable, "-c", SAVE, vectors, scalars),
    )()  # fmt: skip
    judged = begin(
        folder / "run", folder, *named, "--mace-backend", "e3nn", *NARROW,
        "--mace-model", f"residual,{vectors}", python=(interpreter, "-m", "pytest"),
    )()  # fmt: skip
    return {"judged": judged, "layouts": layouts, "broken": broken[1]()}


@pytest.fixture(scope="module")
def judged(runs):
    return runs["judged"]


def test_a_renamed_fork_is_judged_without_stock_mace(judged):
    assert judged.code == 0, judged.text[-3000:]
    assert {m.case.quantity for m in judged.measurements} == set(LAWS)
    assert judged.run.target["name"] == "acme_mace"
    assert judged.run.target["version"] == importlib.metadata.version("mace-torch")


def test_another_interpreter_judges_what_it_has_installed(judged, renamed):
    assert judged.run.target["path"] == str(renamed / "acme_mace")


def test_a_checkpoint_is_judged_and_said_to_be_a_pickle(judged):
    assert {m.case.model for m in judged.measurements} == {"residual", "my"}
    assert "my.model is a pickle: loading it runs whatever code is in it" in judged.text


def test_a_fork_installed_as_mace_with_a_fault_fails(broken, runs):
    done = runs["broken"]
    assert done.code == 1, done.text[-3000:]
    assert {m.case.quantity for m in done.measurements if m.verdict == "fail"} == set(LAWS[1:])
    assert done.run.target["path"] == str(broken[0] / "mace")


def test_layouts_are_not_certified_on_scalars_alone(runs):
    done = runs["layouts"]
    assert done.code == 1, done.text[-3000:]
    (message,) = {m.message for m in done.measurements}
    assert "its hidden irreps 8x0e are scalars" in message
    assert "give a model with hidden irreps of l > 0" in done.text


def test_a_missing_package_is_refused_in_a_sentence(tmp_path):
    done = begin(tmp_path / "run", tmp_path, "--mace-target", "mace:nowhere", laws=LAWS[:1])()
    assert done.code == 4
    assert "the target 'nowhere' is not installed" in done.text
    assert "Traceback" not in done.text


def test_the_sample_has_no_trace_of_the_stock_name(renamed):
    for path in (renamed / "acme_mace").rglob("*.py"):
        assert not sample_fork.OWN.search(path.read_text()), path
