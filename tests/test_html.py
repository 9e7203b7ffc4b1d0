"""report.html: self-contained, small, whole for a killed run, and closed to what records hold."""

import json
import math
import re
import time
from html.parser import HTMLParser

import pytest
from runs import FAILING, KNOWN, PASSING, RUN, measured, write

from mace_conformance.findings.embedding import Column, embedded
from mace_conformance.findings.files import write_findings
from mace_conformance.findings.html import MOST_CASES, html_text
from mace_conformance.findings.records import read_run
from mace_conformance.findings.steps import timed_steps

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
COURSE = ((0.0, 0.0), (1.0, 1e-9), (12.0, None))
GROWN = "products.0, l 1 even, error grew 3e+04 x: layout"


class Page(HTMLParser):
    """Elements that are left open, addresses that are asked for, and the embedded table."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids, self.targets, self.tags = [], [], [], [], []
        self.feed(text)
        self.data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        link = given.get("src") or given.get("href") or ""
        self.targets += [link[1:]] if link.startswith("#") else []
        self.addresses += [link] if link and not link.startswith(("#", "data:,")) else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def column(self, key):
        place = [column["key"] for column in self.data["columns"]].index(key)
        texts, values = self.data["texts"], self.data["values"][place]
        number = self.data["columns"][place]["kind"] == "number"
        return [value if number or value is None else texts[value] for value in values]


def written(folder):
    """The page of the run in a folder."""
    return html_text(*read_run(folder))


@pytest.fixture
def page(tmp_path):
    timed = [
        measured(
            "latency.ratio.single", f"water{n}", atoms=n, ratio=0.5, interval=(0.4, None),
            timing={"median_ms": [n / 10, n / 5], "forces_error": 1e-6},
        )
        for n in (24, 192, 1536)
    ]  # fmt: skip
    blocks = (("embedding", 0.0), ("products.0", 1e-3), ("readouts.0", None))
    error = measured("precision.policy.forces", first=GROWN, blocks=blocks, verdict="fail")
    moved = measured("dynamics.nve.drift", trace=COURSE)
    folder = write(tmp_path / "run", [PASSING, FAILING, KNOWN, error, moved, *timed])
    return written(folder)


def test_elements_close_links_resolve_and_nothing_is_fetched(page):
    found = Page(page)
    assert found.open == []
    assert found.addresses == []
    assert set(found.targets) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_the_page_shows_what_a_reader_looks_for(page):
    for text in (
        "FAIL", "not run: plan", "torch 2.13.0", "13.7 x over", "Provisional limits", "slab-stress",
        "products.0", "Growth of the error by block",
        "Error of each block, off", "A step by size, eager",
        "A step of water192, 192 atoms: time beside error", "Pairs that the plan covers",
        "What fails", "total energy from its start, eV/atom", "off-fp32-cueq: inf after 12 fs",
    ):  # fmt: skip
        assert text in page, text


def test_failures_stand_in_the_order_of_their_ratios(tmp_path):
    found = [measured(structure=f"s{i}", verdict="fail", ratio=10.0**i) for i in (2, 9, 5)]
    text = written(write(tmp_path / "run", found))
    assert Page(text).column("ratio") == [1e9, 1e5, 1e2]


def test_what_passes_closest_to_its_limit_is_seen_first(tmp_path):
    near = measured(structure="near", ratio=0.98)
    text = written(write(tmp_path / "run", [PASSING, near]))
    assert "Closest to their limits" in text
    assert text.index("near-off-fp32-cueq") < text.index("How far from the limits")


def test_a_doubled_cell_and_the_case_itself_are_two_sizes():
    timing = {"median_ms": [30.0, 14.0], "forces_error": 1e-7}
    pair = measured("latency.scaling.step", atoms=8, timing=timing)
    assert [(step.atoms, step.ms) for step in timed_steps([pair, PASSING])] == [(16, 30), (8, 14)]


def test_sections_without_content_are_left_out(tmp_path):
    text = written(write(tmp_path / "run", [PASSING]))
    for name in ("failing", "known", "growth", "drift", "speed", "scaling", "provisional"):
        assert f'<section id="{name}"' not in text


def test_the_table_holds_every_case_and_its_command(page):
    found = Page(page)
    assert len(found.column("verdict")) == 8
    assert found.column("message")[found.column("structure").index("slab")] == FAILING.message
    again = found.data["columns"][-1]["pattern"]
    assert again == "pytest suites/{suite} --mace-plan gate --mace-seed 1 --mace-case {case}"


@pytest.mark.parametrize("field", ["where", "first", "message", "reference", "known_issue"])
def test_no_text_of_a_record_becomes_markup(tmp_path, field):
    verdict = "known" if field == "known_issue" else "fail"
    odd = measured(structure=HOSTILE, verdict=verdict, **{field: HOSTILE})
    folder = write(
        tmp_path / "run", [odd], command=HOSTILE, plan=HOSTILE, problems=(HOSTILE,),
        target={"name": HOSTILE}, hardware={"class": HOSTILE}, not_run={HOSTILE: 1},
    )  # fmt: skip
    found = Page(written(folder))
    assert found.tags.count("script") == 2
    assert "img" not in found.tags


def test_a_killed_run_is_incomplete(tmp_path):
    text = written(write(tmp_path / "run", [PASSING], finished=False))
    assert '<span class="verdict unjudged">incomplete, pass so far</span>' in text
    assert "the run was cut short" in text


def test_a_run_that_measured_nothing_has_a_page(tmp_path):
    assert "VACUOUS" in written(write(tmp_path / "run", [], planned=0))


def test_infinite_and_missing_numbers_have_a_place(tmp_path):
    odd = [
        measured("precision.a.x", verdict="fail", value=None, ratio=None),
        measured("precision.b.x", value=0.0, ratio=0.0),
        measured("precision.c.x", verdict="error", value=None, limit=None, ratio=None),
        measured("precision.d.x", verdict="unjudged", limit=None, ratio=None),
        measured("precision.e.x", bound="min", ratio=1e300),
    ]
    text = written(write(tmp_path / "run", odd))
    assert "nan" not in re.findall(r'[xy]="([^"]*)"', text)
    assert Page(text).column("ratio").count(None) == 2
    assert Page(text).column("ratio").count(math.inf) == 1


def test_a_plan_of_a_thousand_cases_stays_under_a_megabyte():
    records = [
        measured(f"precision.quantity_{i % 240}.observable", f"s-{i % 40}", where="atom 17, y")
        for i in range(1100)
    ]
    assert len(html_text(RUN, records).encode()) < 1_000_000


def test_a_hundred_thousand_records_fit_in_ten_seconds_and_three_megabytes(tmp_path):
    records = [
        measured(
            f"precision.quantity{i % 900}.forces",
            f"s{i}",
            verdict="fail" if i % 9 == 0 else "pass",
            message="x" * 3000 if i % 900 == 0 else "",
            ratio=i / 1e5,
            line=i % 900,
        )
        for i in range(100_000)
    ]
    folder = write(tmp_path / "run", records, planned=100_000)
    started = time.process_time()
    write_findings(folder)
    assert time.process_time() - started < 10
    text = (folder / "report.html").read_text()
    assert len(text) < 3_000_000
    found = Page(text)
    assert len(found.column("verdict")) == MOST_CASES
    assert set(found.column("verdict")) == {"fail"}
    assert found.data["left_out"] == 100_000 - MOST_CASES


def test_texts_are_kept_once_and_numbers_to_six_digits():
    columns = (Column("a", "a"), Column("n", "n", "number"))
    text = embedded(columns, [("x", 1 / 3), ("x", None), ("", 2.0)])
    table = json.loads(text)
    assert table["texts"] == ["x"]
    assert table["values"] == [[0, 0, None], [0.333333, None, 2.0]]
