"""What the zero-point shift of silicon's direct gap is made of: by level, phonon, final state and part of the Hamiltonian.

    python scripts/direct_gap.py                                     # si-niquet2009, whole and with parts left out
    python scripts/direct_gap.py --hamiltonian si-vogl1983
    python scripts/direct_gap.py --hamiltonian silicon-hse06 --potential silicon-hse06 --container 7 --second 4

The valence top of Gamma and the empty states above it, second order over a mesh of wave vectors, meV. Fan terms are split by
the energy of the states at k + q from that of the level, and both terms by the frequency of the phonons. Of Niquet's set the
response of on-site energies to the bonds around an atom is then left out: to volume (alpha), and what splits p and d states.
"""

import argparse
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from refusals import refusing
from timing import machine

from jaxepi import electrons, epi, materials, sampling
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.linalg import in_eigenvectors
from jaxepi.sampling.harmonic import variance
from jaxepi.tree import replace
from jaxepi.units import thz_from_eigenvalue

WINDOWS = (-np.inf, -0.5, 0.5, 5.0, np.inf)
"""eV from the level."""
BANDS = (0.0, 6.0, 11.0, 13.5, 20.0)
"""THz."""


@jax.jit
def resolved(prepared: epi.Problem, points: jax.Array, weights: jax.Array, eta: float) -> tuple:
    """Frequencies (q, m), energies of final states (q, N), Fan terms (q, N, m) and Debye-Waller terms (q, m), eV."""
    own = jnp.diagonal(prepared.states.energy).real

    def at(q: jax.Array) -> tuple:
        terms = prepared.at(q)
        (e, u), (squares, modes) = jnp.linalg.eigh(terms.there), jnp.linalg.eigh(terms.dynamical)
        x = in_eigenvectors(terms.coupled, [u, modes, jnp.eye(len(own), dtype=u.dtype)])
        size = (x.conj() * x).real / len(own)
        squared = jax.vmap(lambda s: variance(s, jnp.zeros(())))(squares)
        gap = own[None] - e[:, None]
        fan = jnp.einsum("Nmd,m,Nd->Nm", size, squared, gap / (gap**2 + eta**2))
        second = jnp.einsum("an,ab,bn->n", modes, terms.debye_waller, modes.conj()).real * squared
        return thz_from_eigenvalue(squares), e - own.mean(), fan, second

    thz, energies, fan, second = jax.lax.map(at, points)
    return thz, energies, fan * weights[:, None, None], second * weights[:, None]


def without(hamiltonian: Hamiltonian, names: list[str]) -> Hamiltonian:
    """Niquet's set with some of its on-site parameters zero."""
    given = hamiltonian.params["niquet"]
    zero = {name: jax.tree.map(jnp.zeros_like, given[name]) for name in names}
    return replace(hamiltonian, params={**hamiltonian.params, "niquet": {**given, **zero}})


@refusing
def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hamiltonian", default="si-niquet2009")
    parser.add_argument("--potential")
    parser.add_argument("--mesh", type=int, default=8)
    parser.add_argument("--eta", type=float, default=0.1, help="eV")
    parser.add_argument("--container", type=int, help="as of check_renormalisation.py")
    parser.add_argument("--second", type=int, help="as of check_renormalisation.py")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    loaded = materials.load("silicon", options.hamiltonian, options.potential)
    cell, whole = loaded.primitive, loaded.hamiltonian
    constants = sampling.force_constants(loaded.potential, cell.supercell(4))
    repeats, second = (None if n is None else 3 * (n,) for n in (options.container, options.second))
    known = epi.topology(whole, constants, repeats, second)
    points = epi.wave_vectors(cell, options.mesh, np.zeros(3))
    q, weights = jnp.asarray(points.points), jnp.asarray(points.weights)
    variants = {"whole": whole}
    if "niquet" in whole.params:
        splitting = [name for name in whole.params["niquet"] if name not in ("length", "alpha")]
        variants |= {
            "without response to volume": without(whole, ["alpha"]),
            "without splitting by bonds": without(whole, splitting),
        }
    print(
        f"{machine()}; {loaded.hamiltonian_name}, {loaded.potential_name}, mesh {options.mesh}, eta {options.eta:g} eV"
    )
    for what, hamiltonian in variants.items():
        found = epi.Electrons.of(hamiltonian, cell, known.graph, known.stencil)
        energies = np.asarray(electrons.eigenvalues(hamiltonian, cell, np.zeros((1, 3)), known.graph))[0]
        shifts = []
        band = 3
        for _ in range(3 if what == "whole" else 2):
            level = epi.Level.at(hamiltonian, cell, (0, 0, 0), band)
            prepared = epi.problem(hamiltonian, constants, level, known, electrons=found)
            thz, away, fan, last = (1e3 * np.asarray(a) for a in resolved(prepared, q, weights, options.eta))
            thz, away = thz / 1e3, away / 1e3
            shifts.append(fan.sum() + last.sum())
            print(
                f"{what}: {level.count} states {energies[band] - energies[3]:.2f} eV above the valence top: {shifts[-1]:+.1f}, "
                f"Fan {fan.sum():+.1f}, Debye-Waller {last.sum():+.1f}"
            )
            if what == "whole":
                final = [fan.sum(axis=2)[(away >= a) & (away < b)].sum() for a, b in itertools.pairwise(WINDOWS)]
                print(
                    "    Fan by final states below -0.5, to 0.5, to 5, above 5 eV: "
                    + ", ".join(f"{x:+.1f}" for x in final)
                )
                both = fan.sum(axis=1) + last
                parts = [both[(thz >= a) & (thz < b)].sum() for a, b in itertools.pairwise(BANDS)]
                print(
                    "    by phonons below 6, 11, 13.5, above THz: " + ", ".join(f"{x:+.1f}" for x in parts), flush=True
                )
            band = level.first + level.count
        print(f"{what}: direct gap {shifts[1] - shifts[0]:+.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
