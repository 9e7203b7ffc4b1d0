"""What the blocks hand on turns by the Wigner matrices of its irreps."""

from mace_conformance.instruments.representations import turned_features
from mace_conformance.instruments.transforms import rotations
from mace_conformance.laws import quantity


@quantity(
    "equivariance.features.l0",
    "equivariance.features.l1",
    "equivariance.features.l2",
    "equivariance.features.l3",
)
def test_features_turn_by_their_irreps(case, potential, measure):
    """Every block's features of degree l and parity p turn as f(Rx) = D(R) f(x)."""
    at_rest = potential.features(case.structure)

    @measure
    def features():
        for turn, turned in potential.features_under(case.turns, case.structure):
            yield from turned_features(turned, at_rest, turn, case.observable)


@quantity("equivariance.features.rotated.l1", "equivariance.features.rotated.l2")
def test_features_rotate_where_mirrors_are_given_up(case, potential, measure):
    """Without parity, features still obey every proper rotation."""
    at_rest = potential.features(case.structure)

    @measure
    def features():
        for turn, turned in potential.features_under(rotations(case.turns), case.structure):
            yield from turned_features(turned, at_rest, turn, case.observable)
