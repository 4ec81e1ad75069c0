r"""Kernels of a coupling of sums of products: :math:`z_{rk} = \sum_s \sum_e c_e\, w_{srp} A_{sri}`.

Arrays are those of :mod:`e3any_backends.kernels.trilinear`, with one factor whose component i is a pair.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.blocks import add_block, load_block, rows_per_block, sum_block, tile
from e3any_backends.kernels.jit import jit

__all__ = ["product", "pull"]

# Pairs are many: longer loops would not find them in the cache.
_WIDTH = 128


@jit
def product(z: Array, x: Array, w: Array, rows: Array, i: Array, c: Array) -> None:
    """Write the product to ``z``."""
    outs, num_rows, num_z, features = z.shape
    size = rows_per_block(num_rows, features, _WIDTH)
    pairs, out = np.empty((x.shape[3], size * features), z.dtype), np.empty((num_z, size * features), z.dtype)
    weights = np.empty((w.shape[0], w.shape[1], w.shape[2], size * features), z.dtype)
    tile(weights, w)
    for r in range(outs):
        for start in range(0, num_rows, size):
            num = min(size, num_rows - start)
            out[:] = 0
            for s in range(max(len(x), len(w))):
                load_block(pairs, _part(x, s, r), start, num)
                _add_products(out, pairs, _part(weights, s, r), rows, i, c, num * features)
            z[r, start : start + num] = 0
            add_block(z[r], out, start, num)


@jit
def pull(dx: Array, dw: Array, x: Array, w: Array, g: Array, rows: Array, i: Array, c: Array) -> None:
    """Add the derivatives of the sum of ``g`` times the product to ``dx`` and ``dw``."""
    outs, num_rows, num_z, features = g.shape
    size = rows_per_block(num_rows, features, _WIDTH)
    pairs, out = np.empty((x.shape[3], size * features), g.dtype), np.empty((num_z, size * features), g.dtype)
    weights = np.empty((w.shape[0], w.shape[1], w.shape[2], size * features), g.dtype)
    tile(weights, w)
    d_pairs, d_weights = np.empty_like(pairs), np.empty_like(weights[0, 0])
    for r in range(outs):
        for s in range(max(len(x), len(w))):
            d_weights[:] = 0
            for start in range(0, num_rows, size):
                num = min(size, num_rows - start)
                load_block(pairs, _part(x, s, r), start, num)
                load_block(out, g[r], start, num)
                d_pairs[:] = 0
                _pull_products(d_pairs, d_weights, pairs, _part(weights, s, r), out, rows, i, c, num * features)
                add_block(_part(dx, s, r), d_pairs, start, num)
            sum_block(_part(dw, s, r), d_weights)


@jit
def _part(x: Array, s: int, r: int) -> Array:
    return x[s if x.shape[0] > 1 else 0, r if x.shape[1] > 1 else 0]


@jit
def _add_products(z: Array, x: Array, w: Array, rows: Array, i: Array, c: Array, width: int) -> None:
    for row in range(len(rows)):
        out, weight = z[rows[row, 0]], w[rows[row, 1]]
        e, stop = rows[row, 2], rows[row, 3]
        while stop - e >= 2:
            a, first = x[i[e]], c[e]
            e += 1
            b, second = x[i[e]], c[e]
            e += 1
            for t in range(width):
                out[t] += weight[t] * (first * a[t] + second * b[t])
        if e < stop:
            a, first = x[i[e]], c[e]
            for t in range(width):
                out[t] += weight[t] * (first * a[t])


@jit
def _pull_products(
    dx: Array, dw: Array, x: Array, w: Array, g: Array, rows: Array, i: Array, c: Array, width: int
) -> None:
    for row in range(len(rows)):
        slope, weight, d_weight = g[rows[row, 0]], w[rows[row, 1]], dw[rows[row, 1]]
        for e in range(rows[row, 2], rows[row, 3]):
            a, da, value = x[i[e]], dx[i[e]], c[e]
            for t in range(width):
                scaled = value * slope[t]
                da[t] += scaled * weight[t]
                d_weight[t] += scaled * a[t]
