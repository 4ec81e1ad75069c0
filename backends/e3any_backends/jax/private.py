"""The names of JAX that its API documentation does not list, in one place.

JAX explains how a primitive gets its rules (https://docs.jax.dev/en/latest/jax-primitives.html), but makes no promise
for the modules that hold them: names in :mod:`jax.interpreters` move between versions. All other files of this package
use the names below instead, and ``tests/backends/test_private_names.py`` checks every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

__all__ = [
    "Lowering",
    "is_unknown",
    "is_zero",
    "set_batching",
    "set_derivatives",
    "set_lowering",
    "shaped_array",
    "zero",
    "zero_tangent",
]

Rule = Callable[..., Any]


class Lowering(NamedTuple):
    """What JAX knows about a program when it lowers a primitive of it; nothing public tells."""

    is_exported: bool
    num_devices: int
    has_symbolic_sizes: bool


def shaped_array(shape: tuple[Any, ...], dtype: Any) -> Any:
    """Return what a rule of abstract evaluation returns for an array."""
    return jax.core.ShapedArray(shape, dtype)


# Symbolic zeros. Rules receive them for tangents and cotangents that are zero, and must not compute with them.


def is_zero(x: Any) -> bool:
    """Return whether a tangent or cotangent is a symbolic zero."""
    return isinstance(x, ad.Zero)


def zero(operand: Any) -> Any:
    """Return the zero cotangent of an operand that :func:`is_unknown`."""
    return ad.Zero(operand.aval)


def zero_tangent(x: Any) -> Any:
    """Return the zero tangent of an array."""
    return ad.Zero(jax.typeof(x).to_tangent_aval())


def is_unknown(operand: Any) -> bool:
    """Return whether a transpose is with respect to an operand, which then has a shape but no value."""
    return bool(ad.is_undefined_primal(operand))


# Rules.


def set_derivatives(primitive: Primitive, jvp: Rule, transpose: Rule) -> None:
    """Register the rules of automatic differentiation."""
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose


def set_batching(primitive: Primitive, batch: Rule) -> None:
    """Register the rule of :func:`jax.vmap`."""
    batching.primitive_batchers[primitive] = batch


def set_lowering(primitive: Primitive, choose: Callable[[Lowering], Rule], platform: str | None = None) -> None:
    """Lower a primitive as the function of its operands and parameters that ``choose`` returns for a program."""

    def lower(context: Any, *operands: Any, **parameters: Any) -> Any:
        module = context.module_context
        kinds_of_sizes = {type(n) for aval in context.avals_in for n in aval.shape}
        lowering = Lowering(
            is_exported=module.lowering_parameters.for_export,
            # Programs under shard_map have another kind of axis context, without this attribute.
            num_devices=getattr(module.axis_context, "num_devices", 0),
            has_symbolic_sizes=not kinds_of_sizes <= {int},
        )
        return mlir.lower_fun(choose(lowering), multiple_results=True)(context, *operands, **parameters)

    mlir.register_lowering(primitive, lower, platform=platform)
