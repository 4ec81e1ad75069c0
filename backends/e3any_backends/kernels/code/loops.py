r"""Sums of products of vectors, in the language of LLVM.

Loops of numba over arrays check before they start that the arrays do not overlap, and keep sums in memory. Here a
sum stays in registers: :math:`z_k \mathrel{+}= w_p \sum_e c_e\, a_{i(e)} b_{j(e)}` for every group (k, p) of entries e.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from e3any_backends.kernels.code.simd import repeated_number

__all__ = ["VECTOR_BYTES", "add_factors", "add_products", "add_two_factors", "add_two_products"]

#: Size of the vectors: a few registers, so that additions need not wait for those before.
VECTOR_BYTES = 128

_FLAGS = ("contract", "reassoc", "nsz")


def _sums(has_two_factors: bool, num: int) -> Any:
    """Return an instruction that adds sums at so many places at once, which share what is read from tables."""

    def add(
        typing_context: Any,
        places: Any,
        steps: Any,
        pitch: Any,
        groups: Any,
        columns: Any,
        coefficients: Any,
        start: Any,
        stop: Any,
    ) -> Any:
        tables = groups, columns, coefficients
        return types.void(places, steps, types.intp, *tables, types.intp, types.intp), _Emitter(has_two_factors, num)

    return intrinsic(add)


#: Add sums of products of two factors. The arguments are the addresses of z, w, a and b, how far the second place is
#: away from the first for each, the bytes between components, three tables of a schedule, and groups from and to.
add_products, add_two_products = _sums(True, 1), _sums(True, 2)
#: Add sums of the factor ``a`` alone.
add_factors, add_two_factors = _sums(False, 1), _sums(False, 2)


class _Emitter:
    """Write the program of a signature.

    Parameters
    ----------
    has_two_factors : bool
        Whether sums are over products.
    num : int
        Number of places.
    """

    def __init__(self, has_two_factors: bool, num: int) -> None:
        self._has_two_factors = has_two_factors
        self._num = num

    def __call__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        """Write both loops, over groups and over their entries."""
        places, steps, pitch, *tables, start, stop = arguments
        groups, columns, coefficients = (
            context.make_array(type_)(context, builder, value=table).data
            for type_, table in zip(signature.args[3:6], tables, strict=True)
        )
        number = context.get_value_type(signature.args[5].dtype)
        item = context.get_abi_sizeof(number)
        vector = ir.VectorType(number, VECTOR_BYTES // item)
        intp = pitch.type
        first = [builder.extract_value(places, n) for n in range(4)]
        step = [builder.extract_value(steps, n) for n in range(4)]
        bases = [first] + [[builder.add(p, s) for p, s in zip(first, step, strict=True)]] * (self._num - 1)

        def entry(table: Any, position: Any, column: int) -> Any:
            value = builder.load(builder.gep(table, [builder.add(position, intp(column))]))
            return value if value.type in (intp, number) else builder.zext(value, intp)

        def pointers(which: int, component: Any) -> list[Any]:
            offset = builder.mul(component, pitch)
            return [builder.inttoptr(builder.add(base[which], offset), vector.as_pointer()) for base in bases]

        def load(which: int, component: Any) -> list[Any]:
            return [builder.load(pointer, align=item) for pointer in pointers(which, component)]

        def multiply(x: Any, y: Any) -> Any:
            return builder.fmul(x, y, flags=_FLAGS)

        def add(x: Any, y: Any) -> Any:
            return builder.fadd(x, y, flags=_FLAGS)

        totals = [cgutils.alloca_once(builder, vector) for _ in bases]
        with cgutils.for_range_slice(builder, start, stop, intp(1), intp) as (group, _):
            row = builder.mul(group, intp(4))
            for total in totals:
                builder.store(vector(None), total)
            begin, end = entry(groups, row, 2), entry(groups, row, 3)
            with cgutils.for_range_slice(builder, begin, end, intp(1), intp) as (e, _):
                position = builder.mul(e, intp(2))
                coefficient = repeated_number(builder, entry(coefficients, e, 0), vector)
                products = [multiply(coefficient, a) for a in load(2, entry(columns, position, 0))]
                if self._has_two_factors:
                    products = list(map(multiply, products, load(3, entry(columns, position, 1))))
                for total, product in zip(totals, products, strict=True):
                    builder.store(add(builder.load(total), product), total)
            outs, scales = pointers(0, entry(groups, row, 0)), load(1, entry(groups, row, 1))
            # One after the other: both may be the same.
            for total, out, scale in zip(totals, outs, scales, strict=True):
                product = multiply(scale, builder.load(total))
                builder.store(add(builder.load(out, align=item), product), out, align=item)
        return context.get_dummy_value()
