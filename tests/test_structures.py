"""Structures: the catalogue is what its manifest says, bad files are refused, arrangements hold."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.subjects import arrangements, extxyz, structures
from mace_conformance.subjects.structures import Structure

if TYPE_CHECKING:
    from pathlib import Path

SMALL = [name for name, info in structures.catalogue().items() if "large" not in info.tags]
CUTOFFS = (4.0, 4.5, 5.0, 6.0)


def distances(structure: Structure, reach: float) -> np.ndarray:
    """All distances up to `reach` and a little more, images included: (pairs,), each pair twice."""
    full = arrangements.full_cell(structure)
    widths = 1.0 / np.linalg.norm(np.linalg.inv(full), axis=0)
    positions = arrangements.wrap(structure).positions
    spans = np.where(structure.pbc, np.ceil(reach / widths) + 1, 0).astype(int)
    images = np.array(list(product(*(range(-span, span + 1) for span in spans)))) @ full
    apart = positions[None, None] + images[:, None, None] - positions[None, :, None]
    lengths = np.linalg.norm(apart, axis=-1)
    lengths[len(images) // 2][np.diag_indices(len(structure))] = np.inf
    return np.sort(lengths[lengths < reach + 0.1])


def write(path: Path, *rows: str, header: str = 'pbc="F F F"') -> Path:
    head = f"Properties=species:S:1:pos:R:3 {header}"
    path.write_text("\n".join([str(len(rows)), head, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def crystal() -> Structure:
    return structures.load("triclinic-left")


# The catalogue


@pytest.mark.parametrize("name", structures.catalogue())
def test_a_structure_is_what_the_manifest_says(name):
    info, structure = structures.catalogue()[name], structures.load(name)
    assert structure.name == info.name == name
    assert structure.tags == info.tags
    assert structure.elements == info.elements
    assert len(structure) == info.atoms
    assert sum(structure.pbc) == info.periodic
    assert hashlib.sha256((structures.FOLDER / info.file).read_bytes()).hexdigest() == info.sha256


@pytest.mark.parametrize("name", SMALL)
def test_distances_are_sensible_and_none_sits_on_a_common_cutoff(name):
    found = distances(structures.load(name), max(CUTOFFS))
    assert (found > 0.85).all()
    for cutoff in CUTOFFS:
        assert not (np.abs(found - cutoff) < 1e-5).any()


@pytest.mark.parametrize("name", SMALL)
def test_ase_reads_the_same_bits(name):
    from ase.io import read

    structure = structures.load(name)
    atoms = read(structures.FOLDER / structures.catalogue()[name].file)
    assert structures.from_atoms(atoms, name).sha256 == structure.sha256


def test_making_the_catalogue_again_gives_the_same_bytes():
    from mace_conformance.data.structures.make import files

    made = files()
    stored = {path.name for path in structures.FOLDER.iterdir() if path.suffix != ".py"}
    assert set(made) == stored - {"__pycache__"}
    for name, text in made.items():
        assert (structures.FOLDER / name).read_bytes() == text.encode(), name


def test_no_structure_is_stored_twice():
    hashes = [structures.load(name).sha256 for name in structures.catalogue()]
    assert len(set(hashes)) == len(hashes)


def test_structures_reach_what_they_are_there_for():
    load = structures.load
    assert len(distances(load("dense"), 4.4)) / len(load("dense")) > 100
    assert np.linalg.det(load("triclinic-left").cell) < 0 < np.linalg.det(load("unwrapped").cell)
    outside = load("unwrapped").positions @ np.linalg.inv(load("unwrapped").cell)
    assert np.abs(outside).max() > 8
    lone = load("ethanol-lone").positions
    assert np.linalg.norm(lone[:-1] - lone[-1], axis=1).min() > 15
    apart = load("fragments").positions
    assert np.linalg.norm(apart[:9, None] - apart[None, 9:], axis=-1).min() > 18
    assert len(load("ten-elements").elements) == 10
    assert not load("wire").cell[1:].any()


def test_the_catalogue_needs_neither_ase_nor_torch():
    code = (
        "import sys; from mace_conformance.subjects import structures; structures.catalogue();"
        "structures.load('water512');"
        "print(*{'ase', 'torch', 'mace', 'e3nn', 'scipy'} & set(sys.modules))"
    )
    paths = [str(structures.FOLDER.parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(
        ConformanceError, match="unknown structure 'watr64': did you mean 'water64'"
    ):
        structures.load("watr64")


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    for name in ("manifest.toml", "methane.extxyz"):
        (tmp_path / name).write_bytes((structures.FOLDER / name).read_bytes())
    monkeypatch.setattr(structures, "FOLDER", tmp_path)
    structures.load.__wrapped__("methane")
    with (tmp_path / "methane.extxyz").open("a") as file:
        file.write("\n")
    with pytest.raises(ConformanceError, match=r"methane\.extxyz has sha256 .* manifest gives"):
        structures.load.__wrapped__("methane")
    with pytest.raises(ConformanceError, match=r"benzene\.extxyz is missing"):
        structures.load.__wrapped__("benzene")


# The type


def test_arrays_are_copies_and_read_only():
    positions = np.zeros((1, 3))
    structure = Structure("a", np.array([6]), positions, np.zeros((3, 3)), (False, False, False))
    positions[0, 0] = 1.0
    assert structure.positions[0, 0] == 0.0
    for array in (structure.numbers, structure.positions, structure.cell):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


@pytest.mark.parametrize(
    "change",
    [
        {"positions": 1e-15},
        {"cell": 1e-15},
        {"numbers": [1, *[6] * 14]},
        {"pbc": (True, True, False)},
        {"head": "other"},
    ],
    ids=str,
)
def test_every_input_changes_the_hash(crystal, change):
    for field in ("positions", "cell"):
        if field in change:
            change = {field: getattr(crystal, field) + change[field]}
    assert crystal.replace(**change).sha256 != crystal.sha256


def test_the_hash_ignores_names_and_the_sign_of_zero():
    plain = arrangements.dimer(6, 8, 1.2)
    other = plain.replace(
        name="other", tags=frozenset({"x"}), positions=plain.positions * [-1, 1, 1]
    )
    assert other.sha256 == plain.sha256
    assert plain.sha256 == "ecd357a3e3ddee824430c69782ba6b40e1c176253fa9ec8447e42343606f1687"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": []}, "it has no atoms"),
        ({"positions": np.zeros((2, 3))}, r"positions has shape \(2, 3\), it must be \(15, 3\)"),
        ({"numbers": [6] * 14 + [119]}, "atom 14 has atomic number 119, which is no element's"),
        ({"positions": np.full((15, 3), np.nan)}, r"atom 0 is at \(nan, nan, nan\)"),
        ({"cell": np.full((3, 3), np.inf)}, "cell .* not finite"),
        ({"cell": np.zeros((3, 3))}, "zero or linearly dependent"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_structure_is_refused(crystal, change, message):
    with pytest.raises(ConformanceError, match=f"structure 'triclinic-left': .*{message}"):
        crystal.replace(**change)


def test_volume_is_positive_and_zero_without_full_pbc(crystal):
    assert crystal.volume == pytest.approx(-np.linalg.det(crystal.cell))
    assert structures.load("slab").volume == 0.0


def test_ase_atoms_and_back(crystal):
    given = crystal.replace(head="second")
    assert structures.from_atoms(structures.to_atoms(given), "back").sha256 == given.sha256


def test_extxyz_keeps_every_bit():
    positions = np.random.default_rng(1).normal(size=(4, 3)) * 10.0 ** np.arange(-9, 3, 4)
    frame = extxyz.Frame(np.array([1, 6, 92, 118]), positions, np.zeros((3, 3)), (False,) * 3)
    back = extxyz.parse(extxyz.render(frame))
    assert np.array_equal(back.positions, positions)
    assert np.array_equal(back.numbers, frame.numbers)
    assert back.pbc == frame.pbc


def test_symbols_are_those_of_ase():
    from ase.data import chemical_symbols

    from mace_conformance.subjects.elements import SYMBOLS

    assert list(SYMBOLS) == chemical_symbols


# Files of the user's


def test_a_good_file_is_read(tmp_path, crystal):
    path = tmp_path / "mine.extxyz"
    frame = extxyz.Frame(crystal.numbers, crystal.positions, crystal.cell, crystal.pbc)
    path.write_text(extxyz.render(frame), encoding="utf-8")
    found = structures.read(path)
    assert found.name == "mine"
    assert found.sha256 == crystal.sha256


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["C 0 0 0", "H 0 nan 1"], "", r"atom 1 is at \(0.0, nan, 1.0\)"),
        (["C 0 0 0", "Xq 0 0 1"], "", "line 4: 'Xq' is not an element's symbol"),
        (["C 0 0 0", "X 0 0 1"], "", "atom 1 has atomic number 0"),
        (["C 0 0 0", "H 0 0 1", "O 0 0.01 1"], "", r"atoms 1 \(H\) and 2 \(O\) are 0.01 A apart"),
        (
            ["C 0 0 0.01", "H 2 2 2", "O 3 -3 8.99"],
            'Lattice="3 0 0 0 3 0 0 0 3" pbc="T T T"',
            r"atoms 0 \(C\) and 2 \(O\) are 0.02 A apart",
        ),
        (["C 0 0 0"], 'Lattice="3 0 0 0 3 0 3 3 0.01" pbc="T T T"', "its cell is 0.0[01]"),
        (["C 0 0 0"], 'Lattice="3 0 0 0 3 0 3 3 0" pbc="T T T"', "linearly dependent"),
        ([], "", "it has no atoms"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_file_is_refused_by_file_and_atom(tmp_path, rows, header, message):
    path = write(tmp_path / "bad.xyz", *rows, header=header)
    with pytest.raises(ConformanceError, match=rf"bad\.xyz: .*{message}"):
        structures.read(path)


def test_atoms_share_a_place_only_along_periodic_directions(tmp_path):
    rows = ("C 0 0 0", "O 0 0 3")
    lattice = 'Lattice="3 0 0 0 3 0 0 0 3" pbc="T T F"'
    assert len(structures.read(write(tmp_path / "slab.xyz", *rows, header=lattice))) == 2


def test_unreadable_missing_and_ambiguous_files_are_refused(tmp_path):
    empty, torn, many = (tmp_path / name for name in ("empty.xyz", "torn.xyz", "many.xyz"))
    empty.touch()
    torn.write_text("3\nProperties=species:S:1:pos:R:3\nC 0 0 0\n", encoding="utf-8")
    many.write_text("1\n\nC 0 0 0\n1\n\nO 0 0 0\n", encoding="utf-8")
    for path, message in (
        (empty, r"empty\.xyz: ASE cannot read it .*Empty file"),
        (torn, r"torn\.xyz: ASE cannot read it .*expected 3"),
        (many, r"many\.xyz: holds 2 frames, one is needed; name it as .*many\.xyz@INDEX"),
        (tmp_path / "none.xyz", r"none\.xyz: no such file"),
    ):
        with pytest.raises(ConformanceError, match=message):
            structures.read(path)
    assert structures.read(f"{many}@1").elements == (8,)


# Arrangements


def test_dimers_and_scans():
    one = arrangements.dimer(6, 17, 1.75, direction=(1, 2, 2))
    assert one.numbers.tolist() == [6, 17]
    assert np.linalg.norm(one.positions[1] - one.positions[0]) == pytest.approx(1.75, rel=1e-15)
    gaps = [s.positions[1, 2] for s in arrangements.scan(1, 1, [0.5, 1.0])]
    assert gaps == [0.5, 1.0]


def test_fragments_apart_keep_their_distance():
    ethanol, benzene = structures.load("ethanol"), structures.load("benzene")
    both = arrangements.fragments_apart(ethanol, benzene, 7.5)
    first, second = both.positions[:9], both.positions[9:]
    assert second[:, 0].min() - first[:, 0].max() == pytest.approx(7.5, rel=1e-14)
    assert np.linalg.norm(first[:, None] - second, axis=-1).min() >= 7.5
    assert both.numbers.tolist() == [*ethanol.numbers, *benzene.numbers]
    with pytest.raises(ConformanceError, match="must both be without pbc"):
        arrangements.fragments_apart(ethanol, structures.load("diamond"), 7.5)


def test_concatenation_takes_one_lattice(crystal):
    both = arrangements.concatenate(crystal, arrangements.dimer(6, 8, 1.2))
    assert len(both) == 17
    assert np.array_equal(both.cell, crystal.cell)
    with pytest.raises(ConformanceError, match="its lattice is not that of"):
        arrangements.concatenate(crystal, structures.load("diamond"))


def test_moves(crystal):
    moved = arrangements.translate(crystal, [1.0, 2.0, 3.0])
    assert np.array_equal(moved.positions, crystal.positions + np.array([1.0, 2.0, 3.0]))
    rows = np.arange(45.0).reshape(15, 3)
    assert np.array_equal(arrangements.displace(crystal, rows).positions, crystal.positions + rows)
    with pytest.raises(
        ConformanceError, match=r"displacements .* shape \(3,\), it must be \(15, 3\)"
    ):
        arrangements.displace(crystal, [1.0, 2.0, 3.0])


def test_order_is_from_old_to_new(crystal):
    order = np.roll(np.arange(15), 4)
    turned = arrangements.permute(crystal, order)
    assert np.array_equal(turned.positions[3], crystal.positions[order[3]])
    assert np.array_equal(turned.numbers, crystal.numbers[order])
    part = arrangements.select(crystal, [5, 2])
    assert np.array_equal(part.positions, crystal.positions[[5, 2]])
    with pytest.raises(ConformanceError, match="each of the 15 atoms exactly once"):
        arrangements.permute(crystal, [0] * 15)


@pytest.mark.parametrize("name", ["triclinic-left", "unwrapped", "diamond-skewed", "slab", "wire"])
def test_wrap_and_shifts_keep_the_crystal(name):
    structure = structures.load(name)
    shifts = np.random.default_rng(3).integers(-4, 5, (len(structure), 3)) * structure.pbc
    wrapped = arrangements.wrap(arrangements.shift_atoms(structure, shifts))
    fractional = wrapped.positions @ np.linalg.inv(arrangements.full_cell(structure))
    inside = fractional[:, list(structure.pbc)]
    assert inside.min() > -1e-12
    assert inside.max() < 1 + 1e-12
    assert np.allclose(distances(wrapped, 4.5), distances(structure, 4.5), rtol=0, atol=1e-12)


def test_shifts_along_vacuum_are_refused():
    with pytest.raises(ConformanceError, match="'slab' cannot shift along a direction without pbc"):
        arrangements.shift_atoms(structures.load("slab"), [0, 0, 1])
    with pytest.raises(ConformanceError, match="must be whole numbers"):
        arrangements.shift_atoms(structures.load("slab"), [0.5, 0, 0])


def test_a_supercell_copies_atoms_in_blocks(crystal):
    twice = arrangements.supercell(crystal, (2, 1, 3))
    assert len(twice) == 90
    assert twice.volume == pytest.approx(6 * crystal.volume)
    assert np.array_equal(twice.positions[:15], crystal.positions)
    assert np.allclose(twice.positions[15:30], crystal.positions + crystal.cell[2], atol=1e-14)
    expected = np.repeat(distances(crystal, 4.5), 6)
    assert np.allclose(distances(twice, 4.5), expected, rtol=0, atol=1e-12)
    for repeats, message in (((2, 0, 1), "three positive integers"), ((1, 2), "three positive")):
        with pytest.raises(ConformanceError, match=message):
            arrangements.supercell(crystal, repeats)
    with pytest.raises(ConformanceError, match="cannot repeat along a direction without pbc"):
        arrangements.supercell(structures.load("wire"), (1, 2, 1))


def test_another_cell_of_the_same_crystal(crystal):
    matrix = [[1, 0, 0], [2, 1, 0], [-1, 1, -1]]
    other = arrangements.change_cell(crystal, matrix)
    assert other.volume == pytest.approx(crystal.volume)
    assert np.linalg.det(other.cell) > 0 > np.linalg.det(crystal.cell)
    assert np.allclose(distances(other, 4.5), distances(crystal, 4.5), rtol=0, atol=1e-12)
    with pytest.raises(ConformanceError, match="determinant other than 1 and -1"):
        arrangements.change_cell(crystal, np.diag([2, 1, 1]))
    with pytest.raises(ConformanceError, match="mixes directions with and without pbc"):
        arrangements.change_cell(structures.load("slab"), [[1, 0, 1], [0, 1, 0], [0, 0, 1]])


def test_strain_deforms_atoms_and_cell_alike(crystal):
    gradient = np.eye(3) + np.array([[0.02, 0.05, 0], [0, -0.01, 0.03], [0, 0, 0.04]])
    strained = arrangements.strain(crystal, gradient)
    assert np.allclose(strained.positions[4], gradient @ crystal.positions[4], atol=1e-14)
    before = crystal.positions @ np.linalg.inv(crystal.cell)
    after = strained.positions @ np.linalg.inv(strained.cell)
    assert np.allclose(after, before, atol=1e-13)
    assert strained.volume == pytest.approx(crystal.volume * np.linalg.det(gradient))
