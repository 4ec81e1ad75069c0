"""Vectors as values in kernels: they have the operators of numbers and stay in registers.

In a kernel ``store(out, 0, load(x, 0) * load(y, 0) + 1.0)`` takes four instructions. A loop over the same arrays would
check first that they do not overlap, and would keep sums in memory. The type is an extension of numba:
https://numba.readthedocs.io/en/stable/extending/low-level.html. Vectors are those of LLVM:
https://llvm.org/docs/LangRef.html#vector-type.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import FAST_MATH
from e3any_backends.kernels.code.structures import INT

if TYPE_CHECKING:
    from numba.core.datamodel.manager import DataModelManager

    from e3any_backends.kernels.code.annotations import Context, CPUContext, FloatArray, Signature, Typed, Values

__all__ = ["BYTES", "Memory", "Vector", "absolute", "any_less", "clear", "exact_product", "filled", "horizontal_sum"]
__all__ += ["load", "load_like", "load_number", "load_pair", "select_less", "shuffle_mask", "splat", "square_root"]
__all__ += ["store"]

#: Bytes of a vector: one register of AVX-512, two of AVX2, four of Neon.
BYTES = 64


class Vector(types.Type):  # type: ignore[misc, unused-ignore]
    """The type of vectors of ``num * BYTES`` bytes of a floating-point type."""

    def __init__(self, dtype: types.Float, num: int = 1) -> None:
        self.dtype = dtype
        self.count = num * BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {num})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """Values are LLVM vectors."""

    def __init__(self, manager: DataModelManager, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager.lookup(vector.dtype).get_value_type(), vector.count))


# -- arithmetic ---------------------------------------------------------------------------------------------


def _repeated(
    context: CPUContext, builder: ir.IRBuilder, vector: Vector, type_: types.Type, value: ir.Value
) -> ir.Value:
    """Return a vector as it is, and a number as a vector of copies."""
    if type_ == vector:
        return value
    number = context.cast(builder, value, type_, vector.dtype)
    return splat(builder, number, context.get_value_type(vector))


def splat(builder: ir.IRBuilder, number: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Return a vector of copies of a number, in LLVM IR."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, shuffle_mask([0] * vector.count))


def shuffle_mask(positions: list[int]) -> ir.Constant:
    """Return the positions that ``shufflevector`` takes: https://llvm.org/docs/LangRef.html#shufflevector-instruction."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(positions)), positions)


def _define_operator(function: Callable[..., object], instruction: str) -> None:
    """Define an operator for two vectors, and for a vector and a number."""

    def typed(typing_context: Context, a: types.Type, b: types.Type) -> Typed:
        vector = next(t for t in (a, b) if isinstance(t, Vector))

        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
            operands = [_repeated(context, builder, vector, *pair) for pair in zip(signature.args, values, strict=True)]
            return getattr(builder, instruction)(*operands, flags=FAST_MATH)

        return vector(a, b), emit

    calculate: Callable[..., Array] = intrinsic(typed)

    def chosen(a: types.Type, b: types.Type) -> Callable[..., Array] | None:
        return (lambda a, b: calculate(a, b)) if isinstance(a, Vector) or isinstance(b, Vector) else None

    overload(function, strict=False)(chosen)  # strict would compare annotations


