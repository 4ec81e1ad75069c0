"""Memory of what kernels return to libraries that call them from Python."""

from __future__ import annotations

import math
import os
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
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < _LEAST else _aligned(np.empty, shape, dtype, size)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of zeros, as :func:`empty` does."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.zeros(shape, dtype) if size < _LEAST else _aligned(np.zeros, shape, dtype, size)


def _aligned(make: Any, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
    memory = make(size + _LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.__array_interface__["data"][0] % _LINE)


def _keep_heap() -> None:
    """Tell glibc to keep freed memory of large arrays, see :data:`_LARGEST_OF_HEAP`; E3ANY_HEAP=0 leaves it alone."""
    if os.environ.get("E3ANY_HEAP", "1") != "0":
        np.empty(_LARGEST_OF_HEAP, np.uint8)


_keep_heap()
