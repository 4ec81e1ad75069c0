r"""Kernels of spherical and solid harmonics, :math:`\mathcal N_l R_l^m` of vectors or of unit vectors.

As many points as a vector is long are taken side by side, and their harmonics computed by the recursions of
:mod:`e3any_backends.forms.harmonics`. The gradient of a solid harmonic is a combination of up to two harmonics of the
next lower degree for each axis, so that derivatives are sums over a table.

With :math:`R(r)` for the harmonics of a vector, the functions write

.. math:: R(r) \qquad c \cdot \nabla R(r) \qquad \nabla (g \cdot R(r)) \qquad \nabla (c \cdot \nabla (g \cdot R(r)))
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.forms.harmonics import azimuthal_coefficient, polar_coefficients
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import (
    BYTES,
    COLUMNS,
    absolute,
    any_less,
    exact_product,
    filled,
    load,
    load_columns,
    load_triples,
    select_less,
    square_root,
    store,
    store_columns,
    store_triples,
)
from e3any_backends.kernels.parallel.partition import of_rows

__all__ = ["Tables", "jvp", "second_vjp", "tables", "value", "vjp", "work"]


class Tables(NamedTuple):
    r"""What the recursions and gradients are made of.

    Parameters
    ----------
    place : integer array of shape ((L+1)**2,)
        The position of each component in the result, degree by degree and m = -l..l.
    azimuthal : array of shape (L+1,)
        What :math:`(x + iy)^m` is multiplied with from one m to the next.
    polar : array of shape (L+1, L+1, 2)
        Coefficients :math:`\alpha` and :math:`\beta` of the recursion of order m from degree l-1 to l, at [m, l]. At
        [m, m] are the starts: q, and e by z.
    lower : integer array of shape ((L+1)**2, 5)
        Positions of the harmonics in the gradient of the one at each position: two for x, two for y, one for z.
    coefficients : array of shape ((L+1)**2, 5)
        Their coefficients.
    limits : array of shape (5,) or (0,)
        Empty, unless vectors are normalised first. Else the smallest length that is not counted as zero; the length
        below which, and the factor with which, vectors are made longer; and those for shorter.
    """

    place: Array
    azimuthal: Array
    polar: Array
    lower: Array
    coefficients: Array
    limits: Array


@lru_cache(maxsize=256)
def tables(factors: tuple[float, ...], order: tuple[int, ...], unit: bool, dtype: str) -> Tables:
    r"""Return the tables of harmonics.

    Parameters
    ----------
    factors : tuple of float
        Factor :math:`\mathcal N_l` of every degree.
    order : tuple of int
        The position of each component in the result.
    unit : bool
        Whether vectors are normalised first.
    dtype : str
        Dtype of the coefficients.
    """
    degrees = range(len(factors))
    azimuthal = np.asarray([azimuthal_coefficient(m) for m in degrees])
    polar = np.zeros((len(factors), len(factors), 2))
    place = np.asarray(order, np.int32)
    lower, coefficients = np.zeros((len(order), 5), np.int32), np.zeros((len(order), 5))
    for l in degrees:
        for m in range(l + 1):
            polar[m, l] = polar_coefficients(l, m, factors)
        for m in range(-l, l + 1):
            for column, (neighbour, gradient) in enumerate(_gradient(l, m)):
                if l > 0 and abs(neighbour) < l:
                    lower[order[l * l + l + m], column] = order[(l - 1) ** 2 + l - 1 + neighbour]
                    # Quotients of integers of any size are rounded once.
                    norm = math.sqrt(_squared_norm(l, m) / _squared_norm(l - 1, neighbour))
                    coefficients[order[l * l + l + m], column] = gradient * norm * factors[l] / factors[l - 1]
    limits = np.asarray(_limits(dtype) if unit else [], dtype)
    return Tables(place, azimuthal.astype(dtype), polar.astype(dtype), lower, coefficients.astype(dtype), limits)


def _limits(dtype: str) -> list[float]:
    info = np.finfo(dtype)
    far = 2.0 ** (info.maxexp // 2)  # squares of numbers are in range that are smaller, and larger than the inverse
    # XLA counts subnormal numbers as zero: of small vectors, squares that matter have to be larger.
    digits = 2.0 ** (info.nmant // 2 + 4)
    least = np.nextafter(info.smallest_normal, info.dtype.type(1))
    return [float(least), digits / far, 2 * digits * far, far / 16, 1 / (4 * far)]


def _squared_norm(l: int, m: int) -> int:
    r"""Return the square of the ratio of a harmonic to a part of :math:`r^l P_l^{|m|} e^{i|m|\phi} / (l+|m|)!`."""
    return (2 if m else 1) * math.factorial(l - abs(m)) * math.factorial(l + abs(m))


def _gradient(l: int, m: int) -> list[tuple[int, float]]:
    r"""Return orders and coefficients of the gradient: two pairs for x, two for y, one for z.

    With :math:`\rho_l^m = r^l P_l^m e^{im\phi} / (l+m)!` it is :math:`\partial_z \rho_l^m = \rho_{l-1}^m`,
    :math:`\partial_x \rho_l^m = (\rho_{l-1}^{m-1} - \rho_{l-1}^{m+1}) / 2` and
    :math:`\partial_y \rho_l^m = i (\rho_{l-1}^{m-1} + \rho_{l-1}^{m+1}) / 2`. Orders m < 0 stand for imaginary parts.
    """
    if m == 0:
        return [(1, -1.0), (0, 0.0), (-1, -1.0), (0, 0.0), (0, 1.0)]
    if m > 0:
        below = -0.5 if m > 1 else 0.0  # the imaginary part of order 0 vanishes
        return [(m - 1, 0.5), (m + 1, -0.5), (1 - m, below), (-m - 1, -0.5), (m, 1.0)]
    below = 0.5 if m < -1 else 0.0
    return [(m + 1, below), (m - 1, -0.5), (-m - 1, 0.5), (1 - m, 0.5), (m, 1.0)]


# -- kernels ------------------------------------------------------------------------------------------------


def work(r: Array, components: int) -> int:
    """Return how much work so many components of harmonics of vectors (..., 3) are, as ``pool.num_parts`` has it."""
    return int(r.size * components * r.dtype.itemsize // 4)


@jit
def value(
    number: int,
    parts: int,
    out: Array,
    r: Array,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write harmonics (N, (L+1)**2) of vectors (N, 3), those of one part of all rows, as all functions do."""
    count = BYTES // r.itemsize
    spare, block = np.zeros(3 * count, r.dtype), np.empty(len(place) * count, r.dtype)
    begin, end = of_rows(len(r), count, number, parts)
    for start in range(begin, end, count):
        vector = _load_vectors(r, start, spare, limits)
        _fill(block, vector[:3], place, azimuthal, polar, len(azimuthal))
        _store_rows(out, block, start)


