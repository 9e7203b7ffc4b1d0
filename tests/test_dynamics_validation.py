"""The integrators of baths before another judge: the package physical-validation, where it is."""

import warnings

import numpy as np
import pytest
from test_dynamics import TEMPERATURE, kept_warm, nothing

from mace_conformance.instruments.dynamics import BOLTZMANN
from mace_conformance.instruments.dynamics_ensembles import BAR, Bath

ATOMS, APART = 8, 25


@pytest.fixture(scope="module")
def judge():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("physical_validation")


def gas(judge, pressure, seed, heat=1.0):
    """Independent samples of an ideal gas at constant pressure, as the judge takes them."""
    bath = Bath(temperature=heat * TEMPERATURE, friction=0.1, pressure=pressure,
                compressibility=1 / pressure, relaxation=40.0)  # fmt: skip
    length = ((ATOMS + 1) * BOLTZMANN * TEMPERATURE / (pressure * BAR)) ** (1 / 3)
    found = kept_warm(nothing, bath, 600, seed, atoms=ATOMS, length=length)
    kelvin, volume = (each[100::APART].ravel() for each in found)
    kinetic = 1.5 * ATOMS * BOLTZMANN * kelvin
    units = judge.data.UnitData(
        kb=BOLTZMANN, energy_str="eV", energy_conversion=96.485, length_str="A",
        length_conversion=0.1, volume_str="A^3", volume_conversion=1e-3, temperature_str="K",
        temperature_conversion=1.0, pressure_str="eV/A^3", pressure_conversion=1 / BAR,
        time_str="fs", time_conversion=1e-3,
    )  # fmt: skip
    return judge.data.SimulationData(
        units=units,
        ensemble=judge.data.EnsembleData(
            ensemble="NPT", natoms=ATOMS, pressure=pressure * BAR, temperature=TEMPERATURE
        ),
        system=judge.data.SystemData(
            natoms=ATOMS, nconstraints=0, ndof_reduction_tra=0, ndof_reduction_rot=0
        ),
        observables=judge.data.ObservableData(
            kinetic_energy=kinetic, potential_energy=np.zeros_like(kinetic), total_energy=kinetic,
            volume=volume, pressure=np.full_like(kinetic, pressure * BAR),
        ),
    )  # fmt: skip


def test_another_judge_finds_kinetic_energies_canonical(judge):
    right, hot = gas(judge, 1000.0, 1), gas(judge, 1000.0, 1, heat=1.2)
    assert judge.kinetic_energy.distribution(right, strict=True, verbosity=0) > 1e-3
    assert judge.kinetic_energy.distribution(hot, strict=True, verbosity=0) < 1e-3


def test_another_judge_finds_volumes_at_two_pressures_of_one_ensemble(judge):
    low, high = gas(judge, 1000.0, 1), gas(judge, 1300.0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (apart,) = judge.ensemble.check(low, high, verbosity=0)
    assert apart < 3
