"""What measuring mixed policies takes: a time limit, sorted edges, two stopwatches."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from typing import Any

DEVICE = os.environ.get("MIXED_DEVICE", "cuda")


class Late(Exception):
    """A variant took longer than it may."""


@contextmanager
def limited(seconds: float) -> Any:
    """Raise Late in the block after so many seconds."""

    def late(*_: Any) -> None:
        raise Late(f"over {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(max(1, int(seconds)))
    try:
        yield
    finally:
        signal.alarm(0)


class Sorted:
    """A graph maker whose edges come in the order of their receivers."""

    def __init__(self, graphs: Any) -> None:
        self._graphs = graphs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graphs, name)

    def batch(self, structures: Any) -> Any:
        """The batch with its edges sorted."""
        import numpy as np

        from mace_conformance.subjects.mace_graph import reorder_edges

        batch = self._graphs.batch(structures)
        order = np.argsort(batch["edge_index"][1].cpu().numpy(), kind="stable")
        return reorder_edges(batch, order)


def timed(run: Any, warm: int, count: int) -> float:
    """The median time of a call in ms, synchronised on both sides."""
    import torch

    def wait() -> None:
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    for _ in range(warm):
        run()
    found = []
    for _ in range(count):
        wait()
        start = time.perf_counter()
        run()
        wait()
        found.append((time.perf_counter() - start) * 1e3)
    return float(sorted(found)[len(found) // 2])


def counted(run: Any) -> list[tuple[str, float, float]]:
    """Device work of a call by kernel: (name, microseconds, calls), the longest first."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    if DEVICE != "cuda":
        return []
    rounds = 3
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(rounds):
            run()
        torch.cuda.synchronize()
    times: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            times[event.name] += event.device_time
            calls[event.name] += 1
    rows = [(name, us / rounds, calls[name] / rounds) for name, us in times.items()]
    return sorted(rows, key=lambda row: -row[1])
