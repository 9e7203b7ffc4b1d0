"""No draw of a plan can hand a law of forces a structure that has none, whatever the seed."""

from fnmatch import fnmatchcase
from functools import cache

import numpy as np
import pytest
from user import ROOT

from mace_conformance.instruments.references import block_name, stored_blocks, structures_for
from mace_conformance.options import Options
from mace_conformance.promises.grid import Grid
from mace_conformance.session import Session
from mace_conformance.subjects.models import MODELS
from mace_conformance.subjects.structures import load

DISPLACED = ("dynamics.*", "equivariance.sites.*", "backends.executions.*")
"""Laws that move the atoms first, so that a crystal at rest says nothing of them."""


@cache
def resting_forces():
    """By model, head and structure the root mean square force in eV/angstrom, by the goldens."""
    found = {}
    for name, spec in MODELS.items():
        if spec.weights or "forces" not in spec.observables:
            continue
        blocks = stored_blocks(spec)
        names = [info.name for info in structures_for(spec)]
        ends = np.cumsum([len(load(each)) for each in names])
        for head in spec.heads:
            parts = np.split(blocks[block_name(spec, head, "forces")], ends[:-1])
            for structure, forces in zip(names, parts, strict=True):
                size = float(np.sqrt((forces**2).sum(axis=-1).mean()))
                found[name, head, structure] = size
    return found


@pytest.mark.parametrize("plan", ["smoke", "gate", "qualify"])
def test_no_seeded_model_is_asked_for_forces_that_it_does_not_have(plan):
    session = Session(Options(ROOT, plan=plan))
    grid = Grid(session.plan, session.catalogue)
    vacuous = []
    for quantity in session.tolerances.quantities.values():
        moved = any(fnmatchcase(quantity.name, pattern) for pattern in DISPLACED)
        if quantity.signal is None or quantity.observables[:1] != ("forces",) or moved:
            continue
        subjects, _ = grid.admitted_subjects(quantity)
        for row in subjects:
            subject = grid.subjects[row]
            for column in grid.admitted_structures(quantity):
                key = (subject.model.name, subject.head, grid.structures[column].name)
                force = resting_forces().get(key, np.inf)
                if grid.fits[row, column] and force < quantity.signal.value:
                    vacuous.append((quantity.name, *key, force))
    assert not vacuous
