"""Thermodynamics of a harmonic crystal: free energy, energy, entropy, heat capacity and mean squares over a mesh of q.

Flows in: force constants from any door, and wave vectors. Flows out: `Modes`, from which every function of temperature
follows without another diagonalisation, so that hundreds of temperatures cost one. All is per base cell, and is a function
of eigenvalues of D(q) summed over whole degenerate sets: first derivatives by temperature, masses, strain and force
constants are right at degeneracies.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html, kpoints, labelled
from jaxepi.errors import InputError, whole_number
from jaxepi.guards import poisoned, refuse_or_nan, traced
from jaxepi.kpoints import KPoints
from jaxepi.linalg import matrix_function
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import COLDEST, SOFTEST, SOFTEST_THZ, Temperature, in_kelvin, variance
from jaxepi.sampling.phonons import Images, eigenvalues_at, images_of, interpolated, short_ranged, weighted
from jaxepi.sampling.snapshots import Statistics
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB, thz_from_eigenvalue

LENGTH = 60.0
"""Angstrom: a mesh that nobody has chosen divides a reciprocal vector b so that waves of this length fit, 2 pi n/b."""

FREE_THZ = 0.005
"""Modes below move freely (at Gamma, to within round-off): they are left out, as phonopy does below its cutoff."""

FREE = (FREE_THZ * 2e-3 * np.pi) ** 2 * AMU_ANGSTROM2_PER_FS2

Imaginary = Literal["error", "drop"]


@pytree
class Modes:
    """Normal modes over wave vectors whose weights sum to one.

    Attributes:
        points: fractional wave vectors of the base cell. weights: theirs.
        eigenvalues: of D(q), ascending; negative ones are unstable.
    """

    points: Float[Array, "q 3"] | np.ndarray = field(unit="1")
    weights: Float[Array, " q"] = field(unit="1")
    eigenvalues: Float[Array, "q m"] = field(unit="eV/(angstrom^2 amu)")

    @property
    def frequencies(self) -> Float[Array, "q m"]:
        """THz; imaginary ones are negative."""
        return thz_from_eigenvalue(self.eigenvalues)

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        thz = np.asarray(self.frequencies)
        rows = [("wave vectors", len(thz)), ("modes of each", thz.shape[1])]
        return html.table("Normal modes", [*rows, ("frequencies (THz)", f"{thz.min():.3f} to {thz.max():.3f}")])


def fine_divisions(base: Structure, counts: Any = None) -> tuple[int, int, int]:
    """Divisions of a regular mesh.

    Args:
        counts: one number (along periodic directions) or three; about `LENGTH` over the cell's own lengths when left out.

    Raises:
        InputError: others than positive whole numbers; left out for a traced cell.
    """
    if counts is None:
        if traced(base.cell):
            raise InputError("a mesh is chosen by the lengths of the cell on the host: give one for a traced cell")
        lengths = np.linalg.norm(np.asarray(base.reciprocal, dtype=float), axis=1)
        counts = [max(1, round(LENGTH * b / (2 * np.pi))) if p else 1 for b, p in zip(lengths, base.pbc, strict=True)]
    given = [counts if p else 1 for p in base.pbc] if np.ndim(counts) == 0 else list(counts)
    if len(given) != 3:
        raise InputError(f"mesh {counts}: give one positive integer or three")
    a, b, c = (whole_number(n, f"mesh {counts}: give one positive integer or three") for n in given)
    return a, b, c


def fine_mesh(base: Structure, counts: Any = None) -> KPoints:
    """Wave vectors that sums over the zone converge with: a regular mesh, off Gamma by half a division.

    Args:
        counts: as of `fine_divisions`; `KPoints` are taken as they are.

    Raises:
        InputError: as `fine_divisions` and `kpoints.mesh`.
    """
    if isinstance(counts, KPoints):
        return counts.checked()
    shift = tuple(0.5 if periodic else 0.0 for periodic in base.pbc)
    return kpoints.mesh(fine_divisions(base, counts), shift, periodic=base.pbc)


def normal_modes(
    fc: ForceConstants, mesh: Any = None, images: Images | None = None, imaginary: Imaginary = "error"
) -> Modes:
    """Normal modes over a mesh.

    Args:
        mesh: `KPoints` (`kpoints.mesh`), or divisions for `fine_mesh`, or None for its choice.
        images: `images_of(fc)`; needed when the force constants are traced.
        imaginary: "drop" lets unstable modes stay, which no sum counts.

    Raises:
        InputError: unstable modes, by wave vector and frequency (NaN under tracing); what `fine_mesh` refuses.
    """
    if imaginary not in ("error", "drop"):
        raise InputError(f"imaginary={imaginary!r}: choose 'error' or 'drop'")
    known = fine_mesh(fc.base, mesh)
    images = images_of(fc) if images is None else images
    points = jnp.asarray(known.points, fc.matrix.dtype)
    found = Modes(points, jnp.asarray(known.weights, fc.matrix.dtype), eigenvalues_at(fc, points, images))
    if imaginary == "drop":
        return found
    return refuse_or_nan(found, found.eigenvalues.min() > -SOFTEST, lambda: unstable(found) or "")


def unstable(modes: Modes, source: str = "this potential") -> str | None:
    """What is said of unstable modes: the worst by its wave vector and frequency, and how many; None where all are stable."""
    thz = np.asarray(modes.frequencies)
    if thz.min() >= -SOFTEST_THZ:
        return None
    row = int(thz.min(axis=1).argmin())
    place = np.array2string(np.asarray(modes.points)[row], precision=4)
    return (
        f"mode at q = {place} has {thz.min():.3f} THz (negative means imaginary; {int((thz < -SOFTEST_THZ).sum())} such modes "
        f"of {thz.size}): the crystal is not stable in {source}. Relax the structure, take a larger supercell or another "
        "potential, or continue without these modes with imaginary='drop'"
    )


# Of one mode: functions of its eigenvalue, eV/(angstrom^2 amu), and of the temperature, kelvin


def quantum(eigenvalue: Float[Array, "*m"]) -> Float[Array, "*m"]:
    """hbar w of bound modes, eV, by their eigenvalues of D, eV/(angstrom^2 amu)."""
    return HBAR * jnp.sqrt(eigenvalue / AMU_ANGSTROM2_PER_FS2)


def occupation(energy: Float[Array, "*m"], temperature: Float[Array, ""]) -> Float[Array, "*m"]:
    """How many quanta of an energy (eV) a mode has at a temperature (kelvin): 1/(exp(energy/kT) - 1)."""
    warm = temperature > COLDEST
    x = energy / (KB * jnp.where(warm, temperature, 1.0))
    return jnp.where(warm, jnp.exp(-x) / -jnp.expm1(-x), 0.0)


def _ratio(eigenvalue: Array, temperature: Array) -> tuple[Array, Array]:
    """hbar w/kT, and whether the temperature is one; below `COLDEST` all is as at zero."""
    warm = temperature > COLDEST
    return quantum(eigenvalue) / (KB * jnp.where(warm, temperature, 1.0)), warm


def _free_energy(eigenvalue: Array, temperature: Array) -> Array:
    x, warm = _ratio(eigenvalue, temperature)
    thermal = KB * temperature * jnp.log(-jnp.expm1(-x))
    return 0.5 * quantum(eigenvalue) + jnp.where(warm, thermal, 0.0)


def _energy(eigenvalue: Array, temperature: Array) -> Array:
    return quantum(eigenvalue) * (0.5 + occupation(quantum(eigenvalue), temperature))


def _entropy(eigenvalue: Array, temperature: Array) -> Array:
    x, warm = _ratio(eigenvalue, temperature)
    within = 1 - jnp.exp(-x)
    return jnp.where(warm, KB * (x * jnp.exp(-x) / within - jnp.log(-jnp.expm1(-x))), 0.0)


def _heat_capacity(eigenvalue: Array, temperature: Array) -> Array:
    x, warm = _ratio(eigenvalue, temperature)
    return jnp.where(warm, KB * x**2 * jnp.exp(-x) / jnp.expm1(-x) ** 2, 0.0)


def _classical_free_energy(eigenvalue: Array, temperature: Array) -> Array:
    x, warm = _ratio(eigenvalue, temperature)
    return jnp.where(warm, KB * temperature * jnp.log(x), 0.0)


def _classical_entropy(eigenvalue: Array, temperature: Array) -> Array:
    x, warm = _ratio(eigenvalue, temperature)
    return jnp.where(warm, KB * (1 - jnp.log(x)), -jnp.inf)


_FUNCTIONS: dict[str, dict[str, Callable[[Array, Array], Array]]] = {
    "quantum": {
        "free energy": _free_energy,
        "energy": _energy,
        "entropy": _entropy,
        "heat capacity": _heat_capacity,
    },
    "classical": {
        "free energy": _classical_free_energy,
        "energy": lambda eigenvalue, temperature: KB * temperature,
        "entropy": _classical_entropy,
        "heat capacity": lambda eigenvalue, temperature: jnp.full_like(temperature, KB),
    },
}


_VARIANCES: dict[str, Callable[[Array, Array], Array]] = {
    "quantum": lambda eigenvalue, temperature: variance(eigenvalue, temperature, "quantum", FREE),
    "classical": lambda eigenvalue, temperature: variance(eigenvalue, temperature, "classical", FREE),
}


def _sum(what: str, modes: Modes, temperature: Temperature, statistics: Statistics) -> Float[Array, ""]:
    """A function of the mode, over all bound modes of the mesh, per base cell; NaN below 0 K where that is traced."""
    return _summed(what, modes, in_kelvin(temperature, statistics, modes.eigenvalues.dtype), statistics)


@partial(jax.jit, static_argnames=("what", "statistics"))
def _summed(what: str, modes: Modes, temperature: Array, statistics: Statistics) -> Array:
    bound = modes.eigenvalues > FREE
    safe = jnp.where(bound, modes.eigenvalues, 1.0)
    of_mode = _FUNCTIONS[statistics][what]
    values = jax.vmap(jax.vmap(lambda x: of_mode(x, temperature)))(safe)
    total = modes.weights @ jnp.where(bound, values, 0.0).sum(axis=1)
    # What is not a number in the modes is none in the sum, though comparisons have left it out.
    sensible = (temperature >= 0) & (temperature < jnp.inf) & ~jnp.isnan(modes.eigenvalues).any()
    return poisoned(total, sensible)


def free_energy(modes: Modes, temperature: Temperature, statistics: Statistics = "quantum") -> Float[Array, ""]:
    """Helmholtz free energy of the vibrations, eV a base cell: sum of hbar w/2 + kT ln(1 - exp(-hbar w/kT)). Pure.

    Args:
        modes: `normal_modes`. temperature: kelvin, one number (jax.vmap goes over several).
        statistics: "classical": sum of kT ln(hbar w/kT).

    Raises:
        InputError: a temperature below zero or infinite (NaN under tracing), or other statistics.
    """
    return _sum("free energy", modes, temperature, statistics)


def vibrational_energy(modes: Modes, temperature: Temperature, statistics: Statistics = "quantum") -> Float[Array, ""]:
    """Kinetic and potential energy of the vibrations, eV a base cell: sum of hbar w (1/2 + n). As `free_energy`."""
    return _sum("energy", modes, temperature, statistics)


def entropy(modes: Modes, temperature: Temperature, statistics: Statistics = "quantum") -> Float[Array, ""]:
    """Entropy of the vibrations, eV/K a base cell, minus the slope of `free_energy`; as that."""
    return _sum("entropy", modes, temperature, statistics)


def heat_capacity(modes: Modes, temperature: Temperature, statistics: Statistics = "quantum") -> Float[Array, ""]:
    """Heat capacity at constant volume, eV/K a base cell, the slope of `vibrational_energy`; as `free_energy`."""
    return _sum("heat capacity", modes, temperature, statistics)


def mean_squares(
    fc: ForceConstants,
    temperature: Temperature,
    mesh: Any = None,
    statistics: Statistics = "quantum",
    images: Images | None = None,
) -> Float[Array, "b 3 3"]:
    """<u_a u_b> of the atoms of the base cell over a mesh, angstrom^2: the limit of large supercells, which
    `mean_square_displacements` has of one supercell. Modes that are not bound count nothing.

    Args:
        mesh, images: as of `normal_modes`.

    Raises:
        InputError: as `free_energy` and `fine_mesh`.
    """
    known = fine_mesh(fc.base, mesh)
    images = images_of(fc) if images is None else images
    points, weights = (jnp.asarray(values, fc.matrix.dtype) for values in known)
    return _mean_squares(fc, points, weights, in_kelvin(temperature, statistics, fc.matrix.dtype), images, statistics)


@partial(jax.jit, static_argnames="statistics")
def _mean_squares(fc: ForceConstants, points, weights, temperature: Array, images: Images, statistics) -> Array:
    short = short_ranged(fc, images)
    b = len(fc.matrix)
    sensible = (temperature >= 0) & (temperature < jnp.inf)
    kelvin = poisoned(temperature, sensible)

    def at(each: tuple[Array, Array]) -> Array:
        q, weight = each
        squares = matrix_function(_VARIANCES[statistics], weighted(fc, interpolated(fc, short, q, images)), kelvin)
        return weight * jnp.einsum("iaib->iab", squares.real.reshape(b, 3, b, 3))

    scale = fc.inverse_root_masses
    found = jax.lax.map(at, (points, weights), batch_size=32).sum(axis=0)
    return poisoned(found * scale[:, :, None] * scale[:, None, :], sensible)


class Thermodynamics(NamedTuple):
    """Vibrations at temperatures, per base cell.

    Attributes:
        temperatures: K, shape (t,). free_energy, energy: eV. entropy, heat_capacity: eV/K; at constant volume.
        mean_squares: <u_a u_b> of the atoms of the base cell, angstrom^2, shape (t, b, 3, 3).
    """

    temperatures: np.ndarray
    free_energy: np.ndarray
    energy: np.ndarray
    entropy: np.ndarray
    heat_capacity: np.ndarray
    mean_squares: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """All by name: mean squares of each atom along a direction, on average."""
        atoms = np.einsum("tiaa->it", self.mean_squares) / 3
        whole = {name: getattr(self, name) for name in self._fields[:-1]}
        return whole | {f"mean_square_{n}": values for n, values in enumerate(atoms, start=1)}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a temperature (K): eV, eV/K and angstrom^2."""
        return labelled.frame(self.columns(), "temperatures")

    def _repr_html_(self) -> str:
        rows = [(f"{t:g} K", f"{f:.5f} eV") for t, f in zip(self.temperatures, self.free_energy, strict=True)]
        return html.table("Free energy of vibrations", rows)


