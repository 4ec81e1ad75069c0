r"""Kernels of sums over edges: :math:`A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}`.

Features have the shape (N, K, F), sums (num, M, K F). Edges are visited receiver by receiver, so that the sums of one
receiver stay in the cache. Edges from or to numbers out of range are passed over. Where F is a multiple of the length
of a vector, derivatives by the factors of up to four harmonics stay in registers.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.jit import jit, part
from e3any_backends.kernels.shares import of_edges
from e3any_backends.kernels.simd import BYTES, clear, filled, load, repeated, store, total

__all__ = ["by_receiver", "product", "pull"]


def work(x: Array, angular: Array) -> int:
    """Return how much work sums over edges are for such features and angular parts, as ``pool.num_parts`` has it."""
    return int(angular.size * x.shape[1] * x.shape[2] * x.dtype.itemsize // 4)


@jit
def by_receiver(src: Array, dst: Array, num_src: int, num_dst: int) -> tuple[Array, Array]:
    """Return where the edges of each receiver start in an order of all valid edges, and the order."""
    starts = np.zeros(num_dst + 2, np.int64)
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            starts[dst[e] + 2] += 1
    starts = np.cumsum(starts)
    order = np.empty(starts[-1], np.int64)
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            order[starts[dst[e] + 1]] = e
            starts[dst[e] + 1] += 1
    return starts[:-1], order


@jit
def product(
    number: int,
    parts: int,
    out: Array,
    x: Array,
    angular: Array,
    radial: Array,
    src: Array,
    starts: Array,
    order: Array,
) -> None:
    """Add the sums of one part of the receivers to ``out``."""
    degrees, (_, components, features) = radial.shape[1], x.shape
    width = components * features
    scaled = np.empty((4, components, features), x.dtype)
    flat = scaled.reshape(4, width)
    first, second, third, fourth = flat[0], flat[1], flat[2], flat[3]
    begin, end = of_edges(starts, number, parts)
    for i in range(begin, end):
        stop = starts[i + 1]
        # Four edges at a time: sums are loaded and stored a fourth as often.
        for e in range(starts[i], stop, 4):
            a, b, c, d = order[e], order[min(e + 1, stop - 1)], order[min(e + 2, stop - 1)], order[min(e + 3, stop - 1)]
            if stop - e < 4:
                clear(scaled)
            for l in range(degrees):
                for j in range(min(4, stop - e)):
                    _scale(scaled[j], x[src[order[e + j]]], radial[order[e + j], l])
                for m in range(l * l, (l + 1) * (l + 1)):
                    sums = out[i, m]
                    p, q, r, s = angular[a, m], angular[b, m], angular[c, m], angular[d, m]
                    for k in range(width):
                        sums[k] += (p * first[k] + q * second[k]) + (r * third[k] + s * fourth[k])


@jit
def pull(
    number: int,
    parts: int,
    dx: Array,
    d_angular: Array,
    d_radial: Array,
    x: Array,
    angular: Array,
    radial: Array,
    g: Array,
    src: Array,
    starts: Array,
    order: Array,
) -> None:
    """Add the derivatives of the sum of ``g`` times the sums over edges to one part of the receivers."""
    begin, end = of_edges(starts, number, parts)
    if x.shape[2] % (BYTES // x.itemsize) == 0:
        for i in range(begin, end):
            for e in order[starts[i] : starts[i + 1]]:
                _pull_vectors(dx, d_angular, d_radial, x, angular, radial, g, src[e], e, i)
        return
    scaled, inner = np.empty(x.shape[1:], x.dtype), np.empty(x.shape[1:], x.dtype)
    rooms = scaled, inner, scaled.reshape(-1), inner.reshape(-1)
    for i in range(begin, end):
        for e in order[starts[i] : starts[i + 1]]:
            slopes, factors = (dx[src[e]], d_angular[e], d_radial[e]), (x[src[e]], angular[e], radial[e])
            _pull_numbers(slopes, factors, g[i], rooms)


# -- vectors ------------------------------------------------------------------------------------------------


@part
def _pull_vectors(
    dx: Array,
    d_angular: Array,
    d_radial: Array,
    x: Array,
    angular: Array,
    radial: Array,
    g: Array,
    sender: int,
    e: int,
    i: int,
) -> None:
    """Add the derivatives of one edge from a sender to a receiver i."""
    (_, harmonics), degrees = angular.shape, radial.shape[1]
    for l in range(degrees):
        stop = (l + 1) * (l + 1)
        for m in range(l * l, stop, 4):
            num, first = min(4, stop - m), e * harmonics + m
            a = repeated(angular, first)
            zero = filled(a, 0.0)
            b = repeated(angular, first + 1) if num > 1 else zero
            c = repeated(angular, first + 2) if num > 2 else zero
            d = repeated(angular, first + 3) if num > 3 else zero
            sums = _pull_four(
                dx, d_radial, x, radial, g, (sender, e * degrees + l, i * harmonics + m), num, (a, b, c, d)
            )
            for n in range(num):
                d_angular[e, m + n] += sums[n]


@part
def _pull_four(
    dx: Array, d_radial: Array, x: Array, radial: Array, g: Array, rows: tuple[int, ...], num: int, angular: Array
) -> Array:
    """Add the derivatives by features and radial part for up to four harmonics; return those by the angular part."""
    _, components, features = x.shape
    sender, row, first = rows
    a, b, c, d = angular
    pitch = components * features
    # Past the last harmonic the first is taken again, times zero.
    n, o, p = min(1, num - 1) * pitch, (2 if num > 2 else 0) * pitch, (3 if num > 3 else 0) * pitch
    zero = filled(a, 0.0)
    da, db, dc, dd = zero, zero, zero, zero
    for f in range(0, features, BYTES // x.itemsize):
        scale = load(radial, row * features + f)
        slope = load(d_radial, row * features + f)
        for k in range(components):
            at, place = (sender * components + k) * features + f, (first * components + k) * features + f
            value = load(x, at)
            s, t, u, v = load(g, place), load(g, place + n), load(g, place + o), load(g, place + p)
            inner = (a * s + b * t) + (c * u + d * v)
            slope += value * inner
            store(dx, at, load(dx, at) + scale * inner)
            sent = scale * value
            da, db, dc, dd = da + sent * s, db + sent * t, dc + sent * u, dd + sent * v
        store(d_radial, row * features + f, slope)
    return total(da), total(db), total(dc), total(dd)


# -- numbers ------------------------------------------------------------------------------------------------


@part
def _pull_numbers(slopes: Array, factors: Array, g: Array, rooms: Array) -> None:
    """Add the derivatives of one edge by what its factors are: features, angular and radial part."""
    (dx, d_angular, d_radial), (x, angular, radial) = slopes, factors
    scaled, inner, flat, flat_inner = rooms
    for l in range(len(radial)):
        _scale(scaled, x, radial[l])
        clear(inner)
        for m in range(l * l, (l + 1) * (l + 1)):
            _pull_sum(flat_inner, d_angular[m : m + 1], flat, g[m], angular[m])
        _pull_scale(dx, d_radial[l], x, radial[l], inner)


@part
def _scale(scaled: Array, x: Array, scale: Array) -> None:
    for k in range(len(x)):
        a, b = x[k], scaled[k]
        for f in range(len(scale)):
            b[f] = a[f] * scale[f]


@part
def _pull_scale(dx: Array, d_scale: Array, x: Array, scale: Array, g: Array) -> None:
    for k in range(len(x)):
        a, da, b = x[k], dx[k], g[k]
        for f in range(len(scale)):
            da[f] += scale[f] * b[f]
            d_scale[f] += a[f] * b[f]


@part
def _pull_sum(inner: Array, d_y: Array, scaled: Array, g: Array, y: float) -> None:
    """Add ``y`` times ``g`` to ``inner``, and the product of ``scaled`` and ``g`` to ``d_y``."""
    slope = d_y[0]
    for k in range(len(g)):
        inner[k] += y * g[k]
        slope += scaled[k] * g[k]
    d_y[0] = slope
