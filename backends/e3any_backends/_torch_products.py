"""Programs of products of slices, which evaluate derivatives of sparse forms in eager PyTorch.

Slices are numbered: those of the arrays of all slots, and behind them those of what is computed. A form of three slots
is one list of products. With four, weights in the last one are multiplied once for all products of a path that share a
component of one slot, the path's *pivot*: with that component where another slot is wanted, with the sum of the
products where it is the pivot itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from e3any_backends.coupling import SparseForm
from e3any_backends.tables import attribute

__all__ = ["Program", "Slices", "program_of", "run"]

Slices: TypeAlias = tuple[torch.Tensor, ...] | list[torch.Tensor]
Take: TypeAlias = Callable[[Sequence[Any]], Slices]
Numbers: TypeAlias = NDArray[np.intp]

# Weighted components and sums that are kept at a time: fewer, and calls take the time; more, and they leave the cache.
_GROUPS = 16


class Products(NamedTuple):
    """Products of slices that are added to others, with coefficients."""

    targets: Take
    left: Take
    right: Take
    values: list[float]


class Step(NamedTuple):
    """What is computed for some paths, by way of few slices of a buffer.

    Parameters
    ----------
    num_weighted, num_buffers : int
        How many slices of the buffer weighted components take, and these together with sums of products.
    weighted : tuple of two Take, optional
        Components and their weights.
    spread : Products, optional
        Products of weighted components, or of any slices if there are none, with others.
    gathered : Products, optional
        Products of two slices, added to the sums.
    collected : list of tuple of three Take
        Where products of sums and slices are added.
    """

    num_weighted: int
    num_buffers: int
    weighted: tuple[Take, Take] | None
    spread: Products | None
    gathered: Products | None
    collected: list[tuple[Take, Take, Take]]


class Program(NamedTuple):
    """Steps, and how many slices of the buffer they need at most."""

    num_buffers: int
    steps: list[Step]


def run(program: Program, slices: Slices, buffer: torch.Tensor) -> None:
    """Work off a program.

    Parameters
    ----------
    program : Program
        What :func:`program_of` returns.
    slices : sequence of tensors
        The components of the arrays of all slots, whatever in the place of those that are not read, and of the results,
        which are added to.
    buffer : tensor
        Memory for as many slices as the program needs.
    """
    buffers = buffer.unbind()
    for step in program.steps:
        if step.num_buffers:
            buffer[: step.num_buffers].zero_()
        if step.weighted is not None:
            components, weights = step.weighted
            torch._foreach_addcmul_(buffers[: step.num_weighted], components(slices), weights(slices))
        if step.spread is not None:
            _add_products(step.spread, slices, buffers if step.weighted is not None else slices, slices)
        if step.gathered is not None:
            _add_products(step.gathered, buffers, slices, slices)
        for targets, sums, factors in step.collected:
            torch._foreach_addcmul_(targets(slices), sums(buffers), factors(slices))


def _add_products(products: Products, targets: Slices, left: Slices, right: Slices) -> None:
    # One product after the other, so that one target may come several times, in a loop outside of Python.
    torch._foreach_addcmul_(products.targets(targets), products.left(left), products.right(right), products.values)


@lru_cache(maxsize=256)
def program_of(number: int, name: str, wanted: tuple[int, ...]) -> Program:
    """Return how the derivatives of a form by some slots are computed.

    Parameters
    ----------
    number : int
        Number of the tables that have the form.
    name : str
        Their attribute that it is.
    wanted : tuple of int
        Slots.
    """
    form: SparseForm = attribute(number, name)
    first = list(accumulate([*form.sizes, *(form.sizes[slot] for slot in wanted)], initial=0))
    num_slots = len(form.sizes)
    reads = [column + start for column, start in zip(form.columns, first[:num_slots], strict=True)]
    writes = {slot: form.columns[slot] + start for slot, start in zip(wanted, first[num_slots:-1], strict=True)}
    if not len(form.values):
        steps = []
    elif num_slots == 3:
        steps = [Step(0, 0, None, _direct(form, reads, writes), None, [])]
    else:
        pivots = _pivots(form, wanted)
        steps = [_step(form, reads, writes, pivots, members) for members in _batches(form, pivots)]
    return Program(max((step.num_buffers for step in steps), default=0), steps)


def _direct(form: SparseForm, reads: list[Numbers], writes: dict[int, Numbers]) -> Products:
    """Return, for every wanted slot, the products of the two others."""
    others = [[reads[other] for other in range(3) if other != slot] for slot in writes]
    return _products(
        [(target, left, right, form.values) for target, (left, right) in zip(writes.values(), others, strict=True)]
    )


def _pivots(form: SparseForm, wanted: tuple[int, ...]) -> Numbers:
    """Return the pivot of every entry's path: that with the fewest operations."""
    pivots = np.zeros(len(form.values), np.intp)
    for path in np.unique(form.columns[3]):
        entries = form.columns[3] == path
        costs = []
        for slot in range(3):
            gathers = (slot in wanted) + (3 in wanted)
            spreads = sum(other in wanted for other in range(3) if other != slot)
            num = len(np.unique(form.columns[slot][entries]))
            costs.append(num * (gathers + (spreads > 0)) + entries.sum() * ((gathers > 0) + spreads))
        pivots[entries] = np.argmin(costs)
    return pivots


