"""Sparse factors of symmetric and Hermitian matrices by PARDISO of Intel's MKL (optional: pip install 'jaxepi[mkl]').

One triangle goes in and one factor is kept, in single precision: a quarter of the memory that the two complex double factors
of SciPy's SuperLU take, before the better order (nested dissection). `refined` adds what such a solution lacks of double
precision. Source: Intel oneMKL reference, "oneMKL PARDISO - Parallel Direct Sparse Solver Interface".
"""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Inexact

from jaxepi.errors import InputError

NAMES = ("libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so", "mkl_rt.2.dll", "mkl_rt.dll", "libmkl_rt.dylib")
"""Of the library, newest first."""

SYMMETRIC, HERMITIAN = -2, -4
"""Kinds of indefinite matrices, as PARDISO numbers them."""

EXACT, STEPS = 1e-9, 40
"""|b - A x| / |b| at which x is refined no further, and steps at most."""

ERRORS = {-2: "not enough memory", -4: "a pivot of zero", -7: "a singular diagonal block", -9: "not enough memory"}


@functools.cache
def library() -> Any:
    """MKL, from this Python's own installation or wherever the system finds libraries.

    Raises:
        InputError: it is not installed.
    """
    folders = (Path(sys.prefix) / "lib", Path(sys.prefix) / "Library/bin")
    for name in (*(str(folder / name) for folder in folders for name in NAMES), *NAMES):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise InputError("solver 'pardiso': Intel's MKL is not installed: pip install 'jaxepi[mkl]', or take 'superlu'")


class Factors:
    """A = L D L^+ of one sparse matrix; `solve` until `close`.

    Attributes:
        negative: how many eigenvalues of a real A are below zero: of H - E S, how many states lie below E. PARDISO does not
            say it of complex ones: -1.
        entries: of the factor. gigabytes: what PARDISO took for it at most.
    """

    def __init__(self, upper: sp.csr_matrix, only_ordered: bool = False):
        """Args: upper: the upper triangle of A with its diagonal; its rounding to single precision is what is factorised.
            only_ordered: to know entries and gigabytes beforehand; there is nothing to solve with.

        Raises:
            InputError: MKL is not installed, a matrix that is singular, or too little memory.
        """
        self._call = library().pardiso_64
        kind = np.complex64 if np.iscomplexobj(upper) else np.float32
        self.dtype: Any = np.dtype(kind)
        self.size = upper.shape[0]
        upper.sort_indices()
        self._arrays = (
            upper.data.astype(kind, copy=False),
            *(x.astype(np.int64) for x in (upper.indptr, upper.indices)),
        )
        self._kind = HERMITIAN if kind is np.complex64 else SYMMETRIC
        self._handle, self._set = np.zeros(64, np.int64), np.zeros(64, np.int64)
        for place, value in {
            1: 1,  # what follows is no default
            2: 2,  # nested dissection (METIS)
            10: 8,  # pivots below 1e-8 of the largest entry are raised to that
            11: 1,  # rows and columns scaled, and
            13: 1,  # large entries matched into pivots: what single precision needs in indefinite matrices
            18: -1,  # count the entries of the factor
            21: 1,  # Bunch-Kaufman pivots of one and two rows
            28: 1,  # single precision
            35: 1,  # counted from zero
        }.items():
            self._set[place - 1] = value
        nothing = np.zeros(0, kind)
        try:
            for phase in (11,) if only_ordered else (11, 22):
                self._run(phase, nothing, nothing)
        except InputError:
            self.close()
            raise
        self.negative, self.entries = int(self._set[22]) if kind is np.float32 else -1, int(self._set[17])
        self.gigabytes = float(max(self._set[14], self._set[15] + self._set[16])) / 1e6

    def _run(self, phase: int, b: np.ndarray, x: np.ndarray) -> None:
        def number(value: int) -> Any:
            return ctypes.byref(ctypes.c_int64(value))

        def place(array: np.ndarray) -> Any:
            return array.ctypes.data_as(ctypes.c_void_p)

        data, starts, indices = self._arrays
        error = ctypes.c_int64(0)
        matrix = (
            number(self.size),
            place(data),
            place(starts),
            place(indices),
            None,
            number(1),
            place(self._set),
        )
        self._call(
            place(self._handle), number(1), number(1), number(self._kind), number(phase), *matrix, number(0),
            place(b), place(x), ctypes.byref(error),
        )  # fmt: skip
        if error.value:
            raise InputError(
                f"solver 'pardiso': {ERRORS.get(error.value, 'failed')} (error {error.value}, {self.size} orbitals); move "
                "the energy by 1e-4 eV, take a smaller cell, or take 'superlu'"
            )

    def solve(self, b: Inexact[np.ndarray, "N"]) -> Inexact[np.ndarray, "N"]:
        """A^-1 b in single precision, in the precision of b."""
        one = np.ascontiguousarray(b, dtype=self.dtype)
        found = np.empty_like(one)
        self._run(33, one, found)
        return found.astype(b.dtype)

    def close(self) -> None:
        """Give the memory back."""
        nothing = np.zeros(0, self.dtype)
        self._run(-1, nothing, nothing)


Vectors = Callable[[Inexact[np.ndarray, "N"]], Inexact[np.ndarray, "N"]]


def refined(rough: Vectors, product: Vectors, energy: float) -> Vectors:
    """What solves A x = b in double precision by what solves it in single (iterative refinement).

    Args:
        rough: about A^-1 b of b. product: A x of x. energy: at which A = H - E S, eV, for the complaint.

    Raises:
        InputError: by what is returned, where A is so near singular that `rough` has no digit right.

    Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms (SIAM, 2002), chapter 12.
    """

    def solve(b: Inexact[np.ndarray, "N"]) -> Inexact[np.ndarray, "N"]:
        x, last, size = np.zeros_like(b), np.inf, np.linalg.norm(b)
        away = b
        for _ in range(STEPS):
            x = x + rough(away)
            away = b - product(x)
            error = float(np.linalg.norm(away) / size)
            if error < EXACT or (error < 1e-6 and error > 0.5 * last):  # or as exact as it gets
                return x
            if not error < 2 * last:
                break
            last = error
        raise InputError(
            f"(H - E S) x = b at {energy:g} eV is solved to {error:.1g} only by factors in single precision: move the energy "
            "by 1e-3 eV, or take solver 'superlu'"
        )

    return solve
