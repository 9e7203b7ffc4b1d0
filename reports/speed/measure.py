"""Measure what the README says of speed and memory: collection, smoke and gate, each in a process.

    python reports/speed/measure.py [--into DIR] [--repeat N] [collection smoke gate ...]

One torch thread, on the CPU, in a copy of the checkout that this file lies in, so that the first
collection is the one after `git clone`: Python has compiled what is installed, but nothing of the
copy. Each line of the table is printed as soon as it is known, and kept in `DIR/speed.json`; what
else kept the machine busy shows as its load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("suites", "fixtures", "conftest.py", "pyproject.toml", "tolerances.toml",
          "known_issues.toml")  # fmt: skip
RUNS = {
    "first collection": ["--collect-only", "-q"],
    "collection": ["--collect-only", "-q"],
    "smoke": ["--benchmark-only", "--mace-plan", "smoke", "--mace-device", "cpu"],
    "gate": ["--benchmark-only", "--mace-plan", "gate", "--mace-device", "cpu"],
}
HEADER = "| run | wall s | processor s | peak MB | load | exit | says |\n" + 7 * "|---" + "|"


def fresh(folder: Path) -> Path:
    """A copy of what a run needs of the checkout, without anything compiled."""
    clone = folder / "clone"
    clone.mkdir()
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, clone / name)
    return clone


def measured(name: str, clone: Path, folder: Path) -> dict[str, Any]:
    """One run: seconds by the clock and of processor time, peak memory, the machine's load."""
    command = [sys.executable, "-m", "pytest", "suites/", *RUNS[name], "-p", "no:cacheprovider"]
    if "--benchmark-only" in command:
        command += ["--mace-report", str(folder / f"{name}-{time.time_ns()}")]
    load, started, output = os.getloadavg()[0], time.monotonic(), folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command, cwd=clone, env=environment(clone), stdout=file, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    return {
        "run": name,
        "wall": round(time.monotonic() - started, 1),
        "processor": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1000),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "exit": os.waitstatus_to_exitcode(status),
        "says": said(output.read_text(encoding="utf-8")),
    }


def environment(clone: Path) -> dict[str, str]:
    """One thread, the copy's own package before any other, and byte code kept as usual."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(clone / "fixtures"), os.environ.get("PYTHONPATH", "")]
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def said(text: str) -> str:
    """The line that counts cases: of the conformance summary, else pytest's last."""
    lines = [line for line in text.splitlines() if line.strip()]
    judged = [line for line in lines if line.startswith("judged")]
    return (judged or lines or ["nothing"])[-1].strip("= ")


def machine() -> dict[str, str]:
    """What the figures belong to."""
    from importlib.metadata import version

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": (*names, platform.machine())[0],
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "mace-torch", "e3nn", "pytest")},
    }


def row(found: dict[str, Any]) -> str:
    """A line of the table."""
    load = ", ".join(map(str, found["load"]))
    fields = (found["run"], found["wall"], found["processor"], found["peak_mb"], load)
    return "| " + " | ".join(map(str, (*fields, found["exit"], found["says"]))) + " |"


def main() -> None:
    """Measure what the command line names; each run starts when the one before has ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="*", default=list(RUNS))
    parser.add_argument("--into", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, clone = asked.into or Path(scratch), fresh(Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        kept: dict[str, Any] = {"machine": machine(), "runs": []}
        say(json.dumps(kept["machine"]), HEADER)
        for name in asked.runs * asked.repeat:
            kept["runs"].append(measured(name, clone, folder))
            say(row(kept["runs"][-1]))
            (folder / "speed.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def say(*lines: str) -> None:
    """Write lines at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
