"""A plan is a cover: a pure function of its input, small, and without a hole."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from mace_conformance.promises.catalogue import Catalogue, selected
from mace_conformance.promises.matrix import build_matrix
from mace_conformance.promises.terms import Plan, Quantity


@dataclass(frozen=True)
class Model:
    name: str
    features: frozenset
    elements: tuple = (1, 6, 8)
    heads: tuple = ("Default",)
    observables: tuple = ("energy", "forces")
    backends: tuple = ("e3nn",)
    cost: float = 1.0
    plan: str = "smoke"


@dataclass(frozen=True)
class Shape:
    name: str
    tags: frozenset
    elements: tuple = (1, 8)


MODELS = [
    Model("plain", frozenset({"l:0", "layers:2"}), backends=("e3nn", "cueq")),
    Model("wide", frozenset({"l:1", "layers:2"})),
    Model("deep", frozenset({"l:0", "layers:3"}), plan="gate"),
    Model("heads", frozenset({"l:1", "heads:2"}), heads=("a", "b")),
    Model("carbon", frozenset({"elements:1"}), elements=(6,)),
    Model("dipoles", frozenset({"dipole"}), observables=("dipole",)),
]
STRUCTURES = [
    Shape("water", frozenset({"periodic", "liquid"})),
    Shape("ethanol", frozenset({"molecule"}), (1, 6, 8)),
    Shape("slab", frozenset({"slab"})),
    Shape("diamond", frozenset({"periodic", "high-symmetry"}), (6,)),
]
CATALOGUE = Catalogue(MODELS, STRUCTURES, ["fp64", "fp32"], ["e3nn", "cueq"])


def make(name="equivariance.turns.forces", **changes):
    return Quantity(
        name=name, law="a law", unit="1", bound="max", observables=("forces",), **changes
    )


def plan(name="gate", **changes):
    return Plan(name=name, seconds=10, **changes)


def draw(*quantities, seed=0, at=None, catalogue=CATALOGUE):
    return build_matrix(quantities or [make()], at or plan(), catalogue, seed)


def test_the_same_input_gives_the_same_cases_and_another_seed_others():
    assert draw().cases == draw().cases
    assert any(draw(seed=seed).cases != draw().cases for seed in range(1, 5))


def test_every_law_meets_every_feature_tag_and_way_once():
    matrix = draw(make(), make("precision.policy.energy"))
    for kind in ("law x model.feature", "law x policy x backend", "law x structure.tag"):
        covered, reachable = matrix.coverage()[kind].split("/")
        assert covered == reachable


def test_a_cover_is_much_smaller_than_the_product():
    product = len(MODELS) * len(STRUCTURES) * 4
    assert len(draw()) < product / 5


def test_every_head_is_a_case_of_its_own():
    cases = draw().cases["equivariance.turns.forces"]
    assert {case.head for case in cases if case.model == "heads"} == {"a", "b"}
    assert all("heads@" in case.id for case in cases if case.model == "heads")


def test_a_structure_goes_only_to_models_that_know_its_elements():
    for seed in range(5):
        for case in draw(seed=seed).cases["equivariance.turns.forces"]:
            assert case.model != "carbon" or case.structure == "diamond"


def test_a_backend_goes_only_to_models_that_convert():
    for case in draw().cases["equivariance.turns.forces"]:
        assert case.backend == "e3nn" or case.model == "plain"


def test_a_missing_observable_or_ability_is_a_counted_capability():
    dipoles, carbon = 1, 3 * 2  # a model without forces; three structures under two policies
    assert draw().not_run["capability"] == dipoles + carbon
    needy = draw(make(abilities=("calculator",)))
    assert needy.not_run["capability"] == len(MODELS)
    assert len(needy) == 0


def test_a_smaller_plan_leaves_larger_models_out():
    models = {case.model for case in draw(at=plan("smoke")).cases["equivariance.turns.forces"]}
    assert "deep" not in models
    assert models


@pytest.mark.parametrize(("at", "cells"), [("gate", 8), ("smoke", 2)])
def test_caps_hold_and_smoke_takes_its_share(at, cells):
    many = [Model(f"m{i}", frozenset({f"feature:{i}"})) for i in range(20)]
    catalogue = Catalogue(many, STRUCTURES, ["fp64"], ["e3nn"])
    assert len(draw(make(cells={"gate": 8}), at=plan(at), catalogue=catalogue)) == cells


def test_case_ids_are_unique_within_a_quantity():
    matrix = draw()
    for cases in matrix.cases.values():
        ids = [case.id for case in cases]
        assert len(ids) == len(set(ids))


def test_shared_pairs_spread_over_laws():
    """Laws together bring features onto tags that no single law's cover needs."""
    names = [f"equivariance.law{i}.forces" for i in range(8)]
    alone = int(draw().coverage()["model.feature x structure.tag"].split("/")[0])
    together = draw(*map(make, names)).coverage()["model.feature x structure.tag"]
    assert int(together.split("/")[0]) > alone


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), True),
        (("water",), True),
        (("liquid",), True),
        (("liq*",), True),
        (("!liquid",), False),
        (("water", "!liquid"), False),
        (("slab",), False),
        (("!slab",), True),
    ],
)
def test_selection_by_name_tag_pattern_and_refusal(patterns, expected):
    assert selected(patterns, "water", ["liquid", "periodic"]) is expected


def test_drawing_cases_imports_neither_torch_nor_ase():
    code = (
        "import sys; import mace_conformance.session; "
        "bad = {'torch', 'ase', 'mace', 'e3nn', 'scipy'} & set(sys.modules); "
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
