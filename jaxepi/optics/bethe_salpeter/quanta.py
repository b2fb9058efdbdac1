"""Phonon energies in the indirect tail: each mode's part of a thermal spectrum, shifted by its quantum.

An average over snapshots (Williams-Lax) is adiabatic: it absorbs at E what a process with absorption (emission) of a phonon
absorbs at E - (+) hbar w. To second order in the displacements the spectrum is that at rest and a sum over modes,
a_nu = <Q_nu^2>/2 d2 eps2/dQ_nu^2, and the quantum is put back mode by mode,

    eps2(E) -> eps2(E) + sum_nu { [n_nu a_nu(E + w_nu) + (n_nu + 1) a_nu(E - w_nu)]/(2 n_nu + 1) - a_nu(E) }

(`ModeSpectra.shifted`). A thermal average beyond second order is shared out among the modes as the a_nu are, energy by energy,
and the shares are moved (`ModeSpectra.applied`).

`mode_spectra` takes a_nu as the mean of eps2 over +- one standard deviation of the mode, less that at rest: odd orders cancel,
and the shift of the gap by one mode alone is of the order of 1/N. `epi.assisted_absorption` sums them over wave vectors of the
primitive cell.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import known, number
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.optics.broadening import Broadening, PhotonEnergies, photon_energies
from jaxepi.optics.dielectric import transitions
from jaxepi.optics.kramers_kronig import kramers_kronig
from jaxepi.optics.spectrum import Spectrum
from jaxepi.sampling import ForceConstants, Snapshots
from jaxepi.sampling.harmonic import in_kelvin, refuse_imaginary, variance
from jaxepi.sampling.modes import modes_of
from jaxepi.sampling.vibrations import occupation, quantum
from jaxepi.tree import field, pytree, replace, stored

FAINTEST = 1e-9
"""Absorption of all modes, over its maximum, below which their shares are taken from the nearest energy."""

SOFTEST_EV = 1e-3
"""Modes below this quantum are translations, and others that are left where they are."""


@stored
@pytree
class ModeSpectra:
    """Parts of eps2 by mode, to second order.

    Attributes:
        energies: photon energies, eV, evenly spaced, shape (w,). parts: a_nu, shape (m, w). quanta: eV, shape (m,).
        temperature: kelvin.
    """

    energies: Float[Array, " w"] = field(unit="eV")
    parts: Float[Array, "m w"] = field(unit="1")
    quanta: Float[Array, " m"] = field(unit="eV")
    temperature: Float[Array, ""] | float = field(unit="K")

    def shifted(self) -> Float[Array, "m w"]:
        """The parts with absorption and emission of their quanta; nothing is known below the first energy."""
        quanta = self.quanta[:, None]
        n = occupation(quanta, jnp.asarray(self.temperature, quanta.dtype))

        def at(sign: float) -> Array:
            places = self.energies[None] + sign * quanta
            return jax.vmap(lambda x, y: jnp.interp(x, self.energies, y, left=0.0))(places, self.parts)

        return (n * at(1.0) + (n + 1) * at(-1.0)) / (2 * n + 1)

    def factor(self) -> Float[Array, " w"]:
        """Absorption with phonon energies over absorption without, of the modes together; one where they absorb nothing."""
        adiabatic, true = self.parts.sum(axis=0), self.shifted().sum(axis=0)
        some = adiabatic > 1e-12 * jnp.abs(adiabatic).max()
        return jnp.where(some, true / jnp.where(some, adiabatic, 1.0), 1.0)

    def shares(self) -> Float[Array, "m w"]:
        """Of each mode in what they absorb together; where they absorb nothing, as at the nearest energy where they do."""
        parts = jnp.maximum(self.parts, 0.0)
        total = parts.sum(axis=0)
        some = total > FAINTEST * total.max()
        place = jnp.arange(len(total))
        first, last = jnp.argmax(some), len(total) - 1 - jnp.argmax(some[::-1])
        nearest = jnp.clip(place, first, last)
        filled = jnp.where(some, total, 1.0)
        return jnp.where(some[None], parts / filled[None], 1 / len(parts))[:, nearest]

    def aligned(self, shift: float | Array) -> "ModeSpectra":
        """The same parts with all transitions higher by a shift, eV: of a gap that is not the one at rest."""
        places = self.energies - jnp.asarray(number("shift", shift, "eV"), self.energies.dtype)
        return replace(self, parts=jax.vmap(lambda y: jnp.interp(places, self.energies, y))(self.parts))

    def applied(self, eps2: Float[Array, "*s w"], direct: Float[Array, " w"] | float = 0.0) -> Float[Array, "*s w"]:
        """A thermal average of eps2 at the same energies, with phonon energies: linear in eps2, and never negative.

        What absorbs at an energy is shared out among the modes as it is to second order, and every share is moved by its
        quantum: to second order that moves each mode's part, and higher orders go with it.

        Args:
            direct: the share that needs no phonon and stays where it is, zero to one.
        """
        moving = (
            self.shares() * (1 - jnp.broadcast_to(jnp.asarray(direct, self.parts.dtype), self.energies.shape))[None]
        )

        def one(values: Array) -> Array:
            parts = moving * values[None]
            there = replace(self, parts=parts).shifted().sum(axis=0)
            return values - parts.sum(axis=0) + there

        flat = eps2.reshape(-1, eps2.shape[-1])
        return jax.lax.map(one, flat).reshape(eps2.shape)


def with_quanta(spectrum: Spectrum, modes: ModeSpectra, rest: Float[Array, " w"] | float = 0.0) -> Spectrum:
    """A thermal spectrum with the phonon energies that snapshots leave out; eps1 follows by Kramers-Kronig.

    Args:
        modes: parts at the same energies, evenly spaced, aligned with the gap of this spectrum. rest: eps2 of the lattice at
            rest, aligned likewise, which needs no phonon.

    Raises:
        InputError: parts at other energies.
    """
    ours, theirs = known(spectrum.energies), known(modes.energies)
    same = spectrum.energies.shape == modes.energies.shape
    if not same or (ours is not None and theirs is not None and not np.allclose(ours, theirs)):
        raise InputError("phonon energies: give parts at the energies of the spectrum")
    mean = spectrum.mean()[1]
    some = mean > 0
    direct = jnp.clip(jnp.where(some, rest / jnp.where(some, mean, 1.0), 0.0), 0.0, 1.0)
    eps2 = jnp.moveaxis(modes.applied(jnp.moveaxis(spectrum.eps2, 1, -1), direct), -1, 1)
    change = jnp.moveaxis(eps2 - spectrum.eps2, 1, -1)
    first = 1 if ours is not None and ours[0] <= 0 else 0
    back = kramers_kronig(spectrum.energies[first:], change[..., first:], spectrum.energies) - 1
    return replace(spectrum, eps1=spectrum.eps1 + jnp.moveaxis(back, -1, 1), eps2=eps2)


def mode_spectra(
    hamiltonian: Hamiltonian,
    constants: ForceConstants,
    temperature: float,
    energies: PhotonEnergies,
    broadening: Broadening,
    kmesh: int = 1,
    graph: Graph | None = None,
) -> ModeSpectra:
    """Parts of eps2 by mode of a supercell: two spectra of independent particles a mode.

    Args:
        constants: force constants of the supercell. energies: evenly spaced, from below the edge less the largest quantum.
        kmesh: of the supercell.

    Raises:
        InputError: energies that are not evenly spaced, unstable modes, a temperature below zero, and what `transitions`
            raises.
    """
    structure = constants.supercell
    energies = photon_energies(energies, structure.positions.dtype)
    steps = np.diff(np.asarray(energies))
    if len(steps) < 2 or not np.allclose(steps, steps[0]):
        raise InputError("energies of mode_spectra are evenly spaced, three at least: give jnp.linspace(...)")
    in_kelvin(temperature, "quantum", structure.positions.dtype)
    refuse_imaginary(constants, "these force constants")
    quanta, deviations = modes(constants, temperature)
    graph = hamiltonian.graph(structure) if graph is None else graph

    def spectrum(displacements: Array) -> Array:
        drawn = Snapshots(structure, structure.positions[None] + displacements, jnp.asarray(temperature, float))
        found = transitions(hamiltonian, drawn, kmesh, tensor=False, graph=graph)
        return found.spectrum(energies, broadening).eps2[:, :, 0, 0]

    rest = spectrum(jnp.zeros((1, *structure.positions.shape)))[0]
    parts = [spectrum(jnp.stack([u, -u])).mean(axis=0) - rest for u in deviations]
    return ModeSpectra(energies, jnp.stack(parts), quanta, jnp.asarray(temperature, float))


def modes(constants: ForceConstants, temperature: float) -> tuple[Float[Array, " m"], Float[Array, "m n 3"]]:
    """Quanta (eV) of a supercell's modes but the softest, and one standard deviation of each, angstrom; on the host."""
    known = modes_of(constants)
    quanta = np.asarray(quantum(jnp.maximum(jnp.asarray(known.eigenvalues), 0.0)))
    # Real modes: cosine and sine of each pair of wave vectors, cosine alone elsewhere.
    parts = np.array([(q, m, p) for q, m in np.argwhere(quanta > SOFTEST_EV) for p in range(1 + int(known.paired[q]))])
    q, m, part = parts.T
    spread = np.sqrt(np.asarray(variance(jnp.asarray(known.eigenvalues[q, m]), jnp.asarray(temperature, float))))
    amplitudes = np.zeros((len(parts), *quanta.shape), complex)
    amplitudes[np.arange(len(parts)), q, m] = np.where(part == 1, -1j, 1.0) * spread
    weight = np.asarray(constants.inverse_root_masses, float)[known.atom]
    return jnp.asarray(quanta[q, m]), jnp.asarray(known.field(amplitudes) * weight[None])
