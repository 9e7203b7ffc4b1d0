"""known_issues.toml on trial: what it excuses, and when it asks for its own removal."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from promise_example import DATA, Cell

from mace_conformance.errors import ConformanceError
from mace_conformance.promises.known_issues import (
    Issue,
    Stale,
    applicable,
    load,
    load_beside,
    matching,
    stale,
)

EXAMPLE = DATA / "known_issues_example.toml"
TODAY = datetime.date(2026, 12, 1)
SLAB = Cell("precision.stress_worst", structure="slab_al")
ENERGY = Cell("precision.energy")

Refuse = Callable[[str, str], str]


@dataclass(frozen=True)
class Judged:
    """A measurement as far as known issues read it."""

    verdict: str
    case: Cell = field(default=ENERGY)


@pytest.fixture
def issues() -> tuple[Issue, ...]:
    return load(EXAMPLE)


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """The message that refuses the example after replacing its first `old` by `new`."""
    monkeypatch.chdir(tmp_path)

    def refuse(old: str, new: str) -> str:
        text = EXAMPLE.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "known_issues.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConformanceError) as refused:
            load(path)
        return str(refused.value)

    return refuse


def test_the_example_loads_with_lines(issues: tuple[Issue, ...]) -> None:
    assert [(issue.id, issue.line) for issue in issues] == [("slab-stress", 3), ("fp32-total", 14)]


def test_a_file_without_issues_loads(tmp_path: Path) -> None:
    path = tmp_path / "known_issues.toml"
    path.write_text("schema = 1\n", encoding="utf-8")
    assert load(path) == ()


MISSING = (
    "ceiling is missing; write the worst value that is excused, or in raises a part of the "
    "exception's message"
)
FIELDS = (
    "backend, ceiling, execution, expires, hardware, id, link, mace, model, opened, policy, "
    "quantity, raises, structure, why"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "structure =",
            "structures =",
            f"unknown field 'structures': did you mean 'structure'? known are {FIELDS}",
        ),
        (
            "ceiling = 0.9\n",
            "",
            MISSING,
        ),
        ("ceiling = 0.9", "ceiling = 0.0", "ceiling: expected a number > 0.0, got 0.0"),
        (
            "ceiling = 0.9",
            "ceiling = inf",
            "ceiling is inf; write a finite number, nothing can be judged by this one",
        ),
        (
            "https://github.com/ACEsuit/mace/issues/1509",
            "ACEsuit/mace#1509",
            "link: expected a string matching regex '^https://', got ACEsuit/mace#1509",
        ),
        (
            "expires = 2027-05-20",
            'expires = "May 2027"',
            "expires: expected a date such as 2026-11-20, without quotes, got a string",
        ),
        (
            "expires = 2027-05-20",
            "expires = 2026-11-20",
            "expires 2026-11-20 is not after opened 2026-11-20; write a later date",
        ),
        (
            'mace = "<=0.3.16"',
            'mace = "0.3.16 or older"',
            (
                'mace = "0.3.16 or older" is not a version specifier; '
                'write for example mace = "<=0.3.16"'
            ),
        ),
        (
            'structure = ["slab*"]',
            "structure = []",
            'structure is an empty list and fits nothing; write structure = ["*"] or remove it',
        ),
        (
            'why = "divided',
            'line = 3\nwhy = "divided',
            f"unknown field 'line': did you mean 'link'? known are {FIELDS}",
        ),
    ],
)
def test_bad_rows_are_refused(refusal: Refuse, old: str, new: str, message: str) -> None:
    assert refusal(old, new) == f"known_issues.toml:3: [[issue]]: {message}"


def test_a_second_row_of_one_id_is_refused(refusal: Refuse) -> None:
    assert refusal('id = "fp32-total"', 'id = "slab-stress"') == (
        "known_issues.toml:14: [[issue]]: id 'slab-stress' is taken by the row at "
        "known_issues.toml:3; write another id"
    )


def test_an_unknown_table_is_refused(refusal: Refuse) -> None:
    assert refusal("[[issue]]", "[[issues]]") == (
        "known_issues.toml:3: unknown table 'issues': did you mean 'issue'? known are issue, schema"
    )


def test_one_bracket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "known_issues.toml"
    path.write_text('schema = 1\n[issue]\nid = "slab-stress"\n', encoding="utf-8")
    with pytest.raises(ConformanceError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}:2: [issue]: issues are rows; write [[issue]], with two brackets"
    )


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (SLAB, "slab-stress"),
        (ENERGY, "fp32-total"),
        (Cell("precision.energy", backend="oeq"), None),
        (Cell("precision.energy", policy="fp64"), None),
        (Cell("precision.energy_sum"), None),
        (Cell("precision.stress_worst", structure="water64"), None),
    ],
)
def test_an_issue_acts_on_the_quantity_and_case_it_names(
    issues: tuple[Issue, ...], case: Cell, name: str | None
) -> None:
    assert [issue.id for issue in matching(case, issues)] == ([name] if name else [])


@pytest.mark.parametrize(
    ("value", "bound", "excused"),
    [
        (1.9e-3, "max", True),
        (2.0e-3, "max", True),
        (2.1e-3, "max", False),
        (math.inf, "max", False),
        (math.nan, "max", False),
        (math.nan, "min", False),
        (2.1e-3, "min", True),
        (1.9e-3, "min", False),
    ],
)
def test_a_value_beyond_the_ceiling_still_fails(
    issues: tuple[Issue, ...], value: float, bound: str, *, excused: bool
) -> None:
    assert issues[1].excuses(value, bound) is excused


@pytest.mark.parametrize(
    ("value", "message", "excused"),
    [
        (math.inf, "energy: NotImplementedError: Correlation 2 not supported yet", True),
        (math.inf, "energy: RuntimeError: out of memory", False),
        (math.inf, "", False),
        (1e-9, "Correlation 2 not supported", False),
    ],
)
def test_a_row_that_names_an_exception_excuses_no_other_and_no_value(
    issues: tuple[Issue, ...], value: float, message: str, *, excused: bool
) -> None:
    row = msgspec.structs.replace(issues[1], ceiling=None, raises="Error: Correlation 2 not")
    assert row.excuses(value, "max", message) is excused


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("0.3.14", ["slab-stress", "fp32-total"]),
        ("0.3.16", ["slab-stress", "fp32-total"]),
        ("0.3.16+fork.1a2b3c", ["slab-stress", "fp32-total"]),
        ("0.3.16.dev3", ["slab-stress", "fp32-total"]),
        ("0.3.17.dev0", ["fp32-total"]),
        ("0.10.0", ["fp32-total"]),
        ("our-fork", ["fp32-total"]),
        ("", ["fp32-total"]),
    ],
)
def test_an_issue_belongs_to_the_versions_it_names(
    issues: tuple[Issue, ...], version: str, ids: list[str]
) -> None:
    assert [issue.id for issue in applicable(issues, version)] == ids


def check(issues: tuple[Issue, ...], *judged: Judged, today: datetime.date = TODAY) -> list[Stale]:
    return stale(issues[1:], judged, today=today, full=True)


def test_a_row_whose_measurements_all_pass_asks_for_its_removal(
    issues: tuple[Issue, ...],
) -> None:
    (found,) = check(
        issues, Judged("pass"), Judged("pass"), Judged("vacuous"), Judged("fail", SLAB)
    )
    assert (found.issue, found.code) == (issues[1], "unexpected-pass")
    assert found.text == (
        "known issue 'fp32-total' (line 14): all 2 judged measurements that it matches keep their "
        "limits; remove the row"
    )


@pytest.mark.parametrize("verdict", ["known", "fail"])
def test_a_row_with_one_failing_measurement_stands(issues: tuple[Issue, ...], verdict: str) -> None:
    assert check(issues, Judged("pass"), Judged(verdict)) == []


@pytest.mark.parametrize("verdict", ["error", "vacuous", "invalid", "unjudged", "ambiguous"])
def test_a_row_is_not_stale_by_what_could_not_be_judged(
    issues: tuple[Issue, ...], verdict: str
) -> None:
    assert check(issues, Judged(verdict)) == []


def test_a_row_that_matches_nothing_fails_a_full_run(issues: tuple[Issue, ...]) -> None:
    (found,) = check(issues, Judged("fail", SLAB))
    assert found.code == "no-match"
    assert found.text == (
        "known issue 'fp32-total' (line 14): matches no measurement of a full run; "
        "correct its selectors or remove the row"
    )


def test_a_narrowed_run_does_not_ask_for_every_row(issues: tuple[Issue, ...]) -> None:
    assert stale(issues, [Judged("known")], today=TODAY, full=False) == []


def test_an_expired_row_fails(issues: tuple[Issue, ...]) -> None:
    expiry = datetime.date(2027, 5, 20)
    assert check(issues, Judged("known"), today=expiry) == []
    (found,) = check(issues, Judged("known"), today=expiry + datetime.timedelta(days=1))
    assert found.code == "expired"
    assert found.text == (
        "known issue 'fp32-total' (line 14): expired on 2027-05-20; "
        "fix the fault, or renew the date with a reason"
    )


OWN = """\
schema = 1
{fixed}

