"""Where things lie in a picture."""

import math

import pytest

from mace_conformance.findings.plots import GUTTER, Axis, bands, ratio_axis, span_axis, time_axis


def test_decades_are_equally_wide_and_the_rest_lies_in_gutters():
    axis = Axis(1e-3, 10.0, 100.0, 500.0)
    assert [axis.place(10.0**n) for n in (-3, -2, 0, 1)] == pytest.approx([100, 200, 400, 500])
    assert axis.place(0.0) == axis.place(1e-9) == axis.place(math.nan) == 100 - GUTTER / 2
    assert axis.place(math.inf) == 500 + GUTTER / 2


def test_an_axis_may_run_upwards():
    axis = Axis(1.0, 100.0, 300.0, 20.0)
    assert axis.place(10.0) == 160
    assert axis.place(0.0) > 300
    assert axis.place(1e9) < 20


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1.0, 10.0, ["1", "2", "5", "10"]),
        (1e-16, 1e-2, ["1e-16", "1e-14", "1e-12", "1e-10", "1e-8", "1e-6", "1e-4", "0.01"]),
        (1e3, 1e12, ["1000", "1e5", "1e7", "1e9", "1e11"]),
    ],
)
def test_ticks(low, high, texts):
    assert [text for _, text in Axis(low, high, 0.0, 100.0).ticks] == texts


@pytest.mark.parametrize("ratios", [[], [0.0], [math.inf], [1e-300, 1e300], [0.3, 0.2]])
def test_a_ratio_axis_always_shows_the_limit_and_the_window(ratios):
    axis = ratio_axis(ratios)
    assert axis.low <= 1 / 16 < 1 < axis.high
    places = [start for start, _, _ in bands(axis, (2.0, 16.0))]
    assert places == sorted(places)
    assert axis.start <= places[0] < places[-1] == axis.place(1.0)


@pytest.mark.parametrize(
    ("last", "texts"),
    [(12.0, ["0", "2", "4", "6", "8", "10", "12"]), (24.0, ["0", "5", "10", "15", "20", "25"]),
     (0.0, [f"{i / 10:g}" for i in range(11)])],
)  # fmt: skip
def test_time_runs_evenly_from_zero_to_a_round_number(last, texts):
    axis = time_axis([0.0, last, math.inf], 100.0, 300.0)
    assert [text for _, text in axis.ticks] == texts
    assert axis.place(axis.high / 2) == 200


def test_values_that_are_not_positive_do_not_stretch_an_axis():
    axis = span_axis([0.0, -1.0, math.inf, 3.0, 40.0], 0.0, 1.0)
    assert (axis.low, axis.high) == (1.0, 100.0)
