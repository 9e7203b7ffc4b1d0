"""`python -m mace_conformance`: every command helps, and refuses bad input in one paragraph."""

import importlib.util
import sys

import pytest
from runs import FAILING, KNOWN, PASSING, measured, write
from user import ROOT, shell

from mace_conformance import doctor
from mace_conformance.__main__ import main
from mace_conformance.findings.history import add_runs

COMMANDS = (
    [], ["doctor"], ["report"], ["tolerances"], ["tolerances", "lint"], ["tolerances", "propose"],
    ["known-issues"], ["known-issues", "propose"], ["detect"], ["goldens"], ["compare"],
    ["history"], ["history", "add"], ["history", "show"], ["schema"],
    ["mixing"], ["faults"], ["latency"], ["ab"], ["baseline"], ["claims"], ["train"], ["dynamics"],
)  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m mace_conformance" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "nowhere"], "error: nowhere is no run: it has no records.jsonl"),
        (["compare", "nowhere", "nowhere"], "error: nowhere is no run"),
        (["history", "add", "nowhere"], "error: nowhere is no run"),
        (["history", "show", "--store", "none.jsonl"], "--store none.jsonl: no such file"),
        (["known-issues", "propose", "nowhere"], "error: nowhere is no run"),
        (["tolerances", "propose", "nowhere"], "error: nowhere is no run"),
        (
            ["tolerances", "lint", "--mace-tolerances", "no.toml"],
            "--mace-tolerances no.toml: no su",
        ),
        (["tolerances", "lint", "--mace-target", "tuy"], "unknown --mace-target 'tuy'"),
        (["detect", "--mace-target", "toy", "--faults", "toy-org"], "did you mean 'toy-origin'?"),
        (["detect", "--summary", "nowhere"], "nowhere holds no detection.jsonl"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_code_2(words, message, capsys):
    assert main(words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


PAIRS = ["dynamics", "--mace-target", "toy", "--model", "pair", "--structure", "rocksalt",
         "--device", "cpu", "--subjects", "fp32-e3nn"]  # fmt: skip

# What each command says of a folder or file that is absent, empty or something else.
READERS = {
    "report": ["report", "{}"],
    "compare": ["compare", "{}", "{}"],
    "history add": ["history", "add", "{}", "--store", "kept.jsonl"],
    "history show": ["history", "show", "--store", "{}", "--into", "out"],
    "tolerances propose": ["tolerances", "propose", "{}"],
    "tolerances lint": ["tolerances", "lint", "--mace-tolerances", "{}"],
    "known-issues propose": ["known-issues", "propose", "{}"],
    "detect summary": ["detect", "--summary", "{}", "--into", "out"],
    "detect rates": ["detect", "--rates", "{}"],
    "baseline": ["baseline", "{}", "--into", "out"],
    "claims": ["claims", "{}"],
    "ab": ["ab", "--baseline", "{}"],
    "dynamics": ["dynamics", "--report", "--into", "{}"],
    "train": ["train", "--page", "--out", "{}"],
}
JOURNALS = ("records.jsonl", "run.json", "detection.jsonl", "latency.jsonl", "trainings.jsonl",
            "rows.json", "summary.json")  # fmt: skip


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Folders and files that hold no run, by name."""
    monkeypatch.chdir(tmp_path)
    for name in ("tolerances.toml", "known_issues.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "empty").mkdir()
    for folder, text in (("garbage", "\x00 garbage\n"), ("other", '{"schema": 99}\n')):
        (tmp_path / folder).mkdir()
        for name in JOURNALS:
            (tmp_path / folder / name).write_text(text)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "text.txt").write_text("hello\n")
    return tmp_path


def refused(capsys, words):
    """What a command says that refuses: one paragraph, the last line of stderr."""
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    heard = capsys.readouterr()
    assert code == 2, (words, heard)
    assert "Traceback" not in heard.err
    *usage, last = heard.err.splitlines()
    assert "error: " in last
    assert not usage or usage[0].startswith("usage: "), heard.err
    return last


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("place", ["nowhere", "empty", "garbage", "other", "text.txt", "binary"])
@pytest.mark.parametrize("words", READERS.values(), ids=READERS)
def test_what_holds_no_run_is_refused_by_its_name(capsys, words, place):
    told = refused(capsys, [word.format(place) for word in words])
    assert place in told


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    "words",
    [
        [], ["report"], ["compare", "a"], ["schema"], ["schema", "card"], ["history"],
        ["tolerances"],
        ["known-issues"], ["baseline"], ["claims"], ["ab"], ["dynamics"], ["doctor", "x"],
        ["faults", "x"], ["mixing", "x"], ["goldens", "x"], ["report", "a", "--hurry"],
        ["detect", "--jobs", "0"], ["detect", "--seeds", "many"], ["detect", "--scope", "all"],
        ["train", "--seeds", "-1"], ["latency", "--seconds", "soon"], ["ab", "--pairs", "x"],
        ["latency", "--seconds", "nan"], ["train", "--steps", "-1"], ["ab", "--allowed", "0"],
        ["dynamics", "--into", "o", "--seconds", "-3"],
        ["dynamics", "--into", "o", "--pressure", "inf"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_missing_and_malformed_arguments_are_refused(capsys, words):
    assert "_count" not in refused(capsys, words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detect", "--plan", "gaet"], "did you mean 'gate'?"),
        (["detect", "--mace-target", "tuy"], "unknown --mace-target 'tuy'"),
        (["detect", "--mace-target", "toy", "--out", "text.txt"], "text.txt: cannot be written"),
        (["detect", "--mace-tolerances", "no.toml"], "--mace-tolerances no.toml: no such file"),
        (["tolerances", "lint", "--mace-target", "no.py:target"], "no.py"),
        (["goldens", "--model", "nonesuch"], "unknown model 'nonesuch'"),
        (["latency", "--mace-device", "tpu"], "--mace-device tpu: known are"),
        (["latency", "--out", "text.txt"], "text.txt"),
        (["train", "--recipes", "fp31"], "unknown recipe 'fp31'"),
        (["train", "--device", "tpu"], "tpu: known are"),
        (["train", "--out", "text.txt"], "text.txt"),
        (["train", "--data", "a.xyz", "b.xyz"], "a.xyz: there is no such file"),
        (["dynamics", "--into", "o", "--device", "tpu"], "--device tpu: known are"),
        (["dynamics", "--into", "empty", "--report"], "empty holds no campaign"),
        ([*PAIRS, "--into", "text.txt"], "--into text.txt: cannot be written"),
        (
            ["detect", "--mace-target", "toy", "--rows", "--quantities", "signal.turns"],
            "unknown --quantities 'signal.turns'",
        ),
        (["dynamics", "--into", "o", "--device", "cpu", "--model", "no"], "unknown model 'no'"),
        (["ab", "--baseline", "{python}", "--cells", "water"], "--cells water: write structure:"),
        (["ab", "--baseline", "{python}", "--mace-device", "tpu"], "tpu: known are"),
        (["ab", "--baseline", "{python}", "--mace-target", "tuy"], "--mace-target tuy"),
        (["report", "run", "--into", "text.txt"], "text.txt: the reports cannot be written"),
        (["compare", "run", "run", "--into", "text.txt"], "--into text.txt: cannot be written"),
        (["history", "add", "run", "--store", "empty"], "--store empty: cannot be written"),
        (["history", "show", "--store", "kept.jsonl", "--into", "text.txt"], "text.txt"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_unknown_names_and_places_that_cannot_be_written_are_refused(odd, capsys, words, message):
    add_runs([write(odd / "run", [PASSING])], odd / "kept.jsonl")
    assert message in refused(capsys, [word.format(python=sys.executable) for word in words])


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["rapport"])
    assert ended.value.code == 2
    assert "invalid choice: 'rapport'" in capsys.readouterr().err


def test_report_rebuilds_a_killed_run(tmp_path, capsys):
    folder = write(tmp_path / "run", [PASSING], finished=False)
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [
        str(folder / "report.html"),
        str(folder / "report.md"),
    ]
    assert "incomplete" in (folder / "report.md").read_text()
    assert (folder / "junit.xml").is_file()


def test_reports_can_be_written_elsewhere(tmp_path, capsys):
    folder = write(tmp_path / "run", [PASSING])
    assert main(["report", str(folder), "--into", str(tmp_path / "else where")]) == 0
    assert (tmp_path / "else where" / "report.html").is_file()
    assert not (folder / "report.html").exists()
    (tmp_path / "file").write_text("")
    assert main(["report", str(folder), "--into", str(tmp_path / "file")]) == 2
    assert "the reports cannot be written (File exists); the records in" in capsys.readouterr().err


def test_propose_leaves_out_what_is_no_measurement_of_correct_code(tmp_path, capsys):
    name = "equivariance.turns.energy"
    found = [measured(name, structure=text) for text in ("water", "ethanol")]
    error = measured(name, verdict="error", value=None)
    folder = write(tmp_path / "run", [*found, error, KNOWN], finished=False)
    assert main(["tolerances", "propose", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "# run r-0007 did not come to its end" in text
    assert "# left out: 1 error" in text
    assert "# left out: 1 known" in text
    assert 'quantity = "equivariance.turns.energy"' in text
    assert "cases = 2" in text


def test_known_issues_are_proposed_for_failures_alone(tmp_path, capsys):
    error = measured(structure="e", verdict="error", value=None)
    folder = write(tmp_path / "run", [PASSING, FAILING, KNOWN, error])
    assert main(["known-issues", "propose", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.count("[[issue]]") == 1
    assert 'structure = ["slab"]' in text
    assert 'mace = "<=0.3.16"' in text
    assert "# 1 more have no value" in text


def test_lint_reads_every_plan_and_ends_by_the_errors(capsys):
    code = main(["tolerances", "lint", "--mace-target", "toy"])
    text = capsys.readouterr().out
    assert "errors, " in text.splitlines()[-1]
    assert code == (0 if text.splitlines()[-1].startswith("0 errors") else 1)


def test_the_doctor_names_what_can_be_judged(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "device cpu: class cpu" in text
    assert "backend e3nn: can be judged" in text
    assert "policy tf32: " in text
    assert "nothing is missing" in text or "missing " in text


def test_commands_run_without_torch(tmp_path):
    folder = write(tmp_path / "run", [PASSING])
    code = (
        "import sys; from mace_conformance.__main__ import main; "
        f"main(['doctor']); main(['report', {str(folder)!r}]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'mace', 'e3nn', 'scipy')))"
    )
    done = shell(folder, sys.executable, "-c", code)
    assert done.code == 0, done.text


def test_a_closed_pipe_is_no_traceback(tmp_path):
    command = f"{sys.executable} -m mace_conformance detect --help | head -n 1"
    done = shell(tmp_path, "bash", "-c", command)
    assert "Traceback" not in done.text


def test_the_doctor_names_known_faults_and_versions_at_fault(monkeypatch, tmp_path):
    installed = {"mace-torch": "0.3.16", "torch": "2.5.1", "e3nn": "0.5.0",
                 "cuequivariance": "0.13.0", "cuequivariance-torch": "0.12.0"}  # fmt: skip
    monkeypatch.setattr(doctor, "_version", lambda name: installed.get(name, ""))
    text = "\n".join(doctor.doctor_lines(tmp_path))
    assert "fault: e3nn 0.5.0 mace-torch is made for e3nn 0.4.4" in text
    assert "fault: torch 2.5.1 older than any torch" in text
    assert "fault: cuequivariance 0.13.0 and cuequivariance-torch 0.12.0 are not of one ver" in text
    assert "pytest-benchmark" not in text
    assert "slab-stress-by-search-cell: the stress of slabs" in text


def test_the_doctor_says_what_installs_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "PACKAGES", {"no_such_module": "no-such-package"})
    monkeypatch.chdir(tmp_path)
    lines = list(doctor.doctor_lines(tmp_path))
    assert "missing no-such-package: pip install no-such-package" in lines
    optional = [line for line in lines if line.startswith("for ")]
    wanted = importlib.util.find_spec("openequivariance") is None
    assert ("for oeq, hybrid: pip install openequivariance" in optional) == wanted
