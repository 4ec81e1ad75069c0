"""Couplings of features by products of matrices."""

from __future__ import annotations

import math

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.matrices import PRODUCTS, MatrixCoupling, MatrixForm, has_all_degrees

__all__ = ["couple_matrices_by_matmul"]


def couple_matrices_by_matmul(
    arrays: Arrays, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
) -> Array:
    """Couple two features by few large operations; see :meth:`~e3any_backends.generic.Backend.couple_matrices`."""
    xp = arrays.xp
    left, shape = _to_matrices(arrays, x, weights[0], coupling.x)
    right, other = _to_matrices(arrays, y, weights[1], coupling.y)
    d = math.isqrt(left.shape[1])
    left = xp.reshape(left, (2, d, d, *shape))
    right = xp.reshape(right, (2, d, d, *other))
    blocks = [_multiply(left[p, ...], right[q, ...], d) for p, q in PRODUCTS]
    lead = tuple(blocks[0].shape[2:])
    flat = xp.reshape(xp.stack(blocks), (len(PRODUCTS), d * d, math.prod(lead)))
    coefficients = arrays.table_of(coupling.z, "coefficients", like=flat)
    rows = arrays.matmul(xp.matrix_transpose(coefficients), flat, precision="highest")
    rows = xp.reshape(rows, (*rows.shape[:2], *lead)) * _component_weights(arrays, weights[2], coupling.z, len(lead))
    parities = [rows[0, ...] + rows[1, ...], rows[2, ...] + rows[3, ...]]
    if coupling.z.num_parities == 1:  # components with another parity than their degree are masked
        return xp.moveaxis(parities[0] + parities[1], (0,), (-2,))[..., None, :, :]
    return xp.moveaxis(xp.stack(parities), (0, 1), (-3, -2))


def _to_matrices(arrays: Arrays, x: Array, w: Array, form: MatrixForm) -> tuple[Array, tuple[int, ...]]:
    """Return matrices of shape (2, d * d, lead * F), and (*lead, F)."""
    xp = arrays.xp
    x = xp.moveaxis(x, (-3, -2), (0, 1))
    lead = tuple(x.shape[2:])
    x = x * _component_weights(arrays, w, form, len(lead))
    x = xp.reshape(x, (*x.shape[:2], math.prod(lead)))
    return arrays.matmul(arrays.table_of(form, "coefficients", like=x), x, precision="highest"), lead


def _component_weights(arrays: Arrays, w: Array, form: MatrixForm, rank: int) -> Array:
    """Return weights (blocks, components, 1, ..., F) from those of degrees (blocks, degrees, F)."""
    xp = arrays.xp
    w = arrays.select(w, arrays.table_of(form, "degrees", like=w), axis=1)
    w = xp.reshape(w, (*w.shape[:2], *(1,) * (rank - 1), w.shape[-1]))
    if has_all_degrees(form):
        return w
    mask = arrays.table_of(form, "mask", like=w)
    return w * xp.reshape(mask, (*mask.shape[:2], *(1,) * rank))


def _multiply(left: Array, right: Array, size: int) -> Array:
    """Multiply matrices, whose rows and columns are the first two axes."""
    total = left[:, 0, None, ...] * right[None, 0, ...]
    for k in range(1, size):
        total = total + left[:, k, None, ...] * right[None, k, ...]
    return total
