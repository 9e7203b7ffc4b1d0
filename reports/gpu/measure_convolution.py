"""Measures the convolution summed node by node: `python measure_convolution.py OUT [SECONDS]`.

First its two kernels alone, in several shapes, beside cuEquivariance's; then whole steps by turns.
Everything is in OUT at once: kernels.jsonl, latency.jsonl (a survey's journal), profile.jsonl.
"""

from __future__ import annotations

import datetime
import itertools
import json
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from mace_conformance import __version__
from mace_conformance.bench import convolution
from mace_conformance.bench.journal import Header, Journal
from mace_conformance.bench.prototypes import RADIAL16, radial16
from mace_conformance.bench.survey import Group, Scope, Survey
from mace_conformance.bench.ways import Way
from mace_conformance.instruments.timing import Rounds
from mace_conformance.subjects import structures
from mace_conformance.subjects.executions import executed
from mace_conformance.subjects.mace_target import MaceTarget

OUT = Path(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 200.0  # noqa: PLR2004
START = time.monotonic()
NODEWISE = "+nodewise"
SYSTEMS = ("water512", "diamond1000", "water64")
SHAPES = ((32, 1), (128, 4), (64, 2), (64, 1))
WAYS = [
    Way("fp64", "e3nn"),
    Way("fp32", "cueq", "cuda_graph"),
    Way("fp32" + NODEWISE, "cueq", "cuda_graph"),
    Way("tf32" + RADIAL16, "cueq", "cuda_graph"),
    Way("tf32" + RADIAL16 + NODEWISE, "cueq", "cuda_graph"),
    Way("tf32" + RADIAL16 + NODEWISE, "cueq", "fused"),
    Way("tf32+fp16-edges", "cueq", "fused"),
    Way("tf32+fp16-edges" + NODEWISE, "cueq", "fused"),
]


def say(name: str, **facts: Any) -> None:
    """One line, on disk at once."""
    with (OUT / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(facts, default=str) + "\n")
    sys.stdout.write(f"{time.monotonic() - START:6.1f} {str(facts)[:500]}\n")
    sys.stdout.flush()


class Trial(Survey):
    """A survey whose prototypes may sum their messages node by node."""

    def potential(self, way: Way) -> Any:
        """The model computed one way, in a module of its own where it is a prototype."""
        plain = way.policy.removesuffix(NODEWISE)
        if plain == way.policy and way.execution != "fused":
            return super().potential(way)
        if way not in self._prototypes:
            policy = plain.removesuffix(RADIAL16)
            made = MaceTarget().potential("off24m", "Default", policy, "cueq", self.scope.device)
            if plain.endswith(RADIAL16):
                radial16(made)
            if plain != way.policy:
                convolution.install(made.module)
            made.module.requires_grad_(requires_grad=False)
            if way.execution == "fused":
                from mace_conformance.subjects.fused import FusedPotential

                self._prototypes[way] = FusedPotential.of(made)
            else:
                self._prototypes[way] = executed(made, way.execution)
        return self._prototypes[way]

    def by_turns(self, group: Group) -> None:
        """Time a group; what it raises is kept in the journal."""
        self._kept("group", group.system, lambda: self._group(group))


def timed(run: Any, count: int = 20) -> float:
    """Median microseconds of a call on the device."""
    for _ in range(3):
        run()
    found = []
    for _ in range(count):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        torch.cuda.synchronize()
        found.append(1e3 * first.elapsed_time(last))
    return sorted(found)[count // 2]


def kernels() -> None:
    """Both layers' convolutions alone; the shapes that are quickest together are used after."""
    plain = MaceTarget().potential("off24m", "Default", "fp32", "cueq", "cuda")
    sums: Counter[tuple[str, tuple[int, int]]] = Counter()
    for system, narrow in (("water512", torch.bfloat16), ("water64", torch.bfloat16)):
        batch = plain.graphs.batch([structures.load(system)])
        edge_index, nodes = batch["edge_index"], len(batch["positions"])
        order, starts = convolution.Incoming()(edge_index, nodes)
        say("kernels", system=system, what="sort", us=sorting_us(edge_index, nodes))
        for layer, interaction in enumerate(plain.module.interactions):
            layer_kernels(interaction, (system, layer, narrow), edge_index, nodes,
                          (order, starts), sums)  # fmt: skip
    for kind in ("forward", "backward"):
        mine = {shape: us for (k, shape), us in sums.items() if k == kind}
        if mine:
            convolution.SHAPES[kind] = min(mine, key=lambda shape: mine[shape])
    say("kernels", chosen=convolution.SHAPES)


def sorting_us(edge_index: torch.Tensor, nodes: int) -> float:
    """Microseconds of bringing the edges in order."""
    return timed(lambda: convolution.Incoming()(edge_index, nodes))


def layer_kernels(
    interaction: Any, name: tuple[str, int, torch.dtype], edge_index: torch.Tensor, nodes: int,
    edges: tuple[torch.Tensor, torch.Tensor], sums: Counter[tuple[str, tuple[int, int]]],
) -> None:  # fmt: skip
    """One layer's convolution: cuEquivariance's, ours in each shape, and how far they are apart."""
    system, layer, narrow = name
    fused = interaction.conv_tp.m
    terms = convolution.Terms.of(fused)
    which = convolution.numbered(terms)
    count, u = edge_index.shape[1], terms.channels
    draw = torch.Generator("cuda").manual_seed(0)
    w = torch.randn(count, terms.weights * u, device="cuda", generator=draw).to(narrow)
    x = torch.randn(nodes, terms.features * u, device="cuda", generator=draw)
    y = torch.randn(count, terms.harmonics, device="cuda", generator=draw)
    g = torch.randn(nodes, terms.outputs * u, device="cuda", generator=draw)
    fused.dtypes = [*range(fused.num_inputs), *[-1] * fused.num_outputs]
    inputs = [each.requires_grad_() for each in (w, x, y)]
    theirs = interaction.conv_tp(x, y, w, edge_index)
    grads = torch.autograd.grad(theirs, inputs, g, retain_graph=True)
    facts = {"system": system, "layer": layer}
    with torch.no_grad():
        us = timed(lambda: interaction.conv_tp(x, y, w, edge_index))
    say("kernels", **facts, what="cueq forward", us=us)
    us = timed(lambda: torch.autograd.grad(theirs, inputs, g, retain_graph=True))
    say("kernels", **facts, what="cueq backward", us=us)
    with torch.no_grad():
        for kind, (block, warps) in itertools.product(("forward", "backward"), SHAPES):
            convolution.SHAPES[kind] = (block, warps)
            try:
                found = measured(kind, (g, w, x, y, edge_index[0], *edges), which, theirs, grads)
            except Exception as failure:  # noqa: BLE001 - the other shapes must be tried
                say("kernels", **facts, what=kind, shape=(block, warps), failed=repr(failure)[:800])
                continue
            sums[kind, (block, warps)] += found["us"] if system == "water512" else 0.0
            say("kernels", **facts, what=kind, shape=(block, warps), **found)


def measured(kind: str, given: Any, which: int, theirs: Any, grads: Any) -> dict[str, Any]:
    """Time of one of the two kernels, and its relative distance from cuEquivariance's."""

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one.double() - other.double()).norm() / other.double().norm())

    if kind == "forward":
        run = lambda: convolution.convolve(*given[1:], which)  # noqa: E731
        return {"apart": apart(run(), theirs), "us": timed(run)}
    run = lambda: convolution.convolve_backward(*given, which, True)  # noqa: E731, FBT003
    return {"apart": [apart(a, b) for a, b in zip(run(), grads, strict=True)], "us": timed(run)}


