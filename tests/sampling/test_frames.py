"""Frames of other codes as snapshots: whatever order, origin, wrapping and drift they come with, displacements are the same."""

import io

import ase.io
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, graphene, make_supercell

from jaxepi.errors import InputError
from jaxepi.sampling import Snapshots, frames
from jaxepi.structure import Structure

SKEW = np.array([[2, 1, 0], [0, 2, 1], [-1, 0, 3]])
CRYSTALS = {
    "silicon": bulk("Si", a=5.431),
    "gallium arsenide": bulk("GaAs", "zincblende", a=5.653),
    "graphene": graphene(vacuum=8.0),
}


def moved(atoms, count=4, size=0.08, seed=0):
    """Displacements without a mean, shape (count, n, 3), and frames that hold them."""
    u = np.random.default_rng(seed).normal(0, size, (count, len(atoms), 3))
    u -= u.mean(axis=1, keepdims=True)
    images = []
    for away in u:
        images.append(atoms.copy())
        images[-1].positions += away
    return u, images


def matrix(name):
    return np.diag([3, 2, 1]) if name == "graphene" else SKEW


@pytest.mark.parametrize("name", CRYSTALS)
def test_order_origin_wrapping_and_drift_do_not_matter(name):
    rest = make_supercell(CRYSTALS[name], matrix(name))
    u, images = moved(rest)
    generator = np.random.default_rng(1)
    order = generator.permutation(len(rest))
    scrambled = []
    for f, image in enumerate(images):
        other = image[order] if f != 2 else image[generator.permutation(len(rest))]
        drift = np.where(rest.pbc, generator.uniform(-40, 40, 3), 0.0) if f else [0.31, -0.4, 0.0]
        other.positions += drift
        other.wrap()
        scrambled.append(other)
    found = Snapshots.from_ase(scrambled, rest, 300.0)
    assert found.structure.species == tuple(rest.numbers)
    # A crystal that has drifted by a lattice vector of its own is the same crystal, its atoms in another order.
    for after, before in zip(found.to_ase(), images, strict=True):
        lengths = [np.sort(atoms.get_all_distances(mic=True), axis=None) for atoms in (after, before)]
        np.testing.assert_allclose(*lengths, atol=1e-9)
    for away, own in zip(np.asarray(found.displacements), u, strict=True):
        np.testing.assert_allclose(np.sort((away**2).sum(axis=1)), np.sort((own**2).sum(axis=1)), atol=1e-9)


def test_known_order_keeps_every_atom():
    rest = make_supercell(CRYSTALS["silicon"], SKEW)
    u, images = moved(rest)
    for image in images:
        image.wrap()
    found = Snapshots.from_ase(images, rest, 300.0)
    np.testing.assert_allclose(found.displacements, u, atol=1e-12)


def test_without_a_reference_it_is_the_mean():
    rest = make_supercell(CRYSTALS["silicon"], SKEW)
    u, images = moved(rest, 6)
    for f, image in enumerate(images):
        image.positions += 0.7 * f
        image.wrap()
    found = Snapshots.from_ase(images, temperature=300)
    np.testing.assert_allclose(found.displacements, u - u.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.asarray(found.displacements).mean(axis=0), 0, atol=1e-12)
    assert found.groups == (0,) * 6
    assert np.isnan(found.standard_error(np.arange(6.0)))


def test_atoms_of_another_layer_may_swing_far_out_of_it():
    """Out of the plane, an atom of graphene may be farther from its site than half a bond, and is nowhere else."""
    rest = CRYSTALS["graphene"].repeat((2, 2, 1))
    high = rest.copy()
    high.positions[3, 2] += 0.9
    away = np.asarray(Snapshots.from_ase([high], rest, 300).displacements[0])
    np.testing.assert_allclose(away[3], [0, 0, 0.9 * 7 / 8], atol=1e-12)


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_crystal_fills_the_cell_of_its_frames(name):
    primitive = Structure.from_ase(CRYSTALS[name])
    many = make_supercell(CRYSTALS[name], matrix(name))
    strain = np.eye(3)
    strain[:2, :2] += [[0.02, 0.001], [0.001, -0.01]]
    many.set_cell(many.cell.array @ strain, scale_atoms=True)
    found = frames.filled(primitive, many.cell.array)
    assert len(found.supercell) == len(many)
    assert found.supercell.species == tuple(np.asarray(primitive.species)[found.owner])
    order = frames.match(many.positions, many.numbers, found.supercell)
    np.testing.assert_allclose(
        frames.beside(many.positions[order], np.asarray(found.supercell.positions), found.supercell), 0, atol=1e-9
    )
    np.testing.assert_allclose(found.base.volume * len(many) / len(primitive), abs(np.linalg.det(many.cell)), rtol=1e-9)
    assert frames.filled(primitive, 1.15 * many.cell.array) is None or name != "graphene"


