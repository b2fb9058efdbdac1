"""A learned Hamiltonian of silicon or a zincblende crystal against its ab initio level: gaps, masses, deformation potentials.

    python scripts/check_hamiltonian.py silicon-hse06 --data experiments/silicon/data/hse06.h5 --level hse06
    python scripts/check_hamiltonian.py galliumarsenide-r2scan --data experiments/gallium_arsenide/data/r2scan.h5 \\
        --level r2scan --a 5.653

The ab initio side are the 2-atom crystals of the data set, at rest and strained; each k mesh is a calculation of its own, so
energies on different meshes share a zero only through their filled bands. Of thermal cells, the errors of the lowest levels
against displacement (their drift is what a model invents of the shift with temperature), and the second differences of these
levels by mode; of pairs of opposite displacements, their mean shifts, which are of second order; of pairs of opposite strains,
slopes and splittings of levels.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax.numpy as jnp
import numpy as np
from check_physics import TO_X, deformation_potentials
from refusals import refusing
from scipy.optimize import minimize_scalar

from jaxepi import datasets, electrons, hamiltonians, potentials, sampling, units
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.kpoints import find
from jaxepi.sampling.harmonic import variance
from jaxepi.structure import Structure
from jaxepi.training.bands import edges as edges_of
from jaxepi.training.bands import pairs, spectra

NAMED = {"Gamma": (0.0, 0.0, 0.0), "X": (0.0, 0.5, 0.5), "L": (0.0, 0.0, 0.5), "0.75 X": (0.375, 0.375, 0.0)}
NAMED["0.875 X"] = (0.4375, 0.4375, 0.0)
HBAR2_OVER_M = units.HBAR2_PER_ELECTRON_MASS


def crystals(data: datasets.DataSet, level: str) -> list[datasets.Configurations]:
    """Groups of 2-atom crystals whose bands are labelled."""
    return [g for g in data.groups if len(g.species) == 2 and "eigenvalues" in g.labels.get(level, {})]


def compared(
    model: Hamiltonian, group: datasets.Configurations, level: str, i: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Energies of a crystal, ab initio and model, eV, and their root mean square difference, meV, in filled bands and four
    empty ones, the mean of the filled ones set equal."""
    structure = Structure.create(group.positions[i], group.cell[i], group.species)
    label = group.labels[level]["eigenvalues"][i]
    ours = np.asarray(electrons.eigenvalues(model, structure, group.kpoints))[:, : label.shape[1]]
    shifted, mine = (spectra.aligned(x, group.occupied, "valence") for x in (label, ours))
    error = np.average((mine - shifted)[:, : group.occupied + 4] ** 2, axis=0, weights=group.weights).mean()
    return label, ours, 1e3 * float(np.sqrt(error))


def mesh_of(group: datasets.Configurations) -> str:
    """The k mesh of a group in words."""
    return "x".join(f"{m:g}" for m in group.mesh[:3]) + f" shifted by {list(group.mesh[3:])}"


