"""Options as the command line spells them, and the command that judges a case again."""

import shlex
from pathlib import Path

import pytest

from mace_conformance.options import Options

CASE = ("precision", "water8-residual-fp64-e3nn")


def test_a_plain_run_is_repeated_by_case_alone():
    assert Options(Path()).again(*CASE) == (
        "pytest suites/precision --mace-case water8-residual-fp64-e3nn"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"plan": "smoke", "seed": 3}, "--mace-plan smoke --mace-seed 3"),
        ({"inject": ("force-scale=1e-3", "blur")},
         "--mace-inject force-scale=1e-3 --mace-inject blur"),
        ({"model": ("my model.model",), "known_issues": ("ci/known.toml",)},
         "--mace-model 'my model.model' --mace-known-issues ci/known.toml"),
        ({"target": "mace:acme_mace", "name_map": ("a=b",)},
         "--mace-target mace:acme_mace --mace-name-map a=b"),
    ],
)  # fmt: skip
def test_what_chose_the_case_is_repeated_too(given, words):
    again = Options(Path(), **given, report="r", quantity=("precision.*",)).again(*CASE)
    assert again == f"pytest suites/precision {words} --mace-case water8-residual-fp64-e3nn"
    assert shlex.split(again)[-1] == CASE[1]
