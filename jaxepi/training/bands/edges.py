"""Band edges of a cell by the levels of its crystal at rest, and how far a model is off as the atoms move away.

A small error of all bands can hide a wrong derivative: what a Hamiltonian is used for, the shift of band edges with the
vibrations, is the change of their error from rest to large displacements (its drift). A level of the crystal at rest is
degenerate, and displacements split it; its mean has no part linear in displacements that lower its symmetry, so thermal
averages of it converge with few cells. Flows in: eigenvalues of labels and of a model. Flows out: rows of the drift.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int

from jaxepi.datasets.dataset import Configurations
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.structure import Structure

Predicted = Callable[[Sequence[int] | Int[np.ndarray, "r"]], Float[np.ndarray, "r k N"]]
"""Eigenvalues of a model at rows of a group, eV."""


class Level(NamedTuple):
    """States of the crystal at rest of one energy: the same bands at k points that symmetry joins.

    Attributes:
        points: rows of the k mesh. bands: first and one past the last.
    """

    points: tuple[int, ...]
    bands: tuple[int, int]

    def of(self, energies: Float[np.ndarray, "*s k b"]) -> Any:
        """Mean energy of its states, shape (*s)."""
        return energies[..., list(self.points), slice(*self.bands)].mean(axis=(-2, -1))

    @property
    def states(self) -> int:
        """How many it has at a k point."""
        return self.bands[1] - self.bands[0]


WIDTH = 0.003
"""eV: states of the crystal at rest closer than this are one level."""


def levels(rest: Float[np.ndarray, "k b"], occupied: int, within: float = 1.0) -> tuple[Level, list[Level]]:
    """The valence top of a crystal at rest, and its lowest empty levels in the order of their energies.

    Args:
        rest: eigenvalues at rest, eV. occupied: filled bands. within: of the lowest empty state, eV.
    """
    k = int(rest[:, occupied - 1].argmax())
    first = int((rest[k, :occupied] < rest[k, occupied - 1] - WIDTH).sum())
    empty = rest[:, occupied]
    found: list[Level] = []
    for row in np.argsort(empty, kind="stable"):
        if empty[row] > empty.min() + within:
            break
        count = int((rest[row, occupied:] < empty[row] + WIDTH).sum())
        bands = (occupied, occupied + count)
        same = [i for i, level in enumerate(found) if level.bands == bands]
        same = [i for i in same if abs(empty[found[i].points[0]] - empty[row]) < WIDTH]
        if same:
            found[same[0]] = Level((*found[same[0]].points, int(row)), bands)
        else:
            found.append(Level((int(row),), bands))
    return Level((k,), (first, occupied)), found


def functionals(rest: Float[np.ndarray, "k b"], occupied: int, within: float) -> Float[np.ndarray, "l k b"]:
    """The levels above the valence top as sums over all eigenvalues: level = sum_kb f_lkb E_kb."""
    top, empty = levels(rest, occupied, within)
    return np.stack([_mean(one, rest) - _mean(top, rest) for one in empty])


def top_functional(rest: Float[np.ndarray, "k b"], occupied: int, weights: Float[np.ndarray, "k"]) -> np.ndarray:
    """The valence top above the mean of the filled bands, likewise, shape (k, b)."""
    filled = np.zeros(rest.shape)
    filled[:, :occupied] = weights[:, None] / (weights.sum() * occupied)
    return _mean(levels(rest, occupied)[0], rest) - filled


def _mean(level: Level, rest: np.ndarray) -> np.ndarray:
    """The mean of a level's states as a sum over all eigenvalues."""
    out = np.zeros(rest.shape)
    out[list(level.points), slice(*level.bands)] = 1 / (len(level.points) * level.states)
    return out


def displacement(group: Configurations, rest: int) -> Float[np.ndarray, "s"]:
    """Root mean square of the displacements' components from the configuration at rest, the drift of all atoms taken out;
    angstrom."""
    moved = group.positions - group.positions[rest]
    moved = moved - moved.mean(axis=1, keepdims=True)
    return np.sqrt((moved**2).mean(axis=(1, 2)))


def at_rest(group: Configurations, level: str, split: str = "") -> int | None:
    """The row of the crystal at rest in a group with eigenvalues of a level of theory (and of one split); None without."""
    if "eigenvalues" not in group.labels.get(level, {}):
        return None
    kinds = zip(group.kind, group.split, strict=True)
    found = [i for i, (kind, own) in enumerate(kinds) if kind == "unstrained" and split in ("", own)]
    return found[0] if found else None


