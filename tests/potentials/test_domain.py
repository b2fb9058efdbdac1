"""What a potential was not trained on is told of wherever its forces are used, once, and nothing else is."""

import dataclasses
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.potentials.domain import warn_at_rest, warn_of_snapshots
from jaxepi.potentials.valence import ValenceForceField
from jaxepi.structure import Structure


@dataclasses.dataclass(frozen=True)
class Trained(ValenceForceField):
    """A force field that was trained, as it says, on bonds that changed by less than 0.1 angstrom, none shorter than 2.2."""

    at_rest: float = 0.5

    @property
    def minimum_distance(self):
        return 2.2

    @property
    def measures_novelty(self):
        return True

    def novelty(self, variables, structure, graph):
        return self.at_rest + 5 * jnp.abs(graph.vectors(structure) - graph.reference).max()


@pytest.fixture
def crystal():
    return Structure.from_ase(bulk("Si", a=5.431))


def trained(at_rest):
    known = potentials.load("silicon-mvff")
    module = Trained(known.module.bond_length, known.module.species, at_rest=at_rest)
    return dataclasses.replace(known, module=module)


def said(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(w.message) for w in caught]


@pytest.mark.parametrize(("at_rest", "count"), [(0.5, 0), (3.9, 1)])
def test_a_crystal_outside_is_told_of(crystal, at_rest, count):
    potential = trained(at_rest)
    lines = said(lambda: warn_at_rest(potential, crystal, potential.graph(crystal)))
    assert len(lines) == count
    assert not count or "outside the training data of the potential (distance 3.90, where 1 is the edge)" in lines[0]


@pytest.mark.slow
def test_phonons_tell_of_it(crystal):
    assert "the crystal at rest" in said(lambda: sampling.force_constants(trained(3.9), crystal))[0]


def test_snapshots_outside_are_told_of(crystal):
    moved = np.stack([np.asarray(crystal.positions)] * 2)
    assert not said(lambda: warn_of_snapshots(trained(0.5), crystal, jnp.asarray(moved), 300.0))
    moved[1, 0] += 0.16
    lines = said(lambda: warn_of_snapshots(trained(0.5), crystal, jnp.asarray(moved), 300.0))
    assert [line[:18] for line in lines] == ["snapshots at 300 K"] * 2
    assert "closer than in any training structure (2.200)" in lines[0]
    assert "distance 1.30" in lines[1]
