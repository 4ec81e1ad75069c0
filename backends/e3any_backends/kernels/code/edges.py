r"""Sums over the edges of one receiver as machine code, unrolled over harmonics up to a degree.

Sums :math:`A_{mk} = \sum_e Y_{em}\, R_{el(m)}\, x_{s(e)k}` of all harmonics m of some degrees are computed together in
registers: x is loaded once for all of them. The same holds for the gradients. The instructions are described in
https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils

from e3any_backends.kernels.code.jit import FAST_MATH, compiled_module, guarded
from e3any_backends.kernels.code.simd import BYTES, horizontal_sum, splat
from e3any_backends.kernels.code.structures import INT
from e3any_backends.kernels.code.unrolled import SIGNATURE

__all__ = ["EdgeProgram", "edge_program"]

# The most vectors of sums at a time, for products and for gradients. They must fit in registers beside the operands:
# AVX-512 has 32 registers of one vector each, AVX2 16 of half a vector.
_PRODUCT_SUMS, _GRADIENT_SUMS = (24, 9) if binding.get_host_cpu_features().get("avx512f") else (12, 5)

# A loop of the code: its index, and how many times it has run.
_Loop = AbstractContextManager[tuple[ir.Value, ir.Value]]


@dataclass(frozen=True)
class EdgeProgram:
    """The work for one receiver as unrolled code, for :func:`~e3any_backends.kernels.code.unrolled.run`.

    Its tables hold, for sums (``"edge_products"``) and their gradients (``"edge_gradients"``):

    ===============  ==============================================================================
    ``pointers[0]``  the sums of the receiver, which are overwritten; or their cotangent
    ``pointers[1]``  features x (nodes, K, F)
    ``pointers[2]``  angular part (edges, M)
    ``pointers[3]``  radial part (edges, degrees, F)
    ``pointers[4]``  senders, int64, in the order of edges
    ``pointers[5]``  this order: numbers of edges, int64
    ``pointers[6]``  gradient with respect to x, which is added to (gradients only, as below)
    ``pointers[7]``  gradient with respect to the angular part, which is added to
    ``pointers[8]``  gradient with respect to the radial part, which is overwritten
    ``steps[0]``    position of the first edge of the receiver in the order
    ``steps[1]``    position after its last edge
    ``steps[2]``    first byte of components to read and write
    ``steps[3]``    byte after the last
    ``steps[4]``    bytes from one harmonic of the sums to the next
    ===============  ==============================================================================

    Here ``steps`` are not distances of rows, and ``rows`` is K.

    Parameters
    ----------
    operation : str
        ``"edge_products"`` or ``"edge_gradients"``.
    max_degree : int
        Largest degree of the harmonics.
    dtype : str
        The dtype of all arrays.
    width : int
        Vectors of features that are computed together: one, or two if F fills an even number.
    """

    operation: str
    max_degree: int
    dtype: str
    width: int

    @property
    def name(self) -> str:
        """A name of the program that is the same in all processes."""
        return f"e3any_{self.operation}_{self.max_degree}_{self.width}_{self.dtype}"

    @property
    def code(self) -> int:
        """The address of the machine code."""
        return _edge_address(self)


@cache
def edge_program(operation: str, harmonics: int, features: int, dtype: str) -> EdgeProgram | None:
    """Return the program for so many harmonics and features; None if features do not fill vectors."""
    lanes = BYTES // np.dtype(dtype).itemsize
    if features == 0 or features % lanes:
        return None
    width = 2 if operation == "edge_products" and features % (2 * lanes) == 0 else 1
    return EdgeProgram(operation, math.isqrt(harmonics) - 1, dtype, width)


@cache
@guarded
def _edge_address(program: EdgeProgram) -> int:
    writer = _Products if program.operation == "edge_products" else _Gradients
    module = ir.Module(program.name)
    function = ir.Function(module, SIGNATURE, program.name)
    writer(function, program.max_degree, program.dtype, program.width).write()
    return compiled_module(module, program.name)


def _groups(max_degree: int, most: int) -> list[list[int]]:
    """Divide degrees into groups of at most so many harmonics. A degree with more of them is a group of its own."""
    groups: list[list[int]] = [[]]
    for l in range(max_degree + 1):
        if groups[-1] and sum(2 * n + 1 for n in groups[-1]) + 2 * l + 1 > most:
            groups.append([])
        groups[-1].append(l)
    return groups


class _Writer(ABC):
    """Writer of a program: base class of both."""

    def __init__(self, function: ir.Function, max_degree: int, dtype: str, width: int) -> None:
        pointers, steps, self._components, self._component_bytes = function.args
        self._builder = ir.IRBuilder(function.append_basic_block())
        self._max_degree, self._width = max_degree, width
        self._harmonics = (max_degree + 1) ** 2
        self._item = np.dtype(dtype).itemsize
        self._number = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self._vector = ir.VectorType(self._number, BYTES // self._item)
        self._pointers = [self._table(pointers, n) for n in range(self._num_pointers)]
        self._begin, self._end, self._first, self._last, self._step = (self._table(steps, n) for n in range(5))

    _num_pointers = 6

    @abstractmethod
    def write(self) -> None:
        """Write the instructions of the function."""

    def _table(self, table: ir.Value, n: int) -> ir.Value:
        return self._builder.load(self._builder.gep(table, [INT(n)]))

    @contextmanager
    def _edges(self) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Loop over edges; yield the sender and the number of an edge."""
        with cgutils.for_range_slice(self._builder, self._begin, self._end, INT(1), INT) as (e, _):
            yield self._integer(4, e), self._integer(5, e)

    def _integer(self, n: int, position: ir.Value) -> ir.Value:
        address = self._builder.add(self._pointers[n], self._builder.mul(position, INT(8)))
        return self._builder.load(self._builder.inttoptr(address, INT.as_pointer()))

    def _at(self, n: int, row: ir.Value, offset: ir.Value) -> ir.Value:
        """Return an address in an array whose rows are components."""
        return self._builder.add(
            self._builder.add(self._pointers[n], self._builder.mul(row, self._component_bytes)), offset
        )

    def _sum_at(self, m: int, component: ir.Value, offset: ir.Value) -> ir.Value:
        """Return an address in the sums, of one harmonic."""
        return self._builder.add(self._at(0, component, offset), self._builder.mul(self._step, INT(m)))

    def _row(self, first: ir.Value, count: ir.Value, second: ir.Value) -> ir.Value:
        return self._builder.add(self._builder.mul(first, count), second)

    def _load(self, address: ir.Value, at: int = 0) -> ir.Value:
        address = self._builder.add(address, INT(at * BYTES))
        return self._builder.load(self._builder.inttoptr(address, self._vector.as_pointer()), align=self._item)

    def _store(self, value: ir.Value, address: ir.Value, at: int = 0) -> None:
        address = self._builder.add(address, INT(at * BYTES))
        self._builder.store(value, self._builder.inttoptr(address, self._vector.as_pointer()), align=self._item)

    def _angular(self, n: int, edge: ir.Value, m: int) -> ir.Value:
        """Return a pointer to one harmonic of an edge."""
        position = self._builder.add(self._builder.mul(edge, INT(self._harmonics * self._item)), INT(m * self._item))
        return self._builder.inttoptr(self._builder.add(self._pointers[n], position), self._number.as_pointer())

    def _repeated(self, pointer: ir.Value) -> ir.Value:
        return splat(self._builder, self._builder.load(pointer), self._vector)

    def _sums(self, num: int) -> list[ir.Value]:
        """Return registers for sums, which are zero."""
        sums = [cgutils.alloca_once(self._builder, self._vector) for _ in range(num)]
        for total in sums:
            self._builder.store(self._vector(None), total)
        return sums

    def _multiply(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.fmul(a, b, flags=FAST_MATH)

    def _plus(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.fadd(a, b, flags=FAST_MATH)

    def _add(self, total: ir.Value, value: ir.Value) -> None:
        self._builder.store(self._plus(self._builder.load(total), value), total)

    def _vectors(self) -> _Loop:
        """Loop over the vectors of a component, by their offsets in bytes."""
        step = INT(self._width * BYTES)
        loop: _Loop = cgutils.for_range_slice(self._builder, self._first, self._last, step, INT)
        return loop


class _Products(_Writer):
    """Writer of sums."""

    def write(self) -> None:
        """Write loops over components and vectors, in which edges are summed over."""
        for degrees in _groups(self._max_degree, _PRODUCT_SUMS // self._width):
            with cgutils.for_range(self._builder, self._components) as component, self._vectors() as (offset, _):
                self._write_sums(degrees, component.index, offset)
        self._builder.ret_void()

    def _write_sums(self, degrees: list[int], component: ir.Value, offset: ir.Value) -> None:
        harmonics = range(degrees[0] ** 2, (degrees[-1] + 1) ** 2)
        sums = {m: self._sums(self._width) for m in harmonics}
        with self._edges() as (sender, edge):
            features = self._at(1, self._row(sender, self._components, component), offset)
            values = [self._load(features, n) for n in range(self._width)]
            for l in degrees:
                radial = self._at(3, self._row(edge, INT(self._max_degree + 1), INT(l)), offset)
                products = [self._multiply(value, self._load(radial, n)) for n, value in enumerate(values)]
                for m in range(l * l, (l + 1) ** 2):
                    y = self._repeated(self._angular(2, edge, m))
                    for total, product in zip(sums[m], products, strict=True):
                        self._add(total, self._multiply(y, product))
        for m in harmonics:
            out = self._sum_at(m, component, offset)
            for n, total in enumerate(sums[m]):
                self._store(self._builder.load(total), out, n)


class _Gradients(_Writer):
    """Writer of the gradients of sums."""

    _num_pointers = 9

    def write(self) -> None:
        """Write a loop over edges."""
        with self._edges() as (sender, edge):
            for degrees in _groups(self._max_degree, _GRADIENT_SUMS):
                self._write_gradients(degrees, sender, edge)
        self._builder.ret_void()

    def _write_gradients(self, degrees: list[int], sender: ir.Value, edge: ir.Value) -> None:
        harmonics = range(degrees[0] ** 2, (degrees[-1] + 1) ** 2)
        y = {m: self._repeated(self._angular(2, edge, m)) for m in harmonics}
        dy = dict(zip(harmonics, self._sums(len(harmonics)), strict=True))
        with self._vectors() as (offset, _):
            rows = {l: self._row(edge, INT(self._max_degree + 1), INT(l)) for l in degrees}
            radial = {l: self._load(self._at(3, rows[l], offset)) for l in degrees}
            d_radial = dict(zip(degrees, self._sums(len(degrees)), strict=True))
            with cgutils.for_range(self._builder, self._components) as component:
                row = self._row(sender, self._components, component.index)
                value, dx = self._load(self._at(1, row, offset)), self._at(6, row, offset)
                gradient = self._load(dx)
                for l in degrees:
                    sent, inner = self._multiply(radial[l], value), None
                    for m in range(l * l, (l + 1) ** 2):
                        g = self._load(self._sum_at(m, component.index, offset))
                        product = self._multiply(y[m], g)
                        inner = product if inner is None else self._plus(inner, product)
                        self._add(dy[m], self._multiply(sent, g))
                    self._add(d_radial[l], self._multiply(value, inner))
                    gradient = self._plus(gradient, self._multiply(radial[l], inner))
                self._store(gradient, dx)
            for l in degrees:
                self._store(self._builder.load(d_radial[l]), self._at(8, rows[l], offset))
        for m in harmonics:
            pointer = self._angular(7, edge, m)
            gradient = horizontal_sum(self._builder, self._builder.load(dy[m]))
            total = self._builder.fadd(self._builder.load(pointer), gradient, flags=FAST_MATH)
            self._builder.store(total, pointer)