STRAINED = 0.1
"""Change of a cell, relative to the crystal at rest, up to which it is that crystal, strained; beyond, another supercell."""


def crystal_of(
    groups: Sequence[Configurations], group: Configurations, level: str, split: str = ""
) -> tuple[Configurations, int] | None:
    """The group and the row of the crystal at rest on the mesh of a group, its own or another's; None without.

    Every cell of the group is that of the crystal, strained perhaps, and where the crystal stands in another group at least one
    is not strained.

    Args:
        split: of the crystal at rest; any when empty.
    """
    for home in (group, *groups):
        row = at_rest(home, level, split)
        if row is None or (home.species, home.mesh) != (group.species, group.mesh):
            continue
        rest = home.cell[row]
        alike = np.abs(np.linalg.solve(rest, group.cell) - np.eye(3)).max() < STRAINED
        unstrained = home is group or same_cell(group.cell, rest).any()
        if alike and unstrained and np.array_equal(home.kpoints, group.kpoints):
            return home, row
    return None


def same_cell(cells: Float[np.ndarray, "*s 3 3"], rest: Float[np.ndarray, "3 3"]) -> Bool[np.ndarray, "*s"]:
    """Which cells are that of the crystal at rest."""
    return np.abs(cells - rest).max(axis=(-2, -1)) < 1e-6


def predicted(model: Hamiltonian, group: Configurations, rows: Sequence[int] | Int[np.ndarray, "r"]) -> np.ndarray:
    """Eigenvalues of some configurations of a group, each in its own cell, shape (r, k, N), eV."""
    start = Structure.create(group.positions[rows[0]], group.cell[rows[0]], group.species, group.pbc)
    graph = model.graph(start, 1.2 if model.module.ends_at_cutoff else None)

    @jax.jit
    def bands(positions: jax.Array, cell: jax.Array) -> jax.Array:
        return eigenvalues(model, dataclasses.replace(start, positions=positions, cell=cell), group.kpoints, graph)

    dtype = start.positions.dtype
    each = [(jnp.asarray(group.positions[i], dtype), jnp.asarray(group.cell[i], dtype)) for i in rows]
    return np.stack([np.asarray(bands(*one)) for one in each])


class Drift(NamedTuple):
    """Errors of one level, of configurations of one interval of displacements; eV.

    Attributes:
        level: its place above the valence top at rest, how many states, at one of its k points. above, below: root mean square
            displacement, angstrom. cells: how many. error: model less labels, mean. uncertainty: its standard error.
    """

    level: str
    above: float
    below: float
    cells: int
    error: float
    uncertainty: float


BINS = (0.0, 1e-6, 0.02, 0.045, 0.06, 0.08)
"""Limits of root mean square displacements, angstrom: at rest, the tail, less than zero point, zero point, room temperature
of silicon."""


def drift(
    group: Configurations,
    level: str,
    found: Predicted,
) -> list[Drift]:
    """Errors of the lowest levels less the valence top against displacement, of unstrained cells around the crystal at rest.

    Args:
        group: with a configuration at rest (`at_rest`). level: of theory. found: eigenvalues of rows of the group, eV.
    """
    rest = at_rest(group, level)
    if rest is None:
        return []
    labels, size = group.labels[level]["eigenvalues"], displacement(group, rest)
    same = np.abs(group.cell - group.cell[rest]).max(axis=(1, 2)) < 1e-6
    rows = np.flatnonzero(same & (size < BINS[-1]))
    model, out = found(rows)[:, :, : labels.shape[2]], []
    top, empty = levels(labels[rest], group.occupied)
    for one in empty:
        error = (one.of(model) - top.of(model)) - (one.of(labels[rows]) - top.of(labels[rows]))
        gap = float(one.of(labels[rest]) - top.of(labels[rest]))
        name = named(one, group, gap)
        for low, high in itertools.pairwise(BINS):
            inside = error[(size[rows] >= low) & (size[rows] < high)]
            if len(inside):
                spread = float(inside.std(ddof=1) / len(inside) ** 0.5) if len(inside) > 1 else 0.0
                out.append(Drift(name, low, high, len(inside), float(inside.mean()), spread))
    return out


