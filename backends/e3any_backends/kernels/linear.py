"""Kernels of linear maps with a matrix for every component: rows x (N, C, F), matrices w (K, F, G), products (N, C, G).

``which`` says which matrix acts on each component. F and G are multiples of the length of a vector. Sums stay in
registers, several at a time, as each has to wait for its last addition.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import BYTES, filled, load, load_like, load_number, load_pair, store
from e3any_backends.kernels.parallel.partition import of_rows

__all__ = ["matrix_vjp", "product", "work"]

# Rows whose products are taken at once, and rows that are summed before they are added to what came before.
_ROWS, _BLOCK = 6, 64
# Whether there are registers for sums of two vectors: AVX-512 has 32, others fewer.
_HAS_PAIRS = bool(binding.get_host_cpu_features().get("avx512f"))


def work(x: Array, w: Array) -> int:
    """Return how much work it is to multiply rows (..., F) with matrices (K, F, G), as ``pool.num_parts`` has it."""
    return int(x.size * w.shape[2] * x.dtype.itemsize // 16)  # these multiplications take a quarter of the time


@jit
def product(number: int, parts: int, out: Array, x: Array, w: Array, which: Array, bias: Array) -> None:
    """Write the products of one part of all rows, and add a bias (G,) to those of component 0."""
    num, size, _ = x.shape
    begin, end = of_rows(num, _ROWS, number, parts)
    for start in range(begin, end, _ROWS):
        # At the end the last row is taken several times.
        a, b, c = start, min(start + 1, num - 1), min(start + 2, num - 1)
        d, e, f = min(start + 3, num - 1), min(start + 4, num - 1), min(start + 5, num - 1)
        for i in range(size):
            rows = a * size + i, b * size + i, c * size + i, d * size + i, e * size + i, f * size + i
            _multiply(out, x, w, bias, rows, which[i], i == 0)


@part
def _multiply(out: Array, x: Array, w: Array, bias: Array, rows: Array, number: int, has_bias: bool) -> None:
    """Multiply six rows with a matrix."""
    _, features, width = w.shape
    lanes, first, j = BYTES // w.itemsize, number * features * width, 0
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
    """Multiply six rows with columns of a matrix, as many as a vector has that is added to the products."""
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
def matrix_vjp(number: int, parts: int, dw: Array, x: Array, g: Array, which: Array) -> None:
    """Add the derivatives of the sum of ``g`` times the products, over one part of all rows, by the matrices."""
    num, size, features = x.shape
    width = g.shape[2]
    left, right = np.empty(_BLOCK * features, x.dtype), np.empty(_BLOCK * width, x.dtype)
    begin, end = of_rows(num, _BLOCK, number, parts)
    for start in range(begin, end, _BLOCK):
        rows = min(_BLOCK, num - start)
        for i in range(size):
            _load_component(left, x, start, rows, i)
            _load_component(right, g, start, rows, i)
            for k in range(0, features, 8):
                _add_outer(dw, left, right, rows, k, which[i])


@part
def _load_component(block: Array, x: Array, start: int, rows: int, i: int) -> None:
    """Copy one component of rows; its numbers then lie together."""
    _, size, features = x.shape
    for n in range(rows):
        for f in range(0, features, BYTES // x.itemsize):
            store(block, n * features + f, load(x, ((start + n) * size + i) * features + f))


@part
def _add_outer(dw: Array, x: Array, g: Array, rows: int, k: int, number: int) -> None:
    """Add products of eight features of x and all of g, summed over rows."""
    _, features, width = dw.shape
    lanes, first, j = BYTES // g.itemsize, (number * features + k) * width, 0
    while _HAS_PAIRS and j + 2 * lanes <= width:
        _add_outer_vector(dw, x, g, rows, k, first, j, filled(load_pair(g, j), 0.0))
        j += 2 * lanes
    while j < width:
        _add_outer_vector(dw, x, g, rows, k, first, j, filled(load(g, j), 0.0))
        j += lanes


@part
def _add_outer_vector(dw: Array, x: Array, g: Array, rows: int, k: int, first: int, j: int, zero: Array) -> None:
    """Add products of eight features of x and as many of g as a vector of zeros has."""
    _, features, width = dw.shape
    p, q, r, s, t, u, v, w = zero, zero, zero, zero, zero, zero, zero, zero
    for n in range(rows):
        at, weight = n * features + k, load_like(zero, g, n * width + j)
        p, q = p + load_number(x, at) * weight, q + load_number(x, at + 1) * weight
        r, s = r + load_number(x, at + 2) * weight, s + load_number(x, at + 3) * weight
        t, u = t + load_number(x, at + 4) * weight, u + load_number(x, at + 5) * weight
        v, w = v + load_number(x, at + 6) * weight, w + load_number(x, at + 7) * weight
    _add(dw, first + j, p)
    _add(dw, first + j + width, q)
    _add(dw, first + j + 2 * width, r)
    _add(dw, first + j + 3 * width, s)
    _add(dw, first + j + 4 * width, t)
    _add(dw, first + j + 5 * width, u)
    _add(dw, first + j + 6 * width, v)
    _add(dw, first + j + 7 * width, w)


@part
def _add(array: Array, position: int, vector: Array) -> None:
    store(array, position, load_like(vector, array, position) + vector)
