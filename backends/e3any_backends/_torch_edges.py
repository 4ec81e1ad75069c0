"""Sums of products over edges in eager PyTorch, as sums of bags of rows.

For :func:`torch.embedding_bag`, which adds up rows with weights, a node and a component are a bag, whose rows are the
products of radial parts and features; for derivatives an edge is a bag, whose rows are those of its node. Products are
computed in blocks of edges that stay in the cache, and again for derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from e3any_backends import backend_of
from e3any_backends._torch_products import Slices
from e3any_backends._torch_slopes import Arrays, Shape, value
from e3any_backends.generic import Backend

__all__ = ["sum_products"]

# Numbers of the features that are gathered for a block of edges.
_BLOCK = 2**17

_slope_of_weights = torch.ops.aten._embedding_bag_per_sample_weights_backward


def sum_products(
    x: torch.Tensor,
    angular: torch.Tensor,
    radial: torch.Tensor,
    src: torch.Tensor,
    dst: torch.Tensor,
    num: int,
    indices_are_sorted: bool,
) -> torch.Tensor:
    """Sum products over edges; see :meth:`Backend.edge_products`."""
    operands = [x, angular, radial]
    shapes = (*(tuple(o.shape) for o in operands), (num, angular.shape[1], *x.shape[1:]))
    return value(_EdgeSums(src, dst, shapes, indices_are_sorted), 3, shapes, operands)


class _Runs(NamedTuple):
    """Edges in blocks, sorted by the node that receives. Those of one node in a block are a *run*.

    Parameters
    ----------
    src : tensor of shape (E,)
        The nodes that send.
    step : int
        Number of edges of a block.
    nodes, starts, lengths : tensors of shape (runs,)
        The node that receives of each run, its first edge, and how many it has.
    run : tensor of shape (E,)
        The run of each edge, counted from the first of its block.
    bounds : list of int
        The first run of each block, and the number of all.
    """

    src: torch.Tensor
    step: int
    nodes: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    run: torch.Tensor
    bounds: list[int]

    @classmethod
    def of(cls, src: torch.Tensor, dst: torch.Tensor, step: int) -> _Runs:
        """Find the runs of edges."""
        edges = torch.arange(len(dst))
        begins = edges % step == 0
        begins[1:] |= dst[1:] != dst[:-1]
        starts = begins.nonzero()[:, 0]
        bounds = torch.searchsorted(starts, torch.arange(0, len(dst), step))
        run = begins.cumsum(0) - 1 - bounds[edges // step]
        lengths = torch.diff(starts, append=starts.new_tensor([len(dst)]))
        return cls(src, step, dst[starts], starts, lengths, run, [*bounds.tolist(), len(starts)])

    def bags(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return bags of runs and components: which of the weights (E, size) they take, and where each one begins."""
        begins = size * self.starts[:, None] + torch.arange(size) * self.lengths[:, None]
        of_edge = torch.repeat_interleave(self.lengths)
        edges = torch.arange(len(self.src))
        places = begins[of_edge] + (edges - self.starts[of_edge])[:, None]
        order = torch.empty_like(places).reshape(-1)
        order[places.reshape(-1)] = torch.arange(len(order))
        return order, (begins - size * (self.starts - self.starts % self.step)[:, None]).reshape(-1)


