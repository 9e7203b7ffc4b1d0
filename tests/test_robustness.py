"""Records and reports when things go wrong: kills, full disks, odd paths, two runs at once."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from runs import FAILING, KNOWN, PASSING, measured, write
from user import ROOT, conformance

from mace_conformance.errors import ConformanceError
from mace_conformance.findings.files import SUMMARY
from mace_conformance.findings.outcome import conclude
from mace_conformance.findings.recorder import Recorder
from mace_conformance.findings.records import read_run

TOY = ("--mace-target", "toy", "--mace-plan", "smoke", "--mace-quantity", "equivariance.*")
ENVIRONMENT = {name: text for name, text in os.environ.items() if name != SUMMARY} | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT / "fixtures"),
}


def command(folder, *words):
    start = [
        sys.executable,
        "-m",
        "pytest",
        "suites/",
        "--benchmark-only",
        "-p",
        "no:cacheprovider",
    ]
    return [*start, *TOY, "--mace-report", str(folder), *words]


def test_records_cut_at_any_byte_can_be_read_and_say_incomplete(tmp_path):
    whole = write(tmp_path / "whole", [PASSING, FAILING, KNOWN], finished=False)
    data = (whole / "records.jsonl").read_bytes()
    first = data.index(b"\n")
    folder = tmp_path / "cut"
    folder.mkdir()
    for length in range(0, len(data), 7):
        (folder / "records.jsonl").write_bytes(data[:length])
        if length <= first:
            with pytest.raises(ConformanceError, match="killed before its first record"):
                read_run(folder)
            continue
        run, measurements = read_run(folder)
        assert len(measurements) == data[:length].count(b"\n") - 1
        assert conclude(run, measurements).title.startswith("incomplete")


def test_a_disk_that_fills_up_ends_the_run_with_a_sentence(tmp_path):
    size = 6000
    done = subprocess.run(
        command(tmp_path / "run"), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout
    assert "records can no longer be written" in done.stdout
    run, measurements = read_run(tmp_path / "run")
    assert 0 < len(measurements) < run.planned


def test_after_a_failed_write_nothing_more_is_written(tmp_path, monkeypatch):
    folder = write(tmp_path / "run", [])
    recorder = Recorder(tmp_path / "other", read_run(folder)[0])
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(recorder, "_file", full)
        recorder.add(PASSING)
        assert "No space left on device" in recorder.lost
    recorder.add(PASSING)
    recorder.close(recorder.run)
    assert (tmp_path / "other" / "records.jsonl").read_bytes().count(b"\n") == 1
    assert not (tmp_path / "other" / "run.json").exists()


def test_reports_that_cannot_be_written_fail_the_run_and_keep_the_records(tmp_path):
    folder = tmp_path / "run"
    (folder / "report.html.part").mkdir(parents=True)
    done = conformance(folder, *TOY)
    assert done.code == 1
    assert "the reports cannot be written" in done.text
    assert "INTERNALERROR" not in done.text
    assert len(done.measurements) == done.run.planned


def test_two_runs_at_once_cannot_share_a_folder(tmp_path):
    folder = tmp_path / "run"
    both = [
        subprocess.Popen(
            command(folder), cwd=ROOT, env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    texts = [run.communicate()[0] for run in both]
    codes = [run.returncode for run in both]
    assert sorted(codes) == [0, 4], texts
    assert "a run's records already lie there" in texts[codes.index(4)]
    run, measurements = read_run(folder)
    assert len(measurements) == run.planned


def test_a_run_in_a_workflow_appends_its_summary(tmp_path):
    summary = tmp_path / "summary.md"
    environment = ENVIRONMENT | {SUMMARY: str(summary)}
    done = subprocess.run(command(tmp_path / "run"), cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0
    assert summary.read_text() == (tmp_path / "run" / "report.md").read_text() + "\n"


def test_a_folder_of_any_name(tmp_path):
    folder = tmp_path / os.fsdecode("Prüfung 試験 a'b\"c<d>&e ".encode() + b"\xff")
    done = subprocess.run(command(folder), cwd=ROOT, env=ENVIRONMENT, check=False)
    assert done.returncode == 0
    run, measurements = read_run(folder)
    assert len(measurements) == run.planned
    assert (folder / "report.html").is_file()


def test_a_hundred_thousand_cases_take_bounded_memory(tmp_path):
    records = (
        measured(f"precision.q{i % 700}.forces", f"s{i}", line=i % 900) for i in range(100_000)
    )
    folder = write(tmp_path / "run", list(records), planned=100_000)
    code = (
        "from pathlib import Path; from mace_conformance.__main__ import main; "
        f"main(['report', {str(folder)!r}]); print(Path('/proc/self/status').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)  # unlike maxrss, not the parent's
    assert int(peak[1]) / 1024 < 800
