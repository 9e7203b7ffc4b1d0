"""What is said of the parts adds up to what is said of the whole."""

from mace_conformance.instruments.metrics import per_atom, rms
from mace_conformance.instruments.parts import (
    atoms_apart,
    dipole_of,
    fixed_charges,
    mates,
    reference_energy,
    summed_edge_forces,
)
from mace_conformance.laws import quantity


@quantity(
    "precision.parts.energy",
    "precision.parts.unscaled.energy",
    "precision.parts.dipolar.energy",
)
def test_node_energies_add_up_to_the_energy(case, potential, measure):
    """The energy of a system is the sum of the energies of its atoms."""

    @measure
    def sums():
        outputs = potential(case.structure)
        total = outputs["node_energy"].values.sum(keepdims=True)
        yield per_atom(rms(total, outputs["energy"].values.reshape(1)), len(case.structure))


@quantity("precision.parts.contributions")
def test_contributions_add_up_to_the_energy(case, potential, measure):
    """Reference energies, pair repulsion and each layer's readout make up the energy."""

    @measure
    def sums():
        parts = potential.parts(case.structure)
        yield per_atom(
            rms(parts["contributions"].sum(axis=-1), parts["energy"]), len(case.structure)
        )


@quantity("precision.parts.interaction_energy")
def test_the_rest_of_the_energy_is_that_of_the_atoms_apart(case, potential, measure):
    """Energy minus interaction energy is what single atoms of the same elements have of it."""

    @measure
    def sums():
        apart = (potential(atom) for atom in atoms_apart(case.structure))
        single = sum(reference_energy(outputs) for outputs in apart)
        yield per_atom(
            rms(reference_energy(potential(case.structure)), single), len(case.structure)
        )


@quantity("precision.parts.forces")
def test_edge_forces_add_up_to_the_forces(case, potential, measure):
    """The force on an atom is the sum of the forces along its edges."""

    @measure
    def sums():
        parts = potential.parts(case.structure)
        yield rms(summed_edge_forces(parts), parts["forces"])


@quantity("precision.parts.virials")
def test_atomic_virials_add_up_to_the_virials(case, potential, measure):
    """The virials of a system are the sum of those of its atoms."""

    @measure
    def sums():
        parts = potential.parts(case.structure)
        yield rms(parts["atomic_virials"].sum(axis=0), potential(case.structure)["virials"].values)


@quantity("precision.parts.stress")
def test_atomic_stresses_add_up_to_the_stress(case, potential, measure):
    """The stress of a system is the sum of those of its atoms, by the model and the calculator."""

    @measure
    def sums():
        expected, structures = potential(case.structure)["stress"], mates(case.structure)
        found = potential.parts(*structures)["atomic_stresses"][-len(case.structure) :]
        yield rms(found.sum(axis=0), expected), "model"
        yield rms(found, found.swapaxes(1, -1)), "transposed"
        path = potential.calculator(compute_atomic_stresses=True)
        sums = [path.result(case.structure, name) for name in ("stresses", "stress")]
        yield rms(sums[0].sum(axis=0), sums[1]), "calculator"


@quantity("precision.parts.charges")
def test_charges_add_up_to_the_net_charge(case, potential, measure):
    """The charges of a system's atoms add up to the charge that it is said to have."""

    @measure
    def sums():
        for charge in (0, 1):
            parts = potential.parts(case.structure, total_charge=charge)
            yield rms(parts["charges"].sum(keepdims=True), 0 * parts["charges"][:1] + charge)


@quantity("precision.parts.fixed.dipole")
def test_fixed_charges_add_their_dipole(case, potential, measure):
    """Charges that atoms are given add the dipole of point charges, in debye."""

    @measure
    def differences():
        charges = fixed_charges(case.structure)
        given, without = (potential.parts(case.structure, charges=q)["dipole"][0]
                          for q in (charges, 0 * charges))  # fmt: skip
        yield rms(given - without, dipole_of(charges, case.structure))
