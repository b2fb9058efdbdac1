"""Phonon densities of states, total and of every atom, by linear tetrahedra or by smearing.

Flows in: force constants and a mesh. Flows out: `Density`. Tetrahedra (Lehmann and Taut, phys. stat. sol. b 54, 469 (1972);
the weights of corners: MacDonald, Vosko and Coleridge, J. Phys. C 12, 2991 (1979)) interpolate on a regular mesh and need no
width: they are for pictures and tables. A Gaussian of some width is smooth in everything, through degenerate modes too, and
is for derivatives.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi import html, kpoints, labelled
from jaxepi.errors import InputError
from jaxepi.guards import number, numbers, traced
from jaxepi.kpoints import KPoints
from jaxepi.linalg import degeneracy_tolerance, matrix_function
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.phonons import Images, images_of, interpolated, short_ranged, weighted
from jaxepi.sampling.vibrations import FREE, fine_divisions, fine_mesh
from jaxepi.units import thz_from_eigenvalue

COUNT = 301
"""Frequencies at which a density is given that nobody has chosen."""


class Density(NamedTuple):
    """Densities of states per base cell: the total integrates to three modes an atom.

    Attributes:
        frequencies: THz, imaginary ones negative, shape (e,). total: 1/THz. projected: on the atoms of the base cell, shape
            (b, e), which sum to the total.
    """

    frequencies: Float[Array, " e"] | np.ndarray
    total: Float[Array, " e"] | np.ndarray
    projected: Float[Array, "b e"] | np.ndarray

    def columns(self) -> dict[str, Any]:
        """All by name, for tables."""
        atoms = {f"atom_{n}": values for n, values in enumerate(self.projected, start=1)}
        return {"frequency": self.frequencies, "total": self.total} | atoms

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a frequency (THz): densities, 1/THz."""
        return labelled.frame(self.columns(), "frequency")

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        rows = [("frequencies (THz)", f"{float(self.frequencies[0]):.2f} to {float(self.frequencies[-1]):.2f}")]
        return html.table("Density of states", [*rows, ("highest (1/THz)", f"{float(np.max(self.total)):.3f}")])


def density_of_states(
    fc: ForceConstants,
    frequencies: Any = None,
    mesh: Any = None,
    smearing: Any = None,
    images: Images | None = None,
) -> Density:
    """Densities of states, per base cell.

    Args:
        frequencies: THz, shape (e,); `COUNT` over all modes when left out.
        mesh: divisions, one number or three, of a regular mesh off Gamma by half a division (about `vibrations.LENGTH` over
            the lengths of the cell when left out); with `smearing`, any `KPoints` too.
        smearing: standard deviation of a Gaussian, THz; by tetrahedra when left out, which has no derivatives to speak of.
        images: `images_of(fc)`; needed when the force constants are traced.

    Raises:
        InputError: a width that is not positive, `KPoints` without a width, or frequencies left out under tracing.
    """
    if frequencies is not None:
        frequencies = numbers("frequencies", frequencies, fc.matrix.dtype, 1)
    images = images_of(fc) if images is None else images
    if smearing is None:
        return _by_tetrahedra(fc, frequencies, mesh, images)
    number("smearing", smearing, "THz")
    if not traced(smearing) and not 0 < float(smearing) < np.inf:
        raise InputError(f"smearing {float(smearing)} THz: give a positive width")
    known = fine_mesh(fc.base, mesh)
    points, weights = (jnp.asarray(values, fc.matrix.dtype) for values in known)
    width = jnp.asarray(smearing, fc.matrix.dtype)
    if frequencies is None:
        frequencies = _all(_levels(fc, points, images)[0], fc.matrix.dtype)
    projected = _smeared(fc, points, weights, frequencies, width, images)
    return Density(frequencies, projected.sum(axis=0), projected)


def _all(thz: Array, dtype: Any) -> Array:
    """Frequencies over all modes, and a little more."""
    if traced(thz):
        raise InputError("frequencies left out are chosen on the host: give them where the force constants are traced")
    low, high = min(float(thz.min()), 0.0), float(thz.max())
    return jnp.linspace(1.02 * low, 1.02 * high, COUNT, dtype=dtype)


def _gaussian(eigenvalue: Array, frequency: Array, width: Array) -> Array:
    """Of a mode: exp(-(f - f')^2/2 s^2)/(s sqrt(2 pi)), 1/THz."""
    bound = jnp.abs(eigenvalue) > FREE
    thz = jnp.where(bound, thz_from_eigenvalue(jnp.where(bound, eigenvalue, 1.0)), 0.0)
    return jnp.exp(-0.5 * ((thz - frequency) / width) ** 2) / (width * (2 * np.pi) ** 0.5)


@jax.jit
def _smeared(fc: ForceConstants, points: Array, weights: Array, frequencies: Array, width: Array, images: Images):
    short = short_ranged(fc, images)
    b = len(fc.matrix)

    def at(each: tuple[Array, Array]) -> Array:
        q, weight = each
        matrix = weighted(fc, interpolated(fc, short, q, images))
        values = jax.vmap(lambda f: jnp.diagonal(matrix_function(_gaussian, matrix, f, width)).real)(frequencies)
        return weight * values.reshape(-1, b, 3).sum(axis=-1).T

    return jax.lax.map(at, (points, weights), batch_size=16).sum(axis=0)


