"""Sums of GPAW's LCAO mode over the real-space grid, for all k points at once and in real numbers.

GPAW goes over the grid once a k point (density, forces), in complex numbers. What k points differ by are phases of cells: with

    R_x[mu, nu] = Re sum_k exp(2 pi i k.x) rho_k[mu, nu]

of every displacement x of cells, density and forces are one pass over the grid of real numbers, as GPAW's matrices of the
potential already are. `installed` puts these passes in the place of GPAW's (scripts/check_lcao_sums.py compares the two).
"""

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from jaxepi.errors import InputError

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-shared", "-fPIC")
"""Sums in any order, as vectors want it; not -Ofast, which would make the whole process flush small numbers to zero."""


class Functions(ctypes.Structure):
    """Localized functions on the grid; see lcao_sums.c."""

    _fields_ = [
        *((n, ctypes.c_int) for n in ("stretches", "functions", "images", "orbitals")),
        *((n, ctypes.c_void_p) for n in ("ends", "events", "image", "place", "width", "values", "first", "cell")),
    ]


@lru_cache
def library(functions: int) -> ctypes.CDLL:
    """The compiled passes for so many functions an atom, kept in the user's cache.

    Raises:
        InputError: no C compiler, or one that fails.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxepi-basis"
    name = hashlib.sha256(SOURCE.read_bytes() + repr((FLAGS, functions)).encode()).hexdigest()[:16]
    path = cache / f"lcao-{name}.so"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}")
        command = ["gcc", *FLAGS, f"-DN={functions}", str(SOURCE), "-o", str(made)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise InputError("there is no gcc, which GPAW is built with, too; apt-get install gcc") from error
        except subprocess.CalledProcessError as error:
            raise InputError(f"gcc refuses {SOURCE.name}: {error.stderr.strip()[-300:]}") from error
        made.replace(path)
    return ctypes.CDLL(str(path))


def _pointers(arrays: list[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))


class Sums:
    """The passes of one set of positions.

    Args:
        basis: GPAW's BasisFunctions, all atoms with the same functions, the whole grid in this process.
    """

    def __init__(self, basis: Any) -> None:
        self.basis, count = basis, basis.sphere_a[0].Mmax
        if any(sphere.Mmax != count for sphere in basis.sphere_a):
            raise InputError("atoms of different numbers of functions; these sums want one element")
        self.library = library(count)
        atoms = np.repeat(basis.atom_indices, [len(basis.sphere_a[a].M_w) for a in basis.atom_indices])
        first = np.asarray(basis.M_a)[atoms]
        keys, image = np.unique(np.column_stack([first, basis.x_W]), axis=0, return_inverse=True)
        self.values = [np.ascontiguousarray(a) for a in basis.A_Wgm]
        self._kept: dict[str, Any] = {
            "ends": basis.G_B,
            "events": basis.W_B,
            "image": image.reshape(-1),
            "place": basis.M_W - first,
            "width": [a.shape[1] for a in self.values],
            "first": keys[:, 0],
            "cell": keys[:, 1],
        }
        self._kept = {n: np.ascontiguousarray(a, np.intc) for n, a in self._kept.items()}
        held = {n: a.ctypes.data for n, a in self._kept.items()}
        self._table = _pointers(self.values)
        self.shape = (len(basis.sdisp_xc), basis.Mmax, basis.Mmax)
        self.functions = Functions(
            len(basis.G_B), len(self.values), len(keys), basis.Mmax, values=ctypes.addressof(self._table), **held
        )

    def folded(self, matrices: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
        """R_x from (index of the k point, matrix), shape (x, M, M)."""
        out = np.zeros(self.shape)
        for q, matrix in matrices:
            phases = np.exp(2j * np.pi * self.basis.sdisp_xc @ self.basis.ibzk_qc[q])
            for x, phase in enumerate(phases):
                out[x] += phase.real * matrix.real - phase.imag * matrix.imag
        return out

    def add_density(self, matrices: np.ndarray, density: np.ndarray) -> None:
        """Add the density of folded density matrices to that of the grid."""
        self._pass(matrices, density)

    def forces(self, matrices: np.ndarray, potential: np.ndarray) -> np.ndarray:
        """Forces of a potential on the functions, shape (atoms, 3), with folded density matrices."""
        scaled, orbitals = potential * self.basis.gd.dv, np.zeros((3, self.basis.Mmax))
        for axis in range(3):
            self._pass(matrices, scaled, self._slopes(axis), orbitals[axis])
        return 2 * orbitals.reshape(3, len(self.basis.sphere_a), -1).sum(axis=2).T

    def _pass(
        self,
        matrices: np.ndarray,
        grid: np.ndarray,
        slopes: list[np.ndarray] | None = None,
        result: np.ndarray | None = None,
    ) -> None:
        if not grid.flags.c_contiguous or grid.dtype != np.float64:
            raise ValueError(f"the grid is {grid.dtype}, strides {grid.strides}; give doubles, one after another")
        failed = self.library.lcao_sum(
            ctypes.byref(self.functions),
            ctypes.c_void_p(matrices.ctypes.data),
            ctypes.c_void_p(grid.ctypes.data),
            None if slopes is None else _pointers(slopes),
            None if result is None else ctypes.c_void_p(result.ctypes.data),
        )
        if failed:
            raise MemoryError("no memory for the sums over the grid")

    def _slopes(self, axis: int) -> list[np.ndarray]:
        """Derivatives of all functions on their points along one axis."""
        basis, out, w = self.basis, [], 0
        grid = np.array(basis.gd.n_c)
        for a in basis.atom_indices:
            sphere = basis.sphere_a[a]
            for ranges, start in zip(sphere.G_wb, sphere.M_w, strict=True):
                spline = self._spline(sphere, start)
                points = np.concatenate([np.arange(b, e) for b, e in zip(ranges[::2], ranges[1::2], strict=True)])
                index = np.stack(np.unravel_index(points, grid), axis=1) + basis.gd.beg_c
                out.append(_slope(spline, index @ basis.gd.h_cv - basis.pos_Wv[w], axis))
                w += 1
        return out

    @staticmethod
    def _spline(sphere: Any, start: int) -> Any:
        """The radial function that begins at a place of its atom."""
        place = 0
        for spline in sphere.spline_j:
            if place == start:
                return spline
            place += 2 * spline.get_angular_momentum_number() + 1
        raise ValueError(f"no function begins at {start}")


@contextmanager
def installed() -> Iterator[None]:
    """GPAW's density and forces of atomic orbitals by these sums; without spin, in one process, on more than one k point."""
    from gpaw.new.lcao import forces
    from gpaw.new.lcao.ibzwfs import LCAOIBZWaveFunctions as States

    theirs = States.forces

    def folded(states: Any) -> tuple[Sums, np.ndarray]:
        sums = Sums(next(iter(states)).basis)
        return sums, sums.folded((one.q, one.calculate_density_matrix()) for one in states)

    def add_to_density(states: Any, density: Any, atomic: Any) -> None:
        sums, matrices = folded(states)
        sums.add_density(matrices, density.data[0])
        for one in states:
            one.add_to_atomic_density_matrices(one.weight * one.spin_degeneracy * one.myocc_n, atomic)

    def all_forces(states: Any, potential: Any, *others: Any) -> np.ndarray:
        sums, matrices = folded(states)
        with patch.object(forces, "add_pot_term", lambda *_: None):
            rest = theirs(states, potential, *others)
        return rest + sums.forces(matrices, potential.vt_sR.data[0])

    with patch.object(States, "add_to_density", add_to_density), patch.object(States, "forces", all_forces):
        yield


