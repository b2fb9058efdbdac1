"""S(R) of a basis as its functions of distance: small in a file, rebuilt from the positions.

Flows in: tables of a code with atom-centred orbitals and projectors (PAW). Flows out: the blocks of S for given pairs.

With projectors (PAW), S of atoms i and j is T(r_j - r_i) + sum over atoms a of P(r_i - r_a)^T D P(r_j - r_a): T is the
overlap of two orbitals, P that of a projector with an orbital, D a constant matrix. T and P depend on one vector each,

    <a m|b n>(r) = sum over l of f_abl(|r|) |r|^l sum over k of G(am, bn, lk) Y_lk(r / |r|),

with G the integral of three real spherical harmonics. f is a cubic spline through equidistant values with zero slope at
both ends, and below a threshold it counts as zero, as in the code. Tables are in atomic units (bohr). Orbitals and
projectors are in e3nn's order (`jaxepi.hamiltonians.basis`).
"""

import functools
import hashlib

import numpy as np
from ase.units import Bohr
from jaxtyping import Float, Int

from jaxepi.tree import pytree, static

DEGREE = {"s": 0, "p": 1, "d": 2}


@pytree
class OverlapFunctions:
    """Tables of one element's orbitals (shells) and projectors.

    Attributes:
        orbital: f of each pair of orbital shells a <= b and l = |la - lb|, ..., la + lb in steps of two, bohr^-l,
            shape (t, g). projector: likewise for each projector shell, orbital shell and l, shape (u, g).
        correction: D, shape (p, p).
        shells, projectors: by letter (static). end: distance of the last value of the tables, bohr (static).
        reach: distances (bohr) at which T and P end (static). threshold: |f| below this is zero, bohr^-l (static).
    """

    orbital: Float[np.ndarray, "t g"]
    projector: Float[np.ndarray, "u g"]
    correction: Float[np.ndarray, "p p"]
    shells: tuple[str, ...] = static()
    projectors: tuple[str, ...] = static()
    end: float = static()
    reach: tuple[float, float] = static()
    threshold: float = static()

    @property
    def digest(self) -> str:
        """Hash of everything: 16 hexadecimal digits."""
        text = repr((self.shells, self.projectors, self.end, *self.reach, self.threshold))
        found = hashlib.sha256(text.encode())
        for table in (self.orbital, self.projector, self.correction):
            found.update(np.ascontiguousarray(table, dtype="<f8").tobytes())
        return found.hexdigest()[:16]

    def agrees(self, other: "OverlapFunctions", within: float = 1e-6) -> bool:
        """Whether both are of one basis: equal integrals at all distances of atoms, to rounding of the code that made them.

        Tables of one basis may differ near zero distance, where no atoms are.
        """
        if (self.shells, self.projectors) != (other.shells, other.projectors):
            return False
        direction = np.array([0.48, 0.6, 0.64])
        vectors = np.linspace(0.8, max(self.reach + other.reach) * Bohr, 200)[:, None] * direction
        pairs = ((f.orbitals(vectors), f.projections(vectors), f.correction) for f in (self, other))
        return all(np.abs(a - b).max(initial=0.0) <= within for a, b in zip(*pairs, strict=True))

    def orbitals(self, vectors: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v o o"]:
        """T of orbitals whose second atom is at `vectors` (angstrom) from the first."""
        return self._between(vectors, self.shells, self.shells, self.orbital, self.reach[0], symmetric=True)

    def projections(self, vectors: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v p o"]:
        """P of projectors with orbitals whose atom is at `vectors` (angstrom) from theirs."""
        return self._between(vectors, self.projectors, self.shells, self.projector, self.reach[1], symmetric=False)

    def _between(self, vectors, rows, columns, tables, reach, symmetric):
        from scipy.interpolate import CubicSpline

        r = np.linalg.norm(vectors, axis=1) / Bohr
        away = r > 1e-12
        unit = np.where(away[:, None], vectors / Bohr / np.where(away, r, 1.0)[:, None], [0.0, 0.0, 1.0])
        spline = CubicSpline(np.linspace(0.0, self.end, tables.shape[1]), tables, axis=1, bc_type="clamped")
        radial = spline(np.minimum(r, self.end))
        radial = np.where((r < reach) & (np.abs(radial) > self.threshold), radial, 0.0)
        starts = [np.concatenate([[0], np.cumsum([2 * DEGREE[s] + 1 for s in shells])]) for shells in (rows, columns)]
        out = np.zeros((len(r), starts[0][-1], starts[1][-1]))
        angular = {degree: harmonics(unit, degree) for degree in range(5)}
        for (i, j, degree), f in zip(entries(rows, columns, symmetric), radial, strict=True):
            a, b = (slice(start[n], start[n + 1]) for start, n in zip(starts, (i, j), strict=True))
            part = (f * r**degree)[:, None, None] * np.einsum(
                "vm,mab->vab", angular[degree], gaunt(rows[i], columns[j], degree)
            )
            out[:, a, b] += part
            if symmetric and i != j:
                out[:, b, a] += (-1) ** degree * part.swapaxes(1, 2)
        return out

    def blocks(
        self,
        positions: Float[np.ndarray, "n 3"],
        cell: Float[np.ndarray, "3 3"],
        pbc: tuple[bool, bool, bool],
        pairs: Int[np.ndarray, "p 5"],
    ) -> Float[np.ndarray, "p o o"]:
        """S of the pairs (i, j, R), dimensionless: orbital mu of atom i with nu of atom j at R.

        Args:
            positions: angstrom. cell: angstrom, rows are lattice vectors.
        """
        from vesin import NeighborList

        n = len(positions)
        out = self.orbitals(pair_vectors(positions, cell, pairs))
        finder = NeighborList(cutoff=self.reach[1] * Bohr, full_list=True, sorted=True)
        centre, near, shift = finder.compute(points=positions, box=cell, periodic=np.asarray(pbc), quantities="ijS")
        itself = np.arange(n)
        centre, near = np.concatenate([itself, centre]).astype(int), np.concatenate([itself, near]).astype(int)
        shift = np.concatenate([np.zeros((n, 3), int), shift]).astype(int)
        projected = self.projections(pair_vectors(positions, cell, np.column_stack([centre, near, shift])))
        weighted = np.einsum("vpo,pq->vqo", projected, self.correction)
        keys = _key(pairs[:, 0], pairs[:, 1], pairs[:, 2:])
        order = np.argsort(keys)
        for atom in range(n):
            mine = np.flatnonzero(centre == atom)
            u, v = (x.ravel() for x in np.meshgrid(mine, mine, indexing="ij"))
            wanted = _key(near[u], near[v], shift[v] - shift[u])
            place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
            rows = order[place]
            held = keys[rows] == wanted
            u, v, rows = u[held], v[held], rows[held]
            np.add.at(out, rows, weighted[u].swapaxes(1, 2) @ projected[v])
        return out


def pair_vectors(
    positions: Float[np.ndarray, "n 3"], cell: Float[np.ndarray, "3 3"], pairs: Int[np.ndarray, "p 5"]
) -> Float[np.ndarray, "p 3"]:
    """From atom i to atom j of cell R, for pairs (i, j, R), in the unit of the positions."""
    return positions[pairs[:, 1]] + pairs[:, 2:] @ cell - positions[pairs[:, 0]]


def _key(i: np.ndarray, j: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One integer for each (i, j, R); |R| below 512 cells."""
    key = i.astype(np.int64) * 65536 + j
    for axis in range(3):
        key = key * 1024 + (shift[:, axis] + 512)
    return key


def entries(rows: tuple[str, ...], columns: tuple[str, ...], symmetric: bool) -> list[tuple[int, int, int]]:
    """Row shell, column shell and l of each entry of a table, in its order."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i if symmetric else 0, len(columns))]
    degrees = {(i, j): (DEGREE[rows[i]], DEGREE[columns[j]]) for i, j in pairs}
    return [(i, j, d) for (i, j), (a, b) in degrees.items() for d in range(abs(a - b), a + b + 1, 2)]


def shell_functions(unit: Float[np.ndarray, "v 3"], shell: str) -> Float[np.ndarray, "v m"]:
    """Orbitals' real spherical harmonics, e3nn's order, squares integrating to one over the sphere."""
    x, y, z = unit.T
    if shell == "s":
        return np.full((len(unit), 1), (4 * np.pi) ** -0.5)
    if shell == "p":
        return (3 / (4 * np.pi)) ** 0.5 * np.stack([x, y, z], axis=1)
    d = [x * z, x * y, (3 * y**2 - 1) / (2 * 3**0.5), y * z, (z**2 - x**2) / 2]
    return (15 / (4 * np.pi)) ** 0.5 * np.stack(d, axis=1)


def harmonics(unit: Float[np.ndarray, "v 3"], degree: int) -> Float[np.ndarray, "v m"]:
    """An orthonormal set of real spherical harmonics of one degree (any will do: it is summed over)."""
    from scipy.special import factorial, lpmv

    x, y, z = unit.T
    phi = np.arctan2(y, x)
    out = []
    for m in range(degree + 1):
        size = ((2 * degree + 1) / (4 * np.pi) * factorial(degree - m) / factorial(degree + m)) ** 0.5
        legendre = size * lpmv(m, degree, np.clip(z, -1.0, 1.0))
        out += [legendre] if m == 0 else [2**0.5 * legendre * f(m * phi) for f in (np.cos, np.sin)]
    return np.stack(out, axis=1)


@functools.cache
def sphere() -> tuple[Float[np.ndarray, " v"], Float[np.ndarray, "v 3"]]:
    """Weights and directions of a quadrature that is exact for products of three harmonics of shells."""
    z, weights = np.polynomial.legendre.leggauss(10)
    phi = np.arange(20) * (2 * np.pi / 20)
    z, phi = (x.ravel() for x in np.meshgrid(z, phi, indexing="ij"))
    size = np.sqrt(1 - z**2)
    return np.repeat(weights, 20) * (2 * np.pi / 20), np.stack([size * np.cos(phi), size * np.sin(phi), z], axis=1)


@functools.cache
def gaunt(a: str, b: str, degree: int) -> Float[np.ndarray, "m a b"]:
    """Integrals of three harmonics over the sphere: of one degree, of shell a and of shell b."""
    weights, unit = sphere()
    found = [harmonics(unit, degree), shell_functions(unit, a), shell_functions(unit, b)]
    return np.einsum("v,vm,va,vb->mab", weights, *found)