@jax.jit
def _levels(fc: ForceConstants, points: Array, images: Images) -> tuple[Array, Array]:
    """Frequencies, THz, shape (q, m), and how much of each mode is on each atom, shape (q, m, b).

    Within a degenerate set the shares are the mean of the set, whatever eigenvectors there are.
    """
    short = short_ranged(fc, images)
    b = len(fc.matrix)

    def at(q: Array) -> tuple[Array, Array]:
        levels, vectors = jnp.linalg.eigh(weighted(fc, interpolated(fc, short, q, images)))
        share = (jnp.abs(vectors) ** 2).reshape(b, 3, -1).sum(axis=1).T
        near = jnp.abs(levels[:, None] - levels[None]) < degeneracy_tolerance(levels)
        near = near.astype(share.dtype)
        return thz_from_eigenvalue(levels), (near @ share) / near.sum(axis=1, keepdims=True)

    return jax.lax.map(at, points, batch_size=32)


def _by_tetrahedra(fc: ForceConstants, frequencies: Array | None, mesh: Any, images: Images) -> Density:
    if isinstance(mesh, KPoints):
        raise InputError("tetrahedra need a regular mesh: give its divisions, or a width (smearing=) with these points")
    base = fc.base
    counts = fine_divisions(base, mesh)
    shift = tuple(0.5 if periodic else 0.0 for periodic in base.pbc)
    points = kpoints.mesh(counts, shift, time_reversal=False, periodic=base.pbc).points
    thz, shares = _levels(fc, jnp.asarray(points, fc.matrix.dtype), images)
    frequencies = _all(thz, fc.matrix.dtype) if frequencies is None else frequencies
    reciprocal = np.asarray(base.reciprocal, dtype=float) if not traced(base.cell) else np.eye(3)
    projected = _integrated(thz, shares, frequencies, tetrahedra(counts, reciprocal))
    return Density(frequencies, projected.sum(axis=0), projected)


def tetrahedra(counts: tuple[int, int, int], reciprocal: Float[np.ndarray, "3 3"]) -> Int[np.ndarray, "t 4"]:
    """Corners of the tetrahedra that fill a periodic mesh, as rows of `kpoints.mesh` without time reversal: six a cell
    around its shortest diagonal (Bloechl, Jepsen and Andersen, Phys. Rev. B 49, 16223 (1994))."""
    diagonals = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    lengths = np.linalg.norm(diagonals @ (reciprocal / np.asarray(counts)[:, None]), axis=1)
    way = diagonals[int(np.argmin(np.round(lengths, 10)))]
    start = (1 - way) // 2
    corners = []
    for order in itertools.permutations(range(3)):
        steps = np.cumsum([np.zeros(3, int), *(way[axis] * np.eye(3, dtype=int)[axis] for axis in order)], axis=0)
        corners.append(start + steps)
    grid = np.indices(counts).reshape(3, -1).T
    places = (grid[:, None, None] + np.array(corners)[None]) % np.asarray(counts)
    return np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), counts).reshape(-1, 4)


@jax.jit
def _integrated(thz: Array, shares: Array, frequencies: Array, corners: Any) -> Float[Array, "b e"]:
    """Densities on the atoms: corners of each tetrahedron in the order of their frequencies, mode by mode."""
    modes = thz.shape[1]
    of_corners = jnp.moveaxis(thz[corners], 1, 2)  # tetrahedron, mode, corner
    order = jnp.argsort(of_corners, axis=-1)
    levels = jnp.take_along_axis(of_corners, order, axis=-1)
    rows = jnp.take_along_axis(jnp.broadcast_to(jnp.asarray(corners)[:, None], of_corners.shape), order, axis=-1)
    place = rows * modes + jnp.arange(modes)[None, :, None]

    def at(frequency: Array) -> Array:
        weights = corner_weights(levels, frequency)
        of_modes = jax.ops.segment_sum(weights.ravel(), place.ravel(), thz.size)
        return jnp.einsum("qm,qmb->b", of_modes.reshape(thz.shape), shares) / len(corners)

    return jax.lax.map(at, frequencies).T


def corner_weights(levels: Float[Array, "*n 4"], level: Float[Array, ""]) -> Float[Array, "*n 4"]:
    """What each corner adds to the density at a level of linear tetrahedra of volume one: the density, shared by the mean
    place of the plane on which the interpolation has that level.

    Args:
        levels: at the corners, ascending.
    """
    v0, v1, v2, v3 = jnp.moveaxis(levels, -1, 0)

    def part(numerator: Array, denominator: Array) -> Array:
        return numerator / jnp.where(denominator > 0, denominator, 1.0)

    # How far along the edges from corners 0, 1 and 3 to others the plane cuts them.
    a1, a2, a3 = (part(level - v0, v - v0) for v in (v1, v2, v3))
    c2, c3 = (part(level - v1, v - v1) for v in (v2, v3))
    b0, b1, b2 = (part(v3 - level, v3 - v) for v in (v0, v1, v2))
    low = jnp.stack([3 - a1 - a2 - a3, a1, a2, a3], axis=-1) * part(a2 * a3, v1 - v0)[..., None]
    high = jnp.stack([b0, b1, b2, 3 - b0 - b1 - b2], axis=-1) * part(b0 * b1, v3 - v2)[..., None]
    # A quadrilateral is two triangles: one on edges 02, 03, 12, the other on 03, 12, 13.
    first, second = part((1 - c2) * a2, v3 - v0), part(c2 * (1 - c3), v3 - v0)
    both = first + second
    middle = jnp.stack(
        [
            (1 - a3) * both + (1 - a2) * first,
            (1 - c2) * both + (1 - c3) * second,
            c2 * both + a2 * first,
            a3 * both + c3 * second,
        ],
        axis=-1,
    )
    inside = [(level > v0) & (level <= v1), (level > v1) & (level <= v2), (level > v2) & (level < v3)]
    parts = [jnp.where(here[..., None], w, 0.0) for here, w in zip(inside, (low, middle, high), strict=True)]
    return parts[0] + parts[1] + parts[2]
