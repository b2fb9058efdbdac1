"""What tells how far labels can be trusted: finite differences, finer settings and meshes, cells of other sizes, labels made
again, turned axes; and the finite displacements that phonons come from.
"""

from pathlib import Path

import ase
import numpy as np
from ase.build import bulk
from scipy.spatial.transform import Rotation

from jaxepi import datasets
from jaxepi.labelling.structures import HALF, ZERO, annotate, on_mesh, strained
from jaxepi.labelling.structures.carbon import STACKINGS, bilayers, layers
from jaxepi.labelling.structures.crystals import (
    GAAS,
    SILICON,
    Crystal,
    gaas_cubic,
    gaas_forces,
    silicon_8,
    silicon_16,
    silicon_cubic,
)


def finite_displacements(cell: ase.Atoms, repeats: tuple[int, int, int], distance: float = 0.02):
    """phonopy's symmetry-reduced finite displacements of a supercell, both signs: the phonopy object (pip install phonopy)."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(symbols=cell.get_chemical_symbols(), cell=cell.cell.array, positions=cell.positions)
    phonon = Phonopy(unit, np.diag(repeats), primitive_matrix=np.eye(3))
    phonon.generate_displacements(distance=distance, is_plusminus=True, is_diagonal=False)
    return phonon


def phonons(cell: ase.Atoms, repeats: tuple[int, int, int], around: str, mesh, shift) -> list[ase.Atoms]:
    """The displaced supercells of `finite_displacements`, to be labelled."""
    out = []
    for moved in finite_displacements(cell, repeats).supercells_with_displacements:
        atoms = ase.Atoms(moved.symbols, positions=moved.positions, cell=moved.cell, pbc=cell.pbc)
        out.append(annotate(atoms, "finite-displacement", around, mesh, shift))
    return out


def silicon_phonons(seed: int) -> list[ase.Atoms]:
    """Finite displacements in 16 atoms (Gamma, X and L fit) on the mesh of `silicon_16`, at PBE's lattice constant."""
    del seed
    return phonons(bulk("Si", "diamond", a=SILICON["pbe"]), (2, 2, 2), "pbe", 3, HALF)


def gaas_phonons(seed: int) -> list[ase.Atoms]:
    """The same for gallium arsenide on the shifted 3x3x3 mesh."""
    del seed
    return phonons(bulk("GaAs", "zincblende", a=GAAS["r2scan"]), (2, 2, 2), "r2scan", 3, HALF)


def bilayer_phonons(seed: int) -> list[ase.Atoms]:
    """Finite displacements in a 2x2 AB bilayer 3.4 angstrom apart (Gamma and M fit)."""
    del seed
    return phonons(layers(1, 3.4, STACKINGS["AB"]), (2, 2, 1), "pbe", (12, 12, 1), ZERO)


def differences(atoms: ase.Atoms, base: int, seed: int, step: float = 0.01, strain: float = 0.002) -> list[ase.Atoms]:
    """A configuration and six neighbours of it: +-`step` angstrom (largest move) along a random direction, +-`strain`
    isotropic and +-`strain` shear. `extra` number `base` says which belong together."""
    direction = np.random.default_rng(seed).normal(size=atoms.positions.shape)
    direction -= direction.mean(axis=0)
    direction *= step / np.linalg.norm(direction, axis=1).max()
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = strain
    found = [("base", atoms.copy())]
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * direction
        found.append(("difference-forces", moved))
        found.append(("difference-isotropic", strained(atoms, sign * strain * np.eye(3))))
        found.append(("difference-shear", strained(atoms, sign * shear)))
    for kind, one in found:
        one.info = {**atoms.info, "kind": kind, "base": float(base)}
    return [one for _, one in found]


def silicon_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences around one 8-atom configuration on each mesh."""
    structures = silicon_cubic(seed)
    return [one for i in (0, 1) for one in differences(structures[i], i, seed + i)]


def silicon_forces_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences around a 16-atom configuration."""
    return differences(silicon_16(seed)[1], 1, seed)


