r"""Kernels of a coupling: :math:`z_{rk} = \sum_s \sum_e c_e\, w_{srp} x_{sri} y_{srj}` for every row and feature.

Tables are those of :class:`Rows`: row (k, p, start, stop) stands for the entries of one component of the product and
one path. Arrays are contiguous: factors have the shape (S, R, N, components, F), weights (S, R, paths, F), and the
product (R, N, components, F). An axis of length one of a factor or of the weights is repeated.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.generic import Array
from e3any_backends.kernels.blocks import WIDTH, add_block, load_block, rows_per_block, sum_block, tile
from e3any_backends.kernels.jit import jit

__all__ = ["product", "pull"]


@jit
def product(z: Array, x: Array, y: Array, w: Array, rows: Array, i: Array, j: Array, c: Array) -> None:
    """Write the product to ``z``."""
    outs, num_rows, _, features = z.shape
    size = rows_per_block(num_rows, features, WIDTH)
    left, right, out, weights = _scratch(x, y, z, w, size)
    for r in range(outs):
        for start in range(0, num_rows, size):
            num = min(size, num_rows - start)
            out[:] = 0
            for s in range(max(len(x), len(y), len(w))):
                load_block(left, _part(x, s, r), start, num)
                load_block(right, _part(y, s, r), start, num)
                _add_products(out, left, right, _part(weights, s, r), rows, i, j, c, num * features)
            z[r, start : start + num] = 0
            add_block(z[r], out, start, num)


@jit
def pull(
    dx: Array,
    dy: Array,
    dw: Array,
    x: Array,
    y: Array,
    w: Array,
    g: Array,
    rows: Array,
    i: Array,
    j: Array,
    c: Array,
) -> None:
    """Add the derivatives of the sum of ``g`` times the product to ``dx``, ``dy`` and ``dw``."""
    outs, num_rows, _, features = g.shape
    size = rows_per_block(num_rows, features, WIDTH)
    left, right, out, weights = _scratch(x, y, g, w, size)
    d_left, d_right, d_weights = np.empty_like(left), np.empty_like(right), np.empty_like(weights[0, 0])
    for r in range(outs):
        for s in range(max(len(x), len(y), len(w))):
            d_weights[:] = 0
            for start in range(0, num_rows, size):
                num = min(size, num_rows - start)
                load_block(left, _part(x, s, r), start, num)
                load_block(right, _part(y, s, r), start, num)
                load_block(out, g[r], start, num)
                d_left[:] = 0
                d_right[:] = 0
                weight = _part(weights, s, r)
                _pull_products(d_left, d_right, d_weights, left, right, weight, out, rows, i, j, c, num * features)
                add_block(_part(dx, s, r), d_left, start, num)
                add_block(_part(dy, s, r), d_right, start, num)
            sum_block(_part(dw, s, r), d_weights)


@jit
def _part(x: Array, s: int, r: int) -> Array:
    return x[s if x.shape[0] > 1 else 0, r if x.shape[1] > 1 else 0]


@jit
def _scratch(x: Array, y: Array, z: Array, w: Array, size: int) -> tuple[Array, Array, Array, Array]:
    width = size * z.shape[3]
    weights = np.empty((w.shape[0], w.shape[1], w.shape[2], width), z.dtype)
    tile(weights, w)
    return (
        np.empty((x.shape[3], width), z.dtype),
        np.empty((y.shape[3], width), z.dtype),
        np.empty((z.shape[2], width), z.dtype),
        weights,
    )


@jit
def _add_products(
    z: Array, x: Array, y: Array, w: Array, rows: Array, i: Array, j: Array, c: Array, width: int
) -> None:
    for row in range(len(rows)):
        out, weight = z[rows[row, 0]], w[rows[row, 1]]
        e, stop = rows[row, 2], rows[row, 3]
        # Two entries at a time: a third less is loaded and stored.
        while stop - e >= 2:
            a, b, first = x[i[e]], y[j[e]], c[e]
            e += 1
            a_, b_, second = x[i[e]], y[j[e]], c[e]
            e += 1
            for t in range(width):
                out[t] += weight[t] * (first * a[t] * b[t] + second * a_[t] * b_[t])
        if e < stop:
            a, b, first = x[i[e]], y[j[e]], c[e]
            for t in range(width):
                out[t] += weight[t] * (first * a[t] * b[t])


@jit
def _pull_products(
    dx: Array,
    dy: Array,
    dw: Array,
    x: Array,
    y: Array,
    w: Array,
    g: Array,
    rows: Array,
    i: Array,
    j: Array,
    c: Array,
    width: int,
) -> None:
    for row in range(len(rows)):
        slope, weight, d_weight = g[rows[row, 0]], w[rows[row, 1]], dw[rows[row, 1]]
        for e in range(rows[row, 2], rows[row, 3]):
            a, b, da, db, value = x[i[e]], y[j[e]], dx[i[e]], dy[j[e]], c[e]
            for t in range(width):
                scaled = value * slope[t]
                both = scaled * weight[t]
                da[t] += both * b[t]
                db[t] += both * a[t]
                d_weight[t] += scaled * a[t] * b[t]
