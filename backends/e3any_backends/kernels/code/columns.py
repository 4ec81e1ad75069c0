"""Columns of matrices as vectors: x, y and z of triples, or four columns at a time.

Rows are read as vectors, and their elements shuffled, which takes fewer instructions than reading every element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.simd import Memory, Vector, shuffle_mask
from e3any_backends.kernels.code.structures import INT

if TYPE_CHECKING:
    from e3any_backends.kernels.code.annotations import Context, CPUContext, FloatArray, Signature, Typed, Values

__all__ = ["COLUMNS", "load_columns", "load_triples", "store_columns", "store_triples"]

#: Columns of a matrix that are read and written together.
COLUMNS = 4

# -- triples ------------------------------------------------------------------------------------------------


def _selected(builder: ir.IRBuilder, vectors: Values, positions: list[int]) -> ir.Value:
    """Return the elements at some positions of three vectors, counted through all three."""
    a, b, c = vectors
    count = a.type.count
    # An instruction takes two vectors: first a and b, then the result and c.
    inner = builder.shuffle_vector(a, b, shuffle_mask([p if p < 2 * count else 0 for p in positions]))
    outer = [p - count if p >= 2 * count else n for n, p in enumerate(positions)]
    return builder.shuffle_vector(inner, c, shuffle_mask(outer))


def _load_triples(typing_context: Context, array: FloatArray, position: types.Integer) -> Typed:
    vector = Vector(array.dtype)

    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        memory, count = Memory(context, builder, array, *values), vector.count
        rows = [memory.load(INT(n * count), count) for n in range(3)]
        columns = [_selected(builder, rows, [3 * n + i for n in range(count)]) for i in range(3)]
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, 3)(array, types.intp), emit


#: Return x, y and z of as many triples ``xyzxyz...`` as a vector has elements.
load_triples: Callable[[Array, int], Array] = intrinsic(_load_triples)


def _store_triples(
    typing_context: Context, array: FloatArray, position: types.Integer, x: Vector, y: Vector, z: Vector
) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        memory, count = Memory(context, builder, array, *values[:2]), x.count
        for row in range(3):
            elements = range(row * count, (row + 1) * count)
            value = _selected(builder, values[2:], [n % 3 * count + n // 3 for n in elements])
            memory.store(INT(row * count), value)
        return context.get_dummy_value()

    return types.void(array, types.intp, x, y, z), emit


#: Write triples, the reverse of :func:`load_triples`.
store_triples: Callable[[Array, int, Array, Array, Array], None] = intrinsic(_store_triples)


# -- four columns -------------------------------------------------------------------------------------------


def _transposed(builder: ir.IRBuilder, vectors: Values) -> list[ir.Value]:
    """Transpose 4 x 4 matrices that lie side by side in four vectors.

    AVX shuffles within 128 bits in one cycle, and takes three across: https://uops.info/table.html. So elements stay
    in their quarter of a register (for float32).
    """
    count = vectors[0].type.count

    def merged(p: ir.Value, q: ir.Value, positions: tuple[int, ...]) -> ir.Value:
        return builder.shuffle_vector(p, q, shuffle_mask([s + k for s in range(0, count, COLUMNS) for k in positions]))

    a, b, c, d = vectors
    result = []
    for k in (0, 2):
        left, right = (merged(p, q, (k, count + k, k + 1, count + k + 1)) for p, q in ((a, b), (c, d)))
        result += [merged(left, right, (h, h + 1, count + h, count + h + 1)) for h in (0, 2)]
    return result


def _concatenated(builder: ir.IRBuilder, vectors: Values) -> ir.Value:
    """Concatenate vectors, a power of two of them."""
    while len(vectors) > 1:
        mask = shuffle_mask(list(range(2 * vectors[0].type.count)))
        vectors = [builder.shuffle_vector(*vectors[n : n + 2], mask) for n in range(0, len(vectors), 2)]
    return vectors[0]


def _row_offsets(builder: ir.IRBuilder, row_step: ir.Value, count: int) -> list[list[ir.Value]]:
    """Return the offsets of rows, for each of four vectors: vector j has the rows j, j + 4, j + 8, ... side by side."""
    return [[builder.mul(row_step, INT(n)) for n in range(j, count, COLUMNS)] for j in range(COLUMNS)]


def _load_columns(
    typing_context: Context, array: FloatArray, position: types.Integer, row_step: types.Integer
) -> Typed:
    vector = Vector(array.dtype)

    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        memory = Memory(context, builder, array, *values[:2])
        offsets = _row_offsets(builder, values[2], vector.count)
        rows = [_concatenated(builder, [memory.load(o, COLUMNS) for o in group]) for group in offsets]
        columns = _transposed(builder, rows)
        return context.make_tuple(builder, signature.return_type, columns)

    return types.containers.UniTuple(vector, COLUMNS)(array, types.intp, types.intp), emit


#: Return four columns of as many rows as a vector has elements. Rows are ``row_step`` elements apart.
load_columns: Callable[[Array, int, int], Array] = intrinsic(_load_columns)


def _store_columns(
    typing_context: Context,
    array: FloatArray,
    position: types.Integer,
    row_step: types.Integer,
    a: Vector,
    b: Vector,
    c: Vector,
    d: Vector,
) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, values: Values) -> ir.Value:
        memory = Memory(context, builder, array, *values[:2])
        offsets = _row_offsets(builder, values[2], a.count)
        for group, vector in zip(offsets, _transposed(builder, values[3:]), strict=True):
            for n, offset in enumerate(group):
                mask = shuffle_mask(list(range(n * COLUMNS, (n + 1) * COLUMNS)))
                memory.store(offset, builder.shuffle_vector(vector, vector, mask))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, a, b, c, d), emit


#: Write four columns, the reverse of :func:`load_columns`.
store_columns: Callable[[Array, int, int, Array, Array, Array, Array], None] = intrinsic(_store_columns)
