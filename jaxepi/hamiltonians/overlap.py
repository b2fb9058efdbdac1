"""S(R) of atom-centred orbitals in JAX, from the same tables as on the host (`jaxepi.datasets.overlap`): differentiable.

    S_ij = T(r_j - r_i) + sum over atoms a of P(r_i - r_a)^T D P(r_j - r_a)

T of two orbitals and P of a projector with an orbital are cubic splines times solid harmonics, and D is constant (zero without
projectors). The sum over a makes three centres of a pair, and gives every atom an on-site overlap that its neighbours change.
S is never learned: a model's file carries the tables, and the parameters stay as they are. Flows in: structure and graph.
Flows out: the overlaps of `Blocks`.
"""

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.units import Bohr
from jaxtyping import Array, Float, Int

from jaxepi import schema
from jaxepi.datasets.overlap import DEGREE, OverlapFunctions, entries, shell_functions, sphere
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, Table
from jaxepi.nn import directions, harmonics, in_chunks
from jaxepi.structure import Structure

CHUNK = 8192
"""Blocks of three centres that are made at a time: so few that a processor keeps them in its cache."""

_LETTERS = schema.List(schema.Text(), least=0, most=32)
FORM = schema.Table(
    {
        "shells": _LETTERS,
        "projectors": _LETTERS,
        "end": schema.Number(0.1, 1000.0),
        "reach": schema.List(schema.Number(0.0, 1000.0), least=2, most=2),
        "threshold": schema.Number(0.0, 1.0),
    }
)
"""What a file of a model says of its overlap, beside the tables."""


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What of the tables is static; `OverlapFunctions` says what each is. The tables themselves are parameters: `orbital`,
    `projector` and `correction`."""

    shells: tuple[str, ...]
    projectors: tuple[str, ...]
    end: float
    reach: tuple[float, float]
    threshold: float

    @classmethod
    def of(cls, functions: OverlapFunctions) -> tuple["Overlap", dict[str, Array]]:
        """The overlap of a basis and its parameters, from the tables of a set of labels."""
        form = cls(functions.shells, functions.projectors, functions.end, functions.reach, functions.threshold)
        return form, {name: jnp.asarray(getattr(functions, name)) for name in ("orbital", "projector", "correction")}

    def to_config(self) -> dict[str, Any]:
        """What `from_config` reads, for the header of a model's file."""
        listed = {name: list(getattr(self, name)) for name in ("shells", "projectors", "reach")}
        return {**listed, "end": self.end, "threshold": self.threshold}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], params: Mapping[str, Any], where: str) -> "Overlap":
        """The overlap of a file.

        Raises:
            InputError: a header of another form, a shell that is not s, p or d, or tables of other shapes.
        """
        FORM.check(config, where, "overlap")
        shells, projectors = tuple(config["shells"]), tuple(config["projectors"])
        unknown = [name for name in (*shells, *projectors) if name not in DEGREE]
        if unknown or not shells:
            raise InputError(f"{where}: overlap: shell {unknown[:1] or 'none'}; known are {', '.join(DEGREE)}")
        first, last = map(float, config["reach"])
        found = cls(shells, projectors, float(config["end"]), (first, last), float(config["threshold"]))
        width = found._width(projectors)
        rows = {"orbital": len(entries(shells, shells, True)), "projector": len(entries(projectors, shells, False))}
        for name, count in rows.items():
            shape = np.shape(params.get(name, ()))
            if len(shape) != 2 or shape[0] != count or shape[1] < 2:
                raise InputError(
                    f"{where}: overlap/{name} has shape {shape}; {count} functions of these shells are needed"
                )
        if np.shape(params.get("correction", ())) != (width, width):
            raise InputError(
                f"{where}: overlap/correction has shape {np.shape(params.get('correction', ()))}, not {(width, width)}"
            )
        return found

    @staticmethod
    def _width(shells: tuple[str, ...]) -> int:
        return sum(2 * DEGREE[s] + 1 for s in shells)

    @property
    def width(self) -> int:
        """Orbitals of an atom."""
        return self._width(self.shells)

    @property
    def cutoff(self) -> float:
        """Angstrom, beyond which T is zero; sums over third atoms reach up to twice the relation's, and end at the graph's."""
        return self.reach[0] * Bohr

    @property
    def relation(self) -> Relation:
        """The table of neighbours that projectors need."""
        return Relation(self.reach[1] * Bohr)

    def apply(
        self, params: Mapping[str, Array], structure: Structure, graph: Graph, table: Table
    ) -> tuple[Float[Array, "n o o"], Float[Array, "e o o"]]:
        """S of every atom with itself and of every edge.

        Args:
            params: the tables. table: of the graph, of `relation`.
        """
        edges = in_chunks(lambda v: self.two_centre(params, v), graph.vectors(structure))
        dtype = edges.dtype
        onsite = jnp.broadcast_to(
            self._at_rest(params["orbital"].astype(dtype), True), (graph.n_atoms, *edges.shape[1:])
        )
        if not self.projectors:
            return onsite, edges
        found, correction = self.projections(params, structure, table), params["correction"].astype(dtype)
        own = self._own(found, correction[None])[0]
        return onsite + own, scattered(found, correction, graph, table, start=0.5 * edges)

    def two_centre(self, params: Mapping[str, Array], vectors: Float[Array, "v 3"]) -> Float[Array, "v o o"]:
        """T of orbitals whose second atom is at `vectors` (angstrom) from the first; not for zero length."""
        return self._between(params["orbital"], vectors, self.shells, self.reach[0], True)

    def projections(self, params: Mapping[str, Array], structure: Structure, table: Table) -> Float[Array, "n m1 p o"]:
        """P of every atom's projectors with its own orbitals (first) and with those of the neighbours in a table."""
        vectors = table.vectors(structure.positions, structure.cell)
        n, m = vectors.shape[:2]

        def made(v: Array) -> Array:
            return self._between(params["projector"], v, self.projectors, self.reach[1], False)

        found = in_chunks(made, vectors.reshape(-1, 3))
        own = self._at_rest(params["projector"].astype(found.dtype), False)
        found = found.reshape(n, m, *found.shape[1:])
        return jnp.concatenate([jnp.broadcast_to(own, (n, 1, *own.shape)), found], axis=1)

    def three_centre(
        self,
        params: Mapping[str, Array],
        corrections: Float[Array, "c p p"],
        structure: Structure,
        graph: Graph,
        table: Table,
    ) -> tuple[Float[Array, "c n o o"], Float[Array, "c e o o"]]:
        """Sum over atoms a of P_ia^T D P_ja for each D of `corrections` (symmetric): of atoms with themselves, and of edges.

        What it adds to pairs beyond the graph is left out.
        """
        found = self.projections(params, structure, table)
        return self._own(found, corrections), jax.vmap(lambda d: scattered(found, d, graph, table))(corrections)

    def _own(self, found: Float[Array, "n m1 p o"], corrections: Float[Array, "c p p"]) -> Float[Array, "c n o o"]:
        """Sums of atoms with themselves, from `projections`."""
        # Of the neighbours' projectors with the atom's orbitals:
        back = found * jnp.asarray(parities(self), found.dtype)[None, None]
        return jnp.einsum("nupo,cpq,nuqr->cnor", back, corrections, back)

    def _at_rest(self, tables: Float[Array, "t g"], symmetric: bool) -> Float[Array, "r c"]:
        """T or P of one atom: what is left at distance zero, without derivative."""
        rows = self.shells if symmetric else self.projectors
        place, weights = _on_one_atom(rows, self.shells, symmetric)
        values = jnp.where(jnp.abs(tables[:, 0]) > self.threshold, tables[:, 0], 0.0)
        return jnp.einsum("t,tab->ab", values[place], jnp.asarray(weights, tables.dtype))

    def _between(self, tables, vectors, rows, reach, symmetric) -> Array:
        dtype = vectors.dtype
        length, unit = directions(vectors)
        r = length / Bohr
        f = spline(tables.astype(dtype), r, self.end)
        f = jnp.where((r < reach)[:, None] & (jnp.abs(f) > self.threshold), f, 0.0)
        top = max(DEGREE[s] for s in rows) + max(DEGREE[s] for s in self.shells)
        near = jnp.where(r < reach, r, 0.0)
        solid = [y * (near**l)[:, None] for l, y in enumerate(harmonics(unit, top))]
        parts: list[list[Array]] = []
        for i, a in enumerate(rows):
            parts.append([])
            for j, b in enumerate(self.shells):
                terms = _terms(rows, self.shells, symmetric, i, j)
                features = jnp.concatenate([f[:, t, None] * solid[l] for t, l in terms], axis=1)
                flipped = symmetric and i > j
                weights = jnp.asarray(_coefficients(a, b, flipped), dtype)
                parts[-1].append((features @ weights).reshape(-1, 2 * DEGREE[a] + 1, 2 * DEGREE[b] + 1))
        return jnp.concatenate([jnp.concatenate(row, axis=2) for row in parts], axis=1)


