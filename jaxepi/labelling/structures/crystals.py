"""Silicon and gallium arsenide: cells strained by name, and displaced by the harmonic modes of a valence force field."""

import dataclasses
import functools
from typing import Any, Literal

import ase
import numpy as np
from ase.build import bulk

from jaxepi.labelling.structures import HALF, QUARTER, ZERO, annotate, strained

SILICON = {"measured": 5.431, "hse06-shifted": 5.453, "hse06-gamma": 5.461, "pbe": 5.476}
"""Lattice constants, angstrom: measured at room temperature; relaxed at HSE06 on each 2x2x2 grid of 8 atoms; relaxed at
PBE on converged meshes (25 Ry, 6x6x6 and the shifted 8x8x8 of 2 atoms: 5.4766 and 5.4755)."""

GAAS = {"measured": 5.6533, "r2scan": 5.680, "r2scan-gamma": 5.684}
"""The same for r2SCAN (400 eV): 2 atoms on the shifted 4x4x4 mesh; 8 atoms on the Gamma-centred 2x2x2 mesh."""

MATERIALS = {"silicon": ("Si", "diamond", "silicon-mvff"), "gaas": ("GaAs", "zincblende", "galliumarsenide-mvff")}
"""Name and structure for `ase.build.bulk`, and the valence force field that the displacements are drawn from."""

MEASURED = {"silicon": 5.431, "gaas": 5.6532}
"""Angstrom, at room temperature: where the force fields are at rest."""


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


@dataclasses.dataclass(frozen=True)
class Crystal:
    """A cell to displace: material (a key of MATERIALS), conventional cell or primitive, and its repeats."""

    material: str
    cubic: bool
    repeats: int = 1

    @functools.cached_property
    def force_constants(self):
        """Force constants of the material's valence force field, at that field's own lattice constant."""
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


def bent(crystal: Crystal, a: float, around: str, mesh: int, shift, count: int, seed: int) -> list[ase.Atoms]:
    """Strained cells: the named strains in turn and, before the first and between rounds, none; of every four three are
    displaced as well, at the temperatures of SCHEDULE."""
    found: list[tuple[str, np.ndarray | None]] = [("unstrained", None), *strains().items()]
    out = []
    for index in range(count):
        name, strain = found[index % len(found)]
        kind, info = name.rsplit(" ", 1)[0], dict[str, Any]()
        if index % 4:
            temperature = float(SCHEDULE[index % len(SCHEDULE)])
            atoms = crystal.thermal(a, temperature, "quantum", 1_000_000 * seed + index)
            kind, info = f"thermal-quantum-{kind}", {"temperature": temperature}
        else:
            atoms = crystal.ideal(a)
        if strain is not None:
            atoms, info["strain"] = strained(atoms, strain), strain
        out.append(annotate(atoms, kind, around, mesh, shift, **info))
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


def silicon_cubic(seed: int) -> list[ase.Atoms]:
    """Eight atoms, thermal, on the Gamma-centred and the shifted 2x2x2 mesh: three of the former for every two."""
    crystal = Crystal("silicon", cubic=True)
    gamma = (crystal, 2, ZERO, ("hse06-gamma", SILICON["hse06-gamma"]), SILICON["measured"])
    shifted = (crystal, 2, HALF, ("hse06-shifted", SILICON["hse06-shifted"]), SILICON["measured"])
    return displaced([gamma, shifted, gamma, shifted, gamma], 320, seed)


