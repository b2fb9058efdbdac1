"""Second-order renormalisation of levels by lattice vibrations: Fan and Debye-Waller terms by mode and wave vector.

With u the displacements of a mode at q, of thermal variance <|u|^2>, n a level at k and m states at k + q,

    adiabatic:  dE_n = sum_q { sum_m |<m| dH |n>|^2/(E_n - E_m) + <n| d2H |n>/2 }
    dynamic:    1/(E_n - E_m) of each quantum -> [(N+1-f_m)/(E_n - E_m - w) + (N+f_m)/(E_n - E_m + w)]/(2N+1)

both first derivatives exact at any q of the primitive cell (`stencils`), and so are the second: the Hessian of <n|H|n> has the
form of force constants, and is Fourier transformed as they are. Of a basis with overlap, H stands for S^(-1/2) H S^(-1/2); the
sum of both terms is that of E'' = c^+(H'' - E S'' - 2 E' S')c + 2 sum_m |c_m^+(H' - E S')c|^2/(E_n - E_m).

Flows in: electrons, force constants, a level, wave vectors. Flows out: energies, eV. A degenerate level is shifted as a whole,
by the mean over its states: what couples them with each other, or with equivalent states at other k, cancels in that mean.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxepi.electrons.edges import DEGENERACY
from jaxepi.epi.levels import Electrons, Level, States, states
from jaxepi.epi.stencils import COMFORTABLE, Stencil, narrow_graph, stencil
from jaxepi.epi.wave_vectors import refuse_masses
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import number, traced, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.bloch import phases
from jaxepi.kpoints import KPoints, fractional
from jaxepi.linalg import hermitian, in_eigenvectors, matrix_function, spectral_sum
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import VARIANCES, variance
from jaxepi.sampling.phonons import Images, images_of, interpolated, short_ranged, shortest_images
from jaxepi.sampling.snapshots import Statistics
from jaxepi.sampling.vibrations import occupation, quantum
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static
from jaxepi.units import thz_from_eigenvalue


@pytree
class Topology:
    """What is found on the host once for a crystal: `topology`.

    Attributes:
        graph: of the primitive cell. stencil: which blocks follow its atoms. images: of the force constants.
        pairs: graph of the container for second derivatives. container: its images. repeats: of it (static).
    """

    graph: Graph
    stencil: Stencil
    images: Images
    pairs: Graph
    container: Images
    repeats: tuple[int, int, int] = static()


def topology(hamiltonian: Hamiltonian, constants: ForceConstants, repeats: Any = None, second: Any = None) -> Topology:
    """What perturbation theory finds on the host, for functions that are then pure.

    Args:
        constants: force constants whose base cell is the primitive cell. repeats: of the container, as of `stencil`.
        second: repeats of the container of second derivatives: Debye-Waller terms are exact at its own wave vectors, and
            interpolated between them as force constants are. Left out, that of the first ones, or the largest one within it
            of at most `COMFORTABLE` atoms.

    Raises:
        InputError: a Hamiltonian that follows no displacements, elements without parameters, masses that are not positive,
            force constants that are traced, repeats that are not three whole numbers.
    """
    cell = constants.base
    if not traced(constants):
        refuse_masses(constants)
    found = stencil(hamiltonian, cell, repeats)
    counts = list(found.repeats) if second is None else [whole("second", n, 1) for n in second]
    if len(counts) != 3:
        raise InputError(f"second {second}: give three whole numbers")
    while second is None and max(counts) > 1 and len(cell) * math.prod(counts) > COMFORTABLE:
        counts[counts.index(max(counts))] -= 1
    repeats = counts[0], counts[1], counts[2]
    container = cell.supercell(repeats)
    pairs = found.graph if repeats == found.repeats else narrow_graph(hamiltonian, container)
    return Topology(hamiltonian.graph(cell), found, images_of(constants), pairs, shortest_images(container), repeats)


class Shift(NamedTuple):
    """The shift of a level, eV, in its two parts."""

    fan: Float[Array, "*t"]
    debye_waller: Float[Array, "*t"]

    @property
    def total(self) -> Float[Array, "*t"]:
        """Of both, eV."""
        return self.fan + self.debye_waller


@pytree
class Treatment:
    """How the electrons follow the nuclei.

    Attributes:
        broadening: eta in 1/(E + i eta), eV, of which the real part is taken; zero needs no state at k + q to have the energy
            of the level but those of the level itself.
        fermi: energy below which states are filled, eV; dynamic alone.
        dynamic: whether phonon energies stand in the denominators (static). statistics: of the nuclei (static).
    """

    broadening: Float[Array, ""] | float = 0.0
    fermi: Float[Array, ""] | float = 0.0
    dynamic: bool = static(default=False)
    statistics: Statistics = static(default="quantum")


def _reciprocal(gap: Array, eta: Array) -> Array:
    """Re 1/(gap + i eta); zero where both are: the level itself."""
    none = (eta == 0) & (jnp.abs(gap) < DEGENERACY)
    return gap / jnp.where(none, 1.0, gap**2 + eta**2) * jnp.where(none, 0.0, 1.0)


def _adiabatic(e_m, eigenvalue, e_n, temperature, eta, _):
    return variance(eigenvalue, temperature) * _reciprocal(e_n - e_m, eta)


def _adiabatic_classical(e_m, eigenvalue, e_n, temperature, eta, _):
    return variance(eigenvalue, temperature, "classical") * _reciprocal(e_n - e_m, eta)


def _dynamic(e_m, eigenvalue, e_n, temperature, eta, fermi):
    zero_point = variance(eigenvalue, jnp.zeros_like(temperature))
    bound = zero_point > 0
    energy = quantum(jnp.where(bound, eigenvalue, 1.0))
    number = occupation(energy, temperature)
    filled = jnp.where(e_m < fermi, 1.0, 0.0)
    emitted = (number + 1 - filled) * _reciprocal(e_n - e_m - energy, eta)
    absorbed = (number + filled) * _reciprocal(e_n - e_m + energy, eta)
    return zero_point * (emitted + absorbed)


def _denominators(treatment: Treatment):
    if treatment.dynamic:
        return _dynamic
    return _adiabatic if treatment.statistics == "quantum" else _adiabatic_classical


def second_derivatives(
    hamiltonian: Hamiltonian, cell: Structure, known: Topology, of: States
) -> Float[Array, "b 3 r b 3"]:
    """d2<n|H - E S|n>/du du, mean over the states of a level at rest, in the layout of `ForceConstants.matrix`, eV/angstrom^2.

    Rows are those of the first cell's atoms: one forward derivative of a reverse one for each direction.
    """
    container = cell.supercell(known.repeats)
    return _hessian_rows(hamiltonian, container, known.pairs, _densities(hamiltonian.basis, container, known.pairs, of))


@jax.jit
def _densities(basis: Basis, container: Structure, graph: Graph, of: States) -> tuple[Array, Array, Array, Array]:
    """What on-site blocks, hoppings, overlaps and on-site overlaps of a container are multiplied with in <n|H - E S|n>, for one
    cell."""
    species = container.base.species
    b = len(species)
    kept = np.flatnonzero(basis.index(species).ravel() < basis.size(species))
    count = of.orbitals.shape[1]
    own = jnp.zeros((b * basis.block_size, count), of.orbitals.dtype).at[kept].set(of.orbitals) / count**0.5
    own = own.reshape(b, basis.block_size, count)
    phase = phases(graph.vectors(container), of.k)
    right = own[graph.receivers % b] * phase[:, None, None].astype(own.dtype)
    left = own[graph.senders % b].conj()
    first = own[jnp.arange(len(container)) % b]
    density = jnp.einsum("emn,eon->emo", left, right)
    energy = of.energy.astype(own.dtype)[None]
    weighted = -jnp.einsum("emn,eon->emo", left, right @ energy)
    weighted_onsite = -jnp.einsum("imn,ion->imo", first.conj(), first @ energy)
    return jnp.einsum("imn,ion->imo", first.conj(), first), density, weighted, weighted_onsite


@jax.jit
def _hessian_rows(
    hamiltonian: Hamiltonian, container: Structure, graph: Graph, densities: tuple[Array, Array, Array, Array]
) -> Float[Array, "b 3 r b 3"]:
    """Second derivatives of Re sum(density * blocks) by the positions of the first cell's atoms and of all."""
    b = len(container) // math.prod(container.repeats)
    onsite, density, weighted, weighted_onsite = densities

    def expected(x: Array) -> Array:
        blocks = hamiltonian.blocks(container.with_positions(x), graph)
        energy = _product(onsite, blocks.onsite) + _product(density, blocks.hopping)
        energy = energy if blocks.overlap is None else energy + _product(weighted, blocks.overlap)
        return energy if blocks.onsite_overlap is None else energy + _product(weighted_onsite, blocks.onsite_overlap)

    x = container.positions

    def row(i: Array) -> Array:
        direction = jnp.zeros_like(x).at[i // 3, i % 3].set(1)
        return jax.jvp(jax.grad(expected), (x,), (direction,))[1]

    return jax.lax.map(row, jnp.arange(3 * b)).reshape(b, 3, len(container) // b, b, 3)


def _product(density: Array, blocks: Array) -> Array:
    """Re sum(density * blocks)."""
    if jnp.iscomplexobj(blocks):
        return jnp.sum((density * blocks).real)
    return jnp.sum(density.real * blocks)


class _Terms(NamedTuple):
    """What the shift of a level at one wave vector is made of, mass-weighted.

    Attributes:
        dynamical: D(q)*, eV/(angstrom^2 amu). there: H(k + q), orthonormal, eV. coupled: <k + q| dH |n> with modes in the
            second place. debye_waller: of the level's mean, eV/(angstrom^2 amu), to be contracted with the covariance.
    """

    dynamical: Complex[Array, "m m"]
    there: Complex[Array, "N N"]
    coupled: Complex[Array, "N m d"]
    debye_waller: Complex[Array, "m m"]


@pytree
class Problem:
    """A level of a crystal whose electrons and phonons are known: what all wave vectors share. Pure; see `problem`."""

    electrons: Electrons
    states: States
    constants: ForceConstants
    short: Array
    hessian: ForceConstants
    topology: Topology

    def at(self, q: Float[Array, "3"]) -> _Terms:
        """The terms at one wave vector, fractional."""
        electrons, of, constants = self.electrons, self.states, self.constants
        cartesian = q @ electrons.cell.reciprocal
        here, there = electrons.at(of.k), electrons.at(of.k + cartesian)
        dh, ds = electrons.perturbations(of.k, cartesian, here, there)
        weight = constants.inverse_root_masses.ravel()
        pairs = weight[:, None] * weight[None]
        size = len(weight)
        d = interpolated(constants, self.short, q, self.topology.images).reshape(size, size) * pairs.astype(dh.dtype)
        second = interpolated(self.hessian, self.hessian.matrix, q, self.topology.container).reshape(size, size) / 2
        if ds is not None:
            second = second + self._overlap(dh, ds, there[0])
        coupled = jnp.moveaxis(dh @ of.vectors[None], 0, 1) * weight[None, :, None].astype(dh.dtype)
        return _Terms(d.conj(), there[0], coupled, second * pairs.astype(second.dtype))

    def _overlap(self, dh: Array, ds: Array, there: Array) -> Array:
        """What the overlap at first order adds to the second derivative of S^(-1/2) H S^(-1/2), beside -E S''."""
        u, energy = self.states.vectors, self.states.energy
        moved, changed = dh @ u[None], ds @ u[None]
        # dH here is that of the orthonormalised matrix; H' itself is dH + (H S' + S' H)/2.
        raw = moved + 0.5 * (there[None] @ changed + changed @ energy[None])
        mixed = -jnp.einsum("ain,bin->ab", changed.conj(), raw)
        squared = 0.25 * jnp.einsum("ain,ij,bjn->ab", changed.conj(), there, changed)
        squared = squared + 0.75 * jnp.einsum("ain,bio,on->ab", changed.conj(), changed, energy)
        return hermitian(mixed + squared) / u.shape[1]


def problem(
    hamiltonian: Hamiltonian,
    constants: ForceConstants,
    level: Level,
    known: Topology,
    cell: Structure | None = None,
    electrons: Electrons | None = None,
) -> Problem:
    """What all wave vectors share of the shift of a level; pure, for derivatives by everything in it.

    Args:
        cell: the primitive cell at rest, perhaps strained; that of the force constants when left out.
        electrons: `Electrons.of(hamiltonian, cell, known.graph, known.stencil)`, where several levels share it.
    """
    cell = constants.base if cell is None else cell
    if electrons is None:
        electrons = Electrons.of(hamiltonian, cell, known.graph, known.stencil)
    of = states(electrons, level)
    matrix = second_derivatives(hamiltonian, cell, known, of)
    hessian = ForceConstants(cell.supercell(known.repeats), matrix)
    return Problem(electrons, of, constants, short_ranged(constants, known.images), hessian, known)


def shift(
    prepared: Problem, points: KPoints, temperature: Any, treatment: Treatment | None = None, batch: int = 8
) -> Shift:
    """The shift of a level at a temperature, with derivatives by temperature, masses, strain and parameters.

    Args:
        prepared: `problem(...)`. points: wave vectors, fractional, with weights. temperature: kelvin, one number.

    Raises:
        InputError: a temperature below zero, wave vectors without weights.
    """
    how = Treatment() if treatment is None else treatment
    numbers = _numbers(prepared, temperature, how)
    dtype = numbers[0].dtype
    points = _weighted(points)
    q, weights = jnp.asarray(fractional(points), dtype), jnp.asarray(points.weights, dtype)
    return Shift(*_shift(prepared, q, weights, numbers, how, batch))


@partial(jax.jit, static_argnames="batch")
def _shift(
    prepared: Problem, q: Array, weights: Array, numbers: tuple[Array, Array, Array], how: Treatment, batch: int
) -> tuple[Array, Array]:
    kelvin, eta, fermi = numbers

    def at(point: Array) -> tuple[Array, Array]:
        terms = prepared.at(point)
        energies = prepared.states.energy.conj()
        fan = spectral_sum(
            _denominators(how), (terms.there, terms.dynamical, energies), terms.coupled, (kelvin, eta, fermi)
        )
        thermal = matrix_function(VARIANCES[how.statistics], terms.dynamical, kelvin)
        # The dynamical matrix is conjugated, so its function is the transposed covariance.
        return fan / len(energies), jnp.sum(terms.debye_waller * thermal).real

    fan, second = jax.lax.map(at, q, batch_size=batch)
    return weights @ fan, weights @ second


class ModeShifts(NamedTuple):
    """Shifts of a level mode by mode.

    Attributes:
        points: wave vectors with weights. thz: frequencies, shape (q, m), imaginary ones negative.
        fan, debye_waller: what each mode contributes at each temperature before weights, eV, shape (t, q, m).
    """

    points: KPoints
    thz: Float[Array, "q m"]
    fan: Float[Array, "t q m"]
    debye_waller: Float[Array, "t q m"]

    @property
    def shift(self) -> Shift:
        """Summed over modes and wave vectors, eV, shape (t,)."""
        weights = jnp.asarray(self.points.weights)
        return Shift(*(jnp.einsum("q,tqm->t", weights, part) for part in (self.fan, self.debye_waller)))


@jax.jit
def _resolved(prepared: Problem, q: Array, temperatures: Array, how: Treatment) -> tuple[Array, Array, Array]:
    _, eta, fermi = _numbers(prepared, 0.0, how)
    h = _denominators(how)
    energies = jnp.diagonal(prepared.states.energy).real

    def at(point: Array) -> tuple[Array, Array, Array]:
        terms = prepared.at(point)
        (e, u), (squares, modes) = jnp.linalg.eigh(terms.there), jnp.linalg.eigh(terms.dynamical)
        x = in_eigenvectors(terms.coupled, [u, modes, jnp.eye(len(energies), dtype=u.dtype)])
        size = (x.conj() * x).real / len(energies)
        second = jnp.einsum("an,ab,bn->n", modes, terms.debye_waller, modes.conj()).real

        def over(temperature: Array) -> tuple[Array, Array]:
            grid = jax.vmap(
                lambda m: jax.vmap(lambda s: jax.vmap(lambda n: h(m, s, n, temperature, eta, fermi))(energies))(squares)
            )(e)
            variances = jax.vmap(lambda s: variance(s, temperature, how.statistics))(squares)
            return (grid * size).sum(axis=(0, 2)), second * variances

        return squares, *jax.vmap(over)(temperatures)

    return jax.lax.map(at, q, batch_size=8)


def by_mode(prepared: Problem, points: KPoints, temperatures: Any, treatment: Treatment | None = None) -> ModeShifts:
    """The shift of a level by mode and wave vector at temperatures, kelvin. Members of degenerate modes are arbitrary.

    Raises:
        InputError: a temperature below zero, wave vectors without weights.
    """
    how = Treatment() if treatment is None else treatment
    _numbers(prepared, 0.0, how)
    kelvin = jnp.atleast_1d(jnp.asarray(temperatures, prepared.constants.matrix.dtype))
    if not traced(kelvin) and not ((np.asarray(kelvin) >= 0) & (np.asarray(kelvin) < np.inf)).all():
        raise InputError(f"temperatures {np.asarray(kelvin).tolist()} K: give zero or positive numbers")
    points = _weighted(points)
    q = jnp.asarray(fractional(points), kelvin.dtype)
    squares, fan, second = _resolved(prepared, q, kelvin, how)
    return ModeShifts(points, thz_from_eigenvalue(squares), *(jnp.moveaxis(part, 1, 0) for part in (fan, second)))


def _weighted(points: Any) -> KPoints:
    """Wave vectors whose weights are there and sum to one.

    Raises:
        InputError: they do not.
    """
    if not isinstance(points, KPoints):
        raise InputError("wave vectors without weights: give KPoints, as epi.wave_vectors makes them")
    return points.checked()


def _numbers(prepared: Problem, temperature: Any, how: Treatment) -> tuple[Array, Array, Array]:
    """Temperature, broadening and Fermi energy as arrays.

    Raises:
        InputError: a temperature or a broadening below zero, statistics that are not known or have no phonon energies.
    """
    if how.statistics not in VARIANCES:
        raise InputError(f"statistics {how.statistics!r}: choose one of quantum, classical")
    if how.dynamic and how.statistics == "classical":
        raise InputError("dynamic: phonon energies in denominators are those of quanta; ask for statistics quantum")
    for name, value in (("temperature", number("temperature", temperature, "kelvin")), ("broadening", how.broadening)):
        if not traced(value) and not 0 <= float(value) < np.inf:
            raise InputError(f"{name} {float(value)}: give zero or a positive number")
    dtype = prepared.constants.matrix.dtype
    return tuple(jnp.asarray(x, dtype) for x in (temperature, how.broadening, how.fermi))  # type: ignore[return-value]
