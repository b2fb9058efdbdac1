"""Engines: units and signs of pw.x's XML, the orbital order of GPAW's functions, and what is said when GPAW is missing."""

import importlib.util
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
import refused
from ase.build import bulk
from ase.units import Bohr, Hartree

from jaxepi import signals
from jaxepi.errors import InputError
from jaxepi.labelling import engines
from jaxepi.labelling.engines.espresso import _finished, read_xml
from jaxepi.labelling.engines.gpaw_code import Gpaw, _points
from jaxepi.labelling.engines.gpaw_lcao import SHELLS, GpawLcao, grid_of, outside, to_e3nn
from jaxepi.labelling.recipes import RECIPES
from jaxepi.labelling.structures import QUARTER, annotate
from jaxepi.labelling.structures.carbon import layers

XML = """<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns/qes/qes-1.0"><output>
<atomic_structure nat="2" alat="{alat}"></atomic_structure>
<total_energy><etot>-2.0</etot></total_energy>
<band_structure>
<ks_energies><k_point weight="0.5">0.0 0.0 0.0</k_point><npw>1</npw><eigenvalues size="2">-0.5 0.25</eigenvalues></ks_energies>
<ks_energies><k_point weight="1.5">{k}</k_point><npw>1</npw><eigenvalues size="2">-0.4 0.3</eigenvalues></ks_energies>
</band_structure>
<forces rank="2" dims="3 2">0.1 0.0 0.0 -0.1 0.0 0.0</forces>
<stress rank="2" dims="3 3">1e-3 0 0 0 1e-3 0 0 0 1e-3</stress>
</output></qes:espresso>"""


def test_xml_is_read_in_electronvolt_and_angstrom(tmp_path):
    atoms = bulk("Si", a=5.43)
    alat = np.linalg.norm(atoms.cell[0]) / Bohr
    half = np.array([0.5, 0.5, 0.0]) @ np.linalg.inv(atoms.cell.array).T * alat * Bohr
    path = tmp_path / "x.xml"
    path.write_text(XML.format(alat=alat, k=" ".join(map(str, half))))
    found = read_xml(path, atoms)
    assert found["energy"] == pytest.approx(-2 * Hartree)
    np.testing.assert_allclose(found["forces"][0], [0.1 * Hartree / Bohr, 0, 0])
    np.testing.assert_allclose(found["kpoints"], [[0, 0, 0], [0.5, 0.5, 0]], atol=1e-8)
    np.testing.assert_allclose(found["weights"], [0.25, 0.75])
    np.testing.assert_allclose(found["eigenvalues"][1], [-0.4 * Hartree, 0.3 * Hartree])
    np.testing.assert_allclose(found["stress"], -1e-3 * Hartree / Bohr**3 * np.eye(3))
    path.write_text(XML.format(alat=alat, k="0 0 0").replace("-2.0", "nan"))
    with pytest.raises(engines.LabelFailure, match="NaN"):
        read_xml(path, atoms)
    path.write_text(XML.format(alat=alat, k="0 0 0").replace("forces", "other"))
    with pytest.raises(engines.LabelFailure, match="has no forces"):
        read_xml(path, atoms)


@pytest.mark.parametrize("recipe", ["gaas-r2scan", "carbon-lcao"])
@pytest.mark.skipif(importlib.util.find_spec("gpaw") is not None, reason="GPAW is installed here")
def test_missing_gpaw_says_how_to_install(recipe):
    with pytest.raises(InputError, match=r"pip install gpaw"):
        engines.get(*RECIPES[recipe])


def test_an_engine_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="'vasp' is not known"):
        engines.get("vasp", {})


def test_gpaw_refuses_by_name():
    engine = object.__new__(Gpaw)  # GPAW itself is not needed to refuse
    engine.valence = {"Ga": 3, "As": 5}
    gaas = annotate(bulk("GaAs", "zincblende", a=5.65), "unstrained", "measured", 2)
    refused.what_the_recipe_lacks(engine, gaas, "setup")


