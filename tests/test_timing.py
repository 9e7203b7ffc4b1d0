"""The statistics of timing on simulated clocks: what is invalid, what is slow, what is neither."""

import math

import numpy as np
import pytest

from mace_conformance.instruments.ratios import ratio
from mace_conformance.instruments.readings import Circumstances, Reading
from mace_conformance.instruments.stopwatches import CpuStopwatch, CudaStopwatch
from mace_conformance.instruments.timing import Places, Rounds, orders, settle, timed
from mace_conformance.instruments.validity import codes


class Clockwork:
    """A stopwatch whose device says how long a step took, and at which clock."""

    device = "cuda"

    def __init__(self, megahertz=lambda _: 1980.0, slowed=(), others=0):
        self.megahertz, self.slowed, self.others = megahertz, slowed, others
        self.count = 0

    def read(self, run):
        self.count += 1
        run()
        return Reading(wall_ms=run.__self__.ms(), sm_mhz=self.megahertz(self.count))

    def circumstances(self):
        return Circumstances(sm_mhz=1980.0, slowed=self.slowed, others=self.others)


class Simulated:
    """A step that takes as long as it says."""

    atoms, device = 2, "cuda"

    def __init__(self, ms):
        self.ms = ms
        self.placed = []

    def ready(self):
        import contextlib

        return contextlib.nullcontext()

    def place(self, positions):
        self.placed.append(positions)

    def run(self):
        pass


def noisy(mean, spread, seed):
    random = np.random.default_rng(seed)
    return lambda: mean * math.exp(spread * random.standard_normal())


PLACES = Places(np.zeros((2, 3)), 7)


def pairs(slower, rounds=100, spread=0.02, seed=0):
    steps = [Simulated(noisy(mean, spread, seed + i)) for i, mean in enumerate((slower, 1.0))]
    timing = timed(steps, [PLACES] * 2, Clockwork(), Rounds(5, rounds), seed)
    first, second = ([each.own_ms for each in series] for series in timing.readings)
    return ratio(first, second, seed)


@pytest.mark.parametrize(("slower", "rounds"), [(1.03, 100), (1.02, 200)])
def test_a_small_slowdown_is_found(slower, rounds):
    assert all(pairs(slower, rounds, seed=seed).against(1.0) == "fail" for seed in range(20))


def test_equal_steps_raise_no_alarm():
    assert all(pairs(1.0, seed=seed).against(1.005) != "fail" for seed in range(100))


def test_an_interval_that_straddles_a_limit_is_ambiguous():
    found = pairs(1.03)
    assert found.low < 1.03 < found.high
    assert found.against(1.03) == "ambiguous"
    assert found.against(1.2) == "pass"


def test_an_interval_bears_autocorrelation():
    random = np.random.default_rng(3)
    rough = random.standard_normal(400)
    walk = np.convolve(rough, np.ones(20) / 20, "same") * 0.05
    alone = ratio(np.exp(0.05 * rough), np.ones(400), 0)
    together = ratio(np.exp(walk * np.std(0.05 * rough) / np.std(walk)), np.ones(400), 0)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_a_ratio_that_drifts_says_so():
    times = 1 + 0.001 * np.arange(100)
    assert ratio(times, np.ones(100), 0).drift == pytest.approx(1.049, abs=0.01)
    assert pairs(1.0).drift == 1.0


@pytest.mark.parametrize("bad", [math.nan, 0.0, math.inf])
def test_times_that_are_no_numbers_give_no_ratio_that_passes(bad):
    assert ratio([bad] * 10, [1.0] * 10, 0).against(2.0) == "fail"


def judged(watch, rounds=40):
    step = Simulated(lambda: 1.0)
    timing = timed([step], [PLACES], watch, Rounds(5, rounds))
    return codes(timing.every, "cuda", timing.around)


def test_a_calm_device_is_valid():
    assert judged(Clockwork()) == ()


def test_a_throttled_device_is_invalid():
    assert judged(Clockwork(slowed=("hardware-thermal",))) == ("throttled",)


def test_a_shared_device_is_invalid():
    assert judged(Clockwork(others=1)) == ("shared",)


def test_a_clock_that_moved_is_invalid():
    assert judged(Clockwork(lambda n: 1980.0 if n < 30 else 1400.0)) == ("clock-moved",)


def test_a_clock_that_cannot_be_read_is_unavailable_not_zero():
    watch = Clockwork(lambda _: None)
    assert judged(watch) == ("clock-unavailable",)


def test_a_thread_that_mostly_waits_shares_its_processor():
    readings = [Reading(wall_ms=10.0, waited_ms=9.8)] * 20
    assert codes(readings, "cpu", [Circumstances()]) == ("shared",)
    assert readings[0].own_ms == pytest.approx(0.2)


def test_a_warm_up_goes_on_until_the_clock_has_settled():
    def rising(n):
        return Reading(wall_ms=1.0, sm_mhz=min(1980.0, 1000.0 + 100 * n))

    taken, settled = settle(rising, 10)
    assert settled
    assert 15 <= taken <= 20
    assert settle(lambda n: Reading(wall_ms=2.0**-n), 10) == (20, False)


def test_every_round_has_its_own_positions_and_order():
    step = Simulated(lambda: 1.0)
    timed([step], [PLACES], Clockwork(), Rounds(5, 20))
    assert len({placed.tobytes() for placed in step.placed}) == len(step.placed)
    assert np.array_equal(PLACES[3], Places(np.zeros((2, 3)), 7)[3])
    drawn = list(orders(2, 200, 0))
    assert 60 < sum(order == [0, 1] for order in drawn) < 140


class Queue:
    """Stands for `torch.cuda`: a device of 1980 MHz, and a host that pauses before each launch."""

    def __init__(self, pauses):
        self.pauses, self.host, self.free = iter(pauses), 0.0, 0.0

    def _sleep(self, cycles):
        self.host += next(self.pauses, 0.0)
        self.free = max(self.host, self.free) + cycles / 1980e3

    def Event(self, *, enable_timing):  # noqa: N802 - torch's name
        return Mark(self) if enable_timing else None

    def synchronize(self, _):
        self.host = max(self.host, self.free)


class Mark:
    """Stands for an event of such a device."""

    def __init__(self, queue):
        self.queue = queue

    def record(self):
        self.at = max(self.queue.host, self.queue.free)

    def query(self):
        return self.queue.host >= self.at

    def elapsed_time(self, other):
        return other.at - self.at


@pytest.mark.parametrize(
    ("pauses", "read"),
    [((), 1980.0), ((0.0, 1.0), 1980.0), ((0.0, 1.0) * 2, 1980.0), ((0.0, 9.0) * 3, None)],
)
def test_a_pause_of_the_host_is_no_slower_clock(pauses, read):
    watch = CudaStopwatch.__new__(CudaStopwatch)
    watch.device = "cuda"
    watch._torch = type("Torch", (), {"cuda": Queue(pauses)})  # noqa: SLF001 - no GPU here
    assert watch.sm_mhz() == (read and pytest.approx(read))


def test_waiting_that_nobody_counts_is_unavailable_not_zero(tmp_path, monkeypatch):
    monkeypatch.setattr("mace_conformance.instruments.stopwatches.SCHEDULE", tmp_path / "none")
    reading = CpuStopwatch().read(lambda: None)
    assert (reading.waited_ms, reading.own_ms) == (None, reading.wall_ms)
    assert codes([reading], "cpu", ()) == ("waiting-unavailable",)
