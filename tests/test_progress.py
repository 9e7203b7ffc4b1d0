"""What is shown while a run goes on."""

import subprocess
import sys
from types import SimpleNamespace

from runs import FAILING, KNOWN, PASSING, measured
from user import ROOT, conformance

from mace_conformance.progress import Progress, progress_line

TOY = ("--mace-target", "toy", "--mace-plan", "smoke", "--mace-quantity", "equivariance.turns.*")


def test_the_line_says_counts_the_worst_and_the_time_left():
    assert progress_line([PASSING, FAILING, KNOWN] * 4, 48, 30.0) == (
        "12 of 48: 4 fail, 4 known, 4 pass; worst 14 x limit in precision.forces; 2 min left"
    )


def test_a_known_issue_is_not_the_worst():
    assert "worst 0.25 x limit" in progress_line([PASSING, KNOWN], 4, 1.0)


def test_the_line_says_what_it_knows_before_anything_is_judged():
    assert progress_line([], 4, 1.0) == "0 of 4: nothing"
    error = measured(verdict="error", value=None, limit=None, ratio=None)
    assert progress_line([error], 30, 5.0) == "1 of 30: 1 error"


class Reporter:
    isatty = False

    def __init__(self):
        self.lines = []

    def write_line(self, text):
        self.lines.append(text)


def test_a_log_has_a_line_for_each_tenth():
    session, reporter = SimpleNamespace(measurements=[]), Reporter()
    progress = Progress(session, 100, reporter)
    for _ in range(100):
        session.measurements.append(PASSING)
        progress.pytest_runtest_logfinish()
    progress.pytest_sessionfinish()
    assert [line.split(":")[0] for line in reporter.lines] == [
        f"{done} of 100" for done in range(10, 101, 10)
    ]


def test_a_log_has_plain_lines_and_no_dots(tmp_path):
    done = conformance(tmp_path / "run", *TOY)
    assert done.code == 0, done.text
    lines = done.text.splitlines()
    assert any(line.startswith(f"{done.run.counts['pass']} of ") for line in lines)
    assert "\x1b" not in done.text
    assert "[100%]" not in done.text


def test_a_terminal_has_one_live_line(tmp_path):
    words = [sys.executable, "-m", "pytest", "suites/equivariance", "--benchmark-only", *TOY]
    words += ["--mace-report", str(tmp_path / "run")]
    done = subprocess.run(
        ["script", "-qec", " ".join(words).replace("*", "\\*"), "/dev/null"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "\x1b[2K" in done.stdout
    assert "x limit in equivariance.turns" in done.stdout
    assert "verdict PASS" in done.stdout