class ThermalMean(NamedTuple):
    """How far a level above the valence top lies from its energy at rest in cells drawn at one temperature; eV.

    Attributes:
        level: as of `Drift`. temperature: kelvin. cells: how many. label, model: means over the cells. scatter: standard error
            of the labels' mean. difference, uncertainty: model less label, and the standard error of that.
    """

    level: str
    temperature: float
    cells: int
    label: float
    model: float
    scatter: float
    difference: float
    uncertainty: float


def thermal_means(group: Configurations, level: str, found: Predicted) -> list[ThermalMean]:
    """Mean shifts of the lowest levels in unstrained cells of quantum nuclei, labels beside a model on the same cells.

    Args:
        group: with a configuration at rest (`at_rest`). level: of theory. found: eigenvalues of rows of the group, eV.
    """
    rest = at_rest(group, level)
    if rest is None:
        return []
    labels, out = group.labels[level]["eigenvalues"], []
    same = np.abs(group.cell - group.cell[rest]).max(axis=(1, 2)) < 1e-6
    drawn = same & np.array([kind == "thermal-quantum" for kind in group.kind])
    top, empty = levels(labels[rest], group.occupied)
    rows = np.flatnonzero(drawn)
    if len(rows) < 4:
        return []
    both = [labels[[rest, *rows]], found([rest, *rows])[:, :, : labels.shape[2]]]
    for one in empty:
        label, model = ((e := one.of(x) - top.of(x))[1:] - e[0] for x in both)
        name = named(one, group, float(one.of(labels[rest]) - top.of(labels[rest])))
        for kelvin in np.unique(group.temperature[rows]):
            own = group.temperature[rows] == kelvin
            count = int(own.sum())
            if count > 3:
                apart = float(model[own].mean() - label[own].mean())
                scatter, unsure = (float(x[own].std(ddof=1) / count**0.5) for x in (label, model - label))
                means = float(label[own].mean()), float(model[own].mean())
                out.append(ThermalMean(name, float(kelvin), count, means[0], means[1], scatter, apart, unsure))
    return out


class ModeShift(NamedTuple):
    """How modes of one frequency move a level above the valence top: its second difference by them, at zero-point motion.

    Attributes:
        level: as of `Drift`. thz: frequency of the modes. states: how many they are. label, model: eV. uncertainty: of their
            difference.
    """

    level: str
    thz: float
    states: int
    label: float
    model: float
    uncertainty: float


def by_mode(
    group: Configurations,
    level: str,
    found: Predicted,
    modes: Float[np.ndarray, "m n 3"],
    variances: Float[np.ndarray, "m"],
    thz: Float[np.ndarray, "m"],
) -> list[ModeShift]:
    """Shift of the lowest levels by the squared amplitudes of modes, least squares over unstrained thermal cells.

    To second order a level of the crystal at rest moves by the sum over modes of half its second derivative times Q^2, the
    same for all modes of one frequency; its mean over degenerate states has no part linear in Q.

    Args:
        group: with a configuration at rest. level: of theory. found: eigenvalues of rows of the group, eV.
        modes: mass-weighted and orthonormal. variances: <Q^2> at 0 K, amu angstrom^2, zero for modes that are left out.
        thz: frequencies; modes within 0.05 THz of each other are one.
    """
    rest = at_rest(group, level)
    if rest is None:
        return []
    size = displacement(group, rest)
    same = np.abs(group.cell - group.cell[rest]).max(axis=(1, 2)) < 1e-6
    rows = np.flatnonzero(same & (size < BINS[-1]))
    order = [i for i in np.argsort(thz) if variances[i] > 0]
    sets = np.split(order, np.flatnonzero(np.diff(thz[order]) > 0.05) + 1)
    masses = np.array([atomic_masses[z] for z in group.species])
    moved = (group.positions[rows] - group.positions[rest]) * masses[None, :, None] ** 0.5
    squares = np.einsum("mia,sia->sm", modes, moved) ** 2
    columns = np.stack([squares[:, own].sum(axis=1) / variances[own].sum() for own in sets], axis=1)
    if len(rows) < 3 * len(sets):
        return []
    labels = group.labels[level]["eigenvalues"]
    model, out = found(rows)[:, :, : labels.shape[2]], []
    top, empty = levels(labels[rest], group.occupied)
    design = np.concatenate([np.ones((len(rows), 1)), columns], axis=1)
    for one in empty:
        both = np.stack([one.of(e) - top.of(e) for e in (labels[rows], model)], axis=1)
        solution = np.linalg.lstsq(design, both, rcond=None)[0]
        error = (both - design @ solution) @ np.array([-1.0, 1.0])
        spread = (error**2).sum() / (len(rows) - design.shape[1])
        uncertainty = np.sqrt(spread * np.diag(np.linalg.inv(design.T @ design)))
        name = named(one, group, float(one.of(labels[rest]) - top.of(labels[rest])))
        for i, own in enumerate(sets):
            shift = solution[1 + i]
            frequency = float(thz[own].mean())
            out.append(
                ModeShift(name, frequency, len(own), float(shift[0]), float(shift[1]), float(uncertainty[1 + i]))
            )
    return out


