"""Asks where a traced step differs from its module: `python trace_fused.py OUT [SECONDS]`.

One process for each way of tracing and each precision. Every question writes a line to
OUT/trace-WAY-POLICY.jsonl at once, its failure too, and is asked on its own.
"""

# ruff: noqa: FBT001, FBT002, FBT003, SLF001
from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

OUT = Path(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 190.0  # noqa: PLR2004
DEVICE = os.environ.get("MIXED_DEVICE", "cuda")
MODEL = os.environ.get("MIXED_MODEL", "off24m")
SYSTEM = os.environ.get("MIXED_SYSTEM", "water64")
BACKEND = os.environ.get("MIXED_BACKEND", "cueq")
START = time.monotonic()

#: as it is; TorchScript without its fuser; the backward on the thread that traces; both; nothing
#: run before tracing; the scripted harmonics of e3nn run as Python; their cached plans dropped
WAYS = ["plain", "no-fuser", "one-thread", "both", "cold", "unscripted", "flushed"]
POLICIES = ["fp64", "fp32"]
BLOCKS = (
    "node_embedding",
    "radial_embedding",
    "spherical_harmonics",
    "conv_tp_weights",
    "conv_tp",
    "linear_up",
    "linear",
    "skip_tp",
    "symmetric_contractions",
    "readouts.0",
    "readouts.1",
)


def main() -> None:
    """One process for each way and policy."""
    children = []
    for way in WAYS:
        for policy in POLICIES:
            log = (OUT / f"trace-{way}-{policy}.log").open("w")
            environment = os.environ | {"TRACE_WAY": way, "TRACE_POLICY": policy}
            words = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:]]
            children.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
    for child in children:
        try:
            child.wait(max(1.0, SECONDS - (time.monotonic() - START)))
        except subprocess.TimeoutExpired:
            child.kill()


