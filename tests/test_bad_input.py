"""What a user's own target, rows or structure may get wrong is told in one paragraph."""

import pytest
from user import ROOT, conformance

from mace_conformance.errors import ConformanceError
from mace_conformance.options import Options
from mace_conformance.session import Session

TARGET = """
from mace_conformance.subjects.toy import ToyTarget

class Target(ToyTarget):
    {body}

target = Target()
"""
URANIUM = '2\nProperties=species:S:1:pos:R:3 pbc="F F F"\nU 0 0 0\nH 0 0 2\n'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def models(self): raise OSError('no weights')",
         "its models() raises OSError: no weights ({path}:5); mend it there"),
        ("def models(self): return {{}}", "its models() gives none"),
        ("def describe(self): return {{'name': 'mine'}}", "its describe() gives no version"),
        ("policies = ('fp31',)", "unknown policy 'fp31': did you mean 'fp32'?"),
        ("executions = ('egaer',)", "unknown execution 'egaer': did you mean 'eager'?"),
    ],
)  # fmt: skip
def test_a_target_that_raises_or_lacks_something_is_refused_by_its_place(tmp_path, body, message):
    path = tmp_path / "mine.py"
    path.write_text(TARGET.format(body=body.format()))
    with pytest.raises(ConformanceError) as refused:
        Session(Options(ROOT, target=f"{path}:target", plan="smoke"))
    text = str(refused.value)
    assert text.startswith(f"--mace-target {path}:target: ")
    assert message.format(path=path) in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"require": ("cuqe",)}, "unknown --mace-require 'cuqe': did you mean 'cueq'?"),
        ({"tolerances": str(ROOT)}, "a folder; name the file in it"),
        ({"model": (str(ROOT),)}, f"--mace-model {ROOT}: a folder; name the file in it"),
        (
            {"case": ("rocksalt-pair-fp32-e3nn",), "policy": ("fp64",)},
            "unknown --mace-case beside --mace-policy fp64 'rocksalt-pair-fp32-e3nn'",
        ),
    ],
)
def test_options_that_name_nothing_are_refused(given, message):
    with pytest.raises(ConformanceError) as refused:
        Session(Options(ROOT, target="toy", plan="smoke", **given))
    assert message in str(refused.value)


def test_a_row_for_a_policy_that_does_not_exist_is_refused_with_its_line(tmp_path):
    text = (ROOT / "tolerances.toml").read_text()
    path = tmp_path / "tolerances.toml"
    path.write_text(text.replace('policy = ["fp32"]', 'policy = ["fp23"]', 1))
    line = path.read_text().split('policy = ["fp23"]')[0].rpartition("[[limit]]")[0].count("\n") + 1
    with pytest.raises(
        ConformanceError, match="unknown policy 'fp23': did you mean 'fp32'"
    ) as refused:
        Session(Options(ROOT, target="toy", plan="smoke", tolerances=str(path)))
    assert str(refused.value).startswith(f"{path}:{line}: [[limit]]: ")


def test_a_structure_of_elements_that_no_model_knows_is_refused(tmp_path):
    path = tmp_path / "hydride.xyz"
    path.write_text(URANIUM)
    with pytest.raises(ConformanceError, match="no model knows all of its elements, H, U; name"):
        Session(Options(ROOT, target="mace", plan="smoke", structure=(str(path),)))


def test_a_case_that_raises_says_where_and_how_to_see_it_again(tmp_path):
    words = ("--mace-target", "tests/targets.py:raising", "--mace-plan", "smoke")
    done = conformance(tmp_path / "run", *words, "--mace-quantity", "equivariance.turns.energy")
    assert done.code == 1
    assert "RuntimeError: the kernel is not compiled for this device" in done.text
    assert "  raised " in done.text
    assert "targets.py:75 in single" in done.text
    assert "  again  pytest suites/equivariance --mace-target tests/targets.py:raising" in done.text
    assert "Traceback" not in done.text
    assert "During handling" not in done.text


@pytest.mark.parametrize(
    "narrowed", [{"backend": ("oeq",)}, {"execution": ("cuda_graph",)}, {"policy": ("tf32",)}]
)
def test_what_is_known_and_cannot_run_here_is_not_called_unknown(narrowed):
    ((option, (name,)),) = narrowed.items()
    with pytest.raises(ConformanceError, match=rf"^--mace-{option} {name}: not available here"):
        Session(Options(ROOT, plan="smoke", device="cpu", **narrowed))


ISSUE = """
schema = 1

[[issue]]
id = "mine"
quantity = "equivariance.turn.*"
ceiling = 1.0
link = "https://example.org/7"
opened = 2026-11-01
expires = 2027-11-01
why = "a typing error excuses nothing"
"""


def test_an_issue_of_a_quantity_that_does_not_exist_is_refused_with_its_line(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(ISSUE)
    with pytest.raises(ConformanceError, match=rf"\({path}:4\): unknown quantity") as refused:
        Session(Options(ROOT, target="toy", plan="smoke", known_issues=(str(path),)))
    assert "equivariance.turns.energy" in str(refused.value)


def test_a_package_that_is_no_mace_is_refused():
    with pytest.raises(ConformanceError, match="the target 'os' is no mace"):
        Session(Options(ROOT, target="mace:os", plan="smoke"))


def test_a_name_map_from_a_name_that_stock_mace_has_not_is_refused():
    with pytest.raises(ConformanceError, match="did you mean 'linear_up'"):
        Session(Options(ROOT, target="mace", plan="smoke", name_map=("linear_upp=lift",)))
    Session(Options(ROOT, target="mace", plan="smoke", name_map=("0.linear_up=0.lift",)))
