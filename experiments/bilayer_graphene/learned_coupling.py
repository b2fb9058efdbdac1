"""How strongly graphene's electrons feel its vibrations in the learned model of 13 orbitals, and what becomes of the velocity.

    python learned_coupling.py [coupling] [carlo] [--pairs 2]

`coupling`: <D^2> of the E2g mode at Gamma and of the A1' mode at K between the Dirac states, mean over the four pairs of states
(Piscanec et al., Phys. Rev. Lett. 93, 185503 (2004): 45.6 and about 92 (eV/angstrom)^2 in DFT; 9/4 and 9/2 of (dt/dd)^2 for
hoppings between first neighbours alone). `carlo`: sorted bands of the same few pairs of 6x6 bilayers, p_z and 13 orbitals, at 0
and 300 K, with force constants of 6x6 cells.
"""

import argparse
import sys
import time

import jax

jax.config.update("jax_enable_x64", True)

import dirac_crystals  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
from dirac_crystals import CORNER, Crystal  # noqa: E402
from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: E402

from jaxepi import electrons, sampling  # noqa: E402
from jaxepi.errors import InputError  # noqa: E402
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian  # noqa: E402
from jaxepi.sampling.phonons import images_of, interpolated, short_ranged  # noqa: E402

MODELS = ("graphene-trambly2010", "graphene-pbe-lcao")
AT = np.array([0.05, 0.1, 0.15])
"""Distances from K of the few that are computed with 13 orbitals, 1/angstrom."""

LOW = 8
"""States of a 6x6 bilayer that come from both cones of both layers; no others lie as near to the Dirac point."""


def dirac_states(crystal: Crystal) -> slice:
    """The two bands on both sides of the Dirac point."""
    filled = crystal.hamiltonian.basis.occupied(crystal.cell.species)
    return slice(filled - 1, filled + 1)


def patterns() -> np.ndarray:
    """Displacements of 3x3 cells of one layer: both E2g modes at Gamma, and the A1' mode at K, standing; shape (3, 18, 3).

    Each of unit norm over a primitive cell; the standing wave is the sum of the modes at K and -K. A1' is the highest at K.
    """
    nearest = dirac_crystals.loaded("nearest")
    fc, cells = nearest.constants(), np.indices((3, 3, 1)).reshape(3, -1).T
    d = interpolated(fc, short_ranged(fc, images_of(fc)), jnp.asarray(CORNER), images_of(fc))
    own = np.linalg.eigh(np.asarray(d).reshape(6, 6))[1][:, -1].reshape(2, 3)
    standing = 2 * (own[None] * np.exp(2j * np.pi * cells @ CORNER)[:, None, None]).real
    optical = [np.tile(np.outer([1, -1], axis) / 2**0.5, (9, 1)) for axis in np.eye(3)[:2]]
    return np.array([*optical, standing.reshape(18, 3)])


@jax.jit
def _changes(hamiltonian, supercell, graph, directions):
    def matrices(x):
        h, s = bloch_matrices(
            hamiltonian.blocks(supercell.with_positions(x), graph), graph, graph.vectors(supercell), jnp.zeros(3)
        )
        return h, jnp.eye(len(h), dtype=h.dtype) if s is None else s

    x = supercell.positions
    return matrices(x), jax.lax.map(lambda u: jax.jvp(matrices, (x,), (u,))[1], directions)


def squares(crystal: Crystal) -> tuple[float, float]:
    """<D^2> at Gamma, mean of its two modes, and at K, (eV/angstrom)^2, from dH - E dS between the four states of both cones,
    which meet at Gamma of a 3x3 cell.

    Raises:
        InputError: they do not.
    """
    supercell = crystal.cell.supercell((3, 3, 1))
    graph = crystal.hamiltonian.graph(supercell)
    (h, s), (dh, ds) = _changes(crystal.hamiltonian, supercell, graph, jnp.asarray(patterns()))
    filled = crystal.hamiltonian.basis.occupied(supercell.species)
    e, c = scipy.linalg.eigh(np.asarray(h), np.asarray(s), subset_by_index=[filled - 2, filled + 1])
    if not np.ptp(e) < 1e-3:
        raise InputError(
            f"crystal {crystal.name!r} with this Hamiltonian: its four states next to the Fermi level lie {np.ptp(e):.2g} eV "
            "apart at Gamma of a 3x3 cell; take one layer whose cones meet at K within 0.001 eV"
        )
    between = np.einsum("om,dop,pn->dmn", c.conj(), np.asarray(dh) - e.mean() * np.asarray(ds), c)
    found = (np.abs(between) ** 2).sum(axis=(1, 2)) / 8
    return float(found[:2].mean()), float(found[2])


