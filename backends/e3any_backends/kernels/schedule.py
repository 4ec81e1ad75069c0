r"""Schedules of contractions: in which order a kernel computes them, as tables of integers.

A contraction is the derivative of a form :math:`\phi(v^0, v^1, \dots) = \sum_e c_e \prod_s v^s_{i_s(e)}` with respect
to the slot of its output. A list of contractions shares arrays and one pass over memory. For example, the gradients of
a tensor product :math:`\phi(x, y, z, w)` for a cotangent g are three contractions of the operands x, y, g and w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from e3any_backends.arrays import Array, Shape
from e3any_backends.forms.couplings import SparseForm
from e3any_backends.kernels.code.unrolled import MAX_ENTRIES, Program

__all__ = ["Plan", "Schedule", "plan"]

Tables = tuple[Array, Array, Array, Array]

# Rows of the table ``offsets``, at most: other shapes are broadcast before.
_MAX_OUTER = 4096


class Schedule(NamedTuple):
    r"""How a list of contractions is computed. Arrays are numbered, operands first, then outputs.

    Arrays have the shape (*lead, components, F), and rows of (components, F) are numbered along the leading axes.
    Adjacent leading axes along which the same arrays broadcast are merged. The longest of them is the loop over *rows*,
    the others give *outer* positions.

    ================  ====================  =======================================================================
    table             shape                 columns
    ================  ====================  =======================================================================
    ``sizes``         (4,)                  outer positions; rows; features; operands
    ``arrays``        (arrays, 5)           components; step from one row of the loop to the next, 0 if they share
                                            one; first component among all arrays; rows; whether it is an output
                                            whose rows are all written once
    ``offsets``       (outer, arrays)       the first row at an outer position
    ``terms``         (contractions, 6)     output; factor; other factor or -1; factor that scales; first group;
                                            end of groups
    ``groups``        (groups, 4)           component of the output; component of the scale; first entry; end of
                                            entries
    ``columns``       (entries, 2)          components of both factors
    ``coefficients``  (entries,)            c
    ================  ====================  =======================================================================

    A group has all entries with one output and one scale: :math:`z_k \mathrel{+}= w_p \sum_e c_e \, x_i y_j`.
    Coefficients have the dtype of the arrays, the other tables int32.
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
    """A schedule, and unrolled code for it.

    Parameters
    ----------
    schedule : Schedule
        The tables.
    program : Program or None
        Unrolled machine code for this schedule; None if it has more than
        :data:`~e3any_backends.kernels.code.unrolled.MAX_ENTRIES` entries.
    """

    schedule: Schedule
    program: Program | None

    @cached_property
    def work(self) -> int:
        """Multiplications of 4-byte numbers; those of 8-byte numbers count twice."""
        num_outer, num_rows, features, _ = self.schedule.sizes.tolist()
        groups, size = self.schedule.groups, self.schedule.coefficients.itemsize
        entries = sum(
            int(np.sum(groups[begin:end, 3] - groups[begin:end, 2])) for *_, begin, end in self.schedule.terms
        )
        return int(entries * num_outer * num_rows * features * size // 4)

    @cached_property
    def partial_sizes(self) -> dict[int, int]:
        """Size of each output that is a sum over rows, by its number; shares of rows have partial outputs of it."""
        _, _, features, num_operands = self.schedule.sizes.tolist()
        return {
            n: components * num_rows * features
            for n, (components, step, _, num_rows, _) in enumerate(self.schedule.arrays.tolist())
            if n >= num_operands and step == 0
        }

    @cached_property
    def partial_size(self) -> int:
        """Numbers in the partial outputs of one share."""
        return sum(self.partial_sizes.values())

    @cached_property
    def rows(self) -> int:
        """Number of rows that can be shared."""
        return int(self.schedule.sizes[1])

    @cached_property
    def code(self) -> int:
        """The address of the unrolled code, or 0."""
        return 0 if self.program is None else self.program.code


@lru_cache(maxsize=512)
def plan(
    form: SparseForm,
    shapes: tuple[Shape, ...],
    outs: tuple[tuple[int, Shape], ...],
    terms: tuple[tuple[int, tuple[int, ...]], ...],
    dtype: str,
) -> Plan | None:
    """Return the plan of a list of contractions.

    Parameters
    ----------
    form : SparseForm
        The form, of three or four slots.
    shapes : tuple of tuple of int
        The shape (*lead, components, F) of each operand, all of one rank. Leading axes can have the length one.
    outs : tuple of tuple
        The slot and the shape of each output; axes of length one are summed over.
    terms : tuple of tuple
        For each contraction the number of its output and those of its operands, in ascending order of their slots. The
        leading axes of the arrays of every contraction broadcast to the same shape.
    dtype : str
        The dtype of the coefficients.

    Returns
    -------
    Plan or None
        None if a size is zero, or if shapes broadcast in a way that the kernel has no loop for.
    """
    num_operands, shapes = len(shapes), (*shapes, *(shape for _, shape in outs))
    features = shapes[0][-1]
    rows, outer = _loops([shape[:-2] for shape in shapes])
    num_outer = math.prod(size for size, _ in outer)
    empty = any(n == 0 for shape in shapes for n in shape)
    if empty or num_outer > _MAX_OUTER or any(shape[-1] != features for shape in shapes):
        return None
    num_rows, row_steps = rows
    components = [shape[-2] for shape in shapes]
    first_components = np.cumsum([0, *components])
    sizes = num_outer, num_rows, features, num_operands
    # Every row of an output is written once if no step along a loop is zero.
    is_written = [row_steps[n] != 0 and all(steps[n] for _, steps in outer) for n in range(len(shapes))]
    nums_rows = [math.prod(shape[:-2]) for shape in shapes]
    arrays = np.stack([components, row_steps, first_components[:-1], nums_rows, is_written], axis=1)
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
    """Merge leading axes to loops: the longest, and the others. Each has a size and a step for every array."""
    loops: list[tuple[int, tuple[bool, ...], list[int]]] = []
    for axis, sizes in enumerate(zip(*leads, strict=True)):
        size = max(sizes)
        if size == 1:
            continue
        varies = tuple(n != 1 for n in sizes)
        steps = [math.prod(lead[axis + 1 :]) * v for lead, v in zip(leads, varies, strict=True)]
        if loops and loops[-1][1] == varies:
            size *= loops.pop()[0]
        loops.append((size, varies, steps))
    result = [(size, tuple(steps)) for size, _, steps in loops]
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
    """Return terms, groups, columns and coefficients; contractions with outputs in one slot share their groups."""
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
    """Return unrolled code, or None if it would be too long."""
    terms, groups, columns, coefficients = tables
    if sum(int(np.sum(groups[begin:end, 3] - groups[begin:end, 2])) for *_, begin, end in terms) > MAX_ENTRIES:
        return None
    rows = [tuple(map(tuple, table.tolist())) for table in (terms, groups, columns)]
    numbers = tuple(coefficients.tolist())
    return Program(rows[0], rows[1], rows[2], numbers, coefficients.dtype.name, num_operands, outs)


def _grouped(form: SparseForm, slot: int) -> tuple[Array, Array, Array]:
    """Return groups, columns and coefficients of a contraction whose last operand is the scale."""
    *factors, scale = (column for s, column in enumerate(form.columns) if s != slot)
    out = form.columns[slot]
    order = np.lexsort((*factors, scale, out))
    out, scale = out[order], scale[order]
    starts = np.flatnonzero((np.diff(out, prepend=-1) != 0) | (np.diff(scale, prepend=-1) != 0))
    stops = np.append(starts, len(out))[1:]
    groups = np.stack([out[starts], scale[starts], starts, stops], axis=1)
    # Groups of equal length follow each other: processors predict where their loops end.
    groups = groups[np.argsort(stops - starts, kind="stable")]
    return groups, np.stack([factors[0][order], factors[-1][order]], axis=1), form.values[order]
