r"""Harmonics as one JAX primitive, closed under differentiation.

With :math:`R(r)` for the harmonics of a vector, and :math:`D_c = c \cdot \nabla` for the derivative along a vector c
that does not depend on r, the primitive evaluates

.. math:: D_{c_1} \dots D_{c_k} R(r) \qquad \text{or} \qquad \nabla D_{c_1} \dots D_{c_k} \, g \cdot R(r).

Both are linear in every c and in g. The derivatives by r are those for one direction more, and each one transposed,
with respect to g or to a direction, is of the other form or of its own. So derivatives of every order, in forward and
in reverse mode, never leave the primitive. On a CPU kernels do what first and second derivatives need.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from e3any_backends.jax.arrays import ARRAYS
from e3any_backends.jax.custom_calls import call, define
from e3any_backends.references.harmonics import harmonics_by_recursion

Array: TypeAlias = Any

__all__ = ["harmonics"]

_KERNELS = {
    (False, 0): "harmonics_value",
    (False, 1): "harmonics_jvp",
    (True, 0): "harmonics_vjp",
    (True, 1): "harmonics_second_vjp",
}


@dataclass(frozen=True)
class _Program:
    """What to compute: the static parameter of the primitive.

    Parameters
    ----------
    factors, order, unit
        Those of :meth:`e3any_backends.generic.Backend.harmonics`.
    is_gradient : bool
        Whether it is the gradient of weighted harmonics. Then the operands are vectors, weights and directions; else
        vectors and directions.
    """

    factors: tuple[float, ...]
    order: tuple[int, ...]
    unit: bool
    is_gradient: bool = False


def harmonics(r: Array, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> Array:
    """Evaluate harmonics; see :meth:`e3any_backends.generic.Backend.harmonics`."""
    return _primitive.bind(jnp.asarray(r), program=_Program(factors, order, unit))


# -- evaluation ---------------------------------------------------------------------------------------------


def _evaluate(*operands: Array, program: _Program) -> list[Array]:
    r, directions = operands[0], operands[1 + program.is_gradient :]
    reference: Callable[[Array], Array] = functools.partial(
        harmonics_by_recursion, ARRAYS, factors=program.factors, order=program.order, unit=program.unit
    )
    function = functools.reduce(_along, directions, reference)
    return [jax.vjp(function, r)[1](operands[1])[0] if program.is_gradient else function(r)]


def _along(function: Callable[[Array], Array], direction: Array) -> Callable[[Array], Array]:
    """Return the derivative of a function along a vector."""
    return lambda r: jax.jvp(function, (r,), (direction,))[1]


def _evaluate_by_kernel(*operands: Array, program: _Program) -> list[Array] | None:
    from e3any_backends.forms.harmonics import harmonics_tables as tables
    from e3any_backends.kernels.harmonics import work

    name = _KERNELS.get((program.is_gradient, len(operands) - 1 - program.is_gradient))
    dtype, shape = operands[0].dtype.name, _result_shape(operands[0].shape, program)
    if name is None or math.prod(shape) == 0:
        return None
    rows = [jnp.reshape(o, (-1, o.shape[-1])) for o in operands]
    constants = tables(program.factors, program.order, program.unit, dtype)
    amount = work(rows[0], len(program.order))
    results = call(name, dtype, [(rows[0].shape[0], shape[-1])], *constants, *rows, work=amount)
    return None if results is None else [jnp.reshape(results[0], shape)]


def _result_shape(shape: tuple[Any, ...], program: _Program) -> tuple[Any, ...]:
    return shape if program.is_gradient else (*shape[:-1], len(program.order))


# -- rules --------------------------------------------------------------------------------------------------

_primitive = Primitive("e3any_harmonics")


@_primitive.def_abstract_eval
def _abstract(r: Any, *operands: Any, program: _Program) -> Any:
    return jax.core.ShapedArray(_result_shape(r.shape, program), r.dtype)


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], *, program: _Program) -> tuple[Array, Any]:
    value = _primitive.bind(*primals, program=program)
    changes = []
    for i, tangent in enumerate(tangents):
        if not isinstance(tangent, ad.Zero):
            operands = [*primals, tangent] if i == 0 else [*primals[:i], tangent, *primals[i + 1 :]]
            changes.append(_primitive.bind(*operands, program=program))
    return value, functools.reduce(jnp.add, changes)


def _transpose(cotangent: Any, *operands: Any, program: _Program) -> list[Any]:
    (unknown,) = (i for i, o in enumerate(operands) if ad.is_undefined_primal(o))
    result: list[Any] = [None] * len(operands)
    if isinstance(cotangent, ad.Zero):
        result[unknown] = ad.Zero(operands[unknown].aval)
        return result
    r, *others = (o for i, o in enumerate(operands) if i != unknown)
    if not program.is_gradient:  # by a direction
        members, is_gradient = [r, cotangent, *others], True
    else:  # by the weights, or by a direction
        members, is_gradient = [r, *others, cotangent], unknown != 1
    result[unknown] = _primitive.bind(*members, program=replace(program, is_gradient=is_gradient))
    return result


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: _Program) -> tuple[Array, int]:
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    stacked = [
        jnp.broadcast_to(o, (size, *o.shape)) if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands, axes, strict=True)
    ]
    return _primitive.bind(*stacked, program=program), 0


define(
    _primitive,
    "harmonics",
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    plain=_evaluate,
    by_kernel=_evaluate_by_kernel,
)
