"""What a step costs in whole numbers, which are the same on every machine of one stack."""

from mace_conformance.instruments.counters import (
    kept,
    kernels,
    operators,
    over,
    peak,
    synchronisations,
)
from mace_conformance.laws import quantity


@quantity("latency.counts.operators")
def test_a_step_calls_no_more_operators(case, potential, measure):
    """A step calls no more operators than it did when its number was written down."""

    @measure
    def calls():
        yield operators(potential.prepared(case.structure))


@quantity("latency.counts.policy")
def test_less_precision_calls_few_more_operators(case, potential, wider, measure):
    """Rounding adds few operators to those of the same step with more precision."""

    @measure
    def calls():
        yield over(*(operators(each.prepared(case.structure)) for each in (potential, wider)))


@quantity("latency.counts.kernels")
def test_an_accelerated_backend_launches_fewer_kernels(case, potential, twin, measure):
    """A step by an accelerated backend launches at most so many times the kernels of e3nn's."""

    @measure
    def launches():
        yield over(*(kernels(each.prepared(case.structure)) for each in (potential, twin)))


@quantity("latency.counts.replay")
def test_a_recorded_step_is_one_launch(case, potential, measure):
    """A recorded step is launched whole, and its launches do not grow with the model."""

    @measure
    def launches():
        yield kernels(potential.prepared(case.structure))


@quantity("latency.counts.waits")
def test_a_step_does_not_wait_for_its_device(case, potential, measure):
    """A step makes the host wait for the device at most so often."""

    @measure
    def waits():
        yield synchronisations(potential.prepared(case.structure))


@quantity("latency.memory.kept")
def test_a_step_keeps_no_memory(case, potential, measure):
    """After a step its memory is free again: steps do not add up."""

    @measure
    def bytes_kept():
        yield kept(potential.prepared(case.structure))


@quantity("latency.memory.peak")
def test_less_precision_needs_less_memory(case, potential, wider, measure):
    """A step needs at most such a part of the memory that it needs with more precision."""

    @measure
    def bytes_at_once():
        yield over(*(peak(each.prepared(case.structure)) for each in (potential, wider)))
