r"""The multilinear form of a coupling as one JAX primitive, closed under differentiation.

A sparse form :math:`\phi(v^0, v^1, \dots) = \sum_e c_e \prod_s v^s_{i_s(e)}` is linear in every slot. A tensor
product is its derivative with respect to the slot of the output, and so are all derivatives of the product. The
primitive evaluates a list of such contractions together. Its tangent and its transpose are again lists of
contractions of the same form, so that derivatives of every order, in forward and in reverse mode, never leave it.
Each runs as straight-line code over the non-zero coefficients, or, where these are many, as a loop over them, which
takes up to twice as long but compiles in a second. On a CPU a kernel does all of them, where there is one.

Static parameters of the primitive:

``form``
    The :class:`~e3any_backends.forms.couplings.SparseForm`.
``slots``
    The slot of each operand.
``outs``
    For each output its slot and its shape without the axis of components.
``terms``
    For each contraction the number of its output and of its operands, in ascending order of their slots.

Operands have the shape ``(*lead, components, F)`` and one rank and dtype. Leading axes and F broadcast; an axis of
length one in an output is summed over where its contraction has more.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad

from e3any_backends.forms.couplings import SparseForm
from e3any_backends.jax.custom_calls import call, define
from e3any_backends.jax.store import stored

Array: TypeAlias = Any
Shape: TypeAlias = tuple[Any, ...]

__all__ = ["contract"]


@dataclass(frozen=True)
class _Program:
    """What to compute: the static parameters of the primitive."""

    form: SparseForm
    slots: tuple[int, ...]
    outs: tuple[tuple[int, Shape], ...]
    terms: tuple[tuple[int, tuple[int, ...]], ...]

    def only(self, outs: Sequence[int]) -> tuple[_Program, list[int]]:
        """Return the program of some outputs, and the operands that it uses."""
        terms = [(outs.index(out), operands) for out, operands in self.terms if out in outs]
        used = sorted({operand for _, operands in terms for operand in operands})
        number = {operand: i for i, operand in enumerate(used)}
        numbered = tuple((out, tuple(number[o] for o in operands)) for out, operands in terms)
        slots = tuple(self.slots[o] for o in used)
        return _Program(self.form, slots, tuple(self.outs[o] for o in outs), numbered), used


def contract(operands: Sequence[Array], form: SparseForm, output: int) -> Array:
    """Evaluate the derivative of a form with respect to one slot.

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
    shape = (1, *_broadcast([_outer(o.shape)[1:] for o in operands]))
    inputs = tuple(slot for slot in range(len(form.sizes)) if slot != output)
    program = _Program(form, inputs, ((output, shape),), ((0, tuple(range(len(operands)))),))
    result: Array = _primitive.bind(*operands, program=program)[0][0]
    return result


def _outer(shape: Shape) -> Shape:
    """Return a shape without its axis of components, the last but one."""
    return (*shape[:-2], shape[-1])


def _with_components(shape: Shape, size: int) -> Shape:
    return (*shape[:-1], size, shape[-1])


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    # np.broadcast_shapes rejects the symbolic sizes of jax.export.
    result = []
    for sizes in zip(*shapes, strict=True):
        wide = [s for s in sizes if not (isinstance(s, int) and s == 1)]
        if any(s != wide[0] for s in wide):
            raise ValueError(f"expected shapes that broadcast, got {', '.join(map(str, shapes))}")
        result.append(wide[0] if wide else 1)
    return tuple(result)


# Products of one output that are written out; more of them take the compiler longer than they are worth.
_MAX_UNROLLED = 1000
# Entries that a step of the loop adds up.
_STEP = 4


# -- evaluation ---------------------------------------------------------------------------------------------


def _evaluate_on_cpu(*operands: Array, program: _Program) -> list[Array]:
    # Else an activation before a coupling would be computed again for every component that is read.
    return _evaluate(*stored(*operands), program=program)


