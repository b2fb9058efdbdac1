"""D3 dispersion against the dftd3 package: how the difference falls with the cutoff.

    python scripts/check_dispersion.py            # against the numbers pinned in tests/potentials/d3_reference.json
    python scripts/check_dispersion.py --write    # computes those anew; needs `pip install dftd3`

Prints, for every structure, cutoff and width of the switch, the difference in energy (meV an atom) and forces (meV/angstrom)
from that package with its default cutoffs (60 bohr for pairs, 40 bohr for coordination numbers).
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from jaxepi.graph import build_graph  # noqa: E402
from jaxepi.potentials.dispersion import Dispersion  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402

PINNED = Path(__file__).parents[1] / "tests" / "potentials" / "d3_reference.json"
SETTINGS = [(cutoff, width) for cutoff in (8.0, 10.0, 12.0, 15.0, 20.0) for width in (0.5, 2.0, cutoff / 3)]


def ours(term: Dispersion, structure: Structure) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/angstrom)."""
    (table,) = build_graph(structure, term.cutoff, 0.0, (term.relation,)).tables

    @jax.jit
    @jax.value_and_grad
    def energy(x):
        numbers = jnp.asarray(structure.species)
        return term.energies(numbers, table.vectors(x, structure.cell), table.receivers).sum()

    value, slope = energy(structure.positions)
    return float(value), -np.asarray(slope)


def compare() -> None:
    """Print the table."""
    pinned = json.loads(PINNED.read_text())
    print(pinned["code"])
    for name, entry in pinned["structures"].items():
        structure = Structure.create(entry["positions"], entry["cell"], entry["numbers"], entry["pbc"])
        (theirs,) = (r for r in entry["results"] if r["within"] is None)
        atoms, forces = len(structure), np.array(theirs["forces"])
        print(
            f"{name}: {1e3 * theirs['energy'] / atoms:.2f} meV/atom, largest force {1e3 * np.abs(forces).max():.2f} "
            "meV/angstrom\n  cutoff  width   energy   force rms   force max"
        )
        for cutoff, width in SETTINGS:
            energy, found = ours(Dispersion(cutoff=cutoff, width=width), structure)
            off = 1e3 * (found - forces)
            print(
                f"{cutoff:8.1f} {width:6.2f} {1e3 * (energy - theirs['energy']) / atoms:8.3f} "
                f"{np.sqrt((off**2).mean()):11.3f} {np.abs(off).max():11.3f}"
            )


def write() -> None:
    """Compute the pinned numbers anew, for the same structures."""
    import importlib.metadata

    import ase
    from dftd3.ase import DFTD3

    pinned = json.loads(PINNED.read_text())
    pinned["code"] = f"dftd3 {importlib.metadata.version('dftd3')}: DFTD3(method='PBE', damping='d3bj')"
    for entry in pinned["structures"].values():
        periodic = any(entry["pbc"])
        cell = entry["cell"] if periodic else None
        atoms = ase.Atoms(entry["numbers"], positions=entry["positions"], cell=cell, pbc=entry["pbc"])
        for result in entry["results"]:
            within = result["within"]
            cutoffs = {} if within is None else {"cn": within, "disp2": within}
            atoms.calc = DFTD3(method="PBE", damping="d3bj", realspace_cutoff=cutoffs)
            result["energy"] = round(atoms.get_potential_energy(), 8)
            result["forces"] = np.round(atoms.get_forces(), 8).tolist()
            if periodic:
                result["stress"] = np.round(atoms.get_stress(), 9).tolist()
    text = json.dumps(pinned, separators=(",", ":"))
    for word in (*pinned["structures"], "results"):
        text = text.replace(f'"{word}":', f'\n"{word}":')
    PINNED.write_text(text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="compute the pinned numbers anew")
    if parser.parse_args().write:
        write()
    compare()
