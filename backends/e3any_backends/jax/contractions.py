r"""The multilinear form of a coupling as one JAX primitive.

.. math:: \phi(v^0, v^1, \dots) = \sum_e c_e \prod_s v^s_{i_s(e)}

is linear in every slot. A tensor product is its contraction for the slot of the product, and all derivatives of the
product are contractions too, see :mod:`e3any_backends.jax.multilinear`. On a CPU a kernel evaluates several of them at
once. Elsewhere they are unrolled over the non-zero coefficients. Where these are many the compiler takes too long. Then
there is a loop over them on a CPU, which takes up to twice as long as unrolled code. On other devices every step would
be a launch of kernels: there products of components are multiplied with a matrix.

Operands have the shape (\*lead, components, F) and one rank and dtype. Leading axes and F broadcast; an axis of length
one in an output is summed over where its contraction has more.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import SparseForm
from e3any_backends.jax.custom_calls import call
from e3any_backends.jax.gpu_launches import evaluate_rows
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program, Shape
from e3any_backends.jax.parities import shared_table
from e3any_backends.jax.store import stored

__all__ = ["contract", "contract_terms"]

# Products of one output that are unrolled; more of them take the compiler longer than they are worth.
_MAX_UNROLLED = 1000
# On a GPU matrix products read and write eight times as much memory: unrolled products are worth ten seconds.
_MAX_UNROLLED_ON_GPU = 2000
# Entries that a step of the loop adds up.
_STEP = 4

_Many = Callable[[Program, int, list[tuple[int, ...]], Sequence[Array], Any], Array]


def contract(operands: Sequence[Array], form: SparseForm, output: int) -> Array:
    """Evaluate one contraction of a form.

    Parameters
    ----------
    operands : sequence of arrays of shape (S, *lead, components, F)
        One array for every other slot, all of one rank; axis 0 is summed over, the others broadcast.
    form : SparseForm
        The form.
    output : int
        Slot of the result.

    Returns
    -------
    jax.Array of shape (*lead, components of ``output``, F)
        The contraction.
    """
    dtype = jnp.result_type(*operands)
    operands = [jnp.asarray(o, dtype) for o in operands]
    *lead, features = _broadcast([_outer(o.shape)[1:] for o in operands])
    slots = tuple(slot for slot in range(len(form.sizes)) if slot != output)
    out = output, (1, *lead, form.sizes[output], features)
    return _primitive.bind(*operands, program=Program(form, slots, (out,), ((0, tuple(range(len(slots)))),)))[0][0]


def contract_terms(operands: Sequence[Array], program: Program) -> dict[int, Array]:
    """Return the outputs of a program by their numbers."""
    return _primitive.bind_terms(program, (), operands)


def _outer(shape: Shape) -> Shape:
    """Return a shape without its axis of components, the last but one."""
    return (*shape[:-2], shape[-1])


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    # np.broadcast_shapes rejects the symbolic sizes of jax.export.
    result = []
    for sizes in zip(*shapes, strict=True):
        wide = [s for s in sizes if not (isinstance(s, int) and s == 1)]
        if wide and wide.count(wide[0]) != len(wide):
            raise ValueError(f"expected shapes that broadcast, got {', '.join(map(str, shapes))}")
        result.append(wide[0] if wide else 1)
    return tuple(result)


# -- without a kernel ---------------------------------------------------------------------------------------


def _contractions_on_cpu(*operands: Array, program: Program) -> list[Array]:
    # Otherwise XLA computes an activation before a coupling again for every component that is read.
    return _by_shared_table(*stored(*operands), program=program, most=_MAX_UNROLLED, many=_loop)


def _contractions_on_gpu(*operands: Array, program: Program) -> list[Array]:
    return _by_shared_table(*operands, program=program, most=_MAX_UNROLLED_ON_GPU, many=_matrix_products)


def _contractions_elsewhere(*operands: Array, program: Program) -> list[Array]:
    return _by_shared_table(*operands, program=program, most=_MAX_UNROLLED, many=_matrix_products)


def _by_shared_table(*operands: Array, program: Program, most: int, many: _Many) -> list[Array]:
    """Evaluate a program, with the table that parities share if there is one."""
    table = shared_table(program.form)
    if table is None:
        return _contractions(*operands, program=program, most=most, many=many)
    shared = [table.operand(slot, o) for slot, o in zip(program.slots, operands, strict=True)]
    values = _contractions(*shared, program=table.program(program), most=most, many=many)
    return [table.result(*out, value) for out, value in zip(program.outs, values, strict=True)]


def _contractions(*operands: Array, program: Program, most: int, many: _Many) -> list[Array]:
    """Evaluate a program by unrolled sums, or for more than ``most`` products as ``many`` does."""
    form, dtype = program.form, operands[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    split: list[list[Array]] = []
    results = []
    for number, (slot, shape) in enumerate(program.outs):
        terms = [t for out, t in program.terms if out == number]
        if len(form.values) * len(terms) > most:
            total = many(program, slot, terms, operands, wide)
        else:
            split = split or [_components(o.astype(wide)) for o in operands]
            total = _stack(_unrolled(form, slot, terms, split), form.sizes[slot], _outer(shape), wide)
        results.append(_reduce(total, _outer(shape)).astype(dtype))
    return results


def _matrix_products(
    program: Program, slot: int, terms: list[tuple[int, ...]], operands: Sequence[Array], dtype: Any
) -> Array:
    """Return one output, components first, by products of pairs of components and two constant matrices.

    The last operand scales rows of the first matrix, as in :func:`_unrolled`. For example, the rows of x y with the
    coefficients of path p and component k of the product are multiplied with w of p, and added to component k.
    """
    scale_slot, pair_slots, by_scale = _scaled(program.form, slot, terms)
    arrays = [jnp.moveaxis(o.astype(dtype), -2, 0) for o in operands]
    matrix, scales, sums = _matrices(program.form, slot, scale_slot, pair_slots)

    def products(a: Array, b: Array) -> Array:
        return jnp.reshape(a[:, None] * b, (a.shape[0] * b.shape[0], *_broadcast([a.shape[1:], b.shape[1:]])))

    def pairs(term: tuple[int, ...]) -> Array:
        return functools.reduce(products, [arrays[o] for o in term])

    dot = functools.partial(jnp.tensordot, axes=1, precision="highest")
    rows = [
        dot(jnp.asarray(matrix, dtype), functools.reduce(jnp.add, map(pairs, members))) * arrays[scale][scales]
        for scale, members in by_scale.items()
    ]
    return dot(jnp.asarray(sums, dtype), functools.reduce(jnp.add, rows))


@functools.lru_cache(maxsize=256)
def _matrices(form: SparseForm, slot: int, scale_slot: int, pair_slots: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return the matrix from products of components to rows, the scale of each row, and the matrix that adds rows."""
    keys = np.stack([form.columns[slot], form.columns[scale_slot]], axis=1)
    found, number = np.unique(keys, axis=0, return_inverse=True)
    sizes = [form.sizes[s] for s in pair_slots]
    matrix = np.zeros((len(found), int(np.prod(sizes))))
    column = np.ravel_multi_index([form.columns[s] for s in pair_slots], sizes)
    np.add.at(matrix, (number.ravel(), column), form.values)
    sums = np.equal.outer(np.arange(form.sizes[slot]), found[:, 0])
    return matrix, found[:, 1], sums.astype(np.float64)