STEP = 1e-4
"""Bohr: of the central differences of radial functions, which are cubic splines."""


def _slope(spline: Any, vectors: np.ndarray, axis: int) -> np.ndarray:
    """Derivative of f(|r|) S_m(r) along an axis, S the solid harmonics of GPAW's order; shape (points, 2l + 1)."""
    r = np.linalg.norm(vectors, axis=1)
    near = np.maximum(r, STEP)
    radial = (spline.map(near + STEP) - spline.map(near - STEP)) / (2 * STEP)
    solid, gradient = _solid(spline.get_angular_momentum_number(), vectors, axis)
    return np.ascontiguousarray((radial * vectors[:, axis] / near)[:, None] * solid + spline.map(r)[:, None] * gradient)


def _solid(l: int, vectors: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Real solid harmonics in GPAW's order and their derivatives along an axis."""
    if l == 0:
        value = np.full((len(vectors), 1), (4 * np.pi) ** -0.5)
        return value, np.zeros_like(value)
    if l == 1:
        scale = (3 / (4 * np.pi)) ** 0.5
        order = [1, 2, 0]
        return scale * vectors[:, order], np.tile(scale * np.eye(3)[order, axis], (len(vectors), 1))
    if l == 2:
        forms = np.zeros((5, 3, 3))
        for m, (i, j) in {0: (0, 1), 1: (1, 2), 3: (0, 2)}.items():
            forms[m, i, j] = forms[m, j, i] = 0.5
        forms[2] = np.diag([-1.0, -1.0, 2.0]) / (2 * 3**0.5)
        forms[4] = np.diag([0.5, -0.5, 0.0])
        forms *= (15 / (4 * np.pi)) ** 0.5
        turned = np.einsum("mij,pj->pmi", forms, vectors)
        return np.einsum("pmi,pi->pm", turned, vectors), 2 * turned[:, :, axis]
    raise InputError(f"functions of angular momentum {l}; these sums know s, p and d")
