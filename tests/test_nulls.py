"""A subject that returns zeros, NaN, constants, noise or nothing fails every numeric law."""

from collections import defaultdict

import pytest
from user import conformance

from mace_conformance.findings.records import FAILING

HONEST: dict[str, set[str]] = {}
NULLS = ("zeros", "nan", "constants", "noise", "nothing", "shorter")


@pytest.mark.parametrize("name", NULLS)
def test_an_empty_subject_fails_every_law(tmp_path, name):
    done = conformance(
        tmp_path / "run", "--mace-target", f"tests/targets.py:{name}", "--mace-plan", "smoke", "-q"
    )
    assert done.code == 1
    verdicts = defaultdict(set)
    for measurement in done.measurements:
        verdicts[measurement.case.quantity].add(measurement.verdict)
    passing = {quantity for quantity, found in verdicts.items() if not found & FAILING}
    assert passing <= HONEST.get(name, set())
    assert len(verdicts) > 20


def test_a_subject_that_raises_is_an_error_with_its_words(tmp_path):
    done = conformance(
        tmp_path / "run", "--mace-target", "tests/targets.py:raising", "--mace-plan", "smoke", "-q"
    )
    assert done.code == 1
    assert {m.verdict for m in done.measurements} == {"error"}
    assert "the kernel is not compiled for this device" in done.measurements[0].message