def _groups(form: SparseForm, pivots: Numbers) -> Numbers:
    """Return the number of every entry's group, those of one path with one component of its pivot."""
    component = np.choose(pivots, form.columns[:3])
    numbers: Numbers = np.unique(form.columns[3] * max(form.sizes) + component, return_inverse=True)[1]
    return numbers


def _batches(form: SparseForm, pivots: Numbers) -> list[Numbers]:
    """Return the entries of all paths, some paths at a time."""
    paths, groups = form.columns[3], _groups(form, pivots)
    batches: list[list[Numbers]] = []
    num = _GROUPS
    for path in np.unique(paths):
        entries = np.flatnonzero(paths == path)
        size = len(np.unique(groups[entries]))
        if num + size > _GROUPS:
            batches.append([])
            num = 0
        batches[-1].append(entries)
        num += size
    return [np.concatenate(batch) for batch in batches]


def _step(
    form: SparseForm, reads: list[Numbers], writes: dict[int, Numbers], pivots: Numbers, members: Numbers
) -> Step:
    """Return the products of some entries."""
    groups = _groups(form, pivots)
    read = np.stack(reads)
    pivot = pivots[members]

    def unique(entries: Numbers) -> tuple[Numbers, Numbers]:
        """Return one entry of every group, and the groups of all."""
        _, some, inverse = np.unique(groups[entries], return_index=True, return_inverse=True)
        return entries[some], inverse

    spread = [(slot, members[pivot != slot]) for slot in writes if slot < 3]
    spread = [(slot, entries) for slot, entries in spread if len(entries)]
    num_weighted, weighted, products = 0, None, None
    if spread:
        every = np.concatenate([entries for _, entries in spread])
        some, inverse = unique(every)
        num_weighted, weighted = len(some), (_take(read[pivots[some], some]), _take(read[3, some]))
        targets = np.concatenate([writes[slot][entries] for slot, entries in spread])
        third = np.concatenate([3 - slot - pivots[entries] for slot, entries in spread])
        products = _products([(targets, inverse, read[third, every], form.values[every])])
    gathers = np.isin(pivot, list(writes)) | (3 in writes)
    if not gathers.any():
        return Step(num_weighted, num_weighted, weighted, products, None, [])
    every = members[gathers]
    some, inverse = unique(every)
    one, two = np.where(pivots[every] == 0, 1, 0), np.where(pivots[every] == 2, 1, 2)
    gathered = _products([(inverse + num_weighted, read[one, every], read[two, every], form.values[every])])
    collected = []
    for slot, target in writes.items():
        kept = np.flatnonzero((pivots[some] == slot) | (slot == 3))
        if len(kept):
            factors = read[pivots[some], some] if slot == 3 else read[3, some]
            collected.append((_take(target[some][kept]), _take(kept + num_weighted), _take(factors[kept])))
    return Step(num_weighted, num_weighted + len(some), weighted, products, gathered, collected)


def _products(columns: Sequence[tuple[Any, Any, Any, Any]]) -> Products:
    targets, left, right, values = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return Products(_take(targets), _take(left), _take(right), values.tolist())


def _take(numbers: Numbers) -> Take:
    """Return what takes the slices of some numbers."""
    first, *others = numbers.tolist()
    if others:
        return itemgetter(first, *others)
    return lambda slices: (slices[first],)
