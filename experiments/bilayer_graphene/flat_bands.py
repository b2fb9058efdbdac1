"""Flat bands of twisted bilayers: velocity and width against angle, seconds a k point and memory.

python flat_bands.py [m ...] [--hamiltonian graphene-pbe-e3] [--structure FILE]
python flat_bands.py m --points GAMMA,K,M,0.5,... [--hamiltonian NAME] [--structure FILE] [--energy EV]

The first prints one row a twist (m, 1), with the p_z model or with 13 orbitals an atom, beside the continuum model's velocity
(1 - 3 alpha^2)/(1 + 6 alpha^2), alpha = w/(hbar v k_theta), w = 0.110 eV (Bistritzer and MacDonald, PNAS 108, 12233 (2011)).
The second finds eight states at single points along K-Gamma-M, given by name or as fractions (0 to 1 from K to Gamma, 1 to 2
from there to M), and writes each to flat-bands-mM-NAME-STRUCTURE-EV.csv as it is found, and a figure of all that stand
there; points that stand there already are left out.
"""

import argparse
import resource
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxepi import electrons
from jaxepi.datasets.structure_files import read_structure
from jaxepi.files import whole
from jaxepi.hamiltonians import load
from jaxepi.materials import bilayers
from jaxepi.structure import Structure

W = 0.110
"""Hopping between the layers in the continuum model, eV."""


class Model(NamedTuple):
    """energy: next to that of the Dirac points of two layers, and not at an eigenvalue, eV. a, distance: angstrom."""

    energy: float
    a: float
    distance: float
    solver: str


MODELS = {
    "graphene-trambly2010": Model(0.7817, bilayers.A, bilayers.DISTANCE, "superlu"),
    "graphene-pbe-e3": Model(-3.6640, 2.467, 3.35, "pardiso"),
}

K, M = np.array([1 / 3, 1 / 3, 0.0]), np.array([0.5, 0.0, 0.0])
NAMES = {"K": 0.0, "GAMMA": 1.0, "M": 2.0}


def point(place):
    """Fractional k at a place on K-Gamma-M: 0 to 1 to 2."""
    return K * (1 - place) if place <= 1 else M * (place - 1)


def row(m, structure, name, energy, bare):
    """Slope a fiftieth of the way from K to Gamma; Gamma, K and M."""
    began = time.process_time()
    model = MODELS[name]
    points = [K * 0.98, 0 * K, K, M]
    found = electrons.bands_near(load(name), structure, np.array(points), energy, 8, solver=model.solver)
    direction = K @ np.asarray(structure.reciprocal)
    slopes = np.abs(found.velocities @ direction / np.linalg.norm(direction))
    dirac = found.energies[2][np.argsort(np.abs(found.energies[2] - energy))[:4]].mean()
    inner = [np.argsort(np.abs(e - dirac))[:4] for e in found.energies]
    velocity = slopes[0, inner[0]].mean()
    chosen = np.array([e[i] for e, i in zip(found.energies[1:], inner[1:], strict=True)])
    flat = np.sort(np.abs(found.energies[1] - dirac))
    wave = 8 * np.pi / (3 * model.a) * np.sin(np.radians(bilayers.angle(m)) / 2)
    alpha = W / (bare * wave)
    continuum = (1 - 3 * alpha**2) / (1 + 6 * alpha**2)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    numbers = (
        f"{bilayers.angle(m):.3f}", len(structure), f"{dirac:.4f}", f"{velocity / bare:.3f}", f"{continuum:.3f}",
        f"{1e3 * np.ptp(chosen):.1f}", f"{1e3 * (flat[4] - flat[3]):.1f}", f"{found.seconds.mean():.1f}",
        f"{time.process_time() - began:.0f}", f"{memory:.1f}", f"{found.residuals.max():.0e}",
    )  # fmt: skip
    print("| " + " | ".join(map(str, (m, *numbers))) + " |", flush=True)


