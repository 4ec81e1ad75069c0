"""The operations that XLA can call, and how they take their operands from a call frame.

An operation consists of three steps. ``prepare`` runs once, before all shares of the work. ``share`` runs once for each
share, in any thread. ``finish`` runs once, after all shares. They take the address of a
:class:`~e3any_backends.kernels.xla.tasks.Call` and the dtype of the floating-point arrays.

Outputs that are sums over all shares are computed without locks: share 0 writes to the output, every other share to
partial outputs of its own, and ``finish`` adds these in their order. So results depend on the number of shares alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from e3any_backends.arrays import Array
from e3any_backends.kernels import edges, harmonics, linear, paths
from e3any_backends.kernels.code.jit import inlined, inner
from e3any_backends.kernels.code.simd import clear
from e3any_backends.kernels.contraction import Schedule, contract
from e3any_backends.kernels.xla import tasks
from e3any_backends.kernels.xla.call_frame import (
    WORD,
    arguments,
    array_1d,
    array_2d,
    array_3d,
    array_at,
    attribute,
    data,
    results,
    words,
)

__all__ = ["OPERATIONS", "Operation", "edge_scratch_words", "path_scratch_words"]


class Operation(NamedTuple):
    """The steps of an operation.

    Parameters
    ----------
    prepare, finish : callable
        Functions of a call and a dtype.
    share : callable
        A function of the number of the share, the number of shares, the call, the dtype, and the address of unrolled
        machine code, 0 if there is none.
    """

    prepare: Callable[[int, DTypeLike], None]
    share: Callable[[int, int, int, DTypeLike, int], None]
    finish: Callable[[int, DTypeLike], None]


@inner
def _do_nothing(call: int, dtype: DTypeLike) -> None:
    pass


@inner
def _add_partial(total: Array, call: int, offset: int) -> None:
    """Add the partial outputs, which begin so many bytes behind the first of a share, to an output."""
    flat = total.reshape(-1)
    for share in range(1, tasks.num_shares_of(call)):
        partial = array_at(tasks.partial_outputs(call, share) + offset, (flat.size,), total.dtype)
        for n in range(flat.size):
            flat[n] += partial[n]


@inner
def _add_to_first(call: int, dtype: DTypeLike) -> None:
    """Add the partial outputs of the first result."""
    _add_partial(array_3d(results(tasks.frame_of(call))[0], dtype), call, 0)


# -- contractions -------------------------------------------------------------------------------------------

# ==============  =====================================================================================
# arguments[:7]   tables of a :class:`~e3any_backends.kernels.contraction.Schedule`
# arguments[7:]   operands
# results         outputs; those with one row for all rows of the operands are sums over shares
# partials        these outputs, one after the other
# ==============  =====================================================================================
_NUM_TABLES = 7


@inner
def _schedule(buffers: Array, dtype: DTypeLike) -> Schedule:
    return Schedule(
        array_1d(buffers[0], np.int32),
        array_2d(buffers[1], np.int32),
        array_2d(buffers[2], np.int32),
        array_2d(buffers[3], np.int32),
        array_2d(buffers[4], np.int32),
        array_2d(buffers[5], np.int32),
        array_1d(buffers[6], dtype),
    )


@inner
def _addresses(frame: int) -> Array:
    """Return the addresses of the elements of operands and outputs."""
    operands, outputs = arguments(frame)[_NUM_TABLES:], results(frame)
    num = len(operands)
    addresses = np.empty(num + len(outputs), np.intp)
    for n in range(len(addresses)):
        addresses[n] = data(operands[n] if n < num else outputs[n - num])
    return addresses


@inner
def _partial_size(sizes: Array, arrays: Array, n: int) -> int:
    """Return the size of an array if it is an output that is a sum over shares, else 0."""
    is_sum = n >= sizes[3] and arrays[n, 1] == 0
    return int(arrays[n, 0] * arrays[n, 3] * sizes[2]) if is_sum else 0


@inlined
def _contract(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    schedule, addresses = _schedule(arguments(frame), dtype), _addresses(frame)
    if share > 0:
        partial = tasks.partial_outputs(call, share)
        for n in range(len(addresses)):
            size = _partial_size(schedule.sizes, schedule.arrays, n)
            if size > 0:
                addresses[n] = partial
                partial += size * schedule.coefficients.itemsize
    contract(share, num_shares, addresses, schedule, code)


@inner
def _add_contractions(call: int, dtype: DTypeLike) -> None:
    frame, offset = tasks.frame_of(call), 0
    buffers, addresses = arguments(frame), _addresses(frame)
    sizes, arrays = array_1d(buffers[0], np.int32), array_2d(buffers[1], np.int32)
    for n in range(len(addresses)):
        total = array_at(addresses[n], (_partial_size(sizes, arrays, n),), dtype)
        _add_partial(total, call, offset)
        offset += total.nbytes


# -- sums over edges ----------------------------------------------------------------------------------------

# ============  =======================================================================================
# arguments[0]  edges, in rows of the edges of one receiver, as in :mod:`e3any_backends.jax.edges`
# arguments[1]  the sender of each edge
# arguments[2]  the receiver of each row
# arguments[3]  features x; [4] angular part; [5] radial part; [6] cotangent of the sums, for gradients
# results       the sums; or gradients with respect to x, which are sums over shares, angular and radial
# scratch       starts; order; receiver of each edge: see :func:`edge_scratch_words`
# ============  =======================================================================================


def edge_scratch_words(num_receivers: int, num_edges: int) -> int:
    """Return the size of the scratch memory of sums over edges, in words of eight bytes.

    ==================  ===========================  =======
    starts              ``num_receivers + 2`` words  int64
    order               ``num_edges`` words          int64
    receiver            ``num_edges`` half words     int32
    ==================  ===========================  =======

    The first two are described in :func:`e3any_backends.kernels.edges.by_receiver`.
    """
    return num_receivers + 2 + num_edges + (num_edges + 1) // 2


@inner
def _edge_order(call: int) -> tuple[Array, Array, Array]:
    """Return the senders, and the starts and the order of edges in the scratch memory."""
    frame, scratch = tasks.frame_of(call), tasks.scratch_of(call)
    senders = array_1d(arguments(frame)[1], np.int32)
    num_edges = len(senders)
    num_starts = attribute(frame, "scratch_words") - num_edges - (num_edges + 1) // 2
    return senders, words(scratch, num_starts), words(scratch + num_starts * WORD, num_edges)


@inner
def _sort_edges(call: int, dtype: DTypeLike) -> None:
    buffers, (senders, starts, order) = arguments(tasks.frame_of(call)), _edge_order(call)
    rows, receiver_of_row = array_2d(buffers[0], np.int32), array_1d(buffers[2], np.int32)
    receivers = array_at(order.ctypes.data + order.nbytes, (len(senders),), np.int32)
    for edge in range(len(receivers)):
        receivers[edge] = -1  # padding
    for row in range(len(rows)):
        for edge in rows[row]:
            if edge < len(receivers):
                receivers[edge] = receiver_of_row[row]
    edges.by_receiver(starts, order, senders, receivers, len(array_3d(buffers[3], dtype)))


@inlined
def _edge_products(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, (senders, starts, order) = arguments(frame), _edge_order(call)
    factors = array_3d(buffers[3], dtype), array_2d(buffers[4], dtype), array_3d(buffers[5], dtype)
    edges.product(share, num_shares, array_3d(results(frame)[0], dtype), *factors, senders, starts, order, code)


@inlined
def _edge_gradients(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, outputs, (senders, starts, order) = arguments(frame), results(frame), _edge_order(call)
    dx = array_3d(outputs[0], dtype)
    if share > 0:
        dx = array_at(tasks.partial_outputs(call, share), dx.shape, dtype)
    clear(dx)
    gradients = array_2d(outputs[1], dtype), array_3d(outputs[2], dtype)
    factors = array_3d(buffers[3], dtype), array_2d(buffers[4], dtype), array_3d(buffers[5], dtype)
    g = array_3d(buffers[6], dtype)
    edges.vjp(share, num_shares, dx, *gradients, *factors, g, senders, starts, order, code)


# -- sums over edges with weights of paths -------------------------------------------------------------------

# =============  ======================================================================================
# arguments[:5]  tables of :class:`~e3any_backends.kernels.paths.Tables`
# arguments[5]   senders; [6] receivers; a negative number is padding
# arguments[7]   features x; [8] harmonics; [9] weights; [10] cotangent of the sums, for gradients
# results        the sums; or gradients with respect to x, which are sums over shares, harmonics, weights
# scratch        starts; order: see :func:`path_scratch_words`
# =============  ======================================================================================


def path_scratch_words(num_receivers: int, num_edges: int) -> int:
    """Return the size of the scratch memory, in words: starts and order of :func:`.edges.by_receiver`."""
    return num_receivers + 2 + num_edges


@inner
def _path_order(call: int) -> tuple[Array, Array, Array]:
    """Return the senders, and the starts and the order of edges in the scratch memory."""
    frame, scratch = tasks.frame_of(call), tasks.scratch_of(call)
    senders = array_1d(arguments(frame)[5], np.int32)
    num_starts = attribute(frame, "scratch_words") - len(senders)
    return senders, words(scratch, num_starts), words(scratch + num_starts * WORD, len(senders))


@inner
def _path_tables(buffers: Array, dtype: DTypeLike) -> paths.Tables:
    return paths.Tables(
        array_2d(buffers[0], np.int32),
        array_2d(buffers[1], np.int32),
        array_1d(buffers[2], np.int32),
        array_2d(buffers[3], np.int32),
        array_1d(buffers[4], dtype),
    )


@inner
def _sort_paths(call: int, dtype: DTypeLike) -> None:
    buffers, (senders, starts, order) = arguments(tasks.frame_of(call)), _path_order(call)
    edges.by_receiver(starts, order, senders, array_1d(buffers[6], np.int32), len(array_2d(buffers[7], dtype)))


@inlined
def _path_sums(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, (senders, starts, order) = arguments(frame), _path_order(call)
    out, tables = array_2d(results(frame)[0], dtype), _path_tables(buffers, dtype)
    factors = array_2d(buffers[7], dtype), array_2d(buffers[8], dtype), array_2d(buffers[9], dtype)
    paths.path_sums(share, num_shares, out, *factors, senders, starts, order, tables, code)


@inlined
def _path_gradients(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, outputs, (senders, starts, order) = arguments(frame), results(frame), _path_order(call)
    dx, tables = array_2d(outputs[0], dtype), _path_tables(buffers, dtype)
    if share > 0:
        dx = array_at(tasks.partial_outputs(call, share), dx.shape, dtype)
    clear(dx)
    gradients = array_2d(outputs[1], dtype), array_2d(outputs[2], dtype)
    factors = array_2d(buffers[7], dtype), array_2d(buffers[8], dtype), array_2d(buffers[9], dtype)
    g = array_2d(buffers[10], dtype)
    paths.path_gradients(share, num_shares, dx, *gradients, *factors, g, senders, starts, order, tables, code)


@inner
def _add_rows_to_first(call: int, dtype: DTypeLike) -> None:
    """Add the partial outputs of the first result, which has rows of numbers."""
    _add_partial(array_2d(results(tasks.frame_of(call))[0], dtype), call, 0)


# -- linear maps --------------------------------------------------------------------------------------------

# ============  =======================================================================================
# arguments[0]  rows x
# arguments[1]  matrices; or the cotangent of the products, for the gradient with respect to matrices
# arguments[2]  which matrix acts on each component
# arguments[3]  the bias, for products
# results[0]    products; or the gradient, which is a sum over shares
# ============  =======================================================================================


@inlined
def _linear_product(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, out = arguments(frame), array_3d(results(frame)[0], dtype)
    factors = array_3d(buffers[0], dtype), array_3d(buffers[1], dtype)
    linear.product(share, num_shares, out, *factors, array_1d(buffers[2], np.int32), array_1d(buffers[3], dtype))


@inlined
def _linear_matrix_vjp(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, dw = arguments(frame), array_3d(results(frame)[0], dtype)
    if share > 0:
        dw = array_at(tasks.partial_outputs(call, share), dw.shape, dtype)
    clear(dw)
    factors = array_3d(buffers[0], dtype), array_3d(buffers[1], dtype)
    linear.matrix_vjp(share, num_shares, dw, *factors, array_1d(buffers[2], np.int32))


# -- harmonics ----------------------------------------------------------------------------------------------

# =============  ===============================================================================


@inner
def _harmonics_tables(buffers: Array, dtype: DTypeLike) -> tuple[Array, ...]:
    return (
        array_1d(buffers[0], np.int32),
        array_1d(buffers[1], dtype),
        array_3d(buffers[2], dtype),
        array_2d(buffers[3], np.int32),
        array_2d(buffers[4], dtype),
        array_1d(buffers[5], dtype),
    )


@inlined
def _harmonics_value(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, out = arguments(frame), array_2d(results(frame)[0], dtype)
    harmonics.value(share, num_shares, out, array_2d(buffers[6], dtype), *_harmonics_tables(buffers, dtype))


@inlined
def _harmonics_jvp(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, out = arguments(frame), array_2d(results(frame)[0], dtype)
    operands = array_2d(buffers[6], dtype), array_2d(buffers[7], dtype)
    harmonics.jvp(share, num_shares, out, *operands, *_harmonics_tables(buffers, dtype))


@inlined
def _harmonics_vjp(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, out = arguments(frame), array_2d(results(frame)[0], dtype)
    operands = array_2d(buffers[6], dtype), array_2d(buffers[7], dtype)
    harmonics.vjp(share, num_shares, out, *operands, *_harmonics_tables(buffers, dtype))


@inlined
def _harmonics_second_vjp(share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    frame = tasks.frame_of(call)
    buffers, out = arguments(frame), array_2d(results(frame)[0], dtype)
    operands = array_2d(buffers[6], dtype), array_2d(buffers[7], dtype), array_2d(buffers[8], dtype)
    harmonics.second_vjp(share, num_shares, out, *operands, *_harmonics_tables(buffers, dtype))


# -- all operations -----------------------------------------------------------------------------------------

#: The operations that XLA can call, by their names.
OPERATIONS: dict[str, Operation] = {
    "contractions": Operation(_do_nothing, _contract, _add_contractions),
    "edge_products": Operation(_sort_edges, _edge_products, _do_nothing),
    "edge_gradients": Operation(_sort_edges, _edge_gradients, _add_to_first),
    "path_sums": Operation(_sort_paths, _path_sums, _do_nothing),
    "path_gradients": Operation(_sort_paths, _path_gradients, _add_rows_to_first),
    "linear_product": Operation(_do_nothing, _linear_product, _do_nothing),
    "linear_matrix_vjp": Operation(_do_nothing, _linear_matrix_vjp, _add_to_first),
    "harmonics_value": Operation(_do_nothing, _harmonics_value, _do_nothing),
    "harmonics_jvp": Operation(_do_nothing, _harmonics_jvp, _do_nothing),
    "harmonics_vjp": Operation(_do_nothing, _harmonics_vjp, _do_nothing),
    "harmonics_second_vjp": Operation(_do_nothing, _harmonics_second_vjp, _do_nothing),
}