def _scaled(
    form: SparseForm, slot: int, terms: list[tuple[int, ...]]
) -> tuple[int, tuple[int, ...], dict[int, list[tuple[int, ...]]]]:
    """Return the last slot that is not the output, the others, and the operands of these for each operand of it."""
    *pair_slots, scale_slot = sorted(set(range(len(form.columns))) - {slot})
    by_scale: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for *pair, scale in terms:
        by_scale[scale].append(tuple(pair))
    return scale_slot, tuple(pair_slots), by_scale


def _loop(program: Program, slot: int, terms: list[tuple[int, ...]], operands: Sequence[Array], dtype: Any) -> Array:
    """Return one output, components first, by a loop over the entries: a program of one size for all forms."""
    arrays = [jnp.moveaxis(o.astype(dtype), -2, 0) for o in operands]
    total = jnp.zeros((program.form.sizes[slot], *_broadcast([a.shape[1:] for a in arrays])), dtype)
    columns, values = _in_steps(program.form, slot)

    def add(total: Array, step: tuple[list[Array], Array]) -> tuple[Array, None]:
        columns, values = step
        at = jax.lax.dynamic_index_in_dim

        def product(term: tuple[int, ...], entry: int) -> Array:
            return functools.reduce(
                jnp.multiply, [at(arrays[o], columns[program.slots[o]][entry], keepdims=False) for o in term]
            )

        sums = [values[e] * functools.reduce(jnp.add, [product(t, e) for t in terms]) for e in range(_STEP)]
        after = at(total, columns[slot][0], keepdims=False) + functools.reduce(jnp.add, sums)
        return jax.lax.dynamic_update_index_in_dim(total, after, columns[slot][0], 0), None

    result: Array = jax.lax.scan(add, total, ([jnp.asarray(c) for c in columns], jnp.asarray(values, dtype)))[0]
    return result


