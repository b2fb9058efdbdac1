"""Whether blocks are what they are said to be: orbitals in the right order and of the right sign, overlaps positive definite.

The overlap of two atoms hardly knows of others, so that turns about the line between them leave it as it is: L S = S L, L the
generator of turns about that line. Orbitals in another order, or some of another sign, break that at once.
"""

import numpy as np
from jaxtyping import Float

from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.overlap import pair_vectors, shell_functions
from jaxepi.errors import InputError

LARGEST = 0.2
"""How much of S may lack that symmetry: third atoms (PAW) take 0.01 of it in graphene, wrong orders or signs 0.7 to 1.2."""

WHOLE = 2000
"""Orbitals of the largest S(k) that is diagonalised to see whether it is positive."""


def axial(overlap: Float[np.ndarray, "p o o"], vectors: Float[np.ndarray, "p 3"], shells: tuple[str, ...]) -> float:
    """How far overlaps are from being symmetric about the lines between their atoms: |L S - S L| / |S|, over all pairs."""
    length = np.linalg.norm(vectors, axis=1)
    apart = length > 1e-6
    s, n = overlap[apart], vectors[apart] / length[apart, None]
    turn = np.einsum("pa,aij->pij", n, _generators(shells))
    size = float(np.sqrt((s**2).sum()))
    return float(np.sqrt(((turn @ s - s @ turn) ** 2).sum())) / size if size else 0.0


def _generators(shells: tuple[str, ...]) -> Float[np.ndarray, "3 o o"]:
    """Of turns of all shells about x, y and z."""
    step, unit = 1e-4, np.random.default_rng(0).normal(size=(200, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    size = sum(shell_functions(unit[:1], s).shape[1] for s in shells)
    out = np.zeros((3, size, size))
    for axis in range(3):
        turned = np.cross(np.eye(3)[axis], unit)
        start = 0
        for shell in shells:
            ahead, behind = (shell_functions(unit + sign * step * turned, shell) for sign in (1, -1))
            slope = (ahead - behind) / (2 * step)
            part = np.linalg.lstsq(shell_functions(unit, shell), slope, rcond=None)[0].T
            stop = start + len(part)
            out[axis, start:stop, start:stop] = part
            start = stop
    return out


def check(
    blocks: PairBlocks, row: int, positions: Float[np.ndarray, "n 3"], cell: Float[np.ndarray, "3 3"], where: str
) -> None:
    """Refuse a configuration whose overlap cannot be right.

    Raises:
        InputError: orbitals in another order or of other signs than the file's form has, or S(k) that is not positive definite.
    """
    part = slice(blocks.offsets[row], blocks.offsets[row + 1])
    found = axial(blocks.overlap[part], pair_vectors(positions, cell, blocks.pairs[part]), blocks.shells)
    if found > LARGEST:
        raise InputError(
            f"{where}: overlaps change by {found:.2f} of themselves when turned about the bonds, right ones by less than "
            f"{LARGEST:g}: the orbitals stand in another order or have other signs than this form of file has; write it anew"
        )
    if len(positions) * blocks.overlap.shape[1] > WHOLE:
        return
    for k in (np.zeros(3), np.array([0.31, 0.17, 0.23])):
        least = float(np.linalg.eigvalsh(blocks.bloch(row, k, len(positions))[1])[0])
        if least <= 0:
            raise InputError(
                f"{where}: S(k) at {k.tolist()} has the eigenvalue {least:.3g}, and is not positive definite: blocks are "
                "missing, or the overlap is not of these orbitals"
            )
