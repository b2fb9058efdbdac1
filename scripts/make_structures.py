"""Make structures to label, deterministic from a seed: strains, thermal displacements, distances and slidings.

    python scripts/make_structures.py silicon-primitive silicon-hse06.xyz

Every structure carries in `info`: kind, temperature (K; absent without displacements), around (which lattice), and the
k mesh (mesh, shift in divisions) it is to be labelled with.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase
import ase.io
import numpy as np
from ase.build import bulk
from scipy.spatial.transform import Rotation

SILICON = {"measured": 5.431, "hse06-shifted": 5.453, "hse06-gamma": 5.461, "pbe": 5.476}
"""Lattice constants, angstrom: measured at room temperature; relaxed at HSE06 on each 2x2x2 grid of 8 atoms; relaxed at
PBE on converged meshes (25 Ry, 6x6x6 and the shifted 8x8x8 of 2 atoms: 5.4766 and 5.4755)."""

GAAS = {"measured": 5.6533, "r2scan": 5.680, "r2scan-gamma": 5.684}
"""The same for r2SCAN (400 eV): 2 atoms on the shifted 4x4x4 mesh; 8 atoms on the Gamma-centred 2x2x2 mesh."""

CARBON = {"measured": 2.461, "pbe": 2.467}
"""Graphene: measured, and PBE."""

MATERIALS = {"silicon": ("Si", "diamond", "silicon-mvff"), "gaas": ("GaAs", "zincblende", "galliumarsenide-mvff")}
"""Name and structure for `ase.build.bulk`, and the valence force field that the displacements are drawn from."""

MEASURED = {"silicon": 5.431, "gaas": 5.6532}
"""Angstrom, at room temperature: where the force fields are at rest."""

HALF = (0.5, 0.5, 0.5)
ZERO = (0.0, 0.0, 0.0)
QUARTER = (0.25, 0.25, 0.25)
"""Shift of the 2x2x2 mesh of the conventional fcc cell that, with its time-reversed points, holds the same points as the
shifted 4x4x4 mesh of the primitive cell, and as the shifted 2x2x2 mesh of 2x2x2 primitive cells."""


def strains() -> dict[str, np.ndarray]:
    """Symmetric strains: isotropic to +-3%, uniaxial along 100, 110, 111 and shear to +-2%, biaxial +-1%."""
    eye, along = np.eye(3), np.diag([1.0, 0.0, 0.0])
    shear = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    diagonal, plane = np.ones((3, 3)) / 3, np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    found = {f"isotropic {e:+.3f}": e * eye for e in (-0.03, -0.02, -0.01, 0.01, 0.02, 0.03)}
    found |= {f"uniaxial-100 {e:+.3f}": e * along for e in (-0.02, -0.01, 0.01, 0.02)}
    found |= {f"shear-xy {e:+.3f}": e * shear for e in (-0.02, -0.01, 0.01, 0.02)}
    found |= {f"uniaxial-111 {e:+.3f}": e * diagonal for e in (-0.02, -0.01, 0.01, 0.02)}
    found |= {f"biaxial {e:+.3f}": e * (eye - along) for e in (-0.01, 0.01)}
    found |= {f"uniaxial-110 {e:+.3f}": e * plane for e in (-0.02, -0.01, 0.01, 0.02)}
    return found


def random_strain(generator: np.random.Generator) -> np.ndarray:
    """Symmetric entries up to +-1.4% and up to +-1.5% isotropic, as in the labels made beforehand."""
    entries = generator.uniform(-0.014, 0.014, (3, 3))
    return np.triu(entries) + np.triu(entries, 1).T + generator.uniform(-0.015, 0.015) * np.eye(3)


def strained(atoms: ase.Atoms, strain: np.ndarray) -> ase.Atoms:
    """x -> x (1 + strain), positions and cell alike."""
    out = atoms.copy()
    out.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return out


def annotate(atoms: ase.Atoms, kind: str, around: str, mesh, shift=ZERO, **info) -> ase.Atoms:
    """Write what a structure is, and the k mesh it is labelled with, into its `info`."""
    divisions = [mesh] * 3 if isinstance(mesh, int) else list(mesh)
    atoms.info = {"kind": kind, "around": around, "mesh": np.array(divisions), "shift": np.array(shift, float), **info}
    return atoms


@dataclasses.dataclass(frozen=True)
class Crystal:
    """A cell to displace: material (a key of MATERIALS), conventional cell or primitive, and its repeats."""

    material: str
    cubic: bool
    repeats: int = 1

    @functools.cached_property
    def force_constants(self):
        """Force constants of the material's valence force field, at that field's own lattice constant."""
        import jax

        jax.config.update("jax_enable_x64", True)
        from jaxepi import potentials, sampling
        from jaxepi.structure import Structure

        name, structure, field = MATERIALS[self.material]
        potential = potentials.load(field)
        own = MEASURED[self.material]
        base = bulk(name, structure, a=own, cubic=self.cubic)
        return sampling.force_constants(potential, Structure.from_ase(base).supercell(self.repeats)), own

    def ideal(self, a: float) -> ase.Atoms:
        """The crystal at rest at lattice constant `a` (angstrom)."""
        name, structure, _ = MATERIALS[self.material]
        return bulk(name, structure, a=a, cubic=self.cubic).repeat(self.repeats)

    def thermal(
        self, a: float, temperature: float, statistics: Literal["quantum", "classical"], seed: int
    ) -> ase.Atoms:
        """The crystal at lattice constant `a`, its atoms displaced by harmonic modes at `temperature` (kelvin)."""
        import jax

        from jaxepi import sampling

        constants, own = self.force_constants
        snapshot = sampling.harmonic(
            constants, temperature=temperature, count=1, key=jax.random.key(seed), statistics=statistics
        )
        atoms = constants.supercell.to_ase()
        atoms.set_cell(atoms.cell.array * a / own, scale_atoms=True)
        atoms.positions += np.asarray(snapshot.displacements[0])
        return atoms


def primitive(symbol: str, structure: str, measured: float, level: str, relaxed: float, seed: int) -> list[ase.Atoms]:
    """Two atoms on the 4x4x4 and the shifted 4x4x4 mesh: unstrained at both lattices, and strained (a quarter of the
    strains around the measured lattice). Nothing here is random; `seed` is for the sake of the interface."""
    del seed
    out = []
    for around, a in (("measured", measured), (level, relaxed)):
        for shift in (ZERO, HALF):
            out.append(annotate(bulk(symbol, structure, a=a), "unstrained", around, 4, shift))
    for index, (name, strain) in enumerate(strains().items()):
        around, a = ("measured", measured) if index % 4 == 3 else (level, relaxed)
        for shift in (ZERO, HALF):
            cell = strained(bulk(symbol, structure, a=a), strain)
            out.append(annotate(cell, name.rsplit(" ", 1)[0], around, 4, shift, strain=strain))
    return out


def silicon_primitive(seed: int) -> list[ase.Atoms]:
    """Two atoms on the 4x4x4 and the shifted 4x4x4 mesh, unstrained and strained; meshes that reach 0.75 and 0.875 X.

    The mesh shifted by (3/4, 3/4, 0) of a division holds (7/16, 7/16, 0), which is 0.875 of Gamma-X; the one shifted by
    (1/2, 1/2, 0) holds 0.75. The relaxed lattice of HSE06 is taken midway between those of the two 8-atom grids.
    """
    relaxed = (SILICON["hse06-shifted"] + SILICON["hse06-gamma"]) / 2
    out = primitive("Si", "diamond", SILICON["measured"], "hse06", relaxed, seed)
    for shift in ((0.5, 0.5, 0.0), (0.75, 0.75, 0.0), (0.25, 0.25, 0.0)):
        out.append(annotate(bulk("Si", "diamond", a=SILICON["measured"]), "unstrained", "measured", 4, shift))
    return out


SCHEDULE = (300, 100, 500, 50, 400, 200, 300, 100, 600, 400)
"""Kelvin, in turn: temperatures of training thrice as often as the two of the test."""


def schedule(count: int, seed: int):
    """For each of `count`: index, temperature, statistics, strain or None, whether measured lattice.

    Temperatures in turn; a quarter is classical, half are strained, a fifth is around the measured lattice.
    """
    generator = np.random.default_rng(seed)
    for index in range(count):
        temperature = float(SCHEDULE[index % len(SCHEDULE)])
        classical, bent, measured = generator.uniform(size=3) < (0.25, 0.5, 0.2)
        strain = random_strain(generator)
        yield index, temperature, "classical" if classical else "quantum", strain if bent else None, measured


def displaced(cells: list[tuple], count: int, seed: int) -> list[ase.Atoms]:
    """Thermal configurations of several cells in turn.

    Args:
        cells: (crystal, mesh, shift, name and constant of the relaxed lattice, measured constant).
    """
    out = []
    for index, temperature, statistics, strain, measured in schedule(count, seed):
        crystal, mesh, shift, (lattice, relaxed), known = cells[(index // 10 + index) % len(cells)]
        around, a = ("measured", known) if measured else (lattice, relaxed)
        atoms = crystal.thermal(a, temperature, statistics, 1_000_000 * seed + index)
        info: dict = {"temperature": temperature}
        if strain is not None:
            atoms, info["strain"] = strained(atoms, strain), strain
        kind = f"thermal-{statistics}" + ("" if strain is None else "-strained")
        out.append(annotate(atoms, kind, around, mesh, shift, **info))
    return out


def silicon_cubic(seed: int) -> list[ase.Atoms]:
    """Eight atoms, thermal, on the Gamma-centred and the shifted 2x2x2 mesh: three of the former for every two."""
    crystal = Crystal("silicon", cubic=True)
    gamma = (crystal, 2, ZERO, ("hse06-gamma", SILICON["hse06-gamma"]), SILICON["measured"])
    shifted = (crystal, 2, HALF, ("hse06-shifted", SILICON["hse06-shifted"]), SILICON["measured"])
    return displaced([gamma, shifted, gamma, shifted, gamma], 320, seed)


def silicon_16(seed: int) -> list[ase.Atoms]:
    """16 atoms (2x2x2 primitive cells), thermal, for PBE forces on the shifted 3x3x3 mesh.

    The Gamma-centred 3x3x3 mesh is 11 meV an atom off the shifted 4x4x4 one, the shifted 3x3x3 mesh 0.1 meV.
    """
    crystal = Crystal("silicon", cubic=False, repeats=2)
    return displaced([(crystal, 3, HALF, ("pbe", SILICON["pbe"]), MEASURED["silicon"])], 60, seed)


def bent(crystal: Crystal, a: float, around: str, mesh: int, shift, count: int, seed: int) -> list[ase.Atoms]:
    """Strained cells: the named strains in turn and, before the first and between rounds, none; of every four three are
    displaced as well, at the temperatures of SCHEDULE."""
    found: list[tuple[str, np.ndarray | None]] = [("unstrained", None), *strains().items()]
    out = []
    for index in range(count):
        name, strain = found[index % len(found)]
        kind = name.rsplit(" ", 1)[0]
        if index % 4:
            temperature = float(SCHEDULE[index % len(SCHEDULE)])
            atoms = crystal.thermal(a, temperature, "quantum", 1_000_000 * seed + index)
            kind, info = f"thermal-quantum-{kind}", {"temperature": temperature}
        else:
            atoms, info = crystal.ideal(a), {}
        if strain is not None:
            atoms, info["strain"] = strained(atoms, strain), strain
        out.append(annotate(atoms, kind, around, mesh, shift, **info))
    return out


def silicon_8(seed: int) -> list[ase.Atoms]:
    """8 atoms with strains to 3%, for PBE forces on the shifted 4x4x4 mesh, onto which that of 64 atoms unfolds."""
    return bent(Crystal("silicon", cubic=True), SILICON["pbe"], "pbe", 4, HALF, 40, seed)


def silicon_64(seed: int) -> list[ase.Atoms]:
    """64 atoms (2x2x2 cubic cells), thermal, for PBE forces on the shifted 2x2x2 mesh."""
    crystal = Crystal("silicon", cubic=True, repeats=2)
    return displaced([(crystal, 2, HALF, ("pbe", SILICON["pbe"]), MEASURED["silicon"])], 60, seed)


def gaas_primitive(seed: int) -> list[ase.Atoms]:
    """Two atoms on the 4x4x4 and the shifted 4x4x4 mesh, unstrained and strained."""
    return primitive("GaAs", "zincblende", MEASURED["gaas"], "r2scan", GAAS["r2scan"], seed)


def gaas_cubic(seed: int) -> list[ase.Atoms]:
    """Eight atoms, thermal: three on the 2x2x2 mesh that unfolds onto the primitive shifted 4x4x4 for every two on the
    Gamma-centred one."""
    crystal = Crystal("gaas", cubic=True)
    lattices = {QUARTER: "r2scan", ZERO: "r2scan-gamma"}
    quarter, gamma = ((crystal, 2, s, (name, GAAS[name]), MEASURED["gaas"]) for s, name in lattices.items())
    return displaced([quarter, gamma, quarter, gamma, quarter], 300, seed)


def gaas_8(seed: int) -> list[ase.Atoms]:
    """Eight atoms with strains to 3%, on the mesh that unfolds onto the primitive shifted 4x4x4."""
    return bent(Crystal("gaas", cubic=True), GAAS["r2scan"], "r2scan", 2, QUARTER, 25, seed)


def gaas_16(seed: int) -> list[ase.Atoms]:
    """16 atoms (2x2x2 primitive cells), thermal, on the shifted 2x2x2 mesh (the primitive shifted 4x4x4)."""
    crystal = Crystal("gaas", cubic=False, repeats=2)
    return displaced([(crystal, 2, HALF, ("r2scan", GAAS["r2scan"]), MEASURED["gaas"])], 20, seed)


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
    """The same for gallium arsenide on the mesh of `gaas_16`."""
    del seed
    return phonons(bulk("GaAs", "zincblende", a=GAAS["r2scan"]), (2, 2, 2), "r2scan", 2, HALF)


def bilayer_phonons(seed: int) -> list[ase.Atoms]:
    """Finite displacements in a 2x2 AB bilayer 3.4 angstrom apart (Gamma and M fit)."""
    del seed
    return phonons(layers(1, 3.4, STACKINGS["AB"]), (2, 2, 1), "pbe", (4, 4, 1), ZERO)


STACKINGS = {"AA": 0.0, "AB": 1.0, "SP": 1.5}
"""Sliding of the upper layer along the bonds, in bond lengths."""


def layers(repeats: int, distance: float | None, sliding: float = 0.0, a: float = CARBON["pbe"]) -> ase.Atoms:
    """Graphene, or a bilayer `distance` angstrom apart slid by `sliding` bond lengths, in a cell 20 angstrom high."""
    cell = np.array([[a, 0.0, 0.0], [-a / 2, a * 3**0.5 / 2, 0.0], [0.0, 0.0, 20.0]])
    bond = (cell[0] + 2 * cell[1]) / 3
    one = np.array([np.zeros(3), bond])
    heights = [0.0] if distance is None else [-distance / 2, distance / 2]
    sites = [one + i * sliding * bond + [0, 0, 10 + z] for i, z in enumerate(heights)]
    atoms = ase.Atoms(f"C{2 * len(sites)}", positions=np.concatenate(sites), cell=cell, pbc=(True, True, False))
    return atoms.repeat((repeats, repeats, 1))


def rippled(atoms: ase.Atoms, generator: np.random.Generator, size: float) -> ase.Atoms:
    """Random displacements: root mean square `size` angstrom a component, half of it smooth (long waves of the cell)."""
    out = atoms.copy()
    fractional = atoms.get_scaled_positions()[:, :2]
    smooth = np.zeros_like(atoms.positions)
    for k in np.indices((3, 3)).reshape(2, -1).T - 1:
        phase = 2 * np.pi * (fractional @ k)[:, None] + generator.uniform(0, 2 * np.pi, 3)
        smooth += generator.normal(size=3) * np.sin(phase) / 2
    move = (smooth / max(smooth.std(), 1e-9) + generator.normal(size=smooth.shape)) * size / 2**0.5
    out.positions += move - move.mean(axis=0)
    return out


def bilayers(seed: int, count: int, repeats: int, mesh: int) -> list[ase.Atoms]:
    """Bilayers at 3.0 to 3.7 angstrom, slid by AA, AB, SP and anything between, displaced, a third of them strained."""
    generator = np.random.default_rng(seed)
    out = []
    for index in range(count):
        distance = 3.0 + 0.7 * ((index * 0.6180339887) % 1)
        named = list(STACKINGS)[index % 3] if index % 2 else None
        sliding = STACKINGS[named] if named else generator.uniform(0.0, 1.5)
        size = generator.uniform(0.01, 0.07)
        strain = np.zeros((3, 3))
        if index % 3 == 0:
            strain[:2, :2] = generator.uniform(-0.015, 0.015, (2, 2))
            strain = (strain + strain.T) / 2
        atoms = rippled(strained(layers(repeats, distance, sliding), strain), generator, size)
        info = {"distance": distance, "sliding": sliding, "amplitude": size, "strain": strain}
        out.append(annotate(atoms, named or "slid", "pbe", (mesh, mesh, 1), **info))
    return out


def monolayers(seed: int, count: int, repeats: int, mesh: int) -> list[ase.Atoms]:
    """Graphene, displaced."""
    generator = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        size = generator.uniform(0.01, 0.07)
        atoms = rippled(layers(repeats, None), generator, size)
        out.append(annotate(atoms, "monolayer", "pbe", (mesh, mesh, 1), amplitude=size))
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


def silicon_convergence(seed: int) -> list[ase.Atoms]:
    """Three 8-atom configurations as labelled: for a recipe with a higher cutoff."""
    return silicon_cubic(seed)[:3]


def silicon_mesh(seed: int) -> list[ase.Atoms]:
    """The same three on the 3x3x3 meshes of the same shift."""
    return [on_mesh([atoms], 3, atoms.info["shift"])[0] for atoms in silicon_cubic(seed)[:3]]


def on_mesh(structures: list[ase.Atoms], mesh: int, shift=HALF) -> list[ase.Atoms]:
    """The same structures to be labelled on another mesh."""
    out = [atoms.copy() for atoms in structures]
    for atoms in out:
        atoms.info |= {"mesh": np.array([mesh] * 3), "shift": np.array(shift)}
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


def silicon_forces_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences around a 16-atom configuration."""
    return differences(silicon_16(seed)[1], 1, seed)


