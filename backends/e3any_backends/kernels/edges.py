r"""Kernels of sums over edges: :math:`A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}`.

Features have the shape (N, K, F), sums (num, M, K F). Edges are visited receiver by receiver, so that the sums of one
receiver stay in the cache. Edges from or to numbers out of range are passed over. Where F is a multiple of the length
of a vector, the work for a receiver is done by code of :mod:`e3any_backends.kernels.code.edges`.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import clear
from e3any_backends.kernels.code.unrolled import run
from e3any_backends.kernels.parallel.partition import of_edges, of_rows

__all__ = ["by_receiver", "product", "vjp", "work"]

# What of the cache of a core is used, how far addresses are apart that share places in it, and the size of a place.
_CACHE, _CACHE_PERIOD, _LINE = 32768, 2048, 64


def work(x: Array, angular: Array) -> int:
    """Return how much work sums over edges are for such features and angular parts, as ``pool.num_parts`` has it."""
    return int(angular.size * x.shape[1] * x.shape[2] * x.dtype.itemsize // 4)


@jit
def by_receiver(starts: Array, order: Array, src: Array, dst: Array, num_src: int) -> None:
    """Write an order of edges, those of each receiver together, those that are passed over last, and where they start.

    There are two more starts than receivers: where edges that are passed over begin, and where all end.
    """
    num_dst = len(starts) - 2
    for i in range(len(starts)):
        starts[i] = 0
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            starts[dst[e] + 2] += 1
    for i in range(num_dst):
        starts[i + 2] += starts[i + 1]
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            receiver = dst[e]
        else:
            receiver = num_dst
        order[starts[receiver + 1]] = e
        starts[receiver + 1] += 1


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
    code: int,
) -> None:
    """Write the sums of one part of the receivers to ``out``, by the code at an address unless that is 0."""
    degrees, (_, components, features) = radial.shape[1], x.shape
    width = components * features
    begin, end = of_edges(starts, number, parts)
    if code != 0:
        places, steps = np.empty(6, np.intp), np.empty(5, np.intp)
        senders = _senders(src, order, starts[begin], starts[end])
        _place_factors(places, x, angular, radial, senders, order)
        _place_components(steps, x, width * x.itemsize)
        for i in range(begin, end):
            places[0], steps[0], steps[1] = out.ctypes.data + i * out[0].nbytes, starts[i], starts[i + 1]
            run(code, places, steps, components, features * x.itemsize)
        places[4] = senders.ctypes.data  # else they would be freed before the loop
        return
    scaled = np.empty((4, components, features), x.dtype)
    flat = scaled.reshape(4, width)
    first, second, third, fourth = flat[0], flat[1], flat[2], flat[3]
    for i in range(begin, end):
        stop = starts[i + 1]
        clear(out[i])
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
def vjp(
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
    code: int,
) -> None:
    """Write the derivatives of ``g`` times the sums over edges of one part of the receivers, and add them to ``dx``."""
    begin, end = of_edges(starts, number, parts)
    _clear_slopes(d_angular, d_radial, order[starts[begin] : starts[end]], code == 0)
    passed, all_edges = starts[len(starts) - 2], len(order)
    first, last = of_rows(all_edges - passed, 1, number, parts)
    _clear_slopes(d_angular, d_radial, order[passed + first : passed + last], True)
    if code != 0:
        places, steps = np.empty(9, np.intp), np.empty(5, np.intp)
        senders = _senders(src, order, starts[begin], starts[end])
        _place_factors(places, x, angular, radial, senders, order)
        places[6], places[7], places[8] = dx.ctypes.data, d_angular.ctypes.data, d_radial.ctypes.data
        pitch = x.shape[2] * x.itemsize
        # Slopes of sums that the cache of a core has room for, until all edges have read them.
        block = max(1, _CACHE // (angular.shape[1] * x.shape[1] * _LINE)) * _LINE
        copy = _spaced(g)
        _place_components(steps, x, copy[0].nbytes if len(copy) else g[0, 0].nbytes)
        for i in range(begin, end):
            places[0], steps[0], steps[1] = g.ctypes.data + i * g[0].nbytes, starts[i], starts[i + 1]
            if len(copy):
                places[0] = copy.ctypes.data
                _copy(copy, g[i])
            for first in range(0, pitch, block):
                steps[2], steps[3] = first, min(first + block, pitch)
                run(code, places, steps, x.shape[1], pitch)
        places[4] = senders.ctypes.data  # else they would be freed before the loop
        return
    scaled, inner = np.empty(x.shape[1:], x.dtype), np.empty(x.shape[1:], x.dtype)
    rooms = scaled, inner, scaled.reshape(-1), inner.reshape(-1)
    for i in range(begin, end):
        for e in order[starts[i] : starts[i + 1]]:
            gradients, factors = (dx[src[e]], d_angular[e], d_radial[e]), (x[src[e]], angular[e], radial[e])
            _vjp_numbers(gradients, factors, g[i], rooms)


# -- code ---------------------------------------------------------------------------------------------------


@part
def _clear_slopes(d_angular: Array, d_radial: Array, edges: Array, has_radial: bool) -> None:
    """Clear the derivatives of edges to which others are added, or which stay zero."""
    for e in edges:
        clear(d_angular[e])
        if has_radial:
            clear(d_radial[e])


@jit
def _senders(src: Array, order: Array, begin: int, end: int) -> Array:
    """Return the senders of edges in their order, of which only those of a part are needed."""
    senders = np.empty(len(order), np.int64)
    for e in range(begin, end):
        senders[e] = src[order[e]]
    return senders


@jit
def _place_factors(places: Array, x: Array, angular: Array, radial: Array, senders: Array, order: Array) -> None:
    places[1], places[2], places[3] = x.ctypes.data, angular.ctypes.data, radial.ctypes.data
    places[4], places[5] = senders.ctypes.data, order.ctypes.data


@jit
def _place_components(steps: Array, x: Array, stride: int) -> None:
    steps[2], steps[3], steps[4] = 0, x.shape[2] * x.itemsize, stride


@jit
def _spaced(g: Array) -> Array:
    """Return padded scratch memory for a receiver whose harmonics compete for places in the cache, else none."""
    harmonics, width = g.shape[1:]
    if width * g.itemsize % _CACHE_PERIOD == 0:
        return np.empty((harmonics, width + _LINE // g.itemsize), g.dtype)
    return np.empty((0, 0), g.dtype)


@part
def _copy(target: Array, source: Array) -> None:
    for m in range(len(source)):
        a, b = target[m], source[m]
        for k in range(len(b)):
            a[k] = b[k]


# -- numbers ------------------------------------------------------------------------------------------------


@part
def _vjp_numbers(gradients: Array, factors: Array, g: Array, rooms: Array) -> None:
    """Add the derivatives of one edge by what its factors are: features, angular and radial part."""
    (dx, d_angular, d_radial), (x, angular, radial) = gradients, factors
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
    gradient = d_y[0]
    for k in range(len(g)):
        inner[k] += y * g[k]
        gradient += scaled[k] * g[k]
    d_y[0] = gradient
