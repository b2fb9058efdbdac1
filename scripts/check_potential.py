"""A learned potential against its ab initio level and experiment: lattice, elastic constants, phonons.

    python scripts/check_potential.py silicon-pbe [--output experiments/silicon/potential/phonons.md]
    python scripts/check_potential.py galliumarsenide-r2scan/potential.npz --crystal galliumarsenide
    python scripts/check_potential.py graphene-pbe-d3/potential.npz --crystal graphene

Phonons at the wave vectors that fit the labelled supercell come from the same finite displacements (phonopy reduces and
symmetrises both; pip install phonopy), at the lattice of the labels; those of layers also at rest, on a 6x6 supercell. The
soft modes of two layers against each other come from energies of rigid layers instead: forces of labels on a real-space grid
are off by some meV/angstrom, over displacements of 0.01 angstrom as much as all that holds the layers together. Elastic
constants of a layer whose atoms are not relaxed come from the labels' energies, the labels having no stress.
"""

import argparse
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from refusals import refusing
from reports import report
from scipy.optimize import minimize
from timing import machine

from jaxepi import datasets, potentials, sampling, units
from jaxepi.errors import InputError
from jaxepi.graph import Graph, padded, shape_of
from jaxepi.labelling.structures.carbon import CARBON, STACKINGS, layers
from jaxepi.labelling.structures.checks import STRAINS, finite_displacements
from jaxepi.potentials import Potential
from jaxepi.structure import Structure

ROOT = Path(__file__).resolve().parents[1]
CRYSTALS: dict[str, dict[str, Any]] = {
    "silicon": {
        "name": "Si",
        "structure": "diamond",
        "start": 5.47,
        "labels": "experiments/silicon/checks/pbe-phonons.h5",
    },
    "galliumarsenide": {
        "name": "GaAs",
        "structure": "zincblende",
        "start": 5.68,
        "labels": "experiments/gallium_arsenide/checks/r2scan-phonons.h5",
    },
    "graphene": {
        "labels": "experiments/bilayer_graphene/checks/pbe-d3-fine-phonons.h5",
        "rigid": "experiments/bilayer_graphene/checks/pbe-d3-fine-layers.h5",
        "strained": "experiments/bilayer_graphene/checks/pbe-d3-fine-strains.h5",
    },
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
    "graphene": {
        "a": "2.461",
        "distance": "3.354 (graphite)",
        "elastic": "372/47",
        "modes": {"shear": "0.93", "breathing": "2.43", "optical": "47.4"},
        "source": "lattice and elastic constants of graphite, a layer (1109 and 139 GPa times 3.354 angstrom): Bosak et al., "
        "PRB 75, 153408 (2007); shear: Tan et al., Nature Materials 11, 294 (2012); breathing: Lui et al., Nano Letters "
        "14, 4615 (2014); optical: G line of graphite, Tuinstra and Koenig, J. Chem. Phys. 53, 1126 (1970)",
    },
}
"""GPa (C11/C12/C44), of layers N/m (C11/C12), and THz, near room temperature."""

POINTS = {"G": (0.0, 0.0, 0.0), "X": (0.5, 0.0, 0.5), "L": (0.5, 0.5, 0.5)}
LAYERED = {"G": (0.0, 0.0, 0.0), "M": (0.5, 0.0, 0.0), "K": (1 / 3, 1 / 3, 0.0)}


def evaluate(potential: Potential, atoms) -> np.ndarray:
    """Forces of a structure, eV/angstrom."""
    structure = Structure.from_ase(atoms)
    return np.asarray(potential.forces(structure, potential.graph(structure)))


