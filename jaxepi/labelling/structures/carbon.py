"""Graphene and its bilayers: distances, slidings, strains in the plane, and displacements half of which are long waves."""

import functools
import math

import ase
import numpy as np
from ase.neighborlist import neighbor_list

from jaxepi.labelling.structures import annotate, strained
from jaxepi.labelling.structures.crystals import SCHEDULE
from jaxepi.materials.bilayers import STACKINGS, angle
from jaxepi.materials.bilayers import twisted as turned

CARBON = {"measured": 2.461, "pbe": 2.467}
"""Graphene: measured, and PBE."""

FORCE_CONSTANTS = ((36.50, 24.50, 9.82), (8.80, -3.23, -0.40), (3.00, -5.25, 0.15), (-1.92, 2.29, -0.58))
"""Of a layer, to its first four shells of neighbours: along the bond, across it in the plane, and out of the plane, in
10 N/m (Jishi, Venkataraman, Dresselhaus and Dresselhaus, Chem. Phys. Lett. 209, 77 (1993))."""

InPlane = int | tuple[int, int]
"""Cells of one layer, or k points, along the two lattice vectors of the plane; one number stands for both."""


def both(number: InPlane) -> tuple[int, int]:
    """`number` along either lattice vector."""
    return (number, number) if isinstance(number, int) else number


def layers(repeats: InPlane, distance: float | None, sliding: float = 0.0, a: float = CARBON["pbe"]) -> ase.Atoms:
    """Graphene, or a bilayer `distance` angstrom apart slid by `sliding` bond lengths, in a cell 20 angstrom high."""
    cell = np.array([[a, 0.0, 0.0], [-a / 2, a * 3**0.5 / 2, 0.0], [0.0, 0.0, 20.0]])
    bond = (cell[0] + 2 * cell[1]) / 3
    one = np.array([np.zeros(3), bond])
    heights = [0.0] if distance is None else [-distance / 2, distance / 2]
    sites = [one + i * sliding * bond + [0, 0, 10 + z] for i, z in enumerate(heights)]
    atoms = ase.Atoms(f"C{2 * len(sites)}", positions=np.concatenate(sites), cell=cell, pbc=(True, True, False))
    return atoms.repeat((*both(repeats), 1))


def strain_in_plane(generator: np.random.Generator, size: float) -> np.ndarray:
    """A symmetric strain of the plane, components within `size`."""
    strain = np.zeros((3, 3))
    strain[:2, :2] = generator.uniform(-size, size, (2, 2))
    return (strain + strain.T) / 2


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


