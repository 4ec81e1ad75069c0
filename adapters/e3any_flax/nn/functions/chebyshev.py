"""Radial functions, see :mod:`e3any.nn.radial`."""

from __future__ import annotations

from e3any.nn.radial import basic_chebyshev, exponential_chebyshev, reciprocal_chebyshev
from e3any_flax.boundary import accept_arrays
from e3any_flax.nn.functions import mappings as mappings
from e3any_flax.types import Array as Array

__all__ = ["basic_chebyshev", "exponential_chebyshev", "reciprocal_chebyshev"]

accept_arrays(globals())


def _chebyshev(x: Array, num: int) -> Array:
    """Return Chebyshev polynomials of numbers in [-1, 1]."""
    return basic_chebyshev(x + 1.0, num, limit=2.0)
