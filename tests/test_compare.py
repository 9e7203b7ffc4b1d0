"""`compare A B`: what changed, what cannot be told, and what must not be compared."""

import gzip

import msgspec
import pytest
from runs import FAILING, PASSING, measured, write
from test_html import Page

from mace_conformance.__main__ import main
from mace_conformance.errors import ConformanceError
from mace_conformance.findings.compare import compare_runs, judged
from mace_conformance.findings.compare_pages import LONGEST, write_pages

WINDOW = (2.0, 16.0)


def at(ratio, verdict="pass", **fields):
    return measured(verdict=verdict, ratio=ratio, value=ratio and ratio * 4e-6, **fields)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (at(0.2), at(0.2), "same"),
        (at(0.2), at(0.39), "same"),
        (at(1e-9), at(0.06), "same"),
        (at(0.0), at(0.0), "same"),
        (at(None, "known"), at(None, "known"), "same"),
        (at(0.1), at(0.21), "ambiguous"),
        (at(0.45), at(0.1), "ambiguous"),
        (at(0.2), at(0.6), "worse"),
        (at(0.6), at(0.2), "better"),
        (at(0.9), at(1.1, "fail"), "worse"),
        (at(1.1, "fail"), at(0.9), "better"),
        (at(0.9), at(None, "error"), "worse"),
        (at(3.0, "fail"), at(30.0, "fail"), "worse"),
        (at(3.0, "known"), at(3.0, "fail"), "worse"),
        (at(3.0, "known"), at(0.1), "better"),
        (at(3.0, "known"), at(None, "known"), "worse"),
        (at(0.2), None, "vanished"),
        (None, at(0.2), "appeared"),
        (at(0.2, limit=None), at(0.3, limit=None), "ambiguous"),
        (at(0.2, limit=None), at(0.2, limit=None), "same"),
    ],
)
def test_what_became_of_a_case(before, after, kind):
    assert judged(before, after, WINDOW).kind == kind


def compare(tmp_path, before, after, *words, capsys=None, old=None, new=None):
    a = write(tmp_path / "a", before, **{"id": "a", **(old or {})})
    b = write(tmp_path / "b", after, **{"id": "b", **(new or {})})
    code = main(["compare", str(a), str(b), "--into", str(tmp_path / "out"), *words])
    return code, capsys.readouterr()


def test_a_run_compared_with_itself_is_the_same(tmp_path, capsys):
    code, said = compare(tmp_path, [PASSING, FAILING], [PASSING, FAILING], capsys=capsys)
    assert code == 0
    assert said.out.startswith("# SAME: 2 same\n")


def test_worse_and_vanished_fail_and_are_named(tmp_path, capsys):
    gone = measured("precision.stress")
    code, said = compare(tmp_path, [at(0.2), gone], [at(4.0, "fail")], capsys=capsys)
    assert code == 1
    assert "# WORSE: 1 worse, 1 vanished" in said.out
    assert "- precision.forces, water-off-fp32-cueq: 0.2 to 4 x limit (pass to fail)" in said.out
    assert "- precision.stress, water-off-fp32-cueq: 0.25 to nothing x limit" in said.out


def test_ambiguous_changes_fail_only_when_asked(tmp_path, capsys):
    code, said = compare(tmp_path, [at(0.1)], [at(0.3)], capsys=capsys)
    assert (code, said.out.split(":")[0]) == (0, "# AMBIGUOUS")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert main(["compare", a, b, "--strict", "--into", str(tmp_path / "out")]) == 1


def test_what_another_machine_does_not_plan_is_no_loss(tmp_path, capsys):
    hopper = {"hardware": {"class": "hopper", "name": "H100"}}
    code, said = compare(
        tmp_path, [PASSING, measured("precision.stress")], [PASSING], capsys=capsys, new=hopper
    )
    assert code == 0
    assert "| class | cpu | hopper |" in said.out
    assert "1 vanished" in said.out


def test_a_new_problem_of_the_whole_run_is_worse(tmp_path, capsys):
    code, said = compare(tmp_path, [PASSING], [PASSING], capsys=capsys, new={"problems": ("rot",)})
    assert code == 1
    assert "B has a new problem: rot" in said.out


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"plan": "smoke"}, "plan gate and smoke"),
        ({"seed": 2}, "seed 1 and 2"),
        ({"suite_version": "0.2.0"}, "suite version 0.1.0 and 0.2.0"),
        ({"tolerances_sha256": "cd" * 32}, "tolerances abababababababab and cdcdcdcdcdcdcdcd"),
        ({"not_run": {"narrowed": 9}}, "options left out 0 and 9 cases"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_reason(tmp_path, capsys, fields, reason):
    code, said = compare(tmp_path, [PASSING], [PASSING], capsys=capsys, new=fields)
    assert code == 2
    assert reason in said.err
    assert said.err.count("\n") == 1


def test_an_edit_of_tolerances_that_judges_alike_is_no_obstacle(tmp_path, capsys):
    sides = [{"tolerances_sha256": text * 32, "judging_sha256": "ef" * 32} for text in ("ab", "cd")]
    code, _ = compare(
        tmp_path, [PASSING], [PASSING], capsys=capsys, old=sides[0], new=sides[1]
    )  # fmt: skip
    assert code == 0


def test_an_incomplete_run_is_compared_only_in_what_both_hold(tmp_path):
    a = write(tmp_path / "a", [PASSING, FAILING], id="a")
    b = write(tmp_path / "b", [PASSING], id="b", finished=False)
    with pytest.raises(ConformanceError, match="b did not come to its end"):
        compare_runs(a, b)
    found = compare_runs(a, b, common=True)
    assert found.counts == {"same": 1}
    assert found.notes == ("1 cases that only one run holds are left out",)


def test_two_runs_without_a_common_case_are_refused(tmp_path):
    a = write(tmp_path / "a", [PASSING], id="a")
    b = write(tmp_path / "b", [measured("precision.stress")], id="b")
    with pytest.raises(ConformanceError, match="no case in common"):
        compare_runs(a, b, common=True)


def test_kept_runs_may_be_compressed(tmp_path):
    a = write(tmp_path / "a", [PASSING])
    records = a / "records.jsonl"
    (a / "records.jsonl.gz").write_bytes(gzip.compress(records.read_bytes()))
    records.unlink()
    assert compare_runs(a, a).counts == {"same": 1}


def test_both_pages_are_whole_and_short(tmp_path):
    many = [at(0.1 + i / 1e4, structure=f"s{i}" + "x" * 50) for i in range(6000)]
    worse = [msgspec.structs.replace(m, ratio=3.0, verdict="fail", message="m") for m in many]
    a, b = write(tmp_path / "a", many, id="a"), write(tmp_path / "b", worse, id="b")
    page = Page(write_pages(compare_runs(a, b), tmp_path / "out").read_text())
    assert page.open == page.addresses == []
    assert len(page.column("change")) + page.data["left_out"] == 6000
    text = (tmp_path / "out" / "compare.md").read_text()
    assert len(text) < LONGEST
    assert "more worse" in text
