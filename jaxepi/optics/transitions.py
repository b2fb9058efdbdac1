"""The spectral function of dipole transitions, with derivatives that are right at degeneracies.

    F_p(bin) = sum_{c empty, v filled} phi_bin(E_c - E_v) C_p^ab Re[conj(X^a_cv) X^b_cv] / (E_c - E_v)^2,   X^a = <c|W^a|v>

with H Hermitian and W^a = -i dH/dk_a anti-Hermitian (real where H is real). phi are the bin weights. Eigenvectors are not
differentiable where eigenvalues coincide, but F is: its reverse rule uses divided differences of h(E) = phi(E)/E^2 inside
the filled and inside the empty set, h' in their degenerate limit, and the gap as the denominator between the sets. It
costs a few matrix products and one diagonalisation, shared with the forward pass.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.linalg import degeneracy_tolerance
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.tree import pytree, replace, static

PAIR_CHUNK = 1 << 18
"""Transitions deposited in one scatter: bounds the memory of weights and indices."""

SMALLEST_GAP = 1e-6
"""Transitions below this energy (eV) are left out; 1/E^2 has no limit there."""


@pytree
class EdgeOperator:
    """Three matrices W^a (a = x, y, z) that are sparse: one block an edge of the graph.

    Attributes:
        blocks: shape (3, n, most, o, o), or stacked over k, by atom and slot of its neighbour table; zero where padded.
        receivers: neighbour atom of each slot, shape (n, most).
        index: global orbital of each block entry, shape (n, o); past the last orbital where padded.
        size: number of orbitals (static).
    """

    blocks: Inexact[Array, "*k 3 n most o o"]
    receivers: Array
    index: Array
    size: int = static()

    def _rows(self, vectors: Inexact[Array, "N m"]) -> Array:
        return vectors.at[self.index].get(mode="fill", fill_value=0)

    def apply(self, vectors: Inexact[Array, "N m"]) -> Inexact[Array, "3 N m"]:
        """W^a times vectors, slot by slot of the neighbour table."""
        rows = self._rows(vectors)

        def add(total, slot):
            blocks, receivers = slot
            return total + jnp.einsum("anij,njm->anim", blocks, rows[receivers]), None

        start = jnp.zeros((3, *rows.shape), np.result_type(self.blocks.dtype, vectors.dtype))
        total, _ = jax.lax.scan(add, start, (jnp.moveaxis(self.blocks, 2, 0), self.receivers.T))
        flat = jnp.zeros((3, self.size, vectors.shape[1]), total.dtype)
        return flat.at[:, self.index.reshape(-1)].add(total.reshape(3, -1, vectors.shape[1]), mode="drop")

    def cotangent(self, left: Inexact[Array, "3 N m"], right: Inexact[Array, "N m"]) -> Array:
        """The entries of left @ right^T where the operator has blocks, as its `blocks`."""
        outer = jax.vmap(self._rows)(left)
        inner = self._rows(right)

        def slot(receivers):
            return jnp.einsum("anim,njm->anij", outer, inner[receivers])

        return jnp.moveaxis(jax.lax.map(slot, self.receivers.T), 0, 2)


@pytree
class DenseOperator:
    """Three dense matrices W^a, for non-orthogonal bases (Loewdin-transformed velocities are not sparse)."""

    blocks: Inexact[Array, "*k 3 N N"]

    def apply(self, vectors: Inexact[Array, "N m"]) -> Inexact[Array, "3 N m"]:
        """W^a times vectors."""
        return self.blocks @ vectors

    def cotangent(self, left: Inexact[Array, "3 N m"], right: Inexact[Array, "N m"]) -> Array:
        """left @ right^T."""
        return left @ right.T


Operator = EdgeOperator | DenseOperator


class Components(NamedTuple):
    """Which contractions C_p^ab of the transition tensor are kept, shape (p, 3, 3)."""

    weights: np.ndarray

    @classmethod
    def isotropic(cls) -> "Components":
        """The mean over directions."""
        return cls(np.eye(3)[None] / 3)

    @classmethod
    def tensor(cls) -> "Components":
        """xx, yy, zz, yz, xz, xy of the symmetric tensor (Voigt order)."""
        out = np.zeros((6, 3, 3))
        for p, (a, b) in enumerate(VOIGT):
            out[p, a, b] += 0.5
            out[p, b, a] += 0.5
        return cls(out)


VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def transition_histogram(
    h: Inexact[Array, "k N N"],
    w: Operator,
    weights: Float[Array, " k"],
    occupied: int,
    grid: EnergyGrid,
    tensor: bool = True,
) -> tuple[Float[Array, "p bins"], Float[Array, "k N"]]:
    """Squared dipoles |<c|r|v>|^2 of all filled-to-empty transitions, binned by energy; and the eigenvalues.

    Args:
        h: Hermitian H(k) in an orthonormal basis, eV, for some k points. w: -i dH/dk, eV angstrom, likewise stacked.
        weights: of the k points. occupied: filled states (static). grid: bins (static).
        tensor: six components in Voigt order, or one isotropic mean.

    Returns:
        Squared dipoles a bin, angstrom^2, shape (6 or 1, bins), summed over k with the weights, and eigenvalues, eV,
        ascending. Both are differentiable in reverse mode by h and w (weights are constants). Eigenvalues of a
        degenerate set must be summed before they are differentiated.

    Raises:
        InputError: no filled or no empty state.
    """
    check_occupied(occupied, h.shape[-1])
    weights = jnp.asarray(weights, h.real.dtype)
    return _histogram(occupied, grid, tensor, h, w, weights)


def check_occupied(occupied: int, states: int) -> None:
    """Refuse a number of filled states that leaves none filled or none empty."""
    if not 0 < occupied < states:
        raise InputError(f"{occupied} filled of {states} states: a transition needs a filled and an empty one")


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _histogram(occupied: int, grid: EnergyGrid, tensor: bool, h: Array, w: Operator, weights: Array):
    return _histogram_forward(occupied, grid, tensor, h, w, weights)[0]


def _components(tensor: bool) -> np.ndarray:
    return (Components.tensor() if tensor else Components.isotropic()).weights


def _dipoles(occupied: int, tensor: bool, h: Array, w: Operator):
    """States, transition energies and squared dipoles at one k point."""
    e, u = jnp.linalg.eigh(h)
    filled, empty = u[:, :occupied], u[:, occupied:]
    x = jnp.einsum("nc,anv->acv", empty.conj(), w.apply(filled))
    return e, u, x, *squared_dipoles(e, x, occupied, tensor)


def squared_dipoles(
    e: Float[Array, " n"], x: Inexact[Array, "3 c v"], occupied: int, tensor: bool
) -> tuple[Float[Array, "c v"], Float[Array, "p c v"]]:
    """Energies, eV, of transitions and their squared dipoles, angstrom^2, from <c|W|v>, eV angstrom."""
    gap = e[occupied:, None] - e[None, :occupied]
    if tensor:
        strengths = jnp.stack([(x[a].conj() * x[b]).real for a, b in VOIGT])
    else:
        strengths = (jnp.abs(x) ** 2).mean(axis=0, keepdims=True)
    allowed = gap > SMALLEST_GAP
    return gap, jnp.where(allowed[None], strengths / jnp.where(allowed, gap, 1.0)[None] ** 2, 0.0)


def _histogram_forward(occupied, grid, tensor, h, w, weights):
    e, u, x, gap, strengths = jax.vmap(partial(_dipoles, occupied, tensor))(h, w)
    weighted = jnp.moveaxis(strengths * weights[:, None, None, None], 0, 1)
    return (deposit(grid, gap, weighted), e), (e, u, x, w, weights)


def deposit(
    grid: EnergyGrid,
    energy: Float[Array, "..."],
    strengths: Float[Array, "p ..."],
    steep: Float[Array, "p ..."] | None = None,
) -> Float[Array, "p bins"]:
    """Add strengths at their energies to the bins, by chunks; energies beyond the grid are dropped.

    Args:
        steep: what goes to the bins by the derivatives of their weights by energy (1/eV), besides.
    """
    if steep is not None:
        return _deposit(grid, energy, jnp.concatenate([strengths, steep]), True)
    return _deposit(grid, energy, strengths, False)


def _deposit(grid: EnergyGrid, energy: Array, strengths: Array, steep: bool) -> Float[Array, "p bins"]:
    """`deposit`; with `steep`, the second half of the strengths is that."""
    energy, strengths = energy.reshape(-1), strengths.reshape(strengths.shape[0], -1)
    chunks = -(-energy.size // PAIR_CHUNK)
    width = -(-energy.size // chunks)
    padding = chunks * width - energy.size
    energy = jnp.pad(energy, (0, padding), constant_values=-10 * grid.step).reshape(chunks, width)
    strengths = jnp.pad(strengths, ((0, 0), (0, padding))).reshape(-1, chunks, width)
    components = len(strengths) // 2 if steep else len(strengths)

    def add(total, chunk):
        first, weights, slopes = grid.weights(chunk[0])
        nodes = first[:, None] + jnp.arange(4, dtype=first.dtype)[None]
        nodes = jnp.where((nodes >= 0) & (nodes < grid.count), nodes, grid.count)
        updates = weights[:, :, None] * chunk[1][:components].T[:, None, :]
        if steep:
            updates = updates + slopes[:, :, None] * chunk[1][components:].T[:, None, :]
        return total.at[nodes.reshape(-1)].add(updates.reshape(-1, components), mode="drop"), None

    start = jnp.zeros((grid.count, components), strengths.dtype)
    total, _ = jax.lax.scan(add, start, (energy, jnp.moveaxis(strengths, 1, 0)))
    return total.T


def _spectral_weight(grid: EnergyGrid, bins: Float[Array, "p bins"], gap: Array) -> tuple[Array, Array]:
    """h_p(E) = sum_bins phi(E) bins / E^2 and its derivative, for every transition; shapes (p, c, v)."""
    first, weights, slopes = grid.weights(gap)
    nodes = first[..., None] + jnp.arange(4, dtype=first.dtype).reshape((1,) * first.ndim + (4,))
    nodes = jnp.where(nodes < 0, grid.count, nodes)  # a negative index would wrap to the last bin
    values = bins.at[:, nodes].get(mode="fill", fill_value=0)
    allowed = gap > SMALLEST_GAP
    inverse = jnp.where(allowed, 1 / jnp.where(allowed, gap, 1.0), 0.0)
    phi, slope = (values * weights[None]).sum(-1), (values * slopes[None]).sum(-1)
    inverse = inverse[None]
    return phi * inverse**2, (slope - 2 * phi * inverse) * inverse**2


def _inside(e: Array, sums: Array, slopes: Array) -> Array:
    """Divided differences inside one set: sums/(E_m - E_n), slopes where the energies coincide."""
    gap = e[:, None] - e[None, :]
    near = jnp.abs(gap) < degeneracy_tolerance(e)
    return jnp.where(near, slopes, sums / jnp.where(near, 1, gap).astype(sums.dtype))


def _histogram_backward(occupied, grid, tensor, residuals, cotangents):
    e, u, x, w, weights = residuals
    bins, e_bar = cotangents

    def one(e, u, x, w, weight, e_bar):
        return _backward_one(occupied, grid, tensor, e, u, x, w, weight * bins, e_bar)

    h_bar, w_bar = jax.vmap(one)(e, u, x, w, weights, e_bar)
    if isinstance(w, EdgeOperator):
        w_bar = replace(w, blocks=w_bar, receivers=_no_tangent(w.receivers), index=_no_tangent(w.index))
    else:
        w_bar = DenseOperator(w_bar)
    return h_bar, w_bar, jnp.zeros_like(weights)


def _no_tangent(x: Array) -> Any:
    return np.zeros(x.shape, jax.dtypes.float0)


def _backward_one(occupied, grid, tensor, e, u, x, w, bins, e_bar):
    """Cotangents of H and of the operator's blocks at one k point, given those of the bins and eigenvalues."""
    filled, empty = u[:, :occupied], u[:, occupied:]
    gap = e[occupied:, None] - e[None, :occupied]
    h, slope = (part.astype(x.dtype) for part in _spectral_weight(grid, bins, gap))
    c = jnp.asarray(_components(tensor), x.dtype)
    hx = jnp.einsum("pcv,pab,acv->bcv", h, c, x)
    dx = jnp.einsum("pcv,pab,acv->bcv", slope, c, x)

    def over_filled(y):
        return jnp.einsum("acv,adv->cd", y.conj(), x)

    def over_empty(y):
        return jnp.einsum("acv,acu->vu", y.conj(), x)

    def hermitian(m):
        return 0.5 * (m + m.conj().T)

    def anti(m):
        return m - m.conj().T

    # dF = Re Tr(Y d) with d = U^+ dH U; the blocks of Y:
    among_empty = _inside(e[occupied:], anti(over_filled(hx)), hermitian(over_filled(dx))).T
    among_filled = _inside(e[:occupied], anti(over_empty(hx)), -hermitian(over_empty(dx)))
    g = 2 * hx
    wf, we = w.apply(filled), w.apply(empty)
    w_filled = jnp.einsum("nv,anu->avu", filled.conj(), wf)
    w_empty = jnp.einsum("nc,and->acd", empty.conj(), we)
    across = jnp.einsum("avu,acu->vc", w_filled, g.conj()) - jnp.einsum("adv,adc->vc", g.conj(), w_empty)
    allowed = gap > SMALLEST_GAP
    across = jnp.where(allowed.T, across / jnp.where(allowed.T, gap.T, 1.0).astype(across.dtype), 0.0)
    y_filled = jnp.concatenate([among_filled, across], axis=1)
    y_empty = jnp.concatenate([jnp.zeros_like(across.T), among_empty], axis=1)
    y = jnp.concatenate([y_filled, y_empty], axis=0) + jnp.diag(e_bar.astype(u.dtype))
    h_bar = u @ y @ u.conj().T
    h_bar = hermitian(h_bar).T
    # dF = Re Tr(G^+ U_c^+ dW U_v)
    w_bar = w.cotangent(jnp.einsum("nc,acv->anv", empty.conj(), g.conj()), filled)
    return h_bar, w_bar


_histogram.defvjp(_histogram_forward, _histogram_backward)
