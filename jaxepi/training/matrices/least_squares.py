"""The baseline of an equivariant Hamiltonian by linear least squares, and the spread of what it leaves.

Every irrep of every pair of shells is a problem of its own; pairs of shells that hold the same irrep share their features and
so their normal equations. Edges are there in both directions, so that Hermiticity follows. Flows in: `Matrices`. Flows out:
parameters of `e3_baseline` and `spread` of `e3`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxepi.hamiltonians.e3 import SPREAD_SPLINES, Equivariant
from jaxepi.hamiltonians.e3_baseline import splines, zeros
from jaxepi.nn import Irrep, directions, harmonics, natural
from jaxepi.training.matrices.labels import Matrices

ROWS = 4096
"""Edges whose features are made at a time."""

ENOUGH = 24
"""Rows of normal equations for every unknown: a random part of the edges does where there are more."""

LEAST_EV = 2e-4
"""Spreads are not smaller: a tenth of a millielectronvolt is noise of the labels."""

PAIR_RIDGE = 1e-5
"""Atoms are few: their products of two sums want a larger ridge."""

BINS = 24
"""Of distance, for the spread."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Parameters of the baseline, and what it gives: on-site blocks (n, o, o) and hoppings (e, o, o), eV."""

    params: dict[str, Any]
    onsite: Float[np.ndarray, "n o o"]
    hopping: Float[np.ndarray, "e o o"]


def fit(module: Equivariant, held: Matrices, what: str, ridge: float) -> Fitted:
    """Least squares on the training configurations, applied to all.

    Args:
        what: "levels", "two-centre" or "linear" (`EquivariantSettings.baseline`). ridge: relative to the features' size.
    """
    base, shells = module.baseline, module.shells
    params = zeros(base.shapes())
    atoms = held.atoms("train")
    params["levels"] = shells.tensors(held.onsite[atoms], natural(0)).mean(axis=(0, 1))
    onsite = np.asarray(shells.blocks({natural(0): jnp.asarray(params["levels"])[None, None]})) + 0 * held.onsite
    hopping = np.zeros_like(held.hopping)
    if what == "levels":
        return Fitted(params, onsite, hopping)
    two_centres(module, held, params, ridge)
    on_atoms(module, held, params, ridge)
    given = jax.tree.map(jnp.asarray, {n: params[n] for n in ("hopping", "onsite", "levels")})
    hopping = _by_parts(lambda v, k: base.two_centre(given, v, k), held.vectors, held.kind)
    edges = held.edges
    onsite = np.asarray(jax.jit(base.onsite)(given, *edges.of(edges.rows)))
    if what == "linear":
        onsite = pairs_of_neighbours(module, held, params, ridge, onsite)
        hopping = neighbours(module, held, params, ridge, hopping)
    return Fitted(params, onsite, hopping)


def _rows(start: int, count: int) -> np.ndarray:
    """`ROWS` rows of `count`; the last one again and again fills the last part, so that one program serves all."""
    return np.minimum(np.arange(start, start + ROWS), count - 1)