def _evaluate_by_kernel(*operands: Array, program: _Program) -> list[Array] | None:
    dtype = operands[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    operands = tuple(o.astype(wide) for o in operands)
    results: dict[int, Array] = {}
    for outs in _by_shape(program, [_outer(o.shape) for o in operands]):
        part, used = program.only(outs)
        values = _call_kernel([operands[o] for o in used], part)
        if values is None:
            return None
        results.update(zip(outs, values, strict=True))
    return [results[out].astype(dtype) for out in range(len(results))]


def _by_shape(program: _Program, shapes: list[Shape]) -> list[list[int]]:
    """Return outputs whose contractions broadcast to one shape: a loop for others would repeat them."""
    groups: dict[Shape, list[int]] = defaultdict(list)
    for out, (_, shape) in enumerate(program.outs):
        members = [shapes[o] for number, operands in program.terms if number == out for o in operands]
        groups[_broadcast([shape, *members])].append(out)
    return list(groups.values())


def _call_kernel(operands: list[Array], program: _Program) -> list[Array] | None:
    from e3any_backends.kernels import contraction

    sizes, dtype = program.form.sizes, operands[0].dtype.name
    outs = tuple((slot, _with_components(shape, sizes[slot])) for slot, shape in program.outs)
    plan = contraction.plan(program.form, tuple(o.shape for o in operands), outs, program.terms, dtype)
    if plan is None:
        return None
    shapes, amount = [shape for _, shape in outs], {"work": plan.work, "copied": plan.copied, "most": plan.rows}
    return call("contractions", dtype, shapes, *plan.schedule, *operands, program=plan.program, **amount)


def _evaluate(*operands: Array, program: _Program) -> list[Array]:
    form, dtype = program.form, operands[0].dtype
    wide = jnp.promote_types(dtype, jnp.float32)
    split: list[list[Array]] = []
    results = []
    for number, (slot, shape) in enumerate(program.outs):
        terms = [t for out, t in program.terms if out == number]
        if len(form.values) * len(terms) > _MAX_UNROLLED:
            total = _loop(program, slot, terms, operands, wide)
        else:
            split = split or [_components(o.astype(wide)) for o in operands]
            total = _stack(_contractions(form, slot, terms, split), form.sizes[slot], shape, wide)
        results.append(_reduce(total, shape).astype(dtype))
    return results


def _loop(program: _Program, slot: int, terms: list[tuple[int, ...]], operands: Sequence[Array], dtype: Any) -> Array:
    """Return the components of one output, first, by a loop over the entries: a program of one size for all forms."""
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
    # What fills up a step is its first entry again, times zero.
    entries = order[np.where(within, position, position[:, :1])]
    return [c[entries].astype(np.int32) for c in form.columns], np.where(within, form.values[entries], 0.0)


def _components(x: Array) -> list[Array]:
    """Take an array apart along its axis of components."""
    x = jnp.moveaxis(x, -2, 0)
    # Slicing by indexing would transpose to a chain of padded additions; a split transposes to one concatenation.
    return [jnp.squeeze(part, 0) for part in jax.lax.split(x, (1,) * x.shape[0], axis=0)]


def _contractions(
    form: SparseForm, slot: int, terms: list[tuple[int, ...]], split: list[list[Array]]
) -> list[Array | None]:
    """Return the components of one output: unrolled sums over the entries of the form."""
    scale_slot, *pair_slots = sorted(set(range(len(form.columns))) - {slot}, reverse=True)
    pair_slots.reverse()
    by_scale: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for *pair, scale in terms:
        by_scale[scale].append(tuple(pair))
    parts: list[Array | None] = [None] * form.sizes[slot]
    for (out, scale_index), entries in _grouped(form, slot, scale_slot, tuple(pair_slots)):
        for scale, pairs in by_scale.items():
            total = _sum_products(entries, pairs, split) * split[scale][scale_index]
            so_far = parts[out]
            parts[out] = total if so_far is None else so_far + total
    return parts


@functools.lru_cache(maxsize=256)
def _grouped(form: SparseForm, slot: int, scale_slot: int, pair_slots: tuple[int, ...]) -> tuple[Any, ...]:
    """Group the entries by output and scale, then by size of coefficient, so that a constant multiplies once."""
    groups: dict[tuple[int, int], dict[float, list[tuple[bool, tuple[int, ...]]]]] = {}
    exact: dict[float, float] = {}  # coefficients that differ by rounding are one
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
    """Sum over the axes that the output does not have, broadcast to those that it has, move components back."""
    sums = [a + 1 for a, n in enumerate(shape) if isinstance(n, int) and n == 1 and stacked.shape[a + 1] != 1]
    small = [a for a in sums if isinstance(stacked.shape[a], int) and 0 < stacked.shape[a] <= 4]
    for axis in small:  # a reduction of so few terms is slower than additions
        slices = [jax.lax.slice_in_dim(stacked, i, i + 1, axis=axis) for i in range(stacked.shape[axis])]
        stacked = functools.reduce(jnp.add, slices)
    large = tuple(a for a in sums if a not in small)
    if large:
        # The barrier keeps the reduction from being fused with, and so repeating, the unrolled code.
        stacked = jnp.sum(jax.lax.optimization_barrier(stacked), axis=large, keepdims=True)
    return jnp.moveaxis(jnp.broadcast_to(stacked, (stacked.shape[0], *shape)), 0, -2)


# -- rules --------------------------------------------------------------------------------------------------

_primitive = Primitive("e3any_coupling")
_primitive.multiple_results = True


@_primitive.def_abstract_eval
def _abstract(*operands: Any, program: _Program) -> list[Any]:
    dtype, sizes = operands[0].dtype, program.form.sizes
    return [jax.core.ShapedArray(_with_components(shape, sizes[slot]), dtype) for slot, shape in program.outs]


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], *, program: _Program) -> tuple[list[Array], list[Any]]:
    operands, slots = list(primals), list(program.slots)
    tangent_of = {}
    for i, tangent in enumerate(tangents):
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
    values = _bind_present(program.form, slots, program.outs, terms, operands)
    return primal_outs, [values.get(i, ad.Zero(jax.typeof(p).to_tangent_aval())) for i, p in enumerate(primal_outs)]


