"""Labels of carbon layers with GPAW's own sums over the grid and with ours: differences and processor seconds.

    PYTHON_WITH_GPAW scripts/check_lcao_sums.py [SET] [--atoms 2 4 16] [--recipe carbon-lcao-fine]

Labels the first configuration of each size in SET (default: the bilayer set on the finer grid) both ways.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase
import numpy as np
from refusals import refusing

from jaxepi.datasets import hdf5
from jaxepi.datasets.dataset import DataSet
from jaxepi.errors import InputError
from jaxepi.labelling import engines
from jaxepi.labelling.engines.gpaw_lcao import GpawLcao
from jaxepi.labelling.recipes import RECIPES

SET = Path(__file__).resolve().parents[1] / "experiments" / "bilayer_graphene" / "data" / "pbe-d3-fine.h5"


def first(data: DataSet, atoms: int) -> ase.Atoms:
    """The first configuration of so many atoms, with its k mesh."""
    for group in data.groups:
        if len(group.species) == atoms:
            found = ase.Atoms(group.species, positions=group.positions[0], cell=group.cell[0], pbc=group.pbc)
            found.info |= {"mesh": [int(n) for n in group.mesh[:3]], "shift": list(group.mesh[3:])}
            return found
    raise InputError(
        f"{data.name} holds no configuration of {atoms} atoms; it has {sorted({len(g.species) for g in data.groups})}"
    )


@refusing
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", type=Path, default=SET)
    parser.add_argument("--atoms", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--recipe", default="carbon-lcao-fine")
    options = parser.parse_args()
    data = hdf5.read(options.set)
    kind, settings = RECIPES[options.recipe]
    if kind != "gpaw-lcao":
        raise InputError(f"recipe {options.recipe} is for {kind}; give one of gpaw-lcao")
    print("atoms  k mesh   energy, meV/atom   forces, meV/angstrom   GPAW's s   ours s   ratio")
    for atoms in options.atoms:
        cell = first(data, atoms)
        theirs, ours = (GpawLcao(**settings, own_sums=own).label(cell) for own in (False, True))
        level = settings["level"]
        energy = 1e3 * abs(theirs[f"{level}/energy"] - ours[f"{level}/energy"]) / atoms
        forces = 1e3 * np.abs(theirs[f"{level}/forces"] - ours[f"{level}/forces"]).max()
        a, b = (float(x[f"{level}/seconds"]) for x in (theirs, ours))
        mesh = "x".join(str(n) for n in engines.Mesh.of(cell).divisions)
        print(f"{atoms:5d}  {mesh:7s} {energy:18.1e} {forces:22.1e} {a:10.1f} {b:8.1f} {a / b:7.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
