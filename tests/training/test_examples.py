"""What is read from data sets, what is refused of them, and what is fitted before training."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from small_world import LEVEL, labelled

from jaxepi import datasets
from jaxepi.errors import InputError
from jaxepi.graph import Relation, build_graph
from jaxepi.training import DataSettings, LossSettings, SetSettings, fit_references, read_examples
from jaxepi.training.energies.references import unseen_meshes


def read(*paths, loss=None, level="model", **options):
    sets = tuple(p if isinstance(p, SetSettings) else SetSettings(path=str(p)) for p in paths)
    return read_examples(DataSettings(sets=sets, level=level, **options), loss or LossSettings())


def test_arrays_and_tables_are_those_of_the_configurations(path, dataset):
    e = read(path).connect((Relation(4.0), Relation(6.0)))
    assert len(e) == len(dataset)
    assert sorted(set(e.sizes)) == [8, 16]
    assert e.widths().shape == (len(e), 2)
    for c in (0, len(e) - 1):
        one = e.structure(c)
        for table, relation in zip(e.tables, (Relation(4.0), Relation(6.0)), strict=True):
            expected = build_graph(one, 6.0, 0.0, (relation,)).tables[0]
            mine = slice(e.first[c], e.first[c + 1])
            count = expected.mask.shape[1]
            assert (table.mask[mine, :count] == np.asarray(expected.mask)).all()
            assert not table.mask[mine, count:].any()
            held = table.mask[mine][..., None]
            lengths = np.where(held[..., 0], np.linalg.norm(expected_vectors(one, table, mine), axis=2), 0.0)
            assert lengths.max() < relation.cutoff


def expected_vectors(one, table, mine):
    there = np.asarray(one.positions)[table.receivers[mine]] + table.shifts[mine].astype(float) @ np.asarray(one.cell)
    return there - np.asarray(one.positions)[:, None]


def test_extended_xyz_is_read_alike(path, dataset, tmp_path):
    datasets.extxyz.write(dataset, "model", tmp_path / "silicon.xyz")
    a, b = read(path), read(tmp_path / "silicon.xyz")
    np.testing.assert_allclose(a.energy, b.energy, atol=1e-6)
    np.testing.assert_allclose(a.forces, b.forces, atol=1e-6)
    assert (a.split == b.split).all()


def test_weights_come_from_loss_and_set(path, tmp_path):
    bare = labelled(((1, 12),), seed=2, name="bare")
    group = bare.groups[0]
    labels = {"model": {n: v for n, v in group.labels["model"].items() if n != "stress"}}
    datasets.write(dataclasses.replace(bare, groups=(dataclasses.replace(group, labels=labels),)), tmp_path / "bare.h5")
    loss = LossSettings(energy=3.0, forces=2.0, stress=5.0)
    e = read(path, SetSettings(path=str(tmp_path / "bare.h5"), weight=0.5, energy=0.0), loss=loss)
    assert {tuple(w) for w in e.weights[e.source == "silicon"]} == {(3.0, 2.0, 5.0)}
    assert {tuple(w) for w in e.weights[e.source == "bare"]} == {(0.0, 1.0, 0.0)}


def test_only_the_kinds_and_meshes_asked_for(tmp_path):
    two = labelled(((1, 24),), shift={(2, 2, 2, 0, 0, 0): 0.0, (3, 3, 3, 0.5, 0.5, 0.5): 0.0})
    datasets.write(two, tmp_path / "two.h5")
    e = read(SetSettings(path=str(tmp_path / "two.h5"), meshes=("3x3x3+0.5,0.5,0.5",)))
    assert len(e) == 12
    assert set(e.points) == {27.0}
    with pytest.raises(InputError, match=r"meshes 2x2x2, 3x3x3\+0.5,0.5,0.5 and kinds thermal"):
        read(SetSettings(path=str(tmp_path / "two.h5"), kinds=("shear",)))
    with pytest.raises(InputError, match=r"points .* is for Hamiltonians"):
        read(SetSettings(path=str(tmp_path / "two.h5"), points=((0.0, 0.0, 0.0),)))
    with pytest.raises(InputError, match=r"repeat 2 is for Hamiltonians"):
        read(SetSettings(path=str(tmp_path / "two.h5"), repeat=2))


@pytest.mark.slow
def test_fewer_training_configurations_by_seed(path):
    whole, few = read(path), read(path, train=5)
    assert len(few.rows("train")) == 5
    for split in ("validation", "test"):
        assert len(few.rows(split)) == len(whole.rows(split))
    assert np.isin(few.energy, whole.energy).all()
    assert few.positions.shape[0] == few.sizes.sum() == few.numbers.shape[0] == len(few.forces)


@pytest.mark.parametrize("damage", ["forces", "energy", "positions"])
def test_nan_in_a_data_set_is_refused(dataset, tmp_path, damage):
    import h5py

    datasets.write(dataset, tmp_path / "bad.h5")
    with h5py.File(tmp_path / "bad.h5", "r+") as file:
        node = file["groups/00"] if damage == "positions" else file["groups/00/labels/model"]
        values, unit = node[damage][...], node[damage].attrs["unit"]
        values[0] = np.nan
        del node[damage]
        node[damage] = values
        node[damage].attrs["unit"] = unit
    with pytest.raises(InputError, match=rf"bad.h5.*{damage}.* holds NaN"):
        read(tmp_path / "bad.h5")


def test_sets_that_cannot_be_used_are_refused_by_name(path, dataset, tmp_path):
    with pytest.raises(InputError, match=r"there is no data set .*none.h5"):
        read(tmp_path / "none.h5")
    with pytest.raises(InputError, match="has no level 'pbe'; it has model"):
        read(path, level="pbe")
    group = dataset.groups[0]
    labels = {"model": {n: v for n, v in group.labels["model"].items() if n == "energy"}}
    datasets.write(
        dataclasses.replace(dataset, groups=(dataclasses.replace(group, labels=labels),)), tmp_path / "poor.h5"
    )
    with pytest.raises(InputError, match=r"24 configurations of .*poor.h5 have no forces at level 'model'"):
        read(tmp_path / "poor.h5")
    with pytest.raises(InputError, match=r"stress = 1, but no configuration of .*poor.h5 has a stress"):
        read(SetSettings(path=str(tmp_path / "poor.h5"), forces=0.0))
    bare = SetSettings(path=str(tmp_path / "poor.h5"), forces=0.0, stress=0.0)
    assert not read(bare).weights[:, 1:].any()
    assert read(path, bare).weights[:, 2].any()
    other = dataclasses.replace(dataset, levels={"model": {**LEVEL["model"], "version": "2"}})
    datasets.write(other, tmp_path / "other.h5")
    with pytest.raises(InputError, match="two levels of theory under the name 'model'"):
        read(path, tmp_path / "other.h5")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_refused(dataset, tmp_path, split):
    group = dataset.groups[0]
    rows = [i for i, s in enumerate(group.split) if s != split]
    datasets.write(dataclasses.replace(dataset, groups=(group.take(rows),)), tmp_path / "part.h5")
    with pytest.raises(InputError, match=rf"no configuration is for {split} \({len(rows)} read\)"):
        read(tmp_path / "part.h5")


def test_reference_energies_of_two_elements_are_found(path):
    e = read(path)
    numbers = np.where(np.random.default_rng(0).random(len(e.numbers)) < 0.3, 32, 14)
    e = dataclasses.replace(e, numbers=numbers)
    e = dataclasses.replace(e, energy=e.counts((14, 32)) @ np.array([-105.0, -90.0]))
    found = fit_references(e, (14, 32), offsets=False)
    np.testing.assert_allclose(found.energies, [-105.0, -90.0], rtol=1e-10)
    assert found.scale == pytest.approx(np.sqrt(np.mean(e.forces[np.repeat(e.split == "train", e.sizes)] ** 2)))


def test_offsets_of_meshes_are_found_below_the_thermal_differences(tmp_path):
    shift = {(2, 2, 2, 0, 0, 0): 0.030, (2, 2, 2, 0.5, 0.5, 0.5): -0.050, (3, 3, 3, 0, 0, 0): 0.0}
    datasets.write(labelled(((1, 90),), shift=shift), tmp_path / "three.h5")
    e = read(tmp_path / "three.h5")
    found = fit_references(e, (14,), offsets=True)
    assert found.meshes == ("Si 216", "Si 64", "Si 64+0.5,0.5,0.5")
    assert found.free.tolist() == [False, True, True]
    np.testing.assert_allclose(found.offsets, [0.0, 0.030, -0.050], atol=0.002)
    thermal = np.std((e.energy / e.sizes)[e.mesh == "Si 216"])
    assert thermal > 0.01


def test_cells_of_any_size_share_a_mesh_of_one_density(dataset, tmp_path):
    assert sorted(len(g.species) for g in dataset.groups) == [8, 16]
    dense = {8: (4.0, 4.0, 4.0, 0.5, 0.5, 0.5), 16: (2.0, 4.0, 4.0, 0.5, 0.5, 0.5)}
    groups = tuple(dataclasses.replace(g, mesh=dense[len(g.species)]) for g in dataset.groups)
    datasets.write(dataclasses.replace(dataset, groups=groups), tmp_path / "dense.h5")
    assert set(read(tmp_path / "dense.h5").mesh) == {"Si 512+0.5,0.5,0.5"}


def test_meshes_that_training_never_saw_are_known(tmp_path):
    datasets.write(labelled(((1, 60),), shift={(2, 2, 2, 0, 0, 0): 0.0, (3, 3, 3, 0, 0, 0): 0.0}), tmp_path / "two.h5")
    e = read(tmp_path / "two.h5")
    assert not unseen_meshes(e).any()
    split = np.where((e.mesh == "Si 64") & (e.split == "train"), "test", e.split.astype(str)).astype(object)
    assert (unseen_meshes(dataclasses.replace(e, split=split)) == (e.mesh == "Si 64")).all()
    assert jnp.ones(1).dtype == jnp.float64
