r"""Contractions of sparse forms in eager PyTorch, as sums of products of slices.

Products of matrices over all pairs of components write every product to memory, and automatic differentiation keeps
them. Here each non-zero coefficient is one multiplication and addition of slices of a component, in blocks of rows
that stay in the cache, and nothing is kept but the operands.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from e3any_backends import backend_of
from e3any_backends._torch_products import Program, Slices, program_of, run
from e3any_backends._torch_slopes import Arrays, Shape, value
from e3any_backends.coupling import contract_entries
from e3any_backends.tables import attribute

__all__ = ["contract"]

Key: TypeAlias = tuple[int, str]

# Numbers in a slice of a block: with fewer, calls take the time; with more, blocks leave the cache.
_SLICE = 16384
# Up to so many numbers PyTorch computes with one thread.
_GRAIN = 32768
# Memory of blocks that is kept from call to call, in bytes: pages that are given back are cleared before they return.
_KEPT = 2**24


def contract(operands: Sequence[torch.Tensor], number: int, name: str, output: int) -> torch.Tensor:
    """Contract a form; see :meth:`Backend.contract`."""
    form = _Contraction(number, name)
    shapes = _shapes(form, output, tuple(tuple(o.shape) for o in operands))
    return value(form, output, shapes, operands)[0]


@lru_cache(maxsize=512)
def _shapes(key: Key, output: int, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return the shapes of all slots, given those of the operands."""
    *lead, features = np.broadcast_shapes(*((*shape[1:-2], shape[-1]) for shape in shapes))
    return *shapes[:output], (1, *lead, attribute(*key).sizes[output], features), *shapes[output:]


class _Contraction(NamedTuple):
    """A sparse form: an attribute of the tables of a number."""

    number: int
    name: str

    def evaluate(self, wanted: Shape, shapes: tuple[Shape, ...], arrays: Arrays) -> Slices:
        """Return derivatives by slots, summed over the axes along which a slot does not vary."""
        return _evaluate(self, wanted, shapes, arrays)

    def plain(self, slot: int, shape: Shape, arrays: Arrays) -> torch.Tensor:
        """Return a derivative in the standard alone."""
        others = [a[None] for s, a in enumerate(arrays) if s != slot and a is not None]
        wide: torch.Tensor = contract_entries(backend_of(*others), others, attribute(*self), slot)
        summed = tuple(n for n, size in enumerate(shape) if size == 1 != wide.shape[n])
        return wide.sum(summed, keepdim=True).expand(shape) if summed else wide.expand(shape)


# -- plans --------------------------------------------------------------------------------------------------


class _Target(NamedTuple):
    """What is computed.

    Parameters
    ----------
    shape : tuple of int
        The shape of a slot.
    columns, strides : tuple of int
        The shape (components, *lead, F), with merged leading axes, and its strides.
    summed : tuple of int
        The axes of these that are summed over.
    """

    shape: Shape
    columns: Shape
    strides: Shape
    summed: Shape


class _Plan(NamedTuple):
    """How derivatives are computed. Leading axes are merged, and the longest is worked off in blocks of rows.

    Parameters
    ----------
    program : Program
        What is done in a block.
    columns : tuple of tuple of int
        The shape (components, *lead, F) of every slot.
    targets : tuple of _Target
        Those of wanted slots.
    axis, num, step : int
        The axis of rows, their number, and how many a block has.
    block : tuple of int
        What the leading axes and the features of a block broadcast to.
    order : tuple of int
        The order of axes in memory: components come first, so that slices of a component have no gaps.
    """

    program: Program
    columns: tuple[Shape, ...]
    targets: tuple[_Target, ...]
    axis: int
    num: int
    step: int
    block: Shape
    order: Shape


