"""How much of what binds two layers of graphene is lent basis functions: counterpoise correction (S. F. Boys and F. Bernardi,
Mol. Phys. 19, 553 (1970)) of the recipe's AB bilayer. Needs the Python that has GPAW; two minutes.

python scripts/layer_binding.py
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engines
import numpy as np
from recipes import RECIPES
from refusals import refusing
from structures import annotate
from structures.carbon import STACKINGS, layers

RECIPE = "carbon-lcao-forces"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distances", type=float, nargs="+", default=[3.0, 3.2, 3.4, 3.6, 3.8, 4.0], help="angstrom")
    distances = np.array(sorted(parser.parse_args(arguments).distances))
    engine = engines.get(*RECIPES[RECIPE])
    from dftd3.ase import DFTD3

    print("AB, PBE in the basis of the labels, meV/atom from two layers apart:")
    print("angstrom   PBE   counterpoise   lent functions    D3(BJ)")
    rows = []
    for distance in distances:
        # The layers stand on points of the real-space grid, as those of `checks.bilayer_layers` do.
        both = layers(1, distance, STACKINGS["AB"])
        both.positions[:, 2] += distance / 2 - 1.6
        both = annotate(both, "unstrained", "pbe", (8, 8, 1))
        pairs = [(both[part], other) for part, other in (([0, 1], [2, 3]), ([2, 3], [0, 1]))]
        whole = engine.electronic_energy(both)
        alone = sum(engine.electronic_energy(_like(one, both)) for one, _ in pairs)
        lent = sum(engine.electronic_energy(both, other) for _, other in pairs)
        dispersion = 0.0
        for atoms, sign in ((both, 1), *((one, -1) for one, _ in pairs)):
            atoms = atoms.copy()
            atoms.calc = DFTD3(method="PBE", damping="d3bj")
            dispersion += sign * atoms.get_potential_energy()
        rows.append(250.0 * np.array([whole - alone, whole - lent, lent - alone, dispersion]))
        print("{:8.2f} {:7.2f} {:12.2f} {:14.2f} {:11.2f}".format(distance, *rows[-1]), flush=True)
    table = np.array(rows)
    fine = np.linspace(distances[0], distances[-1], 10001)
    for name, energies in (("as labelled", table[:, 0] + table[:, 3]), ("counterpoise", table[:, 1] + table[:, 3])):
        fit = np.polynomial.Polynomial.fit(distances, energies, min(4, len(distances) - 1))
        best = fine[fit(fine).argmin()]
        print(f"{name}: lowest at {best:.2f} angstrom, {fit(best):.1f} meV/atom")
    return 0


def _like(part, whole):
    part.info = dict(whole.info)
    return part


if __name__ == "__main__":
    sys.exit(main())
