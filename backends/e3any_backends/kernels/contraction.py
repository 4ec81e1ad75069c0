r"""The kernel of lists of contractions, which computes what a :class:`Schedule` says.

All contractions of a list are computed in one pass over blocks of rows, which stay in the cache. Arrays are contiguous,
have the shape (rows, components, F) and are given by their addresses, so one compilation is enough for any number of
them. In bytes from the address of an array:

==================  ===================================================
feature ``f``       ``f * itemsize``
component ``i``     ``i * F * itemsize``
row ``r``           ``r * components * F * itemsize``
==================  ===================================================
"""

from __future__ import annotations

import numpy as np
from numba import carray

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import address_as_pointer, jit, part
from e3any_backends.kernels.code.loops import VECTOR_BYTES, add_factors, add_products, add_two_factors, add_two_products
from e3any_backends.kernels.code.simd import BYTES, clear
from e3any_backends.kernels.code.unrolled import run
from e3any_backends.kernels.parallel.partition import of_rows
from e3any_backends.kernels.schedule import Plan, Schedule, plan

__all__ = ["Plan", "Schedule", "contract", "plan"]

# Sums over rows are added to the output after so many rows: errors of rounding grow with the length of a sum.
_MAX_ROWS = 512


@jit
def contract(share: int, num_shares: int, addresses: Array, schedule: Schedule, code: int) -> None:
    """Write one share of the rows of all outputs; of outputs that are sums over rows, write the sums of the share.

    Rows are read in place if F is a multiple of the vector length. Otherwise several rows side by side are copied to
    blocks, whose components are padded to such a multiple. Arrays that all rows share have blocks as well.

    Unrolled code and loops get one pointer and one step for each array:

    ===============  ========================  ===================================================================
    case             ``pointers[n]``           ``steps[n]``, in bytes
    ===============  ========================  ===================================================================
    unrolled         first row, or the block   from row to row; 0 for the block of an array that all rows share
    loop, two rows   the same                  the same
    loop, one row    the same                  from the first vector of a component to the second
    ===============  ========================  ===================================================================

    Parameters
    ----------
    share, num_shares : int
        Which share, of how many.
    addresses : integer array
        The address of every array, operands first.
    schedule : Schedule
        The tables.
    code : int
        The address of unrolled code for the schedule, or 0 for loops over its tables.
    """
    (num_outer, num_rows, features, num_operands), arrays = schedule.sizes, schedule.arrays
    lanes = VECTOR_BYTES // schedule.coefficients.itemsize
    in_place = features % (lanes if code == 0 else BYTES // schedule.coefficients.itemsize) == 0
    # Loops take two vectors at a time: next to each other, or of two rows if a component is one vector.
    by_rows = code == 0 and in_place and features % (2 * lanes) != 0
    size = 2 if by_rows else max(1, 2 * lanes // features)
    num_repeats = 1 if in_place else size
    width = features if in_place else -(-size * features // (2 * lanes)) * 2 * lanes
    component_bytes = width * schedule.coefficients.itemsize
    first, last = of_rows(num_rows, size, share, num_shares)
    blocks = np.zeros((arrays[-1, 2] + arrays[-1, 0], width), schedule.coefficients.dtype)
    pointers, steps = np.empty(len(arrays), np.intp), np.zeros(len(arrays), np.intp)
    for n in range(len(arrays)):
        pointers[n] = blocks.ctypes.data + arrays[n, 2] * component_bytes
        if code != 0 or by_rows:
            steps[n] = arrays[n, 1] * arrays[n, 0] * component_bytes
        else:
            steps[n] = VECTOR_BYTES
        if n >= num_operands and (code == 0 or not in_place or arrays[n, 4] == 0):
            _clear_rows(addresses, schedule, n, first, last)
    if code != 0 and in_place:
        size = _MAX_ROWS
    for outer in range(num_outer):
        for begin in range(first, last, _MAX_ROWS):
            end = min(begin + _MAX_ROWS, last)
            _load_all(blocks, addresses, schedule, outer, 0, num_repeats, False)
            for start in range(begin, end, size):
                num = min(size, end - start)
                if in_place:
                    for n in range(len(arrays)):
                        if arrays[n, 1] != 0:
                            row = schedule.offsets[outer, n] + start * arrays[n, 1]
                            pointers[n] = addresses[n] + row * arrays[n, 0] * component_bytes
                else:
                    _load_all(blocks, addresses, schedule, outer, start, num, True)
                if code != 0:
                    run(code, pointers, steps, num if in_place else 1, component_bytes)
                else:
                    for at in range(0, component_bytes, VECTOR_BYTES if by_rows else 2 * VECTOR_BYTES):
                        _add_terms(pointers, steps, at, num if by_rows else 2, component_bytes, schedule)
                if not in_place:
                    _store_all(blocks, addresses, schedule, outer, start, num, True)
            _store_all(blocks, addresses, schedule, outer, 0, num_repeats, False)


@jit
def _rows_of(addresses: Array, schedule: Schedule, n: int) -> Array:
    """Return array n as (rows, components, F)."""
    shape = schedule.arrays[n, 3], schedule.arrays[n, 0], schedule.sizes[2]
    return carray(address_as_pointer(addresses[n]), shape, schedule.coefficients.dtype)


@jit
def _clear_rows(addresses: Array, schedule: Schedule, n: int, begin: int, end: int) -> None:
    rows, step = _rows_of(addresses, schedule, n), schedule.arrays[n, 1]
    if step == 0 or end - begin == schedule.sizes[1]:
        clear(rows)
        return
    for outer in range(schedule.sizes[0]):
        for row in range(begin, end):
            clear(rows[schedule.offsets[outer, n] + row * step])


@jit
def _block(blocks: Array, schedule: Schedule, n: int) -> Array:
    return blocks[schedule.arrays[n, 2] : schedule.arrays[n, 2] + schedule.arrays[n, 0]]


@jit
def _load_all(
    blocks: Array, addresses: Array, schedule: Schedule, outer: int, start: int, num: int, varying: bool
) -> None:
    """Fill the blocks of operands with ``num`` rows, or repeats of a row that all share; clear those of outputs."""
    for n in range(len(schedule.arrays)):
        step = schedule.arrays[n, 1]
        if (step != 0) == varying:
            block = _block(blocks, schedule, n)
            if n >= schedule.sizes[3] or num * schedule.sizes[2] < blocks.shape[1]:
                clear(block)
            if n < schedule.sizes[3]:
                _load_block(
                    block, _rows_of(addresses, schedule, n), schedule.offsets[outer, n] + start * step, step, num
                )


@jit
def _store_all(
    blocks: Array, addresses: Array, schedule: Schedule, outer: int, start: int, num: int, varying: bool
) -> None:
    """Add the blocks of outputs to ``num`` rows, or as many times to a row that all rows share."""
    for n in range(schedule.sizes[3], len(schedule.arrays)):
        step = schedule.arrays[n, 1]
        if (step != 0) == varying:
            first = schedule.offsets[outer, n] + start * step
            _add_block(_rows_of(addresses, schedule, n), _block(blocks, schedule, n), first, step, num)


@part
def _load_block(block: Array, rows: Array, first: int, step: int, num: int) -> None:
    features = rows.shape[2]
    for n in range(num):
        for i in range(len(block)):
            source, target = rows[first + n * step, i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] = source[f]


@part
def _add_block(rows: Array, block: Array, first: int, step: int, num: int) -> None:
    features = rows.shape[2]
    for n in range(num):
        for i in range(len(block)):
            target, source = rows[first + n * step, i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] += source[f]


@part
def _add_terms(pointers: Array, steps: Array, at: int, num: int, component_bytes: int, schedule: Schedule) -> None:
    """Add all contractions at one vector of every component, or at two that are ``steps`` apart."""
    tables = schedule.groups, schedule.columns, schedule.coefficients
    terms = schedule.terms
    for t in range(len(terms)):
        out, left, right, scale, begin, end = (
            terms[t, 0],
            terms[t, 1],
            terms[t, 2],
            terms[t, 3],
            terms[t, 4],
            terms[t, 5],
        )
        first = (pointers[out] + at, pointers[scale] + at, pointers[left] + at, pointers[right] + at)
        step = (steps[out], steps[scale], steps[left], steps[right])
        if right < 0 and num == 1:
            add_factors(first, step, component_bytes, *tables, begin, end)
        elif right < 0:
            add_two_factors(first, step, component_bytes, *tables, begin, end)
        elif num == 1:
            add_products(first, step, component_bytes, *tables, begin, end)
        else:
            add_two_products(first, step, component_bytes, *tables, begin, end)
