r"""A kernel of lists of contractions of a sparse form, :math:`\phi(v^0, v^1, \dots) = \sum_e c_e \prod_s v^s_{i_s(e)}`.

The derivative of a form by the slot of an output, for operands in the other two or three slots, is a contraction. All
contractions of a list are computed in one pass over blocks of rows, which stay in the cache. Arrays have the shape
(*lead, components, F) and are given by their addresses: one program serves any number of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numba import carray

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import SparseForm
from e3any_backends.kernels.code.jit import address_as_pointer, jit, part
from e3any_backends.kernels.code.loops import VECTOR_BYTES, add_factors, add_products, add_two_factors, add_two_products
from e3any_backends.kernels.code.simd import BYTES, clear
from e3any_backends.kernels.code.unrolled import MAX_ENTRIES, Program, run
from e3any_backends.kernels.parallel.partition import of_rows

__all__ = ["Plan", "Schedule", "contract", "plan"]

Shape = tuple[int, ...]
Tables = tuple[Array, Array, Array, Array]

# Sums over rows are added to those before after so many, for their rounding errors.
_MAX_ROWS = 512
_MAX_OUTER = 4096


class Schedule(NamedTuple):
    """How a list of contractions is worked off: tables of int32. Arrays are numbered, operands before outputs.

    Parameters
    ----------
    sizes : array of shape (4,)
        Numbers of outer positions, of rows, of features and of operands.
    arrays : array of shape (arrays, 5)
        For each array its components, how far apart two of its rows are, its place among the blocks, all its rows, and
        whether it is an output that is written row by row.
    offsets : array of shape (outer, arrays)
        Which rows come first at an outer position.
    terms : array of shape (terms, 6)
        For each contraction its output, two factors (the second may be -1), what scales them, and its groups: from, to.
    groups : array of shape (groups, 4)
        A component of the output and of the scale, and its entries: from, to.
    columns : array of shape (entries, 2)
        The components of the two factors.
    coefficients : array of shape (entries,)
        The coefficients.
    """

    sizes: Array
    arrays: Array
    offsets: Array
    terms: Array
    groups: Array
    columns: Array
    coefficients: Array


@dataclass(frozen=True, eq=False)
class Plan:
    """How a list of contractions is computed.

    Parameters
    ----------
    schedule : Schedule
        The tables.
    program : Program or None
        The same as a program, unless tables are too long or features do not fill vectors.
    """

    schedule: Schedule
    program: Program | None

    @cached_property
    def work(self) -> int:
        """Multiplications of numbers of four bytes, counting those of eight bytes twice."""
        num_outer, num_rows, features, _ = self.schedule.sizes.tolist()
        groups, size = self.schedule.groups, self.schedule.coefficients.itemsize
        entries = sum(
            int(np.sum(groups[begin:end, 3] - groups[begin:end, 2])) for *_, begin, end in self.schedule.terms
        )
        return int(entries * num_outer * num_rows * features * size // 4)

    @cached_property
    def summed(self) -> dict[int, int]:
        """The numbers among all arrays, and the sizes, of outputs that have one row for many."""
        _, _, features, num_operands = self.schedule.sizes.tolist()
        return {
            n: components * height * features
            for n, (components, stride, _, height, _) in enumerate(self.schedule.arrays.tolist())
            if n >= num_operands and stride == 0
        }

    @cached_property
    def copied(self) -> int:
        """How many numbers these outputs have."""
        return sum(self.summed.values())

    @cached_property
    def rows(self) -> int:
        """How many rows can be shared."""
        return int(self.schedule.sizes[1])

    @cached_property
    def code(self) -> int:
        """The address of the code of the program, or 0."""
        return 0 if self.program is None else self.program.code


# -- schedules ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def plan(
    form: SparseForm,
    shapes: tuple[Shape, ...],
    outs: tuple[tuple[int, Shape], ...],
    terms: tuple[tuple[int, tuple[int, ...]], ...],
    dtype: str,
) -> Plan | None:
    """Return how contractions are worked off.

    Parameters
    ----------
    form : SparseForm
        The form, of three or four slots.
    shapes : tuple of tuple of int
        The shape (*lead, components, F) of each operand, all of one rank. Leading axes may have the length one.
    outs : tuple of tuple
        The slot and the shape of each output; axes of length one are summed over.
    terms : tuple of tuple
        For each contraction the number of its output and of its operands, in ascending order of their slots. The
        leading axes of its arrays broadcast to the same shape in every contraction.
    dtype : str
        The dtype of the coefficients.

    Returns
    -------
    Plan or None
        None if a size is zero or shapes broadcast in a way that the kernel has no loop for.
    """
    num_operands, shapes = len(shapes), (*shapes, *(shape for _, shape in outs))
    features = shapes[0][-1]
    rows, outer = _loops([shape[:-2] for shape in shapes])
    num_outer = math.prod(size for size, _ in outer)
    empty = any(n == 0 for shape in shapes for n in shape)
    if empty or num_outer > _MAX_OUTER or any(shape[-1] != features for shape in shapes):
        return None
    num_rows, strides = rows
    components = [shape[-2] for shape in shapes]
    places = np.cumsum([0, *components])
    sizes = num_outer, num_rows, features, num_operands
    # An output is written once, if all loops lead to other rows of it.
    is_written = [strides[n] != 0 and all(steps[n] for _, steps in outer) for n in range(len(shapes))]
    heights = [math.prod(shape[:-2]) for shape in shapes]
    arrays = np.stack([components, strides, places[:-1], heights, is_written], axis=1)
    offsets = np.zeros((1, len(shapes)), np.int64)
    for size, steps in outer:
        offsets = (offsets[:, None] + np.arange(size)[None, :, None] * np.asarray(steps)).reshape(-1, len(shapes))
    loops = [np.asarray(table, np.int32) for table in (sizes, arrays, offsets)]
    tables = _tables(form, num_operands, tuple(slot for slot, _ in outs), terms, dtype)
    outputs = tuple(zip(components, is_written, strict=True))[num_operands:]
    program = _program(tables, num_operands, outputs)
    return Plan(Schedule._make([*loops, *tables]), program)


Loop = tuple[int, tuple[int, ...]]


def _loops(leads: list[Shape]) -> tuple[Loop, list[Loop]]:
    """Merge leading axes to loops: the longest, and the others. Each has a size and a stride for every array."""
    loops: list[tuple[int, tuple[bool, ...], list[int]]] = []
    for axis, sizes in enumerate(zip(*leads, strict=True)):
        size = max(sizes)
        if size == 1:
            continue
        varies = tuple(n != 1 for n in sizes)
        strides = [math.prod(lead[axis + 1 :]) * v for lead, v in zip(leads, varies, strict=True)]
        if loops and loops[-1][1] == varies:
            size *= loops.pop()[0]
        loops.append((size, varies, strides))
    result = [(size, tuple(strides)) for size, _, strides in loops]
    longest = max(result, default=(1, (1,) * len(leads)))
    if result:
        result.remove(longest)
    return longest, result


@lru_cache(maxsize=256)
def _tables(
    form: SparseForm,
    num_operands: int,
    slots: tuple[int, ...],
    terms: tuple[tuple[int, tuple[int, ...]], ...],
    dtype: str,
) -> Tables:
    """Return the terms, groups, columns and coefficients of a schedule; contractions of one slot share theirs."""
    tables: dict[int, tuple[int, int]] = {}
    num_groups = num_entries = 0
    groups, columns, coefficients, rows = [], [], [], []
    for out, operands in terms:
        slot = slots[out]
        if slot not in tables:
            grouped, factors, values = _grouped(form, slot)
            tables[slot] = num_groups, num_groups + len(grouped)
            groups.append(grouped + [0, 0, num_entries, num_entries])
            columns.append(factors)
            coefficients.append(values)
            num_groups, num_entries = num_groups + len(grouped), num_entries + len(values)
        *pair, scale = operands
        rows.append((num_operands + out, pair[0], pair[1] if len(pair) > 1 else -1, scale, *tables[slot]))
    return (
        np.asarray(rows, np.int32),
        np.concatenate(groups).astype(np.int32),
        np.concatenate(columns).astype(np.int32),
        np.concatenate(coefficients).astype(dtype),
    )


def _program(tables: Tables, num_operands: int, outs: tuple[tuple[int, bool], ...]) -> Program | None:
    """Return the program of tables, unless it would be long."""
    terms, groups, columns, coefficients = tables
    if sum(int(np.sum(groups[begin:end, 3] - groups[begin:end, 2])) for *_, begin, end in terms) > MAX_ENTRIES:
        return None
    rows = [tuple(map(tuple, table.tolist())) for table in (terms, groups, columns)]
    numbers = tuple(coefficients.tolist())
    return Program(rows[0], rows[1], rows[2], numbers, coefficients.dtype.name, num_operands, outs)


def _grouped(form: SparseForm, slot: int) -> tuple[Array, Array, Array]:
    """Sort the entries by output and scale, which is what the last of the other slots takes."""
    *factors, scale = (column for s, column in enumerate(form.columns) if s != slot)
    out = form.columns[slot]
    order = np.lexsort((*factors, scale, out))
    out, scale = out[order], scale[order]
    starts = np.flatnonzero((np.diff(out, prepend=-1) != 0) | (np.diff(scale, prepend=-1) != 0))
    stops = np.append(starts, len(out))[1:]
    groups = np.stack([out[starts], scale[starts], starts, stops], axis=1)
    # Loops of one length one after the other: processors foresee where they end.
    groups = groups[np.argsort(stops - starts, kind="stable")]
    return groups, np.stack([factors[0][order], factors[-1][order]], axis=1), form.values[order]


# -- the kernel ---------------------------------------------------------------------------------------------


@jit
def contract(number: int, parts: int, addresses: Array, plan: Schedule, code: int) -> None:
    """Write one part of the rows of all outputs; where outputs have one for all of these, write what the part sums up.

    ``addresses`` has that of every array, ``code`` is that of a program, or 0.
    Rows whose features fill vectors are read where they are. Others are copied to blocks, several side by side. Blocks
    also hold what is the same for all rows.
    """
    (num_outer, num_rows, features, num_operands), arrays = plan.sizes, plan.arrays
    lanes = VECTOR_BYTES // plan.coefficients.itemsize
    in_place = features % (lanes if code == 0 else BYTES // plan.coefficients.itemsize) == 0
    # Two vectors at a time: next to each other, or of two rows where these are no longer.
    by_rows = code == 0 and in_place and features % (2 * lanes) != 0
    size = 2 if by_rows else max(1, 2 * lanes // features)
    copies = 1 if in_place else size
    width = features if in_place else -(-size * features // (2 * lanes)) * 2 * lanes
    pitch = width * plan.coefficients.itemsize
    first, last = of_rows(num_rows, size, number, parts)
    blocks = np.zeros((arrays[-1, 2] + arrays[-1, 0], width), plan.coefficients.dtype)
    places, steps = np.empty(len(arrays), np.intp), np.zeros(len(arrays), np.intp)
    for n in range(len(arrays)):
        places[n] = blocks.ctypes.data + arrays[n, 2] * pitch
        if code != 0 or by_rows:
            steps[n] = arrays[n, 1] * arrays[n, 0] * pitch
        else:
            steps[n] = VECTOR_BYTES
        if n >= num_operands and (code == 0 or not in_place or arrays[n, 4] == 0):
            _clear_rows(addresses, plan, n, first, last)
    if code != 0 and in_place:
        size = _MAX_ROWS
    for outer in range(num_outer):
        for begin in range(first, last, _MAX_ROWS):
            end = min(begin + _MAX_ROWS, last)
            _load_all(blocks, addresses, plan, outer, 0, copies, False)
            for start in range(begin, end, size):
                num = min(size, end - start)
                if in_place:
                    for n in range(len(arrays)):
                        if arrays[n, 1] != 0:
                            row = plan.offsets[outer, n] + start * arrays[n, 1]
                            places[n] = addresses[n] + row * arrays[n, 0] * pitch
                else:
                    _load_all(blocks, addresses, plan, outer, start, num, True)
                if code != 0:
                    run(code, places, steps, num if in_place else 1, pitch)
                else:
                    for at in range(0, pitch, VECTOR_BYTES if by_rows else 2 * VECTOR_BYTES):
                        _add_terms(places, steps, at, num if by_rows else 2, pitch, plan)
                if not in_place:
                    _store_all(blocks, addresses, plan, outer, start, num, True)
            _store_all(blocks, addresses, plan, outer, 0, copies, False)


@jit
def _rows(addresses: Array, plan: Schedule, n: int) -> Array:
    """Return an array as (rows, components, F)."""
    shape = plan.arrays[n, 3], plan.arrays[n, 0], plan.sizes[2]
    return carray(address_as_pointer(addresses[n]), shape, plan.coefficients.dtype)


@jit
def _clear_rows(addresses: Array, plan: Schedule, n: int, begin: int, end: int) -> None:
    rows, stride = _rows(addresses, plan, n), plan.arrays[n, 1]
    if stride == 0 or end - begin == plan.sizes[1]:
        clear(rows)
        return
    for outer in range(plan.sizes[0]):
        for row in range(begin, end):
            clear(rows[plan.offsets[outer, n] + row * stride])


@jit
def _block(blocks: Array, plan: Schedule, n: int) -> Array:
    return blocks[plan.arrays[n, 2] : plan.arrays[n, 2] + plan.arrays[n, 0]]


@jit
def _load_all(blocks: Array, addresses: Array, plan: Schedule, outer: int, start: int, num: int, varying: bool) -> None:
    """Fill the blocks of arrays that vary from row to row, or of the others, which are repeated."""
    for n in range(len(plan.arrays)):
        stride = plan.arrays[n, 1]
        if (stride != 0) == varying:
            block = _block(blocks, plan, n)
            if n >= plan.sizes[3] or num * plan.sizes[2] < blocks.shape[1]:
                clear(block)
            if n < plan.sizes[3]:
                _load(block, _rows(addresses, plan, n), plan.offsets[outer, n] + start * stride, stride, num)


@jit
def _store_all(
    blocks: Array, addresses: Array, plan: Schedule, outer: int, start: int, num: int, varying: bool
) -> None:
    """Add the blocks of outputs that vary from row to row, or of the others, to what they are blocks of."""
    for n in range(plan.sizes[3], len(plan.arrays)):
        stride = plan.arrays[n, 1]
        if (stride != 0) == varying:
            first = plan.offsets[outer, n] + start * stride
            _add(_rows(addresses, plan, n), _block(blocks, plan, n), first, stride, num)


@part
def _load(block: Array, rows: Array, first: int, stride: int, num: int) -> None:
    features = rows.shape[2]
    for n in range(num):
        for i in range(len(block)):
            source, target = rows[first + n * stride, i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] = source[f]


@part
def _add(rows: Array, block: Array, first: int, stride: int, num: int) -> None:
    features = rows.shape[2]
    for n in range(num):
        for i in range(len(block)):
            target, source = rows[first + n * stride, i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] += source[f]


@part
def _add_terms(places: Array, steps: Array, at: int, num: int, pitch: int, plan: Schedule) -> None:
    """Add all contractions at one vector of every component, or at two that are ``steps`` apart."""
    tables = plan.groups, plan.columns, plan.coefficients
    terms = plan.terms
    for t in range(len(terms)):
        out, left, right, scale, begin, end = (
            terms[t, 0],
            terms[t, 1],
            terms[t, 2],
            terms[t, 3],
            terms[t, 4],
            terms[t, 5],
        )
        place = (places[out] + at, places[scale] + at, places[left] + at, places[right] + at)
        step = (steps[out], steps[scale], steps[left], steps[right])
        if right < 0 and num == 1:
            add_factors(place, step, pitch, *tables, begin, end)
        elif right < 0:
            add_two_factors(place, step, pitch, *tables, begin, end)
        elif num == 1:
            add_products(place, step, pitch, *tables, begin, end)
        else:
            add_two_products(place, step, pitch, *tables, begin, end)
