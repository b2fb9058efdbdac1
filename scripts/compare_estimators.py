"""The two-sided estimator beside the ordinary one of large-scale codes: one Hamiltonian, as many products H times vector.

    python scripts/compare_estimators.py --atoms 64 --seeds 6

The ordinary one is the kernel polynomial method's trace <r| W T_m(H) W T_n(H) |r> over random phases r with Jackson's kernel
(Weisse, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006)), as in KITE, written here with NumPy and SciPy: both
expansions of every vector, along x, y or z in turn, then sums over E of filled to empty energies. Each estimator is compared
with its own exact trace, from all states and with its own line shape, so that what is seen is the noise of random vectors: one
snapshot of silicon at 300 K at Gamma, lines of 30 meV, 1.3 to 1.6 eV.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import hamiltonians, kpoints, materials, optics, potentials, sampling  # noqa: E402
from jaxepi.optics.broadening import CARRIED  # noqa: E402
from jaxepi.optics.solvers.bonds import Bonds  # noqa: E402
from jaxepi.optics.solvers.case import Case, operators_of, without_far_slots  # noqa: E402
from jaxepi.optics.solvers.chebyshev import gaussian_order  # noqa: E402
from jaxepi.optics.solvers.stochastic import LEAK_TWO_SIDED  # noqa: E402

WIDTH, STEP = 0.03, 0.005
ENERGIES = np.linspace(1.3, 1.6, 31)


def matrix(operator: Bonds) -> sparse.csr_matrix:
    """The operator of real H at Gamma as a sparse matrix."""
    n, o, width = operator.blocks.shape
    rows = np.arange(n * o).reshape(n, o, 1)
    columns = (np.asarray(operator.receivers)[:, :, None] * o + np.arange(o)).reshape(n, 1, width)
    entries = np.asarray(operator.blocks).ravel()
    rows, columns = (np.broadcast_to(x, (n, o, width)).ravel() for x in (rows, columns))
    there = entries != 0
    return sparse.csr_matrix((entries[there], (rows[there], columns[there])), shape=(n * o, n * o))


class Kernel:
    """Jackson's kernel for lines of a deviation, eV, and the energies that are summed over."""

    def __init__(self, states: np.ndarray, occupied: int, width: float) -> None:
        low, high = states[0] - 0.2, states[-1] + 0.2
        self.centre, self.half = 0.5 * (low + high), 0.5 * (high - low)
        self.middle = 0.5 * (states[occupied - 1] + states[occupied])
        # Both sides have a line of their own, whose variances add up; Jackson's is pi a/M wide in the middle.
        self.count = int(np.pi * self.half / (width / np.sqrt(2)))
        m, n = np.arange(self.count), self.count
        angle = np.pi / (n + 1)
        self.damping = ((n - m + 1) * np.cos(angle * m) + np.sin(angle * m) / np.tan(angle)) / (n + 1)
        self.damping[0] *= 0.5
        at = STEP * (np.arange(round(ENERGIES[-1] / STEP)) + 0.5)
        self.filled, self.empty = self.lines(self.middle - at), self.lines(self.middle + at)

    def lines(self, energies: np.ndarray) -> np.ndarray:
        """Coefficients of delta(E - H) at energies, 1/eV, shape (e, moments)."""
        x = (energies - self.centre) / self.half
        waves = np.cos(np.arange(self.count)[None] * np.arccos(x)[:, None])
        return 2 / (np.pi * self.half * np.sqrt(1 - x**2))[:, None] * self.damping[None] * waves

    def sums(self, pairs: np.ndarray) -> np.ndarray:
        """Sum over filled E of the correlation at E + w and E, at photon energies, from that of all (empty, filled)."""
        pairs = pairs.real[:, ::-1]
        # E is (i + 1/2) steps below the middle, E + w is (j + 1/2) above; reversed, equal sums are diagonals.
        size = len(pairs)
        return STEP * np.array([np.trace(pairs, size - round(w / STEP)) for w in ENERGIES])


