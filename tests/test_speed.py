"""The commands about speed: journals, claims, lines through sizes, trees timed by turns."""

import dataclasses
import sys

import msgspec
import numpy as np
import pytest
from user import ROOT, shell

from mace_conformance.bench import claims_of_records
from mace_conformance.bench.ab import Comparison, Trial, compare, concluded, interpreter, started
from mace_conformance.bench.ab_trial import tried
from mace_conformance.bench.cells import cells
from mace_conformance.bench.claims import findings, page
from mace_conformance.bench.evidence import evidence
from mace_conformance.bench.journal import Header, Journal, Part, read_journal
from mace_conformance.bench.plots import plots
from mace_conformance.bench.profiles import paper_name
from mace_conformance.bench.scaling import crossover, fitted
from mace_conformance.bench.scopes import cpu
from mace_conformance.bench.survey import Survey
from mace_conformance.bench.worker import Setup
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
    with pytest.raises(ConformanceError, match="neither a folder that holds packages nor"):
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


def test_workers_that_are_kept_answer_again():
    setup = Setup(target="toy", device="cpu", cells=(CELL,), seed=0)
    trial, tree = Trial(generations=2, pairs=4, allowed=9.0), str(ROOT / "fixtures")
    with started(tree, tree, [(setup, setup)] * 2) as alive:
        found = [next(compare(tree, tree, (setup, setup), trial, alive)) for _ in range(2)]
    assert [each.pairs for each in found] == [8, 8]
    assert all(worker.process.poll() is not None for pair in alive for worker in pair)


def surveyed():
    """A survey of two systems, three profiles, seven sizes, two variants, as a GPU gives it."""
    eager = {"fp64/e3nn/eager": 131.0, "fp32/e3nn/eager": 79.0, "fp32/cueq/eager": 47.0}
    graphs = {"fp32/cueq/cuda_graph": 9.3, "bf16-linear/cueq/cuda_graph": 9.0}
    data = group(eager | graphs)
    for error, way in enumerate(data["ways"].values()):
        way |= {"forces_error": 10.0 ** (error - 6), "launches": 700}
    parts = [Part(kind="group", name=name, seconds=1.0, data=data) for name in ("water64", "c")]
    for way, linear in (("fp32/cueq/eager", 3.0), ("bf16-linear/cueq/eager", 1.0)):
        rows = [["SymmetricContraction[0]", "forward", 2.0, 0.4, 9.0, 2**20],
                ["Interaction[1].linear", "forward", linear, 0.6, 9.0, 0]]  # fmt: skip
        parts.append(Part(kind="profile", name=f"diamond1000 {way}", seconds=1.0, data=rows))
    for way, fixed, each in (("fp32/e3nn/eager", 1.0, 0.05), ("fp32/cueq/eager", 31.0, 0.01)):
        for n in (24, 192, 384, 768, 1536, 3072):
            sizes = {"atoms": n, "ms": fixed + each * n, "peak": n * 2**20, "codes": []}
            parts.append(Part(kind="size", name=f"{way} waterx{n}", seconds=1.0, data=sizes))
        full = {"atoms": 9216, "limit": "out of memory"}
        parts.append(Part(kind="size", name=f"{way} water9216", seconds=1.0, data=full))
    for shape, ms in (("full size", 4.0), ("channels=64", 1.0)):
        row = {"atoms": 192, "ms": ms, "peak": None, "codes": []}
        name = f"fp32/cueq/cuda_graph {shape} water64"
        parts.append(Part(kind="shape", name=name, seconds=1.0, data=row))
    return [*parts, Part(kind="ceilings", name="before", seconds=1.0, data={"launch_us": 4.0})]


def said(rows, claim):
    return [row for row in rows if row.claim.startswith(claim)]


