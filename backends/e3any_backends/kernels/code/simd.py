"""Vectors of numbers as values in kernels: they have the operators of numbers and stay in registers.

Loops over arrays, in contrast, check before they start that the arrays do not overlap, and keep what they compute in
memory.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

__all__ = ["BYTES", "absolute", "clear", "filled", "load", "load_columns", "load_like", "load_number", "load_pair"]
__all__ += ["load_triples", "repeated_number", "select_less", "square_root", "store", "store_columns"]
__all__ += ["store_triples", "sum_of_numbers"]

#: Bytes of a vector: one register of AVX-512, two of AVX2, four of Neon.
BYTES = 64
#: Columns of a matrix that are read and written together.
COLUMNS = 4

_FLAGS = ("contract", "reassoc", "nsz")


class Vector(types.Type):  # type: ignore[misc, unused-ignore]
    """The type of vectors of a floating-point type, or of several such put together."""

    def __init__(self, dtype: Any, num: int = 1) -> None:
        self.dtype = dtype
        self.count = num * BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {num})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """How values are held: as vectors of LLVM."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager.lookup(vector.dtype).get_value_type(), vector.count))


# -- arithmetic ---------------------------------------------------------------------------------------------


def _repeated(context: Any, builder: Any, vector: Vector, type_: Any, value: Any) -> Any:
    """Return a value as a vector: a number is repeated."""
    if type_ == vector:
        return value
    number = context.cast(builder, value, type_, vector.dtype)
    return repeated_number(builder, number, context.get_value_type(vector))


def repeated_number(builder: Any, number: Any, vector: Any) -> Any:
    """Return a vector of one number, in the language of LLVM."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, _places([0] * vector.count))


def _places(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


def _define_operator(function: Any, instruction: str) -> None:
    """Let an operator take vectors, and numbers beside them."""

    def typed(typing_context: Any, a: Any, b: Any) -> Any:
        vector = a if isinstance(a, Vector) else b

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            operands = [_repeated(context, builder, vector, *pair) for pair in zip(signature.args, values, strict=True)]
            return getattr(builder, instruction)(*operands, flags=_FLAGS)

        return vector(a, b), emit

    calculate: Any = intrinsic(typed)

    def chosen(a: Any, b: Any) -> Any:
        return (lambda a, b: calculate(a, b)) if isinstance(a, Vector) or isinstance(b, Vector) else None

    overload(function, strict=False)(chosen)  # else numba compares annotations


_define_operator(operator.add, "fadd")
_define_operator(operator.iadd, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _function(name: str) -> Any:
    """Return a function of one vector that LLVM has."""

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


def sum_of_numbers(builder: Any, vector: Any) -> Any:
    """Return the sum of the numbers of a vector, in any order, in the language of LLVM."""
    number = vector.type.element
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}{number.intrinsic_name}"
    function_type = ir.FunctionType(number, [number, vector.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [number(0.0), vector], fastmath=_FLAGS)


def _filled(typing_context: Any, like: Vector, number: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _repeated(context, builder, like, number, values[1])

    return like(like, number), emit


#: Return a vector of one number, of the type of another vector.
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


# -- memory -------------------------------------------------------------------------------------------------


class _Memory:
    """The numbers of a contiguous array from a position on."""

    def __init__(self, context: Any, builder: Any, type_: Any, array: Any, position: Any) -> None:
        self._builder = builder
        self._data = builder.gep(context.make_array(type_)(context, builder, value=array).data, [position])
        self._item = context.get_abi_sizeof(self._data.type.pointee)

    def _pointer(self, offset: Any, count: int) -> Any:
        vector = ir.VectorType(self._data.type.pointee, count)
        return self._builder.bitcast(self._builder.gep(self._data, [offset]), vector.as_pointer())

    def load(self, offset: Any, count: int) -> Any:
        """Return so many numbers from an offset on."""
        return self._builder.load(self._pointer(offset, count), align=self._item)

    def store(self, offset: Any, value: Any) -> None:
        """Write a vector from an offset on."""
        self._builder.store(value, self._pointer(offset, value.type.count), align=self._item)


def _offset(number: int) -> Any:
    return ir.IntType(64)(number)


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


#: Return the vector of an array's numbers from a position on.
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


#: Return the one number that an array has at a position, whatever its axes.
load_number: Any = intrinsic(_load_number)


def _clear(typing_context: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers = context.make_array(array)(context, builder, value=values[0])
        cgutils.memset(builder, numbers.data, builder.mul(numbers.nitems, numbers.itemsize), 0)
        return context.get_dummy_value()

    return types.void(array), emit


#: Fill a contiguous array with zeros; an assignment would take numba a second to compile.
clear: Any = intrinsic(_clear)


def _chosen(builder: Any, vectors: list[Any], places: list[int]) -> Any:
    """Return a vector of the numbers at some places of three vectors put together."""
    a, b, c = vectors
    count = a.type.count
    inner = builder.shuffle_vector(a, b, _places([p if p < 2 * count else 0 for p in places]))
    outer = [p - count if p >= 2 * count else n for n, p in enumerate(places)]
    return builder.shuffle_vector(inner, c, _places(outer))


def _load_triples(typing_context: Any, array: Any, position: Any) -> Any:
    vector = Vector(array.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, count = _Memory(context, builder, array, *values), vector.count
        rows = [memory.load(_offset(n * count), count) for n in range(3)]
        columns = [_chosen(builder, rows, [3 * n + i for n in range(count)]) for i in range(3)]
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, 3)(array, types.intp), emit


#: Return the three columns of as many rows of three numbers as a vector is long.
load_triples: Any = intrinsic(_load_triples)


def _store_triples(typing_context: Any, array: Any, position: Any, x: Vector, y: Vector, z: Vector) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, count = _Memory(context, builder, array, *values[:2]), x.count
        for part in range(3):
            numbers = range(part * count, (part + 1) * count)
            row = _chosen(builder, values[2:], [n % 3 * count + n // 3 for n in numbers])
            memory.store(_offset(part * count), row)
        return context.get_dummy_value()

    return types.void(array, types.intp, x, y, z), emit


#: Write three columns, the reverse of :func:`load_triples`.
store_triples: Any = intrinsic(_store_triples)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Transpose squares side by side, as processors do within parts of a register."""
    count = vectors[0].type.count

    def merged(p: Any, q: Any, places: tuple[int, ...]) -> Any:
        return builder.shuffle_vector(p, q, _places([s + k for s in range(0, count, COLUMNS) for k in places]))

    a, b, c, d = vectors
    result = []
    for k in (0, 2):
        left, right = (merged(p, q, (k, count + k, k + 1, count + k + 1)) for p, q in ((a, b), (c, d)))
        result += [merged(left, right, (h, h + 1, count + h, count + h + 1)) for h in (0, 2)]
    return result