def silicon_cold(seed: int) -> list[ase.Atoms]:
    """Eight atoms of the measured lattice at rest and displaced by less than zero-point motion, on both 2x2x2 meshes.

    Between the crystal at rest and its zero-point motion a model that has seen only these two may do anything, and the
    zero-point shift of the gap hangs on it.
    """
    crystal, a = Crystal("silicon", cubic=True), SILICON["measured"]
    out = [annotate(crystal.ideal(a), "unstrained", "measured", 2, shift) for shift in (ZERO, HALF)]
    for index in range(24):
        temperature = (3.0, 10.0, 40.0)[index // 2 % 3]
        atoms = crystal.thermal(a, temperature, "classical", 1_000_000 * seed + index)
        out.append(
            annotate(atoms, "thermal-classical", "measured", 2, (ZERO, HALF)[index % 2], temperature=temperature)
        )
    return out


def silicon_valleys(seed: int) -> list[ase.Atoms]:
    """Two atoms at rest and strained, on the two meshes that reach 0.75 and 0.875 of Gamma-X (z axis).

    Isotropic +-1.5%; uniaxial +-1% along the valleys' axis, along one across it, and along 111; shear +-1%. Around the measured
    lattice, of which `silicon_primitive` holds the cell at rest on the same meshes. Nothing here is random.
    """
    del seed
    named = strains()
    found: list[tuple[str, np.ndarray | None]] = [("unstrained", None)]
    found += [("isotropic", e * np.eye(3)) for e in (0.015, -0.015)]
    found += [("uniaxial-001", e * np.diag([0.0, 0.0, 1.0])) for e in (0.01, -0.01)]
    found += [
        (name, named[f"{name} {e:+.3f}"])
        for name in ("uniaxial-100", "uniaxial-111", "shear-xy")
        for e in (0.01, -0.01)
    ]
    out = []
    for shift in ((0.5, 0.5, 0.0), (0.75, 0.75, 0.0)):
        for kind, strain in found:
            cell = bulk("Si", "diamond", a=SILICON["measured"])
            if strain is None:
                out.append(annotate(cell, kind, "measured", 4, shift))
            else:
                out.append(annotate(strained(cell, strain), kind, "measured", 4, shift, strain=strain))
    return out


PAIRED = (0, 300, 100, 200)
"""Kelvin, in turn: zero-point motion to room temperature; 200 K is the test's."""


def silicon_pairs(seed: int) -> list[ase.Atoms]:
    """16 atoms (2x2x2 primitive cells) at rest, then 20 pairs of opposite quantum displacements u and -u at the temperatures of
    `PAIRED` in turn, around the measured lattice; the numbers `pair` and `sign` say which belong together.

    On the Gamma-centred 2x2x2 mesh, which is the primitive 4x4x4 one: its Gamma holds X and L, (1/2, 1/2, 0) and its like hold
    X/2 along all three axes. With one division along one axis there are valleys along one axis alone, and the cell at rest is
    no longer cubic; meshes shifted by a half lack Gamma and so X.
    """
    crystal, a = Crystal("silicon", cubic=False, repeats=2), SILICON["measured"]
    rest = crystal.ideal(a)
    out = [annotate(rest.copy(), "unstrained", "measured", 2)]
    for pair in range(20):
        temperature = float(PAIRED[pair % len(PAIRED)])
        move = crystal.thermal(a, temperature, "quantum", 1_000_000 * seed + pair).positions - rest.positions
        for sign in (1.0, -1.0):
            atoms = rest.copy()
            atoms.positions += sign * move
            info = {"temperature": temperature, "pair": float(pair), "sign": sign}
            out.append(annotate(atoms, "thermal-quantum", "measured", 2, **info))
    return out


def silicon_8(seed: int) -> list[ase.Atoms]:
    """8 atoms with strains to 3%, for PBE forces on the shifted 4x4x4 mesh, onto which that of 64 atoms unfolds."""
    return bent(Crystal("silicon", cubic=True), SILICON["pbe"], "pbe", 4, HALF, 40, seed)


def silicon_16(seed: int) -> list[ase.Atoms]:
    """16 atoms (2x2x2 primitive cells), thermal, for PBE forces on the shifted 3x3x3 mesh.

    The Gamma-centred 3x3x3 mesh is 11 meV an atom off the shifted 4x4x4 one, the shifted 3x3x3 mesh 0.1 meV.
    """
    crystal = Crystal("silicon", cubic=False, repeats=2)
    return displaced([(crystal, 3, HALF, ("pbe", SILICON["pbe"]), MEASURED["silicon"])], 60, seed)


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


def gaas_forces(seed: int) -> list[ase.Atoms]:
    """Eight atoms, thermal and strained, on the shifted 3x3x3 mesh: it has the symmetry of the crystal, and forces on it are
    5 meV/angstrom (root mean square) from the shifted 4x4x4 one (`checks.gaas_mesh`)."""
    crystal, a = Crystal("gaas", cubic=True), GAAS["r2scan"]
    thermal = displaced([(crystal, 3, HALF, ("r2scan", a), MEASURED["gaas"])], 120, seed)
    return thermal[:30] + bent(crystal, a, "r2scan", 3, HALF, 25, seed) + thermal[30:]
