"""Which rows of known issues a run is asked to meet."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pytest
from promise_example import Cell

from mace_conformance.errors import ConformanceError
from mace_conformance.promises.catalogue import Catalogue
from mace_conformance.promises.known_issues import Issue, matching
from mace_conformance.promises.naming import check_names
from mace_conformance.promises.reach import reaches
from mace_conformance.promises.terms import Plan, Quantity

MODELS = tuple(
    SimpleNamespace(name=name, plan=plan) for name, plan in (("a", "gate"), ("b", "qualify"))
)
OFFERED = Catalogue(
    models=MODELS,  # type: ignore[arg-type]
    structures=(),
    policies=("fp64",),
    backends=("e3nn", "cueq"),
)
QUANTITIES = {
    each.name: each
    for each in (
        Quantity(name="precision.energy", law="l", unit="eV", bound="max"),
        Quantity(name="precision.late", law="l", unit="eV", bound="max", plans=("qualify",)),
        Quantity(name="precision.launches", law="l", unit="1", bound="max", devices=("cuda",)),
    )
}
KNOWN = {"backend": {"e3nn", "cueq", "oeq"}, "hardware": {"cpu", "hopper"}}


def issue(quantity: str = "precision.energy", **selectors: tuple[str, ...]) -> Issue:
    day = datetime.date(2026, 11, 1)
    return Issue(
        id="row",
        quantity=quantity,
        ceiling=1.0,
        link="https://example.org/7",
        opened=day,
        expires=day.replace(year=2027),
        why="a reason",
        line=3,
        **selectors,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (issue(), True),
        (issue(backend=("cueq", "oeq")), True),
        (issue(backend=("oeq",)), False),
        (issue(policy=("tf32",)), False),
        (issue(execution=("compiled",)), False),
        (issue(hardware=("!cpu",)), False),
        (issue(hardware=("cpu",)), True),
        (issue(model=("another",)), True),
        (issue(model=("a", "b")), True),
        (issue(model=("b",)), False),
        (issue("precision.late"), False),
        (issue("precision.launches"), False),
        (issue("precision.l*"), False),
        (issue("precision.misspelt"), True),
    ],
)
def test_a_run_is_asked_for_what_it_can_meet(row: Issue, *, asked: bool) -> None:
    plan = Plan(name="gate", seconds=180)
    assert reaches(row, QUANTITIES, plan, OFFERED, "cpu") is asked


def test_a_refused_name_is_not_spoken_of() -> None:
    row = issue(hardware=("!cpu",))
    cells = [Cell("precision.energy", hardware=name) for name in ("cpu", "hopper")]
    assert [bool(matching(cell, [row])) for cell in cells] == [False, True]


@pytest.mark.parametrize("name", ["cuq", "!cuq"])
def test_a_name_that_does_not_exist_is_refused(name: str) -> None:
    check_names([("here", issue(backend=("cueq*", "!oeq"), hardware=("!cpu",)))], KNOWN)
    with pytest.raises(ConformanceError, match=r"^here: .*did you mean 'cueq'"):
        check_names([("here", issue(backend=(name,)))], KNOWN)
