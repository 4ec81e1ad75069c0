r"""Machine code of contractions, unrolled over the entries of their table.

It computes :math:`z_k \mathrel{+}= w_p \sum_e c_e\, a_{i(e)} b_{j(e)}`, unrolled over e. Components stay in registers
and coefficients are part of the code. It takes a third of the time of a loop over tables
(:mod:`e3any_backends.kernels.code.loops`). LLVM compiles an entry in 0.2 ms, so long tables are left to the loop. The
instructions are described in https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import FAST_MATH, compiled_module, guarded
from e3any_backends.kernels.code.simd import BYTES
from e3any_backends.kernels.code.structures import INT

if TYPE_CHECKING:
    from e3any_backends.kernels.code.annotations import Context, CPUContext, Signature, Typed, Values

__all__ = ["MAX_ENTRIES", "SIGNATURE", "Program", "run"]

#: The largest number of entries, of all contractions together, that is unrolled.
MAX_ENTRIES = 2048

#: The C type of unrolled code; :data:`run` describes the arguments.
SIGNATURE = ir.FunctionType(ir.VoidType(), [INT.as_pointer(), INT.as_pointer(), INT, INT])


@dataclass(frozen=True)
class Program:
    """A list of contractions, for any number of rows, and features that fill vectors.

    Parameters
    ----------
    terms, groups, columns : tuple of tuple of int
        See :class:`~e3any_backends.kernels.contraction.Schedule`.
    coefficients : tuple of float
        The coefficient of every entry.
    dtype : str
        The dtype of the coefficients and of all arrays.
    num_operands : int
        The number of operands. Arrays are numbered, operands before outputs.
    outs : tuple of (int, bool)
        For each output its number of components, and whether it is overwritten; else the contraction is added to it.
    """

    terms: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    columns: tuple[tuple[int, ...], ...]
    coefficients: tuple[float, ...]
    dtype: str
    num_operands: int
    outs: tuple[tuple[int, bool], ...]

    @cached_property
    def name(self) -> str:
        """A name of the program that is the same in all processes."""
        return f"e3any_{self.operation}_{hashlib.sha256(repr(self).encode()).hexdigest()[:24]}"

    @property
    def operation(self) -> str:
        """The operation that runs the program, as XLA knows it."""
        return "contractions"

    @cached_property
    def code(self) -> int:
        """The address of the machine code, for :func:`run`."""
        return _address(self)


@cache
@guarded
def _address(program: Program) -> int:
    module = ir.Module(program.name)
    _Writer(program).write(ir.Function(module, SIGNATURE, program.name))
    return compiled_module(module, program.name)


def _run(
    typing_context: Context,
    code: types.Integer,
    pointers: types.Array,
    steps: types.Array,
    rows: types.Integer,
    component_bytes: types.Integer,
) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        code, *arrays, rows, component_bytes = arguments
        tables = [
            context.make_array(type_)(context, builder, value=array).data
            for type_, array in zip(signature.args[1:3], arrays, strict=True)
        ]
        builder.call(builder.inttoptr(code, SIGNATURE.as_pointer()), [*tables, rows, component_bytes])
        return context.get_dummy_value()

    return types.void(types.intp, pointers, steps, types.intp, types.intp), emit


#: Run unrolled code: ``run(code, pointers, steps, rows, component_bytes)``.
#:
#: ===================  ======================================================
#: ``code``             the address of the code
#: ``pointers[n]``      the address of the first row of array n
#: ``steps[n]``         bytes from one of its rows to the next, 0 if it has one
#: ``rows``             the number of rows
#: ``component_bytes``  bytes from one component of a row to the next
#: ===================  ======================================================
#:
#: Code for edges has tables of its own, see :class:`~e3any_backends.kernels.code.edges.EdgeProgram`.
run: Callable[[int, Array, Array, int, int], None] = intrinsic(_run)


class _Writer:
    """Writer of the code of a program: loops over rows and vectors around all sums of products."""

    def __init__(self, program: Program) -> None:
        self._program = program
        number = ir.FloatType() if program.dtype == "float32" else ir.DoubleType()
        self._item = np.dtype(program.dtype).itemsize
        self._vector = ir.VectorType(number, BYTES // self._item)

    def write(self, function: ir.Function) -> None:
        """Write the instructions of a function."""
        pointers, steps, rows, self._component_bytes = function.args
        builder = self._builder = ir.IRBuilder(function.append_basic_block())
        numbers = range(self._program.num_operands + len(self._program.outs))
        first, step = ([builder.load(builder.gep(table, [INT(n)])) for n in numbers] for table in (pointers, steps))
        vectors = builder.udiv(self._component_bytes, INT(BYTES))
        with cgutils.for_range(builder, rows) as row:
            begins = [builder.add(first[n], builder.mul(row.index, step[n])) for n in numbers]
            with cgutils.for_range(builder, vectors) as vector:
                offset = builder.mul(vector.index, INT(BYTES))
                self._begins = [builder.add(begin, offset) for begin in begins]
                self._write_sums()
        builder.ret_void()

    def _write_sums(self) -> None:
        """Compute all components of the outputs at one vector, and store them."""
        self._loaded: dict[tuple[int, int], ir.Value] = {}
        self._scaled: dict[tuple[int, int, float], ir.Value] = {}
        totals: dict[tuple[int, int], ir.Value] = {}
        # Every operand is loaded once, and scaled once by each magnitude of a coefficient.
        for out, left, right, scale, begin, end in self._program.terms:
            for component, scale_component, start, stop in self._program.groups[begin:end]:
                if stop > start:
                    product = self._multiply(self._sum(left, right, start, stop), self._load(scale, scale_component))
                    totals[out, component] = self._add(totals.get((out, component)), product)
        for n, (components, is_overwritten) in enumerate(self._program.outs, self._program.num_operands):
            for component in range(components):
                total = totals.get((n, component))
                pointer = self._pointer(n, component)
                if total is None and is_overwritten:
                    total = self._vector(None)
                elif total is not None and not is_overwritten:
                    total = self._add(self._builder.load(pointer, align=self._item), total)
                if total is not None:
                    self._builder.store(total, pointer, align=self._item)

    def _sum(self, left: int, right: int, start: int, stop: int) -> ir.Value:
        """Return a sum over entries. Coefficients c and -c of a component share a product, added or subtracted."""
        total: ir.Value | None = None
        for (i, j), coefficient in zip(
            self._program.columns[start:stop], self._program.coefficients[start:stop], strict=True
        ):
            product = self._scale(left, i, abs(coefficient))
            if right >= 0:
                product = self._multiply(product, self._load(right, j))
            if coefficient >= 0:
                total = self._add(total, product)
            elif total is None:
                total = self._builder.fneg(product)
            else:
                total = self._builder.fsub(total, product, flags=FAST_MATH)
        return total

    def _scale(self, n: int, component: int, magnitude: float) -> ir.Value:
        key = n, component, magnitude
        if key not in self._scaled:
            factor = ir.Constant(self._vector, [magnitude] * self._vector.count)
            self._scaled[key] = self._multiply(self._load(n, component), factor)
        return self._scaled[key]

    def _load(self, n: int, component: int) -> ir.Value:
        key = n, component
        if key not in self._loaded:
            self._loaded[key] = self._builder.load(self._pointer(n, component), align=self._item)
        return self._loaded[key]

    def _pointer(self, n: int, component: int) -> ir.Value:
        offset = self._builder.mul(self._component_bytes, INT(component))
        return self._builder.inttoptr(self._builder.add(self._begins[n], offset), self._vector.as_pointer())

    def _multiply(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.fmul(a, b, flags=FAST_MATH)

    def _add(self, a: ir.Value | None, b: ir.Value) -> ir.Value:
        return b if a is None else self._builder.fadd(a, b, flags=FAST_MATH)