def displaced(potential: Potential, path: Path, cell: Atoms, repeats: tuple[int, int, int]) -> tuple[str, Any, list]:
    """Level of the labels, phonopy's displacements, and forces on them: those of the labels, and those of the model.

    Raises:
        InputError: a displaced supercell has no label.
    """
    (group,) = datasets.read(path).groups
    level = next(iter(group.labels))
    phonon = finite_displacements(cell, repeats)
    labels, ours = [], []
    for moved in phonon.supercells_with_displacements:
        distance = np.abs(group.positions - moved.positions).max(axis=(1, 2))
        row = int(distance.argmin())
        if distance[row] > 1e-4:
            raise InputError(f"{path} lacks a displaced supercell; label those of `jaxepi label structures` again")
        labels.append(group.labels[level]["forces"][row])
        ours.append(evaluate(potential, Atoms(moved.symbols, moved.positions, cell=moved.cell, pbc=cell.pbc)))
    return level, phonon, [labels, ours]


def frequencies(phonon, forces: list[np.ndarray], points: dict[str, tuple]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Frequencies at some points, THz, and the eigenvectors at the first, from the forces on phonopy's supercells."""
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    phonon.run_qpoints(list(points.values()), with_eigenvectors=True)
    return dict(zip(points, phonon.qpoints.frequencies, strict=True)), phonon.qpoints.eigenvectors[0]


def compared(
    level: str, theirs: dict[str, np.ndarray], mine: dict[str, np.ndarray], measured: dict, above: float = -np.inf
) -> Iterator[str]:
    """A table of frequencies by point, and the root mean square of the difference of those above so many THz."""
    yield f"| | model | {level} | measured |\n|---|---|---|---|"
    for name in mine:
        columns = [" ".join(f"{w:.2f}" for w in np.sort(f[name])) for f in (mine, theirs)]
        yield f"| {name} | {columns[0]} | {columns[1]} | {' '.join(map(str, measured.get(name, ['-'])))} |"
    pairs = np.concatenate([np.stack([np.sort(mine[name]), np.sort(theirs[name])]) for name in mine], axis=1)
    difference = (pairs[0] - pairs[1])[pairs.min(axis=0) > above]
    which = f" (modes above {above:g} THz)" if above > 0 else ""
    yield (
        f"root mean square of model less {level}{which}: {np.sqrt(np.mean(difference**2)):.3f} THz, largest "
        f"{np.abs(difference).max():.3f}"
    )


def phonon_rows(potential: Potential, path: Path, crystal: dict[str, Any], measured: dict[str, Any]) -> Iterator[str]:
    """Frequencies of the model, of the labels and of experiment."""
    unit = np.linalg.norm(bulk(crystal["name"], crystal["structure"], a=1.0).cell[0])
    a = float(np.linalg.norm(datasets.read(path).groups[0].cell[0][0]) / (2 * unit))
    cell = bulk(crystal["name"], crystal["structure"], a=a)
    level, phonon, forces = displaced(potential, path, cell, (2, 2, 2))
    theirs, mine = (frequencies(phonon, f, POINTS)[0] for f in forces)
    yield f"Phonons at a = {a:.4f} angstrom, THz"
    yield from compared(level, theirs, mine, measured["phonons"])


UNIT = 0.02
"""Of the search for rest, angstrom: its first step is no longer, and it goes no farther than 20 of them."""


def moved(structure: Structure, x: jax.Array) -> Structure:
    """With displacements x[1:] and strained in the plane by x[0]/10, in units of `UNIT`."""
    strain = 0.1 * UNIT * x[0] * jnp.diag(jnp.array([1.0, 1.0, 0.0]))
    return structure.with_positions(structure.positions + UNIT * x[1:].reshape(-1, 3)).strained(strain)


@jax.jit
def energy_and_slope(potential: Potential, structure: Structure, graph: Graph, x: jax.Array):
    """Energy of `moved`, eV, and its derivative by x."""
    return jax.value_and_grad(lambda y: potential.energy(moved(structure, y), graph))(x)


def relaxed_layers(potential: Potential, cells: list[Atoms], tolerance: float = 1e-4) -> list[tuple[Structure, float]]:
    """Layered cells with the same atoms, at rest (positions, isotropic strain in the plane), with their energies, eV.

    Raises:
        InputError: forces above `tolerance` (eV/angstrom) remain.
    """
    structures = [Structure.from_ase(atoms) for atoms in cells]
    graphs = [potential.graph(structure) for structure in structures]
    shape = tuple(max(lengths) for lengths in zip(*(shape_of(g) for g in graphs), strict=True))
    out = []
    for atoms, structure, graph in zip(cells, structures, graphs, strict=True):
        call = functools.partial(energy_and_slope, potential, structure, padded(graph, shape))
        start = np.zeros(1 + structure.positions.size)
        options = {"gtol": 1e-2 * tolerance * UNIT, "ftol": 1e-15, "maxiter": 1000}
        found = minimize(call, start, jac=True, method="L-BFGS-B", bounds=[(-20.0, 20.0)] * len(start), options=options)
        force = np.abs(found.jac).max() / UNIT
        if not force < tolerance:
            raise InputError(
                f"{atoms.get_chemical_formula()} does not come to rest in this potential (largest force {force:.2g} "
                "eV/angstrom): train it on more data"
            )
        out.append((moved(structure, jnp.asarray(found.x)), float(found.fun)))
    return out


def gap(structure: Structure) -> float:
    """Distance of two layers whose atoms come one layer after the other, angstrom."""
    heights = np.asarray(structure.positions)[:, 2]
    return float(heights[len(heights) // 2 :].mean() - heights[: len(heights) // 2].mean())


def named(found: np.ndarray, vectors: np.ndarray) -> dict[str, float]:
    """Modes of a bilayer at Gamma by what moves: the layers against each other, in the plane and along the normal, and
    the highest optical mode, THz; columns of `vectors` are modes."""
    atoms = len(found) // 3
    sign = np.where(np.arange(atoms) < atoms // 2, 1.0, -1.0) / atoms**0.5
    share = np.abs(np.einsum("i,iam->am", sign, vectors.reshape(atoms, 3, -1))) ** 2
    shear = found[np.argsort(share[:2].sum(axis=0))[-2:]].mean()
    return {"shear": float(shear), "breathing": float(found[share[2].argmax()]), "optical": float(found.max())}


def at_rest(potential: Potential, measured: dict[str, Any]) -> Iterator[str]:
    """Layers at rest in the model: lattice, distance, energies of stackings, elastic constants, phonons."""
    ((one, single),) = relaxed_layers(potential, [layers(1, None)])
    found = relaxed_layers(potential, [layers(1, 3.4, sliding) for sliding in STACKINGS.values()])
    pairs = {name: structure for name, (structure, _) in zip(STACKINGS, found, strict=True)}
    energies = {name: energy / 4 for name, (_, energy) in zip(STACKINGS, found, strict=True)}
    a = float(jnp.linalg.norm(one.cell[0]))
    yield f"a of one layer {a:.4f} angstrom (measured {measured['a']})"
    for name, pair in pairs.items():
        bound = 1e3 * (single / 2 - energies[name])
        yield (
            f"{name}: layers {gap(pair):.3f} angstrom apart (measured, AB: {measured['distance']}), bound by {bound:.1f} "
            f"meV/atom, {1e3 * (energies[name] - energies['AB']):.2f} above AB"
        )
    for what, structure in (("one layer", one), ("AB", pairs["AB"])):
        c = np.asarray(potentials.elastic_constants(potential, structure) * structure.cell[2, 2])
        c = c / units.NEWTON_PER_METRE
        yield f"C11/C12 of {what} = {c[0, 0]:.0f}/{c[0, 1]:.0f} N/m (measured, a layer: {measured['elastic']})"
    constants = sampling.force_constants(potential, pairs["AB"].supercell(6), batch=3)
    frequencies_thz = np.asarray(sampling.frequencies_thz(constants, np.array(list(LAYERED.values()))))
    yield "Phonons of AB at rest in the model, THz"
    for name, row in zip(LAYERED, frequencies_thz, strict=True):
        yield f"{name}: " + " ".join(f"{w:.2f}" for w in np.sort(row))


def layered_rows(potential: Potential, path: Path, measured: dict[str, Any]) -> Iterator[str]:
    """Frequencies of an AB bilayer 3.4 angstrom apart: of the model, of the labels and of experiment."""
    level, phonon, forces = displaced(potential, path, layers(1, 3.4, STACKINGS["AB"]), (2, 2, 1))
    points = {name: LAYERED[name] for name in ("G", "M")}
    theirs, mine = (frequencies(phonon, f, points) for f in forces)
    yield f"Phonons of AB at a = {CARBON['pbe']} and 3.4 angstrom apart, THz"
    yield from compared(level, theirs[0], mine[0], {}, above=5.0)
    modes = named(mine[0]["G"], mine[1])
    yield "Modes at G by what moves, model, THz: " + ", ".join(
        f"{name} {modes[name]:.2f} (measured {value})" for name, value in measured["modes"].items()
    )


def both_energies(
    potential: Potential, path: Path
) -> tuple[datasets.Configurations, list[Atoms], str, list[np.ndarray]]:
    """The one group of a data set, its cells and its level, and energies: of the model and of the labels, eV."""
    (group,) = datasets.read(path).groups
    level = next(iter(group.labels))
    cells = [Atoms(group.species, x, cell=c, pbc=group.pbc) for x, c in zip(group.positions, group.cell, strict=True)]
    structures = [Structure.from_ase(atoms) for atoms in cells]
    ours = np.array([float(potential.energy(s, potential.graph(s))) for s in structures])
    return group, cells, level, [ours, group.labels[level]["energy"]]


def strained_rows(potential: Potential, path: Path) -> Iterator[str]:
    """Elastic constants of one layer, atoms not relaxed, from energies of strained cells of model and labels."""
    _, cells, level, columns = both_energies(potential, path)
    rest = layers(1, None)
    area = np.linalg.norm(np.cross(*rest.cell[:2]))
    found = np.array([np.linalg.solve(rest.cell.array, cell.cell.array) - np.eye(3) for cell in cells])[:, :2, :2]
    constants = []
    for energies in columns:
        second = {}
        for name, direction in STRAINS.items():
            sizes = np.tensordot(found, direction) / np.sum(np.square(direction))
            on = np.abs(found - sizes[:, None, None] * np.array(direction)).max(axis=(1, 2)) < 1e-6
            second[name] = np.polynomial.Polynomial.fit(sizes[on], energies[on], 4).deriv(2)(0.0) / area
        c11 = second["zigzag"] / units.NEWTON_PER_METRE
        c12 = second["equal"] / 2 / units.NEWTON_PER_METRE - c11
        constants.append((c11, c12, second["shear"] / units.NEWTON_PER_METRE))
    for name, (c11, c12, c66) in zip(("model", level), constants, strict=True):
        yield f"C11/C12/C66 of one layer, atoms not relaxed, a = {CARBON['pbe']}, {name}: {c11:.0f}/{c12:.0f}/{c66:.0f} N/m"


def rigid_rows(potential: Potential, path: Path, measured: dict[str, Any]) -> Iterator[str]:
    """Two rigid layers at several distances and slidings: energies, and what follows from them, of model and labels."""
    group, cells, level, columns = both_energies(potential, path)
    distance, sliding = group.extra["distance"], group.extra["sliding"]
    apart, slid = np.isclose(sliding, STACKINGS["AB"]), np.isclose(distance, 3.4)
    found = []
    for energies in columns:
        breathing = np.polynomial.Polynomial.fit(distance[apart], energies[apart], 4)
        rest = min(breathing.deriv().roots(), key=lambda root: abs(root - 3.4)).real
        curvatures = (
            sliding_curvature(sliding[slid], energies[slid]),
            breathing.deriv(2)(3.4),
            breathing.deriv(2)(rest),
        )
        found.append((rest, *(mode_thz(c, cells[0]) for c in curvatures)))
    yield f"Rigid layers, energies in meV/atom from AB 3.4 angstrom apart\n| sliding | angstrom | model | {level} |"
    yield "|---|---|---|---|"
    zero = int(np.flatnonzero(apart & slid)[0])
    relative = [1e3 * (e - e[zero]) / len(cells[0]) for e in columns]
    for i in np.lexsort((distance, sliding)):
        yield f"| {sliding[i]:.2f} | {distance[i]:.1f} | {relative[0][i]:.2f} | {relative[1][i]:.2f} |"
    error = relative[0] - relative[1]
    rms, largest = np.sqrt(np.mean(error**2)), np.abs(error).max()
    yield f"root mean square of model less {level}: {rms:.2f} meV/atom, largest {largest:.2f}"
    yield f"| from these | model | {level} | measured |\n|---|---|---|---|"
    modes = measured["modes"]
    rows = (
        ("AB at rest, angstrom apart", measured["distance"]),
        ("shear at 3.4 angstrom, THz", modes["shear"]),
        ("breathing at 3.4 angstrom, THz", modes["breathing"]),
        ("breathing at rest, THz", modes["breathing"]),
    )
    for i, (name, value) in enumerate(rows):
        yield f"| {name} | {found[0][i]:.2f} | {found[1][i]:.2f} | {value} |"


def sliding_curvature(sliding: np.ndarray, energies: np.ndarray) -> float:
    """Second derivative of the energy by the sliding at AB, eV/angstrom^2, from two stars of its Fourier series."""
    angle = 2 * np.pi * sliding / 3  # of the shortest reciprocal vectors
    stars = np.stack([np.ones_like(angle), 2 * np.cos(angle) + np.cos(2 * angle), 1 + 2 * np.cos(3 * angle)], axis=1)
    _, first, second = np.linalg.lstsq(stars, energies)[0]
    bent = -first * (2 * np.cos(2 * np.pi / 3) + 4 * np.cos(4 * np.pi / 3)) - 18 * second
    return float(bent * (2 * np.pi / 3) ** 2 / (CARBON["pbe"] / 3**0.5) ** 2)


def mode_thz(curvature: float, pair: Atoms) -> float:
    """Frequency of two equal layers against each other, negative where unstable, from the second derivative of their energy
    by the distance or sliding, eV/angstrom^2."""
    return float(units.thz_from_eigenvalue(curvature / (pair.get_masses().sum() / 4)))


def solid_rows(potential: Potential, crystal: dict[str, Any], measured: dict[str, Any]) -> Iterator[str]:
    """Lattice and elastic constants of a cubic crystal."""
    cell = bulk(crystal["name"], crystal["structure"], a=crystal["start"])
    structure = potentials.relaxed(potential, Structure.from_ase(cell))
    a = float(jnp.linalg.norm(structure.cell[0])) * 2**0.5
    c = np.asarray(potentials.elastic_constants(potential, structure)) / units.GPA
    yield f"a = {a:.4f} angstrom (measured {measured['a']})"
    yield f"C11/C12/C44 = {c[0, 0]:.0f}/{c[0, 1]:.0f}/{c[3, 3]:.0f} GPa (measured {measured['elastic']})"


def lines(options: argparse.Namespace) -> Iterator[str]:
    """All that can be compared, as it is found."""
    potential = potentials.load(options.potential)
    crystal, measured = CRYSTALS[options.crystal], MEASURED[options.crystal]
    path = options.phonons or ROOT / crystal["labels"]
    layered = options.crystal == "graphene"
    yield f"{machine()}; {Path(options.potential).name}, {options.crystal}; measured: {measured['source']}"
    yield from at_rest(potential, measured) if layered else solid_rows(potential, crystal, measured)
    if path.is_file():
        yield from (
            layered_rows(potential, path, measured) if layered else phonon_rows(potential, path, crystal, measured)
        )
    else:
        yield f"no phonons of the level: there is no {path.name}; its card says which displaced cells to label"
    if layered and (ROOT / crystal["rigid"]).is_file():
        yield from rigid_rows(potential, ROOT / crystal["rigid"], measured)
    if layered and (ROOT / crystal["strained"]).is_file():
        yield from strained_rows(potential, ROOT / crystal["strained"])


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", help="a shipped potential by name, or a file")
    parser.add_argument("--crystal", choices=sorted(CRYSTALS), default="silicon")
    parser.add_argument(
        "--phonons", type=Path, help="data set with labelled finite displacements (default: in experiments/)"
    )
    parser.add_argument("--output", type=Path, help="file that is given what is printed, so far as it is")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    report(lines(options), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
