"""The long-range field of polar crystals: Born effective charges and the dielectric tensor of the electrons.

Flows in: charges, dielectric tensor, a base cell. Flows out: the dipole-dipole part of the dynamical matrix, in reciprocal
space, after Gonze and Lee, Phys. Rev. B 55, 10355 (1997), eqs. 71 to 75, with Ewald's Gaussian and without the sum in real
space (what is left is short-ranged, and force constants are interpolated by it). Cutoff and width are those of phonopy, so
that the same files give the same frequencies between the wave vectors of a supercell.
"""

import os
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Array, Complex, Float

from jaxepi import symmetry
from jaxepi.datasets.born import Born, read_born
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree
from jaxepi.units import COULOMB

WAVES = 300
"""Reciprocal lattice vectors within the cutoff, about."""

_SMALLEST = 1e-10
"""The Gaussian at the cutoff."""

_AT_GAMMA = 1e-5
"""1/angstrom, without 2 pi: wave vectors shorter than this have no direction of their own."""

NEUTRAL = 0.1
"""Elementary charges an atom: charges that sum to more than this belong to another crystal, or stand in another order."""

ROUNDING = 0.01
"""Elementary charges an atom that calculations leave: beyond, their correction is worth a word."""


@pytree
class Polar:
    """What makes a crystal polar.

    Attributes:
        charges: Born effective charges Z of the atoms of the base cell, elementary charges, shape (b, 3, 3): field (or
            polarisation) direction, then displacement.
        dielectric: tensor of the electrons alone, atoms at rest (eps_infinity), shape (3, 3).
    """

    charges: Float[Array, "b 3 3"] = field(unit="e")
    dielectric: Float[Array, "3 3"] = field(unit="1")


def checked(charges, dielectric, base: Structure, name: str) -> tuple[Polar, float]:
    """Charges made neutral, and how far they were from it (elementary charges an atom, largest component).

    Args:
        charges: shape (b, 3, 3), in the order of `base`. name: of where they come from, for messages.

    Raises:
        InputError: shapes that do not fit, values that make no sense, charges that do not sum to zero or that the crystal's
            symmetry forbids; says by how much.
    """
    z, eps = np.asarray(charges, dtype=float), np.asarray(dielectric, dtype=float)
    b, symbols = len(base), ", ".join(base.to_ase().get_chemical_symbols()[:12])
    if z.shape != (b, 3, 3) or eps.shape != (3, 3):
        raise InputError(
            f"{name}: charges of shape {z.shape} and a dielectric tensor of shape {eps.shape}; the cell has {b} atoms "
            f"({symbols}): give ({b}, 3, 3) and (3, 3)"
        )
    if not (np.isfinite(z).all() and np.isfinite(eps).all()):
        raise InputError(f"{name}: NaN or infinity among charges or dielectric tensor")
    if np.abs(eps - eps.T).max() > 1e-3 * np.abs(eps).max() or np.linalg.eigvalsh(eps)[0] < 1:
        raise InputError(
            f"{name}: the dielectric tensor of the electrons is symmetric with eigenvalues of one or more, this one is "
            f"{np.array2string(eps, precision=3).replace(chr(10), '')}"
        )
    off = float(np.abs(z.sum(axis=0)).max()) / b
    if off > NEUTRAL:
        raise InputError(
            f"{name}: the charges of {symbols} sum to {b * off:.3f} elementary charges, not to zero ({off:.3f} an atom; "
            f"accepted: {NEUTRAL:g}): they belong to another crystal, or stand in another order than these atoms"
        )
    neutral = z - z.mean(axis=0)
    _refuse_asymmetry(neutral, base, name)
    return Polar(jnp.asarray(neutral), jnp.asarray(0.5 * (eps + eps.T))), off


def _refuse_asymmetry(charges: np.ndarray, base: Structure, name: str) -> None:
    """Refuse charges that operations of the crystal do not turn into each other."""
    group, images = _images(base)
    turned = group.cartesian[:, None] @ charges @ np.swapaxes(group.cartesian, 1, 2)[:, None]
    away = np.abs(turned - charges[images]).max(axis=(0, 2, 3))
    if away.max() > NEUTRAL:
        atom = int(away.argmax())
        raise InputError(
            f"{name}: the charge of atom {atom} ({base.to_ase().symbols[atom]}) changes by {away[atom]:.3f} elementary charges "
            "under operations that leave the crystal as it is: the charges stand in another order, or in another "
            "orientation, than the atoms"
        )


def _images(base: Structure) -> tuple[symmetry.Operations, np.ndarray]:
    """The space group, and the atom that each operation moves each atom to, shape (g, b)."""
    group = symmetry.operations(base)
    fractional = np.asarray(base.positions, dtype=float) @ np.linalg.inv(np.asarray(base.cell, dtype=float))
    moved = np.einsum("gab,nb->gna", group.rotations, fractional) + group.translations[:, None]
    between = moved[:, :, None] - fractional
    return group, np.linalg.norm(between - np.rint(between), axis=-1).argmin(axis=-1)


def of_file(path: str | os.PathLike, base: Structure) -> Polar:
    """Charges of the atoms of a cell from a BORN file.

    Raises:
        InputError: as `from_born` and `checked`.
    """
    found, off = from_born(read_born(path), base, str(path))
    note_excess(str(path), off, len(base))
    return found


def note_excess(name: str, each: float, atoms: int) -> None:
    """Warn of charges whose sum, so many elementary charges an atom, is not zero by more than `ROUNDING`."""
    if each > ROUNDING:
        warnings.warn(
            f"{name}: the charges sum to {atoms * each:.3f} elementary charges ({each:.3f} an atom); the excess is shared "
            "equally and taken off",
            stacklevel=4,
        )


