"""`history`: a store that only grows, by series that may be compared."""

import pytest
from runs import FAILING, KNOWN, PASSING, measured, write
from test_html import Page

from mace_conformance.__main__ import main
from mace_conformance.errors import ConformanceError
from mace_conformance.findings.history import add_runs, by_series, read_store
from mace_conformance.findings.history_page import write_history


def kept(tmp_path, name, measurements, **fields):
    return write(tmp_path / name, measurements, id=name, **fields)


def test_runs_are_appended_once_and_the_file_only_grows(tmp_path, capsys):
    store = tmp_path / "store" / "history.jsonl"
    a = kept(tmp_path, "a", [PASSING, KNOWN])
    assert main(["history", "add", str(a), "--store", str(store)]) == 0
    before = store.read_bytes()
    b = kept(tmp_path, "b", [FAILING], started="2026-12-01T10:00:00+00:00")
    assert main(["history", "add", str(a), str(b), "--store", str(store)]) == 0
    assert capsys.readouterr().out.splitlines() == ["a: added", "a: already held", "b: added"]
    assert store.read_bytes().startswith(before)
    first, second = read_store(store)
    assert (first.run, first.verdict, second.verdict) == ("a", "known", "fail")
    assert first.worst == {"precision.forces fp32 cueq": 0.25}


def test_series_keep_apart_what_cannot_be_compared(tmp_path):
    store = tmp_path / "history.jsonl"
    others = [
        {"suite_version": "0.2.0"}, {"plan": "smoke"}, {"seed": 2}, {"not_run": {"narrowed": 3}},
        {"hardware": {"class": "hopper", "name": "H100", "torch": "2.13.0"}},
        {"hardware": {"class": "cpu", "name": "A CPU", "torch": "2.14.0"}}, {}, {},
    ]  # fmt: skip
    add_runs([kept(tmp_path, f"r{i}", [PASSING], **each) for i, each in enumerate(others)], store)
    assert sorted(map(len, by_series(read_store(store)).values())) == [1, 1, 1, 1, 1, 1, 2]


def test_a_torn_line_is_dropped_and_does_not_spoil_the_next(tmp_path):
    store = tmp_path / "history.jsonl"
    add_runs([kept(tmp_path, "a", [PASSING])], store)
    with store.open("ab") as file:
        file.write(b'{"run":"torn","started":"20')
    add_runs([kept(tmp_path, "b", [PASSING])], store)
    assert [entry.run for entry in read_store(store)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"{}\n", "history.jsonl:1: no entry"), (b"", "holds no run")],
)
def test_a_bad_store_is_refused_in_a_sentence(tmp_path, content, message):
    store = tmp_path / "history.jsonl"
    if content is not None:
        store.write_bytes(content)
    with pytest.raises(ConformanceError, match=message):
        write_history(store, tmp_path)


def test_the_page_shows_the_course_of_every_quantity(tmp_path):
    store = tmp_path / "history.jsonl"
    runs = [
        kept(tmp_path, f"r{i}", [measured(ratio=ratio)], started=f"2026-1{i}-01T00:00:00+00:00")
        for i, ratio in enumerate((0.1, 0.2, 0.4))
    ]
    add_runs(runs, store)
    text = write_history(store, tmp_path / "out").read_text()
    page = Page(text)
    assert page.open == page.addresses == []
    assert (page.column("first"), page.column("last"), page.column("factor")) == ([0.1], [0.4], [4])
    assert text.count("<use ") >= 3


def test_a_folder_used_again_is_another_run_and_a_planted_fault_is_none(tmp_path):
    store = tmp_path / "history.jsonl"
    for day in (1, 2):
        folder = write(tmp_path / f"{day}" / "report", [PASSING], id="report",
                       started=f"2026-11-0{day}T00:00:00+00:00")  # fmt: skip
        assert add_runs([folder], store) == ["report: added"]
    assert add_runs([folder], store) == ["report: already held"]
    planted = write(tmp_path / "p", [PASSING], command="pytest suites/ --mace-inject blur")
    with pytest.raises(ConformanceError, match="had a fault planted"):
        add_runs([planted], store)