def thermodynamics(
    fc: ForceConstants,
    temperatures: Any,
    mesh: Any = None,
    statistics: Statistics = "quantum",
    imaginary: Imaginary = "error",
) -> Thermodynamics:
    """All functions at temperatures, on the host: one diagonalisation of each wave vector, compiled once.

    Raises:
        InputError: as `normal_modes`, or a temperature that is none.
    """
    kelvins = np.atleast_1d(np.asarray(temperatures, dtype=float))
    wrong = kelvins[~((kelvins >= 0) & (kelvins < np.inf))]
    if kelvins.ndim != 1 or wrong.size:
        raise InputError(f"temperatures {temperatures}: give zero or positive numbers of kelvin")
    known = fine_mesh(fc.base, mesh)
    images = images_of(fc)
    modes = normal_modes(fc, known, images, imaginary)
    t = jnp.asarray(kelvins, fc.matrix.dtype)
    functions = (free_energy, vibrational_energy, entropy, heat_capacity)
    f, u, s, c = (np.asarray(jax.vmap(partial(of, modes, statistics=statistics))(t)) for of in functions)
    squares = jax.vmap(lambda kelvin: mean_squares(fc, kelvin, known, statistics, images))(t)
    return Thermodynamics(kelvins, f, u, s, c, np.asarray(squares))
