"""What forces, H(R) and S(R) and sparse factors cost in twisted bilayers.

python large_cells.py [m,r ...] [--dtype float32] [--factors]

One row a twist (m, r): seconds (of the processor, or on the clock of a GPU) of one evaluation of all forces of graphene-pbe-d3
(in --dtype), and of H and S of graphene-pbe-e3 (network in single, assembly in double precision), without and with what
compiles once a size; seconds an atom; what both programs take beside arguments and results; peak memory so far; and the mean
seconds of one label of GPAW in data/twisted.h5 (13 orbitals, one core) where there is one.
With --factors instead what sparse factors of 13 orbitals an atom take, all pairs within 6.1 angstrom coupled, at a k that is
complex and at one that is real: SuperLU's from one number a pair of atoms (169 times as many entries, of 16 bytes and an index
of four), PARDISO's as it says itself once it has found an order, in single precision.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import h5py
import jax
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from timing import clock, peak

from jaxepi import hamiltonians, potentials
from jaxepi.electrons.pardiso import Factors
from jaxepi.graph import build_graph
from jaxepi.materials import bilayers

LABELS = Path(__file__).parent / "data/twisted.h5"
REACH, ORBITALS = 6.1, 13
SIZES = ("1,1", "2,1", "4,1", "8,1", "16,1", "30,1")


def timed(function, *arguments):
    """Seconds to compile and to run (`timing.clock`), and GB that the program takes beside arguments and results."""
    start = clock()
    compiled = jax.jit(function).lower(*arguments).compile()
    middle = clock()
    jax.block_until_ready(compiled(*arguments))
    return middle - start, clock() - middle, compiled.memory_analysis().temp_size_in_bytes / 1e9


def labelled():
    """Mean seconds of GPAW's labels by number of atoms."""
    with h5py.File(LABELS) as file:
        groups = file["groups"].values()
        return {int(g["positions"].shape[1]): float(np.mean(g["seconds"])) for g in groups}


def inference(m, r, dtype, known):
    """One row of forces, H and S."""
    structure = bilayers.twisted(m, r, 3.35, 2.467)
    atoms = len(structure)
    potential = potentials.load("graphene-pbe-d3").astype(dtype)
    small = structure.astype(dtype)
    forces = timed(lambda p, s, g: p.forces(s, g), potential, small, potential.graph(small))
    after_forces = peak()
    hamiltonian = hamiltonians.load("graphene-pbe-e3")
    blocks = timed(lambda h, s, g: h.blocks(s, g), hamiltonian, structure, hamiltonian.graph(structure))
    per_atom = (f"{1e3 * x / atoms:.2f}" for x in (forces[1], blocks[1]))
    costs = (f"{forces[1]:.2f} (+{forces[0]:.0f})", f"{blocks[1]:.2f} (+{blocks[0]:.0f})", *per_atom)
    dft = f"{known[atoms]:.0f}" if atoms in known else ""
    return [f"{m},{r}", atoms, *costs, f"{forces[2]:.1f}, {blocks[2]:.1f}", f"{after_forces:.1f}, {peak():.1f}", dft]


def factors(m, r):
    """One row of the fill."""
    graph = build_graph(bilayers.twisted(m, r, 3.35, 2.467), REACH)
    n = graph.n_atoms
    pattern = sp.csr_matrix((np.full(graph.n_edges, -0.01, np.float32), (graph.senders, graph.receivers)), shape=(n, n))
    matrix = (pattern + 3 * sp.identity(n, dtype=np.float32)).tocsr()
    found = spl.splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    count = found.L.nnz + found.U.nnz
    numbers = [f"{matrix.nnz / 1e6:.2f}", f"{count / 1e6:.2f}", f"{count * ORBITALS**2 * 20 / 1e9:.1f}"]
    del found
    whole = sp.kron(sp.triu(matrix), np.ones((ORBITALS, ORBITALS), np.float32), format="bsr").tocsr()
    upper = sp.triu(whole, format="csr")
    del whole
    for dtype in (np.complex64, np.float32):
        start = clock()
        ordered = Factors(upper.astype(dtype), only_ordered=True)
        seconds = clock() - start
        numbers += [f"{ordered.entries / 1e6:.0f}", f"{ordered.gigabytes:.1f}", f"{seconds:.0f}"]
        ordered.close()
    return [f"{m},{r}", n, *numbers, f"{peak():.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("twists", nargs="*", default=SIZES, help="m,r")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of forces")
    parser.add_argument("--factors", action="store_true")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    heads = ["m, r", "atoms", "forces, s (+ to compile)", "H and S, s (+ to compile)", "forces, ms an atom"]
    heads += ["H and S, ms an atom", "programs beside arguments, GB", "peak memory of forces, of all, GB", "GPAW, s"]
    if given.factors:
        heads = ["m, r", "atoms", "pairs, 1e6", "SuperLU: of both factors, 1e6 pairs", "GB, complex double"]
        heads += ["PARDISO, complex: entries, 1e6", "GB, single", "s to order"]
        heads += ["PARDISO, real: entries, 1e6", "GB, single", "s to order", "peak memory so far, GB"]
    known = {} if given.factors else labelled()
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for twist in given.twists:
        m, r = map(int, twist.split(","))
        row = factors(m, r) if given.factors else inference(m, r, given.dtype, known)
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