def _joined(builder: Any, parts: list[Any]) -> Any:
    """Put vectors, a power of two of them, one after the other."""
    while len(parts) > 1:
        places = _places(list(range(2 * parts[0].type.count)))
        parts = [builder.shuffle_vector(*parts[n : n + 2], places) for n in range(0, len(parts), 2)]
    return parts[0]


def _rows(builder: Any, pitch: Any, count: int) -> list[list[Any]]:
    """Return the offsets of rows: those that one vector of :func:`_transposed` has side by side."""
    return [[builder.mul(pitch, _offset(n)) for n in range(j, count, COLUMNS)] for j in range(COLUMNS)]


def _load_columns(typing_context: Any, array: Any, position: Any, pitch: Any) -> Any:
    vector = Vector(array.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory = _Memory(context, builder, array, *values[:2])
        rows = [[memory.load(o, COLUMNS) for o in offsets] for offsets in _rows(builder, values[2], vector.count)]
        columns = _transposed(builder, [_joined(builder, parts) for parts in rows])
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, COLUMNS)(array, types.intp, types.intp), emit


#: Return four columns of a matrix whose rows are ``pitch`` numbers apart.
load_columns: Any = intrinsic(_load_columns)


def _store_columns(
    typing_context: Any, array: Any, position: Any, pitch: Any, a: Vector, b: Vector, c: Vector, d: Vector
) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory = _Memory(context, builder, array, *values[:2])
        offsets = _rows(builder, values[2], a.count)
        for row, vector in zip(offsets, _transposed(builder, values[3:]), strict=True):
            for part, offset in enumerate(row):
                places = _places(list(range(part * COLUMNS, (part + 1) * COLUMNS)))
                memory.store(offset, builder.shuffle_vector(vector, vector, places))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, a, b, c, d), emit


#: Write four columns, the reverse of :func:`load_columns`.
store_columns: Any = intrinsic(_store_columns)
