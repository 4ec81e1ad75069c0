"""Harmonics with their derivatives by kernels: the value, its jvp and vjp, and the vjp of the vjp."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from e3any_backends.arrays import Array, Shape
from e3any_backends.forms.harmonics import harmonics_tables
from e3any_backends.kernels import harmonics
from e3any_backends.kernels.memory import empty
from e3any_backends.kernels.parallel.pool import Count, cpus, num_shares, run

__all__ = ["Harmonics"]


@dataclass(frozen=True)
class Harmonics:
    """Spherical or solid harmonics of vectors (..., 3), the map of :meth:`Backend.harmonics`.

    Parameters
    ----------
    factors : tuple of float
        Factor of every degree, of which there are at least two: harmonics of degree 0 are constants.
    order : tuple of int
        The position of each component in the result.
    unit : bool
        Whether vectors are normalised first.
    """

    factors: tuple[float, ...]
    order: tuple[int, ...]
    unit: bool

    def value(self, r: Array, *, count: Count = cpus) -> Array:
        """Return the harmonics."""
        return self._call(count, harmonics.value, (*r.shape[:-1], len(self.order)), r)

    def jvp(self, r: Array, c: Array, *, count: Count = cpus) -> Array:
        """Return the derivatives of the harmonics along directions ``c``."""
        return self._call(count, harmonics.jvp, (*r.shape[:-1], len(self.order)), r, c)

    def vjp(self, r: Array, g: Array, *, count: Count = cpus) -> Array:
        """Return the gradients of the sum of ``g`` times the harmonics, with respect to the vectors."""
        return self._call(count, harmonics.vjp, r.shape, r, g)

    def second_vjp(self, r: Array, g: Array, c: Array, *, count: Count = cpus) -> Array:
        """Return the gradients of the sum of ``c`` times the result of :meth:`vjp`, with respect to the vectors."""
        return self._call(count, harmonics.second_vjp, r.shape, r, g, c)

    def _call(self, count: Count, kernel: Callable[..., None], shape: Shape, *arrays: Array) -> Array:
        out = empty(shape, arrays[0].dtype)
        num = num_shares(harmonics.work(arrays[0], len(self.order)), count)
        rest = *map(_as_matrix, (out, *arrays)), *harmonics_tables(self.factors, self.order, self.unit, out.dtype)
        if num == 1:
            kernel(0, 1, *rest)
        else:
            run(kernel, [(share, num, *rest) for share in range(num)])
        return out


def _as_matrix(x: Array) -> Array:
    """Merge the leading axes of a contiguous array."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