def along(m, structure, name, energy, places, what):
    """States at places of K-Gamma-M that the table lacks."""
    file = Path(f"flat-bands-m{m}-{name}-{what}-{energy:g}.csv")

    def table():
        return np.loadtxt(file, delimiter=",", ndmin=2) if file.exists() else np.zeros((0, 9))

    missing = [p for p in places if not np.isclose(table()[:, 0], p).any()]

    def kept(done, found):
        # Read anew: other processes may have written other places meanwhile.
        rows = [*table(), np.array([missing[done - 1], *found.energies[0]])]
        with whole(file) as temporary:
            np.savetxt(temporary, sorted(rows, key=lambda r: r[0]), fmt="%.7f", delimiter=",")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{missing[done - 1]:.3f}: {found.seconds[0]:.0f} s, factors {found.gigabytes[0]:.1f} GB, peak {memory:.1f} GB, "
            f"residual {found.residuals[0]:.0e} eV, below {found.below[0]}: {1e3 * (found.energies[0] - energy)} meV",
            flush=True,
        )

    if missing:
        points = np.array([point(p) for p in missing])
        electrons.bands_near(load(name), structure, points, energy, 8, progress=kept, solver=MODELS[name].solver)
    draw(table(), energy, Path(f"{file.stem}.png"))


def draw(table, energy, file):
    """States along K-Gamma-M."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    length = np.where(table[:, 0] <= 1, table[:, 0] * 2 / 3**0.5, 2 / 3**0.5 + table[:, 0] - 1)
    axes.plot(length, 1e3 * (table[:, 1:] - energy), "k_", ms=8)
    axes.set_xticks([0, 2 / 3**0.5, 2 / 3**0.5 + 1], ["K", "\u0393", "M"])
    axes.set_ylabel(f"energy from {energy} eV (meV)")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("m", type=int, nargs="*", default=[6])
    parser.add_argument("--hamiltonian", choices=MODELS, default="graphene-trambly2010")
    parser.add_argument("--points", help="places on K-Gamma-M of the last twist, separated by commas")
    parser.add_argument("--structure", help="atoms of the last twist, such as relaxation.py writes")
    parser.add_argument("--energy", type=float, help="next to which states are found, eV")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    model = MODELS[given.hamiltonian]
    energy = model.energy if given.energy is None else given.energy
    if given.points is not None:
        m, places = given.m[-1], [float(NAMES.get(p, p)) for p in given.points.upper().split(",")]
        structure = read_structure(given.structure) if given.structure else twist(m, model)
        what = Path(given.structure).stem if given.structure else "rest"
        along(m, structure, given.hamiltonian, energy, places, what)
        return
    layer = one_layer(model)
    found = electrons.bands_near(load(given.hamiltonian), layer, [K * 0.999], energy, 2)
    bare = float(np.linalg.norm(found.velocities[0], axis=1).mean())
    print(f"One layer: {bare:.3f} eV angstrom ({bare / 6.582119569e-6:.3e} m/s) at {found.energies.mean():.4f} eV")
    heads = ["m", "angle", "atoms", "Dirac point, eV", "v/v0", "continuum", "width of 4 bands, meV"]
    heads += ["gap at Gamma to the next, meV", "s a k point", "s in all", "peak memory, GB", "residual, eV"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for m in given.m:
        last = given.structure and m == given.m[-1]
        row(m, read_structure(given.structure) if last else twist(m, model), given.hamiltonian, energy, bare)


def one_layer(model):
    """Graphene."""
    pair = bilayers.stacked("AA", model.distance, model.a)
    x = np.asarray(pair.positions)
    return Structure.create(x[x[:, 2] < x[:, 2].mean()], pair.cell, [6, 6], pair.pbc)


def twist(m, model):
    """Atoms at rest in each layer."""
    return bilayers.twisted(m, 1, model.distance, model.a)


if __name__ == "__main__":
    main()
