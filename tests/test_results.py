"""The result store: what goes in comes out, what is damaged is refused by name, and a kill leaves nothing unreadable."""

import subprocess
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import hamiltonians, potentials, results
from jaxepi.electrons import BandEdges
from jaxepi.errors import InputError
from jaxepi.optics import EnergyGrid, Spectrum, TaucFit, Transitions
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import STORED, field, pytree, replace, static, stored

ORIGIN = {"settings": {"width": 0.03, "temperatures": [100.0, 300.0]}, "model_hash": "a" * 64, "date": "today"}


def contents() -> dict:
    rng = np.random.default_rng(0)

    def array(*shape):
        return jnp.asarray(rng.normal(size=shape))

    cell = Structure.create([[0, 0, 0], [1.4, 1.4, 1.4]], 5.4 * np.eye(3), [31, 33], pbc=(True, True, False))
    grid = EnergyGrid(0.004, 50)
    edges = BandEdges(array(2, 3), array(6, 3), array(), array(), array(), (3, 1))
    return {
        "snapshots": (Snapshots(cell.supercell((2, 1, 1)), array(3, 4, 3), jnp.asarray(300.0)),),
        "transitions": Transitions(array(3, 6, 50), array(3, 1, 8), jnp.ones(1), jnp.asarray(4.0), grid, 4),
        "spectrum": Spectrum(array(5), array(3, 5, 3, 3), array(3, 5, 3, 3)),
        "fit": TaucFit(array(), array(), array(), (array(), array()), array()),
        "edges": edges,
        "thermal": {"valence": Quantity(rng.normal(size=(2, 3)), "eV"), "kind": "indirect"},
    }


