"""Graphene and its bilayers: distances, slidings, strains in the plane, and displacements half of which are long waves."""

import ase
import numpy as np

from structures import annotate, strained

CARBON = {"measured": 2.461, "pbe": 2.467}
"""Graphene: measured, and PBE."""

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