def _bind_present(
    form: SparseForm,
    slots: Sequence[int],
    outs: Sequence[Any],
    terms: Sequence[Any],
    operands: Sequence[Array],
) -> dict[int, Array]:
    """Bind only the outputs that have terms, and return those by their numbers."""
    present = sorted({out for out, _ in terms})
    if not present:
        return {}
    program, used = _Program(form, tuple(slots), tuple(outs), tuple(terms)).only(present)
    return dict(zip(present, _primitive.bind(*(operands[o] for o in used), program=program), strict=True))


def _transpose(cotangents: Sequence[Any], *operands: Any, program: _Program) -> list[Any]:
    unknown = [i for i, o in enumerate(operands) if ad.is_undefined_primal(o)]
    known: list[Array] = []
    slots: list[int] = []
    number: dict[tuple[str, int], int] = {}
    for i, operand in enumerate(operands):
        if i not in unknown:
            number["operand", i] = len(known)
            known.append(operand)
            slots.append(program.slots[i])
    for i, cotangent in enumerate(cotangents):
        if not isinstance(cotangent, ad.Zero):
            number["cotangent", i] = len(known)
            known.append(cotangent)
            slots.append(program.outs[i][0])
    outs = [(program.slots[u], _outer(operands[u].aval.shape)) for u in unknown]
    terms = []
    for out, term in program.terms:
        if ("cotangent", out) in number:
            (target,) = (o for o in term if o in unknown)
            members = [number["cotangent", out], *(number["operand", o] for o in term if o != target)]
            terms.append((unknown.index(target), tuple(sorted(members, key=lambda m: slots[m]))))
    results: list[Any] = [None] * len(operands)
    values = _bind_present(program.form, slots, outs, terms, known)
    for position, u in enumerate(unknown):
        results[u] = values.get(position, ad.Zero(operands[u].aval))
    return results


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: _Program) -> tuple[list[Array], list[Any]]:
    mapped = [axis is not None for axis in axes]
    size = next(o.shape[a] for o, a, m in zip(operands, axes, mapped, strict=True) if m)
    operands = [jnp.moveaxis(o, a, 0) if m else o[None] for o, a, m in zip(operands, axes, mapped, strict=True)]
    batched = [any(mapped[o] for out, t in program.terms if out == i for o in t) for i in range(len(program.outs))]
    outs = tuple((slot, (size if b else 1, *shape)) for (slot, shape), b in zip(program.outs, batched, strict=True))
    values = _primitive.bind(*operands, program=_Program(program.form, program.slots, outs, program.terms))
    results = [v if b else v[0] for v, b in zip(values, batched, strict=True)]
    return results, [0 if b else None for b in batched]


define(
    _primitive,
    "contraction",
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    plain=_evaluate,
    by_kernel=_evaluate_by_kernel,
    plain_on_cpu=_evaluate_on_cpu,
)