def test_what_snapshots_say_of_themselves_is_kept(tmp_path):
    cell = Structure.create([[0, 0, 0]], 5.4 * np.eye(3), [31])
    count = 20_000  # groups of so many are longer than an attribute of HDF5 can be
    drawn = Snapshots(cell, jnp.zeros((count, 1, 3)), 1.0, jnp.ones(count), tuple(range(count // 2)) * 2, "quantum")
    results.write(tmp_path / "s.h5", {"snapshots": drawn, "few": drawn.take([0, 3])}, ORIGIN)
    found = results.read(tmp_path / "s.h5").contents
    assert_equal(drawn, found["snapshots"])
    assert found["few"].groups == (0, 3)
    assert found["few"].statistics == "quantum"


def assert_equal(one, two) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype, path
        np.testing.assert_array_equal(a, b, err_msg=str(path))


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "result.h5"
    results.write(target, contents(), ORIGIN)
    return target


def test_pytrees_come_back_as_they_were(path):
    found = results.read(path)
    expected = contents()
    for name, value in expected.items():
        if name != "thermal":
            assert_equal(value, found.contents[name])
    assert found.contents["thermal"]["kind"] == "indirect"
    np.testing.assert_array_equal(found.contents["thermal"]["valence"].value, expected["thermal"]["valence"].value)
    assert found.provenance == ORIGIN


def test_every_array_has_a_unit(path):
    units = {}

    def note(name, node):
        if isinstance(node, h5py.Dataset) and node.attrs.get("type") != "text":
            units[name] = node.attrs["unit"]

    with h5py.File(path) as file:
        file.visititems(note)
    assert all(units.values())
    assert len(units) == 23
    assert units["snapshots/000000/positions"] == units["snapshots/000000/structure/cell"] == "angstrom"
    assert (units["snapshots/000000/temperature"], units["transitions/plasma"]) == ("K", "eV^2")


EARLIER = """
import sys
from jaxepi import results
held = results.read(sys.argv[1]).contents
assert not {"jaxepi.training", "jaxepi.plotting", "jaxepi.workflows"} & set(sys.modules)
print(*(type(held[name]).__name__ for name in sorted(held)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True])
def test_a_new_process_finds_the_classes_of_a_file(path, earlier):
    if earlier:  # files that do not say which stage a class belongs to
        with h5py.File(path, "a") as file:
            file.visititems(lambda _, node: node.attrs.pop("stage", None) and None)
    done = subprocess.run([sys.executable, "-c", EARLIER, path], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["BandEdges", "TaucFit", "tuple", "Spectrum", "dict", "Transitions"], done.stderr


def test_unknown_classes_are_refused_and_no_other_module_is_imported(path):
    with h5py.File(path, "a") as file:
        file["spectrum"].attrs.update({"type": "Popen", "stage": "subprocess"})
    with pytest.raises(InputError, match="unknown type 'Popen'; use a newer jaxepi"):
        results.read(path)


def test_units_stand_at_the_fields_and_absent_values_come_back(tmp_path):
    @stored
    @pytree
    class Sample:
        length: jax.Array = field(unit="nm")
        weights: jax.Array | None = field(unit="1", default=None)
        names: tuple[str, ...] = static(default=())

    try:
        names = tuple(f"atom {i}" for i in range(20000))  # longer than an attribute can be
        results.write(tmp_path / "a.h5", {"one": Sample(jnp.arange(3.0), None, names)}, ORIGIN)
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["one/length"].attrs["unit"] == "nm"
        found = results.read(tmp_path / "a.h5").contents["one"]
        assert (found.weights, found.names, found.length.tolist()) == (None, names, [0.0, 1.0, 2.0])
    finally:
        STORED.pop("Sample")
    with pytest.raises(TypeError, match="both store a Spectrum"):
        stored(type("Spectrum", (), {}))


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.5, 0.99])
def test_truncated_file_is_refused(path, fraction):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=r"result\.h5 .*--overwrite"):
        results.read(path)


def test_damaged_data_are_refused(path):
    with h5py.File(path, "a") as file:
        del file["spectrum/eps1"]
    with pytest.raises(InputError, match=r"result\.h5 is damaged.*eps1"):
        results.read(path)


def test_missing_foreign_and_newer_files_are_refused(path, tmp_path):
    with pytest.raises(InputError, match=r"none\.h5 is not a file"):
        results.read(tmp_path / "none.h5")
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(InputError, match="version 99 of jaxepi-result"):
        results.read(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "another"
    with pytest.raises(InputError, match="format 'another'"):
        results.read_provenance(path)


def test_a_failed_write_leaves_the_old_file(path):
    with pytest.raises(TypeError, match="wrap numbers in Quantity"):
        results.write(path, {"snapshots": contents()["snapshots"], "number": 3.0}, ORIGIN)
    assert set(results.read(path).contents) == set(contents())
    assert [file.name for file in path.parent.iterdir()] == ["result.h5"]


def test_fingerprint_sees_parameters_species_and_settings():
    one, other = hamiltonians.load("si-vogl1983"), potentials.load("silicon-mvff")
    again = hamiltonians.load("si-vogl1983")
    assert results.fingerprint(one, other) == results.fingerprint(again, other)
    changed = replace(other, params={**other.params, "alpha": other.params["alpha"] * (1 + 1e-15)})
    widened = replace(other, module=type(other.module)(other.module.bond_length + 1e-6, other.module.species))
    hashes = {results.fingerprint(one, p) for p in (other, changed, widened)}
    assert len(hashes | {results.fingerprint(other)}) == 4


def test_run_keeps_parts_and_packs_them(tmp_path):
    target = tmp_path / "result.h5"
    run = results.Run(target, ORIGIN)
    calls = []

    def compute():
        calls.append(1)
        return {"value": Quantity(np.arange(3.0), "eV")}

    first = run.keep("snapshot-0", compute)
    second = results.Run(target, ORIGIN).keep("snapshot-0", compute)
    np.testing.assert_array_equal(first["value"].value, second["value"].value)
    assert len(calls) == 1
    assert len(list(run.parts.glob("snapshot*.h5"))) == 1
    run.finish(first)
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]
    assert results.Run(target, ORIGIN).complete


def test_half_written_and_unreadable_parts_are_computed_again(tmp_path):
    run = results.Run(tmp_path / "result.h5", ORIGIN)
    run.put("snapshot-0", {"value": Quantity(np.arange(3.0), "eV")})
    part = run.parts / "snapshot-0.h5"
    part.write_bytes(part.read_bytes()[:300])
    (run.parts / ".snapshot-1.123.tmp").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"snapshot-0\.h5"):
        again = results.Run(tmp_path / "result.h5", ORIGIN).keep("snapshot-0", lambda: {"value": Quantity(7.0, "eV")})
    assert again["value"].value == 7.0
    run.finish(again)
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]


@pytest.mark.parametrize("finished", [False, True])
def test_other_settings_and_models_are_refused(tmp_path, finished):
    run = results.Run(tmp_path / "result.h5", ORIGIN)
    if finished:
        run.finish({})
    other = {**ORIGIN, "settings": {**ORIGIN["settings"], "width": 0.05}}
    with pytest.raises(InputError, match=r"width was 0\.03 and is now 0\.05.*--overwrite"):
        results.Run(tmp_path / "result.h5", other)
    results.Run(tmp_path / "result.h5", other, ignore=("width",))
    with pytest.raises(InputError, match="the model has changed"):
        results.Run(tmp_path / "result.h5", {**ORIGIN, "model_hash": "b" * 64})


def test_replaced_result_goes_only_when_the_new_one_is_complete(tmp_path):
    target = tmp_path / "result.h5"
    results.write(target, contents(), ORIGIN)
    other = {**ORIGIN, "settings": {"width": 0.05}}
    run = results.Run(target, other, resume=False)
    assert not run.complete
    assert set(results.read(run.parts / "replaced.old").contents) == set(contents())
    results.Run(target, other).finish({"value": Quantity(1.0, "eV")})
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]
    assert results.read_provenance(target)["settings"] == {"width": 0.05}


def test_outputs_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        results.Run(tmp_path, ORIGIN)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        results.Run(tmp_path / "nowhere" / "result.h5", ORIGIN)
