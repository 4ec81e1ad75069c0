"""Parts of the code of sums over edges with weights of paths and of their gradients: addresses, matrices, loops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from e3any_backends.kernels.code.jit import FAST_MATH
from e3any_backends.kernels.code.simd import BYTES, splat
from e3any_backends.kernels.code.structures import INT

__all__ = ["PathBlock", "PathWriter", "WeightedPath", "chunks"]

#: Component of x, harmonic, component of the sums, path, coefficient.
_Entry = tuple[int, int, int, int, float]


class PathBlock(NamedTuple):
    """A block of features: see :class:`~e3any_backends.forms.paths.PathBlock`."""

    features: int
    x: int
    weights: int
    sums: int
    entries: tuple[_Entry, ...]


def chunks(features: int, lanes: int) -> list[tuple[int, int, int]]:
    """Divide features into ranges (first, end, numbers of a vector): full vectors, then halves, quarters, ..."""
    ranges, first = [], 0
    while lanes:
        end = first + (features - first) // lanes * lanes
        if end > first:
            ranges.append((first, end, lanes))
        first, lanes = end, lanes // 2
    return ranges


class WeightedPath(NamedTuple):
    """The elements of one path: pairs (n, number of the element) for every component k of x."""

    number: int
    elements: dict[int, list[tuple[int, int]]]
    entries: list[_Entry]

    @property
    def ends(self) -> list[int]:
        """The components of the sums."""
        return sorted({n for members in self.elements.values() for n, _ in members})


class PathWriter(ABC):
    """Writer of a program: base class of both.

    Parameters are those of :class:`~e3any_backends.kernels.code.paths.PathProgram`, and the function to write.
    """

    _num_pointers = 7

    def __init__(
        self, function: ir.Function, blocks: tuple[PathBlock, ...], sizes: tuple[int, int, int], dtype: str
    ) -> None:
        pointers, steps, *_ = function.args
        self._builder, self._blocks, self._sizes = ir.IRBuilder(function.append_basic_block()), blocks, sizes
        self._item = np.dtype(dtype).itemsize
        self._lanes = BYTES // self._item
        self._number = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self._pointers = [self._table(pointers, n) for n in range(self._num_pointers)]
        self._begin, self._end = (self._table(steps, n) for n in range(2))
        self._elements: list[list[tuple[int, float]]] = []
        self._paths = [self._paths_of(block) for block in blocks]

    def write(self) -> None:
        """Write the matrices of all edges, and the sums or gradients that are computed from them."""
        self._write_matrices()
        self._write_edges()
        self._builder.ret_void()

    @abstractmethod
    def _write_edges(self) -> None:
        """Write loops over edges."""

    def _paths_of(self, block: PathBlock) -> list[WeightedPath]:
        """Number the elements of the matrices of a block, and return its paths."""
        paths: list[WeightedPath] = []
        for number, members in groupby(sorted(block.entries, key=lambda e: (e[3], e[0], e[2])), key=lambda e: e[3]):
            path = WeightedPath(number, {}, list(members))
            for (k, n), entries in groupby(path.entries, key=lambda e: (e[0], e[2])):
                path.elements.setdefault(k, []).append((n, len(self._elements)))
                self._elements.append([(m, c) for _, m, _, _, c in entries])
            paths.append(path)
        return paths

    # -- matrices of edges ------------------------------------------------------------------------------------

    def _write_matrices(self) -> None:
        """Store harmonics of all edges side by side, and then every element of their matrices."""
        builder, vector = self._builder, ir.VectorType(self._number, self._lanes)
        used = sorted({m for members in self._elements for m, _ in members})
        with self._edges() as (_, edge, count):
            row = self._row(2, edge, self._sizes[1])
            for m in used:
                value = builder.load(self._at(row, m, self._number))
                builder.store(value, self._at(self._scratch(m), count, self._number))
        y = {m: builder.load(self._at(self._scratch(m), 0, vector), align=self._item) for m in used}
        for number, members in enumerate(self._elements):
            total: ir.Value | None = None
            for m, c in members:
                total = self._plus(total, self._times(y[m], ir.Constant(vector, [c] * self._lanes)))
            address = self._at(self._scratch(self._sizes[1] + number), 0, vector)
            builder.store(total, address, align=self._item)

    def _matrices(self, count: ir.Value) -> ir.Value:
        """Return the address of the first element of the matrices of an edge."""
        return self._builder.add(self._scratch(self._sizes[1]), self._builder.mul(count, INT(self._item)))

    def _element(self, number: int, matrices: ir.Value, vector: ir.VectorType) -> ir.Value:
        """Return an element of the matrices of an edge, repeated."""
        pointer = self._at(matrices, number * self._lanes, self._number)
        return splat(self._builder, self._builder.load(pointer), vector)

    def _scratch(self, row: int) -> ir.Value:
        return self._builder.add(self._pointers[6], INT(row * BYTES))

    # -- addresses and arithmetic -----------------------------------------------------------------------------

    def _table(self, table: ir.Value, n: int) -> ir.Value:
        return self._builder.load(self._builder.gep(table, [INT(n)]))

    @contextmanager
    def _edges(self) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
        """Loop over edges; yield the sender and the number of an edge, and how many there have been."""
        with cgutils.for_range_slice(self._builder, self._begin, self._end, INT(1), INT) as (position, count):
            yield self._integer(4, position), self._integer(5, position), count

    def _integer(self, n: int, position: ir.Value) -> ir.Value:
        address = self._builder.add(self._pointers[n], self._builder.mul(position, INT(8)))
        return self._builder.load(self._builder.inttoptr(address, INT.as_pointer()))

    def _row(self, n: int, row: ir.Value, size: int) -> ir.Value:
        """Return the address of a row of an array."""
        return self._builder.add(self._pointers[n], self._builder.mul(row, INT(size * self._item)))

    def _at(self, row: ir.Value, position: int | ir.Value, type_: ir.Type) -> ir.Value:
        """Return a pointer to a number of a row."""
        constant = isinstance(position, int)
        offset = INT(position * self._item) if constant else self._builder.mul(position, INT(self._item))
        return self._builder.inttoptr(self._builder.add(row, offset), type_.as_pointer())

    def _load(self, row: ir.Value, position: int, vector: ir.VectorType) -> ir.Value:
        return self._builder.load(self._at(row, position, vector), align=self._item)

    def _store(self, value: ir.Value, row: ir.Value, position: int) -> None:
        self._builder.store(value, self._at(row, position, value.type), align=self._item)

    @contextmanager
    def _offsets(self, first: int, end: int, lanes: int) -> Iterator[ir.Value]:
        """Loop over the vectors of a range of features; yield the offset of a vector in bytes."""
        with cgutils.for_range_slice(self._builder, INT(first), INT(end), INT(lanes), INT) as (feature, _):
            yield self._builder.mul(feature, INT(self._item))

    def _sum(self, vector: ir.Type) -> ir.Value:
        """Return a register that is zero."""
        total = cgutils.alloca_once(self._builder, vector)
        self._builder.store(vector(0.0) if vector is self._number else vector(None), total)
        return total

    def _times(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.fmul(a, b, flags=FAST_MATH)

    def _plus(self, a: ir.Value | None, b: ir.Value) -> ir.Value:
        return b if a is None else self._builder.fadd(a, b, flags=FAST_MATH)

    def _add(self, total: ir.Value, value: ir.Value) -> None:
        self._builder.store(self._plus(self._builder.load(total), value), total)
