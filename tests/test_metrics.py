"""Error measures are total functions: nothing slips through as a small number."""

import math

import numpy as np
import pytest

from mace_conformance.instruments.derivatives import excess_slope
from mace_conformance.instruments.metrics import Deviation, per_atom, rms, size, worst
from mace_conformance.subjects.outputs import OBSERVABLES, Field

FORCES = OBSERVABLES["forces"]


@pytest.mark.parametrize("measure", [rms, worst])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_an_infinite_error(measure, bad):
    found = np.array([[0.0, bad, 0.0]])
    deviation = measure(found, np.zeros((1, 3)))
    assert deviation.absolute == math.inf
    assert deviation.relative(1.0) == math.inf
    assert deviation.where == "not finite at atom 0, y"


@pytest.mark.parametrize("measure", [rms, worst])
def test_a_missing_atom_is_an_infinite_error(measure):
    deviation = measure(np.zeros((2, 3)), np.zeros((3, 3)))
    assert deviation.absolute == math.inf
    assert deviation.where == "shape (2, 3) instead of (3, 3)"


def test_nothing_at_all_is_an_infinite_error():
    assert rms(np.empty((0, 3)), np.empty((0, 3))).absolute == math.inf


def test_rms_and_worst_are_what_they_say():
    found, expected = np.array([[3.0, 0.0, 4.0]]), np.array([[0.0, 0.0, 0.0]])
    assert rms(found, expected).absolute == pytest.approx(5 / math.sqrt(3))
    assert worst(found, expected) == Deviation(4.0, 0.0, "atom 0, z", "")


def test_a_relative_error_divides_by_the_larger_of_scale_and_floor():
    assert Deviation(1.0, 4.0).relative(0.5) == 0.25
    assert Deviation(1.0, 0.1).relative(0.5) == 2.0
    assert Deviation(0.0, 0.0).relative(0.0) == 0.0
    assert Deviation(1.0, math.nan).relative(0.5) == math.inf


def test_fields_carry_their_unit_into_the_deviation():
    field = Field(FORCES, np.ones((2, 3)))
    assert worst(field, field).unit == "eV/angstrom"


def test_a_size_is_judged_against_one():
    assert size(np.array([0.0, -2.0])) == Deviation(2.0, 1.0, "atom 1", "")


def test_per_atom_divides_error_and_scale():
    assert per_atom(Deviation(6.0, 3.0), 3) == Deviation(2.0, 1.0)


def slope_of(*errors):
    """How far the slope of scans of five steps, with these errors, is from second order."""
    steps = (0.64, 0.16, 0.04, 0.01, 0.0025)
    return excess_slope([(step, abs(error(step))) for step in steps] for error in errors).absolute


def test_an_error_that_does_not_fall_with_the_step_misses_second_order_by_two():
    assert slope_of(lambda h: h * h) == pytest.approx(0)
    assert slope_of(lambda _: 1e-3, lambda _: 1e-4) == pytest.approx(2)


def test_one_direction_along_which_terms_cancel_does_not_decide_the_slope():
    crossing = lambda h: h * h * (1 - (h / 0.0399) ** 2)  # noqa: E731
    assert slope_of(crossing) > 0.5
    assert slope_of(crossing, *[lambda h: h * h] * 3) < 0.2
