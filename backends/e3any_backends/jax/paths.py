r"""Sums over edges of couplings with weights of every edge and path as one JAX primitive.

.. math:: \phi(x, Y, q, z) = \sum_e \sum_{(k,m,n,p,c)} c \, q_{ep} \, Y_{em} \, x_{s(e)k} \, z_{r(e)n}

is linear in each of four slots. The sum over edges is the contraction for the slot of z, and the derivatives of the sum
are the contractions for the other slots, see :mod:`e3any_backends.jax.multilinear`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import Coupling
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import tables_of
from e3any_backends.jax.arrays import ARRAYS
from e3any_backends.jax.contractions import contract
from e3any_backends.jax.custom_calls import call
from e3any_backends.jax.edges import kernel_calls
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program, Shape
from e3any_backends.references.paths import path_sums_by_segments

__all__ = ["sum_paths"]

# Slots: features of nodes (N, X), harmonics (E, M), weights (E, Q), sums (num, Z).
_X, _Y, _Q, _Z = range(4)


class _Form(NamedTuple):
    """The form of a program: the number of a table, and the shapes of operands and results in each slot."""

    number: int
    shapes: tuple[Shape, Shape, Shape, Shape]


def sum_paths(x: Array, angular: Array, weights: Array, src: Array, dst: Array, num: Any, form: PathForm) -> Array:
    """Sum couplings over edges; see :meth:`e3any_backends.generic.Backend.path_sums`."""
    dtype = jnp.result_type(x, angular, weights)
    shape = num, form.num_sums
    if any(isinstance(n, int) and n == 0 for n in (*shape, *x.shape, *weights.shape)):
        return jnp.zeros(shape, dtype)
    operands = [jnp.asarray(a, dtype) for a in (x, angular, weights)]
    # One number for all padding: lists can be of a dtype that is wider than 32 bits.
    is_valid = (src >= 0) & (src < x.shape[0]) & (dst >= 0) & (dst < num)
    src, dst = (jnp.where(is_valid, indices, -1).astype(jnp.int32) for indices in (src, dst))
    shapes = _Form(form.number, (*(o.shape for o in operands), shape))  # type: ignore[arg-type]
    program = Program(shapes, (_X, _Y, _Q), ((_Z, shape),), ((0, (0, 1, 2)),))
    return _primitive.bind(src, dst, *operands, program=program)[0]  # type: ignore[no-untyped-call]


# -- without a kernel ---------------------------------------------------------------------------------------


def _reference(src: Array, dst: Array, *operands: Array, program: Program) -> list[Array]:
    """Evaluate a program by sums over edges and by their gradients."""
    shapes, dtype = program.form.shapes, operands[0].dtype
    totals: dict[int, Array] = {}
    for outs, factors in kernel_calls(program):
        given = [jnp.zeros(shapes[slot], dtype) if o is None else operands[o] for slot, o in enumerate(factors)]
        sums = functools.partial(_path_sums, src=src, dst=dst, form=program.form)
        found = [sums(*given)] if len(given) == 3 else jax.vjp(sums, *given[:_Z])[1](given[_Z])
        _add(totals, outs, found)
    return [totals[out] for out in range(len(program.outs))]


def _path_sums(x: Array, angular: Array, weights: Array, *, src: Array, dst: Array, form: _Form) -> Array:
    """Return the value of the form, by the primitives of couplings."""
    table: PathForm = tables_of(form.number)
    return path_sums_by_segments(ARRAYS, _couple, (x, angular, weights), src, dst, form.shapes[_Z][0], table)


def _couple(x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
    return contract((x, y, w), coupling.product_form, 2)


def _add(totals: dict[int, Array], outs: Sequence[Sequence[int]], values: Sequence[Array]) -> None:
    """Add the results of a call to the outputs of a program."""
    for numbers, value in zip(outs, values, strict=True):
        for out in numbers:
            totals[out] = totals[out] + value if out in totals else value


# -- by kernels ---------------------------------------------------------------------------------------------


def _by_kernel(src: Array, dst: Array, *operands: Array, program: Program) -> list[Array] | None:
    from e3any_backends.kernels.code.paths import path_program
    from e3any_backends.kernels.path_map import path_tables, path_work
    from e3any_backends.kernels.xla.operations import path_scratch_words

    dtype, (number, shapes) = operands[0].dtype, program.form
    wide = jnp.promote_types(dtype, jnp.float32)
    form: PathForm = tables_of(number)
    work = path_work(form, shapes[_Y][0], wide)
    amounts: dict[int, dict[str, int]] = {
        3: {"work": work},
        4: {"work": 3 * work, "partial_size": shapes[_X][0] * shapes[_X][1]},
    }
    shared = path_scratch_words(shapes[_Z][0], shapes[_Y][0])
    totals: dict[int, Array] = {}
    for outs, factors in kernel_calls(program):
        is_gradient = len(factors) == 4
        name, results = ("path_gradients", shapes[:_Z]) if is_gradient else ("path_sums", shapes[_Z:])
        values = [
            jnp.zeros(shapes[slot], wide) if o is None else operands[o].astype(wide) for slot, o in enumerate(factors)
        ]
        found = call(
            name,
            wide.name,
            results,
            *path_tables(number, wide.name),
            src,
            dst,
            *values,
            program=path_program(name, number, wide.name),
            shared=shared,
            **amounts[len(factors)],
        )
        if found is None:
            return None
        _add(totals, outs, found)
    return [totals[out].astype(dtype) for out in range(len(program.outs))]


# -- batches ------------------------------------------------------------------------------------------------


def _batch_graphs(operands: Sequence[Array], axes: Sequence[Any], *, program: Program) -> tuple[list[Array], list[int]]:
    """Make one graph of a batch of graphs."""
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    src, dst, *factors = (
        jnp.broadcast_to(o, (size, *o.shape)) if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands, axes, strict=True)
    )
    old = program.form.shapes
    first = jnp.arange(size, dtype=src.dtype)[:, None]
    src, dst = (jnp.where(i >= 0, i + first * n, -1) for i, n in ((src, old[_X][0]), (dst, old[_Z][0])))
    shapes = tuple((size * shape[0], *shape[1:]) for shape in old)
    outs = tuple((slot, shapes[slot]) for slot, _ in program.outs)
    merged = (jnp.reshape(o, (-1, *o.shape[2:])) for o in (src, dst, *factors))
    form = _Form(program.form.number, shapes)  # type: ignore[arg-type]
    values = _primitive.bind(*merged, program=replace(program, form=form, outs=outs))  # type: ignore[no-untyped-call]
    return [jnp.reshape(v, (size, -1, *v.shape[1:])) for v in values], [0] * len(values)


_primitive = MultilinearPrimitive(
    "e3any_paths", "path_sums", batch=_batch_graphs, reference=_reference, by_kernel=_by_kernel, num_indices=2
)
