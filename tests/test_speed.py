"""The commands about speed: journals, claims, lines through sizes, trees timed by turns."""

import sys

import msgspec
import numpy as np
import pytest
from user import ROOT, shell

from mace_conformance.bench.ab import Trial, concluded, interpreter
from mace_conformance.bench.cells import cells
from mace_conformance.bench.claims import evidence, findings
from mace_conformance.bench.journal import Header, Journal, Part, read_journal
from mace_conformance.bench.profiles import paper_name
from mace_conformance.bench.scaling import crossover, fitted
from mace_conformance.errors import ConformanceError
from mace_conformance.instruments.ratios import pooled

HEADER = Header(
    target={"name": "mace", "version": "0.3.16"},
    hardware={"class": "hopper", "name": "A GPU"},
    model="off24m",
    suite_version="0.1.0",
    started="2026-11-25T00:00:00+00:00",
)
CELL = ("water8", "pair", "fp32", "e3nn", "eager")


def group(ms):
    ways = {name: {"ms": value, "samples_ms": [value] * 8} for name, value in ms.items()}
    return {"atoms": 1000, "rounds": 8, "codes": [], "ways": ways}


def judged(claim, ms):
    part = Part(kind="group", name="diamond1000", seconds=1.0, data=group(ms))
    rows = findings(evidence(HEADER, [part]))
    return [row.verdict for row in rows if row.claim.startswith(claim)]


def test_a_journal_goes_on_where_it_was_cut(tmp_path):
    journal = Journal(tmp_path, HEADER)
    journal.add(Part(kind="group", name="a", seconds=1.0, data=1))
    journal.add(Part(kind="group", name="b", seconds=1.0, error="out of memory"))
    with journal.path.open("ab") as file:
        file.write(b'{"kind":"gro')
    again = Journal(tmp_path, HEADER)
    assert again.done == {("group", "a")}
    again.add(Part(kind="group", name="b", seconds=1.0, data=2))
    assert [part.data for part in read_journal(tmp_path)[1]] == [1, None, 2]


def test_a_journal_of_another_machine_or_schema_is_refused(tmp_path):
    Journal(tmp_path, HEADER)
    other = msgspec.structs.replace(HEADER, hardware={"class": "cpu"})
    with pytest.raises(ConformanceError, match="--out"):
        Journal(tmp_path, other)
    (tmp_path / "latency.jsonl").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(HEADER, schema=9)) + b"\n"
    )
    with pytest.raises(ConformanceError, match="schema 9"):
        read_journal(tmp_path)
    with pytest.raises(ConformanceError, match="holds no"):
        read_journal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("slow", "verdict"), [(30.0, "confirmed"), (20.0, "bounded"), (9.0, "refuted")]
)
def test_a_claim_is_confirmed_bounded_or_refuted(slow, verdict):
    ms = {"fp64/cueq/eager": 10.0, "fp64/e3nn/eager": slow}
    assert judged("cuEq about 3x faster (fp64)", ms) == [verdict]


def test_launch_bound_needs_a_device_that_idles():
    ms = {"fp32/cueq/eager": 40.0, "fp32/cueq/cuda_graph": 8.0}
    assert judged("eager cuEq is bound", ms) == ["confirmed"]
    assert judged("eager cuEq is bound", ms | {"fp32/cueq/eager": 9.0}) == ["refuted"]


def test_a_line_through_sizes_is_found_and_crossed():
    atoms = [24, 192, 384, 768, 1536, 3072]
    slow = fitted(atoms, [1.0 + 0.05 * n for n in atoms])
    fast = fitted(atoms, [31.0 + 0.01 * n for n in atoms])
    assert slow.each == pytest.approx(0.05)
    assert crossover(fast, slow) == pytest.approx(750)
    assert crossover(slow, fast) is None


def test_blocks_are_named_as_in_tables():
    assert paper_name("products.0.symmetric_contractions") == "SymmetricContraction[0]"
    assert paper_name("interactions.1.linear") == "Interaction[1].linear"
    assert paper_name("interactions.0.conv_tp_weights") == "RadialMLP[0]"


def generations(slower, count=4, spread=0.02, between=0.0):
    random = np.random.default_rng(1)
    shifts = between * random.standard_normal(count)
    return [np.log(slower) + shift + spread * random.standard_normal(60) for shift in shifts]


def test_a_slower_tree_is_found_and_equal_ones_are_not():
    verdict = concluded(CELL, pooled(generations(1.03), 0), 0.0, Trial()).verdict
    assert verdict == "slower"
    assert concluded(CELL, pooled(generations(1.0), 0), 0.0, Trial()).verdict != "slower"


def test_what_differs_between_starts_widens_the_interval():
    calm, rough = (pooled(generations(1.0, between=size), 0) for size in (0.0, 0.02))
    assert rough.high / rough.low > 1.5 * calm.high / calm.low - 0.5
    assert rough.high - rough.low > 1.5 * (calm.high - calm.low)


@pytest.mark.parametrize("apart", [0.1, np.inf, np.nan])
def test_wrong_forces_are_no_speed(apart):
    assert concluded(CELL, pooled(generations(0.5), 0), apart, Trial()).verdict == "wrong-forces"


def test_a_baseline_that_is_no_tree_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConformanceError, match="neither a folder with packages nor a Python"):
        interpreter(str(tmp_path / "nothing"))
    with pytest.raises(ConformanceError, match="structure:model:policy"):
        cells(["water8"], "toy", "cpu")


def test_two_trees_are_timed_by_turns(tmp_path):
    words = ("--mace-target", "toy", "--mace-device", "cpu", "--generations", "1", "--pairs", "6")
    done = shell(
        tmp_path,
        *(sys.executable, "-m", "mace_conformance", "ab", "--baseline", str(ROOT / "fixtures")),
        *(*words, "--allowed", "9", "--out", str(tmp_path / "found.json")),
    )
    assert done.code == 0, done.text
    (found,) = msgspec.json.decode((tmp_path / "found.json").read_bytes())
    assert found["pairs"] == 6
    assert found["forces_apart"] == 0
