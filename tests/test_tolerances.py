"""tolerances.toml on trial: what the loader reads and refuses, and which row wins."""

from __future__ import annotations

import hashlib
import time
import tomllib
from functools import partial
from pathlib import Path

import pytest
from promise_example import DATA, EXAMPLE, FORCES, MEASURED, ROW, Cell, Edit, load_edited

from mace_conformance.errors import ConformanceError
from mace_conformance.promises.resolve import MissingLimit, TiedLimits, resolve
from mace_conformance.promises.tolerances import Tolerances, headroom, load

REFUSED = tomllib.loads((DATA / "tolerances_refused.toml").read_text(encoding="utf-8"))["refused"]


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Load an edited example from the working directory, so that messages name it shortly."""
    monkeypatch.chdir(tmp_path)
    return partial(load_edited, tmp_path)


def limit_line(tolerances: Tolerances, **names: str) -> int | None:
    cell = Cell(**names)
    return resolve(tolerances, **cell.__dict__).line


def test_the_example_loads_with_lines_and_checksum() -> None:
    tolerances = load(EXAMPLE)
    assert tolerances.sha256 == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert tolerances.window.headroom == (2.0, 16.0)
    assert tolerances.hardware["hopper"].capability == "9.0"
    assert tolerances.quantities[FORCES].suite == "equivariance"
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    rows = [number for number, line in enumerate(lines, 1) if line.startswith("[[limit]]")]
    rows.remove(rows[1])  # the one inside a multi-line string
    assert [row.line for row in tolerances.limits] == rows
    for quantity in tolerances.quantities.values():
        assert quantity.line
        assert lines[quantity.line - 1] == f'[quantity."{quantity.name}"]'
    for plan in tolerances.plans.values():
        assert plan.line
        assert lines[plan.line - 1] == f"[plan.{plan.name}]"


def test_a_plan_inherits_what_it_does_not_say() -> None:
    plans = load(EXAMPLE).plans
    assert plans["gate"].models == ("*",)
    assert plans["qualify"].rotations == plans["gate"].rotations == 8
    assert plans["search"].cover == plans["gate"].cover
    assert not plans["search"].derandomize


def test_types_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load(EXAMPLE).limits[0].max = 1.0  # type: ignore[misc]


def test_headroom_is_computed() -> None:
    room = [headroom(row) for row in load(EXAMPLE).limits]
    assert room == pytest.approx([2.0e-3 / 3.1e-4, 2.0e-6 / 3.1e-7, 4.0, 5.0, None])


def test_headroom_of_a_lower_bound(edited: Edit) -> None:
    measured = MEASURED.replace("3.1e-7", "5.0")
    row = edited("min = 2.0\n", f"min = 2.0\n{measured}\n").limits[-1]
    assert headroom(row) == 2.5


def test_headroom_over_a_measured_zero_is_infinite(edited: Edit) -> None:
    assert headroom(edited("value = 3.1e-7", "value = 0").limits[1]) == float("inf")


def test_rows_written_inline_have_no_line(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    rest = 'quantity = "equivariance.forces", max = 1e-6, source = "derived", provisional = true'
    path = tmp_path / "inline.toml"
    rows = f'limit = [{{ policy = ["fp64"], {rest} }}, {{ {rest} }}]\n'
    path.write_text(rows + text[: text.index("[[limit]]")], encoding="utf-8")
    assert [limit.line for limit in load(path).limits] == [None, None]


@pytest.mark.parametrize("row", REFUSED, ids=[row["case"] for row in REFUSED])
def test_bad_input_is_refused(edited: Edit, row: dict[str, str]) -> None:
    with pytest.raises(ConformanceError) as refused:
        edited(row["old"], row["new"])
    message = str(refused.value)
    if row["message"].endswith("known are "):
        message = message[: message.index("known are ")] + "known are "
    assert message == row["message"]


def test_a_duplicate_row_is_refused(edited: Edit) -> None:
    with pytest.raises(ConformanceError) as refused:
        edited(more=ROW.replace('["e3nn", "cueq"]', '["cueq", "e3nn"]'))
    assert str(refused.value) == (
        "tolerances.toml:111: [[limit]]: the same quantity and selectors as the row at "
        "tolerances.toml:72; remove one of them"
    )


def test_limits_written_as_one_table_are_refused(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "tolerances.toml"
    path.write_text(text[: text.index("[[limit]]")] + ROW.replace("[[limit]]", "[limit]"))
    with pytest.raises(ConformanceError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}:61: [limit]: limits are rows; write [[limit]], with two brackets"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError) as refused:
        load(tmp_path / "none.toml")
    assert str(refused.value) == (
        f"{tmp_path / 'none.toml'}: cannot be read (No such file or directory); "
        "name a readable TOML file"
    )


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tolerances.toml"
    path.write_bytes(b"schema = 1\n# \xe5ngstr\xf6m\n")
    with pytest.raises(ConformanceError) as refused:
        load(path)
    assert str(refused.value) == f"{path}:2: not UTF-8; save it as UTF-8"


# Resolving


def test_the_most_specific_row_wins() -> None:
    tolerances = load(EXAMPLE)
    assert limit_line(tolerances, backend="oeq") == 60
    assert limit_line(tolerances) == 72
    assert limit_line(tolerances, structure="slab_al") == 82


def test_one_exact_name_beats_many_patterns(edited: Edit) -> None:
    patterns = ROW.replace('["fp32"]', '["fp3*"]').replace(
        'backend = ["e3nn", "cueq"]', 'backend = ["*n*"]\nmodel = ["*s*"]\nstructure = ["w*"]'
    )
    exact = ROW.replace('["fp32"]', '["bf16", "fp32"]').replace(
        'backend = ["e3nn", "cueq"]', 'structure = ["*"]\nexecution = ["*", "e*"]'
    )
    tolerances = edited('policy = ["fp32", "tf32"]', 'policy = ["tf32"]', patterns + exact)
    assert limit_line(tolerances, backend="oen") == tolerances.limits[-1].line


def test_an_exact_name_beside_a_star_is_exact(edited: Edit) -> None:
    tolerances = edited(more=ROW.replace('["e3nn", "cueq"]', '["*", "oeq"]'))
    assert limit_line(tolerances, backend="oeq") == 111


def test_the_device_is_that_of_the_hardware_class(edited: Edit) -> None:
    tolerances = edited(more=ROW.replace("max =", 'device = ["cuda"]\nmax ='))
    assert limit_line(tolerances, hardware="hopper") == 111
    assert limit_line(tolerances, hardware="cpu") == 72
    assert limit_line(tolerances, hardware="unknown") == 72


def test_a_tie_is_an_error_that_says_what_separates(edited: Edit) -> None:
    tolerances = edited(more=ROW.replace('["e3nn", "cueq"]', '["e3nn"]'))
    with pytest.raises(TiedLimits) as tied:
        limit_line(tolerances)
    assert tied.value.lines == (72, 111)
    assert str(tied.value) == (
        "tolerances.toml:72 and tolerances.toml:111 fit equivariance.forces for policy fp32, "
        "backend e3nn, hardware cpu, model small_l1, structure water64, execution eager, device "
        'cpu equally well (2 exact selectors, 0 patterns each); add hardware = ["cpu"] to the '
        "one that should win"
    )


def test_a_tie_of_rows_that_name_everything(edited: Edit) -> None:
    full = ROW.replace(
        "max =",
        'hardware = ["cpu"]\nmodel = ["small_l1"]\nstructure = ["water64"]\n'
        'execution = ["eager"]\ndevice = ["cpu"]\nmax =',
    )
    tolerances = edited(more=full + full.replace('["fp32"]', '["fp32", "tf32"]'))
    with pytest.raises(TiedLimits) as tied:
        limit_line(tolerances)
    assert str(tied.value).endswith(
        "equally well (7 exact selectors, 0 patterns each); "
        "remove fp32 from the policy of the one that should not fit"
    )


def test_a_case_without_a_row_says_which_to_add() -> None:
    tolerances = load(EXAMPLE)
    with pytest.raises(MissingLimit) as missing:
        limit_line(tolerances, policy="fp64")
    place = tolerances.place(None)
    assert str(missing.value) == (
        f"{place}: equivariance.forces has no row for policy fp64, backend e3nn, hardware cpu, "
        "model small_l1, structure water64, execution eager, device cpu; add a [[limit]] with "
        'quantity = "equivariance.forces", policy = ["fp64"], backend = ["e3nn"], max = ..., '
        f"provisional = true; or widen the nearest row, {place}:60, which has "
        "policy = [fp32, tf32]"
    )


def test_resolving_an_unknown_quantity() -> None:
    with pytest.raises(ConformanceError, match=r"^unknown quantity 'equivariance\.force': did you"):
        limit_line(load(EXAMPLE), quantity="equivariance.force")


def test_resolving_is_fast_enough_for_collection() -> None:
    tolerances = load(EXAMPLE)
    start = time.perf_counter()
    for index in range(2000):
        limit_line(tolerances, structure=f"slab{index}")
    assert time.perf_counter() - start < 1.0
