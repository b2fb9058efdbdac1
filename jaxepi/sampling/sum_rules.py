"""What force constants owe to the sameness of space: nothing happens where a crystal is moved or turned as a whole.

Flows in: force constants. Flows out: how far the rules are broken, and the nearest force constants that keep them. With
d = r_j + R - r_i, sums over atoms j and cells R, each pair at its shortest images as in `phonons`:

    acoustic (translations)     sum Phi_ia,jb = 0
    Born and Huang (rotations)  sum (Phi_ia,jb d_c - Phi_ia,jc d_b) = 0            at vanishing forces
    Huang (elasticity)          [ab, cd] = [cd, ab],  [ab, cd] = sum_i Phi_ia,jb d_c d_d        at vanishing stress

Born and Huang, Dynamical Theory of Crystal Lattices (1954), sections 23 and 27; Lin, Ponce and Marzari, npj Comput. Mater. 8,
236 (2022). Of a polar crystal the rotational ones are those of the force constants without the dipole-dipole part.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi import html
from jaxepi.sampling.force_constants import ForceConstants, symmetric
from jaxepi.sampling.phonons import Images, images_of, short_ranged
from jaxepi.tree import replace


class SumRules(NamedTuple):
    """Largest violations: acoustic (eV/angstrom^2), rotational (Born and Huang's, eV/angstrom) and Huang's (eV a cell)."""

    acoustic: Float[Array, ""]
    rotational: Float[Array, ""]
    huang: Float[Array, ""]

    def _repr_html_(self) -> str:
        units = {"acoustic": "eV/angstrom^2", "rotational": "eV/angstrom", "huang": "eV"}
        return html.table(
            "Sum rules, broken by", [(f"{n} ({u})", f"{float(getattr(self, n)):.2e}") for n, u in units.items()]
        )


def sum_rules(fc: ForceConstants, images: Images | None = None) -> SumRules:
    """How far force constants break the sum rules.

    Args:
        images: `images_of(fc)`; needed when the force constants are traced.
    """
    images = images_of(fc) if images is None else images
    return SumRules(*_largest(fc, images))


def with_sum_rules(fc: ForceConstants, rotational: bool = True, images: Images | None = None) -> ForceConstants:
    """The nearest force constants (least sum of squares of the change) that keep the sum rules, and the crystal's symmetry.

    Meant for a crystal at rest, without stress: the rotational rules hold there alone.

    Args:
        rotational: those of Born and Huang, and of Huang, too; the acoustic one alone otherwise.
        images: as of `sum_rules`.
    """
    images = images_of(fc) if images is None else images
    return replace(fc, matrix=fc.matrix + _correction(fc, images, rotational))


def _violations(fc: ForceConstants, matrix: Array, images: Images) -> tuple[Array, Array, Array]:
    """Left sides of the rules: shapes (b, 3, 3), (b, 3, 3) for pairs of directions b c, and (6, 6) for pairs ab, cd."""
    base = fc.base
    b = len(base)
    pair = jnp.asarray(images.pair)
    atom, other = pair // (matrix.shape[2] * b), pair % b
    apart = base.positions[other] - base.positions[atom] + jnp.asarray(images.translation, matrix.dtype) @ base.cell
    shares = jnp.asarray(images.share, matrix.dtype)
    blocks = jnp.transpose(matrix, (0, 2, 3, 1, 4)).reshape(-1, 3, 3)[pair] * shares[:, None, None]
    acoustic = jax.ops.segment_sum(blocks, atom, b)
    first = jax.ops.segment_sum(jnp.einsum("pab,pc->pabc", blocks, apart), atom, b)
    turned = first - jnp.swapaxes(first, 2, 3)
    second = jnp.einsum("pab,pc,pd->abcd", blocks, apart, apart)
    rows, columns = jnp.array([0, 1, 2, 1, 0, 0]), jnp.array([0, 1, 2, 2, 2, 1])
    voigt = second[rows, columns][:, rows, columns]
    return acoustic, turned[:, :, jnp.array([0, 0, 1]), jnp.array([1, 2, 2])], voigt - voigt.T


@jax.jit
def _largest(fc: ForceConstants, images: Images) -> tuple[Array, ...]:
    return tuple(jnp.abs(part).max() for part in _violations(fc, short_ranged(fc, images), images))


@partial(jax.jit, static_argnames="rotational")
def _correction(fc: ForceConstants, images: Images, rotational: bool) -> Array:
    def rules(matrix: Array) -> Array:
        parts = _violations(fc, symmetric(matrix, fc.supercell.repeats), images)
        return jnp.concatenate([part.ravel() for part in parts[: 3 if rotational else 1]])

    short = short_ranged(fc, images)
    rows = jax.jacrev(rules)(jnp.zeros_like(short))
    rows = rows.reshape(len(rows), -1)
    size = jnp.linalg.norm(rows, axis=1)
    kept = size > 1e-6
    rows = jnp.where(kept[:, None], rows / jnp.where(kept, size, 1.0)[:, None], 0.0)
    broken = jnp.where(kept, rules(short) / jnp.where(kept, size, 1.0), 0.0)
    # Rules that follow from others, or that symmetry keeps, have no row of their own.
    smallest = 0.1 * float(jnp.finfo(short.dtype).eps) ** 0.5
    needed = jnp.linalg.pinv(rows @ rows.T, rtol=smallest, hermitian=True) @ broken
    change = -(needed @ rows).reshape(short.shape)
    return change + symmetric(short, fc.supercell.repeats) - short
