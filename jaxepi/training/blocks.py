"""Blocks H(R) and S(R) as labels: brought into the basis of a model, and compared with its blocks edge by edge.

Flows in: `PairBlocks` of a data set and a Hamiltonian. Flows out: `BlockTargets`, arrays that stand beside the edges of each
configuration's graph, and the mean squared errors of a model. Orbitals are matched by letter, in order: the first s shell of
the data is the first of the model. Orbitals of one atom that overlap are made orthonormal first, shell after shell (split
valence) and then symmetrically (Loewdin), since on-site overlap is the identity in all models here: bands stay as they are.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.dataset import Configurations
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.structure import Structure
from jaxepi.tree import pytree

FAR_EV = 0.05
"""Elements (eV) beyond the range of a model that a warning is worth."""


@pytree
class BlockTargets:
    """Labels of s configurations on the edges of their graphs; zero where the data has no block.

    Attributes:
        onsite: eV, shape (s, n, o, o). hopping: eV, shape (s, e, o, o). overlap: shape (s, e, o, o), or None for an
            orthogonal basis. edges: which edges are no padding, shape (s, e). orbitals: which entries of an atom's block
            are orbitals, shape (n, o) stacked over s.
    """

    onsite: Float[Array | np.ndarray, "*s n o o"]
    hopping: Float[Array | np.ndarray, "*s e o o"]
    overlap: Float[Array | np.ndarray, "*s e o o"] | None
    edges: Bool[Array | np.ndarray, "*s e"]
    orbitals: Bool[Array | np.ndarray, "*s n o"]


def letters(basis: Basis, z: int) -> tuple[str, ...]:
    """Letters of the shells of a species, in the order of the model: s* counts as s."""
    return tuple("spd"[SHELLS[name][0]] for name in dict(basis.shells)[z])


def order(basis: Basis, z: int, shells: Sequence[str]) -> Int[np.ndarray, " o"]:
    """For every entry of a model's block, which orbital of the data it is; -1 where this species has none.

    Args:
        shells: of the data, by letter.

    Raises:
        InputError: other shells than the model's.
    """
    own = letters(basis, z)
    names = dict(basis.shells)[z]
    if sorted(own) != sorted(shells) or "pz" in names:
        raise InputError(
            f"blocks of the data have shells {' '.join(shells)} an atom, the model has {' '.join(names)}; begin from a set "
            "with these shells, or train on eigenvalues alone (hamiltonian = 0, overlap = 0)"
        )
    starts = np.concatenate([[0], np.cumsum([2 * "spd".index(x) + 1 for x in shells])])
    places = {x: [int(starts[i]) for i, y in enumerate(shells) if y == x] for x in "spd"}
    out, slices = np.full(basis.block_size, -1), basis.slices()
    for name, x in zip(names, own, strict=True):
        start, where = places[x].pop(0), slices[name]
        out[where] = np.arange(start, start + where.stop - where.start)
    return out


def orthonormal(shells: Sequence[str], overlap: Float[np.ndarray, "o o"]) -> Float[np.ndarray, "o o"]:
    """Rows: new orbitals of an atom in its old ones, so that shells of one letter are orthonormal, shell after shell.

    Args:
        overlap: of the old ones with each other, averaged over atoms; only its part that turns with the crystal counts.
    """
    starts = np.concatenate([[0], np.cumsum([2 * "spd".index(x) + 1 for x in shells])])
    out = np.zeros_like(overlap)
    for x in dict.fromkeys(shells):
        width = 2 * "spd".index(x) + 1
        mine = [slice(starts[i], starts[i] + width) for i, y in enumerate(shells) if y == x]
        mean = np.array([[np.trace(overlap[a, b]) / width for b in mine] for a in mine])
        turn = np.linalg.inv(np.linalg.cholesky(mean))
        for i, a in enumerate(mine):
            for j, b in enumerate(mine):
                out[a, b] = turn[i, j] * np.eye(width)
    return out


def targets(held: Configurations, graphs: Sequence[Graph], hamiltonian: Hamiltonian, level: str) -> BlockTargets:
    """The blocks of configurations on the edges of their graphs (padded alike), in the basis of a model.

    Raises:
        InputError: no blocks at this level, other shells than the model's, a model with spin, or an overlap on one side alone.
    """
    blocks, basis = held.blocks, hamiltonian.basis
    if blocks is None or blocks.level != level:
        raise InputError(
            f"{len(held.species)} atoms: the data set holds no H(R) at level {level!r}; leave hamiltonian and overlap out of "
            "[loss], or add blocks (jaxepi.datasets.deeptb reads hamiltonians.h5)"
        )
    if basis.spinor:
        raise InputError(
            "blocks of the data are spinless and the model has spin; train it without, and load it with spin"
        )
    rows = {z: order(basis, z, blocks.shells) for z in dict.fromkeys(held.species)}
    own, unit = _own(blocks), np.eye(len(blocks.overlap[0]))
    orthogonal = bool(np.abs(blocks.overlap - own[:, None, None] * unit).max() < 1e-8)
    refuse_overlap(orthogonal, hamiltonian, held, graphs[0])
    turn = orthonormal(blocks.shells, blocks.overlap[own].mean(axis=0))
    parts = [
        _on_graph(blocks, row, graph, np.stack([rows[z] for z in held.species]), turn)
        for row, graph in enumerate(graphs)
    ]
    beyond = max(part.pop("beyond") for part in parts)
    if beyond > FAR_EV:
        warnings.warn(
            f"{len(held.species)} atoms: H(R) of the data reaches {beyond:.2f} eV beyond the model's cutoff of "
            f"{hamiltonian.module.cutoff:g} angstrom, which it cannot learn; the data ends at {blocks.reach:.1f}",
            stacklevel=2,
        )
    stacked: dict[str, Any] = {n: np.stack([part[n] for part in parts]) for n in parts[0]}
    if orthogonal:
        stacked["overlap"] = None
    return BlockTargets(**stacked)


def refuse_overlap(orthogonal: bool, hamiltonian: Hamiltonian, held: Configurations, graph: Graph) -> None:
    """Refuse an overlap of the data that the model lacks, and the reverse.

    Raises:
        InputError: names the remedy.
    """
    structure = Structure.create(held.positions[0], held.cell[0], held.species, held.pbc)
    without = jax.eval_shape(hamiltonian.blocks, structure, graph).overlap is None
    if without and not orthogonal:
        raise InputError(
            "the data has S(R) and the model is orthogonal; begin from a set with an overlap, or train on eigenvalues alone "
            "(hamiltonian = 0, overlap = 0)"
        )
    if orthogonal and not without:
        raise InputError("the data's basis is orthogonal and the model has an overlap; begin from a set without one")


def places(
    pairs: Int[np.ndarray, "p 5"], graph: Graph
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"], Int[np.ndarray, " n"]]:
    """Where the edges of a graph, their reverses and the atoms' own pairs stand among `pairs` (i, j, R); -1 where they do not,
    and for edges that pad."""
    real, atoms = np.asarray(graph.mask), np.arange(graph.n_atoms)
    i, j, s = (np.asarray(x)[real].astype(np.int64) for x in (graph.senders, graph.receivers, graph.shifts))
    most = int(max(np.abs(pairs[:, 2:]).max(initial=0), np.abs(s).max(initial=0)))

    def key(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> np.ndarray:
        found = a * len(atoms) + b
        for axis in range(3):
            found = found * (2 * most + 1) + (shift[:, axis] + most)
        return found

    first, second = pairs[:, :2].T.astype(np.int64)
    known = key(first, second, pairs[:, 2:])
    sorting = np.argsort(known)

    def find(wanted: np.ndarray) -> np.ndarray:
        place = sorting[np.minimum(np.searchsorted(known, wanted, sorter=sorting), len(known) - 1)]
        return np.where(known[place] == wanted, place, -1)

    there, back = np.full((2, len(real)), -1)
    there[real], back[real] = find(key(i, j, s)), find(key(j, i, -s))
    return there, back, find(key(atoms, atoms, np.zeros((len(atoms), 3), np.int64)))


def _own(blocks: PairBlocks) -> Bool[np.ndarray, " p"]:
    """Which pairs are an atom's own."""
    return (blocks.pairs[:, 0] == blocks.pairs[:, 1]) & ~blocks.pairs[:, 2:].any(axis=1)


