"""The field of polar crystals: what electrostatics says of it at Gamma and near it, and charges that cannot be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import sampling
from jaxepi.datasets.born import read_born
from jaxepi.errors import InputError
from jaxepi.sampling import Polar, polar
from jaxepi.sampling.phonons import interpolated, short_ranged
from jaxepi.structure import Structure
from jaxepi.units import COULOMB

GAAS = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532))
Z, EPSILON = 2.16, 10.88
BORN = f"default\n{EPSILON} 0 0 0 {EPSILON} 0 0 0 {EPSILON}\n{Z} 0 0 0 {Z} 0 0 0 {Z}\n{-Z} 0 0 0 {-Z} 0 0 0 {-Z}\n"


@pytest.fixture(scope="module")
def charged(spring_gaas):
    charges = jnp.array([Z, -Z])[:, None, None] * jnp.eye(3)[None]
    return dataclasses.replace(spring_gaas, polar=Polar(charges, EPSILON * jnp.eye(3)))


@pytest.fixture(scope="module")
def matrices(charged):
    """Force constants at q as q comes along a direction, compiled once."""
    images = sampling.images_of(charged)
    short = short_ranged(charged, images)
    return jax.jit(lambda q, direction: interpolated(charged, short, q, images, direction))


def frequencies(charged, constants):
    weights = np.asarray(charged.inverse_root_masses).ravel()
    return np.linalg.eigvalsh(np.asarray(constants).reshape(6, 6) * np.outer(weights, weights))


def test_longitudinal_modes_at_gamma_rise_by_what_electrostatics_says(charged, matrices, spring_gaas):
    """w_LO^2 - w_TO^2 = 4 pi e^2 Z^2/(eps V mu), along any direction of a cubic crystal; TO stays."""
    mass = 1 / (np.asarray(charged.inverse_root_masses)[:, 0] ** 2).sum()
    expected = 4 * np.pi * COULOMB * Z**2 / (EPSILON * float(GAAS.volume) * mass)
    bare = frequencies(charged, np.asarray(spring_gaas.matrix).sum(axis=2))
    for direction in ([0.5, 0.0, 0.5], [0.5, 0.5, 0.5], [0.1, -0.3, 0.7]):
        found = frequencies(charged, matrices(jnp.zeros(3), jnp.array(direction)))
        np.testing.assert_allclose(found[:5], bare[:5], atol=1e-9)
        np.testing.assert_allclose(found[5] - bare[5], expected, rtol=1e-6)


def test_gamma_without_a_direction_has_no_field(matrices, spring_gaas):
    np.testing.assert_allclose(matrices(jnp.zeros(3), jnp.zeros(3)), spring_gaas.matrix.sum(axis=2), atol=1e-9)


def test_the_limit_is_reached(charged, matrices):
    """Just beside Gamma the frequencies are those of the direction."""
    direction = jnp.array([0.3, 0.1, 0.2])
    near = frequencies(charged, matrices(2e-4 * direction, direction))
    np.testing.assert_allclose(near[3:], frequencies(charged, matrices(0 * direction, direction))[3:], rtol=1e-4)


def test_wave_vectors_of_the_supercell_are_left_as_they_are(charged, matrices, spring_gaas):
    points = charged.commensurate(half=True)
    weights = np.asarray(charged.inverse_root_masses).ravel()
    expected = np.asarray(spring_gaas.dynamical_matrices)
    for n in range(1, len(points)):
        found = np.asarray(matrices(jnp.asarray(points[n]), jnp.zeros(3))).reshape(6, 6) * np.outer(weights, weights)
        np.testing.assert_allclose(found, expected[n], atol=2e-8)


def test_a_wave_vector_is_the_same_in_every_zone(matrices):
    q = jnp.array([0.21, -0.4, 0.11])
    moved = matrices(q + jnp.array([1.0, -2.0, 1.0]), jnp.zeros(3))
    np.testing.assert_allclose(moved, matrices(q, jnp.zeros(3)), atol=1e-7)


@pytest.mark.slow
def test_charges_can_be_differentiated_by(charged):
    """w_LO^2 - w_TO^2 goes with the square of the charges, and with one over the dielectric constant; by the cell too."""
    images = sampling.images_of(charged)

    @jax.jit
    @jax.grad
    def slopes(scales):
        scaled = Polar(charged.polar.charges * scales[0], charged.polar.dielectric * scales[1])
        base = charged.supercell.scaled(scales[2])
        fc = dataclasses.replace(charged, polar=scaled, supercell=base)
        d = sampling.dynamical_matrix(fc, jnp.zeros(3), images, [0.5, 0.0, 0.5])
        return jnp.trace(d).real

    mass = 1 / (np.asarray(charged.inverse_root_masses)[:, 0] ** 2).sum()
    split = 4 * np.pi * COULOMB * Z**2 / (EPSILON * float(GAAS.volume) * mass)
    np.testing.assert_allclose(slopes(jnp.ones(3)), [2 * split, -split, -3 * split], rtol=1e-6)


def born_file(tmp_path, text):
    path = tmp_path / "BORN"
    path.write_text(text)
    return path


def test_charges_of_a_born_file_reach_all_atoms(tmp_path):
    cubic = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532, cubic=True))
    found = polar.of_file(born_file(tmp_path, BORN), cubic)
    expected = np.where(np.asarray(cubic.species) == 31, Z, -Z)[:, None, None] * np.eye(3)
    np.testing.assert_allclose(found.charges, expected)


def test_charges_turn_with_their_atoms(tmp_path):
    """The oxygen atoms of a cubic perovskite: one stands in the file, the others follow by rotation."""
    a = 4.0
    places = a * np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    titanate = Structure.create(places, a * np.eye(3), [56, 22, 8, 8, 8])
    text = (
        "default\n6 0 0 0 6 0 0 0 6\n"
        + "2.7 0 0 0 2.7 0 0 0 2.7\n7.3 0 0 0 7.3 0 0 0 7.3\n-2.1 0 0 0 -2.1 0 0 0 -5.8\n"
    )
    found = np.asarray(polar.of_file(born_file(tmp_path, text), titanate).charges)
    np.testing.assert_allclose(
        [np.diag(z) for z in found[2:]], [[-2.1, -2.1, -5.8], [-2.1, -5.8, -2.1], [-5.8, -2.1, -2.1]]
    )
    swapped = text.replace("-2.1 0 0 0 -2.1 0 0 0 -5.8", "-5.8 0 0 0 -2.1 0 0 0 -2.1")
    with pytest.raises(InputError, match=r"charge of atom 2 \(O\) changes by 3.700"):
        polar.of_file(born_file(tmp_path, swapped), titanate)
    rows = text.splitlines()
    other = "\n".join([*rows[:2], rows[4], rows[2], rows[3]])
    with pytest.raises(InputError, match=r"(sum to|changes by) "):
        polar.of_file(born_file(tmp_path, other), titanate)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            BORN.replace("-2.16", "-1.16"),
            r"charges of Ga, As sum to 1.000 elementary charges, not to zero \(0.500 an atom",
        ),
        ("\n".join(BORN.splitlines()[:3]), r"has 1 charges; this crystal needs those of Ga \(atom 0\), As \(atom 1\)"),
        (BORN.replace("10.88", "0.5"), "dielectric tensor .* eigenvalues of one or more"),
        (BORN.replace("default", "7.3"), r"BORN, line 1: unit conversion 7.3 is none of"),
        (BORN.replace("2.16 0 0 0", "2.16 0 0 x"), r"BORN, line 3: expected nine numbers"),
        ("default\n", r"is no BORN file"),
        (
            BORN.replace(" 0 0 0 2.16", " 0.9 0 0 2.16", 1).replace(" 0 0 0 -2.16", " -0.9 0 0 -2.16", 1),
            "changes by 1.8",
        ),
    ],
)
def test_charges_that_cannot_be_are_refused(tmp_path, text, match):
    with pytest.raises(InputError, match=match):
        polar.of_file(born_file(tmp_path, text), GAAS)


def test_a_small_excess_is_taken_off_with_a_word(tmp_path):
    text = BORN.replace(str(-Z), "-2.10")
    with pytest.warns(UserWarning, match=r"charges sum to 0.060 elementary charges \(0.030 an atom\)"):
        found = polar.of_file(born_file(tmp_path, text), GAAS)
    np.testing.assert_allclose(np.asarray(found.charges).sum(axis=0), 0, atol=1e-12)


def test_comments_and_a_missing_first_line(tmp_path):
    found = read_born(born_file(tmp_path, "# GaAs\n" + BORN.replace("default\n", "") + "# end\n"))
    assert found.charges.shape == (2, 3, 3)
    assert found.dielectric[0, 0] == EPSILON
