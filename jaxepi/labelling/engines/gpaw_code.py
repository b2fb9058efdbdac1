"""GPAW: plane waves, for functionals that pw.x lacks (r2SCAN self-consistent)."""

import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np

from jaxepi.errors import InputError
from jaxepi.labelling.engines.base import LabelFailure, Mesh

INSTALL = (
    "GPAW was not found. It builds from source in about 3 minutes:\n"
    "    apt-get install --no-install-recommends gcc g++ make libxc-dev libopenblas-dev libfftw3-dev\n"
    "    printf \"mpi=False\\ncompiler='gcc'\\nlibraries=['xc','openblas','fftw3']\\nfftw=True\\n\" > siteconfig.py\n"
    "    pip install gpaw-data dftd3 ase && GPAW_CONFIG=siteconfig.py pip install gpaw==26.7.0"
)

STOPS = (AssertionError, RuntimeError, ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError)
"""What GPAW raises on a calculation that it cannot do."""


class Gpaw:
    """Plane-wave labels at one level.

    Args:
        level: its name. xc: functional, as GPAW spells it. cutoff: eV.
        valence: element -> valence electrons of its setup.
        empty: empty bands a pair of atoms that are stored and converged; as many again are carried as a buffer (without
            it the cycle does not end).
        convergence: GPAW's criteria besides `bands`. stress: whether to compute it.
    """

    def __init__(
        self,
        *,
        level: str,
        xc: str,
        cutoff: float,
        valence: Mapping[str, int],
        empty: float,
        convergence: Mapping[str, Any],
        stress: bool = True,
        eigenvalues: bool = True,
    ):
        try:
            import gpaw
        except ImportError as error:
            raise InputError(INSTALL) from error
        self.level, self.xc, self.cutoff, self.empty = level, xc, cutoff, empty
        self.valence, self.convergence = dict(valence), dict(convergence)
        self.stress, self.eigenvalues = stress, eigenvalues
        settings = {"mode": "PW", "xc": xc, "ecut_ev": cutoff, "setups": "paw", "convergence": self.convergence}
        settings["occupations"] = "fixed"
        self.levels = {level: {"code": "GPAW", "version": gpaw.__version__, "settings": settings}}

    def check(self, atoms: ase.Atoms) -> None:
        for symbol in sorted(set(atoms.get_chemical_symbols())):
            if symbol not in self.valence:
                raise InputError(f"no setup for {symbol}; this recipe has {sorted(self.valence)}")
        if not all(atoms.pbc):
            raise InputError(f"pbc={atoms.pbc.tolist()}: GPAW takes cells periodic in three directions here")
        Mesh.of(atoms)

    def label(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        from gpaw import GPAW, KohnShamConvergenceError

        mesh = Mesh.of(atoms)
        occupied = sum(self.valence[s] for s in atoms.get_chemical_symbols()) // 2
        empty = round(self.empty * len(atoms) / 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        with tempfile.TemporaryDirectory(prefix="gpaw-") as folder:
            calculator = GPAW(
                mode={"name": "pw", "ecut": self.cutoff},
                xc=self.xc,
                kpts=_points(mesh),
                nbands=occupied + 2 * empty,
                convergence={**self.convergence, "bands": occupied + empty},
                occupations={"name": "fixed-uniform"},
                symmetry={"point_group": False},
                txt=str(Path(folder) / "gpaw.txt"),
            )
            work = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
            work.calc = calculator
            try:
                out = {f"{self.level}/energy": np.array(work.get_potential_energy())}
                out[f"{self.level}/forces"] = work.get_forces()
                if self.stress:
                    out[f"{self.level}/stress"] = work.get_stress(voigt=False)
            except KohnShamConvergenceError as error:
                raise LabelFailure(f"{self.level}: the self-consistent cycle did not converge") from error
            except STOPS as error:
                raise LabelFailure(f"{self.level}: GPAW stopped: {type(error).__name__}: {error}") from error
            points = np.asarray(calculator.get_ibz_k_points())
            if self.eigenvalues:
                count = range(len(points))
                energies = np.array([calculator.get_eigenvalues(kpt=k)[: occupied + empty] for k in count])
                out[f"{self.level}/eigenvalues"] = energies
                out["kpoints"] = points - np.ceil(points - 0.5 - 1e-6)
                out["weights"] = np.asarray(calculator.get_k_point_weights())
        if any(not np.isfinite(v).all() for v in out.values()):
            raise LabelFailure(f"{self.level}: the result holds NaN")
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        return out | {f"{self.level}/seconds": np.array(seconds), "occupied": np.array(occupied)}


def _points(mesh: Mesh) -> np.ndarray:
    """All points of the mesh; GPAW finds the time-reversal partners."""
    n = np.array(mesh.divisions)
    points = (np.indices(mesh.divisions).reshape(3, -1).T + mesh.shift) / n
    return points - np.ceil(points - 0.5 - 1e-9)
