"""The brute-force list against ASE's, which shares no code with it."""

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from mace_conformance.instruments.neighbours import brute_force
from mace_conformance.subjects import structures

SMALL = [row.name for row in structures.catalogue().values() if row.atoms <= 24]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("cutoff", [2.5, 4.5])
def test_every_edge_is_found_once_with_its_shift_and_vector(name, cutoff):
    structure = structures.load(name)
    i, j, shifts, vectors = brute_force(structure, cutoff)
    expected = primitive_neighbor_list(
        "ijS", structure.pbc, structure.cell, structure.positions, cutoff
    )
    found = set(map(tuple, np.column_stack([i, j, shifts])))
    assert len(found) == len(i)
    assert found == set(map(tuple, np.column_stack(expected)))
    ends = structure.positions[j] + shifts @ structure.cell - structure.positions[i]
    assert np.abs(vectors - ends).max(initial=0) < 1e-9
    assert np.all(np.linalg.norm(vectors, axis=1) < cutoff)
