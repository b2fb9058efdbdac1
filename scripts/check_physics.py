"""Published sets and potentials against the numbers they should give: prints the table of the README's "Measured" section.

python scripts/check_physics.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from scipy.optimize import minimize_scalar
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import electrons, hamiltonians, materials, optics, potentials, sampling, units  # noqa: E402
from jaxepi.kpoints import mesh, quasirandom  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402

STEP = 1e-3
TO_X = {"x": (0.0, 0.5, 0.5), "z": (0.5, 0.5, 0.0)}


def row(name: str, value: str, expected: str) -> None:
    print(f"{name:58s} {value:>24s}   {expected}", flush=True)


def at_rest(structure: Structure) -> sampling.Snapshots:
    return sampling.Snapshots(structure, structure.positions[None], 0.0)


def band_edges() -> None:
    """Gaps of published sets with and without spin-orbit coupling."""
    cases = (
        ("si-niquet2009", "Si", False, "gap", "1.188 at 0.85 X, Gamma 3.316"),
        ("si-niquet2009", "Si", True, "gap", "1.173, splitting 0.044"),
        ("gaas-boykin2002", "GaAs", True, "gap", "1.416 at Gamma, splitting 0.326"),
        ("ge-jancu1998", "Ge", True, "L", "0.745 at L"),
        ("si-vogl1983", "Si", False, "gap", "1.171"),
    )
    for name, formula, spin_orbit, what, expected in cases:
        model = hamiltonians.load(name, spin_orbit)
        a = hamiltonians.parameter_files.read(name)["lattice_constant"]
        cell = Structure.from_ase(bulk(formula, "zincblende" if formula == "GaAs" else "diamond", a))
        n = model.basis.occupied(cell.species)
        t = np.linspace(0, 1, 201)
        e = np.asarray(electrons.eigenvalues(model, cell, np.vstack([t[:, None] * TO_X["z"], [0.5, 0.5, 0.5]])))
        top, split = e[0, n - 1], e[0, n - 1] - e[0, n - 6 if spin_orbit else n - 3]
        lowest = int(e[:-1, n].argmin())
        text = f"{e[-1, n] - top:.3f} at L" if what == "L" else f"{e[lowest, n] - top:.3f} at {t[lowest]:.2f} X"
        text += f", Gamma {e[0, n] - top:.3f}" + (f", {split:.3f}" if spin_orbit else "")
        row(f"{name}{', spin-orbit' if spin_orbit else ''}: gap, eV", text, expected)


def deformation_potentials(model: hamiltonians.Hamiltonian, cell: Structure) -> tuple[float, float, float, float]:
    """a_gap, Xi_u, |b| and |d| of silicon, eV; internal strain of Kleinman's zeta = 0.54 for d."""
    graph = model.graph(cell)

    def bands(structure, k=(0.0, 0.0, 0.0)):
        return np.asarray(electrons.eigenvalues(model, structure, np.array([k]), graph))[0]

    def valley(structure, axis):
        direction = np.array(TO_X[axis])
        options = {"xatol": 1e-7}
        search = minimize_scalar(
            lambda t: bands(structure, t * direction)[4], bounds=(0.75, 0.95), method="bounded", options=options
        )
        return search.fun

    def split(structure):
        """Doublet minus singlet of the valence edge."""
        low, middle, high = bands(structure)[1:4]
        return (high + middle) / 2 - low if high - middle < middle - low else -(high - (middle + low) / 2)

    def slope(function, strained):
        return (function(strained(STEP)) - function(strained(-STEP))) / (2 * STEP)

    def hydrostatic(e):
        return cell.strained(jnp.eye(3) * e)

    def uniaxial(e):
        return cell.strained(jnp.diag(jnp.array([-0.5, -0.5, 1.0])) * e)

    def shear(e):
        off = (jnp.ones((3, 3)) - jnp.eye(3)) * e
        strained, bond = cell.strained(off), cell.positions[1] - cell.positions[0]
        return strained.with_positions(strained.positions.at[1].add(-0.54 * off @ bond))

    gap = slope(lambda s: valley(s, "z") - bands(s)[1:4].mean(), hydrostatic) / 3
    xi = slope(lambda s: valley(s, "z") - valley(s, "x"), uniaxial) / 1.5
    b, d = abs(slope(split, uniaxial)) / 4.5, abs(slope(split, shear)) / (3 * np.sqrt(3))
    return float(gap), float(xi), float(b), float(d)


