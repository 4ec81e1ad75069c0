"""Arrays of 64 bits while JAX makes no new ones: they outlive a block of ``jax.enable_x64(True)``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax

__all__ = ["own_precision"]

_LONG = frozenset({"float64", "int64", "uint64"})


def own_precision(*arguments: Any) -> AbstractContextManager[Any]:
    """Allow arrays of 64 bits where arguments are such arrays, as :func:`jax.numpy.sin` does.

    Without it, tables for a float64 array would be converted to float32, and a kernel for float64 would read them. For
    example, ``r`` is an array of float64 outside of the block in which it was made::

        with jax.enable_x64(True):
            r = jnp.ones((4, 3))
        spherical_harmonics(r, 2)
    """
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return nullcontext()
    leaves = jax.tree.leaves(arguments)
    has_long = any(isinstance(x, jax.Array) and x.dtype.name in _LONG for x in leaves)
    return jax.enable_x64(True) if has_long else nullcontext()