def named(one: Level, group: Configurations, gap: float) -> str:
    """A level in words: its place above the valence top at rest (eV), how many states, at one of its k points."""
    return f"{gap:.3f} eV, {one.states} states at {_point(group.kpoints[one.points[0]])}"


def _point(k: Float[np.ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in np.round(k, 4)) + ")"


class Slope(NamedTuple):
    """How a level of strained crystals moves or splits, by the labels and by a model.

    Attributes:
        what: kind of strain, level. unit: "eV a unit of ln V" of its mean above the valence top, or "meV" of the splitting
            of its states at the strain of the labels. label, model: the two values.
    """

    what: str
    unit: str
    label: float
    model: float


def slopes(
    group: Configurations,
    level: str,
    found: Predicted,
    within: float = 1.5,
) -> list[Slope]:
    """Deformation of the valence top and the lowest levels, from pairs of opposite strains in a group with the crystal at rest.

    Isotropic pairs give the slope of each level above the valence top by ln V; the others how far its states split (highest
    less lowest), the mean over the pair.
    """
    rest = at_rest(group, level)
    if rest is None:
        return []
    labels, out = group.labels[level]["eigenvalues"], []
    top, empty = levels(labels[rest], group.occupied, within)
    pairs = _pairs(group)
    rows = sorted({i for pair in pairs for i in pair})
    model = dict(zip(rows, found(rows), strict=True)) if rows else {}
    for i, j in pairs:
        both = [labels[[i, j]], np.stack([model[i], model[j]])[:, :, : labels.shape[2]]]
        strain = group.strain[i]
        size = 100 * float(np.abs(strain).max())
        for one in [top, *empty]:
            name = f"{group.kind[i]} {size:g}%, " + (
                "valence top" if one is top else f"{one.states} states at {_point(group.kpoints[one.points[0]])}"
            )
            if group.kind[i] != "isotropic":
                split = [1e3 * float(_spread(one, e).mean()) for e in both]
                if max(split) < 1.0:  # symmetry forbids it
                    continue
                out.append(Slope(name, "meV", split[0], split[1]))
            elif one is not top:
                above = [one.of(e) - top.of(e) for e in both]
                volume = np.log(np.linalg.det(np.eye(3) + group.strain[[i, j]]))
                slope = [float((e[0] - e[1]) / (volume[0] - volume[1])) for e in above]
                out.append(Slope(name, "eV a unit of ln V", slope[0], slope[1]))
    return out


def _pairs(group: Configurations) -> list[tuple[int, int]]:
    """Rows of the same kind with opposite strains of the same lattice, without thermal displacements."""
    found: list[tuple[int, int]] = []
    rows = [i for i in range(len(group)) if np.isnan(group.temperature[i]) and np.abs(group.strain[i]).max() > 1e-6]
    for i, j in itertools.combinations(rows, 2):
        same = group.kind[i] == group.kind[j] and group.around[i] == group.around[j]
        if same and np.allclose(group.strain[i], -group.strain[j], atol=1e-6):
            found.append((i, j) if np.trace(group.strain[i]) >= 0 else (j, i))
    return found


def _spread(level: Level, energies: Float[np.ndarray, "s k b"]) -> Float[np.ndarray, "s"]:
    """Highest less lowest of the states of a level."""
    states = energies[:, list(level.points), slice(*level.bands)]
    return states.max(axis=(1, 2)) - states.min(axis=(1, 2))
