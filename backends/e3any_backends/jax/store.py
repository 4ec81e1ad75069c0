"""Arrays that XLA for CPUs stores in memory before they are read.

It fuses what computes an array into every loop that reads the array, however expensive that is, and repeats it there.
Its optimisation barriers end before fusion. A conditional is not fused through; that it always goes one way must not be
known to the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from e3any_backends.arrays import Array

__all__ = ["store", "stored"]


def store(*arrays: Array) -> tuple[Array, ...]:
    """Return arrays as they are, stored in memory before they are read, and so their derivatives.

    Parameters
    ----------
    *arrays : jax.Array
        Arrays.

    Returns
    -------
    tuple of jax.Array
        The same arrays.
    """
    return tuple(_primitive.bind(*arrays)) if arrays else ()


def stored(*arrays: Array) -> tuple[Array, ...]:
    """Do what :func:`store` stands for, on CPUs; without rules for derivatives."""
    barrier = jax.lax.optimization_barrier
    # The barrier hides the constant until conditionals are no longer simplified.
    results: tuple[Array, ...] = jax.lax.cond(
        barrier(jnp.ones((), bool)), lambda *a: a, lambda *a: tuple(map(barrier, a)), *arrays
    )
    return results


_primitive = Primitive("e3any_store")
_primitive.multiple_results = True
_primitive.def_impl(lambda *arrays: list(arrays))
_primitive.def_abstract_eval(lambda *arrays: list(arrays))


def _bind_present(arrays: Sequence[Any]) -> list[Any]:
    present = iter(store(*(a for a in arrays if not isinstance(a, ad.Zero))))
    return [a if isinstance(a, ad.Zero) else next(present) for a in arrays]


def _jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[list[Array], list[Any]]:
    return _primitive.bind(*primals), _bind_present(tangents)


def _transpose(cotangents: Sequence[Any], *operands: Any) -> list[Any]:
    return _bind_present(cotangents)


def _batch(operands: Sequence[Array], axes: Sequence[Any]) -> tuple[list[Array], list[Any]]:
    return _primitive.bind(*operands), list(axes)


ad.primitive_jvps[_primitive] = _jvp
ad.primitive_transposes[_primitive] = _transpose
batching.primitive_batchers[_primitive] = _batch
mlir.register_lowering(_primitive, mlir.lower_fun(lambda *arrays: arrays, multiple_results=True))
mlir.register_lowering(_primitive, mlir.lower_fun(stored, multiple_results=True), platform="cpu")
