r"""Kernels of spherical and solid harmonics, :math:`\mathcal N_l R_l^m` of vectors or of unit vectors.

Points are taken in blocks, side by side, and all harmonics of a block are computed by the recursions of
:mod:`e3any.so3.spherical_harmonics`. The gradient of a solid harmonic is a combination of up to two harmonics of the
next lower degree for each axis, so that derivatives are sums over a table.
"""

from __future__ import annotations

import math

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.blocks import clear
from e3any_backends.kernels.jit import jit, part

__all__ = ["pull", "room", "second", "tables", "value"]

# Numbers in a block of harmonics: it stays in the cache.
_SIZE = 4096


def tables(factors: tuple[float, ...], dtype: str) -> tuple[Array, Array, Array, Array]:
    r"""Return the coefficients of recursions and gradients.

    Parameters
    ----------
    factors : tuple of float
        Factor :math:`\mathcal N_l` of every degree.
    dtype : str
        Dtype of the coefficients.

    Returns
    -------
    azimuthal : array of shape (L+1,)
        What :math:`(x + iy)^m` is multiplied with from one m to the next.
    polar : array of shape (L+1, L+1, 2)
        Coefficients of the harmonics of degree l-1 and l-2 in the recursion of order m, at [m, l]. At [m, m] the
        first is the start.
    lower : integer array of shape ((L+1)**2, 5)
        Harmonics in the gradient of each: two for x, two for y, one for z.
    slopes : array of shape ((L+1)**2, 5)
        Their coefficients.
    """
    degrees = range(len(factors))
    azimuthal = np.asarray([math.sqrt((2 * m - 1) / (2 * m)) if m > 1 else 1.0 for m in degrees])
    polar = np.zeros((len(factors), len(factors), 2))
    lower, slopes = np.zeros((len(factors) ** 2, 5), np.uint32), np.zeros((len(factors) ** 2, 5))
    for l in degrees:
        for m in range(l + 1):
            polar[m, l] = _polar_coefficients(l, m, factors)
        for m in range(-l, l + 1):
            for column, (order, slope) in enumerate(_gradient(l, m)):
                if l > 0 and abs(order) < l:
                    lower[l * l + l + m, column] = (l - 1) ** 2 + l - 1 + order
                    # Quotients of integers of any size are rounded once.
                    norm = math.sqrt(_squared_norm(l, m) / _squared_norm(l - 1, order))
                    slopes[l * l + l + m, column] = slope * norm * factors[l] / factors[l - 1]
    return azimuthal.astype(dtype), polar.astype(dtype), lower, slopes.astype(dtype)


def _polar_coefficients(l: int, m: int, factors: tuple[float, ...]) -> tuple[float, float]:
    if l == m:
        return factors[m], 0.0
    n = math.sqrt((l - m) * (l + m))
    first = (2 * l - 1) / n * factors[l] / factors[l - 1]
    return first, math.sqrt((l + m - 1) * (l - m - 1)) / n * factors[l] / factors[l - 2] if l > m + 1 else 0.0


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


