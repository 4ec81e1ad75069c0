r"""Contractions as loops over tables, in LLVM IR: :math:`z_k \mathrel{+}= w_p \sum_e c_e\, a_{i(e)} b_{j(e)}`.

A group (k, p) of entries e is one sum, which stays in registers. A loop that numba compiles would keep it in memory,
and would check first that arrays do not overlap. The instructions are described in
https://llvm.org/docs/LangRef.html. Tables are those of :class:`~e3any_backends.kernels.contraction.Schedule`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from e3any_backends.kernels.code.jit import FAST_MATH
from e3any_backends.kernels.code.simd import splat

if TYPE_CHECKING:
    from e3any_backends.kernels.code.annotations import Context, CPUContext, Signature, Typed, UniTuple, Values

__all__ = ["VECTOR_BYTES", "add_factors", "add_products", "add_two_factors", "add_two_products"]

#: Size of the vectors: several registers each, as an addition to one need not wait for that to another.
VECTOR_BYTES = 128


def _sums(has_two_factors: bool, num: int) -> Callable[..., None]:
    """Return a function that computes sums for one or two vectors at once, which share the reads of tables."""

    def add(
        typing_context: Context,
        pointers: UniTuple,
        steps: UniTuple,
        component_bytes: types.Integer,
        groups: types.Array,
        columns: types.Array,
        coefficients: types.Array,
        start: types.Integer,
        stop: types.Integer,
    ) -> Typed:
        tables = groups, columns, coefficients
        return types.void(pointers, steps, types.intp, *tables, types.intp, types.intp), _Emitter(has_two_factors, num)

    function: Callable[..., None] = intrinsic(add)
    return function


#: Add sums of products of two factors: ``add_products(pointers, steps, component_bytes, *tables, start, stop)``.
#:
#: ===================  ==========================================================================
#: ``pointers``         the addresses of z, w, a and b
#: ``steps``            bytes from the first vector to the second, in each of these
#: ``component_bytes``  bytes from one component to the next
#: three tables         groups, columns and coefficients
#: ``start, stop``      which groups
#: ===================  ==========================================================================
add_products, add_two_products = _sums(True, 1), _sums(True, 2)
#: Add sums of the factor ``a`` alone.
add_factors, add_two_factors = _sums(False, 1), _sums(False, 2)


class _Emitter:
    """Writer of the instructions for one or two vectors, with one factor ``a`` or two."""

    def __init__(self, has_two_factors: bool, num: int) -> None:
        self._has_two_factors = has_two_factors
        self._num = num

    def __call__(self, context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        """Write two loops: over groups, and over the entries of each."""
        addresses, steps, component_bytes, *tables, start, stop = arguments
        groups, columns, coefficients = (
            context.make_array(type_)(context, builder, value=table).data
            for type_, table in zip(signature.args[3:6], tables, strict=True)
        )
        number = context.get_value_type(signature.args[5].dtype)
        item = context.get_abi_sizeof(number)
        vector = ir.VectorType(number, VECTOR_BYTES // item)
        intp = component_bytes.type
        first = [builder.extract_value(addresses, n) for n in range(4)]
        step = [builder.extract_value(steps, n) for n in range(4)]
        bases = [first] + [[builder.add(p, s) for p, s in zip(first, step, strict=True)]] * (self._num - 1)

        def entry(table: ir.Value, position: ir.Value, column: int) -> ir.Value:
            value = builder.load(builder.gep(table, [builder.add(position, intp(column))]))
            return value if value.type in (intp, number) else builder.zext(value, intp)

        def pointers(which: int, component: ir.Value) -> list[ir.Value]:
            offset = builder.mul(component, component_bytes)
            return [builder.inttoptr(builder.add(base[which], offset), vector.as_pointer()) for base in bases]

        def load(which: int, component: ir.Value) -> list[ir.Value]:
            return [builder.load(pointer, align=item) for pointer in pointers(which, component)]

        def multiply(x: ir.Value, y: ir.Value) -> ir.Value:
            return builder.fmul(x, y, flags=FAST_MATH)

        def add(x: ir.Value, y: ir.Value) -> ir.Value:
            return builder.fadd(x, y, flags=FAST_MATH)

        totals = [cgutils.alloca_once(builder, vector) for _ in bases]
        with cgutils.for_range_slice(builder, start, stop, intp(1), intp) as (group, _):
            row = builder.mul(group, intp(4))
            for total in totals:
                builder.store(vector(None), total)
            begin, end = entry(groups, row, 2), entry(groups, row, 3)
            with cgutils.for_range_slice(builder, begin, end, intp(1), intp) as (e, _):
                position = builder.mul(e, intp(2))
                coefficient = splat(builder, entry(coefficients, e, 0), vector)
                products = [multiply(coefficient, a) for a in load(2, entry(columns, position, 0))]
                if self._has_two_factors:
                    products = list(map(multiply, products, load(3, entry(columns, position, 1))))
                for total, product in zip(totals, products, strict=True):
                    builder.store(add(builder.load(total), product), total)
            outs, scales = pointers(0, entry(groups, row, 0)), load(1, entry(groups, row, 1))
            # Loaded after the store before: both vectors can be the same.
            for total, out, scale in zip(totals, outs, scales, strict=True):
                product = multiply(scale, builder.load(total))
                builder.store(add(builder.load(out, align=item), product), out, align=item)
        return context.get_dummy_value()
