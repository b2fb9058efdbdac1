"""GPAW with atomic orbitals: energies and forces with D3(BJ), and H(R), S(R) in a confined basis, for carbon layers."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ase
import numpy as np
from scipy.linalg import block_diag

from jaxepi.errors import InputError
from jaxepi.labelling.engines.base import LabelFailure, Mesh
from jaxepi.labelling.engines.gpaw_code import INSTALL, STOPS, _points
from jaxepi.labelling.engines.lcao_sums import installed

SHELLS = ("s", "p", "s", "p", "d")
"""Shells of an atom in GPAW's dzp basis."""

BASIS = "c6.dzp"
"""Confined basis (class C6.0-s2p2d1): gpaw-basis -n c6 -t dzp -E 0.3 --rcut-max 6.0 C; radii up to 5.77 bohr."""


def harmonics() -> tuple[np.ndarray, np.ndarray]:
    """GPAW's p and d functions in terms of e3nn's: matrices T with f_e3nn = T f_gpaw.

    GPAW orders p as y, z, x and d as xy, yz, 3z^2 - r^2, xz, x^2 - y^2; jaxepi.hamiltonians.basis says e3nn's order.
    """
    p = np.zeros((3, 3))
    p[0, 2] = p[1, 0] = p[2, 1] = 1.0
    d = np.zeros((5, 5))
    d[0, 3] = d[1, 0] = d[3, 1] = 1.0  # xz, xy, yz
    # With u = (3z^2 - r^2)/(2 sqrt 3) and v = (x^2 - y^2)/2: y^2 - (x^2 + z^2)/2 = -(sqrt(3) u + 3 v)/2 and
    # (z^2 - x^2)/2 = (sqrt(3) u - v)/2, in units where each is normalised alike after dividing the first by sqrt(3).
    d[2, 2], d[2, 4] = -0.5, -(3**0.5) / 2
    d[4, 2], d[4, 4] = 3**0.5 / 2, -0.5
    return p, d


def to_e3nn() -> np.ndarray:
    """Orbitals of one atom, e3nn's order from GPAW's: shape (13, 13)."""
    p, d = harmonics()
    blocks = {"s": np.eye(1), "p": p, "d": d}
    return block_diag(*(blocks[shell] for shell in SHELLS))


THRESHOLD = 1e-10
"""GPAW's two-centre integrals leave out a radial function where it is smaller than this."""


GRAPHENE = 2.467
"""Lattice constant at PBE, angstrom."""


def grid_of(cell: np.ndarray, points: int) -> tuple[int, int, int]:
    """Divisions of the real-space grid: `points` along a lattice vector of graphene, so many times more in its supercells.

    Energies depend on the spacing by tens of meV an atom, and GPAW's own rounding gives 12 divisions to a primitive cell but
    20 to a 2x2 one. The third direction is divided as densely as 100 divisions of 20 angstrom for 12 points.
    """
    lengths = np.linalg.norm(cell, axis=1)
    wanted = points * np.array([lengths[0] / GRAPHENE, lengths[1] / GRAPHENE, lengths[2] / (0.2 * 12)])
    a, b, c = (4 * max(round(n / 4), 1) for n in wanted)
    return a, b, c


