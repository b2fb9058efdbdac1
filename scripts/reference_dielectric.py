"""Independent-particle dielectric functions of silicon at PBE by GPAW's response module, to check momentum matrix elements.

    GPAW_PYTHON scripts/reference_dielectric.py experiments/silicon/dielectric/gpaw-pbe.h5

Two cells, no local fields: the 2-atom crystal, and one 8-atom cell with thermal displacements, of the test split of the data
set (200 K). The file holds for each: positions, cell, k mesh, number of bands, energies (eV), eps1 and eps2 along x, y and z
(Lorentzian of half width `eta`, eV).
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase
import h5py
import numpy as np
from ase.build import bulk

from jaxepi import datasets
from jaxepi.files import whole

ETA = 0.1
"""Half width, eV."""

DATA, THERMAL = Path(__file__).resolve().parents[1] / "experiments/silicon/data/hse06.h5", "7cec1018cf896ab6"
"""A data set, and the fingerprint of the configuration of it that is the thermal cell."""


def cells() -> dict[str, tuple[ase.Atoms, int, int]]:
    """Structure, divisions of the Gamma-centred k mesh, and bands of each calculation."""
    group = next(group for group in datasets.read(DATA).groups if THERMAL in group.fingerprint)
    row = group.fingerprint.index(THERMAL)
    thermal = ase.Atoms(list(group.species), positions=group.positions[row], cell=group.cell[row], pbc=True)
    return {"crystal": (bulk("Si", "diamond", a=5.431), 24, 20), "thermal": (thermal, 4, 64)}


def dielectric(atoms: ase.Atoms, divisions: int, bands: int) -> dict[str, np.ndarray]:
    """Energies and the diagonal of eps, from a converged ground state."""
    from gpaw import GPAW, PW
    from gpaw.response.df import DielectricFunction

    with tempfile.TemporaryDirectory(prefix="gpaw-") as folder:
        path = str(Path(folder) / "ground.gpw")
        work = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
        symmetry = {} if len(atoms) == 2 else {"point_group": False}
        work.calc = GPAW(
            mode=PW(350),
            xc="PBE",
            kpts={"size": (divisions,) * 3, "gamma": True},
            nbands=bands + max(8, bands // 4),
            convergence={"bands": bands, "eigenstates": 1e-9},
            occupations={"name": "fixed-uniform"},
            symmetry=symmetry,
            txt=str(Path(folder) / "gpaw.txt"),
        )
        work.get_potential_energy()
        work.calc.write(path, "all")
        axis = np.arange(0.0, 12.0 + 1e-9, 0.02)
        out = {"energies": axis}
        response = DielectricFunction(path, eta=ETA, nbands=bands, ecut=10, frequencies=axis, hilbert=False, txt=None)
        found = [response.get_dielectric_function(q_c=[0, 0, 0], direction=d)[0] for d in "xyz"]
        out["eps1"], out["eps2"] = (np.stack([getattr(f, part) for f in found]) for part in ("real", "imag"))
    return out


def kept(old: Path, new: Path) -> h5py.File:
    """A file that begins with what the old one holds, if there is one."""
    if old.exists():
        new.write_bytes(old.read_bytes())
    return h5py.File(new, "a")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", choices=["crystal", "thermal"])
    options = parser.parse_args()
    options.output.parent.mkdir(exist_ok=True)
    import gpaw

    with whole(options.output) as temporary, kept(options.output, temporary) as file:
        file.attrs.update(
            {"code": f"GPAW {gpaw.__version__}", "level": "PBE, 350 eV, independent particles", "eta": ETA}
        )
        for name, (atoms, divisions, bands) in cells().items():
            if options.only not in (None, name):
                continue
            print(f"{name}: {len(atoms)} atoms, {divisions}^3 k points, {bands} bands", flush=True)
            found = dielectric(atoms, divisions, bands)
            file.pop(name, None)
            group = file.create_group(name)
            group.attrs.update({"divisions": divisions, "bands": bands})
            group["positions"], group["cell"], group["numbers"] = atoms.positions, atoms.cell.array, atoms.numbers
            for key, value in found.items():
                group.create_dataset(key, data=np.asarray(value, np.float32), compression="gzip")
            print(f"{name}: eps1(0) = {found['eps1'][:, 0].round(3).tolist()}", flush=True)


if __name__ == "__main__":
    main()
