"""The user's very command, run on the toy: every case runs, none is lost, records survive."""

import json
import resource
import signal
import subprocess
import sys
import time

import pytest
from user import ROOT, conformance, shell

from mace_conformance.findings.records import read_run
from mace_conformance.session import UNJUDGED_EXIT

BUSY = 2
"""How much slower a processor is that other processes share, at worst."""

HEAVY = {"torch", "mace", "e3nn", "ase", "scipy", "matplotlib", "hypothesis"}
"""Packages without which cases are drawn."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return conformance(tmp_path_factory.mktemp("toy") / "run", "--mace-target", "toy")


def test_the_command_passes_on_an_exact_potential(toy):
    assert toy.code in (0, 10), toy.text[-3000:]
    assert toy.run.finished
    assert set(toy.run.counts) <= {"pass", "unjudged", "ambiguous"}


def test_every_planned_case_left_one_record(toy):
    assert toy.run.planned == len(toy.measurements) > 20
    assert len({(m.case.quantity, m.id) for m in toy.measurements}) == toy.run.planned


def test_no_law_is_skipped_or_deselected(toy):
    closing = toy.text.strip().splitlines()[-1]
    assert "skipped" not in closing
    assert "deselected" not in closing


def test_the_summary_fits_one_screen_and_begins_with_the_verdict(toy):
    lines = toy.text[toy.text.rindex("= conformance =") :].splitlines()[1:]
    lines = [line for line in lines if line]
    assert lines[0].startswith("verdict ")
    assert len(lines) < 24


def test_what_did_not_run_is_counted_by_reason(toy):
    assert set(toy.run.not_run) <= {"capability", "hardware", "plan", "narrowed"}


def test_a_folder_is_a_marker(tmp_path):
    done = conformance(
        tmp_path / "run", "--mace-target", "toy", "--mace-plan", "smoke", "-m", "equivariance"
    )
    assert {m.case.suite for m in done.measurements} == {"equivariance"}
    assert done.run.planned == len(done.measurements)
    assert done.run.not_run["narrowed"] > 0


def test_a_failing_case_can_be_run_again_by_its_id(toy, tmp_path):
    first = toy.measurements[0]
    done = conformance(
        tmp_path / "again",
        *("--mace-target", "toy", "--mace-case", first.id),
        suites=f"suites/{first.case.suite}",
    )
    assert {m.id for m in done.measurements} == {first.id}
    again = next(m for m in done.measurements if m.case.quantity == first.case.quantity)
    assert again.value == first.value


def test_a_law_that_benchmark_only_would_lose_is_refused(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["mace_conformance.plugin"]\n')
    (tmp_path / "test_lost.py").write_text(
        "from mace_conformance.laws import quantity\n"
        '@quantity("equivariance.turns.energy")\n'
        "def test_lost(case, potential):\n    assert True\n"
    )
    done = conformance(tmp_path / "run", "--mace-target", "toy", suites=str(tmp_path))
    assert done.code == 4
    assert "--benchmark-only would lose" in done.text
    assert "Traceback" not in done.text


def test_a_killed_run_leaves_its_records_and_a_report_that_says_so(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "--mace-target", "toy",
         "--mace-report", str(folder)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    records = folder / "records.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        records.is_file() and records.read_bytes().count(b"\n") > 5
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with records.open("ab") as file:
        file.write(b'{"case": {"quantity": "equiv')
    run, measurements = read_run(folder)
    assert not run.finished
    assert len(measurements) > 4
    done = shell(folder, sys.executable, "-m", "mace_conformance", "report", str(folder))
    assert done.code == 0
    for name in ("report.md", "report.html", "badge.json"):
        assert "incomplete" in (folder / name).read_text(encoding="utf-8")


def test_a_failed_verdict_keeps_no_timing(tmp_path):
    saved = tmp_path / "timings.json"
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "tests/targets.py:noise", "--mace-plan", "smoke"),
        f"--benchmark-json={saved}",
    )
    assert done.code == 1
    kept = json.loads(saved.read_text())["benchmarks"] if saved.is_file() else []
    assert all(row["extra_info"].get("verdict") in ("pass", "unjudged") for row in kept)


def test_a_quantity_without_a_row_is_unjudged_and_the_run_does_not_pass(tmp_path):
    kept = (ROOT / "tolerances.toml").read_text().split("\n\n")
    law = "equivariance.turns.forces"
    rows = [block for block in kept if f'[[limit]]\nquantity = "{law}"' not in block]
    assert len(rows) < len(kept)
    path = tmp_path / "tolerances.toml"
    path.write_text("\n\n".join(rows))
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "toy", "--mace-plan", "smoke", "--mace-tolerances", str(path)),
        *("--mace-quantity", law),
    )
    assert done.code == UNJUDGED_EXIT
    assert {m.verdict for m in done.measurements} == {"unjudged"}
    assert f"  {law}" in done.text


def test_a_hang_ends_as_an_error(tmp_path):
    text = (ROOT / "tolerances.toml").read_text()
    short = tmp_path / "tolerances.toml"
    short.write_text(text.replace("[plan.smoke]", "[plan.smoke]\ncase_seconds = 0.3", 1))
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "tests/targets.py:hanging", "--mace-tolerances", str(short)),
        *("--mace-plan", "smoke", "-x", "-q"),
    )
    assert done.code == 1
    assert "time limit" in done.measurements[0].message


def test_collection_is_short_and_leaves_no_folder(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = conformance(tmp_path / "run", "--collect-only", "-q")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0, done.text
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < BUSY * 2
    assert not (tmp_path / "run").exists()


def test_collection_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, pytest; pytest.main(['suites/', '--collect-only', '-q']); "
        f"print(*sorted({HEAVY} & set(sys.modules)))"
    )
    done = shell(tmp_path / "run", sys.executable, "-c", code)
    assert done.code == 0, done.text
    assert "tests collected" in done.text.strip().splitlines()[-1], "a heavy package is imported"