def profiled(survey: Trial, system: str, way: Way) -> None:
    """Device work of a step by kernel: (name, microseconds, calls), the longest first."""
    from torch.profiler import ProfilerActivity, profile

    rounds = 3
    step = survey.step(way, structures.load(system))
    with step.ready():
        for _ in range(5):
            step.run()
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(rounds):
                step.run()
            torch.cuda.synchronize()
    times: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            times[event.name] += event.device_time
            calls[event.name] += 1
    rows = [(n[:120], round(us / rounds, 2), calls[n] / rounds) for n, us in times.most_common(60)]
    busy, launches = sum(times.values()) / rounds, sum(calls.values()) / rounds
    say("profile", system=system, way=str(way), busy_us=busy, launches=launches, kernels=rows)


def guarded(what: str, work: Any) -> None:
    """Run a part; what it raises is a line."""
    try:
        work()
    except Exception as failure:  # noqa: BLE001 - the other parts must run
        say("failed", what=what, error=repr(failure)[:1500], where=traceback.format_exc()[-2500:])
    torch.cuda.empty_cache()


def main() -> None:
    """All parts in the order of value."""
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    groups = [Group(system, Rounds(15, 40), WAYS) for system in SYSTEMS]
    scope = Scope("off24m", "cuda", groups, [], [], [], Rounds(5, 12), [], [])
    target = MaceTarget()
    identity = {name: text for name, text in target.describe().items() if name != "path"}
    card = {"name": torch.cuda.get_device_name(), "torch": str(torch.__version__)}
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    header = Header(target=identity, hardware=card, model="off24m", suite_version=__version__,
                    started=started)  # fmt: skip
    survey = Trial(scope, Journal(OUT, header), target, SECONDS)
    guarded("kernels", kernels)
    for group in groups:
        survey.by_turns(group)
        if time.monotonic() - START > SECONDS:
            return
    for system, way in itertools.product(("water512", "water64"), WAYS[1:]):
        guarded(f"profile {system} {way}", lambda s=system, w=way: profiled(survey, s, w))  # type: ignore[misc]


if __name__ == "__main__":
    main()
