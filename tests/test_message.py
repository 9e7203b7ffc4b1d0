"""The failure message is one block, the same for every law."""

import datetime

import pytest

from mace_conformance.findings.records import Case, Measurement
from mace_conformance.findings.verdict import Sample, explain, judge
from mace_conformance.instruments.localise import Located
from mace_conformance.instruments.measure import located
from mace_conformance.instruments.metrics import Deviation
from mace_conformance.promises.terms import Amount, Limit, Measured, Quantity

CASE = Case(
    quantity="precision.policy.forces", structure="water64", model="off-l1",
    policy="bf16-linear", backend="cueq", hardware="hopper", seed=1,
)  # fmt: skip
QUANTITY = Quantity(
    name=CASE.quantity, law="a law", unit="1", bound="max",
    floor=Amount(value=0.1, unit="eV/angstrom"), signal=Amount(value=0.01, unit="eV/angstrom"),
)  # fmt: skip
LIMIT = Limit(
    quantity=CASE.quantity, max=3.0e-5, source="measured", line=112,
    measured=Measured(
        value=7.2e-6, cases=9, hardware="hopper", run="r-0007", on=datetime.date(2026, 11, 20)
    ),
)  # fmt: skip
AGAIN = "pytest suites/precision --mace-case water64-off_l1-bf16_linear-cueq"


def block(verdict, value, **changes):
    fields = {"absolute": 2.6e-4, "absolute_unit": "eV/angstrom", "where": "atom 17, y"} | changes
    measurement = Measurement(
        case=CASE, id=CASE.id, law="law", verdict=verdict, value=value, limit=LIMIT.max,
        ratio=None if value is None else value / LIMIT.max, **fields,
    )  # fmt: skip
    return explain(measurement, LIMIT, "tolerances.toml", AGAIN)


def test_a_failure_says_what_where_against_what_and_how_to_see_it_again():
    assert block("fail", 4.1e-4) == (
        "precision.policy.forces = 4.1e-04, limit 3.0e-05 (13.7 x over); 2.6e-04 eV/angstrom\n"
        "  case   water64-off_l1-bf16_linear-cueq on hopper, seed 1\n"
        "  worst  atom 17, y\n"
        "  limit  tolerances.toml:112, measured 7.2e-06 in run r-0007, headroom 4.2\n"
        "  again  pytest suites/precision --mace-case water64-off_l1-bf16_linear-cueq"
    )


def test_a_failure_says_in_which_block_it_begins_after_what_is_worst():
    first = "interactions.1.linear, l 1 odd, error grew 4e+05 x: layout"
    lines = block("fail", 4.1e-4, first=first).splitlines()
    assert lines[2:4] == ["  worst  atom 17, y", f"  first  {first}"]


def test_a_broken_localiser_says_so_and_no_more():
    def broken():
        message = "no such\nblock"
        raise KeyError(message)

    assert located(broken)["first"] == "not found, KeyError: 'no such\\nblock'"
    found = Located("one\nline", (("products.0", 1e-3), ("readouts.0", float("nan"))))
    blocks = (("products.0", 1e-3), ("readouts.0", None))
    assert located(lambda: found) == {"first": "one line", "blocks": blocks}


def test_a_vacuous_case_says_that_nothing_was_there_to_judge():
    first, second = block("vacuous", 0.0, codes=("no-signal",)).splitlines()[:2]
    assert first.startswith("precision.policy.forces = 0.0e+00, vacuous under limit 3.0e-05")
    assert second == "  why    vacuous: no-signal"


def test_an_infinite_error_is_written_as_one():
    text = block("fail", None, absolute=None, where="not finite at atom 0, x")
    assert text.startswith("precision.policy.forces = inf, limit 3.0e-05 (inf x over)\n")


def samples(*pairs):
    return [Sample(Deviation(absolute, scale)) for absolute, scale in pairs]


def test_the_worst_sample_is_judged_relative_to_the_larger_of_scale_and_floor():
    judged = judge(samples((1e-6, 1.0), (2e-6, 0.001)), QUANTITY, LIMIT)
    assert judged.verdict == "pass"
    assert judged.value == pytest.approx(2e-5)


def test_no_sample_and_no_signal_are_vacuous_even_without_a_row():
    assert judge([], QUANTITY, LIMIT).verdict == "vacuous"
    assert judge(samples((0.0, 0.001)), QUANTITY, LIMIT).verdict == "vacuous"
    assert judge(samples((0.0, 0.001)), QUANTITY, None).verdict == "vacuous"


def test_a_failure_is_a_failure_even_without_signal():
    assert judge(samples((1.0, 0.001)), QUANTITY, LIMIT).verdict == "fail"


def test_nan_never_passes():
    assert judge(samples((float("nan"), 1.0)), QUANTITY, LIMIT).verdict == "fail"
