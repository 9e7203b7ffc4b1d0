"""Targets with a fault that few structures show: what a search is there to find."""

from __future__ import annotations

import numpy as np

from mace_conformance.subjects.outputs import Outputs
from mace_conformance.subjects.toy import ToyPotential, ToyTarget


class _OddSlab(ToyPotential):
    """Edges along z come out too long where the second direction alone is not periodic."""

    def edges(self, structure):
        sender, receiver, vectors = super().edges(structure)
        wrong = structure.pbc == (True, False, True)
        return sender, receiver, vectors * (1, 1, 1.01 if wrong else 1)


class _LeftHanded(ToyPotential):
    """In left-handed crystals atoms outside their cell carry some energy."""

    def single(self, structure):
        whole = super().single(structure)
        if not all(structure.pbc) or np.linalg.det(structure.cell) > 0:
            return whole
        outside = np.floor(structure.positions @ np.linalg.inv(structure.cell) + 1e-9)
        values = {name: field.values for name, field in whole.items()}
        return Outputs(values | {"energy": values["energy"] + 1e-3 * np.abs(outside).sum()})


class _Crash(ToyPotential):
    """Wires raise."""

    def single(self, structure):
        if sum(structure.pbc) == 1:
            message = "no kernel for wires"
            raise RuntimeError(message)
        return super().single(structure)


class _Target(ToyTarget):
    kind = ToyPotential

    def potential(self, model, head, policy, backend, device):
        del model, head, backend, device
        return self.kind(np.float32 if policy == "fp32" else np.float64)


def _target(kind):
    return type(kind.__name__, (_Target,), {"kind": kind})()


odd_slab, left_handed, crash = map(_target, (_OddSlab, _LeftHanded, _Crash))
