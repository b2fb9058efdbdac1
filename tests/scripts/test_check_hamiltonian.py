"""What the check of Hamiltonians compares: crystals at rest and strained ones, each on its mesh."""

import check_hamiltonian as check
import numpy as np
from ase.build import bulk

from jaxepi import datasets, hamiltonians, kpoints
from jaxepi.electrons import eigenvalues
from jaxepi.structure import Structure

STRAINS = {
    "unstrained": np.zeros((3, 3)),
    "isotropic": 0.02 * np.eye(3),
    "shear-xy": 0.01 * (np.outer([1, 0, 0], [0, 1, 0]) + np.outer([0, 1, 0], [1, 0, 0])),
}


def labelled(model, wrong=0.0):
    """Silicon with the bands of a model on another zero; conduction bands of strained crystals are off by `wrong` eV."""
    mesh, parts = kpoints.mesh(2), []
    for kind, strain in STRAINS.items():
        structure = Structure.from_ase(bulk("Si", a=5.431)).strained(strain)
        e = np.array(eigenvalues(model, structure, mesh))[:, :8] + 0.7
        e[:, 4:] += wrong * (kind != "unstrained")
        more = {"kpoints": mesh.points, "weights": mesh.weights, "occupied": 4, "mesh": (2, 2, 2, 0, 0, 0)}
        x, cell = np.asarray(structure.positions), np.asarray(structure.cell)
        labels = {"pbe": {"energy": 0.0, "eigenvalues": e}}
        parts.append(datasets.single(x, cell, [14, 14], labels, strain=strain, kind=kind, **more))
    return datasets.gather("test", {"pbe": {"code": "jaxepi", "version": "1", "settings": {}}}, parts)


def test_strained_crystals_are_compared_too():
    model = hamiltonians.load("si-vogl1983")
    head, isotropic, shear = check.strained_rows(model, labelled(model), "pbe")
    assert head == "2x2x2 shifted by [0.0, 0.0, 0.0], 2 strained crystals (xx yy zz yz xz xy): gaps 0, bands 0 meV rms"
    assert isotropic.strip().startswith("isotropic (+2.0 +2.0 +2.0 +0.0 +0.0 +0.0%): gap ")
    assert shear.strip().startswith("shear-xy (+0.0 +0.0 +0.0 +0.0 +0.0 +1.0%): gap ")
    off = check.strained_rows(model, labelled(model, 0.1), "pbe")
    assert "gaps 100, bands 71 meV rms" in off[0]  # 100 meV in four of eight bands
    assert all("(-100 meV); all bands 71 meV rms" in row for row in off[1:])
    assert check.strained_rows(model, labelled(model), "hse06") == []


def test_crystals_at_rest_are_compared_at_points_with_a_name():
    model = hamiltonians.load("si-vogl1983")
    head, *points = check.named_rows(model, labelled(model, 0.1), "pbe", 5.431)
    assert head.endswith("all bands 0 meV rms")
    assert [row.split(":")[0].split()[-1] for row in points] == ["Gamma", "X", "L"]
    assert all("(+0 meV)" in row or "(-0 meV)" in row for row in points)