def _in_steps(form: SparseForm, slot: int) -> tuple[list[Any], Any]:
    """Return columns and values of shape (steps, entries a step), where the entries of a step have one output."""
    order = np.argsort(form.columns[slot], kind="stable")
    counts = np.bincount(form.columns[slot], minlength=form.sizes[slot])
    steps = -(-counts // _STEP)
    first = np.repeat(np.cumsum(counts) - counts, steps)
    number = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    position = (first + number * _STEP)[:, None] + np.arange(_STEP)
    within = position < np.repeat(np.cumsum(counts), steps)[:, None]
    # A step with fewer entries is filled up with its first one, times zero.
    entries = order[np.where(within, position, position[:, :1])]
    return [c[entries].astype(np.int32) for c in form.columns], np.where(within, form.values[entries], 0.0)


def _components(x: Array) -> list[Array]:
    """Return the components of an array."""
    x = jnp.moveaxis(x, -2, 0)
    # Slicing by indexing would transpose to a chain of padded additions; a split transposes to one concatenation.
    return [jnp.squeeze(part, 0) for part in jax.lax.split(x, (1,) * x.shape[0], axis=0)]


def _unrolled(
    form: SparseForm, slot: int, terms: list[tuple[int, ...]], split: list[list[Array]]
) -> list[Array | None]:
    """Return the components of one output: unrolled sums over the entries of the form.

    The operand of the last slot scales sums of products of the others. For example, weights w of paths p multiply
    sums of products x y.
    """
    scale_slot, pair_slots, by_scale = _scaled(form, slot, terms)
    parts: list[Array | None] = [None] * form.sizes[slot]
    for (out, scale_index), entries in _grouped(form, slot, scale_slot, pair_slots):
        for scale, pairs in by_scale.items():
            total = _sum_products(entries, pairs, split) * split[scale][scale_index]
            so_far = parts[out]
            parts[out] = total if so_far is None else so_far + total
    return parts


@functools.lru_cache(maxsize=256)
def _grouped(form: SparseForm, slot: int, scale_slot: int, pair_slots: tuple[int, ...]) -> tuple[Any, ...]:
    """Group the entries by output and scale, then by size of coefficient, so that a constant multiplies once."""
    groups: dict[tuple[int, int], dict[float, list[tuple[bool, tuple[int, ...]]]]] = {}
    exact: dict[float, float] = {}  # coefficients that differ only by rounding count as equal
    for e in range(len(form.values)):
        value = float(form.values[e])
        key = int(form.columns[slot][e]), int(form.columns[scale_slot][e])
        indices = tuple(int(form.columns[s][e]) for s in pair_slots)
        size = exact.setdefault(round(abs(value), 13), abs(value))
        groups.setdefault(key, {}).setdefault(size, []).append((value < 0, indices))
    return tuple(sorted(groups.items()))


def _sum_products(
    entries: dict[float, list[tuple[bool, tuple[int, ...]]]],
    pairs: list[tuple[int, ...]],
    split: list[list[Array]],
) -> Array:
    total: Array = None
    for size, members in entries.items():
        partial: Array = None
        for operands in pairs:
            for negative, indices in members:
                factors = (split[o][i] for o, i in zip(operands, indices, strict=True))
                product = functools.reduce(jnp.multiply, factors)
                if partial is None:
                    partial = -product if negative else product
                else:
                    partial = partial - product if negative else partial + product
        partial = partial if size == 1.0 else partial * size
        total = partial if total is None else total + partial
    return total


def _stack(parts: list[Array | None], size: int, shape: Shape, dtype: Any) -> Array:
    present = [p for p in parts if p is not None]
    common = _broadcast([p.shape for p in present]) if present else tuple(1 for _ in shape)
    zero = jnp.zeros(common, dtype)
    return (
        jnp.stack([zero if p is None else jnp.broadcast_to(p, common) for p in parts])
        if size
        else (jnp.zeros((0, *common), dtype))
    )


def _reduce(stacked: Array, shape: Shape) -> Array:
    """Sum or broadcast the components of an output, which come first, to its shape, and move them to their axis."""
    sums = [a + 1 for a, n in enumerate(shape) if isinstance(n, int) and n == 1 and stacked.shape[a + 1] != 1]
    small = [a for a in sums if isinstance(stacked.shape[a], int) and 0 < stacked.shape[a] <= 4]
    for axis in small:  # so few additions are faster than a reduction
        slices = [jax.lax.slice_in_dim(stacked, i, i + 1, axis=axis) for i in range(stacked.shape[axis])]
        stacked = functools.reduce(jnp.add, slices)
    large = tuple(a for a in sums if a not in small)
    if large:
        # Without the barrier XLA fuses the unrolled code into the reduction, which repeats it.
        stacked = jnp.sum(jax.lax.optimization_barrier(stacked), axis=large, keepdims=True)
    return jnp.moveaxis(jnp.broadcast_to(stacked, (stacked.shape[0], *shape)), 0, -2)


# -- by a kernel --------------------------------------------------------------------------------------------


def _contractions_by_kernel(*operands: Array, program: Program) -> list[Array] | None:
    dtype = operands[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    operands = tuple(o.astype(wide) for o in operands)
    groups = _by_shape(program, [_outer(o.shape) for o in operands])
    if len(groups) == 1:
        found = _call_kernel(operands, program)
        return None if found is None else [value.astype(dtype) for value in found]
    results: dict[int, Array] = {}
    for group in groups:
        part, outs, used = program.only(term for term in program.terms if term[0] in group)
        values = _call_kernel([operands[o] for o in used], part)
        if values is None:
            return None
        results.update(zip(outs, values, strict=True))
    return [results[out].astype(dtype) for out in range(len(results))]


def _by_shape(program: Program, shapes: list[Shape]) -> list[list[int]]:
    """Return outputs whose contractions broadcast to one shape: a loop for others would repeat them."""
    groups: dict[Shape, list[int]] = defaultdict(list)
    for out, (_, shape) in enumerate(program.outs):
        members = [shapes[o] for number, operands in program.terms if number == out for o in operands]
        groups[_broadcast([_outer(shape), *members])].append(out)
    return list(groups.values())


def _call_kernel(operands: Sequence[Array], program: Program) -> list[Array] | None:
    from e3any_backends.kernels import contraction

    dtype = operands[0].dtype.name
    plan = contraction.plan(program.form, tuple(o.shape for o in operands), program.outs, program.terms, dtype)
    if plan is None:
        return None
    shapes = [shape for _, shape in program.outs]
    amount = {"work": plan.work, "partial_size": plan.partial_size, "most": plan.rows}
    return call("contractions", dtype, shapes, *plan.schedule, *operands, program=plan.program, **amount)


def _contractions_by_gpu_kernel(*operands: Array, program: Program) -> list[Array] | None:
    return evaluate_rows(program, operands)


# -- batches ------------------------------------------------------------------------------------------------


def _batch_contractions(
    operands: Sequence[Array], axes: Sequence[Any], *, program: Program
) -> tuple[list[Array], list[Any]]:
    """Add a leading axis, of length one where an operand has no batch."""
    mapped = [axis is not None for axis in axes]
    size = next(o.shape[a] for o, a, m in zip(operands, axes, mapped, strict=True) if m)
    operands = [jnp.moveaxis(o, a, 0) if m else o[None] for o, a, m in zip(operands, axes, mapped, strict=True)]
    batched = [any(mapped[o] for out, t in program.terms if out == i for o in t) for i in range(len(program.outs))]
    outs = tuple((slot, (size if b else 1, *shape)) for (slot, shape), b in zip(program.outs, batched, strict=True))
    values = _primitive.bind(*operands, program=replace(program, outs=outs))
    results = [v if b else v[0] for v, b in zip(values, batched, strict=True)]
    return results, [0 if b else None for b in batched]


_primitive = MultilinearPrimitive(
    "e3any_coupling",
    "contraction",
    batch=_batch_contractions,
    reference=_contractions_elsewhere,
    by_kernel=_contractions_by_kernel,
    reference_on_cpu=_contractions_on_cpu,
    reference_on_gpu=_contractions_on_gpu,
    by_gpu_kernel=_contractions_by_gpu_kernel,
)