def strained_silicon() -> None:
    """Niquet's set under strain."""
    silicon = materials.load("silicon")
    gap, xi, b, d = deformation_potentials(silicon.hamiltonian, silicon.primitive)
    row("si-niquet2009: a_gap, Xi_u, eV", f"{gap:.2f}, {xi:.2f}", "1.44, 8.66")
    row("si-niquet2009: |b|, |d| (zeta 0.54), eV", f"{b:.2f}, {d:.2f}", "2.13, 4.81")


def lattice() -> None:
    """Phonons and elastic constants of the valence force fields."""
    expected = {"silicon": "15.65, 4.77; 179/77/79", "galliumarsenide": "8.3, 2.60; 133/64/57"}
    for name, text in expected.items():
        material = materials.load(name)
        constants = sampling.force_constants(material.potential, material.primitive.supercell(4))
        gamma, x = np.asarray(sampling.frequencies_thz(constants, np.array([[0.0, 0, 0], TO_X["z"]])))
        c = np.asarray(potentials.elastic_constants(material.potential, material.primitive)) / units.GPA
        value = f"{gamma[-1]:.2f}, {x[0]:.2f}; {c[0, 0]:.0f}/{c[0, 1]:.0f}/{c[3, 3]:.0f}"
        row(f"{name}: Gamma, TA(X), THz; C11/C12/C44, GPa", value, text)


def light() -> None:
    """Electronic dielectric constants, folding, and graphene's universal conductivity."""
    for name, text in (("silicon", "10.1"), ("galliumarsenide", "11.3")):
        material = materials.load(name)
        rest = optics.transitions(material.hamiltonian, at_rest(material.primitive), quasirandom(2000))
        row(
            f"{name}: eps1(0); f-sum over free-electron value",
            f"{rest.static_eps1()[0]:.2f}; {rest.f_sum()[0]:.2f}",
            text,
        )
        small = optics.transitions(material.hamiltonian, at_rest(material.primitive), 4).histogram
        large = optics.transitions(material.hamiltonian, at_rest(material.primitive.supercell(4)), 1).histogram
        off = float(abs(large - small).max() / small.max())
        row(f"{name}: supercell at Gamma against folded mesh", f"{off:.1e}", "below 1e-6")
    graphene = materials.load("graphene")
    dense = mesh((240, 240, 1), (0.5, 0.5, 0.0))
    rest = optics.transitions(graphene.hamiltonian, at_rest(graphene.primitive), dense)
    energies = jnp.linspace(0.5, 1.5, 21)
    eps2 = rest.spectrum(energies, optics.Gaussian(0.05)).eps2[0]
    height = float(graphene.primitive.volume / jnp.linalg.norm(jnp.cross(*graphene.primitive.cell[:2])))
    in_plane = 0.5 * (eps2[:, 0, 0] + eps2[:, 1, 1])
    # sigma = eps0 omega eps2 height over e^2/(4 hbar)
    ratio = np.asarray(energies * in_plane * height / (np.pi * units.COULOMB))
    value = f"{ratio.mean():.4f} ({ratio.min():.3f}-{ratio.max():.3f})"
    row("graphene: conductivity over e^2/(4 hbar), 0.5 to 1.5 eV", value, "1, plus 0.6% to 5.6% by trigonal warping")


def main() -> None:
    print(machine())
    row("quantity", "this run", "expected")
    band_edges()
    strained_silicon()
    lattice()
    light()


if __name__ == "__main__":
    main()
