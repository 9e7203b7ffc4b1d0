"""What the scripts that measure the backends on one GPU have in common.

`python measure_*.py OUT DEVICE STEP[:WORD...] ...`: every step writes its lines to
OUT/measured.jsonl as it goes and has a time limit of its own, so a run that is cut off keeps what
it had. Words after a colon narrow a step, for example `heads:heads3-l2`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

OUT = Path(sys.argv[1])
DEVICE = sys.argv[2] if len(sys.argv) > 2 else "cuda"  # noqa: PLR2004
ROOT = Path(__file__).resolve().parents[2]
SMALL = DEVICE == "cpu"
REPEATS = 3 if SMALL else 20
START = time.monotonic()


def say(step: str, **facts: Any) -> None:
    """One line of the record, on disk at once."""
    line = json.dumps({"step": step, "s": round(time.monotonic() - START, 1)} | facts, default=str)
    with (OUT / "measured.jsonl").open("a") as file:
        file.write(line + "\n")
    sys.stdout.write(f"{line[:400]}\n")
    sys.stdout.flush()


def target() -> Any:
    """The one target, whose modules are kept."""
    from mace_conformance.subjects.mace_target import MaceTarget

    if not hasattr(target, "kept"):
        target.kept = MaceTarget()
    return target.kept


def subject(model: str, policy: str, backend: str, head: str = "", execution: str = "eager") -> Any:
    """A subject of the target on DEVICE."""
    from mace_conformance.subjects.targets import Subject

    head = head or target().models()[model].heads[0]
    words = (model, head, policy, backend, DEVICE, execution)
    return Subject(target().potential(*words), "-".join(words))


def structure(name: str) -> Any:
    from mace_conformance.subjects import structures

    return structures.load(name)


def differences(one: Any, other: Any, where: Any) -> dict[str, float]:
    """Relative rms of forces and stress, absolute error of energies per atom in eV."""
    from mace_conformance.instruments.metrics import rms

    a, b = one.fresh(where), other.fresh(where)
    found = {n: rms(a[n], b[n]).relative(1e-3) for n in ("forces", "stress", "virials") if n in a}
    found["energy_per_atom"] = rms(a["energy"], b["energy"]).absolute / len(where)
    return found


def digest(outputs: Any) -> str:
    return hashlib.sha256(outputs["forces"].values.tobytes()).hexdigest()[:16]


def bits(tensor: Any) -> str:
    return hashlib.sha256(tensor.detach().cpu().numpy().tobytes()).hexdigest()


def attempt(step: str, words: dict[str, Any], tried: Any) -> None:
    """Says what `tried` returns, or what it raised and where."""
    try:
        found = tried()
    except Exception as error:  # noqa: BLE001
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = {"error": repr(error)[:300], "at": f"{where.filename}:{where.lineno}"}
    say(step, **words, **found)


class Expired(BaseException):
    """A step's time is over; no step may take it for a failure of its own."""


def expired(*_: Any) -> None:
    raise Expired


def run(steps: dict[Any, int]) -> None:
    """The steps that the command names, each within its seconds."""
    OUT.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, expired)
    known = {step.__name__: (step, seconds) for step, seconds in steps.items()}
    for text in sys.argv[3:]:
        name, *words = text.split(":")
        step, seconds = known[name]
        signal.alarm(seconds)
        try:
            step(*words)
        except BaseException as error:  # noqa: BLE001
            say(name, words=words, stopped=repr(error)[:300])
        finally:
            signal.alarm(0)
