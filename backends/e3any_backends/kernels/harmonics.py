r"""Kernels of spherical and solid harmonics, :math:`\mathcal N_l R_l^m` of vectors or of unit vectors.

A block holds the harmonics of as many points as a vector has lanes: ``block[i * lanes + n]`` is harmonic i of point n.
They are computed by the recursions of :mod:`e3any_backends.forms.harmonics`. The gradient of a solid harmonic is a
combination of up to two harmonics of the next lower degree for each axis, so derivatives are sums over a table.

With :math:`R(r)` for the harmonics of a vector, the kernels compute

==================== ============================================ ============================================
kernel               formula                                      result
==================== ============================================ ============================================
:func:`value`        :math:`R(r)`                                 harmonics (N, (L+1)**2)
:func:`jvp`          :math:`c \cdot \nabla R(r)`                  tangents of harmonics (N, (L+1)**2)
:func:`vjp`          :math:`\nabla (g \cdot R(r))`                gradients (N, 3)
:func:`second_vjp`   :math:`\nabla (c \cdot \nabla (g \cdot R(r)))` gradients (N, 3)
==================== ============================================ ============================================

Each call computes one share of the points. Its last arguments are the fields of
:class:`~e3any_backends.forms.harmonics.HarmonicsTables`.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.columns import COLUMNS, load_columns, load_triples, store_columns, store_triples
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import (
    BYTES,
    absolute,
    any_less,
    exact_product,
    filled,
    load,
    select_less,
    square_root,
    store,
)
from e3any_backends.kernels.parallel.partition import of_rows

__all__ = ["jvp", "second_vjp", "value", "vjp", "work"]


# -- kernels ------------------------------------------------------------------------------------------------


def work(r: Array, components: int) -> int:
    """Return the work of harmonics with that many components of vectors (..., 3), for ``pool.num_shares``."""
    return int(r.size * components * r.dtype.itemsize // 4)


@jit
def value(
    share: int,
    num_shares: int,
    out: Array,
    r: Array,
    positions: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write harmonics of vectors (N, 3)."""
    lanes = BYTES // r.itemsize
    scratch, block = np.zeros(3 * lanes, r.dtype), np.empty(len(positions) * lanes, r.dtype)
    begin, end = of_rows(len(r), lanes, share, num_shares)
    for start in range(begin, end, lanes):
        vector = _load_vectors(r, start, scratch, limits)
        _fill(block, vector[:3], positions, azimuthal, polar, len(azimuthal))
        _store_rows(out, block, start)