def silicon_forces_convergence(seed: int) -> list[ase.Atoms]:
    """Three 16-atom configurations as labelled: for a recipe with a higher cutoff."""
    return silicon_16(seed)[:3]


def silicon_forces_mesh(seed: int) -> list[ase.Atoms]:
    """The same three on the shifted 4x4x4 mesh, and an 8-atom configuration on the shifted 6x6x6 one."""
    return [*on_mesh(silicon_16(seed)[:3], 4), *on_mesh(silicon_8(seed)[2:3], 6)]


def gaas_sizes(seed: int) -> list[ase.Atoms]:
    """GaAs at rest in 8 atoms on the Gamma-centred mesh and in 16 (gaas-8 and gaas-primitive hold the others)."""
    del seed
    return ideal("gaas", GAAS["r2scan"], "r2scan", [(True, 1, 2, ZERO), (False, 2, 2, HALF)])


def gaas_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences around an 8-atom configuration on the mesh shifted by a quarter."""
    return differences(gaas_cubic(seed)[0], 0, seed)


def gaas_convergence(seed: int) -> list[ase.Atoms]:
    """Three 8-atom configurations as labelled: for a recipe with a higher cutoff."""
    return gaas_cubic(seed)[:3]


def gaas_mesh(seed: int) -> list[ase.Atoms]:
    """The same three on the shifted 4x4x4 mesh."""
    return on_mesh(gaas_cubic(seed)[:3], 4)


def silicon_relabelled(seed: int) -> list[ase.Atoms]:
    """One imported configuration on each mesh, to label again: do the imported labels agree with ours?"""
    from jaxepi import io

    del seed
    data = io.read(Path(__file__).resolve().parents[1] / "experiments/silicon/data/hse06.h5")
    out = []
    for group in data.groups:
        rows = [i for i, source in enumerate(group.source) if source.startswith("made beforehand")]
        for i in rows[:1]:
            atoms = ase.Atoms(group.species, positions=group.positions[i], cell=group.cell[i], pbc=True)
            info = {"temperature": group.temperature[i], "strain": group.strain[i]}
            mesh = [int(n) for n in group.mesh[:3]]
            out.append(annotate(atoms, group.kind[i], group.around[i], mesh, group.mesh[3:], **info))
    return out


def bilayer_checks(seed: int, mesh: int = 9) -> list[ase.Atoms]:
    """The first three 1x1 bilayers, on any mesh: for finer settings, and for bands off the mesh."""
    structures = bilayers(seed, 3, 1, 9)
    for atoms in structures:
        atoms.info["mesh"] = np.array([mesh, mesh, 1])
    return structures


def bilayer_differences(seed: int) -> list[ase.Atoms]:
    """Finite differences of the energy along a random direction around a 1x1 bilayer (LCAO has no stress)."""
    found = differences(bilayers(seed, 2, 1, 9)[1], 1, seed)
    return [atoms for atoms in found if atoms.info["kind"] in ("base", "difference-forces")]


SETS: dict[str, Callable[[int], list[ase.Atoms]]] = {
    "silicon-relabelled": silicon_relabelled,
    "silicon-primitive": silicon_primitive,
    "silicon-cubic": silicon_cubic,
    "silicon-8": silicon_8,
    "silicon-16": silicon_16,
    "silicon-64": silicon_64,
    "gaas-primitive": gaas_primitive,
    "gaas-cubic": gaas_cubic,
    "gaas-8": gaas_8,
    "gaas-16": gaas_16,
    "bilayer-1x1": functools.partial(bilayers, count=60, repeats=1, mesh=9),
    "bilayer-2x2": functools.partial(bilayers, count=80, repeats=2, mesh=4),
    "bilayer-3x3": functools.partial(bilayers, count=12, repeats=3, mesh=3),
    "bilayer-4x4": functools.partial(bilayers, count=200, repeats=4, mesh=2),
    "monolayer-2x2": functools.partial(monolayers, count=40, repeats=2, mesh=4),
    "monolayer-3x3": functools.partial(monolayers, count=40, repeats=3, mesh=3),
    "bilayer-rotated": bilayer_rotated,
    "bilayer-off-mesh": bilayer_checks,
    "bilayer-fine": bilayer_checks,
    "bilayer-mesh": functools.partial(bilayer_checks, mesh=12),
    "bilayer-differences": bilayer_differences,
    "silicon-phonons": silicon_phonons,
    "gaas-phonons": gaas_phonons,
    "bilayer-phonons": bilayer_phonons,
    "silicon-differences": silicon_differences,
    "silicon-convergence": silicon_convergence,
    "silicon-mesh": silicon_mesh,
    "silicon-sizes": silicon_sizes,
    "silicon-forces-differences": silicon_forces_differences,
    "silicon-forces-convergence": silicon_forces_convergence,
    "silicon-forces-mesh": silicon_forces_mesh,
    "gaas-sizes": gaas_sizes,
    "gaas-differences": gaas_differences,
    "gaas-convergence": gaas_convergence,
    "gaas-mesh": gaas_mesh,
}


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("output", type=Path, help="extended XYZ to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    structures = SETS[options.set](options.seed)
    ase.io.write(options.output, structures, format="extxyz")
    print(f"{len(structures)} structures in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
