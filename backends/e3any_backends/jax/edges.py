r"""Sums of products over edges as one JAX primitive, in bounded memory.

.. math:: \phi(x, Y, g, A) = \sum_e \sum_{mkf} Y_{em} \, g_{el(m)f} \, x_{s(e)kf} \, A_{r(e)mkf}

is linear in each of four slots. The sum over edges is the contraction for the slot of A, and the derivatives of the sum
are the contractions for the other slots, see :mod:`e3any_backends.jax.multilinear`.

Edges are laid out in rows of a fixed width, every row for one receiver, so that shapes do not depend on the degrees of
nodes: E edges to N nodes need at most E // width + N rows. A loop goes through blocks of rows. In memory there is
nothing for every edge but operands and results; intermediate values of a block stay in the cache of the processor. A
GPU has no such cache, and every step of a loop is a launch of kernels: there all rows are one block, up to a limit of
memory.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.jax.custom_calls import call
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program, Shape
from e3any_backends.jax.store import stored

__all__ = ["EdgeShapes", "Rows", "edge_rows", "kernel_calls", "sum_edges", "sum_terms"]

# Slots: components of nodes (N, K, F), angular parts (E, M), radial parts (E, L+1, F), sums (num, M, K, F).
_X, _Y, _G, _A = range(4)
_WIDTH = 8
# Memory for the products of a block of rows: about the cache of a core, or a part of the memory of a GPU.
_BLOCK_BYTES = 2**22
_BLOCK_BYTES_ON_GPU = 2**32


class EdgeShapes(NamedTuple):
    """The form of a program: shapes.

    Parameters
    ----------
    x, angular, radial, sums : tuple of int
        Shapes of operands and results in each slot.
    is_one_graph : bool
        Whether the receivers of rows ascend, as they do unless a batch of graphs has been merged.
    """

    x: Shape
    angular: Shape
    radial: Shape
    sums: Shape
    is_one_graph: bool = True

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes in all slots."""
        return self.x, self.angular, self.radial, self.sums


class Rows(NamedTuple):
    """Edges in rows: the integer operands of the primitive.

    Parameters
    ----------
    edges : array of shape (R, width)
        The numbers of edges; E is padding.
    senders : array of shape (E,)
        The node that sends, for every edge.
    receivers : array of shape (R,)
        The node that receives, for every row; ``num`` in rows without edges.
    """

    edges: Array
    senders: Array
    receivers: Array


def sum_edges(
    x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int, indices_are_sorted: bool
) -> Array:
    """Sum products over edges; see :meth:`e3any_backends.generic.Backend.edge_products`."""
    dtype = jnp.result_type(x, angular, radial)
    shape = (num, angular.shape[1], *x.shape[1:])
    if any(isinstance(n, int) and n == 0 for n in (*shape, *x.shape, *angular.shape)):
        return jnp.zeros(shape, dtype)
    operands = [jnp.asarray(a, dtype) for a in (x, angular, radial)]
    rows = edge_rows(src, dst, x.shape[0], num, indices_are_sorted)
    form = EdgeShapes(x.shape, angular.shape, radial.shape, shape)
    program = Program(form, (_X, _Y, _G), ((_A, shape),), ((0, (0, 1, 2)),))
    return _primitive.bind(*rows, *operands, program=program)[0]


def sum_terms(rows: Rows, operands: Sequence[Array], program: Program) -> dict[int, Array]:
    """Evaluate a program, whose form are :class:`EdgeShapes`, by its numbers of outputs."""
    return _primitive.bind_terms(program, rows, operands)


def edge_rows(src: Array, dst: Array, num_senders: Any, num: Any, indices_are_sorted: bool) -> Rows:
    """Lay out edges in rows."""
    num_edges = dst.shape[0]
    width, num_rows = _sizes(num_edges, num)
    # One dtype for the indices of edges, nodes and rows: those of lists can be wider, and differ.
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
    return Rows(edges, jnp.where(valid, src, 0).astype(int32), receivers)


def _starts(counts: Array) -> Array:
    """Return where each of several groups begins."""
    return jnp.cumsum(counts, dtype=counts.dtype) - counts


