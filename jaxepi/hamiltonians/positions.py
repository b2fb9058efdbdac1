"""Position matrix elements of atom-centred orbitals, from the tables of their overlap: they make velocities exact.

In reciprocal space the overlap of two orbitals is the product of their radial functions, u_a(q) u_b(q), and the position
operator a derivative by q. The tables give all products M = u u^T, and so, whatever the signs and zeros of u,

    u u'^T = (M M' - M tr M' / 2) / tr M,

and orbital b times the distance from its atom has the angular momenta l_b + 1 and l_b - 1, with radial functions
l_b u_b / q - u_b' and (l_b + 1) u_b / q + u_b'. With projectors (PAW) the sum over third atoms a of S adds P^T D P times the
place of a; what the projector functions themselves change of the dipole within a is in no table, and is left out.

Flows in: the tables of `Overlap`. Flows out: `dipoles` and `edge_dipoles` of `Blocks`, from the middle of two atoms.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from ase.units import Bohr
from jaxtyping import Array, Float

from jaxepi.datasets.overlap import DEGREE, entries, shell_functions, sphere
from jaxepi.datasets.overlap import harmonics as orthonormal_harmonics
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Table
from jaxepi.guards import poisoned, traced
from jaxepi.hamiltonians.overlap import Overlap, parities, scattered, spline
from jaxepi.nn import directions, harmonics
from jaxepi.structure import Structure

SINGLE = 1e-4
"""How far products of radial functions may be from those of one function a shell, relative to the largest."""

Term = tuple[int, int]
"""l of an orbital times the distance, and l of a function of the vector between the atoms."""


def apply(
    overlap: Overlap, params: Mapping[str, Array], structure: Structure, graph: Graph, table: Table
) -> tuple[Float[Array, "n 3 o o"], Float[Array, "e 3 o o"]]:
    """<i| r - (r_i + r_j)/2 |j> of every atom with itself and of every edge, angstrom; Hermitian.

    Args:
        params, table: as in `Overlap.apply`.
    """
    vectors = graph.vectors(structure)
    middle = 0.5 * overlap.two_centre(params, vectors)
    edges = ket_centred(overlap, params, vectors) + vectors[:, :, None, None] * middle[:, None]
    edges = 0.5 * (edges + jnp.swapaxes(edges[graph.reverse], 2, 3))
    own = at_rest(overlap, params).astype(edges.dtype)
    onsite = jnp.broadcast_to(own, (graph.n_atoms, *own.shape))
    if not overlap.projectors:
        return onsite, edges
    found, correction = overlap.projections(params, structure, table), params["correction"].astype(edges.dtype)
    there = table.vectors(structure.positions, structure.cell)
    there = jnp.concatenate([jnp.zeros_like(there[:, :1]), there], axis=1)
    back = found * jnp.asarray(parities(overlap), found.dtype)[None, None]
    onsite = onsite + jnp.einsum("nupo,pq,nuqr,nuc->ncor", back, correction, back, there)
    between = jax.vmap(lambda x: scattered(found, correction, graph, table, -0.5 * x), in_axes=2, out_axes=1)(there)
    return onsite, edges + between


def ket_centred(overlap: Overlap, params: Mapping[str, Array], vectors: Float[Array, "v 3"]) -> Float[Array, "v 3 o o"]:
    """<i| r - r_j |j> of orbitals without projectors, the second atom at `vectors` from the first, angstrom; not for zero
    length."""
    shells, dtype = overlap.shells, vectors.dtype
    length, unit = directions(vectors)
    r = length / Bohr
    f = spline(tables(overlap, params["orbital"]).astype(dtype), r, overlap.end)
    f = jnp.where((r < overlap.reach[0])[:, None], f, 0.0)
    top = 1 + 2 * max(DEGREE[s] for s in shells)
    near = jnp.where(r < overlap.reach[0], r, 0.0)
    solid = [y * (near**l)[:, None] for l, y in enumerate(harmonics(unit, top))]
    rows, place = [], 0
    for a in shells:
        row = []
        for b in shells:
            held = terms(a, b)
            features = [f[:, place + t, None] * solid[l] for t, (_, l) in enumerate(held)]
            weights = jnp.asarray(_coefficients(a, b), dtype)
            found = jnp.concatenate(features, axis=1) @ weights
            row.append(found.reshape(-1, 3, 2 * DEGREE[a] + 1, 2 * DEGREE[b] + 1))
            place += len(held)
        rows.append(jnp.concatenate(row, axis=3))
    return Bohr * jnp.concatenate(rows, axis=2)


def at_rest(overlap: Overlap, params: Mapping[str, Array]) -> Float[Array, "3 o o"]:
    """<i| r - r_i |i> of the orbitals of one atom, without projectors, angstrom."""
    shells, found = overlap.shells, tables(overlap, params["orbital"])[:, 0]
    rows, place = [], 0
    for a in shells:
        row = []
        for b in shells:
            held = terms(a, b)
            part, first = jnp.zeros((3, 2 * DEGREE[a] + 1, 2 * DEGREE[b] + 1), found.dtype), 0
            for t, (_, l) in enumerate(held):
                if l == 0:
                    part = part + found[place + t] * jnp.asarray(
                        _coefficients(a, b)[first].reshape(part.shape), part.dtype
                    )
                first += 2 * l + 1
            row.append(part)
            place += len(held)
        rows.append(jnp.concatenate(row, axis=2))
    return Bohr * jnp.concatenate(rows, axis=1)


def terms(a: str, b: str) -> tuple[Term, ...]:
    """The functions of distance between shell a and shell b times the distance, in their order in `tables`."""
    first, second = DEGREE[a], DEGREE[b]
    return tuple(
        (raised, l)
        for raised in (second - 1, second + 1)
        if raised >= 0
        for l in range(abs(first - raised), first + raised + 1, 2)
    )


def check(overlap: Overlap, orbital: Float[Array, "t g"], called: str) -> None:
    """Refuse tables of which no positions can be made, where their values are known.

    Args:
        called: the model, for the message.

    Raises:
        InputError: they are not of one function a shell; says how far they are from it.
    """
    if traced(orbital):
        return
    with jax.core.eval_context():
        off = float(_distance(overlap, jnp.asarray(orbital)))
    if not off < SINGLE:
        raise InputError(
            f"{called}: its tables of overlaps are not of one function a shell (off by {off:.1e} of the largest product, "
            f"{SINGLE:g} is allowed), so they say nothing of positions, and spectra need those; bands do not. Label again "
            "(jaxepi label) and train again, or take another copy of its file"
        )


@partial(jax.jit, static_argnames="overlap")
def _distance(overlap: Overlap, orbital: Float[Array, "t g"]) -> Float[Array, ""]:
    return _from_single(_products(overlap, orbital)[0])


def _from_single(m: Float[Array, "q s s"]) -> Float[Array, ""]:
    """How far products are from u u^T, relative to the largest; NaN where all vanish."""
    trace = jnp.trace(m, axis1=1, axis2=2)
    return jnp.abs(m @ m - trace[:, None, None] * m).max() / trace.max() ** 2


def tables(overlap: Overlap, orbital: Float[Array, "t g"]) -> Float[Array, "u g"]:
    """Functions of distance of the position, bohr^(1-l), on the grid of the overlap's, a pair of shells after the other; NaN
    where the tables are no overlaps of one function a shell (`check` refuses those, where their values are known)."""
    shells, count, dtype = overlap.shells, orbital.shape[1], orbital.dtype
    q = _waves(count, overlap.end)
    m, slope = _products(overlap, orbital)
    trace, by_q = jnp.trace(m, axis1=1, axis2=2), jnp.trace(slope, axis1=1, axis2=2)
    held = trace > 100 * jnp.finfo(dtype).eps * trace.max()
    k = (m @ slope - 0.5 * by_q[:, None, None] * m) / jnp.where(held, trace, 1.0)[:, None, None]
    k = jnp.where(held[:, None, None], k, 0.0)
    over = m / jnp.asarray(q, dtype)[:, None, None]
    out = []
    for i, a in enumerate(shells):
        for j, b in enumerate(shells):
            for raised, l in terms(a, b):
                lower = raised < DEGREE[b]
                of_q = (DEGREE[b] + 1) * over[:, i, j] + k[:, i, j] if lower else DEGREE[b] * over[:, i, j] - k[:, i, j]
                sign = 8.0 * (-1) ** ((DEGREE[a] - raised - l) // 2)
                out.append(sign * (jnp.asarray(_to_distance(l, count, overlap.end), dtype) @ of_q))
    return poisoned(jnp.stack(out), _from_single(m) < SINGLE)


def _products(overlap: Overlap, orbital: Float[Array, "t g"]) -> tuple[Float[Array, "q s s"], Float[Array, "q s s"]]:
    """u_a u_b of all shells and its derivative by q, from the lowest l of each pair."""
    shells, count = overlap.shells, orbital.shape[1]
    lowest: dict[tuple[int, int], tuple[int, int]] = {}
    for t, (i, j, l) in enumerate(entries(shells, shells, True)):
        lowest.setdefault((i, j), (t, l))
    grid: list[list[tuple[Array, Array]]] = [[] for _ in shells]
    for i in range(len(shells)):
        for j in range(len(shells)):
            t, l = lowest[min(i, j), max(i, j)]
            a, b = (DEGREE[shells[n]] for n in (min(i, j), max(i, j)))
            sign = (-1) ** ((a - b - l) // 2) / (4 * np.pi)
            there = _to_waves(l, count, overlap.end)
            value, slope = (sign * (jnp.asarray(x, orbital.dtype) @ orbital[t]) for x in there)
            grid[i].append((value, slope))
    both = jnp.stack([jnp.stack([jnp.stack(x) for x in row]) for row in grid])
    return jnp.moveaxis(both[:, :, 0], 2, 0), jnp.moveaxis(both[:, :, 1], 2, 0)


def _waves(count: int, end: float) -> Float[np.ndarray, " q"]:
    """Wave numbers, 1/bohr: so dense that nothing within the reach is folded, up to half of what the grid can hold."""
    return (np.arange(count - 1) + 0.5) * (np.pi / (2 * end))


@lru_cache(maxsize=32)
def _to_waves(l: int, count: int, end: float) -> tuple[Float[np.ndarray, "q g"], Float[np.ndarray, "q g"]]:
    """What a table of f_l gives int f r^l j_l(qr) r^2 dr with, and its derivative by q: sums over equal steps."""
    from scipy.special import spherical_jn

    r = np.linspace(0.0, end, count)
    weight, x = r[1] * r ** (l + 2), _waves(count, end)[:, None] * r
    return spherical_jn(l, x) * weight, spherical_jn(l, x, derivative=True) * (weight * r)


@lru_cache(maxsize=32)
def _to_distance(l: int, count: int, end: float) -> Float[np.ndarray, "g q"]:
    """What a function of q gives r^-l int f j_l(qr) q^2 dq with."""
    from scipy.special import spherical_jn

    q = _waves(count, end)
    x = np.linspace(0.0, end, count)[:, None] * q
    small = (1 - x**2 / (2 * (2 * l + 3)) + x**4 / (8 * (2 * l + 3) * (2 * l + 5))) / prod(range(2 * l + 1, 0, -2))
    away = np.maximum(x, 0.02)
    return np.where(x < 0.02, small, spherical_jn(l, away) / away**l) * (q ** (l + 2) * (np.pi / (2 * end)))


@lru_cache(maxsize=64)
def _coefficients(a: str, b: str) -> Float[np.ndarray, "m cab"]:
    """What the harmonics of `nn.harmonics` of all terms of two shells, one after the other, are multiplied with."""
    weights, unit = sphere()
    one, two, along = (
        shell_functions(unit, a),
        shell_functions(unit, b),
        (4 * np.pi / 3) ** 0.5 * shell_functions(unit, "p"),
    )
    with jax.ensure_compile_time_eval():
        found = [np.asarray(y, np.float64) for y in harmonics(jnp.asarray(unit), 1 + DEGREE[a] + DEGREE[b])]
    rows = []
    for raised, l in terms(a, b):
        y = orthonormal_harmonics(unit, raised)
        moved = np.einsum("v,vc,vb,vr->cbr", weights, along, two, y)
        between = np.einsum("v,vm,va,vr->mar", weights, found[l], one, y) / (4 * np.pi)
        rows.append(np.einsum("mar,cbr->mcab", between, moved).reshape(2 * l + 1, -1))
    return np.concatenate(rows)
