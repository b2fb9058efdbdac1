"""Flat bands of twisted bilayers with the p_z model: velocity and width against angle, seconds a k point and memory.

python flat_bands.py [m ...] [--path POINTS] [--structure FILE]; one row a twist (m, 1), beside the continuum model's velocity
(1 - 3 alpha^2)/(1 + 6 alpha^2), alpha = w/(hbar v k_theta), w = 0.110 eV (Bistritzer and MacDonald, PNAS 108, 12233 (2011)).
With --path, bands along K-Gamma-M of the last twist are written to flat-bands-mM.csv and .png.
"""

import argparse
import resource
import time

import jax
import numpy as np

from jaxepi import electrons, kpoints, materials, plotting
from jaxepi.datasets.structure_files import read_structure
from jaxepi.files import whole
from jaxepi.materials import bilayers

W = 0.110
"""Hopping between the layers in the continuum model, eV."""


def near(structure, points, count):
    """States next to the Dirac point of the model."""
    model = materials.load("graphene").hamiltonian
    return electrons.bands_near(model, structure, np.array(points), ENERGY, count)


ENERGY = 0.7817
"""eV: next to the energy of the Dirac points of two layers, and not at an eigenvalue."""

K, M = np.array([1 / 3, 1 / 3, 0.0]), np.array([0.5, 0.0, 0.0])


def slope(structure, count=4, away=0.02):
    """Mean |dE/dk| of the states next to the Dirac point, eV angstrom, at `away` of the way from K to Gamma."""
    found = near(structure, [K * (1 - away)], count)
    direction = K @ np.asarray(structure.reciprocal)
    return float(np.abs(found.velocities[0] @ direction / np.linalg.norm(direction)).mean()), found.seconds[0]


def row(m, structure, bare):
    began = time.process_time()
    velocity, seconds = slope(structure)
    found = near(structure, [0 * K, K, M], 8)
    flat = np.sort(np.abs(found.energies - found.energies[1, 3:5].mean()), axis=1)
    inner = [e[np.sort(np.argsort(np.abs(e - ENERGY))[:4])] for e in found.energies]
    width = 1e3 * (np.max(inner) - np.min(inner))
    gap = 1e3 * (flat[0, 4] - flat[0, 3])
    wave = 8 * np.pi / (3 * bilayers.A) * np.sin(np.radians(bilayers.angle(m)) / 2)
    alpha = W / (bare * wave)
    continuum = (1 - 3 * alpha**2) / (1 + 6 * alpha**2)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    numbers = (
        f"{bilayers.angle(m):.3f}", len(structure), f"{velocity / bare:.3f}", f"{continuum:.3f}", f"{width:.1f}",
        f"{gap:.1f}", f"{seconds:.1f}", f"{time.process_time() - began:.0f}", f"{memory:.1f}", f"{found.residuals.max():.0e}",
    )  # fmt: skip
    print("| " + " | ".join(map(str, (m, *numbers))) + " |", flush=True)


def draw(m, structure, count):
    """Bands along K-Gamma-M."""
    path = kpoints.path(structure, "KGM", count)
    found = near(structure, path.points, 8)
    print(
        f"K-Gamma-M, {len(path.points)} points: {found.seconds.mean():.1f} s a k point, residual {found.residuals.max():.0e}"
    )
    with whole(f"flat-bands-m{m}.csv") as temporary:
        np.savetxt(temporary, np.column_stack([path.distance, found.energies]), fmt="%.6f", delimiter=",")
    figure = plotting.bands(path, 1e3 * (found.energies - ENERGY), window=(-150.0, 150.0), title=f"m = {m}")
    figure.axes[0].set_ylabel(f"energy from {ENERGY} eV (meV)")
    figure.savefig(f"flat-bands-m{m}.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("m", type=int, nargs="*", default=[6])
    parser.add_argument("--path", type=int, default=0, help="points of bands of the last twist")
    parser.add_argument("--structure", help="atoms of the last twist, such as relaxation.py writes")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    layer = materials.load("graphene").primitive
    found = electrons.bands_near(materials.load("graphene").hamiltonian, layer, [K * 0.999], 0.78, 2)
    bare = float(np.linalg.norm(found.velocities[0], axis=1).mean())
    print(f"One layer: {bare:.3f} eV angstrom ({bare / 6.582119569e-6:.3e} m/s) at {found.energies.mean():.4f} eV")
    heads = ["m", "angle", "atoms", "v/v0", "continuum", "width of 4 bands, meV", "gap at Gamma to the next, meV"]
    heads += ["s a k point", "s in all", "peak memory, GB", "residual, eV"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for m in given.m:
        last = given.structure and m == given.m[-1]
        structure = read_structure(given.structure) if last else bilayers.twisted(m)
        row(m, structure, bare)
    if given.path:
        draw(given.m[-1], structure, given.path)


if __name__ == "__main__":
    main()
