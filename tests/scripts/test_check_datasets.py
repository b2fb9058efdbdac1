"""The tables of experiments/README.md: what they compute, on sets whose answers are known."""

import check_datasets as check
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.spatial.transform import Rotation

from jaxepi import datasets
from jaxepi.labelling.engines.gpaw_lcao import SHELLS
from jaxepi.labelling.structures import annotate
from jaxepi.labelling.structures.checks import differences

LEVELS = {"emt": {"code": "ASE EMT", "version": "1", "settings": {"ecutwfc_ry": 25.0}}}


def labelled(atoms, shift: float = 0.0, mesh=(2, 2, 2, 0, 0, 0)) -> datasets.Configurations:
    """EMT, its energy moved by `shift` eV an atom."""
    atoms = atoms.copy()
    info = atoms.info
    atoms.calc = EMT()
    labels = {
        "energy": atoms.get_potential_energy() + shift * len(atoms),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(voigt=False),
    }
    extra = {"base": info["base"]} if "base" in info else {}
    return datasets.single(
        atoms.positions, atoms.cell.array, atoms.numbers.tolist(), {"emt": labels}, mesh=mesh, kind=info["kind"],
        extra=extra, seconds=2.0,
    )  # fmt: skip


@pytest.fixture
def copper():
    rng = np.random.default_rng(0)
    out = []
    for _ in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.05, size=(4, 3))
        out.append(annotate(atoms, "thermal-quantum", "measured", 2))
    return out


def test_convergence_compares_the_same_geometries(copper):
    data = datasets.gather("emt", LEVELS, [labelled(a) for a in copper])
    finer = {"emt": {**LEVELS["emt"], "settings": {"ecutwfc_ry": 35.0}}}
    other = datasets.gather("emt-35ry", finer, [labelled(a, 0.005) for a in copper[:2]])
    (row,) = check.convergence("copper/emt", data, other)
    assert row == ["copper/emt", "emt", "4", "2", "25.0 to 35.0 Ry", "5.0", "0.00", "0.0 (0.0)", "-"]
    mesh = datasets.gather("emt-mesh", LEVELS, [labelled(a, 0.001, (3, 3, 3, 0.5, 0.5, 0.5)) for a in copper])
    (row,) = check.convergence("copper/emt", data, mesh)
    assert row[3:6] == ["3", "2x2x2 to 3x3x3 shifted", "1.0"]
    both = data.merged(mesh)
    assert list(check.convergence("copper/emt", both, both)) == [row], "the coarser of two meshes against the denser"


def test_forces_and_stress_agree_with_differences_of_the_energy(copper):
    data = datasets.gather("emt-differences", LEVELS, [labelled(a) for a in differences(copper[0], 0, 0)])
    rows = list(check.differences("copper/emt-differences", data))
    assert [r[4] for r in rows] == ["force along a direction", "isotropic stress", "shear stress"]
    assert float(rows[0][-1].split()[0]) < 1.0
    assert all(float(r[-1].split()[0]) < 0.05 for r in rows[1:])


def test_crystals_at_rest_are_compared_by_energy_an_atom():
    base = bulk("Cu", cubic=True)
    cells = [annotate(base.repeat(n), "unstrained", "measured", 2) for n in (1, 2)]
    data = datasets.gather("emt", LEVELS, [labelled(cells[0]), labelled(cells[1], 0.002)])
    rows = list(check.sizes("copper/emt", data))
    assert [r[3] for r in rows] == ["4", "32"]
    assert [float(r[-1]) for r in rows] == pytest.approx([0.0, 2.0], abs=0.01)


def test_contents_count_kinds_and_splits(copper):
    (row,) = check.contents("copper/emt", datasets.gather("emt", LEVELS, [labelled(a) for a in copper]))
    assert row[1] == "3: 3 thermal-quantum"
    assert row[2:5] == ["4", "2x2x2", "emt"]
    assert sum(int(n) for n in row[5].split("/")) == 3
    assert row[6] == "2"


@pytest.mark.slow
def test_orbitals_turn_as_e3nn_s_irreps():
    e3nn = pytest.importorskip("e3nn_jax")
    rotation = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()
    irreps = e3nn.Irreps("0e + 1o + 0e + 1o + 2e")
    np.testing.assert_allclose(check.rotation_of_orbitals(SHELLS, rotation), irreps.D_from_matrix(rotation), atol=1e-5)
