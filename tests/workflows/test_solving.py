"""Which solver a study has: one for all its snapshots, and none that its Hamiltonian does not have."""

import dataclasses

import jax.numpy as jnp
import pytest
from small_orbitals import bilayer, model

from jaxepi import materials
from jaxepi.errors import InputError
from jaxepi.optics.solvers.case import Case
from jaxepi.workflows import quanta
from jaxepi.workflows.absorption import _Stages
from jaxepi.workflows.settings import AbsorptionSettings
from jaxepi.workflows.solver_settings import resources
from jaxepi.workflows.solving import LARGEST_EDGES, decided, solver_of

BETWEEN = 120e-9
"""GB for each squared orbital: room for a real matrix (80 bytes) and not for a complex one (160)."""


def test_one_solver_is_chosen_for_all_snapshots():
    """The first of quasirandom points is Gamma, where H(k) is real; those of the other snapshots are not."""
    crystal = materials.load("silicon")
    size = crystal.hamiltonian.basis.size(crystal.primitive.species)
    one = AbsorptionSettings(
        crystal="silicon",
        cell="primitive",
        supercell=1,
        twists=1,
        snapshots=1,
        sampling="random",
        solver="auto",
        memory_gb=BETWEEN * size**2,
    )
    several = dataclasses.replace(one, snapshots=3)
    stages = _Stages.of(several)
    assert _Stages.of(one).solver == "dense"
    assert stages.solver == stages.origin("")["solver"] == "filtered"
    assert len({type(solver_of(several, stages.solver, s)) for s in range(3)}) == 1
    with pytest.raises(InputError, match="raise memory_gb"):
        _Stages.of(dataclasses.replace(several, solver="dense"))


def test_memory_that_decides_the_solver_is_no_resource():
    assert "memory_gb" in resources(AbsorptionSettings(solver="filtered").asdict())
    assert resources(AbsorptionSettings(solver="auto").asdict()) == ("workers", "forces")


@pytest.mark.slow
def test_solvers_of_orthogonal_orbitals_refuse_others_before_snapshots_are_drawn():
    cell, hamiltonian = bilayer(), model()
    case = Case(hamiltonian, cell, hamiltonian.graph(cell), cell.positions[None], jnp.zeros((1, 3)), jnp.ones(1), False)
    for name in ("filtered", "stochastic"):
        with pytest.raises(InputError, match=f"solver {name} takes orthogonal bases.* give --solver dense"):
            decided(AbsorptionSettings(solver=name), case)
    assert decided(AbsorptionSettings(solver="auto"), case) == "dense"


def test_phonon_energies_are_refused_where_edges_are_not_looked_for():
    asked = AbsorptionSettings(phonon_energies=True)
    quanta.check(asked, materials.load("silicon"), LARGEST_EDGES)
    with pytest.raises(InputError, match="20001 orbitals: they follow each snapshot's gap"):
        quanta.check(asked, materials.load("silicon"), LARGEST_EDGES + 1)
