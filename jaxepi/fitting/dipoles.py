"""Fitting the dipoles inside atoms, which eigenvalues do not fix, to an ab initio dielectric function.

The velocity dH/dk - i [d, H] is linear in the radial integrals of the dipoles d, so a spectrum is a quadratic form of
them: the kernel of jaxepi.optics gives its coefficients once, and the fit itself is a least-squares problem of a few
numbers. Flows in: a trained Hamiltonian and `Reference`s (independent particles, no local fields). Flows out: radial
integrals, angstrom, in the order of `hamiltonians.dipoles.free`.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import optics
from jaxepi.errors import InputError
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.dipoles import free, with_dipoles
from jaxepi.optics.broadening import Broadening, EnergyGrid
from jaxepi.optics.kramers_kronig import kramers_kronig
from jaxepi.optics.peaks import area
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.settings import Settings, setting
from jaxepi.structure import Structure
from jaxepi.tree import pytree

GRID = EnergyGrid(0.01, 6000)
"""10 meV bins up to 60 eV: the broadening of a calculation on a k mesh is wider."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """An ab initio dielectric function of independent particles.

    Attributes:
        energies: of photons, eV, equidistant, from zero on. eps1, eps2: along x, y and z, shape (3, w).
        kmesh: divisions or `KPoints`. broadening: its line shape.
    """

    structure: Structure
    energies: Float[np.ndarray, " w"]
    eps1: Float[np.ndarray, "3 w"]
    eps2: Float[np.ndarray, "3 w"]
    kmesh: Any
    broadening: Broadening


@dataclasses.dataclass(frozen=True)
class DipoleSettings(Settings):
    """What is fitted, and how."""

    window: tuple[float, float] = setting((1.5, 7.0), "photon energies where eps2 counts", "eV", least=0, most=1e4)
    below: float = setting(1.5, "eps1 counts up to this photon energy", "eV", least=0, most=1e4)
    eps2: float = setting(
        1.0,
        "weight of the mean squared error of eps2, in units of the mean square of the reference",
        least=0,
        most=1e12,
    )
    eps1: float = setting(1.0, "weight of that of eps1, likewise", least=0, most=1e12)
    smoothing: float = setting(
        0.15,
        "errors of spectra count after a Gaussian of this width, so that lines that lie a little beside each other agree",
        "eV",
        least=0,
        most=100,
    )
    ridge: float = setting(
        1e-5, "weight of the mean squared integral: decides where spectra do not", "1/angstrom^2", least=0, most=1e12
    )
    starts: int = setting(15, "random ones besides zero; the fit has several minima", least=0, most=10**5)
    seed: int = setting(0, "of them", least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.window[0] < self.window[1]:
            raise InputError(f"window {self.window}: give two photon energies in eV, the lower first")
        if not self.eps1 + self.eps2 > 0:
            raise InputError("the weights eps1 and eps2 are both zero: nothing is left to fit")


@pytree
class SpectralForm:
    """A dielectric function for any radial integrals: coefficients of the monomials 1, r_p and r_p r_q (p <= q).

    Attributes:
        eps1, eps2: along x, y and z, shape (t, 3, w).
    """

    eps1: Float[Array, "t 3 w"]
    eps2: Float[Array, "t 3 w"]

    def at(self, radial: Float[Array, " p"]) -> tuple[Float[Array, "3 w"], Float[Array, "3 w"]]:
        """eps1 and eps2 for radial integrals in angstrom."""
        terms = monomials(radial)
        return jnp.tensordot(terms, self.eps1, 1), jnp.tensordot(terms, self.eps2, 1)


def monomials(radial: Float[Array, " p"]) -> Float[Array, " t"]:
    """1, r_p and r_p r_q with p <= q."""
    rows, columns = np.triu_indices(radial.shape[0])
    return jnp.concatenate([jnp.ones(1, radial.dtype), radial, radial[rows] * radial[columns]])


def spectral_form(
    hamiltonian: Hamiltonian, reference: Reference, grid: EnergyGrid = GRID, graph: Any = None, memory_gb: float = 2.0
) -> SpectralForm:
    """The dielectric function of a Hamiltonian as a form of its radial integrals, on k mesh and broadening of a reference.

    Args:
        graph: as of `optics.transitions`; needed under jit.

    Raises:
        InputError: as `hamiltonians.dipoles.with_dipoles` and `optics.transitions`.
    """
    structure, count = reference.structure, len(free(hamiltonian))
    still = Snapshots(structure, structure.positions[None], 0.0)
    graph = hamiltonian.graph(structure) if graph is None else graph
    unit = np.eye(count)
    points = [np.zeros(count), *unit, *-unit, *(a + b for a, b in itertools.combinations(unit, 2))]
    dtype = structure.positions.dtype

    def histogram(radial: np.ndarray) -> optics.Transitions:
        moved = with_dipoles(hamiltonian, jnp.asarray(radial, dtype))
        return optics.transitions(moved, still, reference.kmesh, grid, True, graph, memory_gb)

    found = [histogram(x) for x in points]
    solve = jnp.linalg.inv(jax.vmap(monomials)(jnp.asarray(np.stack(points), dtype)))
    parts = jnp.tensordot(solve, jnp.concatenate([f.histogram for f in found]), 1)
    energies = jnp.concatenate([f.eigenvalues for f in found])
    held = dataclasses.replace(found[0], histogram=parts, eigenvalues=energies)
    return _spectra(held, jnp.asarray(reference.energies, dtype), reference.broadening)


@jax.jit
def _spectra(coefficients: optics.Transitions, energies: Array, broadening: Broadening) -> SpectralForm:
    """Spectra of the coefficients of a form, which stand in the place of snapshots: all but the first lack the vacuum."""
    spectrum = coefficients.spectrum(energies, broadening)
    eps1, eps2 = (jnp.einsum("twaa->taw", e) for e in (spectrum.eps1, spectrum.eps2))
    return SpectralForm(eps1.at[1:].add(-1.0), eps2)


def residuals(
    form: SpectralForm, reference: Reference, settings: DipoleSettings, radial: Float[Array, " p"]
) -> Float[Array, " m"]:
    """What is squared and summed in the loss of one reference: smoothed errors of eps2 in the window and of eps1 below it."""
    energies = reference.energies
    eps1, eps2 = form.at(radial)
    parts = []
    inside = (energies >= settings.window[0]) & (energies <= settings.window[1])
    if settings.eps2:
        smooth = jnp.asarray(_smoothing(energies, settings.smoothing)[inside], eps2.dtype)
        size = (settings.eps2 / (reference.eps2[:, inside] ** 2).sum()) ** 0.5
        parts.append(size * (eps2 - reference.eps2) @ smooth.T)
    if settings.eps1:
        low = energies <= settings.below
        size = (settings.eps1 / (reference.eps1[:, low] ** 2).sum()) ** 0.5
        parts.append(size * (eps1 - reference.eps1)[:, low])
    return jnp.concatenate([p.ravel() for p in parts])


def _smoothing(energies: np.ndarray, width: float) -> np.ndarray:
    """Gaussian averages of equidistant values."""
    if width == 0:
        return np.eye(len(energies))
    weight = np.exp(-0.5 * ((energies[:, None] - energies) / width) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)


def loss(
    forms: Sequence[SpectralForm], references: Sequence[Reference], settings: DipoleSettings, radial: Float[Array, " p"]
) -> Float[Array, ""]:
    """Mean over references of the relative mean squared errors, plus the ridge."""
    each = [jnp.sum(residuals(f, r, settings, radial) ** 2) for f, r in zip(forms, references, strict=True)]
    return sum(each[1:], each[0]) / len(each) + settings.ridge * jnp.mean(radial**2)


def fit(
    forms: Sequence[SpectralForm], references: Sequence[Reference], settings: DipoleSettings, steps: int = 100
) -> tuple[Float[Array, " p"], Float[Array, ""]]:
    """Radial integrals (angstrom) with the least loss, and that loss, by Levenberg's and Marquardt's steps.

    Raises:
        InputError: no reference, or one that does not reach into the windows.
    """
    refuse(references, settings)
    size = forms[0].eps1.shape[0]
    count = next(p for p in range(size) if (p + 1) * (p + 2) // 2 == size)
    dtype = forms[0].eps1.dtype
    ridge = (settings.ridge / count) ** 0.5

    def everything(radial: Array) -> Array:
        parts = [residuals(f, r, settings, radial) / len(forms) ** 0.5 for f, r in zip(forms, references, strict=True)]
        return jnp.concatenate([*parts, ridge * radial])

    def step(state, _):
        radial, damping, value = state
        r, j = everything(radial), jax.jacfwd(everything)(radial)
        square = j.T @ j
        tiny = jnp.finfo(dtype).eps * jnp.trace(square)
        moved = radial - jnp.linalg.solve(square + jnp.diag(damping * jnp.diag(square) + tiny), j.T @ r)
        new = jnp.sum(everything(moved) ** 2)
        better = new < value
        radial, value = jnp.where(better, moved, radial), jnp.where(better, new, value)
        return (radial, jnp.where(better, damping / 3, 4 * damping), value), None

    def one(start: Array) -> tuple[Array, Array]:
        first = (start, jnp.asarray(1e-2, dtype), jnp.sum(everything(start) ** 2))
        (radial, _, value), _ = jax.lax.scan(step, first, None, steps)
        return radial, value

    key = jax.random.key(settings.seed)
    starts = jnp.concatenate([jnp.zeros((1, count), dtype), jax.random.normal(key, (settings.starts, count), dtype)])
    found, values = jax.jit(jax.vmap(one))(starts)
    best = int(jnp.argmin(values))
    return found[best], values[best]


def refuse(references: Sequence[Reference], settings: DipoleSettings) -> None:
    """Refuse references that the settings ask too much of.

    Raises:
        InputError: names what is missing.
    """
    if not references:
        raise InputError("no reference spectrum to fit to; give at least one")
    for reference in references:
        last = float(reference.energies[-1])
        if settings.eps2 and last < settings.window[1]:
            raise InputError(
                f"the reference ends at {last:g} eV and the window at {settings.window[1]:g}; lower the window"
            )
        if settings.eps1 and float(reference.energies[0]) > settings.below:
            raise InputError(
                f"the reference begins at {reference.energies[0]:g} eV; eps1 is asked for up to {settings.below:g} eV"
            )


def read_references(path: str | Path) -> dict[str, Reference]:
    """The references of an HDF5 file, by name: the layout of scripts/reference_dielectric.py.

    A group each with `positions`, `cell` (angstrom), `numbers`, `energies` (eV), `eps1` and `eps2` (3, w), and the attribute
    `divisions` of its Gamma-centred k mesh; the attribute `eta` of the file is the half width of a Lorentzian, eV.

    Raises:
        InputError: no such file, or one that lacks something.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file of spectra {path}")
    try:
        with h5py.File(path) as file:
            line = optics.Lorentzian(float(np.asarray(file.attrs["eta"])))
            return {name: _read(group, line) for name, group in file.items()}
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} is no file of spectra (scripts/reference_dielectric.py writes one): {error}"
        ) from error