def test_sizes_give_lines_a_crossing_and_the_largest_system():
    rows = findings(evidence(HEADER, surveyed()))
    assert "b = 50 us an atom, 1 MiB an atom" in said(rows, "time = a + b")[0].measured
    (crossing,) = said(rows, "the size from which")
    assert crossing.measured == "750 atoms"
    assert said(rows, "the largest system")[0].measured == "3072 atoms fit; 9216 do not"


def test_variants_of_the_model_are_compared_with_the_full_size():
    row = said(findings(evidence(HEADER, surveyed())), "time against l_max")[1]
    assert row.measured == "1 ms, 0.25 times the full size's"
    assert row.conditions == "channels=64, water64, 192 atoms, fp32/cueq/cuda_graph"


def test_linear_layers_are_judged_alone_and_by_their_share():
    rows = findings(evidence(HEADER, surveyed()))
    (alone,) = said(rows, "16-bit linears about 4.3x, the linear blocks")
    assert (alone.measured, alone.verdict) == ("3x: 3 to 1 ms", "bounded")
    assert "60 % of a step: at most 2.50x" in said(rows, "16-bit linears speed")[0].measured
    assert said(rows, "SymmetricContraction[0]")[1].verdict == "confirmed"


def test_a_set_that_a_throttled_device_gave_confirms_nothing():
    ms = {"fp64/cueq/eager": 10.0, "fp64/e3nn/eager": 30.0}
    part = Part(kind="group", name="c", seconds=1.0, data=group(ms))
    part.data["codes"] = ["throttled"]
    (row,) = said(findings(evidence(HEADER, [part])), "cuEq about 3x faster")
    assert row.verdict == "invalid set"


RECORDS = ("reports/dynamics/water", ["reports/training/water-20-epochs"], "docs/layouts.md")


def under(folder):
    dynamics, training, layouts = RECORDS
    return folder / dynamics, [folder / each for each in training], folder / layouts


def test_claims_of_dynamics_training_and_layouts_are_read_from_their_records(tmp_path):
    rows = claims_of_records.findings(*under(ROOT))
    lacking = claims_of_records.findings(*under(tmp_path))
    assert {row.verdict for row in lacking} == {"not measured"}
    assert {row.claim for row in rows} == {row.claim for row in lacking}
    assert {row.verdict for row in rows} <= {"confirmed", "bounded", "refuted"}
    assert "\n".join(page([], (), rows)).count("\n| ") == len(rows) + 2


@pytest.mark.parametrize(
    ("difference", "error", "verdict"),
    [(1e-4, 1e-4, "confirmed"), (1e-4, 1e-2, "bounded"), (0.01, 1e-3, "refuted")],
)
def test_a_shift_is_judged_with_its_error(tmp_path, difference, error, verdict):
    row = {
        "leg": "fp32-cueq.npt", "observable": "density", "reference": "fp64-cueq",
        "unit": "g/cm^3", "value": 1 + difference, "difference": difference, "error": error,
        "resolved": 0.1, "picoseconds": 1.0, "replicas": 4,
    }  # fmt: skip
    record = {name: [] for name in ("legs", "problems", "shadow")}
    record |= {name: {} for name in ("plan", "stack", "series", "radial")}
    (tmp_path / "record.json").write_bytes(msgspec.json.encode(record | {"rows": [row]}))
    found = claims_of_records.findings(tmp_path, [tmp_path / "x"], tmp_path / "y")
    assert [each.verdict for each in found if each.claim.startswith("density")] == [verdict]


WHOLE = len(surveyed())


@pytest.mark.parametrize("kept", range(0, WHOLE, 3))
def test_an_incomplete_survey_is_a_page_with_gaps(tmp_path, kept):
    journal = Journal(tmp_path, HEADER)
    for part in surveyed()[:kept]:
        journal.add(part)
    journal.add(Part(kind="profile", name="x", seconds=1.0, error="out of\nmemory"))
    text = "\n".join(page([tmp_path]))
    assert "not measured" in text or kept > WHOLE / 2
    assert "Lacks profile x: out of memory." in text


