"""A learned potential against its ab initio level and experiment: phonons, elastic constants, lattice constant.

    python scripts/check_potential.py silicon-pbe --phonons experiments/silicon/checks/pbe-phonons.h5

Phonons at the wave vectors that fit the labelled supercell come from the same finite displacements (phonopy reduces and
symmetrises both; pip install phonopy), at the lattice constant of the labels.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from refusals import refusing
from structures.checks import finite_displacements

from jaxepi import io, potentials, units
from jaxepi.errors import InputError
from jaxepi.potentials import Potential
from jaxepi.structure import Structure

CRYSTALS: dict[str, dict[str, Any]] = {
    "silicon": {"name": "Si", "structure": "diamond", "start": 5.47},
    "galliumarsenide": {"name": "GaAs", "structure": "zincblende", "start": 5.68},
}

MEASURED: dict[str, dict[str, Any]] = {
    "silicon": {
        "a": "5.4310 (300 K)",
        "elastic": "166/64/80",
        "phonons": {"G": [15.5], "X": [4.5, 12.3, 13.9], "L": [3.4, 11.3, 12.6, 14.7]},
        "source": "elastic constants: Hall, Phys. Rev. 161, 756 (1967); phonons: Nilsson and Nelin, PRB 6, 3777 (1972)",
    },
    "galliumarsenide": {
        "a": "5.6533 (300 K)",
        "elastic": "119/54/59",
        "phonons": {"G": [8.0], "X": [2.4, 6.8, 7.2, 7.6], "L": [1.9, 6.3, 7.2, 7.8]},
        "source": "elastic constants: Blakemore, J. Appl. Phys. 53, R123 (1982); phonons: Strauch and Dorner, J. Phys.: "
        "Condens. Matter 2, 1457 (1990), without LO-TO splitting at Gamma: TO",
    },
}
"""GPa (C11/C12/C44) and THz, near room temperature."""

POINTS = {"G": (0.0, 0.0, 0.0), "X": (0.5, 0.0, 0.5), "L": (0.5, 0.5, 0.5)}


def evaluate(potential: Potential, atoms) -> np.ndarray:
    """Forces of a structure, eV/angstrom."""
    structure = Structure.from_ase(atoms)
    return np.asarray(potential.forces(structure, potential.graph(structure)))


def frequencies(phonon, forces: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Frequencies at the special points, THz, from the forces on phonopy's displaced supercells."""
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    phonon.run_qpoints(list(POINTS.values()))
    return dict(zip(POINTS, phonon.qpoints.frequencies, strict=True))


def phonon_rows(potential: Potential, path: Path, crystal: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Frequencies of the model, of the labels and of experiment; root mean square of the difference."""
    group = io.read(path).groups[0]
    level = next(iter(group.labels))
    forces = group.labels[level]["forces"]
    a = float(
        np.linalg.norm(group.cell[0][0]) / np.linalg.norm(bulk(crystal["name"], crystal["structure"], a=2).cell[0])
    )
    cell = bulk(crystal["name"], crystal["structure"], a=a)
    phonon = finite_displacements(cell, (2, 2, 2))
    labels, ours = [], []
    for moved in phonon.supercells_with_displacements:
        distance = np.abs(group.positions - moved.positions).max(axis=(1, 2))
        row = int(distance.argmin())
        if distance[row] > 1e-4:
            raise InputError(f"{path} lacks a displaced supercell; label those of make_structures.py again")
        atoms = Atoms(moved.symbols, positions=moved.positions, cell=moved.cell, pbc=True)
        labels.append(forces[row])
        ours.append(evaluate(potential, atoms))
    theirs, mine = frequencies(phonon, labels), frequencies(phonon, ours)
    rows, differences = (
        [f"Phonons at a = {a:.4f} angstrom, THz", "| | model | " + level + " | measured |", "|---|---|---|---|"],
        [],
    )
    for name in POINTS:
        columns = [" ".join(f"{w:.2f}" for w in np.sort(f[name])) for f in (mine, theirs)]
        rows.append(f"| {name} | {columns[0]} | {columns[1]} | {' '.join(map(str, measured['phonons'][name]))} |")
        differences.append(np.sort(mine[name]) - np.sort(theirs[name]))
    difference = np.concatenate(differences)
    rows.append(
        f"root mean square of model less {level}: {np.sqrt(np.mean(difference**2)):.3f} THz, largest "
        f"{np.abs(difference).max():.3f}"
    )
    return rows


def relaxed(potential: Potential, crystal: dict[str, Any]) -> Structure:
    """The primitive cell at zero pressure, by Newton's method on the volume."""
    structure = Structure.from_ase(bulk(crystal["name"], crystal["structure"], a=crystal["start"]))
    graph = potential.graph(structure)
    slope = jax.jit(jax.value_and_grad(jax.grad(lambda f: potential.energy(structure.scaled(f), graph))))
    factor = jnp.ones(())
    for _ in range(8):
        first, second = slope(factor)
        factor = factor - first / second
    return structure.scaled(factor)


@refusing
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", help="a shipped potential by name, or a file")
    parser.add_argument("--crystal", choices=sorted(CRYSTALS), default="silicon")
    parser.add_argument("--phonons", type=Path, help="data set with labelled finite displacements")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    potential = potentials.load(options.potential)
    crystal, measured = CRYSTALS[options.crystal], MEASURED[options.crystal]
    structure = relaxed(potential, crystal)
    a = float(jnp.linalg.norm(structure.cell[0])) * 2**0.5
    c = np.asarray(potentials.elastic_constants(potential, structure)) / units.GPA
    print(f"{options.potential}, {options.crystal}: a = {a:.4f} angstrom (measured {measured['a']})")
    print(
        f"C11/C12/C44 = {c[0, 0]:.0f}/{c[0, 1]:.0f}/{c[3, 3]:.0f} GPa (measured {measured['elastic']}); "
        f"{measured['source']}"
    )
    if options.phonons:
        print("\n".join(phonon_rows(potential, options.phonons, crystal, measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
