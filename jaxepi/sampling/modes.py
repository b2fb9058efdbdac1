"""Normal modes of a supercell on the host, one of each pair q and -q: what noise that chooses among modes is made of.

Flows in: force constants. Flows out: modes, and from amplitudes of modes a real field over its atoms.
Mass-weighted and of unit norm, such a field is white noise when its amplitudes are, and `harmonic.displacements` gives each
mode its thermal width; so every way to choose amplitudes shares that one smooth function of temperature, masses and
potential.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from jaxepi.errors import InputError
from jaxepi.guards import traced
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.lattices import sites
from jaxepi.structure import Structure


class SupercellModes(NamedTuple):
    """Modes of a supercell at one wave vector of each pair q, -q.

    Attributes:
        steps: wave vectors in units of the smallest along each direction, whole numbers. counts: of them along each.
        paired: whether -q is another one (otherwise q = -q but for a reciprocal lattice vector, and vectors are real).
        eigenvalues: of D(q), eV/(angstrom^2 amu), ascending. vectors: in columns, cell gauge.
        atom, translation: of every atom of the supercell, which of the base cell it is, and in which cell.
    """

    steps: Int[np.ndarray, "q 3"]
    counts: tuple[int, int, int]
    paired: Bool[np.ndarray, " q"]
    eigenvalues: Float[np.ndarray, "q m"]
    vectors: Complex[np.ndarray, "q m m"]
    atom: Int[np.ndarray, " n"]
    translation: Int[np.ndarray, "n 3"]

    @property
    def cells(self) -> int:
        return int(np.prod(self.counts))

    def phases(self, translations: Int[np.ndarray, "t 3"]) -> Complex[np.ndarray, "q t"]:
        """exp(iq.R), exact in the whole numbers that it is made of."""
        turns = (self.steps / np.asarray(self.counts)) @ np.asarray(translations, dtype=float).T
        return np.exp(2j * np.pi * (turns - np.rint(turns)))

    def field(self, amplitudes: Complex[np.ndarray, "s q m"]) -> Float[np.ndarray, "s n 3"]:
        """Real field of complex amplitudes of modes, N^-1/2 sum_q w Re[e a exp(iq.R)], w = 1 and sqrt(2) for pairs."""
        waves = np.einsum("qxm,sqm->sxq", self.vectors, amplitudes)
        waves = waves * (np.where(self.paired, np.sqrt(2.0), 1.0) / np.sqrt(self.cells))
        found = np.zeros((len(amplitudes), len(self.atom), 3))
        for j in range(waves.shape[1] // 3):
            here = self.atom == j
            phase = self.phases(self.translation[here])
            wave = waves[:, 3 * j : 3 * j + 3]
            moved = wave.real @ phase.real - wave.imag @ phase.imag
            found[:, here] = np.swapaxes(moved, 1, 2)
        return found


def dynamical_matrices(fc: ForceConstants) -> Complex[np.ndarray, "q m m"]:
    """D(q) on the host at all wave vectors that fit the supercell (`fc.commensurate()`), as `fc.dynamical_matrices` in double
    precision."""
    m = 3 * fc.matrix.shape[0]
    weight = np.asarray(fc.inverse_root_masses, dtype=float).ravel()
    phi = np.moveaxis(np.asarray(fc.matrix, dtype=float), 2, 0).reshape(*fc.supercell.repeats, m, m)
    d = np.conj(np.fft.fftn(phi, axes=(0, 1, 2))).reshape(-1, m, m) * np.outer(weight, weight)
    return 0.5 * (d + np.conj(np.swapaxes(d, 1, 2)))


def modes_of(fc: ForceConstants, supercell: Structure | None = None) -> SupercellModes:
    """Modes at the wave vectors that fit the supercell of the force constants.

    Args:
        supercell: of the same shape and size, in whose order of atoms fields come; that of the force constants when left out.

    Raises:
        InputError: force constants that are traced.
    """
    if traced(fc, supercell):
        raise InputError(
            "modes are chosen on the host: make the noise outside jit, vmap and grad, and hand it to sampling.displacements"
        )
    with jax.core.eval_context():
        d, base = dynamical_matrices(fc), fc.base
    counts, b = fc.supercell.repeats, len(base)
    steps = np.indices(counts).reshape(3, -1).T
    opposite = np.ravel_multi_index(tuple((-steps % np.asarray(counts)).T), counts)
    chosen = np.flatnonzero(np.arange(len(steps)) <= opposite)
    paired = opposite[chosen] != chosen
    d = d[chosen]
    eigenvalues, vectors = np.linalg.eigh(d)
    vectors[~paired] = np.linalg.eigh(d[~paired].real)[1]
    if supercell is None:
        atom, translation = np.tile(np.arange(b), len(steps)), np.repeat(steps, b, axis=0)
    else:
        found = sites(supercell, base)
        atom, translation = found.atom, found.translation
    return SupercellModes(steps[chosen], counts, paired, eigenvalues, vectors, atom, translation)