def parities(overlap: Overlap) -> Float[np.ndarray, "p o"]:
    """Sign of a projector with an orbital when the vector between them turns round."""
    rows, columns = (
        np.repeat([(-1) ** DEGREE[s] for s in shells], [2 * DEGREE[s] + 1 for s in shells])
        for shells in (overlap.projectors, overlap.shells)
    )
    return (rows[:, None] * columns).astype(float)


def _terms(rows, columns, symmetric, i, j) -> list[tuple[int, int]]:
    """Place in the table and l of the functions between two shells, which may be kept in the other order."""
    key = (min(i, j), max(i, j)) if symmetric else (i, j)
    return [(t, l) for t, (a, b, l) in enumerate(entries(rows, columns, symmetric)) if (a, b) == key]


@lru_cache(maxsize=64)
def _coefficients(a: str, b: str, flipped: bool) -> Float[np.ndarray, "m ab"]:
    """Integrals of three harmonics, those of `nn.harmonics` in rows (l after l) and of two shells in columns; `flipped` where
    the function is that of the other atom's shell with this one's, seen from there: (-1)^l."""
    top = DEGREE[a] + DEGREE[b]
    weights, unit = sphere()
    with jax.ensure_compile_time_eval():
        found = [np.asarray(y, np.float64) for y in harmonics(jnp.asarray(unit), top)]
    one, two = shell_functions(unit, a), shell_functions(unit, b)
    rows = []
    for l in range(abs(DEGREE[a] - DEGREE[b]), top + 1, 2):
        rows.append(np.einsum("v,vm,va,vb->mab", weights, found[l], one, two) / (4 * np.pi))
        rows[-1] *= (-1.0) ** l if flipped else 1.0
    whole = np.concatenate(rows)
    return whole.reshape(len(whole), -1)


