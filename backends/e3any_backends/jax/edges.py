r"""Sums of products over edges as one JAX primitive, closed under differentiation, in bounded memory.

.. math:: \phi(x, Y, g, A) = \sum_e \sum_{mkf} Y_{em} \, g_{el(m)f} \, x_{s(e)kf} \, A_{r(e)mkf}

is linear in each of four slots. The sum over edges is its derivative with respect to A, and the derivatives of the
sum are those with respect to other slots. The primitive evaluates a list of such contractions together; its tangents
and its transposes are again such lists, as in ``_jax_coupling.py``.

Edges are laid out in rows of a fixed width, every row for one receiver, so that shapes do not depend on the degrees of
nodes: E edges to N nodes need at most E // width + N rows. Blocks of rows are worked off by a loop. Nothing is kept
for every edge but what the contraction returns, and what is computed for a block stays in the cache of the processor.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad

from e3any_backends.jax.custom_calls import call, define
from e3any_backends.jax.store import stored

Array: TypeAlias = Any
Shape: TypeAlias = tuple[Any, ...]

__all__ = ["sum_edges"]

_X, _Y, _G, _A = range(4)
_WIDTH = 8
# What the products of a block of rows take.
_BLOCK_BYTES = 2**22


class _Rows(NamedTuple):
    """Edges in rows: integer operands of the primitive.

    Parameters
    ----------
    edges : array of shape (R, width)
        The numbers of edges; E is padding.
    senders : array of shape (E,)
        The node that sends, for every edge.
    receivers : array of shape (R,)
        The node that receives, for every row; its number is that of receivers in rows that are not used.
    """

    edges: Array
    senders: Array
    receivers: Array


@dataclass(frozen=True)
class _Program:
    """What to compute: the static parameter of the primitive.

    Parameters
    ----------
    shapes : tuple of tuple of int
        The shapes (N, K, F), (E, M), (E, L+1, F) and (num, M, K, F) of what the four slots take.
    slots, outs : tuple of int
        The slot of each operand and of each output.
    terms : tuple
        For each contraction the number of its output and of its three operands, in ascending order of their slots.
    """

    shapes: tuple[Shape, ...]
    slots: tuple[int, ...]
    outs: tuple[int, ...]
    terms: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def rows_per_block(self) -> int:
        """How many rows are worked off at once."""
        _, num_basis, size, features = self.shapes[_A]
        return int(max(1, _BLOCK_BYTES // (4 * num_basis * size * features)))


def sum_edges(
    x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int, indices_are_sorted: bool
) -> Array:
    """Sum products over edges; see :meth:`e3any_backends.generic.Backend.edge_products`."""
    dtype = jnp.result_type(x, angular, radial)
    shape = (num, angular.shape[1], *x.shape[1:])
    if any(isinstance(n, int) and n == 0 for n in (*shape, *x.shape, *angular.shape)):
        return jnp.zeros(shape, dtype)
    operands = [jnp.asarray(a, dtype) for a in (x, angular, radial)]
    rows = _rows(src, dst, x.shape[0], num, indices_are_sorted)
    shapes = (*(tuple(a.shape) for a in operands), shape)
    return _bind(rows, operands, _Program(shapes, (_X, _Y, _G), (_A,), ((0, (0, 1, 2)),)))[0]


def _bind(rows: _Rows, operands: Sequence[Array], program: _Program) -> list[Array]:
    """Bind the primitive to the operands that terms use."""
    used = sorted({o for _, term in program.terms for o in term})
    number = {o: i for i, o in enumerate(used)}
    terms = tuple((out, tuple(number[o] for o in term)) for out, term in program.terms)
    program = _Program(program.shapes, tuple(program.slots[o] for o in used), program.outs, terms)
    return _primitive.bind(*rows, *(operands[o] for o in used), program=program)


def _rows(src: Array, dst: Array, num_senders: Any, num: Any, indices_are_sorted: bool) -> _Rows:
    """Lay out edges in rows."""
    num_edges = dst.shape[0]
    width, num_rows = _sizes(num_edges, num)
    # One dtype for all numbers of edges, nodes and rows: lists may be wider, and of two dtypes.
    int32 = jnp.int32
    before = jnp.sum(dst < 0, dtype=int32) if indices_are_sorted else 0  # padding in front of the first node
    valid = (src >= 0) & (src < num_senders)
    dst = jnp.where((dst >= 0) & (dst < num), dst, num).astype(int32)
    order = jnp.arange(num_edges, dtype=int32) if indices_are_sorted else jnp.argsort(dst).astype(int32)
    receiver = dst[order]
    degrees = jnp.zeros(num, int32).at[receiver].add(1, mode="drop")
    used = (degrees + width - 1) // width
    first_edge, first_row = _starts(degrees) + before, _starts(used)
    rank = jnp.arange(num_edges, dtype=int32) - first_edge.at[receiver].get(mode="clip")
    row = jnp.where(receiver < num, first_row.at[receiver].get(mode="clip") + rank // width, num_rows)
    numbers = jnp.where(valid[order], order, num_edges)
    edges = jnp.full((num_rows, width), num_edges, int32).at[row, rank % width].set(numbers, mode="drop")
    receivers = jnp.full((num_rows,), num, int32).at[row].set(receiver, mode="drop")
    return _Rows(edges, jnp.where(valid, src, 0).astype(int32), receivers)


def _starts(counts: Array) -> Array:
    """Return where each of several groups begins."""
    return jnp.cumsum(counts, dtype=counts.dtype) - counts


def _sizes(num_edges: Any, num: Any) -> tuple[int, Any]:
    """Return a width of rows, at most half of the mean degree, and how many rows there can be."""
    if not (isinstance(num_edges, int) and isinstance(num, int)):  # symbolic sizes can't be compared
        return _WIDTH, num_edges // _WIDTH + num
    width = _WIDTH
    while width > 1 and 2 * width * num > num_edges:
        width //= 2
    return width, min(num_edges, num_edges // width + num)


# -- evaluation ---------------------------------------------------------------------------------------------


def _evaluate_by_kernel(*operands: Array, program: _Program) -> list[Array] | None:
    from e3any_backends.kernels import edges
    from e3any_backends.kernels.code.edges import edge_program
    from e3any_backends.kernels.xla.operations import edge_scratch_words

    rows, dtype = operands[:3], operands[3].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    x, angular = (jax.ShapeDtypeStruct(program.shapes[slot], wide) for slot in (_X, _Y))
    size, shared = edges.work(x, angular), edge_scratch_words(program.shapes[_A][0], angular.shape[0])
    arrays: dict[int | None, Array] = dict(enumerate(o.astype(wide) for o in operands[3:]))
    totals: dict[int, Array] = {}
    for outs, factors in _calls(program):
        is_slope = len(factors) == 4
        shapes = program.shapes[:_A] if is_slope else program.shapes[_A:]
        factors_ = (jnp.zeros(program.shapes[slot], wide) if o is None else arrays[o] for slot, o in enumerate(factors))
        name = "edge_gradients" if is_slope else "edge_products"
        code = edge_program(name, program.shapes[1][1], program.shapes[0][2], wide.name)
        amount = {"work": 3 * size, "copied": x.size} if is_slope else {"work": size}
        values = call(name, wide.name, shapes, *rows, *factors_, program=code, shared=shared, **amount)
        if values is None:
            return None
        for numbers, value in zip(outs, values, strict=True):
            for out in numbers:
                totals[out] = totals[out] + value if out in totals else value
    return [totals[out].astype(dtype) for out in range(len(program.outs))]


_Point = tuple[int | None, ...]


def _calls(program: _Program) -> Iterator[tuple[list[list[int]], _Point]]:
    """Yield calls of kernels: the outputs that each of their results is part of, and operands.

    One kernel sums products over edges, for three operands. The other one takes all first derivatives, for four: these
    are three contractions, of which a program needs some. None stands for any operand of a slot that has none.
    """
    wanted: dict[tuple[int, _Point], list[int]] = {}
    for out, factors in program.terms:
        wanted.setdefault((program.outs[out], factors), []).append(out)
    for key in [key for key in wanted if key[0] == _A]:
        yield [wanted.pop(key)], key[1]
    operands: list[list[int | None]] = [[o for o, s in enumerate(program.slots) if s == slot] for slot in range(4)]
    points = list(itertools.product(*(numbers or [None] for numbers in operands)))
    while wanted:
        point = max(points, key=lambda point: sum(slope in wanted for slope in _slopes(point)))
        yield [wanted.pop(slope, []) for slope in _slopes(point)], point


def _slopes(point: _Point) -> list[tuple[int, _Point]]:
    """Return the contractions that the first derivatives are: output and operands."""
    return [(slot, (*point[:slot], *point[slot + 1 :])) for slot in (_X, _Y, _G)]


def _evaluate(*operands: Array, program: _Program, store: bool) -> list[Array]:
    rows, arrays = _Rows(*operands[:3]), list(operands[3:])
    dtype = arrays[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    for i, slot in enumerate(program.slots):
        if slot == _X:  # one more node, which sends zeros to padding
            arrays[i] = jnp.concatenate([arrays[i], jnp.zeros_like(arrays[i][:1])])

    def step(totals: list[Array], block: tuple[Array, Array]) -> tuple[list[Array], None]:
        contractions = _Contractions(program, arrays, *block, rows.senders, wide, store)
        return [contractions.add(out, total) for out, total in enumerate(totals)], None

    totals = [jnp.zeros(program.shapes[slot], wide) for slot in program.outs]
    totals, _ = jax.lax.scan(step, totals, _blocks(rows, program))
    return [total.astype(dtype) for total in totals]


def _blocks(rows: _Rows, program: _Program) -> tuple[Array, Array]:
    """Return the edges (blocks, rows, width) and receivers (blocks, rows) of blocks of rows."""
    (num_rows, width), size = rows.edges.shape, program.rows_per_block
    if isinstance(num_rows, int):
        size = min(size, num_rows)
    num_blocks = (num_rows + size - 1) // size
    padding = num_blocks * size - num_rows
    edges = jnp.concatenate([rows.edges, jnp.full((padding, width), program.shapes[_Y][0], jnp.int32)])
    receivers = jnp.concatenate([rows.receivers, jnp.full((padding,), program.shapes[_A][0], jnp.int32)])
    return jnp.reshape(edges, (num_blocks, size, width)), jnp.reshape(receivers, (num_blocks, size))


class _Contractions:
    """The contractions of a block of B rows of D edges.

    Views of operands have the shapes (B, D, K, F), (B, D, M), (B, D, M, F), for every component of the angular part
    the radial one, and (B, M, K, F). Padding reads what there is; its products are masked or not returned.
    """

    def __init__(
        self,
        program: _Program,
        arrays: list[Array],
        edges: Array,
        receivers: Array,
        senders: Array,
        dtype: Any,
        store: bool,
    ) -> None:
        self._program, self._arrays, self._dtype, self._is_stored = program, arrays, dtype, store
        num_edges, self._num_radial, _ = program.shapes[_G]
        self._present = edges < num_edges
        sent = jnp.where(self._present, senders.at[edges].get(mode="clip"), program.shapes[_X][0])
        self._rows = {_X: sent, _Y: edges, _G: edges, _A: receivers}
        self._known: dict[Any, Array] = {}

    def add(self, out: int, total: Array) -> Array:
        """Add the terms of an output to its total."""
        slot = self._program.outs[out]
        terms = [operands for number, operands in self._program.terms if number == out]
        value = functools.reduce(jnp.add, (self._term(slot, *operands) for operands in terms))
        rows = jnp.reshape(self._rows[slot], (-1,))
        flat = jnp.reshape(value, (rows.shape[0], *total.shape[1:]))
        return total.at[rows].add(flat, mode="drop")

    def _term(self, slot: int, a: int, b: int, c: int) -> Array:
        if slot == _A:
            x, filters = self._view(a), self._filters(b, c)
            return _sum(filters[:, d, :, None, :] * x[:, d, None, :, :] for d in range(x.shape[1]))
        if slot == _X:
            filters, sums = self._filters(a, b), self._view(c)
            return _sum(filters[:, :, m, None, :] * sums[:, None, m, :, :] for m in range(sums.shape[1]))
        if slot == _Y:
            products = self._products(a, c) * self._view(b)
            # A product of matrices is faster than a sum over the last axis.
            ones = jnp.ones((products.shape[-1], 1), self._dtype)
            return jnp.matmul(products, ones, precision="highest")[..., 0]
        products = self._products(a, c) * self._view(b)[..., None]
        degrees = [slice(l**2, (l + 1) ** 2) for l in range(self._num_radial)]
        return jnp.stack([_sum(products[:, :, m] for m in range(s.start, s.stop)) for s in degrees], axis=2)

    def _filters(self, angular: int, radial: int) -> Array:
        """Return the products of angular and radial parts, zero for padding."""

        def filters() -> Array:
            product = self._view(angular)[..., None] * self._view(radial)
            return jnp.where(self._present[..., None, None], product, 0)

        return self._stored((angular, radial), filters)

    def _products(self, x: int, sums: int) -> Array:
        """Return products of features of neighbours and of sums, summed over components of features."""

        def products() -> Array:
            a, b = self._view(x), self._view(sums)
            return _sum(a[:, :, None, k, :] * b[:, None, :, k, :] for k in range(a.shape[2]))

        return self._stored((x, sums), products)

    def _view(self, operand: int) -> Array:
        """Return what edges or rows have of an operand."""
        slot, array = self._program.slots[operand], self._arrays[operand]
        rows = self._rows[slot]
        if slot == _G:
            degrees = np.repeat(np.arange(self._num_radial), 2 * np.arange(self._num_radial) + 1)
            rows = rows[..., None] * self._num_radial + degrees
            array = jnp.reshape(array, (-1, array.shape[-1]))
        return self._stored(operand, lambda: array.at[rows].get(mode="clip").astype(self._dtype))

    def _stored(self, key: Any, function: Any) -> Array:
        """Compute an array once; on CPUs have XLA store it, which else computes it again in each loop that reads it."""
        if key not in self._known:
            value = function()
            self._known[key] = stored(value)[0] if self._is_stored else value
        return self._known[key]


def _sum(terms: Any) -> Array:
    """Add arrays: a reduction would be slower."""
    return functools.reduce(jnp.add, terms)


# -- rules --------------------------------------------------------------------------------------------------

_primitive = Primitive("e3any_edges")
_primitive.multiple_results = True


@_primitive.def_abstract_eval
def _abstract(*operands: Any, program: _Program) -> list[Any]:
    return [jax.core.ShapedArray(program.shapes[slot], operands[-1].dtype) for slot in program.outs]


def _bind_present(
    rows: _Rows, operands: list[Array], slots: list[int], outs: tuple[int, ...], terms: list[Any], shapes: Any
) -> dict[int, Array]:
    """Bind only the outputs that have terms, and return those by their numbers."""
    present = sorted({out for out, _ in terms})
    if not present:
        return {}
    number = {out: i for i, out in enumerate(present)}
    numbered = tuple((number[out], term) for out, term in terms)
    program = _Program(shapes, tuple(slots), tuple(outs[out] for out in present), numbered)
    return dict(zip(present, _bind(rows, operands, program), strict=True))


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], *, program: _Program) -> tuple[list[Array], list[Any]]:
    rows, operands, slots = _Rows(*primals[:3]), list(primals[3:]), list(program.slots)
    tangent_of = {}
    for i, tangent in enumerate(tangents[3:]):
        if not isinstance(tangent, ad.Zero):
            tangent_of[i] = len(operands)
            operands.append(tangent)
            slots.append(program.slots[i])
    terms = [
        (out, (*term[:position], tangent_of[o], *term[position + 1 :]))
        for out, term in program.terms
        for position, o in enumerate(term)
        if o in tangent_of
    ]
    primal_outs = _primitive.bind(*primals, program=program)
    values = _bind_present(rows, operands, slots, program.outs, terms, program.shapes)
    return primal_outs, [values.get(i, ad.Zero(jax.typeof(p).to_tangent_aval())) for i, p in enumerate(primal_outs)]


def _transpose(cotangents: Sequence[Any], *operands: Any, program: _Program) -> list[Any]:
    rows, factors = _Rows(*operands[:3]), operands[3:]
    unknown = [i for i, o in enumerate(factors) if ad.is_undefined_primal(o)]
    known: list[Array] = []
    slots: list[int] = []
    number: dict[tuple[str, int], int] = {}
    arrays = [("operand", i, o, program.slots[i]) for i, o in enumerate(factors) if i not in unknown]
    arrays += [("cotangent", i, c, program.outs[i]) for i, c in enumerate(cotangents) if not isinstance(c, ad.Zero)]
    for kind, i, array, slot in arrays:
        number[kind, i] = len(known)
        known.append(array)
        slots.append(slot)
    terms = []
    for out, term in program.terms:
        if ("cotangent", out) in number:
            (target,) = (o for o in term if o in unknown)
            members = [number["cotangent", out], *(number["operand", o] for o in term if o != target)]
            terms.append((unknown.index(target), tuple(sorted(members, key=lambda m: slots[m]))))
    outs = tuple(program.slots[u] for u in unknown)
    values = _bind_present(rows, known, slots, outs, terms, program.shapes)
    results: list[Any] = [None] * len(operands)
    for position, u in enumerate(unknown):
        results[3 + u] = values.get(position, ad.Zero(factors[u].aval))
    return results


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: _Program) -> tuple[list[Array], list[Any]]:
    """Make one graph of a batch of graphs."""
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    edges, senders, receivers, *factors = (
        jnp.broadcast_to(o, (size, *o.shape)) if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands, axes, strict=True)
    )
    num_senders, num_edges, num = (program.shapes[slot][0] for slot in (_X, _Y, _A))
    first = jnp.arange(size, dtype=edges.dtype)[:, None]
    rows = _Rows(
        jnp.where(edges < num_edges, edges + first[..., None] * num_edges, size * num_edges),
        senders + first * num_senders,
        jnp.where(receivers < num, receivers + first * num, size * num),
    )
    shapes = tuple((size * shape[0], *shape[1:]) for shape in program.shapes)
    values = _primitive.bind(
        *(jnp.reshape(o, (-1, *o.shape[2:])) for o in (*rows, *factors)),
        program=_Program(shapes, program.slots, program.outs, program.terms),
    )
    return [jnp.reshape(v, (size, -1, *v.shape[1:])) for v in values], [0] * len(values)


define(
    _primitive,
    "edge_products",
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    plain=functools.partial(_evaluate, store=False),
    by_kernel=_evaluate_by_kernel,
    plain_on_cpu=functools.partial(_evaluate, store=True),
)