def _loewdin(overlaps: Float[np.ndarray, "n d d"]) -> Float[np.ndarray, "n d d"]:
    """S^(-1/2) of every atom's own overlap."""
    s, u = np.linalg.eigh(overlaps)
    return (u / np.sqrt(s)[:, None, :]) @ u.swapaxes(1, 2)


def _on_graph(
    blocks: PairBlocks, row: int, graph: Graph, index: Int[np.ndarray, "n o"], turn: Float[np.ndarray, "d d"]
) -> dict[str, Any]:
    """Blocks of one configuration by atom and edge, and the largest element (eV) of a pair that is no edge."""
    part = slice(blocks.offsets[row], blocks.offsets[row + 1])
    pairs, atoms = blocks.pairs[part], len(index)
    there, back, own = places(pairs, graph)
    if (own < 0).any():
        raise InputError(f"{atoms} atoms: blocks/pairs lack atoms with themselves; label again")
    turns = _loewdin(turn @ blocks.overlap[part][own] @ turn.T) @ turn
    h, s = (
        turns[pairs[:, 0]] @ x[part] @ turns[pairs[:, 1]].swapaxes(1, 2) for x in (blocks.hamiltonian, blocks.overlap)
    )
    ends = np.column_stack([graph.senders, graph.receivers])
    present = index >= 0
    kept = present[ends[:, 0]][:, :, None] & present[ends[:, 1]][:, None, :]

    def edges(values: np.ndarray) -> np.ndarray:
        found = np.where((there >= 0)[:, None, None], values[there], values[back].swapaxes(1, 2))
        found = np.where(((there >= 0) | (back >= 0))[:, None, None], found, 0.0)
        picked = np.take_along_axis(found, index[ends[:, 0]][:, :, None].clip(0), axis=1)
        picked = np.take_along_axis(picked, index[ends[:, 1]][:, None, :].clip(0), axis=2)
        return np.where(kept, picked, 0.0)

    onsite = np.stack([h[own[i]][np.ix_(index[i].clip(0), index[i].clip(0))] for i in range(atoms)])
    used = np.concatenate([own, there[there >= 0], back[back >= 0]])
    rest = np.setdiff1d(np.arange(len(pairs)), used)
    return {
        "onsite": np.where(present[:, :, None] & present[:, None, :], onsite, 0.0),
        "hopping": edges(h),
        "overlap": edges(s),
        "edges": np.asarray(graph.mask),
        "orbitals": present,
        "beyond": float(np.abs(h[rest]).max(initial=0.0)),
    }


