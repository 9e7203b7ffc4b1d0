"""Measures on one GPU what the backends suite promises of models and kernels.

`python measure_backends.py OUT DEVICE STEP[:WORD...] ...`; see backends_common.py.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.metadata
import io
import sys
from typing import Any

import numpy as np
from backends_common import (
    DEVICE,
    REPEATS,
    SMALL,
    attempt,
    bits,
    differences,
    digest,
    run,
    say,
    structure,
    subject,
    target,
)

BLOCKS = ("conv_tp", "linear_up", "linear", "skip_tp", "symmetric_contractions")
POLICIES = ("fp64", "fp32")


def facts() -> None:
    import torch

    names = ("torch", "mace-torch", "e3nn", "cuequivariance", "cuequivariance-torch",
             "cuequivariance-ops-torch-cu13", "openequivariance")  # fmt: skip
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    say("facts", gpu=gpu, python=sys.version.split()[0], **found)


def repeatability(model: str, backend: str, policy: str) -> None:
    """Calls in one process on one input: how many different forces, and how far apart."""
    one, where = subject(model, policy, backend), structure("water8" if SMALL else "water64")
    one.fresh(where)
    runs = [one.fresh(where) for _ in range(REPEATS)]
    forces = np.stack([run["forces"].values for run in runs])
    spread = float(np.abs(forces - forces[0]).max() / np.sqrt(np.mean(forces[0] ** 2)))
    energies = len({float(run["energy"].values) for run in runs})
    say("repeatability", model=model, policy=policy, backend=backend, calls=REPEATS,
        forces=len(set(map(digest, runs))), energies=energies, spread=spread)  # fmt: skip


def process(backend: str, policy: str) -> None:
    """The first calls of this process: their bits are compared with those of another."""
    one = subject("residual", policy, backend)
    runs = [one.fresh(structure("water8")) for _ in range(2)]
    say("process", backend=backend, policy=policy, digests=list(map(digest, runs)),
        energies=[repr(float(each["energy"].values)) for each in runs])  # fmt: skip


def kernels(backend: str, policy: str) -> None:
    """Each block alone on inputs kept from one call: which forward, which backward repeats."""
    one = subject("residual" if SMALL else "medium", policy, backend)
    for name, block, words, named in [*kept_inputs(one, structure("water8")), scatter(policy)]:
        words_of = {"policy": policy, "backend": backend, "block": name, "calls": REPEATS}
        attempt("kernels", words_of | {"kind": type(block).__name__},
                lambda b=block, w=words, n=named: block_repeats(b, w, n))  # fmt: skip


def scatter(policy: str) -> Any:
    """mace's own sum over edges, with inputs of the size of medium's messages."""
    import torch
    from mace.tools.scatter import scatter_sum

    dtype = {"fp64": torch.float64, "fp32": torch.float32}[policy]
    source = torch.randn(2000, 512, dtype=dtype, device=DEVICE)
    index = torch.randint(0, 24, (2000,), device=DEVICE)
    return "scatter_sum", scatter_sum, (), {"src": source, "index": index, "dim": 0, "dim_size": 24}


def kept_inputs(one: Any, where: Any) -> list[Any]:
    kept, handles = [], []
    for name, block in one.module.named_modules():
        if name.rpartition(".")[2] in BLOCKS and name.count(".") <= 2:  # noqa: PLR2004

            def hook(block: Any, words: Any, named: Any, name: str = name) -> None:
                kept.append((name, block, words, named))

            with contextlib.suppress(RuntimeError):
                handles.append(block.register_forward_pre_hook(hook, with_kwargs=True))
    one.fresh(where)
    for handle in handles:
        handle.remove()
    return kept


def block_repeats(block: Any, words: Any, named: Any) -> dict[str, int]:
    import torch

    def leaf(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        x = x.detach().clone()
        return x.requires_grad_() if x.is_floating_point() else x

    forward, backward = set(), set()
    for _ in range(REPEATS):
        args = [leaf(x) for x in words]
        extra = {name: leaf(x) for name, x in named.items()}
        leaves = [x for x in (*args, *extra.values()) if getattr(x, "requires_grad", False)]
        out = block(*args, **extra)
        grads = torch.autograd.grad(out, leaves, torch.ones_like(out), allow_unused=True)
        forward.add(bits(out))
        backward.add("".join(bits(g) for g in grads if g is not None))
    return {"forward": len(forward), "backward": len(backward)}


def heads(model: str) -> None:
    """A model with several heads (mace #1298, #1469): every head by cueq against e3nn."""
    from mace_conformance.instruments.localise import localise

    def compared(policy: str, head: str) -> dict[str, Any]:
        pair = [subject(model, policy, backend, head) for backend in ("cueq", "e3nn")]
        return differences(*pair, structure("water8")) | {
            "weights": pair[0].differing_weights(pair[1].potential)[:9],
            "localiser": localise(*pair, structure("water8")).text,
        }

    for policy in POLICIES:
        for head in target().models()[model].heads:
            attempt("heads", {"model": model, "policy": policy, "head": head},
                    lambda policy=policy, head=head: compared(policy, head))  # fmt: skip


def saving() -> None:
    """A fused converted model saved, loaded and copied on the device, and brought back to e3nn."""
    from mace_conformance.subjects import mace_conversion

    for model, policy in [(m, p) for m in ("residual", "density-heads2") for p in POLICIES]:
        one = subject(model, policy, "cueq")
        for way, again in WAYS_OF_SAVING.items():
            attempt("saving", {"model": model, "policy": policy, "way": way},
                    lambda one=one, again=again: saved(one, again(one.module)))  # fmt: skip

        def back(one: Any = one, model: str = model, policy: str = policy) -> dict[str, Any]:
            source = subject(model, policy, "e3nn").module
            again = mace_conversion.returned(one.module, "mace")
            return {"differing": mace_conversion.differing_state(again, source)}

        attempt("returned", {"model": model, "policy": policy}, back)


def saved(one: Any, again: Any) -> dict[str, Any]:
    """Largest difference of forces in eV/A, and what a model lost besides its weights."""
    lost = {
        name: sorted(vars(part).keys() ^ vars(again.get_submodule(name)).keys())
        for name, part in one.module.named_modules()
        if vars(part).keys() != vars(again.get_submodule(name)).keys()
    }
    there = [name for name, value in values(again) if value.device.type != DEVICE]
    say("saving_state", lost=lost, elsewhere=there[:9], count=len(there))
    a, b = (each.evaluate([structure("water8")])[0] for each in (one, one.around(again)))
    return {"forces": float(np.abs(a["forces"].values - b["forces"].values).max())}


def values(module: Any) -> list[Any]:
    """Parameters, buffers and other tensors that parts of a module keep as attributes."""
    import torch

    kept = [*module.named_parameters(), *module.named_buffers()]
    return kept + [
        (f"{name}.{word}", value)
        for name, part in module.named_modules()
        for word, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    ]


def loaded(module: Any, **words: Any) -> Any:
    import torch

    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False, **words)