def _sizes(num_edges: Any, num: Any) -> tuple[int, Any]:
    """Return the width of rows, at most half of the mean degree, and the largest possible number of rows."""
    if not (isinstance(num_edges, int) and isinstance(num, int)):  # symbolic sizes can't be compared
        return _WIDTH, num_edges // _WIDTH + num
    width = _WIDTH
    while width > 1 and 2 * width * num > num_edges:
        width //= 2
    return width, min(num_edges, num_edges // width + num)


# -- without a kernel ---------------------------------------------------------------------------------------


def _sums_on_cpu(*operands: Array, program: Program) -> list[Array]:
    return _sums_by_blocks(*operands, program=program, block_bytes=_BLOCK_BYTES, store=True)


def _sums_on_gpu(*operands: Array, program: Program) -> list[Array]:
    return _sums_by_blocks(*operands, program=program, block_bytes=_BLOCK_BYTES_ON_GPU, has_promises=True)


def _sums_elsewhere(*operands: Array, program: Program) -> list[Array]:
    return _sums_by_blocks(*operands, program=program, block_bytes=_BLOCK_BYTES)


def _sums_by_blocks(
    *operands: Array, program: Program, block_bytes: int, store: bool = False, has_promises: bool = False
) -> list[Array]:
    """Evaluate a program by a loop over blocks of rows.

    With promises XLA knows which rows ascend or differ: on GPUs it then adds without atomic operations.
    """
    rows, arrays = Rows(*operands[:3]), list(operands[3:])
    dtype = arrays[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    for i, slot in enumerate(program.slots):
        if slot == _X:  # one more node: padding receives zeros from it
            arrays[i] = jnp.concatenate([arrays[i], jnp.zeros_like(arrays[i][:1])])

    def step(totals: list[Array], block: tuple[Array, Array]) -> tuple[list[Array], None]:
        sums = _BlockSums(program, arrays, *block, rows.senders, wide, store, has_promises)
        return [sums.add(out, total) for out, total in enumerate(totals)], None

    totals = [jnp.zeros(shape, wide) for _, shape in program.outs]
    blocks = _blocks(rows, program, block_bytes)
    num_blocks = blocks[0].shape[0]
    if has_promises and isinstance(num_blocks, int) and num_blocks == 1:
        totals, _ = step(totals, (blocks[0][0], blocks[1][0]))
    else:
        totals, _ = jax.lax.scan(step, totals, blocks)
    return [total.astype(dtype) for total in totals]


def _blocks(rows: Rows, program: Program, block_bytes: int) -> tuple[Array, Array]:
    """Return the edges (blocks, rows, width) and receivers (blocks, rows) of blocks of rows."""
    num_receivers, num_basis, num_components, features = program.form.sums
    num_rows, width = rows.edges.shape
    size = int(max(1, block_bytes // (4 * num_basis * num_components * features)))
    if isinstance(num_rows, int):
        size = min(size, num_rows)
    num_blocks = (num_rows + size - 1) // size
    padding = num_blocks * size - num_rows
    edges = jnp.concatenate([rows.edges, jnp.full((padding, width), program.form.angular[0], jnp.int32)])
    receivers = jnp.concatenate([rows.receivers, jnp.full((padding,), num_receivers, jnp.int32)])
    return jnp.reshape(edges, (num_blocks, size, width)), jnp.reshape(receivers, (num_blocks, size))


class _BlockSums:
    """The contractions of a block of B rows of D edges.

    Views hold the entries of operands that belong to its rows or edges. Those of padding are arbitrary: their products
    are masked or dropped.

    | slot | shape of the view |
    |---|---|
    | x | (B, D, K, F) |
    | angular | (B, D, M) |
    | radial | (B, D, M, F), repeated for the components of each degree |
    | sums | (B, M, K, F) |
    """

    def __init__(
        self,
        program: Program,
        arrays: list[Array],
        edges: Array,
        receivers: Array,
        senders: Array,
        dtype: Any,
        store: bool,
        has_promises: bool,
    ) -> None:
        self._program, self._arrays, self._dtype, self._is_stored = program, arrays, dtype, store
        num_edges, self._num_radial, _ = program.form.radial
        self._present = edges < num_edges
        sent = jnp.where(self._present, senders.at[edges].get(mode="clip"), program.form.x[0])
        self._rows = {_X: sent, _Y: edges, _G: edges, _A: receivers}
        self._known: dict[Any, Array] = {}
        self._promises: dict[int, dict[str, bool]] = {}
        if has_promises:  # an edge has one place; padding has none, and is dropped
            of_edges = {"unique_indices": True}
            self._promises = {_Y: of_edges, _G: of_edges, _A: {"indices_are_sorted": program.form.is_one_graph}}

    def add(self, out: int, total: Array) -> Array:
        """Add the terms of an output to its total."""
        slot, _ = self._program.outs[out]
        terms = [operands for number, operands in self._program.terms if number == out]
        value = functools.reduce(jnp.add, (self._term(slot, *operands) for operands in terms))
        rows = jnp.reshape(self._rows[slot], (-1,))
        flat = jnp.reshape(value, (rows.shape[0], *total.shape[1:]))
        return total.at[rows].add(flat, mode="drop", **self._promises.get(slot, {}))

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
        """Return the view of an operand."""
        slot, array = self._program.slots[operand], self._arrays[operand]
        rows = self._rows[slot]
        if slot == _G:
            degrees = np.repeat(np.arange(self._num_radial), 2 * np.arange(self._num_radial) + 1)
            rows = rows[..., None] * self._num_radial + degrees
            array = jnp.reshape(array, (-1, array.shape[-1]))
        return self._stored(operand, lambda: array.at[rows].get(mode="clip").astype(self._dtype))

    def _stored(self, key: Any, function: Any) -> Array:
        """Compute an array once; for CPUs, store it: XLA would compute it again in each loop that reads it."""
        if key not in self._known:
            value = function()
            self._known[key] = stored(value)[0] if self._is_stored else value
        return self._known[key]


def _sum(terms: Any) -> Array:
    """Add arrays: a reduction would be slower."""
    return functools.reduce(jnp.add, terms)


# -- by kernels ---------------------------------------------------------------------------------------------


def _sums_by_kernel(*operands: Array, program: Program) -> list[Array] | None:
    from e3any_backends.kernels import edges
    from e3any_backends.kernels.code.edges import edge_program
    from e3any_backends.kernels.xla.operations import edge_scratch_words

    rows, dtype, shapes = operands[:3], operands[3].dtype, program.form
    wide = jnp.promote_types(dtype, jnp.float32)
    x, angular = (jax.ShapeDtypeStruct(shapes[slot], wide) for slot in (_X, _Y))
    size, shared = edges.work(x, angular), edge_scratch_words(shapes[_A][0], angular.shape[0])
    arrays: dict[int | None, Array] = dict(enumerate(o.astype(wide) for o in operands[3:]))
    totals: dict[int, Array] = {}
    for outs, factors in kernel_calls(program):
        is_gradient = len(factors) == 4
        name, results = ("edge_gradients", shapes[:_A]) if is_gradient else ("edge_products", (shapes.sums,))
        amount = {"work": 3 * size, "partial_size": x.size} if is_gradient else {"work": size}
        values = [jnp.zeros(shapes[slot], wide) if o is None else arrays[o] for slot, o in enumerate(factors)]
        code = edge_program(name, angular.shape[1], x.shape[2], wide.name)
        found = call(name, wide.name, results, *rows, *values, program=code, shared=shared, **amount)
        if found is None:
            return None
        for numbers, value in zip(outs, found, strict=True):
            for out in numbers:
                totals[out] = totals[out] + value if out in totals else value
    return [totals[out].astype(dtype) for out in range(len(program.outs))]


_Point = tuple[int | None, ...]


def kernel_calls(program: Program) -> Iterator[tuple[list[list[int]], _Point]]:
    """Yield calls of kernels: for each result the outputs that it is added to, and the operands.

    There are two kernels. One sums products of three operands over edges. The other takes four operands, one for each
    slot, and returns the gradients with respect to x, Y and g, three contractions at once. Calls are chosen such that
    each returns as many of the remaining contractions of the program as possible. For example, the three gradients of
    one sum take one call. An operand is None if the program has none for its slot: then only the gradient with respect
    to that slot is used.
    """
    wanted: dict[tuple[int, _Point], list[int]] = {}
    for out, factors in program.terms:
        wanted.setdefault((program.outs[out][0], factors), []).append(out)
    for key in [key for key in wanted if key[0] == _A]:
        yield [wanted.pop(key)], key[1]
    operands: list[list[int | None]] = [[o for o, s in enumerate(program.slots) if s == slot] for slot in range(4)]
    points = list(itertools.product(*(numbers or [None] for numbers in operands)))
    while wanted:
        point = max(points, key=lambda point: sum(gradient in wanted for gradient in _gradients_at(point)))
        yield [wanted.pop(gradient, []) for gradient in _gradients_at(point)], point


def _gradients_at(point: _Point) -> list[tuple[int, _Point]]:
    """Return slot and operands of the contractions that are the gradients for one operand of each slot."""
    return [(slot, (*point[:slot], *point[slot + 1 :])) for slot in (_X, _Y, _G)]


# -- batches ------------------------------------------------------------------------------------------------


def _batch_graphs(operands: Sequence[Array], axes: Sequence[Any], *, program: Program) -> tuple[list[Array], list[int]]:
    """Make one graph of a batch of graphs."""
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    edges, senders, receivers, *factors = (
        jnp.broadcast_to(o, (size, *o.shape)) if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands, axes, strict=True)
    )
    num_senders, num_edges, num = (program.form[slot][0] for slot in (_X, _Y, _A))
    first = jnp.arange(size, dtype=edges.dtype)[:, None]
    rows = Rows(
        jnp.where(edges < num_edges, edges + first[..., None] * num_edges, size * num_edges),
        senders + first * num_senders,
        jnp.where(receivers < num, receivers + first * num, size * num),
    )
    shapes: list[Shape] = [(size * shape[0], *shape[1:]) for shape in program.form[: _A + 1]]
    outs = tuple((slot, shapes[slot]) for slot, _ in program.outs)
    form = EdgeShapes(shapes[_X], shapes[_Y], shapes[_G], shapes[_A], is_one_graph=False)
    merged = (jnp.reshape(o, (-1, *o.shape[2:])) for o in (*rows, *factors))
    values = _primitive.bind(*merged, program=replace(program, form=form, outs=outs))
    return [jnp.reshape(v, (size, -1, *v.shape[1:])) for v in values], [0] * len(values)


_primitive = MultilinearPrimitive(
    "e3any_edges",
    "edge_products",
    batch=_batch_graphs,
    reference=_sums_elsewhere,
    by_kernel=_sums_by_kernel,
    reference_on_cpu=_sums_on_cpu,
    reference_on_gpu=_sums_on_gpu,
    num_indices=len(Rows._fields),
)