def broken(data):
    """The same with every number, list and mapping inside replaced in turn."""
    for key in data if isinstance(data, dict) else range(len(data)):
        for odd in (None, 0, "", [], {}, [[]]):
            changed = dict(data) if isinstance(data, dict) else [*data]
            changed[key] = odd
            yield changed


@pytest.mark.parametrize("number", [0, 2, 4])
def test_parts_with_odd_content_are_rows_not_crashes(number):
    parts = surveyed()
    for data in broken(parts[number].data):
        changed = [*parts[:number], msgspec.structs.replace(parts[number], data=data)]
        assert len(findings(evidence(HEADER, [*changed, *parts[number + 1 :]]))) > 10


def test_pictures_are_drawn_small_and_the_same_each_time(tmp_path):
    found = evidence(HEADER, surveyed())
    first, second = (plots([found], tmp_path / name) for name in "ab")
    assert [path.name for path in first] == [
        "latency-against-size.svg", "speed-against-error.svg", "block-shares.svg",
    ]  # fmt: skip
    assert all(path.stat().st_size < 100_000 for path in first)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert plots([evidence(HEADER, [])], tmp_path / "none") == []


def test_the_page_shows_its_pictures(tmp_path):
    journal = Journal(tmp_path / "survey", HEADER)
    for part in surveyed():
        journal.add(part)
    words = ("claims", str(tmp_path / "survey"), "--plots", str(tmp_path / "claims"))
    done = shell(tmp_path, sys.executable, "-m", "mace_conformance", *words)
    assert done.code == 0, done.text
    assert "(claims/block-shares.svg)" in done.text
    assert (tmp_path / "claims" / "block-shares.svg").is_file()


def test_a_trial_says_what_was_missed_and_goes_on_where_it_was_cut(tmp_path, monkeypatch):
    asked = []

    def compare(_, __, setups, how, alive):
        assert not alive
        slow = setups[0].inject[0] if setups[0].inject else ""
        asked.append((slow, how.pairs, how.seed))
        verdict = "slower" if slow == "slower-by=0.03" else "pass"
        yield Comparison(cell="c", ratio=1.0, low=1.0, high=1.0, pairs=how.pairs,
                         forces_apart=0.0, verdict=verdict)  # fmt: skip

    monkeypatch.setattr("mace_conformance.bench.ab_trial.compare", compare)
    setup = Setup(target="mace", device="cpu", cells=(CELL,), seed=0)
    first = [one.right for one in tried("tree", setup, Trial(pairs=10), 2, tmp_path)]
    assert first == [True, False, True, True]
    assert asked == [("slower-by=0.03", 10, 0), ("slower-by=0.02", 20, 0), ("", 10, 0), ("", 10, 1)]
    again = [one.right for one in tried("tree", setup, Trial(pairs=10), 3, tmp_path)]
    assert again == [*first, True]
    assert len(asked) == 5
    (tmp_path / "ab-trial.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ConformanceError, match="no journal of a trial"):
        list(tried("tree", setup, Trial(), 1, tmp_path))


class Full:
    """Stands for a target on a device whose memory is taken up by a few atoms."""

    def potential(self, *_):
        return self

    def prepared(self, structure):
        raise RuntimeError(f"CUDA out of memory. Tried to allocate {len(structure)} GiB")


def test_the_largest_system_is_recorded_and_other_failures_are_kept(tmp_path):
    scope = dataclasses.replace(cpu("cpu", ()), repeats=[("water8", (1, 1, 2))])
    survey = Survey(scope, Journal(tmp_path, HEADER), Full(), 60.0, ("size", "profile"))
    assert survey.run() == 1
    profile, size = read_journal(tmp_path)[1]
    assert size.data == {"atoms": 48, "limit": "out of memory"}
    assert "out of memory" in profile.error
