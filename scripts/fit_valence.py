"""Fit of the modified valence force field to measured phonons and elastic constants: parameters in N/m, and a table.

python scripts/fit_valence.py germanium
python scripts/fit_valence.py diamond

Least squares over the relative errors of the frequencies at Gamma, X and L (every polarisation counts) and, halved, of the
elastic constants: a frequency goes with the square root of a force constant. That of C12 counts half of that again.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from refusals import refusing
from scipy.optimize import least_squares

from jaxepi import potentials, sampling, units
from jaxepi.potentials import Potential
from jaxepi.potentials.valence import ValenceForceField
from jaxepi.structure import Structure

NAMES = ("alpha", "beta", "gamma", "delta", "nu")
POINTS = {"Gamma": (0.0, 0.0, 0.0), "X": (0.5, 0.0, 0.5), "L": (0.5, 0.5, 0.5)}
ELASTIC = {"C11": (0, 0, 0.5), "C12": (0, 1, 0.25), "C44": (3, 3, 0.5)}
"""Row, column, weight of the relative error."""


class Measured(NamedTuple):
    """A crystal: element, lattice constant (angstrom), THz by point (ascending, every polarisation), GPa, N/m to begin from."""

    element: str
    lattice_constant: float
    frequencies: dict[str, list[float]]
    elastic: dict[str, float]
    start: tuple[float, ...]


MEASURED = {
    # Nilsson and Nelin, PRB 3, 364 (1971), neutrons, 80 K; McSkimin and Andreatch, J. Appl. Phys. 34, 651 (1963), 298 K.
    # Quoted, not yet compared with the papers.
    "germanium": Measured(
        "Ge",
        5.6579,
        {
            "Gamma": [9.11] * 3,
            "X": [2.40, 2.40, 7.22, 7.22, 8.27, 8.27],
            "L": [1.89, 1.89, 6.66, 7.34, 8.69, 8.69],
        },
        {"C11": 128.5, "C12": 48.3, "C44": 66.8},
        (40.0, 4.6, 2.4, -0.5, 7.6),
    ),
    # Warren, Yarnell, Dolling and Cowley, Phys. Rev. 158, 805 (1967), neutrons, 296 K, Gamma by Raman scattering (1332/cm);
    # McSkimin and Andreatch, J. Appl. Phys. 43, 2944 (1972). NSM archive of the Ioffe Institute (read 2026-11-29):
    # the same within 0.1 THz (32.1 at X, 37.6 at L), bulk modulus 442 GPa, (C11 - C12)/2 478 GPa, C44 578 GPa from 12.82 km/s.
    "diamond": Measured(
        "C",
        3.567,
        {
            "Gamma": [39.93] * 3,
            "X": [24.2, 24.2, 32.0, 32.0, 35.5, 35.5],
            "L": [16.9, 16.9, 30.2, 36.2, 36.2, 37.5],
        },
        {"C11": 1079.0, "C12": 124.0, "C44": 578.0},
        (130.0, 15.0, 7.6, -1.8, 24.0),
    ),
}


class Found(NamedTuple):
    """THz by point, ascending, and GPa, of some parameters."""

    frequencies: dict[str, np.ndarray]
    elastic: dict[str, float]


def found(measured: Measured, parameters: np.ndarray) -> Found:
    """What a force field with `parameters` (N/m) gives."""
    structure = Structure.from_ase(bulk(measured.element, "diamond", a=measured.lattice_constant))
    module = ValenceForceField(3**0.5 / 4 * measured.lattice_constant, structure.species[:1])
    params = {n: jnp.asarray(float(v) * units.NEWTON_PER_METRE) for n, v in zip(NAMES, parameters, strict=True)}
    potential = Potential(params, module)
    constants = sampling.force_constants(potential, structure.supercell(2))
    frequencies = np.asarray(sampling.frequencies_thz(constants, np.array(list(POINTS.values()))))
    c = np.asarray(potentials.elastic_constants(potential, structure)) / units.GPA
    return Found(
        {name: row[-len(measured.frequencies[name]) :] for name, row in zip(POINTS, frequencies, strict=True)},
        {name: float(c[i, j]) for name, (i, j, _) in ELASTIC.items()},
    )


def residuals(measured: Measured, parameters: np.ndarray) -> np.ndarray:
    """Weighted relative errors of some parameters (N/m)."""
    now = found(measured, parameters)
    errors = [now.frequencies[name] / np.asarray(measured.frequencies[name]) - 1 for name in POINTS]
    elastic = [w * (now.elastic[name] / measured.elastic[name] - 1) for name, (_, _, w) in ELASTIC.items()]
    return np.concatenate([*errors, np.array(elastic)])


def fit(measured: Measured) -> np.ndarray:
    """The parameters of least squares, N/m."""
    start = np.asarray(measured.start)
    return least_squares(partial(residuals, measured), start, x_scale=np.abs(start), ftol=1e-10, xtol=1e-10).x


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", choices=sorted(MEASURED))
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    measured = MEASURED[options.material]
    parameters = fit(measured)
    now = found(measured, parameters)
    print("\n".join(f'"{name}": {value:.6f},' for name, value in zip(NAMES, parameters, strict=True)))
    print(f"\n{'':8} {'fitted':>8} {'measured':>9}")
    for name in POINTS:
        for value, known in sorted(
            {(round(float(v), 2), k) for v, k in zip(now.frequencies[name], measured.frequencies[name], strict=True)}
        ):
            print(f"{name:8} {value:8.2f} {known:9.2f} THz")
    for name, value in now.elastic.items():
        print(f"{name:8} {value:8.1f} {measured.elastic[name]:9.1f} GPa")
    errors = np.concatenate([now.frequencies[n] / np.asarray(measured.frequencies[n]) - 1 for n in POINTS])
    mean, largest = 100 * np.sqrt(np.mean(errors**2)), 100 * np.abs(errors).max()
    print(f"frequencies: root mean square error {mean:.1f} %, largest {largest:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
