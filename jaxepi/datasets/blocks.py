"""H(R) and S(R) of labelled configurations: each Hermitian pair once, folded from matrices on a k mesh.

Flows in: H(k), S(k) of a code with atom-centred orbitals. Flows out: real blocks between pairs of atoms, in eV, orbitals
in the order of `jaxepi.hamiltonians.basis` (e3nn's). Bloch sums here are in the cell gauge, exp(2 pi i k.R).
"""

import numpy as np
from jaxtyping import Complex, Float, Int

from jaxepi import tree
from jaxepi.datasets.overlap import OverlapFunctions
from jaxepi.errors import InputError
from jaxepi.tree import pytree, static


@pytree
class PairBlocks:
    """Blocks of s configurations of one crystal, o orbitals an atom; configurations may have different pairs.

    Attributes:
        offsets: where each configuration's pairs start and end, shape (s + 1,).
        pairs: atoms i, j and lattice translation R of j, shape (p, 5), each of (i, j, R) and (j, i, -R) once; i = j with
            R = 0 is the atom's own block.
        hamiltonian: <i mu| H |j nu at R>, eV, shape (p, o, o). overlap: likewise, dimensionless.
        shells: shells of every atom, by letter (static): ("s", "p", "s", "p", "d").
        reach: blocks of pairs farther apart than this (angstrom) are absent (static).
        level: the level of theory they belong to (static).
        functions: what S is rebuilt from, or None: a file then holds `overlap` itself.
    """

    offsets: Int[np.ndarray, "s1"]
    pairs: Int[np.ndarray, "p 5"]
    hamiltonian: Float[np.ndarray, "p o o"]
    overlap: Float[np.ndarray, "p o o"]
    shells: tuple[str, ...] = static()
    reach: float = static()
    level: str = static()
    functions: OverlapFunctions | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Int[np.ndarray, "r"]) -> "PairBlocks":
        """Blocks of some configurations."""
        parts = [slice(self.offsets[i], self.offsets[i + 1]) for i in rows]
        offsets = np.concatenate([[0], np.cumsum([p.stop - p.start for p in parts])]).astype(int)

        def pick(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array[p] for p in parts]) if parts else array[:0]

        return tree.replace(
            self,
            offsets=offsets,
            pairs=pick(self.pairs),
            hamiltonian=pick(self.hamiltonian),
            overlap=pick(self.overlap),
        )

    def joined(self, other: "PairBlocks") -> "PairBlocks":
        """Blocks of both, one after the other."""
        return tree.replace(
            self,
            offsets=np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
            pairs=np.concatenate([self.pairs, other.pairs]),
            hamiltonian=np.concatenate([self.hamiltonian, other.hamiltonian]),
            overlap=np.concatenate([self.overlap, other.overlap]),
        )

    def bloch(
        self, row: int, k: Float[np.ndarray, "3"], atoms: int
    ) -> tuple[Complex[np.ndarray, "m m"], Complex[np.ndarray, "m m"]]:
        """H(k) and S(k) of one configuration at a fractional k point, cell gauge; m is atoms times orbitals."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        o = self.hamiltonian.shape[1]
        out = np.zeros((2, atoms, atoms, o, o), dtype=complex)
        i, j, shift = self.pairs[part, 0], self.pairs[part, 1], self.pairs[part, 2:]
        phase = np.exp(2j * np.pi * shift @ k)[:, None, None]
        own = (i == j) & ~shift.any(axis=1)
        for target, blocks in zip(out, (self.hamiltonian[part], self.overlap[part]), strict=True):
            np.add.at(target, (i, j), phase * blocks)
            mirrored = (phase * blocks).conj().swapaxes(1, 2)
            np.add.at(target, (j[~own], i[~own]), mirrored[~own])
        m = atoms * o
        h, s = (x.transpose(0, 2, 1, 3).reshape(m, m) for x in out)
        return h, s


def pairs_within(
    positions: Float[np.ndarray, "n 3"], cell: Float[np.ndarray, "3 3"], pbc: tuple[bool, bool, bool], reach: float
) -> Int[np.ndarray, "p 5"]:
    """Pairs (i, j, R) closer than `reach`, each Hermitian pair once, with every atom's own pair."""
    from vesin import NeighborList

    finder = NeighborList(cutoff=reach, full_list=True, sorted=True)
    i, j, shift = finder.compute(points=positions, box=cell, periodic=np.asarray(pbc), quantities="ijS")
    found = np.column_stack([i, j, shift]).astype(int)
    first = np.array([tuple(row) <= (row[1], row[0], *(-row[2:])) for row in found], dtype=bool)
    own = np.column_stack([np.arange(len(positions))] * 2 + [np.zeros((len(positions), 3), int)])
    rows = np.concatenate([own, found[first]]) if len(found) else own
    return rows[np.lexsort(rows.T[::-1])]


def fold(
    matrices: Complex[np.ndarray, "k m m"],
    points: Float[np.ndarray, "k 3"],
    weights: Float[np.ndarray, "k"],
    divisions: tuple[int, int, int],
    pairs: Int[np.ndarray, "p 5"],
    orbitals: int,
) -> Float[np.ndarray, "p o o"]:
    """Real blocks H(R) of the pairs from H(k) on a mesh of which time reversal fills the other half.

    Raises:
        InputError: two pairs that differ by a period of the mesh, which folding cannot tell apart.
    """
    both = np.concatenate([pairs, np.column_stack([pairs[:, 1], pairs[:, 0], -pairs[:, 2:]])])
    folded = {tuple(row) for row in np.column_stack([both[:, :2], both[:, 2:] % divisions])}
    if len(folded) < len({tuple(row) for row in both}):
        raise InputError(f"a mesh of {divisions} divisions aliases blocks within their reach; take a finer mesh")
    atoms = matrices.shape[1] // orbitals
    split = matrices.reshape(len(points), atoms, orbitals, atoms, orbitals)
    out = np.empty((len(pairs), orbitals, orbitals))
    for shift in np.unique(pairs[:, 2:], axis=0):
        phase = weights * np.exp(-2j * np.pi * points @ shift)
        whole = np.einsum("k,kiajb->ijab", phase, split).real
        rows = (pairs[:, 2:] == shift).all(axis=1)
        out[rows] = whole[pairs[rows, 0], pairs[rows, 1]]
    return out
