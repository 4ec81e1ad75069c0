r"""Kernels of a coupling of sums of products: :math:`z_k = \sum_e c_e\, w_p A_i`.

Arrays are those of :mod:`e3any_backends.kernels.trilinear`, with one factor whose component i is a pair.
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
    w: Array,
    rows: Array,
    used: Array,
    i: Array,
    c: Array,
    pairs: Array,
    out: Array,
    weights: Array,
) -> None:
    """Write the product to ``z``."""
    num_rows, _, features = z.shape
    size = out.shape[1] // features
    tile(weights, w, used)
    for start in range(0, num_rows, size):
        num = min(size, num_rows - start)
        load_block(pairs, x, start, num)
        clear(out)
        _add_products(out, pairs, weights, rows, i, c, num * features)
        store_block(z, out, start, num)


@jit
def pull(
    dx: Array,
    dw: Array,
    x: Array,
    w: Array,
    g: Array,
    rows: Array,
    used: Array,
    i: Array,
    c: Array,
    pairs: Array,
    out: Array,
    weights: Array,
    d_pairs: Array,
    d_weights: Array,
) -> None:
    """Write the derivatives of the sum of ``g`` times the product by factors, and add those by the weights."""
    num_rows, _, features = g.shape
    size = out.shape[1] // features
    tile(weights, w, used)
    clear(d_weights)
    for start in range(0, num_rows, size):
        num = min(size, num_rows - start)
        load_block(pairs, x, start, num)
        load_block(out, g, start, num)
        clear(d_pairs)
        _pull_products(d_pairs, d_weights, pairs, weights, out, rows, i, c, num * features)
        store_block(dx, d_pairs, start, num)
    sum_block(dw, d_weights, used)


@part
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


@part
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
