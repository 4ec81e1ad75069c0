r"""Kernels of a coupling: :math:`z_k = \sum_e c_e\, w_p x_i y_j` for every row and feature.

Entries e are sorted by component k of the product and path p: row (k, p, start, stop) of the table ``rows`` stands for
the entries from start to stop. Arrays are contiguous: factors have the shape (N, components, F), or one row that is
repeated; weights (paths, F), of which ``used`` are counted by p; and the product (N, components, F). The other
arguments are blocks to work in, see :mod:`e3any_backends.kernels.blocks`.
"""

from __future__ import annotations

from e3any_backends.generic import Array
from e3any_backends.kernels.blocks import clear, load_block, store_block, sum_block, tile
from e3any_backends.kernels.jit import jit, part

__all__ = ["product", "pull"]


@jit
def product(
    z: Array,
    x: Array,
    y: Array,
    w: Array,
    rows: Array,
    used: Array,
    i: Array,
    j: Array,
    c: Array,
    left: Array,
    right: Array,
    out: Array,
    weights: Array,
) -> None:
    """Write the product to ``z``."""
    num_rows, _, features = z.shape
    size = out.shape[1] // features
    tile(weights, w, used)
    for start in range(0, num_rows, size):
        num = min(size, num_rows - start)
        load_block(left, x, start, num)
        load_block(right, y, start, num)
        clear(out)
        _add_products(out, left, right, weights, rows, i, j, c, num * features)
        store_block(z, out, start, num)


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
    used: Array,
    i: Array,
    j: Array,
    c: Array,
    left: Array,
    right: Array,
    out: Array,
    weights: Array,
    d_left: Array,
    d_right: Array,
    d_weights: Array,
) -> None:
    """Write the derivatives of the sum of ``g`` times the product by factors, and add those by the weights."""
    num_rows, _, features = g.shape
    size = out.shape[1] // features
    tile(weights, w, used)
    clear(d_weights)
    for start in range(0, num_rows, size):
        num = min(size, num_rows - start)
        load_block(left, x, start, num)
        load_block(right, y, start, num)
        load_block(out, g, start, num)
        clear(d_left)
        clear(d_right)
        _pull_products(d_left, d_right, d_weights, left, right, weights, out, rows, i, j, c, num * features)
        store_block(dx, d_left, start, num)
        store_block(dy, d_right, start, num)
    sum_block(dw, d_weights, used)


@part
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


@part
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
