"""The nightly script, run on the toy as it is run on mace."""

import os
import subprocess
import sys

import pytest
from user import ROOT

from mace_conformance.__main__ import main
from mace_conformance.detection.record import Caught, Journal, Probe, Stamp

STAMP = Stamp(
    suite_version="0.1.0",
    tolerances_sha256="ab" * 32,
    plan="smoke",
    target={"name": "toy", "version": "1"},
    stack={"torch": "2.13.0"},
)


def nightly(folder, **given):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "NIGHTLY_PYTHON": sys.executable, "NIGHTLY_TARGET": "toy",
        "NIGHTLY_PLAN": "smoke", "NIGHTLY_MACE": "", "NIGHTLY_SEEDS": "1",
    } | given  # fmt: skip
    return subprocess.run(
        [ROOT / ".ci" / "nightly", folder],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


def test_kills_and_false_alarms_are_printed_and_decide(tmp_path):
    done = nightly(tmp_path / "night", NIGHTLY_FAULTS="toy-long-z")
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "night" / "rates.md").read_text()
    assert table in done.stdout
    assert "| faults | toy 1 |" in table
    assert "| 1 of 1 |" in table
    assert "| 0 of 1 runs |" in table
    said = "of 1 faults planted 1 are caught, 1 of them without the stored values"
    assert f"toy 1: {said}; 0 of 1 clean runs raised an alarm" in table


def test_journals_of_other_machines_are_counted_in(tmp_path):
    first, second = tmp_path / "a" / "clean", tmp_path / "b" / "clean"
    for folder, seed in ((first, 0), (second, 1)):
        with Journal(folder, STAMP) as journal:
            journal.add(Probe(kind="clean", seed=seed, judged=9, seconds=60.0))
    done = nightly(tmp_path / "night", NIGHTLY_PARTS="rates", NIGHTLY_WITH=f"{first} {second}")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "night" / "rates.md").read_text().splitlines()
    assert [line.split(" | ")[5] for line in lines[2:5]] == [
        "0 of 1 runs", "0 of 1 runs", "0 of 2 runs",
    ]  # fmt: skip
    assert lines[4].startswith("| all | toy 1 |")


def test_a_folder_of_wheels_stands_for_a_release(tmp_path):
    package = tmp_path / "m0" / "mace"
    (package / "modules").mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("from the folder")')
    given = {"NIGHTLY_PARTS": "releases", "NIGHTLY_MACE": str(tmp_path / "m0")}
    done = nightly(tmp_path / "night", **given)
    assert done.returncode == 1
    assert "1 of 1 clean runs raised an alarm" in done.stdout
    (records,) = (tmp_path / "night" / "m0" / "runs").glob("*/records.jsonl")
    assert "from the folder" in records.read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"NIGHTLY_MACE": "nowhere/m0"}, "nowhere/m0 has no package mace"),
        ({"NIGHTLY_MACE": "tests"}, "mace-torch tests could not be installed"),
        ({"NIGHTLY_MACE": "./tests"}, "tests has no package mace"),
        ({"NIGHTLY_PARTS": "faults cleen"}, "there is no 'cleen'"),
    ],
)
def test_a_release_that_is_not_there_is_refused_before_anything_is_run(tmp_path, given, said):
    done = nightly(tmp_path / "night", PIP_NO_INDEX="1", **given)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("detection.jsonl"))


def test_bad_input_ends_the_night_at_once(tmp_path):
    done = nightly(tmp_path / "night", NIGHTLY_FAULTS="toy-lang-z")
    assert done.returncode == 2
    assert "did you mean 'toy-long-z'?" in done.stderr
    assert not (tmp_path / "night" / "clean").exists()


def test_an_alarm_and_a_fault_that_escapes_fail_the_night(tmp_path, capsys):
    caught = Caught(quantity="equivariance.turns.forces", verdict="fail", ratio=3.0)
    golden = Caught(quantity="goldens.forces", verdict="fail", ratio=3.0)
    clean, faults = tmp_path / "clean", tmp_path / "faults"
    with Journal(clean, STAMP) as journal:
        journal.add(Probe(kind="clean", seed=4, caught=(caught,)))
    with Journal(faults, STAMP) as journal:
        journal.add(Probe(kind="fault", fault="toy-long-z", size=1.0, judged=1, caught=(golden,)))
    assert main(["detect", "--rates", str(clean), str(faults)]) == 1
    text = capsys.readouterr().out
    assert "clean: false alarm: seed 4: equivariance.turns.forces" in text
    assert "toy 1: escaped the laws: toy-long-z" in text
    assert "faults of toy in the catalogue were tried; not tried" in text
    with Journal(tmp_path / "more", STAMP) as journal:
        journal.add(Probe(kind="fault", fault="toy-long-z", size=1.0, judged=1, caught=(caught,)))
    folders = [str(faults), str(tmp_path / "more")]
    assert main(["detect", "--rates", *folders]) == 0  # caught elsewhere, over more of the suite
    assert main(["detect", "--rates", str(clean), str(clean)]) == 2
    assert "is named twice" in capsys.readouterr().err
