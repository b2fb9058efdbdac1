"""Phonon energies in the indirect tail: each mode's part of a thermal spectrum, shifted by its quantum.

An average over snapshots (Williams-Lax) is adiabatic: it absorbs at E what a process with absorption (emission) of a phonon
absorbs at E - (+) hbar w. To second order in the displacements the spectrum is that at rest and a sum over modes,
a_nu = <Q_nu^2>/2 d2 eps2/dQ_nu^2, and the quantum is put back mode by mode,

    eps2(E) -> eps2(E) + sum_nu { [n_nu a_nu(E + w_nu) + (n_nu + 1) a_nu(E - w_nu)]/(2 n_nu + 1) - a_nu(E) }

a_nu is the mean of eps2 over +- one standard deviation of the mode, less that at rest: odd orders cancel, and the shift of the
gap by one mode alone is of the order of 1/N.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.optics.broadening import Broadening, PhotonEnergies, photon_energies
from jaxepi.optics.dielectric import transitions
from jaxepi.sampling import ForceConstants, Snapshots
from jaxepi.sampling.harmonic import in_kelvin, refuse_imaginary, variance
from jaxepi.sampling.modes import modes_of
from jaxepi.sampling.vibrations import occupation, quantum
from jaxepi.tree import field, pytree, stored

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

    def applied(self, eps2: Float[Array, " w"]) -> Float[Array, " w"]:
        """A thermal average of eps2 at the same energies, with phonon energies."""
        return eps2 + self.shifted().sum(axis=0) - self.parts.sum(axis=0)


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
