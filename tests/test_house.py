"""The house rules, checked on the source: suites hold laws only, and imports stay lean."""

import ast
import re
from pathlib import Path

import pytest
from user import ROOT

from mace_conformance.promises import tolerances

SUITES = sorted((ROOT / "suites").rglob("test_*.py"))
PACKAGE = sorted((ROOT / "fixtures" / "mace_conformance").rglob("*.py"))
REFUSED = {"skip", "xfail", "allclose", "isinstance"}
PERMITTED = ("mace_conformance", "collections", "itertools", "numpy")


def laws(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def quantities(law):
    for decorator in law.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "quantity":
            for argument in decorator.args:
                yield argument.value


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites_hold_no_numbers_skips_or_tries(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            assert node.value in (0, 1), f"line {node.lineno}: {node.value}"
        assert not isinstance(node, ast.Try | ast.If), f"line {node.lineno}"
        if isinstance(node, ast.Name | ast.Attribute):
            assert getattr(node, "attr", getattr(node, "id", "")) not in REFUSED


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_law_says_what_it_says_in_a_sentence_and_names_its_quantities(path):
    for law in laws(path):
        assert ast.get_docstring(law), law.name
        assert list(quantities(law)), law.name
        assert {"measure", "timed"} & {argument.arg for argument in law.args.args}, law.name


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites_import_only_what_laws_need(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in PERMITTED for name in names)


def test_every_quantity_is_measured_by_one_law_and_every_law_measures_a_known_one():
    measured = [name for path in SUITES for law in laws(path) for name in quantities(law)]
    known = tolerances.load(ROOT / "tolerances.toml").quantities
    assert len(measured) == len(set(measured))
    assert set(measured) == set(known)


def test_only_the_plug_in_imports_pytest():
    importers = {
        path.name
        for path in PACKAGE
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(a.name == "pytest" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "pytest")
    }
    assert importers == {"plugin.py", "givens.py", "case_hooks.py"}


def test_whatever_foreign_code_raises_is_caught_by_that_name_alone():
    for path in PACKAGE:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"except (Base)?Exception\b", text), f"{path}: catch errors.FOREIGN"
        assert not re.search(r"except:", text), path


def test_limits_of_quantities_name_a_law_that_lives_in_their_suite():
    for path in SUITES:
        for law in laws(path):
            for name in quantities(law):
                assert name.split(".")[0] == Path(path).parent.name
