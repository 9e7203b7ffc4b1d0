"""The nightly script, run on the toy as it is run on mace."""

import os
import subprocess
import sys

from user import ROOT


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
