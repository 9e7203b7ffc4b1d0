"""Detection: resumable, honest about what fails anyway, and its committed record up to date."""

import math

import msgspec
import pytest
from runs import PASSING, measured
from user import ROOT

from mace_conformance.__main__ import main
from mace_conformance.detection.plan import Setting, baseline_task, fault_task
from mace_conformance.detection.record import Caught, Journal, Probe, Stamp, read_journal
from mace_conformance.detection.rows_record import load_rows, row_detections
from mace_conformance.detection.run import Runner, failures
from mace_conformance.detection.seen import detections
from mace_conformance.detection.summary import (
    load_record,
    outdated,
    summarise,
    write_summary,
)
from mace_conformance.detection.thresholds import search
from mace_conformance.errors import ConformanceError
from mace_conformance.promises import tolerances
from mace_conformance.subjects.faults import FAULTS
from mace_conformance.subjects.faults.catalogue import Fault

RECORDS = sorted((ROOT / "reports" / "detection").glob("*/detection.json"))
RENEW = (
    "run `python -m mace_conformance detect --scope breaks --thresholds --faults NAME,... "
    "--out DIR`, then `python -m mace_conformance detect --summary DIR --into "
    "reports/detection/NAME`, and commit that"
)
# What only a GPU shows, until their records are committed: `.ci/gpu-faults`; compiled
# steps need the plan qualify there, and slower-by the trial of `ab`.
AWAITED = {
    "never-recorded", "host-reads", "accelerated-again", "convolution-unfused", "slower-by",
    "graph-broken", "sizes-static", "backward-lost", "compiled-forces-scaled", "convolution-naive",
}  # fmt: skip
STAMP = Stamp(
    suite_version="0.1.0",
    tolerances_sha256="ab" * 32,
    plan="gate",
    target={"name": "toy", "version": "1"},
    stack={"python": "3.11"},
)
TURNS = "equivariance.turns.forces"
GOLDEN = "goldens.forces"
JUDGING = {TURNS: "ab", GOLDEN: "cd"}
KNOWN = [TURNS, "equivariance.turns.energy", "precision.path.work", GOLDEN]


def planted(name="crooked", **fields):
    given = {"breaks": (TURNS,), "size": 1e-3, "graded": True} | fields
    return Fault(name, "Something is crooked.", "a:b", lambda function, _: function, **given)


def caught(quantity=TURNS, ratio=3.0, row="policy=fp64", **fields):
    return Caught(quantity=quantity, verdict="fail", ratio=ratio, row=row, **fields)


def test_every_fault_has_a_record_by_the_present_tolerances():
    judging = tolerances.load(ROOT / "tolerances.toml").judging
    current = set()
    for record in map(load_record, RECORDS):
        current |= {fault.name for fault in record.faults} - {*outdated(record, FAULTS, judging)}
    missing = {name for name, fault in FAULTS.items() if fault.target == "mace"} - current
    assert not AWAITED & current, "recorded: strike them out of AWAITED"
    missing -= AWAITED
    assert not missing, f"{', '.join(sorted(missing))}: {RENEW}"


def test_a_record_is_outdated_by_its_own_quantities_alone():
    faults = {"crooked": planted(), "golden": planted("golden", breaks=(GOLDEN,))}
    probes = [Probe(kind="fault", fault=name, size=1.0) for name in faults]
    record = summarise(STAMP, probes, faults, JUDGING)
    assert outdated(record, faults, JUDGING | {"precision.path.work": "new"}) == []
    assert outdated(record, faults, JUDGING | {GOLDEN: "new"}) == ["golden"]
    assert outdated(record, {"golden": faults["golden"]}, JUDGING) == ["crooked"]


@pytest.mark.parametrize(
    ("scope", "quantities"),
    [
        ("own", (TURNS,)),
        ("breaks", (TURNS, "goldens.*")),
        ("suites", ("equivariance.*", "goldens.*")),
        ("whole", ()),
    ],
)
def test_a_scope_narrows_a_run_to_what_may_notice(tmp_path, scope, quantities):
    setting = Setting(tmp_path, scope=scope)
    task = fault_task(planted(), setting, KNOWN)
    assert task.quantities == quantities
    assert baseline_task([task]).quantities == quantities
    words = task.command(setting, tmp_path)
    assert words[words.index("--mace-inject") + 1] == "crooked=0.001"
    assert words.count("--mace-quantity") == len(quantities)


