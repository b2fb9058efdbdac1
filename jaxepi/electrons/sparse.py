"""A few states next to the gap of a large supercell, by shift and invert on the sparse H(k) (SciPy, on the host).

Much faster than the dense spectrum of hundreds of atoms. Not differentiable: use `eigenvalues` for that.
"""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from jaxtyping import Array, Float

from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks


def sparse_bloch(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], k
) -> tuple[sp.csc_matrix, sp.csc_matrix | None]:
    """H(k) and S(k) as SciPy sparse matrices, atomic gauge; real at k = 0 where the blocks are.

    Args:
        k: Cartesian, 1/angstrom, shape (3,).
    """
    index, size = blocks.basis.index(blocks.species), blocks.size
    senders, receivers = np.asarray(graph.senders), np.asarray(graph.receivers)
    angle = np.asarray(vectors) @ np.asarray(k)
    phase = np.exp(1j * angle) if angle.any() else np.ones(len(angle))
    rows = np.concatenate([index, index[senders]])[:, :, None]
    columns = np.concatenate([index, index[receivers]])[:, None, :]
    rows, columns = (np.broadcast_to(x, (len(x), index.shape[1], index.shape[1])).ravel() for x in (rows, columns))
    kept = (rows < size) & (columns < size)

    def matrix(diagonal, edges) -> sp.csc_matrix:
        values = np.concatenate([np.asarray(diagonal), phase[:, None, None] * np.asarray(edges)]).ravel()
        return sp.csc_matrix((values[kept], (rows[kept], columns[kept])), shape=(size, size))

    h = matrix(blocks.onsite, blocks.hopping)
    if blocks.overlap is None:
        return h, None
    return h, matrix(blocks.own_overlap, blocks.overlap)


def states_near(h: sp.csc_matrix, s: sp.csc_matrix | None, energy: float, count: int) -> np.ndarray:
    """The `count` eigenvalues of (H - E S) c = 0 that are closest to `energy` (eV), ascending."""
    shifted = h - energy * (sp.identity(h.shape[0], format="csc") if s is None else s)
    factors = spl.splu(shifted.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    inverse = spl.LinearOperator(h.shape, factors.solve, dtype=h.dtype)
    start = np.cos(1.0 + np.arange(h.shape[0]))  # fixed, so that results repeat bit by bit
    return np.sort(spl.eigsh(h, k=count, M=s, sigma=energy, OPinv=inverse, v0=start, return_eigenvectors=False))
