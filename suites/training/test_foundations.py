"""What fine-tuning begins with: one head of a model of several, or a model for fewer elements."""

from mace_conformance.instruments.foundations import element_errors, head_errors
from mace_conformance.laws import quantity


@quantity("training.foundations.heads")
def test_a_head_alone_answers_as_it_did(case, potential, measure):
    """The model of one head that is taken out of a model of several is that head."""

    @measure
    def errors():
        yield from head_errors(potential, case.structure)


@quantity("training.foundations.elements")
def test_fewer_elements_answer_as_they_did(case, potential, measure):
    """A model for some of a model's elements, with a head more, begins as that model is."""

    @measure
    def errors():
        yield from element_errors(potential, case.structure)
