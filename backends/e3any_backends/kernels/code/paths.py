r"""Sums over a few edges of one receiver, with weights of every edge and path, as machine code for one table.

It computes :math:`z_n \mathrel{+}= \sum_e \sum_{kp} q_{ep}\, T_{epkn}\, x_{s(e)k}`, unrolled over the elements of the
matrices T. These are computed first, for as many edges as a vector has numbers: an instruction computes an element of
all these edges. Sums stay in registers for all edges; elements are read from the cache and repeated by the
instructions that multiply with them. The instructions are described in https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils

from e3any_backends.forms.paths import PathForm, entries_of
from e3any_backends.forms.tables import tables_of
from e3any_backends.kernels.code.jit import FAST_MATH, compiled_module, guarded
from e3any_backends.kernels.code.simd import BYTES, horizontal_sum, splat
from e3any_backends.kernels.code.structures import INT
from e3any_backends.kernels.code.unrolled import MAX_ENTRIES, SIGNATURE

__all__ = ["PathProgram", "path_program"]

# The most sums that are kept in registers. AVX-512 has 32 registers of one vector each, AVX2 16 of half a vector.
_MOST_SUMS = 24 if binding.get_host_cpu_features().get("avx512f") else 7

#: Component of x, harmonic, component of the sums, path, coefficient.
_Entry = tuple[int, int, int, int, float]


class _Block(NamedTuple):
    """A block of features: see :class:`~e3any_backends.forms.paths.PathBlock`."""

    features: int
    x: int
    weights: int
    sums: int
    entries: tuple[_Entry, ...]


@dataclass(frozen=True)
class PathProgram:
    """The work for some edges of one receiver, for :func:`~e3any_backends.kernels.code.unrolled.run`.

    Its tables hold, for sums (``"path_sums"``) and their gradients (``"path_gradients"``):

    ===============  ==============================================================================
    ``pointers[0]``  the sums of the receiver, which are added to; or their cotangent
    ``pointers[1]``  features x (nodes, X)
    ``pointers[2]``  harmonics (edges, M)
    ``pointers[3]``  weights (edges, Q)
    ``pointers[4]``  senders, int64, in the order of edges
    ``pointers[5]``  this order: numbers of edges, int64
    ``pointers[6]``  scratch of one vector for every harmonic and element of matrices
    ``pointers[7]``  gradient with respect to x, which is added to (gradients only, as below)
    ``pointers[8]``  gradient with respect to the harmonics, which is overwritten
    ``pointers[9]``  gradient with respect to the weights, which is overwritten
    ``steps[0]``     position of the first edge in the order
    ``steps[1]``     position after the last edge; they are at most as many as a vector has numbers
    ===============  ==============================================================================

    Parameters
    ----------
    operation : str
        ``"path_sums"`` or ``"path_gradients"``.
    blocks : tuple of _Block
        The blocks of features.
    sizes : tuple of int
        Numbers in a row of x, of harmonics and of weights.
    dtype : str
        The dtype of all arrays.
    """

    operation: str
    blocks: tuple[_Block, ...]
    sizes: tuple[int, int, int]
    dtype: str

    @cached_property
    def name(self) -> str:
        """A name of the program that is the same in all processes."""
        return f"e3any_{self.operation}_{hashlib.sha256(repr(self).encode()).hexdigest()[:24]}"

    @cached_property
    def code(self) -> int:
        """The address of the machine code."""
        return _address(self)


@lru_cache(maxsize=1024)
def path_program(operation: str, number: int, dtype: str) -> PathProgram | None:
    """Return the program of the form of a number; None if it has too many entries."""
    form: PathForm = tables_of(number)
    lanes = BYTES // np.dtype(dtype).itemsize
    blocks = tuple(
        _Block(b.features, b.x.start, b.weights.start, b.sums.start, tuple(entries_of(b.coupling)))
        for b in form.blocks
        if b.features
    )
    if sum(len(b.entries) * len(_chunks(b.features, lanes)) for b in blocks) > MAX_ENTRIES:
        return None
    last = form.blocks[-1]
    return PathProgram(operation, blocks, (last.x.stop, form.num_harmonics, last.weights.stop), dtype)


@cache
@guarded
def _address(program: PathProgram) -> int:
    module = ir.Module(program.name)
    function = ir.Function(module, SIGNATURE, program.name)
    (_Sums if program.operation == "path_sums" else _Gradients)(function, program).write()
    return compiled_module(module, program.name)


def _chunks(features: int, lanes: int) -> list[tuple[int, int, int]]:
    """Divide features into ranges (first, end, numbers of a vector): full vectors, then halves, quarters, ..."""
    chunks, first = [], 0
    while lanes:
        end = first + (features - first) // lanes * lanes
        if end > first:
            chunks.append((first, end, lanes))
        first, lanes = end, lanes // 2
    return chunks


class _Path(NamedTuple):
    """The elements of one path: pairs (n, number of the element) for every component k of x."""

    number: int
    elements: dict[int, list[tuple[int, int]]]
    entries: list[_Entry]

    @property
    def ends(self) -> list[int]:
        """The components of the sums."""
        return sorted({n for members in self.elements.values() for n, _ in members})


class _Writer(ABC):
    """Writer of a program: base class of both."""

    _num_pointers = 7

    def __init__(self, function: ir.Function, program: PathProgram) -> None:
        pointers, steps, *_ = function.args
        self._builder, self._program = ir.IRBuilder(function.append_basic_block()), program
        self._item = np.dtype(program.dtype).itemsize
        self._lanes = BYTES // self._item
        self._number = ir.FloatType() if program.dtype == "float32" else ir.DoubleType()
        self._pointers = [self._table(pointers, n) for n in range(self._num_pointers)]
        self._begin, self._end = (self._table(steps, n) for n in range(2))
        self._elements: list[list[tuple[int, float]]] = []
        self._paths = [self._paths_of(block) for block in program.blocks]

    def write(self) -> None:
        """Write the matrices of all edges, and what is made of them."""
        self._write_matrices()
        self._write_edges()
        self._builder.ret_void()

    @abstractmethod
    def _write_edges(self) -> None:
        """Write loops over edges."""

    def _paths_of(self, block: _Block) -> list[_Path]:
        """Number the elements of the matrices of a block, and return its paths."""
        paths: list[_Path] = []
        for number, members in groupby(sorted(block.entries, key=lambda e: (e[3], e[0], e[2])), key=lambda e: e[3]):
            path = _Path(number, {}, list(members))
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
            row = self._row(2, edge, self._program.sizes[1])
            for m in used:
                builder.store(
                    builder.load(self._at(row, m, self._number)),
                    self._at(self._scratch(m), count, self._number),
                )
        y = {m: builder.load(self._at(self._scratch(m), 0, vector), align=self._item) for m in used}
        for number, members in enumerate(self._elements):
            total: ir.Value | None = None
            for m, c in members:
                total = self._plus(total, self._times(y[m], ir.Constant(vector, [c] * self._lanes)))
            address = self._at(self._scratch(self._program.sizes[1] + number), 0, vector)
            builder.store(total, address, align=self._item)

    def _element(self, number: int, count: ir.Value, vector: ir.VectorType) -> ir.Value:
        """Return an element of the matrices of an edge, repeated."""
        row = self._scratch(self._program.sizes[1] + number)
        return splat(self._builder, self._builder.load(self._at(row, count, self._number)), vector)

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
        offset = position if isinstance(position, ir.Value) else INT(position)
        address = self._builder.add(row, self._builder.mul(offset, INT(self._item)))
        return self._builder.inttoptr(address, type_.as_pointer())

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


class _Sums(_Writer):
    """Writer of sums."""

    def _write_edges(self) -> None:
        """Write loops over features, in which edges are summed over, for as many sums as registers hold."""
        for block, paths in zip(self._program.blocks, self._paths, strict=True):
            for members in _passes(paths):
                for chunk in _chunks(block.features, self._lanes):
                    with self._offsets(*chunk) as offset:
                        self._write_sums(block, members, offset, ir.VectorType(self._number, chunk[2]))

    def _write_sums(self, block: _Block, paths: list[_Path], offset: ir.Value, vector: ir.VectorType) -> None:
        out = self._builder.add(self._pointers[0], offset)
        sums = {n: self._sum(vector) for path in paths for n in path.ends}
        for n, total in sums.items():
            self._builder.store(self._load(out, block.sums + n * block.features, vector), total)
        with self._edges() as (sender, edge, count):
            row = self._builder.add(self._row(1, sender, self._program.sizes[0]), offset)
            components = sorted({k for path in paths for k in path.elements})
            x = {k: self._load(row, block.x + k * block.features, vector) for k in components}
            weights = self._builder.add(self._row(3, edge, self._program.sizes[2]), offset)
            for path in paths:
                weight = self._load(weights, block.weights + path.number * block.features, vector)
                self._add_path(path, weight, x, sums, count)
        for n, total in sums.items():
            self._store(self._builder.load(total), out, block.sums + n * block.features)

    def _add_path(
        self, path: _Path, weight: ir.Value, x: dict[int, ir.Value], sums: dict[int, ir.Value], count: ir.Value
    ) -> None:
        """Add the products of one path; the weight multiplies whatever has fewer components."""
        if len(path.elements) <= len(path.ends):
            for k, members in path.elements.items():
                product = self._times(weight, x[k])
                for n, number in members:
                    self._add(sums[n], self._times(self._element(number, count, product.type), product))
            return
        totals: dict[int, ir.Value] = {}
        for k, members in path.elements.items():
            for n, number in members:
                product = self._times(self._element(number, count, weight.type), x[k])
                totals[n] = self._plus(totals.get(n), product)
        for n, total in totals.items():
            self._add(sums[n], self._times(weight, total))


def _passes(paths: list[_Path]) -> list[list[_Path]]:
    """Divide paths into groups that end in few components; a path with more of them is a group of its own."""
    groups: list[list[_Path]] = []
    ends: set[int] = set()
    for path in sorted(paths, key=lambda path: path.ends[0]):
        if not groups or len(ends | set(path.ends)) > _MOST_SUMS:
            groups.append([])
            ends = set()
        groups[-1].append(path)
        ends |= set(path.ends)
    return groups


class _Gradients(_Writer):
    """Writer of the gradients of sums."""

    _num_pointers = 10

    def _write_edges(self) -> None:
        """Write a loop over edges."""
        harmonics, num_weights = self._program.sizes[1:]
        with self._edges() as (sender, edge, count):
            dy = [self._sum(self._number) for _ in range(harmonics)]
            rows = [self._row(n, sender, self._program.sizes[0]) for n in (1, 7)]
            rows += [self._row(n, edge, num_weights) for n in (3, 9)]
            for block, paths in zip(self._program.blocks, self._paths, strict=True):
                for _, together in groupby(paths, key=lambda path: min(path.elements)):
                    self._write_gradients(block, list(together), rows, dy, count)
            row = self._row(8, edge, harmonics)
            for m, total in enumerate(dy):
                self._builder.store(self._builder.load(total), self._at(row, m, self._number))

    def _write_gradients(
        self, block: _Block, paths: list[_Path], rows: list[ir.Value], dy: list[ir.Value], count: ir.Value
    ) -> None:
        """Write a loop over features for the paths that begin in the same irrep of x."""
        used = sorted({m for path in paths for _, m, *_ in path.entries})
        components = sorted({k for path in paths for k in path.elements})
        for chunk in _chunks(block.features, self._lanes):
            vector = ir.VectorType(self._number, chunk[2])
            by_harmonic = {m: self._sum(vector) for m in used}
            with self._offsets(*chunk) as offset:
                x, dx, weights, d_weights = (self._builder.add(row, offset) for row in rows)
                g = self._builder.add(self._pointers[0], offset)
                values = {k: self._load(x, block.x + k * block.features, vector) for k in components}
                gradients = {k: self._load(dx, block.x + k * block.features, vector) for k in components}
                for path in paths:
                    place = block.weights + path.number * block.features
                    weight = self._load(weights, place, vector)
                    ends = {n: self._load(g, block.sums + n * block.features, vector) for n in path.ends}
                    by_weight = self._add_features(path, weight, values, gradients, ends, count)
                    self._store(by_weight, d_weights, place)
                    self._add_harmonics(path, weight, values, ends, by_harmonic)
                for k, gradient in gradients.items():
                    self._store(gradient, dx, block.x + k * block.features)
            for m, total in by_harmonic.items():
                value = self._builder.load(total)
                self._add(dy[m], horizontal_sum(self._builder, value))

    def _add_features(
        self,
        path: _Path,
        weight: ir.Value,
        x: dict[int, ir.Value],
        dx: dict[int, ir.Value],
        g: dict[int, ir.Value],
        count: ir.Value,
    ) -> ir.Value:
        """Add the gradients with respect to x of one path; return that with respect to its weight."""
        by_weight: ir.Value | None = None
        for k, members in path.elements.items():
            inner: ir.Value | None = None
            for n, number in members:
                inner = self._plus(inner, self._times(self._element(number, count, weight.type), g[n]))
            by_weight = self._plus(by_weight, self._times(x[k], inner))
            dx[k] = self._plus(dx[k], self._times(weight, inner))
        return by_weight

    def _add_harmonics(
        self,
        path: _Path,
        weight: ir.Value,
        x: dict[int, ir.Value],
        g: dict[int, ir.Value],
        by_harmonic: dict[int, ir.Value],
    ) -> None:
        """Add the gradients with respect to harmonics of one path."""
        products: dict[tuple[int, int], ir.Value] = {}
        totals: dict[int, ir.Value] = {}
        for k, m, n, _, c in path.entries:
            if (k, n) not in products:
                products[k, n] = self._times(x[k], g[n])
            coefficient = ir.Constant(weight.type, [c] * weight.type.count)
            totals[m] = self._plus(totals.get(m), self._times(products[k, n], coefficient))
        for m, total in totals.items():
            self._add(by_harmonic[m], self._times(weight, total))
