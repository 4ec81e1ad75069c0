r"""Kernels of sums over edges: :math:`A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}`.

Components and features are one axis, of length K F. Edges are visited receiver by receiver, so that the sums of one
receiver stay in the cache. Edges from or to numbers out of range are passed over.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.jit import jit

__all__ = ["product", "pull"]


@jit
def product(out: Array, x: Array, angular: Array, radial: Array, src: Array, dst: Array) -> None:
    """Add the sums to ``out`` (num, M, K F), of features (N, K F)."""
    degrees, width = radial.shape[1], x.shape[1]
    starts, order = _by_receiver(src, dst, len(x), len(out))
    scaled = np.empty((4, width), x.dtype)
    first, second, third, fourth = scaled[0], scaled[1], scaled[2], scaled[3]
    for i in range(len(out)):
        for e in range(starts[i], starts[i + 1], 4):
            # Four edges at a time: sums are loaded and stored a fourth as often. The last may be the same edge again.
            num, last = starts[i + 1] - e, starts[i + 1] - 1
            a, b, c, d = order[e], order[min(e + 1, last)], order[min(e + 2, last)], order[min(e + 3, last)]
            for l in range(degrees):
                _scale(first, x[src[a]], radial[a, l])
                _scale(second, x[src[b]], radial[b, l])
                _scale(third, x[src[c]], radial[c, l])
                _scale(fourth, x[src[d]], radial[d, l])
                for m in range(l * l, (l + 1) * (l + 1)):
                    total = out[i, m]
                    p = angular[a, m]
                    q, r, s = angular[b, m] * (num > 1), angular[c, m] * (num > 2), angular[d, m] * (num > 3)
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
    degrees, width, features = radial.shape[1], x.shape[1], radial.shape[2]
    starts, order = _by_receiver(src, dst, len(x), len(g))
    scaled, inner = np.empty(width, x.dtype), np.empty(width, x.dtype)
    for i in range(len(g)):
        for e in order[starts[i] : starts[i + 1]]:
            neighbour, d_neighbour = x[src[e]], dx[src[e]]
            for l in range(degrees):
                scale, d_scale = radial[e, l], d_radial[e, l]
                _scale(scaled, neighbour, scale)
                inner[:] = 0
                for m in range(l * l, (l + 1) * (l + 1)):
                    _pull_sum(inner, d_angular[e, m : m + 1], scaled, g[i, m], angular[e, m])
                for start in range(0, width, features):
                    for f in range(features):
                        d_neighbour[start + f] += scale[f] * inner[start + f]
                        d_scale[f] += neighbour[start + f] * inner[start + f]


@jit
def _scale(scaled: Array, x: Array, scale: Array) -> None:
    features = len(scale)
    for start in range(0, len(x), features):
        for f in range(features):
            scaled[start + f] = x[start + f] * scale[f]


@jit
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