def _by_parts(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """function(*arrays) of rows, `ROWS` at a time, compiled once."""
    compiled, count = jax.jit(function), len(arrays[0])
    starts = range(0, count, ROWS)
    parts = [np.asarray(compiled(*(x[_rows(i, count)] for x in arrays)))[: count - i] for i in starts]
    return np.concatenate(parts)


def solved(gram: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """Solution of normal equations whose features are scaled alike; features that are always zero get nothing."""
    size = np.sqrt(np.maximum(np.diag(gram), 0.0))  # of features that cancel, below zero by rounding
    there = size > 1e-12 * max(size.max(initial=0.0), 1e-300)
    out = np.zeros_like(right)
    g = gram[np.ix_(there, there)] / size[there][:, None] / size[there][None]
    out[there] = np.linalg.solve(g + ridge * np.eye(len(g)), right[there] / size[there][:, None]) / size[there][:, None]
    return out


def two_centres(module: Equivariant, held: Matrices, params: dict[str, Any], ridge: float) -> None:
    """Functions of distance of every pair of shells."""
    base, shells = module.baseline, module.shells
    train = (held.split == "train")[held.edge_of]
    length, unit = directions(jnp.asarray(held.vectors[train]))
    basis = np.asarray(splines(length, base.FIRST, base.reach, base.splines))
    angles = jax.jit(harmonics, static_argnums=1)(unit, max(i.l for i in shells.natural))
    for irrep in shells.natural:
        y = np.asarray(angles[irrep.l])
        value = np.einsum("emp,em->ep", shells.tensors(held.hopping[train], irrep), y) / irrep.dim
        for kind in range(base.kinds):
            x = basis * held.kind[train][:, kind, None]
            params["hopping"][str(irrep)][kind] = solved(x.T @ x, x.T @ value, ridge)


def on_atoms(module: Equivariant, held: Matrices, params: dict[str, Any], ridge: float) -> None:
    """Blocks of atoms, linear in their neighbours, with the levels."""
    base, shells, atoms = module.baseline, module.shells, held.atoms("train")
    edges = held.edges
    features = jax.jit(base.onsite_features)(*edges.of(edges.rows))
    for irrep in shells.natural:
        x = np.asarray(features[irrep])[atoms]
        if irrep == natural(0):
            x = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
        flat, target = x.reshape(-1, x.shape[2]), shells.tensors(held.onsite[atoms], irrep)
        found = solved(flat.T @ flat, flat.T @ target.reshape(-1, target.shape[2]), max(ridge, 1e-8))
        if irrep == natural(0):
            found, params["levels"] = found[:-1], found[-1]
        params["onsite"][str(irrep)] = found


def pairs_of_neighbours(
    module: Equivariant, held: Matrices, params: dict[str, Any], ridge: float, onsite: Float[np.ndarray, "n o o"]
) -> Float[np.ndarray, "n o o"]:
    """What pairs of neighbours add to atoms, from what `onsite` leaves; the sum of both."""
    base, shells, atoms = module.baseline, module.shells, held.atoms("train")
    if not base.pair_functions:
        return onsite
    near = tuple(jnp.asarray(t.vectors) for t in held.near)
    moments = jax.jit(base.moments, static_argnums=1)(near, base.pair_functions)
    left, tensors = held.onsite[atoms] - onsite[atoms], {}
    for irrep, columns in shells.columns.items():
        if base.pairs(irrep):
            x = np.asarray(jax.jit(base.pair_features, static_argnums=0)(irrep, moments))
            flat, target = x[atoms].reshape(-1, x.shape[2]), shells.tensors(left, irrep).reshape(-1, len(columns))
            params["pairs"][str(irrep)] = solved(flat.T @ flat, flat.T @ target, max(ridge, PAIR_RIDGE))
            tensors[irrep] = jnp.asarray(x @ params["pairs"][str(irrep)])
    added = np.asarray(jax.jit(shells.blocks)(tensors))
    return onsite + 0.5 * (added + added.swapaxes(1, 2))


def neighbours(
    module: Equivariant, held: Matrices, params: dict[str, Any], ridge: float, hopping: Float[np.ndarray, "e o o"]
) -> Float[np.ndarray, "e o o"]:
    """What neighbours do to edges, from what `hopping` leaves; the sum of both."""
    base, shells = module.baseline, module.shells
    near = tuple(jnp.asarray(t.vectors) for t in held.near)
    moments = jax.jit(base.moments, static_argnums=1)(near, base.neighbour_functions)
    directed = np.zeros_like(hopping)
    for kind, table in enumerate(held.near):
        atom, slot = np.nonzero(table.mask)
        edges = Edges(table.vectors[atom, slot], atom, table.receivers[atom, slot])
        place = table.edges[atom, slot]
        train = (held.split == "train")[held.edge_of[place]]
        if not train.any():
            continue  # no such edges to learn from: none are corrected
        left, tensors = held.hopping[place] - hopping[place], {}
        for irrep in shells.columns:
            if not base.paths(irrep):
                continue

            def made(v: Any, i: Any, irrep: Irrep = irrep) -> Any:
                return base.edge_features(irrep, v, moments, i)

            chosen = _enough(np.flatnonzero(train), 2 * base.width(irrep), irrep)
            target = shells.tensors(left[chosen], irrep)
            found = _both_ends(jax.jit(made), edges.take(chosen), target, shells, irrep, ridge)
            params["around"][str(irrep)][kind] = found
            weights = jnp.asarray(found)
            used = _by_parts(
                lambda v, i, made=made, weights=weights: made(v, i) @ weights, edges.vectors, edges.senders
            )
            tensors[irrep] = jnp.asarray(used)
        directed[place] = np.asarray(jax.jit(shells.blocks)(tensors))
    return hopping + directed + directed[held.reverse].swapaxes(1, 2)


def _enough(rows: np.ndarray, unknowns: int, irrep: Irrep) -> np.ndarray:
    """Some rows, drawn once and for all, where there are more than `ENOUGH`."""
    wanted = -(-ENOUGH * unknowns // irrep.dim)
    return rows if len(rows) <= wanted else np.sort(np.random.default_rng(0).permutation(rows)[:wanted])


class Edges(NamedTuple):
    """Near edges of one kind."""

    vectors: Float[np.ndarray, "e 3"]
    senders: Int[np.ndarray, "e"]
    receivers: Int[np.ndarray, "e"]

    def take(self, rows: Any) -> "Edges":
        """Some of them."""
        return Edges(*(x[rows] for x in self))


def _both_ends(made, edges: Edges, target, shells, irrep, ridge) -> Float[np.ndarray, "f p"]:
    """Weights c with target_ab = c_ab x + s c_ba x', where x' are the features of the reverse edge and s its sign."""
    sign, columns = irrep.parity * (-1) ** irrep.l, shells.columns[irrep]
    gram, right = np.zeros(()), np.zeros(())
    for start in range(0, len(target), ROWS):
        part = edges.take(_rows(start, len(target)))
        own, other = made(part.vectors, part.senders), made(-part.vectors, part.receivers)
        both = np.concatenate([own, sign * np.asarray(other)], axis=2)[: len(target) - start]
        both = both.reshape(-1, both.shape[2])
        gram = gram + both.T @ both
        right = right + both.T @ target[start : start + ROWS].reshape(-1, len(columns))
    f = len(gram) // 2
    out = np.zeros((f, len(columns)))
    apart = [(p, columns.index((j, i))) for p, (i, j) in enumerate(columns) if i < j]
    if apart:
        mine, back = (list(x) for x in zip(*apart, strict=True))
        found = solved(gram, right[:, mine], ridge)
        out[:, mine], out[:, back] = found[:f], found[f:]
    same = [p for p, (i, j) in enumerate(columns) if i == j]
    if same:
        summed = gram[:f, :f] + gram[f:, f:] + gram[:f, f:] + gram[f:, :f]
        out[:, same] = solved(summed, right[:f, same] + right[f:, same], ridge)
    return out


def spread(module: Equivariant, held: Matrices, fitted: Fitted) -> dict[str, Any]:
    """Root mean squares of what the baseline leaves in training, smooth in distance: the size of the network's terms."""
    base, shells = module.baseline, module.shells
    atoms = held.atoms("train")
    left = held.onsite[atoms] - fitted.onsite[atoms]
    onsite = {}
    hopping: dict[str, Any] = {
        str(i): np.zeros((base.kinds, SPREAD_SPLINES, len(c))) for i, c in shells.columns.items()
    }
    for irrep in shells.columns:
        onsite[str(irrep)] = np.maximum(np.sqrt((shells.tensors(left, irrep) ** 2).mean(axis=(0, 1))), LEAST_EV)
    for kind, table in enumerate(held.near):
        chosen = table.mask & atoms[:, None]
        if not chosen.any():
            continue
        edge, r = table.edges[chosen], np.linalg.norm(table.vectors[chosen], axis=1)
        bins = np.unique(np.quantile(r, np.linspace(0, 1, BINS + 1)))
        at = np.clip(np.searchsorted(bins, r, side="right") - 1, 0, len(bins) - 2)
        count = np.bincount(at, minlength=len(bins) - 1)
        middle = np.bincount(at, r, len(bins) - 1) / np.maximum(count, 1)
        # Splines whose coefficients are the values at their centres stay between these, and end at the cutoff as all do.
        step = (base.near - base.FIRST) / SPREAD_SPLINES
        centres = base.FIRST + step * (np.arange(SPREAD_SPLINES) - 1)
        error = held.hopping[edge] - fitted.hopping[edge]
        for irrep in shells.columns:
            square = (shells.tensors(error, irrep) ** 2).mean(axis=1)
            for p in range(square.shape[1]):
                size = np.sqrt(np.bincount(at, square[:, p], len(bins) - 1)[count > 0] / count[count > 0])
                hopping[str(irrep)][kind, :, p] = np.interp(centres, middle[count > 0], np.maximum(size, LEAST_EV))
    return {"onsite": onsite, "hopping": hopping}