def gaas_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences around an 8-atom configuration on the mesh shifted by a quarter."""
    return differences(gaas_cubic(seed)[0], 0, seed)


def bilayer_differences(seed: int, repeats: int, mesh: int) -> list[ase.Atoms]:
    """Finite differences of the energy along a random direction around a bilayer (LCAO has no stress)."""
    found = differences(bilayers(seed, 2, repeats, mesh)[1], 1, seed)
    return [atoms for atoms in found if atoms.info["kind"] in ("base", "difference-forces")]


def silicon_forces_mesh(seed: int) -> list[ase.Atoms]:
    """Three 16-atom configurations on the shifted 4x4x4 mesh, and one of 8 atoms on the shifted 6x6x6 one."""
    return [*on_mesh(silicon_16(seed)[:3], 4), *on_mesh(silicon_8(seed)[2:3], 6)]


def gaas_mesh(seed: int) -> list[ase.Atoms]:
    """Three 8-atom configurations on the shifted 4x4x4 mesh, and that of the first three of `gaas_forces` which is not among
    them."""
    return on_mesh([*gaas_cubic(seed)[:3], gaas_forces(seed)[1]], 4, HALF)


def bilayer_sizes(seed: int) -> list[ase.Atoms]:
    """The AB bilayer at rest, 3.4 angstrom apart, in 1x1 to 4x4 cells: do they give one energy an atom?

    The 1x1 cell on 9x9 points and 3x3 share their k points, and so do the 1x1 cell on 8x8, 2x2 and 4x4; 16x16 and 24x24 are
    denser.
    """
    del seed
    cells = ((1, 8), (2, 4), (4, 2), (1, 9), (3, 3), (1, 16), (1, 24))
    return [annotate(layers(n, 3.4, STACKINGS["AB"]), "unstrained", "pbe", (mesh, mesh, 1)) for n, mesh in cells]


DISTANCES = (3.0, 3.2, 3.4, 3.6, 3.8, 4.0)
"""Of rigid layers, angstrom: multiples of the spacing of the real-space grid along the normal (12 divisions)."""


def rigid_layers(distance: float, sliding: float) -> ase.Atoms:
    """A bilayer at rest whose atoms lie alike between the points of the real-space grid of 12 divisions (0.2 angstrom along the
    normal, a twelfth of a lattice vector in the plane), so that differences of such energies are free of its error."""
    atoms = layers(1, distance, sliding)
    atoms.positions[:, 2] += distance / 2 - 1.6
    return annotate(atoms, "unstrained", "pbe", (24, 24, 1), distance=distance, sliding=sliding)


def bilayer_layers(seed: int) -> list[ase.Atoms]:
    """Bilayers at rest: AB at several distances, and slid along the bonds 3.4 angstrom apart."""
    del seed
    slid = [(3.4, sliding) for sliding in (0.0, 0.25, 0.5, 0.75, 1.25, 1.5)]
    return [rigid_layers(*place) for place in [*((d, STACKINGS["AB"]) for d in DISTANCES), *slid]]


STRAINS = {"equal": ((1.0, 0.0), (0.0, 1.0)), "zigzag": ((1.0, 0.0), (0.0, 0.0)), "shear": ((0.0, 0.5), (0.5, 0.0))}
"""Of a layer in its plane: along both axes, along the rows of nearest equal atoms, and between them."""


def graphene_strains(seed: int) -> list[ase.Atoms]:
    """Graphene strained by up to 2%, atoms not relaxed: the labels' elastic constants. Atoms and grid points are strained
    alike, so that the grid's error is the same in all of them but for its spacing."""
    del seed
    out = [annotate(layers(1, None), "strained", "pbe", (24, 24, 1), strain=np.zeros((3, 3)))]
    for direction in STRAINS.values():
        for size in (-0.02, -0.01, 0.01, 0.02):
            strain = np.zeros((3, 3))
            strain[:2, :2] = size * np.array(direction)
            out.append(annotate(strained(layers(1, None), strain), "strained", "pbe", (24, 24, 1), strain=strain))
    return out


def ideal(material: str, a: float, around: str, cells: list[tuple]) -> list[ase.Atoms]:
    """The crystal at rest in several cells: do their meshes give one energy an atom?

    Args:
        cells: (conventional, repeats, mesh, shift) of each.
    """
    out = []
    for cubic, repeats, mesh, shift in cells:
        atoms = Crystal(material, cubic, repeats).ideal(a)
        out.append(annotate(atoms, "unstrained", around, mesh, shift))
    return out


def silicon_sizes(seed: int) -> list[ase.Atoms]:
    """Silicon at rest in 16 and 64 atoms (silicon-8 holds it in 8)."""
    del seed
    return ideal("silicon", SILICON["pbe"], "pbe", [(False, 2, 3, HALF), (True, 2, 2, HALF)])


def gaas_sizes(seed: int) -> list[ase.Atoms]:
    """GaAs at rest in 8 atoms on the Gamma-centred mesh and in 16 on both (gaas-8, gaas-forces and gaas-primitive hold the
    others)."""
    del seed
    return ideal("gaas", GAAS["r2scan"], "r2scan", [(True, 1, 2, ZERO), (False, 2, 2, HALF), (False, 2, 3, HALF)])


def silicon_relabelled(seed: int) -> list[ase.Atoms]:
    """One imported configuration on each mesh, to label again: do the imported labels agree with ours?"""
    del seed
    data = datasets.read(Path(__file__).resolve().parents[3] / "experiments/silicon/data/hse06.h5")
    out = []
    for group in data.groups:
        rows = [i for i, source in enumerate(group.source) if source.startswith("made beforehand")]
        for i in rows[:1]:
            atoms = ase.Atoms(group.species, positions=group.positions[i], cell=group.cell[i], pbc=True)
            info = {"temperature": group.temperature[i], "strain": group.strain[i]}
            mesh = [int(n) for n in group.mesh[:3]]
            out.append(annotate(atoms, group.kind[i], group.around[i], mesh, group.mesh[3:], **info))
    return out


def bilayer_rotated(seed: int) -> list[ase.Atoms]:
    """A displaced 1x1 bilayer and the same turned in space: does H follow the orbital order that is claimed?"""
    base = bilayers(seed, 1, 1, 9)[0]
    base.info |= {"kind": "base", "base": 0.0}
    turned = base.copy()
    rotation = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()
    turned.set_cell(base.cell.array @ rotation.T, scale_atoms=True)
    turned.info = {**base.info, "kind": "rotated"}
    return [base, turned]