def coupling() -> None:
    """One row a model."""
    print("| one layer | <D^2> at Gamma, (eV/angstrom)^2 | at K | over DFT's 45.6, 92 | s |\n|---|---|---|---|---|")
    rows = [("nearest", "first neighbours, 6.4 eV/angstrom"), *(("layer", model) for model in MODELS)]
    for name, model in rows:
        began = time.process_time()
        crystal = dirac_crystals.loaded(name) if name == "nearest" else dirac_crystals.loaded(name, model)
        gamma, corner = squares(crystal)
        took = time.process_time() - began
        print(
            f"| {model} | {gamma:.1f} | {corner:.1f} | {gamma / 45.6:.2f}, {corner / 92:.2f} | {took:.0f} |", flush=True
        )


@jax.jit
def _matrices(hamiltonian, supercell, graph, x, points):
    blocks, vectors = hamiltonian.blocks(supercell.with_positions(x), graph), graph.vectors(supercell)
    return jax.lax.map(lambda k: bloch_matrices(blocks, graph, vectors, k), cartesian(points, supercell.base))


def innermost(h: np.ndarray, s: np.ndarray | None, middle: float) -> float:
    """Half the gap between the two sorted states in the middle of the cones' eight, eV: shift and invert."""
    factors = scipy.linalg.lu_factor(h - middle * (np.eye(len(h)) if s is None else s))
    inverse = LinearOperator(h.shape, lambda v: scipy.linalg.lu_solve(factors, v), dtype=complex)
    e = np.sort(eigsh(h, LOW, s, sigma=middle, OPinv=inverse, return_eigenvectors=False))
    return float(e[LOW // 2] - e[LOW // 2 - 1]) / 2


def carlo(pairs: int) -> None:
    """Slopes of the innermost pair, window 0.05 to 0.15, of each pair of snapshots and both models."""
    base = dirac_crystals.loaded("bilayer")
    fc = dirac_crystals.learned_constants(base.cell, 6)
    supercell = fc.supercell
    noise = sampling.white_noise(jax.random.fold_in(jax.random.key(6), 0), 50, len(supercell), antithetic=True)
    chosen = np.concatenate([np.arange(pairs), 25 + np.arange(pairs)])
    slopes = {}
    for model in MODELS:
        crystal = dirac_crystals.loaded("bilayer", model)
        graph = crystal.hamiltonian.graph(supercell)
        own = dirac_states(crystal)
        e = np.asarray(electrons.eigenvalues(crystal.hamiltonian, crystal.cell, CORNER[None]))[0]
        middle = float(e[own].mean()) + 1e-3
        points, rest, began = jnp.asarray(crystal.points(AT)), None, time.process_time()
        for kelvin in (0.0, 300.0):
            moved = np.asarray(sampling.displacements(fc, kelvin, noise))[chosen]
            for u in (np.zeros((1, *moved.shape[1:])), moved) if rest is None else (moved,):
                found = []
                for x in supercell.positions[None] + jnp.asarray(u):
                    h, s = (
                        None if m is None else np.asarray(m)
                        for m in _matrices(crystal.hamiltonian, supercell, graph, x, points)
                    )
                    found.append([innermost(h[i], None if s is None else s[i], middle) for i in range(len(AT))])
                slope = np.polyfit(AT, np.array(found).T, 1)[0]
                if rest is None:
                    rest = slope[0]
                else:
                    slopes[model, kelvin] = slope.reshape(2, -1).mean(axis=0) / rest - 1
        took = (time.process_time() - began) / (4 * pairs + 1)
        print(f"{model}: {rest:.3f} eV angstrom at rest, {took:.1f} s a snapshot ({len(AT)} k points)", flush=True)
    for kelvin in (0.0, 300.0):
        a, b = (100 * slopes[model, kelvin] for model in MODELS)
        print(f"{kelvin:g} K, {pairs} pairs, sorted bands, 0.05 to 0.15 1/angstrom, %")
        print(f"  p_z {np.round(a, 1).tolist()}, 13 orbitals {np.round(b, 1).tolist()}")
        errors = [x.std(ddof=1) / len(x) ** 0.5 for x in (a, b)]
        print(
            f"  means {a.mean():+.1f} +- {errors[0]:.1f}, {b.mean():+.1f} +- {errors[1]:.1f}; ratio {b.mean() / a.mean():.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["coupling", "carlo"])
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    parts = {"coupling": coupling, "carlo": lambda: carlo(options.pairs)}
    for what in options.what:
        if what not in parts:
            raise InputError(f"no part {what!r}: known are {', '.join(parts)}")
    if not 2 <= options.pairs <= 25:
        raise InputError(f"--pairs {options.pairs}: from 2, which have a scatter, to 25, which are drawn")
    for what in options.what:
        parts[what]()


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