def _read(group: Mapping[str, Any], line: Broadening) -> Reference:
    arrays = {n: np.asarray(group[n][...], np.float64) for n in ("positions", "cell", "energies", "eps1", "eps2")}
    species = tuple(int(z) for z in group["numbers"][...])
    structure = Structure.create(arrays.pop("positions"), arrays.pop("cell"), species)
    divisions = int(group.attrs["divisions"])  # type: ignore[attr-defined]
    return Reference(structure, kmesh=divisions, broadening=line, **arrays)


def shifted(reference: Reference, scissor: float) -> Reference:
    """A reference with all its transitions moved by a scissor (eV), its dipoles kept: what a level of theory with the same
    states and wider gaps would give. The part of eps1 that comes from beyond the end of eps2 is kept as it is.
    """
    energies, step = reference.energies, reference.energies[1] - reference.energies[0]
    longer = np.append(energies, energies[-1] + step * np.arange(1, 2 + int(abs(scissor) / step)))
    eps2 = np.stack([np.interp(longer - scissor, energies, x, left=0.0, right=0.0) for x in reference.eps2])
    change = kramers_kronig(jnp.asarray(longer[1:]), jnp.asarray(eps2[:, 1:]), jnp.asarray(energies)) - kramers_kronig(
        jnp.asarray(energies[1:]), jnp.asarray(reference.eps2[:, 1:]), jnp.asarray(energies)
    )
    return dataclasses.replace(reference, eps1=reference.eps1 + np.asarray(change), eps2=eps2[:, : len(energies)])


def comparison(
    form: SpectralForm, reference: Reference, radial: Float[Array, " p"], windows: Mapping[str, tuple[float, float]]
) -> list[dict[str, Any]]:
    """A model beside a reference: areas of the mean eps2 in windows of photon energy, and eps1 at zero.

    Args:
        windows: eV, by name; see `optics.peaks.peak_windows`.

    Returns:
        A row each: quantity, model, reference, ratio (model to reference).
    """
    eps1, eps2 = (np.asarray(x).mean(axis=0) for x in form.at(radial))
    expected, energies = reference.eps2.mean(axis=0), reference.energies
    pairs = {
        f"{name}, {w[0]:.2f} to {w[1]:.2f} eV": (area(energies, eps2, w), area(energies, expected, w))
        for name, w in windows.items()
    }
    pairs["eps1(0)"] = (float(eps1[0]), float(reference.eps1[:, 0].mean()))
    return [
        {"quantity": name, "model": ours, "reference": theirs, "ratio": ours / theirs}
        for name, (ours, theirs) in pairs.items()
    ]
