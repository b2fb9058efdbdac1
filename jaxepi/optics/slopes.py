"""Binned transitions and their derivative along one direction in the space of H and W, in one pass.

`transition_histogram` has a reverse rule: the derivatives of one number by everything. Here is the other direction: the
derivatives of all bins by one number, such as the temperature, of which H and W = -i dH/dk are functions. First-order
perturbation theory moves the states; inside a set of degenerate ones the divided difference [h(E_c - E_v) - h(E_d - E_v)]/
(E_c - E_d) tends to h', so that terms among them go to the bins by the slopes of the bins' weights:

    dF = sum_cv h(E_cv) 2 Re <x_cv | dx_cv> + h'(E_cv) Re <x_cv | y_cv>,   h(E) = phi(E)/E^2,   E_cv = E_c - E_v

y_cv = sum_{d near c} dH_cd x_dv - sum_{u near v} x_cu dH_uv, with the diagonal, which moves the transition energy.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.linalg import alike, degeneracy_tolerance, hermitian
from jaxepi.optics.broadening import Broadening, EnergyGrid, PhotonEnergies
from jaxepi.optics.dielectric import Transitions
from jaxepi.optics.transitions import SMALLEST_GAP, VOIGT, Operator, check_occupied, deposit
from jaxepi.sampling import averages
from jaxepi.tree import field, pytree, replace, stored


def transition_slopes(
    h: Inexact[Array, "k N N"],
    w: Operator,
    dh: Inexact[Array, "k N N"],
    dw: Operator,
    weights: Float[Array, " k"],
    occupied: int,
    grid: EnergyGrid,
    tensor: bool = True,
) -> tuple[Float[Array, "p bins"], Float[Array, "p bins"], Float[Array, "k N"]]:
    """Squared dipoles of all filled-to-empty transitions, binned by energy, and their derivative; and the eigenvalues.

    Args:
        h, w, weights, occupied, grid, tensor: as of `transition_histogram`. dh, dw: derivatives of h and w by one number.

    Returns:
        Squared dipoles a bin, angstrom^2; their derivative by that number; eigenvalues, eV, ascending.

    Raises:
        InputError: no filled or no empty state, or a derivative of these derivatives: terms of degenerate states are missing.
    """
    check_occupied(occupied, h.shape[-1])
    h = _once(h)
    weights = jnp.asarray(weights, h.real.dtype)
    e, gap, strengths, changes, steep = jax.vmap(partial(_at, occupied, tensor))(h, w, dh, dw)

    def weighted(values: Array) -> Array:
        return jnp.moveaxis(values * weights[:, None, None, None], 0, 1)

    histogram = deposit(grid, gap, weighted(strengths))
    return histogram, deposit(grid, gap, weighted(changes), weighted(steep)), e


@jax.custom_jvp
def _once(h: Array) -> Array:
    return h


@_once.defjvp
def _once_jvp(primals, tangents):
    raise InputError(
        "slopes of transitions are derivatives, and are not differentiated again; differentiate Transitions"
    )


def _at(occupied: int, tensor: bool, h: Array, w: Operator, dh: Array, dw: Operator):
    """At one k: eigenvalues, transition energies, squared dipoles, and what goes to the bins for the derivative."""
    e, u = jnp.linalg.eigh(h)
    filled, empty = u[:, :occupied], u[:, occupied:]
    turned = u.conj().T @ hermitian(dh) @ u
    moved_filled = w.apply(filled)
    x = _between(empty, moved_filled)
    gap = e[occupied:, None] - e[None, :occupied]
    allowed = gap > SMALLEST_GAP
    inverse = jnp.where(allowed, 1 / jnp.where(allowed, gap, 1.0), 0.0)
    across = -turned[occupied:, :occupied] * inverse.astype(turned.dtype)
    dx = _between(empty, dw.apply(filled)) + _between(empty, w.apply(empty @ across))
    dx = dx - _between(filled @ across.conj().T, moved_filled)
    rotated, kept = zip(*(_inside(e[s], turned[s, s]) for s in (slice(occupied, None), slice(occupied))), strict=True)
    # du_c = sum_d u_d dH_dc/(E_c - E_d); likewise of the filled.
    dx = dx + jnp.einsum("cd,adv->acv", rotated[0], x) - jnp.einsum("acu,uv->acv", x, rotated[1])
    y = jnp.einsum("cd,adv->acv", kept[0], x) - jnp.einsum("acu,uv->acv", x, kept[1])
    strengths, steep = (_contracted(tensor, x, other) * inverse[None] ** 2 for other in (x, y))
    changes = 2 * _contracted(tensor, x, dx) * inverse[None] ** 2 - 2 * steep * inverse[None]
    return e, gap, strengths, changes, steep


def _between(left: Inexact[Array, "N c"], right: Inexact[Array, "3 N v"]) -> Inexact[Array, "3 c v"]:
    """<left|right> of each direction."""
    left, right = alike(left, right)
    return jnp.einsum("nc,anv->acv", left.conj(), right)


def _inside(e: Float[Array, " m"], turned: Inexact[Array, "m m"]) -> tuple[Array, Array]:
    """Among one set of states: dH_cd/(E_c - E_d) of those apart, and dH_cd of those that coincide."""
    apart = e[:, None] - e[None, :]
    near = jnp.abs(apart) < degeneracy_tolerance(e)
    return (
        jnp.where(near, 0, turned / jnp.where(near, 1, apart).astype(turned.dtype)),
        jnp.where(near, turned, 0),
    )


def _contracted(tensor: bool, x: Inexact[Array, "3 c v"], y: Inexact[Array, "3 c v"]) -> Float[Array, "p c v"]:
    """Re conj(x_a) y_b, symmetrised in Voigt order, or its mean over directions."""
    if not tensor:
        return (x.conj() * y).real.mean(axis=0, keepdims=True)
    return jnp.stack([0.5 * (x[a].conj() * y[b] + x[b].conj() * y[a]).real for a, b in VOIGT])


@stored
@pytree
class SpectrumSlope:
    """Derivative of a dielectric function by temperature, one tensor a snapshot, as `Spectrum` holds the function itself.

    Attributes:
        energies: photon energies, eV, shape (w,). eps1, eps2: 1/K, shape (s, w, 3, 3) or (s, w, 1, 1).
        weights: of the snapshots.
    """

    energies: Float[Array, " w"] = field(unit="eV")
    eps1: Float[Array, "s w a a"] = field(unit="1/K")
    eps2: Float[Array, "s w a a"] = field(unit="1/K")
    weights: Float[Array, "s"] | None = field(unit="1", default=None)

    @jax.jit
    def mean(self) -> tuple[Float[Array, " w"], Float[Array, " w"]]:
        """Derivative of the thermal average of the isotropic eps1 and eps2, 1/K."""
        return tuple(  # type: ignore[return-value]
            averages.mean(jnp.einsum("swaa->sw", e) / e.shape[-1], self.weights) for e in (self.eps1, self.eps2)
        )


def spectrum_slope(
    binned: Transitions,
    slopes: Float[Array, "s p bins"],
    energies: PhotonEnergies,
    broadening: Broadening,
    scissor: float | Array = 0.0,
) -> SpectrumSlope:
    """Derivative of `binned.spectrum(...)`, whose histogram has these derivatives by temperature (eV/K).

    Raises:
        InputError: what `Transitions.spectrum` refuses.
    """
    found = replace(binned, histogram=slopes).spectrum(energies, broadening, scissor)
    # eps1 is one and an integral of the histogram: the one has no derivative.
    identity = jnp.eye(found.eps1.shape[-1], dtype=found.eps1.dtype)
    return SpectrumSlope(found.energies, found.eps1 - identity[None, None], found.eps2, found.weights)
