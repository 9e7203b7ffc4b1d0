"""The GitHub Action: its shell steps, run here as a runner runs them."""

import os
import re
import subprocess
import sys

import pytest
from user import ROOT

TEXT = (ROOT / "action.yml").read_text()
SCRIPTS = re.findall(r"\$GITHUB_ACTION_PATH/(\.ci/\S+\.sh)", TEXT)


def run(script, folder, **given):
    """One step of the action, with the files that a runner gives it."""
    folder.mkdir(exist_ok=True)
    files = {name: str(folder / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    environment = os.environ | files | {
        "GITHUB_ACTION_PATH": str(ROOT), "MACE_PYTHON": sys.executable, "MACE_PLAN": "smoke",
        "MACE_REPORT": str(folder / "report"), "PYTHONPATH": str(folder / "site"),
    } | given  # fmt: skip
    return subprocess.run(
        ["bash", str(ROOT / script)],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What the first step installs, in a folder of its own as the runner has no network here."""
    folder = tmp_path_factory.mktemp("action")
    options = f"--no-deps --no-build-isolation --target {folder / 'site'}"
    done = run(".ci/install.sh", folder, MACE_PIP_OPTIONS=options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backend e3nn" in done.stdout
    return folder


def test_every_script_of_the_action_is_there_and_can_be_run():
    assert SCRIPTS == [".ci/install.sh", ".ci/judge.sh"]
    assert all(os.access(ROOT / script, os.X_OK) for script in SCRIPTS)


def valid(kind, path):
    """Whether a file keeps to the schema of GitHub's own that check-jsonschema carries."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema",
         f"vendor.github-{kind}", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0, done.stdout + done.stderr


def test_the_action_keeps_to_githubs_schema(tmp_path):
    assert valid("actions", ROOT / "action.yml")[0], valid("actions", ROOT / "action.yml")[1]
    odd = tmp_path / "action.yml"
    odd.write_text(TEXT.replace("using: composite", "using: compost"))
    assert not valid("actions", odd)[0]


def test_the_five_lines_of_the_walk_through_are_a_workflow_with_known_inputs(tmp_path):
    lines = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "forks.md").read_text(), re.DOTALL)[1]
    path = tmp_path / "workflow.yml"
    path.write_text("on: [pull_request]\njobs:\n  judge:\n    runs-on: x\n    steps:\n" + lines)
    found, text = valid("workflows", path)
    assert found, text
    given = set(re.findall(r"^ {10}(\w+):", lines, re.MULTILINE))
    assert given <= set(re.findall(r"^ {2}(\w+):$", TEXT, re.MULTILINE))
    assert len(lines.splitlines()) == 5


def test_every_variable_that_the_scripts_read_is_given():
    read = {name for script in SCRIPTS
            for name in re.findall(r"MACE_[A-Z]+", (ROOT / script).read_text())}  # fmt: skip
    given = set(re.findall(r"MACE_[A-Z]+(?=:)", TEXT))
    assert read - given == {"MACE_PIP"}


def test_a_pass_writes_the_summary_and_the_verdict(installed):
    options = "--mace-quantity equivariance.turns.* -q"
    done = run(".ci/judge.sh", installed, MACE_TARGET="toy", MACE_OPTIONS=options)
    assert done.returncode in (0, 10), done.stdout + done.stderr
    summary = (installed / "GITHUB_STEP_SUMMARY").read_text()
    assert summary.startswith("# toy 1: ")
    assert summary.count("# toy 1: ") == 1
    assert re.fullmatch(r"verdict=(PASS|UNJUDGED)\n", (installed / "GITHUB_OUTPUT").read_text())


@pytest.mark.parametrize(
    ("title", "word"),
    [
        ("# mace 0.3.16: KNOWN, cueq (naive fallback)", "KNOWN"),
        ("# mace 0.3.16 1234567890 dirty: FAIL", "FAIL"),
        ("# toy 1: incomplete, pass so far", "incomplete"),
    ],
)
def test_the_verdict_that_is_handed_on_is_one_word(title, word):
    script = re.search(r"sed -n '([^']*)'", (ROOT / ".ci" / "judge.sh").read_text())[1]
    done = subprocess.run(
        ["sed", "-n", script], input=f"{title}\n\ntext: more\n", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == f"{word}\n"


def test_a_failure_fails_the_check(installed, tmp_path):
    site = {"PYTHONPATH": str(installed / "site")}
    done = run(
        ".ci/judge.sh", tmp_path, MACE_TARGET=f"{ROOT}/tests/targets.py:zeros",
        MACE_OPTIONS="--mace-quantity equivariance.turns.forces", **site,
    )  # fmt: skip
    assert done.returncode == 1
    assert "# Zeros 1: " not in done.stdout
    assert "verdict=ERROR" in (tmp_path / "GITHUB_OUTPUT").read_text()


def test_bad_input_is_told_in_the_summary(installed, tmp_path):
    site = {"PYTHONPATH": str(installed / "site")}
    done = run(".ci/judge.sh", tmp_path, MACE_TARGET="tuy", **site)
    assert done.returncode == 4
    assert "exit code 4" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert "verdict=NONE" in (tmp_path / "GITHUB_OUTPUT").read_text()
