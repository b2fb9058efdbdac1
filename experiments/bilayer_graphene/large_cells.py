"""What 13 orbitals an atom cost in twisted bilayers: S(R) from its tables, and sparse factors of H - E S.

python large_cells.py [m ...] [--factors]; one row a twist (m, 1): processor seconds and peak memory of S of all edges within
6.1 angstrom; with --factors only the fill of a matrix with one number a pair of atoms within that reach (SuperLU), and what 13
orbitals an atom make of it: 169 times as many entries, of 16 bytes and an index of four.
"""

import argparse
import resource
import time
from pathlib import Path

import h5py
import jax
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from jaxepi.datasets.hdf5 import read_functions
from jaxepi.graph import build_graph
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.materials import bilayers

LABELS = Path(__file__).parent / "data/lcao.h5"
REACH, ORBITALS = 6.1, 13


def overlaps(m, form, params):
    """One row of S(R)."""
    structure = bilayers.twisted(m, 1, 3.35, 2.467)
    graph = build_graph(structure, REACH, 0.0, (form.relation,))
    apply = jax.jit(lambda s, g, p: form.apply(p, s, g, g.tables[0]))
    start = time.process_time()
    compiled = apply.lower(structure, graph, params).compile()
    middle = time.process_time()
    jax.block_until_ready(compiled(structure, graph, params))
    times = (middle - start, time.process_time() - middle)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return [m, len(structure), graph.n_edges, *(f"{t:.1f}" for t in times), f"{memory:.1f}"]


def factors(m):
    """One row of the fill."""
    graph = build_graph(bilayers.twisted(m, 1, 3.35, 2.467), REACH)
    n = graph.n_atoms
    pattern = sp.csc_matrix((np.full(graph.n_edges, -0.01), (graph.senders, graph.receivers)), shape=(n, n))
    matrix = (pattern + 3 * sp.identity(n, format="csc")).tocsc()
    start = time.process_time()
    found = spl.splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    seconds, count = time.process_time() - start, found.L.nnz + found.U.nnz
    numbers = (
        f"{matrix.nnz / 1e6:.2f}",
        f"{count / 1e6:.2f}",
        f"{seconds:.1f}",
        f"{count * ORBITALS**2 * 20 / 1e9:.1f}",
    )
    return [m, n, *numbers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("m", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--factors", action="store_true")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    with h5py.File(LABELS) as file:
        form, params = Overlap.of(read_functions(file, next(iter(file["overlap_functions"])), str(LABELS)))
    heads = ["m", "atoms", "edges", "s to compile", "s for S(R)", "peak memory, GB"]
    if given.factors:
        heads = ["m", "atoms", "entries, 1e6", "of the factors, 1e6", "s", "GB for 13 orbitals, complex double"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for m in given.m:
        row = factors(m) if given.factors else overlaps(m, form, params)
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
