r"""Kernels of sums over edges: :math:`A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}`.

Features have the shape (N, K, F), sums (num, M, K F). Edges are visited receiver by receiver, so that the sums of one
receiver stay in the cache. Edges from or to numbers out of range are passed over.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.jit import jit, part

__all__ = ["product", "pull"]


@jit
def product(out: Array, x: Array, angular: Array, radial: Array, src: Array, dst: Array) -> None:
    """Add the sums to ``out``."""
    degrees, (_, components, features) = radial.shape[1], x.shape
    width = components * features
    starts, order = _by_receiver(src, dst, len(x), len(out))
    scaled = np.empty((4, components, features), x.dtype)
    flat = scaled.reshape(4, width)
    first, second, third, fourth = flat[0], flat[1], flat[2], flat[3]
    for i in range(len(out)):
        stop = starts[i + 1]
        # Four edges at a time: sums are loaded and stored a fourth as often.
        for e in range(starts[i], stop, 4):
            a, b, c, d = order[e], order[min(e + 1, stop - 1)], order[min(e + 2, stop - 1)], order[min(e + 3, stop - 1)]
            scaled[stop - e :] = 0
            for l in range(degrees):
                for j in range(min(4, stop - e)):
                    _scale(scaled[j], x[src[order[e + j]]], radial[order[e + j], l])
                for m in range(l * l, (l + 1) * (l + 1)):
                    total = out[i, m]
                    p, q, r, s = angular[a, m], angular[b, m], angular[c, m], angular[d, m]
                    for k in range(width):
                        total[k] += (p * first[k] + q * second[k]) + (r * third[k] + s * fourth[k])


@jit
def pull(
    dx: Array,
    d_angular: Array,
    d_radial: Array,
    x: Array,
    angular: Array,
    radial: Array,
    g: Array,
    src: Array,
    dst: Array,
) -> None:
    """Add the derivatives of the sum of ``g`` times the sums over edges."""
    degrees, (_, components, features) = radial.shape[1], x.shape
    starts, order = _by_receiver(src, dst, len(x), len(g))
    scaled, inner = np.empty((components, features), x.dtype), np.empty((components, features), x.dtype)
    flat, flat_inner = scaled.reshape(-1), inner.reshape(-1)
    for i in range(len(g)):
        for e in order[starts[i] : starts[i + 1]]:
            neighbour, d_neighbour = x[src[e]], dx[src[e]]
            for l in range(degrees):
                _scale(scaled, neighbour, radial[e, l])
                inner[:] = 0
                for m in range(l * l, (l + 1) * (l + 1)):
                    _pull_sum(flat_inner, d_angular[e, m : m + 1], flat, g[i, m], angular[e, m])
                _pull_scale(d_neighbour, d_radial[e, l], neighbour, radial[e, l], inner)


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
    total = d_y[0]
    for k in range(len(g)):
        inner[k] += y * g[k]
        total += scaled[k] * g[k]
    d_y[0] = total


@jit
def _by_receiver(src: Array, dst: Array, num_src: int, num_dst: int) -> tuple[Array, Array]:
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
