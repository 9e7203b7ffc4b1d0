"""CTRF, badge, JSON Schema and the summary of a pull request."""

import gzip
import json

import jsonschema
import pytest
from runs import FAILING, KNOWN, PASSING, measured, write
from user import ROOT

from mace_conformance.__main__ import main
from mace_conformance.errors import ConformanceError
from mace_conformance.findings.files import WRITERS, append_summary, write_findings
from mace_conformance.findings.report import LONGEST
from mace_conformance.findings.schemas import json_schema, schema_text

KEPT = sorted((ROOT / "reports" / "gpu").glob("*/run.json"))


def validate(value, kind):
    jsonschema.Draft202012Validator(json_schema(kind)).validate(value)


@pytest.mark.parametrize("kind", ["run", "record"])
def test_the_published_schema_is_what_the_types_say(kind, capsys):
    text = (ROOT / "docs" / "schemas" / f"{kind}-1.schema.json").read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    assert text == schema_text(kind)
    assert main(["schema", kind]) == 0
    assert capsys.readouterr().out == text


def test_what_a_run_writes_keeps_to_the_schema(tmp_path):
    odd = measured(value=None, ratio=None, verdict="error", limit=None, line=None)
    folder = write(tmp_path / "run", [PASSING, FAILING, KNOWN, odd], problems=("p",))
    validate(json.loads((folder / "run.json").read_text()), "run")
    head, *lines = map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    validate(head, "run")
    for line in lines:
        validate(line, "record")
    assert [line["verdict"] for line in lines] == ["pass", "fail", "known", "error"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parent.name)
def test_kept_runs_keep_to_the_schema(path):
    validate(json.loads(path.read_text()), "run")
    with gzip.open(path.parent / "records.jsonl.gz") as file:
        _, *lines = file
    for line in lines:
        validate(json.loads(line), "record")
    assert lines


@pytest.mark.parametrize(
    ("field", "value"), [("verdict", "fine"), ("value", "1e-3"), ("id", None), ("samples", 1.5)]
)
def test_the_schema_refuses_what_is_no_record(tmp_path, field, value):
    folder = write(tmp_path / "run", [PASSING])
    record = json.loads((folder / "records.jsonl").read_text().splitlines()[1])
    with pytest.raises(jsonschema.ValidationError):
        validate(record | {field: value}, "record")


def test_every_report_is_written(tmp_path):
    folder = write(tmp_path / "run", [PASSING])
    write_findings(folder)
    assert {path.name for path in folder.iterdir()} == {*WRITERS, "records.jsonl", "run.json"}


def test_ctrf_counts_add_up_and_keep_the_verdict(tmp_path):
    folder = write(tmp_path / "run", [PASSING, FAILING, KNOWN], planned=5, problems=("stale",))
    write_findings(folder)
    results = json.loads((folder / "ctrf.json").read_text())["results"]
    summary = results["summary"]
    counts = {key: summary[key] for key in ("passed", "failed", "skipped", "pending", "other")}
    assert counts == {"passed": 1, "failed": 2, "skipped": 0, "pending": 2, "other": 1}
    assert summary["tests"] == sum(counts.values())
    assert summary["stop"] - summary["start"] == 120_000
    failed = next(test for test in results["tests"] if test["rawStatus"] == "fail")
    assert failed["message"] == FAILING.message.splitlines()[0]
    assert failed["trace"] == FAILING.message


@pytest.mark.parametrize(
    ("measurements", "finished", "message", "color"),
    [
        ([PASSING], True, "pass, 1 cases", "brightgreen"),
        ([PASSING, KNOWN], True, "known, 2 cases", "green"),
        ([PASSING, FAILING], True, "fail, 1 of 2", "red"),
        ([PASSING], False, "incomplete, 1 cases", "lightgrey"),
        ([], True, "vacuous, 0 cases", "red"),
    ],
)
def test_the_badge(tmp_path, measurements, finished, message, color):
    folder = write(tmp_path / "run", measurements, finished=finished)
    write_findings(folder)
    badge = json.loads((folder / "badge.json").read_text())
    assert badge["schemaVersion"] == 1
    assert (badge["message"], badge["color"]) == (message, color)


def test_the_summary_of_a_pull_request_is_appended_and_short(tmp_path):
    failing = [
        measured(f"precision.q{i}.forces", verdict="fail", message="é" * 5000) for i in range(900)
    ]
    folder = write(tmp_path / "run", failing)
    write_findings(folder)
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    append_summary(folder, {"GITHUB_STEP_SUMMARY": str(summary)})
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n# mace 0.3.16")
    assert len(text) < LONGEST + 100
    append_summary(folder, {})


def test_a_summary_that_cannot_be_written_is_an_error_in_a_sentence(tmp_path):
    folder = write(tmp_path / "run", [PASSING])
    write_findings(folder)
    with pytest.raises(ConformanceError, match=r"GITHUB_STEP_SUMMARY=.*cannot be written"):
        append_summary(folder, {"GITHUB_STEP_SUMMARY": str(tmp_path)})
