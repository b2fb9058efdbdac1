"""What electrons and holes feel of each other: screened attraction, bare exchange, and the distances both need.

Flows in: a structure and a k mesh. Flows out: tables of energies between atoms, eV. Charges sit on orbitals (zero differential
overlap), so that a table between atoms is all; the electron and the hole are at most half a Born-von Karman cell (mesh times
cell) apart, at the nearest image.
"""

import math
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry.minkowski_reduction import minkowski_reduce
from jaxtyping import Array, Bool, Float

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.guards import known, number, poisoned
from jaxepi.linalg import inverse_3x3
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, stored

ONSITE = 2.0
"""Screened attraction of electron and hole on one atom, eV: one number for all crystals, fitted to none (U of 1 to 3 eV moves
the height of silicon's first peak, hardly its place: docs/how-to/excitons.md)."""

ONSITE_BARE = 10.0
"""Repulsion of two charges on one atom without screening, eV, in the exchange: the size of valence shells' Slater integrals."""


@runtime_checkable
class Interaction(Protocol):
    """Screened attraction of an electron and a hole on two atoms."""

    @property
    def onsite(self) -> Array | float: ...

    def potential(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Attraction, eV, at distances above zero, angstrom."""
        ...

    def valid(self) -> Bool[Array, ""]:
        """Whether the values are physical."""
        ...

    def check(self) -> None:
        """Refuse values that are known and not physical."""
        ...


@stored
@pytree
class Screening:
    """Screening of a bulk crystal with a model dielectric function of one length.

    W(r) = K/r [1/eps0 + (1 - 1/eps0) exp(-r/length)], the transform of 1/eps(q) = 1/eps0 + (1 - 1/eps0) q^2/(q^2 + 1/length^2),
    and `onsite` on one atom. With the Thomas-Fermi length of valence electrons (half an angstrom) neighbours are screened
    wholly, as in Resta, Phys. Rev. B 16, 2717 (1977).

    Attributes:
        eps0: dielectric constant of the electrons, at least one. onsite: attraction on one atom. length: of the crossover;
            zero screens all other atoms wholly (`thomas_fermi_length` gives that of a crystal).
    """

    eps0: Float[Array, ""] | float = field(unit="1")
    onsite: Float[Array, ""] | float = field(unit="eV", default=ONSITE)
    length: Float[Array, ""] | float = field(unit="angstrom", default=0.0)

    def potential(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Attraction, eV, at distances above zero, angstrom."""
        whole = 1 / jnp.asarray(self.eps0, distance.dtype)
        length = jnp.asarray(self.length, distance.dtype)
        crossing = jnp.where(length > 0, jnp.exp(-distance / jnp.where(length > 0, length, 1.0)), 0.0)
        return units.COULOMB / distance * (whole + (1 - whole) * crossing)

    def valid(self) -> Bool[Array, ""]:
        """Whether the values are physical."""
        eps0, onsite, length = (jnp.asarray(x) for x in (self.eps0, self.onsite, self.length))
        return (eps0 >= 1) & (eps0 <= jnp.inf) & (jnp.abs(onsite) < jnp.inf) & (length >= 0) & (length < jnp.inf)

    def check(self) -> None:
        """Refuse values that are known and not physical.

        Raises:
            InputError: eps0 below one, a length below zero, an on-site attraction that is no number.
        """
        eps0, onsite = known(number("eps0", self.eps0)), known(number("onsite", self.onsite, "eV"))
        length = known(number("length", self.length, "angstrom"))
        if eps0 is not None and not eps0 >= 1:
            raise InputError(
                f"eps0 {eps0:g}: a dielectric constant is 1 (no screening) or more; give that of the crystal's electrons, "
                "such as 11.7 for silicon"
            )
        if onsite is not None and not np.isfinite(onsite):
            raise InputError(f"onsite {onsite:g} eV: give a finite attraction")
        if length is not None and not 0 <= length < np.inf:
            raise InputError(f"length {length:g} angstrom: give zero or more")


ALPHA = 1.563
"""Weight of the second order in `ModelDielectric`, which Cappellini et al. took from computed dielectric functions."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@stored
@pytree
class ModelDielectric:
    """Screening of a bulk crystal by Cappellini's model dielectric function, on one atom too: no length and no U to choose.

    eps(q) = 1 + 1/[1/(eps0 - 1) + alpha (q/q_TF)^2 + (hbar q^2/2m w_p)^2], q_TF and w_p of the valence electrons (Cappellini,
    Del Sole, Reining and Bechstedt, Phys. Rev. B 47, 9892 (1993)). 1/eps has poles at q = i(p +- it): between points

    W(r) = K/r {1/eps0 + (1 - 1/eps0) exp(-p r) [cos(t r) + (p^2 - t^2)/(2 p t) sin(t r)]}

    and on one atom (2K/pi) int exp(-q^2 s^2)/eps(q) dq, of Gaussian charges of width s = K/(bare sqrt(pi)).

    Attributes:
        eps0: dielectric constant of the electrons, above one. density: of valence electrons. bare: repulsion of two charges on
            one atom without screening, as in the exchange.
    """

    eps0: Float[Array, ""] | float = field(unit="1")
    density: Float[Array, ""] | float = field(unit="1/angstrom^3")
    bare: Float[Array, ""] | float = field(unit="eV", default=ONSITE_BARE)

    @property
    def onsite(self) -> Array:
        """Attraction on one atom, eV."""
        zeroth, second, fourth = self._orders()
        bare = jnp.asarray(self.bare, zeroth.dtype)
        width = units.COULOMB / (bare * math.sqrt(math.pi))
        # Gauss-Legendre over u, q = tan(u) in 1/angstrom.
        square = jnp.asarray(np.tan(0.25 * np.pi * (_NODES + 1)) ** 2, zeroth.dtype)
        taken = jnp.exp(-(width**2) * square) * (1 + square) / (zeroth + second * square + fourth * square**2)
        return bare - 0.5 * units.COULOMB * (jnp.asarray(_WEIGHTS, zeroth.dtype) * taken).sum()

    def potential(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Attraction, eV, at distances above zero, angstrom."""
        zeroth, second, fourth = (x.astype(distance.dtype) for x in self._orders())
        modulus, real = jnp.sqrt(zeroth / fourth), 0.5 * second / fourth  # p^2 + t^2, p^2 - t^2
        decay, wave = jnp.sqrt(0.5 * (modulus + real)), jnp.sqrt(0.5 * (modulus - real))
        turn = wave * distance
        crossing = jnp.exp(-decay * distance) * (jnp.cos(turn) + 0.5 * real / (decay * wave) * jnp.sin(turn))
        return units.COULOMB / distance * (1 - 1 / zeroth + crossing / zeroth)

    def _orders(self) -> tuple[Array, Array, Array]:
        """Of 1/(1 - 1/eps) in q^2, angstrom^2 and angstrom^4."""
        eps0, density = jnp.asarray(self.eps0, float), jnp.asarray(self.density, float)
        bohr = units.HBAR2_PER_ELECTRON_MASS / units.COULOMB
        return eps0 / (eps0 - 1), ALPHA * thomas_fermi_length(density, 1.0) ** 2, bohr / (16 * math.pi * density)

    def valid(self) -> Bool[Array, ""]:
        """Whether the values are physical, and t real, as in crystals: with eps0 of 11.7 up to 1.2 electrons/angstrom^3."""
        zeroth, second, fourth = self._orders()
        eps0, bare = jnp.asarray(self.eps0), jnp.asarray(self.bare)
        within = (eps0 > 1) & (eps0 < jnp.inf) & (bare > 0) & (bare < jnp.inf) & (jnp.asarray(self.density) > 0)
        return within & (second**2 < 4 * zeroth * fourth)

    def check(self) -> None:
        """Refuse values that are known and not physical.

        Raises:
            InputError: eps0 of one or less, a density that is that of no crystal, a bare repulsion that is not positive.
        """
        eps0, density = known(number("eps0", self.eps0)), known(number("density", self.density, "1/angstrom^3"))
        bare = known(number("bare", self.bare, "eV"))
        if eps0 is not None and not 1 < eps0 < np.inf:
            raise InputError(f"eps0 {eps0:g}: a model dielectric function needs more than 1, such as 11.7 for silicon")
        if bare is not None and not 0 < bare < np.inf:
            raise InputError(f"bare {bare:g} eV: give a positive repulsion")
        physical = known(self.valid())
        if physical is not None and not physical:
            raise InputError(
                f"density {density:g} electrons/angstrom^3 with eps0 {eps0:g}: give that of valence electrons, such as 0.2 for "
                "silicon; for denser ones take optics.Screening (--exciton-screening onsite)"
            )


@stored
@pytree
class Keldysh:
    """Screening of a layer that is thin against the distances: V(q) = 2 pi K/[q kappa (1 + radius q)] in the plane.

    W(r) = pi K/(2 kappa radius) [H0(r/radius) - Y0(r/radius)] with Struve's and Neumann's functions (Rytova 1967; Keldysh,
    JETP Lett. 29, 658 (1979); Cudazzo et al., Phys. Rev. B 84, 085406 (2011)).

    Attributes:
        radius: of the screening, 2 pi times the polarisability a unit of area, over kappa. kappa: mean dielectric constant of
            the media above and below, at least one. onsite: attraction on one atom.
    """

    radius: Float[Array, ""] | float = field(unit="angstrom")
    kappa: Float[Array, ""] | float = field(unit="1", default=1.0)
    onsite: Float[Array, ""] | float = field(unit="eV", default=ONSITE)

    def potential(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Attraction, eV, at distances above zero, angstrom."""
        radius, kappa = (jnp.asarray(x, distance.dtype) for x in (self.radius, self.kappa))
        return 0.5 * jnp.pi * units.COULOMB / (kappa * radius) * struve_minus_neumann(distance / radius)

    def valid(self) -> Bool[Array, ""]:
        """Whether the values are physical."""
        radius, kappa, onsite = (jnp.asarray(x) for x in (self.radius, self.kappa, self.onsite))
        return (radius > 0) & (radius < jnp.inf) & (kappa >= 1) & (kappa < jnp.inf) & (jnp.abs(onsite) < jnp.inf)

    def check(self) -> None:
        """Refuse values that are known and not physical.

        Raises:
            InputError: a radius that is not positive, kappa below one, an on-site attraction that is no number.
        """
        radius, kappa = known(number("radius", self.radius, "angstrom")), known(number("kappa", self.kappa))
        onsite = known(number("onsite", self.onsite, "eV"))
        if radius is not None and not 0 < radius < np.inf:
            raise InputError(f"radius {radius:g} angstrom: give the positive screening radius of the layer")
        if kappa is not None and not 1 <= kappa < np.inf:
            raise InputError(f"kappa {kappa:g}: the dielectric constant around a layer is 1 (vacuum) or more")
        if onsite is not None and not np.isfinite(onsite):
            raise InputError(f"onsite {onsite:g} eV: give a finite attraction")


def struve_minus_neumann(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """H0(x) - Y0(x) for x > 0: (2/pi) int_0^inf exp(-x sinh u) du, by Gauss-Legendre up to where the integrand is 1e-17."""
    end = jnp.arcsinh(40 / x)
    nodes, weights = (jnp.asarray(a, x.dtype).reshape((1,) * x.ndim + (-1,)) for a in (_NODES, _WEIGHTS))
    u = 0.5 * end[..., None] * (nodes + 1)
    return end / jnp.pi * (weights * jnp.exp(-x[..., None] * jnp.sinh(u))).sum(axis=-1)


@jax.jit
def thomas_fermi_length(electrons: float | Array, volume: float | Array) -> Array:
    """Screening length of a gas of the crystal's valence electrons, angstrom: 1/q^2 = pi a_B/(4 k_F), k_F^3 = 3 pi^2 n.

    Args:
        electrons: valence electrons a cell. volume: of it, angstrom^3.
    """
    density = jnp.asarray(electrons, float) / jnp.asarray(volume, float)
    bohr = units.HBAR2_PER_ELECTRON_MASS / units.COULOMB
    return jnp.sqrt(jnp.pi * bohr / (4 * (3 * jnp.pi**2 * density) ** (1 / 3)))


TIED = 1e-3
"""Images whose distances differ by less than this (angstrom) share equally."""


def separations(structure: Structure, mesh: tuple[int, int, int]) -> Float[Array, "n n K"]:
    """Distance of an electron on atom i, R cells away, from a hole on atom j, at the nearest image; angstrom.

    Args:
        mesh: divisions of the k mesh; R runs over as many cells, in the order of the inverse Fourier transform.
    """
    vectors, images, *_ = _vectors(structure, structure, mesh)
    return _nearest(vectors, images)


def _vectors(rest: Structure, structure: Structure, mesh: tuple[int, int, int]) -> tuple[Array, Array, Array, Array]:
    """From holes to electrons, shape (n, n, K, 3), and the translations to images that may be nearer, shape (m, 3).

    First of the lattice at rest, wrapped into its Born-von Karman cell, then the same ones of the structure.
    """
    dtype, counts = structure.cell.dtype, np.array(mesh, dtype=float)
    cells = jnp.asarray(np.array(list(np.ndindex(mesh))), dtype)
    combination = jnp.asarray(_reduction(rest, counts) * counts[None], dtype)
    around = np.array(list(np.ndindex(3, 3, 3))) - 1
    steps = jnp.asarray(around[((around == 0) | np.asarray(structure.pbc)).all(axis=1)], dtype)
    periodic = jnp.asarray(np.array(structure.pbc), dtype)
    found = _wrapped(rest.positions, rest.cell, structure.positions, structure.cell, combination, cells, periodic)
    return found[0], steps @ combination @ rest.cell, found[1], steps @ combination @ structure.cell


@jax.jit
def _wrapped(
    rest: Array, rest_cell: Array, positions: Array, cell: Array, combination: Array, cells: Array, periodic: Array
) -> tuple[Array, Array]:
    def apart(x: Array, vectors: Array) -> Array:
        return (cells @ vectors)[None, None] + (x[:, None] - x[None])[:, :, None]

    vectors, reduced = apart(rest, rest_cell), combination @ rest_cell
    turns = jnp.round(jax.lax.stop_gradient(vectors @ inverse_3x3(reduced))) * periodic[None, None, None]
    return vectors - turns @ reduced, apart(positions, cell) - turns @ (combination @ cell)


def _length(vectors: Array) -> Array:
    """Of vectors; 1e-15 of those that are zero, where the root has a derivative."""
    square = (vectors**2).sum(axis=-1)
    return jnp.sqrt(jnp.where(square > 1e-12, square, 1e-30))


@jax.jit
def _nearest(vectors: Array, images: Array) -> Array:
    def nearer(shortest, image):
        return jnp.minimum(shortest, _length(vectors + image[None, None, None])), None

    first = jnp.full(vectors.shape[:-1], jnp.inf, vectors.dtype)
    return jax.lax.scan(nearer, first, images)[0]


def _reduction(structure: Structure, counts: np.ndarray) -> np.ndarray:
    """Integer combinations that make the Born-von Karman cell compact; as given where the cell is being traced."""
    cell = known(structure.cell)
    if cell is None:
        return np.eye(3)
    return np.rint(minkowski_reduce(counts[:, None] * np.asarray(cell, float), structure.pbc)[1])


def attraction_table(
    interaction: Interaction, structure: Structure, mesh: tuple[int, int, int], rest: Structure | None = None
) -> Float[Array, "n n K"]:
    """W_ij(R) of `separations`, eV, smooth in the displacements.

    Args:
        rest: the lattice at rest, of which the nearest images are taken, and equally near ones share; `structure` by default.

    Raises:
        InputError: an interaction that is not physical (NaN under tracing).
    """
    interaction.check()
    vectors = _vectors(structure if rest is None else rest, structure, mesh)
    return _attraction(interaction, *jax.lax.stop_gradient(vectors[:2]), *vectors[2:])


@jax.jit
def _attraction(
    interaction: Interaction, at_rest: Array, images_at_rest: Array, vectors: Array, images: Array
) -> Array:
    shortest = _nearest(at_rest, images_at_rest)
    onsite = jnp.asarray(interaction.onsite, shortest.dtype)

    def add(total, both):
        image_at_rest, image = (x[None, None, None] for x in both)
        chosen = _length(at_rest + image_at_rest) < shortest + TIED
        distance = _length(vectors + image)
        apart = chosen & (distance > 1e-6)
        here = jnp.where(apart, interaction.potential(jnp.where(apart, distance, 1.0)), onsite)
        return (total[0] + jnp.where(chosen, here, 0.0), total[1] + chosen.astype(zero.dtype)), None

    zero = jnp.zeros_like(shortest)
    (total, count), _ = jax.lax.scan(add, (zero, zero), (images_at_rest, images))
    return poisoned(total / count, interaction.valid())


STRETCHED = 1.1
"""How much longer cells may be than the one that Ewald's sum is laid out for."""


def exchange_table(
    structure: Structure, onsite: float | Array = ONSITE_BARE, like: Array | None = None
) -> Float[Array, "n n"]:
    """Bare repulsion of charges on atoms i and j and on all their images, without the mean (G = 0), eV: Ewald's sum.

    On one atom of one cell the repulsion is `onsite`. The missing G = 0 makes the macroscopic dielectric function of it.

    Args:
        like: a known cell near that of the structure, where that is being traced.

    Raises:
        InputError: a structure that is not periodic in three directions; a traced cell and none like it.
    """
    if not all(structure.pbc):
        raise InputError(
            f"exchange of a crystal that is periodic along {structure.pbc} alone: the sum is for three directions; "
            "leave the exchange out"
        )
    cell = known(structure.cell if like is None else like)
    if cell is None:
        raise InputError("exchange under traced cells: its sums are laid out on the host; give a known cell like it")
    cell = np.asarray(cell, float)
    width = math.sqrt(math.pi) / abs(np.linalg.det(cell)) ** (1 / 3)
    reach, longer = 6.5, 1.0 if like is None else STRETCHED
    inverse = np.linalg.inv(cell)
    cells = _within(cell, longer * (reach / width + np.linalg.norm(cell, axis=1).sum()))
    waves = _within(2 * np.pi * inverse.T, longer * 2 * width * reach)
    waves = waves[np.linalg.norm(waves, axis=1) > 1e-9]
    dtype = structure.positions.dtype
    # Whole numbers of lattice vectors, which the cell carries along.
    turns, orders = (jnp.asarray(np.rint(x), dtype) for x in (cells @ inverse, waves @ cell.T / (2 * np.pi)))
    reciprocal = 2 * math.pi * inverse_3x3(structure.cell).T
    args = (structure.volume, jnp.asarray(width, dtype), jnp.asarray(onsite, dtype))
    return _ewald(structure.positions, turns @ structure.cell, orders @ reciprocal, *args)


@jax.jit
def _ewald(positions: Array, cells: Array, waves: Array, volume: Array, width: Array, onsite: Array) -> Array:
    between = positions[:, None] - positions[None]

    def real(total, shift):
        square = ((between + shift[None, None]) ** 2).sum(axis=-1)
        own = square < 1e-12
        distance = jnp.sqrt(jnp.where(own, 1.0, square))
        far = jax.scipy.special.erfc(width * distance) / distance
        return total + jnp.where(own, -2 * width / math.sqrt(math.pi), far), None

    def reciprocal(total, wave):
        square = (wave**2).sum()
        weight = 4 * math.pi / volume * jnp.exp(-square / (4 * width**2)) / square
        return total + weight * jnp.cos(between @ wave), None

    total = jnp.broadcast_to(-math.pi / (volume * width**2), between.shape[:2])
    total, _ = jax.lax.scan(real, total, cells)
    total, _ = jax.lax.scan(reciprocal, total, waves)
    return units.COULOMB * total + onsite * jnp.eye(len(positions), dtype=positions.dtype)


def _within(vectors: np.ndarray, radius: float) -> np.ndarray:
    """All lattice points within a radius of the origin."""
    most = np.ceil(radius * np.linalg.norm(np.linalg.inv(vectors), axis=0)).astype(int)
    points = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), axis=-1).reshape(-1, 3)
    points = points @ vectors
    return points[np.linalg.norm(points, axis=1) <= radius]