def error(found: Any, expected: Any) -> float:
    """Relative L2."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-300))


class Doubts:
    """One model under one policy, and what is asked of its traced step."""

    def __init__(self, way: str, policy: str) -> None:
        import torch

        from mace_conformance.subjects import structures
        from mace_conformance.subjects.building import copied
        from mace_conformance.subjects.mace_target import MaceTarget

        self.way, self.policy, self.torch = way, policy, torch
        self.path = OUT / f"trace-{way}-{policy}.jsonl"
        if way in ("no-fuser", "both"):
            torch._C._jit_set_texpr_fuser_enabled(False)
            torch._C._jit_override_can_fuse_on_gpu(False)
        self.structure = structures.load(SYSTEM)
        target = MaceTarget()
        if way == "unscripted":
            unscripted()
        if way != "cold":
            step = target.potential(MODEL, "Default", "fp64", "e3nn", DEVICE).prepared(
                self.structure
            )
            with step.ready():
                for _ in range(4):
                    step.run()
        plain = target.potential(MODEL, "Default", policy, BACKEND, DEVICE)
        self.potential = plain.around(copied(plain.module))
        torch.set_default_dtype(self.potential.graphs.dtype)
        self.batches = [self.at(seed) for seed in range(3)]
        self.wanted = dict.fromkeys(self.potential.derivatives, False) | {"compute_force": True}
        self.names = [n for n, v in self.batches[0].items() if isinstance(v, torch.Tensor)]

    def at(self, seed: int) -> Any:
        """The batch at positions of their own, with the edges of the undisturbed structure."""
        import numpy as np

        batch = self.potential.graphs.batch([self.structure])
        noise = np.random.default_rng(seed).standard_normal(self.structure.positions.shape)
        step = 0.01 * self.torch.as_tensor(noise, dtype=batch["positions"].dtype)
        return batch | {"positions": batch["positions"] + step.to(batch["positions"].device)}

    def say(self, **facts: Any) -> None:
        """One line, on disk at once."""
        line = {"way": self.way, "policy": self.policy, "s": round(time.monotonic() - START, 1)}
        with self.path.open("a") as file:
            file.write(json.dumps(line | facts, default=str) + "\n")

    def eager(self, number: int) -> Any:
        """The module's own step."""
        batch = {
            n: v.detach().clone() if hasattr(v, "detach") else v
            for n, v in self.batches[number].items()
        }
        return self.potential.module(batch, **self.wanted)

    def tracing(self) -> Any:
        """The circumstances in which a way traces."""
        stack = contextlib.ExitStack()
        if self.way == "flushed":
            harmonics = sys.modules["e3nn.o3._spherical_harmonics"]
            vars(harmonics)["_spherical_harmonics"]._debug_flush_compilation_cache()
        stack.enter_context(self.torch.jit.optimized_execution(should_optimize=False))
        if self.way in ("one-thread", "both"):
            stack.enter_context(self.torch.autograd.set_multithreading_enabled(False))
        return stack

    def traced(self, number: int, forward_only: bool = False) -> Any:
        """The step as a graph, nothing folded, and the names of what it returns."""
        from torch.fx.experimental.proxy_tensor import make_fx

        batch = self.batches[number]
        returned: list[str] = []
        wanted = dict.fromkeys(self.wanted, False) if forward_only else self.wanted

        def step(*tensors: Any) -> Any:
            given = zip(self.names, (t.detach() for t in tensors), strict=True)
            found = self.potential.module(batch | dict(given), **wanted)
            kept = {
                n: v for n, v in found.items() if isinstance(v, self.torch.Tensor) and v.numel() > 0
            }
            returned[:] = list(kept)
            return [v.detach() for v in kept.values()]

        with self.tracing():
            graph = make_fx(step)(*[batch[n] for n in self.names])
        return graph, returned

    def ran(self, graph: Any, returned: list[str], number: int) -> Any:
        """What a graph returns at other positions."""
        with self.torch.no_grad():
            values = graph(*[self.batches[number][n].clone() for n in self.names])
        return dict(zip(returned, values, strict=True))

    def whole(self) -> None:
        """Energies and forces of the traced step, at its own positions and elsewhere."""
        if self.way == "cold":
            self.graph, self.returned = self.traced(0)
        before = [self.eager(n % 2) for n in range(4)]
        if self.way != "cold":
            self.graph, self.returned = self.traced(0)
        again = self.eager(0)
        self.say(asked="repeatability", forces=error(again["forces"], before[0]["forces"]))
        for number in range(2):
            found = self.ran(self.graph, self.returned, number)
            names = [n for n in found if isinstance(before[number].get(n), self.torch.Tensor)]
            rows = {n: error(found[n], before[number][n]) for n in names}
            self.say(asked="traced against eager", positions=number, errors=rows)
        nodes = [n for n in self.graph.graph.nodes if n.op == "call_function"]
        empty = [n for n in nodes if "empty" in str(n.target)]
        self.say(asked="size", empty=len(empty), nodes=len(nodes), threads=threading.active_count())

    def constants(self) -> None:
        """What the graph holds that is no weight, and what of it follows positions."""
        owned = {
            t.untyped_storage().data_ptr(): name
            for name, t in [
                *self.potential.module.named_parameters(),
                *self.potential.module.named_buffers(),
            ]
        }
        other, _ = self.traced(1)
        pairs = [
            [(n, attribute(g, n.target)) for n in g.graph.nodes if n.op == "get_attr"]
            for g in (self.graph, other)
        ]
        rows = []
        for (node, first), (_, second) in zip(*pairs, strict=False):
            if not isinstance(first, self.torch.Tensor):
                continue
            name = owned.get(first.untyped_storage().data_ptr())
            same = first.shape == second.shape and bool(self.torch.equal(first, second))
            if name is None or not same:
                users = [str(user.target) for user in node.users]
                rows.append(
                    (str(node.target), name, list(first.shape), str(first.dtype), same, users)
                )
        self.say(
            asked="constants",
            counts=[len(p) for p in pairs],
            differing=[row for row in rows if not row[4]],
            foreign=[row for row in rows if row[4]],
        )

    def nodes(self) -> None:
        """The operations of an eager step beside those of the graph, both at new positions."""
        from torch.utils._python_dispatch import TorchDispatchMode

        torch, seen = self.torch, []

        class Recorded(TorchDispatchMode):
            def __torch_dispatch__(
                self, f: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                out = f(*args, **(kwargs or {}))
                seen.append((str(f), summary(torch, out), threading.get_ident()))
                return out

        with self.tracing(), Recorded():
            self.eager(1)
        played: list[Any] = []

        class Played(torch.fx.Interpreter):
            def run_node(self, n: Any) -> Any:
                out = super().run_node(n)
                if n.op == "call_function":
                    where = n.meta.get("stack_trace") or ""
                    inputs = [str(i) for i in n.all_input_nodes]
                    played.append(
                        (str(n.target), summary(torch, out), n.name, inputs, where[-300:])
                    )
                return out

        with torch.no_grad():
            Played(self.graph).run(*[self.batches[1][n].clone() for n in self.names])
        quiet = ("detach", "getitem", "alias", "lift_fresh", "_local_scalar", "clone")
        left = [s for s in seen if not any(q in s[0] for q in quiet)]
        right = [s for s in played if not any(q in s[0] for q in quiet)]
        counts: dict[str, int] = {}
        for sign, rows in ((1, left), (-1, right)):
            for row in rows:
                counts[row[0]] = counts.get(row[0], 0) + sign
        self.say(
            asked="operations",
            eager=len(left),
            graph=len(right),
            threads=len({s[2] for s in seen}),
            only_eager={n: c for n, c in counts.items() if c > 0},
            only_graph={n: -c for n, c in counts.items() if c < 0},
        )
        told = 0
        for number, (a, b) in enumerate(zip(left, right, strict=False)):
            if a[0] != b[0] or not close(a[1], b[1]):
                self.say(asked="differing operation", number=number, eager=a[:2], graph=b)
                told += 1
            if told == 6:  # noqa: PLR2004
                break

    def forward_only(self) -> None:
        """The forward traced alone; its derivative taken by autograd outside."""
        graph, returned = self.traced(0, forward_only=True)
        expected = self.eager(1)
        given = [self.batches[1][n].detach().clone() for n in self.names]
        place = self.names.index("positions")
        given[place].requires_grad_(True)
        found = dict(zip(returned, graph(*given), strict=True))
        rows = {"energy": error(found["energy"], expected["energy"])}
        with contextlib.suppress(RuntimeError):
            (slope,) = self.torch.autograd.grad(found["energy"].sum(), given[place])
            rows["forces"] = error(-slope, expected["forces"])
        self.say(asked="forward only", errors=rows)

    def blocks(self) -> None:
        """Every block with its first derivative traced by itself, run on other inputs."""
        calls: list[dict[str, Any]] = []
        modules = dict(self.potential.module.named_modules())
        wanted = {n: m for n, m in modules.items() if n.endswith(BLOCKS) and n.count(".") < 4}  # noqa: PLR2004
        for number in range(2):
            calls.append({})
            hooks = [
                module.register_forward_pre_hook(
                    lambda _, args, kwargs, n=name: calls[-1].update(
                        {n: copy_of(self.torch, (args, kwargs))}
                    ),
                    with_kwargs=True,
                )
                for name, module in wanted.items()
            ]
            self.eager(number)
            for hook in hooks:
                hook.remove()
        for name, module in wanted.items():
            if name not in calls[0]:
                continue
            try:
                self.block(name, module, [c[name] for c in calls])
            except Exception as failure:  # noqa: BLE001
                self.say(
                    asked="block", block=name, failed=f"{type(failure).__name__}: {failure}"[:600]
                )

    def block(self, name: str, module: Any, calls: list[Any]) -> None:
        """One block's output and derivatives, traced at the first call, run at the second."""
        from torch.fx.experimental.proxy_tensor import make_fx
        from torch.utils._pytree import tree_flatten, tree_unflatten

        torch = self.torch
        flats = [tree_flatten(call) for call in calls]
        places = [i for i, v in enumerate(flats[0][0]) if isinstance(v, torch.Tensor)]

        def step(*tensors: Any) -> Any:
            inputs = [t.detach() for t in tensors]
            asked = [t.requires_grad_(True) for t in inputs if t.is_floating_point()]
            flat = list(flats[0][0])
            for place, value in zip(places, inputs, strict=True):
                flat[place] = value
            args, kwargs = tree_unflatten(flat, flats[0][1])
            out = module(*args, **kwargs)
            outs = [o for o in tree_flatten(out)[0] if isinstance(o, torch.Tensor)]
            asking = [o for o in outs if o.requires_grad]
            seeds = [
                torch.cos(torch.arange(o.numel(), device=o.device).to(o.dtype)).view_as(o)
                for o in asking
            ]
            slopes = torch.autograd.grad(asking, asked, seeds, allow_unused=True) if asking else ()
            return [o.detach() for o in outs] + [s for s in slopes if s is not None]

        given = [[flat[0][p] for p in places] for flat in flats]
        with self.tracing():
            graph = make_fx(step)(*[t.clone() for t in given[0]])
        rows = []
        for tensors in given:
            expected = step(*[t.clone() for t in tensors])
            with torch.no_grad():
                found = graph(*[t.clone() for t in tensors])
            rows.append([error(f, e) for f, e in zip(found, expected, strict=True)])
        held = [
            (
                str(n.target),
                list(attribute(graph, n.target).shape),
                [str(u.target) for u in n.users],
            )
            for n in graph.graph.nodes
            if n.op == "get_attr"
        ]
        used = sorted({str(n.target) for n in graph.graph.nodes if "cueq" in str(n.target)})
        self.say(
            asked="block",
            block=name,
            kind=type(module).__name__,
            own=rows[0],
            other=rows[1],
            shapes=[list(t.shape) for t in given[0]],
            constants=held,
            cueq=used,
        )

    def scripts(self) -> None:
        """Which parts of the model are TorchScript."""
        found = [
            (n, type(m).__name__)
            for n, m in self.potential.module.named_modules()
            if isinstance(m, (self.torch.jit.ScriptModule, self.torch.jit.ScriptFunction))
        ]
        self.say(
            asked="scripts",
            found=found,
            torch=self.torch.__version__,
            texpr=self.torch._C._jit_texpr_fuser_enabled(),
            cuda=str(self.potential.graphs.device),
        )


def unscripted() -> None:
    """Put the Python of e3nn's scripted harmonics in its place."""
    import mace.modules  # noqa: F401
    import torch

    module = sys.modules["e3nn.o3._spherical_harmonics"]
    source = Path(str(module.__file__)).read_text()
    body = source[source.index("@torch.jit.script") :].replace("@torch.jit.script", "", 1)
    space: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor, "math": __import__("math")}
    exec(body, space)  # noqa: S102
    vars(module)["_spherical_harmonics"] = space["_spherical_harmonics"]


