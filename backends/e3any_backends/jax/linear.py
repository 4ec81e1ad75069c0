r"""Linear maps with a matrix for every component as one JAX primitive, closed under differentiation.

.. math:: \phi(x, W, y) = \sum_{nc} x_{nc} \cdot W_{k(c)} y_{nc}

is linear in each of three slots. The map is its derivative by y, and the derivatives of the map are those by the other
slots. On CPUs kernels evaluate all three. The map may come with a bias, so that its result need not be read and written
once more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from e3any_backends.jax.custom_calls import call, define

Array: TypeAlias = Any

__all__ = ["multiply"]

_X, _W, _Y = range(3)


@dataclass(frozen=True)
class _Program:
    """What to compute: the static parameter of the primitive.

    Parameters
    ----------
    shapes : tuple of tuple of int
        The shapes (N, C, F), (K, F, G) and (N, C, G) of what the slots take.
    out : int
        The slot of the result. The operands are which matrix acts on each component, and what the other slots take.
    has_bias : bool
        Whether there is one more operand, to add to component 0 of the map.
    """

    shapes: tuple[tuple[Any, ...], ...]
    out: int
    has_bias: bool = False

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of the operands."""
        return tuple(slot for slot in range(3) if slot != self.out)


def multiply(x: Array, w: Array, which: Array, bias: Array | None) -> Array:
    """Multiply components (N, C, F) with matrices (K, F, G); see :meth:`e3any_backends.generic.Backend.linear`."""
    program = _Program((tuple(x.shape), tuple(w.shape), (*x.shape[:2], w.shape[2])), _Y, bias is not None)
    return _primitive.bind(which.astype(jnp.int32), x, w, *([] if bias is None else [bias]), program=program)


# -- evaluation ---------------------------------------------------------------------------------------------


def _evaluate(which: Array, a: Array, b: Array, *bias: Array, program: _Program) -> list[Array]:
    einsum = functools.partial(jnp.einsum, precision="highest")
    if program.out == _Y:
        y = einsum("ncf,cfg->ncg", a, b[which])
        return [y.at[:, 0].add(bias[0]) if bias else y]
    if program.out == _X:
        return [einsum("cfg,ncg->ncf", a[which], b)]
    return [jnp.zeros(program.shapes[_W], a.dtype).at[which].add(einsum("ncf,ncg->cfg", a, b))]


def _evaluate_by_kernel(which: Array, a: Array, b: Array, *bias: Array, program: _Program) -> list[Array] | None:
    from e3any_backends.kernels import linear

    if 0 in program.shapes[_X]:
        return None
    name, operands = "linear_matrix_vjp", (a, b)
    if program.out != _W:
        name, operands = "linear_product", (a, b) if program.out == _Y else (b, jnp.swapaxes(a, 1, 2))
        bias = bias or (jnp.zeros(program.shapes[program.out][-1], a.dtype),)
    x, w = (jax.ShapeDtypeStruct(program.shapes[slot], a.dtype) for slot in (_X, _W))
    amount = {"work": linear.work(x, w), "copied": w.size if program.out == _W else 0}
    return call(name, a.dtype.name, [program.shapes[program.out]], *operands, which, *bias, **amount)


# -- rules --------------------------------------------------------------------------------------------------

_primitive = Primitive("e3any_linear")


@_primitive.def_abstract_eval
def _abstract(which: Any, a: Any, *others: Any, program: _Program) -> Any:
    return jax.core.ShapedArray(program.shapes[program.out], a.dtype)


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], *, program: _Program) -> tuple[Array, Any]:
    which, a, b, *_ = primals
    _, da, db, *bias = tangents
    slope = functools.partial(_primitive.bind, which, program=replace(program, has_bias=False))
    changes = [slope(da, b)] if not isinstance(da, ad.Zero) else []
    changes += [slope(a, db)] if not isinstance(db, ad.Zero) else []
    change = functools.reduce(jnp.add, changes) if changes else jnp.zeros(program.shapes[program.out], a.dtype)
    if bias and not isinstance(bias[0], ad.Zero):
        change = change.at[:, 0].add(bias[0])
    return _primitive.bind(*primals, program=program), change


def _transpose(cotangent: Any, which: Array, *operands: Any, program: _Program) -> list[Any]:
    (unknown,) = (i for i, o in enumerate(operands) if ad.is_undefined_primal(o))
    result: list[Any] = [None, None, None]
    if isinstance(cotangent, ad.Zero):
        result[1 + unknown] = ad.Zero(operands[unknown].aval)
        return result
    taken = {program.out: cotangent, program.slots[1 - unknown]: operands[1 - unknown]}
    by = replace(program, out=program.slots[unknown])
    result[1 + unknown] = _primitive.bind(which, *(taken[slot] for slot in by.slots), program=by)
    return result


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: _Program) -> tuple[Array, int]:
    rows = [1 + position for position, slot in enumerate(program.slots) if slot != _W]
    if program.out == _W or any(axis is not None for i, axis in enumerate(axes) if i not in rows):
        plain = functools.partial(_evaluate, program=program)
        return jax.vmap(plain, in_axes=tuple(axes))(*operands)[0], 0
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    merged = [
        o if a is None else jnp.reshape(jnp.moveaxis(o, a, 0), (-1, *program.shapes[program.slots[i - 1]][1:]))
        for i, (o, a) in enumerate(zip(operands, axes, strict=True))
    ]
    (num, *x), w, (_, *y) = program.shapes
    shapes = (size * num, *x), w, (size * num, *y)
    value = _primitive.bind(*merged, program=replace(program, shapes=shapes))
    return jnp.reshape(value, (size, num, *value.shape[1:])), 0


define(
    _primitive,
    "linear",
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    plain=_evaluate,
    by_kernel=_evaluate_by_kernel,
)
