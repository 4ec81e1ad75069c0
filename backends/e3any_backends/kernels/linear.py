"""Kernels of linear maps of components: products y (N, C, G) of rows x (N, C, F) and matrices w (K, F, G).

``which[c]`` is the matrix of component c, so that ``y[:, c] = x[:, c] @ w[which[c]]``. F and G are multiples of the
vector length. Sums stay in registers, several independent ones at a time, since an addition has to wait for the one
before it in the same sum (register blocking, https://doi.org/10.1145/1356052.1356053).
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import BYTES, filled, load, load_like, load_number, load_pair, store
from e3any_backends.kernels.parallel.partition import of_rows

__all__ = ["matrix_vjp", "product", "product_work"]

# Rows that are multiplied together, and rows that are summed up before they are added to the gradient.
_ROWS, _BLOCK = 6, 64
# Whether sums are pairs of vectors. One vector takes 7 loads for 6 products, a pair 8 for 12: a number of x, copied to
# all lanes, is multiplied twice. AVX-512 has 32 registers for them; a vector is two registers of AVX2, which has 16.
_HAS_PAIRS = bool(binding.get_host_cpu_features().get("avx512f"))


def product_work(x: Array, w: Array) -> int:
    """Return the work of products of rows (..., F) and matrices (K, F, G), for ``pool.num_shares``."""
    return int(x.size * w.shape[2] * x.dtype.itemsize // 16)  # these multiplications take a quarter of the time


@jit
def product(share: int, num_shares: int, out: Array, x: Array, w: Array, which: Array, bias: Array) -> None:
    """Write the products of one share of the rows, with a bias (G,) added to those of component 0."""
    num, size, _ = x.shape
    begin, end = of_rows(num, _ROWS, share, num_shares)
    for start in range(begin, end, _ROWS):
        # At the end the last row is repeated.
        a, b, c = start, min(start + 1, num - 1), min(start + 2, num - 1)
        d, e, f = min(start + 3, num - 1), min(start + 4, num - 1), min(start + 5, num - 1)
        for i in range(size):
            rows = a * size + i, b * size + i, c * size + i, d * size + i, e * size + i, f * size + i
            _multiply_rows(out, x, w, bias, rows, which[i], i == 0)


@part
def _multiply_rows(out: Array, x: Array, w: Array, bias: Array, rows: Array, matrix: int, has_bias: bool) -> None:
    """Multiply six rows by a matrix."""
    _, features, width = w.shape
    lanes, first, j = BYTES // w.itemsize, matrix * features * width, 0
    while _HAS_PAIRS and j + 2 * lanes <= width:
        pair = load_pair(bias, j) if has_bias else filled(load_pair(bias, j), 0.0)
        _multiply_vector(out, x, w, rows, first, j, pair)
        j += 2 * lanes
    while j < width:
        vector = load(bias, j) if has_bias else filled(load(bias, j), 0.0)
        _multiply_vector(out, x, w, rows, first, j, vector)
        j += lanes


@part
def _multiply_vector(out: Array, x: Array, w: Array, rows: Array, first: int, j: int, begin: Array) -> None:
    """Multiply six rows by the columns j, j + 1, ... of a matrix, one for each entry of the vector ``begin``."""
    features, width = x.shape[2], out.shape[2]
    a, b, c = rows[0] * features, rows[1] * features, rows[2] * features
    d, e, f = rows[3] * features, rows[4] * features, rows[5] * features
    p, q, r, s, t, u = begin, begin, begin, begin, begin, begin
    for k in range(features):
        weight = load_like(begin, w, first + k * width + j)
        p, q = p + load_number(x, a + k) * weight, q + load_number(x, b + k) * weight
        r, s = r + load_number(x, c + k) * weight, s + load_number(x, d + k) * weight
        t, u = t + load_number(x, e + k) * weight, u + load_number(x, f + k) * weight
    store(out, rows[0] * width + j, p)
    store(out, rows[1] * width + j, q)
    store(out, rows[2] * width + j, r)
    store(out, rows[3] * width + j, s)
    store(out, rows[4] * width + j, t)
    store(out, rows[5] * width + j, u)


@jit
def matrix_vjp(share: int, num_shares: int, dw: Array, x: Array, g: Array, which: Array) -> None:
    """Add the gradients of the sum of ``g`` times the products with respect to the matrices, for a share of rows."""
    num, size, features = x.shape
    width = g.shape[2]
    left, right = np.empty(_BLOCK * features, x.dtype), np.empty(_BLOCK * width, x.dtype)
    begin, end = of_rows(num, _BLOCK, share, num_shares)
    for start in range(begin, end, _BLOCK):
        num_rows = min(_BLOCK, num - start)
        for i in range(size):
            _load_component(left, x, start, num_rows, i)
            _load_component(right, g, start, num_rows, i)
            for k in range(0, features, 8):
                _add_outer(dw, left, right, num_rows, k, which[i])


@part
def _load_component(block: Array, x: Array, start: int, num_rows: int, i: int) -> None:
    """Copy component i of rows to a block, where rows follow each other without gaps."""
    _, size, features = x.shape
    for n in range(num_rows):
        for f in range(0, features, BYTES // x.itemsize):
            store(block, n * features + f, load(x, ((start + n) * size + i) * features + f))


@part
def _add_outer(dw: Array, x: Array, g: Array, num_rows: int, k: int, matrix: int) -> None:
    """Add products of features k to k + 7 of x and all features of g, summed over rows, to a matrix."""
    _, features, width = dw.shape
    lanes, first, j = BYTES // g.itemsize, (matrix * features + k) * width, 0
    while _HAS_PAIRS and j + 2 * lanes <= width:
        _add_outer_vector(dw, x, g, num_rows, k, first, j, filled(load_pair(g, j), 0.0))
        j += 2 * lanes
    while j < width:
        _add_outer_vector(dw, x, g, num_rows, k, first, j, filled(load(g, j), 0.0))
        j += lanes


@part
def _add_outer_vector(dw: Array, x: Array, g: Array, num_rows: int, k: int, first: int, j: int, zero: Array) -> None:
    """Add products of eight features of x and features j, j + 1, ... of g, one for each entry of ``zero``."""
    _, features, width = dw.shape
    p, q, r, s, t, u, v, w = zero, zero, zero, zero, zero, zero, zero, zero
    for n in range(num_rows):
        at, weight = n * features + k, load_like(zero, g, n * width + j)
        p, q = p + load_number(x, at) * weight, q + load_number(x, at + 1) * weight
        r, s = r + load_number(x, at + 2) * weight, s + load_number(x, at + 3) * weight
        t, u = t + load_number(x, at + 4) * weight, u + load_number(x, at + 5) * weight
        v, w = v + load_number(x, at + 6) * weight, w + load_number(x, at + 7) * weight
    _add_vector(dw, first + j, p)
    _add_vector(dw, first + j + width, q)
    _add_vector(dw, first + j + 2 * width, r)
    _add_vector(dw, first + j + 3 * width, s)
    _add_vector(dw, first + j + 4 * width, t)
    _add_vector(dw, first + j + 5 * width, u)
    _add_vector(dw, first + j + 6 * width, v)
    _add_vector(dw, first + j + 7 * width, w)


@part
def _add_vector(array: Array, position: int, vector: Array) -> None:
    store(array, position, load_like(vector, array, position) + vector)
