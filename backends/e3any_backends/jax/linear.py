r"""Linear maps with a matrix for every component as one JAX primitive.

.. math:: \phi(x, W, y, b) = \sum_{nc} x_{nc} \cdot W_{k(c)} y_{nc} + \sum_n b \cdot y_{n0}

is linear in every slot, in each of its two terms. The map with its bias is the contraction for the slot of y; its
derivatives are the contractions for the other slots, see :mod:`e3any_backends.jax.multilinear`. A kernel adds the bias
while it writes the result, which then need not be read and written once more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.jax.custom_calls import call
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program

__all__ = ["multiply"]

# Slots: rows (N, C, F), matrices (K, F, G), results (N, C, G), a bias (G,).
_X, _W, _Y, _B = range(4)


def multiply(x: Array, w: Array, which: Array, bias: Array | None) -> Array:
    """Multiply components (N, C, F) with matrices (K, F, G); see :meth:`e3any_backends.generic.Backend.linear`."""
    out = _Y, (*x.shape[:2], w.shape[2])
    program = Program(None, (_X, _W), (out,), ((0, (0, 1)),))
    if bias is None:
        return _primitive.bind(which.astype(jnp.int32), x, w, program=program)[0]
    program = replace(program, slots=(_X, _W, _B), terms=((0, (0, 1)), (0, (2,))))
    return _primitive.bind(which.astype(jnp.int32), x, w, bias, program=program)[0]


# Every program has one output, and at most one operand of each slot: derivatives bind one contraction at a time.


def _linear(which: Array, *operands: Array, program: Program) -> list[Array]:
    """Evaluate a program by products of matrices."""
    ((slot, shape),), given = program.outs, dict(zip(program.slots, operands, strict=True))
    einsum = functools.partial(jnp.einsum, precision="highest")
    if slot == _X:
        return [einsum("cfg,ncg->ncf", given[_W][which], given[_Y])]
    if slot == _W:
        products = einsum("ncf,ncg->cfg", given[_X], given[_Y])
        return [jnp.zeros(shape, products.dtype).at[which].add(products)]
    if slot == _B:
        return [jnp.sum(given[_Y][:, 0], axis=0)]
    has_product = _X in given
    y = einsum("ncf,cfg->ncg", given[_X], given[_W][which]) if has_product else jnp.zeros(shape, operands[0].dtype)
    if _B not in given:
        return [y]
    # Added to all components, with zeros but for the first: XLA for GPUs would copy the products to add to a part.
    return [y + jnp.zeros(shape[1:], y.dtype).at[0].set(given[_B])]


def _linear_by_kernel(which: Array, *operands: Array, program: Program) -> list[Array] | None:
    from e3any_backends.kernels import linear

    ((slot, shape),), given = program.outs, dict(zip(program.slots, operands, strict=True))
    if len(given) == 1:  # of a bias alone
        return _linear(which, *operands, program=program)
    dtype = operands[0].dtype
    x, w = (jax.ShapeDtypeStruct(shape if s == slot else given[s].shape, dtype) for s in (_X, _W))
    if 0 in x.shape:
        return None
    if slot == _W:
        amount = {"work": linear.product_work(x, w), "partial_size": w.size}
        return call("linear_matrix_vjp", dtype.name, [shape], given[_X], given[_Y], which, **amount)
    factors = (given[_X], given[_W]) if slot == _Y else (given[_Y], jnp.swapaxes(given[_W], 1, 2))
    bias = given[_B] if _B in given else jnp.zeros(shape[-1], dtype)
    return call("linear_product", dtype.name, [shape], *factors, which, bias, work=linear.product_work(x, w))


def _batch_linear(operands: Sequence[Array], axes: Sequence[Any], *, program: Program) -> tuple[list[Array], list[int]]:
    """Merge a batch of rows into their first axis; a batch of matrices is left to products of matrices."""
    ((slot, shape),) = program.outs
    are_rows = (False, *(s in (_X, _Y) for s in program.slots))
    if slot not in (_X, _Y) or any(a is not None for a, is_row in zip(axes, are_rows, strict=True) if not is_row):
        return jax.vmap(functools.partial(_linear, program=program), in_axes=tuple(axes))(*operands), [0]
    rows = are_rows.index(True)
    stacked = jnp.moveaxis(operands[rows], axes[rows], 0)
    size, num, *rest = stacked.shape
    merged = [*operands[:rows], jnp.reshape(stacked, (size * num, *rest)), *operands[rows + 1 :]]
    (value,) = _primitive.bind(*merged, program=replace(program, outs=((slot, (size * num, *shape[1:])),)))
    return [jnp.reshape(value, (size, *shape))], [0]


_primitive = MultilinearPrimitive(
    "e3any_linear",
    "linear",
    batch=_batch_linear,
    reference=_linear,
    by_kernel=_linear_by_kernel,
    num_indices=1,
    one_by_one=True,
)
