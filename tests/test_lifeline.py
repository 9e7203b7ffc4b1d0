"""What kills a command kills the processes that it has started."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mace_conformance.instruments.dynamics_journal import notes

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0

TIED = """
import multiprocessing, sys, time
from mace_conformance import lifeline
def forked():
    lifeline.follow()
    time.sleep(300)
child = "from mace_conformance import lifeline; import time; lifeline.hold(); time.sleep(300)"
for _ in range(2):
    lifeline.started([sys.executable, "-c", child], {"PYTHONPATH": "fixtures"})
    multiprocessing.get_context("fork").Process(target=forked).start()
print("started", flush=True)
lifeline.hold()
sys.stdin.read()
"""


@pytest.fixture
def killed():
    """A function that starts a command, waits until it is well under way, and kills it alone."""
    groups = []

    def kill(words, under_way):
        process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"PYTHONPATH": "fixtures", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        groups.append(process.pid)
        under_way(process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()  # and not until its pipes are closed, which others hold
        process.stdin.close()
        process.stdout.close()
        return process.pid

    yield kill
    for group in groups:
        if alive(group):
            os.killpg(group, signal.SIGKILL)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def comes_true(what):
    until = time.monotonic() + PATIENCE
    while not what() and time.monotonic() < until:
        time.sleep(0.1)
    return what()


def test_whatever_was_started_ends_with_a_parent_that_is_killed(killed):
    group = killed([sys.executable, "-c", TIED], lambda process: process.stdout.readline())
    assert comes_true(lambda: not alive(group))


def test_a_campaign_that_is_killed_leaves_no_workers(killed, tmp_path):
    words = ["--mace-target", "toy", "--model", "pair", "--structure", "rocksalt", "--apart",
             "--device", "cpu", "--into", str(tmp_path), "--controls", "", "--replicas", "4",
             "--subjects", "fp32-e3nn", "--ensembles", "nvt", "--seconds", "300",
             "--settle", "1", "--turn", "1"]  # fmt: skip

    def every_leg_has_begun():
        return {note["leg"] for note in notes(tmp_path)} == {"fp64-e3nn.nvt", "fp32-e3nn.nvt"}

    group = killed(
        [sys.executable, "-m", "mace_conformance", "dynamics", *words],
        lambda _: comes_true(every_leg_has_begun),
    )
    assert every_leg_has_begun()
    assert comes_true(lambda: not alive(group))


def loose(text):
    """Lines that start a process which nothing would end, but for git, which is soon over."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "subprocess.Popen",
            "subprocess.run",
        }:
            unpacked = [ast.unparse(word.value) for word in node.keywords if word.arg is None]
            tied = any(word.startswith(("lifeline.tied(", "tied(")) for word in unpacked)
            if not tied and not ast.unparse(node.args[0]).startswith("['git',"):
                yield node.lineno


def test_no_code_of_the_suite_starts_a_process_that_is_not_tied():
    assert list(loose("subprocess.run(['git', 'log'])\nsubprocess.run([sys.executable])")) == [2]
    files = sorted((ROOT / "fixtures").rglob("*.py"))
    found = {path.name: list(loose(path.read_text())) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_process_that_nobody_tied_lives_by_itself():
    code = "from mace_conformance import lifeline; lifeline.hold(); print('well')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PYTHONPATH": "fixtures"},
    )  # fmt: skip
    assert done.stdout == "well\n"