[[issue]]
id = "{id}"
quantity = "precision.energy"
ceiling = 0.5
link = "https://example.org/7"
opened = 2026-11-01
expires = 2027-11-01
why = "the fork sums in single precision"
"""


def own(tmp_path: Path, name: str = "single-sum", fixed: str = "") -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(id=name, fixed=fixed), encoding="utf-8")
    return path


def test_a_forks_own_rows_stand_beside_the_shipped_ones_and_come_first(tmp_path: Path) -> None:
    found = load_beside(EXAMPLE, [own(tmp_path)])
    assert [issue.id for issue in found] == ["single-sum", "slab-stress", "fp32-total"]
    assert [issue.id for issue in matching(ENERGY, found)] == ["single-sum", "fp32-total"]
    (text,) = [s.text for s in stale(found[:1], [], today=TODAY, full=True)]
    assert f"({tmp_path / 'own.toml'}:4)" in text


def test_a_fork_says_which_shipped_faults_it_has_mended(tmp_path: Path) -> None:
    found = load_beside(EXAMPLE, [own(tmp_path, fixed='fixed = ["fp32-total"]')])
    assert [issue.id for issue in found] == ["single-sum", "slab-stress"]


@pytest.mark.parametrize(
    ("name", "fixed", "message"),
    [
        ("fp32-total", "", "id 'fp32-total' is taken by the row at the shipped file:14"),
        ("own", 'fixed = ["fp32-totl"]', "did you mean 'fp32-total'?"),
    ],
)
def test_a_forks_file_is_refused_where_it_contradicts(
    tmp_path: Path, name: str, fixed: str, message: str
) -> None:
    with pytest.raises(ConformanceError) as refused:
        load_beside(EXAMPLE, [own(tmp_path, name, fixed)])
    assert message in str(refused.value)


def test_only_a_forks_own_file_says_fixed(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match="unknown table 'fixed'"):
        load(own(tmp_path, fixed='fixed = ["fp32-total"]'))
