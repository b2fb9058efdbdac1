"""How long a snapshot's spectrum takes, against LAPACK's eigh alone on the same matrix, in one run.

    python scripts/benchmark_optics.py [--atoms 512] [--complex] [--repeat 2]

Prints: seconds of LAPACK's eigh (syevd or heevd through SciPy and through JAX; the faster is the unit), of the whole kernel
(H(k), diagonalisation, momentum matrix elements, binning) and of the spectrum at 200 frequencies with Kramers-Kronig; their
ratio; building H(k) as a fraction of that eigh; peak memory; and how many compilations four temperatures take against one.
"""

import argparse
import os

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from timing import machine, peak, shortest

jax.config.update("jax_enable_x64", True)

from jaxepi import materials, optics, sampling  # noqa: E402
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian  # noqa: E402
from jaxepi.kpoints import KPoints  # noqa: E402
from jaxepi.optics.solvers.dense import binned_transitions  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=512, help="8 n^3 atoms of silicon")
    parser.add_argument("--complex", action="store_true", help="a general k point instead of Gamma")
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()

    silicon = materials.load("silicon")
    supercell = silicon.structure.supercell(round((options.atoms / 8) ** (1 / 3)))
    graph = silicon.hamiltonian.graph(supercell)
    snapshots = sampling.harmonic(silicon.potential, supercell, temperature=300.0, count=1, key=jax.random.key(0))
    k = np.array([[0.21, 0.13, 0.37]]) if options.complex else np.zeros((1, 3))
    points = KPoints(k, np.ones(1))
    energies = jnp.linspace(1.0, 5.0, 200)

    def matrix():
        structure = snapshots[0]
        blocks = silicon.hamiltonian.blocks(structure, graph)
        return bloch_matrices(blocks, graph, graph.vectors(structure), cartesian(k[0], structure))[0]

    def kernel():
        return optics.transitions(silicon.hamiltonian, snapshots, points, graph=graph).histogram

    broaden = jax.jit(lambda transitions: transitions.spectrum(energies, optics.Gaussian(0.03)).absorption())

    def spectrum():
        return broaden(optics.transitions(silicon.hamiltonian, snapshots, points, graph=graph))

    build = jax.jit(matrix)
    h = np.asarray(build() if options.complex else build().real)
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    print(f"{len(supercell)} atoms, {h.shape[0]} orbitals, {'complex' if options.complex else 'real'}, float64")
    jax.block_until_ready(spectrum())
    on_device = jnp.asarray(h)
    eigh_of_jax = jax.jit(jnp.linalg.eigh)
    jax.block_until_ready(eigh_of_jax(on_device))
    rows = {
        "eigh alone, LAPACK evd through SciPy": shortest(lambda: scipy.linalg.eigh(h, driver="evd")[0], options.repeat),
        "eigh alone, LAPACK evd through JAX": shortest(lambda: eigh_of_jax(on_device), options.repeat),
        "transitions": shortest(kernel, options.repeat),
        "transitions and spectrum at 200 frequencies": shortest(spectrum, options.repeat),
        "building H(k)": shortest(build, options.repeat),
    }
    eigh = min(seconds for name, seconds in rows.items() if name.startswith("eigh"))
    for name, seconds in rows.items():
        print(f"{name:45s} {seconds:9.3f} s   {seconds / eigh:6.3f} of eigh")
    print(f"peak memory {peak():.2f} GB")
    count_compilations(silicon)


def count_compilations(silicon) -> None:
    """One temperature against four: the kernel must not be compiled again."""
    supercell = silicon.structure
    graph = silicon.hamiltonian.graph(supercell)
    counts = []
    for temperatures in ((300.0,), (100.0, 200.0, 300.0, 400.0)):
        binned_transitions.clear_cache()
        for temperature in temperatures:
            snapshots = sampling.harmonic(
                silicon.potential, supercell, temperature=temperature, count=2, key=jax.random.key(1)
            )
            optics.transitions(silicon.hamiltonian, snapshots, 1, graph=graph)
        counts.append(binned_transitions._cache_size())
    print(f"compilations of the kernel: {counts[0]} for one temperature, {counts[1]} for four")


if __name__ == "__main__":
    main()