_define_operator(operator.add, "fadd")
_define_operator(operator.iadd, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _function(name: str) -> Callable[[Array], Array]:
    """Return an LLVM intrinsic of one vector as a function."""

    def calculate(typing_context: Context, a: Vector) -> Typed:
        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
            (value,) = values
            full_name = f"{name}.v{a.count}{value.type.element.intrinsic_name}"
            function_type = ir.FunctionType(value.type, [value.type])
            return builder.call(cgutils.get_or_insert_function(builder.module, function_type, full_name), [value])

        return a(a), emit

    function: Callable[[Array], Array] = intrinsic(calculate)
    return function


#: Return the absolute values, and the square roots, of a vector.
absolute, square_root = _function("llvm.fabs"), _function("llvm.sqrt")


def horizontal_sum(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Return the sum of the elements of a vector, in any order, in LLVM IR."""
    number = vector.type.element
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}{number.intrinsic_name}"
    function_type = ir.FunctionType(number, [number, vector.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [number(0.0), vector], fastmath=FAST_MATH)


def _filled(typing_context: Context, like: Vector, number: types.Type) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        return _repeated(context, builder, like, number, values[1])

    return like(like, number), emit


#: Return a vector of copies of a number, of the type of another vector.
filled: Callable[[Array, Array], Array] = intrinsic(_filled)


def _select_less(
    typing_context: Context, a: types.Type, b: types.Type, then: types.Type, otherwise: types.Type
) -> Typed:
    arguments = a, b, then, otherwise
    vector = next(t for t in arguments if isinstance(t, Vector))

    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        a, b, *choice = (
            _repeated(context, builder, vector, *pair) for pair in zip(signature.args, values, strict=True)
        )
        return builder.select(builder.fcmp_ordered("<", a, b), *choice)

    return vector(*arguments), emit


#: Return the third argument where the first is less than the second, the fourth elsewhere.
select_less: Callable[[Array, Array, Array, Array], Array] = intrinsic(_select_less)


def _any_less(typing_context: Context, a: Vector, b: types.Type) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        less = builder.fcmp_ordered("<", values[0], _repeated(context, builder, a, b, values[1]))
        bits = builder.bitcast(less, ir.IntType(a.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(a, b), emit


#: Return whether an element of a vector is less than a number.
any_less: Callable[[Array, Array], bool] = intrinsic(_any_less)


def _exact_product(typing_context: Context, a: Vector, factor: Vector) -> Typed:
    info = np.finfo(a.dtype.name)

    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        number, factor = values
        integer = ir.VectorType(ir.IntType(a.dtype.bitwidth), a.count)

        def repeated(type_: ir.VectorType, value: float) -> ir.Constant:
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
exact_product: Callable[[Array, Array], Array] = intrinsic(_exact_product)


# -- memory -------------------------------------------------------------------------------------------------


class Memory:
    """The elements of a contiguous array from a position on, whatever its axes."""

    def __init__(
        self, context: CPUContext, builder: ir.IRBuilder, type_: FloatArray, array: ir.Value, position: ir.Value
    ) -> None:
        self._builder = builder
        self._data = builder.gep(context.make_array(type_)(context, builder, value=array).data, [position])
        self._item = context.get_abi_sizeof(self._data.type.pointee)

    def _pointer(self, offset: ir.Value, count: int) -> ir.Value:
        vector = ir.VectorType(self._data.type.pointee, count)
        return self._builder.bitcast(self._builder.gep(self._data, [offset]), vector.as_pointer())

    def load(self, offset: ir.Value, count: int) -> ir.Value:
        """Return so many elements from an offset on."""
        return self._builder.load(self._pointer(offset, count), align=self._item)

    def store(self, offset: ir.Value, value: ir.Value) -> None:
        """Write a vector from an offset on."""
        self._builder.store(value, self._pointer(offset, value.type.count), align=self._item)


def _load(typing_context: Context, array: FloatArray, position: types.Integer) -> Typed:
    return _loading(Vector(array.dtype), array)


def _load_pair(typing_context: Context, array: FloatArray, position: types.Integer) -> Typed:
    return _loading(Vector(array.dtype, 2), array)


def _load_like(typing_context: Context, like: Vector, array: FloatArray, position: types.Integer) -> Typed:
    return _loading(like, array, like)


def _loading(vector: Vector, array: FloatArray, *like: Vector) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        return Memory(context, builder, array, *values[-2:]).load(INT(0), vector.count)

    return vector(*like, array, types.intp), emit


#: Return the vector of the elements of an array from a position on.
load: Callable[[Array, int], Array] = intrinsic(_load)
#: Return two vectors as one.
load_pair: Callable[[Array, int], Array] = intrinsic(_load_pair)
#: Return a vector of the type of another vector.
load_like: Callable[[Array, Array, int], Array] = intrinsic(_load_like)


def _store(typing_context: Context, array: FloatArray, position: types.Integer, value: Vector) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        Memory(context, builder, array, *values[:2]).store(INT(0), values[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


#: Write a vector to an array, from a position on.
store: Callable[[Array, int, Array], None] = intrinsic(_store)


def _load_number(typing_context: Context, array: FloatArray, position: types.Integer) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        data = context.make_array(array)(context, builder, value=values[0]).data
        return builder.load(builder.gep(data, values[1:]))

    return array.dtype(array, types.intp), emit


#: Return one element of a contiguous array, whatever its axes.
load_number: Callable[[Array, int], Array] = intrinsic(_load_number)


def _clear(typing_context: Context, array: FloatArray) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        numbers = context.make_array(array)(context, builder, value=values[0])
        cgutils.memset(builder, numbers.data, builder.mul(numbers.nitems, numbers.itemsize), 0)
        return context.get_dummy_value()

    return types.void(array), emit


#: Fill a contiguous array with zeros. ``array[:] = 0`` would take numba a second to compile.
clear: Callable[[Array], None] = intrinsic(_clear)
