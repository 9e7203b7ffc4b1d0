"""Times, over other times of the same run: ratios travel between machines, milliseconds do not."""

from mace_conformance.instruments.timing import doubled
from mace_conformance.laws import quantity


@quantity("latency.ratio.single", "latency.ratio.policy")
def test_less_precision_costs_no_time(case, potential, wider, timed):
    """A step takes at most so many times what it takes with more precision."""
    timed.ratio(potential, over=wider)


@quantity("latency.ratio.backend")
def test_an_accelerated_backend_is_not_slower(case, potential, twin, timed):
    """A step by an accelerated backend takes at most so many times what it takes by e3nn."""
    timed.ratio(potential, over=twin)


@quantity("latency.ratio.execution", "latency.ratio.compiled")
def test_a_recorded_or_compiled_step_is_not_slower(case, potential, eager, timed):
    """A recorded or compiled step takes at most so many times what it takes line by line."""
    timed.ratio(potential, over=eager)


@quantity("latency.ceiling.dispatch")
def test_a_step_takes_little_more_than_its_calls(case, potential, timed):
    """A step takes at most so many times what as many calls of a small operator take."""
    timed.dispatch(potential)


@quantity("latency.scaling.step")
def test_time_grows_with_the_number_of_atoms(case, potential, timed):
    """In a cell of twice the atoms, a step takes little more time for each of them."""
    timed.ratio(potential, over=potential, structure=doubled(case.structure))


@quantity("latency.drift.step")
def test_later_steps_take_no_longer(case, potential, timed):
    """The later half of many steps takes no longer than the earlier half."""
    timed.drift(potential)


@quantity("latency.baseline.step", "latency.baseline.fresh")
def test_a_step_keeps_to_its_baseline(case, potential, timed):
    """A step takes about what it took on this device when its baseline was committed."""
    timed.baseline(potential)
