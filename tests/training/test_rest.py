"""What a mesh of low symmetry does to a crystal at rest, taken off its labels; meshes of layers."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk, graphene
from small_world import LEVEL, labelled

from jaxepi import datasets
from jaxepi.training import DataSettings, LossSettings, SetSettings, read_examples

SHIFTED, DENSE = (2, 2, 2, 0.5, 0.5, 0.5), (4, 4, 4, 0, 0, 0)
SHEAR = np.full((3, 3), 0.004) - 0.004 * np.eye(3)


def push(atoms) -> np.ndarray:
    """Forces along 111 that two sublattices would have."""
    return np.where(np.arange(len(atoms))[:, None] % 2, 0.01, -0.01) * np.ones(3)


def at_rest(mesh, forces, stress, a=5.43):
    atoms = bulk("Si", "diamond", a=a, cubic=True)
    labels = {"energy": -34.0, "forces": forces(atoms), "stress": stress}
    more = {"mesh": mesh, "kind": "unstrained"}
    return datasets.single(atoms.positions, atoms.cell.array, atoms.numbers.tolist(), {"model": labels}, **more)


def read(data, path, **options):
    datasets.write(data, path)
    return read_examples(DataSettings((SetSettings(path=str(path)),), "model", **options), LossSettings())


@pytest.fixture
def clean():
    return labelled(((1, 24),), shift={SHIFTED: 0.0, DENSE: 0.0})


def spoilt(clean, rest):
    """The same with the artefacts on the shifted mesh, and crystals at rest."""
    groups = []
    for group in clean.groups:
        labels = dict(group.labels["model"])
        if group.mesh == SHIFTED:
            ideal = bulk("Si", "diamond", a=5.43, cubic=True)
            strain = group.cell @ np.linalg.inv(ideal.cell.array) - np.eye(3)
            moved = group.positions - ideal.positions @ (np.eye(3) + strain)
            work = ideal.get_volume() * np.einsum("ab,sab->s", SHEAR, strain)
            labels["energy"] = labels["energy"] + work - np.einsum("ia,sia->s", push(group.species), moved)
            labels["forces"] = labels["forces"] + push(group.species)
            labels["stress"] = labels["stress"] + SHEAR
        groups.append(dataclasses.replace(group, labels={"model": labels}))
    data = dataclasses.replace(clean, groups=tuple(groups))
    return data.merged(datasets.gather("rest", {"model": LEVEL["model"]}, rest))


def test_what_remains_at_rest_is_taken_off_all_labels_of_the_mesh(clean, tmp_path):
    pressed = SHEAR + 0.001 * np.eye(3)
    rest = [at_rest(SHIFTED, push, pressed), at_rest(DENSE, lambda a: np.zeros((8, 3)), 0.001 * np.eye(3))]
    found = read(spoilt(clean, rest), tmp_path / "spoilt.h5", at_rest="subtracted")
    expected = read(clean, tmp_path / "clean.h5")
    moved = found.kind != "unstrained"
    np.testing.assert_allclose(found.stress[moved], expected.stress, atol=1e-8)
    np.testing.assert_allclose(found.forces[np.repeat(moved, found.sizes)], expected.forces, atol=1e-8)
    assert np.abs(found.forces[np.repeat(~moved, found.sizes)]).max() < 1e-8
    np.testing.assert_allclose(found.stress[~moved], np.tile(0.001 * np.eye(3), (2, 1, 1)), atol=1e-8)
    np.testing.assert_allclose(found.energy[moved], expected.energy, atol=1e-7)


def test_meshes_without_a_crystal_at_rest_are_left_alone_and_named(clean, tmp_path):
    data = spoilt(clean, [at_rest(SHIFTED, push, SHEAR)])
    kept = read(data, tmp_path / "spoilt.h5")
    with pytest.warns(UserWarning, match="some configurations on Si 512 keep"):
        found = read(data, tmp_path / "spoilt.h5", at_rest="subtracted")
    dense = np.repeat(found.mesh == "Si 512", found.sizes)
    np.testing.assert_array_equal(found.forces[dense], kept.forces[dense])


def test_another_lattice_is_not_taken_for_the_crystal_at_rest(clean, tmp_path):
    data = spoilt(clean, [at_rest(SHIFTED, push, SHEAR, a=6.4)])
    with pytest.warns(UserWarning, match=r"Si 512, Si 64\+0.5,0.5,0.5 keep"):
        read(data, tmp_path / "spoilt.h5", at_rest="subtracted")


def test_one_layer_and_two_on_the_same_points_share_a_mesh(tmp_path):
    parts = []
    for layers in (1, 2):
        for seed in range(12):
            atoms = graphene(a=2.46, vacuum=10.0).repeat((2, 2, 1))
            if layers == 2:
                atoms += atoms.copy()
                atoms.positions[len(atoms) // 2 :, 2] += 3.4
            atoms.rattle(0.03, seed=seed)
            labels = {"model": {"energy": -1.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros((3, 3))}}
            cell, numbers = atoms.cell.array, atoms.numbers.tolist()
            parts.append(
                datasets.single(
                    atoms.positions, cell, numbers, labels, mesh=(4, 4, 1, 0, 0, 0), pbc=(True, True, False)
                )
            )
    assert set(read(datasets.gather("carbon", {"model": LEVEL["model"]}, parts), tmp_path / "c.h5").mesh) == {"C 128"}
