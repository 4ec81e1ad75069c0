"""Arrays that XLA for CPUs stores in memory before they are read.

XLA fuses the computation of an array into every loop that reads the array, however expensive it is, and repeats it
there. :func:`jax.lax.optimization_barrier` does not prevent this on CPUs: barriers are removed before fusion. But XLA
does not fuse through a conditional, as long as it cannot know which branch is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive

from e3any_backends.arrays import Array
from e3any_backends.jax.private import is_zero, set_batching, set_derivatives, set_lowering

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
    """Return arrays as :func:`store` compiles them for CPUs; it has no rules for derivatives."""
    barrier = jax.lax.optimization_barrier
    # The barrier hides that the predicate is constant until XLA no longer simplifies conditionals.
    results: tuple[Array, ...] = jax.lax.cond(
        barrier(jnp.ones((), bool)), lambda *a: a, lambda *a: tuple(map(barrier, a)), *arrays
    )
    return results


_primitive = Primitive("e3any_store")
_primitive.multiple_results = True
_primitive.def_impl(lambda *arrays: list(arrays))
_primitive.def_abstract_eval(lambda *arrays: list(arrays))


def _store_present(arrays: Sequence[Any]) -> list[Any]:
    """Store arrays among symbolic zeros."""
    present = iter(store(*(a for a in arrays if not is_zero(a))))
    return [a if is_zero(a) else next(present) for a in arrays]


def _store_and_tangents(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[list[Array], list[Any]]:
    return _primitive.bind(*primals), _store_present(tangents)


def _store_cotangents(cotangents: Sequence[Any], *operands: Any) -> list[Any]:
    return _store_present(cotangents)


def _store_batches(operands: Sequence[Array], axes: Sequence[Any]) -> tuple[list[Array], list[Any]]:
    return _primitive.bind(*operands), list(axes)


set_derivatives(_primitive, _store_and_tangents, _store_cotangents)
set_batching(_primitive, _store_batches)
set_lowering(_primitive, lambda _: lambda *arrays: arrays)
set_lowering(_primitive, lambda _: stored, platform="cpu")