def exact(kernel: Kernel, states: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The trace itself: squares |W_mn|^2, mean over directions, of all states."""
    values = np.cos(np.arange(kernel.count)[:, None] * np.arccos((states - kernel.centre) / kernel.half)[None])
    return kernel.sums((kernel.empty @ values) @ squares @ (kernel.filled @ values).T)


def filtered(h: sparse.csr_matrix, start: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """delta(E - H) times complex vectors, shape (N, r), at energies: shape (N, r, e)."""
    r = start.shape[1]
    before = np.concatenate([start.real, start.imag], axis=1)
    last = h @ before
    stack = [before, last]
    for _ in range(coefficients.shape[1] - 2):
        before, last = last, 2 * (h @ last) - before
        stack.append(last)
    found = np.stack(stack, axis=2) @ coefficients.T
    return found[:, :r] + 1j * found[:, r:]


def ordinary(kernel: Kernel, h: sparse.csr_matrix, w: list[sparse.csr_matrix], vectors: int, seed: int) -> np.ndarray:
    """The trace by random vectors, each along one direction."""
    size = h.shape[0]
    scaled = (h - kernel.centre * sparse.identity(size, format="csr")) / kernel.half
    r = np.exp(2j * np.pi * np.random.default_rng(seed).random((size, vectors)))
    moved = np.stack([w[i % 3] @ r[:, i] for i in range(vectors)], axis=1)
    below, above = filtered(scaled, r, kernel.filled), filtered(scaled, moved, kernel.empty)
    return sum(kernel.sums(above[:, i].conj().T @ (w[i % 3] @ below[:, i])) for i in range(vectors)) / vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=64, help="8 n^3 atoms of silicon")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--vectors", type=int, default=8)
    options = parser.parse_args()
    structure = materials.load("silicon").structure.supercell(round((options.atoms / 8) ** (1 / 3)))
    drawn = sampling.harmonic(potentials.load("silicon-mvff"), structure, temperature=300.0, count=1, key=0)
    hamiltonian = hamiltonians.load("silicon-hse06")
    graph = hamiltonian.graph(structure)
    case = without_far_slots(Case(hamiltonian, structure, graph, drawn.positions, jnp.zeros((1, 3)), jnp.ones(1), True))
    bonds, momenta = operators_of(case, 0, 0)
    h = matrix(bonds)
    w = [matrix(Bonds(blocks, momenta.receivers, momenta.kept)) for blocks in momenta.blocks]
    print(
        f"{machine()}; {options.atoms} atoms, silicon-hse06, silicon-mvff, 300 K, Gamma; noise from 1.3 to 1.6 eV",
        flush=True,
    )

    states, u = np.linalg.eigh(h.toarray())
    squares = np.mean([np.abs(u.T @ (one @ u)) ** 2 for one in w], axis=0)
    kernel = Kernel(states, case.occupied, WIDTH)
    trace = exact(kernel, states, squares)
    line = optics.Gaussian(WIDTH)
    found = optics.transitions(hamiltonian, drawn, kpoints.mesh(1), tensor=False, graph=graph)
    dense = np.asarray(found.spectrum(ENERGIES, line).eps2[0, :, 0, 0])

    seconds, off = [], []
    for seed in range(-1, options.seeds):
        solver = optics.Stochastic(options.vectors, 2.0, 0, WIDTH, max(seed, 0))
        start = time.process_time()
        one = optics.transitions(hamiltonian, drawn, kpoints.mesh(1), tensor=False, graph=graph, solver=solver)
        jax.block_until_ready(one.histogram)
        if seed < 0:
            continue  # compiles
        seconds.append(time.process_time() - start)
        off.append(np.abs(np.asarray(one.spectrum(ENERGIES, line).eps2[0, :, 0, 0]) / dense - 1).mean())
    order = gaussian_order(kernel.half, CARRIED * WIDTH, LEAK_TWO_SIDED)
    print(
        f"two-sided, {options.vectors} vectors, {options.vectors * order} products, {np.mean(seconds):.1f} s of processor: "
        "mean error by seed " + listed(off),
        flush=True,
    )
    count = -(-options.vectors * order // (2 * kernel.count))
    start = time.process_time()
    off = [np.abs(ordinary(kernel, h, w, count, seed) / trace - 1).mean() for seed in range(options.seeds)]
    print(
        f"ordinary, {count} vectors, {2 * count * kernel.count} products, {(time.process_time() - start) / len(off):.1f} s of "
        "processor: mean error by seed " + listed(off),
        flush=True,
    )


def listed(values: list[float]) -> str:
    return " ".join(f"{100 * x:.0f}%" for x in values) + f"; mean {100 * np.mean(values):.0f}%"


if __name__ == "__main__":
    main()
