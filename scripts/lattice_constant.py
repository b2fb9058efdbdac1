"""Lattice constant at which the energy of a recipe is lowest: a cubic through the energies of seven volumes.

python scripts/lattice_constant.py silicon --recipe silicon-pbe --mesh 6
python scripts/lattice_constant.py gaas --recipe gaas-r2scan --mesh 2 --shifted --cubic
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from ase.build import bulk
from refusals import refusing

from jaxepi.labelling import engines
from jaxepi.labelling.recipes import RECIPES
from jaxepi.labelling.structures import HALF, ZERO, annotate
from jaxepi.labelling.structures.crystals import MATERIALS, MEASURED


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", choices=sorted(MATERIALS))
    parser.add_argument("--recipe", required=True, choices=sorted(RECIPES))
    parser.add_argument("--mesh", type=int, required=True)
    parser.add_argument("--shifted", action="store_true")
    parser.add_argument("--cubic", action="store_true", help="8 atoms; default is the 2-atom cell")
    options = parser.parse_args(arguments)
    name, structure, _ = MATERIALS[options.material]
    constants = MEASURED[options.material] * np.linspace(0.99, 1.03, 7)
    engine = engines.get(*RECIPES[options.recipe])
    found: dict[str, list[float]] = {level: [] for level in engine.levels}
    for a in constants:
        atoms = bulk(name, structure, a=a, cubic=options.cubic)
        result = engine.label(annotate(atoms, "unstrained", "none", options.mesh, HALF if options.shifted else ZERO))
        for level, energies in found.items():
            energies.append(float(result[f"{level}/energy"]))
    fine = np.linspace(constants[0], constants[-1], 20001)
    for level, energies in found.items():
        fit = np.polynomial.Polynomial.fit(constants, energies, 3)
        print(f"{level}: {fine[fit(fine).argmin()]:.4f} angstrom")
    return 0


if __name__ == "__main__":
    sys.exit(main())
