"""Independent-particle dielectric functions of silicon at PBE by GPAW's response module, to check momentum matrix elements.

    GPAW_PYTHON scripts/reference_dielectric.py experiments/silicon/checks/pbe-dielectric.h5

Two cells, no local fields: the 2-atom crystal, and one 8-atom cell with thermal displacements. The file holds for each:
positions, cell, k mesh, number of bands, energies (eV), eps1 and eps2 along x, y and z (Lorentzian of half width `eta`, eV).
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

from jaxepi.files import whole

ETA = 0.1
"""Half width, eV."""


def cells() -> dict[str, tuple[ase.Atoms, int, int]]:
    """Structure, divisions of the Gamma-centred k mesh, and bands of each calculation."""
    from structures.crystals import Crystal

    thermal = Crystal("silicon", cubic=True).thermal(5.431, 300.0, "quantum", 7)
    return {"crystal": (bulk("Si", "diamond", a=5.431), 12, 20), "thermal": (thermal, 6, 64)}


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
            group["positions"], group["cell"] = atoms.positions, atoms.cell.array
            for key, value in found.items():
                group.create_dataset(key, data=value, compression="gzip")
            print(f"{name}: eps1(0) = {found['eps1'][:, 0].round(3).tolist()}", flush=True)


if __name__ == "__main__":
    main()