@jit
def jvp(
    share: int,
    num_shares: int,
    out: Array,
    r: Array,
    c: Array,
    positions: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write the derivatives of harmonics along directions ``c`` (N, 3)."""
    lanes = BYTES // r.itemsize
    scratch, block = np.zeros(3 * lanes, r.dtype), np.empty(len(positions) * lanes, r.dtype)
    tangents = np.zeros(len(positions) * lanes, r.dtype)
    begin, end = of_rows(len(r), lanes, share, num_shares)
    for start in range(begin, end, lanes):
        vector = _load_vectors(r, start, scratch, limits)
        _fill(block, vector[:3], positions, azimuthal, polar, len(azimuthal) - 1)
        tangent = _projected(_load_triples(c, start, scratch), vector, limits)
        for i in range(1, len(positions)):
            x, y, z = _gradient_of(i, block, lower, coefficients)
            store(tangents, i * lanes, tangent[0] * x + tangent[1] * y + tangent[2] * z)
        _store_rows(out, tangents, start)


@jit
def vjp(
    share: int,
    num_shares: int,
    dr: Array,
    r: Array,
    g: Array,
    positions: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write the gradients of the sum of ``g`` times the harmonics, with respect to the vectors."""
    lanes = BYTES // r.itemsize
    scratch, block = np.zeros(3 * lanes, r.dtype), np.empty(len(positions) * lanes, r.dtype)
    weights = np.zeros(len(positions) * lanes, r.dtype)
    begin, end = of_rows(len(r), lanes, share, num_shares)
    for start in range(begin, end, lanes):
        vector = _load_vectors(r, start, scratch, limits)
        _fill(block, vector[:3], positions, azimuthal, polar, len(azimuthal) - 1)
        _load_rows(weights, g, start)
        gradient = _weighted_gradient(weights, len(positions), block, lower, coefficients)
        _store_triples(dr, _projected(gradient, vector, limits), start, scratch)


@jit
def second_vjp(
    share: int,
    num_shares: int,
    dr: Array,
    r: Array,
    g: Array,
    c: Array,
    positions: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write the gradients of the sum of ``c`` times the result of :func:`vjp`, with respect to the vectors."""
    lanes = BYTES // r.itemsize
    scratch, block = np.zeros(3 * lanes, r.dtype), np.empty(len(positions) * lanes, r.dtype)
    weights, lower_weights = np.zeros(len(positions) * lanes, r.dtype), np.zeros(len(positions) * lanes, r.dtype)
    num_lower = (len(azimuthal) - 1) ** 2
    begin, end = of_rows(len(r), lanes, share, num_shares)
    for start in range(begin, end, lanes):
        vector = _load_vectors(r, start, scratch, limits)
        _fill(block, vector[:3], positions, azimuthal, polar, len(azimuthal) - 1)
        _load_rows(weights, g, start)
        direction = _load_triples(c, start, scratch)
        tangent = _projected(direction, vector, limits)
        for i in range(num_lower):
            store(lower_weights, i * lanes, filled(tangent[0], 0.0))
        for i in range(1, len(positions)):
            _add_lower_weights(lower_weights, i, load(weights, i * lanes), tangent, lower, coefficients)
        second = _weighted_gradient(lower_weights, num_lower, block, lower, coefficients)
        if len(limits) > 0:
            gradient = _weighted_gradient(weights, len(positions), block, lower, coefficients)
            second = _second_gradient(second, gradient, direction, tangent, vector, limits)
        _store_triples(dr, second, start, scratch)


# -- vectors x, y, z ----------------------------------------------------------------------------------------


@part
def _load_triples(rows: Array, start: int, scratch: Array) -> Array:
    """Return x, y and z of rows; lanes beyond the last row hold any numbers."""
    lanes = len(scratch) // 3
    if start + lanes <= len(rows):
        return load_triples(rows, 3 * start)
    for n in range(len(rows) - start):
        for i in range(3):
            scratch[3 * n + i] = rows[start + n, i]
    return load_triples(scratch, 0)


@part
def _store_triples(rows: Array, triple: Array, start: int, scratch: Array) -> None:
    lanes = len(scratch) // 3
    if start + lanes <= len(rows):
        store_triples(rows, 3 * start, *triple)
        return
    store_triples(scratch, 0, *triple)
    for n in range(len(rows) - start):
        for i in range(3):
            rows[start + n, i] = scratch[3 * n + i]


@part
def _load_vectors(r: Array, start: int, scratch: Array, limits: Array) -> Array:
    """Return x, y and z, normalised if there are limits, 1 / norm, and 0 for zero vectors, 1 for others."""
    x, y, z = _load_triples(r, start, scratch)
    one = filled(x, 1.0)
    if len(limits) == 0:
        return x, y, z, one, one
    a, b, c = absolute(x), absolute(y), absolute(z)
    invalid = _nan_unless_finite(a, _nan_unless_finite(b, _nan_unless_finite(c, filled(x, 0.0))))
    largest = _larger(_larger(a, b), c) + invalid
    smallest, low, up, high, down = limits[0], limits[1], limits[2], limits[3], limits[4]
    scale = select_less(largest, low, up, select_less(high, largest, down, one))
    scale = select_less(largest, smallest, one, scale)
    if any_less(largest, low):  # components of the smallest vectors that are not zero are subnormal
        x, y, z = exact_product(x, scale), exact_product(y, scale), exact_product(z, scale)
    else:
        x, y, z = x * scale, y * scale, z * scale
    norm = square_root(select_less(largest, smallest, one, x * x + y * y + z * z + invalid))
    return x / norm, y / norm, z / norm, scale / norm, select_less(largest, smallest, 0.0, one)


@part
def _nan_unless_finite(size: Array, value: Array) -> Array:
    # x - x would be NaN too, but the compiler reorders sums and leaves it out.
    return select_less(size, filled(size, np.inf), value, filled(size, np.nan))


@part
def _larger(a: Array, b: Array) -> Array:
    return select_less(a, b, b, a)


@part
def _dot(a: Array, b: Array) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@part
def _projected(gradient: Array, vector: Array, limits: Array) -> Array:
    r"""Multiply by the Jacobian of the unit vector u of a vector of norm n, :math:`(1 - u u^T) / n`."""
    if len(limits) == 0:
        return gradient
    x, y, z, inverse, is_unit = vector
    along = is_unit * _dot(gradient, vector)
    return (gradient[0] - along * x) * inverse, (gradient[1] - along * y) * inverse, (gradient[2] - along * z) * inverse


@part
def _second_gradient(second: Array, gradient: Array, c: Array, tangent: Array, vector: Array, limits: Array) -> Array:
    r"""Return the gradient of :math:`c \cdot J v` with respect to vectors of norm n.

    :math:`J = (1 - u u^T) / n` is the Jacobian of the unit vector u, v the ``gradient`` with respect to u, ``tangent``
    is J c, and ``second`` the gradient of :math:`Jc \cdot v` with respect to u for constant J.
    """
    x, y, z, inverse, is_unit = vector
    both = is_unit * inverse
    u_v, u_c = both * _dot(vector, gradient), both * _dot(vector, c)
    a = second[0] - (u_v * c[0] + u_c * gradient[0])
    b = second[1] - (u_v * c[1] + u_c * gradient[1])
    d = second[2] - (u_v * c[2] + u_c * gradient[2])
    a, b, d = _projected((a, b, d), vector, limits)
    along = both * _dot(tangent, gradient)
    return a - along * x, b - along * y, d - along * z


# -- harmonics ----------------------------------------------------------------------------------------------


@part
def _fill(block: Array, r: Array, positions: Array, azimuthal: Array, polar: Array, num_degrees: int) -> None:
    """Write the harmonics of degrees 0 to ``num_degrees - 1`` to a block."""
    x, y, z = r
    lanes = BYTES // block.itemsize
    square = x * x + y * y
    cosine, sine = x, y
    for m in range(num_degrees):
        if m > 1:
            cosine, sine = azimuthal[m] * (cosine * x - sine * y), azimuthal[m] * (cosine * y + sine * x)
        q, e = filled(x, polar[m, m, 0]), polar[m, m, 1] * z
        for l in range(m, num_degrees):
            if l > m:
                q, e = polar[m, l, 0] * (z * q + e), polar[m, l, 1] * (z * e - square * q)
            if m == 0:
                store(block, positions[l * l + l] * lanes, q)
            else:
                store(block, positions[l * l + l + m] * lanes, q * cosine)
                store(block, positions[l * l + l - m] * lanes, q * sine)


@part
def _gradient_of(i: int, block: Array, lower: Array, coefficients: Array) -> Array:
    """Return the gradient of harmonic i."""
    lanes = BYTES // block.itemsize
    a, b = load(block, lower[i, 0] * lanes), load(block, lower[i, 1] * lanes)
    c, d = load(block, lower[i, 2] * lanes), load(block, lower[i, 3] * lanes)
    e = load(block, lower[i, 4] * lanes)
    w = coefficients[i]
    return w[0] * a + w[1] * b, w[2] * c + w[3] * d, w[4] * e


@part
def _weighted_gradient(weights: Array, num: int, block: Array, lower: Array, coefficients: Array) -> Array:
    """Return the weighted sum of the gradients of the first ``num`` harmonics."""
    lanes = BYTES // block.itemsize
    zero = filled(load(block, 0), 0.0)
    dx, dy, dz = zero, zero, zero
    for i in range(1, num):
        weight = load(weights, i * lanes)
        x, y, z = _gradient_of(i, block, lower, coefficients)
        dx, dy, dz = dx + weight * x, dy + weight * y, dz + weight * z
    return dx, dy, dz


@part
def _add_lower_weights(
    lower_weights: Array, i: int, weight: Array, tangent: Array, lower: Array, coefficients: Array
) -> None:
    """Add the gradients of ``weight`` times the derivative of harmonic i along ``tangent``.

    They are those with respect to the harmonics of the next lower degree.
    """
    lanes = BYTES // lower_weights.itemsize
    along = weight * tangent[0], weight * tangent[0], weight * tangent[1], weight * tangent[1], weight * tangent[2]
    for column in range(5):
        position = lower[i, column] * lanes
        store(lower_weights, position, load(lower_weights, position) + coefficients[i, column] * along[column])


# -- rows ---------------------------------------------------------------------------------------------------


@part
def _load_rows(block: Array, rows: Array, start: int) -> None:
    """Copy rows (N, harmonics) to a block, transposed."""
    size, lanes = rows.shape[1], BYTES // block.itemsize
    if start + lanes > len(rows):
        for n in range(len(rows) - start):
            for i in range(size):
                block[i * lanes + n] = rows[start + n, i]
        return
    for first in range(0, size, COLUMNS):
        i = min(first, size - COLUMNS)  # the last columns can be loaded twice
        a, b, c, d = load_columns(rows, start * size + i, size)
        store(block, i * lanes, a)
        store(block, (i + 1) * lanes, b)
        store(block, (i + 2) * lanes, c)
        store(block, (i + 3) * lanes, d)


@part
def _store_rows(rows: Array, block: Array, start: int) -> None:
    """Copy a block to rows (N, harmonics), transposed."""
    size, lanes = rows.shape[1], BYTES // block.itemsize
    if start + lanes > len(rows):
        for n in range(len(rows) - start):
            for i in range(size):
                rows[start + n, i] = block[i * lanes + n]
        return
    for first in range(0, size, COLUMNS):
        i = min(first, size - COLUMNS)
        a, b = load(block, i * lanes), load(block, (i + 1) * lanes)
        c, d = load(block, (i + 2) * lanes), load(block, (i + 3) * lanes)
        store_columns(rows, start * size + i, size, a, b, c, d)
