"""Functions of Hermitian matrices whose derivatives are right at degeneracies.

Derivatives of eigenvectors do not exist where eigenvalues coincide, and masking 1/(E_m - E_n) drops terms. What is
smooth is the function of the matrix. So the derivative rule stands on f(A), by divided differences (Daleckii and Krein):
(df)_mn = [f(a_m) - f(a_n)]/(a_m - a_n) (dA)_mn, with f' inside a degenerate set.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact
from threadpoolctl import threadpool_limits

LARGE_MATRIX = 1000
"""Orbitals from which LAPACK's own threads are worth having."""


def call_lapack(size: int, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a jitted function that diagonalises matrices of `size`, small ones with LAPACK on one thread.

    On idle cores more threads gain little there; beside other work OpenBLAS' threads wait for one another and lose much.
    Traced arguments are passed on as they are.
    """
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, options)))
    if traced or size >= LARGE_MATRIX:
        return function(*args, **options)
    with threadpool_limits(1, user_api="blas"):
        return jax.block_until_ready(function(*args, **options))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def matrix_function(f: Callable[..., Array], matrix: Inexact[Array, "n n"], *parameters) -> Inexact[Array, "n n"]:
    """f(A; parameters) of a Hermitian matrix, differentiable through degenerate eigenvalues and in the parameters.

    Args:
        f: differentiable scalar function `f(eigenvalue, *parameters)`; it must not close over traced values.
        matrix: Hermitian, shape (n, n).
        parameters: further arguments of f, shared by all eigenvalues.
    """
    a, u = jnp.linalg.eigh(matrix)
    return _from_spectrum(_over_eigenvalues(f)(a, *parameters), u)


@matrix_function.defjvp
def _matrix_function_jvp(f, primals, tangents):
    (matrix, *parameters), (tangent, *parameter_tangents) = primals, tangents
    a, u = jnp.linalg.eigh(matrix)
    fa, dfa = jax.jvp(lambda *p: _over_eigenvalues(f)(a, *p), tuple(parameters), tuple(parameter_tangents))
    weights = divided_differences(a, fa, _over_eigenvalues(jax.grad(f))(a, *parameters))
    inner = weights.astype(u.dtype) * (u.conj().T @ tangent @ u)
    return _from_spectrum(fa, u), u @ (inner + jnp.diag(dfa).astype(u.dtype)) @ u.conj().T


def _over_eigenvalues(f: Callable[..., Array]) -> Callable[..., Array]:
    return lambda a, *parameters: jax.vmap(lambda x: f(x, *parameters))(a)


def _from_spectrum(values: Array, vectors: Array) -> Array:
    return (vectors * values.astype(vectors.dtype)[None, :]) @ vectors.conj().T


def divided_differences(x: Array, fx: Array, slope: Array) -> Array:
    """[f(x_m) - f(x_n)]/(x_m - x_n), and the mean slope where x_m and x_n coincide to within round-off; shape (n, n)."""
    gap = x[:, None] - x[None, :]
    near = jnp.abs(gap) < degeneracy_tolerance(x)
    mean_slope = 0.5 * (slope[:, None] + slope[None, :])
    return jnp.where(near, mean_slope, (fx[:, None] - fx[None, :]) / jnp.where(near, 1, gap))


def degeneracy_tolerance(x: Array) -> Array:
    """The difference below which eigenvalues count as equal: balances round-off eps/d against truncation d^2."""
    return jnp.finfo(x.dtype).eps ** (1 / 3) * jnp.maximum(1.0, jnp.max(jnp.abs(x))) * 1e-1


def inverse_cholesky(overlap: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """X = L^-1 of S = L L^+, so that X S X^+ = 1 and X H X^+ is H in an orthonormal basis.

    One triangular solution a matrix, then products: many triangular solutions under nested vmaps, fused with the sums that
    make H(k), never return on JAX 0.10.1's CPU (all its threads wait for one another).
    """
    identity = jnp.eye(overlap.shape[-1], dtype=overlap.dtype)
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(overlap), identity, lower=True)


def alike(*arrays: Inexact[Array, "..."]) -> tuple[Array, ...]:
    """The arrays in one type that holds them all: real ones become complex beside complex ones."""
    dtype = np.result_type(*(array.dtype for array in arrays))
    return tuple(array.astype(dtype) for array in arrays)


def inverse_3x3(matrix: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Inverse by cross products: fused with what is around it, where a call of LAPACK costs more than the numbers."""
    a, b, c = matrix
    crossed = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    return crossed / jnp.dot(a, crossed[:, 0])


def spectral_norm_3x3(matrix: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Largest singular value, from the largest root of the characteristic polynomial of A A^T (Smith, CACM 4, 168 (1961))."""
    square = matrix @ matrix.T
    mean = jnp.trace(square) / 3
    rest = square - mean * jnp.eye(3, dtype=matrix.dtype)
    size = jnp.sqrt(jnp.sum(rest**2) / 6)
    a, b, c = rest / jnp.where(size > 0, size, 1)
    angle = jnp.arccos(jnp.clip(jnp.dot(a, jnp.cross(b, c)) / 2, -1, 1)) / 3
    return jnp.sqrt(mean + 2 * size * jnp.cos(angle))


def hermitian(matrix: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """The Hermitian part."""
    return 0.5 * (matrix + matrix.conj().T)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def invariant_subspaces(windows: tuple[tuple[int, int], ...], matrix: Inexact[Array, "N N"]) -> tuple[Array, ...]:
    """Eigenvalues of a Hermitian matrix, ascending, and for each window its eigenvectors as columns: a basis of their space.

    Derivatives move the space along all other eigenvectors and do not turn the basis within: right for whatever depends on the
    space, or on a matrix between these vectors, and finite where they are degenerate with one another. A degenerate set that a
    window cuts has no derivative; its part is left out. Eigenvalues carry that of single states: sum degenerate ones first.

    Args:
        windows: the first eigenvector of each, and one past the last.
    """
    e, u = jnp.linalg.eigh(matrix)
    return e, *(u[:, first:last] for first, last in windows)


@invariant_subspaces.defjvp
def _invariant_subspaces_jvp(windows, primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    e, u = jnp.linalg.eigh(matrix)
    inner = u.conj().T @ hermitian(tangent) @ u
    place, near = jnp.arange(len(e)), degeneracy_tolerance(e)

    def moved(first: int, last: int) -> Array:
        gap = e[None, first:last] - e[:, None]
        kept = ~((place >= first) & (place < last))[:, None] & (jnp.abs(gap) > near)
        weights = jnp.where(kept, 1 / jnp.where(kept, gap, 1.0), 0.0)
        return u @ (weights.astype(u.dtype) * inner[:, first:last])

    values = e, *(u[:, first:last] for first, last in windows)
    return values, (jnp.diagonal(inner).real, *(moved(*window) for window in windows))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def spectral_sum(
    h: Callable[..., Array],
    matrices: tuple[Inexact[Array, "_ _"], ...],
    tensor: Inexact[Array, "*shape"],
    parameters: tuple[Array, ...] = (),
) -> Float[Array, ""]:
    """<V| h(A, B, ...; parameters) |V>, each matrix acting on one axis of V; differentiable through degenerate eigenvalues.

    With eigenvalues a_i, b_j, ... and V in the eigenvectors, it is the sum of h(a_i, b_j, ...) |V_ij...|^2. Its derivative by
    a matrix is the divided difference of h along that axis, as of `matrix_function`; derivatives of derivatives are not given.

    Args:
        h: differentiable scalar function of one eigenvalue of each matrix and of the parameters.
        matrices: Hermitian, one an axis of the tensor.
    """
    spectra = [jnp.linalg.eigh(matrix) for matrix in matrices]
    values = _over_spectra(h, [a for a, _ in spectra], parameters)
    return jnp.sum(values * _squared(in_eigenvectors(tensor, [u for _, u in spectra])))


@spectral_sum.defjvp
def _spectral_sum_jvp(h, primals, tangents):
    (matrices, tensor, parameters), (turned, moved, varied) = primals, tangents
    spectra = [jnp.linalg.eigh(matrix) for matrix in matrices]
    a, u = [a for a, _ in spectra], [u for _, u in spectra]
    values, change = jax.jvp(lambda p: _over_spectra(h, a, p), (parameters,), (varied,))
    x, dx = in_eigenvectors(tensor, u), in_eigenvectors(moved, u)
    slope = jnp.sum(change * _squared(x)) + 2 * jnp.sum(values * (x.conj() * dx).real)
    for axis, (tangent, own) in enumerate(zip(turned, u, strict=True)):
        inner = own.conj().T @ tangent @ own

        def columns(array: Array, axis: int = axis) -> Array:
            return jnp.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)

        steep = _over_spectra(jax.grad(h, argnums=axis), a, parameters)
        over = jax.vmap(partial(divided_differences, a[axis]), in_axes=(1, 1), out_axes=2)
        weights = over(columns(values), columns(steep)).astype(inner.dtype)
        xs = columns(x).astype(inner.dtype)
        slope = slope + jnp.einsum("ijc,ic,ij,jc->", weights, xs.conj(), inner, xs).real
    return jnp.sum(values * _squared(x)), slope


def in_eigenvectors(tensor: Inexact[Array, "*shape"], vectors: Sequence[Array]) -> Inexact[Array, "*shape"]:
    """A tensor whose axes are each multiplied by the adjoint of one matrix of eigenvectors."""
    for axis, u in enumerate(vectors):
        tensor, own = alike(tensor, u)
        tensor = jnp.moveaxis(jnp.tensordot(own.conj().T, tensor, axes=(1, axis)), 0, axis)
    return tensor


def _over_spectra(h: Callable[..., Array], spectra: Sequence[Array], parameters: tuple[Array, ...]) -> Array:
    """h of every combination of eigenvalues, one an axis."""
    function = h
    for axis in reversed(range(len(spectra))):
        chosen = [0 if i == axis else None for i in range(len(spectra) + len(parameters))]
        function = jax.vmap(function, in_axes=tuple(chosen))
    return function(*spectra, *parameters)


def _squared(x: Array) -> Array:
    return (x.conj() * x).real
