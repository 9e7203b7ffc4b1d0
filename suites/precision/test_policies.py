"""What a policy may cost: its error against the same weights in fp64 by e3nn."""

from mace_conformance.instruments.accuracy import in_roundoffs, multiple
from mace_conformance.instruments.layouts import paired
from mace_conformance.instruments.metrics import per_atom, rms, worst
from mace_conformance.instruments.replays import called
from mace_conformance.laws import quantity


@quantity("precision.policy.energy", "precision.policy.interaction_energy")
def test_energies_stay_near_fp64(case, potential, reference, measure):
    """A policy moves the energy of each atom by no more than its rounding does."""

    @measure
    def energies():
        found, expected = (each(case.structure)[case.observable] for each in (potential, reference))
        yield per_atom(rms(found, expected), len(case.structure))


@quantity(
    "precision.policy.node_energy",
    "precision.policy.forces",
    "precision.policy.stress",
    "precision.policy.dipole",
    "precision.policy.polarizability",
)
def test_observables_stay_near_fp64(case, potential, reference, measure):
    """The root mean square error of an observable stays a small part of its size."""

    @measure
    def errors():
        yield rms(*(each(case.structure)[case.observable] for each in (potential, reference)))


@quantity("precision.fused.forces")
def test_a_fused_step_stays_near_fp64_elsewhere(case, potential, reference, measure):
    """Where a step was not traced, its error is that of its policy."""
    potential(case.structure)

    @measure
    def errors():
        for structure in called(case.structure, case.generator):
            yield rms(*(each(structure)["forces"] for each in (potential, reference)))


@quantity("precision.worst.forces", "precision.worst.node_energy")
def test_no_atom_is_far_from_fp64(case, potential, reference, measure):
    """No single component errs much more than the rest: an error on one atom does not average."""

    @measure
    def errors():
        yield worst(*(each(case.structure)[case.observable] for each in (potential, reference)))


@quantity("precision.policy.features")
def test_features_of_every_block_stay_near_fp64(case, potential, reference, measure):
    """What each block hands on is near fp64, so that no error hides behind a small weight."""

    @measure
    def features():
        both = (each.features(case.structure) for each in (potential, reference))
        for block, found, expected in paired(*both):
            yield rms(found, expected), block


@quantity(
    "precision.roundoffs.energy",
    "precision.roundoffs.node_energy",
    "precision.roundoffs.forces",
    "precision.roundoffs.stress",
)
def test_errors_are_a_few_unit_roundoffs(case, potential, reference, policy, measure):
    """In its own unit roundoff times the size of what is summed, each policy errs alike."""

    @measure
    def errors():
        both = (each(case.structure) for each in (potential, reference))
        yield in_roundoffs(case.observable, *both, policy.unit_roundoff)


@quantity("precision.ratio.energy")
def test_a_backend_errs_little_more_in_energy_than_plain_fp32(
    case, potential, plain, reference, measure
):
    """An accelerated backend's energies err at most a few times as much as e3nn's in fp32."""

    @measure
    def errors():
        exact, fast, slow = (
            each(case.structure)["energy"] for each in (reference, potential, plain)
        )
        yield per_atom(multiple(rms(fast, exact), rms(slow, exact)), len(case.structure))


@quantity("precision.ratio.forces", "precision.ratio.stress")
def test_a_backend_errs_little_more_than_plain_fp32(case, potential, plain, reference, measure):
    """An accelerated backend may err at most a few times as much as e3nn does in fp32."""

    @measure
    def errors():
        subjects = (reference, potential, plain)
        exact, fast, slow = (each(case.structure)[case.observable] for each in subjects)
        yield multiple(rms(fast, exact), rms(slow, exact))


@quantity("precision.backends.energy", "precision.backends.forces", "precision.backends.stress")
def test_backends_agree_under_one_policy(case, potential, sibling, measure):
    """Two backends round the same numbers, so they agree far better than the policy is exact."""

    @measure
    def disagreements():
        yield rms(*(each(case.structure)[case.observable] for each in (potential, sibling)))


@quantity("precision.control.energy")
def test_summing_energies_in_16_bits_is_noticed(case, potential, control, reference, measure):
    """The control rounds the sums too, and its energy errs by many times the policy's error."""

    @measure
    def errors():
        subjects = (reference, control, potential)
        exact, crude, fair = (each(case.structure)["energy"] for each in subjects)
        yield per_atom(multiple(rms(crude, exact), rms(fair, exact)), len(case.structure))


@quantity("precision.control.forces")
def test_accumulating_in_16_bits_is_noticed(case, control, sibling, measure):
    """The control rounds the same operands, but sums put it farther off than a backend is."""

    @measure
    def disagreements():
        yield rms(*(each(case.structure)["forces"] for each in (control, sibling)))