def strained_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Gaps of strained crystals on their mesh, ab initio and model, eV, and the error of their bands."""
    rows = []
    for group in crystals(data, level):
        found = []
        for i in range(len(group)):
            if group.kind[i] == "unstrained":
                continue
            label, ours, error = compared(model, group, level, i)
            gaps = [float(spectra.gap(x, group.occupied)) for x in (label, ours)]
            (xx, xy, xz), (_, yy, yz), (_, _, zz) = 100 * group.strain[i]
            found.append((gaps[1] - gaps[0], error))
            rows.append(
                f"    {group.kind[i]} ({xx:+.1f} {yy:+.1f} {zz:+.1f} {yz:+.1f} {xz:+.1f} {xy:+.1f}%): gap {gaps[0]:.3f}, model "
                f"{gaps[1]:.3f} eV ({1e3 * (gaps[1] - gaps[0]):+.0f} meV); all bands {error:.0f} meV rms"
            )
        if found:
            gap, error = np.sqrt(np.mean(np.square(found), axis=0))
            text = f"{mesh_of(group)}, {len(found)} strained crystals (xx yy zz yz xz xy): gaps {1e3 * gap:.0f}, bands "
            rows.insert(len(rows) - len(found), f"{text}{error:.0f} meV rms")
    return rows


def named_rows(model: Hamiltonian, data: datasets.DataSet, level: str, a: float) -> list[str]:
    """Lowest empty state at named points above the valence top of Gamma, ab initio and model, eV."""
    rows = []
    for group in crystals(data, level):
        for i in range(len(group)):
            if group.kind[i] != "unstrained" or abs(np.linalg.norm(group.cell[i][0]) * 2**0.5 - a) > 1e-3:
                continue
            label, ours, error = compared(model, group, level, i)
            n = group.occupied
            shifted, mine = (spectra.aligned(x, n, "valence") for x in (label, ours))
            gaps = [float(spectra.gap(x, n)) for x in (label, ours)]
            text = f"gap on the mesh {gaps[0]:.3f}, model {gaps[1]:.3f} eV; all bands {error:.0f} meV rms"
            rows.append(f"{mesh_of(group)}: {text}")
            for point, k in NAMED.items():
                row = find(group.kpoints, k)
                if row is None:
                    continue
                gamma = find(group.kpoints, NAMED["Gamma"])
                if gamma is None:
                    text = f"{1e3 * (mine[row, n] - shifted[row, n]):+.0f} meV relative to the filled bands"
                else:
                    above = [e[row, n] - e[gamma, n - 1] for e in (label, ours)]
                    text = f"{above[0]:.3f}, model {above[1]:.3f} eV ({1e3 * (above[1] - above[0]):+.0f} meV)"
                rows.append(f"    lowest empty state at {point}: {text}")
    return rows


def drift_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Errors of the lowest levels above the valence top against root mean square displacement, meV."""
    rows = []
    for group in data.groups:
        found = (
            [] if len(group.species) == 2 else edges_of.drift(group, level, partial(edges_of.predicted, model, group))
        )
        if len({(r.above, r.below) for r in found}) < 2:
            continue
        rows.append(f"{len(group.species)} atoms, {mesh_of(group)}: model less {level}, meV, by displacement, angstrom")
        for name in dict.fromkeys(r.level for r in found):
            own = [r for r in found if r.level == name]
            errors = (
                f"{'at rest' if r.below < 1e-5 else f'{r.above:.3f}-{r.below:.3f}'} {1e3 * r.error:+.0f}"
                + (f" +- {1e3 * r.uncertainty:.0f} ({r.cells})" if r.cells > 1 else "")
                for r in own
            )
            rows.append(f"    {name}: {', '.join(errors)}; drift {1e3 * (own[-1].error - own[0].error):+.0f}")
    return rows


def thermal_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Mean shifts of the lowest levels above the valence top in thermal cells, ab initio and model on the same, meV."""
    rows = []
    for group in data.groups:
        if len(group.species) == 2:
            continue
        found = edges_of.thermal_means(group, level, partial(edges_of.predicted, model, group))
        if found:
            rows.append(
                f"{len(group.species)} atoms, {mesh_of(group)}: shift from rest in thermal cells, meV, {level}, model"
            )
        for name in dict.fromkeys(r.level for r in found):
            own = [r for r in found if r.level == name]
            each = (
                f"{r.temperature:g} K ({r.cells}) {1e3 * r.label:+.1f} +- {1e3 * r.scatter:.1f}, {1e3 * r.model:+.1f} (apart "
                f"by {1e3 * r.difference:+.1f} +- {1e3 * r.uncertainty:.1f})"
                for r in own
            )
            rows.append(f"    {name}: {'; '.join(each)}")
    return rows


def pair_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Mean shifts of the lowest levels in pairs of opposite displacements, ab initio and model on the same cells, meV."""
    found = pairs.shifts(data, level, partial(edges_of.predicted, model))
    rows = [f"pairs of opposite displacements: shift from rest, meV, {level}, model"] if found else []
    for atoms, name in dict.fromkeys((r.atoms, r.level) for r in found):
        each = (
            f"{'all' if np.isnan(r.temperature) else f'{r.temperature:g} K'} ({r.pairs}) {1e3 * r.label:+.1f} +- "
            f"{1e3 * r.scatter:.1f}, {1e3 * r.model:+.1f} (apart by {1e3 * r.difference:+.1f} +- {1e3 * r.uncertainty:.1f}; "
            f"errors of both halves by +-{1e3 * r.odd:.1f} from their mean)"
            for r in found
            if (r.atoms, r.level) == (atoms, name)
        )
        rows.append(f"    {atoms} atoms, {name}: {'; '.join(each)}")
    return rows


