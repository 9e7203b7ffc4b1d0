"""What belongs to the caller stays as it was."""

from mace_conformance.instruments.residue import number_of
from mace_conformance.laws import quantity


@quantity(
    "precision.purity.atoms",
    "precision.purity.batch",
    "precision.purity.configuration",
    "precision.purity.search",
    "precision.purity.weights",
    "precision.purity.flags",
    "precision.purity.types",
    "precision.purity.dtypes",
    "precision.purity.process",
    "precision.purity.classes",
)
def test_nothing_of_the_callers_changes(case, potential, measure):
    """Atoms, tensors, modules, switches and classes are after a call what they were before."""

    @measure
    def changes():
        yield number_of(potential.changed_by_mace(case.observable, case.structure))