@functools.cache
def force_constants(repeats: InPlane):
    """Of one layer: `FORCE_CONSTANTS` in a supercell, images summed."""
    import jax.numpy as jnp

    from jaxepi.sampling import ForceConstants
    from jaxepi.structure import Structure

    a = CARBON["pbe"]
    shells = a * np.array([1 / 3, 1.0, 4 / 3, 7 / 3]) ** 0.5
    layer = layers(repeats, None)
    i, j, length, vector = neighbor_list("ijdD", layer, shells[-1] + 0.1)
    along, up = vector / length[:, None], np.array([0.0, 0.0, 1.0])
    frame = np.stack([along, np.cross(up, along), np.broadcast_to(up, along.shape)], axis=1)
    shell = np.abs(length[:, None] - shells).argmin(axis=1)
    values = np.array(FORCE_CONSTANTS)[shell] * 10 * ase.units.m**-2 * ase.units.J
    pair = np.einsum("ek,eka,ekb->eab", values, frame, frame)
    matrix = np.zeros((2, 3, len(layer) // 2, 2, 3))
    for n in np.flatnonzero(i < 2):
        matrix[i[n], :, j[n] // 2, j[n] % 2] -= pair[n]
        matrix[i[n], :, 0, i[n]] += pair[n]
    structure = Structure.from_ase(layers(1, None)).supercell((*both(repeats), 1))
    return ForceConstants(structure, jnp.asarray(matrix))


def vibrating(atoms: ase.Atoms, repeats: InPlane, temperature: float, seed: int) -> ase.Atoms:
    """Every layer of `atoms` displaced by the harmonic modes of graphene at `temperature` (kelvin), zero-point motion
    included; modes of rigid layers are left as they are."""
    import jax

    from jaxepi import sampling

    out = atoms.copy()
    count = len(atoms) // (2 * math.prod(both(repeats)))
    found = sampling.harmonic(
        force_constants(repeats), temperature=temperature, count=count, key=jax.random.key(seed)
    ).displacements
    top = atoms.positions[:, 2] > atoms.positions[:, 2].mean() + 0.1
    for layer, move in enumerate(np.asarray(found)):
        out.positions[top == bool(layer)] += move
    return out


def thermal(seed: int, count: int, repeats: InPlane, mesh: InPlane) -> list[ase.Atoms]:
    """Bilayers at the temperatures of `SCHEDULE`, 3.2 to 3.6 angstrom apart, slid as `bilayers`, a third of them strained;
    every seventh is one layer."""
    generator = np.random.default_rng(seed)
    out = []
    for index in range(count):
        temperature = float(SCHEDULE[index % len(SCHEDULE)])
        distance = 3.2 + 0.4 * ((index * 0.6180339887) % 1)
        named = list(STACKINGS)[index % 3] if index % 2 else None
        sliding = STACKINGS[named] if named else generator.uniform(0.0, 1.5)
        strain = strain_in_plane(generator, 0.02) if index % 3 == 0 else np.zeros((3, 3))
        info: dict = {"temperature": temperature, "strain": strain}
        if index % 7 == 6:
            cell, kind = layers(repeats, None), "thermal-monolayer"
        else:
            cell, kind = layers(repeats, distance, sliding), f"thermal-{named or 'slid'}"
            info |= {"distance": distance, "sliding": sliding}
        atoms = strained(vibrating(cell, repeats, temperature, 1_000_000 * seed + index), strain)
        out.append(annotate(atoms, kind, "pbe", (*both(mesh), 1), **info))
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
        strain = strain_in_plane(generator, 0.015) if index % 3 == 0 else np.zeros((3, 3))
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


def strained_layers(seed: int, count: int, mesh: int) -> list[ase.Atoms]:
    """1x1 cells strained in the plane by up to 2.5% a component and displaced a little, which elastic constants are learned
    from: graphene, and every third a bilayer 3.1 to 3.7 angstrom apart."""
    generator = np.random.default_rng(seed)
    out = []
    for index in range(count):
        distance = generator.uniform(3.1, 3.7) if index % 3 == 2 else None
        sliding = generator.uniform(0.0, 1.5)
        strain = strain_in_plane(generator, 0.025)
        info: dict = {"strain": strain, "amplitude": generator.uniform(0.002, 0.02)}
        if distance is not None:
            info |= {"distance": distance, "sliding": sliding}
        atoms = rippled(strained(layers(1, distance, sliding), strain), generator, info["amplitude"])
        kind = "strained-monolayer" if distance is None else "strained-slid"
        out.append(annotate(atoms, kind, "pbe", (mesh, mesh, 1), **info))
    return out


def twisted(seed: int, distance: float = 3.35) -> list[ase.Atoms]:
    """Commensurate twists (m, r) of 28 and 76 atoms at rest in each layer, and displaced by 0.02 to 0.03 angstrom a component;
    all of them test, whatever else the rule of splits says."""
    generator = np.random.default_rng(seed)
    out = []
    for m, size in ((1, 0.0), (1, 0.02), (1, 0.025), (1, 0.03), (2, 0.0), (2, 0.025)):
        rigid = turned(m, 1, distance, CARBON["pbe"]).to_ase()
        atoms = rippled(rigid, generator, size) if size else rigid
        info = {"distance": distance, "amplitude": size, "twist": angle(m), "split": "test"}
        out.append(annotate(atoms, "twisted-displaced" if size else "twisted", "pbe", (3, 3, 1), **info))
    return out
