"""Measures mixed policies on one GPU: `python measure_mixed.py OUT [SECONDS] [SYSTEM...]`.

Every system has a process of its own. They share the GPU by turns: tracing, capturing and timing
hold a lock, compiling does not. Each variant writes a line to OUT/mixed-SYSTEM.jsonl at once.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixed_common import DEVICE, Sorted, counted, limited, timed

OUT = Path(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 290.0  # noqa: PLR2004
SYSTEMS = sys.argv[3:] or ["diamond1000", "water512", "water64"]
MODEL = os.environ.get("MIXED_MODEL", "off24m")
LIMIT, WARM, TIMED = 110, 10, 40
START = time.monotonic()

#: name, policy, format to which the radial networks are narrowed besides, and how it is run:
#: as a graph with or without gradients of weights, traced only, or with inductor's options
VARIANTS: list[tuple[str, str, str | None, Any]] = [
    ("fp32 graph", "fp32", None, "graph"),
    ("fp32 graph frozen", "fp32", None, "frozen"),
    ("tf32+fp16-edges graph frozen", "tf32+fp16-edges", None, "frozen"),
    ("tf32+fp16-edges fused", "tf32+fp16-edges", None, {}),
    ("tf32+fp16-edges fused sorted", "tf32+fp16-edges", None, {}),
    ("fp32 fused", "fp32", None, {}),
    ("fp16-linear+fp16-edges fused", "fp16-linear", "float16", {}),
    ("tf32 fused", "tf32", None, {}),
    ("fp32 graph frozen sorted", "fp32", None, "frozen"),
    ("bf16-linear fused", "bf16-linear", None, {}),
    ("bf16-linear+radial fused", "bf16-linear+radial", None, {}),
    ("bf16-linear+bf16-edges fused", "bf16-linear", "bfloat16", {}),
    ("tf32+fp16-edges traced", "tf32+fp16-edges", None, "traced"),
    ("tf32+fp16-edges tuned", "tf32+fp16-edges", None, {"max_autotune": True}),
]


def main() -> None:
    """Start one process for each system and wait; print what they found."""
    OUT.mkdir(parents=True, exist_ok=True)
    children = []
    for number, system in enumerate(SYSTEMS):
        log = (OUT / f"mixed-{system}.log").open("w")
        environment = os.environ | {"MIXED_SYSTEM": system, "TORCHINDUCTOR_COMPILE_THREADS": "8"}
        environment |= {"TORCHINDUCTOR_CACHE_DIR": f"/tmp/inductor-mixed-{number}"}  # noqa: S108
        words = [sys.executable, "-W", "ignore", __file__, str(OUT), str(SECONDS - 5 * number)]
        children.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
    for child in children:
        try:
            child.wait(max(1.0, SECONDS + 15 - (time.monotonic() - START)))
        except subprocess.TimeoutExpired:
            child.kill()
    for system in SYSTEMS:
        path = OUT / f"mixed-{system}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            row = json.loads(line)
            sys.stdout.write(f"{ {n: v for n, v in row.items() if n != 'kernels'} }\n")


@contextmanager
def turn() -> Any:
    """The GPU to oneself."""
    with (OUT / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
        finally:
            import torch

            if DEVICE == "cuda":
                torch.cuda.synchronize()
            fcntl.flock(file, fcntl.LOCK_UN)


class Bench:
    """One system: its modules, the reference's forces, and a line for each variant."""

    def __init__(self, system: str) -> None:
        from mace_conformance.subjects import structures
        from mace_conformance.subjects.mace_target import MaceTarget

        self.system, self.structure = system, structures.load(system)
        self.target, self.baseline = MaceTarget(), {}
        self.path = OUT / f"mixed-{system}.jsonl"

    def say(self, **facts: Any) -> None:
        """One line, on disk at once."""
        line = {"system": self.system, "s": round(time.monotonic() - START, 1)} | facts
        with self.path.open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")
        sys.stdout.write(f"{str(line)[:600]}\n")
        sys.stdout.flush()

    def reference(self) -> None:
        """Forces and time of e3nn in fp64, eager, and the time of cueq in fp64 as a graph."""
        with turn():
            step = self.target.potential(MODEL, "Default", "fp64", "e3nn", DEVICE).prepared(
                self.structure
            )
            self.move(step)
            with step.ready():
                ms = timed(step.run, 3, 12)
            self.forces = step.forces()
        self.baseline["e3nn"] = ms
        self.say(variant="fp64 e3nn eager", ms=ms, edges=step.edges)

    def move(self, step: Any) -> None:
        """Other positions than those that the step was prepared for."""
        import numpy as np

        noise = np.random.default_rng(7).standard_normal(self.structure.positions.shape)
        step.place(self.structure.positions + 0.01 * noise)

    def source(self, policy: str) -> Any:
        """The converted model under a policy, in a module of its own."""
        from mace_conformance.subjects.building import copied
        from mace_conformance.subjects.policies import policy as named
        from mace_conformance.subjects.reduced import install

        plain = self.target.potential(MODEL, "Default", "fp32", "cueq", DEVICE)
        fresh = plain.around(install(copied(plain.module), named(policy)))
        fresh.policy = named(policy)
        return fresh

    def variant(self, name: str, policy: str, narrow: str | None, way: Any) -> None:
        """Prepare, capture and time one variant."""
        import torch

        from mace_conformance.subjects.executions import executed
        from mace_conformance.subjects.fused import FusedPotential, inductor, traced_only
        from mace_conformance.subjects.narrow_radials import narrow_radials

        began = time.monotonic()
        with turn():
            potential = self.source(policy)
        if name.endswith("sorted"):
            potential.graphs = Sorted(potential.graphs)
        if narrow:
            narrow_radials(potential.module, getattr(torch, narrow))
        if way in ("graph", "frozen"):
            potential.module.requires_grad_(way == "graph")
            potential = executed(potential, "cuda_graph" if DEVICE == "cuda" else "eager")
        elif way == "traced":
            potential = FusedPotential.of(potential, traced_only)
        else:
            potential = FusedPotential.of(
                potential, lambda graph, given: self.aside(inductor, graph, given, way)
            )
        with turn() as self.lock:
            step = potential.prepared(self.structure)
            self.move(step)
            with step.ready():
                ms = timed(step.run, WARM, TIMED)
                try:
                    kernels = counted(step.run)
                except RuntimeError as failure:
                    kernels = [(f"not counted: {failure}"[:200], 0.0, 0.0)]
        self.tell(name, step, ms, kernels, time.monotonic() - began)

    def aside(self, compiler: Any, graph: Any, given: Any, options: Any) -> Any:
        """Compile while the others may use the GPU."""
        self.nodes = len(graph.graph.nodes)
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        try:
            return compiler(graph, given, **options)
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def tell(self, name: str, step: Any, ms: float, kernels: Any, seconds: float) -> None:
        """The variant's line."""
        import numpy as np

        error = np.linalg.norm(step.forces() - self.forces) / np.linalg.norm(self.forces)
        if name == "fp32 graph":
            self.baseline["fp32"] = ms
        over = {f"x {key}": round(value / ms, 3) for key, value in self.baseline.items()}
        self.say(
            variant=name,
            ms=ms,
            error=float(error),
            launches=sum(calls for _, _, calls in kernels),
            busy_us=sum(us for _, us, _ in kernels),
            nodes=getattr(self, "nodes", None),
            seconds=round(seconds, 1),
            **over,
            kernels=[(n[:140], round(us, 2), calls) for n, us, calls in kernels],
        )


def child(system: str) -> None:
    """Every variant on one system, each within its own time."""
    warnings.simplefilter("ignore")
    import torch

    bench = Bench(system)
    bench.reference()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    for variant in VARIANTS:
        left = SECONDS - (time.monotonic() - START)
        if left < 10:  # noqa: PLR2004
            bench.say(variant=variant[0], skipped="no time left")
            continue
        try:
            with limited(min(LIMIT, left)):
                bench.variant(*variant)
        except BaseException as failure:  # noqa: BLE001 - the rest must run
            text = f"{type(failure).__name__}: {failure}"
            bench.say(variant=variant[0], failed=text[:1500], where=traceback.format_exc()[-2500:])
        gc.collect()
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    if "MIXED_SYSTEM" in os.environ:
        child(os.environ["MIXED_SYSTEM"])
    else:
        main()