def mode_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Second differences of the lowest levels by mode, times zero-point squares, ab initio and model, meV."""
    rows = []
    for group in data.groups:
        rest = edges_of.at_rest(group, level)
        if rest is None or len(group.species) == 2:
            continue
        crystal = Structure.create(group.positions[rest], group.cell[rest], group.species)
        potential = potentials.load("silicon-mvff" if set(group.species) == {14} else "galliumarsenide-mvff")
        matrix = np.asarray(sampling.force_constants(potential, crystal).dynamical_matrices[0]).real
        values, vectors = np.linalg.eigh(matrix)
        thz = np.asarray(units.thz_from_eigenvalue(jnp.asarray(values)))
        variances = np.array([float(variance(jnp.asarray(v), jnp.asarray(0.0))) for v in values])
        modes = vectors.T.reshape(len(values), -1, 3)
        found = edges_of.by_mode(group, level, partial(edges_of.predicted, model, group), modes, variances, thz)
        if found:
            rows.append(f"{len(group.species)} atoms, {mesh_of(group)}: zero-point shift by mode, meV, {level}, model")
        for name in dict.fromkeys(r.level for r in found):
            each = (
                f"{r.thz:.1f} THz ({r.states}) {1e3 * r.label:+.1f}, {1e3 * r.model:+.1f} +- {1e3 * r.uncertainty:.1f}"
                for r in found
                if r.level == name
            )
            rows.append(f"    {name}: {'; '.join(each)}")
            own = [r for r in found if r.level == name]
            warm = [1 / np.tanh(np.pi * units.HBAR * r.thz * 1e-3 / (units.KB * np.array([100.0, 400.0]))) for r in own]
            shifts = [1e3 * np.array(each) for each in ([r.label for r in own], [r.model for r in own])]
            sums, rise = [x.sum() for x in shifts], [x @ np.array([w[1] - w[0] for w in warm]) for x in shifts]
            rows.append(
                f"        together {sums[0]:+.1f}, {sums[1]:+.1f}; from 100 to 400 K {rise[0]:+.1f}, {rise[1]:+.1f}"
            )
    return rows


def slope_rows(model: Hamiltonian, data: datasets.DataSet, level: str) -> list[str]:
    """Slopes and splittings of levels of strained crystals, ab initio and model."""
    rows = []
    for group in crystals(data, level):
        found = edges_of.slopes(group, level, partial(edges_of.predicted, model, group))
        if found:
            rows.append(f"{mesh_of(group)}: {level}, model")
            rows += [f"    {r.what}: {r.label:.3g}, {r.model:.3g} {r.unit}" for r in found]
    return rows


def mass(band: Callable[[np.ndarray], float], centre: np.ndarray, axis: np.ndarray, cell: Structure) -> float:
    """Effective mass at the extremum of a band along a Cartesian axis, by differences of 0.01 / angstrom."""
    step = 0.01 * axis @ np.linalg.inv(np.asarray(cell.reciprocal))
    return HBAR2_OVER_M * 0.01**2 / (band(centre + step) - 2 * band(centre) + band(centre - step))


def direct(model: Hamiltonian, cell: Structure) -> str:
    """Gap at Gamma, its change with volume, and the electron mass there."""
    graph, n = model.graph(cell), model.basis.occupied(cell.species)

    def bands(k, structure=cell):
        return np.asarray(electrons.eigenvalues(model, structure, np.array([k]), graph))[0]

    def gap(strain):
        found = bands(np.zeros(3), cell.strained(jnp.eye(3) * strain))
        return float(found[n] - found[n - 3 : n].mean())

    slope = (gap(1e-3) - gap(-1e-3)) / 2e-3 / 3
    electron = mass(lambda k: float(bands(k)[n]), np.zeros(3), np.array([1.0, 0.0, 0.0]), cell)
    return (
        f"gap at Gamma {gap(0.0):.3f} eV, its deformation potential {slope:.2f} eV; electron mass {electron:.4f} (GaAs, "
        "measured: -8.33 eV and 0.067: Vurgaftman, Meyer, Ram-Mohan, J. Appl. Phys. 89, 5815 (2001); their gap includes "
        "spin-orbit splitting)"
    )


def edges(model: Hamiltonian, cell: Structure) -> str:
    """Indirect gap, its place, and the electron masses there."""
    graph, direction = model.graph(cell), np.array(TO_X["z"])
    n = model.basis.occupied(cell.species)

    def band(k):
        return float(electrons.eigenvalues(model, cell, np.array([k]), graph)[0, n])

    top = float(electrons.eigenvalues(model, cell, np.zeros((1, 3)), graph)[0, n - 1])
    options = {"xatol": 1e-6}
    found = minimize_scalar(lambda t: band(t * direction), bounds=(0.6, 1.0), method="bounded", options=options)
    reciprocal, centre = np.asarray(cell.reciprocal), found.x * direction
    along = direction @ reciprocal
    along = along / np.linalg.norm(along)
    across = np.cross(along, [0.3, 0.5, 0.9])
    across = across / np.linalg.norm(across)
    masses = [mass(band, centre, axis, cell) for axis in (along, across)]
    return (
        f"indirect gap {found.fun - top:.3f} eV at {found.x:.3f} X; electron masses {masses[0]:.3f} and "
        f"{masses[1]:.3f} (measured 0.916 and 0.191: Hensel, Hasegawa, Nakayama, Phys. Rev. 138, A225 (1965))"
    )


@refusing
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped Hamiltonian by name, or a file")
    parser.add_argument("--data", type=Path, required=True, help="data set with eigenvalues")
    parser.add_argument("--level", default="hse06")
    parser.add_argument("--a", type=float, default=5.431, help="lattice constant, angstrom")
    options = parser.parse_args()
    model = hamiltonians.load(options.model)
    half = options.a / 2
    known = sorted(model.basis.species)
    species = (known[0], known[-1])
    cell = Structure(jnp.asarray([[0.0, 0.0, 0.0], [half / 2] * 3]), half * (jnp.ones((3, 3)) - jnp.eye(3)), species)
    print(f"{options.model} against {options.level}, a = {options.a} angstrom")
    data = datasets.read(options.data)
    print("\n".join(named_rows(model, data, options.level, options.a)))
    # Cells with numbers of their own (of a pair) and their crystal at rest without are one group here.
    plain = (dataclasses.replace(group, extra={}) for group in data.groups)
    joined = datasets.gather(data.name, data.levels, plain)
    for rows in (strained_rows, slope_rows, drift_rows, thermal_rows, pair_rows, mode_rows):
        whole = joined if rows in (drift_rows, thermal_rows) else data
        print("\n".join(rows(model, whole, options.level)), flush=True)
    if species != (14, 14):
        print(direct(model, cell))
        return 0
    print(edges(model, cell))
    gap, xi, b, d = deformation_potentials(model, cell)
    print(
        f"a_gap {gap:.2f}, Xi_u {xi:.2f}, |b| {b:.2f}, |d| {d:.2f} eV (measured 1.50, 8.6, 2.10, 4.85: "
        "Laude, Pollak, Cardona, Phys. Rev. B 3, 2623 (1971))"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