def test_what_a_set_says_of_itself_survives_a_file():
    rest = Structure.from_ase(make_supercell(CRYSTALS["silicon"], SKEW))
    u, _ = moved(rest.to_ase())
    before = Snapshots(rest, rest.positions[None] + u, 250.0, jnp.array([1.0, 2, 3, 4]), (0, 1, 0, 1), "classical")
    text = io.StringIO()
    ase.io.write(text, before.to_ase(), format="extxyz")
    text.seek(0)
    after = Snapshots.from_ase(ase.io.read(text, ":", format="extxyz"), rest)
    assert (after.temperature, after.statistics, after.groups) == (250.0, "classical", (0, 1, 0, 1))
    np.testing.assert_array_equal(after.weights, before.weights)
    np.testing.assert_allclose(after.positions, before.positions, atol=1e-7)


def broken(kind):
    rest = make_supercell(CRYSTALS["gallium arsenide"], 2 * np.eye(3))
    images = moved(rest, 5)[1]
    if kind == "count":
        images[3] = images[3][:-1]
    elif kind == "species":
        images[3].numbers[0] = 14
    elif kind == "cell":
        images[3].set_cell(1.01 * images[3].cell.array)
    elif kind == "nan":
        images[3].positions[4, 1] = np.nan
    elif kind == "jump":
        images[3].positions[4] += [1.4, 1.4, 1.4]
    elif kind == "swapped":
        images[3].numbers[[0, 1]] = images[3].numbers[[1, 0]]
    return rest, [] if kind == "none" else images


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "no frames: give at least one"),
        ("count", "frame 3 has 15 atoms, frame 0 has 16"),
        ("species", "frame 3 is SiAs.*, frame 0 is GaAs.*with its elements"),
        ("cell", r"frame 3: its cell differs by 1% from that of frame 0; snapshots share one cell"),
        ("nan", "frame 3: positions or cell hold NaN"),
        ("jump", r"frame 3: atom 4 is 2\.\d\d angstrom from its site and nearer to another"),
        ("swapped", "frame 3: its atoms do not sit at the sites of the reference in any order"),
    ],
)
def test_a_frame_that_does_not_fit_is_named(kind, message):
    rest, images = broken(kind)
    with pytest.raises(InputError, match=message):
        Snapshots.from_ase(images, rest, 300.0)


def test_references_and_temperatures_that_do_not_fit():
    rest, images = broken("")
    with pytest.raises(InputError, match="frame 0 has 16 atoms, the reference 2"):
        Snapshots.from_ase(images, CRYSTALS["gallium arsenide"], 300.0)
    other = rest.copy()
    other.set_cell(1.02 * rest.cell.array, scale_atoms=True)
    with pytest.raises(InputError, match="frame 0: its cell differs by 2% from that of the reference"):
        Snapshots.from_ase(images, other, 300.0)
    with pytest.raises(InputError, match="no temperature: the frames do not all say the same"):
        Snapshots.from_ase(images, rest)
    with pytest.raises(InputError, match="temperature -3 K: give zero or a positive"):
        Snapshots.from_ase(images, rest, -3)
    with pytest.raises(InputError, match="2 groups for 5 frames"):
        Snapshots.from_ase(images, rest, 3, groups=(0, 1))
    with pytest.raises(InputError, match="statistics 'bosonic': give one of quantum, classical"):
        Snapshots.from_ase([saying(image, statistics="bosonic") for image in images], rest, 3)


def saying(image, **info):
    image.info |= info
    return image


def test_runs_at_constant_pressure_are_taken_in_their_mean_cell():
    """The same fractional displacements in cells that breathe; one frame of another cell is no such run."""
    rest = make_supercell(CRYSTALS["silicon"], SKEW)
    u, images = moved(rest, count=6)
    strains = np.random.default_rng(2).normal(0, 0.004, (6, 3, 3))
    strains -= strains.mean(axis=0)
    for image, strain in zip(images, strains, strict=True):
        image.set_cell(rest.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    with pytest.warns(UserWarning, match=r"by up to .*% from its mean .* a run at constant pressure"):
        found = Snapshots.from_ase(images, rest, 300.0)
    np.testing.assert_allclose(found.displacements, u, atol=1e-9)
    images[3].set_cell(1.2 * images[3].cell, scale_atoms=True)
    with pytest.raises(InputError, match=r"snapshots share one cell"):
        Snapshots.from_ase(images, rest, 300.0)
