"""Memory of what kernels return to libraries that call them from Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from e3any_backends.arrays import Array

__all__ = ["empty", "zeros"]

# Vectors that begin where a line of the cache does are loaded in one piece.
_LINE = 64
# Smaller arrays would not gain what this takes.
_LEAST = 1 << 18
# An array of so many bytes, freed once, tells glibc to take smaller ones from a heap, and to keep twice as many bytes
# of it. Otherwise large arrays go back to the system, and the first access to each page of a new one takes longer than
# to compute what is in it.
_LARGEST_OF_HEAP = 31 << 20


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of any numbers, the first of which is at the begin of a line of the cache if there are many."""
    return _aligned(np.empty, shape, np.dtype(dtype))


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of zeros, as :func:`empty` does."""
    return _aligned(np.zeros, shape, np.dtype(dtype))


def _aligned(make: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST:
        return make(shape, dtype)
    memory = make(size + _LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.__array_interface__["data"][0] % _LINE)


np.empty(_LARGEST_OF_HEAP, np.uint8)
