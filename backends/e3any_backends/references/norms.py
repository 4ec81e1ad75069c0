"""Norms with finite derivatives, also of zero, very long and very short vectors; see :mod:`e3any.ops.safe`."""

from __future__ import annotations

from functools import reduce

from e3any_backends.arrays import Array, Arrays

__all__ = ["nonzero_root", "nonzero_scale", "unit_components"]


def unit_components(arrays: Arrays, x: list[Array]) -> list[Array]:
    """Normalise vectors, given as arrays of their components; see :func:`e3any.ops.normalize`."""
    largest = reduce(arrays.xp.maximum, (arrays.xp.abs(arrays.stop_gradient(c)) for c in x))
    zero, scale = nonzero_scale(arrays, largest)
    x = [arrays.quotient(c, scale) for c in x]
    root = nonzero_root(arrays, sum((c * c for c in x[1:]), x[0] * x[0]), zero)
    return [c / root for c in x]


def nonzero_scale(arrays: Arrays, largest: Array) -> tuple[Array, Array]:
    """Return which vectors with these largest entries count as zero, and the divisors that scale the others."""
    xp = arrays.xp
    # The reciprocal of a smaller scale, which is a factor of the derivatives, would overflow.
    zero = largest <= float(xp.finfo(largest.dtype).smallest_normal)
    return zero, xp.where(zero, xp.ones_like(largest), largest)


def nonzero_root(arrays: Arrays, squares: Array, zero: Array) -> Array:
    """Return square roots of sums of squares, 1 where a vector is zero: the root of zero has no finite derivative."""
    return arrays.xp.sqrt(arrays.xp.where(zero, arrays.xp.ones_like(squares), squares))