def block_errors(
    blocks: Blocks, target: BlockTargets, graph: Graph, aligned: bool
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean squared errors of the elements of H (eV^2) and of S, over atoms and edges of one configuration.

    Args:
        aligned: H is compared up to a multiple of S, which shifts all energies alike; the multiple is the best one.
    """
    present = target.orbitals
    kept = target.edges[:, None, None] & present[graph.senders][:, :, None] & present[graph.receivers][:, None, :]
    atoms = present[:, :, None] & present[:, None, :]
    onsite = jnp.where(atoms, blocks.onsite - target.onsite, 0.0)
    hopping = jnp.where(kept, blocks.hopping - target.hopping, 0.0)
    unit = jnp.where(atoms, jnp.eye(blocks.basis.block_size, dtype=onsite.dtype)[None], 0.0)
    count = (atoms.sum() + kept.sum()).astype(onsite.dtype)
    if aligned:
        share = jnp.sum(unit * onsite)
        size = jnp.sum(unit)
        if target.overlap is not None:
            share, size = share + jnp.sum(target.overlap * hopping), size + jnp.sum(target.overlap**2)
        onsite = onsite - share / size * unit
        hopping = hopping if target.overlap is None else hopping - share / size * target.overlap
    h = (jnp.sum(onsite**2) + jnp.sum(hopping**2)) / count
    if target.overlap is None or blocks.overlap is None:
        return h, jnp.zeros_like(h)
    s = jnp.where(kept, blocks.overlap - target.overlap, 0.0)
    return h, jnp.sum(s**2) / jnp.maximum(kept.sum(), 1).astype(onsite.dtype)
