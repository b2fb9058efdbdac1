"""Repulsion and dispersion: another code's numbers, closed forms, smoothness, finite derivatives, transformations."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.graph import FAR, build_graph
from jaxepi.potentials.dispersion import Dispersion
from jaxepi.potentials.zbl import ZBL
from jaxepi.structure import Structure

REFERENCE = json.loads((Path(__file__).parent / "d3_reference.json").read_text())
"""Energies, forces and stresses of the code and version it names, with its own numbers for every structure."""


def crystal(name: str) -> tuple[Structure, list[dict]]:
    entry = REFERENCE["structures"][name]
    return Structure.create(entry["positions"], entry["cell"], entry["numbers"], entry["pbc"]), entry["results"]


def energy_function(term, structure, skin=0.0):
    """Energy by positions and strain, jitted."""
    graph = build_graph(structure, term.relation.cutoff, skin, (term.relation,))
    numbers = jnp.asarray(structure.species)

    def energy(positions, strain):
        moved = structure.with_positions(positions).strained(strain)
        table = graph.tables[0]
        return term.energies(numbers, table.vectors(moved.positions, moved.cell), table.receivers).sum()

    return jax.jit(energy)


def evaluate(term, structure):
    """Energy (eV), forces (eV/angstrom) and stress (eV/angstrom^3, xx yy zz yz xz xy)."""
    strain = jnp.zeros((3, 3), structure.positions.dtype)
    energy = energy_function(term, structure)
    value, (slope, virial) = jax.value_and_grad(energy, argnums=(0, 1))(structure.positions, strain)
    stress = 0.5 * (virial + virial.T) / structure.volume
    return float(value), -np.asarray(slope), np.asarray(stress)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


@pytest.mark.parametrize("name", ["silicon", "gaas", "graphene"])
def test_dispersion_equals_dftd3_within_the_same_cutoff(name):
    """A switch too narrow for any pair to lie in makes the cutoff as sharp as that code's."""
    structure, results = crystal(name)
    (expected,) = (r for r in results if r["within"] == 12.0)
    energy, forces, stress = evaluate(Dispersion(cutoff=12.0, width=1e-4), structure)
    np.testing.assert_allclose(energy, expected["energy"], rtol=1e-5)
    np.testing.assert_allclose(forces, expected["forces"], atol=2e-5 * np.abs(expected["forces"]).max())
    np.testing.assert_allclose(stress, expected["stress"], atol=2e-5 * np.abs(expected["stress"]).max())


def test_dispersion_of_every_element():
    """A cluster with one atom of each element, smaller than the cutoff."""
    structure, (expected,) = crystal("cluster")
    assert len(set(structure.species)) == 23
    energy, forces, _ = evaluate(Dispersion(), structure)
    np.testing.assert_allclose(energy, expected["energy"], rtol=1e-5)
    np.testing.assert_allclose(forces, expected["forces"], atol=2e-5 * np.abs(expected["forces"]).max())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "energy_left", "force_left"), [("silicon", 8e-3, 8e-4), ("graphene", 6e-4, 3e-4)])
def test_little_is_left_beyond_the_cutoff(name, energy_left, force_left):
    """Against that code's own, much wider cutoffs: eV an atom and eV/angstrom; what is left falls as the cutoff grows."""
    structure, results = crystal(name)
    (expected,) = (r for r in results if r["within"] is None)
    left = []
    for cutoff in (9.0, 12.0):
        energy, forces, _ = evaluate(Dispersion(cutoff=cutoff), structure)
        left.append(
            ((energy - expected["energy"]) / len(structure), np.abs(forces - np.array(expected["forces"])).max())
        )
    assert 0 < left[1][0] < left[0][0]
    assert left[1][1] < left[0][1]
    assert left[1][0] < energy_left
    assert left[1][1] < force_left


def test_fewer_loaded_elements_change_nothing():
    structure, _ = crystal("gaas")
    everything, few = (evaluate(Dispersion(species=s), structure) for s in ((), (31, 33)))
    np.testing.assert_allclose(everything[0], few[0], rtol=3e-5)
    np.testing.assert_allclose(everything[1], few[1], atol=3e-5 * np.abs(few[1]).max())


def zbl_by_hand(z1, z2, r):
    """The universal potential of the 1985 book, eV, r in angstrom."""
    x = r * (z1**0.23 + z2**0.23) / (0.8854 * 0.529177)
    screening = 0.1818 * np.exp(-3.2 * x) + 0.5099 * np.exp(-0.9423 * x)
    screening += 0.2802 * np.exp(-0.4028 * x) + 0.02817 * np.exp(-0.2016 * x)
    return 14.39964 * z1 * z2 / r * screening


def pair(term, z, dtype=jnp.float64):
    """Energy of two atoms by their distance."""
    numbers, receivers = jnp.asarray(z), jnp.asarray([[1], [0]])

    def energy(r):
        along = jnp.asarray([[[1.0, 0, 0]], [[-1.0, 0, 0]]], dtype)
        return term.energies(numbers, r * along, receivers).sum()

    return energy