@lru_cache(maxsize=8)
def _on_one_atom(rows, columns, symmetric) -> tuple[np.ndarray, Float[np.ndarray, "t a b"]]:
    """Functions of l = 0 by place in the table, and what each multiplies at distance zero: 1/(4 pi) of equal harmonics."""
    starts = [np.concatenate([[0], np.cumsum([2 * DEGREE[s] + 1 for s in shells])]) for shells in (rows, columns)]
    places, out = [], []
    for t, (i, j, l) in enumerate(entries(rows, columns, symmetric)):
        if l:
            continue
        block = np.zeros((starts[0][-1], starts[1][-1]))
        a, b = slice(*starts[0][i : i + 2]), slice(*starts[1][j : j + 2])
        block[a, b] = np.eye(2 * DEGREE[rows[i]] + 1) / (4 * np.pi)
        if symmetric and i != j:
            block[b, a] = block[a, b].T
        places.append(t)
        out.append(block)
    shape = (len(out), starts[0][-1], starts[1][-1])
    return np.array(places, dtype=int), np.array(out).reshape(shape)


@lru_cache(maxsize=8)
def _slopes(count: int) -> Float[np.ndarray, "g g"]:
    """Slopes of the cubic spline with zero slope at both ends, in steps of its grid: what its values are multiplied with."""
    from scipy.interpolate import CubicSpline

    grid = np.arange(count, dtype=float)
    return CubicSpline(grid, np.eye(count), bc_type="clamped")(grid, 1).T


def spline(values: Float[Array, "t g"], r: Float[Array, " v"], end: float) -> Float[Array, "v t"]:
    """Cubic splines through values at equal steps from 0 to `end`; the last value beyond."""
    count = values.shape[1]
    both = jnp.stack([values, values @ jnp.asarray(_slopes(count), values.dtype)]).transpose(2, 0, 1)
    x = jnp.minimum(r, end) * ((count - 1) / end)
    at = jnp.clip(jnp.floor(x), 0, count - 2).astype(jnp.int32)
    t = (x - at.astype(x.dtype))[:, None]
    (left, slope), (right, next_slope) = (both[at + i].transpose(1, 0, 2) for i in (0, 1))
    bend, twist = 3 * (right - left) - 2 * slope - next_slope, 2 * (left - right) + slope + next_slope
    return left + t * (slope + t * (bend + t * twist))