@jit
def jvp(
    number: int,
    parts: int,
    out: Array,
    r: Array,
    c: Array,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write derivatives of harmonics, as :func:`value` writes harmonics, along vectors ``c``."""
    count = BYTES // r.itemsize
    spare, block = np.zeros(3 * count, r.dtype), np.empty(len(place) * count, r.dtype)
    changes = np.zeros(len(place) * count, r.dtype)
    begin, end = of_rows(len(r), count, number, parts)
    for start in range(begin, end, count):
        vector = _load_vectors(r, start, spare, limits)
        _fill(block, vector[:3], place, azimuthal, polar, len(azimuthal) - 1)
        tangent = _projected(_load_triples(c, start, spare), vector, limits)
        for i in range(1, len(place)):
            x, y, z = _gradient_of(i, block, lower, coefficients)
            store(changes, i * count, tangent[0] * x + tangent[1] * y + tangent[2] * z)
        _store_rows(out, changes, start)


@jit
def vjp(
    number: int,
    parts: int,
    dr: Array,
    r: Array,
    g: Array,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write the derivatives of the sum of ``g`` times the harmonics by the vectors."""
    count = BYTES // r.itemsize
    spare, block = np.zeros(3 * count, r.dtype), np.empty(len(place) * count, r.dtype)
    weights = np.zeros(len(place) * count, r.dtype)
    begin, end = of_rows(len(r), count, number, parts)
    for start in range(begin, end, count):
        vector = _load_vectors(r, start, spare, limits)
        _fill(block, vector[:3], place, azimuthal, polar, len(azimuthal) - 1)
        _load_rows(weights, g, start)
        gradient = _weighted_gradient(weights, len(place), block, lower, coefficients)
        _store_triples(dr, _projected(gradient, vector, limits), start, spare)


@jit
def second_vjp(
    number: int,
    parts: int,
    dr: Array,
    r: Array,
    g: Array,
    c: Array,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    coefficients: Array,
    limits: Array,
) -> None:
    """Write the derivatives of the sum of ``c`` times what :func:`vjp` writes, by the vectors."""
    count = BYTES // r.itemsize
    spare, block = np.zeros(3 * count, r.dtype), np.empty(len(place) * count, r.dtype)
    weights, changes = np.zeros(len(place) * count, r.dtype), np.zeros(len(place) * count, r.dtype)
    num_lower = (len(azimuthal) - 1) ** 2
    begin, end = of_rows(len(r), count, number, parts)
    for start in range(begin, end, count):
        vector = _load_vectors(r, start, spare, limits)
        _fill(block, vector[:3], place, azimuthal, polar, len(azimuthal) - 1)
        _load_rows(weights, g, start)
        direction = _load_triples(c, start, spare)
        tangent = _projected(direction, vector, limits)
        for i in range(num_lower):
            store(changes, i * count, filled(tangent[0], 0.0))
        for i in range(1, len(place)):
            _add_changes(changes, i, load(weights, i * count), tangent, lower, coefficients)
        second = _weighted_gradient(changes, num_lower, block, lower, coefficients)
        if len(limits) > 0:
            gradient = _weighted_gradient(weights, len(place), block, lower, coefficients)
            second = _second_gradient(second, gradient, direction, tangent, vector, limits)
        _store_triples(dr, second, start, spare)


# -- vectors of three ---------------------------------------------------------------------------------------


@part
def _load_triples(rows: Array, start: int, spare: Array) -> Array:
    """Return x, y and z of rows; what is beyond the last row is left over from others."""
    count = len(spare) // 3
    if start + count <= len(rows):
        return load_triples(rows, 3 * start)
    for n in range(len(rows) - start):
        for i in range(3):
            spare[3 * n + i] = rows[start + n, i]
    return load_triples(spare, 0)


@part
def _store_triples(rows: Array, triple: Array, start: int, spare: Array) -> None:
    count = len(spare) // 3
    if start + count <= len(rows):
        store_triples(rows, 3 * start, *triple)
        return
    store_triples(spare, 0, *triple)
    for n in range(len(rows) - start):
        for i in range(3):
            rows[start + n, i] = spare[3 * n + i]


@part
def _load_vectors(r: Array, start: int, spare: Array, limits: Array) -> Array:
    """Return x, y, z, one by the norm that they were divided by, and one or, for zero vectors, zero."""
    x, y, z = _load_triples(r, start, spare)
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
    # Differences such as x - x, which are NaN too, would be left out: terms of sums are rearranged.
    return select_less(size, filled(size, np.inf), value, filled(size, np.nan))


@part
def _larger(a: Array, b: Array) -> Array:
    return select_less(a, b, b, a)


@part
def _dot(a: Array, b: Array) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@part
def _projected(gradient: Array, vector: Array, limits: Array) -> Array:
    r"""Multiply by the derivative of unit vectors u by vectors of norm n, :math:`(1 - u u^T) / n`."""
    if len(limits) == 0:
        return gradient
    x, y, z, inverse, is_unit = vector
    along = is_unit * _dot(gradient, vector)
    return (gradient[0] - along * x) * inverse, (gradient[1] - along * y) * inverse, (gradient[2] - along * z) * inverse


@part
def _second_gradient(second: Array, gradient: Array, c: Array, tangent: Array, vector: Array, limits: Array) -> Array:
    r"""Turn ``second``, derivatives of harmonics by unit vectors, into those of :math:`c \cdot J v` by vectors.

    :math:`J = (1 - u u^T) / n` is the derivative of the unit vector u of a vector of norm n, v the ``gradient``, and
    ``tangent`` is J c.
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
def _fill(block: Array, r: Array, place: Array, azimuthal: Array, polar: Array, degrees: int) -> None:
    """Write the harmonics up to degree ``degrees - 1`` to a block, one vector for each."""
    x, y, z = r
    count = BYTES // block.itemsize
    square = x * x + y * y
    cosine, sine = x, y
    for m in range(degrees):
        if m > 1:
            cosine, sine = azimuthal[m] * (cosine * x - sine * y), azimuthal[m] * (cosine * y + sine * x)
        q, e = filled(x, polar[m, m, 0]), polar[m, m, 1] * z
        for l in range(m, degrees):
            if l > m:
                q, e = polar[m, l, 0] * (z * q + e), polar[m, l, 1] * (z * e - square * q)
            if m == 0:
                store(block, place[l * l + l] * count, q)
            else:
                store(block, place[l * l + l + m] * count, q * cosine)
                store(block, place[l * l + l - m] * count, q * sine)


@part
def _gradient_of(i: int, block: Array, lower: Array, coefficients: Array) -> Array:
    """Return the gradient of the harmonic at a position."""
    count = BYTES // block.itemsize
    a, b = load(block, lower[i, 0] * count), load(block, lower[i, 1] * count)
    c, d = load(block, lower[i, 2] * count), load(block, lower[i, 3] * count)
    e = load(block, lower[i, 4] * count)
    w = coefficients[i]
    return w[0] * a + w[1] * b, w[2] * c + w[3] * d, w[4] * e


@part
def _weighted_gradient(weights: Array, num: int, block: Array, lower: Array, coefficients: Array) -> Array:
    """Return the sum of the gradients at the first positions, each times its weight."""
    count = BYTES // block.itemsize
    zero = filled(load(block, 0), 0.0)
    dx, dy, dz = zero, zero, zero
    for i in range(1, num):
        weight = load(weights, i * count)
        x, y, z = _gradient_of(i, block, lower, coefficients)
        dx, dy, dz = dx + weight * x, dy + weight * y, dz + weight * z
    return dx, dy, dz


@part
def _add_changes(changes: Array, i: int, weight: Array, tangent: Array, lower: Array, coefficients: Array) -> None:
    """Add the derivatives of ``weight`` times the gradient along ``tangent`` by harmonics of lower degree."""
    count = BYTES // changes.itemsize
    along = weight * tangent[0], weight * tangent[0], weight * tangent[1], weight * tangent[1], weight * tangent[2]
    for column in range(5):
        position = lower[i, column] * count
        store(changes, position, load(changes, position) + coefficients[i, column] * along[column])


# -- rows ---------------------------------------------------------------------------------------------------


@part
def _load_rows(block: Array, rows: Array, start: int) -> None:
    """Copy rows to a block, transposed."""
    size, count = rows.shape[1], BYTES // block.itemsize
    if start + count > len(rows):
        for n in range(len(rows) - start):
            for i in range(size):
                block[i * count + n] = rows[start + n, i]
        return
    for first in range(0, size, COLUMNS):
        i = min(first, size - COLUMNS)  # the last ones may be loaded twice
        a, b, c, d = load_columns(rows, start * size + i, size)
        store(block, i * count, a)
        store(block, (i + 1) * count, b)
        store(block, (i + 2) * count, c)
        store(block, (i + 3) * count, d)


@part
def _store_rows(rows: Array, block: Array, start: int) -> None:
    """Copy a block to rows, transposed."""
    size, count = rows.shape[1], BYTES // block.itemsize
    if start + count > len(rows):
        for n in range(len(rows) - start):
            for i in range(size):
                rows[start + n, i] = block[i * count + n]
        return
    for first in range(0, size, COLUMNS):
        i = min(first, size - COLUMNS)
        a, b = load(block, i * count), load(block, (i + 1) * count)
        c, d = load(block, (i + 2) * count), load(block, (i + 3) * count)
        store_columns(rows, start * size + i, size, a, b, c, d)
