"""Measures on one GPU what the backends suite promises there: `python measure_backends.py OUT`.

Every step writes its lines to OUT/measured.jsonl as it goes and has a time limit of its own, so a
run that is cut off keeps what it had. A second argument names the device (default cuda), further
ones the steps.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.metadata
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(sys.argv[1])
DEVICE = sys.argv[2] if len(sys.argv) > 2 else "cuda"  # noqa: PLR2004
ASKED = sys.argv[3:]
ROOT = Path(__file__).resolve().parents[2]
SMALL = DEVICE == "cpu"
REPEATS = 3 if SMALL else 20
BLOCKS = ("conv_tp", "linear_up", "linear", "skip_tp", "symmetric_contractions")


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


def repeatability() -> None:
    """Calls in one process on one input: how many different forces, and how far apart."""
    models = ("residual",) if SMALL else ("residual", "medium")
    backends = ("e3nn", "cueq") if SMALL else ("e3nn", "cueq", "cueq-unfused")
    for model, policy, backend in itertools.product(models, ("fp32", "fp64"), backends):
        one, where = subject(model, policy, backend), structure("water8" if SMALL else "water64")
        one.fresh(where)
        runs = [one.fresh(where) for _ in range(REPEATS)]
        forces = np.stack([run["forces"].values for run in runs])
        spread = float(np.abs(forces - forces[0]).max() / np.sqrt(np.mean(forces[0] ** 2)))
        energies = len({float(run["energy"].values) for run in runs})
        say("repeatability", model=model, policy=policy, backend=backend, calls=REPEATS,
            forces=len(set(map(digest, runs))), energies=energies, spread=spread)  # fmt: skip


def processes() -> None:
    """The first two calls of two processes each: are their forces the same bits."""
    for backend, policy in itertools.product(("e3nn", "cueq"), ("fp32", "fp64")):
        words = [sys.executable, __file__, str(OUT), DEVICE, f"child:{backend}:{policy}"]
        said = [subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
                for _ in range(2)]  # fmt: skip
        digests = [each.stdout.strip().splitlines()[-1:] for each in said]
        say("processes", backend=backend, policy=policy, digests=digests)


def child(backend: str, policy: str) -> None:
    one = subject("residual", policy, backend)
    digests = [digest(one.fresh(structure("water8"))) for _ in range(2)]
    sys.stdout.write(" ".join(digests) + "\n")


def kernels() -> None:
    """Each block alone on inputs kept from one call: which forward, which backward repeats."""
    for policy, backend in itertools.product(("fp32", "fp64"), ("e3nn", "cueq")):
        one = subject("residual" if SMALL else "medium", policy, backend)
        for name, block, words, named in kept_inputs(one, structure("water8")):
            try:
                counts = block_repeats(block, words, named)
            except Exception as error:  # noqa: BLE001
                counts = {"error": f"{type(error).__name__}: {error}"[:200]}
            say("kernels", policy=policy, backend=backend, block=name,
                kind=type(block).__name__, calls=REPEATS, **counts)  # fmt: skip


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


def bits(tensor: Any) -> str:
    return hashlib.sha256(tensor.detach().cpu().numpy().tobytes()).hexdigest()


def heads() -> None:
    """Models with several heads (mace #1298, #1469): every head by cueq against e3nn."""
    from mace_conformance.instruments.localise import localise

    models = ("density-heads2",) if SMALL else (
        "density-heads2", "heads3-l2", "nonlinear-heads2", "old-edge-irreps", "medium-l2"
    )  # fmt: skip
    for model, policy in itertools.product(models, ("fp64", "fp32")):
        for head in target().models()[model].heads:
            try:
                pair = [subject(model, policy, backend, head) for backend in ("cueq", "e3nn")]
                where = structure("water8")
                found = differences(*pair, where)
                say("heads", model=model, policy=policy, head=head, **found,
                    weights=pair[0].differing_weights(pair[1].potential)[:9],
                    localiser=localise(*pair, where))  # fmt: skip
            except Exception as error:  # noqa: BLE001
                say("heads", model=model, policy=policy, head=head, error=repr(error)[:300])


def saving() -> None:
    """A fused converted model saved, loaded and copied on the device, and brought back to e3nn."""
    from mace_conformance.subjects import mace_conversion

    for model, policy in itertools.product(("residual", "density-heads2"), ("fp64", "fp32")):
        one = subject(model, policy, "cueq")
        for way, again in WAYS_OF_SAVING.items():
            attempt("saving", {"model": model, "policy": policy, "way": way},
                    lambda one=one, again=again: saved(one, again(one.module)))  # fmt: skip

        def back(one: Any = one, model: str = model, policy: str = policy) -> dict[str, Any]:
            source = subject(model, policy, "e3nn").module
            again = mace_conversion.returned(one.module, "mace")
            return {"differing": mace_conversion.differing_state(again, source)}

        attempt("returned", {"model": model, "policy": policy}, back)


def attempt(step: str, words: dict[str, Any], tried: Any) -> None:
    """Says what `tried` returns, or what it raised and where."""
    try:
        found = tried()
    except Exception as error:  # noqa: BLE001
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = {"error": repr(error)[:300], "at": f"{where.filename}:{where.lineno}"}
    say(step, **words, **found)


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
    import io

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


def full_size() -> None:
    """Models of full size on 192 atoms: cueq against e3nn under each policy."""
    from mace_conformance.instruments.localise import localise

    models = ("residual",) if SMALL else ("medium", "off24m", "medium-l2", "medium-nonlinear")
    for model, policy in itertools.product(models, ("fp64", "fp32", "tf32")):
        if SMALL and policy == "tf32":
            continue
        try:
            pair = [subject(model, policy, backend) for backend in ("cueq", "e3nn")]
            where = structure("water8" if SMALL else "water64")
            found = differences(*pair, where)
            say("full_size", model=model, policy=policy, **found,
                localiser=localise(*pair, structure("water8")))  # fmt: skip
        except Exception as error:  # noqa: BLE001
            say("full_size", model=model, policy=policy, error=repr(error)[:300])


def variants() -> None:
    """Variants of cueq against e3nn."""
    names = ("cueq-mul_ir",) if SMALL else ("cueq-mul_ir", "cueq-unfused")
    models = ("residual",) if SMALL else ("residual", "density-heads2", "medium")
    for model, policy, name in itertools.product(models, ("fp64", "fp32"), names):
        try:
            pair = [subject(model, policy, backend) for backend in (name, "e3nn")]
            say("variants", model=model, policy=policy, backend=name,
                **differences(*pair, structure("water8")))  # fmt: skip
        except Exception as error:  # noqa: BLE001
            say("variants", model=model, policy=policy, backend=name, error=repr(error)[:300])


def exports() -> None:
    """TorchScript, the LAMMPS exports and the compiled step against the eager one."""
    rows = [("torchscript", "e3nn"), ("lammps", "e3nn"), ("mliap", "e3nn"), ("mliap", "cueq")]
    for (name, backend), policy in itertools.product(rows, ("fp64", "fp32")):
        try:
            one = subject("density-heads2", policy, backend, "pbe", name)
            say("exports", execution=name, backend=backend, policy=policy,
                **differences(one, subject("density-heads2", policy, backend, "pbe"),
                              structure("water8")))  # fmt: skip
        except Exception as error:  # noqa: BLE001
            say("exports", execution=name, backend=backend, policy=policy, error=repr(error)[:300])


def compiled() -> None:
    """The compiled step: time, breaks and graphs over three sizes, and its error."""
    for backend, policy in (("e3nn", "fp32"), ("e3nn", "fp64"), ("cueq", "fp32")):
        try:
            one = subject("residual", policy, backend, execution="compiled")
            eager = subject("residual", policy, backend)
            for name in ("water8", "ethanol-boxed", "water64"):
                started = time.monotonic()
                found = differences(one, eager, structure(name))
                say("compiled", backend=backend, policy=policy, structure=name,
                    seconds=round(time.monotonic() - started, 1), **found,
                    **one.potential.counts())  # fmt: skip
        except Exception as error:  # noqa: BLE001
            say("compiled", backend=backend, policy=policy, error=repr(error)[:300])


def openequivariance() -> None:
    """OpenEquivariance, compiled where it runs: parity, saving and the way back."""
    attempt("oeq", {"what": "import"}, imported)
    models = ("residual", "density-heads2", "heads3-l2", "medium")
    for model, policy, backend in itertools.product(models, ("fp64", "fp32"), ("oeq", "hybrid")):
        words = {"model": model, "policy": policy, "backend": backend}

        def parity(model: str = model, policy: str = policy, name: str = backend) -> Any:
            pair = [subject(model, policy, each) for each in (name, "e3nn")]
            return differences(*pair, structure("water8")) | {
                "left": pair[0].potential.left_by_conversion,
                "parts": sorted({type(part).__name__ for part in pair[0].module.modules()}),
            }

        attempt("oeq_parity", words, parity)
        if model == "residual":
            for way, again in WAYS_OF_SAVING.items():
                attempt("oeq_saving", words | {"way": way},
                        lambda words=words, again=again: resaved(again, **words))  # fmt: skip


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


def resaved(again: Any, model: str, policy: str, backend: str) -> dict[str, Any]:
    one = subject(model, policy, backend)
    return saved(one, again(one.module))


def suite() -> None:
    """The suite itself at the gate plan, with its record."""
    words = [sys.executable, "-m", "pytest", "suites/backends", "--benchmark-only", "-q",
             "--mace-device", DEVICE, "--mace-report", str(OUT / "run"),
             "-p", "no:cacheprovider"]  # fmt: skip
    with (OUT / "suite.txt").open("w") as file, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(words, stdout=file, stderr=file, check=False, timeout=170, cwd=ROOT)
    say("suite", tail=(OUT / "suite.txt").read_text()[-1500:])


STEPS = {
    facts: 30, heads: 60, saving: 70, repeatability: 60, kernels: 60, exports: 60, variants: 40,
    full_size: 80, processes: 120, openequivariance: 400, suite: 180, compiled: 240,
}  # fmt: skip


class Expired(BaseException):
    """A step's time is over; no step may take it for a failure of its own."""


def expired(*_: Any) -> None:
    raise Expired


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGALRM, expired)
    for step, seconds in STEPS.items():
        if ASKED and step.__name__ not in ASKED:
            continue
        signal.alarm(seconds)
        try:
            step()
        except BaseException as error:  # noqa: BLE001
            say(step.__name__, stopped=repr(error)[:300])
        finally:
            signal.alarm(0)


START = time.monotonic()
warnings.simplefilter("ignore")
if ASKED and ASKED[0].startswith("child:"):
    child(*ASKED[0].split(":")[1:])
else:
    main()