def scattered(
    found: Float[Array, "n m1 p o"],
    d: Float[Array, "p p"],
    graph: Graph,
    table: Table,
    levers: Float[Array, "n m1"] | None = None,
    start: Float[Array, "e o o"] | None = None,
) -> Float[Array, "e o o"]:
    """Sum over atoms of P^T D P between all pairs of their neighbours, gathered on the edges of a graph.

    Args:
        start: what every edge begins with: the sum holds it and the transpose of the reverse edge's.
        levers: a number of every atom and neighbour: each P^T D P is multiplied with the sum of its two neighbours'.
    """
    n, slots, _, width = found.shape
    first, second = np.triu_indices(slots, 1)
    step = max(1, min(n, CHUNK // max(len(first), 1)))
    missing = -n % step
    itself = jnp.arange(n, dtype=table.receivers.dtype)[:, None]
    near = jnp.concatenate([itself, table.receivers], axis=1)
    shift = jnp.concatenate([jnp.zeros((n, 1, 3), table.shifts.dtype), table.shifts], axis=1)
    there = jnp.concatenate([jnp.ones((n, 1), bool), table.mask], axis=1)

    def chunks(x: Array) -> Array:
        return jnp.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1))).reshape(-1, step, *x.shape[1:])

    def add(total: Array, part: tuple[Array, ...]) -> tuple[Array, None]:
        p, near, shift, there, *lever = part
        edge = _edge(graph, near[:, first], near[:, second], shift[:, second] - shift[:, first])
        edge = jnp.where(there[:, first] & there[:, second], edge, graph.n_edges)
        # One product an atom of all its neighbours, of which one triangle is kept, costs less than one product a pair.
        every = jnp.einsum("nvpo,npwr->novwr", p, jnp.einsum("pq,nwqr->npwr", d, p))
        between = jnp.moveaxis(every[:, :, first, second], 1, 2)
        for x in lever:
            between = between * (x[:, first] + x[:, second])[:, :, None, None]
        return total.at[edge.ravel()].add(between.reshape(-1, width, width), mode="drop"), None

    total = jnp.zeros((graph.n_edges, width, width), found.dtype) if start is None else start
    parts = (found, near, shift, there) if levers is None else (found, near, shift, there, levers)
    total, _ = jax.lax.scan(add, total, tuple(map(chunks, parts)))
    return total + jnp.swapaxes(total[graph.reverse], 1, 2)


def _edge(
    graph: Graph, senders: Int[Array, "*p"], receivers: Int[Array, "*p"], shifts: Int[Array, "*p 3"]
) -> Int[Array, "*p"]:
    """Place of edges in a graph's list, which is sorted; its length where it does not hold them."""
    first, count = graph.neighbours[:, 0], jnp.sum(graph.neighbours < graph.n_edges, axis=1, dtype=senders.dtype)
    wanted, held = _packed(shifts), _packed(graph.shifts)
    start, last = first[senders], graph.n_edges - 1

    def smaller(place: Array) -> Array:
        at = jnp.minimum(start + place, last)
        near = graph.receivers[at]
        return (near < receivers) | ((near == receivers) & (held[at] < wanted))

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        below = smaller(middle) & (low < high)
        return jnp.where(below, middle + 1, low), jnp.where(below, high, middle)

    bounds = (jnp.zeros_like(senders), count[senders])
    low, _ = jax.lax.fori_loop(0, int(graph.neighbours.shape[1]).bit_length(), halve, bounds)
    at = jnp.minimum(start + low, last)
    found = (low < count[senders]) & (graph.receivers[at] == receivers) & (held[at] == wanted)
    return jnp.where(found, at, graph.n_edges)


def _packed(shifts: Int[Array, "*p 3"]) -> Int[Array, "*p"]:
    """Shifts of up to 500 cells as one whole number, in the same order; others (padding) as the largest."""
    moved = jnp.clip(shifts, -512, 511) + 512
    return (moved[..., 0] * 1024 + moved[..., 1]) * 1024 + moved[..., 2]
