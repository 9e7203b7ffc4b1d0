"""Stationary points, small vibrations and elastic constants agree across policies."""

from mace_conformance.instruments.dynamics_minima import displacement, eigenvalues, elastic_error
from mace_conformance.laws import quantity


@quantity("dynamics.minima.geometry")
def test_a_relaxed_geometry_stays(case, potential, reference, measure):
    """A policy's stationary point is that of fp64."""

    @measure
    def geometries():
        yield displacement(potential, reference, case.structure)


@quantity("dynamics.minima.eigenvalues")
def test_small_vibrations_keep_their_stiffness(case, potential, reference, measure):
    """The Hessian's eigenvalues at a stationary point are those of fp64."""

    @measure
    def modes():
        yield eigenvalues(potential, reference, case.structure)


@quantity("dynamics.elastic.constants")
def test_elastic_constants_stay(case, potential, reference, measure):
    """The stress answers to small strains as it does in fp64."""

    @measure
    def strains():
        yield elastic_error(potential, reference, case.structure)
