"""Force constants from displaced supercells: the symmetry that saves most of them, and codes of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from spring_crystals import springs

from jaxepi import sampling
from jaxepi.errors import InputError
from jaxepi.sampling import ForceConstants, finite_displacements
from jaxepi.structure import Structure


class Springs(Calculator):
    """Forces of a harmonic crystal, and how often they were asked for."""

    implemented_properties = ["forces"]  # noqa: RUF012 (as ASE declares it)

    def __init__(self, fc: ForceConstants) -> None:
        super().__init__()
        self.rest, self.calls, self.matrix = np.asarray(fc.supercell.positions), 0, full(fc)

    def calculate(self, atoms=None, properties=("forces",), system_changes=()):
        """-matrix u."""
        self.calls += 1
        self.results = {"forces": -np.einsum("iajb,jb->ia", self.matrix, atoms.positions - self.rest)}


def full(fc: ForceConstants) -> np.ndarray:
    """d2E/du_i du_j of all atoms of the supercell."""
    repeats, b = fc.supercell.repeats, fc.matrix.shape[0]
    grid = np.indices(repeats).reshape(3, -1).T
    cells = np.ravel_multi_index(tuple(np.moveaxis((grid[None] - grid[:, None]) % np.asarray(repeats), -1, 0)), repeats)
    found = np.asarray(fc.matrix)[:, :, cells]
    return np.moveaxis(found, 2, 0).reshape(len(grid) * b, 3, len(grid) * b, 3)


@pytest.mark.parametrize(
    ("atoms", "repeats", "calls"),
    [
        (bulk("GaAs", "zincblende", a=5.65), (2, 2, 2), 5),
        pytest.param(bulk("Si", a=5.43, cubic=True), (1, 2, 1), 4, marks=pytest.mark.slow),
        pytest.param(bulk("ZnO", "wurtzite", a=3.25, c=5.2), (2, 2, 1), 9, marks=pytest.mark.slow),
    ],
    ids=["zincblende", "a cubic cell in a supercell of lower symmetry", "wurtzite"],
)
def test_symmetry_gives_back_all_that_was_not_displaced(atoms, repeats, calls):
    expected = springs(Structure.from_ase(atoms).supercell(repeats))
    calculator = Springs(expected)
    found = ForceConstants.from_ase(calculator, expected.supercell)
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-9)
    assert calculator.calls <= calls


def test_a_second_call_goes_on_from_the_first(tmp_path, spring_gaas):
    class Tired(Springs):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            if self.calls > 2:
                raise RuntimeError("the machine goes down")

    tired = Tired(spring_gaas)
    with pytest.raises(RuntimeError, match="goes down"):
        ForceConstants.from_ase(tired, spring_gaas.supercell, folder=tmp_path / "kept")
    tired.calls = -10
    found = ForceConstants.from_ase(tired, spring_gaas.supercell, folder=tmp_path / "kept")
    np.testing.assert_allclose(found.matrix, spring_gaas.matrix, atol=1e-9)
    with pytest.raises(InputError, match=r"kept/displacement-000-plus.npz holds forces of another supercell"):
        ForceConstants.from_ase(tired, spring_gaas.supercell, folder=tmp_path / "kept", displacement=0.02)


def test_what_cannot_be_displaced_for_is_refused(spring_gaas):
    calculator = Springs(spring_gaas)
    with pytest.raises(InputError, match=r"displacement 0.0 angstrom: give 0.005 to 0.05"):
        ForceConstants.from_ase(calculator, spring_gaas.supercell, displacement=0.0)
    calculator.rest = calculator.rest + np.linspace(0, 0.1, calculator.rest.size).reshape(-1, 3)
    with pytest.raises(
        InputError, match=r"not at rest: the largest force is .*relax the structure with this calculator"
    ):
        ForceConstants.from_ase(calculator, spring_gaas.supercell)
    calculator.matrix = calculator.matrix * np.nan
    with pytest.raises(InputError, match=r"Springs gives forces that are no numbers for rest"):
        ForceConstants.from_ase(calculator, spring_gaas.supercell)
    with pytest.raises(InputError, match=r"EMT is no potential of jaxepi.*ForceConstants.from_ase"):
        sampling.force_constants(EMT(), spring_gaas.supercell)


@pytest.mark.slow
def test_lennard_jones_agrees_with_its_own_derivatives():
    """ASE's Lennard-Jones argon against the Hessian of the same sum over pairs by differentiation, in THz."""
    sigma, epsilon, reach = 3.4, 0.0104, 7.0
    supercell = Structure.from_ase(bulk("Ar", "fcc", a=5.2471)).supercell(3)
    x, cell = supercell.positions, np.asarray(supercell.cell)
    steps = jnp.asarray((np.array(list(np.ndindex(5, 5, 5))) - 2) @ cell)

    def energy(u):
        """Twice the energy of the first atom's pairs; its own derivatives see every other atom once."""
        d = (x + u)[None] - (x[0] + u[0])[None, None] + steps[:, None]
        r2 = jnp.sum(d**2, axis=-1)
        near = (r2 < reach**2) & (r2 > 1e-6)
        s6 = (sigma**2 / jnp.where(near, r2, 1.0)) ** 3
        return jnp.sum(jnp.where(near, 4 * epsilon * (s6**2 - s6), 0.0))

    def first_forces(u):
        return jax.grad(energy)(u)[0]

    matrix = jax.jacobian(first_forces)(jnp.zeros_like(x))
    expected = ForceConstants(supercell, matrix.reshape(1, 3, -1, 1, 3))
    calculator = LennardJones(sigma=sigma, epsilon=epsilon, rc=reach, smooth=False)
    found = ForceConstants.from_ase(calculator, supercell, force_tolerance=1e-3)
    points = [[0.5, 0, 0.5], [0.5, 0.5, 0.5], [0.2, 0.1, 0.3]]
    both = [np.asarray(sampling.frequencies_thz(fc, points)) for fc in (expected, found)]
    assert both[0].min() > 0.3
    np.testing.assert_allclose(both[1], both[0], atol=1e-3)


@pytest.mark.slow
def test_a_shipped_potential_agrees_with_its_own_derivatives():
    from jaxepi import potentials

    potential = potentials.load("silicon-mvff")
    supercell = Structure.from_ase(bulk("Si", a=5.431)).supercell(2)
    found = ForceConstants.from_ase(potentials.calculator(potential), supercell)
    expected = sampling.force_constants(potential, supercell)
    points = expected.commensurate()
    np.testing.assert_allclose(
        sampling.frequencies_thz(found, points)[1:], sampling.frequencies_thz(expected, points)[1:], atol=1e-3
    )


@pytest.mark.slow
def test_emt_aluminium_is_stable_and_cubic():
    supercell = Structure.from_ase(bulk("Al", "fcc", a=3.994)).supercell(3)
    found = ForceConstants.from_ase(EMT(), supercell)
    x = np.asarray(sampling.frequencies_thz(found, [[0.5, 0, 0.5]]))[0]
    np.testing.assert_allclose(x[0], x[1], atol=1e-6)
    assert len(finite_displacements.directions(supercell, 0, list(finite_displacements.operations(supercell)))) == 1
    assert 3 < x[0] < x[2] < 15
