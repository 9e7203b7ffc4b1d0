"""A prepared step runs what its execution says, not what it was made from."""

import numpy as np
import pytest

from mace_conformance.subjects import structures


def test_the_prepared_step_of_a_compiled_potential_is_compiled():
    pytest.importorskip("mace")
    from mace_conformance.subjects.compiled import CompiledPotential
    from mace_conformance.subjects.mace_target import MaceTarget

    structure = structures.load("ethanol")
    plain = MaceTarget().potential("residual", "Default", "fp64", "e3nn", "cpu")
    compiled = CompiledPotential.of(plain, "eager")
    steps = [each.prepared(structure) for each in (compiled, plain)]
    for step in steps:
        with step.ready():
            step.place(structure.positions + 0.01)
            step.run()
    assert compiled.counts()["graphs"] >= 1
    found, expected = (step.forces() for step in steps)
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-10)
