"""Two atoms at every distance, down to where no model was trained."""

from mace_conformance.instruments.curves import contacts, work_defects
from mace_conformance.instruments.metrics import worst
from mace_conformance.laws import quantity


@quantity("smoothness.pairs.work")
def test_energy_of_every_pair_is_the_work_of_its_forces(case, potential, measure):
    """Along a pair's distance, E(b) - E(a) is minus the integral of F: no jump, no kink."""

    @measure
    def defects():
        yield from work_defects(potential, case)


@quantity("smoothness.contact.energy", "smoothness.contact.forces", "smoothness.contact.dipole")
def test_pairs_in_contact_stay_finite(case, potential, reference, measure):
    """Two atoms far too close still have what the reference says, a finite number."""
    dimers = contacts(case)

    @measure
    def errors():
        pairs = zip(potential.together(dimers), reference.together(dimers), dimers, strict=True)
        for found, expected, dimer in pairs:
            yield worst(found[case.observable], expected[case.observable]), dimer.name
