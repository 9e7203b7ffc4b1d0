"""ASE calculators to be judged as black boxes, sound ones and others."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential


class Scaled(MorsePotential):
    """Forces are a thousandth too large: they are the gradient of no energy that it returns."""

    implemented_properties = ("energy", "energies", "forces", "stress")

    def calculate(self, *words, **more):
        super().calculate(*words, **more)
        self.results["forces"] = 1.001 * self.results["forces"]


class Stale(MorsePotential):
    """What was computed first is returned for ever."""

    def calculation_required(self, atoms, properties):
        return not self.results

    def check_state(self, atoms, tol=1e-15):
        return [] if self.results else all_changes


class Single(MorsePotential):
    """Positions pass through fp32."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        rounded = atoms.copy()
        rounded.positions = atoms.positions.astype(np.float32)
        super().calculate(rounded, properties, system_changes)
        for name, values in self.results.items():
            self.results[name] = np.asarray(values, np.float32)


class Silent(Calculator):
    """Refuses everything."""

    implemented_properties = ("energy", "forces")

    def calculate(self, *words, **more):
        message = "no licence"
        raise RuntimeError(message)


SHAPE = {"epsilon": 0.5, "r0": 1.36, "rcut1": 1.5, "rcut2": 2.0}


def morse():
    return MorsePotential(**SHAPE)


def scaled():
    return Scaled(**SHAPE)


def stale():
    return Stale(**SHAPE)


def single():
    return Single(**SHAPE)


def smooth_lennard_jones():
    return LennardJones(epsilon=0.2, sigma=1.2, rc=4.0, ro=2.0, smooth=True)


def cut_lennard_jones():
    return LennardJones(epsilon=0.2, sigma=1.2, rc=4.0)


def silent():
    return Silent()


def no_calculator():
    return object()


def chgnet():
    """CHGNet with the weights of its wheel; not among the suite's own requirements."""
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore", return_site_energies=True)


for factory in (morse, scaled, stale, single, smooth_lennard_jones, cut_lennard_jones):
    factory.conformance = {"elements": ["H", "C", "N", "O"]}
silent.conformance = {"elements": ["H"]}
chgnet.conformance = {"elements": ["H", "C", "N", "O"], "cutoff": 6.0}
