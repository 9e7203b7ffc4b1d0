"""Budgets in milliseconds: for the device and stack that they were made on, and for no other."""

import sys

import msgspec
import pytest
from runs import measured, write
from user import ROOT, conformance, shell

from mace_conformance.bench.baselining import baseline
from mace_conformance.bench.journal import Header, Journal, Part
from mace_conformance.errors import ConformanceError
from mace_conformance.promises.baselines import Baseline, Step, find, load

FACTS = {"name": "A GPU", "torch": "2.11.0", "cuequivariance": "0.12.0"}
STEP = Step(
    structure="water8", model="pair", policy="fp64", backend="e3nn", execution="eager", ms=1.0,
    rounds=12,
)  # fmt: skip
GOOD = Baseline(
    hardware={"class": "hopper", **FACTS},
    target={"name": "mace", "version": "0.3.16"},
    suite_version="0.1.0",
    made="2026-11-25",
    source="r-0007",
    steps=(STEP,),
)


def put(folder, **changes):
    found = msgspec.structs.replace(GOOD, **changes)
    path = folder / "reports" / "baselines" / "hopper" / "mace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(found))
    return path


def test_the_committed_baseline_of_this_device_is_found(tmp_path):
    put(tmp_path)
    assert find(None, tmp_path, "mace", "hopper", FACTS) == GOOD
    assert find("hopper", tmp_path, "mace", "hopper", FACTS) == GOOD


@pytest.mark.parametrize(
    "facts",
    [FACTS | {"name": "Another GPU"}, FACTS | {"torch": "2.13.0"}, FACTS | {"cuequivariance": "0"}],
)
def test_one_of_another_device_or_stack_holds_for_nothing_and_is_refused_by_name(tmp_path, facts):
    path = put(tmp_path)
    assert find(None, tmp_path, "mace", "hopper", facts) is None
    with pytest.raises(ConformanceError, match="Times do not travel"):
        find(str(path), tmp_path, "mace", "hopper", facts)
    with pytest.raises(ConformanceError, match="hardware hopper, here cpu"):
        find("hopper", tmp_path, "mace", "cpu", FACTS)


def test_hardware_without_a_baseline_is_refused_by_name(tmp_path):
    with pytest.raises(ConformanceError, match="has no baseline of mace"):
        find("blackwell", tmp_path, "mace", "blackwell", FACTS)
    put(tmp_path)
    with pytest.raises(ConformanceError, match="known are hopper"):
        find("hoper", tmp_path, "mace", "hopper", FACTS)
    with pytest.raises(ConformanceError, match="no such file"):
        find("there/is.json", tmp_path, "mace", "hopper", FACTS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "is no baseline"),
        (b"[]", "is no baseline"),
        (b'{"schema": 1}', "is no baseline"),
        (b"\xff", "is no baseline"),
        (msgspec.json.encode(msgspec.structs.replace(GOOD, schema=2)), "schema 2"),
        (msgspec.json.encode(msgspec.structs.replace(GOOD, steps=())), "above 0 ms"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(tmp_path, content, said):
    path = put(tmp_path)
    path.write_bytes(content)
    for option in (None, str(path)):
        with pytest.raises(ConformanceError, match=said):
            find(option, tmp_path, "mace", "hopper", FACTS)


def test_a_survey_becomes_a_baseline_without_invalid_groups_and_prototypes(tmp_path):
    header = Header(
        target=GOOD.target, hardware=GOOD.hardware, model="off24m", suite_version="0.1.0",
        started="2026-11-25T00:00:00+00:00",
    )  # fmt: skip
    journal = Journal(tmp_path, header)
    with pytest.raises(ConformanceError, match="no valid time"):
        baseline(tmp_path)
    for system, codes in (("water64", ["clock-unavailable"]), ("diamond1000", ["throttled"])):
        ways = {"fp32/cueq/cuda_graph": {"ms": 2.3}, "tf32+radial16/cueq/cuda_graph": {"ms": 2.0}}
        data = {"codes": codes, "rounds": 40, "ways": ways}
        journal.add(Part(kind="group", name=system, seconds=1.0, data=data))
    found = baseline(tmp_path)
    assert [(step.structure, step.policy, step.ms) for step in found.steps] == [
        ("water64", "fp32", 2.3)
    ]


def test_a_run_becomes_a_baseline_of_its_passing_times(tmp_path):
    times = [
        measured("latency.ratio.single", timing={"median_ms": [3.0, 4.0]}, samples=12),
        measured("latency.ratio.policy", timing={"median_ms": [5.0, 4.0]}, samples=12),
        measured("latency.scaling.step", timing={"median_ms": [9.0, 4.0]}, samples=12),
        measured("latency.ratio.single", "slab", timing={"median_ms": [9.0]}, verdict="invalid"),
    ]
    found = baseline(write(tmp_path / "run", times))
    assert [(step.structure, step.ms, step.rounds) for step in found.steps] == [("water", 4.0, 24)]
    with pytest.raises(ConformanceError, match="no class"):
        baseline(write(tmp_path / "odd", times, hardware={"class": "unknown"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A baseline of the toy on this machine, made by the user's own commands."""
    folder = tmp_path_factory.mktemp("made")
    words = ("--mace-target", "toy", "--mace-device", "cpu", "-q")
    conformance(
        folder / "run", *words, "--mace-quantity", "latency.ratio.single", suites="suites/latency"
    )
    done = shell(
        folder,
        *(sys.executable, "-m", "mace_conformance", "baseline", str(folder / "run")),
        *("--into", str(folder)),
    )
    assert done.code == 0, done.text
    return folder / "cpu" / "toy.json"


@pytest.mark.parametrize(
    ("times", "noticed"), [(0.1, "latency.baseline.step"), (9.0, "latency.baseline.fresh")]
)
def test_a_slower_step_and_a_stale_baseline_fail(tmp_path, made, times, noticed):
    found = load(made)
    steps = tuple(msgspec.structs.replace(s, ms=s.ms * times) for s in found.steps)
    path = tmp_path / "toy.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, steps=steps)))
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "toy", "--mace-device", "cpu", "--mace-baseline", str(path), "-q"),
        *("--mace-quantity", "latency.baseline.*"),
        suites="suites/latency",
    )
    verdicts = {m.case.quantity: m.verdict for m in done.measurements}
    assert set(verdicts) == {"latency.baseline.step", "latency.baseline.fresh"}
    assert [name for name, verdict in verdicts.items() if verdict == "fail"] == [noticed]


def test_a_baseline_of_another_machine_ends_a_run_before_it_begins(tmp_path):
    path = put(tmp_path)
    done = conformance(
        tmp_path / "run", "--mace-target", "toy", "--mace-baseline", str(path), "-q",
        suites="suites/latency",
    )  # fmt: skip
    assert done.code == 4
    assert "Times do not travel" in done.text
    assert "Traceback" not in done.text
    assert not (ROOT / "reports" / "baselines" / "cpu").exists()
