"""report.md: readable at a glance, whole for a killed run, short whatever happens."""

import time
from xml.etree import ElementTree

import pytest
from runs import FAILING, KNOWN, PASSING, measured, write

from mace_conformance.findings.junit import junit_text
from mace_conformance.findings.records import read_run
from mace_conformance.findings.report import LONGEST, report_text
from mace_conformance.findings.summary import summary_lines

SNAPSHOT = """\
# mace 0.3.16 1234567890 dirty: FAIL

- 1 fail
- known issue 'old': remove the row

|  |  |
| --- | --- |
| judged | 3 of 3 planned: 1 fail, 1 known, 1 pass |
| not run | 12 plan, 2 capability |
| target | mace 0.3.16 1234567890 dirty |
| plan | gate, seed 1; 120 s, peak 900 MiB |
| machine | cpu; A CPU |
| stack | torch 2.13.0 |
| switches | default_dtype float32 |
| suite | mace-conformance 0.1.0; tolerances.toml sha256 abababababababab |
| run | r-0007, started 2026-11-20T10:00:00+00:00, finished 2026-11-20T10:02:00+00:00 |
| command | `pytest suites/ --benchmark-only` |

## Provisional limits

- tolerances.toml:112, precision.forces: 1 cases, worst 0.00041, limit 3e-05

## Failing

```text
precision.forces = 4.1e-04, limit 3.0e-05 (13.7 x over)
  case   slab-off-fp32-cueq
```

## Known issues

- slab-stress: 1 measurements, worst 0.5 in precision.stress, water-off-fp32-cueq

<details><summary><b>Quantities</b></summary>

| quantity | policy | backend | cases | worst | limit | ratio | headroom |
| --- | --- | --- | --- | --- | --- | --- | --- |
| precision.forces | fp32 | cueq | 2 | 0.00041 | 3e-05 | 14 | 0.073 |
| precision.stress | fp32 | cueq | 1 | 0.5 | 4e-06 | 5e+03 | 0.0002 |

</details>

<details><summary><b>Coverage</b></summary>

| suite | fail | known | pass |
| --- | --- | --- | --- |
| precision | 1 | 1 | 1 |

| pairs | covered / reachable |
| --- | --- |
| law x model.feature | 9/10 |

</details>

## Problems

- known issue 'old': remove the row
"""


def written(folder):
    """The Markdown of the run in a folder."""
    return report_text(*read_run(folder))


def test_the_report_of_three_measurements(tmp_path):
    problems = ("known issue 'old': remove the row",)
    folder = write(tmp_path / "run", [PASSING, FAILING, KNOWN], problems=problems)
    assert written(folder) == SNAPSHOT


def test_a_killed_run_is_incomplete_in_title_and_reasons(tmp_path):
    folder = write(tmp_path / "run", [PASSING], finished=False)
    text = written(folder)
    assert text.startswith("# mace 0.3.16 1234567890 dirty: incomplete, pass so far\n")
    assert "the run did not come to its end: 1 of 3 planned cases measured" in text
    assert "finished never" in text


def test_a_run_that_measured_nothing_is_vacuous(tmp_path):
    text = written(write(tmp_path / "run", [], planned=0))
    assert text.splitlines()[0].endswith(": VACUOUS")
    assert "- nothing was measured" in text


def test_a_problem_fails_a_run_whose_measurements_pass(tmp_path):
    folder = write(tmp_path / "run", [PASSING], problems=("a law left the RNG changed",))
    assert written(folder).splitlines()[0].endswith(": FAIL")
    assert summary_lines(folder)[0] == ("verdict FAIL; 2 planned cases left no record")
    assert "problem a law left the RNG changed" in summary_lines(folder)


def test_a_problem_is_said_to_its_end(tmp_path):
    problem = f"known issue 'a' ({'x' * 90}:2): expired on 2026-06-30; fix the fault, or renew it"
    folder = write(tmp_path / "run", [PASSING], problems=(problem,))
    assert f"problem {problem}" in summary_lines(folder)


def test_a_table_stays_a_table_whatever_a_name_holds(tmp_path):
    odd = measured(structure="a|b\n## c", verdict="unjudged", limit=None, ratio=None)
    text = written(write(tmp_path / "run", [odd], command="x | y\n# z"))
    assert "x \\| y # z" in text
    assert "\n# z" not in text


def test_a_fence_in_a_message_does_not_end_its_block(tmp_path):
    failing = measured(verdict="fail", message="before\n```\nafter")
    text = written(write(tmp_path / "run", [failing]))
    assert text.count("```") == 2


@pytest.mark.parametrize("verdict", ["pass", "fail", "known", "unjudged"])
def test_a_hundred_thousand_records_fit_in_ten_seconds(tmp_path, verdict):
    message = "x" * 5000 if verdict == "fail" else ""
    records = [
        measured(
            f"precision.quantity{i % 700}.forces", f"structure{i}", verdict=verdict, line=i % 900,
            known_issue=f"issue{i % 500}", provisional=True,
            message=message if i % 100 == 0 else "",
        )
        for i in range(100_000)
    ]  # fmt: skip
    problems = tuple(f"problem {i} " + "y" * 2000 for i in range(500))
    folder = write(tmp_path / "run", records, planned=100_000, problems=problems)
    started = time.process_time()
    text = written(folder)
    assert time.process_time() - started < 10
    assert len(text) < LONGEST
    assert "## Problems" in text
    assert len(summary_lines(folder)) < 24


def test_at_most_25_failures_are_shown_and_the_rest_counted(tmp_path):
    records = [measured(structure=f"s{i}", verdict="fail", message=f"m{i}") for i in range(40)]
    text = written(write(tmp_path / "run", records))
    assert text.count("```text") == 25
    assert "and 15 more failing, in records.jsonl" in text


def test_junit_tells_errors_from_failures_and_survives_odd_characters(tmp_path):
    error = measured(structure="e", verdict="error", message="RuntimeError: \x00\x1b[31m <&>")
    folder = write(tmp_path / "run", [PASSING, FAILING, error], problems=("stale",))
    suite = ElementTree.fromstring(junit_text(*read_run(folder)))[0]  # noqa: S314
    counts = {name: suite.get(name) for name in ("tests", "errors", "failures", "skipped")}
    assert counts == {"tests": "4", "errors": "1", "failures": "2", "skipped": "0"}
    assert suite.find(".//error").text == "RuntimeError: ??[31m <&>"
