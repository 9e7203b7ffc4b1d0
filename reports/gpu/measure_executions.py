"""Measures on one GPU how exports, compiled steps, compiled calculators and OpenEquivariance agree.

`python measure_executions.py OUT DEVICE STEP[:WORD...] ...`; see backends_common.py.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from backends_common import SMALL, attempt, differences, run, structure, subject

POLICIES = ("fp64", "fp32")


def exports() -> None:
    """TorchScript and the LAMMPS exports against the eager step."""
    rows = [("torchscript", "e3nn"), ("lammps", "e3nn"), ("mliap", "e3nn"), ("mliap", "cueq")]
    for name, backend in rows:
        for policy in POLICIES:
            attempt("exports", {"execution": name, "backend": backend, "policy": policy},
                    lambda b=backend, p=policy, n=name: against_eager(b, p, n))  # fmt: skip


def against_eager(backend: str, policy: str, execution: str) -> dict[str, Any]:
    model = "density-heads2"
    one = subject(model, policy, backend, execution=execution)
    return differences(one, subject(model, policy, backend), structure("water8"))


def compiled(
    backend: str, policy: str, execution: str = "compiled", model: str = "residual"
) -> None:
    """A compiled step: time, breaks and graphs over three sizes, and what differs from eager."""
    from mace_conformance.instruments.replays import sizes

    one, eager = (subject(model, policy, backend, execution=name) for name in (execution, "eager"))
    words = {"execution": execution, "model": model, "backend": backend, "policy": policy}
    for where in [*sizes(structure("water8")), structure("water8"), structure("ethanol-boxed")]:
        attempt(
            "compiled",
            words | {"structure": where.name},
            lambda where=where: step(one, eager, where),
        )


def step(one: Any, eager: Any, where: Any) -> dict[str, Any]:
    """Relative errors, and energies as they are: in eV, with their largest share of an atom."""
    started = time.monotonic()
    a, b = one.fresh(where), eager.fresh(where)
    nodes = np.abs(a["node_energy"].values - b["node_energy"].values)
    return {
        "seconds": round(time.monotonic() - started, 1),
        **differences(one, eager, where),
        **one.potential.counts(),
        "energies": [repr(float(each["energy"].values)) for each in (a, b)],
        "interaction": [
            repr(float(each["interaction_energy"].values))
            for each in (a, b)
            if "interaction_energy" in each
        ],
        "node_energy": float(nodes.max()),
        "sums": [repr(float(each["node_energy"].values.sum())) for each in (a, b)],
    }


def imported() -> dict[str, Any]:
    """Which extension of OpenEquivariance was built, in how many seconds, or why not."""
    started = time.monotonic()
    import openequivariance as oeq  # type: ignore[import-not-found]

    return {
        "version": oeq.__version__,
        "seconds": round(time.monotonic() - started, 1),
        "built": oeq.BUILT_EXTENSION,
        "precompiled": oeq.USE_PRECOMPILED_EXTENSION,
        "why": str(oeq.BUILT_EXTENSION_ERROR)[-1500:],
    }


def openequivariance(model: str) -> None:
    """OpenEquivariance, compiled where it runs, and the hybrid: parity with e3nn."""
    attempt("oeq", {"what": "import"}, imported)
    for policy in POLICIES:
        for backend in ("oeq", "hybrid"):
            attempt("oeq_parity", {"model": model, "policy": policy, "backend": backend},
                    lambda p=policy, b=backend: between(model, p, b))  # fmt: skip


def between(model: str, policy: str, backend: str) -> dict[str, Any]:
    pair = [subject(model, policy, each) for each in (backend, "e3nn")]
    return differences(*pair, structure("water8" if SMALL else "water64"))


run({exports: 120, compiled: 500, openequivariance: 300})
