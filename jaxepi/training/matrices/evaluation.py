"""Errors of H(R): one table for every model, by split, before and after the best mu S of every configuration.

Flows in: labels and predicted blocks. Flows out: rows of numbers, mean absolute errors in meV. Far, empty blocks lower the mean
of all numbers: compare models on one graph, or by shells of distance.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxepi.errors import InputError
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.training.energies.evaluation import SPLITS
from jaxepi.training.matrices.labels import Matrices

DISTANCES = (1.1, 1.7, 2.7, 3.3, 4.2, 5.2, 6.6)
"""Angstrom: shells of neighbours in carbon layers."""


def aligned(
    held: Matrices, onsite: Float[np.ndarray, "n o o"], hopping: Float[np.ndarray, "e o o"]
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "c"]]:
    """Errors of blocks (predicted less labelled) less the best multiple of S of every configuration, and these, eV."""
    count = len(held)
    on, hop = onsite - held.onsite, hopping - held.hopping

    def sums(atoms: np.ndarray, edges: np.ndarray) -> np.ndarray:
        one = np.bincount(held.atom_of, atoms.sum(axis=(1, 2)), count)
        return one + np.bincount(held.edge_of, edges.sum(axis=(1, 2)), count)

    share = sums(on * held.own_overlap, hop * held.overlap)
    mu = share / sums(held.own_overlap**2, held.overlap**2)
    on = on - mu[held.atom_of][:, None, None] * held.own_overlap
    return on, hop - mu[held.edge_of][:, None, None] * held.overlap, mu


def error_rows(held: Matrices, onsite: np.ndarray, hopping: np.ndarray) -> list[dict[str, Any]]:
    """Errors of every split: all, and by kind and number of atoms; with and without mu S, meV."""
    on, hop, mu = aligned(held, onsite, hopping)
    each = [
        (np.abs(o).mean(axis=(1, 2)), np.abs(h).mean(axis=(1, 2)))
        for o, h in ((onsite - held.onsite, hopping - held.hopping), (on, hop))
    ]
    names = {
        "all": np.full(len(held), "all", dtype=object),
        "kind": held.what,
        "atoms": np.array([f"{n:3d}" for n in held.sizes]),
    }
    if held.kind.shape[1] == 2:  # relations within and between layers
        between = np.bincount(held.edge_of, held.kind[:, 1], len(held)) > 0
        names["layers"] = np.where(between, "two layers", "one layer")
    rows = []
    for split in SPLITS:
        for by, labels in names.items():
            for member in sorted(set(labels[held.split == split])):
                chosen = (held.split == split) & (labels == member)
                for name, (o, h) in zip(("as it is", "up to mu S"), each, strict=True):
                    row = {"split": split, "group": by, "member": member, "zero": name}
                    row |= {"configurations": int(chosen.sum()), "mu_mev": 1e3 * float(np.abs(mu[chosen]).mean())}
                    rows.append({**row, **_means(held, chosen, o, h)})
    return rows


def _means(held: Matrices, chosen: np.ndarray, onsite: np.ndarray, hopping: np.ndarray) -> dict[str, float]:
    """Mean absolute errors of some configurations, meV."""
    atoms, edges = chosen[held.atom_of], chosen[held.edge_of]
    o, h, r = 1e3 * onsite[atoms], 1e3 * hopping[edges], held.lengths[edges]

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else float("nan")

    out = {
        "all": mean(np.concatenate([o, h])),
        "labels": (o.sum() + h.sum()) / (len(o) + len(h) + held.beyond[chosen].sum()),
    }
    out |= {"onsite": mean(o), "hopping": mean(h)}
    if held.kind.shape[1] == 2:
        within = held.kind[edges][:, 0] > 0.5
        out |= {"within": mean(h[within]), "between": mean(h[~within])}
    for low, high in itertools.pairwise(DISTANCES):
        out[f"{low:g}-{high:g}"] = mean(h[(r >= low) & (r < high)])
    return out


def of_bilayers(rows: Sequence[dict[str, Any]], zero: str, split: str = "test") -> dict[str, Any]:
    """The row of a split's cells of two layers; of all its cells where layers are not told apart.

    Args:
        zero: "as it is" or "up to mu S".

    Raises:
        InputError: no configuration of that split.
    """
    chosen = [row for row in rows if (row["split"], row["zero"]) == (split, zero)]
    layered = [row for row in chosen if row["member"] == "two layers"]
    rows_of = layered or [row for row in chosen if row["group"] == "all"]
    if not rows_of:
        raise InputError(f"no configuration is of split {split!r}; give a set that has some")
    return rows_of[0]


def lines(rows: Sequence[dict[str, Any]], groups: Sequence[str] = ("all", "layers")) -> Iterator[str]:
    """The table in words."""
    names = [n for n in rows[0] if n not in ("split", "group", "member", "zero", "configurations", "mu_mev")]
    yield "Mean absolute errors of H, meV: all within the basis' reach, all pairs of the labels, by length in angstrom"
    yield f"{'split':11}{'':11}{'cells':>6} {'zero':10}" + "".join(f"{n:>9}" for n in names)
    for row in rows:
        if row["group"] in groups:
            numbers = "".join(f"{row[n]:9.3f}" for n in names)
            yield f"{row['split']:11}{row['member']:11}{row['configurations']:6d} {row['zero']:10}{numbers}"


def parity(
    held: Matrices, onsite: np.ndarray, hopping: np.ndarray
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Labels and predictions by split, eV: what neighbours make of on-site blocks, and hoppings that are not empty."""
    out: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {"on-site": {}, "hopping": {}}
    there = held.lengths < DISTANCES[-3]
    for split in SPLITS:
        atoms, edges = held.atoms(split), (held.split == split)[held.edge_of] & there
        if atoms.any():
            out["on-site"][split] = (held.onsite[atoms].ravel(), onsite[atoms].ravel())
            out["hopping"][split] = (held.hopping[edges].ravel(), hopping[edges].ravel())
    return out


def predicted(
    hamiltonian: Hamiltonian, held: Matrices
) -> tuple[Float[np.ndarray, "n o o"], Float[np.ndarray, "e o o"]]:
    """On-site blocks and hoppings of a model for all configurations, by the functions that `Hamiltonian.blocks` calls.

    Args:
        hamiltonian: an equivariant one, whose module the labels were gathered for.
    """
    near = tuple(t.vectors for t in held.near)
    receivers, slots = (tuple(getattr(t, n).astype(np.int32) for t in held.near) for n in ("receivers", "edges"))
    module: Any = hamiltonian.module
    made = jax.jit(module.matrix)
    return jax.device_get(made(hamiltonian.params, held.species.astype(np.int32), held.edges, near, receivers, slots))
