"""Runs the user's very command in a process of its own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mace_conformance.findings.files import SUMMARY
from mace_conformance.findings.records import Measurement, Run, read_run

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    text: str
    folder: Path

    @property
    def run(self) -> Run:
        return read_run(self.folder)[0]

    @property
    def measurements(self) -> list[Measurement]:
        return read_run(self.folder)[1]


def conformance(folder: Path, *words: str, suites: str = "suites/") -> Done:
    """`pytest suites/ --benchmark-only` with further words, its records under `folder`."""
    command = [sys.executable, "-m", "pytest", suites, "--benchmark-only"]
    report = [] if "--mace-report" in words else ["--mace-report", str(folder)]
    return shell(folder, *command, *words, *report)


def shell(folder: Path, *command: str) -> Done:
    """Any command, run at the root of the repository with one thread."""
    environment = {name: text for name, text in os.environ.items() if name != SUMMARY} | {
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "PYTHONPATH": str(ROOT / "fixtures"),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    return Done(done.returncode, done.stdout + done.stderr, folder)
