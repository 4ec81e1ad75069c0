r"""Machine code of contractions :math:`z_k \mathrel{+}= w_p \sum_e c_e\, a_{i(e)} b_{j(e)}`, without loops over e.

Components stay in registers and coefficients are part of the code, which takes a third of the time of a loop over
tables. The compiler needs 0.2 ms for every entry: long tables are left to the loop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from e3any_backends.kernels.code.jit import guarded
from e3any_backends.kernels.code.simd import BYTES

__all__ = ["FLAGS", "INT", "MAX_ENTRIES", "SIGNATURE", "Program", "compiled", "run"]

#: Entries of all contractions of a program, at most.
MAX_ENTRIES = 2048

FLAGS = ("contract", "reassoc", "nsz")
INT = ir.IntType(64)
SIGNATURE = ir.FunctionType(ir.VoidType(), [INT.as_pointer(), INT.as_pointer(), INT, INT])


@dataclass(frozen=True)
class Program:
    """Contractions of one list, for arrays of any number of rows and features that fill vectors.

    Parameters
    ----------
    terms, groups, columns : tuple of tuple of int
        See :class:`~e3any_backends.kernels.contraction.Schedule`.
    coefficients : tuple of float
        The coefficient of every entry.
    dtype : str
        Their dtype, and that of all numbers.
    num_operands : int
        How many arrays are no outputs.
    outs : tuple of (int, bool)
        For each output its number of components, and whether it is written, and not added to.
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
        """A name that all processes have for the program."""
        return f"e3any_{self.operation}_{hashlib.sha256(repr(self).encode()).hexdigest()[:24]}"

    @property
    def operation(self) -> str:
        """What the program is called in."""
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
    return compiled(module, program.name)


# Machine code lives as long as its library. The compiler has one name space for all threads.
_libraries: dict[str, Any] = {}


def compiled(module: Any, name: str) -> int:
    """Compile a module as numba compiles its own, unless it has been; return the address of the function of a name."""
    with global_compiler_lock:
        if name not in _libraries:
            library = cpu_target.target_context.codegen().create_library(name)
            like = library.create_ir_module(name)
            module.triple, module.data_layout = like.triple, like.data_layout
            library.add_ir_module(module)
            library.finalize()
            _libraries[name] = library
        address: int = _libraries[name].get_pointer_to_function(name)
    return address


def _run(typing_context: Any, code: Any, places: Any, steps: Any, rows: Any, pitch: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, *arrays, rows, pitch = arguments
        pointers = [
            context.make_array(type_)(context, builder, value=array).data
            for type_, array in zip(signature.args[1:3], arrays, strict=True)
        ]
        builder.call(builder.inttoptr(code, SIGNATURE.as_pointer()), [*pointers, rows, pitch])
        return context.get_dummy_value()

    return types.void(types.intp, places, steps, types.intp, types.intp), emit


#: Run the code at an address. The other arguments are where each array begins, how many bytes its rows are apart, the
#: number of rows, and the bytes between components.
run: Any = intrinsic(_run)


class _Writer:
    """Write the code of a program: loops over rows and vectors around all sums of products."""

    def __init__(self, program: Program) -> None:
        self._program = program
        number = ir.FloatType() if program.dtype == "float32" else ir.DoubleType()
        self._item = np.dtype(program.dtype).itemsize
        self._vector = ir.VectorType(number, BYTES // self._item)

    def write(self, function: Any) -> None:
        """Write a function of places, steps, rows and pitch."""
        places, steps, rows, self._pitch = function.args
        builder = self._builder = ir.IRBuilder(function.append_basic_block())
        numbers = range(self._program.num_operands + len(self._program.outs))
        first, step = ([builder.load(builder.gep(table, [INT(n)])) for n in numbers] for table in (places, steps))
        vectors = builder.udiv(self._pitch, INT(BYTES))
        with cgutils.for_range(builder, rows) as row:
            begins = [builder.add(first[n], builder.mul(row.index, step[n])) for n in numbers]
            with cgutils.for_range(builder, vectors) as vector:
                offset = builder.mul(vector.index, INT(BYTES))
                self._begins = [builder.add(begin, offset) for begin in begins]
                self._write_sums()
        builder.ret_void()

    def _write_sums(self) -> None:
        """Compute all components of the outputs at one vector, and store them."""
        self._loaded: dict[tuple[int, int], Any] = {}
        self._scaled: dict[tuple[int, int, float], Any] = {}
        totals: dict[tuple[int, int], Any] = {}
        for out, left, right, scale, begin, end in self._program.terms:
            for component, scale_component, start, stop in self._program.groups[begin:end]:
                if stop > start:
                    product = self._multiply(self._sum(left, right, start, stop), self._load(scale, scale_component))
                    totals[out, component] = self._add(totals.get((out, component)), product)
        for n, (components, is_written) in enumerate(self._program.outs, self._program.num_operands):
            for component in range(components):
                total = totals.get((n, component))
                pointer = self._pointer(n, component)
                if total is None and is_written:
                    total = self._vector(None)
                elif total is not None and not is_written:
                    total = self._add(self._builder.load(pointer, align=self._item), total)
                if total is not None:
                    self._builder.store(total, pointer, align=self._item)

    def _sum(self, left: int, right: int, start: int, stop: int) -> Any:
        """Return a sum over entries; their sizes multiply once what several have in common."""
        total: Any = None
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
                total = self._builder.fsub(total, product, flags=FLAGS)
        return total

    def _scale(self, n: int, component: int, size: float) -> Any:
        key = n, component, size
        if key not in self._scaled:
            factor = ir.Constant(self._vector, [size] * self._vector.count)
            self._scaled[key] = self._multiply(self._load(n, component), factor)
        return self._scaled[key]

    def _load(self, n: int, component: int) -> Any:
        key = n, component
        if key not in self._loaded:
            self._loaded[key] = self._builder.load(self._pointer(n, component), align=self._item)
        return self._loaded[key]

    def _pointer(self, n: int, component: int) -> Any:
        offset = self._builder.mul(self._pitch, INT(component))
        return self._builder.inttoptr(self._builder.add(self._begins[n], offset), self._vector.as_pointer())

    def _multiply(self, a: Any, b: Any) -> Any:
        return self._builder.fmul(a, b, flags=FLAGS)

    def _add(self, a: Any, b: Any) -> Any:
        return b if a is None else self._builder.fadd(a, b, flags=FLAGS)
