"""How far levels lie from the crystal at rest in pairs of cells with opposite displacements, labels beside a model.

The mean over u and -u has no part that is odd in the displacements: it is the second order of a level's shift, and what
little there is of fourth, without the noise of the first. Flows in: a data set. Flows out: rows of means.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxepi.datasets.dataset import Configurations, DataSet
from jaxepi.training.bands import edges

Bands = Callable[[Configurations, np.ndarray], np.ndarray]
"""Eigenvalues of a model at rows of a group, shape (r, k, N), eV."""


class PairShift(NamedTuple):
    """Mean shift of a level in the pairs drawn at one temperature, or in all of them; eV.

    Attributes:
        atoms, level: of the cell; the level's place above the valence top at rest, or that of the valence top, which is
            measured from the mean of all filled bands. temperature: kelvin; nan: all pairs. pairs: how many. label, model:
            means over the pairs. scatter: standard error of the labels' mean. difference, uncertainty: model less label, and
            the standard error of that; standard errors are nan for one pair. odd: root mean square of half of what the errors
            of u and -u differ by.
    """

    atoms: int
    level: str
    temperature: float
    pairs: int
    label: float
    model: float
    scatter: float
    difference: float
    uncertainty: float
    odd: float


def opposite(group: Configurations) -> list[tuple[int, int]]:
    """Rows (u, -u) of a group whose configurations have a `pair` and a `sign`; halves of pairs are left out."""
    if not {"pair", "sign"} <= set(group.extra):
        return []
    rows = {(int(p), int(s)): i for i, (p, s) in enumerate(zip(group.extra["pair"], group.extra["sign"], strict=True))}
    return [(i, rows[pair, -1]) for (pair, sign), i in sorted(rows.items()) if sign == 1 and (pair, -1) in rows]


def shifts(data: DataSet, level: str, found: Bands) -> list[PairShift]:
    """Mean shifts of the lowest levels in pairs, of every group of a data set that has pairs and, on the same mesh and in the
    same cell, the crystal at rest.

    Args:
        level: of theory. found: eigenvalues of a model, eV.
    """
    out = []
    for group in data.groups:
        rest = edges.crystal_of(data.groups, group, level)
        if rest is None:
            continue
        home, row = rest
        unstrained = edges.same_cell(group.cell, home.cell[row])
        chosen = [pair for pair in opposite(group) if unstrained[list(pair)].all()]
        if not chosen:
            continue
        still = np.asarray(home.labels[level]["eigenvalues"][row])
        rows = np.array(chosen).ravel()
        labels = group.labels[level]["eigenvalues"][rows]
        model = found(group, rows)[:, :, : still.shape[1]]
        calm = found(home, np.array([row]))[0, :, : still.shape[1]]
        top, empty = edges.levels(still, group.occupied)
        kelvin = group.temperature[np.array(chosen)[:, 0]]
        for one in (None, *empty):
            each = []
            for e, origin in ((labels, still), (model, calm)):
                moved = _place(one, top, group, e) - _place(one, top, group, origin)
                each.append(moved.reshape(-1, 2))
            name = "valence top" if one is None else edges.named(one, group, float(one.of(still) - top.of(still)))
            sets = [np.full(len(kelvin), True)] + [kelvin == t for t in np.unique(kelvin)]
            for own, t in zip(sets, [np.nan, *np.unique(kelvin)], strict=True):
                out.append(_mean(len(group.species), name, t, each[0][own], each[1][own]))
    return out


def _place(one: edges.Level | None, top: edges.Level, group: Configurations, energies: np.ndarray) -> np.ndarray:
    """A level above the valence top, or the valence top above the mean of all filled bands."""
    if one is not None:
        return np.asarray(one.of(energies) - top.of(energies))
    filled = energies[..., : group.occupied].mean(axis=-1)
    return np.asarray(top.of(energies) - np.average(filled, axis=-1, weights=group.weights))


def _mean(atoms: int, name: str, kelvin: float, labels: np.ndarray, models: np.ndarray) -> PairShift:
    """One row, of shifts of shape (pairs, 2)."""
    label, model, count = labels.mean(axis=1), models.mean(axis=1), len(labels)
    odd = float((np.diff(models - labels, axis=1) ** 2).mean() ** 0.5 / 2)
    scatter, unsure = (float(x.std(ddof=1) / count**0.5) if count > 1 else float("nan") for x in (label, model - label))
    means = float(label.mean()), float(model.mean())
    return PairShift(atoms, name, float(kelvin), count, *means, scatter, means[1] - means[0], unsure, odd)