class GpawLcao:
    """PBE + D3(BJ) in the confined basis; `matrices` stores H(R), S(R).

    Args:
        level: its name. points: of the real-space grid along a lattice vector of graphene, see `grid_of`. reach: H(R) and
            S(R) beyond it are zero, angstrom. width: Fermi-Dirac smearing, eV. matrices: whether to store H(R) and S(R).
            forces: whether to compute them. off_mesh: number of random k points at which bands of H(R), S(R) are compared
            with GPAW's at fixed density. own_sums: density and forces by `lcao_sums` instead of by GPAW's, which are slower.
    """

    def __init__(
        self,
        *,
        level: str,
        points: int,
        reach: float,
        width: float,
        convergence: Mapping[str, Any],
        matrices: bool,
        forces: bool = True,
        off_mesh: int = 0,
        own_sums: bool = True,
    ):
        try:
            import dftd3.ase  # noqa: F401
            import gpaw
        except ImportError as error:
            raise InputError(INSTALL) from error
        self.level, self.points, self.reach, self.width = level, points, reach, width
        self.convergence, self.matrices, self.forces = dict(convergence), matrices, forces
        self.off_mesh, self.own_sums = off_mesh, own_sums
        self.basis_folder = _basis()
        settings: dict[str, Any] = {
            "mode": "LCAO",
            "basis": BASIS,
            "basis_made_with": "gpaw-basis -n c6 -t dzp -E 0.3 --rcut-max 6.0 C",
        }
        settings |= {"xc": "PBE", "dispersion": "D3(BJ)", "grid_points": points, "fermi_dirac_ev": width}
        settings |= {"convergence": self.convergence, "net_force": "mean subtracted"}
        self.levels = {level: {"code": "GPAW", "version": gpaw.__version__, "settings": settings}}

    def check(self, atoms: ase.Atoms) -> None:
        if set(atoms.get_chemical_symbols()) != {"C"}:
            raise InputError(f"{atoms.get_chemical_formula()}: the confined basis is made for carbon only")
        if list(atoms.pbc) != [True, True, False]:
            raise InputError(f"pbc={atoms.pbc.tolist()}: layers are periodic in the first two directions")
        Mesh.of(atoms)

    def label(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        from gpaw import KohnShamConvergenceError

        mesh = Mesh.of(atoms)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        work = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        bound = dispersion(work)
        sums = installed() if self.own_sums and max(mesh.divisions) > 1 else nullcontext()
        with tempfile.TemporaryDirectory(prefix="gpaw-") as folder, sums:
            work.calc = self.calculator(work, mesh, Path(folder) / "gpaw.txt")
            try:
                total = work.get_potential_energy() + bound.get_potential_energy()
                out = {f"{self.level}/energy": np.array(total)}
                if self.forces:
                    forces = work.get_forces() + bound.get_forces()
                    out[f"{self.level}/forces"] = forces - forces.mean(axis=0)
            except KohnShamConvergenceError as error:
                raise LabelFailure(f"{self.level}: the self-consistent cycle did not converge") from error
            except STOPS as error:
                raise LabelFailure(f"{self.level}: GPAW stopped: {type(error).__name__}: {error}") from error
            if self.matrices:
                out |= self._matrices(work, mesh)
        if any(v.dtype.kind == "f" and not np.isfinite(v).all() for v in out.values()):
            raise LabelFailure(f"{self.level}: the result holds NaN")
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        return out | {f"{self.level}/seconds": np.array(seconds), "occupied": np.array(2 * len(atoms))}

    def electronic_energy(self, atoms: ase.Atoms, ghosts: Sequence[int] = ()) -> float:
        """Energy without dispersion, eV; of the atoms `ghosts` the basis functions alone are there."""
        work = atoms.copy()
        work.calc = self.calculator(work, Mesh.of(atoms), None, ghosts)
        return float(work.get_potential_energy())

    def calculator(self, work: ase.Atoms, mesh: Mesh, text: Path | None, ghosts: Sequence[int] = ()):
        """GPAW's calculator at these settings; it writes to the file `text`."""
        from gpaw import GPAW, setup_paths

        atoms: dict[str | int, str] = {"default": "paw", **dict.fromkeys(ghosts, "ghost")}
        if str(self.basis_folder) not in setup_paths:
            setup_paths.insert(0, str(self.basis_folder))
        return GPAW(
            mode="lcao",
            basis=BASIS,
            xc="PBE",
            gpts=grid_of(work.cell.array, self.points),
            kpts=_points(mesh),
            occupations={"name": "fermi-dirac", "width": self.width},
            convergence=self.convergence,
            symmetry={"point_group": False},
            setups=atoms,
            txt=None if text is None else str(text),
        )

    def _matrices(self, work: ase.Atoms, mesh: Mesh) -> dict[str, np.ndarray]:
        """H(R), S(R) in e3nn's order, and the eigenvalues they give on the mesh against GPAW's own."""
        from gpaw.lcao.tools import get_lcao_hamiltonian
        from scipy.linalg import eigh

        from jaxepi.datasets.blocks import PairBlocks, fold, pairs_within

        calculator = work.calc
        h, s = get_lcao_hamiltonian(calculator)
        h = h[0]
        points, weights = np.asarray(calculator.get_ibz_k_points()), np.asarray(calculator.get_k_point_weights())
        # GPAW's Bloch sums run over the cells of atoms that are wrapped into the first one; undo that.
        wrapped = np.round(work.get_scaled_positions() - work.get_scaled_positions(wrap=False))
        phase = np.exp(2j * np.pi * points @ wrapped.T).repeat(13, axis=1)
        turn = np.kron(np.eye(len(work)), to_e3nn())
        h, s = (phase.conj()[:, :, None] * m * phase[:, None, :] for m in (h, s))
        h, s = (np.einsum("pi,kij,qj->kpq", turn, m, turn, optimize=True) for m in (h, s))
        pairs = pairs_within(work.positions, work.cell.array, (True, True, False), self.reach)
        hopping, overlap = (fold(m, points, weights, mesh.divisions, pairs, 13) for m in (h, s))
        functions = overlap_functions(calculator.wfs.setups)
        rebuilt = functions.blocks(work.positions, work.cell.array, (True, True, False), pairs)
        offsets = np.array([0, len(pairs)])
        held = PairBlocks(offsets, pairs, hopping, overlap, SHELLS, self.reach, self.level, functions)
        worst, energies = 0.0, []
        for k, point in enumerate(points):
            ours_k, own = held.bloch(0, point, len(work)), np.asarray(calculator.get_eigenvalues(kpt=k))
            energies.append(own[: 3 * len(work)])
            worst = max(worst, float(np.abs(eigh(*ours_k, eigvals_only=True)[: len(own)] - own).max()))
        if worst > 1e-6:
            raise LabelFailure(f"{self.level}: eigenvalues rebuilt from H(R), S(R) are off by {worst:.1e} eV")
        extra = {
            "round_trip_ev": worst,
            "overlap_rebuilt": np.abs(rebuilt - overlap).max(),
            "beyond_reach_ev": outside(h, points, weights, mesh.divisions, pairs, 13),
            "overlap_beyond_reach": outside(s, points, weights, mesh.divisions, pairs, 13),
        }
        if self.off_mesh:
            extra["off_mesh_ev"] = self._off_mesh(calculator, held, len(work))
        out = {f"{self.level}/eigenvalues": np.array(energies), "kpoints": points, "weights": weights}
        out |= {f"extra/{name}": np.array(value) for name, value in extra.items()}
        out |= {"blocks/pairs": pairs, "blocks/hamiltonian": hopping, "blocks/overlap": overlap}
        out |= {f"blocks/{name}": getattr(functions, name) for name in ("orbital", "projector", "correction")}
        about: dict[str, Any] = {"shells": SHELLS, "reach": self.reach, "level": self.level}
        about |= {"projectors": functions.projectors, "end": functions.end, "functions_reach": functions.reach}
        about["threshold"] = functions.threshold
        return out | {"blocks/about": np.array(json.dumps(about))}

    def _off_mesh(self, calculator, held, atoms: int) -> float:
        """Largest difference of bands from H(R), S(R) and from GPAW at random k points with the same density, eV.

        Of the bands that are stored: three an atom.
        """
        from scipy.linalg import eigh

        points = np.random.default_rng(0).uniform(-0.5, 0.5, (self.off_mesh, 3)) * [1, 1, 0]
        direct = calculator.fixed_density(kpts=points, symmetry="off", txt=None)
        worst = 0.0
        for k, point in enumerate(points):
            own = np.asarray(direct.get_eigenvalues(kpt=k))[: 3 * atoms]
            found = eigh(*held.bloch(0, point, atoms), eigvals_only=True)[: len(own)]
            worst = max(worst, float(np.abs(found - own).max()))
        return worst


def dispersion(atoms: ase.Atoms) -> ase.Atoms:
    """The same atoms with D3(BJ) for PBE as their calculator."""
    from dftd3.ase import DFTD3

    out = atoms.copy()
    out.calc = DFTD3(method="PBE", damping="d3bj")
    return out


def overlap_functions(setups):
    """The functions of distance that GPAW computes S from, in e3nn's order.

    Args:
        setups: GPAW's, of one element in the confined basis.
    """
    from gpaw.lcao.tci import TCIExpansions

    from jaxepi.datasets.overlap import OverlapFunctions, entries

    found = TCIExpansions.new_from_setups(setups)
    projectors = tuple("spd"[p.get_angular_momentum_number()] for p in setups[0].pt_j)
    if projectors != SHELLS:
        raise InputError(f"projectors {projectors} of this setup are not those of the carbon setup, {SHELLS}")
    tables, end = [], 0.0
    for expansions, symmetric in ((found.O_expansions, True), (found.P_expansions, False)):
        rows = []
        for i, j, degree in entries(SHELLS, SHELLS, symmetric):
            (spline,) = (x for x in expansions.tsoe_II[0, 0].oe_jj[i, j].spline_l if x.l == degree)
            end = spline.get_cutoff()
            rows.append(spline.map(np.linspace(0.0, end, spline.get_npoints())))
        tables.append(np.array(rows))
    turn = to_e3nn()
    correction = turn @ setups[0].dO_ii @ turn.T
    phi, pt = found.phit_rcmax_I[0], found.pt_rcmax_I[0]
    reach = (2 * phi, phi + pt)
    return OverlapFunctions(tables[0], tables[1], correction, SHELLS, projectors, end, reach, THRESHOLD)


def outside(matrices, points, weights, divisions, pairs, orbitals: int) -> float:
    """Largest element of the blocks that the mesh tells apart and that are not among the pairs.

    Args:
        matrices: H(k) or S(k), shape (k, m, m). points, weights: of the mesh, half of it by time reversal.
            divisions: of the mesh. pairs: each Hermitian pair once.
    """
    atoms = matrices.shape[1] // orbitals
    split = matrices.reshape(len(points), atoms, orbitals, atoms, orbitals)
    both = np.concatenate([pairs, np.column_stack([pairs[:, 1], pairs[:, 0], -pairs[:, 2:]])])
    worst = 0.0
    for shift in np.indices(divisions).reshape(3, -1).T:
        phase = weights * np.exp(-2j * np.pi * points @ shift)
        whole = np.einsum("k,kiajb->ijab", phase, split).real
        inside = both[(both[:, 2:] % divisions == shift).all(axis=1)]
        whole[inside[:, 0], inside[:, 1]] = 0.0
        worst = max(worst, float(np.abs(whole).max()))
    return worst


def _basis() -> Path:
    """Folder with the confined basis, made on first use in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxepi-basis"
    if not (cache / f"C.{BASIS}.basis").exists():
        cache.mkdir(parents=True, exist_ok=True)
        options = ["-n", "c6", "-t", "dzp", "-E", "0.3", "--rcut-max", "6.0", "C"]
        command = [str(Path(sys.executable).parent / "gpaw-basis"), *options]
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
        if done.returncode or not (cache / f"C.{BASIS}.basis").exists():
            raise InputError(f"gpaw-basis failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return cache
