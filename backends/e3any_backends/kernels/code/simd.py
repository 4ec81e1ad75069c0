"""Vectors as values in kernels: they have the operators of numbers and stay in registers.

In a kernel ``store(out, 0, load(x, 0) * load(y, 0) + 1.0)`` takes four instructions. A loop over the same arrays would
check first that they do not overlap, and would keep sums in memory. The type is an extension of numba:
https://numba.readthedocs.io/en/stable/extending/low-level.html. Vectors are those of LLVM:
https://llvm.org/docs/LangRef.html#vector-type.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from e3any_backends.kernels.code.jit import FAST_MATH
from e3any_backends.kernels.code.structures import INT

__all__ = ["BYTES", "absolute", "any_less", "clear", "exact_product", "filled", "horizontal_sum", "load"]
__all__ += ["load_columns", "load_like", "load_number", "load_pair", "load_triples", "select_less", "splat"]
__all__ += ["square_root", "store", "store_columns", "store_triples"]

#: Bytes of a vector: one register of AVX-512, two of AVX2, four of Neon.
BYTES = 64
#: Columns of a matrix that are read and written together.
COLUMNS = 4


class Vector(types.Type):  # type: ignore[misc, unused-ignore]
    """The type of vectors of ``num * BYTES`` bytes of a floating-point type."""

    def __init__(self, dtype: Any, num: int = 1) -> None:
        self.dtype = dtype
        self.count = num * BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {num})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """Values are LLVM vectors."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager.lookup(vector.dtype).get_value_type(), vector.count))


# -- arithmetic ---------------------------------------------------------------------------------------------


def _repeated(context: Any, builder: Any, vector: Vector, type_: Any, value: Any) -> Any:
    """Return a vector as it is, and a number as a vector of copies."""
    if type_ == vector:
        return value
    number = context.cast(builder, value, type_, vector.dtype)
    return splat(builder, number, context.get_value_type(vector))


def splat(builder: Any, number: Any, vector: Any) -> Any:
    """Return a vector of copies of a number, in LLVM IR."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, _mask([0] * vector.count))


def _mask(positions: list[int]) -> Any:
    """Return the positions that ``shufflevector`` takes: https://llvm.org/docs/LangRef.html#shufflevector-instruction."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(positions)), positions)


def _define_operator(function: Any, instruction: str) -> None:
    """Define an operator for two vectors, and for a vector and a number."""

    def typed(typing_context: Any, a: Any, b: Any) -> Any:
        vector = a if isinstance(a, Vector) else b

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            operands = [_repeated(context, builder, vector, *pair) for pair in zip(signature.args, values, strict=True)]
            return getattr(builder, instruction)(*operands, flags=FAST_MATH)

        return vector(a, b), emit

    calculate: Any = intrinsic(typed)

    def chosen(a: Any, b: Any) -> Any:
        return (lambda a, b: calculate(a, b)) if isinstance(a, Vector) or isinstance(b, Vector) else None

    overload(function, strict=False)(chosen)  # strict would compare annotations