@lru_cache(maxsize=512)
def _plan(key: Key, wanted: Shape, shapes: tuple[Shape, ...], threads: int) -> _Plan:
    """Return how derivatives by some slots are computed, for arrays that are not empty."""
    loops = _loops([shape[:-2] for shape in shapes])
    columns = tuple(
        (shape[-2], *(size if varies[slot] else 1 for size, varies in loops), shape[-1])
        for slot, shape in enumerate(shapes)
    )
    full = [*(size for size, _ in loops), max(shape[-1] for shape in shapes)]
    num = max(full[:-1])
    most = max(1, (_SLICE if threads == 1 else _GRAIN * threads) * num // math.prod(full))
    axis, step = full.index(num), math.ceil(num / math.ceil(num / most))
    targets = []
    for slot in wanted:
        strides = tuple(math.prod(columns[slot][n + 1 :]) for n in range(len(full) + 1))
        summed = tuple(n for n, size in enumerate(full, 1) if columns[slot][n] != size)
        targets.append(_Target(shapes[slot], columns[slot], strides, summed))
    rank, block = len(shapes[0]), (*full[:axis], step, *full[axis + 1 :])
    order = (rank - 2, *range(rank - 2), rank - 1)
    return _Plan(program_of(*key, wanted), columns, tuple(targets), axis + 1, num, step, block, order)


def _loops(leads: Sequence[Shape]) -> list[tuple[int, tuple[bool, ...]]]:
    """Merge the leading axes along which the same arrays vary; return their lengths, and which arrays do."""
    loops: list[tuple[int, tuple[bool, ...]]] = []
    for sizes in zip(*leads, strict=True):
        size, varies = max(sizes), tuple(n != 1 for n in sizes)
        if size != 1:
            size *= loops.pop()[0] if loops and loops[-1][1] == varies else 1
            loops.append((size, varies))
    return loops or [(1, (True,) * len(leads))]


# -- blocks of rows -----------------------------------------------------------------------------------------


def _evaluate(key: Key, wanted: Shape, shapes: tuple[Shape, ...], arrays: Arrays) -> list[torch.Tensor]:
    """Return derivatives by slots, block by block of rows."""
    some = next(a for a in arrays if a is not None)
    if any(0 in shape for shape in shapes):
        return [some.new_zeros(shapes[slot]) for slot in wanted]
    plan = _plan(key, wanted, shapes, torch.get_num_threads())
    results = [torch.empty_permuted(t.shape, plan.order, dtype=some.dtype) for t in plan.targets]
    outs = [result.as_strided(t.columns, t.strides) for result, t in zip(results, plan.targets, strict=True)]
    operands = [_operand(a, shape, plan.axis) for a, shape in zip(arrays, plan.columns, strict=True)]
    sizes = [operand.num_buffers for operand in operands]
    sizes += [len(out) if t.summed else 0 for out, t in zip(outs, plan.targets, strict=True)]
    sizes.append(plan.program.num_buffers)
    memory = _memory(some.dtype, (sum(sizes), *plan.block))
    buffers = pieces = memory.split(sizes)  # type: ignore[no-untyped-call]
    for start in range(0, plan.num, plan.step):
        length = min(plan.step, plan.num - start)
        if length < plan.step:
            buffers = memory.narrow(plan.axis, 0, length).split(sizes)  # type: ignore[no-untyped-call]
        slices: list[Any] = []
        for operand, buffer in zip(operands, buffers, strict=False):
            slices += operand.fixed or _copied(_rows(operand.columns, plan, start, length), buffer).unbind()
        wide = buffers[len(operands) :]
        for out, t, buffer in zip(outs, plan.targets, wide, strict=False):
            block = buffer if t.summed else _rows(out, plan, start, length)
            slices += (block if start and plan.axis in t.summed else block.zero_()).unbind()
        run(plan.program, slices, buffers[-1])
        for out, t, buffer in zip(outs, plan.targets, wide, strict=False):
            if t.summed and plan.axis not in t.summed:
                torch.sum(buffer, t.summed, keepdim=True, out=_rows(out, plan, start, length))
    for out, t, piece in zip(outs, plan.targets, pieces[len(operands) :], strict=False):
        if plan.axis in t.summed:
            torch.sum(piece, t.summed, keepdim=True, out=out)
    return results


class _Operand(NamedTuple):
    """What is read: slices that are the same for all blocks, or columns, which need buffers if slices have gaps."""

    columns: Any
    fixed: Sequence[Any] | None
    num_buffers: int


def _operand(x: torch.Tensor | None, shape: Shape, axis: int) -> _Operand:
    if x is None:
        return _Operand(None, [None] * shape[0], 0)
    columns = x.movedim(-2, 0).reshape(shape)
    if shape[axis] == 1:
        return _Operand(columns, columns.contiguous().unbind(), 0)
    has_gaps = axis > 1 or not columns[0].is_contiguous()
    return _Operand(columns, None, shape[0] if has_gaps else 0)


def _rows(columns: torch.Tensor, plan: _Plan, start: int, length: int) -> torch.Tensor:
    return columns if plan.num == plan.step else columns.narrow(plan.axis, start, length)


def _copied(rows: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    """Return rows, in a buffer if there is one."""
    return buffer.copy_(rows) if len(buffer) else rows


_kept = threading.local()


def _memory(dtype: torch.dtype, shape: Shape) -> torch.Tensor:
    """Return a tensor that is free until the next call of the thread."""
    size, name = math.prod(shape), str(dtype)
    kept: torch.Tensor | None = vars(_kept).get(name)
    if kept is None or kept.numel() < size:
        # A tensor that is made in inference mode could not be written to outside of it.
        with torch.inference_mode(False):
            kept = torch.empty(size, dtype=dtype)
        if size * dtype.itemsize <= _KEPT:
            vars(_kept)[name] = kept
    return kept[:size].view(shape)