def from_born(born: Born, base: Structure, name: str) -> tuple[Polar, float]:
    """Charges of all atoms of a cell from a BORN file, which lists those that symmetry makes others of, or all.

    Raises:
        InputError: another number of charges (names the atoms that are needed), or what `checked` refuses.
    """
    group, images = _images(base)
    first = images.min(axis=0)
    independent = np.unique(first)
    symbols = base.to_ase().get_chemical_symbols()
    if len(born.charges) == len(base):
        return checked(born.charges, born.dielectric, base, name)
    if len(born.charges) != len(independent):
        needed = ", ".join(f"{symbols[i]} (atom {i})" for i in independent)
        raise InputError(
            f"{name} has {len(born.charges)} charges; this crystal needs those of {needed}, in this order, or of all "
            f"{len(base)} atoms"
        )
    charges = np.zeros((len(base), 3, 3))
    for atom, parent in enumerate(first):
        g = int(np.flatnonzero(images[:, parent] == atom)[0])
        rotation = group.cartesian[g]
        charges[atom] = rotation @ born.charges[int(np.searchsorted(independent, parent))] @ rotation.T
    return checked(charges, born.dielectric, base, name)


class Waves(NamedTuple):
    """Reciprocal lattice vectors of the dipole-dipole sum, found on the host.

    Attributes:
        integers: within `cutoff` of zero, shape (g, 3). reduced: short reciprocal vectors, in those of the cell, shape (3, 3).
    """

    integers: np.ndarray | Array
    reduced: np.ndarray | Array

    def near(self, q: Float[Array, "*k 3"]) -> Float[Array, "*k 3"]:
        """The same wave vectors close to zero, to which the truncated sum belongs."""
        reduced = jnp.asarray(self.reduced, q.dtype)
        return q - jax.lax.stop_gradient(jnp.round(q @ jnp.linalg.inv(reduced))) @ reduced


def waves(base: Structure) -> Waves:
    """Reciprocal lattice vectors of the sum, on the host."""
    inverse = np.linalg.inv(np.asarray(base.cell, dtype=float))
    cut = float(cutoff(base.volume))
    # |G| is at least |component| times the distance of the lattice planes.
    reach = np.ceil(cut * np.linalg.norm(np.asarray(base.cell, dtype=float), axis=1)).astype(int)
    grid = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach
    reduced = np.rint(minkowski_reduce(inverse.T)[0] @ np.linalg.inv(inverse.T))
    return Waves(grid[((grid @ inverse.T) ** 2).sum(axis=1) < cut**2], reduced)


def cutoff(volume):
    """Radius of a sphere that holds about `WAVES` reciprocal lattice vectors, 1/angstrom without 2 pi."""
    return (3 * WAVES / (4 * jnp.pi * volume)) ** (1 / 3)


def dipole_dipole(
    polar: Polar,
    base: Structure,
    q: Float[Array, "3"],
    waves: Waves,
    direction: Float[Array, "3"] | None = None,
) -> Complex[Array, "b 3 b 3"]:
    """The dipole-dipole part of the force constants at a wave vector, eV/angstrom^2, in the cell gauge. Pure.

    Args:
        q: fractional of the base cell's reciprocal vectors. waves: `waves(base)`.
        direction: fractional, along which q comes to Gamma; without it, or with zero, Gamma itself has no macroscopic
            field, and no non-analytic term.
    """
    inverse = jnp.linalg.inv(base.cell)
    width = cutoff(base.volume) ** 2 * jnp.trace(polar.dielectric) / 3 / -np.log(_SMALLEST)
    g = jnp.asarray(waves.integers, q.dtype) @ inverse.T
    start = waves.near(q) @ inverse.T

    def tensors(k):
        """k k/(k eps k) with Ewald's Gaussian, zero at k = 0."""
        length = jnp.einsum("ga,ab,gb->g", k, polar.dielectric, k)
        away = jnp.sum(k * k, axis=1) > _AT_GAMMA**2
        safe = jnp.where(away, length, 1.0)
        return jnp.where(away, jnp.exp(-safe / width) / safe, 0.0)[:, None, None] * k[:, :, None] * k[:, None, :]

    def charged(field, phase):
        found = jnp.einsum("gab,gij->iajb", field.astype(phase.dtype), phase)
        z = polar.charges.astype(phase.dtype)
        scale = 4 * jnp.pi * COULOMB / base.volume
        return jnp.einsum("iac,iajb,jbd->icjd", z, found, z) * scale.astype(phase.dtype)

    between = base.positions[:, None] - base.positions[None]
    angle = 2 * jnp.pi * jnp.einsum("ga,ija->gij", g, between)
    phase = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    field = tensors(g + start[None])
    if direction is not None:
        along = direction @ inverse.T
        length = along @ polar.dielectric @ along
        macroscopic = along[:, None] * along[None] / jnp.where(length > 0, length, 1.0)
        centre = jnp.all(waves.integers == 0, axis=1) & (jnp.sum(start**2) <= _AT_GAMMA**2)
        field = field + jnp.where(centre[:, None, None], macroscopic[None], 0.0)
    gauge = 2 * jnp.pi * (between @ start)
    moved = charged(field, phase) * jax.lax.complex(jnp.cos(gauge), jnp.sin(gauge))[:, None, :, None]
    # The acoustic sum rule: what the field of a lattice that moves as a whole does to each atom.
    rest = charged(tensors(g), phase).sum(axis=2)
    rest = 0.5 * (rest + jnp.conj(jnp.swapaxes(rest, 1, 2)))
    atoms = jnp.arange(len(base))
    return moved.at[atoms, :, atoms, :].add(-rest)