def test_a_fault_that_breaks_no_quantity_of_the_file_is_refused(tmp_path):
    with pytest.raises(
        ConformanceError, match=r"'crooked' breaks 'equivariance\.turn\.forces': did"
    ):
        fault_task(planted(breaks=("equivariance.turn.forces",)), Setting(tmp_path), KNOWN)


def test_failures_are_grouped_by_quantity_and_row_with_the_worst_cases():
    failing = [
        measured(TURNS, structure=f"s{i}", verdict="fail", ratio=float(i), line=7) for i in range(5)
    ]
    error = measured(TURNS, structure="e", verdict="error", ratio=None, line=None)
    first, second = failures([PASSING, *failing, error], {7: "policy=fp64"})
    assert (first.row, first.ratio, first.verdict) == (None, None, "error")
    assert (second.row, second.ratio) == ("policy=fp64", 4.0)
    assert second.cases == ("s4-off-fp32-cueq", "s3-off-fp32-cueq", "s2-off-fp32-cueq")


def test_a_journal_resumes_and_forgets_errors_and_torn_lines(tmp_path):
    good = Probe(kind="fault", fault="a", size=1.0, caught=(caught(),))
    bad = Probe(kind="fault", fault="b", size=1.0, error="killed")
    with Journal(tmp_path, STAMP) as journal:
        journal.add(good)
        journal.add(bad)
    with (tmp_path / "detection.jsonl").open("ab") as file:
        file.write(b'{"kind": "fa')
    with Journal(tmp_path, STAMP) as again:
        assert again.done(good.key) == good
        assert again.done(bad.key) is None
        again.add(Probe(kind="clean", seed=3))
    assert [probe.key for probe in read_journal(tmp_path)[1]] == [good.key, "clean-seed3"]


def test_a_journal_of_other_tolerances_is_refused(tmp_path):
    Journal(tmp_path, STAMP).close()
    other = Stamp(**{**{n: getattr(STAMP, n) for n in STAMP.__struct_fields__}, "plan": "smoke"})
    with pytest.raises(ConformanceError, match="made with another plan; name another folder"):
        Journal(tmp_path, other)


@pytest.mark.parametrize("smallest", [3e-4, 1e-9, 2e-14])
def test_a_threshold_is_found_to_a_factor_of_two(smallest):
    def run(task):
        ratio = task.probe.size / smallest
        found = (caught(ratio=ratio),) if ratio > 1 else ()
        return Probe(kind=task.probe.kind, fault="crooked", size=task.probe.size, caught=found)

    whole = Probe(kind="fault", fault="crooked", size=1e-3, caught=(caught(),))
    size = search(planted(), whole, run)
    assert smallest <= size <= 1.7 * smallest


def test_a_fault_that_escapes_at_its_own_size_has_no_threshold():
    whole = Probe(kind="fault", fault="crooked", size=1e-3, caught=(caught(GOLDEN),))
    assert search(planted(), whole, None) is None


def test_the_record_counts_goldens_apart_and_names_what_missed():
    faults = {
        "crooked": planted(),
        "golden": planted("golden", breaks=(GOLDEN, TURNS)),
        "hidden": planted("hidden"),
    }
    probes = [
        Probe(kind="fault", fault="crooked", size=1e-3, caught=(caught(ratio=40.0),)),
        Probe(kind="threshold", fault="crooked", size=1e-4, caught=(caught(ratio=4.0),)),
        Probe(kind="threshold", fault="crooked", size=1e-5),
        Probe(kind="margin", fault="crooked", size=6e-5, caught=(caught(ratio=2.4),)),
        Probe(kind="fault", fault="golden", size=1.0, caught=(caught(GOLDEN, ratio=None),)),
        Probe(kind="fault", fault="hidden", size=1.0),
        Probe(kind="clean", seed=0),
    ]
    record = summarise(STAMP, probes, faults, JUDGING)
    crooked, golden, hidden = record.faults
    assert crooked.threshold.size == 1e-4
    assert (len(golden.laws), golden.missed_by) == (0, (TURNS,))
    assert hidden.missed_by == (TURNS,)
    assert detections(record, margin=2.0) == {
        (TURNS, "policy=fp64"): [("crooked", 6e-5, 2.4)],
        (GOLDEN, "policy=fp64"): [("golden", 1.0, math.inf)],
    }


