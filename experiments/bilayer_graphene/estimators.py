"""Three ways to read a velocity from snapshots: sorted bands, the unfolded Green's function, a fit of the k.p model.

Energies stand at distances kappa from K. Everything is made for the average over all pairs of snapshots, and again for each
average that leaves out one pair, whose scatter is the error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import epi
from jaxepi.errors import InputError

WINDOWS = ((0.02, 0.05), (0.03, 0.1), (0.05, 0.15), (0.1, 0.2))
"""1/angstrom. The first one is narrower than where two layers have linear bands."""

FIT = (0.05, 0.2)
"""Window of the table of all k.p parameters."""

CONVERGED, MISS = 1e-4, 0.1
"""Of a fit, eV: how far its last step may move an energy, and how far an energy may lie from the model's."""


class Change(NamedTuple):
    """Relative change of a velocity, and its standard error."""

    value: float
    error: float

    def percent(self) -> str:
        """Both, in percent."""
        return f"{100 * self.value:+.1f} +- {100 * self.error:.1f}"


def jackknife(whole: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Standard error from values that leave out one of each group, the first axis."""
    count = len(left_out)
    return np.sqrt((count - 1) / count * np.sum(np.abs(left_out - whole) ** 2, axis=0))


def averages(values: np.ndarray) -> np.ndarray:
    """Mean over pairs, the first axis, and behind it all means that leave out one pair."""
    total = values.sum(axis=0)
    return np.concatenate([total[None] / len(values), (total - values) / (len(values) - 1)])


def change(velocities: np.ndarray, rest: float) -> Change:
    """Of velocities of all averages, against that at rest."""
    relative = velocities / rest - 1
    return Change(float(relative[0]), float(jackknife(relative[0], relative[1:])))


def self_energies(green: np.ndarray, rest: tuple[np.ndarray, np.ndarray], eta: float) -> np.ndarray:
    """Sigma at the energy of each band at rest, eV, shape (averages, k, band, o, o).

    Args:
        green: averages of P^+ (E + i eta - H)^-1 P at those energies, the same shape. rest: energies and states at rest.
    """
    e, u = rest
    bare = np.einsum("kon,kn,kpn->kop", u, e, u.conj())
    z = (e + 1j * eta)[:, :, None, None] * np.eye(e.shape[1])
    return (z - bare[:, None])[None] - np.linalg.inv(green)


def shifted(sigma: np.ndarray, rest: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """E_n + Re <n|Sigma(E_n)|n>, eV, shape (averages, k, band)."""
    e, u = rest
    return e + np.einsum("kon,aknop,kpn->akn", u.conj(), sigma, u).real


def dressed(sigma: np.ndarray, rest: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Real parts of the eigenvalues of H0 + Sigma(E_n), of each the nth, eV, shape (averages, k, band)."""
    e, u = rest
    bare = np.einsum("kon,kn,kpn->kop", u, e, u.conj())
    found = np.sort(np.linalg.eigvals(bare[None, :, None] + sigma).real, axis=-1)
    return np.einsum("aknn->akn", found)


def half_splitting(energies: np.ndarray, dirac: tuple[int, int]) -> np.ndarray:
    """Half the distance of the two bands next to the Dirac point, eV, shape (..., k)."""
    return (energies[..., dirac[1]] - energies[..., dirac[0]]) / 2


def slopes(kappas: np.ndarray, energies: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Of the line of least squares, eV angstrom."""
    return np.asarray(epi.velocity(kappas, jnp.asarray(energies), window))


# The k.p model


NAMES = {2: ("E0", "curvature", "v"), 4: ("E0", "curvature", "v", "gamma1", "v3", "v4", "dimer")}
"""Parameters of one and of two layers: eV, eV angstrom^2, eV angstrom."""


def bands(parameters, kappas, phi: float, a: float):
    """Energies of one or of two layers next to K, eV, shape (k, 2 or 4).

    The Hamiltonian is that of McCann and Koshino, Rep. Prog. Phys. 76, 056503 (2013).
    v, v3 and v4 stand for the hoppings within a layer, between sites without a partner above, and between sites of different
    kind; `dimer` for the energy of sites that have a partner. Bands warp in each layer by what first neighbours make of it,
    -v a/(4 sqrt 3) kappa^2.

    Args:
        phi: radian between k - K and the line from Gamma to K. a: lattice constant, angstrom.
    """
    pi = kappas * jnp.exp(1j * phi)
    zero = jnp.zeros_like(pi)
    e0, curvature, v = parameters[:3]
    hop = v * (pi.conj() - a / (4 * 3**0.5) * pi**2)
    common = e0 + curvature * kappas**2
    if len(parameters) == 3:
        rows = [[zero, hop], [hop.conj(), zero]]
    else:
        gamma, v3, v4, dimer = (x + zero for x in parameters[3:])
        skew, fourth = v3 * pi, -v4 * pi.conj()
        rows = [
            [zero, hop, fourth, skew],
            [hop.conj(), dimer, gamma, fourth],
            [fourth.conj(), gamma, dimer, hop],
            [skew.conj(), fourth.conj(), hop.conj(), zero],
        ]
    h = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    return jnp.linalg.eigvalsh(h) + common[:, None]


@jax.jit
def _least_squares(start, x, y, phi, a):
    """Parameters of least squares (Gauss and Newton, damped), what they miss, how far the last step moved
    the energies, and how they follow the energies."""

    def miss(p):
        return (bands(p, x, phi, a) - y).ravel()

    def jacobian(p):
        found = jax.jacfwd(miss)(p)
        normal = found.T @ found
        return found, normal + 1e-9 * jnp.trace(normal) * jnp.eye(len(p))

    def step(p, _):
        found, normal = jacobian(p)
        away = jnp.linalg.solve(normal, found.T @ miss(p))
        return p - away, jnp.abs(found @ away).max()

    p, moved = jax.lax.scan(step, start, None, length=30)
    found, normal = jacobian(p)
    return p, jnp.abs(miss(p)).max(), moved[-1], jnp.linalg.solve(normal, found.T)


def fitted(
    kappas: np.ndarray, energies: np.ndarray, window: tuple[float, float], phi: float, a: float
) -> tuple[np.ndarray, float]:
    """Parameters of least squares for each average, shape (averages, parameters), and the largest miss of the first, eV.

    The first average is fitted; the others, which differ little, follow to first order.

    Raises:
        InputError: the fit does not settle (`CONVERGED`), or misses an energy by more than `MISS`.
    """
    inside = (kappas >= window[0]) & (kappas <= window[1])
    y = energies[:, inside]
    middle = float(np.mean(y[0]))
    start = [middle, 0.0, 5.5] if y.shape[-1] == 2 else [middle, 0.0, 5.5, 0.4, -0.4, 0.3, 0.01]
    p, miss, moved, follows = _least_squares(jnp.asarray(start), jnp.asarray(kappas[inside]), jnp.asarray(y[0]), phi, a)
    if not (moved <= CONVERGED and miss <= MISS):  # not a number is refused as well
        raise InputError(
            f"fit of the k.p model from {window[0]:g} to {window[1]:g} 1/angstrom: it misses an energy by {miss:.2g} eV "
            f"(at most {MISS:g}) and its last step moved one by {moved:.2g} eV (at most {CONVERGED:g}); take more snapshots or "
            "a wider window"
        )
    away = (y - y[0]).reshape(len(y), -1)
    return np.asarray(p) + away @ np.asarray(follows).T, float(miss)