def test_lcao_refuses_by_name():
    engine = object.__new__(GpawLcao)
    layer = annotate(layers(1, 3.35), "slid", "pbe", (9, 9, 1))
    engine.check(layer)
    with pytest.raises(InputError, match="made for carbon only"):
        engine.check(bulk("Si"))
    bulky = layer.copy()
    bulky.pbc = True
    with pytest.raises(InputError, match="periodic in the first two directions"):
        engine.check(bulky)
    with pytest.raises(InputError, match="no k mesh"):
        engine.check(layers(1, None))


def test_meshes_are_what_gpaw_is_given():
    points = _points(engines.Mesh((2, 2, 2), QUARTER))
    assert {tuple(p) for p in points} == {
        (a, b, c) for a in (0.125, -0.375) for b in (0.125, -0.375) for c in (0.125, -0.375)
    }


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_supercells_of_graphene_share_one_grid_under_every_strain(repeats):
    for strain in (-0.015, 0.0, 0.015):
        cell = layers(repeats, 3.4).cell.array * [[1 + strain], [1 - strain], [1.0]]
        assert grid_of(cell, 12) == (12 * repeats, 12 * repeats, 100)
    assert grid_of(cell, 16)[:2] == (16 * repeats, 16 * repeats)


def test_blocks_outside_the_reach_are_found():
    mesh = np.arange(5) / 5
    points = np.column_stack([mesh, 0 * mesh, 0 * mesh])
    near, far = 0.3, 2e-7
    matrices = 1 + 2 * near * np.cos(2 * np.pi * mesh) + 2 * far * np.cos(4 * np.pi * mesh)
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    found = outside(matrices[:, None, None].astype(complex), points, np.full(5, 0.2), (5, 1, 1), pairs, 1)
    assert found == pytest.approx(far)


def gpaw_functions(x, y, z):
    """One s, p and d shell in GPAW's order, squares summing to one on the unit sphere."""
    r2 = x**2 + y**2 + z**2
    d = [3**0.5 * x * y, 3**0.5 * y * z, (3 * z**2 - r2) / 2, 3**0.5 * x * z, 3**0.5 / 2 * (x**2 - y**2)]
    return [np.ones_like(x)], [y, z, x], d


def test_the_order_of_orbitals_is_e3nn_s():
    e3nn = pytest.importorskip("e3nn_jax")
    points = np.random.default_rng(0).normal(size=(20, 3))
    s, p, d = gpaw_functions(*points.T)
    turned = to_e3nn() @ np.concatenate([s, p, s, p, d])
    np.testing.assert_allclose(to_e3nn() @ to_e3nn().T, np.eye(13), atol=1e-14)
    start = 0
    irreps = {"s": "0e", "p": "1o", "d": "2e"}
    for shell in SHELLS:
        harmonics = e3nn.spherical_harmonics(irreps[shell], points, normalize=False, normalization="norm")
        width = harmonics.array.shape[1]
        np.testing.assert_allclose(turned[start : start + width], np.asarray(harmonics.array).T, atol=1e-5)
        start += width


def alive(pid):
    """Whether a process runs; one that has ended may wait for its parent, as a zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return found.strip() not in ("", "Z")


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
def test_a_program_that_is_interrupted_or_too_slow_is_stopped(tmp_path):
    """With all it started: each writes its process, and sleeps."""
    file = tmp_path / "pid"
    script = f"echo $$ > {file}; sleep 60 & echo $! >> {file}; wait"
    pids: list[int] = []
    for seconds in (1.0, 4.0, 16.0):  # on a busy machine even a shell takes its time
        assert not _finished(["sh", "-c", script], tmp_path, seconds)
        pids = [int(word) for word in file.read_text().split()] if file.exists() else []
        if len(pids) == 2:
            break
    assert len(pids) == 2
    end = time.monotonic() + 10
    while any(map(alive, pids)):
        assert time.monotonic() < end
        time.sleep(0.05)
    parent = os.getpid()
    start = time.monotonic()
    with pytest.raises(signals.Interrupted):
        _finished(["sh", "-c", f"kill -INT {parent}; sleep 60"], tmp_path, 30.0)
    assert time.monotonic() - start < 10
    assert _finished(["true"], tmp_path, 10.0)