def test_repulsion_is_the_universal_potential_at_short_range():
    """0.1 angstrom: the published coefficients, rounded as in the book; 0.01: the bare Coulomb energy comes near."""
    energy = jax.jit(pair(ZBL((14, 33)), (14, 33)))
    np.testing.assert_allclose(energy(0.1), zbl_by_hand(14, 33, 0.1), rtol=1e-3)
    np.testing.assert_allclose(energy(0.3), zbl_by_hand(14, 33, 0.3), rtol=2e-3)
    np.testing.assert_allclose(energy(0.002) * 0.002, 14.39964 * 14 * 33, rtol=0.05)
    r = jnp.linspace(0.05, 2.29, 200)
    assert (jnp.diff(jax.vmap(energy)(r)) < 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("term", "z", "edges"),
    [(ZBL((6, 14)), (6, 14), (0.76 + 1.11,)), (Dispersion(cutoff=8.0), (6, 14), (8.0, 6.0))],
    ids=["repulsion", "dispersion"],
)
def test_energy_and_two_derivatives_are_continuous(term, z, edges):
    """A jump across the edge closes in proportion to the step; a kink in the function or a derivative would stay."""
    energy = pair(term, z)
    for edge in edges:
        f = energy
        for _ in range(3):
            across = jax.jit(jax.vmap(f))
            wide, narrow = (across(edge + jnp.asarray([-h, 0.0, h])) for h in (1e-3, 1e-5))
            assert jnp.abs(jnp.diff(narrow)).max() < 0.02 * jnp.abs(jnp.diff(wide)).max() + 1e-13
            f = jax.grad(f)
    beyond = jax.vmap(energy)(edges[0] + jnp.asarray([0.0, 0.5, FAR]))
    np.testing.assert_allclose(beyond, 0, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("term", [ZBL((14,)), Dispersion(species=(14,))], ids=["repulsion", "dispersion"])
def test_derivatives_equal_finite_differences(term):
    structure, _ = crystal("silicon")
    structure = structure.scaled(0.8)  # close enough for the repulsion
    energy = energy_function(term, structure)
    rng = np.random.default_rng(3)
    direction, strain, step = rng.normal(size=(8, 3)), rng.normal(size=(3, 3)), 1e-4
    x, zero = structure.positions, jnp.zeros((3, 3))
    slope, virial = jax.grad(energy, argnums=(0, 1))(x, zero)
    by_x = (energy(x + step * direction, zero) - energy(x - step * direction, zero)) / (2 * step)
    by_strain = (energy(x, step * strain) - energy(x, -step * strain)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(slope * direction), by_x, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(virial * strain), by_strain, rtol=1e-6)
    # Newton's third law, and the same result from a graph with more pairs than needed.
    np.testing.assert_allclose(slope.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(energy_function(term, structure, 1.0)(x, zero), energy(x, zero), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("term", [ZBL((14,)), Dispersion()], ids=["repulsion", "dispersion"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_padding_and_coincidence_leave_everything_finite(term, dtype):
    """Padded slots, lone atoms, atoms on one another: energy, forces and second derivatives are numbers."""
    numbers, receivers = jnp.asarray([14, 14, 14]), jnp.asarray([[1, 0], [0, 1], [2, 2]])
    far = [FAR, 0, 0]
    vectors = jnp.asarray([[[1.9, 0, 0], far], [[-1.9, 0, 0], far], [far, far]], dtype)

    def energy(v):
        return term.energies(numbers, v, receivers).sum()

    derivatives = jax.jit(lambda v: (energy(v), jax.grad(energy)(v), jax.hessian(energy)(v)))
    for v in (vectors, vectors * jnp.asarray(1e-30, dtype), jnp.zeros_like(vectors)):
        for value in derivatives(v):
            assert value.dtype == dtype
            assert jnp.isfinite(value).all()
    each = jax.jit(term.energies)(numbers, vectors, receivers)
    assert each[2] == 0
    np.testing.assert_allclose(each[0], each[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["silicon", "gaas"])
def test_transformations_and_single_precision(name):
    """Traced atomic numbers, vmap over configurations, float32 against float64."""
    structure, _ = crystal(name)
    for term in (ZBL((14, 31, 33)), Dispersion(cutoff=9.0)):
        graph = build_graph(structure, 9.0, 0.0, (term.relation,))
        table = graph.tables[0]

        @jax.jit
        def total(numbers, x, cell, term=term, table=table):
            return term.energies(numbers, table.vectors(x, cell), table.receivers).sum()

        numbers = jnp.stack([jnp.asarray(structure.species), jnp.full(8, 14)])
        both = jax.vmap(total, in_axes=(0, None, None))(numbers, structure.positions, structure.cell)
        single = structure.astype(jnp.float32)
        for z, value in zip(numbers, both, strict=True):
            np.testing.assert_allclose(total(z, structure.positions, structure.cell), value, rtol=1e-12)
            np.testing.assert_allclose(total(z, single.positions, single.cell), value, rtol=2e-5)


def test_refusals():
    with pytest.raises(InputError, match=r"Fe \(atomic number 26\) has no dispersion parameters.*H, B, C"):
        Dispersion().check([6, 26])
    with pytest.raises(InputError, match=r"Ga \(atomic number 31\).*there are C, Si"):
        Dispersion(species=(6, 14)).check([14, 31])
    with pytest.raises(InputError, match=r"width 0\.0"):
        Dispersion(width=0.0).check([6])
    with pytest.raises(InputError, match=r"atomic number 6 is not among.*\[14\]"):
        ZBL((14,)).check([14, 6])
    Dispersion().check([6, 14, 31, 33])
    assert hash(Dispersion()) == hash(Dispersion())
