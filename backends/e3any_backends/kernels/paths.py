r"""Kernels of sums over edges of couplings with weights of every edge and path.

.. math:: z_{in} = \sum_{e \to i} \sum_{k,n,p} q_{ep}\, T_{epkn}\, x_{s(e)k} \qquad T_{epkn} = \sum_m c_{pkmn}\, Y_{em}

=========  ==========  =========================================================================
array      shape       content
=========  ==========  =========================================================================
``x``      (N, X)      features of the nodes that send, block by block
angular    (E, M)      harmonics Y
weights    (E, Q)      weights q, block by block
``out``    (num, Z)    sums z, block by block
``g``      (num, Z)    cotangent of ``out`` in :func:`path_gradients`
=========  ==========  =========================================================================

Blocks and tables are those of :mod:`e3any_backends.forms.paths`. The matrices T of an edge are computed once for all
features. Nothing is stored for every edge but the operands and their gradients. Edges are visited receiver by receiver,
see :mod:`e3any_backends.kernels.edges`. If tables are not too long, the work for a few edges of a receiver is unrolled
code of :mod:`e3any_backends.kernels.code.paths`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import BYTES, clear
from e3any_backends.kernels.code.unrolled import run
from e3any_backends.kernels.edges import senders_in_order
from e3any_backends.kernels.parallel.partition import of_edges, of_rows

__all__ = ["Tables", "path_gradients", "path_sums"]

# Words of eight bytes of one vector.
_WORDS = BYTES // 8


class Tables(NamedTuple):
    """The tables of :class:`~e3any_backends.forms.paths.PathTables`, with coefficients in the dtype of arrays."""

    blocks: Array
    rows: Array
    elements: Array
    entries: Array
    coefficients: Array


@jit
def path_sums(
    share: int,
    num_shares: int,
    out: Array,
    x: Array,
    angular: Array,
    weights: Array,
    src: Array,
    starts: Array,
    order: Array,
    tables: Tables,
    code: int,
) -> None:
    """Write the sums of one share of the receivers to ``out``; ``code`` is the address of unrolled code, or 0.

    Unrolled code gets the tables of :class:`~e3any_backends.kernels.code.paths.PathProgram`.
    """
    begin, end = of_edges(starts, share, num_shares)
    step = BYTES // x.itemsize if code != 0 else 1
    scratch = np.zeros((angular.shape[1] + len(tables.elements)) * _WORDS, np.int64)
    matrices, scaled = np.empty(len(tables.elements), x.dtype), np.empty(x.shape[1], x.dtype)
    pointers, steps = np.empty(10, np.intp), np.empty(2, np.intp)
    pointers[1], pointers[2], pointers[3] = x.ctypes.data, angular.ctypes.data, weights.ctypes.data
    senders = senders_in_order(src, order, starts[begin], starts[end])
    pointers[4], pointers[5], pointers[6] = senders.ctypes.data, order.ctypes.data, scratch.ctypes.data
    for i in range(begin, end):
        clear(out[i])
        pointers[0] = out.ctypes.data + i * out.shape[1] * out.itemsize
        for e in range(starts[i], starts[i + 1], step):
            if code != 0:
                steps[0], steps[1] = e, min(e + step, starts[i + 1])
                run(code, pointers, steps, 0, 0)
            else:
                edge = order[e]
                _set_matrices(matrices, angular[edge], tables)
                _add_sums(out[i], x[src[edge]], weights[edge], matrices, scaled, tables)
    pointers[4], pointers[6] = senders.ctypes.data, scratch.ctypes.data  # else numba would free them before the loop


@jit
def path_gradients(
    share: int,
    num_shares: int,
    dx: Array,
    d_angular: Array,
    d_weights: Array,
    x: Array,
    angular: Array,
    weights: Array,
    g: Array,
    src: Array,
    starts: Array,
    order: Array,
    tables: Tables,
    code: int,
) -> None:
    """Compute the gradients of the edges of one share of the receivers.

    Their rows of ``d_angular`` and ``d_weights`` are written. The gradients with respect to the features of their
    senders are added to ``dx``.
    """
    begin, end = of_edges(starts, share, num_shares)
    # The gradients of padding are zero.
    padding, num_edges = starts[len(starts) - 2], len(order)
    first, last = of_rows(num_edges - padding, 1, share, num_shares)
    _clear_rows(d_angular, d_weights, order[padding + first : padding + last])
    step = BYTES // x.itemsize if code != 0 else 1
    scratch = np.zeros((angular.shape[1] + len(tables.elements)) * _WORDS, np.int64)
    matrices, d_matrices = np.empty(len(tables.elements), x.dtype), np.empty(len(tables.elements), x.dtype)
    scaled, inner = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    pointers, steps = np.empty(10, np.intp), np.empty(2, np.intp)
    pointers[1], pointers[2], pointers[3] = x.ctypes.data, angular.ctypes.data, weights.ctypes.data
    senders = senders_in_order(src, order, starts[begin], starts[end])
    pointers[4], pointers[5], pointers[6] = senders.ctypes.data, order.ctypes.data, scratch.ctypes.data
    pointers[7], pointers[8], pointers[9] = dx.ctypes.data, d_angular.ctypes.data, d_weights.ctypes.data
    for i in range(begin, end):
        pointers[0] = g.ctypes.data + i * g.shape[1] * g.itemsize
        for e in range(starts[i], starts[i + 1], step):
            if code != 0:
                steps[0], steps[1] = e, min(e + step, starts[i + 1])
                run(code, pointers, steps, 0, 0)
            else:
                edge = order[e]
                _set_matrices(matrices, angular[edge], tables)
                gradients, factors = (dx[src[edge]], d_weights[edge], d_matrices), (x[src[edge]], weights[edge])
                _add_gradients(gradients, factors, g[i], matrices, (scaled, inner), tables)
                _set_angular_gradient(d_angular[edge], d_matrices, tables)
    pointers[4], pointers[6] = senders.ctypes.data, scratch.ctypes.data  # else numba would free them before the loop


@part
def _clear_rows(d_angular: Array, d_weights: Array, edges: Array) -> None:
    for e in edges:
        clear(d_angular[e])
        clear(d_weights[e])


# -- one edge, by loops over tables -------------------------------------------------------------------------


@part
def _set_matrices(matrices: Array, y: Array, tables: Tables) -> None:
    """Compute the matrix elements of an edge."""
    clear(matrices)
    for n in range(len(tables.coefficients)):
        matrices[tables.entries[n, 0]] += tables.coefficients[n] * y[tables.entries[n, 1]]


@part
def _set_angular_gradient(dy: Array, d_matrices: Array, tables: Tables) -> None:
    """Compute the gradient with respect to harmonics from that with respect to matrix elements."""
    clear(dy)
    for n in range(len(tables.coefficients)):
        dy[tables.entries[n, 1]] += tables.coefficients[n] * d_matrices[tables.entries[n, 0]]


@part
def _add_sums(out: Array, x: Array, weights: Array, matrices: Array, scaled: Array, tables: Tables) -> None:
    for b in range(len(tables.blocks)):
        size, at_x, at_q, at_z, begin, end = tables.blocks[b]
        product = scaled[:size]
        for r in range(begin, end):
            p, k, first, last = tables.rows[r]
            a, q = x[at_x + k * size : at_x + (k + 1) * size], weights[at_q + p * size : at_q + (p + 1) * size]
            for f in range(size):
                product[f] = q[f] * a[f]
            for t in range(first, last):
                n, element = tables.elements[t], matrices[t]
                z = out[at_z + n * size : at_z + (n + 1) * size]
                for f in range(size):
                    z[f] += element * product[f]


@part
def _add_gradients(gradients: Array, factors: Array, g: Array, matrices: Array, scratch: Array, tables: Tables) -> None:
    """Add the gradients of an edge: with respect to x, which is added to, weights and matrix elements."""
    (dx, dq, d_matrices), (x, weights), (scaled, inner) = gradients, factors, scratch
    clear(dq)
    clear(d_matrices)
    for b in range(len(tables.blocks)):
        size, at_x, at_q, at_z, begin, end = tables.blocks[b]
        product, total = scaled[:size], inner[:size]
        for r in range(begin, end):
            p, k, first, last = tables.rows[r]
            a, da = x[at_x + k * size : at_x + (k + 1) * size], dx[at_x + k * size : at_x + (k + 1) * size]
            q, d = weights[at_q + p * size : at_q + (p + 1) * size], dq[at_q + p * size : at_q + (p + 1) * size]
            clear(total)
            for f in range(size):
                product[f] = q[f] * a[f]
            for t in range(first, last):
                n, element, gradient = tables.elements[t], matrices[t], d_matrices[t]
                z = g[at_z + n * size : at_z + (n + 1) * size]
                for f in range(size):
                    total[f] += element * z[f]
                    gradient += product[f] * z[f]
                d_matrices[t] = gradient
            for f in range(size):
                da[f] += q[f] * total[f]
                d[f] += a[f] * total[f]