def attribute(graph: Any, name: Any) -> Any:
    """A graph's attribute by its dotted name."""
    import operator

    return operator.attrgetter(str(name))(graph)


def copy_of(torch: Any, value: Any) -> Any:
    """Arguments with tensors of their own."""
    from torch.utils._pytree import tree_map

    return tree_map(
        lambda v: v.detach().clone() if isinstance(v, torch.Tensor) else copy.copy(v), value
    )


def summary(torch: Any, out: Any) -> list[float]:
    """A sum, and a sum with changing weights, of every floating-point tensor in a result."""
    rows = []
    for value in out if isinstance(out, (list, tuple)) else [out]:
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
            flat = value.detach().double().flatten()
            rows += [float(flat.norm()), float(flat.abs().sum())]
    return rows


def close(a: list[float], b: list[float]) -> bool:
    """Whether two summaries agree to what fp32 can."""
    return len(a) == len(b) and all(
        abs(x - y) <= 1e-4 * (abs(x) + abs(y)) + 1e-9 for x, y in zip(a, b, strict=True)
    )


def child(way: str, policy: str) -> None:
    """Every question of one way."""
    warnings.simplefilter("ignore")
    doubts = None
    try:
        doubts = Doubts(way, policy)
        for parameter in doubts.potential.module.parameters():
            parameter.requires_grad_(False)
    except Exception:  # noqa: BLE001
        sys.stdout.write(traceback.format_exc())
    if doubts is None:
        return
    for asked in ("scripts", "whole", "constants", "blocks", "forward_only", "nodes"):
        try:
            with doubts.potential.policy.switches(), doubts.torch.enable_grad():
                getattr(doubts, asked)()
        except Exception as failure:  # noqa: BLE001
            doubts.say(
                asked=asked,
                failed=f"{type(failure).__name__}: {failure}"[:800],
                where=traceback.format_exc()[-1500:],
            )


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    if "TRACE_WAY" in os.environ:
        child(os.environ["TRACE_WAY"], os.environ["TRACE_POLICY"])
    else:
        main()
