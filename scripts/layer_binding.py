"""How much of what binds two layers of graphene is lent basis functions: counterpoise correction (S. F. Boys and F. Bernardi,
Mol. Phys. 19, 553 (1970)) of the recipe's AB bilayer. Needs the Python that has GPAW; two minutes.

python scripts/layer_binding.py
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from refusals import refusing

from jaxepi.labelling import engines
from jaxepi.labelling.engines.gpaw_lcao import dispersion
from jaxepi.labelling.recipes import RECIPES
from jaxepi.labelling.structures.carbon import STACKINGS
from jaxepi.labelling.structures.checks import DISTANCES, rigid_layers

RECIPE = "carbon-lcao-forces"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distances", type=float, nargs="+", default=DISTANCES, help="angstrom")
    distances = np.array(sorted(parser.parse_args(arguments).distances))
    engine = engines.get(*RECIPES[RECIPE])
    print("AB, PBE in the basis of the labels, meV/atom from two layers apart:")
    print("angstrom   PBE   counterpoise   lent functions    D3(BJ)")
    rows = []
    for distance in distances:
        both = rigid_layers(distance, STACKINGS["AB"])
        lower, upper = [0, 1], [2, 3]
        single = [both[lower], both[upper]]
        whole = engine.electronic_energy(both)
        alone = sum(engine.electronic_energy(one) for one in single)
        lent = sum(engine.electronic_energy(both, other) for other in (upper, lower))
        held = [dispersion(atoms).get_potential_energy() for atoms in (both, *single)]
        rows.append(250.0 * np.array([whole - alone, whole - lent, lent - alone, held[0] - held[1] - held[2]]))
        print("{:8.2f} {:7.2f} {:12.2f} {:14.2f} {:11.2f}".format(distance, *rows[-1]), flush=True)
    table = np.array(rows)
    fine = np.linspace(distances[0], distances[-1], 10001)
    for name, energies in (("as labelled", table[:, 0] + table[:, 3]), ("counterpoise", table[:, 1] + table[:, 3])):
        fit = np.polynomial.Polynomial.fit(distances, energies, min(4, len(distances) - 1))
        best = fine[fit(fine).argmin()]
        print(f"{name}: lowest at {best:.2f} angstrom, {fit(best):.1f} meV/atom")
    return 0


if __name__ == "__main__":
    sys.exit(main())