def test_the_summary_is_read_back_as_it_was_written(tmp_path):
    present = tolerances.load(ROOT / "tolerances.toml")
    stamp = msgspec.structs.replace(STAMP, tolerances_sha256=present.judging_sha256)
    with Journal(tmp_path, stamp) as journal:
        journal.add(Probe(kind="fault", fault="crooked", size=1e-3))
    faults = {"crooked": planted()}
    lines = write_summary(tmp_path, faults, present, tmp_path / "out")
    written = load_record(tmp_path / "out" / "detection.json")
    assert [fault.name for fault in written.faults] == ["crooked"]
    assert "caught by laws alone: 0 of 1 faults" in lines
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| crooked | Something is crooked. | 0.001 | nothing | no |  |" in text
    assert "escaped the laws: crooked" in text


def test_the_rows_of_a_journal_become_a_record_of_rows(tmp_path):
    present = tolerances.load(ROOT / "tolerances.toml")
    stamp = msgspec.structs.replace(STAMP, tolerances_sha256=present.judging_sha256)
    far, near, endless = (caught("equivariance.turns.forces", r, "policy=fp64")
                          for r in (40.0, 3.0, None))  # fmt: skip
    with Journal(tmp_path, stamp) as journal:
        for size, found in ((1.0, endless), (1e-2, far), (1e-3, near)):
            journal.add(Probe(kind="row", fault="blur", size=size, caught=(found,)))
    lines = write_summary(tmp_path, {}, present, tmp_path / "out")
    assert lines[:2] == ["rows seen to fail: 1", "by 2 to 4 times their limit: 1"]
    record = load_rows(tmp_path / "out" / "rows.json")
    row = ("equivariance.turns.forces", "policy=fp64")
    assert [*row_detections(record, present.judging)] == [(row, ("blur", 1e-3, 3.0))]
    assert [*row_detections(record, present.judging | {row[0]: "changed"})] == []


def test_a_journal_judged_by_other_numbers_gives_no_record(tmp_path):
    Journal(tmp_path, STAMP).close()
    present = tolerances.load(ROOT / "tolerances.toml")
    with pytest.raises(ConformanceError, match=r"judged by other numbers than .* has now"):
        write_summary(tmp_path, {}, present, tmp_path / "out")


def test_what_fails_without_a_fault_counts_for_none(tmp_path, monkeypatch):
    setting = Setting(tmp_path, scope="breaks")
    journal = Journal(tmp_path, STAMP)
    runner = Runner(setting, journal, lambda _: None, {7: "policy=fp64", 8: "policy=fp32"})
    runner.alarms = frozenset({(TURNS, "policy=fp64")})
    failing = [measured(TURNS, verdict="fail", line=line) for line in (7, 8)]
    run = type("Made", (), {"problems": ()})
    monkeypatch.setattr("mace_conformance.detection.run.read_run", lambda _: (run, failing))
    monkeypatch.setattr(
        "mace_conformance.detection.run.subprocess.run",
        lambda *_, **__: type("Done", (), {"returncode": 1})(),
    )
    found = runner(fault_task(planted(), setting, KNOWN)).caught
    journal.close()
    assert [c.row for c in found] == ["policy=fp32"]


def test_a_fault_planted_in_the_toy_is_detected_once(tmp_path, capsys):
    words = [
        "detect", "--mace-target", "toy", "--plan", "smoke", "--scope", "breaks",
        "--faults", "toy-long-z", "--out", str(tmp_path),
    ]  # fmt: skip
    main(words)
    first = capsys.readouterr().out
    assert "no fault, seed 0: " in first
    assert "toy-long-z at 0.0001: " in first
    assert "NO RESULT" not in first
    main(words)
    assert "toy-long-z at" not in capsys.readouterr().out