def mended(module: Any) -> Any:
    """Loaded, sent to the device, and every fused convolution wrapped as mace wraps it."""
    from mace.modules import wrapper_ops

    again = loaded(module).to(DEVICE)
    for name, part in module.named_modules():
        if name.endswith("conv_tp") and "original_forward" in vars(part):
            wrapper_ops.with_cueq_conv_fusion(again.get_submodule(name))
    return again


WAYS_OF_SAVING: dict[str, Any] = {
    "loaded": loaded,
    "map_location": lambda module: loaded(module, map_location=DEVICE),
    "to_device": lambda module: loaded(module, map_location=DEVICE).to(DEVICE),
    "deepcopy": copy.deepcopy,
    "deepcopy_to_device": lambda module: copy.deepcopy(module).to(DEVICE),
    "wrapped_again": mended,
}


def full_size(model: str) -> None:
    """A model of full size on 192 atoms: cueq against e3nn under each policy."""
    from mace_conformance.instruments.localise import localise

    def compared(policy: str) -> dict[str, Any]:
        pair = [subject(model, policy, backend) for backend in ("cueq", "e3nn")]
        found = differences(*pair, structure("water8" if SMALL else "water64"))
        return found | {"localiser": localise(*pair, structure("water8")).text}

    for policy in POLICIES if SMALL else (*POLICIES, "tf32"):
        attempt("full_size", {"model": model, "policy": policy},
                lambda policy=policy: compared(policy))  # fmt: skip


def variants(model: str) -> None:
    """Variants of cueq against e3nn; layout mul_ir once without the fused convolution."""
    from mace_conformance.instruments.localise import localise
    from mace_conformance.subjects.backends import BACKENDS

    def compared(policy: str, name: str) -> dict[str, Any]:
        plain = subject(model, policy, "e3nn")
        if "/" in name:
            way = dataclasses.replace(BACKENDS["cueq-mul_ir"], fused=False)
            module = way.convert(copy.deepcopy(plain.module), "mace", DEVICE)
            potential = plain.around(module)
            a, b = (each.evaluate([structure("water8")])[0] for each in (potential, plain))
            return {"forces": float(np.abs(a["forces"].values - b["forces"].values).max())}
        other = subject(model, policy, name)
        found = localise(other, plain, structure("water8"))
        return differences(other, plain, structure("water8")) | {"localiser": found.text}

    names = ("cueq-mul_ir", "cueq-mul_ir/unfused") + (() if SMALL else ("cueq-unfused",))
    for policy in POLICIES:
        for name in names:
            attempt("variants", {"model": model, "policy": policy, "backend": name},
                    lambda policy=policy, name=name: compared(policy, name))  # fmt: skip


run({facts: 30, heads: 300, saving: 200, repeatability: 120, process: 90, kernels: 120,
     variants: 200, full_size: 300})  # fmt: skip