class _EdgeSums:
    """The form in the slots (features, angular parts, radial parts, sums).

    Parameters
    ----------
    src, dst : integer tensors of shape (E,)
        The nodes that send and receive; others than those there are are padding.
    shapes : tuple of tuple of int
        Shapes of the slots.
    is_sorted : bool
        Whether ``dst`` ascends.
    """

    def __init__(self, src: torch.Tensor, dst: torch.Tensor, shapes: tuple[Shape, ...], is_sorted: bool) -> None:
        (num_src, *row), _, _, (self.num, *_) = shapes
        self.indices = src, dst
        valid = (src >= 0) & (src < num_src) & (dst >= 0) & (dst < self.num)
        self.order: torch.Tensor | None = None
        if not (is_sorted and bool(valid.all())):
            kept = valid.nonzero()[:, 0]
            self.order = kept[torch.argsort(dst[kept], stable=True)]
            src, dst = src[self.order], dst[self.order]
        step = max(1, _BLOCK // max(1, math.prod(row)))
        self.runs = _Runs.of(src.to(torch.int64), dst.to(torch.int64), step)

    def plain(self, slot: int, shape: Shape, arrays: Arrays) -> torch.Tensor:
        """Return the sums, or a derivative of them, in the standard alone."""
        *operands, g = arrays
        src, dst = self.indices

        def sums(*operands: Any) -> torch.Tensor:
            x, angular, radial = operands
            result: torch.Tensor = Backend.edge_products(backend_of(x), x, angular, radial, src, dst, self.num)
            return result

        if slot == 3:
            return sums(*operands)
        # The sums are linear in every operand: their derivative at zero is that everywhere.
        zeros = torch.zeros(shape, dtype=next(a.dtype for a in arrays if a is not None))
        pull = torch.func.vjp(lambda operand: sums(*operands[:slot], operand, *operands[slot + 1 :]), zeros)[1]
        slopes: tuple[torch.Tensor] = pull(g)
        return slopes[0]

    def evaluate(self, wanted: Shape, shapes: tuple[Shape, ...], arrays: Arrays) -> Slices:
        """Return the sums, derivatives of them, or both."""
        some = next(a for a in arrays if a is not None)
        results = {slot: some.new_zeros(shapes[slot]) for slot in wanted}
        if len(self.runs.src) and all(0 not in shape for shape in shapes):
            outs = {slot: self._sorted_like(slot, result) for slot, result in results.items()}
            _add(self.runs, outs, [self._sorted(slot, a) for slot, a in enumerate(arrays)], shapes)
            for slot, out in outs.items():
                if self.order is not None and out is not results[slot]:
                    results[slot].index_copy_(0, self.order, out)
        return list(results.values())

    def _sorted(self, slot: int, x: torch.Tensor | None) -> torch.Tensor | None:
        """Return an array with edges in order."""
        if x is None:
            return None
        return x.contiguous() if self.order is None or slot in (0, 3) else x.index_select(0, self.order)

    def _sorted_like(self, slot: int, result: torch.Tensor) -> torch.Tensor:
        """Return memory for a result with edges in order."""
        if self.order is None or slot in (0, 3):
            return result
        return result.new_zeros((len(self.order), *result.shape[1:]))


def _add(runs: _Runs, outs: dict[int, torch.Tensor], arrays: Sequence[Any], shapes: tuple[Shape, ...]) -> None:
    """Add sums, derivatives of them, or both, for contiguous arrays of sorted edges."""
    some = next(a for a in arrays if a is not None)
    degrees = [_Degree(runs, l, outs, arrays) for l in range(shapes[2][1])]
    memory = some.new_empty((4, runs.step, *shapes[0][1:]))
    for block, start in enumerate(range(0, len(runs.src), runs.step)):
        stop = min(start + runs.step, len(runs.src))
        rows, *buffers = memory[:, : stop - start].unbind()
        src = runs.src[start:stop]
        if arrays[0] is not None:
            torch.index_select(arrays[0], 0, src, out=rows)
        if 0 in outs:
            buffers[-1].zero_()
        for degree in degrees:
            degree.add(block, start, stop, rows, buffers)
        if 0 in outs:
            outs[0].index_add_(0, src, buffers[-1])


class _Degree:
    """What the components of one degree add.

    Parameters
    ----------
    runs : _Runs
        The edges.
    l : int
        The degree.
    outs : dict
        Sums and derivatives by slot.
    arrays : sequence of tensors
        The arrays of all slots.
    """

    def __init__(self, runs: _Runs, l: int, outs: dict[int, torch.Tensor], arrays: Sequence[Any]) -> None:
        self.runs, self.l, self.outs, self.size = runs, l, outs, 2 * l + 1
        self.components = slice(l**2, (l + 1) ** 2)
        _, angular, radial, self.sums = arrays
        self.radial: Any = None if radial is None else radial[:, l, None, :]
        weights: Any = None if angular is None else angular[:, self.components].reshape(-1)
        if 3 in outs:
            order, self.begins = runs.bags(self.size)
            self.rows_of_runs, self.weights_of_runs = order // self.size % runs.step, weights[order]
        if len(outs) > (3 in outs):
            numbers = torch.arange(runs.step)
            self.weights = weights
            self.rows_of_edges = (runs.run[:, None] * self.size + torch.arange(self.size)).reshape(-1)
            self.begins_of_edges, self.bag_of_row = numbers * self.size, numbers.repeat_interleave(self.size)

    def add(self, block: int, start: int, stop: int, rows: torch.Tensor, buffers: Sequence[torch.Tensor]) -> None:
        """Add what a block of edges does, to sums and to derivatives; those by features are left in a buffer."""
        products, slopes, of_rows = buffers
        first, last = self.runs.bounds[block : block + 2]
        nodes, num, size = self.runs.nodes[first:last], stop - start, self.size
        radial: Any = None if self.radial is None else self.radial[start:stop]
        entries = slice(start * size, stop * size)
        if 3 in self.outs or 1 in self.outs:
            torch.mul(rows, radial, out=products)
        if 3 in self.outs:
            begins, members = self.begins[first * size : last * size], self.rows_of_runs[entries]
            sums = _bags(products.view(num, -1), members, begins, self.weights_of_runs[entries])
            shape = len(nodes), size, *products.shape[1:]
            self.outs[3][:, self.components].index_add_(0, nodes, sums.view(shape))
        if not {0, 1, 2} & set(self.outs):
            return
        table = self.sums[:, self.components].index_select(0, nodes).view(len(nodes) * size, -1)
        members, begins = self.rows_of_edges[entries], self.begins_of_edges[:num]
        if 1 in self.outs:
            bags = self.bag_of_row[: num * size]
            slope = _slope_of_weights(products.view(num, -1), table, members, begins, bags, 0)
            self.outs[1][start:stop, self.components] = slope.view(num, size)
        if 0 in self.outs or 2 in self.outs:
            sums = _bags(table, members, begins, self.weights[entries]).view(products.shape)
            if 0 in self.outs:
                of_rows.addcmul_(sums, radial)
            if 2 in self.outs:
                torch.sum(torch.mul(sums, rows, out=slopes), 1, out=self.outs[2][start:stop, self.l])


def _bags(table: torch.Tensor, rows: torch.Tensor, begins: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted sums of rows of bags, each of which begins at a position."""
    return torch.embedding_bag(table, rows, begins, False, 0, False, weights)[0]
