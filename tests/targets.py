"""Targets that no law may pass: they return zeros, NaN, constants, noise or nothing."""

from __future__ import annotations

import numpy as np

from mace_conformance.subjects.outputs import OBSERVABLES, Outputs
from mace_conformance.subjects.toy import ToyPotential, ToyTarget


class _Filled(ToyPotential):
    fill = 0.0

    def single(self, structure):
        shapes = {0: (), 1: (3,), 2: (3, 3)}
        rows = {}
        for name in super().single(structure):
            row = OBSERVABLES[name]
            shape = shapes[row.rank]
            rows[name] = self.make((len(structure), *shape) if row.per_atom else shape)
        return Outputs(rows)

    def make(self, shape):
        return np.full(shape, self.fill)


class Zeros(_Filled):
    fill = 0.0


class NaN(_Filled):
    fill = np.nan


class Constants(_Filled):
    fill = 1.5


class Noise(_Filled):
    def __init__(self, dtype=np.float64):
        super().__init__(dtype)
        self.generator = np.random.default_rng(0)

    def make(self, shape):
        return self.generator.standard_normal(shape)


class Nothing(ToyPotential):
    def single(self, structure):
        return Outputs({})


class Shorter(ToyPotential):
    """The last atom's row is missing."""

    def single(self, structure):
        whole = super().single(structure)
        return Outputs(
            {
                name: field.values[:-1] if field.observable.per_atom else field.values
                for name, field in whole.items()
            }
        )


class Hanging(ToyPotential):
    def single(self, structure):
        while True:
            pass


class Raising(ToyPotential):
    def single(self, structure):
        message = "the kernel is not compiled for this device"
        raise RuntimeError(message)


class _Target(ToyTarget):
    kind = ToyPotential

    def describe(self):
        return {"name": type(self).__name__, "version": "1"}

    def potential(self, model, head, policy, backend, device):
        return self.kind(np.float32 if policy == "fp32" else np.float64)


def _target(kind):
    return type(kind.__name__, (_Target,), {"kind": kind})()


zeros, nan, constants, noise = map(_target, (Zeros, NaN, Constants, Noise))
nothing, shorter, hanging, raising = map(_target, (Nothing, Shorter, Hanging, Raising))
no_target = object()
