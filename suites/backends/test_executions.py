"""However a prepared step is run, it returns what running it line by line does."""

from mace_conformance.instruments.metrics import rms
from mace_conformance.instruments.replays import moved
from mace_conformance.laws import quantity


@quantity(
    "backends.executions.energy",
    "backends.executions.forces",
    "backends.executions.stress",
    "backends.fused.energy",
    "backends.fused.forces",
)
def test_a_recorded_or_fused_step_gives_what_the_eager_one_does(case, potential, eager, measure):
    """Played again on new positions, cells and edges, such a step is the eager one."""

    @measure
    def replays():
        for structure in moved(case.structure, case.generator):
            both = (each.fresh(structure)[case.observable] for each in (potential, eager))
            yield rms(*both), structure.name