def room(dtype: str, components: int, degrees: int, order: int) -> tuple[Array, ...]:
    """Return blocks to work in for the kernels of values and of first and second derivatives, order 0, 1 and 2.

    They are for points, parts of harmonics, harmonics; weights and their sums; and for second derivatives again those,
    sums for harmonics, and three vectors.
    """
    width = max(64, min(512, _SIZE // components))
    sizes = [6, 3 + degrees, components, *[components, 3][: 2 * order]]
    sizes += [components, 3, components, 3, 3] if order == 2 else []
    return tuple(np.empty((size, width), dtype) for size in sizes)


@jit
def value(
    out: Array,
    r: Array,
    unit: bool,
    place: Array,
    azimuthal: Array,
    polar: Array,
    bounds: Array,
    points: Array,
    scratch: Array,
    block: Array,
) -> None:
    """Write harmonics (N, (L+1)**2) of vectors (N, 3); ``place[i]`` is the position of component i."""
    width = points.shape[1]
    for start in range(0, len(r), width):
        num = min(width, len(r) - start)
        _load_points(points, r, unit, bounds, start, num)
        _harmonics(block, points, scratch, place, azimuthal, polar, len(azimuthal), num)
        _store(out, block, start, num)


@jit
def pull(
    dr: Array,
    r: Array,
    g: Array,
    unit: bool,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    slopes: Array,
    bounds: Array,
    points: Array,
    scratch: Array,
    block: Array,
    weights: Array,
    slope: Array,
) -> None:
    """Write the derivatives of the sum of ``g`` times the harmonics by the vectors."""
    width = points.shape[1]
    for start in range(0, len(r), width):
        num = min(width, len(r) - start)
        _load_points(points, r, unit, bounds, start, num)
        _harmonics(block, points, scratch, place, azimuthal, polar, len(azimuthal) - 1, num)
        _load(weights, g, start, num)
        clear(slope)
        for i in range(1, len(place)):
            _add_gradient(slope, weights[i], block, lower[i], slopes[i], num)
        if unit:
            _project(slope, points, num)
        _store(dr, slope, start, num)


@jit
def second(
    dr: Array,
    dg: Array,
    r: Array,
    g: Array,
    c: Array,
    unit: bool,
    place: Array,
    azimuthal: Array,
    polar: Array,
    lower: Array,
    slopes: Array,
    bounds: Array,
    points: Array,
    scratch: Array,
    block: Array,
    weights: Array,
    slope: Array,
    d_weights: Array,
    curve: Array,
    d_block: Array,
    cotangent: Array,
    tangent: Array,
) -> None:
    """Write the derivatives of the sum of ``c`` times what :func:`pull` writes, by the vectors and by ``g``."""
    width = points.shape[1]
    clear(d_weights)
    for start in range(0, len(r), width):
        num = min(width, len(r) - start)
        _load_points(points, r, unit, bounds, start, num)
        _harmonics(block, points, scratch, place, azimuthal, polar, len(azimuthal) - 1, num)
        _load(weights, g, start, num)
        _load(cotangent, c, start, num)
        _load(tangent, c, start, num)
        if unit:
            _project(tangent, points, num)
        clear(slope)
        clear(curve)
        clear(d_block)
        for i in range(1, len(place)):
            _add_gradient(slope, weights[i], block, lower[i], slopes[i], num)
            _pull_gradient(d_weights[i], d_block, tangent, weights[i], block, lower[i], slopes[i], num)
        for i in range(1, (len(azimuthal) - 1) ** 2):
            _add_gradient(curve, d_block[i], block, lower[i], slopes[i], num)
        if unit:
            _add_curvature(curve, slope, cotangent, tangent, points, num)
        _store(dr, curve, start, num)
        _store(dg, d_weights, start, num)


@part
def _load(block: Array, rows: Array, start: int, num: int) -> None:
    for i in range(len(block)):
        values = block[i]
        for n in range(num):
            values[n] = rows[start + n, i]


@part
def _store(rows: Array, block: Array, start: int, num: int) -> None:
    for i in range(len(block)):
        values = block[i]
        for n in range(num):
            rows[start + n, i] = values[n]


@part
def _load_points(points: Array, r: Array, unit: bool, bounds: Array, start: int, num: int) -> None:
    """Fill a block: x, y, z; one by the norm that they were divided by; whether they were; and their square."""
    x, y, z, inverse, is_unit, square = points[0], points[1], points[2], points[3], points[4], points[5]
    zero, one, smallest = bounds[0], bounds[1], bounds[2]
    for n in range(num):
        x[n], y[n], z[n] = r[start + n, 0], r[start + n, 1], r[start + n, 2]
    if unit:
        for n in range(num):
            largest = max(max(abs(x[n]), abs(y[n])), abs(z[n]))
            is_unit[n] = zero if largest < smallest else one
            scale = one if largest < smallest else largest
            a, b, c = x[n] / scale, y[n] / scale, z[n] / scale
            length = a * a + b * b + c * c
            root = math.sqrt(one if largest < smallest else length)
            x[n], y[n], z[n] = a / root, b / root, c / root
            inverse[n] = one / root / scale
    for n in range(num):
        square[n] = x[n] * x[n] + y[n] * y[n] + z[n] * z[n]


@part
def _harmonics(
    block: Array,
    points: Array,
    scratch: Array,
    place: Array,
    azimuthal: Array,
    polar: Array,
    degrees: int,
    num: int,
) -> None:
    """Fill a block of harmonics up to degree ``degrees - 1``."""
    x, y, z, square = points[0], points[1], points[2], points[5]
    cosine, sine, power = scratch[0], scratch[1], scratch[2]
    for m in range(degrees):
        if m == 1:
            for n in range(num):
                cosine[n], sine[n] = x[n], y[n]
        elif m > 1:
            a = azimuthal[m]
            for n in range(num):
                power[n] = a * (cosine[n] * x[n] - sine[n] * y[n])
                sine[n] = a * (cosine[n] * y[n] + sine[n] * x[n])
                cosine[n] = power[n]
        for l in range(m, degrees):
            q, first, minus = scratch[3 + l], polar[m, l, 0], polar[m, l, 1]
            previous, before = scratch[3 + max(l - 1, 0)], scratch[3 + max(l - 2, 0)]
            if l == m:
                for n in range(num):
                    q[n] = first
            elif l == m + 1:
                for n in range(num):
                    q[n] = first * z[n] * previous[n]
            else:
                for n in range(num):
                    q[n] = first * z[n] * previous[n] - minus * square[n] * before[n]
            real, imaginary = block[place[l * l + l + m]], block[place[l * l + l - m]]
            if m == 0:
                for n in range(num):
                    real[n] = q[n]
            else:
                for n in range(num):
                    real[n] = q[n] * cosine[n]
                    imaginary[n] = q[n] * sine[n]


@part
def _add_gradient(dr: Array, g: Array, block: Array, lower: Array, slopes: Array, num: int) -> None:
    """Add ``g`` times the gradient of one harmonic."""
    dx, dy, dz = dr[0], dr[1], dr[2]
    a, b, c, d = block[lower[0]], block[lower[1]], block[lower[2]], block[lower[3]]
    e = block[lower[4]]
    p, q, r, s, t = slopes[0], slopes[1], slopes[2], slopes[3], slopes[4]
    for n in range(num):
        dx[n] += g[n] * (p * a[n] + q * b[n])
        dy[n] += g[n] * (r * c[n] + s * d[n])
        dz[n] += g[n] * (t * e[n])


@part
def _pull_gradient(
    dg: Array, d_block: Array, c: Array, g: Array, block: Array, lower: Array, slopes: Array, num: int
) -> None:
    """Write, and add, the derivatives of ``c`` times ``g`` times the gradient of one harmonic."""
    for n in range(num):
        dg[n] = 0
    for column in range(5):
        value, slope, along = block[lower[column]], slopes[column], c[column // 2]
        d_value = d_block[lower[column]]
        for n in range(num):
            dg[n] += slope * along[n] * value[n]
            d_value[n] += slope * along[n] * g[n]


@part
def _project(dr: Array, points: Array, num: int) -> None:
    """Turn derivatives by unit vectors into those by vectors."""
    x, y, z, inverse, is_unit = points[0], points[1], points[2], points[3], points[4]
    dx, dy, dz = dr[0], dr[1], dr[2]
    for n in range(num):
        along = is_unit[n] * (x[n] * dx[n] + y[n] * dy[n] + z[n] * dz[n])
        dx[n] = (dx[n] - along * x[n]) * inverse[n]
        dy[n] = (dy[n] - along * y[n]) * inverse[n]
        dz[n] = (dz[n] - along * z[n]) * inverse[n]


@part
def _add_curvature(curve: Array, slope: Array, c: Array, tangent: Array, points: Array, num: int) -> None:
    r"""Turn ``curve``, derivatives of harmonics by unit vectors, into those of :math:`c \cdot J v` by vectors.

    :math:`J = (1 - u u^T) / n` is the derivative of the unit vector u of a vector of norm n, and v the ``slope``.
    """
    x, y, z, inverse, is_unit = points[0], points[1], points[2], points[3], points[4]
    for n in range(num):
        u_v = x[n] * slope[0, n] + y[n] * slope[1, n] + z[n] * slope[2, n]
        u_c = x[n] * c[0, n] + y[n] * c[1, n] + z[n] * c[2, n]
        both = is_unit[n] * inverse[n]
        for k in range(3):
            curve[k, n] -= both * (u_v * c[k, n] + u_c * slope[k, n])
    _project(curve, points, num)
    for n in range(num):
        total = tangent[0, n] * slope[0, n] + tangent[1, n] * slope[1, n] + tangent[2, n] * slope[2, n]
        both = is_unit[n] * inverse[n] * total
        curve[0, n] -= both * x[n]
        curve[1, n] -= both * y[n]
        curve[2, n] -= both * z[n]