_define_operator(operator.add, "fadd")
_define_operator(operator.iadd, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _function(name: str) -> Any:
    """Return an LLVM intrinsic of one vector as a function."""

    def calculate(typing_context: Any, a: Vector) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            (value,) = values
            full_name = f"{name}.v{a.count}{value.type.element.intrinsic_name}"
            function_type = ir.FunctionType(value.type, [value.type])
            return builder.call(cgutils.get_or_insert_function(builder.module, function_type, full_name), [value])

        return a(a), emit

    return intrinsic(calculate)


#: Return the absolute values, and the square roots, of a vector.
absolute, square_root = _function("llvm.fabs"), _function("llvm.sqrt")


def horizontal_sum(builder: Any, vector: Any) -> Any:
    """Return the sum of the elements of a vector, in any order, in LLVM IR."""
    number = vector.type.element
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}{number.intrinsic_name}"
    function_type = ir.FunctionType(number, [number, vector.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [number(0.0), vector], fastmath=FAST_MATH)


def _filled(typing_context: Any, like: Vector, number: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _repeated(context, builder, like, number, values[1])

    return like(like, number), emit


#: Return a vector of copies of a number, of the type of another vector.
filled: Any = intrinsic(_filled)


def _select_less(typing_context: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    arguments = a, b, then, otherwise
    vector = next(t for t in arguments if isinstance(t, Vector))

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, b, *choice = (
            _repeated(context, builder, vector, *pair) for pair in zip(signature.args, values, strict=True)
        )
        return builder.select(builder.fcmp_ordered("<", a, b), *choice)

    return vector(*arguments), emit


#: Return the third argument where the first is less than the second, the fourth elsewhere.
select_less: Any = intrinsic(_select_less)


def _any_less(typing_context: Any, a: Vector, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        less = builder.fcmp_ordered("<", values[0], _repeated(context, builder, a, b, values[1]))
        bits = builder.bitcast(less, ir.IntType(a.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(a, b), emit


#: Return whether an element of a vector is less than a number.
any_less: Any = intrinsic(_any_less)


def _exact_product(typing_context: Any, a: Vector, factor: Vector) -> Any:
    info = np.finfo(a.dtype.name)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number, factor = values
        integer = ir.VectorType(ir.IntType(a.dtype.bitwidth), a.count)

        def repeated(type_: Any, value: Any) -> Any:
            return ir.Constant(type_, [value] * a.count)

        # A subnormal number is n eps times the smallest normal one, where n is the integer of its bits, and 1 + n eps
        # has these bits and the exponent of 1. Without flags: no terms are rearranged.
        bits = builder.bitcast(number, integer)
        size = builder.and_(bits, repeated(integer, 2 ** (a.dtype.bitwidth - 1) - 1))
        above_one = builder.or_(size, repeated(integer, (info.maxexp - 1) << info.nmant))
        n_eps = builder.fsub(builder.bitcast(above_one, number.type), repeated(number.type, 1.0))
        smallest = builder.fmul(factor, repeated(number.type, float(info.smallest_normal)))
        product = builder.bitcast(builder.fmul(n_eps, smallest), integer)
        signed = builder.bitcast(builder.or_(product, builder.xor(bits, size)), number.type)
        is_subnormal = builder.icmp_unsigned("<", size, repeated(integer, 1 << info.nmant))
        return builder.select(is_subnormal, signed, builder.fmul(number, factor))

    return a(a, factor), emit


#: Multiply by positive factors, also subnormal numbers where the processor counts these as zero, as XLA tells it to.
exact_product: Any = intrinsic(_exact_product)


# -- memory -------------------------------------------------------------------------------------------------


class _Memory:
    """The elements of a contiguous array from a position on, whatever its axes."""

    def __init__(self, context: Any, builder: Any, type_: Any, array: Any, position: Any) -> None:
        self._builder = builder
        self._data = builder.gep(context.make_array(type_)(context, builder, value=array).data, [position])
        self._item = context.get_abi_sizeof(self._data.type.pointee)

    def _pointer(self, offset: Any, count: int) -> Any:
        vector = ir.VectorType(self._data.type.pointee, count)
        return self._builder.bitcast(self._builder.gep(self._data, [offset]), vector.as_pointer())

    def load(self, offset: Any, count: int) -> Any:
        """Return so many elements from an offset on."""
        return self._builder.load(self._pointer(offset, count), align=self._item)

    def store(self, offset: Any, value: Any) -> None:
        """Write a vector from an offset on."""
        self._builder.store(value, self._pointer(offset, value.type.count), align=self._item)


def _offset(elements: int) -> Any:
    return INT(elements)


def _load(typing_context: Any, array: Any, position: Any) -> Any:
    return _loading(Vector(array.dtype), array, types.intp)


def _load_pair(typing_context: Any, array: Any, position: Any) -> Any:
    return _loading(Vector(array.dtype, 2), array, types.intp)


def _load_like(typing_context: Any, like: Vector, array: Any, position: Any) -> Any:
    return _loading(like, like, array, types.intp)


def _loading(vector: Vector, *arguments: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _Memory(context, builder, arguments[-2], *values[-2:]).load(_offset(0), vector.count)

    return vector(*arguments), emit


#: Return the vector of the elements of an array from a position on.
load: Any = intrinsic(_load)
#: Return two vectors as one.
load_pair: Any = intrinsic(_load_pair)
#: Return a vector of the type of another vector.
load_like: Any = intrinsic(_load_like)


def _store(typing_context: Any, array: Any, position: Any, value: Vector) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _Memory(context, builder, array, *values[:2]).store(_offset(0), values[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


#: Write a vector to an array, from a position on.
store: Any = intrinsic(_store)


def _load_number(typing_context: Any, array: Any, position: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, value=values[0]).data
        return builder.load(builder.gep(data, values[1:]))

    return array.dtype(array, types.intp), emit


#: Return one element of a contiguous array, whatever its axes.
load_number: Any = intrinsic(_load_number)


def _clear(typing_context: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers = context.make_array(array)(context, builder, value=values[0])
        cgutils.memset(builder, numbers.data, builder.mul(numbers.nitems, numbers.itemsize), 0)
        return context.get_dummy_value()

    return types.void(array), emit


#: Fill a contiguous array with zeros. ``array[:] = 0`` would take numba a second to compile.
clear: Any = intrinsic(_clear)


def _selected(builder: Any, vectors: list[Any], positions: list[int]) -> Any:
    """Return the elements at some positions of three vectors, counted through all three."""
    a, b, c = vectors
    count = a.type.count
    # An instruction takes two vectors: first a and b, then the result and c.
    inner = builder.shuffle_vector(a, b, _mask([p if p < 2 * count else 0 for p in positions]))
    outer = [p - count if p >= 2 * count else n for n, p in enumerate(positions)]
    return builder.shuffle_vector(inner, c, _mask(outer))


def _load_triples(typing_context: Any, array: Any, position: Any) -> Any:
    vector = Vector(array.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, count = _Memory(context, builder, array, *values), vector.count
        rows = [memory.load(_offset(n * count), count) for n in range(3)]
        columns = [_selected(builder, rows, [3 * n + i for n in range(count)]) for i in range(3)]
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, 3)(array, types.intp), emit


#: Return x, y and z of as many triples ``xyzxyz...`` as a vector has elements.
load_triples: Any = intrinsic(_load_triples)


def _store_triples(typing_context: Any, array: Any, position: Any, x: Vector, y: Vector, z: Vector) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, count = _Memory(context, builder, array, *values[:2]), x.count
        for row in range(3):
            elements = range(row * count, (row + 1) * count)
            value = _selected(builder, values[2:], [n % 3 * count + n // 3 for n in elements])
            memory.store(_offset(row * count), value)
        return context.get_dummy_value()

    return types.void(array, types.intp, x, y, z), emit


#: Write triples, the reverse of :func:`load_triples`.
store_triples: Any = intrinsic(_store_triples)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Transpose 4 x 4 matrices that lie side by side in four vectors.

    AVX shuffles within 128 bits in one cycle, and takes three across: https://uops.info/table.html. So elements stay
    in their quarter of a register (for float32).
    """
    count = vectors[0].type.count

    def merged(p: Any, q: Any, positions: tuple[int, ...]) -> Any:
        return builder.shuffle_vector(p, q, _mask([s + k for s in range(0, count, COLUMNS) for k in positions]))

    a, b, c, d = vectors
    result = []
    for k in (0, 2):
        left, right = (merged(p, q, (k, count + k, k + 1, count + k + 1)) for p, q in ((a, b), (c, d)))
        result += [merged(left, right, (h, h + 1, count + h, count + h + 1)) for h in (0, 2)]
    return result


def _concatenated(builder: Any, vectors: list[Any]) -> Any:
    """Concatenate vectors, a power of two of them."""
    while len(vectors) > 1:
        mask = _mask(list(range(2 * vectors[0].type.count)))
        vectors = [builder.shuffle_vector(*vectors[n : n + 2], mask) for n in range(0, len(vectors), 2)]
    return vectors[0]


def _row_offsets(builder: Any, row_stride: Any, count: int) -> list[list[Any]]:
    """Return the offsets of rows, for each of four vectors: vector j has the rows j, j + 4, j + 8, ... side by side."""
    return [[builder.mul(row_stride, _offset(n)) for n in range(j, count, COLUMNS)] for j in range(COLUMNS)]


def _load_columns(typing_context: Any, array: Any, position: Any, row_stride: Any) -> Any:
    vector = Vector(array.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory = _Memory(context, builder, array, *values[:2])
        offsets = _row_offsets(builder, values[2], vector.count)
        rows = [_concatenated(builder, [memory.load(o, COLUMNS) for o in group]) for group in offsets]
        columns = _transposed(builder, rows)
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, COLUMNS)(array, types.intp, types.intp), emit


#: Return four columns of as many rows as a vector has elements. Rows are ``row_stride`` elements apart.
load_columns: Any = intrinsic(_load_columns)


def _store_columns(
    typing_context: Any, array: Any, position: Any, row_stride: Any, a: Vector, b: Vector, c: Vector, d: Vector
) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory = _Memory(context, builder, array, *values[:2])
        offsets = _row_offsets(builder, values[2], a.count)
        for group, vector in zip(offsets, _transposed(builder, values[3:]), strict=True):
            for n, offset in enumerate(group):
                mask = _mask(list(range(n * COLUMNS, (n + 1) * COLUMNS)))
                memory.store(offset, builder.shuffle_vector(vector, vector, mask))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, a, b, c, d), emit


#: Write four columns, the reverse of :func:`load_columns`.
store_columns: Any = intrinsic(_store_columns)
