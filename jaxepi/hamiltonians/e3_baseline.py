"""What least squares say of a Hamiltonian before any network: two centres, sums over neighbours and pairs of them.

With r and n the length and direction of an edge, f, g, h cubic splines, Y harmonics, C couplings of shells a and b,

    H_ij  = sum_L f_abL(r) C Y_L(n) + 2 Herm sum_k [R(r_ij) Y_l(n_ij) x h(r_ik) Y_l'(n_ik)]_L C,
    H_ii  = e_ab + sum_j g_abL(r_ij) C Y_L(n_ij) + sum_jk [h(r_ij) Y_l(n_ij) x h'(r_ik) Y_l'(n_ik)]_L C.

The first sum of H_ij is that of two centres; the second lets every neighbour k of either end act on the edge, linearly; the
last of H_ii is of pairs of neighbours. Splines end at the reach of the basis with two continuous derivatives. Layers have
functions of their own within and between them. All of it is linear in its parameters and turns with the crystal. Flows in:
vectors and tables. Flows out: blocks, eV; for the fit: the features.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.graph import FAR
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.nn import CHUNK, Irrep, bessel, coupling, directions, harmonics, natural, polynomial_cutoff


def splines(r: Float[Array, "*e"], first: float, last: float, count: int) -> Float[Array, "*e count"]:
    """Cubic B-splines on equal steps from `first`, the last of which ends at `last`, where all vanish (twice smooth)."""
    step = (last - first) / count
    centres = first + step * (jnp.arange(count, dtype=r.dtype) - 1)
    u = jnp.abs((r[..., None] - centres.reshape(*(1,) * r.ndim, count)) / step)
    near, far = 2 / 3 - u**2 + u**3 / 2, jnp.maximum(2 - u, 0.0) ** 3 / 6
    return jnp.where(u < 1, near, far)


def radial(r: Float[Array, "*e"], cutoff: float, count: int) -> Float[Array, "*e count"]:
    """Bessel functions that fade at the cutoff."""
    return bessel(r, cutoff, count) * polynomial_cutoff(r, cutoff)[..., None]


class Edges(NamedTuple):
    """Edges between atoms, sorted by sender.

    Attributes:
        vectors: angstrom. kind: one where an edge is of a kind, else zero. reverse: place of the reverse of each.
        rows: edges that leave each atom, padded as `Graph.neighbours`.
    """

    vectors: Float[Array, "e 3"]
    kind: Float[Array, "e k"]
    senders: Int[Array, "e"]
    reverse: Int[Array, "e"]
    rows: Int[Array, "n most"]

    def of(self, rows: Int[Array, "a most"]) -> tuple[Float[Array, "a most 3"], Float[Array, "a most k"]]:
        """Vectors and kinds of edges; slots that pad are `FAR` away and of no kind."""
        return (
            jnp.asarray(self.vectors).at[rows].get(mode="fill", fill_value=FAR),
            jnp.asarray(self.kind).at[rows].get(mode="fill", fill_value=0),
        )


def atoms_at_a_time(tables: Sequence[Array]) -> int:
    """Atoms whose edges are made at a time: some `CHUNK` edges of the kind that has most.

    Args:
        tables: anything with a row an atom and a column a slot, one a kind.
    """
    return max(1, CHUNK // max(table.shape[1] for table in tables))


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Sizes of the linear terms.

    Attributes:
        shells: of the block. reach: of two centres and on-site sums, angstrom. near: of the sums over neighbours that act on
            edges, and of these edges, angstrom. kinds: relations.
        splines, onsite_splines: functions of distance of each pair of shells; of the sum of an atom.
        edge_functions, neighbour_functions: radial functions R and h; none for 0.
        edge_lmax, neighbour_lmax: highest l and l'.
        pair_functions: radial functions h' of pairs of neighbours, whose l end at `neighbour_lmax`; none for 0.
    """

    shells: Shells
    reach: float
    near: float
    kinds: int
    splines: int = 26
    onsite_splines: int = 16
    edge_functions: int = 5
    neighbour_functions: int = 4
    edge_lmax: int = 4
    neighbour_lmax: int = 3
    pair_functions: int = 4

    FIRST = 1.0

    @property
    def around(self) -> bool:
        """Whether neighbours act on edges."""
        return self.edge_functions > 0 and self.neighbour_functions > 0

    def paths(self, irrep: Irrep) -> list[tuple[int, int]]:
        """Pairs (l of the edge, l' of the neighbours) that couple to an irrep."""
        return [
            (a, b)
            for a in range(self.edge_lmax + 1)
            for b in range(self.neighbour_lmax + 1)
            if irrep in natural(a) * natural(b)
        ]

    def pairs(self, irrep: Irrep) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
        """Products of two sums over neighbours that couple to an irrep: l, l' and the functions of both, each pair once."""
        count, out = self.kinds * self.pair_functions, []
        for a in range(self.neighbour_lmax + 1):
            for b in range(a, self.neighbour_lmax + 1):
                if irrep in natural(a) * natural(b):
                    # Equal factors couple symmetrically or not at all.
                    apart = np.indices((count, count)).reshape(2, -1)
                    same = np.stack(np.triu_indices(count, irrep.l % 2))
                    out.append((a, b, *(same if a == b else apart)))
        return out

    def pair_width(self, irrep: Irrep) -> int:
        """Features of an irrep that pairs of neighbours give an atom."""
        return sum(len(first) for _, _, first, _ in self.pairs(irrep))

    def width(self, irrep: Irrep) -> int:
        """Features of an irrep that neighbours give an edge."""
        return len(self.paths(irrep)) * self.kinds * self.neighbour_functions * self.edge_functions

    def numbers_of_an_atom(self, slots: int) -> int:
        """Numbers that `directed` holds at a time for each atom with so many edges: its matrix while columns are put in order,
        and what is multiplied with it."""
        functions = (self.edge_lmax + 1) ** 2 * self.edge_functions
        tensors = sum(irrep.dim * len(pairs) for irrep, pairs in self.shells.columns.items())
        return 3 * functions * tensors + slots * (functions + tensors)

    def shapes(self) -> dict[str, Any]:
        """Shapes of the parameters: for every irrep, functions (and kinds) times pairs of shells."""
        columns = self.shells.columns
        out: dict[str, Any] = {
            "hopping": {str(i): (self.kinds, self.splines, len(columns[i])) for i in self.shells.natural},
            "onsite": {str(i): (self.kinds * self.onsite_splines, len(columns[i])) for i in self.shells.natural},
            "levels": (len(columns[natural(0)]),),
        }
        if self.around:
            out["around"] = {str(i): (self.kinds, self.width(i), len(c)) for i, c in columns.items() if self.paths(i)}
        if self.pair_functions:
            out["pairs"] = {str(i): (self.pair_width(i), len(c)) for i, c in columns.items() if self.pairs(i)}
        return out

    # Features: what the fit and the model share

    def onsite_features(self, vectors: Float[Array, "n m 3"], kind: Float[Array, "n m k"]) -> dict[Irrep, Array]:
        """Sums over the neighbours of each atom, one a kind, spline and irrep of natural parity.

        Args:
            kind: one where a neighbour is of a kind, else zero.
        """
        length, unit = directions(vectors)
        basis = splines(length, self.FIRST, self.reach, self.onsite_splines)
        each = (kind[..., :, None] * basis[..., None, :]).reshape(*length.shape, -1)
        angles = harmonics(unit, max(i.l for i in self.shells.natural))
        return {irrep: jnp.einsum("nma,nmf->naf", angles[irrep.l], each) for irrep in self.shells.natural}

    def moments(self, tables: tuple[Float[Array, "n _ 3"], ...], count: int) -> list[Array]:
        """sum_k h(r_ik) Y_l'(n_ik) of every atom for l' = 0, 1, ..., `count` functions h of all kinds beside each other."""
        out: list[list[Array]] = [[] for _ in range(self.neighbour_lmax + 1)]
        for vectors in tables:
            length, unit = directions(vectors)
            basis = radial(length, self.near, count)
            for l, y in enumerate(harmonics(unit, self.neighbour_lmax)):
                out[l].append(jnp.einsum("nka,nkf->naf", y, basis))
        return [jnp.concatenate(parts, axis=2) for parts in out]

    def pair_features(self, irrep: Irrep, moments: list[Array]) -> Float[Array, "n m f"]:
        """Products of two moments of each atom, coupled to an irrep."""
        parts = []
        for a, b, first, second in self.pairs(irrep):
            couple = jnp.asarray(coupling(a, b, irrep.l), moments[a].dtype)
            turned = jnp.einsum("abm,nac->nmbc", couple, moments[a])
            parts.append(jnp.sum(turned[..., first] * moments[b][:, None][..., second], axis=2))
        return jnp.concatenate(parts, axis=2)

    def edge_features(
        self, irrep: Irrep, vectors: Float[Array, "e 3"], moments: list[Array], senders: Int[Array, "e"]
    ) -> Float[Array, "e m f"]:
        """[R(r) Y_l(n) x moments of the sender]_irrep, over all paths and radial functions."""
        length, unit = directions(vectors)
        basis, angles = radial(length, self.near, self.edge_functions), harmonics(unit, self.edge_lmax)
        parts = []
        for a, b in self.paths(irrep):
            turned = jnp.einsum("abm,ea->emb", jnp.asarray(coupling(a, b, irrep.l), unit.dtype), angles[a])
            seen = jnp.einsum("emb,ebf->emf", turned, moments[b][senders])
            parts.append((seen[..., None] * basis[:, None, None, :]).reshape(len(vectors), irrep.dim, -1))
        return jnp.concatenate(parts, axis=2)

    # The model

    def two_centre(
        self, params: Mapping[str, Any], vectors: Float[Array, "e 3"], kind: Float[Array, "e k"]
    ) -> Float[Array, "e o o"]:
        """Blocks of edges from their vectors alone."""
        length, unit = directions(vectors)
        basis = splines(length, self.FIRST, self.reach, self.splines)
        angles = harmonics(unit, max(i.l for i in self.shells.natural))
        tensors = {}
        for irrep in self.shells.natural:
            weights = params["hopping"][str(irrep)].astype(basis.dtype)
            value = jnp.einsum("eb,kbp,ek->ep", basis, weights, kind)
            tensors[irrep] = angles[irrep.l][:, :, None] * value[:, None, :]
        return self.shells.blocks(tensors)

    def onsite(
        self, params: Mapping[str, Any], vectors: Float[Array, "n m 3"], kind: Float[Array, "n m k"]
    ) -> Float[Array, "n o o"]:
        """Blocks of atoms, linear in their neighbours."""
        found = self.onsite_features(vectors, kind)
        tensors = {i: x @ params["onsite"][str(i)].astype(x.dtype) for i, x in found.items()}
        levels = params["levels"].astype(vectors.dtype)
        tensors[natural(0)] = tensors[natural(0)] + levels[None, None]
        return self.shells.blocks(tensors)

    def by_pairs(self, params: Mapping[str, Any], tables: tuple[Float[Array, "n _ 3"], ...]) -> Float[Array, "n o o"]:
        """What pairs of neighbours add to the blocks of atoms."""
        moments = self.moments(tables, self.pair_functions)
        tensors = {}
        for irrep in self.shells.columns:
            if self.pairs(irrep):
                weights = params["pairs"][str(irrep)].astype(moments[0].dtype)
                tensors[irrep] = self.pair_features(irrep, moments) @ weights
        return self.shells.blocks(tensors)

    def directed(
        self, params: Mapping[str, Any], kind: int, vectors: Float[Array, "n m 3"], moments: list[Array]
    ) -> dict[Irrep, Float[Array, "n m c p"]]:
        """What the neighbours of the sender do to its edges of one kind; the Hermitian sum with the reverse adds those of the
        receiver.

        `edge_features` times weights, summed in another order: moments and weights make one matrix an atom, which turns
        functions R(r) Y_l(n) of any of its edges into tensors.
        """
        length, unit = directions(vectors)
        basis = radial(length, self.near, self.edge_functions)
        functions = [y[..., None] * basis[..., None, :] for y in harmonics(unit, self.edge_lmax)]
        held = {irrep: len(self.shells.columns[irrep]) for irrep in self.shells.columns if self.paths(irrep)}
        columns = []
        for irrep, count in held.items():
            weights = params["around"][str(irrep)][kind].astype(vectors.dtype)
            shape = (len(self.paths(irrep)), -1, self.edge_functions * count)
            by_path = dict(zip(self.paths(irrep), weights.reshape(shape), strict=True))
            rows = [self._matrix(irrep, by_path, a, moments) for a in range(self.edge_lmax + 1)]
            columns.append(jnp.concatenate(rows, axis=1))
        each = jnp.concatenate(functions, axis=2).reshape(*length.shape, -1)
        found = each @ jnp.concatenate(columns, axis=2)
        ends = np.cumsum([irrep.dim * count for irrep, count in held.items()])[:-1]
        parts = zip(held.items(), jnp.split(found, ends, axis=2), strict=True)
        return {irrep: x.reshape(*length.shape, irrep.dim, count) for (irrep, count), x in parts}

    def _matrix(
        self, irrep: Irrep, weights: Mapping[tuple[int, int], Float[Array, "f rp"]], a: int, moments: list[Array]
    ) -> Float[Array, "n x y"]:
        """What functions of edges of angular momentum a are multiplied with, all R of one component after the other.

        Args:
            weights: of each path to the irrep, of the radial functions of moments (f), of edges and pairs of shells (rp).
        """
        paths = [b for first, b in self.paths(irrep) if first == a]
        if not paths:
            pairs = len(self.shells.columns[irrep])
            return jnp.zeros((len(moments[0]), (2 * a + 1) * self.edge_functions, irrep.dim * pairs), moments[0].dtype)
        couples, weighted = [], []
        for b in paths:
            couples.append(coupling(a, b, irrep.l).transpose(0, 2, 1))
            weighted.append(jnp.einsum("nbf,fr->bnr", moments[b], weights[a, b]))
        couple = jnp.asarray(np.concatenate(couples, axis=2), moments[0].dtype)
        turned = jnp.einsum("amb,bnr->amnr", couple, jnp.concatenate(weighted))
        turned = turned.reshape(*turned.shape[:3], self.edge_functions, -1)
        width = (2 * a + 1) * self.edge_functions, irrep.dim * turned.shape[4]
        return jnp.einsum("amnrp->narmp", turned).reshape(-1, *width)


def zeros(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of some shapes, zero."""
    return {n: zeros(s) if isinstance(s, Mapping) else np.zeros(s) for n, s in shapes.items()}
