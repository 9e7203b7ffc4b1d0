"""What a training reads from a file, and what it scales a model by."""

from mace_conformance.instruments.training_data import label_errors, statistics_errors
from mace_conformance.laws import quantity


@quantity("training.data.labels")
def test_labels_are_read_as_they_were_written(case, potential, measure):
    """Energies, forces, stress, virials and weights of a file stand in the batch unchanged."""

    @measure
    def errors():
        yield from label_errors(potential, case.structure, case.generator)


@quantity("training.data.statistics")
def test_statistics_are_their_definitions(case, potential, measure):
    """E0s by regression, energies of an atom, rms force and neighbours are the data set's."""

    @measure
    def errors():
        yield from statistics_errors(potential, case.structure, case.generator)
