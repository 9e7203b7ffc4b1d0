"""Made-up runs on disk, for the tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mace_conformance.findings.recorder import Recorder
from mace_conformance.findings.records import Case, Measurement, Run, count_verdicts

RUN = Run(
    id="r-0007",
    started="2026-11-20T10:00:00+00:00",
    target={"name": "mace", "version": "0.3.16", "commit": "1234567890abcdef", "dirty": "yes"},
    suite_version="0.1.0",
    tolerances="tolerances.toml",
    tolerances_sha256="ab" * 32,
    plan="gate",
    seed=1,
    command="pytest suites/ --benchmark-only",
    hardware={"class": "cpu", "name": "A CPU", "torch": "2.13.0"},
    switches={"default_dtype": "float32"},
    planned=3,
    not_run={"plan": 12, "capability": 2},
    coverage={"law x model.feature": "9/10"},
)


def measured(quantity: str = "precision.forces", structure: str = "water", **fields) -> Measurement:
    """A measurement that passes at a quarter of its limit, unless fields say otherwise."""
    case = Case(
        quantity=quantity, structure=structure, model="off", policy="fp32", backend="cueq",
        hardware="cpu", seed=1,
    )  # fmt: skip
    given = {"value": 1.0e-6, "limit": 4.0e-6, "ratio": 0.25, "line": 112, "unit": "1"} | fields
    return Measurement(case=case, id=case.id, law="suites/x.py::t", **{"verdict": "pass"} | given)


PASSING = measured()
FAILING = measured(
    structure="slab",
    verdict="fail",
    value=4.1e-4,
    limit=3.0e-5,
    ratio=13.67,
    provisional=True,
    message="precision.forces = 4.1e-04, limit 3.0e-05 (13.7 x over)\n  case   slab-off-fp32-cueq",
)
KNOWN = measured(
    "precision.stress", verdict="known", value=0.5, ratio=5e3, known_issue="slab-stress"
)


def write(folder: Path, measurements, *, finished: bool = True, **fields) -> Path:
    """A run's folder with its records; unfinished as a kill leaves it."""
    run = msgspec.structs.replace(RUN, **fields)
    recorder = Recorder(folder, run)
    for measurement in measurements:
        recorder.add(measurement)
    ended = {
        "finished": "2026-11-20T10:02:00+00:00",
        "seconds": 120.0,
        "peak_mib": 900.0,
        "exit_code": 1,
        "counts": count_verdicts(measurements),
    }
    recorder.close(msgspec.structs.replace(run, **ended))
    if not finished:
        (folder / "run.json").unlink()
    return folder
